"""Models under Keras's names."""

from __future__ import annotations

from fastembed._registry import Registry
from fastembed.layers import registry
from fastembed.models.cloning import clone_model
from fastembed.models.configs import model_from_config, model_from_json, model_from_yaml
from fastembed.models.files import load_model, save_model
from fastembed.models.functional import Functional
from fastembed.models.model import Model
from fastembed.models.sequential import Sequential

__all__ = [
    "Functional",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_config",
    "model_from_json",
    "model_from_yaml",
    "save_model",
]

_classes = {"Functional": Functional, "Model": Model, "Sequential": Sequential}
registry.names.update(_classes)
Registry("model", _classes, module="keras", elsewhere={Functional: "keras.src.models.functional"})

"""Layers under Keras's names. `Layer` is the base; one file a family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastembed._registry import Registry, serialize_keras_object, subclasses_in
from fastembed.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax, ThresholdedReLU
from fastembed.layers.dense import Dense
from fastembed.layers.embedding import Embedding
from fastembed.layers.input_layer import Input, InputLayer
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.lambda_layer import Lambda
from fastembed.layers.layer import Layer
from fastembed.layers.masking import Masking
from fastembed.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Merge,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    merge,
    minimum,
    multiply,
    subtract,
)
from fastembed.layers.normalization import BatchNormalization, LayerNormalization
from fastembed.layers.pooling import (
    GlobalAveragePooling1D,
    GlobalAvgPool1D,
    GlobalMaxPool1D,
    GlobalMaxPooling1D,
)
from fastembed.layers.regularization import Dropout, SpatialDropout1D
from fastembed.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from fastembed.layers.reversible_embedding import ReversibleEmbedding

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "Input",
    "InputLayer",
    "InputSpec",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "Maximum",
    "Merge",
    "Minimum",
    "Multiply",
    "PReLU",
    "Permute",
    "ReLU",
    "RepeatVector",
    "Reshape",
    "ReversibleEmbedding",
    "Softmax",
    "SpatialDropout1D",
    "Subtract",
    "ThresholdedReLU",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "merge",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]

# "Merge" stands in configs of Keras 1. Models, which are layers too, are added by `fastembed.models`.
registry = Registry("layer", {"Layer": Layer, "Merge": Merge, **subclasses_in(globals(), Layer)})


def serialize(layer: Layer) -> dict[str, Any]:
    """A layer's class and config, and the shapes that it was built for, as Keras 3 writes them.

    Examples
    --------
    >>> written = serialize(Embedding(10, 2, name="words"))
    >>> written["module"], written["class_name"], written["config"]["input_dim"]
    ('keras.layers', 'Embedding', 10)
    """
    written: dict[str, Any] = serialize_keras_object(layer)
    return written


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The layer that `serialize` of any era described; built, if it was.

    Parameters
    ----------
    config : dict
        ``{"class_name", "config"}``, with or without Keras 3's ``"module"``, ``"registered_name"`` and
        ``"build_config"``. Nothing that it names is imported.
    custom_objects : mapping of str to class, optional
        Classes of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If there is no such layer, or the class cannot be made with the config or built for those shapes.

    Examples
    --------
    >>> deserialize({"class_name": "Embedding", "config": {"input_dim": 9, "output_dim": 2, "name": "words"}})
    <Embedding name=words, built=False>
    """
    return registry.deserialize(config, custom_objects)

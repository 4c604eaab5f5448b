"""Keras's Embedding layer and what lives around it, for CPUs.

>>> import numpy as np
>>> import fastembed
>>> embedding = fastembed.layers.Embedding(input_dim=1000, output_dim=64)
>>> embedding(np.array([[4, 10], [2, 999]])).shape
(2, 2, 64)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# First, because it loads OpenMP as it should be.
from fastembed.threads import get_num_threads, num_threads, set_num_threads

# isort: split
from fastembed import (
    activations,
    backend,
    constraints,
    dtype_policies,
    initializers,
    layers,
    ops,
    quantizers,
    random,
    regularizers,
)
from fastembed._version import __version__
from fastembed.dtype_policies import DTypePolicy
from fastembed.eras import era
from fastembed.layers import Input, InputSpec, Layer
from fastembed.layers.layer import recording
from fastembed.memory import empty_cache, set_cache_limit
from fastembed.ops import IndexedSlices
from fastembed.variable import Variable

if TYPE_CHECKING:
    from fastembed import (
        callbacks,
        config,
        losses,
        metrics,
        mixed_precision,
        models,
        optimizers,
        preprocessing,
        saving,
        utils,
    )
    from fastembed.models import Functional, Model, Sequential

__all__ = [
    "DTypePolicy",
    "Functional",
    "IndexedSlices",
    "Input",
    "InputSpec",
    "Layer",
    "Model",
    "Sequential",
    "Variable",
    "__version__",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "dtype_policies",
    "empty_cache",
    "era",
    "get_num_threads",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "num_threads",
    "ops",
    "optimizers",
    "preprocessing",
    "quantizers",
    "random",
    "recording",
    "regularizers",
    "saving",
    "set_cache_limit",
    "set_num_threads",
    "utils",
]

_LAZY = frozenset(
    {
        "callbacks", "config", "losses", "metrics", "mixed_precision", "models", "optimizers",
        "preprocessing", "saving", "utils",
    }
)  # fmt: skip
_IN_MODELS = frozenset({"Functional", "Model", "Sequential"})


def __getattr__(name: str) -> Any:
    """Import what most programs that look ids up never need when it is first asked for."""
    if name in _LAZY or name in _IN_MODELS:
        from importlib import import_module

        if name in _IN_MODELS:
            return getattr(import_module("fastembed.models"), name)
        return import_module(f"fastembed.{name}")
    raise AttributeError(f"module 'fastembed' has no attribute {name!r}")

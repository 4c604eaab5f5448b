"""Where Keras 2 had the layers that merge; called, it is the function `merge` of Keras 1."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from fastembed.layers import merging
from fastembed.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)

__all__ = [
    "Add",
    "Average",
    "Concatenate",
    "Dot",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]


class _Merge(ModuleType):
    """Python puts this module into `fastembed.layers.merge`, where the function is, when it is imported."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return merging.merge(*args, **kwargs)


sys.modules[__name__].__class__ = _Merge

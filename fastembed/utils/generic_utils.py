"""Where much of keras.utils was in Keras 1 and 2."""

from __future__ import annotations

from typing import Any

from fastembed._custom_objects import CustomObjectScope, custom_object_scope, get_custom_objects
from fastembed._registry import deserialize_keras_object, serialize_keras_object
from fastembed.progress import Progbar

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "serialize_keras_object",
    "to_list",
]


def to_list(x: Any) -> list[Any]:
    """``x`` if it is a list, else a list that holds it.

    >>> to_list([1, 2]), to_list(1)
    ([1, 2], [1])
    """
    return x if isinstance(x, list) else [x]

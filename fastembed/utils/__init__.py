"""Helpers under the names of keras.utils."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastembed import optimizers as _  # noqa: F401 (whose configs deserialize_keras_object reads)
from fastembed._custom_objects import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from fastembed._registry import deserialize_keras_object, serialize_keras_object
from fastembed.preprocessing.sequence import pad_sequences
from fastembed.progress import Progbar
from fastembed.random import set_random_seed
from fastembed.utils import generic_utils as generic_utils
from fastembed.utils import np_utils as np_utils
from fastembed.utils.numerical import normalize, to_categorical

if TYPE_CHECKING:
    from fastembed.models.data import PyDataset, Sequence, pack_x_y_sample_weight, unpack_x_y_sample_weight

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]

_OF_DATA = frozenset({"PyDataset", "Sequence", "pack_x_y_sample_weight", "unpack_x_y_sample_weight"})


def __getattr__(name: str) -> Any:
    """Import what belongs to models when it is first asked for."""
    if name in _OF_DATA:
        from fastembed.models import data

        return getattr(data, name)
    raise AttributeError(f"module 'fastembed.utils' has no attribute {name!r}")

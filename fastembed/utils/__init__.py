"""Helpers under the names of keras.utils."""

from __future__ import annotations

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
from fastembed.models.data import PyDataset, Sequence, pack_x_y_sample_weight, unpack_x_y_sample_weight
from fastembed.preprocessing.sequence import pad_sequences
from fastembed.progress import Progbar
from fastembed.random import set_random_seed
from fastembed.utils import data_utils as data_utils
from fastembed.utils import generic_utils as generic_utils
from fastembed.utils import np_utils as np_utils
from fastembed.utils.numerical import normalize, to_categorical

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

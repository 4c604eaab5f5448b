"""Embeddings out of the model files that Keras writes.

`list_embeddings` says what a file holds, `load_embedding` makes a layer of it. A file is data and nothing
else: no code in it runs, nothing that it names is imported or opened, and it gets no more memory than its own
size justifies.

How it is done, from the file up: `source` opens it, once; `hdf5` and `archive` each know one container;
`configs` turns JSON into a tree of layers; `layouts` knows where Keras puts weights and which of them are
Embedding tables; `model_file` holds these together; `embeddings` is what a user calls.

The names by which configs know the user's own classes are here too, as in keras.saving.
"""

from __future__ import annotations

from typing import Any

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
from fastembed.saving.configs import embedding_arguments
from fastembed.saving.embeddings import list_embeddings, load_embedding
from fastembed.saving.model_file import EmbeddingRecord

__all__ = [
    "CustomObjectScope",
    "EmbeddingRecord",
    "custom_object_scope",
    "deserialize_keras_object",
    "embedding_arguments",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "list_embeddings",
    "load_embedding",
    "register_keras_serializable",
    "serialize_keras_object",
]

_OF_MODELS = ("load_model", "save_model", "load_weights", "save_weights")


def __getattr__(name: str) -> Any:
    """Hand on what Keras has here too, and which knows models: the one import from a floor above."""
    if name in _OF_MODELS:
        from fastembed.models import files

        return getattr(files, name)
    raise AttributeError(f"module 'fastembed.saving' has no attribute {name!r}")

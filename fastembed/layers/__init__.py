"""Layers under Keras's names. `Layer` is the base; one file a family."""

from fastembed.layers.dense import Dense
from fastembed.layers.embedding import Embedding
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.layer import Layer

__all__ = ["Dense", "Embedding", "InputSpec", "Layer"]

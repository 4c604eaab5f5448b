"""Where Keras 2.2 and tf.keras had the inputs of models."""

from __future__ import annotations

from fastembed.layers import Input, InputLayer

__all__ = [
    "Input",
    "InputLayer",
]

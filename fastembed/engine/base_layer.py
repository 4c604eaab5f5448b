"""Where Keras 2.2 and tf.keras had the base of layers."""

from __future__ import annotations

from fastembed.layers import InputSpec, Layer

__all__ = [
    "InputSpec",
    "Layer",
]

"""What layers and models are made of, where Keras 1 and 2 had it."""

from __future__ import annotations

from fastembed.layers import Input, InputLayer, InputSpec, Layer
from fastembed.models import Model

__all__ = [
    "Input",
    "InputLayer",
    "InputSpec",
    "Layer",
    "Model",
]

"""Where Keras 1 and 2 had layers and what they are connected by."""

from __future__ import annotations

from fastembed.layers import Input, InputLayer, InputSpec, Layer
from fastembed.models import Model as Container

__all__ = [
    "Container",
    "Input",
    "InputLayer",
    "InputSpec",
    "Layer",
]

"""Where Keras 1 and 2 had the activations that are layers."""

from __future__ import annotations

from fastembed.layers.activation import ELU, LeakyReLU, PReLU, ReLU, Softmax, ThresholdedReLU

__all__ = [
    "ELU",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "Softmax",
    "ThresholdedReLU",
]

"""Where Keras 1, 2 and tf.keras had models."""

from __future__ import annotations

from fastembed.models import Model

__all__ = [
    "Model",
]

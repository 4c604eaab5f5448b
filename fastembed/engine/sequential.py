"""Where Keras 2.2 and tf.keras had models in a row."""

from __future__ import annotations

from fastembed.models import Sequential

__all__ = [
    "Sequential",
]

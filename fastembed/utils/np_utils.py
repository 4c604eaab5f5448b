"""Where keras.utils.to_categorical was in Keras 1 and 2."""

from __future__ import annotations

from fastembed.utils.numerical import normalize, to_categorical

__all__ = ["normalize", "to_categorical"]

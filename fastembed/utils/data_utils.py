"""Where keras.utils.Sequence was in Keras 2 and tf.keras."""

from __future__ import annotations

from fastembed.models.data import Sequence

__all__ = ["Sequence"]

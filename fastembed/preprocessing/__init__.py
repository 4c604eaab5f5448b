"""From text and lists of ids to arrays, under the names of keras.preprocessing."""

from __future__ import annotations

from fastembed.preprocessing import sequence, text

__all__ = ["sequence", "text"]

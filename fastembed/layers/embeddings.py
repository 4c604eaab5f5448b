"""Where the Embedding was in Keras 1 and 2."""

from __future__ import annotations

from fastembed.layers.embedding import Embedding

__all__ = [
    "Embedding",
]

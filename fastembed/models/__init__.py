"""Models under Keras's names."""

from __future__ import annotations

from fastembed.models.functional import Functional
from fastembed.models.model import Model
from fastembed.models.sequential import Sequential

__all__ = ["Functional", "Model", "Sequential"]

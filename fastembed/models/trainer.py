"""compile, fit, evaluate, predict."""

from __future__ import annotations


class Trainer:
    """What a model learns with."""

"""Models that are made of calls."""

from __future__ import annotations

from fastembed.models.model import Model


class Functional(Model):
    """What ``Model(inputs, outputs)`` makes."""

    saves_layers_first = True

"""Stand-in until the real ledger is merged: every step is dense, by the formulas of the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np

from fastembed.ops import IndexedSlices
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Rule(NamedTuple):
    name: str
    constants: Mapping[str, float]
    slots: tuple[str, ...]


class Ledger:
    def __init__(
        self,
        variable: Variable,
        slots: Sequence[Variable],
        rule: Rule,
        *,
        lazy: bool = False,
        dense_because: str | None = None,
    ) -> None:
        self.variable = variable
        self.slots = list(slots)
        self.rule = rule
        self.lazy = lazy
        self.path = "dense" if dense_because else "lazy" if lazy else "sparse"
        self.why = dense_because or "stand-in"

    def step(
        self,
        gradient: NDArray[Any] | IndexedSlices,
        numbers: tuple[float, ...],
        decay: float,
        constraint: Callable[..., Any] | None,
    ) -> None:
        from twins import step  # type: ignore[import-not-found]

        g = gradient.to_dense() if isinstance(gradient, IndexedSlices) else gradient
        wide = np.float64 if self.variable.dtype == "float64" else np.float32
        w, *slots = [np.array(v.value, wide) for v in (self.variable, *self.slots)]
        before = [a.copy() for a in (w, *slots)]
        step(self.rule.name, self.rule.constants, numbers, decay, w, slots, g)
        if self.lazy and isinstance(gradient, IndexedSlices):
            kept = np.ones(len(w), bool)
            kept[gradient.indices] = False
            for a, b in zip((w, *slots), before):
                a[kept] = b[kept]
        self.variable.assign(w if constraint is None else constraint(w))
        for variable, value in zip(self.slots, slots):
            variable.assign(value)

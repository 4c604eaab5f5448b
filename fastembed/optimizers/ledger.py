"""The rows of a variable and of its slots, as an optimizer moves them, and the book of what they are owed.

An optimizer's rule moves every row at every step, those without a gradient too. Where it can, a ledger moves
only the rows that a gradient names, and keeps book of what the others are owed (src/steps.h has the
formula). Nothing but a step changes the book: whoever reads a value gets a finished copy, and the rows behind
it stay as they were at their last gradient. So the bits of a result do not depend on when, and how often,
somebody looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np

from fastembed._memory import copy as copied
from fastembed._steps import Steps, why_dense
from fastembed.constraints import NonNeg
from fastembed.dtypes import widen_bfloat16
from fastembed.ops import IndexedSlices
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastembed._rows import Owed


class Rule(NamedTuple):
    """A formula with constants, and what its slots are called."""

    name: str
    constants: Mapping[str, float]
    slots: tuple[str, ...]


class Ledger:
    """A variable and its slots, and how they are moved.

    Parameters
    ----------
    variable : Variable
    slots : sequence of Variable
        In the order of ``rule.slots``.
    rule : Rule
    lazy : bool, default False
        Whether rows without a gradient stay as they are, whatever the rule does to them.
    dense_because : str, optional
        Why all rows have to be moved at each step.

    Attributes
    ----------
    slots : sequence of Variable
    path : {"sparse", "lazy", "dense"}
        How the last step was done, or the first will be.
    why : str
        The reason, as a sentence.
    """

    def __init__(
        self,
        variable: Variable,
        slots: Sequence[Variable],
        rule: Rule,
        *,
        lazy: bool = False,
        dense_because: str | None = None,
    ) -> None:
        self.rule, self.lazy, self.slots = rule, lazy, slots
        self._variables = [variable, *slots]
        self._dense_because = dense_because
        for slot in slots:  # so that whoever holds one of them waits for nobody
            slot._lock = variable._lock
        self._steps: Steps | None = None
        self._bases: list[NDArray[Any]] = []  # what is moved: that of the variable, those of its slots
        self._additions: dict[int, int] = {}  # how often was added to the tables of finished copies
        self._owed: Owed | None = None
        self._is_nonneg = False  # whether no row is below 0, as far as steps have seen to it
        self._mode, self._reason = "dense", ""
        self._planned_for: Any = self  # the constraint that `_plan` knew; none of these is a ledger
        self._plan(variable.constraint)

    # --- Which way --------------------------------------------------------------------------------

    def _plan(self, constraint: Callable[..., Any] | None) -> None:
        """Decide for the path that sparse gradients take."""
        if constraint is self._planned_for:
            self.path, self.why = self._mode, self._reason
            return
        self._planned_for = constraint
        because = None if self.lazy else self._why_dense(constraint)
        if self.lazy:  # whatever else looks at all rows: a step moves those of its gradient
            self._mode, self._reason = "lazy", "lazy=True: rows without a gradient stay as they are"
        elif because is not None:
            self._mode, self._reason = "dense", because
        else:
            self._mode = "sparse"
            self._reason = "rows without a gradient are given what they are owed when they are looked at"
        self.path, self.why = self._mode, self._reason

    def _why_dense(self, constraint: Callable[..., Any] | None) -> str | None:
        """Why all rows are moved at each step, if they are."""
        variable, rule = self._variables[0], self.rule
        if self._dense_because is not None:
            return self._dense_because
        if not (constraint is None or isinstance(constraint, NonNeg)):
            return f"{type(constraint).__name__} constrains all rows after each step"
        if variable.dtype not in ("float32", "float64"):
            return f"its numbers are {variable.dtype}, and are moved as float32"
        return why_dense(rule.name, rule.constants, variable.dtype)

    # --- A step -----------------------------------------------------------------------------------

    def step(
        self,
        gradient: NDArray[Any] | IndexedSlices,
        numbers: tuple[float, ...],
        decay: float = 0.0,
        constraint: Callable[..., Any] | None = None,
    ) -> None:
        """Move the variable, as the rule has it.

        Parameters
        ----------
        gradient : ndarray of the variable's shape, or IndexedSlices
            Indices may repeat.
        numbers : tuple of float
            Those of the rule for this step.
        decay : float, default 0.0
            The share of itself that each row loses first.
        constraint : callable, optional
            What the variable has to fulfil afterwards.

        Raises
        ------
        IndexError
            If an index is no row; nothing is then moved.
        """
        with self._variables[0]._lock:
            self._plan(constraint)
            steps = self._taken_up(bool(decay))
            try:
                self._move(steps, gradient, numbers, decay, constraint)
            finally:  # also after Ctrl-C: what is moved is moved
                self._publish(steps)

    def _move(
        self,
        steps: Steps,
        gradient: NDArray[Any] | IndexedSlices,
        numbers: tuple[float, ...],
        decay: float,
        constraint: Callable[..., Any] | None,
    ) -> None:
        base = self._bases[0]
        nonneg = isinstance(constraint, NonNeg)
        if isinstance(gradient, IndexedSlices):
            self._move_rows(steps, gradient, numbers, decay, nonneg)
        else:
            self.path, self.why = "dense", "its gradient is dense"
            values = np.require(gradient, base.dtype, ["C", "A"])
            steps.step_all(np.atleast_1d(values), numbers, decay, nonneg)
        self._is_nonneg = nonneg
        if constraint is not None and not nonneg:
            kept = np.asarray(constraint(steps.finish().reshape(base.shape)))
            if kept.shape != base.shape:
                raise ValueError(
                    f"the constraint of {self._variables[0]} made an array of shape {kept.shape} of it, "
                    "after a step that is made: a constraint returns as many numbers as it is given"
                )
            steps.overwrite(np.require(np.atleast_1d(kept), base.dtype, ["C", "A"]))

    def _move_rows(
        self,
        steps: Steps,
        gradient: IndexedSlices,
        numbers: tuple[float, ...],
        decay: float,
        nonneg: bool,
    ) -> None:
        base = self._bases[0]
        dense = self._mode == "dense"
        if self._mode == "sparse" and not decay < 1:
            dense, self.path = True, "dense"
            self.why = f"the weight decay of {decay} at this step leaves nothing of a row"
        # Of rows that steps have not seen, NonNeg has to look at all of them once.
        all_to_zero = nonneg and not dense and not self._is_nonneg and bool((steps.finish() < 0).any())
        if all_to_zero and self._mode != "lazy":
            dense, self.path, self.why = True, "dense", "NonNeg met values below 0 that no step had made"
        if dense or self.rule.name == "rowwise_adagrad":
            gradient = gradient.summed()
        values = np.require(gradient.values, base.dtype, ["C", "A"])
        if not dense:
            steps.step_rows(gradient.indices, values, numbers, decay, nonneg)
            if all_to_zero:
                steps.overwrite(np.maximum(steps.finish(), 0))
        elif self.rule.name in ("lamb", "rowwise_adagrad"):
            steps.step_all(np.require(gradient.to_dense(), base.dtype, ["C", "A"]), numbers, decay, nonneg)
        else:
            steps.step_all_by_rows(gradient.indices, values, numbers, decay, nonneg)

    def _taken_up(self, decays: bool) -> Steps:
        """What moves the rows, on the values that the variables have now."""
        steps = self._steps
        changed = [i for i in range(len(self._variables)) if not self._is_ours(i)]
        if steps is not None and not changed and steps.mode == self._mode and (steps.decays or not decays):
            for i, base in enumerate(self._bases):
                own = self._unshown(i, base)
                if own is not base:
                    self._bases[i] = own
                    steps.move_to(i - 1, np.atleast_1d(own))
            return steps
        if steps is not None:
            steps.settle()
        try:
            self._bases = [
                self._new_base(i) if steps is None or i in changed else self._unshown(i, self._bases[i])
                for i in range(len(self._variables))
            ]
        except BaseException:
            self._let_go()
            raise
        rows, *slots = map(np.atleast_1d, self._bases)
        decays = decays or (steps is not None and steps.decays)
        self._is_nonneg = False
        self._steps = Steps(self.rule.name, rows, slots, self.rule.constants, mode=self._mode, decays=decays)
        return self._steps

    def moved_last(self) -> bool:
        """Whether the variable is as the last step left it."""
        return self._is_ours(0)

    def _is_ours(self, i: int) -> bool:
        """Whether nobody but this ledger has changed a variable."""
        variable, additions = self._variables[i], self._additions.get(i)
        return variable._creditor is self and (additions is None or additions == _additions(variable))

    def _new_base(self, i: int) -> NDArray[Any]:
        """The memory of a variable, to be moved in place from now on."""
        variable = self._variables[i]
        if variable._creditor not in (None, self):
            variable._creditor.settle(variable)
        variable._creditor = self  # before a look at its views: see Variable.value
        memory = variable._memory
        if variable.dtype == "bfloat16":
            return widen_bfloat16(memory)
        if variable.dtype not in ("float32", "float64"):
            return memory.astype(np.float32)
        return self._unshown(i, memory)

    def _unshown(self, i: int, base: NDArray[Any]) -> NDArray[Any]:
        """The base of a variable; a copy, where somebody holds a view of it, which is not to change."""
        variable = self._variables[i]
        shown = variable._memory is base and variable._is_shown()
        return copied(base, base.dtype) if shown else base

    # --- The variables' view ----------------------------------------------------------------------

    def _publish(self, steps: Steps) -> None:
        """Let the variables have their new values."""
        self._additions.clear()
        self._owed = steps.for_lookups(self._settle_for_writing)
        for i, (variable, base) in enumerate(zip(self._variables, self._bases)):
            if variable.dtype not in ("float32", "float64"):
                variable._take(variable.memory_for(base), self)
                self._bases[i] = self._new_base(i)  # the value is what the variable can hold, and no more
                steps.move_to(i - 1, np.atleast_1d(self._bases[i]))
            elif i == 0:
                variable._take(base, self, self._owed)
            elif variable._memory is not base or variable._creditor is not self:
                variable._take(base, self)
        self._variables[0]._refresh_followers()

    def settle(self, variable: Variable) -> None:
        """Give the variable a value to which nothing is owed."""
        with variable._lock:
            if variable._creditor is not self:
                return
            i = next(i for i, each in enumerate(self._variables) if each is variable)
            if self._steps is None or variable._memory is not self._bases[i] or not self._steps.owes(i - 1):
                return
            finished = self._steps.finish(i - 1).reshape(variable.shape)
            finished.flags.writeable = False
            variable._take(finished, self)
            self._additions[i] = _additions(variable)

    def release(self) -> None:
        """Make all moves that are owed, in place, and let go of the variables until the next step.

        That begins anew from their values. (What is owed is rounded here: later steps may have other last
        bits.)
        """
        with self._variables[0]._lock:
            if self._steps is not None:
                self._steps.settle()
                for i, (variable, base) in enumerate(zip(self._variables, self._bases)):
                    if self._is_ours(i) and variable.dtype in ("float32", "float64"):
                        variable._take(base)
            self._let_go()

    def _let_go(self) -> None:
        self._steps, self._bases, self._owed = None, [], None
        self._additions.clear()
        for variable in self._variables:
            if variable._creditor is self:
                variable._take(variable._memory)

    def owed_to(self, variable: Variable) -> Owed | None:
        """What lookups in the variable's memory need to finish its rows."""
        if variable is not self._variables[0] or not self._bases or variable._memory is not self._bases[0]:
            return None
        return self._owed

    def _settle_for_writing(self) -> None:
        """The variable's table is about to be added to."""
        self.settle(self._variables[0])

    def __getstate__(self) -> dict[str, Any]:
        # The variables' own states are settled; the ledger begins anew from these.
        return {**self.__dict__, "_steps": None, "_bases": [], "_additions": {}, "_owed": None}


def _additions(variable: Variable) -> int:
    """How often something was added in place to the variable's tables."""
    return sum(table.additions for table in variable._tables.values())

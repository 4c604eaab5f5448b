"""What happens to gradients before a step: they are checked, scaled, gathered over calls, and clipped.

Each of these takes the gradient of a lookup (`IndexedSlices`) as what it stands for, an array that is zero in
all other rows, and touches only the rows that are there. What a caller gave is never changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Union

import numpy as np

from fastembed.ops import IndexedSlices, gather, scatter_add
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

Gradient = Union["NDArray[Any]", IndexedSlices]


def checked(gradient: Any, variable: Variable) -> Gradient:
    """``gradient`` in the dtype that steps are computed in, or the error that says why it cannot be one."""
    dtype = compute_dtype(variable.dtype)
    if not isinstance(gradient, IndexedSlices):
        values = np.asarray(gradient)
        if values.shape != variable.shape:
            raise ValueError(
                f"The gradient of {variable} has the shape {values.shape}: it must have the variable's, "
                f"{variable.shape}. Sum or reshape it first; nothing is broadcast."
            )
        return _as_floats(values, dtype, variable)
    if gradient.dense_shape != variable.shape:
        raise ValueError(
            f"The gradient of {variable} has the dense shape {gradient.dense_shape}: it must have the "
            f"variable's, {variable.shape}. It seems to belong to another table."
        )
    values, indices = _as_floats(gradient.values, dtype, variable), gradient.indices
    if indices.dtype.kind not in "iu":
        raise TypeError(f"The rows of a gradient are named by integers, got indices of dtype {indices.dtype}")
    indices = np.ascontiguousarray(indices, np.int64)
    # As unsigned numbers negative ones are the largest.
    if indices.size and indices.view(np.uint64).max() >= variable.shape[0]:
        at = np.flatnonzero((indices < 0) | (indices >= variable.shape[0]))[0]
        raise IndexError(
            f"The gradient of {variable} names the row {gradient.indices[at]} (indices[{at}]), but the rows "
            f"are 0 to {variable.shape[0] - 1}. Nothing was changed; leave such rows out, or look the ids up "
            'with `out_of_range="zeros"`, whose gradient does.'
        )
    if values is gradient.values and indices is gradient.indices:
        return gradient
    return IndexedSlices(values, indices, gradient.dense_shape)


def compute_dtype(dtype: str) -> type[np.floating[Any]]:
    """What variables of this dtype are moved in: never in halves."""
    return np.float64 if dtype == "float64" else np.float32


def _as_floats(values: NDArray[Any], dtype: type[np.floating[Any]], variable: Variable) -> NDArray[Any]:
    if values.dtype == dtype and values.flags.c_contiguous:
        return values
    if values.dtype.kind not in "fiu" and values.dtype.name != "bfloat16":
        raise TypeError(f"The gradient of {variable} must be numbers, got dtype {values.dtype}")
    return np.array(values, dtype, order="C")


def with_values(gradient: Gradient, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Gradient:
    """The gradient whose numbers are ``change(numbers)``, where ``change(0) == 0``."""
    if isinstance(gradient, IndexedSlices):
        return IndexedSlices(change(gradient.values), gradient.indices, gradient.dense_shape)
    return change(gradient)


# --- Clipping -------------------------------------------------------------------------------------


def _summed(gradient: Gradient) -> Gradient:
    return gradient.summed() if isinstance(gradient, IndexedSlices) else gradient


def clip_values(gradients: Sequence[Gradient], limit: float) -> list[Gradient]:
    """Each number between ``-limit`` and ``limit``; a NaN stays one."""
    return [with_values(_summed(g), lambda values: np.clip(values, -limit, limit)) for g in gradients]


def clip_norms(gradients: Sequence[Gradient], limit: float) -> list[Gradient]:
    """Each gradient scaled down to the norm ``limit`` where it has a larger one."""
    summed = [_summed(g) for g in gradients]
    return [_scaled(g, limit, _norm([g])) for g in summed]


def clip_joint_norm(gradients: Sequence[Gradient], limit: float) -> list[Gradient]:
    """All gradients scaled by one factor, so that together they have at most the norm ``limit``."""
    summed = [_summed(g) for g in gradients]
    norm = _norm(summed)
    return [_scaled(g, limit, norm) for g in summed]


def _scaled(gradient: Gradient, limit: float, norm: float) -> Gradient:
    return gradient if norm <= limit else with_values(gradient, lambda values: values * (limit / norm))


# Numbers that are squared at a time: as doubles they stay in a core's cache.
_BLOCK = 16384


def _norm(gradients: Sequence[Gradient]) -> float:
    """The norm of all numbers together: in float64, and the same for any number of threads."""
    squares = 0.0
    for gradient in gradients:
        flat = (gradient.values if isinstance(gradient, IndexedSlices) else gradient).reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK].astype(np.float64)
            squares += float(np.square(block, out=block).sum())
    if not math.isfinite(squares):
        raise ValueError(
            "A gradient that is clipped by its norm has a NaN or an infinity (or numbers whose squares "
            "exceed float64): scaled by such a norm, every number would be NaN, in Keras also the weights of "
            "all other rows. Nothing was changed. Look for the NaN in the loss or the upstream gradient, or "
            "clip by `clipvalue`, which leaves a NaN where it is and makes a finite number of an infinity."
        )
    return math.sqrt(squares)


# --- Gathering over several calls -----------------------------------------------------------------


class Accumulator:
    """The sum of a variable's gradients since its last step, in a variable of its shape.

    It remembers which rows are not zero, so that lookups are gathered, and their sum is handed on, at the
    cost of their rows.
    """

    def __init__(self, variable: Variable) -> None:
        self.variable = variable
        self._rows: list[NDArray[Any]] | None = []  # None: any

    def add(self, gradient: Gradient) -> None:
        """Add a gradient."""
        if isinstance(gradient, IndexedSlices) and self._rows is not None:
            scatter_add(self.variable, gradient.indices, gradient.values)
            self._rows.append(np.array(gradient.indices))
        else:
            self._rows = None
            self.variable.assign_add(gradient.to_dense() if isinstance(gradient, IndexedSlices) else gradient)

    def with_(self, gradient: Gradient) -> Gradient:
        """The sum with one more gradient, which is not kept."""
        if not isinstance(gradient, IndexedSlices):
            return gradient + self.variable.value
        if self._rows is None:
            return gradient.to_dense() + self.variable.value
        if not self._rows:
            return gradient
        rows = np.unique(np.concatenate(self._rows))
        return gradient + IndexedSlices(gather(self.variable, rows), rows, self.variable.shape)

    def clear(self) -> None:
        """Begin again with zeros."""
        if self._rows:
            rows = np.unique(np.concatenate(self._rows))
            values = gather(self.variable, rows)
            if np.isfinite(values).all():  # then what is taken away from itself leaves 0
                scatter_add(self.variable, rows, -values)
                self._rows = []
        if self._rows != []:
            self.variable.assign(np.zeros(self.variable.shape))
            self._rows = []

    def forget_rows(self) -> None:
        """Take any row for one that is not zero: the variable was changed from outside."""
        self._rows = None

"""Rows of a table with a product of two thin matrices added to them (LoRA)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._rows import OutOfRange, Table
from fastembed.tables.dense import DenseTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 1 << 18  # numbers of the output: the product and the sum that belong to them stay in the caches


class LoraTable:
    """The rows of another table, and ``scale * (A[ids] @ B)`` added to them.

    Parameters
    ----------
    base : table
        Whose rows are added to: any object with ``shape``, ``row_dtype`` and ``gather``.
    a : table or ndarray of float32, shape (rows, rank)
    b : table or ndarray of float32, shape (rank, columns)
        Looked at by each lookup, so that it sees what was assigned to a variable meanwhile.
    scale : float
        ``alpha / rank``.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Notes
    -----
    The product of A and B, a matrix as large as the table, is never made: a lookup costs
    ``2 * rank * columns`` operations an id. It is computed in float32 (float64 where the base's rows are) and
    rounded once.

    Examples
    --------
    >>> base = DenseTable(np.zeros((3, 2), np.float32))
    >>> table = LoraTable(base, np.float32([[0], [1], [2]]), np.float32([[5, 6]]), scale=0.5)
    >>> table.gather(np.array([2, 1]))
    array([[5. , 6. ],
           [2.5, 3. ]], dtype=float32)
    """

    def __init__(self, base: Any, a: Any, b: Any, scale: float) -> None:
        self.base = base
        self._a, self._b = (x if isinstance(x, Table) else DenseTable(x) for x in (a, b))
        self.scale = float(scale)
        (rows, columns), rank = base.shape, self._b.shape[0]
        if self._a.shape != (rows, rank) or self._b.shape != (rank, columns):
            raise ValueError(
                f"matrices of shape {self._a.shape} and {self._b.shape} cannot be added to a table of shape "
                f"{base.shape}: they must be (rows, rank) and (rank, columns)"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows together."""
        shape: tuple[int, ...] = self.base.shape
        return shape

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """Of the rows that `gather` returns."""
        dtype: np.dtype[Any] = self.base.row_dtype
        return dtype

    def gather(
        self,
        ids: NDArray[Any],
        out: NDArray[Any] | None = None,
        out_of_range: str | int | OutOfRange = "raise",
    ) -> NDArray[Any]:
        """Rows at ``ids``; see `fastembed._rows.Table.gather`.

        Other threads may assign to base, A and B meanwhile; what each of them gives to a row is wholly old or
        wholly new. They may also change the ids: a row and what is added to it are always those of one id.
        """
        ids = np.array(ids, order="C")
        rows: NDArray[Any] = self.base.gather(ids, out, out_of_range)
        flat, flat_ids = rows.reshape(-1, self.shape[1]), ids.reshape(-1)
        b = self._b.array
        wide = np.promote_types(np.float32, self.row_dtype) if self.row_dtype.kind == "f" else np.float32
        step = max(1, _AT_ONCE // max(1, self.shape[1]))
        with np.errstate(over="ignore"):  # a number beyond float16 becomes infinite, as in Keras
            for start in range(0, len(flat), step):
                lot = slice(start, start + step)
                more = np.matmul(self._a.gather(flat_ids[lot], None, out_of_range), b)
                more *= np.float32(self.scale)
                flat[lot] = flat[lot].astype(wide, copy=False) + more
        return rows

"""Rows as they are, one after the other in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastembed._rows import Owed, Table
from fastembed.dtypes import array_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DenseTable(Table):
    """Rows in memory that somebody holds: a variable's, an array's.

    Parameters
    ----------
    stored : ndarray of shape (rows, ...), C-contiguous
        Not copied. For bfloat16 numbers their uint16 words.
    dtype : str, optional
        Name of the dtype of the stored numbers, where it is bfloat16.
    row_dtype : {"float32", "bfloat16"}, default "float32"
        For bfloat16 numbers: the dtype of the rows that `gather` returns, either of them exactly.
    writable : bool, optional
        Whether rows can be added to in place. Default: whether the array is writable.

    Raises
    ------
    TypeError, ValueError
        If the array cannot be looked up as it lies: Python objects, no axis of rows, not C-contiguous.

    Examples
    --------
    >>> import numpy as np
    >>> DenseTable(np.eye(3)).gather(np.array([2, 0]))
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """

    def __init__(
        self,
        stored: NDArray[Any],
        dtype: str | None = None,
        row_dtype: str = "float32",
        writable: bool | None = None,
    ) -> None:
        widen = dtype == "bfloat16" and row_dtype != "bfloat16"
        if dtype == "bfloat16" and not widen:
            stored = stored.view(array_dtype("bfloat16"))
        super().__init__(stored, widen=widen, writable=writable)

    def replace(self, stored: NDArray[Any], owed: Owed | None = None) -> None:
        """Swap the memory for that of ``stored``, of the same shape and stored dtype.

        Lookups that run meanwhile finish on the old memory: each row is wholly old or wholly new. Where the
        new ones are ``owed`` moves, lookups return them as they will be after these.
        """
        super().replace(stored.view(self.array.dtype), owed)

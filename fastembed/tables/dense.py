"""Rows as they are, one after the other in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastembed._rows import Table
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

    Examples
    --------
    >>> import numpy as np
    >>> DenseTable(np.eye(3)).gather(np.array([2, 0]))
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """

    def __init__(self, stored: NDArray[Any], dtype: str | None = None, row_dtype: str = "float32") -> None:
        if dtype != "bfloat16":
            super().__init__(stored)
        elif row_dtype == "bfloat16":
            super().__init__(stored.view(array_dtype("bfloat16")))
        else:
            super().__init__(stored, widen=True)

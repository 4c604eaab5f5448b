"""Rows as int8 or int4 codes and their scales, turned back into floats as they are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._rows import CodeTable
from fastembed.dtypes import array_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _QuantizedTable(CodeTable):
    """What tables of int8 and int4 codes share."""

    _is_packed: bool

    def _hold(
        self,
        codes: NDArray[np.int8],
        columns: int,
        scale: NDArray[Any],
        zero: NDArray[np.int8] | None,
        group_of: NDArray[Any] | None,
        row_dtype: np.dtype[Any],
    ) -> None:
        """Look rows up in these arrays from now on; they are swapped all at once."""
        wide = np.float64 if row_dtype == np.float64 else np.float32
        with np.errstate(over="ignore"):  # beyond float16 a scale is infinite, as in Keras
            rounded = np.ascontiguousarray(scale.astype(row_dtype, copy=False), wide)
        super().__init__(
            codes,
            rounded if scale.ndim == 2 else rounded.reshape(-1, 1),
            zero,
            columns=columns,
            is_packed=self._is_packed,
            row_dtype=row_dtype,
            group_of=group_of,
        )

    def dequantized(self) -> NDArray[Any]:
        """All rows.

        >>> Int8Table(np.int8([[64, -127]]), np.float32([2])).dequantized()
        array([[ 32. , -63.5]], dtype=float32)
        """
        return self.gather(np.arange(len(self)))


class Int8Table(_QuantizedTable):
    """Rows of int8 codes, each with a scale that they are divided by.

    Parameters
    ----------
    codes : ndarray of int8, shape (rows, columns), C-contiguous
        Not copied.
    scale : ndarray of floats, shape (rows,)
        Not copied where it is float32 (float64 for rows of float64), in which numbers are computed.
    row_dtype : {"float32", "float64", "float16", "bfloat16"}, default "float32"
        Of the rows that `gather` returns.

    Raises
    ------
    TypeError, ValueError
        If the arrays do not fit together.

    Notes
    -----
    A number is ``codes[i, j] / scale[i]`` with the scale rounded to ``row_dtype`` first and the quotient to
    ``row_dtype`` last: the bits of Keras 3 on NumPy. `fastembed.quantizers.quantize_int8` makes both arrays.

    Examples
    --------
    >>> Int8Table(np.int8([[64, -127], [1, 2]]), np.float32([127, 2])).gather(np.array([1]))
    array([[0.5, 1. ]], dtype=float32)
    """

    _is_packed = False

    def __init__(self, codes: NDArray[np.int8], scale: NDArray[Any], row_dtype: str = "float32") -> None:
        columns = np.shape(codes)[1] if np.ndim(codes) == 2 else 0
        self._hold(codes, columns, scale, None, None, array_dtype(row_dtype))

    def replace(self, codes: NDArray[np.int8], scale: NDArray[Any]) -> None:  # type: ignore[override]
        """Swap the arrays for others, of the same shapes, both at once.

        Lookups that run meanwhile finish on the old ones: each row is wholly old or wholly new.
        """
        rows, columns = self.shape
        _check_rows(codes, rows)
        self._hold(codes, columns, scale, None, None, self.row_dtype)


class Int4Table(_QuantizedTable):
    """Rows of int4 codes, two a byte, with a scale for each row or each block of its columns.

    Parameters
    ----------
    packed : ndarray of int8, shape (rows, ceil(columns / 2)), C-contiguous
        As `fastembed.quantizers.pack_int4` packs them along the last axis. Not copied.
    columns : int
        Numbers in a row.
    scale : ndarray of floats, shape (rows,) or (rows, blocks)
        Not copied where it is float32 (float64 for rows of float64), in which numbers are computed.
    zero : ndarray of int8, shape (rows, blocks), optional
        The code of 0 in each block. Without it codes are divided by the scale, with it they are multiplied.
    block_size : int, optional
        Columns in a block.
    g_idx : ndarray of shape (columns,), optional
        The block that each column belongs to. Default: ``column // block_size``.
    row_dtype : {"float32", "float64", "float16", "bfloat16"}, default "float32"
        Of the rows that `gather` returns.

    Raises
    ------
    TypeError, ValueError
        If the arrays do not fit together, or a column belongs to no block.

    Notes
    -----
    A number is ``q[i, j] / scale[i]`` or ``(q[i, j] - zero[i, g]) * scale[i, g]`` with ``g = g_idx[j]``, with
    the scale rounded to ``row_dtype`` first and the result last: the bits of Keras 3 on NumPy. Only the rows
    that are asked for are unpacked. `fastembed.quantizers.quantize_int4` makes the arrays.

    Examples
    --------
    >>> packed = np.int8([[125, 2]])  # -3, 7, 2
    >>> Int4Table(packed, 3, np.float32([2])).gather(np.array([0]))
    array([[-1.5,  3.5,  1. ]], dtype=float32)
    >>> zero = np.int8([[-3, 1]])
    >>> Int4Table(packed, 3, np.float32([[2, 10]]), zero, block_size=2).gather(np.array([0]))
    array([[ 0., 20., 10.]], dtype=float32)
    """

    _is_packed = True

    def __init__(
        self,
        packed: NDArray[np.int8],
        columns: int,
        scale: NDArray[Any],
        zero: NDArray[np.int8] | None = None,
        block_size: int | None = None,
        g_idx: NDArray[Any] | None = None,
        row_dtype: str = "float32",
    ) -> None:
        self.block_size = block_size
        self._hold(packed, columns, scale, zero, self._group_of(g_idx, columns), array_dtype(row_dtype))

    def _group_of(self, g_idx: NDArray[Any] | None, columns: int) -> NDArray[Any] | None:
        """The block of each column; None where there are no blocks."""
        if g_idx is None:
            if self.block_size is None or self.block_size == -1:
                return None
            return np.arange(columns) // self.block_size
        with np.errstate(invalid="ignore"):
            groups = np.asarray(g_idx).astype(np.intp)
        if not np.array_equal(groups, g_idx):
            raise ValueError("g_idx must name a block for each column: it holds numbers that are no integers")
        return groups

    def replace(  # type: ignore[override]
        self,
        packed: NDArray[np.int8],
        scale: NDArray[Any],
        zero: NDArray[np.int8] | None = None,
        g_idx: NDArray[Any] | None = None,
    ) -> None:
        """Swap the arrays for others, of the same shapes, all at once.

        Lookups that run meanwhile finish on the old ones: each row is wholly old or wholly new.
        """
        rows, columns = self.shape
        _check_rows(packed, rows)
        self._hold(packed, columns, scale, zero, self._group_of(g_idx, columns), self.row_dtype)


def _check_rows(codes: NDArray[np.int8], rows: int) -> None:
    if len(codes) != rows:
        raise ValueError(f"a table of {rows} rows cannot take over codes of shape {codes.shape}")

"""Rows as int8 or int4 codes and their scales, turned back into floats as they are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._rows import gather
from fastembed.dtypes import array_dtype
from fastembed.quantizers import unpack_int4

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Int8Table:
    """Rows of int8 codes, each with a scale that they are divided by."""

    def __init__(self, codes: NDArray[np.int8], scale: NDArray[Any], row_dtype: str = "float32") -> None:
        self.row_dtype = array_dtype(row_dtype)
        self.replace(codes, scale)

    def replace(self, codes: NDArray[np.int8], scale: NDArray[Any]) -> None:
        """Swap all of it at once."""
        self.shape = codes.shape
        self._held = codes, scale

    def gather(self, ids: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Rows at ``ids``."""
        codes, scale = self._held
        wide = np.float64 if self.row_dtype == np.float64 else np.float32
        scales = gather(scale, ids).astype(self.row_dtype).astype(wide)
        with np.errstate(all="ignore"):
            rows = (gather(codes, ids).astype(wide) / scales[..., None]).astype(self.row_dtype)
        if out is None:
            return rows
        out[...] = rows
        return out

    def dequantized(self) -> NDArray[Any]:
        """All rows."""
        return self.gather(np.arange(self.shape[0]))


class Int4Table:
    """Rows of int4 codes, two a byte; a scale a row, or a scale and a zero point a block of columns."""

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
        self.row_dtype = array_dtype(row_dtype)
        self.columns = columns
        self.block_size = block_size
        self.replace(packed, scale, zero, g_idx)

    def replace(
        self,
        packed: NDArray[np.int8],
        scale: NDArray[Any],
        zero: NDArray[np.int8] | None = None,
        g_idx: NDArray[Any] | None = None,
    ) -> None:
        """Swap all of it at once."""
        if zero is not None and g_idx is None and self.block_size:
            g_idx = np.arange(self.columns) // self.block_size
        self.shape = len(packed), self.columns
        self._held = packed, scale, zero, None if g_idx is None else g_idx.astype(np.intp)

    def gather(self, ids: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Rows at ``ids``."""
        packed, scale, zero, groups = self._held
        wide = np.float64 if self.row_dtype == np.float64 else np.float32
        codes = unpack_int4(gather(packed, ids), self.columns, axis=-1).astype(wide)
        scales = gather(scale, ids).astype(self.row_dtype).astype(wide)
        with np.errstate(all="ignore"):
            if zero is None or groups is None:
                rows = codes / scales[..., None]
            else:
                rows = (codes - gather(zero, ids)[..., groups]) * scales[..., groups]
            rows = rows.astype(self.row_dtype)
        if out is None:
            return rows
        out[...] = rows
        return out

    def dequantized(self) -> NDArray[Any]:
        """All rows."""
        return self.gather(np.arange(self.shape[0]))

"""Arithmetic on values of any dtype happens in float32 or wider; results go back to the values' own dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def widened(x: ArrayLike) -> tuple[NDArray[Any], np.dtype[Any]]:
    """``x`` as it is computed with, and the dtype that the result should have.

    Half-width floats are widened, because a sum of squares leaves float16's range at 65504. Integers have
    no useful derivative or norm of their own dtype: they count as float32, which is Keras's default.

    >>> wide, dtype = widened(np.ones(2, np.float16))
    >>> wide.dtype, dtype
    (dtype('float32'), dtype('float16'))
    """
    x = np.asarray(x)
    dtype = np.dtype(np.float32) if x.dtype.kind in "biu" else x.dtype
    return x.astype(np.promote_types(dtype, np.float32), copy=False), dtype


def for_loops(x: ArrayLike) -> tuple[NDArray[Any], np.dtype[Any]]:
    """`widened`, in memory as compiled loops read it: C-contiguous and aligned.

    >>> wide, dtype = for_loops(np.ones((2, 3), np.float16).T)
    >>> wide.flags.c_contiguous, wide.dtype, dtype
    (True, dtype('float32'), dtype('float16'))
    """
    wide, dtype = widened(x)
    return np.require(wide, requirements=["C", "A", "E"]), dtype

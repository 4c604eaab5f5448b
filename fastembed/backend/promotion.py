"""In which dtype `fastembed.backend` computes: Keras's, with an error where a number would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import _floats
from fastembed.dtypes import array_dtype, as_dtype, is_float, result_type, standardize_dtype
from fastembed.ops import as_array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


def is_float_dtype(dtype: DTypeLike) -> bool:
    """Whether a dtype holds floats.

    >>> is_float_dtype("bfloat16"), is_float_dtype(np.int8)
    (True, False)
    """
    return is_float(standardize_dtype(dtype))


def is_int_dtype(dtype: DTypeLike) -> bool:
    """Whether a dtype holds integers; bool does not.

    >>> is_int_dtype("uint8"), is_int_dtype("bool")
    (True, False)
    """
    return not is_float_dtype(dtype) and standardize_dtype(dtype) != "bool"


def together(*values: Any) -> list[NDArray[Any]]:
    """Values as arrays of one dtype, that of `result_type`; what has no dtype counts as Python's numbers.

    Raises
    ------
    ValueError
        If that dtype cannot hold an integer that is there.

    Examples
    --------
    >>> together(np.float32([1.5]), 2)
    [array([1.5], dtype=float32), array(2., dtype=float32)]
    >>> together(2**24 + 1, np.float32(0))
    Traceback (most recent call last):
      ...
    ValueError: float32 cannot hold 16777217
    """
    arrays = [as_array(value) for value in values]
    if not all(array.dtype.kind in "biuf" or array.dtype.name == "bfloat16" for array in arrays):
        return arrays  # strings can be compared, and moved; what cannot is NumPy's to refuse
    common = result_type(
        *(
            array.dtype if hasattr(value, "dtype") else _PYTHON.get(array.dtype.kind, "bool")
            for value, array in zip(values, arrays)
        )
    )
    return [_exactly(array, common) for array in arrays]


_PYTHON = {"i": int, "u": int, "f": float}


def tensor(value: Any) -> NDArray[Any]:
    """One value as an array; Python's floats are of `floatx`, its integers of int32.

    >>> tensor([1.5]), tensor([1])
    (array([1.5], dtype=float32), array([1], dtype=int32))
    """
    return together(value)[0]


def _exactly(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.dtype == (dtype := array_dtype(name)):
        return array
    converted = as_dtype(array, name).view(dtype)
    if array.dtype.kind in "iu" and is_float(name):
        floats = converted.astype(np.float64)
        inside = np.abs(floats) < float(np.iinfo(array.dtype).max) + 1
        inside |= floats == np.iinfo(array.dtype).min
        exact = inside & (np.where(inside, floats, 0).astype(array.dtype) == array)
        if not exact.all():
            raise ValueError(f"{name} cannot hold {array[~exact].flat[0] if array.ndim else array}")
    return converted


def computed(function: Callable[..., Any], *values: Any) -> NDArray[Any]:
    """What ``function`` makes of numbers, in their common dtype.

    Floats are computed in float32 or wider and rounded once, as IEEE says and without warnings.

    Raises
    ------
    TypeError
        If they are no numbers; bool are none.
    ValueError
        If an integer is too large for their dtype. In Keras it wrapped around.

    Examples
    --------
    >>> computed(np.square, np.int8([11]))
    array([121], dtype=int8)
    >>> computed(np.square, np.int8([12]))
    Traceback (most recent call last):
      ...
    ValueError: int8 cannot hold 144
    """
    arrays = together(*values)
    dtype = arrays[0].dtype
    if dtype.kind not in "iuf" and dtype.name != "bfloat16":
        raise TypeError(f"expected numbers, got dtype {dtype}: K.cast makes numbers of bool")
    with np.errstate(all="ignore"):
        if dtype.kind not in "iu":
            result = function(*(_floats.widened(array)[0] for array in arrays))
            return np.asarray(result).astype(dtype, copy=False)
        wide = np.uint64 if dtype.kind == "u" else np.int64
        exact = np.asarray(function(*(array.astype(wide) for array in arrays)))
        # 64 bits wrap around by multiples of 2**64, which the same in floats is not that wrong about.
        rough = np.asarray(function(*(array.astype(np.float64) for array in arrays)))
        wrong = ~(np.abs(exact.astype(np.float64) - rough) < 2.0**62)
    if wrong.any():
        raise ValueError(f"{dtype} cannot hold {rough[wrong].flat[0]:.6g}")
    return as_dtype(exact, dtype.name)


def computed_floats(function: Callable[..., Any], value: Any) -> NDArray[Any]:
    """`computed` for what makes fractions, of floats only.

    >>> computed_floats(np.exp, [1])
    Traceback (most recent call last):
      ...
    TypeError: expected floats, got dtype int32: K.cast(x, K.floatx()) makes floats
    """
    array = tensor(value)
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(f"expected floats, got dtype {array.dtype}: K.cast(x, K.floatx()) makes floats")
    return computed(function, array)

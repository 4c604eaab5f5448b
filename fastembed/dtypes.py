"""Names of dtypes as Keras spells them, and bfloat16, which NumPy does not have.

bfloat16 numbers are kept as uint16 words, the upper halves of float32 numbers, whether or not the
package ml_dtypes is installed; only what is handed to the user differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

_NAMES = (
    "float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "uint16",
    "int32", "uint32", "int64", "uint64", "bool",
)  # fmt: skip
_FLOATS = ("float16", "bfloat16", "float32", "float64")

_floatx = "float32"
_epsilon = 1e-7


def floatx() -> str:
    """Name of the dtype that floats have unless something else is said.

    >>> floatx()
    'float32'
    """
    return _floatx


def set_floatx(value: str) -> None:
    """Set the dtype that floats have unless something else is said: for layers made from now on.

    Parameters
    ----------
    value : {"float16", "bfloat16", "float32", "float64"}

    Raises
    ------
    ValueError
        For any other name.

    >>> set_floatx("float32")
    """
    global _floatx
    if value not in _FLOATS:
        raise ValueError(f"Unknown `floatx` value: {value!r}. Expected one of {', '.join(_FLOATS)}")
    _floatx = value


def epsilon() -> float:
    """The small number that keeps Keras's formulas from dividing by zero.

    >>> epsilon()
    1e-07
    """
    return _epsilon


def set_epsilon(value: float) -> None:
    """Set the small number that `epsilon` returns.

    >>> set_epsilon(1e-7)
    """
    global _epsilon
    _epsilon = float(value)


def standardize_dtype(dtype: DTypeLike | None) -> str:
    """Keras's name of a dtype; `floatx` for None.

    Parameters
    ----------
    dtype : str, type or dtype, optional
        A name, a dtype of NumPy, JAX, TensorFlow, torch or ml_dtypes, or Python's ``int`` or ``bool``;
        ``float`` and ``"float"`` are Keras's float32.

    Raises
    ------
    ValueError
        If a variable or an output cannot have this dtype.

    Examples
    --------
    >>> standardize_dtype(np.float16), standardize_dtype(int), standardize_dtype(None)
    ('float16', 'int64', 'float32')
    """
    if dtype is None:
        return _floatx
    if dtype is float or (isinstance(dtype, str) and dtype == "float"):
        return "float32"
    name = getattr(dtype, "name", None) or dtype
    if str(name).startswith("torch."):
        name = str(name)[len("torch.") :]
    if not (isinstance(name, str) and name in _NAMES):
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = None
        if name not in _NAMES:
            raise ValueError(f"Invalid dtype: {dtype!r}. Expected one of {', '.join(_NAMES)}")
    return name


def is_float(name: str) -> bool:
    """Whether a dtype of this (Keras) name holds floats.

    >>> is_float("bfloat16"), is_float("int32")
    (True, False)
    """
    return name in _FLOATS


def stored_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype in which numbers of this dtype are kept.

    >>> stored_dtype("bfloat16"), stored_dtype("float32")
    (dtype('uint16'), dtype('float32'))
    """
    return np.dtype(np.uint16 if name == "bfloat16" else name)


def array_dtype(name: str) -> np.dtype[Any]:
    """The dtype of arrays that hold this dtype's numbers.

    Raises
    ------
    ValueError
        For bfloat16 where ml_dtypes is not installed.

    >>> array_dtype("float32")
    dtype('float32')
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ValueError(
            "NumPy has no bfloat16: arrays of it need the package ml_dtypes (pip install ml_dtypes). "
            "A bfloat16 table can be looked up without: its rows come as float32, exactly"
        ) from None
    return np.dtype(ml_dtypes.bfloat16)


def file_dtype(name: str) -> np.dtype[Any]:
    """The dtype of arrays that are written to files: of bfloat16, ml_dtypes' or else opaque pairs of bytes.

    >>> file_dtype("float16")
    dtype('float16')
    """
    try:
        return array_dtype(name)
    except ValueError:
        return np.dtype("V2")


def result_type(*dtypes: Any) -> str:
    """The dtype of what is computed from these, by Keras 3's rules; 64 bits stay 64 bits.

    Parameters
    ----------
    *dtypes : dtype_like
        ``int`` and ``float`` stand for Python's numbers, which follow the others; None for `floatx`.

    Notes
    -----
    Integers with floats are of the floats' dtype, not of float64 as in NumPy; ``uint64`` with signed
    integers, which no integer dtype holds together, is of `floatx`.

    Examples
    --------
    >>> result_type("int64", "float32"), result_type("float16", float), result_type("int8", "uint8")
    ('float32', 'float16', 'int16')
    """
    weak = [each for each in dtypes if each is int or each is float]
    names = {standardize_dtype(each) for each in dtypes if each is not int and each is not float}
    floats = {name for name in names if is_float(name)}
    if {"float16", "bfloat16"} == floats:
        return "float32"
    if floats:
        return max(floats, key=lambda name: array_size(name))
    if float in weak or not dtypes:
        return floatx()
    integers = names - {"bool"}
    if not integers:
        return "int32" if weak else "bool"
    common = np.result_type(*map(np.dtype, integers))
    return floatx() if common.kind == "f" else common.name


def array_size(name: str) -> int:
    """Bytes of a number.

    >>> array_size("bfloat16")
    2
    """
    return 2 if name == "bfloat16" else np.dtype(name).itemsize


def widen_bfloat16(words: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The numbers that bfloat16 words stand for, exactly.

    >>> widen_bfloat16(np.array([0x3F80, 0xC000], np.uint16))
    array([ 1., -2.], dtype=float32)
    """
    # asarray, because arithmetic makes a NumPy scalar of an array without axes.
    return np.asarray(words.astype(np.uint32) << np.uint32(16)).view(np.float32)


def round_to_bfloat16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """The words of the bfloat16 numbers nearest to ``values``; ties go to the even one.

    >>> widen_bfloat16(round_to_bfloat16(np.array([1.0, 1.00390625, np.inf])))
    array([ 1.,  1., inf], dtype=float32)
    """
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    # Rounding would carry a NaN's payload into infinity or another sign: keep it, and keep it quiet.
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def as_dtype(values: ArrayLike, name: str) -> NDArray[Any]:
    """``values`` as they are stored in the dtype of this name: a copy or the array itself.

    Floats are rounded to narrower floats; integers must be hit exactly.

    Raises
    ------
    TypeError
        If ``values`` are no numbers.
    ValueError
        If an integer dtype cannot hold one of them.

    Examples
    --------
    >>> as_dtype([1.0, 300.0], "uint8")
    Traceback (most recent call last):
      ...
    ValueError: uint8 cannot hold 300.0
    """
    array = np.asarray(values)
    if name == "bfloat16" and (array.dtype.name == "bfloat16" or array.dtype == "V2"):
        return array.view(np.uint16)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"expected numbers, got dtype {array.dtype}")
    dtype = stored_dtype(name)
    if array.dtype == dtype and name != "bfloat16":
        return array
    if name == "bfloat16":
        return round_to_bfloat16(array)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # a number beyond float16 becomes infinite, as in Keras
            return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype)
    if not (exact := _equal(converted, array)).all():
        raise ValueError(f"{name} cannot hold {array[~exact].flat[0] if array.ndim else array}")
    return converted


def _equal(converted: NDArray[Any], original: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each integer equals what it was made from; a sign may have been lost on the way."""
    equal = (converted == original) & ((converted < 0) == (original < 0))
    return np.asarray(equal & (converted.astype(original.dtype) == original))

"""The functions that Keras layers were written in before Keras 3: ``from fastembed import backend as K``.

On arrays and variables, computed at once. Each means what it meant in ``keras.backend``; where Keras
lost information in silence, an error is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import dtype_policies, ops
from fastembed.dtypes import (
    array_dtype,
    as_dtype,
    epsilon,
    floatx,
    set_epsilon,
    set_floatx,
    standardize_dtype,
)
from fastembed.names import reset_names
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "cast", "cast_to_floatx", "clear_session", "dot", "dtype", "epsilon", "eval", "floatx", "gather",
    "get_value", "int_shape", "ndim", "not_equal", "one_hot", "set_epsilon", "set_floatx", "set_value",
    "variable",
]  # fmt: skip


def gather(reference: Any, indices: ArrayLike) -> NDArray[Any]:
    """Rows of ``reference`` at ``indices``: see `fastembed.ops.gather`.

    >>> gather(np.eye(2), [1])
    array([[0., 1.]])
    """
    return ops.gather(reference, indices)


def cast(x: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """``x`` in another dtype: a new array, or ``x`` itself where it has that dtype.

    Floats become integers by dropping the fraction, as in Keras.

    Raises
    ------
    ValueError
        If the dtype cannot hold a number. Keras turned the id 2**32 + 1 into 1.

    Examples
    --------
    >>> cast([1.9, 2.0], "int32")
    array([1, 2], dtype=int32)
    """
    array, name = np.asarray(x), standardize_dtype(dtype)
    target = array_dtype(name)
    if array.dtype == target:
        return array
    if target.kind == "b" or name == "bfloat16":
        return array.astype(target)
    if target.kind in "iu" and array.dtype.kind == "f":
        array = np.trunc(array)
    return as_dtype(array, name)


def clear_session() -> None:
    """Count automatic names from the beginning again, and let the default dtype policy be that of floatx.

    Layers that are there stay as they are.

    >>> clear_session()
    """
    reset_names()
    dtype_policies.set_dtype_policy(None)


def cast_to_floatx(x: ArrayLike) -> NDArray[Any]:
    """``x`` as an array of the default float dtype.

    >>> cast_to_floatx([1, 2])
    array([1., 2.], dtype=float32)
    """
    return cast(x, floatx())


def variable(
    value: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None, constraint: Any = None
) -> Variable:
    """A new variable that holds ``value``, by default in the default float dtype.

    >>> variable([1.0, 2.0], name="v")
    <Variable path=v, shape=(2,), dtype=float32>
    """
    return Variable(value, dtype=floatx() if dtype is None else dtype, name=name, constraint=constraint)


def get_value(x: Any) -> NDArray[Any]:
    """A copy of the value of a variable.

    >>> get_value(variable([1.0]))
    array([1.], dtype=float32)
    """
    return np.array(x)


def set_value(x: Variable, value: ArrayLike) -> None:
    """Set the value of a variable.

    >>> set_value(variable([1.0]), [2.0])
    """
    x.assign(value)


def eval(x: Any) -> NDArray[Any]:
    """The value of a variable or an array.

    >>> eval(variable([1.0]))
    array([1.], dtype=float32)
    """
    return np.array(x)


def int_shape(x: Any) -> tuple[int, ...]:
    """Shape of an array or variable.

    >>> int_shape(np.zeros((2, 3)))
    (2, 3)
    """
    return np.shape(x)


def ndim(x: Any) -> int:
    """Number of axes of an array or variable.

    >>> ndim(np.zeros((2, 3)))
    2
    """
    return len(np.shape(x))


def dtype(x: Any) -> str:
    """Keras's name of the dtype of an array or variable.

    >>> dtype(np.zeros(1)), dtype(variable([1.0]))
    ('float64', 'float32')
    """
    return x.dtype if isinstance(x, Variable) else standardize_dtype(np.asarray(x).dtype)


def one_hot(indices: ArrayLike, num_classes: int) -> NDArray[Any]:
    """One-hot vectors in the default float dtype: see `fastembed.ops.one_hot`.

    >>> one_hot([1], 2)
    array([[0., 1.]], dtype=float32)
    """
    return ops.one_hot(indices, num_classes)


def not_equal(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Where two arrays differ.

    >>> not_equal([0, 3], 0)
    array([False,  True])
    """
    return np.asarray(np.not_equal(x, y))


def dot(x: ArrayLike, y: ArrayLike) -> NDArray[Any]:
    """The product over the last axis of ``x`` and the last but one of ``y``.

    >>> dot(np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    return np.dot(np.asarray(x), np.asarray(y))

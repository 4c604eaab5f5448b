"""Variables: made, read and set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import random
from fastembed.backend.arrays import random_normal
from fastembed.dtypes import floatx
from fastembed.variable import Variable, swap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray


def variable(
    value: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None, constraint: Any = None
) -> Variable:
    """A new variable that holds ``value``, by default in the default float dtype.

    >>> variable([1.0, 2.0], name="v")
    <Variable path=v, shape=(2,), dtype=float32>
    """
    return Variable(value, dtype=floatx() if dtype is None else dtype, name=name, constraint=constraint)


def zeros(shape: Sequence[int], dtype: DTypeLike | None = None, name: str | None = None) -> Variable:
    """A new variable of zeros; `zeros_like` makes an array.

    >>> zeros((2,), name="z")
    <Variable path=z, shape=(2,), dtype=float32>
    """
    return variable(np.zeros(random.as_shape(shape), np.float32), dtype, name)


def ones(shape: Sequence[int], dtype: DTypeLike | None = None, name: str | None = None) -> Variable:
    """A new variable of ones; `ones_like` makes an array.

    >>> get_value(ones((2,)))
    array([1., 1.], dtype=float32)
    """
    return variable(np.ones(random.as_shape(shape), np.float32), dtype, name)


def eye(size: int, dtype: DTypeLike | None = None, name: str | None = None) -> Variable:
    """A new variable that is an identity matrix.

    >>> get_value(eye(2))
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return variable(np.eye(size, dtype=np.float32), dtype, name)


def random_uniform_variable(
    shape: Sequence[int],
    low: float,
    high: float,
    dtype: DTypeLike | None = None,
    name: str | None = None,
    seed: Any = None,
) -> Variable:
    """A new variable of values drawn from ``[low, high)``.

    >>> random_uniform_variable((2, 3), 0, 1, name="u")
    <Variable path=u, shape=(2, 3), dtype=float32>
    """
    return variable(random.uniform(shape, low, high, dtype, seed), dtype, name)


def random_normal_variable(
    shape: Sequence[int],
    mean: float,
    scale: float,
    dtype: DTypeLike | None = None,
    name: str | None = None,
    seed: Any = None,
) -> Variable:
    """A new variable of normally distributed values.

    >>> random_normal_variable((2, 3), 0, 1, name="n")
    <Variable path=n, shape=(2, 3), dtype=float32>
    """
    return variable(random_normal(shape, mean, scale, dtype, seed), dtype, name)


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


def batch_get_value(tensors: Iterable[Any]) -> list[NDArray[Any]]:
    """Copies of the values of several variables.

    >>> batch_get_value([variable([1.0]), variable([2.0])])
    [array([1.], dtype=float32), array([2.], dtype=float32)]
    """
    return [get_value(x) for x in tensors]


def batch_set_value(tuples: Iterable[tuple[Variable, ArrayLike]]) -> None:
    """Set the values of several variables: of all or, where one does not fit, of none.

    Parameters
    ----------
    tuples : iterable of (Variable, array_like)

    Raises
    ------
    TypeError, ValueError
        If a value does not fit its variable. Keras had changed those before it.

    Examples
    --------
    >>> batch_set_value([(variable([1.0]), [2.0])])
    """
    swap([(x, x.memory_for(value)) for x, value in tuples])


def eval(x: Any) -> NDArray[Any]:
    """The value of a variable or an array.

    >>> eval(variable([1.0]))
    array([1.], dtype=float32)
    """
    return np.array(x)


def update(x: Variable, new_x: ArrayLike) -> Variable:
    """Set a variable, and return it.

    >>> get_value(update(variable([1.0]), [5.0]))
    array([5.], dtype=float32)
    """
    x.assign(new_x)
    return x


def update_add(x: Variable, increment: ArrayLike) -> Variable:
    """Add to a variable, and return it.

    >>> get_value(update_add(variable([1.0]), [5.0]))
    array([6.], dtype=float32)
    """
    x.assign_add(increment)
    return x


def update_sub(x: Variable, decrement: ArrayLike) -> Variable:
    """Subtract from a variable, and return it.

    >>> get_value(update_sub(variable([1.0]), [5.0]))
    array([-4.], dtype=float32)
    """
    x.assign_sub(decrement)
    return x

"""Arrays: made, cast, reshaped, joined, chosen."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import ops, random
from fastembed.backend.promotion import is_int_dtype, tensor, together
from fastembed.dtypes import array_dtype, as_dtype, floatx, standardize_dtype
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray


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


def cast_to_floatx(x: ArrayLike) -> NDArray[Any]:
    """``x`` as an array of the default float dtype.

    >>> cast_to_floatx([1, 2])
    array([1., 2.], dtype=float32)
    """
    return cast(x, floatx())


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

    >>> dtype(np.zeros(1)), dtype(Variable([1.0]))
    ('float64', 'float32')
    """
    return x.dtype if isinstance(x, Variable) else standardize_dtype(np.asarray(x).dtype)


def one_hot(indices: ArrayLike, num_classes: int) -> NDArray[Any]:
    """One-hot vectors in the default float dtype: see `fastembed.ops.one_hot`.

    >>> one_hot([1], 2)
    array([[0., 1.]], dtype=float32)
    """
    return ops.one_hot(indices, num_classes)


# --- Made -----------------------------------------------------------------------------------------


def constant(
    value: ArrayLike,
    dtype: DTypeLike | None = None,
    shape: Sequence[int] | None = None,
    name: str | None = None,
) -> NDArray[Any]:
    """A new array, by default in the default float dtype.

    Parameters
    ----------
    value : array_like
    dtype : dtype_like, default `floatx`
    shape : sequence of int, optional
        One number fills it; as many numbers as it has take it.
    name : str, optional
        Without meaning: arrays have no names.

    Raises
    ------
    ValueError
        If the dtype cannot hold a number, or the shape takes another number of them.

    Examples
    --------
    >>> constant(3, shape=(2,))
    array([3., 3.], dtype=float32)
    """
    dtype = standardize_dtype(dtype)
    array = np.array(as_dtype(value, dtype).view(array_dtype(dtype)))
    if shape is None:
        return array
    return np.full(shape, array) if array.size == 1 else array.reshape(shape)


def zeros_like(x: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None) -> NDArray[Any]:
    """An array of zeros of the shape of ``x``, and of its dtype unless another is said.

    >>> zeros_like([[1.0, 2.0]])
    array([[0., 0.]], dtype=float32)
    """
    return np.zeros_like(tensor(x), None if dtype is None else array_dtype(standardize_dtype(dtype)))


def ones_like(x: ArrayLike, dtype: DTypeLike | None = None, name: str | None = None) -> NDArray[Any]:
    """An array of ones of the shape of ``x``, and of its dtype unless another is said.

    >>> ones_like([[1.0, 2.0]], dtype="int32")
    array([[1, 1]], dtype=int32)
    """
    return np.ones_like(tensor(x), None if dtype is None else array_dtype(standardize_dtype(dtype)))


def random_uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: DTypeLike | None = None,
    seed: Any = None,
) -> NDArray[Any]:
    """Values drawn from ``[minval, maxval)``: `fastembed.random.uniform`, for integers too.

    >>> random_uniform((2,), seed=0).dtype, random_uniform((3,), -2, 3, "int32", seed=0)
    (dtype('float32'), array([ 1, -1, -2], dtype=int32))
    """
    if not is_int_dtype(dtype := standardize_dtype(dtype)):
        return cast(random.uniform(shape, minval, maxval, dtype, seed), dtype)
    low, high = (int(as_dtype(bound, "int64")) for bound in (minval, maxval))
    if low >= high:
        raise ValueError(f"integers are drawn from [minval, maxval), got {low} and {high}")
    steps = random.uniform(shape, 0, high - low, "float64", seed)
    return as_dtype(np.floor(steps) + low, dtype)


def random_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: DTypeLike | None = None,
    seed: Any = None,
) -> NDArray[Any]:
    """Normally distributed floats: `fastembed.random.normal`.

    >>> random_normal((2,), seed=0)
    array([ 0.12573022, -0.13210486], dtype=float32)
    """
    if is_int_dtype(dtype := standardize_dtype(dtype)):
        raise ValueError(f"normal values need a dtype of floats. Received: dtype={dtype!r}")
    return cast(random.normal(shape, mean, stddev, dtype, seed), dtype)


# --- In another shape -----------------------------------------------------------------------------


def reshape(x: ArrayLike, shape: Sequence[int]) -> NDArray[Any]:
    """The same numbers in another shape; -1 stands for what is left.

    >>> reshape([[1, 2], [3, 4]], (-1,))
    array([1, 2, 3, 4], dtype=int32)
    """
    return tensor(x).reshape(shape)


def flatten(x: ArrayLike) -> NDArray[Any]:
    """Everything on one axis, the batch too.

    >>> flatten([[1, 2], [3, 4]])
    array([1, 2, 3, 4], dtype=int32)
    """
    return tensor(x).reshape(-1)


def batch_flatten(x: ArrayLike) -> NDArray[Any]:
    """The first axis, and everything else on a second.

    >>> batch_flatten(np.zeros((2, 3, 4))).shape
    (2, 12)
    """
    array = tensor(x)
    return array.reshape(len(array) if array.ndim else 1, math.prod(array.shape[1:]))


def expand_dims(x: ArrayLike, axis: int = -1) -> NDArray[Any]:
    """With one more axis, of size 1.

    >>> expand_dims([1, 2]).shape
    (2, 1)
    """
    return np.expand_dims(tensor(x), operator.index(axis))


def squeeze(x: ArrayLike, axis: int) -> NDArray[Any]:
    """Without an axis of size 1; ValueError if it is larger.

    >>> squeeze([[1], [2]], 1)
    array([1, 2], dtype=int32)
    """
    return np.squeeze(tensor(x), operator.index(axis))


def transpose(x: ArrayLike) -> NDArray[Any]:
    """With the axes in reverse order.

    >>> transpose(np.zeros((2, 3, 4))).shape
    (4, 3, 2)
    """
    return np.transpose(tensor(x))


def permute_dimensions(x: ArrayLike, pattern: Sequence[int]) -> NDArray[Any]:
    """With the axes in the order of ``pattern``, which names the batch axis too.

    >>> permute_dimensions(np.zeros((2, 3, 4)), (0, 2, 1)).shape
    (2, 4, 3)
    """
    return np.transpose(tensor(x), pattern)


def repeat(x: ArrayLike, n: int) -> NDArray[Any]:
    """Each row of a matrix ``n`` times: of (samples, dim) comes (samples, n, dim).

    Raises
    ------
    ValueError
        If ``x`` is no matrix.

    Examples
    --------
    >>> repeat([[1, 2]], 2)
    array([[[1, 2],
            [1, 2]]], dtype=int32)
    """
    array = tensor(x)
    if array.ndim != 2:
        raise ValueError(f"repeat takes an array of two axes, (samples, dim), got shape {array.shape}")
    return np.repeat(array[:, None], n, axis=1)


def repeat_elements(x: ArrayLike, rep: int, axis: int) -> NDArray[Any]:
    """Each element along an axis ``rep`` times, as `numpy.repeat` does.

    >>> repeat_elements([1, 2], 2, axis=0)
    array([1, 1, 2, 2], dtype=int32)
    """
    return np.repeat(tensor(x), rep, axis=operator.index(axis))


# --- Joined and chosen ----------------------------------------------------------------------------


def concatenate(tensors: Sequence[ArrayLike], axis: int = -1) -> NDArray[Any]:
    """Arrays one after the other along an axis, in the dtype of `result_type`.

    >>> concatenate([[[1], [2]], [[3], [4]]])
    array([[1, 3],
           [2, 4]], dtype=int32)
    """
    return np.concatenate(together(*tensors), axis)


def stack(x: Sequence[ArrayLike], axis: int = 0) -> NDArray[Any]:
    """Arrays of one shape along a new axis, in the dtype of `result_type`.

    >>> stack([[1, 2], [3, 4]], axis=1)
    array([[1, 3],
           [2, 4]], dtype=int32)
    """
    return np.stack(together(*x), axis)


def switch(condition: ArrayLike, then_expression: Any, else_expression: Any) -> Any:
    """One or the other, as a whole or element by element.

    Parameters
    ----------
    condition : array_like
        One value chooses one of the two as it is. Of more, each chooses an element; its axes are the first
        of the two's.
    then_expression, else_expression : array_like, or callables that give one
        Where one value chooses, only the one that is chosen is called.

    Raises
    ------
    ValueError
        If the condition has more axes than both, or one axis where they have more: some Keras took that for
        their first axis and some for their last.

    Examples
    --------
    >>> switch(True, lambda: "then", lambda: "else")
    'then'
    >>> switch([[True], [False]], [[1, 2], [3, 4]], 0)
    array([[1, 2],
           [0, 0]], dtype=int32)
    """
    chosen = np.asarray(condition).astype(bool)
    if chosen.ndim == 0:
        expression = then_expression if chosen else else_expression
        return expression() if callable(expression) else expression
    either = [each() if callable(each) else each for each in (then_expression, else_expression)]
    arrays = together(*either)
    axes = max(array.ndim for array in arrays)
    if chosen.ndim > axes:
        raise ValueError(
            f"the condition has {chosen.ndim} axes and what it chooses from {axes}: it can have no more"
        )
    if chosen.ndim == 1 < axes and chosen.size > 1:
        raise ValueError(
            f"a condition of shape {chosen.shape} may mean the first or the last of {axes} axes: say which "
            "with K.expand_dims(condition) or K.expand_dims(condition, 0)"
        )
    return np.where(chosen.reshape(chosen.shape + (1,) * (axes - chosen.ndim)), *arrays)


def stop_gradient(variables: Any) -> Any:
    """The value as an array, of a list those of its items.

    These functions record nothing, so no gradient goes through them in any case: a layer says
    in `fastembed.layers.Layer.backpropagate` what its gradient is.

    >>> stop_gradient(Variable([1.0]))
    array([1.], dtype=float32)
    """
    if isinstance(variables, (list, tuple)):
        return [tensor(each) for each in variables]
    return tensor(variables)

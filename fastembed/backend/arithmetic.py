"""Arithmetic: comparisons, element by element, along axes, products."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Union

import numpy as np

from fastembed import _old_keras, activations
from fastembed.backend.arrays import cast_to_floatx
from fastembed.backend.promotion import computed, computed_floats, tensor, together
from fastembed.dtypes import as_dtype

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Axes = Union[int, Sequence[int], None]

# --- Comparisons ----------------------------------------------------------------------------------


def equal(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Where two arrays are the same.

    >>> equal([0, 3], 0)
    array([ True, False])
    """
    return np.asarray(np.equal(*together(x, y)))


def not_equal(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Where two arrays differ.

    >>> not_equal([0, 3], 0)
    array([False,  True])
    """
    return np.asarray(np.not_equal(*together(x, y)))


def greater(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Where ``x`` is greater.

    >>> greater([0, 3], 0)
    array([False,  True])
    """
    return np.asarray(np.greater(*together(x, y)))


def greater_equal(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Where ``x`` is greater or the same.

    >>> greater_equal([0, 3], 0)
    array([ True,  True])
    """
    return np.asarray(np.greater_equal(*together(x, y)))


def less(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Where ``x`` is less.

    >>> less([0, 3], 1)
    array([ True, False])
    """
    return np.asarray(np.less(*together(x, y)))


def less_equal(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Where ``x`` is less or the same.

    >>> less_equal([0, 3], 0)
    array([ True, False])
    """
    return np.asarray(np.less_equal(*together(x, y)))


def maximum(x: ArrayLike, y: ArrayLike) -> NDArray[Any]:
    """The greater of each two; NaN where one is.

    >>> maximum([0.0, 3.0], 1)
    array([1., 3.], dtype=float32)
    """
    return computed(np.maximum, x, y)


def minimum(x: ArrayLike, y: ArrayLike) -> NDArray[Any]:
    """The lesser of each two; NaN where one is.

    >>> minimum([0.0, 3.0], 1)
    array([0., 1.], dtype=float32)
    """
    return computed(np.minimum, x, y)


def clip(x: ArrayLike, min_value: Any, max_value: Any) -> NDArray[Any]:
    """Nothing below ``min_value``, nothing above ``max_value``; None is no bound.

    A number ``max_value`` below the number ``min_value`` counts as ``min_value``, as in Keras.

    >>> clip([-1.0, 0.5, 2.0], 0, 1)
    array([0. , 0.5, 1. ], dtype=float32)
    """
    if isinstance(min_value, numbers.Real) and isinstance(max_value, numbers.Real) and max_value < min_value:
        max_value = min_value
    low = [] if min_value is None else [min_value]
    high = [] if max_value is None else [max_value]

    def clipped(array: NDArray[Any], *bounds: NDArray[Any]) -> NDArray[Any]:
        if high:
            array = np.minimum(array, bounds[-1])
        return np.maximum(array, bounds[0]) if low else array

    return computed(clipped, x, *low, *high)


# --- Element by element ---------------------------------------------------------------------------


def square(x: ArrayLike) -> NDArray[Any]:
    """x².

    >>> square([3.0])
    array([9.], dtype=float32)
    """
    return computed(np.square, x)


def abs(x: ArrayLike) -> NDArray[Any]:
    """Without the sign.

    >>> abs([-3.0])
    array([3.], dtype=float32)
    """
    return computed(np.abs, x)


def sign(x: ArrayLike) -> NDArray[Any]:
    """-1, 0 or 1.

    >>> sign([-3.0, 0.0])
    array([-1.,  0.], dtype=float32)
    """
    return computed(np.sign, x)


def round(x: ArrayLike) -> NDArray[Any]:
    """The nearest integer; of two the even one.

    >>> round([0.5, 1.5])
    array([0., 2.], dtype=float32)
    """
    return computed(np.round, x)


def pow(x: ArrayLike, a: ArrayLike) -> NDArray[Any]:
    """``x`` to the power of ``a``.

    >>> pow([3.0], 2)
    array([9.], dtype=float32)
    """
    return computed(np.power, x, a)


def sqrt(x: ArrayLike) -> NDArray[Any]:
    """The square root, as in Keras 0 of what is negative.

    >>> sqrt([4.0, -1.0])
    array([2., 0.], dtype=float32)
    """
    return computed_floats(lambda x: np.sqrt(np.maximum(x, 0)), x)


def exp(x: ArrayLike) -> NDArray[Any]:
    """e to the power of ``x``.

    >>> exp([0.0])
    array([1.], dtype=float32)
    """
    return computed_floats(np.exp, x)


def log(x: ArrayLike) -> NDArray[Any]:
    """The natural logarithm; -inf of 0, NaN of what is negative.

    >>> log([1.0, 0.0])
    array([  0., -inf], dtype=float32)
    """
    return computed_floats(np.log, x)


def sigmoid(x: ArrayLike) -> NDArray[Any]:
    """1 / (1 + exp(-x)).

    >>> sigmoid([0.0])
    array([0.5], dtype=float32)
    """
    return computed_floats(activations.sigmoid, x)


def hard_sigmoid(x: ArrayLike) -> NDArray[Any]:
    """0.2 x + 0.5, between 0 and 1.

    >>> hard_sigmoid([-3.0, 1.0])
    array([0. , 0.7], dtype=float32)
    """
    return computed_floats(_old_keras.hard_sigmoid, x)


def tanh(x: ArrayLike) -> NDArray[Any]:
    """The hyperbolic tangent.

    >>> tanh([0.0])
    array([0.], dtype=float32)
    """
    return computed_floats(activations.tanh, x)


def softplus(x: ArrayLike) -> NDArray[Any]:
    """log(1 + exp(x)).

    >>> softplus([0.0, 1000.0])
    array([6.931472e-01, 1.000000e+03], dtype=float32)
    """
    return computed_floats(activations.softplus, x)


def softsign(x: ArrayLike) -> NDArray[Any]:
    """x / (1 + abs(x)).

    >>> softsign([1.0])
    array([0.5], dtype=float32)
    """
    return computed_floats(activations.softsign, x)


def elu(x: ArrayLike, alpha: float = 1.0) -> NDArray[Any]:
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``.

    >>> elu([1.0, -1000.0], alpha=2.0)
    array([ 1., -2.], dtype=float32)
    """
    return computed_floats(lambda x: activations.elu(x, alpha), x)


def relu(
    x: ArrayLike, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> NDArray[Any]:
    """``x`` above the threshold and at most ``max_value``; ``alpha * (x - threshold)`` from there down.

    Parameters
    ----------
    x : array_like
    alpha : float, default 0
    max_value : float, optional
        With it, nothing above the threshold is negative either, as in Keras.
    threshold : float, default 0

    Raises
    ------
    ValueError
        If ``x`` are integers and one of the others is none.

    Examples
    --------
    >>> relu([-2.0, 0.5, 9.0], alpha=0.1, max_value=6)
    array([-0.2,  0.5,  6. ], dtype=float32)
    """
    array = tensor(x)
    if array.dtype.kind in "iu":
        for number in (alpha, threshold, max_value or 0):
            as_dtype(number, array.dtype.name)

    def rectified(x: NDArray[Any]) -> NDArray[Any]:
        zero, low, slope = map(x.dtype.type, (0, threshold, alpha))
        result = np.where(x <= low, zero, x)  # NaN stays
        if max_value is not None:
            result = np.maximum(np.minimum(result, x.dtype.type(max_value)), zero)
        return result - slope * np.where(x < low, low - x, zero) if alpha else result

    return computed(rectified, array)


def softmax(x: ArrayLike, axis: int = -1) -> NDArray[Any]:
    """exp(x), divided by its sum over ``axis``; ValueError for fewer than two axes, as in Keras.

    >>> softmax([[0.0, 0.0]])
    array([[0.5, 0.5]], dtype=float32)
    """
    array = tensor(x)
    if array.ndim < 2:
        raise ValueError(f"softmax takes an array of two axes or more, got shape {array.shape}")

    return computed_floats(lambda x: activations.softmax(x, axis), array)


# --- Along axes -----------------------------------------------------------------------------------


def sum(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[Any]:
    """The sum over axes, in the dtype of ``x``.

    Parameters
    ----------
    x : array_like
        Numbers; a mask is cast first.
    axis : int or sequence of int, optional
        Default: all.
    keepdims : bool, default False
        Whether the axes stay, with size 1.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If an integer sum is too large for the dtype. In Keras it wrapped around.

    Examples
    --------
    >>> sum([[1, 2], [3, 4]], axis=1)
    array([3, 7], dtype=int32)
    """
    return _over(np.sum, x, axis, keepdims)


def prod(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[Any]:
    """The product over axes; arguments and errors are those of `sum`.

    >>> prod([[1, 2], [3, 4]], axis=1)
    array([ 2, 12], dtype=int32)
    """
    return _over(np.prod, x, axis, keepdims)


def max(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[Any]:
    """The greatest over axes, NaN where there is one; ValueError where there is nothing.

    >>> max([[1, 2], [3, 4]], axis=-1, keepdims=True)
    array([[2],
           [4]], dtype=int32)
    """
    return _over(np.max, x, axis, keepdims)


def min(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[Any]:
    """The least over axes, NaN where there is one; ValueError where there is nothing.

    >>> min([[1, 2], [3, 4]])
    array(1, dtype=int32)
    """
    return _over(np.min, x, axis, keepdims)


def mean(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[Any]:
    """The mean over axes, of bool in the default float dtype.

    Raises
    ------
    TypeError
        If they are integers: Keras cut the mean of 1 and 2 to 1.

    Examples
    --------
    >>> mean([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([2., 3.], dtype=float32)
    >>> mean(np.array([True, False]))
    array(0.5, dtype=float32)
    """
    return _over(_mean, _floats_of(x), axis, keepdims)


def var(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[Any]:
    """The mean of the squared distances from the mean; see `mean`.

    >>> var([1.0, 3.0])
    array(1., dtype=float32)
    """
    return _over(_var, _floats_of(x), axis, keepdims)


def std(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[Any]:
    """The square root of `var`.

    >>> std([1.0, 5.0])
    array(2., dtype=float32)
    """
    return _over(lambda *args, **kwargs: np.sqrt(_var(*args, **kwargs)), _floats_of(x), axis, keepdims)


def any(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[np.bool_]:
    """Whether one over axes is not zero.

    >>> any([[0, 2], [0, 0]], axis=1)
    array([ True, False])
    """
    return np.asarray(np.any(tensor(x), _as_axes(axis), keepdims=keepdims))


def all(x: ArrayLike, axis: Axes = None, keepdims: bool = False) -> NDArray[np.bool_]:
    """Whether none over axes is zero.

    >>> all([[0, 2], [1, 2]], axis=1)
    array([False,  True])
    """
    return np.asarray(np.all(tensor(x), _as_axes(axis), keepdims=keepdims))


def argmax(x: ArrayLike, axis: int = -1) -> NDArray[np.int64]:
    """The position of the greatest along an axis: the first, where there are several.

    >>> argmax([[1, 7, 7], [3, 2, 1]])
    array([1, 0])
    """
    return np.asarray(np.argmax(tensor(x), operator.index(axis)), np.int64)


def argmin(x: ArrayLike, axis: int = -1) -> NDArray[np.int64]:
    """The position of the least along an axis: the first, where there are several.

    >>> argmin([[7, 1, 1], [1, 2, 3]])
    array([1, 0])
    """
    return np.asarray(np.argmin(tensor(x), operator.index(axis)), np.int64)


def l2_normalize(x: ArrayLike, axis: Axes = None) -> NDArray[Any]:
    """Divided by the square root of the sum of squares over axes, or of 1e-12 where that is more.

    >>> l2_normalize([[3.0, 4.0], [0.0, 0.0]], axis=-1)
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """

    def normalised(x: NDArray[Any]) -> NDArray[Any]:
        squares = np.sum(np.square(x), axis=_as_axes(axis), keepdims=True)
        return x / np.sqrt(np.maximum(squares, x.dtype.type(1e-12)))

    return computed_floats(normalised, x)


def _over(reduce: Callable[..., Any], x: ArrayLike, axis: Axes, keepdims: bool) -> NDArray[Any]:
    return computed(lambda array: reduce(array, axis=_as_axes(axis), keepdims=keepdims), x)


def _as_axes(axis: Axes) -> int | tuple[int, ...] | None:
    return tuple(axis) if isinstance(axis, Sequence) else axis


def _floats_of(x: ArrayLike) -> NDArray[Any]:
    array = tensor(x)
    return cast_to_floatx(array) if array.dtype.kind == "b" else computed_floats(np.positive, array)


def _mean(array: NDArray[Any], axis: Any, keepdims: bool) -> NDArray[Any]:
    """Unlike NumPy's, without a warning where there is nothing."""
    axes = range(array.ndim) if axis is None else np.atleast_1d(axis).astype(int)
    count = array.dtype.type(math.prod(array.shape[i] for i in axes))
    return np.sum(array, axis=axis, keepdims=keepdims) / count


def _var(array: NDArray[Any], axis: Any, keepdims: bool) -> NDArray[Any]:
    return _mean(np.square(array - _mean(array, axis, keepdims=True)), axis, keepdims)


# --- Products -------------------------------------------------------------------------------------


def dot(x: ArrayLike, y: ArrayLike) -> NDArray[Any]:
    """The product over the last axis of ``x`` and the last but one of ``y``.

    >>> dot(np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    return computed(np.dot, x, y)


def batch_dot(x: ArrayLike, y: ArrayLike, axes: int | Sequence[int] | None = None) -> NDArray[Any]:
    """The product of each item of a batch with its counterpart, over one axis of each.

    Parameters
    ----------
    x, y : array_like of two axes or more
        The first axis is the batch's.
    axes : int or pair of int, optional
        The axis of ``x`` and that of ``y`` that vanish. Default: the last of ``x``; of ``y`` the last but
        one, or the last where it has two axes.

    Returns
    -------
    ndarray
        The other axes of ``x``, then those of ``y`` without the batch; a last axis of size 1 where nothing
        would be left but the batch.

    Raises
    ------
    ValueError
        If the shapes do not fit, or an axis is the batch's.

    Examples
    --------
    >>> batch_dot(np.ones((8, 2, 3)), np.ones((8, 3, 5))).shape
    (8, 2, 5)
    >>> batch_dot([[1.0, 2.0]], [[3.0, 4.0]])
    array([[11.]], dtype=float32)
    """
    left, right = together(x, y)
    shapes = f"shapes {left.shape} and {right.shape}"
    if left.ndim < 2 or right.ndim < 2:
        raise ValueError(f"batch_dot takes arrays of two axes or more, got {shapes}")
    if len(left) != len(right):
        raise ValueError(f"batch_dot takes two batches of one size, got {shapes}")
    if axes is None:
        axes = (-1, -1 if right.ndim == 2 else -2)
    pair = (axes, axes) if isinstance(axes, int) else tuple(map(operator.index, axes))
    if len(pair) != 2:
        raise ValueError(f"batch_dot takes one axis, or one of each, got axes={axes!r}")
    i, j = (axis + array.ndim if axis < 0 else axis for axis, array in zip(pair, (left, right)))
    if not (0 < i < left.ndim and 0 < j < right.ndim):
        raise ValueError(
            f"axes={axes!r} of batch_dot are not axes behind the batch's of {shapes}; "
            "K.expand_dims(x, 0) makes a batch of one item"
        )
    if left.shape[i] != right.shape[j]:
        raise ValueError(
            f"axes={axes!r} of {shapes} have different sizes: {left.shape[i]} and {right.shape[j]}"
        )
    left, right = np.moveaxis(left, i, -1), np.moveaxis(right, j, 1)
    batch, *rows, common = left.shape
    columns = right.shape[2:]
    product = computed(
        np.matmul,
        left.reshape(batch, math.prod(rows), common),
        right.reshape(batch, common, math.prod(columns)),
    )
    return product.reshape((batch, *rows, *columns) if rows or columns else (batch, 1))

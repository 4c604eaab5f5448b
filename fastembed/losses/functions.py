"""The functions behind Keras's losses, each with its gradient.

Formulas and defaults: keras/src/losses/losses.py of Keras 3.15; where one has a kink (and probabilities are
clipped, which makes two), the gradient is the one that Keras 3 gets from JAX. All are computed in float32 or
wider and rounded once to the dtype of the predictions; integers count as float32.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import numpy as np

from fastembed._floats import default_floats, widened
from fastembed.dtypes import epsilon

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

F = TypeVar("F", bound=Callable[..., Any])
# From the gradient of the values, an array of their shape or one number for all, to that of the predictions.
Pullback = Callable[[Any], "NDArray[Any]"]


# --- What makes a loss function -------------------------------------------------------------------


class _Kernel:
    """The arithmetic of a loss function.

    ``compute(y_true, y_pred, ...)`` gets arrays of one rank and of one dtype, float32 or wider, and returns
    the values, their pullback and, if it leaves some of them out, a mask: both halves stand side by side, and
    training goes through them once. A pullback is called once at most: it may use up what it holds.

    Parameters
    ----------
    compute : callable
    of_classes : bool
        Whether ``y_true`` holds class numbers, which are looked at as they are given.
    broadcasts : bool
        Whether the function, as in Keras, takes arrays that differ in their sizes of 1.
    """

    def __init__(self, compute: Callable[..., Any], of_classes: bool, broadcasts: bool) -> None:
        self.name = compute.__name__
        self.compute, self.of_classes, self.broadcasts = compute, of_classes, broadcasts

    def __call__(
        self, y_true: Any, y_pred: NDArray[Any], args: Any, kwargs: Any, broadcasts: bool = False
    ) -> tuple[Any, ...]:
        if not self.of_classes:
            y_true, y_pred = of_one_rank(of_dtype(y_true, "y_true", y_pred.dtype), y_pred)
            if y_true.shape != y_pred.shape:
                if not (broadcasts and self.broadcasts):
                    raise self._do_not_fit(y_true, y_pred)
                try:
                    one, other = np.broadcast_arrays(y_true, y_pred)
                except ValueError:
                    raise self._do_not_fit(y_true, y_pred) from None
                values, pullback = self.compute(one, other, *args, **kwargs)
                return values, lambda upstream: _summed_to(pullback(upstream), y_pred.shape)
        return self.compute(y_true, y_pred, *args, **kwargs)

    def _do_not_fit(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> ValueError:
        if "categorical" in self.name and y_true.size * y_pred.shape[-1] == y_pred.size:
            remedy = f"For class numbers instead of one-hot vectors use sparse_{self.name}"
            if "focal" in self.name:
                remedy = "Make one-hot vectors of class numbers: numpy.eye(classes)[y_true]"
        else:
            remedy = (
                "Targets need the shape of the outputs: compare y_true with what the last layer returns "
                "(its units, and whether it keeps a step axis)"
            )
        return ValueError(
            f"{self.name}: Arguments `y_true` and `y_pred` must have the same shape. Received: "
            f"y_true.shape={y_true.shape}, y_pred.shape={y_pred.shape}. {remedy}"
        )


def _loss_function(*, of_classes: bool = False, broadcasts: bool = True) -> Callable[[F], F]:
    """A decorator that makes the loss function, and its gradient, of what a `_Kernel` computes."""

    def decorate(compute: F) -> F:
        kernel = _Kernel(compute, of_classes, broadcasts)

        @functools.wraps(compute)
        def function(y_true: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
            predictions, dtype = widened(default_floats(y_pred))
            with np.errstate(all="ignore"):
                values = kernel(y_true, predictions, args, kwargs, broadcasts=True)[0]
                return np.asarray(values).astype(dtype, copy=False)

        def gradient(
            y_true: Any, y_pred: Any, upstream: ArrayLike, *args: Any, **kwargs: Any
        ) -> NDArray[Any]:
            predictions, _ = widened(default_floats(y_pred))
            with np.errstate(all="ignore"):
                values, pullback, *_ = kernel(y_true, predictions, args, kwargs, broadcasts=True)
                slope = np.asarray(upstream, predictions.dtype)
                return pullback(np.broadcast_to(slope, np.shape(values))).reshape(predictions.shape)

        function.gradient = gradient  # type: ignore[attr-defined]
        function._kernel = kernel  # type: ignore[attr-defined]
        return function  # type: ignore[return-value]

    return decorate


def of_dtype(numbers: Any, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    array = numbers if isinstance(numbers, np.ndarray) else np.asarray(numbers)
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biufO" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name}: could not convert {array.dtype} to {dtype}. A loss is made of numbers")
    return array.astype(dtype)


def of_one_rank(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The two, one with a last axis of size 1 more or less if that is what they differ in, as in Keras."""
    if one.ndim == other.ndim:
        return one, other
    if one.ndim == other.ndim + 1 and one.shape[-1] == 1:
        return (one, other[:, np.newaxis]) if other.ndim == 1 else (one[..., 0], other)
    if other.ndim == one.ndim + 1 and other.shape[-1] == 1:
        return (one[:, np.newaxis], other) if one.ndim == 1 else (one, other[..., 0])
    return one, other


def _summed_to(gradient: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The gradient of an array of this shape, given that of what it was broadcast to."""
    new = gradient.ndim - len(shape)
    repeated = (n + new for n, (size, wide) in enumerate(zip(shape, gradient.shape[new:])) if size != wide)
    return np.add.reduce(gradient, axis=(*range(new), *repeated)).reshape(shape)


def _along(upstream: Any, axis: Any) -> Any:
    """The gradient of values that are one for each place off an axis, to be multiplied by all places."""
    if isinstance(upstream, float) or not upstream.ndim:
        return upstream
    return upstream[..., np.newaxis] if axis == -1 else np.expand_dims(upstream, axis)


def _mean(
    points: NDArray[Any], slope: Callable[[], NDArray[Any]], axis: Any = -1
) -> tuple[NDArray[Any], Pullback]:
    """Their mean along an axis, and its pullback, where ``slope()`` is the derivative of each point."""
    if axis == -1 and points.shape[-1:] == (1,):
        return points[..., 0], lambda upstream: slope() * _along(upstream, -1)
    sums = np.add.reduce(points, axis=axis)
    width = points.size / sums.size if sums.size else 1
    return sums / width, lambda upstream: slope() * _along(upstream / width, axis)


def _clip(x: NDArray[Any], low: float, high: float) -> tuple[NDArray[Any], Callable[[], NDArray[Any]]]:
    """``x`` between the two and the slope of that, which JAX takes to be a half at both ends."""
    return (
        np.minimum(np.maximum(x, low), high),
        lambda: np.heaviside(np.minimum(x - low, high - x), 0.5),
    )


def _positive(x: NDArray[Any]) -> tuple[NDArray[Any], Callable[[], NDArray[Any]]]:
    """``max(x, 0)`` and its slope."""
    return np.maximum(x, 0), lambda: np.heaviside(x, 0.5)


def _side(error: NDArray[Any]) -> NDArray[Any]:
    """The slope of its size. JAX takes that of ``abs(0)`` to be 1, and an error is minus what Keras takes."""
    return np.sign(error) - (error == 0)


def _sigmoid(x: NDArray[Any], power: NDArray[Any]) -> NDArray[Any]:
    """``1 / (1 + exp(-x))`` where ``power`` is ``exp(-abs(x))``."""
    return np.where(x >= 0, 1, power) / (1 + power)


def _softmax(x: NDArray[Any], axis: int) -> NDArray[Any]:
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    return powers / np.add.reduce(powers, axis=axis, keepdims=True)


# --- Labels ---------------------------------------------------------------------------------------

_ROUNDING = 1e-3  # by which the float16 sums of mixed labels leave their range


def _first(where: NDArray[Any], array: NDArray[Any]) -> str:
    """How a message names the first element of ``array`` that is meant."""
    place = np.unravel_index(int(np.argmax(where)), array.shape)
    index = f"[{', '.join(map(str, map(int, place)))}]" if place else ""
    return f"y_true{index} = {array[place]}"


def _check_probabilities(name: str, y_true: NDArray[Any]) -> None:
    if not y_true.size:
        return
    least, largest = np.minimum.reduce(y_true, axis=None), np.maximum.reduce(y_true, axis=None)
    if least.item() >= -_ROUNDING and largest.item() <= 1 + _ROUNDING:
        return
    outside = ~((y_true >= -_ROUNDING) & (y_true <= 1 + _ROUNDING))
    if name.startswith("binary"):
        remedy = "Labels -1 and 1 are for hinge; (y_true + 1) / 2 makes them 0 and 1. "
    else:
        remedy = "Class numbers are for sparse_categorical_crossentropy. "
    raise ValueError(
        f"{name}: {_first(outside, y_true)} is outside the range of labels, 0 to 1 ({outside.sum()} of "
        f"{y_true.size} are). {remedy}To weigh a sample, or to leave it out, use sample_weight"
    )


def _check_axis(axis: Any) -> None:
    if isinstance(axis, bool):
        raise ValueError(f"`axis` must be of type `int`. Received: axis={axis} of type {type(axis)}")


def _check_classes(name: str, y_pred: NDArray[Any]) -> None:
    if not y_pred.ndim:
        raise ValueError(f"{name}: `y_true` and `y_pred` must be at least rank 1. Received scalars")
    if y_pred.shape[-1] == 1:
        warnings.warn(
            f"In loss {name}, expected y_pred.shape to be (batch_size, num_classes) with num_classes > 1. "
            f"Received: y_pred.shape={y_pred.shape}. Consider using 'binary_crossentropy' if you only have 2 "
            "classes.",
            SyntaxWarning,
            stacklevel=6,
        )


def _class_numbers(
    y_true: Any, y_pred: NDArray[Any], axis: int, ignore_class: int | None
) -> tuple[NDArray[np.intp], NDArray[np.bool_] | None]:
    """The class of each sample, and which count: all where None."""
    name = "sparse_categorical_crossentropy"
    given = np.asarray(y_true)
    if not y_pred.ndim:
        raise ValueError(f"{name}: `y_pred` must be at least rank 1. Received a scalar")
    if not -y_pred.ndim <= axis < y_pred.ndim:
        raise ValueError(f"{name}: axis {axis} is out of bounds for y_pred of shape {y_pred.shape}")
    classes = y_pred.shape[axis]
    if given.ndim == y_pred.ndim + 1 and given.shape[-1] == 1:
        given = given[..., 0]
    if given.ndim == y_pred.ndim and given.shape[axis] == 1:
        given = np.squeeze(given, axis)
    samples = y_pred.shape[:axis] + y_pred.shape[axis:][1:]
    if given.shape != samples:
        remedy = "Each sample has one class number"
        if given.shape == y_pred.shape:
            remedy = "For one-hot vectors use categorical_crossentropy"
        raise ValueError(
            f"{name}: Arguments `y_true` and `y_pred` must have the same shape but for the classes, axis "
            f"{axis} of y_pred. Received: y_true.shape={given.shape}, y_pred.shape={y_pred.shape}. {remedy}"
        )
    if given.dtype.kind not in "biuf":
        given = of_dtype(given, "y_true", np.dtype(np.float64))
    counts = None if ignore_class is None else np.asarray(given != ignore_class)
    numbers = given if counts is None else np.where(counts, given, 0)
    found = numbers.astype(np.intp)
    # As an unsigned number a negative one is large; a fraction, NaN or infinity has become another number.
    outside = found.view(np.uintp) >= classes
    if given.dtype.kind != "i":
        outside = outside | (found != numbers)
    if np.logical_or.reduce(outside, axis=None):
        largest = np.max(numbers)
        units = f"give the last layer {int(largest) + 1} units" if math.isfinite(largest) else "look for NaN"
        raise ValueError(
            f"{name}: {_first(outside, given)} is not one of the classes 0 to {classes - 1} that y_pred of "
            f"shape {y_pred.shape} has ({outside.sum()} of {given.size} labels are not). Number the classes "
            f"from 0, {units}, or leave a label out with ignore_class"
        )
    return found, counts


# --- Probabilities --------------------------------------------------------------------------------


@_loss_function(broadcasts=False)
def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: Any = -1
) -> Any:
    """Minus the logarithm of the probability that was given to what is true, for each of several yes or no.

    Parameters
    ----------
    y_true : array_like, shape of ``y_pred``
        0 or 1, or the probability of 1.
    y_pred : array_like of floats
        Probabilities of 1. They are clipped to `epsilon` and 1 - `epsilon`, beyond which the gradient is 0.
    from_logits : bool, default False
        Whether ``y_pred`` holds logits, whose sigmoids are the probabilities.
    label_smoothing : float, default 0
        By how much the labels are moved towards 0.5.
    axis : int, default -1
        Along which the mean is taken.

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Raises
    ------
    ValueError
        If the shapes differ, or a label is not between 0 and 1.

    Examples
    --------
    >>> binary_crossentropy([[0, 1]], [[0.5, 0.25]]).round(4)
    array([1.0397], dtype=float32)
    """
    _check_probabilities("binary_crossentropy", y_true)
    if label_smoothing:
        y_true = y_true * (1 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        power = np.exp(-np.abs(y_pred))
        points = np.maximum(y_pred, 0) - y_pred * y_true + np.log1p(power)
        return _mean(points, lambda: _sigmoid(y_pred, power) - y_true, axis)
    p, passed = _clip(y_pred, epsilon(), 1 - epsilon())
    q = 1 - p
    points = -(y_true * np.log(p) + (1 - y_true) * np.log(q))
    return _mean(points, lambda: (p - y_true) / (p * q) * passed(), axis)


@_loss_function(broadcasts=False)
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: Any = -1,
) -> Any:
    """`binary_crossentropy` times ``(1 - p)**gamma``, where ``p`` is the probability given to what is true.

    Parameters
    ----------
    y_true, y_pred, from_logits, label_smoothing, axis
        As in `binary_crossentropy`.
    apply_class_balancing : bool, default False
        Whether to multiply by ``alpha`` where the label is 1, and by ``1 - alpha`` where it is 0.
    alpha : float, default 0.25
    gamma : float, default 2

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Raises
    ------
    ValueError
        As `binary_crossentropy` does.

    Notes
    -----
    https://arxiv.org/abs/1708.02002

    Examples
    --------
    >>> binary_focal_crossentropy([[0, 1]], [[0.5, 0.25]]).round(4)
    array([0.4765], dtype=float32)
    """
    _check_probabilities("binary_focal_crossentropy", y_true)
    if label_smoothing:
        y_true = y_true * (1 - label_smoothing) + 0.5 * label_smoothing
    power = np.exp(-np.abs(y_pred)) if from_logits else None
    p = y_pred if power is None else _sigmoid(y_pred, power)
    c, passed = _clip(p, epsilon(), 1 - epsilon())
    entropy = -(y_true * np.log(c) + (1 - y_true) * np.log(1 - c))
    missed = 1 - (y_true * p + (1 - y_true) * (1 - p))
    focus = missed**gamma
    balance = y_true * alpha + (1 - y_true) * (1 - alpha) if apply_class_balancing else 1.0

    def slope() -> NDArray[Any]:
        of_entropy = (c - y_true) / (c * (1 - c)) * passed()
        of_focus = _slope_of_power(missed, gamma) * (1 - 2 * y_true)
        found: NDArray[Any] = balance * (focus * of_entropy + of_focus * entropy)
        return found if power is None else found * (p * _sigmoid(-y_pred, power))

    return _mean(balance * focus * entropy, slope, axis)


def _slope_of_power(x: NDArray[Any], exponent: float) -> Any:
    return exponent * x ** (exponent - 1) if exponent else 0.0


@_loss_function(broadcasts=False)
def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """Minus the logarithm of the probability that was given to the true class; classes are one-hot vectors.

    Parameters
    ----------
    y_true : array_like, shape of ``y_pred``
        One-hot vectors, or the probability of each class.
    y_pred : array_like of floats
        Probabilities, which are divided by their sum and then clipped to `epsilon` and 1 - `epsilon`.
    from_logits : bool, default False
        Whether ``y_pred`` holds logits, whose softmax is the probabilities.
    label_smoothing : float, default 0
        Which part of the labels is spread over all classes.
    axis : int, default -1
        The axis of the classes.

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Raises
    ------
    ValueError
        If the shapes differ, or a label is not between 0 and 1.

    Warns
    -----
    SyntaxWarning
        If there is one class only.

    Examples
    --------
    >>> categorical_crossentropy([[0, 1, 0]], [[0.25, 0.5, 0.25]]).round(4)
    array([0.6931], dtype=float32)
    """
    y_true = _smoothed("categorical_crossentropy", y_true, y_pred, label_smoothing, axis)
    if from_logits:
        below = y_pred - np.max(y_pred, axis=axis, keepdims=True, initial=-np.inf)
        powers = np.exp(below)
        total = np.add.reduce(powers, axis=axis, keepdims=True)
        values = -np.add.reduce(y_true * (below - np.log(total)), axis=axis)
        labels = np.add.reduce(y_true, axis=axis, keepdims=True)
        return values, lambda upstream: (powers * (labels / total) - y_true) * _along(upstream, axis)
    p, pullback = _shares(y_pred, axis)
    return (
        -np.add.reduce(y_true * np.log(p), axis=axis),
        lambda upstream: pullback(y_true / p * _along(-upstream, axis)),
    )


def _smoothed(name: str, y_true: Any, y_pred: Any, label_smoothing: float, axis: int) -> NDArray[Any]:
    _check_axis(axis)
    _check_classes(name, y_pred)
    _check_probabilities(name, y_true)
    if label_smoothing:
        return y_true * (1 - label_smoothing) + label_smoothing / y_true.shape[axis]
    return y_true


def _shares(y_pred: NDArray[Any], axis: int) -> tuple[NDArray[Any], Pullback]:
    """Predictions, divided by their sum and clipped."""
    total = np.add.reduce(y_pred, axis=axis, keepdims=True)
    shares = y_pred / total
    clipped, passed = _clip(shares, epsilon(), 1 - epsilon())

    def pullback(upstream: NDArray[Any]) -> NDArray[Any]:
        upstream = upstream * passed()
        return (upstream - np.add.reduce(upstream * shares, axis=axis, keepdims=True)) / total

    return clipped, pullback


@_loss_function()
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """`categorical_crossentropy` times ``alpha * (1 - p)**gamma``, ``p`` being the probability of the class.

    Parameters
    ----------
    y_true, y_pred, from_logits, label_smoothing, axis
        As in `categorical_crossentropy`.
    alpha : float or sequence of float, default 0.25
        For all classes, or for each.
    gamma : float, default 2

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Raises
    ------
    ValueError
        As `categorical_crossentropy` does.

    Notes
    -----
    https://arxiv.org/abs/1708.02002

    Examples
    --------
    >>> categorical_focal_crossentropy([[0, 1, 0]], [[0.25, 0.5, 0.25]]).round(4)
    array([0.0433], dtype=float32)
    """
    y_true = _smoothed("categorical_focal_crossentropy", y_true, y_pred, label_smoothing, axis)
    weight = np.asarray(alpha, y_pred.dtype)
    probabilities = _softmax(y_pred, axis) if from_logits else y_pred
    p, pullback = _shares(probabilities, axis)
    entropy = -y_true * np.log(p)
    missed = 1 - p
    focus = missed**gamma

    def pulled_back(upstream: Any) -> NDArray[Any]:
        slope = weight * (-_slope_of_power(missed, gamma) * entropy - focus * (y_true / p))
        found = pullback(slope * _along(upstream, axis))
        if from_logits:
            mean = np.add.reduce(found * probabilities, axis=axis, keepdims=True)
            found = probabilities * (found - mean)
        return found

    return np.add.reduce(weight * focus * entropy, axis=axis), pulled_back


@_loss_function(of_classes=True)
def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """`categorical_crossentropy`, with a class number for each sample instead of a one-hot vector.

    Parameters
    ----------
    y_true : array_like, shape of ``y_pred`` without the classes, or with 1 in their place
        Integers from 0 to the number of classes - 1; floats that are integers will do.
    y_pred : array_like of floats
        As in `categorical_crossentropy`.
    from_logits : bool, default False
        Whether ``y_pred`` holds logits, whose softmax is the probabilities.
    ignore_class : int, optional
        A label, of any value, that says to leave the sample out: it has a value of 0, and a `Loss` takes the
        mean over the others.
    axis : int, default -1
        The axis of the classes.

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Raises
    ------
    ValueError
        If the shapes do not fit, or a label is no class.

    Examples
    --------
    >>> sparse_categorical_crossentropy([1, 0], [[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]]).round(4)
    array([0.6931, 2.3026], dtype=float32)
    """
    classes, counts = _class_numbers(y_true, y_pred, axis, ignore_class)
    last = axis in (-1, y_pred.ndim - 1)
    moved = y_pred if last else np.moveaxis(y_pred, axis, -1)
    x = moved.reshape(-1, y_pred.shape[axis])
    if counts is not None:
        x = np.where(counts.reshape(-1, 1), x, x.dtype.type(1))
    rows, numbers = np.arange(len(x)), classes.ravel()
    if from_logits:
        # Of large arrays there is one, which becomes the gradient: fresh memory costs more than arithmetic.
        powers = x - np.max(x, axis=1, initial=-np.inf, keepdims=True)
        below = powers[rows, numbers]
        np.exp(powers, out=powers)
        total = np.add.reduce(powers, axis=1)
        values = np.log(total) - below
    else:
        total = np.add.reduce(x, axis=1)
        share = x[rows, numbers] / total
        p, passed = _clip(share, epsilon(), 1 - epsilon())
        values = -np.log(p)
    if counts is not None:
        values = np.where(counts.ravel(), values, values.dtype.type(0))

    def pullback(upstream: Any) -> NDArray[Any]:
        if np.ndim(upstream):
            upstream = upstream.ravel()
        if counts is not None:
            upstream = np.where(counts.ravel(), upstream, 0)
        if from_logits:
            found = np.multiply(powers, (upstream / total)[:, np.newaxis], out=powers)
            found[rows, numbers] -= upstream
        else:
            # One number for a whole row: the sum, by which all are divided, is all that most have a part in.
            each = upstream * passed() / (total * p)
            found = np.empty_like(x)
            found[...] = (each * share)[:, np.newaxis]
            found[rows, numbers] -= each
        found = found.reshape(moved.shape)
        return found if last else np.moveaxis(found, -1, axis)

    return values.reshape(classes.shape), pullback, counts


@_loss_function()
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """The sum of ``y_true * log(y_true / y_pred)``, both clipped to `epsilon` and 1.

    Parameters
    ----------
    y_true, y_pred : array_like
        Probabilities.

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> kl_divergence([[0.5, 0.5]], [[0.25, 0.75]]).round(4)
    array([0.1438], dtype=float32)
    """
    t, _ = _clip(y_true, epsilon(), 1)
    p, passed = _clip(y_pred, epsilon(), 1)
    return (
        np.add.reduce(t * np.log(t / p), axis=-1),
        lambda upstream: t / p * passed() * _along(-upstream, -1),
    )


@_loss_function()
def poisson(y_true: Any, y_pred: Any) -> Any:
    """The mean of ``y_pred - y_true * log(y_pred + epsilon)``.

    Parameters
    ----------
    y_true, y_pred : array_like
        Counts, and how many are expected.

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> poisson([[1, 4]], [[1.0, 2.0]]).round(4)
    array([0.1137], dtype=float32)
    """
    above = y_pred + epsilon()
    return _mean(y_pred - y_true * np.log(above), lambda: 1 - y_true / above)


# --- Distances ------------------------------------------------------------------------------------


@_loss_function()
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of ``(y_true - y_pred)**2``.

    Parameters
    ----------
    y_true, y_pred : array_like

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> mean_squared_error([[0, 1]], [[0.5, 0.0]])
    array([0.625], dtype=float32)
    """
    error = y_pred - y_true
    return _mean(error * error, lambda: 2 * error)


@_loss_function()
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of ``abs(y_true - y_pred)``.

    Parameters
    ----------
    y_true, y_pred : array_like

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> mean_absolute_error([[0, 1]], [[0.5, 0.0]])
    array([0.75], dtype=float32)
    """
    error = y_pred - y_true
    return _mean(np.abs(error), lambda: _side(error))


@_loss_function()
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 times the mean of ``abs((y_true - y_pred) / max(abs(y_true), epsilon))``.

    Parameters
    ----------
    y_true, y_pred : array_like

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> mean_absolute_percentage_error([[2, 4]], [[1.0, 5.0]])
    array([37.5], dtype=float32)
    """
    scale = np.maximum(np.abs(y_true), epsilon())
    error = (y_pred - y_true) / scale
    values, pullback = _mean(np.abs(error), lambda: _side(error) / scale)
    return 100 * values, lambda upstream: pullback(100 * upstream)


@_loss_function()
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of ``(log(y_true + 1) - log(y_pred + 1))**2``; both are at least `epsilon`.

    Parameters
    ----------
    y_true, y_pred : array_like
        Negative numbers count as `epsilon`, and have a gradient of 0.

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> mean_squared_logarithmic_error([[0, 1]], [[0.0, 3.0]]).round(4)
    array([0.2402], dtype=float32)
    """
    p, passed = _clip(y_pred, epsilon(), math.inf)
    error = np.log(p + 1) - np.log(np.maximum(y_true, epsilon()) + 1)
    return _mean(error * error, lambda: 2 * error / (p + 1) * passed())


@_loss_function()
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """The mean of half the squared errors, which go on as a straight line where they are beyond ``delta``.

    Parameters
    ----------
    y_true, y_pred : array_like
    delta : float, default 1

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Notes
    -----
    https://en.wikipedia.org/wiki/Huber_loss

    Examples
    --------
    >>> huber([[0, 0]], [[0.5, 3.0]])
    array([1.3125], dtype=float32)
    """
    error = y_pred - y_true
    size = np.abs(error)
    points = np.where(size <= delta, 0.5 * error * error, delta * size - 0.5 * delta * delta)
    return _mean(points, lambda: np.where(size <= delta, error, delta * np.sign(error)))


@_loss_function()
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """The mean of ``log(cosh(y_pred - y_true))``.

    Parameters
    ----------
    y_true, y_pred : array_like

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> log_cosh([[0, 0]], [[1.0, 1000.0]]).round(4)
    array([499.8703], dtype=float32)
    """
    error = y_pred - y_true
    size = np.abs(error)
    return _mean(size + np.log1p(np.exp(-2 * size)) - math.log(2), lambda: np.tanh(error))


@_loss_function()
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Minus the cosine of the angle between the two: -1 where they point the same way.

    Parameters
    ----------
    y_true, y_pred : array_like
        A vector of zeros has a cosine of 0 with all, and a gradient of 0.
    axis : int, default -1
        Along which they are vectors.

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Notes
    -----
    ``cosine_proximity`` is its name in Keras 1 and 2. Keras 1 took the mean of the products, not their sum:
    in the era ``"keras1"`` that is what `get` returns for this name.

    Examples
    --------
    >>> cosine_similarity([[1, 0], [0, 0]], [[3.0, 4.0], [1.0, 1.0]])
    array([-0.6, -0. ], dtype=float32)
    """
    t, p, length, floored = _directions(y_true, y_pred, axis)
    cosine = np.add.reduce(t * p, axis=axis, keepdims=True)

    def pullback(upstream: Any) -> NDArray[Any]:
        # A step along the vector changes nothing, unless its length is below epsilon and not divided by.
        across = np.where(floored, t, t - cosine * p) / length
        return across * _along(-upstream, axis)

    return -np.squeeze(cosine, axis), pullback


def _directions(y_true: NDArray[Any], y_pred: NDArray[Any], axis: int) -> tuple[NDArray[Any], ...]:
    """Both at length 1, by what predictions were divided, and where that is not their length."""

    def length(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        squares = np.add.reduce(x * x, axis=axis, keepdims=True)
        found = np.sqrt(squares)
        short = found < epsilon()
        # JAX has NaN for the gradient of no direction; divided by infinity it is 0.
        return np.where(squares == 0, np.inf, np.where(short, epsilon(), found)).astype(x.dtype), short

    of_true, _ = length(y_true)
    of_pred, floored = length(y_pred)
    return y_true / of_true, y_pred / of_pred, of_pred, floored


def of_keras1() -> Mapping[str, Callable[..., Any]]:
    @_loss_function()
    def cosine_proximity(y_true: Any, y_pred: Any) -> Any:
        """Minus the mean of the products of both at length 1: keras/objectives.py of Keras 1.2.2."""
        values, pullback = cosine_similarity._kernel.compute(y_true, y_pred)  # type: ignore[attr-defined]
        width = y_pred.shape[-1]
        return values / width, lambda upstream: pullback(upstream / width)

    return {"cosine_proximity": cosine_proximity, "cosine": cosine_proximity}


# --- Margins --------------------------------------------------------------------------------------


def _signs(y_true: NDArray[Any]) -> NDArray[Any]:
    """Labels as -1 and 1, if all are 0 or 1."""
    if np.logical_and.reduce((y_true == 0) | (y_true == 1), axis=None):
        return 2 * y_true - 1
    return y_true


@_loss_function()
def hinge(y_true: Any, y_pred: Any) -> Any:
    """The mean of ``max(1 - y_true * y_pred, 0)``.

    Parameters
    ----------
    y_true : array_like
        -1 and 1. If all are 0 or 1, 0 counts as -1.
    y_pred : array_like

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> hinge([[-1, 1]], [[0.5, 0.5]])
    array([1.], dtype=float32)
    """
    signs = _signs(y_true)
    missing, passed = _positive(1 - signs * y_pred)
    return _mean(missing, lambda: -signs * passed())


@_loss_function()
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """The mean of ``max(1 - y_true * y_pred, 0)**2``.

    Parameters
    ----------
    y_true : array_like
        -1 and 1. If all are 0 or 1, 0 counts as -1.
    y_pred : array_like

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> squared_hinge([[-1, 1]], [[0.5, 0.5]])
    array([1.25], dtype=float32)
    """
    signs = _signs(y_true)
    missing, _ = _positive(1 - signs * y_pred)
    return _mean(missing * missing, lambda: -2 * signs * missing)


@_loss_function()
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """``max(neg - pos + 1, 0)``, ``pos`` being the true class's number, ``neg`` the largest of the others.

    Parameters
    ----------
    y_true : array_like
        One-hot vectors: ``pos = sum(y_true * y_pred)``, ``neg = max((1 - y_true) * y_pred)``.
    y_pred : array_like

    Returns
    -------
    ndarray of shape ``y_pred.shape[:-1]``

    Examples
    --------
    >>> categorical_hinge([[0, 1, 0]], [[0.5, 0.75, 0.25]])
    array([0.75], dtype=float32)
    """
    others = (1 - y_true) * y_pred
    largest = np.max(others, axis=-1, keepdims=True, initial=-np.inf)
    of_class = np.add.reduce(y_true * y_pred, axis=-1)
    missing, passed = _positive(largest[..., 0] - of_class + 1)

    def pullback(upstream: Any) -> NDArray[Any]:
        chosen = others == largest  # equals share, as in JAX
        share = chosen / np.add.reduce(chosen, axis=-1, keepdims=True, dtype=y_pred.dtype)
        return ((1 - y_true) * share - y_true) * _along(upstream * passed(), -1)

    return missing, pullback


# --- Overlaps -------------------------------------------------------------------------------------


@_loss_function()
def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """1 minus twice the sum of ``y_true * y_pred``, divided by the sum of both.

    Parameters
    ----------
    y_true, y_pred : array_like
    axis : int or tuple of int, optional
        Along which to sum; default: all.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> round(float(dice([[0, 1]], [[0.5, 1.0]])), 4)
    0.2
    """
    both = np.add.reduce(y_true * y_pred, axis=axis)
    total = np.add.reduce(y_true, axis=axis) + np.add.reduce(y_pred, axis=axis) + epsilon()

    def pullback(upstream: Any) -> NDArray[Any]:
        return _along(2 * both / (total * total) * upstream, axis) - y_true * _along(
            2 / total * upstream, axis
        )

    return 1 - 2 * both / total, pullback


@_loss_function()
def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> Any:
    """`dice` with weights for what was missed and what was wrongly found.

    Parameters
    ----------
    y_true, y_pred : array_like
    alpha : float, default 0.5
        Weight of ``sum(y_true * (1 - y_pred))``.
    beta : float, default 0.5
        Weight of ``sum((1 - y_true) * y_pred)``.
    axis : int or tuple of int, optional
        Along which to sum; default: all.

    Returns
    -------
    ndarray

    Notes
    -----
    https://arxiv.org/abs/1706.05721

    Examples
    --------
    >>> round(float(tversky([[0, 1]], [[0.5, 1.0]])), 4)
    0.2
    """
    both = np.add.reduce(y_true * y_pred, axis=axis)
    missed = np.add.reduce((1 - y_pred) * y_true, axis=axis)
    wrong = np.add.reduce(y_pred * (1 - y_true), axis=axis)
    total = both + alpha * missed + beta * wrong + epsilon()

    def pullback(upstream: Any) -> NDArray[Any]:
        of_total = y_true - alpha * y_true + beta * (1 - y_true)
        found: NDArray[Any] = of_total * _along(both / (total * total) * upstream, axis)
        return found - y_true * _along(upstream / total, axis)

    return 1 - both / total, pullback


def with_gradient(function: F, gradient: Callable[..., Any]) -> F:
    """A loss function of your own, given its gradient, so that models can be trained with it.

    It sets the function's attribute ``gradient``, which can be done by hand as well, or be a method of an
    object that is called.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns a value for each sample, or one for all.
    gradient : callable
        ``gradient(y_true, y_pred, upstream)`` returns the gradient with respect to ``y_pred``, in its shape,
        where ``upstream`` is that with respect to the values, in their shape.

    Returns
    -------
    callable
        The function.

    Raises
    ------
    TypeError
        If one of the two cannot be called, if the function is one of Keras's or a `Loss`, which have theirs,
        or is one that attributes cannot be given to, as a method.

    Examples
    --------
    >>> def cubes(y_true, y_pred):
    ...     return np.mean(abs(y_true - y_pred) ** 3, axis=-1)
    >>> def slope(y_true, y_pred, upstream):
    ...     error = y_pred - y_true
    ...     return 3 * error * abs(error) / error.shape[-1] * upstream[..., np.newaxis]
    >>> from fastembed.losses import LossFunctionWrapper
    >>> loss = LossFunctionWrapper(with_gradient(cubes, slope))
    >>> loss.value_and_gradient([[0.0], [0.0]], [[1.0], [2.0]])[1]
    array([[1.5],
           [6. ]], dtype=float32)
    """
    for name, given in (("function", function), ("gradient", gradient)):
        if not callable(given):
            raise TypeError(f"with_gradient: {name} has to be callable. Received: {name}={given!r:.200}")
    if hasattr(function, "_kernel") or callable(getattr(type(function), "gradient", None)):
        raise TypeError(
            f"with_gradient is for functions of your own. Received: function={function!r:.200}. Give it one "
            "that calls this or, where this is a Loss, write a subclass with `call` and `gradient`"
        )
    try:
        function.gradient = gradient  # type: ignore[attr-defined]
    except AttributeError:
        raise TypeError(
            f"with_gradient: {function!r:.200} takes no attributes, as methods and built-in functions. "
            "Give it a function that calls this: lambda y_true, y_pred: function(y_true, y_pred)"
        ) from None
    return function

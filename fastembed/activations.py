"""Activations, as in Keras, each with its gradient.

An activation is a function of an array, and its attribute ``gradient`` is another:
``gradient(inputs, outputs, upstream, ...)`` is the gradient of the loss with respect to the inputs, given
that with respect to the outputs, and the other arguments of the call. Formulas and defaults:
keras/src/activations/activations.py of Keras 3.15; where an activation has a kink, the gradient is the one
that Keras 3 gets from JAX.

All are computed in float32 or wider and rounded once to the dtype of the input; integers count as float32.
None overflows on the way to a result that is finite. NaN stays NaN. (`np.where` is left to the rarer ones: on
numbers of both signs in no order it takes ten times as long as arithmetic.)
"""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, TypeVar, Union

import numpy as np

from fastembed._floats import function_of_floats
from fastembed._registry import Registry, deserialize_keras_object, serialize_keras_object

if TYPE_CHECKING:
    from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
Axes = Union[int, Sequence[int], None]

# As arrays, because to make one of a number costs as much as a few hundred numbers.
_ZERO, _ONE = np.zeros((), np.float32), np.ones((), np.float32)


# --- Gradients ------------------------------------------------------------------------------------


def with_gradient(gradient: Callable[..., Any]) -> Callable[[F], F]:
    """A decorator that gives a function its gradient, so that layers can be trained through it.

    It sets the function's attribute ``gradient``, which can be done by hand as well, or be a method of an
    object that is called.

    Parameters
    ----------
    gradient : callable
        ``gradient(inputs, outputs, upstream)`` returns an array in the shape of the inputs: the gradient of
        the loss with respect to them, where ``upstream`` is that with respect to the outputs. If the function
        is called with other arguments, they come after these.

    Examples
    --------
    >>> @with_gradient(lambda inputs, outputs, upstream: 3 * inputs**2 * upstream)
    ... def cube(x):
    ...     return x**3
    >>> from fastembed import layers
    >>> layer = layers.Activation(cube)
    >>> layer(np.float32([[1, 2]]), training=True)
    array([[1., 8.]], dtype=float32)
    >>> layer.backward(np.float32([[1, 1]]))
    array([[ 3., 12.]], dtype=float32)
    """

    def decorate(function: F) -> F:
        function.gradient = gradient  # type: ignore[attr-defined]
        return function

    return decorate


def gradient_of(activation: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of an activation: a function of its inputs, its outputs and the gradient of the outputs.

    Parameters
    ----------
    activation : callable
        One of this module, one of your own (see `with_gradient`), or a layer, which has a `Layer.backward`
        instead and needs neither inputs nor outputs.

    Raises
    ------
    RuntimeError
        If nothing is known of the gradient.

    Examples
    --------
    >>> gradient_of(tanh)([0.0, 20.0], [0.0, 1.0], [0.5, 0.5])
    array([0.5, 0. ])
    """
    gradient = getattr(activation, "gradient", None)
    if callable(gradient):
        return gradient
    backward = getattr(activation, "backward", None)
    if callable(backward):
        return lambda inputs, outputs, upstream: backward(upstream)
    raise RuntimeError(
        f"nothing is known of the gradient of {activation!r:.200}. Give it one: decorate the function with "
        "@fastembed.activations.with_gradient(lambda inputs, outputs, upstream: ...), or set its attribute "
        "`gradient` to such a function, which returns the gradient with respect to the inputs"
    )


# --- Between a line and zero ----------------------------------------------------------------------


def _clipped(x: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """The slope of a clip, which JAX takes to be a half at both ends."""
    return ((x > low) * 0.5 + (x >= low) * 0.5) * ((x < high) * 0.5 + (x <= high) * 0.5)


def _leaky_relu_gradient(
    x: NDArray[Any],
    y: NDArray[Any],
    upstream: NDArray[Any],
    negative_slope: float = 0.2,
    *,
    alpha: float | None = None,
) -> NDArray[Any]:
    slope = negative_slope if alpha is None else alpha
    return upstream * (x >= 0) + slope * upstream * (x < 0)


def _relu_gradient(
    x: NDArray[Any],
    y: NDArray[Any],
    upstream: NDArray[Any],
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
    *,
    alpha: float | None = None,
) -> NDArray[Any]:
    slope = negative_slope if alpha is None else alpha
    if slope and max_value is None and not threshold:
        return _leaky_relu_gradient(x, y, upstream, slope)
    passed: Any = x > threshold
    if max_value == 6 and not threshold:  # which is relu6
        passed = passed & (x < 6)
    elif max_value is not None:
        passed = passed * _clipped(x, 0, max_value)
    return upstream * (passed + slope * (x < threshold) if slope else passed)


@function_of_floats(_relu_gradient)
def relu(
    x: Any,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
    *,
    alpha: float | None = None,
) -> NDArray[Any]:
    """``x`` above the threshold and at most ``max_value``; ``negative_slope * (x - threshold)`` below.

    Parameters
    ----------
    x : array_like
    negative_slope : float, default 0
    max_value : float, optional
        With it, nothing above the threshold is negative either.
    threshold : float, default 0
    alpha : float, optional
        The name of ``negative_slope`` in Keras 2.

    Examples
    --------
    >>> relu([-2.0, 0.5, 9.0], negative_slope=0.1, max_value=6)
    array([-0.2,  0.5,  6. ], dtype=float32)
    """
    slope = negative_slope if alpha is None else alpha
    if not (slope or threshold):
        return np.maximum(x, _ZERO) if max_value is None else np.clip(x, 0, max_value)
    result = np.where(x <= threshold, x.dtype.type(0), x)  # NaN stays
    if max_value is not None:
        result = np.clip(result, 0, max_value)
    return result - slope * np.maximum(threshold - x, 0) if slope else result


@function_of_floats(_leaky_relu_gradient)
def leaky_relu(x: Any, negative_slope: float = 0.2, *, alpha: float | None = None) -> NDArray[Any]:
    """``x`` where it is positive, else ``negative_slope * x``.

    Parameters
    ----------
    x : array_like
    negative_slope : float, default 0.2
    alpha : float, optional
        Its name in tf.keras.

    Examples
    --------
    >>> leaky_relu([-2.0, 2.0])
    array([-0.4,  2. ], dtype=float32)
    """
    return np.maximum(x, 0) + (negative_slope if alpha is None else alpha) * np.minimum(x, 0)


@function_of_floats(lambda x, y, upstream: upstream * ((x > 0) & (x < 6)))
def relu6(x: Any) -> NDArray[Any]:
    """``x`` between 0 and 6.

    >>> relu6([-1.0, 5.0, 7.0])
    array([0., 5., 6.], dtype=float32)
    """
    return np.clip(x, 0, 6)


@function_of_floats(lambda x, y, upstream: upstream * ((x > -3) & (x < 3)) / 6)
def hard_sigmoid(x: Any) -> NDArray[Any]:
    """``x / 6 + 0.5``, between 0 and 1.

    In Keras 2 and before it was ``0.2 * x + 0.5``, and so it is under ``fastembed.era("tf.keras")`` and the
    earlier ones for a layer whose activation it is.

    >>> hard_sigmoid([-3.0, 1.5])
    array([0.  , 0.75], dtype=float32)
    """
    return np.clip(x + 3, 0, 6) / 6


@function_of_floats(
    lambda x, y, upstream: upstream * (np.clip(x + 3, 0, 6) / 6 + ((x > -3) & (x < 3)) * x / 6)
)
def hard_silu(x: Any) -> NDArray[Any]:
    """``x * hard_sigmoid(x)``. Its other name is ``hard_swish``.

    https://arxiv.org/abs/1905.02244

    >>> hard_silu([-3.0, 1.5])
    array([-0.   ,  1.125], dtype=float32)
    """
    return x * np.clip(x + 3, 0, 6) / 6


@function_of_floats(lambda x, y, upstream: upstream * ((x >= -1) & (x <= 1)))
def hard_tanh(x: Any) -> NDArray[Any]:
    """``x`` between -1 and 1.

    >>> hard_tanh([-2.0, 0.5])
    array([-1. ,  0.5], dtype=float32)
    """
    return np.clip(x, -1, 1)


@function_of_floats(lambda x, y, upstream, threshold=0.5: upstream * (np.abs(x) > threshold))
def hard_shrink(x: Any, threshold: float = 0.5) -> NDArray[Any]:
    """``x`` where it is further from 0 than ``threshold``, else 0.

    >>> hard_shrink([-2.0, 0.5])
    array([-2.,  0.], dtype=float32)
    """
    return x * (np.abs(x) > threshold)


@function_of_floats(lambda x, y, upstream, threshold=0.5: upstream * (np.abs(x) > threshold))
def soft_shrink(x: Any, threshold: float = 0.5) -> NDArray[Any]:
    """``x``, nearer to 0 by ``threshold``.

    >>> soft_shrink([-2.0, 0.25])
    array([-1.5,  0. ], dtype=float32)
    """
    return x - np.clip(x, -threshold, threshold)


@function_of_floats(lambda x, y, upstream, threshold, default_value: upstream * (x > threshold))
def threshold(x: Any, threshold: float, default_value: float) -> NDArray[Any]:
    """``x`` above the threshold, else ``default_value``.

    >>> threshold([1.0, 3.0], 2, -1)
    array([-1.,  3.], dtype=float32)
    """
    return np.where(x <= threshold, x.dtype.type(default_value), x)


@function_of_floats(lambda x, y, upstream: upstream * np.clip((x + 1) / 2, 0, 1))
def sparse_plus(x: Any) -> NDArray[Any]:
    """0 up to -1, ``x`` from 1 on, ``(x + 1)**2 / 4`` between.

    >>> sparse_plus([-2.0, 0.0, 3.0])
    array([0.  , 0.25, 3.  ], dtype=float32)
    """
    return np.where(x >= 1, x, np.square(np.clip(x, -1, 1) + 1) / 4)


@function_of_floats(lambda x, y, upstream: upstream * _clipped(x, -1, 1) / 2)
def sparse_sigmoid(x: Any) -> NDArray[Any]:
    """``(x + 1) / 2``, between 0 and 1.

    https://arxiv.org/abs/1901.02324

    >>> sparse_sigmoid([-2.0, 0.5])
    array([0.  , 0.75], dtype=float32)
    """
    return np.clip((x + 1) / 2, 0, 1)


def linear(x: Any) -> Any:
    """``x`` itself.

    >>> linear([1, 2])
    [1, 2]
    """
    return x


with_gradient(lambda inputs, outputs, upstream: upstream)(linear)


# --- Exponentials ---------------------------------------------------------------------------------


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return np.exp(np.minimum(x, _ZERO)) / (_ONE + np.exp(-np.abs(x)))  # neither of which overflows


def _softplus(x: NDArray[Any]) -> NDArray[Any]:
    return np.maximum(x, _ZERO) + np.log1p(np.exp(-np.abs(x)))


@function_of_floats(lambda x, y, upstream: upstream * (y * (1 - y)))
def sigmoid(x: Any) -> NDArray[Any]:
    """``1 / (1 + exp(-x))``.

    >>> sigmoid([0.0, -10000.0])
    array([0.5, 0. ], dtype=float32)
    """
    return _sigmoid(x)


@function_of_floats(lambda x, y, upstream: upstream * _sigmoid(-x))
def log_sigmoid(x: Any) -> NDArray[Any]:
    """``log(sigmoid(x))``.

    >>> log_sigmoid([0.0, -10000.0])
    array([-6.931472e-01, -1.000000e+04], dtype=float32)
    """
    return -_softplus(-x)


@function_of_floats(lambda x, y, upstream: upstream * _sigmoid(x))
def softplus(x: Any) -> NDArray[Any]:
    """``log(1 + exp(x))``.

    >>> softplus([0.0, 10000.0])
    array([6.931472e-01, 1.000000e+04], dtype=float32)
    """
    return _softplus(x)


@function_of_floats(lambda x, y, upstream: upstream * (1 - y * y))
def tanh(x: Any) -> NDArray[Any]:
    """The hyperbolic tangent.

    >>> tanh([0.0])
    array([0.], dtype=float32)
    """
    return np.tanh(x)


@function_of_floats(lambda x, y, upstream: upstream * np.square(np.tanh(x)))
def tanh_shrink(x: Any) -> NDArray[Any]:
    """``x - tanh(x)``.

    >>> tanh_shrink([0.0, 20.0])
    array([ 0., 19.], dtype=float32)
    """
    return x - np.tanh(x)


@function_of_floats(lambda x, y, upstream: upstream * y)
def exponential(x: Any) -> NDArray[Any]:
    """``exp(x)``.

    >>> exponential([0.0])
    array([1.], dtype=float32)
    """
    return np.exp(x)


def _elu_gradient(
    x: NDArray[Any], y: NDArray[Any], upstream: NDArray[Any], alpha: float = 1.0
) -> NDArray[Any]:
    return upstream * (x > 0) + upstream * (alpha * np.exp(np.minimum(x, 0))) * (x <= 0)


@function_of_floats(_elu_gradient)
def elu(x: Any, alpha: float = 1.0) -> NDArray[Any]:
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``.

    https://arxiv.org/abs/1511.07289

    >>> elu([1.0, -10000.0], alpha=2.0)
    array([ 1., -2.], dtype=float32)
    """
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


# https://arxiv.org/abs/1706.02515, appendix A1: where activations keep a mean of 0 and a variance of 1.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@function_of_floats(lambda x, y, upstream: _SELU_SCALE * _elu_gradient(x, y, upstream, _SELU_ALPHA))
def selu(x: Any) -> NDArray[Any]:
    """1.0507 times ``elu(x, alpha=1.6733)``.

    https://arxiv.org/abs/1706.02515

    >>> selu([1.0])
    array([1.050701], dtype=float32)
    """
    return _SELU_SCALE * (np.maximum(x, 0) + _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


@function_of_floats(lambda x, y, upstream, alpha=1.0: upstream * np.exp(np.minimum(x, 0) / alpha))
def celu(x: Any, alpha: float = 1.0) -> NDArray[Any]:
    """``x`` where it is positive, else ``alpha * (exp(x / alpha) - 1)``.

    https://arxiv.org/abs/1704.07483

    >>> celu([1.0, -10000.0], alpha=2.0)
    array([ 1., -2.], dtype=float32)
    """
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha)


def _silu_gradient(x: NDArray[Any], y: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
    s = _sigmoid(x)
    return upstream * (s + x * (s * (1 - s)))


@function_of_floats(_silu_gradient)
def silu(x: Any) -> NDArray[Any]:
    """``x * sigmoid(x)``. Its other name is ``swish``.

    https://arxiv.org/abs/1710.05941

    >>> silu([0.0, 20.0])
    array([ 0., 20.], dtype=float32)
    """
    return x * _sigmoid(x)


def _mish_gradient(x: NDArray[Any], y: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
    t = np.tanh(_softplus(x))
    return upstream * (t + x * ((1 - t * t) * _sigmoid(x)))


@function_of_floats(_mish_gradient)
def mish(x: Any) -> NDArray[Any]:
    """``x * tanh(softplus(x))``.

    https://arxiv.org/abs/1908.08681

    >>> mish([0.0, 20.0])
    array([ 0., 20.], dtype=float32)
    """
    return x * np.tanh(_softplus(x))


def _glu_gradient(x: NDArray[Any], y: NDArray[Any], upstream: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    values, gates = np.split(x, 2, axis)
    s = _sigmoid(gates)
    return np.concatenate([upstream * s, upstream * (values * (s * (1 - s)))], axis)


@function_of_floats(_glu_gradient)
def glu(x: Any, axis: int = -1) -> NDArray[Any]:
    """The first half of ``x``, times the sigmoid of the second.

    Parameters
    ----------
    x : array_like
    axis : int, default -1
        Along which ``x`` is halved.

    Raises
    ------
    ValueError
        If its length is odd.

    Notes
    -----
    https://arxiv.org/abs/1612.08083

    Examples
    --------
    >>> glu([[3.0, 4.0, 0.0, 20.0]])
    array([[1.5, 4. ]], dtype=float32)
    """
    if x.shape[axis] % 2:
        raise ValueError(f"axis size must be divisible by 2. Received: x.shape={x.shape} with axis={axis}")
    values, gates = np.split(x, 2, axis)
    return values * _sigmoid(gates)


# --- Roots ----------------------------------------------------------------------------------------


@function_of_floats(lambda x, y, upstream: upstream / np.square(1 + np.abs(x)))
def softsign(x: Any) -> NDArray[Any]:
    """``x / (1 + abs(x))``.

    >>> softsign([-1.0, 3.0])
    array([-0.5 ,  0.75], dtype=float32)
    """
    return x / (1 + np.abs(x))


@function_of_floats(lambda x, y, upstream, b=4: upstream * (y / np.sqrt(x * x + b)))
def squareplus(x: Any, b: float = 4) -> NDArray[Any]:
    """``(x + sqrt(x**2 + b)) / 2``.

    https://arxiv.org/abs/2112.11687

    >>> squareplus([0.0, -10000.0])
    array([1.e+00, 1.e-04], dtype=float32)
    """
    root = np.sqrt(x * x + b)
    return np.maximum(x, 0) + b / (2 * (np.abs(x) + root))  # below 0 the sum of x and the root is lost


# --- Normal distributions -------------------------------------------------------------------------

# exp(z**2) * erfc(z) * (1 + 2 * z) for z >= 0, as powers of (z - 3.75) / (z + 3.75), the highest first: an
# interpolation at Chebyshev's points, within 2e-15 of it. (M. Schonfelder, Math. Comp. 32, 1978, expands so.)
_ERFC = [np.array(coefficient) for coefficient in (
    -2.5076140093029499e-09, -1.8068814937775869e-09, 3.1388392099623240e-08, 1.8039489127654761e-08,
    -2.4727580974004540e-07, -4.9215445959114531e-08, 1.7403885956548034e-06, -9.8123458469628449e-07,
    -1.1436837313633098e-05, 2.2389022811028709e-05, 5.1645939452576968e-05, -2.9015602749561805e-04,
    2.9371456437886671e-04, 1.7556263591233029e-03, -9.7465797209949721e-03, 2.8362277339058752e-02,
    -5.8693398571819030e-02, 9.2304321167376316e-02, -1.0880393014283821e-01, 8.2276738489850815e-02,
    3.5854154854990522e-03, -1.4024059858554294e-01, 1.2375126308378277e+00,
)]  # fmt: skip
_BLOCK = 4096  # numbers that stay in a core's cache meanwhile


def _normal_cdf(x: NDArray[Any]) -> NDArray[Any]:
    """The probability that a normal number is at most ``x``, however small it is."""
    flat = x.ravel()
    found = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        z = np.minimum(np.abs(block.astype(np.float64)) * math.sqrt(0.5), 40)  # beyond it is 0, or 1
        t = (z - 3.75) / (z + 3.75)
        series = np.full_like(t, _ERFC[0])
        for coefficient in _ERFC[1:]:
            series *= t
            series += coefficient
        tail = series * np.exp(-z * z) / (2 + 4 * z)
        positive = block > 0
        found[start : start + _BLOCK] = positive + (1 - 2 * positive) * tail
    return found.reshape(x.shape)


_TANH_SCALE = math.sqrt(2 / math.pi)


def _gelu_gradient(
    x: NDArray[Any], y: NDArray[Any], upstream: NDArray[Any], approximate: bool = False
) -> NDArray[Any]:
    if not approximate:
        density = np.exp(-0.5 * (x * x)) * (0.5 * _TANH_SCALE)
        return upstream * (_normal_cdf(x) + x * density)
    t = _approximate_erf(x)
    inner = _TANH_SCALE * (1 + 3 * 0.044715 * np.square(np.clip(x, -10, 10)))
    return upstream * (0.5 * (1 + t) + 0.5 * x * ((1 - t * t) * inner))


def _approximate_erf(x: NDArray[Any]) -> NDArray[Any]:
    x = np.clip(x, -10, 10)  # where it is -1 and 1
    return np.tanh(_TANH_SCALE * (x + 0.044715 * x**3))


@function_of_floats(_gelu_gradient)
def gelu(x: Any, approximate: bool = False) -> NDArray[Any]:
    """``x`` times the probability that a normal number is at most ``x``.

    Parameters
    ----------
    x : array_like
    approximate : bool, default False
        Whether that is ``(1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2``, which is quicker.

    Notes
    -----
    https://arxiv.org/abs/1606.08415

    Examples
    --------
    >>> gelu([-1.0, 1.0])
    array([-0.15865526,  0.8413448 ], dtype=float32)
    """
    if approximate:
        return 0.5 * x * (1 + _approximate_erf(x))
    return x * _normal_cdf(x)


# --- Along an axis --------------------------------------------------------------------------------


def _axes(axis: Axes) -> Any:
    return tuple(axis) if isinstance(axis, (list, tuple)) else axis


def _powers(x: NDArray[Any], axis: Any) -> NDArray[Any]:
    return np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))


def _softmax_gradient(
    x: NDArray[Any], y: NDArray[Any], upstream: NDArray[Any], axis: Axes = -1
) -> NDArray[Any]:
    return y * (upstream - np.sum(upstream * y, axis=_axes(axis), keepdims=True))


@function_of_floats(_softmax_gradient)
def softmax(x: Any, axis: Axes = -1) -> NDArray[Any]:
    """``exp(x)``, divided by its sum.

    Parameters
    ----------
    x : array_like
    axis : int, sequence of int or None, default -1
        Over which the results add up to 1; None: all.

    Warns
    -----
    UserWarning
        If the axis has size 1, where every result is 1.

    Examples
    --------
    >>> softmax([0.0, 10000.0, 10000.0])
    array([0. , 0.5, 0.5], dtype=float32)
    """
    if isinstance(axis, int) and -x.ndim <= axis < x.ndim and x.shape[axis] == 1:
        warnings.warn(
            f"softmax over axis {axis} of an array of shape {x.shape}: this axis has size 1, so every result "
            "is 1. Did you mean sigmoid?",
            stacklevel=5,
        )
    powers = _powers(x, _axes(axis))
    return powers / np.sum(powers, axis=_axes(axis), keepdims=True)


@function_of_floats(
    lambda x, y, upstream, axis=-1: upstream - np.exp(y) * np.sum(upstream, axis=_axes(axis), keepdims=True)
)
def log_softmax(x: Any, axis: Axes = -1) -> NDArray[Any]:
    """``log(softmax(x, axis))``.

    >>> log_softmax([0.0, 10000.0])
    array([-10000.,      0.], dtype=float32)
    """
    below = x - np.max(x, axis=_axes(axis), keepdims=True, initial=-np.inf)
    return below - np.log(np.sum(np.exp(below), axis=_axes(axis), keepdims=True))


def _sparsemax_gradient(
    x: NDArray[Any], y: NDArray[Any], upstream: NDArray[Any], axis: int = -1
) -> NDArray[Any]:
    kept = y > 0
    mean = np.sum(upstream * kept, axis=axis, keepdims=True) / np.sum(kept, axis=axis, keepdims=True)
    return kept * (upstream - mean)


@function_of_floats(_sparsemax_gradient)
def sparsemax(x: Any, axis: int = -1) -> NDArray[Any]:
    """The probabilities that are nearest to ``x``: ``max(x - tau, 0)`` with the tau that makes their sum 1.

    https://arxiv.org/abs/1602.02068, algorithm 1.

    >>> sparsemax([[1.0, 0.5, -1.0]])
    array([[0.75, 0.25, 0.  ]], dtype=float32)
    """
    x = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    falling = -np.sort(-x, axis=axis)
    counts = np.arange(1, x.shape[axis] + 1).reshape([-1 if n == axis % x.ndim else 1 for n in range(x.ndim)])
    beyond_1 = np.cumsum(falling, axis=axis) - 1
    kept = falling * counts > beyond_1
    number = np.sum(kept, axis=axis, keepdims=True)
    total = np.sum(falling * kept, axis=axis, keepdims=True) - 1
    return np.maximum(x - total / number, 0)


# --- Names ----------------------------------------------------------------------------------------

swish = silu
hard_swish = hard_silu


_registry = Registry(
    "activation function",
    {
        **{
            name: function
            for name, function in list(globals().items())
            if isinstance(function, types.FunctionType) and name[0] != "_" and hasattr(function, "gradient")
        },
        "softmax_v2": softmax,  # what TensorFlow 2 calls it inside
        "time_distributed_softmax": softmax,  # Keras 0.3
    },
    module="keras.activations",
    of_functions=True,
)


def get(identifier: Any) -> Any:
    """The activation that ``identifier`` means.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        A name of any Keras era or of something registered, a config (see `deserialize`), a class to be made
        without arguments, or anything that is called with an array: a function, a layer.

    Returns
    -------
    callable
        `linear` for None.

    Raises
    ------
    ValueError
        If there is no such activation.

    Examples
    --------
    >>> get("swish") is silu, get(None) is linear
    (True, True)
    """
    made = deserialize(identifier) if isinstance(identifier, (str, Mapping)) else identifier
    return linear if made is None else _registry.get(made)


def serialize(activation: Any) -> Any:
    """An activation as Keras 3 writes it: its name, or the config of one of your own.

    Raises
    ------
    TypeError
        For a lambda and for an object without ``get_config``: they cannot be written as data.

    Examples
    --------
    >>> serialize(swish)
    'silu'
    """
    if isinstance(activation, types.FunctionType) and activation.__module__.partition(".")[0] == __package__:
        return activation.__name__
    return serialize_keras_object(activation)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The activation that a config describes; None for None.

    Parameters
    ----------
    config : None, str or dict
        A name, what Keras 2.12 and later write for a function, or the config of a layer. Nothing that it
        names is imported.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If there is no such activation.

    Examples
    --------
    >>> deserialize("relu") is relu
    True
    >>> deserialize({"class_name": "LeakyReLU", "config": {"alpha": 0.1, "name": "leaky"}})
    <LeakyReLU name=leaky, built=True>
    """
    if isinstance(config, Mapping):
        return deserialize_keras_object(config, custom_objects)
    return _registry.deserialize(config, custom_objects)

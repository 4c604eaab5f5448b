"""Losses as objects: values, weighed and reduced to a number, and the gradient of that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import dtype_policies
from fastembed._registry import Configurable, deserialize_keras_object, serialize_keras_object
from fastembed.dtypes import array_dtype, floatx, is_float
from fastembed.losses.functions import Pullback, of_dtype, of_one_rank
from fastembed.names import automatic_name, snake_case

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self


class Reduction:
    """The names of reductions in Keras 2 and tf.keras.

    >>> Reduction.SUM
    'sum'
    """

    AUTO = "auto"
    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"


_REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


class Loss(Configurable):
    """Base class: called with targets and predictions, it returns how far apart they are.

    A subclass defines ``call(y_true, y_pred)``, which returns a value for each sample, and
    ``gradient(y_true, y_pred, upstream)`` if models are trained with it.

    Parameters
    ----------
    name : str, optional
        Default: made from the class's.
    reduction : str or None, default "sum_over_batch_size"
        What becomes of the values, each multiplied by its weight: ``"sum_over_batch_size"`` and ``"mean"``
        divide their sum by their number, ``"mean_with_sample_weight"`` by the sum of the weights; ``"sum"``;
        ``"none"`` and None leave them alone. ``"auto"`` is tf.keras's name of the first.
    dtype : str or DTypePolicy, optional
        Of what `call` gets, and of the result; default: `floatx`.

    Raises
    ------
    ValueError
        If there is no such reduction, or the dtype is not one of floats.

    Examples
    --------
    >>> class SumOfSquares(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return np.sum((y_pred - y_true) ** 2, axis=-1)
    ...     def gradient(self, y_true, y_pred, upstream):
    ...         return 2 * (y_pred - y_true) * upstream[..., np.newaxis]
    >>> loss = SumOfSquares(reduction="sum")
    >>> float(loss([[1, 2], [3, 4]], [[1, 1], [1, 1]]))
    14.0
    >>> loss.value_and_gradient([[1, 2], [3, 4]], [[1, 1], [1, 1]], sample_weight=[1, 0.5])[1]
    array([[ 0., -2.],
           [-2., -3.]], dtype=float32)
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        self.name = name or automatic_name(snake_case(type(self).__name__))
        self.reduction = _checked_reduction(reduction)
        self._dtype = dtype_policies.get(dtype or floatx()).compute_dtype
        if not is_float(self._dtype):
            raise ValueError(f"{self.name}: a loss is computed in floats. Received: dtype={dtype!r}")
        self._shown = array_dtype(self._dtype)
        self._wide = np.promote_types(self._shown, np.float32)

    @property
    def dtype(self) -> str:
        """The dtype of the result."""
        return self._dtype

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The values: one for each sample, say.

        Parameters
        ----------
        y_true, y_pred : ndarray, dtype of the loss, or float32 where that is narrower
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement call(y_true, y_pred)")

    def gradient(self, y_true: Any, y_pred: Any, upstream: Any) -> Any:
        """The gradient with respect to the predictions.

        Parameters
        ----------
        y_true, y_pred : ndarray
            As `call` gets them.
        upstream : ndarray, shape of what `call` returns
            The gradient with respect to that.

        Returns
        -------
        ndarray, shape of ``y_pred``
        """
        raise _no_gradient(self)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Any:
        """The loss.

        Parameters
        ----------
        y_true, y_pred : array_like
        sample_weight : array_like, optional
            By which the values are multiplied: of their shape, or of the shape ``(samples,)`` where there is
            one for each sample, or with sizes of 1. (For values of the shape ``(samples, steps)`` the weights
            of samples have the shape ``(samples, 1)``.)
        mask : array_like of bool, optional
            Which values count. A mean is taken over these.

        Returns
        -------
        NumPy scalar, or ndarray if nothing is reduced

        Raises
        ------
        ValueError
            If the shapes do not fit. A label that is out of range raises one as well, unless its weight
            is 0.
        """
        with np.errstate(all="ignore"):
            return self._computed(y_true, y_pred, sample_weight, mask)[0]

    def value_and_gradient(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None
    ) -> tuple[Any, NDArray[Any]]:
        """The loss, and its gradient with respect to the predictions.

        Parameters
        ----------
        y_true, y_pred, sample_weight, mask
            As for a call.

        Returns
        -------
        value : NumPy scalar, or ndarray if nothing is reduced
        gradient : ndarray, shape of ``y_pred``
            Of the sum of the values if nothing is reduced. Its dtype is that of ``y_pred``, or float32 where
            that is narrower: a mean divides by the batch, and float16 ends at 6e-8.

        Raises
        ------
        ValueError
            As for a call.
        TypeError
            If nothing is known of the gradient.
        """
        with np.errstate(all="ignore"):
            value, pullback, upstream = self._computed(y_true, y_pred, sample_weight, mask)
            gradient = pullback(upstream)
        dtype = getattr(y_pred, "dtype", None)
        if gradient.dtype != dtype and dtype == np.float64:
            gradient = gradient.astype(dtype)
        return value, gradient

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as values that JSON can hold."""
        return {"name": self.name, "reduction": self.reduction}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, reduction={self.reduction}>"

    # --- How ---

    def _has_gradient(self) -> bool:
        """Whether the gradient is that of this `call`: a subclass that overrides one overrides both."""
        lineage = type(self).__mro__
        of_gradient = next(n for n, cls in enumerate(lineage) if "gradient" in vars(cls))
        of_call = next(n for n, cls in enumerate(lineage) if "call" in vars(cls))
        return of_gradient <= of_call and lineage[of_gradient] is not Loss

    def _as_floats(self, numbers: Any, name: str) -> NDArray[Any]:
        array = of_dtype(numbers, name, self._shown)
        return array if array.dtype == self._wide else array.astype(self._wide)

    def _forward(self, y_true: Any, y_pred: NDArray[Any]) -> tuple[Any, ...]:
        """The values, their pullback and, where some are left out, a mask."""
        if not self._has_gradient():

            def gradient(*_: Any) -> Any:
                raise _no_gradient(self)
        else:
            gradient = self.gradient
        return _forward_of_users(self.call, gradient, self._as_floats(y_true, "y_true"), y_pred)

    def _computed(self, y_true: Any, y_pred: Any, sample_weight: Any, mask: Any) -> tuple[Any, Pullback, Any]:
        """The value, and what makes a gradient of what comes third."""
        predictions = self._as_floats(y_pred, "y_pred")
        try:
            values, pullback, *own = self._forward(y_true, predictions)
        except ValueError:
            counted = _without_weightless(y_true, sample_weight, mask)
            if counted is None:
                raise
            values, pullback, *own = self._forward(counted, predictions)
        if own and own[0] is not None:
            mask = own[0] if mask is None else np.logical_and(*of_one_rank(own[0], np.asarray(mask)))
        weights = self._weights(sample_weight, mask)
        if weights is None:
            value, upstream = self._reduced(values)
        else:
            value, upstream = self._weighted(values, weights)
        if isinstance(value, np.ndarray) and value.ndim:
            return value.astype(self._shown, copy=False), pullback, upstream
        return self._shown.type(value), pullback, upstream

    def _weights(self, sample_weight: Any, mask: Any) -> NDArray[Any] | None:
        """Sample weights and mask in one. With a mean, what counts weighs as much as all would."""
        weights = None if sample_weight is None else self._as_floats(sample_weight, "sample_weight")
        if mask is None:
            return weights
        counted = self._as_floats(mask, "mask")
        if self.reduction in ("mean", "sum_over_batch_size"):
            number = np.add.reduce(counted, axis=None)
            each = counted.size / number if number else 0.0
            counted = np.where(counted != 0, counted.dtype.type(each), counted.dtype.type(0))
        if weights is None:
            return counted
        counted, weights = of_one_rank(counted, weights)
        return _times(counted, weights, "the mask")

    def _weighted(self, values: Any, weights: NDArray[Any]) -> tuple[Any, Any]:
        shape = np.shape(values)
        values, weights = of_one_rank(np.asarray(values), weights)
        weighted = _times(values, weights, "the values")
        value, upstream = self._reduced(weighted, weights)
        upstream = np.broadcast_to(np.asarray(upstream * weights, self._wide), weighted.shape)
        if not shape:
            upstream = np.add.reduce(upstream, axis=None)
        return value, upstream.reshape(shape)

    def _reduced(self, values: Any, weights: NDArray[Any] | None = None) -> tuple[Any, Any]:
        """What becomes of the values, and its gradient with respect to them."""
        if self.reduction in (None, "none") or values.shape in ((), (0,)):
            return values, 1.0
        total = np.add.reduce(values, axis=None)
        if self.reduction == "sum":
            return total, 1.0
        number: Any = values.size
        if self.reduction == "mean_with_sample_weight" and weights is not None:
            number = np.add.reduce(weights, axis=None)
        if not number:
            return 0.0, 0.0
        return total / number, 1.0 / float(number)


def _checked_reduction(reduction: Any) -> str | None:
    if reduction == Reduction.AUTO:
        return "sum_over_batch_size"
    if not (reduction is None or (isinstance(reduction, str) and reduction in _REDUCTIONS)):
        raise ValueError(
            "Invalid value for argument `reduction`. Expected one of "
            f"{', '.join(map(repr, _REDUCTIONS))}. Received: reduction={reduction!r:.200}"
        )
    return reduction


def _forward_of_users(
    call: Callable[..., Any], gradient: Callable[..., Any], y_true: NDArray[Any], y_pred: NDArray[Any]
) -> tuple[Any, Pullback]:
    values = np.asarray(_returned(call(y_true, y_pred), "loss"), y_pred.dtype)

    def pullback(upstream: Any) -> NDArray[Any]:
        slope = gradient(y_true, y_pred, np.full(values.shape, upstream, y_pred.dtype))
        found = np.asarray(_returned(slope, "gradient of the loss"))
        if found.shape != y_pred.shape:
            raise ValueError(
                f"the gradient of the loss has the shape {found.shape}; it must be that of y_pred, "
                f"{y_pred.shape}. (The values have the shape {values.shape}, and so has upstream)"
            )
        return found.astype(y_pred.dtype, copy=False)

    return values, pullback


def _returned(result: Any, what: str) -> Any:
    if result is None:  # of which NumPy would make a NaN
        raise TypeError(
            f"the {what} returned None instead of numbers. Does its function end with a `return`?"
        )
    return result


def _times(one: NDArray[Any], weights: NDArray[Any], what: str) -> NDArray[Any]:
    """The product, if each of the numbers has its weight."""
    if one.ndim and weights.ndim and one.shape != weights.shape:
        # Weights may have sizes of 1; a mask may too, which then holds for all that they weigh.
        pairs = ((n, m) for n, m in zip(one.shape, weights.shape) if not (what == "the mask" and n == 1))
        if one.ndim != weights.ndim or any(m not in (1, n) for n, m in pairs):
            remedy = "Give one weight for each value, or sizes of 1 where it is the same for all"
            if one.ndim > 1 and weights.shape == one.shape[:1]:
                wanted = one.shape[:1] + (1,) * (one.ndim - 1)
                remedy = f"To weigh samples, give it the shape {wanted}: sample_weight.reshape({wanted})"
            raise ValueError(
                f"sample_weight (or mask) of shape {weights.shape} does not fit {what} of the loss, of shape "
                f"{one.shape}. {remedy}"
            )
    return one * weights


def _without_weightless(y_true: Any, sample_weight: Any, mask: Any) -> NDArray[Any] | None:
    """Labels with a 0 wherever their weight is 0, or None if that changes nothing."""
    cleaned = given = np.asarray(y_true)
    for weights in (sample_weight, mask):
        if weights is None:
            continue
        unused = np.asarray(weights) == 0
        axes = (*unused.shape, *(1,) * given.ndim)[: given.ndim]
        if math.prod(axes) == unused.size and all(n in (1, m) for n, m in zip(axes, given.shape)):
            cleaned = np.where(unused.reshape(axes), 0, cleaned)
    return None if cleaned is given else cleaned


class LossFunctionWrapper(Loss):
    """The loss of a function.

    Parameters
    ----------
    fn : callable
        ``fn(y_true, y_pred, **kwargs)``; see `with_gradient`.
    reduction, name, dtype
        As for a `Loss`.
    **kwargs
        What the function is called with.

    Examples
    --------
    >>> from fastembed.losses.functions import huber
    >>> loss = LossFunctionWrapper(huber, delta=2.0)
    >>> float(loss([[0.0]], [[3.0]]))
    4.0
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = of_one_rank(np.asarray(y_true), np.asarray(y_pred))
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def gradient(self, y_true: Any, y_pred: Any, upstream: Any) -> Any:
        function = getattr(self.fn, "gradient", None)
        if not callable(function):
            raise _no_gradient(self)
        one, other = of_one_rank(np.asarray(y_true), np.asarray(y_pred))
        slope = function(one, other, upstream, **self._fn_kwargs)
        found = np.asarray(_returned(slope, "gradient of the loss"))
        return found.reshape(np.shape(y_pred)) if found.shape == other.shape else found

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "fn": serialize_keras_object(self.fn),
            **serialize_keras_object(self._fn_kwargs),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The object whose `get_config` gave ``config``."""
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))

    def _has_gradient(self) -> bool:
        return super()._has_gradient() and (self._is_changed or callable(getattr(self.fn, "gradient", None)))

    @property
    def _is_changed(self) -> bool:
        """Whether a subclass computes something of its own."""
        cls = type(self)
        return cls.call is not LossFunctionWrapper.call or cls.gradient is not LossFunctionWrapper.gradient

    def _forward(self, y_true: Any, y_pred: NDArray[Any]) -> tuple[Any, ...]:
        kernel = getattr(self.fn, "_kernel", None)
        if kernel is None or self._is_changed:
            return super()._forward(y_true, y_pred)
        if not kernel.of_classes:
            y_true = self._as_floats(y_true, "y_true")
        values, pullback, *mask = kernel(y_true, y_pred, (), self._fn_kwargs)
        return values, lambda upstream: pullback(upstream).reshape(y_pred.shape), *mask


def check_trainable(loss: Any) -> None:
    """Raise TypeError, which says what to do, if nothing is known of the gradient of a loss.

    Parameters
    ----------
    loss : Loss or callable

    Examples
    --------
    >>> from fastembed.losses import MeanSquaredError
    >>> check_trainable(MeanSquaredError())
    >>> check_trainable(lambda y_true, y_pred: abs(y_true - y_pred))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
      ...
    TypeError: nothing is known of the gradient of ...
    """
    if not isinstance(loss, Loss):
        known = callable(getattr(loss, "gradient", None))
    else:
        known = loss._has_gradient()
    if not known:
        raise _no_gradient(loss)


def _no_gradient(loss: Any) -> TypeError:
    if isinstance(loss, LossFunctionWrapper) and not loss._is_changed:
        loss = loss.fn
    if isinstance(loss, Loss):
        how = f"Give the class {type(loss).__name__} a method gradient(self, y_true, y_pred, upstream)"
    else:
        how = (
            "Write a function gradient(y_true, y_pred, upstream) and join the two: "
            "fastembed.losses.with_gradient(function, gradient)"
        )
    return TypeError(
        f"nothing is known of the gradient of {loss!r:.200}, so no model can be trained with it. {how}. It "
        "returns the gradient with respect to y_pred, in its shape, where upstream is that with respect to "
        "the values of the loss, in their shape. For numpy.mean((y_true - y_pred)**2, axis=-1), say, it is "
        "2 * (y_pred - y_true) / y_pred.shape[-1] * upstream[..., None]. If the loss is one of Keras's with "
        "other arguments, use the class, as BinaryCrossentropy(from_logits=True)"
    )

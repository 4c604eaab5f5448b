"""Sums and means over samples, and of what a function says of each sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed._registry import deserialize_keras_object, serialize_keras_object
from fastembed.metrics.arrays import as_array, stretched, to_same_rank
from fastembed.metrics.metric import Metric

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

_NUMBERS = frozenset({float, int, np.float32, np.float64, np.int64, np.int32})


def samplewise(
    values: NDArray[Any],
    sample_weight: ArrayLike,
    reduce: Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The weighted values of samples, and their weights.

    Parameters
    ----------
    values : ndarray
    sample_weight : array_like
        Axes of the values that it has not are reduced before they are weighed; further axes than the first
        afterwards, of values and weights alike.
    reduce : callable
        ``reduce(values, axes)``.

    Notes
    -----
    ``reduce_to_samplewise_values`` in keras/src/metrics/reduction_metrics.py of Keras 3.15.
    """
    values, weights = to_same_rank(values, as_array(sample_weight).astype(values.dtype, copy=False))
    rank = weights.ndim
    if values.ndim > rank:
        values = reduce(values, tuple(range(rank, values.ndim)))
    weights = stretched(weights, values.shape)
    values = values * weights
    if values.ndim > 1:
        values, weights = (reduce(each, tuple(range(1, each.ndim))) for each in (values, weights))
    return values, weights


def _mean(values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    # np.mean costs three times as much where there are few numbers.
    number = math.prod(values.shape[axis] for axis in axes)
    return np.add.reduce(values, axes) * values.dtype.type(1 / number if number else math.nan)


class Sum(Metric):
    """The (weighted) sum of values.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = Sum()
    >>> metric.update_state([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
    >>> round(float(metric.result()), 4)
    4.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self._total("total", dtype=self._state_dtype)

    def update_state(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Add the values up.

        Parameters
        ----------
        values : array_like
        sample_weight : array_like, optional
            One weight for each sample, or of as many axes of the values as wanted.
        """
        values = as_array(values).astype(self._state_dtype, copy=False)
        with np.errstate(all="ignore"):
            if sample_weight is not None:
                values, _ = samplewise(values, sample_weight, np.add.reduce)
            self.total.add(np.add.reduce(values, axis=None))

    def result(self) -> Any:
        """The sum."""
        return self.total.numbers

    def reset_state(self) -> None:
        """Begin at 0."""
        self.total.numbers = self._number(0)


class Mean(Metric):
    """The (weighted) mean of values: the sum of values times weights, divided by the sum of weights.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = Mean()
    >>> metric.update_state([1, 3, 5, 7])
    >>> metric.update_state(10.0, sample_weight=4)
    >>> round(float(metric.result()), 4)
    7.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self._total("total", dtype=self._state_dtype)
        self.count = self._total("count", dtype=self._state_dtype)

    def update_state(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Take values into the mean.

        Parameters
        ----------
        values : array_like
            A number counts as one sample; of more than one axis, a sample's value is the mean over all but
            the first.
        sample_weight : array_like, optional
            One weight for each sample, or of as many axes of the values as wanted.
        """
        if type(values) in _NUMBERS and (sample_weight is None or type(sample_weight) in _NUMBERS):
            weight = 1.0 if sample_weight is None else float(sample_weight)  # type: ignore[arg-type]
            self._count(float(values) * weight, weight)  # type: ignore[arg-type]
            return
        values = as_array(values).astype(self._state_dtype, copy=False)
        with np.errstate(all="ignore"):
            if sample_weight is None:
                total = float(np.add.reduce(values, axis=None))
                shape = values.shape
                if len(shape) > 1:
                    total /= math.prod(shape[1:]) or math.nan
                self._count(total, shape[0] if shape else 1)
            else:
                values, weights = samplewise(values, sample_weight, _mean)
                self._count(float(np.add.reduce(values, axis=None)), float(np.add.reduce(weights, axis=None)))

    def _count(self, total: float, count: float) -> None:
        # Python's floats are quicker than NumPy's, never warn, and are rounded once.
        number, held = self._number, self.total
        held.numbers = number(float(held.numbers) + total)
        held = self.count
        held.numbers = number(float(held.numbers) + count)

    def result(self) -> Any:
        """The mean; 0 as long as nothing has any weight."""
        count = float(self.count.numbers)
        return self._number(float(self.total.numbers) / count if count else 0.0)

    def reset_state(self) -> None:
        """Begin anew."""
        self.total.numbers = self.count.numbers = self._number(0)


class MeanMetricWrapper(Mean):
    """The mean of what a function of labels and predictions says of each sample.

    Parameters
    ----------
    fn : callable
        ``fn(y_true, y_pred, **kwargs)`` returns a value for each sample, or a number for the batch.
    name, dtype
        As for `Metric`.
    **kwargs
        Passed on to ``fn``.

    Examples
    --------
    >>> metric = MeanMetricWrapper(lambda y_true, y_pred: abs(y_true - y_pred), name="distance")
    >>> metric.update_state(np.array([1.0, 2.0]), np.array([1.5, 4.0]))
    >>> round(float(metric.result()), 4)
    1.25
    """

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs

    def update_state(  # type: ignore[override]
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        sample_weight: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> None:
        """Take a batch into the mean.

        Parameters
        ----------
        y_true, y_pred : array_like
            What the function takes.
        sample_weight : array_like, optional
            One weight for each sample, or of as many axes of the values as wanted.
        mask : array_like of bool, optional
            Of the predictions: where it is False, values have no weight.
        """
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        if mask is not None:
            sample_weight = with_mask(sample_weight, mask)
        Mean.update_state(self, values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """The function, by its name, and what it is called with."""
        return {
            **super().get_config(),
            "fn": serialize_keras_object(self._fn),
            **serialize_keras_object(self._fn_kwargs),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The metric whose `get_config` gave ``config``."""
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))


def with_mask(sample_weight: ArrayLike | None, mask: ArrayLike) -> NDArray[Any]:
    """Weights that are 0 where the mask is False.

    >>> with_mask([2.0, 3.0], [[True], [False]])
    array([[2.],
           [0.]], dtype=float32)
    """
    kept = as_array(mask).astype(np.float32)
    if sample_weight is None:
        return kept
    kept, weights = to_same_rank(kept, as_array(sample_weight))
    return np.asarray(weights * kept)


class FunctionMetric(MeanMetricWrapper):
    """Base of the metrics of one function each: what they pass on to it are their constructor's arguments."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**Metric.get_config(self), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The metric whose `get_config` gave ``config``."""
        return cls(**config)

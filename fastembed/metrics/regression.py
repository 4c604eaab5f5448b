"""How near predictions are to numbers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import losses
from fastembed._floats import widened
from fastembed.dtypes import epsilon
from fastembed.metrics.arrays import as_array, fitting, misfit, spread, to_same_rank
from fastembed.metrics.metric import Metric, Total
from fastembed.metrics.reduction import FunctionMetric, Mean

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def _as_floats(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labels and predictions that fit, in the predictions' dtype or float32."""
    true, pred = fitting(y_true, y_pred)
    pred = widened(pred)[0]
    return true.astype(pred.dtype, copy=False), pred


def cosine_similarity(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> NDArray[Any]:
    """The cosine of the angle between labels and predictions: 1 for one direction, -1 for opposite ones.

    Parameters
    ----------
    y_true, y_pred : array_like
    axis : int, default -1
        Along which the vectors lie.

    Returns
    -------
    ndarray
        Without that axis. A vector of zeros has 0. The loss of this name is the negative of it.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> cosine_similarity([[0.0, 1.0], [3.0, 4.0]], [[1.0, 0.0], [3.0, 4.0]])
    array([0., 1.], dtype=float32)
    """
    true, pred = _as_floats(y_true, y_pred)
    return -losses.cosine_similarity(true, pred, axis)


def pearson_correlation(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> NDArray[Any]:
    """The linear correlation of labels and predictions: ``cov / (std(y_true) * std(y_pred))``.

    Parameters
    ----------
    y_true, y_pred : array_like
    axis : int, default -1
        Along which values are compared.

    Returns
    -------
    ndarray
        Without that axis. NaN where labels or predictions are all equal.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> pearson_correlation([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [[2.0, 4.0, 6.0], [2.0, 4.0, 6.0]]).round(6)
    array([ 1., -1.], dtype=float32)
    """
    true, pred = _as_floats(y_true, y_pred)
    with np.errstate(all="ignore"):
        a, b = (x - np.mean(x, axis=axis, keepdims=True) for x in (true, pred))
        a, b = (x / np.std(x, axis=axis, keepdims=True) for x in (a, b))
        return np.asarray(np.mean(a * b, axis=axis))


def concordance_correlation(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> NDArray[Any]:
    """How far predictions agree with labels in direction, scale and place.

    ``2 * cov / (var(y_true) + var(y_pred) + (mean(y_true) - mean(y_pred))**2 + 1e-7)``.

    Parameters
    ----------
    y_true, y_pred : array_like
    axis : int, default -1
        Along which values are compared.

    Returns
    -------
    ndarray
        Without that axis.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> concordance_correlation([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]).round(6)
    array([1.], dtype=float32)
    """
    true, pred = _as_floats(y_true, y_pred)
    mean_true, mean_pred = (np.mean(x, axis=axis, keepdims=True) for x in (true, pred))
    # The deviations of the predictions from their mean add up to 0, so of which mean those of the labels are
    # taken does not matter.
    covariance = (true - mean_true) * (pred - mean_pred)
    spread = np.var(true, axis=axis, keepdims=True) + np.var(pred, axis=axis, keepdims=True)
    scale = spread + np.square(mean_true - mean_pred) + true.dtype.type(epsilon())
    return np.asarray(np.mean(2 * covariance / scale, axis=axis))


class CosineSimilarity(FunctionMetric):
    """The mean of `cosine_similarity`.

    Parameters
    ----------
    name, dtype
        As for `Metric`.
    axis : int, default -1
        Along which the vectors lie.

    Examples
    --------
    >>> metric = CosineSimilarity()
    >>> metric.update_state([[0.0, 1.0], [3.0, 4.0]], [[1.0, 0.0], [3.0, 4.0]])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _direction = "up"

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(cosine_similarity, name, dtype, axis=axis)
        self.axis = axis


class PearsonCorrelation(FunctionMetric):
    """The mean of `pearson_correlation`.

    Parameters
    ----------
    name, dtype
        As for `Metric`.
    axis : int, default -1
        Along which values are compared.

    Examples
    --------
    >>> metric = PearsonCorrelation(axis=0)
    >>> metric.update_state([1.0, 2.0, 3.0], [4.0, 6.0, 8.0])
    >>> round(float(metric.result()), 6)
    1.0
    """

    _direction = "up"

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)
        self.axis = axis


class ConcordanceCorrelation(FunctionMetric):
    """The mean of `concordance_correlation`.

    Parameters
    ----------
    name, dtype
        As for `Metric`.
    axis : int, default -1
        Along which values are compared.

    Examples
    --------
    >>> metric = ConcordanceCorrelation(axis=0)
    >>> metric.update_state([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    >>> round(float(metric.result()), 4)
    0.5714
    """

    _direction = "up"

    def __init__(
        self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1
    ) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)
        self.axis = axis


class RootMeanSquaredError(Mean):
    """The square root of the mean of ``(y_pred - y_true)**2`` over all batches.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = RootMeanSquaredError()
    >>> metric.update_state([[0, 1], [0, 0]], [[1, 1], [0, 0]])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(  # type: ignore[override]
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take a batch into the mean.

        Parameters
        ----------
        y_true, y_pred : array_like of one shape
        sample_weight : array_like, optional
            One weight for each sample, or of as many axes as wanted.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        true, pred = fitting(y_true, y_pred)
        with np.errstate(all="ignore"):
            error = pred.astype(self._state_dtype, copy=False) - true.astype(self._state_dtype, copy=False)
            super().update_state(error * error, sample_weight)

    def result(self) -> Any:
        """The root of the mean; 0 as long as nothing has any weight."""
        return np.sqrt(super().result())


class R2Score(Metric):
    """How much of the variance of labels is explained: 1 less the squared errors in squared deviations.

    ``1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2)``.

    Parameters
    ----------
    class_aggregation : {"uniform_average", "variance_weighted_average", None}
        What is made of the scores of several outputs: their mean, the mean weighted by the variance of the
        labels, or an array.
    num_regressors : int, default 0
        How many independent variables the model has, for the adjusted score; 0 for the plain one.
    name, dtype
        As for `Metric`.

    Raises
    ------
    ValueError
        For another aggregation, or less than 0 regressors; from `update_state`, if labels and predictions
        have not one shape ``(n, outputs)``.

    Examples
    --------
    >>> metric = R2Score()
    >>> metric.update_state([[1], [4], [3]], [[2], [4], [4]])
    >>> round(float(metric.result()), 4)
    0.5714
    """

    _direction = "up"

    squared_sum: Total
    sum: Total
    total_mse: Total
    count: Total

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        allowed = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in allowed:
            raise ValueError(
                f"Invalid value for argument `class_aggregation`. Expected one of {allowed}. Received: "
                f"class_aggregation={class_aggregation}"
            )
        if num_regressors < 0:
            raise ValueError(
                "Invalid value for argument `num_regressors`. Expected a value >= 0. Received: "
                f"num_regressors={num_regressors}"
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.num_samples = self._total("num_samples")
        self._outputs: int | None = None

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take a batch into account.

        Parameters
        ----------
        y_true, y_pred : array_like, shape (n, outputs)
        sample_weight : array_like, optional
            One weight for each sample, or one for each number.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        given = as_array(y_true).astype(self._state_dtype, copy=False)
        true, pred = to_same_rank(given, as_array(y_pred).astype(self._state_dtype, copy=False))
        outputs = pred.shape[-1] if pred.ndim == 2 else None
        if true.shape != pred.shape or outputs is None or self._outputs not in (None, outputs):
            of_earlier = (
                "" if self._outputs is None else f", with {self._outputs} outputs as in the first batch"
            )
            raise misfit(given, pred, f"both have to be of shape (batch_size, outputs){of_earlier}")
        weights = spread(1.0 if sample_weight is None else sample_weight, true.shape)
        weights = weights.astype(true.dtype, copy=False)
        if self._outputs is None:
            self._outputs = outputs
            for name, path in _R2_STATE.items():
                setattr(self, name, self._total(path, (outputs,)))
        weighted = true * weights
        self.sum.add(np.sum(weighted, axis=0))
        self.squared_sum.add(np.sum(true * weighted, axis=0))
        self.total_mse.add(np.sum(np.square(true - pred) * weights, axis=0))
        self.count.add(np.sum(weights, axis=0))
        self.num_samples.add(true.size)

    def result(self) -> Any:
        """The score, or one for each output; 0 before the first batch."""
        if self._outputs is None:
            return self._number(0)
        squares, sums, errors, count = (getattr(self, name).numbers for name in _R2_STATE)
        with np.errstate(all="ignore"):
            total = squares - sums * (sums / count)
            scores = 1 - errors / total
            scores = np.where(np.isinf(scores), scores.dtype.type(0), scores)
            if self.class_aggregation == "uniform_average":
                scores = np.mean(scores)
            elif self.class_aggregation is not None:
                scores = np.sum(total * scores) / np.sum(total)
        return scores if not self.num_regressors else self._adjusted(scores)

    def _adjusted(self, scores: Any) -> Any:
        n, p = float(self.num_samples.numbers), self.num_regressors
        if p >= n - 1:
            warnings.warn(
                "The adjusted R2 score needs more numbers than regressors and one: falling back to the "
                f"standard R2 score. Received: {n:.0f} numbers, num_regressors={p}",
                stacklevel=3,
            )
            return scores
        return 1 - (1 - scores) * scores.dtype.type((n - 1) / (n - p - 1))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }


_R2_STATE = {"squared_sum": "squared_sum", "sum": "sum", "total_mse": "residual", "count": "count"}

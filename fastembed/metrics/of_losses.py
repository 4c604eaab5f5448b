"""The means of loss functions over samples, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastembed import losses
from fastembed.metrics.arrays import as_array
from fastembed.metrics.reduction import FunctionMetric, with_mask

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class MeanSquaredError(FunctionMetric):
    """The mean of ``(y_true - y_pred)**2``.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = MeanSquaredError()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
    >>> round(float(metric.result()), 4)
    0.25
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(FunctionMetric):
    """The mean of ``abs(y_true - y_pred)``.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = MeanAbsoluteError()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
    >>> round(float(metric.result()), 4)
    0.25
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(FunctionMetric):
    """The mean of ``100 * abs((y_true - y_pred) / max(abs(y_true), 1e-7))``.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = MeanAbsolutePercentageError()
    >>> metric.update_state([[1.0, 2.0]], [[1.5, 2.0]])
    >>> round(float(metric.result()), 4)
    25.0
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(FunctionMetric):
    """The mean of ``(log(y_true + 1) - log(y_pred + 1))**2``, with nothing below 1e-7 in the logarithms.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = MeanSquaredLogarithmicError()
    >>> metric.update_state([[0.0, 1.0]], [[1.0, 1.0]])
    >>> round(float(metric.result()), 4)
    0.2402
    """

    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(FunctionMetric):
    """The mean of ``log(cosh(y_pred - y_true))``.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = LogCoshError()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
    >>> round(float(metric.result()), 4)
    0.1084
    """

    _direction = "down"

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(losses.log_cosh, name, dtype)


class Hinge(FunctionMetric):
    """The mean of ``max(1 - y_true * y_pred, 0)``; labels of 0 count as -1.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = Hinge()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]])
    >>> round(float(metric.result()), 4)
    1.3
    """

    _direction = "down"

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(losses.hinge, name, dtype)


class SquaredHinge(FunctionMetric):
    """The mean of ``max(1 - y_true * y_pred, 0)**2``; labels of 0 count as -1.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = SquaredHinge()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]])
    >>> round(float(metric.result()), 4)
    1.86
    """

    _direction = "down"

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(losses.squared_hinge, name, dtype)


class CategoricalHinge(FunctionMetric):
    """The mean of ``max(neg - pos + 1, 0)``: the best score of a wrong class, that of the true one.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = CategoricalHinge()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]])
    >>> round(float(metric.result()), 4)
    1.4
    """

    _direction = "down"

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(losses.categorical_hinge, name, dtype)


class KLDivergence(FunctionMetric):
    """The mean of ``sum(y_true * log(y_true / y_pred))``, both clipped to [1e-7, 1].

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = KLDivergence()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]])
    >>> round(float(metric.result()), 4)
    0.4581
    """

    _direction = "down"

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(losses.kl_divergence, name, dtype)


class Poisson(FunctionMetric):
    """The mean of ``y_pred - y_true * log(y_pred + 1e-7)``.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = Poisson()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _direction = "down"

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(losses.poisson, name, dtype)


class BinaryCrossentropy(FunctionMetric):
    """The mean crossentropy of labels 0 and 1.

    Parameters
    ----------
    name, dtype
        As for `Metric`.
    from_logits : bool, default False
        Whether predictions are logits; otherwise probabilities.
    label_smoothing : float, default 0
        In [0, 1]: how far labels are drawn towards a half.

    Examples
    --------
    >>> metric = BinaryCrossentropy()
    >>> metric.update_state([[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]])
    >>> round(float(metric.result()), 4)
    0.8149
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(
            losses.binary_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing


class CategoricalCrossentropy(FunctionMetric):
    """The mean crossentropy of one-hot labels.

    Parameters
    ----------
    name, dtype
        As for `Metric`.
    from_logits : bool, default False
        Whether predictions are logits; otherwise probabilities.
    label_smoothing : float, default 0
        In [0, 1]: how far labels are drawn towards all classes alike.
    axis : int, default -1
        Of the classes.

    Examples
    --------
    >>> metric = CategoricalCrossentropy()
    >>> metric.update_state([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
    >>> round(float(metric.result()), 4)
    1.1769
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        settings = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(losses.categorical_crossentropy, name, dtype, **settings)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


class SparseCategoricalCrossentropy(FunctionMetric):
    """The mean crossentropy of labels that are numbers of classes.

    Parameters
    ----------
    name, dtype
        As for `Metric`.
    from_logits : bool, default False
        Whether predictions are logits; otherwise probabilities.
    ignore_class : int, optional
        Samples with this label have a crossentropy of 0, and no weight where weights are given.
    axis : int, default -1
        Of the classes.

    Examples
    --------
    >>> metric = SparseCategoricalCrossentropy()
    >>> metric.update_state([1, 2], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
    >>> round(float(metric.result()), 4)
    1.1769
    """

    _direction = "down"

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        settings = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(losses.sparse_categorical_crossentropy, name, dtype, **settings)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    def update_state(  # type: ignore[override]
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        sample_weight: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> None:
        """Take a batch into the mean: see `MeanMetricWrapper`."""
        if self.ignore_class is not None and (sample_weight is not None or mask is not None):
            kept = as_array(y_true) != self.ignore_class
            if kept.ndim == as_array(y_pred).ndim:
                kept = kept[..., 0]
            sample_weight = with_mask(sample_weight, kept)
        super().update_state(y_true, y_pred, sample_weight, mask)

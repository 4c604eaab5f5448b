"""True and false positives and negatives over thresholds, and what is made of them.

A prediction above a threshold is positive. For any number of thresholds one histogram over pairs of label and
"how many thresholds lie below the prediction" holds all four counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Union

import numpy as np

from fastembed import activations
from fastembed._registry import deserialize_keras_object
from fastembed.dtypes import epsilon, floatx
from fastembed.metrics.arrays import as_array, misfit, spread, stretched, to_same_rank
from fastembed.metrics.metric import Metric, Total

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

Thresholds = Union[float, Sequence[float], None]
Below = Callable[["NDArray[Any]"], "NDArray[np.intp]"]

_SEVERAL = (list, tuple, np.ndarray)
_LEAST = -1e10  # Keras's score of a class that is not among the best k


# --- How many thresholds lie below a prediction ---------------------------------------------------


class _BelowOne:
    """Of one threshold."""

    def __init__(self, threshold: Any) -> None:
        self.threshold = threshold

    def __call__(self, p: NDArray[Any]) -> NDArray[np.intp]:
        return (p > self.threshold).astype(np.intp)


class _BelowEven:
    """Of thresholds that divide [0, 1] evenly.

    Keras says by arithmetic between which two a prediction lies: near a threshold that is not always what
    comparing says.
    """

    def __init__(self, steps: Any, least: int) -> None:
        self.steps, self.least = steps, least

    def __call__(self, p: NDArray[Any]) -> NDArray[np.intp]:
        inside = np.minimum(np.fmax(p, 0), 1)  # a NaN counts as 0
        found = np.ceil(inside * self.steps).astype(np.intp)
        return np.maximum(found, self.least) if self.least else found


class _BelowRising:
    """Of any thresholds, which ascend."""

    def __init__(self, thresholds: NDArray[Any]) -> None:
        self.thresholds = thresholds

    def __call__(self, p: NDArray[Any]) -> NDArray[np.intp]:
        return np.searchsorted(self.thresholds, np.where(np.isnan(p), -np.inf, p))


def _below(thresholds: Sequence[float], dtype: type[np.floating[Any]]) -> Below:
    """What says how many of these thresholds, which ascend, lie below each prediction."""
    n = len(thresholds)
    if n == 1:
        return _BelowOne(dtype(thresholds[0]))
    if _are_even(thresholds):
        # Beyond [0, 1] the first lies below all predictions, and the last below none.
        return _BelowEven(dtype(n - 1), 1 if thresholds[0] < 0 or thresholds[-1] > 1 else 0)
    return _BelowRising(np.asarray(thresholds, dtype))


def _are_even(thresholds: Sequence[float]) -> bool:
    n = len(thresholds)
    return n > 2 and np.allclose(thresholds, np.arange(n, dtype=np.float32) / (n - 1), atol=epsilon())


def _as_thresholds(thresholds: Thresholds, default: float) -> list[float]:
    if thresholds is None:
        return [default]
    several: list[Any] = list(thresholds) if isinstance(thresholds, _SEVERAL) else [thresholds]
    if not several or any(t is None or not 0 <= t <= 1 for t in several):
        raise ValueError(f"Threshold values must be in [0, 1]. Received: {thresholds}")
    return several


# --- Counting -------------------------------------------------------------------------------------


def _counts(
    labels: NDArray[np.bool_],
    below: NDArray[np.intp],
    weights: NDArray[Any] | None,
    n: int,
    columns: int | None = None,
) -> dict[str, NDArray[Any]]:
    """The four counts (sums of weights) for each of ``n`` thresholds.

    Parameters
    ----------
    labels, below, weights : ndarray of one shape
    n : int
    columns : int, optional
        The length of the last axis, if each column is to be counted by itself.

    Returns
    -------
    dict of str to ndarray, shape (n,) or (n, columns)
    """
    keys = labels * (n + 1)
    keys += below
    if columns is not None:
        keys += np.arange(columns) * (2 * n + 2)
    size = 2 * (n + 1) * (columns or 1)
    found = np.bincount(keys.ravel(), None if weights is None else weights.ravel(), size)
    found = found.reshape(-1, 2, n + 1)
    # Above the first threshold are those that have any below them, above the second those with two ...
    above = np.add.accumulate(found[:, :, :0:-1], axis=2)[:, :, ::-1]
    total = above[:, :, :1] + found[:, :, :1]
    fp, tp = above[:, 0], above[:, 1]
    counts = {
        "true_positives": tp,
        "false_positives": fp,
        "true_negatives": total[:, 0] - fp,
        "false_negatives": total[:, 1] - tp,
    }
    return {name: count[0] if columns is None else count.T for name, count in counts.items()}


def _ratio(a: Any, b: Any) -> NDArray[Any]:
    """``a / b``, and 0 where ``b`` is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def _best(scores: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """Where the ``k`` largest scores of each row are; of equal ones the first count."""
    number = scores.shape[-1] if scores.ndim else 0
    if not 0 < k <= number:
        raise ValueError(
            f"top_k={k} needs predictions of at least {k} classes; received shape {scores.shape}"
        )
    least = np.partition(scores, number - k, axis=-1)[..., number - k, None]
    above, equal = scores > least, scores == least
    room = k - np.count_nonzero(above, axis=-1, keepdims=True)
    return above | (equal & (np.cumsum(equal, axis=-1) <= room))


class _Confusion(Metric):
    """A metric whose state are some of the four counts."""

    _state: ClassVar[tuple[str, ...]] = (
        "true_positives",
        "false_positives",
        "true_negatives",
        "false_negatives",
    )
    top_k: int | None = None
    class_id: int | None = None

    true_positives: Total
    false_positives: Total
    true_negatives: Total
    false_negatives: Total

    def _count_over(self, thresholds: Sequence[float]) -> None:
        """Say over which thresholds to count. They may come in any order, which the state has, too."""
        self._n = len(thresholds)
        rising = np.argsort(thresholds, kind="stable")
        self._places = None if np.array_equal(rising, np.arange(self._n)) else np.argsort(rising)
        self._of_floats = np.float64 if floatx() == "float64" else np.float32
        self._below = _below([thresholds[i] for i in rising], self._of_floats)

    def _make_state(self, *columns: int) -> None:
        for name in self._state:
            setattr(self, name, self._total(name, (self._n, *columns)))

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take a batch into account.

        Parameters
        ----------
        y_true : array_like
            0 is negative, whatever else positive.
        y_pred : array_like, shape of ``y_true``
        sample_weight : array_like, optional
            One weight for each sample, or one for each prediction.

        Raises
        ------
        ValueError
            If the shapes do not fit, or if predictions are not what they have to be.
        """
        self._take_in(*self._prepared(y_true, y_pred, sample_weight))

    def _prepared(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any] | None]:
        """Labels, predictions and weights of one shape."""
        pred = as_array(y_pred).astype(self._of_floats, copy=False)
        true = as_array(y_true)
        labels = true if true.dtype == bool else true != 0
        if labels.shape != pred.shape:
            pred, labels = to_same_rank(pred, labels)
            if labels.shape != pred.shape:
                raise misfit(true, as_array(y_pred), "one label is needed for each prediction")
        if self.top_k is not None:
            pred = np.where(_best(pred, self.top_k), pred, pred.dtype.type(_LEAST))
        if self.class_id is not None:
            labels, pred = self._of_class(labels), self._of_class(pred)
        return labels, pred, None if sample_weight is None else spread(sample_weight, pred.shape)

    def _of_class(self, values: NDArray[Any]) -> NDArray[Any]:
        number = self.class_id
        assert number is not None
        if values.ndim < 2 or not -values.shape[-1] <= number < values.shape[-1]:
            raise ValueError(
                f"When class_id is provided, y_pred must have shape (num_samples, num_classes) and a column "
                f"for that class. Received: class_id={number}, shape {values.shape}"
            )
        return values[..., number, None]

    def _take_in(
        self,
        labels: NDArray[np.bool_],
        predictions: NDArray[Any],
        weights: NDArray[Any] | None,
        columns: int | None = None,
    ) -> None:
        counts = _counts(labels, self._below(predictions), weights, self._n, columns)
        for name in self._state:
            count = counts[name]
            getattr(self, name).add(count if self._places is None else count[self._places])

    def reset_state(self) -> None:
        """Begin anew."""
        for variable in self._variables:
            if isinstance(variable, Total):
                variable.numbers = np.zeros_like(variable.numbers)

    def _only(self, result: NDArray[Any]) -> Any:
        """The result for the only threshold, or those for all."""
        return result[0] if self._n == 1 else result


# --- Counts ---------------------------------------------------------------------------------------


class _Count(_Confusion):
    """One of the four counts, which Keras calls its accumulator."""

    def __init__(self, thresholds: Thresholds = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.thresholds = _as_thresholds(thresholds, 0.5)
        self._count_over(self.thresholds)
        self.accumulator = self._total("accumulator", (self._n,))
        setattr(self, self._state[0], self.accumulator)

    def result(self) -> Any:
        """The count: a number, or one for each threshold."""
        return self._only(np.array(self.accumulator.numbers))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "thresholds": self.init_thresholds}


class TruePositives(_Count):
    """How many (with weights: the sum of the weights) of the predictions are positive, and rightly so.

    Parameters
    ----------
    thresholds : float or sequence of float, default 0.5
        Between 0 and 1; above it a prediction is positive. With several the result is an array. Use 0 for
        logits.
    name, dtype
        As for `Metric`.

    Raises
    ------
    ValueError
        If a threshold is outside [0, 1].

    Examples
    --------
    >>> metric = TruePositives(thresholds=[0.0, 0.5])
    >>> metric.update_state([0, 1, 1, 1], [1.0, 0.2, 0.7, 0.9])
    >>> metric.result()
    array([3., 2.], dtype=float32)
    """

    _state = ("true_positives",)


class FalsePositives(_Count):
    """How many (with weights: the sum of the weights) of the predictions are positive, and wrongly so.

    Parameters
    ----------
    thresholds, name, dtype
        As for `TruePositives`.

    Examples
    --------
    >>> metric = FalsePositives()
    >>> metric.update_state([0, 1, 0, 0], [0, 0, 1, 1], sample_weight=[0, 0, 1, 0])
    >>> round(float(metric.result()), 4)
    1.0
    """

    _state = ("false_positives",)


class TrueNegatives(_Count):
    """How many (with weights: the sum of the weights) of the predictions are negative, and rightly so.

    Parameters
    ----------
    thresholds, name, dtype
        As for `TruePositives`.

    Examples
    --------
    >>> metric = TrueNegatives()
    >>> metric.update_state([0, 1, 0, 0], [1, 1, 0, 0])
    >>> round(float(metric.result()), 4)
    2.0
    """

    _state = ("true_negatives",)


class FalseNegatives(_Count):
    """How many (with weights: the sum of the weights) of the predictions are negative, and wrongly so.

    Parameters
    ----------
    thresholds, name, dtype
        As for `TruePositives`.

    Examples
    --------
    >>> metric = FalseNegatives()
    >>> metric.update_state([0, 1, 1, 1], [0, 1, 0, 0])
    >>> round(float(metric.result()), 4)
    2.0
    """

    _state = ("false_negatives",)


# --- Precision and recall -------------------------------------------------------------------------


class _Rate(_Confusion):
    """The true positives as a part of those that are positive by prediction or by label."""

    _direction = "up"

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.top_k = top_k
        self.class_id = class_id
        self.thresholds = _as_thresholds(thresholds, 0.5 if top_k is None else _LEAST)
        self._count_over(self.thresholds)
        self._make_state()

    def result(self) -> Any:
        """The rate: a number, or one for each threshold."""
        right, wrong = (getattr(self, name).numbers for name in self._state)
        return self._only(_ratio(right, right + wrong))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "thresholds": self.init_thresholds,
            "top_k": self.top_k,
            "class_id": self.class_id,
        }


class Precision(_Rate):
    """How many of the positive predictions are right: ``tp / (tp + fp)``, and 0 where there is none.

    Parameters
    ----------
    thresholds : float or sequence of float, optional
        Between 0 and 1; above it a prediction is positive. With several the result is an array. Use 0 for
        logits. Default: 0.5; with ``top_k``, none.
    top_k : int, optional
        Only the best ``k`` classes of a sample can be positive.
    class_id : int, optional
        Count this class alone.
    name, dtype
        As for `Metric`.

    Raises
    ------
    ValueError
        If a threshold is outside [0, 1].

    Examples
    --------
    >>> metric = Precision()
    >>> metric.update_state([0, 1, 1, 1], [1, 0, 1, 1])
    >>> round(float(metric.result()), 4)
    0.6667
    """

    _state = ("true_positives", "false_positives")


class Recall(_Rate):
    """How many of the positive labels are found: ``tp / (tp + fn)``, and 0 where there is none.

    Parameters
    ----------
    thresholds, top_k, class_id, name, dtype
        As for `Precision`.

    Examples
    --------
    >>> metric = Recall()
    >>> metric.update_state([0, 1, 1, 1], [1, 0, 1, 1])
    >>> round(float(metric.result()), 4)
    0.6667
    """

    _state = ("true_positives", "false_negatives")


# --- Over a grid of thresholds --------------------------------------------------------------------


class _OverGrid(_Confusion):
    """A metric whose thresholds divide [0, 1], where predictions have to lie."""

    _direction = "up"

    def _prepared(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any] | None]:
        labels, predictions, weights = super()._prepared(y_true, y_pred, sample_weight)
        if predictions.size:
            least, most = predictions.min(), predictions.max()
            if least < -1e-5 or most > 1 + 1e-5:  # a softmax may miss 1 a little
                raise ValueError(
                    f"{type(self).__name__} takes predictions in [0, 1]; received numbers from {least} to "
                    f"{most}. {self._remedy}"
                )
        return labels, predictions, weights

    _remedy = "Of logits take the sigmoid first"


class _AtRate(_OverGrid):
    """The best of one rate among the thresholds at which another reaches a value."""

    _given: ClassVar[str]  # the constructor's first argument, which is the rate that has to be reached
    _wanted: ClassVar[str]

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if not 0 <= value <= 1:
            raise ValueError(
                f"Argument `{self._given}` must be in the range [0, 1]. Received: {self._given}={value}"
            )
        if num_thresholds <= 0:
            raise ValueError(
                f"Argument `num_thresholds` must be an integer > 0. Received: num_thresholds={num_thresholds}"
            )
        self.value = value
        self.num_thresholds = num_thresholds
        self.class_id = class_id
        inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        self.thresholds = [0.5] if num_thresholds == 1 else [0.0, *inner, 1.0]
        self._count_over(self.thresholds)
        self._make_state()

    def result(self) -> Any:
        """The best rate, and 0 where the other is reached nowhere."""
        tp, fp, tn, fn = (getattr(self, name).numbers for name in self._state)
        parts = {"sensitivity": (tp, fn), "recall": (tp, fn), "specificity": (tn, fp), "precision": (tp, fp)}
        given, wanted = (_ratio(a, a + b) for a, b in (parts[self._given], parts[self._wanted]))
        return np.max(np.where(given >= self._of_floats(self.value), wanted, 0), initial=0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            self._given: self.value,
            "class_id": self.class_id,
        }


class SensitivityAtSpecificity(_AtRate):
    """The best sensitivity ``tp / (tp + fn)`` where the specificity ``tn / (tn + fp)`` reaches a value.

    Parameters
    ----------
    specificity : float
        Between 0 and 1.
    num_thresholds : int, default 200
        How many thresholds from 0 to 1 are looked at.
    class_id : int, optional
        Count this class alone.
    name, dtype
        As for `Metric`.

    Raises
    ------
    ValueError
        If the value is outside [0, 1], or there are no thresholds; from `update_state`, if predictions are
        outside [0, 1].

    Examples
    --------
    >>> metric = SensitivityAtSpecificity(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _given, _wanted = "specificity", "sensitivity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)
        self.specificity = specificity


class SpecificityAtSensitivity(_AtRate):
    """The best specificity ``tn / (tn + fp)`` where the sensitivity ``tp / (tp + fn)`` reaches a value.

    Parameters
    ----------
    sensitivity : float
        Between 0 and 1.
    num_thresholds, class_id, name, dtype
        As for `SensitivityAtSpecificity`.

    Examples
    --------
    >>> metric = SpecificityAtSensitivity(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    >>> round(float(metric.result()), 4)
    0.6667
    """

    _given, _wanted = "sensitivity", "specificity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)
        self.sensitivity = sensitivity


class PrecisionAtRecall(_AtRate):
    """The best precision ``tp / (tp + fp)`` where the recall ``tp / (tp + fn)`` reaches a value.

    Parameters
    ----------
    recall : float
        Between 0 and 1.
    num_thresholds, class_id, name, dtype
        As for `SensitivityAtSpecificity`.

    Examples
    --------
    >>> metric = PrecisionAtRecall(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _given, _wanted = "recall", "precision"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)
        self.recall = recall


class RecallAtPrecision(_AtRate):
    """The best recall ``tp / (tp + fn)`` where the precision ``tp / (tp + fp)`` reaches a value.

    Parameters
    ----------
    precision : float
        Between 0 and 1.
    num_thresholds, class_id, name, dtype
        As for `SensitivityAtSpecificity`.

    Examples
    --------
    >>> metric = RecallAtPrecision(0.8)
    >>> metric.update_state([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _given, _wanted = "precision", "recall"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)
        self.precision = precision


def _one_of(argument: str, value: Any, allowed: Mapping[str, str]) -> str:
    found = allowed.get(getattr(value, "value", value))
    if found is None:
        raise ValueError(
            f'Invalid AUC {argument} value: "{value}". Expected values are {sorted(set(allowed.values()))}'
        )
    return found


def _spellings(*names: str) -> dict[str, str]:
    return {way(name): name for name in names for way in (str, str.lower, str.capitalize)}


class AUC(_OverGrid):
    """The area under a curve: how well positive and negative samples are told apart, whatever the threshold.

    Parameters
    ----------
    num_thresholds : int, default 200
        How many thresholds from 0 to 1 the curve is drawn through.
    curve : {"ROC", "PR", "PRGAIN"}
        Recall over false positive rate, precision over recall, or precision gain over recall gain.
    summation_method : {"interpolation", "minoring", "majoring"}
        What the height between two points is: their mean, the lesser, or the greater one. Interpolation of a
        PR curve follows Davis and Goadrich.
    name, dtype
        As for `Metric`.
    thresholds : sequence of float, optional
        Instead of evenly distributed ones.
    multi_label : bool, default False
        Take the area for each column, and then the mean; otherwise all columns are counted as one.
    num_labels : int, optional
        How many columns there are; default: as many as the first batch has.
    label_weights : sequence of float, optional
        A weight for each column.
    from_logits : bool, default False
        Take the sigmoid of the predictions first.

    Raises
    ------
    ValueError
        For a curve or a summation that is none of these, fewer than two thresholds, thresholds outside
        [0, 1], and ``num_labels`` without ``multi_label``; from `update_state`, if predictions are outside
        [0, 1], or if labels or weights do not fit them.

    Notes
    -----
    https://dl.acm.org/doi/10.1145/1143844.1143874 (PR curves),
    https://papers.nips.cc/paper/5867-precision-recall-gain-curves-pr-analysis-done-right (gains).

    Examples
    --------
    >>> metric = AUC(num_thresholds=3)
    >>> metric.update_state([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    >>> round(float(metric.result()), 4)
    0.75
    """

    _remedy = "Of logits: AUC(from_logits=True)"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: ArrayLike | None = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if thresholds is not None:
            inner = sorted(_as_thresholds(thresholds, 0.5))
            num_thresholds = len(inner) + 2
        elif num_thresholds <= 1:
            raise ValueError(
                f"Argument `num_thresholds` must be an integer > 1. Received: num_thresholds={num_thresholds}"
            )
        else:
            inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
        self.num_thresholds = num_thresholds
        self.thresholds = [-epsilon(), *inner, 1 + epsilon()]
        self.curve = _one_of("curve", curve, _spellings("ROC", "PR", "PRGAIN"))
        self.summation_method = _one_of(
            "summation method", summation_method, _spellings("interpolation", "majoring", "minoring")
        )
        if num_labels and not multi_label:
            raise ValueError("`num_labels` is needed only when `multi_label` is True.")
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = None if label_weights is None else np.asarray(label_weights, self._state_dtype)
        self.from_logits = from_logits
        self._init_from_thresholds = thresholds is not None
        self._count_over(self.thresholds)
        self._columns: int | None = None
        if not multi_label:
            self._make_state()
        elif num_labels:
            self._make_columns(num_labels)

    def _make_columns(self, number: int) -> None:
        self._columns = number
        self._make_state(number)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take a batch into account.

        Parameters
        ----------
        y_true : array_like
            0 is negative, whatever else positive.
        y_pred : array_like, shape of ``y_true``
            In [0, 1], unless they are logits.
        sample_weight : array_like, optional
            One weight for each sample, or one for each prediction.

        Raises
        ------
        ValueError
            If the shapes do not fit, or if predictions are outside [0, 1].
        """
        if self.from_logits:
            y_pred = activations.sigmoid(as_array(y_pred))
        labels, predictions, weights = self._prepared(y_true, y_pred, sample_weight)
        if not self.multi_label:
            if self.label_weights is not None:
                of_columns = stretched(self.label_weights[None], predictions.shape, "label_weights")
                weights = of_columns if weights is None else weights * of_columns
            self._take_in(labels, predictions, weights)
            return
        shape = predictions.shape
        if predictions.ndim != 2:
            raise ValueError(
                f"`y_pred` must have rank 2 when `multi_label=True`. Found rank {len(shape)}. Full shape "
                f"received for `y_pred`: {shape}"
            )
        if self._columns is None:
            self._make_columns(shape[1])
        elif self._columns != shape[1]:
            raise ValueError(
                f"This metric counts {self._columns} labels, by `num_labels` or by its first batch, and "
                f"received y_pred of shape {shape}"
            )
        self._take_in(labels, predictions, weights, self._columns)

    def result(self) -> Any:
        """The area; 0 before the first batch."""
        if self.multi_label and self._columns is None:
            return self._of_floats(0)
        tp, fp, tn, fn = (getattr(self, name).numbers for name in self._state)
        with np.errstate(all="ignore"):
            parts = self._parts(tp, fp, tn, fn)
            areas = np.sum(parts, axis=0)
            if not self.multi_label:
                return areas
            if self.label_weights is None:
                return np.mean(areas)
            return _ratio(np.sum(areas * self.label_weights), np.sum(self.label_weights))[()]

    def _parts(self, tp: NDArray[Any], fp: NDArray[Any], tn: NDArray[Any], fn: NDArray[Any]) -> NDArray[Any]:
        """The area between each threshold and the next."""
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _interpolated_pr(tp, fp, fn)
        recall = _ratio(tp, tp + fn)
        if self.curve == "ROC":
            x, y = _ratio(fp, fp + tn), recall
        elif self.curve == "PR":
            x, y = recall, _ratio(tp, tp + fp)
        else:
            scale = _ratio(tp + fn, tn + fp)
            x = np.where(tp == 0, 0, np.maximum(1 - scale * _ratio(fn, tp), 0))
            y = np.where(tp == 0, 1, 1 - scale * _ratio(fp, tp))
        a, b = y[:-1], y[1:]
        if self.summation_method == "interpolation":
            heights = (a + b) / 2
        else:
            heights = (np.minimum if self.summation_method == "minoring" else np.maximum)(a, b)
        return (x[:-1] - x[1:]) * heights

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self.from_logits,
        }
        if self._init_from_thresholds:
            config["thresholds"] = self.thresholds[1:-1]
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The metric whose `get_config` gave ``config``."""
        if "label_weights" in config:  # which Keras writes as an array
            config = {**config, "label_weights": deserialize_keras_object(config["label_weights"])}
        return cls(**config)


def _interpolated_pr(tp: NDArray[Any], fp: NDArray[Any], fn: NDArray[Any]) -> NDArray[Any]:
    """The area under a PR curve between two thresholds, with false positives growing evenly with the true."""
    positive = tp + fp
    gained = tp[:-1] - tp[1:]
    slope = _ratio(gained, np.maximum(positive[:-1] - positive[1:], 0))
    start = tp[1:] - slope * positive[1:]
    both = (positive[:-1] > 0) & (positive[1:] > 0)
    ratio = np.where(both, _ratio(positive[:-1], np.maximum(positive[1:], 0)), 1)
    parts = slope * (gained + start * np.log(ratio))
    return _ratio(parts, np.maximum(tp[1:] + fn[1:], 0))

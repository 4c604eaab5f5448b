"""Precision and recall of classes in one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed.dtypes import epsilon
from fastembed.metrics.arrays import as_array, misfit, spread
from fastembed.metrics.metric import Metric, Total

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_STATE = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")


class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall: ``(1 + b**2) * p * r / (b**2 * p + r)``.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        None: an array with the score of each class. Or one score: of all classes counted together, the mean
        over classes, the mean weighted by how often a class is true.
    beta : float, default 1.0
        How much more recall counts than precision.
    threshold : float, optional
        Above it a class is predicted; default: the class with the largest score is.
    name, dtype
        As for `Metric`.

    Raises
    ------
    ValueError
        For another average, a ``beta`` that is no float above 0, a threshold that is no float in (0, 1]; from
        `update_state`, if labels and predictions have not one shape ``(n, classes)``.

    Examples
    --------
    >>> metric = FBetaScore(beta=2.0, threshold=0.5)
    >>> y_pred = [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]
    >>> metric.update_state([[1, 1, 1], [1, 0, 0], [1, 1, 0]], y_pred)
    >>> metric.result().round(4)
    array([0.3846, 0.9091, 0.8333], dtype=float32)
    """

    _direction = "up"

    true_positives: Total
    false_positives: Total
    false_negatives: Total
    intermediate_weights: Total

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(
                "Invalid `average` argument value. Expected one of: {None, 'micro', 'macro', 'weighted'}. "
                f"Received: average={average}"
            )
        if not isinstance(beta, float) or not beta > 0:
            raise ValueError(
                f"Invalid `beta` argument value. It should be a Python float > 0. Received: beta={beta!r}"
            )
        if threshold is not None and (not isinstance(threshold, float) or not 0 < threshold <= 1):
            raise ValueError(
                "Invalid `threshold` argument value. It should be a Python float with 0 < threshold <= 1. "
                f"Received: threshold={threshold!r}"
            )
        self.average = average
        self.beta = beta
        self.threshold = threshold
        self._classes: int | None = None

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Take a batch into account.

        Parameters
        ----------
        y_true : array_like, shape (n, classes)
            0 and 1.
        y_pred : array_like, shape (n, classes)
        sample_weight : array_like, optional
            One weight for each sample, or one for each prediction.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        true = as_array(y_true).astype(self._state_dtype, copy=False)
        pred = as_array(y_pred).astype(self._state_dtype, copy=False)
        classes = pred.shape[-1] if pred.ndim == 2 else None
        if true.shape != pred.shape or classes is None or self._classes not in (None, classes):
            of_earlier = (
                "" if self._classes is None else f", with {self._classes} classes as in the first batch"
            )
            raise misfit(true, pred, f"both have to be of shape (batch_size, classes){of_earlier}")
        if self.threshold is None:
            chosen = (pred >= np.max(pred, axis=-1, keepdims=True)) & (np.abs(pred) > 1e-9)
        else:
            chosen = pred > self.threshold
        hit = chosen.astype(true.dtype)
        parts = (hit * true, hit * (1 - true), (1 - hit) * true, true)
        if sample_weight is not None:
            weights = spread(sample_weight, true.shape).astype(true.dtype, copy=False)
            parts = tuple(part * weights for part in parts)
        if self._classes is None:
            self._classes = classes
            for name in _STATE:
                shape = () if self.average == "micro" else (classes,)
                setattr(self, name, self._total(name, shape, self._state_dtype))
        for name, part in zip(_STATE, parts):
            getattr(self, name).add(np.sum(part, axis=None if self.average == "micro" else 0))

    def result(self) -> Any:
        """The score, or one for each class; 0 before the first batch."""
        if self._classes is None:
            return self._number(0)
        tp, fp, fn, often = (np.asarray(getattr(self, name).numbers) for name in _STATE)
        small = tp.dtype.type(epsilon())
        precision, recall = tp / (tp + fp + small), tp / (tp + fn + small)
        square = tp.dtype.type(self.beta**2)
        scores: NDArray[Any] = precision * recall / (square * precision + recall + small) * (1 + square)
        if self.average == "weighted":
            return np.sum(scores * (often / (np.sum(often) + small)))
        return scores if self.average is None else np.mean(scores)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall.

    Parameters
    ----------
    average, threshold, name, dtype
        As for `FBetaScore`.

    Examples
    --------
    >>> metric = F1Score(average="micro")
    >>> metric.update_state([[1, 0], [0, 1], [0, 1]], [[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    >>> round(float(metric.result()), 4)
    0.6667
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {key: value for key, value in super().get_config().items() if key != "beta"}

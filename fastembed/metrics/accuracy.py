"""How often predictions are right: functions that say so for each sample, and their means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed.dtypes import array_dtype, floatx
from fastembed.metrics.arrays import as_array, fitting, misfit
from fastembed.metrics.reduction import FunctionMetric

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def _as_floats(matches: NDArray[np.bool_]) -> NDArray[Any]:
    return matches.astype(array_dtype(floatx()))


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[Any]:
    """1 where a prediction equals its label, 0 elsewhere.

    Parameters
    ----------
    y_true, y_pred : array_like
        Of one shape; ``(n,)`` beside ``(n, 1)`` will do.

    Returns
    -------
    ndarray of `fastembed.backend.floatx`, shape of ``y_pred``

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> accuracy([1, 2, 3], [1, 0, 3])
    array([1., 0., 1.], dtype=float32)
    """
    true, pred = fitting(y_true, y_pred)
    if true.dtype.kind == pred.dtype.kind == "f":
        true = true.astype(pred.dtype, copy=False)
    return _as_floats(np.equal(true, pred))


def binary_accuracy(y_true: ArrayLike, y_pred: ArrayLike, threshold: float = 0.5) -> NDArray[Any]:
    """1 where a prediction lies on its label's side of the threshold, 0 elsewhere.

    Parameters
    ----------
    y_true : array_like
        0 and 1.
    y_pred : array_like
        Above the threshold it means 1.
    threshold : float, default 0.5

    Returns
    -------
    ndarray of `fastembed.backend.floatx`, shape of ``y_pred``

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> binary_accuracy([1, 1, 0, 0], [[0.9], [0.5], [0.1], [0.6]]).ravel()
    array([1., 0., 1., 0.], dtype=float32)
    """
    true, pred = fitting(y_true, y_pred)
    return _as_floats(np.equal(true, pred > threshold))


def categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[Any]:
    """1 where the class with the largest score is that of the one-hot label, 0 elsewhere.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (..., classes)

    Returns
    -------
    ndarray of `fastembed.backend.floatx`, shape (...)

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> categorical_accuracy([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    array([0., 1.], dtype=float32)
    """
    true, pred = as_array(y_true), as_array(y_pred)
    return _hits(_classes(true, pred), pred)


def _classes(true: NDArray[Any], pred: NDArray[Any]) -> NDArray[Any]:
    """The classes that one-hot labels mean."""
    if not true.ndim or not pred.ndim or true.shape[-1] != pred.shape[-1] or true.ndim < pred.ndim:
        raise misfit(
            true,
            pred,
            "labels are one-hot here, with a column for each class; for labels that are numbers of classes "
            "there are the metrics whose names begin with `sparse`",
        )
    return np.argmax(true, axis=-1)


def _hits(true: NDArray[Any], pred: NDArray[Any]) -> NDArray[Any]:
    """1 where the class of the largest score is the true one, in the shape of the true classes."""
    shape = true.shape
    if true.ndim == pred.ndim and shape[-1:] == (1,):
        true = true[..., 0]
    largest = np.argmax(pred, axis=-1)
    if true.shape != largest.shape:
        raise _no_classes(true, pred)
    return _as_floats(np.equal(true, largest)).reshape(shape)


def _no_classes(true: NDArray[Any], pred: NDArray[Any]) -> ValueError:
    wanted = f"the number of a class is needed for each row of scores, as an array of shape {pred.shape[:-1]}"
    return misfit(true, pred, wanted)


def sparse_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[Any]:
    """1 where the class with the largest score is the true one, 0 elsewhere.

    Parameters
    ----------
    y_true : array_like, shape (...) or (..., 1)
        Numbers of classes.
    y_pred : array_like, shape (..., classes)

    Returns
    -------
    ndarray of `fastembed.backend.floatx`, shape (...)

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> sparse_categorical_accuracy([[2], [1]], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
    array([0., 1.], dtype=float32)
    """
    true, pred = as_array(y_true), as_array(y_pred)
    if not pred.ndim:
        raise misfit(true, pred, "predictions are scores here, with a column for each class")
    matches = _hits(true, pred)
    return matches[..., 0] if matches.ndim > 1 and matches.shape[-1] == 1 else matches


def top_k_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike, k: int = 5) -> NDArray[Any]:
    """1 where less than ``k`` classes have a larger score than that of the one-hot label, 0 elsewhere.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (..., classes)
    k : int, default 5

    Returns
    -------
    ndarray of `fastembed.backend.floatx`, shape (...)

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> top_k_categorical_accuracy([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]], k=2)
    array([1., 1.], dtype=float32)
    """
    true, pred = as_array(y_true), as_array(y_pred)
    return _among_best(_classes(true, pred), pred, k)


def _among_best(true: NDArray[Any], pred: NDArray[Any], k: int) -> NDArray[Any]:
    classes, scores = _rows(true, pred)
    number = scores.shape[-1]
    outside = (classes < 0) | (classes >= number)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"y_true has the class {classes[first]} at position {first}, and y_pred has scores for the "
            f"classes 0 to {number - 1}"
        )
    own = np.take_along_axis(scores, classes[:, None], axis=-1)
    own = np.where(np.isnan(own), -np.inf, own)  # no number is no large one
    better = np.count_nonzero(scores > own, axis=-1)
    return _as_floats(better < k).reshape(true.shape)


def _rows(true: NDArray[Any], pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """All classes in one line, and a row of scores for each."""
    if pred.ndim < 2 or true.size * pred.shape[-1] != pred.size:
        raise _no_classes(true, pred)
    classes = true.ravel()
    whole = classes.astype(np.intp, copy=False)
    if classes.dtype.kind == "f" and not np.array_equal(whole, classes):
        raise ValueError("y_true has fractions, and the numbers of classes have none")
    return whole, pred.reshape(-1, pred.shape[-1])


def sparse_top_k_categorical_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, k: int = 5, from_sorted_ids: bool = False
) -> NDArray[Any]:
    """1 where the true class is among the best ``k``, 0 elsewhere.

    Parameters
    ----------
    y_true : array_like, shape (...) or (..., 1)
        Numbers of classes.
    y_pred : array_like, shape (..., classes)
        Scores; or numbers of classes, those with the highest scores first.
    k : int, default 5
    from_sorted_ids : bool, default False
        Whether ``y_pred`` are numbers of classes.

    Returns
    -------
    ndarray of `fastembed.backend.floatx`, shape of ``y_true``

    Raises
    ------
    ValueError
        If the shapes do not fit, or if there are no scores for a label.

    Examples
    --------
    >>> sparse_top_k_categorical_accuracy([2, 1], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]], k=2)
    array([1., 1.], dtype=float32)
    >>> sparse_top_k_categorical_accuracy([2, 1], [[1, 2, 0], [0, 2, 1]], k=2, from_sorted_ids=True)
    array([1., 0.], dtype=float32)
    """
    true, pred = as_array(y_true), as_array(y_pred)
    if not from_sorted_ids:
        return _among_best(true, pred, k)
    classes, best = _rows(true, pred)
    return _as_floats(np.any(classes[:, None] == best[:, :k], axis=1)).reshape(true.shape)


class Accuracy(FunctionMetric):
    """How often predictions equal their labels.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = Accuracy()
    >>> metric.update_state([1, 2, 3, 4], [0, 2, 3, 4], sample_weight=[1, 1, 0, 0])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(FunctionMetric):
    """How often predictions lie on their labels' side of a threshold: see `binary_accuracy`.

    Parameters
    ----------
    name, dtype
        As for `Metric`.
    threshold : float, default 0.5
        Use 0 for logits.

    Examples
    --------
    >>> metric = BinaryAccuracy()
    >>> metric.update_state([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]])
    >>> round(float(metric.result()), 4)
    0.75
    """

    _direction = "up"

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self.threshold = threshold


class CategoricalAccuracy(FunctionMetric):
    """How often the class with the largest score is that of the one-hot label.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = CategoricalAccuracy()
    >>> metric.update_state([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _direction = "up"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(FunctionMetric):
    """How often the class with the largest score is the true one.

    Parameters
    ----------
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = SparseCategoricalAccuracy()
    >>> metric.update_state([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]], sample_weight=[3, 1])
    >>> round(float(metric.result()), 4)
    0.25
    """

    _direction = "up"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(FunctionMetric):
    """How often the class of the one-hot label is among the best ``k``.

    Parameters
    ----------
    k : int, default 5
    name, dtype
        As for `Metric`.

    Examples
    --------
    >>> metric = TopKCategoricalAccuracy(k=1)
    >>> metric.update_state([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _direction = "up"

    def __init__(
        self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)
        self.k = k


class SparseTopKCategoricalAccuracy(FunctionMetric):
    """How often the true class is among the best ``k``: see `sparse_top_k_categorical_accuracy`.

    Parameters
    ----------
    k : int, default 5
    name, dtype
        As for `Metric`.
    from_sorted_ids : bool, default False
        Whether predictions are numbers of classes, those with the highest scores first.

    Examples
    --------
    >>> metric = SparseTopKCategoricalAccuracy(k=1)
    >>> metric.update_state([2, 1], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    >>> round(float(metric.result()), 4)
    0.5
    """

    _direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        # Keras writes from_sorted_ids only where it is set: older versions do not know it.
        settings = {"from_sorted_ids": True} if from_sorted_ids else {}
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, **settings)
        self.k = k
        self.from_sorted_ids = from_sorted_ids

"""Labels and predictions as arrays that fit each other, by Keras's rules for their ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed.dtypes import array_dtype, floatx

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def as_array(x: ArrayLike) -> NDArray[Any]:
    """``x`` as an array: Python's floats in the default dtype, whatever has a dtype in its own.

    >>> as_array([0.5]).dtype, as_array(np.float64([0.5])).dtype
    (dtype('float32'), dtype('float64'))
    """
    if type(x) is np.ndarray:
        return x
    array = np.asarray(x)
    if array.dtype == np.float64 and not hasattr(x, "dtype"):
        return array.astype(array_dtype(floatx()))
    return array


def to_same_rank(
    a: NDArray[Any], b: NDArray[Any], expand_rank_1: bool = True
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A last axis of length 1 comes or goes where the ranks differ by one: ``(n,)`` beside ``(n, 1)``.

    Parameters
    ----------
    a, b : ndarray
    expand_rank_1 : bool, default True
        ``(n,)`` becomes ``(n, 1)``; otherwise the other loses its axis, as it does for higher ranks.

    Notes
    -----
    ``squeeze_or_expand_to_same_rank`` in keras/src/losses/loss.py of Keras 3.15.

    Examples
    --------
    >>> a, b = to_same_rank(np.zeros(4), np.zeros((4, 1)))
    >>> a.shape, b.shape
    ((4, 1), (4, 1))
    """
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[..., None]) if b.ndim == 1 and expand_rank_1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[..., None], b) if a.ndim == 1 and expand_rank_1 else (a, b[..., 0])
    return a, b


def fitting(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labels and predictions of one rank, whose shapes can be compared number by number.

    Raises
    ------
    ValueError
        If they cannot.

    Examples
    --------
    >>> fitting(np.zeros(4), np.zeros((4, 3)))
    Traceback (most recent call last):
      ...
    ValueError: y_true of shape (4,) does not fit y_pred of shape (4, 3): one label is needed for each
    prediction
    """
    true, pred = as_array(y_true), as_array(y_pred)
    if true.shape == pred.shape:
        return true, pred
    a, b = to_same_rank(true, pred)
    # Arrays of other ranks can be stretched to each other, too, but then labels meet others' predictions.
    if a.ndim != b.ndim or any(m != n and 1 not in (m, n) for m, n in zip(a.shape, b.shape)):
        raise misfit(true, pred, "one label is needed for each prediction")
    return a, b


def misfit(y_true: NDArray[Any], y_pred: NDArray[Any], wanted: str) -> ValueError:
    """The error for labels and predictions that do not fit."""
    return ValueError(f"y_true of shape {y_true.shape} does not fit y_pred of shape {y_pred.shape}: {wanted}")


def stretched(weights: NDArray[Any], shape: tuple[int, ...], what: str = "sample_weight") -> NDArray[Any]:
    """``weights`` broadcast to the shape of what they weigh.

    >>> stretched(np.ones(3), (2, 2))
    Traceback (most recent call last):
      ...
    ValueError: sample_weight of shape (3,) does not fit values of shape (2, 2): give one weight for each
    sample, or weights that can be broadcast to them
    """
    if weights.shape == shape:
        return weights
    try:
        return np.broadcast_to(weights, shape)
    except ValueError:
        raise ValueError(
            f"{what} of shape {weights.shape} does not fit values of shape {shape}: give one weight for each "
            "sample, or weights that can be broadcast to them"
        ) from None

"""Labels and predictions as arrays that fit each other, by Keras's rules for their ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._floats import default_floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def as_array(x: ArrayLike) -> NDArray[Any]:
    """``x`` as an array: Python's floats in the default dtype, whatever has a dtype in its own.

    >>> as_array([0.5]).dtype, as_array(np.float64([0.5])).dtype
    (dtype('float32'), dtype('float64'))
    """
    return x if type(x) is np.ndarray else np.asarray(default_floats(x))


def to_same_rank(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """A last axis of length 1 comes where the ranks are 1 and 2, and goes where higher ones differ by one.

    ``squeeze_or_expand_to_same_rank`` in keras/src/losses/loss.py of Keras 3.15.

    Examples
    --------
    >>> a, b = to_same_rank(np.zeros(4), np.zeros((4, 1)))
    >>> a.shape, b.shape
    ((4, 1), (4, 1))
    """
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[..., None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[..., None], b) if a.ndim == 1 else (a, b[..., 0])
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


def stretched(
    weights: NDArray[Any], shape: tuple[int, ...], what: str = "sample_weight", axes: tuple[int, ...] = ()
) -> NDArray[Any]:
    """``weights``, with further ``axes`` of length 1, broadcast to the shape of what they weigh.

    >>> stretched(np.ones(3), (2, 2))
    Traceback (most recent call last):
      ...
    ValueError: sample_weight of shape (3,) does not fit values of shape (2, 2): give one weight for each
    sample, or weights that can be broadcast to them
    """
    if weights.shape == shape:
        return weights
    try:
        return np.broadcast_to(weights.reshape(weights.shape + axes), shape)
    except ValueError:
        raise ValueError(
            f"{what} of shape {weights.shape} does not fit values of shape {shape}: give one weight for each "
            "sample, or weights that can be broadcast to them"
        ) from None


def spread(sample_weight: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Weights of samples, or of as many leading axes as they have, in the shape of the values.

    >>> spread([1.0, 2.0], (2, 3)).tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    weights = as_array(sample_weight)
    if weights.ndim == len(shape) + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    return stretched(weights, shape, axes=(1,) * (len(shape) - weights.ndim))

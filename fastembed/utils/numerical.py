"""Classes as vectors, and vectors of length 1: what keras.utils has for arrays."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastembed import eras, ops

__all__ = ["normalize", "to_categorical"]


@eras.any_keywords(y="x", nb_classes="num_classes")
def to_categorical(
    x: ArrayLike, num_classes: int | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Vectors that are 1 at the class and 0 elsewhere, as `categorical_crossentropy` wants them.

    Parameters
    ----------
    x : array_like of integers, any shape
        Classes from 0 on; also called ``y``. A last axis of length 1 is left out.
    num_classes : int, optional
        Also called ``nb_classes``. Without it, or with 0, one more than the largest class.
    dtype : dtype_like, optional
        Of the result. The default is that of the era: float64 in Keras 3 and 1, float32 in Keras 2 and
        tf.keras.

    Returns
    -------
    ndarray of shape ``(*x.shape, num_classes)``

    Raises
    ------
    IndexError
        If a class is negative, or ``num_classes`` or more.
    TypeError, ValueError
        If ``x`` holds something else than integers (digits as text are integers), or nothing where
        ``num_classes`` is not given.

    Examples
    --------
    >>> to_categorical([2, 0])
    array([[0., 0., 1.],
           [1., 0., 0.]])
    >>> to_categorical([2, 3], num_classes=3)
    Traceback (most recent call last):
      ...
    IndexError: class 3 at position 1 is outside 0 to 2
    """
    classes = _classes(x)
    if classes.ndim > 1 and classes.shape[-1] == 1:
        classes = classes[..., 0]
    if not num_classes:
        if not classes.size:
            raise ValueError("there is no class in `x`, and so none is the largest: give `num_classes`")
        num_classes = max(int(classes.max()), 0) + 1
    try:
        length = operator.index(num_classes)
    except TypeError:
        raise TypeError(f"`num_classes` must be an integer, got {num_classes!r:.80}") from None
    flat = classes.reshape(-1)
    outside = np.flatnonzero((flat < 0) | (flat >= length))
    if outside.size:
        position = np.unravel_index(outside[0], classes.shape)
        raise IndexError(
            f"class {flat[outside[0]]} at position {', '.join(map(str, position)) or '()'} is outside "
            f"0 to {length - 1}"
        )
    vectors = np.zeros((flat.size, length), eras.current().classes_dtype if dtype is None else dtype)
    vectors[np.arange(flat.size), flat.astype(np.intp)] = 1
    return vectors.reshape(*classes.shape, length)


def _classes(x: Any) -> NDArray[Any]:
    """Classes as an array of integers; those that a table of text or of Python objects has, too."""
    array = ops.as_array(x)
    if array.dtype.kind in "OSU" and array.size:
        try:
            numbers = array.astype(np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"classes must be integers from 0 on: {error}. np.unique(x, return_inverse=True) numbers them"
            ) from None
        if array.dtype.kind == "O" and not all(map(operator.eq, numbers.flat, array.flat)):
            raise ValueError(f"classes must be integers, got {array!r:.200}")
        return numbers
    return ops.as_ids(array) if array.size else array.astype(np.int64)


def normalize(x: ArrayLike, axis: int | None = -1, order: float | None = 2) -> NDArray[Any]:
    """``x`` divided by its norm along an axis.

    Parameters
    ----------
    x : array_like
    axis : int or None, default -1
        None is the norm of a whole vector or matrix.
    order : default 2
        Of the norm, as in `numpy.linalg.norm`.

    Returns
    -------
    ndarray
        Where the norm is 0, ``x`` is as it was.

    Examples
    --------
    >>> normalize([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    array = ops.as_array(x)
    norm = np.linalg.norm(array, order, axis, keepdims=True)
    return array / np.where(norm == 0, 1, norm).astype(norm.dtype)

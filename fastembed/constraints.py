"""What the values of a variable are brought back to after each training step: Keras's constraints.

Formulas and defaults: keras/src/constraints/constraints.py of Keras 3.15. The lower-case names of all eras
(``max_norm``, ``maxnorm``) are the classes themselves.

``axis=0``, the default, takes the norm of each column. That is right for the kernel of a Dense layer; in an
embedding table a word is a row, and a limit for each word needs ``axis=1``. The 1e-7 in the formulas, which
keeps a vector of zeros from being divided by zero, is `fastembed.backend.epsilon`.
"""

from __future__ import annotations

import numbers
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._floats import widened
from fastembed._registry import Configurable, Registry, serialize_keras_object, subclasses_in
from fastembed.dtypes import epsilon

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray


class Constraint(Configurable):
    """Base class: called with the values of a variable, it returns those it should have.

    A subclass defines ``__call__(w)`` and, if it has arguments, ``get_config()``.

    Examples
    --------
    >>> class AtMostOne(Constraint):
    ...     def __call__(self, w):
    ...         return np.minimum(w, 1)
    >>> get(AtMostOne)(np.array([0.5, 2.0]))
    array([0.5, 1. ])
    """

    def __call__(self, w: Any) -> Any:
        """The values that ``w`` should have.

        Parameters
        ----------
        w : array_like of floats
            Never changed. Integers count as float32. float16 is computed with as float32: in Keras 3's own
            float16, for which 1e-7 is too small, MinMaxNorm makes a NaN of a row of zeros.

        Returns
        -------
        ndarray, shape and dtype of ``w``
        """
        return w


class NonNeg(Constraint):
    """No value below 0: ``max(w, 0)``.

    Examples
    --------
    >>> NonNeg()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        kept: NDArray[Any] = np.maximum(np.asarray(w), 0)
        return kept


class _OfNorms(Constraint):
    """A constraint on the norms along an axis."""

    def __init__(self, axis: int | Sequence[int] | None) -> None:
        self.axis = axis if axis is None else _as_axis(axis)

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        wide, dtype = widened(w)
        axis = tuple(self.axis) if isinstance(self.axis, list) else self.axis  # as JSON gives it
        norms = np.sqrt(np.sum(np.square(wide), axis=axis, keepdims=True))
        return self._scaled(wide, norms).astype(dtype, copy=False)

    def _scaled(self, w: NDArray[Any], norms: NDArray[Any]) -> NDArray[Any]:
        raise NotImplementedError


class MaxNorm(_OfNorms):
    """No norm above ``max_value``: ``w * clip(norm, 0, max_value) / (1e-7 + norm)``.

    Parameters
    ----------
    max_value : float, default 2
    axis : int, sequence of int or None, default 0
        Along which the norms are taken: 1 for the rows of an embedding table, None for the whole of it.
    m : float, optional
        The name of ``max_value`` in Keras 1.

    Raises
    ------
    ValueError
        If a bound or the axis is no number.

    Examples
    --------
    >>> MaxNorm(1, axis=1)(np.array([[3.0, 4.0], [0.3, 0.4]])).round(3)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """

    def __init__(
        self, max_value: float = 2, axis: int | Sequence[int] | None = 0, *, m: float | None = None
    ) -> None:
        super().__init__(axis)
        self.max_value = _as_number("max_value", max_value if m is None else m)

    def _scaled(self, w: NDArray[Any], norms: NDArray[Any]) -> NDArray[Any]:
        scaled: NDArray[Any] = w * (np.clip(norms, 0, self.max_value) / (epsilon() + norms))
        return scaled

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class UnitNorm(_OfNorms):
    """Every norm 1: ``w / (1e-7 + norm)``.

    Parameters
    ----------
    axis : int, sequence of int or None, default 0
        Along which the norms are taken: 1 for the rows of an embedding table, None for the whole of it.

    Raises
    ------
    ValueError
        If the axis is no integer.

    Examples
    --------
    >>> UnitNorm(axis=1)(np.array([[3.0, 4.0]])).round(3)
    array([[0.6, 0.8]])
    """

    def __init__(self, axis: int | Sequence[int] | None = 0) -> None:
        super().__init__(axis)

    def _scaled(self, w: NDArray[Any], norms: NDArray[Any]) -> NDArray[Any]:
        return w / (epsilon() + norms)

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


class MinMaxNorm(_OfNorms):
    """Every norm between two bounds: ``w * (rate * clip(norm) + (1 - rate) * norm) / (1e-7 + norm)``.

    Parameters
    ----------
    min_value, max_value : float, default 0.0 and 1.0
    rate : float, default 1.0
        How far towards the bounds one call goes; 1 is all the way.
    axis : int, sequence of int or None, default 0
        Along which the norms are taken: 1 for the rows of an embedding table, None for the whole of it.
    low, high : float, optional
        The names of ``min_value`` and ``max_value`` in Keras 1.

    Raises
    ------
    ValueError
        If a bound, the rate or the axis is no number.

    Examples
    --------
    >>> MinMaxNorm(min_value=5, max_value=10, rate=0.5, axis=1)(np.array([[0.6, 0.8], [3.0, 4.0]])).round(3)
    array([[1.8, 2.4],
           [3. , 4. ]])
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] | None = 0,
        *,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        super().__init__(axis)
        self.min_value = _as_number("min_value", min_value if low is None else low)
        self.max_value = _as_number("max_value", max_value if high is None else high)
        self.rate = _as_number("rate", rate)

    def _scaled(self, w: NDArray[Any], norms: NDArray[Any]) -> NDArray[Any]:
        desired = self.rate * np.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        scaled: NDArray[Any] = w * (desired / (epsilon() + norms))
        return scaled

    def get_config(self) -> dict[str, Any]:
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


def _as_number(name: str, value: Any) -> Any:
    number = value.item() if isinstance(value, (np.generic, np.ndarray)) and value.size == 1 else value
    if not isinstance(number, numbers.Real):
        raise ValueError(f"`{name}` must be a number, got {value!r:.200}")
    return number


def _as_axis(axis: Any) -> Any:
    try:
        if isinstance(axis, (list, tuple)):
            return type(axis)(map(operator.index, axis))
        return operator.index(axis)
    except TypeError:
        raise ValueError(f"`axis` must be an integer, several of them or None, got {axis!r:.200}") from None


# --- Names ---

max_norm = maxnorm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = nonneg = NonNeg
unit_norm = unitnorm = UnitNorm

_registry = Registry("constraint", subclasses_in(globals(), Constraint))


def get(identifier: Any) -> Any:
    """The constraint that ``identifier`` means.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        A name of any Keras era (case matters) or of something registered, a config of any era (see
        `deserialize`), a class to be made without arguments, or anything that is called
        with an array and returns another.

    Returns
    -------
    callable or None
        None for None.

    Raises
    ------
    ValueError
        If there is no such constraint.

    Examples
    --------
    >>> get("maxnorm"), get({"name": "MaxNorm", "m": 3, "axis": 1})
    (MaxNorm(max_value=2, axis=0), MaxNorm(max_value=3, axis=1))
    """
    return _registry.get(identifier)


def serialize(constraint: Any) -> Any:
    """The config of a constraint as Keras 3 writes it, ready for JSON.

    Raises
    ------
    TypeError
        For a lambda and for an object without ``get_config``: they cannot be written as data.

    Examples
    --------
    >>> serialize(UnitNorm(axis=1))
    {'module': 'keras.constraints', 'class_name': 'UnitNorm', 'config': {'axis': 1}, 'registered_name': None}
    """
    return serialize_keras_object(constraint)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The constraint that a config describes.

    Parameters
    ----------
    config : None, str or dict
        ``{"name", ...}`` (Keras 1), ``{"class_name", "config"}`` (Keras 2), or these with ``"module"`` and
        ``"registered_name"`` (Keras 3), or a name. Nothing that it names is imported.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If the class is unknown, belongs to a package other than Keras, or does not take these settings.

    Examples
    --------
    >>> deserialize({"class_name": "MaxNorm", "config": {"max_value": 1.5, "axis": 1}})
    MaxNorm(max_value=1.5, axis=1)
    """
    return _registry.deserialize(config, custom_objects)

"""Penalties on the values of a variable: Keras's regularizers, and their derivatives.

Formulas and defaults: keras/src/regularizers/regularizers.py of Keras 3.15. Keras differentiates a penalty
automatically; training here has no such machinery, so each regularizer has a ``gradient(x)`` beside its
value.

The lower-case names (``l1``, ``l2``) are the classes themselves, as in Keras 3.
"""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed._floats import widened
from fastembed._registry import Configurable, Registry, serialize_keras_object, subclasses_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray


class Regularizer(Configurable):
    """Base class: called with an array, it returns the penalty, a scalar.

    A subclass defines ``__call__(x)``, ``gradient(x)`` if variables are trained with it, and
    ``get_config()`` if it is saved.

    Examples
    --------
    >>> class SumOfCubes(Regularizer):
    ...     def __call__(self, x):
    ...         return np.sum(x**3)
    ...     def gradient(self, x):
    ...         return 3 * x**2
    >>> float(get(SumOfCubes)(np.array([1.0, 2.0])))
    9.0
    """

    def __call__(self, x: Any) -> Any:
        """The penalty.

        Parameters
        ----------
        x : array_like of floats, any shape
            Integers count as float32. (Keras 3 narrows the factor to the integers' dtype: its penalty is
            0.)

        Returns
        -------
        NumPy scalar, dtype of ``x``
            Half-width floats are summed in float32 first.
        """
        return 0.0

    def gradient(self, x: Any) -> NDArray[Any]:
        """The derivative of the penalty for each value of ``x``, in its shape and dtype."""
        raise NotImplementedError(
            f"{type(self).__name__} has no gradient(x), so a variable cannot be trained with it"
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as values that JSON can hold."""
        raise NotImplementedError(f"{type(self).__name__} does not implement get_config()")


def _as_factor(name: str, value: Any) -> float:
    """``value`` if it can be the factor of a penalty."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"Invalid value for argument {name}: expected a non-negative float. Received: {name}={value!r}"
        )
    return float(value)


def _as_float32(factor: float) -> float:
    # Keras 3 holds L1's and OrthogonalRegularizer's factor (not L2's) as a float32, which shows in their
    # configs and float64 penalties: 0.01 is 0.009999999776482582 there.
    return float(np.float32(factor))


class _Norms(Regularizer):
    """``l1 * sum(abs(x)) + l2 * sum(x**2)``."""

    l1 = 0.0
    l2 = 0.0

    def __call__(self, x: ArrayLike) -> Any:
        wide, dtype = widened(x)
        number = wide.dtype.type
        penalty = number(0)
        if self.l1:
            penalty += number(self.l1) * np.sum(np.abs(wide))
        if self.l2:
            penalty += number(self.l2) * np.sum(np.square(wide))
        return penalty.astype(dtype)

    def gradient(self, x: ArrayLike) -> NDArray[Any]:
        wide, dtype = widened(x)
        number = wide.dtype.type
        slope: NDArray[Any] = np.zeros_like(wide)
        if self.l1:
            slope += number(self.l1) * np.sign(wide)
        if self.l2:
            slope += number(2 * self.l2) * wide
        return slope.astype(dtype, copy=False)


class L1(_Norms):
    """``l1 * sum(abs(x))``; the derivative is ``l1 * sign(x)``, and 0 where x is 0.

    Parameters
    ----------
    l1 : float >= 0, default 0.01
        Rounded to float32, as Keras 3 does.
    l : float, optional
        The name of the argument in Keras 2.

    Raises
    ------
    ValueError
        If the factor is negative or not a finite number.

    Examples
    --------
    >>> x = np.array([1.0, -2.0, 0.0], np.float32)
    >>> float(L1(0.5)(x)), L1(0.5).gradient(x)
    (1.5, array([ 0.5, -0.5,  0. ], dtype=float32))
    """

    def __init__(self, l1: float | None = 0.01, *, l: float | None = None) -> None:  # noqa: E741
        factor = l1 if l is None else l
        self.l1 = _as_float32(_as_factor("l1", 0.01 if factor is None else factor))

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(_Norms):
    """``l2 * sum(x**2)``; the derivative is ``2 * l2 * x``.

    Parameters
    ----------
    l2 : float >= 0, default 0.01
    l : float, optional
        The name of the argument in Keras 2.

    Raises
    ------
    ValueError
        If the factor is negative or not a finite number.

    Examples
    --------
    >>> x = np.array([1.0, -2.0], np.float32)
    >>> float(L2(0.5)(x)), L2(0.5).gradient(x)
    (2.5, array([ 1., -2.], dtype=float32))
    """

    def __init__(self, l2: float | None = 0.01, *, l: float | None = None) -> None:  # noqa: E741
        factor = l2 if l is None else l
        self.l2 = _as_factor("l2", 0.01 if factor is None else factor)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class L1L2(_Norms):
    """``l1 * sum(abs(x)) + l2 * sum(x**2)``.

    The class has no penalty until it is given one; the function `l1_l2` and every string for this class
    have Keras 2's 0.01 for both.

    Parameters
    ----------
    l1, l2 : float >= 0, default 0.0

    Raises
    ------
    ValueError
        If a factor is negative or not a finite number.

    Examples
    --------
    >>> x = np.array([1.0, -2.0], np.float32)
    >>> float(L1L2(l1=1, l2=0.5)(x)), L1L2(l1=1, l2=0.5).gradient(x)
    (5.5, array([ 2., -3.], dtype=float32))
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _as_factor("l1", 0.0 if l1 is None else l1)
        self.l2 = _as_factor("l2", 0.0 if l2 is None else l2)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """``factor`` times the mean of ``abs(cos(angle))`` over all pairs of rows (or of columns).

    Needs the product of all pairs: memory for rows x rows values, 1.6 GB for 20,000 float32 rows. A row of
    zeros has no angle and adds nothing; a single row has no pair and a penalty of 0 (Keras 3: NaN). On its
    numpy backend Keras 3 divides columns by the wrong norms, or fails; here ``mode="columns"`` is
    ``mode="rows"`` of the transpose.

    Parameters
    ----------
    factor : float >= 0, default 0.01
        Rounded to float32, as Keras 3 does.
    mode : {"rows", "columns"}

    Raises
    ------
    ValueError
        If the factor is negative or not a finite number, if the mode is another, or if ``x`` has not two
        dimensions.

    Examples
    --------
    >>> penalty = OrthogonalRegularizer(factor=1.0)
    >>> float(penalty(np.array([[1.0, 0.0], [0.0, 2.0]]))), float(penalty(np.array([[1.0, 0.0], [3.0, 0.0]])))
    (0.0, 1.0)
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _as_float32(_as_factor("factor", factor))
        if mode not in ("rows", "columns"):
            raise ValueError(
                f"Invalid value for argument mode: expected 'rows' or 'columns'. Received: mode={mode!r}"
            )
        self.mode = mode

    def __call__(self, x: ArrayLike) -> Any:
        wide, dtype = widened(x)
        _, _, cosines, weight = self._pairs(wide)
        return wide.dtype.type(weight * np.sum(np.abs(cosines))).astype(dtype)

    def gradient(self, x: ArrayLike) -> NDArray[Any]:
        # With rows u_i of length 1 the penalty is weight * sum over i != j of |u_i . u_j|: each pair counts
        # twice, hence the 2. A step along a row changes its length only: that part of the slope is taken out.
        wide, dtype = widened(x)
        units, norms, cosines, weight = self._pairs(wide)
        slope: NDArray[Any] = 2 * weight * (np.sign(cosines) @ units)
        slope = (slope - units * np.sum(units * slope, axis=1, keepdims=True)) / norms
        return (slope if self.mode == "rows" else slope.T).astype(dtype, copy=False)

    def _pairs(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], Any]:
        """Rows scaled to length 1, their lengths, the cosines of all pairs (0 for i = j), a pair's weight."""
        if x.ndim != 2:
            raise ValueError(
                f"Inputs to OrthogonalRegularizer must have rank 2. Received: inputs.shape={x.shape}"
            )
        rows = x if self.mode == "rows" else x.T
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        norms[norms == 0] = 1
        units = rows / norms
        cosines = units @ units.T
        np.fill_diagonal(cosines, 0)
        n = len(rows)
        pairs = n * (n - 1) / 2
        return units, norms, cosines, x.dtype.type(0.5 * self.factor / pairs if pairs else 0.0)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


class EigenvalueRegularizer(Regularizer):
    """``k`` times the largest singular value of a matrix, approximately: Keras 1's eigenvalue decay.

    Its square is the largest eigenvalue of ``C = x.T @ x``, taken as the Rayleigh quotient of
    ``C**9 @ ones``. Only Keras 1 has this class, so only a program for Keras 1 can read its config.

    Parameters
    ----------
    k : float >= 0

    Raises
    ------
    ValueError
        If ``k`` is negative or not a finite number, or if ``x`` has not two dimensions.

    Notes
    -----
    keras/regularizers.py of Keras 1.2.2; https://arxiv.org/abs/1604.06985, section 3. Computed in float64 and
    scaled, where Keras 1 left float32's range. Where ``C**9 @ ones`` is zero the penalty is 0 (Keras 1: NaN).

    Examples
    --------
    >>> x = np.array([[3.0, 0.0], [0.0, 1.0]])
    >>> float(EigenvalueRegularizer(0.5)(x).round(6)), EigenvalueRegularizer(0.5).gradient(x)[0].round(6)
    (1.5, array([0.5, 0. ]))
    """

    _ITERATIONS = 9

    def __init__(self, k: float) -> None:
        self.k = _as_factor("k", k)

    def __call__(self, x: ArrayLike) -> Any:
        wide, dtype = widened(x)
        eigenvalue, _ = self._eigenvalue(wide)
        return wide.dtype.type(self.k * math.sqrt(eigenvalue)).astype(dtype)

    def gradient(self, x: ArrayLike) -> NDArray[Any]:
        wide, dtype = widened(x)
        eigenvalue, slope = self._eigenvalue(wide)
        factor = self.k / math.sqrt(eigenvalue) if eigenvalue else 0.0
        return (factor * (wide @ slope)).astype(dtype, copy=False)

    def _eigenvalue(self, x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """The largest eigenvalue of C, and its derivative for each value of C."""
        if x.ndim != 2:
            raise ValueError(
                f"Inputs to EigenvalueRegularizer must have rank 2. Received: inputs.shape={x.shape}"
            )
        c = x.T.astype(np.float64) @ x
        # C / trace(C) has the same eigenvectors, and powers that stay in range.
        trace = float(np.trace(c)) or 1.0
        powers = [np.ones(len(c))]  # C**n @ ones
        for _ in range(2 * self._ITERATIONS):
            powers.append(c / trace @ powers[-1])
        last, n = powers[self._ITERATIONS], 2 * self._ITERATIONS
        # The quotient is sum(C**(n + 1)) / sum(C**n). The derivative of sum(C**n) is the sum over i of the
        # outer products of C**i @ ones and C**(n - 1 - i) @ ones.
        length = float(last @ last)
        if not length:
            return 0.0, np.zeros_like(c)
        quotient = float(powers[self._ITERATIONS + 1] @ last) / length
        u = np.stack(powers)
        slope = (u.T @ u[::-1] - quotient * (u[:n].T @ u[:n][::-1])) / length
        return trace * quotient, slope

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k}


# --- Names ---


def l1_l2(l1: float | None = 0.01, l2: float | None = 0.01) -> L1L2:
    """`L1L2` with Keras 2's defaults. (In Keras 3 this name is the class, whose defaults are a penalty of
    zero.)

    Examples
    --------
    >>> l1_l2(l2=0.1)
    L1L2(l1=0.01, l2=0.1)
    """
    return L1L2(l1, l2)


l1 = activity_l1 = L1
l2 = activity_l2 = L2
l1l2 = activity_l1l2 = l1_l2
WeightRegularizer = ActivityRegularizer = L1L2Regularizer = L1L2  # Keras 1
orthogonal_regularizer = OrthogonalRegularizer

_registry = Registry(
    "regularizer",
    {**subclasses_in(globals(), Regularizer), "l1_l2": l1_l2, "l1l2": l1_l2, "activity_l1l2": l1_l2},
)


def get(identifier: Any) -> Any:
    """The regularizer that ``identifier`` means.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        A name of any Keras era (case matters) or of something registered, a config of any era (see
        `deserialize`), a class to be made without arguments, or anything that is called with an array.

        ``"l1_l2"``, ``"l1l2"`` and ``"L1L2"`` mean ``L1L2(0.01, 0.01)``, as the first did in Keras 2 and
        the second in Keras 1. Keras 3 refuses the first and takes the others for a penalty of zero.

    Returns
    -------
    callable or None
        None for None.

    Raises
    ------
    ValueError
        If there is no such regularizer.

    Examples
    --------
    >>> get("l2"), get("l1_l2"), get({"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.5})
    (L2(l2=0.01), L1L2(l1=0.01, l2=0.01), L1L2(l1=0.0, l2=0.5))
    """
    if isinstance(identifier, str) and _registry.names.get(identifier) is L1L2:
        return l1_l2()
    return _registry.get(identifier)


def serialize(regularizer: Any) -> Any:
    """The config of a regularizer as Keras 3 writes it, ready for JSON.

    Raises
    ------
    TypeError
        For a lambda and for an object without ``get_config``: they cannot be written as data.

    Examples
    --------
    >>> serialize(L2(0.5))
    {'module': 'keras.regularizers', 'class_name': 'L2', 'config': {'l2': 0.5}, 'registered_name': None}
    """
    return serialize_keras_object(regularizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The regularizer that a config describes.

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
    >>> deserialize({"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.25}})
    L1L2(l1=0.0, l2=0.25)
    """
    return _registry.deserialize(config, custom_objects)

"""Learning rates that change with the steps: Keras's schedules.

Formulas and defaults: keras/src/optimizers/schedules/learning_rate_schedule.py of Keras 3.15. They are
computed in float64, where Keras computes in the dtype of the first argument: of an integer, as in
``CosineDecay(0, 1000, warmup_target=0.1, warmup_steps=100)``, it makes a learning rate of integers, which
stays 0.

>>> from fastembed.optimizers import SGD
>>> optimizer = SGD(learning_rate=ExponentialDecay(0.1, decay_steps=1000, decay_rate=0.5))
>>> optimizer.learning_rate
0.1
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastembed._registry import Configurable, Registry, serialize_keras_object, subclasses_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike


class LearningRateSchedule(Configurable):
    """Base class: called with the number of steps done so far, it returns the learning rate.

    A subclass defines ``__call__(step)`` and ``get_config()`` if it is saved.

    Examples
    --------
    >>> class Halving(LearningRateSchedule):
    ...     def __init__(self, first):
    ...         self.first = first
    ...     def __call__(self, step):
    ...         return self.first / 2 ** int(step)
    >>> Halving(0.5)(3)
    0.0625
    """

    def __call__(self, step: Any) -> Any:
        """The learning rate.

        Parameters
        ----------
        step : int
            Steps done so far; with gradient accumulation, calls of `Optimizer.apply` so far.

        Returns
        -------
        float
        """
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `__call__(self, step)`."
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as values that JSON can hold."""
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `get_config()` in order to be "
            "serializable."
        )


class _Schedule(LearningRateSchedule):
    """One of Keras's: a formula for a number, which is also applied to arrays of steps."""

    _settings: ClassVar[tuple[str, ...]]

    def __call__(self, step: ArrayLike) -> Any:
        steps = np.asarray(step, np.float64)
        if not steps.ndim:
            return self._rate(float(steps))
        return np.array([self._rate(each) for each in steps.ravel().tolist()]).reshape(steps.shape)

    def _rate(self, step: float) -> float:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._settings}


def _steps(name: str, value: float) -> float:
    if value <= 0:
        raise ValueError(f"Argument `{name}` must be > 0. Received: {name}={value!r}")
    return value


class ExponentialDecay(_Schedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int > 0
    decay_rate : float
    staircase : bool, default False
        Only whole multiples of ``decay_steps`` count.
    name : str

    Raises
    ------
    ValueError
        If ``decay_steps`` is not positive.

    Examples
    --------
    >>> schedule = ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)
    >>> schedule(10), schedule([0, 20])
    (0.05, array([0.1  , 0.025]))
    """

    _settings = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps("decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def _rate(self, step: float) -> float:
        periods = step / self.decay_steps
        return self.initial_learning_rate * math.pow(
            self.decay_rate, math.floor(periods) if self.staircase else periods
        )


class InverseTimeDecay(_Schedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    With ``decay_steps=1`` it is what ``decay=decay_rate`` was in Keras 1 and 2.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int > 0
    decay_rate : float
    staircase : bool, default False
        Only whole multiples of ``decay_steps`` count.
    name : str

    Raises
    ------
    ValueError
        If ``decay_steps`` is not positive.

    Examples
    --------
    >>> InverseTimeDecay(0.1, decay_steps=1, decay_rate=0.01)(100)
    0.05
    """

    _settings = ExponentialDecay._settings

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps("decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def _rate(self, step: float) -> float:
        periods = step / self.decay_steps
        return self.initial_learning_rate / (
            1 + self.decay_rate * (math.floor(periods) if self.staircase else periods)
        )


class PiecewiseConstantDecay(_Schedule):
    """``values[i]`` up to and including the step ``boundaries[i]``; after the last one, ``values[-1]``.

    Parameters
    ----------
    boundaries : list of int
        Ascending.
    values : list of float
        One more than boundaries.
    name : str

    Raises
    ------
    ValueError
        If the lengths do not fit, or the boundaries do not ascend (of those Keras adds several values up).

    Examples
    --------
    >>> schedule = PiecewiseConstantDecay([100, 110], [1.0, 0.5, 0.1])
    >>> schedule(100), schedule(101), schedule(111)
    (1.0, 0.5, 0.1)
    """

    _settings = ("boundaries", "values", "name")

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "The length of boundaries should be 1 less than the length of values. Received: "
                f"boundaries={boundaries} of length {len(boundaries)}, and values={values} of length "
                f"{len(values)}."
            )
        if any(after <= before for before, after in zip(boundaries, boundaries[1:])):
            raise ValueError(f"The boundaries should ascend. Received: boundaries={boundaries}")
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def _rate(self, step: float) -> float:
        return float(self.values[bisect_left(self.boundaries, step)])


class PolynomialDecay(_Schedule):
    """``(initial - end) * (1 - step / decay_steps) ** power + end``, and ``end`` after ``decay_steps``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int > 0
    end_learning_rate : float, default 0.0001
    power : float, default 1.0
    cycle : bool, default False
        Take the next multiple of ``decay_steps`` that ``step`` does not exceed for ``decay_steps``.
    name : str

    Raises
    ------
    ValueError
        If ``decay_steps`` is not positive.

    Examples
    --------
    >>> PolynomialDecay(0.1, decay_steps=100, end_learning_rate=0.0, power=2.0)(50)
    0.025
    """

    _settings = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps("decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def _rate(self, step: float) -> float:
        steps = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(step / steps))
        left = 1 - min(step, steps) / steps
        return (self.initial_learning_rate - self.end_learning_rate) * math.pow(
            left, self.power
        ) + self.end_learning_rate


class CosineDecay(_Schedule):
    """Half a cosine from the first learning rate down to ``alpha`` times it, after an optional warmup.

    Over ``warmup_steps`` the learning rate goes straight from ``initial_learning_rate`` to
    ``warmup_target``; from there, or from ``initial_learning_rate`` without a target, it is
    ``first * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int > 0
    alpha : float, default 0.0
    name : str
    warmup_target : float, optional
        None: there is no warmup.
    warmup_steps : int, default 0

    Raises
    ------
    ValueError
        If ``decay_steps`` is not positive.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.

    Examples
    --------
    >>> schedule = CosineDecay(0.0, decay_steps=100, warmup_target=0.1, warmup_steps=10)
    >>> schedule(5), schedule(10), round(schedule(60), 9), schedule(110)
    (0.05, 0.1, 0.05, 0.0)
    """

    _settings = (
        "initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps",
    )  # fmt: skip

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps("decay_steps", decay_steps)
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def _rate(self, step: float) -> float:
        first = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return first + (self.warmup_target - first) * step / self.warmup_steps
            first, step = self.warmup_target, step - self.warmup_steps
        return first * _half_cosine(min(step, self.decay_steps) / self.decay_steps, self.alpha)


def _half_cosine(fraction: float, alpha: float, height: float = 1.0) -> float:
    return (1 - alpha) * 0.5 * height * (1 + math.cos(math.pi * fraction)) + alpha


class CosineDecayRestarts(_Schedule):
    """`CosineDecay` that begins again: each period ``t_mul`` times as long and ``m_mul`` times as high.

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : int > 0
    t_mul, m_mul : float, default 2.0 and 1.0
    alpha : float, default 0.0
    name : str

    Raises
    ------
    ValueError
        If ``first_decay_steps`` or ``t_mul`` is not positive; when called for a step at which a ``t_mul``
        below 1 has left no period (there Keras's learning rate is NaN).

    Examples
    --------
    >>> schedule = CosineDecayRestarts(0.1, first_decay_steps=10)
    >>> schedule(0), round(schedule(5), 9), schedule(10), schedule(30)
    (0.1, 0.05, 0.1, 0.1)
    """

    _settings = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _steps("first_decay_steps", first_decay_steps)
        self.t_mul = _steps("t_mul", t_mul)
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def _rate(self, step: float) -> float:
        periods, fraction = self._periods(step / self.first_decay_steps)
        return self.initial_learning_rate * _half_cosine(fraction, self.alpha, math.pow(self.m_mul, periods))

    def _periods(self, lengths: float) -> tuple[float, float]:
        """Periods that are over after this many lengths of the first, and how much of the next one is."""
        t = self.t_mul
        if t == 1:
            return math.floor(lengths), lengths % 1

        if lengths * (1 - t) >= 1:
            raise ValueError(
                f"With t_mul={t} all periods together take {self.first_decay_steps / (1 - t):g} steps; there "
                "is no learning rate after them"
            )

        def begins(period: int) -> float:
            return (1 - t**period) / (1 - t)

        period = math.floor(math.log(1 - lengths * (1 - t)) / math.log(t))
        while begins(period + 1) <= lengths:
            period += 1
        while begins(period) > lengths:
            period -= 1
        return period, (lengths - begins(period)) / t**period


_registry = Registry(
    "learning rate schedule",
    subclasses_in(globals(), LearningRateSchedule),
    module="keras.optimizers.schedules",
)


def serialize(learning_rate_schedule: Any) -> Any:
    """The config of a schedule as Keras 3 writes it, ready for JSON.

    Raises
    ------
    TypeError
        For a lambda and for an object without ``get_config``: they cannot be written as data.

    Examples
    --------
    >>> serialize(InverseTimeDecay(0.1, 1, 0.5))["class_name"]
    'InverseTimeDecay'
    """
    return serialize_keras_object(learning_rate_schedule)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The schedule that a config of any Keras describes.

    Parameters
    ----------
    config : None, str or dict
        ``{"class_name", "config"}``, with or without ``"module"`` and ``"registered_name"``.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If the class is unknown or does not take these settings. Nothing that it names is imported.

    Examples
    --------
    >>> deserialize(serialize(InverseTimeDecay(0.1, 1, 0.5)))(1)
    0.06666666666666667
    """
    return _registry.deserialize(config, custom_objects)

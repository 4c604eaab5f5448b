"""Optimizers that divide a gradient by the root of past gradients' squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastembed.dtypes import epsilon as default_epsilon
from fastembed.optimizers.ledger import Rule
from fastembed.optimizers.optimizer import LearningRate, Optimizer, Settings, of_every_keras
from fastembed.variable import Variable

if TYPE_CHECKING:
    from typing_extensions import Unpack


def or_default(epsilon: float | None) -> float:
    """``epsilon``; None, as Keras 2 had it, stands for `fastembed.backend.epsilon`."""
    return default_epsilon() if epsilon is None else epsilon


class Adagrad(Optimizer):
    """``a += g**2``, ``w -= learning_rate * g / sqrt(a + epsilon)``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    initial_accumulator_value : float, default 0.1
        What ``a`` is at first.
    epsilon : float, default 1e-7
    **settings
        See `Optimizer`.

    Raises
    ------
    ValueError
        If ``initial_accumulator_value`` is negative.

    References
    ----------
    Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic
       optimization, JMLR 12, 2011.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0])
    >>> Adagrad(0.1, initial_accumulator_value=0.0).apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.9, 1. ], dtype=float32)
    """

    _own = ("initial_accumulator_value", "epsilon")
    _rule_name = "adagrad"

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float | None = 1e-7,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.initial_accumulator_value = not_negative("initial_accumulator_value", initial_accumulator_value)
        self.epsilon = or_default(epsilon)

    def _rule(self) -> Rule:
        return Rule(self._rule_name, {"epsilon": self.epsilon}, ("accumulator",))

    def _slot(self, variable: Variable, name: str) -> Variable:
        return self._beside(variable, name, variable.shape, self.initial_accumulator_value)


class RowWiseAdagrad(Adagrad):
    """Adagrad with one number for each row: ``a += mean(g**2)`` over the row.

    A table of 1M x 64 needs 4 MB of state, where Adagrad needs 256 MB and Adam 512 MB. Keras has none of
    this name; it is what large recommendation models train their tables with.

    Parameters
    ----------
    learning_rate, initial_accumulator_value, epsilon, **settings
        See `Adagrad`.

    References
    ----------
    Naumov et al., Deep learning recommendation model for personalization and recommendation systems,
       2019, arXiv:1906.00091.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([[1.0, 1.0], [1.0, 1.0]], name="embeddings")
    >>> optimizer = RowWiseAdagrad(0.1, initial_accumulator_value=0.0, name="by_row")
    >>> optimizer.apply([[[3.0, 4.0], [0.0, 0.0]]], [variable])
    >>> optimizer.variables[-1]
    <Variable path=by_row/embeddings_accumulator, shape=(2,), dtype=float32>
    >>> optimizer.variables[-1].numpy(), variable.numpy().round(4)
    (array([12.5,  0. ], dtype=float32), array([[0.9151, 0.8869],
           [1.    , 1.    ]], dtype=float32))
    """

    _rule_name = "rowwise_adagrad"

    def _slot(self, variable: Variable, name: str) -> Variable:
        return self._beside(variable, name, variable.shape[:1], self.initial_accumulator_value)


class RMSprop(Optimizer):
    """``v = rho * v + (1 - rho) * g**2``, ``w -= learning_rate * g / sqrt(v + epsilon)``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    rho : float, default 0.9
    momentum : float, default 0.0
        If it is not 0, ``m = momentum * m + (that step)`` and ``w -= m``.
    epsilon : float, default 1e-7
    centered : bool, default False
        Take away the square of ``a = rho * a + (1 - rho) * g`` from ``v`` under the root.
    **settings
        See `Optimizer`.

    References
    ----------
    Hinton, Neural networks for machine learning, lecture 6e, 2012.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0])
    >>> RMSprop(0.1, rho=0.75).apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.8, 1. ], dtype=float32)
    """

    _own = ("rho", "momentum", "epsilon", "centered")

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float | None = 1e-7,
        centered: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.rho = rho
        self.momentum = not_negative("momentum", momentum)
        self.epsilon = or_default(epsilon)
        self.centered = centered

    def _rule(self) -> Rule:
        name, slots = "rmsprop", ["velocity"]
        constants = {"rho": self.rho, "epsilon": self.epsilon}
        if self.centered:
            name, slots = f"{name}_centered", [*slots, "average_gradient"]
        if self.momentum:
            name, slots = f"{name}_momentum", [*slots, "momentum"]
            constants["momentum"] = self.momentum
        return Rule(name, constants, tuple(slots))

    def _slot_groups(self, rule: Rule) -> Sequence[tuple[str, ...]]:
        return [(slot,) for slot in ("velocity", "momentum", "average_gradient") if slot in rule.slots]


class Adadelta(Optimizer):
    """``a = rho * a + (1 - rho) * g**2``, ``D = -sqrt(d + epsilon) / sqrt(a + epsilon) * g``.

    Then ``d = rho * d + (1 - rho) * D**2`` and ``w += learning_rate * D``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
        The paper, and Keras 1 and 2, have 1.0.
    rho : float, default 0.95
    epsilon : float, default 1e-7
    **settings
        See `Optimizer`.

    References
    ----------
    Zeiler, ADADELTA: an adaptive learning rate method, 2012, arXiv:1212.5701.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0])
    >>> Adadelta(1.0, epsilon=1e-4).apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.9553, 1.    ], dtype=float32)
    """

    _own = ("rho", "epsilon")

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.95,
        epsilon: float | None = 1e-7,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.rho = rho
        self.epsilon = or_default(epsilon)

    def _rule(self) -> Rule:
        constants = {"rho": self.rho, "epsilon": self.epsilon}
        return Rule("adadelta", constants, ("accumulated_grad", "accumulated_delta_var"))


class Ftrl(Optimizer):
    """Follow the regularized leader: weights that come from sums over all gradients.

    With ``p = -learning_rate_power`` and ``n`` the sum of the squares, ``z`` gathers
    ``g + 2 * l2_shrinkage * w - ((n + g**2)**p - n**p) / learning_rate * w``, and the weight is
    ``(clip(z, -l1, l1) - z) / (n**p / learning_rate + 2 * l2 + beta / learning_rate)``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    learning_rate_power : float <= 0, default -0.5
    initial_accumulator_value : float >= 0, default 0.1
        What ``n`` is at first.
    l1_regularization_strength, l2_regularization_strength : float >= 0, default 0.0
    l2_shrinkage_regularization_strength : float >= 0, default 0.0
    beta : float, default 0.0
    **settings
        See `Optimizer`.

    Raises
    ------
    ValueError
        If a number is out of its bounds.

    Notes
    -----
    The weights are made of ``z`` at the first step: those of rows without a gradient become 0, whatever they
    were before. This is Keras's, and the paper's.

    References
    ----------
    McMahan et al., Ad click prediction: a view from the trenches, KDD 2013.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0])
    >>> Ftrl(0.1).apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.8684, 0.    ], dtype=float32)
    """

    _own = (
        "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
        "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta",
    )  # fmt: skip

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        if learning_rate_power > 0.0:
            raise ValueError(
                "`learning_rate_power` needs to be negative or zero. Received: "
                f"learning_rate_power={learning_rate_power}."
            )
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = not_negative("initial_accumulator_value", initial_accumulator_value)
        self.l1_regularization_strength = not_negative(
            "l1_regularization_strength", l1_regularization_strength
        )
        self.l2_regularization_strength = not_negative(
            "l2_regularization_strength", l2_regularization_strength
        )
        self.l2_shrinkage_regularization_strength = not_negative(
            "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength
        )
        self.beta = beta

    def _rule(self) -> Rule:
        constants = {
            "learning_rate_power": self.learning_rate_power,
            "l1": self.l1_regularization_strength,
            "l2": self.l2_regularization_strength,
            "l2_shrinkage": self.l2_shrinkage_regularization_strength,
            "beta": self.beta,
        }
        return Rule("ftrl", constants, ("accumulator", "linear"))

    def _slot(self, variable: Variable, name: str) -> Variable:
        first = self.initial_accumulator_value if name == "accumulator" else 0.0
        return self._beside(variable, name, variable.shape, first)


def not_negative(name: str, value: float) -> float:
    """``value``, or the error that it is below 0."""
    if value < 0.0:
        raise ValueError(f"`{name}` needs to be positive or zero. Received: {name}={value}.")
    return value

"""Optimizers that estimate the first two moments of the gradients: Adam and its relatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fastembed.optimizers.adagrad import or_default
from fastembed.optimizers.ledger import Rule
from fastembed.optimizers.optimizer import (
    LearningRate,
    Optimizer,
    Settings,
    SettingsBesideDecay,
    of_every_keras,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fastembed.variable import Variable


class _OfMoments(Optimizer):
    """What the optimizers of this family have in common: ``beta_1``, ``beta_2`` and ``epsilon``."""

    _own: ClassVar[tuple[str, ...]] = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: LearningRate,
        beta_1: float,
        beta_2: float,
        epsilon: float | None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        for name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(
                    f"`{name}` must be at least 0 and below 1: the steps divide by 1 - {name}**t. Received: "
                    f"{name}={beta!r}"
                )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = or_default(epsilon)

    def _constants(self) -> dict[str, float]:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


class Adam(_OfMoments):
    """Steps of the first moment over the root of the second.

    ``m += (1 - beta_1) * (g - m)``, ``v += (1 - beta_2) * (g**2 - v)``, and in step t
    ``w -= learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    beta_1, beta_2 : float from 0 to below 1, default 0.9 and 0.999
    epsilon : float, default 1e-7
        The paper's "epsilon hat", below section 2.1, not that of its algorithm 1.
    amsgrad : bool, default False
        Take the largest ``v`` so far.
    **settings
        See `Optimizer`.

    Raises
    ------
    ValueError
        If a beta is out of its bounds.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, arXiv:1412.6980.
    Reddi, Kale and Kumar, On the convergence of Adam and beyond, ICLR 2018.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0])
    >>> optimizer = Adam(0.1)
    >>> optimizer.apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.9, 1. ], dtype=float32)
    >>> optimizer.apply([[0.0, 0.0]], [variable])  # the first moment goes on
    >>> variable.numpy().round(4)
    array([0.833, 1.   ], dtype=float32)
    """

    _own = (*_OfMoments._own, "amsgrad")

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **settings)
        self.amsgrad = amsgrad

    def _rule(self) -> Rule:
        if self.amsgrad:
            return Rule("amsgrad", self._constants(), ("momentum", "velocity", "velocity_hat"))
        return Rule("adam", self._constants(), ("momentum", "velocity"))

    def _slot_groups(self, rule: Rule) -> Sequence[tuple[str, ...]]:
        return [rule.slots[:2], rule.slots[2:]]

    def _numbers(self, learning_rate: float, step: int) -> tuple[float, ...]:
        return (learning_rate * math.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step),)


class AdamW(Adam):
    """`Adam` whose weights decay beside the gradient instead of within it.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    weight_decay : float, default 0.004
    beta_1, beta_2, epsilon, amsgrad, **settings
        See `Adam` and `Optimizer`.

    Raises
    ------
    ValueError
        If ``weight_decay`` is None.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, arXiv:1711.05101.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0])
    >>> AdamW(0.1, weight_decay=0.5).apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.85, 0.95], dtype=float32)
    """

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        **settings: Unpack[SettingsBesideDecay],
    ) -> None:
        if weight_decay is None:
            raise ValueError("Argument `weight_decay` must be a float. Received: weight_decay=None")
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **settings
        )


class Adamax(_OfMoments):
    """`Adam` with the largest of the decayed gradients instead of the second moment.

    ``m += (1 - beta_1) * (g - m)``, ``u = max(beta_2 * u, abs(g))``, and in step t
    ``w -= learning_rate / (1 - beta_1**t) * m / (u + epsilon)``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    beta_1, beta_2 : float from 0 to below 1, default 0.9 and 0.999
    epsilon : float, default 1e-7
    **settings
        See `Optimizer`.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, section 7.1, arXiv:1412.6980.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0])
    >>> Adamax(0.1).apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.9, 1. ], dtype=float32)
    """

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **settings)

    def _rule(self) -> Rule:
        return Rule("adamax", self._constants(), ("momentum", "norm"))

    def _numbers(self, learning_rate: float, step: int) -> tuple[float, ...]:
        return (learning_rate / (1 - self.beta_1**step),)


class Nadam(_OfMoments):
    """`Adam` with Nesterov's momentum.

    With ``u_t = beta_1 * (1 - 0.96**t / 2)`` and ``P_t`` the product of ``u_1`` to ``u_t``, step t takes
    ``u_{t+1} * m / (1 - P_{t+1}) + (1 - u_t) * g / (1 - P_t)`` in the place of Adam's corrected m.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    beta_1, beta_2 : float from 0 to below 1, default 0.9 and 0.999
    epsilon : float, default 1e-7
    schedule_decay : float, default 1.0
        In Keras 1 and 2 it is ``0.96**(t * schedule_decay)``, and 0.004 their default. Keras 3 has none.
    **settings
        See `Optimizer`.

    References
    ----------
    Dozat, Incorporating Nesterov momentum into Adam, 2015.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0])
    >>> Nadam(0.1).apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.8937, 1.    ], dtype=float32)
    """

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        *,
        schedule_decay: float = 1.0,
        **settings: Unpack[Settings],
    ) -> None:
        if "decay" in settings:  # what tf.keras 2.10 and earlier called it
            schedule_decay = settings.pop("decay")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **settings)
        self.schedule_decay = schedule_decay

    def _rule(self) -> Rule:
        return Rule("nadam", self._constants(), ("momentum", "velocity"))

    def _number_slots(self, variables: Sequence[Variable]) -> list[Variable]:
        dtype = "float64" if variables and variables[0].dtype == "float64" else "float32"
        self._product = self._number(1.0, "variable", dtype)
        return [self._product]

    def _number_slots_after(self, steps: int) -> list[float]:
        product = 1.0
        for step in range(1, steps + 1):
            product *= self._u(step)
            if product == 0:
                break
        return [product]

    def _u(self, step: int) -> float:
        decayed: float = 0.96 ** (step * self.schedule_decay)
        return self.beta_1 * (1 - 0.5 * decayed)

    def _numbers(self, learning_rate: float, step: int) -> tuple[float, ...]:
        now, next_one = self._u(step), self._u(step + 1)
        product = self._product.number * now
        return (
            learning_rate * next_one / (1 - product * next_one),
            learning_rate * (1 - now) / (1 - product),
            math.sqrt(1 - self.beta_2**step),
        )

    def _done(self, step: int) -> None:
        self._product.number *= self._u(step)

    def get_config(self) -> dict[str, Any]:
        said = {} if self.schedule_decay == 1 else {"schedule_decay": self.schedule_decay}
        return {**super().get_config(), **said}


class Lamb(_OfMoments):
    """`Adam` whose steps are scaled to the size of the variable.

    ``r = m / (1 - beta_1**t) / (sqrt(v / (1 - beta_2**t)) + epsilon)``, and
    ``w -= learning_rate * norm(w) / norm(r) * r``; the quotient is 1 where one of the norms is 0.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    beta_1, beta_2 : float from 0 to below 1, default 0.9 and 0.999
    epsilon : float, default 1e-7
    **settings
        See `Optimizer`; ``lazy`` cannot be: the norms are those of all rows.

    Raises
    ------
    ValueError
        If a beta is out of its bounds, or with ``lazy=True``.

    References
    ----------
    You et al., Large batch optimization for deep learning: training BERT in 76 minutes, ICLR 2020,
       arXiv:1904.00962.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([3.0, 4.0])
    >>> Lamb(0.1).apply([[10.0, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([2.5, 4. ], dtype=float32)
    """

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        **settings: Unpack[Settings],
    ) -> None:
        if settings.get("lazy"):
            raise ValueError(
                "Lamb cannot be lazy: a step is scaled by norms of all rows. Received: lazy=True. "
                "Adam(lazy=True) leaves rows without a gradient as they are"
            )
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **settings)

    def _rule(self) -> Rule:
        return Rule("lamb", self._constants(), ("momentum", "velocity"))

    def _numbers(self, learning_rate: float, step: int) -> tuple[float, ...]:
        return learning_rate, 1 - self.beta_1**step, 1 - self.beta_2**step

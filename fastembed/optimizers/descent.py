"""Optimizers that go a step of the learning rate's size: SGD and Lion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastembed import eras
from fastembed.optimizers.ledger import Rule
from fastembed.optimizers.optimizer import LearningRate, Optimizer, Settings, of_every_keras

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SGD(Optimizer):
    """Gradient descent: ``w -= learning_rate * g``.

    With momentum, ``m = momentum * m - learning_rate * g``, and then ``w += m``, or with ``nesterov``
    ``w += momentum * m - learning_rate * g``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.01
    momentum : float from 0.0 to 1.0, default 0.0
    nesterov : bool, default False
    **settings
        See `Optimizer`.

    Raises
    ------
    ValueError
        If ``momentum`` is not such a float.

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0])
    >>> optimizer = SGD(0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.apply([[1.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.75], dtype=float32)
    """

    _own = ("momentum", "nesterov")

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        number = eras.current().as_float(momentum)
        if number is None or not 0 <= number <= 1:
            raise ValueError(f"`momentum` must be a float between [0, 1]. Received: momentum={momentum!r}")
        self.momentum = number
        self.nesterov = nesterov

    def _rule(self) -> Rule:
        if not self.momentum:
            return Rule("sgd", {}, ())
        name = "nesterov" if self.nesterov else "momentum"
        return Rule(name, {"momentum": self.momentum}, ("momentum",))


class Lion(Optimizer):
    """Steps of one size: ``w -= learning_rate * sign(beta_1 * m + (1 - beta_1) * g)``.

    Then ``m = beta_2 * m + (1 - beta_2) * g``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001
    beta_1 : float above 0.0, at most 1.0, default 0.9
    beta_2 : float, default 0.99
    **settings
        See `Optimizer`.

    Raises
    ------
    ValueError
        If ``beta_1`` is out of its bounds.

    Notes
    -----
    A row without gradients goes on moving by the full learning rate until its ``m`` is 0, which takes some
    8000 steps: that is the rule, and dense Keras does it too. `Optimizer`'s ``lazy=True`` leaves it alone.

    References
    ----------
    Chen et al., Symbolic discovery of optimization algorithms, 2023, arXiv:2302.06675.

    Examples
    --------
    >>> from fastembed import Variable
    >>> variable = Variable([1.0, 1.0, 1.0])
    >>> Lion(0.1).apply([[30.0, -0.5, 0.0]], [variable])
    >>> variable.numpy().round(4)
    array([0.9, 1.1, 1. ], dtype=float32)
    """

    _own = ("beta_1", "beta_2")

    @of_every_keras
    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(learning_rate, **settings)
        if beta_1 <= 0 or beta_1 > 1:
            raise ValueError(
                "Argument `beta_1` must be in the [0, 1] range. Otherwise, the optimizer degenerates to "
                f"SignSGD. Received: beta_1={beta_1}."
            )
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def _rule(self) -> Rule:
        return Rule("lion", {"beta_1": self.beta_1, "beta_2": self.beta_2}, ("momentum",))

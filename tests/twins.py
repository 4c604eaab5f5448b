"""Plain NumPy twins of the optimizers: every row is moved at every step, as dense Keras does.

`step` is one step of one rule, in place and in the arrays' own dtype. `Dense` is an optimizer around it,
which computes the numbers of each step from the hyperparameters, in float64, so that thousands of steps in
float64 and in float32 can run beside the optimizer under test.
"""

from __future__ import annotations

import math

import numpy as np

# The constants of each rule with Keras 3's defaults.
CONSTANTS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "rmsprop": {"rho": 0.9, "epsilon": 1e-7},
    "rmsprop_centered": {"rho": 0.9, "epsilon": 1e-7},
    "rmsprop_momentum": {"rho": 0.9, "momentum": 0.9, "epsilon": 1e-7},
    "rmsprop_centered_momentum": {"rho": 0.9, "momentum": 0.9, "epsilon": 1e-7},
    "adagrad": {"epsilon": 1e-7},
    "rowwise_adagrad": {"epsilon": 1e-7},
    "adadelta": {"rho": 0.95, "epsilon": 1e-7},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "amsgrad": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "adamax": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "nadam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "ftrl": {"learning_rate_power": -0.5, "l1": 0.0, "l2": 0.0, "l2_shrinkage": 0.0, "beta": 0.0},
    "lion": {"beta_1": 0.9, "beta_2": 0.99},
    "lamb": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
}

# The slots of each rule, in the order in which `step` takes them.
SLOTS = {
    "sgd": (),
    "momentum": ("momentum",),
    "nesterov": ("momentum",),
    "rmsprop": ("velocity",),
    "rmsprop_centered": ("velocity", "average_gradient"),
    "rmsprop_momentum": ("velocity", "momentum"),
    "rmsprop_centered_momentum": ("velocity", "average_gradient", "momentum"),
    "adagrad": ("accumulator",),
    "rowwise_adagrad": ("accumulator",),
    "adadelta": ("accumulated_grad", "accumulated_delta_var"),
    "adam": ("momentum", "velocity"),
    "amsgrad": ("momentum", "velocity", "velocity_hat"),
    "adamax": ("momentum", "norm"),
    "nadam": ("momentum", "velocity"),
    "ftrl": ("accumulator", "linear"),
    "lion": ("momentum",),
    "lamb": ("momentum", "velocity"),
}


def step(rule, constants, numbers, decay, w, slots, g) -> None:
    """One dense step of ``rule``: changes ``w`` and ``slots`` in place, in their own dtype.

    ``constants`` and ``numbers`` are Python's floats: NumPy's float64 would widen what is computed.
    """
    g = np.asarray(g, w.dtype)
    if decay:
        w -= w * decay
    with np.errstate(all="ignore"):
        _RULES[rule](constants, numbers, w, slots, g)


def _sgd(c, numbers, w, slots, g):
    (lr,) = numbers
    w -= lr * g


def _momentum(c, numbers, w, slots, g):
    (lr,), (m,), mu = numbers, slots, c["momentum"]
    m[...] = mu * m - lr * g
    w += m


def _nesterov(c, numbers, w, slots, g):
    (lr,), (m,), mu = numbers, slots, c["momentum"]
    m[...] = mu * m - lr * g
    w += mu * m - lr * g


def _rmsprop(c, numbers, w, slots, g):
    """All four kinds: what there is of ``a`` and ``m`` decides."""
    (lr,), rho, slots = numbers, c["rho"], list(slots)
    v = slots.pop(0)
    v[...] = rho * v + (1 - rho) * (g * g)
    denominator = v + c["epsilon"]
    if len(slots) == 2 or (slots and "momentum" not in c):
        a = slots.pop(0)
        a[...] = rho * a + (1 - rho) * g
        denominator = v - a * a + c["epsilon"]
    increment = lr * g / np.sqrt(denominator)
    if slots:
        (m,) = slots
        m[...] = c["momentum"] * m + increment
        increment = m
    w -= increment


def _adagrad(c, numbers, w, slots, g):
    (lr,), (a,) = numbers, slots
    a += g * g
    w -= lr * g / np.sqrt(a + c["epsilon"])


def _rowwise_adagrad(c, numbers, w, slots, g):
    (lr,), (a,) = numbers, slots
    a += np.mean(g * g, axis=tuple(range(1, g.ndim)))
    w -= lr * g / np.sqrt(a + c["epsilon"]).reshape(a.shape + (1,) * (g.ndim - a.ndim))


def _adadelta(c, numbers, w, slots, g):
    (lr,), (a, d), rho, epsilon = numbers, slots, c["rho"], c["epsilon"]
    a[...] = rho * a + (1 - rho) * (g * g)
    delta = -np.sqrt(d + epsilon) * g / np.sqrt(a + epsilon)
    d[...] = rho * d + (1 - rho) * (delta * delta)
    w += lr * delta


def _moments(c, m, v, g):
    m += (g - m) * (1 - c["beta_1"])
    v += (g * g - v) * (1 - c["beta_2"])


def _adam(c, numbers, w, slots, g):
    (alpha,), (m, v) = numbers, slots
    _moments(c, m, v, g)
    w -= m * alpha / (np.sqrt(v) + c["epsilon"])


def _amsgrad(c, numbers, w, slots, g):
    (alpha,), (m, v, largest) = numbers, slots
    _moments(c, m, v, g)
    largest[...] = np.maximum(largest, v)
    w -= m * alpha / (np.sqrt(largest) + c["epsilon"])


def _adamax(c, numbers, w, slots, g):
    (alpha,), (m, u) = numbers, slots
    m += (g - m) * (1 - c["beta_1"])
    u[...] = np.maximum(c["beta_2"] * u, np.abs(g))
    w -= alpha * m / (u + c["epsilon"])


def _nadam(c, numbers, w, slots, g):
    (of_moment, of_gradient, root), (m, v) = numbers, slots
    _moments(c, m, v, g)
    w -= (of_moment * m + of_gradient * g) / (np.sqrt(v) / root + c["epsilon"])


def _ftrl(c, numbers, w, slots, g):
    (lr,), (n, z), power = numbers, slots, -c["learning_rate_power"]
    new = n + g * g
    z += g + 2 * c["l2_shrinkage"] * w - (new**power - n**power) / lr * w
    l2 = c["l2"] + c["beta"] / (2 * lr)
    w[...] = (np.clip(z, -c["l1"], c["l1"]) - z) / (new**power / lr + 2 * l2)
    n[...] = new


def _lion(c, numbers, w, slots, g):
    (lr,), (m,) = numbers, slots
    w -= lr * np.sign(m * c["beta_1"] + g * (1 - c["beta_1"]))
    m[...] = m * c["beta_2"] + g * (1 - c["beta_2"])


def _lamb(c, numbers, w, slots, g):
    (lr, of_m, of_v), (m, v) = numbers, slots
    _moments(c, m, v, g)
    update = m / of_m / (np.sqrt(v / of_v) + c["epsilon"])
    norms = np.sqrt(np.sum(w * w)), np.sqrt(np.sum(update * update))
    ratio = norms[0] / norms[1] if norms[0] > 0 and norms[1] > 0 else 1.0
    w -= ratio * lr * update


_RULES = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "rmsprop": _rmsprop,
    "rmsprop_centered": _rmsprop,
    "rmsprop_momentum": _rmsprop,
    "rmsprop_centered_momentum": _rmsprop,
    "adagrad": _adagrad,
    "rowwise_adagrad": _rowwise_adagrad,
    "adadelta": _adadelta,
    "adam": _adam,
    "amsgrad": _amsgrad,
    "adamax": _adamax,
    "nadam": _nadam,
    "ftrl": _ftrl,
    "lion": _lion,
    "lamb": _lamb,
}


class Dense:
    """An optimizer of one array ``w`` (a copy of what it is given, in ``dtype``) by one rule.

    ``learning_rate`` is a number or a function of the steps done so far. Constants that are not given are
    those of `CONSTANTS`; ``initial_accumulator_value`` is what adagrad's and ftrl's accumulator starts with.

    >>> twin = Dense("sgd", [1.0, 2.0], learning_rate=0.5)
    >>> twin.step(np.array([1.0, 0.0]))
    >>> twin.w
    array([0.5, 2. ])
    """

    def __init__(
        self,
        rule,
        w,
        dtype="float64",
        *,
        learning_rate=0.001,
        weight_decay=None,
        initial_accumulator_value=0.1,
        **constants,
    ):
        unknown = constants.keys() - CONSTANTS[rule].keys()
        assert not unknown, f"{rule} has no constants {unknown}"
        self.rule = rule
        self.constants = {**CONSTANTS[rule], **constants}
        self.w = np.array(w, dtype)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay or 0.0
        self.steps = 0
        self.u_product = 1.0  # nadam's
        shape = self.w.shape[:1] if rule == "rowwise_adagrad" else self.w.shape
        self.slots = {
            name: np.full(shape, initial_accumulator_value if name == "accumulator" else 0.0, dtype)
            for name in SLOTS[rule]
        }

    def step(self, gradient) -> None:
        """Move by one dense gradient."""
        lr = float(self.learning_rate(self.steps) if callable(self.learning_rate) else self.learning_rate)
        decay, slots = self.weight_decay * lr, list(self.slots.values())
        step(self.rule, self.constants, self.numbers(lr), decay, self.w, slots, gradient)
        self.steps += 1

    def numbers(self, lr):
        """The numbers of the next step, from float64's powers and products."""
        t, c = self.steps + 1, self.constants
        if self.rule in ("adam", "amsgrad"):
            return (lr * math.sqrt(1 - c["beta_2"] ** t) / (1 - c["beta_1"] ** t),)
        if self.rule == "adamax":
            return (lr / (1 - c["beta_1"] ** t),)
        if self.rule == "nadam":
            now, after = (c["beta_1"] * (1 - 0.5 * 0.96**s) for s in (t, t + 1))
            self.u_product *= now
            return (
                lr * after / (1 - self.u_product * after),
                lr * (1 - now) / (1 - self.u_product),
                math.sqrt(1 - c["beta_2"] ** t),
            )
        if self.rule == "lamb":
            return lr, 1 - c["beta_1"] ** t, 1 - c["beta_2"] ** t
        return (lr,)

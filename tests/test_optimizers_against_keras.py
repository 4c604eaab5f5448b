"""Every optimizer beside real Keras 3 on JAX: from the same weights and gradients to the same weights.

Ours is given the gradient of a table as `IndexedSlices` whose rows repeat, Keras the sum of them, dense. Rows
are left alone for a long time, some for ever. Keras's steps are compiled as one program, which tells the
weights after each of them; ours are read only now and then, so that moves are owed in between.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from twins import Dense
from two_libraries import Raised, make, process

import fastembed
from fastembed import IndexedSlices

if not all(map(importlib.util.find_spec, ("keras", "jax"))):
    pytest.skip("real Keras and JAX are not installed (they need NumPy 2)", allow_module_level=True)

STEPS = 200
SHAPES = {"embeddings": (40, 5), "kernel": (5, 3)}
READ = (0, 1, 2, 30, 31, 100, 101, 170, STEPS - 1)  # after these steps our weights are looked at


@pytest.fixture(scope="module")
def keras():
    with process("keras", "jax") as ask:
        yield ask


@dataclass(frozen=True)
class Setting:
    """An optimizer, as both libraries spell it, and what else is said about the training."""

    optimizer: str
    constraint: str = ""  # of the table
    regularizer: str = ""  # of the table
    rates: dict[int, float] = field(default_factory=dict)  # learning rates that are set before some steps
    exclude: tuple[str, str] = ("", "")  # from weight decay: by which argument, which variable
    absent: tuple[int, int] = (0, 0)  # steps in which the table has no gradient
    dense: tuple[int, int] = (0, 0)  # steps in which the gradient of the table is given densely
    scale: float = 1.0  # of the gradients
    dtype: str = "float32"

    def __str__(self) -> str:
        said = [re.sub(r"\w+s\.", "", x) for x in (self.optimizer, self.constraint, self.regularizer) if x]
        said += [f"{k}={v}" for k, v in vars(self).items() if k not in _SAID and v != getattr(Setting, k, {})]
        return "; ".join(said)

    def edges(self) -> list[int]:
        """Where a run of equal steps ends and another begins."""
        return sorted({0, *self.rates, *self.absent, *self.dense, STEPS})


_SAID = ("optimizer", "constraint", "regularizer")


@functools.lru_cache(None)
def training(scale, dtype):
    """First weights, and of each step the ids, the rows of their gradients, and the dense gradients."""
    rng = np.random.default_rng(5)
    weights = [rng.uniform(-1, 1, shape).astype(dtype) for shape in SHAPES.values()]
    ids = np.minimum(rng.geometric(0.12, (STEPS, 14)), 30)  # rows from 31 are never touched, and 0 once more
    ids[::3, :4] = ids[::3, 4:8]
    ids[3:190][(ids[3:190] > 20) | (ids[3:190] < 3)] = 7  # their rows wait for long
    ids[150] = 0
    size = 10.0 ** rng.uniform(-3, 0, (SHAPES["embeddings"][0], 1))  # each row has gradients of its own size
    rows = (scale * rng.standard_normal((*ids.shape, 5)) * size[ids]).astype(dtype)
    of_kernel = (scale * rng.standard_normal((STEPS, *SHAPES["kernel"]))).astype(dtype)
    of_table = np.zeros((STEPS, *SHAPES["embeddings"]), dtype)
    for dense, *each in zip(of_table, ids, rows):
        np.add.at(dense, *each)
    return weights, ids, rows, of_table, of_kernel


def built(library, setting, variables):
    """The optimizer, for variables of which the first is a table."""
    if setting.constraint:
        variables[0].constraint = make(library, setting.constraint)
    optimizer = make(library, setting.optimizer)
    how, name = setting.exclude
    if how == "var_list":
        optimizer.exclude_from_weight_decay([v for v in variables if v.name == name])
    elif how == "var_names":
        optimizer.exclude_from_weight_decay(var_names=[name])
    optimizer.build(variables)
    return optimizer


def state(optimizer):
    """The optimizer's variables: their names (that of one of Nadam's is a number) and values."""
    paths = (re.sub(r".*/|_\d+$", "", variable.path) for variable in optimizer.variables)
    return {path: np.array(variable) for path, variable in zip(paths, optimizer.variables)}


def learned_by_keras(library, setting):
    """Weights after each step; after the last one the optimizer's state, and the weights of the end."""
    import jax

    weights, _, _, *gradients = training(setting.scale, setting.dtype)
    regularizer = make(library, setting.regularizer) if setting.regularizer else None
    with jax.enable_x64(setting.dtype == "float64"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.config.set_floatx(setting.dtype)
        variables = [library.Variable(w, name=name) for w, name in zip(weights, SHAPES)]
        optimizer = built(library, setting, variables)

        def run(weights, kept, gradients):
            def step(carry, gradients):
                weights, kept = carry
                if regularizer is not None:
                    gradients = [gradients[0] + jax.grad(regularizer)(weights[0]), *gradients[1:]]
                moved = optimizer.stateless_apply(kept, gradients, weights)
                moved = jax.tree.map(lambda new, old: new.astype(old.dtype), moved, (weights, kept))
                return moved, moved[0]

            return jax.lax.scan(step, (weights, kept), gradients)

        seen = []
        for begin, end in zip(setting.edges(), setting.edges()[1:]):
            if begin in setting.rates:
                optimizer.learning_rate = setting.rates[begin]
            now = [[v.value for v in some] for some in (variables, optimizer.variables)]
            given = [jax.numpy.asarray(g[begin:end]) for g in gradients]
            if begin in range(*setting.absent):
                given[0] = None
            after, each = jax.jit(run)(*now, given)
            for variable, value in zip([*variables, *optimizer.variables], [*after[0], *after[1]]):
                variable.assign(value)
            seen.append(list(map(np.asarray, each)))
        kept = state(optimizer)
        optimizer.finalize_variable_values(variables)
        return [np.concatenate(each) for each in zip(*seen)], kept, [np.asarray(v) for v in variables]


def learned_by_us(setting):
    """The same of ours, the weights only after the steps of `READ`."""
    weights, ids, rows, of_table, of_kernel = training(setting.scale, setting.dtype)
    variables = [fastembed.Variable(w, dtype=setting.dtype, name=name) for w, name in zip(weights, SHAPES)]
    table, kernel = variables
    layer = fastembed.layers.Embedding.from_variable(
        table, embeddings_regularizer=make(fastembed, setting.regularizer or "None")
    )
    table.path = table.name  # not that of the layer
    optimizer = built(fastembed, setting, variables)
    seen = {}
    for step in range(STEPS):
        if step in setting.rates:
            optimizer.learning_rate = setting.rates[step]
        table.clear_gradient()
        if setting.regularizer:
            layer.add_regularization_gradients()
            table.add_gradient(IndexedSlices(rows[step], ids[step], table.shape))
            gradient = table.gradient
        elif step in range(*setting.absent):
            gradient = None
        elif step in range(*setting.dense):
            gradient = of_table[step]
        else:
            gradient = IndexedSlices(rows[step], ids[step], table.shape)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Gradients do not exist")
            optimizer.apply_gradients([(gradient, table), (of_kernel[step], kernel)])
        if step in READ:
            seen[step] = [v.numpy() for v in variables]
    kept = state(optimizer)
    optimizer.finalize_variable_values(variables)
    return seen, kept, [v.numpy() for v in variables]


# Of float32 as it is promised; in float64 a formula that is only nearly right cannot hide.
TOLERANCE = {"float32": 1e-5, "float64": 1e-8}


def follows(keras, setting):
    theirs = keras(learned_by_keras, setting)
    assert not isinstance(theirs, Raised), theirs
    path, kept, final = theirs
    before = fastembed.backend.floatx()
    fastembed.backend.set_floatx(setting.dtype)
    try:
        our_path, our_kept, our_final = learned_by_us(setting)
    finally:
        fastembed.backend.set_floatx(before)
    within = TOLERANCE[setting.dtype]
    first = training(setting.scale, setting.dtype)[0]
    for name, our, their, begin in zip(SHAPES, zip(*our_path.values()), path, first):
        for step, value in zip(our_path, our):
            assert value.dtype == their.dtype
            np.testing.assert_allclose(
                value, their[step], rtol=0, atol=within, err_msg=f"{name}, step {step}"
            )
        assert np.abs(their[-1] - begin).max() > 100 * within  # it learned
    for name, our, their in zip(SHAPES, our_final, final):
        np.testing.assert_allclose(our, their, rtol=0, atol=within, err_msg=f"{name} at the end")
    assert list(our_kept) == list(kept)
    for name, their in kept.items():
        our = our_kept[name]
        assert our.shape == their.shape, name
        large = np.abs(their).max(initial=0)
        np.testing.assert_allclose(our, their, rtol=0, atol=10 * within * large, err_msg=name)


def each(settings):
    return pytest.mark.parametrize("setting", settings, ids=str)


def with_arguments(rule, arguments):
    return f"optimizers.{rule[:-1]}, {arguments})"


RULES = [
    "SGD(0.02)",
    "SGD(0.01, momentum=0.9)",
    "SGD(0.01, momentum=0.9, nesterov=True)",
    "RMSprop(0.002)",
    "RMSprop(0.002, centered=True)",
    "RMSprop(0.001, momentum=0.8)",
    "RMSprop(0.001, rho=0.8, momentum=0.8, centered=True)",
    "Adagrad(0.02)",
    "Adadelta(1.0)",
    "Adam(0.003)",
    "Adam(0.003, amsgrad=True)",
    "AdamW(0.003)",
    "Adamax(0.003)",
    "Nadam(0.003)",
    "Ftrl(0.02)",
    "Lion(0.001)",
    "Lamb(0.003)",
]
LIVELY = [
    "SGD(0.01, momentum=0.9)",
    "Adam(0.003)",
    "Nadam(0.003)",
    "Lion(0.001)",
    "RMSprop(0.001, momentum=0.8)",
]
CONSTANTS = [
    "Adagrad(0.02, initial_accumulator_value=0.0, epsilon=1e-3)",
    "Adadelta(0.5, rho=0.8, epsilon=1e-4)",
    "Adam(0.003, beta_1=0.5, beta_2=0.9, epsilon=1e-3)",
    "Adam(0.003, beta_1=0.0)",
    "Adam(0.0003, beta_1=0.99, beta_2=0.9)",  # steps of rows that rest grow
    "Adam(0.003, epsilon=1.0)",
    "AdamW(0.003, weight_decay=0.5, amsgrad=True)",
    "Adamax(0.003, beta_1=0.5, beta_2=0.9, epsilon=1e-2)",
    "Nadam(0.003, beta_1=0.7, beta_2=0.99, epsilon=1e-3)",
    "Ftrl(0.02, l1_regularization_strength=0.05)",
    "Ftrl(0.02, l2_regularization_strength=0.05, beta=0.3)",
    "Ftrl(0.02, l2_shrinkage_regularization_strength=0.01)",
    "Ftrl(0.02, learning_rate_power=-0.7, initial_accumulator_value=0.5)",
    "Lion(0.001, beta_1=0.5, beta_2=0.8)",
    "Lamb(0.003, beta_1=0.5, beta_2=0.9, epsilon=1e-3)",
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each([Setting(f"optimizers.{rule}") for rule in RULES + CONSTANTS])
def test_rules(keras, setting, dtype):
    follows(keras, replace(setting, dtype=dtype))


@each(
    [Setting(f"optimizers.{rule}", scale=1e-6) for rule in RULES if re.match("Adam|Nadam|Ftrl|L", rule)]
    + [Setting(f"optimizers.{rule}", scale=100.0) for rule in RULES if "Ada" in rule]
)
def test_small_and_large_gradients(keras, setting):
    follows(keras, setting)


COMMON = [
    "weight_decay=0.1",
    "clipnorm=0.5",
    "use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=7",
    "gradient_accumulation_steps=3",
]
# Whatever the rule is, these come before it or after it.
AROUND = [
    "clipvalue=0.05",
    "global_clipnorm=0.5",
    "use_ema=True, ema_momentum=0.9",
    "loss_scale_factor=4.0",
]


@each(
    [
        Setting(with_arguments(rule, arguments))
        for rule in RULES
        for arguments in COMMON + AROUND * (rule in LIVELY)
        if not (rule.startswith("AdamW") and "decay" in arguments)
    ]
)
def test_what_all_optimizers_take(keras, setting):
    follows(keras, setting)


@each(
    [
        Setting(with_arguments("Adam(0.003)", arguments))
        for arguments in [
            "weight_decay=0.1, clipnorm=0.5",
            "weight_decay=0.1, gradient_accumulation_steps=4, clipnorm=0.2",
            "use_ema=True, ema_overwrite_frequency=3, gradient_accumulation_steps=2",
            "weight_decay=0.1, use_ema=True, loss_scale_factor=8.0, global_clipnorm=0.3",
        ]
    ]
)
def test_several_at_once(keras, setting):
    follows(keras, setting)


@each(
    [
        Setting(with_arguments(rule, "weight_decay=0.2"), exclude=exclude)
        for rule in ("SGD(0.02)", "Adam(0.003)")
        for exclude in [("var_names", "kern"), ("var_names", "emb.*s$"), ("var_list", "embeddings")]
    ]
)
def test_weight_decay_of_some(keras, setting):
    follows(keras, setting)


SCHEDULES = [
    "ExponentialDecay(0.02, 50, 0.5)",
    "ExponentialDecay(0.02, 50, 0.5, staircase=True)",
    "InverseTimeDecay(0.02, 50, 0.5)",
    "InverseTimeDecay(0.02, 50, 0.5, staircase=True)",
    "PiecewiseConstantDecay([20, 120], [0.02, 0.001, 0.01])",
    "PolynomialDecay(0.02, 120)",
    "PolynomialDecay(0.02, 64, end_learning_rate=0.001, power=2.0, cycle=True)",  # XLA multiplies by 1 / 64
    "CosineDecay(0.02, 120)",
    "CosineDecay(0.001, 100, alpha=0.1, warmup_target=0.02, warmup_steps=50)",
    "CosineDecayRestarts(0.02, 40)",
    "CosineDecayRestarts(0.02, 30, t_mul=1.5, m_mul=0.8, alpha=0.1)",
]


@each(
    [
        Setting(f"optimizers.{name}(optimizers.schedules.{schedule}{also})")
        for schedule in SCHEDULES
        for name, also in [("SGD", ", momentum=0.5"), ("Adam", ", weight_decay=0.05")]
    ]
)
def test_schedules(keras, setting):
    follows(keras, setting)


@each(
    [
        Setting(f"optimizers.{rule}", rates=rates)
        for rule in RULES
        for rates in ({20: 0.0002, 21: 0.005, 150: 0.001},)
    ]
    + [Setting("optimizers.Adam(0.003)", rates={10: 0.0, 40: 0.002})]
)
def test_changed_learning_rates(keras, setting):
    follows(keras, setting)


@each(
    [
        Setting("optimizers.SGD(lambda: 0.01, momentum=0.9)"),
        Setting(
            "optimizers.SGD(optimizers.schedules.PolynomialDecay(0.02, 60), gradient_accumulation_steps=3)"
        ),
    ]
)
def test_other_learning_rates(keras, setting):
    follows(keras, setting)


@each(
    [
        Setting(f"optimizers.{rule}", constraint=f"constraints.{constraint}")
        for rule in RULES
        for constraint in ("NonNeg()", "MaxNorm(1.0, axis=1)")
        if constraint == "NonNeg()" or rule in LIVELY
    ]
    + [
        Setting(f"optimizers.{rule}", constraint=f"constraints.{constraint}")
        for rule in ("Adam(0.003, weight_decay=0.1)", "SGD(0.01, momentum=0.9, weight_decay=0.1)")
        for constraint in ("NonNeg()", "UnitNorm(axis=1)", "MinMaxNorm(0.5, 1.0, rate=0.5, axis=1)")
    ]
)
def test_constraints(keras, setting):
    follows(keras, setting)


@each(
    [
        Setting(f"optimizers.{rule}", regularizer=f"regularizers.{regularizer}")
        for rule in RULES
        for regularizer in ("L2(0.01)", "L1L2(0.001, 0.01)")
        if regularizer == "L2(0.01)" or rule in LIVELY
    ]
)
def test_regularizers(keras, setting):
    follows(keras, setting)


@each([Setting(f"optimizers.{rule}", absent=(60, 110)) for rule in RULES])
def test_steps_without_a_gradient_of_the_table(keras, setting):
    follows(keras, setting)


@each([Setting(f"optimizers.{rule}", dense=steps) for rule in RULES for steps in [(60, 110)]])
def test_dense_gradients_between_sparse_ones(keras, setting):
    follows(keras, setting)


def rests_of_keras(library, first, steps):
    """Lion's weights after a step with gradients and then so many without, at a learning rate of 1."""
    import jax

    with jax.enable_x64(False):
        library.config.set_floatx("float32")
        variable = library.Variable(np.zeros(len(first), np.float32))
        optimizer = library.optimizers.Lion(1.0)
        optimizer.build([variable])

        def step(carry, scale):
            weights, kept = optimizer.stateless_apply(carry[1], [scale * first], carry[0])
            return (weights, kept), None

        scales = np.eye(1, steps, dtype=np.float32)[0]
        first = jax.numpy.asarray(first)
        carry = [variable.value], [v.value for v in optimizer.variables]
        (weights, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, scales))(carry)
        return np.asarray(weights[0])


def test_rows_of_lion_rest_when_keras_lets_them(keras):
    """They move by the whole learning rate until their moment is no normal number of float32 any more."""
    first = np.float32([1.0, -1e-3, 1e-9, 1e-20, -1e-30, 1e-36])
    theirs = keras(rests_of_keras, first, 9000)
    variable, optimizer = fastembed.Variable(np.zeros((7, 1), np.float32)), fastembed.optimizers.Lion(1.0)
    optimizer.apply_gradients([(IndexedSlices(first[:, None], np.arange(6), (7, 1)), variable)])
    for _ in range(8999):
        optimizer.apply_gradients(
            [(IndexedSlices(np.ones((1, 1), np.float32), np.array([6]), (7, 1)), variable)]
        )
    np.testing.assert_allclose(variable.numpy()[:6, 0], theirs, rtol=0, atol=1)


# --- The twins, beside which the long runs of test_exactness.py go ---------------------------------


@pytest.mark.parametrize(
    ("rule", "constants", "optimizer"),
    [
        ("sgd", {}, "SGD(0.02)"),
        ("momentum", {}, "SGD(0.02, momentum=0.9)"),
        ("nesterov", {"momentum": 0.8}, "SGD(0.02, momentum=0.8, nesterov=True)"),
        ("rmsprop", {}, "RMSprop(0.02)"),
        ("rmsprop_centered", {"rho": 0.8}, "RMSprop(0.02, rho=0.8, centered=True)"),
        ("rmsprop_momentum", {}, "RMSprop(0.02, momentum=0.9)"),
        ("rmsprop_centered_momentum", {"momentum": 0.7}, "RMSprop(0.02, momentum=0.7, centered=True)"),
        ("adagrad", {}, "Adagrad(0.02)"),
        ("adadelta", {"epsilon": 1e-5}, "Adadelta(0.02, epsilon=1e-5)"),
        ("adam", {}, "Adam(0.02)"),
        ("adam", {"epsilon": 0.1, "weight_decay": 0.3}, "AdamW(0.02, epsilon=0.1, weight_decay=0.3)"),
        ("amsgrad", {"beta_2": 0.9}, "Adam(0.02, beta_2=0.9, amsgrad=True)"),
        ("adamax", {}, "Adamax(0.02)"),
        ("nadam", {"beta_1": 0.8}, "Nadam(0.02, beta_1=0.8)"),
        ("ftrl", {"l1": 0.01}, "Ftrl(0.02, l1_regularization_strength=0.01)"),
        (
            "ftrl",
            {"l2": 0.01, "l2_shrinkage": 0.02, "beta": 0.1, "learning_rate_power": -0.6},
            "Ftrl(0.02, l2_regularization_strength=0.01, l2_shrinkage_regularization_strength=0.02, beta=0.1,"
            " learning_rate_power=-0.6)",
        ),
        ("lion", {}, "Lion(0.02)"),
        ("lamb", {"beta_1": 0.8}, "Lamb(0.02, beta_1=0.8)"),
    ],
)
def test_twins(keras, rule, constants, optimizer):
    setting = Setting(f"optimizers.{optimizer}", dtype="float64")
    path, _, _ = keras(learned_by_keras, setting)
    weights, _, _, of_table, _ = training(1.0, "float64")
    twin = Dense(rule, weights[0], learning_rate=0.02, **constants)
    for gradient, their in zip(of_table, path[0]):
        twin.step(gradient)
        np.testing.assert_allclose(twin.w, their, rtol=1e-10, atol=1e-12)

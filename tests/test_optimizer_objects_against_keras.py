"""Optimizers and schedules as objects, against real Keras 3: names, configs, state, settings, errors.

What 200 steps of each lead to is compared in test_optimizers_against_keras.py.
"""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from two_libraries import Raised, agree, agree_to_raise, assert_same, outcome, process

import fastembed


@pytest.fixture(scope="module")
def keras():
    with process("keras", "numpy") as ask:
        yield ask


def made(library, expression):
    """An optimizer or a schedule, counted from the beginning."""
    library.backend.clear_session()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(
            expression, {**vars(library.optimizers), "schedules": library.optimizers.schedules, "np": np}
        )


def variables_of(library):
    """A table and a bias, as layers have them."""
    words = library.layers.Embedding(4, 2, embeddings_initializer="ones", name="words")
    dense = library.layers.Dense(2, name="dense")
    words.build((None,))
    dense.build((None, 2))
    return [words.embeddings, dense.bias]


CLASSES = [
    "SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam", "Ftrl", "Lion", "Lamb",
]  # fmt: skip
SETTINGS = [
    *(f"{name}()" for name in CLASSES),
    "SGD(0.5, 0.25, True)",
    "SGD(momentum=0.5, use_ema=True, gradient_accumulation_steps=2)",
    "Adam(0.5, 0.8, 0.9, 1e-3, True, 0.1, None, 2.0)",
    "Adam(amsgrad=True, name='mine')",
    "RMSprop(momentum=0.5, centered=True)",
    "RMSprop(0.1, 0.8, 0.5, 1e-3, True, 0.25)",
    "Nadam(use_ema=True, ema_overwrite_frequency=3, ema_momentum=0.5)",
    "AdamW(0.1, 0.2)",
    "Ftrl(0.1, -0.25, 0.5, 0.1, 0.2, 0.3, 0.4)",
    "Adagrad(schedules.CosineDecay(0.1, 100), loss_scale_factor=8.0)",
    "Adadelta(schedules.ExponentialDecay(0.5, 10, 0.5, True), global_clipnorm=1.0)",
    "Lion(schedules.PiecewiseConstantDecay([1, 2], [0.5, 0.25, 0.125]))",
    "Lamb(schedules.PolynomialDecay(0.5, 10, cycle=True))",
    "Adamax(schedules.InverseTimeDecay(0.5, 10, 0.5))",
    "SGD(schedules.CosineDecayRestarts(0.5, 10, 1.5, 0.5, 0.1))",
]


def described(library, expression):
    optimizer = made(library, expression)
    optimizer.build(variables_of(library))
    config = optimizer.get_config()
    return [
        optimizer.name, config, library.optimizers.serialize(optimizer),
        [(v.path, v.name, tuple(v.shape)) for v in optimizer.variables if v.name[:8] != "variable"],
        len(optimizer.variables), [np.array(v).astype("float64").tolist() for v in optimizer.variables],
        type(optimizer).from_config(copy.deepcopy(config)).get_config(), int(optimizer.iterations),
        float(np.float32(float(optimizer.learning_rate))), optimizer.built,
    ]  # fmt: skip


@pytest.mark.parametrize("expression", SETTINGS)
def test_names_configs_and_first_state(keras, expression):
    agree(keras, described, expression)


def applied(library, expression, calls):
    """What calls of apply do to a table and a bias."""
    optimizer = made(library, expression)
    variables = variables_of(library)
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(calls):
        gradients = [rng.normal(size=v.shape).astype("float32") for v in variables]
        gradients[0][2] = 0
        result = optimizer.apply_gradients(list(zip(gradients, variables)))
        seen.append([np.array(v) for v in variables] + [int(result), int(optimizer.iterations)])
    return seen, [np.array(v).astype("float64") for v in optimizer.variables]


@pytest.mark.parametrize(
    "expression",
    [
        *SETTINGS,
        "Adam(0.1, clipnorm=0.5)",
        "Adam(0.1, clipvalue=0.25)",
        "SGD(0.1, clipvalue=0.25, weight_decay=0.5)",
        "SGD(0.1, global_clipnorm=1.0, loss_scale_factor=4.0)",
        "Adam(0.1, gradient_accumulation_steps=3, clipnorm=0.5, weight_decay=0.5)",
        "Nadam(0.1, gradient_accumulation_steps=2)",
        "SGD(schedules.InverseTimeDecay(0.5, 1, 0.5), gradient_accumulation_steps=2)",
        "SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)",
        "Adam(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, gradient_accumulation_steps=2)",
    ],
)
def test_calls(keras, expression):
    (ours, our_state), (theirs, their_state) = (
        outcome(applied, fastembed, expression, 7),
        keras(applied, expression, 7),
    )
    for our_call, their_call in zip(ours, theirs):
        for our, their in zip(our_call, their_call):
            np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)
    for our, their in zip(our_state, their_state):
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)


def constrained(library, constraint, expression):
    optimizer = made(library, expression)
    variable = library.layers.Embedding(4, 2, embeddings_initializer="ones", embeddings_constraint=constraint)
    variable.build((None,))
    seen = []
    for value in (3.0, -1.0, 0.5, 0.25):
        optimizer.apply([np.full((4, 2), value, "float32")], [variable.embeddings])
        seen.append(np.array(variable.embeddings))
    return [*seen, *(np.array(v).astype("float64") for v in optimizer.variables)]


@pytest.mark.parametrize("constraint", ["non_neg", "unit_norm", "max_norm"])
@pytest.mark.parametrize(
    "expression",
    [
        "SGD(0.5)",
        "SGD(0.5, use_ema=True, ema_momentum=0.5)",
        "SGD(0.5, use_ema=True, ema_overwrite_frequency=2)",
        "SGD(0.5, gradient_accumulation_steps=2)",
        "SGD(0.5, gradient_accumulation_steps=2, use_ema=True)",
    ],
)
def test_constraints(keras, constraint, expression):
    ours = constrained(fastembed, constraint, expression)
    for our, their in zip(ours, keras(constrained, constraint, expression)):
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)


def rates(library, expression, steps):
    schedule = made(library, expression)
    return (
        [float(schedule(step)) for step in steps],
        schedule.get_config(),
        library.optimizers.schedules.serialize(schedule),
    )


@pytest.mark.parametrize(
    "expression",
    [
        "schedules.ExponentialDecay(0.1, 7, 0.5)",
        "schedules.ExponentialDecay(0.1, 7, 0.5, staircase=True)",
        "schedules.InverseTimeDecay(0.1, 7, 0.5, True, 'mine')",
        "schedules.PiecewiseConstantDecay([5, 20], [1.0, 0.5, 0.1])",
        "schedules.PolynomialDecay(0.1, 9)",
        "schedules.PolynomialDecay(0.1, 9, 0.01, 0.5, cycle=True)",
        "schedules.CosineDecay(0.1, 9, 0.2)",
        "schedules.CosineDecay(0.0, 9, warmup_target=0.4, warmup_steps=4)",
        "schedules.CosineDecayRestarts(0.1, 5, t_mul=1.0, m_mul=0.5)",
        "schedules.CosineDecayRestarts(0.1, 5, 2.0, 0.9, 0.1)",
    ],
)
def test_schedules(keras, expression):
    steps = [0, 1, 2, 3, 4, 6, 8, 9, 11, 13, 17, 20, 21, 50]
    (ours, *our_rest), (theirs, *their_rest) = (
        rates(fastembed, expression, steps),
        keras(rates, expression, steps),
    )
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-8)
    assert_same(our_rest, their_rest)


ERRORS = {
    "Adam(1)",
    "Adam('fast')",
    "Adam(np.float32(1))",
    "Adam(speed=1.0)",
    "Adam(clipnorm=1.0, clipvalue=1.0)",
    "Adam(gradient_accumulation_steps=1)",
    "Adam(use_ema=True, ema_momentum=2.0)",
    "Adam(use_ema=True, ema_overwrite_frequency=1.5)",
    "Adam(name='a/b')",
    "SGD(momentum=0)",
    "SGD(momentum=1.5)",
    "Lion(beta_1=0.0)",
    "AdamW(weight_decay=None)",
    "Ftrl(learning_rate_power=0.5)",
    "Ftrl(initial_accumulator_value=-1.0)",
    "get('nothing')",
    "get(3)",
    "get(Adam)",
    "schedules.CosineDecay(0.1, 0)",
    "schedules.CosineDecayRestarts(0.1, 0)",
    "schedules.PiecewiseConstantDecay([1], [0.5])",
    "schedules.LearningRateSchedule()(0)",
    "schedules.LearningRateSchedule().get_config()",
    "Adam().apply([np.ones((4, 2), 'float32')])",
    "Adam().apply_gradients([])",
    "Adam().set_weights([1])",
}


@pytest.mark.parametrize("expression", sorted(ERRORS))
def test_errors(keras, expression):
    agree_to_raise(keras, made, expression)


def misused(library, how):
    optimizer = made(library, "Adam(schedules.CosineDecay(0.1, 10))" if how == "rate" else "Adam()")
    words, bias = variables_of(library)
    optimizer.build([words])
    if how == "unknown variable":
        optimizer.apply([np.ones(2, "float32")], [bias])
    elif how == "no gradient":
        optimizer.apply([None], [words])
    elif how == "too many":
        optimizer.apply([np.ones((4, 2), "float32")] * 2)
    elif how == "rate":
        optimizer.learning_rate = 0.5
    elif how == "finalize":
        averaging = made(library, "SGD(use_ema=True)")
        averaging.build([words])
        averaging.finalize_variable_values([words, bias])


@pytest.mark.parametrize("how", ["unknown variable", "no gradient", "too many", "rate", "finalize"])
def test_misuse(keras, how):
    agree_to_raise(keras, misused, how)


def reset(library, steps):
    """What is seen of the learning rate as it is set."""
    optimizer = made(library, "SGD(0.5)")
    schedules = library.optimizers.schedules
    seen = []
    for value in steps:
        optimizer.learning_rate = schedules.InverseTimeDecay(0.5, 1, 1.0) if value == "schedule" else value
        seen.append(
            (float(np.float32(float(optimizer.learning_rate))), [v.path for v in optimizer.variables])
        )
    return seen


def test_the_learning_rate_can_be_set(keras):
    agree(keras, reset, [0.25, 1, np.array(0.125), "schedule"])


def excluded(library, names):
    optimizer = made(library, "SGD(0.5, weight_decay=0.5)")
    variables = variables_of(library)
    variables[1].assign(np.ones(2))
    optimizer.exclude_from_weight_decay(var_names=names)
    optimizer.apply([np.zeros(v.shape, "float32") for v in variables], variables)
    return [np.array(v) for v in variables]


@pytest.mark.parametrize("names", [["bias"], ["embed.*s"], ["words"], ["x", "i.s"], []])
def test_exclude_from_weight_decay(keras, names):
    agree(keras, excluded, names)


# --- Where we differ, on purpose ------------------------------------------------------------------


def state_after(library, expression, gradients):
    """The table after gradients, each of which may be refused."""
    optimizer = made(library, expression)
    [words, _] = variables_of(library)
    optimizer.build([words])
    for gradient in gradients:
        optimizer.apply([np.asarray(gradient, "float32")], [words])
    return np.array(words)


def test_optimizers_where_we_differ(keras):
    # A gradient that could be broadcast is one of the wrong shape.
    assert keras(state_after, "SGD(1.0)", [np.ones((1, 2))]).tolist() == [[0, 0]] * 4
    assert outcome(state_after, fastembed, "SGD(1.0)", [np.ones((1, 2))]).name == "ValueError"

    # A NaN under a clipped norm reaches all rows.
    gradient = np.zeros((4, 2))
    gradient[1, 0] = np.nan
    for clipping in ("clipnorm", "global_clipnorm"):
        expression = f"SGD(1.0, {clipping}=1.0)"
        assert np.isnan(keras(state_after, expression, [gradient])).all()
        ours = outcome(state_after, fastembed, expression, [gradient])
        assert (ours.name, "has a NaN or an infinity" in ours.message) == ("ValueError", True)
    ours, theirs = (
        state_after(fastembed, "SGD(1.0, clipvalue=1.0)", [gradient]),
        keras(state_after, "SGD(1.0, clipvalue=1.0)", [gradient]),
    )
    np.testing.assert_array_equal(ours, theirs)

    # Names and arguments of earlier Kerases.
    assert keras(made, "Adam(lr=0.5)").name == "ValueError"
    assert float(made(fastembed, "Adam(lr=0.5)").learning_rate) == 0.5
    assert made(fastembed, "Adam(epsilon=None)").epsilon == 1e-7
    assert keras(made, "get('lamb')").name == "ValueError"
    assert type(made(fastembed, "get('lamb')")) is fastembed.optimizers.Lamb

    # One variable twice, or fewer gradients than variables.
    for how in ("twice", "fewer"):
        assert not isinstance(keras(unequal, how), Raised)
        assert outcome(unequal, fastembed, how).name == "ValueError"

    # A beta of 1 divides by zero.
    assert np.isnan(keras(state_after, "Adam(beta_1=1.0)", [np.zeros((4, 2))])).all()
    assert outcome(made, fastembed, "Adam(beta_1=1.0)").name == "ValueError"


def unequal(library, how):
    optimizer = made(library, "SGD(1.0)")
    [words, bias] = variables_of(library)
    gradient = np.ones((4, 2), "float32")
    if how == "twice":
        optimizer.apply([gradient, gradient], [words, words])
    else:
        optimizer.apply([gradient], [words, bias])


def fixed(library):
    optimizer = made(library, "SGD(1.0, 0.5)")
    [words, _] = variables_of(library)
    optimizer.build([words])
    optimizer.momentum = 0.25
    return optimizer.momentum


def restored(library):
    """State with one bad shape."""
    optimizer = made(library, "SGD(1.0, 0.5)")
    optimizer.build(variables_of(library)[:1])
    with_error = [np.array(5), np.array(0.5, "float32"), np.zeros((3, 2), "float32")]
    try:
        optimizer.set_weights(with_error)
    except ValueError:
        return int(optimizer.iterations)
    raise AssertionError("no error")


def test_state_where_we_differ(keras):
    assert keras(fixed) == 0.25
    assert outcome(fixed, fastembed).name == "AttributeError"
    assert keras(restored) == 5  # what came before the bad shape is changed
    assert restored(fastembed) == 0


def test_schedules_where_we_differ(keras):
    # Integers make a learning rate of integers: this is the warmup example of Keras's own documentation.
    expression = "schedules.CosineDecay(0, 1000, warmup_target=0.1, warmup_steps=1000)"
    assert keras(rates, expression, [500, 1000])[0] == [0.0, 0.0]
    assert rates(fastembed, expression, [500, 1000])[0] == [0.05, 0.1]
    # Boundaries that do not ascend.
    expression = "schedules.PiecewiseConstantDecay([20, 10], [1.0, 0.5, 0.25])"
    assert keras(rates, expression, [15])[0] == [1.25]
    assert outcome(rates, fastembed, expression, [15]).name == "ValueError"
    # No period is left.
    expression = "schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5)"
    assert np.isnan(keras(rates, expression, [20])[0]).all()
    assert outcome(rates, fastembed, expression, [20]).name == "ValueError"

"""Optimizers: every rule and setting against plain NumPy twins, their life, state, eras, configs and errors.

tests/test_optimizers_against_keras.py runs the same beside real Keras.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import CONSTANTS, Dense

import fastembed
from fastembed import IndexedSlices, Variable, constraints, layers, optimizers
from fastembed.optimizers import schedules

ROWS, WIDTH = 12, 3

# Each rule: the optimizer that has it with its arguments, and the rule with the constants of its twin.
OF_BOTH = {"momentum": 0.7, "epsilon": 1e-4}
STRENGTHS = {"l1": 0.01, "l2": 0.02, "l2_shrinkage": 0.03}
SETTINGS = {
    "sgd": (optimizers.SGD, "sgd", {}, {}),
    "momentum": (optimizers.SGD, "momentum", {"momentum": 0.8}, {"momentum": 0.8}),
    "nesterov": (optimizers.SGD, "nesterov", {"momentum": 0.8, "nesterov": True}, {"momentum": 0.8}),
    "rmsprop": (optimizers.RMSprop, "rmsprop", {"rho": 0.8}, {"rho": 0.8}),
    "rmsprop, centered": (
        optimizers.RMSprop, "rmsprop_centered", {"centered": True, "epsilon": 1e-4}, {"epsilon": 1e-4},
    ),
    "rmsprop, momentum": (optimizers.RMSprop, "rmsprop_momentum", {"momentum": 0.7}, {"momentum": 0.7}),
    "rmsprop, both": (
        optimizers.RMSprop, "rmsprop_centered_momentum", {**OF_BOTH, "centered": True}, OF_BOTH,
    ),
    "adagrad": (
        optimizers.Adagrad, "adagrad", {"initial_accumulator_value": 0.5}, {"initial_accumulator_value": 0.5},
    ),
    "row-wise adagrad": (optimizers.RowWiseAdagrad, "rowwise_adagrad", {}, {}),
    "adadelta": (
        optimizers.Adadelta, "adadelta", {"rho": 0.9, "epsilon": 1e-5}, {"rho": 0.9, "epsilon": 1e-5},
    ),
    "adam": (optimizers.Adam, "adam", {}, {}),
    "adam, other betas": (
        optimizers.Adam, "adam",
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "amsgrad": (optimizers.Adam, "amsgrad", {"amsgrad": True}, {}),
    "adamw": (optimizers.AdamW, "adam", {"weight_decay": 0.05}, {"weight_decay": 0.05}),
    "adamax": (optimizers.Adamax, "adamax", {}, {}),
    "nadam": (optimizers.Nadam, "nadam", {}, {}),
    "ftrl": (optimizers.Ftrl, "ftrl", {}, {}),
    "ftrl, all strengths": (
        optimizers.Ftrl, "ftrl",
        {**{f"{k}_regularization_strength": v for k, v in STRENGTHS.items()},
         "beta": 0.04, "learning_rate_power": -0.7},
        {**STRENGTHS, "beta": 0.04, "learning_rate_power": -0.7},
    ),
    "lion": (optimizers.Lion, "lion", {}, {}),
    "lamb": (optimizers.Lamb, "lamb", {}, {}),
}  # fmt: skip
each_setting = pytest.mark.parametrize("setting", SETTINGS)

CLASSES = [getattr(optimizers, name) for name in optimizers.__all__ if name[0].isupper()]
CLASSES.remove(optimizers.Optimizer)
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def table(dtype="float32", rows=ROWS, name="embeddings", seed=0, **kwargs):
    values = np.random.default_rng(seed).uniform(-1, 1, (rows, WIDTH))
    return Variable(values, dtype=dtype, name=name, **kwargs)


def lookup_gradient(rng, rows=ROWS, count=5, dtype="float32"):
    """A sparse gradient that names rows several times, in any order, and leaves most rows out."""
    indices = rng.choice(rows // 2, count) if rng.random() < 0.8 else rng.choice(rows, count)
    values = rng.normal(size=(count, WIDTH)) * 10.0 ** rng.integers(-3, 1)
    return IndexedSlices(values.astype(dtype), indices, (rows, WIDTH))


def state_of(optimizer):
    return [np.array(v.value) for v in optimizer.variables]


def same_state(before, after):
    return len(before) == len(after) and all(np.array_equal(a, b) for a, b in zip(before, after))


# --- Rules ----------------------------------------------------------------------------------------


@each_setting
@pytest.mark.parametrize("weight_decay", [None, 0.1])
def test_every_rule_follows_its_twin(setting, weight_decay):
    cls, rule, arguments, constants = SETTINGS[setting]
    if weight_decay:
        arguments, constants = {"weight_decay": 0.1, **arguments}, {"weight_decay": 0.1, **constants}
    rate = schedules.InverseTimeDecay(0.05, 10, 0.5)
    variable = table("float64")
    twin = Dense(rule, variable.value, learning_rate=rate, **constants)
    optimizer = cls(rate, **arguments)
    rng = np.random.default_rng(1)
    for _ in range(60):
        gradient = lookup_gradient(rng, dtype="float64")
        optimizer.apply([gradient], [variable])
        twin.step(gradient.to_dense())
        np.testing.assert_allclose(variable.value, twin.w, rtol=1e-7, atol=1e-9)
    assert int(optimizer.iterations) == 60
    made = {v.name.rpartition("embeddings_")[2]: v for v in optimizer.variables}
    for name, values in twin.slots.items():
        np.testing.assert_allclose(made[name].value, values, rtol=1e-7, atol=1e-9)


@each_setting
def test_every_rule_in_single_precision(setting):
    cls, rule, arguments, constants = SETTINGS[setting]
    variable = table()
    exact, single = (
        Dense(rule, variable.value, dtype, learning_rate=float(np.float32(0.01)), **constants)
        for dtype in ("float64", "float32")
    )
    optimizer = cls(0.01, **arguments)
    rng = np.random.default_rng(2)
    for _ in range(100):
        gradient = lookup_gradient(rng)
        optimizer.apply([gradient], [variable])
        for twin in (exact, single):
            twin.step(gradient.to_dense())
    allowed = 2 * np.abs(single.w - exact.w).max() + 1e-7
    if rule != "lion":  # which flips signs on rounding
        assert np.abs(variable.value - exact.w).max() <= allowed


@each_setting
def test_dense_gradients(setting):
    cls, rule, arguments, constants = SETTINGS[setting]
    variable = table("float64")
    twin = Dense(rule, variable.value, learning_rate=0.02, **constants)
    optimizer = cls(lambda: 0.02, **arguments)
    rng = np.random.default_rng(3)
    for step in range(30):  # both kinds in turns
        gradient = rng.normal(size=(ROWS, WIDTH)) if step % 3 else lookup_gradient(rng, dtype="float64")
        optimizer.apply([gradient], [variable])
        twin.step(gradient if step % 3 else gradient.to_dense())
        np.testing.assert_allclose(variable.value, twin.w, rtol=1e-7, atol=1e-9)


@each_setting
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_moved_in_single_precision(setting, dtype):
    cls, rule, arguments, constants = SETTINGS[setting]
    variable = table(dtype)
    optimizer = cls(0.01, **arguments)
    optimizer.build([variable])
    slots = [v for v in optimizer.variables if "embeddings" in v.name]
    assert {v.dtype for v in slots} <= {"float32"}
    twin = Dense(rule, variable.value, "float32", learning_rate=float(np.float32(0.01)), **constants)
    gradient = lookup_gradient(np.random.default_rng(4), dtype="float16")
    optimizer.apply([gradient], [variable])
    twin.step(gradient.to_dense())
    precision = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    np.testing.assert_allclose(variable.numpy(), twin.w, rtol=precision, atol=precision)


@pytest.mark.parametrize("shape", [(), (4,), (4, 2), (3, 2, 2)])
@each_setting
def test_variables_of_any_shape(setting, shape):
    cls, rule, arguments, constants = SETTINGS[setting]
    rng = np.random.default_rng(5)
    variable = Variable(rng.normal(size=shape), dtype="float64")
    twin = Dense(rule, variable.value, learning_rate=0.5, **constants)
    optimizer = cls(lambda: 0.5, **arguments)
    for _ in range(3):
        gradient = rng.normal(size=shape)
        optimizer.apply([gradient], [variable])
        twin.step(gradient)
    np.testing.assert_allclose(variable.value, twin.w, rtol=1e-9)


def test_numbers_of_late_steps_are_computed_in_double_precision():
    optimizer = optimizers.Adam(0.1, beta_2=0.999999)
    [alpha] = optimizer._numbers(0.1, 3)
    assert alpha == 0.1 * math.sqrt(1 - 0.999999**3) / (1 - 0.9**3)
    assert optimizer._numbers(0.1, 10**7)[0] == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not optimizers.Lamb])
def test_lazy_leaves_other_rows_as_they_are(cls):
    variable = table()
    before = variable.numpy()
    optimizer = cls(0.1, lazy=True)
    rng = np.random.default_rng(6)
    gradient = IndexedSlices(rng.normal(size=(2, WIDTH)), np.array([7, 2]), (ROWS, WIDTH))
    for _ in range(2):
        optimizer.apply([gradient], [variable])
    others = np.delete(np.arange(ROWS), [2, 7])
    np.testing.assert_array_equal(variable.value[others], before[others])
    assert "lazy" in optimizer.describe()
    assert not np.array_equal(variable.value[7], before[7])
    assert optimizer.get_config()["lazy"] is True
    assert cls.from_config(optimizer.get_config()).lazy


# --- What happens to gradients first --------------------------------------------------------------

numbers = st.floats(-8, 8, width=16)
sparse_gradients = st.lists(st.tuples(st.integers(0, ROWS - 1), *[numbers] * WIDTH), min_size=0, max_size=9)


def sliced(entries, dtype="float64"):
    indices = np.array([entry[0] for entry in entries], np.int64)
    values = np.array([entry[1:] for entry in entries], dtype).reshape(-1, WIDTH)
    return IndexedSlices(values, indices, (ROWS, WIDTH))


def clipped(gradients, clipnorm=None, clipvalue=None, global_clipnorm=None):
    if clipvalue is not None:
        return [np.clip(g, -clipvalue, clipvalue) for g in gradients]
    norms = [np.sqrt(np.sum(g * g)) for g in gradients]
    if global_clipnorm is not None:
        norms = [np.sqrt(sum(norm * norm for norm in norms))] * len(gradients)
    limit = clipnorm or global_clipnorm
    return [g * (limit / max(norm, limit)) for g, norm in zip(gradients, norms)]


@pytest.mark.parametrize("clipping", ["clipnorm", "clipvalue", "global_clipnorm"])
@given(
    entries=sparse_gradients,
    dense=st.lists(numbers, min_size=WIDTH, max_size=WIDTH),
    limit=st.floats(0.125, 30),
    sparse=st.booleans(),
)
def test_clipping(clipping, entries, dense, limit, sparse):
    words, bias = table("float64"), Variable(np.zeros(WIDTH), dtype="float64", name="bias")
    before = words.numpy()
    gradient = sliced(entries)
    whole = np.zeros((ROWS, WIDTH))
    np.add.at(whole, gradient.indices, gradient.values)
    given_values = gradient.values.copy()
    optimizer = optimizers.SGD(lambda: 1.0, **{clipping: limit})
    optimizer.apply([gradient if sparse else whole, np.array(dense)], [words, bias])
    expected = clipped([whole, np.array(dense)], **{clipping: limit})
    np.testing.assert_allclose(before - words.value, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(-bias.value, expected[1], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(gradient.values, given_values)  # what was given is not changed


@pytest.mark.parametrize("limit", [0, 0.0, -1.0, None])
def test_a_limit_of_zero_clips_nothing(limit):
    for clipping in ("clipnorm", "clipvalue", "global_clipnorm"):
        variable = Variable([0.0])
        optimizers.SGD(1.0, **{clipping: limit}).apply([[64.0]], [variable])
        assert variable.value == [-64]


def test_a_gradient_within_its_limit_is_left_alone():
    from fastembed.optimizers import gradients

    gradient = np.float32([[3.0, 4.0]])
    assert gradients.clip_norms([gradient], 5.0)[0] is gradient
    assert gradients.clip_joint_norm([gradient], 5.0)[0] is gradient


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 50000])
def test_the_norm_is_that_of_double_precision(size):
    from fastembed.optimizers.gradients import _norm

    values = np.random.default_rng(size).normal(size=(size, 2)).astype(np.float32)
    expected = math.sqrt(math.fsum((values.astype(np.float64) ** 2).ravel()))
    norms = set()
    for threads in (1, 2, 3):
        with fastembed.num_threads(threads):
            norms.add(_norm([values]))
    assert len(norms) == 1
    assert norms.pop() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("clipping", ["clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("sparse", [True, False])
def test_a_norm_that_is_none_is_an_error_and_nothing_is_changed(bad, clipping, sparse):
    words, bias = table(), Variable(np.ones(WIDTH), name="bias")
    optimizer = optimizers.Adam(0.1, **{clipping: 1.0})
    optimizer.apply([np.ones((ROWS, WIDTH)), np.ones(WIDTH)], [words, bias])
    before = state_of(optimizer), words.numpy(), bias.numpy()
    gradient = np.ones((ROWS, WIDTH))
    gradient[3, 1] = bad
    if sparse:
        gradient = IndexedSlices(gradient[3:5], np.array([3, 4]), (ROWS, WIDTH))
    with pytest.raises(ValueError, match="has a NaN or an infinity"):
        optimizer.apply([gradient, np.ones(WIDTH)], [words, bias])
    assert same_state(before[0], state_of(optimizer))
    np.testing.assert_array_equal(words.value, before[1])
    np.testing.assert_array_equal(bias.value, before[2])


def test_a_nan_under_clipvalue_stays_where_it_is():
    words = table()
    before = words.numpy()
    gradient = IndexedSlices(np.float32([[np.nan, np.inf, 0.5]]), np.array([4]), (ROWS, WIDTH))
    optimizers.SGD(1.0, clipvalue=1.0).apply([gradient], [words])
    np.testing.assert_allclose(before[4] - words.value[4], [np.nan, 1, 0.5], rtol=1e-6)
    assert np.isfinite(np.delete(words.value, 4, 0)).all()


def test_loss_scale_factor():
    variable = Variable([1.0, 2.0])
    optimizer = optimizers.SGD(1.0, loss_scale_factor=8.0)
    assert optimizer.scale_loss(0.5) == 4
    optimizer.apply([[8.0, 4.0]], [variable])
    np.testing.assert_array_equal(variable.value, [0, 1.5])
    assert optimizers.SGD(1.0).scale_loss(0.5) == 0.5


# --- Weight decay, moving averages, accumulation, constraints -------------------------------------


def test_weight_decay_is_of_all_rows_and_before_the_step():
    variable = table("float64")
    before = variable.numpy()
    optimizer = optimizers.SGD(lambda: 0.5, weight_decay=0.2)
    optimizer.apply([sliced([(3, 1.0, 2.0, 3.0)])], [variable])
    expected = before * 0.9
    expected[3] -= [0.5, 1, 1.5]
    np.testing.assert_allclose(variable.value, expected)


def test_exclude_from_weight_decay():
    variables = [Variable([1.0], name=name) for name in ("embeddings", "bias", "scale")]

    def moved(optimizer):
        optimizer.apply([[0.0]] * 3, variables)
        values = [float(v[0]) for v in variables]
        for variable in variables:
            variable.assign([1.0])
        return [value != 1 for value in values]

    optimizer = optimizers.SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(variables[:1])
    assert moved(optimizer) == [False, True, True]
    optimizer.exclude_from_weight_decay(var_names=["bi.s", "scale"])  # it replaces what was said before
    assert moved(optimizer) == [True, False, False]
    optimizer.exclude_from_weight_decay(variables[:1], ["bias"])
    assert moved(optimizer) == [False, False, True]
    optimizer.exclude_from_weight_decay()
    assert moved(optimizer) == [True, True, True]


@pytest.mark.parametrize("frequency", [None, 1, 3])
def test_moving_averages(frequency):
    variable = Variable([1.0, -1.0], dtype="float64", constraint=constraints.NonNeg())
    optimizer = optimizers.SGD(lambda: 0.25, use_ema=True, ema_momentum=0.75,
                               ema_overwrite_frequency=frequency)  # fmt: skip
    optimizer.build([variable])
    assert "use_ema" in optimizer.describe()
    w, average = np.array([1.0, -1.0]), np.zeros(2)
    for step in range(7):
        optimizer.apply([[1.0, -0.5]], [variable])
        w = w - 0.25 * np.array([1.0, -0.5])
        momentum = 0.75 if step else 0
        average = momentum * average + (1 - momentum) * w  # before the constraint, as Keras does
        if frequency and (step + 1) % frequency == 0:
            w = average
        w = np.maximum(w, 0)
        np.testing.assert_allclose(variable.value, w)
        [kept] = [v for v in optimizer.variables if v.name.endswith("_average")]
        np.testing.assert_allclose(kept.value, average)
    optimizer.finalize_variable_values([variable])
    np.testing.assert_array_equal(variable.value, kept.value)
    with pytest.raises(ValueError, match="The length of model variables"):
        optimizer.finalize_variable_values([variable, variable])
    optimizers.SGD().finalize_variable_values([])  # does nothing


@pytest.mark.parametrize("kinds", ["sss", "ddd", "sds", "dss", "ssd"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "Nadam"])
def test_gradient_accumulation(kinds, name):
    rng = np.random.default_rng(7)
    variable, other = table("float64"), table("float64")
    optimizer = getattr(optimizers, name)(lambda: 0.1, gradient_accumulation_steps=3, clipnorm=2.0)
    reference = getattr(optimizers, name)(lambda: 0.1, clipnorm=2.0)
    for round_ in range(3):
        total = np.zeros((ROWS, WIDTH))
        for call, kind in enumerate(kinds):
            before = variable.numpy()
            gradient = lookup_gradient(rng, dtype="float64")
            total += gradient.to_dense()
            optimizer.apply([gradient if kind == "s" else gradient.to_dense()], [variable])
            assert int(optimizer.iterations) == round_ + (call == 2)
            if call < 2:
                np.testing.assert_array_equal(variable.value, before)
        reference.apply([total / 3], [other])
        np.testing.assert_allclose(variable.value, other.value, rtol=1e-12)
        [accumulated] = [v for v in optimizer.variables if v.name.endswith("gradient_accumulator")]
        assert not accumulated.value.any()


def test_accumulated_lookups_stay_sparse(monkeypatch):
    seen = []
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=2)
    variable = table()
    optimizer.build([variable])
    [held] = optimizer._ledgers.values()
    monkeypatch.setattr(type(held), "step", lambda self, gradient, *_: seen.append(gradient))
    optimizer.apply([sliced([(3, 1.0, 1.0, 1.0), (3, 1.0, 1.0, 1.0)])])
    optimizer.apply([sliced([(5, 2.0, 2.0, 2.0), (3, 2.0, 2.0, 2.0)])])
    [gradient] = seen
    assert isinstance(gradient, IndexedSlices)
    np.testing.assert_array_equal(gradient.to_dense()[[3, 5]], [[2] * 3, [1] * 3])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_infinity_does_not_stay_in_the_accumulator(bad):
    variable = table()
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=2, clipvalue=1.0)
    for value in (bad, 1.0):
        optimizer.apply([sliced([(3, value, 1.0, 1.0)])], [variable])
    assert not optimizer.variables[2].value.any()


def test_state_in_the_midst_of_accumulation():
    variable, other = table(), table()
    make = {"gradient_accumulation_steps": 3}
    optimizer, restored = optimizers.SGD(1.0, **make), optimizers.SGD(1.0, **make)
    for _ in range(2):
        optimizer.apply([sliced([(3, 1.0, 2.0, 3.0)])], [variable])
    restored.build([other])
    restored.set_weights(optimizer.get_weights())
    for one, its in ((optimizer, variable), (restored, other)):
        one.apply([sliced([(4, 1.0, 2.0, 3.0)])], [its])
    assert not np.array_equal(variable.value, table().value)
    np.testing.assert_array_equal(variable.value, other.value)


@each_setting
@pytest.mark.parametrize("lazy", [False, True])
def test_nonneg_holds_for_all_rows_from_the_first_step_on(setting, lazy):
    cls, rule, arguments, constants = SETTINGS[setting]
    if lazy and rule != "sgd":
        return  # there is no twin of what lazy means for slots
    variable = table("float64", constraint=constraints.NonNeg())
    optimizer = cls(lambda: 0.05, lazy=lazy, **arguments)
    twin = Dense(rule, variable.value, learning_rate=0.05, **constants)
    rng = np.random.default_rng(9)
    for step in range(12):
        if step == 6:  # from outside
            variable.assign(table("float64", seed=1).value)
            twin.w[...] = variable.value
        gradient = lookup_gradient(rng, dtype="float64")
        optimizer.apply([gradient], [variable])
        twin.step(gradient.to_dense())
        np.maximum(twin.w, 0, out=twin.w)
        np.testing.assert_allclose(variable.value, twin.w, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("constraint", [constraints.NonNeg(), constraints.UnitNorm(axis=1)])
@pytest.mark.parametrize("accumulated", [None, 2])
def test_constraints_come_after_each_call(constraint, accumulated):
    variable = table("float64", constraint=constraint)
    optimizer = optimizers.SGD(lambda: 0.5, gradient_accumulation_steps=accumulated)
    optimizer.apply([sliced([(3, 1.0, 2.0, 3.0)])], [variable])
    expected = table("float64").numpy()
    if accumulated is None:
        expected[3] -= [0.5, 1, 1.5]
    np.testing.assert_allclose(variable.value, constraint(expected), rtol=1e-12)


# --- Life -----------------------------------------------------------------------------------------


def test_an_embedding_learns():
    words = layers.Embedding(20, 2)
    optimizer = optimizers.Adam(0.1)
    ids, wanted = np.arange(20), np.linspace(-1, 1, 40).reshape(20, 2)
    for _ in range(200):
        rows = words(ids, training=True)
        words.backward(rows - wanted)
        pairs = optimizer.apply_gradients([(words.embeddings.gradient, words.embeddings)])
        assert words.embeddings.gradient is None
    assert pairs is optimizer._iterations
    np.testing.assert_allclose(words(ids), wanted, atol=1e-2)


def test_a_gradient_that_is_missing():
    one, two = Variable([1.0], name="one"), Variable([1.0], name="two")
    optimizer = optimizers.SGD(0.5, weight_decay=0.5)
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['one'\]"):
        optimizer.apply([None, [1.0]], [one, two])
    assert (float(one[0]), float(two[0])) == (1.0, 0.25)  # nor does it decay
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        optimizer.apply([None, None], [one, two])
    optimizer.apply([])
    assert int(optimizer.iterations) == 1
    optimizer.apply([[1.0]], [two])  # some of its variables
    assert int(optimizer.iterations) == 2


def test_only_gradients_that_were_used_are_cleared():
    one, two = Variable([1.0]), Variable([1.0])
    for variable in (one, two):
        variable.add_gradient([1.0])
    optimizer = optimizers.SGD(0.5)
    optimizer.build([one, two])
    optimizer.apply([one.gradient], [one])
    assert one.gradient is None
    assert two.gradient is not None
    with pytest.raises(ValueError):
        optimizer.apply([np.ones(2)], [two])
    assert two.gradient is not None
    with pytest.warns(UserWarning, match="do not exist"):
        optimizer.apply([[1.0], None], [one, two])
    assert two.gradient is not None


def test_the_learning_rate():
    variable = Variable([0.0], dtype="float64")

    def moved(optimizer):
        before = float(variable[0])
        optimizer.apply([[1.0]], [variable])
        return before - float(variable[0])

    optimizer = optimizers.SGD(0.5)
    assert optimizer.learning_rate is optimizer.variables[1]
    assert moved(optimizer) == 0.5
    optimizer.learning_rate = 0.25
    assert moved(optimizer) == 0.25
    optimizer.learning_rate.assign(2)
    assert moved(optimizer) == 2
    optimizer.learning_rate = 1
    assert optimizer.lr == 1
    optimizer.lr = 0.125
    assert moved(optimizer) == 0.125
    optimizer.learning_rate = schedules.PiecewiseConstantDecay([4, 5], [1.0, 2.0, 3.0])
    assert [v.name for v in optimizer.variables] == ["iteration"]
    assert [moved(optimizer) for _ in range(3)] == [1, 2, 3]
    assert optimizer.learning_rate == 3
    with pytest.raises(TypeError, match="not settable"):
        optimizer.learning_rate = 0.5
    optimizer.learning_rate = lambda: 0.75
    assert moved(optimizer) == 0.75
    with pytest.raises(TypeError, match="not settable"):
        optimizer.lr = 0.5


def test_a_schedule_sees_every_call():
    variable = Variable([0.0], dtype="float64")
    seen = []

    class Seen(schedules.LearningRateSchedule):
        def __call__(self, step):
            seen.append(int(step))
            return 1.0

    optimizer = optimizers.SGD(Seen(), gradient_accumulation_steps=2)
    for _ in range(4):
        optimizer.apply([[1.0]], [variable])
    assert seen == [1, 3]


def test_what_the_state_follows_from_is_fixed():
    optimizer = optimizers.Adam()
    optimizer.beta_1 = 0.8
    optimizer.build([table()])
    for name in ("beta_1", "epsilon", "amsgrad", "use_ema", "lazy", "gradient_accumulation_steps"):
        with pytest.raises(AttributeError, match=f"`{name}` of a built optimizer is fixed"):
            setattr(optimizer, name, 0.5)
    optimizer.weight_decay, optimizer.clipnorm = 0.1, 1.0
    assert optimizer.get_config()["beta_1"] == 0.8


def test_building():
    optimizer = optimizers.Adam(name="mine")
    assert not optimizer.built
    words, bias = table(path="words/embeddings"), Variable([1.0], name="bias", path="dense/bias")
    optimizer.build([words, bias])
    optimizer.build([bias])  # only the first counts
    assert [v.path for v in optimizer.variables] == [
        "mine/iteration", "mine/learning_rate",
        "mine/words_embeddings_momentum", "mine/words_embeddings_velocity",
        "mine/dense_bias_momentum", "mine/dense_bias_velocity",
    ]  # fmt: skip
    assert not any(v.trainable for v in optimizer.variables)
    with pytest.raises(TypeError, match="moves variables, not a ndarray"):
        optimizers.Adam().build([np.ones(3)])
    with pytest.raises(ValueError, match="no fractions"):
        optimizers.Adam().build([Variable(np.zeros((2, 2), np.int8))])
    with pytest.raises(ValueError, match="given twice"):
        optimizers.Adam().build([words, bias, words])
    with pytest.raises(NotImplementedError, match="has no rule"):
        optimizers.Optimizer(0.1).build([words])


def test_describe():
    optimizer = optimizers.Adam()
    optimizer.build([table(path="words/embeddings"), Variable([1.0], name="bias")])
    head, words, bias = optimizer.describe().splitlines()
    assert head.split() == ["variable", "shape", "path", "why"]
    assert words.startswith("words/embeddings  (12, 3)")
    assert bias.startswith("bias              (1,)")
    assert optimizers.Adam().describe() == "variable  shape  path  why"


def test_repr():
    optimizer = optimizers.SGD(lambda: 0.1, name="mine")
    assert repr(optimizer) == "<SGD name=mine, not built, iterations=0>"
    optimizer.apply([[1.0]], [Variable([1.0])])
    assert repr(optimizer) == "<SGD name=mine, built for 1 variables, iterations=1>"


def test_threads_may_share_an_optimizer():
    variable = Variable(np.zeros((50, 2)), dtype="float64")
    optimizer = optimizers.SGD(lambda: 1.0)
    optimizer.build([variable])
    gradient = IndexedSlices(-np.ones((1, 2)), np.array([3]), (50, 2))

    def work():
        for _ in range(50):
            optimizer.apply([gradient], [variable])

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert variable.value[3, 0] == 200
    assert int(optimizer.iterations) == 200


# --- Errors: nothing is changed -------------------------------------------------------------------


def bad_gradients():
    good = np.ones((ROWS, WIDTH), np.float32)
    rows = good[:2]
    yield "wrong shape", np.ones((ROWS, WIDTH + 1)), ValueError, "must have the variable's"
    yield "to be broadcast", np.ones((1, WIDTH)), ValueError, "nothing is broadcast"
    yield "a number", 1.0, ValueError, "nothing is broadcast"
    yield "of text", np.full((ROWS, WIDTH), "a"), TypeError, "must be numbers"
    yield "complex", good * 1j, TypeError, "must be numbers"
    another = IndexedSlices(rows, np.array([0, 1]), (ROWS + 1, WIDTH))
    yield "of another table", another, ValueError, "another table"
    for row in (-1, ROWS, -(2**63), 2**63 - 1):
        yield (
            f"row {row}",
            IndexedSlices(rows, np.array([0, row]), good.shape),
            IndexError,
            f"names the row {row} ",
        )
    large = IndexedSlices(rows, np.array([0, 2**64 - 1], np.uint64), good.shape)
    yield "unsigned row", large, IndexError, f"names the row {2**64 - 1} "
    yield "row 0.0", IndexedSlices(rows, np.array([0.0, 1.0]), good.shape), TypeError, "named by integers"


@pytest.mark.parametrize(
    ("gradient", "error", "message"), [pytest.param(*rest, id=name) for name, *rest in bad_gradients()]
)
@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("accumulated", [None, 2])
def test_a_bad_gradient_changes_nothing(gradient, error, message, built, accumulated):
    words, bias = table(), Variable(np.ones(WIDTH), name="bias")
    optimizer = optimizers.Adam(0.1, gradient_accumulation_steps=accumulated)
    if built:
        optimizer.build([bias, words])
    bias.add_gradient(np.ones(WIDTH))
    before = state_of(optimizer), words.numpy(), bias.numpy()
    with pytest.raises(error, match=message):
        optimizer.apply([bias.gradient, gradient], [bias, words])
    assert same_state(before[0], state_of(optimizer))
    assert optimizer.built is built
    np.testing.assert_array_equal(words.value, before[1])
    np.testing.assert_array_equal(bias.value, before[2])
    assert bias.gradient is not None


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", ">i8", "u8"])
def test_rows_may_be_named_by_any_integers(dtype):
    variable = table("float64")
    before = variable.numpy()
    values = np.ones((4, 2 * WIDTH))[::2, ::2]
    gradient = IndexedSlices(values, np.array([5, 9, 2, 9]).astype(dtype)[::2], (ROWS, WIDTH))
    optimizers.SGD(lambda: 1.0).apply([gradient], [variable])
    np.testing.assert_allclose((before - variable.value)[[2, 5]], 1)
    assert np.count_nonzero(before - variable.value) == 2 * WIDTH


def test_gradients_and_variables_that_do_not_fit_together():
    one, two = Variable([1.0], name="one"), Variable([1.0], name="two")
    optimizer = optimizers.SGD(0.5)
    with pytest.raises(ValueError, match="must already be built"):
        optimizer.apply([[1.0]])
    with pytest.raises(ValueError, match="a list of 1 gradients for 2 trainable variables"):
        optimizer.apply([[1.0]], [one, two])
    with pytest.raises(ValueError, match="given twice"):
        optimizer.apply([[1.0], [1.0]], [one, one])
    with pytest.raises(ValueError, match="got no pairs"):
        optimizer.apply_gradients([])
    with pytest.raises(TypeError, match="moves variables"):
        optimizer.apply([[1.0]], [np.ones(1)])
    assert not optimizer.built
    optimizer.build([one])
    with pytest.raises(ValueError, match="Unknown variable: <Variable path=two"):
        optimizer.apply([[1.0], [1.0]], [one, two])
    with pytest.raises(ValueError, match="given twice"):
        optimizer.apply([[1.0], [1.0]], [one, one])
    with pytest.raises(ValueError, match="a list of 2 gradients for 1 trainable"):
        optimizer.apply([[1.0], [1.0]])
    assert (float(one[0]), int(optimizer.iterations)) == (1.0, 0)
    one.assign([3.0])
    optimizer.apply([[1.0]])
    assert float(one[0]) == 2.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.Adam(1), "Argument `learning_rate` should be float"),
        (lambda: optimizers.Adam("fast"), "Argument `learning_rate` should be float"),
        (lambda: optimizers.Adam(None), "Argument `learning_rate` should be float"),
        (lambda: optimizers.Adam(clipnorm=1.0, clipvalue=1.0), "Only one of"),
        (lambda: optimizers.Adam(gradient_accumulation_steps=1), "must be an integer >= 2"),
        (lambda: optimizers.Adam(use_ema=True, ema_momentum=1.5), "must be in the range"),
        (lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=0.5), "integer >= 1"),
        (lambda: optimizers.Adam(name="a/b"), "cannot contain character `/`"),
        (lambda: optimizers.Adam(beta_1=1.0), "`beta_1` must be at least 0 and below 1"),
        (lambda: optimizers.Adam(beta_2=-0.5), "`beta_2` must be at least 0 and below 1"),
        (lambda: optimizers.Adam(speed=1.0), "Unrecognized keyword arguments"),
        (lambda: optimizers.AdamW(weight_decay=None), "must be a float"),
        (lambda: optimizers.SGD(momentum=1), "`momentum` must be a float"),
        (lambda: optimizers.SGD(momentum=1.5), "`momentum` must be a float"),
        (lambda: optimizers.Adagrad(initial_accumulator_value=-1.0), "needs to be positive or zero"),
        (lambda: optimizers.RMSprop(momentum=-1.0), "needs to be positive or zero"),
        (lambda: optimizers.Ftrl(learning_rate_power=0.5), "needs to be negative or zero"),
        (lambda: optimizers.Ftrl(l1_regularization_strength=-1.0), "needs to be positive or zero"),
        (lambda: optimizers.Lion(beta_1=0.0), "degenerates to SignSGD"),
        (lambda: optimizers.Lamb(lazy=True), "Lamb cannot be lazy"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- State ----------------------------------------------------------------------------------------


def trained(cls, steps=3, **kwargs):
    variable = table()
    optimizer = cls(0.01, **kwargs)
    rng = np.random.default_rng(8)
    for _ in range(steps):
        optimizer.apply([lookup_gradient(rng)], [variable])
    return optimizer, variable, lookup_gradient(rng)


@each_class
def test_state_is_saved_and_restored(cls):
    optimizer, variable, gradient = trained(cls)
    store = {}
    optimizer.save_own_variables(store)
    assert list(store) == [str(i) for i in range(len(optimizer.variables))]
    other = table()
    other.assign(variable.value)
    restored = cls(0.5, name="another")
    restored.build([other])
    restored.load_own_variables(store)
    assert same_state(state_of(optimizer), state_of(restored))
    for one, its in ((optimizer, variable), (restored, other)):
        one.apply([gradient], [its])
    np.testing.assert_allclose(other.value, variable.value, rtol=1e-6)


@each_class
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))],
    ids=["deepcopy", "pickle"],
)
def test_copies_go_on_by_themselves(cls, copied):
    optimizer, variable, gradient = trained(cls, use_ema=True, gradient_accumulation_steps=2)
    again, its = copied((optimizer, variable))
    assert same_state(state_of(optimizer), state_of(again))
    before = variable.numpy()
    again.apply([gradient], [its])
    np.testing.assert_array_equal(variable.value, before)
    assert int(again._iterations) == 4
    assert int(optimizer._iterations) == 3
    optimizer.apply([gradient], [variable])
    np.testing.assert_array_equal(variable.value, its.value)
    alone = copied(optimizer)
    assert alone.get_config() == optimizer.get_config()


def test_state_of_another_optimizer():
    optimizer, _, _ = trained(optimizers.Adam)
    before = state_of(optimizer)
    store = {}
    trained(optimizers.SGD)[0].save_own_variables(store)
    with pytest.warns(UserWarning, match="Skipping variable loading .* it has 4 variables whereas .* 2 var"):
        optimizer.load_own_variables(store)
    with pytest.warns(UserWarning, match="has not been built yet"):
        optimizers.Adam().load_own_variables(dict.fromkeys("0123"))
    with pytest.raises(ValueError, match=r"has 4 variables .* but 2 values were given"):
        optimizer.set_weights(list(store.values()))
    wrong = [value[1:] if value.ndim else value for value in optimizer.get_weights()]
    wrong[0] = wrong[0] + 1
    with pytest.raises(ValueError, match=r"momentum has shape \(12, 3\), not compatible with .* \(11, 3\)"):
        optimizer.set_weights(wrong)
    with pytest.raises(ValueError, match="not compatible"):
        optimizer.load_own_variables({str(i): value for i, value in enumerate(wrong)})
    half = optimizer.get_weights()
    half[0] = np.array(1.5)
    with pytest.raises(ValueError, match="cannot hold"):
        optimizer.set_weights(half)
    with pytest.raises(ValueError, match="has not yet been built"):
        optimizers.Adam().set_weights([])
    assert same_state(before, state_of(optimizer))


def test_the_count_of_steps_is_a_variable():
    optimizer, variable, gradient = trained(optimizers.Adam)
    count = optimizer.iterations
    assert (count.dtype, count.shape, int(count.value), count.name) == ("int64", (), 3, "iteration")
    assert count == 3
    view = count.value
    with pytest.raises(ValueError, match="read-only"):
        view[...] = 5
    count.assign(10)
    optimizer.apply([gradient], [variable])
    assert int(count) == int(np.asarray(count)) == 11
    assert pickle.loads(pickle.dumps(count)) == 11
    assert copy.deepcopy(count).assign_add(1) == 12
    rate = optimizer.learning_rate
    assert (rate.dtype, float(rate)) == ("float32", float(np.float32(0.01)))


# --- Names and configs ----------------------------------------------------------------------------


@each_class
def test_configs(cls):
    for optimizer in (
        cls(),
        cls(0.5, name="mine", clipnorm=2.0, use_ema=True, ema_momentum=0.5, weight_decay=0.25),
        cls(schedules.CosineDecay(0.1, 100), loss_scale_factor=2.0, gradient_accumulation_steps=4),
    ):
        config = optimizer.get_config()
        assert json.loads(json.dumps(config)) == config
        again = cls.from_config(config)
        assert again.get_config() == config
        assert type(again._learning_rate) is type(optimizer._learning_rate)
        written = json.loads(json.dumps(optimizers.serialize(optimizer)))
        read = optimizers.deserialize(written)
        assert type(read) is cls
        assert read.get_config() == config
        assert fastembed.saving.deserialize_keras_object(written).get_config() == config


def test_configs_are_read_before_anybody_has_named_an_optimizer():
    code = (
        "import fastembed\n"
        "for module in (fastembed.saving, fastembed.utils):\n"
        "    made = module.deserialize_keras_object({'module': 'keras.optimizers', 'class_name': 'Adam',\n"
        "        'config': {'learning_rate': {'module': 'keras.optimizers.schedules', 'class_name':\n"
        "        'CosineDecay', 'config': {'initial_learning_rate': 0.1, 'decay_steps': 5}}}})\n"
        "    print(made.learning_rate)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["0.1", "0.1"], done.stderr


@each_class
def test_names(cls):
    name = cls.__name__
    for spelling in (name, name.lower(), name.upper(), f"Custom>{name}", f"Experimental{name}"):
        assert type(optimizers.get(spelling)) is cls
        assert type(optimizers.get({"class_name": spelling, "config": {}})) is cls
    for more in (
        {"module": "keras.optimizers", "registered_name": None},
        {"module": "keras.src.optimizers", "registered_name": f"Custom>{name}"},
        {"module": "tf_keras.optimizers.legacy", "registered_name": name},
    ):
        assert type(optimizers.deserialize({"class_name": name, "config": {"name": "x"}, **more})) is cls
    optimizer = cls()
    assert optimizers.get(optimizer) is optimizer
    assert optimizers.get(None) is None
    assert isinstance(optimizer, optimizers.Optimizer)


@pytest.mark.parametrize("bad", ["nothing", 3, optimizers.Adam, {"class_name": "Nothing", "config": {}}, {},
                                 {"class_name": "Adam", "config": {"speed": 1}}, "optimizer",
                                 {"class_name": "Adam", "config": {}, "module": "mine"}])  # fmt: skip
def test_no_optimizer(bad):
    with pytest.raises(ValueError):
        optimizers.get(bad)


def test_reading_a_config_leaves_it_as_it_is():
    config = {"class_name": "ADAM", "config": {"learning_rate": {"class_name": "CosineDecay", "config": {
        "initial_learning_rate": 0.1, "decay_steps": 10}}}}  # fmt: skip
    before = copy.deepcopy(config)
    assert isinstance(optimizers.get(config)._learning_rate, schedules.CosineDecay)
    assert config == before


class OwnSchedule(schedules.LearningRateSchedule):
    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first

    def get_config(self):
        return {"first": self.first}


class OwnSGD(optimizers.SGD):
    pass


def test_objects_of_the_user_s_own():
    optimizer = OwnSGD(OwnSchedule(0.25), momentum=0.5)
    config = optimizers.serialize(optimizer)
    own = {"OwnSGD": OwnSGD, "OwnSchedule": OwnSchedule}
    again = optimizers.deserialize(config, own)
    assert type(again) is OwnSGD
    assert again.get_config() == optimizer.get_config()
    assert again.name.startswith("own_sgd")
    with pytest.raises(ValueError):
        optimizers.deserialize(config)
    with pytest.raises(TypeError):
        optimizers.SGD(lambda: 0.1).get_config()
    unsaved = schedules.LearningRateSchedule()
    with pytest.raises(NotImplementedError, match="must override `__call__"):
        unsaved(0)
    with pytest.raises(NotImplementedError, match="must override `get_config"):
        unsaved.get_config()


def test_signatures_say_what_may_be_given():
    parameters = inspect.signature(optimizers.Adam).parameters
    assert list(parameters)[:6] == ["learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay"]
    assert list(parameters)[-3:] == ["name", "lazy", "decay"]
    optimizer = optimizers.Adam(0.5, 0.8, 0.9, 1e-3, True, 0.1, None, 2.0, None, True, 0.5, 3, 4.0, 2, "mine")
    assert optimizer.get_config() == {
        "name": "mine", "learning_rate": 0.5, "weight_decay": 0.1, "clipnorm": None, "global_clipnorm": None,
        "clipvalue": 2.0, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3,
        "loss_scale_factor": 4.0, "gradient_accumulation_steps": 2, "beta_1": 0.8, "beta_2": 0.9,
        "epsilon": 1e-3, "amsgrad": True,
    }  # fmt: skip
    with pytest.raises(TypeError, match="positional"):
        optimizers.Adam(*range(16))
    with pytest.raises(TypeError, match="both by position and by keyword"):
        optimizers.Adam(0.5, learning_rate=0.5)


# --- Eras -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("era", "expression", "expected"),
    [
        ("keras1", "SGD(0.5, 0.9, 0.25, True)", {"momentum": 0.9, "decay": 0.25, "nesterov": True}),
        ("keras1", "Adam()", {"learning_rate": 0.001, "epsilon": 1e-8}),
        ("keras1", "Adadelta()", {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-8}),
        ("keras2", "RMSprop(0.5, 0.8, None, 0.125)", {"rho": 0.8, "epsilon": 1e-7, "decay": 0.125}),
        ("keras2", "Adagrad()", {"learning_rate": 0.01, "initial_accumulator_value": 0.0, "epsilon": 1e-7}),
        ("keras2", "Adagrad(0.5, 1e-3)", {"learning_rate": 0.5, "epsilon": 1e-3}),
        ("keras2", "Adadelta()", {"learning_rate": 1.0}),
        ("keras2", "Adam(0.5, 0.8, 0.9, None, 0.25, True)", {"decay": 0.25, "amsgrad": True}),
        ("keras2", "Adamax()", {"learning_rate": 0.002}),
        ("keras2", "Nadam()", {"learning_rate": 0.002, "schedule_decay": 0.004}),
        ("keras2", "Nadam(0.5, 0.8, 0.9, 1e-3, 0.5)", {"epsilon": 1e-3, "schedule_decay": 0.5}),
        ("keras2", "SGD(lr=1, momentum=0)", {"learning_rate": 1.0, "momentum": 0.0}),
        ("keras2", "Adam(clipnorm=2.)", {"clipnorm": None, "global_clipnorm": 2.0}),
        ("tf.keras", "Adam(clipnorm=2., jit_compile=False)", {"clipnorm": 2.0, "name": "Adam"}),
        ("tf.keras", "Lion()", {"learning_rate": 0.0001}),
        ("tf.keras", "RMSprop()", {"ema_overwrite_frequency": 100}),
        ("tf.keras", "Adam(1, decay=0.5)", {"learning_rate": 1.0, "decay": 0.5}),
        ("tf.keras", "Nadam()", {"learning_rate": 0.001}),
        ("keras3", "Adam(lr=0.5)", {"learning_rate": 0.5}),
        ("keras3", "Adam(epsilon=None)", {"epsilon": 1e-7}),
        ("keras3", "Adadelta()", {"learning_rate": 0.001}),
        ("keras3", "Adagrad()", {"learning_rate": 0.001, "initial_accumulator_value": 0.1}),
    ],
)
def test_defaults_and_positions_of_every_era(era, expression, expected):
    with fastembed.era(era):
        config = eval(expression, vars(optimizers)).get_config()
        from_name = optimizers.get(expression.partition("(")[0]).get_config()
    expected = {k: float(np.float32(v)) if k == "learning_rate" else v for k, v in expected.items()}
    assert {key: config[key] for key in expected} == expected
    if "()" in expression:
        assert {key: from_name[key] for key in expected} == expected
    cls = getattr(optimizers, expression.partition("(")[0])
    assert cls.from_config(config).get_config() == config  # read in Keras 3's era


def test_names_of_every_era():
    assert optimizers.RMSprop().name.startswith("rm_sprop")
    with fastembed.era("tf.keras"):
        assert optimizers.RMSprop().name == "RMSprop"
    with fastembed.era("keras2"):
        assert optimizers.RMSprop().name.startswith("rm_sprop")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(
            {"name": "SGD", "lr": 0.5, "momentum": 0.0, "decay": 0.25, "nesterov": False},
            {"learning_rate": 0.5, "decay": 0.25}, id="Keras 1",
        ),
        pytest.param(
            {"class_name": "Adagrad", "config": {"lr": 0.5, "decay": 0.0, "epsilon": 1e-7}},
            {"initial_accumulator_value": 0.0}, id="Keras 2.2",
        ),
        pytest.param(
            {"class_name": "Adam", "config": {"lr": 0.5, "clipnorm": 2.0}},
            {"global_clipnorm": 2.0, "clipnorm": None}, id="Keras 2.2, clipping",
        ),
        pytest.param(
            {"class_name": "Nadam", "config": {"lr": 0.5, "schedule_decay": 0.004}},
            {"schedule_decay": 0.004}, id="Keras 2.2, Nadam",
        ),
        pytest.param(
            {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 0.5, "decay": 0.125,
                                              "clipnorm": 2.0}},
            {"decay": 0.125, "clipnorm": 2.0}, id="tf.keras 2.10",
        ),
        pytest.param(
            {"class_name": "Nadam", "config": {"name": "Nadam", "learning_rate": 0.5, "decay": 0.004}},
            {"schedule_decay": 0.004}, id="tf.keras 2.10, Nadam",
        ),
        pytest.param(
            {"class_name": "Custom>Adam",
             "config": {"name": "Adam", "jit_compile": True, "weight_decay": None, "learning_rate": 1.0}},
            {"learning_rate": 1.0, "name": "Adam"}, id="tf.keras 2.11",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("era", ["keras3", "keras1", "tf.keras"])
def test_configs_of_every_era(config, expected, era):
    with fastembed.era(era), warnings.catch_warnings():
        warnings.simplefilter("error")
        read = optimizers.get(config).get_config()
    assert {key: read[key] for key in expected} == expected


def test_decay():
    variable = Variable([0.0], dtype="float64")
    with pytest.warns(UserWarning, match="Argument `decay` is no longer supported"):
        assert optimizers.SGD(0.5, decay=0.25).decay == 0
    for era in ("keras1", "keras2", "tf.keras"):
        with fastembed.era(era):
            optimizer = optimizers.SGD(0.5, decay=0.25, momentum=0.0)
        variable.assign([0.0])
        optimizer.weight_decay = 0.0
        for step in range(3):
            before = float(variable[0])
            optimizer.apply([[1.0]], [variable])
            assert before - float(variable[0]) == pytest.approx(0.5 / (1 + 0.25 * step))
        assert optimizer.learning_rate == 0.5


def test_nadam_of_keras_2():
    """u_t = beta_1 * (1 - 0.96**(t * schedule_decay) / 2), which Keras 3 has without the factor."""
    optimizer = optimizers.Nadam(lambda: 0.1, schedule_decay=0.004)
    variable = Variable([1.0], dtype="float64")
    w, m, v, product = 1.0, 0.0, 0.0, 1.0
    for t in range(1, 6):
        optimizer.apply([[0.5]], [variable])
        now, after = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * s)) for s in (t, t + 1))
        product *= now
        m, v = 0.9 * m + 0.1 * 0.5, 0.999 * v + 0.001 * 0.25
        mean = (1 - now) * 0.5 / (1 - product) + after * m / (1 - product * after)
        w -= 0.1 * mean / (math.sqrt(v / (1 - 0.999**t)) + 1e-7)
        assert float(variable[0]) == pytest.approx(w, rel=1e-12)


# --- Schedules ------------------------------------------------------------------------------------

S = schedules
FORMULAS = [
    (S.ExponentialDecay(0.1, 7, 0.5), lambda s: 0.1 * 0.5 ** (s / 7)),
    (S.ExponentialDecay(0.1, 7, 0.5, staircase=True), lambda s: 0.1 * 0.5 ** (s // 7)),
    (S.InverseTimeDecay(0.1, 7, 0.5), lambda s: 0.1 / (1 + 0.5 * s / 7)),
    (S.InverseTimeDecay(0.1, 7, 0.5, staircase=True), lambda s: 0.1 / (1 + 0.5 * (s // 7))),
    (S.PiecewiseConstantDecay([5, 20], [1.0, 0.5, 0.1]),
     lambda s: 1.0 if s <= 5 else 0.5 if s <= 20 else 0.1),
    (S.PiecewiseConstantDecay([2.5], [1, 2]), lambda s: 1.0 if s <= 2 else 2.0),
    (S.PiecewiseConstantDecay([], [0.25]), lambda s: 0.25),
    (S.PolynomialDecay(0.1, 9), lambda s: (0.1 - 1e-4) * (1 - min(s, 9) / 9) + 1e-4),
    (S.PolynomialDecay(0.1, 9, 0.01, 2.0), lambda s: 0.09 * (1 - min(s, 9) / 9) ** 2 + 0.01),
    (S.PolynomialDecay(0.1, 9, 0.01, 0.5, cycle=True),
     lambda s: 0.09 * (1 - s / (9 * max(1, math.ceil(s / 9)))) ** 0.5 + 0.01),
    (S.CosineDecay(0.1, 9), lambda s: 0.05 * (1 + math.cos(math.pi * min(s, 9) / 9))),
    (S.CosineDecay(0.1, 9, 0.2), lambda s: 0.1 * (0.4 * (1 + math.cos(math.pi * min(s, 9) / 9)) + 0.2)),
    (S.CosineDecay(0, 9, warmup_target=0.4, warmup_steps=4),
     lambda s: 0.1 * s if s < 4 else 0.2 * (1 + math.cos(math.pi * min(s - 4, 9) / 9))),
    (S.CosineDecayRestarts(0.1, 5, t_mul=1.0), lambda s: 0.05 * (1 + math.cos(math.pi * (s % 5) / 5))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "formula"), FORMULAS, ids=[type(schedule).__name__ for schedule, _ in FORMULAS]
)
def test_schedules(schedule, formula):
    steps = list(range(60))
    expected = [formula(step) for step in steps]
    np.testing.assert_allclose([schedule(step) for step in steps], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(schedule(np.array(steps).reshape(6, 10)), np.reshape(expected, (6, 10)))
    assert type(schedule(Variable(3))) is float
    config = json.loads(json.dumps(schedules.serialize(schedule)))
    again = schedules.deserialize(config)
    assert again.get_config() == schedule.get_config()
    assert schedules.deserialize({k: config[k] for k in ("class_name", "config")})(7) == schedule(7)
    assert pickle.loads(pickle.dumps(schedule))(7) == schedule(7)


@pytest.mark.parametrize("t_mul", [1.0, 1.5, 2.0, 3.0, 0.9])
@pytest.mark.parametrize("first", [1, 3, 10, 1000])
def test_restarts_are_at_the_first_step_of_a_period(t_mul, first):
    schedule = S.CosineDecayRestarts(0.1, first, t_mul, m_mul=0.5, alpha=0.1)
    begin, length, height = 0.0, float(first), 1.0
    for _ in range(8):
        end = begin + length
        for step in {math.ceil(begin), math.ceil(begin + length / 2), math.ceil(end) - 1}:
            # Where 0.9 has been multiplied, whether a step is the last or the first is a matter of rounding.
            if begin + (t_mul == 0.9) * 1e-6 <= step < end - (t_mul == 0.9) * 1e-6:
                fraction = (step - begin) / length
                expected = 0.1 * (0.9 * height * 0.5 * (1 + math.cos(math.pi * fraction)) + 0.1)
                assert schedule(step) == pytest.approx(expected, rel=1e-9)
        begin, length, height = end, length * t_mul, height * 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: S.ExponentialDecay(0.1, 0, 0.5),
        lambda: S.InverseTimeDecay(0.1, -1, 0.5),
        lambda: S.PolynomialDecay(0.1, 0),
        lambda: S.CosineDecay(0.1, 0),
        lambda: S.CosineDecayRestarts(0.1, 0),
        lambda: S.CosineDecayRestarts(0.1, 5, t_mul=0.0),
        lambda: S.CosineDecayRestarts(0.1, 5, t_mul=0.5)(10),
        lambda: S.PiecewiseConstantDecay([1, 2], [0.1, 0.2]),
        lambda: S.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]),
        lambda: S.deserialize({"class_name": "Nothing", "config": {}}),
        lambda: S.deserialize({"class_name": "CosineDecay", "config": {"speed": 1}}),
        lambda: S.deserialize("Nothing"),
    ],
)
def test_schedules_that_are_none(make):
    with pytest.raises(ValueError):
        make()


def test_every_rule_has_a_twin():
    assert {rule for _, rule, _, _ in SETTINGS.values()} == set(CONSTANTS)


def test_a_learning_rate_that_is_halved_in_place():
    optimizer = optimizers.SGD(0.5)
    optimizer.learning_rate *= 0.5
    assert float(optimizer.learning_rate) == 0.25
    assert repr(optimizer.learning_rate).endswith("value=0.25>")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o, v: o.apply([np.ones(2)], v), "takes lists"),
        (lambda o, v: o.apply(IndexedSlices(np.ones((1,)), np.array([0]), (2,)), [v]), "takes lists"),
        (lambda o, v: o.apply_gradients([(v, np.ones(2))]), "takes pairs"),
        (lambda o, v: o.apply_gradients([np.ones(2)]), "takes pairs"),
    ],
)
def test_arguments_that_are_mixed_up(call, message):
    variable = Variable([1.0, 2.0])
    with pytest.raises(TypeError, match=message):
        call(optimizers.SGD(0.5), variable)
    assert variable.numpy().tolist() == [1.0, 2.0]


def test_a_learning_rate_that_is_no_number():
    with pytest.raises(TypeError, match="learning_rate gave 'x'"):
        optimizers.SGD(lambda: "x").apply([np.ones(2)], [Variable([1.0, 2.0])])

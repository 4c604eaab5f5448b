"""The compiled steps of the optimizers against their plain twins, and what rows are owed meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
import twins
from hypothesis import given
from hypothesis import strategies as st

from fastembed import num_threads
from fastembed._steps import Steps, why_dense

RULES = list(twins.CONSTANTS)
SPARSE = [rule for rule in RULES if rule != "lamb"]


def pair(rule, rng, *, rows=30, dim=7, dtype="float32", mode="sparse", decay=0.0, **constants):
    """Steps and the dense twin in float64, from the same table."""
    twin = twins.Dense(
        rule, rng.standard_normal((rows, dim)), weight_decay=decay, learning_rate=0.01, **constants
    )
    table = twin.w.astype(dtype)
    twin.w = table.astype("float64")
    slots = [slot.astype(dtype) for slot in twin.slots.values()]
    steps = Steps(rule, table, slots, twin.constants, mode=mode, decays=bool(decay))
    return steps, twin


def step(steps, twin, indices, values, dense=False, nonneg=False):
    """One step of both by the same gradient."""
    gradient = np.zeros(twin.w.shape)
    np.add.at(gradient, indices, values.astype("float64"))
    lr = twin.learning_rate
    numbers, decay = twin.numbers(lr), twin.weight_decay * lr
    twins.step(twin.rule, twin.constants, numbers, decay, twin.w, list(twin.slots.values()), gradient)
    if nonneg:
        np.maximum(twin.w, 0, out=twin.w)
    twin.steps += 1
    if dense:
        steps.step_all(gradient.astype(values.dtype), numbers, decay, nonneg)
    elif twin.rule == "rowwise_adagrad":
        indices = np.unique(indices)
        steps.step_rows(indices, gradient[indices].astype(values.dtype), numbers, decay, nonneg)
    else:
        steps.step_rows(indices, values, numbers, decay, nonneg)


def check(steps, twin, rtol=2e-5, atol=2e-6):
    np.testing.assert_allclose(steps.finish(), twin.w, rtol=rtol, atol=atol)
    for i, slot in enumerate(twin.slots.values()):
        np.testing.assert_allclose(steps.finish(i), slot, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("rule", SPARSE)
def test_rows_that_had_no_gradient_for_long(rng, rule, decay, dtype):
    """Up to 500 idle steps, dense steps in between, rows that never had a gradient."""
    if why_dense(rule, twins.CONSTANTS[rule], dtype):
        pytest.skip("takes the dense pass")
    steps, twin = pair(rule, rng, dtype=dtype, decay=decay)
    tight = {} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
    if rule == "ftrl" and dtype == "float32":
        tight = {"rtol": 1e-3, "atol": 1e-5}  # its sums cancel, in dense float32 too
    for t in range(700):
        count = int(rng.integers(1, 9))
        # Rows 20 and above only in the first steps, and in some later ones.
        among = 28 if t < 10 or t in (300, 650) else 20 if t < 500 else 3
        indices = rng.integers(0, among, count)
        values = (rng.standard_normal((count, 7)) * 10.0 ** rng.integers(-6, 1)).astype(dtype)
        step(steps, twin, indices, values, dense=t in (100, 101, 350))
        if t % 50 == 0:
            check(steps, twin, **tight)
    check(steps, twin, **tight)
    before = steps.finish()
    steps.settle()
    np.testing.assert_array_equal(steps.finish(), before)
    np.testing.assert_array_equal(steps.rows, before)


@given(seed=st.integers(0, 2**32 - 1), rule=st.sampled_from(SPARSE), threads=st.sampled_from([1, 2, 3]))
def test_bits_do_not_depend_on_threads_or_on_who_looks(seed, rule, threads):
    results = []
    for n, looks in ((1, False), (threads, True)):
        rng = np.random.default_rng(seed)
        with num_threads(n):
            steps, twin = pair(rule, rng, decay=0.01 * (seed % 2))
            for t in range(12):
                indices = rng.integers(0, 30, int(rng.integers(0, 60)))
                values = rng.standard_normal((len(indices), 7)).astype("float32")
                step(steps, twin, indices, values, dense=t == 7)
                if looks:
                    steps.finish()
            results.append([steps.finish(i) for i in range(-1, len(steps.slots))])
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rule", RULES)
def test_dense_steps(rng, rule):
    steps, twin = pair(rule, rng, mode="dense", decay=0.1)
    for _ in range(20):
        step(steps, twin, np.arange(30), rng.standard_normal((30, 7)).astype("float32"), dense=True)
    check(steps, twin)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("lamb", "rowwise_adagrad")])
def test_dense_steps_by_gradients_of_some_rows(rng, rule):
    steps, twin = pair(rule, rng, mode="dense", decay=0.1)
    for _ in range(20):
        indices = np.unique(rng.integers(0, 30, 8))
        values = rng.standard_normal((len(indices), 7)).astype("float32")
        gradient = np.zeros((30, 7))
        gradient[indices] = values
        numbers, decay = twin.numbers(0.01), twin.weight_decay * 0.01
        twins.step(rule, twin.constants, numbers, decay, twin.w, list(twin.slots.values()), gradient)
        twin.steps += 1
        steps.step_all_by_rows(indices, values, numbers, decay)
    check(steps, twin)


@pytest.mark.parametrize("rule", [rule for rule in SPARSE if rule != "rowwise_adagrad"])
def test_lazy_rows_stay(rng, rule):
    steps, twin = pair(rule, rng, mode="lazy")
    before = steps.finish()
    step(steps, twin, np.array([3, 3, 5]), np.ones((3, 7), "float32"))
    step(steps, twin, np.array([4]), np.ones((1, 7), "float32"))
    assert not steps.owes()
    moved = (steps.finish() != before).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [3, 4, 5]


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "amsgrad", "lion", "ftrl", "adagrad"])
def test_nonneg(rng, rule):
    steps, twin = pair(rule, rng, decay=0.1)
    for t in range(60):
        indices = rng.integers(0, 30 if t < 5 else 10, 6)
        step(steps, twin, indices, rng.standard_normal((6, 7)).astype("float32"), nonneg=True)
        check(steps, twin)
    assert (steps.finish() >= 0).all()


def test_why_dense():
    adam = twins.CONSTANTS["adam"]
    assert why_dense("adam", adam, "float32") is None
    assert why_dense("adam", adam, "float64") is None
    assert "16 terms" in why_dense("adam", {**adam, "beta_2": 0.5}, "float32")
    assert "never fades" in why_dense("momentum", {"momentum": 1.0}, "float32")
    assert "epsilon" in why_dense("adam", {**adam, "epsilon": 0.0}, "float32")
    assert "norms" in why_dense("lamb", twins.CONSTANTS["lamb"], "float32")
    assert why_dense("momentum", {"momentum": 0.0}, "float32") is None


def test_a_bad_id_changes_nothing(rng):
    steps, twin = pair("adam", rng)
    step(steps, twin, np.array([1, 1]), np.ones((2, 7), "float32"))
    before = [steps.finish(i) for i in (-1, 0, 1)]
    for bad in ([30], [2, 30], [2, 2, -1], [5, 3, 30]):
        with pytest.raises(IndexError, match="outside the table"):
            steps.step_rows(np.array(bad), np.ones((len(bad), 7), "float32"), (0.1,))
    for one, other in zip(before, [steps.finish(i) for i in (-1, 0, 1)]):
        np.testing.assert_array_equal(one, other)


def test_a_past_too_long_to_keep(rng):
    """All rows are brought up to date when it is; looking at them before changes no bit."""
    results = []
    for looks in (False, True):
        steps, twin = pair("adam", np.random.default_rng(3), rows=5)
        for t in range(20_000):
            indices = np.array([t % 3 if t < 17_000 else 0, 3 if t < 5 else 0])
            values = np.full((2, 7), np.sin(t), "float32")
            gradient = np.zeros((5, 7))
            np.add.at(gradient, indices, values.astype("float64"))
            numbers = twin.numbers(0.01)
            if looks:
                twin.step(gradient)
            twin.steps += not looks
            steps.step_rows(indices, values, numbers)
            if looks and t % 1000 == 0:
                steps.finish()
        results.append([steps.finish(i) for i in (-1, 0, 1)])
    np.testing.assert_allclose(results[1][0], twin.w, rtol=1e-4, atol=1e-5)
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def test_lion_without_memory(rng):
    """beta_2 of 0: an idle row moves once more, by the gradient that it remembers."""
    steps, twin = pair("lion", rng, beta_2=0.0)
    for indices in ([0, 1], [2], [3], [0]):
        step(steps, twin, np.array(indices), rng.standard_normal((len(indices), 7)).astype("float32"))
        check(steps, twin)


def test_wrong_calls_are_refused(rng):
    steps, twin = pair("adam", rng)
    for numbers in ((), (0.1, 0.2), (0.1,) * 7):
        with pytest.raises(ValueError, match="1 numbers"):
            steps.step_rows(np.array([0]), np.ones((1, 7), "float32"), numbers)
    with pytest.raises(ValueError, match="2 slots"):
        Steps("adam", steps.rows, [], twin.constants)
    with pytest.raises(ValueError, match="16 terms"):
        Steps("adam", steps.rows, steps.slots, {**twin.constants, "beta_2": 0.5})
    with pytest.raises(ValueError, match="decays=True"):
        Steps("sgd", steps.rows, [], {}).step_rows(np.array([0]), np.ones((1, 7), "float32"), (0.1,), 0.5)
    empty = Steps.__new__(Steps)
    assert empty.finish().shape == (0, 1)
    with pytest.raises(IndexError):
        empty.step_rows(np.array([0]), np.ones((1, 1), "float32"), (0.1,))

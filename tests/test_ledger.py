"""Variables whose rows an optimizer moves: whoever looks at them sees what dense Keras would have."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
import twins

from fastembed import IndexedSlices, Variable, layers, num_threads, ops
from fastembed.constraints import MaxNorm, NonNeg
from fastembed.optimizers.ledger import Ledger, Rule

RULES = list(twins.CONSTANTS)


class Both:
    """A variable with a ledger, and the dense twin in float64."""

    def __init__(self, rule, rng, dtype="float32", rows=50, dim=6, **options):
        values = rng.standard_normal((rows, dim)).astype("float32")
        self.twin = twins.Dense(rule, values, learning_rate=0.01)
        self.variable = Variable(values, dtype=dtype, name="table")
        self.twin.w = self.variable.numpy().astype("float64")
        wide = "float64" if dtype == "float64" else "float32"
        self.slots = [Variable(slot, dtype=wide, trainable=False) for slot in self.twin.slots.values()]
        self.ledger = Ledger(
            self.variable, self.slots, Rule(rule, self.twin.constants, tuple(self.twin.slots)), **options
        )
        self.rng = rng

    def step(self, among=50, constraint=None):
        indices = self.rng.integers(0, among, int(self.rng.integers(1, 9)))
        values = self.rng.standard_normal((len(indices), self.variable.shape[1])).astype("float32")
        gradient = np.zeros(self.twin.w.shape)
        np.add.at(gradient, indices, values.astype("float64"))
        numbers = self.twin.numbers(0.01)
        twins.step(
            self.twin.rule,
            self.twin.constants,
            numbers,
            0,
            self.twin.w,
            list(self.twin.slots.values()),
            gradient,
        )
        if constraint is not None:
            self.twin.w[...] = constraint(self.twin.w)
        self.twin.steps += 1
        self.ledger.step(IndexedSlices(values, indices, self.variable.shape), numbers, 0.0, constraint)

    def check(self, atol=2e-5):
        np.testing.assert_allclose(self.variable.numpy(), self.twin.w, rtol=1e-3, atol=atol)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.mark.parametrize("rule", RULES)
def test_whatever_happens_between_steps(rng, rule, dtype):
    both = Both(rule, rng, dtype)
    variable, twin = both.variable, both.twin
    layer = layers.Embedding.from_variable(variable, dtype=dtype)
    every_row = np.arange(50)
    held = variable.value
    as_it_was = held.copy()
    for t in range(60):
        both.step(among=50 if t < 10 else 10)
        rows = layer(every_row)
        if t % 7 == 0:  # a look at everything; lookups before and after it are the same
            assert all(slot.value is not None for slot in both.slots)
            np.testing.assert_array_equal(rows, variable.numpy())
            np.testing.assert_array_equal(layer(every_row), variable.numpy())
        if t == 30:
            variable.assign(variable.numpy())
        if t in (40, 45):
            if t == 45:
                assert variable.value is not None
            ops.scatter_add(variable, [3], np.ones((1, 6)))
            twin.w[3] += 1
            np.testing.assert_array_equal(layer(every_row), variable.numpy())
        if t == 50:
            for other in (pickle.loads(pickle.dumps(variable)), copy.deepcopy(variable)):
                np.testing.assert_array_equal(other.numpy(), variable.numpy())
        both.check()
    np.testing.assert_array_equal(held, as_it_was)  # a view that somebody holds does not change


@pytest.mark.parametrize("rule", RULES)
def test_bits_do_not_depend_on_looks(rule):
    results = []
    for looks in (False, True):
        both = Both(rule, np.random.default_rng(5))
        for _ in range(30):
            both.step()
            if looks:
                assert both.variable.value is not None
                assert all(slot.value is not None for slot in both.slots)
        results.append([v.numpy() for v in (both.variable, *both.slots)])
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("assigned", [0, 1, 2])
def test_a_slot_can_be_assigned(rng, assigned):
    both = Both("adam", rng)
    for t in range(20):
        both.step(among=10 if t > 3 else 50)
        if t == 10:
            variable = [both.variable, *both.slots][assigned]
            twin = [both.twin.w, *both.twin.slots.values()][assigned]
            variable.assign(np.abs(variable.numpy()) * 2)
            twin[...] = np.abs(twin) * 2
    both.check()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("rule", ["sgd", "adam", "lamb", "rowwise_adagrad"])
def test_narrow_variables(rng, rule, dtype):
    """Their value is rounded after each step, and their slots are of float32."""
    both = Both(rule, rng, dtype)
    for _ in range(20):
        both.step()
    assert both.ledger.path == "dense"
    assert dtype in both.ledger.why
    both.check(atol=0.1)


def test_constraints(rng):
    for rule, constraint, path in (("adam", NonNeg(), "sparse"), ("adam", MaxNorm(1.0), "dense")):
        both = Both(rule, rng)
        for t in range(40):
            both.step(among=50 if t < 5 else 10, constraint=constraint)
            both.check()
        assert both.ledger.path == path


def test_dense_gradients_between_sparse_ones(rng):
    both = Both("adam", rng)
    for t in range(30):
        both.step(among=50 if t < 5 else 10)
        if t % 10 == 9:
            gradient = rng.standard_normal((50, 6))
            numbers = both.twin.numbers(0.01)
            both.twin.step(gradient)
            both.ledger.step(gradient.astype("float32"), numbers)
            assert (both.ledger.path, both.ledger.why) == ("dense", "its gradient is dense")
        both.check()
    assert both.ledger.path == "dense"
    both.step()
    assert both.ledger.path == "sparse"


def test_one_number_and_none():
    for shape in ((), (3,), (0, 4), (4, 0)):
        values = np.ones(shape, "float32")
        variable, slots = Variable(values), [Variable(np.zeros(shape, "float32")) for _ in range(2)]
        ledger = Ledger(variable, slots, Rule("adam", twins.CONSTANTS["adam"], ("m", "v")))
        ledger.step(np.full(shape, 2.0), (0.1,))
        assert variable.shape == shape
        np.testing.assert_allclose(variable.numpy(), 1 - 0.1 * 0.2 / np.sqrt(0.004), rtol=1e-4)


def test_a_step_that_fails_changes_nothing(rng):
    both = Both("adam", rng)
    both.step()
    before = [v.numpy() for v in (both.variable, *both.slots)]
    for indices in ([50], [3, 3, 50], [-1]):
        with pytest.raises(IndexError, match="outside the table"):
            both.ledger.step(IndexedSlices(np.ones((len(indices), 6)), np.array(indices), (50, 6)), (0.1,))
    for one, other in zip(before, [v.numpy() for v in (both.variable, *both.slots)]):
        np.testing.assert_array_equal(one, other)


# --- Lookups of rows that are owed moves ----------------------------------------------------------


def owing(rng, rows=50, dim=6, **options):
    both = Both("adam", rng, rows=rows, dim=dim, **options)
    both.step(among=rows)
    both.step(among=rows)
    table = both.variable.rows()
    assert table.owed is not None
    return both, table


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("rows", "dim"), [(50, 6), (3000, 65), (3, 1 << 21)])
def test_every_way_to_look_up(rng, rows, dim, threads):
    both, table = owing(rng, rows, dim)
    ids = rng.integers(0, rows, 9 if dim > 1000 else 40_000 // dim)
    with num_threads(threads):
        looked_up = table.gather(ids)
        clipped = table.gather(ids - 1, None, "clip")
        zeros = table.gather(ids - 1, None, "zeros")
        out = np.empty_like(looked_up)
        table.gather(ids, out)
        with pytest.raises(IndexError):
            table.gather(ids + rows)
    assert table.owed is not None  # nothing was settled by looking
    values = both.variable.numpy()
    np.testing.assert_array_equal(looked_up, values[ids])
    np.testing.assert_array_equal(out, looked_up)
    np.testing.assert_array_equal(clipped, values[np.maximum(ids - 1, 0)])
    np.testing.assert_array_equal(zeros, np.where((ids > 0)[:, None], values[ids - 1], 0))


def test_large_outputs(rng):
    both, table = owing(rng, 100, 64)
    ids = rng.integers(0, 100, 150_000)  # 38 MB
    np.testing.assert_array_equal(table.gather(ids), both.variable.numpy()[ids])


def test_a_settled_table_is_the_plain_one(rng):
    both, table = owing(rng)
    assert both.variable.value is not None
    assert table.owed is None
    both.step()
    assert table.owed is not None


def test_lookups_beside_steps_return_rows(rng):
    """Whatever they see of a row that is being moved, they end, and with numbers."""
    both, table = owing(rng, 2000, 16)
    wrong, done = [], threading.Event()

    def look_up():
        ids = np.random.default_rng().integers(0, 2000, 500)
        while not done.is_set():
            if not np.isfinite(table.gather(ids)).all():
                wrong.append(ids)

    workers = [threading.Thread(target=look_up) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(300):
        both.step(among=2000)
    both.variable.assign(both.variable.numpy())
    both.step(among=2000)
    done.set()
    for worker in workers:
        worker.join()
    assert not wrong
    both.check()


def test_two_optimizers_of_one_variable(rng):
    """Each takes up what the other made of it; their slots are their own."""
    first, second = Both("adam", rng), Both("momentum", rng)
    second.twin.w = first.twin.w
    second.variable = first.variable
    second.ledger = Ledger(first.variable, second.slots, second.ledger.rule)
    for t in range(20):
        (first if t % 3 else second).step(among=50 if t < 6 else 10)
        first.check()
    for both in (first, second):
        for slot, twin in zip(both.slots, both.twin.slots.values()):
            np.testing.assert_allclose(slot.numpy(), twin, rtol=1e-4, atol=1e-6)


def test_nobody_waits_in_a_circle(rng):
    """Threads that change the variable or a slot, read all of them, and make steps."""
    both = Both("adam", rng)
    both.step()
    done = threading.Event()

    def meddle(variable):
        while not done.is_set():
            variable.assign_add(np.zeros(variable.shape, "float32"))
            assert variable.value is not None

    workers = [threading.Thread(target=meddle, args=(v,), daemon=True) for v in (both.variable, *both.slots)]
    for worker in workers:
        worker.start()
    for _ in range(200):
        both.step()
    done.set()
    for worker in workers:
        worker.join(timeout=30)
        assert not worker.is_alive()
    both.check()


def test_lookups_beside_settling_make_no_move_twice(rng):
    """A row at 11 that is owed -1 is seen at 11 or at 10, and never at 9."""
    rows = 20_000
    variable = Variable(np.full((rows, 4), 10, "float32"))
    slots = [Variable(np.zeros((rows, 4), "float32"))]
    ledger = Ledger(variable, slots, Rule("momentum", {"momentum": 0.5}, ("momentum",)))
    table, done, seen = variable.rows(), threading.Event(), []

    def look_up():
        ids = np.arange(rows)
        while not done.is_set():
            got = table.gather(ids)
            seen.append((float(got.min()), float(got.max())))

    worker = threading.Thread(target=look_up)
    worker.start()
    for _ in range(30):  # each round adds 1 to all, which their momentum doubles, and takes it away again
        for sign in (-1, 1):
            ledger.step(np.full((rows, 4), sign, "float32"), (1.0,))
            ledger.step(IndexedSlices(np.zeros((1, 4), "float32"), np.array([0]), (rows, 4)), (1.0,))
            ledger.step(np.zeros((rows, 4), "float32"), (1.0,), 0.0, NonNeg())
    done.set()
    worker.join()
    assert min(low for low, _ in seen) > 8
    assert max(high for _, high in seen) < 14


def test_released_variables_are_plain_and_alone(rng):
    both = Both("adam", rng)
    layer = layers.Embedding.from_variable(both.variable)
    for _ in range(5):
        both.step()
    values = both.variable.numpy()
    both.ledger.release()
    assert both.variable._creditor is None
    assert both.variable.rows().owed is None
    np.testing.assert_array_equal(layer(np.arange(50)), values)
    for _ in range(5):
        both.step()
    both.check()


@pytest.mark.parametrize(
    "options",
    [{"dtype": "float16"}, {"dense_because": "of an average"}, {"constraint": MaxNorm(9.0)}],
    ids=str,
)
def test_lazy_is_lazy(rng, options):
    options = dict(options)
    constraint = options.pop("constraint", None)
    both = Both("adam", rng, lazy=True, **options)
    before = both.variable.numpy()
    for _ in range(5):
        both.step(among=10, constraint=constraint)
    assert both.ledger.path == "lazy"
    np.testing.assert_array_equal(both.variable.numpy()[10:], before[10:])


def test_a_slot_that_no_step_could_have_made(rng):
    """amsgrad's largest v below v, as of one that was switched on later: Keras finds it at the next step."""
    both = Both("amsgrad", rng)
    for _ in range(10):
        both.step()
    both.slots[2].assign(np.zeros((50, 6)))
    both.twin.slots["velocity_hat"][...] = 0
    for _ in range(10):
        both.step(among=5)
    both.check()


def test_views_outlive_an_assignment_that_fails(rng):
    both = Both("sgd", rng)
    both.step()
    held = both.variable.value
    as_it_was = held.copy()

    class Refuses:
        def refresh(self):
            if both.variable._memory[0, 0] == 7:
                raise RuntimeError("no")

    follower = Refuses()
    both.variable.follow_with(follower)
    with pytest.raises(RuntimeError, match="no"):
        both.variable.assign(np.full((50, 6), 7.0))
    both.step()
    np.testing.assert_array_equal(held, as_it_was)
    both.check()


def test_a_view_that_another_thread_takes_does_not_change(rng):
    both = Both("sgd", rng)
    wrong, done = [], threading.Event()

    def look():
        while not done.is_set():
            view = both.variable.value
            first = view.copy()
            if not np.array_equal(first, view.copy()):
                wrong.append(view)

    worker = threading.Thread(target=look)
    worker.start()
    for _ in range(300):
        both.step()
    done.set()
    worker.join()
    assert not wrong


def test_a_constraint_of_another_shape_is_named(rng):
    both = Both("adam", rng)
    with pytest.raises(ValueError, match="constraint of <Variable path=table"):
        both.step(constraint=lambda w: w if w.dtype == "float64" else w[:2])

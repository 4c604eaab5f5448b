"""A step on rows gives what a step on the whole table gives: as exactly, and always in the same bits.

What optimizers promise beside Keras is in test_optimizers_against_keras.py; the twins here follow it, too.
"""

from __future__ import annotations

import copy
import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import twins
from accuracy import CASES, Case, measure
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits
from stress.promises import apart

import fastembed
from fastembed import IndexedSlices, _rows, ops
from fastembed.layers import Embedding

# One of each rule, the weight decay that some of them handle by themselves, and the constraint.
_LIKE = [(case.rule, "weight_decay" in case.arguments, case.non_negative) for case in CASES]
TYPICAL = [case for number, case in enumerate(CASES) if _LIKE[number] not in _LIKE[:number]]


def of(cases):
    return pytest.mark.parametrize("case", cases, ids=str)


@of(CASES)
def test_accuracy(case):
    """``make accuracy`` takes 20,000 steps."""
    found = measure(case, 1500)
    assert found.beyond <= 0, found


# --- Histories of a table -------------------------------------------------------------------------

RATES = st.sampled_from([0.001, 0.0004, 0.01])
RESTS = st.sampled_from([1, 2, 30, 127, 128, 129, 398, 399, 400, 401, 450])


@st.composite
def histories(draw, rows=6):
    """What happens to a table, in order."""
    ids = st.lists(st.integers(0, rows - 1), max_size=5)
    seeds, sizes = st.integers(0, 99), st.sampled_from([1.0, 1e-3, 1e-9])
    events = st.one_of(
        st.tuples(st.just("learn"), ids, seeds, sizes),
        st.tuples(st.just("learn"), ids, seeds, sizes),
        st.tuples(st.just("rest"), RESTS),
        st.tuples(st.just("rate"), RATES),
    )
    return draw(st.lists(events, min_size=1, max_size=8))


def assert_near(ours, exact, dense, size=1.0):
    """Ours is about as near to what is exact as dense steps in float32 are."""
    away = np.abs(ours - exact)
    assert away.max() <= 2 * np.abs(dense - exact).max() + 3e-7 * size, np.argwhere(away == away.max())


class Life:
    """A table and its optimizer, to which things happen; and to twins of float64 and float32 beside them."""

    def __init__(self, case: Case, shape=(6, 5), twins=False):
        w = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
        self.case, self.variable, self.optimizer = case, case.variable(w), case.ours()
        self.twins = [case.twin(w, dtype) for dtype in ("float64", "float32")] if twins else []

    def step(self, gradient):
        self.optimizer.apply_gradients([(gradient, self.variable)])
        if self.twins:
            dense = gradient.to_dense() if isinstance(gradient, IndexedSlices) else gradient
            for twin in self.twins:
                self.case.move(twin, dense)

    def assert_exact(self):
        """The weights are as near to the float64 twin as those of the float32 twin are."""
        assert_near(self.variable.numpy(), *(twin.w for twin in self.twins))

    def slices(self, ids, seed=0, size=1.0):
        shape = self.variable.shape
        values = size * np.random.default_rng(seed).standard_normal((len(ids), *shape[1:]))
        return IndexedSlices(values.astype(np.float32), np.array(ids, np.int64), shape)

    def happens(self, event, look=lambda life: None):
        """Let it happen; look after every step."""
        kind, *said = event
        if kind == "learn":
            self.step(self.slices(*said))
            look(self)
        elif kind == "rest":  # of all rows but the first
            for seed in range(said[0]):
                self.step(self.slices([0], seed))
                look(self)
        elif not isinstance(self.case.learning_rate, str):  # of a schedule none is set
            self.optimizer.learning_rate = said[0]
            for twin in self.twins:
                twin.learning_rate = float(np.float32(said[0]))

    def layer(self, **arguments):
        """A layer whose table it is."""
        constraint = self.variable.constraint
        return Embedding.from_variable(self.variable, embeddings_constraint=constraint, **arguments)

    def slot(self, name):
        """A variable of the optimizer."""
        return next(v for v in self.optimizer.variables if v.path.endswith(f"embeddings_{name}"))

    def everything(self):
        """The bits of the weights and of the optimizer's variables."""
        return [bits(np.array(v)) for v in (self.variable, *self.optimizer.variables)]


def assert_same_bits(ours, theirs):
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs):
        np.testing.assert_array_equal(our, their)


EVERY_ID = np.arange(6)
LOOKS = {
    "never": lambda life: None,
    "at the weights": lambda life: life.variable.value,
    "at the weights, some": lambda life: life.variable.value if life.optimizer.iterations % 3 else None,
    "at the state": lambda life: [np.array(v) for v in life.optimizer.variables],
    "at rows": lambda life: life.layer()(EVERY_ID[::2]),
    "at copies": lambda life: copy.deepcopy(life.variable),
}


@of(CASES)
@settings(max_examples=8)
@given(history=histories())
def test_the_same_bits_whenever_rows_are_read(case, history):
    seen = {}
    for name, look in LOOKS.items():
        life = Life(case)
        for event in history:
            life.happens(event, look)
        seen[name] = life.everything()
    for name, found in seen.items():
        for our, their in zip(found, seen["never"]):
            np.testing.assert_array_equal(our, their, err_msg=f"looked {name}")


@of(CASES)
@settings(max_examples=10)
@given(history=histories())
def test_follows_the_dense_twin(case, history):
    """After each event, whatever it was; the long runs of `test_accuracy` look a few times only."""
    life = Life(case, twins=True)
    for event in history:
        life.happens(event)
        life.assert_exact()
    if life.twins[0].steps:
        for name in life.twins[0].slots:
            exact, dense = (twin.slots[name] for twin in life.twins)
            assert_near(life.slot(name).numpy(), exact, dense, np.abs(exact).max())


# --- However it is computed -----------------------------------------------------------------------

HISTORY = [
    ("learn", [*range(0, 200, 3)] * 2, 1, 1.0),
    ("learn", [7, 7, 190, 7, 3], 2, 1e-3),
    ("rest", 140),
    ("learn", [*range(250, 3, -1)], 3, 1e-9),
    ("rate", 0.0005),
    ("rest", 410),
    ("learn", [*range(60, 250)], 4, 1.0),
    ("rest", 3),
]


def lived(case, columns=5):
    life = Life(case, (260, columns))
    for event in HISTORY:
        life.happens(event)
    return life


@of(CASES)
@pytest.mark.usefixtures("parallel")
def test_the_same_bits_on_any_number_of_threads(case):
    seen = []
    for threads in (1, 2, 3):
        with fastembed.num_threads(threads):
            seen.append(lived(case).everything())
    assert_same_bits(seen[1], seen[0])
    assert_same_bits(seen[2], seen[0])


def digests(columns):
    """The instruction set, and of each case a checksum of everything it comes to."""
    everything = (lived(case, columns).everything() for case in CASES)
    return [_rows.isa, [zlib.crc32(b"".join(array.tobytes() for array in each)) for each in everything]]


@pytest.mark.skipif(_rows.isa == "baseline", reason="there is one instruction set")
@pytest.mark.parametrize("columns", [1, 19, 64])
def test_the_same_bits_by_every_instruction_set(columns):
    seen = dict(
        apart(digests, columns, changes={"FASTEMBED_ISA": isa}, seconds=200)
        for isa in ("baseline", "avx2", "avx512")
    )
    assert len(seen) > 1
    first = next(iter(seen.values()))
    for isa, found in seen.items():
        assert [str(case) for case, a, b in zip(CASES, found, first) if a != b] == [], isa


# --- Lookups while moves are owed -----------------------------------------------------------------


def owing(case, shape=(260, 5)):
    life = Life(case, shape)
    for event in HISTORY[:5]:
        life.happens(event)
    return life


@of(TYPICAL)
@pytest.mark.parametrize("after", [0, 1, 50, 420])
def test_lookups_finish_rows(case, after):
    life = owing(case)
    layer = life.layer()
    life.happens(("rest", after))
    ids = np.array([[0, 3, 7, 7], [190, 249, 259, 7]])
    rows = [layer(ids), ops.gather(life.variable, ids), layer(ids, training=True), layer(ids)]
    wrapped = layer(ids - 260, out_of_range="wrap")
    zeros = layer(np.array([260, 7]), out_of_range="zeros")
    half = life.layer(dtype="float16")(ids)
    with ThreadPoolExecutor(3) as pool:
        rows += pool.map(layer, [ids] * 6)
    everything = layer(np.arange(260))
    value = life.variable.value
    for found in (*rows, wrapped):
        np.testing.assert_array_equal(bits(found), bits(value[ids]))
    np.testing.assert_array_equal(bits(everything), bits(value))
    np.testing.assert_array_equal(zeros, [np.zeros(5), value[7]])
    np.testing.assert_array_equal(half, value[ids].astype(np.float16))
    np.testing.assert_array_equal(bits(layer(ids)), bits(value[ids]))


@of(TYPICAL)
@pytest.mark.usefixtures("parallel")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_lookups_finish_rows_on_many_threads(case, threads):
    life = owing(case, (260, 33))
    ids = np.random.default_rng(0).integers(0, 260, 500)
    with fastembed.num_threads(threads):
        rows = life.layer()(ids)
    np.testing.assert_array_equal(bits(rows), bits(life.variable.value[ids]))


# --- Changes by others while moves are owed -------------------------------------------------------


def assigned(life):
    """Every value is another one; what the optimizer keeps stays as it is."""
    w = np.random.default_rng(7).uniform(0, 1, life.variable.shape).astype(np.float32)
    life.variable.assign(w)
    for twin in life.twins:
        twin.w[...] = w


def added(life):
    life.variable.assign_add(np.full(life.variable.shape, 0.25, np.float32))
    for twin in life.twins:
        twin.w += 0.25


def slots_assigned(life):
    for name in life.twins[0].slots:
        ours = life.slot(name)
        ours.assign(2 * ours.value)
        for twin in life.twins:
            twin.slots[name] *= 2


def pickled(life):
    life.variable, life.optimizer = pickle.loads(pickle.dumps((life.variable, life.optimizer)))


def copied(life):
    life.variable, life.optimizer = copy.deepcopy((life.variable, life.optimizer))


def left_behind(life):
    """A copy was made, and the original learns on: the copy must not follow."""
    variable, optimizer, twins = copy.deepcopy((life.variable, life.optimizer, life.twins))
    for event in HISTORY[:3]:
        life.happens(event)
    life.variable, life.optimizer, life.twins = variable, optimizer, twins


def saved(life):
    """The state goes into a new optimizer of a new variable."""
    store = {}
    life.optimizer.save_own_variables(store)
    life.variable, life.optimizer = life.case.variable(life.variable.numpy()), life.case.ours()
    life.optimizer.build([life.variable])
    life.optimizer.load_own_variables(store)


def densely(life):
    """A dense gradient between the sparse ones."""
    life.step(np.random.default_rng(3).standard_normal(life.variable.shape).astype(np.float32))


def weights_set(life):
    w = np.random.default_rng(8).uniform(0, 1, life.variable.shape).astype(np.float32)
    life.layer().set_weights([w])
    for twin in life.twins:
        twin.w[...] = w


CHANGES = [assigned, added, slots_assigned, pickled, copied, left_behind, saved, densely, weights_set]


@of(TYPICAL)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changes_while_moves_are_owed(case, change):
    if change is densely and case.rule == "lion":
        pytest.skip("a sum of two floats that is nearly 0 has another sign in float32")
    life = Life(case, (260, 5), twins=True)
    for event in HISTORY[:4]:
        life.happens(event)
    change(life)
    for event in HISTORY[4:]:
        life.happens(event)
    life.assert_exact()


# --- Gradients ------------------------------------------------------------------------------------


@of(TYPICAL)
def test_repeated_rows_are_summed_first(case):
    repeated, summed = Life(case), Life(case)
    for seed in range(30):
        ids = np.random.default_rng(seed).integers(0, 6, 9)
        repeated.step(repeated.slices(ids, seed))
        summed.step(summed.slices(ids, seed).summed())
    assert_same_bits(repeated.everything(), summed.everything())


@of(TYPICAL)
def test_a_gradient_of_no_rows(case):
    life = Life(case, twins=True)
    for ids in ([1, 2], [], [], [2], []):
        life.step(life.slices(ids))
        life.assert_exact()


def test_one_table_of_two_layers():
    """Both gradients are one, and both see what was learned."""
    case = Case("adam", 0.01)
    w = np.random.default_rng(0).uniform(-1, 1, (9, 4)).astype(np.float32)
    variable, optimizer, twin = case.variable(w), case.ours(), case.twin(w)
    layers = [Embedding.from_variable(variable), Embedding.from_variable(variable)]
    rng = np.random.default_rng(1)
    for _ in range(40):
        gradient = np.zeros(w.shape)
        for layer in layers:
            ids = rng.integers(0, 6, 3)
            rows = layer(ids, training=True)
            np.testing.assert_allclose(rows, twin.w[ids], rtol=1e-6, atol=1e-6)
            upstream = rng.standard_normal(rows.shape).astype(np.float32)
            layer.backward(upstream)
            np.add.at(gradient, ids, upstream)
        optimizer.apply_gradients([(variable.gradient, variable)])
        variable.clear_gradient()
        twin.step(gradient)
    np.testing.assert_allclose(variable.value, twin.w, rtol=1e-6, atol=1e-6)


# --- lazy=True ------------------------------------------------------------------------------------

LAZY = [case for case in TYPICAL if not case.arguments and not case.non_negative]


@of(LAZY)
def test_lazy_leaves_rows_without_a_gradient(case):
    """Row and state; those that have one move as a dense table of them alone would."""
    w = np.random.default_rng(1).uniform(-1, 1, (6, 5)).astype(np.float32)
    variable, optimizer, twin = case.variable(w), case.ours(lazy=True), case.twin(w)
    for seed in range(60):
        ids = np.unique(np.random.default_rng(seed).integers(0, 5, 3))
        values = np.random.default_rng(seed).standard_normal((len(ids), 5)).astype(np.float32)
        optimizer.apply_gradients([(IndexedSlices(values, ids, w.shape), variable)])
        part, slots = twin.w[ids], [slot[ids] for slot in twin.slots.values()]
        numbers = twin.numbers(case.learning_rate)
        twins.step(twin.rule, twin.constants, numbers, 0.0, part, slots, values)
        twin.w[ids] = part
        for slot, rows in zip(twin.slots.values(), slots):
            slot[ids] = rows
        twin.steps += 1
    np.testing.assert_allclose(variable.value, twin.w, rtol=2e-6, atol=2e-6)
    np.testing.assert_array_equal(variable.value[5], w[5])

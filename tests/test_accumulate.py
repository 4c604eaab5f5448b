"""Additions to rows, dense and sparse: the adjoint of the lookup."""

from __future__ import annotations

import threading
import time

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import THREADS, bits, ids_below

import fastembed
from fastembed import IndexedSlices, Variable, _additions, _rows, _team, layers, ops

pytestmark = pytest.mark.usefixtures("parallel")

# Whole numbers this small are added without rounding in any order: sums can be compared exactly.
WHOLE = st.integers(-1000, 1000)


@st.composite
def additions(draw, elements=WHOLE):
    """(rows, ids below rows, values)."""
    rows, dim = draw(st.integers(1, 20)), draw(st.integers(1, 70))
    ids = draw(ids_below(rows))
    dtype = draw(st.sampled_from(["f4", "f8"]))
    return rows, ids, draw(hnp.arrays(dtype, (*ids.shape, dim), elements=elements.map(float)))


def one_hot(ids, rows):
    return np.eye(rows)[ids.astype(np.intp)]


@given(additions(), THREADS)
def test_gradient_equals_one_hot_transposed_times_upstream(addition, threads):
    rows, ids, upstream = addition
    with fastembed.num_threads(threads):
        gradient = ops.embedding_gradient(ids, upstream, rows)
    dim = upstream.shape[-1]
    expected = one_hot(ids, rows).reshape(-1, rows).T @ upstream.reshape(-1, dim)
    assert gradient.dtype == upstream.dtype
    assert gradient.dense_shape == (rows, dim)
    np.testing.assert_array_equal(gradient.indices, np.unique(ids))
    np.testing.assert_array_equal(gradient.to_dense(), expected)
    np.testing.assert_array_equal(gradient.values, expected[gradient.indices])


@given(additions(), st.data(), THREADS)
def test_is_the_adjoint_of_the_lookup(addition, data, threads):
    rows, ids, upstream = addition
    table = data.draw(hnp.arrays(upstream.dtype, (rows, upstream.shape[-1]), elements=WHOLE.map(float)))
    with fastembed.num_threads(threads):
        left = np.vdot(ops.gather(table, ids).astype("f8"), upstream)
        right = np.vdot(table.astype("f8"), ops.embedding_gradient(ids, upstream, rows).to_dense())
    assert left == right


@given(additions(st.floats(-1e3, 1e3, width=32)), THREADS)
def test_scatter_add_has_the_bits_of_add_at(addition, threads):
    rows, ids, values = addition
    start = np.linspace(-1, 1, rows * values.shape[-1]).reshape(rows, -1).astype(values.dtype)
    expected = start.copy()
    np.add.at(expected, ids.astype(np.intp), values)
    table = start.copy()
    with fastembed.num_threads(threads):
        assert ops.scatter_add(table, ids, values) is table
    np.testing.assert_array_equal(bits(table), bits(expected))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_denormals_zeros_and_infinities_are_added_like_any_number(dtype):
    """Nothing is flushed to zero, -0.0 + -0.0 is -0.0, and NaN stays NaN (which one is nowhere promised)."""
    tiny, least = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).smallest_normal
    numbers = np.array(
        [tiny, -tiny, least, least - tiny, -least, 0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], dtype
    )
    first, second = (pair.reshape(-1) for pair in np.meshgrid(numbers, numbers))
    with np.errstate(invalid="ignore"):
        expected = first + second
    got = ops.scatter_add(first[None].repeat(2, 0), [1], second[None])
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(bits(got[0]), bits(first))
    np.testing.assert_array_equal(np.isnan(got[1]), ~number)
    np.testing.assert_array_equal(bits(got[1])[number], bits(expected)[number])


# Ids are copied in blocks of 256, collected in blocks of 512, and sorted by 8 bits at a time, many by 11.
EDGES = [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 1024, 2047, 2048, 2049]

SKEWS = {
    "uniform": lambda rng, rows, n: rng.integers(0, rows, n),
    "zipf": lambda rng, rows, n: rng.zipf(1.3, n) * 40_503 % rows,  # the popular rows lie scattered
    "one row": lambda rng, rows, n: np.full(n, rng.integers(rows)),
    "one hot row": lambda rng, rows, n: np.where(rng.random(n) < 0.6, rows // 3, rng.integers(0, rows, n)),
    "two rows": lambda rng, rows, n: np.where(rng.random(n) < 0.5, 0, rows - 1),
    "ascending": lambda rng, rows, n: np.sort(rng.integers(0, rows, n)),
}


def assert_equals_add_at(rows, ids, values, threads, rng):
    """In place and as sums, bit for bit; with some zeros that are negative."""
    values[rng.random(values.shape) < 0.05] = -0.0
    start = rng.standard_normal((rows, values.shape[1])).astype(values.dtype)
    expected, sums = start.copy(), np.zeros_like(start)
    np.add.at(expected, ids, values)
    np.add.at(sums, ids, values)
    with fastembed.num_threads(threads):
        table = ops.scatter_add(start.copy(), ids, values)
        gradient = ops.embedding_gradient(ids, values, rows)
    np.testing.assert_array_equal(bits(table), bits(expected))
    np.testing.assert_array_equal(gradient.indices, np.unique(ids), strict=True)
    np.testing.assert_array_equal(bits(gradient.values), bits(sums[gradient.indices]))


@given(
    seed=st.integers(0, 2**32),
    rows=st.sampled_from([1, 2, 3, 20, 255, 256, 257, 2049, 70_000]),
    n=st.sampled_from(EDGES) | st.integers(0, 5000),
    dim=st.integers(0, 70) | st.sampled_from([128, 300, 1025]),
    dtype=st.sampled_from(["f4", "f8"]),
    skew=st.sampled_from(list(SKEWS)),
    threads=THREADS,
)
def test_has_the_bits_of_add_at_however_ids_are_spread(seed, rows, n, dim, dtype, skew, threads):
    rng = np.random.default_rng(seed)
    ids = SKEWS[skew](rng, rows, n)
    assert_equals_add_at(rows, ids, rng.standard_normal((n, dim)).astype(dtype), threads, rng)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("skew", list(SKEWS))
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_many_ids_have_the_bits_of_add_at(dtype, skew, threads, rng):
    """More than one digit, every thread with work, and a table whose rows are fetched ahead."""
    ids = SKEWS[skew](rng, 50_000, 30_000)
    assert_equals_add_at(50_000, ids, rng.standard_normal((30_000, 33)).astype(dtype), threads, rng)


@pytest.mark.parametrize("n", EDGES)
def test_at_the_edges_of_blocks_and_of_ways_to_sort(n, rng):
    for threads in (1, 2, 3, 8):
        assert_equals_add_at(2049, rng.integers(0, 2049, n), rng.standard_normal((n, 3)), threads, rng)


@pytest.mark.parametrize("n", [500, 5000])
def test_ids_of_many_digits(n, rng):
    """The radix sort takes 8 bits a pass, or 11 of many ids: here eight passes and six."""
    ids = rng.integers(0, 2**62, n)
    ids[::3] = ids[0]
    gradient = ops.embedding_gradient(ids, np.ones((n, 1)), 2**62)
    unique, counts = np.unique(ids, return_counts=True)
    np.testing.assert_array_equal(gradient.indices, unique)
    np.testing.assert_array_equal(gradient.values[:, 0], counts)


def test_rows_of_no_width_are_named_all_the_same():
    for threads in (1, 2, 8):
        with fastembed.num_threads(threads):
            gradient = ops.embedding_gradient([4, 2, 2, 2, 2, 2, 2, 2], np.zeros((8, 0), "f4"), 5)
        np.testing.assert_array_equal(gradient.indices, [2, 4])
        assert gradient.values.shape == (2, 0)


def test_halves_are_summed_in_float32():
    gradient = ops.embedding_gradient(np.zeros(5000, int), np.full((5000, 1), 1, np.float16), 1)
    np.testing.assert_array_equal(
        gradient.values, np.array([[5000]], "f4"), strict=True
    )  # float16 stops at 2048
    assert ops.embedding_gradient([0], [[1]], 1).dtype == np.float32


def test_scatter_add_to_a_variable_and_with_one_update_for_all():
    variable = Variable(np.zeros((4, 2)), dtype="float64")
    assert ops.scatter_add(variable, [[1, 1], [3, 0]], [1, 10]) is variable
    np.testing.assert_array_equal(variable, [[1, 10], [2, 20], [0, 0], [1, 10]])
    assert ops.scatter_add(np.zeros((2, 3)), 1, 5.0)[1].tolist() == [5, 5, 5]


@pytest.mark.parametrize("rows", [3, 3000])
def test_updates_may_be_rows_of_the_table_itself(rows):
    table = np.arange(2.0 * rows).reshape(rows, 2)
    ops.scatter_add(table, np.arange(rows)[::-1], table)
    np.testing.assert_array_equal(table, np.tile([2.0 * rows - 2, 2 * rows], (rows, 1)))


def test_what_fits_as_it_is_goes_the_short_way_and_nothing_else():
    table, ids, values = np.zeros((4, 2), "f4"), np.array([1, 1]), np.ones((2, 2), "f4")
    assert _additions.add_as_is(table, ids, values)
    assert _additions.add_as_is(Variable(table).table, ids, values)
    np.testing.assert_array_equal(table, [[0, 0], [2, 2], [0, 0], [0, 0]])
    for held, at, what in [
        (table.tolist(), ids, values),
        (table.astype(int), ids, values),
        (table[:, ::2], ids, values[:, :1].copy()),
        (table, [1, 1], values),
        (table, np.array([1.0, 2.0]), values),
        (table, np.ma.array(ids, mask=[0, 1]), values),
        (table, ids, values.astype("f8")),
        (table, ids, values.astype(">f4")),
        (table, ids, np.ones((2, 4), "f4")[:, ::2]),
        (table, ids, values[0]),
        (table, ids, np.ma.array(values, mask=True)),
        (table.view("u4"), ids, values),
        (Variable(table, dtype="bfloat16").table, ids, values),
    ]:
        assert not _additions.add_as_is(held, at, what)
    np.testing.assert_array_equal(table, [[0, 0], [2, 2], [0, 0], [0, 0]])
    with pytest.raises(TypeError, match="masked array"):
        ops.scatter_add(table, np.ma.array(ids, mask=[0, 1]), values)


def test_a_table_counts_its_additions():
    table = _rows.Table(np.zeros((4, 2), "f4"))
    ids, values = np.array([1, 3]), np.ones((2, 2), "f4")
    for add in (_additions.accumulate, _additions.add_as_is, ops.scatter_add):
        before = table.additions
        add(table, ids, values)
        assert table.additions == before + 1
    assert not _additions.add_as_is(table, ids, values.astype("f8"))
    with pytest.raises(IndexError):
        _additions.accumulate(table, ids + 1, values)
    assert table.additions == 3
    table.replace(table.array)
    assert table.additions == 3


@pytest.mark.parametrize("bad", [4, -1, 2**40])
def test_a_bad_id_changes_nothing(bad, rng):
    table = rng.random((4, 3))
    before = table.copy()
    ids = np.zeros(1000, np.int64)
    ids[999] = bad
    for threads in (1, 2, 8):
        with fastembed.num_threads(threads), pytest.raises(IndexError, match=rf"^ids\[999\] = {bad} "):
            ops.scatter_add(table, ids, np.ones((1000, 3)))
        np.testing.assert_array_equal(table, before)
    with pytest.raises(IndexError, match=rf"^ids\[999\] = {bad} "):
        ops.embedding_gradient(ids, np.ones((1000, 3)), 4)


def test_a_bad_id_at_any_position_changes_nothing(rng):
    table, n = rng.random((4, 3)), 600
    before, values = table.copy(), np.ones((n, 3))
    for threads in (1, 2, 3):
        with fastembed.num_threads(threads):
            for position in range(n):
                ids = np.zeros(n, np.int64)
                ids[position:] = 4  # the first is named, whichever thread sees it
                with pytest.raises(IndexError, match=rf"^ids\[{position}\] = 4 "):
                    _additions.add_as_is(table, ids, values)
                with pytest.raises(IndexError, match=rf"^ids\[{position}\] = 4 "):
                    _additions.sum_rows(ids, values, 4)
    np.testing.assert_array_equal(table, before)


def _frozen():
    table = np.zeros((3, 2))
    table.flags.writeable = False
    return table


@pytest.mark.parametrize(
    ("table", "updates", "error", "message"),
    [
        (np.zeros((3, 2)), np.zeros((2, 3)), ValueError, "do not fit"),
        (np.zeros((3, 2)), np.zeros((2, 2), complex), TypeError, "complex128 cannot be added"),
        (np.zeros((3, 2), int), np.zeros((2, 2)), TypeError, "not in a table of int64"),
        (np.zeros((3, 2), "f2"), np.zeros((2, 2), "f2"), TypeError, "float32 and float64"),
        (np.zeros((3, 2), ">f4"), np.zeros((2, 2), "f4"), TypeError, "float32 and float64"),
        (np.zeros((3, 4))[:, ::2], np.zeros((2, 2)), ValueError, "C-contiguous"),
        (np.zeros(25, "u1")[1:].view("f4").reshape(3, 2), np.zeros((2, 2)), ValueError, "not aligned"),
        (Variable(np.zeros((3, 2)), dtype="bfloat16"), np.zeros((2, 2)), TypeError, "table of bfloat16"),
        (_frozen(), np.zeros((2, 2)), ValueError, "read-only"),
        ([[0.0, 0.0]] * 3, np.zeros((2, 2)), TypeError, "in place, on an ndarray or a Variable, not on list"),
    ],
)
def test_scatter_add_says_what_does_not_fit(table, updates, error, message):
    with pytest.raises(error, match=message):
        ops.scatter_add(table, [0, 1], updates)


def test_gradient_says_what_does_not_fit():
    with pytest.raises(
        ValueError, match=r"upstream of shape \(3, 2\) does not begin with the shape of ids \(2,\)"
    ):
        ops.embedding_gradient([0, 1], np.zeros((3, 2)), 4)
    with pytest.raises(TypeError, match="upstream must be floats"):
        ops.embedding_gradient([0], [["a"]], 4)
    with pytest.raises(ValueError, match="negative"):
        ops.embedding_gradient([], np.zeros((0, 2)), -1)
    with pytest.raises(TypeError, match="values must be an array of float32"):
        _additions.accumulate(_rows.Table(np.zeros((2, 2), "f4")), np.array([0]), np.zeros((1, 2)))


def test_more_ids_than_can_be_sorted():
    """Rows of no width: ids that cost no memory, as many as one likes."""
    ids = np.broadcast_to(np.int8(0), (2**59,))
    with pytest.raises(MemoryError):
        ops.scatter_add(np.zeros((3, 0)), ids, np.zeros((2**59, 0)))
    with pytest.raises(MemoryError):
        ops.embedding_gradient(ids, np.zeros((2**59, 0), "f4"), 1)


def test_indexed_slices():
    slices = IndexedSlices(np.array([[1.0], [2.0], [4.0]]), np.array([2, 0, 2]), (3, 1))
    np.testing.assert_array_equal(slices.to_dense(), [[2], [0], [5]])
    both = slices + IndexedSlices(np.array([[8.0]]), np.array([0]), (3, 1))
    np.testing.assert_array_equal(both.indices, [0, 2])
    np.testing.assert_array_equal(both.values, [[10], [5]])
    with pytest.raises(ValueError, match="shapes differ"):
        slices + IndexedSlices(np.array([[8.0]]), np.array([0]), (4, 1))
    with pytest.raises(ValueError, match="are not rows of an array"):
        IndexedSlices(np.zeros((2, 3)), np.zeros(1, int), (4, 3))


@pytest.mark.parametrize("delay", [0.001, 0.003, 0.01])
def test_values_given_another_shape_meanwhile_are_added_up_as_they_were(delay):
    ids, values = np.arange(500_000) % 50, np.ones((500_000, 4, 2))
    started = threading.Event()

    def reshape():
        started.wait()
        time.sleep(delay)  # until the ids are sorted, without the GIL
        values.shape = (-1, 1)

    reshaper = threading.Thread(target=reshape)
    reshaper.start()
    started.set()
    indices, sums = _additions.sum_rows(ids, values, 50)
    reshaper.join()
    np.testing.assert_array_equal(indices, np.arange(50))
    np.testing.assert_array_equal(sums, np.full((50, 4, 2), 10_000.0), strict=True)


def test_ids_changed_meanwhile_never_write_outside_the_table():
    guard = np.zeros((3, 64, 16))
    table = guard[1]
    ids = np.zeros(20_000, np.int64)
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            for bad in (64, -1, 2**31, 70):
                ids[::7] = bad
                ids[::7] = 63

    flipper = threading.Thread(target=flip)
    flipper.start()
    errors = 0
    try:
        for _ in range(100):
            try:
                ops.scatter_add(table, ids, np.ones((1, 16)))
            except IndexError:
                errors += 1
    finally:
        stop.set()
        flipper.join()
    assert errors, "the race never happened: the test shows nothing"
    assert not guard[0].any()
    assert not guard[2].any()
    assert table.sum() == (100 - errors) * ids.size * 16  # all of a call or nothing of it


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32"])
@given(st.data(), THREADS)
def test_embedding_equals_one_hot_then_dense_for_every_dtype(dtype, data, threads):
    """Tables of any dtype, small enough to be exact in float32, which Dense then computes in."""
    rows, dim = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40))
    values = data.draw(hnp.arrays("f4", (rows, dim), elements=st.integers(0, 100).map(float)))
    ids = data.draw(ids_below(rows))
    embedding = layers.Embedding.from_variable(Variable(values, dtype=dtype), dtype="float32")
    dense = layers.Dense(dim, use_bias=False, weights=[values])
    with fastembed.num_threads(threads):
        hot = np.atleast_2d(ops.one_hot(ids, rows))  # Dense takes no vectors
        np.testing.assert_array_equal(embedding(ids), dense(hot).reshape(*ids.shape, dim))


@given(additions(), THREADS)
def test_embedding_equals_one_hot_then_dense_forward_and_backward(addition, threads):
    rows, ids, upstream = addition
    dtype = str(upstream.dtype)
    embedding = layers.Embedding(rows, upstream.shape[-1], dtype=dtype)
    dense = layers.Dense(upstream.shape[-1], use_bias=False, dtype=dtype)
    dense.build((None, rows))
    embedding.build()
    dense.set_weights(embedding.get_weights())
    with fastembed.num_threads(threads), fastembed.recording():
        outputs = dense(np.atleast_2d(ops.one_hot(ids, rows)))  # Dense takes no vectors
        np.testing.assert_array_equal(embedding(ids), outputs.reshape(upstream.shape))
        assert embedding.backward(upstream) is None
        dense.backward(upstream.reshape(outputs.shape))
    np.testing.assert_array_equal(embedding.embeddings.gradient.to_dense(), dense.kernel.gradient)


@pytest.mark.parametrize(
    "ids", [[1.0, 0.0, 1.0], np.array([1, 0, 1], "f4"), [True, False, True], np.array([1, 0, 1], ">i2")]
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("make", [np.array, Variable])
def test_ids_of_every_kind_that_a_lookup_takes(ids, dtype, make):
    updates = np.arange(6, dtype=dtype).reshape(3, 2)
    table = make(np.zeros((2, 2), dtype))
    ops.scatter_add(table, ids, updates)
    np.testing.assert_array_equal(np.asarray(table), [[2, 3], [4, 6]])
    ops.scatter_add(table, [], np.zeros((0, 2), dtype))
    ops.scatter_add(table, np.array([]), np.zeros((0, 2), dtype))
    for wrong, error in ((np.array([0.5]), ValueError), (np.array(["0"]), TypeError), ([2.0], IndexError)):
        with pytest.raises(error):
            ops.scatter_add(table, wrong, updates[:1])


# --- Arrays that others change meanwhile ----------------------------------------------------------


@pytest.mark.skipif(not _team.openmp, reason="built without OpenMP, where nobody is asked")
@pytest.mark.parametrize(
    "add",
    [
        lambda ids, values: _additions.sum_rows(ids, values, 6)[1],
        lambda ids, values: (rows := np.zeros((6, 3), "f4"), _additions.add_as_is(rows, ids, values))[0][[0]],
    ],
    ids=["sum_rows", "add_as_is"],
)
def test_ids_that_shrink_while_the_policy_of_threads_is_asked(add):
    """What is added up are the ids and values that fit together, not those that were first looked at."""
    ids, values = np.zeros(64, np.int64), np.arange(24, dtype="f4").reshape(8, 3)

    def meanwhile():  # as another thread could, where Python runs
        ids.resize(8, refcheck=False)
        return 2

    _team.set_policy(meanwhile)
    try:
        sums = add(ids, values)
    finally:
        _team.set_policy(fastembed.get_num_threads)
    assert len(ids) == 8
    np.testing.assert_array_equal(sums, values.sum(axis=0, keepdims=True))

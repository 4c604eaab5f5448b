"""What becomes of ids outside the table, and of their gradients, against a plain twin."""

from __future__ import annotations

import copy
import pickle

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import THREADS, bits, ids_below, tables

import fastembed
from fastembed import Variable, layers, ops
from fastembed._rows import OutOfRange
from fastembed.tables import DenseTable

pytestmark = pytest.mark.usefixtures("parallel")

WORDS = ["zeros", "clip", "wrap", "nan"]


def rows_taken(ids, rows, policy):
    """The row of every id, -1 where it has none: in Python's integers, which hold every id."""

    def taken(id):
        if 0 <= id < rows:
            return id
        if policy == "clip":
            return 0 if id < 0 else rows - 1
        if policy == "wrap":
            return id % rows
        return policy if isinstance(policy, int) else -1

    flat = [taken(int(id)) for id in ids.reshape(-1)]
    return np.array(flat, np.int64).reshape(ids.shape)


def twin(table, ids, policy):
    """What a lookup in an array should give."""
    taken = rows_taken(ids, len(table), policy)
    found = np.zeros((*ids.shape, *table.shape[1:]), table.dtype)
    if policy == "nan":
        found[...] = np.nan
    if len(table):
        found[taken >= 0] = table[taken[taken >= 0]]
    return found


def same_bits(got, expected):
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(bits(got), bits(expected), strict=True)


@st.composite
def lookups(draw, **kwargs):
    """(table, its rows as an array, ids of which some lie outside, a policy)."""
    table, rows = draw(tables(**kwargs))
    floats = rows.dtype.kind == "f"
    words = WORDS if floats else WORDS[:-1]
    policy = draw(st.one_of(st.sampled_from(words), st.integers(0, len(rows) - 1)))
    return table, rows, draw(ids_below(len(rows), beyond=True)), policy


@given(lookups(), THREADS, st.booleans())
def test_gives_the_twins_rows(lookup, threads, has_out):
    table, rows, ids, policy = lookup
    before = ids.copy()
    expected = twin(rows, ids, policy)
    out = np.full_like(expected, 7) if has_out else None
    with fastembed.num_threads(threads):
        got = ops.gather(table, ids, out, out_of_range=policy)
    assert out is None or got is out
    same_bits(got, expected)
    np.testing.assert_array_equal(ids, before, strict=True)


@given(st.data())
def test_clip_and_wrap_are_numpys(data):
    rows = np.arange(data.draw(st.integers(1, 20)))
    # Nearby ones: np.take adds and subtracts the number of rows until an id is inside.
    ids = data.draw(hnp.arrays(np.int64, 30, elements=st.integers(-500, 500)))
    for mode in ("clip", "wrap"):
        np.testing.assert_array_equal(ops.gather(rows, ids, out_of_range=mode), np.take(rows, ids, mode=mode))


@given(st.integers(1, 20))
def test_wrap_gives_the_rows_of_keras_for_negative_ids(rows):
    table, ids = np.arange(rows), np.arange(-rows, 0)
    np.testing.assert_array_equal(ops.gather(table, ids, out_of_range="wrap"), table[ids])


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 2**16 - 1])
def test_the_ends_of_every_type(rows):
    table = np.arange(rows)
    for dtype in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i8", ">u8"):
        least, largest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        ids = np.array([least, largest, largest - 1], dtype)
        wrapped = [least % rows, largest % rows, (largest - 1) % rows]
        assert ops.gather(table, ids, out_of_range="wrap").tolist() == wrapped
        clipped = [min(max(id, 0), rows - 1) for id in ids.tolist()]
        assert ops.gather(table, ids, out_of_range="clip").tolist() == clipped


@pytest.mark.parametrize("policy", [*WORDS, 0, 5])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_long_runs_and_short_ones(policy, dtype, share, rng):
    """More ids than a block has, rows fetched ahead of the one that is copied, holes here and there."""
    values = rng.random((30_000, 24))  # 1.4 MB and more: out of the second-level cache
    table = Variable(values, dtype=dtype)
    ids = rng.integers(0, 30_000, 5001)
    ids[rng.random(5001) < share] = rng.choice([-1, 30_000, -(2**63), 2**63 - 1])
    ids[1000:1600] = -7
    expected = twin(table.numpy(), ids, policy)
    for threads in (1, 2, 3, 8):
        with fastembed.num_threads(threads):
            same_bits(ops.gather(table, ids, out_of_range=policy), expected)
            same_bits(table.table.gather(ids[::-1], None, policy), expected[::-1])


@pytest.mark.parametrize("policy", [*WORDS, 2])
def test_rows_of_ml_dtypes(policy, rng):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    table, ids = Variable(rng.random((5, 3)), dtype="bfloat16"), np.array([-1, 0, 4, 5, 100])
    expected = twin(table.numpy(), ids, policy)
    np.testing.assert_array_equal(table.rows("float32").gather(ids, None, policy), expected, strict=True)
    narrow = table.rows("bfloat16").gather(ids, None, policy)
    assert narrow.dtype == bfloat16
    np.testing.assert_array_equal(narrow.astype("f4"), expected)


@pytest.mark.parametrize("policy", [*WORDS, 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_wide_rows(policy, threads, rng):
    """Rows that are shared out by columns."""
    words = rng.integers(0, 2**14, (2, (4 << 20) // 2 + 33), dtype=np.uint16)
    ids = np.array([1, -1, 2, 0])
    with fastembed.num_threads(threads):
        same_bits(ops.gather(words.view("f2"), ids, out_of_range=policy), twin(words.view("f2"), ids, policy))
        variable = Variable.from_bfloat16_words(words)
        same_bits(ops.gather(variable, ids, out_of_range=policy), twin(variable.numpy(), ids, policy))


@pytest.mark.parametrize("policy", [*WORDS, 3])
@pytest.mark.parametrize("dim", [4, 12, 16, 80, 128])
def test_outputs_that_are_written_past_the_caches(policy, dim, rng):
    table = rng.random((1000, dim), np.float32)
    ids = rng.integers(-100, 1100, (33 << 20) // (4 * dim) + 5)
    expected = table[np.where((ids < 0) | (ids > 999), 0, ids)]
    outside = (ids < 0) | (ids > 999)
    if policy in ("clip", "wrap"):
        expected = np.take(table, ids, 0, mode=policy)
    else:
        expected[outside] = table[3] if policy == 3 else np.nan if policy == "nan" else 0
    for threads in (1, 2):
        with fastembed.num_threads(threads):
            same_bits(ops.gather(table, ids, out_of_range=policy), expected)


@pytest.mark.parametrize("policy", ["raise", *WORDS, 0, 3])
def test_a_table_without_rows(policy):
    table = np.zeros((0, 3), np.float32)
    assert ops.gather(table, [], out_of_range=policy).shape == (0, 3)
    if policy in ("zeros", "nan"):
        expected = np.full((2, 3), np.nan if policy == "nan" else 0, "f4")
        np.testing.assert_array_equal(ops.gather(table, [0, -1], out_of_range=policy), expected)
        assert ops.embedding_gradient([0], np.ones((1, 3)), 0, out_of_range=policy).indices.size == 0
        return
    with pytest.raises(IndexError, match=r"^ids\[0\] = 5 is outside the table, which has no rows$"):
        ops.gather(table, [5, -1], out_of_range=policy)
    with pytest.raises(IndexError, match=r"which has no rows$"):
        ops.embedding_gradient([5], np.ones((1, 3)), 0, out_of_range=policy)


def test_rows_of_no_numbers():
    assert ops.gather(np.zeros((3, 0)), [7, -1], out_of_range="nan").shape == (2, 0)
    assert ops.gather(np.zeros((3, 0)), [7, -1], out_of_range="zeros").shape == (2, 0)
    assert ops.gather(np.arange(3.0), [[7], [1]], out_of_range="zeros").tolist() == [[0], [1]]


def test_every_dtype_that_has_a_nan_and_those_that_have_none():
    for dtype in ("f2", "f4", ">f4", "f8", ">f8", "g", "c8", "c16", "G"):
        got = ops.gather(np.ones((2, 5), dtype), [1, 2], out_of_range="nan")
        assert got.dtype == dtype
        assert np.isnan(got[1]).all()
        assert (got[0] == 1).all()
    for dtype in ("?", "i1", "i8", "u4", "U3", "S2", "M8[s]", [("a", "f4")]):
        table = np.zeros((2, 5), dtype)
        with pytest.raises(ValueError, match='out_of_range="nan" needs rows of floats, got rows of'):
            ops.gather(table, [0], out_of_range="nan")
        zeros = ops.gather(table, [1, 2], out_of_range="zeros")
        np.testing.assert_array_equal(zeros, np.zeros((2, 5), dtype), strict=True)


@pytest.mark.parametrize("bad", ["Zeros", "", "error", -1, 2**63, 2**70])
def test_no_such_policy(bad):
    with pytest.raises(
        ValueError, match=r'^out_of_range must be "raise", "zeros", "clip", "wrap", "nan" or the'
    ):
        ops.gather(np.eye(3), [0], out_of_range=bad)


@pytest.mark.parametrize("bad", [None, 1.0, True, np.True_, b"clip", ["clip"], np.float32(1)])
def test_no_policy_at_all(bad):
    with pytest.raises(TypeError, match="or the number of a row, got "):
        ops.gather(np.eye(3), [0], out_of_range=bad)


def test_the_row_to_take_is_one_of_the_table():
    for row in (3, 2**40):
        for call in (
            lambda row=row: ops.gather(np.eye(3), [0], out_of_range=row),
            lambda row=row: ops.embedding_gradient([0], np.ones((1, 3)), 3, out_of_range=row),
            lambda row=row: layers.Embedding(3, 2, out_of_range=row),
            lambda row=row: layers.Embedding(3, 2)(np.array([0]), out_of_range=row),
        ):
            with pytest.raises(
                ValueError, match=f"^out_of_range={row} must be a row of the table, whose rows "
            ):
                call()
    np.testing.assert_array_equal(ops.gather(np.eye(3), [9], out_of_range=np.uint8(2)), np.eye(3)[[2]])


def test_a_policy_is_an_object():
    policy = OutOfRange(np.int8(3))
    assert (policy.spelling, repr(policy)) == (3, "OutOfRange(3)")
    for other in (OutOfRange(policy), pickle.loads(pickle.dumps(policy)), copy.deepcopy(policy)):
        assert other == policy
        assert hash(other) == hash(policy)
    assert policy != OutOfRange("zeros") != "zeros"
    assert ops.gather(np.arange(9), [99], out_of_range=policy) == 3


# --- Errors say so --------------------------------------------------------------------------------


def test_errors_name_the_policies():
    with pytest.raises(
        IndexError,
        match=r"^ids\[\(\)\] = -1 is outside the table, whose rows are 0 to 3; "
        r'out_of_range="wrap" takes row 3 for it, as Keras 3 does$',
    ):
        ops.gather(np.zeros((4, 8)), -1)
    for id in (-5, 4):
        with pytest.raises(
            IndexError,
            match=rf"^ids\[0\] = {id} is outside the table, whose rows are 0 to 3; "
            r'out_of_range can be "zeros", "clip", "wrap", "nan" or a row to take instead$',
        ):
            ops.embedding_gradient([id], np.ones((1, 8)), 4)
    # An addition has no policy.
    with pytest.raises(IndexError, match=r"^ids\[0\] = -1 is outside the table, whose rows are 0 to 3$"):
        ops.scatter_add(np.zeros((4, 8)), [-1], 1.0)


# --- Gradients ------------------------------------------------------------------------------------


@given(st.data(), THREADS)
def test_gradients_follow_the_policy(data, threads):
    """As the adjoint of the lookup, which is one_hot(rows taken).T: a hole is a row of zeros in it."""
    rows, dim = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 20))
    policy = data.draw(st.one_of(st.sampled_from(WORDS), st.integers(0, rows - 1)))
    ids = data.draw(ids_below(rows, beyond=True, max_side=40, max_dims=2))
    upstream = data.draw(hnp.arrays(np.float32, (*ids.shape, dim), elements=st.integers(-8, 8)))
    taken = rows_taken(ids, rows, policy)
    one_hot = ops.one_hot(taken.reshape(-1), rows)  # zeros where taken is -1
    expected = one_hot.T @ upstream.reshape(-1, dim)
    upstream[taken < 0] = np.nan  # is not looked at
    before = ids.copy()
    with fastembed.num_threads(threads):
        got = ops.embedding_gradient(ids, upstream, rows, out_of_range=policy)
    np.testing.assert_array_equal(got.indices, np.unique(taken[taken >= 0]), strict=True)
    np.testing.assert_array_equal(got.to_dense(), expected)
    np.testing.assert_array_equal(ids, before, strict=True)


@pytest.mark.parametrize("n", [3, 700, 50_000])
@pytest.mark.parametrize("share", [0.1, 0.999, 1.0])
def test_gradients_with_many_holes(n, share, rng):
    ids = rng.integers(0, 300, n)
    ids[rng.random(n) < share] = -1
    upstream = rng.random((n, 17), np.float32)
    kept = ids >= 0
    for threads in (1, 2, 3, 8):
        with fastembed.num_threads(threads):
            expected = ops.embedding_gradient(ids[kept], upstream[kept], 300)
            for policy in ("zeros", "nan"):
                got = ops.embedding_gradient(ids, upstream, 300, out_of_range=policy)
                np.testing.assert_array_equal(got.indices, expected.indices, strict=True)
                same_bits(got.values, expected.values)


# --- Layers ---------------------------------------------------------------------------------------


W = np.arange(8, dtype=np.float32).reshape(4, 2)
IDS = np.array([[-1, 3], [4, -(2**63)]])


@pytest.mark.parametrize("policy", [*WORDS, 2])
@pytest.mark.parametrize(
    "ids", [IDS, IDS.tolist(), 9, np.array([2**64 - 1, 1], "u8"), IDS.astype(">i8")[::-1]]
)
def test_layers_have_a_policy(policy, ids):
    expected = twin(W, np.asarray(ids), policy)
    layer = layers.Embedding(4, 2, weights=W, out_of_range=policy)
    assert layer.out_of_range == policy
    for asked in (layer, pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        for _ in range(2):  # the long way, then the short one
            np.testing.assert_array_equal(asked(ids), expected, strict=True)
            for training in (None, False, True):
                np.testing.assert_array_equal(asked(ids, training=training), expected, strict=True)
        assert asked._table is not None
    for other in ("raise", "clip"):
        strict = layers.Embedding(4, 2, weights=W, out_of_range=other)
        strict([0])
        np.testing.assert_array_equal(strict(ids, out_of_range=policy), expected, strict=True)
    with pytest.raises(IndexError, match="is outside the table"):
        layer(ids, out_of_range="raise")


@pytest.mark.parametrize("dtype", ["float16", "float64", "mixed_float16"])
def test_rows_of_no_id_have_the_layers_dtype(dtype):
    layer = layers.Embedding(4, 2, dtype=dtype, out_of_range="nan")
    for _ in range(2):
        assert np.isnan(layer(np.array([-1]))).all()
        assert layer(np.array([-1])).dtype == layer.compute_dtype
        assert not layer(np.array([-1]), out_of_range="zeros").any()


@pytest.mark.parametrize("policy", [*WORDS, 2])
@pytest.mark.parametrize("of_the_call", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_backward_follows_the_policy_of_the_call(policy, of_the_call, times):
    said = {"out_of_range": policy}
    layer = layers.Embedding(4, 2, weights=W, **({} if of_the_call else said))
    layer([0])
    ids = IDS.copy()
    for _ in range(times):
        layer(ids, training=True, **(said if of_the_call else {}))
    ids[:] = 99
    layer.out_of_range = "raise"  # says nothing of calls that were made before
    upstream = np.float32([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    for _ in range(times):
        layer.backward(upstream)
    expected = ops.embedding_gradient(IDS, times * upstream, 4, out_of_range=policy)
    np.testing.assert_array_equal(layer.embeddings.gradient.to_dense(), expected.to_dense())
    with pytest.raises(IndexError):
        layer(IDS)


def test_recording_records_the_policy():
    layer = layers.Embedding(4, 2, out_of_range="wrap")
    with fastembed.recording():
        layer([-1])
    layer([-1, 5], training=True)
    layer.backward(np.ones((2, 2)))
    layer.backward(np.ones((1, 2)))
    assert layer.embeddings.gradient.indices.tolist() == [1, 3]
    assert layer.embeddings.gradient.values.tolist() == [[1, 1], [2, 2]]


def test_a_layers_policy_may_be_set():
    layer = layers.Embedding(4, 2, weights=W)
    layer([0])
    layer.out_of_range = "clip"
    for _ in range(2):
        np.testing.assert_array_equal(layer([-1, 9]), W[[0, 3]])
    for bad, error in (("clap", ValueError), (None, TypeError), (4, ValueError)):
        with pytest.raises(error, match="out_of_range"):
            layer.out_of_range = bad
    assert layer.out_of_range == "clip"


def test_layers_refuse_what_they_cannot_do():
    with pytest.raises(ValueError, match='out_of_range="nan" needs rows of floats, got rows of int32'):
        layers.Embedding(4, 2, dtype="int32", embeddings_initializer="zeros", out_of_range="nan")
    with pytest.raises(ValueError, match='out_of_range must be "raise"'):
        layers.Embedding(4, 2, out_of_range="error")
    with pytest.raises(ValueError, match='out_of_range must be "raise"'):
        layers.Embedding(4, 2)([1], out_of_range="error")


def test_configs_say_the_policy_where_it_is_not_the_default():
    assert "out_of_range" not in layers.Embedding(4, 2).get_config()
    for policy in (*WORDS, 2):
        config = layers.Embedding(4, 2, out_of_range=policy).get_config()
        assert config["out_of_range"] == policy
        assert layers.Embedding.from_config(config).out_of_range == policy


def test_one_hot_times_the_table_gave_zeros():
    layer = layers.Embedding(4, 2, weights=W, use_one_hot_matmul=True)
    np.testing.assert_array_equal(layer([-1, 3, 4]), twin(W, np.array([-1, 3, 4]), "zeros"))
    assert layers.Embedding(4, 2, use_one_hot_matmul=True, out_of_range="clip").out_of_range == "clip"


def test_tables_that_are_swapped_keep_their_policy():
    table = DenseTable(W.copy())
    table.replace(W + 1)
    np.testing.assert_array_equal(table.gather(np.array([9, -1]), out_of_range="clip"), (W + 1)[[3, 0]])


@given(lookup=lookups())
def test_rows_for(lookup):
    """What other parts take for the row of an id is what lookups take."""
    _, values, ids, policy = lookup
    rows = len(values)
    expected = rows_taken(ids, rows, policy)
    expected[expected < 0] = rows
    got = OutOfRange(policy).rows_for(ids, rows)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, expected, strict=True)
    with pytest.raises(TypeError, match="ids must be integers"):
        OutOfRange(policy).rows_for(ids.astype("f4"), rows)

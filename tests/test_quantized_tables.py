"""Rows as int8 and int4 codes, and rows with LoRA: against plain NumPy, and against real Keras 3."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import THREADS, bits, ids_below

import fastembed
from fastembed import _additions, _rows, ops, quantizers
from fastembed.dtypes import array_dtype
from fastembed.layers import Embedding
from fastembed.quantizers import quantize_int4, quantize_int8, unpack_int4
from fastembed.tables import DenseTable, Int4Table, Int8Table, LoraTable

pytestmark = pytest.mark.usefixtures("parallel")

HAS_BFLOAT16 = importlib.util.find_spec("ml_dtypes") is not None
ROW_DTYPES = ["float32", "float64", "float16", *(["bfloat16"] if HAS_BFLOAT16 else [])]
# Every vector's tail, more than one piece of 256 columns, one column.
COLUMNS = st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 255, 256, 257, 513]))


# --- The plain NumPy twins ------------------------------------------------------------------------


def twin(codes, scale, zero, groups, row_dtype):
    """All rows, by the formulas of Keras 3 on NumPy: everything in the rows' dtype."""
    dtype = array_dtype(row_dtype)
    with np.errstate(all="ignore"):
        codes, scale = codes.astype(dtype), scale.astype(dtype)
        if zero is None:
            return codes / (scale[:, None] if scale.ndim == 1 else scale[:, groups])
        return (codes - zero.astype(dtype)[:, groups]) * scale[:, groups]


def assert_same(got, expected):
    """Equal bits, but for the bits of a NaN, which are a matter of the processor."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), nan)
    np.testing.assert_array_equal(bits(got)[~nan], bits(np.ascontiguousarray(expected))[~nan])


def scales(draw, shape, row_dtype):
    """Scales as they may come out of a file: usual ones, denormals, infinities, NaN, zeros of both signs."""
    wide = "float64" if row_dtype == "float64" else "float32"
    return draw(
        hnp.arrays(wide, shape, elements=st.one_of(st.floats(width=32), st.floats(1, 2**20, width=32)))
    )


@st.composite
def code_tables(draw):
    """A table of codes and all its rows."""
    rows, columns, row_dtype = draw(st.integers(1, 12)), draw(COLUMNS), draw(st.sampled_from(ROW_DTYPES))
    way = draw(st.sampled_from(["int8", "int4", "blocks", "g_idx"]))
    least, most = (-128, 127) if way == "int8" else (-8, 7)
    seed = draw(st.integers(0, 2**32 - 1))  # of what hypothesis need not look at one by one
    codes = np.random.default_rng(seed).integers(least, most, (rows, columns), np.int8, endpoint=True)
    if way == "int8":
        scale = scales(draw, rows, row_dtype)
        return Int8Table(codes, scale, row_dtype), twin(codes, scale, None, None, row_dtype)
    packed = quantizers.pack_int4(codes, axis=-1)[0]
    if way == "int4":
        scale = scales(draw, rows, row_dtype)
        table = Int4Table(packed, columns, scale, row_dtype=row_dtype)
        return table, twin(codes, scale, None, None, row_dtype)
    block_size = draw(st.integers(1, columns + 1))
    blocks = -(-columns // block_size)
    groups = np.arange(columns) // block_size
    if way == "g_idx":
        groups = draw(hnp.arrays(np.intp, columns, elements=st.integers(0, blocks - 1)))
    scale = scales(draw, (rows, blocks), row_dtype)
    zero = draw(hnp.arrays(np.int8, (rows, blocks)))
    g_idx = groups.astype("float32") if way == "g_idx" else None
    table = Int4Table(packed, columns, scale, zero, block_size, g_idx, row_dtype)
    return table, twin(codes, scale, zero, groups, row_dtype)


# --- Lookups --------------------------------------------------------------------------------------


@given(code_tables(), st.data(), THREADS)
def test_gives_the_bits_of_numpy(case, data, threads):
    table, rows = case
    ids = data.draw(ids_below(len(rows)))
    expected = rows[ids.astype(np.intp)]
    with fastembed.num_threads(threads):
        assert_same(table.gather(ids), expected)
        out = np.empty(expected.shape, expected.dtype)
        assert table.gather(ids, out) is out
        assert_same(out, expected)
    assert_same(table.dequantized(), rows)
    assert (table.shape, table.row_dtype, len(table)) == (rows.shape, rows.dtype, len(rows))


@given(code_tables(), st.data())
def test_fills_out_and_nothing_beside_it(case, data):
    table, rows = case
    ids = data.draw(ids_below(len(rows)))
    size = ids.size * rows[0].nbytes
    memory = np.full(size + 128, 0xA5, np.uint8)
    table.gather(ids, memory[64 : 64 + size].view(rows.dtype).reshape(*ids.shape, rows.shape[1]))
    assert (memory[:64] == 0xA5).all()
    assert (memory[64 + size :] == 0xA5).all()


def both_ways(columns, rows=50, row_dtype="float32"):
    """A table of each kind and its twin."""
    rng = np.random.default_rng(columns)
    floats = rng.normal(size=(rows, columns)).astype("float32")
    codes, scale = quantize_int8(floats)
    yield Int8Table(codes, scale, row_dtype), twin(codes, scale, None, None, row_dtype)
    packed, scale = quantize_int4(floats)
    codes = unpack_int4(packed, columns, axis=-1)
    yield Int4Table(packed, columns, scale, row_dtype=row_dtype), twin(codes, scale, None, None, row_dtype)
    packed, scale, zero, g_idx = quantize_int4(floats, 32)
    codes = unpack_int4(packed, columns, axis=-1)
    table = Int4Table(packed, columns, scale, zero, 32, row_dtype=row_dtype)
    yield table, twin(codes, scale, zero, g_idx.astype(int), row_dtype)


@pytest.mark.parametrize("columns", [*range(1, 131), 255, 256, 257, 300, 1000])
def test_every_number_of_columns(columns, rng):
    ids = rng.integers(0, 50, 300)
    for table, rows in both_ways(columns):
        assert_same(table.gather(ids), rows[ids])


@pytest.mark.parametrize("row_dtype", ROW_DTYPES)
@pytest.mark.parametrize("columns", [64, 300, 7])
def test_large_tables_and_outputs(columns, row_dtype, rng):
    """Rows that are fetched ahead, outputs that are written past the caches, work that is shared."""
    n = (33 << 20) // (columns * array_dtype(row_dtype).itemsize)
    for table, rows in both_ways(columns, 20_000, row_dtype):
        ids = rng.integers(0, len(rows), n)
        for threads in (1, 3):
            with fastembed.num_threads(threads):
                np.testing.assert_array_equal(table.gather(ids), rows[ids], strict=True)


def test_rows_wider_than_a_step(rng):
    """Wider than what plain rows are cut by columns for."""
    codes = rng.integers(-127, 127, (2, 5_000_001), np.int8)
    scale = np.float32([3, 7])
    expected = codes / scale[:, None]
    np.testing.assert_array_equal(Int8Table(codes, scale).gather(np.array([1, 0, 1])), expected[[1, 0, 1]])


def test_no_rows_and_no_columns():
    empty = Int8Table(np.zeros((0, 3), np.int8), np.zeros(0, np.float32))
    assert empty.gather(np.zeros((2, 0), int)).shape == (2, 0, 3)
    with pytest.raises(IndexError, match="which has no rows"):
        empty.gather(np.array([0]))
    narrow = Int4Table(np.zeros((2, 0), np.int8), 0, np.ones(2, np.float32))
    assert narrow.gather(np.array([1, 0, 1])).shape == (3, 0)


@given(code_tables(), st.sampled_from(["zeros", "clip", "wrap", "nan", 0]))
def test_follows_policies_for_ids_outside(case, policy):
    table, rows = case
    ids = np.array([len(rows), 0, -1, len(rows) + 3])
    dense = DenseTable(rows.view(np.uint16) if rows.dtype.name == "bfloat16" else rows)
    if policy == "nan":
        assert np.isnan(table.gather(ids, None, policy)[[0, 2, 3]]).all()
    else:
        expected = dense.gather(ids, None, policy)
        assert_same(table.gather(ids, None, policy), expected.view(rows.dtype))
    with pytest.raises(IndexError, match=rf"ids\[0\] = {len(rows)} is outside the table"):
        table.gather(ids)


# Printed by a process for each instruction set: what all rows look like.
DIGEST = """
import numpy as np, hashlib, sys
from test_quantized_tables import ROW_DTYPES, both_ways
from fastembed import _rows, quantizers
from fastembed.tables import Int8Table
sha = hashlib.sha256()
for columns in (1, 5, 31, 32, 33, 64, 100, 257):
    for row_dtype in ROW_DTYPES:
        for table, _ in both_ways(columns, 20, row_dtype):
            sha.update(table.dequantized().tobytes())
# Quotients of every code by scales of every size.
bits = np.arange(0, 0x7F800000, 65537, np.uint32)
codes = np.broadcast_to(np.arange(-128, 128).astype(np.int8), (len(bits), 256)).copy()
for row_dtype in ROW_DTYPES:
    sha.update(Int8Table(codes, bits.view(np.float32), row_dtype).dequantized().tobytes())
print(_rows.isa, sha.hexdigest())
"""


@pytest.mark.skipif(_rows.isa == "baseline", reason="there is one instruction set")
def test_all_instruction_sets_give_the_same_bits():
    here = os.path.dirname(__file__)
    said = {}
    for isa in ("baseline", "avx2", "avx512"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "FASTEMBED_ISA": isa, "PYTHONPATH": os.pathsep.join([here, *sys.path])},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        used, digest = done.stdout.split()
        said[used] = digest
    assert len(said) > 1
    assert len(set(said.values())) == 1, said


@pytest.mark.parametrize("row_dtype", ROW_DTYPES)
def test_every_size_of_scale(row_dtype):
    """Among the results are infinities, denormals of every dtype, and halves that are rounded to even."""
    scale = np.arange(0, 0x7F800000, 655_373, np.uint32).view(np.float32)
    codes = np.broadcast_to(np.arange(-128, 128).astype(np.int8), (len(scale), 256)).copy()
    assert_same(Int8Table(codes, scale, row_dtype).dequantized(), twin(codes, scale, None, None, row_dtype))
    packed = quantizers.pack_int4(codes[:, 120:136], axis=-1)[0]
    zero = np.random.default_rng(0).integers(-128, 128, (len(scale), 1), np.int8)
    table = Int4Table(packed, 16, scale[:, None], zero, 16, row_dtype=row_dtype)
    expected = twin(codes[:, 120:136], scale[:, None], zero, np.zeros(16, int), row_dtype)
    assert_same(table.dequantized(), expected)


# --- In a layer and under threads -----------------------------------------------------------------


class Coded(Embedding):
    """An embedding whose rows are stored as codes."""

    def __init__(self, coded):
        super().__init__(*coded.shape)
        self.__dict__["coded"] = coded
        self.build(None)

    @property
    def table(self):
        return self.__dict__["coded"]


def test_a_layer_is_answered_in_one_call():
    table, rows = next(both_ways(8))
    layer = Coded(table)
    ids = np.array([[3, 1]])
    assert_same(layer(ids), rows[ids])
    assert layer._table is table  # the shortest way
    assert_same(layer(ids), rows[ids])
    assert_same(layer([3, 1]), rows[[3, 1]])


def test_rows_are_wholly_old_or_wholly_new():
    """Codes, scales and zero points are swapped at once, while other threads look up."""
    rows, columns = 300, 40
    olds = [np.full((rows, columns), value, np.float32) for value in (1.0, -3.0)]
    makings = [
        (Int8Table, [quantize_int8(old) for old in olds], ()),
        (Int4Table, [quantize_int4(old, 16) for old in olds], (columns,)),
    ]
    for kind, (first, second), between in makings:
        arguments = [first[0], *between, *first[1:3], *([16] if kind is Int4Table else [])]
        table = kind(*arguments)
        allowed = [table.dequantized()[0], None]
        table.replace(*second)
        allowed[1] = table.dequantized()[0]
        stop, wrong = threading.Event(), []

        def look(table=table, allowed=allowed, stop=stop, wrong=wrong):
            ids = np.arange(rows)
            while not stop.is_set():
                got = table.gather(ids)
                ok = (got == allowed[0]).all(axis=1) | (got == allowed[1]).all(axis=1)
                if not ok.all():
                    wrong.append(got[~ok])

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for turn in range(3000):
            # Of what was there only the table keeps the memory.
            table.replace(*(array.copy() for array in (first, second)[turn % 2]))
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong


def test_a_failed_replace_changes_nothing():
    table, rows = next(both_ways(6))
    with pytest.raises(ValueError, match="50 rows cannot take over codes of shape"):
        table.replace(np.zeros((3, 6), np.int8), np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"scale must have shape \(50, groups\), got \(49, 1\)"):
        table.replace(np.zeros((50, 6), np.int8), np.ones(49, np.float32))
    assert_same(table.dequantized(), rows)


def test_keeps_the_memory_that_it_looks_at():
    table, rows = next(both_ways(70, rows=2000))
    junk = [np.full(2000, -1, np.float32) for _ in range(50)]  # would take over what was let go
    assert_same(table.dequantized(), rows)
    assert len(junk) == 50


# --- What cannot be -------------------------------------------------------------------------------


def int4_of(**changes):
    arguments = {
        "packed": np.zeros((4, 3), np.int8), "columns": 6, "scale": np.ones((4, 2), np.float32),
        "zero": np.zeros((4, 2), np.int8), "block_size": 3,
    }  # fmt: skip
    return Int4Table(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"packed": np.zeros((4, 3), np.uint8)}, TypeError, "codes must have dtype int8, got uint8"),
        ({"packed": [[1]]}, TypeError, "codes must be an ndarray, got list"),
        ({"packed": np.zeros((4, 4), np.int8)}, ValueError, r"codes must have shape \(4, 3\), got \(4, 4\)"),
        ({"packed": np.zeros(3, np.int8)}, ValueError, "codes must have shape"),
        ({"packed": np.zeros((4, 6), np.int8)[:, ::2]}, ValueError, "codes must be C-contiguous"),
        ({"columns": 7}, ValueError, r"codes must have shape \(4, 4\), got \(4, 3\)"),
        ({"columns": -1}, ValueError, "columns cannot be negative, got -1"),
        ({"scale": np.ones((3, 2), np.float32)}, ValueError, r"scale must have shape \(4, groups\)"),
        ({"zero": np.zeros((4, 3), np.int8)}, ValueError, r"zero must have shape \(4, 2\), got \(4, 3\)"),
        ({"zero": np.zeros((4, 2), np.float32)}, TypeError, "zero must have dtype int8, got float32"),
        ({"block_size": 2}, ValueError, r"groups must be in \[0, 2\), got 0 to 2"),
        ({"g_idx": np.float32([0, 0, 0, 1, 1, 2])}, ValueError, r"groups must be in \[0, 2\), got 0 to 2"),
        ({"g_idx": np.float32([0, 0, 0, 1, 1, -1])}, ValueError, r"groups must be in \[0, 2\), got -1 to 1"),
        ({"g_idx": np.float32([0, 0, 0, 1, 1])}, ValueError, "a group for each of 6 columns"),
        ({"g_idx": np.float32([0, 0, 0, 1, 1, 0.5])}, ValueError, "numbers that are no integers"),
        ({"g_idx": np.float32([0, 0, 0, 1, 1, np.nan])}, ValueError, "numbers that are no integers"),
        ({"g_idx": np.float32([0, 0, 0, 1, 1, np.inf])}, ValueError, "numbers that are no integers"),
        ({"row_dtype": "int8"}, TypeError, "rows of codes can come as floats, not as int8"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        int4_of(**changes)


def test_nothing_can_be_added_to_codes():
    table = int4_of()
    ids, values = np.array([0]), np.ones((1, 6), np.float32)
    with pytest.raises(TypeError, match="nothing can be added in place to rows that are stored as codes"):
        _additions.accumulate(table, ids, values)
    for updates in (values, [[0.5] * 6]):
        with pytest.raises(TypeError, match="nothing can be added in place"):
            ops.scatter_add(table, ids, updates)
    assert not table.array.any()


def test_out_must_fit_and_lie_apart():
    memory = np.zeros(4096, np.uint8)
    codes = memory[:32].view(np.int8).reshape(4, 8)
    scale = memory[64:80].view(np.float32)
    zero = memory[128:132].view(np.int8).reshape(4, 1)
    scale[:] = 1
    plain = Int8Table(codes, scale)
    blocks = Int4Table(codes[:, :4].copy(), 8, scale.reshape(4, 1), zero, 8)
    for table, start in [(plain, 0), (plain, 64), (blocks, 64), (blocks, 128)]:
        out = memory[start : start + 32].view(np.float32).reshape(1, 8)
        with pytest.raises(ValueError, match="out must not overlap the table"):
            table.gather(np.array([1]), out)
    for out, message in [
        (np.empty((1, 7), np.float32), r"out must have shape \(1, 8\), got \(1, 7\)"),
        (np.empty((1, 8), np.float64), "out must have dtype float32, got float64"),
    ]:
        with pytest.raises(ValueError, match=message):
            plain.gather(np.array([1]), out)


def test_arrays_may_be_read_only_and_anywhere():
    """Codes need no alignment; they may lie in a file's bytes."""
    codes = np.frombuffer(bytes(range(1, 13)), np.int8).reshape(4, 3)
    scale = np.float32([1, 2, 4, 8])
    scale.flags.writeable = False
    np.testing.assert_array_equal(Int8Table(codes, scale).dequantized(), codes / scale[:, None])


# --- How numbers are quantised --------------------------------------------------------------------

# As float32 has them: NumPy 1 compares a float32 with the double of 1e-7, and they differ.
ODD_FLOATS32 = np.float32([0.0, -0.0, 1e-45, -1e-38, 1e-7, 3e38, -3e38]).tolist()
FLOATS32 = st.one_of(st.floats(-1e4, 1e4, width=32), st.sampled_from(ODD_FLOATS32))


@st.composite
def matrices(draw, elements=FLOATS32):
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    matrix = draw(hnp.arrays(np.float32, shape, elements=elements))
    sign = draw(st.sampled_from(["any", "positive", "negative", "constant"]))
    if sign == "constant":
        return np.broadcast_to(matrix[:, :1], shape).copy()
    return {"any": matrix, "positive": np.abs(matrix), "negative": -np.abs(matrix)}[sign]


@given(matrices())
@example(np.float32([[0.03] * 4]))
@example(np.float32([[1.0, 1.1, 1.2, 1.3]]))
@example(np.float32([[3e38, -3e38]]))
def test_no_number_is_further_away_than_its_step(matrix):
    """Also where all of a block have one sign. The range is shortened by 1e-7, and rounding adds a little."""
    codes, scale = quantize_int8(matrix)
    step = np.abs(matrix).max(axis=1, keepdims=True) / 127 + 1e-7
    near = np.abs(Int8Table(codes, scale, "float64").dequantized() - matrix)
    assert (near <= 0.5001 * step + 1e-7).all()
    packed, scale = quantize_int4(matrix)
    near = np.abs(Int4Table(packed, matrix.shape[1], scale, row_dtype="float64").dequantized() - matrix)
    step = np.abs(matrix).max(axis=1, keepdims=True) / 7 + 1e-7
    assert (near <= 0.5001 * step + 1e-7).all()
    for block_size in (1, 3, 128):
        packed, scale, zero, g_idx = quantize_int4(matrix, block_size)
        table = Int4Table(packed, matrix.shape[1], scale, zero, block_size, g_idx, "float64")
        near = np.abs(table.dequantized() - matrix.astype("float64"))
        # Both ends of a range cannot be hit at once: one may be off by a whole step.
        step = np.repeat(scale, block_size, axis=1)[:, : matrix.shape[1]].astype("float64")
        assert (near <= 1.0001 * step + 1e-7).all()


def test_golden_values():
    """Of Keras's formulas; all that is one-signed comes out right here."""
    matrix = np.float32([[1.0, 1.1, 1.2, 1.3], [0.03] * 4, [-1.0, -1.1, -1.2, -1.3], [0, 0, 0, 0]])
    packed, scale, zero, g_idx = quantize_int4(matrix, 4)
    got = Int4Table(packed, 4, scale, zero, 4, g_idx).dequantized()
    np.testing.assert_allclose(got, matrix, atol=0.045)
    np.testing.assert_allclose(got[1], 0.03, rtol=1e-5)
    assert (got[3] == 0).all()
    assert unpack_int4(packed, 4, axis=-1).tolist() == [
        [4, 5, 6, 7], [7, 7, 7, 7], [-5, -6, -7, -8], [-8, -8, -8, -8],
    ]  # fmt: skip
    codes, scale = quantize_int8(np.float32([[0.5, -1.0, 0.003], [0, 0, 0]]))
    assert codes.tolist() == [[63, -127, 0], [0, 0, 0]]
    assert scale.tolist() == [126.9999847412109375, 1.27e9]
    packed, scale = quantize_int4(np.float32([[0.5, -1.0, 0.25]]))  # an odd number: a zero follows
    assert packed.tolist() == [[(3 | (-7 & 15) << 4) - 256, 2]]
    assert g_idx.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_has_no_scale_is_refused(bad):
    matrix = np.ones((3, 4), np.float32)
    matrix[1, 2] = bad
    for quantize in (
        quantize_int8, quantize_int4, lambda x: quantize_int4(x, 2), quantizers.AbsMaxQuantizer(),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"inputs\[1, 2\] = -?(nan|inf): only finite numbers"):
            quantize(matrix)
    with pytest.raises(TypeError, match="expected numbers to quantise, got dtype <U1"):
        quantizers.abs_max_quantize(np.array(["a"]), -1)
    with pytest.raises(ValueError, match="block_size must be a positive integer, got 0"):
        quantize_int4(np.ones((2, 2), np.float32), 0)
    with pytest.raises(ValueError, match=r"expected a matrix, got shape \(3,\)"):
        quantizers.abs_max_quantize_grouped_with_zero_point(np.ones(3, np.float32), 2)


def test_tables_are_quantised_in_lots(monkeypatch, rng):
    matrix = rng.normal(size=(100, 7)).astype("float32")
    whole = [*quantize_int8(matrix), *quantize_int4(matrix), *quantize_int4(matrix, 3)]
    monkeypatch.setattr(quantizers, "_AT_ONCE", 50)
    lots = [*quantize_int8(matrix), *quantize_int4(matrix), *quantize_int4(matrix, 3)]
    for one, other in zip(whole, lots):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_of_tables(dtype, rng):
    """float16 has no number for the scale of a row of nearly zeros: the largest that it has is taken."""
    matrix = rng.normal(size=(5, 6)).astype(dtype)
    matrix[0], matrix[1] = 0, 1e-4
    for arrays, kind in [(quantize_int8(matrix), Int8Table), (quantize_int4(matrix), Int4Table)]:
        assert arrays[1].dtype == dtype
        got = kind(arrays[0], *([6] if kind is Int4Table else []), arrays[1], row_dtype=dtype).dequantized()
        np.testing.assert_allclose(got, matrix, atol=np.abs(matrix).max() / 13)
        np.testing.assert_allclose(got[:2], matrix[:2], atol=2e-5)
    packed, scale, zero, g_idx = quantize_int4(matrix, 4)
    got = Int4Table(packed, 6, scale, zero, 4, g_idx, dtype).dequantized()
    np.testing.assert_allclose(got, matrix, atol=0.3)
    assert (got[0] == 0).all()


def test_integers_have_a_scale_of_floats():
    codes, scale = quantizers.abs_max_quantize(np.array([[3, -2]]), -1)
    assert (codes.tolist(), scale.dtype) == ([[127, -85]], np.dtype(np.float32))
    np.testing.assert_allclose(codes / scale, [[3, -2]], atol=0.02)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="ml_dtypes is not installed")
def test_blocks_of_bfloat16(rng):
    matrix = rng.normal(size=(4, 7)).astype(array_dtype("bfloat16"))
    packed, scale, zero, _ = quantize_int4(matrix, 3)
    wide = quantize_int4(matrix.astype(np.float32), 3)
    assert scale.dtype == matrix.dtype
    np.testing.assert_array_equal(packed, wide[0])
    np.testing.assert_array_equal(scale, wide[1].astype(matrix.dtype))
    np.testing.assert_array_equal(zero, wide[2])


# --- LoRA -----------------------------------------------------------------------------------------


@given(st.data())
def test_lora_rows(data):
    rows, columns = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40))
    rank = data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    a, b = rng.normal(size=(rows, rank)).astype("f4"), rng.normal(size=(rank, columns)).astype("f4")
    table = rng.normal(size=(rows, columns)).astype(data.draw(st.sampled_from(["f4", "f8", "f2"])))
    base = DenseTable(table)
    if data.draw(st.booleans()):
        table, base = (base := Int8Table(*quantize_int8(table), str(table.dtype))).dequantized(), base
    ids = data.draw(ids_below(rows))
    wide = np.promote_types(table.dtype, np.float32)
    expected = (table.astype(wide) + np.float32(0.5) * (a @ b)).astype(table.dtype)[ids.astype(np.intp)]
    lora = LoraTable(base, a, b, 0.5)
    tolerance = 2e-3 if table.dtype == "f2" else 1e-5
    got = lora.gather(ids)
    assert got.dtype == table.dtype
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    out = np.empty(expected.shape, expected.dtype)
    assert lora.gather(ids, out) is out
    np.testing.assert_array_equal(out, got)
    assert (lora.shape, lora.row_dtype) == (table.shape, table.dtype)


def test_lora_looks_at_what_is_there_now(rng):
    a, b = DenseTable(np.zeros((4, 2), np.float32)), DenseTable(rng.random((2, 3), np.float32))
    lora = LoraTable(DenseTable(np.ones((4, 3), np.float32)), a, b, 1.0)
    assert (lora.gather(np.array([2])) == 1).all()
    a.replace(np.ones((4, 2), np.float32))
    np.testing.assert_allclose(lora.gather(np.array([2])), 1 + b.array.sum(0, keepdims=True), rtol=1e-6)
    zeros = lora.gather(np.array([9, -1]), None, "zeros")
    assert (zeros == 0).all()


def test_lora_in_lots_of_bounded_memory(monkeypatch, rng):
    monkeypatch.setattr("fastembed.tables.lora._AT_ONCE", 64)
    base, a, b = (rng.random(shape, np.float32) for shape in ((30, 8), (30, 2), (2, 8)))
    ids = rng.integers(0, 30, (7, 13))
    got = LoraTable(DenseTable(base), a, b, 2.0).gather(ids)
    np.testing.assert_allclose(got, (base + 2 * (a @ b))[ids], rtol=1e-5)


def test_lora_shapes_are_checked():
    base = DenseTable(np.zeros((4, 3), np.float32))
    for a, b in [((4, 2), (3, 3)), ((3, 2), (2, 3)), ((4, 2), (2, 4)), ((4,), (2, 3))]:
        with pytest.raises(ValueError, match="cannot be added to a table of shape"):
            LoraTable(base, np.zeros(a, np.float32), np.zeros(b, np.float32), 1.0)
    with pytest.raises(IndexError):
        LoraTable(base, np.zeros((4, 1), np.float32), np.zeros((1, 3), np.float32), 1.0).gather(np.array([4]))

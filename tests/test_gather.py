"""Lookups: the rows, the ids, the output, and what may go wrong with each."""

from __future__ import annotations

import mmap
import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ID_DTYPES, THREADS, VALUE_DTYPES, bits, ids_below, lookups, tables

import fastembed
from fastembed import Variable, _additions, _rows, ops
from fastembed._memory import empty
from fastembed.tables import DenseTable

pytestmark = pytest.mark.usefixtures("parallel")


@given(lookups(), THREADS)
def test_gives_the_rows_bit_for_bit(lookup, threads):
    with fastembed.num_threads(threads):
        got = ops.gather(lookup.table, lookup.ids)
    expected = lookup.rows[lookup.ids.astype(np.intp)]
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(bits(got), bits(np.asarray(expected)), strict=True)


@given(lookups(), THREADS)
def test_equals_one_hot_matmul(lookup, threads):
    rows = np.nan_to_num(lookup.rows, posinf=1, neginf=1)  # 0 * inf is not 0
    table = Variable(rows, dtype="bfloat16") if isinstance(lookup.table, Variable) else rows
    with fastembed.num_threads(threads):
        got = ops.gather(table, lookup.ids)
    one_hot = np.eye(len(rows), dtype=rows.dtype)[lookup.ids.astype(np.intp)]
    np.testing.assert_array_equal(got, np.asarray(one_hot @ np.asarray(table)))


@given(st.data(), THREADS)
def test_fills_out_and_nothing_beside_it(data, threads):
    table, rows = data.draw(tables(max_rows=5, max_dim=40))
    ids = data.draw(ids_below(len(rows)))
    shape = (*ids.shape, rows.shape[1])
    size = int(np.prod(shape)) * rows.itemsize
    memory = np.full(size + 128, 0xA5, np.uint8)
    out = memory[64 : 64 + size].view(rows.dtype).reshape(shape)
    with fastembed.num_threads(threads):
        assert ops.gather(table, ids, out=out) is out
    np.testing.assert_array_equal(bits(out), bits(np.asarray(rows[ids.astype(np.intp)])))
    assert (memory[:64] == 0xA5).all()
    assert (memory[64 + size :] == 0xA5).all()


@pytest.mark.parametrize("row_bytes", [*range(1, 70), 127, 128, 129, 191, 255, 256, 257, 1200])
def test_every_row_width(row_bytes, rng):
    table = rng.integers(0, 256, (300, row_bytes), dtype=np.uint8)
    ids = rng.integers(0, 300, 700)
    np.testing.assert_array_equal(ops.gather(table, ids), table[ids])


def test_a_table_larger_than_the_caches(rng):
    """Rows are fetched ahead of the copy only in large tables; nothing may be fetched into the result."""
    table = rng.random((40_000, 33), np.float32)
    ids = rng.integers(0, 40_000, (13, 1009))
    for threads in (1, 2, 3, 8):
        with fastembed.num_threads(threads):
            np.testing.assert_array_equal(ops.gather(table, ids), table[ids], strict=True)


def test_more_than_one_stretch_between_signals(rng):
    table = rng.integers(0, 256, (4, 64 * 1024), dtype=np.uint8)
    ids = rng.integers(0, 4, 3000)  # 188 MiB: signals are looked for every 64 MiB
    out = ops.gather(table, ids)
    np.testing.assert_array_equal(out[:, 1000], table[ids, 1000])
    ids[2999] = 4
    with pytest.raises(IndexError, match=r"^ids\[2999\] = 4 "):
        ops.gather(table, ids, out=out)


def test_more_than_two_to_the_31_elements():
    table = np.zeros((70_000_000, 64), np.uint8)  # zero pages: this costs no memory
    table[-1, -1] = 7
    assert ops.gather(table, [69_999_999])[0, -1] == 7


# --- Ids outside the table ------------------------------------------------------------------------


OUTSIDE = [
    (bad, dtype)
    for bad in (-(2**63), -(2**31), -5, -4, -1, 4, 5, 255, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1)
    for dtype in ID_DTYPES[1:]  # bool has no other ids than 0 and 1
    if np.iinfo(dtype).min <= bad <= np.iinfo(dtype).max
]


@pytest.mark.parametrize("value", VALUE_DTYPES)
@pytest.mark.parametrize(("bad", "dtype"), OUTSIDE)
def test_names_the_first_id_outside(bad, dtype, value):
    table = Variable(np.zeros((4, 3)), dtype=value)
    ids = np.array([[0, 1, 2], [3, 0, 1]]).astype(dtype)
    ids[1, 1] = bad
    for threads in (1, 2, 8):
        with (
            fastembed.num_threads(threads),
            pytest.raises(
                IndexError, match=rf"^ids\[1, 1\] = {bad} is outside the table, whose rows are 0 to 3"
            ),
        ):
            ops.gather(table, ids)


def test_the_first_of_several_is_named_whichever_thread_finds_it():
    ids = np.zeros(4096, np.int64)
    ids[[1001, 3000, 4095]] = 9
    for threads in (1, 2, 3, 8):
        with fastembed.num_threads(threads), pytest.raises(IndexError, match=r"^ids\[1001\] = 9 "):
            ops.gather(np.zeros((4, 8), "f4"), ids)


def test_an_empty_table_has_no_rows_to_look_up():
    assert ops.gather(np.zeros((0, 8)), []).shape == (0, 8)
    with pytest.raises(IndexError, match=r"^ids\[0\] = 0 is outside the table, which has no rows$"):
        ops.gather(np.zeros((0, 8)), [0])
    assert ops.gather(np.zeros((3, 0)), [2, 1]).shape == (2, 0)


@pytest.mark.parametrize("row_bytes", [(4 << 20) + 2, (16 << 20) + 64, (40 << 20) + 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_are_shared_out_by_columns(row_bytes, threads, rng):
    table = rng.integers(0, 2**16, (2, row_bytes // 2), dtype=np.uint16)
    with fastembed.num_threads(threads):
        np.testing.assert_array_equal(ops.gather(table, [1, 0]), table[[1, 0]])
        with pytest.raises(IndexError, match=r"ids\[1\] = 2 is outside"):
            ops.gather(table, [1, 2])
        words = Variable.from_bfloat16_words(table)
        np.testing.assert_array_equal(bits(ops.gather(words, [1])), bits(words.numpy()[[1]]))


# --- out ------------------------------------------------------------------------------------------


def _read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.full((2, 3), 7.0), "shape"),
        (np.full((3, 4), 7.0, "f4"), "dtype"),
        (np.full((3, 4), 7.0, ">f8"), "dtype"),
        (np.full((4, 3), 7.0).T, "C-contiguous"),
        (np.full((6, 4), 7.0)[::2], "C-contiguous"),
        (_read_only(np.full((3, 4), 7.0)), "writable"),
        (np.full(12 * 8 + 1, 7, "u1")[1:].view("f8").reshape(3, 4), "aligned"),
    ],
)
def test_an_out_that_does_not_fit_is_left_alone(out, message):
    before = out.copy()
    with pytest.raises(ValueError, match=f"out must .*{message}"):
        ops.gather(np.eye(4), [1, 2, 3], out=out)
    np.testing.assert_array_equal(out, before)


def test_out_is_an_array():
    with pytest.raises(TypeError, match="out must be an ndarray, got list"):
        ops.gather(np.eye(4), [1], out=[[0.0] * 4])


def test_out_may_touch_neither_table_nor_ids():
    memory = np.arange(40.0)
    table = memory[:20].reshape(5, 4)
    with pytest.raises(ValueError, match="overlap the table"):
        ops.gather(table, [1], out=memory[16:20].reshape(1, 4))
    assert ops.gather(table, [1], out=memory[20:24].reshape(1, 4)) is not None  # next to it is fine
    ids = np.zeros(8, np.int64)
    with pytest.raises(ValueError, match="overlap the ids"):
        ops.gather(np.eye(4), ids[:1], out=ids[:4].view(np.float64).reshape(1, 4))
    with pytest.raises(ValueError, match="overlap the ids"):
        ops.gather(np.eye(4), ids[7:3:-4], out=ids[4:].view(np.float64).reshape(1, 4))


# --- Tables ---------------------------------------------------------------------------------------


def test_a_table_of_any_rank(rng):
    for shape in [(5,), (5, 2, 3), (5, 1, 2, 2)]:
        table = rng.random(shape)
        np.testing.assert_array_equal(ops.gather(table, [[4, 0]]), table[[[4, 0]]], strict=True)


def test_borrows_an_array_whatever_its_dtype():
    for table in [
        np.arange(6).reshape(3, 2).astype(">i4"), np.array([[True], [False], [True]]),
        np.eye(3, dtype=complex),
        np.array([["a", "bc"]] * 3), np.zeros((3, 2), [("a", "f4"), ("b", "i2")]),
    ]:  # fmt: skip
        np.testing.assert_array_equal(ops.gather(_read_only(table), [2, 0]), table[[2, 0]], strict=True)


def test_ml_dtypes_tables_keep_their_dtype():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    table = np.arange(6).reshape(3, 2).astype(bfloat16)
    assert ops.gather(table, [1]).dtype == bfloat16
    variable = Variable(table)
    assert variable.dtype == "bfloat16"
    np.testing.assert_array_equal(ops.gather(variable, [1]), np.array([[2, 3]], "f4"), strict=True)
    np.testing.assert_array_equal(variable.rows("bfloat16").gather(np.array([1])), table[[1]], strict=True)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (np.eye(4)[:, :2], ValueError, "np.ascontiguousarray"),
        (np.asfortranarray(np.ones((2, 3))), ValueError, "C-contiguous"),
        (np.array([[None]]), TypeError, "Python objects"),
        (np.float32(3), ValueError, "axis of rows"),
    ],
)
def test_refuses_a_table_it_would_have_to_copy(table, error, message):
    with pytest.raises(error, match=message):
        ops.gather(table, [0])


def test_bfloat16_words_are_native_uint16():
    with pytest.raises(TypeError, match="uint16 words, got dtype int16"):
        _rows.Table(np.zeros((2, 2), np.int16), widen=True)


def test_owned_memory_starts_on_a_cache_line():
    for rows in (1, 7, 100_000):
        assert empty((rows, 3), "f4").ctypes.data % 64 == 0
    assert empty((1 << 20, 1), "f4").ctypes.data % (2 << 20) == 0  # and large memory on a huge page
    with pytest.raises(ValueError, match="resize"):
        empty((4, 4), "f4").resize((8, 8), refcheck=False)
    with pytest.raises(TypeError, match="Python objects"):
        empty(3, object)
    with pytest.raises(MemoryError, match="bytes"):
        empty((2**40, 2**40), "f8")


def test_an_out_that_lies_about_its_shape_is_not_believed():
    class Liar(np.ndarray):
        shape = (4, 2)

    with pytest.raises(ValueError, match="out must have shape"):
        ops.gather(np.eye(5)[:, :2].copy(), [0, 1, 2, 3], out=np.zeros((1, 2)).view(Liar))


@pytest.mark.parametrize("shape", [(20, 1), (1, 20), (2, 10)])
def test_an_array_may_take_another_shape_when_it_is_a_table_already(shape):
    memory = np.arange(20.0)
    table = DenseTable(memory.reshape(4, 5))
    for array in (table.array, table.array.base, memory):
        array.shape = shape
        np.testing.assert_array_equal(table.gather(np.array([3])), [[15, 16, 17, 18, 19]])
        array.dtype = "f4"
        assert table.shape == (4, 5)
        _additions.accumulate(table, np.array([0]), np.zeros((1, 5)))
        array.dtype = "f8"


def test_ids_that_change_while_they_are_copied_give_as_many_rows_as_the_copy_has():
    """Ids that are not aligned are copied, which may let others run: here a subclass, else another thread."""

    class Sly(np.ndarray):
        def __array_finalize__(self, original):
            if isinstance(original, Sly):
                original.dtype = "i8"  # half as many

    ids = np.zeros(9, np.uint8)[1:].view("i4").view(Sly)
    assert DenseTable(np.eye(3)).gather(ids).shape == (2, 3)


def test_a_subclass_that_reshapes_to_something_else_is_not_asked():
    class Liar(np.ndarray):
        def reshape(self, *shape):
            return np.zeros(1)

    rows = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(DenseTable(rows.view(Liar)).gather(np.array([2])), rows[[2]])


def test_mapped_memory_may_be_swapped_while_it_is_looked_up():
    """The last reference to a mapping lets go of the GIL while it is unmapped."""

    def mapped(version):
        array = np.frombuffer(mmap.mmap(-1, 64 * 4096), np.float32).reshape(64, -1)
        array[:] = version
        return array

    table = _rows.Table(mapped(0))
    ids = np.arange(64)
    done = threading.Event()
    wrong = []

    def look():
        while not done.is_set():
            out = table.gather(ids)
            if not (out == out[0, 0]).all():
                wrong.append(out)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for looker in lookers:
            looker.start()
        for version in range(500):
            table.replace(mapped(version))
    finally:
        done.set()
        for looker in lookers:
            looker.join()
        sys.setswitchinterval(interval)
    assert not wrong


def test_a_table_is_owed_nothing_that_has_no_kernel():
    table = DenseTable(np.ones((2, 2)))
    for owed, message in [(_rows.Owed(), "has no kernel"), ("moves", "incorrect type")]:
        with pytest.raises(TypeError, match=message):
            table.replace(np.zeros((2, 2)), owed)
    assert table.owed is None
    np.testing.assert_array_equal(table.gather(np.array([1])), [[1, 1]])
    with pytest.raises(TypeError, match="nothing can be added in place to rows that are owed moves"):
        _rows.Owed().settle_for_writing()


def test_a_table_that_was_never_initialised_is_empty():
    table = _rows.Table.__new__(_rows.Table)
    assert (len(table), table.shape) == (0, (0, 0))
    with pytest.raises(IndexError, match="no rows"):
        table.gather(np.array([0]))


def test_the_table_lives_as_long_as_a_lookup_may_need_it(rng):
    table = DenseTable(rng.random((100, 8)))  # nobody else holds the array
    np.testing.assert_array_equal(table.gather(np.arange(100)), table.array)


# --- Special numbers ------------------------------------------------------------------------------


# NaN with payloads, quiet and signalling, both infinities and zeros, denormals and what lies beside them.
SPECIAL = {
    "f4": [0x7FC00001, 0xFFC12345, 0x7F800001, 0xFF812345, 0x7F800000, 0xFF800000, 0, 1 << 31, 1, 0x807FFFFF,
           0x800000],
    "f8": [0x7FF8000000000001, 0xFFF8000012345678, 0x7FF0000000000001, 0xFFF4000000000000, 0x7FF0000000000000,
           0xFFF0000000000000, 0, 1 << 63, 1, 0x800FFFFFFFFFFFFF, 0x10000000000000],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "bfloat16"])
@pytest.mark.parametrize("dim", [1, 7, 16, 31])
@pytest.mark.parametrize("nbytes", [1, 4096, 33 << 20])  # the last is written past the caches
def test_every_special_number_keeps_its_bits(dtype, dim, nbytes):
    if dtype in SPECIAL:
        words = np.array(SPECIAL[dtype], f"u{dtype[1]}")
    else:
        words = np.arange(1 << 16, dtype=np.uint16)  # all numbers that there are
    words = np.resize(words, (-(-words.size // dim), dim))
    table = DenseTable(words, "bfloat16") if dtype == "bfloat16" else DenseTable(words.view(dtype))
    expected = words.astype("u4") << 16 if dtype == "bfloat16" else words
    ids = np.arange(-(-nbytes // (dim * expected.itemsize))) % len(words)
    np.testing.assert_array_equal(bits(table.gather(ids)), expected[ids])


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the layout of fenv_t on x86-64 Linux"
)
def test_how_floats_are_rounded_is_left_alone():
    """No import and no call sets flush-to-zero, denormals-are-zero or a rounding mode, on any thread."""
    code = """
import ctypes, threading, numpy as np
libm = ctypes.CDLL("libm.so.6")
def control():  # x87's control word and MXCSR, without the flags that say what has happened
    env = (ctypes.c_uint32 * 8)()
    libm.fegetenv(env)
    return env[0] & 0xFFFF, env[7] & ~0x3F
before = control()
from fastembed import Variable, _team, num_threads, ops
_team.set_serial_bytes(0)
def work():
    for threads in (1, 2):
        with num_threads(threads):
            for dtype in ("float32", "bfloat16"):
                ops.gather(Variable(np.ones((99, 33)), dtype=dtype), np.arange(99))
            ops.scatter_add(np.ones((99, 33)), np.arange(99), 1.0)
    assert control() == before, (control(), before)
    tiny = np.float32(1e-45)
    assert tiny * np.float32(1) == tiny != 0
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(before == control())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n", "")


# --- Arrays that others change meanwhile ----------------------------------------------------------


@pytest.mark.parametrize(
    ("look_up", "dtype"),  # dtypes that nobody asked a NaN of before
    [(_rows.gather, ">c8"), (lambda table, *args: _rows.Table(table).gather(*args), ">c16")],
)
def test_ids_that_grow_while_the_policy_is_looked_into(monkeypatch, look_up, dtype):
    """The output is made for the ids that are read."""
    table, ids, full = np.arange(18).reshape(6, 3).astype(dtype), np.zeros(2, np.int64), np.full

    def meanwhile(*args, **kwargs):  # as another thread could, where Python runs
        ids.resize(40, refcheck=False)
        ids[:] = np.arange(40) % 6
        return full(*args, **kwargs)

    monkeypatch.setattr(np, "full", meanwhile)
    rows = look_up(table, ids, None, "nan")
    assert len(ids) == 40
    np.testing.assert_array_equal(rows, table[ids])


def test_a_table_that_says_another_dtype_than_it_has():
    class Narrow(np.ndarray):
        dtype = np.dtype("i1")

    table = np.arange(6.0).reshape(3, 2)
    rows = _rows.gather(table.view(Narrow), np.array([2, 0]))
    np.testing.assert_array_equal(rows, table[[2, 0]], strict=True)

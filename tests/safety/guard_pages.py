"""Calls whose table, ids and output end or begin at a page that nobody may touch: ``guard_pages.py what``.

A read or write of one byte too many ends the process with SIGSEGV; the last line printed says what it did. It
works on the build that users have, where sanitizers cannot look: an over-read of a vector's tail, say. Run by
test_guard_pages.py.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np

import fastembed
from fastembed import _additions, _pooling, _rows, _team
from fastembed.dtypes import widen_bfloat16
from fastembed.quantizers import unpack_int4
from fastembed.tables import Int4Table, Int8Table

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
NONE, READ, WRITE = 0, 1, 2  # as <sys/mman.h> has them

WIDTHS = [*range(1, 642), 1200, 4095, 4096, 4097]  # bytes of a row
DTYPES = ["i1", "f2", "f4", "f8", "c16", "bfloat16"]
ID_DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i2", ">u4", ">i8"]
COUNTS = [1, 2, 5, 257]  # ids; they are read in blocks of 256
LARGE = 32 << 20  # outputs from here on are written past the caches, where rows are multiples of 16 bytes


def protect(address: int, nbytes: int, access: int) -> None:
    if LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(nbytes), access):
        raise OSError(ctypes.get_errno(), "mprotect")


class Fence:
    """Pages between two that cannot be touched."""

    def __init__(self, nbytes: int) -> None:
        self.size = -(-nbytes // PAGE) * PAGE
        self.bytes = np.frombuffer(mmap.mmap(-1, self.size + 2 * PAGE), np.uint8)
        self.address = self.bytes.ctypes.data
        protect(self.address, PAGE, NONE)
        protect(self.address + PAGE + self.size, PAGE, NONE)

    def place(self, array: np.ndarray, at_end: bool) -> np.ndarray:
        """A copy of ``array`` that ends where the fence ends, or begins where it begins."""
        start = PAGE + (self.size - array.nbytes if at_end else 0)
        placed = self.bytes[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        placed[...] = array
        return placed


def fill(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Any bits, NaN and denormals among them, the same each time."""
    itemsize = np.dtype(dtype).itemsize
    nbytes = int(np.prod(shape)) * itemsize
    return np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8).view(dtype).reshape(shape)


def ids_for(rows: int, count: int, dtype: str = "i8") -> np.ndarray:
    """The last row first, then the first, and on through all of them."""
    return (rows - 1 - np.arange(count) % rows).astype(dtype)


def same(got: np.ndarray, expected: np.ndarray) -> bool:
    return got.tobytes() == expected.tobytes()


def gather() -> None:
    """Every width, dtype, dtype of ids and number of ids, at both ends."""
    tables, ids_fence, outs = Fence(8 * max(WIDTHS)), Fence(PAGE), Fence(257 * 2 * max(WIDTHS))
    for dtype in DTYPES:
        stored = "u2" if dtype == "bfloat16" else dtype
        itemsize = np.dtype(stored).itemsize
        for width in (width for width in WIDTHS if width % itemsize == 0):
            print(f"gather: {dtype}, rows of {width} bytes", flush=True)
            rows = fill((2 if width % 2 else 5, width // itemsize), stored)
            for at_end in (False, True):
                table = _rows.Table(tables.place(rows, at_end), widen=dtype == "bfloat16")
                answers = widen_bfloat16(rows) if dtype == "bfloat16" else rows
                for count in COUNTS if width < 642 else COUNTS[:3]:
                    for id_dtype in ID_DTYPES:
                        usable = 2 if id_dtype == "?" else len(rows)
                        wanted = ids_for(usable, count, id_dtype)
                        ids = ids_fence.place(wanted, at_end)
                        expected = answers[wanted.astype(np.intp)]
                        out = outs.place(np.zeros(expected.shape, expected.dtype), at_end)
                        assert same(table.gather(ids, out), expected)
                    assert same(table.gather(ids), expected)


def codes() -> None:
    """Rows of codes: codes, scales, zero points, ids and output, each of them at both ends."""
    fences = {name: Fence(8 * PAGE) for name in ("codes", "scale", "zero", "ids")}
    outs = Fence(LARGE + 64 * PAGE)
    for columns in (*range(1, 140), 255, 256, 257, 513, 4096):
        for way in ("int8", "int4", "blocks"):
            print(f"codes: {way}, {columns} columns", flush=True)
            for row_dtype in ("f4", "f8", "f2"):
                for at_end in (False, True):
                    check_codes(columns, way, row_dtype, at_end, fences, outs)


def check_codes(
    columns: int, way: str, row_dtype: str, at_end: bool, fences: dict[str, Fence], outs: Fence
) -> None:
    rows, block = 3 if columns < 1000 else 2, 5 if columns % 2 else 32
    blocks = -(-columns // block) if way == "blocks" else 1
    wide = "f8" if row_dtype == "f8" else "f4"
    stored = fill((rows, columns if way == "int8" else (columns + 1) // 2), "i1")
    stored = fences["codes"].place(stored, at_end)
    scale = fences["scale"].place(np.arange(1, rows * blocks + 1, dtype=wide).reshape(rows, blocks), at_end)
    zero = fences["zero"].place(fill((rows, blocks), "i1"), at_end)
    numbers = (stored if way == "int8" else unpack_int4(stored, columns, axis=-1)).astype(wide)
    name = np.dtype(row_dtype).name
    if way == "blocks":
        table = Int4Table(stored, columns, scale, zero, block, row_dtype=name)
        groups = np.arange(columns) // block
        answers = (numbers - zero[:, groups]) * scale[:, groups]
    elif way == "int4":
        table, answers = Int4Table(stored, columns, scale, row_dtype=name), numbers / scale
    else:
        table, answers = Int8Table(stored, scale, name), numbers / scale
    answers = answers.astype(row_dtype)
    # The last number is written past the caches, where rows are multiples of 16 bytes.
    counts = (1, 2, 257, LARGE // answers[0].nbytes + 3) if columns in (8, 96, 4096) else (1, 2, 257)
    for count in counts:
        ids = ids_for(rows, count)
        ids = fences["ids"].place(ids, at_end) if count <= 257 else ids
        nbytes = count * answers[0].nbytes
        out = outs.bytes[PAGE:-PAGE]
        out = (out[-nbytes:] if at_end else out[:nbytes]).view(row_dtype).reshape(count, columns)
        table.gather(ids, out)
        assert (out == answers[ids]).all()


def ids() -> None:
    """Every number of ids in a block and over its end, of every dtype; ids that do not follow one another."""
    rows, fence = fill((7, 5), "f4"), Fence(2 * PAGE)
    table = _rows.Table(Fence(PAGE).place(rows, True))
    for count in (*range(1, 80), *range(240, 300)):
        print(f"{count} ids", flush=True)
        wanted = ids_for(7, count, "i4")
        for at_end in (False, True):
            for dtype in ID_DTYPES[1:]:
                assert same(table.gather(fence.place(wanted.astype(dtype), at_end)), rows[wanted])
            for step in (-1, 2, -3):
                spread = np.zeros((count - 1) * abs(step) + 1, "i4")  # begins and ends with an id
                spread[::step] = wanted
                assert same(table.gather(fence.place(spread, at_end)[::step]), rows[wanted])
            record = np.zeros(count, [("pad", "u1"), ("id", "i4")])  # not aligned: copied first
            record["id"] = wanted
            assert same(table.gather(fence.place(record, at_end)["id"]), rows[wanted])
            one = np.broadcast_to(fence.place(wanted[:1], at_end), (count,))
            assert same(table.gather(one), rows[wanted[:1]].repeat(count, 0))


def outside() -> None:
    """Ids outside the table: rows in their place, and rows that are filled."""
    tables, outs = Fence(8 * max(WIDTHS)), Fence(400 * 2 * max(WIDTHS))
    for dtype in ("f4", "bfloat16"):
        for dim in (1, 3, 16, 33, 160):
            print(f"outside: {dtype}, {dim} numbers a row", flush=True)
            stored = fill((5, dim), "u2" if dtype == "bfloat16" else dtype)
            answers = widen_bfloat16(stored) if dtype == "bfloat16" else stored
            for at_end in (False, True):
                table = _rows.Table(tables.place(stored, at_end), widen=dtype == "bfloat16")
                for count in (1, 2, 255, 257, 400):
                    ids = np.arange(count) * 7 % 23 - 9
                    holes = (ids < 0) | (ids > 4)
                    for policy, row in (
                        ("clip", np.clip(ids, 0, 4)),
                        ("wrap", ids % 5),
                        ("zeros", None),
                        ("nan", None),
                    ):
                        expected = answers[ids * ~holes if row is None else row]
                        if row is None:
                            expected[holes] = 0 if policy == "zeros" else np.nan
                        out = outs.place(np.ones_like(expected), at_end)
                        assert same(table.gather(ids, out, policy), expected)


def large() -> None:
    """Outputs that are written past the caches, and tables whose rows are fetched ahead."""
    outs, tables, ids_fence = Fence(LARGE + PAGE * 8), Fence(5 << 20), Fence(8 * (LARGE // 16 + 9))
    for width in (16, 48, 64, 80, 272, 320, 1200, 4112, 100):
        for at_end in (False, True):
            for many_rows in (False, True):
                print(f"large: rows of {width} bytes, at_end={at_end}, many_rows={many_rows}", flush=True)
                rows = fill(((5 << 20) // width if many_rows else 5, width), "u1")
                ids = ids_fence.place(ids_for(len(rows), LARGE // width + 3), at_end)
                table, out = tables.place(rows, at_end), outs.bytes[PAGE:-PAGE]
                nbytes = ids.size * width
                out = out[-nbytes:] if at_end else out[:nbytes]
                got = _rows.gather(table, ids, out.reshape(-1, width))
                assert (got == rows[ids]).all()


def accumulate() -> None:
    """Additions in place and by row: table, ids and values at both ends."""
    tables, ids_fence, values_fence = Fence(PAGE), Fence(8 * 2049), Fence(2049 * 320)
    for dtype in ("f4", "f8"):
        for dim in range(1, 321 // np.dtype(dtype).itemsize):
            print(f"accumulate: {dtype}, {dim} numbers a row", flush=True)
            for at_end in (False, True):
                # Blocks of an addition have 256 or 512 ids; from 2048 on, sums are sorted by larger digits.
                for count in (1, 2, 130, 513) if dim % 16 else (1, 513, 2049):
                    start = np.arange(3 * dim, dtype=dtype).reshape(3, dim)
                    ids = ids_fence.place(ids_for(3, count, "i8"), at_end)
                    values = values_fence.place(np.ones((count, dim), dtype), at_end)
                    stored = tables.place(start, at_end)
                    _additions.accumulate(_rows.Table(stored), ids, values)
                    counts = np.bincount(ids, minlength=3)[:, None]
                    assert (stored == start + counts).all()
                    found, sums = _additions.sum_rows(ids, values, 3)
                    assert (sums == counts[found]).all()


def pooling() -> None:
    """Sums, maxima and their gradients over steps: inputs, mask and upstream at both ends."""
    inputs_fence, mask_fence, upstream_fence = Fence(9 * 8 * 2 * 520), Fence(PAGE), Fence(8 * 2 * 520)
    for dtype in ("f4", "f8"):
        for features in (*range(1, 70), 511, 512, 513):
            print(f"pooling: {dtype}, {features} features", flush=True)
            for steps in (1, 2, 4, 5, 9):
                for at_end in (False, True):
                    inputs = inputs_fence.place(np.ones((2, steps, features), dtype), at_end)
                    mask = mask_fence.place(np.ones((2, steps), bool), at_end)
                    upstream = upstream_fence.place(np.ones((2, features), dtype), at_end)
                    assert (_pooling.sum_steps(inputs, mask) == steps).all()
                    assert (_pooling.max_steps(inputs) == 1).all()
                    share = np.dtype(dtype).type(1 / steps)
                    assert (_pooling.spread_mean(upstream, steps, mask) == share).all()
                    assert (_pooling.spread_max(inputs, upstream) == share).all()


def control() -> None:
    """One row past the table, by a table that says it has one more than there is."""
    table = Fence(PAGE).place(np.zeros((4, 3), "f4"), True)
    print("control: must not come back", flush=True)
    _rows.gather(np.lib.stride_tricks.as_strided(table, (5, 3), table.strides), np.array([4]))


CASES = {case.__name__: case for case in (gather, codes, ids, outside, large, accumulate, pooling, control)}


def main(what: str, threads: str) -> None:
    _team.set_serial_bytes(0)
    fastembed.set_num_threads(int(threads))
    CASES[what]()
    print(f"{what}: done by {_rows.isa}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

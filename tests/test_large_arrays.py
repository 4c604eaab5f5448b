"""More than 2**31 elements and 2**32 bytes, in tables, outputs, values and ids, in much less memory.

Tables and values are memory that is touched in a few places only. An output is written everywhere, so it is
made of the same few pages, mapped again and again.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

import numpy as np
import pytest

import fastembed
from fastembed import ops
from fastembed.tables import DenseTable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memfd_create, and mmap's numbers on Linux")

PRIVATE_ANONYMOUS, NO_RESERVE = 0x22, 0x4000
READ_WRITE, SHARED, FIXED = 3, 0x01, 0x10


def sparse(shape, dtype):
    """Zeros that cost no memory until they are written."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        return np.frombuffer(mmap.mmap(-1, nbytes, flags=PRIVATE_ANONYMOUS | NO_RESERVE), dtype).reshape(
            shape
        )
    except (OSError, ValueError) as error:
        pytest.skip(f"no {nbytes:,} bytes of address space here: {error}")


def around(*places):
    return np.array([row for place in places for row in (place - 1, place, place + 1)])


# Rows of 256 bytes: where elements pass 2**31 and 2**32, and where bytes do; the first and the last row.
ROWS, DIM = 70_000_000, 64  # 17.9 GB
EDGES = [*around(2**31 // 256, 2**32 // 256, 2**31 // DIM, 2**32 // DIM), 0, ROWS - 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_table_of_more_elements_than_32_bits_count(threads):
    table = sparse((ROWS, DIM), "f4")
    for row in EDGES:
        table[row] = np.arange(DIM) + row
    with fastembed.num_threads(threads):
        np.testing.assert_array_equal(ops.gather(table, EDGES), table[EDGES])
        np.testing.assert_array_equal(ops.gather(table, np.repeat(EDGES, 2000)), table[EDGES].repeat(2000, 0))
    for outside in (ROWS, ROWS + 2**32, 2**31 * 2, -1):
        with pytest.raises(IndexError, match=rf"^ids\[1\] = {outside} "):
            ops.gather(table, [0, outside])


def test_bfloat16_words_of_more_elements_than_32_bits_count():
    words = sparse((ROWS, DIM), "u2")
    words[EDGES] = np.arange(len(EDGES))[:, None] + 0x3F80  # 1.0 and a little more
    got = DenseTable(words, "bfloat16").gather(np.array(EDGES))
    np.testing.assert_array_equal(got.view("u4") >> 16, words[EDGES])


def test_additions_beyond_what_32_bits_count():
    table = sparse((ROWS, DIM), "f4")
    ids = np.repeat(EDGES, 3)
    ops.scatter_add(table, ids, np.arange(ids.size * DIM, dtype="f4").reshape(-1, DIM))
    for i, row in enumerate(EDGES):
        expected = np.arange(3 * i * DIM, 3 * (i + 1) * DIM, dtype="f4").reshape(3, DIM).sum(0)
        np.testing.assert_array_equal(table[row], expected)
    gradient = ops.embedding_gradient(ids, np.ones((ids.size, DIM)), ROWS)
    np.testing.assert_array_equal(gradient.indices, sorted(EDGES))
    assert (gradient.values == 3).all()


def test_values_of_more_elements_than_32_bits_count():
    n, dim = 2**15 + 2, 2**16  # 8.6 GB
    values = sparse((n, dim), "f4")
    values[-1, ::7] = np.arange(dim)[::7]
    values[2**14, 5] = 1  # and where bytes pass 2**32
    ids = np.zeros(n, np.int64)
    ids[-1] = 2
    table = ops.scatter_add(np.zeros((3, dim), "f4"), ids, values)
    np.testing.assert_array_equal(table[2], values[-1])
    assert (table[0, 5], table.sum(1)[0], table[1].any()) == (1, 1, False)


def repeated_pages(period, nbytes):
    """A buffer of ``nbytes`` whose memory is that of its first ``period``, again and again."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    buffer = sparse(-(-nbytes // period) * period, "u1")
    pages = os.memfd_create("pages")
    try:
        os.truncate(pages, period)
        for start in range(0, buffer.size, period):
            address = buffer.ctypes.data + start
            if libc.mmap(address, period, READ_WRITE, SHARED | FIXED, pages, 0) != address:
                pytest.skip(f"mmap: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(pages)
    return buffer[:nbytes]


# Rows of 4096 bytes are streamed past the caches, those of 4095 are not. The pages repeat after all rows of
# the table, whose bytes do not divide 2**31 or 2**32: a wrong place has wrong content.
@pytest.mark.parametrize(("width", "rows"), [(4096, 251 * 16), (4095, 4096)])
def test_an_output_of_more_bytes_than_32_bits_count(width, rows, rng):
    table = rng.integers(0, 256, (rows, width), np.uint8)
    n = 2**32 // width + 3000
    out = repeated_pages(rows * width, n * width).reshape(n, width)
    ids = np.arange(n, dtype=np.uint32) % rows
    ops.gather(table, ids, out=out)
    last = np.arange(n - rows, n)  # all the memory that there is, as it was left
    for some in np.array_split(last, 8):
        np.testing.assert_array_equal(out[some], table[some % rows])
    ids[-1] = rows
    with pytest.raises(IndexError, match=rf"^ids\[{n - 1}\] = {rows} "):
        ops.gather(table, ids, out=out)


def test_more_ids_than_32_bits_count():
    table = np.arange(253, dtype=np.uint8)[::-1].copy()
    n = 2**31 + 5000
    ids, out = (repeated_pages(253 * 4096 * 16, n) for _ in range(2))
    ids[: 253 * 4096 * 16] = np.tile(np.arange(253), 4096 * 16)
    ops.gather(table, ids, out=out)
    np.testing.assert_array_equal(out[-(2**20) :], 252 - ids[-(2**20) :])
    ids = np.broadcast_to(np.uint8(253), n)
    with pytest.raises(IndexError, match=r"^ids\[0\] = 253 "):
        ops.gather(table, ids, out=out)

"""Outputs in recycled memory: the right rows, no more memory than the limit, nothing handed out twice."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import memory, ops

LARGE = 32 * 1024 * 1024
SMALLEST = 1024 * 1024  # that is recycled


@pytest.fixture(autouse=True)
def _fresh_cache():
    fastembed.set_cache_limit(4 * LARGE)
    yield
    fastembed.set_cache_limit(None)


def lookup(rows=LARGE // 256, fill=0):
    table = np.arange(100 * 64, dtype=np.float32).reshape(100, 64) + fill
    ids = np.arange(rows) % 100
    out = ops.gather(table, ids)
    np.testing.assert_array_equal(out[-100:], table[ids[-100:]])
    return out


def address(array):
    return array.ctypes.data


def test_a_dropped_output_serves_the_next_one():
    out = lookup()
    where = address(out)
    assert memory.cached_bytes() == 0
    del out
    assert memory.cached_bytes() == LARGE
    assert address(lookup(fill=7)) == where


def test_outputs_that_are_alive_share_nothing():
    outs = [lookup(fill=fill) for fill in range(4)]
    views = [out[10:20] for out in outs]
    del outs  # the views keep the memory
    more = [lookup(fill=fill) for fill in range(10, 13)]
    assert len({address(array) // LARGE for array in more}) == 3
    for fill, view in enumerate(views):
        np.testing.assert_array_equal(view[0], np.arange(640, 704) + fill)


def test_no_more_is_kept_than_the_limit():
    outs = [lookup() for _ in range(6)]
    del outs
    assert memory.cached_bytes() == 4 * LARGE
    fastembed.empty_cache()
    assert memory.cached_bytes() == 0
    fastembed.set_cache_limit(0)
    lookup()
    assert memory.cached_bytes() == 0
    for wrong in (-1, True):
        with pytest.raises(ValueError, match="at least 0"):
            fastembed.set_cache_limit(wrong)


def test_small_outputs_are_not_kept():
    lookup(rows=SMALLEST // 256 - 1)
    assert memory.cached_bytes() == 0
    lookup(rows=SMALLEST // 256)
    assert memory.cached_bytes() == SMALLEST


def test_outputs_of_nearly_the_same_size_share_a_block():
    where = {address(lookup(rows=rows)) for rows in (20_000, 19_000, 17_000, 20_400)}
    assert len(where) == 1
    assert memory.cached_bytes() == 20_480 * 256  # five times 2**20


def test_some_parked_memory_stays_and_the_rest_is_the_systems_to_take():
    """What is offered by MADV_FREE is still resident, but counted as such (smaps: LazyFree)."""

    def lazily_free():
        text = Path("/proc/self/smaps_rollup").read_text()
        return int(re.search(r"LazyFree: *([0-9]+) kB", text)[1]) * 1024

    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this kernel does not say")
    before = lazily_free()
    outs = [lookup(rows=LARGE // 4 // 256) for _ in range(4)]
    del outs
    assert lazily_free() - before < LARGE // 8
    outs = [lookup(), lookup()]
    del outs
    assert memory.cached_bytes() == 3 * LARGE
    assert lazily_free() - before > LARGE


def test_a_mix_of_sizes_stays_within_the_limit(rng):
    kept = []
    for _ in range(300):
        kept.append(lookup(rows=int(rng.integers(1, LARGE // 256)), fill=int(rng.integers(100))))
        if len(kept) > 3:
            del kept[int(rng.integers(4))]
        assert memory.cached_bytes() <= 4 * LARGE


def test_a_much_smaller_output_does_not_take_a_large_block():
    out = lookup(rows=2 * LARGE // 256)
    del out
    lookup()
    assert memory.cached_bytes() == 3 * LARGE


@pytest.mark.parametrize("row_bytes", [16, 48, 64, 80, 1200, 24, 100])
def test_streamed_rows_are_right(row_bytes, rng):
    table = rng.integers(0, 256, (50, row_bytes), dtype=np.uint8)
    ids = rng.integers(0, 50, LARGE // row_bytes + 3)
    for threads in (1, 2, 3):
        with fastembed.num_threads(threads):
            np.testing.assert_array_equal(ops.gather(table, ids), table[ids])
    memory_ = np.full(ids.size * row_bytes + 256, 0xA5, np.uint8)
    start = -memory_.ctypes.data % 64 + 16  # on a multiple of 16, not on a line
    out = memory_[start : start + ids.size * row_bytes].reshape(-1, row_bytes)
    ops.gather(table, ids, out=out)
    np.testing.assert_array_equal(out, table[ids])
    assert (memory_[:start] == 0xA5).all()
    assert (memory_[start + ids.size * row_bytes :] == 0xA5).all()


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"/sys/fs/cgroup/memory.max": "max"}, None),
        ({"/sys/fs/cgroup/memory.max": str(160 << 20)}, 10 << 20),
        ({"/sys/fs/cgroup/memory/memory.limit_in_bytes": str(320 << 20)}, 20 << 20),
        ({"/proc/self/cgroup": "0::/a/b", "/sys/fs/cgroup/a/memory.max": str(64 << 20)}, 4 << 20),
        ({"/sys/fs/cgroup/memory.max": "garbage"}, None),
    ],
)
def test_the_default_limit_knows_the_container(files, limit, tmp_path):
    for name, text in files.items():
        path = tmp_path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    got = memory.default_limit(str(tmp_path))
    assert got == limit if limit else 0 < got <= 256 << 20


def test_a_forked_child_has_no_parked_memory():
    code = """
import os
import numpy as np
from fastembed import memory, ops, set_cache_limit
set_cache_limit(1 << 30)
def lookup():
    return ops.gather(np.ones((1, 1 << 20), np.uint8), np.zeros(40, np.int64))
lookup()
assert memory.cached_bytes()
child = os.fork()
if child == 0:
    assert not memory.cached_bytes()
    assert lookup().all()
    os._exit(0)
print(os.waitpid(child, 0)[1], memory.cached_bytes() > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0 True\n", done.stderr

"""The limit: what this machine's memory allows for the rows of a case, measured in the run itself.

The best time, over prefetch distances, of a C loop that reads one word of every cache line of the same rows
in the same order, from the same memory as our layer (huge pages, where the kernel has them), with the same
threads; plus the output's bytes at the best store bandwidth. It checks no id and makes no output.

Of a step of Adam: a loop that reads and writes one word of every cache line of the rows with a gradient, in
three tables, and reads as much of the gradients. It adds up no duplicates: it is given each row once, in the
order that is quicker, ascending or as the ids come.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import shutil
import subprocess
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import make_ids
from benchmarks.sides import Data, Side

HUGE_PAGE = 2 << 20
LINE = 64
DISTANCES = (2, 4, 8, 16, 32, 64)
LINES_AHEAD = (2, 4, 1000)  # of a row: all lines of a wide row are more than a core has fill buffers for
FINALISTS = 4  # of all ways, after one run of each
REPEATS = 3
TRIED_IDS = 400_000  # of steps: more than the caches hold, by far
ONE_THREAD_BYTES = 4 << 20  # above, a team is not slower than one thread


def limit_of(data: Data, table: NDArray[np.float32]) -> Side:
    """The reading loop, and the seconds that storing the output would take."""
    library = _compiled()
    case = data.case
    teams = {1, data.threads} if case.batch_bytes < ONE_THREAD_BYTES else {data.threads}
    ids = make_ids(case)[0]
    address, row_bytes, count = table.ctypes.data, 4 * case.dim, case.id_count

    def reader(distance: int, lines: int, team: int) -> Callable[[int], None]:
        return lambda at: library.read_rows(address, row_bytes, at, count, distance, lines, team)

    # A row that does not begin on a line touches one line more than its bytes fill.
    lines_ahead = sorted({min(lines, row_bytes // LINE + 1) for lines in LINES_AHEAD})
    distances = [(0, 0), *product(DISTANCES, lines_ahead)]
    ways = [reader(*ahead, team) for ahead, team in product(distances, teams)]
    ways.sort(key=lambda way: _best(way, ids.ctypes.data, repeats=1))
    best = min(ways[:FINALISTS], key=lambda way: _best(way, ids.ctypes.data))
    alive: list[Any] = [table]  # what the addresses point into

    def native(ids: NDArray[np.int64]) -> int:
        alive.append(ids)
        return ids.ctypes.data

    return Side(
        best, ids=native, array=None, computed_seconds=_store_seconds(library, case.batch_bytes, teams)
    )


def limit_of_steps(data: Data) -> Side:
    """The loop over the rows of the weights and of two moments, in memory of its own."""
    library = _compiled()
    case = data.case
    tables = _tables(case.table_bytes)
    row_bytes, gradient = 4 * case.dim, data.updates
    is_dense = case.kind == "dense step"
    if is_dense:
        gradient, row_bytes = data.dense_gradient, 4096  # all lines, one after the other

    def mover(ascending: bool, distance: int, team: int) -> Callable[[Any], None]:
        def move(orders: list[NDArray[np.int64]]) -> None:
            rows = orders[ascending]
            library.move_rows(
                *(table.ctypes.data for table in tables),
                row_bytes,
                rows.ctypes.data,
                len(rows),
                gradient.ctypes.data,
                gradient.nbytes,
                distance,
                team,
            )

        return move

    def native(ids: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        if is_dense:
            return [np.arange(case.table_bytes // row_bytes)] * 2
        rows, first = np.unique(ids, return_index=True)
        return [rows[np.argsort(first)], rows]

    teams = {1, data.threads} if case.batch_bytes < ONE_THREAD_BYTES else {data.threads}
    batches = [native(ids) for ids in make_ids(case)[: 1 if is_dense else TRIED_IDS // case.id_count]]
    ways = [mover(*way) for way in product((False, True), (0, *DISTANCES), teams)]

    def all_batches(way: Callable[[Any], None]) -> None:  # each from memory, as when it is measured
        for batch in batches:
            way(batch)

    ways.sort(key=lambda way: _best(all_batches, way, repeats=1))
    best = min(ways[:FINALISTS], key=lambda way: _best(all_batches, way))
    return Side(best, ids=native, array=None)


@functools.lru_cache(maxsize=2)
def _tables(nbytes: int) -> list[NDArray[np.uint8]]:
    """Three of them, whose pages are there."""
    tables = [huge_pages(nbytes) for _ in range(3)]
    for table in tables:
        table.fill(0)
    return tables


def huge_pages(nbytes: int) -> NDArray[np.uint8]:
    """Memory on the border of a huge page, made of huge pages where the kernel has them."""
    memory = mmap.mmap(-1, nbytes + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    first = -whole.ctypes.data % HUGE_PAGE
    return whole[first : first + nbytes]


def _store_seconds(library: ctypes.CDLL, nbytes: int, teams: set[int]) -> float:
    """For an output of this size: bandwidth depends on whether it fits into a cache."""
    pages = -(-nbytes // 4096)
    out = huge_pages(pages * 4096)
    ways = product((False, True), teams)
    seconds = min(_best(library.store, out.ctypes.data, out.nbytes, *way) for way in ways)
    return seconds * nbytes / out.nbytes


def _best(run: Callable[..., Any], *arguments: Any, repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats + 1):  # the first warms up: pages, threads
        start = time.perf_counter()
        run(*arguments)
        times.append(time.perf_counter() - start)
    return min(times[1:])


@functools.cache
def _compiled() -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("the limit is a C loop, and there is no C compiler (cc)")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "limit.so"
        source = Path(__file__).with_name("limit.c")
        options = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]
        subprocess.run([compiler, *options, "-o", made, source], check=True)
        library = ctypes.CDLL(str(made))
    size, whole = ctypes.c_size_t, ctypes.c_int64
    library.read_rows.argtypes = [size, size, size, whole, whole, whole, ctypes.c_int]
    library.read_rows.restype = ctypes.c_uint64
    library.move_rows.argtypes = [size] * 4 + [size, whole, size, size, whole, ctypes.c_int]
    library.move_rows.restype = ctypes.c_uint64
    library.store.argtypes = [size, size, ctypes.c_int, ctypes.c_int]
    library.store.restype = None
    return library

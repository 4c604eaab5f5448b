"""What is measured: tables, ids, and the goal of each case. Data, and how it is made from a seed."""

from __future__ import annotations

import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED = 20_000
ID_SETS = 4  # calls take turns through them, so that no call finds the rows of the call before in a cache
# Steps read and write three tables: so many ids in all sets together that those rows are in no cache either,
# and are owed the moves of as many steps as there are sets.
STEP_IDS, MOST_SETS = 1_600_000, 128
ADAM = {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}  # Keras's defaults


class Case(NamedTuple):
    """One table and one kind of batch."""

    name: str
    rows: int
    dim: int
    ids: tuple[int, ...]  # the shape of a batch
    goal: float  # how many times as fast as the best peer, or the one in `AGAINST`, we mean to be; 0: none
    # "add" (to rows, in place), "gradient" (the rows touched, and their sums), "small"; and, of Adam, "step"
    # (exact, of a sparse gradient), "lazy step", "dense step" (of a dense gradient), "training" (lookup,
    # backward and step).
    kind: str = "lookup"
    zipf: float = 0.0  # the exponent; 0 is uniform

    @property
    def id_count(self) -> int:
        return math.prod(self.ids)

    @property
    def learns(self) -> bool:
        return self.kind in LEARNING

    @property
    def id_sets(self) -> int:
        """Sets of ids that calls take turns through."""
        return min(STEP_IDS // self.id_count, MOST_SETS) if self.learns else ID_SETS

    @property
    def batch_bytes(self) -> int:
        """Of the rows that a call returns, or adds; that a step reads and writes at least."""
        if self.kind == "dense step":
            return STEP_ROWS * self.table_bytes
        return 4 * self.id_count * self.dim * (STEP_ROWS if self.learns else 1)

    @property
    def table_bytes(self) -> int:
        return 4 * self.rows * self.dim

    @property
    def copies(self) -> int:
        """Of a table, at the worst moment."""
        # Ours, the one that a peer's is made from, two of the peer's; where tables learn, moments as well.
        return 7 if self.learns else 4

    @property
    def about(self) -> str:
        """The table and the ids in words."""
        if self.kind == "dense step":
            return f"{self.rows:,} x {self.dim}, all rows"
        ids = " x ".join(f"{n:,}" for n in self.ids)
        return f"{self.rows:,} x {self.dim}, {ids} id{'s' * (self.id_count > 1)}" + (
            f", Zipf({self.zipf})" if self.zipf else ""
        )


LOOKUPS = [
    Case("one", 10_000, 64, (1,), goal=4),
    Case("few", 10_000, 64, (32,), goal=2.5),
    Case("sequence", 10_000, 100, (100,), goal=1.6),
    # The median of public Keras programs with an Embedding: batches of 128 texts of 100 words.
    Case("typical", 10_000, 100, (128, 100), goal=1.1),
    Case("batch", 20_000, 128, (32, 100), goal=1.4),
    Case("words", 60_000, 300, (128, 100), goal=1.1),
    Case("mid", 1_000_000, 64, (200_000,), goal=1.7),
    Case("wide", 1_000_000, 300, (100_000,), goal=1.4),
    Case("thin", 10_000_000, 16, (1_000_000,), goal=2.5),
    Case("big", 10_000_000, 64, (500_000,), goal=1.6),
    Case("zipf", 10_000_000, 64, (500_000,), goal=1.5, zipf=1.1),
]

_GRADIENTS = [
    ("6k", 20_000, 128, 6_400, 1.5),
    ("100k", 1_000_000, 64, 100_000, 2),
    ("1k", 1_000_000, 64, 1_000, 5),
]
ADDS = [
    Case(f"add-{size}{'-zipf' * bool(zipf)}", rows, dim, (count,), goal, "add", zipf)
    for size, rows, dim, count, goal in _GRADIENTS
    for zipf in (0.0, 1.3)
]
# Twenty times as fast as a dense gradient, where the table is much larger than the batch; elsewhere not
# slower, which is a goal of our own.
GRADIENTS = [
    case._replace(
        name=case.name.replace("add", "sparse"), kind="gradient", goal=20 if case.rows > 20_000 else 1
    )
    for case in ADDS
]

# Rows that move in a step, for each that has a gradient: that gradient, the row and both of its moments are
# read, and all but the first are written.
STEP_ROWS = 7
LEARNING = ("step", "lazy step", "dense step", "training")
STEPS = [
    Case("step-100k", 1_000_000, 64, (100_000,), 8, "step"),
    Case("step-100k-zipf", 1_000_000, 64, (100_000,), 8, "step", 1.3),
    Case("step-1k", 1_000_000, 64, (1_000,), 8, "step"),
    Case("step-1k-zipf", 1_000_000, 64, (1_000,), 8, "step", 1.3),
    Case("lazy-100k", 1_000_000, 64, (100_000,), 0, "lazy step"),
    Case("lazy-1k", 1_000_000, 64, (1_000,), 0, "lazy step"),
    Case("dense-step", 1_000_000, 64, (100_000,), 8, "dense step"),
    Case("train-100k", 1_000_000, 64, (100_000,), 4, "training"),
    Case("train-1k", 1_000_000, 64, (1_000,), 5, "training"),
]
# Whom the goal of a case is about, where it is not the best peer; and goals beside it: case, peer, times.
AGAINST = {
    "gradient": "torch embedding_dense_backward",
    "step": "torch SparseAdam",
    "lazy step": "torch SparseAdam",
    "dense step": "torch Adam",
    "training": "torch SparseAdam",
}
FURTHER_GOALS = [("step-1k", "torch Adam", 1_000)]
# What a quick look leaves out.
LONG = ("step-100k", "step-100k-zipf", "step-1k-zipf", "lazy-100k", "lazy-1k", "train-100k")
CASES = {case.name: case for case in LOOKUPS + ADDS + GRADIENTS + STEPS}
SMALL = LOOKUPS[0]._replace(name="small", kind="small")  # one id, and more said: sides.SMALL_GOALS
MEMORY_BOUND = ("mid", "wide", "thin", "big")
PART_OF_LIMIT = 0.9  # the goal of each of those
SCALING = 1.8  # the same, from one thread to two
GEOMETRIC_MEAN = 1.75  # of the lookups, times faster than the best peer of each

# Time against one thing that changes. Each point is a case, and shares its table with the cases above.
CURVES = {
    "ids in a batch, of a table of 1,000,000 x 64": {
        ids: Case(f"{ids} ids", 1_000_000, 64, (ids,), goal=0)
        for ids in (1, 16, 256, 4096, 65_536, 1_048_576)
    },
    "rows of a table x 64, for a batch of 10,000 ids": {
        rows: Case(f"{rows} rows", rows, 64, (10_000,), goal=0)
        for rows in (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    },
}

STEP_CURVES = {
    f"rows of a table x 64, for a step of {ids:,} ids": {
        rows: Case(f"step of {ids} in {rows} rows", rows, 64, (ids,), 0, "step")
        for rows in (10_000, 100_000, 1_000_000, 10_000_000)
    }
    for ids in (1_000, 100_000)
}
GROWTH = 1_000_000, 10_000_000  # rows ...
MOST_GROWTH = 1.3  # ... from which to which the time of a step may grow so many times

_BLOCK = 1 << 16  # rows drawn; the rows after them are these plus 1, plus 2 and so on


@functools.lru_cache(maxsize=1)
def _block(rows: int, dim: int) -> NDArray[np.float32]:
    return np.random.default_rng(SEED).random((min(rows, _BLOCK), dim), np.float32)


def _computed(case: Case, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows of the table at ``ids``, without the table."""
    block = _block(case.rows, case.dim)
    return block[ids % _BLOCK] + (ids // _BLOCK).astype(np.float32)[:, None]


def table_parts(case: Case) -> list[tuple[int, NDArray[np.float32], np.float32]]:
    """The table of a case in parts: the first row of each, and what two values add up to its rows."""
    block = _block(case.rows, case.dim)
    firsts = range(0, case.rows, _BLOCK)
    return [(first, block[: case.rows - first], np.float32(number)) for number, first in enumerate(firsts)]


def make_table(case: Case, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """The table of a case: each row its own, the same in every process, at the speed of memory."""
    table = np.empty((case.rows, case.dim), np.float32) if out is None else out

    def fill(part: tuple[int, NDArray[np.float32], np.float32]) -> None:
        first, block, more = part
        np.add(block, more, out=table[first : first + len(block)])

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # pages are made as they are written to
        list(threads.map(fill, table_parts(case)))
    return table


def check_rows(case: Case, rows: NDArray[np.float32], ids: NDArray[np.int64], step: int = 1) -> None:
    """See that these are the rows of the table at ``ids``, or every so many of them."""
    expected_shape = (*ids.shape, case.dim)
    if (rows.shape, rows.dtype) != (expected_shape, np.float32):
        raise AssertionError(f"the answer is {rows.dtype} of {rows.shape}, not float32 of {expected_shape}")
    flat, ids = rows.reshape(-1, case.dim)[::step], ids.reshape(-1)[::step]
    for first in range(0, len(ids), 4096):  # some at a time, so that they stay in a cache
        part = slice(first, first + 4096)
        if not np.array_equal(flat[part], _computed(case, ids[part])):
            raise AssertionError(f"wrong rows among ids {first * step} to {(first + 4096) * step}")


def check_sums(
    case: Case, result: NDArray[np.float32], ids: NDArray[np.int64], updates: NDArray[np.float32], onto: int
) -> None:
    """See that ``result`` has the sums of ``updates`` at ``ids``, added ``onto`` times the table (1 or 0)."""
    touched, segments = np.unique(ids, return_inverse=True)
    sums = np.zeros((len(touched), case.dim))
    np.add.at(sums, segments, updates)
    np.testing.assert_allclose(result[touched], onto * _computed(case, touched) + sums, rtol=1e-4)
    others = np.setdiff1d((touched + 1) % case.rows, touched)  # their neighbours that nothing was added to
    if not np.array_equal(result[others], onto * _computed(case, others)):
        raise AssertionError("rows were changed that no id names")


CHECKED_STEPS = 3
_STRIDE = 16  # of the rows of a large batch that are checked


def check_steps(
    case: Case,
    rows_at: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    batches: list[NDArray[np.int64]],
    updates: NDArray[np.float32],
    is_lazy: bool,
) -> None:
    """See that rows are where Adam takes them in float64, after one step for each batch of ids."""
    rows = np.unique(np.concatenate(batches))
    rows = rows[:: _STRIDE if len(rows) > 10_000 else 1]
    rows = np.union1d(rows, (rows + 1) % case.rows)  # some of these neighbours have no gradient
    weights = _computed(case, rows).astype(np.float64)
    m, v = np.zeros_like(weights), np.zeros_like(weights)
    beta_1, beta_2 = ADAM["beta_1"], ADAM["beta_2"]
    for step, ids in enumerate(batches, 1):
        at = np.minimum(np.searchsorted(rows, ids), len(rows) - 1)
        is_there = rows[at] == ids
        gradient = np.zeros_like(weights)
        np.add.at(gradient, at[is_there], updates[is_there])
        moved = np.unique(at[is_there]) if is_lazy else slice(None)
        m[moved] += (1 - beta_1) * (gradient - m)[moved]
        v[moved] += (1 - beta_2) * (gradient**2 - v)[moved]
        rate = ADAM["learning_rate"] * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        weights[moved] -= rate * (m / (np.sqrt(v) + ADAM["epsilon"]))[moved]
    # Beside the 1e-5, what float32 rounds in a few steps.
    np.testing.assert_allclose(rows_at(rows), weights, rtol=2.5e-7, atol=1e-5)


@functools.lru_cache(maxsize=2)
def make_ids(case: Case) -> list[NDArray[np.int64]]:
    """The sets of ids of a case. Under Zipf the popular rows lie scattered, as those of hashed ids do."""
    rng = np.random.default_rng([SEED, case.rows, case.id_count])
    if not case.zipf:
        return [rng.integers(case.rows, size=case.ids) for _ in range(case.id_sets)]
    shares = np.cumsum(np.arange(1, case.rows + 1, dtype=np.float64) ** -case.zipf)
    ranks = (np.searchsorted(shares, rng.random(case.ids) * shares[-1]) for _ in range(case.id_sets))
    return [rank * 2_654_435_761 % case.rows for rank in ranks]  # a prime, so no two ranks share a row


def make_updates(case: Case) -> NDArray[np.float32]:
    """What the accumulating cases add up: a row for each id."""
    updates = np.random.default_rng([SEED, 1]).random((case.id_count, case.dim), np.float32)
    if case.learns:
        updates += 0.5  # far from epsilon, which torch's dense Adam adds to a larger root than Keras does
    return updates

"""Ids that another process changes while they are looked up.

A thread of this process would have to wait for the GIL, which small lookups keep; a process that shares the
memory of the ids writes in the middle of everything.
"""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from safety.guard_pages import Fence

import fastembed
from fastembed import _team, ops
from stress.promises import apart, promise

ROWS, DIM = 64, 2
# A block of the lookup, in 32 cache lines: reading lines that another core writes takes so long that many a
# change falls between the first id and the last. (Of 48 ids, a lookup that read them twice was not caught.)
IDS = 256
GUARD = 0xBAD  # what lies before the table
UNWRITTEN = 0xDEAD  # what an output holds before a lookup
CHANGING, STEADY, GOOD = slice(None, None, 7), 5, (0, ROWS - 1)  # which ids change; the others; between what
BATCH = 1000


def _bad(dtype: str) -> list[int]:
    return [ROWS, -1, 2**31, -(2**63)] if dtype == "int64" else [ROWS, 2**64 - 1, 2**31, 2**63]


@contextmanager
def _changing_ids(dtype: str) -> Iterator[np.ndarray]:
    """Ids that another process sets to good and bad values in turn, as fast as it can."""
    ids = np.frombuffer(mmap.mmap(-1, IDS * 8), dtype)
    ids[:] = STEADY
    ids[CHANGING] = GOOD[0]
    child = os.fork()
    while child == 0:
        for bad in _bad(dtype):
            for good in GOOD * 2:
                ids[CHANGING] = good
            ids[CHANGING] = bad
    try:
        yield ids
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _until(found: Counter[str], n: int) -> Iterator[None]:
    """At least ``n`` rounds, and more until both an error and none were found."""
    end = time.monotonic() + 30
    while n > 0 or not (found["error"] and found["right"]):
        if time.monotonic() > end and n <= 0:
            raise RuntimeError(f"the ids did not change in time: {dict(found)}")
        n -= 1
        yield


def _guarded_table(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """A table, and the rows before it. Behind it comes a page that nobody may touch."""
    rows = np.full((2 * ROWS, DIM), GUARD, dtype)
    placed = Fence(rows.nbytes).place(rows, at_end=True)
    return placed[ROWS:], placed[:ROWS]


@promise(
    "ids changed during 10^6 lookups to the number of rows, -1, 2^31, 2^63: no wrong row, no silent "
    "zeros, and a bad value that was seen is reported even if it was put back"
)
def lookups(short: bool) -> tuple[str, bool]:
    found: Counter[str] = Counter()
    for dtype in ("int64", "uint64"):
        for allowed, n in ((1, 400_000), (2, 100_000)):
            found.update(apart(race, dtype, allowed, 5000 if short else n, seconds=200))
    return (
        f"{found['right']} right, {found['changed']} of them with rows of before and after a change; "
        f"{found['error']} errors, {found['put back']} of them with good ids again; {found['wrong']} "
        f"with wrong rows, {found['unwritten']} with unwritten ones, {found['misreported']} untrue errors",
        found["put back"] > 0 and not (found["wrong"] or found["unwritten"] or found["misreported"]),
    )


def race(dtype: str, allowed: int, n: int) -> Counter[str]:
    """Look the changing ids up ``n`` times; what was found."""
    _team.set_serial_bytes(0)
    fastembed.set_num_threads(allowed)
    table, _ = _guarded_table(np.int64)
    table[:] = np.arange(1, ROWS + 1)[:, None]
    out = np.empty((BATCH, IDS, DIM), np.int64)
    failed = np.zeros(BATCH, bool)
    texts = {f"= {bad} is outside" for bad in _bad(dtype)}
    found: Counter[str] = Counter()
    with _changing_ids(dtype) as ids:
        for _ in _until(found, n // BATCH):
            out.fill(UNWRITTEN)
            failed.fill(False)
            for number in range(BATCH):
                try:
                    ops.gather(table, ids, out=out[number])
                except IndexError as error:
                    found["put back"] += bool((ids.view(np.uint64) < ROWS).all())
                    found["misreported"] += not any(text in str(error) for text in texts)
                    failed[number] = True
            found["error"] += int(failed.sum())
            found.update(_judge(out[~failed]))
    return found


def _judge(out: np.ndarray) -> dict[str, int]:
    """How many lookups are right, and what is wrong with the others."""
    ids = out[:, :, 0] - 1  # by the rows that came back
    allowed = np.full((1, IDS), STEADY)
    wrong = ids != allowed
    wrong[:, CHANGING] = ~np.isin(ids[:, CHANGING], GOOD)
    wrong |= (out != out[:, :, :1]).any(axis=2)
    unwritten = (out == UNWRITTEN).any(axis=(1, 2))
    changed = (ids[:, CHANGING] != ids[:, :1]).any(axis=1)
    bad = wrong.any(axis=1)
    return {
        "right": int((~bad).sum()), "wrong": int((bad & ~unwritten).sum()), "unwritten": int(unwritten.sum()),
        "changed": int((changed & ~bad).sum()),
    }  # fmt: skip


@promise("ids changed during additions: all of the batch is added, or the error changes nothing")
def additions(short: bool) -> tuple[str, bool]:
    found: Counter[str] = Counter()
    for allowed in (1, 2):
        found.update(apart(race_of_additions, allowed, 5000 if short else 50_000, seconds=200))
    return (
        f"{found['right']} additions, {found['error']} errors; the table is off by {found['off']}, "
        f"other rows touched: {found['strays']}",
        not (found["off"] or found["strays"]),
    )


def race_of_additions(allowed: int, n: int) -> Counter[str]:
    """Add rows of ones at the changing ids ``n`` times; what was found."""
    _team.set_serial_bytes(0)
    fastembed.set_num_threads(allowed)
    table, before = _guarded_table(np.float64)
    table[:] = 0
    ones = np.ones((IDS, DIM))
    found: Counter[str] = Counter()
    with _changing_ids("int64") as ids:
        for _ in _until(found, n):
            try:
                ops.scatter_add(table, ids, ones)
                found["right"] += 1
            except IndexError:
                found["error"] += 1
    found["off"] = int(abs(table.sum() - found["right"] * ones.sum()))
    strays = np.ones(ROWS, bool)
    strays[[*GOOD, STEADY]] = False
    found["strays"] = int(np.count_nonzero(table[strays]) + np.count_nonzero(before != GUARD))
    return found

"""A lookup that knows its answer, and threads that are busy with it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from fastembed import _team
from fastembed.layers import Embedding

FINE, WRONG, ALONE = range(3)  # exit statuses of processes that answer for themselves
OUTCOMES = {FINE: "fine", WRONG: "wrong rows", ALONE: "not parallel"}
TEAM = 2 if _team.openmp else 1  # threads that must meet where two are allowed


class Known:
    """An embedding whose answer to some ids is known: large enough for a team, unless sizes say otherwise."""

    def __init__(self, rows: int = 20_000, dim: int = 128, n: int = 3200) -> None:
        rng = np.random.default_rng(0)
        values = rng.random((rows, dim), np.float32)
        self.ids = rng.integers(0, rows, n)
        self.answer = values[self.ids]
        self.layer = Embedding(rows, dim, weights=[values])

    def is_right(self) -> bool:
        """Look up, and compare."""
        return np.array_equal(self.layer(self.ids), self.answer)

    def verdict(self) -> int:
        """FINE, if the answer is right and a team of two really works on such a lookup."""
        if not self.is_right():
            return WRONG
        return FINE if _team.meet(TEAM) == TEAM else ALONE


@functools.cache
def known() -> Known:
    """One for a process, and for those that are forked from it."""
    return Known()


@contextmanager
def busy_threads(n: int, work: Callable[[], object]) -> Iterator[None]:
    """``n`` threads that call ``work`` again and again until the block is left."""
    all_there, stop = threading.Barrier(n + 1), threading.Event()

    def again_and_again() -> None:
        all_there.wait()
        while not stop.is_set():
            work()

    threads = [threading.Thread(target=again_and_again) for _ in range(n)]
    for thread in threads:
        thread.start()
    all_there.wait()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()

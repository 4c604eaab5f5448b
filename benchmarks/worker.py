"""A process that runs sides: it makes tables, checks answers, and runs a round when it is told to."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from itertools import cycle, islice
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import CASES, CHECKED_STEPS, Case, check_rows, check_steps, check_sums, make_ids
from benchmarks.sides import OURS, SIDES, Data, Side

LONG_CALL = (
    5e-3  # what wakes threads and fills caches for such a call is lost in its time: it needs no warming
)
SAMPLED = 16
LARGE_TABLE = 32 << 20  # malloc takes memory for those from the system, and gives it back


def serve(pipe: Connection, home: str, cpus: list[int], log: str) -> None:
    """Do what the driver asks, until it hangs up."""
    with open(log, "w") as file:
        os.dup2(file.fileno(), 2)
    os.sched_setaffinity(0, cpus)
    bench = Bench(home, len(cpus))
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((getattr(bench, method)(*arguments), None))
        except Exception as error:
            text = " ".join(str(error).split())
            pipe.send((None, f"{type(error).__name__}: {text:.200}"))


class Loaded:
    """A side of one case, ready to be measured."""

    def __init__(self, side: Side, id_sets: list[Any]) -> None:
        self.side, self.turns = side, cycle(id_sets)
        self.calls: dict[str, tuple[int, float]] = {}  # how many a round has, and the seconds of one


class Bench:
    """What a process has loaded: ours everything, that of a peer the side which is measured."""

    def __init__(self, home: str, threads: int) -> None:
        self.keeps_all, self.threads = home == OURS, threads
        if home == OURS:
            self.use_threads(threads)
        self.loaded: dict[tuple[str, Case], Loaded] = {}
        self.frozen = False
        self.kept: dict[Any, dict[str, Any]] = {}  # what is shared by the sides of one table
        # Memory of the tables of a peer, one after the other: the pages of a fresh 2.5 GB cost seconds.
        self.memory = np.empty(0, np.float32)

    def use_threads(self, number: int) -> None:
        """Of ours: how many threads the next calls use."""
        import fastembed

        fastembed.set_num_threads(number)

    def load(self, name: str, case: Case) -> None:
        """Make table and ids of a case, and the side of them; see that its answers are right."""
        if (name, case) in self.loaded:
            return
        # Whatever adds to a table needs one of its own.
        key = (case.rows, case.dim) if case.kind in ("lookup", "small") else (name, case)
        if not self.keeps_all:
            self.loaded.clear()
            self.kept = {key: self.kept.get(key, {})}
        kept = self.kept.setdefault(key, {}) if case.kind != "add" else {}
        if case.table_bytes >= LARGE_TABLE:
            gc.collect()  # what the side before held, in cycles too
        data, id_sets = Data(case, self.threads, kept, self._memory_of), make_ids(case)
        side = SIDES[name].factories[case.kind](data)
        native = [side.ids(ids) for ids in id_sets]
        _check(data, side, id_sets, native)
        if not self.frozen:
            gc.disable()
            gc.freeze()  # what libraries hold for good: walking it takes some of them a quarter of a second
            self.frozen = True
        self.loaded[name, case] = Loaded(side, native)

    def _memory_of(self, case: Case) -> NDArray[np.float32] | None:
        if self.keeps_all or case.table_bytes < LARGE_TABLE:
            return None
        if not self.memory.size:  # pages are there when they are written to
            self.memory = np.empty(max(each.rows * each.dim for each in CASES.values()), np.float32)
        return self.memory[: case.rows * case.dim].reshape(case.rows, case.dim)

    def round(self, name: str, case: Case, how: str, seconds: float) -> float:
        """Seconds a call, over calls that together take about ``seconds``.

        The first round finds out how many those are, and is to be forgotten.
        """
        loaded = self.loaded[name, case]
        loaded.side.prepare()
        if how not in loaded.calls:
            loaded.calls[how] = self._calls_within(loaded, how, seconds)
            return loaded.calls[how][1]
        calls, each = loaded.calls[how]
        if each < LONG_CALL:
            self._seconds(loaded, how, min(calls, 4))
            loaded.side.prepare()
        return self._seconds(loaded, how, calls) / calls + loaded.side.computed_seconds

    def _seconds(self, loaded: Loaded, how: str, calls: int) -> float:
        turns = islice(loaded.turns, calls)
        start = time.perf_counter()
        if loaded.side.loop is not None:
            loaded.side.loop(turns)
        else:
            HOW[how](loaded.side, turns)
        return time.perf_counter() - start

    def _calls_within(self, loaded: Loaded, how: str, seconds: float) -> tuple[int, float]:
        calls = 1
        while True:
            took = self._seconds(loaded, how, calls)
            if took > seconds / 4:
                return max(1, round(calls * seconds / took)), took / calls
            calls *= 4

    def latencies(self, name: str, case: Case, seconds: float) -> list[int]:
        """Nanoseconds of each of many calls, with what it costs to read the clock."""
        loaded = self.loaded[name, case]
        loaded.side.prepare()
        call, clock, times = loaded.side.call, time.perf_counter_ns, []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for ids in islice(loaded.turns, 20):
                start = clock()
                call(ids)
                times.append(clock() - start)
        return times


def _check(data: Data, side: Side, id_sets: list[NDArray[np.int64]], native: list[Any]) -> None:
    """See that a side's answers are right, where it has some."""
    case = data.case
    if side.rows_at is None and side.array is None:
        return
    side.prepare()
    if side.rows_at is not None:
        steps = [0] * CHECKED_STEPS if side.takes_one_gradient else range(CHECKED_STEPS)
        results = [side.call(native[i]) for i in steps]
        if side.array is not None:
            check_rows(case, side.array(results[0]), id_sets[0], SAMPLED)
        check_steps(case, side.rows_at, [id_sets[i] for i in steps], data.updates, side.is_lazy)
    elif case.kind in ("lookup", "small"):
        for number, (ids, its) in enumerate(zip(id_sets, native)):
            step = SAMPLED if number else 1  # all of the first set, some of the others
            check_rows(case, side.array(side.call(its)), ids, step)
    else:
        result = side.array(side.call(native[0]))
        check_sums(case, result, id_sets[0], data.updates, onto=int(side.adds_to_table))


# A result is dropped before the next call, except where two are kept.


def _alone(side: Side, turns: Iterator[Any]) -> None:
    call = side.call
    for ids in turns:
        call(ids)


def _then_sum(side: Side, turns: Iterator[Any]) -> None:
    """As a model reads what it has looked up. NumPy sums for all sides: this is about where the rows lie."""
    call, array = side.call, side.array
    for ids in turns:
        array(call(ids)).sum()


def _two_kept(side: Side, turns: Iterator[Any]) -> None:
    call = side.call
    older = newer = None
    for ids in turns:
        older, newer = newer, call(ids)  # the call is made while both are alive
    del older, newer


HOW = {"alone": _alone, "then sum": _then_sum, "two kept": _two_kept}

"""The process of one side: it makes its table, checks its answers, and runs a round when it is told to."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from itertools import cycle, islice
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.cases import CASES, make_ids, make_table, make_updates
from benchmarks.sides import SIDES, Data, Side

LONG_CALL = 5e-3  # a call that takes longer needs one call to warm up, not each set of ids once


def serve(pipe: Connection, name: str, cpus: list[int], log: str) -> None:
    """Do what the driver asks, until it hangs up."""
    with open(log, "w") as file:
        os.dup2(file.fileno(), 2)
    os.sched_setaffinity(0, cpus)
    bench = Bench(name, len(cpus))
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


class Bench:
    """One side, and the case that it has loaded."""

    def __init__(self, name: str, threads: int) -> None:
        self.entry, self.threads = SIDES[name], threads
        self.side: Side
        self.turns: Iterator[Any]
        self.calls: dict[str, int] = {}  # of a round, by how it is measured

    def load(self, name: str) -> None:
        """Make table and ids of a case, and the side of them; see that its answers are right."""
        self.drop()
        case = CASES[name]
        table, id_sets = make_table(case), make_ids(case)
        updates = None if case.kind == "lookup" else make_updates(case)
        rows = [np.take(table, ids, axis=0) for ids in id_sets] if updates is None else []
        start = None if updates is None else table.copy()
        side = self.entry.factories[case.kind](Data(case, table, updates, self.threads))
        del table  # a side that has a copy of its own needs it no more
        native = [side.ids(ids) for ids in id_sets]
        if updates is None:
            for ids, expected in zip(native, rows):
                if side.array is not None:
                    np.testing.assert_array_equal(side.array(side.call(ids)), expected, strict=True)
        else:
            expected = start if side.adds_to_table else np.zeros_like(start)
            np.add.at(expected, id_sets[0], updates)
            np.testing.assert_allclose(side.array(side.call(native[0])), expected, rtol=1e-4)
        self.side, self.turns = side, cycle(native)
        gc.collect()
        gc.disable()

    def drop(self) -> None:
        """Free what a case holds."""
        self.__dict__.pop("side", None)
        self.__dict__.pop("turns", None)
        self.calls = {}
        gc.enable()
        gc.collect()

    def round(self, how: str, seconds: float) -> float:
        """Seconds a call, over calls that together take about ``seconds``."""
        if how not in self.calls:
            self.calls[how] = self._calls_within(how, seconds)
        calls = self.calls[how]
        HOW[how](self.side, islice(self.turns, 1 if seconds / calls > LONG_CALL else 4))
        return self._seconds(how, calls) / calls + self.side.computed_seconds

    def _seconds(self, how: str, calls: int) -> float:
        start = time.perf_counter()
        HOW[how](self.side, islice(self.turns, calls))
        return time.perf_counter() - start

    def _calls_within(self, how: str, seconds: float) -> int:
        calls = 1
        while True:
            took = self._seconds(how, calls)
            if took > seconds / 4:
                return max(1, round(calls * seconds / took))
            calls *= 4

    def latencies(self, seconds: float) -> list[int]:
        """Nanoseconds of each of many calls, with what it costs to read the clock."""
        call, clock, times = self.side.call, time.perf_counter_ns, []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for ids in islice(self.turns, 20):
                start = clock()
                call(ids)
                times.append(clock() - start)
        return times


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

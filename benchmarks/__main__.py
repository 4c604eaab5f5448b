"""``python -m benchmarks``: fastembed beside its peers, case by case.

Every side has a process of its own. Two are alive at a time, ours and one peer, and they take turns: only
the one that is told to run a round works. So each peer is compared with what we took at the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.cases import CASES, Case
from benchmarks.sides import OURS, SIDES, Entry
from benchmarks.worker import HOW, serve

LOST = 600  # seconds without an answer
PAUSE = 0.006  # before a turn: the threads of some peers spin for milliseconds when their work is done
SMALL_CALL = 256  # ids; such calls have their latencies measured too


class Effort(NamedTuple):
    """How long to measure."""

    round: float  # seconds
    budget: float  # seconds for the rounds of one peer in one case in one way
    least: int  # rounds
    most: int
    ways: tuple[str, ...]
    latencies: float  # seconds a round


FULL = Effort(0.02, 1.5, least=7, most=25, ways=tuple(HOW), latencies=0.02)
QUICK = Effort(0.003, 0.12, least=3, most=9, ways=("alone", "then sum"), latencies=0.01)


class SideFailed(Exception):
    """A side could not do what it was told; the message says why."""


class Worker:
    """The driver's end of a side's process."""

    def __init__(self, name: str, cpus: list[int]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.log = tempfile.NamedTemporaryFile()  # its stderr, which some peers fill  # noqa: SIM115
        arguments = (theirs, name, cpus, self.log.name)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, method: str, *arguments: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # `answer` finds out why
            self.pipe.send((method, arguments))

    def answer(self) -> Any:
        try:
            if not self.pipe.poll(LOST):
                raise SideFailed(f"no answer within {LOST} s")
            value, failure = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            last = Path(self.log.name).read_text(errors="replace").strip().splitlines()[-1:]
            raise SideFailed(f"its process ended with {self.process.exitcode} {last}") from None
        if failure:
            raise SideFailed(failure)
        return value

    def ask(self, method: str, *arguments: Any) -> Any:
        self.tell(method, *arguments)
        return self.answer()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.pipe.close()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.log.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="fastembed beside its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: two minutes")
    parser.add_argument("--case", nargs="+", choices=CASES, metavar="NAME", help=", ".join(CASES))
    parser.add_argument(
        "--side", nargs="+", choices=set(SIDES) - {OURS}, metavar="NAME", help=", ".join(SIDES)
    )
    parser.add_argument("--threads", type=int, default=2, help="of every side (2)")
    parser.add_argument("--json", metavar="FILE", help="every round, for a look of your own")
    parser.add_argument("--note", default="", help="a sentence about the circumstances, for the report")
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=Path,
        help="where RESULTS.md and the plots go (benchmarks/, for all cases)",
    )
    options = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))[: options.threads]
    if len(cpus) < options.threads:
        parser.error(f"this process may run on {len(cpus)} CPUs, not on {options.threads}")
    _set_environment(options.threads)

    started = time.perf_counter()
    run = report.new_run(
        shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]), options.threads, options.note
    )
    cases = [CASES[name] for name in options.case or CASES]
    for name in options.side or [name for name in SIDES if name != OURS]:
        entry = SIDES[name]
        if missing := entry.missing():
            run["missing"][name] = f"not installed: {', '.join(missing)}"
            print(f"{name}: {run['missing'][name]}", flush=True)
            continue
        for case in _compare(entry, cases, cpus, QUICK if options.quick else FULL, run):
            print(report.line(run, case, name), flush=True)
    run["seconds"] = time.perf_counter() - started

    if options.json:
        Path(options.json).write_text(json.dumps(run))
    # A part of the cases is for a look: it does not replace the report of all.
    folder = options.results or (None if options.case or options.side else Path(__file__).parent)
    print(report.write(run, folder))


def _set_environment(threads: int) -> None:
    """For the workers. Who takes a number of threads by a call is told so there as well."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):
        os.environ[variable] = str(threads)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    os.environ.update(quiet)


def _compare(
    entry: Entry, cases: list[Case], cpus: list[int], effort: Effort, run: dict[str, Any]
) -> Iterator[Case]:
    """Measure one side and ours in each case that it takes; yield the case when ``run`` has its rounds."""
    workers: list[Worker] = []
    try:
        for case in cases:
            if not entry.takes(case):
                continue
            measured = run["cases"].setdefault(case.name, {}).setdefault(entry.name, {})
            try:
                workers = workers or [Worker(OURS, cpus), Worker(entry.name, cpus)]
                for worker in workers:  # both at once: nothing is timed yet
                    worker.tell("load", case.name)
                for worker in workers:
                    worker.answer()
                # What adds up has no output to be read or kept; nor has the limit.
                compared = case.kind == "lookup" and entry.is_peer
                for way in effort.ways if compared else ("alone",):
                    measured[way] = _take_turns(workers, way, effort)
                if case.id_count <= SMALL_CALL and compared:
                    measured["latencies"] = _latencies(workers, effort)
                for worker in workers:
                    worker.ask("drop")
            except SideFailed as error:
                measured["failed"] = str(error)
                while workers:
                    workers.pop().close()
            yield case
    finally:
        for worker in workers:
            worker.close()


def _take_turns(workers: list[Worker], way: str, effort: Effort) -> list[list[float]]:
    """Seconds a call of ours and of the other side, round by round."""
    rounds: list[list[float]] = []
    end = None
    while True:
        seconds = [0.0, 0.0]
        order = (0, 1) if len(rounds) % 2 else (1, 0)
        for i in order:
            time.sleep(PAUSE)
            seconds[i] = workers[i].ask("round", way, effort.round)
        if end is None:  # the first round warmed up, and is not counted
            end = time.perf_counter() + effort.budget
            continue
        rounds.append(seconds)
        if len(rounds) == effort.most or (len(rounds) >= effort.least and time.perf_counter() > end):
            return rounds


def _latencies(workers: list[Worker], effort: Effort) -> list[list[int]]:
    """Nanoseconds of single calls, of ours and of the other side."""
    times: list[list[int]] = [[], []]
    for _ in range(effort.least):
        for worker, its in zip(workers, times):
            time.sleep(PAUSE)
            its += worker.ask("latencies", effort.latencies)
    return times


if __name__ == "__main__":
    main()

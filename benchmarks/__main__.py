"""``python -m benchmarks``: fastembed beside its peers, case by case.

Every library has a process of its own. Two are alive at a time, ours and one peer, and they take turns: only
the one that is told to run a round works. So each peer is compared with what we took at the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import footprint, report
from benchmarks.cases import CASES, CURVES, GROWTH, LONG, MEMORY_BOUND, SMALL, STEP_CURVES, Case
from benchmarks.sides import LIMIT, OURS, SIDES, SMALL_GOALS, Entry
from benchmarks.worker import HOW, serve

LOST = 600  # seconds without an answer
PAUSE = 0.006  # after a turn; longer while the threads of the process whose turn it was go on spinning ...
MOST_PAUSES = 30  # ... but not for ever. ONNX Runtime's spin for 40 ms.
# A round in which somebody waited for a CPU for more than this share of its time does not count, unless there
# are too few others in so many times the budget: libraries whose threads wait for each other lose most.
MOST_WAITING, PATIENCE = 0.03, 3
SMALL_CALL = 256  # ids; such calls have their latencies measured too
ON_CURVES = ("np.take", "torch F.embedding", "tf.gather", "ONNX Runtime Gather")
# Names, and the rows of the largest table that it is given.
ON_STEP_CURVES = {"torch SparseAdam": 10_000_000, "torch Adam": 1_000_000, LIMIT: 10_000_000}
MOST_THREADS = 16  # to look for, where there are so many CPUs


class Effort(NamedTuple):
    """How long to measure."""

    round: float  # seconds
    budget: float  # seconds for the rounds of one peer in one case in one way
    least: int  # rounds
    most: int
    ways: tuple[str, ...]
    latencies: float  # seconds a round


FULL = Effort(0.02, 2.0, least=7, most=25, ways=tuple(HOW), latencies=0.02)
QUICK = Effort(0.002, 0.05, least=3, most=9, ways=("alone", "then sum"), latencies=0.004)


class SideFailed(Exception):
    """A side could not do what it was told; the message says why."""


class Worker:
    """The driver's end of a process that runs sides."""

    def __init__(self, home: str, cpus: list[int]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.log = tempfile.NamedTemporaryFile()  # its stderr, which some peers fill  # noqa: SIM115
        arguments = (theirs, home, cpus, self.log.name)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.lost = False

    def ask(self, method: str, *arguments: Any) -> Any:
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            self.pipe.send((method, arguments))
        try:
            if not self.pipe.poll(LOST):
                self.lost = True
                raise SideFailed(f"no answer within {LOST} s")
            value, failure = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.lost = True
            self.process.join()
            last = Path(self.log.name).read_text(errors="replace").strip().splitlines()[-1:]
            raise SideFailed(f"its process ended with {self.process.exitcode} {last}") from None
        if failure:
            raise SideFailed(failure)
        return value

    def rest(self) -> None:
        """Wait until the process leaves the CPUs to others."""
        clock = (~self.process.pid << 3) | 2  # its CPU time, as <linux/posix-timers.h> numbers such clocks
        used = time.clock_gettime(clock)
        for _ in range(MOST_PAUSES):
            time.sleep(PAUSE)
            before, used = used, time.clock_gettime(clock)
            if used - before < PAUSE / 20:
                return

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.pipe.close()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.log.close()


class Seat:
    """One side in one case, in a process that has loaded it."""

    def __init__(self, worker: Worker, name: str, case: Case) -> None:
        self.worker, self.name, self.case = worker, name, case
        worker.ask("load", name, case)

    def ask(self, method: str, *arguments: Any) -> Any:
        answer = self.worker.ask(method, self.name, self.case, *arguments)
        self.worker.rest()
        return answer


class Workers:
    """Ours, kept for the whole run, and that of the peer whose turn it is."""

    def __init__(self, cpus: list[int]) -> None:
        self.cpus = cpus
        self.alive: dict[str, Worker] = {}

    def seat(self, entry: Entry, case: Case) -> Seat:
        """A side, loaded; its process is started where there is none."""
        for home in [*self.alive]:
            leaves = entry.home != OURS and home not in (OURS, entry.home)
            if leaves or self.alive[home].lost:
                self.alive.pop(home).close()
        if entry.home not in self.alive:
            self.alive[entry.home] = Worker(entry.home, self.cpus)
        return Seat(self.alive[entry.home], entry.name, case)

    def close(self) -> None:
        while self.alive:
            self.alive.popitem()[1].close()


def main() -> None:
    options = _parsed()
    _set_environment(options.threads)
    started = time.perf_counter()
    run = report.new_run(
        shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]), options.threads, options.note
    )
    whole = not (options.case or options.side)
    measure(
        run,
        cases=[CASES[name] for name in options.case or CASES if not (options.quick and name in LONG)],
        sides=[SIDES[name] for name in options.side or SIDES if name not in (OURS, *SMALL_GOALS)],
        effort=QUICK if options.quick else FULL,
        cpus=sorted(os.sched_getaffinity(0))[: options.threads],
        extras=whole and not options.quick,
    )
    if options.quick:
        run["left out"].append(
            "--quick measures no curves, no scaling beyond the threads of the run, no footprint, and not: "
            + ", ".join(LONG)
        )
    elif whole:
        print("imports and sizes", flush=True)
        run["footprint"] = footprint.measure(options.wheel)
    run |= {"seconds": time.perf_counter() - started, "load at the end": report.load_average()}

    if options.json:
        options.json.write_text(json.dumps(run))
    # A quick look does not replace the report of a whole run; a part of the cases has none, unless asked for.
    if options.results is None and whole:
        options.results = report.HERE.parent / "build" / "benchmarks" if options.quick else report.HERE
    print(report.write(run, options.results))
    if options.results is not None:
        print(f"Written: {options.results / 'RESULTS.md'}")


def _parsed() -> argparse.Namespace:
    cpus = len(os.sched_getaffinity(0))
    peers = [name for name in SIDES if name not in (OURS, *SMALL_GOALS)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="fastembed beside its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: two minutes")
    parser.add_argument("--case", nargs="+", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--side", nargs="+", metavar="NAME", help="; ".join(peers))
    parser.add_argument("--threads", type=int, default=min(2, cpus), help="of every side (2)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="every round, for a look of your own")
    parser.add_argument("--note", default="", help="a sentence about the circumstances, for the report")
    parser.add_argument("--wheel", metavar="FILE", type=Path, help="whose size is reported")
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=Path,
        help="where RESULTS.md and the plots go (of all cases: benchmarks/, --quick: build/benchmarks/)",
    )
    options = parser.parse_args()
    for option, given, allowed in (("case", options.case, CASES), ("side", options.side, peers)):
        if unknown := [name for name in given or [] if name not in allowed]:
            parser.error(
                f"--{option}: there is no {', '.join(map(repr, unknown))}; there are: {', '.join(allowed)}"
            )
    if not 1 <= options.threads <= cpus:
        parser.error(
            f"--threads must be 1 to {cpus}, the CPUs this process may run on; got {options.threads}"
        )
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.absolute().parent}")
    if options.wheel and not options.wheel.is_file():
        parser.error(f"--wheel: there is no file {options.wheel}")
    return options


def _set_environment(threads: int) -> None:
    """For the workers. Who takes a number of threads by a call is told so there as well."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):
        os.environ[variable] = str(threads)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    os.environ.update(quiet)


def measure(
    run: dict[str, Any], cases: list[Case], sides: list[Entry], effort: Effort, cpus: list[int], extras: bool
) -> None:
    """Measure sides in the cases that they take, side by side with ours, into ``run``."""
    available = report.available_memory()
    cases = list(_that_fit(cases, available, run))
    curves = {
        name: list(_that_fit(points.values(), available, run)) for name, points in CURVES.items() if extras
    }
    looking, learning = ([case for case in cases if case.learns is learns] for learns in (False, True))
    installed = []
    for entry in sides:
        if missing := entry.missing():
            run["missing"][entry.name] = f"not installed: {', '.join(missing)}"
            print(f"{entry.name}: {run['missing'][entry.name]}", flush=True)
        else:
            installed.append(entry)
    workers = Workers(cpus)
    try:
        if any(case.id_count == 1 for case in cases):
            run["small"] = _small_calls(workers, effort)
        _beside_each_library(workers, run, installed, looking, curves, effort)
        workers.close()  # what it has loaded leaves too little room for tables that learn
        _beside_each_library(workers, run, installed, learning, {}, effort)
        workers.close()
        if extras:
            _follow_step_curves(workers, run, installed, available, effort)
            _measure_growth(workers, run, available, effort)
        if extras and (more := sorted(os.sched_getaffinity(0))[:MOST_THREADS]) != cpus:
            workers.close()
            workers = Workers(more)
        run["scaling"] = _scaling(workers, [case for case in cases if case.name in MEMORY_BOUND], effort)
    finally:
        workers.close()


def _beside_each_library(
    workers: Workers,
    run: dict[str, Any],
    installed: list[Entry],
    cases: list[Case],
    curves: dict[str, list[Case]],
    effort: Effort,
) -> None:
    for home in dict.fromkeys(entry.home for entry in installed):
        entries = [entry for entry in installed if entry.home == home]
        # Cases outside, because sides share a table. Large tables first: the memory that the last library
        # left is still there then, and some virtual machines take seconds to get it again.
        for case in sorted(cases, key=lambda case: -case.table_bytes):
            for entry in entries:
                if entry.takes(case):
                    run["cases"].setdefault(case.name, {})[entry.name] = _compare(
                        workers, entry, case, effort
                    )
                    print(report.line(run, case, entry.name), flush=True)
        for name, points in curves.items():
            found = run["curves"].setdefault(name, {})
            for entry in entries:
                if entry.name in ON_CURVES:
                    found[entry.name] = _follow_curve(workers, entry, points, effort)


def _that_fit(cases: Iterable[Case], available: int, run: dict[str, Any]) -> Iterator[Case]:
    for case in cases:
        if case.copies * case.table_bytes < available:
            yield case
        else:
            run["left out"].append(f"{case.name}: {_too_large(case, available)}")


def _too_large(case: Case, available: int) -> str:
    tables = f"{case.copies} tables of {case.table_bytes / 1e9:.1f} GB"
    return f"{tables} do not fit into {available / 1e9:.1f} GB"


def _compare(
    workers: Workers, entry: Entry, case: Case, effort: Effort, curve: bool = False
) -> dict[str, Any]:
    """Measure one side and ours in one case: rounds by way, or why that failed."""
    measured: dict[str, Any] = {}
    try:
        seats = [workers.seat(SIDES[name], case) for name in (OURS, entry.name)]
        # What adds up has no output to be read or kept; nor has the limit.
        compared = case.kind == "lookup" and entry.name != LIMIT and not curve
        for way in effort.ways if compared else ("alone",):
            measured[way] = _take_turns(seats, way, effort)
        if case.id_count <= SMALL_CALL and compared:
            measured["latencies"] = _latencies(seats, effort)
    except SideFailed as error:
        measured["failed"] = str(error)
    return measured


def _follow_curve(workers: Workers, entry: Entry, points: list[Case], effort: Effort) -> dict[str, Any]:
    effort = effort._replace(budget=effort.budget / 2, most=9)
    return {case.name: _compare(workers, entry, case, effort, curve=True) for case in points}


def _follow_step_curves(
    workers: Workers, run: dict[str, Any], installed: list[Entry], available: int, effort: Effort
) -> None:
    """Each side in processes of its own: three tables of 10,000,000 rows leave room for nothing else."""
    effort = effort._replace(budget=effort.budget / 2)
    for name, points in STEP_CURVES.items():
        found = run["curves"].setdefault(name, {})
        for entry in installed:
            for case in points.values():
                if case.rows <= ON_STEP_CURVES.get(entry.name, 0):
                    apart = case.copies * case.table_bytes >= available
                    if apart:
                        run["left out"].append(
                            f"turns of {entry.name} and ours in {case.name}: one side ran after the other, "
                            f"because {_too_large(case, available)}"
                        )
                    compare = _one_after_the_other if apart else _compare
                    measured = compare(workers, entry, case, effort)
                    found.setdefault(entry.name, {})[case.name] = measured
                    print(report.line_of(measured, case, entry.name), flush=True)
                    workers.close()


def _measure_growth(workers: Workers, run: dict[str, Any], available: int, effort: Effort) -> None:
    """Steps of ours and of the limit in a small and a large table, in turns."""
    for name, points in STEP_CURVES.items():
        found = run["growth"].setdefault(name, {})
        cases = list(_that_fit([points[rows] for rows in GROWTH], available, run))
        for side in (OURS, LIMIT) if len(cases) == len(GROWTH) else ():
            try:
                seats = [workers.seat(SIDES[side], case) for case in cases]
                found[side] = {"alone": _take_turns(seats, "alone", effort)}
            except SideFailed as error:
                found[side] = {"failed": str(error)}
            workers.close()


def _one_after_the_other(workers: Workers, entry: Entry, case: Case, effort: Effort) -> dict[str, Any]:
    """As `_compare`, for sides that do not fit into the memory together."""
    rounds = []
    try:
        for name in (OURS, entry.name):
            rounds.append(_take_turns([workers.seat(SIDES[name], case)], "alone", effort))
            workers.close()
    except SideFailed as error:
        return {"failed": str(error)}
    return {"alone": [ours + theirs for ours, theirs in zip(*rounds)]}


def _small_calls(workers: Workers, effort: Effort) -> dict[str, Any]:
    """Our calls of one id that say more than the id."""
    found: dict[str, Any] = {}
    for name in SMALL_GOALS:
        try:
            seat = workers.seat(SIDES[name], SMALL)
            rounds = _take_turns([seat], "alone", effort)
            found[name] = {"alone": rounds, "latencies": _latencies([seat], effort)}
        except SideFailed as error:
            found[name] = {"failed": str(error)}
    return found


def _scaling(workers: Workers, cases: list[Case], effort: Effort) -> dict[str, Any]:
    """Seconds a call of ours by the number of threads: 1, 2, 4 and so on, up to the CPUs of its process."""
    most = len(workers.cpus)
    teams = sorted({most, *(2**k for k in range(most.bit_length()) if 2**k <= most)})
    found: dict[str, Any] = {}
    for case in cases:
        try:
            seat = workers.seat(SIDES[OURS], case)
            seats = [_WithThreads(seat, team) for team in teams]
            found[case.name] = {"threads": teams, "alone": _take_turns(seats, "alone", effort)}
        except SideFailed as error:
            found[case.name] = {"failed": str(error)}
    return found


class _WithThreads:
    """Our side, told how many threads to use before each round."""

    def __init__(self, seat: Seat, threads: int) -> None:
        self.seat, self.threads = seat, threads

    def ask(self, method: str, *arguments: Any) -> Any:
        self.seat.worker.ask("use_threads", self.threads)
        return self.seat.ask(method, *arguments)


def _take_turns(seats: list[Any], way: str, effort: Effort) -> list[list[float]]:
    """Seconds a call of each side, round by round."""
    rounds: list[
        tuple[float, list[float]]
    ] = []  # the share of its time that somebody waited, and the seconds
    for seat in seats:
        seat.ask("round", way, effort.round)
    start = time.perf_counter()
    while True:
        spent = time.perf_counter() - start
        calm = [seconds for waiting, seconds in rounds if waiting <= MOST_WAITING]
        if len(calm) >= effort.least and (len(calm) >= effort.most or spent > effort.budget):
            return calm
        if len(rounds) >= effort.least and spent > PATIENCE * effort.budget:
            return [seconds for _, seconds in sorted(rounds)[: max(len(calm), effort.least)]]
        began, waited, seconds = time.perf_counter(), _seconds_waited(), [0.0] * len(seats)
        forth = range(len(seats))
        for i in forth if len(rounds) % 2 else reversed(forth):
            seconds[i] = seats[i].ask("round", way, effort.round)
        rounds.append(((_seconds_waited() - waited) / (time.perf_counter() - began), seconds))


def _seconds_waited() -> float:
    """How long somebody on this machine has waited for a CPU so far, as far as the kernel says so."""
    with contextlib.suppress(OSError), open("/proc/pressure/cpu") as pressure:
        return int(re.search(r"some .*total=(\d+)", pressure.read())[1]) / 1e6
    return 0.0


def _latencies(seats: list[Seat], effort: Effort) -> list[list[int]]:
    """Nanoseconds of single calls of each side."""
    times: list[list[int]] = [[] for _ in seats]
    for _ in range(effort.least):
        for seat, its in zip(seats, times):
            its += seat.ask("latencies", effort.latencies)
    return times


if __name__ == "__main__":
    main()

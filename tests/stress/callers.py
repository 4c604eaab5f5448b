"""Many threads that call at once, and what the team costs when little is to be done."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastembed
from fastembed import _team
from stress.lookups import Known, busy_threads, known
from stress.promises import NotHere, apart, median, promise

CALLERS = 64
TICK = 1 / os.sysconf("SC_CLK_TCK")


# --- How many threads there are -------------------------------------------------------------------


@promise("64 callers, n threads allowed: at most 64 + 3 (n - 1) + 2 threads, and after 5 s idle at most n")
def thread_count(short: bool) -> tuple[str, bool]:
    _needs_proc()
    text, holds = [], True
    busy, idle = (0.5, 1) if short else (2, 5)
    with ThreadPoolExecutor(2) as two:
        runs = {n: two.submit(apart, threads_of_many_callers, n, busy, idle) for n in (2, 4)}
    for allowed, run in runs.items():
        most, left = run.result()
        text.append(f"{allowed} allowed: {most} (at most {CALLERS + 3 * (allowed - 1) + 2}), then {left}")
        holds &= most <= CALLERS + 3 * (allowed - 1) + 2 and left <= allowed
    return "; ".join(text), holds


def threads_of_many_callers(allowed: int, busy: float, idle: float) -> list[int]:
    """The most threads that this process had while 64 called, and how many it has after they ended."""
    fastembed.set_num_threads(allowed)
    most = 0
    with busy_threads(CALLERS, known().is_right):
        end = time.monotonic() + busy
        while time.monotonic() < end:
            most = max(most, len(os.listdir("/proc/self/task")))
            time.sleep(0.005)
    time.sleep(idle)
    return [most, len(os.listdir("/proc/self/task"))]


# --- What they get done ---------------------------------------------------------------------------


@promise(
    "64 callers get at least as much done as the best single caller (32 x 100 ids, 20k x 128)", timed=True
)
def throughput(short: bool) -> tuple[str, bool]:
    alone, helped, many, share = apart(lookups_a_second, 3 if short else 8, seconds=120)
    return (
        f"lookups a second: {alone:.0f} by one caller on one thread, {helped:.0f} on two; {many:.0f} by 64, "
        f"by the median round {share:.2f} times the best single caller",
        share >= 1,
    )


def lookups_a_second(rounds: int) -> list[float]:
    """Medians over interleaved rounds: one caller on one thread, one on two, 64, and their ratio."""
    seconds = 0.25
    alone, helped, many, shares = [], [], [], []
    for _ in range(rounds):
        fastembed.set_num_threads(1)
        alone.append(_rate(1, seconds))
        fastembed.set_num_threads(2)
        helped.append(_rate(1, seconds))
        many.append(_rate(CALLERS, seconds))
        shares.append(many[-1] / max(alone[-1], helped[-1]))
    return [median(alone), median(helped), median(many), median(shares)]


def _rate(callers: int, seconds: float) -> float:
    """Lookups a second of so many callers together, while all of them are there."""
    look, ids = known().layer, known().ids
    done: list[None] = []  # appending is one step under the GIL, adding to a number is not

    def call() -> None:
        look(ids)
        done.append(None)

    with busy_threads(callers, call):
        start, before = time.perf_counter(), len(done)
        time.sleep(seconds)
        return (len(done) - before) / (time.perf_counter() - start)


@promise("other Python threads go on during a large lookup: the GIL is released", timed=True)
def gil(short: bool) -> tuple[str, bool]:
    steps, seconds = apart(steps_during_a_lookup)
    return f"another thread made {steps} steps of 1 ms in a lookup of {1e3 * seconds:.0f} ms", steps >= 10


def steps_during_a_lookup() -> tuple[int, float]:
    """How often another thread slept a millisecond while this one looked up 256 MiB."""
    large, steps = Known(1000, 256, 256 * 1024), []

    def step() -> None:
        time.sleep(0.001)
        steps.append(time.perf_counter())

    with busy_threads(1, step), fastembed.num_threads(1):
        start = time.perf_counter()
        large.layer(large.ids)
        end = time.perf_counter()
    return sum(start < step < end for step in steps), end - start


# --- What idle helpers cost -----------------------------------------------------------------------


@promise("idle threads sleep: no CPU tick in 1 s after a lookup")
def idle(short: bool) -> tuple[str, bool]:
    _needs_proc()
    text, holds = [], True
    for allowed in (2, 4):
        ticks, nanoseconds = apart(ticks_when_idle, allowed)
        text.append(f"{allowed} allowed: {ticks} ticks ({nanoseconds / 1e6:.2f} ms by the scheduler's count)")
        holds &= ticks == 0
    return "; ".join(text), holds


def ticks_when_idle(allowed: int) -> tuple[int, int]:
    """CPU ticks (utime + stime) and nanoseconds of all threads but this one, in the second after a lookup."""
    fastembed.set_num_threads(allowed)
    for _ in range(100):
        known().layer(known().ids)
    _team.meet(allowed if _team.openmp else 1)
    before = _used_by_others()
    time.sleep(1)
    after = _used_by_others()
    return after[0] - before[0], after[1] - before[1]


def _used_by_others() -> tuple[int, int]:
    ticks = nanoseconds = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != threading.get_native_id():
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
            schedstat = task / "schedstat"
            nanoseconds += int(schedstat.read_text().split()[0]) if schedstat.exists() else 0
    return ticks, nanoseconds


@promise("a lookup of 100 us every 5 ms costs at most 3 times its serial CPU time", timed=True)
def spaced(short: bool) -> tuple[str, bool]:
    n, serial, default, serial_wall, default_wall = apart(cpu_of_spaced_calls, 1 if short else 4, seconds=120)
    return (
        f"{n:.0f} ids, CPU time {1e6 * serial:.0f} us serial, {1e6 * default:.0f} us by default "
        f"({default / serial:.1f} times); median {1e6 * serial_wall:.0f} and {1e6 * default_wall:.0f} us",
        default <= 3 * serial,
    )


def cpu_of_spaced_calls(rounds: int) -> list[float]:
    """Ids of a lookup of about 100 us; its CPU seconds, serial and by default; the same in wall time."""
    n = 3200
    with fastembed.num_threads(1):
        small = Known(n=n)
        n = int(n * 100e-6 / median([_seconds(small) for _ in range(200)]))
    small = Known(n=n)
    cpu: dict[int | None, list[float]] = {1: [], None: []}
    wall: dict[int | None, list[float]] = {1: [], None: []}
    for _ in range(rounds):
        for allowed in (1, None):
            fastembed.set_num_threads(allowed)
            nothing = _cpu_of_spaced(lambda: None)
            cpu[allowed].append(_cpu_of_spaced(lambda to=wall[allowed]: to.append(_seconds(small))) - nothing)
    return [n, median(cpu[1]), median(cpu[None]), median(wall[1]), median(wall[None])]


def _seconds(what: Known) -> float:
    start = time.perf_counter()
    what.layer(what.ids)
    return time.perf_counter() - start


def _cpu_of_spaced(call) -> float:
    calls = 100
    start = time.process_time()
    for _ in range(calls):
        call()
        time.sleep(0.005)
    return (time.process_time() - start) / calls


# --- Who else may set a limit ---------------------------------------------------------------------


@promise(
    "threadpoolctl lists the OpenMP runtime that we use, and its limit of one thread holds for a large lookup"
)
def threadpoolctl(short: bool) -> tuple[str, bool]:
    if importlib.util.find_spec("threadpoolctl") is None:
        raise NotHere("threadpoolctl is not installed")
    if not _team.openmp:
        raise NotHere("built without OpenMP")
    listed, free, limited, after = apart(threads_under_threadpoolctl)
    return (
        f"listed: {', '.join(listed) or 'nothing'}; threads of a large lookup: {free}, {limited} inside "
        f"threadpool_limits(1), then {after}",
        bool(listed) and limited == 1 and free == after,
    )


def threads_under_threadpoolctl() -> tuple[list[str], int, int, int]:
    """What threadpoolctl lists, and the threads of a lookup before, within and after a limit of one."""
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads() -> int:
        known().layer(known().ids)
        return _team.last_team()

    listed = [Path(pool["filepath"]).name for pool in threadpool_info() if pool["user_api"] == "openmp"]
    free = threads()
    with threadpool_limits(1):
        limited = threads()
    return listed, free, limited, threads()


def _needs_proc() -> None:
    if not Path("/proc/self/task").is_dir():
        raise NotHere("there is no /proc/self/task here")

"""Containers that may use less than they see: CPU time, and tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import fastembed
from fastembed import _team, cgroups
from stress.lookups import Known
from stress.promises import NotHere, apart, median, promise, quantile

PERIOD = 100_000  # microseconds; the kernel's default
SLOT = 0.25  # seconds that all processes look up in one of the ways, in turn


@contextmanager
def cpu_group(cpus: float) -> Iterator[Path]:
    """A cgroup of our own, with a quota of so many CPUs, and in it one without a quota of its own."""
    group = _new_group()
    inner = group / "inner"
    try:
        inner.mkdir()
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{int(cpus * PERIOD)} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(int(cpus * PERIOD)))
        yield group
    finally:
        for folder in (inner, group):
            if folder.exists():
                _remove(folder)


def _new_group(controller: str = "cpu", limits: tuple[str, ...] = ("cpu.max", "cpu.cfs_quota_us")) -> Path:
    """An empty cgroup in which one of the limits can be set, in any of those that we are in."""
    reasons = []
    for folder in cgroups.folders(controller):
        group = Path(folder, f"fastembed-stress-{os.getpid()}")
        try:
            group.mkdir()
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror}")
            continue
        if any((group / limit).exists() for limit in limits):
            return group
        group.rmdir()
        reasons.append(f"{folder}: it has none of {', '.join(limits)}")
    raise NotHere(f"no cgroup can be made here ({'; '.join(reasons) or 'none is mounted'})")


def _remove(group: Path) -> None:
    for _ in range(100):  # a process that has just ended may still be in it
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.02)


def _join(group: str) -> None:
    Path(group, "cgroup.procs").write_text(str(os.getpid()))


# --- Latency --------------------------------------------------------------------------------------


@promise("a CPU quota of 0.5: p99 of a lookup of 40 us at most twice the serial p99", timed=True)
def half(short: bool) -> tuple[str, bool]:
    return _compared(short, 0.5, workers=1, pause=0)


@promise("a CPU quota of 0.2: p99 of a lookup of 40 us at most twice the serial p99", timed=True)
def fifth(short: bool) -> tuple[str, bool]:
    return _compared(short, 0.2, workers=1, pause=0)


@promise(
    "a CPU quota of 2 shared by 4 workers, a request every 2 ms: p99 at most twice the serial p99", timed=True
)
def shared(short: bool) -> tuple[str, bool]:
    return _compared(short, 2, workers=4, pause=0.002)


@promise("a CPU quota of 2 shared by 4 workers without a pause: p99 at most twice the serial p99", timed=True)
def crowded(short: bool) -> tuple[str, bool]:
    return _compared(short, 2, workers=4, pause=0)


def _compared(short: bool, cpus: float, workers: int, pause: float) -> tuple[str, bool]:
    """p99 of each slot, and the median of those: a neighbour disturbs a few slots, a quota all."""
    slots = 6 if short else 18
    with cpu_group(cpus) as group, ThreadPoolExecutor(workers) as pool:
        inner = str(group / "inner")
        runs = [pool.submit(apart, microseconds_of_calls, inner, slots, pause) for _ in range(workers)]
        found = [run.result() for run in runs]
    text, p99 = [], []
    for way in range(3):
        spent = [slot for _, times in found for slot in times[way::3] if slot]
        p99.append(median([quantile(slot, 0.99) for slot in spent]))
        middle, slowest = median([median(slot) for slot in spent]), max(map(max, spent))
        text.append(f"{middle:.0f} / {p99[-1]:.0f} / {slowest:.0f}")
    return (
        f"us, median / p99 / slowest: serial {text[0]}; by default ({found[0][0]} threads) {text[1]}; "
        f"two by request {text[2]}",
        p99[1] <= 2 * p99[0],
    )


def microseconds_of_calls(group: str, slots: int, pause: float) -> tuple[int, list[list[float]]]:
    """The default number of threads, and how long calls take, slot by slot: serial, by default, on two.

    The clock says which it is, so that all workers do the same at the same time.
    """
    first = Known(n=1600)
    with fastembed.num_threads(1):  # before the quota slows us
        known = Known(n=int(1600 * 40e-6 / median([_seconds(first) for _ in range(50)])))
    _join(group)
    fastembed.set_num_threads(None)
    default = fastembed.get_num_threads()
    start = int(time.monotonic() / SLOT) // 3 * 3 + 3
    times: list[list[float]] = [[] for _ in range(slots)]
    while (slot := int(time.monotonic() / SLOT) - start) < slots:
        if slot < 0:
            time.sleep(0.01)
            continue
        fastembed.set_num_threads((1, default, 2)[slot % 3])
        known.layer(known.ids)
        while int(time.monotonic() / SLOT) - start == slot:
            times[slot].append(1e6 * _seconds(known))
            if pause:
                time.sleep(pause)
    return default, times


def _seconds(known: Known) -> float:
    start = time.perf_counter()
    known.layer(known.ids)
    return time.perf_counter() - start


# --- What we say about it -------------------------------------------------------------------------


@promise("`fastembed info` inside a cgroup within one that has a quota names the quota that decided")
def info(short: bool) -> tuple[str, bool]:
    text, holds = [], True
    for cpus, threads, why in ((0.2, 1, "quota of 0.2"), (1.5, 1, "quota of 1.5"), (0.5, 1, "quota of 0.5")):
        with cpu_group(cpus) as group:
            said = apart(info_inside, str(group / "inner"))
        text.append(f"{said['threads']} ({said['threads_because']})")
        holds &= said["threads"] == threads and why in said["threads_because"]
    return "; ".join(text), holds


def info_inside(group: str) -> dict[str, str]:
    """What `fastembed info` says in that cgroup."""
    _join(group)
    command = [sys.executable, "-m", "fastembed", "info", "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


# --- Tasks ----------------------------------------------------------------------------------------


@promise("a limit on tasks below the threads allowed ends no process: lookups go on, with fewer threads")
def tasks(short: bool) -> tuple[str, bool]:
    if not _team.openmp:
        raise NotHere("built without OpenMP: there are no more threads")
    text = []
    for allowed, limit in ((41, 40), (64, 40), (64, 70)):
        group = _new_group("pids", ("pids.max",))
        try:
            (group / "pids.max").write_text(str(limit))
            runs = [apart(threads_under_a_limit, str(group), allowed) for _ in range(1 if short else 4)]
            text.append(f"{allowed} allowed, {limit} tasks: {max(runs)} threads")
        finally:
            _remove(group)
    return "; ".join(text), True  # a process that ended would have been an error


def threads_under_a_limit(group: str, allowed: int) -> int:
    _join(group)
    fastembed.set_num_threads(allowed)
    known = Known()
    if not all(known.is_right() for _ in range(20)):
        raise RuntimeError("wrong rows")
    return len(list(Path("/proc/self/task").iterdir()))

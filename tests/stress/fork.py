"""Fork after use works, and children are parallel: from any thread, while others are in lookups."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter

import fastembed
from stress.lookups import FINE, OUTCOMES, busy_threads, known
from stress.promises import NotHere, apart, median, promise

HANGS = 20  # seconds after which a child counts as hung
AT_ONCE = 4  # children of each thread: so many that the busy threads do not take most of the time


@promise(
    "1000 of 1000 children and their children look up in parallel, forked by the main thread and two others "
    "while 3 threads look up"
)
def busy(short: bool) -> tuple[str, bool]:
    n = 15 if short else 334  # of each of the three
    return _told(apart(forks, n, seconds=300), 3 * n)


@promise("children and grandchildren look up in parallel where torch has its threads in the same process")
def with_torch(short: bool) -> tuple[str, bool]:
    if importlib.util.find_spec("torch") is None:
        raise NotHere("torch is not installed")
    n = 5 if short else 100
    outcomes = [apart(forks_with_torch, n, order, seconds=120) for order in ("torch first", "torch last")]
    return _told(Counter(outcomes[0]) + Counter(outcomes[1]), 2 * n)


def _told(outcomes: dict[str, int], n: int) -> tuple[str, bool]:
    """``n`` children and as many grandchildren should be fine."""
    text = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    return f"{text}, of {n} children and {n} children of theirs", outcomes == {"fine": 2 * n}


def forks(n: int) -> Counter[str]:
    """What became of ``n`` children of each of three threads, and of their children."""
    fastembed.set_num_threads(2)
    if known().verdict() != FINE:
        raise RuntimeError("the parent itself is not parallel")
    outcomes: list[str] = []

    def fork() -> None:
        for done in range(0, n, AT_ONCE):
            outcomes.extend(_families(min(AT_ONCE, n - done)))

    others = [threading.Thread(target=fork) for _ in range(2)]
    with busy_threads(3, known().is_right):
        for other in others:
            other.start()
        fork()
        for other in others:
            other.join()
    if not known().is_right():
        raise RuntimeError("wrong rows in the parent afterwards")
    return Counter(outcomes)


def forks_with_torch(n: int, order: str) -> Counter[str]:
    """As `forks`, with torch's own threads at hand."""
    if order == "torch last":
        known().is_right()
    import torch

    torch.set_num_threads(2)
    table, ids = torch.rand(20_000, 128), torch.arange(20_000)
    torch.nn.functional.embedding(ids, table)
    fastembed.set_num_threads(2)
    known().verdict()
    outcomes: Counter[str] = Counter()
    for _ in range(n):
        torch.nn.functional.embedding(ids, table)
        outcomes.update(_families(1))
    return outcomes


def _families(n: int) -> list[str]:
    """What became of ``n`` children and of the child of each.

    Each says so in a pipe; who hangs is ended by its alarm.
    """
    reader, writer = os.pipe()
    children = []
    for _ in range(n):
        children.append(os.fork())
        if children[-1] == 0:
            _answer(writer, grandchildren=1)
    os.close(writer)
    for child in children:
        os.waitpid(child, 0)
    with open(reader, "rb") as answers:
        said = [OUTCOMES[answer] for answer in answers.read()]
    return said + ["hung or died"] * (2 * n - len(said))


def _answer(writer: int, grandchildren: int) -> None:
    """Give the verdict of this child, and have its child give its own; the end of the process."""
    try:
        signal.alarm(HANGS)
        os.write(writer, bytes([known().verdict()]))
        signal.alarm(0)
        if grandchildren:
            child = os.fork()
            if child == 0:
                _answer(writer, 0)
            os.waitpid(child, 0)
    finally:
        os._exit(0)


@promise("a fork costs at most 1 ms more once the team is there", timed=True)
def cost(short: bool) -> tuple[str, bool]:
    rounds = [(apart(seconds_of_forks, 1), apart(seconds_of_forks, 2)) for _ in range(1 if short else 6)]
    alone, asleep = (1e3 * median([both[team][0] for both in rounds]) for team in (0, 1))
    awake, after = (1e3 * median([both[1][what] for both in rounds]) for what in (1, 2))
    return (
        f"fork and end of a child: {alone:.2f} ms without a team, {asleep:.2f} ms with it asleep, "
        f"{awake:.2f} ms straight after a lookup; the parent's next lookup {after:.2f} ms",
        max(asleep, awake) - alone <= 1,
    )


def seconds_of_forks(allowed: int) -> tuple[float, float, float]:
    """Medians: a fork while nothing is done, one straight after a lookup, and the lookup after that."""
    fastembed.set_num_threads(allowed)
    known().is_right()
    asleep, awake, after = [], [], []
    for _ in range(50):
        time.sleep(0.002)
        asleep.append(_seconds_of_a_fork())
        known().layer(known().ids)
        awake.append(_seconds_of_a_fork())
        start = time.perf_counter()
        known().layer(known().ids)
        after.append(time.perf_counter() - start)
    return median(asleep), median(awake), median(after)


def _seconds_of_a_fork() -> float:
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return time.perf_counter() - start


@promise("multiprocessing's fork, forkserver and spawn: a pool looks up, in parallel, after its parent did")
def pools(short: bool) -> tuple[str, bool]:
    n = 20 if short else 200
    outcomes = {
        method: apart(pool, method, n, seconds=120) for method in multiprocessing.get_all_start_methods()
    }
    text = "; ".join(f"{method}: {fine} of {n} right" for method, fine in outcomes.items())
    return text, all(fine == n for fine in outcomes.values())


def pool(method: str, n: int) -> int:
    """How many of ``n`` tasks of a pool of two processes were fine."""
    fastembed.set_num_threads(2)
    if known().verdict() != FINE:
        raise RuntimeError("the parent itself is not parallel")
    with multiprocessing.get_context(method).Pool(2) as processes:
        return processes.map_async(_task, range(n), chunksize=1).get(60).count(FINE)


def _task(number: int) -> int:
    fastembed.set_num_threads(2)
    return known().verdict()

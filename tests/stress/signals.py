"""Signals are heard in long lookups, by Python's threads only; daemon threads do not disturb the end."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import fastembed
from fastembed import _team, ops
from stress.lookups import busy_threads, known
from stress.promises import NotHere, apart, promise

# --- Ctrl-C ---------------------------------------------------------------------------------------

MOST = 1 << 30  # bytes of an output


def _endless():
    """Rows of no width: no memory, and no end but by a signal."""
    return np.zeros((1, 0), np.int8), np.broadcast_to(np.int8(0), (2**60,))


def _narrow():
    """The most ids for the bytes that are written."""
    return np.zeros((200, 1), np.int8), np.broadcast_to(np.int64(7), (MOST,))


def _usual():
    return np.zeros((20_000, 128), np.float32), _random_ids(20_000, MOST // 512)


def _scattered():
    """Each row from another page of a table of 1 GiB."""
    return np.ones((1 << 21, 128), np.float32), _random_ids(1 << 21, MOST // 512)


def _strided():
    """Ids that are copied first: two axes, neither of them contiguous."""
    ids = np.broadcast_to(np.arange(1000, dtype=np.int32), (MOST // 4000, 1000))
    return np.zeros((1000, 1), np.float32), ids.T


def _floats():
    """Ids that are looked at one by one before the lookup: are they whole numbers?"""
    return np.zeros((1000, 1), np.float32), np.broadcast_to(np.float32(3), (MOST // 4,))


def _wide():
    """One row of 256 MiB, four times."""
    return np.zeros((2, 1 << 26), np.float32), np.array([0, 1, 0, 1])


LOOKUPS = {
    "endless": _endless, "1 byte a row": _narrow, "20k x 128": _usual, "2M x 128": _scattered,
    "strided ids": _strided, "float ids": _floats, "rows of 256 MiB": _wide,
}  # fmt: skip


def _random_ids(rows: int, n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, rows, n)


@promise(
    "Ctrl-C in a lookup of any size is answered within 100 ms, and the table works afterwards", timed=True
)
def ctrl_c(short: bool) -> tuple[str, bool]:
    text, holds = [], True
    for name in ("endless", "20k x 128") if short else LOOKUPS:
        answers = apart(seconds_to_answer, name, 4 if short else 12, seconds=60)
        if not answers:
            raise RuntimeError(f"no signal came in time: {name}")
        wall, cpu = max(answers)
        text.append(f"{name} {1e3 * wall:.0f} ({1e3 * cpu:.0f})")
        holds &= wall <= (2 if short else 0.1)  # the short form runs on busy machines, and still must answer
    return f"slowest, in ms (and CPU time of the thread): {', '.join(text)}", holds


def seconds_to_answer(name: str, times: int) -> list[tuple[float, float]]:
    """Seconds from SIGINT to KeyboardInterrupt within a lookup, and of the main thread's CPU."""
    table, ids = LOOKUPS[name]()
    cpu = time.pthread_getcpuclockid(threading.main_thread().ident)
    sent: list[tuple[float, float]] = []
    answers = []

    def clocks() -> tuple[float, float]:
        return time.perf_counter(), time.clock_gettime(cpu)

    def send() -> None:
        sent.append(clocks())
        os.kill(os.getpid(), signal.SIGINT)

    for attempt in range(times):
        fastembed.set_num_threads(1 + attempt % 2)
        killer = threading.Timer(random.Random(attempt).uniform(0.01, 0.15), send)
        under_way = False
        try:
            killer.start()
            under_way = True
            ops.gather(table, ids)
            under_way = False
            time.sleep(5)
        except KeyboardInterrupt:
            if under_way:
                wall, used = clocks()
                answers.append((wall - sent[-1][0], used - sent[-1][1]))
        killer.join()
        if ops.gather(table, ids[:1].reshape(-1)[:1]).shape != (1, *table.shape[1:]):
            raise RuntimeError("the table does not work after Ctrl-C")
    return answers


# --- Other signals --------------------------------------------------------------------------------


@promise(
    "SIGTERM and SIGALRM reach the main thread's handlers while all threads are in lookups, none is lost"
)
def handlers(short: bool) -> tuple[str, bool]:
    n = 30 if short else 300
    heard, elsewhere = apart(signals_heard, n)
    return f"{heard} of {2 * n} heard, {elsewhere} outside the main thread", heard == 2 * n and elsewhere == 0


def signals_heard(n: int) -> tuple[int, int]:
    """Of ``n`` SIGTERM and ``n`` SIGALRM, one after another: those that were heard, and in another thread."""
    heard: list[bool] = []
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda *_: heard.append(threading.current_thread() is threading.main_thread()))
    fastembed.set_num_threads(4)
    _team.meet(4 if _team.openmp else 1)
    with busy_threads(2, lambda: known().layer(known().ids)):
        for sent in range(2 * n):
            if sent % 2:
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                signal.setitimer(signal.ITIMER_REAL, 0.001)
            end = time.monotonic() + 5
            while len(heard) <= sent and time.monotonic() < end:
                known().layer(known().ids)
    return len(heard), heard.count(False)


@promise("threads that are not Python's block all signals")
def masks(short: bool) -> tuple[str, bool]:
    if not Path("/proc/self/task").is_dir():
        raise NotHere("there is no /proc/self/task here")
    if not _team.openmp:
        raise NotHere("built without OpenMP: there are no such threads")
    blocked = apart(blocked_by_helpers, 4)
    missing = [sorted(ASYNCHRONOUS - {*signals}) for signals in blocked]
    faults = [sorted(FAULTS & {*signals}) for signals in blocked]
    text = f"{len(blocked)} such threads for a team of 4; not blocked: {missing}, faults blocked: {faults}"
    return text, missing == faults == [[]] * 3


# Those that a thread causes itself end the process, blocked or not; but a handler (faulthandler's) runs only
# if they are not.
FAULTS = {
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS,
    signal.SIGABRT,
}  # fmt: skip
OF_GLIBC = {32, 33}
ASYNCHRONOUS = {*range(1, signal.NSIG)} - {signal.SIGKILL, signal.SIGSTOP} - FAULTS - OF_GLIBC


def blocked_by_helpers(allowed: int) -> list[list[int]]:
    """The signals that each thread blocks that is not Python's."""
    fastembed.set_num_threads(allowed)
    known().layer(known().ids)
    _team.meet(allowed)
    pythons = {thread.native_id for thread in threading.enumerate()}
    found = []
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) not in pythons:
            [mask] = [
                line for line in (task / "status").read_text().splitlines() if line.startswith("SigBlk")
            ]
            bits = int(mask.split()[1], 16)
            found.append([number for number in range(1, signal.NSIG) if bits >> (number - 1) & 1])
    return found


# --- The end --------------------------------------------------------------------------------------


@promise("daemon threads in lookups: the interpreter ends cleanly, 100 of 100")
def daemons(short: bool) -> tuple[str, bool]:
    n = 5 if short else 100

    def ends_cleanly(number: int) -> str:
        try:
            apart(leave_daemons, number)
        except RuntimeError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as two:
        wrong = [text for text in two.map(ends_cleanly, range(n)) if text]
    return "; ".join([f"{n - len(wrong)} of {n}", *wrong[:1]]), not wrong


def leave_daemons(number: int) -> None:
    """Threads that nobody waits for, in small lookups and in large ones."""
    fastembed.set_num_threads(2)

    def again_and_again(n: int) -> None:
        while True:
            known().layer(known().ids[:n])

    for n in (10, 500, 3200):
        threading.Thread(target=again_and_again, args=[n], daemon=True).start()
    time.sleep(0.002 * (number % 10))

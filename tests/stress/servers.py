"""A web server that loads the embedding once, looks ids up there, and forks its workers."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from stress.lookups import OUTCOMES, WRONG, Known
from stress.promises import TESTS, NotHere, environment, median, promise

WORKERS, CALLERS = 4, 8
TIMEOUT = 10  # seconds for one request
ROWS, DIM, IDS = 20_000, 128, 3200


# --- The application, as gunicorn sees it ---------------------------------------------------------


def make_app():
    """``GET /SEED`` answers with the process, when it was forked, its verdict, and a sum of rows."""
    known = Known(ROWS, DIM)
    master = known.verdict()  # in gunicorn's master, before there are workers
    forked: list[float] = []
    os.register_at_fork(after_in_child=lambda: forked.append(time.monotonic()))
    verdicts: list[int] = []

    def app(request, start_response):
        if not verdicts:
            verdicts.append(master or known.verdict())
        rows = known.layer(_ids(int(request["PATH_INFO"][1:])))
        answer = [os.getpid(), forked[-1], verdicts[0], float(rows.sum(dtype=np.float64))]
        body = json.dumps(answer).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return app


def _ids(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, ROWS, IDS)


# --- Its callers ----------------------------------------------------------------------------------


@promise(
    "gunicorn --preload, 4 workers: 1000 requests right, none timed out, and a worker killed by -9 is "
    "replaced by one that works"
)
def gunicorn(short: bool) -> tuple[str, bool]:
    if importlib.util.find_spec("gunicorn") is None:
        raise NotHere("gunicorn is not installed")
    n = 100 if short else 1000
    with _server() as port:
        answers = _ask_all(port, range(n // 2))
        with ThreadPoolExecutor(1) as asking:
            others = asking.submit(_ask_all, port, range(n // 2, n))
            time.sleep(0.05)  # until they are under way
            killed = time.monotonic()
            os.kill(answers[-1].worker, signal.SIGKILL)
            answers += others.result()
        while time.monotonic() < killed + TIMEOUT and not any(answer.forked > killed for answer in answers):
            answers += _ask_all(port, range(CALLERS))
    counts = Counter(answer.what for answer in answers)
    told = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    seconds = [answer.seconds for answer in answers]
    cuts = sum(answer.cuts for answer in answers)
    by_new = sum(answer.forked > killed for answer in answers)
    return (
        f"{told}, {by_new} of them by the new worker; {cuts} cut off by the kill and asked again; "
        f"median {1e3 * median(seconds):.1f} ms, slowest {1e3 * max(seconds):.0f} ms",
        counts == {"fine": len(answers)} and by_new > 0,
    )


class _Answer(NamedTuple):
    what: str
    worker: int
    forked: float  # when the worker was
    seconds: float
    cuts: int  # times that the connection broke


def _ask_all(port: int, seeds: Iterable[int]) -> list[_Answer]:
    """Ask once for each seed, several at a time."""
    values = Known(ROWS, DIM).layer.get_weights()[0]
    with ThreadPoolExecutor(CALLERS) as callers:
        return list(callers.map(lambda seed: _ask(port, seed, values), seeds))


def _ask(port: int, seed: int, values: np.ndarray) -> _Answer:
    start, cuts = time.perf_counter(), 0
    while True:
        try:
            worker, forked, verdict, total = _get(port, seed)
            break
        except TimeoutError:
            return _Answer("timed out", 0, 0, time.perf_counter() - start, cuts)
        except (ConnectionError, http.client.HTTPException):  # this one was with the worker that was killed
            cuts += 1
            if cuts > 2:
                return _Answer("cut off", 0, 0, time.perf_counter() - start, cuts)
    seconds = time.perf_counter() - start
    right = total == float(values[_ids(seed)].sum(dtype=np.float64))
    return _Answer(OUTCOMES[verdict] if right else OUTCOMES[WRONG], worker, forked, seconds, cuts)


def _get(port: int, seed: int) -> tuple[int, float, int, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", f"/{seed}")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


@contextmanager
def _server():
    """gunicorn with our application on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--preload",
        "--workers",
        str(WORKERS),
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "critical",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "stress.servers:make_app()"],
        cwd=TESTS, env=environment({"FASTEMBED_NUM_THREADS": "2"}), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        try:
            process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_for(port: int, process) -> None:
    end = time.monotonic() + 3 * TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"gunicorn did not start: {process.communicate()[1]}")

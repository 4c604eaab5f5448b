"""Threads at once in the compiled core, for the thread sanitizer: ``four_threads.py race|clean [threads]``.

Small: the sanitizer's symboliser is slow. ``race`` makes the one mistake that the documentation warns of, two
additions to the same table at the same time, and must be reported; ``clean`` does only what is allowed, and
must not be. NumPy is not instrumented: what is seen are the core's own accesses to memory.
"""

from __future__ import annotations

import sys
import threading

import numpy as np

import fastembed
from fastembed import Variable, _additions, _rows, _team, layers, ops

ROUNDS = 30
ROWS, DIM, IDS = 300, 70, 2000  # more bytes than calls that keep the GIL (128 KiB) move


def race():
    table = _rows.Table(np.zeros((10, 10_000), "f4"))
    ids, values = np.zeros(20, np.int64), np.ones((20, 10_000), "f4")

    def add():
        for _ in range(ROUNDS):
            _additions.accumulate(table, ids, values)

    return [add, add]


def clean():
    variable = Variable(np.zeros((ROWS, DIM), "f4"))
    words = Variable(np.zeros((ROWS, DIM), "f4"), dtype="bfloat16")
    layer = layers.Embedding.from_variable(variable)
    ids = np.random.default_rng(0).integers(0, ROWS, IDS)

    def look_up():
        out = np.empty((IDS, DIM), "f4")
        for _ in range(ROUNDS):
            ops.gather(variable, ids, out=out)
            assert (out == out[0, 0]).all()
            ops.gather(words, ids.astype("i4"), out=out)
            layer(ids)

    def assign():
        for version in range(ROUNDS):
            variable.assign(np.full((ROWS, DIM), version, "f4"))

    def add():
        table, values = np.zeros((ROWS, DIM)), np.ones((IDS, DIM))
        for _ in range(ROUNDS):
            ops.scatter_add(table, ids, values)
            gradient = ops.embedding_gradient(ids, values, ROWS)
        assert (table[gradient.indices] == ROUNDS * gradient.values).all()
        megabytes = np.ones((4, 1 << 20), "u1")
        for _ in range(3):  # 32 MiB: recycled memory, and stores past the caches
            assert ops.gather(megabytes, np.zeros(32, np.int64)).all()

    return [look_up, look_up, assign, add]


def main(what: str, threads: str = "1") -> None:
    _team.set_serial_bytes(0)
    fastembed.set_num_threads(int(threads))
    errors = []

    def caught(work):
        try:
            work()
        except BaseException as error:
            errors.append(error)

    running = [
        threading.Thread(target=caught, args=(work,)) for work in {"race": race, "clean": clean}[what]()
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if errors:
        raise errors[0]
    if threads != "1":
        assert _team.meet(int(threads)) == int(threads), "the team never helped: nothing was tested"
    print(f"{what}: {len(running)} threads, calls of up to {threads}")


if __name__ == "__main__":
    main(*sys.argv[1:])

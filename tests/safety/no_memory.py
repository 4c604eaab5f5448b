"""Calls in which the n-th allocation fails, for every n: ``no_memory.py``, with failing_malloc.c preloaded.

A call that meets a failure raises MemoryError, leaves table and values as they were, and works the next time.
Prints how many failures each call met. Run by test_no_memory.py.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import fastembed
from fastembed import Variable, _pooling, _team, memory, ops

ROWS, DIM = 50, 33
shim = ctypes.PyDLL(None)  # keeps the GIL, and so allocates as little as can be

# Large enough for every way out: without the GIL, in several parts, sorted by digits.
IDS = np.arange(2000) % ROWS
VALUES = np.ones((2000, DIM), "f4")


def calls():
    """(name, what to call, what must not change)."""
    variable = Variable(np.arange(ROWS * DIM, dtype="f4").reshape(ROWS, DIM))
    table = np.arange(ROWS * DIM, dtype="f4").reshape(ROWS, DIM)
    strided, big = np.zeros((40, 40), "i4")[:, ::2], np.ones((1, 1 << 20), "u1")
    yield "gather", lambda: ops.gather(table, IDS), table
    yield "gather of a variable", lambda: ops.gather(variable, IDS), variable
    yield "gather of strided ids", lambda: ops.gather(variable, strided), variable
    yield "gather into out", lambda: ops.gather(variable, IDS, out=VALUES.copy()), variable
    yield "gather of ids outside", lambda: ops.gather(variable, IDS - 1, out_of_range="nan"), variable
    yield "gather of 32 MiB", lambda: ops.gather(big, np.zeros(32, int)), big
    yield "gradient", lambda: ops.embedding_gradient(IDS, VALUES, ROWS), VALUES
    yield (
        "gradient of ids outside",
        lambda: ops.embedding_gradient(IDS - 1, VALUES, ROWS, out_of_range="zeros"),
        VALUES,
    )
    yield "pooling", lambda: _pooling.mean_steps(VALUES[None]), VALUES
    yield "scatter_add", lambda: ops.scatter_add(table, IDS, VALUES), table


def failures_since() -> int:
    """End the failures, and count them. The call itself may need memory."""
    while True:
        try:
            return shim.fail_after(0, 0)
        except (MemoryError, ctypes.ArgumentError):
            pass


def is_for_memory(error: BaseException) -> bool:
    """NumPy forgets to say MemoryError in np.broadcast_to."""
    if isinstance(error, SystemError):
        return "numpy.nditer" in str(error)
    return isinstance(error, MemoryError)


def meet_every_failure(name: str, call: Callable[[], Any], kept: Any, times: int) -> int:
    """How many allocations of a call failed in turn, each followed by ``times`` - 1 more."""
    expected = np.array(call()) if name.startswith(("gather", "pooling")) else None
    for n in itertools.count(1):
        before = np.array(kept)
        memory.empty_cache()
        got = raised = None
        try:
            shim.fail_after(n, times)
            got = call()
        except BaseException as error:
            raised = error
        if not failures_since():
            return n - 1
        if raised is not None:
            assert is_for_memory(raised), (name, n, times, raised)
            np.testing.assert_array_equal(np.array(kept), before, f"{name}, allocation {n}")
        elif expected is not None:  # it could do without
            np.testing.assert_array_equal(got, expected, f"{name}, allocation {n}")
    raise AssertionError


def main() -> None:
    shim.fail_after.argtypes = [ctypes.c_long, ctypes.c_long]
    shim.fail_after.restype = ctypes.c_long
    _team.set_serial_bytes(0)
    fastembed.set_num_threads(2)
    for name, call, kept in calls():
        # One failure, and no memory at all for a while.
        print(f"{name}: {sum(meet_every_failure(name, call, kept, times) for times in (1, 100))} failures")
    print("done")


if __name__ == "__main__":
    main()

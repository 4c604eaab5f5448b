"""Calls in which the n-th allocation fails, for every n: ``no_memory.py``, with failing_malloc.c preloaded.

A call that meets a failure raises MemoryError, leaves table and values as they were, and works the next time.
Prints how many failures each call met. Run by test_no_memory.py.
"""

from __future__ import annotations

import ctypes

import numpy as np

import fastembed
from fastembed import Variable, _team, memory, ops

ROWS, DIM = 50, 33
shim = ctypes.PyDLL(None)  # keeps the GIL, and so allocates as little as can be
shim.fail_after.argtypes = [ctypes.c_long, ctypes.c_long]
shim.fail_after.restype = ctypes.c_long
fail_after = shim.fail_after

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
    yield "gather of 32 MiB", lambda: ops.gather(big, np.zeros(32, int)), big
    yield "gradient", lambda: ops.embedding_gradient(IDS, VALUES, ROWS), VALUES
    yield "scatter_add", lambda: ops.scatter_add(table, IDS, VALUES), table
    yield "assign", lambda: variable.assign(table[::-1]), variable


def failures_since() -> int:
    """End the failures, and count them. The call itself may need memory."""
    while True:
        try:
            return fail_after(0, 0)
        except (MemoryError, ctypes.ArgumentError):
            pass


def is_for_memory(error: BaseException) -> bool:
    """NumPy forgets to say MemoryError in a few places: np.unravel_index, np.broadcast_to."""
    if isinstance(error, SystemError):
        return any(name in str(error) for name in ("unravel_index", "numpy.nditer"))
    return isinstance(error, MemoryError)


def main() -> None:
    _team.set_serial_bytes(0)
    fastembed.set_num_threads(2)
    for name, call, kept in calls():
        try:
            call()  # what is made once is made; and how it ends with memory
            ended = None
        except IndexError as error:
            ended = str(error)
        met = 0
        for times in (1, 100):  # one failure, and no memory at all for a while
            n, failures = 0, 1  # failures of the last round: when a call meets none any more, all were met
            while failures:
                n += 1
                before = np.array(kept)
                memory.empty_cache()
                try:
                    fail_after(n, times)
                    call()
                    raised = None
                except BaseException as error:
                    raised = error
                failures = failures_since()
                met += failures > 0
                if failures and raised is not None:
                    assert is_for_memory(raised), (name, n, times, raised)
                    np.testing.assert_array_equal(np.array(kept), before, f"{name}, allocation {n}")
                del raised
        try:
            call()
            assert ended is None
        except IndexError as error:
            assert str(error) == ended
        print(f"{name}: {met} failures", flush=True)
    print("done")


if __name__ == "__main__":
    main()

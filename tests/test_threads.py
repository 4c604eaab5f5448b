"""Threads really used, the same answers for any number of them, and life after fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastembed
from fastembed import _team, ops

needs_openmp = pytest.mark.skipif(not _team.openmp, reason="built without OpenMP")


@pytest.fixture(autouse=True)
def _default_threads():
    yield
    fastembed.set_num_threads(None)


@pytest.fixture
def without_threshold():
    before = _team.get_serial_bytes()
    _team.set_serial_bytes(0)
    yield
    _team.set_serial_bytes(before)


@needs_openmp
@pytest.mark.usefixtures("without_threshold")
@pytest.mark.parametrize("n", [1, 2, 3, 8, 17])
def test_the_team_has_the_size_that_was_asked_for(n):
    """Also above the number of cores, for lookups and additions, by either way of asking."""
    table, ids, updates = np.zeros((100, 4), "f4"), np.arange(100), np.zeros((100, 4), "f4")
    with fastembed.num_threads(n):
        for call in (
            lambda: ops.gather(table, ids),
            lambda: ops.scatter_add(table, ids, updates),
            lambda: ops.embedding_gradient(ids, updates, 100),
        ):
            call()
            assert _team.last_team() == n
    fastembed.set_num_threads(n)
    ops.gather(table, ids)
    assert _team.last_team() == n
    assert _team.meet(n) == n


@needs_openmp
@pytest.mark.usefixtures("without_threshold")
def test_no_more_threads_than_ids():
    with fastembed.num_threads(8):
        ops.gather(np.zeros((4, 4)), [1, 2, 3])
    assert _team.last_team() == 3


def test_small_calls_stay_on_their_thread():
    with fastembed.num_threads(4):
        ops.gather(np.zeros((100, 4)), np.arange(100))
    assert _team.last_team() == 1


@needs_openmp
def test_large_calls_do_not():
    with fastembed.num_threads(2):
        ops.gather(np.zeros((100, 400)), np.arange(100).repeat(10))
    assert _team.last_team() == 2


@pytest.mark.skipif("FASTEMBED_EXPECT_OPENMP" not in os.environ, reason="nobody said which build this is")
def test_is_the_build_that_it_should_be():
    """`make test` says which build it tests, so that it cannot test another by mistake."""
    assert _team.openmp == (os.environ["FASTEMBED_EXPECT_OPENMP"] == "1")


@pytest.mark.skipif(_team.openmp, reason="built with OpenMP")
@pytest.mark.usefixtures("without_threshold")
def test_without_openmp_everything_is_serial():
    with fastembed.num_threads(8):
        assert ops.gather(np.eye(3), [2, 1]).shape == (2, 3)
    assert _team.last_team() == 1


def test_many_threads_call_one_table(rng):
    table = rng.random((1000, 64), np.float32)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            ids = rng.integers(0, 1000, 3000)
            if not np.array_equal(ops.gather(table, ids), table[ids]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


_FORK = """
import os, signal, sys
import numpy as np
import fastembed
from fastembed import _team, ops

_team.set_serial_bytes(0)
fastembed.set_num_threads(2)
table, ids = np.random.rand(1000, 32), np.arange(1000)[::-1].copy()
expected = table[ids]

def right():
    return np.array_equal(ops.gather(table, ids), expected) and _team.meet(2) == 2

assert right()
for _ in range(100):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that waits for its parent's workers waits for ever
        ok = right()
        grandchild = os.fork()
        if grandchild == 0:
            signal.alarm(20)
            os._exit(0 if right() else 1)
        os._exit(0 if ok and os.waitpid(grandchild, 0)[1] == 0 else 1)
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"child ended with status {status}"
    assert right()
print("fine")
"""


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_children_and_their_children_are_parallel_too():
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, timeout=120)
    assert done.stdout == "fine\n", done.stderr


_BUSY_FORK = _FORK.replace(
    "assert right()\nfor",
    """
import threading
def busy():
    while True:
        ops.gather(table, ids)
threading.Thread(target=busy, daemon=True).start()
assert right()
for""",
    1,
)


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_is_busy():
    done = subprocess.run([sys.executable, "-c", _BUSY_FORK], capture_output=True, text=True, timeout=120)
    assert done.stdout == "fine\n", done.stderr


def test_ctrl_c_is_heard_within_a_long_lookup():
    """Rows of no width are looked up for ever, and cost no memory: only a signal ends this."""
    code = """
import os, signal, threading
import numpy as np
from fastembed import ops
table, ids = np.zeros((1, 0), np.int8), np.broadcast_to(np.int8(0), (2**60,))
threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    ops.gather(table, ids)
except KeyboardInterrupt:
    print("interrupted", ops.gather(table, [0]).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "interrupted (1, 0)\n", done.stderr


def test_daemon_threads_do_not_disturb_the_end():
    code = """
import threading
import numpy as np
from fastembed import ops
table, ids = np.zeros((1000, 64)), np.zeros(10000, np.int64)
def busy():
    while True:
        ops.gather(table, ids)
for _ in range(3):
    threading.Thread(target=busy, daemon=True).start()
"""
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(isa, tmp_path):
    code = """
import sys, zlib
import numpy as np
from fastembed import _rows, _team, ops, Variable
rng = np.random.default_rng(0)
crc = 0
for dim in [*range(1, 40), 63, 64, 65, 100, 300]:
    ids = rng.integers(0, 50, 500)
    for dtype in ("f4", "f8"):
        values = rng.standard_normal((500, dim)).astype(dtype)
        crc = zlib.crc32(ops.embedding_gradient(ids, values, 50).values, crc)
        crc = zlib.crc32(ops.scatter_add(values[:50].copy(), ids, values), crc)
        crc = zlib.crc32(ops.gather(values, ids), crc)
    crc = zlib.crc32(ops.gather(Variable(values, dtype="bfloat16"), ids), crc)
print(crc)
print(_rows.isa, file=sys.stderr)
"""

    def run(isa):
        environment = {**os.environ, "FASTEMBED_ISA": isa}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
        )

    chosen = run(isa)
    if chosen.stderr.strip() != isa:
        pytest.skip(f"this processor has no {isa}")
    assert chosen.stdout == run("baseline").stdout


def test_an_unknown_instruction_set_is_said_and_ignored():
    done = subprocess.run(
        [sys.executable, "-c", "import fastembed"],
        capture_output=True, text=True, env={**os.environ, "FASTEMBED_ISA": "sse9"}, check=True,
    )  # fmt: skip
    assert "FASTEMBED_ISA='sse9' is ignored: it can be 'avx512', 'avx2' or 'baseline'" in done.stderr

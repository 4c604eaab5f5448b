"""How many threads are used, and what a user is told. What whole processes promise is in stress/."""

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


def test_an_unknown_instruction_set_is_said_and_ignored():
    done = subprocess.run(
        [sys.executable, "-c", "import fastembed"],
        capture_output=True, text=True, env={**os.environ, "FASTEMBED_ISA": "sse9"}, check=True,
    )  # fmt: skip
    assert "FASTEMBED_ISA='sse9' is ignored: it can be 'avx512', 'avx2' or 'baseline'" in done.stderr

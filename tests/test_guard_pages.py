"""Not one byte is touched outside table, ids and output: safety/guard_pages.py, on every instruction set.

In processes of their own, so that a byte too many is a failed test that says which call it was.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastembed import _rows

SCRIPT = Path(__file__).parent / "safety" / "guard_pages.py"
SETS = ["baseline", "avx2", "avx512"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect's numbers are those of Linux")


def run(what, threads=1, isa=""):
    return subprocess.run(
        [sys.executable, str(SCRIPT), what, str(threads)],
        env={**os.environ, "FASTEMBED_ISA": isa},
        capture_output=True,
        text=True,
        timeout=250,
    )


def last_words(done):
    """What it was doing when it ended, and how it ended."""
    said = "".join(done.stdout.splitlines(keepends=True)[-1:])
    return f"exit status {done.returncode} (-11: SIGSEGV) after {said}{done.stderr[-2000:]}"


@pytest.mark.parametrize("isa", SETS[: SETS.index(_rows.isa) + 1])
@pytest.mark.parametrize("what", ["gather", "codes", "ids", "outside", "large", "accumulate", "pooling"])
def test_nothing_outside_is_touched(what, isa):
    done = run(what, isa=isa)
    assert done.stdout.endswith(f"{what}: done by {isa}\n"), last_words(done)


@pytest.mark.parametrize("what", ["gather", "codes", "outside", "large", "accumulate", "pooling"])
def test_nor_when_the_work_is_shared(what):
    done = run(what, threads=2)
    assert done.returncode == 0, last_words(done)


def test_a_row_past_the_table_would_be_seen():
    done = run("control")
    assert done.returncode == -signal.SIGSEGV, last_words(done)
    assert done.stdout == "control: must not come back\n"

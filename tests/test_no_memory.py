"""An allocation that fails is a MemoryError and nothing else: safety/no_memory.py, for each one of a call.

Left out are the ways that end in a fault of somebody else's: NumPy raises SystemError for a few of its own
failures, and CPython 3.11 crashes in ContextVar.set, which a layer's long way calls.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAFETY = Path(__file__).parent / "safety"
COMPILER = shutil.which("cc") or shutil.which("gcc")


@pytest.mark.skipif(
    sys.platform != "linux" or not COMPILER, reason="a malloc of our own, by a C compiler on Linux"
)
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer has a malloc of its own")
def test_every_allocation_may_fail(tmp_path):
    shim = tmp_path / "failing_malloc.so"
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-o", str(shim), str(SAFETY / "failing_malloc.c")], check=True
    )
    done = subprocess.run(
        [sys.executable, str(SAFETY / "no_memory.py")],
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    *calls, last = done.stdout.splitlines()
    assert (last, done.returncode) == ("done", 0), done.stdout + done.stderr
    assert len(calls) == 10
    for call in calls:
        assert int(re.search(r": (\d+) failures", call)[1]) >= 10, "the shim did nothing"

"""What a library costs before its first call: the time and memory of its import, and its size on disk.

Each import is a process of its own. The first one of each warms the disk cache and writes bytecode.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "fastembed", "onnxruntime", "jax", "torch", "tensorflow", "keras")
ROUNDS = 5
CODE = """
import json, re, sys, time
start = time.perf_counter()
__import__(sys.argv[1])
seconds = time.perf_counter() - start
status = open("/proc/self/status").read()  # ru_maxrss would count the process that started this one
print(json.dumps([seconds, 1024 * int(re.search(r"VmRSS:\\s*(\\d+)", status)[1])]))
"""


def measure(
    wheel: Path | None, libraries: tuple[str, ...] = LIBRARIES, rounds: int = ROUNDS
) -> dict[str, Any]:
    """By library: median seconds and bytes of its import, and bytes on disk; and the size of our wheel."""
    found: dict[str, Any] = {}
    for name in libraries:
        if importlib.util.find_spec(name) is None:
            found[name] = {"failed": "not installed"}
            continue
        try:
            times = [_import(name) for _ in range(rounds + 1)][1:]
        except subprocess.CalledProcessError as error:
            found[name] = {"failed": " ".join(error.stderr.split()[-20:])}
            continue
        seconds, memory = zip(*times)
        found[name] = {
            "seconds": statistics.median(seconds),
            "memory": statistics.median(memory),
            "disk": _bytes_on_disk(name),
        }
    return {"imports": found, "wheel": {"name": wheel.name, "bytes": wheel.stat().st_size} if wheel else None}


def _import(name: str) -> tuple[float, float]:
    command = [sys.executable, "-c", CODE, name]
    # Where this is set, a package that no installer compiled would be compiled at each import.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def _bytes_on_disk(name: str) -> int:
    """Of the package's own folder, without bytecode; what it depends on is not counted."""
    spec = importlib.util.find_spec(name)
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    files = (file for folder in folders for file in folder.rglob("*") if file.suffix != ".pyc")
    return sum(file.stat().st_size for file in files if file.is_file())

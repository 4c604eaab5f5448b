"""Promises about the package as a whole."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import fastembed

PACKAGE = Path(fastembed.__file__).parent


def run(code, **kwargs):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_loads_no_optional_package():
    loaded = run(
        "import json, sys, fastembed; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    optional = {
        "h5py",
        "keras",
        "tensorflow",
        "jax",
        "torch",
        "scipy",
        "pandas",
        "ml_dtypes",
        "matplotlib",
        "ray",
        "tqdm",
    }
    assert not optional & set(loaded)


def test_import_starts_no_thread_and_changes_no_environment():
    seen = run(
        "import ctypes, json, os, sys, threading, numpy\n"
        "def state():\n"
        "    tasks = len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 0\n"
        "    return [dict(os.environ), tasks, threading.active_count(), os.getcwd()]\n"
        "before = state()\n"
        "import fastembed\n"
        "print(json.dumps(before == state()))"
    )
    assert seen is True


def test_everything_named_is_there():
    for name in fastembed.__all__:
        assert getattr(fastembed, name) is not None


def test_choke_points():
    """One file opens each format, and nothing else opens any: what a file may do is decided there."""
    may = {
        "h5py": {"saving/hdf5.py"},
        "zipfile": {"saving/archive.py"},
        "cgroups": {"threads.py", "memory.py"},
        "_team": {"threads.py", "cli.py"},
    }
    for path in PACKAGE.rglob("*.py"):
        where = path.relative_to(PACKAGE).as_posix()
        if where == "demo/train.py":
            continue  # a script that is not imported
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").rpartition(".")[2], *(alias.name for alias in node.names)}
            else:
                continue
            for name in names & set(may):
                assert where in may[name], f"{where} imports {name}"


def test_typed():
    assert (PACKAGE / "py.typed").exists()
    for module in PACKAGE.glob("_*.so"):
        assert (PACKAGE / f"{module.name.partition('.')[0]}.pyi").exists()


def test_no_environment_is_needed():
    assert run(
        "import json, fastembed; print(json.dumps(fastembed.__version__))", env={"PATH": os.environ["PATH"]}
    )

"""Who decides how many threads a call may use, as a user sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from stress.promises import NotHere, apart, promise


@promise("`fastembed info` says how many threads a call may use and which rule decided")
def info(short: bool) -> tuple[str, bool]:
    text, holds = [], True
    for changes, threads in (
        ({"FASTEMBED_NUM_THREADS": "3"}, 3),
        ({"FASTEMBED_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, 3),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_THREAD_LIMIT": "1"}, 1),
    ):
        said = apart(said_by_info, changes=changes)
        text.append(f"{said['threads']} ({said['threads_because']})")
        holds &= said["threads"] == threads and next(iter(changes)) in said["threads_because"]
    return "; ".join(text), holds


@promise("`fastembed info` counts only the CPUs that the process may run on")
def affinity(short: bool) -> tuple[str, bool]:
    if not hasattr(os, "sched_setaffinity"):
        raise NotHere("a process cannot be bound to CPUs here")
    said = apart(said_by_info, 1)
    return f"bound to one CPU: {said['threads']} ({said['threads_because']})", said["threads"] == 1


def said_by_info(cpus: int | None = None) -> dict[str, str]:
    """What `fastembed info` says, on so many CPUs."""
    if cpus is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
    command = [sys.executable, "-m", "fastembed", "info", "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

"""The control groups that limit this process: a container's memory and CPU time.

A process is in one cgroup of each hierarchy (/proc/self/cgroup), a path below where the hierarchy is
mounted (/proc/self/mountinfo). Every cgroup from there up to the root limits it. Formats:
proc_pid_mountinfo(5), cgroups(7), and the kernel's Documentation/admin-guide/cgroup-v2.rst and
Documentation/scheduler/sched-bwc.rst. A file that is missing, unreadable or not understood sets no limit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def folders(controller: str, root: str = "/") -> Iterator[str]:
    """The folder of each cgroup that this process is in and that has a controller, inner ones first.

    Parameters
    ----------
    controller : str
        ``"cpu"`` or ``"memory"``.
    root : str
        ``"/"``, except in tests.
    """
    paths = dict(_paths(read("/proc/self/cgroup", root), controller))
    mounts = tuple(_mounts(read("/proc/self/mountinfo", root), controller)) or _usual_mounts(controller)
    for kind, mounted, mount_point in mounts:
        yield from _upwards(mount_point, _below(mounted, paths.get(kind, "/")))


def read(path: str, root: str = "/") -> str:
    """The text of a file; nothing where that cannot be had."""
    try:
        with open(root.rstrip("/") + path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ""


def positive(text: str) -> int:
    """The positive integer that ``text`` is; 0, here "no limit", for max, -1, nothing and garbage.

    >>> positive("150000"), positive("max")
    (150000, 0)
    """
    text = text.strip()
    # A kernel's counters have at most 18 digits or mean "no limit"; Python refuses to read very long ones.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _usual_mounts(controller: str) -> tuple[tuple[str, str, str], ...]:
    """(kind, root, mount point) of the hierarchies by convention, where mountinfo cannot be read."""
    groups = ("cpu", "cpu,cpuacct") if controller == "cpu" else (controller,)
    return (
        ("cgroup2", "/", "/sys/fs/cgroup"),
        *(("cgroup", "/", f"/sys/fs/cgroup/{group}") for group in groups),
    )


def _paths(text: str, controller: str) -> Iterator[tuple[str, str]]:
    """(kind, path) of each ``id:controllers:path`` that has the controller; version 2 lists none."""
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield "cgroup2", path
        elif controller in controllers.split(","):
            yield "cgroup", path


def _mounts(text: str, controller: str) -> Iterator[tuple[str, str, str]]:
    """(kind, root, mount point) of each mounted hierarchy that has the controller."""
    for line in text.splitlines():
        # id parent device ROOT MOUNT_POINT options [tag]... - KIND source OPTIONS
        mount, _, filesystem = line.partition(" - ")
        fields, (kind, *options) = mount.split(), filesystem.split() or [""]
        has_it = kind == "cgroup2" or (kind == "cgroup" and controller in ",".join(options).split(","))
        if has_it and len(fields) > 4:
            yield kind, _unescaped(fields[3]), _unescaped(fields[4])


def _unescaped(path: str) -> str:
    """``path`` without the octal escapes that mountinfo has for blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), path)


def _below(mounted: str, path: str) -> list[str]:
    """The names that lead from the mounted part of a hierarchy to the cgroup ``path``.

    No names where ``path`` is not in that part, as in a container whose namespace hides it: the mount point
    then is the closest cgroup that can be seen.
    """
    top, names = ([name for name in where.split("/") if name] for where in (mounted, path))
    if names[: len(top)] != top or ".." in names:
        return []
    return names[len(top) :]


def _upwards(mount_point: str, names: list[str]) -> Iterator[str]:
    """The folder of a cgroup, and those of all around it."""
    for depth in range(len(names), -1, -1):
        yield "/".join([mount_point, *names[:depth]])

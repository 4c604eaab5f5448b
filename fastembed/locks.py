"""Locks that survive fork and copying."""

from __future__ import annotations

import os
import threading
import weakref


class Lock:
    """A lock that its owner may take again; a copy, a pickle and a forked child have one that is free.

    A thread that held a lock when the process forked does not exist in the child and can never give it
    back.

    Examples
    --------
    >>> lock = Lock()
    >>> with lock, lock:
    ...     pass
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()


_all: weakref.WeakSet[Lock] = weakref.WeakSet()


def _free_all() -> None:
    for lock in list(_all):
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)

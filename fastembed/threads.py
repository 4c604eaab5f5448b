"""How many threads a call may use. This is the one place that decides it.

From strongest to weakest:

1. ``with num_threads(n)`` around the call,
2. ``set_num_threads(n)`` for the process,
3. the environment variable ``FASTEMBED_NUM_THREADS``,
4. the default: the least of the CPUs that the process may run on, the CPU quota (rounded down) of its cgroup
   and of every cgroup around that one, ``OMP_NUM_THREADS`` and ``OMP_THREAD_LIMIT``, and what
   ``omp_set_num_threads`` said for the calling thread (which is how threadpoolctl limits us); at least 1.

The first three are taken as given, above the number of CPUs too. Under a quota the default matters: OpenMP
itself counts CPUs only, and two threads of a region of its own on half a CPU turned a 99th percentile of
0.12 ms into one of 54 ms (40 us of work, 400 calls, gcc 12).

Nothing is read when this module is imported. The default is worked out when it is first needed and kept; a
forked child and ``set_num_threads(None)`` work it out anew.
"""

from __future__ import annotations

import contextlib
import operator
import os
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from fastembed import cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import _GeneratorContextManager


@contextlib.contextmanager
def _loading_openmp() -> Iterator[None]:
    """Keep what libgomp does when it is loaded from changing more than its own threads.

    It reads these variables then, and by default lets an idle worker spin for milliseconds: those of our team
    go to sleep early (docs/decisions.md, "One team, which helps"), unless the user has set it. And where
    OMP_PROC_BIND or GOMP_CPU_AFFINITY is set it binds the thread that loads it, Python's main thread, to one
    CPU for good, though that thread runs no OpenMP of ours.
    """
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    ours = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ)
    if ours:
        os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]
        if cpus is not None and os.sched_getaffinity(0) != cpus:
            os.sched_setaffinity(0, cpus)


with _loading_openmp():
    from fastembed._team import openmp as _openmp
    from fastembed._team import openmp_limit, set_policy

__all__ = ["explain", "get_num_threads", "num_threads", "set_num_threads"]

_VARIABLE = "FASTEMBED_NUM_THREADS"
_MOST = 4096  # more than any machine has CPUs; OpenMP ends the process when it cannot start a thread


class _Choice(NamedTuple):
    threads: int
    reason: str
    warning: str = ""


_in_context: ContextVar[_Choice | None] = ContextVar("fastembed_num_threads", default=None)
_in_process: _Choice | None = None
_kept_default: _Choice | None = None


def get_num_threads() -> int:
    """How many threads a call made here and now may use, at least 1.

    A call that is too small to gain from a second thread uses one all the same.

    Examples
    --------
    >>> get_num_threads() >= 1
    True
    """
    return _choice().threads


def set_num_threads(n: int | None) -> None:
    """Let calls of this process use ``n`` threads.

    Parameters
    ----------
    n : int or None
        Taken as given, above the number of CPUs too. None restores the default and works it out anew, which
        notices that a container's quota was changed. Threads that a larger number needed go on sleeping.

    Raises
    ------
    TypeError
        If ``n`` is not an integer; a bool is none.
    ValueError
        If ``n`` is less than 1.

    Examples
    --------
    >>> set_num_threads(3)
    >>> get_num_threads()
    3
    >>> set_num_threads(None)
    """
    global _in_process
    _in_process = None if n is None else _Choice(_checked(n), "set_num_threads")
    if n is None:
        _forget_default()


def num_threads(n: int) -> _GeneratorContextManager[None]:
    """Let calls inside a ``with`` block, or inside a decorated function, use ``n`` threads.

    Holds for the current context (`contextvars`): blocks nest, asyncio tasks begun inside inherit it, and
    other threads do not see it, those started inside the block included.

    Parameters
    ----------
    n : int
        At least 1, and taken as given.

    Raises
    ------
    TypeError, ValueError
        As `set_num_threads`.

    Examples
    --------
    >>> with num_threads(1):
    ...     get_num_threads()
    1
    >>> @num_threads(2)
    ... def work():
    ...     return get_num_threads()
    >>> work()
    2
    """
    return _in_this_context(_Choice(_checked(n), "num_threads"))


def explain() -> tuple[int, str]:
    """What `get_num_threads` returns, and why.

    Examples
    --------
    >>> with num_threads(2):
    ...     threads, reason = explain()
    >>> threads, reason.startswith("num_threads")
    (2, True)
    """
    threads, reason, _ = _choice()
    return threads, reason if _openmp else f"{reason}; built without OpenMP, so every call runs on one thread"


def _choice() -> _Choice:
    global _kept_default
    chosen = _in_context.get() or _in_process or _kept_default
    if chosen is None:
        # Two threads may both come here and work out the same: harmless, and fork has no lock to break.
        chosen = _kept_default = _default("/", os.environ)
        if chosen.warning:
            warnings.warn(chosen.warning, RuntimeWarning, stacklevel=3)
    if chosen is _kept_default and chosen.reason != _VARIABLE and openmp_limit() < chosen.threads:
        return _Choice(openmp_limit(), "omp_set_num_threads in this thread, as threadpoolctl calls it")
    return chosen


def _forget_default() -> None:
    global _kept_default
    _kept_default = None


@contextlib.contextmanager
def _in_this_context(choice: _Choice) -> Iterator[None]:
    token = _in_context.set(choice)
    try:
        yield
    finally:
        _in_context.reset(token)


def _checked(n: Any) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"the number of threads must be an integer, got {n!r}")
    threads = operator.index(n)
    if not 1 <= threads <= _MOST:
        raise ValueError(f"the number of threads must be from 1 to {_MOST}, got {n}")
    return threads


# --- The default ---


def _default(root: str, environ: Mapping[str, str]) -> _Choice:
    """What holds when nobody chose. ``root`` is ``"/"``, except in tests."""
    text = environ.get(_VARIABLE, "").strip()
    given = cgroups.positive(text)
    if 1 <= given <= _MOST:
        return _Choice(given, _VARIABLE)
    least = min([_cpus(), *_quotas(root), *_openmp_limits(environ)], key=lambda limit: limit.threads)
    if not text:
        return least
    # Neither an error, which would stop a service at its first lookup for a slip in its deployment, nor
    # silence.
    return least._replace(
        warning=f"{_VARIABLE}={text!r:.50} is ignored: it must be an integer from 1 to {_MOST}"
    )


def _cpus() -> _Choice:
    try:
        # The main thread's CPUs: the calling thread may be pinned to one of them.
        return _Choice(len(os.sched_getaffinity(os.getpid())), "the CPUs that this process may run on")
    except (AttributeError, OSError):  # not Linux, or forbidden by a sandbox
        return _Choice(os.cpu_count() or 1, "the machine's CPUs")


def _openmp_limits(environ: Mapping[str, str]) -> Iterator[_Choice]:
    """What OpenMP's own variables allow. The first item of a list is for our level of nesting."""
    for variable in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        threads = cgroups.positive(environ.get(variable, "").partition(",")[0])
        if threads:
            yield _Choice(threads, variable)


# --- CPU quotas of cgroups ---


def _quotas(root: str) -> Iterator[_Choice]:
    """The limit of each cgroup that this process is in and that has one."""
    for folder in cgroups.folders("cpu", root):
        quota, period = _quota(root, folder)
        if quota and period:
            cpus = f"the cgroup's CPU quota of {quota / period:g}"
            if quota < period:
                yield _Choice(1, f"{cpus}, less than one CPU")
            else:
                yield _Choice(quota // period, cpus if quota % period == 0 else f"{cpus} rounded down")


def _quota(root: str, folder: str) -> tuple[int, int]:
    """Microseconds of CPU time, and in how many microseconds; 0 where there is no limit."""
    texts = cgroups.read(f"{folder}/cpu.max", root).split()  # version 2
    if not texts:  # version 1
        texts = [cgroups.read(f"{folder}/cpu.cfs_{what}_us", root) for what in ("quota", "period")]
    quota, period = map(cgroups.positive, texts) if len(texts) == 2 else (0, 0)
    return quota, period


# --- The hook ---

if hasattr(os, "register_at_fork"):  # a worker may have been moved to another cgroup, or pinned
    os.register_at_fork(after_in_child=_forget_default)

set_policy(get_num_threads)

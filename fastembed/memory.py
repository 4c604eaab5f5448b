"""How much memory may be kept for the next large output."""

from __future__ import annotations

import operator
import os
from typing import Any

from fastembed import cgroups
from fastembed._memory import cached_bytes, empty_cache
from fastembed._memory import set_cache_limit as _set_cache_limit

__all__ = ["cached_bytes", "empty_cache", "set_cache_limit"]

# Two outputs of the largest batches that are common, and never much of a small container.
_MOST, _SHARE = 256 * 1024 * 1024, 16


def set_cache_limit(nbytes: int | None) -> None:
    """Keep at most so many bytes of memory for the next large outputs, and give back what is kept now.

    Outputs of 1 MiB and more come from memory that earlier ones left, because the page faults of fresh
    memory cost more than the rows. Of what is kept, all but some 32 MiB is the system's to take when it
    needs memory.

    Parameters
    ----------
    nbytes : int or None
        0 keeps nothing; None restores the default, the least of 256 MiB and 1/16 of the memory that the
        machine or the container has.

    Raises
    ------
    TypeError, ValueError
        If ``nbytes`` is no integer, or negative.

    Examples
    --------
    >>> set_cache_limit(0)
    >>> cached_bytes()
    0
    >>> set_cache_limit(None)
    """
    if nbytes is None:
        _set_cache_limit(default_limit)
        return
    if isinstance(nbytes, bool) or operator.index(nbytes) < 0:
        raise ValueError(f"the cache limit is a number of bytes, at least 0, got {nbytes!r}")
    _set_cache_limit(operator.index(nbytes))


def default_limit(root: str = "/") -> int:
    """The least of 256 MiB and 1/16 of the memory that this process may use."""
    limits = [_MOST * _SHARE, *_physical()]
    for folder in cgroups.folders("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):  # versions 2 and 1
            limits.append(cgroups.positive(cgroups.read(f"{folder}/{name}", root)))
    return min(limit for limit in limits if limit) // _SHARE


def _physical() -> list[Any]:
    try:
        return [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):  # not POSIX, or not said
        return []


if hasattr(os, "register_at_fork"):  # a child would copy the pages that it shares when it writes to them
    os.register_at_fork(after_in_child=empty_cache)

set_cache_limit(None)

"""Faults made on purpose, with the flags of the build that they are in.

A check that would not report them proves nothing: sanitize.py makes these, and some that public functions can
be talked into. Built only beside debug and sanitizer builds (setup.py).
"""

from libc.stdint cimport int64_t

from fastembed._team cimport Team, run, team_for

import fastembed

cdef extern from "team.h" nogil:
    int64_t fe_now_ns()

cdef extern from "<stdatomic.h>" nogil:
    ctypedef int atomic_int
    int atomic_fetch_add(atomic_int*, int)
    int atomic_load(atomic_int*)

cdef extern from "<sched.h>" nogil:
    int sched_yield()


def item(const unsigned char[::1] items, Py_ssize_t i):
    """One item. A build with bounds checks raises IndexError where there is none."""
    return items[i]


def unaligned(const unsigned char[::1] items):
    """A number of 8 bytes read from an odd address."""
    cdef const unsigned char* start = &items[0]
    return (<const int64_t*>(start + (<size_t>start + 1) % 2))[0]


def overflow(Py_ssize_t n, Py_ssize_t row_bytes):
    """A product that may not fit its type."""
    cdef Py_ssize_t size = n * row_bytes
    return size


cdef struct Shared:
    atomic_int arrived
    int64_t end
    int64_t count


cdef void _count(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef Shared* shared = <Shared*>state
    atomic_fetch_add(&shared.arrived, 1)
    while atomic_load(&shared.arrived) < parts and fe_now_ns() < shared.end:  # each part has its own thread
        sched_yield()
    shared.count += 1


def shared():
    """A job whose two parts write to the same place, by two threads at the same time: parts never may."""
    cdef:
        Team team
        Shared state
    with fastembed.num_threads(2):
        team = team_for(2**30, 2)
    state.arrived, state.count, state.end = 0, 0, fe_now_ns() + 10_000_000_000
    with nogil:
        run(_count, &state, team)
    return state.count

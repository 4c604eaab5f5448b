"""Who works on a call.

Everything parallel goes through :c:func:`run`: the calling thread works, and the process's one team helps
(team.c says how, and why a caller never waits for a helper that has not come). How many threads a call may
use is policy: ``fastembed.threads`` decides it and is asked through the hook that it sets here. A call that
moves fewer than ``serial_bytes`` bytes is not worth a second thread and asks nobody.
"""

import time

from cython.parallel cimport parallel
from libc.stdint cimport int64_t, uint32_t

cdef extern from "<stdatomic.h>" nogil:
    ctypedef int atomic_int
    int atomic_fetch_add(atomic_int*, int)
    int atomic_load(atomic_int*)
    bint atomic_compare_exchange_weak(atomic_int*, int* expected, int desired)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "team.h" nogil:
    enum: FE_OPENMP
    enum: FE_MOST_PARTS
    ctypedef void (*fe_bring)(int n, uint32_t number) noexcept
    int omp_get_max_threads()
    void fe_help(uint32_t number)
    bint fe_may_help(bint worth_waking)
    int fe_try_run(job_t job, void* state, Py_ssize_t parts, int threads)
    void fe_note_team(int threads)
    int fe_last_team()
    int fe_open_team(fe_bring bring)
    int64_t fe_now_ns()

openmp = bool(FE_OPENMP)

# Below this many bytes moved a call stays on its own thread (docs/decisions.md, "Serial below 256 KiB,
# asleep below 2.5 MiB").
# Tests set it to zero.
cdef Py_ssize_t _serial_bytes = 256 * 1024

cdef enum:
    # Work is cut into up to this many parts a thread, and a thread that is done takes the next part: one
    # that another process keeps off its core then holds up one part, not its whole share ...
    PARTS_A_THREAD = 8
    # ... but not into parts so small that taking one, a compare-and-swap, shows.
    PART_BYTES = 64 * 1024
    # A team that sleeps is woken for this many times _serial_bytes and more: waking it costs the caller 7 to
    # 9 us, and it comes after 12 to 20 (the same section).
    WAKE_TIMES = 10

cdef object _policy = None


cdef Team team_for(Py_ssize_t nbytes, Py_ssize_t pieces) except *:
    cdef Team team
    team.threads, team.parts = 1, 1
    if nbytes < _serial_bytes or pieces < 2 or _policy is None:
        return team
    if not fe_may_help(nbytes >= WAKE_TIMES * _serial_bytes):
        return team
    team.threads = <int>min(max(1, <Py_ssize_t>_policy()), pieces)
    if team.threads > 1:
        team.parts = min(PARTS_A_THREAD * <Py_ssize_t>team.threads, nbytes // PART_BYTES)
        team.parts = min(max(<Py_ssize_t>team.threads, min(team.parts, pieces)), FE_MOST_PARTS)
    return team


cdef void run(job_t job, void* state, Team team) noexcept nogil:
    cdef Py_ssize_t part
    if team.threads > 1 and fe_try_run(job, state, team.parts, team.threads):
        fe_note_team(team.threads)
        return
    for part in range(team.parts):
        job(state, part, team.parts)
    fe_note_team(1)


cdef void _bring_team(int n, uint32_t number) noexcept nogil:
    """What the leader does where more than two threads may work: ``n`` threads help, itself one of them."""
    with parallel(num_threads=n):
        fe_help(number)


def set_policy(policy):
    """Let ``policy()`` say how many threads a call may use."""
    global _policy
    _policy = policy


def get_serial_bytes():
    """Bytes below which a call stays on its own thread."""
    return _serial_bytes


def set_serial_bytes(Py_ssize_t nbytes):
    """Change the bytes below which a call stays on its own thread; zero makes every call parallel."""
    global _serial_bytes
    _serial_bytes = nbytes


def last_team():
    """Threads that the last call from this thread was given; 1 where it worked alone."""
    return fe_last_team()


def openmp_limit():
    """What OpenMP would give this thread: what OMP_NUM_THREADS and threadpoolctl set."""
    return omp_get_max_threads()


# --- Whether a team is really there ---------------------------------------------------------------

cdef struct Meeting:
    atomic_int here
    atomic_int most  # that were ever here at the same time
    int64_t end


cdef void _arrive(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef:
        Meeting* meeting = <Meeting*>state
        int here = atomic_fetch_add(&meeting.here, 1) + 1, most = atomic_load(&meeting.most)
    while most < here and not atomic_compare_exchange_weak(&meeting.most, &most, here):
        pass
    while atomic_load(&meeting.here) < parts:
        if fe_now_ns() >= meeting.end:  # gone before this thread takes a second part
            atomic_fetch_add(&meeting.here, -1)
            return
        sched_yield()


def meet(int n, int seconds=10):
    """How many threads work at the same time for a job of ``n`` parts in which each waits for the others.

    ``n``, if the team works; fewer when ``seconds`` are over before all have come. What `last_team` cannot
    say, because a call does not wait for help.
    """
    cdef:
        Meeting meeting
        bint has_met = False
    if not 1 <= n <= FE_MOST_PARTS:
        raise ValueError(f"from 1 to {FE_MOST_PARTS} threads can meet, got {n}")
    meeting.here = meeting.most = 0
    meeting.end = fe_now_ns() + <int64_t>seconds * 1_000_000_000
    while n > 1 and fe_now_ns() <= meeting.end:
        with nogil:
            has_met = fe_try_run(_arrive, &meeting, n, n)
        if has_met:
            return atomic_load(&meeting.most)
        time.sleep(0.0001)  # another thread has the team
    return 1


if fe_open_team(_bring_team):
    raise ImportError("fastembed could not register its fork handler (pthread_atfork failed)")

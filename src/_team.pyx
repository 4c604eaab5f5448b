"""Who owns the OpenMP team.

Everything parallel goes through :c:func:`run`, from the calling thread. How many threads a call may
use is policy: ``fastembed.threads`` decides it and is asked through the hook that it sets here. A
call that moves fewer than ``serial_bytes`` bytes is not worth a second thread and asks nobody.
"""

from cython.parallel cimport parallel, prange

cdef extern from "team.h" nogil:
    enum: FE_OPENMP
    int omp_get_num_threads()
    int omp_get_thread_num()
    int fe_last_team()
    int fe_team_lost()
    int fe_watch_forks()
    void fe_note_team(int size)

openmp = bool(FE_OPENMP)

# Below this many bytes moved a call stays on its own thread (docs/decisions.md, "Serial below 256 KiB").
# Tests set it to zero.
cdef Py_ssize_t _serial_bytes = 256 * 1024

cdef enum:
    # Work is cut into up to this many parts a thread, and a thread that is done takes the next part: one
    # that another process keeps off its core then holds up one part, not its whole share ...
    PARTS_A_THREAD = 8
    # ... but not into parts so small that taking one, an atomic addition, shows.
    PART_BYTES = 64 * 1024

cdef object _policy = None


cdef Team team_for(Py_ssize_t nbytes, Py_ssize_t pieces) except *:
    cdef Team team
    team.threads, team.parts = 1, 1
    if nbytes < _serial_bytes or pieces < 2 or not FE_OPENMP or fe_team_lost() or _policy is None:
        return team
    team.threads = <int>min(max(1, <Py_ssize_t>_policy()), pieces)
    if team.threads > 1:
        team.parts = min(PARTS_A_THREAD * <Py_ssize_t>team.threads, nbytes // PART_BYTES)
        team.parts = max(<Py_ssize_t>team.threads, min(team.parts, pieces))
    return team


cdef void run(job_t job, void* state, Team team) noexcept nogil:
    cdef Py_ssize_t part
    if team.threads <= 1 or fe_team_lost():
        for part in range(team.parts):
            job(state, part, team.parts)
        fe_note_team(1)
        return
    with parallel(num_threads=team.threads):
        if omp_get_thread_num() == 0:
            # The runtime may give fewer threads than asked for; every part is done all the same.
            fe_note_team(omp_get_num_threads())
        for part in prange(team.parts, schedule="dynamic", chunksize=1):
            job(state, part, team.parts)


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
    """Threads that the last call from this thread really used."""
    return fe_last_team()


if fe_watch_forks():
    raise ImportError("fastembed could not register its fork handlers (pthread_atfork failed)")

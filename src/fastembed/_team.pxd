"""Who runs parallel work. Every loop that uses threads goes through run()."""

# One part of a job: parts of the same job never touch the same output.
ctypedef void (*job_t)(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept nogil

# How a call is shared out: `parts` pieces of work, done by up to `threads` threads.
cdef struct Team:
    int threads
    Py_ssize_t parts

# The team for a call that moves this many bytes and can be cut into at most this many pieces. Needs the GIL.
cdef Team team_for(Py_ssize_t nbytes, Py_ssize_t pieces) except *

# Do all parts of a job, each exactly once.
cdef void run(job_t job, void* state, Team team) noexcept nogil

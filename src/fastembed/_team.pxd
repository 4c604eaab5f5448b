"""Who runs parallel work. Every loop that uses threads goes through run()."""

# One part of a job: parts of the same job never touch the same output.
ctypedef void (*job_t)(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept nogil

# Do all parts of a job, each exactly once, on as many threads.
cdef void run(job_t job, void* state, Py_ssize_t parts) noexcept nogil

# How many parts are worth making of a call that moves this many bytes, at least 1. Needs the GIL.
cdef Py_ssize_t parts_for(Py_ssize_t nbytes) except -1

"""Values added up by row, for what does more with the entries of each row."""

cimport numpy as cnp
from libc.stdint cimport int64_t, uint16_t, uint64_t

from fastembed._rows cimport Ids, Outside, fe_add, fe_check, fe_load, fe_policy
from fastembed._team cimport Team

cdef extern from "additions.h" nogil:
    ctypedef struct fe_entry:
        pass
    ctypedef struct fe_additions:
        const char* ids
        Py_ssize_t id_stride
        fe_load load
        fe_check first_outside
        Py_ssize_t n
        uint64_t table_rows
        fe_policy policy
        uint64_t* rows
        Py_ssize_t* outside
        char* target
        const char* values
        Py_ssize_t times
        size_t row_bytes
        Py_ssize_t itemsize
        Py_ssize_t ahead
        fe_add add
        int threads
        Py_ssize_t* counts
        int bits
        int line_bits
        uint16_t* owners
        int key_bits
        int done_bits
        fe_entry* order
        fe_entry** spare
        Py_ssize_t* begun
        int64_t* indices
    void fe_copy_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_deal(fe_additions* a, Py_ssize_t parts) noexcept
    void fe_add_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_count_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_place(fe_additions* a, Py_ssize_t parts) noexcept
    void fe_order_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_next_pass(fe_additions* a) noexcept
    void fe_leave_out(fe_additions* a) noexcept
    void fe_begin_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    Py_ssize_t fe_number_rows(fe_additions* a, Py_ssize_t parts) noexcept
    void fe_sum_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept


# Whether these are values that can be added up as they lie: an ndarray of native float32 or float64.
cdef bint addable(values)

# Say what is to be added up by row and in how many parts: `team` becomes that of the sort and of what
# follows it. Returns memory for it, to be freed. `view` is what `open_ids` filled, and the shape of `values`
# begins with that of the ids, unless each of them belongs to so many `times` ids in a row.
cdef char* open_sums(
    fe_additions* job, Team* team, Ids* view, cnp.ndarray values, Py_ssize_t rows, fe_policy policy,
    Py_ssize_t times=*,
) except NULL

# Copy and check the ids; return the first outside the table. If there is none, `job.order` then has the
# entries that have a row, `job.n` of them, ordered by row and for one row as they came; `job.begun[part]`
# says how many rows begin before this part of them, and `job.begun[team.parts]` how many there are.
cdef Outside copy_and_sort(fe_additions* job, Team team) noexcept nogil

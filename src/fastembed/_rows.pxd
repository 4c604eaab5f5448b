"""Tables of rows, for what works on their memory in place."""

cimport numpy as cnp
from libc.stdint cimport int8_t, uint64_t

cdef extern from "rows.h" nogil:
    ctypedef void (*fe_load)(const char* ids, Py_ssize_t stride, Py_ssize_t n, uint64_t* block) noexcept
    ctypedef fe_load (*fe_loader)(Py_ssize_t size, bint is_signed, bint is_swapped) noexcept
    ctypedef Py_ssize_t (*fe_check)(const uint64_t* block, Py_ssize_t n, uint64_t rows) noexcept
    ctypedef struct fe_run:
        size_t stop
        size_t group
    ctypedef struct fe_codes:
        size_t columns
        int is_packed
        size_t groups
        size_t scale_bytes
        const char* scale
        const int8_t* zero
        const fe_run* runs
    cdef struct fe_table
    ctypedef void (*fe_fetch)(const fe_table* table, const uint64_t* block, Py_ssize_t n) noexcept
    ctypedef void (*fe_take)(
        char* out, const fe_table* table, const uint64_t* block, Py_ssize_t n, Py_ssize_t known
    ) noexcept
    cdef struct fe_table:
        const char* data
        Py_ssize_t rows
        Py_ssize_t row_bytes
        Py_ssize_t out_row_bytes
        Py_ssize_t ahead
        const fe_codes* codes
        const void* owed
        fe_take take
        fe_take stream
    ctypedef void (*fe_add)(
        char* acc, const char* values, Py_ssize_t dim, size_t row_bytes,
        const uint64_t* rows, const uint64_t* positions, Py_ssize_t n, Py_ssize_t ahead, bint goes_on
    ) noexcept
    ctypedef struct fe_rows:
        const char* name
        fe_loader loader
        fe_check first_outside
        fe_fetch fetch
        fe_take copy
        fe_take stream
        fe_take widen_bfloat16
        fe_take float32_codes
        fe_take stream_float32_codes
        fe_take float64_codes
        fe_take stream_float64_codes
        fe_take float16_codes
        fe_take stream_float16_codes
        fe_take bfloat16_codes
        fe_take stream_bfloat16_codes
        fe_add add_float32
        fe_add add_float64
        fe_add sum_float32
        fe_add sum_float64
    const fe_rows* fe_rows_for(int isa)
    int fe_best_isa(const char* limit)
    enum: FE_LINE

cdef extern from "outside.h" nogil:
    enum: FE_RAISE, FE_CLIP, FE_WRAP, FE_ROW
    ctypedef struct fe_policy:
        int way
        bint is_signed
        uint64_t row
    void fe_resolve(const fe_policy* policy, uint64_t* block, Py_ssize_t n, uint64_t rows) noexcept

cdef enum:
    # Calls that move less, and of fewer ids, keep the GIL: some 50 us at most. Getting it back takes as
    # long when others wait for it, and from a busy thread up to the interpreter's switch interval of 5 ms
    # (docs/decisions.md, "The GIL is kept for short copies").
    GIL_BYTES = 4 * 1024 * 1024
    GIL_IDS = 64 * 1024
    # Axes that an array can have in any NumPy.
    MAX_DIMS = 64

# The kernels for this processor.
cdef const fe_rows* kernels


# --- Ids ------------------------------------------------------------------------------------------

# Ids as the loops take them.
cdef struct Ids:
    const char* data
    Py_ssize_t stride
    Py_ssize_t n
    bint is_signed
    fe_load load

# The first id of a part that lies outside the table, as it was read.
cdef struct Outside:
    Py_ssize_t position  # -1: none does
    uint64_t id


cdef inline bint are_integers(cnp.ndarray ids) noexcept:
    """Whether an array holds integers or bool, which reads as 0 and 1."""
    # NPY_BOOL and the ten integer types come first in NumPy's enumeration.
    return cnp.NPY_BOOL <= cnp.PyArray_TYPE(ids) <= cnp.NPY_ULONGLONG

cdef cnp.ndarray open_ids(cnp.ndarray ids, Ids* view)

cdef object outside_error(Outside outside, cnp.ndarray ids, Py_ssize_t rows, bint has_policy)


cdef class OutOfRange:
    cdef:
        readonly object spelling  # as in the parameters, without OutOfRange
        int way
        uint64_t row              # UINT64_MAX: none
        bint is_nan

cdef OutOfRange policy_of(object policy)

cdef fe_policy for_table(OutOfRange policy, Py_ssize_t rows, bint is_signed) noexcept


# --- Tables ---------------------------------------------------------------------------------------

cdef class Owed:
    cdef:
        fe_take take        # of a table whose rows are owed moves: finishes each row on its way out, alone
        const void* state   # where it finds them, as fe_table.owed

cdef class Table:
    cdef:
        cnp.ndarray held              # the rows as they are stored, in an array that nobody else has
        readonly cnp.dtype row_dtype  # of the rows that a lookup returns
        fe_table table                # the same for the loops
        readonly Owed owed            # or None: the rows are as they are stored
        readonly size_t additions     # how often something was added to rows in place
        bint widen
        bint writable

    cdef _open(self, cnp.ndarray array, bint widen, bint writable, Owed owed)
    cdef cnp.ndarray lookup(self, cnp.ndarray ids, cnp.ndarray out, OutOfRange policy)

# An array's memory as a table's, if it can be one.
cdef fe_table rows_of(cnp.ndarray array, bint widen) except *

# How many rows to fetch ahead of the one that is worked on.
cdef Py_ssize_t rows_ahead(Py_ssize_t row_bytes, Py_ssize_t table_bytes) noexcept

# Whether the smallest range that holds all of an array meets [start, end).
cdef bint may_share_memory(cnp.ndarray array, const char* start, const char* end)

# Whether an array's shape begins with that of the ids; whether the rest of it is that of a row of `array`.
cdef bint begins_with(cnp.ndarray out, cnp.ndarray ids) noexcept
cdef bint has_shape(cnp.ndarray out, cnp.ndarray ids, cnp.ndarray array) noexcept

"""Tables of rows: one C call looks ids up.

A lookup reads its ids into a private block that it checks and then copies rows from (ids.h
says why). Rows travel as bytes, so every dtype shares the same copy.
"""

import os
import warnings
from operator import index
from threading import local

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport UINT64_MAX, int8_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from _numpy cimport (
    PyArray_CheckExact,
    PyArray_IS_C_CONTIGUOUS,
    PyArray_ISALIGNED,
    PyArray_ISNOTSWAPPED,
    PyArray_NBYTES,
    new_array,
)

from fastembed._memory cimport new_output
from fastembed._team cimport Team, run, team_for

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass
    PyThreadState* PyThreadState_Get()
    uint64_t PyThreadState_GetID(PyThreadState*)

cdef extern from "team.h" nogil:
    int64_t fe_now_ns()
    Py_ssize_t fe_share(Py_ssize_t n, Py_ssize_t part, Py_ssize_t parts)

cnp.import_array()

cdef enum:
    # Ids are read, checked and used in blocks of 2 KiB, well inside the first-level cache.
    BLOCK = 256
    # Long lookups look at the clock after so many bytes of output or so many ids: 16 MiB of fresh memory take
    # 25 ms to fault in, and 4 million ids of short rows as long to follow into memory. They ask Python for
    # signals (Ctrl-C) when so many nanoseconds are over: not after every step, because that needs the GIL.
    STEP_BYTES = 16 * 1024 * 1024
    STEP_IDS = 4 * 1024 * 1024
    SIGNAL_NS = 20 * 1000 * 1000
    # Of rows wider than this a step has too few to share out: they are shared out by columns.
    WIDE_BYTES = 4 * 1024 * 1024
    # How far ahead rows are fetched (docs/decisions.md, "Rows fetched ahead"). Rows of smaller tables lie in
    # the second-level cache, where it only costs time; ...
    CACHED_BYTES = 512 * 1024
    # ... those of tables of this size and more come from memory, the others from the third-level cache.
    MEMORY_BYTES = 32 * 1024 * 1024
    # The rows fetched ahead cover so many bytes, but are at least and at most so many.
    CACHE_AHEAD_BYTES = 2 * 1024
    MEMORY_AHEAD_BYTES = 12 * 1024
    LEAST_AHEAD = 4
    MOST_CACHE_AHEAD = 8
    MOST_AHEAD = 64
    # Outputs that the second-level caches cannot hold are written past them: faster alone and with a sum of
    # the output after it (docs/decisions.md, "Large outputs").
    STREAM_BYTES = 32 * 1024 * 1024


# --- The instruction set --------------------------------------------------------------------------

cdef const fe_rows* _choose_kernels() except NULL:
    limit = os.environ.get("FASTEMBED_ISA", "")
    if limit not in ("", "avx512", "avx2", "baseline"):
        warnings.warn(
            f"FASTEMBED_ISA={limit!r} is ignored: it can be 'avx512', 'avx2' or 'baseline'", RuntimeWarning, 2
        )
        limit = ""
    limit = limit.encode()
    return fe_rows_for(fe_best_isa(<const char*>limit if limit else NULL))


kernels = _choose_kernels()

cdef int _max_dims = 32 if np.__version__.startswith("1.") else MAX_DIMS

isa = kernels.name.decode()


# --- Ids ------------------------------------------------------------------------------------------

cdef cnp.ndarray _contiguous(cnp.ndarray ids):
    """A copy in C order; made in steps where it takes long, with a look for signals after each."""
    cdef Py_ssize_t size = cnp.PyArray_SIZE(ids), start, step
    cdef int axis
    if size <= STEP_IDS:
        return cnp.PyArray_NewCopy(ids, cnp.NPY_CORDER)
    ids = np.ndarray.view(ids, np.ndarray)  # nobody gives this one another shape or dtype between the steps
    copy = np.empty((<object>ids).shape, (<object>ids).dtype)
    axis = int(np.argmax((<object>ids).shape))
    step = max(<Py_ssize_t>1, STEP_IDS // 4 // (size // cnp.PyArray_DIM(ids, axis)))
    to, of = np.moveaxis(copy, axis, 0), np.moveaxis(ids, axis, 0)
    for start in range(0, cnp.PyArray_DIM(ids, axis), step):
        to[start : start + step] = of[start : start + step]
        PyErr_CheckSignals()
    return copy


cdef cnp.ndarray open_ids(cnp.ndarray ids, Ids* view):
    """Fill ``view``; return the array whose memory it shows: ``ids``, or a copy that can be walked.

    May let other threads run, which may give any array that they hold another shape or dtype. Nothing does
    after ``view`` is filled, so a caller that notes at once, by NumPy's C API, what else it needs of its
    arrays has it all of one moment. What may run Python (a policy, the number of threads) comes before.
    """
    if not are_integers(ids):
        raise TypeError(f"ids must be integers, got an array of dtype {ids.dtype}")
    if not PyArray_ISALIGNED(ids) or not (PyArray_IS_C_CONTIGUOUS(ids) or cnp.PyArray_NDIM(ids) == 1):
        ids = _contiguous(ids)
    view.data = <const char*>cnp.PyArray_DATA(ids)
    view.n = cnp.PyArray_SIZE(ids)
    view.stride = cnp.PyArray_STRIDE(ids, 0) if cnp.PyArray_NDIM(ids) == 1 else cnp.PyArray_ITEMSIZE(ids)
    view.is_signed = cnp.PyTypeNum_ISSIGNED(cnp.PyArray_TYPE(ids))
    view.load = kernels.loader(cnp.PyArray_ITEMSIZE(ids), view.is_signed, not PyArray_ISNOTSWAPPED(ids))
    return ids


cdef object outside_error(Outside outside, cnp.ndarray ids, Py_ssize_t rows, bint has_policy):
    where = ", ".join(map(str, np.unravel_index(outside.position, (<object>ids).shape)))
    signed = cnp.PyTypeNum_ISSIGNED(cnp.PyArray_TYPE(ids))
    row = int(<int64_t>outside.id) if signed else int(outside.id)
    valid = f"whose rows are 0 to {rows - 1}" if rows else "which has no rows"
    message = f"ids[{where or '()'}] = {row} is outside the table, {valid}"
    if has_policy and -rows <= row < 0:
        message += f'; out_of_range="wrap" takes row {row + rows} for it, as Keras 3 does'
    elif has_policy and rows:
        message += '; out_of_range can be "zeros", "clip", "wrap", "nan" or a row to take instead'
    return IndexError(message)


# --- Ids outside the table ------------------------------------------------------------------------

cdef object _policies = {"raise": FE_RAISE, "clip": FE_CLIP, "wrap": FE_WRAP, "zeros": FE_ROW, "nan": FE_ROW}


@cython.final
@cython.auto_pickle(False)
cdef class OutOfRange:
    """What becomes of ids outside the table.

    Parameters
    ----------
    policy : {"raise", "zeros", "clip", "wrap", "nan"}, int or OutOfRange
        ``"raise"``: an IndexError. ``"zeros"`` and ``"nan"``: a row of these. ``"clip"``: the first row for
        negative ids and the last for others; ``"wrap"``: row ``id % rows``; as the modes of `numpy.take`. An
        int: this row.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    def __init__(self, policy):
        if type(policy) is OutOfRange:
            policy = (<OutOfRange>policy).spelling
        self.row, self.is_nan = UINT64_MAX, False
        if isinstance(policy, str):
            if policy not in _policies:
                raise _no_policy(ValueError, policy)
            self.spelling, self.way, self.is_nan = str(policy), _policies[policy], policy == "nan"
            return
        if isinstance(policy, (bool, np.bool_)) or not hasattr(policy, "__index__"):
            raise _no_policy(TypeError, policy)
        row = index(policy)
        if not 0 <= row < 2**63:
            raise _no_policy(ValueError, policy)
        self.spelling, self.way, self.row = row, FE_ROW, row

    def check(self, Py_ssize_t rows, dtype):
        """Raise ValueError if this cannot be said of a table of so many rows, returned in this dtype."""
        # A table without rows has no such row either, which matters (and is said) when an id comes.
        if self.way == FE_ROW and self.row != UINT64_MAX and rows and self.row >= <uint64_t>rows:
            raise ValueError(
                f"out_of_range={self.row} must be a row of the table, whose rows are 0 to {rows - 1}"
            )
        if self.is_nan:
            _nan_of(dtype)

    def rows_for(self, ids, Py_ssize_t rows):
        """The row of a table of so many that is taken for each id, as int64.

        Where none is, ``rows``; with "raise" ids outside stay as they are.
        """
        cdef:
            Ids view
            cnp.ndarray opened = open_ids(ids, &view)
            cnp.ndarray taken = cnp.PyArray_EMPTY(
                cnp.PyArray_NDIM(opened), cnp.PyArray_DIMS(opened), cnp.NPY_INT64, False
            )
            uint64_t* block = <uint64_t*>cnp.PyArray_DATA(taken)
            fe_policy policy = for_table(self, rows, view.is_signed)
        view.load(view.data, view.stride, view.n, block)
        fe_resolve(&policy, block, view.n, rows)
        return taken

    def __eq__(self, other):
        return type(other) is OutOfRange and self.spelling == (<OutOfRange>other).spelling

    def __hash__(self):
        return hash(self.spelling)

    def __repr__(self):
        return f"OutOfRange({self.spelling!r})"

    def __reduce__(self):
        return OutOfRange, (self.spelling,)


cdef object _no_policy(error, policy):
    return error(
        'out_of_range must be "raise", "zeros", "clip", "wrap", "nan" or the number of a row, '
        f"got {policy!r:.80}"
    )


cdef object _raise = "raise"
cdef OutOfRange _RAISE = OutOfRange(_raise)


cdef OutOfRange policy_of(object policy):
    if policy is _raise:
        return _RAISE
    return <OutOfRange>policy if type(policy) is OutOfRange else OutOfRange(policy)


cdef dict _nans = {}


cdef bytes _nan_of(dtype):
    """The bytes of a NaN of this dtype."""
    nan = _nans.get(dtype)
    if nan is None:
        dtype = np.dtype(dtype)
        try:  # bfloat16 and its like are no kind of their own
            number = np.full(1, np.nan, dtype) if dtype.kind in "fcV" else None
            good = number is not None and bool(np.isnan(number[0]))
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ValueError(f'out_of_range="nan" needs rows of floats, got rows of {dtype}')
        nan = _nans[dtype] = number.tobytes()
    return nan


cdef fe_policy for_table(OutOfRange policy, Py_ssize_t rows, bint is_signed) noexcept:
    """A policy as the loops take it, for a table of so many rows and ids of this kind."""
    cdef:
        bint needs_row = policy.way != FE_ROW or policy.row != UINT64_MAX
        fe_policy taken
    taken.way, taken.is_signed = FE_RAISE if needs_row and rows == 0 else policy.way, is_signed
    taken.row = policy.row if needs_row else rows
    return taken


# --- Lookup ---------------------------------------------------------------------------------------

cdef struct Lookup:
    Ids ids
    fe_table table
    char* out
    Py_ssize_t start   # the ids to look up now:
    Py_ssize_t stop    # start <= i < stop
    Outside* outside   # one for each part
    fe_policy policy
    const char* nan    # what rows of no id are filled with: this number, or (NULL) zeros
    Py_ssize_t nan_bytes


cdef inline bint _fills(Lookup* job) noexcept nogil:
    """Whether ids outside the table have no row."""
    return job.policy.way == FE_ROW and job.policy.row == <uint64_t>job.table.rows


cdef void _fill(Lookup* job, char* out, Py_ssize_t nbytes) noexcept nogil:
    """Fill so many bytes of whole rows as those of ids that have no row."""
    cdef Py_ssize_t done = min(job.nan_bytes, nbytes), step
    if job.nan is NULL:
        memset(out, 0, nbytes)
        return
    memcpy(out, job.nan, done)
    while done < nbytes:  # twice as many each time, up to what is still in the first-level cache
        step = min(min(done, BLOCK * job.nan_bytes), nbytes - done)
        memcpy(out + done, out, step)
        done += step


cdef void _take_or_fill(
    Lookup* job, char* out, const uint64_t* block, Py_ssize_t n, Py_ssize_t known
) noexcept nogil:
    """As ``job.table.take``, in runs of ids that have a row and of ids that have none."""
    cdef:
        fe_table* table = &job.table
        uint64_t none = table.rows
        Py_ssize_t i = 0, start
    while i < n:
        start = i
        if block[i] == none:
            while i < n and block[i] == none:
                i += 1
            _fill(job, out + start * table.out_row_bytes, (i - start) * table.out_row_bytes)
        else:
            while i < n and block[i] != none:
                i += 1
            table.take(out + start * table.out_row_bytes, table, block + start, i - start, known - start)


cdef void _take_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef:
        Lookup* job = <Lookup*>state
        fe_table* table = &job.table
        Py_ssize_t i = job.start + fe_share(job.stop - job.start, part, parts)
        Py_ssize_t stop = job.start + fe_share(job.stop - job.start, part + 1, parts)
        Py_ssize_t known = 0, new, n, bad
        bint fills = _fills(job)
        # The ids whose rows are copied next, and those whose rows are fetched meanwhile.
        uint64_t block[BLOCK + MOST_AHEAD]
    job.outside[part].position = -1
    while i < stop:
        new = min(BLOCK + table.ahead - known, stop - i - known)
        job.ids.load(job.ids.data + (i + known) * job.ids.stride, job.ids.stride, new, block + known)
        bad = kernels.first_outside(block + known, new, table.rows)
        if bad < new:
            if job.policy.way == FE_RAISE:
                job.outside[part].position = i + known + bad
                job.outside[part].id = block[known + bad]
                return
            fe_resolve(&job.policy, block + known + bad, new - bad, table.rows)
        if known == 0:  # the first block; later ones find their rows fetched
            kernels.fetch(table, block, min(table.ahead, new))
        known += new
        n = min(<Py_ssize_t>BLOCK, known)
        if fills:
            _take_or_fill(job, job.out + i * table.out_row_bytes, block, n, known)
        else:
            table.take(job.out + i * table.out_row_bytes, table, block, n, known)
        i += n
        known -= n
        memmove(block, block + n, known * sizeof(uint64_t))


cdef void _take_for_a_while(Lookup* job, Team team, Py_ssize_t step, Outside* first) noexcept nogil:
    """Go on with the lookup, in steps, until it is done, an id is outside, or Python may have a signal."""
    cdef:
        int64_t end = fe_now_ns() + SIGNAL_NS
        Py_ssize_t part
    while job.start < job.ids.n:
        job.stop = min(job.ids.n, job.start + step)
        run(_take_part, job, team)
        for part in range(team.parts):  # parts are in the order of their ids
            if job.outside[part].position >= 0:
                first[0] = job.outside[part]
                return
        job.start = job.stop
        if fe_now_ns() >= end:
            return


# A run of columns of one row, on its way.
cdef struct Piece:
    fe_table table     # of which it is the only row
    char* out
    Py_ssize_t lines   # of cache, as they are stored
    Py_ssize_t widths  # out bytes for each stored byte


cdef void _take_columns(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept nogil:
    cdef:
        Piece* piece = <Piece*>state
        Py_ssize_t start = FE_LINE * fe_share(piece.lines, part, parts)
        Py_ssize_t nbytes = FE_LINE * fe_share(piece.lines, part + 1, parts) - start
        fe_table columns = piece.table
        uint64_t first = 0
    if nbytes:
        columns.data += start
        columns.row_bytes = nbytes
        columns.take(piece.out + piece.widths * start, &columns, &first, 1, 1)


cdef Outside _take_wide(Lookup* job) except *:
    """As `_take`, for rows of which one takes long: in runs of columns."""
    cdef:
        fe_table* table = &job.table
        Piece piece
        Team team = team_for(2 * STEP_BYTES, STEP_BYTES // FE_LINE)
        Py_ssize_t i, start, rest = table.row_bytes % FE_LINE
        uint64_t id
        uint64_t first = 0
        Outside outside
    outside.position = -1
    piece.table, piece.widths = table[0], table.out_row_bytes // table.row_bytes
    piece.table.ahead = 0
    if table.take == table.stream:  # of which each piece would wait for its stores
        piece.table.take = kernels.copy
    for i in range(job.ids.n):
        job.ids.load(job.ids.data + i * job.ids.stride, job.ids.stride, 1, &id)
        if kernels.first_outside(&id, 1, table.rows) < 1:
            if job.policy.way == FE_RAISE:
                outside.position, outside.id = i, id
                return outside
            fe_resolve(&job.policy, &id, 1, table.rows)
            if id == <uint64_t>table.rows:
                with nogil:
                    _fill(job, job.out + i * table.out_row_bytes, table.out_row_bytes)
                PyErr_CheckSignals()
                continue
        piece.table.data, piece.out = table.data + id * table.row_bytes, job.out + i * table.out_row_bytes
        for start in range(0, table.row_bytes - rest, STEP_BYTES):
            piece.lines = min(<Py_ssize_t>STEP_BYTES, table.row_bytes - rest - start) // FE_LINE
            with nogil:
                run(_take_columns, &piece, team)
            piece.table.data += STEP_BYTES
            piece.out += piece.widths * STEP_BYTES
            PyErr_CheckSignals()
        start = table.row_bytes - rest
        if rest:
            piece.table.data, piece.table.row_bytes = table.data + id * table.row_bytes + start, rest
            out = job.out + i * table.out_row_bytes + piece.widths * start
            piece.table.take(out, &piece.table, &first, 1, 1)
    return outside


cdef Outside _take(Lookup* job) except *:
    """Do the whole lookup; return the first id outside the table."""
    cdef:
        # No overflow: the output is there, and rows are at least as wide in it as in the table.
        Py_ssize_t n = job.ids.n, nbytes = n * (job.table.row_bytes + job.table.out_row_bytes), step
        Team team
        bint keeps_gil
        Outside first
    if job.table.row_bytes > WIDE_BYTES and job.table.codes is NULL and job.table.owed is NULL:
        return _take_wide(job)
    team = team_for(nbytes, n)
    first.position = -1
    job.start, job.stop, job.outside = 0, n, &first
    keeps_gil = nbytes < GIL_BYTES and n < GIL_IDS
    if keeps_gil and team.parts == 1:
        run(_take_part, job, team)
        return first
    job.outside = <Outside*>malloc(team.parts * sizeof(Outside))
    if job.outside is NULL:
        raise MemoryError("no memory for a lookup's bookkeeping")
    step = STEP_BYTES // max(<Py_ssize_t>1, job.table.out_row_bytes)
    step = min(<Py_ssize_t>STEP_IDS, max(<Py_ssize_t>1, step))
    try:
        while job.start < n and first.position < 0:
            if keeps_gil:
                _take_for_a_while(job, team, n, &first)
            else:
                with nogil:
                    _take_for_a_while(job, team, step, &first)
            PyErr_CheckSignals()
    finally:
        free(job.outside)
    return first


cdef bint _overlap(const char* a, const char* a_end, const char* b, const char* b_end) noexcept:
    return a < b_end and b < a_end


cdef bint may_share_memory(cnp.ndarray array, const char* start, const char* end):
    """Whether the smallest range that holds all of ``array`` meets [start, end)."""
    cdef:
        const char* low = <const char*>cnp.PyArray_DATA(array)
        const char* high = low + cnp.PyArray_ITEMSIZE(array)
        Py_ssize_t reach
        int axis
    for axis in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, axis) == 0:
            return False
        reach = (cnp.PyArray_DIM(array, axis) - 1) * cnp.PyArray_STRIDE(array, axis)
        if reach < 0:
            low += reach
        else:
            high += reach
    return _overlap(low, high, start, end)


cdef Py_ssize_t rows_ahead(Py_ssize_t row_bytes, Py_ssize_t table_bytes) noexcept:
    """How many rows to fetch ahead of the one that is copied."""
    if table_bytes < CACHED_BYTES or row_bytes == 0:
        return 0
    if table_bytes < MEMORY_BYTES:
        return min(<Py_ssize_t>MOST_CACHE_AHEAD, max(<Py_ssize_t>LEAST_AHEAD, CACHE_AHEAD_BYTES // row_bytes))
    return min(<Py_ssize_t>MOST_AHEAD, max(<Py_ssize_t>LEAST_AHEAD, MEMORY_AHEAD_BYTES // row_bytes))


cdef fe_table rows_of(cnp.ndarray array, bint widen) except *:
    """An array's memory as a table's, if it can be one."""
    cdef:
        fe_table table
        Py_ssize_t dim = 1
        int axis
    if array.dtype.hasobject:
        raise TypeError(f"a table cannot hold Python objects: dtype {array.dtype}")
    if cnp.PyArray_NDIM(array) < 1:
        raise ValueError("a table needs an axis of rows, got an array of shape ()")
    if widen and (cnp.PyArray_TYPE(array) != cnp.NPY_UINT16 or not PyArray_ISNOTSWAPPED(array)):
        raise TypeError(f"bfloat16 rows are kept as native uint16 words, got dtype {array.dtype}")
    if not PyArray_IS_C_CONTIGUOUS(array):
        shape, strides = (<object>array).shape, (<object>array).strides
        raise ValueError(
            f"the table must be C-contiguous, got shape {shape} with strides {strides}; "
            "np.ascontiguousarray(table) makes such a copy, once"
        )
    for axis in range(1, cnp.PyArray_NDIM(array)):
        dim *= cnp.PyArray_DIM(array, axis)
    table.data = <const char*>cnp.PyArray_DATA(array)
    table.rows = cnp.PyArray_DIM(array, 0)
    table.row_bytes = dim * cnp.PyArray_ITEMSIZE(array)
    table.out_row_bytes = dim * sizeof(float) if widen else table.row_bytes
    table.ahead = rows_ahead(table.row_bytes, PyArray_NBYTES(array))
    table.codes = table.owed = NULL
    table.take = kernels.widen_bfloat16 if widen else kernels.copy
    table.stream = NULL if widen else kernels.stream
    return table


cdef bytes _check_policy(Lookup* job, cnp.dtype row_dtype, OutOfRange policy):
    """Refuse a policy that does not suit the table; return a NaN to keep as long as the job, or None."""
    cdef bytes nan = None
    policy.check(job.table.rows, row_dtype)
    job.nan = NULL
    if policy.is_nan:
        nan = _nan_of(row_dtype)
        job.nan, job.nan_bytes = nan, len(nan)
    return nan


cdef inline cnp.ndarray _look_up(
    Lookup* job, cnp.ndarray array, cnp.dtype row_dtype, cnp.ndarray ids, cnp.ndarray out, OutOfRange policy
):
    """The rows of ``job.table`` at ``ids``. ``array`` has their shape together, and is nobody else's."""
    if policy.way != FE_RAISE:
        return _look_up_with(job, array, row_dtype, ids, out, policy)
    return _look_up_opened(job, array, row_dtype, open_ids(ids, &job.ids), out, policy)


cdef cnp.ndarray _look_up_with(
    Lookup* job, cnp.ndarray array, cnp.dtype row_dtype, cnp.ndarray ids, cnp.ndarray out, OutOfRange policy
):
    """The same where ids outside the table get rows."""
    cdef bytes _nan = _check_policy(job, row_dtype, policy)
    return _look_up_opened(job, array, row_dtype, open_ids(ids, &job.ids), out, policy)


cdef cnp.ndarray _look_up_opened(
    Lookup* job, cnp.ndarray array, cnp.dtype row_dtype, cnp.ndarray ids, cnp.ndarray out, OutOfRange policy
):
    """As `_look_up`, at once after `open_ids` gave ``ids``."""
    cdef:
        fe_table* table = &job.table
        Outside outside
    job.policy.way = policy.way
    if policy.way != FE_RAISE:
        job.policy = for_table(policy, table.rows, job.ids.is_signed)
    if out is None:
        out = _new_output(array, row_dtype, ids)
    else:
        _check_out(table, array, row_dtype, ids, out)
    job.out = <char*>cnp.PyArray_DATA(out)
    if PyArray_NBYTES(out) >= STREAM_BYTES and table.stream is not NULL:
        if table.out_row_bytes % 16 == 0 and <size_t>job.out % 16 == 0:
            table.take = table.stream
    outside = _take(job)
    if outside.position >= 0:
        raise outside_error(outside, ids, table.rows, True)
    return out


cdef cnp.ndarray _new_output(cnp.ndarray array, cnp.dtype row_dtype, cnp.ndarray ids):
    cdef:
        cnp.npy_intp dims[2 * MAX_DIMS]
        int ids_ndim = cnp.PyArray_NDIM(ids), row_ndim = cnp.PyArray_NDIM(array) - 1, axis
    if ids_ndim + row_ndim > _max_dims:
        raise ValueError(
            f"ids of {ids_ndim} dimensions and rows of {row_ndim} exceed the {_max_dims} that NumPy allows"
        )
    for axis in range(ids_ndim):
        dims[axis] = cnp.PyArray_DIM(ids, axis)
    for axis in range(row_ndim):
        dims[ids_ndim + axis] = cnp.PyArray_DIM(array, axis + 1)
    return new_output(row_dtype, ids_ndim + row_ndim, dims)


cdef bint begins_with(cnp.ndarray out, cnp.ndarray ids) noexcept:
    """Whether the shape of an array begins with that of the ids."""
    cdef int ids_ndim = cnp.PyArray_NDIM(ids), axis
    if cnp.PyArray_NDIM(out) < ids_ndim:
        return False
    for axis in range(ids_ndim):
        if cnp.PyArray_DIM(out, axis) != cnp.PyArray_DIM(ids, axis):
            return False
    return True


cdef bint has_shape(cnp.ndarray out, cnp.ndarray ids, cnp.ndarray array) noexcept:
    """Whether an array has the shape of the ids followed by that of a row."""
    cdef int ids_ndim = cnp.PyArray_NDIM(ids), row_ndim = cnp.PyArray_NDIM(array) - 1, axis
    if cnp.PyArray_NDIM(out) != ids_ndim + row_ndim or not begins_with(out, ids):
        return False
    for axis in range(row_ndim):
        if cnp.PyArray_DIM(out, ids_ndim + axis) != cnp.PyArray_DIM(array, axis + 1):
            return False
    return True


cdef bint _lies_in(fe_table* table, const char* start, const char* end) noexcept:
    """Whether any of a table's memory is in [start, end)."""
    cdef:
        const fe_codes* codes = table.codes
        const char* zero
    if _overlap(table.data, table.data + table.rows * table.row_bytes, start, end):
        return True
    if codes is NULL:
        return False
    if _overlap(codes.scale, codes.scale + table.rows * <Py_ssize_t>codes.scale_bytes, start, end):
        return True
    zero = <const char*>codes.zero
    return zero is not NULL and _overlap(zero, zero + table.rows * <Py_ssize_t>codes.groups, start, end)


cdef _check_out(fe_table* table, cnp.ndarray array, cnp.dtype row_dtype, cnp.ndarray ids, cnp.ndarray out):
    # All of this by NumPy's C API: a subclass may say anything of itself in Python.
    cdef:
        const char* start = <const char*>cnp.PyArray_DATA(out)
        const char* end = start + PyArray_NBYTES(out)
        bint contiguous = PyArray_IS_C_CONTIGUOUS(out)
        bint aligned = PyArray_ISALIGNED(out)
        bint writeable = cnp.PyArray_ISWRITEABLE(out)
    if not has_shape(out, ids, array):
        shape = (<object>ids).shape + (<object>array).shape[1:]
        raise ValueError(f"out must have shape {shape}, got {(<object>out).shape}")
    if not (out.dtype is row_dtype or out.dtype == row_dtype):
        raise ValueError(f"out must have dtype {row_dtype}, got {out.dtype}")
    if not (contiguous and aligned and writeable):
        raise ValueError(
            "out must be C-contiguous, aligned and writable, got "
            f"c_contiguous={contiguous}, aligned={aligned}, writeable={writeable}"
        )
    if start == end:
        return
    if _lies_in(table, start, end):
        raise ValueError("out must not overlap the table")
    if may_share_memory(ids, start, end):
        raise ValueError("out must not overlap the ids")


cdef _check_arrays(ids, out):
    if not isinstance(ids, np.ndarray):
        raise TypeError(f"ids must be an array of integers, got {type(ids).__name__}")
    if out is not None and not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray, got {type(out).__name__}")


def gather(array, ids, out=None, out_of_range=_raise):
    """Rows of an ndarray at ``ids``: as `Table.gather`, without making a table."""
    cdef:
        Lookup job
        OutOfRange policy = policy_of(out_of_range)
        cnp.ndarray held
    _check_arrays(ids, out)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"a table is made over an ndarray, got {type(array).__name__}")
    held = np.ndarray.view(array, np.ndarray)  # as in Table._open
    job.table = rows_of(held, False)
    return _look_up(&job, held, held.dtype, ids, out, policy)


@cython.auto_pickle(False)
cdef class Owed:
    """Base of what is owed to the rows of a table: moves that are made when a row is next needed.

    While a `Table` holds one, every lookup finishes the rows that it returns, and leaves those that are
    stored as they are. A subclass says by which kernel, and overrides `settle_for_writing`.
    """
    def settle_for_writing(self):
        """Make all moves; afterwards the table holds none.

        Called before anything is added to rows of the table in place, with whatever locks its caller has.

        Raises
        ------
        TypeError
            By this base, which cannot settle anything.
        """
        raise TypeError(
            f"nothing can be added in place to rows that are owed moves: {self!r} cannot settle them"
        )


@cython.auto_pickle(False)
cdef class Table:
    """Rows in memory, looked up by id.

    Parameters
    ----------
    array : ndarray of shape (rows, ...), C-contiguous
        Not copied. Any dtype without Python objects.
    widen : bool, default False
        The array holds bfloat16 numbers as uint16 words, and a lookup returns them as float32.
    writable : bool, optional
        Whether rows may be added to in place. Default: whether the array is writable. A variable's memory is
        read-only to arrays and written through its table.

    Raises
    ------
    TypeError
        If ``array`` is no ndarray, holds Python objects, or ``widen`` is asked of other than uint16.
    ValueError
        If it has no axis of rows or is not C-contiguous.
    """
    def __cinit__(self, *_, **__):
        # Whatever happens to __init__, there is memory to look at.
        self._open(np.empty((0, 0), np.uint8), False, False, None)

    def __init__(self, array, *, bint widen=False, writable=None):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"a table is made over an ndarray, got {type(array).__name__}")
        self._open(array, widen, array.flags.writeable if writable is None else writable, None)

    cdef _open(self, cnp.ndarray array, bint widen, bint writable, Owed owed):
        cdef:
            # A plain array of our own: one that others hold can be given another shape at any time, and a
            # subclass may say anything of itself.
            cnp.ndarray held = np.ndarray.view(array, np.ndarray), _old_held = self.held
            fe_table table = rows_of(held, widen)
            cnp.dtype row_dtype = np.dtype(np.float32) if widen else held.dtype
            Owed _old_owed = self.owed
        if owed is not None:
            if owed.take is NULL:
                raise TypeError(f"{owed!r} has no kernel that could finish rows")
            table.take, table.stream, table.owed = owed.take, NULL, owed.state
        # From here to the end nothing can fail or let go of the GIL (what is old is released after it),
        # so a lookup from another thread sees the old table or the new one and nothing in between.
        self.held, self.row_dtype, self.owed = held, row_dtype, owed
        self.table, self.widen, self.writable = table, widen, writable

    @property
    def array(self):
        """The rows as they are stored: a view of the memory."""
        return (<object>self.held).view()

    @property
    def shape(self):
        """Shape of all rows together: (rows, ...)."""
        return (<object>self.held).shape

    def __len__(self):
        return self.table.rows

    def __repr__(self):
        return f"<{type(self).__name__} of {len(self):,} rows, shape {self.shape}, {self.row_dtype}>"

    def replace(self, array, Owed owed=None):
        """Swap the memory for that of ``array``, of the same shape and dtype, whose rows are owed ``owed``.

        Lookups that run meanwhile finish on the old memory and by what that was owed: each row is wholly old
        or wholly new.
        """
        if not isinstance(array, np.ndarray) or array.shape != self.shape or array.dtype != self.held.dtype:
            raise ValueError(
                f"a table of shape {self.shape} and dtype {self.held.dtype} cannot take over "
                f"shape {np.shape(array)} and dtype {getattr(array, 'dtype', type(array).__name__)}"
            )
        self._open(array, self.widen, self.writable, owed)

    def gather(self, ids, out=None, out_of_range=_raise):
        """Rows at ``ids``.

        Parameters
        ----------
        ids : ndarray of integers or bool, any shape, stride and byte order
        out : ndarray of shape (*ids.shape, *row shape) and dtype ``row_dtype``, optional
            C-contiguous, aligned, writable and apart from table and ids.
        out_of_range : {"raise", "zeros", "clip", "wrap", "nan"}, int or OutOfRange, default "raise"
            What becomes of ids outside the table: see `OutOfRange`.

        Returns
        -------
        ndarray
            ``out`` where it was given.

        Raises
        ------
        TypeError, ValueError
            Before anything is written.
        IndexError
            Naming the first id outside the table; the content of ``out`` is then not specified.
        """
        _check_arrays(ids, out)
        return self.lookup(ids, out, policy_of(out_of_range))

    cdef cnp.ndarray lookup(self, cnp.ndarray ids, cnp.ndarray out, OutOfRange policy):
        cdef:
            Lookup job
            # These keep what the table points to until the lookup is done, whoever swaps it meanwhile.
            cnp.ndarray array = self.held
            Owed _owed = self.owed
        job.table = self.table
        return _look_up(&job, array, self.row_dtype, ids, out, policy)


# --- Rows of codes --------------------------------------------------------------------------------

cdef cnp.ndarray _plain(array, str what, tuple shape, int typenum, int ndim):
    """A view of our own of an array that has this type, so many axes, and a shape that begins so."""
    cdef cnp.ndarray held
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{what} must be an ndarray, got {type(array).__name__}")
    held = np.ndarray.view(array, np.ndarray)
    dtype = cnp.PyArray_DescrFromType(typenum)
    if cnp.PyArray_TYPE(held) != typenum or not PyArray_ISNOTSWAPPED(held):
        raise TypeError(f"{what} must have dtype {dtype}, got {held.dtype}")
    if cnp.PyArray_NDIM(held) != ndim or (<object>held).shape[:len(shape)] != shape:
        expected = ", ".join(map(str, [*shape, "groups"][:ndim]))
        raise ValueError(f"{what} must have shape ({expected}), got {(<object>held).shape}")
    if not (PyArray_IS_C_CONTIGUOUS(held) and PyArray_ISALIGNED(held)):
        raise ValueError(
            f"{what} must be C-contiguous and aligned, got strides {(<object>held).strides}; "
            f"np.ascontiguousarray({what}) makes such a copy, once"
        )
    return held


@cython.final
@cython.auto_pickle(False)
cdef class Codes:
    """What the rows of a `CodeTable` are, and the arrays that hold it. Never changed."""
    cdef:
        fe_codes how
        cnp.ndarray stored, scale, zero, runs


cdef cnp.ndarray _runs(group_of, Py_ssize_t columns, Py_ssize_t groups):
    """Runs of columns of the same group, as the kernels take them."""
    group_of = np.array(group_of, np.intp)
    if group_of.shape != (columns,):
        raise ValueError(f"there must be a group for each of {columns} columns, got shape {group_of.shape}")
    if columns and not (0 <= group_of.min() and group_of.max() < groups):
        raise ValueError(f"groups must be in [0, {groups}), got {group_of.min()} to {group_of.max()}")
    last = np.flatnonzero(np.diff(group_of, append=groups))
    return np.stack([last + 1, group_of[last]], axis=1).astype(np.uintp)


cdef int _take_codes_as(fe_table* table, cnp.dtype row_dtype) except -1:
    """Choose the kernels for rows of codes that come as this dtype."""
    if row_dtype == np.float32:
        table.take, table.stream = kernels.float32_codes, kernels.stream_float32_codes
    elif row_dtype == np.float64:
        table.take, table.stream = kernels.float64_codes, kernels.stream_float64_codes
    elif row_dtype == np.float16:
        table.take, table.stream = kernels.float16_codes, kernels.stream_float16_codes
    elif row_dtype.name == "bfloat16":
        table.take, table.stream = kernels.bfloat16_codes, kernels.stream_bfloat16_codes
    else:
        raise TypeError(f"rows of codes can come as floats, not as {row_dtype}")


cdef class CodeTable(Table):
    """Rows of int8 or int4 codes, looked up as floats.

    Parameters
    ----------
    codes : ndarray of int8, shape (rows, columns), C-contiguous
        Or ``(rows, (columns + 1) // 2)``: two int4 codes a byte, the lower half first. Not copied, nor are
        the others.
    scale : ndarray of float32, shape (rows, groups), C-contiguous
        Of float64 for rows of float64.
    zero : ndarray of int8, shape (rows, groups), C-contiguous, optional
        The code of 0. Without it a number is code / scale, with it (code - zero) * scale.
    columns : int
    is_packed : bool
        Whether there are two codes a byte.
    group_of : ndarray of integers, shape (columns,), optional
        Which scale belongs to each column. Default: the first of one.
    row_dtype : dtype
        float32, float64, float16 or that of ml_dtypes's bfloat16.

    Raises
    ------
    TypeError, ValueError
        If the arrays do not fit together.
    """
    cdef Codes codes  # None until it is opened: then there are no rows

    def __init__(self, codes, scale, zero, *, Py_ssize_t columns, bint is_packed, row_dtype, group_of=None):
        self._open_codes(codes, scale, zero, columns, is_packed, row_dtype, group_of)

    cdef _open_codes(
        self, codes, scale, zero, Py_ssize_t columns, bint is_packed, cnp.dtype row_dtype, group_of
    ):
        cdef:
            Codes made = Codes.__new__(Codes), _old_codes = self.codes
            cnp.ndarray stored, scales, zeros, runs, shape_of_rows, _old_held = self.held
            fe_table table
            bint wide = row_dtype == np.float64
            Py_ssize_t groups, row_bytes
        if columns < 0:
            raise ValueError(f"columns cannot be negative, got {columns}")
        rows = np.shape(codes)[:1]
        stored = _plain(
            codes, "codes", (*rows, (columns + 1) // 2 if is_packed else columns), cnp.NPY_INT8, 2
        )
        scales = _plain(scale, "scale", rows, cnp.NPY_DOUBLE if wide else cnp.NPY_FLOAT, 2)
        groups = cnp.PyArray_DIM(scales, 1)
        runs = _runs(np.zeros(columns, np.intp) if group_of is None else group_of, columns, groups)
        made.stored, made.scale, made.runs = stored, scales, runs
        made.how.columns, made.how.is_packed = columns, is_packed
        made.how.groups, made.how.scale_bytes = groups, groups * cnp.PyArray_ITEMSIZE(scales)
        made.how.scale, made.how.zero = <const char*>cnp.PyArray_DATA(scales), NULL
        if zero is not None:
            zeros = _plain(zero, "zero", (*rows, groups), cnp.NPY_INT8, 2)
            made.zero = zeros
            made.how.zero = <const int8_t*>cnp.PyArray_DATA(zeros)
        made.how.runs = <const fe_run*>cnp.PyArray_DATA(runs)
        table = rows_of(stored, False)
        row_bytes = table.row_bytes + <Py_ssize_t>made.how.scale_bytes + (groups if zero is not None else 0)
        table.ahead = rows_ahead(row_bytes, row_bytes * table.rows)
        table.codes = &made.how
        table.out_row_bytes = columns * row_dtype.itemsize
        _take_codes_as(&table, row_dtype)
        # Of the shape and dtype that rows are looked up in, and without memory of its own.
        shape_of_rows = np.broadcast_to(np.zeros((), row_dtype), (*rows, columns))
        # As in _open: nothing can fail or let go of the GIL from here to the end.
        self.held, self.row_dtype, self.codes = shape_of_rows, row_dtype, made
        self.table, self.widen, self.writable = table, False, False

    @property
    def array(self):
        """The rows as they are stored: a view of their codes."""
        codes = (<object>(self.held if self.codes is None else self.codes.stored)).view(np.int8)
        codes.flags.writeable = False
        return codes

    cdef cnp.ndarray lookup(self, cnp.ndarray ids, cnp.ndarray out, OutOfRange policy):
        cdef:
            Lookup job
            cnp.ndarray array = self.held
            # Keeps the memory until the lookup is done, as the array of a plain table does.
            Codes _codes = self.codes
        job.table = self.table
        return _look_up(&job, array, self.row_dtype, ids, out, policy)


# --- The shortest way from a call to a table ------------------------------------------------------

# How many reasons there are at the moment for every call to take the long way.
cdef Py_ssize_t _detours = 0
cdef object _own = local()  # in `detours`: how many of them are this thread's


def add_detours(Py_ssize_t change):
    """Add to the number of reasons for which no call may be answered by its table alone."""
    global _detours
    _own.detours = getattr(_own, "detours", 0) + change
    _detours += change


def _keep_own_detours():
    global _detours
    _detours = getattr(_own, "detours", 0)


if hasattr(os, "register_at_fork"):
    # A call that another thread was in when the process forked never ends in the child.
    os.register_at_fork(after_in_child=_keep_own_detours)


cdef object _NOT_SAID = object()


@cython.final
@cython.auto_pickle(False)
cdef class Records:
    """A thread, and what a layer's `backward` will need in it. Together, so that they cannot be mixed up."""
    cdef:
        uint64_t thread
        list calls


@cython.auto_pickle(False)
cdef class TableCall:
    """Base of callables that turn ids into rows.

    Once `_answer_with` has named a table, a call with nothing but integers (an array, a list, a tuple or a
    number) is answered by that table in one C call; with ``training=True`` the ids are recorded as well.
    Every other call goes to the ``_call`` of the subclass.
    """
    cdef:
        readonly Table _table      # which answers alone, or None
        OutOfRange _policy         # of its answers
        readonly object _recorded  # a threading.local: in `calls` what each thread's backward will need
        readonly size_t _changes   # how often the answer was called into question
        bint _records              # whether what a recorded call needs is a copy of its ids
        Records _last              # of the thread that recorded last by way of the table, or None

    def __cinit__(self, *_, **__):
        self._recorded = local()
        self._policy = _RAISE

    def _reconsider(self):
        """Something changed: let no table answer alone until `_answer_with` names one."""
        self._table = None
        self._changes += 1

    def _answer_with(self, Table table, size_t changes, bint records=False, out_of_range=_raise):
        """Let ``table`` (or none) answer alone, unless something changed since ``_changes`` was read.

        ``records`` says that a call with ``training=True`` is answered by the table, too, and remembered by a
        copy of its ids together with ``out_of_range``, the policy of its answers.
        """
        cdef OutOfRange policy = policy_of(out_of_range)
        if changes == self._changes:
            self._policy, self._records = policy, records
            self._table = table

    def __call__(self, *args, training=_NOT_SAID, **kwargs):  # named, because that is quicker than in kwargs
        cdef:
            Table table = self._table
            bint recorded = training is True
            bint known = recorded and self._records or training is None or training is False
            object ids = None
        if table is not None and not _detours and len(args) == 1 and not kwargs:
            if known or training is _NOT_SAID:
                ids = _plain_ids(args[0])
        if ids is None:
            if training is not _NOT_SAID:
                kwargs["training"] = training
            return self._call(*args, **kwargs)
        if recorded:
            return self._record(table, _copy_of(ids))
        return table.lookup(ids, None, self._policy)

    cdef _record(self, Table table, cnp.ndarray ids):
        """The rows at ``ids``, which are nobody else's to change, and a note of them for `backward`."""
        cdef:
            OutOfRange policy = self._policy
            object outputs = table.lookup(ids, None, policy)
            tuple entry = ((ids, policy), table)  # the shape of the rows follows from ids and table, in time
            Records last = self._last
            uint64_t thread = PyThreadState_GetID(PyThreadState_Get())  # is never given twice
        if last is None or last.thread != thread:  # a look into a threading.local costs 50 ns
            last = Records.__new__(Records)
            last.thread, last.calls = thread, self._recorded.__dict__.setdefault("calls", [])
            self._last = last
        last.calls.append(entry)
        return outputs


cdef cnp.ndarray _copy_of(cnp.ndarray ids):
    """A private copy. PyArray_NewCopy does the same for any array, in twice the time where ids are few."""
    cdef cnp.ndarray copy
    if not PyArray_IS_C_CONTIGUOUS(ids):
        return cnp.PyArray_NewCopy(ids, cnp.NPY_CORDER)
    copy = new_array(<cnp.dtype>cnp.PyArray_DESCR(ids), cnp.PyArray_NDIM(ids), cnp.PyArray_DIMS(ids), NULL)
    memcpy(cnp.PyArray_DATA(copy), cnp.PyArray_DATA(ids), PyArray_NBYTES(ids))
    return copy


cdef _plain_ids(object ids):
    """``ids`` as an array of integers or bool, if nothing about them needs a closer look; else None."""
    if type(ids) is list or type(ids) is tuple or type(ids) is int:
        try:
            ids = cnp.PyArray_FROM_O(ids)
        except Exception:  # ragged, or no numbers: the long way says so
            return None
    elif not PyArray_CheckExact(ids):
        return None
    return ids if are_integers(ids) else None

"""Values added up by row: in place, and as sums of each row.

All ids are copied and checked before anything is written (additions.h).
"""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from _numpy cimport (
    PyArray_CheckExact,
    PyArray_IS_C_CONTIGUOUS,
    PyArray_ISALIGNED,
    PyArray_ISNOTSWAPPED,
    PyArray_NBYTES,
)

from fastembed._memory cimport new_output
from fastembed._rows cimport (
    FE_LINE,
    FE_ROW,
    GIL_BYTES,
    GIL_IDS,
    MAX_DIMS,
    Ids,
    OutOfRange,
    Outside,
    Table,
    are_integers,
    begins_with,
    fe_policy,
    fe_table,
    for_table,
    has_shape,
    kernels,
    may_share_memory,
    open_ids,
    outside_error,
    policy_of,
    rows_ahead,
    rows_of,
)
from fastembed._team cimport Team, run, team_for

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cnp.import_array()

cdef enum:
    # Bundles of rows for each owner in an addition: 1/64 of its share, where no row is named often. No more
    # than 1024 in all, whose counts fit into the first-level cache.
    BUNDLES_A_PART = 64
    BUNDLE_BITS = 10
    # Digits of the sort: 11 bits, whose counts fill half of the first-level cache, where there are enough ids
    # to make up for clearing them; else 8.
    LARGE_DIGIT = 11
    SMALL_DIGIT = 8
    LARGE_SORT = 2048

cdef cnp.dtype _int64 = np.dtype(np.int64)


# --- In place -------------------------------------------------------------------------------------

cdef bint addable(values):
    # By the C API: see _check_out in _rows.pyx.
    if not PyArray_CheckExact(values):
        return False
    cdef int kind = cnp.PyArray_TYPE(<cnp.ndarray>values)
    if kind != cnp.NPY_FLOAT and kind != cnp.NPY_DOUBLE or not PyArray_ISNOTSWAPPED(values):
        return False
    return PyArray_IS_C_CONTIGUOUS(values) and PyArray_ISALIGNED(values)


cdef bint _add_as_is(fe_table table, cnp.ndarray array, bint writable, ids, values) except -1:
    """Add to the rows of ``array``, if ids and values are arrays that need no converting: was it done?"""
    cdef:
        Ids view
        cnp.ndarray opened
        fe_additions job
        Team team
    if not (isinstance(ids, np.ndarray) and addable(values)):
        return False
    if may_share_memory(values, table.data, table.data + table.rows * table.row_bytes):
        values = values.copy()
    team = team_for(PyArray_NBYTES(values), cnp.PyArray_SIZE(ids))
    opened = open_ids(ids, &view)
    if not (addable(values) and has_shape(values, opened, array)):
        return False
    if cnp.PyArray_TYPE(array) != cnp.PyArray_TYPE(values) or not PyArray_ISNOTSWAPPED(array):
        return False
    if not writable:
        raise ValueError("the table is read-only")
    if not PyArray_ISALIGNED(array):
        raise ValueError("the table is not aligned to its dtype, so nothing can be added to it in place")
    _open_addition(&job, &view, values, table.rows, 1)
    if view.n and job.row_bytes != <size_t>table.row_bytes:
        return False
    job.target = <char*>table.data
    _add_in_place(&job, team, opened)
    return True


cdef bint _add_to_table(Table table, ids, values) except -1:
    """The same for a table's rows."""
    cdef cnp.ndarray array
    if table.table.codes is not NULL:
        raise TypeError(
            f"nothing can be added in place to rows that are stored as codes: {table!r}. dequantized() gives "
            "an array of floats that can be added to and quantised again"
        )
    while table.owed is not None:
        table.owed.settle_for_writing()
    # The array keeps this memory until the addition is done, whoever swaps it meanwhile.
    array = table.held
    if not _add_as_is(table.table, array, table.writable, ids, values):
        return False
    table.additions += 1
    return True


def accumulate(Table table not None, ids, values):
    """Add ``values[i]`` to the row ``ids[i]`` of a table, in place.

    A row's values are added in the order in which they appear, as ``np.add.at`` does, so the result has the
    same bits for any number of threads.

    Parameters
    ----------
    table : Table
    ids : ndarray of integers or bool, any shape, stride and byte order
    values : ndarray of shape (*ids.shape, *row shape), C-contiguous
        Of the table's dtype, float32 or float64.

    Raises
    ------
    TypeError, ValueError, IndexError
        Before anything is written.
    """
    if not _add_to_table(table, ids, values):
        raise _addition_error(table.held, ids, values)


def add_as_is(table, ids, values):
    """Add to rows as `accumulate` does, if the arguments need no converting; else do nothing.

    Parameters
    ----------
    table : Table or ndarray
    ids, values : anything

    Returns
    -------
    bool
        Whether that was so, and the values are added.

    Raises
    ------
    TypeError
        If the table cannot be added to, whatever the other arguments are.
    ValueError, IndexError
        Before anything is written.
    """
    cdef cnp.ndarray array
    if isinstance(table, Table):
        return _add_to_table(table, ids if _are_plain_ids(ids) else None, values)
    if not _are_plain_ids(ids) or not isinstance(table, np.ndarray):
        return False
    array = table
    if not PyArray_IS_C_CONTIGUOUS(array) or cnp.PyArray_NDIM(array) < 1:
        return False
    return _add_as_is(rows_of(array, False), array, cnp.PyArray_ISWRITEABLE(array), ids, values)


cdef inline bint _are_plain_ids(ids) noexcept:
    return PyArray_CheckExact(ids) and are_integers(ids)


cdef object _addition_error(cnp.ndarray array, ids, values):
    """Why these values cannot be added to rows of ``array``."""
    dtype = array.dtype
    if not isinstance(ids, np.ndarray):
        return TypeError(f"ids must be an array of integers, got {type(ids).__name__}")
    if type(values) is not np.ndarray or values.dtype != dtype:
        given = getattr(values, "dtype", type(values).__name__)
        return TypeError(f"values must be an array of {dtype}, got {given}")
    if dtype not in (np.float32, np.float64) or not dtype.isnative:
        return TypeError(f"rows can be added up in float32 and float64, not in {dtype}")
    shape = ids.shape + (<object>array).shape[1:]
    if values.shape != shape:
        return ValueError(f"values must have shape {shape}, got {values.shape}")
    return ValueError("values must be C-contiguous and aligned")


cdef int _open_addition(
    fe_additions* job, Ids* view, cnp.ndarray values, Py_ssize_t rows, Py_ssize_t times
) except -1:
    """Say what is to be added to a table of so many rows."""
    memset(job, 0, sizeof(fe_additions))
    job.ids, job.id_stride, job.load, job.n = view.data, view.stride, view.load, view.n
    job.first_outside = kernels.first_outside
    job.table_rows = rows
    job.values, job.itemsize = <const char*>cnp.PyArray_DATA(values), cnp.PyArray_ITEMSIZE(values)
    job.times = times
    job.row_bytes = PyArray_NBYTES(values) // (view.n // times) if view.n else 0
    return 0


cdef char* _memory_for(fe_additions* job, Py_ssize_t parts, size_t more) except NULL:
    """Memory for the ids of a job in so many parts, and at its end ``more`` bytes. To be freed."""
    cdef:
        size_t ids = (<size_t>job.n + parts) * sizeof(uint64_t)
        char* memory = NULL
    if job.n < PY_SSIZE_T_MAX // 128:
        memory = <char*>malloc(ids + more)
    if memory is NULL:
        raise MemoryError(f"no memory to add up values at {job.n:,} ids")
    job.rows = <uint64_t*>memory
    job.outside = <Py_ssize_t*>(job.rows + job.n)
    return memory


cdef Outside _copy_ids(fe_additions* job, Team team) noexcept nogil:
    """Copy and check all ids; return the first outside the table."""
    cdef:
        Outside outside
        Py_ssize_t part
    outside.position, outside.id = -1, 0
    run(fe_copy_part, job, team)
    for part in range(team.parts):  # parts are in the order of their ids
        if job.outside[part] < job.n:
            outside.position, outside.id = job.outside[part], job.rows[job.outside[part]]
            break
    return outside


cdef int _bits(uint64_t number) noexcept:
    """Of the number in binary: 0 for 0."""
    cdef int bits = 0
    while number:
        bits, number = bits + 1, number >> 1
    return bits


cdef Outside _copy_and_add(fe_additions* job, Team team) noexcept nogil:
    cdef Outside outside = _copy_ids(job, team)
    if outside.position < 0:
        if job.owners != NULL:
            fe_deal(job, team.parts)
        run(fe_add_part, job, team)
    return outside


cdef int _add_in_place(fe_additions* job, Team team, cnp.ndarray ids) except -1:
    cdef:
        Outside outside
        Py_ssize_t nbytes = job.n * <Py_ssize_t>job.row_bytes
        size_t more = 0
        char* memory
    job.add = kernels.add_float32 if job.itemsize == 4 else kernels.add_float64
    job.ahead = rows_ahead(job.row_bytes, job.table_rows * <Py_ssize_t>job.row_bytes)
    team.parts = team.threads  # each walks over all ids; few enough for uint16_t owners (threads.py)
    if team.parts > 1:
        job.bits = min(BUNDLE_BITS, _bits(BUNDLES_A_PART * team.parts - 1))
        if 0 < job.row_bytes < FE_LINE:
            job.line_bits = _bits(FE_LINE // job.row_bytes) - 1
        more = (team.parts * sizeof(Py_ssize_t) + sizeof(uint16_t)) << job.bits
    memory = _memory_for(job, team.parts, more)
    if team.parts > 1:
        job.counts = job.outside + team.parts
        job.owners = <uint16_t*>(job.counts + (team.parts << job.bits))
    try:
        if team.parts == 1 and nbytes < GIL_BYTES and job.n < GIL_IDS:
            outside = _copy_and_add(job, team)
        else:
            with nogil:
                outside = _copy_and_add(job, team)
    finally:
        free(memory)
    if outside.position >= 0:
        raise outside_error(outside, ids, job.table_rows, False)
    return 0


# --- Sums of each row -----------------------------------------------------------------------------

cdef char* open_sums(
    fe_additions* job, Team* team, Ids* view, cnp.ndarray values, Py_ssize_t rows, fe_policy policy,
    Py_ssize_t times=1,
) except NULL:
    cdef:
        int digit = LARGE_DIGIT if view.n >= LARGE_SORT else SMALL_DIGIT, passes
        Py_ssize_t counts
        char* memory
    _open_addition(job, view, values, rows, times)
    job.policy, job.threads = policy, team.threads
    job.key_bits = max(1, _bits(rows if policy.way == FE_ROW else rows - 1))
    passes = (job.key_bits + digit - 1) // digit
    job.bits = (job.key_bits + passes - 1) // passes
    # More entries than counts in a part of the sort.
    team.parts = min(team.parts, max(<Py_ssize_t>team.threads, view.n >> (job.bits + 1)))
    counts = team.parts << job.bits
    memory = _memory_for(
        job, team.parts, 2 * view.n * sizeof(fe_entry) + (team.parts + 1 + counts) * sizeof(Py_ssize_t)
    )
    job.spare[0] = <fe_entry*>(job.outside + team.parts)
    job.spare[1] = job.spare[0] + view.n
    job.begun = <Py_ssize_t*>(job.spare[1] + view.n)
    job.counts = job.begun + team.parts + 1
    return memory


cdef Outside copy_and_sort(fe_additions* job, Team team) noexcept nogil:
    cdef Outside outside = _copy_ids(job, team)
    job.begun[team.parts] = 0
    if outside.position >= 0 or job.n == 0:
        return outside
    while job.done_bits < job.key_bits:
        run(fe_count_part, job, team)
        fe_place(job, team.parts)
        run(fe_order_part, job, team)
        fe_next_pass(job)
    fe_leave_out(job)
    run(fe_begin_part, job, team)
    fe_number_rows(job, team.parts)
    return outside


def sum_rows(ids, values, Py_ssize_t rows, out_of_range="raise", Py_ssize_t times=1):
    """The rows that ``ids`` name, once each and sorted, and the sum of the values that belong to each.

    Parameters
    ----------
    ids : ndarray of integers or bool, any shape, stride and byte order
    values : ndarray of float32 or float64, shape (*ids.shape, ...), C-contiguous
    rows : int
    out_of_range : {"raise", "zeros", "clip", "wrap", "nan"}, int or OutOfRange, default "raise"
        Which row a value belongs to whose id is not in ``[0, rows)``; to none with "zeros" and "nan".
    times : int, default 1
        How many ids in a row each value belongs to; ``values`` then has shape ``(ids.size // times, ...)``.

    Returns
    -------
    indices : ndarray of int64, shape (unique,)
        Ascending.
    sums : ndarray of the dtype of ``values``, shape (unique, ...)
        Added up from zero in the order of appearance: the same bits for any number of threads.

    Raises
    ------
    TypeError, ValueError, IndexError
    """
    cdef:
        Ids view
        cnp.ndarray opened, indices, sums
        cnp.dtype dtype
        fe_additions job
        Outside outside
        Team team
        OutOfRange policy = policy_of(out_of_range)
        Py_ssize_t unique
        int ids_ndim, row_ndim, axis
        cnp.npy_intp dims[MAX_DIMS + 1]
        char* memory
    if rows < 0:
        raise ValueError(f"the number of rows cannot be negative, got {rows}")
    if not isinstance(values, np.ndarray):
        raise TypeError(f"values must be an array, got {type(values).__name__}")
    policy.check(rows, values.dtype)
    if isinstance(ids, np.ndarray):
        team = team_for(PyArray_NBYTES(values) * times, cnp.PyArray_SIZE(ids))
        opened = open_ids(ids, &view)
    if times != 1:
        if not (isinstance(ids, np.ndarray) and addable(values) and times > 0 and cnp.PyArray_NDIM(values)
                and cnp.PyArray_DIM(values, 0) * times == view.n):
            raise ValueError(
                f"values of shape {np.shape(values)} cannot belong to {times} ids each of {np.shape(ids)}"
            )
    elif not isinstance(ids, np.ndarray) or not addable(values) or not begins_with(values, opened):
        row_shape = values.shape[getattr(ids, "ndim", 0):]
        raise _addition_error(np.empty((0, *row_shape), values.dtype), ids, values)
    ids_ndim, dtype = cnp.PyArray_NDIM(opened) if times == 1 else 1, values.dtype
    row_ndim = cnp.PyArray_NDIM(values) - ids_ndim
    for axis in range(row_ndim):
        dims[1 + axis] = cnp.PyArray_DIM(values, ids_ndim + axis)
    memory = open_sums(&job, &team, &view, values, rows, for_table(policy, rows, view.is_signed), times)
    job.add = kernels.sum_float32 if job.itemsize == 4 else kernels.sum_float64
    job.ahead = rows_ahead(job.row_bytes, job.n * <Py_ssize_t>job.row_bytes)
    try:
        with nogil:
            outside = copy_and_sort(&job, team)
        if outside.position >= 0:
            raise outside_error(outside, opened, rows, True)
        dims[0] = unique = job.begun[team.parts]
        indices = new_output(_int64, 1, dims)
        sums = new_output(dtype, 1 + row_ndim, dims)
        job.indices, job.target = <int64_t*>cnp.PyArray_DATA(indices), <char*>cnp.PyArray_DATA(sums)
        if unique:
            with nogil:
                run(fe_sum_part, &job, team)
    finally:
        free(memory)
    return indices, sums

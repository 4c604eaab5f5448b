"""Pooling: sums, means and maxima over the steps of (batch, steps, features), and their gradients.

Memory sets the speed, so every number is read once and no array is made on the way. Bytes that have to
move: for a sum, a mean or a maximum the input; for the gradient of a mean the gradient; for that of a maximum
the input and the gradient (the input twice, the second time out of a cache where one example fits into it).

Numbers of a column are added in the order of their steps, in double, and rounded once: the same bits for any
number of threads and on every instruction set.
"""

cimport numpy as cnp
from libc.stdint cimport uint8_t
from libc.string cimport memset

from _numpy cimport PyArray_CheckExact, PyArray_IS_C_CONTIGUOUS, PyArray_ISALIGNED, PyArray_ISNOTSWAPPED

from fastembed._memory cimport new_output
from fastembed._team cimport Team, run, team_for

from fastembed._rows import isa

cdef extern from "pooling.h" nogil:
    enum: FE_POOL_COLUMNS
    ctypedef struct fe_pooling_job:
        const char* inputs
        const char* upstream
        const uint8_t* mask
        char* out
        Py_ssize_t batch
        Py_ssize_t steps
        Py_ssize_t features
        Py_ssize_t columns
        bint is_mean
    ctypedef void (*fe_pool)(void* job, Py_ssize_t part, Py_ssize_t parts) noexcept
    ctypedef struct fe_pooling:
        fe_pool sum_float32
        fe_pool sum_float64
        fe_pool max_float32
        fe_pool max_float64
        fe_pool spread_float32
        fe_pool spread_float64
        fe_pool spread_max_float32
        fe_pool spread_max_float64
    const fe_pooling* fe_pooling_for(int isa)
    int fe_best_isa(const char* limit)

cnp.import_array()

cdef enum:
    # Calls that move less keep the GIL (docs/decisions.md, "The GIL is kept for short copies").
    GIL_BYTES = 4 * 1024 * 1024
    # Of fewer examples than this, columns are shared out, too: so many at a time, whole cache lines.
    FEW_EXAMPLES = 64
    FEW_COLUMNS = 64

cdef bytes _isa = isa.encode()  # of _rows, which has looked at the environment
cdef const fe_pooling* _pooling = fe_pooling_for(fe_best_isa(<const char*>_isa))


cdef int _check(cnp.ndarray array, str name, int ndim) except -1:
    """Raise unless ``array`` is what the kernels read."""
    if not PyArray_CheckExact(array):
        raise TypeError(f"{name} must be an ndarray, got {type(array).__name__}")
    if cnp.PyArray_TYPE(array) not in (cnp.NPY_FLOAT32, cnp.NPY_FLOAT64) or not PyArray_ISNOTSWAPPED(array):
        raise TypeError(f"{name} must be of float32 or float64, got {array.dtype}")
    if cnp.PyArray_NDIM(array) != ndim:
        raise ValueError(f"{name} must have {ndim} axes, got shape {(<object>array).shape}")
    if not (PyArray_IS_C_CONTIGUOUS(array) and PyArray_ISALIGNED(array)):
        raise ValueError(f"{name} must be C-contiguous and aligned")
    return 0


cdef int _set_mask(fe_pooling_job* job, cnp.ndarray mask) except -1:
    if mask is None:
        return 0
    if cnp.PyArray_TYPE(mask) != cnp.NPY_BOOL:
        raise TypeError(f"mask must be of bool, got {mask.dtype}")
    if (
        cnp.PyArray_NDIM(mask) != 2
        or cnp.PyArray_DIM(mask, 0) != job.batch
        or cnp.PyArray_DIM(mask, 1) != job.steps
    ):
        raise ValueError(f"mask must have shape {(job.batch, job.steps)}, got {(<object>mask).shape}")
    if not PyArray_IS_C_CONTIGUOUS(mask):
        raise ValueError("mask must be C-contiguous")
    job.mask = <const uint8_t*>cnp.PyArray_DATA(mask)
    return 0


cdef int _set_inputs(fe_pooling_job* job, cnp.ndarray inputs) except -1:
    memset(job, 0, sizeof(fe_pooling_job))
    _check(inputs, "inputs", 3)
    job.inputs = <const char*>cnp.PyArray_DATA(inputs)
    job.batch, job.steps = cnp.PyArray_DIM(inputs, 0), cnp.PyArray_DIM(inputs, 1)
    job.features = cnp.PyArray_DIM(inputs, 2)
    return 0


cdef int _set_upstream(fe_pooling_job* job, cnp.ndarray upstream) except -1:
    _check(upstream, "upstream", 2)
    job.upstream = <const char*>cnp.PyArray_DATA(upstream)
    job.batch, job.features = cnp.PyArray_DIM(upstream, 0), cnp.PyArray_DIM(upstream, 1)
    return 0


cdef cnp.ndarray _pool(
    fe_pooling_job* job, cnp.ndarray like, fe_pool float32, fe_pool float64, bint has_steps
):
    """Make an output of the dtype of ``like``, and do the job, whose arrays the caller holds."""
    cdef:
        fe_pool pool = float32 if cnp.PyArray_TYPE(like) == cnp.NPY_FLOAT32 else float64
        cnp.ndarray out
        cnp.npy_intp dims[3]
        Py_ssize_t nbytes, pieces
        Team team
    dims[0], dims[1], dims[2] = job.batch, job.steps, job.features
    if not has_steps:
        dims[1] = job.features
    out = new_output(<cnp.dtype>cnp.PyArray_DESCR(like), 3 if has_steps else 2, dims)
    job.out = <char*>cnp.PyArray_DATA(out)
    # The array of all steps exists, so its size is a number.
    nbytes = job.batch * job.steps * job.features * <Py_ssize_t>cnp.PyArray_ITEMSIZE(out)
    job.columns = FEW_COLUMNS if job.batch < FEW_EXAMPLES else FE_POOL_COLUMNS
    pieces = job.batch * ((job.features + job.columns - 1) // job.columns)
    team = team_for(nbytes, pieces)
    if team.parts == 1 and nbytes < GIL_BYTES:
        run(pool, job, team)
    else:
        with nogil:
            run(pool, job, team)
    return out


cdef cnp.ndarray _sum(cnp.ndarray inputs, cnp.ndarray mask, bint is_mean):
    cdef fe_pooling_job job
    _set_inputs(&job, inputs)
    _set_mask(&job, mask)
    job.is_mean = is_mean
    return _pool(&job, inputs, _pooling.sum_float32, _pooling.sum_float64, False)


def sum_steps(cnp.ndarray inputs not None, cnp.ndarray mask=None):
    """The sum over the steps.

    Parameters
    ----------
    inputs : ndarray of float32 or float64, shape (batch, steps, features), C-contiguous
    mask : ndarray of bool, shape (batch, steps), C-contiguous, optional
        Steps without a place in it are not read.

    Returns
    -------
    ndarray of shape (batch, features)
        Zero where no step counts.

    Raises
    ------
    TypeError, ValueError
    """
    return _sum(inputs, mask, False)


def mean_steps(cnp.ndarray inputs not None, cnp.ndarray mask=None):
    """The mean over the steps; NaN where no step counts. See `sum_steps`."""
    return _sum(inputs, mask, True)


def max_steps(cnp.ndarray inputs not None):
    """The largest number of all steps; NaN where one is. See `sum_steps`; there must be a step."""
    cdef fe_pooling_job job
    _set_inputs(&job, inputs)
    if not job.steps:
        raise ValueError(f"nothing is the largest of no steps: inputs have shape {(<object>inputs).shape}")
    return _pool(&job, inputs, _pooling.max_float32, _pooling.max_float64, False)


def spread_mean(cnp.ndarray upstream not None, Py_ssize_t steps, cnp.ndarray mask=None):
    """The gradient of `mean_steps`: upstream by the number of steps that count, at each of them.

    Parameters
    ----------
    upstream : ndarray of float32 or float64, shape (batch, features), C-contiguous
    steps : int
    mask : ndarray of bool, shape (batch, steps), C-contiguous, optional

    Returns
    -------
    ndarray of shape (batch, steps, features)
        Zero at the steps that do not count.

    Raises
    ------
    TypeError, ValueError
    """
    cdef fe_pooling_job job
    memset(&job, 0, sizeof(job))
    if steps < 0:
        raise ValueError(f"the number of steps cannot be negative, got {steps}")
    job.steps = steps
    _set_upstream(&job, upstream)
    _set_mask(&job, mask)
    return _pool(&job, upstream, _pooling.spread_float32, _pooling.spread_float64, True)


def spread_max(cnp.ndarray inputs not None, cnp.ndarray upstream not None):
    """The gradient of `max_steps`: upstream at the steps that have the maximum, in equal shares.

    Parameters
    ----------
    inputs : ndarray of float32 or float64, shape (batch, steps, features), C-contiguous
    upstream : ndarray of the same dtype, shape (batch, features), C-contiguous

    Returns
    -------
    ndarray of shape (batch, steps, features)
        NaN at all steps where the maximum is NaN.

    Raises
    ------
    TypeError, ValueError
    """
    cdef fe_pooling_job job
    _set_inputs(&job, inputs)
    _set_upstream(&job, upstream)
    if upstream.dtype != inputs.dtype:
        raise TypeError(f"upstream must be of {inputs.dtype} as inputs are, got {upstream.dtype}")
    shape = (<object>inputs).shape
    if (job.batch, job.features) != (shape[0], shape[2]):
        raise ValueError(f"upstream must have shape {(shape[0], shape[2])}, got {(<object>upstream).shape}")
    if not job.steps:
        raise ValueError(f"nothing is the largest of no steps: inputs have shape {shape}")
    return _pool(&job, inputs, _pooling.spread_max_float32, _pooling.spread_max_float64, True)

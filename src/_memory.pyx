"""Memory of our own: aligned to cache lines, large blocks on huge pages, large outputs recycled.

NumPy's own large arrays start 16 bytes into a cache line, so that every row whose size is a
multiple of 64 bytes touches one line more than it needs to; and a table of 100 MB on pages of 4 KiB
misses the translation cache at nearly every random row.

A large output in fresh memory costs more in page faults than the rows cost to copy. So a block whose
array is gone is parked, up to a limit, and the next large output takes it. Parked memory is the
system's to take (MADV_FREE), but for as much as malloc would keep as well: a process that stops looking up
holds on to nothing that others need. Everything here happens under the GIL, which is the lock of the
parked blocks.
"""

cimport cython
cimport numpy as cnp
from cpython.object cimport PyTypeObject
from cpython.ref cimport Py_INCREF
from libc.stdlib cimport free

from _numpy cimport PyArray_NewFromDescr, new_array

cdef extern from "memory.h" nogil:
    void* fe_allocate(size_t nbytes)
    void fe_offer_back(void* block, size_t nbytes)
    enum: FE_CACHE_LINE

cnp.import_array()

cdef enum:
    # Smaller outputs are malloc's business. It recycles larger ones too, up to 32 MiB (mallopt(3),
    # M_MMAP_THRESHOLD), but with two results alive it is prone to give their memory back and fault it in
    # again at each call: 128 x 100 rows of 400 bytes then took 0.15 to 0.55 ms instead of 0.06.
    OUTPUT_BYTES = 1024 * 1024
    # So much parked memory stays ours, as it would stay malloc's (M_TRIM_THRESHOLD): to offer a block of a
    # few MiB to the system and have it back costs as much as filling it.
    WARM_BYTES = 32 * 1024 * 1024
    # Sizes are rounded up to one of four steps between powers of two, and a parked block serves outputs
    # that leave at most a quarter of it unused.
    SPARE = 4
    MOST_PARKED = 32

cdef void* _parked[MOST_PARKED]        # the last parked is the last
cdef size_t _parked_bytes[MOST_PARKED]
cdef bint _parked_warm[MOST_PARKED]    # not offered to the system
cdef int _n_parked = 0
cdef size_t _total_parked = 0
cdef size_t _total_warm = 0
cdef object _limit = None  # a number, or what says it when it is first needed


cdef class Buffer:
    """Owns one block of memory. Arrays over it keep it alive as their base."""
    cdef void* data
    cdef size_t capacity   # bytes
    cdef bint recycled     # parked when its array is gone

    def __dealloc__(self):
        if self.data is not NULL and not (self.recycled and _park(self.data, self.capacity)):
            free(self.data)


cdef bint _park(void* data, size_t capacity) noexcept:
    """Keep the block for the next output, if there is room."""
    global _n_parked, _total_parked, _total_warm
    cdef:
        size_t limit = _limit if isinstance(_limit, int) else 0
        bint warm = capacity <= WARM_BYTES
        int i
    if capacity > limit:
        return False
    while _n_parked and (_n_parked == MOST_PARKED or _total_parked + capacity > limit):
        _drop(0)  # the one that was parked first
    for i in range(_n_parked):  # those that were parked first, and have not been of use since
        if not warm or _total_warm + capacity <= WARM_BYTES:
            break
        _cool(i)
    if not warm:
        fe_offer_back(data, capacity)
    _parked[_n_parked], _parked_bytes[_n_parked], _parked_warm[_n_parked] = data, capacity, warm
    _n_parked += 1
    _total_parked += capacity
    _total_warm += capacity if warm else 0
    return True


cdef void _cool(int i) noexcept:
    """Offer a parked block to the system, if it was not."""
    global _total_warm
    if _parked_warm[i]:
        fe_offer_back(_parked[i], _parked_bytes[i])
        _parked_warm[i] = False
        _total_warm -= _parked_bytes[i]


cdef void _forget(int i) noexcept:
    global _n_parked, _total_parked, _total_warm
    _total_parked -= _parked_bytes[i]
    _total_warm -= _parked_bytes[i] if _parked_warm[i] else 0
    _n_parked -= 1
    for i in range(i, _n_parked):
        _parked[i], _parked_bytes[i] = _parked[i + 1], _parked_bytes[i + 1]
        _parked_warm[i] = _parked_warm[i + 1]


cdef void _drop(int i) noexcept:
    cdef void* data = _parked[i]
    _forget(i)
    free(data)


cdef size_t _rounded(size_t nbytes) noexcept:
    """The size of a block that outputs of this and nearly this size can share."""
    cdef size_t step = FE_CACHE_LINE
    while nbytes // step >= 2 * SPARE:
        step *= 2
    return (nbytes + step - 1) // step * step


cdef Buffer _new_buffer(object nbytes, bint recycled):
    cdef:
        Buffer buffer = Buffer.__new__(Buffer)
        size_t needed = nbytes
        int i
    if recycled:
        for i in range(_n_parked - 1, -1, -1):
            if needed <= _parked_bytes[i] and _parked_bytes[i] - needed <= _parked_bytes[i] // SPARE:
                buffer.data, buffer.capacity, buffer.recycled = _parked[i], _parked_bytes[i], True
                _forget(i)
                return buffer
        needed = _rounded(needed)
    buffer.data = fe_allocate(needed)
    if buffer.data is NULL and _n_parked:
        empty_cache()
        buffer.data = fe_allocate(needed)
    if buffer.data is NULL:
        raise MemoryError(f"no memory for {nbytes:,} bytes")
    buffer.capacity, buffer.recycled = needed, recycled
    return buffer


cdef cnp.ndarray new_output(cnp.dtype descr, int ndim, const cnp.npy_intp* dims):
    global _limit
    cdef:
        cnp.ndarray array
        Buffer buffer
        size_t guess = descr.itemsize
        int i
    for i in range(ndim):
        # Only to tell large from small; what overflows is left to NumPy, which says so.
        if dims[i] and guess > <size_t>-1 // <size_t>dims[i]:
            return new_array(descr, ndim, dims, NULL)
        guess *= dims[i]
    if guess < OUTPUT_BYTES or guess > <size_t>-1 // 2:
        return new_array(descr, ndim, dims, NULL)
    if _limit is None:
        return new_array(descr, ndim, dims, NULL)
    if not isinstance(_limit, int):
        _limit = int(_limit())
    if guess > <size_t>_limit:
        return new_array(descr, ndim, dims, NULL)
    buffer = _new_buffer(guess, True)
    array = new_array(descr, ndim, dims, buffer.data)
    cnp.set_array_base(array, buffer)
    return array


def empty(shape, dtype):
    """A new writable C-contiguous ndarray over memory of its own, its content not set.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : dtype_like
        Without Python objects: such an array could not own references.

    Returns
    -------
    ndarray of ``shape``
        It starts on a cache line (64 bytes), at 2 MiB and more on a huge page, which the system is
        then asked to use. It cannot be resized, because it does not own its memory: its base does.
    """
    cdef:
        cnp.dtype descr = cnp.dtype(dtype)
        tuple dims = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        object count = 1
        Buffer buffer
        cnp.npy_intp c_dims[64]
        cnp.ndarray array
        int i
    if descr.hasobject:
        raise TypeError(f"memory of our own cannot hold Python objects: dtype {descr}")
    if len(dims) > 32:
        raise ValueError(f"at most 32 dimensions, got {len(dims)}")
    for i, size in enumerate(dims):
        if size < 0:
            raise ValueError(f"negative dimension in shape {dims}")
        c_dims[i] = size
        count *= size
    count *= descr.itemsize  # Python integers: no overflow before the check
    if count > 2**62:
        raise MemoryError(f"shape {dims} of {descr} asks for {count} bytes")
    buffer = _new_buffer(count, False)
    array = new_array(descr, <int>len(dims), c_dims, buffer.data)
    cnp.set_array_base(array, buffer)
    return array


@cython.final
@cython.no_gc
cdef class _Look:
    """Is held by one view that `Shown` gave, and by all views of that."""
    cdef Shown shown

    def __dealloc__(self):
        self.shown.living -= 1


@cython.final
cdef class Shown:
    """Shows an array, and knows whether anybody looks.

    Parameters
    ----------
    memory : ndarray

    Attributes
    ----------
    memory : ndarray
    living : int
        How many of its views live, or have views that do.
    """
    cdef:
        readonly cnp.ndarray memory
        readonly Py_ssize_t living

    def __init__(self, cnp.ndarray memory not None):
        self.memory = memory

    def view(self):
        """A new read-only view of all of it."""
        cdef:
            cnp.ndarray memory = self.memory
            cnp.dtype descr = <cnp.dtype>cnp.PyArray_DESCR(memory)
            cnp.ndarray array
            _Look look
        Py_INCREF(descr)  # PyArray_NewFromDescr takes a reference
        array = PyArray_NewFromDescr(
            <PyTypeObject*>cnp.ndarray, descr, cnp.PyArray_NDIM(memory), cnp.PyArray_DIMS(memory),
            cnp.PyArray_STRIDES(memory), cnp.PyArray_DATA(memory),
            cnp.PyArray_FLAGS(memory) & ~(cnp.NPY_ARRAY_OWNDATA | cnp.NPY_ARRAY_WRITEABLE), NULL,
        )
        look = _Look.__new__(_Look)
        look.shown = self
        self.living += 1
        cnp.set_array_base(array, look)
        return array


def copy(values, dtype=None):
    """``values`` copied into memory of our own (see :func:`empty`)."""
    array = cnp.PyArray_FROM_O(values)
    owned = empty((<object>array).shape, (<object>array).dtype if dtype is None else dtype)
    owned[...] = array
    return owned


def set_cache_limit(limit):
    """Park at most so many bytes: a number, or a function that says it when it is first needed."""
    global _limit
    _limit = limit
    empty_cache()


def cached_bytes():
    """Bytes that are parked now."""
    return _total_parked


def empty_cache():
    """Give all parked memory back."""
    while _n_parked:
        _drop(_n_parked - 1)

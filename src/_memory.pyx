"""Memory that the tables own: aligned to cache lines, large blocks on huge pages.

NumPy's own large arrays start 16 bytes into a cache line, so that every row whose size is a
multiple of 64 bytes touches one line more than it needs to; and a table of 100 MB on pages of 4 KiB
misses the translation cache at nearly every random row.
"""

cimport numpy as cnp
from libc.stdlib cimport free

from _numpy cimport new_array

cdef extern from "memory.h" nogil:
    void* fe_allocate(size_t nbytes)

cnp.import_array()


cdef class Buffer:
    """Owns one block of memory. Arrays over it keep it alive as their base."""
    cdef void* data

    def __dealloc__(self):
        free(self.data)


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
    buffer = Buffer.__new__(Buffer)
    buffer.data = fe_allocate(count)
    if buffer.data is NULL:
        raise MemoryError(f"no memory for shape {dims} of {descr} ({count:,} bytes)")
    array = new_array(descr, <int>len(dims), c_dims, buffer.data)
    cnp.set_array_base(array, buffer)
    return array


def copy(values, dtype=None):
    """``values`` copied into memory of our own (see :func:`empty`)."""
    array = cnp.PyArray_FROM_O(values)
    owned = empty((<object>array).shape, (<object>array).dtype if dtype is None else dtype)
    owned[...] = array
    return owned

"""What of NumPy's C API its own Cython declarations leave out. Header-only: no module is built of it."""

cimport numpy as cnp
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF


cdef extern from "numpy/arrayobject.h":
    bint PyArray_CheckExact(object)
    bint PyArray_ISALIGNED(cnp.ndarray)
    bint PyArray_ISNOTSWAPPED(cnp.ndarray)
    bint PyArray_IS_C_CONTIGUOUS(cnp.ndarray)
    Py_ssize_t PyArray_NBYTES(cnp.ndarray)
    cnp.ndarray PyArray_NewFromDescr(
        PyTypeObject* subtype, cnp.dtype descr, int ndim, const cnp.npy_intp* dims,
        const cnp.npy_intp* strides, void* data, int flags, PyObject* obj
    )


cdef inline cnp.ndarray new_array(cnp.dtype descr, int ndim, const cnp.npy_intp* dims, void* data):
    """A C-contiguous ndarray over ``data``, or over new memory of NumPy's where that is NULL."""
    cdef int flags = 0 if data is NULL else cnp.NPY_ARRAY_CARRAY
    Py_INCREF(descr)  # PyArray_NewFromDescr takes a reference
    return PyArray_NewFromDescr(<PyTypeObject*>cnp.ndarray, descr, ndim, dims, NULL, data, flags, NULL)

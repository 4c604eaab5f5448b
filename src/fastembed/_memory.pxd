"""Memory for tables and outputs."""

cimport numpy as cnp

# A new array for a result, its content not set: large ones in recycled memory.
cdef cnp.ndarray new_output(cnp.dtype descr, int ndim, const cnp.npy_intp* dims)

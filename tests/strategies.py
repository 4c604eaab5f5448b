"""Tables, ids and their plain NumPy twins, for hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from fastembed import Variable
from fastembed.dtypes import widen_bfloat16

ID_DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i2", ">u2", ">i4", ">u4", ">i8", ">u8"]
VALUE_DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32"]
THREADS = st.sampled_from([1, 2, 3, 8])


@dataclass
class Lookup:
    """A table (an array or a variable), the array whose rows it should return, and ids inside it."""

    table: Any
    rows: np.ndarray
    ids: np.ndarray


@st.composite
def tables(draw, dtypes=tuple(VALUE_DTYPES), max_rows=20, max_dim=70):
    """(table, its rows as an array): every dtype, every SIMD tail, every special number."""
    shape = draw(st.integers(1, max_rows)), draw(st.integers(1, max_dim))
    name = draw(st.sampled_from(dtypes))
    if name == "bfloat16":
        words = draw(hnp.arrays(np.uint16, shape))
        return Variable.from_bfloat16_words(words, name="table"), widen_bfloat16(words)
    # Any bits at all: NaN payloads, signalling NaNs, -0.0 and denormals are copied as they are.
    table = draw(hnp.arrays(f"u{np.dtype(name).itemsize}", shape)).view(name)
    return table, table


@st.composite
def ids_below(draw, rows, max_side=9, max_dims=3, beyond=False):
    """Ids of any dtype, rank, stride, byte order and writability, each below ``rows``; or some ``beyond``."""
    dtype = np.dtype(draw(st.sampled_from(ID_DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side))
    least, largest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    numbers = st.integers(0, max(0, min(rows - 1, largest)))
    if beyond:
        edges = {least, largest, -rows - 1, -rows, -1, rows - 1, rows, 2**31, 2**32 + 1, 2**63}
        at_edges = st.sampled_from(sorted(edge for edge in edges if least <= edge <= largest))
        numbers = st.one_of(numbers, at_edges, st.integers(least, largest))
    ids = draw(hnp.arrays(dtype, shape, elements=numbers.map(dtype.newbyteorder("=").type)))
    step = draw(st.sampled_from([1, 2, -1]))
    if ids.ndim:
        ids = ids[..., ::step]
    if draw(st.booleans()):
        ids = ids.T
    if draw(st.booleans()):  # a field of a packed record is not aligned to its type
        record = np.zeros(ids.shape, [("pad", "u1"), ("id", dtype)])
        record["id"] = ids
        ids = record["id"]
    ids.flags.writeable = draw(st.booleans()) and ids.flags.writeable
    return ids


@st.composite
def lookups(draw, **kwargs):
    table, rows = draw(tables(**kwargs))
    return Lookup(table, rows, draw(ids_below(len(rows))))


def bits(array):
    """The array's bytes as integers, so that NaN equals itself and -0.0 is not 0.0."""
    return array.view(f"u{array.dtype.itemsize}")

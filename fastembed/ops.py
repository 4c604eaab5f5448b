"""Functions on arrays: lookups, one-hot vectors, the gradient of a lookup, addition to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Union

import numpy as np

from fastembed._additions import accumulate, add_as_is, sum_rows
from fastembed._rows import OutOfRange, Table
from fastembed._rows import gather as rows_at
from fastembed.dtypes import array_dtype, standardize_dtype
from fastembed.tables import DenseTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray


__all__ = ["IndexedSlices", "as_array", "as_ids", "embedding_gradient", "gather", "one_hot", "scatter_add"]

T = TypeVar("T")
Policy = Union[str, int, OutOfRange]


def as_array(values: Any) -> NDArray[Any]:
    """Whatever holds numbers as an array, without a copy where its memory can be shared.

    Parameters
    ----------
    values : array_like, tensor, ...
        What NumPy understands (arrays, lists, numbers, buffers, objects with ``__array__``, such as the
        tensors of torch, TensorFlow and JAX and the columns of pandas), and objects with ``__dlpack__``.

    Returns
    -------
    ndarray
        ``values`` itself where it is one.

    Raises
    ------
    TypeError
        If it cannot be read: a tensor on another device, or one without a value yet.
    ValueError
        If lists are ragged, or a tensor has more axes than NumPy allows.

    Examples
    --------
    >>> as_array(memoryview(b"ab"))
    array([97, 98], dtype=uint8)
    """
    if isinstance(values, np.ndarray):
        return values
    try:
        if hasattr(values, "detach"):  # a tensor that takes part in a gradient is not read by others
            values = values.detach()
        if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            return np.asarray(np.from_dlpack(values))
        return np.asarray(values)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        what, ndim = f"a {type(values).__name__}", getattr(values, "ndim", 0)
        if isinstance(ndim, int) and ndim > _MAX_NDIM:
            raise ValueError(f"{what} of {ndim} dimensions exceeds the {_MAX_NDIM} of NumPy") from error
        if isinstance(error, ValueError):  # ragged lists
            raise ValueError(f"{what} cannot be read as a rectangular array: {error}") from None
        raise TypeError(f"{what} cannot be read as an array: {error}") from error


_MAX_NDIM = 32 if np.__version__.startswith("1.") else 64

# Whether floats are cut to integers.
_FLOAT_IDS = {"exact": False, "truncate": True}


def as_ids(ids: Any, float_ids: str = "exact") -> NDArray[Any]:
    """Ids as an array of integers (or bool, which count as 0 and 1).

    The one place that decides what an id may be. Whether it lies inside the table is checked by the
    lookup itself, as it reads the id.

    Parameters
    ----------
    ids : array_like or tensor
        Integers, bool, or floats that are exactly integral, in whatever `as_array` reads.
    float_ids : {"exact", "truncate"}, default "exact"
        ``"truncate"`` cuts floats towards zero, as Keras does: 2.7 is 2.

    Returns
    -------
    ndarray
        ``ids`` itself where it is an array of integers already.

    Raises
    ------
    TypeError
        If ``ids`` are no numbers at all: strings, objects, None, complex numbers, masked arrays.
    ValueError
        If a float is not integral, or so large that its dtype no longer tells neighbours apart
        (2**24 in float32, 2**53 in float64): the id that was meant may have been another. With
        ``"truncate"``, if it is not finite or too large for int64.

    Examples
    --------
    >>> as_ids([3.0, 1.0])
    array([3, 1])
    >>> as_ids([2.7], float_ids="truncate")
    array([2])
    >>> as_ids([2.7])
    Traceback (most recent call last):
      ...
    ValueError: ids[0] = 2.7 is not an integer; a lookup with float_ids="truncate" takes 2, as Keras does
    """
    if type(ids) is np.ndarray and ids.dtype.kind in "iub" and float_ids == "exact":
        return ids  # most are, and the rest of this takes as long as looking up a row
    truncate = _FLOAT_IDS.get(float_ids)
    if truncate is None:
        raise ValueError(f'float_ids must be "exact" or "truncate", got {float_ids!r}')
    if isinstance(ids, np.ma.MaskedArray):
        raise TypeError("ids must be integers, got a masked array: fill it first (ids.filled(0))")
    array = as_array(ids)
    if array.dtype.kind in "iub":
        return array
    if array.dtype.name == "bfloat16":
        return _integral(array, 8, truncate)
    if array.dtype.kind == "f":
        return _integral(array, np.finfo(array.dtype).nmant + 1, truncate)
    if array.dtype.kind == "O":
        raise _no_ids(ids, array)
    raise TypeError(f"ids must be integers, got dtype {array.dtype} from {type(ids).__name__}")


def _no_ids(ids: Any, array: NDArray[Any]) -> Exception:
    """Why NumPy made an array of Python objects out of ids."""
    if array.ndim == 0 and not isinstance(ids, int):
        return TypeError(f"ids must be integers, got {type(ids).__name__}: make a list or an array of it")
    for position, item in np.ndenumerate(array):
        where = f"ids[{', '.join(map(str, position)) or '()'}] = {item!r:.80}"
        if not isinstance(item, (int, np.integer)):
            return TypeError(f"ids must be integers, got {where}")
        if not -(2**63) <= item < 2**64:
            return ValueError(f"{where} is larger than any table")
    return TypeError("ids must be integers, got an array of Python objects: ids.astype(np.int64) converts it")


_AT_ONCE = 1 << 20  # ids: between two such lots Python can hear a Ctrl-C


def _integral(floats: NDArray[Any], precision: int, truncate: bool) -> NDArray[np.int64]:
    """Floats as int64; ``precision`` is the number of bits of their significands."""
    dtype = floats.dtype
    if dtype.itemsize == 2:
        floats = floats.astype(np.float32)
    largest = 2.0 ** (63 if truncate else min(precision, 63))
    ids = np.empty(floats.shape, np.int64)
    done = 0
    with np.nditer(
        [floats, ids],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[["readonly"], ["writeonly"]],
        order="C",
        buffersize=_AT_ONCE,
    ) as lots:
        for lot, its_ids in lots:
            some = lot.copy()  # what is checked is what is used, whoever changes the ids meanwhile
            if truncate:
                good = (-largest <= some) & (some < largest)
            else:
                good = (some == np.trunc(some)) & (np.abs(some) < largest)
            if not good.all():
                first = int(np.argmin(good))
                where = ", ".join(map(str, np.unravel_index(done + first, floats.shape)))
                raise _not_integral(f"ids[{where or '()'}]", some[first], dtype, precision, truncate)
            its_ids[...] = some
            done += some.size
    return ids


def _not_integral(id: str, value: Any, dtype: np.dtype[Any], precision: int, truncate: bool) -> ValueError:
    """Why a float is no id."""
    if not np.isfinite(value):
        return ValueError(f"{id} = {value} is not an integer")
    if truncate:
        return ValueError(f"{id} = {value} is larger than any table")
    if value == np.trunc(value):
        return ValueError(
            f"{id} = {value} is too large for {dtype}, which cannot tell integers of 2**{precision} "
            "and more apart; keep ids in an integer dtype"
        )
    return ValueError(
        f'{id} = {value} is not an integer; a lookup with float_ids="truncate" takes {int(value)}, '
        "as Keras does"
    )


def gather(
    table: Any,
    ids: Any,
    out: NDArray[Any] | None = None,
    *,
    out_of_range: Policy = "raise",
    float_ids: str = "exact",
) -> NDArray[Any]:
    """Rows of ``table`` at ``ids``.

    Parameters
    ----------
    table : ndarray of shape (rows, ...), Variable, layer or table
        A table, or that of a variable or layer, looks rows up by its own ``gather``. An ndarray must be
        C-contiguous; it is not copied and may be read-only or mapped from a file.
    ids : array_like or tensor of integers, any shape
        See `as_ids`. They are not changed.
    out : ndarray of shape ``(*ids.shape, *table.shape[1:])``, optional
        Where to put the rows: C-contiguous, of the rows' dtype, overlapping neither table nor ids.
    out_of_range : {"raise", "zeros", "clip", "wrap", "nan"} or int, default "raise"
        What becomes of an id outside ``[0, rows)``: an IndexError; a row of zeros; the first row if it is
        negative and otherwise the last; row ``id % rows``; a row of NaN; or the row of this number.
    float_ids : {"exact", "truncate"}, default "exact"
        Whether an id of 2.7 is an error or 2.

    Returns
    -------
    ndarray of shape ``(*ids.shape, *table.shape[1:])``
        ``out`` where it was given. The dtype is the table's; the rows of a bfloat16 `Variable` come
        as float32.

    Raises
    ------
    IndexError
        If an id lies outside the table, naming the first. The content of ``out`` is then not specified.
        A table without rows has none that another policy than "zeros" and "nan" could take.
    TypeError, ValueError
        If the arguments do not fit, before anything is written; "nan" needs rows of floats.

    Notes
    -----
    Moves ``2 * ids.size * row_bytes`` bytes and computes nothing, so memory sets the speed. Means
    ``keras.ops.take(table, ids, axis=0)``, except that negative ids count from the end with
    ``out_of_range="wrap"`` only. "clip" and "wrap" are the modes of `numpy.take`.

    Examples
    --------
    >>> gather(np.eye(3), [[2, 0]])
    array([[[0., 0., 1.],
            [1., 0., 0.]]])
    >>> gather(np.eye(3), [-1, 7], out_of_range="clip")
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    ids = as_ids(ids, float_ids)
    held = _table_held_by(table)
    if held is None:
        return rows_at(np.asarray(table), ids, out, out_of_range)
    rows: NDArray[Any] = held.gather(ids, out, out_of_range)
    return rows


def _table_held_by(table: Any) -> Any:
    """A table itself, or that of a variable or layer; None for what is no table, such as an array."""
    if isinstance(table, np.ndarray):
        return None
    held = table if hasattr(table, "row_dtype") else getattr(table, "table", None)
    return held if hasattr(held, "row_dtype") else None


def one_hot(ids: ArrayLike, num_classes: int, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Vectors that are 1 at the id and 0 elsewhere.

    Parameters
    ----------
    ids : array_like of integers, any shape
        An id outside ``[0, num_classes)`` gives a vector of zeros, as in Keras.
    num_classes : int
    dtype : dtype_like, default `fastembed.backend.floatx`

    Returns
    -------
    ndarray of shape ``(*ids.shape, num_classes)``

    Raises
    ------
    TypeError, ValueError
        If ``ids`` are no integers, ``num_classes`` is negative, or there is no such dtype.

    Examples
    --------
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    ids = as_ids(ids)
    if num_classes < 0:
        raise ValueError(f"num_classes cannot be negative, got {num_classes}")
    out = np.zeros((*ids.shape, num_classes), array_dtype(standardize_dtype(dtype)))
    flat, rows = ids.reshape(-1), out.reshape(-1, num_classes) if num_classes else None
    if rows is not None:
        inside = np.flatnonzero((flat >= 0) & (flat < num_classes))
        rows[inside, flat[inside].astype(np.intp)] = 1
    return out


class IndexedSlices:
    """Rows of a larger array that is zero elsewhere: the gradient of a lookup.

    Parameters
    ----------
    values : ndarray of shape (n, *row shape)
    indices : ndarray of integers, shape (n,)
        The row of each value. What this library makes has sorted indices, each once.
    dense_shape : tuple of int
        Shape of the larger array: ``(rows, *row shape)``.

    Raises
    ------
    ValueError
        If these do not fit together.

    Examples
    --------
    >>> IndexedSlices(np.ones((1, 2)), np.array([1]), (3, 2)).to_dense()
    array([[0., 0.],
           [1., 1.],
           [0., 0.]])
    """

    def __init__(self, values: NDArray[Any], indices: NDArray[Any], dense_shape: tuple[int, ...]) -> None:
        self.values = np.asarray(values)
        self.indices = np.asarray(indices)
        self.dense_shape = tuple(dense_shape)
        if self.indices.ndim != 1 or self.values.shape != (*self.indices.shape, *self.dense_shape[1:]):
            raise ValueError(
                f"values of shape {self.values.shape} and indices of shape {self.indices.shape} "
                f"are not rows of an array of shape {self.dense_shape}"
            )

    def __repr__(self) -> str:
        count, shape = len(self.indices), self.dense_shape
        return f"<IndexedSlices of {count:,} rows, dense_shape={shape}, dtype={self.dtype}>"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    def to_dense(self) -> NDArray[Any]:
        """The larger array. Values of the same row are added up, in float64 if they are, else in float32."""
        return scatter_add(np.zeros(self.dense_shape, _sum_dtype(self.values)), self.indices, self.values)

    def summed(self) -> IndexedSlices:
        """The same with ascending indices, each once; itself where they are so already."""
        if np.all(self.indices[1:] > self.indices[:-1]):
            return self
        return embedding_gradient(self.indices, self.values, self.dense_shape[0])

    def __add__(self, other: IndexedSlices) -> IndexedSlices:
        """The sum of two gradients of the same array, each row once."""
        if not isinstance(other, IndexedSlices):
            return NotImplemented
        if other.dense_shape != self.dense_shape:
            raise ValueError(f"shapes differ: {self.dense_shape} and {other.dense_shape}")
        return embedding_gradient(
            np.concatenate([self.indices, other.indices]),
            np.concatenate([self.values, other.values]),
            self.dense_shape[0],
        )


def embedding_gradient(
    ids: Any,
    upstream: ArrayLike,
    input_dim: int,
    *,
    out_of_range: Policy = "raise",
    float_ids: str = "exact",
) -> IndexedSlices:
    """Gradient of a lookup with respect to its table.

    Parameters
    ----------
    ids : array_like or tensor of integers, any shape
        The ids that were looked up.
    upstream : array_like of floats, shape ``(*ids.shape, *row shape)``
        Gradient of the loss with respect to the rows that the lookup returned.
    input_dim : int
        Rows of the table.
    out_of_range, float_ids
        What the lookup was told, see `gather`: the gradient of an id outside belongs to the row that was
        taken for it, and to none where zeros or NaN were.

    Returns
    -------
    IndexedSlices
        Each row that was looked up, once, in ascending order, with the sum of its upstream rows: from
        zero, in the order in which they appear, whatever the number of threads. In float64 if
        ``upstream`` is, otherwise in float32.

    Raises
    ------
    IndexError, TypeError, ValueError

    Notes
    -----
    ``embedding_gradient(ids, upstream, v).to_dense()`` is ``one_hot(ids, v).T @ upstream``, at the cost
    of the batch instead of the table; so it is with ``out_of_range="zeros"``, too.

    Examples
    --------
    >>> gradient = embedding_gradient([2, 0, 2], [[1.0], [10.0], [100.0]], 4)
    >>> gradient.indices, gradient.values
    (array([0, 2]), array([[ 10.],
           [101.]]))
    """
    ids = as_ids(ids, float_ids)
    rows: NDArray[Any] = np.asarray(upstream)
    dtype = _sum_dtype(rows)
    if rows.shape[: ids.ndim] != ids.shape:
        raise ValueError(f"upstream of shape {rows.shape} does not begin with the shape of ids {ids.shape}")
    row_shape, times, axis = rows.shape[ids.ndim :], 1, ids.ndim
    while axis and rows.size and not rows.strides[axis - 1]:  # one row for all steps, as of a mean
        axis -= 1
        times *= rows.shape[axis]
        rows = rows[(slice(None),) * axis + (0,)]
    values = np.require(rows, dtype, ["C", "A"])
    values = values.reshape(*(ids.shape if times == 1 else (ids.size // times,)), *row_shape)
    indices, sums = sum_rows(ids, values, input_dim, out_of_range, times)
    return IndexedSlices(sums, indices, (input_dim, *row_shape))


def _sum_dtype(values: NDArray[Any]) -> type[np.floating[Any]]:
    """What values are added up in: never in halves."""
    if values.dtype.kind not in "fiu" and values.dtype.name != "bfloat16":
        raise TypeError(f"upstream must be floats, got dtype {values.dtype}")
    return np.float64 if values.dtype.kind == "f" and values.dtype.itemsize > 4 else np.float32


def scatter_add(table: T, ids: ArrayLike, updates: ArrayLike) -> T:
    """Add to rows of a table, in place: ``table[ids[i]] += updates[i]`` for every i.

    Parameters
    ----------
    table : ndarray of shape (rows, ...) or Variable, of float32 or float64
        An ndarray must be C-contiguous and writable.
    ids : array_like of integers, any shape
    updates : array_like, broadcast to ``(*ids.shape, *table.shape[1:])``
        Converted to the table's dtype.

    Returns
    -------
    ``table`` itself

    Raises
    ------
    IndexError, TypeError, ValueError
        Before anything is written: a bad id changes nothing.

    Notes
    -----
    A row's updates are added in the order in which they appear, as ``np.add.at`` does; each
    number of a row is the work of one thread, so the result has the same bits for any number of threads.
    A lookup that runs meanwhile in another thread may see a row half added, and of two additions (or an
    addition and an `assign`) at the same time one may be lost: keep those apart.

    Examples
    --------
    >>> scatter_add(np.zeros((3, 2)), [1, 1], [[1.0, 2.0], [10.0, 20.0]])
    array([[ 0.,  0.],
           [11., 22.],
           [ 0.,  0.]])
    """
    held = table if isinstance(table, np.ndarray) else _table_held_by(table)
    if not isinstance(held, (np.ndarray, Table)):
        raise TypeError(
            f"scatter_add works in place, on an ndarray or a Variable, not on {type(table).__name__}"
        )
    # What follows takes microseconds, as long as hundreds of rows.
    if add_as_is(held, ids, updates):
        return table
    ids = as_ids(ids)
    rows = DenseTable(held) if isinstance(held, np.ndarray) else held
    dtype = rows.array.dtype
    if dtype not in (np.float32, np.float64) or not dtype.isnative:
        name = getattr(table, "dtype", dtype)
        raise TypeError(f"rows can be added up in float32 and float64 in place, not in a table of {name}")
    updates = np.asarray(updates)
    if not np.can_cast(updates.dtype, dtype, "same_kind") and updates.dtype.name != "bfloat16":
        raise TypeError(f"updates of dtype {updates.dtype} cannot be added to a table of {dtype}")
    shape = (*ids.shape, *rows.shape[1:])
    try:
        updates = np.broadcast_to(updates, shape)
    except ValueError:
        raise ValueError(f"updates of shape {updates.shape} do not fit ids and rows: {shape}") from None
    accumulate(rows, ids, np.require(updates, dtype, ["C", "A"]))
    return table

"""What may be an id, from wherever it comes: the rows, or the exact error, for each."""

from __future__ import annotations

import array
import pickle
import re

import numpy as np
import pytest
from strategies import ID_DTYPES

from fastembed import layers, ops

LIMIT = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
W = np.arange(12, dtype=np.float32).reshape(4, 3)


# --- What other libraries' arrays look like from outside -------------------------------------------


class Column:
    """As a Series or an Index of pandas: has a dtype of its own, and ``__array__``."""

    def __init__(self, values):
        self.values = values
        self.dtype = "its own"

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype) if copy or dtype else np.asarray(self.values)


class Tensor(Column):
    """As a tensor of torch that takes part in a gradient: its numbers are got after ``detach``."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return Column(self.values)


class Exported:
    """Has nothing but DLPack."""

    def __init__(self, values):
        self._values = values

    def __dlpack__(self, **kwargs):
        return self._values.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


class OnADevice(Exported):
    """As a tensor of a GPU."""

    def __dlpack__(self, **kwargs):
        raise BufferError("Cannot pack tensors on cuda")


class Symbolic:
    """As a tensor that has no value yet."""

    def __array__(self, dtype=None, copy=None):
        raise NotImplementedError("Cannot convert a symbolic tf.Tensor")


class TooDeep:
    """A tensor with more axes than NumPy has."""

    ndim = LIMIT + 1

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("maximum supported dimension")


class Missing:
    """As pandas.NA."""

    def __repr__(self):
        return "<NA>"


class Own(np.ndarray):
    """A subclass."""


def unaligned(ids):
    record = np.zeros(len(ids), [("pad", "u1"), ("id", "i8")])
    record["id"] = ids
    return record["id"]


def read_only(ids):
    ids.flags.writeable = False
    return ids


def one(dtype, value):
    return np.array([value], dtype)


def outside(value, where="0", hint=None):
    hint = hint or '; out_of_range can be "zeros", "clip", "wrap", "nan" or a row to take instead'
    return IndexError, f"ids[{where}] = {value} is outside the table, whose rows are 0 to 3{hint}"


def wrapped(value, where="0"):
    row = value + 4
    return outside(value, where, f'; out_of_range="wrap" takes row {row} for it, as Keras 3 does')


def fraction(value, where="0"):
    cut = int(float(value))
    return (
        ValueError,
        f'ids[{where}] = {value} is not an integer; a lookup with float_ids="truncate" takes {cut}, as Keras '
        "does",
    )


def too_large(value, dtype, precision, where="0"):
    return (
        ValueError,
        f"ids[{where}] = {value} is too large for {dtype}, which cannot tell integers of 2**{precision} and "
        "more apart; keep ids in an integer dtype",
    )


# Each row: the ids, and the rows they give (as indices) or the error: its class, and how its text begins.
# Ids are made anew for each test, because some can be read once.
MATRIX = {
    # integers, whatever their type
    **{
        dtype: (lambda dtype=dtype: np.array([[3, 0], [1, 2]], dtype), [[3, 0], [1, 2]])
        for dtype in ID_DTYPES[1:]
    },
    "bool": (lambda: np.array([True, False]), [1, 0]),
    "uint64 2**63 + 1": (lambda: one("u8", 2**63 + 1), outside(2**63 + 1)),
    "uint64 2**64 - 1": (lambda: one("u8", 2**64 - 1), outside(2**64 - 1)),
    "uint32 2**32 - 1": (lambda: one("u4", 2**32 - 1), outside(2**32 - 1)),
    "int64 2**32": (lambda: one("i8", 2**32), outside(2**32)),
    "int64 2**32 + 1": (lambda: one("i8", 2**32 + 1), outside(2**32 + 1)),
    "int64 min": (lambda: one("i8", -(2**63)), outside(-(2**63))),
    ">i8 2**56": (lambda: one(">i8", 2**56), outside(2**56)),  # native, it would be 1
    "V": (lambda: np.array([[0, 4]]), outside(4, "0, 1")),
    "1e9": (lambda: one("i4", 10**9), outside(10**9)),
    "-1": (lambda: np.array([2, -1]), wrapped(-1, "1")),
    "-V": (lambda: one("i1", -4), wrapped(-4)),
    "-V - 1": (lambda: one("i8", -5), outside(-5)),
    # floats
    "float64": (lambda: np.array([3.0, -0.0]), [3, 0]),
    "float32": (lambda: np.array([3, 1], "f4"), [3, 1]),
    "float16": (lambda: np.array([3, 1], "f2"), [3, 1]),
    "longdouble": (lambda: np.array([3, 1], "g"), [3, 1]),
    ">f4": (lambda: np.array([3, 1], ">f4"), [3, 1]),
    "a float": (lambda: 2.0, 2),
    "2.7": (lambda: np.array([0, 2.7]), fraction(2.7, "1")),
    "-0.5": (lambda: [-0.5], fraction(-0.5)),
    "-1.0": (lambda: [-1.0], wrapped(-1)),
    "NaN": (lambda: np.array([[0, np.nan]]), (ValueError, "ids[0, 1] = nan is not an integer")),
    "inf": (lambda: np.inf, (ValueError, "ids[()] = inf is not an integer")),
    "-inf": (lambda: [-np.inf], (ValueError, "ids[0] = -inf is not an integer")),
    "float32 2**24 + 1": (lambda: one("f4", 2**24 + 1), too_large("16777216.0", "float32", 24)),
    "float64 2**53": (lambda: one("f8", 2**53), too_large("9007199254740992.0", "float64", 53)),
    "float16 2**11": (lambda: one("f2", 2**11), too_large("2048.0", "float16", 11)),
    "float64 1e300": (lambda: one("f8", 1e300), too_large("1e+300", "float64", 53)),
    # shapes and layouts
    "0-d": (lambda: np.array(2), 2),
    "an int": (lambda: 2, 2),
    "a NumPy scalar": (lambda: np.int8(2), 2),
    "[]": (list, []),
    "(0, 5)": (lambda: np.zeros((0, 5), int), np.zeros((0, 5), int)),
    "(2, 0) of floats": (lambda: np.zeros((2, 0)), np.zeros((2, 0), int)),
    "backwards": (lambda: np.arange(4)[::-1], [3, 2, 1, 0]),
    "strided": (lambda: np.arange(4)[::2], [0, 2]),
    "stride 0": (lambda: np.broadcast_to(np.int64(3), (2, 2)), [[3, 3], [3, 3]]),
    "Fortran order": (lambda: np.asfortranarray([[0, 1, 2], [3, 2, 1]]), [[0, 1, 2], [3, 2, 1]]),
    "read-only": (lambda: read_only(np.array([3, 1])), [3, 1]),
    "unaligned": (lambda: unaligned([3, 1]), [3, 1]),
    "all axes but one": (lambda: np.full((1,) * (LIMIT - 1), 2), np.full((1,) * (LIMIT - 1), 2)),
    "all axes": (
        lambda: np.zeros((1,) * LIMIT, int),
        (ValueError, f"ids of {LIMIT} dimensions and rows of 1 exceed the {LIMIT} that NumPy allows"),
    ),
    # holders
    "a list of lists": (lambda: [[1, 2], [3, 0]], [[1, 2], [3, 0]]),
    "a tuple": (lambda: (1, 2), [1, 2]),
    "a list of NumPy's numbers": (lambda: [np.int64(1), np.uint8(2)], [1, 2]),
    "a list of arrays": (lambda: [np.array([1, 2]), np.array([3, 0])], [[1, 2], [3, 0]]),
    "a list of bool and int": (lambda: [True, 2], [1, 2]),
    "a range": (lambda: range(1, 3), [1, 2]),
    "array.array": (lambda: array.array("q", [3, 1]), [3, 1]),
    "a memoryview": (lambda: memoryview(array.array("i", [3, 1, 2]))[::2], [3, 2]),
    "a bytearray": (lambda: bytearray(b"\3\1"), [3, 1]),
    "a subclass": (lambda: np.array([3, 1]).view(Own), [3, 1]),
    "np.matrix": (lambda: np.array([[3, 1]]).view(np.matrix), [[3, 1]]),
    "np.recarray": (lambda: np.array([3, 1]).view(np.recarray), [3, 1]),
    "a column": (lambda: Column(np.array([3, 1])), [3, 1]),
    "a column of floats": (lambda: Column([3.0, 1.0]), [3, 1]),
    "a list of columns": (lambda: [Column([3, 1]), Column([0, 2])], [[3, 1], [0, 2]]),
    "a tensor in a gradient": (lambda: Tensor([3.0, 1.0]), [3, 1]),
    "DLPack": (lambda: Exported(np.array([[3], [1]], "i4")), [[3], [1]]),
    # no ids
    "object ints": (
        lambda: np.array([1, 2], object),
        (TypeError, "ids must be integers, got an array of Python objects: ids.astype(np.int64) converts it"),
    ),
    "object None": (lambda: [1, None], (TypeError, "ids must be integers, got ids[1] = None")),
    "a missing value": (
        lambda: Column(np.array([1, Missing()], object)),
        (TypeError, "ids must be integers, got ids[1] = <NA>"),
    ),
    "None": (lambda: None, (TypeError, "ids must be integers, got NoneType: make a list or an array of it")),
    "a str": (lambda: "1", (TypeError, "ids must be integers, got dtype <U1 from str")),
    "strings": (lambda: ["1"], (TypeError, "ids must be integers, got dtype <U1 from list")),
    "bytes": (lambda: b"1", (TypeError, "ids must be integers, got dtype |S1 from bytes")),
    "datetime64": (
        lambda: np.array(["2020-01-01"], "M8[D]"),
        (TypeError, "ids must be integers, got dtype datetime64[D] from ndarray"),
    ),
    "timedelta64": (
        lambda: np.array([1], "m8[s]"),
        (TypeError, "ids must be integers, got dtype timedelta64[s] from ndarray"),
    ),
    "complex": (lambda: [1j], (TypeError, "ids must be integers, got dtype complex128 from list")),
    "records": (lambda: np.zeros(2, [("a", int)]), (TypeError, "ids must be integers, got dtype [('a', ")),
    "a masked array": (
        lambda: np.ma.masked_array([1, 2], [False, True]),
        (TypeError, "ids must be integers, got a masked array: fill it first (ids.filled(0))"),
    ),
    "ragged": (lambda: [[1], [2, 3]], (ValueError, "a list cannot be read as a rectangular array: ")),
    "2**70": (lambda: [1, 2**70], (ValueError, f"ids[1] = {2**70} is larger than any table")),
    "a generator": (
        lambda: (i for i in (1, 2)),
        (TypeError, "ids must be integers, got generator: make a list or an array of it"),
    ),
    "a set": (lambda: {1, 2}, (TypeError, "ids must be integers, got set: make a list")),
    "a dict": (lambda: {1: 2}, (TypeError, "ids must be integers, got dict: make a list")),
    "an object": (lambda: Missing(), (TypeError, "ids must be integers, got Missing: make a list")),
    "a tensor on a device": (
        lambda: OnADevice(np.array([1])),
        (TypeError, "a OnADevice cannot be read as an array: Cannot pack tensors on cuda"),
    ),
    "a symbolic tensor": (
        lambda: Symbolic(),
        (TypeError, "a Symbolic cannot be read as an array: Cannot convert"),
    ),
    "a tensor with too many axes": (
        lambda: TooDeep(),
        (ValueError, f"a TooDeep of {LIMIT + 1} dimensions exceeds the {LIMIT} of NumPy"),
    ),
}  # fmt: skip


def gathered(ids):
    return ops.gather(W, ids)


def layer():
    return layers.Embedding(4, 3, weights=W)


def called(ids):
    """By a layer that has not been called: all that a call of Keras does."""
    return layer()(ids)


def answered(ids):
    """By a layer whose table answers alone, if it can take these ids."""
    asked = layer()
    asked([0])
    assert asked._table is not None
    return asked(ids)


def recorded(ids):
    asked = layer()
    asked([0])
    return asked(ids, training=True)


@pytest.mark.parametrize("way", [gathered, called, answered, recorded])
@pytest.mark.parametrize("row", MATRIX)
def test_every_id_has_its_answer(row, way):
    make, answer = MATRIX[row]
    ids = make()
    before = pickle.dumps(ids) if isinstance(ids, (np.ndarray, list)) and row != "a list of columns" else None
    if isinstance(answer, tuple):
        error, text = answer
        with pytest.raises(error, match="^" + re.escape(text)):
            way(ids)
    else:
        np.testing.assert_array_equal(way(ids), W[np.asarray(answer, int)], strict=True)
    if before is not None:
        assert pickle.dumps(ids) == before


@pytest.mark.parametrize(
    ("ids", "rows"),
    [
        (np.array([2.7, -0.5, 0.999]), [2, 0, 0]),
        (np.array([[3.99], [1]], ">f4"), [[3], [1]]),
        (np.array([2.75], "f2"), [2]),
        (np.array([2.7], "g"), [2]),
        (3.5, 3),
        ([True, 2], [1, 2]),
    ],
)
def test_floats_may_be_cut(ids, rows):
    for asked in (layer(), layers.Embedding(4, 3, weights=W, float_ids="truncate")):
        for _ in range(2):
            np.testing.assert_array_equal(asked(ids, float_ids="truncate"), W[rows], strict=True)
    np.testing.assert_array_equal(asked(ids), W[rows], strict=True)
    np.testing.assert_array_equal(ops.gather(W, ids, float_ids="truncate"), W[rows], strict=True)


def test_a_call_may_be_stricter_than_its_layer():
    asked = layers.Embedding(4, 3, float_ids="truncate")
    with pytest.raises(ValueError, match=r"2\.7 is not an integer"):
        asked(2.7, float_ids="exact")
    assert asked.get_config()["float_ids"] == "truncate"
    assert layers.Embedding.from_config(asked.get_config()).float_ids == "truncate"
    assert "float_ids" not in layer().get_config()  # which is Keras 3's


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g"])
def test_what_cannot_be_cut(dtype):
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=rf"^ids\[1\] = {value} is not an integer$"):
            ops.as_ids(np.array([0, value], dtype), "truncate")
    if dtype != "f2":
        largest = np.nextafter(np.array(2.0**63, dtype), np.array(0, dtype))
        assert ops.as_ids([largest], "truncate")[0] == int(largest)
        assert ops.as_ids(np.array([-(2.0**63)], dtype), "truncate")[0] == -(2**63)
        for value in (2.0**63, np.nextafter(np.array(-(2.0**63), dtype), np.array(-np.inf, dtype))):
            with pytest.raises(ValueError, match=r"^ids\[0\] = .* is larger than any table$"):
                ops.as_ids(np.array([value], dtype), "truncate")


def test_a_cut_id_may_be_outside():
    with pytest.raises(IndexError, match=r"^ids\[0\] = -1 is outside"):
        ops.gather(W, [-1.5], float_ids="truncate")
    assert (ops.gather(W, [-1.5, 9.9], float_ids="truncate", out_of_range="clip") == W[[0, 3]]).all()
    gradient = ops.embedding_gradient([2.7, 2], np.ones((2, 3)), 4, float_ids="truncate")
    assert gradient.indices.tolist() == [2]


@pytest.mark.parametrize("bad", ["trunc", None, True, 1])
def test_there_are_two_ways_to_read_floats(bad):
    for what in (
        lambda: ops.gather(W, np.array([1]), float_ids=bad),
        lambda: layers.Embedding(4, 3, float_ids=bad),
    ):
        with pytest.raises(ValueError, match='float_ids must be "exact" or "truncate", got'):
            what()


def test_ids_that_are_converted_in_lots():
    """Millions of float or strided ids are checked and copied with looks for signals between."""
    table = np.arange(1000, dtype=np.uint16)
    ids = (np.arange(3 << 20) % 1000).reshape(2, -1)
    floats = ids.astype(np.float32)
    np.testing.assert_array_equal(ops.gather(table, floats), table[ids])
    np.testing.assert_array_equal(ops.gather(table, floats.T), table[ids.T])
    np.testing.assert_array_equal(ops.gather(table, floats + 0.5, float_ids="truncate"), table[ids])
    for wrong, message in ((0.5, "not an integer"), (2.0**24, "too large for float32")):
        floats[1, -1] = wrong
        with pytest.raises(ValueError, match=rf"ids\[1, {ids.shape[1] - 1}\] = {wrong} is .*{message}"):
            ops.gather(table, floats)
    strided = np.broadcast_to(ids[:, None, ::3], (2, 5, -(-ids.shape[1] // 3)))
    np.testing.assert_array_equal(ops.gather(table, strided), table[strided])
    np.testing.assert_array_equal(ops.gather(table, strided.T), table[strided.T])


def test_bfloat16_ids_are_floats_like_the_others():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    np.testing.assert_array_equal(ops.gather(np.eye(3), np.array([2, 1], bfloat16)), np.eye(3)[[2, 1]])
    with pytest.raises(ValueError, match="too large for bfloat16, which cannot tell integers of 2\\*\\*8 "):
        ops.gather(np.eye(3), np.array([256], bfloat16))
    assert ops.as_ids(np.array([256, 1.5], bfloat16), "truncate").tolist() == [256, 1]


def test_no_memory_is_copied_that_can_be_shared():
    ids = np.array([[3, 1], [0, 2]], ">i4")[:, 0]
    assert ops.as_ids(ids) is ids
    native = ids.astype("i8")
    for shared in (Column(native), Exported(native), memoryview(native), native.view(Own), Tensor(native)):
        assert np.shares_memory(ops.as_ids(shared), native)


def test_masks_of_ids_from_anywhere():
    asked = layers.Embedding(4, 3, mask_zero=True)
    for ids in ([3, 0], np.array([3.0, 0.0]), Column([3, 0]), Tensor([3.0, 0.0]), Exported(np.array([3, 0]))):
        assert asked.compute_mask(ids).tolist() == [True, False]


# --- The real ones, where they are installed ------------------------------------------------------


def both(make):
    asked = layers.Embedding(4, 3, weights=W, mask_zero=True)
    for _ in range(2):
        np.testing.assert_array_equal(asked(make([[3, 0]])), W[[[3, 0]]], strict=True)
        np.testing.assert_array_equal(asked(make([[3.0, 0.0]])), W[[[3, 0]]], strict=True)
        np.testing.assert_array_equal(ops.gather(W, make([3, 1])), W[[3, 1]], strict=True)
        assert asked.compute_mask(make([3, 0])).tolist() == [True, False]
    asked(make([[3, 3]]), training=True)
    asked.backward(np.ones((1, 2, 3)))
    assert asked.embeddings.gradient.indices.tolist() == [3]
    with pytest.raises(IndexError, match=r"^ids\[1\] = -1 is outside"):
        asked(make([3, -1]))


def test_torch():
    torch = pytest.importorskip("torch")
    both(torch.tensor)
    ids = torch.tensor([[3, 1], [0, 2]])
    assert ops.as_ids(ids).ctypes.data == ids.data_ptr()  # not copied
    assert ops.as_ids(ids.T).ctypes.data == ids.data_ptr()
    in_a_gradient = torch.tensor([3.0, 1.0], requires_grad=True)
    np.testing.assert_array_equal(ops.gather(W, in_a_gradient), W[[3, 1]])
    np.testing.assert_array_equal(layer()(in_a_gradient * 1), W[[3, 1]])
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.float16, torch.bool):
        np.testing.assert_array_equal(ops.gather(W, torch.ones(2, dtype=dtype)), W[[1, 1]])
    for bad in (torch.ones(1, device="meta"), torch.ones(1).to_sparse(), torch.ones(1, dtype=torch.bfloat16)):
        with pytest.raises(TypeError, match="a Tensor cannot be read as an array: "):
            ops.gather(W, bad)
        with pytest.raises(TypeError, match="a Tensor cannot be read as an array: "):
            layer()(bad)


def test_tensorflow():
    tf = pytest.importorskip("tensorflow")
    both(tf.constant)
    np.testing.assert_array_equal(ops.gather(W, tf.Variable([3, 1])), W[[3, 1]])
    for bad in (tf.ragged.constant([[1], [1, 2]]), tf.sparse.from_dense([1, 0])):
        with pytest.raises(TypeError, match=r"ids must be integers, got (Ragged|Sparse)Tensor: make a list"):
            ops.gather(W, bad)

    @tf.function
    def symbolic(ids):
        return ops.gather(W, ids)

    with pytest.raises(TypeError, match="cannot be read as an array"):
        symbolic(tf.constant([1]))


def test_jax():
    jax = pytest.importorskip("jax")
    both(jax.numpy.asarray)
    with pytest.raises(TypeError, match="cannot be read as an array"):
        jax.jit(lambda ids: ops.gather(W, ids))(jax.numpy.asarray([1]))


def test_pandas():
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(layer()(pandas.Series([3.0, 1.0])), W[[3, 1]])
    for dtype in ("int64", "uint8", "Int64", "UInt16"):
        np.testing.assert_array_equal(layer()(pandas.Series([3, 1], dtype=dtype)), W[[3, 1]])
        np.testing.assert_array_equal(layer()(pandas.Index([3, 1], dtype=dtype)), W[[3, 1]])
    np.testing.assert_array_equal(layer()(pandas.DataFrame({"a": [3, 1]})), W[[[3], [1]]])
    for dtype in ("Int64", "boolean", object):
        with pytest.raises((TypeError, ValueError), match=r"ids\[1\] = (nan|<NA>|None)"):
            layer()(pandas.Series([1, None], dtype=dtype))
    with pytest.raises(TypeError, match="ids must be integers, got"):
        layer()(pandas.Series(["1"]))

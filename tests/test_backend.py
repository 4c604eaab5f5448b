"""What old code calls K: every function against plain NumPy and, where it is installed, tf.keras."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastembed
from fastembed import backend as K
from fastembed import layers

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.fixture(scope="module")
def tf_k():
    """The K of tf.keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    pytest.importorskip("tensorflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tf_keras").backend


def same(ours, expected, dtype=None, rtol=1e-6):
    assert isinstance(ours, np.ndarray)
    expected = np.asarray(expected)
    assert (ours.shape, ours.dtype) == (expected.shape, np.dtype(dtype or expected.dtype))
    if rtol and ours.dtype.kind == "f":
        np.testing.assert_allclose(ours, expected, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(ours, expected)


A = np.float32([[-3.5, -0.25, 0, 0.5], [1.5, 2.5, 0.75, -1], [0.125, 6.5, 20, -30]])
POSITIVE = np.float32([[0.25, 1, 9], [2, 0.5, 16]])
COUNTS = np.int32([[3, -4, 0], [7, 7, -9]])
CUBE = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 8 - 1
MASK = np.array([[True, False, True], [False, False, False]])
MATRICES = [CUBE, np.float32(np.arange(40)).reshape(2, 4, 5) / 16 - 1]

# (a call of K, what plain NumPy says): both read the same names.
CALLS = [
    ("K.equal(COUNTS, 7)", "COUNTS == 7"),
    ("K.not_equal(COUNTS, 7)", "COUNTS != 7"),
    ("K.greater(A, 0.5)", "A > np.float32(0.5)"),
    ("K.greater_equal(A, 0.5)", "A >= np.float32(0.5)"),
    ("K.less(A, 0.5)", "A < np.float32(0.5)"),
    ("K.less_equal(A, 0.5)", "A <= np.float32(0.5)"),
    ("K.maximum(A, 0.5)", "np.where(A > 0.5, A, np.float32(0.5))"),
    ("K.minimum(COUNTS, 0)", "np.where(COUNTS < 0, COUNTS, np.int32(0))"),
    ("K.clip(A, -1, 2)", "np.clip(A, np.float32(-1), np.float32(2))"),
    ("K.clip(A, None, 2)", "np.where(A > 2, np.float32(2), A)"),
    ("K.clip(A, 0, None)", "np.where(A < 0, np.float32(0), A)"),
    ("K.clip(A, 5, 2)", "np.full_like(A, 5)"),
    ("K.square(A)", "A * A"),
    ("K.square(COUNTS)", "COUNTS * COUNTS"),
    ("K.abs(COUNTS)", "np.where(COUNTS < 0, -COUNTS, COUNTS)"),
    ("K.sign(A)", "np.float32(A > 0) - np.float32(A < 0)"),
    ("K.round(A)", "np.rint(A)"),
    ("K.pow(A, 3)", "A * A * A"),
    ("K.pow(COUNTS, 2)", "COUNTS * COUNTS"),
    ("K.sqrt(POSITIVE)", "POSITIVE ** np.float32(0.5)"),
    ("K.sqrt(A)", "np.where(A < 0, np.float32(0), np.abs(A) ** np.float32(0.5))"),
    ("K.exp(A)", "np.float32(np.e ** A.astype(float))"),
    ("K.log(POSITIVE)", "np.log(POSITIVE)"),
    ("K.sigmoid(A)", "np.float32(0.5 + 0.5 * np.tanh(A / 2))"),
    ("K.hard_sigmoid(A)", "np.float32(np.clip(0.2 * A + 0.5, 0, 1))"),
    ("K.tanh(A)", "np.float32(1 - 2 / (1 + np.exp(2 * A.astype(float))))"),
    ("K.softplus(A)", "np.float32(np.log1p(np.exp(A.astype(float))))"),
    ("K.softsign(A)", "np.float32(A / (1 + np.abs(A)))"),
    ("K.elu(A)", "np.float32(np.where(A > 0, A, np.exp(A.astype(float)) - 1))"),
    ("K.elu(A, 0.5)", "np.float32(np.where(A > 0, A, 0.5 * (np.exp(A.astype(float)) - 1)))"),
    ("K.relu(A)", "A * (A > 0)"),
    ("K.relu(COUNTS)", "COUNTS * (COUNTS > 0)"),
    ("K.relu(A, alpha=0.5)", "np.float32(np.where(A > 0, A, 0.5 * A))"),
    ("K.relu(A, max_value=6)", "np.clip(A, np.float32(0), np.float32(6))"),
    ("K.relu(A, max_value=1.5)", "np.clip(A, np.float32(0), np.float32(1.5))"),
    ("K.relu(A, threshold=0.5)", "A * (A > 0.5)"),
    ("K.relu(A, threshold=-1)", "A * (A > -1)"),
    ("K.relu(A, 0.5, 6, 1)", "np.float32(np.where(A > 1, np.minimum(A, 6), 0.5 * (A - 1)))"),
    ("K.relu(A, max_value=6, threshold=-1)", "np.clip(A, np.float32(0), np.float32(6))"),
    ("K.softmax(A)", "np.float32(np.exp(A.astype(float)) / np.exp(A.astype(float)).sum(1, keepdims=True))"),
    ("K.softmax(CUBE, axis=1)", "np.exp(CUBE) / np.exp(CUBE).sum(1, keepdims=True)"),
    ("K.sum(A)", "np.float32(math.fsum(A.flat))"),
    ("K.sum(COUNTS, axis=1)", "np.int32([-1, 5])"),
    ("K.sum(CUBE, axis=[0, 2], keepdims=True)", "CUBE.sum((0, 2), keepdims=True)"),
    ("K.prod(COUNTS, axis=-1)", "np.int32([0, -441])"),
    ("K.max(CUBE, axis=(0, 1))", "CUBE[1, 2]"),
    ("K.min(COUNTS, axis=1, keepdims=True)", "np.int32([[-4], [-9]])"),
    ("K.mean(CUBE, axis=1)", "(CUBE[:, 0] + CUBE[:, 1] + CUBE[:, 2]) / 3"),
    ("K.mean(MASK)", "np.float32(2 / 6)"),
    ("K.mean(MASK, axis=1, keepdims=True)", "np.float32([[2 / 3], [0]])"),
    ("K.var(A, axis=0)", "np.float32(np.var(A.astype(float), axis=0))"),
    ("K.std(A, axis=[0, 1])", "np.float32(np.std(A.astype(float)))"),
    ("K.std(MASK)", "np.float32(np.std(MASK.astype(float)))"),
    ("K.any(COUNTS, axis=0)", "(COUNTS != 0).any(0)"),
    ("K.all(COUNTS, axis=1, keepdims=True)", "(COUNTS != 0).all(1, keepdims=True)"),
    ("K.any(MASK)", "np.array(True)"),
    ("K.argmax(COUNTS)", "np.int64([0, 0])"),
    ("K.argmin(COUNTS, axis=0)", "np.int64([0, 0, 1])"),
    ("K.l2_normalize(A, axis=1)", "A / np.linalg.norm(A, axis=1, keepdims=True)"),
    ("K.l2_normalize(A)", "A / np.linalg.norm(A)"),
    ("K.l2_normalize(np.zeros((2, 2), np.float32), axis=-1)", "np.zeros((2, 2), np.float32)"),
    ("K.dot(*MATRICES)", "np.tensordot(MATRICES[0], MATRICES[1], ([2], [1]))"),
    ("K.dot(COUNTS, COUNTS.T)", "(COUNTS[:, None] * COUNTS).sum(-1, dtype=np.int32)"),
    ("K.batch_dot(*MATRICES)", "np.einsum('bij,bjk->bik', *MATRICES)"),
    ("K.batch_dot(*MATRICES, axes=[2, 1])", "np.einsum('bij,bjk->bik', *MATRICES)"),
    ("K.batch_dot(CUBE, CUBE, axes=1)", "np.einsum('bji,bjk->bik', CUBE, CUBE)"),
    ("K.batch_dot(CUBE, CUBE, axes=(-1, 2))", "np.einsum('bij,bkj->bik', CUBE, CUBE)"),
    ("K.batch_dot(A, A)", "np.einsum('bi,bi->b', A, A)[:, None]"),
    ("K.batch_dot(A, A, axes=1)", "np.einsum('bi,bi->b', A, A)[:, None]"),
    ("K.batch_dot(CUBE, CUBE[:, 0])", "np.einsum('bij,bj->bi', CUBE, CUBE[:, 0])"),
    ("K.batch_dot(CUBE[:, 0], CUBE, axes=(1, 2))", "np.einsum('bj,bij->bi', CUBE[:, 0], CUBE)"),
    (
        "K.batch_dot(CUBE[:, :, None], CUBE, axes=(3, 2))",
        "np.einsum('bimj,bkj->bimk', CUBE[:, :, None], CUBE)",
    ),
    ("K.reshape(CUBE, (4, -1))", "CUBE.reshape(4, 6)"),
    ("K.flatten(CUBE)", "CUBE.ravel()"),
    ("K.batch_flatten(CUBE)", "CUBE.reshape(2, 12)"),
    ("K.batch_flatten(CUBE[:, 0, 0])", "CUBE[:, :1, 0]"),
    ("K.expand_dims(CUBE)", "CUBE[..., None]"),
    ("K.expand_dims(CUBE, 1)", "CUBE[:, None]"),
    ("K.squeeze(CUBE[:, :1], 1)", "CUBE[:, 0]"),
    ("K.transpose(CUBE)", "CUBE.T"),
    ("K.permute_dimensions(CUBE, (0, 2, 1))", "CUBE.swapaxes(1, 2)"),
    ("K.repeat(A, 3)", "np.stack([A, A, A], 1)"),
    ("K.repeat_elements(CUBE, 2, 1)", "CUBE[:, [0, 0, 1, 1, 2, 2]]"),
    ("K.concatenate([CUBE, CUBE])", "np.block([CUBE, CUBE])"),
    ("K.concatenate([CUBE, CUBE], axis=0)", "CUBE[[0, 1, 0, 1]]"),
    ("K.stack([A, A])", "A[None][[0, 0]]"),
    ("K.stack([A, A], axis=-1)", "A[..., None][..., [0, 0]]"),
    ("K.switch(np.array(True), A, A * 2)", "A"),
    ("K.switch(A > 0, A, A * 2)", "np.where(A > 0, A, A * 2)"),
    ("K.switch(CUBE[:, :, 0] > 0, CUBE, CUBE * 2)", "np.where(CUBE[:, :, :1] > 0, CUBE, CUBE * 2)"),
    ("K.constant(3, shape=(2, 2))", "np.full((2, 2), 3, np.float32)"),
    ("K.constant([1, 2, 3, 4], 'int32', (2, 2))", "np.int32([[1, 2], [3, 4]])"),
    ("K.zeros_like(COUNTS)", "COUNTS * 0"),
    ("K.ones_like(COUNTS, dtype='float32')", "np.full((2, 3), 1, np.float32)"),
    ("K.get_value(K.zeros((2, 3)))", "np.full((2, 3), 0, np.float32)"),
    ("K.get_value(K.ones((2,), 'int32'))", "np.int32([1, 1])"),
    ("K.get_value(K.eye(2))", "np.float32([[1, 0], [0, 1]])"),
    ("K.get_value(K.update(K.variable(A), A * 2))", "A * 2"),
    ("K.get_value(K.update_add(K.variable(A), A))", "A * 2"),
    ("K.get_value(K.update_sub(K.variable(A), A * 2))", "-A"),
    ("K.batch_get_value([K.variable(A), K.variable(A * 2)])[1]", "A * 2"),
    ("K.in_train_phase(A, lambda: 1 / 0, training=True)", "A"),
    ("K.in_test_phase(lambda: 1 / 0, A, training=1)", "A"),
    ("K.in_train_phase(A, A * 2)", "A * 2"),
    ("K.in_test_phase(A, A * 2)", "A"),
    ("K.stop_gradient(A)", "A"),
]
each_call = pytest.mark.parametrize(("call", "expected"), CALLS, ids=[call for call, _ in CALLS])


def _value(program, k):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return eval(program, {**globals(), "K": k})


@each_call
def test_what_numpy_says(call, expected):
    before = [array.copy() for array in (A, COUNTS, CUBE, MASK, POSITIVE)]
    same(_value(call, K), _value(expected, None))
    for array, was in zip((A, COUNTS, CUBE, MASK, POSITIVE), before):
        np.testing.assert_array_equal(array, was)


class _Tensors:
    """K of tf.keras, which takes tensors where ours takes arrays."""

    def __init__(self, k):
        self.k = k

    def __getattr__(self, name):
        import tensorflow as tf

        def as_tensors(value):
            if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
                return [*map(as_tensors, value)]
            return tf.constant(value) if isinstance(value, np.ndarray) else value

        def call(*args, **kwargs):
            return getattr(self.k, name)(*map(as_tensors, args), **kwargs)

        return call


@each_call
def test_what_tf_keras_says(call, expected, tf_k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = np.asarray(eval(call, {**globals(), "K": _Tensors(tf_k)}))
    same(_value(call, K), theirs, rtol=2e-6)


EDGES = [0, -0.0, 1, -1, 0.5, -2.5, 88, -88, 104, 1e30, -1e30, np.inf, -np.inf, np.nan]
UNARY = [
    "square",
    "abs",
    "sign",
    "round",
    "sqrt",
    "exp",
    "log",
    "sigmoid",
    "hard_sigmoid",
    "tanh",
    "softplus",
    "softsign",
    "elu",
    "relu",
    "max",
    "min",
    "sum",
    "prod",
    "mean",
    "var",
    "std",
    "argmax",
    "any",
    "all",
]


@pytest.mark.parametrize("name", UNARY)
def test_edges_are_those_of_tf_keras(name, tf_k):
    import tensorflow as tf

    for values in ([each] for each in EDGES):
        x = np.float32(values)
        theirs = getattr(tf_k, name)(tf.constant(x)).numpy()
        same(
            _value(f"K.{name}(np.float32({values}))".replace("nan", "np.nan").replace("inf", "np.inf"), K),
            theirs,
        )


@pytest.mark.parametrize("alpha", [0, 0.5, 2])
@pytest.mark.parametrize("max_value", [None, 0, 1.5, 6])
@pytest.mark.parametrize("threshold", [0, -1, 0.5])
def test_relu_of_edges(alpha, max_value, threshold, tf_k):
    import tensorflow as tf

    x = np.float32([each for each in EDGES if np.isfinite(each)] + [-1, 0.5, 1.5, 6, 7])
    theirs = tf_k.relu(tf.constant(x), alpha, max_value, threshold).numpy()
    same(K.relu(x, alpha, max_value, threshold), theirs)


def test_relu_says_nan():
    for kwargs in ({}, {"alpha": 0.5}, {"max_value": 6.0}, {"threshold": 1.0}):
        assert np.isnan(K.relu(np.float32([np.nan]), **kwargs)).all()
    same(K.relu(np.float32([-np.inf, np.inf]), threshold=1), np.float32([0, np.inf]))  # tf.keras: NaN


# --- Dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*UNARY, "softmax", "l2_normalize"])
@pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
def test_floats_stay_what_they_are(name, dtype):
    target = dtype if dtype != "bfloat16" else pytest.importorskip("ml_dtypes").bfloat16
    result = getattr(K, name)(A.astype(target))
    if name == "argmax":
        assert result.dtype == np.int64
    else:
        assert result.dtype == (bool if name in ("any", "all") else target)


def test_sums_of_float16_are_not_made_in_float16():
    x = np.full(4096, 2, np.float16)
    assert K.mean(x) == 2
    assert K.sum(np.full(4096, 0.1, np.float16)).item() == pytest.approx(409.6, rel=1e-3)
    assert K.sum(np.full(40000, 2, np.float16)) == np.inf
    assert K.std(np.float16([-60000, 60000])) == 60000


def test_python_s_numbers():
    assert K.sum([1.0, 2.0]).dtype == np.float32
    assert K.sum([1, 2]).dtype == np.int32
    assert K.maximum(np.float16([1]), 2.5).dtype == np.float16
    assert K.maximum(np.int8([1]), 2).dtype == np.int8
    assert K.maximum(np.int64([1]), np.float32([2])).dtype == np.float32
    assert K.concatenate([np.float32([1]), np.float64([2])]).dtype == np.float64
    assert K.stack([K.variable([1.0]), [2.0]]).dtype == np.float32
    assert K.zeros((2,)).dtype == K.ones((2,)).dtype == K.eye(2).dtype == "float32"
    assert isinstance(K.zeros((2,)), fastembed.Variable)
    assert not isinstance(K.zeros_like([1.0]), fastembed.Variable)
    assert K.constant(2**40, "int64") == 2**40


DTYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "bfloat16", "float32"]
ASK_KERAS = """
import itertools, json
from keras.backend import result_type
several = [*map({"int": int, "float": float}.get, names, names)]
print(json.dumps([result_type(*each) for n in (1, 2, 3) for each in itertools.product(several, repeat=n)]))
"""


def test_result_type_is_that_of_keras():
    pytest.importorskip("jax")  # which Keras's numpy backend imports
    if not importlib.util.find_spec("keras"):
        pytest.skip("Keras is not installed")
    names = [*DTYPES, "int", "float"]
    asked = subprocess.run(
        [sys.executable, "-c", f"names = {names}\n{ASK_KERAS}"],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        check=True,
        text=True,
    )
    ours = {}
    for n in (1, 2, 3):
        for several in itertools.product([*DTYPES, int, float], repeat=n):
            ours[several] = K.result_type(*several)
    theirs = dict(zip(ours, json.loads(asked.stdout)))
    # Keras's numpy backend has no 64 bits.
    assert {each: name.replace("int64", "int32") for each, name in ours.items()} == theirs


def test_result_type_of_64_bits():
    assert K.result_type() == K.result_type(None) == K.result_type("int64", "uint64") == "float32"
    assert K.result_type("int64", "int8") == K.result_type("uint32", "int8") == "int64"
    assert K.result_type("float64", "float32", "int64") == "float64"


def test_kinds_of_dtypes():
    assert [n for n in (*FLOATS, "bfloat16", *INTEGERS, "bool") if K.is_float_dtype(n)] == [
        *FLOATS,
        "bfloat16",
    ]
    assert [n for n in (*FLOATS, "bfloat16", *INTEGERS, "bool") if K.is_int_dtype(n)] == [*INTEGERS]
    assert K.standardize_dtype(np.int8) == "int8"


numbers = st.sampled_from(INTEGERS).flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(max_dims=3, max_side=4), elements=hnp.from_dtype(np.dtype(dtype))
    )
)


def exact_or_error(call, exact, dtype):
    """The exact value, or an error where the dtype cannot hold it."""
    info, exact = np.iinfo(dtype), np.asarray(exact, object)
    if all(info.min <= int(each) <= info.max for each in exact.flat):
        same(call(), exact.astype(dtype))
    else:
        with pytest.raises(ValueError, match=f"{np.dtype(dtype)} cannot hold"):
            call()


@given(numbers, st.data())
def test_integers_never_wrap_around(x, data):
    axis = data.draw(st.sampled_from([None, *range(x.ndim)]))
    big = x.astype(object)
    exact_or_error(lambda: K.sum(x, axis), big.sum(axis), x.dtype)
    exact_or_error(lambda: K.prod(x, axis), big.prod(axis), x.dtype)
    exact_or_error(lambda: K.square(x), big * big, x.dtype)
    exact_or_error(lambda: K.abs(x), abs(big), x.dtype)
    exact_or_error(lambda: K.dot(x.reshape(1, -1), x.reshape(-1, 1)), [[(big * big).sum()]], x.dtype)
    same(K.max(x, axis), np.max(x, axis))
    same(K.min(x, axis), np.min(x, axis))
    same(K.sign(x), np.sign(x))


@given(numbers, numbers)
def test_comparisons_are_exact_or_an_error(x, y):
    x, y = x.flat[0].reshape(()), y.flat[0].reshape(())
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
        operation = {"equal": "__eq__", "not_equal": "__ne__"}.get(
            name, f"__{name[0]}{'e' if '_' in name else 't'}__"
        )
        try:
            ours = getattr(K, name)(x, y)
        except ValueError as error:
            if not ("uint64" in (x.dtype, y.dtype) and "float32 cannot hold" in str(error)):
                raise  # any others an integer dtype holds together
        else:
            assert ours == getattr(int(x), operation)(int(y))


@given(st.integers(-(2**63), 2**64 - 1), st.sampled_from(FLOATS))
def test_an_integer_becomes_a_float_exactly_or_not_at_all(number, dtype):
    x = np.asarray(number, np.uint64 if number > 0 else np.int64)
    with np.errstate(over="ignore"):
        held = float(np.asarray(number, object).astype(dtype)) if abs(number) < 2**70 else 0
    if math.isfinite(held) and int(held) == number:
        same(K.maximum(x, np.zeros((), dtype)), np.maximum(np.asarray(held, dtype), 0, dtype=dtype))
    else:
        with pytest.raises(ValueError, match=f"{dtype} cannot hold {number}"):
            K.maximum(x, np.zeros((), dtype))


def test_integers_have_no_fractions():
    for name in (
        "mean",
        "var",
        "std",
        "exp",
        "log",
        "sqrt",
        "sigmoid",
        "tanh",
        "softplus",
        "elu",
        "l2_normalize",
    ):
        with pytest.raises(TypeError, match=r"expected floats, got dtype int32: K\.cast"):
            getattr(K, name)(COUNTS)
    with pytest.raises(ValueError, match=r"int32 cannot hold 0\.1"):
        K.relu(COUNTS, alpha=0.1)
    with pytest.raises(ValueError, match=r"int32 cannot hold 2\.5"):
        K.constant(2.5, "int32")
    with pytest.raises(ValueError, match="negative integer powers"):
        K.pow(COUNTS, -1)


def test_a_mask_is_no_number():
    for name in ("sum", "prod", "max", "min", "square", "abs", "sign", "exp"):
        with pytest.raises(TypeError, match="got dtype bool"):
            getattr(K, name)(MASK)
    with pytest.raises(TypeError, match="expected numbers, got dtype <U1"):
        K.square(np.array(["a"]))


def test_strings_can_be_compared_and_moved():
    words = np.array(["a", "b"])
    assert K.equal(words, "b").tolist() == [False, True]
    assert K.not_equal(words, "b").tolist() == [True, False]
    assert K.concatenate([words, words]).tolist() == ["a", "b", "a", "b"]
    assert K.expand_dims(words).tolist() == [["a"], ["b"]]


# --- Where there is nothing -----------------------------------------------------------------------


def test_nothing():
    nothing = np.zeros((2, 0), np.float32)
    same(K.sum(nothing, axis=1), np.float32([0, 0]))
    same(K.prod(nothing, axis=1), np.float32([1, 1]))
    assert np.isnan(_value("K.mean(np.zeros((2, 0), np.float32), axis=1)", K)).all()
    assert np.isnan(_value("K.std(np.zeros((2, 0), np.float32))", K))
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(ValueError, match=r"empty|zero-size"):
            getattr(K, name)(nothing, axis=1)
    same(K.batch_flatten(np.zeros((2, 0, 3), np.float32)), np.zeros((2, 0), np.float32))
    same(K.batch_flatten(np.zeros((0, 2, 3), np.float32)), np.zeros((0, 6), np.float32))
    same(K.batch_dot(nothing, nothing), np.zeros((2, 1), np.float32))
    same(K.batch_dot(np.zeros((0, 2, 3)), np.zeros((0, 3, 4))), np.zeros((0, 2, 4)))
    same(K.softmax(nothing), nothing)


# --- What cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("K.softmax(A[0])", r"softmax takes an array of two axes or more, got shape \(4,\)"),
        ("K.repeat(CUBE, 2)", r"two axes, \(samples, dim\), got shape \(2, 3, 4\)"),
        ("K.squeeze(CUBE, 1)", "cannot select an axis to squeeze out"),
        ("K.batch_dot(A[0], A)", r"two axes or more, got shapes \(4,\) and \(3, 4\)"),
        ("K.batch_dot(A[:2], A)", "two batches of one size"),
        ("K.batch_dot(A, A, axes=0)", "not axes behind the batch's"),
        ("K.batch_dot(A, A, axes=-2)", "not axes behind the batch's"),
        ("K.batch_dot(A, A, axes=2)", "not axes behind the batch's"),
        ("K.batch_dot(A, A, axes=(1, 1, 1))", "one axis, or one of each"),
        ("K.batch_dot(CUBE, CUBE)", "have different sizes: 4 and 3"),
        ("K.switch(A > 0, 1.0, 2.0)", "the condition has 2 axes and what it chooses from 0"),
        ("K.switch(A[:, 0] > 0, A, A)", r"may mean the first or the last of 2 axes: .*K\.expand_dims"),
        ("K.constant([1, 2], shape=(3,))", "cannot reshape"),
        ("K.random_uniform((2,), 0, 0, 'int32')", r"drawn from \[minval, maxval\), got 0 and 0"),
        ("K.random_uniform((2,), 0, 1.5, 'int32')", r"int64 cannot hold 1\.5"),
        ("K.random_normal((2,), dtype='int32')", "need a dtype of floats"),
        ("K.set_learning_phase(2)", "a learning phase is 0 or 1, got 2"),
        ("K.concatenate([np.int64([2**53 + 1]), np.float64([0])])", "float64 cannot hold 9007199254740993"),
        ("K.not_equal(np.uint8([1]), 300)", "uint8 cannot hold 300"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        eval(call)


# --- Variables, phases, names ---------------------------------------------------------------------


def test_batch_set_value_is_all_or_nothing():
    first, second = K.variable([1.0, 2.0]), K.variable([3], "int32")
    K.batch_set_value([(first, [5, 6]), (second, [7.0])])
    assert [v.tolist() for v in K.batch_get_value([first, second])] == [[5, 6], [7]]
    for bad in ([7.5], [7, 8]):
        with pytest.raises(ValueError, match=r"int32 cannot hold|shape"):
            K.batch_set_value([(first, [0, 0]), (second, bad)])
        assert K.get_value(first).tolist() == [5, 6]
    values = K.batch_get_value([first])
    values[0][:] = 0
    assert K.get_value(first).tolist() == [5, 6]


def test_updates_give_the_variable_back():
    v = K.variable([1.0, 2.0])
    assert K.update(v, [3, 4]) is K.update_add(v, 1) is K.update_sub(v, [1, 2]) is v
    assert K.get_value(v).tolist() == [3, 3]


def test_random_values():
    x = K.random_uniform((1000,), -1, 3, seed=1)
    assert x.dtype == np.float32
    assert -1 <= x.min() < -0.9
    assert 2.9 < x.max() < 3
    assert (x == K.random_uniform((1000,), -1, 3, seed=1)).all()
    assert (K.random_uniform((1000,)) != K.random_uniform((1000,))).any()
    dice = K.random_uniform((3000,), -2, 3, "int8", seed=1)
    assert dice.dtype == np.int8
    counts = [int((dice == side).sum()) for side in (-2, -1, 0, 1, 2)]
    assert sum(counts) == 3000
    assert all(500 < count < 700 for count in counts)
    normal = K.random_normal((4000,), 5, 2, "float64", seed=1)
    assert normal.dtype == np.float64
    assert abs(normal.mean() - 5) < 0.2
    assert abs(normal.std() - 2) < 0.1
    same(K.get_value(K.random_uniform_variable((1000,), -1, 3, seed=1)), x)
    same(K.get_value(K.random_normal_variable((4000,), 5, 2, "float64", seed=1)), normal)


def test_every_layer_is_told_the_phase():
    class Noisy(layers.Layer):
        def call(self, inputs):
            K.set_learning_phase(K.learning_phase())
            return K.in_train_phase(lambda: inputs + 1, inputs)

    noisy, x = Noisy(), np.float32([1])
    assert (K.learning_phase(), noisy(x), noisy(x, training=True), noisy(x, training=False)) == (0, 1, 2, 1)
    with fastembed.recording():
        assert (K.learning_phase(), noisy(x), noisy(x, training=False)) == (1, 2, 1)
        K.set_learning_phase(True)
        with pytest.raises(
            ValueError, match="the learning phase is 1 here, not 0: call layers with training=False"
        ):
            K.set_learning_phase(0)
    K.set_learning_phase(0)
    with pytest.raises(
        ValueError, match="the learning phase is 0 here, not 1: call layers with training=True"
    ):
        K.set_learning_phase(1)
    assert K.in_train_phase(1, 2, training=np.array(1)) == 1


def test_switch_calls_only_what_it_chooses():
    called = []
    assert K.switch(0, lambda: called.append("then"), lambda: called.append("else") or 7) == 7
    assert called == ["else"]
    v = K.variable([1.0])
    assert K.switch(1, v, 0) is v
    same(K.switch([True, False], lambda: [1.0, 2.0], lambda: 5), np.float32([1, 5]))
    same(K.switch([True], A, 0), A)
    same(K.switch([[True, False]], 5, np.float32([[1, 2]])), np.float32([[5, 2]]))


def test_uids_begin_at_one():
    K.reset_uids()
    assert [K.get_uid("embedding"), K.get_uid("embedding"), K.get_uid(), K.get_uid("dense")] == [1, 2, 1, 1]
    assert layers.Embedding(2, 2).name == "embedding"  # tf.keras counts these apart
    K.clear_session()
    assert K.get_uid("embedding") == 1
    with fastembed.era("keras2"):
        assert layers.Embedding(2, 2).name == "embedding_2"  # and Keras 2 did not
    K.reset_uids()
    assert layers.Embedding(2, 2).name == "embedding"
    K.reset_uids()


def test_what_is_said_of_the_backend():
    assert (K.backend(), K.image_data_format()) == ("numpy", "channels_last")
    with K.name_scope("a") as name:
        assert name == "a"


def test_nothing_is_missing():
    asked = [
        "batch_get_value",
        "batch_set_value",
        "batch_dot",
        "expand_dims",
        "squeeze",
        "flatten",
        "batch_flatten",
        "reshape",
        "repeat",
        "repeat_elements",
        "permute_dimensions",
        "transpose",
        "concatenate",
        "stack",
        "mean",
        "sum",
        "max",
        "min",
        "prod",
        "std",
        "var",
        "any",
        "all",
        "argmax",
        "argmin",
        "l2_normalize",
        "clip",
        "equal",
        "not_equal",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "maximum",
        "minimum",
        "switch",
        "in_train_phase",
        "in_test_phase",
        "learning_phase",
        "set_learning_phase",
        "random_uniform",
        "random_normal",
        "random_uniform_variable",
        "random_normal_variable",
        "zeros",
        "ones",
        "zeros_like",
        "ones_like",
        "eye",
        "constant",
        "update",
        "update_add",
        "update_sub",
        "get_uid",
        "reset_uids",
        "name_scope",
        "square",
        "sqrt",
        "exp",
        "log",
        "abs",
        "pow",
        "sign",
        "round",
        "sigmoid",
        "softmax",
        "relu",
        "tanh",
        "hard_sigmoid",
        "softplus",
        "softsign",
        "elu",
        "stop_gradient",
        "is_float_dtype",
        "is_int_dtype",
        "result_type",
        "standardize_dtype",
        "image_data_format",
        "backend",
        "gather",
        "cast",
        "cast_to_floatx",
        "variable",
        "get_value",
        "set_value",
        "eval",
        "int_shape",
        "ndim",
        "dtype",
        "one_hot",
        "dot",
        "clear_session",
        "epsilon",
        "floatx",
        "set_epsilon",
        "set_floatx",
    ]
    assert sorted(asked) == sorted(K.__all__)
    assert all(getattr(K, name).__doc__ for name in asked)

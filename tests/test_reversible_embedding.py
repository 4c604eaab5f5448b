"""ReversibleEmbedding, in both directions: results and gradients against NumPy and finite differences."""

from __future__ import annotations

import copy
import pickle

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastembed import initializers
from fastembed._rows import Table
from fastembed.layers import Embedding, ReversibleEmbedding
from fastembed.ops import IndexedSlices
from fastembed.quantizers import AbsMaxQuantizer, Int4QuantizationConfig, Int8QuantizationConfig

every_tie = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])


def made(rng, tied=True, rows=6, columns=4, **kwargs):
    layer = ReversibleEmbedding(rows, columns, tie_weights=tied, **kwargs)
    layer.build()
    layer.set_weights([rng.standard_normal(v.shape) for v in layer.weights])
    return layer


def kernel(layer):
    """What vectors are multiplied with, of shape (columns, rows)."""
    return layer.weights[0].numpy().T if layer.tie_weights else layer.reverse_embeddings.numpy()


# --- Logits ---------------------------------------------------------------------------------------


@every_tie
@given(
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    cap=st.one_of(st.none(), st.floats(0.1, 50)),
    dtype=st.sampled_from(["float32", "float64", "float16", "int64", "list"]),
)
def test_logits(tied, shape, rows, columns, cap, dtype):
    rng = np.random.default_rng(0)
    layer = made(rng, tied, rows, columns, logit_soft_cap=cap)
    if 0 in shape and dtype == "list":
        dtype = "float32"  # an empty list does not tell how long its vectors would be
    vectors = (rng.standard_normal((*shape, columns)) * 3).astype("f4" if dtype == "list" else dtype)
    expected = vectors.astype(float) @ kernel(layer).astype(float)
    if cap is not None:
        expected = cap * np.tanh(expected / cap)
    logits = layer(vectors.tolist() if dtype == "list" else vectors, reverse=True)
    assert logits.dtype == (np.float64 if dtype == "float64" else np.float32)
    assert list(logits.shape) == layer.compute_output_shape(vectors.shape, reverse=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@every_tie
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("reverse_dtype", [None, "float32", "float64", "float16", "bfloat16"])
def test_dtypes_of_logits(rng, tied, dtype, reverse_dtype):
    layer = made(rng, tied, dtype=dtype, reverse_dtype=reverse_dtype)
    rows = layer(np.arange(6))
    assert rows.dtype.name == layer.compute_dtype
    logits = layer(rows, reverse=True)
    assert logits.dtype.name == (reverse_dtype or layer.compute_dtype)
    np.testing.assert_allclose(logits.astype(float), rows.astype(float) @ kernel(layer), rtol=0.02, atol=0.05)


def test_ids_go_the_way_of_any_embedding(rng):
    layer = made(rng, mask_zero=True, out_of_range="zeros")
    plain = Embedding(6, 4, weights=layer.weights[0], out_of_range="zeros")
    ids = np.array([[1, 5], [0, 6]])
    for _ in range(2):
        np.testing.assert_array_equal(layer(ids), plain(ids))
    assert isinstance(layer._table, Table)  # which answers alone
    np.testing.assert_array_equal(
        layer(ids, reverse=False, out_of_range="clip"), plain(ids, out_of_range="clip")
    )
    with pytest.raises(ValueError, match="not an integer"):
        layer([0.5])
    assert layer.compute_mask(ids) is None
    assert layer.compute_output_shape((2, 2)) == [2, 2, 4]


@pytest.mark.parametrize("shape", [(), (3,), (2, 6)], ids=str)
def test_vectors_of_another_length(rng, shape):
    with pytest.raises(ValueError, match="vectors of length 4"):
        made(rng)(np.ones(shape), reverse=True)


@pytest.mark.parametrize("cap", [0, -1, np.nan, np.inf])
def test_caps(cap):
    with pytest.raises(ValueError, match="logit_soft_cap"):
        ReversibleEmbedding(2, 2, logit_soft_cap=cap)
    with pytest.raises(ValueError, match="reverse_dtype"):
        ReversibleEmbedding(2, 2, reverse_dtype="int32")


def test_logits_are_the_callers_own(rng):
    layer = made(rng, rows=4, columns=4, logit_soft_cap=2)
    vectors = np.eye(4, dtype="f4")
    before = layer.get_weights()[0]
    first = layer(vectors, reverse=True)
    first[:] = 0
    assert layer(vectors, reverse=True).any()
    np.testing.assert_array_equal(layer.get_weights()[0], before)
    np.testing.assert_array_equal(vectors, np.eye(4))


# --- Gradients ------------------------------------------------------------------------------------


def dense(gradient):
    return gradient.to_dense() if isinstance(gradient, IndexedSlices) else gradient


def differences(loss, read, write, step=1e-5):
    """Central differences of ``loss`` along every number that ``read`` returns and ``write`` sets."""
    value, found = read(), np.zeros(read().shape)
    for place in np.ndindex(*value.shape):
        ends = []
        for sign in (1, -1):
            changed = value.copy()
            changed[place] += sign * step
            write(changed)
            ends.append(loss())
        found[place] = (ends[0] - ends[1]) / (2 * step)
    write(value)
    return found


@every_tie
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)], ids=str)
def test_gradients_are_those_of_finite_differences(rng, tied, cap, lora, shape):
    layer = made(rng, tied, dtype="float64", logit_soft_cap=cap)
    if lora:
        normal = initializers.RandomNormal(stddev=1.0, seed=1)
        layer.enable_lora(2, 3, a_initializer=normal, b_initializer=normal)
    ids = np.array([1, 5, 1])
    vectors = rng.standard_normal(shape)
    up_rows, up_logits = rng.standard_normal((3, 4)), rng.standard_normal((*shape[:-1], 6))

    def loss():
        return float((layer(ids) * up_rows).sum() + (layer(vectors, reverse=True) * up_logits).sum())

    layer(ids, training=True)
    layer(vectors, reverse=True, training=True)
    gradient = layer.backward(up_logits)
    assert layer.backward(up_rows) is None

    def set_vectors(value):
        vectors[...] = value

    expected = differences(loss, vectors.copy, set_vectors)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    for variable in layer.weights:
        if not variable.trainable:
            assert variable.gradient is None
            continue
        # float32 variables need larger steps; the loss is a polynomial of low degree but for the cap
        step, tolerance = (1e-5, 1e-6) if variable.dtype == "float64" else (1e-2, 2e-3)
        expected = differences(loss, variable.numpy, variable.assign, step)
        np.testing.assert_allclose(dense(variable.gradient), expected, atol=tolerance)
    if not tied and not lora:
        assert isinstance(layer.weights[0].gradient, IndexedSlices)  # the way back does not touch it


def test_a_call_is_told_from_its_reverse(rng):
    layer = made(rng)
    square = made(rng, rows=4, columns=4)  # where shapes alone do not tell
    for each in (layer, square):
        vectors = rng.standard_normal((2, 4)).astype("f4")
        each(np.arange(4), training=True)
        each(vectors, True, training=True)
        each(vectors.astype(int).clip(0, 3), training=True)
        assert each.backward(np.ones((2, 4, 4))) is None
        assert each.backward(np.ones((2, each.input_dim))).shape == (2, 4)
        assert each.backward(np.ones((4, 4))) is None
        with pytest.raises(RuntimeError, match="no recorded call"):
            each.backward(np.ones((4, 4)))


def test_what_is_remembered_is_private(rng):
    layer = made(rng, logit_soft_cap=1)
    vectors = rng.standard_normal((2, 4)).astype("f4")
    logits = layer(vectors, reverse=True, training=True)
    layer.backward(np.ones((2, 6)))
    expected = dense(layer.weights[0].gradient)
    layer.weights[0].clear_gradient()
    logits = layer(vectors, reverse=True, training=True)
    logits[:] = vectors[:] = 0
    layer.backward(np.ones((2, 6)))
    np.testing.assert_array_equal(dense(layer.weights[0].gradient), expected)


@every_tie
def test_gradients_of_frozen_weights(rng, tied):
    layer = made(rng, tied, trainable=False)
    layer.trainable = False
    layer(np.ones((2, 4), "f4"), reverse=True, training=True)
    gradient = layer.backward(np.ones((2, 6)))
    np.testing.assert_allclose(gradient, np.ones((2, 6)) @ kernel(layer).T, rtol=1e-5)
    assert all(variable.gradient is None for variable in layer.weights)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_the_gradient_has_the_dtype_of_the_vectors(rng, dtype):
    layer = made(rng)
    layer(np.ones((2, 4), dtype), reverse=True, training=True)
    assert layer.backward(np.ones((2, 6))).dtype == ("float32" if dtype == "int64" else dtype)


# --- Stored in other ways -------------------------------------------------------------------------

CONFIGS = {
    "int8": Int8QuantizationConfig(),
    "int8, float vectors": Int8QuantizationConfig(activation_quantizer=None),
    "int4": Int4QuantizationConfig(block_size=None),
    "int4, int8 vectors": Int4QuantizationConfig(None, "abs_max_quantizer", None),
    "int4 in blocks": Int4QuantizationConfig(block_size=3),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def dequantized(layer):
    """The quantised kernel as floats, by way of a lookup."""
    if layer.tie_weights:
        return layer(np.arange(layer.input_dim)).T
    arrays = [v.numpy() for v in layer.weights if v.name.startswith("reverse")]
    twin = Embedding(layer.input_dim, layer.output_dim, dtype=layer.dtype_policy)
    twin.build()
    own = [array.T.copy() for array in arrays]
    twin.set_weights([*own, *([layer.g_idx.numpy()] if len(own) == 3 else [])])
    return twin(np.arange(layer.input_dim)).T


@every_tie
@every_config
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("columns", [1, 7, 1100])
def test_quantised_logits_and_gradients(rng, tied, config, lora, columns):
    layer = made(rng, tied, rows=6, columns=columns, logit_soft_cap=100)
    layer.quantize(config=config)
    matrix = dequantized(layer)
    if lora:
        layer.enable_lora(2, b_initializer="ones")
        if tied:
            matrix = matrix + (layer.lora_embeddings_a.numpy() @ layer.lora_embeddings_b.numpy()).T
    vectors = rng.standard_normal((3, columns)).astype("f4")
    logits = layer(vectors, reverse=True, training=True)
    expected = 100 * np.tanh(vectors @ matrix / 100)
    exact = config.activation_quantizer is None
    # Each vector is off by at most half a step in each place.
    step = 0 if exact else np.abs(vectors).max() / 127 / 2
    allowed = step * np.abs(matrix).sum(axis=0) + 1e-3
    assert (np.abs(logits - expected) <= allowed).all()
    upstream = np.ones((3, 6), "f4")
    gradient = layer.backward(upstream)
    slope = 1 - (logits / 100) ** 2
    np.testing.assert_allclose(gradient, (upstream * slope) @ matrix.T, rtol=1e-3, atol=1e-3)
    learned = {v.name for v in layer.weights if v.gradient is not None}
    assert learned == ({"lora_embeddings_a", "lora_embeddings_b"} if lora and tied else set())


def test_sums_of_int8_are_exact(rng):
    """Codes near their largest, so many that float32 could not add them up."""
    columns = 200_001
    layer = ReversibleEmbedding(2, columns, weights=rng.integers(100, 128, (2, columns)))
    layer.quantize("int8")
    vectors = rng.integers(100, 128, (3, columns)).astype("f4")
    codes, scale = layer.get_weights()
    vector_codes, vector_scale = AbsMaxQuantizer()(vectors)
    total = vector_codes.astype(np.int64) @ codes.astype(np.int64).T
    expected = total / (vector_scale.astype(float) * scale.astype(float))
    np.testing.assert_allclose(layer(vectors, reverse=True), expected, rtol=2e-7)


@every_tie
@every_config
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies(rng, tied, config, copied):
    layer = made(rng, tied, name="words", logit_soft_cap=3.0)
    vectors = rng.standard_normal((3, 4)).astype("f4")
    for quantise in (False, True):
        if quantise:
            layer.quantize(config=config)
        twin = copied(layer)
        assert (twin.name, twin.get_config()) == (layer.name, layer.get_config())
        np.testing.assert_array_equal(twin(vectors, reverse=True), layer(vectors, reverse=True))
        np.testing.assert_array_equal(twin(np.arange(6)), layer(np.arange(6)))
        again = ReversibleEmbedding.from_config(layer.get_config())
        again.build()
        store = {}
        layer.save_own_variables(store)
        again.load_own_variables(store)
        np.testing.assert_array_equal(again(vectors, reverse=True), layer(vectors, reverse=True))
        with pytest.raises(ValueError, match="variables"):
            again.load_own_variables({**store, str(len(store)): store["0"]})


@every_tie
def test_what_cannot_be_quantised_changes_nothing(rng, tied):
    layer = made(rng, tied)
    layer.weights[-1].assign(np.full(layer.weights[-1].shape, np.nan))
    before = layer.weights
    with pytest.raises(ValueError, match="finite"):
        layer.quantize("int8")
    assert [*map(id, layer.weights)] == [*map(id, before)]
    assert layer.quantization_mode is None
    assert layer.quantization_config is None


@every_tie
def test_a_policy_that_is_set_quantises_both(rng, tied):
    layer = made(rng, tied)
    layer.dtype_policy = "int4/2_from_float32"
    assert [v.dtype for v in layer.weights if v.name.endswith("embeddings")] == ["int8"] * (2 - tied)
    assert layer(layer(np.arange(6)), reverse=True).shape == (6, 6)


@every_config
def test_quantised_logits_in_another_dtype(rng, config):
    layer = made(rng, reverse_dtype="float64")
    layer.quantize(config=config)
    vectors = rng.standard_normal((3, 4)).astype("f4")
    logits = layer(vectors, reverse=True)
    assert logits.dtype == np.float64
    np.testing.assert_allclose(logits, vectors @ dequantized(layer), atol=0.1)

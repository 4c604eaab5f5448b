"""LoRA: rows, gradients, what is stored; against plain NumPy and finite differences."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import tracemalloc

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastembed import Variable, initializers, ops, quantizers
from fastembed.layers import Embedding, storage
from fastembed.ops import IndexedSlices
from fastembed.tables import DenseTable
from fastembed.tables.lora import LoraTable


def with_lora(rng, rows=6, columns=5, rank=2, alpha=None, dtype="float32", mode=None, **kwargs):
    """A layer with LoRA in which no array is zero."""
    layer = Embedding(rows, columns, weights=rng.standard_normal((rows, columns)), dtype=dtype, **kwargs)
    if mode is not None:
        layer.quantize(mode)
    normal = initializers.RandomNormal(stddev=1.0, seed=1)
    layer.enable_lora(rank, alpha, a_initializer=normal, b_initializer=normal)
    return layer


def product(layer):
    """What LoRA adds to the table."""
    a, b = layer.lora_embeddings_a.numpy().astype(float), layer.lora_embeddings_b.numpy().astype(float)
    return layer.lora_alpha / layer.lora_rank * a @ b


# --- Rows -----------------------------------------------------------------------------------------


@given(
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    rank=st.integers(1, 9),
    alpha=st.one_of(st.none(), st.floats(0.1, 20)),
    mode=st.sampled_from([None, "int8", "int4"]),
    data=st.data(),
)
def test_rows(rows, columns, rank, alpha, mode, data):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((rows, columns)).astype("f4")
    plain = Embedding(rows, columns, weights=table)
    if mode is not None:
        plain.quantize(mode)
    layer = with_lora(np.random.default_rng(0), rows, columns, rank, alpha, mode=mode)
    assert layer.lora_alpha == (rank if alpha is None else alpha)
    below = st.integers(0, rows - 1)
    ids = data.draw(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=3), elements=below))
    expected = plain(ids) + product(layer)[ids]
    one_hot = np.eye(rows)[ids]
    for _ in range(2):
        found = layer(ids)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(one_hot @ layer.embeddings, found, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("mode", [None, "int8", "int4"])
def test_dtypes(rng, dtype, mode):
    if mode == "int8" and "float16" in dtype and "bfloat16" not in dtype:
        pytest.skip("int8 has no results in float16")
    layer = with_lora(rng, dtype=dtype, mode=mode)
    assert layer.lora_embeddings_a.dtype == layer.lora_embeddings_b.dtype == "float32"
    base = Embedding(6, 5, weights=np.random.default_rng(0).standard_normal((6, 5)), dtype=dtype)
    if mode is not None:
        base.quantize(mode)
    rows = layer(np.arange(6))
    assert rows.dtype.name == layer.embeddings.dtype.name == layer.compute_dtype
    expected = base(np.arange(6)).astype(float) + product(layer)
    tolerance = 1e-5 if dtype == "float64" else 0.05
    np.testing.assert_allclose(rows.astype(float), expected, atol=tolerance)
    np.testing.assert_allclose(layer.embeddings.astype(float), expected, atol=tolerance)


@pytest.mark.parametrize("policy", ["zeros", "clip", "wrap", "nan", 2])
def test_ids_outside_the_table(rng, policy):
    layer = with_lora(rng, out_of_range=policy)
    plain = Embedding(6, 5, weights=layer.embeddings)
    ids = np.array([[0, 6, -1], [5, 8, -7]])
    np.testing.assert_allclose(layer(ids), plain(ids, out_of_range=policy), atol=1e-5)


def test_the_product_is_never_made(rng):
    rows, columns = 20_000, 64
    layer = with_lora(rng, rows, columns)
    ids = np.arange(100)
    layer(ids)
    tracemalloc.start()
    layer(ids, training=True)
    layer.backward(np.ones((100, columns)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * columns * 4 / 20


def test_lookups_follow_the_variables(rng):
    layer = with_lora(rng)
    ids = np.arange(6)
    layer(ids)
    for variable in layer.weights:
        variable.assign(rng.standard_normal(variable.shape))
        expected = layer.get_weights()[0] + product(layer)
        np.testing.assert_allclose(layer(ids), expected, atol=1e-5)
    layer.set_weights([rng.standard_normal(v.shape) for v in layer.weights])
    np.testing.assert_allclose(layer(ids), layer.get_weights()[0] + product(layer), atol=1e-5)


@pytest.mark.parametrize("mode", [None, "int8"])
def test_threads_see_whole_rows(rng, mode):
    layer = with_lora(rng, 30, 20, mode=mode)
    ids = np.arange(30)
    weights = [layer.get_weights(), [np.ones_like(array) for array in layer.get_weights()]]
    expected = []
    for each in weights:
        layer.set_weights(each)
        expected.append(layer(ids))
    wrong, stop = [], threading.Event()

    def look_up():
        while not stop.is_set():
            found = layer(ids)
            if not any(np.array_equal(found, each) for each in expected):
                wrong.append(found)

    readers = [threading.Thread(target=look_up) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(300):
        layer.set_weights(weights[number % 2])
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


# --- Gradients ------------------------------------------------------------------------------------


def dense(gradient):
    return gradient.to_dense() if isinstance(gradient, IndexedSlices) else gradient


def differences(loss, variable, step=1e-2):
    """Central differences of a loss that depends linearly on each number of a variable."""
    value, found = variable.numpy(), np.zeros(variable.shape)
    for place in np.ndindex(*variable.shape):
        ends = []
        for sign in (1, -1):
            changed = value.astype(float)
            changed[place] += sign * step
            variable.assign(changed)
            ends.append(loss())
        found[place] = (ends[0] - ends[1]) / (2 * step)
    variable.assign(value)
    return found


@pytest.mark.parametrize("mode", [None, "int8", "int4"])
@pytest.mark.parametrize("policy", ["raise", "zeros", "clip", "wrap", "nan", 2])
def test_gradients_are_those_of_finite_differences(rng, policy, mode):
    layer = with_lora(rng, alpha=3, mode=mode, out_of_range=policy)
    ids = np.array([[1, 4, 1], [0, 4, 4]])
    if policy != "raise":
        ids[0, 0], ids[1, 0] = 7, -1
    upstream = rng.standard_normal((2, 3, 5)).astype("f4")
    layer(ids, training=True)
    layer.backward(upstream)
    a, b = layer.lora_embeddings_a, layer.lora_embeddings_b
    assert isinstance(a.gradient, IndexedSlices)

    def loss():
        return float(np.nansum(layer(ids).astype(float) * upstream))

    for variable in (a, b):
        np.testing.assert_allclose(dense(variable.gradient), differences(loss, variable), atol=2e-3)
    assert all(v.gradient is None for v in layer.weights if not v.name.startswith("lora"))


def test_gradients_add_up_and_can_be_switched_off(rng):
    layer = with_lora(rng)
    for _ in range(2):
        layer([1, 2], training=True)
        layer.backward(np.ones((2, 5)))
    twice = [dense(v.gradient) for v in layer.trainable_weights]
    for variable in layer.weights:
        variable.clear_gradient()
    layer([1, 2], training=True)
    layer.backward(np.full((2, 5), 2))
    for now, then in zip(layer.trainable_weights, twice):
        np.testing.assert_allclose(dense(now.gradient), then, rtol=1e-6)
        now.clear_gradient()
    layer.trainable = False
    layer([1, 2], training=True)
    layer.backward(np.ones((2, 5)))
    assert all(variable.gradient is None for variable in layer.weights)


def test_a_base_that_is_made_trainable_learns_too(rng):
    layer = with_lora(rng)
    layer.trainable = True  # as in Keras, this thaws all of it
    layer([1, 2], training=True)
    layer.backward(np.ones((2, 5)))
    np.testing.assert_array_equal(layer.weights[0].gradient.values, np.ones((2, 5)))


def test_dropped_rows(rng):
    layer = with_lora(rng, dropout=0.5)
    ids = np.arange(6)
    rows = layer(ids, training=True)
    layer.backward(np.ones((6, 5)))
    kept = (rows != 0).any(axis=1)
    values = dense(layer.lora_embeddings_a.gradient)
    assert (values[kept] != 0).all()
    assert (values[~kept] == 0).all()


def test_it_learns(rng):
    """Steps downhill bring rows of a low-rank target near it, with the table as it was."""
    target = (rng.standard_normal((6, 2)) @ rng.standard_normal((2, 5))).astype("f4")
    layer = Embedding(6, 5, weights=np.zeros((6, 5)))
    layer.enable_lora(2, a_initializer=initializers.HeUniform(seed=1))
    ids = np.arange(6)
    assert not layer(ids).any()
    for _ in range(2000):
        rows = layer(ids, training=True)
        layer.backward(2 * (rows - target))
        for variable in layer.trainable_weights:
            variable.assign_sub(0.02 * dense(variable.gradient))
            variable.clear_gradient()
    np.testing.assert_allclose(layer(ids), target, atol=1e-2)
    assert not layer.weights[0].numpy().any()


def test_regularizers(rng):
    layer = with_lora(rng, embeddings_regularizer="l2")
    expected = [0.01 * np.square(v.numpy()).sum() for v in layer.weights[1:]]
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-5)


# --- Stored ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "mixed_float16"])
def test_the_merged_table_is_saved(rng, dtype):
    layer = with_lora(rng, alpha=5, dtype=dtype)
    store = {}
    layer.save_own_variables(store)
    assert list(store) == ["0"]
    assert store["0"].dtype == {"float64": np.float64}.get(dtype, np.float32)
    merged = layer.get_weights()[0] + product(layer)
    np.testing.assert_allclose(store["0"], merged, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        quantizers.Int8QuantizationConfig(),
        quantizers.Int4QuantizationConfig(block_size=None),
        quantizers.Int4QuantizationConfig(block_size=2),
    ],
)
@pytest.mark.parametrize("after", [True, False])
def test_a_quantised_table_is_merged_and_quantised_again(rng, config, after):
    layer = with_lora(rng) if after else Embedding(6, 5, weights=rng.standard_normal((6, 5)))
    layer.quantize(config=config)
    if not after:
        layer.enable_lora(2, b_initializer="ones")
    store = {}
    layer.save_own_variables(store)
    merged = Embedding(6, 5, weights=layer.embeddings)
    merged.quantize(config=config)
    assert len(store) == len(merged.get_weights())
    for stored, expected in zip(store.values(), merged.get_weights()):
        np.testing.assert_allclose(stored, expected, rtol=1e-5)
    layer.load_own_variables(store)
    np.testing.assert_allclose(layer(np.arange(6)), merged(np.arange(6)), rtol=1e-5, atol=1e-5)


def test_loading_leaves_a_layer_that_can_learn(rng):
    layer = Embedding(6, 5)
    layer.build()
    layer.enable_lora(2, a_initializer=initializers.HeUniform(seed=3))
    fresh = layer.lora_embeddings_a.numpy()
    layer.set_weights([rng.standard_normal(v.shape) for v in layer.weights])
    table = rng.standard_normal((6, 5)).astype("f4")
    layer.load_own_variables({"0": table})
    np.testing.assert_array_equal(layer(np.arange(6)), table)
    np.testing.assert_array_equal(layer.lora_embeddings_a, fresh)
    assert not layer.lora_embeddings_b.numpy().any()
    layer(np.arange(6), training=True)
    layer.backward(np.ones((6, 5)))
    assert layer.lora_embeddings_b.gradient.all()


def test_loading_is_all_or_nothing(rng):
    layer = with_lora(rng)
    before = layer.get_weights()
    for bad in ({}, {"0": np.ones((5, 6))}, {"0": np.full((6, 5), "x")}, {"0": before[0], "1": before[1]}):
        with pytest.raises((TypeError, ValueError)):
            layer.load_own_variables(bad)
        for now, then in zip(layer.get_weights(), before):
            np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("mode", [None, "int8", "int4"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_are_independent(rng, copied, mode):
    layer = with_lora(rng, name="words", alpha=7, mode=mode)
    rows = layer(np.arange(6))
    twin = copied(layer)
    assert (twin.name, twin.get_config()) == (layer.name, layer.get_config())
    for _ in range(2):
        np.testing.assert_array_equal(twin(np.arange(6)), rows)
    twin.lora_embeddings_b.assign(np.zeros((2, 5)))
    assert (twin(np.arange(6)) != rows).all()
    np.testing.assert_array_equal(layer(np.arange(6)), rows)
    twin([1], training=True)
    twin.backward(np.ones((1, 5)))
    assert twin.lora_embeddings_a.gradient is not None
    assert layer.lora_embeddings_a.gradient is None


def test_configs():
    layer = Embedding(6, 5, lora_rank=2, lora_alpha=7)
    again = Embedding.from_config(layer.get_config())
    again.build()
    assert (again.lora_enabled, again.lora_rank, again.lora_alpha) == (True, 2, 7)
    assert again.get_config()["lora_alpha"] == 7
    again = Embedding(6, 5)
    again.build()
    again.enable_lora(3, lora_alpha=0.5)
    assert Embedding.from_config(again.get_config()).lora_alpha == 0.5
    assert "lora_rank" not in Embedding(6, 5).get_config()


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2", None])
def test_ranks(bad):
    layer = Embedding(6, 5)
    layer.build()
    with pytest.raises(ValueError, match="rank"):
        layer.enable_lora(bad)
    assert not layer.lora_enabled
    assert layer.weights[0].trainable
    layer.enable_lora(np.int64(2))
    assert type(layer.lora_rank) is int


@pytest.mark.parametrize("bad", [np.nan, np.inf, "2", True])
def test_alphas(bad):
    layer = Embedding(6, 5)
    layer.build()
    with pytest.raises(ValueError, match="lora_alpha"):
        layer.enable_lora(2, lora_alpha=bad)
    with pytest.raises(ValueError, match="lora_alpha"):
        Embedding(6, 5, lora_rank=2, lora_alpha=bad)
    assert not layer.lora_enabled
    assert layer.weights[0].trainable


def test_a_bad_initializer_changes_nothing():
    layer = Embedding(6, 5)
    layer.build()
    for arguments in ({"a_initializer": "nonsense"}, {"b_initializer": lambda shape, dtype: np.ones((1, 1))}):
        with pytest.raises(ValueError, match=r"initializer|shape"):
            layer.enable_lora(2, **arguments)
        assert not layer.lora_enabled
        assert layer.weights[0].trainable
    layer.enable_lora(2)


# --- Ids that another thread changes --------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_a_row_and_what_is_added_belong_to_one_id(shape):
    ids = np.zeros(shape, np.int64)

    class Meanwhile(DenseTable):
        """Has the ids changed as soon as it has read them."""

        def gather(self, *args):
            rows = super().gather(*args)
            ids[:] = 1
            return rows

    base = Meanwhile(np.float32([[10], [20]]))
    table = LoraTable(base, np.float32([[1], [2]]), np.float32([[1]]), 1.0)
    for order in ("C", "F"):
        ids = np.asarray(np.zeros(shape, np.int64), order=order)
        assert set(table.gather(ids).ravel().tolist()) <= {11.0, 22.0}


def test_ids_that_another_thread_changes():
    """Each row of the base is its number times 1000 and what is added to it its number: both or neither."""
    numbers = np.arange(100, dtype=np.float32)[:, None]
    table = LoraTable(DenseTable(numbers * 1000), numbers, np.float32([[1]]), 1.0)
    allowed = (numbers * 1001).ravel()
    ids, stop, wrong = np.zeros(20_000, np.int64), threading.Event(), []

    def change():
        number = 0
        while not stop.is_set():
            number = (number + 37) % 100
            ids[:] = number

    changers = [threading.Thread(target=change) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for changer in changers:
            changer.start()
        for _ in range(100):
            wrong.append(not np.isin(table.gather(ids), allowed).all())
    finally:
        stop.set()
        for changer in changers:
            changer.join()
        sys.setswitchinterval(interval)
    assert not any(wrong)


# --- Through ops, and in little memory ------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "int8", "int4"])
def test_ops_gather_takes_whatever_has_a_table(rng, mode):
    layer = with_lora(rng, mode=mode)
    ids = np.array([[5, 0], [2, 2]])
    for table in (layer, layer.table):
        np.testing.assert_array_equal(ops.gather(table, ids), layer(ids))
        np.testing.assert_array_equal(ops.gather(table, ids.tolist()), layer(ids))
        out = np.empty((2, 2, 5), np.float32)
        assert ops.gather(table, ids, out) is out
        np.testing.assert_array_equal(out, layer(ids))
        for policy in ("zeros", "clip", "wrap", "nan", 3):
            expected = layer([-1, 0, 9], out_of_range=policy)
            np.testing.assert_array_equal(ops.gather(table, [-1, 0, 9], out_of_range=policy), expected)
        with pytest.raises(IndexError, match=r"ids\[1\] = 6 is outside the table"):
            ops.gather(table, [0, 6])
        with pytest.raises(TypeError, match="scatter_add works in place"):
            ops.scatter_add(table, [0], np.ones((1, 5)))


@pytest.mark.parametrize("turned", [False, True])
def test_a_whole_table_is_walked_in_runs(rng, monkeypatch, turned):
    monkeypatch.setattr(storage, "_AT_ONCE", 640)
    values = rng.standard_normal((1000, 64)).astype("f4")
    plain = storage.Plain(Variable(values.T if turned else values), turned=turned)
    a, b = rng.standard_normal((1000, 2)).astype("f4"), rng.standard_normal((2, 64)).astype("f4")
    lora = storage.Lora(plain, Variable(a), Variable(b), 2, None)
    for way in (plain, lora):
        blocks = list(way._blocks(np.float32))
        assert all(block.size <= 640 for _, block, _ in blocks)
        assert sum(len(block) for _, block, _ in blocks) == 1000
    np.testing.assert_allclose(plain.dense(np.float32), values)
    np.testing.assert_allclose(lora.dense(np.float32), values + a @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("what", ["saved", "embeddings", "projected back"])
def test_the_product_is_not_made_whole_for_the_whole_table(rng, monkeypatch, what):
    monkeypatch.setattr(storage, "_AT_ONCE", 1 << 14)
    rows, columns = 40_000, 64
    layer = with_lora(rng, rows, columns)
    vectors, upstream = np.ones((2, columns), np.float32), np.ones((2, rows), np.float32)
    tracemalloc.start()
    if what == "saved":
        layer.save_own_variables({})
    elif what == "embeddings":
        layer.embeddings  # noqa: B018
    else:
        layer._stored.add_projection_gradient(vectors, upstream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * columns * 4 * (0.2 if what == "projected back" else 1.2)

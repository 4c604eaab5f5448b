"""Embeddings whose tables are int8 or int4: rows, what may change, what is stored; against plain NumPy."""

from __future__ import annotations

import copy
import pickle
import threading

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastembed import dtype_policies, quantizers, recording
from fastembed._rows import Table
from fastembed.layers import Dense, Embedding
from fastembed.quantizers import Int4QuantizationConfig, Int8QuantizationConfig
from fastembed.variable import Variable

CONFIGS = {
    "int8": Int8QuantizationConfig(),
    "int4": Int4QuantizationConfig(block_size=None),
    "int4 in blocks of 1": Int4QuantizationConfig(block_size=1),
    "int4 in blocks of 2": Int4QuantizationConfig(block_size=2),
    "int4 in blocks of 3": Int4QuantizationConfig(block_size=3),
    "int4 in blocks of 128": Int4QuantizationConfig(),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def quantized(table, config, **kwargs):
    layer = Embedding(*table.shape, weights=table, **kwargs)
    layer.quantize(config=config)
    return layer


def unpacked(packed, columns):
    """Two numbers of four bits a byte, the lower half first, in two's complement."""
    low, high = packed & 0x0F, (packed.view(np.uint8) >> 4).astype(np.int8)
    numbers = np.stack([low, high], axis=-1).reshape(len(packed), -1)[:, :columns]
    return np.where(numbers > 7, numbers - 16, numbers)


def decoded(weights, mode, columns):
    """What codes stand for, by the formulas."""
    codes, scale, *blocks = weights
    codes = (codes if mode == "int8" else unpacked(codes, columns)).astype(np.float32)
    if not blocks:
        return codes / scale[:, None]
    zero, groups = blocks[0].astype(np.float32), blocks[1].astype(int)
    return (codes - zero[:, groups]) * scale[:, groups]


@st.composite
def tables(draw):
    shape = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    return draw(hnp.arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32)))


# --- Rows -----------------------------------------------------------------------------------------


@every_config
@given(table=tables(), data=st.data())
def test_rows_are_what_the_codes_stand_for(config, table, data):
    layer = quantized(table, config)
    below = st.integers(0, len(table) - 1)
    ids = data.draw(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=3), elements=below))
    dense = decoded(layer.get_weights(), config.mode, table.shape[1])
    for _ in range(2):  # the second time the table answers alone
        rows = layer(ids)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, dense[ids])
    np.testing.assert_allclose(rows, np.eye(len(table), dtype="f4")[ids] @ dense, rtol=1e-6)


@every_config
@given(table=tables())
def test_rows_are_near_the_floats(config, table):
    rows = quantized(table, config)(np.arange(len(table)))
    size = getattr(config, "block_size", None)
    if size is None:  # half a step
        allowed = np.abs(table).max(axis=1, keepdims=True) / (127 if config.mode == "int8" else 7) / 2
    else:  # and another half, because the code of 0 is rounded, too
        groups = np.arange(table.shape[1]) // size
        blocks = [table[:, groups == group] for group in range(groups[-1] + 1)]
        steps = [np.maximum(b.max(axis=1), 0) - np.minimum(b.min(axis=1), 0) for b in blocks]
        allowed = np.stack(steps, axis=1)[:, groups] / 15
    assert (np.abs(rows - table) <= 1.001 * allowed + 1e-6).all()


@every_config
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "mixed_bfloat16", "float16", "mixed_float16"])
def test_rows_have_the_compute_dtype(rng, config, dtype):
    table = rng.standard_normal((5, 6))
    layer = Embedding(5, 6, weights=table, dtype=dtype)
    if config.mode == "int8" and layer.compute_dtype == "float16":
        with pytest.raises(ValueError, match="float16"):
            layer.quantize(config=config)
        return
    layer.quantize(config=config)
    for _ in range(2):
        rows = layer(np.arange(5))
        assert rows.dtype.name == layer.compute_dtype
        np.testing.assert_allclose(rows.astype(float), table, atol=0.6)
    assert layer.embeddings_scale.dtype == layer.variable_dtype


@every_config
def test_one_compiled_call_answers(rng, config):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), config)
    assert layer._table is None
    layer(np.arange(5))
    assert isinstance(layer._table, Table)
    assert layer._table is layer.table


@every_config
@pytest.mark.parametrize("policy", ["zeros", "clip", "wrap", "nan", 2])
def test_ids_outside_the_table(rng, config, policy):
    table = rng.standard_normal((5, 6)).astype("f4")
    layer, plain = quantized(table, config, out_of_range=policy), Embedding(5, 6, weights=table)
    plain.set_weights([layer(np.arange(5))])
    ids = np.array([[0, 5, -1], [4, 7, -6]])
    for _ in range(2):
        np.testing.assert_array_equal(layer(ids), plain(ids, out_of_range=policy))
    with pytest.raises(IndexError, match="ids"):
        layer(ids, out_of_range="raise")


# --- What changes ---------------------------------------------------------------------------------


@every_config
def test_lookups_follow_the_variables(rng, config):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), config)
    ids = np.arange(5)
    layer(ids)
    other = quantized(rng.standard_normal((5, 6)).astype("f4"), config)
    layer.set_weights(other.get_weights())
    np.testing.assert_array_equal(layer(ids), other(ids))
    for variable in layer.weights:  # one by one, too
        if variable.name == "g_idx":
            continue
        variable.assign(np.ones(variable.shape))
        dense = decoded(layer.get_weights(), config.mode, 6)
        np.testing.assert_array_equal(layer(ids), dense)


def test_columns_may_belong_to_any_block(rng):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), CONFIGS["int4 in blocks of 2"])
    layer(np.arange(5))
    layer.g_idx.assign([2, 0, 1, 1, 0, 2])
    np.testing.assert_array_equal(layer(np.arange(5)), decoded(layer.get_weights(), "int4", 6))


@pytest.mark.parametrize("called", [True, False])
@pytest.mark.parametrize("copied", [lambda layer: layer, copy.deepcopy])
@pytest.mark.parametrize(
    "groups",
    [[0, 0, 1, 1, 2, 3], [0, 0, 1, 1, 2, -1], [0, 0, 1, 1, 2, 0.5], [0, 0, 1, 1, 2, np.nan]],
    ids=str,
)
def test_a_block_that_is_not_there(rng, groups, copied, called):
    table = rng.standard_normal((5, 6)).astype("f4")
    layer = copied(quantized(table, CONFIGS["int4 in blocks of 2"]))
    before, rows = layer.get_weights(), quantized(table, CONFIGS["int4 in blocks of 2"])(np.arange(5))
    if called:
        layer(np.arange(5))
    changes = [
        lambda: layer.g_idx.assign(groups),
        lambda: layer.set_weights([*before[:3], np.float32(groups)]),
        lambda: layer.set_weights([np.zeros_like(before[0]), *before[1:3], np.float32(groups)]),
        lambda: layer.load_own_variables({"0": before[0], "1": before[1], "2": before[2], "3": groups}),
    ]
    for change in changes:
        with pytest.raises(ValueError, match=r"block|group"):
            change()
        for now, then in zip(layer.get_weights(), before):
            np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(layer(np.arange(5)), rows)


@every_config
def test_nothing_learns(rng, config):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), config, embeddings_regularizer="l2")
    assert layer.trainable_weights == []
    assert layer.losses == []
    for _ in range(2):
        layer(np.array([1, 1]), training=True)
    with recording():
        layer(np.array([1, 1]))
    for _ in range(3):
        assert layer.backward(np.ones((2, 6))) is None
    assert all(variable.gradient is None for variable in layer.weights)


@every_config
def test_threads_see_whole_rows(config, parallel):
    rows, columns = 50, 40
    tables = [np.tile(np.linspace(-n, n, columns, dtype="f4"), (rows, 1)) for n in (1, 100)]
    layers = [quantized(table, config) for table in tables]
    weights = [layer.get_weights() for layer in layers]
    expected = [layer(np.arange(rows)) for layer in layers]
    shared, ids = layers[0], np.arange(rows)
    wrong, stop = [], threading.Event()

    def look_up():
        while not stop.is_set():
            found = shared(ids)
            old, new = ((found == each).all(axis=1) for each in expected)
            if not (old | new).all():
                wrong.append(found)

    readers = [threading.Thread(target=look_up) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(300):
        shared.set_weights(weights[number % 2])
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_threads_that_assign_leave_what_the_last_of_them_set(rng):
    layer = quantized(rng.standard_normal((40, 6)).astype("f4"), CONFIGS["int8"])
    layer(np.arange(40))
    codes, scale = layer.weights

    def assign(variable, values):
        for value in values:
            variable.assign(np.full(variable.shape, value))

    threads = [
        threading.Thread(target=assign, args=(codes, range(1, 101))),
        threading.Thread(target=assign, args=(scale, range(1, 101))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(layer(np.arange(40)), np.ones((40, 6)))


# --- Quantised how --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@every_config
def test_what_cannot_be_quantised_changes_nothing(config, bad):
    table = np.float32([[1, 2], [3, bad]])
    layer = Embedding(2, 2, weights=table)
    before = layer.get_config(), layer.weights
    with pytest.raises(ValueError, match="finite"):
        layer.quantize(config=config)
    with pytest.raises(ValueError, match="finite"):
        layer.dtype_policy = f"{config.mode}_from_float32"
    assert (layer.get_config(), layer.weights) == before
    np.testing.assert_array_equal(layer([0, 1]), table)


@every_config
def test_the_policy_says_how(rng, config):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), config)
    assert layer.quantization_mode == layer.dtype_policy.quantization_mode == config.mode
    again = Embedding.from_config(layer.get_config())
    again.build()
    again.load_own_variables({str(n): array for n, array in enumerate(layer.get_weights())})
    np.testing.assert_array_equal(again(np.arange(5)), layer(np.arange(5)))
    assert again.get_config() == layer.get_config()
    # Without the config, the policy alone:
    third = Embedding(5, 6, dtype=layer.dtype_policy, weights=rng.standard_normal((5, 6)))
    assert [v.shape for v in third.weights] == [v.shape for v in layer.weights]


def test_a_given_table_is_quantised(rng):
    table = rng.standard_normal((5, 6)).astype("f4")
    for policy in ("int8_from_float32", "int4/2_from_float32"):
        layer = Embedding(5, 6, weights=table, dtype=policy)
        after = Embedding(5, 6, weights=table)
        after.dtype_policy = policy
        np.testing.assert_array_equal(layer(np.arange(5)), after(np.arange(5)))


def test_what_is_quantised_stays_so(rng):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), CONFIGS["int8"])
    rows = layer(np.arange(5))
    for policy in ("float32", "int4_from_float32"):
        with pytest.raises(ValueError, match="stored as int8"):
            layer.dtype_policy = policy
    layer.dtype_policy = "int8_from_mixed_bfloat16"
    assert layer(np.arange(5)).dtype.name == "bfloat16"
    layer.dtype_policy = dtype_policies.get("int8_from_float32")
    np.testing.assert_array_equal(layer(np.arange(5)), rows)


def test_contradictions():
    with pytest.raises(ValueError, match="contradicts"):
        Embedding(2, 2, dtype="int8_from_float32", quantization_config=Int4QuantizationConfig()).build()
    with pytest.raises(ValueError, match="config"):
        Embedding(2, 2, quantization_config=3)
    with pytest.raises(NotImplementedError, match="Dense"):
        Dense(3, dtype="int8_from_float32")(np.ones((2, 2)))
    with pytest.raises(NotImplementedError, match="Dense"):
        Dense(3).dtype_policy = "int8_from_float32"


def test_weight_quantizers(rng):
    table = rng.standard_normal((3, 4)).astype("f4")
    narrow = quantizers.AbsMaxQuantizer(value_range=(-3, 3))
    layer = quantized(table, Int8QuantizationConfig(weight_quantizer=narrow))
    assert np.abs(layer.get_weights()[0]).max() == 3
    np.testing.assert_allclose(layer(np.arange(3)), table, atol=np.abs(table).max() / 6)
    by_column = quantizers.AbsMaxQuantizer(axis=0)
    with pytest.raises(ValueError, match="squeeze"):
        quantized(table, Int8QuantizationConfig(weight_quantizer=by_column))


@every_config
def test_a_variable_of_the_users_own(rng, config):
    table = Variable(rng.standard_normal((5, 6)).astype("f4"), name="mine")
    layer = Embedding.from_variable(table)
    layer.quantize(config=config)
    assert all(variable is not table for variable in layer.weights)
    np.testing.assert_allclose(layer(np.arange(5)), table, atol=0.6)


# --- Stored ---------------------------------------------------------------------------------------


@every_config
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_are_independent(rng, config, copied):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), config, name="words")
    rows = layer(np.arange(5))
    twin = copied(layer)
    assert (twin.name, twin.get_config()) == (layer.name, layer.get_config())
    for _ in range(2):
        np.testing.assert_array_equal(twin(np.arange(5)), rows)
    twin.weights[0].assign(np.zeros(twin.weights[0].shape))
    twin.embeddings_scale.assign(np.ones(twin.embeddings_scale.shape))
    np.testing.assert_array_equal(twin(np.arange(5)), decoded(twin.get_weights(), config.mode, 6))
    np.testing.assert_array_equal(layer(np.arange(5)), rows)


@every_config
def test_loading_is_all_or_nothing(rng, config):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), config)
    store, before = {}, layer.get_weights()
    layer.save_own_variables(store)
    rows = layer(np.arange(5))
    last = str(len(store) - 1)
    for bad in (store[last][..., :-1], np.full(store[last].shape, "x"), None):
        with pytest.raises((TypeError, ValueError)):
            layer.load_own_variables({**store, "0": np.zeros_like(store["0"]), last: bad})
        for now, then in zip(layer.get_weights(), before):
            np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(layer(np.arange(5)), rows)
    for name in store:
        with pytest.raises(ValueError, match="variables"):
            layer.load_own_variables({key: value for key, value in store.items() if key != name})


def test_blocks_of_columns_may_be_stored_as_integers(rng):
    layer = quantized(rng.standard_normal((5, 6)).astype("f4"), CONFIGS["int4 in blocks of 2"])
    store = {}
    layer.save_own_variables(store)
    rows = layer(np.arange(5))
    layer.load_own_variables({**store, "3": store["3"].astype(np.int32)})
    assert layer.g_idx.dtype == "float32"
    np.testing.assert_array_equal(layer(np.arange(5)), rows)


def test_what_a_subclass_adds_is_stored_last(rng):
    class Scaled(Embedding):
        def build(self, input_shape=None):
            self.factor = self.add_weight(shape=(), initializer="ones", name="factor")
            super().build(input_shape)

    layer = Scaled(5, 6)
    layer.build()
    layer.quantize("int8", type_check=False)
    store = {}
    layer.save_own_variables(store)
    assert [array.shape for array in store.values()] == [(5, 6), (5,), ()]
    layer.load_own_variables({**store, "2": np.float32(7)})
    assert layer.factor.numpy() == 7

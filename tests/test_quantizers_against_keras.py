"""Quantised numbers, rows and configs, against real Keras 3: programs as in test_against_keras.py."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_against_keras import Raised, agree, agree_to_raise, keras, make

import fastembed.quantizers
from fastembed.tables import Int4Table, Int8Table

__all__ = ["keras"]  # the fixture

ONES = st.floats(-10, 10, width=32)


@st.composite
def matrices(draw, dtype="float32", elements=ONES):
    return draw(hnp.arrays(dtype, (draw(st.integers(1, 6)), draw(st.integers(1, 20))), elements=elements))


def abs_max(library, matrix, axis, value_range, epsilon):
    quantizer = library.quantizers.AbsMaxQuantizer(axis, value_range, epsilon)
    results = [
        *library.quantizers.abs_max_quantize(matrix, axis, value_range, epsilon=epsilon, to_numpy=True),
        *quantizer(matrix, to_numpy=True),
        *library.quantizers.AbsMaxQuantizer(value_range=value_range, epsilon=epsilon)(matrix, axis=axis),
    ]
    return [np.asarray(result) for result in results]


@given(
    matrix=matrices(),
    axis=st.sampled_from([-1, 0, 1, (0, 1)]),
    value_range=st.sampled_from([(-127, 127), (-128, 127), (-8, 7)]),
    epsilon=st.sampled_from([1e-7, 1e-3]),
)
def test_abs_max_quantize(keras, matrix, axis, value_range, epsilon):
    agree(keras, abs_max, matrix, axis, value_range, epsilon)


def blocks(library, matrix, block_size, to_numpy=True):
    quantize = library.quantizers.abs_max_quantize_grouped_with_zero_point
    return [np.ascontiguousarray(part) for part in quantize(matrix, block_size, to_numpy=to_numpy)]


@given(matrix=matrices(), block_size=st.integers(1, 21))
def test_blocks_whose_range_holds_zero(keras, matrix, block_size):
    """With a zero in each block Keras's range is as wide as ours."""
    matrix[::block_size] = 0
    agree(keras, blocks, matrix, block_size)


@pytest.mark.parametrize(
    ("numbers", "theirs"),
    [
        ([1.0, 1.1, 1.2, 1.3], [0.3, 0.3, 0.3, 0.3]),
        ([-1.0, -1.1, -1.2, -1.3], [-0.3, -0.3, -0.3, -0.3]),
        ([0.03] * 4, [1e-7] * 4),
    ],
)
def test_one_signed_blocks_are_cut_off_by_keras(keras, numbers, theirs):
    def values(parts):
        codes, scale, zero = parts
        return ((codes - zero) * scale)[:, 0]

    matrix = np.float32(numbers)[:, None]
    np.testing.assert_allclose(values(keras(blocks, matrix, 4)), theirs, rtol=1e-5)
    np.testing.assert_allclose(values(blocks(fastembed, matrix, 4)), numbers, atol=0.045)


def packings(library, codes, axis, dtype):
    pack, unpack = library.quantizers.pack_int4, library.quantizers.unpack_int4
    packed, shape, length = pack(codes.astype(dtype), axis, dtype)
    again = unpack(packed, length, axis, dtype)
    return [np.ascontiguousarray(packed), tuple(shape), length, np.ascontiguousarray(again)]


@given(
    codes=hnp.arrays(
        np.int8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=7), elements=st.integers(-8, 7)
    ),
    axis=st.integers(-3, 2),
    dtype=st.sampled_from(["int8", "uint8"]),
)
def test_packing(keras, codes, axis, dtype):
    axis = max(-codes.ndim, min(axis, codes.ndim - 1))
    agree(keras, packings, codes, axis, dtype)


def pack(library, codes, dtype):
    library.quantizers.pack_int4(codes, 0, dtype)


def unpack(library, packed, dtype):
    library.quantizers.unpack_int4(packed, 2, 0, dtype)


def test_packing_of_other_dtypes_is_refused(keras):
    for array, dtype in [(np.zeros(3, np.int8), "int16"), (np.zeros(3, np.int16), "int8")]:
        for program in (pack, unpack):
            agree_to_raise(keras, program, array, dtype)


def quantised(library, table, mode, block_size, policy, ids):
    """What Keras stores of a layer, and the rows that it looks up."""
    layer = library.layers.Embedding(*table.shape, weights=table, dtype=policy)
    config = library.quantizers.Int4QuantizationConfig(block_size=block_size) if mode == "int4" else None
    layer.quantize(mode, config=config)
    return [np.ascontiguousarray(weight) for weight in layer.get_weights()], np.asarray(layer(ids))


@pytest.mark.parametrize("columns", [1, 2, 7, 33])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("mode", "block_size"), [("int8", None), ("int4", None), ("int4", -1), ("int4", 3), ("int4", 128)]
)
def test_rows_of_what_keras_stored(keras, rng, mode, block_size, policy, columns):
    table, ids = rng.normal(size=(9, columns)).astype("float32"), np.array([[3, 0], [8, 3]])
    answer = keras(quantised, table, mode, block_size, policy, ids)
    if isinstance(answer, Raised):
        assert (mode, policy[-7:]) == ("int8", "float16")  # which Keras refuses
        return
    (codes, *more), rows = answer
    if mode == "int8":
        ours = Int8Table(codes, *more, row_dtype=rows.dtype.name)
    elif len(more) == 1:
        ours = Int4Table(codes, columns, *more, row_dtype=rows.dtype.name)
    else:
        scale, zero, g_idx = more
        ours = Int4Table(codes, columns, scale, zero, block_size, g_idx, rows.dtype.name)
    got = ours.gather(ids)
    assert (got.dtype, got.shape) == (rows.dtype, rows.shape)
    assert got.tobytes() == rows.tobytes()


def test_tables_are_quantised_as_a_layer_of_keras_is(keras, rng):
    table, ids = rng.normal(size=(50, 64)).astype("float32"), np.array([0])
    for mode, block_size in (("int8", None), ("int4", None), ("int4", 16)):
        theirs, _ = keras(quantised, table, mode, block_size, "float32", ids)
        if mode == "int8":
            ours = fastembed.quantizers.quantize_int8(table)
        else:
            ours = fastembed.quantizers.quantize_int4(table, block_size)
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs):
            np.testing.assert_array_equal(our, their, strict=True)


CONFIGS = [
    "AbsMaxQuantizer()", "AbsMaxQuantizer(axis=-1)", "AbsMaxQuantizer((0, 1), (-8, 7), 1e-3)",
    "Int8QuantizationConfig()", "Int8QuantizationConfig(activation_quantizer=None)",
    "Int4QuantizationConfig()", "Int4QuantizationConfig(block_size=None)",
    "Int4QuantizationConfig(block_size=-1)", "Int4QuantizationConfig(block_size=32)",
    "Int8QuantizationConfig(quantizers.AbsMaxQuantizer(axis=-1), quantizers.AbsMaxQuantizer())",
    "Int4QuantizationConfig(quantizers.AbsMaxQuantizer(-1, (-8, 7)), None, None)",
]  # fmt: skip


def configured(library, expression):
    made = make(library, f"quantizers.{expression}")
    config = library.quantizers.serialize(made)
    again = library.quantizers.deserialize(config)
    return [config, made.get_config(), library.quantizers.serialize(again), getattr(made, "mode", None)]


@pytest.mark.parametrize("expression", CONFIGS)
def test_configs(keras, expression):
    agree(keras, configured, expression)


@pytest.mark.parametrize(
    "expression",
    [
        "AbsMaxQuantizer(value_range=(-129, 127))", "AbsMaxQuantizer(value_range=(-8, 128))",
        "Int4QuantizationConfig(block_size=0)", "Int4QuantizationConfig(block_size=-2)",
        "Int4QuantizationConfig(quantizers.AbsMaxQuantizer(-1, (-8, 7)))",
        "Int4QuantizationConfig(None, quantizers.AbsMaxQuantizer())",
        "Int4QuantizationConfig(quantizers.AbsMaxQuantizer(-1), block_size=None)",
        "Int8QuantizationConfig(quantizers.AbsMaxQuantizer(-1, output_dtype='uint8'))",
    ],
)  # fmt: skip
def test_arguments_that_are_refused(keras, expression):
    agree_to_raise(keras, configured, expression)


def read(library, config):
    return library.quantizers.serialize(library.quantizers.deserialize(config))


def test_a_config_without_a_block_size_has_no_blocks(keras):
    config = {
        "module": "keras.quantizers", "class_name": "Int4QuantizationConfig", "registered_name": None,
        "config": {"weight_quantizer": None, "activation_quantizer": None},
    }  # fmt: skip
    assert agree(keras, read, config)["config"]["block_size"] is None


def test_ranges_that_went_through_json(keras):
    """A list there; Keras then refuses its own config."""
    quantizer = fastembed.quantizers.AbsMaxQuantizer(-1, (-8, 7))
    config = fastembed.quantizers.serialize(
        fastembed.quantizers.Int4QuantizationConfig(quantizer, None, None)
    )
    config["config"]["weight_quantizer"]["config"]["value_range"] = [-8, 7]
    theirs = keras(read, config)
    assert isinstance(theirs, Raised)
    assert theirs.name == "ValueError"
    assert read(fastembed, config)["config"]["weight_quantizer"]["config"]["value_range"] == (-8, 7)


def test_names_of_quantizers(keras):
    quantizer = fastembed.quantizers.AbsMaxQuantizer()
    for identifier in ("AbsMaxQuantizer", "abs_max_quantizer", quantizer.__class__, quantizer):
        got = fastembed.quantizers.get(identifier)
        assert got.get_config() == quantizer.get_config()
    assert fastembed.quantizers.get(None) is None
    with pytest.raises(ValueError, match="Could not interpret quantizer identifier: 'nothing'"):
        fastembed.quantizers.get("nothing")


@pytest.mark.parametrize("bad", [[], [-8], {"a": 1}, [-8, 7, 7], [-8.5, 7], [None, 7], 3, "ab"], ids=repr)
def test_a_range_is_two_integers(bad):
    with pytest.raises(ValueError, match="`value_range` must be two integers, got"):
        fastembed.quantizers.AbsMaxQuantizer(value_range=bad)
    assert fastembed.quantizers.AbsMaxQuantizer(value_range=[np.int8(-8), 7]).value_range == (-8, 7)

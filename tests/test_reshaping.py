"""Flatten, Reshape, Permute, RepeatVector: against NumPy, finite differences and real Keras 3."""

from __future__ import annotations

import math
import pickle
import re

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from gradients import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from two_libraries import agree, agree_to_raise, make, process

import fastembed
from fastembed import layers

DTYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=4))
)


# --- Against NumPy --------------------------------------------------------------------------------


@given(x=arrays, data=st.data())
def test_every_shape_and_dtype(x, data):
    dtype = {"dtype": x.dtype.name} if x.dtype.kind == "f" else {}
    batch, rest = x.shape[0], x.shape[1:]
    same(layers.Flatten(**dtype)(x), x.reshape(batch, math.prod(rest)))
    first = np.moveaxis(x, 1, -1) if rest else x
    same(layers.Flatten("channels_first", **dtype)(x), first.reshape(batch, math.prod(rest)))
    order = data.draw(st.permutations(range(1, x.ndim)))
    same(layers.Permute(order, **dtype)(x), x.transpose(0, *order))
    n = data.draw(st.integers(1, 4))
    flat = x.reshape(batch, math.prod(rest))
    same(layers.RepeatVector(n, **dtype)(flat), np.stack([flat] * n, axis=1))
    target = list(data.draw(st.permutations(rest)))
    same(layers.Reshape(target, **dtype)(x), x.reshape(batch, *target))
    if math.prod(rest):
        target[data.draw(st.integers(0, len(target))) : 0] = [-1]  # a length that must come out as 1
        same(layers.Reshape(target, **dtype)(x), x.reshape(batch, *np.abs(target)))


def same(ours, twin):
    assert (ours.dtype, ours.shape) == (twin.dtype, twin.shape)
    np.testing.assert_array_equal(ours, twin)


@pytest.mark.parametrize("target", [(-1, 2), (None, 2), [3, -1], (6,), (1, 6, 1)])
def test_reshape_finds_the_length_that_is_open(target, rng):
    x = rng.standard_normal((4, 2, 3)).astype("float32")
    expected = x.reshape(4, *(-1 if length is None else length for length in target))
    same(layers.Reshape(target)(x), expected)
    assert layers.Reshape(target).compute_output_shape((None, 2, 3)) == (None, *expected.shape[1:])


def test_an_empty_batch_has_the_shape_of_any_other():
    assert layers.Reshape((-1, 3))(np.zeros((0, 6))).shape == (0, 2, 3)
    assert layers.Flatten()(np.zeros((0, 2, 3))).shape == (0, 6)


def test_lists_of_numbers_are_taken():
    assert layers.Flatten()([[[1, 2], [3, 4]]]).tolist() == [[1, 2, 3, 4]]


def test_the_inputs_are_not_changed_by_who_writes_into_a_recorded_output(rng):
    x = rng.standard_normal((2, 3, 4)).astype("float32")
    before = x.copy()
    for layer in (layers.Flatten(), layers.Reshape((12,)), layers.Permute((2, 1))):
        layer(x, training=True)[...] = 0
    np.testing.assert_array_equal(x, before)


# --- Gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        *((f"Flatten({data_format!r}", shape) for data_format in ("channels_last", "channels_first")
          for shape in [(3,), (2, 3), (2, 3, 2), (2, 3, 1, 2), (0, 2, 2)]),
        *(("Reshape((-1, 2)", shape) for shape in [(2, 4), (3, 2, 2)]),
        ("Reshape((4, 1)", (2, 2, 2)),
        ("Permute((3, 1, 2)", (2, 3, 2, 4)),
        ("Permute((1,)", (2, 3)),
        *((f"RepeatVector({n}", (2, 3)) for n in (1, 4)),
    ],
)  # fmt: skip
def test_gradients_are_those_of_finite_differences(layer, shape, rng):
    check_gradients(make(fastembed, f"layers.{layer}, dtype='float64')"), rng.standard_normal(shape))


@pytest.mark.parametrize("upstream", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "layer", ["Flatten()", "Flatten('channels_first')", "Reshape((6,))", "Permute((2, 1))", "RepeatVector(3)"]
)
def test_gradients_are_of_float32_or_wider(layer, upstream):
    layer = make(fastembed, f"layers.{layer}")
    x = np.ones((2, 6) if type(layer) is layers.RepeatVector else (2, 2, 3), "float16")
    outputs = layer(x, training=True)
    gradient = layer.backward(np.full(outputs.shape, 2000, upstream))
    assert gradient.dtype == np.promote_types(upstream, "float32")
    assert gradient.shape == x.shape
    assert (gradient == (6000 if type(layer) is layers.RepeatVector else 2000)).all()


def test_repeated_gradients_are_summed_in_float32():
    layer = layers.RepeatVector(3)
    layer(np.ones((1, 1), "float16"), training=True)
    assert layer.backward(np.full((1, 3, 1), 40000, "float16")).tolist() == [[120000]]


# --- Configs --------------------------------------------------------------------------------------

ALL = [
    "layers.Flatten(name='x')",
    "layers.Flatten('channels_first', name='x', dtype='float16')",
    "layers.Reshape((2, -1), name='x')",
    "layers.Permute((2, 1), name='x', trainable=False)",
    "layers.RepeatVector(3, name='x')",
]


@pytest.mark.parametrize("expression", ALL)
def test_copies_and_configs_make_the_same_layer(expression):
    layer = make(fastembed, expression)
    x = np.arange(6.0).reshape((1, 6) if type(layer) is layers.RepeatVector else (1, 2, 3))
    outputs = layer(x)
    for again in (
        type(layer).from_config(layer.get_config()),
        layers.deserialize(layers.serialize(layer)),
        pickle.loads(pickle.dumps(layer)),
    ):
        assert again.get_config() == layer.get_config()
        np.testing.assert_array_equal(again(x), outputs)


def test_configs_of_earlier_eras():
    for era, entries in [("keras1", {}), ("keras2", {"data_format": "channels_last"})]:
        with fastembed.era(era):
            config = layers.Flatten(name="x").get_config()
        assert {key: config[key] for key in config.keys() - {"name", "trainable", "dtype"}} == entries
    with fastembed.era("keras1"):
        assert layers.RepeatVector(3).get_config()["n"] == 3
        assert re.fullmatch(r"flatten_[1-9]\d*", layers.Flatten().name)
        assert layers.Flatten("channels_first").get_config()["data_format"] == "channels_first"


# --- Against Keras --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


def seen(library, expression, x):
    layer = make(library, expression)
    mask = np.ones(x.shape[:2], bool)
    facts = [layer.built, layer.supports_masking, layer.get_config(), layer.compute_mask(x, mask)]
    facts += [np.asarray(layer(x)), tuple(layer.compute_output_shape(x.shape)), layer.get_build_config()]
    return [*facts, layer.compute_output_shape((None, *x.shape[1:]))]


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "bool"])
@pytest.mark.parametrize("expression", ALL)
def test_what_is_seen_of_a_layer(keras, expression, dtype, rng):
    shape = (5, 6) if "Repeat" in expression else (5, 4, 3)
    agree(keras, seen, expression, (4 * rng.standard_normal(shape)).astype(dtype))


def shape_of(library, expression, shape):
    return tuple(make(library, expression).compute_output_shape(shape))


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("layers.Flatten()", (None,)),
        ("layers.Flatten()", (3, None, 4)),
        ("layers.Reshape((2, -1))", (3, None, 4)),
        ("layers.Reshape((None, 2))", (3, None)),
        ("layers.Reshape(())", (3, 1)),
        ("layers.Permute((2, 1))", (None, None, 4)),
        ("layers.RepeatVector(2)", (None, None)),
    ],
)
def test_shapes_that_are_open(keras, expression, shape):
    agree(keras, shape_of, expression, shape)


def called(library, expression, shape):
    return make(library, expression)(np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("expression", "shape", "words"),
    [
        ("layers.Flatten('channels')", None, "received: data_format='channels'"),
        ("layers.Flatten()", (), "expected min_ndim=1, found ndim=0"),
        ("layers.Reshape((-2, 3))", None, "non-negative integer"),
        ("layers.Reshape((-1, -1))", None, "at most one unknown"),
        ("layers.Reshape(3)", None, "not iterable"),
        ("layers.Reshape((4, 2))", (2, 6), r"input_shape=\(6,\) \(6 numbers\), target_shape=\(4, 2\)"),
        ("layers.Reshape((4, -1))", (2, 6), r"target_shape=\(4, -1\)"),
        ("layers.Reshape((0, -1))", (2, 0), r"target_shape=\(0, -1\)"),
        ("layers.Permute((0, 1))", None, "start from 1"),
        ("layers.Permute((1, 3))", None, "consecutive"),
        ("layers.Permute((1, 1))", None, "consecutive"),
        ("layers.Permute(2)", None, "not iterable"),
        ("layers.Permute((2, 1))", (2, 3), "expected ndim=3, found ndim=2"),
        ("layers.RepeatVector(0)", None, "n=0"),
        ("layers.RepeatVector(-1)", None, "n=-1"),
        ("layers.RepeatVector(2.0)", None, "got 2.0"),
        ("layers.RepeatVector(True)", None, "got True"),
        ("layers.RepeatVector('2')", None, "got '2'"),
        ("layers.RepeatVector(2)", (2, 3, 4), "expected ndim=2, found ndim=3"),
    ],
)
def test_errors_are_of_keras_s_class(keras, expression, shape, words):
    program, *args = (called, expression, shape) if shape is not None else (make, expression)
    ours, _ = agree_to_raise(keras, program, *args)
    assert re.search(words, ours.message, re.I), ours.message


def test_where_we_differ(keras):
    """Keras takes a length of 2.5 for one to be found, and fails on a batch that is none."""
    assert keras(shape_of, "layers.Reshape((2.5, 3))", (1, 6)) == (1, None, 3)
    with pytest.raises(ValueError, match=r"must consist of integers.*2\.5"):
        layers.Reshape((2.5, 3))
    assert keras(called, "layers.Reshape((1,))", ()).name == "IndexError"
    with pytest.raises(ValueError, match="at least one axis"):
        layers.Reshape((1,))(np.float32(3))
    assert layers.RepeatVector(np.int64(2)).get_config()["n"] == 2

"""Dropout and SpatialDropout1D: against real Keras 3 on its numpy backend, and finite differences."""

from __future__ import annotations

import copy
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from gradients import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from two_libraries import agree, agree_to_raise, make, process

import fastembed
from fastembed import layers, random
from fastembed.random import SeedGenerator


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


# --- What is drawn --------------------------------------------------------------------------------


def twin(x, rate, noise_shape=None, seed=0, count=0):
    """keras/src/backend/numpy/random.py of Keras 3.15, by its description."""
    if rate in (0, 1):
        return x * (1 - rate)
    shape = [x.shape[i] if n is None else n for i, n in enumerate(noise_shape or x.shape)]
    kept = np.random.default_rng(np.array([seed, count], "uint32")).uniform(size=shape) < 1 - rate
    with np.errstate(all="ignore"):
        return np.where(kept, (x / (1 - rate)).astype(x.dtype), np.zeros_like(x))


@st.composite
def cases(draw):
    dtype = draw(st.sampled_from(["float16", "float32", "float64"]))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    x = draw(hnp.arrays(dtype, shape, elements=st.floats(-8, 8, width=16)))
    noise = st.tuples(*(st.sampled_from([None, 1, max(n, 1)]) for n in shape))
    noise_shape = draw(st.none() | noise) if 0 not in shape else None
    return x, draw(st.floats(0, 1)), noise_shape


@given(case=cases())
def test_every_number_is_that_of_keras(case):
    x, rate, noise_shape = case
    expected = twin(x, rate, noise_shape)
    ours = random.dropout(x, rate, noise_shape, seed=0)
    assert (ours.dtype, ours.shape) == (x.dtype, x.shape)
    np.testing.assert_array_equal(ours, expected)
    layer = layers.Dropout(rate, noise_shape, seed=0, dtype=x.dtype.name)
    np.testing.assert_array_equal(layer(x, training=True), expected)
    if 0 < rate < 1:
        np.testing.assert_array_equal(layer(x, training=True), twin(x, rate, noise_shape, count=1))


def test_what_is_drawn_in_lots_is_what_is_drawn_at_once():
    x = ones(3, 70_001)
    np.testing.assert_array_equal(random.dropout(x, 0.25, seed=0), twin(x, 0.25))


def test_the_share_and_the_mean_are_right():
    y = layers.Dropout(0.2, seed=3)(ones(1000, 1000), training=True)
    assert (y == 0).mean() == pytest.approx(0.2, abs=0.002)
    assert y.mean() == pytest.approx(1, abs=0.002)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1.25)}


def test_spatial_dropout_drops_whole_features(rng):
    x = rng.standard_normal((4, 5, 6)).astype("float32")
    layer = layers.SpatialDropout1D(0.5, seed=0)
    y = layer(x, training=True)
    np.testing.assert_array_equal(y, twin(x, 0.5, (None, 1, None)))
    dropped = (y == 0).all(axis=1)
    assert ((y == 0).any(axis=1) == dropped).all()
    assert 0 < dropped.sum() < 24


@pytest.mark.parametrize("kind", [layers.Dropout, layers.SpatialDropout1D])
def test_only_while_training(kind):
    x, layer = ones(2, 3, 4), kind(0.5)
    for call in (layer(x), layer(x, training=False), layer(x, training=None)):
        assert call is x
    np.testing.assert_array_equal(layer.seed_generator.state.numpy()[1], 0)
    with fastembed.recording():
        assert (layer(x) == 0).any()


def test_numbers_that_are_dropped_are_zero_whatever_they_are():
    y = layers.Dropout(0.5, seed=0)(np.full((4, 4), np.nan, "float32"), training=True)
    assert set(np.isnan(y).ravel()) == {True, False}
    assert (y[~np.isnan(y)] == 0).all()
    assert (layers.Dropout(1.0)(np.full((2,), np.inf, "float32"), training=True) == 0).all()


def test_no_warning_of_numbers_that_are_dropped():
    random.dropout(np.full(100, 60000, "float16"), 0.999, seed=0)  # pytest makes warnings errors


def test_nothing_is_drawn_for_a_rate_of_0_or_1():
    for rate in (0, 0.0, 1, 1.0):
        generator = SeedGenerator(1)
        random.dropout(ones(3), rate, seed=generator)
        assert generator.state.numpy().tolist() == [1, 0]
    assert layers.Dropout(0).variables == []


def test_inputs_are_left_as_they_are():
    x = ones(50)
    layers.Dropout(0.5)(x, training=True)
    random.dropout(x, 0.5)
    assert (x == 1).all()


# --- Gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("layers.Dropout(0.4, seed=1, dtype='float64')", (3, 4)),
        ("layers.Dropout(0.4, (None, 1, None), seed=1, dtype='float64')", (2, 3, 4)),
        ("layers.Dropout(0.4, (3, 1), seed=1, dtype='float64')", (2, 3, 4)),
        ("layers.Dropout(0.0, dtype='float64')", (3, 4)),
        ("layers.Dropout(1.0, dtype='float64')", (3, 4)),
        ("layers.SpatialDropout1D(0.4, seed=1, dtype='float64')", (2, 3, 4)),
    ],
)
def test_gradients_are_those_of_finite_differences(expression, shape, rng):
    layer = make(fastembed, expression)

    def put_back():
        for state in layer.variables:
            state.assign([1, 0])

    gradient = check_gradients(layer, rng.standard_normal(shape), before_call=put_back)
    assert (gradient == 0).any() == (layer.rate > 0)


def test_each_call_is_differentiated_by_what_it_drew():
    layer = layers.Dropout(0.5, seed=0)
    outputs = [layer(ones(4, 5), training=True) for _ in range(3)]
    assert not np.array_equal(outputs[0], outputs[1])
    for output in outputs[::-1]:
        np.testing.assert_array_equal(layer.backward(ones(4, 5)), output)


def test_a_rate_that_is_changed_counts_from_the_next_call():
    layer = layers.Dropout(0.5, seed=0)
    first = layer(ones(4, 5), training=True)
    layer.rate = 0
    assert (layer(ones(4, 5), training=True) == 1).all()
    assert (layer.backward(ones(4, 5)) == 1).all()
    np.testing.assert_array_equal(layer.backward(ones(4, 5)), first)


def test_where_an_input_is_zero_its_gradient_is_not():
    layer = layers.Dropout(0.5, seed=0)
    layer(np.zeros((4, 5), "float32"), training=True)
    np.testing.assert_array_equal(layer.backward(ones(4, 5)), twin(ones(4, 5), 0.5))


@pytest.mark.parametrize("rate", [0, 0.5, 1])
@pytest.mark.parametrize("upstream", ["float16", "float32", "float64"])
def test_gradients_are_of_float32_or_wider(rate, upstream):
    layer = layers.Dropout(rate, dtype="float16")
    assert layer(ones(3), training=True).dtype == "float16"
    gradient = layer.backward(ones(3, dtype=upstream) * 40000)
    assert gradient.dtype == np.promote_types(upstream, "float32")
    assert np.isfinite(gradient).all()


def test_threads_draw_for_themselves():
    layer = layers.Dropout(0.5, seed=0)

    def draw(_):
        output = layer(ones(50), training=True)
        return np.array_equal(layer.backward(ones(50)), output), output.tobytes()

    with ThreadPoolExecutor(4) as pool:
        same, drawn = zip(*pool.map(draw, range(200)))
    assert all(same)
    assert len(set(drawn)) == 200


# --- The state ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_from_where_the_original_is(way):
    layer = layers.Dropout(0.5, seed=3)
    layer(ones(9), training=True)
    again = way(layer)
    np.testing.assert_array_equal(again(ones(9), training=True), layer(ones(9), training=True))
    assert again.variables[0] is not layer.variables[0]


@pytest.mark.parametrize(
    "expression", ["layers.Dropout(0.5, (None, 1), 7)", "layers.SpatialDropout1D(0.5, 7)"]
)
def test_one_made_from_its_config_starts_anew(expression):
    layer = make(fastembed, expression)
    x = ones(4, 5) if type(layer) is layers.Dropout else ones(4, 5, 6)
    first = layer(x, training=True)
    for again in (type(layer).from_config(layer.get_config()), layers.deserialize(layers.serialize(layer))):
        np.testing.assert_array_equal(again(x, training=True), first)


def test_a_layer_that_holds_one_has_its_state():
    class Noisy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dropout = layers.Dropout(0.5, seed=2)

        def call(self, inputs):
            return self.dropout(inputs)

    noisy = Noisy()
    assert [v.numpy().tolist() for v in noisy.non_trainable_variables] == [[2, 0]]
    assert noisy.weights == []
    assert (noisy(ones(50), training=True) == 0).any()
    assert noisy.variables[0].numpy().tolist() == [2, 1]


# --- Eras -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["keras1", "keras2", "tf.keras", "keras3"])
def test_keywords_and_configs_of_every_era(era):
    with fastembed.era(era):
        dropout, spatial = layers.Dropout(p=0.25, name="a"), layers.SpatialDropout1D(p=0.5, name="b")
        given = layers.Dropout(0.25, (1, None), 3, name="a")
    assert (dropout.rate, spatial.rate) == (0.25, 0.5)
    own = {"name", "trainable", "dtype"}
    configs = [{k: v for k, v in x.get_config().items() if k not in own} for x in (dropout, spatial, given)]
    rate = "p" if era == "keras1" else "rate"
    unsaid = {} if era == "keras1" else {"seed": None, "noise_shape": None}
    of_spatial = {"seed": None} if era == "keras3" else unsaid
    assert configs == [
        {rate: 0.25, **unsaid},
        {rate: 0.5, **of_spatial},
        {rate: 0.25, "seed": 3, "noise_shape": (1, None)},
    ]
    for layer in (dropout, spatial, given):
        with fastembed.era(era):
            assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
        assert type(layer).from_config(layer.get_config()).rate == layer.rate


def test_positions_of_spatial_dropout():
    assert layers.SpatialDropout1D(0.5, 3, "mine", "float16").name == "mine"
    for era in ("keras1", "keras2", "tf.keras"):
        with fastembed.era(era), pytest.raises(TypeError, match="only 1 positional"):
            layers.SpatialDropout1D(0.5, 3)


# --- Against Keras --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


def function(library, x, rate, noise_shape, seed):
    if seed == "generator":
        seed = library.random.SeedGenerator(5)
    return [np.asarray(library.random.dropout(x, rate, noise_shape, seed)) for _ in range(2)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("noise_shape", [None, (None, 1, None), (1, 5, 1), (5, 1), ()], ids=str)
def test_the_function(keras, rng, dtype, rate, noise_shape):
    x = rng.standard_normal((3, 5, 4)).astype(fastembed.dtypes.array_dtype(dtype))
    for seed in (11, "generator"):
        agree(keras, function, x, rate, noise_shape, seed)


def seen(library, expression, x):
    library.backend.clear_session()
    layer = make(library, expression)
    facts = [layer.built, layer.supports_masking, layer.get_config(), layer.get_build_config()]
    facts += [np.asarray(layer(x, training=training)) for training in (True, True, False, None)]
    states = [(v.name, v.path, tuple(v.shape), np.asarray(v).tolist()) for v in layer.variables]
    mask = np.ones(x.shape[:2], bool)
    return [
        *facts,
        states,
        len(layer.weights),
        layer.compute_mask(x, mask),
        layer.compute_output_shape((2, None)),
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "expression",
    [
        "layers.Dropout(0.5, seed=3)",
        "layers.Dropout(1, seed=3)",
        "layers.Dropout(0, name='x')",
        "layers.Dropout(0.25, [None, 1, 4], 5, dtype='mixed_float16', trainable=False)",
        "layers.SpatialDropout1D(0.5, seed=3)",
        "layers.SpatialDropout1D(0.5, 3, 'x', 'float16')",
    ],
)
def test_what_is_seen_of_a_layer(keras, expression, dtype, rng):
    agree(keras, seen, expression, rng.standard_normal((2, 5, 4)).astype(dtype))


def called(library, expression, shape):
    return make(library, expression)(np.zeros(shape, "float32"), training=True)


@pytest.mark.parametrize(
    ("expression", "shape", "words"),
    [
        *((f"layers.{kind}({rate})", None, f"rate.*got {rate}") for kind in ("Dropout", "SpatialDropout1D")
          for rate in ("-0.1", "1.1", "'a'", "None")),
        ("layers.Dropout(np.nan)", None, "rate.*nan"),
        ("layers.Dropout(0.5, 3)", None, "noise_shape=3"),
        ("layers.Dropout(0.5, '3')", None, "noise_shape='3'"),
        ("layers.Dropout(0.5, (1, 2.5))", None, r"noise_shape=\(1, 2.5\)"),
        ("layers.Dropout(0.5, (1, 0))", None, r"positive.*noise_shape=\(1, 0\)"),
        ("layers.Dropout(0.5, (1, -1))", None, r"positive.*noise_shape=\(1, -1\)"),
        ("layers.Dropout(0.5, seed=1.5)", None, "seed.*1.5"),
        ("layers.Dropout(0.5, (3,))", (2, 4), r"\(3,\) cannot be broadcast to inputs of shape \(2, 4\)"),
        ("layers.Dropout(0.5, (1, 2, 4))", (2, 4), r"\(1, 2, 4\) cannot be broadcast"),
        ("layers.SpatialDropout1D(0.5)", (2, 4), "expected ndim=3, found ndim=2"),
    ],
)  # fmt: skip
def test_errors_are_of_keras_s_class(keras, expression, shape, words):
    program, *args = (called, expression, shape) if shape is not None else (make, expression)
    ours, _ = agree_to_raise(keras, program, *args)
    assert re.search(words, ours.message), ours.message


def test_an_error_draws_nothing():
    layer = layers.Dropout(0.5, (3,), seed=1)
    for bad in (ones(2, 4), np.ones((2, 3), int)):
        with pytest.raises(ValueError, match=r"broadcast|floats"):
            layer(bad, training=True)
    assert layer.variables[0].numpy().tolist() == [1, 0]
    with pytest.raises(RuntimeError, match="no recorded call"):
        layer.backward(ones(2, 4))


def integers(library):
    return np.asarray(library.random.dropout(np.full(4, 7, "int32"), 0.5, seed=1)).tolist()


def rate_of_two(library):
    return np.asarray(library.random.dropout(np.ones(3, "float32"), 2.0, seed=1)).tolist()


def policy_of_spatial(library):
    return library.layers.SpatialDropout1D(0.5, dtype="mixed_float16").get_config()["dtype"]


def test_where_we_differ(keras):
    """Keras's numpy backend cuts integers, takes any rate in the function, and forgets a mixed policy."""
    assert set(keras(integers)) <= {0, 14}
    with pytest.raises(ValueError, match="dropout needs floats: numbers of int32"):
        random.dropout(np.full(4, 7, "int32"), 0.5)
    assert keras(rate_of_two) == [0, 0, 0]
    with pytest.raises(ValueError, match=r"`rate` must be a number from 0 to 1, got 2\.0"):
        random.dropout(ones(3), 2.0)
    assert keras(policy_of_spatial) == "float32"
    assert policy_of_spatial(fastembed)["config"] == {"name": "mixed_float16"}
    with pytest.raises(ValueError, match="SpatialDropout1D draws noise"):
        layers.SpatialDropout1D(0.5, noise_shape=(1, 2, 3))
    with pytest.raises(ValueError, match=r"\(None,\) cannot be broadcast to inputs of shape \(4, 4\)"):
        random.dropout(ones(4, 4), 0.5, (None,))

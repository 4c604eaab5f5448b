"""Activations, their gradients and their layers against real Keras 3, on its numpy backend and on JAX.

Numbers agree within some units in the last place: the formulas are not the same. Where we differ on purpose,
both answers are pinned, at the end of the file.
"""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from test_activations import CASES, KINKS, NAMES, NEEDED
from two_libraries import Raised, agree, agree_to_raise, make, outcome, process

import fastembed
from fastembed import activations

if not importlib.util.find_spec("keras"):
    pytest.skip("real Keras is not installed (it needs NumPy 2)", allow_module_level=True)


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


@pytest.fixture(scope="module")
def keras_on_jax():
    with process("keras", "jax") as ask:
        yield ask


# --- Numbers --------------------------------------------------------------------------------------

GRID = np.float32([*KINKS, *np.linspace(-9, 9, 40), 1e4, -1e4, 1e-6, -1e-6, 30, -30, 88]).reshape(6, 10)[
    :, ::-1
]
ALIKE = [(name, arguments) for name, arguments in CASES if name != "sparsemax"]
SLOPES_ABOVE_1 = [{"negative_slope": 1.5}, {"negative_slope": 1.5, "max_value": None, "threshold": 0.0}]
each_case = pytest.mark.parametrize(("name", "arguments"), ALIKE, ids=str)


def values(library, name, x, arguments):
    return np.asarray(getattr(library.activations, name)(x, **arguments))


@each_case
def test_values(keras, keras_on_jax, name, arguments):
    for ask, dtype in ((keras, "f4"), (keras_on_jax, "f4"), (keras_on_jax, "f2")):
        x = np.clip(GRID, -60000, 60000).astype(dtype)
        ours, theirs = values(fastembed, name, x, arguments), ask(values, name, x, arguments)
        assert ours.dtype == theirs.dtype
        if name == "squareplus":
            theirs = np.where(np.abs(x) > 100, ours, theirs)  # see test_numbers_far_out
        if ask is keras and arguments in SLOPES_ABOVE_1:
            continue  # see test_a_slope_above_1
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(ours, theirs, rtol=8 * eps, atol=4 * eps)


def gradients(library, name, x, upstream, arguments):
    import jax

    function = getattr(library.activations, name)
    _, pulled_back = jax.vjp(lambda x: function(x, **arguments), x)
    return np.asarray(pulled_back(jax.numpy.asarray(upstream))[0])


@each_case
def test_gradients_at_kinks_too(keras_on_jax, rng, name, arguments):
    function, x = getattr(activations, name), GRID
    y = function(x, **arguments)
    upstream = rng.standard_normal(y.shape).astype("f4")
    ours = function.gradient(x, y, upstream, **arguments)
    theirs = keras_on_jax(gradients, name, x, upstream, arguments)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=3e-5, atol=2e-6)


# --- Names ----------------------------------------------------------------------------------------


def written(library, identifier):
    function = library.activations.get(identifier)
    return function.__name__, library.activations.serialize(function)


@pytest.mark.parametrize("identifier", [*NAMES, "swish", "hard_swish", None], ids=str)
def test_names(keras, identifier):
    agree(keras, written, identifier)


def known(_):
    from keras.src.activations import ALL_OBJECTS_DICT

    return sorted(ALL_OBJECTS_DICT)


def test_none_is_missing(keras):
    assert set(keras(known)) == {*NAMES, "swish", "hard_swish"}


@pytest.mark.parametrize("bad", ["nope", 3, ["relu"]], ids=str)
def test_errors(keras, bad):
    agree_to_raise(keras, written, bad)


# --- Layers ---------------------------------------------------------------------------------------

INPUTS = np.float32([[[0, 0, 0], [1, -2, 3], [0.5, 7, -0.25]], [[2, 2, 2], [-1, 0, 0], [-9, 1, 1.5]]])
LAYERS = [
    *(f"layers.Activation({name!r}, name='x')" for name in ("relu", "swish", "softmax", "gelu", None)),
    "layers.Activation(layers.ReLU(name='r'), name='x', trainable=False)",
    "layers.ReLU(name='x')",
    "layers.ReLU(6, 0.5, 1, name='x')",
    "layers.ReLU(max_value=2.5, name='x', dtype='float16')",
    "layers.LeakyReLU(name='x')",
    "layers.LeakyReLU(0.1, name='x', activity_regularizer='l2')",
    "layers.ELU(name='x')",
    "layers.ELU(0.5, name='x')",
    "layers.PReLU(name='x')",
    "layers.PReLU('ones', 'l2', 'non_neg', 1, name='x')",
    "layers.PReLU(initializers.Constant(0.5), shared_axes=(1, 2), name='x')",
    "layers.Softmax(name='x')",
    "layers.Softmax(1, name='x')",
    "layers.Softmax([-1], name='x')",
    "layers.Masking(name='x')",
    "layers.Masking(2, name='x')",
    "layers.Masking(mask_value=2.0, name='x', dtype='mixed_float16')",
    "layers.Lambda(activations.relu, name='x')",
    "layers.Lambda(activations.relu, (3, 3), arguments={'max_value': 2}, name='x')",
    "layers.Dense(4, 'relu', kernel_initializer='ones', name='x')",
    "layers.Dense(4, activation='softmax', kernel_initializer='ones', bias_initializer='ones', name='x')",
    "layers.Dense(4, layers.LeakyReLU(name='l'), kernel_initializer='ones', name='x')",
]


def seen(library, layer):
    built = layer.built
    outputs = np.asarray(layer(INPUTS), "f4")
    mask = layer.compute_mask(INPUTS, None)
    return (
        json.loads(json.dumps(layer.get_config())),
        (built, layer.supports_masking, layer.get_build_config(), [w.name for w in layer.weights]),
        tuple(layer.compute_output_shape(INPUTS.shape)),
        None if mask is None else np.asarray(mask),
        outputs,
    )


def made(library, expression):
    return seen(library, make(library, expression))


def read_back(library, kind, config):
    return seen(library, getattr(library.layers, kind).from_config(config))


@pytest.mark.parametrize("expression", LAYERS)
def test_layers(keras, expression):
    kind = expression.partition("(")[0].partition(".")[2]
    ours, theirs = made(fastembed, expression), keras(made, expression)
    assert not isinstance(theirs, Raised), theirs
    for one, other in (
        (ours, theirs),
        (read_back(fastembed, kind, theirs[0]), theirs),
        (ours, keras(read_back, kind, ours[0])),
    ):
        assert one[:3] == other[:3]
        np.testing.assert_array_equal(one[3], other[3])
        np.testing.assert_allclose(
            one[4], other[4], rtol=2e-3 if "float16" in expression else 1e-6, atol=1e-7
        )


def masked(library, mask, axis):
    layer = library.layers.Softmax(axis)
    return np.asarray(layer(INPUTS, mask=np.asarray(mask)))


@pytest.mark.parametrize("axis", [-1, 1, (1, 2)], ids=str)
@pytest.mark.parametrize(
    "mask",
    [[True, False, True], [[True], [False], [True]], [[[1, 1, 0]] * 3, [[0, 0, 0]] * 3], [0.5, 0.51, 0.49]],
    ids=range(4),
)
def test_softmax_with_a_mask(keras, mask, axis):
    ours, theirs = masked(fastembed, mask, axis), keras(masked, mask, axis)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("mask", [[True, False], np.ones((1, 2, 3, 3), bool)], ids=["length", "axes"])
def test_masks_that_do_not_fit(keras, mask):
    agree_to_raise(keras, masked, mask, -1)


@pytest.mark.parametrize(
    "expression",
    [
        "layers.ReLU(max_value=-1)",
        "layers.ReLU(negative_slope=-1)",
        "layers.ReLU(negative_slope=None)",
        "layers.ReLU(threshold=-1)",
        "layers.LeakyReLU(None)",
        "layers.LeakyReLU(-0.5)",
        "layers.Activation('nope')",
        "layers.Activation(3)",
        "layers.Activation()",
        "layers.Dense(3, 'nope')",
        "layers.Lambda(3)",
        "layers.Lambda(lambda x: x @ np.ones(7)).compute_output_shape((2, 3))",
        "layers.Lambda.from_config({'function': {'class_name': '__lambda__', 'config': {'code': ''}}})",
        "activations.glu(np.ones((2, 3)))",
    ],
)
def test_errors_of_the_same_class(keras, expression):
    agree_to_raise(keras, make, expression)


def shape_of(library, expression, shape):
    return make(library, f"layers.Lambda({expression})").compute_output_shape(shape)


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("lambda x: x[:, 0]", (None, 3, 4)),
        ("lambda x: x * 2", (None, None, 4)),
        ("lambda x: x, output_shape=(7,)", (None, 4)),
        ("lambda x: x, output_shape=lambda shape: shape[:1]", (2, 4)),
    ],
)
def test_shapes_of_lambda(keras_on_jax, expression, shape):
    agree(keras_on_jax, shape_of, expression, shape)


def softmax_of_one(library):
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        library.activations.softmax(np.ones((3, 1), "f4"))
    return [warning.category.__name__ for warning in caught]


def test_softmax_over_one_warns(keras):
    assert agree(keras, softmax_of_one) == ["UserWarning"]


# --- Where we differ on purpose -------------------------------------------------------------------


def test_sparsemax_gives_probabilities(keras, keras_on_jax):
    """Keras adds up running sums: as soon as two numbers are kept, its results do not add up to 1."""
    x = np.float32([[1, 0.5, -1], [3, 1, 0]])
    assert values(fastembed, "sparsemax", x, {}).tolist() == [[0.75, 0.25, 0], [1, 0, 0]]
    for ask in (keras, keras_on_jax):
        assert np.asarray(ask(values, "sparsemax", x, {})).tolist() == [[0.25, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("glu", "linear")])
def test_activations_of_integers_and_lists(keras, keras_on_jax, name):
    x, arguments = np.array([-3, 0, 1, 4], "int32"), NEEDED.get(name, {})
    wanted = values(fastembed, name, x.astype("f4"), arguments)
    np.testing.assert_array_equal(values(fastembed, name, x, arguments), wanted, strict=True)
    np.testing.assert_array_equal(values(fastembed, name, x.tolist(), arguments), wanted, strict=True)
    theirs = [ask(values, name, x, arguments) for ask in (keras, keras_on_jax)]
    agrees = [not isinstance(y, Raised) and y.dtype == "f4" and np.allclose(y, wanted) for y in theirs]
    assert sum(agrees) < 2 or name in ("exponential", "tanh")


def test_numbers_far_out(keras):
    """On its numpy backend Keras loses them; the first on JAX as well."""
    for name, x, ours, theirs in [
        ("squareplus", -1e4, 2 / (1e4 + np.sqrt(1e8 + 4)), 0),
        ("gelu", -10, -7.619853024160527e-23, 0),
    ]:
        x = np.float32([x])
        np.testing.assert_allclose(values(fastembed, name, x, {}), [ours], rtol=2e-5)
        assert keras(values, name, x, {}) == theirs


def test_a_slope_above_1(keras, keras_on_jax):
    x = np.float32([-2, 2])
    for name, arguments in (("leaky_relu", SLOPES_ABOVE_1[0]), ("relu", SLOPES_ABOVE_1[1])):
        assert values(fastembed, name, x, arguments).tolist() == [-3, 2]
        assert keras_on_jax(values, name, x, arguments).tolist() == [-3, 2]
        assert keras(values, name, x, arguments).tolist() == [-2, 3]


def several_axes(library):
    return np.asarray(library.layers.Softmax([1, 2])(INPUTS))


def test_softmax_over_a_list_of_axes(keras):
    np.testing.assert_allclose(several_axes(fastembed).sum(axis=(1, 2)), 1, rtol=1e-6)
    assert keras(several_axes).name == "TypeError"


def nan_of(library, name, arguments):
    return bool(np.isnan(values(library, name, np.float32([np.nan]), arguments)[0]))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("relu", {"threshold": 1.0}), ("threshold", {"threshold": 1.0, "default_value": 0.0}),
        ("hard_shrink", {}), ("soft_shrink", {}),
    ],
)  # fmt: skip
def test_nan_stays_nan(keras, name, arguments):
    assert nan_of(fastembed, name, arguments)
    assert not keras(nan_of, name, arguments)


def ufunc(library, layer):
    return make(library, f"layers.{layer}activation=np.tanh)").get_config()


def test_a_function_without_a_name_is_not_written(keras):
    for layer in ("Activation(", "Dense(2, "):
        assert outcome(ufunc, fastembed, layer).name == "TypeError"
        assert keras(ufunc, layer).name == "AttributeError"


def a_users_relu(library):
    def relu(x):
        return 2 * x

    return library.layers.Activation(relu).get_config()["activation"]


def test_a_users_function_of_a_name_of_keras(keras):
    assert a_users_relu(fastembed)["config"] == "relu"
    assert keras(a_users_relu) == "relu"  # and reads back another function


def lambda_config(library):
    return library.layers.Lambda(lambda x: x).get_config()["function"]["class_name"]


def test_a_lambda_is_not_written(keras):
    assert outcome(lambda_config, fastembed).name == "TypeError"
    assert keras(lambda_config) == "__lambda__"


def old_keywords(library):
    layer = library.layers.ThresholdedReLU(theta=2.0)
    return np.asarray(layer(INPUTS)).tolist()


def test_thresholded_relu_of_keras_2(keras):
    assert old_keywords(fastembed) == np.where(INPUTS > 2, INPUTS, 0).tolist()
    assert keras(old_keywords).name == "AttributeError"

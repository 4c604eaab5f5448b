"""Activations and their gradients, and the layers that are made of them."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from gradients import check_gradients, slopes
from hypothesis import given
from hypothesis import strategies as st

import fastembed
from fastembed import _old_keras, activations, eras, initializers, layers
from fastembed.dtypes import array_dtype

NAMES = [
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax",
    "squareplus", "tanh", "tanh_shrink", "threshold",
]  # fmt: skip
NEEDED = {"threshold": {"threshold": 2.0, "default_value": -1.0}}
CASES = [
    *((name, NEEDED.get(name, {})) for name in NAMES),
    ("celu", {"alpha": 0.3}),
    ("elu", {"alpha": 0.3}),
    ("gelu", {"approximate": True}),
    ("glu", {"axis": 0}),
    ("hard_shrink", {"threshold": 2.0}),
    ("soft_shrink", {"threshold": 2.0}),
    ("leaky_relu", {"negative_slope": 1.5}),
    ("squareplus", {"b": 0.5}),
    *(
        ("relu", {"negative_slope": slope, "max_value": most, "threshold": least})
        for slope in (0.0, 0.3, 1.5)
        for most in (None, 2.5, 6)
        for least in (0.0, 2.0, -1.0)
    ),
    ("softmax", {"axis": 0}),
    ("softmax", {"axis": (0, 1)}),
    ("log_softmax", {"axis": 0}),
    ("sparsemax", {"axis": 0}),
]
KINKS = np.array([0, 0.5, 1, 2, 2.5, 3, 6])
KINKS = np.unique([KINKS, -KINKS])
every_case = pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)


def numbers(rng, shape, scale=3.0):
    """Random numbers, none within 0.01 of a kink."""
    x = scale * rng.standard_normal(shape)
    near = np.abs(x[..., None] - KINKS).min(axis=-1) < 0.01
    return np.where(near, x + 0.03, x)


# --- Gradients ------------------------------------------------------------------------------------


@every_case
def test_gradients_are_finite_differences(name, arguments, rng):
    function = getattr(activations, name)
    for _ in range(3):
        x = numbers(rng, (4, 6))
        upstream = rng.standard_normal(function(x, **arguments).shape)
        found = function.gradient(x, function(x, **arguments), upstream, **arguments)
        wanted = slopes(lambda x=x, g=upstream: float((function(x, **arguments) * g).sum()), x)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_stay_and_the_arithmetic_is_wide(name, dtype, rng):
    function, arguments = getattr(activations, name), NEEDED.get(name, {})
    x = numbers(rng, (3, 4)).astype(array_dtype(dtype) if dtype != "bfloat16" else bfloat16())
    wide = np.float64 if dtype == "float64" else np.float32
    y = function(x, **arguments)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(
        y.astype(wide), function(x.astype(wide), **arguments).astype(x.dtype).astype(wide)
    )
    for upstream in (np.ones(y.shape, x.dtype), np.ones(y.shape)):
        gradient = function.gradient(x, y, upstream, **arguments)
        assert gradient.dtype == (
            upstream.dtype if name == "linear" else np.promote_types(upstream.dtype, "f4")
        )
        assert gradient.shape == x.shape


def bfloat16():
    return pytest.importorskip("ml_dtypes").bfloat16


@pytest.mark.parametrize("name", [name for name in NAMES if name != "linear"])
def test_integers_and_python_numbers_count_as_float32(name):
    function, arguments = getattr(activations, name), NEEDED.get(name, {})
    wanted = function(np.float32([-3, 0, 1, 4]), **arguments)
    for same in ([-3, 0, 1, 4], [-3.0, 0.0, 1.0, 4.0], np.array([-3, 0, 1, 4])):
        np.testing.assert_array_equal(function(same, **arguments), wanted, strict=True)
    assert activations.linear(arguments) is arguments


EDGES = np.float32([-np.inf, -1e30, -1e4, -88, -1e-30, -0.0, 0, 1e-30, 88, 1e4, 1e30, np.inf])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("glu", "linear")])
def test_nothing_overflows_on_its_way(name):
    """Against float64, in which none of these does."""
    function, arguments = getattr(activations, name), NEEDED.get(name, {})
    x = EDGES if "max" not in name else EDGES[3:-2, None] * np.float32([1, 0.5])
    x = x[np.isfinite(x)]
    if name == "squareplus":  # x**2 is in the formula
        x = x[np.abs(x) < 1e18]
    x = x if "max" not in name else x.reshape(-1, 2)
    y = function(x, **arguments)
    exact = function(x.astype(float), **arguments)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(y, exact.astype("f4"), rtol=2e-6, atol=1e-37)
        slope = function.gradient(x, y, np.ones_like(x), **arguments)
        wanted = function.gradient(x.astype(float), exact, np.ones(x.shape), **arguments).astype("f4")
    np.testing.assert_allclose(slope, wanted, rtol=2e-6, atol=2e-7 if name in LEFT_OVER else 1e-37)


# Where the slope is taken from an output that is as good as its limit.
LEFT_OVER = {"sigmoid", "silu", "mish", "tanh", "softmax", "log_softmax", "sparsemax", "gelu", "tanh_shrink"}


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan(name):
    x = np.full((2, 2), np.nan, "f4")
    assert np.isnan(getattr(activations, name)(x, **NEEDED.get(name, {}))).all()


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("sigmoid", -1e4, 0), ("sigmoid", 1e4, 1), ("sigmoid", -80, math.exp(-80)), ("softplus", 1e4, 1e4),
        ("softplus", -1e4, 0), ("softplus", -80, math.exp(-80)), ("log_sigmoid", -1e4, -1e4),
        ("log_sigmoid", 80, -math.exp(-80)), ("squareplus", -1e4, 2 / (1e4 + math.sqrt(1e8 + 4))),
        ("silu", -1e4, 0), ("mish", 1e4, 1e4),
        ("gelu", 1e4, 1e4), ("gelu", -1e4, 0), ("gelu", -10, -7.619853024160527e-23), ("elu", -1e4, -1),
        ("exponential", 1e4, math.inf), ("tanh", -1e4, -1), ("softsign", 1e30, 1),
    ],
)  # fmt: skip
def test_far_out(name, x, y):
    assert getattr(activations, name)(np.float64([x])) == pytest.approx([y], rel=1e-12, abs=0)


def test_softmax_of_large_numbers():
    x = np.float32([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]])
    np.testing.assert_allclose(activations.softmax(x), [[0.5, 0.5, 0], [1 / 3] * 3], rtol=1e-6)
    np.testing.assert_allclose(
        activations.log_softmax(x)[0], [-math.log(2), -math.log(2), -2e4 - math.log(2)], rtol=1e-6
    )
    np.testing.assert_array_equal(activations.sparsemax(x), np.float32([[0.5, 0.5, 0], [1 / 3] * 3]))


@given(st.floats(-37, 37))
def test_the_normal_distribution_is_exact_in_its_tails(x):
    wanted = 0.5 * math.erfc(-x / math.sqrt(2))
    # exp(-x * x / 2) knows its argument to 1e-16.
    assert activations.gelu(np.array([x])) == pytest.approx(
        [x * wanted], rel=1e-14 + 4e-16 * x * x, abs=1e-320
    )


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=9))
def test_sparsemax_is_the_nearest_distribution(values):
    """What no small move towards another distribution could bring nearer."""
    x = np.array(values)
    p = activations.sparsemax(x)
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1)
    towards = np.eye(len(x)) - p
    assert ((x - p) @ towards.T).max() <= 1e-9 * (1 + np.abs(x).max())


@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from(NAMES))
def test_any_shape(rows, columns, name):
    arguments = NEEDED.get(name, {})
    columns = 2 * columns if name == "glu" else columns
    if columns == 0 and name in ("softmax", "log_softmax", "sparsemax"):
        columns = 2
    x = np.ones((rows, columns + 2 * ("max" in name)), "f4")
    y = getattr(activations, name)(x, **arguments)
    assert y.shape == ((rows, columns // 2) if name == "glu" else x.shape)
    assert getattr(activations, name).gradient(x, y, y, **arguments).shape == x.shape


@pytest.mark.parametrize("name", sorted({*NAMES} - {"glu", "linear", "softmax", "log_softmax", "sparsemax"}))
def test_a_number_alone(name):
    y = getattr(activations, name)(np.float32(3), **NEEDED.get(name, {}))
    assert (type(y), y.shape, y.dtype) == (np.ndarray, (), np.float32)


def test_what_cannot_be():
    with pytest.raises(ValueError, match=r"axis size must be divisible by 2. Received: x.shape=\(2, 3\)"):
        activations.glu(np.ones((2, 3)))
    with pytest.warns(UserWarning, match="this axis has size 1, so every result is 1. Did you mean sigmoid"):
        assert activations.softmax(np.ones((2, 1))).tolist() == [[1], [1]]


def test_names_of_keras_2_for_arguments():
    x = np.float32([-2, 3])
    assert activations.relu(x, alpha=0.5).tolist() == [-1, 3]
    assert activations.leaky_relu(x, alpha=0.5).tolist() == [-1, 3]
    assert activations.relu.gradient(x, x, np.ones(2), alpha=0.5).tolist() == [0.5, 1]
    assert activations.leaky_relu.gradient(x, x, np.ones(2), alpha=0.5).tolist() == [0.5, 1]


# --- Names and configs ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    function = getattr(activations, name)
    assert function.__name__ == name
    assert function.__doc__
    assert activations.get(name) is activations.get(function) is function
    assert activations.serialize(function) == name
    assert activations.deserialize(name) is function
    written = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
    assert activations.get(written) is activations.deserialize(written) is function
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize(
    ("alias", "function"),
    [
        ("swish", activations.silu),
        ("hard_swish", activations.hard_silu),
        ("softmax_v2", activations.softmax),
        ("time_distributed_softmax", activations.softmax),
        (None, activations.linear),
    ],
)
def test_other_names(alias, function):
    assert activations.get(alias) is function


def test_layers_are_activations():
    for config in (
        {"class_name": "LeakyReLU", "config": {"alpha": 0.5}},
        layers.LeakyReLU(0.5),
        layers.LeakyReLU,
    ):
        assert isinstance(activations.get(config), layers.LeakyReLU)
    layer = layers.ReLU(name="r")
    assert activations.deserialize(activations.serialize(layer)).get_config() == layer.get_config()


@pytest.mark.parametrize(
    "bad",
    ["nope", 3, ["relu"], {"class_name": "nope", "config": {}}, {"class_name": "function", "config": "x"}],
)
def test_what_is_no_activation(bad):
    with pytest.raises(ValueError, match="Could not interpret"):
        activations.get(bad)


def mine(x):
    return 2 * x


def test_functions_of_ones_own():
    written = activations.serialize(mine)
    assert (written["class_name"], written["config"]) == ("function", "mine")
    with pytest.raises(ValueError, match="Could not interpret"):
        activations.deserialize(written)
    assert activations.deserialize(written, {"mine": mine}) is mine
    with fastembed.utils.CustomObjectScope({"mine": mine}):
        assert activations.get("mine") is activations.get(written) is mine
    with pytest.raises(TypeError, match="neither a function with a name"):
        activations.serialize(lambda x: x)

    def relu(x):
        return x

    assert activations.serialize(relu) == {**written, "config": "relu"}  # not Keras's


def test_gradients_of_ones_own():
    with pytest.raises(
        RuntimeError, match=r"decorate the function with @fastembed\.activations\.with_gradient"
    ):
        activations.gradient_of(mine)

    class Squared:
        def __call__(self, x):
            return x * x

        def gradient(self, inputs, outputs, upstream):
            return 2 * inputs * upstream

    layer = layers.Activation(Squared())
    assert layer(np.float32([3]), training=True).tolist() == [9]
    assert layer.backward(np.float32([1])).tolist() == [6]
    assert activations.with_gradient(len)(mine) is mine
    assert activations.gradient_of(mine) is len
    del mine.gradient


def test_hard_sigmoid_of_two_eras():
    x = np.float32([[-2.5, 1, 2.75]])
    for era in ("keras1", "keras2", "tf.keras"):
        with fastembed.era(era):
            for said in ("hard_sigmoid", activations.hard_sigmoid):
                layer = layers.Activation(said)
                np.testing.assert_allclose(layer(x), [[0, 0.7, 1]], atol=1e-7)
                assert layer.get_config()["activation"] == "hard_sigmoid"
                assert pickle.loads(pickle.dumps(layer)).activation is _old_keras.hard_sigmoid
            assert layers.Dense(2, activation="hard_sigmoid").get_config()["activation"] == "hard_sigmoid"
            swish = layers.Activation("swish")
            assert swish.get_config()["activation"] == "swish"
            assert eras.current().activation("relu") is activations.relu
    np.testing.assert_allclose(layers.Activation("hard_sigmoid")(x), [[1 / 12, 2 / 3, 5.75 / 6]], rtol=1e-6)
    layer = layers.Activation(_old_keras.hard_sigmoid, dtype="float64")
    check_gradients(layer, np.array([[-3, -1, 0.5, 2, 3]]))


# --- Layers ---------------------------------------------------------------------------------------

ELEMENTWISE = [
    ("ReLU", {}), ("ReLU", {"max_value": 2.5}), ("ReLU", {"negative_slope": 0.3, "threshold": 1}),
    ("ReLU", {"max_value": 3.0, "negative_slope": 0.3, "threshold": 1.0}), ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0}), ("ELU", {}), ("ELU", {"alpha": 0.3}), ("ThresholdedReLU", {}),
    ("ThresholdedReLU", {"theta": 2.0}), ("Softmax", {}), ("Softmax", {"axis": 1}),
    ("Softmax", {"axis": [1, 2]}),
    ("Softmax", {"axis": [-1]}), ("PReLU", {"alpha_initializer": initializers.Constant(0.3)}),
    ("PReLU", {"alpha_initializer": "ones", "shared_axes": 1}), ("PReLU", {"shared_axes": (1, 2)}),
    *(("Activation", {"activation": name}) for name in NAMES if name != "threshold"),
    ("Masking", {}), ("Masking", {"mask_value": 2.0}),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "arguments"), ELEMENTWISE, ids=str)
def test_gradients_of_layers(cls, arguments, rng):
    layer = getattr(layers, cls)(**arguments, dtype="float64")
    x = numbers(rng, (2, 3, 4))
    x[0, 1] = 2 if cls == "Masking" and arguments else 0 if cls == "Masking" else x[0, 1]
    if cls == "Masking":  # a small step unmasks
        layer(x, training=True)
        gradient = layer.backward(np.ones(x.shape))
        assert gradient.tolist() == np.broadcast_to(layer.compute_mask(x)[..., None], x.shape).tolist()
        return
    if cls == "PReLU":
        layer.build(x.shape)
        layer.alpha.assign(rng.uniform(-1, 2, layer.alpha.shape))
    check_gradients(layer, x)


@pytest.mark.parametrize(("cls", "arguments"), ELEMENTWISE, ids=str)
def test_configs_and_pickles(cls, arguments, rng):
    layer = getattr(layers, cls)(**arguments, name="x")
    x = np.float32(numbers(rng, (2, 3, 4)))
    y = layer(x)
    assert layer.compute_output_shape(x.shape) == x.shape
    for again in (
        type(layer).from_config(json.loads(json.dumps(layer.get_config()))),
        layers.deserialize(json.loads(json.dumps(layers.serialize(layer)))),
        pickle.loads(pickle.dumps(layer)),
    ):
        if cls == "PReLU":
            again(x)
            again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(x), y)
        assert json.dumps(again.get_config()) == json.dumps(layer.get_config())


def test_outputs_are_the_callers_to_change():
    for layer in (layers.Activation("sigmoid"), layers.Softmax(), layers.Dense(2, "tanh")):
        x = np.float32([[1, 2]])
        y = layer(x, training=True)
        slope = layer.backward([[1, 2]])
        again = layer(x, training=True)
        np.testing.assert_array_equal(again, y)
        again[:] = 7
        x[:] = 7
        np.testing.assert_array_equal(layer.backward([[1, 2]]), slope)


def test_softmax_of_what_a_mask_keeps(rng):
    x = rng.standard_normal((2, 3, 4))
    mask = np.array([[True, True, False, True], [False] * 4, [True, False, False, False]])
    layer = layers.Softmax(dtype="float64")
    y = layer(x, mask=mask)
    for n, kept in enumerate(mask):
        wanted = np.zeros((2, 4))
        if kept.any():
            wanted[:, kept] = activations.softmax(x[:, n, kept]) if kept.sum() > 1 else 1
        np.testing.assert_allclose(y[:, n], wanted)
    check_gradients(layer, x, mask=mask)
    np.testing.assert_array_equal(layer(x, mask=mask.astype("f4")), y)
    np.testing.assert_array_equal(layers.Softmax(dtype="float16")(x, mask=mask) == 0, y == 0)
    for bad in (np.ones((3, 3), bool), np.ones((1, 2, 3, 4), bool)):
        with pytest.raises(ValueError, match="must be broadcastable to `inputs`"):
            layer(x, mask=bad)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: layers.ReLU(max_value=-1),
            ValueError,
            "max_value of a ReLU layer must be a number of at least",
        ),
        (lambda: layers.ReLU(negative_slope=None), ValueError, "negative_slope of a ReLU layer"),
        (lambda: layers.ReLU(threshold=np.nan), ValueError, "threshold of a ReLU layer"),
        (lambda: layers.LeakyReLU(-0.1), ValueError, r"Received: negative_slope=-0\.1"),
        (lambda: layers.LeakyReLU(alpha=1, negative_slope=1), TypeError, "its name in an earlier Keras"),
        (lambda: layers.ThresholdedReLU("1"), ValueError, "theta of a ThresholdedReLU layer"),
        (
            lambda: layers.Activation("nope"),
            ValueError,
            "Could not interpret activation function identifier: 'n",
        ),
        (
            lambda: layers.Dense(2, "nope"),
            ValueError,
            "Could not interpret activation function identifier: 'n",
        ),
        (
            lambda: layers.PReLU(shared_axes=3).build((None, 2)),
            ValueError,
            r"among \[1\] for inputs of shape",
        ),
        (lambda: layers.Lambda(3), TypeError, "`function` of a Lambda layer must be callable"),
        (lambda: layers.Lambda(len, gradient=3), TypeError, "`gradient` of a Lambda layer must be callable"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_prelu_of_every_place_and_of_shared_axes():
    x = -np.arange(24.0, dtype="f4").reshape(2, 3, 4)
    layer = layers.PReLU("ones", shared_axes=[1])
    assert layer(x, training=True).tolist() == x.tolist()
    assert layer.alpha.shape == (1, 4)
    slope = layer.backward(np.ones_like(x))
    assert slope.tolist() == (x < 0).tolist()  # 0 at 0, as JAX has it for Keras's two rectifiers
    assert layer.alpha.gradient.tolist() == x.sum(axis=(0, 1))[None].tolist()
    with pytest.raises(ValueError, match="incompatible"):
        layer(np.ones((2, 3, 5), "f4"))
    layer.trainable = False
    layer.alpha.clear_gradient()
    layer(x, training=True)
    layer.backward(np.ones_like(x))
    assert layer.alpha.gradient is None
    with fastembed.era("keras1"):
        old = layers.PReLU("one", None, [1])
        config = old.get_config()
    assert (config["init"], config["shared_axes"]) == ("one", [1])
    assert "alpha_regularizer" not in config


@pytest.mark.parametrize("era", ["keras1", "keras2", "tf.keras"])
def test_configs_of_earlier_eras(era):
    with fastembed.era(era):
        leaky, elu, relu = layers.LeakyReLU(alpha=0.1), layers.ELU(0.1), layers.ReLU(6.0)

        class Mine(layers.LeakyReLU):
            pass

        assert Mine(0.1).get_config()["alpha"] == leaky.get_config()["alpha"] == float(np.float32(0.1))
        assert elu.get_config()["alpha"] == float(np.float32(0.1))
        assert relu.get_config()["max_value"] == 6.0
        assert layers.ThresholdedReLU(0.1).get_config()["theta"] == float(np.float32(0.1))
        for layer in (leaky, elu, relu):
            assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
        dense = layers.Dense(2, activation=mine)
        written = dense.get_config()["activation"]
        assert written == (activations.serialize(mine) if era == "tf.keras" else "mine")
        with fastembed.utils.CustomObjectScope({"mine": mine}):
            assert layers.Dense.from_config(dense.get_config()).activation is mine


# --- Dense ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("threshold", "glu")])
@pytest.mark.parametrize("shape", [(5, 3), (2, 2, 3)], ids=str)
def test_gradients_of_dense(name, shape, rng):
    layer = layers.Dense(4, name, dtype="float64", bias_initializer="normal")
    x = rng.standard_normal(shape)
    sums = layers.Dense(4, dtype="float64")
    sums.build(shape)
    while (
        not len(layer.weights) or np.abs(sums(x)[..., None] - KINKS).min() < 1e-4
    ):  # a kink is no derivative
        x = rng.standard_normal(shape)
        layer(x)
        sums.set_weights(layer.get_weights())
    check_gradients(layer, x, rtol=1e-5)


def test_dense_through_layers_as_activations(rng):
    inner = layers.PReLU(initializers.Constant(0.3), dtype="float64")
    layer = layers.Dense(4, activation=inner, dtype="float64")
    check_gradients(layer, rng.standard_normal((5, 3)))
    assert len(layer.weights) == 3
    config = layer.get_config()
    assert config["activation"]["class_name"] == "PReLU"
    assert isinstance(layers.Dense.from_config(config).activation, layers.PReLU)


def test_calls_of_dense_are_differentiated_one_by_one(rng):
    layer = layers.Dense(3, "gelu")
    a, b = (rng.standard_normal((4, 2)).astype("f4") for _ in range(2))
    layer(a, training=True)
    alone = layer.backward(np.ones((4, 3), "f4"))
    layer(a, training=True)
    layer(b, training=True)
    layer.backward(np.ones((4, 3), "f4"))
    np.testing.assert_array_equal(layer.backward(np.ones((4, 3), "f4")), alone)


def test_dense_says_what_it_needs_and_can_then_go_on():
    def double(x):
        return 2 * x

    layer = layers.Dense(2, double, use_bias=False, weights=[np.eye(2)])
    layer(np.float32([[1, 2]]), training=True)
    with pytest.raises(RuntimeError, match=r"nothing is known of the gradient of <function .*double"):
        layer.backward([[1, 1]])
    assert layer.kernel.gradient is None
    activations.with_gradient(lambda inputs, outputs, upstream: 2 * upstream)(double)
    assert layer.backward([[1, 1]]).tolist() == [[2, 2]]
    assert layer.kernel.gradient.tolist() == [[2, 2], [4, 4]]


@pytest.mark.parametrize("frozen", ["kernel", "bias", "kernel bias"])
def test_dense_computes_no_gradient_that_nobody_wants(frozen):
    layer = layers.Dense(3, "tanh")
    layer.build((None, 2))
    for name in frozen.split():
        getattr(layer, name).trainable = False
    layer(np.ones((4, 2), "f4"), training=True)
    assert layer.backward(np.ones((4, 3))).shape == (4, 2)
    for name in ("kernel", "bias"):
        assert (getattr(layer, name).gradient is None) == (name in frozen)


@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "float32", "float64"])
@pytest.mark.parametrize("upstream", ["float16", "float32", "float64"])
def test_dtypes_of_gradients(dtype, upstream):
    layer = layers.Dense(3, "sigmoid", dtype=dtype)
    y = layer(np.ones((4, 2)), training=True)
    assert y.dtype == dtype.replace("mixed_", "")
    assert layer.backward(np.ones((4, 3), upstream)).dtype == np.promote_types(upstream, "float32")
    wide = "float64" if dtype == "float64" else "float32"
    assert layer.kernel.gradient.dtype == layer.bias.gradient.dtype == wide


def test_dense_sums_half_floats_in_float32():
    layer = layers.Dense(1, use_bias=False, kernel_initializer="ones", dtype="float16")
    assert layer(np.ones((1, 5000), "f2")) == 5000  # in float16 the sum stays at 2048


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)], ids=str)
def test_dense_of_nothing(shape):
    layer = layers.Dense(4, "relu")
    y = layer(np.ones(shape, "f4"), training=True)
    assert y.shape == (*shape[:-1], 4)
    assert layer.backward(y).shape == shape
    assert not layer.kernel.gradient.any()


def test_a_subclass_of_dense_that_calls_it():
    class Twice(layers.Dense):
        def call(self, inputs, training=None):
            return super().call(super().call(inputs, training=training), training=training)

    layer = Twice(2, "relu", weights=[np.eye(2), np.zeros(2)])
    assert layer(np.float32([[1, -1]]), training=True).tolist() == [[1, 0]]
    with pytest.raises(RuntimeError, match="cannot be differentiated"):
        layer.backward([[1, 1]])


# --- Masking and Lambda ---------------------------------------------------------------------------


def test_masking_of_every_kind_of_value():
    x = np.float32([[[1, 2], [1, 3], [0, 0]]])
    layer = layers.Masking(np.float32([1, 2]), name="m")
    assert layer(x).tolist() == [[[0, 0], [1, 3], [0, 0]]]
    assert layer.compute_mask(x, mask=np.zeros((1, 3), bool)).tolist() == [[False, True, True]]
    again = layers.Masking.from_config(json.loads(json.dumps(layer.get_config())))
    assert again(x).tolist() == layer(x).tolist()
    assert layers.Masking(1)(np.array([[[1, 1], [1, 2]]])).tolist() == [[[0, 0], [1, 2]]]
    assert layers.Masking(dtype="float16")(x).dtype == np.float16
    assert layers.Masking(np.nan).compute_mask(np.full((1, 1, 1), np.nan)).all()


def test_lambda_passes_on_what_its_function_asks_for():
    def told(x, scale, training=None, mask=None):
        return x * scale + (10 if training else 0) + (100 if mask is not None else 0)

    layer = layers.Lambda(told, arguments={"scale": 2})
    x = np.float32([1])
    assert (layer(x), layer(x, training=True), layer(x, mask=x)) == (2, 12, 102)
    assert layers.Lambda(np.tanh)(x) == np.tanh(x)
    assert layers.Lambda(lambda both: both[0] + both[1])([x, x]).tolist() == [2]


def test_lambda_needs_a_gradient_to_train_through():
    x = np.float32([[1, -2]])
    layer = layers.Lambda(lambda x: 2 * x)
    layer(x, training=True)
    with pytest.raises(
        RuntimeError, match=r"nothing is known of .*; or give it to the layer, as Lambda\(functi"
    ):
        layer.backward(x)
    layer = layers.Lambda(activations.relu, arguments={"negative_slope": 0.5})
    assert layer(x, training=True).tolist() == [[1, -1]]
    assert layer.backward([[1, 1]]).tolist() == [[1, 0.5]]
    check_gradients(layers.Lambda(activations.gelu, dtype="float64"), x)

    def product(pair):
        return pair[0] * pair[1]

    layer = layers.Lambda(
        product, gradient=lambda pair, y, upstream: [upstream * pair[1], upstream * pair[0]]
    )
    layer.dtype_policy = "float64"
    check_gradients(layer, [np.ones((2, 3)), np.full((2, 3), 2.0)])


@pytest.mark.parametrize(
    ("function", "arguments", "given", "wanted"),
    [
        (lambda x: x[:, :5], {}, (None, 7, 2), (None, 5, 2)),
        (lambda x: x[:, 0], {}, (None, None, 2), (None, 2)),
        (lambda x: np.concatenate(x, axis=-1), {}, [(None, 2), (None, 3)], (None, 5)),
        (len, {"output_shape": (3,)}, (None, 2), (None, 3)),
        (len, {"output_shape": (3,)}, [(4, 2), (4, 2)], (4, 3)),
        (len, {"output_shape": lambda shape: shape[::-1]}, (None, 2), (2, None)),
    ],
)
def test_shapes_of_lambda(function, arguments, given, wanted):
    assert layers.Lambda(function, **arguments).compute_output_shape(given) == wanted


def test_a_shape_of_lambda_that_cannot_be_found():
    with pytest.raises(NotImplementedError, match="Please specify the `output_shape` argument"):
        layers.Lambda(lambda x: x @ np.ones(3)).compute_output_shape((None, 2))


def test_masks_of_lambda():
    x = np.float32([[1, 0]])
    assert layers.Lambda(mine).compute_mask(x, mask=x) is None
    assert not layers.Lambda(mine).supports_masking
    assert layers.Lambda(mine, mask=x).compute_mask(x) is x
    layer = layers.Lambda(mine, mask=lambda inputs, mask: [inputs, mask])
    assert layer.supports_masking
    assert layer.compute_mask(1, 2) == [1, 2]


def doubled_shape(shape):
    return shape


OWN = {"mine": mine, "doubled_shape": doubled_shape}


@pytest.mark.parametrize("era", ["keras1", "keras2", "tf.keras", "keras3"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"output_shape": (3, None)},
        {"output_shape": doubled_shape, "arguments": {"scale": [1, 2]}},
        {"mask": doubled_shape},
    ],
    ids=str,
)
def test_configs_of_lambda(era, arguments):
    with fastembed.era(era):
        layer = layers.Lambda(mine, **arguments, name="l")
        config = json.loads(json.dumps(layer.get_config()))
        assert ("function_type" in config) == (era != "keras3")
        again = layers.Lambda.from_config(config, custom_objects=OWN)
        assert again.get_config() == layer.get_config()
        assert again.function is mine
        within = layers.deserialize({"class_name": "Lambda", "config": config}, custom_objects=OWN)
        assert within.get_config() == layer.get_config()
        with pytest.raises(ValueError, match="Could not interpret"):
            layers.Lambda.from_config(config)


CODE = "4wEAAAAAAAAAAAAAAAEAAAADAAAA8wYAAACXAHwAUwApAU4="


@pytest.mark.parametrize(
    "config",
    [
        {"function": {"class_name": "__lambda__", "config": {"code": CODE, "closure": None}}},
        {"function": [CODE, None, None], "function_type": "lambda", "module": "__main__",
         "output_shape": None, "output_shape_type": "raw", "output_shape_module": None, "arguments": {}},
        {"function": "mine", "function_type": "function", "output_shape": [CODE, None, None],
         "output_shape_type": "lambda"},
        {"function": "mine", "mask": {"class_name": "__lambda__", "config": {"code": CODE}}},
    ],
    ids=range(4),
)  # fmt: skip
@pytest.mark.parametrize("safe_mode", [True, False, None])
def test_no_code_in_a_config_is_run(config, safe_mode):
    with pytest.raises(ValueError, match="which a config can only hold as code"):
        layers.Lambda.from_config(config, custom_objects=OWN, safe_mode=safe_mode)
    with pytest.raises(ValueError, match="is a Python lambda"):
        layers.deserialize({"class_name": "Lambda", "config": config}, custom_objects=OWN)


@pytest.mark.parametrize(
    "config",
    [
        {"function": "os.system"},
        {"function": {"module": "os", "class_name": "function", "config": "system"}},
        {"function": {"module": "builtins", "class_name": "builtin_function_or_method", "config": "eval"}},
        {"function": 3},
        {"function": [1, 2]},
        {"function": {"class_name": "Dense", "config": {}}},
        {"function": None},
    ],
    ids=str,
)
def test_hostile_configs_of_lambda(config):
    with pytest.raises(ValueError):
        layers.Lambda.from_config(config)


def test_a_lambda_is_not_written():
    with pytest.raises(TypeError, match="neither a function with a name"):
        layers.Lambda(lambda x: x).get_config()

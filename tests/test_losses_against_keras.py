"""Losses and their gradients against real Keras 3 on JAX, which differentiates its own.

Where we differ on purpose, both answers are pinned, at the end of the file.
"""

from __future__ import annotations

import importlib.util
import json
import warnings

import numpy as np
import pytest
from test_losses import CASES, EDGES, example
from two_libraries import Raised, agree, agree_to_raise, make, outcome, process

import fastembed
from fastembed import losses

if not importlib.util.find_spec("keras"):
    pytest.skip("real Keras is not installed (it needs NumPy 2)", allow_module_level=True)


@pytest.fixture(scope="module")
def keras():
    with process("keras", "jax") as ask:
        yield ask


# --- Functions ------------------------------------------------------------------------------------


def function_of(library, name):
    return getattr(library.losses, name, None) or library.losses.get(name)


def values(library, name, y_true, y_pred, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return np.asarray(function_of(library, name)(y_true, y_pred, **arguments))


def slopes(library, name, y_true, y_pred, upstream, arguments):
    function = function_of(library, name)
    if library is fastembed:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return function.gradient(y_true, y_pred, upstream, **arguments)
    return values_and_slopes(library, name, y_true, y_pred, upstream, arguments)[1]


def values_and_slopes(library, name, y_true, y_pred, upstream, arguments):
    if library is fastembed:
        settings = (name, y_true, y_pred)
        return values(library, *settings, arguments), slopes(library, *settings, upstream, arguments)
    import jax

    function = function_of(library, name)

    @jax.jit  # one compilation, where each step of the formula would have its own
    def both(t, p, slope):
        found, pulled_back = jax.vjp(lambda p: function(t, p, **arguments), p)
        return found, pulled_back(slope)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return tuple(map(np.asarray, both(y_true, y_pred, upstream)))


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 5), (7, 1), (4,)], ids=str)
@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_values_and_gradients(keras, name, arguments, shape):
    rng = np.random.default_rng(7)
    y_true, y_pred = example(rng, name, shape, np.float32, arguments)
    ours = values(fastembed, name, y_true, y_pred, arguments)
    upstream = rng.standard_normal(ours.shape).astype("f4")
    settings = (name, y_true, y_pred, upstream, arguments)
    ours, theirs = values_and_slopes(fastembed, *settings), keras(values_and_slopes, *settings)
    assert_alike(ours, theirs, rtol=5e-6)


@pytest.mark.parametrize(("name", "arguments", "y_true", "y_pred"), EDGES, ids=str)
def test_where_a_loss_has_a_kink(keras, name, arguments, y_true, y_pred):
    """Probabilities at and beyond where they are clipped, hinges where they open, equal maxima."""
    y_true, y_pred = np.asarray(y_true, "f4"), np.asarray(y_pred, "f4")
    ours = values(fastembed, name, y_true, y_pred, arguments)
    upstream = np.linspace(1, 2, ours.size).reshape(ours.shape).astype("f4")
    settings = (name, y_true, y_pred, upstream, arguments)
    assert_alike(values_and_slopes(fastembed, *settings), keras(values_and_slopes, *settings), rtol=2e-6)


def test_broadcasting_as_functions_do(keras):
    y_true, y_pred = np.float32([[0.5, 0.25, 0.25]]), np.random.default_rng(0).random((4, 3), "f4")
    for name in ("cosine_similarity", "mean_squared_error", "kl_divergence", "hinge", "poisson", "huber"):
        for true, pred in ((y_true, y_pred), (y_pred, y_true)):
            ours, theirs = values(fastembed, name, true, pred, {}), keras(values, name, true, pred, {})
            np.testing.assert_allclose(ours, theirs, rtol=2e-6)
            upstream = np.float32([1, 2, 3, 4])
            np.testing.assert_allclose(
                slopes(fastembed, name, true, pred, upstream, {}),
                keras(slopes, name, true, pred, upstream, {}),
                rtol=5e-6,
                atol=1e-6,
            )


# --- Losses ---------------------------------------------------------------------------------------

CLASSES = [
    "losses.BinaryCrossentropy()",
    "losses.BinaryCrossentropy(True, 0.1, -1, 'sum', 'x')",
    "losses.BinaryFocalCrossentropy(True, 0.3, 1.5, False, 0.1)",
    "losses.CategoricalCrossentropy()",
    "losses.CategoricalCrossentropy(True, 0.1, -1, 'none', 'x')",
    "losses.CategoricalFocalCrossentropy(0.3, 1.5, True)",
    "losses.SparseCategoricalCrossentropy()",
    "losses.SparseCategoricalCrossentropy(True, 2, 'sum', -1, 'x')",
    "losses.SparseCategoricalCrossentropy(ignore_class=1)",
    "losses.MeanSquaredError('sum', 'x')",
    "losses.MeanAbsoluteError()",
    "losses.MeanAbsolutePercentageError()",
    "losses.MeanSquaredLogarithmicError()",
    "losses.Huber(0.5, 'mean')",
    "losses.LogCosh()",
    "losses.Hinge()",
    "losses.SquaredHinge()",
    "losses.CategoricalHinge(reduction='mean_with_sample_weight')",
    "losses.CosineSimilarity(-1)",
    "losses.KLDivergence(reduction=None)",
    "losses.Poisson()",
    "losses.Dice()",
    "losses.Tversky(0.3, 0.7, axis=(1,))",
]


def given(expression, rng, shape=(6, 3)):
    y_true, y_pred = example(rng, "mean_squared_error", shape, np.float32)
    y_pred = np.abs(y_pred) / 4
    y_true = (y_true > 0).astype("f4")
    if "Sparse" in expression:
        y_true = rng.integers(0, shape[-1], shape[:-1]).astype("i4")
    return y_true, y_pred


def computed(library, expression, y_true, y_pred, sample_weight=None, mask=None):
    """The loss, and the gradient of its sum."""
    loss = make(library, expression)
    if library is fastembed:
        value, gradient = loss.value_and_gradient(y_true, y_pred, sample_weight, mask)
        assert np.array_equal(value, loss(y_true, y_pred, sample_weight, mask))
        return np.asarray(value), gradient
    import jax
    from keras.src import backend

    def total(p):
        if mask is not None:
            backend.set_keras_mask(p, jax.numpy.asarray(mask))
        value = loss(y_true, p, sample_weight)
        return value.sum(), value

    (_, value), gradient = jax.value_and_grad(total, has_aux=True)(jax.numpy.asarray(y_pred))
    return np.asarray(value), np.asarray(gradient)


def assert_alike(ours, theirs, rtol=3e-6):
    assert not isinstance(theirs, Raised), theirs
    for our, their in zip(ours, theirs):
        assert (our.dtype, our.shape) == (their.dtype, their.shape)
        np.testing.assert_allclose(our, their, rtol=rtol, atol=1e-6)


REDUCTIONS = ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None]


@pytest.mark.parametrize("expression", CLASSES)
def test_classes(keras, expression):
    rng = np.random.default_rng(3)
    for shape in ((6, 3), (2, 4, 3)):
        arguments = given(expression, rng, shape)
        assert_alike(computed(fastembed, expression, *arguments), keras(computed, expression, *arguments))


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
@pytest.mark.parametrize("weighed", ["samples", "column", "each", "scalar", "zeros", None], ids=str)
@pytest.mark.parametrize("masked", ["each", "column", "none", None], ids=str)
@pytest.mark.parametrize("shape", [(6, 3), (2, 4, 3)], ids=str)
def test_weights_and_masks(keras, reduction, weighed, masked, shape):
    rng = np.random.default_rng(3)
    samples = shape[:-1]
    column = (samples[0],) + (1,) * max(len(samples) - 1, 1)
    weights = {
        "samples": rng.random(samples[:1], "f4"), "column": rng.random(column, "f4"),
        "each": rng.random(samples, "f4"), "scalar": np.float32(0.5), "zeros": np.zeros(samples, "f4"),
        None: None,
    }[weighed]  # fmt: skip
    mask = {
        "each": rng.random(samples) < 0.6, "column": rng.random(column) < 0.6,
        "none": np.zeros(samples, bool), None: None,
    }[masked]  # fmt: skip
    for kind in ("MeanSquaredError()", "SparseCategoricalCrossentropy(ignore_class=1)"):
        expression = f"losses.{kind.replace(')', '')}, reduction={reduction!r})".replace("(,", "(")
        arguments = (*given(kind, rng, shape), weights, mask)
        ours, theirs = (
            outcome(computed, fastembed, expression, *arguments),
            keras(computed, expression, *arguments),
        )
        if "ignore" in kind and masked == "column" and len(shape) == 2:
            continue  # Keras makes it samples by samples
        if isinstance(theirs, Raised):  # a weight a sample, for values of steps; see the documentation
            assert ours.name == "ValueError", (ours, theirs)
        elif isinstance(ours, Raised):
            raise AssertionError((ours, theirs))
        else:
            assert_alike(ours, theirs)


SHAPES = [
    ((4, 1), (4, 1)), ((4,), (4, 1)), ((4, 1), (4,)), ((4,), (4,)), ((4, 3, 1), (4, 3)), ((4, 3), (4, 3, 1)),
    ((4, 1, 1), (4, 1)), ((1,), (1,)), ((0, 3), (0, 3)), ((0, 1), (0, 1)), ((0,), (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["MeanSquaredError", "BinaryCrossentropy", "Hinge", "Poisson"])
@pytest.mark.parametrize("dtype", ["f4", "i8", "?"])
def test_targets_are_brought_to_the_rank_and_dtype_of_predictions(keras, kind, shapes, dtype):
    rng = np.random.default_rng(1)
    y_true = rng.integers(0, 2, shapes[0]).astype(dtype)
    y_pred = rng.random(shapes[1], "f4")
    expression = f"losses.{kind}()"
    assert_alike(computed(fastembed, expression, y_true, y_pred), keras(computed, expression, y_true, y_pred))


@pytest.mark.parametrize(
    "shapes", [((4,), (4, 3)), ((4, 1), (4, 3)), ((4, 2), (4, 2, 3)), ((4, 2, 1), (4, 2, 3))]
)
@pytest.mark.parametrize("dtype", ["f4", "i8", "u1", "i4"])
def test_class_numbers(keras, shapes, dtype):
    rng = np.random.default_rng(1)
    y_true, y_pred = rng.integers(0, 3, shapes[0]).astype(dtype), rng.random(shapes[1], "f4")
    for expression in (
        "losses.SparseCategoricalCrossentropy()",
        "losses.SparseCategoricalCrossentropy(True)",
    ):
        assert_alike(
            computed(fastembed, expression, y_true, y_pred), keras(computed, expression, y_true, y_pred)
        )


# --- Names and configs ----------------------------------------------------------------------------


def config_of(library, expression):
    loss = make(library, expression)
    return json.loads(json.dumps(library.losses.serialize(loss)))


SAME_CONFIGS = [each for each in CLASSES if "Huber" not in each]


@pytest.mark.parametrize("expression", [*SAME_CONFIGS, "losses.Huber()"])
def test_configs(keras, expression):
    config = agree(keras, config_of, expression)
    assert losses.serialize(losses.deserialize(config)) == config
    assert losses.serialize(losses.get(config)) == config


def known(_):
    import keras.src.losses as theirs

    return sorted(theirs.ALL_OBJECTS_DICT)


LEFT_OUT = {"CTC", "Circle", "circle", "ctc"}


def kind_and_name(library, identifier):
    loss = library.losses.get(identifier)
    return isinstance(loss, library.losses.Loss), getattr(loss, "__name__", type(loss).__name__)


def test_every_name_of_keras_3(keras):
    for name in set(keras(known)) - LEFT_OUT - {"LossFunctionWrapper", "Loss"}:
        agree(keras, kind_and_name, name)
    agree(keras, config_of, "losses.mean_squared_error")
    for name in {*LEFT_OUT, "CategoricalGeneralizedCrossEntropy"}:
        assert outcome(kind_and_name, fastembed, name).name == "ValueError"


def test_a_function_with_its_arguments(keras):
    def config(library):
        from importlib import import_module

        module = "fastembed.losses" if library is fastembed else "keras.src.losses"
        wrapper = import_module(module).LossFunctionWrapper
        return wrapper(library.losses.huber, delta=2.0, name="x").get_config()

    ours = config(fastembed)
    theirs = keras(wrapped_config)
    assert ours == theirs
    again = losses.LossFunctionWrapper.from_config(theirs)
    assert again.fn is losses.huber
    assert again.get_config() == theirs


def wrapped_config(library):
    from keras.src.losses import LossFunctionWrapper

    return LossFunctionWrapper(library.losses.huber, delta=2.0, name="x").get_config()


@pytest.mark.parametrize("bad", ["nope", 3, ["mse"], {"class_name": "Nope", "config": {}}], ids=str)
def test_unknown_names(keras, bad):
    agree_to_raise(keras, kind_and_name, bad) if not isinstance(bad, dict) else None
    assert outcome(kind_and_name, fastembed, bad).name == "ValueError"


@pytest.mark.parametrize(
    "expression",
    [
        "losses.MeanSquaredError(reduction='nope')",
        "losses.MeanSquaredError(reduction=3)",
        "losses.categorical_crossentropy(np.ones((2, 2)), np.ones((2, 2)), axis=True)",
        "losses.BinaryCrossentropy()(np.ones((4, 3)), np.ones((4, 2)))",
        "losses.CategoricalCrossentropy()(np.ones((4,)), np.ones((4, 2)))",
        "losses.SparseCategoricalCrossentropy()(np.ones((4, 2)), np.ones((4, 2)))",
        "losses.SparseCategoricalCrossentropy()(np.ones((5,)), np.ones((4, 2)))",
        "losses.MeanSquaredError()(np.array([['a']]), np.ones((1, 1)))",
    ],
)
def test_errors_of_the_same_class(keras, expression):
    agree_to_raise(keras, make, expression)


def warned(library, expression):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make(library, expression)
    return [warning.category.__name__ for warning in caught]


def test_one_class_warns(keras):
    for name in ("CategoricalCrossentropy", "CategoricalFocalCrossentropy"):
        agree(keras, warned, f"losses.{name}()(np.ones((2, 1), 'f4'), np.ones((2, 1), 'f4'))")


# --- Where we differ on purpose -------------------------------------------------------------------


def one(library, expression):
    return np.asarray(make(library, expression)).tolist()


def test_labels_out_of_range(keras):
    """Keras computes something: with a label that is no class, that nothing was missed."""
    for expression, theirs in [
        ("losses.sparse_categorical_crossentropy(np.int32([2, -1]), np.float32([[.2, .8]] * 2))", [0, 0]),
        ("losses.sparse_categorical_crossentropy(np.float32([0.7]), np.float32([[.5, .5]]))", [np.log(2)]),
        ("losses.binary_crossentropy(np.float32([[3]]), np.float32([[.5]]))", [np.log(2)]),
        ("losses.categorical_crossentropy(np.float32([[3, 0]]), np.float32([[.5, .5]]))", [3 * np.log(2)]),
    ]:
        assert outcome(one, fastembed, expression).name == "ValueError"
        np.testing.assert_allclose(keras(one, expression), theirs, atol=1e-6)


def test_targets_that_broadcast_are_errors_in_classes(keras):
    expression = "losses.MeanSquaredError()(np.ones((4, 3), 'f4'), np.zeros((4, 1), 'f4'))"
    assert outcome(one, fastembed, expression).name == "ValueError"
    assert keras(one, expression) == 1
    expression = "losses.MeanSquaredError()(np.ones((4, 3), 'f4'), np.zeros((4, 2), 'f4'))"
    assert outcome(one, fastembed, expression).name == "ValueError"
    assert keras(one, expression).name == "TypeError"


def test_weights_of_samples_do_not_weigh_steps(keras):
    expression = (
        "losses.MeanSquaredError()(np.ones((3, 3, 2), 'f4'), np.zeros((3, 3, 2), 'f4'), np.arange(3.))"
    )
    assert outcome(one, fastembed, expression).name == "ValueError"
    assert keras(one, expression) == 1


def test_functions_pair_targets_of_one_rank_less(keras):
    expression = "losses.poisson(np.float32([1, 0]), np.float32([[.5], [.25]])).shape"
    assert make(fastembed, expression) == (2,)
    assert one(fastembed, "losses.hinge([1, -1], [[0.5], [0.5]])") == [0.5, 1.5]
    assert keras(one, "losses.hinge(np.float32([1, -1]), np.float32([[0.5], [0.5]]))") == [1, 1]


def test_half_floats_are_computed_in_float32(keras):
    expression = "losses.binary_crossentropy(np.float16([[1, 0]]), np.float16([[1, 0]]))"
    assert abs(one(fastembed, expression)[0]) < 1e-6
    assert np.isnan(keras(one, expression)).all()
    expression = "losses.mean_squared_error(np.zeros((1, 2), 'f2'), np.float16([[300, 300]]))"
    assert one(fastembed, expression) == [np.inf]  # 90,000, rounded once
    expression = "losses.MeanSquaredError(dtype='float16')(np.zeros((2, 1)), np.float16([[300], [0]]))"
    assert one(fastembed, expression) == np.float16(45000)
    assert keras(one, expression) == np.inf


def test_integers_as_predictions_count_as_floats(keras):
    expression = "losses.mean_squared_error(np.float32([[0.5]]), np.int32([[1]]))"
    assert one(fastembed, expression) == [0.25]
    assert keras(one, expression) == [1]


def gradient_at_zero(library):
    zeros = np.zeros((1, 2), "f4")
    return slopes(library, "cosine_similarity", np.float32([[1, 2]]), zeros, np.float32([1]), {})


def test_the_cosine_of_a_vector_of_zeros_has_a_gradient(keras):
    assert (gradient_at_zero(fastembed) == 0).all()
    assert np.isnan(keras(gradient_at_zero)).all()


def test_a_logit_of_minus_infinity(keras):
    expression = (
        "losses.sparse_categorical_crossentropy(np.int32([0]), np.float32([[2, -np.inf]]), from_logits=True)"
    )
    assert one(fastembed, expression) == [0]
    assert np.isnan(keras(one, expression)).all()


def test_smoothing_counts_the_classes_of_the_axis(keras):
    expression = (
        "losses.categorical_crossentropy(np.float32([[[1, 1, 1], [0, 0, 0]]]), "
        "np.full((1, 2, 3), .5, 'f4'), label_smoothing=0.5, axis=1)"
    )
    np.testing.assert_allclose(one(fastembed, expression), [[np.log(2)] * 3], rtol=1e-6)
    np.testing.assert_allclose(keras(one, expression), [[np.log(2) * 5 / 6] * 3], rtol=1e-6)


def test_class_numbers_along_another_axis(keras):
    expression = (
        "losses.sparse_categorical_crossentropy(np.int32([[1, 0, 1]]), np.full((1, 2, 3), .5, 'f4'), axis=1)"
    )
    np.testing.assert_allclose(one(fastembed, expression), [[np.log(2)] * 3], rtol=1e-6)
    assert keras(one, expression).name == "ValueError"


def settings(library, expression):
    loss = make(library, expression)
    return library.losses.serialize(loss)["config"]


def test_configs_keep_what_keras_forgets(keras):
    for expression, entry in [
        ("losses.Huber(0.5)", {"delta": 0.5}),
        ("losses.CosineSimilarity(axis=1)", {"axis": 1}),
        ("losses.SparseCategoricalCrossentropy(axis=1)", {"axis": 1}),
    ]:
        ours, theirs = settings(fastembed, expression), keras(settings, expression)
        assert ours == {**theirs, **entry} != theirs


def test_names_of_earlier_kerases(keras):
    for name in ("logcosh", "kullback_leibler_divergence", "cosine_proximity", "cosine", "huber_loss"):
        assert callable(losses.get(name))
        assert outcome(kind_and_name, fastembed, name)[0] is False
        assert keras(kind_and_name, name).name == "ValueError"
    assert losses.MeanSquaredError(reduction="auto").reduction == "sum_over_batch_size"
    assert keras(one, "losses.MeanSquaredError(reduction='auto')").name == "ValueError"


def test_keras_reads_our_configs(keras):
    for expression in [*CLASSES, "losses.CosineSimilarity(axis=1)"]:
        config = config_of(fastembed, expression)
        read = keras(read_back, config)
        assert not isinstance(read, Raised), read


def read_back(library, config):
    return library.losses.deserialize(config).get_config()

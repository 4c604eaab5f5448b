"""BatchNormalization and LayerNormalization, against finite differences, plain NumPy and Keras."""

from __future__ import annotations

import pickle
import sys
import threading

import numpy as np
import pytest
from gradients import check_gradients
from strategies import bits
from two_libraries import agree, agree_to_raise, begin, make, process, shown

import fastembed
from fastembed import Variable, layers

pytestmark = pytest.mark.usefixtures("parallel")


@pytest.fixture(scope="module")
def keras():
    with process("keras", "jax") as run:
        yield run


SHAPES = [((6, 4), -1), ((3, 4, 5), -1), ((3, 4, 5), 1), ((3, 4, 5), 2), ((2, 3, 2, 3), -2), ((5, 1), -1)]


def randomised(layer, shape, rng):
    """The layer, built, with weights that are neither 0 nor 1."""
    layer.build(shape)
    for variable in layer.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return layer


def putting_back(layer):
    """What sets the weights that training does not learn to what they are now."""
    kept = [(variable, variable.numpy()) for variable in layer.non_trainable_weights]

    def put_back():
        for variable, value in kept:
            variable.assign(value)

    return put_back


# --- Gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize(("center", "scale"), [(True, True), (True, False), (False, True), (False, False)])
def test_gradients_of_a_batch(shape, axis, center, scale, rng):
    layer = layers.BatchNormalization(axis, center=center, scale=scale, epsilon=0.1, dtype="float64")
    randomised(layer, shape, rng)
    check_gradients(layer, rng.standard_normal(shape) * 2 + 3, before_call=putting_back(layer))
    assert all(variable.gradient is None for variable in layer.non_trainable_weights)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.6])
def test_gradients_with_a_mask(shape, axis, density, rng, monkeypatch):
    """With an epsilon as large as 0.1, what it does to the count is seen."""
    monkeypatch.setattr("fastembed.layers.normalization.epsilon", lambda: 0.1)
    layer = layers.BatchNormalization(axis, epsilon=0.1, dtype="float64")
    randomised(layer, shape, rng)
    inputs, mask = rng.standard_normal(shape) * 2 + 3, rng.random(shape[:-1]) < density
    check_gradients(layer, inputs, before_call=putting_back(layer), mask=mask)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_gradients_of_a_frozen_layer(shape, axis, rng):
    """It takes the moving averages while training, too, and neither they nor gamma and beta change."""
    layer = layers.BatchNormalization(axis, dtype="float64")
    randomised(layer, shape, rng)
    layer.trainable = False
    before = layer.get_weights()
    inputs = rng.standard_normal(shape)
    check_gradients(layer, inputs, mask=rng.random(shape[:-1]) < 0.5)
    np.testing.assert_array_equal(layer(inputs, training=True), layer(inputs))
    for variable, value in zip(layer.weights, before):
        assert variable.gradient is None
        np.testing.assert_array_equal(variable.value, value)


def test_a_layer_frozen_between_call_and_backward(rng):
    layer = layers.BatchNormalization(dtype="float64")
    inputs, upstream = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    layer(inputs, training=True)
    expected = layer.backward(upstream)
    layer(inputs, training=True)
    layer.trainable = False
    np.testing.assert_array_equal(layer.backward(upstream), expected)


def test_two_calls_are_differentiated_each_with_its_own_statistics(rng):
    layer = layers.BatchNormalization(dtype="float64")
    first, second = rng.standard_normal((2, 4, 3))
    upstream, expected = rng.standard_normal((4, 3)), []
    for inputs in (second * 9, first):
        layer(inputs, training=True)
        expected.append(layer.backward(upstream))
    layer(first, training=True)
    layer(second * 9, training=True)
    layer(first)  # which leaves nothing behind
    for gradient in expected:
        np.testing.assert_array_equal(layer.backward(upstream), gradient)


LN_AXES = [-1, 1, [1, 2], [2, 1], [0, 1, 2], [-1, 1], [-1, 0]]


@pytest.mark.parametrize("axis", LN_AXES)
@pytest.mark.parametrize(("center", "scale"), [(True, True), (False, True), (True, False), (False, False)])
def test_gradients_of_examples(axis, center, scale, rng):
    layer = layers.LayerNormalization(axis, 0.1, center, scale, dtype="float64")
    check_gradients(randomised(layer, (3, 4, 5), rng), rng.standard_normal((3, 4, 5)) * 2 + 3)


@pytest.mark.parametrize("axis", [-1, [1, 2]])
@pytest.mark.filterwarnings("ignore:rms_scaling")
def test_gradients_of_rms_scaling(axis, rng):
    layer = layers.LayerNormalization(axis, 0.1, rms_scaling=True, dtype="float64")
    check_gradients(randomised(layer, (3, 4, 5), rng), rng.standard_normal((3, 4, 5)) * 2 + 3)
    assert layer.beta is None


@pytest.mark.parametrize("kind", [layers.BatchNormalization, layers.LayerNormalization])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "float32", "float64"])
def test_dtypes(kind, dtype, rng):
    layer = kind(dtype=dtype, momentum=0.5) if kind is layers.BatchNormalization else kind(dtype=dtype)
    inputs = rng.standard_normal((64, 4)).astype("f4")
    outputs = layer(inputs, training=True)
    assert outputs.dtype.name == layer.compute_dtype
    axis = 0 if kind is layers.BatchNormalization else 1
    tolerance = {"bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-5}.get(dtype, 3e-3)
    centered = inputs - inputs.mean(axis, keepdims=True)
    expected = centered / np.sqrt(np.square(centered).mean(axis, keepdims=True) + 1e-3)
    np.testing.assert_allclose(outputs.astype("f8"), expected, rtol=tolerance, atol=tolerance)
    for upstream, wanted in (("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("i8", "f4")):
        layer(inputs, training=True)
        assert layer.backward(np.ones((64, 4), upstream)).dtype == wanted


def test_half_widths_do_not_overflow():
    """Squares of numbers above 255 are beyond float16."""
    inputs = np.array([[1000], [3000]], "f2")
    layer = layers.BatchNormalization(dtype="mixed_float16", momentum=0.0)
    np.testing.assert_array_equal(layer(inputs, training=True), np.array([[-1], [1]], "f2"))
    np.testing.assert_array_equal(layer.moving_variance.value, np.array([1e6], "f4"))
    layer = layers.LayerNormalization(dtype="mixed_float16")
    np.testing.assert_array_equal(layer(inputs.T), np.array([[-1, 1]], "f2"))


def test_sums_over_large_batches_are_right():
    inputs = np.full((200_000, 2), 0.1, "f4")
    inputs[0] = 1e4
    layer = layers.BatchNormalization(momentum=0.0)
    layer(inputs, training=True)
    np.testing.assert_allclose(layer.moving_mean.value, inputs.astype("f8").mean(axis=0), rtol=1e-7)
    layer.backward(np.full(inputs.shape, 0.1, "f4"))
    np.testing.assert_array_equal(
        layer.beta.gradient, np.full(2, 200_000 * np.float64(np.float32(0.1)), "f4")
    )


def test_bits_are_the_same_for_any_number_of_threads(rng):
    inputs = rng.standard_normal((300, 200)).astype("f4")
    mask = rng.random(300) < 0.5
    seen = []
    for threads in (1, 2, 3):
        with fastembed.num_threads(threads):
            layer = layers.BatchNormalization()
            found = [layer(inputs, training=True, mask=mask), layer.backward(inputs)]
            found += [layer.gamma.gradient, layer.beta.gradient, *layer.get_weights()]
            layer = layers.LayerNormalization()
            found += [layer(inputs, training=True), layer.backward(inputs), layer.gamma.gradient]
        seen.append(found)
    for other in seen[1:]:
        for one, two in zip(seen[0], other):
            np.testing.assert_array_equal(bits(one), bits(two))


def test_every_batch_counts_whichever_thread_trains():
    layer = layers.BatchNormalization(momentum=0.5, dtype="float64")
    layer.build((None, 1))
    layer.moving_mean.assign([2.0**1000])  # halved by each call, exactly
    all_there = threading.Barrier(4)

    def train():
        all_there.wait()
        for _ in range(250):
            layer(np.zeros((2, 1)), training=True)
            layer.backward(np.zeros((2, 1)))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=train) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert layer.moving_mean.value == [1.0]


@pytest.mark.parametrize("kind", [layers.BatchNormalization, layers.LayerNormalization])
def test_copies(kind, rng):
    layer = randomised(kind(-1, epsilon=0.5, beta_regularizer="l2", name="n"), (None, 3), rng)
    again = pickle.loads(pickle.dumps(layer))
    inputs = rng.standard_normal((4, 3)).astype("f4")
    np.testing.assert_array_equal(again(inputs), layer(inputs))
    assert kind.from_config(layer.get_config()).get_config() == layer.get_config()
    written = layers.serialize(layer)
    assert [v.shape for v in layers.deserialize(written).weights] == [v.shape for v in layer.weights]


@pytest.mark.parametrize("kind", [layers.BatchNormalization, layers.LayerNormalization])
def test_inputs_are_not_changed(kind, rng):
    inputs = rng.standard_normal((4, 3)).astype("f4")
    before, layer = inputs.copy(), kind(center=False, scale=False)
    outputs = layer(inputs, training=True)
    upstream = inputs.copy()
    gradient = layer.backward(upstream)
    np.testing.assert_array_equal(inputs, before)
    np.testing.assert_array_equal(upstream, before)
    assert not np.shares_memory(outputs, inputs)
    assert not np.shares_memory(gradient, upstream)


# --- Against Keras --------------------------------------------------------------------------------


def trained(library, expression, inputs, masks, weights, upstream):
    """What some batches leave behind, and the gradients of the last."""
    layer = make(library, expression)
    layer.build(inputs[0].shape)
    layer.set_weights(weights)
    found = [np.asarray(layer(inputs[0]))]
    ours = library.__name__ == "fastembed"
    for batch, mask in zip(inputs, masks):
        given = {} if mask is None else {"mask": mask}
        if "Batch" in expression:
            given["training"] = True
        if ours:
            found.append(layer(batch, **{**given, "training": True}))
            for variable in layer.weights:
                variable.clear_gradient()
            gradient = layer.backward(upstream)
            gradients = [variable.gradient for variable in layer.trainable_weights]
        else:
            import jax

            state = [variable.value for variable in layer.non_trainable_variables]

            def call(trainable, x, state=state, given=given):
                return layer.stateless_call(trainable, state, x, **given)

            values = [variable.value for variable in layer.trainable_variables]
            outputs, vjp, state = jax.vjp(call, values, batch, has_aux=True)
            gradients, gradient = vjp(upstream)
            for variable, value in zip(layer.non_trainable_variables, state):
                variable.assign(value)
            found.append(outputs)
        found += [gradient, *gradients, *layer.get_weights()]
    return [np.asarray(each) for each in found]


def assert_close(ours, theirs, tolerance=2e-5):
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs):
        assert our.shape == their.shape
        np.testing.assert_allclose(our, their, rtol=tolerance, atol=tolerance)


BATCH = [
    ("layers.BatchNormalization()", (6, 4)),
    ("layers.BatchNormalization(momentum=0.6, epsilon=0.01)", (3, 4, 5)),
    ("layers.BatchNormalization(1, scale=False)", (3, 4, 5)),
    ("layers.BatchNormalization(-2, center=False)", (2, 3, 4, 5)),
    ("layers.BatchNormalization(trainable=False)", (6, 4)),
    ("layers.BatchNormalization(renorm=True)", (6, 4)),
    (
        "layers.BatchNormalization(renorm=True, renorm_momentum=0.7, momentum=0.8, "
        "renorm_clipping={'rmax': 1.5, 'rmin': 0.5, 'dmax': 0.3})",
        (3, 4, 5),
    ),
    (
        "layers.BatchNormalization(renorm=True, scale=False, center=False, renorm_clipping={'rmin': 1})",
        (6, 4),
    ),
]


@pytest.mark.parametrize(("expression", "shape"), BATCH)
@pytest.mark.parametrize("masked", [False, True])
def test_batches_are_kerass(keras, expression, shape, masked, rng):
    inputs = rng.standard_normal((3, *shape)).astype("f4") * 2 + 1
    masks = rng.random((3, *shape[:-1])) < 0.6 if masked else [None] * 3
    layer = make(fastembed, expression)
    weights = [w.astype("f4") for w in randomised(layer, shape, rng).get_weights()]
    upstream = rng.standard_normal(shape).astype("f4")
    program = expression, inputs, masks, weights, upstream
    assert_close(trained(fastembed, *program), keras(trained, *program))


def test_a_batch_that_is_all_masked_is_kerass(keras, rng):
    inputs = rng.standard_normal((1, 3, 2)).astype("f4")
    weights = [np.full(2, number, "f4") for number in (1, 0, 0.5, 2)]
    program = "layers.BatchNormalization()", inputs, [np.zeros(3, bool)], weights, np.ones((3, 2), "f4")
    assert_close(trained(fastembed, *program), keras(trained, *program))


EXAMPLES = [
    ("layers.LayerNormalization()", (6, 4)),
    ("layers.LayerNormalization(1, scale=False)", (3, 4, 5)),
    ("layers.LayerNormalization([1, 2], center=False, epsilon=0.1)", (3, 4, 5)),
    ("layers.LayerNormalization([2, 1])", (3, 4, 5)),
    ("layers.LayerNormalization([-1, 1])", (3, 4, 5)),
    ("layers.LayerNormalization((0, 1))", (3, 4)),
    ("layers.LayerNormalization(rms_scaling=True)", (3, 4)),
]


@pytest.mark.parametrize(("expression", "shape"), EXAMPLES)
@pytest.mark.filterwarnings("ignore:rms_scaling")
def test_examples_are_kerass(keras, expression, shape, rng):
    inputs = rng.standard_normal((1, *shape)).astype("f4") * 2 + 1
    layer = make(fastembed, expression)
    weights = [w.astype("f4") for w in randomised(layer, shape, rng).get_weights()]
    program = expression, inputs, [None], weights, rng.standard_normal(shape).astype("f4")
    assert_close(trained(fastembed, *program), keras(trained, *program))


def described(library, expression, shape):
    """All that can be seen of a layer before and after it is built."""
    begin(library)  # so that both count names from the start
    layer = make(library, expression)
    found = [
        shown(layer.get_config()),
        layer.built,
        layer.supports_masking,
        layer.compute_output_shape(shape),
    ]
    layer.build(shape)
    found += [[(v.name, tuple(v.shape), str(v.dtype), v.trainable, np.array(v)) for v in layer.weights]]
    mask = np.ones(2, bool)
    found += [layer.get_config(), layer.get_build_config(), layer.compute_mask(None, mask) is mask]
    found += [np.asarray(layer(np.ones(shape, dtype))).dtype.name for dtype in ("f2", "f4")]
    return shown(found)  # Keras's lists are of a class of its own


@pytest.mark.filterwarnings("ignore:rms_scaling")
@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        *((expression.replace("()", "(name='n')"), shape) for expression, shape in BATCH[:1] + EXAMPLES[:1]),
        ("layers.BatchNormalization(np.int64(1), name='n', dtype='mixed_float16')", (3, 4, 5)),
        ("layers.BatchNormalization('-1', '0.5', '0.25', name='n', trainable=False)", (3, 4, 5)),
        ("layers.BatchNormalization(-1, 0.9, 0.1, False, True, 'ones', 'zeros', 'ones', 'zeros', 'l2', 'l1', "
         "'non_neg', 'unit_norm', name='n')", (2, 3)),
        ("layers.BatchNormalization(moving_variance_initializer=initializers.Constant(4.0), renorm=True)",
         (2, 3)),
        ("layers.BatchNormalization(renorm_clipping={'rmax': 3}, name='n')", (2, 3)),
        ("layers.LayerNormalization([2, 1], 0.1, name='n', dtype='mixed_float16')", (3, 4, 5)),
        ("layers.LayerNormalization(rms_scaling=True, beta_regularizer='l2', gamma_constraint='non_neg')",
         (3, 4)),
        ("layers.LayerNormalization((1,), center=False, scale=False, name='n')", (3, 4)),
    ],
)  # fmt: skip
def test_layers_look_like_kerass(keras, expression, shape):
    agree(keras, described, expression, shape)


@pytest.mark.parametrize(
    "program",
    [
        "layers.BatchNormalization(synchronized=True)",
        "layers.BatchNormalization(momentum='much')",
        "layers.BatchNormalization(axis=None)",
        "layers.BatchNormalization(renorm=True, renorm_clipping={'max': 1})",
        "layers.BatchNormalization(renorm=True, renorm_clipping={'rmax': 1, 'rmin': 2})",
        "layers.BatchNormalization(renorm=True, renorm_clipping={'dmax': -1})",
        "layers.BatchNormalization(mode=1)",
        "layers.BatchNormalization(beta_regularizer='nonsense')",
        "layers.BatchNormalization(2).build((3, 4))",
        "layers.BatchNormalization(2).compute_output_shape((3, 4))",
        "layers.BatchNormalization().build((3, None))",
        "layers.BatchNormalization()(np.ones((3, 4), 'f4'), mask=np.ones((3, 4), bool))",
        "layers.BatchNormalization()(np.ones((3, 4), 'f4'), mask=np.ones(2, bool), training=True)",
        "layers.LayerNormalization(axis='1')",
        "layers.LayerNormalization(axis=1.0)",
        "layers.LayerNormalization(2).build((3, 4))",
        "layers.LayerNormalization(-3).compute_output_shape((3, 4))",
        "layers.LayerNormalization().build((3, None))",
        "layers.LayerNormalization([1, -1])(np.ones((3, 4), 'f4'))",
    ],
)
def test_errors_are_kerass(keras, program):
    agree_to_raise(keras, make, program)


def test_other_lengths_than_it_was_built_for():
    for kind in (layers.BatchNormalization, layers.LayerNormalization):
        layer = kind()
        layer(np.ones((2, 3), "f4"))
        for length in (1, 4):
            with pytest.raises(ValueError, match=r"\b3\b"):
                layer(np.ones((2, length), "f4"))


def test_errors_change_nothing():
    layer = layers.BatchNormalization()
    layer.build((None, 2))
    before = layer.get_weights()
    with pytest.raises(ValueError, match="one dimension less"):
        layer(np.ones((3, 2), "f4"), training=True, mask=np.ones((3, 2)))
    with pytest.raises(ValueError, match="without examples"):
        layer(np.ones((0, 2), "f4"), training=True)
    for value, old in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(value, old)
    assert layer(np.ones((0, 2), "f4")).shape == (0, 2)


# --- Where we differ ------------------------------------------------------------------------------


def value_of(library, program):
    return np.asarray(make(library, program))


def test_an_empty_batch_does_not_leave_nan_behind(keras):
    program = "[n := layers.BatchNormalization(), n(np.ones((0, 2), 'f4'), training=True), n.moving_mean][-1]"
    assert np.isnan(keras(value_of, program)).all()
    with pytest.raises(ValueError, match="without examples"):
        make(fastembed, program)


def test_a_mask_for_one_feature(keras):
    """Keras takes the axis of the only feature away, and does not find it again."""
    program = "layers.BatchNormalization()(np.ones((3, 1), 'f4'), mask=np.ones(3, bool), training=True)"
    assert keras(make, program).name == "IndexError"
    assert make(fastembed, program).shape == (3, 1)


def test_axes_counted_from_both_ends(keras):
    """Keras does not find gamma's axes in the inputs."""
    program = "layers.LayerNormalization([-1, 0])(np.array([[0, 4, 2], [0, 4, 2]], 'f4'))"
    assert keras(make, program).name == "TypeError"
    np.testing.assert_allclose(make(fastembed, program), np.array([[-1.225, 1.225, 0]] * 2), atol=1e-3)


def test_integers_are_normalised_as_floats(keras):
    program = "layers.LayerNormalization()(np.array([[1, 2, 6]]))"
    assert not (keras(value_of, program) % 1).any()
    np.testing.assert_allclose(make(fastembed, program), [[-0.925, -0.463, 1.388]], atol=1e-3)


# --- Of earlier Kerases ---------------------------------------------------------------------------


def test_keywords_of_keras_1():
    layer = layers.BatchNormalization(mode=0, beta_init="one", gamma_init="zero")
    layer.build((None, 2))
    assert (layer.beta.value == 1).all()
    assert not layer.gamma.value.any()
    with pytest.raises(ValueError, match="mode=2 of Keras 1 is gone"):
        layers.BatchNormalization(mode=2)
    with fastembed.era("keras1"):
        layer = layers.BatchNormalization(0.5, 0, 1, 0.25, None, "one", name="n")
    assert (layer.epsilon, layer.axis, layer.momentum) == (0.5, 1, 0.25)
    config = layer.get_config()
    assert config == {
        "name": "n", "trainable": True, "epsilon": 0.5, "mode": 0, "axis": 1, "momentum": 0.25,
        "beta_init": "one", "gamma_regularizer": None, "beta_regularizer": None,
    }  # fmt: skip
    assert layers.BatchNormalization.from_config(config).get_config()["axis"] == 1
    layer.build((None, 2))
    assert [v.name for v in layer.weights] == ["n_gamma", "n_beta", "n_running_mean", "n_running_std"]


def test_keywords_of_tf_keras():
    layer = layers.BatchNormalization(axis=[2], fused=True, virtual_batch_size=None, adjustment=None)
    assert layer.axis == 2
    with pytest.raises(ValueError, match="virtual_batch_size"):
        layers.BatchNormalization(virtual_batch_size=8)
    with fastembed.era("tf.keras"):
        config = layers.BatchNormalization(name="n").get_config()
        other = layers.LayerNormalization(name="n").get_config()
    assert not {"renorm", "renorm_clipping", "renorm_momentum", "synchronized", "rms_scaling"} & {
        *config,
        *other,
    }
    assert layers.BatchNormalization.from_config(config).get_config()["renorm"] is False


@pytest.mark.parametrize("era", ["keras1", "keras2", "tf.keras"])
def test_the_variance_of_every_era_is_keras_3s(era):
    """Keras 2 multiplied it by n / (n - 1)."""
    with fastembed.era(era):
        layer = layers.BatchNormalization(momentum=0.0)
    layer(np.array([[1.0], [3.0]], "f4"), training=True)
    assert layer.moving_variance.value == [1.0]


def test_regularizers_of_gamma_and_beta_are_losses():
    layer = layers.BatchNormalization(gamma_regularizer="l2", beta_regularizer="l1")
    layer.build((None, 3))
    layer.beta.assign(np.ones(3))
    assert sum(map(float, layer.losses)) == pytest.approx(0.06)
    assert isinstance(layer.gamma, Variable)

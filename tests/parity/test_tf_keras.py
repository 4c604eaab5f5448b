"""The era of tf.keras against tf_keras 2.21, what became of tf.keras 2.15. ``make parity`` installs it."""

from __future__ import annotations

import importlib
import importlib.util
import json

import numpy as np
import pytest
from two_libraries import Raised, assert_same, make, outcome, process, subclasses

import fastembed

if not importlib.util.find_spec("tf_keras"):
    pytest.skip("tf_keras is not installed (make parity does it)", allow_module_level=True)


@pytest.fixture(scope="module")
def agree():
    """Run a program with tf_keras, and in its era here; both must answer the same, which is returned."""
    with process("tf_keras", "tensorflow") as ask:

        def run(program, *args):
            theirs = ask(program, *args)
            with fastembed.era("tf.keras"):
                ours = outcome(program, fastembed, *args)
            assert_same(ours, theirs)
            return theirs

        yield run


def begun(library):
    library.backend.clear_session()
    return library


# --- Constructors ---------------------------------------------------------------------------------

MADE = [
    "layers.Embedding(7, 3, 'ones', 'l2', 'l1', 'non_neg', True, 4, name='x')",
    "layers.Embedding(7, 3, 'ones', None, regularizers.L2(0.5), None, True, input_length=4, name='x')",
    "layers.Embedding(7, 3, 'zeros', regularizers.L1L2(0.1, 0.2), name='x', trainable=False, dtype=None)",
    "layers.Embedding(7, 3, initializers.RandomNormal(0, 0.5, seed=3), name='x', dtype='mixed_float16')",
    "layers.Embedding(7, 3, initializers.VarianceScaling(2.0, 'fan_avg', 'uniform', seed=1), name='x')",
    "layers.Embedding(7, 3, embeddings_constraint=constraints.MaxNorm(3, axis=1), name='a/b')",
    "layers.Embedding(7, 3, input_shape=(5,), name='x')",
    "layers.Embedding(7, 3, batch_input_shape=(2, 5), name='x')",
    "layers.Embedding(7, 3, batch_size=2, input_length=5, name='x')",
    "layers.Dense(3, None, False, 'ones', name='x')",
    "layers.Dense(3, kernel_regularizer='l2', bias_constraint='non_neg', input_dim=4, name='x')",
]


def attributes(library, expression):
    layer = make(library, expression)
    names = "input_dim", "output_dim", "mask_zero", "input_length", "units", "use_bias"
    found = {name: getattr(layer, name) for name in names if hasattr(layer, name)}
    kinds = [
        type(getattr(layer, f"{what}_{kind}", None)).__name__
        for what in ("embeddings", "kernel", "activity")
        for kind in ("initializer", "regularizer", "constraint")
    ]
    return found, kinds, layer.name, layer.trainable


@pytest.mark.parametrize("expression", MADE)
def test_positions(agree, expression):
    agree(attributes, expression)


REFUSED = [
    "layers.Embedding(3, 2, colour=1)",
    "layers.Embedding(3)",
    "layers.Embedding(0, 2)",
    "layers.Embedding(3, -1)",
    "layers.Embedding(3, 2, name=3)",
    "layers.Embedding(3, 2, trainable=1)",
    "layers.Embedding(3, 2, 'unknown')",
    "layers.Embedding(3, 2, 'ones', None, None, None, False, None, False, 1)",
    "layers.Embedding(3, 2, name='x').count_params()",
    "layers.Embedding(3, 2, input_length=5).compute_output_shape((2, 3))",
]


@pytest.mark.parametrize("expression", REFUSED)
def test_errors(agree, expression):
    assert isinstance(agree(attempt, expression), Raised)


def attempt(library, expression):
    make(library, expression)


# --- Names ----------------------------------------------------------------------------------------


def names(library):
    layers = begun(library).layers

    def named(class_name):
        return type(class_name, (layers.Layer,), {})().name

    made = [layers.Embedding(2, 2).name, layers.Dense(2).name, layers.Embedding(2, 2).name]
    made += [layers.Embedding(2, 2, name="embedding_2").name, layers.Embedding(2, 2).name]
    made += [named(each) for each in ("GlobalPooling1D", "LSTM", "HTTPServer2D", "_Private", "Embedding")]
    called = layers.Embedding(2, 2)
    called(np.array([1]))
    return [*made, called.weights[0].name]


def test_names(agree):
    agree(names)


# --- Weights --------------------------------------------------------------------------------------


def frozen(library, kind, part, trainable):
    layer = subclasses(begun(library))[kind](name="n")
    inputs = np.array([[1, 2]])
    seen = []
    for step in range(3):
        if step == 1:
            target = {"whole": layer, "part": layer.costly if kind == "Holder" else layer.words}
            target = target if kind != "Several" else {**target, "part": layer.tables[0]}
            target[part].trainable = trainable
        layer(inputs)
        lists = layer.weights, layer.trainable_weights, layer.non_trainable_weights
        seen.append([[tuple(v.shape) for v in each] for each in lists])
        seen.append([w.tolist() for w in layer.get_weights()])
    return seen


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("part", ["whole", "part"])
@pytest.mark.parametrize("kind", ["Pair", "Holder"])
def test_freezing(agree, kind, part, trainable):
    agree(frozen, kind, part, trainable)


def losses(library, kind, trainable):
    layer = subclasses(begun(library))[kind](name="n")
    seen = []
    for ids in (np.array([0, 1]), np.array([[2], [1], [1], [0]])):
        layer(ids)
        layer.trainable = trainable
        seen.append(sorted(round(float(np.asarray(loss)), 5) for loss in layer.losses))
    return seen


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("kind", ["Pair", "Holder"])
def test_losses(agree, kind, trainable):
    """Those of frozen weights count, and an activity regularizer's is divided by the batch."""
    assert agree(losses, kind, trainable)[0]


# --- Configs --------------------------------------------------------------------------------------


def config(library, expression):
    return make(begun(library), expression).get_config()


def read_back(library, kind, config):
    return getattr(library.layers, kind).from_config(config).get_config()


@pytest.mark.parametrize("expression", MADE)
def test_configs(agree, expression):
    """They are equal, and travel both ways."""
    written = agree(config, expression)
    kind = "Dense" if "Dense" in expression else "Embedding"
    assert agree(read_back, kind, written) == written


def test_several_lengths():
    with fastembed.era("tf.keras"), process("tf_keras", "tensorflow") as ask:
        expression = "layers.Embedding(7, 3, input_length=(4,))"
        assert config(fastembed, expression)["batch_input_shape"] == (None, 4)
        assert ask(config, expression)["batch_input_shape"] == (None, (4,))


# --- Masks, shapes, dtypes ------------------------------------------------------------------------


def shapes(library, arguments, shape):
    layer = make(library, f"layers.Embedding(7, 3, {arguments})")
    return tuple(layer.compute_output_shape(shape))


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ("input_length=None", (2, 5)),
        ("input_length=5", (2, 5)),
        ("input_length=5", (2, None)),
        ("input_length=(4, 5)", (2, 4, 5)),
        ("input_length=(None, 5)", (2, 4, 5)),
        ("input_length=5", (2, 4)),
        ("input_length=5", (2, 4, 5)),
    ],
)
def test_shapes(agree, arguments, shape):
    agree(shapes, arguments, shape)


def mask(library, ids):
    layer = library.layers.Embedding(7, 3, mask_zero=True)
    none = library.layers.Embedding(7, 3).compute_mask(ids)
    return np.asarray(layer.compute_mask(ids)), none, layer.supports_masking


@pytest.mark.parametrize("ids", [np.array([[0, 3], [1, 0]]), np.array(0), np.zeros((0, 2), int)], ids=str)
def test_masks(agree, ids):
    agree(mask, ids)


def policy(library, name):
    layer = library.layers.Embedding(4, 2, "ones", dtype=name)
    rows = layer(np.array([1, 3]))
    numbers = np.asarray(rows).astype("float64").tolist()
    dtypes = layer.dtype, layer.compute_dtype, layer.variable_dtype, np.asarray(rows).dtype.name
    return numbers, dtypes, layer.get_config()["dtype"]


@pytest.mark.parametrize(
    "name", ["float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"]
)
def test_policies(agree, name):
    agree(policy, name)


# --- Layers around an embedding -------------------------------------------------------------------

AROUND = [
    "layers.Activation('relu', name='x')",
    "layers.Activation('hard_sigmoid', name='x')",
    "layers.Activation('swish', name='x')",
    "layers.Activation(activations.tanh, name='x')",
    "layers.Dense(2, 'gelu', kernel_initializer='ones', activity_regularizer='l2', name='x')",
    "layers.LeakyReLU(name='x')",
    "layers.LeakyReLU(alpha=0.1, name='x')",
    "layers.ELU(0.7, name='x')",
    "layers.ReLU(name='x')",
    "layers.ReLU(6.0, 0.1, 0.5, name='x')",
    "layers.PReLU('ones', 'l2', 'non_neg', [1], name='x')",
    "layers.ThresholdedReLU(0.3, name='x')",
    "layers.Softmax([1, 2], name='x')",
    "layers.Flatten('channels_first', name='x')",
    "layers.Reshape((4, -1), name='x')",
    "layers.Permute((2, 1), name='x')",
    "layers.RepeatVector(3, name='x')",
    "layers.Dropout(0.25, (1, None, 1), 3, name='x')",
    "layers.SpatialDropout1D(0.5, name='x', trainable=False, dtype='mixed_float16')",
    "layers.Masking(1.5, name='x')",
    "layers.GlobalAveragePooling1D('channels_first', keepdims=True, name='x')",
    "layers.GlobalMaxPooling1D(name='x')",
    "layers.Concatenate(1, name='x')",
    "layers.Add(name='x')",
    "layers.Subtract(name='x')",
    "layers.Multiply(name='x')",
    "layers.Average(name='x')",
    "layers.Maximum(name='x')",
    "layers.Minimum(name='x')",
    "layers.Dot(2, True, name='x')",
    "layers.BatchNormalization(name='x')",
    "layers.BatchNormalization(1, 0.9, 0.1, False, False, name='x')",
    "layers.BatchNormalization(gamma_constraint='non_neg', beta_regularizer='l2', name='x')",
    "layers.BatchNormalization(renorm=True, renorm_clipping={'rmax': 2.0}, name='x')",
    "layers.LayerNormalization(axis=[1, 2], name='x')",
    "layers.LayerNormalization(1, 0.1, False, True, 'ones', 'zeros', 'l2', 'l1', name='x')",
]
OF_TWO = "Concatenate", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Dot"


def plain(value):
    return value.item() if hasattr(value, "item") else dict(value)


def in_file(config):
    """A config as its file has it: TensorFlow's kinds of lists, dicts and numbers are plain ones there."""
    return json.loads(json.dumps(config, default=plain))


def config_in_file(library, expression):
    return in_file(config(library, expression))


def read_from_file(library, kind, written):
    return in_file(read_back(begun(library), kind, written))


@pytest.mark.parametrize("expression", AROUND)
def test_configs_of_layers_around(agree, expression):
    """They are equal, and travel both ways."""
    kind = expression.partition("(")[0].partition(".")[2]
    written = agree(config_in_file, expression)
    assert agree(read_from_file, kind, written) == written


def test_a_relu_from_memory():
    """There tf.keras's config has arrays."""
    numbers = np.array(6, "f4"), np.array(0.5, "f4"), np.array(0, "f4")
    written = dict(zip(("max_value", "negative_slope", "threshold"), numbers))
    assert fastembed.layers.ReLU.from_config(written).max_value == 6.0


def seen(library, expression):
    layer = make(begun(library), expression)
    x = np.linspace(-2, 2, 24, dtype="float32").reshape(2, 3, 4)
    x = x[:, 0] if "RepeatVector" in expression else x
    inputs = [x, x[..., ::-1] + 1] if type(layer).__name__ in OF_TWO else x
    shape = [each.shape for each in inputs] if isinstance(inputs, list) else inputs.shape
    outputs = [np.asarray(layer(inputs))]
    if "Normalization" in expression:
        outputs += [np.asarray(layer(inputs, training=True)), *map(np.asarray, layer.get_weights())]
    names = [weight.name for weight in layer.weights]
    return outputs, names, tuple(layer.compute_output_shape(shape)), layer.supports_masking


@pytest.mark.parametrize("expression", AROUND)
def test_layers_around(around, expression):
    theirs = around(seen, expression)
    with fastembed.era("tf.keras"):
        ours = seen(fastembed, expression)
    assert_same(ours[1:], theirs[1:])
    assert_near(ours[0], theirs[0])


@pytest.fixture(scope="module")
def around():
    with process("tf_keras", "tensorflow") as ask:
        yield ask


def assert_near(ours, theirs):
    assert not isinstance(theirs, Raised), theirs
    for our, their in zip(ours, theirs):
        assert (our.dtype, our.shape) == (their.dtype, their.shape)
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)


def axes_in_configs(library, expression):
    layer = make(begun(library), expression)
    layer.build((None, 3, 4))
    return in_file(layer.get_config())["axis"]


@pytest.mark.parametrize(
    ("expression", "ours", "theirs"),
    [
        ("layers.BatchNormalization()", -1, [2]),
        ("layers.BatchNormalization([1])", 1, [1]),
        ("layers.LayerNormalization()", [-1], [2]),
        ("layers.LayerNormalization([1, 2])", [1, 2], [1, 2]),
    ],
)
def test_axes_in_configs(around, expression, ours, theirs):
    with fastembed.era("tf.keras"):
        assert axes_in_configs(fastembed, expression) == ours
    assert around(axes_in_configs, expression) == theirs


# --- Optimizers -----------------------------------------------------------------------------------

OPTIMIZERS = [
    "optimizers.SGD()",
    "optimizers.SGD(0.1, 0.9, True)",
    "optimizers.SGD(0.1, 0.9, False, 0.01)",
    "optimizers.RMSprop()",
    "optimizers.RMSprop(0.1, 0.8, 0.5, 1e-3, True)",
    "optimizers.Adagrad()",
    "optimizers.Adagrad(0.1, 0.2, 1e-3)",
    "optimizers.Adadelta()",
    "optimizers.Adadelta(1.0, 0.9, 1e-6)",
    "optimizers.Adam()",
    "optimizers.Adam(0.01, 0.8, 0.99, 1e-5, amsgrad=True)",
    "optimizers.Adam(0.01, clipnorm=0.1)",
    "optimizers.Adam(0.01, clipvalue=0.1)",
    "optimizers.Adam(0.01, global_clipnorm=0.1)",
    "optimizers.Adam(0.01, weight_decay=0.1, use_ema=True, ema_momentum=0.5)",
    "optimizers.AdamW()",
    "optimizers.AdamW(0.01, 0.1)",
    "optimizers.Adamax()",
    "optimizers.Adamax(0.01, 0.8, 0.99, 1e-5)",
    "optimizers.Nadam()",
    "optimizers.Nadam(0.01, 0.8, 0.99, 1e-5)",
    "optimizers.Ftrl()",
    "optimizers.Ftrl(0.1, -0.7, 0.2, 0.01, 0.02, 0.03, beta=0.1)",
    "optimizers.Lion()",
    "optimizers.Lion(0.01, 0.8, 0.9)",
    "optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 3, 0.5, True))",
    "optimizers.SGD(optimizers.schedules.InverseTimeDecay(0.1, 3, 0.5))",
    "optimizers.SGD(optimizers.schedules.PiecewiseConstantDecay([1, 3], [0.3, 0.2, 0.1]))",
    "optimizers.SGD(optimizers.schedules.PolynomialDecay(0.1, 3, 0.01, 2.0, True))",
    "optimizers.SGD(optimizers.schedules.CosineDecay(0.0, 5, 0.1, warmup_target=0.3, warmup_steps=2))",
    "optimizers.SGD(optimizers.schedules.CosineDecayRestarts(0.1, 2, 1.5, 0.9, 0.1))",
]
LEGACY = [
    "optimizers.legacy.SGD()",
    "optimizers.legacy.SGD(0.1, 0.9, True, decay=0.1)",
    "optimizers.legacy.SGD(lr=0.1)",
    "optimizers.legacy.RMSprop()",
    "optimizers.legacy.RMSprop(0.1, 0.8, 0.5, 1e-3, True, decay=0.1)",
    "optimizers.legacy.Adagrad()",
    "optimizers.legacy.Adadelta(1.0)",
    "optimizers.legacy.Adam(0.01, 0.8, 0.99, 1e-5, True, decay=0.3)",
    "optimizers.legacy.Adam(0.01, clipnorm=0.1)",
    "optimizers.legacy.Adam(0.01, global_clipnorm=0.1)",
    "optimizers.legacy.Adamax()",
    "optimizers.legacy.Nadam()",
    "optimizers.legacy.Nadam(0.01, 0.8, schedule_decay=0.1)",
    "optimizers.legacy.Ftrl(0.1, -0.7, 0.2, 0.01, 0.02, beta=0.1)",
    "optimizers.legacy.SGD(optimizers.schedules.ExponentialDecay(0.1, 3, 0.5))",
]


def moved(library, optimizer, steps=6):
    """A table and a vector after some steps, by an optimizer or by what `serialize` wrote of one."""
    if isinstance(optimizer, str):
        optimizer = make(library, optimizer)
    else:
        optimizer = library.optimizers.deserialize(optimizer)
    if library is fastembed:
        variable, gradient = fastembed.Variable, np.asarray
    else:
        tensorflow = importlib.import_module("tensorflow")
        variable, gradient = tensorflow.Variable, tensorflow.constant
    rng = np.random.default_rng(0)
    variables = [variable(rng.normal(size=shape).astype("f4")) for shape in ((5, 3), (3,))]
    for _ in range(steps):
        gradients = [rng.normal(size=tuple(each.shape)).astype("f4") for each in variables]
        optimizer.apply_gradients(zip(map(gradient, gradients), variables))
    return [np.asarray(each) for each in variables]


def optimizer_in_file(library, expression):
    optimizer = make(library, expression)
    return {"class_name": type(optimizer).__name__, "config": in_file(optimizer.get_config())}


@pytest.mark.parametrize("expression", OPTIMIZERS)
def test_optimizers(around, expression):
    with fastembed.era("tf.keras"):
        ours = moved(fastembed, expression)
    assert_near(ours, around(moved, expression))


@pytest.mark.parametrize("era", ["tf.keras", "keras3"])
@pytest.mark.parametrize("expression", OPTIMIZERS)
def test_configs_of_optimizers(around, expression, era):
    """Those that tf.keras wrote are read in every era; ours say the same, and more."""
    theirs = around(optimizer_in_file, expression)
    with fastembed.era("tf.keras"):
        ours = optimizer_in_file(fastembed, expression)
    with fastembed.era(era):
        read = fastembed.optimizers.deserialize(theirs).get_config()
    if isinstance(rate := ours["config"]["learning_rate"], dict):
        rate["config"]["name"] = None  # as there
    assert read == ours["config"]
    unsaid = {key: theirs["config"].pop(key) for key in ("jit_compile", "is_legacy_optimizer")}
    assert {key: read[key] for key in theirs["config"]} == theirs["config"]
    assert not any(unsaid.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("era", ["tf.keras", "keras3"])
@pytest.mark.parametrize("expression", LEGACY)
def test_optimizers_of_2_10(around, expression, era):
    """Their configs are read in every era, and move weights as they did."""
    with fastembed.era(era):
        ours = moved(fastembed, around(optimizer_in_file, expression))
    assert_near(ours, around(moved, expression))


@pytest.mark.parametrize(
    ("expression", "as_if"),
    [
        ("optimizers.SGD(lr=0.1)", "optimizers.SGD()"),
        ("optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)", None),
        ("optimizers.legacy.Adagrad(0.1, 0.2, 1e-3)", None),
    ],
)
def test_optimizers_where_we_differ(around, expression, as_if):
    theirs = around(moved, expression)
    with fastembed.era("tf.keras"):
        ours = moved(fastembed, expression.replace(".legacy", ""))
        assert np.abs(ours[0] - theirs[0]).max() > 1e-5
        if as_if is not None:
            assert_near(moved(fastembed, as_if), theirs)

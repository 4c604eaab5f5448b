"""The era of tf.keras against tf_keras 2.21, what became of tf.keras 2.15. ``make parity`` installs it."""

from __future__ import annotations

import importlib.util

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

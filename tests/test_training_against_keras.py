"""What training says and leaves, beside real Keras on JAX, from the same weights and data.

Each case is a program of both libraries. Numbers agree within 1e-5, names and their order exactly.
"""

from __future__ import annotations

import numpy as np
import pytest
from two_libraries import Raised, outcome, process

import fastembed

IDS = np.random.default_rng(0).integers(1, 20, (50, 6)).astype("int32")
IDS[:, 4:][::2] = 0  # padding
LABELS = (IDS.sum(axis=1) % 2).astype("float32")
CLASSES = (IDS.sum(axis=1) % 3).astype("int32")
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
REAL = np.random.default_rng(1).normal(size=(50, 2)).astype("float32")
WEIGHTS = np.random.default_rng(2).uniform(0, 2, 50).astype("float32")
OTHER_WEIGHTS = np.random.default_rng(3).uniform(0, 2, 50).astype("float32")
STEP_WEIGHTS = np.random.default_rng(4).uniform(0, 2, (50, 6)).astype("float32")


def _fixed(model):
    """The model with weights that do not depend on the library."""
    random = np.random.default_rng(5)
    model.set_weights([random.uniform(-0.5, 0.5, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def one_output(library, units=1, activation="sigmoid", **settings):
    layers = library.layers
    return _fixed(
        library.Sequential(
            [
                layers.Input((6,), dtype="int32"),
                layers.Embedding(20, 4, **settings),
                layers.GlobalAveragePooling1D(),
                layers.Dense(5, activation="tanh"),
                layers.Dense(units, activation=activation, name="score"),
            ]
        )
    )


def one_functional_output(library):
    layers = library.layers
    x = layers.Input((6,), dtype="int32")
    hidden = layers.Flatten()(layers.Embedding(20, 4)(x))
    return _fixed(library.Model(x, layers.Dense(1, activation="sigmoid", name="score")(hidden)))


def two_outputs(library, as_dict=False):
    layers = library.layers
    x = layers.Input((6,), dtype="int32", name="ids")
    hidden = layers.Flatten()(layers.Embedding(20, 4)(x))
    sold = layers.Dense(1, activation="sigmoid", name="sold")(hidden)
    price = layers.Dense(2, name="price")(hidden)
    outputs = {"b": sold, "a": price} if as_dict else [sold, price]
    return _fixed(library.Model(x, outputs))


def steps_of_words(library):
    """An output for each step, with the mask of the Embedding."""
    layers = library.layers
    x = layers.Input((6,), dtype="int32")
    masked = layers.Embedding(20, 4, mask_zero=True)(x)
    return _fixed(library.Model(x, layers.Activation("sigmoid")(masked)))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return np.asarray(value) if hasattr(value, "shape") else value


def trained(library, make, arguments, compiled, fitted):
    """What the methods of a model return that is trained, and the weights after `fit`."""
    model = make(library, **arguments)
    settings = dict(compiled)
    optimizer = settings.pop("optimizer", "sgd")
    if optimizer == "sgd":
        optimizer = library.optimizers.SGD(0.5)
    model.compile(optimizer, **settings)
    fitted = {"epochs": 3, "verbose": 0, "shuffle": False, "batch_size": 16, **fitted}
    x, y = fitted.pop("x", IDS), fitted.pop("y")
    weights = fitted.get("sample_weight")
    history = model.fit(x, y, **fitted)
    seen = {"epoch": history.epoch, "names": list(history.history), "history": history.history}
    seen["weights"] = model.get_weights()
    seen["evaluate"] = model.evaluate(x, y, batch_size=16, verbose=0, sample_weight=weights)
    seen["named"] = list(
        model.evaluate(x, y, batch_size=50, verbose=0, sample_weight=weights, return_dict=True).items()
    )
    seen["train_on_batch"] = model.train_on_batch(x, y, weights)
    seen["by_class"] = None
    if "class_weight" in fitted:
        seen["by_class"] = model.train_on_batch(x, y, class_weight=fitted["class_weight"])
    seen["named_batch"] = list(model.train_on_batch(x, y, return_dict=True).items())
    seen["test_on_batch"] = model.test_on_batch(x, y, weights)
    seen["predict"] = model.predict(x, verbose=0)
    seen["predict_on_batch"] = model.predict_on_batch(x)
    return _plain(seen)


def assert_close(ours, theirs, where=""):
    assert type(ours) is type(theirs), (where, ours, theirs)
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            assert_close(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), (where, ours, theirs)
        for number, pair in enumerate(zip(ours, theirs)):
            assert_close(*pair, f"{where}/{number}")
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype, where
        assert ours.shape == theirs.shape, where
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=where)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5), (where, ours, theirs)
    else:
        assert ours == theirs, (where, ours, theirs)


CASES = {
    "binary": (one_output, {}, {"loss": "binary_crossentropy", "metrics": ["accuracy"]}, {"y": LABELS}),
    "labels of shape (n, 1)": (
        one_output,
        {},
        {"loss": "binary_crossentropy", "metrics": ["acc", "mse"]},
        {"y": LABELS[:, None]},
    ),
    "loss alone": (one_output, {}, {"loss": "mse"}, {"y": LABELS}),
    "sparse classes": (
        one_output,
        {"units": 3, "activation": "softmax"},
        {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
        {"y": CLASSES},
    ),
    "one-hot classes": (
        one_output,
        {"units": 3, "activation": "softmax"},
        {"loss": "categorical_crossentropy", "metrics": ["accuracy"]},
        {"y": ONE_HOT},
    ),
    "crossentropy by shape": (
        one_output,
        {"units": 3, "activation": "softmax"},
        {"loss": "crossentropy", "metrics": ["acc"]},
        {"y": CLASSES},
    ),
    "adam": (
        one_output,
        {},
        {"optimizer": "adam", "loss": "binary_crossentropy", "metrics": ["accuracy"]},
        {"y": LABELS},
    ),
    "sample weights": (
        one_output,
        {},
        {"loss": "binary_crossentropy", "metrics": ["mae"], "weighted_metrics": ["mse"]},
        {"y": LABELS, "sample_weight": WEIGHTS},
    ),
    "class weights": (
        one_output,
        {},
        {"loss": "binary_crossentropy", "weighted_metrics": ["accuracy"]},
        {"y": LABELS, "class_weight": {0: 1.0, 1: 3.0}},
    ),
    "validation split": (
        one_output,
        {},
        {"loss": "mse", "metrics": ["mae"]},
        {"y": LABELS, "validation_split": 0.3},
    ),
    "validation data with weights": (
        one_output,
        {},
        {"loss": "mse", "metrics": ["mae"], "weighted_metrics": ["mse"]},
        {"y": LABELS, "validation_data": (IDS[:20], LABELS[:20], WEIGHTS[:20]), "validation_freq": 2},
    ),
    "validation at given epochs, in other batches": (
        one_output,
        {},
        {"loss": "mse"},
        {
            "y": LABELS,
            "validation_data": (IDS, LABELS),
            "validation_freq": [1, 3],
            "validation_batch_size": 7,
        },
    ),
    "from a later epoch on": (one_output, {}, {"loss": "mse"}, {"y": LABELS, "initial_epoch": 1}),
    "steps that go on": (one_output, {}, {"loss": "mse"}, {"y": LABELS, "steps_per_epoch": 2, "epochs": 2}),
    "several steps an execution": (
        one_output,
        {},
        {"loss": "mse", "metrics": ["mae"], "steps_per_execution": 3},
        {"y": LABELS},
    ),
    "penalties": (
        one_output,
        {"embeddings_regularizer": "l2", "activity_regularizer": "l1"},
        {"loss": "mse"},
        {"y": LABELS},
    ),
    "a weight for the only loss": (one_output, {}, {"loss": "mse", "loss_weights": 0.5}, {"y": LABELS}),
    "lists of one": (
        one_output,
        {},
        {"loss": ["mse"], "loss_weights": [0.5], "metrics": [["mae"]]},
        {"y": [LABELS], "x": [IDS]},
    ),
    "by the name of the only output": (
        one_functional_output,
        {},
        {"loss": {"score": "mse"}, "metrics": {"score": ["mae", "accuracy"]}},
        {"y": LABELS},
    ),
    "masked steps": (
        steps_of_words,
        {},
        {"loss": "mse", "metrics": ["mae"]},
        {"y": np.random.default_rng(6).uniform(size=(50, 6, 4)).astype("float32")},
    ),
    "masked steps with weights": (
        steps_of_words,
        {},
        {"loss": "mse", "metrics": ["mae"], "weighted_metrics": ["mse"]},
        {
            "y": np.random.default_rng(6).uniform(size=(50, 6, 4)).astype("float32"),
            "sample_weight": STEP_WEIGHTS,
        },
    ),
    "two outputs": (
        two_outputs,
        {},
        {"loss": ["binary_crossentropy", "mse"], "metrics": [["accuracy"], ["mae"]]},
        {"y": [LABELS, REAL]},
    ),
    "one loss for two outputs": (two_outputs, {}, {"loss": "mse"}, {"y": [LABELS[:, None], REAL]}),
    "two outputs by name": (
        two_outputs,
        {},
        {
            "loss": {"price": "mse", "sold": "binary_crossentropy"},
            "loss_weights": {"price": 0.25, "sold": 2.0},
            "metrics": {"price": "mae"},
            "weighted_metrics": {"sold": ["accuracy", "mse"], "price": ["mae"]},
        },
        {"y": {"price": REAL, "sold": LABELS}},
    ),
    "two outputs, weights in a list": (
        two_outputs,
        {},
        {
            "loss": ["binary_crossentropy", "mse"],
            "loss_weights": [1.0, 0.5],
            "weighted_metrics": [["acc"], ["mse"]],
        },
        {"y": [LABELS, REAL], "sample_weight": [WEIGHTS, OTHER_WEIGHTS]},
    ),
    "one weight for two outputs": (
        two_outputs,
        {},
        {"loss": ["binary_crossentropy", "mse"], "weighted_metrics": [["acc"], ["mse"]]},
        {"y": [LABELS, REAL], "sample_weight": WEIGHTS},
    ),
    "an output without a loss": (
        two_outputs,
        {},
        {"loss": ["binary_crossentropy", None], "metrics": [["accuracy"], None]},
        {"y": [LABELS, REAL]},
    ),
    "outputs in a dict": (
        two_outputs,
        {"as_dict": True},
        {"loss": {"b": "binary_crossentropy", "a": "mse"}, "metrics": {"a": ["mae"], "b": ["accuracy"]}},
        {"y": {"a": REAL, "b": LABELS}},
    ),
    "one metric twice": (
        two_outputs,
        {},
        {"loss": "mse", "metrics": [["mae", "mae"], ["mae"]]},
        {"y": [LABELS[:, None], REAL]},
    ),
}


@pytest.fixture(scope="module")
def keras():
    with process("keras", "jax") as run:
        yield run


@pytest.mark.parametrize("case", CASES)
def test_training_is_keras(keras, case):
    ours, theirs = outcome(trained, fastembed, *CASES[case]), keras(trained, *CASES[case])
    assert not isinstance(theirs, Raised), theirs
    assert not isinstance(ours, Raised), ours
    assert_close(ours, theirs)

"""compile, fit, evaluate, predict: ways of giving data, what is learned and measured, and errors.

That numbers and names are Keras's is shown in test_training_against_keras.py.
"""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings

import numpy as np
import pytest
from strategies import bits

import fastembed
from fastembed import Input, Model, Sequential, callbacks, layers, losses, metrics, optimizers
from fastembed.layers import Layer
from fastembed.models.data import PyDataset

RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(0, 20, (40, 6)).astype("int32")
NUMBERS = RANDOM.normal(size=(40, 3)).astype("float32")
LABELS = (IDS.sum(axis=1, keepdims=True) % 2).astype("float32")
REAL = RANDOM.normal(size=(40, 2)).astype("float32")


def _fixed(model):
    random = np.random.default_rng(5)
    model.set_weights([random.uniform(-0.5, 0.5, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def classifier(*more, **compiled):
    model = Sequential(
        [
            Input((6,), dtype="int32"),
            layers.Embedding(20, 4),
            layers.GlobalAveragePooling1D(),
            layers.Dense(5, activation="tanh"),
            *more,
            layers.Dense(1, activation="sigmoid", name="score"),
        ]
    )
    model.compile(**{"optimizer": "adam", "loss": "binary_crossentropy", "metrics": ["accuracy"], **compiled})
    return _fixed(model)


def two_by_two(**compiled):
    """Two inputs, two outputs."""
    ids, numbers = Input((6,), dtype="int32", name="ids"), Input((3,), name="numbers")
    hidden = layers.Concatenate()([layers.Flatten()(layers.Embedding(20, 4)(ids)), numbers])
    outputs = [
        layers.Dense(1, activation="sigmoid", name="sold")(hidden),
        layers.Dense(2, name="price")(hidden),
    ]
    model = Model([ids, numbers], outputs)
    model.compile(**{"loss": ["binary_crossentropy", "mse"], "optimizer": "adam", **compiled})
    return _fixed(model)


def same(ours, theirs):
    return all(np.array_equal(bits(a), bits(b)) for a, b in zip(ours, theirs)) and len(ours) == len(theirs)


# --- Ways of giving data --------------------------------------------------------------------------


class Dataset(PyDataset):
    def __init__(self, *parts, size=16, **kwargs):
        super().__init__(**kwargs)
        self.parts, self.size = parts, size

    def __len__(self):
        return -(-40 // self.size)

    def __getitem__(self, index):
        rows = slice(index * self.size, (index + 1) * self.size)
        return tuple(_rows(part, rows) for part in self.parts)


def _rows(part, rows):
    if isinstance(part, dict):
        return {key: each[rows] for key, each in part.items()}
    return [each[rows] for each in part] if isinstance(part, list) else part[rows]


def _forever(*parts):
    while True:
        yield from (Dataset(*parts)[index] for index in range(3))


WAYS = {
    "arrays": lambda x, y: {"x": x, "y": y, "batch_size": 16},
    "tuples": lambda x, y: {"x": tuple(x), "y": tuple(y), "batch_size": 16},
    "a dict of inputs": lambda x, y: {"x": {"numbers": x[1], "ids": x[0]}, "y": y, "batch_size": 16},
    "dicts": lambda x, y: {
        "x": {"ids": x[0], "numbers": x[1]},
        "y": {"price": y[1], "sold": y[0]},
        "batch_size": 16,
    },
    "float64": lambda x, y: {"x": [x[0].astype("int64"), x[1].astype("float64")], "y": y, "batch_size": 16},
    "a generator": lambda x, y: {"x": _forever(x, y), "steps_per_epoch": 3},
    "a dataset": lambda x, y: {"x": Dataset(x, y)},
    "a dataset of threads": lambda x, y: {"x": Dataset(x, y, workers=2)},
    "a dataset of dicts": lambda x, y: {
        "x": Dataset({"ids": x[0], "numbers": x[1]}, {"sold": y[0], "price": y[1]})
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_data_may_be_given_in_every_way(way):
    x, y = [IDS, NUMBERS], [LABELS, REAL]
    plain, model = two_by_two(), two_by_two()
    expected = plain.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    history = model.fit(**WAYS[way](x, y), epochs=3, shuffle=False, verbose=0)
    assert history.history == expected.history
    assert same(model.get_weights(), plain.get_weights())
    given = WAYS[way](x, y)
    given["steps"] = given.pop("steps_per_epoch", None)
    assert model.evaluate(**given, verbose=0) == plain.evaluate(x, y, batch_size=16, verbose=0)


def test_lists_of_numbers_are_arrays():
    one, other = classifier(), classifier()
    one.fit(IDS, LABELS, verbose=0, shuffle=False)
    other.fit(IDS.tolist(), LABELS.tolist(), verbose=0, shuffle=False)
    assert same(one.get_weights(), other.get_weights())


def test_names_of_keras_1_and_2():
    model, plain = classifier(), classifier()
    history = model.fit(
        IDS, LABELS, nb_epoch=2, verbose=0, shuffle=False, workers=4, use_multiprocessing=False
    )
    assert history.epoch == [0, 1]
    plain.fit(IDS, LABELS, epochs=2, verbose=0, shuffle=False)
    assert same(model.get_weights(), plain.get_weights())
    with fastembed.era("keras1"):
        assert len(model.fit(IDS, LABELS, verbose=0).epoch) == 10
    with pytest.raises(TypeError, match="give one of the two"):
        model.fit(IDS, LABELS, nb_epoch=1, epochs=1)
    for method in (model.fit, model.evaluate, model.predict):
        with pytest.raises(TypeError, match="unexpected keyword argument 'epoch_count'"):
            method(IDS, epoch_count=3)


def test_methods_with_generators():
    plain, model, of_keras1 = classifier(), classifier(), classifier()
    plain.fit(IDS, LABELS, batch_size=16, epochs=2, shuffle=False, verbose=0)
    model.fit_generator(_forever(IDS, LABELS), steps_per_epoch=3, epochs=2, verbose=0, max_queue_size=3)
    of_keras1.fit_generator(_forever(IDS, LABELS), samples_per_epoch=40, nb_epoch=2, verbose=0, max_q_size=3)
    assert same(model.get_weights(), plain.get_weights())
    assert same(of_keras1.get_weights(), plain.get_weights())
    third = classifier()
    with fastembed.era("keras1"):
        third.fit_generator(_forever(IDS, LABELS), 40, 2, 0)
        assert third.evaluate_generator(_forever(IDS, LABELS), 40) == third.evaluate(
            IDS, LABELS, batch_size=16, verbose=0
        )
    assert same(third.get_weights(), plain.get_weights())
    assert np.array_equal(
        model.predict_generator(_forever(IDS), 3), model.predict(IDS, batch_size=16, verbose=0)
    )
    assert model.predict_generator(_forever(IDS), val_samples=40).shape == (40, 1)
    assert model.evaluate_generator(Dataset(IDS, LABELS)) == model.evaluate(
        IDS, LABELS, batch_size=16, verbose=0
    )


def test_metrics_by_position_are_those_of_keras_2():
    model = classifier()
    model.compile("adam", "binary_crossentropy", ["accuracy"])
    assert model.metrics_names == ["loss", "accuracy"]
    two = two_by_two()
    two.compile("adam", "mse", [["mae"], ["mse"]], [0.5, 2.0])
    assert two.metrics_names == ["loss", "sold_loss", "price_loss", "price_mse", "sold_mae"]


def test_settings_of_keras_1_and_2_where_they_say_nothing():
    model = classifier(sample_weight_mode="temporal", target_tensors=None)
    model.compile(loss="mse", sample_weight_mode={"score": None})
    for wrong, error in (
        ({"sample_weight_mode": "x"}, ValueError),
        ({"target_tensors": [LABELS]}, ValueError),
        ({"run_eager": True}, TypeError),
        ({"steps_per_execution": 0}, ValueError),
    ):
        with pytest.raises(error, match=next(iter(wrong))):
            model.compile(loss="mse", **wrong)


# --- What is said of outputs ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"loss": "mean_squared_eror"}, ValueError, "mean_squared_eror"),
        ({"loss": {"sold": "mse", "prize": "mse"}}, ValueError, r"Expected keys \['sold', 'price'\]"),
        ({"loss": {"sold": "mse"}}, ValueError, "Write None for an output"),
        ({"loss": ["mse"]}, ValueError, "list of 1 and the model has 2 outputs"),
        ({"loss": ["mse", "mse", "mse"]}, ValueError, "list of 3"),
        ({"loss": "mse", "loss_weights": 0.5}, ValueError, "must match the number of losses"),
        ({"loss": "mse", "loss_weights": [0.5]}, ValueError, "must match the number of losses"),
        ({"loss": "mse", "loss_weights": {"prize": 1.0}}, ValueError, "'prize'"),
        ({"loss": "mse", "loss_weights": "half"}, ValueError, "Expected `loss_weights`"),
        ({"loss": "mse", "metrics": "mae"}, ValueError, "Expected `metrics` argument to be a list"),
        ({"loss": "mse", "metrics": ["mae"]}, ValueError, "with one entry"),
        ({"loss": "mse", "metrics": {"prize": "mae"}}, ValueError, r"\['sold', 'price'\]"),
        ({"loss": "mse", "weighted_metrics": ["a", "b", "c"]}, ValueError, "weighted_metrics"),
        ({"loss": "mse", "metrics": ["mae", "maee"]}, ValueError, "maee"),
        ({"loss": lambda y_true, y_pred: y_pred}, TypeError, "with_gradient"),
        ({"optimizer": "adamm"}, ValueError, "adamm"),
    ],
)
def test_what_does_not_fit_is_refused_by_compile(settings, error, message):
    model = two_by_two()
    before = model.get_compile_config()
    with pytest.raises(error, match=message):
        model.compile(**{"loss": "mse", **settings})
    assert model.get_compile_config() == before


def test_a_dict_of_outputs_has_its_keys():
    x = Input((3,))
    model = Model(x, {"b": layers.Dense(1)(x), "a": layers.Dense(2)(x)})
    with pytest.raises(KeyError, match="c"):
        model.compile(loss={"c": "mse"})
    model.compile(loss={"b": "mse"}, metrics={"a": ["mae"]})
    assert model.metrics_names == ["loss", "a_mae"]
    history = model.fit(NUMBERS, {"a": REAL, "b": LABELS}, verbose=0)
    assert list(history.history) == ["a_mae", "loss"]
    model.compile(loss="mse")
    assert model.metrics_names == ["loss", "a_loss", "b_loss"]


def test_outputs_nested():
    x = Input((3,))
    first, second, third = (layers.Dense(n, name=f"d{n}")(x) for n in (1, 2, 3))
    model = Model(x, {"many": [first, second], "one": third})
    y = {"many": [LABELS, REAL], "one": NUMBERS}
    model.compile(
        loss={"many": ["mse", "mae"], "one": "mse"}, metrics={"many": [["mse"], None], "one": "mae"}
    )
    assert sorted(model.metrics_names) == [
        "d1_mse",
        "d3_mae",
        "loss",
        "many/d1_loss",
        "many/d2_loss",
        "one_loss",
    ]
    history = model.fit(NUMBERS, y, verbose=0).history
    assert history["d1_mse"] == pytest.approx(history["many/d1_loss"])
    assert model.fit(NUMBERS, [LABELS, REAL, NUMBERS], verbose=0)  # flat
    with pytest.raises(ValueError, match="different structures"):
        model.fit(NUMBERS, {"many": [LABELS], "one": NUMBERS}, verbose=0)


def test_labels_only_for_outputs_with_a_loss():
    model = two_by_two(loss=[None, "mse"], metrics=[None, "mae"])
    expected = two_by_two(loss=[None, "mse"], metrics=[None, "mae"])
    expected.fit([IDS, NUMBERS], [LABELS, REAL], shuffle=False, verbose=0)
    for y in (REAL, [REAL], {"price": REAL}):
        again = two_by_two(loss=[None, "mse"], metrics=[None, "mae"])
        again.fit([IDS, NUMBERS], y, shuffle=False, verbose=0)
        assert same(again.get_weights(), expected.get_weights())
    with pytest.raises(ValueError, match="no labels for the loss of output 'price'"):
        model.fit([IDS, NUMBERS], {"sold": LABELS}, verbose=0)


def test_weights_of_losses_count_for_outputs_by_name():
    ignored = two_by_two(loss="mse", loss_weights={"price": 0.0})
    before = [each.numpy() for each in ignored.get_layer("price").weights]
    ignored.train_on_batch([IDS, NUMBERS], [LABELS, REAL])
    assert same([each.numpy() for each in ignored.get_layer("price").weights], before)
    by_name = two_by_two(loss="mse", loss_weights={"price": 3.0})
    in_order = two_by_two(loss=["mse", "mse"], loss_weights=[1.0, 3.0])
    given = {"x": [IDS, NUMBERS], "y": [LABELS, REAL], "verbose": 0, "shuffle": False}
    assert by_name.fit(**given).history == in_order.fit(**given).history


def test_weights_by_name():
    weights = np.random.default_rng(1).uniform(size=40)
    in_order, by_name = (two_by_two(weighted_metrics=[["mae"], ["mae"]]) for _ in range(2))
    given = {"x": [IDS, NUMBERS], "verbose": 0, "shuffle": False}
    one = in_order.fit(y=[LABELS, REAL], sample_weight=[weights, weights**2], **given)
    other = by_name.fit(
        y={"sold": LABELS, "price": REAL}, sample_weight={"price": weights**2, "sold": weights}, **given
    )
    assert one.history == other.history


def test_names_of_metrics_and_results_are_in_one_order():
    model = classifier(metrics=["acc"], weighted_metrics=["acc", metrics.AUC(name="area")])
    assert model.metrics_names == ["loss", "acc", "area", "weighted_acc"]
    values = model.evaluate(IDS, LABELS, verbose=0)
    named = model.evaluate(IDS, LABELS, verbose=0, return_dict=True)
    assert values == [named[name] for name in model.metrics_names]
    assert all(type(value) is float for value in values)
    assert type(classifier(metrics=None).evaluate(IDS, LABELS, verbose=0)) is float


def test_metrics_in_attributes_are_measured():
    class Counting(Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.batches = metrics.Sum(name="batches")

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            self.batches.update_state(1.0)
            assert y_pred.shape == (len(x), 1)
            return super().compute_metrics(x, y, y_pred, sample_weight)

    x = Input((3,))
    model = Counting(x, layers.Dense(1)(x))
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(NUMBERS, LABELS, batch_size=10, epochs=2, verbose=0)
    assert history.history["batches"] == [4, 4]
    assert model.evaluate(NUMBERS, LABELS, batch_size=20, verbose=0, return_dict=True)["batches"] == 2
    assert model.metrics_names == ["loss", "mae", "batches"]


# --- Models that have their own way ---------------------------------------------------------------


class Doubled(Model):
    """A model with a `call` of its own, which returns a dict."""

    def __init__(self):
        super().__init__()
        self.words, self.flat, self.dense = layers.Embedding(20, 4), layers.Flatten(), layers.Dense(2)

    def call(self, inputs):
        one = self.dense(self.flat(self.words(inputs)))
        return {"one": one, "double": 2 * one}

    def backpropagate(self, remembered, upstream):
        self.words.backward(self.flat.backward(self.dense.backward(upstream["one"] + 2 * upstream["double"])))


def test_a_model_with_a_call_of_its_own():
    model = Doubled()
    model.compile("sgd", {"one": "mse", "double": "mse"}, metrics={"double": ["mae"]})
    y = {"one": REAL, "double": 2 * REAL}
    history = model.fit(IDS, y, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert set(history) == {"loss", "one_loss", "double_loss", "double_mae"}
    predicted = model.predict(IDS, verbose=0, batch_size=16)
    assert np.array_equal(predicted["double"], 2 * predicted["one"])
    assert model.evaluate(IDS, y, verbose=0)[0] < history["loss"][0]


def test_steps_of_its_own():
    class Perceptron(Model):
        def train_step(self, data):
            x, y = data
            error = self(x, training=True) - y
            self.backward(2 * error / error.size)
            variables = self.trainable_variables
            self.optimizer.apply([v.gradient for v in variables], variables)
            return {"error": np.abs(error).mean()}

        def test_step(self, data):
            x, y = data
            return {"error": np.abs(self(x) - y).mean()}

        def predict_step(self, data):
            return self(data) + 100

    x = Input((3,))
    model = Perceptron(x, layers.Dense(1)(x))
    model.compile(optimizers.SGD(0.05), "mse")
    plain = Model(model.inputs, model.outputs)
    history = model.fit(NUMBERS, LABELS, epochs=30, verbose=0, validation_split=0.25)
    assert list(history.history) == ["error", "val_error"]
    assert history.history["error"][-1] < history.history["error"][0]
    assert type(model.train_on_batch(NUMBERS, LABELS)) is float
    assert model.evaluate(NUMBERS, LABELS, verbose=0, return_dict=True).keys() == {"error"}
    np.testing.assert_array_equal(model.predict(NUMBERS, verbose=0), plain.predict(NUMBERS, verbose=0) + 100)


def test_a_loss_that_is_computed_by_the_model():
    class Own(Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return super().compute_loss(x, y, y_pred, sample_weight, training) + 5

    x = Input((3,))
    model = Own(x, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    plain = Model(model.inputs, model.outputs)
    plain.compile("sgd", "mse")
    assert model.evaluate(NUMBERS, LABELS, verbose=0) == pytest.approx(
        plain.evaluate(NUMBERS, LABELS, verbose=0) + 5
    )
    with pytest.raises(TypeError, match="train_step"):
        model.fit(NUMBERS, LABELS, verbose=0)


def test_a_model_is_built_by_its_first_batch():
    model = Sequential([layers.Embedding(20, 4), layers.GlobalAveragePooling1D(), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    assert list(model.fit(IDS, LABELS, epochs=2, verbose=0).history) == ["loss", "mae"]
    assert model.built
    other = Sequential([layers.Embedding(20, 4), layers.GlobalAveragePooling1D(), layers.Dense(1)])
    assert other.predict(Dataset(IDS), verbose=0).shape == (40, 1)


# --- Errors ---------------------------------------------------------------------------------------


def test_a_model_that_is_not_compiled():
    model = Sequential([Input((3,)), layers.Dense(1)])
    for name in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        with pytest.raises(ValueError, match=r"You must call `compile\(\)` before"):
            getattr(model, name)(NUMBERS, LABELS)
    assert model.predict(NUMBERS, verbose=0).shape == (40, 1)
    assert model.get_compile_config() == {}


def test_what_fit_cannot_do():
    model = Sequential([Input((3,)), layers.Dense(1)])
    model.compile("sgd")
    with pytest.raises(ValueError, match="No loss to compute"):
        model.fit(NUMBERS, LABELS, verbose=0)
    with pytest.raises(ValueError, match="No loss to compute"):
        model.evaluate(NUMBERS, LABELS, verbose=0)
    model.compile(None, "mse")
    with pytest.raises(ValueError, match="without an optimizer"):
        model.fit(NUMBERS, LABELS, verbose=0)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="there are no data"):
        model.fit()
    with pytest.raises(ValueError, match="ambiguous"):
        model.fit(NUMBERS, LABELS[:5])
    with pytest.raises(ValueError, match="ambiguous"):
        model.train_on_batch(NUMBERS, LABELS[:5])
    with pytest.raises(ValueError, match="no labels"):
        model.fit(NUMBERS, verbose=0)
    model.compile("sgd", losses.MeanSquaredError(reduction="none"))
    with pytest.raises(ValueError, match="reduction"):
        model.fit(NUMBERS, LABELS, verbose=0)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="validation_freq"):
        model.fit(NUMBERS, LABELS, validation_split=0.5, validation_freq="often", verbose=0)
    with pytest.raises(TypeError, match="epochs"):
        model.fit(NUMBERS, LABELS, epochs=2.5)
    with pytest.raises(ValueError, match="shape"):
        model.fit(REAL, LABELS, verbose=0)
    with pytest.raises(ValueError, match=r"shape|rank"):
        model.fit(NUMBERS, NUMBERS, verbose=0)


def test_a_model_without_data_to_build_it():
    class Odd(Model):
        def call(self, inputs):
            raise LookupError("cannot")

    model = Odd()
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="Unable to automatically build"):
        model.fit(NUMBERS, LABELS, verbose=0)


class Silent(Layer):
    """Has no gradient."""

    def call(self, inputs):
        return inputs * 2


class Unruly(Layer):
    """Does something in its third call or gradient."""

    def __init__(self, where, what, **kwargs):
        super().__init__(**kwargs)
        self.where, self.what, self.count = where, what, 0

    def compute_output_shape(self, input_shape):
        return input_shape

    def _turn(self, where):
        if where == self.where:
            self.__dict__["count"] += 1
            if self.count == 3:
                self.what()

    def call(self, inputs):
        self._turn("call")
        return inputs * 1

    def backpropagate(self, remembered, upstream):
        self._turn("backpropagate")
        return upstream


def test_a_layer_without_a_gradient_is_named():
    model = classifier(Silent(name="mute"))
    with pytest.raises(RuntimeError, match="mute"):
        model.fit(IDS, LABELS, verbose=0)
    assert all(variable.gradient is None for variable in model.weights)
    model.evaluate(IDS, LABELS, verbose=0)
    for layer in model.layers[:4]:
        layer.trainable = False
    model.compile("sgd", "binary_crossentropy")
    model.fit(IDS, LABELS, verbose=0)  # only what comes after it learns


def _fail():
    raise ArithmeticError("unruly")


def _untouched(model, reference):
    assert same(model.get_weights(), reference.get_weights())
    assert all(variable.gradient is None for variable in model.weights)
    for layer in model._with_layers_inside():
        assert not layer._recorded.__dict__.get("calls")


@pytest.mark.parametrize("where", ["call", "backpropagate"])
def test_a_step_that_raises_changes_nothing(where):
    model, reference = classifier(Unruly(where, _fail)), classifier(Unruly("never", _fail))
    with pytest.raises(ArithmeticError, match="unruly"):
        model.fit(IDS, LABELS, batch_size=8, epochs=3, shuffle=False, verbose=0)
    for start in (0, 8):
        reference.train_on_batch(IDS[start : start + 8], LABELS[start : start + 8])
    _untouched(model, reference)
    assert model.optimizer.iterations.numpy() == 2
    model.fit(IDS, LABELS, verbose=0)  # and can go on


def test_an_error_ends_the_threads_of_a_dataset():
    before = threading.active_count()
    model = classifier(Unruly("call", _fail))
    with pytest.raises(ArithmeticError) as error:
        model.fit(Dataset(IDS, LABELS, size=4, workers=2), verbose=0)
    assert threading.active_count() == before, error  # which is still held


def test_bad_labels_change_nothing():
    model = Sequential([Input((6,), dtype="int32"), layers.Embedding(20, 3), layers.GlobalAveragePooling1D()])
    model.add(layers.Softmax(activity_regularizer="l2"))  # such a layer keeps its calls itself
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(IDS, LABELS, verbose=0)
    reference = copy.deepcopy(model)
    for wrong in (3, -1):
        labels = np.where(np.arange(40) == 7, wrong, LABELS[:, 0]).astype("int32")
        with pytest.raises(ValueError, match=str(wrong)):
            model.fit(IDS, labels, batch_size=40, verbose=0)
        _untouched(model, reference)
    with pytest.raises(IndexError):
        model.fit(IDS + 1, LABELS, batch_size=40, verbose=0)
    _untouched(model, reference)


def test_a_metric_or_an_optimizer_that_raises_changes_nothing():
    def broken(y_true, y_pred):
        raise ArithmeticError("metric")

    model, reference = classifier(metrics=[broken]), classifier()
    with pytest.raises(ArithmeticError):
        model.fit(IDS, LABELS, verbose=0)
    _untouched(model, reference)
    model = classifier(loss="mse", optimizer=optimizers.SGD(clipnorm=1.0))
    with pytest.raises(ValueError, match=r"NaN|norm"):
        model.fit(IDS, np.full_like(LABELS, np.inf), verbose=0)
    _untouched(model, reference)


def test_gradients_that_were_there_before_do_not_count():
    model, reference = classifier(), classifier()
    model(IDS, training=True)
    model.backward(np.ones((40, 1), np.float32))
    model.train_on_batch(IDS, LABELS)
    reference.train_on_batch(IDS, LABELS)
    assert same(model.get_weights(), reference.get_weights())


def test_nan_only_ends_a_training_that_is_told_so():
    labels = LABELS.copy()
    labels[0] = np.nan
    model = Sequential([Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    assert len(model.fit(NUMBERS, labels, epochs=2, verbose=0).epoch) == 2
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        history = model.fit(NUMBERS, labels, epochs=5, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    assert len(history.epoch) == 1


# --- Ctrl-C ---------------------------------------------------------------------------------------


def _interrupt():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("where", ["call", "backpropagate"])
def test_ctrl_c_comes_between_two_steps(where):
    model, reference = classifier(Unruly(where, _interrupt)), classifier(Unruly("never", _interrupt))
    seen = []
    record = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch),
        on_train_end=lambda logs: seen.append("end"),
    )
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model.fit(IDS, LABELS, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=[record])
    assert signal.getsignal(signal.SIGINT) is handler
    assert seen == [0, 1]
    for start in (0, 8, 16):  # the third step was made
        reference.train_on_batch(IDS[start : start + 8], LABELS[start : start + 8])
    _untouched(model, reference)
    assert model.optimizer.iterations.numpy() == 3
    assert all(variable._creditor is None for variable in model.weights)  # nothing is owed
    model.fit(IDS, LABELS, verbose=0)


def test_ctrl_c_outside_of_steps_comes_at_once():
    def batches():
        yield IDS, LABELS
        _interrupt()
        yield IDS, LABELS

    model, reference = classifier(), classifier()
    with pytest.raises(KeyboardInterrupt):
        model.fit(batches(), verbose=0)
    reference.train_on_batch(IDS, LABELS)
    assert same(model.get_weights(), reference.get_weights())


def test_a_second_ctrl_c_comes_at_once():
    reached = []

    def twice():
        _interrupt()
        reached.append("the first waits")
        _interrupt()
        reached.append("the second was held back")

    model = classifier(Unruly("call", twice))
    with pytest.raises(KeyboardInterrupt):
        model.fit(IDS, LABELS, batch_size=8, verbose=0)
    assert reached == ["the first waits"]


def test_fit_in_another_thread():
    model, reference = classifier(), classifier()
    thread = threading.Thread(target=model.fit, args=(IDS, LABELS), kwargs={"verbose": 0, "shuffle": False})
    thread.start()
    thread.join()
    reference.fit(IDS, LABELS, verbose=0, shuffle=False)
    assert same(model.get_weights(), reference.get_weights())


# --- Steps ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_training():
    def train():
        fastembed.random.set_random_seed(3)
        model = Sequential([Input((6,), dtype="int32"), layers.Embedding(20, 4), layers.Flatten()])
        model.add(layers.Dropout(0.3))
        model.add(layers.Dense(1, activation="sigmoid"))
        model.compile("adam", "binary_crossentropy")
        return model.fit(IDS, LABELS, epochs=3, verbose=0).history, model.get_weights()

    (first, weights), (second, others) = train(), train()
    assert first == second
    assert same(weights, others)


BITS = """
    import hashlib, numpy as np
    from fastembed import Input, Sequential, layers, random as drawing
    drawing.set_random_seed(1)
    random = np.random.default_rng(0)
    ids = random.zipf(1.3, (2048, 50)) % 5000
    model = Sequential([Input((50,), dtype="int32"), layers.Embedding(5000, 64)])
    model.add(layers.GlobalAveragePooling1D())
    model.add(layers.Dense(16, activation="relu"))
    model.add(layers.Dense(1, activation="sigmoid"))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(ids, ids[:, 0] % 2, batch_size=512, epochs=2, verbose=0)
    print(history.history, hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


def test_bits_do_not_depend_on_the_number_of_threads():
    said = {
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(BITS)],
            env={**os.environ, "FASTEMBED_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for threads in (1, 2, 5)
    }
    assert len(said) == 1


def test_frozen_layers_stay():
    model = classifier()
    before = model.get_weights()
    model.layers[0].trainable = False
    model.fit(IDS, LABELS, verbose=0)
    assert np.array_equal(model.get_weights()[0], before[0])
    assert not np.array_equal(model.get_weights()[1], before[1])
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match="recreate a new optimizer"):
        model.fit(IDS, LABELS, verbose=0)
    model.compile("adam", "binary_crossentropy")
    model.fit(IDS, LABELS, verbose=0)
    assert not np.array_equal(model.get_weights()[0], before[0])
    frozen = model.get_weights()
    model.layers[2].trainable = False  # after compile, too
    model.fit(IDS, LABELS, verbose=0)
    assert np.array_equal(model.get_weights()[1], frozen[1])
    assert not np.array_equal(model.get_weights()[0], frozen[0])
    model.train_on_batch(IDS, LABELS)
    frozen = model.get_weights()
    model.layers[0].embeddings.trainable = False  # a weight alone, between two batches
    model.train_on_batch(IDS, LABELS)
    assert [np.array_equal(a, b) for a, b in zip(model.get_weights(), frozen)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_moving_averages_end_in_the_weights():
    model = classifier(optimizer=optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5))
    plain = classifier(optimizer=optimizers.SGD(0.5))
    averages = None
    for start in (0, 20):
        plain.train_on_batch(IDS[start : start + 20], LABELS[start : start + 20])
        now = plain.get_weights()
        averages = now if averages is None else [(a + b) / 2 for a, b in zip(averages, now)]
    model.fit(IDS, LABELS, batch_size=20, shuffle=False, verbose=0)
    for ours, theirs in zip(model.get_weights(), averages):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_scaled_loss_is_learned_as_if_it_were_not():
    plain, scaled = (
        classifier(
            layers.Activation("linear", activity_regularizer="l2"), optimizer=optimizers.SGD(0.5, **settings)
        )
        for settings in ({}, {"loss_scale_factor": 1024.0})
    )
    for model in (plain, scaled):
        model.fit(IDS, LABELS, verbose=0, shuffle=False, epochs=2)
    assert same(plain.get_weights(), scaled.get_weights())


def test_weights_that_no_loss_depends_on_have_gradients_of_zero():
    x = Input((3,))
    outputs = [layers.Dense(1, kernel_initializer="ones", name="a")(x), layers.Dense(1, name="b")(x)]
    model = Model(x, outputs)
    model.compile(optimizers.SGD(0.1, weight_decay=0.5), [None, "mse"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(NUMBERS, [LABELS, LABELS], batch_size=40, verbose=0)
    np.testing.assert_allclose(model.get_layer("a").kernel, np.full((3, 1), 0.95), rtol=1e-6)  # they decay


def test_train_on_batch_adds_up_where_it_is_told_so():
    model = classifier()
    model.train_on_batch(IDS[:8], LABELS[:8])
    reference = copy.deepcopy(model)
    first = reference.test_on_batch(IDS[:8], LABELS[:8])
    model.test_on_batch(IDS[:8], LABELS[:8])
    both = model.test_on_batch(IDS[8:16], LABELS[8:16], reset_metrics=False)
    alone = reference.test_on_batch(IDS[8:16], LABELS[8:16])
    np.testing.assert_allclose(both, np.mean([first, alone], axis=0), rtol=1e-6)


def test_stop_training_ends_the_epoch():
    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = classifier()
    history = model.fit(IDS, LABELS, batch_size=8, epochs=5, verbose=0, callbacks=[Stop()])
    assert history.epoch == [0]
    assert model.optimizer.iterations.numpy() == 2
    assert len(model.fit(IDS, LABELS, verbose=0, epochs=2).epoch) == 2  # the next begins anew


@pytest.mark.parametrize(
    ("every", "seen"),
    [(1, [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]), (2, [(0, 1), (2, 3), (4, 5)]), (9, [(0, 8)])],
)
def test_several_steps_an_execution(every, seen):
    calls = []
    record = callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: calls.append(batch),
        on_train_batch_end=lambda batch, logs: calls.append((calls.pop(), batch)),
    )
    classifier(steps_per_execution=every).fit(IDS, LABELS, batch_size=8, verbose=0, callbacks=[record])
    assert calls == seen


def test_a_generator_that_ends_early():
    model = classifier()
    with pytest.warns(UserWarning, match="ran out of data"):
        history = model.fit(iter([(IDS, LABELS)] * 3), steps_per_epoch=2, epochs=4, verbose=0)
    assert history.epoch == [0, 1]
    assert model.optimizer.iterations.numpy() == 3


# --- predict --------------------------------------------------------------------------------------


def test_predictions_of_all_batches_are_in_one_array():
    model = two_by_two()
    expected = model.predict_on_batch([IDS, NUMBERS])
    for settings in ({"batch_size": 7}, {"batch_size": 40}, {"batch_size": 100}, {}):
        for verbose in (0, 2):
            found = model.predict([IDS, NUMBERS], verbose=verbose, **settings)
            assert isinstance(found, list)
            for ours, theirs in zip(found, expected):
                assert ours.flags.owndata or ours.base is None or len(ours.base) == len(ours)
                np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    generated = model.predict(iter([([IDS[:15], NUMBERS[:15]],), ([IDS[15:], NUMBERS[15:]],)]), verbose=0)
    np.testing.assert_allclose(generated[1], expected[1], rtol=1e-6)
    assert model.predict([IDS, NUMBERS], batch_size=8, steps=2, verbose=0)[0].shape == (16, 1)


@pytest.mark.parametrize("layer", [layers.Flatten(), layers.Activation("linear"), layers.Reshape((1, 3))])
def test_predictions_are_no_views_of_the_inputs(layer):
    x = Input((3,))
    one, two = Model(x, layer(x)), Model(x, [layer(x), layer(x)])
    numbers = NUMBERS.copy()
    for given in (numbers, [numbers], numbers[:20], numbers[::2]):
        for found in (
            one.predict_on_batch(given),
            *two.predict_on_batch(given),
            one.predict(given, verbose=0),
        ):
            found[:] = 7
    assert np.array_equal(numbers, NUMBERS)


def test_predictions_of_batches_of_other_lengths():
    model = Sequential([layers.Embedding(20, 4)])
    batches = [IDS[:3, :2], IDS[3:8, :2]]
    assert model.predict(iter(batches), verbose=0).shape == (8, 2, 4)
    with pytest.raises(ValueError, match="dimension"):
        model.predict(iter([IDS[:3, :2], IDS[:3]]), verbose=0)


def test_predict_tells_callbacks_the_outputs():
    seen = []
    record = callbacks.LambdaCallback()
    record.on_predict_batch_end = lambda batch, logs=None: seen.append(logs["outputs"].shape)
    classifier().predict(IDS, batch_size=16, verbose=0, callbacks=[record])
    assert seen == [(16, 1), (16, 1), (8, 1)]


def test_predict_classes():
    model = classifier()
    expected = (model.predict(IDS, verbose=0) > 0.5).astype("int32")
    found = model.predict_classes(IDS)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)
    softmax = Sequential([Input((3,)), layers.Softmax()])
    assert np.array_equal(softmax.predict_classes(NUMBERS), NUMBERS.argmax(axis=1))
    assert np.array_equal(softmax.predict_proba(NUMBERS), softmax.predict(NUMBERS, verbose=0))
    with pytest.warns(UserWarning, match="invalid probability values"):
        Sequential([Input((3,)), layers.Flatten()]).predict_proba(NUMBERS)


# --- Written down ---------------------------------------------------------------------------------


def test_what_compile_was_given_can_be_written_and_read():
    settings = {
        "optimizer": optimizers.Adam(0.25),
        "loss": [losses.BinaryCrossentropy(label_smoothing=0.1), "mse"],
        "loss_weights": [1.0, 0.5],
        "metrics": [["accuracy", metrics.AUC(name="area")], None],
        "weighted_metrics": {"price": "mae"},
    }
    model, other = two_by_two(**settings), two_by_two()
    config = model.get_compile_config()
    other.compile_from_config(config)
    assert other.get_compile_config() == config
    assert config["optimizer"]["class_name"] == "Adam"
    assert config["jit_compile"] is True
    assert other.optimizer.built
    given = {"x": [IDS, NUMBERS], "y": [LABELS, REAL], "verbose": 0, "shuffle": False}
    assert model.fit(**given).history == other.fit(**given).history


def test_the_training_config_of_a_legacy_file_is_read():
    model = classifier()
    model.compile_from_config(
        {
            "loss": "binary_crossentropy",
            "metrics": [
                [
                    {
                        "class_name": "MeanMetricWrapper",
                        "config": {"name": "acc", "dtype": "float32", "fn": "binary_accuracy"},
                    }
                ]
            ],
            "weighted_metrics": None,
            "loss_weights": None,
            "sample_weight_mode": None,
            "optimizer_config": {"class_name": "SGD", "config": {"lr": 0.5, "momentum": 0.0, "decay": 0.0}},
        }
    )
    assert model.optimizer.learning_rate.numpy() == 0.5
    assert model.metrics_names == ["loss", "acc"]


def test_a_compile_of_ones_own_is_not_guessed():
    class Own(Model):
        def compile(self, speed):
            super().compile(optimizers.SGD(speed), "mse")

    x = Input((3,))
    model = Own(x, layers.Dense(1)(x))
    with pytest.warns(UserWarning, match="method is custom"):
        model.compile_from_config({"speed": 1.0})
    assert not model.compiled


def test_a_compiled_model_can_be_copied():
    model = classifier()
    model.fit(IDS, LABELS, verbose=0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same(other.get_weights(), model.get_weights())
        reference = copy.deepcopy(model)
        assert other.train_on_batch(IDS, LABELS) == reference.train_on_batch(IDS, LABELS)
        assert same(other.get_weights(), reference.get_weights())


# --- What layers add ------------------------------------------------------------------------------


def test_a_loss_that_a_layer_adds():
    class Small(Layer):
        """Wants small outputs, and says so in its gradient."""

        def call(self, inputs):
            self.add_loss(np.square(inputs).mean())
            return inputs * 1

        def backpropagate(self, inputs, upstream):
            return upstream + 2 * inputs / inputs.size

        def remember(self, inputs, outputs):
            return inputs

    x = Input((3,))
    model = Model(x, Small()(layers.Dense(2)(x)))
    model.compile(optimizers.SGD(0.5))
    history = model.fit(NUMBERS, epochs=30, batch_size=40, verbose=0).history
    assert history["loss"][-1] < 0.01 * history["loss"][0]
    assert model.evaluate(NUMBERS, verbose=0, batch_size=40) == pytest.approx(
        np.square(model.predict(NUMBERS, verbose=0)).mean(), abs=1e-9
    )


def test_gradients_of_mixed_precision_are_float32():
    x = Input((3,))
    model = Model(x, layers.Dense(1, dtype="mixed_float16", kernel_initializer="ones")(x))
    model.compile(optimizers.SGD(1.0), losses.MeanSquaredError())
    small = np.full((4096, 3), 1e-4, np.float32)
    model.layers[1].kernel.assign(np.zeros((3, 1)))
    model.fit(small, np.full((4096, 1), 1e-3), batch_size=4096, verbose=0)
    # The gradient of each prediction is 5e-7, of the kernel 2e-7: nothing in float16.
    np.testing.assert_allclose(model.layers[1].kernel, 2e-7, rtol=1e-2)


def test_monitors_know_which_way_is_better():
    model = classifier(metrics=[metrics.AUC(name="area"), "mae"])
    for name, goes_up in (("area", True), ("val_area", True), ("mae", False), ("val_loss", False)):
        stop = callbacks.EarlyStopping(name, patience=5)
        model.fit(IDS, LABELS, validation_split=0.2, verbose=0, callbacks=[stop])
        assert (stop.monitor_op is np.greater) == goes_up

"""Eras: what a layer takes from the Keras that it is made as. The reference is files that those wrote."""

from __future__ import annotations

import copy
import json
import pathlib
import pickle
import re
import threading

import numpy as np
import pytest

import fastembed
from fastembed import eras, initializers, layers, regularizers

ERAS = ["keras1", "keras2", "tf.keras", "keras3"]
FIXTURES = pathlib.Path(__file__).parent / "fixtures"


# --- The setting ----------------------------------------------------------------------------------


def test_an_era_is_a_setting_and_a_context_manager():
    assert eras.current().name == "keras3"
    with fastembed.era("keras1") as outer:
        assert eras.current() is outer
        setting = fastembed.era("tf.keras")
        assert eras.current().name == "tf.keras"
        with setting:
            pass
        assert eras.current() is outer
    assert eras.current().name == "keras3"


def test_another_thread_has_its_own():
    seen = []
    with fastembed.era("keras2"):
        thread = threading.Thread(target=lambda: seen.append(eras.current().name))
        thread.start()
        thread.join()
    assert seen == ["keras3"]


@pytest.mark.parametrize("bad", ["keras", "Keras3", None, 3, ["keras1"]], ids=repr)
def test_an_unknown_era_is_refused(bad):
    with pytest.raises(
        ValueError, match=r"there is no era .* known are 'keras3', 'tf\.keras', 'keras2', 'keras1'"
    ):
        fastembed.era(bad)
    assert eras.current().name == "keras3"


def test_a_layer_keeps_its_era():
    with fastembed.era("keras2"):
        layer = layers.Embedding(3, 2)
    for each in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert "module" not in each.get_config()["embeddings_initializer"]
        assert each._era is layer._era


# --- Constructors ---------------------------------------------------------------------------------

MATRIX = np.arange(6.0).reshape(3, 2)
# The same Embedding by position in each era.
BY_POSITION = {
    "keras1": ["normal", 5, "l2", "activity_l1", "maxnorm", True, [MATRIX], 0.25],
    "tf.keras": ["normal", "l2", "activity_l1", "maxnorm", True, 5, False],
    "keras3": ["normal", "l2", "maxnorm", True, [MATRIX]],
}


@pytest.mark.parametrize("era", BY_POSITION)
def test_positional_arguments(era):
    with fastembed.era(era):
        layer = layers.Embedding(3, 2, *BY_POSITION[era])
    assert isinstance(layer.embeddings_initializer, initializers.RandomNormal)
    assert isinstance(layer.embeddings_regularizer, regularizers.L2)
    assert layer.embeddings_constraint.max_value == 2
    assert layer.mask_zero
    assert layer.input_length == (None if era == "keras3" else 5)
    assert isinstance(layer.activity_regularizer, type(None) if era == "keras3" else regularizers.L1)
    assert layer.dropout == (0.25 if era == "keras1" else 0)
    assert layer.built == (era != "tf.keras")


def test_keras_2_takes_two_by_position():
    with fastembed.era("keras2"):
        assert layers.Embedding(3, 2).output_dim == 2
        with pytest.raises(TypeError, match="can accept only 2 positional arguments"):
            layers.Embedding(3, 2, "normal")
        with pytest.raises(TypeError, match="can accept only 1 positional arguments"):
            layers.Dense(3, "linear")


def test_dense_by_position():
    with fastembed.era("keras1"):
        dense = layers.Dense(3, "one", "linear", None, "l2", None, None, "nonneg", None, False)
        assert dense.get_config().keys() >= {"output_dim", "init", "W_regularizer", "b_constraint", "bias"}
    assert (dense.units, dense.use_bias) == (3, False)
    assert dense(np.ones((1, 2))).tolist() == [[2, 2, 2]]
    with fastembed.era("tf.keras"):
        assert layers.Layer(False, "mine").name == "mine"


@pytest.mark.parametrize("era", ERAS)
def test_keywords_of_every_era_in_every_era(era):
    with fastembed.era(era):
        layer = layers.Embedding(
            input_dim=3, output_dim=2, init="one", W_regularizer="l2", W_constraint="nonneg",
            activity_regularizer="l1", input_length=4, batch_input_shape=(7, 4), input_dtype="int32",
            sparse=False, weights=MATRIX, trainable=False, name="mine", lora_rank=None, lora_alpha=None,
            quantization_config=None, use_one_hot_matmul=False,
        )  # fmt: skip
        assert layers.Embedding(3, 2, input_shape=(4,), batch_size=7).batch_input_shape == (7, 4)
        assert layers.Dense(2, input_dim=4).batch_input_shape == (None, 4)
    assert layer.batch_input_shape == (7, 4)
    assert isinstance(layer.embeddings_regularizer, regularizers.L2)
    assert layer(np.array([[2]])).tolist() == [[[4, 5]]]
    assert layer.W is layer.embeddings


@pytest.mark.parametrize("era", ERAS)
def test_an_old_name_and_the_new_one(era):
    with fastembed.era(era), pytest.raises(TypeError, match="'embeddings_initializer' and also 'init'"):
        layers.Embedding(3, 2, init="one", embeddings_initializer="zeros")


@pytest.mark.parametrize(("era", "error"), list(zip(ERAS, [TypeError, TypeError, TypeError, ValueError])))
def test_an_unknown_keyword(era, error):
    with fastembed.era(era), pytest.raises(error, match="colour"):
        layers.Embedding(3, 2, colour="red")


# --- Names ----------------------------------------------------------------------------------------


def test_automatic_names():
    fastembed.backend.clear_session()

    class GlobalMax1D(layers.Layer):
        pass

    class _Private(layers.Layer):
        pass

    names = {}
    for era in ERAS:
        with fastembed.era(era):
            made = [layers.Embedding(2, 2), layers.Embedding(2, 2), GlobalMax1D(), _Private()]
            names[era] = [layer.name for layer in made]
    assert names == {
        "keras1": ["embedding_1", "embedding_2", "globalmax1d_1", "_private_1"],
        "keras2": ["embedding_3", "embedding_4", "global_max1d_1", "private__private_1"],
        "tf.keras": ["embedding", "embedding_1", "global_max1d", "private__private"],
        "keras3": ["embedding_2", "embedding_3", "global_max1d_1", "__private"],
    }
    fastembed.backend.clear_session()
    assert layers.Embedding(2, 2).name == "embedding"


@pytest.mark.parametrize(
    ("era", "name"), list(zip(ERAS, ["httpserver2d_1", "http_server2d_1", "http_server2d", "http_server2d"]))
)
def test_capitals_and_digits_in_class_names(era, name):
    fastembed.backend.clear_session()
    with fastembed.era(era):
        assert type("HTTPServer2D", (layers.Layer,), {})().name == name
        split = {"keras1": "lstm2layer_1", "keras2": "lst_m2layer_1", "tf.keras": "lst_m2layer"}
        assert type("LSTM2Layer", (layers.Layer,), {})().name == split.get(era, "lstm2_layer")


@pytest.mark.parametrize(
    ("era", "name"), list(zip(ERAS, ["mine_W", "mine/embeddings:0", "mine/embeddings:0", "embeddings"]))
)
def test_names_of_weights(era, name):
    with fastembed.era(era):
        layer = layers.Embedding(3, 2, name="mine", weights=MATRIX)
        assert [v.name for v in layer.weights] == [name]
        dense = layers.Dense(2, name="d")
        dense.build((None, 3))
    kernel, bias = (v.name for v in dense.weights)
    assert (kernel, bias) == {
        "keras1": ("d_W", "d_b"), "keras2": ("d/kernel:0", "d/bias:0"),
        "tf.keras": ("d/kernel:0", "d/bias:0"), "keras3": ("kernel", "bias"),
    }[era]  # fmt: skip


def test_a_slash_in_a_name():
    with fastembed.era("tf.keras"):
        assert layers.Embedding(3, 2, name="a/b").name == "a/b"
    with pytest.raises(ValueError, match="cannot contain character `/`"):
        layers.Embedding(3, 2, name="a/b")


# --- Weights and losses ---------------------------------------------------------------------------


class Pair(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = self._embedding(3, "l2", "first")
        self.second = self._embedding(4, "l1", "second")
        self.own = self.add_weight(shape=(5,), initializer="ones", name="own", regularizer="l2")

    def _embedding(self, rows, regularizer, name):
        return layers.Embedding(
            rows, 2, embeddings_initializer="ones", embeddings_regularizer=regularizer, name=name
        )

    def call(self, inputs):
        return self.first(inputs) + self.second(inputs)


@pytest.mark.parametrize("era", ERAS)
def test_freezing_reorders_weights_before_keras_3(era):
    with fastembed.era(era):
        pair = Pair()
    pair([1])
    assert [w.shape for w in pair.get_weights()] == [(5,), (3, 2), (4, 2)]
    pair.first.trainable = False
    own_first = [(5,), (3, 2), (4, 2)] if era == "keras3" else [(5,), (4, 2), (3, 2)]
    assert [w.shape for w in pair.get_weights()] == own_first
    assert [v.shape for v in pair.trainable_weights] == [(5,), (4, 2)]
    assert [v.shape for v in pair.non_trainable_weights] == [(3, 2)]
    pair.set_weights([np.full(shape, i) for i, shape in enumerate(own_first)])
    assert (pair.first([0]) == own_first.index((3, 2))).all()
    pair.trainable = False
    assert pair.trainable_weights == []
    assert [v.shape for v in pair.non_trainable_weights] == [(5,), (3, 2), (4, 2)]


@pytest.mark.parametrize("era", ERAS)
def test_the_penalty_of_a_frozen_weight(era):
    with fastembed.era(era):
        pair = Pair()
    pair([1])
    everything = sorted(map(float, pair.losses))
    assert everything == pytest.approx([0.01 * 5, 0.01 * 6, 0.01 * 8])
    pair.first.trainable = False
    kept = sorted(map(float, pair.losses))
    assert kept == pytest.approx([0.05, 0.08] if era == "keras3" else everything)


@pytest.mark.parametrize(("era", "loss"), list(zip(ERAS, [12.0, 12.0, 3.0, 3.0])))
def test_an_activity_regularizer_counts_the_batch(era, loss):
    with fastembed.era(era):
        layer = layers.Embedding(
            3, 3, embeddings_initializer="ones", activity_regularizer=regularizers.L1(1.0)
        )
    layer(np.zeros(4, int))
    assert [float(x) for x in layer.losses] == [loss]


@pytest.mark.parametrize("era", ERAS)
def test_state_of_a_built_layer(era):
    with fastembed.era(era):
        layer = layers.Embedding(3, 2, weights=MATRIX)
    if era == "keras3":
        for add in (
            lambda: layer.add_weight(shape=(1,)),
            lambda: setattr(layer, "more", fastembed.Variable([1.0])),
            lambda: setattr(layer, "more", [layers.Embedding(2, 2)]),
        ):
            with pytest.raises(ValueError, match="You cannot add new elements of state"):
                add()
        assert not hasattr(layer, "more")
        layer.again = layer.embeddings  # nothing new
        layer.anything = [1, 2]
    else:
        layer.add_weight(shape=(1,))
        layer.more = [layers.Embedding(2, 2, weights=np.ones((2, 2)))]
        assert len(layer.weights) == 3
    assert layer([2]).tolist() == [[4, 5]]


# --- Initializers, dropout ------------------------------------------------------------------------


def test_initializers_of_keras_1():
    with fastembed.era("keras1"):
        normal, orthogonal = (
            layers.Embedding(3, 2, "glorot_normal"),
            layers.Embedding(3, 2, init="orthogonal"),
        )
    assert normal.embeddings_initializer.distribution == "untruncated_normal"
    assert orthogonal.embeddings_initializer.gain == 1.1
    assert layers.Embedding(3, 2, "orthogonal").embeddings_initializer.gain == 1.0


@pytest.mark.parametrize("era", ["keras1", "tf.keras", "keras3"])
def test_row_dropout(era):
    with fastembed.era(era):
        layer = layers.Embedding(1000, 2, weights=np.ones((1000, 2)), dropout=0.25)
    ids = np.random.default_rng(0).integers(0, 1000, (50, 40))
    assert (layer(ids) == 1).all()
    rows = layer(ids, training=True)
    assert rows.dtype == np.float32
    scale = rows[..., 0]
    assert set(np.unique(scale)) == {np.float32(0), np.float32(1 / 0.75)}
    for word in np.unique(ids):  # each word in all its places
        assert len(np.unique(scale[ids == word])) == 1
    _, places = np.unique(ids, return_index=True)
    assert np.mean(scale.reshape(-1)[places] == 0) == pytest.approx(0.25, abs=0.05)
    layer.backward(np.ones(rows.shape, np.float32))
    expected = np.zeros(1000)
    np.add.at(expected, ids, scale)
    np.testing.assert_allclose(layer.embeddings.gradient.to_dense()[:, 0], expected, rtol=1e-6)
    assert not np.array_equal(layer(ids, training=True), rows)
    again = pickle.loads(pickle.dumps(layer))
    assert set(np.unique(again(ids, training=True))) == {np.float32(0), np.float32(1 / 0.75)}
    assert layer.get_config()["dropout"] == 0.25


def test_keras_2_ignores_dropout():
    with (
        fastembed.era("keras2"),
        pytest.warns(UserWarning, match="`dropout` argument is no longer supported"),
    ):
        layer = layers.Embedding(3, 2, dropout=0.5)
    assert (layer([[1]], training=True) == layer([[1]])).all()


@pytest.mark.parametrize("bad", [1, -0.1, 1.5, "0.5", True, None, np.nan], ids=repr)
def test_dropout_is_a_share(bad):
    with pytest.raises(ValueError, match="`dropout` must be a number of at least 0 and below 1"):
        layers.Embedding(3, 2, dropout=bad)


def test_sparse_rows_are_dense():
    with fastembed.era("tf.keras"):
        layer = layers.Embedding(3, 2, sparse=True, weights=[MATRIX])
    rows = layer([2], training=True)
    assert (type(rows), rows.tolist()) == (np.ndarray, [[4, 5]])
    layer.backward(rows)
    assert isinstance(layer.embeddings.gradient, fastembed.IndexedSlices)


@pytest.mark.parametrize(("era", "outcome"), list(zip(ERAS, [True, True, TypeError, ValueError])))
def test_trainable_is_a_bool(era, outcome):
    with fastembed.era(era):
        if outcome is True:
            assert layers.Embedding(3, 2, trainable=1).trainable is True
        else:
            with pytest.raises(outcome, match="to be a boolean"):
                layers.Embedding(3, 2, trainable=1)


# --- Shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
def test_output_shapes(era):
    with fastembed.era(era):
        layer = layers.Embedding(3, 2, input_length=5, name="x")
        free = layers.Embedding(3, 2)
    assert free.compute_output_shape((None, 4)) == (None, 4, 2)
    assert layer.compute_output_shape((None, 5)) == (None, 5, 2)
    if era == "keras3":
        assert layer.compute_output_shape((2, 3)) == (2, 3, 2)
    elif era == "keras1":
        assert layer.compute_output_shape((2, 3)) == (2, 5, 2)
    else:
        assert layer.compute_output_shape((2, None)) == (2, 5, 2)
        with pytest.raises(
            ValueError, match=re.escape('"input_length" is 5, but received input has shape (2, 3)')
        ):
            layer.compute_output_shape((2, 3))


@pytest.mark.parametrize("era", ERAS)
def test_a_layer_that_does_not_say_its_output_shape(era):
    class Plain(layers.Layer):
        pass

    class Of1(layers.Layer):
        def get_output_shape_for(self, input_shape):
            return (*input_shape, 9)

    with fastembed.era(era):
        plain, of1 = Plain(), Of1()
    assert of1.compute_output_shape((1,)) == (1, 9)
    if era in ("keras1", "keras2"):
        assert plain.compute_output_shape((None, 3)) == (None, 3)
    else:
        with pytest.raises(NotImplementedError, match="compute_output_shape"):
            plain.compute_output_shape((None, 3))


# --- Configs --------------------------------------------------------------------------------------


def _embedding_configs(value):
    if isinstance(value, dict):
        config = value.get("config")
        if value.get("class_name") == "Embedding" and isinstance(config, dict):
            yield config
        for each in value.values():
            yield from _embedding_configs(each)
    elif isinstance(value, list):
        for each in value:
            yield from _embedding_configs(each)


def _written():
    h5py = pytest.importorskip("h5py")
    era_of = {"1": "keras1", "2": "keras2", "3": "keras3", "0": "keras1"}
    for path in sorted(FIXTURES.glob("*/*.h5")):
        folder = path.parent.name
        version = folder.rpartition("-")[2]
        if folder == "by-hand" or not folder.startswith(("keras-", "tf_keras-")):
            continue
        multi = folder.startswith("keras-") and version.startswith("2.") and int(version.split(".")[1]) < 4
        era = "tf.keras" if version.startswith("2.") and not multi else era_of[version[0]]
        with h5py.File(path) as file:
            text = file.attrs.get("model_config")
        if text is not None:
            for config in _embedding_configs(json.loads(text)):
                yield f"{folder}/{path.stem}:{config['name']}", era, config


WRITTEN = list(_written())


@pytest.mark.parametrize(("era", "config"), [w[1:] for w in WRITTEN], ids=[w[0] for w in WRITTEN])
def test_configs_that_real_kerases_wrote(era, config):
    with fastembed.era(era):
        layer = layers.Embedding.from_config(config)
    assert json.loads(json.dumps(layer.get_config())) == config


def test_every_era_wrote_some():
    assert {era for _, era, _ in WRITTEN} == set(ERAS)


FULL = {
    "embeddings_initializer": "glorot_uniform",
    "embeddings_regularizer": "l2",
    "embeddings_constraint": "max_norm",
    "activity_regularizer": "l1",
    "mask_zero": True,
    "input_length": 7,
    "trainable": False,
    "name": "mine",
}


def test_dialects():
    said = {}
    for era in ERAS:
        with fastembed.era(era):
            said[era] = layers.Embedding(3, 2, **FULL).get_config()
    small = float(np.float32(0.01))
    assert said["keras1"] == {
        "name": "mine", "trainable": False, "batch_input_shape": (None, 7), "input_dtype": "int32",
        "input_dim": 3, "output_dim": 2, "init": "glorot_uniform", "input_length": 7,
        "mask_zero": True, "dropout": 0.0,
        "W_regularizer": {"name": "L1L2Regularizer", "l1": 0.0, "l2": small},
        "activity_regularizer": {"name": "L1L2Regularizer", "l1": small, "l2": 0.0},
        "W_constraint": {"name": "MaxNorm", "m": 2, "axis": 0},
    }  # fmt: skip
    assert said["keras2"] == {
        "name": "mine", "trainable": False, "batch_input_shape": (None, 7), "dtype": "float32",
        "input_dim": 3, "output_dim": 2, "input_length": 7, "mask_zero": True,
        "embeddings_initializer": {
            "class_name": "VarianceScaling",
            "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
        },
        "embeddings_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": small}},
        "activity_regularizer": {"class_name": "L1L2", "config": {"l1": small, "l2": 0.0}},
        "embeddings_constraint": {"class_name": "MaxNorm", "config": {"max_value": 2, "axis": 0}},
    }  # fmt: skip
    assert said["tf.keras"]["embeddings_initializer"] == {
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "config": {"seed": None},
        "registered_name": None,
    }
    assert said["keras3"].keys() ^ said["tf.keras"].keys() == {
        "quantization_config", "batch_input_shape", "input_length",
    }  # fmt: skip


@pytest.mark.parametrize("writer", ERAS)
@pytest.mark.parametrize("reader", ERAS)
@pytest.mark.parametrize("inside", [False, True])
def test_every_era_reads_every_dialect(writer, reader, inside):
    with fastembed.era(writer):
        config = layers.Embedding(3, 2, **FULL).get_config()
    if inside:
        config = {
            "module": "keras.layers",
            "class_name": "Embedding",
            "config": config,
            "registered_name": None,
        }
    config = json.loads(json.dumps(config))
    with fastembed.era(reader):
        layer = layers.Embedding.from_config(config)
    assert (layer.name, layer.trainable, layer.mask_zero) == ("mine", False, True)
    table = layers.Embedding.from_config(config)(np.arange(3))
    assert np.abs(table).max() <= np.sqrt(6 / 5)
    assert layer.embeddings_constraint.max_value == 2
    assert layer.embeddings_regularizer(np.ones(2)) == pytest.approx(0.02)
    assert layer.activity_regularizer(np.ones(2)) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "name",
    ["uniform", "normal", "zero", "one", "identity", "orthogonal", "lecun_uniform", "glorot_uniform",
     "he_uniform", "glorot_normal", "he_normal"],
)  # fmt: skip
def test_keras_1_writes_its_initializers_by_name(name):
    with fastembed.era("keras1"):
        config = layers.Embedding(3, 3, name).get_config()
        assert config["init"] == name
        assert layers.Embedding.from_config(config).get_config() == config


def test_keras_1_has_no_name_for_it():
    with fastembed.era("keras1"):
        layer = layers.Embedding(3, 2, initializers.RandomUniform(-1, 1))
    with pytest.raises(ValueError, match="Keras 1 has no name for RandomUniform"):
        layer.get_config()


def test_mixed_policies_in_configs():
    with fastembed.era("tf.keras"):
        config = layers.Embedding(3, 2, dtype="mixed_float16").get_config()
    assert config["dtype"] == {
        "module": "keras.mixed_precision",
        "class_name": "Policy",
        "config": {"name": "mixed_float16"},
        "registered_name": None,
    }
    assert layers.Embedding.from_config(config).compute_dtype == "float16"


# --- Layers of one's own --------------------------------------------------------------------------


class OldLayer(layers.Layer):
    """As the documentation of Keras 1 had them."""

    def build(self, input_shape):
        self.W = self.add_weight(
            (input_shape[1], 2), lambda shape, name=None: np.ones(shape), f"{self.name}_W"
        )
        self.b = self.add_weight((2,), "zero", None, False)
        self.c = fastembed.backend.variable(np.zeros(2), name=f"{self.name}_c")

    def call(self, x, mask=None):
        return fastembed.backend.dot(x, self.W) + self.b.value

    def get_output_shape_for(self, input_shape):
        return (input_shape[0], 2)


def test_a_layer_of_keras_1():
    with fastembed.era("keras1"):
        layer = OldLayer(name="old")
        half = layers.Layer(name="x").add_weight((2,), "one", "half")
    assert layer(np.ones((3, 4), "f4")).tolist() == [[4, 4]] * 3
    assert [v.name for v in layer.weights if "variable" not in v.name] == ["old_W", "old_c"]
    assert [v.shape for v in layer.non_trainable_weights] == [(2,)]
    assert (half.name, half.dtype) == ("half", "float32")
    assert layer.compute_output_shape((None, 4)) == layer.get_output_shape_for((None, 4)) == (None, 2)
    assert layers.Embedding(3, 2).get_output_shape_for((None, 4)) == (None, 4, 2)


@pytest.mark.parametrize("era", ["keras2", "tf.keras"])
def test_add_weight_by_position_in_keras_2(era):
    with fastembed.era(era):
        layer = layers.Layer(name="mine")
    first = layer.add_weight("w", (2, 3), "float32", "ones", None, False)
    second = layer.add_weight((4,), "v")
    assert (first.name, first.shape, first.trainable) == ("mine/w:0", (2, 3), False)
    assert (second.name, second.shape) == ("mine/v:0", (4,))
    with pytest.raises(TypeError, match="at most 7 positional"):
        layer.add_weight("w", (2,), None, None, None, True, None, 8)


def test_weights_are_variables():
    layer = layers.Layer()
    with pytest.raises(TypeError, match="weights are variables, got ndarray"):
        layer.trainable_weights = [np.zeros(3)]


@pytest.mark.parametrize("era", ERAS)
def test_a_tied_weight_keeps_its_name(era):
    class Tied(layers.Layer):
        def __init__(self, embedding, **kwargs):
            super().__init__(**kwargs)
            self.embedding = embedding

        def build(self, input_shape):
            self.kernel = self.embedding.embeddings

        def call(self, inputs):
            return inputs @ self.kernel.value.T

    with fastembed.era(era):
        embedding = layers.Embedding(3, 2, name="e", weights=MATRIX)
        before = embedding.embeddings.name, embedding.embeddings.path
        Tied(embedding, name="t")(np.ones((1, 2)))
    assert (embedding.embeddings.name, embedding.embeddings.path) == before


def test_positions_of_another_era_are_hinted_at():
    for call in (
        lambda: layers.Embedding(1000, 64, "uniform", 10),
        lambda: layers.Embedding(3, 2, "uniform", "l2", None, None, True, 4),
    ):
        with pytest.raises(
            (TypeError, ValueError), match=r"in the order of Keras 3; fastembed\.era\(\) is for"
        ):
            call()
    with pytest.raises(ValueError) as error:
        layers.Embedding(0, 64)
    assert "order" not in str(error.value)


@pytest.mark.parametrize("era", ["keras1", "keras2", "tf.keras"])
def test_what_an_earlier_keras_cannot_say_is_not_left_out(era):
    with fastembed.era(era):
        quantized, lora = layers.Embedding(3, 2, weights=MATRIX), layers.Embedding(3, 2, weights=MATRIX)
    quantized.quantize("int8")
    lora.enable_lora(1)
    for layer in (quantized, lora):
        with pytest.raises(ValueError, match='only be written in the era "keras3"'):
            layer.get_config()


def test_an_era_that_is_kept_can_be_used_again():
    kept = fastembed.era("keras1")
    with fastembed.era("keras2"):
        for _ in range(2):
            with kept, kept as inner:
                assert eras.current() is inner
                assert inner.name == "keras1"
            assert eras.current().name == "keras2"
    assert eras.current().name == "keras1"
    with kept:
        pass
    eras._current.set(eras._by_name("keras3"))


# --- What else is given, and held -----------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "int8", "int4"])
@pytest.mark.parametrize(
    ("policy", "taken"),
    [("clip", [3, 3, 3, 0, 0]), ("wrap", [3, 3, 2, 3, 0]), (1, [3, 1, 1, 1, 1])],
    ids=repr,
)
@pytest.mark.parametrize("dtype", ["int64", "int8", ">i4"])
def test_the_fate_of_a_dropped_row_is_that_of_the_row(policy, taken, dtype, mode):
    layer = layers.Embedding(4, 2, weights=np.ones((4, 2)), dropout=0.5, out_of_range=policy)
    if mode is not None:
        layer.quantize(mode)
    ids, seen = np.array([3, 7, 6, -1, -4], dtype), set()
    for _ in range(20):
        rows = layer(ids, training=True)[:, 0] != 0
        layer.backward(np.ones((5, 2), np.float32))
        fates = {(row, bool(fate)) for row, fate in zip(taken, rows)}
        assert len(fates) == len({*taken})
        seen |= fates
    assert len(seen) == 2 * len({*taken})


def test_dropout_of_numpy():
    for share in (np.float32(0.2), np.float64(0.2), np.int64(0)):
        dropout = layers.Embedding(3, 2, dropout=share).dropout
        assert type(dropout) is float
        assert dropout == share
    for bad in (np.bool_(False), np.float32(1), np.float32("nan")):
        with pytest.raises(ValueError, match="`dropout` must be a number"):
            layers.Embedding(3, 2, dropout=bad)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("length", [np.int64(3), (np.int32(3), None), [np.int64(2)]], ids=repr)
def test_an_input_length_of_numpy_can_be_written_down(era, length):
    with fastembed.era(era):
        layer = layers.Embedding(3, 2, input_length=length)
        config = json.loads(json.dumps(layer.get_config()))
        again = layers.Embedding.from_config(config)
        assert json.loads(json.dumps(again.get_config())) == config
        layer = layers.Embedding(3, 2, batch_input_shape=(np.int64(8), None))
        json.dumps(layer.get_config())


@pytest.mark.parametrize("shape", [(None,), (), (3,)])
def test_keras_1_takes_ids_of_two_axes(shape):
    with fastembed.era("keras1"):
        layer = layers.Embedding(3, 2)
    with pytest.raises(ValueError, match=r"Keras 1 takes ids of shape \(batch, length\), got"):
        layer.compute_output_shape(shape)
    assert layer.compute_output_shape((None, 4)) == (None, 4, 2)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("frozen", [(), (0,), (1,), (0, 1)])
def test_layers_that_hold_each_other(era, frozen):
    with fastembed.era(era):
        pair = layers.Embedding(3, 2), layers.Dense(2)
        pair[0].other, pair[1].other = pair[1], pair[0]
        for layer, shape in zip(pair, [(None,), (None, 4)]):
            layer.build(shape)
        for number in frozen:
            pair[number].__dict__["_trainable"] = False
    all_ids = {id(v) for layer in pair for v in layer._own_weights()}
    for layer in pair:
        for found in (layer.weights, layer.get_weights()):
            assert len(found) == 3
        assert {id(v) for v in layer.weights} == all_ids
        both = [*layer.trainable_weights, *layer.non_trainable_weights]
        assert {id(v) for v in both} == all_ids
        assert len(both) == 3

"""What a layer is told, and tells, beside its numbers: inputs, shapes, configs, files, masks."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

import fastembed
from fastembed import layers, regularizers
from fastembed.layers import InputSpec


class Scale(layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale


class Attend(layers.Layer):
    """Two inputs, each with a mask."""

    def build(self, query_shape, value_shape):
        self.seen = query_shape, value_shape
        self.weight = self.add_weight(shape=(query_shape[-1], value_shape[-1]), name="weight")

    def call(self, query, value=None, query_mask=None, value_mask=None, scale=1.0):
        self.masks = query_mask, value_mask
        return scale * (query @ self.weight @ value.T)


# --- Inputs ---------------------------------------------------------------------------------------


def test_several_arguments():
    layer = Attend()
    query, value, mask = np.ones((2, 3)), np.ones((4, 5)), np.array([True, False])
    assert layer(query, value=value, query_mask=mask).shape == (2, 4)
    assert layer.seen == ((2, 3), (4, 5))
    assert layer.masks[0] is mask
    assert layer.masks[1] is None
    assert layer.get_build_config() == {"shapes_dict": {"query_shape": (2, 3), "value_shape": (4, 5)}}
    again = Attend()
    again.build_from_config(layer.get_build_config())
    assert again.weight.shape == (3, 5)


def test_every_array_is_converted_and_nothing_else():
    class Look(layers.Layer):
        def call(self, a, b=None, c=None, **rest):
            return [x.dtype.name if isinstance(x, np.ndarray) else x for x in (a, *b, c["x"], rest["d"])]

    class Arrayish:
        def __array__(self, dtype=None, copy=None):
            return np.ones(2)

    wide, ids = np.ones(2), np.ones(2, int)
    assert Look()(wide, b=[wide, ids], c={"x": Arrayish()}, d="text") == [
        "float32", "float32", "int64", "float32", "text",
    ]  # fmt: skip
    assert Look(autocast=False)(wide, b=[], c={"x": ids}, d=None) == ["float64", "int64", None]


def test_a_build_whose_parameters_are_not_those_of_call():
    class Wrong(layers.Layer):
        def build(self, input_shape, other):
            pass

        def call(self, inputs):
            return inputs

    with pytest.raises(
        ValueError, match="arguments of `call\\(\\)` with `_shape` appended; in Wrong 'input_shape'"
    ):
        Wrong()(np.ones(2))


def test_an_unknown_mask():
    with pytest.raises(TypeError, match="mask"):
        Scale()(np.ones((2, 3)), mask=np.ones(2, bool))


class Training(layers.Layer):
    def call(self, inputs, training=True):
        return training


@pytest.mark.parametrize(
    ("given", "seen"), [({}, True), ({"training": False}, False), ({"training": True}, True)]
)
def test_training_has_the_default_of_call(given, seen):
    assert Training()(np.ones(1), **given) is seen


def test_an_outer_layer_says_whether_to_train():
    class Outer(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = Training()

        def call(self, inputs):
            return self.inner(inputs)

    assert [Outer()(np.ones(1), training=flag) for flag in (True, False, None)] == [True, False, True]


# --- input_spec -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "fits", "misfit", "message"),
    [
        (InputSpec(ndim=2), (2, 3), (2,), "expected ndim=2, found ndim=1. Full shape received: (2,)"),
        (InputSpec(min_ndim=2), (2, 3, 4), (2,), "expected min_ndim=2, found ndim=1. Full"),
        (InputSpec(max_ndim=2), (2,), (2, 3, 4), "expected max_ndim=2, found ndim=3"),
        (InputSpec(axes={-1: 3}), (2, 3), (3, 2), "expected axis -1 of input shape to have value 3"),
        (InputSpec(shape=(None, 3)), (2, 3), (2, 4), "expected shape=(None, 3), found shape=(2, 4)"),
        ([InputSpec(ndim=2)], (2, 3), (2,), "expected ndim=2"),
    ],
)
def test_input_spec(spec, fits, misfit, message):
    layer = Scale(name="x")
    layer.input_spec = spec
    assert layer(np.ones(fits)).shape == fits
    with pytest.raises(ValueError) as error:
        layer(np.ones(misfit))
    assert "Input 0 with name 'None' of layer 'x' is incompatible with the layer: " in str(error.value)
    assert message in str(error.value)


def test_input_spec_of_dtypes_counts_and_names():
    layer = Scale(name="x")
    layer.input_spec = InputSpec(dtype="float32")
    assert layer(np.ones((1, 2))).shape == (1, 2)  # cast to the compute dtype first
    with pytest.raises(ValueError, match="expected dtype=float32, found dtype=int64"):
        layer(np.ones((1, 2), int))
    layer.input_spec = [InputSpec(ndim=1, name="a"), InputSpec(ndim=1, name="b", optional=True)]
    with pytest.raises(ValueError, match=r"expects 2 input\(s\), but it received 1"):
        layer(np.ones(2))
    with pytest.raises(ValueError, match='Missing data for input "b"'):
        layer({"a": np.ones(2)})
    layer.input_spec = InputSpec(ndim=1)
    with pytest.raises(ValueError, match="Inputs to a layer should be tensors"):
        layer("text")


def test_input_spec_that_build_sets():
    class Built(Scale):
        def build(self, input_shape):
            super().build(input_shape)
            self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

    layer = Built()
    layer(np.ones((2, 3)))
    with pytest.raises(ValueError, match="axis -1"):
        layer(np.ones((2, 4)))
    with pytest.raises(ValueError, match="min_ndim=2"):
        Built()(np.ones(3))


def test_a_squeezed_last_axis_and_the_spec_itself():
    spec = InputSpec(shape=(None, 3, 1), allow_last_axis_squeeze=True)
    assert spec.misfit(np.ones((2, 3))) is None
    assert spec.misfit(np.ones((2, 4, 1))) is not None
    assert repr(InputSpec("int32", ndim=2)) == "InputSpec(dtype=int32, ndim=2)"
    assert InputSpec.from_config(InputSpec(ndim=3, axes={1: 2}).get_config()).axes == {1: 2}
    with pytest.raises(TypeError, match="`axes` must be a dict with integer keys"):
        InputSpec(axes={"last": 2})
    with pytest.raises(ValueError, match="Axis 2 is greater than the maximum allowed value: 1"):
        InputSpec(ndim=2, axes={2: 5})


# --- Configs --------------------------------------------------------------------------------------


class Plain(layers.Layer):
    def __init__(self, units, rate=0.5, *, parts=("a", "b"), **kwargs):
        super().__init__(**kwargs)
        self.units, self.rate, self.parts = units, rate, parts


def test_a_layer_without_get_config_has_its_arguments_in_its_config():
    config = Plain(3, parts=["c"], name="mine", dtype="float16").get_config()
    assert (config["units"], config["rate"], config["parts"], config["name"]) == (3, 0.5, ["c"], "mine")
    again = Plain.from_config(json.loads(json.dumps(config)))
    assert (again.units, again.parts, again.name, again.dtype) == (3, ["c"], "mine", "float16")
    assert again.get_config() == config


def test_a_layer_whose_arguments_are_no_data():
    with pytest.raises(NotImplementedError, match="needs a get_config"):
        Plain(np.ones(2)).get_config()

    class Positions(layers.Layer):
        def __init__(self, *sizes):
            super().__init__()

    with pytest.raises(NotImplementedError, match="needs a get_config"):
        Positions(1, 2).get_config()


def test_a_layer_that_takes_no_name():
    class Nameless(layers.Layer):
        def __init__(self, units):
            super().__init__()
            self.units = units

    config = Nameless(3).get_config()
    assert "name" not in config
    with pytest.raises(TypeError, match="Error when deserializing class 'Nameless'"):
        Nameless.from_config(config)  # as in Keras: it takes no `trainable` either


def test_what_a_config_cannot_make_is_a_type_error():
    with pytest.raises(
        TypeError, match=r"Error when deserializing class 'Embedding'.*\n\n.*`input_dim` must be"
    ):
        layers.Embedding.from_config({"input_dim": -1, "output_dim": 2})
    with pytest.raises(TypeError, match="output_dim"):
        layers.Embedding.from_config({"input_dim": 1})


# --- Shapes, own variables ------------------------------------------------------------------------


def test_build_configs():
    layer = layers.Embedding(3, 2)
    assert layer.get_build_config() is None
    layer.build((None, 5))
    assert layer.get_build_config() == {"input_shape": (None, 5)}
    again = layers.Embedding(3, 2)
    again.build_from_config(layer.get_build_config())
    assert again.built
    called = Scale()
    called(np.ones((2, 3)))
    assert called.get_build_config() == {"input_shape": (2, 3)}
    unbuilt = Scale()
    unbuilt.build_from_config(None)
    assert not unbuilt.built


def test_own_variables_are_all_or_nothing():
    layer = layers.Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    for store, error in [
        ({"0": np.zeros((3, 2))}, "expected 2 variables, but received 1"),
        ({"0": np.zeros((3, 2)), "1": np.zeros(3)}, "must match"),
    ]:
        with pytest.raises(ValueError, match=error):
            layer.load_own_variables(store)
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights()))
    store = {}
    layer.save_own_variables(store)
    again = layers.Dense(2)
    with pytest.raises(ValueError, match="was never built"):
        again.load_own_variables(store)
    again.build((None, 3))
    again.load_own_variables(store)
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), before))


def test_own_variables_are_not_those_of_layers_inside():
    class Holder(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Embedding(3, 2, weights=np.ones((3, 2)))
            self.own = self.add_weight(shape=(1,), initializer="zeros")

    store = {}
    Holder().save_own_variables(store)
    assert [value.shape for value in store.values()] == [(1,)]


# --- Copies, losses, masks ------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_keep_everything(copied):
    layer = layers.Embedding(
        3, 2, "ones", "l2", "non_neg", True, activity_regularizer="l1", name="mine", trainable=False
    )
    layer([[1]])
    again = copied(layer)
    assert again.get_config() == layer.get_config()
    assert repr(again) == repr(layer) == "<Embedding name=mine, built=True>"
    assert again.built
    again.set_weights([np.zeros((3, 2))])
    assert (layer([1]) == 1).all()
    with pytest.raises(ValueError, match="already built"):
        again.add_weight()


def test_an_activity_regularizer_of_several_outputs():
    class Two(layers.Layer):
        def call(self, inputs):
            return [inputs, 2 * inputs]

    layer = Two(activity_regularizer=regularizers.L1(1.0))
    layer(np.ones((2, 3)))
    assert [float(loss) for loss in layer.losses] == [3.0, 6.0]


def test_compute_mask_is_that_of_the_input_unless_a_layer_says_otherwise():
    mask = np.array([True, False])
    assert Scale().compute_mask(np.ones((2, 3)), mask) is mask
    assert layers.Embedding(3, 2).compute_mask(np.array([0, 1]), mask) is None
    assert layers.Embedding(3, 2, mask_zero=True).compute_mask([0, 1], mask).tolist() == [False, True]


def test_outputs_carry_no_mask():
    layer = layers.Embedding(3, 2, mask_zero=True)
    rows = layer(np.array([0, 1]))
    assert not hasattr(rows, "_keras_mask")
    assert type(rows) is np.ndarray


def test_names_of_layers_begin_again_in_a_new_session():
    fastembed.backend.clear_session()
    assert [Scale().name, Scale().name] == ["scale", "scale_1"]
    fastembed.backend.clear_session()
    assert Scale().name == "scale"


# --- Layers as configs hold them ------------------------------------------------------------------


def test_serialize_and_deserialize():
    layer = layers.Embedding(3, 2, "ones", name="words")
    layer.build((None, 4))
    written = json.loads(json.dumps(layers.serialize(layer)))
    assert (written["module"], written["class_name"], written["registered_name"]) == (
        "keras.layers", "Embedding", None,
    )  # fmt: skip
    assert written["build_config"] == {"input_shape": [None, 4]}
    again = layers.deserialize(written)
    assert again.built
    assert again.get_config() == layer.get_config()
    assert (again([2]) == 1).all()
    bare = layers.deserialize({"class_name": "Dense", "config": {"units": 3}})
    assert (bare.units, bare.built) == (3, False)


class Mine(layers.Layer):
    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size


def test_a_layer_of_ones_own_is_found_by_name():
    written = layers.serialize(Mine(3, name="mine"))
    assert written["registered_name"] == "Mine"
    with pytest.raises(ValueError, match="Could not interpret layer identifier"):
        layers.deserialize(written)
    assert layers.deserialize(written, {"Mine": Mine}).size == 3
    with fastembed.saving.custom_object_scope({"Mine": Mine}):
        assert layers.deserialize(written).name == "mine"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_name": "LSTM", "config": {"units": 3}}, "Known are Dense, Embedding"),
        ({"class_name": "Embedding", "config": {"input_dim": 0, "output_dim": 1}}, "positive integer"),
        ({"class_name": "Embedding", "config": {"input_dim": 1}}, "output_dim"),
        ({"module": "os", "class_name": "Embedding", "config": {}}, "Could not interpret"),
        (3, "Could not interpret"),
    ],
)
def test_no_such_layer(config, message):
    with pytest.raises(ValueError, match=message):
        layers.deserialize(config)


def test_seed_generators_are_among_the_variables():
    class Noise(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed = fastembed.random.SeedGenerator(3)
            self.own = self.add_weight(shape=(1,), name="own")

    class Holder(layers.Layer):
        def __init__(self):
            super().__init__()
            self.parts = [Noise()]

    holder = Holder()
    own, state = holder.parts[0].own, holder.parts[0].seed.state
    assert holder.weights == holder.trainable_variables == [own]
    assert holder.variables == [own, state]
    assert holder.non_trainable_variables == [state]
    assert holder.non_trainable_weights == []


def test_a_map_of_policies():
    policies = fastembed.dtype_policies.DTypePolicyMap(policy_map={"words": "mixed_float16"})
    words, others = (layers.Embedding(3, 2, dtype=policies, name=name) for name in ("words", "others"))
    assert (words([1]).dtype, words.dtype) == (np.float16, "float32")
    assert others([1]).dtype == np.float32


def test_a_config_of_another_class_is_refused():
    class Mine(layers.Embedding):
        pass

    settings = {"input_dim": 3, "output_dim": 2}
    for name in ("Dense", "Layer", None, ["Embedding"], "embedding"):
        with pytest.raises(TypeError, match=r"Embedding\.from_config\(\) was given the config of a"):
            layers.Embedding.from_config({"class_name": name, "config": settings})
    for name in ("Embedding", "Mine"):
        layer = layers.Embedding.from_config({"class_name": name, "config": settings})
        assert (layer.input_dim, layer.output_dim) == (3, 2)
    assert type(Mine.from_config({"class_name": "Mine", "config": settings})) is Mine

"""What a layer is told, and tells, beside its numbers: inputs, shapes, configs, files, masks."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

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


# --- Inputs in tuples -----------------------------------------------------------------------------


class Columns(NamedTuple):
    words: Any
    weights: Any


def test_a_named_tuple_of_arrays_is_an_input():
    class Weighted(layers.Layer):
        def call(self, inputs):
            assert type(inputs) is Columns
            return inputs.words * inputs.weights

        def backpropagate(self, remembered, upstream):
            inputs, _ = remembered
            assert type(inputs) is Columns
            return Columns(upstream * inputs.weights, upstream * inputs.words)

    layer, inputs = Weighted(), Columns(np.ones(2), np.arange(2.0))
    assert layer(inputs, training=True).dtype == np.float32
    inputs.words[:] = 5  # what backward sees is a copy
    assert layer.backward(np.ones(2)).weights.tolist() == [1, 1]


def test_there_are_no_metrics():
    layer = Scale()
    assert layer.metrics == layer.metrics_variables == []
    with pytest.raises(NotImplementedError, match="gone since Keras 3"):
        layer.add_metric(1.0, name="accuracy")


# --- input_spec -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "fits", "misfit", "message"),
    [
        (InputSpec(ndim=2), (2, 3), (2,), "expected ndim=2, found ndim=1. Full shape received: (2,)"),
        (InputSpec(min_ndim=2), (2, 3), (2,), "expected min_ndim=2, found ndim=1. Full"),
        (InputSpec(max_ndim=2), (2, 3), (2, 3, 4), "expected max_ndim=2, found ndim=3"),
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
        ({"class_name": "LSTM", "config": {"units": 3}}, "Known are .*Dense, .*Embedding"),
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


# --- Subclasses of Embedding ----------------------------------------------------------------------


class OfKeras3(layers.Embedding):
    def build(self, input_shape=None):
        self._embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim), initializer="ones", name="embeddings"
        )
        self.built = True


class OfKeras2(layers.Embedding):
    def build(self, input_shape):
        self.embeddings = self.add_weight("embeddings", (self.input_dim, self.output_dim), initializer="ones")
        self.built = True


class OfKeras1(layers.Embedding):
    def build(self, input_shape):
        self.W = self.add_weight((self.input_dim, self.output_dim), "one", f"{self.name}_W")
        self.built = True


class OwnTable(layers.Embedding):
    def build(self, input_shape):
        self.mine = self.add_weight(shape=(self.input_dim, self.output_dim), initializer="ones")

    def call(self, inputs):
        return fastembed.ops.gather(self.mine, inputs)


@pytest.mark.parametrize(
    ("cls", "era"), [(OfKeras3, "keras3"), (OfKeras2, "tf.keras"), (OfKeras2, "keras2"), (OfKeras1, "keras1")]
)
def test_subclasses_that_build_the_table_themselves(cls, era):
    with fastembed.era(era):
        layer = cls(4, 3)
        given = cls(4, 3, weights=np.full((4, 3), 2.0)) if cls is OfKeras3 else None
    assert (layer(np.array([1, 3])) == 1).all()
    assert len(layer.weights) == 1
    layer.set_weights([np.arange(12.0).reshape(4, 3)])
    assert layer(np.array([3]), training=True).tolist() == [[9, 10, 11]]
    layer.backward(np.ones((1, 3)))
    assert layer.embeddings.gradient.indices.tolist() == [3]
    assert layer._table is not None  # the short way
    assert given is None or given.built


def test_a_subclass_with_a_table_of_its_own():
    layer = OwnTable(4, 3)
    assert (layer(np.array([1, 3])) == 1).all()
    assert [v.shape for v in layer.weights] == [(4, 3)]
    with pytest.raises(RuntimeError, match="defines no backpropagate"):
        layer.backward(np.ones((2, 3)))


def test_what_is_no_variable_is_no_table():
    layer = layers.Embedding(4, 3)
    with pytest.raises(AttributeError, match="a table is a Variable, got ndarray"):
        layer.embeddings = np.ones((4, 3))
    assert not layer.built
    assert (layer([1]) <= 0.05).all()


# --- Gradients of what is overridden --------------------------------------------------------------


class Reversed(layers.Embedding):
    def call(self, inputs):
        return super().call(2 - np.asarray(inputs))


class Doubled(layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


class Said(Reversed):
    def backpropagate(self, remembered, upstream):
        ids, *rest = remembered
        return super().backpropagate((2 - ids, *rest), upstream)


class Counting(layers.Embedding):
    def call(self, inputs):
        self.calls = getattr(self, "calls", 0) + 1
        return super().call(inputs)

    backpropagate = layers.Embedding.backpropagate  # it looks up what its base does


@pytest.mark.parametrize("make", [lambda: Reversed(3, 1), lambda: Doubled(1)])
def test_a_call_of_ones_own_has_a_gradient_of_its_own(make):
    layer = make()
    inputs = np.array([[0, 1]])
    outputs = layer(inputs, training=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated"):
        layer.backward(np.ones(outputs.shape))
    assert all(v.gradient is None for v in layer.weights)


def test_one_that_says_its_gradient():
    layer = Said(3, 1)
    layer([0], training=True)
    layer.backward(np.ones((1, 1)))
    assert layer.embeddings.gradient.indices.tolist() == [2]
    counting = Counting(3, 1)
    counting([0], training=True)
    counting.backward(np.ones((1, 1)))
    assert counting.calls == 1
    assert counting.embeddings.gradient.indices.tolist() == [0]


def test_lists_reach_layers_of_ones_own_as_arrays():
    class Look(layers.Layer):
        def call(self, inputs):
            return inputs

    assert Look()([[1, 2], [3, 4]]).dtype == np.int64
    assert Look()([1.0]).dtype == np.float32
    assert Look()(["a"]) == ["a"]
    with pytest.raises(ValueError, match="inhomogeneous"):
        Look()([[1], [2, 3]])


# --- Threads --------------------------------------------------------------------------------------


class Nest(layers.Layer):
    def __init__(self, depth=3):
        super().__init__()
        self.words = layers.Embedding(5, 2)
        self.deeper = [Nest(depth - 1)] if depth else []

    def build(self, input_shape):
        self.own = self.add_weight(shape=(2,), initializer="ones")
        self.more = {"x": fastembed.Variable(np.ones(2))}

    def call(self, inputs):
        rows = self.words(inputs) * self.own.value
        return sum((each(inputs) for each in self.deeper), rows)


def test_threads_share_new_layers_inside_layers():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(60):
                layer = Nest()
                results = list(
                    pool.map(lambda each: (each([1]), each.get_weights(), each.losses), [layer] * 4)
                )
                assert all(np.array_equal(rows, results[0][0]) for rows, _, _ in results)
                assert len(layer.weights) == 4 * 3
                assert len(layer._own_weights()) == 2
    finally:
        sys.setswitchinterval(interval)


def test_a_build_that_fails_takes_nothing_away_meanwhile():
    class Failing(layers.Layer):
        def build(self, input_shape):
            self.weight = self.add_weight(shape=(1,))
            raise ValueError("not yet")

        def call(self, inputs):
            return inputs

    layer, stop, seen = Failing(name="here"), threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                assert (layer.name, layer.dtype, layer.built) == ("here", "float32", False)
            except Exception as error:
                seen.append(error)
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(2000):
            with pytest.raises(ValueError, match="not yet"):
                layer(np.ones(1))
    finally:
        stop.set()
        reader.join()
        sys.setswitchinterval(interval)
    assert seen == []
    assert layer.weights == []
    assert not hasattr(layer, "weight")


FORKED = """
import os, sys, threading
import numpy as np
import fastembed
from fastembed import layers, recording

class Slow(layers.Layer):
    def call(self, inputs):
        inside.set()
        go.wait()
        return inputs

long = []

class Watched(layers.Embedding):
    def _call(self, *args, **kwargs):
        long.append(1)
        return super()._call(*args, **kwargs)

def long_ways(calls=3):
    before = len(long)
    for _ in range(calls):
        watched(ids)
    return len(long) - before

def in_child(check):
    child = os.fork()
    if child == 0:
        os._exit(check())
    return os.waitpid(child, 0)[1]

watched, ids = Watched(5, 2), np.array([1, 2])
long_ways()
assert long_ways() == 0
inside, go = threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: Slow()(np.ones(1), training=True))
thread.start()
inside.wait()
assert long_ways() == 3
print("beside a call:", in_child(lambda: long_ways()))

def child_inside():
    seen = [long_ways()]  # still recorded ...
    for _ in range(3):
        watched.backward(np.ones((2, 2)))
    context.__exit__(None, None, None)
    return 0 if [*seen, long_ways()] == [3, 0] else 1  # ... until the forking thread leaves, too

context = recording()
context.__enter__()
print("inside a context of its own:", in_child(child_inside))
context.__exit__(None, None, None)
print("in a thread that is in none:", in_child(lambda: long_ways()))
go.set()
thread.join()
print("in the parent:", long_ways())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_takes_the_short_way_whatever_other_threads_were_in():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert [line.rpartition(": ")[2] for line in done.stdout.splitlines()] == ["0"] * 4, done


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


def test_variables_are_what_they_are_under_a_mixed_policy():
    class Look(Scale):
        def call(self, inputs):
            return (
                inputs.dtype,
                self.scale.dtype,
                (inputs * self.scale.value.astype(self.compute_dtype)).dtype,
            )

    seen = Look(dtype="mixed_float16")(np.ones((2, 3), np.float32))
    assert seen == (np.float16, "float32", np.float16)

"""Classes and functions of the user's own in configs. That it is done as in Keras is in
test_objects_against_keras.py."""

from __future__ import annotations

import json
import sys
import threading

import numpy as np
import pytest

from fastembed import constraints, initializers, layers, regularizers, saving, utils
from fastembed.saving import (
    CustomObjectScope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)


@pytest.fixture(autouse=True)
def _nothing_stays_registered():
    before = dict(get_custom_objects())
    yield
    get_custom_objects().clear()
    get_custom_objects().update(before)


class Sevens(initializers.Initializer):
    def __init__(self, inner=None):
        self.inner = initializers.get(inner)

    def __call__(self, shape, dtype=None):
        return np.full(shape, 7, dtype)

    def get_config(self):
        return {"inner": initializers.serialize(self.inner)}


def sevens(shape, dtype=None):
    return np.full(shape, 7, dtype)


def test_a_layer_with_objects_of_the_user_s_own():
    register_keras_serializable("mine")(Sevens)
    layer = layers.Embedding(3, 2, Sevens("ones"), name="x")
    config = json.loads(json.dumps(layer.get_config()))
    assert config["embeddings_initializer"]["registered_name"] == "mine>Sevens"
    again = layers.Embedding.from_config(config)
    assert type(again.embeddings_initializer) is Sevens
    assert type(again.embeddings_initializer.inner) is initializers.Ones
    assert again.get_config() == layer.get_config()


def test_what_an_own_object_is_made_of_is_found_too():
    config = initializers.serialize(Sevens(Sevens(sevens)))
    with pytest.raises(ValueError, match="register_keras_serializable"):
        initializers.deserialize(config)
    made = initializers.deserialize(config, {"Sevens": Sevens, "sevens": sevens})
    assert made.inner.inner is sevens
    with CustomObjectScope({"Sevens": Sevens}, {"sevens": sevens}):
        assert initializers.get(config).inner.inner is sevens
        assert initializers.get("sevens") is sevens
        assert type(initializers.get("Sevens")) is Sevens
    assert get_registered_object("Sevens") is None


@pytest.mark.parametrize("name", ["sevens", "mine>sevens"])
def test_functions_that_keras_before_3_7_wrote_without_their_package(name):
    register_keras_serializable("mine")(sevens)
    config = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
    assert initializers.get(config) is sevens
    assert initializers.serialize(sevens) == {**config, "config": "mine>sevens"}
    with pytest.raises(ValueError):
        initializers.get({**config, "config": "evens"})


def test_a_scope_is_that_of_its_thread_and_ends_with_an_error():
    seen = []

    def look():
        seen.append(get_registered_object("sevens"))

    def fail():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        look()
        raise RuntimeError

    scope = CustomObjectScope({"sevens": sevens})
    with pytest.raises(RuntimeError), scope, scope:
        fail()
    look()
    assert seen == [None, sevens, None]


def test_what_is_registered_is_so_in_every_thread():
    def register(number):
        register_keras_serializable("thread", str(number))(lambda: number)

    threads = [threading.Thread(target=register, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [get_registered_object(f"thread>{n}")() for n in range(32)] == list(range(32))


def test_a_class_that_nobody_could_write_down_is_refused():
    before = dict(get_custom_objects())
    with pytest.raises(ValueError, match="get_config"):
        register_keras_serializable()(dict)
    assert get_custom_objects() == before


def test_the_names_are_those_of_keras_saving_and_keras_utils():
    for name in ("CustomObjectScope", "custom_object_scope", "get_custom_objects", "get_registered_name",
                 "get_registered_object", "register_keras_serializable", "serialize_keras_object",
                 "deserialize_keras_object"):  # fmt: skip
        assert getattr(utils, name) is getattr(saving, name)


HOSTILE = [
    {"module": "os", "class_name": "system", "config": {"command": "x"}, "registered_name": "system"},
    {"module": "antigravity", "class_name": "Zeros", "config": {}, "registered_name": "Zeros"},
    {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
    {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": "a>Zeros"},
    {"module": None, "class_name": "Zeros", "config": {}, "registered_name": "Zeros"},
    {"class_name": "__lambda__", "config": {"value": ["4wAAAAA=", None, None]}},
    {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "O"}},
    {"class_name": "__numpy__", "config": {"value": [1, [2]], "dtype": "int32"}},
    {"class_name": "__numpy__", "config": None},
    {"class_name": "__bytes__", "config": {"value": 3}},
    {"class_name": "__slice__", "config": {}},
    {"class_name": ["Zeros"], "config": {}},
    {"class_name": None, "config": {}},
    {"class_name": "Zeros", "config": [1]},
    {"class_name": "Zeros", "config": {"value": 1}},
]


@pytest.mark.parametrize("config", HOSTILE, ids=repr)
@pytest.mark.parametrize("safe_mode", [True, False])
def test_a_config_is_data(config, safe_mode):
    for read in (initializers.get, regularizers.get, constraints.get):
        with pytest.raises(ValueError):
            read(config)
    with pytest.raises(ValueError):
        deserialize_keras_object([{"a": config}], safe_mode=safe_mode)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("module", ["keras.layers", "keras.regularizers", "tensorflow.python.ops"])
def test_a_class_is_looked_for_in_the_module_that_the_config_names(module):
    config = {"module": module, "class_name": "Zeros", "config": {}, "registered_name": None}
    with pytest.raises(ValueError, match="Could not interpret object identifier"):
        deserialize_keras_object(config)
    for home in ("keras", "keras.initializers", "tf_keras.src.initializers"):
        assert type(deserialize_keras_object({**config, "module": home})) is initializers.Zeros


@pytest.mark.parametrize("thing", [object(), lambda: 0, print, dict, {1}, layers.Embedding])
def test_what_cannot_be_written_down(thing):
    with pytest.raises(TypeError, match="cannot be written"):
        serialize_keras_object([thing])


def test_arrays():
    array = np.arange(6, dtype="int16").reshape(2, 3)
    written = json.loads(
        json.dumps(serialize_keras_object({"a": array, "b": np.float32(0.5), "c": np.array(2)}))
    )
    again = deserialize_keras_object(written)
    np.testing.assert_array_equal(again["a"], array, strict=True)
    assert (again["b"], again["c"]) == (0.5, 2)
    bfloat16 = {"class_name": "__tensor__", "config": {"value": [1.5], "dtype": "bfloat16"}}
    np.testing.assert_array_equal(deserialize_keras_object(bfloat16), np.float32([1.5]), strict=True)


# --- Whatever is wrong with a config --------------------------------------------------------------


def deep(levels, inner=None):
    for _ in range(levels):
        inner = {"class_name": "Sevens", "config": {"inner": inner}}
    return inner


class Broken(initializers.Initializer):
    def __init__(self, error=None):
        raise {"key": KeyError, "index": IndexError, "zero": ZeroDivisionError, "name": AttributeError}[error]


BUILT = {"class_name": "Dense", "config": {"units": 3}}


@pytest.mark.parametrize(
    "read",
    [
        lambda: deserialize_keras_object(numpy_of([10**19], "int8")),
        lambda: deserialize_keras_object(numpy_of([1, {}], "float32")),
        lambda: deserialize_keras_object({"class_name": "__bytes__", "config": {"value": "\ud800"}}),
        lambda: deserialize_keras_object(deep(100_000)),
        lambda: deserialize_keras_object(nested_lists(100_000)),
        lambda: initializers.get(deep(100_000)),
        lambda: initializers.deserialize(deep(5_000), {"Sevens": Sevens}),
        lambda: initializers.get({"class_name": "X", "config": {}, "registered_name": deep(100_000)}),
        lambda: regularizers.get({"class_name": deep(100_000), "config": {}}),
        lambda: layers.deserialize({**BUILT, "build_config": {"input_shape": 3}}),
        lambda: layers.deserialize({**BUILT, "build_config": {"input_shape": []}}),
        lambda: layers.deserialize({**BUILT, "build_config": {"input_shape": [None, "x"]}}),
        lambda: layers.deserialize({**BUILT, "build_config": {"shapes_dict": 3}}),
        lambda: layers.deserialize({**BUILT, "build_config": {"shapes_dict": {"x": 3}}}),
        *(
            lambda word=word: initializers.deserialize(
                {"class_name": "Broken", "config": {"error": word}}, {"Broken": Broken}
            )
            for word in ("key", "index", "zero", "name", "unknown")
        ),
        lambda: constraints.get({"class_name": "MaxNorm", "config": {"max_value": {}, "axis": {}}}),
    ],
)
def test_whatever_is_wrong_with_a_config_is_a_value_error(read):
    with pytest.raises(ValueError) as caught:
        read()
    assert not isinstance(caught.value, UnicodeError)
    assert len(str(caught.value)) < 5000


def numpy_of(value, dtype):
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}}


def nested_lists(levels):
    inner = []
    for _ in range(levels):
        inner = [inner]
    return inner

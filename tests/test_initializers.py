"""Initializers: Keras's values bit for bit, and its names and configs of every era."""

import copy
import importlib.util
import json
import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest

import fastembed
from fastembed import dtypes, initializers, layers

# Each is evaluated in fastembed.initializers and in keras.initializers.
EXPRESSIONS = [
    "RandomUniform(seed=1337)",
    "RandomUniform(minval=-2, maxval=3.5, seed=0)",
    "RandomNormal(seed=7)",
    "RandomNormal(1.0, 2.0, 7)",
    "TruncatedNormal(seed=7)",
    "TruncatedNormal(mean=-1, stddev=3, seed=2**32 - 1)",
    "VarianceScaling(seed=3)",
    "VarianceScaling(2, 'fan_out', 'normal', 3)",
    "VarianceScaling(0.5, 'fan_avg', 'untruncated_normal', 3)",
    "VarianceScaling(0.5, 'fan_out', 'Uniform', 3, input_axes=[0], output_axes=[1, 2])",
    "GlorotUniform(seed=5)",
    "GlorotNormal(seed=5)",
    "HeUniform(seed=5)",
    "HeNormal(seed=5, input_axes=[1], output_axes=[0])",
    "LecunUniform(seed=5)",
    "LecunNormal(seed=5)",
    "glorot_uniform(5)",
    "Orthogonal(seed=5)",
    "Orthogonal(gain=0.5, seed=5)",
    "Zeros()",
    "Ones()",
    "Constant(1.5)",
    "Constant(3)",
]
SHAPES = [(4, 3), (3, 4), (2, 3, 4), (300, 500)]  # the last is more than two blocks
DTYPES = ["float16", "float32", "float64"]

CONFIGS = [*EXPRESSIONS, "RandomUniform()", "VarianceScaling()", "HeNormal()"]  # seedless configs have a null

ASK_KERAS = """
import json, sys
import numpy as np
from keras import initializers

def values(expression, shape, dtype):
    made = eval(expression, vars(initializers))(tuple(shape), dtype)
    return [str(made.dtype), np.asarray(made).tobytes().hex()]

asked = json.load(sys.stdin)
json.dump({
    "values": [values(*case) for case in asked["values"]],
    "configs": [initializers.serialize(eval(e, vars(initializers))) for e in asked["configs"]],
}, sys.stdout)
"""


def make(expression):
    return eval(expression, vars(initializers))


def cases():
    for expression in EXPRESSIONS:
        for shape in SHAPES:
            for dtype in DTYPES:
                if "Orthogonal" in expression and dtype != "float32":
                    continue  # Keras fails on float16 and answers float64 with float32
                if "axes" in expression and len(shape) < 3:
                    continue
                yield expression, shape, dtype


@pytest.fixture(scope="module")
def keras():
    """What real Keras says on its numpy backend, in another process: this one may need another backend."""
    if not importlib.util.find_spec("keras"):
        pytest.skip("real Keras is not installed")
    asked = {"values": list(cases()), "configs": CONFIGS}
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK_KERAS],
        input=json.dumps(asked),
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout)


def test_values_are_those_of_keras_bit_for_bit(keras):
    for (expression, shape, dtype), (keras_dtype, keras_bytes) in zip(cases(), keras["values"]):
        made = make(expression)(shape, dtype)
        assert (made.shape, str(made.dtype)) == (shape, keras_dtype)
        assert made.tobytes().hex() == keras_bytes, (expression, shape, dtype)


def test_configs_are_those_of_keras_in_its_order(keras):
    for expression, config in zip(CONFIGS, keras["configs"]):
        assert json.dumps(initializers.serialize(make(expression))) == json.dumps(config)


def test_golden_values():
    """Keras 3.15.1 on its numpy backend, so that a run without Keras checks the stream too."""
    made = initializers.get("uniform").from_config({"seed": 1337})((2, 3))
    expected = "dcde1a3d c9ce00bd 9d662c3d d3e9363d 0566193d 4b641dbd"  # little-endian float32
    np.testing.assert_array_equal(made, np.frombuffer(bytes.fromhex(expected), "<f4").reshape(2, 3))


@pytest.mark.parametrize(
    "expression", ["RandomUniform(seed=1)", "RandomNormal(seed=1)", "TruncatedNormal(seed=1)"]
)
@pytest.mark.parametrize("block", [1, 7, 12, 1000])
def test_the_size_of_a_block_does_not_show(expression, block, monkeypatch):
    expected = make(expression)((4, 3))
    monkeypatch.setattr(fastembed.random, "_BLOCK", block)
    np.testing.assert_array_equal(make(expression)((4, 3)), expected)


@pytest.mark.parametrize("seed", [None, 3])
def test_an_initializer_returns_the_same_values_each_time(seed):
    initializer = initializers.RandomUniform(seed=seed)
    np.testing.assert_array_equal(initializer((5,)), initializer((5,)))


def test_python_s_seed_makes_unseeded_initializers_repeatable():
    state = random.getstate()
    try:
        random.seed(1)
        first, second = initializers.GlorotUniform(), initializers.GlorotUniform()
        random.seed(1)
        again = initializers.GlorotUniform()
    finally:
        random.setstate(state)
    np.testing.assert_array_equal(first((5, 5)), again((5, 5)))
    assert not np.array_equal(first((5, 5)), second((5, 5)))


def test_clone_keeps_a_seed_and_draws_a_missing_one_anew():
    seeded = initializers.RandomNormal(seed=4)
    np.testing.assert_array_equal(seeded.clone()((5,)), seeded((5,)))
    assert initializers.RandomNormal().clone().get_config()["seed"] is None


@pytest.mark.parametrize("seed", [np.int64(4), np.uint8(4), 2**32 + 4])
def test_any_integer_is_a_seed(seed):
    np.testing.assert_array_equal(
        initializers.RandomUniform(seed=seed)((3,)), initializers.RandomUniform(seed=4)((3,))
    )
    json.dumps(initializers.serialize(initializers.RandomUniform(np.float32(0), np.int64(1), seed)))


@pytest.mark.parametrize("shape", [(), (1,), (0, 4), 3, [2, 3], (np.int64(2), 3), np.array([2, 3])])
@pytest.mark.parametrize("name", ["uniform", "truncated_normal", "he_normal", "zeros", "ones", "constant"])
def test_shapes(name, shape):
    made = initializers.get(name)(shape)
    assert made.shape == ((3,) if isinstance(shape, int) else tuple(shape))
    assert made.dtype == np.float32
    assert made.flags.writeable


def test_fans():
    assert initializers.compute_fans((3, 3, 8, 16), input_axes=[2], output_axes=[0, 3]) == (8, 48)
    # Without both, the axes count for nothing, as in Keras.
    assert initializers.compute_fans((1000, 64), input_axes=[1]) == (1000, 64)


def test_orthogonal_in_double_precision_is_orthogonal_to_that_precision():
    made = initializers.Orthogonal(seed=1)((6, 4), "float64")
    np.testing.assert_allclose(made.T @ made, np.eye(4), atol=1e-15)


def test_orthogonal_in_half_precision_is_computed_in_single():
    made = initializers.Orthogonal(seed=1)((6, 4), "float16")
    np.testing.assert_array_equal(
        made, initializers.Orthogonal(seed=1)((6, 4)).astype("float16"), strict=True
    )


def test_bfloat16_makes_float32_values_for_others_to_narrow():
    expected = initializers.RandomUniform(seed=1)((3,), "float32")
    np.testing.assert_array_equal(initializers.RandomUniform(seed=1)((3,), "bfloat16"), expected, strict=True)


def test_the_default_dtype_is_the_backend_s(monkeypatch):
    monkeypatch.setattr(dtypes, "_floatx", "float64")
    assert initializers.Zeros()((2,)).dtype == np.float64


@pytest.mark.parametrize("dtype", ["O", "U3", "complex64", "M8[s]"])
def test_only_numbers_are_made(dtype):
    with pytest.raises(ValueError, match="Invalid dtype"):
        initializers.Zeros()((2,), dtype)


@pytest.mark.parametrize(
    "expression",
    [
        "RandomUniform(seed='a')",
        "RandomUniform(seed=1.5)",
        "RandomUniform(seed={'class_name': 'Zeros', 'config': {}})",
        "RandomUniform(seed={'class_name': 'SeedGenerator', 'config': {'seed': 'a'}})",
        "RandomUniform(seed={'seed': 3})",
        "RandomUniform(minval='low')",
        "RandomNormal(stddev=float('nan'))",  # would draw for ever
        "TruncatedNormal(mean=float('inf'))",
        "VarianceScaling(scale=0)",
        "VarianceScaling(scale=float('nan'))",
        "VarianceScaling(mode='fan')",
        "VarianceScaling(distribution='cauchy')",
        "VarianceScaling(distribution=5)",
        "Identity(gain=None)",
        "Identity()((2,))",
        "Identity()((2, 2, 2))",
        "Orthogonal()((2,))",
        "Zeros()((2, None))",
        "Zeros()(2.5)",
        "Constant([1, 2, 3])((2,))",
        "Constant([1, 2, 3])(())",
    ],
)
def test_what_cannot_be_made_is_a_value_error(expression):
    with pytest.raises(ValueError):
        make(expression)


# --- Names ---

NAMES = {
    "RandomUniform": "RandomUniform random_uniform uniform RandomUniformV2 random_uniformV2",
    "RandomNormal": "RandomNormal random_normal normal RandomNormalV2",
    "TruncatedNormal": "TruncatedNormal truncated_normal TruncatedNormalV2",
    "VarianceScaling": "VarianceScaling variance_scaling VarianceScalingV2",
    "GlorotUniform": "GlorotUniform glorot_uniform GlorotUniformV2 glorot_uniformV2",
    "GlorotNormal": "GlorotNormal glorot_normal glorot_normalV2",
    "HeUniform": "HeUniform he_uniform he_uniformV2",
    "HeNormal": "HeNormal he_normal he_normalV2",
    "LecunUniform": "LecunUniform lecun_uniform lecun_uniformV2",
    "LecunNormal": "LecunNormal lecun_normal lecun_normalV2",
    "Zeros": "Zeros zeros zero ZerosV2",
    "Ones": "Ones ones one OnesV2",
    "Constant": "Constant constant ConstantV2",
    "Identity": "Identity identity IdentityInitializer",
    "Orthogonal": "Orthogonal orthogonal OrthogonalInitializer OrthogonalV2",
}


@pytest.mark.parametrize(
    ("cls", "name"), [(cls, name) for cls, names in NAMES.items() for name in names.split()]
)
def test_names(cls, name):
    cls = getattr(initializers, cls)
    assert type(initializers.get(name)) is cls
    assert type(initializers.deserialize({"class_name": name, "config": {}})) is cls
    if not name.endswith("V2"):
        assert getattr(initializers, name) is cls  # legacy code calls initializers.glorot_uniform(seed=1)


@pytest.mark.parametrize(
    "config",
    [
        # Keras 2 and tf.keras; TensorFlow 1.13 to 2.0 add a dtype.
        {"class_name": "RandomUniform", "config": {"minval": -0.05, "maxval": 0.05, "seed": None}},
        {
            "class_name": "RandomUniform",
            "config": {"minval": -0.05, "maxval": 0.05, "seed": None, "dtype": "float32"},
        },
        # 2.11, then Keras 3.
        {
            "module": "keras.initializers.initializers_v2",
            "class_name": "RandomUniform",
            "config": {"minval": -0.05, "maxval": 0.05, "seed": None},
            "registered_name": "RandomUniform",
        },
        {
            "module": "keras.initializers",
            "class_name": "RandomUniform",
            "config": {"seed": None, "minval": -0.05, "maxval": 0.05},
            "registered_name": None,
        },
        {"class_name": "RandomUniform", "config": None},
        {"class_name": "RandomUniform"},
        {"name": "RandomUniform"},
        "uniform",
    ],
)
def test_configs_of_every_era(config):
    expected = {"seed": None, "minval": -0.05, "maxval": 0.05}
    assert initializers.get(config).get_config() == expected
    assert initializers.deserialize(config).get_config() == expected


@pytest.mark.parametrize("expression", [*CONFIGS, "Identity(gain=3)", "Constant([[1, 2], [3, 4]])"])
def test_a_config_survives_json(expression):
    initializer = make(expression)
    config = initializers.serialize(initializer)
    again = initializers.get(json.loads(json.dumps(config)))
    assert type(again) is type(initializer)
    assert initializers.serialize(again) == config
    assert repr(again) == repr(initializer)


@pytest.mark.parametrize("tag", ["__numpy__", "__tensor__"])
def test_a_constant_matrix_from_a_keras_config(tag):
    settings = {"value": [[1.0, 2.0]], "dtype": "float32"}
    config = {"class_name": "Constant", "config": {"value": {"class_name": tag, "config": settings}}}
    made = initializers.get(config)
    np.testing.assert_array_equal(made((3, 2)), [[1, 2]] * 3)
    again = initializers.serialize(made)["config"]
    assert again == {"value": {"class_name": "__numpy__", "config": settings}}


def test_none_is_none():
    assert initializers.get(None) is initializers.deserialize(None) is initializers.serialize(None) is None


def test_classes_instances_and_functions():
    ones = initializers.Ones()

    def mine(shape, dtype=None):
        return np.full(shape, 9, dtype)

    assert initializers.get(ones) is ones
    assert type(initializers.get(initializers.Ones)) is initializers.Ones
    assert initializers.get(mine) is mine


def test_an_array_is_its_own_initializer():
    matrix = np.arange(6, dtype="float32").reshape(2, 3)
    initializer = initializers.get(matrix)
    made = initializer((2, 3), "float32")
    assert np.shares_memory(made, matrix)
    assert not made.flags.writeable
    assert matrix.flags.writeable
    np.testing.assert_array_equal(initializer([2, 3], "float64"), matrix.astype("float64"), strict=True)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), but the variable needs \(3, 2\)"):
        initializer((3, 2))
    assert initializers.get(np.float32(2))(()) == 2


@pytest.mark.parametrize(
    "identifier",
    [
        "Uniform",
        "initializer",
        "Initializer",
        "_Random",
        "",
        5,
        [1, 2],
        int,
        {},
        {"class_name": "Gaussian", "config": {}},
        {"class_name": ["Zeros"], "config": {}},
        {"class_name": "Zeros", "config": [1]},
        {"class_name": "Zeros", "config": {"scale": 1}},
        {"class_name": "RandomUniform", "config": {"minval": {"a": 1}}},
        {"class_name": "TruncatedNormal", "config": {"stddev": float("nan")}},
        {"class_name": "Constant", "config": {"value": {"class_name": "__lambda__", "config": {}}}},
        {
            "class_name": "Constant",
            "config": {"value": {"class_name": "__numpy__", "config": {"dtype": "O"}}},
        },
        {"class_name": "__lambda__", "config": {"value": ["4wAAAAA=", None, None]}},
        {"module": "builtins", "class_name": "function", "config": "zeros", "registered_name": "function"},
        # A user's class that happens to be called like one of Keras's is not Keras's.
        {"module": "antigravity", "class_name": "Zeros", "config": {}, "registered_name": "Zeros"},
        {"module": None, "class_name": "Zeros", "config": {}, "registered_name": "Custom>Zeros"},
        {"module": 5, "class_name": "Zeros", "config": {}},
    ],
)
def test_what_is_not_understood_is_a_value_error_and_nothing_is_imported(identifier):
    with pytest.raises(ValueError) as error:
        initializers.get(identifier)
    assert len(str(error.value)) < 1000
    assert "antigravity" not in sys.modules


def test_the_error_shows_what_was_received_and_what_is_known():
    with pytest.raises(
        ValueError, match=r"identifier: 'glorot'\. Known are Constant, GlorotNormal, .*custom_objects"
    ):
        initializers.get("glorot")


# --- Objects of the user's own ---


class Sevens(initializers.Initializer):
    def __init__(self, times=1):
        self.times = times

    def __call__(self, shape, dtype=None):
        return np.full(shape, 7 * self.times, dtype)

    def get_config(self):
        return {"times": self.times}


def sevens(shape, dtype=None):
    return Sevens()(shape, dtype)


def test_a_class_of_the_user_s_own_travels_by_its_name():
    config = initializers.serialize(Sevens(3))
    assert config == {
        "module": __name__,
        "class_name": "Sevens",
        "config": {"times": 3},
        "registered_name": "Sevens",
    }
    with pytest.raises(ValueError, match="Could not interpret"):
        initializers.deserialize(config)
    assert initializers.deserialize(config, {"Sevens": Sevens}).times == 3
    registered = {**config, "registered_name": "my_package>Sevens"}
    assert initializers.deserialize(registered, {"my_package>Sevens": Sevens}).times == 3


def test_a_subclass_is_not_written_as_the_class_it_extends():
    class Zeros(initializers.Zeros):
        pass

    assert initializers.serialize(Zeros())["module"] == __name__


def test_a_function_of_the_user_s_own_travels_by_its_name():
    config = initializers.serialize(sevens)
    assert config == {
        "module": "builtins",
        "class_name": "function",
        "config": "sevens",
        "registered_name": "function",
    }
    assert initializers.deserialize(config, {"sevens": sevens}) is sevens


@pytest.mark.parametrize("thing", [lambda shape, dtype=None: np.zeros(shape), object(), print])
def test_what_cannot_be_written_down_is_a_type_error(thing):
    with pytest.raises(TypeError, match="neither a function with a name"):
        initializers.serialize(thing)


def test_the_base_class_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="Initializer does not define __call__"):
        initializers.Initializer()((2,))


def test_an_array_in_the_place_of_an_initializer_can_be_pickled():
    values = np.arange(6.0).reshape(3, 2)
    written = initializers.serialize(initializers.get(values))
    assert written == {
        "module": "builtins",
        "class_name": "function",
        "config": "initialize_fn",
        "registered_name": "function",
    }
    layer = layers.Embedding(3, 2, embeddings_initializer=values)
    for again in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        np.testing.assert_array_equal(again(np.arange(3)), values.astype("f4"))
        assert again.get_config() == layer.get_config()
        assert again.get_config()["embeddings_initializer"] == written

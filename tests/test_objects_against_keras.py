"""What layers are given, against real Keras 3: dtype policies, initializers, regularizers, constraints.

Programs run by both libraries, as in test_against_keras.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_against_keras import FLOATS, agree, agree_to_raise, keras, make, outcome

import fastembed.config
import fastembed.mixed_precision

__all__ = ["keras"]  # the fixture


# --- Dtype policies -------------------------------------------------------------------------------

SOURCES = [*FLOATS, "mixed_float16", "mixed_bfloat16"]
MODES = ["int8", "int4", "int4/1", "int4/7", "int4/128", "int4/-1"]
policy_names = st.one_of(
    st.sampled_from(SOURCES),
    st.tuples(st.sampled_from(MODES), st.sampled_from(SOURCES)).map("_from_".join),
    # Some that are policies and some that are not.
    st.tuples(
        st.sampled_from(["mixed", "int8", "int4", "int4/0", "int4/x", "int8/8", "int7", ""]),
        st.sampled_from(["_", "_from_", ""]),
        st.sampled_from([*SOURCES, "int8", "float99", ""]),
    ).map("".join),
)


def described(library, policy):
    """All that can be seen of a policy; of a refused one the error's class."""
    module = library.dtype_policies
    config = module.serialize(policy)
    again = module.deserialize(config)
    return [
        repr(policy), policy.name, policy.variable_dtype, policy.compute_dtype, policy.quantization_mode,
        config, policy.get_config(), repr(again), again == policy, type(policy).__name__,
        type(policy).from_config(policy.get_config()) == policy, policy == module.DTypePolicy("float32"),
    ]  # fmt: skip


def policy_called(library, name):
    try:
        policy = library.dtype_policies.get(name)
    except ValueError:
        return "refused"
    return described(library, policy)


@given(name=policy_names)
def test_policies(keras, name):
    if name in ("int8", "int4"):
        return  # plain dtypes here, as in tf.keras; see below
    agree(keras, policy_called, name)


def policy_made(library, expression):
    return described(library, make(library, expression))


@pytest.mark.parametrize(
    "expression",
    [
        "dtype_policies.DTypePolicy()",
        "dtype_policies.DTypePolicy('int32')",
        "dtype_policies.DTypePolicy('bool')",
        "dtype_policies.QuantizedDTypePolicy('int8')",
        "dtype_policies.QuantizedDTypePolicy('int4', source_name='mixed_float16')",
        "dtype_policies.Int4DTypePolicy('int4/32', 'bfloat16')",
        "dtype_policies.get(np.float16)",
        "dtype_policies.get(np.dtype('float64'))",
        "dtype_policies.get(float)",
        "dtype_policies.get({'class_name': 'DTypePolicy', 'config': None})",
        "dtype_policies.get({'class_name': 'FloatDTypePolicy', 'config': {'name': 'bfloat16'}}) and "
        "dtype_policies.get('bfloat16')",
        "layers.Embedding(3, 2, dtype=dtype_policies.get('mixed_bfloat16')).dtype_policy",
    ],
)
def test_policies_that_are_made(keras, expression):
    agree(keras, policy_made, expression)


def policy_map(library, default, names, paths):
    policies = library.dtype_policies.DTypePolicyMap(default and library.dtype_policies.get(default))
    for key, name in names.items():
        policies[key] = name
    found = []
    for path in paths:
        try:
            found.append(policies[path].name)
        except ValueError:
            found.append("several")
    seen = policies.name, policies.variable_dtype, policies.compute_dtype, policies.quantization_mode
    described = repr(policies).partition(" default_policy=")[2], library.dtype_policies.serialize(policies)
    again = library.dtype_policies.deserialize(described[1])
    # Without a default Keras reads "int4/8_from_None"; see test_policies_where_we_differ.
    read = [(key, policy.name) for key, policy in again.items() if default]
    return found, seen, len(policies), list(policies), described, read


keys = st.sampled_from(["a", "a/b", "a/.*", ".*", "a/b/c", "b", "[ab]/c"])


@given(
    default=st.sampled_from([*SOURCES, "int8_from_float32", None]),
    names=st.dictionaries(keys, st.sampled_from([*SOURCES, "int4/8_from_float32"])),
    paths=st.lists(st.sampled_from(["a", "a/b", "a/c", "b", "b/c", "", "x"]), max_size=4),
)
def test_policy_maps(keras, default, names, paths):
    agree(keras, policy_map, default, names, paths)


def set_policy(library, names):
    api, seen = library.dtype_policies, []
    set_one = library.mixed_precision.set_dtype_policy
    try:
        for name in names:
            set_one(name)
            layer = library.layers.Embedding(3, 2, name="x")
            seen += [library.mixed_precision.dtype_policy().name, layer.get_config()["dtype"]]
            seen += [layer.compute_dtype, api.get(None) is library.mixed_precision.dtype_policy()]
    finally:
        set_one(None if library is fastembed else "float32")
    return seen


@given(names=st.lists(st.sampled_from(SOURCES), max_size=3))
def test_the_policy_that_is_set(keras, names):
    agree(keras, set_policy, names)


def attempt(library, expression):
    make(library, expression)


@pytest.mark.parametrize(
    "expression",
    [
        "dtype_policies.DTypePolicy(3)",
        "dtype_policies.DTypePolicy(np.float32)",
        "dtype_policies.DTypePolicy('int8_from_float32')",
        "dtype_policies.QuantizedDTypePolicy('int9', 'float32')",
        "dtype_policies.QuantizedDTypePolicy('int8', 'float16')",
        "dtype_policies.QuantizedDTypePolicy('int4/8', 'float32')",
        "dtype_policies.Int4DTypePolicy('int4', 'float32')",
        "dtype_policies.Int4DTypePolicy('int4/-3', 'float32')",
        "dtype_policies.DTypePolicyMap(dtype_policies.DTypePolicyMap())",
        "dtype_policies.DTypePolicyMap(policy_map=3)",
        "dtype_policies.DTypePolicyMap().__setitem__('a', 'float99')",
        "dtype_policies.DTypePolicyMap().__delitem__('a')",
        "dtype_policies.get(3)",
        "dtype_policies.get({})",
        "mixed_precision.set_dtype_policy('float99')",
        "mixed_precision.set_dtype_policy(3)",
    ],
)
def test_policies_that_are_refused(keras, expression):
    agree_to_raise(keras, attempt, expression)


def value_of(library, expression):
    return make(library, expression)


@pytest.mark.parametrize(
    ("expression", "ours", "theirs"),
    [
        ("dtype_policies.get('int8').name", "int8", "ValueError"),  # "cannot convert into a valid pair"
        ("dtype_policies.get({'class_name': 'Policy', 'config': {'name': 'float16'}}).name", "float16",
         "AttributeError"),
        ("dtype_policies.get({'class_name': 'Other', 'config': {}})", "ValueError", "Other"),
        ("dtype_policies.get('float8_from_float32').name", "ValueError", "float8_from_float32"),
        ("dtype_policies.get('string').name", "ValueError", "string"),
        ("dtype_policies.Int4DTypePolicy('int4/8').name", "int4/8_from_float32", "int4/8_from_None"),
        ("hash(dtype_policies.get('float16')) == hash(dtype_policies.get('float16'))", True, "TypeError"),
        ("dtype_policies.serialize(dtype_policies.FloatDTypePolicy('float16'))['class_name']",
         "DTypePolicy", "FloatDTypePolicy"),
        ("[m.get_config() and m['a'].name for m in [dtype_policies.DTypePolicyMap(None, "
         "{'a': dtype_policies.get('float16')})]]", ["float16"], [None]),
        ("[mixed_precision.dtype_policy() and config.set_floatx('float16') or dtype_policies.get(None).name, "
         "config.set_floatx('float32')][0]", "float16", "float32"),
    ],
)  # fmt: skip
def test_policies_where_we_differ(keras, expression, ours, theirs):
    for answer, expected in ((outcome(value_of, fastembed, expression), ours),
                             (keras(value_of, expression), theirs)):  # fmt: skip
        assert getattr(answer, "name", answer) == expected


# --- Initializers ---------------------------------------------------------------------------------

small = st.floats(-4, 4, width=32)
seeds = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 3))
axes = st.lists(st.integers(-2, 1), max_size=2)


def settings(draw, **strategies):
    """A config with some of these keys, so that defaults are drawn too."""
    return {key: draw(values) for key, values in strategies.items() if draw(st.booleans())}


@st.composite
def initializer_configs(draw, seed=seeds):
    """Class and settings, with a seed."""
    name = draw(st.sampled_from([
        "RandomUniform", "RandomNormal", "TruncatedNormal", "VarianceScaling", "GlorotUniform",
        "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal", "Orthogonal", "Zeros", "Ones",
        "Constant", "Identity", "STFT",
    ]))  # fmt: skip
    config = {}
    if name == "RandomUniform":
        low, high = sorted([draw(small), draw(small)])
        config = settings(draw, minval=st.sampled_from([-4.5, low]), maxval=st.sampled_from([4.5, high]))
    elif name in ("RandomNormal", "TruncatedNormal"):
        config = settings(draw, mean=small, stddev=st.sampled_from([0.0, 1e-3, 1.0, 30]))
    elif name == "VarianceScaling":
        config = settings(
            draw,
            scale=st.sampled_from([0.1, 1, 2.5]),
            mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
            distribution=st.sampled_from(["uniform", "normal", "truncated_normal", "untruncated_normal", "NORMAL"]),
        )
    elif name == "Orthogonal":
        config = settings(draw, gain=st.sampled_from([1, 0.5, -2.0]))
    elif name == "Constant":
        config = {"value": draw(st.one_of(small, st.integers(-3, 3), st.booleans()))}
    elif name == "STFT":
        config = settings(
            draw,
            side=st.sampled_from(["real", "imag"]),
            window=st.sampled_from(["hann", "hamming", "boxcar", None, [1.0, 0.5, 0.25, 2.0]]),
            scaling=st.sampled_from([None, "density", "spectrum"]),
            periodic=st.booleans(),
        )
    if name[:2] in ("Va", "Gl", "He", "Le"):
        config |= settings(draw, input_axes=st.none() | axes, output_axes=st.none() | axes)
    if name not in ("Zeros", "Ones", "Constant", "Identity", "STFT"):
        config["seed"] = draw(seed)
    return name, config


@st.composite
def drawn(draw):
    name, config = draw(initializer_configs())
    sides = st.integers(0, 5)
    shape = draw({
        "Orthogonal": st.lists(st.integers(1, 5), min_size=2, max_size=4),
        "Identity": st.lists(sides, min_size=2, max_size=2),
        "STFT": st.tuples(st.sampled_from([1, 4, 9]), st.just(1), st.integers(2, 6)),
    }.get(name, st.lists(sides, min_size=2 if "input_axes" in config else 0, max_size=4)))  # fmt: skip
    dtypes = [*FLOATS, "int32", "uint8", "bool"]
    if name == "Orthogonal":
        dtypes = ["float32"]  # Keras fails on float16 and answers float64 with float32
    elif name == "STFT":
        dtypes = ["float32", "float64"]
    elif name in ("Constant", "Identity"):
        dtypes = FLOATS  # Keras cuts 1.5 to 1; see below
    elif name in ("RandomNormal", "TruncatedNormal", "VarianceScaling") or "Normal" in name:
        dtypes = [*FLOATS, "int32", "bool"]  # what a negative number is in uint8, C does not say
    return name, config, tuple(shape), draw(st.sampled_from(dtypes))


def made_by_initializer(library, name, config, shape, dtype, calls=1):
    """Values, config, and values of what the config makes; bfloat16 as what a variable holds of it."""
    initializer = getattr(library.initializers, name)(**config)
    serialized = library.initializers.serialize(initializer)
    again = library.initializers.deserialize(serialized)
    try:
        values = [
            np.asarray(library.Variable(x, shape=shape, dtype=dtype).numpy()).astype("float32")
            if dtype == "bfloat16"
            else np.asarray(x(shape, dtype))
            for x in (initializer,) * calls + (again,) * calls
        ]
    except ValueError:
        values = "refused"
    if name == "Identity":
        return values  # Keras leaves out the gain; see test_initializers_where_we_differ
    return values, serialized, library.initializers.serialize(again)


@given(case=drawn())
def test_initializers(keras, case):
    agree(keras, made_by_initializer, *case)

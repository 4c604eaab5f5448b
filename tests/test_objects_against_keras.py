"""What layers are given, against real Keras 3: dtype policies, initializers, regularizers, constraints.

Programs run by both libraries, as in test_against_keras.py.
"""

from __future__ import annotations

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

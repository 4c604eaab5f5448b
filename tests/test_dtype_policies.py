"""Dtype policies: their names, dtypes, configs; the one that is set; and the same of real Keras 3."""

from __future__ import annotations

import builtins
import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastembed import backend, dtype_policies, layers, mixed_precision
from fastembed.dtype_policies import (
    DTypePolicy,
    DTypePolicyMap,
    Int4DTypePolicy,
    QuantizedDTypePolicy,
    get,
    serialize,
    set_dtype_policy,
)

FLOATS = ["float16", "bfloat16", "float32", "float64"]
PLAIN = [*FLOATS, "mixed_float16", "mixed_bfloat16"]
QUANTISED = [
    f"{mode}_from_{source}"
    for mode in ("int8", "int4", "int4/1", "int4/128", "int4/-1")
    for source in PLAIN
    if (mode, source.removeprefix("mixed_")) != ("int8", "float16")
]


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    set_dtype_policy(None)
    backend.set_floatx("float32")


@pytest.mark.parametrize("name", PLAIN)
def test_dtypes_of_plain_policies(name):
    policy = get(name)
    assert type(policy) is DTypePolicy
    assert policy.name == name
    assert policy.compute_dtype == name.removeprefix("mixed_")
    assert policy.variable_dtype == ("float32" if "mixed" in name else name)
    assert (policy.quantization_mode, policy.block_size) == (None, None)
    assert repr(policy) == f'<DTypePolicy "{name}">'


@pytest.mark.parametrize("name", QUANTISED)
def test_dtypes_of_quantised_policies(name):
    policy, (mode, source) = get(name), name.split("_from_")
    assert policy.name == name
    assert policy.source_name == source
    assert policy.quantization_mode == mode[:4]
    assert policy.block_size == (int(mode[5:]) if "/" in mode else None)
    assert type(policy) is (Int4DTypePolicy if "/" in mode else QuantizedDTypePolicy)
    assert policy == type(policy)(mode, source)
    plain = get(source)
    assert (policy.variable_dtype, policy.compute_dtype) == (plain.variable_dtype, plain.compute_dtype)


@given(name=st.sampled_from([*PLAIN, *QUANTISED, "int32", "bool"]))
def test_every_policy_travels(name):
    policy = get(name)
    config = json.loads(json.dumps(serialize(policy)))
    for other in (get(config), copy.deepcopy(policy), pickle.loads(pickle.dumps(policy)), get(policy)):
        assert other == policy
        assert hash(other) == hash(policy)
        assert repr(other) == repr(policy)
        assert other.get_config() == policy.get_config()


@given(names=st.tuples(*[st.sampled_from([*PLAIN, *QUANTISED])] * 2))
def test_equal_policies_have_equal_names(names):
    one, other = map(get, names)
    assert (one == other) == (names[0] == names[1])


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (None, "float32"),
        ("mixed_float16", "mixed_float16"),
        (np.float16, "float16"),
        (np.dtype("float64"), "float64"),
        (float, "float32"),
        (bool, "bool"),
        ({"class_name": "DTypePolicy", "config": {"name": "bfloat16"}}, "bfloat16"),
        ({"class_name": "FloatDTypePolicy", "config": {"name": "float16"}}, "float16"),
        ({"class_name": "DTypePolicy", "config": None}, "float32"),
        ({"class_name": "Policy", "config": {"name": "mixed_float16"}}, "mixed_float16"),
        (
            {
                "module": "keras.mixed_precision",
                "class_name": "Policy",
                "config": {"name": "mixed_bfloat16"},
                "registered_name": None,
            },
            "mixed_bfloat16",
        ),
        (
            {
                "class_name": "PolicyV1",
                "config": {"name": "mixed_float16", "loss_scale": {"class_name": "DynamicLossScale"}},
            },
            "mixed_float16",
        ),
        (
            {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8", "source_name": "float32"}},
            "int8_from_float32",
        ),
        (
            {"class_name": "Int4DTypePolicy", "config": {"mode": "int4/64", "source_name": None}},
            "int4/64_from_float32",
        ),
    ],
)
def test_the_forms_of_every_era(written, name):
    assert get(written).name == name
    assert layers.Layer(dtype=written).dtype_policy == get(name)


class Torch:
    """How a dtype of torch looks, where torch is not installed."""

    def __repr__(self):
        return "torch.float16"


def test_dtypes_of_other_libraries():
    assert get(Torch()).name == "float16"
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert get(ml_dtypes.bfloat16).name == get(np.dtype(ml_dtypes.bfloat16)).name == "bfloat16"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("mixed_int8", "'mixed_float16'"),
        ("mixed_float64", "'mixed_float16'"),
        ("mixed_", "'mixed_float16'"),
        ("", "'mixed_float16'"),
        ("FLOAT32", "'mixed_float16'"),
        ("float8_from_float32", "no Embedding"),
        ("gptq/4/128_from_float32", "no Embedding"),
        ("awq/4/128_from_float32", "no Embedding"),
        ("int8/3_from_float32", "Int4DTypePolicy"),
        ("int8_from_float16", "bfloat16"),
        ("int8_from_mixed_float16", "bfloat16"),
        ("int8_from_int8_from_float32", "int8_from_float32"),
        ("int8_from_", "int8_from_float32"),
        ("_from_float32", "int8"),
        ("int4/0_from_float32", "positive"),
        ("int4/-2_from_float32", "positive"),
        ("int4/x_from_float32", "positive"),
        ("int4/_from_float32", "positive"),
        ("int4/1/2_from_float32", "positive"),
        (3, "dtype"),
        (3.0, "dtype"),
        (True, "dtype"),
        ([1], "dtype"),
        (object(), "dtype"),
        ({}, "Known are"),
        ({"class_name": "Unheard", "config": {}}, "Known are"),
        ({"class_name": ["DTypePolicy"], "config": {}}, "Known are"),
        ({"class_name": "DTypePolicy", "config": ["float32"]}, "Known are"),
        ({"class_name": "DTypePolicy", "config": {"nme": "float32"}}, "nme"),
        ({"class_name": "DTypePolicy", "config": {"name": 3}}, "string"),
        ({"class_name": "Int4DTypePolicy", "config": {"mode": 4}}, "positive"),
        ({"class_name": "QuantizedDTypePolicy", "config": {"mode": ["int8"]}}, "int8"),
        ({"class_name": "QuantizedDTypePolicy", "config": {}}, "mode"),
        ({"class_name": "DTypePolicyMap", "config": {"policy_map": {"(": "float16"}}}, "expression"),
        ({"class_name": "DTypePolicyMap", "config": {"policy_map": ["float16"]}}, "dict"),
    ],
    ids=repr,
)
def test_what_is_no_policy(bad, says):
    with pytest.raises(ValueError, match=says):
        get(bad)


@pytest.mark.parametrize("bad", [np.float32, 3, b"float32"])
def test_a_name_is_a_string(bad):
    with pytest.raises(TypeError, match="string"):
        DTypePolicy(bad)


def test_bfloat16_needs_ml_dtypes(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ml_dtypes":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in ("bfloat16", "mixed_bfloat16", "int8_from_bfloat16", "int4/8_from_mixed_bfloat16"):
        with pytest.raises(ValueError, match="pip install ml_dtypes"):
            get(name)


class TestTheOneThatIsSet:
    def test_layers_that_name_none_take_it(self):
        set_dtype_policy("mixed_float16")
        assert dtype_policies.dtype_policy() is layers.Layer().dtype_policy
        assert layers.Embedding(3, 2).compute_dtype == "float16"
        assert layers.Embedding(3, 2, dtype="float64").compute_dtype == "float64"
        assert DTypePolicy().name == QuantizedDTypePolicy("int4").source_name == "mixed_float16"

    def test_without_one_it_is_floatx(self):
        backend.set_floatx("float16")
        assert layers.Layer().dtype_policy == dtype_policies.dtype_policy() == get("float16")

    def test_a_bad_one_changes_nothing(self):
        set_dtype_policy("float64")
        for bad in ("float99", 3, object()):
            with pytest.raises(ValueError):
                set_dtype_policy(bad)
        assert dtype_policies.dtype_policy().name == "float64"

    def test_it_is_that_of_every_thread(self):
        from threading import Thread

        seen = []
        set_dtype_policy("float16")
        thread = Thread(target=lambda: seen.append(layers.Layer().dtype_policy.name))
        thread.start()
        thread.join()
        assert seen == ["float16"]

    def test_the_names_of_tf_keras(self):
        mixed_precision.set_global_policy(mixed_precision.Policy("mixed_bfloat16"))
        assert mixed_precision.global_policy().name == dtype_policies.dtype_policy().name == "mixed_bfloat16"


class TestMap:
    def test_a_path_then_an_expression_then_the_default(self):
        policies = DTypePolicyMap("float32", {"a/b": "float64", "a/.*": "float16"})
        names = [policies.of(path).name for path in ("a/b", "a/c", "a", "b/a/c")]
        assert names == ["float64", "float16", "float32", "float32"]
        assert (policies.name, policies.compute_dtype, policies.quantization_mode) == (
            "map_float32",
            "float32",
            None,
        )
        policies["a/c+"] = "bfloat16"
        with pytest.raises(ValueError, match="several keys"):
            policies["a/c"]

    def test_a_mapping(self):
        policies = DTypePolicyMap()
        policies["x"] = "int8_from_float32"
        assert list(policies.items()) == [("x", get("int8_from_float32"))]
        assert ("x" in policies, "y" in policies, len(policies)) == (True, False, 1)
        for wrong, value in (("x", "float16"), ("y", "float99"), ("(", "float16"), (3, "float16")):
            with pytest.raises(ValueError):
                policies[wrong] = value
        assert policies.pop("x") == get("int8_from_float32")
        assert len(policies) == 0
        with pytest.raises(KeyError):
            del policies["x"]
        with pytest.raises(ValueError, match="cannot be"):
            DTypePolicyMap(DTypePolicyMap())
        with pytest.raises(TypeError, match="dict"):
            DTypePolicyMap(policy_map=[])

    def test_configs(self):
        given = {"a": get("int4/8_from_float16"), "b": get("mixed_float16")}
        for default in ("float16", get("float16")):
            policies = DTypePolicyMap(default, dict(given))
            again = get(json.loads(json.dumps(serialize(policies))))
            assert dict(again) == given
            assert again.default_policy == policies.default_policy

    def test_without_a_default_the_reader_s_policy_counts(self):
        policies = DTypePolicyMap(policy_map={"a": get("int4/8_from_float32"), "b": get("float32")})
        config = serialize(policies)
        assert policies["b"].name == "float32"  # Keras 3 takes the name from it
        set_dtype_policy("float16")
        again = get(config)
        assert {key: policy.name for key, policy in again.items()} == {
            "a": "int4/8_from_float16",
            "b": "float16",
        }
        assert again.default_policy.name == "float16"

"""Constraints: Keras's projections, and its names and configs of every era."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastembed import constraints, dtypes

# Each is evaluated in fastembed.constraints and in keras.constraints.
EXPRESSIONS = [
    "MaxNorm()",
    "MaxNorm(1.5, axis=1)",
    "max_norm(max_value=0.5, axis=[0, 1])",
    "NonNeg()",
    "UnitNorm()",
    "UnitNorm(axis=1)",
    "MinMaxNorm()",
    "MinMaxNorm(min_value=1.5, max_value=2.0, rate=0.25, axis=1)",
]
DTYPES = ["float16", "float32", "float64"]
VALUES = np.random.default_rng(0).normal(size=(7, 5))
VALUES[2] = 0
VALUES[4] *= 0.1

ASK_KERAS = """
import json, sys
import numpy as np
from keras import constraints

asked = json.load(sys.stdin)
made = [eval(expression, vars(constraints)) for expression in asked["expressions"]]
json.dump({
    "results": [[c(np.array(asked["w"], dtype)).tolist() for dtype in asked["dtypes"]] for c in made],
    "configs": [constraints.serialize(c) for c in made],
}, sys.stdout)
"""


def make(expression):
    return eval(expression, vars(constraints))


@pytest.fixture(scope="module")
def keras():
    """What real Keras says on its numpy backend, in another process: this one may need another backend."""
    if not importlib.util.find_spec("keras"):
        pytest.skip("real Keras is not installed")
    asked = {"expressions": EXPRESSIONS, "dtypes": DTYPES, "w": VALUES.tolist()}
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK_KERAS],
        input=json.dumps(asked),
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout)


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_are_those_of_keras(keras, dtype):
    for expression, results in zip(EXPRESSIONS, keras["results"]):
        made = make(expression)(VALUES.astype(dtype))
        assert made.dtype == dtype
        expected = np.array(results[DTYPES.index(dtype)])
        if dtype == "float16":
            expected[2] = 0  # MinMaxNorm makes it NaN in Keras, where 0.375 / 1e-7 is infinite
        # Keras computes halves in half precision, and doubles in single.
        rtol = 4 * np.finfo("float32" if dtype == "float64" else dtype).eps
        np.testing.assert_allclose(made, expected, rtol=rtol, err_msg=f"{expression} {dtype}")


def test_configs_are_those_of_keras(keras):
    for expression, config in zip(EXPRESSIONS, keras["configs"]):
        assert json.dumps(constraints.serialize(make(expression))) == json.dumps(config)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_values_given_are_not_changed(expression):
    w = VALUES.copy()
    made = make(expression)(w)
    assert not np.shares_memory(made, w)
    np.testing.assert_array_equal(w, VALUES)


def test_axis_1_is_for_the_rows_of_a_table_and_axis_0_for_its_columns():
    table = np.array([[3.0, 0.0], [4.0, 1.0]])
    np.testing.assert_allclose(
        constraints.MaxNorm(2, axis=1)(table), [[2, 0], table[1] * 2 / 17**0.5], rtol=1e-6
    )
    np.testing.assert_allclose(constraints.MaxNorm(2, axis=0)(table), [[1.2, 0], [1.6, 1]], rtol=1e-6)
    np.testing.assert_allclose(constraints.UnitNorm(axis=None)(table), table / 26**0.5, rtol=1e-6)


def test_epsilon_is_the_backend_s(monkeypatch):
    monkeypatch.setattr(dtypes, "_epsilon", 1.0)
    np.testing.assert_allclose(constraints.UnitNorm(axis=1)(np.array([[3.0, 4.0]])), [[0.5, 4 / 6]])


def test_a_row_of_zeros_stays():
    for expression in EXPRESSIONS:
        np.testing.assert_array_equal(make(expression)(np.zeros((2, 3))), np.zeros((2, 3)))


def test_half_precision_is_computed_in_single():
    w = np.full((4, 1), 300, "float16")  # 300 squared is more than float16 holds
    np.testing.assert_array_equal(constraints.UnitNorm()(w), np.full((4, 1), 0.5, "float16"), strict=True)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    w = np.array([[3], [-4]], ml_dtypes.bfloat16)
    assert constraints.UnitNorm()(w).dtype == constraints.NonNeg()(w).dtype == w.dtype
    np.testing.assert_allclose(constraints.UnitNorm()(w).astype("float32"), [[0.6], [-0.8]], rtol=1e-2)


def test_empty_tables():
    for expression in EXPRESSIONS:
        assert make(expression)(np.ones((0, 3), "float32")).shape == (0, 3)


# --- Names and configs ---


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        *[("MaxNorm", name) for name in ("MaxNorm", "max_norm", "maxnorm")],
        *[("NonNeg", name) for name in ("NonNeg", "non_neg", "nonneg")],
        *[("UnitNorm", name) for name in ("UnitNorm", "unit_norm", "unitnorm")],
        *[("MinMaxNorm", name) for name in ("MinMaxNorm", "min_max_norm")],
    ],
)
def test_names(cls, name):
    cls = getattr(constraints, cls)
    assert type(constraints.get(name)) is type(constraints.get({"class_name": name, "config": {}})) is cls
    assert getattr(constraints, name) is cls


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # Keras 1
        ({"name": "MaxNorm", "m": 3, "axis": 1}, "MaxNorm(max_value=3, axis=1)"),
        ({"name": "NonNeg"}, "NonNeg()"),
        ({"name": "UnitNorm", "axis": 1}, "UnitNorm(axis=1)"),
        (
            {"name": "MinMaxNorm", "low": 0.5, "high": 2, "rate": 0.1, "axis": 1},
            "MinMaxNorm(min_value=0.5, max_value=2, rate=0.1, axis=1)",
        ),
        # Keras 2
        (
            {"class_name": "MaxNorm", "config": {"max_value": 3, "axis": [0, 1]}},
            "MaxNorm(max_value=3, axis=[0, 1])",
        ),
        # Keras 3
        (
            {"module": "keras.constraints", "class_name": "NonNeg", "config": {}, "registered_name": None},
            "NonNeg()",
        ),
    ],
)
def test_configs_of_every_era(config, expected):
    assert repr(constraints.get(config)) == repr(constraints.deserialize(config)) == expected


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_config_survives_json(expression):
    config = constraints.serialize(make(expression))
    assert constraints.serialize(constraints.get(json.loads(json.dumps(config)))) == config


@pytest.mark.parametrize(
    "identifier",
    [
        "max",
        "Constraint",
        "constraint",
        2,
        {"name": "Unknown"},
        {"class_name": "MaxNorm", "config": {"norm": 2}},
    ],
)
def test_what_is_not_understood_is_a_value_error(identifier):
    with pytest.raises(ValueError):
        constraints.get(identifier)


def test_objects_of_the_user_s_own():
    class AtMost(constraints.Constraint):
        def __init__(self, m=1):  # Keras 1's key of MaxNorm is only MaxNorm's
            self.m = m

        def get_config(self):
            return {"m": self.m}

    config = constraints.serialize(AtMost(5))
    assert constraints.deserialize(config, {"AtMost": AtMost}).m == 5
    assert constraints.get(np.abs) is np.abs
    w = np.ones(3)
    assert constraints.Constraint()(w) is w


def test_none_is_none():
    assert constraints.get(None) is constraints.deserialize(None) is constraints.serialize(None) is None


@pytest.mark.parametrize("bad", [{}, None, "2", [1, 2], np.ones(2), 1j, object()], ids=repr)
def test_bounds_are_numbers(bad):
    makers = [
        lambda: constraints.MinMaxNorm(rate=bad),
        lambda: constraints.MaxNorm(bad),
        lambda: constraints.MinMaxNorm(bad),
        lambda: constraints.MinMaxNorm(0, bad),
    ]
    for make in makers:
        with pytest.raises(ValueError, match=r"`(max_value|min_value|rate)` must be a number"):
            make()


@pytest.mark.parametrize("bad", [{}, "0", 1.5, [0, None], [[0]], np.ones(2)], ids=repr)
def test_axes_are_integers(bad):
    for kind in (constraints.MaxNorm, constraints.MinMaxNorm, constraints.UnitNorm):
        with pytest.raises(ValueError, match="`axis` must be an integer, several of them or None"):
            kind(axis=bad)


def test_numbers_of_numpy_can_be_written_down():
    made = constraints.MaxNorm(np.float32(1.5), axis=[np.int64(0), 1])
    assert json.loads(json.dumps(made.get_config())) == {"max_value": 1.5, "axis": [0, 1]}
    assert constraints.MinMaxNorm(max_value=np.inf, axis=(0, 1)).get_config()["axis"] == (0, 1)
    assert constraints.UnitNorm(None).axis is None

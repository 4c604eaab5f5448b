"""Regularizers: Keras's penalties, derivatives that fit them, and the names that changed their meaning."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastembed import regularizers

# Each is evaluated in fastembed.regularizers and in keras.regularizers.
EXPRESSIONS = [
    "L1()",
    "L1(0.3)",
    "l1(None)",
    "L2()",
    "L2(l2=0.3)",
    "l2(2)",
    "L1L2()",
    "L1L2(0.1)",
    "L1L2(l1=0.1, l2=0.7)",
    "OrthogonalRegularizer()",
    "OrthogonalRegularizer(factor=0.5)",
]
DTYPES = ["float16", "float32", "float64"]
VALUES = np.random.default_rng(0).normal(size=(7, 5))
VALUES[2] = 0

ASK_KERAS = """
import json, sys
import numpy as np
from keras import regularizers

asked = json.load(sys.stdin)
made = [eval(expression, vars(regularizers)) for expression in asked["expressions"]]
json.dump({
    "penalties": [[float(r(np.array(asked["x"], dtype))) for dtype in asked["dtypes"]] for r in made],
    "configs": [regularizers.serialize(r) for r in made],
}, sys.stdout)
"""


def make(expression):
    return eval(expression, vars(regularizers))


@pytest.fixture(scope="module")
def keras():
    """What real Keras says on its numpy backend, in another process: this one may need another backend."""
    if not importlib.util.find_spec("keras"):
        pytest.skip("real Keras is not installed")
    asked = {"expressions": EXPRESSIONS, "dtypes": DTYPES, "x": VALUES.tolist()}
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK_KERAS],
        input=json.dumps(asked),
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout)


def test_penalties_are_those_of_keras(keras):
    for expression, penalties in zip(EXPRESSIONS, keras["penalties"]):
        for dtype, expected in zip(DTYPES, penalties):
            penalty = make(expression)(VALUES.astype(dtype))
            assert penalty.dtype == dtype
            assert penalty.shape == ()
            # Keras adds up halves in half precision, and rounds the factor for doubles to single.
            rtol = 8 * np.finfo("float32" if dtype == "float64" else dtype).eps
            np.testing.assert_allclose(float(penalty), expected, rtol=rtol, err_msg=f"{expression} {dtype}")


def test_configs_are_those_of_keras(keras):
    for expression, config in zip(EXPRESSIONS, keras["configs"]):
        assert json.dumps(regularizers.serialize(make(expression))) == json.dumps(config)


# --- Derivatives ---

matrices = hnp.arrays(
    "float64",
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-4, 4).map(lambda v: v or 1),
)


def central_differences(penalty, x, step=1e-6):
    """The derivative of penalty(x) for each value of x, to about 1e-9."""
    slope = np.empty_like(x)
    for place in np.ndindex(x.shape):
        change = np.zeros_like(x)
        change[place] = step
        slope[place] = (penalty(x + change) - penalty(x - change)) / (2 * step)
    return slope


@pytest.mark.parametrize("expression", ["L1(0.3)", "L2(0.3)", "L1L2(0.2, 0.5)"])
@given(x=matrices)
def test_gradient_is_the_derivative(expression, x):
    x = np.where(np.abs(x) < 1e-3, 1.0, x)  # abs has no derivative near 0 that a difference could find
    regularizer = make(expression)
    np.testing.assert_allclose(regularizer.gradient(x), central_differences(regularizer, x), atol=1e-6)


@pytest.mark.parametrize("mode", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (1, 3), (3, 1), (2, 2)])
def test_gradient_of_the_orthogonal_regularizer(mode, shape):
    regularizer = regularizers.OrthogonalRegularizer(0.5, mode)
    x = np.random.default_rng(1).normal(size=shape)
    np.testing.assert_allclose(regularizer.gradient(x), central_differences(regularizer, x), atol=1e-7)


def test_gradient_of_l1_at_zero_is_zero():
    x = np.array([0.0, -0.0, 2.0])
    np.testing.assert_array_equal(regularizers.L1(1).gradient(x), [0, 0, 1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_gradient_has_the_shape_and_dtype_of_the_values(expression, dtype):
    x = VALUES.astype(dtype)
    gradient = make(expression).gradient(x)
    assert (gradient.shape, gradient.dtype) == (x.shape, x.dtype)
    assert not np.shares_memory(gradient, x)
    np.testing.assert_array_equal(x, VALUES.astype(dtype))


def test_half_precision_is_summed_in_single():
    x = np.full(4, 300, "float16")  # 300 squared is more than float16 holds
    assert regularizers.L2(0.01)(x) == 3600
    assert regularizers.L2(0.01).gradient(x)[0] == 6


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.array([1, -2], ml_dtypes.bfloat16)
    assert regularizers.L2(0.5)(x) == 2.5
    assert regularizers.L2(0.5)(x).dtype == regularizers.L2(0.5).gradient(x).dtype == x.dtype


@pytest.mark.parametrize("x", [[1, -2], np.array([1, -2], "int32"), [1.0, -2.0]])
def test_lists_and_integers_count_as_floats(x):
    assert regularizers.L2(0.5)(x) == 2.5


def test_orthogonal_regularizer_where_keras_has_no_answer():
    x = VALUES[:4]
    by_columns = regularizers.OrthogonalRegularizer(mode="columns")
    by_rows = regularizers.OrthogonalRegularizer(mode="rows")
    assert by_columns(x) == by_rows(x.T)
    assert by_rows(x[:1]) == 0  # no pair
    assert not by_rows.gradient(x)[2].any()  # the row of zeros
    with pytest.raises(ValueError, match="rank 2"):
        by_rows(np.ones(3))


def eigenvalue_of_keras1(k, x):
    """As Keras 1.2.2 has it, in doubles."""
    c = x.T @ x
    v = np.linalg.matrix_power(c, 9) @ np.ones(len(c))
    return k * np.sqrt((c @ v) @ v / (v @ v))


@example(x=np.array([[-3.5, 1.0], [1.0, -3.5]]), scale=1e-3)
@given(x=matrices, scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_the_eigenvalue_regularizer(x, scale):
    x = np.where(np.abs(x) < 1e-3, 1.0, x) * scale  # Keras 1's powers leave the range of numbers
    regularizer = regularizers.EigenvalueRegularizer(0.5)
    c = x.T @ x / np.trace(x.T @ x)
    if np.abs(np.linalg.matrix_power(c, 9) @ np.ones(len(c))).max() < 1e-6:
        return  # ones are almost orthogonal to all that is there: a matter of rounding
    penalty = regularizer(x)
    np.testing.assert_allclose(penalty, eigenvalue_of_keras1(0.5, x), rtol=1e-6)
    assert penalty <= 0.5 * np.linalg.norm(x, 2) * (1 + 1e-9)
    # A small step: where ones are an eigenvector, nine powers turn a step into one 10^4 times as long.
    slopes = central_differences(regularizer, x, 1e-7 * scale)
    np.testing.assert_allclose(regularizer.gradient(x), slopes, rtol=1e-3, atol=1e-4)


def test_the_eigenvalue_regularizer_at_its_limits():
    regularizer = regularizers.EigenvalueRegularizer(2)
    for x in (np.zeros((3, 2)), np.zeros((0, 2)), np.zeros((2, 0)), np.array([[1.0, -1.0]])):  # ones @ C = 0
        assert regularizer(x) == 0
        np.testing.assert_array_equal(regularizer.gradient(x), np.zeros(x.shape))
    large = np.full((4, 300), 1e8, "float32")  # C**9 has left the range of doubles
    np.testing.assert_allclose(regularizer(large), 2 * np.linalg.norm(large.astype(float), 2), rtol=1e-5)
    assert regularizer(large).dtype == regularizer.gradient(large).dtype == np.float32
    with pytest.raises(ValueError, match="rank 2"):
        regularizer(np.ones(3))


# --- Names and configs ---


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf"), "0.1", [0.1], 1j])
@pytest.mark.parametrize(
    "expression", ["L1(bad)", "L2(bad)", "L1L2(bad, 0)", "L1L2(0, bad)", "OrthogonalRegularizer(bad)"]
)
def test_factors_are_finite_and_not_negative(expression, bad):
    with pytest.raises(ValueError, match="expected a non-negative float"):
        eval(expression, {**vars(regularizers), "bad": bad})


def test_the_mode_is_checked():
    with pytest.raises(ValueError, match="'rows' or 'columns'"):
        regularizers.OrthogonalRegularizer(mode="diagonal")


@pytest.mark.parametrize("factor", [np.float32(0.5), np.float64(0.5), np.int64(2)])
def test_numpy_numbers_are_factors(factor):
    json.dumps(regularizers.serialize(regularizers.L1L2(factor, factor)))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("l1", {"l1": 0.009999999776482582}),
        ("L1", {"l1": 0.009999999776482582}),
        ("l2", {"l2": 0.01}),
        ("L2", {"l2": 0.01}),
        ("activity_l2", {"l2": 0.01}),
        ("l1_l2", {"l1": 0.01, "l2": 0.01}),
        ("l1l2", {"l1": 0.01, "l2": 0.01}),
        ("L1L2", {"l1": 0.01, "l2": 0.01}),
        ("activity_l1l2", {"l1": 0.01, "l2": 0.01}),
        ("orthogonal_regularizer", {"factor": 0.009999999776482582, "mode": "rows"}),
        ("OrthogonalRegularizer", {"factor": 0.009999999776482582, "mode": "rows"}),
    ],
)
def test_no_name_means_a_penalty_of_zero(name, config):
    assert regularizers.get(name).get_config() == config
    assert regularizers.get(name)(np.ones((2, 2))) > 0


def test_the_class_alone_has_no_penalty_as_in_keras():
    assert regularizers.L1L2()(np.ones(2)) == regularizers.get(regularizers.L1L2)(np.ones(2)) == 0
    assert regularizers.get({"class_name": "L1L2", "config": {}})(np.ones(2)) == 0


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.5}, "L1L2(l1=0.0, l2=0.5)"),  # Keras 1
        ({"name": "EigenvalueRegularizer", "k": 0.5}, "EigenvalueRegularizer(k=0.5)"),
        ({"name": "WeightRegularizer", "l1": 0.25, "l2": 0.0}, "L1L2(l1=0.25, l2=0.0)"),
        ({"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}}, "L1L2(l1=0.0, l2=0.5)"),  # Keras 2
        ({"class_name": "L2", "config": {"l2": 0.5}}, "L2(l2=0.5)"),
        ({"class_name": "l1_l2", "config": {"l2": 0.5}}, "L1L2(l1=0.01, l2=0.5)"),
        (
            {
                "module": "keras.regularizers",
                "class_name": "L1",
                "config": {"l1": 0.5},
                "registered_name": None,
            },
            "L1(l1=0.5)",
        ),
    ],
)
def test_configs_of_every_era(config, expected):
    assert repr(regularizers.get(config)) == repr(regularizers.deserialize(config)) == expected


def test_keras_2_names_of_arguments_and_functions():
    assert repr(regularizers.l1(l=0.5)) == "L1(l1=0.5)"
    assert repr(regularizers.l2(l=0.5)) == "L2(l2=0.5)"
    assert repr(regularizers.l1_l2(l1=0.5)) == "L1L2(l1=0.5, l2=0.01)"
    assert repr(regularizers.WeightRegularizer(l2=0.5)) == "L1L2(l1=0.0, l2=0.5)"


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_config_survives_json(expression):
    config = regularizers.serialize(make(expression))
    assert regularizers.serialize(regularizers.get(json.loads(json.dumps(config)))) == config


@pytest.mark.parametrize(
    "identifier",
    [
        "L3",
        "Regularizer",
        "regularizer",
        0.01,
        {"l1": 0.1},
        {"name": "EigenvalueRegularizer", "k": -1},
        {"name": "EigenvalueRegularizer"},
        {"class_name": "L2", "config": {"l2": -1}},
        {"class_name": "L2", "config": {"l1": 1}},
    ],
)
def test_what_is_not_understood_is_a_value_error(identifier):
    with pytest.raises(ValueError):
        regularizers.get(identifier)


class Mine(regularizers.Regularizer):
    def __call__(self, x):
        return np.sum(x)


def test_a_class_of_the_user_s_own():
    mine = regularizers.get(Mine)
    assert mine(np.ones(3)) == 3
    assert "Mine object" in repr(mine)
    assert regularizers.get(Mine.__call__) is Mine.__call__
    with pytest.raises(NotImplementedError, match="Mine has no gradient"):
        mine.gradient(np.ones(3))
    with pytest.raises(NotImplementedError, match="Mine does not implement get_config"):
        regularizers.serialize(mine)


def test_none_is_none():
    assert regularizers.get(None) is regularizers.deserialize(None) is regularizers.serialize(None) is None

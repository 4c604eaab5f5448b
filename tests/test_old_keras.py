"""What Keras 1, Keras 2 and tf.keras meant and wrote, and that all of it is read again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fastembed import constraints, dtype_policies, initializers, regularizers, saving
from fastembed._old_keras import (
    INITIALIZERS_OF_KERAS1,
    initializer_of_keras1,
    keras1_config,
    keras2_config,
    tf_keras_config,
)
from fastembed.errors import FormatError
from fastembed.random import SeedGenerator

SHAPE = (60, 50)

# Standard deviation and largest value by the formulas of keras/initializations.py of 1.2.2.
DISTRIBUTIONS = {
    "uniform": (0.05 / 3**0.5, 0.05),
    "normal": (0.05, None),
    "lecun_uniform": ((1 / 60) ** 0.5, (3 / 60) ** 0.5),
    "glorot_uniform": ((2 / 110) ** 0.5, (6 / 110) ** 0.5),
    "glorot_normal": ((2 / 110) ** 0.5, None),
    "he_uniform": ((2 / 60) ** 0.5, (6 / 60) ** 0.5),
    "he_normal": ((2 / 60) ** 0.5, None),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions_of_keras_1(name):
    stddev, bound = DISTRIBUTIONS[name]
    values = np.stack([initializer_of_keras1(name)(SHAPE, "float64") for _ in range(20)])
    np.testing.assert_allclose(values.std(), stddev, rtol=0.02)
    np.testing.assert_allclose(values.mean(), 0, atol=0.02 * stddev)
    if bound is None:
        assert 0.03 < (abs(values) > 2 * stddev).mean() < 0.06  # 4.6 %: not truncated
    else:
        assert 0.99 * bound < abs(values).max() <= bound


def test_matrices_of_keras_1():
    q = initializer_of_keras1("orthogonal")(SHAPE, "float64")
    np.testing.assert_allclose(q.T @ q, 1.21 * np.eye(50), atol=1e-12)
    for name, expected in (("identity", np.eye(3)), ("zero", np.zeros((3, 3))), ("one", np.ones((3, 3)))):
        np.testing.assert_array_equal(initializer_of_keras1(name)((3, 3)), expected)


def test_other_identifiers_mean_what_they_always_mean():
    assert type(initializer_of_keras1("truncated_normal")) is initializers.TruncatedNormal
    assert initializer_of_keras1(np.abs) is np.abs
    assert initializer_of_keras1(None) is None
    with pytest.raises(ValueError, match="Could not interpret"):
        initializer_of_keras1("unheard")


@pytest.mark.parametrize("name", INITIALIZERS_OF_KERAS1)
def test_keras_1_writes_names(name):
    assert keras1_config(initializer_of_keras1(name)) == name


def test_keras_1_has_no_name_for_settings():
    for initializer in (
        initializers.RandomUniform(-1, 1),
        initializers.Constant(2),
        initializers.Orthogonal(),
    ):
        with pytest.raises(ValueError, match="Keras 1 has no name"):
            keras1_config(initializer)


def module_of(obj):
    if isinstance(obj, constraints.Constraint):
        return constraints
    return regularizers if isinstance(obj, regularizers.Regularizer) else initializers


def mine(x, dtype=None):
    return x


class Mine(regularizers.Regularizer):
    def __init__(self, seed):
        self.seed = seed

    def get_config(self):
        return {"seed": self.seed}


class MyInitializer(initializers.GlorotUniform):
    pass


@pytest.mark.parametrize(
    ("obj", "keras1", "keras2", "tf_keras"),
    [
        (None, None, None, None),
        (
            regularizers.L1(0.5),
            {"name": "L1L2Regularizer", "l1": 0.5, "l2": 0.0},
            {"class_name": "L1L2", "config": {"l1": 0.5, "l2": 0.0}},
            {"class_name": "L1", "config": {"l1": 0.5}},
        ),
        (
            regularizers.L1L2(0.5, 0.25),
            {"name": "L1L2Regularizer", "l1": 0.5, "l2": 0.25},
            {"class_name": "L1L2", "config": {"l1": 0.5, "l2": 0.25}},
            {"class_name": "L1L2", "config": {"l1": 0.5, "l2": 0.25}},
        ),
        (
            regularizers.EigenvalueRegularizer(0.5),
            {"name": "EigenvalueRegularizer", "k": 0.5},
            *[{"class_name": "EigenvalueRegularizer", "config": {"k": 0.5}}] * 2,
        ),
        (
            constraints.MaxNorm(3, axis=1),
            {"name": "MaxNorm", "m": 3, "axis": 1},
            *[{"class_name": "MaxNorm", "config": {"max_value": 3, "axis": 1}}] * 2,
        ),
        (
            constraints.MinMaxNorm(0.5, 2, 0.25, 1),
            {"name": "MinMaxNorm", "low": 0.5, "high": 2, "rate": 0.25, "axis": 1},
            *[
                {
                    "class_name": "MinMaxNorm",
                    "config": {"min_value": 0.5, "max_value": 2, "rate": 0.25, "axis": 1},
                }
            ]
            * 2,
        ),
        (constraints.NonNeg(), {"name": "NonNeg"}, *[{"class_name": "NonNeg", "config": {}}] * 2),
        (
            constraints.UnitNorm(1),
            {"name": "UnitNorm", "axis": 1},
            *[{"class_name": "UnitNorm", "config": {"axis": 1}}] * 2,
        ),
        (
            initializers.GlorotNormal(),
            ValueError,  # Keras 1's is not truncated
            {
                "class_name": "VarianceScaling",
                "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "normal", "seed": None},
            },
            {"class_name": "GlorotNormal", "config": {"seed": None}},
        ),
        (
            initializers.VarianceScaling(2, "fan_in", "uniform", input_axes=[0], output_axes=[1]),
            "he_uniform",
            *[
                {
                    "class_name": "VarianceScaling",
                    "config": {"scale": 2, "mode": "fan_in", "distribution": "uniform", "seed": None},
                }
            ]
            * 2,
        ),
        (
            initializers.RandomUniform(seed=SeedGenerator(7)),
            ValueError,
            *[{"class_name": "RandomUniform", "config": {"minval": -0.05, "maxval": 0.05, "seed": 7}}] * 2,
        ),
        (mine, "mine", "mine", "mine"),
        (
            Mine({"a": 1}),
            {"name": "Mine", "seed": {"a": 1}},
            *[{"class_name": "Mine", "config": {"seed": {"a": 1}}}] * 2,
        ),
        (
            MyInitializer(3),
            "MyInitializer",
            *[
                {
                    "class_name": "MyInitializer",
                    "config": {"seed": 3, "input_axes": None, "output_axes": None},
                }
            ]
            * 2,
        ),
    ],
)
def test_configs(obj, keras1, keras2, tf_keras):
    for write, expected in ((keras1_config, keras1), (keras2_config, keras2), (tf_keras_config, tf_keras)):
        if expected is ValueError:
            with pytest.raises(ValueError):
                write(obj)
            continue
        written = write(obj)
        assert written == expected
        own = {"Mine": Mine, "MyInitializer": MyInitializer, "mine": mine}
        again = module_of(obj).deserialize(json.loads(json.dumps(written)), own)
        assert write(again) == written


def test_what_real_keras_wrote_is_understood():
    """In the files of tests/fixtures, by Keras 0.3 to 3.15."""
    kinds = {
        "init": initializers, "initializer": initializers, "regularizer": regularizers,
        "constraint": constraints, "dtype": dtype_policies,
    }  # fmt: skip
    understood = set()
    for path in sorted(Path(__file__).with_name("fixtures").rglob("*")):
        if path.suffix not in (".h5", ".hdf5", ".keras"):
            continue
        try:
            records = saving.list_embeddings(path)
        except FormatError:
            continue
        for config in (record.config or {} for record in records):
            for key, written in config.items():
                module = kinds.get(key.rpartition("_")[2])
                if module is not None and written is not None:
                    assert module.get(written) is not None
                    understood.add((key, json.dumps(written)))
    assert {"init", "embeddings_initializer", "dtype"} <= {key for key, _ in understood}
    assert len(understood) >= 10

"""Losses: against twins in plain NumPy, finite differences, and what is refused."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from gradients import slopes
from hypothesis import given, settings
from hypothesis import strategies as st

import fastembed
from fastembed import losses
from fastembed.losses import Loss, LossFunctionWrapper, with_gradient

CASES = [
    ("binary_crossentropy", {}),
    ("binary_crossentropy", {"label_smoothing": 0.2}),
    ("binary_crossentropy", {"from_logits": True}),
    ("binary_crossentropy", {"from_logits": True, "label_smoothing": 0.2, "axis": 0}),
    ("binary_focal_crossentropy", {}),
    ("binary_focal_crossentropy", {"from_logits": True, "apply_class_balancing": True, "alpha": 0.3}),
    ("binary_focal_crossentropy", {"gamma": 1.5, "label_smoothing": 0.1, "axis": 0}),
    ("binary_focal_crossentropy", {"gamma": 0.0}),
    ("categorical_crossentropy", {}),
    ("categorical_crossentropy", {"label_smoothing": 0.2}),
    ("categorical_crossentropy", {"from_logits": True}),
    ("categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.2}),
    ("categorical_crossentropy", {"axis": 0}),
    ("categorical_focal_crossentropy", {}),
    ("categorical_focal_crossentropy", {"from_logits": True, "gamma": 1.5, "alpha": 0.4}),
    ("categorical_focal_crossentropy", {"label_smoothing": 0.1, "gamma": 0.0}),
    ("sparse_categorical_crossentropy", {}),
    ("sparse_categorical_crossentropy", {"from_logits": True}),
    ("sparse_categorical_crossentropy", {"ignore_class": 0}),
    ("sparse_categorical_crossentropy", {"from_logits": True, "ignore_class": -1}),
    ("kl_divergence", {}),
    ("poisson", {}),
    ("mean_squared_error", {}),
    ("mean_absolute_error", {}),
    ("mean_absolute_percentage_error", {}),
    ("mean_squared_logarithmic_error", {}),
    ("huber", {}),
    ("huber", {"delta": 0.3}),
    ("log_cosh", {}),
    ("cosine_similarity", {}),
    ("cosine_similarity", {"axis": 0}),
    ("hinge", {}),
    ("squared_hinge", {}),
    ("categorical_hinge", {}),
    ("dice", {}),
    ("dice", {"axis": -1}),
    ("tversky", {}),
    ("tversky", {"alpha": 0.3, "beta": 0.8, "axis": 0}),
]

EPSILON = np.float32(1e-7)
HIGH = np.float32(1) - EPSILON
_ENDS = [[EPSILON], [0], [HIGH], [1], [-0.5], [1.5], [0.25]]
EDGES = [
    ("binary_crossentropy", {}, [[1]] * 7, _ENDS),
    ("binary_crossentropy", {}, [[0]] * 7, _ENDS),
    ("binary_focal_crossentropy", {}, [[1]] * 4, _ENDS[:4]),
    ("binary_crossentropy", {"from_logits": True}, [[1], [0], [1], [0]], [[100], [100], [-100], [-100]]),
    ("categorical_crossentropy", {}, [[1, 0], [0, 1], [1, 0]], [[0, 1], [0, 1], [EPSILON, 2]]),
    ("categorical_crossentropy", {"from_logits": True}, [[1, 0], [0, 1]], [[90, -90], [90, -90]]),
    ("categorical_focal_crossentropy", {}, [[1, 0], [0, 1]], [[0, 1], [0, 1]]),
    ("sparse_categorical_crossentropy", {}, [0, 1, 0], [[0, 1], [0, 1], [EPSILON, 2]]),
    ("sparse_categorical_crossentropy", {"from_logits": True}, [0, 1], [[90, -90], [90, -90]]),
    ("kl_divergence", {}, [[1, 0, 0.5]] * 3, [[0, 1, 0.5], [EPSILON, 2, -1], [1, 0.5, 1]]),
    ("poisson", {}, [[0, 1, 2]], [[0, 0, 1]]),
    ("mean_absolute_error", {}, [[0, 1, 2]], [[0, 2, 1]]),
    ("mean_absolute_percentage_error", {}, [[0, 1, -2]], [[1e-7, 1, 1]]),
    ("mean_squared_logarithmic_error", {}, [[1, 2, -1]], [[EPSILON, -1, 0]]),
    ("huber", {}, [[0, 0, 0, 0]], [[1, -1, 0, 1.0000001]]),
    ("log_cosh", {}, [[0, 0, 0]], [[0, 1000, -1000]]),
    ("cosine_similarity", {}, [[1, 2], [0, 0]], [[1e-9, 0], [1, 1]]),
    ("hinge", {}, [[1, -1, 1, -1]], [[1, -1, 2, 0]]),
    ("hinge", {}, [[1, 0, 1, 0]], [[1, -1, 2, 0]]),
    ("hinge", {}, [[1, 0, 2]], [[1, -1, 0.25]]),
    ("squared_hinge", {}, [[1, 0, 1, 0]], [[1, -1, 2, 0]]),
    ("categorical_hinge", {}, [[1, 0, 0], [1, 0, 0], [0, 1, 0]], [[0.5, 0, 0], [1, 0, 0], [2, 2, 2]]),
]


def example(rng, name, shape, dtype, arguments=()):
    """Targets and predictions that the loss is for, away from its kinks."""
    y_pred = rng.uniform(-2, 2, shape)
    y_true = rng.uniform(-2, 2, shape)
    if "from_logits" not in arguments and ("cross" in name or name in ("kl_divergence", "dice", "tversky")):
        y_pred = rng.uniform(0.05, 0.95, shape)
    if name in ("poisson", "mean_squared_logarithmic_error"):
        y_pred, y_true = rng.uniform(0.1, 3, shape), rng.integers(0, 4, shape)
    elif name.startswith("sparse"):
        return rng.integers(0, shape[-1], shape[:-1]), y_pred.astype(dtype)
    elif "cross" in name or "hinge" in name or name in ("kl_divergence", "dice", "tversky"):
        y_true = rng.integers(0, 2, shape)
    elif "percentage" in name:
        y_true = rng.uniform(0.5, 2, shape)
    return y_true.astype(dtype), y_pred.astype(dtype)


# --- Values ---------------------------------------------------------------------------------------


def _mean(points, axis=-1):
    return np.mean(points, axis=axis)


def _clip(p):
    return np.clip(p, 1e-7, 1 - 1e-7)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x, axis=-1):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def twin_bce(t, p, from_logits=False, label_smoothing=0.0, axis=-1):
    t = t * (1 - label_smoothing) + label_smoothing / 2
    p = _sigmoid(p) if from_logits else _clip(p)
    return _mean(-t * np.log(p) - (1 - t) * np.log(1 - p), axis)


def twin_bfce(
    t, p, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0, axis=-1
):
    t = t * (1 - label_smoothing) + label_smoothing / 2
    p = _sigmoid(p) if from_logits else p
    entropy = -t * np.log(_clip(p)) - (1 - t) * np.log(1 - _clip(p))
    points = (1 - (t * p + (1 - t) * (1 - p))) ** gamma * entropy
    return _mean(points * (t * alpha + (1 - t) * (1 - alpha)) if apply_class_balancing else points, axis)


def twin_cce(t, p, from_logits=False, label_smoothing=0.0, axis=-1):
    t = t * (1 - label_smoothing) + label_smoothing / t.shape[axis]
    p = _softmax(p, axis) if from_logits else _clip(p / p.sum(axis=axis, keepdims=True))
    return -np.sum(t * np.log(p), axis=axis)


def twin_cfce(t, p, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1):
    t = t * (1 - label_smoothing) + label_smoothing / t.shape[axis]
    p = _softmax(p, axis) if from_logits else p
    p = _clip(p / p.sum(axis=axis, keepdims=True))
    return -np.sum(alpha * (1 - p) ** gamma * t * np.log(p), axis=axis)


def twin_scce(t, p, from_logits=False, ignore_class=None, axis=-1):
    counted = t != ignore_class
    one_hot = np.eye(p.shape[-1])[np.where(counted, t, 0)]
    return np.where(counted, twin_cce(one_hot, p, from_logits), 0)


def twin_cosine(t, p, axis=-1):
    length = lengths_along(axis)
    return -np.sum(t / length(t) * p / length(p), axis=axis)


def lengths_along(axis):
    return lambda x: np.maximum(np.linalg.norm(x, axis=axis, keepdims=True), 1e-7)


def twin_hinge(t, p, power=1):
    t = 2 * t - 1 if np.isin(t, (0, 1)).all() else t
    return _mean(np.maximum(1 - t * p, 0) ** power)


def twin_tversky(t, p, alpha=0.5, beta=0.5, axis=None):
    both = np.sum(t * p, axis=axis)
    missed, wrong = np.sum(t * (1 - p), axis=axis), np.sum(p * (1 - t), axis=axis)
    return 1 - both / (both + alpha * missed + beta * wrong + 1e-7)


TWINS = {
    "binary_crossentropy": twin_bce,
    "binary_focal_crossentropy": twin_bfce,
    "categorical_crossentropy": twin_cce,
    "categorical_focal_crossentropy": twin_cfce,
    "sparse_categorical_crossentropy": twin_scce,
    "kl_divergence": lambda t, p: np.sum(
        np.clip(t, 1e-7, 1) * np.log(np.clip(t, 1e-7, 1) / np.clip(p, 1e-7, 1)), axis=-1
    ),
    "poisson": lambda t, p: _mean(p - t * np.log(p + 1e-7)),
    "mean_squared_error": lambda t, p: _mean((t - p) ** 2),
    "mean_absolute_error": lambda t, p: _mean(abs(t - p)),
    "mean_absolute_percentage_error": lambda t, p: 100 * _mean(abs(t - p) / np.maximum(abs(t), 1e-7)),
    "mean_squared_logarithmic_error": lambda t, p: _mean(
        (np.log(np.maximum(t, 1e-7) + 1) - np.log(np.maximum(p, 1e-7) + 1)) ** 2
    ),
    "huber": lambda t, p, delta=1.0: _mean(
        np.where(abs(t - p) <= delta, (t - p) ** 2 / 2, delta * abs(t - p) - delta**2 / 2)
    ),
    "log_cosh": lambda t, p: _mean(np.log(np.cosh(p - t))),
    "cosine_similarity": twin_cosine,
    "hinge": twin_hinge,
    "squared_hinge": lambda t, p: twin_hinge(t, p, 2),
    "categorical_hinge": lambda t, p: np.maximum(
        np.max((1 - t) * p, axis=-1) - np.sum(t * p, axis=-1) + 1, 0
    ),
    "dice": lambda t, p, axis=None: (
        1 - 2 * np.sum(t * p, axis=axis) / (np.sum(t, axis=axis) + np.sum(p, axis=axis) + 1e-7)
    ),
    "tversky": twin_tversky,
}
each_case = pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=6)
quietly = pytest.mark.filterwarnings("ignore:In loss:SyntaxWarning")  # of one class


@quietly
@each_case
@given(shape=SHAPES, seed=st.integers(0, 99), dtype=st.sampled_from(["f2", "f4", "f8", "bfloat16"]))
@settings(max_examples=40, deadline=None)
def test_values_are_those_of_the_formula(name, arguments, shape, seed, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    y_true, y_pred = example(np.random.default_rng(seed), name, shape, dtype, arguments)
    wide = y_true if name.startswith("sparse") else y_true.astype("f8")
    found = getattr(losses, name)(y_true, y_pred, **arguments)
    wanted = TWINS[name](wide, y_pred.astype("f8"), **arguments)
    assert found.dtype == y_pred.dtype
    assert found.shape == wanted.shape
    eps = float(max(np.finfo(y_pred.dtype if y_pred.dtype.kind == "f" else "f2").eps, 1e-8))
    eps = 2**-7 if y_pred.dtype.kind != "f" else eps
    np.testing.assert_allclose(found.astype("f8"), wanted, rtol=20 * eps, atol=20 * eps)


@each_case
@quietly
@given(shape=SHAPES, seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_gradients_are_slopes(name, arguments, shape, seed):
    rng = np.random.default_rng(seed)
    y_true, y_pred = example(rng, name, shape, "f8", arguments)
    function = getattr(losses, name)
    values = function(y_true, y_pred, **arguments)
    upstream = rng.uniform(-1, 1, values.shape)
    found = function.gradient(y_true, y_pred, upstream, **arguments)
    wanted = slopes(lambda: float(np.sum(function(y_true, y_pred, **arguments) * upstream)), y_pred)
    assert found.dtype == np.float64
    if name == "categorical_hinge":  # between equal maxima there is no slope
        others = (1 - y_true) * y_pred
        tied = np.sort(others, axis=-1)[..., -2:] if shape[-1] > 1 else None
        if tied is not None and (tied[..., 0] == tied[..., 1]).any():
            return
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


@each_case
@quietly
@given(
    shape=SHAPES,
    seed=st.integers(0, 99),
    weighed=st.booleans(),
    masked=st.booleans(),
    reduction=st.sampled_from(["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"]),
)
@settings(max_examples=15, deadline=None)
def test_a_loss_is_its_function_weighed_and_reduced(name, arguments, shape, seed, weighed, masked, reduction):
    """And its gradient is the slope of it, with weights and masks as well."""
    rng = np.random.default_rng(seed)
    y_true, y_pred = example(rng, name, shape, "f8", arguments)
    function = getattr(losses, name)
    loss = LossFunctionWrapper(function, reduction, dtype="float64", **arguments)
    values = np.asarray(function(y_true, y_pred, **arguments))
    weights = rng.uniform(0, 2, values.shape) * (rng.random(values.shape) < 0.8) if weighed else None
    mask = rng.random(values.shape) < 0.7 if masked else None
    value, gradient = loss.value_and_gradient(y_true, y_pred, weights, mask)
    assert value.dtype == gradient.dtype == np.float64
    assert gradient.shape == y_pred.shape

    counted = np.ones(values.shape) if mask is None else mask.astype("f8")
    if arguments.get("ignore_class") is not None:
        own = y_true != arguments["ignore_class"]
        masked, counted = True, counted * own
    if masked and reduction in ("mean", "sum_over_batch_size"):
        counted = counted * (counted.size / counted.sum() if counted.any() else 0)
    total = counted * (1 if weights is None else weights)
    wanted = values * total
    if reduction != "none" and values.shape:
        number = wanted.size
        if reduction == "mean_with_sample_weight" and (weighed or masked):
            number = total.sum()
        wanted = wanted.sum() if reduction == "sum" else wanted.sum() / number if number else 0.0
    np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12)
    if name != "categorical_hinge":
        np.testing.assert_allclose(
            gradient,
            slopes(lambda: float(np.sum(loss(y_true, y_pred, weights, mask))), y_pred),
            rtol=2e-5,
            atol=2e-6,
        )


def test_functions_take_lists_and_integers():
    assert losses.mse([[0, 1]], [[1, 1]]).dtype == np.float32
    assert losses.mse([0.5, 1], [1, 1]) == np.float32(0.125)
    assert losses.mse.gradient([[0, 1]], [[1, 1]], [1]).tolist() == [[1, 0]]
    assert losses.sparse_categorical_crossentropy(1, [0.5, 0.5]).shape == ()


def test_nothing_overflows_on_the_way():
    for x in (-1e4, 1e4, -np.inf, np.inf):
        logits = np.float32([[x]])
        for t in (0, 1):
            with np.errstate(all="raise"):
                found = losses.binary_crossentropy([[t]], logits, from_logits=True)
                slope = losses.binary_crossentropy.gradient([[t]], logits, [1], from_logits=True)
            right = (x > 0) == bool(t)
            if math.isfinite(x):
                assert found[0] == (0 if right else 1e4)
            assert slope[0, 0] == (0 if right else 1 - 2 * t)
    assert losses.log_cosh([[0.0]], [[1e30]]) == np.float32(1e30)


def test_nan_stays_nan():
    for name, arguments in CASES:
        y_true, y_pred = example(np.random.default_rng(0), name, (3, 2), np.float32, arguments)
        y_pred[...] = np.nan
        if "ignore_class" in arguments:
            y_true[...] = 1
        assert np.isnan(getattr(losses, name)(y_true, y_pred, **arguments)).all(), name


# --- Predictions and dtypes -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_dtypes_of_losses(dtype):
    """A loss is of its own dtype; the gradient is that of the predictions, and at least float32."""
    y_pred = np.ones((4, 3)).astype(dtype)
    for own in ("float16", "float32", "float64"):
        value, gradient = losses.MeanSquaredError(dtype=own).value_and_gradient(np.zeros((4, 3)), y_pred)
        assert value.dtype == own
        assert gradient.dtype == max(np.dtype("f4"), np.dtype("f8") if "64" in own else np.dtype(dtype),
                                     key=lambda d: d.itemsize if d.kind == "f" else 0)  # fmt: skip
    assert losses.MeanSquaredError().dtype == "float32"
    assert losses.MeanSquaredError(dtype=fastembed.DTypePolicy("mixed_float16")).dtype == "float16"
    with pytest.raises(ValueError, match="computed in floats"):
        losses.MeanSquaredError(dtype="int32")


def test_a_gradient_of_half_predictions_does_not_vanish():
    n = 2**15
    _, gradient = losses.MeanSquaredError().value_and_gradient(
        np.zeros((n, 1)), np.full((n, 1), 1e-3, np.float16)
    )
    assert (gradient > 0).all()
    assert (gradient.astype(np.float16) < 1e-6).all()


def test_float16_rounds_once():
    y_true, y_pred = np.zeros((1, 2), "f2"), np.float16([[300, 1]])
    assert losses.mean_squared_error(y_true, y_pred)[0] == np.float16(45000.5)


def test_bfloat16():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    loss = losses.MeanSquaredError(dtype="bfloat16")
    value, gradient = loss.value_and_gradient(np.ones((2, 1)), np.zeros((2, 1), bfloat16))
    assert (value.dtype, value, gradient.dtype) == (bfloat16, 1, np.float32)


@given(shape=st.sampled_from([(), (3,), (2, 3)]), seed=st.integers(0, 9), order=st.sampled_from("CF"))
def test_memory_of_any_layout(shape, seed, order):
    rng = np.random.default_rng(seed)
    p = np.asarray(rng.random((*shape, 4), "f4"), order=order)[..., ::-1]
    t = rng.integers(0, 4, shape)
    for loss in (losses.SparseCategoricalCrossentropy(), losses.SparseCategoricalCrossentropy(True)):
        before = p.copy()
        for one, other in zip(loss.value_and_gradient(t, p), loss.value_and_gradient(t, p.copy())):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(p, before)  # and nothing was written to


def test_read_only_arrays_are_not_written_to():
    for name, arguments in CASES:
        y_true, y_pred = example(np.random.default_rng(0), name, (3, 2), np.float32, arguments)
        y_true.flags.writeable = y_pred.flags.writeable = False
        loss = LossFunctionWrapper(getattr(losses, name), **arguments)
        loss.value_and_gradient(y_true, y_pred, np.ones(loss.fn(y_true, y_pred, **arguments).shape))


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [-1, 3, 4, 2**31, -(2**63), 2**63 - 1])
def test_labels_that_are_no_classes(label):
    y_true, y_pred = np.array([[0, 2, 1], [2, label, 0]]), np.full((2, 3, 3), 1 / 3, "f4")
    message = rf"y_true\[1, 1\] = {label} is not one of the classes 0 to 2 .* \(1 of 6 labels are not\)"
    for computed in (
        lambda: losses.sparse_categorical_crossentropy(y_true, y_pred),
        lambda: losses.SparseCategoricalCrossentropy(from_logits=True)(y_true, y_pred),
        lambda: losses.SparseCategoricalCrossentropy().value_and_gradient(y_true, y_pred),
    ):
        with pytest.raises(ValueError, match=message):
            computed()
    for ignoring in (losses.SparseCategoricalCrossentropy(ignore_class=label),):
        value, gradient = ignoring.value_and_gradient(y_true, y_pred)
        assert value == pytest.approx(math.log(3))
        assert (gradient[1, 1] == 0).all()


@pytest.mark.parametrize("label", [0.5, np.nan, np.inf, -1.0, 3.0, 1e30])
def test_float_labels_that_are_no_classes(label):
    with pytest.raises(ValueError, match=r"y_true\[1\] = .* is not one of the classes 0 to 2"):
        losses.SparseCategoricalCrossentropy()([0.0, label], np.full((2, 3), 1 / 3))
    assert losses.SparseCategoricalCrossentropy()([0.0, 2.0], np.full((2, 3), 1 / 3)) == pytest.approx(
        math.log(3)
    )
    with pytest.raises(ValueError, match=r"y_true\[0\] = 18446744073709551615 "):
        losses.SparseCategoricalCrossentropy()(np.array([2**64 - 1], "u8"), np.full((1, 3), 1 / 3))


@pytest.mark.parametrize("label", [-1, 1.01, 2, np.nan, -np.inf])
@pytest.mark.parametrize(
    "name",
    ["binary_crossentropy", "categorical_crossentropy", "binary_focal_crossentropy",
     "categorical_focal_crossentropy"],
)  # fmt: skip
def test_labels_that_are_no_probabilities(name, label):
    y_true = np.array([[0, 1], [label, 0]])
    for from_logits in (False, True):
        with pytest.raises(
            ValueError, match=rf"{name}: y_true\[1, 0\] = .* outside the range of labels, 0 to 1"
        ):
            getattr(losses, name)(y_true, np.full((2, 2), 0.5), from_logits=from_logits)
    getattr(losses, name)(np.float16([[0.3 + 0.70068, 0]]), np.full((1, 2), 0.5))  # a rounding error


def test_labels_that_do_not_count_may_be_anything():
    """As those of what is missing often are."""
    y_pred = np.float32([[0.5], [0.25], [0.5]])
    for label in (-1, np.nan, 7):
        value, gradient = losses.BinaryCrossentropy().value_and_gradient(
            np.array([[1], [label], [0]]), y_pred, sample_weight=[1, 0, 1]
        )
        assert value == pytest.approx(2 * math.log(2) / 3)
        assert gradient[1] == 0
    y_true, y_pred = np.array([[0, -100, 1], [1, -100, -100]]), np.full((2, 3, 2), 0.5, "f4")
    for mask in (y_true >= 0, (y_true >= 0).astype("f4")):
        assert losses.SparseCategoricalCrossentropy()(y_true, y_pred, mask=mask) == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match=r"y_true\[1, 2\] = -100 "):
        losses.SparseCategoricalCrossentropy()(
            y_true, y_pred, mask=[[True, False, True], [True, False, True]]
        )
    with pytest.raises(ValueError, match=r"y_true\[0, 1\] = -100 "):
        losses.SparseCategoricalCrossentropy()(y_true, y_pred, sample_weight=np.ones((2, 1)))


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "remedy"),
    [
        ("MeanSquaredError", (4, 3), (4, 1), "the shape of the outputs"),
        ("MeanSquaredError", (4, 3), (4, 2), "the shape of the outputs"),
        ("BinaryCrossentropy", (5, 1), (4, 1), "the shape of the outputs"),
        ("MeanSquaredError", (4,), (4, 3), "the shape of the outputs"),
        ("CategoricalCrossentropy", (4,), (4, 3), "use sparse_categorical_crossentropy"),
        ("CategoricalCrossentropy", (4, 1), (4, 3), "use sparse_categorical_crossentropy"),
        ("CategoricalFocalCrossentropy", (4, 1), (4, 3), "numpy.eye"),
        ("SparseCategoricalCrossentropy", (4, 3), (4, 3), "use categorical_crossentropy"),
        ("SparseCategoricalCrossentropy", (5,), (4, 3), "one class number"),
        ("SparseCategoricalCrossentropy", (), (), "at least rank 1"),
    ],
)
def test_shapes_that_do_not_fit(loss, y_true, y_pred, remedy):
    with pytest.raises(ValueError, match=remedy):
        getattr(losses, loss)()(np.zeros(y_true), np.full(y_pred, 0.5))


def test_weights_that_do_not_fit():
    loss, y = losses.MeanSquaredError(), np.zeros((4, 3, 2))
    for weights, remedy in [
        (np.ones(4), r"sample_weight.reshape\(\(4, 1\)\)"),
        (np.ones(3), "one weight for each value"),
        (np.ones((4, 2)), "one weight for each value"),
        (np.ones((5, 3)), "one weight for each value"),
        (np.ones((1, 4, 3)), "one weight for each value"),
    ]:
        with pytest.raises(ValueError, match=remedy):
            loss(y, y, weights)
        with pytest.raises(ValueError, match=remedy):
            loss.value_and_gradient(y, y, mask=weights)
    with pytest.raises(ValueError, match="does not fit the mask"):
        loss(y, y, np.ones(4), mask=np.ones((4, 3), bool))
    for fitting in (1.0, np.ones((4, 1)), np.ones((1, 3)), np.ones((4, 3, 1))):
        assert loss(y + 1, y, fitting) == 1
        assert loss(y + 1, y, fitting, mask=np.ones((4, 1))) == 1


def test_other_errors():
    with pytest.raises(ValueError, match="y_pred: could not convert"):
        losses.MeanSquaredError()([[1.0]], [["a"]])
    with pytest.raises(ValueError, match="y_true: could not convert"):
        losses.mse([["a"]], [[1.0]])
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        losses.sparse_categorical_crossentropy([1], [[0.5, 0.5]], axis=2)
    with pytest.raises(ValueError, match="reduction"):
        losses.Huber(reduction=["sum"])
    with pytest.raises(NotImplementedError, match="does not implement call"):
        Loss()([[1.0]], [[1.0]])


# --- Losses of users ------------------------------------------------------------------------------


class Cubes(Loss):
    def call(self, y_true, y_pred):
        assert y_true.dtype == y_pred.dtype
        return np.mean(abs(y_true - y_pred) ** 3, axis=-1)

    def gradient(self, y_true, y_pred, upstream):
        error = y_pred - y_true
        return 3 * error * abs(error) / error.shape[-1] * upstream[..., np.newaxis]


def cubes(y_true, y_pred, scale=1.0):
    return scale * np.mean(abs(y_true - y_pred) ** 3, axis=-1)


def slope_of_cubes(y_true, y_pred, upstream, scale=1.0):
    return scale * Cubes().gradient(y_true, y_pred, upstream)


class NoSlope(Loss):
    def call(self, y_true, y_pred):
        return np.mean((y_true - y_pred) ** 2, axis=-1)


class Twice(losses.MeanSquaredError):
    def call(self, y_true, y_pred):
        return 2 * super().call(y_true, y_pred)


class TwiceWithSlope(Twice):
    def gradient(self, y_true, y_pred, upstream):
        return 2 * super().gradient(y_true, y_pred, upstream)


class Clipped(losses.MeanSquaredError):
    def gradient(self, y_true, y_pred, upstream):
        return np.clip(super().gradient(y_true, y_pred, upstream), -0.01, 0.01)


@given(weighed=st.booleans(), masked=st.booleans(), seed=st.integers(0, 9),
       reduction=st.sampled_from(["sum", "mean", "none", "mean_with_sample_weight"]))  # fmt: skip
def test_losses_of_users_are_weighed_and_reduced_as_keras_s(weighed, masked, seed, reduction):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.random((4, 3)), rng.random((4, 3))
    weights = rng.random(4) if weighed else None
    mask = rng.random(4) < 0.5 if masked else None
    given_ = with_gradient(lambda *args, **kw: cubes(*args, **kw), slope_of_cubes)
    for loss in (
        Cubes(reduction=reduction, dtype="float64"),
        LossFunctionWrapper(given_, reduction, dtype="float64", scale=0.5),
    ):
        value, gradient = loss.value_and_gradient(y_true, y_pred, weights, mask)
        assert np.array_equal(value, loss(y_true, y_pred, weights, mask))
        wanted = slopes(lambda loss=loss: float(np.sum(loss(y_true, y_pred, weights, mask))), y_pred)
        np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1e-8)


def test_a_loss_of_users_may_return_one_number():
    loss = LossFunctionWrapper(
        with_gradient(
            lambda t, p: np.mean((t - p) ** 2), lambda t, p, upstream: 2 * (p - t) / p.size * upstream
        )
    )
    value, gradient = loss.value_and_gradient(np.zeros((2, 2)), np.ones((2, 2)))
    assert (value, gradient.tolist()) == (1, [[0.5, 0.5]] * 2)
    value, gradient = loss.value_and_gradient(np.zeros((2, 2)), np.ones((2, 2)), [1, 3])
    assert (value, gradient.tolist()) == (2, [[1, 1]] * 2)  # each weight weighs it, as in Keras


def test_subclasses_of_keras_s_losses():
    y_true, y_pred = np.zeros((2, 1)), np.ones((2, 1))
    value, gradient = TwiceWithSlope().value_and_gradient(y_true, y_pred)
    assert (value, gradient.tolist()) == (2, [[2], [2]])
    assert losses.MeanSquaredError().gradient(y_true, y_pred[:, 0], np.ones(2)).tolist() == [2, 2]
    value, gradient = Clipped().value_and_gradient(y_true, y_pred)
    np.testing.assert_allclose((value, *gradient[:, 0]), (1, 0.01, 0.01), rtol=1e-6)
    assert Twice()(y_true, y_pred) == 2
    losses.check_trainable(TwiceWithSlope())
    losses.check_trainable(Clipped())


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (NoSlope(), r"a method gradient\(self, y_true, y_pred, upstream\)"),
        (Twice(), r"the class Twice a method gradient\(self, y_true, y_pred, upstream\)"),
        (cubes, "fastembed.losses.with_gradient"),
        (lambda y_true, y_pred: y_pred[:, 0], "fastembed.losses.with_gradient"),
        (LossFunctionWrapper(cubes), "<function cubes .*fastembed.losses.with_gradient"),
    ],
)
def test_a_loss_without_a_gradient(loss, what):
    with pytest.raises(TypeError, match=rf"nothing is known of the gradient of .*{what}"):
        losses.check_trainable(loss)
    if isinstance(loss, Loss):
        assert loss([[0.0]], [[1.0]]) > 0
        with pytest.raises(TypeError, match="nothing is known of the gradient"):
            loss.value_and_gradient([[0.0]], [[1.0]])


def test_what_can_be_trained():
    class WithMethod:
        def __call__(self, y_true, y_pred):
            return cubes(y_true, y_pred)

        def gradient(self, y_true, y_pred, upstream):
            return slope_of_cubes(y_true, y_pred, upstream)

    for loss in (Cubes(), losses.mse, WithMethod(), LossFunctionWrapper(WithMethod()), losses.Huber()):
        losses.check_trainable(loss)


class Method:
    def of_its_own(self, y_true, y_pred):
        return cubes(y_true, y_pred)


@pytest.mark.parametrize(
    ("function", "gradient", "what"),
    [
        (cubes, None, "gradient has to be callable. Received: gradient=None"),
        ("mse", slope_of_cubes, "function has to be callable. Received: function='mse'"),
        (losses.mse, slope_of_cubes, "functions of your own. Received: .*mean_squared_error"),
        (losses.MeanSquaredError(), slope_of_cubes, "functions of your own. Received: .*MeanSquaredError"),
        (NoSlope(), slope_of_cubes, "NoSlope .*subclass"),
        (len, slope_of_cubes, "takes no attributes"),
        (Method().of_its_own, slope_of_cubes, "takes no attributes.*Give it a function that calls this"),
    ],
)
def test_what_gets_no_gradient(function, gradient, what):
    """A gradient that would be ignored, or change the losses of everybody."""
    before = getattr(function, "gradient", None)
    with pytest.raises(TypeError, match=what):
        with_gradient(function, gradient)
    assert getattr(function, "gradient", None) == before


def test_a_function_that_returns_nothing():
    nothing = LossFunctionWrapper(with_gradient(lambda t, p: None, slope_of_cubes))
    no_slope = LossFunctionWrapper(with_gradient(lambda t, p: cubes(t, p), lambda t, p, upstream: None))
    with pytest.raises(TypeError, match="the loss returned None"):
        nothing([[0.0]], [[1.0]])
    with pytest.raises(TypeError, match="the gradient of the loss returned None"):
        no_slope.value_and_gradient([[0.0]], [[1.0]])


def test_a_gradient_of_another_shape():
    loss = LossFunctionWrapper(
        with_gradient(lambda t, p: np.mean((t - p) ** 2, -1), lambda t, p, upstream: upstream)
    )
    with pytest.raises(ValueError, match=r"the shape \(3,\); it must be that of y_pred, \(3, 2\)"):
        loss.value_and_gradient(np.zeros((3, 2)), np.ones((3, 2)))


# --- Names and configs ----------------------------------------------------------------------------

OLD_NAMES = {
    "mse": "mean_squared_error", "MSE": "mean_squared_error", "mae": "mean_absolute_error",
    "MAE": "mean_absolute_error", "mape": "mean_absolute_percentage_error",
    "MAPE": "mean_absolute_percentage_error", "msle": "mean_squared_logarithmic_error",
    "MSLE": "mean_squared_logarithmic_error", "kld": "kl_divergence", "KLD": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence", "bce": "binary_crossentropy",
    "BCE": "binary_crossentropy",
    "logcosh": "log_cosh", "huber_loss": "huber", "cosine_proximity": "cosine_similarity",
    "cosine": "cosine_similarity",
}  # fmt: skip


def test_names():
    for name in {*OLD_NAMES, *OLD_NAMES.values(), *TWINS}:
        function = getattr(losses, OLD_NAMES.get(name, name))
        assert losses.get(name) is getattr(losses, name) is function
        assert losses.deserialize(losses.serialize(function)) is function
        assert pickle.loads(pickle.dumps(function)) is function
    assert losses.get(None) is None
    assert isinstance(losses.get(losses.Huber), losses.Huber)
    assert losses.get(cubes) is cubes


def test_the_cosine_of_keras_1():
    y_true, y_pred = np.float32([[1, 0], [0, 2]]), np.float32([[3, 4], [1, 1]])
    for name in ("cosine_proximity", "cosine"):
        with fastembed.era("keras1"):
            loss = losses.get(name)
        np.testing.assert_allclose(
            loss(y_true, y_pred), losses.cosine_similarity(y_true, y_pred) / 2, rtol=1e-6
        )
        np.testing.assert_allclose(
            loss.gradient(y_true, y_pred, [1, 2]),
            losses.cosine_similarity.gradient(y_true, y_pred, [0.5, 1]),
            rtol=1e-6,
        )
        for era in ("keras2", "tf.keras", "keras3"):
            with fastembed.era(era):
                assert losses.get(name) is losses.cosine_similarity


def test_configs_of_tf_keras():
    config = {
        "class_name": "BinaryCrossentropy",
        "config": {"reduction": "auto", "name": "binary_crossentropy", "from_logits": True,
                   "label_smoothing": 0.1, "axis": -1},
    }  # fmt: skip
    loss = losses.get(config)
    assert (loss.from_logits, loss.label_smoothing, loss.reduction) == (True, 0.1, "sum_over_batch_size")
    config = {"class_name": "SparseCategoricalCrossentropy", "config": {"reduction": losses.Reduction.NONE,
              "name": "x", "from_logits": False, "ignore_class": None}}  # fmt: skip
    assert losses.deserialize(config).reduction == "none"


def test_configs_that_do_not_fit():
    for config in (
        {"class_name": "Huber", "config": {"nope": 1}},
        {"class_name": "Nope", "config": {}},
        {"module": "elsewhere", "class_name": "Huber", "config": {}, "registered_name": "Huber"},
        "nope",
    ):
        with pytest.raises(ValueError):
            losses.deserialize(config)


def test_losses_of_users_by_name():
    config = losses.serialize(Cubes(name="x"))
    with pytest.raises(ValueError):
        losses.deserialize({**config, "module": None})
    again = losses.deserialize(config, custom_objects={"Cubes": Cubes})
    assert (type(again), again.name) == (Cubes, "x")
    assert losses.deserialize("cubes", {"cubes": cubes}) is cubes
    with fastembed.utils.custom_object_scope({"cubes": cubes}):
        assert losses.get("cubes") is cubes
        again = LossFunctionWrapper.from_config(LossFunctionWrapper(cubes, scale=3.0).get_config())
    assert again([[0.0]], [[1.0]]) == 3
    with pytest.raises(TypeError, match="cannot be written"):
        losses.serialize(LossFunctionWrapper(lambda y_true, y_pred: y_pred))


def test_copies_and_names():
    loss = losses.Huber(0.5)
    for again in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert again.get_config() == loss.get_config()
        assert again([[0.0]], [[3.0]]) == loss([[0.0]], [[3.0]])
    assert repr(loss) == "<Huber name=huber_loss, reduction=sum_over_batch_size>"
    first, second = Cubes().name, Cubes().name
    assert first.startswith("cubes")
    assert second.startswith("cubes")
    assert first != second


def test_one_class_warns_where_it_is_called():
    for name in ("categorical_crossentropy", "categorical_focal_crossentropy"):
        with pytest.warns(SyntaxWarning, match="binary_crossentropy") as caught:
            getattr(losses, name)(np.ones((2, 1)), np.ones((2, 1)))
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.sparse_categorical_crossentropy([0], [[1.0]])

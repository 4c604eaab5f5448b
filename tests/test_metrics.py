"""Metrics against plain NumPy twins; their state, names and configs; what they refuse."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastembed import Variable, backend, losses, metrics, utils
from fastembed.metrics.metric import Total

unit = st.floats(0, 1, width=32)
weights_of_a_sample = st.integers(0, 16).map(lambda quarters: quarters / 4)


def near(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


# --- Means and sums -------------------------------------------------------------------------------


@st.composite
def weighted_values(draw):
    """Values, weights of some of their leading axes, the weight and the mean of each sample."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    elements = st.floats(-100, 100, width=32)
    values = draw(hnp.arrays(draw(st.sampled_from(["f4", "f8"])), shape, elements=elements))
    axes = draw(st.integers(1, len(shape)))
    weights = draw(hnp.arrays("f4", shape[:axes], elements=weights_of_a_sample))
    wide = values.astype(float).reshape(*shape[:axes], -1).mean(-1) * weights
    per_sample = wide.reshape(shape[0], -1).mean(-1)
    return values, weights, per_sample, weights.astype(float).reshape(shape[0], -1).mean(-1)


@given(batches=st.lists(weighted_values(), min_size=1, max_size=4))
def test_mean(batches):
    metric, plain = metrics.Mean(), metrics.Mean()
    for values, weights, *_ in batches:
        metric.update_state(values, weights)
        plain.update_state(values)
    total = sum(sample.sum() for _, _, sample, _ in batches)
    count = sum(weight.sum() for *_, weight in batches)
    np.testing.assert_allclose(metric.result(), total / count if count else 0, rtol=1e-4, atol=1e-3)
    means = np.concatenate([v.astype(float).reshape(len(v), -1).mean(-1) for v, *_ in batches])
    np.testing.assert_allclose(plain.result(), means.mean(), rtol=1e-4, atol=1e-3)
    assert plain.count == sum(len(v) for v, *_ in batches)


@given(batches=st.lists(weighted_values(), min_size=1, max_size=4))
def test_sum(batches):
    metric = metrics.Sum()
    wanted = 0.0
    for values, weights, *_ in batches:
        metric.update_state(values, weights)
        axes = weights.shape + (1,) * (values.ndim - weights.ndim)
        wanted += float((values.astype(float) * weights.reshape(axes)).sum())
    np.testing.assert_allclose(metric.result(), wanted, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("number", [2, 2.5, np.float32(2.5), np.float64(2.5), np.int64(3), np.array(2.5)])
@pytest.mark.parametrize("weight", [None, 3, 0.5, np.float32(2)])
def test_a_number_is_one_sample(number, weight):
    metric = metrics.Mean()
    metric.update_state(number, weight)
    metric.update_state(1.0)
    w = 1 if weight is None else float(weight)
    near(metric.result(), (float(number) * w + 1) / (w + 1))
    assert type(metric.result()) is np.float32
    near([metric.total, metric.count], [float(number) * w + 1, w + 1])


def test_numbers_that_are_none_are_told():
    for bad in (np.nan, np.inf, -np.inf, 1e300):
        metric = metrics.Mean()
        with np.errstate(over="ignore"):
            metric.update_state(np.array([bad, 1.0]))
            metric.update_state(float(bad))
        assert not np.isfinite(metric.result())


def test_means_of_nothing():
    metric = metrics.Mean()
    assert metric.result() == 0
    metric.update_state(np.zeros((0, 3)))
    assert (metric.result(), metric.count.numpy()) == (0, 0)
    metric.update_state([5.0, 7.0], [0.0, 0.0])
    assert metric.result() == 0
    for each in (metrics.BinaryAccuracy(), metrics.Precision(), metrics.AUC()):
        each.update_state(np.zeros((0, 1)), np.zeros((0, 1)))
        assert each.result() == 0


def test_half_widths_are_counted_in_float32():
    for dtype in ("float16", "bfloat16"):
        metric = metrics.Mean(dtype=dtype)
        for _ in range(3):
            metric.update_state(np.ones(2000))
        assert metric.dtype == dtype
        assert (metric.count.dtype, metric.count.numpy()) == ("float32", 6000)
        assert metric.get_config()["dtype"] == dtype


def test_wide_and_whole_numbers():
    metric = metrics.Mean(dtype="float64")
    metric.update_state(np.float64([1, 1 + 1e-12]))
    assert metric.result().dtype == np.float64
    assert metric.result() == 1 + 5e-13
    whole = metrics.Sum(dtype="int64")
    whole.update_state([2**53, 1])
    assert whole.result() == 2**53 + 1


def test_under_another_floatx():
    backend.set_floatx("float64")
    try:
        assert metrics.binary_accuracy([1], [0.75]).dtype == np.float64
        metric = metrics.Precision(thresholds=0.1)
        metric.update_state([1, 0], [0.1 + 1e-12, 0.1 - 1e-12])
        assert metric.true_positives.dtype == "float64"
        assert metric.result() == 1
    finally:
        backend.set_floatx("float32")


# --- Accuracies -----------------------------------------------------------------------------------


@st.composite
def scores_and_classes(draw):
    n, classes = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    scores = draw(hnp.arrays("f4", (n, classes), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0])))
    return scores, draw(hnp.arrays(draw(st.sampled_from(["i4", "i8", "u1", "f4"])), n,
                                   elements=st.integers(0, classes - 1)))  # fmt: skip


@given(drawn=scores_and_classes(), k=st.integers(1, 6))
def test_accuracies_of_classes(drawn, k):
    scores, classes = drawn
    one_hot = np.eye(scores.shape[1])[classes.astype(int)]
    first = [
        float(max(range(len(row)), key=lambda c: (row[c], -c)) == true) for row, true in zip(scores, classes)
    ]
    for given_classes in (classes, classes[:, None]):
        assert metrics.sparse_categorical_accuracy(given_classes, scores).tolist() == first
    assert metrics.categorical_accuracy(one_hot, scores).tolist() == first
    among = [float(sum(s > row[int(true)] for s in row) < k) for row, true in zip(scores, classes)]
    assert metrics.sparse_top_k_categorical_accuracy(classes, scores, k).tolist() == among
    assert metrics.top_k_categorical_accuracy(one_hot, scores, k=k).tolist() == among
    order = np.argsort(-scores, axis=1, kind="stable")
    sorted_ids = metrics.sparse_top_k_categorical_accuracy(classes, order, k, from_sorted_ids=True)
    assert sorted_ids.tolist() == [
        float(true in row[:k]) for row, true in zip(order.tolist(), classes.tolist())
    ]


@given(drawn=scores_and_classes(), threshold=st.sampled_from([0.0, 0.25, 0.5]))
def test_accuracies_of_numbers(drawn, threshold):
    scores = drawn[0]
    truth = scores[::-1] > 0.3
    for labels in (truth, truth.astype("i8"), truth.astype("f4")):
        found = metrics.binary_accuracy(labels, scores, threshold)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, (scores > threshold) == truth)
    np.testing.assert_array_equal(metrics.accuracy(scores[::-1], scores), scores[::-1] == scores)
    assert metrics.accuracy(np.float64([0.1]), np.float32([0.1])) == 1


def test_no_number_is_not_among_the_best():
    scores = np.float32([[np.nan, 1, 0], [0, np.nan, 1]])
    assert metrics.sparse_top_k_categorical_accuracy([0, 2], scores, k=2).tolist() == [0, 1]


# --- Counts over thresholds -----------------------------------------------------------------------

EIGHTHS = st.integers(0, 8).map(lambda i: i / 8)
THRESHOLDS = st.one_of(
    st.lists(EIGHTHS, min_size=1, max_size=6),
    st.sampled_from([[0.0, 0.5, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0], [1.0, 0.5, 0.0]]),
)


@st.composite
def rated(draw, most=9):
    """Labels, predictions (many of them at thresholds), and weights or None."""
    shape = draw(st.sampled_from([(3,), (5, 1), (4, 3), (most, 1), (1,), (2, 2, 2)]))
    labels = draw(hnp.arrays(bool, shape))
    predictions = draw(hnp.arrays("f4", shape, elements=st.one_of(EIGHTHS, unit)))
    weights = draw(st.one_of(st.none(), hnp.arrays("f4", shape[:1], elements=weights_of_a_sample)))
    return labels.astype(draw(st.sampled_from(["?", "i8", "f4"]))), predictions, weights


def counted(labels, predictions, weights, threshold):
    """The four counts by hand."""
    found = dict.fromkeys(["tp", "fp", "tn", "fn"], 0.0)
    for place in np.ndindex(labels.shape):
        positive = bool(predictions[place] > np.float32(threshold))
        right = positive == bool(labels[place])
        found[f"{'t' if right else 'f'}{'p' if positive else 'n'}"] += (
            1.0 if weights is None else float(weights[place[0]])
        )
    return found


COUNTS = {"tp": "TruePositives", "fp": "FalsePositives", "tn": "TrueNegatives", "fn": "FalseNegatives"}


@given(batches=st.lists(rated(), min_size=1, max_size=3), thresholds=THRESHOLDS)
def test_counts_and_rates(batches, thresholds):
    one = len(thresholds) == 1
    wanted = {
        key: np.array([sum(counted(*batch, t)[key] for batch in batches) for t in thresholds])
        for key in COUNTS
    }
    given = thresholds[0] if one else thresholds
    made = {key: getattr(metrics, name)(given) for key, name in COUNTS.items()}
    precision, recall = metrics.Precision(given), metrics.Recall(given)
    for labels, predictions, weights in batches:
        for metric in (*made.values(), precision, recall):
            metric.update_state(labels, predictions, weights)
    for key, metric in made.items():
        near(metric.result(), wanted[key][0] if one else wanted[key])
        near(metric.accumulator, wanted[key])
    for metric, other in ((precision, "fp"), (recall, "fn")):
        all_of_them = wanted["tp"] + wanted[other]
        rates = np.divide(wanted["tp"], all_of_them, out=np.zeros(len(thresholds)), where=all_of_them > 0)
        near(metric.result(), rates[0] if one else rates)


@given(batch=rated(), thresholds=THRESHOLDS, cut=st.integers(0, 9))
def test_batches_add_up(batch, thresholds, cut):
    labels, predictions, weights = batch
    together, apart = metrics.Recall(thresholds), metrics.Recall(thresholds)
    together.update_state(labels, predictions, weights)
    for part in (slice(cut), slice(cut, None)):
        apart.update_state(labels[part], predictions[part], None if weights is None else weights[part])
    for a, b in zip(together.variables, apart.variables):
        near(a, b)


@given(
    scores=hnp.arrays("f4", (3, 5), elements=st.sampled_from([0.0, 0.125, 0.5, 0.875])),
    labels=hnp.arrays(bool, (3, 5)),
    k=st.integers(1, 5),
    class_id=st.one_of(st.none(), st.integers(0, 4)),
)
def test_only_the_best_are_positive(scores, labels, k, class_id):
    chosen = np.zeros((3, 5), bool)
    for row, scored in enumerate(scores):
        chosen[row, sorted(range(5), key=lambda c: (-scored[c], c))[:k]] = True
    columns = slice(None) if class_id is None else [class_id]
    tp = (chosen & labels)[:, columns].sum()
    for metric, out_of in ((metrics.Precision, chosen), (metrics.Recall, labels)):
        made = metric(top_k=k, class_id=class_id)
        made.update_state(labels, scores)
        near(made.result(), tp / max(out_of[:, columns].sum(), 1))


def test_no_number_is_no_positive():
    predictions = np.float32([np.nan, 0.9])
    for thresholds in (0.5, [0.2, 0.7, 0.8], [0.0, 0.5, 1.0]):
        metric = metrics.TruePositives(thresholds)
        metric.update_state([1, 1], predictions)
        assert np.max(metric.result()) == 1
    metric = metrics.AUC()
    metric.update_state([1, 0], [np.nan, 0.9])
    assert metric.result() == 0


# --- Areas ----------------------------------------------------------------------------------------


def rank_area(labels, ranks, weights):
    """The chance that a positive sample lies above a negative one, equal ones counting half."""
    better = (ranks[:, None] > ranks) + 0.5 * (ranks[:, None] == ranks)
    pairs = np.outer(labels * weights, (1 - labels) * weights)
    return (pairs * better).sum() / pairs.sum() if pairs.sum() else None


@given(
    labels=hnp.arrays("i8", 12, elements=st.integers(0, 1)),
    ranks=hnp.arrays("i8", 12, elements=st.integers(0, 98)),
    weights=st.one_of(st.none(), hnp.arrays("f4", 12, elements=weights_of_a_sample)),
    evenly=st.booleans(),
)
def test_auc_is_the_rank_formula(labels, ranks, weights, evenly):
    predictions = (ranks + 0.5) / 99  # each rank between two thresholds
    inner = None if evenly else [i / 99 for i in range(1, 99)] + [0.001]
    metric = metrics.AUC(num_thresholds=100, thresholds=inner)
    for part in (slice(5), slice(5, None)):
        metric.update_state(labels[part], predictions[part], None if weights is None else weights[part])
    wanted = rank_area(labels, ranks, np.ones(12) if weights is None else weights.astype(float))
    if wanted is not None:
        np.testing.assert_allclose(metric.result(), wanted, atol=1e-5)


def test_auc_goes_towards_the_rank_formula():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    predictions = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1).astype(np.float32)
    wanted = rank_area(labels, predictions, np.ones(500))
    errors = []
    for thresholds in (5, 50, 5000):
        metric = metrics.AUC(thresholds)
        metric.update_state(labels, predictions)
        errors.append(abs(float(metric.result()) - wanted))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2e-4


def test_areas_between_bounds():
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 2, 200), rng.random(200)
    for curve in ("ROC", "PR"):
        areas = {}
        for method in ("minoring", "interpolation", "majoring"):
            metric = metrics.AUC(20, curve, method)
            metric.update_state(labels, predictions)
            areas[method] = metric.result()
        assert areas["minoring"] < areas["interpolation"] < areas["majoring"]


def test_an_area_for_each_label():
    rng = np.random.default_rng(2)
    labels, predictions = rng.integers(0, 2, (40, 3)), rng.random((40, 3))
    alone = []
    for column in range(3):
        metric = metrics.AUC()
        metric.update_state(labels[:, column], predictions[:, column])
        alone.append(float(metric.result()))
    together = metrics.AUC(multi_label=True)
    assert together.result() == 0
    together.update_state(labels, predictions)
    near(together.result(), np.mean(alone))
    weighted = metrics.AUC(multi_label=True, num_labels=3, label_weights=[1, 0, 3])
    weighted.update_state(labels, predictions)
    near(weighted.result(), (alone[0] + 3 * alone[2]) / 4)
    logits = metrics.AUC(from_logits=True, multi_label=True)
    logits.update_state(labels, np.log(predictions / (1 - predictions)))
    np.testing.assert_allclose(logits.result(), np.mean(alone), atol=0.01)


def at_thresholds(labels, predictions, thresholds):
    return [counted(labels, predictions, None, t) for t in thresholds]


@given(batch=rated(), value=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_best_rate_where_another_is_reached(batch, value):
    labels, predictions, _ = batch
    counts = at_thresholds(labels, predictions, np.arange(9) / 8)

    def rate(count, a, b):
        return count[a] / (count[a] + count[b]) if count[a] + count[b] else 0.0

    recall, precision, specificity = ("tp", "fn"), ("tp", "fp"), ("tn", "fp")
    for metric, given_rate, wanted in (
        (metrics.SensitivityAtSpecificity, specificity, recall),
        (metrics.SpecificityAtSensitivity, recall, specificity),
        (metrics.PrecisionAtRecall, recall, precision),
        (metrics.RecallAtPrecision, precision, recall),
    ):
        made = metric(value, num_thresholds=9)
        made.update_state(labels, predictions)
        reached = [rate(c, *wanted) for c in counts if np.float32(rate(c, *given_rate)) >= np.float32(value)]
        near(made.result(), max(reached, default=0.0))


# --- Scores, and how near numbers are -------------------------------------------------------------


@given(
    labels=hnp.arrays("i8", (6, 3), elements=st.integers(0, 1)),
    predictions=hnp.arrays("f4", (6, 3), elements=st.sampled_from([0.0, 0.25, 0.625, 0.75])),
    weights=hnp.arrays("f4", 6, elements=weights_of_a_sample),
    threshold=st.sampled_from([None, 0.5]),
    beta=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_f_scores(labels, predictions, weights, threshold, beta):
    if threshold is None:
        positive = (predictions == predictions.max(1, keepdims=True)) & (predictions > 0)
    else:
        positive = predictions > threshold
    w = weights.astype(float)[:, None]
    tp, fp, fn = (w * positive * labels, w * positive * (1 - labels), w * ~positive * labels)

    def score(tp, fp, fn):
        p, r = tp / (tp + fp + 1e-7), tp / (tp + fn + 1e-7)
        return (1 + beta**2) * p * r / (beta**2 * p + r + 1e-7)

    each = score(*(part.sum(0) for part in (tp, fp, fn)))
    often = (w * labels).sum(0)
    wanted = {
        None: each,
        "macro": each.mean(),
        "weighted": (each * often).sum() / (often.sum() + 1e-7),
        "micro": score(tp.sum(), fp.sum(), fn.sum()),
    }
    for average, value in wanted.items():
        for given_weights in (weights, weights[:, None], np.broadcast_to(weights[:, None], (6, 3))):
            metric = metrics.FBetaScore(average, beta, threshold)
            metric.update_state(labels, predictions, given_weights)
            np.testing.assert_allclose(metric.result(), value, rtol=1e-3, atol=1e-4)


@given(
    truth=hnp.arrays("f4", (5, 2), elements=st.floats(-10, 10, width=16)),
    predictions=hnp.arrays("f4", (5, 2), elements=st.floats(-10, 10, width=16)),
    weights=hnp.arrays("f4", 5, elements=st.sampled_from([0.5, 1.0, 2.0])),
)
def test_errors(truth, predictions, weights):
    a, b, w = truth.astype(float), predictions.astype(float), weights.astype(float)[:, None]
    rmse = metrics.RootMeanSquaredError()
    rmse.update_state(truth, predictions, weights)
    near(rmse.result(), np.sqrt((w * (a - b) ** 2).mean(1).sum() / w.sum()))
    r2 = metrics.R2Score(class_aggregation=None)
    r2.update_state(truth, predictions, weights)
    deviations = (w * (a - (w * a).sum(0) / w.sum()) ** 2).sum(0)
    wide = deviations > 1
    scores = 1 - (w * (a - b) ** 2).sum(0)[wide] / deviations[wide]
    np.testing.assert_allclose(r2.result()[wide], scores, rtol=1e-3, atol=1e-3)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = metrics.cosine_similarity(truth, predictions)
    long = lengths > 1e-3
    np.testing.assert_allclose(cosines[long], (a * b).sum(1)[long] / lengths[long], atol=1e-5)
    assert not cosines[(np.abs(a).sum(1) == 0) | (np.abs(b).sum(1) == 0)].any()


def test_correlations():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 4, 30))
    wanted = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b)]
    near(metrics.pearson_correlation(a, b), wanted)
    shifted = metrics.concordance_correlation(a, a + 1)
    near(shifted, [2 * x.var() / (2 * x.var() + 1) for x in a])


def test_the_adjusted_score_needs_numbers():
    truth = np.random.default_rng(0).random((6, 1))
    metric = metrics.R2Score(num_regressors=2)
    metric.update_state(truth, truth * 1.1)
    plain = metrics.R2Score()
    plain.update_state(truth, truth * 1.1)
    near(metric.result(), 1 - (1 - plain.result()) * 5 / 3)
    small = metrics.R2Score(num_regressors=5)
    small.update_state(truth, truth * 1.1)
    with pytest.warns(UserWarning, match="needs more numbers than regressors"):
        near(small.result(), plain.result())


def test_metrics_of_losses_are_their_means():
    rng = np.random.default_rng(4)
    truth, predictions = rng.integers(0, 2, (8, 3)), rng.random((8, 3), dtype=np.float32)
    weights = rng.random(8, dtype=np.float32)
    for name in (
        "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError",
        "Hinge", "SquaredHinge", "CategoricalHinge", "KLDivergence", "Poisson", "BinaryCrossentropy",
        "CategoricalCrossentropy",
    ):  # fmt: skip
        metric = getattr(metrics, name)()
        metric.update_state(truth, predictions, weights)
        values = getattr(losses, metric.name)(truth, predictions)
        near(metric.result(), np.average(values, weights=weights))


# --- Masks ----------------------------------------------------------------------------------------


@given(
    scores=hnp.arrays("f4", (3, 4, 2), elements=st.sampled_from([0.0, 0.5, 1.0])),
    classes=hnp.arrays("i8", (3, 4), elements=st.integers(0, 1)),
    mask=hnp.arrays(bool, (3, 4)),
    weights=st.one_of(st.none(), hnp.arrays("f4", (3, 4), elements=weights_of_a_sample)),
)
def test_masks(scores, classes, mask, weights):
    metric = metrics.SparseCategoricalAccuracy()
    metric.update_state(classes, scores, weights, mask=mask)
    kept = mask * (1.0 if weights is None else weights)
    right = scores.argmax(-1) == classes
    near(metric.result(), (right * kept).sum() / kept.sum() if kept.sum() else 0)


# --- State ----------------------------------------------------------------------------------------

MAKERS = {
    "Mean": lambda: metrics.Mean(),
    "MeanMetricWrapper": lambda: metrics.MeanMetricWrapper(metrics.binary_accuracy, threshold=0.25),
    "SensitivityAtSpecificity": lambda: metrics.SensitivityAtSpecificity(0.4, 30, class_id=1),
    "SpecificityAtSensitivity": lambda: metrics.SpecificityAtSensitivity(0.4, 30, class_id=1, name="s"),
    "PrecisionAtRecall": lambda: metrics.PrecisionAtRecall(0.4, class_id=0),
    "RecallAtPrecision": lambda: metrics.RecallAtPrecision(0.4, 1, class_id=1),
    "AUC": lambda: metrics.AUC(9, "PR", "majoring", multi_label=True, num_labels=2, label_weights=[1, 2]),
    "Precision": lambda: metrics.Precision([0.2, 0.6], class_id=1),
    "Recall": lambda: metrics.Recall(top_k=1, name="r"),
    "TruePositives": lambda: metrics.TruePositives([0.25, 0.75]),
    "BinaryAccuracy": lambda: metrics.BinaryAccuracy(threshold=0.25, dtype="float64"),
    "SparseTopKCategoricalAccuracy": lambda: metrics.SparseTopKCategoricalAccuracy(3, from_sorted_ids=True),
    "TopKCategoricalAccuracy": lambda: metrics.TopKCategoricalAccuracy(1),
    "CategoricalCrossentropy": lambda: metrics.CategoricalCrossentropy(label_smoothing=0.1, from_logits=True),
    "SparseCategoricalCrossentropy": lambda: metrics.SparseCategoricalCrossentropy(ignore_class=0),
    "BinaryCrossentropy": lambda: metrics.BinaryCrossentropy(label_smoothing=0.1),
    "CosineSimilarity": lambda: metrics.CosineSimilarity(axis=0),
    "FBetaScore": lambda: metrics.FBetaScore("macro", 0.5, 0.3),
    "F1Score": lambda: metrics.F1Score("weighted"),
    "R2Score": lambda: metrics.R2Score(None, 1),
}
CLASSES = sorted(
    name
    for name, value in vars(metrics).items()
    if inspect.isclass(value) and issubclass(value, metrics.Metric) and value is not metrics.Metric
)
each_class = pytest.mark.parametrize("name", CLASSES)


def made(name):
    return MAKERS.get(name, getattr(metrics, name))()


def batch_for(name, rng):
    predictions = rng.random((6, 2), dtype=np.float32)
    if name in ("Mean", "Sum"):
        return (predictions,)
    if name == "SparseTopKCategoricalAccuracy":
        return rng.integers(0, 2, 6), np.argsort(predictions, axis=-1)
    if name.startswith("Sparse"):
        return rng.integers(0, 2, 6), predictions
    return rng.integers(0, 2, (6, 2)), predictions


def test_every_class_of_keras_is_there():
    assert len(CLASSES) == 40
    assert {*MAKERS} <= {*CLASSES}


@each_class
def test_configs_make_the_same_metric(name):
    metric, rng = made(name), np.random.default_rng(5)
    config = json.loads(json.dumps(metrics.serialize(metric)))
    assert config["module"] == "keras.metrics"
    assert config["class_name"] == name
    parameters = [
        p for p in inspect.signature(type(metric)).parameters.values() if p.kind is not p.VAR_KEYWORD
    ]
    assert {p.name for p in parameters} - {"thresholds", "from_sorted_ids"} <= {*config["config"]}
    ways = [
        metrics.deserialize(config),
        metrics.get(config),
        utils.deserialize_keras_object(config),
        type(metric).from_config(metric.get_config()),
        metrics.deserialize({"class_name": name, "config": config["config"]}),
    ]
    batch = batch_for(name, rng)
    metric.update_state(*batch)
    for again in ways:
        assert type(again) is type(metric)
        assert metrics.serialize(again) == metrics.serialize(metric)
        again.update_state(*batch)
        np.testing.assert_array_equal(again.result(), metric.result())


@each_class
def test_state_can_be_copied_saved_and_forgotten(name):
    metric, rng = made(name), np.random.default_rng(6)
    first, second = batch_for(name, rng), batch_for(name, rng)
    metric.update_state(*first)
    values = [v.numpy() for v in metric.variables]
    copies = [copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))]
    metric.update_state(*second)
    for each in copies:
        each.update_state(*second)
        np.testing.assert_array_equal(each.result(), metric.result())
    after = np.array(metric.result())
    for variable, value in zip(metric.variables, values):
        assert not variable.trainable
        assert variable.path == f"{metric.name}/{variable.name}"
        variable.assign(value)
    metric.update_state(*second)
    np.testing.assert_array_equal(metric.result(), after)
    metric.reset_state()
    assert not any(variable.numpy().any() for variable in metric.variables)
    metric.update_state(*first)
    for variable, value in zip(metric.variables, values):
        np.testing.assert_array_equal(variable, value)


@each_class
def test_a_bad_batch_changes_nothing(name):
    metric, rng = made(name), np.random.default_rng(7)
    good = batch_for(name, rng)
    metric.update_state(*good)
    before = [v.numpy() for v in metric.variables]
    shape = np.shape(good[0])
    with pytest.raises(ValueError, match="shape"):
        metric.update_state(*good, sample_weight=np.ones((shape[0] + 1, *shape[1:])))
    if len(good) == 2:
        with pytest.raises(ValueError, match="shape"):
            metric.update_state(np.ones((5, 3, 7)), good[1])
    for variable, value in zip(metric.variables, before):
        np.testing.assert_array_equal(variable, value)


def test_names_and_orders_of_variables():
    def of(metric):
        return [variable.name for variable in metric.variables]

    assert of(metrics.Mean()) == of(metrics.BinaryAccuracy()) == ["total", "count"]
    assert of(metrics.Precision()) == ["true_positives", "false_positives"]
    assert of(metrics.AUC()) == ["true_positives", "false_positives", "true_negatives", "false_negatives"]
    assert of(metrics.FalseNegatives()) == ["accumulator"]
    r2 = metrics.R2Score()
    r2.update_state([[1.0], [2.0]], [[1.0], [2.0]])
    assert of(r2) == ["num_samples", "squared_sum", "sum", "residual", "count"]


def test_a_total_is_a_variable():
    total = Total(np.zeros(2, np.float32), name="total")
    before = total.value
    total.add(np.array([1, 2]))
    assert before.tolist() == [0, 0]
    assert total.assign_add([1.0, 1.0]).tolist() == [2, 3]
    assert total.shape == (2,)
    with pytest.raises(ValueError, match="shape"):
        total.assign([1.0])
    assert isinstance(total, Variable)
    counts = metrics.TruePositives([0.1, 0.2])
    counts.update_state([1], [0.5])
    counts.result()[:] = 7  # what is given away is nobody's state
    assert counts.result().tolist() == [1, 1]


class Largest(metrics.Metric):
    """A metric of the user's own, as tf.keras programs write it."""

    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.largest = self.add_weight("largest", initializer="zeros")
        self.seen = {"batches": [self.add_weight(shape=(), name="batches", dtype="int32")]}
        self.inner = metrics.Mean()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.largest.assign(np.maximum(self.largest, np.max(np.abs(y_true - y_pred))))
        self.seen["batches"][0].assign_add(1)
        self.inner.update_state(y_pred)

    def result(self):
        return {"largest": self.largest.numpy(), "mean": self.inner.result()}


def test_metrics_of_your_own():
    metric = Largest()
    assert [v.path for v in metric.variables] == [
        "largest/largest",
        "largest/batches",
        "mean/total",
        "mean/count",
    ]
    result = metric(np.float32([1, 2]), np.float32([1, 5]))
    assert result == {"largest": 3, "mean": 3}
    metric.reset_states()
    assert not any(v.numpy().any() for v in metric.variables)
    config = metrics.serialize(metric)
    with pytest.raises(ValueError, match="Largest"):
        metrics.deserialize(config)
    again = metrics.deserialize(config, custom_objects={"Largest": Largest})
    assert (type(again), again.name, repr(again)) == (Largest, "largest", "<Largest name=largest>")
    with pytest.raises(NotImplementedError, match="update_state"):
        metrics.Metric().update_state()
    with pytest.raises(NotImplementedError, match="result"):
        metrics.Metric().result()


def test_either_name_of_reset_state_is_the_other():
    class Old(metrics.Mean):
        def reset_states(self):
            super().reset_states()
            self.told = True

    class New(metrics.Mean):
        def reset_state(self):
            super().reset_state()
            self.told = True

    for metric, method in ((Old(), "reset_state"), (New(), "reset_states")):
        metric.update_state(3.0)
        getattr(metric, method)()
        assert metric.told
        assert metric.result() == 0


def test_forgotten_super():
    class Forgetful(metrics.Metric):
        def __init__(self):
            self.total = self.add_variable((), "zeros")

    with pytest.raises(RuntimeError, match=r"super\(\)\.__init__"):
        Forgetful()


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("acc", "Accuracy"), ("ACC", "Accuracy"), ("accuracy", "Accuracy"), ("mse", "MeanSquaredError"),
        ("kld", "KLDivergence"), ("KLD", "KLDivergence"), ("kullback_leibler_divergence", "KLDivergence"),
        ("cosine_proximity", "CosineSimilarity"), ("logcosh", "LogCoshError"), ("log_cosh", "LogCoshError"),
        ("msle", "MeanSquaredLogarithmicError"), ("r2_score", "R2Score"), ("f1_score", "F1Score"),
        ("precision", "Precision"), ("AUC", "AUC"), ("auc", "AUC"), ("top_k_categorical_accuracy",
        "TopKCategoricalAccuracy"), ("kl_divergence", "KLDivergence"), ("bce", "BinaryCrossentropy"),
    ],
)  # fmt: skip
def test_names_of_every_era(name, kind):
    assert type(metrics.get(name)).__name__ == kind


def test_functions_by_name():
    assert metrics.mse is metrics.mean_squared_error is losses.mean_squared_error
    assert metrics.get("huber") is losses.huber
    assert metrics.get(None) is None
    assert metrics.get(metrics.Mean).name == "mean"
    written = metrics.serialize(metrics.binary_accuracy)
    assert written["config"] == "binary_accuracy"
    assert metrics.deserialize(written) is metrics.get(written) is metrics.binary_accuracy
    assert utils.deserialize_keras_object(written) is metrics.binary_accuracy
    for nothing in ("no such thing", 3, {"class_name": "Nothing", "config": {}}, {}):
        with pytest.raises(ValueError, match="metric"):
            metrics.get(nothing)


def test_what_a_string_means():
    def found(*args):
        metric = metrics.for_string(*args)
        return type(metric).__name__, metric.name

    assert found("crossentropy", (4, 1), (4, 1)) == ("BinaryCrossentropy", "crossentropy")
    assert found("ce", (4,), (4, 3)) == ("SparseCategoricalCrossentropy", "ce")
    assert found("ce", (4, 3), (4, 3)) == ("CategoricalCrossentropy", "ce")
    assert found("acc", (None,), (None,)) == ("BinaryAccuracy", "acc")
    assert found("huber", (4, 1), (4, 1)) == ("MeanMetricWrapper", "huber")
    assert found(metrics.binary_accuracy, (4, 1), (4, 1)) == ("MeanMetricWrapper", "binary_accuracy")

    class Distance:
        def __call__(self, y_true, y_pred):
            return abs(y_true - y_pred)

    assert found(Distance(), (4, 1), (4, 1)) == ("MeanMetricWrapper", "distance")
    mine = metrics.Precision(name="mine")
    assert metrics.for_string(mine, (4, 1), (4, 1)) is mine
    assert mine.name == "mine"
    for nothing in (None, "no such thing"):
        with pytest.raises(ValueError, match="metric"):
            metrics.for_string(nothing, (4, 1), (4, 1))


# --- Refused --------------------------------------------------------------------------------------


def test_labels_that_fit_no_prediction_are_refused():
    """Keras stretches the one or the other, and compares labels with the predictions of other samples."""
    for metric, truth, predictions in [
        (metrics.BinaryAccuracy(), (3,), (3, 3)),
        (metrics.Accuracy(), (3, 1, 1), (3,)),
        (metrics.RootMeanSquaredError(), (2,), (2, 2)),
        (metrics.CosineSimilarity(), (3,), (3, 3)),
        (metrics.Precision(), (6,), (2, 3)),
        (metrics.AUC(), (2, 3), (3, 2)),
        (metrics.F1Score(), (4, 1), (4, 3)),
        (metrics.R2Score(), (4, 1), (4, 3)),
    ]:
        with pytest.raises(ValueError, match="does not fit y_pred of shape"):
            metric.update_state(np.zeros(truth), np.zeros(predictions))


def test_class_numbers_are_no_one_hot_labels():
    for metric in (metrics.CategoricalAccuracy(), metrics.TopKCategoricalAccuracy()):
        for truth in (np.array([0, 2, 1]), np.array([[0], [2], [1]])):
            with pytest.raises(ValueError, match=r"labels are one-hot here.*sparse"):
                metric.update_state(truth, np.eye(3))
    with pytest.raises(ValueError, match="the number of a class is needed for each row"):
        metrics.sparse_categorical_accuracy(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="the number of a class is needed for each row"):
        metrics.sparse_top_k_categorical_accuracy([1, 2], np.eye(3))


@pytest.mark.parametrize("outside", [3, -1, 200])
def test_classes_without_a_score_are_refused(outside):
    with pytest.raises(ValueError, match=f"class {outside} at position 1.*0 to 2"):
        metrics.sparse_top_k_categorical_accuracy([0, outside], np.eye(3)[:2])
    with pytest.raises(ValueError, match="fractions"):
        metrics.sparse_top_k_categorical_accuracy([0.5, 1], np.eye(3)[:2])


def test_logits_are_no_probabilities():
    for metric in (metrics.AUC(), metrics.PrecisionAtRecall(0.5), metrics.SensitivityAtSpecificity(0.5, 1)):
        for bad in (-0.5, 1.5):
            with pytest.raises(ValueError, match=r"takes predictions in \[0, 1\]"):
                metric.update_state([0, 1], [0.5, bad])
        metric.update_state([0, 1], [-1e-7, 1 + 1e-6])  # rounding
    metrics.Precision(thresholds=0).update_state([0, 1], [-3.0, 3.0])


def test_classes_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="column for that class"):
        metrics.Precision(class_id=3).update_state(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="top_k=4 needs predictions of at least 4"):
        metrics.Precision(top_k=4).update_state(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="counts 2 labels"):
        metrics.AUC(multi_label=True, num_labels=2).update_state(np.eye(3), np.eye(3))


def test_scores_before_the_first_batch_are_0():
    for metric in (metrics.F1Score(), metrics.R2Score(), metrics.AUC(multi_label=True)):
        assert metric.result() == 0
        metric.reset_state()


@pytest.mark.parametrize("thresholds", [[], 1.5, [0.5, -0.1], [None]])
def test_thresholds_are_between_0_and_1(thresholds):
    for made_by in (metrics.Precision, metrics.TruePositives):
        with pytest.raises(ValueError, match=r"Threshold values must be in \[0, 1\]"):
            made_by(thresholds)

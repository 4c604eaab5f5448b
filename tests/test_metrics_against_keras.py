"""Metrics against real Keras 3: state, results and configs over batches with weights.

Programs run by both libraries, as in test_against_keras.py: by Keras on NumPy, and some on JAX. Keras adds
numbers up in another order, so that what is computed agrees to 1e-5.
"""

from __future__ import annotations

import numpy as np
import pytest
from two_libraries import Raised, outcome, process

import fastembed
import fastembed.metrics

CLASSES = 4


@pytest.fixture(scope="module")
def keras():
    with process("keras", backend="numpy") as run:
        yield run


@pytest.fixture(scope="module")
def jax():
    with process("keras", backend="jax") as run:
        yield run


def seen(metric):
    """What a user sees of a metric."""
    variables = [(v.name, v.path, str(v.dtype), tuple(v.shape), np.array(v)) for v in metric.variables]
    result = metric.result()
    return [np.array(result), variables]


def plain(config):
    """A config without the classes in which Keras holds lists and arrays."""
    if isinstance(config, dict):
        if config.get("class_name") in ("__numpy__", "__tensor__"):
            return plain(config["config"]["value"])
        return {key: plain(value) for key, value in config.items()}
    if isinstance(config, list):
        return [plain(item) for item in config]
    return np.asarray(config).tolist() if hasattr(config, "shape") else config


def over_batches(library, expression, batches):
    library.backend.clear_session()
    metric = eval(expression, {"metrics": library.metrics, "np": np})
    at_first = (
        metric.name,
        metric.dtype,
        plain(metric.get_config()),
        [tuple(v.shape) for v in metric.variables],
    )
    out = [at_first]
    for batch in batches:
        metric.update_state(*batch)
        out.append(seen(metric))
    out.append(plain(library.metrics.serialize(metric)))
    metric.reset_state()
    metric.update_state(*batches[-1])
    out.append(seen(metric))
    again = type(metric).from_config(metric.get_config())
    again.update_state(*batches[-1])
    out.append(seen(again))
    return out


def assert_near(ours, theirs):
    assert not isinstance(ours, Raised), ours
    assert not isinstance(theirs, Raised), theirs
    if isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=5e-6)
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs)
        assert len(ours) == len(theirs), (ours, theirs)
        for our, their in zip(ours, theirs):
            assert_near(our, their)
    elif isinstance(theirs, dict):
        assert set(ours) == set(theirs), (ours, theirs)
        for key, their in theirs.items():
            assert_near(ours[key], their)
    else:
        assert ours == theirs


def agree(keras, expression, batches, program=over_batches):
    assert_near(outcome(program, fastembed, expression, batches), keras(program, expression, batches))


# --- Batches --------------------------------------------------------------------------------------

WEIGHTS = ("none", "samples", "column", "zeros", "one")  # whose forms take turns over the batches


def weights_for(rng, kind, n):
    """Weights of each form that a user gives."""
    return {
        "none": (),
        "samples": (rng.random(n, dtype=np.float32),),
        "column": (rng.random((n, 1), dtype=np.float32),),
        "zeros": ((rng.random(n) > 0.5).astype(np.float32),),
        "one": (np.float32(0.5),),
    }[kind]


def binary(rng, kinds=WEIGHTS, rank=2):
    for n, kind in zip((32, 7, 32, 32, 1), kinds):
        shape = (n, 1)[:rank]
        truth = rng.integers(0, 2, shape)
        near = np.clip(0.35 + 0.3 * truth + 0.3 * rng.standard_normal(shape), 0, 1)
        near = np.where(rng.random(shape) < 0.2, np.round(near * 4) / 4, near).astype(np.float32)
        yield truth.astype(rng.choice(["int64", "float32", "bool", "int8"])), near, *weights_for(rng, kind, n)


def labels(rng, kinds=WEIGHTS[:4], sparse=False):
    for n, kind in zip((32, 32, 5, 32), kinds):
        truth = rng.integers(0, CLASSES, n)
        scores = rng.random((n, CLASSES), dtype=np.float32)
        scores[np.arange(n), truth] += 0.3
        scores = np.round(scores, 1) if sparse else scores / scores.sum(-1, keepdims=True)
        one_hot = np.eye(CLASSES, dtype=np.float32)[truth]
        column = truth[:, None] if n == 5 else truth
        yield column if sparse else one_hot, scores, *weights_for(rng, kind, n)


def numbers(rng, kinds=WEIGHTS):
    for n, kind in zip((32, 3, 32, 32, 32), kinds):
        truth = rng.standard_normal((n, 3)).astype(np.float32)
        yield truth, truth + rng.standard_normal((n, 3)).astype(np.float32), *weights_for(rng, kind, n)


def values(rng, shape):
    for kind in WEIGHTS:
        yield rng.standard_normal(shape).astype(np.float32), *weights_for(rng, kind, shape[0])


def seeded(*what):
    return np.random.default_rng(sum(map(ord, "".join(map(str, what)))))


# --- The metrics ----------------------------------------------------------------------------------

OF_BINARY = [
    "Accuracy()",
    "BinaryAccuracy()",
    "BinaryAccuracy(threshold=0.3, name='near')",
    "BinaryCrossentropy()",
    "BinaryCrossentropy(from_logits=True, label_smoothing=0.2)",
    "MeanSquaredError(name='mine')",
    "Hinge()",
    "SquaredHinge()",
    "TruePositives()",
    "FalsePositives(thresholds=[0.25, 0.5, 0.9])",
    "TrueNegatives(thresholds=[0.0, 0.5, 1.0])",
    "FalseNegatives(thresholds=[0.9, 0.1])",
    "Precision()",
    "Precision(thresholds=0)",
    "Precision(thresholds=[0.1, 0.5, 0.75])",
    "Recall()",
    "Recall(thresholds=[0.25, 0.75])",
    "SensitivityAtSpecificity(0.5)",
    "SpecificityAtSensitivity(0.7, num_thresholds=10)",
    "PrecisionAtRecall(0.8)",
    "RecallAtPrecision(0.6, num_thresholds=1)",
    "AUC()",
    "AUC(num_thresholds=7, name='area')",
    "AUC(curve='PR')",
    "AUC(curve='PR', summation_method='minoring')",
    "AUC(curve='PRGAIN', num_thresholds=20)",
    "AUC(summation_method='majoring', thresholds=[0.2, 0.8, 0.3])",
    "AUC(thresholds=[0.25, 0.5, 0.75])",
    "AUC(from_logits=True)",
]


@pytest.mark.parametrize("expression", OF_BINARY)
def test_of_binary_labels(keras, expression):
    agree(keras, f"metrics.{expression}", list(binary(seeded(expression))))


@pytest.mark.parametrize("expression", ["BinaryAccuracy()", "Precision()", "AUC()", "Accuracy()"])
def test_of_a_number_a_sample(keras, expression):
    agree(keras, f"metrics.{expression}", list(binary(seeded(expression), WEIGHTS[:2], rank=1)))


OF_CLASSES = [
    "CategoricalAccuracy()",
    "CategoricalCrossentropy()",
    "CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, name='ce')",
    "CategoricalHinge()",
    "KLDivergence()",
    "Poisson()",
    "TopKCategoricalAccuracy(k=2)",
    "Precision(top_k=2)",
    "Precision(top_k=2, thresholds=0.3)",
    "Precision(class_id=2)",
    "Recall(top_k=1, class_id=0)",
    "Recall(thresholds=[0.2, 0.4], class_id=1)",
    "PrecisionAtRecall(0.5, class_id=3)",
    "AUC(num_thresholds=50)",
    "AUC(multi_label=True)",
    "AUC(multi_label=True, num_labels=4, label_weights=[1.0, 2.0, 0.0, 0.5], curve='PR')",
    "AUC(label_weights=[1.0, 2.0, 0.0, 0.5])",
    "AUC(multi_label=True, thresholds=[0.3, 0.6])",
]


@pytest.mark.parametrize("expression", OF_CLASSES)
def test_of_one_hot_labels(keras, expression):
    agree(keras, f"metrics.{expression}", list(labels(seeded(expression))))


@pytest.mark.parametrize(
    "expression",
    [
        "F1Score()",
        "F1Score(average='micro', threshold=0.4)",
        "F1Score(average='macro')",
        "FBetaScore(average='weighted', beta=2.0)",
        "FBetaScore(beta=0.5, threshold=0.3)",
    ],
)
def test_f_scores(keras, expression):
    agree(keras, f"metrics.{expression}", list(labels(seeded(expression), WEIGHTS[:2])))


@pytest.mark.parametrize(
    "expression",
    [
        "SparseCategoricalAccuracy()",
        "SparseTopKCategoricalAccuracy(k=2)",
        "SparseTopKCategoricalAccuracy(k=1, name='best')",
        "SparseCategoricalCrossentropy(from_logits=True)",
        "SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)",
    ],
)
def test_of_class_numbers(keras, expression):
    agree(keras, f"metrics.{expression}", list(labels(seeded(expression), sparse=True)))


def test_of_sorted_ids(keras):
    batch = np.array([2, 1, 0]), np.array([[1, 2, 0], [0, 2, 1], [0, 1, 2]])
    agree(keras, "metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)", [batch])


OF_NUMBERS = [
    "MeanSquaredError()",
    "MeanAbsoluteError()",
    "MeanAbsolutePercentageError()",
    "MeanSquaredLogarithmicError()",
    "RootMeanSquaredError()",
    "LogCoshError()",
    "R2Score()",
    "R2Score(class_aggregation=None)",
    "R2Score(class_aggregation='variance_weighted_average', num_regressors=2)",
    "PearsonCorrelation()",
    "ConcordanceCorrelation()",
]


@pytest.mark.parametrize("expression", OF_NUMBERS)
def test_of_numbers(keras, expression):
    agree(keras, f"metrics.{expression}", list(numbers(seeded(expression))))


@pytest.mark.parametrize("shape", [(32,), (4, 3), (2, 3, 2)])
@pytest.mark.parametrize("expression", ["Mean()", "Sum(name='mine')"])
def test_of_values(keras, expression, shape):
    agree(keras, f"metrics.{expression}", list(values(seeded(expression), shape)))


def results(library, expression, batches):
    metric = eval(expression, {"metrics": library.metrics})
    return [np.array(metric(*batch)) for batch in batches]


@pytest.mark.parametrize(("axis", "kinds"), [(-1, WEIGHTS), (0, ["none"])])
def test_cosine_similarity(jax, axis, kinds):
    agree(jax, f"metrics.CosineSimilarity(axis={axis})", list(numbers(seeded(axis), kinds)), results)


@pytest.mark.parametrize("expression", ["BinaryAccuracy()", "BinaryCrossentropy()", "Precision()", "AUC()"])
def test_on_jax(jax, expression):
    agree(jax, f"metrics.{expression}", list(binary(seeded(expression))))


def masked(library, expression, batches):
    metric = eval(expression, {"metrics": library.metrics})
    out = []
    for truth, predictions, mask, *weights in batches:
        if library is fastembed:
            metric.update_state(truth, predictions, *weights, mask=mask)
        else:
            from keras.src import backend

            tensor = library.ops.convert_to_tensor(predictions)
            backend.set_keras_mask(tensor, library.ops.convert_to_tensor(mask))
            metric.update_state(truth, tensor, *weights)
        out.append(seen(metric))
    return out


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "expression", ["SparseCategoricalAccuracy()", "SparseCategoricalCrossentropy()", "MeanSquaredError()"]
)
def test_masks(keras, expression, weighted):
    rng = seeded(expression)
    batches = []
    for n in (8, 3):
        scores = rng.random((n, 5, CLASSES), dtype=np.float32)
        scores /= scores.sum(-1, keepdims=True)
        truth = scores.round(1) if "Squared" in expression else rng.integers(0, CLASSES, (n, 5))
        weights = [rng.random((n, 5), dtype=np.float32)] if weighted else []
        batches.append((truth, scores, rng.random((n, 5)) > 0.4, *weights))
    agree(keras, f"metrics.{expression}", batches, masked)


def test_steps_of_sequences(keras):
    rng = seeded("steps")
    scores = rng.random((6, 5, CLASSES), dtype=np.float32)
    truth = rng.integers(0, CLASSES, (6, 5))
    one_hot = np.eye(CLASSES, dtype=np.float32)[truth]
    weights = rng.random((6, 5), dtype=np.float32), rng.random(6, dtype=np.float32)
    sparse = [(truth, scores), (truth[..., None], scores), *((truth, scores, w) for w in weights)]
    for name in (
        "SparseCategoricalAccuracy",
        "SparseTopKCategoricalAccuracy",
        "SparseCategoricalCrossentropy",
    ):
        agree(keras, f"metrics.{name}()", sparse, results)
    dense = [(one_hot, scores), *((one_hot, scores, w) for w in weights)]
    for name in (
        "CategoricalAccuracy",
        "TopKCategoricalAccuracy",
        "MeanSquaredError",
        "RootMeanSquaredError",
    ):
        agree(keras, f"metrics.{name}()", dense, results)
    agree(keras, "metrics.Precision()", [(one_hot, scores), (one_hot, scores, one_hot + 1)], results)


# --- Functions and names --------------------------------------------------------------------------


def values_of(library, name, batches, settings):
    return [np.array(getattr(library.metrics, name)(*batch, **settings)) for batch in batches]


@pytest.mark.parametrize(
    ("name", "data", "settings"),
    [
        ("binary_accuracy", binary, {}),
        ("binary_accuracy", binary, {"threshold": 0.25}),
        ("categorical_accuracy", labels, {}),
        ("top_k_categorical_accuracy", labels, {"k": 2}),
        ("pearson_correlation", numbers, {}),
        ("concordance_correlation", numbers, {"axis": 0}),
        ("mean_squared_error", numbers, {}),
        ("log_cosh", numbers, {}),
    ],
)
def test_functions(keras, name, data, settings):
    batches = list(data(seeded(name), ["none"]))
    ours = values_of(fastembed, name, batches, settings)
    assert_near(ours, keras(values_of, name, batches, settings))


def kinds(library, names):
    library.backend.clear_session()
    found = []
    for name in names:
        try:
            metric = library.metrics.get(name)
        except ValueError:
            found.append("refused")
        else:
            found.append((type(metric).__name__, metric.name))
    return found


def names_of_keras(library):
    from keras.src.metrics import ALL_OBJECTS_DICT

    return sorted(ALL_OBJECTS_DICT)


def test_names(keras):
    no_arguments_missing = [
        name
        for name in keras(names_of_keras)
        if "iou" not in name.lower().replace("_", "") and "At" not in name and "_at_" not in name
        and name not in ("Metric", "metric", "MeanMetricWrapper", "mean_metric_wrapper")
    ]  # fmt: skip
    assert len(no_arguments_missing) > 70
    assert kinds(fastembed, no_arguments_missing) == keras(kinds, no_arguments_missing)


def by_shapes(library, name, truth, predictions):
    if library is fastembed:
        metric = library.metrics.for_string(name, truth, predictions)
    else:
        from keras.src.trainers.compile_utils import get_metric

        metric = get_metric(name, np.zeros(truth), np.zeros(predictions))
    return type(metric).__name__, metric.name


@pytest.mark.parametrize("name", ["accuracy", "acc", "ACC", "Accuracy", "mse", "auc", "BinaryAccuracy"])
def test_what_strings_mean(keras, name):
    for shapes in [
        ((4, 1), (4, 1)), ((4,), (4, 1)), ((4,), (4, 3)), ((4, 1), (4, 3)), ((4, 3), (4, 3)),
        ((4, 5), (4, 5, 3)), ((4, 5, 1), (4, 5, 3)), ((4, 5, 3), (4, 5, 3)), ((4, 5, 1), (4, 5, 1)),
    ]:  # fmt: skip
        assert by_shapes(fastembed, name, *shapes) == keras(by_shapes, name, *shapes)


# --- Refused --------------------------------------------------------------------------------------


def made(library, expression):
    return repr(eval(expression, {"metrics": library.metrics}))


@pytest.mark.parametrize(
    "expression",
    [
        "Precision(thresholds=1.5)",
        "TruePositives(thresholds=[0.5, None])",
        "Recall(thresholds=[-0.1])",
        "AUC(num_thresholds=1)",
        "AUC(curve='roc-like')",
        "AUC(summation_method='simpson')",
        "AUC(num_labels=3)",
        "SensitivityAtSpecificity(1.5)",
        "SpecificityAtSensitivity(-0.1)",
        "PrecisionAtRecall(2)",
        "RecallAtPrecision(0.5, num_thresholds=0)",
        "FBetaScore(average='sum')",
        "FBetaScore(beta=1)",
        "FBetaScore(beta=-1.0)",
        "F1Score(threshold=1)",
        "F1Score(threshold=1.5)",
        "R2Score(class_aggregation='sum')",
        "R2Score(num_regressors=-1)",
        "get('no_such_metric')",
        "get(3)",
        "Mean(name='x', nothing=3)",
    ],
)
def test_what_both_refuse(keras, expression):
    ours, theirs = outcome(made, fastembed, f"metrics.{expression}"), keras(made, f"metrics.{expression}")
    assert isinstance(ours, Raised), ours
    assert isinstance(theirs, Raised), theirs
    assert ours.name == theirs.name


@pytest.mark.parametrize(
    ("expression", "truth", "predictions"),
    [
        ("Precision(class_id=1)", (4,), (4,)),
        ("AUC(multi_label=True)", (4, 2, 2), (4, 2, 2)),
        ("F1Score()", (4,), (4,)),
        ("F1Score()", (4, 2, 2), (4, 2, 2)),
        ("R2Score()", (4,), (4,)),
    ],
)
def test_batches_that_both_refuse(keras, expression, truth, predictions):
    batches = [(np.zeros(truth, np.float32), np.zeros(predictions, np.float32))]
    ours = outcome(results, fastembed, f"metrics.{expression}", batches)
    theirs = keras(results, f"metrics.{expression}", batches)
    assert (ours.name, theirs.name) == ("ValueError", "ValueError"), (ours, theirs)

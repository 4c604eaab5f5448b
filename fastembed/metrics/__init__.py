"""Metrics, as in Keras: what is told of a model's predictions, over all batches since the last reset.

A metric is given labels and predictions of a batch with `update_state`, says with `result` what follows from
all of them, and begins anew after `reset_state`. Formulas, defaults, and what weights do: keras/src/metrics
of Keras 3.15. Functions of labels and predictions give a value for each sample; the metric of the same name
is their mean. The snake-case names are names of the classes for `get`, as in Keras 3.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any

from fastembed._registry import Registry, serialize_keras_object, subclasses_in
from fastembed.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from fastembed.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from fastembed.metrics.confusion import (
    AUC,
    FalseNegatives,
    FalsePositives,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from fastembed.metrics.f_score import F1Score, FBetaScore
from fastembed.metrics.metric import Metric
from fastembed.metrics.of_losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from fastembed.metrics.reduction import Mean, MeanMetricWrapper, Sum
from fastembed.metrics.regression import (
    ConcordanceCorrelation,
    CosineSimilarity,
    PearsonCorrelation,
    R2Score,
    RootMeanSquaredError,
    concordance_correlation,
    cosine_similarity,
    pearson_correlation,
)
from fastembed.names import snake_case

__all__ = [
    "ACC",
    "AUC",
    "BCE",
    "KLD",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "PearsonCorrelation",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "acc",
    "accuracy",
    "bce",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "concordance_correlation",
    "cosine_proximity",
    "cosine_similarity",
    "deserialize",
    "for_string",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "kld",
    "kullback_leibler_divergence",
    "log_cosh",
    "logcosh",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "mse",
    "msle",
    "pearson_correlation",
    "poisson",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]

# --- Names ----------------------------------------------------------------------------------------

acc = ACC = accuracy
bce = BCE = binary_crossentropy
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence = kl_divergence
logcosh = log_cosh
cosine_proximity = cosine_similarity

_FUNCTIONS = {
    name: value
    for name, value in list(globals().items())
    if name[0] != "_"
    and isinstance(value, types.FunctionType)
    and value.__module__.startswith(("fastembed.metrics.", "fastembed.losses"))
}
_CLASSES = subclasses_in(globals(), Metric)
_OF_FUNCTIONS = {
    accuracy: Accuracy,
    binary_crossentropy: BinaryCrossentropy,
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    kl_divergence: KLDivergence,
    log_cosh: LogCoshError,
    cosine_similarity: CosineSimilarity,
}
_registry = Registry(
    "metric",
    {
        **{
            name: _OF_FUNCTIONS[function]
            for name, function in _FUNCTIONS.items()
            if function in _OF_FUNCTIONS
        },
        **{snake_case(name): cls for name, cls in _CLASSES.items()},
        **_CLASSES,
    },
)
_functions = Registry("metric function", _FUNCTIONS, module="keras.metrics", of_functions=True)


def get(identifier: Any) -> Any:
    """The metric that ``identifier`` means.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        A name of any Keras era or of something registered, a config (see `deserialize`), a class to be made
        without arguments, a metric, or a function of labels and predictions. A name means a class, if there
        is one: ``"mse"`` a `MeanSquaredError`.

    Returns
    -------
    Metric, callable or None
        None for None.

    Raises
    ------
    ValueError
        If there is no such metric.

    Examples
    --------
    >>> get("mse"), get("AUC") is not get("auc"), get(binary_accuracy) is binary_accuracy
    (<MeanSquaredError name=mean_squared_error>, True, True)
    """
    if isinstance(identifier, Mapping):
        identifier = deserialize(identifier)
    elif isinstance(identifier, str) and identifier not in _registry.names:
        identifier = _FUNCTIONS.get(identifier, identifier)
    return _registry.get(identifier)


def serialize(metric: Any) -> Any:
    """The config of a metric as Keras 3 writes it, ready for JSON.

    Raises
    ------
    TypeError
        For a lambda and for an object without ``get_config``: they cannot be written as data.

    Examples
    --------
    >>> serialize(TopKCategoricalAccuracy(k=3))["config"]
    {'name': 'top_k_categorical_accuracy', 'dtype': 'float32', 'k': 3}
    """
    return serialize_keras_object(metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The metric that a config describes.

    Parameters
    ----------
    config : None, str or dict
        ``{"class_name", "config"}`` (Keras 2), the same with ``"module"`` and ``"registered_name"``
        (Keras 3), or a name. Nothing that it names is imported.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If the class is unknown, belongs to a package other than Keras, or does not take these settings.

    Examples
    --------
    >>> deserialize({"class_name": "Precision", "config": {"thresholds": 0.7, "name": "p"}})
    <Precision name=p>
    """
    is_function = isinstance(config, Mapping) and config.get("class_name") == "function"
    return (_functions if is_function else _registry).deserialize(config, custom_objects)


def for_string(identifier: Any, y_true_shape: Sequence[Any], y_pred_shape: Sequence[Any]) -> Metric:
    """The metric that ``compile(metrics=[identifier])`` means for an output and its labels.

    Parameters
    ----------
    identifier : str, Metric, class, dict or callable
        ``"accuracy"`` or ``"acc"`` (whatever the case) is the accuracy that fits the shapes,
        ``"crossentropy"`` or ``"ce"`` the crossentropy: binary if there is one prediction a sample, sparse
        if the labels have an axis less or one number where predictions have more, and categorical otherwise.
        Anything else means what it means to `get`; a function is averaged.
    y_true_shape, y_pred_shape : sequence of int or None
        Of a batch.

    Returns
    -------
    Metric
        Named after the string, or the function.

    Raises
    ------
    ValueError
        If there is no such metric.

    Notes
    -----
    ``get_metric`` in keras/src/trainers/compile_utils.py of Keras 3.15.

    Examples
    --------
    >>> for_string("acc", (None, 1), (None, 1)), for_string("accuracy", (None,), (None, 10))
    (<BinaryAccuracy name=acc>, <SparseCategoricalAccuracy name=accuracy>)
    >>> for_string("mse", (None, 1), (None, 1))
    <MeanSquaredError name=mse>
    """
    if identifier is None:
        raise ValueError("Expected a metric, received None")
    kinds = _BY_SHAPE.get(identifier.lower()) if isinstance(identifier, str) else None
    if kinds is not None:
        return kinds[_kind(y_true_shape, y_pred_shape)](name=identifier)
    metric = get(identifier)
    if isinstance(metric, Metric):
        if isinstance(identifier, str):
            metric.name = identifier
        return metric
    name = getattr(metric, "name", None) or snake_case(getattr(metric, "__name__", type(metric).__name__))
    return MeanMetricWrapper(metric, name=identifier if isinstance(identifier, str) else name)


_BY_SHAPE: dict[str, tuple[Any, Any, Any]] = {
    "accuracy": (BinaryAccuracy, SparseCategoricalAccuracy, CategoricalAccuracy),
    "crossentropy": (BinaryCrossentropy, SparseCategoricalCrossentropy, CategoricalCrossentropy),
}
_BY_SHAPE["acc"] = _BY_SHAPE["accuracy"]
_BY_SHAPE["ce"] = _BY_SHAPE["crossentropy"]


def _kind(y_true_shape: Sequence[Any], y_pred_shape: Sequence[Any]) -> int:
    """0 for binary, 1 for sparse, 2 for categorical."""
    # Of predictions without an axis for classes Keras takes the categorical accuracy, over the batch.
    if len(y_pred_shape) < 2 or y_pred_shape[-1] == 1:
        return 0
    return 1 if len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1 else 2

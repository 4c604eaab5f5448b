"""Keras's losses, as classes and as functions, each with its gradient.

A loss function takes ``y_true`` and ``y_pred`` and returns a value for each sample; its attribute
``gradient`` is another function: ``gradient(y_true, y_pred, upstream, ...)`` is the gradient with respect to
``y_pred``, given that with respect to the values, and the other arguments of the call. A `Loss` is an object
that is called, weighs the values and reduces them to a number.

>>> import numpy as np
>>> y_true, y_pred = np.float32([[0], [1]]), np.float32([[0.5], [0.25]])
>>> mean_squared_error(y_true, y_pred)
array([0.25  , 0.5625], dtype=float32)
>>> mean_squared_error.gradient(y_true, y_pred, [1.0, 1.0])
array([[ 1. ],
       [-1.5]], dtype=float32)
>>> value, gradient = MeanSquaredError().value_and_gradient(y_true, y_pred)
>>> float(value), gradient
(0.40625, array([[ 0.5 ],
       [-0.75]], dtype=float32))

Formulas and defaults: keras/src/losses/losses.py of Keras 3.15; where one has a kink (and probabilities are
clipped, which makes two), the gradient is the one that Keras 3 gets from JAX. All are computed in float32 or
wider and rounded once to the dtype of the predictions; integers count as float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, ClassVar

from fastembed import eras
from fastembed._registry import Registry, serialize_keras_object, subclasses_in
from fastembed.losses.functions import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    cosine_similarity,
    dice,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    of_keras1,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
    tversky,
    with_gradient,
)
from fastembed.losses.loss import Loss, LossFunctionWrapper, Reduction, check_trainable

__all__ = [
    "BCE",
    "KLD",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "Reduction",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "bce",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "check_trainable",
    "cosine",
    "cosine_proximity",
    "cosine_similarity",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "huber_loss",
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
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
    "with_gradient",
]


class _OfKeras(LossFunctionWrapper):
    """A loss of Keras's own, whose config names the arguments of its function."""

    # What Keras 3 leaves out of configs is left out here where it is the default.
    _unsaid: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, fn: Callable[..., Any], reduction: str | None, name: str | None, dtype: Any, **kwargs: Any
    ) -> None:
        super().__init__(fn, reduction, name, dtype, **kwargs)
        vars(self).update(kwargs)

    def get_config(self) -> dict[str, Any]:
        said = {
            key: value
            for key, value in self._fn_kwargs.items()
            if key not in self._unsaid or value != self._unsaid[key]
        }
        return {**Loss.get_config(self), **serialize_keras_object(said)}


class _Plain(_OfKeras):
    """One whose function takes no other arguments, and gives it its name."""

    _function: ClassVar[Callable[..., Any]]

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(self._function, reduction, name or self._function.__name__, dtype)


# --- Keras's losses --------------------------------------------------------------------------------


class MeanSquaredError(_Plain):
    """`mean_squared_error` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> float(MeanSquaredError()([[0.0], [1.0]], [[0.5], [1.0]]))
    0.125
    """

    _function = staticmethod(mean_squared_error)


class MeanAbsoluteError(_Plain):
    """`mean_absolute_error` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> float(MeanAbsoluteError()([[0.0], [1.0]], [[0.5], [1.0]]))
    0.25
    """

    _function = staticmethod(mean_absolute_error)


class MeanAbsolutePercentageError(_Plain):
    """`mean_absolute_percentage_error` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> float(MeanAbsolutePercentageError()([[2.0], [1.0]], [[1.0], [1.0]]))
    25.0
    """

    _function = staticmethod(mean_absolute_percentage_error)


class MeanSquaredLogarithmicError(_Plain):
    """`mean_squared_logarithmic_error` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(MeanSquaredLogarithmicError()([[0.0], [1.0]], [[0.0], [3.0]])), 4)
    0.2402
    """

    _function = staticmethod(mean_squared_logarithmic_error)


class LogCosh(_Plain):
    """`log_cosh` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(LogCosh()([[0.0], [1.0]], [[0.5], [1.0]])), 4)
    0.0601
    """

    _function = staticmethod(log_cosh)


class Hinge(_Plain):
    """`hinge` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> float(Hinge()([[0.0], [1.0]], [[0.5], [1.0]]))
    0.75
    """

    _function = staticmethod(hinge)


class SquaredHinge(_Plain):
    """`squared_hinge` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> float(SquaredHinge()([[0.0], [1.0]], [[0.5], [1.0]]))
    1.125
    """

    _function = staticmethod(squared_hinge)


class CategoricalHinge(_Plain):
    """`categorical_hinge` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> float(CategoricalHinge()([[0, 1, 0]], [[0.5, 0.75, 0.25]]))
    0.75
    """

    _function = staticmethod(categorical_hinge)


class KLDivergence(_Plain):
    """`kl_divergence` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]])), 4)
    0.1438
    """

    _function = staticmethod(kl_divergence)


class Poisson(_Plain):
    """`poisson` as a `Loss`.

    Parameters
    ----------
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(Poisson()([[1, 4]], [[1.0, 2.0]])), 4)
    0.1137
    """

    _function = staticmethod(poisson)


class CosineSimilarity(_OfKeras):
    """`cosine_similarity` as a `Loss`.

    Parameters
    ----------
    axis
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Notes
    -----
    Keras 3 leaves ``axis`` out of the config, and forgets it. Here it is left out where it is -1.

    Examples
    --------
    >>> round(float(CosineSimilarity()([[1.0, 0.0]], [[3.0, 4.0]])), 4)
    -0.6
    """

    _unsaid: ClassVar[Mapping[str, Any]] = {"axis": -1}

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            cosine_similarity,
            reduction,
            name,
            dtype,
            axis=axis,
        )


class Huber(_OfKeras):
    """`huber` as a `Loss`.

    Parameters
    ----------
    delta
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Notes
    -----
    Keras 3 leaves ``delta`` out of the config, and forgets it. Here it is left out where it is 1.0.

    Examples
    --------
    >>> float(Huber()([[0.0]], [[3.0]]))
    2.5
    """

    _unsaid: ClassVar[Mapping[str, Any]] = {"delta": 1.0}

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            huber,
            reduction,
            name,
            dtype,
            delta=delta,
        )


class BinaryCrossentropy(_OfKeras):
    """`binary_crossentropy` as a `Loss`.

    Parameters
    ----------
    from_logits, label_smoothing, axis
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(BinaryCrossentropy()([[0], [1]], [[0.5], [0.25]])), 4)
    1.0397
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class BinaryFocalCrossentropy(_OfKeras):
    """`binary_focal_crossentropy` as a `Loss`.

    Parameters
    ----------
    apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(BinaryFocalCrossentropy()([[0], [1]], [[0.5], [0.25]])), 4)
    0.4765
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalCrossentropy(_OfKeras):
    """`categorical_crossentropy` as a `Loss`.

    Parameters
    ----------
    from_logits, label_smoothing, axis
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(CategoricalCrossentropy()([[0, 1, 0]], [[0.25, 0.5, 0.25]])), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalFocalCrossentropy(_OfKeras):
    """`categorical_focal_crossentropy` as a `Loss`.

    Parameters
    ----------
    alpha, gamma, from_logits, label_smoothing, axis
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(CategoricalFocalCrossentropy()([[0, 1, 0]], [[0.25, 0.5, 0.25]])), 4)
    0.0433
    """

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(_OfKeras):
    """`sparse_categorical_crossentropy` as a `Loss`.

    Parameters
    ----------
    from_logits, ignore_class, axis
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Notes
    -----
    Keras 3 leaves ``axis`` out of the config, and forgets it. Here it is left out where it is -1.

    Examples
    --------
    >>> round(float(SparseCategoricalCrossentropy()([1, 0], [[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]])), 4)
    1.4979
    """

    _unsaid: ClassVar[Mapping[str, Any]] = {"axis": -1}

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


class Dice(_OfKeras):
    """`dice` as a `Loss`.

    Parameters
    ----------
    axis
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(Dice()([[0, 1]], [[0.5, 1.0]])), 4)
    0.2
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            dice,
            reduction,
            name,
            dtype,
            axis=axis,
        )


class Tversky(_OfKeras):
    """`tversky` as a `Loss`.

    Parameters
    ----------
    alpha, beta, axis
        As for the function.
    reduction, name, dtype
        As for a `Loss`.

    Examples
    --------
    >>> round(float(Tversky()([[0, 1]], [[0.5, 1.0]])), 4)
    0.2
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            tversky,
            reduction,
            name,
            dtype,
            alpha=alpha,
            beta=beta,
            axis=axis,
        )


# --- Names ----------------------------------------------------------------------------------------

# Those of Keras 1, 2 and tf.keras; Keras 3 has some of them.
bce = BCE = binary_crossentropy
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence = kl_divergence
logcosh = log_cosh
huber_loss = huber
cosine = cosine_proximity = cosine_similarity

_OF_KERAS1 = of_keras1()

_registry = Registry(
    "loss",
    {
        **{
            name: function
            for name, function in list(globals().items())
            if name[0] != "_" and hasattr(function, "_kernel")
        },
        **subclasses_in(globals(), Loss),
    },
    module="keras.losses",
    of_functions=True,
)


def get(identifier: Any) -> Any:
    """The loss that ``identifier`` means.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        A name of any Keras, of a function or of a class, or of something registered; a config; a class to be
        made without arguments; or the loss itself.

    Returns
    -------
    Loss or callable
        None for None.

    Raises
    ------
    ValueError
        If there is no such loss.

    Examples
    --------
    >>> get("mse") is mean_squared_error
    True
    >>> get("BinaryCrossentropy")
    <BinaryCrossentropy name=binary_crossentropy, reduction=sum_over_batch_size>
    """
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    return _registry.get(identifier)


def serialize(loss: Any) -> Any:
    """The config of a loss as Keras 3 writes it, ready for JSON.

    Raises
    ------
    TypeError
        For a lambda and an object without ``get_config``.

    Examples
    --------
    >>> serialize(Huber(0.5))["config"]
    {'name': 'huber_loss', 'reduction': 'sum_over_batch_size', 'delta': 0.5}
    """
    return serialize_keras_object(loss)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The loss that a config of any Keras describes; None for None.

    Parameters
    ----------
    config : None, str or dict
        A name, or what `serialize` gave, here or in a Keras. Nothing that it names is imported.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If there is no such loss, or it does not take these settings.

    Examples
    --------
    >>> config = {"class_name": "Huber", "config": {"reduction": "auto", "name": "huber_loss", "delta": 0.5}}
    >>> deserialize(config).reduction
    'sum_over_batch_size'
    """
    if isinstance(config, str) and config in _OF_KERAS1 and eras.current().name == "keras1":
        return _OF_KERAS1[config]
    return _registry.deserialize(config, custom_objects)

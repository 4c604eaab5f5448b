"""Keras's optimizers: how gradients move variables.

Every class computes Keras 3's steps, with the defaults of the era in which it is made. The gradient of a
lookup (`IndexedSlices`) costs its rows, not the table's: see `Optimizer.describe`.

>>> import numpy as np
>>> from fastembed import layers, optimizers
>>> words = layers.Embedding(1000, 4)
>>> optimizer = optimizers.Adam(learning_rate=0.01)
>>> vectors = words(np.array([3, 1, 3]), training=True)
>>> words.backward(2 * vectors)  # the gradient of the sum of squares
>>> optimizer.apply([words.embeddings.gradient], [words.embeddings])
>>> int(optimizer.iterations)
1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastembed._registry import Registry, is_of_keras, serialize_keras_object, subclasses_in
from fastembed.optimizers import schedules
from fastembed.optimizers.adagrad import Adadelta, Adagrad, Ftrl, RMSprop, RowWiseAdagrad
from fastembed.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from fastembed.optimizers.descent import SGD, Lion
from fastembed.optimizers.optimizer import Optimizer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "RowWiseAdagrad",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

_CLASSES = subclasses_in(globals(), Optimizer)
# tf.keras 2.9 to 2.12 wrote "Custom>Adam" for its new optimizers, and before that had "ExperimentalAdam".
_registry = Registry(
    "optimizer",
    {
        spelling: cls
        for name, cls in _CLASSES.items()
        for spelling in (name, name.lower(), f"Custom>{name}", f"experimental{name.lower()}")
    },
)
_LOWER = {spelling.lower(): spelling for spelling in _registry.names}


def get(identifier: Any) -> Any:
    """The optimizer that ``identifier`` means.

    Parameters
    ----------
    identifier : None, str, dict or Optimizer
        A name of any Keras, in small or capital letters, a config, or the optimizer itself.

    Returns
    -------
    Optimizer or None
        None for None.

    Raises
    ------
    ValueError
        If there is no such optimizer.

    Examples
    --------
    >>> get("ADAM").epsilon
    1e-07
    """
    made = deserialize(identifier) if isinstance(identifier, (str, dict)) else identifier
    if made is None or isinstance(made, Optimizer):
        return made
    raise ValueError(
        f"Could not interpret optimizer identifier: {identifier!r:.200}. It is neither a name, nor a config, "
        "nor an optimizer (write Adam() for the class Adam)"
    )


def serialize(optimizer: Any) -> Any:
    """The config of an optimizer as Keras 3 writes it, ready for JSON.

    Raises
    ------
    TypeError
        For an object without ``get_config``, and if the learning rate is a lambda.

    Examples
    --------
    >>> config = serialize(SGD(0.5))
    >>> config["module"], config["class_name"], config["config"]["learning_rate"]
    ('keras.optimizers', 'SGD', 0.5)
    """
    return serialize_keras_object(optimizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The optimizer that a config of any Keras describes; it is not built, and has no state.

    Parameters
    ----------
    config : None, str or dict
        ``{"name", ...}`` (Keras 1), ``{"class_name", "config"}`` (Keras 2, tf.keras), or these with
        ``"module"`` and ``"registered_name"`` (Keras 3), or a name. The names of Keras's own classes may be
        written in any case.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If the class is unknown, belongs to a package other than Keras, or does not take these settings.
        Nothing that it names is imported.

    Examples
    --------
    >>> deserialize({"class_name": "SGD", "config": {"lr": 0.5, "decay": 0.1, "momentum": 0.0}}).decay
    0.1
    """
    if isinstance(config, str):
        config = _LOWER.get(config.lower(), config)
    elif isinstance(config, dict):
        for key in ("class_name", "name"):
            name = config.get(key)
            if isinstance(name, str) and name.lower() in _LOWER:
                config = {**config, key: _LOWER[name.lower()]}
                if is_of_keras(config.get("module", "keras")) and config.get("registered_name") is not None:
                    config["registered_name"] = config[key]
                break
    return _registry.deserialize(config, custom_objects)

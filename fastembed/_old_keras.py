"""What Keras 1, Keras 2 and tf.keras meant by their initializers, and how they wrote what a layer is given.

`fastembed.initializers` and its neighbours make what Keras 3 makes, and read the configs of every Keras.
Here is what an earlier era needs on top: the distributions that Keras 1 had under the same names, and its
and its successors' ways of writing an initializer, a regularizer or a constraint down.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import activations, constraints, initializers, regularizers
from fastembed._floats import function_of_floats
from fastembed._registry import is_class_of_keras, serialize_keras_object

if TYPE_CHECKING:
    from numpy.typing import NDArray

# keras/initializations.py of Keras 1.2.2: no normal distribution was truncated, and an orthogonal matrix
# was 1.1 times one. (For matrices; the fans of convolution kernels were others.)
INITIALIZERS_OF_KERAS1: Mapping[str, Callable[[], initializers.Initializer]] = {
    "uniform": initializers.RandomUniform,
    "normal": initializers.RandomNormal,
    "lecun_uniform": initializers.LecunUniform,
    "glorot_uniform": initializers.GlorotUniform,
    "glorot_normal": lambda: initializers.VarianceScaling(1.0, "fan_avg", "untruncated_normal"),
    "he_uniform": initializers.HeUniform,
    "he_normal": lambda: initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal"),
    "orthogonal": lambda: initializers.Orthogonal(1.1),
    "identity": initializers.Identity,
    "zero": initializers.Zeros,
    "one": initializers.Ones,
}


def initializer_of_keras1(identifier: Any) -> Any:
    """What Keras 1 meant by ``init=identifier``; what it did not know means what it means in Keras 3.

    >>> initializer_of_keras1("glorot_normal").distribution, initializer_of_keras1("orthogonal").gain
    ('untruncated_normal', 1.1)
    """
    made_by = INITIALIZERS_OF_KERAS1.get(identifier) if isinstance(identifier, str) else None
    if made_by is not None:
        return made_by()
    if isinstance(identifier, types.FunctionType):
        parameters = inspect.signature(identifier).parameters
        if "dtype" not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return _without_dtype(identifier)  # init=lambda shape, name=None: ...
    return initializers.get(identifier)


def _without_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def initializer(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return np.asarray(function(shape))

    return initializer


@function_of_floats(lambda x, y, upstream: upstream * 0.2 * ((x >= -2.5) & (x <= 2.5)))
def hard_sigmoid(x: Any) -> NDArray[Any]:
    """What the activation of this name was in Keras 1, 2 and tf.keras: ``0.2 * x + 0.5``, between 0 and 1.

    >>> hard_sigmoid([-2.5, 1.0])
    array([0. , 0.7], dtype=float32)
    """
    return np.clip(0.2 * x + 0.5, 0, 1)


def activation_of_keras2(identifier: Any) -> Any:
    """What Keras 1, 2 and tf.keras meant by an activation.

    >>> activation_of_keras2("hard_sigmoid") is hard_sigmoid, activation_of_keras2("relu") is activations.relu
    (True, True)
    """
    made = activations.get(identifier)
    return hard_sigmoid if made is activations.hard_sigmoid else made


def keras1_config(obj: Any) -> Any:
    """An initializer, a regularizer or a constraint as Keras 1 wrote it.

    Raises
    ------
    ValueError
        For an initializer that is none of Keras 1's: there it had a name and no settings.

    Examples
    --------
    >>> keras1_config(regularizers.L2(0.5)), keras1_config(initializers.RandomUniform())
    ({'name': 'L1L2Regularizer', 'l1': 0.0, 'l2': 0.5}, 'uniform')
    """
    if isinstance(obj, initializers.Initializer) and is_class_of_keras(type(obj)):
        for name, made_by in INITIALIZERS_OF_KERAS1.items():
            if _same(obj, made_by()):
                return name
        raise ValueError(
            f"Keras 1 has no name for {obj!r:.200}, and its configs hold nothing else. It has "
            f"{', '.join(INITIALIZERS_OF_KERAS1)}; under a later era the config can be written"
        )
    written = keras2_config(obj)
    if not isinstance(written, dict):
        return written  # a function is written as its name, as in Keras 2
    name, config = written["class_name"], written["config"]
    keys = _KEYS_OF_KERAS1.get(name, {})
    if not isinstance(obj, (regularizers.Regularizer, constraints.Constraint)):
        return name  # a class of the user's own; Keras 1 wrote an initializer's name alone
    return {
        "name": "L1L2Regularizer" if name == "L1L2" else name,
        **{keys.get(key, key): value for key, value in config.items()},
    }


_KEYS_OF_KERAS1 = {
    "MaxNorm": {"max_value": "m"},
    "MinMaxNorm": {"min_value": "low", "max_value": "high"},
}


def keras2_config(obj: Any) -> Any:
    """An initializer, a regularizer or a constraint as Keras 2 wrote it: in few classes.

    >>> keras2_config(initializers.GlorotNormal(seed=3))["config"]
    {'scale': 1.0, 'mode': 'fan_avg', 'distribution': 'normal', 'seed': 3}
    >>> keras2_config(regularizers.L2(0.5))
    {'class_name': 'L1L2', 'config': {'l1': 0.0, 'l2': 0.5}}
    """
    written = tf_keras_config(obj)
    if not is_class_of_keras(type(obj)):
        return written
    if isinstance(obj, initializers.VarianceScaling):
        distribution = "normal" if obj.distribution == "truncated_normal" else obj.distribution
        seed = written["config"]["seed"]
        config = {"scale": obj.scale, "mode": obj.mode, "distribution": distribution, "seed": seed}
        return {"class_name": "VarianceScaling", "config": config}
    if isinstance(obj, (regularizers.L1, regularizers.L2)):
        return {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.0, **written["config"]}}
    return written


def tf_keras_config(obj: Any) -> Any:
    """An initializer, a regularizer or a constraint as tf.keras wrote it into its HDF5 files.

    >>> tf_keras_config(initializers.GlorotNormal(seed=3))
    {'class_name': 'GlorotNormal', 'config': {'seed': 3}}
    """
    written = activations.serialize(obj)
    if not isinstance(written, dict):
        return "swish" if obj is activations.silu else written
    if written["class_name"] == "function":
        return written["config"]
    config = written["config"]
    if is_class_of_keras(type(obj)):
        # The axes came with Keras 3; a seed was a number.
        config = {key: value for key, value in config.items() if key not in ("input_axes", "output_axes")}
        if isinstance(config.get("seed"), dict):
            config["seed"] = config["seed"]["config"]["seed"]
        if isinstance(obj, regularizers.Regularizer):  # whose factors were kept in float32
            config = {
                key: float(np.float32(value)) if isinstance(value, float) else value
                for key, value in config.items()
            }
    return {"class_name": written["registered_name"] or written["class_name"], "config": config}


def _same(one: initializers.Initializer, other: initializers.Initializer) -> bool:
    return serialize_keras_object(one) == serialize_keras_object(other) or (
        # A scaling by another name.
        isinstance(one, initializers.VarianceScaling) and keras2_config(one) == keras2_config(other)
    )

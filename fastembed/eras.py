"""What differs between the Kerases: one object an era, which a layer takes when it is made and keeps.

`Era` itself is Keras 3.15; the classes below it override what was otherwise before, each only what its
successor changed. Sources: the releases 1.2.2, 2.2.4, tf.keras 2.15 and 3.15.1.

Keywords need no era: a layer takes those of all of them. An era decides what a program cannot say by
keyword: what a position means, how things are named and ordered, and which dialect configs are written in.
"""

from __future__ import annotations

import contextlib
import functools
import numbers
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, ClassVar, TypeVar

import numpy as np

from fastembed import activations, dtype_policies, initializers
from fastembed._old_keras import (
    activation_of_keras2,
    initializer_of_keras1,
    keras1_config,
    keras2_config,
    tf_keras_config,
)
from fastembed._registry import serialize_keras_object
from fastembed.dtypes import standardize_dtype
from fastembed.names import automatic_name, checked_name, snake_case, snake_case_of_2

if TYPE_CHECKING:
    from fastembed.variable import Variable

    Config = dict[str, Any]

Init = TypeVar("Init", bound=Callable[..., None])
Function = TypeVar("Function", bound=Callable[..., Any])

# A constructor's keywords before Keras 2, and what they are called since.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "Embedding": {
        "init": "embeddings_initializer",
        "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
    },
    "Dense": {
        "output_dim": "units",
        "init": "kernel_initializer",
        "W_regularizer": "kernel_regularizer",
        "b_regularizer": "bias_regularizer",
        "W_constraint": "kernel_constraint",
        "b_constraint": "bias_constraint",
        "bias": "use_bias",
    },
    "BatchNormalization": {"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"},
    "Dropout": {"p": "rate"},
    "SpatialDropout1D": {"p": "rate"},
    "Concatenate": {"concat_axis": "axis"},
    "Dot": {"dot_axes": "axes"},
    "PReLU": {"init": "alpha_initializer"},
    "ReduceLROnPlateau": {"epsilon": "min_delta"},
}

# The same before Keras 3.
RENAMED_BY_3: Mapping[str, Mapping[str, str]] = {
    "LeakyReLU": {"alpha": "negative_slope"},
}

_SLOPES = frozenset({"ELU", "LeakyReLU", "ReLU", "ThresholdedReLU"})

_FILES_OF_KERAS_2: Mapping[str, tuple[str, ...]] = {
    "Model.save": ("filepath", "overwrite", "include_optimizer"),
    "Model.save_weights": ("filepath", "overwrite"),
    "Model.load_weights": ("filepath", "by_name", "skip_mismatch"),
}

# What an Embedding here can say that a Keras's config cannot: written only where it says something.
_UNSAID = {"dropout": 0.0, "out_of_range": "raise", "float_ids": "exact"}


class Era:
    """Keras 3.

    Attributes
    ----------
    name : str
        As `era` takes it.
    locks : bool
        Whether a built layer refuses new variables and layers.
    classes_dtype : str
        Of what `fastembed.utils.to_categorical` returns.
    shape_is_kept : bool
        Whether a layer that does not say otherwise is taken to give outputs of its input's shape.
    writes_defaults : bool
        Whether the config of a layer that adds nothing to `Layer` names the arguments that were not given.
    learning_rate_log : str
        What a learning rate is called among the logs of an epoch.
    checkpoint_endings, weights_endings : tuple of str
        How the names of files end to which a ModelCheckpoint writes a model, or its weights.
    """

    name: ClassVar[str] = "keras3"
    locks: ClassVar[bool] = True
    classes_dtype: ClassVar[str] = "float64"
    shape_is_kept: ClassVar[bool] = False
    writes_defaults: ClassVar[bool] = True
    # How many epochs `fit` makes that is not told, and whether generators' lengths are examples, not batches.
    epochs: ClassVar[int] = 1
    counts_samples: ClassVar[bool] = False
    learning_rate_log: ClassVar[str] = "learning_rate"
    checkpoint_endings: ClassVar[tuple[str, ...]] = (".keras", ".h5", ".hdf5")
    weights_endings: ClassVar[tuple[str, ...]] = (".weights.h5",)

    # Parameters of constructors in the order of their positions, where that is not the signature's.
    _positions: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # What an optimizer takes after the arguments of its class, by position.
    _settings: ClassVar[tuple[str, ...]] = (
        "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
        "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps", "name",
    )  # fmt: skip
    # What constructors of optimizers take for arguments that are not given, where it is not the signature's.
    _optimizer_defaults: ClassVar[Mapping[str, Config]] = {}
    # Entries of our configs that this Keras's layers do not know, whatever they say.
    _unknown_entries: ClassVar[frozenset[str]] = frozenset({"input_length"})
    # Entries that this Keras writes only where they say something else.
    _unsaid: ClassVar[Mapping[str, Mapping[str, Any]]] = {"Dense": {"activity_regularizer": None}}

    def __repr__(self) -> str:
        return f"<era {self.name}>"

    def __reduce__(self) -> Any:
        return _by_name, (self.name,)  # an era is one object, in copies and pickles of layers too

    # --- Made -------------------------------------------------------------------------------------

    def arguments(self, kind: str, args: tuple[Any, ...], kwargs: Config) -> tuple[tuple[Any, ...], Config]:
        """The arguments of a constructor as our signature has them."""
        order = self._positions.get(kind)
        if order is not None and args:
            args, kwargs = (), self._by_keyword(kind, order, args, kwargs)
        return args, _renamed(kind, {**RENAMED.get(kind, {}), **RENAMED_BY_3.get(kind, {})}, kwargs)

    def _by_keyword(self, kind: str, order: tuple[str, ...], args: tuple[Any, ...], kwargs: Config) -> Config:
        if len(args) > len(order):
            raise TypeError(
                f"In the era {self.name!r} {kind} can accept only {len(order)} positional arguments "
                f"{order}, but you passed {len(args)}: {args!r:.200}"
            )
        given = dict(zip(order, args))
        if twice := given.keys() & kwargs.keys():
            raise TypeError(f"{kind}() got {', '.join(sorted(twice))} both by position and by keyword")
        return {**given, **kwargs}

    def optimizer_arguments(
        self, kind: str, own: tuple[str, ...], args: tuple[Any, ...], kwargs: Config
    ) -> Config:
        """The arguments of an optimizer's constructor, whose class has those named ``own``, by keyword."""
        order = self._positions.get(kind, (*own, *(name for name in self._settings if name not in own)))
        given = _renamed(kind, {"lr": "learning_rate"}, self._by_keyword(kind, order, args, kwargs))
        return {**self._optimizer_defaults.get(kind, {}), **self._optimizer_settings(kind, given)}

    def _optimizer_settings(self, kind: str, given: Config) -> Config:
        if given.pop("decay", None) is not None:
            warnings.warn(
                "Argument `decay` is no longer supported and will be ignored, as in Keras 3. "
                "`learning_rate=schedules.InverseTimeDecay(learning_rate, 1, decay)` says the same, and in "
                "the earlier eras `decay` is obeyed.",
                stacklevel=4,
            )
        return given

    def optimizer_name(self, class_name: str, name: str | None) -> str:
        """An optimizer's name: the one given, checked, or an automatic one."""
        checked_name(name)
        return automatic_name(snake_case(class_name)) if name is None else name

    def as_float(self, value: Any) -> float | None:
        """A number where an optimizer takes a float; None if this Keras does not take it for one."""
        return value if isinstance(value, float) else None

    def unknown_arguments(self, kind: str, unknown: Config) -> Exception:
        """The error for keywords that no Keras has."""
        return ValueError(f"Unrecognized keyword arguments passed to {kind}: {unknown}")

    def trainable(self, value: Any) -> bool:
        """The flag that a constructor was given, checked."""
        if not isinstance(value, bool):
            raise ValueError(
                f"Expected `trainable` to be a boolean. Received: trainable={value!r} (of type {type(value)})"
            )
        return value

    def layer_name(self, class_name: str, name: str | None) -> str:
        """A layer's name: the one given, checked, or an automatic one."""
        checked_name(name)
        return automatic_name(snake_case(class_name)) if name is None else name

    def input_name(self) -> str:
        """The name of an input that was given none."""
        return self.layer_name("InputLayer", None)

    def model_name(self, class_name: str) -> str:
        """The name of a model that was given none."""
        return self.layer_name(class_name, None)

    def unsupported_mask(self, layer: Any) -> None:
        """What becomes of a mask that comes to a layer which knows nothing of masks."""
        warnings.warn(
            f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with a mask "
            "attached to "
            "it. However, this layer does not support masking and will therefore destroy the mask "
            "information. "
            "Downstream layers will not see the mask.",
            stacklevel=2,
        )

    def weight_arguments(self, args: tuple[Any, ...]) -> Config:
        """Positional arguments of ``add_weight``, named; in this era their types tell all of them apart.

        A leading string, or None before a shape, is a name, which Keras 2 and tf.keras begin with; a third
        argument that names a dtype is Keras 3's, another one Keras 1's.
        """
        if args and (isinstance(args[0], str) or (args[0] is None and _is_shape(args[1:2]))):
            return _in_order(_WEIGHT_KERAS_2, args)
        if len(args) > 3 or (len(args) == 3 and not _names_dtype(args[2])):
            return _in_order(_WEIGHT_KERAS_1, args)
        return _in_order(_WEIGHT_KERAS_3, args)

    def weight_name(self, layer: str, name: str) -> str:
        """What the variable ``name`` of a layer is called."""
        return name

    def initializer(self, identifier: Any) -> Any:
        """The initializer that ``identifier`` means."""
        return initializers.get(identifier)

    def activation(self, identifier: Any) -> Any:
        """The activation that ``identifier`` means."""
        return activations.get(identifier)

    def written(self, value: Any) -> Any:
        """An initializer, an activation or the like as this Keras writes it; numbers and such as they are."""
        return activations.serialize(value)

    def row_dropout(self, rate: float) -> float:
        """What an Embedding's ``dropout`` is taken for."""
        number = isinstance(rate, (int, float, np.integer, np.floating)) and not isinstance(rate, bool)
        if not (number and 0 <= rate < 1):
            raise ValueError(f"`dropout` must be a number of at least 0 and below 1, got {rate!r:.80}")
        return float(rate)

    def embedding_shape(
        self, input_shape: tuple[Any, ...], output_dim: int, input_length: Any
    ) -> tuple[Any, ...]:
        """Shape of an Embedding's output."""
        return (*input_shape, output_dim)

    def hashed(self, number: int, n: int) -> int:
        """The id from 1 to n - 1 of a word whose hash is ``number``."""
        return number % (n - 1) + 1

    # --- Held -------------------------------------------------------------------------------------

    def weights(self, layer: Any) -> list[Variable]:
        """All weights: a layer's own, the trainable ones first, then those of the layers it holds."""
        return once(v for each in layer._with_layers_inside() for v in each._own_weights())

    def trainable_weights(self, layer: Any) -> list[Variable]:
        """The weights that training changes."""
        return [v for v in self.weights(layer) if v.trainable] if layer.trainable else []

    def non_trainable_weights(self, layer: Any) -> list[Variable]:
        """The weights that training leaves alone."""
        return [v for v in self.weights(layer) if not v.trainable] if layer.trainable else self.weights(layer)

    def losses(self, layer: Any) -> list[Any]:
        """What the last call left, then the penalties of the weights that training changes."""
        inside = layer._with_layers_inside()
        return [*(loss for each in inside for loss in each._losses), *penalties(layer.trainable_weights)]

    def activity_loss(self, penalty: Any, outputs: Any) -> Any:
        """An activity regularizer's loss: for one example of the batch."""
        return penalty / max(1, np.shape(outputs)[0]) if np.ndim(outputs) else penalty

    def grows(self, metric: str) -> bool | None:
        """Whether a metric of this name grows as a model gets better; None where the name does not tell."""
        return None

    # --- Written down -----------------------------------------------------------------------------

    def base_config(self, layer: Any) -> Config:
        """What every layer's config has."""
        config = {
            "name": layer.name,
            "trainable": layer.trainable,
            "dtype": dtype_policies.serialize(layer.dtype_policy),
        }
        if layer.activity_regularizer is not None:
            config["activity_regularizer"] = self.written(layer.activity_regularizer)
        return config

    def entries(self, kind: str, entries: Config) -> Config:
        """The entries that a class of layers adds to its config, out of Keras 3's entries."""
        said = {key: value for key, value in entries.items() if key not in self._unknown_entries}
        unsaid = {**_UNSAID, **self._unsaid.get(kind, {})}
        written = {
            key: serialize_keras_object(value) if isinstance(value, dict) else self.written(value)
            for key, value in said.items()
        }
        return {key: value for key, value in written.items() if key not in unsaid or value != unsaid[key]}

    def config_of_input(self, layer: Any) -> Config:
        """The whole config of an InputLayer."""
        return {
            "batch_shape": layer.batch_shape,
            "dtype": layer.dtype,
            "sparse": False,
            "ragged": False,
            "name": layer.name,
            "optional": layer.optional,
        }

    def config_of_spatial_dropout(self, layer: Any, entries: Config) -> Config:
        """The whole config of a SpatialDropout1D, whose constructor takes nothing but these in Keras 3."""
        policy = layer.dtype_policy
        dtype = layer.dtype if policy.name == layer.dtype else dtype_policies.serialize(policy)
        said = {key: value for key, value in entries.items() if key != "noise_shape"}
        return {**self.entries("SpatialDropout1D", said), "name": layer.name, "dtype": dtype}

    def weights_by_name(self, filepath: str | None, save_format: str | None) -> bool:
        """Whether a file of weights is a legacy one, by its name (None: it has none) and by what was asked.

        Raises
        ------
        ValueError
            If this Keras writes no file of this name.
        """
        if filepath is not None and not filepath.endswith(".weights.h5"):
            raise ValueError(
                f"The filename must end in `.weights.h5`. Received: filepath={filepath}. (In the eras of "
                "Keras 1, 2 and tf.keras others are taken: fastembed.era.)"
            )
        return False

    def functions(self, functions: Config) -> Config:
        """What a config has for functions that a layer was given, or for values in their place."""
        return {name: serialize_keras_object(value) for name, value in functions.items() if value is not None}


_answering: ContextVar[frozenset[int]] = ContextVar("fastembed.answering", default=frozenset())


def _asked_once(question: Callable[[Any, Any], list[Variable]]) -> Callable[[Any, Any], list[Variable]]:
    """A layer that a layer inside it holds adds nothing while it answers already."""

    @functools.wraps(question)
    def answer(era: Any, layer: Any) -> list[Variable]:
        before = _answering.get()
        if id(layer) in before:
            return []
        token = _answering.set(before | {id(layer)})
        try:
            return question(era, layer)
        finally:
            _answering.reset(token)

    return answer


class TensorFlowKeras(Era):
    """tf.keras 2.15: 2.6 to 2.15, and tf_keras."""

    name = "tf.keras"
    locks = False
    classes_dtype = "float32"
    writes_defaults = False
    learning_rate_log = "lr"
    checkpoint_endings = weights_endings = ("",)  # any

    _positions: ClassVar = {
        "Input": ("shape", "batch_size", "name", "dtype"),
        "Layer": ("trainable", "name", "dtype", "dynamic"),
        "Embedding": (
            "input_dim", "output_dim", "embeddings_initializer", "embeddings_regularizer",
            "activity_regularizer", "embeddings_constraint", "mask_zero", "input_length", "sparse",
        ),
        "SpatialDropout1D": ("rate",),
        "Model.save": ("filepath", "overwrite", "save_format"),
        "Model.save_weights": ("filepath", "overwrite", "save_format"),
    }  # fmt: skip
    _settings = (*Era._settings[:7], "jit_compile", "name")
    _optimizer_defaults: ClassVar[Mapping[str, Config]] = {
        "RMSprop": {"ema_overwrite_frequency": 100},
        "Lion": {"learning_rate": 0.0001},
    }
    _unknown_entries = frozenset({"quantization_config", "lora_rank", "lora_alpha"})
    _more_of_input: ClassVar[Config] = {"ragged": False}
    _unsaid: ClassVar = {
        "BatchNormalization": {"synchronized": False},
        "LayerNormalization": {"rms_scaling": False},
    }

    def _optimizer_settings(self, kind: str, given: Config) -> Config:
        return {k: v for k, v in given.items() if k not in ("jit_compile", "is_legacy_optimizer")}

    def optimizer_name(self, class_name: str, name: str | None) -> str:
        return class_name if name is None else str(name)

    def as_float(self, value: Any) -> float | None:
        return float(value) if isinstance(value, numbers.Real) else None

    def unknown_arguments(self, kind: str, unknown: Config) -> Exception:
        return TypeError("Keyword argument not understood:", *unknown)

    def trainable(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError(f"Expected `trainable` argument to be a boolean, but got: {value!r}")
        return value

    def layer_name(self, class_name: str, name: str | None) -> str:
        if name is None:
            return automatic_name(snake_case_of_2(class_name))
        if not isinstance(name, str):
            raise TypeError(f"Expected `name` argument to be a string, but got: {name!r:.80}")
        return name  # a slash is allowed

    def input_name(self) -> str:
        return automatic_name("input", first=1)

    def model_name(self, class_name: str) -> str:
        return self.layer_name("Model" if class_name == "Functional" else class_name, None)

    def unsupported_mask(self, layer: Any) -> None:
        """tf.keras drops it and says nothing."""

    def config_of_input(self, layer: Any) -> Config:
        entries = {"batch_input_shape": layer.batch_shape, "dtype": layer.dtype, "sparse": False}
        return {**entries, **self._more_of_input, "name": layer.name}

    def weight_arguments(self, args: tuple[Any, ...]) -> Config:
        if args and _is_shape(args[:1]):  # Keras 2 let a shape come first, and a name second
            return _in_order(("shape", "name", *_WEIGHT_KERAS_2[2:]), args)
        return _in_order(_WEIGHT_KERAS_2, args)

    def weight_name(self, layer: str, name: str) -> str:
        return f"{layer}/{name}:0"

    def embedding_shape(
        self, input_shape: tuple[Any, ...], output_dim: int, input_length: Any
    ) -> tuple[Any, ...]:
        if input_length is None:
            return (*input_shape, output_dim)
        lengths = list(input_length) if isinstance(input_length, (list, tuple)) else [input_length]
        rest = tuple(input_shape[1:])
        fit = len(lengths) == len(rest) and all(None in (a, b) or a == b for a, b in zip(lengths, rest))
        if not fit:
            raise ValueError(
                f'"input_length" is {input_length}, but received input has shape {tuple(input_shape)}'
            )
        return (input_shape[0], *(b if a is None else a for a, b in zip(lengths, rest)), output_dim)

    # In these Kerases a variable is trainable or not from its making on; a layer's flag moves it to the
    # other list, and with it to another place in `weights`.

    def weights(self, layer: Any) -> list[Variable]:
        return once([*layer.trainable_weights, *layer.non_trainable_weights])

    @_asked_once
    def trainable_weights(self, layer: Any) -> list[Variable]:
        if not layer.trainable:
            return []
        held = (v for each in layer._held_layers() for v in each.trainable_weights)
        return once([*layer._trainable_weights, *held])

    @_asked_once
    def non_trainable_weights(self, layer: Any) -> list[Variable]:
        if layer.trainable:
            held = (v for each in layer._held_layers() for v in each.non_trainable_weights)
            return once([*layer._non_trainable_weights, *held])
        held = (v for each in layer._held_layers() for v in each.weights)
        return once([*layer._own_weights(), *held])

    def weights_by_name(self, filepath: str | None, save_format: str | None) -> bool:
        endings = (".h5", ".hdf5", ".keras")
        if save_format not in (None, "h5", "hdf5") or not (
            filepath is None or save_format or filepath.endswith(endings)
        ):
            raise ValueError(
                "Weights are written in HDF5, not as TensorFlow's checkpoints: give a name that ends in "
                f".weights.h5 or .h5, or save_format='h5'. Received: filepath={filepath}, "
                f"save_format={save_format!r:.40}"
            )
        return not (filepath or "").endswith(".weights.h5")

    def losses(self, layer: Any) -> list[Any]:
        """Layer by layer, and of frozen weights too."""
        inside = layer._with_layers_inside()
        return [loss for each in inside for loss in [*each._losses, *penalties(each._own_weights())]]

    def grows(self, metric: str) -> bool | None:
        return "acc" in metric or metric.startswith("fmeasure") or metric.endswith("auc")

    def base_config(self, layer: Any) -> Config:
        config = {"name": layer.name, "trainable": layer.trainable, "dtype": self._policy(layer)}
        if layer.batch_input_shape is not None:
            config["batch_input_shape"] = serialize_keras_object(layer.batch_input_shape)
        return config

    def _policy(self, layer: Any) -> Any:
        policy = layer.dtype_policy
        if policy.quantization_mode is not None:
            raise ValueError(
                f"{self.name} has no quantised layers: the config of layer {layer.name!r}, whose policy "
                f'is {policy.name!r}, can only be written in the era "keras3"'
            )
        if policy.compute_dtype == policy.variable_dtype:
            return policy.name
        return {
            "module": "keras.mixed_precision",
            "class_name": "Policy",
            "config": {"name": policy.name},
            "registered_name": None,
        }

    def entries(self, kind: str, entries: Config) -> Config:
        for entry in self._unknown_entries:
            if entries.get(entry) is not None:
                raise ValueError(
                    f"{self.name} has nothing like {entry}={entries[entry]!r:.80}: a config of this layer "
                    'can only be written in the era "keras3"'
                )
        if entries.get("renorm") is False:
            entries = {key: value for key, value in entries.items() if not key.startswith("renorm")}
        if kind in _SLOPES:  # these Kerases keep such numbers in float32
            entries = {
                key: float(np.float32(value)) if isinstance(value, (int, float)) else value
                for key, value in entries.items()
            }
        old_name = {new: old for old, new in RENAMED_BY_3.get(kind, {}).items()}
        return {old_name.get(key, key): value for key, value in super().entries(kind, entries).items()}

    def activation(self, identifier: Any) -> Any:
        return activation_of_keras2(identifier)

    def config_of_spatial_dropout(self, layer: Any, entries: Config) -> Config:
        return {**self.base_config(layer), **self.entries("SpatialDropout1D", entries)}

    def written(self, value: Any) -> Any:
        written, theirs = super().written(value), tf_keras_config(value)
        if isinstance(written, dict) and isinstance(theirs, dict):
            return {**written, "config": theirs["config"]}
        return written if isinstance(written, dict) else theirs

    def functions(self, functions: Config) -> Config:
        """Each with its kind and its module beside it."""
        config: Config = {}
        for name, value in functions.items():
            if name == "mask" and value is None:
                continue
            config[name] = tf_keras_config(value) if callable(value) else serialize_keras_object(value)
            config[f"{name}_type"] = "function" if callable(value) else "raw"
            config["module" if name == "function" else f"{name}_module"] = getattr(value, "__module__", None)
        return config


class Keras2(TensorFlowKeras):
    """Keras 2.2.4, multi-backend."""

    name = "keras2"
    shape_is_kept = True
    _more_of_input: ClassVar = {}
    _unsaid: ClassVar = {**TensorFlowKeras._unsaid, "GlobalPooling1D": {"keepdims": False}}

    _positions: ClassVar = {
        "Embedding": ("input_dim", "output_dim"),
        "Dense": ("units",),
        "Input": ("shape", "batch_shape", "name", "dtype"),
        "Layer": (),
        "ModelCheckpoint": (
            "filepath", "monitor", "verbose", "save_best_only", "save_weights_only", "mode", "period",
        ),
        "SpatialDropout1D": ("rate",),
        **_FILES_OF_KERAS_2,
        "SGD": ("learning_rate", "momentum", "decay", "nesterov"),
        "RMSprop": ("learning_rate", "rho", "epsilon", "decay"),
        "Adagrad": ("learning_rate", "epsilon", "decay"),
        "Adadelta": ("learning_rate", "rho", "epsilon", "decay"),
        "Adam": ("learning_rate", "beta_1", "beta_2", "epsilon", "decay", "amsgrad"),
        "Adamax": ("learning_rate", "beta_1", "beta_2", "epsilon", "decay"),
        "Nadam": ("learning_rate", "beta_1", "beta_2", "epsilon", "schedule_decay"),
    }  # fmt: skip
    _optimizer_defaults: ClassVar[Mapping[str, Config]] = {
        "Adagrad": {"learning_rate": 0.01, "initial_accumulator_value": 0.0},
        "Adadelta": {"learning_rate": 1.0},
        "Adamax": {"learning_rate": 0.002},
        "Nadam": {"learning_rate": 0.002, "schedule_decay": 0.004},
    }

    def _optimizer_settings(self, kind: str, given: Config) -> Config:
        """``clipnorm`` was that of all gradients together."""
        given = super()._optimizer_settings(kind, given)
        return _renamed(kind, {"clipnorm": "global_clipnorm"}, given)

    def optimizer_name(self, class_name: str, name: str | None) -> str:
        return Era.optimizer_name(self, class_name, name)  # in Keras 2 they had none

    def trainable(self, value: Any) -> bool:
        return bool(value)

    def layer_name(self, class_name: str, name: str | None) -> str:
        return automatic_name(snake_case_of_2(class_name), first=1) if name is None else str(name)

    def unsupported_mask(self, layer: Any) -> None:
        raise TypeError(
            f"Layer {layer.name} does not support masking, but was passed an input with a mask, as in Keras "
            "1 and "
            "2: leave out mask_zero=True, or put a layer before it that ends the mask"
        )

    def row_dropout(self, rate: float) -> float:
        if rate:
            warnings.warn(
                "The `dropout` argument is no longer supported in `Embedding`: it is ignored, as in Keras 2. "
                'fastembed.era("keras1") obeys it; `SpatialDropout1D` after the layer is what Keras 2 has.',
                stacklevel=4,
            )
        return 0.0

    def activity_loss(self, penalty: Any, outputs: Any) -> Any:
        """For the whole batch."""
        return penalty

    def weights_by_name(self, filepath: str | None, save_format: str | None) -> bool:
        return True  # whatever its name

    def _policy(self, layer: Any) -> Any:
        super()._policy(layer)  # which refuses what no earlier Keras has
        return layer.dtype

    def written(self, value: Any) -> Any:
        return keras2_config(value)


class Keras1(Keras2):
    """Keras 1.2.2."""

    name = "keras1"
    epochs = 10
    counts_samples = True
    classes_dtype = "float64"

    _positions: ClassVar = {
        "Embedding": (
            "input_dim", "output_dim", "init", "input_length", "W_regularizer", "activity_regularizer",
            "W_constraint", "mask_zero", "weights", "dropout",
        ),
        "Dense": (
            "output_dim", "init", "activation", "weights", "W_regularizer", "b_regularizer",
            "activity_regularizer", "W_constraint", "b_constraint", "bias", "input_dim",
        ),
        "BatchNormalization": (
            "epsilon", "mode", "axis", "momentum", "weights", "beta_init", "gamma_init", "gamma_regularizer",
            "beta_regularizer",
        ),
        "Input": Keras2._positions["Input"],
        "Layer": (),
        "ModelCheckpoint": Keras2._positions["ModelCheckpoint"],
        "SpatialDropout1D": ("p",),
        **_FILES_OF_KERAS_2,
        "PReLU": ("init", "weights", "shared_axes"),
        **{kind: order for kind, order in Keras2._positions.items() if "learning_rate" in order},
    }  # fmt: skip
    _optimizer_defaults: ClassVar = {
        kind: {**Keras2._optimizer_defaults.get(kind, {}), "epsilon": 1e-8}
        for kind in ("RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam")
    }
    _unsaid: ClassVar = {
        **Keras2._unsaid,
        "BatchNormalization": {
            "center": True,
            "scale": True,
            "beta_initializer": "zero",
            "gamma_initializer": "one",
            "moving_mean_initializer": "zero",
            "moving_variance_initializer": "one",
            "beta_constraint": None,
            "gamma_constraint": None,
            **Keras2._unsaid["BatchNormalization"],
        },
        "GlobalPooling1D": {"data_format": "channels_last", "keepdims": False},
        "Flatten": {"data_format": "channels_last"},
        "Dropout": {"noise_shape": None, "seed": None},
        "SpatialDropout1D": {"noise_shape": None, "seed": None},
        "PReLU": {"alpha_regularizer": None, "alpha_constraint": None},
    }
    _WEIGHTS: ClassVar[Mapping[str, str]] = {
        "embeddings": "W", "kernel": "W", "bias": "b", "gamma": "gamma", "beta": "beta",
        "moving_mean": "running_mean", "moving_variance": "running_std",
    }  # fmt: skip

    def layer_name(self, class_name: str, name: str | None) -> str:
        return automatic_name(class_name.lower(), first=1) if name is None else str(name)

    def weight_arguments(self, args: tuple[Any, ...]) -> Config:
        return _in_order(_WEIGHT_KERAS_1, args)

    def weight_name(self, layer: str, name: str) -> str:
        # Its own layers put their names before those of their weights; a name that is given stays.
        return f"{layer}_{self._WEIGHTS[name]}" if name in self._WEIGHTS else name

    def initializer(self, identifier: Any) -> Any:
        return initializer_of_keras1(identifier)

    def written(self, value: Any) -> Any:
        return keras1_config(value)

    def row_dropout(self, rate: float) -> float:
        return Era.row_dropout(self, rate)

    def hashed(self, number: int, n: int) -> int:
        return abs(number) % (n - 1) + 1

    def embedding_shape(
        self, input_shape: tuple[Any, ...], output_dim: int, input_length: Any
    ) -> tuple[Any, ...]:
        if len(input_shape) < 2:
            raise ValueError(f"Keras 1 takes ids of shape (batch, length), got {tuple(input_shape)}")
        return (input_shape[0], input_shape[1] if input_length is None else input_length, output_dim)

    def base_config(self, layer: Any) -> Config:
        self._policy(layer)  # which refuses what no earlier Keras has
        config = {"name": layer.name, "trainable": layer.trainable}
        if layer.batch_input_shape is not None:
            config["batch_input_shape"] = serialize_keras_object(layer.batch_input_shape)
            config["input_dtype"] = layer.input_dtype_said or standardize_dtype(None)
        return config

    def entries(self, kind: str, entries: Config) -> Config:
        more = {"dropout": entries["dropout"]} if "dropout" in entries else {}
        if kind == "BatchNormalization":
            more["mode"] = 0  # the one of its modes that later Kerases have
        old_name = {new: old for old, new in RENAMED.get(kind, {}).items()}
        return {
            **{old_name.get(key, key): value for key, value in super().entries(kind, entries).items()},
            **more,
        }


def _renamed(kind: str, renamed: Mapping[str, str], kwargs: Config) -> Config:
    """``kwargs`` with today's names."""
    old_ones = renamed.keys() & kwargs.keys()
    for old in old_ones:
        if renamed[old] in kwargs:
            raise TypeError(f"{kind}() got {renamed[old]!r} and also {old!r}, its name in an earlier Keras")
    return {renamed.get(key, key): value for key, value in kwargs.items()} if old_ones else kwargs


def once(variables: Any) -> list[Any]:
    """Each object once, in the order of first appearance."""
    return list({id(variable): variable for variable in variables}.values())


def penalties(variables: Sequence[Variable]) -> list[Any]:
    """What the regularizers of variables give for their values now."""
    return [v.regularizer(v.value) for v in variables if v.regularizer is not None]


_WEIGHT_KERAS_1 = ("shape", "initializer", "name", "trainable", "regularizer", "constraint")
_WEIGHT_KERAS_2 = ("name", "shape", "dtype", "initializer", "regularizer", "trainable", "constraint")
_WEIGHT_KERAS_3 = ("shape", "initializer", "dtype")


def _in_order(order: tuple[str, ...], args: tuple[Any, ...]) -> Config:
    if len(args) > len(order):
        raise TypeError(f"add_weight() takes at most {len(order)} positional arguments ({len(args)} given)")
    return dict(zip(order, args))


def _is_shape(arguments: tuple[Any, ...]) -> bool:
    return any(isinstance(each, (tuple, list)) for each in arguments)


def _names_dtype(value: Any) -> bool:
    try:
        standardize_dtype(value)
    except ValueError:
        return False
    return True


# --- The era of what is made now ------------------------------------------------------------------

_ERAS: Mapping[str, Era] = {each.name: each for each in (Era(), TensorFlowKeras(), Keras2(), Keras1())}
_current: ContextVar[Era] = ContextVar("fastembed.era", default=_ERAS["keras3"])


def current() -> Era:
    """The era that a layer takes when it is made now."""
    return _current.get()


_dialect: ContextVar[Era | None] = ContextVar("fastembed.dialect", default=None)


@contextlib.contextmanager
def dialect(name: str) -> Iterator[None]:
    """Inside, configs are written as those of this era, whichever the layers are of.

    >>> import fastembed
    >>> layer = fastembed.layers.Flatten()
    >>> with dialect("tf.keras"):
    ...     layer.get_config()["dtype"]
    'float32'
    """
    token = _dialect.set(_by_name(name))
    try:
        yield
    finally:
        _dialect.reset(token)


def dialect_of(own: Era) -> Era:
    """The era as which a layer of the era ``own`` is written now."""
    return _dialect.get() or own


def of_optimizer_config(config: Mapping[str, Any]) -> Era:
    """Of the Keras that wrote the config of an optimizer; of one that does not tell, the current era."""
    if "lr" in config:
        return _ERAS["keras2"]
    if {"decay", "jit_compile", "is_legacy_optimizer"} & config.keys():
        return _ERAS["tf.keras"]
    return _ERAS["keras3"] if "loss_scale_factor" in config else current()


def _by_name(name: str) -> Era:
    if not isinstance(name, str) or name not in _ERAS:
        raise ValueError(f"there is no era {name!r:.80}; known are {', '.join(map(repr, _ERAS))}")
    return _ERAS[name]


class era:
    """Make layers as another Keras did: from now on, or inside a ``with`` block.

    Parameters
    ----------
    name : {"keras1", "keras2", "tf.keras", "keras3"}
        ``"keras3"`` is the default.

    Raises
    ------
    ValueError
        For any other name.

    Notes
    -----
    A layer takes the era in which it is made and keeps it, also in copies and pickles. An era decides

    - the order of a constructor's positional arguments (keywords of all eras are understood in every era);
    - automatic names (``embedding``, ``embedding_1`` in Keras 3; ``embedding_1``, ``embedding_2`` in Keras 2)
      and those of weights;
    - the order of `weights` once a part of a layer is frozen, and with it that of `get_weights`;
    - whether a frozen weight's penalty counts, and whether an activity regularizer's is divided by the batch;
    - the dialect of `get_config`, whether a built layer may get new weights, and the class of the error for
      an unknown keyword.

    Holds for the current context (`contextvars`), as `fastembed.recording` does: threads that are started
    later begin in ``"keras3"``.

    Examples
    --------
    >>> import fastembed
    >>> with fastembed.era("keras1"):
    ...     words = fastembed.layers.Embedding(1000, 64, "normal", 10)  # init, input_length
    >>> config = words.get_config()
    >>> config["init"], config["input_length"]
    ('normal', 10)
    """

    def __init__(self, name: str) -> None:
        self._era = _by_name(name)
        self._tokens = [_current.set(self._era)]
        self._entered = False

    def __enter__(self) -> Era:
        if self._entered or _current.get() is not self._era:  # not at once after it was made
            self._tokens.append(_current.set(self._era))
        self._entered = True
        return self._era

    def __exit__(self, *_: object) -> None:
        _current.reset(self._tokens.pop())

    def __repr__(self) -> str:
        return f"era({self._era.name!r})"


def any_era(init: Init) -> Init:
    """Let a constructor be called with the positions of the current era and the keywords of all of them."""
    kind = init.__qualname__.partition(".")[0]

    @functools.wraps(init)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        given, era = len(args), current()
        args, kwargs = era.arguments(kind, args, kwargs)
        try:
            init(self, *args, **kwargs)
        except (TypeError, ValueError) as error:
            if given <= 2 or era.name != "keras3":
                raise
            raise type(error)(
                f"{error} ({given} arguments of {kind} were given by position, in the order of Keras 3; "
                "fastembed.era() is for programs of earlier ones)"
            ) from error

    return made  # type: ignore[return-value]


def any_keywords(**renamed: str) -> Callable[[Function], Function]:
    """Let a function be called with the keywords of all Kerases: those of others by today's."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **_renamed(function.__name__, renamed, kwargs))

        return called  # type: ignore[return-value]

    return decorate

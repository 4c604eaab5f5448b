"""Models in files: saved whole, or their weights, and loaded again.

What a model is made of is the business of `configs`, where its numbers are in a file that of
`fastembed.saving`. This holds the two together: which file is meant by which name, what is checked first, and
in which order a model is made again.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, Union

from fastembed import eras, losses
from fastembed._custom_objects import CustomObjectScope, get_registered_name
from fastembed._registry import serialize_keras_object
from fastembed.errors import UnsupportedError
from fastembed.models.configs import described, model_from_config
from fastembed.saving import weights
from fastembed.saving.by_name import read_optimizer
from fastembed.saving.container import Container, opened_container
from fastembed.saving.source import Path

if TYPE_CHECKING:
    from fastembed.models.model import Model

File = Union[Path, IO[bytes]]

_LEGACY = (".h5", ".hdf5")


# --- Whole models ---------------------------------------------------------------------------------


def save_model(
    model: Model,
    filepath: File,
    overwrite: bool = True,
    zipped: bool | None = None,
    *,
    include_optimizer: bool = True,
    save_format: str | None = None,
) -> None:
    """Write a model into a file: what it is made of, its weights, how it was compiled, its optimizer's state.

    Parameters
    ----------
    model : Model
    filepath : path-like or binary file object
        A name that ends in ``.keras``, or in ``.h5`` or ``.hdf5``: a legacy file, written as tf.keras 2.15
        does, which that and Keras 3 open. A file object gets what ``save_format`` says, by default
        ``"keras"``.
    overwrite : bool, default True
        Whether there may be a file of this name already.
    zipped : bool, optional
        For programs that say True.
    include_optimizer : bool, default True
        Whether a legacy file has the optimizer and its state.
    save_format : {"keras", "h5"}, optional
        Default: as the name says.

    Raises
    ------
    ValueError
        For a name with another ending; for an existing file with ``overwrite=False`` (Keras asks on the
        terminal); for a model that cannot be written as data.
    OSError
        If the file cannot be written.
    ImportError
        If h5py is not installed.

    Notes
    -----
    The file is written whole or not at all: whatever happens, also a kill or a power cut, under its name is
    the old file or the new one. Of one state a `.keras` file has the same bytes each time, but for the date.

    Examples
    --------
    >>> import io, numpy as np
    >>> import fastembed
    >>> model = fastembed.Sequential([fastembed.Input((2,), dtype="int32"), fastembed.layers.Embedding(9, 2)])
    >>> file = io.BytesIO()
    >>> save_model(model, file)
    >>> again = load_model(file)
    >>> bool((again(np.array([[3, 1]])) == model(np.array([[3, 1]]))).all())
    True
    """
    kind = _kind(filepath, save_format)
    if zipped is not None and not zipped:
        raise ValueError("A model is saved as one file: zipped=False, a folder of files, is not written")
    if not model.built:
        warnings.warn(
            "You are saving a model that has not yet been built. It might not contain any weights yet. "
            "Consider building the model first by calling it on some data.",
            stacklevel=3,
        )
    if kind == "keras":
        weights.write_archive(filepath, model, _config_of(model), overwrite)
        return
    optimizer = getattr(model, "optimizer", None) if include_optimizer else None
    weights.write_legacy(filepath, model, _legacy_texts(model, optimizer is not None), optimizer, overwrite)


def _kind(filepath: File, save_format: str | None) -> str:
    known = {"keras": "keras", "keras_v3": "keras", "h5": "h5", "hdf5": "h5", None: None}
    if save_format not in known:
        raise ValueError(f"Unknown save_format {save_format!r:.80}: models are saved as 'keras' or 'h5'")
    kind = known[save_format]
    if not isinstance(filepath, (str, bytes, os.PathLike)):
        if not hasattr(filepath, "write"):
            raise ValueError(f"Invalid filepath: a name or a binary file to write to, got {filepath!r:.80}")
        return kind or "keras"
    name = os.fsdecode(filepath)
    by_ending = "keras" if name.endswith(".keras") else "h5" if name.endswith(_LEGACY) else None
    if by_ending is None or kind not in (None, by_ending):
        raise ValueError(
            "Invalid filepath extension for saving. Please add either a `.keras` extension for the native "
            "Keras format (recommended) or a `.h5` extension. (TensorFlow's SavedModel is not written.) "
            f"Received: filepath={name}, save_format={save_format}"
        )
    return by_ending


def _config_of(model: Model) -> dict[str, Any]:
    """All of a model but its numbers, as Keras 3 writes it."""
    with eras.dialect("keras3"):
        config = described(model)
    config["build_config"] = serialize_keras_object(model.get_build_config())
    compiled = model.get_compile_config()
    if compiled:
        config["compile_config"] = serialize_keras_object(compiled)
    return config


def _legacy_texts(model: Model, with_optimizer: bool) -> dict[str, str]:
    """The same as a legacy file has it, in tf.keras's words; in Keras 3's where tf.keras has none."""
    try:
        with eras.dialect("tf.keras"):
            config = described(model)
    except ValueError:  # a quantised layer, say
        with eras.dialect("keras3"):
            config = described(model)
    texts = {"model_config": json.dumps({key: config[key] for key in ("class_name", "config")})}
    compiled = model.get_compile_config() if with_optimizer else None
    if compiled:
        texts["training_config"] = json.dumps(_training_config(compiled, model.optimizer))
    return texts


def _training_config(compiled: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    config = dict(optimizer.get_config().items())
    for name in ("loss_scale_factor", "gradient_accumulation_steps"):  # which tf.keras does not know
        if config.get(name) is None:
            config.pop(name, None)
    # Without these words tf.keras takes it for an optimizer from before 2.11.
    config.update(jit_compile=False, is_legacy_optimizer=False)
    parts = ("loss", "metrics", "weighted_metrics", "loss_weights")
    return {
        **{part: _plain(serialize_keras_object(compiled.get(part)), part) for part in parts},
        "optimizer_config": {"class_name": get_registered_name(type(optimizer)), "config": config},
    }


def _plain(value: Any, part: str) -> Any:
    """A part of a compile config in the form that was there before Keras 3."""
    if isinstance(value, dict) and "class_name" in value and "config" in value:
        if value["class_name"] == "function":
            return value["config"]
        return {"class_name": value.get("registered_name") or value["class_name"], "config": value["config"]}
    if isinstance(value, dict):
        return {key: _plain(each, part) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, part) for each in value]
    if part == "loss" and isinstance(value, str):
        return getattr(losses.get(value), "__name__", value)  # Keras 3 does not find "mse" in such a file
    return value


def load_model(
    filepath: File,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Model:
    """Make a model again out of a file that `save_model` wrote, or any Keras.

    Parameters
    ----------
    filepath : path-like or binary file object
        A `.keras` file (Keras 2.11 and later), or a whole model in HDF5 (Keras 1 and later): what it is, its
        content tells.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.
    compile : bool, default True
        Whether to compile the model as it was, and give its optimizer the state that it had.
    safe_mode : bool, default True
        For programs that pass it. Nothing in a file is ever executed, whatever it says.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If a layer in the file is none of those that there are here (the error names it, and them); if weights
        do not fit; FormatError, which is one, if the file is damaged or no such file.
    OSError
        If it cannot be opened or read.
    ImportError
        If h5py is not installed.
    """
    _check_readable(filepath)
    with opened_container(filepath) as container, CustomObjectScope(custom_objects):
        if container.config is None:
            raise ValueError(
                f"No model config found in the file at {_name(filepath)}: it has weights alone. Make the "
                "model, and call its load_weights(filepath)"
            )
        return _loaded(container, compile)


def _loaded(container: Container, compile: bool) -> Model:
    config: dict[str, Any] = container.config  # type: ignore[assignment]
    model: Model = model_from_config(config)
    if not model.built:
        model.build_from_config(config.get("build_config"))
    compiled = config.get("compile_config") if container.is_archive else None
    if compile:
        compiled = compiled if container.is_archive else container.training_config()
        if compiled:
            model.compile_from_config(compiled)
        elif not container.is_archive:
            warnings.warn(
                "No training configuration found in the save file, so the model was *not* compiled. Compile "
                "it manually.",
                stacklevel=4,
            )
    weights.restore(container, model)
    optimizer = getattr(model, "optimizer", None)
    if compiled and optimizer is not None and not container.is_by_object:
        optimizer.build(model.trainable_variables)
        read_optimizer(container.file, optimizer)
    return model


def _check_readable(filepath: File) -> None:
    if isinstance(filepath, (str, bytes, os.PathLike)):
        name = os.fsdecode(filepath)
        if os.path.isdir(name):
            raise UnsupportedError(
                f"{name!a} is a folder: of TensorFlow's SavedModel and of `.keras` files that are not zipped "
                "nothing is read"
            )
        if name.endswith(".keras") and not os.path.exists(name):
            raise ValueError(f"File not found: filepath={name}. Please ensure the file is there")
    elif not (isinstance(filepath, io.IOBase) or hasattr(filepath, "readinto")):
        raise ValueError(f"Invalid filepath: a name or a binary file to read, got {filepath!r:.80}")


def _name(filepath: File) -> str:
    return repr(filepath)[:80] if hasattr(filepath, "read") else ascii(os.fsdecode(filepath))


# --- Weights --------------------------------------------------------------------------------------


def save_weights(
    model: Model,
    filepath: File,
    overwrite: bool = True,
    max_shard_size: float | None = None,
    save_format: str | None = None,
) -> None:
    """Write the weights of a model, and its optimizer's state, into a file.

    Parameters
    ----------
    model : Model
    filepath : path-like or binary file object
        A name that ends in ``.weights.h5``. In the eras before Keras 3 (`fastembed.era`) also others, for
        which a legacy file of weights is written.
    overwrite : bool, default True
        Whether there may be a file of this name already.
    max_shard_size : float, optional
        Only None is taken: one file is written.
    save_format : str, optional
        tf.keras's: ``"h5"``.

    Raises
    ------
    ValueError
        For a name with another ending, a model that is not built, and an existing file with
        ``overwrite=False``.
    OSError, ImportError
        As for `save_model`.
    """
    if max_shard_size is not None:
        raise ValueError("Weights are saved as one file: leave out max_shard_size")
    if not model.built:
        raise ValueError(
            "You are saving a model that has not yet been built. Try building the model first by calling it "
            "on some data or by using `build()`."
        )
    is_path = isinstance(filepath, (str, bytes, os.PathLike))
    name = os.fsdecode(filepath) if is_path else None  # type: ignore[arg-type]
    if eras.current().weights_by_name(name, save_format):
        weights.write_legacy(filepath, model, overwrite=overwrite)
    else:
        weights.write_weights(filepath, model, overwrite)


def load_weights(
    model: Model, filepath: File, skip_mismatch: bool = False, by_name: bool | None = None
) -> None:
    """Set a model's weights, and its optimizer's state, to what a file has.

    Parameters
    ----------
    model : Model
    filepath : path-like or binary file object
        A file of weights or of a whole model, written here or by any Keras: what it is, its content tells.
    skip_mismatch : bool, default False
        Warn of what does not fit, and leave it as it is, instead of raising.
    by_name : bool, optional
        For legacy files: whether layers are found by their names, and what has no counterpart is left out.

    Raises
    ------
    ValueError
        If the model is not built, or something does not fit: the error says what, and both shapes. Nothing is
        changed then. FormatError, which is one, if the file is damaged or no such file.
    OSError, ImportError
        As for `load_model`.
    """
    if not model.built:
        raise ValueError(
            "You are loading weights into a model that has not yet been built. Try building the model first "
            "by calling it on some data or by using `build()`."
        )
    weights.read_weights(filepath, model, bool(by_name), skip_mismatch)

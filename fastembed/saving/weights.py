"""The state of a layer and all it holds, models and optimizers too, into files and out of them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastembed._version import __version__
from fastembed.saving import by_name, by_object
from fastembed.saving.archive import ArchiveWriter
from fastembed.saving.container import Container, opened_container
from fastembed.saving.hdf5 import Hdf5Writer
from fastembed.saving.sink import Target, written
from fastembed.saving.source import Binary, Path

if TYPE_CHECKING:
    from fastembed.layers.layer import Layer
    from fastembed.optimizers import Optimizer

# The Kerases as which files are written.
KERAS_3, KERAS_2 = "3.15.1", "2.15.0"


def write_archive(target: Target, model: Layer, config: Mapping[str, Any], overwrite: bool = True) -> None:
    """Write a `.keras` file: the config, and the state of a model and of all that it holds.

    Of the same state it has the same bytes, but for the date.
    """
    metadata = {
        "keras_version": KERAS_3,
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
        "fastembed_version": __version__,
    }
    texts = {"metadata.json": json.dumps(metadata), "config.json": json.dumps(config)}
    with written(target, overwrite) as sink:
        archive = ArchiveWriter(sink)
        for name, text in texts.items():
            archive.write(name, text.encode())
        with archive.member("model.weights.h5") as member, Hdf5Writer(member) as file:
            by_object.write(file, model)
        archive.finish()


def write_weights(target: Target, model: Layer, overwrite: bool = True) -> None:
    """Write a ``.weights.h5`` file: the state of a layer and of all that it holds."""
    with written(target, overwrite) as sink, Hdf5Writer(sink) as file:
        by_object.write(file, model)


def write_legacy(
    target: Target,
    model: Layer,
    texts: Mapping[str, str] | None = None,
    optimizer: Optimizer | None = None,
    overwrite: bool = True,
) -> None:
    """Write a legacy ``.h5`` file.

    Parameters
    ----------
    target : path-like or binary file object
    model : Layer
    texts : mapping of str to str, optional
        For a whole model: its configs, by the names that they have in such files. Without, the file has the
        weights alone.
    optimizer : Optimizer, optional
        Whose state the file is to have.
    overwrite : bool, default True
    """
    with written(target, overwrite) as sink, Hdf5Writer(sink) as file:
        about = {"keras_version": KERAS_2, "backend": "tensorflow"}
        root = "" if texts is None else "model_weights"
        for name, text in {**about, **(texts or {})}.items():
            file.text("", name, text)
        by_name.write(file, root, model, about)
        if optimizer is not None:
            by_name.write_optimizer(file, optimizer)


def read_weights(path: Path | Binary, model: Layer, named: bool = False, skip_mismatch: bool = False) -> None:
    """Set the state of a layer and of all that it holds to that in a file; a model's optimizer too.

    Parameters
    ----------
    path : path-like or binary file object
        A file of any Keras, told by its content.
    model : Layer
    named : bool, default False
        Whether layers are found by their names, which legacy files alone can do.
    skip_mismatch : bool, default False
        Warn of what does not fit, and leave it as it is, instead of raising.

    Raises
    ------
    ValueError
        If something does not fit. Nothing is changed then.
    """
    with opened_container(path) as container:
        if container.is_by_object and named:
            raise ValueError(
                "`by_name` only supports loading legacy '.h5' or '.hdf5' files: in this one the weights are "
                "arranged by objects, which have no names"
            )
        restore(container, model, named, skip_mismatch)


def restore(container: Container, model: Layer, named: bool = False, skip_mismatch: bool = False) -> None:
    """`read_weights` out of a file that is open."""
    if container.is_by_object:
        by_object.read(container.file, model, skip_mismatch)
    else:
        by_name.read(container.file, container.root, model, named, skip_mismatch)

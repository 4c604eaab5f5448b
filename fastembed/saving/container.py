"""A model file of any kind, open: the HDF5 file with its weights, and what it says beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastembed.errors import FormatError, UnsupportedError
from fastembed.saving import archive, hdf5
from fastembed.saving.configs import MAX_CONFIG, Json, parse_json
from fastembed.saving.hdf5 import Hdf5
from fastembed.saving.source import Binary, Path, Source, opened

# Where a `.keras` file keeps its weights: since 2.12, and in 2.11.
_WEIGHTS = ("model.weights.h5", "variables.h5")


@dataclass(frozen=True)
class Container:
    """What is in a model file.

    Attributes
    ----------
    file : Hdf5
    root : str
        The group with the weights.
    config : dict or None
        The model's, where the file has one.
    keras_version : str or None
        As the file says it.
    member : str
        The member of an archive that ``file`` is, or "".
    """

    file: Hdf5
    root: str
    config: Json | None
    keras_version: str | None
    member: str

    @property
    def is_archive(self) -> bool:
        """Whether it is a `.keras` file."""
        return bool(self.member)

    @property
    def is_by_object(self) -> bool:
        """Whether the weights are arranged by objects, and not by the names of layers."""
        return self.is_archive or (
            any(path == "vars" or path.endswith("/vars") for path in self.file.groups)
            and self.file.names(self.root, "layer_names") is None
        )

    def training_config(self) -> Json | None:
        """What a legacy file says of `compile`."""
        text = None if self.is_archive else self.file.text("", "training_config")
        return None if text is None else parse_json(text)


@contextmanager
def opened_container(path: Path | Binary) -> Iterator[Container]:
    """The model file at ``path``. What it is, its first bytes tell; its name does not matter."""
    try:
        with opened(path) as source:
            magic = source.bytes_at(0, min(8, source.size))
            if not magic:
                raise FormatError("the file is empty")
            if magic == hdf5.MAGIC:
                container = _hdf5_file(source)
            elif magic.startswith(archive.MAGIC):
                container = _keras_archive(source)
            else:
                raise FormatError(f"neither HDF5 nor a .keras archive: the file starts with {magic!r}")
            with container as found:
                yield found
    except FormatError as error:
        name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else repr(path)[:80]
        raise type(error)(f"{name}: {error}") from error.__cause__


@contextmanager
def _hdf5_file(source: Source) -> Iterator[Container]:
    """A whole model has its weights in a group, beside its config; a file of weights is like that group."""
    with Hdf5(source) as file:
        whole = "model_weights" in file.groups and file.names("", "layer_names") is None
        root = "model_weights" if whole else ""
        version = file.text(root, "keras_version") or file.text("", "keras_version")
        text = file.text("", "model_config") if whole else None
        yield Container(file, root, None if text is None else parse_json(text), version, "")


@contextmanager
def _keras_archive(source: Source) -> Iterator[Container]:
    members = archive.Archive(source)
    for name in ("config.json", "metadata.json"):
        if name not in members:
            raise FormatError(f"a zip archive without {name} is no .keras file")
    config, metadata = (
        parse_json(members.open(name, MAX_CONFIG).readall()) for name in ("config.json", "metadata.json")
    )
    version = metadata.get("keras_version")
    weights = next((name for name in _WEIGHTS if name in members), None)
    if weights is None:
        raise UnsupportedError(
            "the archive keeps its weights neither in model.weights.h5 nor in variables.h5"
        )
    with Hdf5(members.open(weights)) as file:
        yield Container(file, "", config, version if isinstance(version, str) else None, weights)

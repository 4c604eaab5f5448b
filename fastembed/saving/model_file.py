"""The embeddings of a model file, as records, and their tables as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastembed.dtypes import widen_bfloat16
from fastembed.errors import FormatError, UnsupportedError
from fastembed.saving import hdf5
from fastembed.saving.configs import Json, model_tree
from fastembed.saving.container import Container, opened_container
from fastembed.saving.hdf5 import quoted
from fastembed.saving.layouts import Table, layout_of
from fastembed.saving.source import Path

# What the codes of quantised weights are kept in: Keras's int8 and packed int4, and uint8 of GPTQ and AWQ.
_CODES = ("int8", "uint8")


@dataclass(frozen=True)
class EmbeddingRecord:
    """What is known of an Embedding in a file before its table is read.

    Attributes
    ----------
    name : str
        The layer's name; where two layers share one, with the names of those around: ``"tower/words"``.
        Where the file has no names, the path of the layer's object: ``"layers/embedding_1"``. For what
        `list_embeddings` shows as a candidate, the array's full path.
    shape : tuple of int
        ``(input_dim, output_dim)``.
    dtype : str
        What is stored: ``"float32"``, ``"bfloat16"``, ...; ``"int8"`` or ``"int4"`` for a quantised table;
        ``"void16"`` for two-byte values of a type nowhere told.
    config : dict or None
        The layer's config as the Keras of the file wrote it; None where the file has none.
    keras_version : str or None
        The version that wrote the file, if it says so. Keras 1 did not in weights-only files.
    location : str
        Where the table is: its HDF5 path, from "/" or from the member of the archive that it is in.
    class_name : str
        The class of the layer, "Embedding" or "ReversibleEmbedding".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    config: dict[str, Any] | None
    keras_version: str | None
    location: str
    class_name: str = "Embedding"


class ModelFile:
    """What a model file holds in whatever container: weights in HDF5, perhaps a config and a version."""

    def __init__(self, container: Container) -> None:
        self._file, self._member, self._version = container.file, container.member, container.keras_version
        self._layout = layout_of(container.file, container.root)
        self._tables = [
            (self._record(table), table) for table in _renamed(self._embeddings(container.config))
        ]

    def _embeddings(self, config: Json | None) -> list[Table]:
        model = None if config is None else model_tree(config)
        tables = [] if model is None else self._layout.described(model)
        if model is None or not model.is_model:  # a subclassed model's config does not tell its layers
            known = {table.array for table in tables}
            tables += [table for table in self._layout.named(self._version) if table.array not in known]
        return tables

    def _record(self, table: Table) -> EmbeddingRecord:
        location = f"{self._member}/{table.array}"
        return EmbeddingRecord(
            table.name, table.shape, table.dtype, table.config, self._version, location, table.class_name
        )

    @property
    def embeddings(self) -> list[EmbeddingRecord]:
        """The Embeddings, in the model's order."""
        return [record for record, _ in self._tables]

    @property
    def candidates(self) -> list[EmbeddingRecord]:
        """The other weights that a table can be made of."""
        taken = {table.array for _, table in self._tables}
        taken.update(array for _, table in self._tables for array, _ in table.beside)
        found = []
        for array in self._layout.weights():
            if array not in taken:
                with suppress(FormatError):  # most weights are no tables
                    found.append(self._record(self._candidate(array)))
        return found

    def _candidate(self, array: str) -> Table:
        self._file.check(array)
        stored = self._file.array(array)
        if stored.dtype in _CODES:
            raise UnsupportedError(
                f"{quoted(array)} holds {stored.dtype}: for all that an array tells, codes of a quantised "
                "layer, and no rows. Open the layer by its name, in a .keras file with its config; or build "
                "such a layer and give all its arrays to load_own_variables. If they are numbers after all, "
                "read them with h5py and give them to Embedding as weights"
            )
        return Table(f"/{array}", array, array, stored.shape, stored.dtype)

    def read(self, name: str | None) -> tuple[EmbeddingRecord, list[np.ndarray[Any, Any]]]:
        """The record and the table of one embedding; ``name`` as `load_embedding` takes it.

        The table is one array, or several, as the `load_own_variables` of the layer's class takes them.
        """
        record, table = self._chosen(name)
        if table.obstacle:
            raise UnsupportedError(f"the table of {quoted(record.name)} is {table.obstacle}")
        if table.dtype == hdf5.OPAQUE:
            raise UnsupportedError(
                f"{quoted(record.name)} holds two-byte values, and the file does not say of which type"
            )
        arrays = [self._file.read(table.array)]
        for other, shape in table.beside:
            array = self._file.read(other, shape)
            is_scale = table.dtype != "bfloat16" and self._file.array(other).dtype == "bfloat16"
            arrays.append(widen_bfloat16(array) if is_scale else array)
        return record, arrays

    def _chosen(self, name: str | None) -> tuple[EmbeddingRecord, Table]:
        if name is None:
            if len(self._tables) == 1:
                return self._tables[0]
            if not self._tables:
                raise FormatError(
                    f"no Embedding in this file; other weights open by name: "
                    f"{_listed(self.candidates) or 'none'}"
                )
            raise ValueError(
                f"the file has several embeddings; give the name of one: {_listed(self.embeddings)}"
            )
        array = name.removeprefix(self._member).lstrip("/")  # if it is a location
        for record, table in self._tables:
            if record.name == name or table.array == array:
                return record, table
        if array in self._layout.weights():
            table = self._candidate(array)
            return self._record(table), table
        raise ValueError(
            f"no embedding {quoted(name)} in this file, which has: {_listed(self.embeddings) or 'none'}"
        )


def _renamed(tables: list[Table]) -> list[Table]:
    """The tables, each with a name of its own: by the path of layers if need be, at worst by the array's."""
    for unique in (lambda table: table.path, lambda table: f"/{table.array}"):
        count = Counter(table.name for table in tables)
        tables = [replace(table, name=unique(table)) if count[table.name] > 1 else table for table in tables]
    return tables


def _listed(records: list[EmbeddingRecord]) -> str:
    """Names and shapes for an error message, of the first few."""
    shown = [f"{quoted(record.name)} {record.shape}" for record in records[:20]]
    return ", ".join(shown + [f"and {len(records) - 20} more"] * (len(records) > 20))


@contextmanager
def opened_model(path: Path) -> Iterator[ModelFile]:
    """The embeddings of the model file at ``path``."""
    with opened_container(path) as container:
        yield ModelFile(container)

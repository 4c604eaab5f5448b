"""What fastembed.saving does, in two functions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastembed import constraints, initializers, quantizers, regularizers
from fastembed.errors import FormatError
from fastembed.layers import Embedding
from fastembed.saving.configs import embedding_arguments
from fastembed.saving.hdf5 import quoted
from fastembed.saving.model_file import EmbeddingRecord, opened_model
from fastembed.saving.source import Path
from fastembed.variable import Variable


def list_embeddings(path: Path, candidates: bool = False) -> list[EmbeddingRecord]:
    """The Embeddings in a model file, in the model's order. Tables are checked, not read.

    Parameters
    ----------
    path : path-like
        A file that Keras wrote, told by its content: HDF5 of Keras 1 to 3 (``.h5``, ``.hdf5``,
        ``.weights.h5``; whole model or weights only) or a ``.keras`` archive (2.11 and later).
    candidates : bool, default False
        Also list, after the Embeddings, every other 2-D weight that a table can be made of.

    Returns
    -------
    list of EmbeddingRecord

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    FormatError
        If it is damaged, contradicts itself, or does what no model file does. Its subclasses: LimitError,
        UnsupportedError.
    ImportError
        If h5py is not installed.

    Notes
    -----
    Where the file has a config, that decides: an Embedding is a layer of the class ``Embedding`` with a table
    stored. Where it has none, names decide: a weight called ``embeddings``; where the file is of
    Keras 1 or does not say, also a layer's only weight if it is 2-D and called ``<layer>_W``; in
    ``.weights.h5``, the first weight of an object stored as ``embedding`` or ``embedding_<n>``. The same
    holds for a ``.keras`` file of a subclassed model.

    A quantised Embedding is listed with dtype "int8" or "int4"; where there is no config, as "int8".

    Examples
    --------
    >>> import os, fastembed
    >>> demo = os.path.join(os.path.dirname(fastembed.__file__), "demo", "topics.h5")
    >>> [words] = list_embeddings(demo)
    >>> words.name, words.dtype, words.config["mask_zero"]
    ('words', 'float32', True)
    """
    with opened_model(path) as model:
        return model.embeddings + (model.candidates if candidates else [])


def load_embedding(path: Path, name: str | None = None) -> Embedding:
    """An Embedding out of a model file, as a layer that is built and has its name, configuration and weights.

    Parameters
    ----------
    path : path-like
        As for `list_embeddings`.
    name : str, optional
        Which one: a record's ``name`` or ``location``, or the full path of any other 2-D weight in the file.
        Needed where the file has several embeddings.

    Returns
    -------
    fastembed.layers.Embedding
        Its table has the values, the shape and the dtype that are in the file, bit for bit. The rows of a
        bfloat16 table come as float32. A quantised table stays quantised. What LoRA learned is part of the
        table already: `.keras` and ``.weights.h5`` files hold it merged.

    Raises
    ------
    ValueError
        If there is no embedding of this name, or several and no name is given; the message lists them.
    UnsupportedError
        If what is stored are codes (int8, int4) and the file is no `.keras` file, or the parts of an unmerged
        LoRA.
    OSError, FormatError, ImportError
        As for `list_embeddings`.

    Warns
    -----
    UserWarning
        If the layer has an initializer, a regularizer or a constraint that is not known here, such as a class
        of the model's own. The layer is then made without it: code for it would have to come out of the file.

    Examples
    --------
    >>> import os, fastembed
    >>> demo = os.path.join(os.path.dirname(fastembed.__file__), "demo", "topics.keras")
    >>> words = load_embedding(demo)
    >>> words.name, words.mask_zero
    ('words', True)
    >>> words([[3, 1, 4]]).shape == (1, 3, words.output_dim)
    True
    """
    if not isinstance(name, (str, type(None))):
        raise TypeError(f"the name of an embedding is a string, got {name!r:.80}")
    with opened_model(path) as model:
        record, arrays = model.read(name)
    return _layer(record, arrays)


def read_embedding(path: Path, name: str | None = None) -> tuple[EmbeddingRecord, np.ndarray[Any, Any]]:
    """The record and the table that `load_embedding` makes a layer of; bfloat16 as uint16 words, or codes."""
    with opened_model(path) as model:
        record, arrays = model.read(name)
    return record, arrays[0]


def _layer(record: EmbeddingRecord, arrays: list[np.ndarray[Any, Any]]) -> Embedding:
    """The layer of a record and its table. A slash in its name, which layers do not allow, becomes "_"."""
    if record.config is None:
        rows, columns = record.shape
        arguments: dict[str, Any] = {"input_dim": rows, "output_dim": columns, "name": record.name.strip("/")}
    else:
        arguments = embedding_arguments(record.config)
    if "name" in arguments:
        arguments["name"] = arguments["name"].replace("/", "_")
    # A policy says more than a dtype: "mixed_float16" computes in another. It must agree with what is stored.
    policy = arguments.get("dtype", "")
    mixed = policy.startswith("mixed_") and record.dtype == "float32"
    arguments["dtype"] = policy if mixed or len(arrays) > 1 else record.dtype
    for module in (initializers, regularizers, constraints):
        argument = f"embeddings_{module.__name__.rpartition('.')[2][:-1]}"
        try:
            module.get(arguments.get(argument))
        except Exception:  # whatever an unknown class, or a known one with strange arguments, leads to
            warnings.warn(
                f"{quoted(record.name)} is loaded without its {argument}, which is not known here: "
                f"{quoted(str(arguments.pop(argument)))}",
                stacklevel=3,
            )
    if len(arrays) > 1:
        return _quantised(record, arguments, arrays)
    [table] = arrays
    if record.dtype != "bfloat16":
        return Embedding(**arguments, weights=[table])
    # Rows come as float32, exactly and everywhere; for those of ml_dtypes there would have to be ml_dtypes.
    arguments = {key: arguments[key] for key in arguments.keys() - {"input_dim", "output_dim", "dtype"}}
    words = Variable.from_bfloat16_words(table, name="embeddings")
    return Embedding.from_variable(words, dtype="float32", **arguments)


def _quantised(
    record: EmbeddingRecord, arguments: dict[str, Any], arrays: list[np.ndarray[Any, Any]]
) -> Embedding:
    """The layer of a table of codes."""
    config: dict[str, Any] = record.config or {}
    try:
        how = quantizers.deserialize(config.get("quantization_config"))
        layer = Embedding(**arguments, quantization_config=how)
        layer.build()
        layer.load_own_variables({str(number): array for number, array in enumerate(arrays)})
    except MemoryError:
        raise
    except Exception as error:  # whatever strange codes or settings lead to
        raise FormatError(
            f"{quoted(record.name)} is not quantised as Keras does it: {quoted(str(error))}"
        ) from error
    return layer

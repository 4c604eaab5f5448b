"""What fastembed.saving does, in two functions."""

from __future__ import annotations

import warnings
from typing import Any, Callable

import numpy as np

from fastembed import constraints, initializers, quantizers, regularizers
from fastembed.errors import FormatError
from fastembed.layers import Embedding, ReversibleEmbedding
from fastembed.saving.configs import embedding_arguments, quantisation
from fastembed.saving.hdf5 import quoted
from fastembed.saving.model_file import EmbeddingRecord, opened_model
from fastembed.saving.source import Path
from fastembed.variable import Variable

_CLASSES: dict[str, type[Embedding]] = {
    "Embedding": Embedding,
    "ReversibleEmbedding": ReversibleEmbedding,
}


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
    Where the file has a config, that decides: an Embedding is a layer of the class ``Embedding`` or
    ``ReversibleEmbedding`` with a table stored. Where it has none, names decide: a weight called
    ``embeddings`` (with ``reverse_embeddings`` beside it, of a ReversibleEmbedding); where the file is of
    Keras 1 or does not say, also a layer's only weight if it is 2-D and called ``<layer>_W``; in
    ``.weights.h5``, the first weight of an object stored as ``embedding`` or ``reversible_embedding``, with a
    number behind or none. The same holds for a ``.keras`` file of a subclassed model.

    A quantised Embedding is listed with dtype "int8" or "int4"; where there is no config, as "int8". No
    candidate is of int8 or uint8: in Keras's files these are codes, which are no rows without their scales.

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
        Which one: a record's ``name`` or ``location``, or the full path of any other 2-D weight in the file
        that is not of int8 or uint8. Needed where the file has several embeddings.

    Returns
    -------
    fastembed.layers.Embedding or fastembed.layers.ReversibleEmbedding
        Its tables have the values, the shapes and the dtype that are in the file, bit for bit. The rows of a
        bfloat16 table come as float32. A quantised table stays quantised. What LoRA learned is part of the
        table already: `.keras` and ``.weights.h5`` files hold it merged. What only a config tells
        (``mask_zero``, ``logit_soft_cap``, ...) has its default where the file has none.

    Raises
    ------
    ValueError
        If there is no embedding of this name, or several and no name is given; the message lists them.
    UnsupportedError
        If what is stored are codes (int8, int4) and the file is no `.keras` file with the layer's config, or
        the parts of an unmerged LoRA; and for a path to an array of int8 or uint8, which would be codes.
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
        if len(arrays) > 1:
            arguments["tie_weights"] = False
    else:
        arguments = embedding_arguments(record.config, record.class_name)
    if "name" in arguments:
        arguments["name"] = arguments["name"].replace("/", "_")
    # A policy says more than a dtype: "mixed_float16" computes in another. It must agree with what is stored.
    policy, is_codes = arguments.get("dtype", ""), record.dtype == quantisation(record.config or {})
    mixed = policy.startswith("mixed_") and record.dtype == "float32"
    arguments["dtype"] = policy if mixed or is_codes else record.dtype
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
    try:
        return (_quantised if is_codes else _plain)(record, arguments, arrays)
    except (TypeError, ValueError) as error:
        raise FormatError(
            f"{quoted(record.name)} is no {record.class_name} as Keras writes it: {quoted(str(error))}"
        ) from error


def _plain(
    record: EmbeddingRecord, arguments: dict[str, Any], arrays: list[np.ndarray[Any, Any]]
) -> Embedding:
    """The layer of a table as it is, and of the matrix for the way back where there is one."""
    arguments = {key: arguments[key] for key in arguments.keys() - {"input_dim", "output_dim"}}
    make: Callable[..., Variable] = Variable
    if record.dtype == "bfloat16":
        # Rows come as float32, exactly and everywhere; of ml_dtypes, there would have to be ml_dtypes.
        make, arguments["dtype"] = Variable.from_bfloat16_words, "float32"
    variables = [make(array, name=name) for array, name in zip(arrays, ("embeddings", "reverse_embeddings"))]
    return _CLASSES[record.class_name].from_variable(*variables, **arguments)


def _quantised(
    record: EmbeddingRecord, arguments: dict[str, Any], arrays: list[np.ndarray[Any, Any]]
) -> Embedding:
    """The layer of a table of codes."""
    config: dict[str, Any] = record.config or {}
    try:
        how = quantizers.deserialize(config.get("quantization_config"))
        layer = _CLASSES[record.class_name](**arguments, quantization_config=how)
        layer.build()
        layer.load_own_variables({str(number): array for number, array in enumerate(arrays)})
    except MemoryError:
        raise
    except Exception as error:  # whatever strange codes or settings lead to
        raise FormatError(
            f"{quoted(record.name)} is not quantised as Keras does it: {quoted(str(error))}"
        ) from error
    return layer

"""Model configs: JSON text to a tree of layers, and an Embedding's config of any era to our argument names.

A config is data here. Class names in it are compared with constants or turned into names of groups, never
looked up: a config may name any class at all, and the layers around an Embedding do not matter to it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastembed.errors import FormatError, LimitError
from fastembed.saving.hdf5 import quoted

MAX_CONFIG = 16 << 20
MAX_DEPTH = 128
MAX_DIGITS = 20

#: The classes whose tables we know.
EMBEDDINGS = ("Embedding", "ReversibleEmbedding")

Json = dict[str, Any]
Shape = tuple[int, ...]


def parse_json(text: str | bytes) -> Json:
    """A JSON object, read strictly.

    Raises
    ------
    LimitError
        If it is longer than 16 MiB or nested deeper than 128 levels.
    FormatError
        If it is not JSON in UTF-8, not an object, or something that readers disagree about: duplicate keys,
        NaN, infinities, lone surrogates.
    """
    if len(text) > MAX_CONFIG:
        raise LimitError(f"a config of more than {MAX_CONFIG} bytes")
    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refused,
            parse_int=_integer,
            parse_float=_finite,
        )
    except RecursionError:
        raise LimitError(f"a config nested deeper than {MAX_DEPTH} levels") from None
    except MemoryError:
        raise LimitError("not enough memory for the config") from None
    except FormatError:
        raise
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both
        raise FormatError(f"the config is not JSON: {quoted(str(error))}") from None
    if not isinstance(value, dict):
        raise FormatError("the config is not a JSON object")
    _check(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> Json:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise FormatError("the config gives a key twice in one object")
    return made


def _refused(constant: str) -> None:
    raise FormatError(f"the config contains {constant}")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise FormatError(f"the config contains an integer of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise FormatError("the config contains a number beyond the range of float64")
    return number


def _check(value: Any) -> None:
    """Depth and text of a parsed value, without recursion."""
    todo = [(value, 1)]
    while todo:
        value, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise LimitError(f"a config nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            todo.extend((key, depth) for key in value)
            todo.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            todo.extend((item, depth + 1) for item in value)
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise FormatError("the config contains half of a surrogate pair") from None


@dataclass(frozen=True)
class Node:
    """A layer (or anything else with a class name) in a model's config."""

    class_name: str
    name: str
    config: Json
    #: What it holds: the attribute, the things in it, and whether the attribute is a list of them.
    parts: tuple[tuple[str, tuple[Node, ...], bool], ...]

    @property
    def is_embedding(self) -> bool:
        return self.class_name in EMBEDDINGS

    @property
    def is_model(self) -> bool:
        """Whether it lists its layers. A subclassed model's config does not."""
        return any(attribute == "layers" and is_list for attribute, _, is_list in self.parts)

    def embeddings(self, above: tuple[Node, ...] = ()) -> Iterator[tuple[Node, ...]]:
        """Every Embedding below, in the model's order, as the chain of nodes that leads to it from here."""
        chain = (*above, self)
        if self.is_embedding:
            yield chain
        for _, nodes, _ in self.parts:
            for node in nodes:
                yield from node.embeddings(chain)


def model_tree(config: Json) -> Node:
    """The tree of layers of a model's config, whichever Keras wrote it.

    Keras has always described a layer as ``{"class_name": ..., "config": ...}``. The versions differ in what
    is beside these keys, and in a Sequential's config being a dict or, before 2.2.3, the bare list of its
    layers. Models, wrappers and Keras 1's Merge are alike in that their configs hold such descriptions.
    """
    node = _node(config)
    if node is None:
        raise FormatError("the config does not describe a model")
    return node


def _node(value: Any) -> Node | None:
    if not isinstance(value, dict):
        return None
    class_name, config = value.get("class_name"), value.get("config")
    if isinstance(config, list):
        config = {"layers": config}
    if not (isinstance(class_name, str) and isinstance(config, dict)):
        return None
    parts = []
    for attribute, held in config.items():
        is_list = isinstance(held, list)
        nodes = tuple(node for node in map(_node, held if is_list else [held]) if node is not None)
        if nodes or (is_list and attribute == "layers"):
            parts.append((attribute, nodes, is_list))
    name = config.get("name", value.get("name"))
    return Node(class_name, name if isinstance(name, str) else "", config, tuple(parts))


def table_shape(config: Json) -> tuple[int, int]:
    """``(input_dim, output_dim)``; FormatError unless both are positive integers."""
    rows, columns = config.get("input_dim"), config.get("output_dim")
    for what, number in (("input_dim", rows), ("output_dim", columns)):
        if type(number) is not int or number <= 0:  # bool is an int to isinstance
            raise FormatError(f"{what} in the config is {quoted(repr(number))}, not a positive integer")
    return rows, columns  # type: ignore[return-value]


def dtype_policy(config: Json) -> str | None:
    """The name of the dtype policy, from the string or the serialised policy in an Embedding's config.

    >>> dtype_policy({"dtype": {"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}})
    'mixed_bfloat16'
    >>> dtype_policy({"dtype": {"class_name": "QuantizedDTypePolicy",
    ...                         "config": {"mode": "int8", "source_name": "float32"}}})
    'int8_from_float32'
    """
    dtype = config.get("dtype")
    if isinstance(dtype, dict):
        inner = dtype.get("config")
        inner = inner if isinstance(inner, dict) else {}
        dtype = inner.get("name") or f"{inner.get('mode')}_from_{inner.get('source_name')}"
    return dtype if isinstance(dtype, str) else None


def quantisation(config: Json) -> str | None:
    """How a table is quantised by its config, "int8" or "int4"; None where values are stored, not codes."""
    found = re.match(r"(int[48])(/-?\d+)?_from_", dtype_policy(config) or "")
    return found.group(1) if found else None


def block_size(config: Json) -> int | None:
    """Columns of an int4 table that share a scale, by its config; None for one scale a row.

    >>> block_size({"dtype": "int4/128_from_float32"})
    128
    """
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict) and isinstance(quantization.get("config"), dict):
        size = quantization["config"].get("block_size")  # older files have none, and mean one scale a row
    else:
        found = re.match(r"int4/(-?\d{1,9})_from_", dtype_policy(config) or "")
        size = int(found.group(1)) if found else None
    if size is None or size == -1:
        return None
    if type(size) is not int or size <= 0:
        raise FormatError(f"block_size in the config is {quoted(repr(size))}, not a positive integer")
    return size


def shapes_beside(class_name: str, config: Json, mode: str | None) -> list[tuple[Shape, bool]]:
    """What Keras stores of an Embedding after its table: shapes, and which is a table itself.

    After codes: scales; for blocks zero points, and whose block. Then, with untied weights, the matrix of the
    way back, columns as rows, and if it holds codes, their scales and zero points.

    >>> config = {"input_dim": 9, "output_dim": 5, "dtype": "int4/2_from_float32", "tie_weights": False}
    >>> shapes_beside("Embedding", config, "int4")
    [((9, 3), False), ((9, 3), False), ((5,), False)]
    >>> shapes_beside("ReversibleEmbedding", config, "int4")[3:]
    [((3, 9), True), ((3, 9), False), ((3, 9), False)]
    >>> shapes_beside("ReversibleEmbedding", config, None)
    [((5, 9), True)]
    """
    rows, columns = table_shape(config)
    size = block_size(config) if mode == "int4" else None
    scales: list[Shape] = []
    if mode:
        scales = [(rows,)] if size is None else [(rows, -(-columns // size))] * 2
    found = [(shape, False) for shape in (scales if size is None else [*scales, (columns,)])]
    if class_name == "ReversibleEmbedding" and not config.get("tie_weights", True):
        packed = -(-columns // 2) if mode == "int4" else columns
        found += [((packed, rows), True), *((shape[::-1], False) for shape in scales)]
    return found


def stored_shapes(config: Json) -> set[Shape]:
    """The shapes that an Embedding's table may have, by its config: int4 packs two columns into one."""
    rows, columns = table_shape(config)
    packed = -(-columns // 2) if quantisation(config) == "int4" else columns
    return {(rows, columns), (rows, packed)}


# An argument of fastembed.layers.Embedding, and its names in configs, the newest first.
_ARGUMENTS = {
    "embeddings_initializer": ("embeddings_initializer", "init"),
    "embeddings_regularizer": ("embeddings_regularizer", "W_regularizer"),
    "embeddings_constraint": ("embeddings_constraint", "W_constraint"),
    "mask_zero": ("mask_zero",),
    "trainable": ("trainable",),
    "name": ("name",),
}
_OF_REVERSIBLE = ("tie_weights", "reverse_dtype", "logit_soft_cap")


def embedding_arguments(config: Json, class_name: str = "Embedding") -> Json:
    """The arguments for `fastembed.layers.Embedding` in an Embedding's config of any Keras.

    Initializer, regularizer and constraint stay serialised; their ``get`` understands that. What says nothing
    about a table that is there already (``input_length``, ``dropout``, ``lora_rank``, ...) is left out.

    Parameters
    ----------
    config : dict
        As `EmbeddingRecord.config` has it.
    class_name : {"Embedding", "ReversibleEmbedding"}
        As `EmbeddingRecord.class_name` has it: what the arguments are for.

    Returns
    -------
    dict

    Raises
    ------
    FormatError
        If ``input_dim`` or ``output_dim`` is not a positive integer.

    Examples
    --------
    >>> embedding_arguments({"input_dim": 9, "output_dim": 2, "init": "uniform", "input_length": 5,
    ...                      "W_regularizer": None, "mask_zero": True, "name": "words"})
    ... # doctest: +NORMALIZE_WHITESPACE
    {'input_dim': 9, 'output_dim': 2, 'embeddings_initializer': 'uniform', 'embeddings_regularizer': None,
     'mask_zero': True, 'name': 'words'}
    """
    arguments: Json = dict(zip(("input_dim", "output_dim"), table_shape(config)))
    for argument, keys in _ARGUMENTS.items():
        for key in keys:
            if key in config:
                arguments[argument] = config[key]
                break
    if class_name == "ReversibleEmbedding":
        arguments.update((key, config[key]) for key in _OF_REVERSIBLE if key in config)
    for flag in ("mask_zero", "trainable", "tie_weights"):
        if flag in arguments:
            arguments[flag] = bool(arguments[flag])
    policy = dtype_policy(config)
    if policy is not None:
        arguments["dtype"] = policy
    return arguments

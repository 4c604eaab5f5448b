"""Where a model's weights are in an HDF5 file, and which of them are Embedding tables.

Keras has laid out weights in two ways. Both answer the same questions here; nothing else needs to know:

- `ByName` (every ``.h5`` file): a list of top-level layers, each with the list of its weights' names. What
  belongs to a nested layer is told by the names, as far as they tell.
- `ByObject` (``.weights.h5``, and inside ``.keras``): a group for every object, at the path of attributes
  to it, its weights numbered in a group ``vars``. Classes and counters stand for layers' names.

Any other file is `Unknown`: its arrays can be opened by their paths.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from fastembed.errors import FormatError, LimitError
from fastembed.names import snake_case
from fastembed.saving.configs import (
    EMBEDDINGS,
    Json,
    Node,
    Shape,
    dtype_policy,
    quantisation,
    shapes_beside,
    stored_shapes,
    table_shape,
)
from fastembed.saving.hdf5 import OPAQUE, Hdf5, quoted

MAX_PAIRS = 1_000_000  # of Embeddings and weights inside one layer

# What a table may be that we do not read, to be said after "is".
_QUANTISED = (
    "quantised: codes are stored, which are rows only with the layer's config, as the .keras file of a "
    "Sequential or functional model has it. Or build such a layer and give its arrays to load_own_variables"
)
_UNMERGED = "LoRA, not merged, as it is in .keras and .weights.h5 files"


@dataclass(frozen=True)
class Table:
    """An Embedding's table found in a file."""

    name: str  #: the layer's
    path: str  #: the layer's name with those of the layers around it, for where the name alone is not unique
    array: str  #: the dataset
    shape: Shape
    dtype: str
    config: Json | None = None
    obstacle: str | None = None  #: why the stored values are not the table's, if they are not
    class_name: str = "Embedding"
    #: The layer's other datasets, with their shapes: see `shapes_beside`.
    beside: tuple[tuple[str, Shape], ...] = ()


class Layout(Protocol):
    """How weights are arranged in a file."""

    def described(self, model: Node) -> list[Table]:
        """The tables of the Embeddings in a model's config, in its order; those never built are left out."""

    def named(self, keras_version: str | None) -> list[Table]:
        """The tables that can be told without a config, by the names that Keras gives."""

    def weights(self) -> Iterator[str]:
        """Every dataset that is a weight of the model, in order."""


def layout_of(file: Hdf5, root: str) -> Layout:
    """The layout of the weights under the group ``root``."""
    layers = file.names(root, "layer_names")
    if layers is not None:
        return ByName(file, root, layers)
    objects = ByObject(file)
    return objects if objects.found else Unknown(file)


class ByName:
    """Top-level layers by name, in the model's order, each with its weights by name."""

    # "embeddings", perhaps with TensorFlow's ":0" and the number that Keras 2 gave to a name used twice.
    _EMBEDDINGS = re.compile(r"(?:^|/)embeddings(?::\d+)?(?:_\d+)?$")
    # Keras 1 put the layer's name in front: "embedding_1_W", or "embedding_1_W:0".
    _W = re.compile(r"(?:^|/)([^/]*)_W(?::\d+)?$")
    _TOP_LEVEL = "top_level_model_weights"  # a group beside the layers, since 2.8
    # Beside "embeddings", these say that it holds codes, or only the frozen part of the table.
    _OBSTACLES: ClassVar = {"embeddings_scale": _QUANTISED, "lora_embeddings_a": _UNMERGED}

    def __init__(self, file: Hdf5, root: str, layers: list[str]) -> None:
        self._file = file
        if _join(root, self._TOP_LEVEL) in file.groups:
            layers = [*layers, self._TOP_LEVEL]
        self._layers: dict[str, dict[str, str]] = {}  # layer -> weight -> dataset
        self._tables: dict[str, list[str]] = {}  # layer -> weights that may be tables
        for layer in dict.fromkeys(layers):
            group = _join(root, layer)
            if group not in file.groups:
                raise FormatError(f"the file lists a layer {quoted(layer)} and does not hold it")
            arrays = {weight: _join(group, weight) for weight in file.names(group, "weight_names") or ()}
            for array in arrays.values():
                if array not in file.arrays:
                    raise FormatError(f"the file lists a weight {quoted(array)} and does not hold it")
            self._layers[layer] = arrays
            self._tables[layer] = self._tables_in(arrays)

    def weights(self) -> Iterator[str]:
        for arrays in self._layers.values():
            yield from arrays.values()

    def described(self, model: Node) -> list[Table]:
        chains = [chain[1:] for chain in model.embeddings()]  # the names of weights leave out the model's own
        held: dict[str, list[int]] = {}
        for i, chain in enumerate(chains):
            # A nested layer's weights are with the outermost layer around it, but for Keras 1's Merge.
            owner = next((node.name for node in chain if self._tables.get(node.name)), None)
            if owner is not None:
                held.setdefault(owner, []).append(i)
        found: dict[int, tuple[str, str]] = {}
        for owner, numbers in held.items():
            weights = self._assigned(owner, [chains[i] for i in numbers])
            found.update((i, (owner, weight)) for i, weight in zip(numbers, weights) if weight is not None)
        return [
            _described(
                self._file,
                chains[i],
                [self._layers[owner][weight], *self._reverse(owner, weight)],
                self._obstacle(owner, weight),
            )
            for i, (owner, weight) in sorted(found.items())
        ]

    def _tables_in(self, weights: dict[str, str]) -> list[str]:
        """Weights of a layer that may be tables: by name, or by shape where Theano and CNTK left no names."""
        named = [weight for weight in weights if self._EMBEDDINGS.search(weight) or self._W.search(weight)]
        return named or [weight for weight, array in weights.items() if self._file.array(array).is_table]

    def _assigned(self, owner: str, chains: list[tuple[Node, ...]]) -> list[str | None]:
        """For each chain of nodes to an Embedding inside ``owner``, its weight there; None if never built.

        The names in a weight's name tell; the more of a chain's names it has, the better. What they do not
        tell, order does, which is Keras's own rule: a nested model's weights are its trainable ones, then the
        frozen ones.
        """
        weights = self._tables[owner]
        if len(weights) * len(chains) > MAX_PAIRS:
            raise LimitError(f"{len(chains)} Embeddings in {quoted(owner)}")
        shapes = [self._file.array(self._layers[owner][weight]).shape for weight in weights]
        scopes = [self._scopes(weight) for weight in weights]
        frozen = [any(node.config.get("trainable") is False for node in chain) for chain in chains]
        order = sorted(range(len(chains)), key=frozen.__getitem__)

        def fits(i: int, j: int) -> bool:
            return shapes[j] in stored_shapes(chains[i][-1].config)

        def agreement(pair: tuple[int, int]) -> int:
            i, j = pair
            known = chains[i][-1].name in scopes[j] and fits(i, j)
            return len({node.name for node in chains[i]} & scopes[j]) if known else 0

        pairs: dict[int, int] = {}
        for i, j in sorted(itertools.product(order, range(len(weights))), key=agreement, reverse=True):
            if i not in pairs and j not in pairs.values() and agreement((i, j)):
                pairs[i] = j
        wanted = [i for i in order if i not in pairs]
        unused = [j for j in range(len(weights)) if j not in pairs.values()]
        fitting = [j for j in unused if any(fits(i, j) for i in wanted)]
        if len(fitting) == len(wanted) and all(map(fits, wanted, fitting)):
            pairs.update(zip(wanted, fitting))
        elif unused:
            configs = [f"{quoted(chains[i][-1].name)} {table_shape(chains[i][-1].config)}" for i in wanted]
            raise FormatError(
                f"config and weights disagree: {', '.join(configs)} against {[shapes[j] for j in unused]}"
            )
        return [weights[pairs[i]] if i in pairs else None for i in range(len(chains))]

    def _scopes(self, weight: str) -> set[str]:
        """The names of layers in a weight's name."""
        *scopes, leaf = weight.split("/")
        old = self._W.search(leaf)
        return {*scopes, *(old.groups() if old else ())}

    def _obstacle(self, owner: str, weight: str) -> str | None:
        prefix = weight.rpartition("/")[0]
        for other in self._layers[owner]:
            scope, _, leaf = other.rpartition("/")
            if scope == prefix and leaf.split(":")[0] in self._OBSTACLES:
                return self._OBSTACLES[leaf.split(":")[0]]
        return None

    def _reverse(self, owner: str, weight: str) -> list[str]:
        """The matrix that an untied ReversibleEmbedding has beside a table."""
        scope, slash, leaf = weight.rpartition("/")
        arrays = self._layers[owner]
        return [arrays[name] for name in (f"{scope}{slash}reverse_{leaf}",) if name in arrays]

    def named(self, keras_version: str | None) -> list[Table]:
        keras1 = keras_version is None or keras_version.startswith("1.")
        found = []
        for layer, weights in self._layers.items():
            for weight, array in weights.items():
                sole_w = (
                    keras1 and len(weights) == 1 and re.fullmatch(re.escape(layer) + r"_W(:\d+)?", weight)
                )
                if (sole_w or self._EMBEDDINGS.search(weight)) and self._file.array(array).is_table:
                    # Its scope may be "model/layer", or a name made unique in TensorFlow's graph.
                    scope = weight.rpartition("/")[0].rpartition("/")[2]
                    name = layer if len(weights) == 1 or not scope else scope
                    path = layer if name == layer else _join(layer, name)
                    arrays, obstacle = [array, *self._reverse(layer, weight)], self._obstacle(layer, weight)
                    is_untied = _is_untied(self._file, arrays)
                    class_name = "ReversibleEmbedding" if is_untied else "Embedding"
                    found.append(_undescribed(self._file, name, path, arrays, obstacle, class_name))
        return found


class ByObject:
    """A group for every object, at the path of attributes to it, its weights numbered in a group "vars".

    Inside a list, an object's group is called after its class: "embedding", "embedding_1", ... A layer's own
    name is an attribute of "vars" since Keras 3.6, and nowhere in older files.
    """

    _CLASSES: ClassVar = {snake_case(class_name): class_name for class_name in EMBEDDINGS}
    _ARRAY = re.compile(r"(?:(.*)/)?vars/(\d+)")
    _VARS = re.compile(r"(?:(.*)/)?vars")
    _OPTIMIZERS = frozenset({"optimizer", "_optimizer"})
    # 2.12 to 2.14 reached a model's layers by a private attribute first.
    _ALIASES: ClassVar = {"layers": ("layers", "_layer_checkpoint_dependencies")}

    def __init__(self, file: Hdf5) -> None:
        self._file = file
        self._arrays: dict[str, list[str]] = {}  # object -> datasets
        self._labels: dict[str, str] = {}  # object -> name of the layer
        self._below: dict[str, list[str]] = {}  # group of objects -> their names, by number
        for group in file.groups:
            match = self._VARS.fullmatch(group)
            if match and not self._OPTIMIZERS & set(group.split("/")):
                path = match.group(1) or ""
                self._arrays[path] = []
                label = file.text(group, "name")
                if label is not None:
                    self._labels[path] = label
        for array in sorted(file.arrays, key=_natural):
            match = self._ARRAY.fullmatch(array)
            if match and (match.group(1) or "") in self._arrays:
                self._arrays[match.group(1) or ""].append(array)
        # Ancestors too: what has no weights of its own may have no "vars".
        paths = {path[:end] for path in self._arrays for end in (*_slashes(path), len(path))}
        for path in sorted(paths, key=_natural):
            above, _, name = path.rpartition("/")
            self._below.setdefault(above, []).append(name)

    @property
    def found(self) -> bool:
        return any(self._arrays.values())

    def weights(self) -> Iterator[str]:
        for path in sorted(self._arrays, key=_natural):
            yield from self._arrays[path]

    def described(self, model: Node) -> list[Table]:
        return list(self._visit((model,), "", set()))

    def _visit(self, chain: tuple[Node, ...], path: str, seen: set[tuple[str, str]]) -> Iterator[Table]:
        node, arrays = chain[-1], self._arrays.get(path)
        seen.add((node.class_name, node.name))
        if node.is_embedding and arrays:
            yield _described(self._file, chain[1:], arrays)
        for attribute, nodes, is_list in node.parts:
            places = self._members(path, attribute, nodes, seen) if is_list else [_join(path, attribute)]
            for inner, place in zip(nodes, places):
                if place is not None:
                    yield from self._visit((*chain, inner), place, seen)

    def _members(
        self, path: str, attribute: str, nodes: tuple[Node, ...], seen: set[tuple[str, str]]
    ) -> list[str | None]:
        """The groups of the objects in a list; None for one that has none."""
        lists = [_join(path, alias) for alias in self._ALIASES.get(attribute, (attribute,))]
        held = next((name for name in lists if name in self._below), None)
        if held is None:
            return [None] * len(nodes)
        groups: dict[int, str] = {}
        by_class: dict[str, list[int]] = {}
        for i, node in enumerate(nodes):
            by_class.setdefault(_stem(node.class_name), []).append(i)
        for stem, numbers in by_class.items():
            stored = [name for name in self._below[held] if re.fullmatch(re.escape(stem) + r"(_\d+)?", name)]
            labels = {self._labels.get(_join(held, name)): name for name in stored}
            fresh = [i for i in numbers if (nodes[i].class_name, nodes[i].name) not in seen]
            if set(labels) != {None}:
                groups.update((i, labels[nodes[i].name]) for i in numbers if nodes[i].name in labels)
            # Versions count differently (2.12 and 2.13 arrive at every layer with weights twice: embedding,
            # embedding_2, ...), but all count in the model's order.
            elif len(stored) == len(numbers):
                groups.update(zip(numbers, stored))
            # A layer that other models hold too is stored where it was met first.
            elif len(stored) == len(fresh):
                groups.update(zip(fresh, stored))
            else:
                exact = [(i, f"{stem}_{n}" if n else stem) for n, i in enumerate(numbers)]
                groups.update((i, name) for i, name in exact if name in stored)
        return [_join(held, groups[i]) if i in groups else None for i in range(len(nodes))]

    def named(self, keras_version: str | None) -> list[Table]:
        found = []
        for path in sorted(self._arrays, key=_natural):
            class_name = self._CLASSES.get(re.sub(r"_\d+$", "", path.rpartition("/")[2]))
            arrays = self._arrays[path]
            if class_name is None or not arrays or not self._file.array(arrays[0]).is_table:
                continue
            # LoRA is merged into the table here; codes come with their scales, and need a config to be read.
            is_codes = len(arrays) > 1 and self._file.array(arrays[0]).dtype == "int8"
            # What has more weights than a ReversibleEmbedding is another class of this name.
            if is_codes or class_name == "Embedding" or len(arrays) == 1 or _is_untied(self._file, arrays):
                label, obstacle = self._labels.get(path, path), _QUANTISED if is_codes else None
                found.append(_undescribed(self._file, label, path, arrays, obstacle, class_name))
        return found


class Unknown:
    """Arrays known by nothing but their paths: Keras before 1.0 ("layer_0/param_0"), and other programs."""

    def __init__(self, file: Hdf5) -> None:
        self._file = file

    def described(self, model: Node) -> list[Table]:
        return []

    def named(self, keras_version: str | None) -> list[Table]:
        return []

    def weights(self) -> Iterator[str]:
        return iter(sorted(self._file.arrays, key=_natural))


def _described(
    file: Hdf5, chain: tuple[Node, ...], arrays: Sequence[str], obstacle: str | None = None
) -> Table:
    """A table with a config, which must agree with what is stored. ``arrays``: the table, then the others."""
    node, (array, *others) = chain[-1], arrays
    if not node.name:
        raise FormatError("an Embedding in the config has no name")
    stored, shape = file.array(array), table_shape(node.config)
    dtype = stored.dtype
    if stored.shape not in stored_shapes(node.config):
        raise FormatError(f"{quoted(node.name)} is {shape} by its config, and its table is {stored.shape}")
    file.check(array)
    mode = quantisation(node.config) if dtype == "int8" else None
    parts = shapes_beside(node.class_name, node.config, mode)
    if obstacle is None and mode and not others:
        obstacle = f"quantised to {mode}, and what its codes stand for is not stored with it"
    elif obstacle is None and dtype == "int8" and not mode and len(others) != len(parts):
        obstacle = _QUANTISED  # although this config does not say so
    if mode:
        dtype = mode
    elif dtype == OPAQUE and dtype_policy(node.config) == "bfloat16":
        dtype = "bfloat16"
    # A class of somebody's own may be called Embedding and have more weights.
    if obstacle is None and len(others) != len(parts) and (mode or node.class_name != "Embedding"):
        raise FormatError(
            f"{quoted(node.name)} is {mode or 'not quantised'} by its config, which makes {1 + len(parts)} "
            f"arrays of a {node.class_name}, and {1 + len(others)} are stored"
        )
    beside = () if obstacle else tuple(zip(others, parts))
    for other, (its_shape, is_table) in beside:
        file.check(other, its_shape)
        its_dtype = file.array(other).dtype
        if (its_dtype != stored.dtype) if is_table else (its_dtype == OPAQUE):
            raise FormatError(f"{quoted(other)} is {its_dtype}, beside a table of {stored.dtype}")
    path = "/".join(n.name for n in chain)
    return Table(
        node.name,
        path,
        array,
        shape,
        dtype,
        node.config,
        obstacle,
        node.class_name,
        tuple((other, its_shape) for other, (its_shape, _) in beside),
    )


def _undescribed(
    file: Hdf5, name: str, path: str, arrays: Sequence[str], obstacle: str | None, class_name: str
) -> Table:
    """A table without a config; of others, only an untied ReversibleEmbedding's are read."""
    file.check(arrays[0])
    stored = file.array(arrays[0])
    others = arrays[1:] if class_name == "ReversibleEmbedding" and obstacle is None else ()
    beside = tuple((array, stored.shape[::-1]) for array in others)
    for array, shape in beside:
        file.check(array, shape)
    return Table(name, path, arrays[0], stored.shape, stored.dtype, None, obstacle, class_name, beside)


def _is_untied(file: Hdf5, arrays: Sequence[str]) -> bool:
    """Whether these are a table and another one that goes the way back."""
    if len(arrays) != 2:
        return False
    table, reverse = map(file.array, arrays)
    return (reverse.shape, reverse.dtype) == (table.shape[::-1], table.dtype)


def _join(path: str, name: str) -> str:
    """``name`` below ``path``: a key for look-up, to which ".." or a slash in front has no meaning."""
    return f"{path}/{name}".replace("\\", "/") if path else name.replace("\\", "/")


def _slashes(path: str) -> list[int]:
    return [match.start() for match in re.finditer("/", path)]


def _natural(path: str) -> list[tuple[str, int]]:
    """Sorts "embedding_2" before "embedding_10", and "embedding" before both."""
    parts = (re.fullmatch(r"(.*?)_?(\d*)", part, re.DOTALL) for part in path.split("/"))
    return [(part.group(1), int(part.group(2)[:18] or 0)) for part in parts if part]


def _stem(class_name: str) -> str:
    """The name that Keras gives an object's group. A custom class's begins with its package and ">"."""
    return snake_case(class_name.rpartition(">")[2])

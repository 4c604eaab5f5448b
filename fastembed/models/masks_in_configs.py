"""Masks in the graphs of Keras 3's configs.

When a layer with a mask is called on symbolic inputs, Keras 3 computes the mask by operations which become
part of the graph, and hands it to the next layer as an argument. Here masks travel by themselves, so these
operations are taken out, where it is certain that they compute what travels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastembed._registry import is_of_keras

Json = dict[str, Any]
Source = tuple[str, int, int, float]  # a tensor, and the value that masks its elements


def is_operation(entry: Json) -> bool:
    """Whether an entry among the layers of a config is a function of Keras 3's that was called on a tensor.

    >>> is_operation({"module": "keras.src.ops.numpy", "class_name": "Add"})
    True
    """
    module = entry.get("module")
    return is_of_keras(module) and "ops" in module.split(".")  # type: ignore[union-attr]


def without_masks(entries: list[Json], outputs: Any) -> list[Json]:
    """The entries without the operations that compute masks, and without the arguments that these are.

    Parameters
    ----------
    entries : list of dict
        The layers of a model's config, each with "name", "config" and "inbound_nodes".
    outputs : object
        The config's "output_layers".

    Returns
    -------
    list of dict
        The same list where there is nothing to take out. Operations that compute anything else stay.
    """
    operations = {entry["name"]: entry for entry in entries if is_operation(entry)}
    if not operations:
        return entries
    layers = [entry for entry in entries if not is_operation(entry)]
    graph = _Graph(entries, operations)
    needed = {name for name in _names(outputs) if name in operations}
    for entry in layers:
        for node in _nodes(entry):
            mask = graph.mask(node)
            kept = node if mask is None or graph.travels(node, mask) else {**node, "mask": mask}
            needed.update(place[0] for place in _places([kept["args"], _but_mask(kept), kept.get("mask")]))
    kept_ones = graph.operations_behind(needed)
    return [
        entry
        if is_operation(entry)
        else {**entry, "inbound_nodes": [graph.maskless(n) for n in _calls(entry)]}
        for entry in entries
        if not is_operation(entry) or entry["name"] in kept_ones
    ]


class _Graph:
    def __init__(self, entries: list[Json], operations: dict[str, Json]) -> None:
        self._operations = operations
        self._nodes = {entry["name"]: _nodes(entry) for entry in entries}
        self._masking = {
            entry["name"]: value for entry in entries if (value := _value_of_mask(entry)) is not None
        }
        self._sources: dict[tuple[str, int], frozenset[Source]] = {}

    def mask(self, node: Json) -> Any:
        """The mask that operations compute for a call, or None."""
        mask = node["kwargs"].get("mask")
        return mask if any(place[0] in self._operations for place in _places(mask)) else None

    def maskless(self, node: Any) -> Any:
        """A call without such a mask."""
        if not _is_node(node) or self.mask(node) is None:
            return node
        return {**node, "kwargs": _but_mask(node)}

    def travels(self, node: Json, mask: Any) -> bool:
        """Whether a mask is made only of what comes with the call's first argument anyway."""
        made_of = frozenset().union(*(self._compared(place) for place in _places(mask)))
        comes = frozenset().union(*(self._comes_with(place) for place in _places(node["args"][:1])))
        return bool(made_of) and made_of <= comes

    def operations_behind(self, names: set[str]) -> set[str]:
        """The operations with these names, and all that these need."""
        found: set[str] = set()
        todo = [name for name in names if name in self._operations]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                places = _places([self._nodes[name]])
                todo.extend(place[0] for place in places if place[0] in self._operations)
        return found

    def _compared(self, place: tuple[str, int, int]) -> set[Source]:
        """What the operations behind a mask compare with which values."""
        found: set[Source] = set()
        for name in self.operations_behind({place[0]}):
            for node in self._nodes[name]:
                if self._operations[name]["class_name"] == "NotEqual":
                    first, *others = node["args"]
                    found.update((*each, float(others[0])) for each in _places(first))
        return found

    def _comes_with(self, place: tuple[str, int, int]) -> set[Source]:
        """The masks that layers make on the way to a tensor."""
        found: set[Source] = set()
        seen: set[tuple[str, int]] = set()
        todo = [place[:2]]
        while todo:
            name, number = todo.pop()
            nodes = self._nodes.get(name, [])
            if (name, number) in seen or not 0 <= number < len(nodes):
                continue
            seen.add((name, number))
            places = list(_places(nodes[number]["args"]))
            if name in self._masking:
                found.update((*each, self._masking[name]) for each in places)
            todo.extend(each[:2] for each in places)
        return found


def _value_of_mask(entry: Json) -> float | None:
    """The value that a layer masks; None for a layer that makes no mask."""
    config = entry.get("config")
    if not isinstance(config, dict):
        return None
    if entry.get("class_name") == "Masking":
        return float(config.get("mask_value", 0.0))
    return 0.0 if config.get("mask_zero") is True else None


def _calls(entry: Json) -> list[Any]:
    calls = entry.get("inbound_nodes")
    return calls if isinstance(calls, list) else []


def _nodes(entry: Json) -> list[Json]:
    """The calls of a layer that are written as Keras 3 does."""
    return [node for node in _calls(entry) if _is_node(node)]


def _is_node(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("args"), (list, tuple))
        and isinstance(value.get("kwargs"), dict)
    )


def _but_mask(node: Json) -> Json:
    return {key: value for key, value in node["kwargs"].items() if key != "mask"}


def _places(structure: Any) -> Iterator[tuple[str, int, int]]:
    """Of which layer, call and output the tensors in a structure are."""
    if isinstance(structure, dict):
        if structure.get("class_name") == "__keras_tensor__":
            name, number, index = structure["config"]["keras_history"]
            yield name, number, index
        else:
            for each in structure.values():
                yield from _places(each)
    elif isinstance(structure, (list, tuple)):
        for each in structure:
            yield from _places(each)


def _names(outputs: Any) -> Iterator[str]:
    if isinstance(outputs, str):
        yield outputs
    elif isinstance(outputs, (list, tuple)):
        for each in outputs:
            yield from _names(each)
    elif isinstance(outputs, dict):
        yield from _names(list(outputs.values()))

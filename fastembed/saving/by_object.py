"""Weights by object, as `.keras` and ``.weights.h5`` files have them: the state of a layer and all it holds.

Every object has a group, at the path of attributes that leads to it, and in it a group "vars" with what
`save_own_variables` puts there. Lists, tuples and dicts name what they hold after its class, and number it:
"layers/embedding", "layers/embedding_1". Each object is stored once, where it is met first; so which names
there are depends on the order in which attributes are looked at, and that has changed: see `Naming`.

What Keras 3.15 has in keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable, Union

import numpy as np

from fastembed.errors import FormatError
from fastembed.layers.layer import Layer
from fastembed.names import snake_case
from fastembed.optimizers import Optimizer
from fastembed.saving.hdf5 import Hdf5, Hdf5Writer, Stored, quoted
from fastembed.variable import at_once

Saveable = Union[Layer, Optimizer]

# Of models, what Keras does not look into; and what all layers have says nothing of one layer.
_SKIPPED = frozenset({"operations", "_operations", "_functional"})
# What a file may hold beside the state of layers, somewhere in an object's path.
_BESIDE = frozenset({
    "optimizer", "_optimizer", "metrics", "_metrics", "compiled_metrics", "compiled_loss", "_compile_metrics",
    "_compile_loss", "_loss_tracker", "loss", "loss_tracker",
})  # fmt: skip
_DATASET = re.compile(r"(?:(.*)/)?vars/([^/]+)")


# --- Where objects are ----------------------------------------------------------------------------


def _public_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: f"~{name}" if name.startswith("_") else name)


def _backwards(names: Iterable[str]) -> list[str]:
    return sorted(names, reverse=True)


@dataclass(frozen=True)
class Naming:
    """How a Keras finds and names the objects that an object holds.

    Attributes
    ----------
    order : callable
        The order of attributes.
    layers : str
        What the list of layers of a Sequential or functional model is called, which comes first.
    twice : bool
        Whether layers with weights are in that list twice.
    counts_all : bool
        Whether what was stored elsewhere before counts in the number of a name.
    enters : bool
        Whether lists in lists are looked into.
    """

    order: Callable[[Iterable[str]], list[str]] = _public_first
    layers: str = "layers"
    twice: bool = False
    counts_all: bool = True
    enters: bool = True

    def walk(self, root: Saveable) -> Iterator[tuple[str, Saveable]]:
        """The objects, each once, with their paths."""
        # A stack and not recursion: models may be nested deeper than Python's functions.
        seen: set[int] = set()
        todo = [iter([("", root)])]
        while todo:
            found = next(todo[-1], None)
            if found is None:
                todo.pop()
            elif id(found[1]) not in seen:
                seen.add(id(found[1]))
                yield found
                todo.append(self._held(*found, seen))

    def _held(self, path: str, saveable: Saveable, seen: set[int]) -> Iterator[tuple[str, Saveable]]:
        for name, value in self._attributes(saveable):
            below = f"{path}/{name}" if path else name
            if isinstance(value, (Layer, Optimizer)):
                yield below, value
            elif isinstance(value, (list, tuple, dict, set)):
                yield from self._contained(below, value, seen, set())

    def _attributes(self, saveable: Saveable) -> Iterator[tuple[str, Any]]:
        if isinstance(saveable, Optimizer):
            return
        if saveable.saves_layers_first:
            listed = saveable.layers  # type: ignore[attr-defined]
            yield (
                self.layers,
                [each for each in listed for _ in range(1 + (self.twice and bool(each.weights)))],
            )
        if not saveable._held_layers():  # only what it was given, such as an optimizer, but no properties
            names: Iterable[str] = vars(saveable)
        else:
            names = dir(saveable)
        for name in self.order(name for name in names if not name.startswith("__")):
            if name not in _of_every_layer() and name not in _SKIPPED:
                try:
                    value = getattr(saveable, name)
                except Exception:  # a property that has none yet
                    continue
                yield name, value

    def _contained(
        self, path: str, container: Any, seen: set[int], above: set[int]
    ) -> Iterator[tuple[str, Saveable]]:
        if id(container) in above:
            return
        counts: dict[str, int] = {}
        for item in container.values() if isinstance(container, dict) else container:
            if isinstance(item, (Layer, Optimizer)):
                if self.counts_all or id(item) not in seen:
                    yield f"{path}/{_numbered(snake_case(type(item).__name__), counts)}", item
            elif isinstance(item, (list, tuple, dict)) and self.enters:
                below = f"{path}/{_numbered('container', counts)}"
                yield from self._contained(below, item, seen, above | {id(container)})


def _numbered(name: str, counts: dict[str, int]) -> str:
    number = counts[name] = counts.get(name, -1) + 1
    return f"{name}_{number}" if number else name


@functools.lru_cache(None)
def _of_every_layer() -> frozenset[str]:
    layer = Layer(name="layer")
    return frozenset(dir(layer))


_NAMINGS = (
    Naming(),
    Naming(enters=False),  # before 3.15
    Naming(order=_backwards, counts_all=False, enters=False),  # tf.keras 2.15 and tf_keras
    Naming(order=sorted, layers="_layer_checkpoint_dependencies", counts_all=False, enters=False),  # 2.14
    Naming(order=sorted, layers="_layer_checkpoint_dependencies", twice=True, enters=False),  # 2.12, 2.13
    Naming(order=sorted, enters=False),  # 2.11
)


# --- Written --------------------------------------------------------------------------------------


def write(file: Hdf5Writer, root: Saveable) -> None:
    """Write the state of an object and of all that it holds, named as Keras 3.15 does."""
    for path, saveable in _NAMINGS[0].walk(root):
        group = f"{path}/vars" if path else "vars"
        file.group(group)
        file.text(group, "name", saveable.name)
        store: dict[str, Any] = {}
        saveable.save_own_variables(store)
        for key, array in store.items():
            file.write(f"{group}/{key}", array)


# --- Read -----------------------------------------------------------------------------------------


class _Held(Mapping[str, Any]):
    """What a file holds of one object: arrays, which are read when they are asked for."""

    def __init__(self, file: Hdf5, arrays: Mapping[str, str]) -> None:
        self._file, self._arrays = file, arrays

    def __getitem__(self, key: str) -> Any:
        return np.asarray(self.readable(key))

    def readable(self, key: str) -> Stored:
        """An array that is still in the file: see `fastembed.variable.readable`."""
        return Stored(self._file, self._arrays[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def read(file: Hdf5, root: Saveable, skip_mismatch: bool = False) -> None:
    """Set an object and all that it holds to what a file has of them.

    Parameters
    ----------
    file : Hdf5
        Of any Keras that wrote such files.
    root : Layer
    skip_mismatch : bool, default False
        Warn of what does not fit, and leave it as it is, instead of raising.

    Raises
    ------
    ValueError
        If something does not fit, or is in the file and not in the model. Nothing is changed then.
    """
    stored: dict[str, dict[str, str]] = {}
    for array in file.arrays:
        match = _DATASET.fullmatch(array)
        if match:
            stored.setdefault(match[1] or "", {})[match[2]] = array
    attempts: list[tuple[list[str], list[tuple[str, Saveable]]]] = []
    for naming in _NAMINGS:
        places = list(naming.walk(root))
        unknown = stored.keys() - {path for path, _ in places}
        left = sorted(path for path in unknown if not _BESIDE & set(path.split("/")))
        if all(places != others for _, others in attempts):
            attempts.append((left, places))
    # Those that know a place for all that is stored, and if none does, what comes nearest.
    attempts.sort(key=lambda attempt: len(attempt[0]))
    attempts = [attempt for attempt in attempts if not attempt[0]] or attempts[:1]
    failures = []
    for left, places in attempts:
        problems = _load(file, stored, left, places)
        if not problems:
            return
        failures.append(problems)
    if skip_mismatch:
        problems = _load(file, stored, *attempts[0], skip_mismatch=True)
        warnings.warn(f"not loaded, because it does not fit:{_listed(problems)}", stacklevel=4)
        return
    raise ValueError(
        f"the weights in the file are not those of {root.name!r}, and nothing was loaded. What does not fit:"
        f"{_listed(failures[0])}\n(skip_mismatch=True loads what does fit.)"
    )


class _NotLoadedError(Exception):
    """Keeps what was loaded from being kept."""


def _load(
    file: Hdf5,
    stored: Mapping[str, Mapping[str, str]],
    left: list[str],
    places: list[tuple[str, Saveable]],
    skip_mismatch: bool = False,
) -> list[str]:
    """Load everything, or what fits with ``skip_mismatch``, else nothing; return what does not fit."""
    problems = []
    for path in left:
        shapes = ", ".join(str(file.array(array).shape) for array in stored[path].values())
        problems.append(f"{quoted(path)} in the file, of {shapes}: the model has nothing there")
    with contextlib.suppress(_NotLoadedError), at_once():
        for path, saveable in places:
            try:
                with at_once():
                    saveable.load_own_variables(_Held(file, stored.get(path, {})))
            except (FormatError, MemoryError):
                raise
            except Exception as error:  # a class of the user's own may raise anything
                problems.append(f"{type(saveable).__name__} {saveable.name!r}, at {quoted(path)}: {error}")
        if problems and not skip_mismatch:
            raise _NotLoadedError
    return problems


def _listed(problems: list[str]) -> str:
    shown = [f"\n- {problem}" for problem in problems[:10]]
    return "".join(shown + [f"\n- and {len(problems) - 10} more"] * (len(problems) > 10))

"""What is right to differ, for machines: each entry belongs to a row of docs/differences.md.

A `Spelling` says how two answers are the same all the same, and the program goes on. A `Parting` says that the
libraries may part company at a line: whatever the program does afterwards is no longer compared.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
from two_libraries import Raised, Shown


class Line(NamedTuple):
    """A line of a program, and what both libraries showed for it."""

    text: str
    ours: Any
    theirs: Any
    before: tuple[Line, ...]  # the lines before it


class Spelling(NamedTuple):
    """Two answers that are equal when both are written in one way."""

    name: str
    row: str  # the beginning of the row's first cell
    alike: Callable[[Any], Any]


class Parting(NamedTuple):
    """A line at which the libraries differ on purpose."""

    name: str
    row: str
    here: Callable[[Line], bool]


def _raised(answer: Any, name: str, *words: str) -> bool:
    return isinstance(answer, Raised) and answer.name == name and all(word in answer.message for word in words)


def _arrays(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Any]:
    """An answer with all its arrays changed."""

    def changed(answer: Any) -> Any:
        if isinstance(answer, np.ndarray):
            return change(answer)
        if isinstance(answer, Shown):
            return Shown(answer.kind, changed(answer.facts))
        if isinstance(answer, (list, tuple)):
            return type(answer)(changed(item) for item in answer)
        if isinstance(answer, dict):
            return {key: changed(item) for key, item in answer.items()}
        return answer

    return changed


def _in_32_bits(array: np.ndarray) -> np.ndarray:
    return array.astype({"float64": "float32", "int64": "int32"}.get(array.dtype.name, array.dtype))


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _is_call(line: Line) -> bool:
    return line.text.startswith("layer(")


KNOWN: list[Spelling | Parting] = [
    Spelling("64 bits stay 64 bits", "64-bit values", _arrays(_in_32_bits)),
    Spelling("bfloat16 weights as float32", "`get_weights` of a bfloat16 layer", _arrays(_widened)),
    Parting(
        "a negative id, or one that int32 cannot hold",
        "id in [-rows, -1]",
        lambda line: _is_call(line) and _raised(line.ours, "IndexError", "outside the table") and not isinstance(line.theirs, Raised),
    ),
    Parting(
        "a fraction as an id",
        "2.7, -0.5 as ids",
        lambda line: _is_call(line) and _raised(line.ours, "ValueError", "is not an integer") and not isinstance(line.theirs, Raised),
    ),
    Parting(
        "ids as lists and numbers",
        "ids as lists",
        lambda line: _is_call(line) and isinstance(line.ours, np.ndarray) and (_raised(line.theirs, "ValueError", "Only input tensors") or _raised(line.theirs, "AttributeError", "'list' object")),
    ),
    Parting(
        "dimensions as NumPy integers",
        "NumPy integers as",
        lambda line: "np.int64(" in line.text and line.ours is None and _raised(line.theirs, "ValueError", "must be a positive integer"),
    ),
    Parting(
        "weights as nested lists",
        "NumPy integers as",
        lambda line: ".tolist()" in line.text and line.ours is None and _raised(line.theirs, "AttributeError", "'list' object has no attribute 'shape'"),
    ),
]

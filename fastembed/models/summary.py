"""What a model looks like as text: the table that Keras prints on a terminal without colours."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable

from fastembed.dtypes import array_dtype
from fastembed.layers.graph import KerasTensor, Node
from fastembed.layers.layer import Layer

#: The lines of a table: above the names, below them, between rows, below the last.
_TOP, _HEAD, _BETWEEN, _BOTTOM = "┏━┳┓", "┡━╇┩", "├─┼┤", "└─┴┘"
_PLAIN = str.maketrans(
    {**dict.fromkeys("┏┳┓┡╇┩├┼┤└┴┘", "+"), **dict.fromkeys("━─", "-"), "┃": "|", "│": "|", "…": "~"}
)


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print a model's layers, their output shapes, numbers of parameters and connections.

    Parameters
    ----------
    model : Model
    line_length : int, optional
        Default: the terminal's less 4, at most 88, or 108 where connections are shown.
    positions : sequence of float, optional
        Where columns end, as fractions of the line. Default: ``[0.45, 0.8, 1]``, or ``[0.3, 0.56, 0.74, 1]``.
    print_fn : callable, optional
        Called once with the whole text. Default: `print`.
    expand_nested : bool, default False
        Whether the layers of models inside have rows too.
    show_trainable : bool, default False
        Whether a column says which layers are trained.
    layer_range : (str, str), optional
        Names, or regular expressions, of the first and the last layer shown.

    Raises
    ------
    ValueError
        For a line too short, and for a range that no layer's name matches.

    Examples
    --------
    >>> from fastembed.layers import Embedding, Flatten, Input
    >>> from fastembed.models import Sequential
    >>> model = Sequential([Input((4,)), Embedding(50, 8, name="words"), Flatten(name="flat")], name="small")
    >>> print_summary(model, line_length=56)
    Model: "small"
    ┏━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┓
    ┃ Layer (type)           ┃ Output Shape    ┃   Param # ┃
    ┡━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━┩
    │ words (Embedding)      │ (None, 4, 8)    │       400 │
    ├────────────────────────┼─────────────────┼───────────┤
    │ flat (Flatten)         │ (None, 32)      │         0 │
    └────────────────────────┴─────────────────┴───────────┘
     Total params: 400 (1.56 KB)
     Trainable params: 400 (1.56 KB)
     Non-trainable params: 0 (0.00 B)
    """
    nodes = _Nodes(model)
    names, alignment = ["Layer (type)", "Output Shape", "Param #"], "<<>"
    length = 88
    if nodes.is_row:
        positions = list(positions or [0.45, 0.80, 1.0])
    else:
        names, alignment, length = [*names, "Connected to"], "<<><", 108
        positions = list(positions or [0.3, 0.56, 0.74, 1.0])
    if show_trainable:
        names, alignment, length = [*names, "Trainable"], f"{alignment}^", length + 12
        positions = [*(each * 0.90 for each in positions), 1.0]
    table = _Table(
        names, alignment, positions, line_length or min(length, shutil.get_terminal_size().columns - 4)
    )
    layers = model.layers
    first, last = _bounds([layer.name for layer in layers], layer_range)
    for layer in layers[first:last]:
        for each, prefix in _rows(layer, expand_nested):
            table.add(_cells(each, prefix, nodes, show_trainable))
    text = "\n".join([f'Model: "{model.name}"', *table.lines(), *_totals(model)]) + "\n"
    if print_fn is not None:
        print_fn(text)
    else:
        print(_printable(text), end="")


def _printable(text: str) -> str:
    """The same text, in lines of ASCII where standard output cannot take others."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    return text


# --- Rows -------------------------------------------------------------------------------------------


class _Nodes:
    """The calls that a model is made of.

    Attributes
    ----------
    is_row : bool
        Whether each layer is called once, with what the one before it returns.
    """

    def __init__(self, model: Any) -> None:
        self._of_layer: dict[int, list[Node]] = {}
        self._numbers: dict[int, int] = {}
        uses: dict[int, int] = {}
        for node in sorted(model._nodes, key=lambda node: node.index):
            self._of_layer.setdefault(id(node.layer), []).append(node)
            for tensor in node.input_tensors:
                uses[id(tensor.node)] = uses.get(id(tensor.node), 0) + 1
        in_a_row = (
            all(len(calls) == 1 and len(calls[0].input_tensors) == 1 for calls in self._of_layer.values())
            and all(count == 1 for count in uses.values())
            and len(model.layers) == len(self._of_layer) + 1
        )
        self.is_row = not model._nodes or hasattr(model, "_sequence") or in_a_row

    def connections(self, layer: Layer) -> str:
        """Which outputs of which calls of which layers a layer is called with."""
        tensors = [tensor for node in self._of_layer.get(id(layer), ()) for tensor in node.input_tensors]
        return ", ".join(map(_place, tensors)) or "-"

    def outputs(self, layer: Layer) -> list[KerasTensor]:
        """What the layer's last call returns, in this model or elsewhere."""
        nodes = layer.__dict__.get("_inbound_nodes") or self._of_layer.get(id(layer), [])
        return list(nodes[-1].outputs) if nodes else []


def _place(tensor: KerasTensor) -> str:
    node = tensor.node
    return f"{tensor.name}[0][0]" if node is None else f"{node.layer.name}[{node.index}][{tensor.index}]"


def _rows(layer: Layer, expand: bool, level: int = 0) -> Iterator[tuple[Layer, str]]:
    """The layers that have a row for this one, each with what comes before its name."""
    yield layer, f"{'   ' * level}└ " if level else ""
    for each in getattr(layer, "layers", ()) if expand else ():
        yield from _rows(each, expand, level + 1)


def _cells(layer: Layer, prefix: str, nodes: _Nodes, show_trainable: bool) -> list[str]:
    cells = [
        f"{prefix}{layer.name} ({type(layer).__name__})",
        _output_shape(layer, nodes),
        f"{layer.count_params():,}" if layer.built else "0 (unbuilt)",
    ]
    if not nodes.is_row:
        cells.append(nodes.connections(layer))
    if show_trainable:
        cells.append(("Y" if layer.trainable else "N") if layer.weights else "-")
    return cells


def _output_shape(layer: Layer, nodes: _Nodes) -> str:
    shapes: Any = [tensor.shape for tensor in nodes.outputs(layer)]
    if not shapes:
        built_for = layer._build_shapes
        if not built_for:
            return "?"
        try:
            shapes = (
                layer.output_shape
                if hasattr(layer, "output_shape")
                else layer.compute_output_shape(**built_for)
            )
        except NotImplementedError:
            return "?"
        shapes = [shapes] if all(each is None or isinstance(each, int) for each in shapes) else list(shapes)
    written = [f"({', '.join(map(str, shape))})" for shape in shapes]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def _bounds(names: Sequence[str], layer_range: Sequence[str] | None) -> tuple[int, int]:
    """From which layer to which those go that a range names."""
    if layer_range is None:
        return 0, len(names)
    if len(layer_range) != 2:
        raise ValueError(
            f"layer_range must be a list or tuple of length 2. Received: layer_range = {layer_range} of "
            f"length {len(layer_range)}"
        )
    if not all(isinstance(each, str) for each in layer_range):
        raise ValueError(f"layer_range should contain string type only. Received: {layer_range}")
    firsts, lasts = ([n for n, name in enumerate(names) if re.match(each, name)] for each in layer_range)
    if not firsts or not lasts:
        raise ValueError(
            "Passed layer_names do not match the layer names in the model. "
            f"Received: {layer_range}; the layers are {', '.join(names)}"
        )
    if firsts[0] > lasts[-1]:
        return lasts[0], firsts[-1] + 1
    return firsts[0], lasts[-1] + 1


# --- Totals -----------------------------------------------------------------------------------------


def _totals(model: Any) -> list[str]:
    parts = {
        "Trainable": _Count(model.trainable_weights),
        "Non-trainable": _Count(model.non_trainable_weights),
    }
    optimizer = getattr(model, "optimizer", None)
    if getattr(model, "compiled", False) and optimizer is not None and optimizer.built:
        parts["Optimizer"] = _Count(optimizer.variables)
    total = _Count(())
    for each in parts.values():
        total.number, total.bits = total.number + each.number, total.bits + each.bits
    return [f" {name} params: {count}" for name, count in {"Total": total, **parts}.items()]


class _Count:
    """How many numbers variables hold, and in how many bits."""

    def __init__(self, variables: Iterable[Any]) -> None:
        each_once = list(variables)
        self.number = sum(math.prod(variable.shape) for variable in each_once)
        self.bits = sum(
            math.prod(variable.shape) * _bits_of(variable.dtype)
            for variable in {id(variable): variable for variable in each_once}.values()
        )

    def __str__(self) -> str:
        size = self.bits / 8
        for unit in ("B", "KB", "MB", "GB", "TB"):
            if size < 1024:
                return f"{self.number:,} ({size:.2f} {unit})"
            size /= 1024
        return f"{self.number:,} ({size:.2f} PB)"


def _bits_of(dtype: str) -> int:
    return 1 if dtype == "bool" else 8 * array_dtype(dtype).itemsize


# --- The table --------------------------------------------------------------------------------------


class _Table:
    """A table of columns of fixed widths, whose cells are broken into lines.

    Parameters
    ----------
    names : list of str
    alignment : str
        ``"<"``, ``">"`` or ``"^"`` for each column.
    positions : list of float
        Where each column ends, as a fraction of the length.
    length : int
        Of a line.
    """

    def __init__(self, names: Sequence[str], alignment: str, positions: Sequence[float], length: int) -> None:
        ends = [int(position * length) for position in positions]
        wanted = [end - start for start, end in zip([0, *ends], ends)]
        if any(width < 4 for width in wanted):
            raise ValueError("Insufficient console width to print summary.")
        # Lines and margins take the same from each column.
        excess = sum(wanted) + 2 * len(names) - (length - len(names) - 1)
        self._widths = []
        for left, width in zip(range(len(names), 0, -1), wanted):
            less = max(0, round(excess / left))
            self._widths.append(max(1, width - less))
            excess -= less
        self._alignment = alignment
        self._rows: list[list[str]] = []
        self._names = list(names)

    def add(self, cells: list[str]) -> None:
        """One more row."""
        self._rows.append(cells)

    def lines(self) -> Iterator[str]:
        """The table, line by line."""
        yield self._rule(_TOP)
        yield from self._broken(self._names, "┃", at_bottom=True)
        yield self._rule(_HEAD)
        for number, row in enumerate(self._rows):
            if number:
                yield self._rule(_BETWEEN)
            yield from self._broken(row, "│")
        yield self._rule(_BOTTOM)

    def _rule(self, characters: str) -> str:
        parts = [characters[1] * (width + 2) for width in self._widths]
        return f"{characters[0]}{characters[2].join(parts)}{characters[3]}"

    def _broken(self, cells: list[str], side: str, at_bottom: bool = False) -> Iterator[str]:
        columns = [list(_broken(cell, width)) for cell, width in zip(cells, self._widths)]
        height = max(map(len, columns))
        for column in columns:
            rest = [""] * (height - len(column))
            column[:] = [*rest, *column] if at_bottom else [*column, *rest]
        for parts in zip(*columns):
            padded = (f"{p:{a}{w}}" for p, a, w in zip(parts, self._alignment, self._widths))
            yield f"{side} {f' {side} '.join(padded)} {side}"


def _broken(text: str, width: int) -> Iterator[str]:
    """A cell's text in lines of at most ``width``, broken between words; a longer word is cut."""
    line = ""
    for word in re.findall(r"\s*\S+\s*", text) or [""]:
        if line and len(line) + len(word.rstrip()) > width:
            yield _cut(line, width)
            line = ""
        line += word
    yield _cut(line, width)


def _cut(line: str, width: int) -> str:
    line = line.rstrip()
    return line if len(line) <= width else f"{line[: width - 1]}…"

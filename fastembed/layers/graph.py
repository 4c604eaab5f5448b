"""What a layer leaves when it is called with no numbers yet: tensors that know where they come from.

A layer that is called with a `KerasTensor` returns one and notes the call as a `Node`. Models are made of
these notes; nothing is computed until a model is called with arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable

from fastembed.dtypes import standardize_dtype


class KerasTensor:
    """Shape and dtype of what a layer will return, and which call of which layer that is.

    Parameters
    ----------
    shape : tuple of int or None
        None where a length is open.
    dtype : str, default "float32"
    name : str, optional
    masked : bool, default False
        Whether it may have a mask.

    Attributes
    ----------
    node : Node or None
        The call that returns it.
    index : int
        Which of the call's outputs it is.

    Examples
    --------
    >>> from fastembed.layers import Dense, Input
    >>> Dense(2, name="two")(Input((3,), name="numbers"))
    <KerasTensor shape=(None, 2), dtype=float32, name=two>
    """

    node: Node | None = None
    index: int = 0

    def __init__(
        self,
        shape: Iterable[int | None],
        dtype: str = "float32",
        name: str | None = None,
        masked: bool = False,
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = standardize_dtype(dtype)
        self.name = name
        self.masked = masked

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def _keras_history(self) -> tuple[Any, int, int] | None:
        """Layer, number of its call and of the output, as Keras has it."""
        return None if self.node is None else (self.node.layer, self.node.index, self.index)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(_NO_NUMBERS.format(self))

    def __bool__(self) -> bool:
        raise TypeError(_NO_NUMBERS.format(self))

    def _no_arithmetic(self, *_: Any) -> Any:
        raise TypeError(_NO_NUMBERS.format(self))

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _no_arithmetic
    __truediv__ = __rtruediv__ = __matmul__ = __rmatmul__ = _no_arithmetic
    __pow__ = __neg__ = __abs__ = __getitem__ = _no_arithmetic
    __iter__ = None

    def __repr__(self) -> str:
        name = "" if self.name is None else f", name={self.name}"
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}{name}>"


_NO_NUMBERS = (
    "{!r} has no numbers yet: it stands for what a layer will return. Combine such tensors with layers (Add, "
    "Subtract, Multiply, Dot, Concatenate, Reshape, ...), or write the computation as a Lambda layer"
)


class Node:
    """One call of a layer with tensors that have no numbers yet.

    Parameters
    ----------
    layer : Layer or None
        None for an input.
    args, kwargs : tuple, dict
        Of the call, with the `KerasTensor` objects in them.
    outputs : list of KerasTensor

    Attributes
    ----------
    input_tensors : list of KerasTensor
        Those in the arguments, in order.
    index : int
        Which call of the layer it is.
    """

    def __init__(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Any]) -> None:
        self.layer, self.args, self.kwargs, self.outputs = layer, args, kwargs, outputs
        self.input_tensors = [each for each in flatten((args, kwargs)) if isinstance(each, KerasTensor)]
        self.index = 0
        self.note()
        for number, tensor in enumerate(outputs):
            tensor.node, tensor.index = self, number

    def note(self) -> None:
        """Let the layer know of this call, if it does not."""
        nodes = self.layer.__dict__.setdefault("_inbound_nodes", [])
        if self not in nodes:
            self.index = len(nodes)
            nodes.append(self)

    @property
    def is_input(self) -> bool:
        """Whether it is an `Input`, which is given and not computed."""
        return not self.input_tensors

    def __repr__(self) -> str:
        return f"<Node layer={self.layer.name}, index={self.index}>"


def holds_tensor(args: Iterable[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call's arguments have a `KerasTensor` among them, or in a list, tuple or dict of them.

    >>> holds_tensor([1, [KerasTensor((2,))]], {})
    True
    """
    for each in (*args, *kwargs.values()):
        if type(each) is KerasTensor:
            return True
        if type(each) in (list, tuple, dict) and any(type(leaf) is KerasTensor for leaf in flatten(each)):
            return True
    return False


# --- Structures -----------------------------------------------------------------------------------


def flatten(structure: Any) -> Iterator[Any]:
    """The leaves of lists, tuples and dicts (by sorted keys, as Keras does).

    >>> list(flatten({"b": [1, 2], "a": 3}))
    [3, 1, 2]
    """
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from flatten(structure[key])
    elif isinstance(structure, (list, tuple)):
        for each in structure:
            yield from flatten(each)
    else:
        yield structure


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same lists, tuples and dicts of what ``function`` makes of the leaves.

    >>> map_structure(str, {"b": [1, 2], "a": 3})
    {'b': ['1', '2'], 'a': '3'}
    """
    if isinstance(structure, Mapping):
        made = {key: map_structure(function, structure[key]) for key in sorted(structure)}
        return {key: made[key] for key in structure}  # called in the order of `flatten`
    if isinstance(structure, (list, tuple)):
        items = (map_structure(function, each) for each in structure)
        return getattr(structure, "_make", type(structure))(items)
    return function(structure)


def pack_as(structure: Any, leaves: Iterable[Any]) -> Any:
    """The same lists, tuples and dicts with other leaves, which come in the order of `flatten`.

    >>> pack_as({"b": [0, 0], "a": 0}, [1, 2, 3])
    {'b': [2, 3], 'a': 1}
    """
    rest = iter(leaves)
    return map_structure(lambda _: next(rest), structure)

"""How the table of an Embedding is stored: as it is, as int8 or int4 codes, or with LoRA's product added.

A layer holds one object of these classes and asks it for everything that depends on the way of storing: the
table that answers lookups, the projection back, the gradients, what is in a file. The layer itself does not
know which way it is.

The formulas are Keras 3.15's: keras/src/layers/core/embedding.py and reversible_embedding.py. One thing is to
be known of them: a *scale* is what numbers are multiplied with when they are quantised, so codes are divided
by it; with blocks of columns it is the step between two codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np

from fastembed import ops, quantizers
from fastembed._rows import OutOfRange
from fastembed.dtypes import array_dtype, as_dtype
from fastembed.locks import Lock
from fastembed.quantizers import AbsMaxQuantizer, QuantizationConfig, unpack_int4
from fastembed.tables import DenseTable
from fastembed.tables.lora import LoraTable
from fastembed.tables.quantized import Int4Table, Int8Table
from fastembed.variable import Readable, Variable, unchanging

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastembed.dtype_policies import DTypePolicy

    Change = tuple[Variable, NDArray[Any]]

_AT_ONCE = 1 << 20  # numbers of a table that are unpacked or widened at a time, on the way to a product


class Storage:
    """A table of shape (rows, columns), and the variables that it is made of."""

    #: What `layer.quantization_mode` says.
    mode: ClassVar[str | None] = None

    shape: tuple[int, int]
    #: By the attribute of the layer that holds them; what training may change, and what it never changes.
    weights: dict[str, Variable]
    constants: dict[str, Variable]

    @property
    def variables(self) -> dict[str, Variable]:
        """All of them."""
        return {**self.weights, **self.constants}

    @property
    def names(self) -> list[str]:
        """Of the arrays that a file holds, in its order."""
        raise NotImplementedError

    def table(self, dtype: str) -> Any:
        """What answers lookups, also after variables have changed: with rows of ``dtype``, or wider ones."""
        raise NotImplementedError

    def new_table(self, dtype: str) -> Any:
        """The same for what the variables hold now, whatever becomes of them."""
        raise NotImplementedError

    def embeddings(self, dtype: str) -> Variable | NDArray[Any]:
        """What Keras calls `layer.embeddings`."""
        raise NotImplementedError

    def _blocks(
        self, dtype: type[np.floating[Any]]
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any] | None]]:
        """The table, some rows at a time, as floats of ``dtype`` and what they are still to be divided by."""
        raise NotImplementedError

    def dense(self, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        """The whole table as floats."""
        table: NDArray[Any] = np.empty(self.shape, dtype)
        for rows, block, divisor in self._blocks(dtype):
            table[rows] = block if divisor is None else block / divisor[:, None]
        return table

    def project(self, inputs: NDArray[Any], dtype: str) -> NDArray[Any]:
        """``inputs @ table.T`` in ``dtype``, computed in float32 (float64 where that is asked for)."""
        wide = _wide(dtype)
        outputs = np.empty((*inputs.shape[:-1], self.shape[0]), array_dtype(dtype))
        inputs = inputs.astype(wide, copy=False)
        for rows, block, divisor in self._blocks(wide):
            product = np.matmul(inputs, block.T)
            outputs[..., rows] = product if divisor is None else product / divisor
        return outputs

    def add_gradient(self, ids: NDArray[Any], upstream: NDArray[Any], policy: ops.Policy) -> None:
        """Add the gradients of a lookup of ``ids`` with an out-of-range policy, where something can learn."""

    def add_projection_gradient(self, inputs: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
        """Add the gradients of `project`, where something can learn; return that of ``inputs``."""
        gradient = np.zeros(inputs.shape, upstream.dtype)
        for rows, block, divisor in self._blocks(upstream.dtype.type):
            part = upstream[..., rows]
            gradient += np.matmul(part if divisor is None else part / divisor, block)
        return gradient

    def as_stored(self, table: NDArray[Any]) -> list[NDArray[Any]]:
        """What a file would hold, were these floats the table."""
        raise NotImplementedError

    def saved(self) -> list[NDArray[Any]]:
        """The arrays that a file holds, as they are now."""
        raise NotImplementedError

    def changes(self, values: Sequence[NDArray[Any]]) -> list[Change]:
        """What `swap` needs so that the table becomes that of a file with these arrays."""
        raise NotImplementedError

    def quantized(self, recipe: Recipe, dtype: str, forward: Storage | None = None) -> Storage:
        """The same table, quantised; see `Codes` for the other parameters."""
        raise NotImplementedError


# --- As it is -------------------------------------------------------------------------------------


class Plain(Storage):
    """Rows as they are, in one variable.

    Parameters
    ----------
    variable : Variable
        Of shape (rows, columns).
    attribute : str, default "_embeddings"
    turned : bool, default False
        Whether the variable holds columns as rows, as Keras stores what ReversibleEmbedding projects with.
    """

    def __init__(self, variable: Variable, attribute: str = "_embeddings", turned: bool = False) -> None:
        self.shape = cast("tuple[int, int]", variable.shape[::-1] if turned else variable.shape)
        self.weights, self.constants = {attribute: variable}, {}
        self._variable, self._turned = variable, turned

    @property
    def names(self) -> list[str]:
        return [self._variable.name]

    def table(self, dtype: str) -> DenseTable:
        return self._variable.rows(dtype)

    def new_table(self, dtype: str) -> DenseTable:
        return self._variable.new_rows(dtype)

    def embeddings(self, dtype: str) -> Variable:
        return self._variable

    def _blocks(self, dtype: type[np.floating[Any]]) -> Iterator[tuple[slice, NDArray[Any], None]]:
        table = self._rows()
        for rows in _runs(self.shape):
            yield rows, table[rows].astype(dtype, copy=False), None

    def _rows(self) -> NDArray[Any]:
        """What the variable holds now, rows as rows."""
        return self._variable.value.T if self._turned else self._variable.value

    def project(self, inputs: NDArray[Any], dtype: str) -> NDArray[Any]:
        if self._variable.dtype != dtype or dtype != _wide(dtype).__name__:
            return super().project(inputs, dtype)
        return np.matmul(inputs.astype(dtype, copy=False), self._rows().T)

    def add_gradient(self, ids: NDArray[Any], upstream: NDArray[Any], policy: ops.Policy) -> None:
        if self._variable.trainable:
            gradient = ops.embedding_gradient(ids, upstream, self.shape[0], out_of_range=policy)
            self._variable.add_gradient(gradient)

    def add_projection_gradient(self, inputs: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
        if self._variable.trainable:
            gradient = np.matmul(_matrix(upstream).T, _matrix(inputs))
            self._variable.add_gradient(gradient.T if self._turned else gradient)
        return super().add_projection_gradient(inputs, upstream)

    def as_stored(self, table: NDArray[Any]) -> list[NDArray[Any]]:
        name = "float32" if self._variable.dtype == "bfloat16" else self._variable.dtype
        return [as_dtype(table, name)]

    def saved(self) -> list[NDArray[Any]]:
        return [self._variable.stored()]

    def changes(self, values: Sequence[NDArray[Any]]) -> list[Change]:
        return [(self._variable, self._variable.memory_for(values[0]))]

    def quantized(self, recipe: Recipe, dtype: str, forward: Storage | None = None) -> Codes:
        return recipe.kind(self.shape, recipe, recipe.kind.encode(self._rows(), recipe), dtype, forward)


# --- Codes ----------------------------------------------------------------------------------------


class Recipe(NamedTuple):
    """How a table is quantised."""

    kind: type[Codes]
    weights: Any = None  # a quantizer other than the usual one
    activations: Any = None  # a quantizer for what is projected; None leaves that as it is
    block_size: int = -1  # -1 for a scale a row

    @classmethod
    def of(cls, config: QuantizationConfig | None, policy: DTypePolicy) -> Recipe:
        """What ``config`` says, or, as Keras does it, what the policy and its defaults say without one."""
        if config is None:
            mode, size, activations = policy.quantization_mode, policy.block_size, AbsMaxQuantizer()
            return cls(_kind(mode, size), None, activations, size or -1)
        if policy.quantization_mode not in (None, config.mode):
            raise ValueError(
                f"the dtype policy {policy.name!r} contradicts a quantization_config for {config.mode}"
            )
        size = getattr(config, "block_size", None)
        return cls(_kind(config.mode, size), config.weight_quantizer, config.activation_quantizer, size or -1)

    def blank(self, shape: tuple[int, int], dtype: str, forward: Storage | None = None) -> Codes:
        """A new table, which waits for its values; see `Codes`."""
        return self.kind(shape, self, self.kind.blank(shape, self), dtype, forward)


def _kind(mode: str | None, block_size: int | None) -> type[Codes]:
    if mode == "int8":
        return Int8
    return Int4 if block_size is None or block_size == -1 else Int4InBlocks


class Codes(Storage):
    """Rows as small integers, each row with a scale. Nothing in it learns.

    Parameters
    ----------
    shape : (int, int)
        Of the table.
    recipe : Recipe
    arrays : sequence of ndarray
        What `encode` or `blank` made.
    dtype : str
        Of scales.
    forward : Storage, optional
        For a table that is stored with columns as rows, which ReversibleEmbedding projects with: that of its
        lookups.
    """

    _NAMES: ClassVar[tuple[str, ...]] = ("embeddings", "embeddings_scale")

    def __init__(
        self,
        shape: tuple[int, int],
        recipe: Recipe,
        arrays: Sequence[NDArray[Any]],
        dtype: str,
        forward: Storage | None = None,
    ) -> None:
        self.shape, self._recipe, self._turned = shape, recipe, forward is not None
        dtypes = self._dtypes(dtype)
        self._parts = [
            Variable(
                array.T if self._turned else array,
                dtype=dtypes[name],
                trainable=False,
                name=f"reverse_{name}" if self._turned else name,
            )
            for name, array in zip(self._NAMES, arrays)
        ]
        self.weights, self.constants = {}, {part.name: part for part in self._parts}
        if not self._turned:
            self.constants = {"_embeddings": self.constants.pop("embeddings"), **self.constants}
        self._tables: dict[str, Any] = {}
        self._lock = Lock()

    def _dtypes(self, dtype: str) -> dict[str, str]:
        return {"embeddings": "int8", "embeddings_scale": dtype}

    @classmethod
    def encode(cls, table: NDArray[Any], recipe: Recipe) -> Sequence[NDArray[Any]]:
        """The codes of a table of floats and their scales."""
        raise NotImplementedError

    @classmethod
    def blank(cls, shape: tuple[int, int], recipe: Recipe) -> Sequence[NDArray[Any]]:
        """Those of a new table, which waits for its values: zeros."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        return [variable.name for variable in self.constants.values()]

    def embeddings(self, dtype: str) -> Variable | NDArray[Any]:
        return self._parts[0]

    def table(self, dtype: str) -> Any:
        table = self._tables.get(dtype)
        if table is None:
            with unchanging(self._parts), self._lock:
                table = self._tables[dtype] = self.new_table(dtype)
                for variable in self._parts:
                    variable.follow_with(self)
        return table

    def refresh(self) -> None:
        """The tables' memory is that of the variables."""
        with self._lock:  # the last of several threads that change variables sees what all of them did
            values = [variable.value for variable in self._parts]
            for table in self._tables.values():
                table.replace(*values)

    def _values(self) -> list[NDArray[Any]]:
        """The values of the variables at one moment, rows as rows."""
        with unchanging(self._parts):
            values = [variable.value for variable in self._parts]
        return [value.T for value in values] if self._turned else values

    def _unpacked(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Codes, one a number, of rows as they are stored."""
        return stored

    def _blocks(
        self, dtype: type[np.floating[Any]]
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any] | None]]:
        stored, scale = self._values()
        scale = scale.astype(dtype)
        for rows in _runs(self.shape):
            yield rows, self._unpacked(stored[rows]).astype(dtype), scale[rows]

    def project(self, inputs: NDArray[Any], dtype: str) -> NDArray[Any]:
        if self._recipe.activations is None:
            return super().project(inputs, dtype)
        codes, scale = self._recipe.activations(inputs.astype(_wide(dtype), copy=False))
        # The sum of as many products of two int8 as float32 can hold exactly; beyond, float64 can.
        exact = "float32" if self.shape[1] * 127 * 127 < 1 << 24 else "float64"
        outputs = np.empty((*inputs.shape[:-1], self.shape[0]), array_dtype(dtype))
        codes = codes.astype(exact)
        for rows, block, divisor in self._blocks(_wide(exact)):
            product = np.matmul(codes, block.T).astype(_wide(dtype), copy=False)
            outputs[..., rows] = product / (scale if divisor is None else scale * divisor)
        return outputs

    def saved(self) -> list[NDArray[Any]]:
        with unchanging(self.constants.values()):
            return [variable.stored() for variable in self.constants.values()]

    def as_stored(self, table: NDArray[Any]) -> list[NDArray[Any]]:
        return list(self.encode(table, self._recipe))

    def changes(self, values: Sequence[NDArray[Any]]) -> list[Change]:
        return [(v, v.memory_for(value)) for v, value in zip(self.constants.values(), values)]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}


class Int8(Codes):
    """int8 codes, each row with a scale that they are divided by."""

    mode = "int8"

    @classmethod
    def encode(cls, table: NDArray[Any], recipe: Recipe) -> Sequence[NDArray[Any]]:
        if recipe.weights is None:
            return quantizers.quantize_int8(table)
        codes, scale = recipe.weights(table)
        return codes, np.squeeze(scale, axis=-1)

    @classmethod
    def blank(cls, shape: tuple[int, int], recipe: Recipe) -> Sequence[NDArray[Any]]:
        return np.zeros(shape, np.int8), np.ones(shape[0], np.float32)

    def new_table(self, dtype: str) -> Any:
        codes, scale = (variable.value for variable in self._parts)
        return Int8Table(codes, scale, dtype)


class Int4(Codes):
    """int4 codes, two a byte, each row with a scale that they are divided by."""

    mode = "int4"

    @classmethod
    def encode(cls, table: NDArray[Any], recipe: Recipe) -> Sequence[NDArray[Any]]:
        if recipe.weights is None:
            return quantizers.quantize_int4(table)
        codes, scale = recipe.weights(table)
        return quantizers.pack_int4(codes, axis=-1)[0], np.squeeze(scale, axis=-1)

    @classmethod
    def blank(cls, shape: tuple[int, int], recipe: Recipe) -> Sequence[NDArray[Any]]:
        return np.zeros((shape[0], (shape[1] + 1) // 2), np.int8), np.ones(shape[0], np.float32)

    def embeddings(self, dtype: str) -> NDArray[Any]:
        return self._unpacked(self._values()[0])

    def new_table(self, dtype: str) -> Any:
        packed, scale = (variable.value for variable in self._parts)
        return Int4Table(packed, self.shape[1], scale, row_dtype=dtype)

    def _unpacked(self, stored: NDArray[Any]) -> NDArray[Any]:
        return unpack_int4(stored, self.shape[1], axis=-1)


class Int4InBlocks(Int4):
    """int4 codes, two a byte, each block of columns of a row with a step and the code of zero."""

    _NAMES = ("embeddings", "embeddings_scale", "embeddings_zero")

    def __init__(
        self,
        shape: tuple[int, int],
        recipe: Recipe,
        arrays: Sequence[NDArray[Any]],
        dtype: str,
        forward: Storage | None = None,
    ) -> None:
        super().__init__(shape, recipe, arrays, dtype, forward)
        if forward is None:
            self.constants["g_idx"] = _Groups(arrays[-1], -(-shape[1] // recipe.block_size))
        # In what a table is projected with, columns belong to the same blocks.
        self._parts.append((self if forward is None else forward).constants["g_idx"])

    def _dtypes(self, dtype: str) -> dict[str, str]:
        return {**super()._dtypes(dtype), "embeddings_zero": dtype if self._turned else "int8"}

    @classmethod
    def encode(cls, table: NDArray[Any], recipe: Recipe) -> Sequence[NDArray[Any]]:
        return quantizers.quantize_int4(table, recipe.block_size)

    @classmethod
    def blank(cls, shape: tuple[int, int], recipe: Recipe) -> Sequence[NDArray[Any]]:
        (rows, columns), size = shape, recipe.block_size
        packed, _ = super().blank(shape, recipe)
        blocks = (rows, -(-columns // size))
        groups = np.arange(columns, dtype=np.float32) // size
        return packed, np.ones(blocks, np.float32), np.zeros(blocks, np.int8), groups

    def new_table(self, dtype: str) -> Any:
        packed, scale, zero, groups = (variable.value for variable in self._parts)
        return Int4Table(packed, self.shape[1], scale, zero, self._recipe.block_size, groups, dtype)

    def _blocks(self, dtype: type[np.floating[Any]]) -> Iterator[tuple[slice, NDArray[Any], None]]:
        packed, scale, zero, groups = self._values()
        scale, zero, groups = scale.astype(dtype), zero.astype(dtype), groups.astype(np.intp)
        for rows in _runs(self.shape):
            codes: NDArray[Any] = self._unpacked(packed[rows]).astype(dtype)
            yield rows, (codes - zero[rows][:, groups]) * scale[rows][:, groups], None


class _Groups(Variable):
    """The block that each column belongs to. It never holds anything else."""

    def __init__(self, groups: NDArray[Any], blocks: int) -> None:
        super().__init__(groups, dtype="float32", trainable=False, name="g_idx")
        self._blocks = blocks

    def memory_for(self, value: ArrayLike | Readable) -> NDArray[Any]:
        memory = super().memory_for(value)
        if not np.isin(memory, np.arange(self._blocks)).all():
            raise ValueError(f"g_idx must name, for each column, one of {self._blocks} blocks, got {memory}")
        return memory


# --- LoRA -----------------------------------------------------------------------------------------


class Lora(Storage):
    """Another way of storing, and ``alpha / rank * A @ B`` added to it; A and B learn.

    The product, a matrix as large as the table, is made only for what needs the whole table.

    Parameters
    ----------
    base : Storage
    a : Variable of float32, shape (rows, rank)
    b : Variable of float32, shape (rank, columns)
    alpha : float
    a_initializer : callable
        What A is made of again after a table has been loaded.
    """

    def __init__(self, base: Storage, a: Variable, b: Variable, alpha: float, a_initializer: Any) -> None:
        self.shape = base.shape
        self.mode = base.mode  # type: ignore[misc]  # it is as quantised as its base
        self.weights = {**base.weights, "lora_embeddings_a": a, "lora_embeddings_b": b}
        self.constants = base.constants
        self._base, self._a, self._b = base, a, b
        self._alpha, self._a_initializer = alpha, a_initializer
        self._tables: dict[str, LoraTable] = {}
        self._lock = Lock()

    @property
    def _scale(self) -> float:
        return self._alpha / self._a.shape[1]

    @property
    def names(self) -> list[str]:
        return self._base.names

    def table(self, dtype: str) -> LoraTable:
        table = self._tables.get(dtype)
        if table is None:
            # On what the variables hold at one moment: rows are never made of the old base and a new A.
            with unchanging(self.variables.values()), self._lock:
                table = self._tables[dtype] = self.new_table(dtype)
                for variable in self.variables.values():
                    variable.follow_with(self)
        return table

    def new_table(self, dtype: str) -> LoraTable:
        return LoraTable(self._base.new_table(dtype), self._a.new_rows(), self._b.value, self._scale)

    def refresh(self) -> None:
        """The next lookup makes a new table."""
        with self._lock:
            self._tables.clear()

    def _blocks(
        self, dtype: type[np.floating[Any]]
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any] | None]]:
        a, b = np.asarray(self._a, dtype), np.asarray(self._b, dtype)
        for rows, block, divisor in self._base._blocks(dtype):
            merged = np.matmul(a[rows], b)
            merged *= dtype(self._scale)
            merged += block if divisor is None else block / divisor[:, None]
            yield rows, merged, None

    def embeddings(self, dtype: str) -> NDArray[Any]:
        return self.dense(_wide(dtype)).astype(array_dtype(dtype), copy=False)

    def project(self, inputs: NDArray[Any], dtype: str) -> NDArray[Any]:
        wide = _wide(dtype)
        inputs = inputs.astype(wide, copy=False)
        outputs = self._base.project(inputs, wide.__name__)
        outputs += wide(self._scale) * np.matmul(np.matmul(inputs, self._b.value.T), self._a.value.T)
        return outputs.astype(array_dtype(dtype), copy=False)

    def add_gradient(self, ids: NDArray[Any], upstream: NDArray[Any], policy: ops.Policy) -> None:
        self._base.add_gradient(ids, upstream, policy)
        scaled = upstream * upstream.dtype.type(self._scale)
        if self._a.trainable:
            through_b = np.matmul(scaled, self._b.value.T)
            gradient = ops.embedding_gradient(ids, through_b, self.shape[0], out_of_range=policy)
            self._a.add_gradient(gradient)
        if self._b.trainable:
            if OutOfRange(policy).spelling == "nan":
                policy = "zeros"  # such an id teaches nothing
            rows = _matrix(self._a.rows().gather(ids, None, policy))
            self._b.add_gradient(np.matmul(rows.T, _matrix(scaled)))

    def add_projection_gradient(self, inputs: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
        gradient = self._base.add_projection_gradient(inputs, upstream)
        scaled = upstream * upstream.dtype.type(self._scale)
        through_a = np.matmul(scaled, self._a.value)
        if self._a.trainable:
            projected = np.matmul(inputs, self._b.value.T)
            self._a.add_gradient(np.matmul(_matrix(scaled).T, _matrix(projected)))
        if self._b.trainable:
            self._b.add_gradient(np.matmul(_matrix(through_a).T, _matrix(inputs)))
        return gradient + np.matmul(through_a, self._b.value)

    def saved(self) -> list[NDArray[Any]]:
        """Those of the merged table: a file holds no adapters."""
        variables = self.variables.values()
        wide = np.float64 if any(variable.dtype == "float64" for variable in variables) else np.float32
        with unchanging(variables):
            return self._base.as_stored(self.dense(wide))

    def changes(self, values: Sequence[NDArray[Any]]) -> list[Change]:
        """The table is that of the file at once, and A can still learn: only B is zero."""
        a = self._a_initializer(self._a.shape, dtype="float32")
        zeros = np.zeros(self._b.shape, np.float32)
        return [
            *self._base.changes(values),
            (self._a, self._a.memory_for(a)),
            (self._b, self._b.memory_for(zeros)),
        ]

    def quantized(self, recipe: Recipe, dtype: str, forward: Storage | None = None) -> Lora:
        base = self._base.quantized(recipe, dtype)
        return Lora(base, self._a, self._b, self._alpha, self._a_initializer)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}


# --- Numbers --------------------------------------------------------------------------------------


def _wide(dtype: str) -> type[np.floating[Any]]:
    """The dtype in which results of ``dtype`` are computed."""
    return np.float64 if dtype == "float64" else np.float32


def _matrix(array: NDArray[Any]) -> NDArray[Any]:
    """All axes but the last as one."""
    return array.reshape(-1, array.shape[-1])


def _runs(shape: tuple[int, int]) -> list[slice]:
    """Runs of a table's rows that are taken at a time."""
    step = max(1, _AT_ONCE // shape[1])
    return [slice(start, start + step) for start in range(0, shape[0], step)]

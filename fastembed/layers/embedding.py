"""Ids in, rows out."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import constraints, dtype_policies, eras, initializers, ops, quantizers, regularizers
from fastembed._rows import OutOfRange, Table
from fastembed.layers.layer import Layer, Shape, learning_phase, positive_integer
from fastembed.layers.row_dropout import RowDropout
from fastembed.layers.storage import Lora, Plain, Recipe, Storage
from fastembed.variable import Variable, swap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastembed.dtype_policies import DTypePolicy
    from fastembed.quantizers import QuantizationConfig


_NO_IDS = np.empty(0, np.int64)


class Embedding(Layer):
    """Turns ids in ``[0, input_dim)`` into rows of length ``output_dim``.

    Parameters
    ----------
    input_dim : int
        Rows of the table: the largest id plus one.
    output_dim : int
        Length of a row.
    embeddings_initializer : str, callable or config, default "uniform"
        What a new table is filled with: numbers in ``[-0.05, 0.05)``.
    embeddings_regularizer, embeddings_constraint : optional
        For the table.
    mask_zero : bool, default False
        Whether id 0 is padding, which `compute_mask` then marks. Row 0 is a row like any other.
    weights : array_like of shape (input_dim, output_dim) or list of one, optional
        The table; copied. The layer is then built at once.
    lora_rank, lora_alpha : optional
        See `enable_lora`, which is then called when the layer is built.
    quantization_config : QuantizationConfig or its config, optional
        For a layer whose dtype policy is a quantised one.
    input_length : int or tuple of int, optional
        How many ids an input has: for the configs and output shapes of Keras 1, 2 and tf.keras.
    dropout : float, default 0.0
        Keras 1's: while training, this share of the words is dropped, each in all its places in the input,
        and the rows of the others are divided by ``1 - dropout``. (Keras 2 ignored it, and so does its era.)
    sparse : bool, default False
        tf.keras's. Rows are returned in a dense array, and gradients are sparse, whatever it is.
    use_one_hot_matmul : bool, default False
        tf.keras's, where it meant rows of zeros for ids outside the table; so ``out_of_range`` is "zeros".
    out_of_range : {"raise", "zeros", "clip", "wrap", "nan"} or int, default "raise"
        What becomes of an id outside the table: an IndexError; a row of zeros; the first row if it is
        negative and otherwise the last; row ``id % input_dim`` (Keras 3's for ids from ``-input_dim``); a row
        of NaN; or the row of this number. A call may say another.
    float_ids : {"exact", "truncate"}, default "exact"
        Whether an id of 2.7 is an error or 2, as in Keras. A call may say another.
    **kwargs
        As for `Layer`: ``name``, ``dtype``, ``trainable`` ...
        Keras 1's names are understood: ``init``, ``W_regularizer``, ``W_constraint``. By position, arguments
        come in Keras 3's order, as above, or in that of another `fastembed.era`.

    Raises
    ------
    ValueError
        If a dimension is no positive integer, ``weights`` has another shape, or there is no such policy.
    TypeError
        If an argument is given twice, by its old name and the new one.

    Notes
    -----
    A call takes integers of any dtype and shape (also bool and exactly integral floats), in arrays, lists or
    tensors, and returns an ndarray of shape ``(*ids.shape, output_dim)``. An id outside the table is an
    IndexError that names it; negative ids do not count from the end. ``out_of_range`` says otherwise, and the
    gradient follows: it belongs to the row that was taken, or to none. Any number of threads may call one
    layer while another assigns its weights: each row is wholly the old one or wholly the new one.

    Examples
    --------
    >>> import numpy as np
    >>> embedding = Embedding(3, 2, weights=[[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    >>> embedding(np.array([[2, 1]]))
    array([[[3., 4.],
            [1., 2.]]], dtype=float32)
    >>> embedding([2, -1], out_of_range="zeros")
    array([[3., 4.],
           [0., 0.]], dtype=float32)
    """

    _storage: Storage  # since it is built

    @eras.any_era
    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: ArrayLike | list[ArrayLike] | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        *,
        input_length: int | Sequence[int] | None = None,
        dropout: float = 0.0,
        sparse: bool = False,
        use_one_hot_matmul: bool = False,
        out_of_range: ops.Policy | None = None,
        float_ids: str = "exact",
        **kwargs: Any,
    ) -> None:
        kwargs["autocast"] = False  # ids are never rounded
        if not {"input_shape", "batch_input_shape"} & kwargs.keys():
            several = isinstance(input_length, (list, tuple))
            kwargs["input_shape"] = input_length if several else (input_length,)
        super().__init__(**kwargs)
        if self.input_dtype_said is None:
            self.input_dtype_said = "int32"  # in Keras 1's configs
        self.input_length = _plain_length(input_length)
        self.input_dim = positive_integer("input_dim", input_dim)
        self.output_dim = positive_integer("output_dim", output_dim)
        self.embeddings_initializer = self._era.initializer(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = self.supports_masking = mask_zero
        self.lora_rank = positive_integer("lora_rank", lora_rank) if lora_rank else None
        self.lora_alpha = self.lora_rank if lora_alpha is None else _checked_alpha(lora_alpha)
        if isinstance(quantization_config, Mapping):
            quantization_config = quantizers.deserialize(quantization_config)
        self.quantization_config: QuantizationConfig | None = (
            None if quantization_config is None else quantizers.resolved(None, quantization_config)
        )
        self.dropout = self._era.row_dropout(dropout)
        self._row_dropout = RowDropout(self.dropout) if self.dropout else None
        unsaid = "zeros" if use_one_hot_matmul else "raise"
        self.out_of_range = unsaid if out_of_range is None else out_of_range
        ops.as_ids(_NO_IDS, float_ids)  # which knows the ways to read floats
        self.float_ids = float_ids
        if weights is not None:
            self.__dict__["_given"] = self._given_table(weights)
            self.build(None)
            self.__dict__["_build_shapes"] = {}  # it was built for no shape

    def _given_table(self, weights: ArrayLike | list[ArrayLike]) -> NDArray[Any]:
        """The matrix that ``weights`` means in any era: itself, or the one element of a list."""
        if isinstance(weights, (list, tuple)) and weights and np.ndim(weights[0]) == 2:
            if len(weights) != 1:
                raise ValueError(f"{len(weights)} weights were given for layer {self.name}, which has one")
            weights = weights[0]
        table = np.asarray(weights)
        if table.shape != (self.input_dim, self.output_dim):
            raise ValueError(
                f"Layer {self.name} weight shape {(self.input_dim, self.output_dim)} is not compatible with "
                f"provided weight shape {table.shape}."
            )
        return table

    @classmethod
    def from_variable(cls, variable: Variable, **kwargs: Any) -> Embedding:
        """A built layer whose table is ``variable`` itself, not a copy of it.

        Parameters
        ----------
        variable : Variable of shape (input_dim, output_dim)
            Of any dtype; rows are converted to the layer's compute dtype as they are looked up.
        **kwargs
            As for the constructor.

        Examples
        --------
        >>> table = Variable([[1.0, 2.0]], name="embeddings")
        >>> Embedding.from_variable(table, name="words").embeddings is table
        True
        """
        if len(variable.shape) != 2:
            raise ValueError(f"a table has two axes, got a variable of shape {variable.shape}")
        layer = cls(*variable.shape, **kwargs)
        layer._store(layer._adopted(variable))
        layer.built = True
        return layer

    def _adopted(self, variable: Variable) -> Plain:
        variable.trainable = self.trainable
        variable.regularizer = self.embeddings_regularizer
        variable.constraint = self.embeddings_constraint
        return Plain(variable)

    def build(self, input_shape: Shape | None = None) -> None:
        """Make the table: of ``weights`` where they were given, otherwise by the initializer.

        Under a quantised policy a table that was not given is zero, and waits to be loaded.
        """
        given = self.__dict__.pop("_given", None)
        shape, mode, dtype = (self.input_dim, self.output_dim), self.quantization_mode, self.variable_dtype
        storage: Storage
        if mode is None or given is not None:
            values = self.embeddings_initializer if given is None else given
            storage = self._adopted(Variable(values, shape=shape, dtype=dtype, name="embeddings"))
        if mode is not None:
            recipe = Recipe.of(self.quantization_config, self.dtype_policy)
            storage = recipe.blank(shape, dtype) if given is None else storage.quantized(recipe, dtype)
        self._store(storage)
        if self.lora_rank:
            self._add_lora(self.lora_rank, self.lora_alpha, "he_uniform", "zeros")

    def _store(self, storage: Storage, attribute: str = "_storage") -> None:
        """Store a table this way from now on."""
        before = self.__dict__.get(attribute)
        for name, variable in ({} if before is None else before.variables).items():
            if storage.variables.get(name) is not variable:
                delattr(self, name)
        for held, learns in ((storage.weights, True), (storage.constants, False)):
            for name, variable in held.items():
                self._track(variable, trainable=learns)  # as what may learn also while the layer is frozen
                setattr(self, name, variable)
        setattr(self, attribute, storage)

    @property
    def embeddings(self) -> Any:
        """The table, a `Variable` of shape (input_dim, output_dim).

        Of a quantised layer its codes, as in Keras: for int8 a variable, for int4, where two share a byte, an
        array. With LoRA the merged table, an array; it is made anew each time.
        """
        return self._stored.embeddings(self.compute_dtype)

    @embeddings.setter
    def embeddings(self, variable: Variable) -> None:
        """How subclasses written for Keras 2 and tf.keras name the table in ``build``."""
        if not isinstance(variable, Variable):
            raise AttributeError(
                f"a table is a Variable, got {type(variable).__name__}: a layer's values are set by "
                "set_weights([table]) or embeddings.assign(table)"
            )
        self._store(Plain(variable))

    @property
    def table(self) -> Any:
        """The table as it is looked up."""
        return self._stored.table(self.compute_dtype)

    @property
    def _stored(self) -> Storage:
        """How the table is stored."""
        storage: Storage | None = self.__dict__.get("_storage")
        if storage is None:
            variable = self.__dict__.get("_embeddings")  # of a subclass that builds as Keras's do
            if not isinstance(variable, Variable):
                raise AttributeError("You must build the layer before accessing `embeddings`.")
            storage = self.__dict__["_storage"] = Plain(variable)
        return storage

    @property
    def W(self) -> Any:
        """`embeddings`, in Keras 1."""
        return self.embeddings

    @W.setter
    def W(self, variable: Variable) -> None:
        self.embeddings = variable

    @property
    def out_of_range(self) -> str | int:
        """What becomes of ids outside the table."""
        return self._out_of_range.spelling

    @out_of_range.setter
    def out_of_range(self, policy: ops.Policy) -> None:
        policy = OutOfRange(policy)
        policy.check(self.input_dim, np.float32 if self.dtype_policy.is_floating else self.compute_dtype)
        self._out_of_range = policy

    def _policy(self, policy: ops.Policy | None) -> OutOfRange:
        """That of a call, which is the layer's own where the call says none."""
        return self._out_of_range if policy is None else OutOfRange(policy)

    def _ids(self, inputs: Any, float_ids: str | None) -> NDArray[Any]:
        return ops.as_ids(inputs, self.float_ids if float_ids is None else float_ids)

    def call(
        self, inputs: Any, *, out_of_range: ops.Policy | None = None, float_ids: str | None = None
    ) -> NDArray[Any]:
        """Rows at ``inputs``, of shape ``(*inputs.shape, output_dim)``, in the compute dtype."""
        ids = self._ids(inputs, float_ids)
        policy = self._policy(out_of_range)
        rows = self.table.gather(ids, None, policy)
        if rows.dtype.name != self.compute_dtype:
            rows = rows.astype(self.compute_dtype)
        if self._row_dropout is not None and learning_phase():
            scale = self._row_dropout.draw(policy.rows_for(ids, self.input_dim))
            rows *= scale[..., np.newaxis].astype(rows.dtype)
        return rows

    def _answer_alone(self, changes: int) -> None:
        self._answer_as(Embedding, changes)

    def _answer_as(self, cls: type[Embedding], changes: int) -> None:
        """Let the table answer alone where `call` and `remember` are those of this class."""
        records = type(self).remember is cls.remember and "remember" not in self.__dict__
        self._answer_with(self._table_that_answers(cls), changes, records, self._out_of_range)

    def _table_that_answers(self, caller: type[Embedding]) -> Table | None:
        """The table, if it alone gives what the ``call`` of this class does, and nobody wants to see that."""
        plain = type(self).call is caller.call and "call" not in self.__dict__
        if not plain or self.activity_regularizer is not None or self._row_dropout is not None:
            return None
        table = self.table
        alone = isinstance(table, Table) and table.row_dtype.name == self.compute_dtype
        return table if alone else None

    def remember(
        self,
        inputs: Any,
        outputs: NDArray[Any],
        *,
        out_of_range: ops.Policy | None = None,
        float_ids: str | None = None,
    ) -> tuple[Any, ...]:
        """The ids, what became of those outside and, where rows were dropped, what they were scaled by."""
        remembered = self._ids(inputs, float_ids), self._policy(out_of_range)
        return remembered if self._row_dropout is None else (*remembered, self._row_dropout.last())

    def backpropagate(self, remembered: tuple[Any, ...], upstream: NDArray[Any]) -> None:
        """Add the gradient of the table, as `IndexedSlices`; ids have none.

        With LoRA those of its two matrices instead: of A as `IndexedSlices`, of B as an array.
        """
        ids, policy, *scales = remembered
        wide = np.float64 if self.variable_dtype == "float64" else np.float32
        upstream = upstream.astype(wide, copy=False)
        for scale in scales:
            upstream = upstream * scale[..., np.newaxis]
        self._stored.add_gradient(ids, upstream, policy)

    def compute_mask(self, inputs: ArrayLike, mask: Any = None) -> NDArray[np.bool_] | None:
        """Where ids are not 0, if `mask_zero`; otherwise None.

        >>> Embedding(4, 2, mask_zero=True).compute_mask(np.array([[3, 0]]))
        array([[ True, False]])
        """
        return np.asarray(np.not_equal(ops.as_array(inputs), 0)) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(*input_shape, output_dim)``; in earlier eras `input_length` is compared with it."""
        return self._era.embedding_shape(input_shape, self.output_dim, self.input_length)

    # --- Stored in other ways ---------------------------------------------------------------------

    @property
    def lora_enabled(self) -> bool:
        """Whether rows are those of the table and of LoRA's product together."""
        return isinstance(self.__dict__.get("_storage"), Lora)

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the table and learn what is added to it: ``lora_alpha / rank * A @ B`` (LoRA).

        Parameters
        ----------
        rank : int
            Columns of A and rows of B, which are float32 and have the layer's ``embeddings_regularizer``.
        lora_alpha : float, optional
            Default: ``rank``.
        a_initializer, b_initializer : optional
            With B zero the layer computes what it did before.

        Raises
        ------
        ValueError
            If the layer has a constraint, is not built, or has LoRA already.

        Notes
        -----
        Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, arXiv:2106.09685. The product of
        A and B is never made for a lookup: n ids cost ``A[ids] @ B``.

        What is saved is the merged table. A layer with LoRA that loads one has it as its table, B as zeros,
        and A as new: it computes what was saved and can go on learning.

        Examples
        --------
        >>> embedding = Embedding(1000, 64)
        >>> embedding.build()
        >>> embedding.enable_lora(rank=4)
        >>> [variable.shape for variable in embedding.trainable_weights]
        [(1000, 4), (4, 64)]
        """
        self._check_for_lora()
        if not self.built:
            raise ValueError("Cannot enable lora on a layer that isn't yet built.")
        self._add_lora(rank, lora_alpha, a_initializer, b_initializer)

    def _check_for_lora(self) -> None:
        if self.embeddings_constraint is not None:
            raise ValueError(
                "Lora is incompatible with embedding constraints. In order to enable lora on this layer, "
                "remove the `embeddings_constraint` argument."
            )

    def _add_lora(self, rank: int, alpha: float | None, a_initializer: Any, b_initializer: Any) -> None:
        self._check_for_lora()
        if self.lora_enabled:
            raise ValueError("lora is already enabled. This can only be done once per layer.")
        rank = positive_integer("rank", rank)
        alpha = rank if alpha is None else _checked_alpha(alpha)
        a, b = (
            Variable(
                initializers.get(initializer),
                shape=shape,
                dtype="float32",  # also of a narrow table: small steps must not be lost
                trainable=self.trainable,
                name=name,
                regularizer=self.embeddings_regularizer,
            )
            for name, initializer, shape in (
                ("lora_embeddings_a", a_initializer, (self.input_dim, rank)),
                ("lora_embeddings_b", b_initializer, (rank, self.output_dim)),
            )
        )
        storage = Lora(self._stored, a, b, alpha, initializers.get(a_initializer))
        for variable in self._stored.weights.values():
            variable.trainable = False
        self._store(storage)
        self.lora_rank, self.lora_alpha = rank, alpha

    def quantize(self, mode: str | None = None, type_check: bool = True, config: Any = None) -> None:
        """Store the table as int8, a quarter of float32, or as int4, an eighth. It cannot learn any more.

        Parameters
        ----------
        mode : {"int8", "int4"}, optional
            May be left out where ``config`` is given.
        type_check : bool, default True
            Whether subclasses are refused, which may use the table in a way that codes do not allow.
        config : QuantizationConfig, optional
            Default: that of the mode; for int4, blocks of 128 columns.

        Raises
        ------
        ValueError
            If the layer is not built or quantised already, for an unknown mode, and for int8 with results in
            float16.
        NotImplementedError
            For a subclass, unless ``type_check=False``, and for Keras's other modes, which are for Dense.

        Notes
        -----
        The formulas and the storage are those of Keras 3.15 (`fastembed.quantizers`). The layer's dtype
        policy becomes ``"int8_from_float32"``, say. With LoRA the table below is quantised; A and B stay.

        Examples
        --------
        >>> embedding = Embedding(2, 2, weights=[[0.5, 1.0], [0.0, -3.0]])
        >>> embedding.quantize("int8")
        >>> embedding([0, 1])
        array([[ 0.49606305,  1.0000001 ],
               [ 0.        , -3.        ]], dtype=float32)
        >>> [(variable.name, variable.dtype) for variable in embedding.weights]
        [('embeddings', 'int8'), ('embeddings_scale', 'float32')]
        """
        self._check_for_quantization(config if isinstance(config, str) else getattr(config, "mode", mode))
        config = quantizers.resolved(mode, config)
        policy = dtype_policies.get(_quantized_name(config, self.dtype_policy.name))
        if type_check:
            self._check_methods()
        self._requantize(config, policy)
        self.dtype_policy = policy

    def _check_for_quantization(self, mode: str | None) -> None:
        if not self.built:
            raise ValueError(
                f"Cannot quantize a layer that isn't yet built. Layer '{self.name}' (of type "
                f"'{type(self).__name__}') is not built yet."
            )
        if self.quantization_mode is not None:
            raise ValueError(
                f"Layer '{self.name}' is already quantized with dtype_policy='{self.dtype_policy.name}'. "
                f"Received: mode={mode}"
            )

    def _check_methods(self) -> None:
        """Refuse a subclass, whose methods may not know of codes."""
        if "_requantize" not in vars(type(self)):
            raise NotImplementedError(
                f"Layer {type(self).__name__} does not have a `quantize` method implemented. If its own "
                "methods can do with codes instead of a table of floats, call "
                "`quantize(..., type_check=False)`"
            )

    def _requantize(self, config: QuantizationConfig, policy: DTypePolicy) -> None:
        """Store the table quantised; the layer is about to have ``policy``."""
        self._store(self._stored.quantized(Recipe.of(config, policy), policy.variable_dtype))
        self.quantization_config = config

    def _prepare_for(self, policy: DTypePolicy) -> None:
        storage = self.__dict__.get("_storage")
        if storage is None or storage.mode == policy.quantization_mode:
            return
        if storage.mode is not None:
            raise ValueError(
                f"the table of layer {self.name!r} is stored as {storage.mode}, which cannot be undone: its "
                f"dtype policy cannot become {policy.name!r}"
            )
        self._check_methods()
        in_blocks = policy.block_size is not None
        self._requantize(
            quantizers.Int4QuantizationConfig(block_size=policy.block_size)
            if in_blocks
            else quantizers.resolved(policy.quantization_mode, None),
            policy,
        )

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Put what the layer's table consists of into ``store``, as Keras 3 does: read-only arrays.

        Parameters
        ----------
        store : dict or HDF5 group
            Gets ``"0"``, the table, or its codes and then ``"1"``, the scales; of int4 in blocks also the
            zero points and the block that each column belongs to. With LoRA the merged table. What a subclass
            adds comes last. Nothing, if the layer is not built.
        """
        arrays = (array for part in self._saved_parts() for array in part.saved())
        for number, array in enumerate(arrays):
            store[str(number)] = array

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Set the layer's own weights to what `save_own_variables`, here or in Keras, put into ``store``.

        With LoRA the stored table is the new one at once: B becomes zero, A new.

        Raises
        ------
        KeyError, TypeError, ValueError
            If ``store`` does not hold just these weights; nothing is then changed.
        """
        parts = self._saved_parts()
        values = iter(self._values_in(store, [name for part in parts for name in part.names]))
        swap([change for part in parts for change in part.changes([next(values) for _ in part.names])])

    def _saved_parts(self) -> list[Storage]:
        """What a file holds of this layer, in order."""
        tables = self._tables() if self.built else []
        known = {id(variable) for table in tables for variable in table.variables.values()}
        others = (variable for variable in self._own_weights() if id(variable) not in known)
        return [*tables, *(Plain(variable) for variable in others)]

    def _tables(self) -> list[Storage]:
        """All that the layer stores, in the order of files."""
        return [self._stored]

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": self.embeddings_initializer,
            "embeddings_regularizer": self.embeddings_regularizer,
            "activity_regularizer": self.activity_regularizer,
            "embeddings_constraint": self.embeddings_constraint,
            "mask_zero": self.mask_zero,
            "quantization_config": quantizers.serialize(self.quantization_config),
            "input_length": self.input_length,
            "dropout": self.dropout,
            "out_of_range": self.out_of_range,
            "float_ids": self.float_ids,
        }
        if self.lora_rank:
            entries.update(lora_rank=self.lora_rank, lora_alpha=self.lora_alpha)
        return {**super().get_config(), **self._dialect.entries("Embedding", entries)}


def _plain_length(length: Any) -> Any:
    """An ``input_length`` as JSON can hold it."""
    if isinstance(length, (list, tuple)):
        return type(length)(map(_plain_length, length))
    return length.item() if isinstance(length, np.generic) else length


def _checked_alpha(alpha: Any) -> float:
    number = isinstance(alpha, (int, float, np.integer, np.floating)) and not isinstance(alpha, bool)
    if not (number and np.isfinite(alpha)):
        raise ValueError(f"lora_alpha must be a finite number, got {alpha!r:.80}")
    return alpha


def _quantized_name(config: QuantizationConfig, source_name: str) -> str:
    """Of the policy of a layer that had another and is quantised, as Keras spells it."""
    size = "" if config.mode == "int8" else f"/{getattr(config, 'block_size', None) or -1}"
    return f"{config.mode}{size}_from_{source_name}"

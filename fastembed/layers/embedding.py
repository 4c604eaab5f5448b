"""Ids in, rows out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import constraints, eras, ops, regularizers
from fastembed._rows import OutOfRange, Table
from fastembed.layers.layer import Layer, Shape, positive_integer
from fastembed.layers.row_dropout import RowDropout
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


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
        lengths = input_length if isinstance(input_length, (list, tuple)) else (input_length,)
        if not {"input_shape", "batch_input_shape"} & kwargs.keys():
            kwargs["input_shape"] = tuple(lengths)
        super().__init__(**kwargs)
        if self.input_dtype_said is None:
            self.input_dtype_said = "int32"  # in Keras 1's configs
        self.input_length = input_length
        self.input_dim = positive_integer("input_dim", input_dim)
        self.output_dim = positive_integer("output_dim", output_dim)
        self.embeddings_initializer = self._era.initializer(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = self.supports_masking = mask_zero
        self.dropout = self._era.row_dropout(dropout)
        self._row_dropout = RowDropout(self.dropout) if self.dropout else None
        unsaid = "zeros" if use_one_hot_matmul else "raise"
        self.out_of_range = unsaid if out_of_range is None else out_of_range
        ops.as_ids((), float_ids)  # which knows the ways to read floats
        self.float_ids = float_ids
        if weights is not None:
            self.__dict__["_given"] = self._given_table(weights)
            self.build(None)

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
        layer._adopt(variable)
        layer.built = True
        return layer

    def _adopt(self, variable: Variable) -> None:
        variable.trainable = self.trainable
        variable.regularizer = self.embeddings_regularizer
        variable.constraint = self.embeddings_constraint
        self._track(variable)  # as one that training may change, also while the layer is frozen
        self._embeddings = variable

    def build(self, input_shape: Shape | None = None) -> None:
        """Make the table: of ``weights`` where they were given, otherwise by the initializer."""
        self._adopt(
            Variable(
                self.__dict__.pop("_given", self.embeddings_initializer),
                shape=(self.input_dim, self.output_dim),
                dtype=self.variable_dtype,
                name="embeddings",
            )
        )

    @property
    def embeddings(self) -> Variable:
        """The table, a `Variable` of shape (input_dim, output_dim)."""
        if "_embeddings" not in self.__dict__:
            raise AttributeError("You must build the layer before accessing `embeddings`.")
        return self._embeddings

    @property
    def table(self) -> Table:
        """The table as it is looked up."""
        return self.embeddings.rows(self.compute_dtype)

    W = embeddings  # in Keras 1

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
        rows = self.table.gather(ids, None, self._policy(out_of_range))
        if rows.dtype.name != self.compute_dtype:
            rows = rows.astype(self.compute_dtype)
        if self._row_dropout is not None and self._is_training():
            rows *= self._row_dropout.draw(ids)[..., np.newaxis].astype(rows.dtype)
        return rows

    def _answering_table(self) -> Table | None:
        plain = type(self).call is Embedding.call and "call" not in self.__dict__
        plain = plain and self._row_dropout is None
        if plain and self.activity_regularizer is None and self.table.row_dtype.name == self.compute_dtype:
            return self.table
        return None

    def _remembers_inputs(self) -> bool:
        return type(self).remember is Embedding.remember and "remember" not in self.__dict__

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
        """Add the gradient of the table, as `IndexedSlices`; ids have none."""
        ids, policy, *scales = remembered
        wide = np.float64 if self.variable_dtype == "float64" else np.float32
        upstream = upstream.astype(wide, copy=False)
        for scale in scales:
            upstream = upstream * scale[..., np.newaxis]
        gradient = ops.embedding_gradient(ids, upstream, self.input_dim, out_of_range=policy)
        if self.embeddings.trainable:
            self.embeddings.add_gradient(gradient)

    def compute_mask(self, inputs: ArrayLike, mask: Any = None) -> NDArray[np.bool_] | None:
        """Where ids are not 0, if `mask_zero`; otherwise None.

        >>> Embedding(4, 2, mask_zero=True).compute_mask(np.array([[3, 0]]))
        array([[ True, False]])
        """
        return np.asarray(np.not_equal(ops.as_array(inputs), 0)) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(*input_shape, output_dim)``; in earlier eras `input_length` is compared with it."""
        return self._era.embedding_shape(input_shape, self.output_dim, self.input_length)

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
            "quantization_config": None,
            "input_length": self.input_length,
            "dropout": self.dropout,
            "out_of_range": self.out_of_range,
            "float_ids": self.float_ids,
        }
        return {**super().get_config(), **self._era.entries("Embedding", entries)}

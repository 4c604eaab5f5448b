"""Ids in, rows out; and rows in, a number for each id out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from fastembed import ops
from fastembed.dtypes import array_dtype, is_float, standardize_dtype
from fastembed.layers.embedding import Embedding
from fastembed.layers.layer import Shape
from fastembed.layers.storage import Plain, Recipe, Storage
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastembed.dtype_policies import DTypePolicy
    from fastembed.quantizers import QuantizationConfig


class _Projection(NamedTuple):
    """What `backpropagate` needs of a call in reverse."""

    inputs: NDArray[Any]
    slope: NDArray[Any] | float  # of the cap, where the logits are


class ReversibleEmbedding(Embedding):
    """An Embedding that also goes back: called with ``reverse=True`` it turns vectors into logits, one an id.

    Parameters
    ----------
    input_dim, output_dim : int
        As for `Embedding`.
    tie_weights : bool, default True
        Whether the way back uses the transposed table; otherwise it has a matrix of its own, of shape
        (output_dim, input_dim), made by the same initializer.
    embeddings_initializer, embeddings_regularizer, embeddings_constraint, mask_zero : optional
        As for `Embedding`; regularizer and constraint are for the table alone.
    reverse_dtype : str, optional
        In which logits are computed and returned. Default: that of the vectors and the layer's compute dtype
        together.
    logit_soft_cap : float, optional
        Logits are kept below it: ``cap * tanh(logits / cap)``.
    **kwargs
        As for `Embedding`.

    Raises
    ------
    ValueError
        For a cap that is not positive.

    Notes
    -----
    As `keras.layers.ReversibleEmbedding`; there are no biases. Logits are ``inputs @ table.T``, summed in
    float32, or in float64 where that is asked for. A quantised layer projects with its codes and divides by
    the scales; where its ``quantization_config`` has an ``activation_quantizer``, as by default with int8,
    vectors become int8 first, and sums are exact. `compute_mask` gives None, as in Keras.

    Press and Wolf, Using the Output Embedding to Improve Language Models, 2017, arXiv:1608.05859.

    Examples
    --------
    >>> import numpy as np
    >>> words = ReversibleEmbedding(3, 2, weights=[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> words(words([2, 0]), reverse=True)
    array([[2., 2., 8.],
           [1., 0., 2.]], dtype=float32)
    """

    _reverse: Storage  # since it is built, where weights are not tied

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        if logit_soft_cap is not None and not 0 < logit_soft_cap < np.inf:
            raise ValueError(
                "logit_soft_cap must be a positive number, or None for logits without bounds, got "
                f"{logit_soft_cap!r}"
            )
        if reverse_dtype is not None and not is_float(standardize_dtype(reverse_dtype)):
            raise ValueError(f"reverse_dtype must be a dtype of floats, got {reverse_dtype!r}")
        # First, because the layer may be built at once.
        self.tie_weights = bool(tie_weights)
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )

    def build(self, input_shape: Shape | None = None) -> None:
        """Make the table, and the matrix for the way back where it is not the same."""
        super().build(input_shape)
        if not self.tie_weights:
            self._build_reverse()

    @classmethod
    def from_variable(
        cls, variable: Variable, reverse: Variable | None = None, **kwargs: Any
    ) -> ReversibleEmbedding:
        """A built layer whose table is ``variable`` itself, not a copy of it.

        Parameters
        ----------
        variable : Variable of shape (input_dim, output_dim)
        reverse : Variable of shape (output_dim, input_dim), optional
            What an untied layer projects with. Default: a new one.
        **kwargs
            As for the constructor.

        Raises
        ------
        ValueError
            If ``reverse`` has another shape, or is given to a layer whose weights are tied.

        Examples
        --------
        >>> table, reverse = Variable([[1.0, 2.0]]), Variable([[3.0], [4.0]])
        >>> words = ReversibleEmbedding.from_variable(table, reverse, tie_weights=False)
        >>> words([0]), words([[1.0, 0.0]], reverse=True)
        (array([[1., 2.]], dtype=float32), array([[3.]], dtype=float32))
        """
        layer = cast("ReversibleEmbedding", super().from_variable(variable, **kwargs))
        if reverse is not None and (layer.tie_weights or reverse.shape != variable.shape[::-1]):
            raise ValueError(
                f"a layer of shape {variable.shape} with tie_weights={layer.tie_weights} cannot project back "
                f"with a variable of shape {reverse.shape}: an untied layer needs that of the table, turned, "
                "and a tied one needs none"
            )
        if not layer.tie_weights:
            layer._build_reverse(reverse)
        return layer

    def _build_reverse(self, variable: Variable | None = None) -> None:
        """Store the matrix for the way back: ``variable`` or a new one."""
        shape, dtype = (self.input_dim, self.output_dim), self.variable_dtype
        reverse: Storage
        if self.quantization_mode is None:
            if variable is None:
                variable = Variable(
                    self.embeddings_initializer, shape=shape[::-1], dtype=dtype, name="reverse_embeddings"
                )
            variable.trainable = self.trainable
            reverse = Plain(variable, "reverse_embeddings", turned=True)
        else:
            recipe = Recipe.of(self.quantization_config, self.dtype_policy)
            reverse = recipe.blank(shape, dtype, self._storage)
        self._store(reverse, "_reverse")

    @property
    def _projecting(self) -> Storage:
        """What vectors are multiplied with."""
        return self._storage if self.tie_weights else self._reverse

    def call(
        self,
        inputs: Any,
        reverse: bool = False,
        *,
        out_of_range: ops.Policy | None = None,
        float_ids: str | None = None,
    ) -> NDArray[Any]:
        """Rows at ids; with ``reverse`` logits for vectors, of shape ``(*inputs.shape[:-1], input_dim)``."""
        if not reverse:
            return super().call(inputs, out_of_range=out_of_range, float_ids=float_ids)
        vectors = self._vectors(inputs)
        if vectors.shape[-1:] != (self.output_dim,):
            raise ValueError(
                f"layer {self.name!r} projects vectors of length {self.output_dim} back, got inputs of shape "
                f"{vectors.shape}"
            )
        logits = self._projecting.project(vectors, self._logits_dtype(vectors))
        if self.logit_soft_cap is None:
            return logits
        cap = logits.dtype.type(self.logit_soft_cap)
        logits /= cap
        np.tanh(logits, out=logits)
        logits *= cap
        return logits

    def _vectors(self, inputs: Any) -> NDArray[Any]:
        """An array as it is; numbers of Python's own in the compute dtype."""
        return np.asarray(inputs, None if hasattr(inputs, "dtype") else array_dtype(self.compute_dtype))

    def _logits_dtype(self, vectors: NDArray[Any]) -> str:
        if self.reverse_dtype is not None:
            return standardize_dtype(self.reverse_dtype)
        given = vectors.dtype.name
        if not is_float(given) or given == self.compute_dtype:
            return self.compute_dtype
        return "float64" if "float64" in (given, self.compute_dtype) else "float32"

    def _answer_alone(self, changes: int) -> None:
        self._answer_as(ReversibleEmbedding, changes)

    def remember(
        self,
        inputs: Any,
        outputs: NDArray[Any],
        *,
        out_of_range: ops.Policy | None = None,
        float_ids: str | None = None,
    ) -> tuple[Any, ...]:
        """What `Embedding` remembers; or the vectors, and how steep the cap is at the logits."""
        if np.ndim(outputs) > np.ndim(inputs):
            return super().remember(inputs, outputs, out_of_range=out_of_range, float_ids=float_ids)
        slope = 1.0 if self.logit_soft_cap is None else 1 - np.square(outputs / self.logit_soft_cap)
        return _Projection(self._vectors(inputs), slope)

    def backpropagate(self, remembered: tuple[Any, ...], upstream: NDArray[Any]) -> Any:
        """Add the gradients of what the call used; return that of vectors. Ids have none."""
        if not isinstance(remembered, _Projection):
            super().backpropagate(remembered, upstream)
            return None
        wide = np.float64 if self.variable_dtype == "float64" else np.float32
        vectors, slope = remembered
        upstream = upstream.astype(wide, copy=False) * np.asarray(slope, wide)
        gradient = self._projecting.add_projection_gradient(vectors.astype(wide, copy=False), upstream)
        return gradient.astype(vectors.dtype, copy=False) if is_float(vectors.dtype.name) else gradient

    def compute_mask(self, inputs: ArrayLike, mask: Any = None) -> None:
        """None, as in Keras."""

    def compute_output_shape(self, input_shape: Shape, reverse: bool = False) -> Shape:
        """A list, as in Keras: ``[*input_shape, output_dim]``; in reverse ``[*input_shape[:-1], input_dim]``.

        >>> ReversibleEmbedding(9, 2).compute_output_shape((None, 2), reverse=True)
        [None, 9]
        """
        return [*input_shape[:-1], self.input_dim] if reverse else [*input_shape, self.output_dim]

    def _requantize(self, config: QuantizationConfig, policy: DTypePolicy) -> None:
        recipe, dtype = Recipe.of(config, policy), policy.variable_dtype
        forward = self._storage.quantized(recipe, dtype)
        reverse = None if self.tie_weights else self._reverse.quantized(recipe, dtype, forward)
        self._store(forward)
        if reverse is not None:
            self._store(reverse, "_reverse")
        self.quantization_config = config

    def _tables(self) -> list[Storage]:
        return super()._tables() + ([] if self.tie_weights else [self._reverse])

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as Keras 3 writes it."""
        return {
            **super().get_config(),
            "tie_weights": self.tie_weights,
            "reverse_dtype": self.reverse_dtype,
            "logit_soft_cap": self.logit_soft_cap,
        }

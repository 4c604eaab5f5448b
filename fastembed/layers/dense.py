"""Matrix products."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import activations, constraints, eras, regularizers
from fastembed.dtypes import array_dtype
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.layer import Layer, Shape, learning_phase, positive_integer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Dense(Layer):
    """``activation(inputs @ kernel + bias)``.

    Parameters
    ----------
    units : int
        Length of the output's last axis.
    activation : str, callable or config, default None
        As `fastembed.activations.get` takes it; None is ``"linear"``. Training needs its gradient, which your
        own functions can have too: see `fastembed.activations.with_gradient`.
    use_bias : bool, default True
    kernel_initializer, bias_initializer : optional
        Default: Glorot's uniform, zeros.
    kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint : optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    An Embedding is a Dense layer without bias on one-hot vectors, at a fraction of the cost:

    >>> import numpy as np
    >>> from fastembed import layers, ops
    >>> embedding, dense = layers.Embedding(5, 3), layers.Dense(3, use_bias=False)
    >>> ids = np.array([4, 0])
    >>> rows, _ = embedding(ids), dense.build((None, 5))
    >>> dense.set_weights(embedding.get_weights())
    >>> np.array_equal(dense(ops.one_hot(ids, 5)), rows)
    True
    """

    @eras.any_era
    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        for entry in ("lora_rank", "lora_alpha", "quantization_config"):  # in Keras 3's configs
            if kwargs.get(entry) is None:
                kwargs.pop(entry, None)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_integer("units", units)
        self.activation = self._era.activation(activation)
        self.use_bias = use_bias
        self.kernel_initializer = self._era.initializer(kernel_initializer)
        self.bias_initializer = self._era.initializer(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Make kernel and bias."""
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.built = True

    def call(self, inputs: NDArray[Any], training: bool | None = None) -> NDArray[Any]:
        """Outputs of shape ``(*inputs.shape[:-1], units)``."""
        inputs = np.asarray(inputs)
        dtype, wide = _dtypes(self.compute_dtype)
        rows, kernel = inputs, self.kernel.value
        if not (rows.ndim == 2 and rows.dtype is kernel.dtype is dtype is wide):
            rows, kernel = _as_rows(inputs, wide), self._kernel_in(dtype, wide)
        # One product of a matrix: NumPy's matmul makes one for each matrix in an array of more axes.
        sums = rows.dot(kernel).astype(dtype, copy=False)
        if self.bias is not None:
            sums += self.bias.value.astype(dtype, copy=False)[np.newaxis]
        if inputs.ndim != 2:
            sums = sums.reshape(*inputs.shape[:-1], self.units)
        if self.activation is activations.linear:
            return sums
        if learning_phase():
            self._recorded.__dict__["sums"] = sums  # for `remember`, which follows in the same thread
        return self.activation(sums)

    def _kernel_in(self, dtype: np.dtype[Any], wide: np.dtype[Any]) -> NDArray[Any]:
        """The kernel as products are made with it: its numbers in the compute dtype, widened."""
        return self.kernel.value.astype(dtype, copy=False).astype(wide, copy=False)

    def remember(self, inputs: NDArray[Any], outputs: NDArray[Any]) -> Any:
        """The inputs, and what goes into the activation and comes out of it."""
        if self.activation is activations.linear:
            return np.asarray(inputs), None, None
        sums = self._recorded.__dict__.pop("sums")
        return np.asarray(inputs), sums, np.array(outputs)  # a copy: the caller may change theirs

    def backpropagate(self, remembered: Any, upstream: NDArray[Any]) -> NDArray[Any]:
        """Add the gradients of kernel and bias, unless frozen; return that of the input."""
        inputs, sums, outputs = remembered
        if sums is not None:
            upstream = np.asarray(activations.gradient_of(self.activation)(sums, outputs, upstream))
        wide = np.dtype(np.float64 if self.variable_dtype == "float64" else np.float32)
        slopes = _as_rows(upstream, wide)
        gradients = []
        if self.kernel.trainable:
            gradients.append((self.kernel, _as_rows(inputs, wide).T.dot(slopes)))
        if self.bias is not None and self.bias.trainable:
            gradients.append((self.bias, slopes.sum(axis=0)))
        of_inputs = slopes.dot(self._kernel_in(_dtypes(self.compute_dtype)[0], wide).T)
        for variable, gradient in gradients:
            variable.add_gradient(gradient)
        if inputs.ndim != 2:
            of_inputs = of_inputs.reshape(inputs.shape)
        return of_inputs.astype(np.promote_types(upstream.dtype, np.float32), copy=False)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(*input_shape[:-1], units)``."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {
            "units": self.units,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
            "bias_initializer": self.bias_initializer,
            "kernel_regularizer": self.kernel_regularizer,
            "bias_regularizer": self.bias_regularizer,
            "activity_regularizer": self.activity_regularizer,
            "kernel_constraint": self.kernel_constraint,
            "bias_constraint": self.bias_constraint,
            "quantization_config": None,
        }
        return {**super().get_config(), **self._dialect.entries("Dense", entries)}


@functools.cache
def _dtypes(name: str) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Of the results of a compute dtype, and of the products: BLAS has no floats below float32."""
    dtype = array_dtype(name)
    return dtype, np.promote_types(dtype, np.float32)


def _as_rows(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """All axes but the last as one."""
    if array.ndim != 2:
        array = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    return array.astype(dtype, copy=False)

"""Matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Literal

import numpy as np

from fastembed import constraints, eras, regularizers
from fastembed.dtypes import array_dtype
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.layer import Layer, Shape, positive_integer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Dense(Layer):
    """``activation(inputs @ kernel + bias)``.

    Parameters
    ----------
    units : int
        Length of the output's last axis.
    activation : callable, "linear" or None, default None
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
        activation: Callable[[NDArray[Any]], NDArray[Any]] | Literal["linear"] | None = None,
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
        if activation == "linear":
            activation = None
        if not (activation is None or callable(activation)):
            raise ValueError(f"activation must be callable, 'linear' or None, got {activation!r}")
        self.units = positive_integer("units", units)
        self.activation = activation
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

    def call(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Outputs of shape ``(*inputs.shape[:-1], units)``."""
        inputs = np.asarray(inputs)
        dtype = array_dtype(self.compute_dtype)
        if inputs.dtype.kind != "f":
            inputs = inputs.astype(dtype)
        # NumPy's products of bfloat16 numbers are float32.
        outputs = np.matmul(inputs, self.kernel.value.astype(dtype, copy=False)).astype(dtype, copy=False)
        if self.bias is not None:
            outputs = outputs + self.bias.value.astype(dtype, copy=False)
        return outputs if self.activation is None else self.activation(outputs)

    def remember(self, inputs: NDArray[Any], outputs: NDArray[Any]) -> NDArray[Any]:
        """The inputs."""
        return np.asarray(inputs)

    def backpropagate(self, remembered: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
        """Add the gradients of kernel and bias, unless frozen; return that of the input."""
        if self.activation is not None:
            raise RuntimeError(
                f"layer {self.name!r} cannot be differentiated: nothing is known of the gradient of "
                f"{self.activation!r}"
            )
        dtype = np.float64 if self.variable_dtype == "float64" else np.float32
        rows = remembered.reshape(-1, remembered.shape[-1]).astype(dtype, copy=False)
        columns = upstream.reshape(-1, self.units).astype(dtype, copy=False)
        gradients = [(self.kernel, rows.T @ columns)]
        if self.bias is not None:
            gradients.append((self.bias, columns.sum(axis=0)))
        input_gradient = columns @ self.kernel.value.T.astype(dtype, copy=False)
        for variable, gradient in gradients:
            if variable.trainable:
                variable.add_gradient(gradient)
        return input_gradient.reshape(remembered.shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(*input_shape[:-1], units)``."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {
            "units": self.units,
            "activation": "linear" if self.activation is None else _name_of(self.activation),
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
        return {**super().get_config(), **self._era.entries("Dense", entries)}


def _name_of(activation: Callable[..., Any]) -> str:
    name = getattr(activation, "__name__", "<lambda>")
    if name == "<lambda>":
        raise ValueError(
            f"{activation!r} has no name that a config could hold: give the layer a named function"
        )
    return str(name)

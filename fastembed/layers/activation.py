"""Activations as layers."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import activations, constraints, eras, regularizers
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.layer import Layer, Shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class _Elementwise(Layer):
    """A layer that is an activation with some arguments."""

    activation: Callable[..., Any]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.built = True

    def _arguments(self) -> dict[str, Any]:
        """What the function gets besides the inputs; in configs, too."""
        return {}

    def call(self, inputs: Any) -> Any:
        """The function of the inputs."""
        return self.activation(inputs, **self._arguments())

    def remember(self, inputs: Any, outputs: Any) -> Any:
        """Inputs and outputs; a copy of these, which the caller may change."""
        return inputs, np.array(outputs)

    def backpropagate(self, remembered: Any, upstream: NDArray[Any]) -> Any:
        """The gradient of the inputs."""
        inputs, outputs = remembered
        return activations.gradient_of(self.activation)(inputs, outputs, upstream, **self._arguments())

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        kind = next(cls.__name__ for cls in type(self).__mro__ if cls.__module__ == __name__)
        return {**super().get_config(), **self._dialect.entries(kind, self._arguments())}


def _slope(layer: str, name: str, value: Any) -> Any:
    """``value`` if it is a number of at least 0."""
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value.item()  # tf.keras's ReLU has such in its configs
    if not (isinstance(value, numbers.Real) and float(value) >= 0):
        raise ValueError(
            f"{name} of a {layer} layer must be a number of at least 0. Received: {name}={value!r:.80}"
        )
    return value


class Activation(_Elementwise):
    """An activation.

    Parameters
    ----------
    activation : str, callable or config
        As `fastembed.activations.get` takes it. Training needs its gradient, which your own functions can
        have too: see `fastembed.activations.with_gradient`.
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        If there is no such activation.

    Examples
    --------
    >>> layer = Activation("relu")
    >>> layer(np.float32([-1, 2]), training=True)
    array([0., 2.], dtype=float32)
    >>> layer.backward(np.float32([3, 3]))
    array([0., 3.], dtype=float32)
    """

    @eras.any_era
    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = self._era.activation(activation)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {"activation": self.activation}
        return {**super().get_config(), **self._dialect.entries("Activation", entries)}


class ReLU(_Elementwise):
    """`fastembed.activations.relu`: ``x`` above a threshold and at most ``max_value``.

    Parameters
    ----------
    max_value : float, optional
    negative_slope : float, default 0
        Below the threshold the output is ``negative_slope * (x - threshold)``.
    threshold : float, default 0
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        If one of them is negative.

    Examples
    --------
    >>> ReLU(max_value=6, negative_slope=0.5)(np.float32([-2, 3, 9]))
    array([-1.,  3.,  6.], dtype=float32)
    """

    activation = staticmethod(activations.relu)

    @eras.any_era
    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else _slope("ReLU", "max_value", max_value)
        self.negative_slope = _slope("ReLU", "negative_slope", negative_slope)
        self.threshold = _slope("ReLU", "threshold", threshold)

    def _arguments(self) -> dict[str, Any]:
        return {
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }


class LeakyReLU(_Elementwise):
    """``x`` where it is positive, else ``negative_slope * x``.

    Parameters
    ----------
    negative_slope : float, default 0.3
        Before Keras 3 its name was ``alpha``, which is understood too.
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        If it is negative.

    Examples
    --------
    >>> LeakyReLU(alpha=0.5)(np.float32([-2, 3]))
    array([-1.,  3.], dtype=float32)
    """

    activation = staticmethod(activations.leaky_relu)

    @eras.any_era
    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.negative_slope = _slope("LeakyReLU", "negative_slope", negative_slope)

    def _arguments(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}


class ELU(_Elementwise):
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``.

    Parameters
    ----------
    alpha : float, default 1
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> ELU(alpha=2)(np.float32([-10000, 3]))
    array([-2.,  3.], dtype=float32)
    """

    activation = staticmethod(activations.elu)

    @eras.any_era
    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha

    def _arguments(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class ThresholdedReLU(_Elementwise):
    """``x`` above ``theta``, else 0. Keras 3 has it no more: there it is ``activations.threshold``.

    Parameters
    ----------
    theta : float, default 1
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        If it is negative.

    Notes
    -----
    https://arxiv.org/abs/1402.3337

    Examples
    --------
    >>> ThresholdedReLU()(np.float32([-2, 1, 3]))
    array([0., 0., 3.], dtype=float32)
    """

    activation = staticmethod(activations.threshold)

    @eras.any_era
    def __init__(self, theta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.theta = _slope("ThresholdedReLU", "theta", theta)

    def _arguments(self) -> dict[str, Any]:
        return {"threshold": self.theta, "default_value": 0.0}

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        config = Layer.get_config(self)
        return {**config, **self._dialect.entries("ThresholdedReLU", {"theta": self.theta})}


class PReLU(Layer):
    """``x`` where it is positive, else ``alpha * x`` with a weight alpha for every place, which is learned.

    Parameters
    ----------
    alpha_initializer : default "Zeros"
    alpha_regularizer, alpha_constraint : optional
    shared_axes : int or sequence of int, optional
        Axes along which all places have one alpha; the first after the batch is 1.
    **kwargs
        As for `Layer`.

    Notes
    -----
    https://arxiv.org/abs/1502.01852

    Examples
    --------
    >>> layer = PReLU("ones")
    >>> layer(np.float32([[-2, 3]]), training=True)
    array([[-2.,  3.]], dtype=float32)
    >>> _ = layer.backward(np.float32([[1, 1]]))
    >>> layer.alpha.gradient
    array([-2.,  0.], dtype=float32)
    """

    @eras.any_era
    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.alpha_initializer = self._era.initializer(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        if not (shared_axes is None or isinstance(shared_axes, (list, tuple))):
            shared_axes = [shared_axes]  # type: ignore[list-item]
        self.shared_axes = None if shared_axes is None else list(shared_axes)

    def build(self, input_shape: Shape) -> None:
        """Make alpha."""
        shape = list(input_shape[1:])
        for axis in self.shared_axes or ():
            if not 1 <= axis < len(input_shape):
                raise ValueError(
                    f"shared_axes of a PReLU layer must be among {list(range(1, len(input_shape)))} for "
                    f"inputs of shape {tuple(input_shape)}. Received: shared_axes={self.shared_axes}"
                )
            shape[axis - 1] = 1
        self.alpha = self.add_weight(
            shape=tuple(shape),
            name="alpha",
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        shared = self.shared_axes
        axes = {n: input_shape[n] for n in range(1, len(input_shape)) if shared and n not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes)

    def call(self, inputs: Any) -> NDArray[Any]:
        """``x`` or ``alpha * x``."""
        x = np.asarray(inputs)
        return (np.maximum(x, 0) + self._alpha_for(x) * np.minimum(x, 0)).astype(x.dtype, copy=False)

    def _alpha_for(self, x: NDArray[Any]) -> NDArray[Any]:
        return self.alpha.value.astype(x.dtype, copy=False)

    def remember(self, inputs: Any, outputs: Any) -> Any:
        """The inputs."""
        return np.asarray(inputs)

    def backpropagate(self, remembered: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
        """Add the gradient of alpha, unless frozen; return that of the inputs, which is 0 at 0."""
        dtype = np.promote_types(upstream.dtype, np.float32)
        x, slope = remembered.astype(dtype, copy=False), upstream.astype(dtype, copy=False)
        gradient = slope * (x > 0) + self._alpha_for(x) * slope * (x < 0)
        if self.alpha.trainable:
            of_alpha = (slope * np.minimum(x, 0)).sum(axis=0)
            shared = tuple(axis - 1 for axis in self.shared_axes or ())
            self.alpha.add_gradient(of_alpha.sum(axis=shared, keepdims=True) if shared else of_alpha)
        return gradient

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {
            "alpha_initializer": self.alpha_initializer,
            "alpha_regularizer": self.alpha_regularizer,
            "alpha_constraint": self.alpha_constraint,
            "shared_axes": self.shared_axes,
        }
        return {**super().get_config(), **self._dialect.entries("PReLU", entries)}


class Softmax(_Elementwise):
    """``exp(x)``, divided by its sum over an axis or several.

    Parameters
    ----------
    axis : int or sequence of int, default -1
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> Softmax()(np.float32([[1, 1, 5]]), mask=np.array([[True, True, False]]))
    array([[0.5, 0.5, 0. ]], dtype=float32)
    """

    activation = staticmethod(activations.softmax)

    @eras.any_era
    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def _arguments(self) -> dict[str, Any]:
        return {"axis": self.axis}

    def call(self, inputs: Any, mask: ArrayLike | None = None) -> Any:
        """The softmax of those inputs that the mask keeps, and 0 for the others.

        Parameters
        ----------
        inputs : array_like
        mask : array_like, optional
            True, or more than 0.5, where an input counts; broadcast to the inputs.

        Raises
        ------
        ValueError
            If the mask has more axes than the inputs, or axes of other lengths.
        """
        if mask is None:
            return super().call(inputs)
        inputs, kept = np.asarray(inputs), _mask_for(inputs, mask)
        lowest = -3e4 if inputs.dtype == np.float16 else -1e9
        masked = np.where(kept, inputs, np.asarray(lowest, inputs.dtype))
        outputs = super().call(masked)
        return np.where(kept, outputs, outputs.dtype.type(0))

    backpropagate = _Elementwise.backpropagate  # is right with a mask: what it hides has outputs of 0


def _mask_for(inputs: NDArray[Any], mask: ArrayLike) -> NDArray[np.bool_]:
    """A mask as bool, in a shape that broadcasts to the inputs."""
    array = np.asarray(mask)
    fits = array.ndim <= inputs.ndim and all(
        n in (1, size) for n, size in zip(array.shape[::-1], inputs.shape[::-1])
    )
    if not fits:
        raise ValueError(
            "The `mask` must be broadcastable to `inputs` and must not have more dimensions, and each "
            "dimension must be 1 or that of the inputs. "
            f"Received: inputs.shape={inputs.shape}, mask.shape={array.shape}"
        )
    return array if array.dtype == bool else np.asarray(array > 0.5)

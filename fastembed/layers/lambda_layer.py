"""Any function as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Callable

import numpy as np

from fastembed import activations, eras
from fastembed._registry import deserialize_keras_object, reading
from fastembed.layers.layer import Layer, Shape

# Stand for lengths that are not known: where the output has other lengths for other ones, neither are those.
_UNKNOWN = 83, 97


class Lambda(Layer):
    """Any function of arrays.

    Parameters
    ----------
    function : callable
        Called with the inputs; and with ``mask`` and ``training``, if it has parameters of these names.
    output_shape : tuple or callable, optional
        Shape of the output without the batch, or a function that makes the whole shape from the input's.
        Default: found by calling the function on zeros, when `compute_output_shape` asks.
    mask : ndarray or callable, optional
        The mask of the output, or a function of inputs and mask that makes it. Default: there is none.
    arguments : dict, optional
        Further keywords for the function.
    gradient : callable, optional
        ``gradient(inputs, outputs, upstream, **arguments)``: the gradient of the loss with respect to the
        inputs, which training needs. Default: the function's own, if it has one (see
        `fastembed.activations.with_gradient`). A config does not hold it, since no Keras could read that.
    **kwargs
        As for `Layer`.

    Notes
    -----
    Keras writes a Python lambda into configs as code. That is neither written nor run here: `get_config`
    needs a function with a name, and reading such a config is an error.

    Examples
    --------
    >>> double = Lambda(lambda x: 2 * x, gradient=lambda inputs, outputs, upstream: 2 * upstream)
    >>> double(np.float32([[1, 2]]), training=True)
    array([[2., 4.]], dtype=float32)
    >>> double.backward(np.float32([[1, 1]]))
    array([[2., 2.]], dtype=float32)
    """

    @eras.any_era
    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        gradient: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f"`function` of a Lambda layer must be callable. Received: {function!r:.80}")
        if not (gradient is None or callable(gradient)):
            raise TypeError(f"`gradient` of a Lambda layer must be callable. Received: {gradient!r:.80}")
        self.function = function
        self.arguments = dict(arguments or {})
        self.mask = mask
        self.gradient = gradient
        self.supports_masking = mask is not None
        self._output_shape = output_shape
        parameters = _parameters(function)
        self._passed_on = tuple(name for name in ("mask", "training") if name in parameters)

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """What the function makes of the inputs."""
        told = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{name: told[name] for name in self._passed_on})

    def backpropagate(self, remembered: Any, upstream: Any) -> Any:
        """The gradient of the inputs.

        Raises
        ------
        RuntimeError
            If none was given and the function has none.
        """
        gradient = self.gradient
        if gradient is None:
            try:
                gradient = activations.gradient_of(self.function)
            except RuntimeError as error:
                raise RuntimeError(
                    f"layer {self.name!r} cannot be trained through: {error}; or give it to the layer, as "
                    "Lambda(function, gradient=...)"
                ) from None
        return gradient(*remembered, upstream, **self.arguments)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask that the layer was given, or what its function makes of inputs and mask."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output for inputs of a shape.

        Raises
        ------
        NotImplementedError
            If ``output_shape`` was not given and the function fails on zeros of that shape.
        """
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        if self._output_shape is not None:
            several = isinstance(input_shape[0], (list, tuple))
            return ((input_shape[0] if several else input_shape)[0], *self._output_shape)
        try:
            ones, others = (np.shape(self.call(_zeros(input_shape, n, self.compute_dtype))) for n in _UNKNOWN)
        except Exception as error:
            raise NotImplementedError(
                f"The shape of what layer {self.name!r} returns could not be found by calling its function "
                f"on zeros of shape {input_shape} ({type(error).__name__}: {error}). Please specify the "
                "`output_shape` argument of this Lambda layer"
            ) from error
        return tuple(one if one == other else None for one, other in zip(ones, others))

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it.

        Raises
        ------
        TypeError
            If the function is a lambda, or has no name.
        """
        given = {"function": self.function, "output_shape": self._output_shape, "mask": self.mask}
        arguments = self._dialect.entries("Lambda", {"arguments": self.arguments})
        return {**super().get_config(), **self._dialect.functions(given), **arguments}

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        custom_objects: Mapping[str, Any] | None = None,
        safe_mode: bool | None = None,
    ) -> Lambda:
        """The layer that a config describes.

        Parameters
        ----------
        config : mapping
            As `get_config` of any era gives it.
        custom_objects : mapping of str to function, optional
            Functions of the caller's own, by the names that configs give them.
        safe_mode : bool, optional
            For programs that pass it: a lambda is code in a file, and is never run.

        Raises
        ------
        ValueError
            If the config has a Python lambda, or a function that is not known.
        """
        inner = config.get("config")
        settings = dict(inner if "class_name" in config and isinstance(inner, Mapping) else config)
        with reading(config, "a Lambda layer"):
            for name in ("function", "output_shape", "mask"):
                kind = settings.pop(f"{name}_type", "function" if name == "function" else "raw")
                settings.pop("module" if name == "function" else f"{name}_module", None)
                if name in settings:
                    settings[name] = _read(name, settings[name], kind, custom_objects)
            settings["arguments"] = deserialize_keras_object(settings.get("arguments"), custom_objects)
        return super().from_config(settings)


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have none that could be found
        return {}


def _zeros(shape: Shape, unknown: int, dtype: str) -> Any:
    if isinstance(shape[0], (list, tuple)):
        return [_zeros(each, unknown, dtype) for each in shape]
    return np.zeros([unknown if n is None else n for n in shape], "float32" if dtype == "bfloat16" else dtype)


def _read(name: str, value: Any, kind: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    """A function, a shape or a mask out of a config; before Keras 3 its kind was said beside it."""
    if kind == "lambda" or (isinstance(value, Mapping) and value.get("class_name") == "__lambda__"):
        raise ValueError(
            f"the {name} of a `Lambda` layer is a Python lambda, which a config can only hold as code. Code "
            "in a file is never run here, whatever safe_mode says. Make it a function with a name, register "
            "that with register_keras_serializable() or name it in custom_objects, and write the config again"
        )
    if isinstance(value, str):
        kind, value = "function", {"class_name": "function", "config": value}
    read = deserialize_keras_object(value, custom_objects)
    if kind == "function" and not callable(read):
        raise ValueError(f"the {name} of a Lambda layer is not callable: {value!r:.200}")
    return tuple(read) if isinstance(read, list) and name == "output_shape" else read

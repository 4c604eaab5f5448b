"""Copies of models: new layers like the old ones, connected alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from fastembed._registry import deserialize_keras_object, serialize_keras_object
from fastembed.layers.graph import KerasTensor, flatten, map_structure
from fastembed.layers.input_layer import Input, InputLayer
from fastembed.layers.layer import Layer
from fastembed.models.configs import is_functional, takes_graph
from fastembed.models.functional import Functional
from fastembed.models.sequential import Sequential

Clone = Callable[[Layer], Layer]


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Clone | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
    **kwargs: Any,
) -> Any:
    """A model like this one with new layers, whose weights are drawn anew.

    Parameters
    ----------
    model : Model
    input_tensors : KerasTensor, or a structure like ``model.input``, optional
        What the new model begins with. Default: new inputs.
    clone_function : callable, optional
        ``clone_function(layer)`` returns what is to stand in the place of a layer that is no input.
        Default: ``type(layer).from_config(layer.get_config())``.
    call_function : callable, optional
        ``call_function(layer, *args, **kwargs)`` calls the new layer, and may call others; not for a
        Sequential.
    recursive : bool, default False
        Whether models inside are cloned layer by layer, with the same functions.

    Returns
    -------
    Model
        Compiled like this one, if this one is.

    Raises
    ------
    ValueError
        For functions or tensors that such a model does not take, as Keras says it.

    Examples
    --------
    >>> from fastembed.layers import Dense, Input
    >>> from fastembed.models import Sequential
    >>> model = Sequential([Input((3,)), Dense(2, kernel_initializer="ones", name="last")])
    >>> clone = clone_model(model)
    >>> clone.get_layer("last") is model.get_layer("last"), clone.get_config() == model.get_config()
    (False, True)
    """
    cache = kwargs.pop("cache", None)
    if kwargs:
        raise ValueError(f"Unexpected keyword argument(s): {tuple(kwargs)}")
    if clone_function is not None and not callable(clone_function):
        raise ValueError(
            f"Expected `clone_function` argument to be a callable. Received: clone_function={clone_function}"
        )
    clone = _Cloning(clone_function or _like, call_function, recursive, {} if cache is None else cache)
    cloned: Any
    if isinstance(model, Sequential):
        if call_function is not None:
            raise ValueError(
                "`call_function` argument is not supported with Sequential models. In these layers "
                "aren't called at model-construction time (they're merely listed). Use `call_function` with "
                f"Functional models only. Received model of type '{type(model).__name__}', with "
                f"call_function={call_function}"
            )
        cloned = clone.sequential(model, input_tensors)
    elif is_functional(model):
        cloned = clone.functional(model, input_tensors)
    elif clone_function or input_tensors is not None or call_function:
        raise ValueError(
            "Arguments `clone_function`, `call_function` and `input_tensors` are only supported for "
            f"Sequential models or Functional models. Received model of type '{type(model).__name__}', with "
            f"clone_function={clone_function}, call_function={call_function} and "
            f"input_tensors={input_tensors}"
        )
    else:
        config = serialize_keras_object(model)
        return deserialize_keras_object(config, {type(model).__name__: type(model)})
    if getattr(model, "compiled", False):
        cloned.compile_from_config(model.get_compile_config())
    return cloned


def _like(layer: Layer) -> Layer:
    return type(layer).from_config(layer.get_config())


class _Cloning:
    """How layers are cloned: each once."""

    def __init__(
        self, function: Clone, call: Callable[..., Any] | None, recursive: bool, cache: dict[int, Layer]
    ) -> None:
        self._function, self._call, self._recursive, self._cache = function, call, recursive, cache

    def layer(self, layer: Layer) -> Layer:
        """The new layer in the place of an old one."""
        if id(layer) not in self._cache:
            self._cache[id(layer)] = self._new(layer)
        return self._cache[id(layer)]

    def _new(self, layer: Layer) -> Layer:
        inside = self._recursive and (isinstance(layer, Sequential) or is_functional(layer))
        if not inside:
            return self._function(layer)
        call = None if isinstance(layer, Sequential) else self._call
        cloned: Layer = clone_model(
            layer, clone_function=self._function, call_function=call, recursive=True, cache=self._cache
        )
        return cloned

    def sequential(self, model: Sequential, tensors: Any) -> Sequential:
        """A row of new layers."""
        first = model._sequence[0] if model._sequence else None
        layers: list[Any] = [self.layer(layer) for layer in model.layers]
        if tensors is not None:
            given = list(flatten(tensors))
            if len(given) != 1:
                raise ValueError("Argument `input_tensors` must contain a single tensor.")
            if not isinstance(given[0], KerasTensor):
                raise ValueError(
                    "Argument `input_tensors` must be a KerasTensor. "
                    f"Received invalid value: input_tensors={given[0]}"
                )
            layers.insert(0, _input_of(given[0]))
        elif isinstance(first, InputLayer):
            layers.insert(0, Input(batch_shape=first.batch_shape, dtype=first.dtype, name=first.name))
        return Sequential(layers, name=model.name, trainable=model.trainable)

    def functional(self, model: Any, tensors: Any) -> Any:
        """New layers, connected alike."""
        struct = model._inputs_struct
        if tensors is None:
            tensors = map_structure(
                lambda each: Input(batch_shape=each.shape, dtype=each.dtype, name=each.name), struct
            )
        given = list(flatten(tensors))
        if not all(isinstance(each, KerasTensor) for each in given):
            raise ValueError(
                "All entries in `input_tensors` must be KerasTensors. "
                f"Received invalid values: inputs_tensors={tensors}"
            )
        if _shape_of(tensors) != _shape_of(struct):
            raise ValueError(
                "`input_tensors` must have the same structure as model.input\n"
                f"Reference structure: {struct}\nReceived structure: {tensors}"
            )
        made = {id(old): new for old, new in zip(model.inputs, given)}
        for node in model._nodes:
            args, kwargs = map_structure(lambda each: made.get(id(each), each), (node.args, node.kwargs))
            layer = self.layer(node.layer)
            outputs = self._call(layer, *args, **kwargs) if self._call else layer(*args, **kwargs)
            made.update((id(old), new) for old, new in zip(node.outputs, flatten(outputs)))
        outputs = map_structure(lambda each: made[id(each)], model._outputs_struct)
        cls = type(model) if takes_graph(type(model)) else Functional
        return cls(tensors, outputs, name=model.name)


def _input_of(tensor: KerasTensor) -> Any:
    """The input that a tensor is; of another tensor an input like it."""
    if tensor.node is not None and tensor.node.is_input:
        return tensor
    return Input(batch_shape=tensor.shape, dtype=tensor.dtype)


def _shape_of(structure: Any) -> Any:
    """The lists, tuples and dicts, without what is in them."""
    if isinstance(structure, Mapping):
        return {key: _shape_of(value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_shape_of(value) for value in structure]
    return None

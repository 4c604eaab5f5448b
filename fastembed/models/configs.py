"""Models to configs and back, in the dialect of every Keras.

A config lists the layers of a model, each with its own config, and which outputs of which layers each was
called with. What is the same in all Kerases is read by one way; what they write differently is an object of
`_Writer`'s family, one an era. A config is data: a class that it names is looked for among our layers and the
caller's own, and nothing else happens with the name.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from fastembed import eras
from fastembed._custom_objects import CustomObjectScope, get_registered_name
from fastembed._registry import deserialize_keras_object, reading, serialize_keras_object
from fastembed.layers import registry
from fastembed.layers.graph import KerasTensor, Node, flatten, map_structure
from fastembed.layers.input_layer import InputLayer
from fastembed.layers.layer import Layer
from fastembed.layers.merging import Merging
from fastembed.models.masks_in_configs import is_operation, without_masks
from fastembed.saving.configs import parse_json

if TYPE_CHECKING:
    from fastembed.models.model import Model
    from fastembed.models.sequential import Sequential

Json = dict[str, Any]

# --- Written ----------------------------------------------------------------------------------------


class _Graph:
    """Which calls of which layers make a model, by names and numbers.

    Attributes
    ----------
    layers : list of Layer
        In the model's order.
    """

    def __init__(self, model: Any) -> None:
        self.layers: list[Layer] = list(model._operations)
        self._numbers: dict[int, int] = {}
        self._calls: dict[int, list[Node]] = defaultdict(list)
        self._inputs: dict[int, Layer] = {}
        for node in sorted(model._nodes, key=lambda node: node.index):
            calls = self._calls[id(node.layer)]
            self._numbers[id(node)] = len(calls)
            calls.append(node)
        names = {layer.name for layer in self.layers}
        for tensor in model.inputs:
            if not (tensor.node is not None and tensor.node.is_input):
                # A model that begins in the midst of calls has inputs of its own there.
                name = next(
                    name for n in range(len(names) + 1) if (name := _clone_name(tensor, n)) not in names
                )
                names.add(name)
                layer = InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
                self.layers.insert(len(self._inputs), layer)
                self._inputs[id(tensor)] = layer

    def calls(self, layer: Layer) -> list[Node]:
        """The calls of a layer that belong to the model."""
        return self._calls[id(layer)]

    def place(self, tensor: KerasTensor) -> tuple[Layer, int, int]:
        """The layer that a tensor comes from, which of its calls in this model, and which output of that."""
        node = tensor.node
        if id(tensor) in self._inputs or node is None:
            return self._inputs[id(tensor)], 0, 0
        return node.layer, self._numbers.get(id(node), 0), tensor.index


def _clone_name(tensor: KerasTensor, number: int) -> str:
    return f"{tensor.name}CLONE{number or ''}"


class _Writer:
    """Keras 3's way to write a model."""

    era: ClassVar[str] = "keras3"
    version: ClassVar[str | None] = None

    def functional(self, model: Any) -> Json:
        """The config of a model that is made of calls."""
        graph = _Graph(model)
        layers = [
            {
                **self.layer(layer),
                "name": layer.name,
                "inbound_nodes": [self.call(node, graph) for node in graph.calls(layer)],
            }
            for layer in graph.layers
        ]
        return {
            **self.head(model),
            "layers": layers,
            "input_layers": self.ends(model._inputs_struct, graph),
            "output_layers": self.ends(model._outputs_struct, graph),
        }

    def head(self, model: Any) -> Json:
        """What precedes the layers."""
        return {"name": model.name, "trainable": model.trainable}

    def layer(self, layer: Layer) -> Json:
        """A layer's class and config."""
        written: Json = serialize_keras_object(layer)
        return {**written, **_number_of(layer)}

    def call(self, node: Node, graph: _Graph) -> Json:
        """The arguments of a call."""

        def written(each: Any) -> Any:
            if not isinstance(each, KerasTensor):
                return each
            layer, number, index = graph.place(each)
            history = [layer.name, number, index]
            config = {"shape": each.shape, "dtype": each.dtype, "keras_history": history}
            return {"class_name": "__keras_tensor__", "config": config}

        args, kwargs = map_structure(written, (node.args, node.kwargs))
        return {
            "args": serialize_keras_object(args),
            "kwargs": serialize_keras_object({**self._filled_in(node), **kwargs}),
        }

    @staticmethod
    def _filled_in(node: Node) -> Json:
        """What Keras fills in where a call does not say it."""
        layer, filled_in = node.layer, {}
        if layer._training_default is not None:
            filled_in["training"] = layer._training_default
        if "mask" in layer._call_parameters and not isinstance(layer, Merging):
            # Here masks travel by themselves.
            filled_in["mask"] = map_structure(lambda _: None, node.args[0]) if node.args else None
        return filled_in

    def ends(self, structure: Any, graph: _Graph) -> Any:
        """Inputs or outputs: of which calls they are. Those of a model inside are counted from 1 here."""

        def written(tensor: KerasTensor) -> list[Any]:
            layer, number, index = graph.place(tensor)
            return [layer.name, number + is_functional(layer), index]

        return map_structure(written, structure)

    def sequential(self, model: Any) -> Any:
        """The config of layers in a row."""
        config = model._dialect.base_config(model)
        config["layers"] = [self.layer(layer) for layer in model._sequence]
        if model._program is not None:
            config["build_input_shape"] = model._sequence[0].batch_shape
        return config

    def described(self, model: Any) -> Json:
        """A whole model, as JSON files have it."""
        return self.layer(model)


class _TensorFlowWriter(_Writer):
    """tf.keras's: calls are lists, and what is not the first argument lies beside each of its tensors."""

    era = "tf.keras"
    version = "2.15.0"
    _of_functional: ClassVar[str] = "Functional"

    def layer(self, layer: Layer) -> Json:
        name = self._of_functional if is_functional(layer) else get_registered_name(type(layer))
        written = {"class_name": name, "config": serialize_keras_object(layer.get_config())}
        return {**written, **_number_of(layer)}

    def call(self, node: Node, graph: _Graph) -> Any:
        parameters = list(node.layer._call_signature.parameters)[2:]
        beside = {**dict(zip(parameters, node.args[1:])), **node.kwargs}
        beside = map_structure(lambda each: self._leaf(each, graph) if _is_tensor(each) else each, beside)
        first = node.args[0] if node.args else next(iter(node.kwargs.values()))
        return self._called_with(first, serialize_keras_object(beside), graph)

    def _called_with(self, first: Any, beside: Json, graph: _Graph) -> Any:
        structure = map_structure(lambda each: [*self._leaf(each, graph), beside], first)
        return [structure] if _is_tensor(first) else structure

    def _leaf(self, tensor: Any, graph: _Graph) -> list[Any]:
        if not _is_tensor(tensor):
            return ["_CONSTANT_VALUE", -1, serialize_keras_object(tensor)]
        layer, number, index = graph.place(tensor)
        return [layer.name, number + _was_called_when_made(layer), index]

    def ends(self, structure: Any, graph: _Graph) -> Any:
        written = map_structure(lambda tensor: self._leaf(tensor, graph), structure)
        return [written] if _is_tensor(structure) else written

    def sequential(self, model: Any) -> Any:
        return {"name": model.name, "layers": [self.layer(layer) for layer in model._sequence]}

    def described(self, model: Any) -> Json:
        return {**self.layer(model), "keras_version": self.version, "backend": "tensorflow"}


class _Keras2Writer(_TensorFlowWriter):
    """Keras 2's: inputs and outputs are flat lists, and the first layer of a row says the input's shape."""

    era = "keras2"
    version = "2.2.4"
    _of_functional = "Model"

    def head(self, model: Any) -> Json:
        return {"name": model.name}

    def _called_with(self, first: Any, beside: Json, graph: _Graph) -> Any:
        return [[*self._leaf(each, graph), beside] for each in flatten(first)]

    def ends(self, structure: Any, graph: _Graph) -> Any:
        return [self._leaf(tensor, graph) for tensor in flatten(structure)]

    def sequential(self, model: Any) -> Any:
        return {"name": model.name, "layers": self._row(model)}

    def _row(self, model: Any) -> list[Json]:
        layers = [self.layer(layer) for layer in model._sequence]
        first = model._sequence[0] if layers else None
        if len(layers) < 2 or not isinstance(first, InputLayer) or hasattr(model._sequence[1], "layers"):
            return layers
        layers[1]["config"]["batch_input_shape"] = list(first.batch_shape)
        return layers[1:]


class _Keras1Writer(_Keras2Writer):
    """Keras 1's: calls have nothing beside their tensors, and a row is a bare list."""

    era = "keras1"
    version = "1.2.2"

    def _called_with(self, first: Any, beside: Json, graph: _Graph) -> Any:
        return self.ends(first, graph)

    def sequential(self, model: Any) -> Any:
        return self._row(model)


_WRITERS: Mapping[str, _Writer] = {
    each.era: each for each in (_Writer(), _TensorFlowWriter(), _Keras2Writer(), _Keras1Writer())
}


@contextlib.contextmanager
def _writer(model: Any) -> Iterator[_Writer]:
    """Who writes a model. The layers in it are all written in that dialect, whichever their eras."""
    writer = _WRITERS[model._dialect.name]
    with eras.dialect(writer.era):
        yield writer


def _is_tensor(value: Any) -> bool:
    return isinstance(value, KerasTensor)


def _class(name: str) -> Any:
    """A class of models, which `fastembed.models` has added to the layers that configs may name."""
    return registry.names[name]


def is_functional(layer: Any) -> bool:
    """Whether this is a model that is made of calls."""
    return getattr(layer, "_program", None) is not None and not isinstance(layer, _class("Sequential"))


def takes_graph(cls: Any) -> bool:
    """Whether a class of models is made with inputs and outputs, as `Model` is."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    kinds = {each.kind for each in parameters}
    return {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds or (
        [each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
        == ["inputs", "outputs", "name"]
    )


def _was_called_when_made(layer: Any) -> bool:
    """Whether the calls of a layer are counted from 1 before Keras 3: a model's own making is the first."""
    return getattr(layer, "_program", None) is not None


_numbers: ContextVar[Mapping[int, int]] = ContextVar(
    "fastembed.numbers of layers", default=MappingProxyType({})
)


def _said_twice(model: Any) -> dict[int, int]:
    """A number for each layer that is a part of more than one of the models in a model."""
    found: dict[int, int] = {}
    todo = [model]
    while todo:
        each = todo.pop()
        for layer in _parts(each):
            found[id(layer)] = found.get(id(layer), 0) + 1
            if found[id(layer)] == 1:
                todo.append(layer)
    twice = [key for key, count in found.items() if count > 1]
    return {key: number for number, key in enumerate(twice)}


def _parts(layer: Any) -> list[Layer]:
    """The layers that a model's config describes."""
    if hasattr(layer, "_sequence"):
        return list(layer._sequence)
    return list(layer._operations) if is_functional(layer) else []


def _number_of(layer: Layer) -> Json:
    numbers = _numbers.get()
    return {"shared_object_id": numbers[id(layer)]} if id(layer) in numbers else {}


def functional_config(model: Model) -> Json:
    """The config of a model that is made of calls, as the Keras of its era writes it.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict
    """
    with _writer(model) as writer:
        return writer.functional(model)


def sequential_config(model: Sequential) -> Any:
    """The config of layers in a row, as the Keras of the model's era writes it: a dict, in Keras 1 a list.

    Parameters
    ----------
    model : Sequential

    Returns
    -------
    dict or list
    """
    with _writer(model) as writer:
        return writer.sequential(model)


def described(model: Any) -> Json:
    """The class and the config of a model, as JSON files have them.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict

    Notes
    -----
    In the dialect of the model's era, or of `eras.dialect`. A layer that is in several models inside has a
    number, "shared_object_id", by which readers know that it is one layer.

    Examples
    --------
    >>> from fastembed.layers import Dense, Input
    >>> from fastembed.models import Sequential
    >>> model = Sequential([Input((3,)), Dense(2)])
    >>> described(model)["module"]
    'keras'
    >>> with eras.dialect("keras2"):
    ...     described(model)["config"]["layers"][0]["config"]["batch_input_shape"]
    [None, 3]
    """
    token = _numbers.set(_said_twice(model))
    try:
        with _writer(model) as writer:
            return writer.described(model)
    finally:
        _numbers.reset(token)


def to_json(model: Any, **kwargs: Any) -> str:
    """The class and the config of a model as JSON.

    Parameters
    ----------
    model : Model
    **kwargs
        For `json.dumps`.

    Returns
    -------
    str
    """
    return json.dumps(described(model), **kwargs)


def to_yaml(model: Any, **kwargs: Any) -> str:
    """Always a RuntimeError, as in Keras since 2.6."""
    raise RuntimeError(_NO_YAML.format("to_yaml()", "model.to_json()"))


_NO_YAML = (
    "Method `model.{}` is gone: reading YAML can run code, so Keras took it out in 2.6. Use `{}` instead."
)

# --- Read -------------------------------------------------------------------------------------------

# The layers of the model that is being read, by class and name: each with its number and its config.
_read: ContextVar[defaultdict[tuple[str, Any], list[tuple[Layer, Any, Json]]] | None] = ContextVar(
    "fastembed.layers read", default=None
)


def model_from_json(json_string: str | bytes, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The model that `to_json` of any Keras wrote, without its weights' values.

    Parameters
    ----------
    json_string : str or bytes
        At most 16 MiB, nested at most 128 levels deep.
    custom_objects : mapping of str to class or function, optional
        The caller's own, by the names that configs give them.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If it is not such JSON, or has a layer that there is not here.

    Examples
    --------
    >>> from fastembed.layers import Dense, Input
    >>> from fastembed.models import Sequential
    >>> text = Sequential([Input((3,)), Dense(2, name="last")]).to_json()
    >>> model_from_json(text).output_shape
    (None, 2)
    """
    return model_from_config(parse_json(json_string), custom_objects)


def model_from_config(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The model that a description of any Keras's means, without its weights' values.

    Parameters
    ----------
    config : mapping
        ``{"class_name": ..., "config": ...}`` and what the Keras that wrote it has beside these.
    custom_objects : mapping of str to class or function, optional
        The caller's own, by the names that configs give them.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If it has a layer that there is not here, naming the first and those that there are; or if calls and
        layers do not fit together. Nothing that it names is imported or run.
    """
    if isinstance(config, list):
        raise TypeError(
            "`model_from_config` expects a dictionary, not a list. "
            f"Received: config={config!r:.200}. Did you mean to use `Sequential.from_config(config)`?"
        )
    if not (isinstance(config, Mapping) and "config" in config and "class_name" in config):
        raise ValueError(
            "The config of a model is a dictionary with 'class_name' and 'config', as `model.to_json()` has "
            f"it and `model.get_config()` has not. Received: config={config!r:.200}"
        )
    with _reading(config, custom_objects):
        return registry.deserialize(_prepared_layer(_decoded(config)), custom_objects)


def model_from_yaml(yaml_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Always a RuntimeError, as in Keras since 2.6."""
    raise RuntimeError(_NO_YAML.format("model_from_yaml()", "fastembed.models.model_from_json()"))


def functional_from_config(
    cls: Any, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """A model that is made of calls, out of what `functional_config` or any Keras wrote.

    Parameters
    ----------
    cls : class
        It is made by ``cls(inputs=..., outputs=..., name=..., **whatever else the config has)``.
    config : mapping
    custom_objects : mapping of str to class or function, optional

    Returns
    -------
    cls

    Raises
    ------
    ValueError
        As `model_from_config`.
    """
    with _reading(config, custom_objects):
        rest = _prepared(_decoded(config))
        entries, starts, ends = (rest.pop(key) for key in ("layers", "input_layers", "output_layers"))
        inputs, outputs = _Calls(entries, [starts, ends]).made()
        rest = {k: v for k, v in rest.items() if v is not None and k != "build_input_shape"}
        return cls(inputs=inputs, outputs=outputs, **rest)


def sequential_from_config(
    cls: Any, config: Mapping[str, Any] | list[Any], custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Layers in a row, out of what `sequential_config` or any Keras wrote.

    Parameters
    ----------
    cls : class
        It is made by ``cls(name=...)``, and has `add` and `build`.
    config : mapping or list
    custom_objects : mapping of str to class or function, optional

    Returns
    -------
    cls, or Functional
        That if the row begins with models whose outputs are merged, as in Keras 1.

    Raises
    ------
    ValueError
        As `model_from_config`.
    """
    with _reading(config, custom_objects):
        plain = _prepared(_decoded({"layers": config} if isinstance(config, list) else config))
        entries, name = plain["layers"], plain.get("name")
        if entries and _is_merge(entries[0]):
            return _merged(entries, name)
        model = cls(name=name, **({"trainable": False} if plain.get("trainable") is False else {}))
        for entry in entries:
            model.add(_layer(entry))
        # Before Keras 3 the first layer of a row says the input's shape.
        said = entries[0]["config"].get("batch_input_shape") if entries else None
        shape = plain.get("build_input_shape") or said
        if not model.built and isinstance(shape, (list, tuple)) and shape:
            model.build(tuple(shape))
        return model


@contextlib.contextmanager
def _reading(config: Any, custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Layers that are said to be one are one in the whole of a model, and the caller's names hold in it."""
    token = _read.set(defaultdict(list)) if _read.get() is None else None
    try:
        with CustomObjectScope(custom_objects), reading(config, "a model"):
            yield
    finally:
        if token is not None:
            _read.reset(token)


def _decoded(value: Any) -> Any:
    """A copy, with the tuples that tf.keras marks in JSON as tuples."""
    if isinstance(value, Mapping):
        if value.get("class_name") in ("__tuple__", "TensorShape") and isinstance(
            value.get("items"), (list, tuple)
        ):
            return tuple(map(_decoded, value["items"]))
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_decoded, value)) if type(value) in (list, tuple) else value
    return value


def _prepared(config: Any) -> Json:
    """A model's config as `_layer` and `_Calls` take it, whose layers are all known."""
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), (list, tuple)):
        raise ValueError(
            "The config of a model is a dictionary with its 'layers' (or, for a Sequential, their list). "
            f"Received: config={config!r:.200}"
        )
    layers = without_masks([_entry(each) for each in config["layers"]], config.get("output_layers"))
    return {**config, "layers": [_prepared_layer(each) for each in layers]}


def _entry(value: Any) -> Json:
    """A layer's entry: class and config are there, and a name if anything gives one."""
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        raise ValueError(f"a layer in the config is no dictionary with a 'class_name': {value!r:.200}")
    config = value.get("config")
    if isinstance(config, list):  # a Sequential's, before Keras 2.2.3
        config = {"layers": config, **({"name": value["name"]} if "name" in value else {})}
    if not isinstance(config, dict):
        raise ValueError(f"the config of a {value['class_name']} is no dictionary: {config!r:.200}")
    return {**value, "config": config, "name": value.get("name") or config.get("name")}


def _prepared_layer(value: Any) -> Json:
    """An entry whose class is known, and so are those in it."""
    entry = _entry(value)
    if is_operation(entry) or registry.made_by(entry) is None:
        raise _unknown(entry)
    config = entry["config"]
    if isinstance(config.get("layers"), list) and all(map(_is_entry, config["layers"])):
        return {**entry, "config": _prepared(config)}
    return entry


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and "class_name" in value


def _unknown(entry: Json) -> ValueError:
    name = entry["class_name"]
    what = f"the operation {name}" if is_operation(entry) or name.endswith("OpLambda") else f"a layer {name}"
    ours = sorted({made.__name__ for made in registry.names.values() if isinstance(made, type)} - {"Layer"})
    return ValueError(
        f"The config has {what} (called {entry['name']!r}), and there is none here. There are "
        f"{', '.join(ours)}. A class of your own is found if you name it in "
        f"custom_objects={{{name!r}: class}}, or decorate it with register_keras_serializable()"
    )


def _layer(entry: Json) -> Layer:
    """The layer of an entry: a new one, or one that was read before and is meant by the entry's number."""
    read = _read.get()
    assert read is not None
    number, alike = entry.get("shared_object_id"), read[entry["class_name"], entry["name"]]
    if number is not None:
        # It says that the layer is described twice. Keras 3 leaves it out the first time in a model inside.
        plain = _but_numbers(entry["config"])
        for layer, its_number, config in alike:
            if its_number == number or (its_number is None and _but_numbers(config) == plain):
                return layer
    made = registry.deserialize({key: value for key, value in entry.items() if key != "inbound_nodes"})
    if not isinstance(made, Layer):
        raise ValueError(
            f"{entry['class_name']} (called {entry['name']!r}) makes {made!r:.80}, which is no layer"
        )
    alike.append((made, number, entry["config"]))
    return made


def _but_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _but_numbers(each) for key, each in value.items() if key != "shared_object_id"}
    return [_but_numbers(each) for each in value] if isinstance(value, (list, tuple)) else value


# --- Keras 1's Merge --------------------------------------------------------------------------------


def _is_merge(entry: Json) -> bool:
    return entry["class_name"] == "Merge" and bool(entry["config"].get("layers"))


def _merged(entries: list[Json], name: str | None) -> Any:
    """A row that begins with several models or layers, each with its own input: as a model made of calls."""
    merge = {**entries[0], "config": {**entries[0]["config"], "layers": None}}
    made: dict[str, Layer] = {}
    ends = [_branch(branch, made) for branch in entries[0]["config"]["layers"]]
    tensor: Any = _layer(merge)([output for _, output in ends])
    for entry in entries[1:]:
        tensor = _layer(entry)(tensor)
    inputs = {id(each): each for inputs, _ in ends for each in inputs}
    return _class("Functional")(list(inputs.values()), tensor, **({"name": name} if name else {}))


def _branch(entry: Json, made: dict[str, Layer]) -> tuple[list[KerasTensor], KerasTensor]:
    """The inputs and the output of a branch. A layer that stands in two of them alike is one layer."""
    model: Any
    if entry["class_name"] != "Sequential":
        model = _layer(entry)
    elif _is_merge(entry["config"]["layers"][0]):
        model = _merged(entry["config"]["layers"], entry["name"])
    else:
        model = _class("Sequential")(name=entry["name"])
        for each in entry["config"]["layers"]:
            key = json.dumps(each, sort_keys=True, default=repr)
            if key not in made:
                made[key] = _layer(each)
            model.add(made[key])
    return model.inputs, model.outputs[0]


# --- Calls ------------------------------------------------------------------------------------------


class _NotYet(Exception):
    """A call needs another one that is not made yet."""

    def __init__(self, name: str, number: int) -> None:
        self.call = name, number


class _Calls:
    """The layers of a config, and the calls that it says of them, made in an order in which they can be.

    Parameters
    ----------
    entries : list of dict
        The layers.
    ends : list
        Inputs and outputs.
    """

    def __init__(self, entries: list[Json], ends: list[Any]) -> None:
        self._ends = ends
        self._layers: dict[str, Layer] = {}
        self._wanted: dict[str, list[Any]] = {}
        self._made: dict[str, list[list[KerasTensor]]] = {}
        for entry in entries:
            name = entry["name"]
            if not isinstance(name, str) or name in self._layers:
                raise ValueError(f"a layer in the config has no name, or that of another: {name!r:.80}")
            self._layers[name] = layer = _layer(entry)
            nodes = entry.get("inbound_nodes") or []
            if not isinstance(nodes, (list, tuple)):
                raise ValueError(f"the calls of {name!r} are no list: {nodes!r:.80}")
            self._wanted[name] = list(nodes)
            own = layer.__dict__.get("_inbound_nodes", [])
            self._made[name] = [node.outputs for node in own[:1]] if isinstance(layer, InputLayer) else []
        self._first_call, self._first_end = self._first_numbers(ends)

    def _first_numbers(self, ends: list[Any]) -> tuple[dict[str, int], dict[str, int]]:
        """From which number the calls of each layer are counted, in calls and in inputs and outputs.

        Before Keras 3 those of a model are counted from 1 where it was made with its inputs, else from 0;
        Keras 3 counts them from 1 in outputs alone, and only those of a Functional. Each call of a layer is
        of use to some other or an output, or it would not be in a config: the lowest number is the first.
        """
        models = [name for name, layer in self._layers.items() if hasattr(layer, "layers")]
        lists = [node for nodes in self._wanted.values() for node in nodes if not isinstance(node, dict)]
        in_ends = _lowest(_leaves(ends))
        lowest = _lowest(_leaves([lists, ends])) if lists else {}
        calls = {name: min(1, lowest.get(name, 1)) for name in models if lists}
        counted = [name for name in models if lists or is_functional(self._layers[name])]
        return calls, {name: calls.get(name, min(1, in_ends.get(name, 1))) for name in counted}

    def made(self) -> list[Any]:
        """Make all calls, those of each layer in their order; return inputs and outputs."""
        waiting: dict[tuple[str, int], list[str]] = defaultdict(list)
        ready = deque(self._layers)
        while ready:
            name = ready.popleft()
            wanted, made = self._wanted[name], self._made[name]
            while len(made) < len(wanted):
                try:
                    args, kwargs = self._arguments(self._layers[name], wanted[len(made)])
                except _NotYet as missing:
                    waiting[missing.call].append(name)
                    break
                made.append(list(flatten(self._layers[name](*args, **kwargs))))
                ready.extend(waiting.pop((name, len(made) - 1), ()))
        try:
            if not waiting:
                return [self._end(each) for each in self._ends]
        except _NotYet as missing:
            waiting[missing.call].append("an output of the model")
        (needed, number), (stuck, *_) = next(iter(waiting.items()))
        raise ValueError(
            f"The config's calls do not fit together: {stuck} needs call {number} of {needed!r}, which is "
            "not there, or itself needs what comes after it (a loop)"
        )

    def _end(self, structure: Any) -> Any:
        """The tensors of inputs or outputs."""
        if _is_leaf(structure):
            return self._tensor(structure, self._first_end)
        if isinstance(structure, dict):
            return {key: self._end(each) for key, each in structure.items()}
        if isinstance(structure, (list, tuple)):
            return type(structure)(self._end(each) for each in structure)
        raise ValueError(f"an input or output of the model is not [layer, call, output]: {structure!r:.80}")

    def _tensor(self, place: Any, first: Mapping[str, int]) -> KerasTensor:
        name, number, index = place[:3]
        if name not in self._layers:
            raise ValueError(f"The config uses the output of a layer {name!r:.80}, and has no such layer")
        made, number = self._made[name], number - first.get(name, 0)
        if number >= len(made):
            raise _NotYet(name, number)
        if number < 0 or not 0 <= index < len(made[number]):
            raise ValueError(
                f"The config uses output {index} of call {place[1]} of {name!r}, which it has not"
            )
        return made[number][index]

    def _arguments(self, layer: Layer, node: Any) -> tuple[list[Any], Json]:
        if not node:
            return [], {}
        if isinstance(node, dict) and node.keys() == {"args", "kwargs"}:
            kwargs = {key: self._argument(each) for key, each in node["kwargs"].items()}
            # What Keras fills in says nothing: training comes from the model's call, masks by themselves.
            if all(each is None for each in flatten(kwargs.get("mask"))):
                kwargs.pop("mask", None)
            if kwargs.get("training") in (None, layer._training_default):
                kwargs.pop("training", None)
            return [self._argument(each) for each in node["args"]], kwargs
        beside: Json = next((leaf[3] for leaf in _leaves(node) if len(leaf) == 4), {})
        return [self._first_argument(node)], {key: self._beside(each) for key, each in beside.items()}

    def _argument(self, value: Any) -> Any:
        """An argument as Keras 3 writes it."""
        if isinstance(value, (list, tuple)):
            return [self._argument(each) for each in value]
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                return self._tensor(value["config"]["keras_history"], self._first_call)
            if not {"class_name", "config"} <= value.keys():
                return {key: self._argument(each) for key, each in value.items()}
        return deserialize_keras_object(value)

    def _first_argument(self, node: Any) -> Any:
        """The first argument as earlier Kerases write it: one tensor, or a list, tuple or dict of them."""
        if _is_leaf(node):
            return self._tensor(node, self._first_call) if node[1] != -1 else node[2]
        if isinstance(node, dict):
            return {key: self._first_argument(each) for key, each in node.items()}
        if not isinstance(node, (list, tuple)):
            raise ValueError(f"a call in the config is no list of [layer, call, output]: {node!r:.80}")
        items = [self._first_argument(each) for each in node]
        return items[0] if len(items) == 1 else items

    def _beside(self, value: Any) -> Any:
        """Another argument: data, with tensors in it."""
        if _is_leaf(value) and value[0] in self._layers:
            return self._tensor(value, self._first_call)
        if isinstance(value, list):
            return [self._beside(each) for each in value]
        if isinstance(value, dict) and "class_name" not in value:
            return {key: self._beside(each) for key, each in value.items()}
        return deserialize_keras_object(value)


def _is_leaf(value: Any) -> bool:
    """Whether this is ``[layer, call, output]``, with what tf.keras and Keras 2 add to it or without."""
    if not isinstance(value, (list, tuple)) or len(value) not in (3, 4) or not isinstance(value[0], str):
        return False
    numbers = type(value[1]) is int and (type(value[2]) is int or value[1] == -1)
    return numbers and (len(value) == 3 or isinstance(value[3], dict))


def _leaves(structure: Any) -> Iterator[Any]:
    if _is_leaf(structure):
        yield structure
        if len(structure) == 4:
            yield from _leaves(structure[3])
    elif isinstance(structure, (list, tuple)):
        for each in structure:
            yield from _leaves(each)
    elif isinstance(structure, dict):
        for each in structure.values():
            yield from _leaves(each)


def _lowest(leaves: Iterable[Any]) -> dict[str, int]:
    """The lowest number of a call that is said of each layer."""
    found: dict[str, int] = {}
    for name, number, *_ in leaves:
        found[name] = min(number, found.get(name, number))
    return found

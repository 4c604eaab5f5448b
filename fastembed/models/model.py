"""Layers put together: by calls on `Input` tensors, in a row, or in a `call` of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import eras
from fastembed.dtypes import array_dtype, is_float
from fastembed.layers.graph import KerasTensor, Node, flatten, map_structure, pack_as
from fastembed.layers.layer import _OUTSIDE, Layer, Shape, _Context, _context, _Inside, learning_phase
from fastembed.models import configs
from fastembed.models.program import Program, Tape, check_differentiable
from fastembed.models.summary import print_summary
from fastembed.models.trainer import Trainer
from fastembed.ops import as_array

if TYPE_CHECKING:
    from typing_extensions import Self

_OLD_NAMES = {"input": "inputs", "output": "outputs"}  # of Keras 1 and 2


class Model(Trainer, Layer):
    """Layers that compute, learn and are saved together.

    ``Model(inputs, outputs)`` is made of the calls that lead from the first to the second. A subclass defines
    `call`, and if it is to learn, `backpropagate`, as for `Layer`.

    Parameters
    ----------
    inputs, outputs : KerasTensor, or list, tuple or dict of such
    name : str, optional
    **kwargs
        As for `Layer`: ``trainable``, ``dtype``. ``input`` and ``output`` are Keras 1's names.

    Raises
    ------
    ValueError
        If an output does not come from the inputs, or two layers have one name.

    Examples
    --------
    >>> import numpy as np
    >>> from fastembed import layers
    >>> user, item = (layers.Input((1,), dtype="int32", name=name) for name in ("user", "item"))
    >>> vectors = [layers.Embedding(100, 8)(each) for each in (user, item)]
    >>> score = layers.Flatten()(layers.Dot(axes=2)(vectors))
    >>> model = Model([user, item], score)
    >>> model([np.array([[3], [4]]), np.array([[7], [9]])]).shape
    (2, 1)
    >>> model.input_names, model.count_params()
    (['user', 'item'], 1600)
    """

    supports_masking = False  # as in Keras: its layers may, one by one
    _program: Any = None  # the `Program` of a model that is made of calls
    _feeds: Sequence[_Feed] = ()
    _inputs_struct: Any = None
    _outputs_struct: Any = None
    _nodes: Sequence[Node] = ()
    # Whether a batch must have the lengths of the inputs' shapes, or only as many axes.
    _lengths_count = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if cls is Model and _of_graph(args, kwargs):
            from fastembed.models.functional import Functional

            cls = Functional  # type: ignore[assignment]
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = {_OLD_NAMES.get(key, key): value for key, value in kwargs.items()}
        graph = dict(zip(("inputs", "outputs", "name"), args))
        kwargs.update(graph)
        inputs, outputs = kwargs.pop("inputs", None), kwargs.pop("outputs", None)
        if kwargs.get("name") is None:
            kwargs["name"] = eras.current().model_name(type(self).__name__)
        kwargs.setdefault("autocast", inputs is None)
        super().__init__(**kwargs)
        if inputs is not None:
            self._set_graph(inputs, outputs)
            self.built = True

    # --- The graph ----------------------------------------------------------------------------------

    def _set_graph(self, inputs: Any, outputs: Any) -> None:
        """Compute, from now on, what leads from these tensors to those."""
        for what, structure in (("inputs", inputs), ("outputs", outputs)):
            tensors = list(flatten(structure))
            if not tensors:
                raise ValueError(
                    f"`{what}` argument cannot be empty. Received: inputs={inputs}, outputs={outputs}"
                )
            for each in tensors:
                if not isinstance(each, KerasTensor):
                    raise ValueError(
                        f"All `{what}` values must be KerasTensors. Received: {what}={structure!r:.200} "
                        "including "
                        f"invalid value {each!r:.80} of type {type(each)}. fastembed.Input(shape) makes "
                        "one, and so "
                        "does every layer that is called with one"
                    )
        ins, outs = list(flatten(inputs)), list(flatten(outputs))
        if len({id(each) for each in ins}) != len(ins):
            raise ValueError(f"Each input can be given once. Received: inputs={inputs}")
        nodes, layers = _ordered(ins, outs, outputs)
        names = [layer.name for layer in layers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f'The name "{name}" is used {names.count(name)} times in the model. All layer names '
                    "should be "
                    "unique: give one of these layers another, by `name=`"
                )
        program = Program(ins, outs, nodes)
        self.__dict__.update(
            _inputs_struct=inputs,
            _outputs_struct=outputs,
            _nodes=nodes,
            _program=program,
            _feeds=[_Feed(number, tensor, self) for number, tensor in enumerate(ins)],
        )
        self._operations = layers

    def _inlined(self) -> Model | None:
        """This model, if other models may take its layers for theirs when it is one of their layers."""
        plain = type(self).call is Model.call and "call" not in self.__dict__
        return self if plain and self._program is not None else None

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order in which they compute."""
        if self._program is not None:
            return list(self._operations)
        return [layer for layer in self._held_layers() if isinstance(layer, Layer)]

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            "`Model.layers` attribute is reserved and should not be used. Please use another name."
        )

    @property
    def inputs(self) -> list[KerasTensor]:
        """What the model is given, as a flat list."""
        return list(flatten(self._graph("inputs")._inputs_struct))

    @property
    def outputs(self) -> list[KerasTensor]:
        """What it returns, as a flat list."""
        return list(flatten(self._graph("outputs")._outputs_struct))

    def _graph(self, what: str) -> Model:
        if self._program is None:
            raise AttributeError(
                f"Model '{self.name}' has no defined {what} yet: it is not made of calls on Input tensors, "
                "or not "
                "built; build it by calling it with data, or model.build(input_shape)"
            )
        return self

    @property
    def input(self) -> Any:
        """The inputs: a tensor, or several as they were given."""
        struct = self._graph("input")._inputs_struct
        return struct[0] if isinstance(struct, (list, tuple)) and len(struct) == 1 else struct

    @property
    def output(self) -> Any:
        """The outputs: a tensor, or several as they were given."""
        struct = self._graph("output")._outputs_struct
        return struct[0] if isinstance(struct, (list, tuple)) and len(struct) == 1 else struct

    @property
    def input_shape(self) -> Shape:
        """Shape of the input; of several a list."""
        shapes = [tensor.shape for tensor in self.inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Shape:
        """Shape of the output; of several a list."""
        shapes = [tensor.shape for tensor in self.outputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, by which data can be given in a dict."""
        return [str(tensor.name) for tensor in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that the outputs come from, by which losses can be given in a dict."""
        if self._program is None:
            return []
        return [tensor.node.layer.name for tensor in self.outputs if tensor.node is not None]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name, or its number in `layers`.

        Raises
        ------
        ValueError
            If there is no such layer, naming those that there are.
        """
        layers = self.layers
        if index is not None and name is not None:
            raise ValueError(
                f"Provide only a layer name or a layer index. Received: index={index}, name={name}."
            )
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"Was asked to retrieve layer at index {index} but model only has {len(layers)} layers."
                )
            return layers[index]
        if name is None:
            raise ValueError("Provide either a layer name or layer index at `get_layer`.")
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(f"No such layer: {name}. Existing layers are: {[layer.name for layer in layers]}.")

    def _lock_state(self) -> None:
        """A model can be given further attributes after it is built."""

    def build(self, input_shape: Shape = None) -> None:
        """Make the weights of a model whose `call` is its own, by a call with zeros.

        Parameters
        ----------
        input_shape : tuple, or list or dict of tuples
            With the batch, which may be None.
        """
        if self._program is not None or self.built or input_shape is None:
            self.built = True
            return
        if type(self).build is not Model.build or self.__dict__.get("_building_by_call"):
            return
        self.__dict__["_building_by_call"] = True
        try:
            zeros = _map_input_shapes(input_shape)
            self.call(zeros)
        finally:
            self.__dict__.pop("_building_by_call", None)

    # --- Called -------------------------------------------------------------------------------------

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and type(args[0]) is np.ndarray:
            plain = not self.autocast and self.activity_regularizer is None and self._inlined() is not None
            if plain and _context.get(_OUTSIDE) is _OUTSIDE and self._program.plan().direct:
                outputs, _ = self._forward(self._flat_inputs(args[0]))  # nothing else would be of use
                return self._structured_outputs(outputs)
        return super()._call(*args, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs, in the structure in which the model was given them."""
        if self._program is None:
            raise NotImplementedError(
                f"Model {type(self).__name__} does not have a `call()` method implemented, and was not "
                "given inputs "
                "and outputs."
            )
        given = self._flat_inputs(inputs)
        masks = [] if mask is None else self._arranged(mask)
        if not learning_phase():
            outputs, _ = self._program.run(given, masks)
        else:
            outputs, _, tape = self._program.record(given, masks, of_inputs=True)
            self._recorded.__dict__["tape"] = tape  # for `remember`, which follows in the same thread
        return self._structured_outputs(outputs)

    def remember(self, inputs: Any, outputs: Any) -> Any:
        """What each layer remembers; where a subclass has a `call` of its own, inputs and outputs."""
        tape = self._recorded.__dict__.pop("tape", None)
        if tape is None:
            return inputs, outputs
        return tape, [np.shape(each) for each in flatten(outputs)]

    def backpropagate(self, remembered: Any, upstream: Any) -> Any:
        """Add the gradients of all weights; return those of the inputs, in their structure."""
        tape, shapes = remembered
        upstreams = list(flatten(upstream))
        if [np.shape(each) for each in upstreams] != shapes:
            self._program.discard(tape)
            raise ValueError(
                f"upstream must have the shapes of the outputs, {shapes}, got "
                f"{[np.shape(u) for u in upstreams]}"
            )
        gradients = self._program.backpropagate(tape, upstreams)
        if all(each is None for each in gradients):
            return None
        return pack_as(self._inputs_struct, gradients)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks of the outputs."""
        if self._program is None:
            return None
        masks = [] if mask is None else self._arranged(mask)
        _, made = self._program.run(self._flat_inputs(inputs), masks)
        return self._structured_outputs(made)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shapes of the outputs for inputs of a shape."""
        if self._program is None:
            return super().compute_output_shape(input_shape)
        several = len(self._feeds) > 1
        shapes = list(input_shape.values()) if isinstance(input_shape, Mapping) else input_shape
        shapes = shapes if several or isinstance(shapes[0], (list, tuple)) else [shapes]
        if all(tuple(shape) == feed.shape for shape, feed in zip(shapes, self._feeds)):
            return map_structure(lambda tensor: tensor.shape, self._outputs_struct)
        known = {id(feed.tensor): tuple(shape) for feed, shape in zip(self._feeds, shapes)}
        for node in self._nodes:
            args, kwargs = map_structure(
                lambda each: (
                    KerasTensor(known[id(each)], each.dtype) if isinstance(each, KerasTensor) else each
                ),
                (node.args, node.kwargs),
            )
            found = node.layer._output_shapes(args, kwargs)
            one_each = [found] if len(node.outputs) == 1 else list(found)
            known.update((id(tensor), tuple(shape)) for tensor, shape in zip(node.outputs, one_each))
        return map_structure(lambda tensor: known[id(tensor)], self._outputs_struct)

    # --- In files -----------------------------------------------------------------------------------

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the whole model into a file: see `fastembed.models.save_model`.

        By position they are ``filepath, overwrite, zipped`` in Keras 3, and in the earlier eras the third is
        ``include_optimizer``, or tf.keras's ``save_format``.
        """
        from fastembed.models.files import save_model

        args, kwargs = eras.current().arguments("Model.save", args, kwargs)
        save_model(self, *args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Write the weights and the optimizer's state: see `fastembed.models.files.save_weights`."""
        from fastembed.models.files import save_weights

        args, kwargs = eras.current().arguments("Model.save_weights", args, kwargs)
        save_weights(self, *args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """Set weights and the optimizer's state from a file: see `fastembed.models.files.load_weights`.

        By position the arguments are ``filepath, skip_mismatch, by_name``, in Keras 1 and 2
        ``filepath, by_name, skip_mismatch``.
        """
        from fastembed.models.files import load_weights

        args, kwargs = eras.current().arguments("Model.load_weights", args, kwargs)
        load_weights(self, *args, **kwargs)

    # --- Written down -------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """What makes a model like this one, without its weights, as the Keras of its era writes it.

        Of a model that is made of calls: its layers, and which outputs of which layers each is called with. A
        subclass with a constructor of its own extends this, as for `Layer`.
        """
        if self._program is not None and configs.takes_graph(type(self)):
            return configs.functional_config(self)
        return super().get_config()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The model that a config of any Keras's describes.

        Parameters
        ----------
        config : mapping
            As `get_config` gives it.
        custom_objects : mapping of str to class or function, optional
            The caller's own, by the names that configs give them.

        Raises
        ------
        ValueError
            If it has a layer that there is not here, naming the first and those that there are.
        """
        if {"layers", "input_layers", "output_layers"} <= config.keys() and configs.takes_graph(cls):
            return configs.functional_from_config(cls, config, custom_objects)
        return super().from_config(config)

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that it was built for; one that is made of calls needs none."""
        return {"input_shape": None} if configs.is_functional(self) else super().get_build_config()

    def to_json(self, **kwargs: Any) -> str:
        """Class and config as JSON, for `fastembed.models.model_from_json`.

        Parameters
        ----------
        **kwargs
            For `json.dumps`.
        """
        return configs.to_json(self, **kwargs)

    def to_yaml(self, **kwargs: Any) -> str:
        """Always a RuntimeError, as in Keras since 2.6."""
        return configs.to_yaml(self, **kwargs)

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print the layers, their shapes and numbers of parameters.

        Parameters
        ----------
        line_length : int, optional
            Default: the terminal's, at most 88, or 108 where connections are shown.
        positions : sequence of float, optional
            Where columns end, as fractions of the line. Default: ``[0.45, 0.8, 1]``, or
            ``[0.3, 0.56, 0.74, 1]``.
        print_fn : callable, optional
            Called once with the whole text. Default: `print`.
        expand_nested : bool, default False
            Whether the layers of models inside have lines too.
        show_trainable : bool, default False
            Whether a column says which layers are trained.
        layer_range : (str, str), optional
            Names, or regular expressions, of the first and the last layer shown.
        """
        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range)

    # --- For training -------------------------------------------------------------------------------

    def _arranged(self, inputs: Any) -> list[Any]:
        """The values for the inputs, in their order, out of the structure that they are given in."""
        struct, count = self._inputs_struct, len(self._feeds)
        if isinstance(inputs, Mapping):
            names = (
                list(flatten(map_structure(lambda t: t, sorted(struct))))
                if isinstance(struct, Mapping)
                else None
            )
            names = names if names is not None else self.input_names
            missing = [name for name in names if name not in inputs]
            if missing:
                raise ValueError(
                    f'Missing data for input "{missing[0]}". You passed a data dictionary with keys '
                    f"{list(inputs)}. "
                    f"Expected the following keys: {names}"
                )
            return [each for name in names for each in flatten(inputs[name])]
        if not isinstance(inputs, (list, tuple)):
            given = [inputs]
        elif count == 1 and not any(_is_array(each) for each in inputs):
            given = [inputs]  # a list of numbers
        else:
            given = [each for part in inputs for each in (part if _holds_arrays(part) else [part])]
        if len(given) != count:
            raise ValueError(
                f'Layer "{self.name}" expects {count} input(s), {self.input_names}, but it received '
                f"{len(given)} "
                "input tensors. Pass them as a list in this order, or as a dict by these names"
            )
        return given

    def _flat_inputs(self, inputs: Any) -> list[Any]:
        """The arrays for the inputs, checked and of their dtypes."""
        feeds = self._feeds
        if not feeds:
            return [inputs]
        given = [inputs] if len(feeds) == 1 and type(inputs) is np.ndarray else self._arranged(inputs)
        stay = self._program.plan().integers_stay
        return [feed.take(each, integers) for feed, each, integers in zip(feeds, given, stay)]

    def _structured_outputs(self, outputs: Sequence[Any]) -> Any:
        """The outputs in the structure in which the model was given them."""
        struct = self._outputs_struct
        if len(outputs) == 1 and not isinstance(struct, Mapping):
            return outputs[0]
        return pack_as(struct, outputs) if struct is not None else list(outputs)

    def _forward(self, inputs: Sequence[Any], training: bool | None = None) -> tuple[list[Any], list[Any]]:
        """Outputs and masks for what `_flat_inputs` gave."""
        if self._inlined() is None:
            outputs = self(self._user_inputs(inputs), **({} if training is None else {"training": training}))
            flat = list(flatten(outputs))
            return flat, [None] * len(flat)
        program: Program = self._program
        self._forget_losses()
        if not training and program.plan().direct:
            return program.run(inputs)
        with _Inside(_Context(training, self, _context.get(_OUTSIDE))):
            return program.run(inputs)

    def _forget_losses(self) -> None:
        program = self._program
        if program is None or not program.plan().direct:
            super()._forget_losses()
        else:  # no layer of the graph holds others
            self._losses.clear()
            program.forget_losses()

    def _record(self, inputs: Sequence[Any]) -> tuple[list[Any], list[Any], Any]:
        """Outputs, masks and the tape that `_backpropagate` takes: a call that trains."""
        if self._inlined() is None:
            check_differentiable(self)
            outputs = self(self._user_inputs(inputs), training=True)
            flat = list(flatten(outputs))
            return flat, [None] * len(flat), outputs
        self._forget_losses()
        program: Program = self._program
        with _Inside(_Context(True, self, _context.get(_OUTSIDE))):
            return program.record(inputs)

    def _backpropagate(self, tape: Any, upstreams: Sequence[Any]) -> None:
        """Add the gradients of all weights, from those of the outputs; None where an output has none."""
        if isinstance(tape, Tape):
            self._program.backpropagate(tape, upstreams)
        else:
            whole = [
                np.zeros_like(each) if upstream is None else upstream
                for each, upstream in zip(flatten(tape), upstreams)
            ]
            self.backward(pack_as(tape, whole))

    def _discard(self, tape: Any) -> None:
        """Forget a recorded call that is not differentiated."""
        if isinstance(tape, Tape):
            self._program.discard(tape)
        else:
            calls = self._recorded.__dict__.get("calls")
            if calls:
                calls.clear()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        inputs = [feed.tensor.node for feed in self._feeds if feed.tensor.node is not None]
        for node in (*inputs, *self._nodes):  # which layers do not keep when they are copied alone
            node.note()

    def _user_inputs(self, inputs: Sequence[Any]) -> Any:
        return inputs[0] if len(inputs) == 1 else pack_as(self._inputs_struct, inputs)


class _Feed:
    """One input: what it takes."""

    def __init__(self, number: int, tensor: KerasTensor, model: Model) -> None:
        self.tensor, self.shape, self._number, self._model = tensor, tensor.shape, number, model.name
        self._ndim = len(tensor.shape)
        lengths = enumerate(tensor.shape) if model._lengths_count else ()
        self._lengths = [(axis, length) for axis, length in lengths if length is not None]
        self._floats = is_float(tensor.dtype)
        self._dtype = array_dtype(tensor.dtype)

    def take(self, value: Any, integers_stay: bool) -> Any:
        """The array to compute with; ValueError unless its shape fits."""
        if type(value) is not np.ndarray:
            value = as_array(value)
        if value.ndim != self._ndim:
            value = self._of_this_rank(value)
        shape = value.shape
        for axis, length in self._lengths:
            if shape[axis] != length:
                raise ValueError(
                    f"Input {self._number} with name '{self.tensor.name}' of layer '{self._model}' is "
                    "incompatible "
                    f"with the layer: expected shape={self.shape}, found shape={shape}"
                )
        dtype = value.dtype
        if dtype is not self._dtype:
            kind = dtype.kind
            if (kind == "f" and self._floats) or (kind in "biu" and not integers_stay):
                value = value.astype(self._dtype)
        return value

    def _of_this_rank(self, value: Any) -> Any:
        """As Keras does, a last axis of length 1 is taken away or added."""
        if value.ndim == self._ndim + 1 and value.shape[-1] == 1:
            return value[..., 0]
        if value.ndim == self._ndim - 1 and self.shape[-1] == 1:
            return value[..., np.newaxis]
        raise ValueError(
            f"Invalid input shape for input {self._number} with name '{self.tensor.name}' of model "
            f"'{self._model}'. "
            f"Expected shape {self.shape}, but input has incompatible shape {value.shape}"
        )


Model._say_arguments = (Layer.get_config, Model.get_config)


def _of_graph(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a model's constructor is given inputs and outputs."""
    named = {_OLD_NAMES.get(key, key) for key in kwargs}
    return len(args) >= 2 or (len(args) == 1 and "outputs" in named) or {"inputs", "outputs"} <= named


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") or hasattr(value, "__array__")


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(_is_array(each) for each in value)


def _map_input_shapes(shape: Any) -> Any:
    """Zeros of a shape, or of several, with one example where the batch is open."""
    if isinstance(shape, Mapping):
        return {key: _map_input_shapes(each) for key, each in shape.items()}
    if any(isinstance(each, (list, tuple)) for each in shape):
        return [_map_input_shapes(each) for each in shape]
    return np.zeros([1 if length is None else length for length in shape], np.float32)


def _ordered(
    inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor], struct: Any
) -> tuple[list[Node], list[Layer]]:
    """The calls between inputs and outputs, each after those that it needs, and the layers in Keras's order.

    Keras orders layers by how many calls follow, most first, and those with equally many as a walk from the
    outputs back to the inputs comes upon them. Weights, files and summaries follow that order.
    """
    given = {id(tensor) for tensor in inputs}
    nodes: list[Node] = []
    seen: dict[int, int] = {}  # of layers: in which order the walk came upon them
    state: dict[int, bool] = {}  # of nodes: whether all before them is done
    for number, output in enumerate(outputs):
        stack = [(output, False)]
        while stack:
            tensor, done = stack.pop()
            node = tensor.node
            if node is None or (id(node) in state and (state[id(node)] or not done)):
                if node is None and id(tensor) not in given:
                    raise _not_connected(number, tensor)
                continue
            if done:
                state[id(node)] = True
                nodes.append(node)
                continue
            if id(tensor) in given:
                if node.is_input:
                    seen.setdefault(id(node.layer), len(seen))
                    state[id(node)] = True
                    nodes.append(node)
                continue
            if node.is_input:
                raise _not_connected(number, tensor)
            seen.setdefault(id(node.layer), len(seen))
            state[id(node)] = False
            stack.append((tensor, True))
            stack.extend((each, False) for each in reversed(node.input_tensors))
    depth_of_node: dict[int, int] = {}
    depth_of_layer: dict[int, int] = {}
    layers: dict[int, Layer] = {}
    made_by = {id(tensor): node for node in nodes for tensor in node.outputs}
    for node in reversed(nodes):
        depth = max(depth_of_node.get(id(node), 0), depth_of_layer.get(id(node.layer), 0))
        depth_of_layer[id(node.layer)] = depth_of_node[id(node)] = depth
        layers[id(node.layer)] = node.layer
        for tensor in () if all(id(each) in given for each in node.outputs) else node.input_tensors:
            before = made_by.get(id(tensor))
            if before is not None:
                depth_of_node[id(before)] = max(depth + 1, depth_of_node.get(id(before), 0))
    for tensor in inputs:  # what no output needs
        node = tensor.node
        if node is not None and node.is_input and id(node.layer) not in layers:
            layers[id(node.layer)], depth_of_layer[id(node.layer)], seen[id(node.layer)] = node.layer, 0, -1
    order = sorted(layers, key=lambda key: (-depth_of_layer[key], seen[key]))
    computed = [node for node in nodes if not any(id(each) in given for each in node.outputs)]
    return computed, [layers[key] for key in order]


def _not_connected(number: int, tensor: KerasTensor) -> ValueError:
    return ValueError(
        f"Output {number} is not connected to `inputs`: it needs {tensor!r}, which is not one of them. Give "
        "that as an "
        "input too, or make the output of calls that begin with the inputs"
    )

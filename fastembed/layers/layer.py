"""The life of a layer: made, built at the first call, called, differentiated, written down.

Knows nothing of embeddings. A layer computes in `call`; what its gradient needs later it names in
`remember`, and `backpropagate` turns that and the gradient of the output into gradients.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, ClassVar, NamedTuple

import numpy as np

from fastembed import constraints, dtype_policies, initializers, regularizers
from fastembed._rows import Table, TableCall, add_detours
from fastembed.dtypes import array_dtype, is_float, standardize_dtype
from fastembed.locks import Lock
from fastembed.names import automatic_name, checked_name, snake_case
from fastembed.variable import Variable, swap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Shape = Any  # a tuple of int or None; a list of such tuples where a layer takes several inputs


class _Context(NamedTuple):
    """What a layer that is called or built tells the layers inside it."""

    training: bool | None
    layer: Layer | None  # the innermost one
    outer: _Context | None


_context: ContextVar[_Context] = ContextVar("fastembed.call")
_OUTSIDE = _Context(training=None, layer=None, outer=None)


class _Inside:
    """``with _Inside(context):`` layers are told ``context``."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: _Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = _context.set(self._context)
        if self._context.training:
            add_detours(1)  # a table alone cannot record what backward needs

    def __exit__(self, *_: object) -> None:
        if self._context.training:
            add_detours(-1)
        _context.reset(self._token)


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Every layer called inside acts as if it had been called with ``training=True``.

    For code that does not pass ``training``: afterwards `Layer.backward` has what it needs. A call
    that says ``training=False`` is not recorded. Holds for the current context (`contextvars`), as
    `fastembed.num_threads` does: threads started inside the block do not see it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastembed.layers import Embedding
    >>> embedding = Embedding(10, 2)
    >>> with recording():
    ...     rows = embedding(np.array([3, 3]))
    >>> embedding.backward(np.ones((2, 2)))
    >>> embedding.embeddings.gradient.values
    array([[2., 2.]], dtype=float32)
    """
    with _Inside(_context.get(_OUTSIDE)._replace(training=True)):
        yield


# Layers are built one at a time: two threads that call a new layer must not both make its weights.
_build_lock = Lock()


# --- The layer ------------------------------------------------------------------------------------

# Arguments of some Keras that say nothing a layer here needs: shapes are found at the first call.
_ONLY_NONE = ("lora_rank", "lora_alpha", "quantization_config")  # what Keras writes where there is none
_WITHOUT_MEANING = (
    "input_shape",
    "batch_input_shape",
    "batch_size",
    "input_dtype",
    "input_length",
    "dynamic",
)


class Layer(TableCall):
    """Base of all layers: subclass it as you would Keras's.

    Parameters
    ----------
    activity_regularizer : optional
        Its value for the layer's output, divided by the batch size, is one of `losses`.
    trainable : bool, default True
    dtype : str, dtype policy or its config, optional
        Default: `fastembed.backend.floatx`.
    autocast : bool, default True
        Whether floats given to the layer are converted to its compute dtype.
    name : str, optional
        Without "/". Default: the class's name in snake case, numbered.
    weights : list of array_like, optional
        The first values of the weights.

    Raises
    ------
    ValueError
        For arguments that no Keras layer takes, or values that no layer can have.

    Examples
    --------
    >>> import numpy as np
    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
    ...     def call(self, inputs):
    ...         return inputs * self.scale
    ...     def backpropagate(self, remembered, upstream):
    ...         inputs, outputs = remembered
    ...         self.scale.add_gradient((upstream * inputs).sum(axis=0))
    ...         return upstream * self.scale
    >>> layer = Scale()
    >>> layer(np.ones((2, 3), np.float32), training=True).shape
    (2, 3)
    >>> layer.backward(np.ones((2, 3), np.float32))
    array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    >>> layer.scale.gradient
    array([2., 2., 2.], dtype=float32)
    """

    _call_parameters: ClassVar[frozenset[str]] = frozenset()
    _first_parameter: ClassVar[str] = "inputs"
    # Kept from __setattr__, which looks into what users put into attributes:
    _trainable_weights: list[Variable]
    _non_trainable_weights: list[Variable]
    _holders: dict[str, None]  # the attributes that may hold variables and layers
    _layers: list[Layer]  # what _look_into_attributes last found there
    _losses: list[Any]
    _initial_weights: Sequence[ArrayLike] | None
    _under_construction: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parameters = list(inspect.signature(cls.call).parameters.values())
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        cls._call_parameters = frozenset({"training"} if takes_any else {p.name for p in parameters})
        cls._first_parameter = parameters[1].name if len(parameters) > 1 else "inputs"
        if "build" in cls.__dict__:
            cls.build = _building(cls.build)  # type: ignore[method-assign]

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        weights: Sequence[ArrayLike] | None = None,
        **kwargs: Any,
    ) -> None:
        meaningless = {*_WITHOUT_MEANING, *(key for key in _ONLY_NONE if kwargs.get(key) is None)}
        unknown = {key: value for key, value in kwargs.items() if key not in meaningless}
        if unknown:
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {unknown}")
        checked_name(name)
        self.__dict__.setdefault("_holders", {})
        self.__dict__.update(
            _trainable_weights=[],
            _non_trainable_weights=[],
            _layers=[],
            _losses=[],
            _initial_weights=weights,
            _under_construction=False,
        )
        self.name = name if name is not None else automatic_name(snake_case(type(self).__name__))
        self.dtype_policy = dtype_policies.get(dtype)
        self.autocast = autocast
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.supports_masking = False
        self.built = False
        self._trainable = _checked_bool("trainable", trainable)
        self._look_into_attributes()  # those that were set before

    # --- Called -----------------------------------------------------------------------------------

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        """The whole way of a call. `TableCall.__call__` comes here unless a table can answer alone."""
        if "_layers" not in self.__dict__:
            raise _not_initialised(self)
        changes = self._changes
        if not args and self._first_parameter in kwargs:
            args = (kwargs.pop(self._first_parameter),)
        outer = _context.get(_OUTSIDE)
        given = kwargs.pop("training", None)
        training = outer.training if given is None else given
        if training is not None and "training" in self._call_parameters:
            kwargs["training"] = training
        recorded = training and type(self).backpropagate is not Layer.backpropagate
        if args:
            inputs = self._as_input(args[0])
            # What backward will see is nobody else's to change; the call itself sees the same.
            args = (_copied(inputs) if recorded else inputs, *args[1:])
        if not self.built or self._under_construction:
            self._build_for(args[0] if args else None)
        if outer.layer is None:
            self._forget_losses()
        with _Inside(_Context(training, self, outer)):
            outputs = self.call(*args, **kwargs)
        if self.activity_regularizer is not None:
            batch = np.shape(outputs)[0] if np.ndim(outputs) else 1
            self._losses.append(self.activity_regularizer(outputs) / max(1, batch))
        if recorded:
            remembered = self.remember(args[0] if args else None, outputs)
            shape = getattr(outputs, "shape", None)
            self._recorded.__dict__.setdefault("calls", []).append((remembered, shape))
        self._answer_with(self._answering_table(), changes, self._remembers_inputs())
        return outputs

    def _as_input(self, inputs: Any) -> Any:
        """Numbers as arrays, floats in the compute dtype; what `call` alone can understand as it is."""
        if isinstance(inputs, (list, tuple)):
            if any(hasattr(item, "__array__") for item in inputs):
                return type(inputs)(self._as_input(item) for item in inputs)
            return inputs
        if hasattr(inputs, "__array__") and not isinstance(inputs, (np.ndarray, Variable)):
            inputs = np.asarray(inputs)
        floats = isinstance(inputs, np.ndarray) and inputs.dtype.kind == "f"
        if floats and self.autocast and self.dtype_policy.is_floating:
            return inputs.astype(array_dtype(self.compute_dtype), copy=False)
        return inputs

    def _build_for(self, inputs: Any) -> None:
        several = isinstance(inputs, (list, tuple)) and any(hasattr(item, "shape") for item in inputs)
        with _build_lock:
            if not self.built:
                self.build([np.shape(item) for item in inputs] if several else np.shape(inputs))
                self.built = True  # also where a build was put on the instance
            self._look_into_attributes()

    def _answering_table(self) -> Table | None:
        """The table that gives just what `call` would for plain arrays of ids, if there is one."""
        return None

    def _remembers_inputs(self) -> bool:
        """Whether all that `remember` keeps of such a call is a private copy of the ids."""
        return False

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs of this shape. Overridden by layers that have any."""
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Compute the output. Overridden by every layer."""
        raise NotImplementedError(f"Layer {type(self).__name__} does not have a `call()` method implemented.")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output for inputs of a shape: the same, unless overridden.

        >>> Layer().compute_output_shape((None, 3))
        (None, 3)
        """
        return input_shape

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the output: that of the input where the layer supports masking, else None.

        Parameters
        ----------
        inputs : array_like
        mask : ndarray of bool, optional
            Of the input: True where an element counts.
        """
        return mask if self.supports_masking else None

    # --- Differentiated ---------------------------------------------------------------------------

    def remember(self, inputs: Any, outputs: Any) -> Any:
        """What `backpropagate` will need of a call; by default inputs and outputs.

        Only layers that define `backpropagate` are asked. ``inputs`` are a private copy, ``outputs``
        are the array that the caller has.
        """
        return inputs, outputs

    def backpropagate(self, remembered: Any, upstream: NDArray[Any]) -> Any:
        """Add gradients to the weights and return the gradient of the input, or None where it has none.

        Parameters
        ----------
        remembered
            What `remember` returned for the call.
        upstream : ndarray
            Gradient of the loss with respect to the call's output.
        """
        raise RuntimeError(
            f"{type(self).__name__} cannot be differentiated: it defines no "
            "backpropagate(remembered, upstream)"
        )

    def backward(self, upstream: ArrayLike) -> Any:
        """Turn the gradient of the last recorded call's output into gradients of weights and input.

        Calls are recorded with ``training=True`` and inside `recording`, by each thread for itself;
        a layer called twice is differentiated twice, the last call first. A call is remembered until then, so
        ``training=True`` without `backward` fills memory.

        Parameters
        ----------
        upstream : array_like, of the output's shape

        Returns
        -------
        ndarray or None
            Gradient of the loss with respect to the input, None where the input has none (ids).

        Raises
        ------
        RuntimeError
            If no recorded call is left, or the layer defines no `backpropagate`.
        ValueError
            If ``upstream`` has not the shape of the output; the call can then be differentiated again.
        """
        if type(self).backpropagate is Layer.backpropagate:
            return self.backpropagate(None, np.asarray(upstream))  # which says so
        calls = self._recorded.__dict__.get("calls")
        if not calls:
            raise RuntimeError(
                f"backward of layer {self.name!r} has no recorded call left: call the layer with "
                "training=True or inside fastembed.recording() first, once for each backward"
            )
        (remembered, shape), upstream = calls[-1], np.asarray(upstream)
        if isinstance(shape, Table):  # which answered alone
            shape = (*remembered.shape, *shape.shape[1:])
        if upstream.dtype.kind == "c":
            raise TypeError(f"upstream must be real numbers, got dtype {upstream.dtype}")
        if shape is not None and upstream.shape != shape:
            raise ValueError(f"upstream must have the shape of the output, {shape}, got {upstream.shape}")
        gradient = self.backpropagate(remembered, upstream)
        calls.pop()  # only now: after an error the call can be differentiated again
        return gradient

    # --- Weights ----------------------------------------------------------------------------------

    def add_weight(self, *args: Any, **kwargs: Any) -> Variable:
        """Make a weight of this layer.

        Parameters
        ----------
        shape : tuple of int, default ()
        initializer : optional
            Default: Glorot's uniform for floats, zeros otherwise.
        dtype : str, optional
            Default: the layer's variable dtype.
        trainable : bool, default True
        regularizer, constraint : optional
        name : str, optional

        Returns
        -------
        Variable

        Notes
        -----
        By position these come in the order of whichever Keras the code was written for:
        ``(shape, initializer, dtype)`` in Keras 3, ``(shape, initializer, name, trainable, regularizer,
        constraint)`` in Keras 1, ``(name, shape, dtype, initializer, regularizer, trainable,
        constraint)`` in Keras 2 and tf.keras. A leading string tells the last from the others, and a
        third argument that names a dtype Keras 3 from Keras 1.
        """
        settings = {**_by_position(args), **kwargs}
        if overlap := set(_by_position(args)) & set(kwargs):
            raise ValueError(f"add_weight() got {', '.join(sorted(overlap))} both by position and by keyword")
        return self._add_weight(**settings)

    add_variable = add_weight

    def _add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool | None = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
        **elsewhere: Any,
    ) -> Variable:
        unknown = set(elsewhere) - _OF_OTHER_BACKENDS
        if unknown:
            raise TypeError(f"add_weight() got unexpected keyword arguments: {', '.join(sorted(unknown))}")
        dtype = self.variable_dtype if dtype is None else standardize_dtype(dtype)
        if initializer is None:
            initializer = "glorot_uniform" if is_float(dtype) else "zeros"
        shape = () if shape is None else (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        trainable = True if trainable is None else trainable
        variable = Variable(
            initializers.get(initializer),
            shape=shape,
            dtype=dtype,
            trainable=trainable and self._trainable,
            name=name,
            regularizer=regularizers.get(regularizer),
            constraint=constraints.get(constraint),
        )
        self._track(variable, trainable=trainable)
        return variable

    # --- What it holds ----------------------------------------------------------------------------

    def _track(self, variable: Variable, trainable: bool = True) -> None:
        if not any(variable is known for known in self._own_weights()):
            variable.path = f"{self._path()}/{variable.name}"
            (self._trainable_weights if trainable else self._non_trainable_weights).append(variable)

    def _path(self) -> str:
        """The names of the layers that are being called or built around this one, and its own."""
        context: _Context | None = _context.get(_OUTSIDE)
        names = [] if context is not None and context.layer is self else [self.name]
        while context is not None and context.layer is not None:
            names.append(context.layer.name)
            context = context.outer
        return "/".join(reversed(names))

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Variable, Layer)) and "_layers" not in self.__dict__:
            raise _not_initialised(self)
        super().__setattr__(name, value)
        self._reconsider()
        if isinstance(value, (Variable, Layer, list, tuple, dict)):
            self.__dict__.setdefault("_holders", {})[name] = None
            if "_layers" in self.__dict__:
                self._look_into_attributes()

    def __delattr__(self, name: str) -> None:
        value = self.__dict__.get(name)
        super().__delattr__(name)
        self._reconsider()
        self._holders.pop(name, None)
        for weights in (self._trainable_weights, self._non_trainable_weights):
            weights[:] = [variable for variable in weights if variable is not value]
        self._look_into_attributes()

    def _look_into_attributes(self) -> None:
        """Find the layers in attributes, also in lists, tuples and dicts, and track the variables."""
        layers: dict[int, Layer] = {}
        for name in self._holders:
            for held in _held_by(self.__dict__.get(name)):
                if isinstance(held, Layer):
                    layers[id(held)] = held
                else:
                    self._track(held, trainable=held.trainable)
        self.__dict__["_layers"] = list(layers.values())

    def _with_layers_inside(self) -> list[Layer]:
        """This layer and all those inside, each once, outer ones first."""
        found: dict[int, Layer] = {}
        todo: list[Layer] = [self]
        while todo:
            layer = todo.pop()
            if id(layer) not in found:
                found[id(layer)] = layer
                layer._look_into_attributes()
                todo += reversed(layer._layers)
        return list(found.values())

    def _own_weights(self) -> list[Variable]:
        return [*self._trainable_weights, *self._non_trainable_weights]

    @property
    def weights(self) -> list[Variable]:
        """All weights: this layer's trainable ones, its others, then those of the layers it holds."""
        held = (v for layer in self._with_layers_inside() for v in layer._own_weights())
        return list({id(v): v for v in held}.values())

    variables = weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        return [v for v in self.weights if v.trainable] if self._trainable else []

    @trainable_weights.setter
    def trainable_weights(self, variables: Sequence[Variable]) -> None:
        """How layers written for Keras 1 name their weights in ``build``."""
        for variable in variables:
            self._track(variable)

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone."""
        return [v for v in self.weights if not v.trainable] if self._trainable else self.weights

    @non_trainable_weights.setter
    def non_trainable_weights(self, variables: Sequence[Variable]) -> None:
        """How layers written for Keras 1 name their other weights in ``build``."""
        for variable in variables:
            self._track(variable, trainable=False)

    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether training changes this layer. Setting it sets it for all weights and layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._with_layers_inside():
            layer._trainable = bool(value)
            for variable in layer._trainable_weights:
                variable.trainable = bool(value)

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights, in the order of `weights`."""
        return [variable.numpy() for variable in self.weights]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Set all weights, in the order of `weights`.

        Raises
        ------
        ValueError
            If number or shapes are not those of the layer's weights; nothing is then changed.
        """
        variables = self.weights
        if len(weights) != len(variables):
            raise ValueError(
                f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of length "
                f"{len(weights)}, but the layer was expecting {len(variables)} weights."
            )
        values = [np.asarray(value) for value in weights]
        for variable, value in zip(variables, values):
            if variable.shape != value.shape:
                raise ValueError(
                    f"Layer {self.name} weight shape {variable.shape} is not compatible with provided "
                    f"weight shape {value.shape}."
                )
        # All that can fail comes first.
        swap([(variable, variable.memory_for(value)) for variable, value in zip(variables, values)])

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Put copies of the layer's own weights (not of those of layers inside) into ``store``.

        Parameters
        ----------
        store : dict or HDF5 group
            Gets the keys ``"0"``, ``"1"``, ...

        Examples
        --------
        >>> layer, store = Layer(), {}
        >>> _ = layer.add_weight(shape=(2,), initializer="ones")
        >>> layer.save_own_variables(store)
        >>> store
        {'0': array([1., 1.], dtype=float32)}
        """
        for number, variable in enumerate(self._own_weights()):
            store[str(number)] = variable.numpy()

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Set the layer's own weights to what `save_own_variables`, here or in Keras, put into ``store``.

        Raises
        ------
        KeyError, TypeError, ValueError
            If ``store`` does not hold just these weights; nothing is then changed.
        """
        variables = self._own_weights()
        values = self._values_in(store, [variable.name for variable in variables])
        swap([(variable, variable.memory_for(value)) for variable, value in zip(variables, values)])

    def _values_in(self, store: Mapping[str, Any], names: Sequence[str]) -> list[NDArray[Any]]:
        """The arrays in a store, one for each name."""
        found = len(store.keys())
        if found and not self.built and not names:
            raise ValueError(
                f"Layer '{self.name}' was never built and thus it doesn't have any variables. However the "
                f"weights file lists {found} variables for this layer. Build it first: "
                "`layer.build(input_shape)`, or by a call"
            )
        if found != len(names):
            raise ValueError(
                f"Layer '{self.name}' expected {len(names)} variables, but received {found} variables during "
                f"loading. Expected: {names}"
            )
        return [np.asarray(store[str(number)]) for number in range(len(names))]

    def count_params(self) -> int:
        """The number of numbers in all weights.

        Raises
        ------
        ValueError
            If the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer '{self.name}', but the layer isn't built. "
                f"You can build it manually via: `layer.build(input_shape)`."
            )
        return sum(int(np.prod(variable.shape, dtype=object)) for variable in self.weights)

    # --- Losses -----------------------------------------------------------------------------------

    def add_loss(self, loss: ArrayLike | Sequence[ArrayLike]) -> None:
        """Add a number (or several) to `losses` until the layer is next called.

        >>> layer = Layer()
        >>> layer.add_loss(2.5)
        >>> layer.losses
        [2.5]
        """
        self._losses.extend(loss if isinstance(loss, (list, tuple)) else [loss])
        self._reconsider()  # a call that a table answers alone would not forget it

    @property
    def losses(self) -> list[Any]:
        """What `add_loss` and activity regularizers gave in the last call, and the regularizers' values now.

        A regularizer counts as long as its weight is trainable, as in Keras 3.
        """
        losses = [loss for layer in self._with_layers_inside() for loss in layer._losses]
        penalties = ((v.regularizer, v.value) for v in self.trainable_weights)
        return losses + [regularizer(value) for regularizer, value in penalties if regularizer is not None]

    def _forget_losses(self) -> None:
        for layer in self._with_layers_inside() if self._holders else [self]:
            layer._losses.clear()

    # --- Dtypes -----------------------------------------------------------------------------------

    @property
    def dtype_policy(self) -> dtype_policies.DTypePolicy:
        """The layer's dtypes. A quantised policy, set on a layer that is built, quantises its table."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        policy = dtype_policies.get(value)
        self._prepare_for(policy)
        self._dtype_policy = policy

    def _prepare_for(self, policy: dtype_policies.DTypePolicy) -> None:
        """Make the layer fit a policy that it is about to have."""
        if policy.quantization_mode is not None:
            raise NotImplementedError(
                f"Layer {type(self).__name__} cannot be quantised, so its dtype policy cannot be "
                f"{policy.name!r}"
            )

    @property
    def quantization_mode(self) -> str | None:
        """``"int8"`` or ``"int4"`` for a quantised layer, otherwise None."""
        return self.dtype_policy.quantization_mode

    @property
    def dtype(self) -> str:
        """The dtype of the layer's variables."""
        return self.dtype_policy.variable_dtype

    variable_dtype = dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype of the layer's results."""
        return self.dtype_policy.compute_dtype

    # --- Written down -----------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one (without its weights), as values that JSON can hold.

        >>> config = Layer(name="mine").get_config()
        >>> config["name"], config["dtype"]["config"]
        ('mine', {'name': 'float32'})
        """
        config = {
            "name": self.name,
            "trainable": self._trainable,
            "dtype": dtype_policies.serialize(self.dtype_policy),
        }
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layer:
        """The layer that a config describes."""
        return cls(**config)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)  # said, because the compiled base has more, which is made anew

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _building(build: Callable[..., None]) -> Callable[..., None]:
    """A layer's ``build`` as it is called, by the layer or by hand: once, whole or not at all."""

    @functools.wraps(build)
    def build_once(self: Layer, *args: Any, **kwargs: Any) -> None:
        outer = _context.get(_OUTSIDE)
        if outer.layer is self:  # a subclass's build calls this one
            build(self, *args, **kwargs)
            return
        with _build_lock:
            if self.built:
                return
            before = dict(self.__dict__)
            weights = [*self._trainable_weights], [*self._non_trainable_weights]
            self.__dict__["_under_construction"] = True
            try:
                with _Inside(_Context(outer.training, self, outer)):
                    build(self, *args, **kwargs)
                if self._initial_weights is not None:
                    self.set_weights(self._initial_weights)
                self.built = True
                self.__dict__["_initial_weights"] = None
            except BaseException:
                self.__dict__.clear()
                self.__dict__.update(before)
                self._trainable_weights[:], self._non_trainable_weights[:] = weights
                self._look_into_attributes()
                raise
            finally:
                self.__dict__["_under_construction"] = False

    return build_once


Layer.build = _building(Layer.build)  # type: ignore[method-assign]


def _held_by(value: Any) -> Iterator[Variable | Layer]:
    """The variables and layers in a value: itself, or what lists, tuples and dicts hold."""
    if isinstance(value, (Variable, Layer)):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _held_by(item)
    elif isinstance(value, dict):
        yield from _held_by(list(value.values()))


def _copied(inputs: Any) -> Any:
    """Arrays copied; several in a list too."""
    if isinstance(inputs, np.ndarray):
        return inputs.copy()
    if isinstance(inputs, (list, tuple)):
        return type(inputs)(_copied(item) for item in inputs)
    return inputs


def positive_integer(name: str, value: Any) -> int:
    """``value`` as an int, NumPy's too; ValueError unless it is a positive one."""
    try:
        size = operator.index(value)
    except TypeError:
        size = 0
    if size <= 0 or isinstance(value, (bool, np.bool_)):
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r} (of type {type(value)})"
        )
    return size


# --- What callers of other eras mean --------------------------------------------------------------

_KERAS_2 = ("name", "shape", "dtype", "initializer", "regularizer", "trainable", "constraint")
_KERAS_3 = ("shape", "initializer", "dtype")
_KERAS_1 = ("shape", "initializer", "name", "trainable", "regularizer", "constraint")

# Arguments of add_weight that mean something to TensorFlow only.
_OF_OTHER_BACKENDS = {
    "aggregation", "autocast", "caching_device", "collections", "experimental_autocast", "getter", "layout",
    "overwrite_with_gradient", "partitioner", "synchronization", "use_resource",
}  # fmt: skip


def _by_position(args: tuple[Any, ...]) -> dict[str, Any]:
    """Positional arguments of add_weight, named."""
    if args and (isinstance(args[0], str) or args[0] is None):
        order: tuple[str, ...] = _KERAS_2
    elif len(args) > 2 and not _names_dtype(args[2]):
        order = _KERAS_1
    else:
        order = _KERAS_3
    if len(args) > len(order):
        raise TypeError(f"add_weight() takes at most {len(order)} positional arguments ({len(args)} given)")
    return dict(zip(order, args))


def _names_dtype(value: Any) -> bool:
    try:
        standardize_dtype(value)
    except ValueError:
        return False
    return True


def _checked_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(
            f"Expected `{name}` to be a boolean. Received: {name}={value!r} (of type {type(value)})"
        )
    return value


def _not_initialised(layer: Layer) -> RuntimeError:
    return RuntimeError(
        f"In layer '{type(layer).__name__}', you forgot to call `super().__init__()` as the first statement "
        "in the `__init__()` method. Go add it!"
    )

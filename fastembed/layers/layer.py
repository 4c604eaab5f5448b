"""The life of a layer: made, built at the first call, called, differentiated, written down.

Knows nothing of embeddings. A layer computes in `call`; what its gradient needs later it names in
`remember`, and `backpropagate` turns that and the gradient of the output into gradients.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, ClassVar, NamedTuple

import numpy as np

from fastembed import dtype_policies, eras, regularizers
from fastembed._rows import Table, add_detours
from fastembed.dtypes import array_dtype, is_float, result_type
from fastembed.layers.graph import KerasTensor, Node, flatten, holds_tensor, map_structure
from fastembed.layers.input_spec import assert_input_compatibility
from fastembed.layers.state import State, not_initialised
from fastembed.locks import Lock
from fastembed.ops import as_array
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

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


def learning_phase() -> int:
    """1 inside a layer's call that trains, or inside `fastembed.recording`; otherwise 0.

    >>> learning_phase()
    0
    >>> with recording():
    ...     learning_phase()
    1
    """
    return int(bool(_context.get(_OUTSIDE).training))


# Layers are built one at a time: two threads that call a new layer must not both make its weights.
_build_lock = Lock()


# --- The layer ------------------------------------------------------------------------------------

# Arguments of some Keras that say nothing a layer here needs: shapes are found at the first call.
_WITHOUT_MEANING = ("dynamic", "implementation", "input_length")


class Layer(State):
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

    supports_masking = False
    #: Whether the output may have a mask where the input has none; said by classes with a `compute_mask`.
    makes_masks: ClassVar[bool] = False
    #: Whether the output never has a mask.
    ends_masks: ClassVar[bool] = False
    #: The names of the layers around it and its own, from when it is built: ``"model/embedding"``.
    path: str | None = None
    #: What the inputs must be: an `InputSpec`, or one for each of several inputs.
    input_spec: Any = None
    #: Shape of a batch of inputs, with None where it was left open; what old configs have of it.
    batch_input_shape: tuple[int | None, ...] | None = None
    input_dtype_said: str | None = None

    #: Whether `layers` lists all layers inside, and leads files to them before any other attribute.
    saves_layers_first: ClassVar[bool] = False

    _call_signature: ClassVar[inspect.Signature]
    _call_parameters: ClassVar[frozenset[str]] = frozenset()
    _first_parameter: ClassVar[str] = "inputs"
    _remember_parameters: ClassVar[frozenset[str]] = frozenset()
    _training_default: ClassVar[bool | None] = None
    # The `get_config` of these classes writes a subclass's arguments down as they were given.
    _say_arguments: ClassVar[tuple[Any, ...]] = ()
    _build_parameters: ClassVar[tuple[str, ...]] = ("input_shape",)
    _differentiable: ClassVar[bool] = False  # whether `backpropagate` is that of `call`
    _losses: list[Any]
    _initial_weights: Sequence[ArrayLike] | None
    _under_construction: bool
    _dtype_policy: dtype_policies.DTypePolicy
    _build_shapes: dict[str, Any] | None
    _constructed_by: dict[str, Any] | None  # the constructor's arguments, where no get_config says them

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._call_signature = signature = inspect.signature(cls.call)
        parameters = list(signature.parameters.values())
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        cls._call_parameters = frozenset({"training"} if takes_any else {p.name for p in parameters})
        cls._first_parameter = parameters[1].name if len(parameters) > 1 else "inputs"
        if "compute_mask" in cls.__dict__ and "supports_masking" not in cls.__dict__:
            cls.supports_masking = True  # as in Keras 3: who says what becomes of a mask knows masks
        said = any("makes_masks" in base.__dict__ for base in cls.__mro__ if base is not Layer)
        cls.makes_masks = cls.makes_masks if said else "compute_mask" in cls.__dict__
        cls._remember_parameters = frozenset(inspect.signature(cls.remember).parameters)
        training = signature.parameters.get("training")
        cls._training_default = (
            training.default if training and training.default is not training.empty else None
        )
        # A class that computes something else than its base has another gradient.
        has = next(base for base in cls.__mro__ if {"call", "backpropagate"} & base.__dict__.keys()).__dict__
        cls._differentiable = "backpropagate" in has and cls.backpropagate is not Layer.backpropagate
        if "build" in cls.__dict__:
            cls.build = _building(cls.build)  # type: ignore[method-assign]
            kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
            named = (p for p in inspect.signature(cls.build).parameters.values() if p.kind not in kinds)
            cls._build_parameters = tuple(p.name for p in named)[1:]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        layer = super().__new__(cls)
        if cls.get_config in cls._say_arguments:
            layer.__dict__["_constructed_by"] = _plain_arguments(cls, args, kwargs)
        return layer

    @eras.any_era
    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        weights: Sequence[ArrayLike] | None = None,
        input_dim: int | None = None,
        input_shape: Sequence[int | None] | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        input_dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        era = eras.current()
        unknown = {key: value for key, value in kwargs.items() if key not in _WITHOUT_MEANING}
        if unknown:
            raise era.unknown_arguments(type(self).__name__, unknown)
        self.__dict__.setdefault("_holders", {})
        self.__dict__.update(
            _era=era,
            _trainable=era.trainable(trainable),
            _trainable_weights=[],
            _non_trainable_weights=[],
            _layers=[],
            _locked=False,
            _losses=[],
            _initial_weights=weights,
            _under_construction=False,
            _build_shapes=None,
            _dtype_policy=dtype_policies.get(dtype),
        )
        self.name = era.layer_name(type(self).__name__, name)
        self.autocast = autocast
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.built = False
        if batch_input_shape is None and (input_dim is not None or input_shape is not None):
            batch_input_shape = (batch_size, *((input_dim,) if input_shape is None else input_shape))
        if batch_input_shape is not None:
            self.batch_input_shape = tuple(batch_input_shape)
        if input_dtype is not None:
            self.input_dtype_said = input_dtype
        self._look_into_attributes()  # those that were set before

    # --- Called -----------------------------------------------------------------------------------

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        """The whole way of a call. `TableCall.__call__` comes here unless a table can answer alone."""
        if "_layers" not in self.__dict__:
            raise not_initialised(self)
        changes = self._changes
        if not args and self._first_parameter in kwargs:
            args = (kwargs.pop(self._first_parameter),)
        if holds_tensor(args, kwargs):
            return self._connect(args, kwargs)
        outer = _context.get(_OUTSIDE)
        given = kwargs.pop("training", None)
        training = outer.training if given is None else given
        if training is None:
            training = self._training_default
        elif "training" in self._call_parameters:
            kwargs["training"] = training
        recorded = training and self._differentiable
        if args:
            first = _as_numbers(args[0]) if self.autocast else args[0]
            args = (self._as_input(first), *map(self._as_input, args[1:]))
        if kwargs:
            kwargs = {key: self._as_input(value) for key, value in kwargs.items()}
        if recorded and args:
            # What backward will see is nobody else's to change; the call itself sees the same.
            args = (_copied(args[0]), *args[1:])
        if self.input_spec is not None and args:
            assert_input_compatibility(self.input_spec, args[0], self.name)
        unbuilt = not self.built or self._under_construction
        if unbuilt or not args or kwargs.keys() - {"training"}:
            self._check_arguments(args, kwargs)  # a call that cannot be changes nothing
        if unbuilt:
            self._build_for(args, kwargs)
            if self.input_spec is not None and args:  # build may have set it
                assert_input_compatibility(self.input_spec, args[0], self.name)
        if outer.layer is None:
            self._forget_losses()
        with _Inside(_Context(training, self, outer)):
            outputs = self.call(*args, **kwargs)
        if self.activity_regularizer is not None:
            for each in outputs if isinstance(outputs, (list, tuple)) else [outputs]:
                self._losses.append(self._era.activity_loss(self.activity_regularizer(each), each))
        if recorded:
            named = {**dict(zip(list(self._call_signature.parameters)[2:], args[1:])), **kwargs}
            told = {name: named[name] for name in self._remember_parameters & named.keys()}
            remembered = self.remember(args[0] if args else None, outputs, **told)
            call = (remembered, getattr(outputs, "shape", None))
            if self.activity_regularizer is not None:
                call = (*call, outputs)  # type: ignore[assignment]
            self._recorded.__dict__.setdefault("calls", []).append(call)
        self._answer_alone(changes)
        return outputs

    def _connect(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a call with tensors that have no numbers yet, and return those that stand for its outputs."""
        if args and self.input_spec is not None:
            assert_input_compatibility(self.input_spec, args[0], self.name)
        said = {
            key: value for key, value in kwargs.items() if key != "training" or key in self._call_parameters
        }
        self._check_arguments(args, said)
        if not self.built or self._under_construction:
            self._build_for(args, said)
            if args and self.input_spec is not None:
                assert_input_compatibility(self.input_spec, args[0], self.name)
        inputs = [each for each in flatten((args, said)) if isinstance(each, KerasTensor)]
        masked = any(each.masked for each in inputs)
        if masked and not self.supports_masking:
            self._era.unsupported_mask(self)
        masked = bool(self.supports_masking) and (masked or self.makes_masks) and not self.ends_masks
        shapes = self._output_shapes(args, said)
        dtype = self._output_dtype(inputs)
        make = functools.partial(KerasTensor, dtype=dtype, name=self.name, masked=masked)
        outputs = _map_shapes(make, shapes)
        Node(self, args, kwargs, list(flatten(outputs)))
        return outputs

    def _output_shapes(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Shape of what a call with such tensors returns; several in a list, tuple or dict."""
        cls = type(self)
        asked = cls.compute_output_shape if cls.get_output_shape_for is Layer.get_output_shape_for else None
        if asked is not Layer.compute_output_shape or self._era.shape_is_kept:
            parameters = () if asked is None else tuple(inspect.signature(asked).parameters)[1:]
            several = [name for name in parameters if name.endswith("_shape")]
            if len(several) > 1:
                return self.compute_output_shape(**self._shapes_by_name(args, kwargs, several))
            said = {key: value for key, value in kwargs.items() if key in parameters}
            first = args[0] if args else next(iter(kwargs.values()))
            return self.compute_output_shape(_shape_of(first), **said)
        # Nothing says it: see what comes out for two batches of zeros, in which open lengths differ.
        one, other = (self.call(*_zeros(args, n), **_zeros(kwargs, n)) for n in _LENGTHS)
        shapes = zip(map(np.shape, flatten(one)), map(np.shape, flatten(other)))
        found = iter([tuple(n if n == m else None for n, m in zip(*pair)) for pair in shapes])
        return map_structure(lambda _: next(found), one)

    def _output_dtype(self, inputs: Sequence[KerasTensor]) -> str:
        """That of the output: integers stay integers in a layer without weights."""
        if self.weights or any(is_float(each.dtype) for each in inputs):
            return self.compute_dtype
        return str(result_type(*(each.dtype for each in inputs)))

    @property
    def input(self) -> Any:
        """The `KerasTensor` (or a list) that the layer was first called with, of which models are made."""
        return self._first_node("input").args[0] if self._first_node("input").args else self.output

    @property
    def output(self) -> Any:
        """The `KerasTensor` (or a list) that the layer's first call returned."""
        outputs = self._first_node("output").outputs
        return outputs[0] if len(outputs) == 1 else list(outputs)

    def _first_node(self, what: str) -> Node:
        nodes: list[Node] = self.__dict__.get("_inbound_nodes", [])
        if not nodes:
            raise AttributeError(
                f"The layer {self.name} has never been called and thus has no defined {what}."
            )
        return nodes[0]

    def _as_input(self, inputs: Any) -> Any:
        """Numbers as arrays, floats in the compute dtype; what `call` alone can understand as it is."""
        if isinstance(inputs, (list, tuple)):
            if any(hasattr(item, "__array__") for item in inputs):
                return _like(inputs, map(self._as_input, inputs))
            return inputs
        if isinstance(inputs, dict):
            return {key: self._as_input(value) for key, value in inputs.items()}
        is_array = hasattr(inputs, "__array__") or hasattr(inputs, "__dlpack__")
        if is_array and not isinstance(inputs, (np.ndarray, Variable)):
            inputs = as_array(inputs)
        if not isinstance(inputs, np.ndarray):
            return inputs
        floats = inputs.dtype.kind == "f" or (inputs.dtype.kind == "V" and inputs.dtype.name == "bfloat16")
        if floats and self.autocast and self.dtype_policy.is_floating:
            return inputs.astype(array_dtype(self.compute_dtype), copy=False)
        return inputs

    def _check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise TypeError unless `call` takes these."""
        if "call" in self.__dict__:
            inspect.signature(self.call).bind(*args, **kwargs)
        else:
            self._call_signature.bind(self, *args, **kwargs)

    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with _build_lock:
            if not self.built:
                if len(self._build_parameters) > 1:
                    self.build(**self._shapes_by_name(args, kwargs, self._build_parameters))
                else:
                    first = args[0] if args else next(iter(kwargs.values()), None)
                    self.build(_shape_of(first))
                self.built = True  # also where a build was put on the instance
                self._lock_state()
            self._look_into_attributes()

    def _shapes_by_name(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], parameters: Sequence[str]
    ) -> dict[str, Any]:
        """What a ``build`` with several parameters is called with: ``<argument>_shape`` of each argument."""
        bound = inspect.signature(self.call).bind(*args, **kwargs)
        bound.apply_defaults()
        shapes = {}
        for parameter in parameters:
            argument = parameter[: -len("_shape")] if parameter.endswith("_shape") else None
            if argument not in bound.arguments:
                raise ValueError(
                    f"The parameters of a `build()` that has several must be arguments of `call()` with "
                    f"`_shape` appended; in {type(self).__name__} {parameter!r} is not: call() has "
                    f"{', '.join(bound.arguments)}"
                )
            if bound.arguments[argument] is not None:
                shapes[parameter] = _shape_of(bound.arguments[argument])
        return shapes

    def _lock_state(self) -> None:
        self.__dict__["_locked"] = self._era.locks

    def _answer_alone(self, changes: int) -> None:
        """Name the table that gives just what `call` would, if there is one: see `_answer_with`."""
        self._answer_with(None, changes)

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs of this shape. Overridden by layers that have any."""
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Compute the output. Overridden by every layer."""
        raise NotImplementedError(f"Layer {type(self).__name__} does not have a `call()` method implemented.")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output for inputs of a shape. Overridden by layers that know it.

        Raises
        ------
        NotImplementedError
            If it is not overridden; in the eras of Keras 1 and 2 the input's shape is returned.
        """
        if type(self).get_output_shape_for is not Layer.get_output_shape_for:
            return self.get_output_shape_for(input_shape)
        if self._era.shape_is_kept:
            return input_shape
        raise NotImplementedError(
            f"Layer {type(self).__name__} should implement `def compute_output_shape(self, input_shape)`."
        )

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        """`compute_output_shape`, in Keras 1; a layer written for it overrides this instead."""
        return self.compute_output_shape(input_shape)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the output: that of the input, unless overridden.

        Parameters
        ----------
        inputs : array_like
        mask : ndarray of bool, optional
            Of the input: True where an element counts.
        """
        return mask

    # --- Differentiated ---------------------------------------------------------------------------

    def remember(self, inputs: Any, outputs: Any) -> Any:
        """What `backpropagate` will need of a call; by default inputs and outputs.

        Only layers that define `backpropagate` are asked. ``inputs`` are a private copy, ``outputs``
        are the array that the caller has. Other arguments of the call that the method names by the same names
        as `call` are passed on to it.
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
        raise NotImplementedError(f"{type(self).__name__} defines no backpropagate(remembered, upstream)")

    def backward(self, upstream: Any) -> Any:
        """Turn the gradient of the last recorded call's output into gradients of weights and input.

        The loss of an activity regularizer, which is computed from that output, contributes its gradient;
        those of weights are added by `add_regularization_gradients`.

        Calls are recorded with ``training=True`` and inside `recording`, by each thread for itself;
        a layer called twice is differentiated twice, the last call first. A call is remembered until then, so
        ``training=True`` without `backward` fills memory.

        Parameters
        ----------
        upstream : array_like, of the output's shape
            For several outputs a list, tuple or dict of arrays, as `backpropagate` takes it.

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
        if not self._differentiable:
            cls = type(self).__name__
            raise RuntimeError(
                f"{cls} cannot be differentiated: it defines no backpropagate(remembered, upstream) for its "
                "`call`. Where that of its base is right for it, say so: backpropagate = Base.backpropagate"
            )
        calls = self._recorded.__dict__.get("calls")
        if not calls:
            raise RuntimeError(
                f"backward of layer {self.name!r} has no recorded call left: call the layer with "
                "training=True or inside fastembed.recording() first, once for each backward"
            )
        remembered, shape, *outputs = calls[-1]
        if isinstance(upstream, (list, tuple, dict)) and any(
            hasattr(each, "shape") for each in flatten(upstream)
        ):
            several: Any = upstream
            gradient = self.backpropagate(remembered, several)
            calls.pop()
            return gradient
        upstream = np.asarray(upstream)
        if isinstance(shape, Table):  # which answered alone
            shape = (*remembered[0].shape, *shape.shape[1:])
        if upstream.dtype.kind == "c":
            raise TypeError(f"upstream must be real numbers, got dtype {upstream.dtype}")
        if shape is not None and upstream.shape != shape:
            raise ValueError(f"upstream must have the shape of the output, {shape}, got {upstream.shape}")
        for each in outputs:  # there is one where an activity regularizer has its loss from it
            slope = gradient_of(self.activity_regularizer)(each)
            upstream = upstream + self._era.activity_loss(slope, each)
        gradient = self.backpropagate(remembered, upstream)
        calls.pop()  # only now: after an error the call can be differentiated again
        return gradient

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

        A regularizer counts as long as its weight is trainable, as in Keras 3; in the eras of Keras 1, 2 and
        tf.keras always.
        """
        return self._era.losses(self)

    def add_regularization_gradients(self) -> None:
        """Add the gradient of each regularizer's loss to the weight's, for all weights that are trained.

        Once for each step: what `backward` adds is the gradient of what a layer computes.

        Raises
        ------
        TypeError
            If a regularizer has no ``gradient(x)``.

        Examples
        --------
        >>> from fastembed.layers import Dense
        >>> dense = Dense(1, kernel_regularizer="l2", use_bias=False, weights=[[[3.0]]])
        >>> dense.build((None, 1))
        >>> dense.add_regularization_gradients()
        >>> dense.kernel.gradient
        array([[0.06]], dtype=float32)
        """
        for variable in self.trainable_weights:
            if variable.regularizer is not None:
                variable.add_gradient(gradient_of(variable.regularizer)(variable.value))

    @property
    def metrics(self) -> list[Any]:
        """Always empty: there are no metrics here."""
        return []

    metrics_variables = metrics

    def add_metric(self, *args: Any, **kwargs: Any) -> None:
        """Always a NotImplementedError, as in Keras 3."""
        raise NotImplementedError(
            "`add_metric()` is gone since Keras 3, and layers here have no metrics: compute what you want to "
            "see from what the layer returns, or keep it in a weight with trainable=False"
        )

    def _forget_losses(self) -> None:
        for layer in self._with_layers_inside() if self._holders else [self]:
            layer._losses.clear()  # type: ignore[attr-defined]

    def _path(self) -> str:
        """The names of the layers that are being called or built around this one, and its own."""
        context: _Context | None = _context.get(_OUTSIDE)
        names = [] if context is not None and context.layer is self else [self.name]
        while context is not None and context.layer is not None:
            names.append(context.layer.name)
            context = context.outer
        return "/".join(reversed(names))

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
        return self._own_policy.quantization_mode

    @property
    def _own_policy(self) -> dtype_policies.DTypePolicy:
        """Its policy itself; out of a `DTypePolicyMap`, once the layer has a path, the one for that path."""
        return self._dtype_policy if self.path is None else self._dtype_policy.of(self.path)

    @property
    def variable_dtype(self) -> str:
        """The dtype of the layer's variables."""
        return self._own_policy.variable_dtype

    dtype = variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype of the layer's results."""
        return self._own_policy.compute_dtype

    input_dtype = compute_dtype

    # --- Written down -----------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one (without its weights), as values that JSON can hold.

        A subclass that adds arguments extends this. One that does not has them in its config as they were
        given, if all are plain: numbers, strings, bool, None, and lists, tuples and dicts of these.

        Raises
        ------
        NotImplementedError
            If they are not.

        Examples
        --------
        >>> config = Layer(name="mine").get_config()
        >>> config["name"], config["dtype"]["config"]
        ('mine', {'name': 'float32'})
        """
        config = self._dialect.base_config(self)
        if type(self).get_config not in self._say_arguments:
            return config
        if type(self).__init__ is Layer.__init__ and not self._dialect.writes_defaults:
            return config
        plain = self._constructed_by
        if plain is None:
            raise NotImplementedError(
                f"{type(self).__name__} was made with arguments that cannot be written as data, so it needs "
                "a get_config() of its own: {**super().get_config(), 'argument': value, ...}"
            )
        parameters = inspect.signature(type(self).__init__).parameters
        if "name" not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            config.pop("name")  # its constructor does not take one
        return {**plain, **config}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer that a config describes.

        Parameters
        ----------
        config : mapping
            As `get_config` of any era gives it, or that inside the form in which models hold it:
            ``{"class_name": ..., "config": ...}``, with Keras 3's further keys or without.

        Raises
        ------
        TypeError
            If it is that of another class, or the class cannot be made with it, naming the reason.
        """
        inner = config.get("config")
        if "class_name" in config and isinstance(inner, Mapping):
            _check_class(cls, config["class_name"])
            config = inner
        try:
            return cls(**config)
        except Exception as error:
            raise TypeError(
                f"Error when deserializing class '{cls.__name__}' using config={dict(config)!r:.2000}.\n\n"
                f"Exception encountered: {error}"
            ) from error

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that the layer was built for; None for one that is not built.

        >>> from fastembed.layers import Dense
        >>> dense = Dense(2)
        >>> dense.build((None, 3))
        >>> dense.get_build_config()
        {'input_shape': (None, 3)}
        """
        shapes = self._build_shapes
        if shapes is not None and len(shapes) == 1:
            return {"input_shape": next(iter(shapes.values()))}
        return None if shapes is None else {"shapes_dict": shapes}

    def build_from_config(self, config: Mapping[str, Any] | None) -> None:
        """Build the layer for what `get_build_config` gave."""
        if config and "input_shape" in config:
            self.build(config["input_shape"])
        elif config and "shapes_dict" in config:
            self.build(**config["shapes_dict"])

    def __getstate__(self) -> dict[str, Any]:
        # Said, because the compiled base has more, which is made anew. The graphs that a layer is part of are
        # those of models, which keep them.
        return {key: value for key, value in self.__dict__.items() if key != "_inbound_nodes"}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _check_class(cls: type, name: Any) -> None:
    """A config of a class of this name must be one of ``cls``, or of what is made of it."""
    family = [cls]
    for each in family:
        family += each.__subclasses__()
    if name not in [each.__name__ for each in family]:
        raise TypeError(f"{cls.__name__}.from_config() was given the config of a {name!r:.80}")


def _building(build: Callable[..., None]) -> Callable[..., None]:
    """A layer's ``build`` as it is called, by the layer or by hand: once, whole or not at all."""

    @functools.wraps(build)
    def build_once(self: Layer, *args: Any, **kwargs: Any) -> None:
        outer = _context.get(_OUTSIDE)
        if outer.layer is self:  # a subclass's build calls this one
            build(self, *args, **kwargs)
            return
        with _build_lock:
            self.__dict__["path"] = self._path()
            if self.built:
                return
            self._prepare_for(self._dtype_policy)
            before = dict(self.__dict__)
            weights = [*self._trainable_weights], [*self._non_trainable_weights]
            shapes = dict(list(zip(self._build_parameters, args)) + list(kwargs.items()))
            self.__dict__["_under_construction"] = True
            try:
                with _Inside(_Context(outer.training, self, outer)):
                    build(self, *args, **kwargs)
                if self._initial_weights is not None:
                    self.set_weights(self._initial_weights)
                self.built = True
                self.__dict__.update(_initial_weights=None, _build_shapes=shapes)
                self._lock_state()
            except BaseException:
                # In this order: other threads may be looking at what was there all the time.
                self.__dict__.update(before)
                for name in self.__dict__.keys() - before.keys():
                    del self.__dict__[name]
                self._trainable_weights[:], self._non_trainable_weights[:] = weights
                self._look_into_attributes()
                raise
            finally:
                self.__dict__["_under_construction"] = False

    return build_once


Layer._say_arguments = (Layer.get_config,)
Layer.build = _building(Layer.build)  # type: ignore[method-assign]
Layer._call_signature = inspect.signature(Layer.call)


def _plain_arguments(
    cls: type[Layer], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any] | None:
    """A constructor's arguments with their names, if data can say them all; without the name."""
    signature, inherits = inspect.signature(cls.__init__), cls.__init__ is Layer.__init__
    kinds = {p.kind for name, p in signature.parameters.items() if name != "self"}
    if {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL} & kinds:
        return None
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:  # which the constructor will say better
        return None
    bound.apply_defaults()
    arguments = dict(list(bound.arguments.items())[1:])
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(name))
    for name in ("name", *(_NOT_SAID if inherits else ())):
        arguments.pop(name, None)
    return arguments if _is_plain(arguments) else None


# Arguments of `Layer` that Keras 3 has not, or not among those that it writes down.
_NOT_SAID = ("weights", "input_dim", "input_shape", "batch_input_shape", "batch_size", "input_dtype")


def gradient_of(regularizer: Any) -> Callable[[Any], Any]:
    """A regularizer's ``gradient``; TypeError if it has none."""
    gradient: Callable[[Any], Any] | None = getattr(regularizer, "gradient", None)
    if gradient is None:
        raise TypeError(
            f"{regularizer!r} cannot be trained with: it needs a gradient(x), the derivative of its value, "
            "as fastembed.regularizers.Regularizer has it"
        )
    return gradient


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float))


# Stand for lengths that are not known: where the output has other lengths for other ones, neither are those.
_LENGTHS = 83, 97


def _zeros(structure: Any, unknown: int) -> Any:
    """Zeros in place of tensors that have no numbers yet."""

    def zeros(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        return np.zeros([unknown if n is None else n for n in leaf.shape], array_dtype(leaf.dtype))

    return map_structure(zeros, structure)


def _map_shapes(function: Callable[[Shape], Any], shapes: Any) -> Any:
    """The same structure of what ``function`` makes of each shape."""
    if isinstance(shapes, dict):
        return {key: _map_shapes(function, each) for key, each in shapes.items()}
    if any(isinstance(each, (list, tuple)) for each in shapes):
        return [_map_shapes(function, each) for each in shapes]
    return function(shapes)


def _shape_of(inputs: Any) -> Shape:
    """Shape of an input; of several in a list, tuple or dict, their shapes."""
    if isinstance(inputs, (list, tuple)) and any(hasattr(item, "shape") for item in inputs):
        return [_shape_of(item) for item in inputs]
    if isinstance(inputs, dict):
        return {key: _shape_of(value) for key, value in inputs.items()}
    return np.shape(inputs)


def _as_numbers(inputs: Any) -> Any:
    """A list of plain numbers as an array; anything else as it is, for `call` to understand or refuse."""
    if not isinstance(inputs, (list, tuple)) or any(hasattr(item, "__array__") for item in inputs):
        return inputs
    try:
        array = np.asarray(inputs)
    except ValueError:  # ragged
        return inputs
    return array if array.dtype.kind in "biuf" else inputs


def _copied(inputs: Any) -> Any:
    """Arrays copied; several in a list too."""
    if isinstance(inputs, np.ndarray):
        return inputs.copy()
    if isinstance(inputs, (list, tuple)):
        return _like(inputs, map(_copied, inputs))
    return inputs


def _like(inputs: list[Any] | tuple[Any, ...], items: Iterable[Any]) -> Any:
    """A list or tuple of the same class, named tuples too, of other items."""
    return getattr(inputs, "_make", type(inputs))(items)


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

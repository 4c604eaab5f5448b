"""What a layer holds: variables of its own, and other layers, in its attributes.

Keras's rules: whatever is set as an attribute is found, also in lists, tuples, sets and dicts; a layer's
weights are its own ones and then those of the layers in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import constraints, eras, regularizers
from fastembed._rows import TableCall
from fastembed.dtypes import is_float, standardize_dtype
from fastembed.locks import Lock
from fastembed.random import SeedGenerator
from fastembed.variable import Readable, Variable, readable, swap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


_tracking = Lock()
_HOLD_NOTHING = frozenset({type(None), bool, int, float, str})


class State(TableCall):
    """Base of `Layer`: variables and layers in attributes, and what is asked of them together."""

    name: str
    built: bool
    # Kept from __setattr__, which looks into what users put into attributes:
    _era: eras.Era
    _trainable: bool
    _trainable_weights: list[Variable]
    _non_trainable_weights: list[Variable]
    _holders: dict[str, None]  # the attributes that may hold variables and layers
    _layers: list[State]  # what _look_into_attributes last found there
    _locked: bool  # whether new variables and layers are refused

    # --- Made, found ------------------------------------------------------------------------------

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

        Raises
        ------
        TypeError, ValueError
            For arguments that no Keras takes, and if the layer is built already (but not in the eras of Keras
            1, 2 and tf.keras: see `fastembed.era`).

        Notes
        -----
        By position these come in the order of whichever Keras the code was written for:
        ``(shape, initializer, dtype)`` in Keras 3, ``(shape, initializer, name, trainable, regularizer,
        constraint)`` in Keras 1, ``(name, shape, dtype, initializer, regularizer, trainable,
        constraint)`` in Keras 2 and tf.keras. A leading string tells the last from the others, and a
        third argument that names a dtype Keras 3 from Keras 1.
        """
        settings = self._era.weight_arguments(args)
        if twice := settings.keys() & kwargs.keys():
            raise ValueError(f"add_weight() got {', '.join(sorted(twice))} both by position and by keyword")
        return self._add_weight(**settings, **kwargs)

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
        self._refuse_if_locked()
        dtype = self.variable_dtype if dtype is None else standardize_dtype(dtype)
        if initializer is None:
            initializer = "glorot_uniform" if is_float(dtype) else "zeros"
        shape = () if shape is None else (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        if None in shape:
            raise ValueError(
                f"Layer {self.name!r} needs a length that its input leaves open, to make the weight "
                f"{name!r} of "
                f"shape {shape}: say it in Input(shape) or input_length, or put a layer before it that "
                "fixes it"
            )
        trainable = True if trainable is None else trainable
        variable = Variable(
            self._era.initializer(initializer),
            shape=shape,
            dtype=dtype,
            trainable=trainable and self._trainable,
            name=name,
            regularizer=regularizers.get(regularizer),
            constraint=constraints.get(constraint),
        )
        self._track(variable, trainable=trainable)
        return variable

    @property
    def _dialect(self) -> eras.Era:
        """The era as which the config is written."""
        return eras.dialect_of(self._era)

    @property
    def variable_dtype(self) -> str:
        """The dtype of the layer's variables."""
        raise NotImplementedError

    def _path(self) -> str:
        """Where in a model the layer is: names of layers, joined by slashes."""
        raise NotImplementedError

    def _track(self, variable: Variable, trainable: bool = True, made_here: bool = True) -> None:
        if self._holds_all(variable):
            return
        with _tracking:  # of several threads that find it one counts it
            if self._holds_all(variable):
                return
            if made_here and "/" not in variable.path:  # where it is not another layer's
                path = self._path()
                variable.path = f"{path}/{variable.name}"
                variable.name = self._era.weight_name(path, variable.name)
            (self._trainable_weights if trainable else self._non_trainable_weights).append(variable)

    def _refuse_if_locked(self) -> None:
        if self.__dict__.get("_locked"):
            raise ValueError(
                "You cannot add new elements of state (variables or sub-layers) to a layer that is already "
                f"built: make all of those of {self.name!r} in its `__init__()` or `build()`. (In the eras "
                "of Keras 1, 2 and tf.keras this can be done: fastembed.era.)"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) in _HOLD_NOTHING:  # most do
            super().__setattr__(name, value)
            self._reconsider()
            return
        if isinstance(value, (Variable, State)) and "_layers" not in self.__dict__:
            raise not_initialised(self)
        may_hold = isinstance(value, (Variable, State, SeedGenerator, list, tuple, set, frozenset, dict))
        if may_hold and self.__dict__.get("_locked") and not self._holds_all(value):
            self._refuse_if_locked()
        super().__setattr__(name, value)
        self._reconsider()
        if may_hold:
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

    def _holds_all(self, value: Any) -> bool:
        known = {id(each) for each in (*self._own_weights(), *self._layers)}
        return all(id(each) in known for each in _held_by(value, Variable, State))

    def _look_into_attributes(self) -> None:
        """Find the layers in attributes, also in lists, tuples, sets and dicts, and track the variables."""
        layers: dict[int, State] = {}
        for name in list(self._holders):  # which the thread that builds may add to
            for held in _held_by(self.__dict__.get(name), Variable, State):
                if isinstance(held, State):
                    layers[id(held)] = held
                else:
                    made_here = self.__dict__.get("_under_construction", False)
                    self._track(held, trainable=held.trainable, made_here=made_here)
        self.__dict__["_layers"] = list(layers.values())

    def _held_layers(self) -> list[State]:
        """The layers in its attributes, each once."""
        self._look_into_attributes()
        return self._layers

    def _with_layers_inside(self) -> list[State]:
        """This layer and all those inside, each once, outer ones first."""
        found: dict[int, State] = {}
        todo: list[State] = [self]
        while todo:
            layer = todo.pop()
            if id(layer) not in found:
                found[id(layer)] = layer
                todo += reversed(layer._held_layers())
        return list(found.values())

    def _own_weights(self) -> list[Variable]:
        return [*self._trainable_weights, *self._non_trainable_weights]

    # --- Asked ------------------------------------------------------------------------------------

    @property
    def weights(self) -> list[Variable]:
        """All weights: this layer's trainable ones, its others, then those of the layers it holds.

        In the eras of Keras 1, 2 and tf.keras: `trainable_weights`, then `non_trainable_weights`.
        """
        return self._era.weights(self)

    @property
    def variables(self) -> list[Variable]:
        """`weights`, and the states of the seed generators that it and its layers hold."""
        return eras.once([*self.weights, *self._seeds()])

    def _seeds(self) -> list[Variable]:
        held = (
            each.__dict__.get(name) for each in self._with_layers_inside() for name in list(each._holders)
        )
        return [generator.state for value in held for generator in _held_by(value, SeedGenerator)]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        return self._era.trainable_weights(self)

    @trainable_weights.setter
    def trainable_weights(self, variables: Sequence[Variable]) -> None:
        """How layers written for Keras 1 name their weights in ``build``."""
        for variable in _checked_variables(variables):
            self._track(variable)

    @property
    def trainable_variables(self) -> list[Variable]:
        """`trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone."""
        return self._era.non_trainable_weights(self)

    @non_trainable_weights.setter
    def non_trainable_weights(self, variables: Sequence[Variable]) -> None:
        """How layers written for Keras 1 name their other weights in ``build``."""
        for variable in _checked_variables(variables):
            self._track(variable, trainable=False)

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """`non_trainable_weights`, and the states of seed generators."""
        return eras.once([*self.non_trainable_weights, *self._seeds()])

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

    # --- In files ---------------------------------------------------------------------------------

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Put the layer's own weights (not those of layers inside) into ``store``, as they are now.

        Parameters
        ----------
        store : dict or HDF5 group
            Gets, under ``"0"``, ``"1"``, ..., read-only arrays.

        Examples
        --------
        >>> from fastembed.layers import Layer
        >>> layer, store = Layer(), {}
        >>> _ = layer.add_weight(shape=(2,), initializer="ones")
        >>> layer.save_own_variables(store)
        >>> store
        {'0': array([1., 1.], dtype=float32)}
        """
        for number, variable in enumerate(self._own_weights()):
            store[str(number)] = variable.stored()

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

    def _values_in(self, store: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
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
        values = (readable(store, str(number)) for number in range(len(names)))
        return [value if isinstance(value, Readable) else np.asarray(value) for value in values]


def _held_by(value: Any, *kinds: type) -> Iterator[Any]:
    """The objects of these kinds in a value: itself, or what lists, tuples, sets and dicts hold."""
    if isinstance(value, kinds):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in list(value):
            yield from _held_by(item, *kinds)
    elif isinstance(value, dict):
        yield from _held_by(list(value.values()), *kinds)


def _checked_variables(variables: Sequence[Variable]) -> Sequence[Variable]:
    for variable in variables:
        if not isinstance(variable, Variable):
            raise TypeError(
                f"weights are variables, got {type(variable).__name__}: make one with add_weight() or "
                "fastembed.Variable(array)"
            )
    return variables


def not_initialised(layer: State) -> RuntimeError:
    """The error for a layer whose constructor did not call that of its base."""
    return RuntimeError(
        f"In layer '{type(layer).__name__}', you forgot to call `super().__init__()` as the first statement "
        "in the `__init__()` method. Go add it!"
    )


# Arguments of add_weight that mean something to TensorFlow only.
_OF_OTHER_BACKENDS = {
    "aggregation", "autocast", "caching_device", "collections", "experimental_autocast", "getter", "layout",
    "overwrite_with_gradient", "partitioner", "synchronization", "use_resource",
}  # fmt: skip

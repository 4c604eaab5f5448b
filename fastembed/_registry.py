"""Names and configs of the objects that layers are given, and of layers: one mechanism for all kinds.

An initializer, a regularizer or a constraint reaches a layer as None, a name, a class, an instance, a plain
function, or the config that some Keras wrote into a file. A `Registry` knows the names of one kind and
turns each of these into the object. `serialize_keras_object` writes any of them down as Keras 3 does, and
`deserialize_keras_object` reads it back.

Configs come from files that anybody may have written, so they are data only: nothing that they name is
imported, and everything wrong with one is a ValueError.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, TypeVar

import numpy as np

from fastembed._custom_objects import (
    CustomObjectScope,
    get_registered_function,
    get_registered_name,
    get_registered_object,
)
from fastembed.dtypes import standardize_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

T = TypeVar("T")


class NamedFunction:
    """A function that holds something and can yet be pickled. In configs it is a function of this name."""

    __name__: str


# Where the Keras packages keep their own classes: "keras.initializers" (Keras 3, tf.keras 2.12 and later),
# "keras.initializers.initializers_v2" (2.11), "tf_keras.…", "tensorflow.python.keras.…".
_KERAS_PACKAGES = ("keras", "keras_core", "tf_keras", "tensorflow")


class Configurable:
    """An object that its config rebuilds: ``cls.from_config(obj.get_config())`` is an equal object."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as values that JSON can hold."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The object whose `get_config` gave ``config``."""
        return cls(**config)

    def __repr__(self) -> str:
        try:
            arguments = self.get_config()
        except NotImplementedError:  # a regularizer of the user's own that is never saved
            return object.__repr__(self)
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def subclasses_in(namespace: Mapping[str, Any], base: type[T]) -> dict[str, type[T]]:
    """The public names in ``namespace`` that stand for subclasses of ``base``.

    Every name that a Keras ever took for a class is also an attribute of that Keras's module, so a module's
    own attributes are its table of names.
    """
    return {
        name: value
        for name, value in namespace.items()
        if isinstance(value, type) and issubclass(value, base) and value is not base and name[0] != "_"
    }


class _Description(NamedTuple):
    """What a config says, whatever its dialect."""

    name: str
    custom_name: str | None  # what a class or function of the user's own would be found under
    settings: Mapping[str, Any]
    from_keras: bool  # it may mean a class of Keras's own
    is_function: bool = False


class Registry:
    """The names of one kind of object, and the way from names and configs to objects.

    Parameters
    ----------
    kind : str
        ``"initializer"``, say: used in error messages.
    names : mapping of str to callable
        What each name makes: a class, or a function that takes the config's items as keywords.
    old_keys : mapping of str to str or None, optional
        Config keys of earlier eras and what they are called today; None drops the key.
    module : str, optional
        Where Keras 3 keeps these classes; default ``"keras.<kind>s"``.
    elsewhere : mapping of type to str, optional
        Classes that Keras 3 keeps in another module than the rest.
    of_functions : bool, default False
        Whether functions in ``names`` are themselves the objects, and do not make them.
    """

    def __init__(
        self,
        kind: str,
        names: Mapping[str, Callable[..., Any]],
        old_keys: Mapping[str, str | None] | None = None,
        module: str | None = None,
        elsewhere: Mapping[type, str] | None = None,
        of_functions: bool = False,
    ) -> None:
        self.kind = kind
        self.names = dict(names)
        self.old_keys = old_keys or {}
        self.of_functions = of_functions
        self.module = module or f"keras.{kind}s"
        _homes.update({cls: self.module for cls in names.values() if isinstance(cls, type)})
        _homes.update(elsewhere or {})
        _registries.append(self)

    def get(self, identifier: Any) -> Any:
        """The object that ``identifier`` means; None for None."""
        if identifier is None:
            return None
        made = self.deserialize(identifier) if isinstance(identifier, (str, Mapping)) else identifier
        if isinstance(made, type):
            made = made()
        if not callable(made):
            raise self._not_understood(identifier)
        return made

    def deserialize(self, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The object that ``config`` describes, in the dialect of any era; None for None."""
        if config is None:
            return None
        asked = self._read(config)
        made_by, settings = self._found(asked, custom_objects)
        if made_by is None:
            raise self._not_understood(config)
        is_own = made_by is not self.names.get(asked.name)
        is_one = is_own or (self.of_functions and isinstance(made_by, types.FunctionType))
        if is_one and not isinstance(made_by, type):
            return made_by  # a function is itself the object
        # Settings that it does not have, or of another kind; in the scope is what its own config names.
        with reading(config, f"a {asked.name}"), CustomObjectScope(custom_objects):
            made = made_by.from_config(settings) if hasattr(made_by, "from_config") else made_by(**settings)
            if isinstance(config, Mapping):
                _complete(made, config)
        return made

    def made_by(self, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The class or function that a config means, or None if there is none.

        Parameters
        ----------
        config : str or mapping
        custom_objects : mapping of str to class or function, optional
        """
        return self._found(self._read(config), custom_objects)[0]

    def _found(
        self, asked: _Description, custom_objects: Mapping[str, Any] | None
    ) -> tuple[Any, Mapping[str, Any]]:
        """What is meant, and the settings under the names that it takes."""
        made_by = None
        if asked.custom_name is not None:
            find = get_registered_function if asked.is_function else get_registered_object
            made_by = find(asked.custom_name, custom_objects)
            if made_by is None and not asked.from_keras:  # the name without its package
                made_by = find(asked.name, custom_objects)
        if made_by is not None or not asked.from_keras:
            return made_by, asked.settings
        renamed = ((self.old_keys.get(key, key), value) for key, value in asked.settings.items())
        return self.names.get(asked.name), {key: value for key, value in renamed if key is not None}

    def _read(self, config: Any) -> _Description:
        if isinstance(config, str):
            return _Description(config, config, {}, from_keras=True)
        if not isinstance(config, Mapping):
            raise self._not_understood(config)
        if "class_name" not in config:  # Keras 1: the settings lie beside the name
            config = {
                "class_name": config.get("name"),
                "config": {k: v for k, v in config.items() if k != "name"},
            }
        name, settings = config["class_name"], config.get("config") or {}
        if name == "function" and isinstance(settings, str):
            return _Description(settings, settings, {}, from_keras=self.of_functions, is_function=True)
        registered_name = config.get("registered_name") or name
        if not (isinstance(name, str) and isinstance(registered_name, str) and isinstance(settings, Mapping)):
            raise self._not_understood(config)
        # Since tf.keras 2.11 a config says whose class it means: Keras's own are in one of its modules and
        # are registered under no other name; the module of one in the user's own script is written as None.
        from_keras = registered_name == name and is_of_keras(config.get("module", "keras"))
        said_to_be_keras_s = from_keras and config.get("registered_name", name) is None
        return _Description(name, None if said_to_be_keras_s else registered_name, settings, from_keras)

    def _not_understood(self, identifier: Any) -> ValueError:
        known = sorted({made_by.__name__ for made_by in self.names.values()})
        return ValueError(
            f"Could not interpret {self.kind} identifier: {_beginning(identifier)}. Known are "
            f"{', '.join(known)} and their other Keras names. For one of your own pass the object itself, or "
            "decorate it with register_keras_serializable(), or name it in deserialize(config, "
            "custom_objects={name: class or function})."
        )


def _complete(made: Any, config: Mapping[str, Any]) -> None:
    """Build and compile what a config describes as built and compiled."""
    built_for, compiled_for = config.get("build_config"), config.get("compile_config")
    is_built = getattr(made, "built", False)
    if isinstance(built_for, Mapping) and hasattr(made, "build_from_config") and not is_built:
        with reading(built_for, f"what a {type(made).__name__} was built for"):
            made.build_from_config(built_for)
    if isinstance(compiled_for, Mapping) and compiled_for and hasattr(made, "compile_from_config"):
        made.compile_from_config(compiled_for)


@contextlib.contextmanager
def reading(config: Any, what: str) -> Iterator[None]:
    """Whatever a config leads to inside that is a fault of its own is a ValueError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, UnicodeError) as error:
        why = f"{type(error).__name__}: {error!s:.2000}"
        raise ValueError(f"{_beginning(config)} does not describe {what}: {why}") from error


def _beginning(config: Any) -> str:
    """Of what a config looks like, for messages."""
    try:
        return f"{config!r:.200}"
    except RecursionError:
        return f"a {type(config).__name__} of too many levels"


_registries: list[Registry] = []
_homes: dict[type, str] = {}  # the module that Keras 3 writes into the config of a class of its own


def is_class_of_keras(cls: type) -> bool:
    """Whether Keras 3 exports this class, and says so in configs; a subclass of the user's own is none."""
    return cls in _homes


def is_of_keras(module: Any) -> bool:
    """Whether this is the name of a module of some Keras."""
    return isinstance(module, str) and module.partition(".")[0] in _KERAS_PACKAGES


def serialize_keras_object(obj: Any) -> Any:
    """Anything that a config may hold, as Keras 3 writes it, ready for JSON.

    Parameters
    ----------
    obj : object
        None, a string, a number, an array, bytes, a slice, Ellipsis; an object with ``get_config``; a
        function with a name, which is written as that name; a list, tuple or dict of these.

    Raises
    ------
    TypeError
        For a lambda and an object without ``get_config``: they cannot be written as data.

    Examples
    --------
    >>> serialize_keras_object({"rows": [1, np.float32(2)], "name": b"x"})
    {'rows': [1, 2.0], 'name': {'class_name': '__bytes__', 'config': {'value': 'x'}}}
    """
    if obj is None or isinstance(obj, (str, int, float)):
        return obj
    if isinstance(obj, (list, tuple)):
        items = [serialize_keras_object(item) for item in obj]
        return tuple(items) if isinstance(obj, tuple) else items
    if isinstance(obj, dict):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode()}}
    if isinstance(obj, slice):
        ends = {"start": obj.start, "stop": obj.stop, "step": obj.step}
        return {"class_name": "__slice__", "config": serialize_keras_object(ends)}
    if obj is ...:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, np.ndarray) and obj.ndim:
        settings = {"value": obj.tolist(), "dtype": standardize_dtype(obj.dtype)}
        return {"class_name": "__numpy__", "config": settings}
    if isinstance(obj, (np.generic, np.ndarray)):
        return obj.item()
    if isinstance(obj, (types.FunctionType, NamedFunction)) and obj.__name__ != "<lambda>":
        return {
            "module": "builtins",
            "class_name": "function",
            "config": get_registered_name(obj),
            "registered_name": "function",
        }
    if isinstance(obj, type) or not hasattr(obj, "get_config"):
        raise TypeError(
            f"{obj!r:.200} cannot be written as a config: it is neither a function with a name nor an "
            "object with get_config()"
        )
    cls = type(obj)
    # A class of __main__ has no module that a reader could know; Keras writes None.
    module = _homes.get(cls, None if cls.__module__ == "__main__" else cls.__module__)
    exported = cls in _homes and not _homes[cls].startswith("keras.src.")
    written = {
        "module": module,
        "class_name": cls.__name__,
        "config": serialize_keras_object(obj.get_config()),
        "registered_name": None if exported else get_registered_name(cls),
    }
    for key in ("build_config", "compile_config"):
        more = getattr(obj, f"get_{key}")() if hasattr(obj, f"get_{key}") else None
        if more is not None:
            written[key] = serialize_keras_object(more)
    return written


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """What `serialize_keras_object` wrote, here or in Keras.

    Parameters
    ----------
    config : object
        As JSON holds it: a string or a number is itself, a list or dict is read item by item.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.
    safe_mode : bool, default True
        For programs that pass it: a lambda is code in a file, and is never run.

    Raises
    ------
    ValueError
        If a class is unknown or does not take these settings, or for a lambda. Nothing that is named is
        imported.

    Examples
    --------
    >>> deserialize_keras_object([1, {"class_name": "__slice__",
    ...                               "config": {"start": 0, "stop": 2, "step": None}}])
    [1, slice(0, 2, None)]
    """
    with reading(config, "a value"):
        return _deserialized(config, custom_objects)


def _deserialized(config: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    if isinstance(config, str):
        own = get_registered_object(config, custom_objects)
        return config if own is None else own
    if isinstance(config, (list, tuple)):
        return [_deserialized(item, custom_objects) for item in config]
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: _deserialized(value, custom_objects) for key, value in config.items()}
    name, settings = config["class_name"], config["config"]
    if isinstance(name, str) and name in _PLAIN:
        return _PLAIN[name](settings)
    if name == "__lambda__":
        raise ValueError(
            f"the config has a Python lambda, which is code: {_beginning(config)}. It is never run, whatever "
            "safe_mode says; make it a function with a name and give that in custom_objects"
        )
    module = config.get("module", "keras")
    for registry in _registries if isinstance(name, str) else ():
        if name in registry.names and _may_be_in(module, registry.module):
            return registry.deserialize(config, custom_objects)
        # Keras says of every function that it is in "builtins".
        is_function = name == "function" and isinstance(settings, str) and registry.of_functions
        if is_function and settings in registry.names:
            return registry.deserialize(config, custom_objects)
    return _of_the_user.deserialize(config, custom_objects)


def _may_be_in(module: Any, home: str) -> bool:
    """Whether some Keras kept in ``module`` what Keras 3 keeps in ``home``."""
    return is_of_keras(module) and (module == "keras" or home.rpartition(".")[2] in module.split("."))


def _as_array(settings: Any) -> NDArray[Any]:
    dtype = standardize_dtype(settings["dtype"])
    return np.array(settings["value"], "float32" if dtype == "bfloat16" else dtype)


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "__numpy__": _as_array,
    "__tensor__": _as_array,
    "__bytes__": lambda settings: settings["value"].encode(),
    "__slice__": lambda settings: slice(settings["start"], settings["stop"], settings["step"]),
    "__ellipsis__": lambda settings: ...,
}
_of_the_user = Registry("object", {})

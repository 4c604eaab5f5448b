"""Names and configs of the small objects that a layer is given: one mechanism for all kinds of them.

An initializer, a regularizer or a constraint reaches a layer as None, a name, a class, an instance, a plain
function, or the config that some Keras wrote into a file. A `Registry` knows the names of one kind and
turns each of these into the object, and the object into Keras 3's config.

Configs come from files that anybody may have written, so they are data only: nothing that they name is
imported, and everything wrong with one is a ValueError.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

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
    registered_name: str
    settings: Mapping[str, Any]
    from_keras: bool  # it means a class of Keras's own, not one of the user's that has the same name


class Registry:
    """The names of one kind of object, and the way between objects, names and configs.

    Parameters
    ----------
    kind : str
        ``"initializer"``, say: used in error messages, and with an "s" as the name of Keras's module.
    names : mapping of str to callable
        What each name makes: a class, or a function that takes the config's items as keywords.
    old_keys : mapping of str to str or None, optional
        Config keys of earlier eras and what they are called today; None drops the key.
    """

    def __init__(
        self,
        kind: str,
        names: Mapping[str, Callable[..., Any]],
        old_keys: Mapping[str, str | None] | None = None,
    ) -> None:
        self.kind = kind
        self.names = names
        self.old_keys = old_keys or {}

    def get(self, identifier: Any) -> Any:
        """The object that ``identifier`` means; None for None."""
        if identifier is None:
            return None
        if isinstance(identifier, (str, Mapping)):
            made = self.deserialize(identifier)
        elif isinstance(identifier, type):
            made = identifier()
        else:
            made = identifier
        if not callable(made):
            raise self._not_understood(identifier)
        return made

    def serialize(self, obj: Any) -> Any:
        """Keras 3's config of ``obj``; None and names as they are."""
        if obj is None or isinstance(obj, str):
            return obj
        if isinstance(obj, types.FunctionType) and obj.__name__ != "<lambda>":
            return {
                "module": "builtins",
                "class_name": "function",
                "config": obj.__name__,
                "registered_name": "function",
            }
        cls = type(obj)
        if not hasattr(obj, "get_config"):
            raise ValueError(
                f"{obj!r:.200} cannot be written as a config: it is neither a function with a name nor an "
                "object with get_config()"
            )
        ours = cls in self.names.values()
        # A class of __main__ has no module that a reader could know; Keras writes None.
        own_module = None if cls.__module__ == "__main__" else cls.__module__
        return {
            "module": f"keras.{self.kind}s" if ours else own_module,
            "class_name": cls.__name__,
            "config": obj.get_config(),
            "registered_name": None if ours else cls.__name__,
        }

    def deserialize(self, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The object that ``config`` describes, in the dialect of any era; None for None."""
        if config is None:
            return None
        custom_objects = custom_objects or {}
        asked = self._read(config)
        settings = asked.settings
        made_by = custom_objects.get(asked.registered_name) or custom_objects.get(asked.name)
        if made_by is not None and not isinstance(made_by, type):
            return made_by  # a function is itself the object
        if made_by is None and asked.from_keras:
            made_by = self.names.get(asked.name)
            renamed = ((self.old_keys.get(key, key), value) for key, value in settings.items())
            settings = {key: value for key, value in renamed if key is not None}
        if made_by is None:
            raise self._not_understood(config)
        try:
            if hasattr(made_by, "from_config"):
                return made_by.from_config(settings)
            return made_by(**settings)
        except TypeError as error:  # settings that it does not have
            raise ValueError(f"{config!r:.200} does not describe a {asked.name}: {error}") from error

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
            return _Description(settings, settings, {}, from_keras=False)
        if not (isinstance(name, str) and isinstance(settings, Mapping)):
            raise self._not_understood(config)
        # A class of the user's own is told by its module or, where that was __main__ and was written as None,
        # by the package that it was registered under ("Custom>Zeros").
        module, registered_name = config.get("module"), config.get("registered_name") or name
        if module is None:
            from_keras = ">" not in str(registered_name)
        else:
            from_keras = str(module).partition(".")[0] in _KERAS_PACKAGES
        return _Description(name, str(registered_name), settings, from_keras)

    def _not_understood(self, identifier: Any) -> ValueError:
        known = sorted({made_by.__name__ for made_by in self.names.values()})
        return ValueError(
            f"Could not interpret {self.kind} identifier: {identifier!r:.200}. Known are {', '.join(known)} "
            "and their other Keras names. For one of your own pass the object itself, or name it in "
            "deserialize(config, custom_objects={name: class or function})."
        )

"""The user's own classes and functions, by the names that configs give them.

What Keras 3.15 has in keras/src/saving/object_registration.py. A config names a class; the class itself
must have been given by the program, with `register_keras_serializable`, in a `CustomObjectScope`, in
`get_custom_objects` or as a ``custom_objects`` argument: nothing is ever imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Callable, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")

_registered: dict[str, Any] = {}
_names: dict[Any, str] = {}
_in_scope: ContextVar[Mapping[str, Any]] = ContextVar("custom objects", default=MappingProxyType({}))


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """A decorator that lets configs name a class or a function.

    Parameters
    ----------
    package : str, default "Custom"
    name : str, optional
        Default: the class's own. Configs will say ``"package>name"``.

    Returns
    -------
    callable
        It returns what it is given, unchanged.

    Raises
    ------
    ValueError
        For a class without ``get_config``.

    Examples
    --------
    >>> @register_keras_serializable("my_package")
    ... def sevens(shape, dtype=None): ...
    >>> get_registered_name(sevens), get_registered_object("my_package>sevens") is sevens
    ('my_package>sevens', True)
    """

    def register(thing: T) -> T:
        if isinstance(thing, type) and not hasattr(thing, "get_config"):
            raise ValueError(
                f"Cannot register a class that does not have a get_config() method, as {thing.__name__}: "
                "nobody could write its objects down"
            )
        registered_name = f"{package}>{name if name is not None else thing.__name__}"  # type: ignore[attr-defined]
        _registered[registered_name] = thing
        _names[thing] = registered_name
        return thing

    return register


def get_registered_name(obj: Any) -> str:
    """The name that configs give a class or a function: that under which it was registered, or its own.

    >>> get_registered_name(dict)
    'dict'
    """
    name = _names.get(obj)
    return obj.__name__ if name is None else name


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """The class or function that is meant by a name, or None.

    Parameters
    ----------
    name : str
    custom_objects, module_objects : mapping of str to object, optional
        Asked in this order, after the scopes that are open and what was registered for the whole program.

    Examples
    --------
    >>> get_registered_object("Sevens", {"Sevens": int})
    <class 'int'>
    """
    for objects in (_in_scope.get(), _registered, custom_objects or {}, module_objects or {}):
        if name in objects:
            return objects[name]
    return None


def get_registered_function(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The function that is meant by a name, or None: Keras 3.0 to 3.6 left out the package in files.

    >>> get_registered_function("sevens", {"my_package>sevens": len})
    <built-in function len>
    """
    found = get_registered_object(name, custom_objects)
    for objects in (_in_scope.get(), _registered, custom_objects or {}) if found is None else ():
        for full_name, thing in list(objects.items()):
            if full_name.endswith(f">{name}") and not isinstance(thing, type):
                return thing
    return found


def get_custom_objects() -> dict[str, Any]:
    """The dictionary of what configs may name in the whole program: the thing itself, to be changed.

    >>> get_custom_objects()["Sevens"] = int
    >>> get_custom_objects().pop("Sevens")
    <class 'int'>
    """
    return _registered


class CustomObjectScope:
    """Within this scope, and in the thread that opened it, configs may name these objects too.

    Parameters
    ----------
    *custom_objects : mapping of str to class or function
        As of the moment when the scope is entered. Scopes inside one another add up; the innermost counts
        first.

    Examples
    --------
    >>> with CustomObjectScope({"Sevens": int}):
    ...     get_registered_object("Sevens")
    <class 'int'>
    >>> get_registered_object("Sevens")
    """

    def __init__(self, *custom_objects: Mapping[str, Any] | None) -> None:
        self.custom_objects = custom_objects
        self._outside: list[Token[Mapping[str, Any]]] = []

    def __enter__(self) -> Self:
        inside = dict(_in_scope.get())
        for objects in self.custom_objects:
            inside.update(objects or {})
        self._outside.append(_in_scope.set(inside))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _in_scope.reset(self._outside.pop())


custom_object_scope = CustomObjectScope

"""How Sphinx makes these pages and those of the docstrings: ``make docs``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

import fastembed

project = "fastembed"
copyright = "the fastembed contributors. Licence: Apache-2.0"
release = fastembed.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"fastembed {release}"
html_static_path = ["_static"]
html_css_files = ["before-after.css"]
html_copy_source = False

myst_heading_anchors = 3  # a link to a heading is written as on GitHub

default_role = "py:obj"  # `name` in a docstring
autodoc_typehints = "none"  # the docstring says what a parameter may be
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_param = False  # no guesses at what the words of a type could refer to
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
smartquotes = False  # messages and options are copied from here

# --- Nothing is missing: also asked by tests/test_docs.py, without Sphinx -------------------------

# What users import by its full name, beside what `fastembed.__all__` names.
_MODULES = tuple(
    f"fastembed.{name}"
    for name in (
        "dtype_policies",
        "errors",
        "memory",
        "optimizers.schedules",
        "quantizers",
        "tables",
        "threads",
    )
)


def public_modules() -> list[str]:
    """The modules whose names users may rely on."""
    named = (getattr(fastembed, name) for name in fastembed.__all__)
    return ["fastembed", *(m.__name__ for m in named if isinstance(m, ModuleType)), *_MODULES]


def public_names(module: str) -> list[str]:
    """The names in a module that users may rely on: ``__all__``, or the classes and functions of its own."""
    loaded = import_module(module)
    defined = [
        name
        for name, value in vars(loaded).items()
        if name[0] != "_" and callable(value) and getattr(value, "__module__", None) == module
    ]
    return list(getattr(loaded, "__all__", defined))


def undocumented(documented: Iterable[str]) -> list[str]:
    """The public names that are not among these, under whatever module they are documented."""
    there = {*documented}
    objects = {id(value) for value in map(_named, there) if callable(value)}
    public = [f"{module}.{name}" for module in public_modules() for name in public_names(module)]
    return [name for name in public if name not in there and id(_named(name)) not in objects]


def _named(full_name: str) -> Any:
    """What a full name stands for; None where that is nothing that can be got at."""
    module, _, name = full_name.rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except (ImportError, ValueError):  # the member of a class, a module on top
        return None


def _check_that_all_are_there(app: Any, env: Any) -> None:
    there = env.domains["py"].objects
    _warn_of(f"{name} is on no page" for name in [*undocumented(there), *_undocumented_members(there)])


def _undocumented_members(documented: Iterable[str]) -> list[str]:
    """Methods of the classes among these that are neither shown with the class nor with a base of it."""
    classes = {name: value for name in documented if isinstance(value := _named(name), type)}
    shown = {
        (classes.get(owner), member) for owner, _, member in (name.rpartition(".") for name in documented)
    }
    return [
        f"{name}.{member}"
        for name, cls in classes.items()
        for base in cls.__mro__
        if base.__module__.startswith("fastembed")
        for member, value in vars(base).items()
        if member[0] != "_" and callable(value) and not any((b, member) in shown for b in cls.__mro__)
    ]


def _warn_of(what: Iterable[str], node: Any = None) -> None:
    from sphinx.util.logging import getLogger

    for each in what:
        getLogger(__name__).warning(each, location=node)


# --- What is made of docstrings -------------------------------------------------------------------


def _before_napoleon(_app: Any, what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Let a colon in a property's description announce no type, and ``*shape`` in a type begin no italics."""
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]  # an empty comment, for the first line is where a type is looked for
    for number, line in enumerate(lines):
        if " : " in line:
            lines[number] = re.sub(r"(``.*?``)|\*", lambda found: found[1] or r"\*", line)


def _other_names(_app: Any, what: str, fullname: str, value: Any, _options: Any, lines: list[str]) -> None:
    """Under a class: the names that other Keras versions had for it, which are the class itself."""
    if what == "class" and hasattr(value, "__module__"):
        others = [
            name
            for name, other in vars(import_module(value.__module__)).items()
            if other is value and name not in (value.__name__, fullname)
        ]
        if others:
            lines[:0] = [f"*Also called* {', '.join(f'``{name}``' for name in others)}.", ""]


def _is_no_news(_app: Any, what: str, name: str, value: Any, _skip: bool, _options: Any) -> bool | None:
    """Another name of a class, or a method of which nothing is said that a public base has not said."""
    no_news = what == "module" and isinstance(value, type) and value.__name__ != name
    if what == "class" and isinstance(value, FunctionType) and value.__doc__ is None:
        cls = _named(f"{value.__module__}.{value.__qualname__.rpartition('.')[0]}")
        bases = getattr(cls, "__mro__", ())[1:]
        no_news = any(
            hasattr(base, name) for base in bases if "._" not in f".{base.__module__}.{base.__name__}"
        )
    return True if no_news else None


def _resolve(app: Any, env: Any, node: Any, shown: Any) -> Any:
    """A name that is written without its module, where only one thing ends with it."""
    target = node.get("reftarget", "")
    python = env.domains["py"]
    found = [name for name in python.objects if name.endswith(f".{target}")]
    if node.get("reftype") == "obj" and len(found) == 1:
        return python.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, shown)
    if target.startswith("fastembed."):
        _warn_of([f"there is no {target} to refer to"], node)
    return None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("env-check-consistency", _check_that_all_are_there)
    app.connect("autodoc-process-docstring", _before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", _other_names)
    app.connect("autodoc-skip-member", _is_no_news)
    app.connect("missing-reference", _resolve)

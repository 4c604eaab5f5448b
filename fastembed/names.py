"""Names that are given when the user gives none, by Keras's rules."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator

_counters: dict[tuple[str, int], Iterator[int]] = {}


@functools.lru_cache(maxsize=256)
def snake_case(class_name: str) -> str:
    """A class's name as its instances are named after it.

    >>> snake_case("GlobalAveragePooling1D")
    'global_average_pooling1d'
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def snake_case_of_2(class_name: str) -> str:
    """The same in Keras 2 and tf.keras, where digits belong to the small letters before them.

    >>> snake_case_of_2("LSTM2Layer"), snake_case("LSTM2Layer"), snake_case_of_2("_Mine")
    ('lst_m2layer', 'lstm2_layer', 'private__mine')
    """
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", class_name)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return f"private{name}" if name.startswith("_") else name


def automatic_name(prefix: str, first: int = 0) -> str:
    """The next free name: ``embedding``, ``embedding_1``, ``embedding_2`` ...

    Names that users give are not looked at, as in Keras.

    Parameters
    ----------
    prefix : str
    first : int, default 0
        The first number, which is left out where it is 0. Names that begin with different ones are counted
        apart.

    Examples
    --------
    >>> automatic_name("for_this_example"), automatic_name("for_this_example")
    ('for_this_example', 'for_this_example_1')
    """
    number = next_number(prefix, first)
    return f"{prefix}_{number}" if number else prefix


def next_number(prefix: str, first: int) -> int:
    """The next number for ``prefix``, of those that begin with ``first``.

    >>> next_number("for that example", 1), next_number("for that example", 1)
    (1, 2)
    """
    return next(_counters.setdefault((prefix, first), itertools.count(first)))


def reset_names() -> None:
    """Count automatic names from the beginning again."""
    _counters.clear()


def checked_name(name: object) -> None:
    """Raise ValueError unless ``name`` can be a name; None can.

    >>> checked_name("a/b")
    Traceback (most recent call last):
      ...
    ValueError: Argument `name` must be a string and cannot contain character `/`. Received: name='a/b'
    """
    if name is not None and (not isinstance(name, str) or "/" in name):
        raise ValueError(
            f"Argument `name` must be a string and cannot contain character `/`. Received: name={name!r}"
        )

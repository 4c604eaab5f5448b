"""What a feature is here: a row of the table, and the tests that show it."""

from __future__ import annotations

from typing import NamedTuple

AGREES, DIFFERS, MISSING, FAILS, ELSEWHERE = (
    "agrees",
    "differs on purpose",
    "missing",
    "FAILS",
    "another page",
)


class Feature(NamedTuple):
    """One row: what each Keras has, what is here, and what shows it.

    ``tests`` are pytest's node ids below tests/, of a file or of a function in it, without the file's
    ``test_`` and ``.py``: ``"eras::test_row_dropout"``. ``differs`` are the beginnings of rows of
    docs/differences.md. ``elsewhere`` names what a row that is not of this library's matters belongs to.
    """

    name: str
    keras1: str
    keras2: str
    tf_keras: str
    keras3: str
    ours: str
    tests: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    elsewhere: str = ""

    @property
    def status(self) -> str:
        """What the row says of itself, when its tests pass."""
        if self.elsewhere:
            return ELSEWHERE
        if not self.tests:
            return MISSING
        return DIFFERS if self.differs else AGREES


class Subject:
    """A title and its features."""

    def __init__(self, title: str, *features: Feature) -> None:
        self.title, self.features = title, features


def node(test: str) -> str:
    """A test's node id for pytest, from the root of the checkout."""
    file, _, name = test.partition("::")
    folder, _, stem = file.rpartition("/")
    return f"tests/{folder + '/' if folder else ''}test_{stem}.py" + (f"::{name}" if name else "")

"""What is promised about the whole, measured: a table of goal, measured, holds or falls short.

``make stress`` and ``make sanitize`` print such tables; each line is one `Goal`.
"""

from __future__ import annotations

from typing import NamedTuple


class Goal(NamedTuple):
    """One promise and what was found."""

    promise: str
    measured: str
    holds: bool | None  # None: could not be measured here, and `measured` says why


_VERDICTS = {True: "holds", False: "FALLS SHORT", None: "not measured"}


def line(goal: Goal) -> str:
    """A goal as a row of a table in Markdown."""
    return f"| {goal.promise} | {goal.measured} | {_VERDICTS[goal.holds]} |"


def table(goals: list[Goal]) -> str:
    """All goals as a table in Markdown, and a last line that counts them."""
    short = sum(goal.holds is False for goal in goals)
    unknown = sum(goal.holds is None for goal in goals)
    last = f"{len(goals) - short - unknown} hold, {short} fall short, {unknown} not measured"
    return "\n".join(["| goal | measured | |", "| --- | --- | --- |", *map(line, goals), "", last])

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


HEAD = "| goal | measured | |\n| --- | --- | --- |"


def summary(goals: list[Goal]) -> str:
    """How many hold, and by name those that fall short."""
    short = [goal.promise for goal in goals if goal.holds is False]
    unknown = sum(goal.holds is None for goal in goals)
    counts = f"{len(goals) - len(short) - unknown} hold, {len(short)} fall short, {unknown} not measured"
    return "\n".join([counts, *(f"falls short: {promise}" for promise in short)])


def table(goals: list[Goal]) -> str:
    """All goals as a table in Markdown, and the summary."""
    return "\n".join([HEAD, *map(line, goals), "", summary(goals)])

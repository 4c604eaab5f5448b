"""The bar that shows how far a training is, and the lines that are printed beside it.

On a terminal it looks as in keras/src/utils/progbar.py of Keras 3.15, character by character. Elsewhere, in a
file or a pipe, there are whole lines without colours and without what overwrites a line.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["Progbar", "print_msg"]

_LINE_INTERVAL = 30.0  # seconds from one line to the next, where a line cannot be overwritten


def print_msg(message: object, line_break: bool = True) -> None:
    """Print for whoever watches: never an error, where nobody can.

    Parameters
    ----------
    message : object
    line_break : bool, default True
        Whether a line ends after it.

    Notes
    -----
    A program without a standard output (``sys.stdout`` is None or closed), or whose terminal has gone, trains
    on. What the encoding of the output lacks is left out, and a bar is drawn with ``=`` there.

    Examples
    --------
    >>> print_msg("Epoch 1/3")
    Epoch 1/3
    """
    text, out = f"{message}\n" if line_break else str(message), sys.stdout
    try:
        try:
            out.write(text)
        except UnicodeEncodeError:
            encoding = out.encoding or "utf-8"
            out.write(text.replace("━", "=").encode(encoding, "ignore").decode(encoding))
        out.flush()
    except (AttributeError, OSError, ValueError):  # None or no file at all, gone, closed
        pass


def _overwrites() -> bool:
    """Whether standard output is a place where a line can be written over."""
    try:
        is_terminal = sys.stdout.isatty()
    except (AttributeError, OSError, ValueError):
        is_terminal = False
    return is_terminal or "ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ


class Progbar:
    """A bar of what is done, with the time that remains and values beside it.

    Parameters
    ----------
    target : int or None
        Steps in all; None if that is not known.
    width : int, default 20
        Of the bar, in characters.
    verbose : {0, 1, 2}, default 1
        0 prints nothing, 1 draws the bar, 2 prints one line at the end.
    interval : float, default 0.05
        Seconds that pass at least before the bar is drawn again.
    stateful_metrics : iterable of str, optional
        Values that are shown as they are; all others are averaged over the steps.
    stateless_metrics : iterable of str, optional
        Instead of the other one: the values that are averaged; all others are shown as they are.
    unit_name : str, default "step"

    Raises
    ------
    ValueError
        If both kinds of metrics are named.

    Notes
    -----
    Where a line cannot be written over (a file, a pipe), a line is printed every 30 seconds and one at the
    end.

    Examples
    --------
    >>> bar = Progbar(100, verbose=2)
    >>> bar.update(50, [("loss", 0.5)])
    >>> bar.add(50, [("loss", 0.3)])  # doctest: +ELLIPSIS
    100/100 - 0s - ...s/step - loss: 0.3000
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError(
                "Only one of `stateful_metrics` and `stateless_metrics` can be given: metrics that are in "
                "neither "
                "are of the other kind"
            )
        self.target, self.width, self.verbose, self.unit_name = target, width, verbose, unit_name
        self._overwrites = _overwrites()
        self.interval = interval if self._overwrites else max(interval, _LINE_INTERVAL)
        self._named = frozenset((stateful_metrics if stateless_metrics is None else stateless_metrics) or ())
        self._named_are_averaged = stateless_metrics is not None
        self._values: dict[str, tuple[Any, int]] = {}  # sum and count
        self._seen = 0
        self._start = time.monotonic()
        self._after_first: float | None = None
        self._last_drawn = -math.inf if self._overwrites else self._start
        self._last_width = 0

    def update(
        self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None
    ) -> None:
        """Show that ``current`` steps are done.

        Parameters
        ----------
        current : int
        values : iterable of (name, value), optional
            Of the steps since the last call.
        finalize : bool, optional
            Whether this is the last call. Default: when the target is reached.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            self._take(name, value, 1 if finalize else max(current - self._seen, 1), finalize)
        self._seen = current
        now = time.monotonic()
        per_step = self._time_per_step(current, now)
        if self.verbose == 1:
            if now - self._last_drawn < self.interval and not finalize:
                return
            self._draw(current, now, per_step, finalize)
            self._last_drawn = now
        elif self.verbose == 2 and finalize and self.target:
            time_taken = f"{now - self._start:.0f}s -{self._formatted_time(per_step)}"
            print_msg(f"{self._counted(current)} - {time_taken}{self._shown_values()}")

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Show that ``n`` more steps are done.

        Parameters
        ----------
        n : int
        values : iterable of (name, value), optional
        """
        self.update(self._seen + n, values)

    def _take(self, name: str, value: Any, steps: int, finalize: bool) -> None:
        if (name in self._named) is not self._named_are_averaged or finalize:
            self._values[name] = value, 1
        else:
            total, count = self._values.get(name, (0.0, 0))
            self._values[name] = total + value * steps, count + steps

    def _draw(self, current: int, now: float, per_step: float, finalize: bool) -> None:
        left = not finalize and self.target
        seconds = per_step * (self.target - current) if self.target and left else now - self._start
        duration = _as_clock(seconds) if left else f"{seconds:.0f}s"
        after = f"{self._formatted_time(per_step)}{self._shown_values()}"
        done = int(self.width * current / self.target) if self.target else 0
        bar = ("━" * done, "━" * (self.width - done)) if self.target else ("", "")
        plain = f"{self._counted(current)}{' ' if self.target else ''}{bar[0]}{bar[1]} {duration}{after}"
        if not self._overwrites:
            print_msg(plain)
            return
        parts = [f"{_BOLD}{self._counted(current)}{_PLAIN} "] if self.target else [self._counted(current)]
        parts += [f"{_GREEN}{bar[0]}{_PLAIN}"] if bar[0] else []
        parts += [f"{_WHITE}{bar[1]}{_PLAIN}"] if self.target else []
        rest = " " * (self._last_width - len(plain))  # of a longer line before
        end = "\n" if finalize else ""
        back = "\b" * self._last_width + "\r"
        print_msg(f"{back}{''.join(parts)} {_BOLD}{duration}{_PLAIN}{after}{rest}{end}", line_break=False)
        self._last_width = len(plain)

    def _counted(self, current: int) -> str:
        if not self.target:
            return f"{current:7d}/Unknown"
        return f"{current:{len(str(self.target))}d}/{self.target}"

    def _shown_values(self) -> str:
        return "".join(f" - {name}: {_as_number(*value)}" for name, value in self._values.items())

    def _formatted_time(self, seconds: float) -> str:
        if seconds >= 1 or not seconds:
            return f" {seconds:.0f}s/{self.unit_name}"
        if seconds >= 1e-3:
            return f" {seconds * 1e3:.0f}ms/{self.unit_name}"
        return f" {seconds * 1e6:.0f}us/{self.unit_name}"

    def _time_per_step(self, current: int, now: float) -> float:
        """Without the first step where there are others: it takes longer than they do."""
        if not current:
            return 0.0
        first, self._after_first = self._after_first, now if current == 1 else self._after_first
        if first is not None and current > 1:
            return (now - first) / (current - 1)
        return (now - self._start) / current


_BOLD, _GREEN, _WHITE, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"


def _as_clock(seconds: float) -> str:
    whole = int(seconds)
    if seconds > 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}" if seconds > 60 else f"{whole}s"


def _as_number(total: Any, count: int) -> str:
    mean = (total if isinstance(total, float) else float(np.mean(total))) / max(1, count)
    return f"{mean:.4f}" if abs(mean) > 1e-3 else f"{mean:.4e}"

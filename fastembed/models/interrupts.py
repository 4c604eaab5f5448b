"""Ctrl-C in the middle of a step waits until the step is whole."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Callable


class Interrupts:
    """``with Interrupts() as interrupts:`` what comes inside ``with interrupts.whole:`` comes after that
    block.

    A second one comes at once. Where signals do not arrive (in threads beside the main one), or a program has
    its own way with them, nothing is done.

    Examples
    --------
    >>> import signal
    >>> with Interrupts() as interrupts:
    ...     try:
    ...         with interrupts.whole:
    ...             signal.raise_signal(signal.SIGINT)
    ...             print("whole")
    ...     except KeyboardInterrupt:
    ...         print("interrupted")
    whole
    interrupted
    """

    _handler: Callable[[int, FrameType | None], Any] | None = None
    _came: tuple[int, FrameType | None] | None = None

    def __init__(self) -> None:
        self.whole = _Whole(self)

    def __enter__(self) -> Interrupts:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            try:
                signal.signal(signal.SIGINT, self._take)
            except ValueError:  # in another thread than the main one
                return self
            self._handler = handler
        return self

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        wait = self.whole.entered and self._came is None
        self._came = (number, frame) if wait else None
        if not wait and self._handler is not None:
            self._handler(number, frame)

    def deliver(self) -> None:
        """Let the one that waits come."""
        came, self._came = self._came, None
        if came is not None and self._handler is not None:
            self._handler(*came)


class _Whole:
    """What interrupts wait for."""

    __slots__ = ("_interrupts", "entered")

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts, self.entered = interrupts, False

    def __enter__(self) -> None:
        self.entered = True

    def __exit__(self, *_: object) -> None:
        self.entered = False
        if self._interrupts._came is not None:
            self._interrupts.deliver()

"""Keras 1's dropout of words."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RowDropout:
    """Drops whole rows of a table: one that is dropped is dropped wherever it was taken.

    Keras 1 drew a number for every row of the table at every call; only the rows that are looked up matter,
    so one is drawn for each of those. The rows that stay are divided by the share of them that does.

    Parameters
    ----------
    rate : float in (0, 1)

    Examples
    --------
    >>> scale = RowDropout(0.5).draw(np.array([7, 3, 7, 7]))
    >>> bool(scale[0] == scale[2] == scale[3]), set(scale.tolist()) <= {0.0, 2.0}
    (True, True)
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        # As initializers do it: `random.seed` makes a whole program repeatable.
        self._generator = np.random.default_rng(random.randint(1, 10**9))
        self._lock = threading.Lock()
        self._drawn = threading.local()  # each thread's backward sees its own

    def draw(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """What each of the rows of these numbers is to be multiplied with: 0, or ``1 / (1 - rate)``."""
        words, places = np.unique(rows, return_inverse=True)
        with self._lock:  # generators are no thread's friend
            kept = self._generator.random(len(words)) >= self.rate
        scale: NDArray[np.float64] = (kept / (1 - self.rate))[places].reshape(rows.shape)
        self._drawn.scale = scale
        return scale

    def last(self) -> NDArray[np.float64]:
        """What `draw` returned last in this thread."""
        return self._drawn.scale

    def __getstate__(self) -> dict[str, Any]:
        return {"rate": self.rate, "_generator": self._generator}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _drawn=threading.local())

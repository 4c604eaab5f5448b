"""Readers while the table changes under them."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np

import fastembed
from fastembed import _rows
from fastembed.layers import Embedding
from stress.promises import apart, promise

ROWS, DIM = 500, 257
VERSIONS = 20  # that readers must have seen at least


@promise("readers while another thread assigns or swaps tables: every row wholly old or wholly new")
def rows(short: bool) -> tuple[str, bool]:
    text, holds = [], True
    for how in _LAYERS:
        for allowed in (1, 2):
            seen, torn, mixed, versions = apart(
                rows_during, how, allowed, 10**5 if short else 10**6, seconds=120
            )
            text.append(
                f"{how}, {allowed} allowed: {torn} torn of {seen} rows, {mixed} lookups of two versions"
            )
            holds &= torn == mixed == 0
            if versions < VERSIONS:
                raise RuntimeError(f"only {versions} versions were seen: that shows nothing")
    return "; ".join(text), holds


def rows_during(how: str, allowed: int, enough: int) -> tuple[int, int, int, int]:
    """Rows that readers saw, rows and lookups of more than one version among them, and the versions."""
    fastembed.set_num_threads(allowed)
    sys.setswitchinterval(1e-5)
    look, change = _LAYERS[how]()
    ids = np.random.default_rng(0).integers(0, ROWS, (20, 200))
    stop, lock = threading.Event(), threading.Lock()
    seen = torn = mixed = 0
    versions: set[float] = set()

    def read(ids: np.ndarray) -> None:
        nonlocal seen, torn, mixed
        while not stop.is_set():
            out = look(ids).reshape(-1, DIM)
            with lock:
                seen += len(out)
                torn += int((out != out[:, :1]).any(axis=1).sum())
                mixed += bool((out[:, 0] != out[0, 0]).any())
                versions.update(out[:, 0].tolist())

    # Half of the readers have their ids contiguous, the others' are copied first.
    readers = [
        threading.Thread(target=read, args=[ids[:, :100].copy() if n % 2 else ids[:, ::2]]) for n in range(4)
    ]
    for reader in readers:
        reader.start()
    end, version = time.monotonic() + 60, 0
    while (seen < enough or len(versions) < VERSIONS) and time.monotonic() < end:
        version += 1
        change(np.full((ROWS, DIM), version, np.float32))
    stop.set()
    for reader in readers:
        reader.join()
    return seen, torn, mixed, len(versions)


def _assigned():
    layer = Embedding(ROWS, DIM, weights=[np.zeros((ROWS, DIM), np.float32)])
    return layer, layer.embeddings.assign


def _replaced():
    table = _rows.Table(np.zeros((ROWS, DIM), np.float32))
    return table.gather, table.replace


_LAYERS = {"assign": _assigned, "replace": _replaced}

"""The main job on real input: ``fastembed demo``, and what it does as functions.

The input is the Python language reference that every Python carries (`pydoc_data.topics`). The model
beside this file was trained on it by real Keras (train.py) and saved by two generations of it.
"""

from __future__ import annotations

import re
import tempfile
import textwrap
import timeit
from pathlib import Path
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from fastembed import layers, threads
from fastembed.saving import list_embeddings, load_embedding

FOLDER = Path(__file__).parent
FILES = ("topics.h5", "topics.keras")
UNKNOWN = 1  # row 0 is padding, row 1 stands for every word that is not in the vocabulary
WORD = re.compile(r"[a-z_][a-z0-9_]+")  # of lower-case text: as in train.py

SHOWN = ("tuple", "float", "bytes", "exception", "async", "import", "namespace", "break")


def vocabulary() -> list[str]:
    """The word of each row.

    >>> vocabulary()[:2]
    ['[PAD]', '[UNK]']
    """
    return (FOLDER / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]


def word_ids(text: str, row_of: dict[str, int]) -> NDArray[np.int64]:
    """The rows of the words of a text.

    >>> word_ids("A tuple, a zyzzyva", {"tuple": 7})
    array([7, 1])
    """
    return np.array([row_of.get(word, UNKNOWN) for word in WORD.findall(text.lower())], np.int64)


def nearest(table: NDArray[Any], row: int, n: int = 5) -> NDArray[np.intp]:
    """The n rows whose direction is closest to that of ``row``, closest first; padding and unknown aside.

    >>> nearest(np.array([[0, 0], [9, 9], [1, 0], [0, 1], [2, 1]]), 2, n=2)
    array([4, 3])
    """
    lengths = np.linalg.norm(table, axis=1)
    cosine = table @ table[row] / np.maximum(lengths * lengths[row], 1e-12)
    cosine[[0, UNKNOWN, row]] = -np.inf
    return np.argsort(-cosine)[:n]


def run(folder: str | Path | None = None) -> int:
    """Open the model both ways, look a text up, show what the vectors know, compare times; train two models.

    What is trained, and its pictures, go into ``folder``; without one into a new temporary folder.
    """
    from pydoc_data.topics import topics

    from fastembed.demo import training

    embeddings = []
    print("1. Open a file that Keras 2 wrote and one that Keras 3 wrote, without TensorFlow")
    for name in FILES:
        [record] = list_embeddings(FOLDER / name)
        print(
            f"   {name:<13} Keras {record.keras_version}: embedding {record.name!r}, "
            f"{record.shape[0]:,} words x {record.shape[1]} {record.dtype}, at {record.location}"
        )
        embeddings.append(load_embedding(FOLDER / name))
    older, embedding = embeddings

    words = vocabulary()
    row_of = {word: row for row, word in enumerate(words)}
    ids = word_ids("\n".join(topics.values()), row_of)
    if not np.array_equal(older(ids), embedding(ids)):
        raise ValueError("the two demo files do not give the same rows: this installation is damaged")
    print(f"   both give the same rows, bit for bit, for the {ids.size:,} words of Python's reference")

    passage = " ".join(topics["exceptions"].split("\n\n")[1].split())
    passage_ids = word_ids(passage, row_of)
    print("\n2. Turn a passage into ids, and ids into rows")
    print(textwrap.indent(textwrap.fill(passage, 90), "   | "))
    shown = ", ".join(map(str, passage_ids[:14]))
    print(f"   ids   [{shown}, ...] ({UNKNOWN}: not in the vocabulary)")
    print(f"   rows  embedding(ids) is an ndarray of shape {embedding(passage_ids).shape}")

    print("\n3. What the rows know: the nearest words, by cosine")
    table = embedding.get_weights()[0]
    for word in SHOWN:
        if word in row_of:
            print(f"   {word:<10} {', '.join(words[row] for row in nearest(table, row_of[word]))}")

    print(f"\n4. Time a lookup, ours beside np.take's ({threads.get_num_threads()} threads; medians)")
    batch = np.resize(ids, (128, 100))
    large = np.resize(ids, 1_000_000)
    for title, sample in (("one id", ids[:1]), ("a batch, 128 x 100 ids", batch), ("1,000,000 ids", large)):
        ours, theirs = _times(embedding, table, sample)
        compared = f"{_readable(ours):>8}  np.take {_readable(theirs):>8}  {theirs / ours:4.1f} times as fast"
        print(f"   {title:<23} {compared}")

    training.run(Path(tempfile.mkdtemp(prefix="fastembed-demo-") if folder is None else folder), topics)
    return 0


def _times(embedding: layers.Embedding, table: NDArray[Any], ids: NDArray[Any]) -> tuple[float, float]:
    """Median seconds of ours and of np.take; they take turns, so that a busy machine slows both."""
    sides: list[Callable[[], Any]] = [lambda: embedding(ids), lambda: np.take(table, ids, axis=0)]
    if not np.array_equal(sides[0](), sides[1]()):
        raise ValueError("fastembed and np.take disagree")
    number = max(1, 20_000 // ids.size)
    seconds = [[timeit.timeit(side, number=number) / number for side in sides] for _ in range(15)]
    ours, theirs = np.median(seconds, axis=0)
    return ours, theirs


def _readable(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"

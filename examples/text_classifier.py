"""A text classifier in the style of fastText: the mean of the vectors of words and pairs of words.

    python text_classifier.py [FILE]

FILE has a text a line, behind its label (0 or 1) and a tab; every fifth line is the test set. Without one,
reviews are made up. In these "not" turns the meaning around, so the pairs matter.
"""

import random
import re
import sys

import numpy as np

from fastembed.layers import Dense, Embedding, GlobalAveragePooling1D
from fastembed.models import Sequential
from fastembed.optimizers import Adam
from fastembed.utils import pad_sequences, set_random_seed

NGRAMS = 2
MAX_LENGTH = 80


def made_up_reviews(number):
    """Lines as of a file."""
    rng = random.Random(1)
    things = ["movie", "plot", "cast", "music", "ending", "book", "story", "hero", "scene", "dialogue"]
    good = ["great", "good", "clever", "charming", "moving", "funny", "brilliant", "fresh"]
    bad = ["awful", "bad", "dull", "boring", "clumsy", "stale", "silly", "tired"]
    for _ in range(number):
        label, parts = rng.randint(0, 1), []
        for thing in rng.sample(things, rng.randint(1, 3)):
            negated = rng.random() < 0.4
            word = rng.choice(good if label != negated else bad)
            parts.append(f"the {thing} was {'not' if negated else rng.choice(['really', 'so'])} {word}")
        yield f"{label}\t{' and '.join(parts)}"


def tokens(text):
    """Words, and pairs, triples ... of neighbours."""
    words = re.findall(r"[\w']+", text.lower())
    return [" ".join(words[i : i + n]) for n in range(1, NGRAMS + 1) for i in range(len(words) - n + 1)]


set_random_seed(1)
if len(sys.argv) > 1:
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = file.read().splitlines()
else:
    lines = list(made_up_reviews(4000))

labels = np.array([int(line.partition("\t")[0]) for line in lines])
texts = [tokens(line.partition("\t")[2]) for line in lines]
test = np.arange(len(texts)) % 5 == 4

# Tokens that the training set has at least twice; 0 is padding, 1 is any other token.
counts = {}
for text, is_test in zip(texts, test):
    for token in () if is_test else text:
        counts[token] = counts.get(token, 0) + 1
known = [token for token, count in counts.items() if count > 1]
number_of = {token: number for number, token in enumerate(known, start=2)}
x = pad_sequences([[number_of.get(token, 1) for token in text] for text in texts], maxlen=MAX_LENGTH)
print(len(texts), "texts,", len(known), "words and pairs of words")

model = Sequential()
model.add(Embedding(len(known) + 2, 32, mask_zero=True))
model.add(GlobalAveragePooling1D())
model.add(Dense(1, activation="sigmoid"))
model.compile(loss="binary_crossentropy", optimizer=Adam(0.01), metrics=["accuracy"])
history = model.fit(
    x[~test], labels[~test], batch_size=32, epochs=6, validation_data=(x[test], labels[test]), verbose=2
)

loss, accuracy = model.evaluate(x[test], labels[test], verbose=0)
print(f"Chance: {max(labels[test].mean(), 1 - labels[test].mean()):.3f}")
print(f"Test accuracy: {accuracy:.3f}")
for text in ("the story was really charming", "the story was not charming"):
    row = pad_sequences([[number_of.get(token, 1) for token in tokens(text)]], maxlen=MAX_LENGTH)
    print(f"{model.predict(row, verbose=0)[0, 0]:.2f}  {text}")

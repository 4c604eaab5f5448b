"""The first program with an Embedding that most people met, as it was written for Keras 2."""

from numpy import array

from fastembed.layers import Dense, Flatten
from fastembed.layers.embeddings import Embedding
from fastembed.models import Sequential
from fastembed.preprocessing.sequence import pad_sequences
from fastembed.preprocessing.text import one_hot
from fastembed.utils import set_random_seed

set_random_seed(7)

# What people wrote about their work, and whether they were pleased with it.
docs = [
    "Very well done!",
    "Good work",
    "A great effort",
    "Nice and tidy work",
    "Excellent!",
    "Weak",
    "A poor effort!",
    "Not good",
    "Poor work",
    "Could be much better.",
]
labels = array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])

# Each word is a number below 50 (two words may share one), and each text four numbers.
vocab_size = 50
encoded = [one_hot(d, vocab_size) for d in docs]
max_length = 4
padded = pad_sequences(encoded, maxlen=max_length, padding="post")
print(padded)

model = Sequential()
model.add(Embedding(vocab_size, 8, input_length=max_length))
model.add(Flatten())
model.add(Dense(1, activation="sigmoid"))
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.summary()

model.fit(padded, labels, epochs=50, verbose=0)
loss, accuracy = model.evaluate(padded, labels, verbose=0)
print("Accuracy: %.1f" % (accuracy * 100))

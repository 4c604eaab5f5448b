"""The same first program as it is written for Keras 3."""

import numpy as np

import fastembed as keras

keras.utils.set_random_seed(7)

# What people wrote about their work, and whether they were pleased with it.
docs = [
    "very well done",
    "good work",
    "a great effort",
    "nice and tidy work",
    "excellent",
    "weak",
    "a poor effort",
    "not good",
    "poor work",
    "could be much better",
]
labels = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])

words = sorted({word for doc in docs for word in doc.split()})
number_of = {word: number for number, word in enumerate(words, start=1)}  # 0 is left for padding
encoded = [[number_of[word] for word in doc.split()] for doc in docs]
padded = keras.utils.pad_sequences(encoded, maxlen=4, padding="post")

model = keras.Sequential(
    [
        keras.Input((4,), dtype="int32"),
        keras.layers.Embedding(50, 8),
        keras.layers.Flatten(),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.summary()

model.fit(padded, labels, epochs=50, verbose=0)
loss, accuracy = model.evaluate(padded, labels, verbose=0)
print(f"Accuracy: {accuracy * 100:.1f}")

sentence = [[number_of[word] for word in ["poor", "effort"]]]
chance = model.predict(keras.utils.pad_sequences(sentence, maxlen=4, padding="post"), verbose=0)
print(f"'poor effort' pleased somebody with a probability of {chance[0, 0]:.2f}")

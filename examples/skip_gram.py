"""Skip-gram with negative sampling: words that keep the same company get similar vectors.

One Embedding is shared by both words of a pair; their product says whether they were seen together. The text
is made up: each sentence is about one of four subjects.
"""

import random

import numpy as np

import fastembed as keras
from fastembed.layers import Activation, Dot, Embedding, Flatten, Input
from fastembed.models import Model
from fastembed.preprocessing.sequence import make_sampling_table, skipgrams

SUBJECTS = {
    "kitchen": ["cook", "pan", "oven", "bread", "salt", "knife", "soup", "plate"],
    "garden": ["plant", "rose", "grass", "seed", "rain", "tree", "soil", "bee"],
    "road": ["drive", "car", "bus", "truck", "wheel", "bridge", "bike", "fuel"],
    "music": ["sing", "piano", "song", "drum", "concert", "guitar", "tune", "band"],
}
FILLERS = ["the", "a", "and", "with", "of", "in", "on", "very"]

keras.utils.set_random_seed(0)
rng = random.Random(0)
text = []
for _ in range(3000):
    about = rng.choice(list(SUBJECTS.values()))
    text.append([rng.choice(about if rng.random() < 0.6 else FILLERS) for _ in range(8)])
counts = {}
for word in (word for sentence in text for word in sentence):
    counts[word] = counts.get(word, 0) + 1
words = ["", *sorted(counts, key=lambda word: (-counts[word], word))]  # by frequency, as the table wants it
number_of = {word: number for number, word in enumerate(words)}

table = make_sampling_table(len(words), sampling_factor=1e-2)
couples, labels = [], []
for sentence in text:
    found = skipgrams([number_of[word] for word in sentence], len(words), 3, sampling_table=table)
    couples += found[0]
    labels += found[1]
target, context = np.array(couples, dtype="int32").T
labels = np.array(labels, dtype="float32")
print(len(labels), "pairs of", len(words) - 1, "words")

target_input = Input(shape=(1,), dtype="int32", name="target")
context_input = Input(shape=(1,), dtype="int32", name="context")
embedding = Embedding(len(words), 16, name="words")
first, second = (Flatten()(embedding(each)) for each in (target_input, context_input))
product = Dot(axes=1)([first, second])
model = Model(inputs=[target_input, context_input], outputs=Activation("sigmoid")(product))
model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(0.01))
model.summary()
history = model.fit([target, context], labels, batch_size=256, epochs=8, verbose=2)

[vectors] = model.get_layer("words").get_weights()
vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
right = total = 0
for subject, members in SUBJECTS.items():
    for word in members:
        nearest = [
            words[i] for i in np.argsort(-vectors @ vectors[number_of[word]]) if words[i] not in ("", word)
        ]
        right += sum(other in members for other in nearest[:3])
        total += 3
    print(f"{subject:8} {word}: {', '.join(nearest[:3])}")
print(f"Nearest words of the same subject: {right / total:.3f}")

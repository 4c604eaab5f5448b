"""Neural collaborative filtering (NeuMF): who will like what, from what was liked.

Two pairs of embeddings: one is multiplied, the other goes through Dense layers. What was not liked is drawn
at random. The test is the paper's: of a user's last item and 50 others, is his among the ten best?
"""

import numpy as np

import fastembed as keras
from fastembed.layers import Concatenate, Dense, Embedding, Flatten, Input, Multiply
from fastembed.models import Model

USERS, ITEMS, GROUPS, LIKED, NEGATIVES = 200, 120, 6, 12, 4

keras.utils.set_random_seed(5)
rng = np.random.default_rng(5)

# Users and items belong to groups; nine likes in ten are within one's group.
group_of_item = np.arange(ITEMS) % GROUPS
liked = []
for user in range(USERS):
    weight = np.where(group_of_item == user % GROUPS, 0.9, 0.1 / (GROUPS - 1))
    liked.append(rng.choice(ITEMS, LIKED, replace=False, p=weight / weight.sum()))

users, items, labels = [], [], []
for user in range(USERS):
    for item in liked[user][:-1]:
        unseen = rng.choice(np.setdiff1d(np.arange(ITEMS), liked[user]), NEGATIVES)
        users += [user] * (1 + NEGATIVES)
        items += [item, *unseen]
        labels += [1] + [0] * NEGATIVES
users, items, labels = np.array(users), np.array(items), np.array(labels)

user_input = Input(shape=(1,), dtype="int32", name="user_input")
item_input = Input(shape=(1,), dtype="int32", name="item_input")
factors = [
    Flatten()(Embedding(USERS, 8, name="mf_embedding_user")(user_input)),
    Flatten()(Embedding(ITEMS, 8, name="mf_embedding_item")(item_input)),
]
features = [
    Flatten()(Embedding(USERS, 16, name="mlp_embedding_user")(user_input)),
    Flatten()(Embedding(ITEMS, 16, name="mlp_embedding_item")(item_input)),
]
deep = Concatenate()(features)
for units in (32, 16, 8):
    deep = Dense(units, activation="relu", name=f"layer_{units}")(deep)
both = Concatenate()([Multiply()(factors), deep])
output = Dense(1, activation="sigmoid", kernel_initializer="lecun_uniform", name="prediction")(both)
model = Model(inputs=[user_input, item_input], outputs=output)
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.summary()

for epoch in range(8):
    history = model.fit([users, items], labels, batch_size=64, epochs=1, shuffle=True, verbose=0)
    hits = 0
    for user in range(USERS):
        unseen = np.setdiff1d(np.arange(ITEMS), liked[user])[:50]
        candidates = np.append(unseen, liked[user][-1])
        scores = model.predict_on_batch([np.full(len(candidates), user), candidates])[:, 0]
        hits += (scores > scores[-1]).sum() < 10
    print(f"Epoch {epoch + 1}: loss {history.history['loss'][0]:.4f}, hit ratio at 10: {hits / USERS:.3f}")
print(f"By chance: {10 / 51:.3f}")

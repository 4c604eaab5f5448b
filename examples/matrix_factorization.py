"""A recommender by matrix factorisation: a rating is the product of a user's vector and a film's.

The ratings are made up: users and films have hidden tastes, and every fifth rating is kept for the test.
"""

import numpy as np

import fastembed as keras
from fastembed.layers import Dot, Embedding, Flatten, Input
from fastembed.models import Model

USERS, FILMS, RATINGS, FACTORS = 300, 200, 20_000, 8

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)
users = rng.integers(0, USERS, RATINGS)
films = rng.integers(0, FILMS, RATINGS)
taste, style = rng.normal(size=(USERS, 3)), rng.normal(size=(FILMS, 3))
ratings = np.clip(3 + 0.8 * (taste[users] * style[films]).sum(axis=1) + rng.normal(0, 0.3, RATINGS), 1, 5)
test = np.arange(RATINGS) % 5 == 4
mean = ratings[~test].mean()

user_input = Input(shape=(1,), dtype="int32", name="user")
film_input = Input(shape=(1,), dtype="int32", name="film")
user_vector = Flatten()(Embedding(USERS, FACTORS, name="user_embedding")(user_input))
film_vector = Flatten()(Embedding(FILMS, FACTORS, name="film_embedding")(film_input))
model = Model([user_input, film_input], Dot(axes=1)([user_vector, film_vector]))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
model.summary()

history = model.fit(
    [users[~test], films[~test]],
    ratings[~test] - mean,
    batch_size=256,
    epochs=8,
    validation_split=0.1,
    verbose=2,
)
predicted = model.predict([users[test], films[test]], batch_size=1024, verbose=0)[:, 0] + mean
print(f"RMSE of the mean rating: {np.sqrt(np.mean((ratings[test] - mean) ** 2)):.3f}")
print(f"RMSE: {np.sqrt(np.mean((ratings[test] - predicted) ** 2)):.3f}")

everything = np.arange(FILMS)
scores = model.predict([np.full(FILMS, 7), everything], verbose=0)[:, 0]
print("Films for user 7:", *np.argsort(-scores)[:5])

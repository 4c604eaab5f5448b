"""Entity embeddings: the columns of a table whose values are names, as vectors beside its numbers.

A shop's sales depend on the weekday, the month, the shop and the temperature. The table is made up; a tenth
of it, the last, is the test set.
"""

import numpy as np

import fastembed as keras
from fastembed.layers import Concatenate, Dense, Embedding, Input, Reshape
from fastembed.models import Model

ROWS, SHOPS = 8000, 40
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

keras.utils.set_random_seed(4)
rng = np.random.default_rng(4)
table = {
    "day": rng.integers(0, 7, ROWS),
    "month": rng.integers(0, 12, ROWS),
    "shop": rng.integers(0, SHOPS, ROWS),
    "temperature": rng.normal(size=ROWS).astype("float32"),
}
size_of_shop = rng.normal(0, 0.5, SHOPS)
busy = np.array([0, 0, 0.1, 0.1, 0.3, 0.9, 1.0])  # weekends
sales = (
    busy[table["day"]] * (1 + 0.5 * np.cos(table["month"] * np.pi / 6))
    + size_of_shop[table["shop"]]
    + 0.2 * table["temperature"]
    + rng.normal(0, 0.1, ROWS)
).astype("float32")

inputs, parts = {}, []
for column, values, dim in (("day", 7, 4), ("month", 12, 4), ("shop", SHOPS, 8)):
    inputs[column] = Input(shape=(1,), dtype="int32", name=column)
    vector = Embedding(values, dim, name=f"{column}_embedding")(inputs[column])
    parts.append(Reshape((dim,))(vector))
inputs["temperature"] = Input(shape=(1,), name="temperature")
parts.append(inputs["temperature"])
x = Concatenate()(parts)
x = Dense(64, activation="relu")(x)
x = Dense(32, activation="relu")(x)
model = Model(inputs=list(inputs.values()), outputs=Dense(1)(x))
model.compile(optimizer="adam", loss="mse", metrics=["mae"])
model.summary()

train, test = slice(None, ROWS * 9 // 10), slice(ROWS * 9 // 10, None)
early = keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
model.fit(
    {name: column[train] for name, column in table.items()},
    sales[train],
    batch_size=64,
    epochs=15,
    validation_split=0.1,
    callbacks=[early],
    verbose=2,
)
predicted = model.predict({name: column[test] for name, column in table.items()}, verbose=0)[:, 0]
print(f"RMSE of the mean: {np.sqrt(np.mean((sales[test] - sales[train].mean()) ** 2)):.3f}")
print(f"RMSE: {np.sqrt(np.mean((sales[test] - predicted) ** 2)):.3f}")

[days] = model.get_layer("day_embedding").get_weights()
distances = np.linalg.norm(days - days[DAYS.index("Sun")], axis=1)
print("Days, from the one most like a Sunday on:", *(DAYS[i] for i in np.argsort(distances)))

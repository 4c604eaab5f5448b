"""200 steps of ``fit`` beside real Keras 3 on JAX, with every optimizer: losses and weights to 1e-5.

Both begin with the same weights and take the same batches in the same order; ids repeat in them, and a fifth
of the words is in few of them. Lion moves each weight by the sign of a sum: where that is a rounding error
away from zero two libraries go different ways, so of Lion the loss is compared and not each weight.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from two_libraries import process

import fastembed

if not all(map(importlib.util.find_spec, ("keras", "jax"))):
    pytest.skip("real Keras and JAX are not installed (they need NumPy 2)", allow_module_level=True)

WORDS, WIDTH, LENGTH, BATCH, BATCHES, EPOCHS = 60, 8, 12, 16, 20, 10


@pytest.fixture(scope="module")
def keras():
    with process("keras", "jax") as ask:
        yield ask


def texts():
    """Ids, of which low ones are frequent and some are padding, and a label that depends on them."""
    rng = np.random.default_rng(3)
    ids = np.minimum(rng.geometric(0.06, (BATCH * BATCHES, LENGTH)), WORDS - 1).astype("int32")
    ids[rng.random(ids.shape) < 0.2] = 0
    ids[:, 0] = np.maximum(ids[:, 0], 1)
    return ids, (ids % 7 == 3).sum(axis=1).clip(0, 1).astype("float32")[:, None]


def weights():
    """The first weights of both models."""
    rng = np.random.default_rng(4)
    shapes = (WORDS, WIDTH), (WIDTH, 8), (8,), (8, 1), (1,)
    return [rng.uniform(-0.4, 0.4, shape).astype("float32") for shape in shapes]


def trained(library, optimizer, masked, regularizer):
    """The loss after each step, as fit says it, and the weights in the end."""
    layers, (ids, labels) = library.layers, texts()
    model = library.Sequential(
        [
            library.Input((LENGTH,), dtype="int32"),
            layers.Embedding(WORDS, WIDTH, mask_zero=masked, embeddings_regularizer=regularizer),
            layers.GlobalAveragePooling1D(),
            layers.Dense(8, activation="tanh"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.set_weights(weights())
    schedules = library.optimizers.schedules
    made = eval(optimizer, {"schedules": schedules, **vars(library.optimizers)})
    model.compile(made, "binary_crossentropy", metrics=["accuracy"])
    losses = []
    seen = library.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: losses.append(float(logs["loss"]))
    )
    history = model.fit(
        ids, labels, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[seen]
    )
    assert len(losses) == BATCHES * EPOCHS == 200
    return losses, history.history["accuracy"], [np.array(each) for each in model.get_weights()]


OPTIMIZERS = [
    "SGD(0.1)",
    "SGD(0.05, momentum=0.9, nesterov=True)",
    "RMSprop(0.002)",
    "RMSprop(0.002, momentum=0.5, centered=True)",
    "Adagrad(0.05)",
    "Adadelta(1.0)",
    "Adam(0.003)",
    "Adam(0.003, amsgrad=True)",
    "Adam(schedules.ExponentialDecay(0.01, 50, 0.5))",
    "Adam(0.003, global_clipnorm=0.05)",
    "AdamW(0.003, weight_decay=0.05)",
    "Adamax(0.003)",
    "Nadam(0.003)",
    "Ftrl(0.05)",
    "Lamb(0.003)",
    "Lion(0.0005)",
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("masked", "regularizer"), [(False, None), (True, "l2")])
def test_200_steps(keras, optimizer, masked, regularizer):
    losses, accuracies, ours = trained(fastembed, optimizer, masked, regularizer)
    expected, their_accuracies, theirs = keras(trained, optimizer, masked, regularizer)
    signs = optimizer.startswith("Lion")
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-3 if signs else 1e-5)
    assert expected[-1] < expected[0], "it learns"
    if not signs:
        np.testing.assert_allclose(accuracies, their_accuracies, rtol=0, atol=1e-6)
        for our, their in zip(ours, theirs):
            np.testing.assert_allclose(our, their, rtol=0, atol=1e-5)

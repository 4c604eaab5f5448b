"""Random nets around embeddings, beside real Keras 3 on JAX: outputs, losses, and gradients of all weights.

A net is a list of layers, each with the numbers of the values that it takes; the first values are arrays of
ids. Both libraries make it of the same lines and are given the same weights. Keras differentiates by itself,
ours goes back through the layers; masks go from layer to layer, in ours by hand.
"""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, event, given, note, settings
from hypothesis import strategies as st
from two_libraries import Raised, make, process

import fastembed

if not all(map(importlib.util.find_spec, ("keras", "jax"))):
    pytest.skip("real Keras and JAX are not installed (they need NumPy 2)", allow_module_level=True)


@pytest.fixture(scope="module")
def keras():
    with process("keras", "jax") as ask:
        yield ask


class Net(NamedTuple):
    """Ids, and layers with what they take: the number of a value, or a list of several."""

    ids: list[np.ndarray]
    layers: list[tuple[str, int | list[int]]]

    def __repr__(self) -> str:
        lines = [f"{i}: ids {ids.tolist()}" for i, ids in enumerate(self.ids)]
        lines += [f"{i}: {line} of {of}" for i, (line, of) in enumerate(self.layers, len(self.ids))]
        return "\n".join(["Net", *lines])

    @property
    def ends(self) -> list[int]:
        """The values that no layer takes."""
        taken = {i for _, of in self.layers for i in (of if isinstance(of, list) else [of])}
        return [i for i in range(len(self.ids) + len(self.layers)) if i not in taken]


def values_for(weights):
    """Values for all weights of a net, whose shapes they have."""
    rng = np.random.default_rng(len(weights))
    for weight in weights:
        low, high = (0.5, 1.5) if "variance" in weight.name or "gamma" in weight.name else (-0.8, 0.8)
        yield rng.uniform(low, high, weight.shape).astype(np.float32)


def upstreams(outputs):
    """What each number of the outputs adds to the loss."""
    rng = np.random.default_rng(1)
    return [rng.uniform(-1, 1, np.shape(each)).astype(np.float32) for each in outputs]


def picked(values, of):
    return [values[i] for i in of] if isinstance(of, list) else values[of]


# --- Both ways ------------------------------------------------------------------------------------


def by_keras(library, net):
    import jax

    layers = []

    def forward():
        values = list(map(jax.numpy.asarray, net.ids))
        for layer, (_, of) in zip(layers, net.layers):
            values.append(layer(picked(values, of), training=True))
        return [values[i] for i in net.ends]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that masks do not get past
        layers += [make(library, line) for line, _ in net.layers]
        forward()
        weights = [weight for layer in layers for weight in layer.weights]
        for weight, value in zip(weights, values_for(weights)):
            weight.assign(value)
        trained = [weight for layer in layers for weight in layer.trainable_weights]

        def loss(values):
            with library.StatelessScope(list(zip(trained, values)), collect_losses=True):
                outputs = forward()
                losses = [each for layer in layers for each in layer.losses]
            parts = [(x * slope).sum() for x, slope in zip(outputs, upstreams(outputs))]
            return sum(parts) + sum(losses), (outputs, losses)

        (_, seen), gradients = jax.value_and_grad(loss, has_aux=True)([w.value for w in trained])
    outputs, losses = (list(map(np.asarray, each)) for each in seen)
    return outputs, losses, {w.path: np.asarray(g) for w, g in zip(trained, gradients)}


def ours(line):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "rms_scaling")
        return make(fastembed, line)


def by_us(net):
    layers = [ours(line) for line, _ in net.layers]

    def forward(training):
        values, masks = list(net.ids), [None] * len(net.ids)
        for layer, (_, of) in zip(layers, net.layers):
            inputs, mask = picked(values, of), picked(masks, of)
            several = mask if isinstance(of, list) else [mask]
            takes = "mask" in inspect.signature(layer.call).parameters
            told = {"mask": mask} if takes and any(each is not None for each in several) else {}
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "softmax over axis")  # of one number, which is 1
                values.append(layer(inputs, training=training, **told))
            masks.append(layer.compute_mask(inputs, mask) if layer.supports_masking else None)
        return values

    forward(False)
    weights = [weight for layer in layers for weight in layer.weights]
    for weight, value in zip(weights, values_for(weights)):
        weight.assign(value)
    values = forward(True)
    outputs = [values[i] for i in net.ends]
    slopes: list[np.ndarray | float] = [0.0] * len(values)
    for i, slope in zip(net.ends, upstreams(outputs)):
        slopes[i] = slope
    losses = [each for layer in layers for each in layer.losses]
    for i in reversed(range(len(layers))):
        of, upstream = net.layers[i][1], slopes[len(net.ids) + i]
        gradient = layers[i].backward(np.broadcast_to(upstream, values[len(net.ids) + i].shape))
        layers[i].add_regularization_gradients()
        for j, each in zip(of, gradient) if isinstance(of, list) else [(of, gradient)]:
            if each is not None:
                assert each.shape == values[j].shape
                slopes[j] = slopes[j] + each
    return outputs, losses, [(w, gradient_of(w)) for layer in layers for w in layer.trainable_weights]


def gradient_of(weight):
    gradient = weight.gradient
    if gradient is None:
        return np.zeros(weight.shape)
    return gradient.to_dense() if hasattr(gradient, "to_dense") else gradient


def agree(keras, net):
    theirs = keras(by_keras, net)
    if isinstance(theirs, Raised) and theirs.name == "IndexError" and "BatchNormalization" in str(net):
        return False  # by a mask for one feature (test_normalization.py::test_a_mask_for_one_feature)
    assert not isinstance(theirs, Raised), theirs
    outputs, losses, gradients = theirs
    if not all(np.isfinite(each).all() for each in (*outputs, *losses, *gradients.values())):
        return False
    our_outputs, our_losses, our_gradients = by_us(net)
    for our, their in zip(our_outputs, outputs):
        assert_near(our, their, "output")
    assert len(our_losses) == len(losses)
    for our, their in zip(our_losses, losses):
        assert_near(our, their, "loss")
    assert [w.shape for w, _ in our_gradients] == [g.shape for g in gradients.values()]
    for (_, our), (path, their) in zip(our_gradients, gradients.items()):
        assert_near(our, their, path)
    return True


def assert_near(our, theirs, what):
    assert np.shape(our) == np.shape(theirs), what
    size = max(1.0, np.abs(theirs).max(initial=0))
    np.testing.assert_allclose(our, theirs, rtol=2e-4, atol=2e-5 * size, err_msg=what)


# --- Nets -----------------------------------------------------------------------------------------

ACTIVATIONS = [
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh",
    "tanh_shrink",
]  # fmt: skip
EMBEDDINGS = [
    "",
    ", mask_zero=True",
    ", mask_zero=True, embeddings_regularizer='l2'",
    ", embeddings_regularizer=regularizers.L1L2(0.02, 0.1)",
    ", activity_regularizer=regularizers.L2(0.3)",
]
DENSES = [
    "",
    ", use_bias=False",
    ", 'tanh', kernel_regularizer=regularizers.L1(0.1), bias_regularizer='l2'",
    ", 'relu', activity_regularizer=regularizers.L1L2(0.1, 0.2)",
    ", kernel_regularizer=regularizers.OrthogonalRegularizer(0.1)",
]
ANY = [
    "LeakyReLU(0.2)",
    "ReLU(max_value=0.9, negative_slope=0.1, threshold=0.05)",
    "ELU(0.7)",
    "PReLU()",
    "LayerNormalization()",
    "LayerNormalization(epsilon=0.1, center=False, gamma_regularizer='l2')",
    "LayerNormalization(rms_scaling=True)",
    "BatchNormalization(epsilon=0.1)",
    "BatchNormalization(epsilon=0.2, scale=False, beta_regularizer='l1')",
    "Dropout(0.0)",
    "Flatten()",
    "Activation('tanh', activity_regularizer='l2')",
]
OF_STEPS = [
    "GlobalAveragePooling1D()",
    "GlobalMaxPooling1D()",
    "GlobalAveragePooling1D(keepdims=True)",
    "GlobalMaxPooling1D('channels_first')",
    "Permute((2, 1))",
    "Reshape((-1,))",
    "SpatialDropout1D(0.0)",
    "Masking(0.25)",
    "LayerNormalization(axis=[1, 2], epsilon=0.1)",
    "PReLU(shared_axes=[1])",
]
MERGING = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]


def net_of(draw):
    """A net whose shapes fit; in no strategy, because layers draw seeds."""
    batch, length = draw(st.integers(2, 3)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    count = draw(st.integers(1, 2))
    ids = [rng.integers(0, 6, (batch, length)) for _ in range(count)]
    for each in ids:
        each[:, 0] += each[:, 0] == 0  # an average over nothing is no number
    layers, shapes = [], [each.shape for each in ids]
    width = draw(st.integers(1, 4))

    def put(line, of):
        layers.append((f"layers.{line}", of))
        layer = ours(layers[-1][0])
        shapes.append(layer.compute_output_shape(picked(shapes, of)))

    for i in range(count):
        put(f"Embedding(6, {width}{draw(st.sampled_from(EMBEDDINGS))})", i)
    for _ in range(draw(st.integers(1, 7))):
        i = draw(st.integers(count, len(shapes) - 1))
        rank = len(shapes[i])
        if rank > 3:
            continue
        alike = [j for j in range(count, len(shapes)) if j != i and shapes[j] == shapes[i]]
        dots = [
            j for j in range(count, len(shapes)) if shapes[j][-1] == shapes[i][-1] and len(shapes[j]) <= 3
        ]
        kinds = ["dense", "activation", "any", *["merge"] * 2 * bool(alike), "dot"]
        kind = draw(st.sampled_from([*kinds, *(["steps"] * 2 if rank == 3 else ["repeat"])]))
        if kind == "dense":
            put(f"Dense({draw(st.integers(1, 4))}{draw(st.sampled_from(DENSES))})", i)
        elif kind == "activation":
            put(f"Activation('{draw(st.sampled_from(ACTIVATIONS))}')", i)
        elif kind == "any":
            put(draw(st.sampled_from(ANY)), i)
        elif kind == "steps":
            put(draw(st.sampled_from(OF_STEPS)), i)
        elif kind == "repeat":
            put(f"RepeatVector({draw(st.integers(1, 3))})", i)
        elif kind == "dot":
            # One number is 1 or -1 when it is normalized, and products may cancel: what is left is rounding.
            cancels = shapes[i][-1] == 1 or any("Dot(" in line for line, _ in layers)
            normalize = not cancels and draw(st.booleans())
            put(f"Dot(axes=-1, normalize={normalize})", [i, draw(st.sampled_from(dots))])
        else:
            put(f"{draw(st.sampled_from(MERGING))}()", [i, draw(st.sampled_from(alike))])
    return Net(ids, layers)


@settings(max_examples=30)
@given(data=st.data())
def test_random_nets(keras, data):
    net = net_of(data.draw)
    note(net)
    for line, _ in net.layers:
        event(line.partition("(")[0])
    assume(agree(keras, net))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(keras, activation):
    ids = np.array([[1, 2, 3], [4, 5, 0]])
    layers = [("layers.Embedding(6, 4)", 0), (f"layers.Dense(5, '{activation}')", 1)]
    assert agree(keras, Net([ids], layers))


@pytest.mark.parametrize("line", [*ANY, *OF_STEPS, "BatchNormalization(axis=1, epsilon=0.3)"])
@pytest.mark.parametrize("more", EMBEDDINGS)
def test_every_layer(keras, line, more):
    ids = np.array([[1, 2, 3], [4, 5, 0], [3, 0, 3]])
    layers = [(f"layers.Embedding(6, 4{more})", 0), (f"layers.{line}", 1)]
    assert agree(keras, Net([ids], layers))

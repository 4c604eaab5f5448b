"""Finite differences, as the twin of every layer's `backpropagate`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def slopes(function: Callable[[], float], array: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences of ``function()`` for each number of ``array``, which it reads."""
    found = np.empty(array.shape)
    for place in np.ndindex(array.shape):
        before = array[place]
        array[place] = before + step
        above = function()
        array[place] = before - step
        below = function()
        array[place] = before
        found[place] = (above - below) / (2 * step)
    return found


def check_gradients(layer, inputs, *, before_call=lambda: None, rtol=1e-6, atol=1e-7, seed=0, **arguments):
    """`backward` against finite differences, for the inputs and every trainable weight.

    ``layer`` and ``inputs`` (an array, or a list of them) are of float64. ``before_call`` puts back what
    a call changes (a seed, moving averages). Returns the gradient of the inputs.
    """
    arrays = [np.array(x, np.float64) for x in (inputs if isinstance(inputs, list) else [inputs])]
    given = arrays if isinstance(inputs, list) else arrays[0]

    def call():
        before_call()
        return np.asarray(layer(given, training=True, **arguments))

    outputs = call()
    upstream = np.random.default_rng(seed).uniform(-1, 1, outputs.shape)
    for variable in layer.weights:
        variable.clear_gradient()
    gradients = layer.backward(upstream)

    def loss():
        value = float((call() * upstream).sum())
        layer._recorded.__dict__["calls"].pop()
        return value

    of_inputs = gradients if isinstance(inputs, list) else [gradients]
    assert len(of_inputs) == len(arrays)
    for gradient, array in zip(of_inputs, arrays):
        if gradient is not None:
            assert gradient.shape == array.shape
            np.testing.assert_allclose(gradient, slopes(loss, array), rtol=rtol, atol=atol)
    for variable in layer.trainable_weights:
        values = variable.numpy()

        def loss_with(values=values, variable=variable):
            variable.assign(values)
            return loss()

        gradient = variable.gradient
        gradient = gradient.to_dense() if hasattr(gradient, "to_dense") else gradient
        np.testing.assert_allclose(gradient, slopes(loss_with, values), rtol=rtol, atol=atol)
        variable.assign(values)
    return gradients

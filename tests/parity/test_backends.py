"""What each backend of Keras 3, and tf_keras, does with ids that are no rows: columns of `ids_outside`."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from ids_outside import OUTSIDE
from two_libraries import Raised, make, process

BACKENDS = {"numpy": "keras", "jax": "keras", "tensorflow": "keras", "tf_keras": "tf_keras"}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    library, needed = BACKENDS[request.param], "tensorflow" if request.param == "tf_keras" else request.param
    if not (importlib.util.find_spec(needed) and importlib.util.find_spec(library)):
        pytest.skip(f"{request.param} is not installed (make parity does it)")
    with process(library, needed) as ask:
        yield request.param, ask


def looked_up(library, ids):
    layer = library.layers.Embedding(4, 1, embeddings_initializer="zeros")
    layer.build((None,))
    layer.set_weights([np.arange(4.0)[:, None]])
    with np.errstate(invalid="ignore"):  # NumPy cuts infinity with a warning
        return float(np.asarray(layer(make(library, ids))).item())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("outside", OUTSIDE, ids=lambda outside: outside.id)
def test_ids_outside(backend, outside):
    name, ask = backend
    expected, answer = getattr(outside, name), ask(looked_up, outside.id)
    if isinstance(answer, Raised):
        assert answer.name == expected
    else:
        np.testing.assert_equal(answer, expected)

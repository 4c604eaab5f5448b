"""One program, run by two libraries: fastembed and a Keras.

A program is a function of a library that returns what a user would see of it, or lines of Python in which the
library's names stand for themselves (`steps`). Keras runs in another process where a test needs another
backend than this process has.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import importlib
import importlib.util
import multiprocessing
import os
import pickle
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple

import numpy as np
from strategies import bits

import fastembed


@dataclass
class Raised:
    """The error that a program ended in."""

    name: str
    message: str


def outcome(program, library, *args):
    try:
        return program(library, *args)
    except Exception as error:
        return Raised(type(error).__name__, str(error))


def run(library, backend, program, *args):
    os.environ["KERAS_BACKEND"] = backend
    return outcome(program, importlib.import_module(library), *args)


@contextlib.contextmanager
def process(library, backend="numpy"):
    """A new process that runs programs with a library; without that library the test is skipped."""
    import pytest  # here, because tests/accuracy.py runs without it

    if not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed (real Keras 3 needs NumPy 2)")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda program, *args: pool.submit(run, library, backend, program, *args).result()


def assert_same(ours, theirs):
    """Equal values of equal types; arrays bit for bit."""
    assert type(ours) is type(theirs), (ours, theirs)
    if isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(bits(ours), bits(theirs))
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), (ours, theirs)
        for our, their in zip(ours, theirs):
            assert_same(our, their)
    elif isinstance(theirs, dict):
        assert set(ours) == set(theirs), (ours, theirs)
        for key, their in theirs.items():
            assert_same(ours[key], their)
    elif isinstance(theirs, Raised):
        assert ours.name == theirs.name, (ours, theirs)
    else:
        assert ours == theirs


def agree(keras, program, *args):
    """Run a program with both; return what both returned."""
    ours, theirs = outcome(program, fastembed, *args), keras(program, *args)
    assert not isinstance(theirs, Raised), theirs
    assert_same(ours, theirs)
    return ours


def agree_to_raise(keras, program, *args):
    """Run a program that both must refuse; return both errors, which are of one class."""
    ours, theirs = outcome(program, fastembed, *args), keras(program, *args)
    assert isinstance(ours, Raised), ours
    assert isinstance(theirs, Raised), theirs
    assert ours.name == theirs.name
    return ours, theirs


def make(library, expression):
    return eval(expression, {**vars(library), "optimizers": library.optimizers, "np": np})


# --- Programs in lines ----------------------------------------------------------------------------


@functools.lru_cache(4096)
def _compiled(line: str):
    tree = ast.parse(line)
    return compile(line, "<program>", "eval" if isinstance(tree.body[0], ast.Expr) else "exec")


def names_for(library) -> dict[str, Any]:
    """What the lines of a program may name; ``as_keras`` makes an Embedding take ids as Keras does."""
    return {
        **{name: getattr(library, name) for name in _NAMES if hasattr(library, name)},
        **subclasses(library),
        "as_keras": {"out_of_range": "wrap", "float_ids": "truncate"} if library is fastembed else {},
        "np": np,
        "copy": copy,
        "pickle": pickle,
    }


_NAMES = (
    "Variable",
    "backend",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "quantizers",
    "regularizers",
)


def begin(library) -> None:
    """Count names from the start, and draw the same numbers where no seed is given."""
    library.backend.clear_session()
    random.seed(0)


def steps(library, lines) -> Iterator[Any]:
    """What each line of a program shows; a program whose first line fails ends there."""
    names = names_for(library)
    begin(library)
    for number, line in enumerate(lines):
        try:
            value = eval(_compiled(line), names)
            yield shown(value)
        except Exception as error:
            yield Raised(type(error).__name__, str(error))
            if number == 0:
                return


class Shown(NamedTuple):
    """What can be seen of an object that only its library has."""

    kind: str
    facts: tuple[Any, ...]


def shown(value: Any) -> Any:
    """``value`` as plain Python and NumPy."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (list, tuple)):
        plain = list if isinstance(value, list) else tuple
        return plain(shown(item) for item in value)
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if hasattr(value, "assign") and hasattr(value, "name"):
        path = getattr(value, "path", None)
        facts = value.name, path, _dtype(value), tuple(value.shape), value.trainable, np.array(value)
        return Shown("variable", facts)
    if hasattr(value, "as_list"):  # TensorFlow's shapes
        return tuple(value.as_list())
    if hasattr(value, "weights") and hasattr(value, "built"):
        return Shown("layer", (type(value).__name__, value.name, value.built, value.trainable))
    if hasattr(value, "numpy"):
        return np.array(value.numpy())
    if hasattr(value, "__array__"):
        return np.array(value)
    if hasattr(value, "get_config"):
        return Shown(type(value).__name__, (value.get_config(),))
    return Shown(type(value).__name__, ())


def _dtype(variable) -> str:
    return getattr(variable.dtype, "name", variable.dtype)


def same(ours: Any, theirs: Any) -> bool:
    """Whether `assert_same` would find nothing."""
    try:
        assert_same(ours, theirs)
    except AssertionError:
        return False
    return True


def _sum(array: Any) -> Any:
    if hasattr(array, "sum"):
        return array.sum()
    return importlib.import_module("tensorflow").reduce_sum(array)


# --- Layers of users ------------------------------------------------------------------------------


@functools.lru_cache(None)
def subclasses(library) -> dict[str, Callable[..., Any]]:
    """Layers as users write them."""

    class Scale(library.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

        def call(self, inputs):
            return inputs * self.scale

    class Pair(library.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.words = library.layers.Embedding(
                10, 4, embeddings_initializer="ones", embeddings_regularizer="l2", name="words"
            )
            self.scale = Scale(name="scale")
            self.own = self.add_weight(shape=(2,), initializer="ones", name="own", regularizer="l1")
            self.steady = self.add_weight(
                shape=(), initializer="ones", dtype="int32", trainable=False, name="steady"
            )

        def call(self, inputs):
            return self.scale(self.words(inputs))

    class Costly(library.layers.Embedding):
        """Adds a loss of its own."""

        def call(self, inputs):
            rows = super().call(inputs)
            self.add_loss(_sum(rows))
            return rows

    class Holder(library.layers.Layer):
        """Holds a layer that adds losses."""

        def __init__(self, **kwargs):
            super().__init__(activity_regularizer=library.regularizers.L2(0.25), **kwargs)
            self.costly = Costly(
                3,
                2,
                embeddings_initializer="ones",
                embeddings_regularizer=library.regularizers.L2(0.5),
                activity_regularizer="l1",
            )
            self.costly.build((None,))

        def call(self, inputs):
            return self.costly(inputs)

    class Several(library.layers.Layer):
        """Holds layers and weights in a list and a dict."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.tables = [
                library.layers.Embedding(n, 2, embeddings_initializer="ones", name=f"t{n}") for n in (3, 4)
            ]
            self.extra = {"dense": library.layers.Dense(2, kernel_initializer="ones", name="d"), "none": None}

        def call(self, inputs):
            return self.extra["dense"](self.tables[0](inputs) + self.tables[1](inputs))

    class Told(library.layers.Layer):
        """Answers what it was told of training and mask."""

        def call(self, inputs, training=False, mask=None):
            return inputs + (1 if training else 0) + (0 if mask is None else 10)

    class Teller(library.layers.Layer):
        """Passes nothing on: the layer inside is told of training all the same."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.told = Told(name="told")

        def call(self, inputs):
            return self.told(inputs)

    class Late(library.layers.Layer):
        """Makes a weight when it is too late."""

        def call(self, inputs):
            self.late = self.add_weight(shape=(1,), initializer="ones", name="late")
            return inputs

    found = (Scale, Pair, Costly, Holder, Several, Told, Teller, Late)
    return {cls.__name__: cls for cls in found}

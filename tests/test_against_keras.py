"""fastembed against real Keras 3: the same program, run by both.

A program is a function of a library (`fastembed` here, `keras` in another process, because this one may
need another backend) that returns what a user would see of it. Names, configs and numbers must be equal,
numbers bit for bit. Where we differ on purpose, both answers are pinned, at the end of the file.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastembed
from strategies import bits

if not importlib.util.find_spec("keras"):
    pytest.skip("real Keras is not installed (it needs NumPy 2)", allow_module_level=True)


# --- Two libraries, one program -------------------------------------------------------------------


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


class Process:
    """A process that has imported a library and runs programs with it."""

    def __init__(self, library):
        path = os.pathsep.join(filter(None, sys.path))
        self._child = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, library],
            env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __call__(self, program, *args):
        pickle.dump((program, args), self._child.stdin)
        self._child.stdin.flush()
        return pickle.load(self._child.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._child.stdin.close()
        self._child.stdout.close()
        self._child.wait()


def serve(library):
    """What such a process does until its input ends."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    library = importlib.import_module(library)
    with contextlib.suppress(EOFError):
        while True:
            program, args = pickle.load(sys.stdin.buffer)
            pickle.dump(outcome(program, library, *args), answers)
            answers.flush()


@pytest.fixture(scope="module")
def keras():
    with Process("keras") as process:
        yield process


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
    return eval(expression, {**vars(library), "np": np})


# --- Lookups --------------------------------------------------------------------------------------

FLOATS = ["float16", "bfloat16", "float32", "float64"]


def lookup(library, table, ids, dtype):
    layer = library.layers.Embedding(*table.shape, weights=table, dtype=dtype)
    return [np.asarray(layer(ids)) for _ in range(2)]  # ours answers the second call by a shorter way


@st.composite
def cases(draw):
    dtype = draw(st.sampled_from(FLOATS))
    bfloat16 = dtype == "bfloat16"
    table = draw(hnp.arrays("float32" if bfloat16 else dtype, st.tuples(st.integers(1, 9), st.integers(1, 9))))
    largest = st.integers(0, len(table) - 1)
    shape = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    ids = hnp.arrays(st.sampled_from("i1 i2 i4 i8 u1 f2 f4 f8".split()), shape, elements=largest)
    return table, draw(ids), dtype


@given(case=cases())
def test_lookups(keras, case):
    agree(keras, lookup, *case)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("ids", ["int8", "int16", "int32", "int64", "uint8", "uint16", "bool", "float32"])
@pytest.mark.parametrize("shape", [(), (0,), (6,), (2, 0), (2, 3), (1, 2, 3)], ids=str)
def test_every_dtype_and_rank(keras, rng, dtype, ids, shape):
    table = rng.standard_normal((5, 3)).astype("float32" if dtype == "bfloat16" else dtype)
    ids = rng.integers(0, 2 if ids == "bool" else 5, shape).astype(ids)
    rows, _ = agree(keras, lookup, table, ids, dtype)
    assert rows.shape == (*shape, 3)


@pytest.mark.parametrize("policy", [*FLOATS, "mixed_float16", "mixed_bfloat16"])
def test_dtype_policies(keras, policy):
    def see(library):
        layer = library.layers.Embedding(300, 2, dtype=policy)

    agree(keras, see_policy, policy)


def see_policy(library, policy):
    table = np.linspace(-7e4, 7e4, 600).reshape(300, 2)  # some are infinite in half precision
    layer = library.layers.Embedding(300, 2, dtype=policy, weights=table)
    rows = np.asarray(layer(np.arange(300)))
    names = layer.dtype, layer.variable_dtype, layer.compute_dtype, layer.dtype_policy.name
    return rows, *names, layer.embeddings.dtype, *layer.get_weights()

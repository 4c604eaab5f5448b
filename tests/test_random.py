"""Random values and seeds. That they are Keras's is in test_objects_against_keras.py."""

from __future__ import annotations

import copy
import pickle
import random as python_random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastembed
from fastembed import initializers, layers, random, utils
from fastembed.random import SeedGenerator


@pytest.fixture(autouse=True)
def _python_s_seed_is_as_it_was():
    state, numpy_state = python_random.getstate(), np.random.get_state()
    yield
    python_random.setstate(state)
    np.random.set_state(numpy_state)


def test_golden_values_of_a_generator():
    """Keras 3.15.1 on its numpy backend: what a stream holds depends on the count alone."""
    generator = SeedGenerator(1337)
    first, second = (initializers.RandomUniform(seed=generator)((2, 3)) for _ in range(2))
    expected = [[0.03781019, -0.03144721, 0.04209005], [0.04465659, 0.03745081, -0.03842572]]
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    again = np.random.default_rng(np.array([1337, 1], np.uint32)).uniform(-0.05, 0.05, (2, 3))
    np.testing.assert_array_equal(second, again.astype(np.float32))
    np.testing.assert_array_equal(generator.state, [1337, 2])


@given(seed=st.integers(-(2**70), 2**70))
def test_any_integer_is_a_seed(seed):
    values = random.normal((3,), seed=seed)
    np.testing.assert_array_equal(values, random.normal((3,), seed=seed % 2**32))
    np.testing.assert_array_equal(values, random.normal((3,), seed=SeedGenerator(seed)))


def test_threads_never_get_the_same_stream():
    generator = SeedGenerator(3)
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: int(generator.next()[1]), range(400)))
    assert sorted(counts) == list(range(400))


def test_the_count_goes_round():
    generator = SeedGenerator(3)
    generator.state.assign([3, 2**32 - 1])
    assert [int(generator.next()[1]) for _ in range(2)] == [2**32 - 1, 0]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_from_where_the_original_is(way):
    generator = SeedGenerator(3, name="mine")
    generator.next()
    other = way(generator)
    assert (other.name, other.get_config()) == ("mine", {"seed": 3, "name": "mine"})
    np.testing.assert_array_equal(other.next(), generator.next())
    initializer = way(initializers.HeNormal(seed=generator))
    np.testing.assert_array_equal(initializer((3, 3)), initializers.HeNormal(seed=generator)((3, 3)))


def test_one_made_from_its_config_starts_anew():
    generator = SeedGenerator(3)
    first = random.uniform((4,), seed=generator)
    again = initializers.RandomUniform(0.0, 1.0, generator).clone()
    np.testing.assert_array_equal(again((4,)), first)
    assert SeedGenerator.from_config(SeedGenerator().get_config()).seed is None


def test_two_layers_with_one_initializer():
    same, other = initializers.GlorotUniform(), initializers.GlorotUniform(SeedGenerator())
    tables = [[table(each) for _ in range(2)] for each in (same, other)]
    np.testing.assert_array_equal(*tables[0])
    assert not np.array_equal(*tables[1])


def table(initializer):
    embedding = layers.Embedding(4, 3, initializer)
    embedding.build()
    return embedding.get_weights()[0]


def test_a_program_that_sets_the_seed_is_repeatable():
    def program():
        return [table("uniform"), random.normal((3,)), random.normal((3,)), np.random.rand(2)]

    utils.set_random_seed(7)
    first = program()
    assert not np.array_equal(first[1], first[2])
    utils.set_random_seed(7)
    for one, other in zip(first, program()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "a", None])
def test_a_bad_seed_changes_nothing(seed):
    utils.set_random_seed(7)
    with pytest.raises(ValueError):
        utils.set_random_seed(seed)
    values = python_random.random(), np.random.rand()
    utils.set_random_seed(7)
    assert values == (python_random.random(), np.random.rand())


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [999_999, 1_000_000, 1_500_001])
def test_any_number_of_threads_draws_the_same(size, count):
    with fastembed.num_threads(count):
        values = random.uniform((size,), -0.05, 0.05, seed=7)
    expected = np.random.default_rng(np.array([7, 0], np.uint32)).uniform(-0.05, 0.05, size)
    assert np.array_equal(values, expected.astype(np.float32))


def test_a_range_that_floats_have_not_is_refused_before_threads_draw():
    with fastembed.num_threads(2), pytest.raises(OverflowError):
        random.uniform((2_000_000,), -1.7e308, 1.7e308, "float64", seed=1)


@pytest.mark.parametrize("draw", [random.uniform, random.normal, random.truncated_normal])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((("a",),), "shape"),
        (((2,), float("nan")), "finite"),
        (((2,), 0.0, float("inf")), "finite"),
        (((2,), 0.0, "a"), "finite"),
        (((2,), 0.0, 1.0, "U3"), "dtype"),
        (((2,), 0.0, 1.0, None, "a"), "seed"),
        (((2,), 0.0, 1.0, None, 1.5), "seed"),
        (((2,), 3.0, -1.0), "must not"),
        (((0,), 3.0, -1.0), "must not"),
    ],
)
def test_what_cannot_be_drawn(draw, arguments, says):
    with pytest.raises(ValueError, match=says):
        draw(*arguments)


@pytest.mark.parametrize("name", ["a/b", 3])
def test_names_of_generators(name):
    with pytest.raises(ValueError, match="name"):
        SeedGenerator(1, name)

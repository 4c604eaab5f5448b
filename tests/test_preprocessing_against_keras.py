"""fastembed.preprocessing and the arrays of fastembed.utils against real Keras 3 and tf_keras."""

from __future__ import annotations

import importlib
import random
import warnings
import zlib

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_libraries import Raised, agree, agree_to_raise, outcome, process

import fastembed


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def keras(request):
    with process(request.param, "numpy" if request.param == "keras" else "tensorflow") as ask:
        yield ask


@pytest.fixture(scope="module")
def keras3():
    with process("keras", "jax") as ask:  # on its numpy backend arrays count as tensors of another kind
        yield ask


@pytest.fixture(scope="module")
def tf_keras():
    with process("tf_keras", "tensorflow") as ask:
        yield ask


def part(library, name):
    """``preprocessing.text`` and the like, which Keras 3 keeps where its users do not look."""
    where = {"keras": "keras.src.legacy", "tf_keras": "tf_keras.src", "fastembed": "fastembed"}
    if name == "utils":
        return library.utils
    return importlib.import_module(f"{where[library.__name__]}.preprocessing.{name}")


# --- Words ----------------------------------------------------------------------------------------

TEXTS = st.text(st.sampled_from("aB'é \t\r\n.,!-_İß|0"), max_size=30) | st.text(max_size=30)
FILTERS = st.sampled_from(["", ",", "é' ", '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'])


def signed(word):
    return zlib.crc32(word.encode()) - 2**31


def words(library, *args):
    return part(library, "text").text_to_word_sequence(*args)


def ids(library, *args):
    return part(library, "text").hashing_trick(*args)


@given(TEXTS, FILTERS, st.booleans(), st.sampled_from([" ", "ab", "|", None]))
def test_words(keras, text, filters, lower, split):
    agree(keras, words, text, filters, lower, split)


@given(TEXTS, st.integers(2, 10**6), st.sampled_from(["md5", signed, len]), FILTERS, st.booleans())
def test_ids_by_hash(keras, text, n, hash_function, filters, lower):
    agree(keras, ids, text, n, hash_function, filters, lower)
    agree(keras, ids, text, n, hash_function, filters, lower, " ", str.split)


# --- Padding --------------------------------------------------------------------------------------


def padded(library, rows, options):
    return library.utils.pad_sequences(rows, **options)


SIDES = st.sampled_from(["pre", "post"])


@given(
    rows=st.lists(
        st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6)
        | hnp.arrays("int64", st.integers(0, 6), elements=st.integers(-9, 9))
        | hnp.arrays("float32", st.integers(0, 6), elements=st.integers(-9, 9)),
        min_size=1,
        max_size=6,
    ),
    maxlen=st.none() | st.integers(1, 8),
    options=st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["int32", "int64", "float32", "float64"]),
            "padding": SIDES,
            "truncating": SIDES,
            "value": st.integers(-9, 9) | st.just(0.0),
        },
    ),
)
def test_padding(keras, rows, maxlen, options):
    agree(keras, padded, rows, {"maxlen": maxlen, **options})


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([[[1, 2]], [[3, 4], [5, 6]]], {}),
        ([[[1, 2]], [[3, 4], [5, 6]]], {"maxlen": 3, "value": -1, "dtype": "float32"}),
        ([["1"], ["2", "3"]], {}),
        ([[0.5], [1.5, 2.5]], {"dtype": "float16"}),
        ([[True], [False, True]], {"dtype": bool}),
        (np.arange(6).reshape(2, 3), {"maxlen": 2}),
        ([(1, 2), range(3)], {}),
        ([[], []], {}),
        ([], {"maxlen": 3}),
        ([[1], [2]], {"maxlen": 0}),
        ([[1, 2], [3]], {"maxlen": 0, "truncating": "post"}),
    ],
)
def test_padding_of(keras, rows, options):
    agree(keras, padded, rows, options)


def padded_strings(library, options):
    result = library.utils.pad_sequences([["a"], ["b", "cd"]], value="pad", **options)
    return result.tolist(), str(result.dtype)


@pytest.mark.parametrize("options", [{"dtype": object, "padding": "post"}, {"dtype": "<U3", "maxlen": 1}])
def test_padding_of_strings(keras, options):
    agree(keras, padded_strings, options)


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        (7, {}),
        ([1, 2], {}),
        ([], {}),
        ([[1], [[2]]], {}),
        ([[1, [2]]], {}),
        ([["x"]], {}),
        ([[1]], {"padding": "left"}),
        ([[1]], {"truncating": "left"}),
        ([[1]], {"value": "pad"}),
        ([[1]], {"maxlen": -1}),
        ([[1]], {"maxlen": 2.5}),
    ],
)
def test_errors_of_padding(keras, rows, options):
    agree_to_raise(keras, padded, rows, options)


# --- Pairs ----------------------------------------------------------------------------------------


def table(library, *args):
    return part(library, "sequence").make_sampling_table(*args)


@given(st.integers(1, 2000), st.floats(1e-9, 1))
def test_sampling_tables(keras, size, factor):
    agree(keras, table, size, factor)


def pairs(library, seed, sentences, options):
    """Several calls in a row: what one leaves of ``random`` the next begins with."""
    random.seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.11 of Keras's randint of floats
        found = [part(library, "sequence").skipgrams(each, 10, **options) for each in sentences]
    return found, random.random()


@given(
    seed=st.integers(0, 99),
    sentences=st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=3),
    options=st.fixed_dictionaries(
        {},
        optional={
            "window_size": st.integers(0, 4),
            "negative_samples": st.sampled_from([0, 0.5, 1.0, 3]),
            "shuffle": st.booleans(),
            "categorical": st.booleans(),
            "sampling_table": st.just([0.5] * 10),
            "seed": st.integers(0, 99),
        },
    ),
)
def test_pairs(keras, seed, sentences, options):
    agree(keras, pairs, seed, sentences, options)


# --- Classes, norms -------------------------------------------------------------------------------


def classes(library, x, number, era):
    with fastembed.era(era):
        return library.utils.to_categorical(x, number)


CLASSES = hnp.arrays(
    st.sampled_from(["int64", "uint8", "float32"]),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    elements=st.integers(0, 6),
)


@given(CLASSES, st.sampled_from([None, 0, 7, 9]))
def test_classes(keras3, x, number):
    agree(keras3, classes, x, number, "keras3")


@given(CLASSES, st.sampled_from([None, 0, 7, 9]))
def test_classes_of_tf_keras(tf_keras, x, number):
    agree(tf_keras, classes, x, number, "tf.keras")


@pytest.mark.parametrize(
    ("x", "number"),
    [([3], 3), (["0", "1"], None), (np.array([1, 0], object), None), (["a"], None), ([], None)],
)
def test_other_classes(keras3, x, number):
    ours, theirs = (run(classes, x, number, "keras3") for run in (here, keras3))
    assert (ours.name if isinstance(ours, Raised) else ours.tolist()) == (
        theirs.name if isinstance(theirs, Raised) else theirs.tolist()
    )


def norms(library, x, axis, order):
    return library.utils.normalize(x, axis, order)


NUMBERS = hnp.arrays("float64", (3, 4), elements=st.integers(-4, 4))


@given(NUMBERS, st.sampled_from([-1, 1, None]), st.sampled_from([1, 2, np.inf]))
def test_norms(keras3, x, axis, order):
    if axis is not None or order == 2:
        agree(keras3, norms, x, axis, order)


@given(NUMBERS, st.sampled_from([-2, -1, 0, 1]), st.sampled_from([1, 2, np.inf]))
def test_norms_of_tf_keras(tf_keras, x, axis, order):
    agree(tf_keras, norms, x, axis, order)


# --- Where we differ ------------------------------------------------------------------------------


def both(keras, program, *args):
    return here(program, *args), keras(program, *args)


def here(program, *args):
    return outcome(program, fastembed, *args)


def assert_refused(outcomes, ours, theirs):
    """We refuse with this class; Keras answers this, or has an error of this class."""
    assert outcomes[0].name == ours
    if isinstance(outcomes[1], Raised):
        assert outcomes[1].name == theirs
    else:
        assert np.array_equal(outcomes[1], theirs)


@pytest.mark.parametrize(
    ("rows", "options", "theirs"),
    [
        ([[2.7, 1]], {}, [[2, 1]]),
        ([np.array([0.5, 0.25])], {}, [[0, 0]]),
        ([np.array([2**32 + 1])], {}, [[1]]),
        ([np.array([-1])], {"dtype": "uint8"}, [[255]]),
        ([[2**40]], {}, "OverflowError"),
        ([[1], [2, 3]], {"value": 0.5}, [[0, 1], [2, 3]]),
        ([["abc"]], {"dtype": "<U2", "value": "x"}, [["ab"]]),
    ],
)
def test_what_a_dtype_cannot_hold(keras3, rows, options, theirs):
    assert_refused(both(keras3, padded, rows, options), "ValueError", theirs)


def test_a_length_of_0(keras3):
    ours, theirs = both(keras3, padded, [[1, 2], [3]], {"maxlen": 0})
    assert ours.shape == (2, 0)
    assert theirs.name == "ValueError"  # the last 0 steps of a list are all of it


def test_strings_of_any_length(keras3):
    ours, theirs = both(keras3, padded, [["abc", "d"]], {"dtype": str, "value": "x"})
    assert ours.tolist() == [["abc", "d"]]
    assert theirs.tolist() == [["a", "d"]]
    ours, theirs = both(keras3, padded, [["a"]], {"dtype": "object", "value": "x"})
    assert ours.tolist() == [["a"]]
    assert theirs.name == "ValueError"


def test_a_side_that_there_is_not(keras3):
    assert_refused(both(keras3, padded, [[]], {"padding": "left"}), "ValueError", np.zeros((1, 0)))


@pytest.mark.parametrize(
    ("args", "ours", "theirs"),
    [
        (("a b", 1), "ValueError", "ZeroDivisionError"),
        (("a b", 0, len), "ValueError", [1, 1]),
        (("a b", -5, len), "ValueError", [-4, -4]),
        (("a bb", 50.0, len), "TypeError", [2.0, 3.0]),
        (("a b", 50, float(1).__rmul__), "TypeError", "TypeError"),
        (([1], 50, len), "TypeError", "AttributeError"),
    ],
)
def test_ids_by_hash_that_are_none(keras3, args, ours, theirs):
    assert_refused(both(keras3, ids, *args), ours, theirs)


@pytest.mark.parametrize(
    ("args", "ours", "theirs"), [((0,), "ValueError", "IndexError"), ((2, 0.0), "ValueError", [np.nan] * 2)]
)
def test_sampling_tables_that_are_none(keras3, args, ours, theirs):
    ours_said, theirs_said = both(keras3, table, *args)
    assert ours_said.name == ours
    if isinstance(theirs, str):
        assert theirs_said.name == theirs
    else:
        np.testing.assert_array_equal(theirs_said, theirs)


def pairs_by_negative_ids(library):
    random.seed(0)
    return part(library, "sequence").skipgrams([-1, 2], 3, 1, 0, False, sampling_table=[0, 1, 2])


def test_words_that_a_sampling_table_does_not_have(keras3):
    ours, theirs = both(keras3, pairs_by_negative_ids)
    assert ours.name == "IndexError"
    assert theirs == ([[-1, 2], [2, -1]], [1, 1])


@pytest.mark.parametrize(
    ("x", "number", "ours", "theirs"),
    [
        ([-1, 1], None, "IndexError", [[0, 1], [0, 1]]),
        ([0.5, 1.0], None, "ValueError", [[1, 0], [0, 1]]),
        ([0], -2, "IndexError", "ValueError"),
        ([0], 2.5, "TypeError", "TypeError"),
    ],
)
def test_classes_that_are_none(keras3, x, number, ours, theirs):
    assert_refused(both(keras3, classes, x, number, "keras3"), ours, theirs)


def other_arguments_of_classes(library):
    return library.utils.to_categorical(y=[0], nb_classes=2, dtype="int8")


def test_arguments_of_every_keras(keras3):
    ours, theirs = both(keras3, other_arguments_of_classes)
    assert ours.tolist() == [[1, 0]]
    assert theirs.name == "TypeError"


def test_norms_along_the_first_axis(keras3):
    ours, theirs = both(keras3, norms, np.array([[3.0, 6.0], [4.0, 8.0]]), 0, 2)
    np.testing.assert_allclose(ours, [[0.6, 0.6], [0.8, 0.8]])
    np.testing.assert_allclose(theirs, [[0.6, 1.2], [0.4, 0.8]])  # each row by the norm of a column

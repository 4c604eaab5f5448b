"""fastembed.preprocessing and the arrays of fastembed.utils, beside plain twins."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections import deque

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fastembed
from fastembed.preprocessing.sequence import (
    _remove_long_seq,
    make_sampling_table,
    pad_sequences,
    skipgrams,
)
from fastembed.preprocessing.text import hashing_trick, one_hot, text_to_word_sequence
from fastembed.utils import normalize, to_categorical

# --- Words ----------------------------------------------------------------------------------------

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
TEXTS = st.text(st.sampled_from("aB'é \t\r\n.,!-_İß|0"), max_size=30) | st.text(max_size=30)


def words_of(text, filters, lower, split):
    """Character by character."""
    if lower:
        text = text.lower()
    for character in filters:
        text = text.replace(character, "\0")
    found = [""]
    for character in text.replace("\0", split).split(split):
        found.append(character)
    return [word for word in found if word]


@given(
    TEXTS.filter(lambda text: "\0" not in text),
    st.sampled_from([FILTERS, "", ",", "é'"]),
    st.booleans(),
    st.sampled_from([" ", "ab", "|", "--"]),
)
def test_words(text, filters, lower, split):
    assert text_to_word_sequence(text, filters, lower, split) == words_of(text, filters, lower, split)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" .,; ", []),
        ("Hello, World!", ["hello", "world"]),
        ("don't well-done snake_case", ["don't", "well", "done", "snake", "case"]),
        ("x\r\ny", ["x\r", "y"]),  # the carriage return stays
        ("a\tb\nc", ["a", "b", "c"]),
        ("no\u00a0break", ["no\u00a0break"]),
    ],
)
def test_words_of(text, words):
    assert text_to_word_sequence(text) == words
    assert text_to_word_sequence(input_text=text) == words  # Keras 3's name


def test_words_without_a_split():
    assert text_to_word_sequence("a-b  c\u00a0d", split=None) == ["ab", "c", "d"]


@pytest.mark.parametrize("text", [b"bytes", None, 3, ["a", "b"]])
def test_what_is_no_text(text):
    with pytest.raises(TypeError, match="`text` must be a str, got"):
        text_to_word_sequence(text)
    with pytest.raises(TypeError, match="`text` must be a str, got"):
        one_hot(text, 50)


def test_errors_of_words():
    with pytest.raises(ValueError, match="`split` must not be empty"):
        text_to_word_sequence("a b", split="")
    with pytest.raises(ValueError, match="must be of length 1"):
        text_to_word_sequence("a b", ["ab"])
    with pytest.raises(TypeError, match="got 'text' and also 'input_text'"):
        text_to_word_sequence(text="a", input_text="b")


# --- Words by hash --------------------------------------------------------------------------------


def md5(word):
    return int(hashlib.md5(word.encode()).hexdigest(), 16)


@given(TEXTS, st.integers(2, 10**6))
def test_ids_by_hash(text, n):
    words = text_to_word_sequence(text)
    assert hashing_trick(text, n) == one_hot(text, n) == [hash(word) % (n - 1) + 1 for word in words]
    assert hashing_trick(text, n, "md5") == [md5(word) % (n - 1) + 1 for word in words]
    assert hashing_trick(text, n, len, analyzer=str.split) == [len(w) % (n - 1) + 1 for w in text.split()]
    assert all(0 < each < n for each in hashing_trick(text, n, "md5"))
    with fastembed.era("keras1"):  # which dropped the sign
        assert one_hot(text, n) == [abs(hash(word)) % (n - 1) + 1 for word in words]


def test_ids_of_keras():
    assert hashing_trick("the cat sat on the mat", 50, "md5") == [43, 32, 29, 3, 43, 29]
    assert hashing_trick("a b", 2) == [1, 1]
    assert hashing_trick("a b", 10, lambda word: -3) == [7, 7]
    with fastembed.era("keras1"):
        assert hashing_trick("a b", 10, lambda word: -3) == [4, 4]
    assert hashing_trick("a", 1000, lambda word: np.uint8(200)) == [201]
    assert one_hot("A a", 50, lower=False)[0] == hash("A") % 49 + 1
    assert one_hot("a,b a", 50, "", split=",")[1] == hash("b a") % 49 + 1


def test_ids_by_md5_are_those_of_another_process():
    code = "from fastembed.preprocessing.text import hashing_trick as h; print(h('wörd b', 10**9, 'md5'))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there == f"{hashing_trick('wörd b', 10**9, 'md5')}\n"


@pytest.mark.parametrize("n", [1, 0, -5])
def test_too_few_ids(n):
    with pytest.raises(ValueError, match=rf"`n` must be at least 2, got {n}"):
        one_hot("a", n)


def test_errors_of_ids():
    for n in (50.0, "50", None):
        with pytest.raises(TypeError, match="`n` must be an integer"):
            hashing_trick("a", n)
    with pytest.raises(TypeError, match="`hash_function` must be a function"):
        hashing_trick("a", 50, "sha1")
    with pytest.raises(TypeError, match=r"`hash_function` must give integers, and gave 0.5 for 'a'"):
        hashing_trick("a", 50, lambda word: 0.5)


# --- Padding --------------------------------------------------------------------------------------


def padded(sequences, maxlen=None, dtype="int32", padding="pre", truncating="pre", value=0, shape=()):
    """Step by step."""
    width = max(map(len, sequences)) if maxlen is None else maxlen
    out = np.full((len(sequences), width, *shape), value, dtype)
    for row, sequence in enumerate(sequences):
        steps = list(sequence)
        while len(steps) > width:
            steps.pop(0 if truncating == "pre" else -1)
        for place, step in enumerate(steps):
            out[row, place if padding == "post" else width - len(steps) + place] = step
    return out


SIDES = st.sampled_from(["pre", "post"])
ROWS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6), min_size=1, max_size=6)
KINDS = {
    "lists": list,
    "tuples": tuple,
    "int64": np.array,
    "floats": lambda row: np.array(row, float),
    "objects": lambda row: np.array(row, object),
    "text": lambda row: list(map(str, row)),
    "some floats": lambda row: [float(step) if place % 2 else step for place, step in enumerate(row)],
}


@given(
    rows=ROWS,
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=6),
    maxlen=st.none() | st.integers(0, 8),
    dtype=st.sampled_from(["int32", "int64", "float64", "object"]),
    padding=SIDES,
    truncating=SIDES,
    value=st.integers(-9, 9),
)
@example([[1, 2]], ["lists"], 0, "int32", "pre", "pre", 0)
@example([[]], ["lists"], None, "int32", "pre", "pre", 0)
def test_padding(rows, kinds, maxlen, dtype, padding, truncating, value):
    given = [KINDS[kinds[row % len(kinds)]](steps) for row, steps in enumerate(rows)]
    result = pad_sequences(given, maxlen, dtype, padding, truncating, value)
    expected = padded(rows, maxlen, dtype, padding, truncating, value)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    if dtype == "object":
        result = np.array([[int(step) for step in row] for row in result.tolist()]).reshape(result.shape)
    np.testing.assert_array_equal(result, expected)


@given(
    steps=st.lists(hnp.arrays("float32", st.tuples(st.integers(0, 4), st.just(2))), min_size=1, max_size=4),
    maxlen=st.none() | st.integers(0, 5),
    padding=SIDES,
    truncating=SIDES,
)
def test_padding_of_steps_with_a_shape(steps, maxlen, padding, truncating):
    if not any(map(len, steps)):  # the shape of a step is that of the first, and there is none
        assert pad_sequences(steps, 3).shape == (len(steps), 3)
        return
    result = pad_sequences(steps, maxlen, "float32", padding, truncating, [5, 6])
    np.testing.assert_array_equal(
        result, padded(steps, maxlen, "float32", padding, truncating, [5, 6], shape=(2,))
    )


def test_strings_are_padded():
    words = [["a"], ["b", "cd", "efg"]]
    assert pad_sequences(words, dtype=object, value="pad").tolist() == [
        ["pad", "pad", "a"],
        ["b", "cd", "efg"],
    ]
    assert pad_sequences(words, 2, "object", value="").tolist() == [["", "a"], ["cd", "efg"]]
    for dtype in ("<U3", str):  # Keras cuts words to the length of the value
        assert pad_sequences(words, 2, dtype, value="x").tolist() == [["x", "a"], ["cd", "efg"]]
    with pytest.raises(ValueError, match="cannot hold efg of the sequence at position 1"):
        pad_sequences(words, dtype="<U2", value="x")
    with pytest.raises(ValueError, match="not compatible with a `value` that is a str"):
        pad_sequences(words, value="pad")


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        (7, {}, "`sequences` must be iterable"),
        ((row for row in [[1]]), {}, "list.sequences. makes a list of a generator"),
        ([1, 2], {}, "Found non-iterable: 1 at position 0"),
        ([[1], None], {}, "Found non-iterable: None at position 1"),
        (["ab"], {}, "Found str 'ab' at position 0"),
        ([[1], {2}], {}, r"Found set \{2\} at position 1"),
        ([[1], deque([2])], {}, "Found deque"),
        ([], {}, "give `maxlen`"),
        ([[1]], {"maxlen": -1}, "must not be negative, got -1"),
        ([[]], {"padding": "left"}, 'Padding type "left" not understood'),
        ([[]], {"truncating": "left"}, 'Truncating type "left" not understood'),
        ([[1], [[2]]], {}, r"Shape of sample \(1,\) of sequence at position 1 is different from .* \(\)"),
        ([[[1, 2]], [[1]]], {}, r"Shape of sample \(1,\) of sequence at position 1 .* \(2,\)"),
        ([[1, [2]]], {}, "the sequence at position 0 cannot be made an array"),
        # What the dtype cannot hold.
        ([[1], [2, 0.5]], {}, "int32 cannot hold 0.5 of the sequence at position 1: .*'float32'"),
        ([[1], np.array([2, 0.5])], {}, "int32 cannot hold 0.5 of the sequence at position 1"),
        ([[], [1], [2**40]], {}, f"int32 cannot hold {2**40} of the sequence at position 2: .*'int64'"),
        ([np.array([1]), np.array([2**32])], {}, f"cannot hold {2**32} of the sequence at position 1"),
        ([[2**70]], {}, "int32 cannot hold all of the sequence at position 0"),
        ([[1], ["x"]], {}, "int32 cannot hold all of the sequence at position 1: invalid literal"),
        ([[None]], {}, "int32 cannot hold all of the sequence at position 0"),
        ([[np.nan]], {}, "int32 cannot hold nan"),
        ([np.array([np.inf])], {}, "int32 cannot hold inf"),
        ([[-1]], {"dtype": "uint8"}, "uint8 cannot hold -1"),
        ([[2**53 + 1, 1.0]], {"dtype": "int64"}, "int64 cannot hold"),
        ([[1]], {"value": 0.5}, "int32 cannot hold 0.5 of `value`"),
    ],
)
def test_errors_of_padding(sequences, options, message):
    with pytest.raises(ValueError, match=message):
        pad_sequences(sequences, **options)


def test_a_step_that_is_cut_off_may_be_anything():
    assert pad_sequences([["x", None, 0.5, 1]], 1).tolist() == [[1]]


def test_a_length_is_an_integer():
    with pytest.raises(TypeError, match="`maxlen` must be an integer or None"):
        pad_sequences([[1]], 2.5)
    assert pad_sequences([[1]], np.int64(2)).tolist() == [[0, 1]]


def test_padding_copies():
    rows = [np.array([1, 2], np.int32)]
    result = pad_sequences(rows)
    result[:] = 0
    assert rows[0].tolist() == [1, 2]


# --- Pairs ----------------------------------------------------------------------------------------


def test_sampling_table_of_keras():
    np.testing.assert_allclose(
        make_sampling_table(5), [0.00315225, 0.00315225, 0.00547597, 0.00741556, 0.00912817], rtol=1e-6
    )
    table = make_sampling_table(10**6)
    assert (np.diff(table[1:]) >= 0).all()
    assert table[-1] == 1
    for size, factor in ((0, 1e-5), (-1, 1e-5), (5, 0.0), (5, -1.0), (5, np.nan)):
        with pytest.raises(ValueError, match="`size` must be at least 1"):
            make_sampling_table(size, factor)
    with pytest.raises(TypeError, match="`size` must be an integer"):
        make_sampling_table(2.5)


SENTENCES = st.lists(st.integers(0, 9), max_size=12)


@given(sentence=SENTENCES, window=st.integers(0, 5))
def test_pairs_that_are_near(sentence, window):
    couples, labels = skipgrams(sentence, 10, window, negative_samples=0, shuffle=False)
    near = [
        [one, other]
        for i, one in enumerate(sentence)
        for j, other in enumerate(sentence)
        if i != j and abs(i - j) <= window and one and other
    ]
    assert couples == near
    assert labels == [1] * len(near)


@given(sentence=SENTENCES, ratio=st.sampled_from([0.5, 1.0, 3.0]), seed=st.integers(0, 99) | st.none())
def test_pairs_that_are_drawn(sentence, ratio, seed):
    random.seed(1)
    near, _ = skipgrams(sentence, 10, 2, 0, shuffle=False)
    couples, labels = skipgrams(sentence, 10, 2, ratio, shuffle=False)
    assert labels == [1] * len(near) + [0] * int(len(near) * ratio)
    assert couples[: len(near)] == near
    assert {one for one, _ in couples} == {one for one, _ in near}
    assert all(1 <= other <= 9 for _, other in couples[len(near) :])

    random.seed(1)
    mixed, mixed_labels = skipgrams(sentence, 10, 2, ratio, categorical=True, seed=seed)
    random.seed(1)
    again = skipgrams(sentence, 10, 2, ratio, categorical=True, seed=seed)
    assert (mixed, mixed_labels) == again
    positive = sorted(couple for couple, label in zip(mixed, mixed_labels) if label == [0, 1])
    assert positive == sorted(near)
    assert all(label in ([0, 1], [1, 0]) for label in mixed_labels)
    for label in mixed_labels:  # each is a list of its own
        label.append(2)
    assert all(len(label) == 3 for label in mixed_labels)


def test_pairs_without_a_seed():
    """Where Keras's own fails on Python 3.12."""
    couples, labels = skipgrams(range(1, 9), 9)
    assert len(couples) == len(labels) == 2 * sum(labels)


def test_common_words_are_thinned_out():
    sentence = [1] * 500 + [2] * 500
    couples, _ = skipgrams(sentence, 3, 1, 0, sampling_table=[0, 0.0, 1.0])
    assert {one for one, _ in couples} == {2}
    for table, word in (([0, 0.5], 2), ([0, 0.5], -1)):
        with pytest.raises(IndexError, match=f"for ids from 1 to 1, not for {word}"):
            skipgrams([word], 3, sampling_table=table)
    with pytest.raises(ValueError, match="no words to draw: `vocabulary_size` is 1"):
        skipgrams([1, 1], 1)


def test_long_sequences_are_left_out():
    assert _remove_long_seq(3, [[1], [1, 2, 3], []], [0, 1, 2]) == ([[1], []], [0, 2])


# --- Classes, norms -------------------------------------------------------------------------------


@given(
    classes=hnp.arrays(
        "int64", hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=st.integers(0, 6)
    ),
    more=st.none() | st.integers(0, 3),
    dtype=st.sampled_from([None, "float32", "int8", bool]),
)
def test_classes(classes, more, dtype):
    length = int(classes.max()) + 1 + (more or 0)
    result = to_categorical(classes, None if more is None else length, dtype)
    squeezed = classes[..., 0] if classes.ndim > 1 and classes.shape[-1] == 1 else classes
    assert result.shape == (*squeezed.shape, length)
    assert result.dtype == np.dtype(dtype or "float64")
    for place in np.ndindex(squeezed.shape):
        assert result[place].tolist() == [i == squeezed[place] for i in range(length)]


@pytest.mark.parametrize(
    "classes", [[1, 0], (1, 0), [1.0, 0.0], [True, False], ["1", "0"], np.array([1, 0], object), [[1], [0]]]
)
def test_whatever_holds_integers(classes):
    np.testing.assert_array_equal(to_categorical(classes), [[0, 1], [1, 0]])


def test_classes_under_the_names_and_in_the_dtype_of_each_era():
    assert to_categorical(y=[0], nb_classes=2).tolist() == [[1, 0]]
    assert to_categorical([0], 0).shape == (1, 1)  # as if it were not given
    dtypes = {"keras1": "float64", "keras2": "float32", "tf.keras": "float32", "keras3": "float64"}
    for era, dtype in dtypes.items():
        with fastembed.era(era):
            assert to_categorical([1]).dtype == dtype
    assert to_categorical([], 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("classes", "number", "error", "message"),
    [
        ([0, -1], None, IndexError, "class -1 at position 1 is outside 0 to 0"),
        ([[0, 1], [3, 0]], 3, IndexError, "class 3 at position 1, 0 is outside 0 to 2"),
        (-1, 2, IndexError, r"class -1 at position \(\) is outside 0 to 1"),
        ([0], -2, IndexError, "class 0 at position 0 is outside"),
        ([0.5], None, ValueError, "0.5"),
        ([np.nan], None, ValueError, "nan"),
        (["cat"], None, ValueError, r"np\.unique.* numbers them"),
        (np.array([0.5, 1], object), None, ValueError, "classes must be integers"),
        ([], None, ValueError, "give `num_classes`"),
        ([0], 2.5, TypeError, "`num_classes` must be an integer"),
    ],
)
def test_errors_of_classes(classes, number, error, message):
    with pytest.raises(error, match=message):
        to_categorical(classes, number)


@given(
    x=hnp.arrays(
        "float64", hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.integers(-4, 4)
    ),
    order=st.sampled_from([1, 2, np.inf]),
    data=st.data(),
)
def test_norms(x, order, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    result = normalize(x, axis, order)
    lines, results = (np.moveaxis(each, axis, -1).reshape(-1, x.shape[axis]) for each in (x, result))
    for line, one in zip(lines, results):
        norm = {1: abs(line).sum(), 2: (line**2).sum() ** 0.5, np.inf: abs(line).max()}[order]
        np.testing.assert_allclose(one, line / (norm or 1), rtol=1e-12)


def test_norms_keep_single_precision():
    assert normalize(np.float32([[3, 4]])).dtype == np.float32
    assert normalize([[3, 4]]).dtype == np.float64
    assert normalize([3.0, 4.0], None).tolist() == [0.6, 0.8]


# --- Where programs find them ---------------------------------------------------------------------


def test_old_names_lead_to_the_same():
    from fastembed.utils import generic_utils, np_utils

    assert fastembed.utils.pad_sequences is fastembed.preprocessing.sequence.pad_sequences is pad_sequences
    assert np_utils.to_categorical is to_categorical
    assert generic_utils.get_custom_objects is fastembed.utils.get_custom_objects
    assert generic_utils.to_list((1, 2)) == [(1, 2)]

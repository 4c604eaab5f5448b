"""Lists of ids as arrays, and pairs of words to train on: keras.preprocessing.sequence.

Sources: keras/src/utils/sequence_utils.py and keras/src/legacy/preprocessing/sequence.py of Keras 3.15.
"""

from __future__ import annotations

import operator
import random
from array import array
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["make_sampling_table", "pad_sequences", "skipgrams"]

# --- Arrays of sequences --------------------------------------------------------------------------


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """One array of sequences of several lengths: short ones are filled up, long ones are cut.

    Parameters
    ----------
    sequences : list of sequences
        Each a list, tuple, array or other sequence of steps: ids, or arrays of one shape.
    maxlen : int, optional
        Length of all. Without it, that of the longest.
    dtype : dtype_like, default "int32"
        Of the result. ``object`` is for strings of several lengths.
    padding : {"pre", "post"}, default "pre"
        Whether a short sequence is filled up before its first step or behind its last.
    truncating : {"pre", "post"}, default "pre"
        Whether a long sequence loses its first steps or its last.
    value : scalar, or array of the shape of a step; default 0
        What short ones are filled up with.

    Returns
    -------
    ndarray of shape ``(len(sequences), maxlen, *shape of a step)``

    Raises
    ------
    ValueError
        If ``sequences`` is no list of sequences, steps have several shapes, or ``dtype`` cannot hold a step
        or ``value``: a fraction or an id of 64 bits in int32. If there is no sequence and no ``maxlen``.
    TypeError
        If ``maxlen`` is no integer, or there is no such dtype.

    Examples
    --------
    >>> pad_sequences([[1], [2, 3], [4, 5, 6]])
    array([[0, 0, 1],
           [0, 2, 3],
           [4, 5, 6]], dtype=int32)
    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2, padding="post", truncating="post", value=9)
    array([[1, 9],
           [2, 3],
           [4, 5]], dtype=int32)
    >>> pad_sequences([[3, 0.5]])
    Traceback (most recent call last):
      ...
    ValueError: int32 cannot hold 0.5 of the sequence at position 0: another dtype can, as dtype='float32'
    """
    for name, side in (("Truncating", truncating), ("Padding", padding)):
        if side not in ("pre", "post"):
            raise ValueError(f'{name} type "{side}" not understood: it must be "pre" or "post"')
    dtype = np.dtype(dtype)
    if isinstance(value, str) and dtype.kind not in "OSU":
        raise ValueError(
            f"`dtype` {dtype} is not compatible with a `value` that is a str, {value!r:.80}: strings of "
            "several lengths need dtype=object"
        )
    lengths = _lengths(sequences)
    width = _width(maxlen, lengths)
    first, there = next((each for each in enumerate(sequences) if len(each[1])), (0, ()))
    shape = _array(there, slice(None), first, dtype).shape[1:]  # of a step

    taken = np.minimum(lengths, width)
    sides = {"pre": slice(-width, None), "post": slice(width)}
    cut = sides[truncating] if lengths.max(initial=0) > width else slice(None)
    steps = _steps(sequences, taken, cut, shape, dtype)
    value = _held(np.asarray(value), dtype, lambda _: "of `value`")
    if not dtype.itemsize:  # strings of any length
        dtype = np.result_type(steps, value)
    out = np.empty((len(lengths), width, *shape), dtype)
    out[...] = value
    column, filled = np.arange(width), taken[:, None]
    out[column < filled if padding == "post" else column >= width - filled] = steps
    return out


def _lengths(sequences: Any) -> NDArray[np.intp]:
    """How many steps each sequence has."""
    if not hasattr(sequences, "__len__"):
        raise ValueError(
            f"`sequences` must be iterable and have a length, got {type(sequences).__name__}: "
            "list(sequences) makes a list of a generator"
        )
    try:
        return np.fromiter(map(len, sequences), np.intp, len(sequences))
    except TypeError:
        row, found = next((row, each) for row, each in enumerate(sequences) if not hasattr(each, "__len__"))
        raise ValueError(
            f"`sequences` must be a list of iterables. Found non-iterable: {found!r:.80} at position {row}; "
            "a single sequence is given as [sequence]"
        ) from None


def _width(maxlen: Any, lengths: NDArray[np.intp]) -> int:
    if maxlen is None:
        if not lengths.size:
            raise ValueError("`sequences` is empty, so none is the longest: give `maxlen`")
        return int(lengths.max())
    try:
        width = operator.index(maxlen)
    except TypeError:
        raise TypeError(f"`maxlen` must be an integer or None, got {maxlen!r:.80}") from None
    if width < 0:
        raise ValueError(f"`maxlen` must not be negative, got {width}")
    return width


# Machine types that hold the ids and the floats of lists, and refuse whatever is something else.
_CODES = {"i": "q", "u": "q", "f": "d"}


def _steps(
    sequences: Any, taken: NDArray[np.intp], cut: slice, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The steps that are ``taken`` of each sequence, one after the other."""
    rows = np.flatnonzero(taken)
    if not rows.size:
        return np.empty((0, *shape), dtype)
    kinds, code = {*map(type, sequences)}, _CODES.get(dtype.kind)
    if kinds == {list} and code is not None and not shape:
        numbers = array(code)
        try:
            for sequence in sequences:  # each is cut and read at once, while its objects are in the cache
                numbers.fromlist(sequence[cut])  # twice as fast as np.array
        except (TypeError, OverflowError):
            pass  # a float among ids, an id of 64 bits, something worse: NumPy knows more
        else:
            return _held(np.frombuffer(numbers, code), dtype, _whose(rows, taken[rows]))
    if kinds == {np.ndarray}:
        arrays = [sequence[cut] for sequence in sequences if len(sequence)]
        alike = {(each.dtype, each.shape[1:]) for each in arrays} == {(arrays[0].dtype, shape)}
        if alike and arrays[0].dtype.kind in "biuf":
            return _held(np.concatenate(arrays), dtype, _whose(rows, taken[rows]))
    arrays = [_array(sequence, cut, row, dtype) for row, sequence in enumerate(sequences) if taken[row]]
    for row, each in zip(rows, arrays):
        if each.shape[1:] != shape:
            raise ValueError(
                f"Shape of sample {each.shape[1:]} of sequence at position {row} is different from expected "
                f"shape {shape}, which is that of the first sequence"
            )
    whose = (_whose([int(row)], [len(each)]) for row, each in zip(rows, arrays))
    return np.concatenate([_held(each, dtype, its) for each, its in zip(arrays, whose)])


def _whose(rows: Sequence[int] | NDArray[Any], lengths: Sequence[int] | NDArray[Any]) -> Callable[[int], str]:
    """What says which sequence the n-th of all steps belongs to."""

    def whose(number: int) -> str:
        row = rows[int(np.searchsorted(np.cumsum(lengths), number, "right"))]
        return f"of the sequence at position {row}"

    return whose


def _array(sequence: Any, cut: slice, row: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What is ``cut`` out of a sequence as an array of steps."""
    try:
        kept = sequence[cut]
        steps = np.asarray(kept, dtype if dtype.kind == "O" else None)
    except ValueError as error:
        raise ValueError(f"the sequence at position {row} cannot be made an array: {error}") from None
    except (TypeError, KeyError):  # a set, a deque, a dict
        steps = np.empty(())
    if not steps.ndim or len(steps) != len(kept):
        raise ValueError(
            f"`sequences` must be a list of lists or arrays. Found {type(sequence).__name__} "
            f"{sequence!r:.80} at position {row}"
        )
    return steps


def _held(values: NDArray[Any], dtype: np.dtype[Any], whose: Callable[[int], str]) -> NDArray[Any]:
    """``values`` as ``dtype``, which may round floats and must hold integers and strings as they are.

    ``whose`` says of an index into the first axis what the value there is part of.
    """
    if values.dtype == dtype:
        return values
    if dtype.kind in "SU":
        values = values.astype(dtype.kind)
    try:
        with np.errstate(invalid="ignore"):  # of a float that is no integer, which is found below
            held = values.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{dtype} cannot hold all {whose(0)}: {error}") from None
    if dtype.kind in "iu" and values.dtype.kind in "iufcO":
        wrong = held != values
        if values.dtype.kind == "f":  # too large to be told from its neighbours: another may have been meant
            wrong |= abs(values) >= 2.0 ** (np.finfo(values.dtype).nmant + 1)
    elif dtype.kind in "SU":
        wrong = held != values
    else:
        return held
    if wrong.any():
        position = tuple(np.argwhere(np.atleast_1d(wrong))[0])
        raise ValueError(
            f"{dtype} cannot hold {np.atleast_1d(values)[position]!s:.80} {whose(position[0])}: another "
            f"dtype can, as dtype={_wider(values.dtype)!r}"
        )
    return held


def _wider(dtype: np.dtype[Any]) -> str:
    """What to advise to whom ``dtype`` was not kept for."""
    return {"f": "float32", "i": dtype.name, "u": dtype.name}.get(dtype.kind, "object")


# --- Pairs of words -------------------------------------------------------------------------------


def make_sampling_table(size: int, sampling_factor: float = 1e-5) -> NDArray[np.float64]:
    """How probably `skipgrams` should take a word, by its rank: common words are thinned out.

    Parameters
    ----------
    size : int
        Number of words, at least 1. Ids are ranks: 1 is the most common word, 0 counts as 1.
    sampling_factor : float, default 1e-5
        The smaller, the more of the common words are left out; positive.

    Returns
    -------
    ndarray of shape (size,)

    Raises
    ------
    TypeError, ValueError
        If there is no such table.

    Notes
    -----
    ``min(1, f / sqrt(f))`` where ``f`` is ``sampling_factor`` divided by the frequency of a word of rank r
    in Zipf's law, ``1 / (r * (log(r) + 0.577) + 1/2 - 1/(12 r))``: word2vec's subsampling, by rank.

    Examples
    --------
    >>> make_sampling_table(4)
    array([0.00315225, 0.00315225, 0.00547597, 0.00741556])
    """
    try:
        rank = np.arange(operator.index(size))
    except TypeError:
        raise TypeError(f"`size` must be an integer, got {size!r:.80}") from None
    if not (rank.size and sampling_factor > 0):
        raise ValueError(
            "`size` must be at least 1, and `sampling_factor` positive; "
            f"got {size!r:.80} and {sampling_factor!r:.80}"
        )
    rank[0] = 1
    inverse_frequency = rank * (np.log(rank) + 0.577) + 0.5 - 1.0 / (12.0 * rank)
    f = sampling_factor * inverse_frequency
    return np.minimum(1.0, f / np.sqrt(f))


def skipgrams(
    sequence: Sequence[int],
    vocabulary_size: int,
    window_size: int = 4,
    negative_samples: float = 1.0,
    shuffle: bool = True,
    categorical: bool = False,
    sampling_table: Sequence[float] | NDArray[Any] | None = None,
    seed: int | None = None,
) -> tuple[list[list[int]], list[Any]]:
    """Pairs of a word and one near it, and pairs of a word and one drawn at random.

    Parameters
    ----------
    sequence : sequence of int
        The ids of a text. 0 is no word: no pair has it.
    vocabulary_size : int
        Words are drawn from the ids 1 to ``vocabulary_size - 1``.
    window_size : int, default 4
        How many places away a near word may be.
    negative_samples : float, default 1.0
        How many pairs are drawn, for one of words that are near. 0 is none.
    shuffle : bool, default True
        Whether the pairs come in random order.
    categorical : bool, default False
        Labels as ``[0, 1]`` and ``[1, 0]``, and not as 1 and 0.
    sampling_table : sequence of float, optional
        How probably the word of each id is the first of pairs: see `make_sampling_table`.
    seed : int, optional
        Of the order.

    Returns
    -------
    couples : list of [int, int]
    labels : list
        1 for words that are near, 0 for those drawn.

    Raises
    ------
    IndexError
        If ``sampling_table`` has no entry for a word.
    ValueError
        If words are to be drawn, and the vocabulary has none.

    Notes
    -----
    What is drawn comes from Python's ``random``, in Keras's order: `fastembed.utils.set_random_seed` makes
    a program repeatable. As in Keras, ``seed`` is the seed of the order alone, and ``random`` is left seeded.

    Examples
    --------
    >>> skipgrams([1, 2, 3], 4, window_size=1, negative_samples=0, shuffle=False)
    ([[1, 2], [2, 1], [2, 3], [3, 2]], [1, 1, 1, 1])
    """
    couples: list[list[int]] = []
    for place, word in enumerate(sequence):
        if not word or (sampling_table is not None and _probability(sampling_table, word) < random.random()):
            continue
        near = range(max(0, place - window_size), min(len(sequence), place + window_size + 1))
        couples += [[word, sequence[other]] for other in near if other != place and sequence[other]]

    drawn = max(0, int(len(couples) * negative_samples))
    labels: list[Any] = [_label(1, categorical) for _ in couples]
    if negative_samples > 0:
        firsts = [couple[0] for couple in couples]
        random.shuffle(firsts)
        if drawn and vocabulary_size < 2:
            raise ValueError(f"no words to draw: `vocabulary_size` is {vocabulary_size!r:.80}")
        couples += [[firsts[i % len(firsts)], random.randint(1, vocabulary_size - 1)] for i in range(drawn)]
        labels += [_label(0, categorical) for _ in range(drawn)]

    if shuffle:
        if seed is None:
            seed = random.randint(0, 10_000_000)  # an int, where Keras gives a float that Python 3.12 refuses
        for each in (couples, labels):
            random.seed(seed)
            random.shuffle(each)
    return couples, labels


def _probability(table: Any, word: int) -> float:
    if not 0 < word < len(table):
        raise IndexError(f"`sampling_table` is for ids from 1 to {len(table) - 1}, not for {word!r:.80}")
    return float(table[word])


def _label(near: int, categorical: bool) -> Any:
    return [1 - near, near] if categorical else near


def _remove_long_seq(maxlen: int, seq: Sequence[Any], label: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The sequences shorter than ``maxlen``, and their labels: programs that read IMDB as Keras does have it.

    >>> _remove_long_seq(3, [[1, 2], [1, 2, 3]], [0, 1])
    ([[1, 2]], [0])
    """
    kept = [(one, its) for one, its in zip(seq, label) if len(one) < maxlen]
    return [one for one, _ in kept], [its for _, its in kept]

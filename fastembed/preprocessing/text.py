"""From text to words, and from words to ids by hashing: what keras.preprocessing.text has for it.

Sources: keras_preprocessing 1.1.2, and keras/src/legacy/preprocessing/text.py of Keras 3.15.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable
from typing import Any, Callable

from fastembed import eras

__all__ = ["hashing_trick", "one_hot", "text_to_word_sequence"]

# ASCII's punctuation without the apostrophe, with tab and newline; no carriage return.
_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


@eras.any_keywords(input_text="text")
def text_to_word_sequence(
    text: Any, filters: Iterable[str] = _FILTERS, lower: bool = True, split: str | None = " "
) -> list[str]:
    """The words of a text.

    Parameters
    ----------
    text : str
        Also called ``input_text``, as in Keras 3.
    filters : iterable of characters
        Each stands between words, as ``split`` does. The default is ASCII's punctuation without the
        apostrophe, tab and newline.
    lower : bool, default True
        In lower case.
    split : str or None, default " "
        What stands between words. None is any whitespace; what is filtered is then left out, and words on
        both sides of it become one.

    Returns
    -------
    list of str
        None of them empty.

    Raises
    ------
    TypeError
        If ``text`` is no str.
    ValueError
        If ``split`` is empty, or an item of ``filters`` is not one character.

    Examples
    --------
    >>> text_to_word_sequence("Don't stop: well-done!")
    ["don't", 'stop', 'well', 'done']
    >>> text_to_word_sequence("Ab, c.", filters=",", lower=False)
    ['Ab', 'c.']
    """
    if not isinstance(text, str):
        hint = "decode it first" if isinstance(text, bytes) else "call it once for each text"
        raise TypeError(f"`text` must be a str, got {type(text).__name__} {text!r:.80}: {hint}")
    if split == "":
        raise ValueError("`split` must not be empty: list(text) gives the characters of a text")
    between = str.maketrans(dict.fromkeys(filters, split))
    return [word for word in (text.lower() if lower else text).translate(between).split(split) if word]


@eras.any_keywords(input_text="text")
def one_hot(
    text: str,
    n: int,
    filters: Iterable[str] = _FILTERS,
    lower: bool = True,
    split: str | None = " ",
    analyzer: Callable[[str], Iterable[Any]] | None = None,
) -> list[int]:
    """The id of each word of a text by Python's ``hash``; no vectors, whatever the name says.

    Parameters
    ----------
    text : str
        Also called ``input_text``, as in Keras 3.
    n : int
        Ids are from 1 to ``n - 1``.
    filters, lower, split, analyzer
        As in `hashing_trick`.

    Returns
    -------
    list of int

    Raises
    ------
    TypeError, ValueError
        As `hashing_trick`.

    Notes
    -----
    Python salts the hash of a str: in another process a word has another id, unless ``PYTHONHASHSEED`` is
    set. A model that is saved needs `hashing_trick` with ``"md5"``.

    Examples
    --------
    >>> ids = one_hot("The cat and the dog", 50)
    >>> len(ids), ids[0] == ids[3], all(0 < id < 50 for id in ids)
    (5, True, True)
    """
    return hashing_trick(text, n, hash, filters, lower, split, analyzer)


@eras.any_keywords(input_text="text")
def hashing_trick(
    text: str,
    n: int,
    hash_function: Callable[[Any], int] | str | None = None,
    filters: Iterable[str] = _FILTERS,
    lower: bool = True,
    split: str | None = " ",
    analyzer: Callable[[str], Iterable[Any]] | None = None,
) -> list[int]:
    """The id of each word of a text by a hash of it. Words may share an id.

    Parameters
    ----------
    text : str
        Also called ``input_text``.
    n : int
        At least 2. Ids are from 1 to ``n - 1``: 0 is left for padding.
    hash_function : callable, "md5" or None
        From a word to an integer. None is Python's ``hash``, which gives other ids in another process;
        ``"md5"`` gives the same everywhere.
    filters, lower, split
        As in `text_to_word_sequence`.
    analyzer : callable, optional
        From the text to its words, in place of `text_to_word_sequence`.

    Returns
    -------
    list of int

    Raises
    ------
    TypeError
        If ``text`` is no str, ``n`` no integer, or ``hash_function`` nothing that hashes words to integers.
    ValueError
        If ``n`` is below 2.

    Notes
    -----
    The id of a word w is ``hash_function(w) % (n - 1) + 1``. In the era of Keras 1, which dropped the sign
    of the hash until 2.0.5, it is ``abs(hash_function(w)) % (n - 1) + 1``.

    Examples
    --------
    >>> hashing_trick("The cat sat on the mat.", 50, "md5")
    [43, 32, 29, 3, 43, 29]
    """
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"`n` must be an integer, got {n!r:.80}: ids are from 1 to n - 1") from None
    if n < 2:
        raise ValueError(f"`n` must be at least 2, got {n}: ids are from 1 to n - 1")
    number_of = _hash_function(hash_function)
    words = text_to_word_sequence(text, filters, lower, split) if analyzer is None else analyzer(text)
    hashed = eras.current().hashed
    return [hashed(number_of(word), n) for word in words]


def _hash_function(identifier: Any) -> Callable[[Any], int]:
    """What hashes a word to an int."""
    if identifier is None or identifier is hash:
        return hash
    if identifier == "md5":
        return _md5
    if not callable(identifier):
        raise TypeError(
            '`hash_function` must be a function from a word to an integer, "md5" or None, '
            f"got {identifier!r:.80}"
        )

    def number_of(word: Any) -> int:
        number = identifier(word)
        try:
            return operator.index(number)
        except TypeError:
            raise TypeError(
                f"`hash_function` must give integers, and gave {number!r:.80} for {word!r:.80}"
            ) from None

    return number_of


def _md5(word: str) -> int:
    return int.from_bytes(hashlib.md5(word.encode(), usedforsecurity=False).digest(), "big")

"""What a program has one of: its backend, its counters, whether it trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from fastembed import dtype_policies
from fastembed.backend.arrays import switch
from fastembed.layers.layer import learning_phase
from fastembed.names import next_number, reset_names

__all__ = [
    "backend", "clear_session", "get_uid", "image_data_format", "in_test_phase", "in_train_phase",
    "learning_phase", "name_scope", "reset_uids", "set_learning_phase",
]  # fmt: skip


def backend() -> str:
    """``"numpy"``, which is what Keras 3 calls the backend whose tensors are arrays of NumPy.

    Code that asks for ``"tensorflow"`` or ``"theano"`` is about to use their functions, and is told no.

    >>> backend()
    'numpy'
    """
    return "numpy"


def image_data_format() -> str:
    """``"channels_last"``, Keras's default; no layer here is of images.

    >>> image_data_format()
    'channels_last'
    """
    return "channels_last"


def clear_session() -> None:
    """Count automatic names from the beginning again, and let the default dtype policy be that of floatx.

    Layers that are there stay as they are.

    >>> clear_session()
    """
    reset_names()
    dtype_policies.set_dtype_policy(None)


def get_uid(prefix: str = "") -> int:
    """The next number of those that are counted for ``prefix``, the first of which is 1.

    The names of layers count on with it in the eras of Keras 1 and 2, as they did there.

    >>> get_uid("of this example"), get_uid("of this example")
    (1, 2)
    """
    return next_number(prefix, 1)


def reset_uids() -> None:
    """Let `get_uid` and automatic names begin again.

    >>> reset_uids()
    """
    reset_names()


@contextlib.contextmanager
def name_scope(name: str) -> Iterator[str]:
    """A block that does nothing, for nothing here is named after where it is computed.

    >>> with name_scope("encoder"):
    ...     pass
    """
    yield name


def set_learning_phase(value: int) -> None:
    """Say that the program trains (1) or does not (0): what `learning_phase` says anyway, or an error.

    Parameters
    ----------
    value : {0, 1}

    Raises
    ------
    ValueError
        If it is another phase than the one that the running call, or `fastembed.recording`, is in: each call
        says whether it trains.

    Examples
    --------
    >>> set_learning_phase(0)
    >>> set_learning_phase(1)
    Traceback (most recent call last):
      ...
    ValueError: the learning phase is 0 here, not 1: call layers with training=True
    """
    if value not in (0, 1):
        raise ValueError(f"a learning phase is 0 or 1, got {value!r}")
    if value != (phase := learning_phase()):
        raise ValueError(
            f"the learning phase is {phase} here, not {value:d}: call layers with training={bool(value)}"
        )


def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """``x`` while training, otherwise ``alt``; of callables, what the one of them gives.

    Parameters
    ----------
    x, alt : array_like, or callables that give one
    training : bool, optional
        Default: `learning_phase`.

    >>> in_train_phase("noisy", "clear"), in_train_phase("noisy", "clear", training=True)
    ('clear', 'noisy')
    """
    return switch(learning_phase() if training is None else training, x, alt)


def in_test_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """``alt`` while training, otherwise ``x``; see `in_train_phase`.

    >>> in_test_phase("clear", "noisy")
    'clear'
    """
    return in_train_phase(alt, x, training)

"""What becomes of an id that is no row of the table [[0.0], [1.0], [2.0], [3.0]]: in each Keras, and here.

An answer is the number that is looked up, NaN, or the name of the error. The Kerases are 3.15.1 on NumPy,
TensorFlow and JAX (on a CPU; on a GPU TensorFlow answers with zeros), and tf_keras 2.21.
"""

from __future__ import annotations

from typing import NamedTuple, Union

from numpy import nan

Answer = Union[float, str]

NOT_FOUND, NOT_FOUND_IN_TF, NO_NUMBER = "IndexError", "InvalidArgumentError", "ValueError"


class Outside(NamedTuple):
    """One id, and what becomes of it."""

    id: str
    ours: Answer
    numpy: Answer
    tensorflow: Answer
    jax: Answer
    tf_keras: Answer


OUTSIDE = [
    Outside("np.array([4])", NOT_FOUND, NOT_FOUND, NOT_FOUND_IN_TF, nan, NOT_FOUND_IN_TF),
    Outside("np.array([-1])", NOT_FOUND, 3, 3, 3, NOT_FOUND_IN_TF),
    Outside("np.array([-4])", NOT_FOUND, 0, 0, 0, NOT_FOUND_IN_TF),
    Outside("np.array([-5])", NOT_FOUND, NOT_FOUND, NOT_FOUND_IN_TF, nan, NOT_FOUND_IN_TF),
    Outside("np.array([2**32 - 1], 'uint32')", NOT_FOUND, 3, 3, 3, NOT_FOUND_IN_TF),
    Outside("np.array([2**64 - 1], 'uint64')", NOT_FOUND, 3, 3, 3, NOT_FOUND_IN_TF),
    Outside("np.array([2**31])", NOT_FOUND, NOT_FOUND, NOT_FOUND_IN_TF, nan, NOT_FOUND_IN_TF),
    Outside("np.array([2**32 + 1])", NOT_FOUND, NOT_FOUND, NOT_FOUND_IN_TF, 1, NOT_FOUND_IN_TF),
    Outside("np.array([2.7])", NO_NUMBER, 2, 2, 2, 2),
    Outside("np.array([-0.5])", NO_NUMBER, 0, 0, 0, 0),
    Outside("np.array([np.nan])", NO_NUMBER, NOT_FOUND, NOT_FOUND_IN_TF, 0, NOT_FOUND_IN_TF),
    Outside("np.array([np.inf])", NO_NUMBER, NOT_FOUND, NOT_FOUND_IN_TF, nan, NOT_FOUND_IN_TF),
]

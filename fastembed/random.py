"""Random values, and the seeds that they come from: the part of keras.random that layers need.

Values are those of Keras 3 on its numpy backend, bit for bit: keras/src/backend/numpy/random.py and
keras/src/random/seed_generator.py of Keras 3.15. An integer seed gives the same values each time, a
`SeedGenerator` others each time.
"""

from __future__ import annotations

import math
import numbers
import operator
import random
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import threads
from fastembed._registry import Configurable, Registry
from fastembed.dtypes import is_float, standardize_dtype
from fastembed.locks import Lock
from fastembed.names import automatic_name, checked_name
from fastembed.ops import as_array
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Draw = Callable[[int], NDArray[Any]]

__all__ = ["SeedGenerator", "dropout", "normal", "truncated_normal", "uniform"]


class SeedGenerator(Configurable):
    """A seed that gives other values at each use: those of a new stream, which its state counts.

    Parameters
    ----------
    seed : int, optional
        Of the first stream; without one it is taken from Python's ``random``.
    name : str, optional

    Attributes
    ----------
    state : Variable of uint32, shape (2,)
        Seed and count.

    Raises
    ------
    ValueError
        If the seed is no integer.

    Notes
    -----
    Any number of threads may draw: no two get the same stream.

    Examples
    --------
    >>> generator = SeedGenerator(1337)
    >>> first, second = uniform((2,), seed=generator), uniform((2,), seed=generator)
    >>> bool((first == second).any()), bool((first == uniform((2,), seed=SeedGenerator(1337))).all())
    (False, True)
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        checked_name(name)
        self.name = automatic_name("seed_generator") if name is None else name
        first = make_default_seed() if seed is None else as_seed(seed)
        self.seed = None if seed is None else first
        self.state = Variable(
            _key(first),
            trainable=False,
            name="seed_generator_state",
            path=f"{self.name}/seed_generator_state",
        )
        self._lock = Lock()

    def next(self, ordered: bool = True) -> NDArray[np.uint32]:
        """The seed of the next stream, two words.

        Parameters
        ----------
        ordered : bool, default True
            Count on; otherwise go on to a seed that looks unlike this one.

        >>> SeedGenerator(5).next()
        array([5, 0], dtype=uint32)
        """
        with self._lock:
            state = self.state.numpy()
            if ordered:
                self.state.assign(state + np.array([0, 1], np.uint32))
            else:
                self.state.assign((state + np.uint32(1)) * np.uint32(5387) % np.uint32(933199))
        return state

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "name": self.name}


Registry("seed generator", {"SeedGenerator": SeedGenerator}, module="keras.random")


def make_default_seed() -> int:
    """A seed where none is given, from Python's ``random``: ``random.seed`` makes a program repeatable.

    >>> 1 <= make_default_seed() <= 10**9
    True
    """
    return random.randint(1, 10**9)


def as_seed(seed: Any) -> int:
    """``seed`` as an int; ValueError if it is none.

    >>> as_seed(np.int64(3))
    3
    """
    try:
        return operator.index(seed)
    except TypeError:
        raise ValueError(f"`seed` must be an integer, a SeedGenerator or None, got {seed!r:.200}") from None


def _key(seed: int) -> NDArray[np.uint32]:
    return np.array([seed & 0xFFFFFFFF, 0], np.uint32)


_of_all: list[SeedGenerator] = []  # the one for draws without a seed, made when it is needed
_of_all_lock = Lock()


def generator(seed: Any) -> np.random.Generator:
    """The stream of random numbers that a ``seed`` means: for None, another one each time.

    >>> float(generator(0).random()) == float(generator(0).random())
    True
    """
    if seed is None:
        with _of_all_lock:
            if not _of_all:
                _of_all.append(SeedGenerator())
            return np.random.default_rng(_of_all[0].next(ordered=False))
    return np.random.default_rng(seed.next() if isinstance(seed, SeedGenerator) else _key(as_seed(seed)))


def set_random_seed(seed: int) -> None:
    """Seed Python's ``random``, NumPy's global generator, and whatever is drawn here without a seed.

    Parameters
    ----------
    seed : int
        At most 32 bits, not negative.

    Raises
    ------
    ValueError
        If it is not such an integer. Nothing is seeded then.

    Examples
    --------
    >>> set_random_seed(812)
    >>> first = normal((2,))
    >>> set_random_seed(812)
    >>> bool((first == normal((2,))).all())
    True
    """
    if not isinstance(seed, (int, np.integer)):
        raise ValueError(f"Expected `seed` argument to be an integer. Received: seed={seed!r:.200}")
    np.random.seed(seed)  # noqa: NPY002 (it is what Keras seeds); first, because it looks at the range
    random.seed(int(seed))
    with _of_all_lock:
        _of_all.clear()


def uniform(
    shape: Sequence[int], minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> NDArray[Any]:
    """Uniform in ``[minval, maxval)``.

    Parameters
    ----------
    shape : sequence of int
    minval, maxval : float
    dtype : dtype_like, default `fastembed.backend.floatx`
        Of floats. bfloat16, which NumPy lacks, gives float32 values for others to narrow.
    seed : int, SeedGenerator or None

    Raises
    ------
    ValueError
        If shape, bounds, dtype or seed cannot be used.

    Examples
    --------
    >>> uniform((2, 3), -0.05, 0.05, seed=1337)
    array([[ 0.03781019, -0.03144721,  0.04209005],
           [ 0.04465659,  0.03745081, -0.03842572]], dtype=float32)
    """
    if not is_float(standardize_dtype(dtype)):
        raise ValueError(f"uniform values need a dtype of floats. Received: dtype={dtype!r:.200}")
    return uniform_numbers(shape, minval, maxval, dtype, seed)


def uniform_numbers(
    shape: Sequence[int], minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> NDArray[Any]:
    """`uniform` in any dtype, as initializers draw: an integer is the float without its fraction.

    >>> uniform_numbers((3,), 0, 10, "int32", seed=0)
    array([6, 2, 0], dtype=int32)
    """
    low, high = as_number("minval", minval), as_number("maxval", maxval)
    if low > high:
        raise ValueError(f"`minval` must not exceed `maxval`, got {low!r} and {high!r}")

    def drawing(rng: np.random.Generator) -> Draw:
        return lambda n: rng.uniform(low, high, n)

    out = np.empty(as_shape(shape), as_array_dtype(dtype))
    count, rng = min(threads.get_num_threads(), out.size // _A_THREAD), generator(seed)
    if count < 2:
        _fill(out.reshape(-1), drawing(rng))
        return out
    drawing(rng)(0)  # which says what is wrong with the bounds
    # Each value takes one step of the stream, so threads can begin in the midst of it.
    ends = [out.size * part // count for part in range(count + 1)]
    parts, others = [out.reshape(-1)[start:end] for start, end in zip(ends, ends[1:])], []
    for start, part in zip(ends[1:], parts[1:]):
        stream: Any = np.random.PCG64()
        stream.state = rng.bit_generator.state
        stream.advance(start)
        draw = drawing(np.random.Generator(stream))
        others.append(threading.Thread(target=_fill, args=(part, draw), daemon=True))
        others[-1].start()
    _fill(parts[0], drawing(rng))
    for other in others:
        other.join()
    return out


def normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> NDArray[Any]:
    """Normal with this mean and standard deviation; arguments and errors are those of `uniform`.

    >>> normal((2,), dtype="float64", seed=0).round(4)
    array([ 0.1257, -0.1321])
    """
    mean, stddev = as_number("mean", mean), _as_stddev(stddev)
    return _filled(shape, dtype, seed, lambda rng: lambda n: rng.normal(mean, stddev, n))


def truncated_normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> NDArray[Any]:
    """`normal`, with every value more than two standard deviations from the mean drawn again.

    >>> bool(abs(truncated_normal((1000,), seed=0)).max() <= 2)
    True
    """
    mean, stddev = as_number("mean", mean), _as_stddev(stddev)
    low, high = mean - 2 * stddev, mean + 2 * stddev

    def drawing(rng: np.random.Generator) -> Draw:
        def draw(n: int) -> NDArray[np.float64]:
            values = rng.normal(mean, stddev, n)
            return values[(low <= values) & (values <= high)]

        return draw

    return _filled(shape, dtype, seed, drawing)


# --- Dropout ---


def dropout(
    inputs: Any, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Any = None
) -> NDArray[Any]:
    """``inputs`` with numbers set to zero at random, and those that stay divided by the share that does.

    Parameters
    ----------
    inputs : array_like of floats
    rate : float in [0, 1]
        The share that is dropped.
    noise_shape : sequence of int or None, optional
        Shape of what is drawn, which is then broadcast; None is the inputs' own length.
    seed : int, SeedGenerator or None

    Returns
    -------
    ndarray
        ``inputs`` itself where the rate is 0.

    Raises
    ------
    ValueError
        If the rate lies outside [0, 1], the noise does not fit the inputs, or these are not floats. A
        generator is then where it was.

    Examples
    --------
    >>> dropout(np.ones(6, np.float32), 0.5, seed=3)
    array([2., 2., 0., 0., 2., 2.], dtype=float32)
    """
    inputs, rate = as_array(inputs), as_rate(rate)
    if rate == 0:
        return inputs
    return thinned_out(inputs, kept_numbers(inputs, rate, noise_shape, seed), rate)


def as_rate(rate: Any) -> Any:
    """``rate`` if it is a number in [0, 1].

    >>> as_rate(1.5)
    Traceback (most recent call last):
      ...
    ValueError: `rate` must be a number from 0 to 1, got 1.5
    """
    number: Any = rate.item() if isinstance(rate, np.generic) else rate
    is_number = isinstance(number, numbers.Real)
    if not (is_number and 0 <= number <= 1):
        error = ValueError if is_number else TypeError  # Keras's
        raise error(f"`rate` must be a number from 0 to 1, got {rate!r:.80}")
    return number


def kept_numbers(inputs: NDArray[Any], rate: float, noise_shape: Any, seed: Any) -> NDArray[np.bool_]:
    """Which of ``inputs`` a dropout leaves: what `thinned_out` takes, of shape ``noise_shape``.

    >>> kept_numbers(np.ones((3, 2)), 0.5, (None, 1), 3)
    array([[ True],
           [ True],
           [False]])
    """
    if inputs.dtype.kind != "f" and inputs.dtype.name != "bfloat16":
        raise ValueError(f"dropout needs floats: numbers of {inputs.dtype} cannot be divided by what is kept")
    shape = inputs.shape
    if noise_shape is not None:
        lengths = list(noise_shape)
        fits = len(lengths) <= len(shape) and not (None in lengths and len(lengths) != len(shape))
        if fits:
            lengths = [own if said is None else said for said, own in zip(lengths, shape[-len(lengths) :])]
            fits = all(said in (1, own) for said, own in zip(lengths, shape[-len(lengths) :]))
        if not fits:
            raise ValueError(
                f"`noise_shape` {tuple(noise_shape)} cannot be broadcast to inputs of shape {shape}: each "
                "length must be None, 1, or that of the inputs"
            )
        shape = tuple(lengths)
    if rate == 1:
        return np.zeros(shape, bool)  # nothing is drawn, as in Keras
    return _filled(shape, bool, seed, lambda rng: lambda n: rng.random(n) < 1.0 - rate)


def thinned_out(values: NDArray[Any], kept: NDArray[np.bool_], rate: float) -> NDArray[Any]:
    """The ``values`` that are kept, divided by the share that is, and zeros.

    >>> thinned_out(np.float32([1, 2]), np.array([False, True]), 0.5)
    array([0., 4.], dtype=float32)
    """
    if rate == 1:
        return np.zeros_like(values)
    with np.errstate(all="ignore"):  # what is dropped may be anything
        scaled = (values / (1.0 - rate)).astype(values.dtype, copy=False)
    return np.where(kept, scaled, np.zeros((), values.dtype))


# --- Making arrays ---


def as_array_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of the array to make: bfloat16, which NumPy lacks, comes as float32.

    >>> as_array_dtype("bfloat16")
    dtype('float32')
    """
    name = standardize_dtype(dtype)
    return np.dtype(np.float32 if name == "bfloat16" else name)


def as_shape(shape: Any) -> tuple[int, ...]:
    """``shape`` as a tuple; a single integer is a shape of one dimension, as in NumPy.

    >>> as_shape(3), as_shape([np.int64(2), 3])
    ((3,), (2, 3))
    """
    sizes = shape if isinstance(shape, (Sequence, np.ndarray)) else [shape]
    try:
        return tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise ValueError(f"shape must consist of integers, got {shape!r:.200}") from None


def as_number(name: str, value: Any) -> Any:
    """``value`` if it is a finite number. (With a NaN a truncated normal would draw for ever.)

    >>> as_number("mean", np.float32(0.5))
    0.5
    """
    if isinstance(value, np.generic):
        value = value.item()  # JSON cannot hold NumPy's numbers
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number, got {value!r:.200}")
    return value


def _as_stddev(value: Any) -> Any:
    if as_number("stddev", value) < 0:
        raise ValueError(f"`stddev` must not be negative, got {value!r}")
    return as_number("stddev", value)


# Doubles drawn at a time: 512 KiB, which stays in a core's cache until it is narrowed into the output.
# Drawing all at once would need three times the memory of a float32 table.
_BLOCK = 65536

# Values that are worth a thread: drawing them takes a millisecond, starting a thread a twentieth of one.
_A_THREAD = 500_000


def _filled(
    shape: Any, dtype: Any, seed: Any, drawing: Callable[[np.random.Generator], Draw]
) -> NDArray[Any]:
    """An array filled in order by what ``drawing`` makes of a generator: ``draw(n)``, at most ``n`` values.

    A NumPy generator consumes its stream value by value, so the block size does not show in the result.
    """
    out = np.empty(as_shape(shape), as_array_dtype(dtype))
    _fill(out.reshape(-1), drawing(generator(seed)))
    return out


def _fill(flat: NDArray[Any], draw: Draw) -> None:
    done = 0
    while done < flat.size:
        values = draw(min(_BLOCK, flat.size - done))
        flat[done : done + values.size] = values
        done += values.size

"""Where `fit`, `evaluate` and `predict` take their batches from: arrays, generators, datasets.

`source` makes a `Source` of whatever they were given; everything else there asks it for batches, each a
triple ``(x, y, sample_weight)`` of arrays in the structure in which the user gave them, with None for what
is absent. Behaviour is that of keras/src/trainers/data_adapters and epoch_iterator.py of Keras 3.15.
"""

from __future__ import annotations

import functools
import itertools
import math
import numbers
import operator
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable

import numpy as np

from fastembed.dtypes import array_dtype, floatx
from fastembed.ops import as_array
from fastembed.random import generator

__all__ = ["PyDataset", "Sequence", "pack_x_y_sample_weight", "unpack_x_y_sample_weight"]

Batch = tuple[Any, Any, Any]


class PyDataset:
    """A dataset as a class: its ``len`` is how many batches it has, its ``[i]`` the i-th of them.

    A subclass defines ``__getitem__``, which returns one batch, ``(x,)``, ``(x, y)`` or
    ``(x, y, sample_weight)``, and ``__len__``.

    Parameters
    ----------
    workers : int, default 1
        More than one prepare batches while the model works on earlier ones.
    use_multiprocessing : bool, default False
        Whether the workers are processes. Each then has a copy of the dataset; threads share it.
    max_queue_size : int, default 10
        How many batches may be prepared in advance.

    Notes
    -----
    `fit` takes each batch once an epoch, in another order each time unless ``shuffle=False``. Keras calls
    this class ``Sequence`` too. A dataset without end has a ``num_batches`` that is None instead of a
    length; `fit` then needs ``steps_per_epoch``.

    Examples
    --------
    >>> class Halves(PyDataset):
    ...     def __init__(self, x, y, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.x, self.y = x, y
    ...
    ...     def __len__(self):
    ...         return 2
    ...
    ...     def __getitem__(self, index):
    ...         return self.x[index::2], self.y[index::2]
    >>> [x.tolist() for x, y in Halves(np.arange(5), np.ones(5))]
    [[0, 2, 4], [1, 3]]
    """

    workers = 1
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        """The batch of this number: each dataset has its own."""
        raise NotImplementedError(
            f"{type(self).__name__} has no __getitem__: define it to return the batch of the number it is "
            "given"
        )

    def __iter__(self) -> Iterator[Any]:
        length = self.num_batches
        return (self[index] for index in (itertools.count() if length is None else range(length)))

    @property
    def num_batches(self) -> int | None:
        """How many batches there are; None where they do not end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(
            f"{type(self).__name__} has neither `__len__` nor `num_batches`: define one of them, so that it "
            "is "
            "known when an epoch ends"
        )

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch: the place to draw or order its examples anew."""


Sequence = PyDataset


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """What a generator yields for these: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

    An ``x`` alone that is a list or a tuple is packed into a tuple, so that it is not taken for several.

    Examples
    --------
    >>> pack_x_y_sample_weight("x"), pack_x_y_sample_weight(["a", "b"]), pack_x_y_sample_weight("x", "y")
    ('x', (['a', 'b'],), ('x', 'y'))
    """
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> Batch:
    """The three parts of a batch, or of what was given as ``validation_data``.

    Parameters
    ----------
    data : array, dict, or tuple or list of one to three
        ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.

    Returns
    -------
    tuple of three
        With None for what is absent.

    Raises
    ------
    ValueError
        If it is a tuple of another length.

    Examples
    --------
    >>> unpack_x_y_sample_weight(("x", "y"))
    ('x', 'y', None)
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`, found a "
            f"{type(data).__name__} of {len(data)}: {data!r:.200}. Several inputs go into a list of their "
            "own: "
            "`([first, second], y)`"
        )
    x, y, sample_weight = (*data, None, None)[:3]
    return x, y, sample_weight


# --- Arrays, and structures of them ---------------------------------------------------------------


def _arrays(data: Any, what: str) -> Any:
    """``data`` with an array in place of whatever holds numbers; ``what`` says in errors which data it is.

    Lists and tuples of numbers, nested or not, are arrays; others, and dicts, are structures of arrays.
    """
    if data is None:
        return None
    if _holds_numbers(data):
        return _array(data, what)
    if isinstance(data, Mapping):
        return {key: _arrays(value, f"{what}[{key!r}]") for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        parts = [_arrays(value, f"{what}[{i}]") for i, value in enumerate(data)]
        return parts if isinstance(data, list) else tuple(parts)
    raise ValueError(
        f"Unrecognized data type: {what}={data!r:.200} (of type {type(data)}). Expected an array, a list of "
        "numbers, or a list, tuple or dict of arrays"
    )


def _holds_numbers(data: Any) -> bool:
    if isinstance(data, np.ndarray):
        return True
    first = data
    while isinstance(first, (list, tuple)):
        if not first:
            return True
        first = first[0]
    if isinstance(first, (numbers.Number, np.generic, str, bytes)):
        return True  # strings too, for the error that says what they want to be
    return first is data and (_is_array(data) or isinstance(data, (range, memoryview, bytearray)))


def _is_array(data: Any) -> bool:
    return any(hasattr(data, name) for name in ("__array__", "__array_interface__", "__dlpack__"))


def _array(values: Any, what: str) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(as_array(values))
    except ValueError as error:
        raise ValueError(
            f"{what}: {error}. Sequences of different lengths are made equal by `pad_sequences`"
        ) from None
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise TypeError(
            f"{what} is a masked array, and a mask is not obeyed here: `{what}.filled(...)` says how"
        )
    is_float = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    if not (is_float or array.dtype.kind in "biu"):
        hint = "`astype` makes numbers of objects that are numbers; `pad_sequences` makes lists equally long"
        if array.dtype.kind in "US" or (array.size and isinstance(array.flat[0], str)):
            hint = "text becomes ids by a Tokenizer or `one_hot`"
        raise ValueError(f"Invalid dtype: {what} holds no numbers but {array.dtype}, {array!r:.80}: {hint}")
    if not array.ndim:
        raise ValueError(f"{what} is one number, {array}: expected an array with an axis of examples")
    if is_float and array.dtype != (dtype := array_dtype(floatx())):
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, as in Keras
            array = array.astype(dtype)
    return array


def _leaves(data: Any) -> Iterator[np.ndarray[Any, Any]]:
    """The arrays of a structure."""
    if isinstance(data, np.ndarray):
        yield data
    elif data is not None:
        for part in data.values() if isinstance(data, dict) else data:
            yield from _leaves(part)


def _mapped(function: Callable[[Any], Any], data: Any) -> Any:
    """``data`` with what ``function`` makes of each array."""
    if data is None or isinstance(data, np.ndarray):
        return data if data is None else function(data)
    if isinstance(data, dict):
        return {key: _mapped(function, part) for key, part in data.items()}
    parts = [_mapped(function, part) for part in data]
    return parts if isinstance(data, list) else tuple(parts)


def _examples(x: Any, y: Any, sample_weight: Any, where: str = "") -> int:
    """How many examples these arrays hold, which must be as many in all of them."""
    count = {len(array) for array in _leaves((x, y, sample_weight))}
    if len(count) > 1:
        sizes = (
            f"'{name}' sizes: {', '.join(str(len(array)) for array in _leaves(part))}"
            for name, part in (("x", x), ("y", y), ("sample_weight", sample_weight))
            if part is not None
        )
        raise ValueError(
            "\n".join(
                [
                    "Data cardinality is ambiguous. Make sure all arrays contain the same number of samples."
                    + where,
                    *sizes,
                ]
            )
        )
    if not any(count):
        raise ValueError(f"there are no examples: got x={x!r:.200}{where}")
    return count.pop()


def _same_structure(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(_same_structure(one[key], other[key]) for key in one)
        )
    if isinstance(one, (list, tuple)):
        same = isinstance(other, (list, tuple)) and len(one) == len(other)
        return same and all(map(_same_structure, one, other))
    return not isinstance(other, (list, tuple, dict))


def _weights(y: Any, sample_weight: Any, class_weight: Any) -> Any:
    """The weights of the examples whose labels are ``y``: those given, or those of their classes."""
    several = isinstance(y, (list, tuple, dict))
    if class_weight is not None:
        if sample_weight is not None:
            raise ValueError(
                "You cannot use `class_weight` and `sample_weight` at the same time: multiply the weights "
                "of the "
                "classes into `sample_weight`"
            )
        if several:
            raise ValueError(
                "`class_weight` is only supported for Models with a single output: give each output an "
                "array of "
                "weights in `sample_weight`"
            )
        return _weights_of_classes(y, class_weight)
    if several and isinstance(sample_weight, np.ndarray):
        if sample_weight.shape[1:] not in ((), (1,)):
            raise ValueError(
                "a single `sample_weight` for a model with several outputs holds one number an example, "
                "shape "
                f"{(len(sample_weight),)}. Received shape {sample_weight.shape}: give one array an output, "
                "in "
                "the structure of `y`"
            )
        return _mapped(lambda _: sample_weight, y)
    if several and sample_weight is not None and not _same_structure(y, sample_weight):
        raise ValueError(
            "You should provide one `sample_weight` array per output in `y`. The two structures did not "
            "match:\n"
            f"- y: {_shapes(y)}\n- sample_weight: {_shapes(sample_weight)}"
        )
    return sample_weight


def _shapes(data: Any) -> Any:
    return _mapped(lambda array: array.shape, data)


def _weights_of_classes(y: Any, class_weight: Any) -> np.ndarray[Any, Any]:
    """The weight of each label's class, 1 for a class without; labels are numbers or one-hot vectors."""
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            "`class_weight` is a dict of the weight of each class, as in {0: 1.0, 1: 2.5}. Received: "
            f"{class_weight!r:.200}"
        )
    if unknown := [
        key for key in class_weight if not (isinstance(key, numbers.Real) and float(key).is_integer())
    ]:
        raise ValueError(
            f"`class_weight` names classes by their number. Received: {unknown[0]!r:.80} as a class"
        )
    if y is None:
        raise ValueError("`class_weight` needs labels, and there is no `y`")
    if y.ndim > 1:
        y = y[..., 0] if y.shape[-1] == 1 else np.argmax(y, axis=-1)
    if y.ndim > 1:
        raise ValueError(
            "`class_weight` is for one label an example, a number or a one-hot vector. These have shape "
            f"{y.shape[1:]}: give an array of weights in `sample_weight`"
        )
    labels, which = np.unique(np.rint(y), return_inverse=True)
    by_class = [class_weight.get(label, 1.0) for label in labels.tolist()]
    return np.array(by_class, array_dtype(floatx()))[which]


def split(x: Any, y: Any, sample_weight: Any, validation_split: float) -> tuple[Batch, Batch]:
    """What to train on, and what to validate with: the last part of the data, before any shuffling.

    Raises
    ------
    ValueError
        If the data are no arrays, or one of the two would be empty.

    Examples
    --------
    >>> training, validation = split([1, 2, 3, 4, 5], [0, 1, 0, 1, 0], None, 0.4)
    >>> training[0], validation[0], validation[1]
    (array([1, 2, 3]), array([4, 5]), array([1, 0]))
    """
    try:
        data = _arrays(x, "x"), _arrays(y, "y"), _arrays(sample_weight, "sample_weight")
    except ValueError as error:
        raise ValueError(
            f"`validation_split` takes the last part of arrays: give `validation_data` instead. {error}"
        ) from None
    count = _examples(*data)
    at = math.floor(count * (1.0 - validation_split)) if 0 < validation_split < 1 else 0
    if at in (0, count):
        raise ValueError(
            f"Training data contains {count} samples, which is not sufficient to split it into a validation "
            "and "
            f"training set as specified by `validation_split={validation_split}`. Either provide more data, "
            "or "
            "another share between 0 and 1"
        )
    first, last = operator.itemgetter(slice(at)), operator.itemgetter(slice(at, None))
    return _mapped(first, data), _mapped(last, data)


# --- Sources --------------------------------------------------------------------------------------


def source(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    steps: int | None = None,
    shuffle: bool | str = False,
    class_weight: Mapping[int, float] | None = None,
) -> Source:
    """The batches of ``x``, ``y`` and ``sample_weight``.

    Parameters
    ----------
    x : array_like, structure of them, iterable, PyDataset or Source
        Generators, iterators and datasets yield whole batches; ``y`` and ``sample_weight`` are None then.
    y, sample_weight : array_like or structure of them, optional
    batch_size : int, optional
        Of arrays; default 32, or what gives ``steps`` batches.
    steps : int, optional
        How many batches an epoch has. The next one goes on where it ended.
    shuffle : bool or "batch", default False
        Whether each epoch has another order: of examples, of the examples inside each batch, or of the
        batches of a dataset. The numbers come from `fastembed.random`, so `set_random_seed` makes it
        repeatable.
    class_weight : dict, optional
        Weight of the examples of each class.

    Raises
    ------
    ValueError, TypeError
        If they cannot be read as data, or do not belong together.

    Examples
    --------
    >>> batches = source([[1, 2], [3, 4], [5, 6]], [0.0, 1.0, 1.0], batch_size=2)
    >>> for x, y, sample_weight in batches.epoch():
    ...     print(x.tolist(), y, sample_weight)
    [[1, 2], [3, 4]] [0. 1.] None
    [[5, 6]] [1.] None
    """
    steps = None if not steps else _positive("steps", steps)
    if isinstance(x, Source):
        return x
    if x is None:
        raise ValueError("there are no data: x is None")
    if isinstance(x, (list, tuple, Mapping)) or _holds_numbers(x):
        return ArraySource(x, y, sample_weight, batch_size, steps, shuffle, class_weight)
    is_dataset = hasattr(x, "__getitem__") and (hasattr(x, "__len__") or isinstance(x, PyDataset))
    kind = "PyDataset" if is_dataset else "generator"
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"When providing `x` as a {kind} (here of type {type(x)}), `{name}` should not be passed: "
                "each "
                "batch that it gives is a tuple (x, y) or (x, y, sample_weight)"
            )
    if is_dataset:
        return DatasetSource(x, steps, bool(shuffle), class_weight)
    if isinstance(x, Iterator):
        return IteratorSource(x, steps, class_weight)
    if isinstance(x, Iterable):
        return IterableSource(x, steps, class_weight)
    raise ValueError(
        f"Unrecognized data type: x={x!r:.200} (of type {type(x)}). Expected arrays, a generator, or a "
        "PyDataset"
    )


def _positive(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"`{name}` must be a whole number. Received: {name}={value!r:.80}") from None
    if number <= 0:
        raise ValueError(f"`{name}` must be at least 1. Received: {name}={value!r}")
    return number


class Source:
    """Batches, epoch by epoch.

    Attributes
    ----------
    batch_size : int or None
        Examples in each but the last batch, where the source decides that.
    """

    batch_size: int | None = None

    def __init__(self, steps: int | None) -> None:
        self._steps = steps
        self._running: Iterator[Batch] = iter(())
        self._warned = False

    @property
    def num_batches(self) -> int | None:
        """How many batches an epoch has; None where that is not known."""
        return self._steps or self._length()

    def peek(self) -> Batch:
        """A first batch, for a model that has to be built; it comes again in an epoch."""
        return next(self._batches())

    def ready(self) -> bool:
        """Whether there is another epoch; where the data ran out, a warning says so."""
        return True

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch."""
        return self._batches() if self._steps is None else self._going_on(self._steps)

    def on_epoch_begin(self) -> None:
        """To be called before each epoch."""

    def on_epoch_end(self) -> None:
        """To be called after each epoch."""

    def _length(self) -> int | None:
        """How many batches there are in all."""
        return None

    def _batches(self) -> Iterator[Batch]:
        """All batches, once."""
        raise NotImplementedError

    def _going_on(self, steps: int) -> Iterator[Batch]:
        """That many batches from where the last epoch ended; after the last of all from the beginning."""
        for step in range(steps):
            batch = next(self._running, None)
            if batch is None and step == 0:
                self._running = self._batches()
                batch = next(self._running, None)
            if batch is None:
                self._warn_of_end(f"This epoch has {step} batches of {steps}.")
                return
            yield batch

    def _warn_of_end(self, what: str) -> None:
        self._warned = True
        warnings.warn(
            "Your input ran out of data; interrupting training. Make sure that your dataset or generator "
            "has at "
            f"least `steps_per_epoch * epochs` batches. {what}",
            stacklevel=3,
        )


class ArraySource(Source):
    """Of arrays: views of them where the order stays, one copy of the rows of a batch where it does not."""

    batch_size: int

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool | str = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        super().__init__(steps)
        x, y, sample_weight = _arrays(x, "x"), _arrays(y, "y"), _arrays(sample_weight, "sample_weight")
        self._count = _examples(x, y, sample_weight)
        sample_weight = _weights(y, sample_weight, class_weight)
        if batch_size:
            self.batch_size = _positive("batch_size", batch_size)
        else:
            self.batch_size = math.ceil(self._count / steps) if steps else 32
        if isinstance(shuffle, str) and shuffle != "batch":
            raise ValueError(f"`shuffle` must be True, False or 'batch'. Received: shuffle={shuffle!r:.80}")
        self._shuffle = shuffle
        take = _taking if shuffle else operator.attrgetter("__getitem__")
        self._takers = tuple(_taker(part, take) for part in (x, y, sample_weight))

    def _length(self) -> int:
        return math.ceil(self._count / self.batch_size)

    def _batches(self) -> Iterator[Batch]:
        x, y, sample_weight = self._takers
        starts, size = range(0, self._count, self.batch_size), self.batch_size
        if self._shuffle:
            order = self._order()
            parts: Iterator[Any] = (order[start : start + size] for start in starts)
        else:
            parts = (slice(start, start + size) for start in starts)
        for rows in parts:
            yield x(rows), y(rows), sample_weight(rows)

    def peek(self) -> Batch:
        x, y, sample_weight = self._takers
        rows = np.arange(min(self.batch_size, self._count)) if self._shuffle else slice(self.batch_size)
        return x(rows), y(rows), sample_weight(rows)

    def _order(self) -> np.ndarray[Any, Any]:
        numbers_of_epoch = generator(None)
        if self._shuffle != "batch":
            return numbers_of_epoch.permutation(self._count)
        order = np.arange(self._count)
        whole = self._count - self._count % self.batch_size
        order[:whole] = numbers_of_epoch.permuted(order[:whole].reshape(-1, self.batch_size), axis=1).ravel()
        numbers_of_epoch.shuffle(order[whole:])
        return order


def _taking(array: np.ndarray[Any, Any]) -> Callable[[Any], Any]:
    return functools.partial(array.take, axis=0)


def _taker(data: Any, take: Callable[[Any], Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """A function of rows that gives ``data`` with these rows of each array."""
    if data is None:
        return lambda rows: None
    if isinstance(data, np.ndarray):
        return take(data)
    if isinstance(data, dict):
        named = [(key, _taker(part, take)) for key, part in data.items()]
        return lambda rows: {key: part(rows) for key, part in named}
    parts = [_taker(part, take) for part in data]
    if isinstance(data, list):
        return lambda rows: [part(rows) for part in parts]
    return lambda rows: tuple([part(rows) for part in parts])


def _as_batch(data: Any, class_weight: Any, where: str) -> Batch:
    """What a generator or dataset gave, as a triple of arrays."""
    if isinstance(data, Mapping) or (not isinstance(data, tuple) and _holds_numbers(data)):
        x, y, sample_weight = data, None, None
    elif isinstance(data, (tuple, list)) and 1 <= len(data) <= 3:
        x, y, sample_weight = unpack_x_y_sample_weight(data)
    else:
        raise ValueError(
            f"{where} must be a tuple, either (inputs,) or (inputs, targets) or (inputs, targets, "
            "sample_weights). "
            f"Received: {data!r:.100} of type {type(data)}"
        )
    x, y, sample_weight = _arrays(x, "x"), _arrays(y, "y"), _arrays(sample_weight, "sample_weight")
    _examples(x, y, sample_weight, f" This is {where}.")
    return x, y, _weights(y, sample_weight, class_weight)


class IterableSource(Source):
    """Of an iterable that can be gone through again, such as a DataLoader of torch."""

    def __init__(self, batches: Iterable[Any], steps: int | None, class_weight: Any) -> None:
        super().__init__(steps)
        self._iterable, self._class_weight = batches, class_weight

    def _length(self) -> int | None:
        try:
            return len(self._iterable)  # type: ignore[arg-type]
        except TypeError:  # it has none, or none that is known
            return None

    def _batches(self) -> Iterator[Batch]:
        for number, batch in enumerate(self._iterable):
            yield _as_batch(
                batch, self._class_weight, f"batch {number} of the {type(self._iterable).__name__}"
            )


class IteratorSource(IterableSource):
    """Of a generator or another iterator, which is gone through once."""

    def __init__(self, batches: Iterator[Any], steps: int | None, class_weight: Any) -> None:
        super().__init__(batches, steps, class_weight)
        self._rest = super()._batches()
        self._ahead: list[Batch] = []  # the next one, where it has been looked at
        if not self._look_ahead():
            raise ValueError("the generator must yield at least one batch. Received an empty generator.")

    def _length(self) -> int | None:
        return None

    def _batches(self) -> Iterator[Batch]:
        while self._look_ahead():
            yield self._ahead.pop()

    def _look_ahead(self) -> bool:
        if not self._ahead:
            self._ahead.extend(itertools.islice(self._rest, 1))
        return bool(self._ahead)

    def peek(self) -> Batch:
        return self._ahead[0]

    def ready(self) -> bool:
        if not self._look_ahead() and not self._warned:
            self._warn_of_end("It has no batch for this epoch.")
        return bool(self._ahead)


class DatasetSource(Source):
    """Of a `PyDataset`, or whatever has a length and batches by number."""

    def __init__(self, dataset: Any, steps: int | None, shuffle: bool, class_weight: Any) -> None:
        super().__init__(steps)
        self._dataset, self._shuffle, self._class_weight = dataset, shuffle, class_weight
        length = self._length()
        if length is None and steps is None:
            raise ValueError(
                f"{type(dataset).__name__} has no end (its `num_batches` is None): say how many batches an "
                "epoch "
                "has, with `steps_per_epoch` in `fit` and `steps` elsewhere"
            )
        if length is not None and length <= 0:
            raise ValueError(f"{type(dataset).__name__} has no batches: its length is {length}")

    def _length(self) -> int | None:
        if isinstance(self._dataset, PyDataset) or hasattr(self._dataset, "num_batches"):
            return self._dataset.num_batches
        return len(self._dataset)

    def peek(self) -> Batch:
        return self._batch(0, self._dataset[0])

    def on_epoch_begin(self) -> None:
        getattr(self._dataset, "on_epoch_begin", _nothing)()

    def on_epoch_end(self) -> None:
        getattr(self._dataset, "on_epoch_end", _nothing)()

    def _batch(self, index: int, data: Any) -> Batch:
        return _as_batch(data, self._class_weight, f"{type(self._dataset).__name__}[{index}]")

    def _batches(self) -> Iterator[Batch]:
        length = self._length()
        indices: Iterable[int] = itertools.count() if length is None else range(length)
        if self._shuffle and length is not None:
            indices = generator(None).permutation(length).tolist()
        workers = getattr(self._dataset, "workers", 1)
        if workers > 1 or (workers > 0 and getattr(self._dataset, "use_multiprocessing", False)):
            return self._prepared(indices, workers)
        return (self._batch(index, self._dataset[index]) for index in indices)

    def _prepared(self, indices: Iterable[int], workers: int) -> Iterator[Batch]:
        """The batches of these numbers, in this order; others make some of them in advance."""
        from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

        at_most = max(1, getattr(self._dataset, "max_queue_size", 10))
        if getattr(self._dataset, "use_multiprocessing", False):
            pool: Executor = ProcessPoolExecutor(workers, initializer=_receive, initargs=(self._dataset,))
            get: Callable[[int], Any] = _received_batch
        else:
            pool, get = ThreadPoolExecutor(workers), self._dataset.__getitem__
        waiting: deque[tuple[int, Any]] = deque()
        numbers_left = iter(indices)
        try:
            while True:
                for index in itertools.islice(numbers_left, at_most - len(waiting)):
                    waiting.append((index, pool.submit(get, index)))
                if not waiting:
                    return
                index, batch = waiting.popleft()
                yield self._batch(index, batch.result())
        finally:
            pool.shutdown(cancel_futures=True)


def _nothing() -> None:
    pass


_received: list[Any] = []  # in a worker process: the dataset


def _receive(dataset: Any) -> None:
    _received[:] = [dataset]


def _received_batch(index: int) -> Any:
    return _received[0][index]

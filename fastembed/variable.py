"""A variable: numbers in memory of our own that a layer looks up, changes and learns."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from fastembed._memory import Shown, empty
from fastembed._memory import copy as copied
from fastembed.dtypes import as_dtype, file_dtype, standardize_dtype, stored_dtype, widen_bfloat16
from fastembed.locks import Lock
from fastembed.names import automatic_name, checked_name
from fastembed.ops import IndexedSlices
from fastembed.tables import DenseTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from fastembed._rows import Owed


class Creditor(Protocol):
    """Who moves a variable's rows in place, and may owe them moves that are still to be made."""

    def settle(self, variable: Variable) -> None:
        """Give the variable a value that is owed nothing, if it has not one already."""

    def owed_to(self, variable: Variable) -> Owed | None:
        """What the lookups of a table of the variable's memory need to finish its rows."""


class Follower(Protocol):
    """What is made of the values of variables and follows them."""

    def refresh(self) -> None:
        """Called after values have changed. May raise; the variables then have the old ones again."""


class Readable:
    """An array that is elsewhere, such as in a file, and can be read into memory that is there."""

    shape: tuple[int, ...]
    dtype: str  #: Keras's name

    def read_into(self, memory: NDArray[Any]) -> None:
        """Fill memory of this shape and dtype; bfloat16 as words."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        raise NotImplementedError


def readable(store: Mapping[str, Any], key: str) -> Any:
    """What a store of `load_own_variables` has: an array, or out of a file what can be read into memory."""
    read = getattr(store, "readable", None)
    return store[key] if read is None else read(key)


class Variable(NDArrayOperatorsMixin):
    """An array with a name, whose memory is its own.

    The memory starts on a cache line and asks for huge pages where it is large, so a table that is
    looked up from a variable is read faster than the ndarray it was made from.

    Parameters
    ----------
    initializer : array_like, callable or str
        The first value, copied; or what makes it: ``initializer(shape, dtype=dtype)``, or its name.
    shape : tuple of int, optional
        Needed with a callable, otherwise the value's.
    dtype : str, optional
        Default: an array's own; of Python's numbers int32, bool or, for floats, `fastembed.backend.floatx`.
    trainable : bool, default True
    name : str, optional
        Without "/".
    path : str, optional
        Default: the name. A layer sets ``"<layer>/<name>"``.
    regularizer, constraint : callable, optional
        Kept for the layer and the optimizer, which apply them.

    Attributes
    ----------
    gradient : None, ndarray or IndexedSlices
        The sum of what `add_gradient` was given since the last `clear_gradient`.

    Notes
    -----
    Arithmetic and NumPy functions take a variable for its value and give arrays. `numpy` copies;
    ``np.asarray(variable)`` and `value` are read-only views, which go on showing the old value after
    `assign`, because that swaps the memory: a lookup in another thread sees the old value or the new
    one, never a mixture. Any number of threads may read, assign and add gradients at the same time.

    An optimizer moves the value in place, unless a view of it is still held: that goes on showing the old
    value, too. Rows that had no gradient may then be owed moves (`fastembed.optimizers`). Lookups finish such
    rows as they return them; whatever else reads the value gets it whole. A lookup that runs in another
    thread during a step may see rows of which only a part is moved.

    Examples
    --------
    >>> variable = Variable([[1.0, 2.0], [3.0, 4.0]], name="embeddings")
    >>> variable
    <Variable path=embeddings, shape=(2, 2), dtype=float32>
    >>> variable.assign_add([[10.0, 10.0], [0.0, 0.0]])
    array([[11., 12.],
           [ 3.,  4.]], dtype=float32)
    """

    def __init__(
        self,
        initializer: ArrayLike | Callable[..., ArrayLike],
        shape: tuple[int, ...] | None = None,
        dtype: DTypeLike | None = None,
        trainable: bool = True,
        name: str | None = None,
        path: str | None = None,
        regularizer: Callable[..., Any] | None = None,
        constraint: Callable[..., Any] | None = None,
    ) -> None:
        checked_name(name)
        if isinstance(initializer, str):
            from fastembed import initializers  # here, because the state of their seeds is a variable

            initializer = initializers.get(initializer)
        if callable(initializer):
            if shape is None:
                raise ValueError("a variable that is made by an initializer needs a shape")
            self._dtype = standardize_dtype(dtype)
            values = as_dtype(initializer(tuple(shape), dtype=self._dtype), self._dtype)
        else:
            own = getattr(initializer, "dtype", None) or _dtype_of_python(initializer)
            self._dtype = standardize_dtype(own if dtype is None else dtype)
            values = as_dtype(initializer, self._dtype)
        if shape is not None and values.shape != tuple(shape):
            raise ValueError(
                f"a value of shape {values.shape} was given for a variable of shape {tuple(shape)}"
            )
        self._memory = _owned(values, self._dtype)
        self._creditor: Creditor | None = None  # until the memory is swapped by somebody else
        self._shown: Shown | None = None  # what gives views of this memory
        self._tables: dict[bool, DenseTable] = {}  # by whether their rows are of ml_dtypes
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()
        self._lock = Lock()  # for whatever changes the value or the gradient, or depends on both of two reads
        self.trainable = trainable
        self.name = name or automatic_name("variable")
        self.path = path or self.name
        self.regularizer = regularizer
        self.constraint = constraint
        self.gradient: NDArray[Any] | IndexedSlices | None = None

    @classmethod
    def from_bfloat16_words(cls, words: NDArray[np.uint16], **kwargs: Any) -> Variable:
        """A bfloat16 variable out of its 16-bit words, as files hold them.

        >>> Variable.from_bfloat16_words(np.array([0x3F80], np.uint16)).numpy()
        array([1.], dtype=float32)
        """
        if getattr(words, "dtype", None) != np.uint16:
            raise TypeError(f"bfloat16 words are uint16, got {getattr(words, 'dtype', type(words).__name__)}")
        variable = cls(np.zeros(0, np.float32), dtype="bfloat16", **kwargs)
        variable._memory = _owned(words, "bfloat16")
        return variable

    # --- What it holds ----------------------------------------------------------------------------

    @property
    def dtype(self) -> str:
        """Name of the dtype, as Keras spells it."""
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self._memory.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._memory.ndim

    @property
    def value(self) -> NDArray[Any]:
        """The value, read-only: a view of this variable's memory (of bfloat16 numbers a float32 copy)."""
        if self._creditor is None:
            view = self._view()
            if self._creditor is None:  # still: whoever begins to move the memory has seen the view
                return view
        with self._lock:
            self.settle()
            return self._view()

    def _view(self) -> NDArray[Any]:
        if self._dtype == "bfloat16":
            view = widen_bfloat16(self._memory)
            view.flags.writeable = False
            return view
        memory, shown = self._memory, self._shown
        if shown is None or shown.memory is not memory:
            shown = self._shown = Shown(memory)
        return shown.view()

    def _is_shown(self) -> bool:
        """Whether somebody holds a view of the memory."""
        return self._shown is not None and self._shown.living > 0

    def stored(self) -> NDArray[Any]:
        """The value as files hold it: read-only, and without a copy but of bfloat16 (see `file_dtype`)."""
        if self._dtype != "bfloat16":
            return self.value
        with self._lock:
            self.settle()
            return self._memory.copy().view(file_dtype(self._dtype))

    def numpy(self) -> NDArray[Any]:
        """A copy of the value (of bfloat16 numbers as float32, exactly)."""
        return np.array(self.value)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        value = self.value
        if dtype is not None and value.dtype != dtype:
            if copy is False:
                raise ValueError(f"a {self._dtype} variable cannot become {np.dtype(dtype)} without a copy")
            return value.astype(dtype)
        return np.array(value) if copy else value

    def rows(self, dtype: str = "float32") -> DenseTable:
        """The table of the variable's rows, which `assign` keeps up to date.

        Parameters
        ----------
        dtype : str, default "float32"
            Of a bfloat16 variable, ``"bfloat16"`` asks for rows of ml_dtypes' type instead of float32.
        """
        narrow = dtype == self._dtype == "bfloat16"
        with self._lock:
            if narrow not in self._tables:
                self._tables[narrow] = self.new_rows(dtype)
            return self._tables[narrow]

    def new_rows(self, dtype: str = "float32") -> DenseTable:
        """The table of the rows that the variable has now; `assign` leaves it as it is.

        A step of an optimizer does not: it moves this memory. What follows a variable makes a new one then.
        """
        with self._lock:
            table = DenseTable(self._memory, self._dtype, dtype, writable=True)
            owed = None if self._creditor is None else self._creditor.owed_to(self)
            if owed is not None:
                table.replace(self._memory, owed)
            return table

    @property
    def table(self) -> DenseTable:
        """The table of the variable's rows."""
        return self.rows()

    # --- How it changes ---------------------------------------------------------------------------

    def assign(self, value: ArrayLike) -> NDArray[Any]:
        """Set the value; return it as a read-only view.

        Parameters
        ----------
        value : array_like of the variable's shape
            Copied, and converted to the variable's dtype.

        Raises
        ------
        TypeError, ValueError
            If shape or numbers do not fit; the variable is then unchanged.
        """
        swap([(self, self.memory_for(value))])
        return self.value

    def memory_for(self, value: ArrayLike | Readable) -> NDArray[Any]:
        """``value`` as memory that `swap` can take: everything that may fail happens here."""
        if isinstance(value, Readable):
            self._check_shape(value.shape)
            if value.dtype == self._dtype:
                memory = empty(self.shape, stored_dtype(self._dtype))
                value.read_into(memory)
                memory.flags.writeable = False
                return memory
        values = as_dtype(value.value if isinstance(value, Variable) else value, self._dtype)
        self._check_shape(values.shape)
        return _owned(values, self._dtype)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if shape != self.shape:
            raise ValueError(
                "The shape of the target variable and the shape of the target value in "
                f"`variable.assign(value)` must match. variable.shape={self.shape}, "
                f"Received: value.shape={shape}. Target variable: {self}"
            )

    def _take(self, memory: NDArray[Any], creditor: Creditor | None = None, owed: Owed | None = None) -> None:
        """Have this memory, and whoever moves it."""
        for table in self._tables.values():
            table.replace(memory, owed)
        if memory is not self._memory:
            self._memory, self._shown = memory, None
        self._creditor = creditor

    def _refresh_followers(self) -> None:
        if self._followers:
            for follower in list(self._followers):
                follower.refresh()

    def settle(self) -> None:
        """Make the moves that an optimizer owes to rows: lookups then find them made, until the next step."""
        creditor = self._creditor
        if creditor is not None:
            creditor.settle(self)

    def follow_with(self, follower: Follower) -> None:
        """Have ``follower.refresh()`` called after each change, as long as somebody holds the follower."""
        self._followers.add(follower)

    def assign_add(self, value: ArrayLike) -> NDArray[Any]:
        """Add ``value``, broadcast to the variable's shape; return the new value as a read-only view.

        In the variable's dtype (bfloat16 in float32), as Keras does.
        """
        with self._lock:
            return self.assign(self.value + self._as_term(value))

    def assign_sub(self, value: ArrayLike) -> NDArray[Any]:
        """Subtract ``value``, broadcast to the variable's shape; see `assign_add`."""
        with self._lock:
            return self.assign(self.value - self._as_term(value))

    def _as_term(self, value: ArrayLike) -> NDArray[Any]:
        return as_dtype(value, "float32" if self._dtype == "bfloat16" else self._dtype)

    def add_gradient(self, gradient: ArrayLike | IndexedSlices) -> None:
        """Add to `gradient`. Several threads may.

        Parameters
        ----------
        gradient : IndexedSlices or array_like of the variable's shape
            Rows that slices name twice are added up first; slices whose rows ascend are kept as they
            are and must not be changed afterwards. The sum of a sparse and a dense gradient is dense.

        Raises
        ------
        ValueError
            If its shape is not the variable's.

        Examples
        --------
        >>> variable = Variable([1.0, 2.0])
        >>> variable.add_gradient([0.5, 0.0])
        >>> variable.add_gradient([1.0, 1.0])
        >>> variable.gradient
        array([1.5, 1. ])
        """
        if isinstance(gradient, IndexedSlices):
            gradient, shape = gradient.summed(), gradient.dense_shape
        else:
            gradient = np.array(gradient)  # what is kept is nobody else's
            shape = gradient.shape
        if shape != self.shape:
            raise ValueError(f"a gradient of shape {shape} was given for the variable {self}")
        with self._lock:
            if self.gradient is None:
                self.gradient = gradient
            elif isinstance(self.gradient, IndexedSlices) and isinstance(gradient, IndexedSlices):
                self.gradient = self.gradient + gradient
            else:
                self.gradient = _dense(self.gradient) + _dense(gradient)

    def clear_gradient(self) -> None:
        """Forget the gradient."""
        self.gradient = None

    # --- As an array ------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(out, Variable) for out in kwargs.get("out", ())):
            raise TypeError("a variable is changed by assign, assign_add and assign_sub, not in place")
        values = (x.value if isinstance(x, Variable) else x for x in inputs)
        return getattr(ufunc, method)(*values, **kwargs)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return self.value[key]

    def __len__(self) -> int:
        return len(self._memory)

    def __bool__(self) -> bool:
        raise TypeError("a variable has no truth value; ask for that of variable.value")

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    # NDArrayOperatorsMixin compares element by element, as arrays do; a variable is itself in sets and dicts.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        value = "" if self.shape else f", value={self.value}"
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self._dtype}{value}>"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            self.settle()
            return {**self.__dict__, "_tables": {}, "_followers": None, "_creditor": None, "_shown": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(
            state, _memory=_owned(state["_memory"], state["_dtype"]), _followers=weakref.WeakSet()
        )


@contextlib.contextmanager
def unchanging(variables: Iterable[Variable]) -> Iterator[None]:
    """No other thread changes any of these variables inside."""
    locks = {id(variable._lock): variable._lock for variable in variables}
    with contextlib.ExitStack() as stack:
        for key in sorted(locks):  # in one order everywhere, so that nobody waits for another in a circle
            stack.enter_context(locks[key])
        yield


Changes = Sequence[tuple[Variable, "NDArray[Any]"]]

_put_off: ContextVar[list[tuple[Variable, NDArray[Any]]] | None] = ContextVar("changes", default=None)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """What variables are set to inside, they get at the end: all of them or, after an error, none.

    By this thread; inside, they still have the old values.

    >>> a, b = Variable([1.0]), Variable([2.0])
    >>> with at_once():
    ...     _ = a.assign([3.0])
    ...     _ = b.assign([4.0])
    ...     a.numpy()
    array([1.], dtype=float32)
    >>> a.numpy(), b.numpy()
    (array([3.], dtype=float32), array([4.], dtype=float32))
    """
    changes: list[tuple[Variable, NDArray[Any]]] = []
    token = _put_off.set(changes)
    try:
        yield
    finally:
        _put_off.reset(token)
    last = {id(variable): (variable, memory) for variable, memory in changes}
    swap(list(last.values()))


def swap(changes: Changes) -> None:
    """Give each variable the memory that its `Variable.memory_for` made: all of them or, on an error, none.

    What follows several of the variables is refreshed once, after the last: it never sees some of them old
    and some new. Inside `at_once` all this is put off to its end.
    """
    put_off = _put_off.get()
    if put_off is not None:
        put_off += changes
        return
    with unchanging(variable for variable, _ in changes):
        old = [(v, v._memory, v._creditor, v._shown) for v, _ in changes]
        followers = {follower for variable, _ in changes for follower in variable._followers}
        try:
            for variable, memory in changes:
                variable._take(memory)
            for follower in followers:
                follower.refresh()
        except BaseException:
            for variable, memory, creditor, shown in old:
                variable._take(memory, creditor)
                variable._shown = shown
                if creditor is not None:
                    variable._take(memory, creditor, creditor.owed_to(variable))
            for follower in followers:
                follower.refresh()
            raise


def _owned(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """A copy in memory of our own, which arrays cannot write to: only a variable's tables can."""
    memory = copied(values, stored_dtype(dtype))
    memory.flags.writeable = False
    return memory


def _dtype_of_python(value: Any) -> str | None:
    """The dtype that Keras gives to numbers of Python's own; None for floats, which are of floatx."""
    return {"b": "bool", "i": "int32"}.get(np.asarray(value).dtype.kind)


def _dense(gradient: NDArray[Any] | IndexedSlices) -> NDArray[Any]:
    return gradient.to_dense() if isinstance(gradient, IndexedSlices) else gradient

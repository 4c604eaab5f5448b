"""The life of a metric: it is made, sees batches, tells its result, is set back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import dtype_policies
from fastembed._registry import Configurable
from fastembed.dtypes import floatx, is_float
from fastembed.names import automatic_name, snake_case
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Total(Variable):
    """A variable that something is added to at every batch, which costs a tenth of what `assign_add` does.

    ``numbers`` is a NumPy scalar, or an array that is replaced and never written to.

    >>> total = Total(np.zeros(2, np.float32), name="counts")
    >>> total.add(np.array([1, 2]))
    >>> total.assign_add([1.0, 1.0]), total.numbers
    (array([2., 3.], dtype=float32), array([2., 3.], dtype=float32))
    """

    numbers: Any

    @property
    def _memory(self) -> NDArray[Any]:
        memory = np.array(self.numbers)
        memory.flags.writeable = False
        return memory

    @_memory.setter
    def _memory(self, memory: NDArray[Any]) -> None:
        self.numbers = np.array(memory)[()]

    def add(self, numbers: Any) -> None:
        """Add to what is there; sums of wider numbers are rounded once."""
        self.numbers = (self.numbers + numbers).astype(self.numbers.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        del self.__dict__["_memory"]  # which `numbers` stands for


class Metric(Configurable):
    """Base class of the metrics, and of your own.

    A subclass makes its state with `add_variable`, and defines `update_state` and `result`.

    Parameters
    ----------
    dtype : str or DTypePolicy, optional
        Of the computations; default `fastembed.backend.floatx`, and of a policy its compute dtype.
    name : str, optional
        Default: of the class, with a number.

    Notes
    -----
    The state and results of a metric of float16 or bfloat16 are float32: a float16 that counts by ones
    stands still at 2048.

    Examples
    --------
    >>> class LargestError(Metric):
    ...     def __init__(self, name="largest_error", **kwargs):
    ...         super().__init__(name=name, **kwargs)
    ...         self.largest = self.add_variable((), "zeros", name="largest")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.largest.assign(np.maximum(self.largest, np.max(np.abs(y_true - y_pred))))
    ...     def result(self):
    ...         return self.largest.value
    >>> metric = LargestError()
    >>> metric.update_state(np.float32([1, 2]), np.float32([1.5, 2]))
    >>> float(metric(np.float32([3]), np.float32([5])))
    2.0
    >>> metric.reset_state()
    >>> float(metric.result())
    0.0
    """

    _direction: str  # "up" or "down", where it is known which is better

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or automatic_name(snake_case(type(self).__name__))
        self._dtype = dtype_policies.get(floatx() if dtype is None else dtype).compute_dtype
        narrow = is_float(self._dtype) and self._dtype != "float64"
        self._state_dtype = "float32" if narrow else self._dtype
        self._number = np.dtype(self._state_dtype).type
        self._variables: list[Variable] = []

    def __init_subclass__(cls) -> None:
        # tf.keras called it reset_states before 2.5; a program may define, and call, either.
        super().__init_subclass__()
        for one, other in (("reset_state", "reset_states"), ("reset_states", "reset_state")):
            if one in vars(cls) and other not in vars(cls):
                setattr(cls, other, vars(cls)[one])

    @property
    def dtype(self) -> str:
        """Name of the dtype of the computations."""
        return self._dtype

    # --- State ------------------------------------------------------------------------------------

    def add_variable(
        self,
        shape: Any = (),
        initializer: Any = None,
        dtype: Any = None,
        aggregation: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Make a variable of the metric's state.

        Parameters
        ----------
        shape : tuple of int, default ()
        initializer : optional
            Default: zeros.
        dtype : str, optional
            Default: `fastembed.backend.floatx`, but at least float32.
        aggregation
            Accepted for programs that pass it: there is one process here.
        name : str, optional

        Raises
        ------
        RuntimeError
            If the constructor of this class was not called first.
        """
        return self._made(Variable, shape, initializer, dtype, name)

    def add_weight(self, *args: Any, **kwargs: Any) -> Variable:
        """The same, by the position and names of every Keras: ``(shape, initializer, dtype, name)`` in
        Keras 3, ``(name, shape, aggregation, synchronization, initializer, dtype)`` in tf.keras.

        Examples
        --------
        >>> metric = Metric(name="mine")
        >>> metric.add_weight("total", (2,)).path, metric.add_weight((), "ones", name="count").path
        ('mine/total', 'mine/count')
        """
        of_tf_keras = bool(args) and isinstance(args[0], str)
        order = ("name", "shape", "aggregation", "synchronization", "initializer", "dtype")
        settings = dict(zip(order if of_tf_keras else ("shape", "initializer", "dtype", "name"), args))
        settings.update(kwargs)
        settings.pop("synchronization", None)
        return self.add_variable(**settings)

    def _total(self, name: str, shape: tuple[int, ...] = (), dtype: str | None = None) -> Total:
        """A variable of zeros that is cheap to add to."""
        return self._made(Total, shape, None, dtype, name)

    def _made(self, kind: type[Any], shape: Any, initializer: Any, dtype: Any, name: str | None) -> Any:
        self._check_made()
        if dtype is None:
            dtype = floatx() if floatx() == "float64" else "float32"
        variable = kind(
            np.zeros(shape) if initializer is None else initializer,
            shape=tuple(shape),
            dtype=dtype,
            trainable=False,
            name=name,
            path=None if name is None else f"{self.name.replace('/', '>')}/{name}",
        )
        self._variables.append(variable)
        return variable

    @property
    def variables(self) -> list[Variable]:
        """The state: what `add_variable` made and other variables among the attributes, in this order, then
        that of metrics among the attributes."""
        self._check_made()
        held = [item for key, value in vars(self).items() if key != "_variables" for item in _within(value)]
        found = [*self._variables, *(item for item in held if isinstance(item, Variable))]
        for metric in held:
            if isinstance(metric, Metric):
                found += metric.variables
        return list(dict.fromkeys(found))

    def _check_made(self) -> None:
        if "_variables" not in vars(self):
            raise RuntimeError(
                f"You forgot to call `super().__init__()` in `{type(self).__name__}.__init__()`: call it "
                "first"
            )

    # --- Batches ----------------------------------------------------------------------------------

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take a batch into account."""
        raise NotImplementedError(f"{type(self).__name__} does not define update_state()")

    def result(self) -> Any:
        """What follows from all batches since the last `reset_state`: a number, an array, a dict of them."""
        raise NotImplementedError(f"{type(self).__name__} does not define result()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`update_state`, then `result`."""
        self._check_made()
        self.update_state(*args, **kwargs)
        return self.result()

    def reset_state(self) -> None:
        """Forget all batches: every variable becomes zero."""
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))

    reset_states = reset_state

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as values that JSON can hold."""
        return {"name": self.name, "dtype": self.dtype}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _within(value: Any) -> Iterator[Any]:
    """What an attribute is, and what lists, tuples and dicts in it hold."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _within(item)
    elif isinstance(value, Mapping):
        yield from _within(list(value.values()))
    else:
        yield value

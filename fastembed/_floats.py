"""Arithmetic on values of any dtype happens in float32 or wider; results go back to the values' own dtype."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import numpy as np

from fastembed.dtypes import array_dtype, floatx

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

F = TypeVar("F", bound=Callable[..., Any])
Gradient = Callable[..., Any]  # of inputs, outputs and upstream

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)  # of which there is one each, in native order


def widened(x: ArrayLike) -> tuple[NDArray[Any], np.dtype[Any]]:
    """``x`` as it is computed with, and the dtype that the result should have.

    Half-width floats are widened, because a sum of squares leaves float16's range at 65504. Integers have
    no useful derivative or norm of their own dtype: they count as float32, which is Keras's default.

    >>> wide, dtype = widened(np.ones(2, np.float16))
    >>> wide.dtype, dtype
    (dtype('float32'), dtype('float16'))
    """
    if type(x) is np.ndarray and ((dtype := x.dtype) is _FLOAT32 or dtype is _FLOAT64):
        return x, dtype
    x = np.asarray(x)
    dtype = np.dtype(np.float32) if x.dtype.kind in "biu" else x.dtype
    return x.astype(np.promote_types(dtype, np.float32), copy=False), dtype


def for_loops(x: ArrayLike) -> tuple[NDArray[Any], np.dtype[Any]]:
    """`widened`, in memory as compiled loops read it: C-contiguous and aligned.

    >>> wide, dtype = for_loops(np.ones((2, 3), np.float16).T)
    >>> wide.flags.c_contiguous, wide.dtype, dtype
    (True, dtype('float32'), dtype('float16'))
    """
    wide, dtype = widened(x)
    if type(wide) is np.ndarray and wide.flags.carray and wide.dtype.isnative:
        return wide, dtype
    return np.require(wide, requirements=["C", "A", "E"]), dtype


def function_of_floats(gradient: Gradient) -> Callable[[F], F]:
    """A decorator for a function of one array whose arithmetic is done in wide floats, as IEEE says and
    without warnings.

    The function's attribute ``gradient`` becomes ``gradient(inputs, outputs, upstream, ...)``, computed in
    the dtype of ``upstream``, or float32 where that is narrower. Both get the other arguments as they are.

    >>> @function_of_floats(lambda x, y, upstream: 2 * x * upstream)
    ... def square(x):
    ...     return x * x
    >>> square(np.float16([300.0])), square.gradient([3.0], [9.0], [1.0])
    (array([inf], dtype=float16), array([6.]))
    """

    slope_of = _quietly(gradient)

    def decorate(function: F) -> F:
        values_of = _quietly(function)

        @functools.wraps(function)
        def computed(x: Any, *args: Any, **kwargs: Any) -> NDArray[Any]:
            wide, dtype = widened(x if type(x) is np.ndarray else default_floats(x))
            return values_of(dtype, wide, *args, **kwargs)

        def differentiated(
            inputs: ArrayLike, outputs: ArrayLike, upstream: ArrayLike, *args: Any, **kwargs: Any
        ) -> NDArray[Any]:
            slope = widened(upstream)[0]
            dtype = slope.dtype
            x, y = np.asarray(inputs).astype(dtype, copy=False), np.asarray(outputs).astype(dtype, copy=False)
            return slope_of(dtype, x, y, slope, *args, **kwargs)

        computed.gradient = differentiated  # type: ignore[attr-defined]
        return computed  # type: ignore[return-value]

    return decorate


def _quietly(function: Callable[..., Any]) -> Callable[..., NDArray[Any]]:
    """What a function returns, in the dtype that comes first, with NumPy's floating-point errors ignored."""

    def quiet(dtype: np.dtype[Any], *args: Any, **kwargs: Any) -> NDArray[Any]:
        return np.asarray(function(*args, **kwargs)).astype(dtype, copy=False)

    if not np.__version__.startswith("1."):
        return np.errstate(all="ignore")(quiet)  # at half the cost of a `with` in each call

    def entered(*args: Any, **kwargs: Any) -> NDArray[Any]:  # one object cannot be shared by threads there
        with np.errstate(all="ignore"):
            return quiet(*args, **kwargs)

    return entered


def default_floats(x: Any) -> Any:
    """Python's floats, alone or in lists, in the default dtype; whatever has a dtype as it is.

    >>> default_floats([0.5])
    array([0.5], dtype=float32)
    """
    if hasattr(x, "dtype"):
        return x
    array = np.asarray(x)
    return array.astype(array_dtype(floatx()), copy=False) if array.dtype == np.float64 else array

"""Floats as small integers: Keras's formulas, its packing of two int4 numbers into a byte, and the objects
that say how a layer is to be quantised.

What is called *scale* here and in Keras is the factor that numbers are multiplied with when they are
quantised, so codes are divided by it; only with blocks is it the step between two codes, and multiplied with.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from fastembed._registry import Configurable, Registry, serialize_keras_object, subclasses_in
from fastembed.dtypes import standardize_dtype

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

Axis = Union[int, Sequence[int], None]

_INT4 = (-8, 7)
_AT_ONCE = 1 << 18  # numbers of a table: what is computed on the way to their codes stays in the caches


def _floats(inputs: ArrayLike) -> tuple[NDArray[Any], np.dtype[Any]]:
    """Numbers to be quantised, in the dtype in which that is computed; and the dtype of their scale."""
    array = np.asarray(inputs)
    if array.dtype.kind in "biu" or not hasattr(inputs, "dtype"):
        array = array.astype(np.float32)
    dtype = array.dtype
    if dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind != "f":
        raise TypeError(f"expected numbers to quantise, got dtype {dtype}")
    if not (finite := np.isfinite(array)).all():
        first = np.unravel_index(np.argmin(finite), array.shape)
        where = f"inputs[{', '.join(map(str, first))}] = {array[first]}"
        raise ValueError(f"cannot quantise {where}: only finite numbers have an integer near them")
    return array, dtype


def abs_max_quantize(
    inputs: ArrayLike,
    axis: Axis,
    value_range: tuple[int, int] = (-127, 127),
    dtype: str = "int8",
    epsilon: float = 1e-7,
    to_numpy: bool = False,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Integers for floats, scaled so that the largest magnitude along ``axis`` takes the largest of them.

    Parameters
    ----------
    inputs : array_like of finite numbers
    axis : int, sequence of int or None
        Along which numbers share a scale.
    value_range : (int, int), default (-127, 127)
        The smallest and largest integer.
    dtype : str, default "int8"
        Of the integers.
    epsilon : float, default 1e-7
        Added to the largest magnitude.
    to_numpy : bool
        Changes nothing here: in Keras it says where to compute.

    Returns
    -------
    codes : ndarray of ``dtype``, of the shape of ``inputs``
    scale : ndarray of the float dtype of ``inputs``, with 1 for each axis in ``axis``
        The numbers are about ``codes / scale``.

    Raises
    ------
    ValueError
        For NaN and infinite inputs.

    Notes
    -----
    As `keras.quantizers.abs_max_quantize`: ``scale = value_range[1] / (max(|x|) + epsilon)`` and ``codes =
    clip(round(x * scale), *value_range)``, in the dtype of ``inputs``, halves rounded to even.

    Examples
    --------
    >>> codes, scale = abs_max_quantize(np.float32([[0.5, -1.0]]), axis=-1)
    >>> codes, scale
    (array([[  63, -127]], dtype=int8), array([[126.999985]], dtype=float32))
    """
    floats, scale_dtype = _floats(inputs)
    axis = axis if axis is None or isinstance(axis, int) else tuple(axis)
    largest = np.max(np.abs(floats), axis=axis, keepdims=True, initial=0)
    with np.errstate(over="ignore"):  # in float16, of rows that are nearly zero
        scale = np.divide(value_range[1], np.add(largest, epsilon))
    scale = np.minimum(scale, np.finfo(floats.dtype).max)
    codes = np.clip(np.round(np.multiply(floats, scale)), value_range[0], value_range[1])
    return codes.astype(dtype), scale.astype(scale_dtype, copy=False)


def abs_max_quantize_grouped_with_zero_point(
    inputs: ArrayLike,
    block_size: int,
    value_range: tuple[int, int] = _INT4,
    dtype: str = "int8",
    epsilon: float = 1e-7,
    to_numpy: bool = False,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int8]]:
    """Integers for a matrix of floats, each block of ``block_size`` rows of a column with its own range.

    Parameters
    ----------
    inputs : array_like of finite numbers, shape (rows, columns)
    block_size : int
        The last block may be shorter.
    value_range : (int, int), default (-8, 7)
    dtype : str, default "int8"
    epsilon : float, default 1e-7
        Added to the width of each range.
    to_numpy : bool
        Changes nothing here: in Keras it says where to compute.

    Returns
    -------
    codes : ndarray of ``dtype``, shape (rows, columns)
    scale : ndarray of the float dtype of ``inputs``, shape (blocks, columns)
        The step between two codes.
    zero : ndarray of int8, shape (blocks, columns)
        The code of 0. The numbers are about ``(codes - zero) * scale``.

    Raises
    ------
    ValueError
        For NaN and infinite inputs, and for a block size that is not positive.

    Notes
    -----
    `keras.quantizers.abs_max_quantize_grouped_with_zero_point`, with ``scale = (max - min + epsilon) / 15``,
    ``zero = clip(round(-min / scale) - 8)`` and ``codes = clip(round(x / scale) + zero)``, except that each
    range reaches from 0 or below to 0 or above. In Keras it does not where all numbers of a block have one
    sign: then the zero point is cut off, and all of them get the same code.

    Examples
    --------
    >>> block = np.float32([[1.0], [1.1], [1.2], [1.3]])
    >>> codes, scale, zero = abs_max_quantize_grouped_with_zero_point(block, block_size=4)
    >>> ((codes - zero) * scale).ravel().round(2)
    array([1.04, 1.13, 1.21, 1.3 ], dtype=float32)
    """
    matrix = np.asarray(inputs)
    if matrix.ndim != 2:
        raise ValueError(f"expected a matrix, got shape {matrix.shape}")
    codes, scale, zero = _quantize_blocks(matrix.T, block_size, value_range, dtype, epsilon)
    return codes.T, scale.T, zero.T


def _quantize_blocks(
    matrix: NDArray[Any], block_size: int, value_range: tuple[int, int], dtype: str, epsilon: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int8]]:
    """Blocks along the last of two axes: see `abs_max_quantize_grouped_with_zero_point`."""
    if block_size < 1:
        raise ValueError(f"block_size must be a positive integer, got {block_size}")
    floats, scale_dtype = _floats(matrix)
    rows, columns = floats.shape
    blocks = -(-columns // block_size)
    # The zeros that fill the last block lie in any range.
    padded = np.zeros((rows, blocks, block_size), floats.dtype)
    padded.reshape(rows, -1)[:, :columns] = floats
    smallest, largest = value_range
    low = np.min(padded, axis=-1, keepdims=True, initial=0)
    high = np.max(padded, axis=-1, keepdims=True, initial=0)
    steps = largest - smallest
    with np.errstate(over="ignore"):  # the width of a range can be infinite where its ends are not
        width = np.subtract(high, low) + epsilon
    scale = np.where(np.isinf(width), high / steps - low / steps, width / steps)
    # The scale of zeros is too small for float16.
    scale = np.maximum(scale, np.finfo(floats.dtype).smallest_subnormal)
    zero = np.clip(np.round(np.divide(-low, scale)) + smallest, smallest, largest)
    codes = np.clip(np.round(np.divide(padded, scale)) + zero, smallest, largest).astype(dtype)
    codes, scale, zero = codes.reshape(rows, -1)[:, :columns], scale[:, :, 0], zero[:, :, 0]
    return codes, scale.astype(scale_dtype, copy=False), zero.astype(np.int8)


def pack_int4(
    arr: NDArray[Any], axis: int = 0, dtype: str = "int8"
) -> tuple[NDArray[Any], tuple[int, ...], int]:
    """Two int4 numbers a byte: of a pair along ``axis`` the first is the lower half.

    Parameters
    ----------
    arr : ndarray of int8 or uint8
        Numbers in [-8, 7].
    axis : int, default 0
    dtype : {"int8", "uint8"}
        That of ``arr``.

    Returns
    -------
    packed : ndarray of ``dtype``
        Half as long along ``axis``; a number that remains alone is followed by 0.
    packed_shape : tuple of int
    orig_len : int
        What `unpack_int4` needs.

    Raises
    ------
    ValueError, TypeError
        If ``dtype`` is neither of the two, or not the array's.

    Examples
    --------
    >>> pack_int4(np.array([[-3, 7, 2], [-8, 1, 0]], np.int8), axis=1)
    (array([[125,   2],
            [ 24,   0]], dtype=int8), (2, 2), 3)
    """
    _check_byte_dtype(dtype)
    arr = np.asarray(arr)
    if arr.dtype.name != dtype:
        raise TypeError(f"Expected {dtype} tensor for packing, got {arr.dtype}.")
    front = np.moveaxis(arr.view(np.uint8), axis, 0)
    packed = front[::2] & 0x0F
    packed[: len(front) // 2] |= front[1::2] << 4
    packed = np.ascontiguousarray(np.moveaxis(packed, 0, axis)).view(dtype)
    return packed, packed.shape, len(front)


def unpack_int4(packed: NDArray[Any], orig_len: int, axis: int = 0, dtype: str = "int8") -> NDArray[Any]:
    """The numbers that `pack_int4` packed.

    Parameters
    ----------
    packed : ndarray of int8 or uint8
    orig_len : int
        How many numbers there are along ``axis``.
    axis : int, default 0
    dtype : {"int8", "uint8"}
        Of the result; with ``"uint8"`` numbers are in [0, 15].

    Returns
    -------
    ndarray of ``dtype``

    Raises
    ------
    ValueError, TypeError
        If ``dtype`` is neither of the two, or ``packed`` has neither.

    Examples
    --------
    >>> unpack_int4(np.array([[125, 2], [24, 0]], np.int8), 3, axis=1)
    array([[-3,  7,  2],
           [-8,  1,  0]], dtype=int8)
    """
    _check_byte_dtype(dtype)
    packed = np.asarray(packed)
    if packed.dtype.name not in ("int8", "uint8"):
        raise TypeError(f"Expected int8 or uint8 tensor for unpacking, got {packed.dtype}")
    front = np.moveaxis(packed.view(np.uint8), axis, 0)
    halves = np.stack([front & 0x0F, front >> 4], axis=1).reshape(-1, *front.shape[1:])[:orig_len]
    if dtype == "int8":
        halves = (halves ^ 8) - np.uint8(8)  # wraps below 0, as two's complement does
    return np.ascontiguousarray(np.moveaxis(halves, 0, axis)).view(dtype)


def _check_byte_dtype(dtype: str) -> None:
    if dtype not in ("int8", "uint8"):
        raise ValueError(f"Expected dtype to be 'int8' or 'uint8', but got '{dtype}'.")


def quantize_int8(table: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """A table's rows as int8, each with its own scale.

    Parameters
    ----------
    table : ndarray of finite floats, shape (rows, columns)

    Returns
    -------
    codes : ndarray of int8, shape (rows, columns)
    scale : ndarray of the table's dtype, shape (rows,)
        The rows are about ``codes / scale[:, None]``.

    Examples
    --------
    >>> quantize_int8(np.float32([[0.5, -1.0], [0.0, 0.0]]))[0]
    array([[  63, -127],
           [   0,    0]], dtype=int8)
    """
    codes, scale = np.empty(table.shape, np.int8), np.empty(len(table), table.dtype)
    for rows in _lots(table):
        codes[rows], scales = abs_max_quantize(table[rows], axis=-1)
        scale[rows] = scales[:, 0]
    return codes, scale


def quantize_int4(table: NDArray[Any], block_size: int | None = None) -> tuple[NDArray[Any], ...]:
    """A table's rows as int4, each, or each block of its columns, with its own scale.

    Parameters
    ----------
    table : ndarray of finite floats, shape (rows, columns)
    block_size : int, optional
        Columns that share a scale and a zero point. Default (and -1): a scale for each row.

    Returns
    -------
    packed : ndarray of int8, shape (rows, ceil(columns / 2))
        See `pack_int4`.
    scale : ndarray of the table's dtype, shape (rows,) or (rows, blocks)
    zero : ndarray of int8, shape (rows, blocks)
        Only with blocks, as the next.
    g_idx : ndarray of float32, shape (columns,)
        The block that each column belongs to.

    Examples
    --------
    >>> packed, scale = quantize_int4(np.float32([[0.5, -1.0, 0.25]]))
    >>> unpack_int4(packed, 3, axis=-1)
    array([[ 3, -7,  2]], dtype=int8)
    """
    rows, columns = table.shape
    packed = np.empty((rows, (columns + 1) // 2), np.int8)
    if block_size is None or block_size == -1:
        scale = np.empty(rows, table.dtype)
        for lot in _lots(table):
            codes, scales = abs_max_quantize(table[lot], axis=-1, value_range=_INT4)
            packed[lot], scale[lot] = pack_int4(codes, axis=-1)[0], scales[:, 0]
        return packed, scale
    blocks = -(-columns // max(1, block_size))
    scale, zero = np.empty((rows, blocks), table.dtype), np.empty((rows, blocks), np.int8)
    for lot in _lots(table):
        codes, scale[lot], zero[lot] = _quantize_blocks(table[lot], block_size, _INT4, "int8", 1e-7)
        packed[lot] = pack_int4(codes, axis=-1)[0]
    return packed, scale, zero, np.floor_divide(np.arange(columns, dtype=np.float32), block_size)


def _lots(table: NDArray[Any]) -> list[slice]:
    """Runs of a table's rows that are quantised together."""
    step = max(1, _AT_ONCE // max(1, table.shape[1]))
    return [slice(start, start + step) for start in range(0, max(1, len(table)), step)]


class Quantizer(Configurable):
    """Base of what turns an array into integers and their scale."""

    output_dtype: str

    def __call__(
        self, x: ArrayLike, axis: Axis = None, to_numpy: bool = False
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Integers for ``x``, and their scale."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to quantise")


class AbsMaxQuantizer(Quantizer):
    """`abs_max_quantize` with its settings.

    Parameters
    ----------
    axis : int or sequence of int, optional
        Along which numbers share a scale, unless a call says another; the last where none does.
    value_range : (int, int), default (-127, 127)
    epsilon : float, default 1e-7
    output_dtype : str, default "int8"

    Raises
    ------
    ValueError
        If the range is not two integers, or int8 cannot hold it.

    Examples
    --------
    >>> AbsMaxQuantizer()(np.float32([[1.0, -2.0]]))[0]
    array([[  64, -127]], dtype=int8)
    """

    def __init__(
        self,
        axis: Axis = None,
        value_range: Sequence[int] = (-127, 127),
        epsilon: float = 1e-7,
        output_dtype: str = "int8",
    ) -> None:
        self.axis = axis if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.value_range = _two_integers("value_range", value_range)
        self.epsilon = epsilon
        self.output_dtype = standardize_dtype(output_dtype)
        if output_dtype == "int8" and (self.value_range[0] < -128 or self.value_range[1] > 127):
            raise ValueError(
                "Quantizer with output_dtype='int8' requires value_range to be within the interval "
                f"[-128, 127]. Received: value_range={value_range}"
            )

    def __call__(
        self, x: ArrayLike, axis: Axis = None, to_numpy: bool = False
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """`abs_max_quantize` of ``x``."""
        if axis is None:
            axis = -1 if self.axis is None else self.axis
        return abs_max_quantize(x, axis, self.value_range, self.output_dtype, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {"value_range": self.value_range, "epsilon": self.epsilon, "output_dtype": self.output_dtype}
        return config if self.axis is None else {**config, "axis": self.axis}


def _two_integers(name: str, values: Any) -> tuple[int, int]:
    try:
        low, high = map(operator.index, values)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be two integers, got {values!r:.200}") from None
    return low, high


class QuantizationConfig(Configurable):
    """How a layer is to be quantised. Base of the configs of each mode.

    Parameters
    ----------
    weight_quantizer : Quantizer, optional
        For weights; None stands for the mode's own.
    activation_quantizer : Quantizer, optional
        For what is multiplied with them; None leaves that as it is.
    """

    mode: str

    def __init__(self, weight_quantizer: Any = None, activation_quantizer: Any = None) -> None:
        self.weight_quantizer: Any = get(weight_quantizer)
        self.activation_quantizer: Any = get(activation_quantizer)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "weight_quantizer": serialize(self.weight_quantizer),
            "activation_quantizer": serialize(self.activation_quantizer),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The object whose `get_config` gave ``config``: what it does not mention is None."""
        return cls(**{"weight_quantizer": None, "activation_quantizer": None, **config})

    @staticmethod
    def weight_quantizer_or_default(config: QuantizationConfig | None, default: Any) -> Any:
        """The quantizer that ``config`` names for weights, if it does."""
        return default if config is None or config.weight_quantizer is None else config.weight_quantizer

    @staticmethod
    def activation_quantizer_or_default(config: QuantizationConfig | None, default: Any) -> Any:
        """The quantizer (or None) that ``config`` names for activations; without a config, the default."""
        return default if config is None else config.activation_quantizer

    def _check_weights(self, what: str, expected: Any) -> None:
        found = expected if self.weight_quantizer is None else getattr(self.weight_quantizer, what, None)
        if found != expected:
            raise ValueError(
                f"{type(self).__name__} requires a weight_quantizer with {what}={expected!r}. "
                f"Received: {what}={found}"
            )


class Int8QuantizationConfig(QuantizationConfig):
    """Weights as int8.

    Parameters
    ----------
    weight_quantizer : Quantizer, optional
        With int8 output. Default: `AbsMaxQuantizer` along the axis that the layer chooses.
    activation_quantizer : Quantizer or None, default "default"
        An `AbsMaxQuantizer` of its own.

    Examples
    --------
    >>> Int8QuantizationConfig(activation_quantizer=None).get_config()
    {'weight_quantizer': None, 'activation_quantizer': None}
    """

    mode = "int8"

    def __init__(self, weight_quantizer: Any = None, activation_quantizer: Any = "default") -> None:
        default = isinstance(activation_quantizer, str) and activation_quantizer == "default"
        super().__init__(weight_quantizer, AbsMaxQuantizer() if default else activation_quantizer)
        self._check_weights("output_dtype", "int8")


class Int4QuantizationConfig(QuantizationConfig):
    """Weights as int4, two a byte.

    Parameters
    ----------
    weight_quantizer : Quantizer, optional
        With a range of (-8, 7) and int8 output.
    activation_quantizer : Quantizer, optional
    block_size : int or None, default 128
        Numbers that share a scale and a zero point; None and -1 stand for one scale a row. A config that does
        not mention it was written before there were blocks, and means None.

    Raises
    ------
    ValueError
        For another block size, and for blocks together with quantizers of the caller's own.

    Examples
    --------
    >>> Int4QuantizationConfig().block_size, Int4QuantizationConfig.from_config({}).block_size
    (128, None)
    """

    mode = "int4"

    def __init__(
        self,
        weight_quantizer: Any = None,
        activation_quantizer: Any = "default",
        block_size: int | None = 128,
    ) -> None:
        default = isinstance(activation_quantizer, str) and activation_quantizer == "default"
        super().__init__(weight_quantizer, None if default else activation_quantizer)
        if block_size is not None and block_size != -1 and block_size <= 0:
            raise ValueError(
                f"block_size must be None, -1, or a positive integer. Received: block_size={block_size}"
            )
        self.block_size = block_size
        own = self.weight_quantizer is not None or self.activation_quantizer is not None
        if own and block_size is not None and block_size > 0:
            raise ValueError(
                "Int4 sub-channel quantization (block_size > 0) does not support custom quantizers. Either "
                "set block_size to None or -1 for per-channel quantization, or remove the custom quantizer "
                f"arguments. Received: block_size={block_size}"
            )
        self._check_weights("value_range", _INT4)
        self._check_weights("output_dtype", "int8")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "block_size": self.block_size}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The object whose `get_config` gave ``config``: what it does not mention is None."""
        return super().from_config({"block_size": None, **config})


def resolved(mode: str | None, config: QuantizationConfig | str | None) -> QuantizationConfig:
    """The config that the arguments of a layer's ``quantize`` mean.

    Raises
    ------
    ValueError
        If they contradict each other or mean nothing.
    NotImplementedError
        For the modes that Keras has for other layers.

    >>> resolved("int4", None).block_size
    128
    """
    if isinstance(config, str):
        mode, config = config, None
    if config is None:
        if mode is None:
            raise ValueError("You must provide either `mode` or `config` to `quantize`.")
        if mode == "int8":
            return Int8QuantizationConfig()
        if mode == "int4":
            return Int4QuantizationConfig()
        error = NotImplementedError if mode in ("float8", "gptq", "awq") else ValueError
        raise error(f"Invalid quantization mode. Expected one of ('int8', 'int4'). Received: mode={mode}")
    if not isinstance(config, QuantizationConfig):
        raise ValueError(
            "Argument `config` must be an instance of `QuantizationConfig`. Received: "
            f"config={config!r:.200} (of type {type(config)})"
        )
    if mode is not None and config.mode != mode:
        raise ValueError(f"Contradictory arguments: mode='{mode}' but config.mode='{config.mode}'")
    return config


abs_max_quantizer = AbsMaxQuantizer
int8_quantization_config = Int8QuantizationConfig
int4_quantization_config = Int4QuantizationConfig

_registry = Registry(
    "quantizer", {**subclasses_in(globals(), Quantizer), **subclasses_in(globals(), QuantizationConfig)}
)


def get(identifier: Any) -> Any:
    """The quantizer that an argument means: None, a name, a class, a config, or a callable as it is.

    Raises
    ------
    ValueError
        For anything else.

    >>> get("abs_max_quantizer").value_range
    (-127, 127)
    """
    return _registry.get(identifier)


def serialize(obj: Any) -> Any:
    """Keras 3's config of a quantizer or of a `QuantizationConfig`; None for None.

    >>> serialize(Int4QuantizationConfig())["class_name"]
    'Int4QuantizationConfig'
    """
    return serialize_keras_object(obj)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The quantizer or `QuantizationConfig` that a config describes; None for None.

    >>> deserialize(serialize(Int4QuantizationConfig(block_size=32))).block_size
    32
    """
    return _registry.deserialize(config, custom_objects)

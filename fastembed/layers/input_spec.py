"""What a layer can say of the inputs it takes."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastembed.dtypes import standardize_dtype


class InputSpec:
    """Rank, shape and dtype that an input must have. A layer names one in its attribute ``input_spec``.

    Parameters
    ----------
    dtype : str, optional
    shape : tuple of int or None, optional
        None stands for any length.
    ndim, max_ndim, min_ndim : int, optional
    axes : dict of int to int, optional
        The lengths of some axes.
    allow_last_axis_squeeze : bool, default False
        Whether a last axis of length 1 may be missing or added.
    name : str, optional
        The key of the input where they come in a dict.
    optional : bool, default False
        Whether None may be given.

    Raises
    ------
    ValueError, TypeError
        If these contradict each other.

    Examples
    --------
    >>> InputSpec(ndim=2, axes={-1: 8})
    InputSpec(ndim=2, axes={-1: 8})
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = None if dtype is None else standardize_dtype(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = ndim if shape is None else len(tuple(shape))
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.allow_last_axis_squeeze, self.name, self.optional = allow_last_axis_squeeze, name, optional
        try:
            self.axes = {operator.index(axis): length for axis, length in dict(axes or {}).items()}
        except (TypeError, ValueError):
            raise TypeError(
                f"Argument `axes` must be a dict with integer keys. Received: axes={axes!r}"
            ) from None
        ndims = self.ndim if self.ndim is not None else self.max_ndim
        if self.axes and ndims is not None and max(self.axes) > ndims - 1:
            raise ValueError(f"Axis {max(self.axes)} is greater than the maximum allowed value: {ndims - 1}")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        keys = "dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional"
        return {key: getattr(self, key) for key in keys}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> InputSpec:
        """The spec whose `get_config` gave ``config``."""
        return cls(**config)

    def __repr__(self) -> str:
        keys = "dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes"
        said = ((key, getattr(self, key)) for key in keys)
        return f"InputSpec({', '.join(f'{key}={value}' for key, value in said if value)})"

    def misfit(self, array: Any) -> str | None:
        """What of an array is not as it must be, or None."""
        shape, spec = np.shape(array), self.shape
        ndim = len(shape)
        if self.ndim is not None and not self.allow_last_axis_squeeze and ndim != self.ndim:
            return f"expected ndim={self.ndim}, found ndim={ndim}. Full shape received: {shape}"
        if self.max_ndim is not None and ndim > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={ndim}"
        if self.min_ndim is not None and ndim < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={ndim}. Full shape received: {shape}"
        if self.dtype is not None and (dtype := standardize_dtype(array.dtype)) != self.dtype:
            return f"expected dtype={self.dtype}, found dtype={dtype}"
        for axis, length in self.axes.items():
            if length is not None and shape[axis] not in (None, length):
                return (
                    f"expected axis {axis} of input shape to have value {length}, "
                    f"but received input with shape {shape}"
                )
        if spec is not None:
            if self.allow_last_axis_squeeze:
                shape = shape[:-1] if shape[-1:] == (1,) else shape
                spec = spec[:-1] if spec[-1:] == (1,) else spec
            if any(None not in (wanted, length) and wanted != length for wanted, length in zip(spec, shape)):
                return f"expected shape={self.shape}, found shape={np.shape(array)}"
        return None


def assert_input_compatibility(input_spec: Any, inputs: Any, layer_name: str) -> None:
    """Raise ValueError unless the inputs of a layer are what its ``input_spec`` says.

    Parameters
    ----------
    input_spec : InputSpec, or list, tuple or dict of such and None
    inputs : array, or as many in a list, tuple or dict
    layer_name : str
    """
    specs = list(_flat(input_spec))
    if isinstance(inputs, Mapping) and all(getattr(spec, "name", None) for spec in specs):
        if missing := [spec.name for spec in specs if spec.name not in inputs]:
            raise ValueError(
                f'Missing data for input "{missing[0]}" of layer {layer_name!r}: it was given '
                f"{list(inputs)} and needs {[spec.name for spec in specs]}"
            )
        inputs = [inputs[spec.name] for spec in specs]
    arrays = list(_flat(inputs))
    if len(arrays) != len(specs):
        raise ValueError(
            f'Layer "{layer_name}" expects {len(specs)} input(s), '
            f"but it received {len(arrays)} input tensors."
        )
    for number, (array, spec) in enumerate(zip(arrays, specs)):
        if spec is None or (array is None and spec.optional):
            continue
        if not hasattr(array, "shape"):
            raise ValueError(
                f"Inputs to a layer should be tensors. Got '{array!r:.80}' (of type {type(array)}) as input "
                f"for layer '{layer_name}'."
            )
        if misfit := spec.misfit(array):
            raise ValueError(
                f"Input {number} with name '{spec.name}' of layer '{layer_name}' is incompatible with the "
                f"layer: {misfit}"
            )


def _flat(nested: Any) -> Iterator[Any]:
    if isinstance(nested, Mapping):
        nested = list(nested.values())
    if isinstance(nested, (list, tuple)):
        for each in nested:
            yield from _flat(each)
    else:
        yield nested

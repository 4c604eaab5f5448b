"""The same numbers in another shape."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import eras
from fastembed._floats import widened
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.layer import Layer, Shape
from fastembed.ops import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Flatten(Layer):
    """All axes but the first as one: ``(batch, ...)`` becomes ``(batch, features)``.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        Default: "channels_last". With "channels_first" axis 1 is moved to the end before.
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        For another ``data_format``; when called, for inputs without axes.

    Notes
    -----
    Inputs without another axis, ``(batch,)``, become ``(batch, 1)``. Outputs share the memory of inputs where
    they can, as in NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(np.arange(6).reshape(1, 2, 3))
    array([[0, 1, 2, 3, 4, 5]])
    >>> Flatten("channels_first")(np.arange(6).reshape(1, 2, 3))
    array([[0, 3, 1, 4, 2, 5]])
    """

    @eras.any_era
    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = "channels_last" if data_format is None else str(data_format).lower()
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                'The `data_format` argument must be "channels_last" or "channels_first". '
                f"Received: data_format={data_format!r:.80}"
            )
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> NDArray[Any]:
        """Outputs of shape ``(batch, features)``."""
        inputs = as_array(inputs)
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = np.moveaxis(inputs, 1, -1)
        return inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))

    def remember(self, inputs: Any, outputs: NDArray[Any]) -> tuple[int, ...]:
        """The shape of the inputs."""
        return np.shape(inputs)

    def backpropagate(self, remembered: tuple[int, ...], upstream: NDArray[Any]) -> NDArray[Any]:
        """The gradient in the shape of the inputs."""
        upstream = widened(upstream)[0]
        if self.data_format == "channels_first" and len(remembered) > 2:
            batch, channels, *rest = remembered
            return np.moveaxis(upstream.reshape(batch, *rest, channels), -1, 1)
        return upstream.reshape(remembered)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(batch, features)``; None where an axis is of unknown length."""
        batch, *rest = input_shape
        return (batch, None if None in rest else math.prod(rest))

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return {**super().get_config(), **self._dialect.entries("Flatten", {"data_format": self.data_format})}


class Reshape(Layer):
    """Each example in another shape: ``(batch, *target_shape)``.

    Parameters
    ----------
    target_shape : sequence of int
        Without the batch. One length may be -1 (or None): it is found from the others.
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        For lengths that none can be; when called, if the inputs have not as many numbers.

    Notes
    -----
    Outputs share the memory of inputs where they can, as in NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> Reshape((-1, 2))(np.ones((5, 6), np.float32)).shape
    (5, 3, 2)
    """

    @eras.any_era
    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = tuple(target_shape)
        try:
            lengths = [-1 if length is None else operator.index(length) for length in given]
        except TypeError:
            raise ValueError(
                f"`target_shape` must consist of integers. Received: target_shape={given!r:.200}"
            ) from None
        if min(lengths, default=0) < -1:
            raise ValueError(
                "Each dimension in `target_shape` must be a non-negative integer, or `-1` for a single "
                f"unknown dimension. Received: target_shape={given}."
            )
        if lengths.count(-1) > 1:
            raise ValueError(
                "There must be at most one unknown dimension (-1) in `target_shape`. Received: "
                f"target_shape={given}."
            )
        self.target_shape = tuple(
            length if said is not None else None for said, length in zip(given, lengths)
        )
        self.built = True

    def call(self, inputs: Any) -> NDArray[Any]:
        """Outputs of shape ``(batch, *target_shape)``."""
        inputs = as_array(inputs)
        return inputs.reshape(self.compute_output_shape(inputs.shape))

    def remember(self, inputs: Any, outputs: NDArray[Any]) -> tuple[int, ...]:
        """The shape of the inputs."""
        return np.shape(inputs)

    def backpropagate(self, remembered: tuple[int, ...], upstream: NDArray[Any]) -> NDArray[Any]:
        """The gradient in the shape of the inputs."""
        return widened(upstream)[0].reshape(remembered)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(batch, *target_shape)``, with the length that was left open."""
        if not input_shape:
            raise ValueError("Reshape takes a batch of inputs, of at least one axis: got a shape of ()")
        batch, *rest = input_shape
        target = [-1 if length is None else length for length in self.target_shape]
        if None in rest:
            return (batch, *(None if length == -1 else length for length in target))
        size, known = math.prod(rest), math.prod(length for length in target if length != -1)
        if -1 not in target:
            fits = size == known
        else:
            fits = known > 0 and size % known == 0
        if not fits:
            raise ValueError(
                "The total size of the tensor must be unchanged. Received: "
                f"input_shape={tuple(rest)} ({size} numbers), target_shape={self.target_shape}"
            )
        return (batch, *(size // known if length == -1 else length for length in target))

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return {
            **super().get_config(),
            **self._dialect.entries("Reshape", {"target_shape": self.target_shape}),
        }


class Permute(Layer):
    """The axes of each example in another order.

    Parameters
    ----------
    dims : sequence of int
        For each axis of the output, which axis of the input it is; counted from 1, without the batch.
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        If ``dims`` is no permutation of 1, 2, ...; when called, for inputs of another rank.

    Notes
    -----
    Outputs share the memory of inputs, as in NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> Permute((2, 1))(np.ones((5, 10, 64), np.float32)).shape
    (5, 64, 10)
    """

    @eras.any_era
    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(map(operator.index, dims))
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                "Invalid permutation argument `dims` for Permute Layer. The set of indices in `dims` must be "
                f"consecutive and start from 1. Received dims={dims}"
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Any) -> NDArray[Any]:
        """Outputs with axes in the order of ``dims``."""
        return as_array(inputs).transpose(0, *self.dims)

    def remember(self, inputs: Any, outputs: NDArray[Any]) -> None:
        """Nothing."""

    def backpropagate(self, remembered: None, upstream: NDArray[Any]) -> NDArray[Any]:
        """The gradient with its axes as those of the inputs were."""
        return widened(upstream)[0].transpose(np.argsort((0, *self.dims)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's shape in the order of ``dims``."""
        return tuple(input_shape[axis] for axis in (0, *self.dims))

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return {**super().get_config(), **self._dialect.entries("Permute", {"dims": self.dims})}


class RepeatVector(Layer):
    """Each vector ``n`` times: ``(batch, features)`` becomes ``(batch, n, features)``.

    Parameters
    ----------
    n : int
    **kwargs
        As for `Layer`.

    Raises
    ------
    TypeError
        If ``n`` is no integer.
    ValueError
        If ``n`` is not positive; when called, for inputs that have not two axes.

    Examples
    --------
    >>> import numpy as np
    >>> RepeatVector(2)(np.array([[1, 2], [3, 4]]))
    array([[[1, 2], [1, 2]],
           [[3, 4], [3, 4]]])
    """

    @eras.any_era
    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
            raise TypeError(f"Expected an integer value for `n`, got {n!r:.80} of {type(n)}.")
        if n <= 0:
            raise ValueError(f"Argument `n` should be a positive integer. Received: n={n}")
        self.n = int(n)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Any) -> NDArray[Any]:
        """Outputs of shape ``(batch, n, features)``."""
        return np.repeat(as_array(inputs)[:, np.newaxis], self.n, axis=1)

    def remember(self, inputs: Any, outputs: NDArray[Any]) -> None:
        """Nothing."""

    def backpropagate(self, remembered: None, upstream: NDArray[Any]) -> NDArray[Any]:
        """The sum of the gradients of all ``n``."""
        return widened(upstream)[0].sum(axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(batch, n, features)``."""
        batch, features = input_shape
        return (batch, self.n, features)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return {**super().get_config(), **self._dialect.entries("RepeatVector", {"n": self.n})}

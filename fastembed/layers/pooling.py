"""One vector out of all steps of a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import eras
from fastembed._floats import for_loops, widened
from fastembed._pooling import max_steps, mean_steps, spread_max, spread_mean
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.layer import Layer, Shape
from fastembed.ops import as_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_STEPS_AXES = {"channels_last": 1, "channels_first": 2}


class _GlobalPooling1D(Layer):
    """Base: where the steps are, and the shape of what is made of them."""

    def __init__(self, data_format: str | None, keepdims: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = "channels_last" if data_format is None else str(data_format).lower()
        if self.data_format not in _STEPS_AXES:
            raise ValueError(
                "The `data_format` argument must be one of 'channels_first' and 'channels_last'. Received: "
                f"data_format={data_format!r:.80}"
            )
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=3)
        self.built = type(self).build is Layer.build  # there is nothing to make

    @property
    def _steps_axis(self) -> int:
        return _STEPS_AXES[self.data_format]

    def _with_steps_second(self, inputs: Any) -> NDArray[Any]:
        """The inputs as (batch, steps, features)."""
        inputs = as_array(inputs)
        return inputs if self._steps_axis == 1 else np.moveaxis(inputs, self._steps_axis, 1)

    def _like_inputs(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """A gradient for (batch, steps, features) as the inputs are."""
        return gradient if self._steps_axis == 1 else np.moveaxis(gradient, 1, self._steps_axis)

    def _like_outputs(self, pooled: NDArray[Any]) -> NDArray[Any]:
        """(batch, features) as the layer returns it."""
        return np.expand_dims(pooled, self._steps_axis) if self.keepdims else pooled

    def _without_step(self, upstream: NDArray[Any]) -> NDArray[Any]:
        """The gradient of the output as (batch, features)."""
        return np.squeeze(upstream, self._steps_axis) if self.keepdims else upstream

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(batch, features)``; with ``keepdims`` one step is left."""
        shape = list(input_shape)
        if self.keepdims:
            shape[self._steps_axis] = 1
        else:
            del shape[self._steps_axis]
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {"data_format": self.data_format, "keepdims": self.keepdims}
        return {**super().get_config(), **self._dialect.entries("GlobalPooling1D", entries)}


class GlobalAveragePooling1D(_GlobalPooling1D):
    """The mean over the steps; with a mask, over the steps that count.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        Whether inputs are ``(batch, steps, features)``, the default, or ``(batch, features, steps)``.
    keepdims : bool, default False
        Whether the output keeps an axis of one step.
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        For another ``data_format``; when called, for inputs that have not three axes, or a mask whose shape
        is not ``(batch, steps)``.

    Notes
    -----
    ``y[b, f] = sum_s mask[b, s] x[b, s, f] / sum_s mask[b, s]``, added up in the order of the steps in
    float64 and rounded once, so the bits are the same for any number of threads. Steps that do not count are
    not read. The mean of no steps is NaN, as in Keras, and its gradient zero.

    Examples
    --------
    >>> import numpy as np
    >>> from fastembed.layers import Embedding
    >>> words = Embedding(3, 2, weights=[[[9, 9], [1, 2], [3, 4]]], mask_zero=True)
    >>> ids, mean = np.array([[1, 2, 0], [1, 1, 2]]), GlobalAveragePooling1D()
    >>> mean(words(ids), mask=words.compute_mask(ids))
    array([[2.       , 3.       ],
           [1.6666666, 2.6666667]], dtype=float32)
    """

    supports_masking = True
    makes_masks = False
    ends_masks = True

    @eras.any_era
    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(data_format, keepdims, **kwargs)

    def call(self, inputs: NDArray[Any], mask: ArrayLike | None = None) -> NDArray[Any]:
        """Outputs of shape ``(batch, features)``; ``mask`` (batch, steps) says which steps count."""
        steps, dtype = for_loops(self._with_steps_second(inputs))
        mean = mean_steps(steps, _checked_mask(mask, steps))
        return self._like_outputs(mean.astype(dtype, copy=False))

    def remember(
        self, inputs: NDArray[Any], outputs: NDArray[Any], *, mask: ArrayLike | None = None
    ) -> tuple[int, NDArray[np.bool_] | None]:
        """How many steps there were, and a copy of the mask."""
        steps = self._with_steps_second(inputs)
        mask = _checked_mask(mask, steps)
        return steps.shape[1], None if mask is None else mask.copy()

    def backpropagate(
        self, remembered: tuple[int, NDArray[np.bool_] | None], upstream: NDArray[Any]
    ) -> NDArray[Any]:
        """To every step that counts its share of upstream; to the others zero.

        Where all count, one row stands for all steps (a read-only array with a stride of zero).
        """
        wide, _ = for_loops(self._without_step(upstream))
        steps, mask = remembered
        if mask is not None:
            return self._like_inputs(spread_mean(wide, steps, mask))
        with np.errstate(all="ignore"):
            share = np.divide(wide, max(steps, 1), dtype=np.float64).astype(wide.dtype, copy=False)
        batch, features = wide.shape
        return self._like_inputs(np.broadcast_to(share[:, np.newaxis], (batch, steps, features)))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: the steps are gone."""
        return


class GlobalMaxPooling1D(_GlobalPooling1D):
    """The largest number of each feature over the steps.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        Whether inputs are ``(batch, steps, features)``, the default, or ``(batch, features, steps)``.
    keepdims : bool, default False
        Whether the output keeps an axis of one step.
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        For another ``data_format``; when called, for inputs that have not three axes, or have no steps.

    Notes
    -----
    Masks are not looked at, as in Keras: padding takes part. The gradient goes to the step that has the
    largest number, in equal shares where several have it (as they do where an id is repeated), as in Keras on
    JAX and TensorFlow. A maximum is NaN where one of its steps is, and so is its gradient at all of them.

    Examples
    --------
    >>> import numpy as np
    >>> largest = GlobalMaxPooling1D()
    >>> largest(np.array([[[1.0, 5.0], [3.0, 5.0]]]), training=True)
    array([[3., 5.]], dtype=float32)
    >>> largest.backward(np.ones((1, 2), np.float32))
    array([[[0. , 0.5],
            [1. , 0.5]]], dtype=float32)
    """

    @eras.any_era
    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(data_format, keepdims, **kwargs)

    def call(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Outputs of shape ``(batch, features)``."""
        steps = self._with_steps_second(inputs)
        if steps.dtype.kind in "biu":
            return self._like_outputs(steps.max(axis=1))
        wide, dtype = for_loops(steps)
        return self._like_outputs(max_steps(wide).astype(dtype, copy=False))

    def remember(self, inputs: NDArray[Any], outputs: NDArray[Any]) -> NDArray[Any]:
        """The inputs."""
        return self._with_steps_second(inputs)

    def backpropagate(self, remembered: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
        """Upstream to the steps that have the maximum, in equal shares."""
        dtype = widened(upstream)[0].dtype
        wide = np.promote_types(widened(remembered)[0].dtype, dtype)  # in which the inputs are what they are
        steps, _ = for_loops(remembered.astype(wide, copy=False))
        shares, _ = for_loops(self._without_step(upstream).astype(wide, copy=False))
        return self._like_inputs(spread_max(steps, shares).astype(dtype, copy=False))


# Keras's other names for them.
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalMaxPool1D = GlobalMaxPooling1D


def _checked_mask(mask: ArrayLike | None, steps: NDArray[Any]) -> NDArray[np.bool_] | None:
    """A mask as compiled loops read it, if it is one of (batch, steps, features)."""
    if mask is None:
        return None
    array = as_array(mask)
    if array.shape not in (steps.shape[:2], (1, steps.shape[1])):
        raise ValueError(
            "a mask says of each step whether it counts: its shape must be "
            f"{steps.shape[:2]} (batch, steps), got {array.shape}"
        )
    return np.ascontiguousarray(np.broadcast_to(array.astype(bool, copy=False), steps.shape[:2]))

"""Masks made from values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastembed import eras
from fastembed._registry import deserialize_keras_object
from fastembed.layers.layer import Layer, Shape


class Masking(Layer):
    """Mask the steps of a sequence whose values are all ``mask_value``, and make them 0.

    Parameters
    ----------
    mask_value : float or array_like, default 0
        What all features of a step to be skipped are equal to; an array: feature by feature.
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> layer = Masking(mask_value=-1)
    >>> x = np.float32([[[5, 6], [-1, 6], [-1, -1]]])
    >>> layer(x)
    array([[[ 5.,  6.],
            [-1.,  6.],
            [ 0.,  0.]]], dtype=float32)
    >>> layer.compute_mask(x)
    array([[ True,  True, False]])
    """

    @eras.any_era
    def __init__(self, mask_value: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = (
            deserialize_keras_object(mask_value) if isinstance(mask_value, Mapping) else mask_value
        )
        self.supports_masking = True
        self.built = True

    def compute_mask(self, inputs: ArrayLike, mask: Any = None) -> NDArray[np.bool_]:
        """Where a step has any other value; a mask that comes in does not count."""
        return np.asarray(np.any(np.not_equal(np.asarray(inputs), self.mask_value), axis=-1))

    def call(self, inputs: ArrayLike) -> NDArray[Any]:
        """The inputs, with 0 in every step that is masked."""
        inputs = np.asarray(inputs)
        return np.where(self.compute_mask(inputs)[..., None], inputs, inputs.dtype.type(0))

    def remember(self, inputs: NDArray[Any], outputs: NDArray[Any]) -> NDArray[np.bool_]:
        """The mask."""
        return self.compute_mask(inputs)

    def backpropagate(self, remembered: NDArray[np.bool_], upstream: NDArray[Any]) -> NDArray[Any]:
        """The gradient of the steps that are not masked, and 0 for the others."""
        dtype = np.promote_types(upstream.dtype, np.float32)
        return np.where(remembered[..., None], upstream, 0).astype(dtype, copy=False)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return {**super().get_config(), **self._dialect.entries("Masking", {"mask_value": self.mask_value})}

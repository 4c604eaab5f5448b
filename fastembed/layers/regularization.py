"""Noise while training."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastembed import eras
from fastembed._floats import widened
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.layer import Layer, Shape
from fastembed.ops import as_array
from fastembed.random import SeedGenerator, as_rate, kept_numbers, thinned_out

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Dropout(Layer):
    """Sets numbers to zero at random while training, and divides those that stay by the share that does.

    Parameters
    ----------
    rate : float in [0, 1]
        The share that is dropped. Called ``p`` in Keras 1.
    noise_shape : sequence of int or None, optional
        Shape of what is drawn, which is then broadcast: ``(None, 1, None)`` drops whole columns of
        ``(batch, steps, features)``. None is the inputs' own length.
    seed : int, optional
        Of the numbers that are drawn, others at each call. Default: from Python's ``random``.
    **kwargs
        As for `Layer`.

    Attributes
    ----------
    seed_generator : SeedGenerator
        Where the numbers come from, unless ``rate`` is 0. Its state is one of `variables`.

    Raises
    ------
    ValueError
        For a rate outside [0, 1], or a shape that noise cannot have. When called: if the noise does not fit
        the inputs, or these are not floats.

    Notes
    -----
    What is drawn is that of Keras 3 on its numpy backend, bit for bit: `fastembed.random.dropout`. Without
    ``training=True`` the inputs themselves are returned.

    Examples
    --------
    >>> import numpy as np
    >>> dropout = Dropout(0.5, seed=1)
    >>> dropout(np.ones((2, 4), np.float32), training=True)
    array([[0., 0., 2., 0.],
           [2., 2., 0., 2.]], dtype=float32)
    >>> dropout.backward(np.ones((2, 4), np.float32))
    array([[0., 0., 2., 0.],
           [2., 2., 0., 2.]], dtype=float32)
    >>> dropout(np.ones((1, 4), np.float32))
    array([[1., 1., 1., 1.]], dtype=float32)
    """

    supports_masking = True

    @eras.any_era
    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rate = as_rate(rate)
        self.seed = seed
        self.noise_shape = _checked_noise_shape(noise_shape)
        if self.rate > 0:
            self.seed_generator = SeedGenerator(seed)
        self.built = True

    def call(self, inputs: Any, training: bool | None = False) -> NDArray[Any]:
        """The inputs; while training with some of them dropped."""
        inputs = as_array(inputs)
        drawn = None
        if training and self.rate > 0:
            kept = kept_numbers(inputs, self.rate, self._noise_shape_for(inputs), self.seed_generator)
            drawn = kept, self.rate
            inputs = thinned_out(inputs, *drawn)
        self._recorded.drawn = drawn  # for `remember`, in the same thread
        return inputs

    def _noise_shape_for(self, inputs: NDArray[Any]) -> Sequence[int | None] | None:
        return self.noise_shape

    def remember(self, inputs: Any, outputs: NDArray[Any]) -> Any:
        """What the call drew."""
        return self._recorded.__dict__.pop("drawn")

    def backpropagate(self, remembered: Any, upstream: NDArray[Any]) -> NDArray[Any]:
        """Gradients pass where inputs did."""
        upstream = widened(upstream)[0]
        return upstream if remembered is None else thinned_out(upstream, *remembered)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return {**super().get_config(), **self._dialect.entries("Dropout", self._entries())}

    def _entries(self) -> dict[str, Any]:
        return {"rate": self.rate, "seed": self.seed, "noise_shape": self.noise_shape}


class SpatialDropout1D(Dropout):
    """`Dropout` of whole features: what is dropped is so at every step of an example.

    Parameters
    ----------
    rate : float in [0, 1]
        The share of features that is dropped. Called ``p`` in Keras 1.
    seed : int, optional
        As for `Dropout`.
    name, dtype, **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        For a rate outside [0, 1]; when called, for inputs that have not three axes.

    Examples
    --------
    >>> import numpy as np
    >>> SpatialDropout1D(0.5, seed=1)(np.ones((1, 3, 4), np.float32), training=True)
    array([[[0., 0., 2., 0.],
            [0., 0., 2., 0.],
            [0., 0., 2., 0.]]], dtype=float32)
    """

    @eras.any_era
    def __init__(
        self, rate: float, seed: int | None = None, name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        if kwargs.get("noise_shape") is not None:
            raise ValueError(
                "SpatialDropout1D draws noise of shape (batch, 1, features): for another `noise_shape` use "
                f"Dropout. Received: noise_shape={kwargs['noise_shape']!r:.80}"
            )
        super().__init__(rate=rate, seed=seed, name=name, dtype=dtype, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def _noise_shape_for(self, inputs: NDArray[Any]) -> Sequence[int | None]:
        return (None, 1, None)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return self._dialect.config_of_spatial_dropout(self, self._entries())


def _checked_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    if noise_shape is None:
        return None
    try:
        if isinstance(noise_shape, str):
            raise TypeError
        lengths = tuple(None if length is None else operator.index(length) for length in noise_shape)
    except TypeError:
        raise ValueError(
            "Invalid value received for argument `noise_shape`. Expected a tuple or list of integers and "
            f"None. Received: noise_shape={noise_shape!r:.200}"
        ) from None
    if any(length is not None and length <= 0 for length in lengths):
        raise ValueError(
            "Invalid value received for argument `noise_shape`. Expected positive integers or None. "
            f"Received: noise_shape={noise_shape!r:.200}"
        )
    return lengths

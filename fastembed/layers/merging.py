"""Several inputs to one output.

Elementwise layers take inputs of different ranks: shorter ones get axes of length 1 behind the batch, and
what was broadcast on the way in is summed up on the way back.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable, ClassVar, NamedTuple

import numpy as np

from fastembed import eras
from fastembed._floats import widened
from fastembed.dtypes import array_dtype, epsilon, result_type
from fastembed.layers.layer import Layer, Shape
from fastembed.ops import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Shapes = Sequence[tuple[int, ...]]


class Merging(Layer):
    """What layers of several inputs have in common: the list, its masks, one dtype for all."""

    supports_masking = True
    makes_masks = False
    _takes: ClassVar[int | None] = None  # how many inputs; None for any number

    def build(self, input_shape: Shape) -> None:
        """Check that inputs of these shapes can be merged."""
        self.compute_output_shape(input_shape)
        self.built = True

    def _shapes(self, shapes: Any) -> list[tuple[Any, ...]]:
        """The shapes of the inputs, if there is one for each of as many as the layer takes."""
        listed = isinstance(shapes, (list, tuple)) and all(isinstance(each, (list, tuple)) for each in shapes)
        if not listed or not shapes or (self._takes is not None and len(shapes) != self._takes):
            wanted = "at least 1 input" if self._takes is None else f"exactly {self._takes} inputs"
            raise ValueError(
                f"A `{type(self).__name__}` layer should be called on a list of {wanted}. "
                f"Received: input_shape={shapes!r:.200}"
            )
        return [tuple(each) for each in shapes]

    def _arrays(self, inputs: Any) -> list[NDArray[Any]]:
        """The inputs as arrays of one dtype, if they can be merged."""
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(
                f"A `{type(self).__name__}` layer should be called on a list of inputs. "
                f"Received: {inputs!r:.200} (not a list)"
            )
        arrays = [as_array(each) for each in inputs]
        self.compute_output_shape([array.shape for array in arrays])  # not always those it was built for
        dtype = array_dtype(result_type(*(array.dtype for array in arrays)))
        return [array.astype(dtype, copy=False) for array in arrays]

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return (
            super().get_config()
        )  # said, because what has none of its own is written down argument by argument

    def _masks(self, inputs: Any, masks: Any) -> list[Mask | None]:
        """One mask, or None, for each input."""
        if masks is None:
            return [None] * len(inputs)
        if not isinstance(masks, (list, tuple)) or not isinstance(inputs, (list, tuple)):
            which, what = ("inputs", inputs) if isinstance(masks, (list, tuple)) else ("mask", masks)
            raise ValueError(f"`{which}` should be a list. Received: {which}={what!r:.200}")
        if len(masks) != len(inputs):
            raise ValueError(
                f"`inputs` and `mask` should have the same length. Received {len(inputs)} inputs and "
                f"{len(masks)} masks; None stands for an input without a mask"
            )
        return [None if mask is None else np.asarray(mask, bool) for mask in masks]


class Elementwise(Merging):
    """Base of the layers that compute each number of the output from those in its place."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shapes' common one: an axis of length 1, or one that is missing, is broadcast.

        Raises
        ------
        ValueError
            If they have none, or not one batch.
        """
        shapes = self._shapes(input_shape)
        batches = {shape[0] for shape in shapes if shape} - {None}
        if len(batches) > 1:
            raise ValueError(
                f"Cannot merge tensors with different batch sizes. Received tensors with shapes {shapes}"
            )
        if not all(shapes):
            if any(shapes):
                raise ValueError(f"Cannot merge a number with a batch. Received tensors with shapes {shapes}")
            return ()
        rest = functools.reduce(_broadcast, (shape[1:] for shape in shapes))
        return (batches.pop() if batches else None, *rest)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask | None:
        """True where any input counts; None unless all have a mask."""
        masks = self._masks(inputs, mask)
        ndim = max((each.ndim for each in masks if each is not None), default=0)
        counted = [_expanded(each, ndim) for each in masks if each is not None]
        return functools.reduce(np.logical_or, counted) if len(counted) == len(masks) else None

    def _aligned(self, inputs: Any) -> list[NDArray[Any]]:
        arrays = self._arrays(inputs)
        ndim = max(array.ndim for array in arrays)
        return [_expanded(array, ndim) for array in arrays]


class Linear(Elementwise):
    """Base of those that are linear in their inputs: to their gradients only shapes matter."""

    def _merged(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        """The output, of inputs of one rank."""
        raise NotImplementedError

    def _parts(self, upstream: NDArray[Any], count: int) -> list[NDArray[Any]]:
        """The gradients of the inputs before they were broadcast; they may be views of each other."""
        raise NotImplementedError

    def call(self, inputs: Any) -> NDArray[Any]:
        """The merged inputs."""
        return self._merged(self._aligned(inputs))

    def remember(self, inputs: Any, outputs: NDArray[Any]) -> Any:
        """The shapes of the inputs."""
        return [np.shape(each) for each in inputs]

    def backpropagate(self, remembered: Any, upstream: NDArray[Any]) -> list[NDArray[Any]]:
        """One gradient for each input; they may share memory, and are then read-only."""
        parts = self._parts(widened(upstream)[0], len(remembered))
        return [_summed_back(part, shape) for part, shape in zip(parts, remembered)]


class Add(Linear):
    """The sum of the inputs.

    Parameters
    ----------
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        When called, unless the inputs are a list of arrays of one batch that can be broadcast together.

    Notes
    -----
    Axes of length 1 are broadcast. Inputs of fewer axes get some of length 1 behind the batch: ``(batch, 4)``
    goes with ``(batch, 3, 4)``.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Add()
    >>> layer([np.ones((1, 2, 3), np.float32), np.arange(3, dtype=np.float32)[None]], training=True)
    array([[[1., 2., 3.],
            [1., 2., 3.]]], dtype=float32)
    >>> layer.backward(np.ones((1, 2, 3), np.float32))[1]
    array([[2., 2., 2.]], dtype=float32)
    """

    def _merged(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        return functools.reduce(np.add, arrays)

    def _parts(self, upstream: NDArray[Any], count: int) -> list[NDArray[Any]]:
        return [np.broadcast_to(upstream, upstream.shape)] * count  # a view that cannot be written to


class Subtract(Linear):
    """The first of two inputs minus the second; broadcast as by `Add`.

    Parameters
    ----------
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        When called, as for `Add`, and unless there are two.

    Examples
    --------
    >>> import numpy as np
    >>> Subtract()([np.array([[5, 7]]), np.array([[1, 2]])])
    array([[4, 5]])
    """

    _takes = 2

    def _merged(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        return np.subtract(*arrays)

    def _parts(self, upstream: NDArray[Any], count: int) -> list[NDArray[Any]]:
        return [upstream, -upstream]


class Average(Linear):
    """The mean of the inputs; broadcast as by `Add`. That of integers is of the layer's compute dtype.

    Parameters
    ----------
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        When called, as for `Add`.

    Examples
    --------
    >>> import numpy as np
    >>> Average()([np.array([[1.0, 4.0]]), np.array([[2.0, 2.0]])])
    array([[1.5, 3. ]], dtype=float32)
    """

    def _merged(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        dtype = arrays[0].dtype
        if dtype.kind in "biu":
            dtype = array_dtype(self.compute_dtype)
        return (functools.reduce(np.add, arrays) / len(arrays)).astype(dtype, copy=False)

    def _parts(self, upstream: NDArray[Any], count: int) -> list[NDArray[Any]]:
        share = upstream / count
        return [np.broadcast_to(share, share.shape)] * count


class Masked(Elementwise):
    """Base of the elementwise layers in which only what counts is merged."""

    def call(self, inputs: Any, mask: Any = None) -> NDArray[Any]:
        """The merged inputs.

        Parameters
        ----------
        inputs : list of array_like
        mask : list of ndarray of bool or None, optional
            For each input, without its last axis: True where it counts.
        """
        arrays = self._aligned(inputs)
        return self._merged_where(arrays, self._masks_of_numbers(inputs, arrays, mask))

    def _masks_of_numbers(
        self, inputs: Sequence[Any], arrays: list[NDArray[Any]], mask: Any
    ) -> list[Mask | None]:
        """The masks, for each number of an input; as in Keras, one that was given axes has lost its own."""
        masks = self._masks(inputs, mask)
        return [
            None if mask is None or np.ndim(given) != array.ndim else _for_numbers(mask, array.shape)
            for mask, given, array in zip(masks, inputs, arrays)
        ]

    def _merged_where(self, arrays: list[NDArray[Any]], masks: list[Mask | None]) -> NDArray[Any]:
        raise NotImplementedError

    def _parts_where(
        self, arrays: list[NDArray[Any]], masks: list[Mask | None], upstream: NDArray[Any]
    ) -> list[NDArray[Any]]:
        raise NotImplementedError

    def remember(self, inputs: Any, outputs: NDArray[Any], *, mask: Any = None) -> Any:
        """The inputs and their masks."""
        return inputs, None if mask is None else [None if m is None else np.array(m, bool) for m in mask]

    def backpropagate(self, remembered: Any, upstream: NDArray[Any]) -> list[NDArray[Any]]:
        """One gradient for each input: nothing for what did not count."""
        inputs, mask = remembered
        arrays = self._aligned(inputs)
        parts = self._parts_where(arrays, self._masks_of_numbers(inputs, arrays, mask), widened(upstream)[0])
        return [_summed_back(part, np.shape(given)) for part, given in zip(parts, inputs)]


class Multiply(Masked):
    """The product of the inputs; broadcast as by `Add`.

    Parameters
    ----------
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        When called, as for `Add`, and for masks that do not fit the inputs.

    Notes
    -----
    With ``mask=[...]`` in the call an input counts as 1 where its mask says no; where that of every input
    does the output is 0. These are Keras 3's rules.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.array([[2.0], [3.0]]), np.array([[4.0], [5.0]])
    >>> Multiply()([x, y], mask=[None, np.array([True, False])])
    array([[8.],
           [3.]], dtype=float32)
    """

    def _merged_where(self, arrays: list[NDArray[Any]], masks: list[Mask | None]) -> NDArray[Any]:
        product = functools.reduce(np.multiply, map(_or_one, arrays, masks))
        counted = [mask for mask in masks if mask is not None]
        if len(counted) < len(masks):
            return product
        return np.where(functools.reduce(np.logical_or, counted), product, np.zeros((), product.dtype))

    def _parts_where(
        self, arrays: list[NDArray[Any]], masks: list[Mask | None], upstream: NDArray[Any]
    ) -> list[NDArray[Any]]:
        factors = [_or_one(array, mask).astype(upstream.dtype) for array, mask in zip(arrays, masks)]
        before = [None, *itertools.accumulate(factors[:-1], np.multiply)]  # not by division: some may be 0
        parts, after = [], upstream
        for factor, product, mask in zip(factors[::-1], before[::-1], masks[::-1]):
            part = after if product is None else after * product
            parts.append(part if mask is None else np.where(mask, part, np.zeros((), part.dtype)))
            after = after * factor
        return parts[::-1]


class _Step(NamedTuple):
    """What an extremum made of what it had and one more input."""

    seen: Mask | None  # where anything before counts
    mask: Mask | None  # where the input does
    before: NDArray[Any]
    other: NDArray[Any]
    result: NDArray[Any]


class Extremum(Masked):
    """Base of Maximum and Minimum: input after input; where one does not count, the other is taken."""

    _of_two: ClassVar[Callable[..., NDArray[Any]]]

    def _steps(self, arrays: list[NDArray[Any]], masks: list[Mask | None]) -> Iterator[_Step]:
        result, seen = arrays[0], masks[0]
        for array, mask in zip(arrays[1:], masks[1:]):
            other = array if mask is None else np.where(mask, array, result)
            before = result if seen is None else np.where(seen, result, other)
            result = self._of_two(before, other)
            yield _Step(seen, mask, before, other, result)
            seen = None if seen is None or mask is None else seen | mask

    def _merged_where(self, arrays: list[NDArray[Any]], masks: list[Mask | None]) -> NDArray[Any]:
        result = arrays[0]
        for step in self._steps(arrays, masks):
            result = step.result
        return result

    def _parts_where(
        self, arrays: list[NDArray[Any]], masks: list[Mask | None], upstream: NDArray[Any]
    ) -> list[NDArray[Any]]:
        parts = []
        for step in reversed(list(self._steps(arrays, masks))):
            first, second = step.before == step.result, step.other == step.result
            half = np.where(first & second, upstream / 2, upstream)  # a tie: each has half of it
            of_before, of_other = np.where(first, half, 0), np.where(second, half, 0)
            if step.seen is not None:  # backwards through what chose `before`
                of_other = of_other + np.where(step.seen, 0, of_before)
                of_before = np.where(step.seen, of_before, 0)
            if step.mask is not None:  # and `other`
                of_before = of_before + np.where(step.mask, 0, of_other)
                of_other = np.where(step.mask, of_other, 0)
            parts.append(of_other)
            upstream = of_before
        return [upstream, *parts[::-1]]


class Maximum(Extremum):
    """The largest of the inputs, number by number; broadcast as by `Add`.

    Parameters
    ----------
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        When called, as for `Add`, and for masks that do not fit the inputs.

    Notes
    -----
    With ``mask=[...]`` in the call only what counts is compared, by Keras 3's rules. Inputs that tie share
    the gradient, as in Keras on JAX: two have half each; a third takes half, and those before share the rest.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Maximum()
    >>> layer([np.array([[1.0, 5.0]]), np.array([[3.0, 5.0]])], training=True)
    array([[3., 5.]], dtype=float32)
    >>> layer.backward(np.ones((1, 2), np.float32))
    [array([[0. , 0.5]], dtype=float32), array([[1. , 0.5]], dtype=float32)]
    """

    _of_two = np.maximum


class Minimum(Extremum):
    """The smallest of the inputs, number by number; otherwise as `Maximum`.

    Parameters
    ----------
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        When called, as for `Maximum`.

    Examples
    --------
    >>> import numpy as np
    >>> Minimum()([np.array([[1, 5]]), np.array([[3, 2]])])
    array([[1, 2]])
    """

    _of_two = np.minimum


class Concatenate(Merging):
    """The inputs one after the other along an axis.

    Parameters
    ----------
    axis : int, default -1
    **kwargs
        As for `Layer`.

    Raises
    ------
    ValueError
        When called, unless the inputs are a list of arrays whose shapes differ in that axis only.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Concatenate()
    >>> layer([np.ones((1, 2), np.float32), np.zeros((1, 1), np.float32)], training=True)
    array([[1., 1., 0.]], dtype=float32)
    >>> layer.backward(np.arange(3, dtype=np.float32)[None])
    [array([[0., 1.]], dtype=float32), array([[2.]], dtype=float32)]
    """

    @eras.any_era
    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = operator.index(axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The first input's shape, with the lengths of all along the axis.

        Raises
        ------
        ValueError
            If the other axes differ.
        """
        shapes = self._shapes(input_shape)
        ndim = len(shapes[0])
        if all(len(shape) == ndim for shape in shapes) and -ndim <= self.axis < ndim:
            others = [[n for n in lengths if n is not None] for lengths in zip(*shapes)]
            lengths = [shape[self.axis] for shape in shapes]
            del others[self.axis]
            if all(len(set(other)) <= 1 for other in others):
                output_shape = list(shapes[0])
                output_shape[self.axis] = None if None in lengths else sum(lengths)
                return tuple(output_shape)
        raise ValueError(
            "A `Concatenate` layer requires inputs with matching shapes except for the concatenation axis. "
            f"Received: input_shape={shapes}, axis={self.axis}"
        )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Mask | None:
        """The masks along the axis, where an input without one counts everywhere; None if none has one."""
        masks = self._masks(inputs, mask)
        if all(each is None for each in masks):
            return None
        whole: list[Mask] = []
        for shape, each in zip(map(np.shape, inputs), masks):
            if each is None:
                whole.append(np.ones(shape, bool))
            else:
                whole.append(_for_numbers(each, shape) if each.ndim < len(shape) else each)
        return np.asarray(np.concatenate(whole, axis=self.axis).any(axis=-1))

    def call(self, inputs: Any) -> NDArray[Any]:
        """The inputs one after the other."""
        return np.concatenate(self._arrays(inputs), axis=self.axis)

    def remember(self, inputs: Any, outputs: NDArray[Any]) -> list[int]:
        """Where the second input and those after it begin."""
        return list(itertools.accumulate(np.shape(each)[self.axis] for each in inputs))[:-1]

    def backpropagate(self, remembered: list[int], upstream: NDArray[Any]) -> list[NDArray[Any]]:
        """Each input's part of the gradient."""
        return np.split(widened(upstream)[0], remembered, axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return {**super().get_config(), **self._dialect.entries("Concatenate", {"axis": self.axis})}


class Dot(Merging):
    """Products of two inputs, summed along one axis of each, for each example.

    Parameters
    ----------
    axes : int or (int, int)
        The axis of each input that is summed along; not 0, which is the batch.
    normalize : bool, default False
        Whether vectors along these axes are first divided by their length, which gives their cosine.
    **kwargs
        As for `Layer`.

    Raises
    ------
    TypeError, ValueError
        For ``axes`` that are no integers. When called: unless there are two inputs of one batch, whose axes
        are there and of one length.

    Notes
    -----
    The output has the axes of the first input that are left, then those of the second; ``(batch, 1)`` where
    none is. Sums are made in float32 or wider. A vector shorter than `fastembed.backend.epsilon` is divided
    by that: one of zeros has the product 0, and a finite gradient.

    Examples
    --------
    >>> import numpy as np
    >>> users, films = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    >>> Dot(axes=1)([users, films]), Dot(axes=1, normalize=True)([users, films]).round(3)
    (array([[11.]], dtype=float32), array([[0.984]], dtype=float32))
    """

    _takes = 2

    @eras.any_era
    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(axes, np.integer):
            axes = int(axes)
        if not isinstance(axes, int):
            if not isinstance(axes, (list, tuple)):
                raise TypeError(
                    "Invalid type for argument `axes`: it should be a list or an int. "
                    f"Received: axes={axes!r:.80}"
                )
            if len(axes) != 2 or not all(isinstance(axis, (int, np.integer)) for axis in axes):
                raise ValueError(
                    "Invalid format for argument `axes`: it should contain two integers. "
                    f"Received: axes={axes!r:.80}"
                )
        self.axes = axes
        self.normalize = normalize

    def _axes_of(self, shapes: Sequence[tuple[Any, ...]]) -> list[int]:
        """The axis of each input, counted from the left."""
        axes = [self.axes] * 2 if isinstance(self.axes, int) else self.axes
        found = [axis + len(shape) if axis < 0 else axis for axis, shape in zip(axes, shapes)]
        if not all(0 < axis < len(shape) for axis, shape in zip(found, shapes)):
            raise ValueError(
                f"`Dot` sums along an axis of each input that is not the batch: axes={self.axes} are not "
                f"such axes of inputs of shapes {shapes[0]} and {shapes[1]}"
            )
        return found

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``(batch, ...)``: the axes that are left of the first input and of the second, or one of length 1.

        Raises
        ------
        ValueError
            If the axes are not there or not of one length, or the inputs not of one batch.
        """
        shapes = self._shapes(input_shape)
        axes = self._axes_of(shapes)
        for what, found in (("axis values", axes), ("batch sizes", [0, 0])):
            one, other = (shape[axis] for shape, axis in zip(shapes, found))
            if one != other and None not in (one, other):
                raise ValueError(
                    f"Incompatible input shapes: {what} {one} (at axis {found[0]}) != {other} "
                    f"(at axis {found[1]}). Full input shapes: {shapes[0]}, {shapes[1]}"
                )
        left = [n for shape, axis in zip(shapes, axes) for n in (*shape[1:axis], *shape[axis + 1 :])]
        return (shapes[0][0] if shapes[0][0] is not None else shapes[1][0], *(left or [1]))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: products have no mask."""

    def call(self, inputs: Any) -> NDArray[Any]:
        """The products."""
        arrays = self._arrays(inputs)
        shape, dtype = self.compute_output_shape([array.shape for array in arrays]), arrays[0].dtype
        if dtype.kind not in "biu":
            arrays = [widened(array)[0] for array in arrays]
        return np.matmul(*self._matrices(arrays)).reshape(shape).astype(dtype, copy=False)

    def _matrices(self, arrays: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """For each example a matrix ``(left, summed)`` and one ``(summed, left)``, normalised."""
        axes = self._axes_of([array.shape for array in arrays])
        if self.normalize:
            arrays = [array * _inverse_norms(array, axis) for array, axis in zip(arrays, axes)]
        one, other = np.moveaxis(arrays[0], axes[0], -1), np.moveaxis(arrays[1], axes[1], 1)
        batch, summed = other.shape[:2]
        return (
            one.reshape(batch, math.prod(one.shape[1:-1]), summed),
            other.reshape(batch, summed, math.prod(other.shape[2:])),
        )

    def remember(self, inputs: Any, outputs: NDArray[Any]) -> Any:
        """The inputs."""
        return inputs

    def backpropagate(self, remembered: Any, upstream: NDArray[Any]) -> list[NDArray[Any]]:
        """The gradients of both."""
        upstream = widened(upstream)[0]
        arrays = [as_array(each).astype(upstream.dtype, copy=False) for each in remembered]
        axes = self._axes_of([array.shape for array in arrays])
        one, other = self._matrices(arrays)
        products = upstream.reshape(len(one), one.shape[1], other.shape[2])
        gradients = []
        for array, axis, end, matrices in (
            (arrays[0], axes[0], -1, np.matmul(products, other.swapaxes(1, 2))),
            (arrays[1], axes[1], 1, np.matmul(one.swapaxes(1, 2), products)),
        ):
            moved = matrices.reshape(np.moveaxis(array, axis, end).shape)
            gradients.append(np.moveaxis(moved, end, axis))
        if not self.normalize:
            return gradients
        return [_through_norms(*each) for each in zip(gradients, arrays, axes)]

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {"axes": self.axes, "normalize": self.normalize}
        return {**super().get_config(), **self._dialect.entries("Dot", entries)}


# --- As functions ---------------------------------------------------------------------------------


def add(inputs: Sequence[Any], **kwargs: Any) -> NDArray[Any]:
    """``Add(**kwargs)(inputs)``.

    >>> add([np.array([[1, 2]]), np.array([[3, 4]])])
    array([[4, 6]])
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> NDArray[Any]:
    """``Subtract(**kwargs)(inputs)``.

    >>> subtract([np.array([[5, 7]]), np.array([[1, 2]])])
    array([[4, 5]])
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> NDArray[Any]:
    """``Multiply(**kwargs)(inputs)``.

    >>> multiply([np.array([[5, 7]]), np.array([[1, 2]])])
    array([[ 5, 14]])
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> NDArray[Any]:
    """``Average(**kwargs)(inputs)``.

    >>> average([np.array([[5, 7]]), np.array([[1, 2]])])
    array([[3. , 4.5]], dtype=float32)
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> NDArray[Any]:
    """``Maximum(**kwargs)(inputs)``.

    >>> maximum([np.array([[5, 1]]), np.array([[1, 2]])])
    array([[5, 2]])
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> NDArray[Any]:
    """``Minimum(**kwargs)(inputs)``.

    >>> minimum([np.array([[5, 1]]), np.array([[1, 2]])])
    array([[1, 1]])
    """
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> NDArray[Any]:
    """``Concatenate(axis, **kwargs)(inputs)``.

    >>> concatenate([np.array([[5, 7]]), np.array([[1]])])
    array([[5, 7, 1]])
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(
    inputs: Sequence[Any], axes: int | Sequence[int] = -1, normalize: bool = False, **kwargs: Any
) -> NDArray[Any]:
    """``Dot(axes, normalize, **kwargs)(inputs)``.

    >>> dot([np.array([[5, 7]]), np.array([[1, 2]])])
    array([[19]])
    """
    return Dot(axes=axes, normalize=normalize, **kwargs)(inputs)


# --- Keras 1 --------------------------------------------------------------------------------------


def Merge(
    layers: Sequence[Any] | None = None,
    mode: str = "sum",
    concat_axis: int = -1,
    dot_axes: int | Sequence[int] = -1,
    **kwargs: Any,
) -> Merging:
    """Keras 1's name for the layers of several inputs: the one that ``mode`` means.

    Parameters
    ----------
    layers : None
        Keras 1 took the layers before it; here it is called on a list of their outputs.
    mode : {"sum", "mul", "concat", "ave", "dot", "cos", "max"}
        `Add`, `Multiply`, `Concatenate`, `Average`, `Dot`, `Dot` with ``normalize=True``, `Maximum`.
    concat_axis : int, default -1
    dot_axes : int or (int, int), default -1
    **kwargs
        As for `Layer`; what Keras 1's configs say besides must be None.

    Raises
    ------
    ValueError
        For another mode (a function is what `Lambda` is for), and if ``layers`` are given.

    Notes
    -----
    The layer and its config are those of the class. With "cos" Keras 1 had one more axis of length 1.

    Examples
    --------
    >>> Merge(mode="concat", concat_axis=1).get_config()["axis"]
    1
    """
    settings: dict[str, Any] = {}
    if layers:
        raise ValueError(
            "Merge here takes no layers: call it on a list of their outputs, "
            f"Merge(mode={mode!r})([left_outputs, right_outputs])"
        )
    if not isinstance(mode, str) or mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, _MODES))}, got {mode!r:.80}")
    if mode == "concat":
        settings = {"axis": concat_axis}
    elif mode in ("dot", "cos"):
        settings = {"axes": dot_axes, "normalize": mode == "cos"}
    for entry in _OF_FUNCTIONS:
        if kwargs.get(entry) in (None, {}, "raw"):
            kwargs.pop(entry, None)
    return _MODES[mode](**settings, **kwargs)


_MODES: dict[str, type[Any]] = {
    "sum": Add, "mul": Multiply, "concat": Concatenate, "ave": Average, "dot": Dot, "cos": Dot,
    "max": Maximum,
}  # fmt: skip
# Entries of Keras 1's configs that say something where the mode is a function.
_OF_FUNCTIONS = (
    "arguments", "mode_type", "node_indices", "output_mask", "output_mask_type", "output_shape",
    "output_shape_type", "tensor_indices",
)  # fmt: skip


def merge(inputs: Sequence[Any], mode: str = "sum", **kwargs: Any) -> NDArray[Any]:
    """``Merge(mode=mode, **kwargs)(inputs)``.

    >>> merge([np.array([[5, 7]]), np.array([[1, 2]])], mode="concat")
    array([[5, 7, 1, 2]])
    """
    return Merge(mode=mode, **kwargs)(inputs)


# --- Shapes and masks -----------------------------------------------------------------------------


def _broadcast(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shape of what is broadcast together, without the batch; None where a length is open."""
    lengths = []
    for a, b in itertools.zip_longest(reversed(one), reversed(other), fillvalue=1):
        if a is not None and b is not None and 1 not in (a, b) and a != b:
            raise ValueError(
                f"Inputs have incompatible shapes. Received shapes {one} and {other}, without the batch"
            )
        lengths.append(None if a is None or b is None else b if a == 1 else a)
    return tuple(reversed(lengths))


def _expanded(array: NDArray[Any], ndim: int) -> NDArray[Any]:
    """``array`` with axes of length 1 behind the first."""
    return array.reshape(array.shape[:1] + (1,) * (ndim - array.ndim) + array.shape[1:])


def _summed_back(gradient: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The gradient of an input of this shape, from that of what it was broadcast to."""
    expanded = shape[:1] + (1,) * (gradient.ndim - len(shape)) + shape[1:]
    axes = tuple(i for i, (own, n) in enumerate(zip(expanded, gradient.shape)) if own != n)
    return (gradient.sum(axis=axes, keepdims=True) if axes else gradient).reshape(shape)


def _for_numbers(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask of vectors, for each of their numbers."""
    try:
        return np.broadcast_to(mask[..., np.newaxis], shape)
    except ValueError:
        raise ValueError(
            f"a mask of shape {mask.shape} does not fit an input of shape {shape}: it needs the input's axes "
            f"but the last, {shape[:-1]}"
        ) from None


def _or_one(array: NDArray[Any], mask: Mask | None) -> NDArray[Any]:
    return array if mask is None else np.where(mask, array, np.ones((), array.dtype))


# --- Lengths of vectors ---------------------------------------------------------------------------


def _inverse_norms(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """One over the length of each vector, at most 1 / epsilon: keras.ops.normalize."""
    with np.errstate(divide="ignore"):
        inverse = 1 / np.sqrt(np.square(array).sum(axis=axis, keepdims=True))
    return np.minimum(inverse, np.asarray(1 / epsilon(), inverse.dtype))


def _through_norms(gradient: NDArray[Any], array: NDArray[Any], axis: int) -> NDArray[Any]:
    """The gradient of an array from that of its vectors, each divided by its length."""
    inverse = _inverse_norms(array, axis)
    unit = array * inverse
    along = (gradient * unit).sum(axis=axis, keepdims=True)
    # A length below epsilon counts as epsilon, whatever the vector: no part of the gradient is along it.
    along = np.where(inverse < 1 / epsilon(), along, np.zeros((), along.dtype))
    return inverse * (gradient - unit * along)

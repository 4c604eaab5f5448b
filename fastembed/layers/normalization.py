"""Activations with a mean of 0 and a variance of 1: of each feature in a batch, or of each example."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed import constraints, eras, regularizers
from fastembed._floats import for_loops, widened
from fastembed._pooling import sum_steps
from fastembed.dtypes import array_dtype, epsilon
from fastembed.layers.input_spec import InputSpec
from fastembed.layers.layer import Layer, Shape
from fastembed.ops import as_array
from fastembed.variable import Variable, swap, unchanging

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class _Normalization(Layer):
    """Base: the learned factor ``gamma`` and offset ``beta``, either of which may be left out.

    What is normalised is seen as a matrix, whose columns are the places along the axes that gamma and beta
    have.
    """

    supports_masking = True
    axis: Any
    gamma: Variable | None = None
    beta: Variable | None = None

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        beta_constraint: Any,
        gamma_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = self._era.initializer(beta_initializer)
        self.gamma_initializer = self._era.initializer(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def _make_gamma_and_beta(self, shape: tuple[int, ...], scale: bool, center: bool) -> None:
        if scale:
            self.gamma = self.add_weight(
                name="gamma",
                shape=shape,
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
            )
        if center:
            self.beta = self.add_weight(
                name="beta",
                shape=shape,
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
            )

    @property
    def _axes(self) -> list[int]:
        """Those that gamma and beta have, as they were given."""
        return self.axis if isinstance(self.axis, list) else [self.axis]

    def _lengths(self, input_shape: Shape) -> tuple[int, ...]:
        """Of these axes."""
        shape, axes = tuple(input_shape), self._axes
        if outside := _outside(axes, shape):
            raise IndexError(
                f"inputs of shape {shape} have no axis {outside[0]}, as {self!r} wants to have it"
            )
        if len({axis % len(shape) for axis in axes}) < len(axes):
            raise ValueError(f"{self!r} cannot have an axis of inputs of shape {shape} twice: axis={axes}")
        lengths = tuple(shape[axis] for axis in axes)
        if None in lengths:
            raise ValueError(
                f"{self!r} has a weight for each place along axis {axes[lengths.index(None)]} of its inputs: "
                f"how many there are must be known, got shape {shape}"
            )
        return lengths

    def _matrix(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array of the inputs' shape as a matrix."""
        axes = sorted(axis % array.ndim for axis in self._axes)
        moved = np.moveaxis(array, axes, range(-len(axes), 0))
        rows, columns = moved.shape[: -len(axes)], moved.shape[-len(axes) :]
        return moved.reshape(math.prod(rows), math.prod(columns))

    def _array(self, matrix: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Such a matrix as an array of the inputs' shape."""
        axes = sorted(axis % len(shape) for axis in self._axes)
        others = [axis for axis in range(len(shape)) if axis not in axes]
        moved = matrix.reshape([shape[axis] for axis in (*others, *axes)])
        return np.moveaxis(moved, range(-len(axes), 0), axes)

    def _scaled(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Times gamma, if there is one."""
        return matrix if self.gamma is None else matrix * _row_of(self.gamma, matrix)

    def _shifted(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Plus beta, if there is one."""
        return matrix if self.beta is None else matrix + _row_of(self.beta, matrix)

    def _learn(self, scaled: NDArray[Any], upstream: NDArray[Any]) -> None:
        """Add the gradients of gamma, by which ``scaled`` was multiplied, and beta, unless frozen."""
        if self.gamma is not None and self.gamma.trainable:
            self.gamma.add_gradient(_sums(upstream * scaled).reshape(self.gamma.shape))
        if self.beta is not None and self.beta.trainable:
            self.beta.add_gradient(_sums(upstream).reshape(self.beta.shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's shape."""
        if outside := _outside(self._axes, input_shape):
            raise ValueError(
                f"Axis {outside[0]} is out of bounds for input shape {input_shape}. "
                f"Received: axis={self.axis}"
            )
        return input_shape

    def _entries(self) -> dict[str, Any]:
        """The entries of the config that both classes have."""
        return {
            "axis": [*self.axis] if isinstance(self.axis, list) else self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": self.beta_initializer,
            "gamma_initializer": self.gamma_initializer,
            "beta_regularizer": self.beta_regularizer,
            "gamma_regularizer": self.gamma_regularizer,
            "beta_constraint": self.beta_constraint,
            "gamma_constraint": self.gamma_constraint,
        }


def _outside(axes: Sequence[int], shape: Sequence[Any]) -> list[int]:
    """Those that inputs of this shape have not."""
    return [axis for axis in axes if not -len(shape) <= axis < len(shape)]


def _row_of(variable: Variable, matrix: NDArray[Any]) -> NDArray[Any]:
    """The values of a weight, one for each column of a matrix, in its dtype."""
    values = variable.value.reshape(-1).astype(matrix.dtype, copy=False)
    if len(values) != matrix.shape[1]:
        raise ValueError(
            f"inputs with {matrix.shape[1]} places were given for the {len(values)} of {variable}"
        )
    return values


def _sums(matrix: NDArray[Any]) -> NDArray[Any]:
    """The sum of each column."""
    return sum_steps(for_loops(matrix)[0][np.newaxis])[0]


# --- Of each feature in a batch -------------------------------------------------------------------


@dataclass
class _Statistics:
    """What the numbers of a call were normalised with, a number for each feature: moving averages."""

    mean: NDArray[Any]
    factor: NDArray[Any]  # 1 / sqrt(variance + epsilon)

    def normalized(self, rows: NDArray[Any]) -> NDArray[Any]:
        return (rows - self.mean) * self.factor

    def corrected(self, normalized: NDArray[Any]) -> NDArray[Any]:
        """What gamma is multiplied with."""
        return normalized

    def uncorrected(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """The gradient of what `corrected` gave, as that of what it was given."""
        return gradient

    def of_rows(self, gradient: NDArray[Any], normalized: NDArray[Any]) -> NDArray[Any]:
        """The gradient of what `normalized` gave, as that of the rows."""
        return gradient * self.factor


@dataclass
class _OfBatch(_Statistics):
    """The batch's own, so that each number that counts has a part in them.

    With w the places that count, N = sum(w) + excess, mean = sum(w x) / N, and
    variance = sum(w (x - mean)^2) / N, so that sum(w (x - mean)) = excess mean.
    """

    counts: NDArray[np.bool_] | None  # w, of one column where all are the same; None: all count
    total: NDArray[Any]  # N
    excess: NDArray[Any]

    def of_rows(self, gradient: NDArray[Any], normalized: NDArray[Any]) -> NDArray[Any]:
        by_mean = _sums(gradient) / self.total
        by_variance = _sums(gradient * normalized) / self.total
        share = by_mean - by_variance * self.factor * self.mean * self.excess / self.total
        shares = share + normalized * by_variance
        if self.counts is not None:
            shares = np.where(self.counts, shares, 0)
        return (gradient - shares) * self.factor


@dataclass
class _Renormalized(_OfBatch):
    """The batch's, moved to where moving averages would be: by r and d, which no gradient passes."""

    r: NDArray[Any]
    d: NDArray[Any]

    def corrected(self, normalized: NDArray[Any]) -> NDArray[Any]:
        return normalized * self.r + self.d

    def uncorrected(self, gradient: NDArray[Any]) -> NDArray[Any]:
        return gradient * self.r


class BatchNormalization(_Normalization):
    """Each feature with a mean of 0 and a variance of 1 in the batch, then times ``gamma``, plus ``beta``.

    With ``training=True`` mean and variance are those of the batch, and moving averages follow them.
    Otherwise, and always while ``trainable`` is False, the moving averages are taken.

    Parameters
    ----------
    axis : int, default -1
        That of the features.
    momentum : float, default 0.99
        The share of a moving average that each batch leaves as it is.
    epsilon : float, default 0.001
        Added to the variance.
    center, scale : bool, default True
        Whether there is a beta, a gamma.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer : optional
        Default: zeros, ones, zeros, ones.
    beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint : optional
    renorm : bool, default False
        Whether to renormalise: while training, too, results are those that moving averages would give.
    renorm_clipping : dict, optional
        Bounds of that correction: ``"rmin"`` and ``"rmax"`` of its factor, ``"dmax"`` of its offset.
    renorm_momentum : float, default 0.99
        The ``momentum`` of the averages by which it corrects.
    synchronized : bool, default False
        Must be False: there are no other devices to share statistics with.
    **kwargs
        As for `Layer`. Keras 1's ``mode`` may be 0; its ``beta_init`` and ``gamma_init`` are understood.

    Raises
    ------
    ValueError
        For arguments that contradict these; when called, for a mask that has not one axis less than the
        inputs, or to train on a batch without examples, whose mean would be NaN and stay.

    Notes
    -----
    With n the numbers of a feature in the batch (a mask leaves those out at whose place it is False; they
    are normalised all the same)::

        mean = sum(x) / n    variance = sum((x - mean)^2) / n
        y = gamma (x - mean) / sqrt(variance + epsilon) + beta
        moving_mean = momentum moving_mean + (1 - momentum) mean, and so the variance

    (Ioffe and Szegedy, 2015, arXiv:1502.03167). As in Keras 3, n is larger by 1e-7 where there is a mask.
    Sums are made in float64; half-width floats are computed with in float32. Renormalising (Ioffe, 2017,
    arXiv:1702.03275) gives ``gamma (r (x - mean) / sqrt(...) + d) + beta``, where r and d are constants to
    the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> layer = BatchNormalization(momentum=0.5, epsilon=0)
    >>> layer(np.array([[1.0, 10.0], [3.0, 50.0]]), training=True)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    >>> layer.moving_mean.numpy()
    array([ 1., 15.], dtype=float32)
    """

    moving_mean: Variable | None = None
    moving_variance: Variable | None = None
    moving_stddev: Variable
    renorm_mean: Variable
    renorm_stddev: Variable

    @eras.any_era
    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        _check_of_earlier(kwargs)
        if synchronized:
            raise ValueError(
                "synchronized=True shares a batch's statistics among devices, of which there is one here: "
                "leave it out (Keras has it on TensorFlow only)"
            )
        super().__init__(
            float(epsilon), center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint, **kwargs,
        )  # fmt: skip
        if isinstance(axis, (list, tuple)) and len(axis) == 1:
            [axis] = axis  # as tf.keras writes it
        self.axis = int(axis)  # type: ignore[arg-type]  # which says what it does not take
        self.momentum = float(momentum)
        self.moving_mean_initializer = self._era.initializer(moving_mean_initializer)
        self.moving_variance_initializer = self._era.initializer(moving_variance_initializer)
        self.renorm = renorm
        self.renorm_clipping = _checked_clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.synchronized = synchronized

    def build(self, input_shape: Shape) -> None:
        """Make gamma, beta and the moving averages."""
        shape = self._lengths(input_shape)
        self._make_gamma_and_beta(shape, self.scale, self.center)
        mean = self._make_average("moving_mean", shape, self.moving_mean_initializer)
        variance = self._make_average("moving_variance", shape, self.moving_variance_initializer)
        if self.renorm:
            deviation = np.sqrt(variance.value)
            self._make_average("moving_stddev", shape, lambda *_, **__: deviation)
            self._make_average("renorm_mean", shape, lambda *_, **__: mean.value)
            self._make_average("renorm_stddev", shape, lambda *_, **__: deviation)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: shape[0]})
        self.built = True

    def _make_average(self, name: str, shape: tuple[int, ...], initializer: Any) -> Variable:
        average = self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)
        setattr(self, name, average)
        return average

    def call(
        self, inputs: NDArray[Any], training: bool | None = None, mask: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Outputs of the inputs' shape; ``mask`` has the same without its last axis."""
        inputs = as_array(inputs)
        rows, counts = self._matrix(widened(inputs)[0]), self._counts(mask, inputs.shape)
        statistics = self._of_batch(rows, counts) if training and self.trainable else self._of_averages(rows)
        if training:
            self._recorded.statistics = statistics  # for `remember`, in the same thread
        outputs = self._shifted(self._scaled(statistics.corrected(statistics.normalized(rows))))
        return self._array(outputs, inputs.shape).astype(array_dtype(self.compute_dtype), copy=False)

    def _counts(self, mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """The mask of inputs of a shape as a matrix; of one column where all would be the same."""
        if mask is None:
            return None
        array = as_array(mask).astype(bool, copy=False)
        if array.ndim != len(shape) - 1:
            raise ValueError(
                "The mask provided should be one dimension less than the inputs. Received: "
                f"mask.shape={array.shape}, inputs.shape={shape}"
            )
        if self.axis in (-1, len(shape) - 1):
            return np.array(np.broadcast_to(array, shape[:-1])).reshape(-1, 1)
        return np.array(self._matrix(np.broadcast_to(array[..., np.newaxis], shape)))

    def _of_averages(self, rows: NDArray[Any]) -> _Statistics:
        mean, variance = (_row_of(getattr(self, name), rows) for name in ("moving_mean", "moving_variance"))
        return _Statistics(mean, 1 / np.sqrt(variance + self.epsilon))

    def _of_batch(self, rows: NDArray[Any], counts: NDArray[np.bool_] | None) -> _OfBatch:
        """The statistics of a batch. The moving averages follow them."""
        if not len(rows):
            raise ValueError(
                f"{self!r} was given a batch without examples to train on: it has no mean to keep"
            )
        if counts is None:
            total, excess = np.asarray(len(rows), rows.dtype), np.zeros((), rows.dtype)
            mean = _sums(rows) / total
            squares = np.square(rows - mean)
        else:
            count = np.count_nonzero(counts, axis=0).astype(rows.dtype)
            total = count + np.asarray(epsilon(), rows.dtype)
            excess = total - count
            mean = _sums(np.where(counts, rows, 0)) / total
            squares = np.square(np.where(counts, rows - mean, 0))
        variance = _sums(squares) / total
        deviation = np.sqrt(variance + self.epsilon)
        with unchanging(self._non_trainable_weights):  # of two threads that train, both count
            if not self.renorm:
                self._keep(moving_mean=mean, moving_variance=variance)
                return _OfBatch(mean, 1 / deviation, counts, total, excess)
            r, d = self._correction(mean, deviation)
            self._keep(renorm_mean=mean, renorm_stddev=deviation, moving_mean=mean, moving_stddev=deviation)
            return _Renormalized(mean, 1 / deviation, counts, total, excess, r, d)

    def _keep(self, **batch: NDArray[Any]) -> None:
        """Let moving averages follow what a batch had."""
        changes = {}
        for name, value in batch.items():
            momentum = self.renorm_momentum if name.startswith("renorm_") else self.momentum
            before = getattr(self, name).value.astype(value.dtype, copy=False)
            changes[name] = before * momentum + value * (1 - momentum)
        if self.renorm:
            changes["moving_variance"] = np.maximum(changes["moving_stddev"] ** 2 - self.epsilon, 0)
        swap(
            [(getattr(self, name), getattr(self, name).memory_for(value)) for name, value in changes.items()]
        )

    def _correction(self, mean: NDArray[Any], deviation: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """r and d of a batch."""
        usual_mean = self.renorm_mean.value.astype(mean.dtype, copy=False)
        usual = self.renorm_stddev.value.astype(mean.dtype, copy=False)
        usual = np.maximum(usual, np.sqrt(np.asarray(self.epsilon, mean.dtype)))
        bounds = self.renorm_clipping or {}
        furthest = bounds.get("dmax")
        r = np.clip(deviation / usual, bounds.get("rmin", -np.inf), bounds.get("rmax", np.inf))
        d = (mean - usual_mean) / usual
        return r, d if furthest is None else np.clip(d, -furthest, furthest)

    def remember(self, inputs: NDArray[Any], outputs: NDArray[Any]) -> tuple[NDArray[Any], _Statistics]:
        """The inputs, and what they were normalised with."""
        return as_array(inputs), self._recorded.__dict__.pop("statistics")

    def backpropagate(
        self, remembered: tuple[NDArray[Any], _Statistics], upstream: NDArray[Any]
    ) -> NDArray[Any]:
        """Add the gradients of gamma and beta, unless frozen; return that of the input."""
        inputs, statistics = remembered
        rows, gradient = self._matrix(widened(inputs)[0]), self._matrix(widened(upstream)[0])
        dtype = gradient.dtype
        normalized = statistics.normalized(rows)
        self._learn(statistics.corrected(normalized), gradient)
        gradient = statistics.of_rows(statistics.uncorrected(self._scaled(gradient)), normalized)
        return self._array(gradient.astype(dtype, copy=False), inputs.shape)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {
            **self._entries(),
            "momentum": self.momentum,
            "moving_mean_initializer": self.moving_mean_initializer,
            "moving_variance_initializer": self.moving_variance_initializer,
            "renorm": self.renorm,
            "renorm_clipping": self.renorm_clipping,
            "renorm_momentum": self.renorm_momentum,
            "synchronized": self.synchronized,
        }
        return {**super().get_config(), **self._dialect.entries("BatchNormalization", entries)}


def _check_of_earlier(kwargs: dict[str, Any]) -> None:
    """Take out what Keras 1 and tf.keras have on top, if it says nothing."""
    mode = kwargs.pop("mode", 0)
    if mode != 0:
        raise ValueError(
            f"mode={mode!r:.80} of Keras 1 is gone: mode=1, each example by itself, is LayerNormalization; "
            "mode=2, the batch's own statistics always, is a call with training=True"
        )
    kwargs.pop("fused", None)  # how TensorFlow computes it
    for name in ("virtual_batch_size", "adjustment"):
        if kwargs.get(name) is None:
            kwargs.pop(name, None)


def _checked_clipping(bounds: Mapping[str, float] | None) -> dict[str, float]:
    bounds = dict(bounds or {})
    if bounds.keys() - {"rmax", "rmin", "dmax"}:
        raise ValueError(
            f"Received invalid keys for `renorm_clipping` argument: {bounds}. Supported are rmax, rmin, dmax"
        )
    if None not in (bounds.get("rmax"), bounds.get("rmin")) and bounds["rmax"] < bounds["rmin"]:
        raise ValueError(f"rmax should be greater than rmin in the `renorm_clipping` argument, got {bounds}")
    if bounds.get("dmax") is not None and bounds["dmax"] < 0:
        raise ValueError(f"dmax should be non-negative in the `renorm_clipping` argument, got {bounds}")
    return bounds


# --- Of each example ------------------------------------------------------------------------------


class LayerNormalization(_Normalization):
    """Each example with a mean of 0 and a variance of 1, then times ``gamma``, plus ``beta``.

    Parameters
    ----------
    axis : int or list of int, default -1
        The axes over which mean and variance are taken. gamma and beta have them, too.
    epsilon : float, default 0.001
        Added to the variance.
    center, scale : bool, default True
        Whether there is a beta, a gamma.
    beta_initializer, gamma_initializer : optional
        Default: zeros, ones.
    beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint : optional
    **kwargs
        As for `Layer`. With Keras 3's deprecated ``rms_scaling=True`` no mean is subtracted, and there is no
        beta (but it is still the variance by whose root is divided, not the mean square).

    Raises
    ------
    TypeError
        If ``axis`` is neither an int nor a list of them.
    IndexError, ValueError
        When built or called, for inputs that have not these axes, or other lengths of them.

    Notes
    -----
    ``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` (Ba, Kiros and Hinton, 2016, arXiv:1607.06450).
    Training and inference are the same. Half-width floats are computed with in float32.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNormalization(epsilon=0)(np.array([[1.0, 3.0], [10.0, 50.0]]))
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    @eras.any_era
    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        rms_scaling = kwargs.pop("rms_scaling", False)
        if rms_scaling:
            warnings.warn(
                "rms_scaling=True is deprecated in Keras 3: it divides by the root of the variance, not of "
                "the mean square, of which it has the name",
                stacklevel=3,
            )
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint, **kwargs,
        )  # fmt: skip
        self.autocast = False
        self.rms_scaling = rms_scaling
        try:
            if isinstance(axis, (list, tuple)):
                self.axis = [operator.index(each) for each in axis]
            else:
                self.axis = operator.index(axis)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(
                f"Expected an int or a list/tuple of ints for the argument 'axis', but received: {axis!r:.80}"
            ) from None

    def build(self, input_shape: Shape) -> None:
        """Make gamma and beta."""
        self.axis = sorted(self._axes)
        shape = self._lengths(input_shape)
        self._make_gamma_and_beta(shape, self.scale or self.rms_scaling, self.center and not self.rms_scaling)
        self.built = True

    def call(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Outputs of the inputs' shape, in the compute dtype."""
        inputs = as_array(inputs)
        wide, dtype = widened(inputs)
        _, scaled, _ = self._parts(self._matrix(wide))
        outputs = self._array(self._shifted(self._scaled(scaled)), inputs.shape)
        # Through the inputs' dtype, as in Keras.
        return outputs.astype(dtype, copy=False).astype(array_dtype(self.compute_dtype), copy=False)

    def _parts(self, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The examples normalised; what gamma is multiplied with; and what they were multiplied with."""
        count = max(1, rows.shape[1])
        centered = rows - rows.sum(axis=1, keepdims=True) / rows.dtype.type(count)
        variance = np.square(centered).sum(axis=1, keepdims=True) / rows.dtype.type(count)
        factor = 1 / np.sqrt(variance + rows.dtype.type(self.epsilon))
        normalized = centered * factor
        return normalized, rows * factor if self.rms_scaling else normalized, factor

    def remember(self, inputs: NDArray[Any], outputs: NDArray[Any]) -> NDArray[Any]:
        """The inputs."""
        return as_array(inputs)

    def backpropagate(self, remembered: NDArray[Any], upstream: NDArray[Any]) -> NDArray[Any]:
        """Add the gradients of gamma and beta, unless frozen; return that of the input."""
        rows, gradient = self._matrix(widened(remembered)[0]), self._matrix(widened(upstream)[0])
        dtype, count = gradient.dtype, max(1, rows.shape[1])
        normalized, scaled, factor = self._parts(rows)
        self._learn(scaled, gradient)
        gradient = self._scaled(gradient)
        through = normalized * ((gradient * scaled).sum(axis=1, keepdims=True) / count)
        if not self.rms_scaling:
            through += gradient.sum(axis=1, keepdims=True) / count
        gradient = (gradient - through) * factor
        return self._array(gradient.astype(dtype, copy=False), remembered.shape)

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        entries = {**self._entries(), "rms_scaling": self.rms_scaling}
        return {**super().get_config(), **self._dialect.entries("LayerNormalization", entries)}

"""How the values of a new variable are made: Keras's initializers.

Seeded values are those of Keras 3 on its numpy backend, bit for bit. Formulas and defaults:
keras/src/initializers/random_initializers.py and constant_initializers.py of Keras 3.15.

The lower-case names of Keras 1 and 2 (``glorot_uniform``, ``zeros``, ``uniform``) are the classes
themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import random
from fastembed._registry import (
    Configurable,
    NamedFunction,
    Registry,
    deserialize_keras_object,
    serialize_keras_object,
    subclasses_in,
)
from fastembed.dtypes import as_dtype
from fastembed.random import SeedGenerator, as_array_dtype, as_number, as_seed, as_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self


class Initializer(Configurable):
    """Base class: called with a shape, it returns an array of that shape.

    A subclass defines ``__call__(shape, dtype=None)`` and, if it has arguments, ``get_config()``.

    Examples
    --------
    >>> class Sevens(Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return np.full(shape, 7, dtype)
    >>> get(Sevens)((2,), "float32")
    array([7., 7.], dtype=float32)
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        """The initial values.

        Parameters
        ----------
        shape : sequence of int
        dtype : dtype_like, default `fastembed.backend.floatx`
            Floats, integers or bool. bfloat16, which NumPy lacks, makes float32 values: whoever stores them
            narrows them.

        Returns
        -------
        ndarray of shape ``shape``

        Raises
        ------
        ValueError
            If the initializer cannot make this shape, or nothing can have this dtype.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define __call__(shape, dtype=None)")

    def clone(self) -> Self:
        """A new initializer from this one's config. Without a seed it draws other values."""
        return self.from_config(self.get_config())


# --- Constants ---


class Zeros(Initializer):
    """All 0.

    Examples
    --------
    >>> Zeros()((2,))
    array([0., 0.], dtype=float32)
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        return np.zeros(as_shape(shape), as_array_dtype(dtype))


class Ones(Initializer):
    """All 1.

    Examples
    --------
    >>> Ones()((2,), "int32")
    array([1, 1], dtype=int32)
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        return np.ones(as_shape(shape), as_array_dtype(dtype))


class Constant(Initializer):
    """One value everywhere, or the given matrix.

    Parameters
    ----------
    value : number or array_like, default 0
        An array must broadcast to the shape asked for. ``Constant(matrix)`` is how Keras 2 programs hand a
        pretrained table to an Embedding.

    Examples
    --------
    >>> Constant(0.5)((2,))
    array([0.5, 0.5], dtype=float32)
    >>> Constant([[1, 2], [3, 4]])((2, 2))
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """

    def __init__(self, value: Any = 0.0) -> None:
        kind = np.asarray(value).dtype
        if kind.kind not in "biuf" and kind.name != "bfloat16":
            raise ValueError(
                f"the value of a Constant must be a number or an array of them, got {value!r:.200}"
            )
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        values = as_dtype(self.value, as_array_dtype(dtype).name)
        return np.broadcast_to(values, as_shape(shape)).copy()

    def get_config(self) -> dict[str, Any]:
        return {"value": serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        settings = {"value": 0.0, **config}  # absent in {"class_name": "constant"}, which Keras 3 refuses
        if isinstance(settings["value"], Mapping):
            settings["value"] = deserialize_keras_object(settings["value"])
        return cls(**settings)

    def __repr__(self) -> str:
        # NumPy abbreviates a table, its config does not.
        return f"{type(self).__name__}(value={self.value!r})"


class Identity(Initializer):
    """``gain`` on the diagonal of a matrix, 0 elsewhere.

    Parameters
    ----------
    gain : float, default 1.0
        Part of the config; Keras 3 forgets it there and rebuilds a gain of 1.

    Examples
    --------
    >>> Identity()((2, 3))
    array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = as_number("gain", gain)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        shape, dtype = as_shape(shape), as_array_dtype(dtype)
        if len(shape) != 2:
            raise ValueError(f"Identity makes matrices, of 2 dimensions; got shape {shape}")
        matrix: NDArray[Any] = self.gain * np.eye(*shape, dtype=dtype)
        return matrix.astype(dtype, copy=False)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class STFT(Initializer):
    """The kernel of a convolution that is a short-time Fourier transform.

    Value ``[t, 0, f]`` is the real or the imaginary part of ``exp(-2j * pi * t * f / length)``, where
    ``length = 2 * (frequencies - 1)``, times the window.

    Parameters
    ----------
    side : {"real", "imag"}
    window : str, array_like or None, default "hann"
        A window of scipy.signal by its name, which needs SciPy; the window itself; or none.
    scaling : {"density", "spectrum"} or None
        Divide by the window's L2 norm or by its L1 norm.
    periodic : bool, default False
        Passed to ``scipy.signal.get_window``.

    Raises
    ------
    ValueError
        For another side or scaling, or a window that SciPy does not know.

    Examples
    --------
    >>> STFT(window=None)((4, 1, 3)).round(3)[:, 0]
    array([[ 1.,  1.,  1.],
           [ 1., -0., -1.],
           [ 1., -1.,  1.],
           [ 1.,  0., -1.]], dtype=float32)
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        self.side = _one_of("side", side, {"real": np.cos, "imag": np.sin})
        self.scaling = scaling if scaling is None else _one_of("scaling", scaling, _LENGTH_OF_WINDOW)
        self.periodic = bool(periodic)
        self.window = window
        if isinstance(window, str):
            _window_of_scipy(window, 1, self.periodic)  # which knows its names

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        """A kernel of shape (time, 1, frequencies): see `STFT`."""
        shape, dtype = as_shape(shape), as_array_dtype(dtype)
        if len(shape) != 3 or shape[1] != 1 or shape[2] < 2:
            raise ValueError(
                f"STFT makes kernels of shape (time, 1, frequencies), with 2 frequencies or more; got {shape}"
            )
        time, _, frequencies = shape
        turns = np.arange(frequencies, dtype=dtype) / dtype.type(2 * (frequencies - 1))
        angles = (
            dtype.type(-2) * np.arange(time, dtype=dtype)[:, None, None] * turns * np.arccos(dtype.type(-1))
        )
        kernel: NDArray[Any] = (np.cos if self.side == "real" else np.sin)(angles)
        if self.window is None:
            return kernel
        window = self.window
        if isinstance(window, str):
            window = _window_of_scipy(window, time, self.periodic)
        window = np.asarray(window).astype(dtype)
        if window.shape != (time,):
            raise ValueError(
                f"the window of a kernel of shape {shape} must have shape ({time},), not {window.shape}"
            )
        kernel = kernel * window[:, None, None]
        return kernel / _LENGTH_OF_WINDOW[self.scaling](window) if self.scaling else kernel

    def get_config(self) -> dict[str, Any]:
        return {
            "side": self.side,
            "window": serialize_keras_object(self.window),
            "periodic": self.periodic,
            "scaling": self.scaling,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        settings = dict(config)
        if isinstance(settings.get("window"), Mapping):
            settings["window"] = deserialize_keras_object(settings["window"])
        return cls(**settings)


_LENGTH_OF_WINDOW: dict[str, Callable[[NDArray[Any]], Any]] = {
    "density": lambda window: np.sqrt(np.sum(np.square(window))),
    "spectrum": lambda window: np.sum(np.abs(window)),
}


def _window_of_scipy(name: str, size: int, periodic: bool) -> NDArray[Any]:
    try:
        from scipy.signal import get_window
    except ImportError:
        raise ImportError(
            f"the window {name!r:.200} is one of SciPy's, which is not installed (pip install scipy). Pass "
            "the window itself, or None"
        ) from None
    return get_window(name, size, periodic)


# --- Random values ---


class _Random(Initializer):
    """An initializer with a seed.

    Keras 3's rule: an initializer returns the same values each time it is called, unless its seed is a
    `SeedGenerator`. Without a seed it takes one from Python's ``random`` when it is made, so
    ``random.seed(...)`` makes a whole program repeatable.
    """

    def __init__(self, seed: int | SeedGenerator | None = None) -> None:
        given: Any = deserialize_keras_object(seed) if isinstance(seed, Mapping) else seed  # as in a config
        if given is not None and not isinstance(given, SeedGenerator):
            given = as_seed(given)
        self._given_seed = given
        self.seed = random.make_default_seed() if given is None else given

    def get_config(self) -> dict[str, Any]:
        return {"seed": serialize_keras_object(self._given_seed)}


class RandomUniform(_Random):
    """Uniform in ``[minval, maxval)``. This is Embedding's default, ``"uniform"``.

    Parameters
    ----------
    minval, maxval : float, default -0.05 and 0.05
    seed : int or SeedGenerator, optional
        Every call returns the same values, with or without a seed; with a generator other ones.

    Examples
    --------
    >>> RandomUniform(seed=1337)((2, 3))
    array([[ 0.03781019, -0.03144721,  0.04209005],
           [ 0.04465659,  0.03745081, -0.03842572]], dtype=float32)
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | SeedGenerator | None = None
    ) -> None:
        super().__init__(seed)
        self.minval = as_number("minval", minval)
        self.maxval = as_number("maxval", maxval)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        return random.uniform_numbers(shape, self.minval, self.maxval, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


class RandomNormal(_Random):
    """Normal with the given mean and standard deviation.

    Parameters
    ----------
    mean, stddev : float, default 0.0 and 0.05
    seed : int or SeedGenerator, optional
        Every call returns the same values, with or without a seed; with a generator other ones.

    Examples
    --------
    >>> RandomNormal(stddev=1.0, seed=0)((2,), "float64").round(4)
    array([ 0.1257, -0.1321])
    """

    _distribution = staticmethod(random.normal)

    def __init__(
        self, mean: float = 0.0, stddev: float = 0.05, seed: int | SeedGenerator | None = None
    ) -> None:
        super().__init__(seed)
        self.mean = as_number("mean", mean)
        self.stddev = as_number("stddev", stddev)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        return self._distribution(shape, self.mean, self.stddev, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomNormal):
    """Normal, with every value more than two standard deviations from the mean drawn again.

    Parameters
    ----------
    mean, stddev : float, default 0.0 and 0.05
        The standard deviation is that before truncation.
    seed : int or SeedGenerator, optional
        Every call returns the same values, with or without a seed; with a generator other ones.

    Examples
    --------
    >>> values = TruncatedNormal(stddev=1.0, seed=0)((1000,))
    >>> bool(abs(values).max() <= 2)
    True
    """

    _distribution = staticmethod(random.truncated_normal)


# The standard deviation of a standard normal that was truncated to [-2, 2]: Keras divides by it so that the
# variance asked for is that of the values which remain.
_TRUNCATED_STDDEV = 0.87962566103423978

# What draws values of a given variance around 0, for each `distribution` of VarianceScaling.
_OF_VARIANCE: dict[str, Callable[[Any, float, Any, Any], NDArray[Any]]] = {
    "truncated_normal": lambda shape, variance, dtype, seed: random.truncated_normal(
        shape, 0.0, math.sqrt(variance) / _TRUNCATED_STDDEV, dtype, seed
    ),
    "untruncated_normal": lambda shape, variance, dtype, seed: random.normal(
        shape, 0.0, math.sqrt(variance), dtype, seed
    ),
    "uniform": lambda shape, variance, dtype, seed: random.uniform_numbers(
        shape, -math.sqrt(3.0 * variance), math.sqrt(3.0 * variance), dtype, seed
    ),
}

_FAN: dict[str, Callable[[int, int], float]] = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2.0,
}


def compute_fans(
    shape: Sequence[int], input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """Inputs and outputs of one unit of a weight of this shape.

    A matrix of shape (rows, columns) has ``rows`` inputs and ``columns`` outputs, so an embedding table
    counts its vocabulary as inputs. In more dimensions the last two are these, and the others, a
    convolution's window, multiply both. Where both axes arguments are given, the products over those axes
    are taken instead.

    Examples
    --------
    >>> compute_fans((1000, 64)), compute_fans((3, 3, 8, 16)), compute_fans((5,)), compute_fans(())
    ((1000, 64), (72, 144), (5, 5), (1, 1))
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


class VarianceScaling(_Random):
    """Random values around 0 whose variance is ``scale / n``, where n depends on the shape.

    Parameters
    ----------
    scale : float > 0, default 1.0
    mode : {"fan_in", "fan_out", "fan_avg"}
        What n is: the inputs of one unit (see `compute_fans`), its outputs, or their mean; at least 1.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        Truncation is at two standard deviations. ``"normal"`` is Keras 2's name of ``"truncated_normal"``.
    seed : int or SeedGenerator, optional
        Every call returns the same values, with or without a seed; with a generator other ones.
    input_axes, output_axes : sequence of int, optional
        The axes that are multiplied for the inputs and for the outputs, instead of those of a convolution
        kernel.

    Examples
    --------
    >>> values = VarianceScaling(distribution="uniform", seed=0)((300, 10))
    >>> bool(abs(values).max() <= (3 / 300) ** 0.5)
    True
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | SeedGenerator | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale = as_number("scale", scale)
        if self.scale <= 0:
            raise ValueError(f"`scale` must be positive, got {scale!r}")
        distribution = str(distribution).lower()
        self.mode = _one_of("mode", mode, _FAN)
        self.distribution = _one_of(
            "distribution", "truncated_normal" if distribution == "normal" else distribution, _OF_VARIANCE
        )
        self.input_axes = input_axes
        self.output_axes = output_axes

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        shape = as_shape(shape)
        fan = _FAN[self.mode](*compute_fans(shape, self.input_axes, self.output_axes))
        return _OF_VARIANCE[self.distribution](shape, self.scale / max(1.0, fan), dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


def _one_of(name: str, value: Any, allowed: Mapping[str, Any]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, allowed))}; got {value!r:.200}")
    return value


class _NamedScaling(VarianceScaling):
    """A VarianceScaling whose scale, mode and distribution have a name of their own."""

    _scaling: tuple[float, str, str]

    def __init__(
        self,
        seed: int | SeedGenerator | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self._scaling, seed, input_axes, output_axes)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {key: config[key] for key in ("seed", "input_axes", "output_axes")}


class GlorotUniform(_NamedScaling):
    """Uniform in ±sqrt(6 / (fan_in + fan_out)): Glorot and Bengio 2010. The default of Dense.

    Examples
    --------
    >>> bool(abs(GlorotUniform(seed=0)((2, 4))).max() <= 1)
    True
    """

    _scaling = (1.0, "fan_avg", "uniform")


class GlorotNormal(_NamedScaling):
    """Truncated normal of standard deviation sqrt(2 / (fan_in + fan_out)): Glorot and Bengio 2010.

    Examples
    --------
    >>> f"{GlorotNormal(seed=0)((300, 300)).std():.3f}"
    '0.058'
    """

    _scaling = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_NamedScaling):
    """Uniform in ±sqrt(6 / fan_in): He et al. 2015.

    Examples
    --------
    >>> bool(abs(HeUniform(seed=0)((6, 4))).max() <= 1)
    True
    """

    _scaling = (2.0, "fan_in", "uniform")


class HeNormal(_NamedScaling):
    """Truncated normal of standard deviation sqrt(2 / fan_in): He et al. 2015.

    Examples
    --------
    >>> f"{HeNormal(seed=0)((200, 500)).std():.2f}"
    '0.10'
    """

    _scaling = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_NamedScaling):
    """Uniform in ±sqrt(3 / fan_in): LeCun et al. 1998.

    Examples
    --------
    >>> bool(abs(LecunUniform(seed=0)((3, 4))).max() <= 1)
    True
    """

    _scaling = (1.0, "fan_in", "uniform")


class LecunNormal(_NamedScaling):
    """Truncated normal of standard deviation sqrt(1 / fan_in): LeCun et al. 1998, Klambauer et al. 2017.

    Examples
    --------
    >>> f"{LecunNormal(seed=0)((100, 500)).std():.2f}"
    '0.10'
    """

    _scaling = (1.0, "fan_in", "truncated_normal")


class Orthogonal(_Random):
    """A random matrix whose rows or columns, whichever are fewer, are orthogonal and of length ``gain``.

    More than two dimensions are taken as a matrix whose columns are the last one. Q of the QR decomposition
    of a normal matrix, with the signs of R's diagonal: Saxe et al. 2014. Computed in float64 where
    that is asked for, which Keras 3 answers with float32; otherwise in float32.

    Parameters
    ----------
    gain : float, default 1.0
    seed : int or SeedGenerator, optional
        Every call returns the same values, with or without a seed; with a generator other ones.

    Examples
    --------
    >>> q = Orthogonal(seed=0)((5, 3))
    >>> bool(np.allclose(q.T @ q, np.eye(3), atol=1e-6))
    True
    """

    def __init__(self, gain: float = 1.0, seed: int | SeedGenerator | None = None) -> None:
        super().__init__(seed)
        self.gain = as_number("gain", gain)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        shape, dtype = as_shape(shape), as_array_dtype(dtype)
        if len(shape) < 2:
            raise ValueError(f"Orthogonal makes arrays of at least 2 dimensions; got shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        computed_in = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)
        tall = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(random.normal(tall, dtype=computed_in, seed=self.seed))
        q *= np.sign(np.diag(r))  # without this Q is not uniform over the orthogonal matrices
        made: NDArray[Any] = self.gain * (q.T if rows < columns else q).reshape(shape)
        return made.astype(dtype, copy=False)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": self.gain}


# --- Names ---

zeros = zero = Zeros
ones = one = Ones
constant = Constant
identity = IdentityInitializer = Identity
uniform = random_uniform = RandomUniform
normal = random_normal = RandomNormal
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
he_uniform = HeUniform
he_normal = HeNormal
lecun_uniform = LecunUniform
lecun_normal = LecunNormal
orthogonal = OrthogonalInitializer = Orthogonal
stft = STFTInitializer = STFT

_NAMES = subclasses_in(globals(), Initializer)
_registry = Registry(
    "initializer",
    # TensorFlow 2 exported each class under a second name as well, GlorotUniformV2 or glorot_uniformV2.
    {**_NAMES, **{f"{name}V2": cls for name, cls in _NAMES.items()}},
    # TensorFlow 1.13 to 2.0 wrote the dtype into every initializer's config; since then it comes with the
    # call.
    old_keys={"dtype": None},
)


def get(identifier: Any) -> Any:
    """The initializer that ``identifier`` means.

    Parameters
    ----------
    identifier : None, str, dict, class, ndarray or callable
        A name of any Keras era (case matters) or of something registered, a config of any era (see
        `deserialize`), a class to be made without arguments, the values themselves, or anything that is
        called with ``(shape, dtype=None)``.

    Returns
    -------
    callable or None
        None for None. For an ndarray, a function that checks the shape it is asked for and returns those
        values, read-only and without a copy where the dtype is theirs.

    Raises
    ------
    ValueError
        If there is no such initializer.

    Examples
    --------
    >>> get("uniform")
    RandomUniform(seed=None, minval=-0.05, maxval=0.05)
    >>> get({"class_name": "Constant", "config": {"value": 2}})
    Constant(value=2)
    >>> get(np.array([[1.0, 2.0]]))((1, 2), "float32")
    array([[1., 2.]], dtype=float32)
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        return _Values(np.asarray(identifier))
    return _registry.get(identifier)


def serialize(initializer: Any) -> Any:
    """The config of an initializer as Keras 3 writes it, ready for JSON.

    Raises
    ------
    TypeError
        For a lambda and for an object without ``get_config``: they cannot be written as data.

    Examples
    --------
    >>> serialize(Zeros())
    {'module': 'keras.initializers', 'class_name': 'Zeros', 'config': {}, 'registered_name': None}
    """
    return serialize_keras_object(initializer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The initializer that a config describes.

    Parameters
    ----------
    config : None, str or dict
        A name (Keras 1), ``{"class_name", "config"}`` (Keras 2), or these with ``"module"`` and
        ``"registered_name"`` (Keras 3). Nothing that it names is imported.
    custom_objects : mapping of str to class or function, optional
        Classes and functions of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If the class is unknown, belongs to a package other than Keras, or does not take these settings.

    Examples
    --------
    >>> deserialize({"class_name": "RandomUniform", "config": {"minval": 0, "seed": 3, "dtype": "float32"}})
    RandomUniform(seed=3, minval=0, maxval=0.05)
    """
    return _registry.deserialize(config, custom_objects)


class _Values(NamedFunction):
    """An array in the place of an initializer."""

    __name__ = "initialize_fn"  # as Keras calls it in configs

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> NDArray[Any]:
        if as_shape(shape) != self._values.shape:
            raise ValueError(
                f"the initial values have shape {self._values.shape}, but the variable needs {tuple(shape)}"
            )
        # A view, because tables are large; read-only, because it may be the caller's own array.
        made: NDArray[Any] = self._values.astype(as_array_dtype(dtype), copy=False).view()
        made.flags.writeable = False
        return made

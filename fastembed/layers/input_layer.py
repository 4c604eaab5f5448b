"""What a model is given: its shape and dtype, before there are numbers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from fastembed import eras
from fastembed.dtypes import floatx, standardize_dtype
from fastembed.layers.graph import KerasTensor, Node
from fastembed.layers.layer import Layer, Shape


class InputLayer(Layer):
    """The place in a model where data comes in; `Input` makes one.

    Parameters
    ----------
    shape : tuple of int or None, optional
        Of one example.
    batch_size : int, optional
    dtype : str, optional
        Default: `fastembed.backend.floatx`.
    sparse, ragged : bool, optional
        For programs that say False.
    batch_shape : tuple of int or None, optional
        Shape of a batch, in place of ``shape`` and ``batch_size``.
    optional : bool, default False
        Whether None may be given.
    name : str, optional

    Raises
    ------
    ValueError
        Without a shape, with two, or if it is none; for sparse and ragged inputs.
    """

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        shape = kwargs.pop("input_shape", shape)
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        dtype = kwargs.pop("input_dtype", dtype)
        if sparse or ragged or input_tensor is not None:
            raise ValueError(
                "Inputs are dense arrays here: sparse=True, ragged=True and tensors are not taken"
            )
        if batch_shape is None:
            if shape is None:
                raise ValueError("You must pass a `shape` argument.")
            batch_shape = (batch_size, *_as_shape(shape))
        elif shape is not None:
            raise ValueError("You cannot pass both `shape` and `batch_shape` at the same time.")
        elif batch_size is not None:
            raise ValueError("You cannot pass both `batch_size` and `batch_shape` at the same time.")
        if name is None:
            name = eras.current().input_name()
        super().__init__(name=name, **kwargs)
        self.batch_shape = _as_shape(batch_shape)
        self._dtype = floatx() if dtype is None else standardize_dtype(dtype)
        self.optional = optional
        self.built = True
        Node(self, (), {}, [KerasTensor(self.batch_shape, self._dtype, self.name)])

    @property
    def dtype(self) -> str:
        """That of the inputs."""
        return self._dtype

    def call(self, *_: Any) -> Any:
        """Always an error: data goes to the model."""
        raise RuntimeError(f"{self.name!r} is where a model's data comes in: call the model")

    def compute_output_shape(self, input_shape: Shape = None) -> Shape:
        """The shape of a batch."""
        return self.batch_shape

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)  # with its tensor, which leads to nothing else

    def get_config(self) -> dict[str, Any]:
        """What makes a layer like this one, as the Keras of the layer's era writes it."""
        return self._dialect.config_of_input(self)


def Input(*args: Any, **kwargs: Any) -> KerasTensor:
    """The input of a model that is made of calls.

    Parameters
    ----------
    shape : tuple of int or None, optional
        Of one example: ``(200,)`` for 200 ids, ``(None,)`` for any number of them, ``()`` for one.
    batch_size : int, optional
    dtype : str, optional
        Default: `fastembed.backend.floatx`. (Ids are never rounded: integers stay integers on their way to an
        Embedding, whatever it is.)
    sparse, ragged : bool, optional
        For programs that say False.
    batch_shape : tuple of int or None, optional
        Shape of a batch, in place of ``shape`` and ``batch_size``.
    name : str, optional
        Default: ``input_layer``, numbered.

    Returns
    -------
    KerasTensor

    Raises
    ------
    ValueError
        Without a shape, with two, or if it is none; for sparse and ragged inputs.

    Examples
    --------
    >>> Input((200,), dtype="int32", name="words")
    <KerasTensor shape=(None, 200), dtype=int32, name=words>
    """
    args, kwargs = eras.current().arguments("Input", args, kwargs)
    if "tensor" in kwargs:
        kwargs["input_tensor"] = kwargs.pop("tensor")
    order = ("shape", "batch_size", "dtype", "sparse", "ragged", "batch_shape", "name")
    made: KerasTensor = InputLayer(**dict(zip(order, args)), **kwargs).output
    return made


def _as_shape(shape: Any) -> tuple[int | None, ...]:
    """A tuple of positive int and None, NumPy's too; ValueError for anything else."""
    if isinstance(shape, (str, bytes)) or not hasattr(shape, "__iter__"):
        raise ValueError(
            f"Cannot convert '{shape}' to a shape: it is a tuple of lengths, ({shape},) for one axis of that "
            "length"
        )
    lengths: list[int | None] = []
    for length in shape:
        try:
            lengths.append(None if length is None else operator.index(length))
        except TypeError:
            raise ValueError(
                f"Cannot convert '{shape}' to a shape. Found invalid dimension '{length}' of type "
                f"'{type(length)}'. Lengths are integers, or None where they are open"
            ) from None
        if (lengths[-1] or 0) < 0:
            raise ValueError(f"Cannot convert '{shape}' to a shape. Negative dimensions are not allowed")
    return tuple(lengths)

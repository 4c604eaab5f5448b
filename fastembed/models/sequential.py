"""Models whose layers come one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastembed import eras
from fastembed.layers.graph import KerasTensor
from fastembed.layers.input_layer import InputLayer
from fastembed.layers.layer import Layer, Shape
from fastembed.models.configs import sequential_config, sequential_from_config
from fastembed.models.model import Model


class Sequential(Model):
    """Layers in a row, each of which is given what the one before it returns.

    Parameters
    ----------
    layers : iterable of Layer, optional
        The first may be an `Input`, or say ``input_shape``: then the weights are made at once, and otherwise
        when the model is first called, or built.
    trainable : bool, default True
    name : str, optional

    Raises
    ------
    ValueError
        For what is no layer, and for two layers of one name.

    Examples
    --------
    >>> import numpy as np
    >>> from fastembed import layers
    >>> model = Sequential([layers.Input((4,), dtype="int32"), layers.Embedding(50, 8), layers.Flatten()])
    >>> model.add(layers.Dense(1, activation="sigmoid"))
    >>> model.output_shape, model.count_params()
    ((None, 1), 433)
    >>> model(np.array([[3, 1, 4, 1]])).shape
    (1, 1)
    """

    _lengths_count = False  # as in Keras, which asks of a batch only as many axes
    saves_layers_first = True

    def __init__(
        self,
        layers: Any = None,
        trainable: Any = True,
        name: Any = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(trainable, str):  # the name, which came second in Keras 2 and tf.keras
            trainable, name = True, trainable
        super().__init__(trainable=trainable, name=name, autocast=False, **kwargs)
        self._sequence: list[Layer] = []
        if isinstance(layers, Layer):
            layers = [layers]
        for layer in layers or ():
            self._append(layer)
        self._rebuild()

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Add a layer at the end.

        Raises
        ------
        ValueError
            If it is no layer, has the name of another, or does not take what the last one returns. The
            model is then as it was.
        """
        before = list(self._sequence)
        self._append(layer)
        if rebuild:
            try:
                self._rebuild()
            except BaseException:
                self._sequence = before
                self._rebuild()
                raise

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the last layer, and return it; IndexError if there is none."""
        layers = list(self._sequence)
        if not layers:
            raise IndexError(f"Sequential model {self.name} has no layers that could be removed")
        layer = layers.pop()
        self._sequence = layers
        if rebuild:
            self._rebuild()
        return layer

    def _append(self, layer: Any) -> None:
        if isinstance(layer, KerasTensor) and layer.node is not None and layer.node.is_input:
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            raise ValueError(
                "Only instances of `keras.Layer` can be added to a Sequential model. Received: "
                f"{layer!r:.80} (of type {type(layer)})"
            )
        sequence = list(self._sequence)
        if not sequence and not isinstance(layer, InputLayer) and (shape := _said_shape(layer)) is not None:
            sequence.append(
                InputLayer(batch_shape=shape, dtype=layer.input_dtype_said, name=_input_name(layer))
            )
        if any(each.name == layer.name for each in sequence):
            raise ValueError(
                f"All layers added to a Sequential model should have unique names. Name '{layer.name}' is "
                "already "
                "the name of a layer in this model. Update the `name` argument to pass a unique name."
            )
        if isinstance(layer, InputLayer) and sequence:
            raise ValueError(
                f"Sequential model '{self.name}' has layers already, so an Input cannot be added: it comes "
                "first"
            )
        self._sequence = [*sequence, layer]

    def _rebuild(self) -> None:
        """Compute with the layers as they are now; they are built if their input is known."""
        self.__dict__.update(_program=None, _feeds=(), _nodes=(), _inputs_struct=None, _outputs_struct=None)
        self.__dict__.pop("_operations", None)
        self._holders.pop("_operations", None)
        self.built = False
        self._look_into_attributes()
        first = self._sequence[0] if self._sequence else None
        if len(self._sequence) > 1 and isinstance(first, InputLayer):
            self.build(first.batch_shape)
        elif len(self._sequence) > 1 and isinstance(first, Model) and len(first._feeds) == 1:
            self.build(first.input_shape)

    def build(self, input_shape: Shape = None) -> None:
        """Make the weights of all layers.

        Parameters
        ----------
        input_shape : tuple of int or None
            With the batch, for which None stands.

        Raises
        ------
        ValueError
            If the model has no layers, or was given an Input of another shape.
        """
        if not self._sequence:
            raise ValueError(
                f"Sequential model {self.name} cannot be built because it has no layers. Call "
                "`model.add(layer)`."
            )
        first = self._sequence[0]
        if not isinstance(first, InputLayer):
            if input_shape is None or any(isinstance(each, (list, tuple)) for each in input_shape):
                return
            dtype = first.input_dtype_said or first.compute_dtype
            self._sequence = [InputLayer(batch_shape=input_shape, dtype=dtype), *self._sequence]
        elif input_shape is not None and tuple(input_shape) != first.batch_shape:
            raise ValueError(
                f"Sequential model '{self.name}' has already been configured to use input shape "
                f"{first.batch_shape}. "
                f"You cannot build it with input_shape {input_shape}"
            )
        start, *layers = self._sequence
        tensor = start.output
        for layer in layers:
            tensor = layer(tensor)
        self._set_graph(start.output, tensor)
        self.built = True

    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the first call: for any number of examples like these."""
        inputs: Any = args[0] if args else None
        if self._program is None and hasattr(inputs, "shape"):
            self.build((None, *tuple(inputs.shape)[1:]))
        super()._build_for(args, kwargs)

    @property
    def layers(self) -> list[Layer]:
        """The layers, without that of the input."""
        layers = list(self._sequence)
        return layers[1:] if layers and isinstance(layers[0], InputLayer) else layers

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            "`Sequential.layers` attribute is reserved and should not be used. Use `add()` and `pop()` to "
            "change the "
            "layers in this model."
        )

    def get_config(self) -> Any:
        """The layers, as the Keras of the model's era writes them: in Keras 1 a bare list."""
        return sequential_config(self)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any] | list[Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """The model that a config of any Keras's describes; see `Model.from_config`."""
        return sequential_from_config(cls, config, custom_objects)


def _said_shape(layer: Layer) -> Shape | None:
    """Shape of a batch that a first layer was made for, if it says one."""
    shape = layer.batch_input_shape
    if shape is None:
        return None
    # An Embedding always says how many axes its ids have; Keras 3 does not take that for a shape.
    said_nothing = shape == (None, None) and eras.current().name == "keras3"
    return None if said_nothing else shape


def _input_name(layer: Layer) -> str | None:
    """What earlier Kerases call the input that a first layer says."""
    return None if eras.current().name == "keras3" else f"{layer.name}_input"

"""Weights by name, as legacy ``.h5`` files have them: the top-level layers of a model, each with its weights.

A group for every layer has the names of its weights in an attribute and the arrays at these names; another
attribute lists the layers in the model's order, and order is what counts when weights are read again. The
weights of a layer are, with those of all layers inside it, first the trainable ones and then the others.

What tf.keras 2.15 has in keras/src/saving/legacy/hdf5_format.py. Files of Keras before 1.0 have no names but
numbers: "layer_0/param_0".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fastembed.errors import FormatError
from fastembed.layers.layer import Layer
from fastembed.saving.hdf5 import Hdf5, Hdf5Writer, Stored, quoted
from fastembed.variable import Variable, swap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastembed.optimizers import Optimizer

_TOP_LEVEL = "top_level_model_weights"  # a group beside the layers, for what the model has itself
_OPTIMIZER = "optimizer_weights"
_NUMBERED = re.compile(r"layer_(\d+)")


def _layers(model: Layer) -> list[Layer]:
    listed = getattr(model, "layers", None)
    return list(model._held_layers() if listed is None else listed)


def _weights(layer: Layer) -> list[Variable]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


# --- Written --------------------------------------------------------------------------------------


def write(file: Hdf5Writer, root: str, model: Layer, about: Mapping[str, str]) -> None:
    """Write the weights of a model's layers into the group ``root``, and texts about the writer."""
    layers = _layers(model)
    file.group(root)
    file.names(root, "layer_names", (layer.name for layer in layers))
    for name, text in about.items():
        file.text(root, name, text)
    # In the order of names, as Keras does it: no group is then made inside that of a layer before it.
    for layer in sorted(layers, key=lambda layer: layer.name):
        _write_weights(file, _join(root, layer.name), _named(layer))
    own = [(f"{variable.name.partition(':')[0]}:0", variable.value) for variable in model._own_weights()]
    _write_weights(file, _join(root, _TOP_LEVEL), own)


def _named(layer: Layer) -> list[tuple[str, NDArray[Any]]]:
    """A layer's weights as they are called in files: "<the layer that has it>/<what it is>:0"."""
    names: dict[int, str] = {}
    for each in layer._with_layers_inside():
        for variable in each._own_weights():
            leaf = variable.name.rpartition("/")[2].partition(":")[0]
            names.setdefault(id(variable), f"{each.name}/{leaf}:0")
    # Of bfloat16 as float32: no Keras reads it from such a file otherwise.
    return [(names[id(variable)], variable.value) for variable in _weights(layer)]


def _write_weights(file: Hdf5Writer, group: str, named: Iterable[tuple[str, NDArray[Any]]]) -> None:
    taken: dict[str, NDArray[Any]] = {}
    for name, array in named:
        unique, number = name, 0
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        taken[unique] = array
    file.group(group)
    file.names(group, "weight_names", taken)
    for name, array in taken.items():
        file.write(f"{group}/{name}", array)


def write_optimizer(file: Hdf5Writer, optimizer: Optimizer) -> None:
    """Write the state of an optimizer into a group of its own."""
    _write_weights(file, _OPTIMIZER, optimizer.as_in_tf_keras())


# --- Read -----------------------------------------------------------------------------------------


class _Saved(NamedTuple):
    """A layer in a file."""

    name: str
    weights: list[str]  # datasets


def _saved(file: Hdf5, root: str) -> list[_Saved]:
    """The layers in the group ``root``, in the order of the model that was saved."""
    names = file.names(root, "layer_names")
    if names is not None:
        return [_Saved(name, _weights_in(file, _join(root, name))) for name in names]
    numbered = (path for path in file.groups if _NUMBERED.fullmatch(path))
    found = []
    for group in sorted(numbered, key=lambda path: int(path[len("layer_") :])):
        weights: list[str] = []
        while f"{group}/param_{len(weights)}" in file.arrays:
            weights.append(f"{group}/param_{len(weights)}")
        found.append(_Saved(group, weights))
    if not any(layer.weights for layer in found):
        raise FormatError("the file holds no weights as Keras writes them: neither names of layers nor vars")
    return found


def _weights_in(file: Hdf5, group: str) -> list[str]:
    if group not in file.groups:
        raise FormatError(f"the file lists a layer {quoted(group)} and does not hold it")
    weights = [_join(group, name) for name in file.names(group, "weight_names") or ()]
    for weight in weights:
        if weight not in file.arrays:
            raise FormatError(f"the file lists a weight {quoted(weight)} and does not hold it")
    return weights


def _join(path: str, name: str) -> str:
    """A key for look-up: a slash in front or ".." in the name has no meaning."""
    return f"{path}/{name}".lstrip("/").replace("\\", "/")


def read(file: Hdf5, root: str, model: Layer, by_name: bool = False, skip_mismatch: bool = False) -> None:
    """Set the weights of a model's layers to those in the group ``root``.

    Parameters
    ----------
    file : Hdf5
        Of any Keras.
    root : str
    model : Layer
    by_name : bool, default False
        Whether layers are found by their names. Those that only one of file and model has are then left out.
        Otherwise the layers that have weights are those in the file, in this order.
    skip_mismatch : bool, default False
        Warn of what does not fit, and leave it as it is, instead of raising.

    Raises
    ------
    ValueError
        If something does not fit. Nothing is changed then.
    """
    saved = _saved(file, root)
    pairs: list[tuple[_Saved, Layer]]
    if by_name:
        layers: dict[str, list[Layer]] = {}
        for layer in _layers(model):
            layers.setdefault(layer.name, []).append(layer)
        pairs = [(each, layer) for each in saved for layer in layers.get(each.name, ())]
    else:
        weighted = [layer for layer in _layers(model) if _weights(layer)]
        saved = [each for each in saved if each.weights]
        if len(saved) != len(weighted):
            raise ValueError(
                "Layer count mismatch when loading weights from file. "
                f"Model expected {len(weighted)} layers, found {len(saved)} saved layers. (With weights, the "
                f"model has {', '.join(layer.name for layer in weighted) or 'none'}; the file has "
                f"{', '.join(quoted(each.name) for each in saved) or 'none'}.)"
            )
        pairs = list(zip(saved, weighted))
    changes = []
    mismatch = _Mismatch(skip_mismatch)
    for number, (each, layer) in enumerate(pairs):
        what = f"layer #{number} (named {layer.name}; in the file {quoted(each.name)})"
        changes += mismatch.checked(file, what, each.weights, _weights(layer))
    top_level = _join(root, _TOP_LEVEL)
    if top_level in file.groups:
        changes += mismatch.checked(
            file, "the model itself", _weights_in(file, top_level), model._own_weights()
        )
    swap([(variable, variable.memory_for(stored)) for variable, stored in changes])


class _Mismatch:
    """What is done where weights do not fit: an error, or a warning."""

    def __init__(self, skip: bool) -> None:
        self._skip = skip

    def checked(
        self, file: Hdf5, what: str, weights: Sequence[str], variables: Sequence[Variable]
    ) -> list[tuple[Variable, Stored]]:
        """The variables that fit the weights in the file, each with its one."""
        if len(weights) != len(variables):
            self._found(
                f"Weight count mismatch for {what}. It expects {len(variables)} weight(s), "
                f"{[variable.shape for variable in variables]}. Received {len(weights)} saved weight(s), "
                f"{[file.array(weight).shape for weight in weights]}"
            )
            return []
        fitting = []
        for weight, variable in zip(weights, variables):
            stored = Stored(file, weight)
            if stored.shape == variable.shape:
                fitting.append((variable, stored))
            else:
                self._found(
                    f"Shape mismatch in {what} for weight {variable.path}. It expects shape "
                    f"{variable.shape}. Received saved weight {quoted(weight)} with shape {stored.shape}"
                )
        return fitting

    def _found(self, problem: str) -> None:
        if not self._skip:
            raise ValueError(f"{problem}. Nothing was loaded (skip_mismatch=True loads what does fit)")
        warnings.warn(f"Skipping what does not fit. {problem}", stacklevel=6)


def read_optimizer(file: Hdf5, optimizer: Optimizer) -> None:
    """Set a built optimizer to what a file has of it; where that does not fit, warn and leave it as it is."""
    if _OPTIMIZER not in file.groups:
        return
    stored = [Stored(file, weight) for weight in _weights_in(file, _OPTIMIZER)]
    try:
        optimizer.set_weights(stored)
    except FormatError:
        raise
    except (TypeError, ValueError) as error:
        warnings.warn(
            "Error in loading the saved optimizer state. As a result, your model is starting with a freshly "
            f"initialized optimizer. ({error})",
            stacklevel=4,
        )

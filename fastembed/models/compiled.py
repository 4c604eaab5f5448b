"""What `compile` makes: which loss and which metrics belong to which output of a model, and what they are
called.

Losses, weights, metrics and labels may be given once for all outputs, in lists and tuples, in dicts by the
outputs' names, or in the structure in which the model returns its outputs. `Outputs` knows that structure;
with it everything else becomes flat lists, one entry an output. Rules and names are those of
keras/src/trainers/compile_utils.py in Keras 3.15.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import losses as losses_module
from fastembed import metrics as metrics_module
from fastembed.layers.graph import flatten, pack_as
from fastembed.names import snake_case

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastembed.metrics import Metric

    Arrays = Sequence[Any]  # one array, or None, for each output

# Which loss or metric these mean depends on the shapes of labels and outputs.
_LOSSES_BY_SHAPE = frozenset({"crossentropy", "ce"})
_METRICS_BY_SHAPE = _LOSSES_BY_SHAPE | {"accuracy", "acc"}


def _is_nested(given: Any) -> bool:
    """Whether something is given for each of several; a config is one thing."""
    if isinstance(given, Mapping):
        return "class_name" not in given
    return isinstance(given, (list, tuple))


def _is_number(given: Any) -> bool:
    return isinstance(given, (Real, np.number)) and not isinstance(given, (bool, np.bool_))


def _leaves(given: Any) -> Iterator[Any]:
    """All that is given, configs as one."""
    if _is_nested(given):
        for part in given.values() if isinstance(given, Mapping) else given:
            yield from _leaves(part)
    else:
        yield given


def _map(function: Callable[[Any], Any], given: Any) -> Any:
    """The same structure of what ``function`` makes of the leaves."""
    if not _is_nested(given):
        return function(given)
    if isinstance(given, Mapping):
        return {key: _map(function, part) for key, part in given.items()}
    return [_map(function, part) for part in given]


def items_of(structure: Any) -> list[Any]:
    """What a structure of outputs holds, in the order of `flatten`; of a leaf, the leaf."""
    if isinstance(structure, Mapping):
        return [structure[key] for key in sorted(structure)]
    return list(structure) if isinstance(structure, (list, tuple)) else [structure]


# --- The outputs ----------------------------------------------------------------------------------


class Outputs:
    """The structure of what a model returns, and what its outputs are called.

    Parameters
    ----------
    structure
        One leaf, or a list, tuple or dict of leaves, as the model returns it.
    names : sequence of str, optional
        Of the leaves, in the order of `fastembed.layers.graph.flatten`.

    Examples
    --------
    >>> outputs = Outputs(["first", "second"], ["a", "b"])
    >>> outputs.parts({"b": np.array([2.0]), "a": np.array([1.0])}, "y")
    [array([1.]), array([2.])]
    """

    def __init__(self, structure: Any, names: Sequence[str] | None = None) -> None:
        self.count = sum(1 for _ in flatten(structure))
        self.structure = pack_as(structure, range(self.count))
        if isinstance(structure, Mapping) and not any(map(_is_nested, structure.values())):
            names = sorted(structure)  # the keys, whatever the layers are called
        self.names: list[str | None] = [None] * self.count if not names else list(names)

    def parts(self, given: Any, what: str, with_loss: Sequence[int] = ()) -> list[Any]:
        """Labels or weights, one entry an output: an array, or None where nothing is given for it.

        Parameters
        ----------
        given : array, None, or structure of them
        what : str
            What it is called in errors.
        with_loss : sequence of int, default ()
            The outputs that have a loss: as many labels may be given, for these.

        Raises
        ------
        ValueError
            If it does not fit the outputs.
        """
        if given is None:
            return [None] * self.count
        if not _is_nested(given):
            if self.count > 1 and what == "y" and len(with_loss) != 1:
                raise self._misfit(what, given)
            if self.count > 1 and what == "y":
                return [given if number == with_loss[0] else None for number in range(self.count)]
            return [given] * self.count
        if isinstance(given, (list, tuple)) and len(given) == len(with_loss) < self.count:
            given_for = dict(zip(with_loss, given))
            return [given_for.get(number) for number in range(self.count)]
        try:
            found = dict(self.matched(given))
        except LookupError:
            raise self._misfit(what, given) from None
        parts = [found.get(number) for number in range(self.count)]
        if any(map(_is_nested, parts)):
            raise self._misfit(what, given)
        return parts

    def _misfit(self, what: str, given: Any) -> ValueError:
        leaves = ["*"] * sum(1 for _ in flatten(given))
        return ValueError(
            f"{what} and y_pred have different structures.\n{what}: {pack_as(given, leaves)}\n"
            f"y_pred: {pack_as(self.structure, ['*'] * self.count)}\n"
            f"Give one array for each output{self.said_names()}"
        )

    def said_names(self) -> str:
        """The end of a sentence that asks for one thing an output."""
        return f", in this order or in a dict: {self.names}" if self.names[0] is not None else ""

    def matched(self, given: Any) -> Iterator[tuple[int, Any]]:
        """Pairs of the number of an output and what is given for it.

        Raises
        ------
        KeyError
            For a name that is none of the outputs'.
        IndexError
            For a list of another length.
        """
        return self._matched(self.structure, given)

    def _matched(self, structure: Any, given: Any) -> Iterator[tuple[int, Any]]:
        if not _is_nested(given):
            for number in flatten(structure):
                yield number, given
        elif isinstance(given, Mapping):
            parts = self.by_name(structure)
            for key, value in given.items():
                yield from self._matched(parts[key], value)
        else:
            items = items_of(structure)
            if len(items) != len(given):
                items = list(flatten(structure))
            if len(items) != len(given):
                raise IndexError(len(given))
            for item, value in zip(items, given):
                yield from self._matched(item, value)

    def by_name(self, structure: Any) -> dict[str, Any]:
        """What names in a dict mean: the keys of a dict of outputs, and the outputs' own names."""
        own = {self.names[number]: number for number in flatten(structure)}
        keys = structure if isinstance(structure, Mapping) else {}
        return {name: part for name, part in {**own, **keys}.items() if name is not None}

    def path(self, number: int) -> tuple[Any, ...]:
        """The keys and positions under which an output is found."""
        return next(path for path, leaf in _paths(self.structure) if leaf == number)


def _paths(structure: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], int]]:
    if _is_nested(structure):
        items = structure.items() if isinstance(structure, Mapping) else enumerate(structure)
        for key, part in items:
            yield from _paths(part, (*path, key))
    else:
        yield path, structure


# --- Losses ---------------------------------------------------------------------------------------


class _OutputLoss:
    """One loss of one output."""

    __slots__ = ("loss", "name", "number", "tracker", "weight")

    def __init__(self, number: int, loss: Any, weight: float | None, name: str) -> None:
        self.number, self.loss, self.weight, self.name = number, loss, weight, name
        self.tracker: Metric | None = None  # of its mean, where there are several losses


class CompiledLoss:
    """The loss of a model: the sum of those of its outputs, each times its weight.

    Parameters
    ----------
    loss : str, Loss, callable, or structure of them, optional
    loss_weights : number or structure of numbers, optional

    Raises
    ------
    ValueError
        For an unknown loss, or weights that are no numbers.
    TypeError
        For a loss that has no gradient.
    """

    def __init__(self, loss: Any = None, loss_weights: Any = None) -> None:
        if loss_weights is not None and not all(map(_is_number, flatten(loss_weights))):
            raise ValueError(
                "Expected `loss_weights` argument to be a float (single output case) or a list, tuple, or "
                "dict "
                f"of floats (multiple output case). Received instead: loss_weights={loss_weights!r:.200}"
            )
        self._given, self._weights = _map(_made_loss, loss), loss_weights
        self._parts: list[_OutputLoss] = []
        #: The numbers of the outputs that have a loss.
        self.with_loss: list[int] = []

    @property
    def metrics(self) -> list[Metric]:
        """The mean of each loss, where there are several."""
        return [part.tracker for part in self._parts if part.tracker is not None]

    def match(self, outputs: Outputs) -> None:
        """Find out which loss is which output's.

        Raises
        ------
        KeyError, ValueError
            If the losses or their weights do not fit the outputs.
        """
        found = self._losses_of(outputs)
        weights = self._weights_of(outputs, [number for number, _ in found])
        self._parts = [
            _OutputLoss(number, loss, weight, _loss_name(outputs, number, loss))
            for (number, loss), weight in zip(found, weights)
        ]
        self.with_loss = sorted(number for number, _ in found)
        if len(self._parts) > 1:
            for part in self._parts:
                part.tracker = metrics_module.Mean(name=f"{part.name}_loss")

    def _losses_of(self, outputs: Outputs) -> list[tuple[int, Any]]:
        loss, by_key = self._given, isinstance(outputs.structure, Mapping)
        if isinstance(loss, Mapping) and not by_key and _is_nested(loss):
            expected = list(outputs.by_name(outputs.structure))
            if set(expected) != set(loss):
                raise ValueError(
                    f"Expected keys {expected} in loss dict, but found loss.keys()={list(loss)}. Write None "
                    "for an output that has no loss"
                )
        try:
            found = [(number, each) for number, each in outputs.matched(loss) if each is not None]
        except KeyError as error:
            raise KeyError(
                f"The path: {error} in the `loss` argument, can't be found in the model's output (`y_pred`): "
                f"it has {list(outputs.by_name(outputs.structure))}"
            ) from None
        except IndexError as error:
            raise ValueError(
                f"`loss` is a list of {error} and the model has {outputs.count} outputs: give one loss, or "
                f"None, for each{outputs.said_names()}"
            ) from None
        return found if by_key else sorted(found, key=lambda pair: pair[0])

    def _weights_of(self, outputs: Outputs, numbers: list[int]) -> Sequence[float | None]:
        """One weight for each loss."""
        weights = self._weights
        if weights is None:
            return [None] * len(numbers)
        flat = weights if isinstance(weights, (list, tuple)) else None
        if flat is not None and len(flat) == len(numbers) and not any(map(_is_nested, flat)):
            return flat
        try:
            if not _is_nested(weights) and len(numbers) > 1:
                raise IndexError(1)
            by_number = dict(outputs.matched(weights))
        except KeyError as error:
            names = list(outputs.by_name(outputs.structure))
            raise ValueError(f"`loss_weights` names {error}, and the outputs are {names}") from None
        except IndexError as error:
            raise ValueError(
                f"`loss_weights` must match the number of losses, got {len(numbers)} losses and {error} "
                "weights."
            ) from None
        return [by_number.get(number) for number in numbers]

    def build(self, y: Arrays, y_pred: Arrays) -> None:
        """Choose the losses that depend on shapes."""
        for part in self._parts:
            if isinstance(part.loss, str):
                labels, outputs = np.shape(self._labels(y, part)), y_pred[part.number]
                part.loss = _made_loss(_crossentropy_for(labels, np.shape(outputs)))

    def value(self, y: Arrays, y_pred: Arrays, weights: Arrays, masks: Arrays) -> Any:
        """The loss, of labels and outputs that are lists with one entry an output."""
        total: Any = np.float32(0)
        for part in self._parts:
            at = part.number
            value = part.loss(self._labels(y, part), y_pred[at], weights[at], mask=masks[at])
            total += self._tracked(part, value, y_pred)
        return total

    def value_and_gradients(
        self, y: Arrays, y_pred: Arrays, weights: Arrays, masks: Arrays
    ) -> tuple[Any, list[NDArray[Any] | None]]:
        """The loss, and its gradient with respect to each output that has one."""
        total: Any = np.float32(0)
        gradients: list[NDArray[Any] | None] = [None] * len(y_pred)
        for part in self._parts:
            at, weight = part.number, part.weight
            value, slope = part.loss.value_and_gradient(
                self._labels(y, part), y_pred[at], weights[at], masks[at]
            )
            if np.ndim(value):
                raise ValueError(
                    f"the loss {part.loss.name!r} has a value for each sample, and what is learned from is "
                    "one number: "
                    f"its reduction is {part.loss.reduction!r}, take 'sum_over_batch_size' or 'sum'"
                )
            total += self._tracked(part, value, y_pred)
            if weight is not None:
                slope = slope * slope.dtype.type(weight)
            before = gradients[at]
            gradients[at] = slope if before is None else before + slope
        return total, gradients

    @staticmethod
    def _labels(y: Arrays, part: _OutputLoss) -> NDArray[Any]:
        labels = y[part.number]
        if labels is None:
            raise ValueError(
                f"there are no labels for the loss of output {part.name!r}: give them as `y`, or compile "
                "the model with None as the loss of this output"
            )
        return labels

    @staticmethod
    def _tracked(part: _OutputLoss, value: Any, y_pred: Arrays) -> Any:
        """A loss as it counts in the sum; its own mean is that without the weight."""
        if part.tracker is not None:
            part.tracker.update_state(value, sample_weight=len(y_pred[part.number]))
        return value if part.weight is None else value * np.float32(part.weight)


def _made_loss(identifier: Any) -> Any:
    """A loss as an object with a gradient; the name of one that depends on shapes as it is."""
    if identifier is None or (isinstance(identifier, str) and identifier.lower() in _LOSSES_BY_SHAPE):
        return identifier
    loss = losses_module.get(identifier)
    if not isinstance(loss, losses_module.Loss):
        name = identifier if isinstance(identifier, str) else _name_of(loss)
        loss = losses_module.LossFunctionWrapper(loss, name=name)
    losses_module.check_trainable(loss)
    return loss


def _crossentropy_for(labels: tuple[int, ...], outputs: tuple[int, ...]) -> str:
    """Which crossentropy Keras takes for these shapes."""
    if outputs[-1] == 1:
        return "binary_crossentropy"
    is_sparse = len(labels) < len(outputs) or labels[-1] == 1
    return "sparse_categorical_crossentropy" if is_sparse else "categorical_crossentropy"


def _loss_name(outputs: Outputs, number: int, loss: Any) -> str:
    """What a loss is called in logs: the keys that lead to its output, or that one's own name."""
    path = outputs.path(number)
    if not path or isinstance(path[-1], int):
        own = outputs.names[number]
        path = (*path[:-1], own if own is not None else loss if isinstance(loss, str) else loss.name)
    return "/".join(map(str, path))


# --- Metrics --------------------------------------------------------------------------------------


class _OutputMetric:
    """One metric of one output."""

    __slots__ = ("given", "metric", "name", "number", "weighted")

    def __init__(self, number: int, given: Any, weighted: bool) -> None:
        self.number, self.given, self.weighted = number, given, weighted
        self.metric: Any = None
        if isinstance(given, str) and given.lower() in _METRICS_BY_SHAPE:
            self.name: str = given
        else:
            self.metric = metrics_module.for_string(given, (None,), (None, 1))
            self.name = self.metric.name


class CompiledMetrics:
    """The metrics of a model's outputs.

    Parameters
    ----------
    metrics, weighted_metrics : list, tuple or dict, optional
        As `compile` takes them. Sample weights count for the second ones only.

    Raises
    ------
    ValueError
        If they are none of these.
    """

    name = "compile_metrics"

    def __init__(self, metrics: Any = None, weighted_metrics: Any = None) -> None:
        for argument, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if given and not _is_nested(given):
                raise ValueError(
                    f"Expected `{argument}` argument to be a list, tuple, or dict. Received instead: "
                    f"{argument}={given!r:.200} of type {type(given)}"
                )
        self._given = {"metrics": metrics, "weighted_metrics": weighted_metrics}
        self._parts: list[_OutputMetric] = []
        self._by_log: dict[str, _OutputMetric] = {}
        self._outputs: Outputs | None = None
        self.built = False

    def __bool__(self) -> bool:
        return any(map(bool, self._given.values()))

    @property
    def metrics(self) -> list[Metric]:
        """The metrics themselves, once it is known which ones they are."""
        return [part.metric for part in self._parts if part.metric is not None]

    @property
    def variables(self) -> list[Any]:
        """The state of all of them."""
        return [variable for metric in self.metrics for variable in metric.variables]

    @property
    def names(self) -> list[str]:
        """What they are called in logs."""
        return list(self._by_log)

    def by_log(self) -> list[tuple[str, Metric]]:
        """Pairs of a name in logs and its metric; of those that are known."""
        return [(name, part.metric) for name, part in self._by_log.items() if part.metric is not None]

    @property
    def own_names(self) -> list[str]:
        """What they are called themselves."""
        return [part.name for part in self._parts]

    def match(self, outputs: Outputs) -> None:
        """Find out which metric is which output's.

        Raises
        ------
        ValueError
            If they do not fit the outputs.
        """
        self._outputs = outputs
        self._parts = [
            _OutputMetric(number, given, argument == "weighted_metrics")
            for argument, all_given in self._given.items()
            for number, given in _metrics_of(outputs, all_given, argument)
        ]
        self._by_log = {}
        seen: dict[str, int] = {}
        for part in self._parts:
            self._by_log[_log_name(outputs, part, seen)] = part

    def build(self, y: Arrays, y_pred: Arrays) -> None:
        """Choose the metrics that depend on shapes."""
        for part in self._parts:
            if part.metric is None:
                labels, outputs = np.shape(_labels_of(y, part)), np.shape(y_pred[part.number])
                part.metric = metrics_module.for_string(part.given, labels, outputs)
        self.built = True

    def update(self, y: Arrays, y_pred: Arrays, weights: Arrays, masks: Arrays | None = None) -> None:
        """Take in a batch of lists with one entry an output.

        Means of functions obey masks. Keras on JAX loses those in training, so `fit` gives none.
        """
        for part in self._parts:
            at, settings = part.number, {}
            if part.weighted and weights[at] is not None:
                settings["sample_weight"] = weights[at]
            obeys = isinstance(part.metric, metrics_module.MeanMetricWrapper)
            if obeys and masks is not None and masks[at] is not None:
                settings["mask"] = masks[at]
            part.metric.update_state(_labels_of(y, part), y_pred[at], **settings)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch, in the structure of the outputs."""
        outputs = self._outputs or Outputs(y_pred)
        if self._outputs is None:
            self.match(outputs)
        labels, predicted = outputs.parts(y_true, "y"), list(flatten(y_pred))
        if not self.built:
            self.build(labels, predicted)
        self.update(labels, predicted, outputs.parts(sample_weight, "sample_weight"))

    def reset_state(self) -> None:
        """Begin anew."""
        for part in self._parts:
            if part.metric is not None:
                part.metric.reset_state()

    def result(self) -> dict[str, Any]:
        """What each of them is now, under its name in logs."""
        if not self.built:
            raise ValueError("Cannot get result() since the metric has not yet been built.")
        return {name: part.metric.result() for name, part in self._by_log.items()}


def _metrics_of(outputs: Outputs, given: Any, argument: str) -> Iterator[tuple[int, Any]]:
    """Pairs of the number of an output and one of its metrics."""
    if not given:
        return
    try:
        if outputs.count == 1:
            found = [(0, list(_leaves(given)))]
        else:
            found = list(_lists_of_metrics(outputs, outputs.structure, given))
    except LookupError:
        said = f" {outputs.names}" if outputs.names[0] is not None else ""
        raise ValueError(
            f"Invalid `{argument}`. `{argument}` should contain metrics objects and either be a dict or a "
            "list "
            f"matching the output names of the model{said}, with one entry (a metric, a list of metrics or "
            f"None) for each output, or match the output structure of the model: "
            f"{pack_as(outputs.structure, ['X'] * outputs.count)}.\nReceived: {argument}={given!r:.300}"
        ) from None
    for number, identifiers in sorted(found, key=lambda pair: pair[0]):
        for identifier in identifiers:
            if identifier is None:
                raise ValueError(f"Expected metric, received `None`\nReceived: {argument}={given!r:.300}")
            yield number, identifier


def _lists_of_metrics(outputs: Outputs, structure: Any, given: Any) -> Iterator[tuple[int, list[Any]]]:
    if given is None:
        return
    if not _is_nested(structure):
        yield structure, list(given) if isinstance(given, (list, tuple)) else [given]
    elif isinstance(given, Mapping):
        parts = outputs.by_name(structure)
        for key, value in given.items():
            yield from _lists_of_metrics(outputs, parts[key], value)
    else:
        items = items_of(structure)
        if not isinstance(given, (list, tuple)) or len(given) != len(items):
            raise IndexError
        for item, value in zip(items, given):
            yield from _lists_of_metrics(outputs, item, value)


def _labels_of(y: Arrays, part: _OutputMetric) -> NDArray[Any]:
    labels = y[part.number]
    if labels is None:
        raise ValueError(f"there are no labels for the metric {part.name!r}: give them as `y`")
    return labels


def _log_name(outputs: Outputs, part: _OutputMetric, seen: dict[str, int]) -> str:
    """What a metric is called in logs: with its output's name, where there are several, and no name twice."""
    own = outputs.names[part.number] if outputs.count > 1 else None
    names = [part.name, f"weighted_{part.name}"] if part.weighted else [part.name]
    for each in names:
        name = f"{own}_{each}" if own is not None else each
        if name not in seen:
            seen[name] = 1
            return name
    seen[name] += 1
    return f"{name}_{seen[name] - 1}"


def _name_of(thing: Any) -> str:
    """The name of an object, a function or a class, as Keras's logs have it."""
    name = getattr(thing, "name", None)
    if isinstance(name, str):
        return name
    return snake_case(getattr(thing, "__name__", None) or type(thing).__name__)


# --- Both -----------------------------------------------------------------------------------------


class Compiled:
    """Losses and metrics of a model, and the mean of its loss.

    Until it is known what the model returns, nothing in it is matched to an output; until the first labels
    are seen, what depends on their shapes is not chosen.
    """

    def __init__(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> None:
        self.loss = CompiledLoss(loss, loss_weights)
        self.metrics = CompiledMetrics(metrics, weighted_metrics)
        self.loss_tracker = metrics_module.Mean(name="loss")
        self.outputs: Outputs | None = None
        self.built = False

    @property
    def all_metrics(self) -> list[Any]:
        """In the order of Keras's logs: the mean loss, the metrics as one, the mean of each output's loss."""
        return [self.loss_tracker, *([self.metrics] if self.metrics else []), *self.loss.metrics]

    def match(self, outputs: Outputs) -> None:
        """Find out what belongs to which output."""
        self.loss.match(outputs)
        self.metrics.match(outputs)
        self.outputs = outputs

    def build(self, y: Arrays, y_pred: Arrays) -> None:
        """Choose what depends on the shapes of labels and outputs."""
        self.loss.build(y, y_pred)
        self.metrics.build(y, y_pred)
        self.built = True

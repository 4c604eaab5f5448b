"""A graph of layers as a list of steps: run forward, with masks, recorded, and backward.

What is known before there are numbers is decided once: in which order layers compute, which arguments they
get, where a mask may come from, which layers' gradients are asked for. A step is then one call of a layer's
`call`, without the checks of `Layer.__call__`, which were made when the graph was; layers that hold layers or
have a loss of their own are called like anyone's. Models inside models are taken apart: their layers are
steps like the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastembed.dtypes import array_dtype
from fastembed.layers.embedding import Embedding
from fastembed.layers.graph import KerasTensor, Node, flatten, map_structure
from fastembed.layers.input_spec import assert_input_compatibility
from fastembed.layers.layer import Layer
from fastembed.layers.pooling import GlobalAveragePooling1D, GlobalMaxPooling1D

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array = Any  # an ndarray; rarely what a user's layer returns in its place


class _Slot:
    """Stands for a value in the arguments of a step."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class _Step:
    """One call of a layer.

    Attributes
    ----------
    args, kwargs
        Of the call, with slots for the arrays in them.
    sources, targets : list of int
        The slots that it reads, the slots that it fills.
    source : int
        The one that it reads if it takes one array and nothing else; otherwise -1.
    """

    def __init__(
        self, layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], targets: list[int], masked: bool
    ) -> None:
        self.layer, self.args, self.kwargs, self.targets = layer, args, kwargs, targets
        self.sources = [each.number for each in flatten((args, kwargs)) if type(each) is _Slot]
        alone = len(args) == 1 and type(args[0]) is _Slot and not kwargs
        self.source = self.sources[0] if alone else -1
        self.target = targets[0] if len(targets) == 1 else -1
        self.masked = masked  # whether an input may have a mask, or the layer makes one
        # A layer that holds layers, or has a loss of its own, is called like anyone's.
        self.direct = not (layer._held_layers() or layer.activity_regularizer is not None)
        answers_alone = type(layer)._answer_alone is not Layer._answer_alone
        self.call: Any = layer if answers_alone or not self.direct else layer.call
        # What `Layer.__call__` would convert floats to.
        floats = self.direct and layer.autocast and layer.dtype_policy.is_floating
        self.dtype = array_dtype(layer.compute_dtype) if floats else None
        self.takes_training = "training" in layer._call_parameters
        self.takes_mask = "mask" in layer._call_parameters
        self.weights = layer.weights

    @property
    def learns(self) -> bool:
        """Whether the layer has a weight that training changes, now."""
        return self.layer.trainable and any(variable.trainable for variable in self.weights)

    def arguments(self, values: list[Array]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Of the call, with the arrays in place."""
        if self.source >= 0:
            value = values[self.source]
            if self.dtype is not None and getattr(value, "dtype", None) is not self.dtype:
                value = self.layer._as_input(value)
            return (value,), {}

        def filled(each: Any) -> Any:
            if type(each) is not _Slot:
                return each
            value = values[each.number]
            return value if self.dtype is None else self.layer._as_input(value)

        args, kwargs = map_structure(filled, (self.args, self.kwargs))
        return args, kwargs

    def check(self, *args: Any) -> None:
        """After an error: say it better if the inputs are not what the layer was built for."""
        if args and self.layer.input_spec is not None:
            assert_input_compatibility(self.layer.input_spec, args[0], self.layer.name)

    def masks(self, masks: list[Any]) -> Any:
        """Those of the first argument, in its structure; None if there is none."""
        found = map_structure(
            lambda each: masks[each.number] if type(each) is _Slot else None,
            self.args[0] if self.args else None,
        )
        return None if all(each is None for each in flatten(found)) else found


class _PooledLookup:
    """Two steps as one: a lookup, and what makes one vector of the rows of each example.

    Many examples are taken a block after the other, so that rows are read again while a cache holds them.
    Neither layer looks at one example for the sake of another: blocks do not show in the result.
    """

    _BYTES = 4 * 1024 * 1024  # of the rows of a block, which cores share

    def __init__(self, lookup: _Step, pooling: _Step) -> None:
        self.layer, self.source, self.dtype, self.check = lookup.layer, lookup.source, None, lookup.check
        self.target = pooling.target
        self._lookup, self._pooling = lookup, pooling
        embedding: Any = lookup.layer
        row_bytes = embedding.output_dim * array_dtype(lookup.layer.compute_dtype).itemsize
        self._most = max(1, self._BYTES // row_bytes)  # ids of a block

    @staticmethod
    def fits(lookup: _Step, pooling: _Step) -> bool:
        """Whether two steps are such: layers of ours, exactly, which see each example alone."""
        layer = lookup.layer
        return (
            type(layer) is Embedding
            and type(pooling.layer) in (GlobalAveragePooling1D, GlobalMaxPooling1D)
            and not layer.lora_enabled  # whose product may have other last bits for other batches
            and pooling.layer.compute_dtype == layer.compute_dtype
            and lookup.direct
            and pooling.direct
            and lookup.source >= 0
            and pooling.source == lookup.target
        )

    def call(self, ids: Array) -> Array:
        """What the second layer makes of what the first does."""
        size = getattr(ids, "size", 0)
        if size > 2 * self._most:
            with contextlib.suppress(IndexError, TypeError, ValueError):  # which the whole says of the whole
                return self._by_blocks(ids, max(1, self._most * len(ids) // size))
        rows = self._lookup.call(ids)
        try:
            return self._pooling.call(rows)
        except ValueError:
            self._pooling.check(rows)
            raise

    def _by_blocks(self, ids: Array, examples: int) -> Array:
        blocks = (ids[start : start + examples] for start in range(0, len(ids), examples))
        return np.concatenate([self._pooling.call(self._lookup.call(block)) for block in blocks])


class Tape(NamedTuple):
    """What a recorded run leaves for its gradient: each step with what its layer remembers."""

    entries: list[tuple[_Step, Any, Any]]
    plan: _Plan


class _Plan(NamedTuple):
    """The steps as they are while nobody changes a layer."""

    changes: int
    steps: list[_Step]
    quick: list[Any]  # the steps as they run where nothing is recorded and there is no mask
    slots: int
    outputs: list[int]
    integers_stay: list[bool]  # of each input: whether it comes to an Embedding as it is
    masked: bool  # whether any step makes a mask
    direct: bool  # whether no step needs to know what is called around it


class Program:
    """What a graph computes.

    Parameters
    ----------
    inputs, outputs : list of KerasTensor
    nodes : list of Node
        The calls that lead from the inputs to the outputs, each after those that it needs.
    """

    def __init__(
        self, inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor], nodes: Sequence[Node]
    ) -> None:
        self._inputs, self._outputs, self._nodes = list(inputs), list(outputs), list(nodes)
        self._watched: list[Any] = []
        self._losses: list[list[Any]] = []  # of these layers
        self._plan = _Plan(-1, [], [], 0, [], [], False, True)

    # --- Planned ------------------------------------------------------------------------------------

    def plan(self) -> _Plan:
        """The steps, decided anew if a layer was changed."""
        changes = 0
        for layer in self._watched:
            changes += layer._changes
        plan = self._plan
        if changes != plan.changes:
            plan = self._plan = self._planned()
        return plan

    def _planned(self) -> _Plan:
        steps: list[_Step] = []
        watched: dict[int, Any] = {}
        slots = iter(range(1 << 62))
        places = {id(tensor): next(slots) for tensor in self._inputs}

        def add(nodes: Iterable[Node], places: dict[int, int]) -> None:
            for node in nodes:
                layer = node.layer
                watched[id(layer)] = layer
                inside = getattr(layer, "_inlined", None)
                if inside is not None and (inner := inside()) is not None:
                    arguments = inner._arranged(node.args[0])
                    below = {id(t): places[id(given)] for t, given in zip(inner.inputs, arguments)}
                    add(inner._nodes, below)
                    for tensor, outside in zip(inner.outputs, node.outputs):
                        places[id(outside)] = below[id(tensor)]
                    continue
                args, kwargs = map_structure(
                    lambda each: _Slot(places[id(each)]) if type(each) is KerasTensor else each,
                    (node.args, node.kwargs),
                )
                targets = []
                for tensor in node.outputs:
                    targets.append(places.setdefault(id(tensor), next(slots)))
                masked = any(each.masked for each in (*node.input_tensors, *node.outputs))
                steps.append(_Step(layer, args, kwargs, targets, masked))

        add(self._nodes, places)
        outputs = [places[id(tensor)] for tensor in self._outputs]
        self._watched = list(watched.values())
        self._losses = [layer._losses for layer in self._watched]
        return _Plan(
            sum(layer._changes for layer in self._watched),
            steps,
            _quick(steps, outputs),
            next(slots),
            outputs,
            [_stay_integers(number, steps) for number in range(len(self._inputs))],
            any(step.masked for step in steps),
            all(step.direct for step in steps),
        )

    def forget_losses(self) -> None:
        """Forget what the layers' last calls added to their losses."""
        for losses in self._losses:
            if losses:
                losses.clear()

    # --- Run ----------------------------------------------------------------------------------------

    def run(self, inputs: Sequence[Array], masks: Sequence[Any] = ()) -> tuple[list[Array], list[Any]]:
        """The outputs and their masks.

        Parameters
        ----------
        inputs : sequence of ndarray
        masks : sequence of ndarray or None, optional
            Of the inputs.
        """
        plan = self.plan()
        values = [*inputs, *[None] * (plan.slots - len(inputs))]
        if plan.masked or masks:
            return self._run_masked(plan, values, masks)
        for step in plan.quick:
            if step.source >= 0 and step.target >= 0:
                value = values[step.source]
                if step.dtype is not None and value.dtype is not step.dtype:
                    value = step.layer._as_input(value)
                try:
                    values[step.target] = step.call(value)
                except ValueError:
                    step.check(value)
                    raise
            else:
                args, kwargs = step.arguments(values)
                self._put(step, values, step.call(*args, **kwargs))
        return [values[slot] for slot in plan.outputs], [None] * len(plan.outputs)

    def _run_masked(
        self, plan: _Plan, values: list[Array], given: Sequence[Any]
    ) -> tuple[list[Array], list[Any]]:
        masks: list[Any] = [*given, *[None] * (plan.slots - len(given))]
        for step in plan.steps:
            args, kwargs = step.arguments(values)
            self._mask(step, args, kwargs, masks)
            try:
                outputs = step.call(*args, **kwargs)
            except ValueError:
                step.check(*args)
                raise
            self._put(step, values, outputs)
        return [values[slot] for slot in plan.outputs], [masks[slot] for slot in plan.outputs]

    @staticmethod
    def _put(step: _Step, values: list[Array], outputs: Any) -> None:
        if step.target >= 0:
            values[step.target] = outputs
            return
        for slot, value in zip(step.targets, flatten(outputs)):
            values[slot] = value

    @staticmethod
    def _mask(step: _Step, args: tuple[Any, ...], kwargs: dict[str, Any], masks: list[Any]) -> None:
        """Give a step the mask of its input, and take down those of its outputs."""
        layer, mask = step.layer, step.masks(masks)
        if mask is not None and step.takes_mask:
            kwargs.setdefault("mask", mask)
        if layer.supports_masking and (mask is not None or layer.makes_masks):
            made = layer.compute_mask(args[0] if args else None, mask)
            several = list(made) if len(step.targets) > 1 and made is not None else [made] * len(step.targets)
            for slot, each in zip(step.targets, several):
                masks[slot] = each

    # --- Recorded, differentiated -------------------------------------------------------------------

    def record(
        self, inputs: Sequence[Array], masks: Sequence[Any] = (), of_inputs: bool = False
    ) -> tuple[list[Array], list[Any], Tape]:
        """The outputs, their masks, and what `backpropagate` needs; layers train.

        Parameters
        ----------
        inputs : sequence of ndarray
        masks : sequence of ndarray or None, optional
            Of the inputs.
        of_inputs : bool, default False
            Whether the gradients of the inputs are wanted.

        Raises
        ------
        RuntimeError
            If a layer between a weight that learns and the output cannot be differentiated.
        """
        plan = self.plan()
        values = [*inputs, *[None] * (plan.slots - len(inputs))]
        masked = plan.masked or bool(masks)
        masks = [*masks, *[None] * (plan.slots - len(masks))]
        wanted = [of_inputs] * len(inputs) + [False] * (plan.slots - len(inputs))
        tape = Tape([], plan)
        try:
            for step in plan.steps:
                self._record_step(step, values, masks if masked else None, wanted, tape)
        except BaseException:
            self.discard(tape)
            raise
        return [values[slot] for slot in plan.outputs], [masks[slot] for slot in plan.outputs], tape

    def _record_step(
        self, step: _Step, values: list[Array], masks: list[Any] | None, wanted: list[bool], tape: Tape
    ) -> None:
        layer = step.layer
        learns = step.learns or any(wanted[slot] for slot in step.sources)
        if learns:
            check_differentiable(layer)
        args, kwargs = step.arguments(values)
        if step.takes_training:
            kwargs.setdefault("training", True)
        if masks is not None:
            self._mask(step, args, kwargs, masks)
        if not step.direct:
            tape.entries.append((step, None, None))  # first, so that an error leaves nothing behind
        try:
            outputs = layer.call(*args, **kwargs) if step.direct else layer(*args, **kwargs)
        except ValueError:
            step.check(*args)
            raise
        self._put(step, values, outputs)
        for slot in step.targets:
            wanted[slot] = learns
        if not learns:
            if not step.direct:
                tape.entries.pop()
                forget_calls(layer)
            return
        shapes = None if step.target >= 0 else [(np.shape(each), each.dtype) for each in flatten(outputs)]
        if not step.direct:
            tape.entries[-1] = (step, None, shapes)
            return
        named = kwargs
        if len(args) > 1:
            named = {**dict(zip(list(layer._call_signature.parameters)[2:], args[1:])), **kwargs}
        told = {name: named[name] for name in named if name in layer._remember_parameters}
        remembered = layer.remember(args[0] if args else None, outputs, **told)
        tape.entries.append((step, remembered, shapes))

    def backpropagate(self, tape: Tape, upstreams: Sequence[Array | None]) -> list[Array | None]:
        """Add gradients to the weights; those of the inputs, None where there is none."""
        plan = tape.plan
        gradients: list[Any] = [None] * plan.slots
        for slot, upstream in zip(plan.outputs, upstreams):
            _add(gradients, slot, upstream)
        entries = tape.entries
        try:
            while entries:
                step, remembered, shapes = entries[-1]
                found = [gradients[slot] for slot in step.targets]
                for slot in step.targets:
                    gradients[slot] = None
                if all(each is None for each in found):
                    if not step.direct:
                        forget_calls(step.layer)
                    entries.pop()
                    continue
                wanted: Any = found[0]
                if shapes is not None:
                    wanted = [np.zeros(*what) if each is None else each for each, what in zip(found, shapes)]
                if step.direct:
                    gradient = step.layer.backpropagate(remembered, wanted)
                else:
                    gradient = step.layer.backward(wanted)
                entries.pop()
                self._spread(step, gradient, gradients)
        except BaseException:
            self.discard(tape)
            raise
        return gradients[: len(self._inputs)]

    @staticmethod
    def _spread(step: _Step, gradient: Any, gradients: list[Any]) -> None:
        """Give a step's gradient to the slots that its first argument came from."""
        if gradient is None:
            return
        if step.source >= 0:
            _add(gradients, step.source, gradient)
            return
        places = list(flatten(step.args[0]))
        for place, each in zip(places, flatten(gradient)):
            if type(place) is _Slot and each is not None:
                _add(gradients, place.number, each)

    @staticmethod
    def discard(tape: Tape) -> None:
        """Forget a recorded run that is not differentiated."""
        for step, _, _ in tape.entries:
            if not step.direct:
                forget_calls(step.layer)
        tape.entries.clear()


def _stay_integers(slot: int, steps: list[_Step]) -> bool:
    """Whether an input comes to a layer that takes ids, by way of layers that only arrange numbers."""
    same = {slot}
    for step in steps:
        if same.intersection(step.sources):
            if not step.layer.autocast:
                return True
            if not step.layer.weights:
                same.update(step.targets)
    return False


def _quick(steps: list[_Step], outputs: list[int]) -> list[Any]:
    """The steps, with each lookup whose rows are only pooled as one with the pooling."""
    read = [slot for step in steps for slot in step.sources] + outputs
    quick: list[Any] = []
    for step in steps:
        before = quick[-1] if quick else None
        if type(before) is _Step and _PooledLookup.fits(before, step) and read.count(before.target) == 1:
            quick[-1] = _PooledLookup(before, step)
        else:
            quick.append(step)
    return quick


def _add(gradients: list[Any], slot: int, gradient: NDArray[Any] | None) -> None:
    before = gradients[slot]
    gradients[slot] = gradient if before is None else before + gradient


def check_differentiable(layer: Layer) -> None:
    """RuntimeError, naming the layer, unless it has a gradient."""
    if not layer._differentiable:
        raise RuntimeError(
            f"Layer {layer.name!r} (of class {type(layer).__name__}) cannot be trained through: it defines "
            "no "
            "backpropagate(remembered, upstream) for its `call` (see fastembed.layers.Layer). Define it, or "
            "freeze "
            "the layers before it and it: layer.trainable = False"
        )


def forget_calls(layer: Any) -> None:
    """Forget the calls that this thread recorded of a layer, and of those inside it."""
    for each in layer._with_layers_inside():
        calls = each._recorded.__dict__.get("calls")
        if calls:
            calls.clear()

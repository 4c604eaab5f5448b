"""compile, fit, evaluate, predict: what a model learns with, and by.

Behaviour, names and the order of things are those of keras/src/trainers/trainer.py and
keras/src/backend/jax/trainer.py in Keras 3.15. The batches come from `fastembed.models.data`, what belongs to
which output is known to `fastembed.models.compiled`, and how a model computes and is differentiated is the
model's.
"""

from __future__ import annotations

import itertools
import math
import operator
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from fastembed import eras, losses, metrics, optimizers
from fastembed._registry import serialize_keras_object
from fastembed.callbacks import CallbackList
from fastembed.dtypes import floatx
from fastembed.layers.graph import flatten, map_structure, pack_as
from fastembed.layers.layer import gradient_of
from fastembed.models.compiled import Compiled, CompiledMetrics, Outputs
from fastembed.models.data import pack_x_y_sample_weight, split, unpack_x_y_sample_weight
from fastembed.models.data import source as source_of
from fastembed.models.interrupts import Interrupts
from fastembed.ops import IndexedSlices
from fastembed.optimizers.gradients import with_values
from fastembed.variable import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastembed.callbacks import History
    from fastembed.layers.layer import Layer
    from fastembed.models.data import Source

    class _Model(Layer):
        """What a trainer needs of the model that it is part of."""

        @property
        def output_names(self) -> list[str]: ...
        def _structured_outputs(self, outputs: Sequence[Any]) -> Any: ...
        def _flat_inputs(self, inputs: Any) -> list[Any]: ...
        def _forward(self, inputs: Sequence[Any], training: bool | None) -> tuple[list[Any], list[Any]]: ...
        def _record(self, inputs: Sequence[Any]) -> tuple[list[Any], list[Any], Any]: ...
        def _backpropagate(self, tape: Any, upstreams: Sequence[Any]) -> None: ...
        def _discard(self, tape: Any) -> None: ...
else:
    _Model = object

Logs = dict[str, Any]
Step = Callable[[Any, Any, Any], Any]

# Arguments of `fit` and its like in Keras 2 that say how batches are prepared: a PyDataset says it itself.
_OF_QUEUES = frozenset(
    {"max_queue_size", "workers", "use_multiprocessing", "max_q_size", "nb_worker", "pickle_safe"}
)


class Trainer(_Model):
    """What `Model` learns with: `compile`, then `fit`, `evaluate` and `predict`."""

    #: Whether `compile` was called.
    compiled: bool = False
    #: What `compile` was given, the optimizer as an object.
    optimizer: Any = None
    loss: Any = None
    #: What the last `fit` returned.
    history: History | None = None
    #: Set to True by a callback, it ends the training after the batch.
    stop_training: bool = False
    stop_evaluating: bool = False
    stop_predicting: bool = False
    run_eagerly: bool = False
    jit_compile: Any = "auto"
    steps_per_execution: int = 1

    _compiled: Compiled | None = None
    _compile_arguments: Mapping[str, Any]
    _last_learners: _Learners | None = None
    _initial_epoch: int | None = None  # set by callbacks that go on with an earlier training

    # --- Compiled -----------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
        **old: Any,
    ) -> None:
        """Say what the model learns by: an optimizer, losses and metrics.

        Parameters
        ----------
        optimizer : str, Optimizer or its config, default "rmsprop"
        loss : str, Loss, callable, or list, tuple or dict of them, optional
            One for all outputs; or one for each, in the outputs' order, in a dict by their names, or in the
            structure in which the model returns them. None for an output without a loss. A callable of your
            own needs a gradient: `fastembed.losses.with_gradient`.
        loss_weights : float, or list or dict of floats, optional
            What the losses are multiplied by before they are added up.
        metrics : list or dict, optional
            Names, metrics or functions of ``y_true`` and ``y_pred``. Where there are several outputs, one of
            these, or a list of them, for each. ``"accuracy"`` is the one that fits the shapes of labels and
            outputs.
        weighted_metrics : list or dict, optional
            The same; these count samples by their weights.
        run_eagerly : bool, default False
        steps_per_execution : int, default 1
            Callbacks are called once in so many batches.
        jit_compile, auto_scale_loss : optional
            Kept and without effect: nothing is compiled here, and gradients are float32.
        **old
            ``sample_weight_mode`` and ``target_tensors`` of Keras 1 and 2, where they say nothing.

        Raises
        ------
        ValueError
            For unknown names, losses and metrics that do not fit the outputs, and arguments that nobody
            takes.
        KeyError
            For a name that is none of a dict of outputs.
        TypeError
            For a loss without a gradient, saying how to give it one.

        Notes
        -----
        ``compile(optimizer, loss, ["accuracy"])`` by position is understood as Keras 1 and 2 have it.

        Examples
        --------
        >>> from fastembed import Sequential, layers
        >>> model = Sequential([layers.Input((4,), dtype="int32"), layers.Embedding(50, 8), layers.Flatten()])
        >>> model.add(layers.Dense(1, activation="sigmoid", name="score"))
        >>> model.compile("adam", loss="binary_crossentropy", metrics=["accuracy"])
        >>> model.metrics_names
        ['loss', 'accuracy']
        """
        _check_old_settings(old)
        if (
            isinstance(loss_weights, (list, tuple, dict))
            and not _are_numbers(loss_weights)
            and _are_numbers(metrics)
        ):
            loss_weights, metrics = metrics, loss_weights  # in the order of Keras 1 and 2
        if not (isinstance(steps_per_execution, (int, np.integer)) and steps_per_execution >= 1):
            raise ValueError(
                f"`steps_per_execution` must be an integer of at least 1. Received: {steps_per_execution!r}"
            )
        compiled = Compiled(loss, loss_weights, metrics, weighted_metrics)
        if (outputs := self._known_outputs()) is not None:
            compiled.match(outputs)
        self.optimizer = None if optimizer is None else optimizers.get(optimizer)
        self.loss = loss
        self.run_eagerly, self.steps_per_execution = bool(run_eagerly), int(steps_per_execution)
        self.jit_compile = not run_eagerly if jit_compile == "auto" else jit_compile
        self.stop_training = False
        self.__dict__.update(_compiled=compiled, _last_learners=None)
        self.__dict__["_compile_arguments"] = {
            "optimizer": self.optimizer,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
            "jit_compile": self.jit_compile,
        }
        self.compiled = True

    def _known_outputs(self) -> Outputs | None:
        """What the model returns, if that is known before it is called."""
        if not self.output_names:
            return None
        numbers = list(range(len(self.output_names)))
        return Outputs(self._structured_outputs(numbers), self.output_names)

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given, as values that JSON can hold; empty for a model that is not compiled.

        Examples
        --------
        >>> from fastembed import Sequential
        >>> model = Sequential()
        >>> model.compile("sgd", "mse")
        >>> model.get_compile_config()["loss"]
        'mse'
        """
        if not self.compiled:
            return {}
        return {name: serialize_keras_object(value) for name, value in self._compile_arguments.items()}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile the model as `get_compile_config` has it, here or in Keras.

        Parameters
        ----------
        config : mapping
            Of any Keras; what a legacy ``.h5`` file has under ``training_config`` too.
        """
        if type(self).compile is not Trainer.compile:
            warnings.warn(
                "`compile()` was not called as part of model loading because the model's `compile()` method "
                "is custom. "
                "A class that overrides `compile()` should also override `get_compile_config()` and "
                "`compile_from_config(config)`; or call `compile()` after loading.",
                stacklevel=2,
            )
            return
        settings = {_OLD_SETTINGS.get(name, name): value for name, value in config.items()}
        read = {
            "optimizer": optimizers.get,
            "loss": losses.get,
            "metrics": metrics.get,
            "weighted_metrics": metrics.get,
        }
        for name, get in read.items():
            if settings.get(name) is not None:
                settings[name] = _read(get, settings[name])
        self.compile(**settings)
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    # --- What is learned, and measured --------------------------------------------------------------

    def _learners(self) -> _Learners:
        """What learns, and what is measured; found anew after a layer was changed."""
        learners = self._last_learners
        if learners is None or not learners.are_current():
            learners = self.__dict__["_last_learners"] = _Learners(self)
        return learners

    def _checked_compiled(self, method: str) -> Compiled:
        if self._compiled is None:
            raise ValueError(
                f"You must call `compile()` before `{method}()`: model.compile(optimizer='adam', "
                "loss='mse'), with the loss that your labels need"
            )
        return self._compiled

    def _prepare(self, method: str, first: Callable[[], Any], learn: bool = False) -> Compiled:
        """Build what is not built, for a first batch of inputs, and see that it can be done what is asked."""
        compiled = self._checked_compiled(method)
        if not self.built or compiled.outputs is None:
            self._match(compiled, first)
        if not compiled.loss.with_loss and type(self).compute_loss is Trainer.compute_loss:
            self._check_other_losses(method)
        if learn:
            self._check_can_learn(compiled)
        return compiled

    def _match(self, compiled: Compiled, first: Callable[[], Any]) -> None:
        y_pred = None
        if not self.built or not self.output_names:
            y_pred = self._called_to_build(first())
        if compiled.outputs is None:
            self._match_to(compiled, y_pred)

    def _match_to(self, compiled: Compiled, y_pred: Any) -> None:
        """Find out which losses and metrics belong to which of these outputs."""
        compiled.match(self._known_outputs() or Outputs(y_pred))
        self.__dict__["_last_learners"] = None  # whose metrics it changes

    def _called_to_build(self, x: Any) -> Any:
        try:
            return self(x, training=False) if "training" in self._call_parameters else self(x)
        except (ValueError, TypeError, IndexError):
            raise
        except Exception as error:
            raise RuntimeError(
                f"Unable to automatically build the model {self.name!r}. Build it before, by calling it on "
                "a batch of "
                f"data or by model.build(input_shape).\nException encountered: {type(error).__name__}: "
                f"{error}"
            ) from error

    def _check_other_losses(self, method: str) -> None:
        learners = self._learners()
        if not learners.regularized and not any(
            layer._losses or layer.activity_regularizer is not None for layer in learners.layers
        ):
            raise ValueError(
                f"No loss to compute in `{method}()`. Provide a `loss` argument in `compile()`: "
                "model.compile(optimizer, loss='mse')"
            )

    def _check_can_learn(self, compiled: Compiled) -> None:
        if type(self).train_step is not Trainer.train_step:
            return
        if type(self).compute_loss is not Trainer.compute_loss:
            raise TypeError(
                f"{type(self).__name__} has a `compute_loss` of its own, and nothing here finds the "
                "gradient of that. "
                "Give `compile` a loss with a gradient (fastembed.losses.with_gradient), or override "
                "`train_step(data)`: model(x, training=True), model.backward(gradient), optimizer.apply(...)"
            )
        if self.optimizer is None:
            raise ValueError(
                "The model was compiled without an optimizer: model.compile(optimizer='adam', loss=...)"
            )
        variables = self._learners().variables
        if not self.optimizer.built:
            self.optimizer.build(variables)

    @property
    def metrics(self) -> list[Any]:
        """The mean of the loss, the metrics of `compile` as one, the means of the outputs' losses, then
        others.

        Others are those in attributes of the model and of its layers.
        """
        return self._learners().metrics

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` and `train_on_batch` return in a list, in that order.

        Examples
        --------
        >>> from fastembed import Input, Model, layers
        >>> x = Input((2,))
        >>> model = Model(x, [layers.Dense(1, name="price")(x), layers.Dense(1, name="sold")(x)])
        >>> model.compile(loss=["mse", "binary_crossentropy"], metrics={"sold": ["acc"]})
        >>> model.metrics_names
        ['loss', 'price_loss', 'sold_loss', 'sold_acc']
        """
        names = [name for metric in self.metrics for name in getattr(metric, "names", [metric.name])]
        return self._learners().in_order(names)

    @property
    def compiled_metrics(self) -> Any:
        """The metrics of `compile`, as tf.keras has them: with ``update_state(y, y_pred, sample_weight)``."""
        return None if self._compiled is None else self._compiled.metrics

    def reset_metrics(self) -> None:
        """Begin the means of loss and metrics anew."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> Logs:
        """Loss and metrics, as they are now, by name."""
        results: Logs = {}
        for name, metric in self._learners().measured:
            result = metric.result()
            if isinstance(result, dict):
                results.update(result)
            else:
                results[name] = result
        return results

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of a batch: that of `compile`, and the `losses` of the layers.

        Overriding it changes what `evaluate` computes. What is learned needs a gradient, so `fit` refuses
        a model that has its own without a `train_step`.
        """
        compiled = self._checked_compiled("compute_loss")
        outputs = list(flatten(y_pred))
        labels, weights = self._arranged_labels(compiled, y, sample_weight, outputs)
        return compiled.loss.value(labels, outputs, weights, [None] * len(outputs)) + self._other_losses()

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Logs:
        """Take a batch into the metrics of `compile`, and return all logs. Overridden by models with more."""
        self._checked_compiled("compute_metrics").metrics.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def _other_losses(self) -> Any:
        """The sum of what layers add to the loss: activity regularizers, `add_loss`, penalties of weights."""
        total = np.float32(0)
        for loss in self.losses:
            total += np.float32(np.sum(loss))
        return total

    def _arranged_labels(
        self, compiled: Compiled, y: Any, sample_weight: Any, outputs: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Labels and weights of a batch, one entry an output."""
        if compiled.outputs is None:
            self._match_to(compiled, list(outputs) if len(outputs) > 1 else outputs[0])
        known: Outputs = compiled.outputs  # type: ignore[assignment]
        labels = known.parts(y, "y", compiled.loss.with_loss)
        weights = known.parts(sample_weight, "sample_weight", compiled.loss.with_loss)
        if not compiled.built:
            compiled.build(labels, outputs)
            self.__dict__["_last_learners"] = None
        return labels, weights

    # --- One batch ----------------------------------------------------------------------------------

    def train_step(self, data: Any) -> Logs:
        """Learn from a batch ``(x, y)`` or ``(x, y, sample_weight)``; return the logs.

        What `fit` does for each batch. A subclass may override it: it calls the model with ``training=True``,
        then ``self.backward`` with the gradient of its loss, then ``self.optimizer.apply``.
        """
        with Interrupts() as interrupts:
            return self._learn(*unpack_x_y_sample_weight(data), interrupts) or self.get_metrics_result()

    def test_step(self, data: Any) -> Logs:
        """Measure a batch ``(x, y)`` or ``(x, y, sample_weight)``; return the logs.

        What `evaluate` does for each batch.
        """
        return self._measure(*unpack_x_y_sample_weight(data)) or self.get_metrics_result()

    def predict_step(self, data: Any) -> Any:
        """The outputs for a batch of inputs: what `predict` does for each."""
        return self(unpack_x_y_sample_weight(data)[0])

    def _learn(self, x: Any, y: Any, sample_weight: Any, interrupts: Interrupts) -> Logs | None:
        """A step: whole, or not at all."""
        compiled: Compiled = self._compiled  # type: ignore[assignment]
        learners = self._learners()
        tape = None
        with interrupts.whole, np.errstate(all="ignore"):  # a NaN is what TerminateOnNaN is there for
            try:
                for variable in learners.weights:
                    variable.gradient = None
                inputs = self._flat_inputs(x)
                outputs, masks, tape = self._record(inputs)
                labels, weights = self._arranged_labels(compiled, y, sample_weight, outputs)
                loss, upstreams = compiled.loss.value_and_gradients(labels, outputs, weights, masks)
                added = learners.add_losses()
                if added or learners.regularized:
                    loss = loss + self._other_losses()
                if added:  # layers then have gradients of their own, also where no loss comes from an output
                    pairs = zip(outputs, upstreams)
                    upstreams = [np.zeros_like(out) if slope is None else slope for out, slope in pairs]
                self._backpropagate(tape, upstreams)
                tape = None  # views in it would have the optimizer copy what it moves
                for variable in learners.regularized:
                    variable.add_gradient(gradient_of(variable.regularizer)(variable.value))
                compiled.loss_tracker.update_state(loss, sample_weight=len(inputs[0]))
                logs = None
                if learners.measures:
                    logs = self.compute_metrics(x, y, self._structured_outputs(outputs), sample_weight)
                else:
                    compiled.metrics.update(labels, outputs, weights)
                self._apply(learners.variables)
                return logs
            finally:
                if tape is not None:
                    self._discard(tape)
                for variable in learners.weights:
                    variable.gradient = None

    def _apply(self, variables: Sequence[Variable]) -> None:
        """Let the optimizer make its step; a weight without a gradient has one of zeros, as on JAX."""
        gradients = [v.gradient if v.gradient is not None else _no_gradient(v) for v in variables]
        factor = self.optimizer.scale_loss(1.0)
        if factor != 1.0:
            gradients = [with_values(gradient, lambda values: values * factor) for gradient in gradients]
        self.optimizer.apply(gradients, variables)

    def _measure(self, x: Any, y: Any, sample_weight: Any) -> Logs | None:
        """Loss and metrics of a batch, added to those before it."""
        compiled: Compiled = self._compiled  # type: ignore[assignment]
        learners = self._learners()
        with np.errstate(all="ignore"):
            inputs = self._flat_inputs(x)
            outputs, masks = self._forward(inputs, False)
            labels, weights = self._arranged_labels(compiled, y, sample_weight, outputs)
            if type(self).compute_loss is not Trainer.compute_loss:
                y_pred = self._structured_outputs(outputs)
                loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False)
            else:
                loss = compiled.loss.value(labels, outputs, weights, masks)
                if learners.regularized or learners.add_losses():
                    loss = loss + self._other_losses()
            compiled.loss_tracker.update_state(loss, sample_weight=len(inputs[0]))
            if learners.measures:
                return self.compute_metrics(x, y, self._structured_outputs(outputs), sample_weight)
            compiled.metrics.update(labels, outputs, weights, masks)
            return None

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
        *,
        reset_metrics: bool = True,
    ) -> Any:
        """Make one step, and return loss and metrics of its batch, as they were before it.

        Parameters
        ----------
        x, y, sample_weight : array_like, or structure of them
        class_weight : dict, optional
        return_dict : bool, default False
        reset_metrics : bool, default True
            False adds the batch to those before it.

        Returns
        -------
        float, list of float or dict of float
            The loss if there is nothing else; otherwise in the order of `metrics_names`, or by name.

        Raises
        ------
        ValueError
            If the model is not compiled, or the data do not fit it. Weights are then as they were.
        """
        batch = _one_batch(x, y, sample_weight, class_weight)
        self._prepare("train_on_batch", lambda: batch[0], learn=True)
        if reset_metrics:
            self.reset_metrics()
        return self._returned(self._step_for_training()(*batch), return_dict)

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
        *,
        reset_metrics: bool = True,
    ) -> Any:
        """Loss and metrics of one batch.

        Parameters and results are those of `train_on_batch`, without a step.
        """
        batch = _one_batch(x, y, sample_weight, None)
        self._prepare("test_on_batch", lambda: batch[0])
        if reset_metrics:
            self.reset_metrics()
        return self._returned(self._step_for_testing()(*batch), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch of inputs.

        >>> from fastembed import Sequential, layers
        >>> model = Sequential([layers.Embedding(10, 2, embeddings_initializer="ones")])
        >>> model.predict_on_batch(np.array([[1, 2]])).tolist()
        [[[1.0, 1.0], [1.0, 1.0]]]
        """
        outputs = self(x)
        if type(outputs) is np.ndarray and type(x) is np.ndarray:
            base = outputs.base  # of a view the array that it shows
            shared = outputs is x or (base is not None and (base is x or base is x.base))
            return outputs.copy() if shared else outputs
        return map_structure(lambda each: _of_its_own(each, x), outputs)

    def _step_for_training(self, interrupts: Interrupts | None = None) -> Step:
        """What is done with a batch: this class's way, or that of a subclass."""
        if type(self).train_step is not Trainer.train_step:
            return lambda x, y, sample_weight: self.train_step(pack_x_y_sample_weight(x, y, sample_weight))

        def alone(x: Any, y: Any, sample_weight: Any) -> Logs | None:
            with Interrupts() as own:
                return self._learn(x, y, sample_weight, own)

        if interrupts is None:
            return alone
        return lambda x, y, sample_weight: self._learn(x, y, sample_weight, interrupts)

    def _step_for_testing(self) -> Step:
        if type(self).test_step is not Trainer.test_step:
            return lambda x, y, sample_weight: self.test_step(pack_x_y_sample_weight(x, y, sample_weight))
        return self._measure

    def _logs(self, of_step: Any) -> Logs:
        """Loss and metrics; the last step's, if it has others than the model."""
        measured = self.get_metrics_result()
        return measured if of_step is None or set(of_step) == set(measured) else dict(of_step)

    def _returned(self, of_step: Any, return_dict: bool) -> Any:
        """Logs as methods return them."""
        logs = self.get_metrics_result() if of_step is None else of_step
        if return_dict:
            return _as_floats(logs)
        values = [_as_float(logs[name]) for name in self._learners().in_order(logs)]
        return values[0] if len(values) == 1 else values

    # --- Many batches -------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        **old: Any,
    ) -> Any:
        """Learn from data, epoch after epoch.

        Parameters
        ----------
        x : array_like, list or dict of them, generator, PyDataset
            The inputs. A generator or a dataset yields batches ``(x, y)`` or ``(x, y, sample_weight)``.
        y : array_like, or list or dict of them, optional
            The labels.
        batch_size : int, default 32
            Examples in a step, where ``x`` are arrays.
        epochs : int, default 1
            How often to go through the data (10 in the era of Keras 1). With ``initial_epoch``, the number of
            the last epoch, not how many there are.
        verbose : {"auto", 0, 1, 2}
            Nothing, a progress bar, or a line for each epoch; "auto" is 1.
        callbacks : list of Callback, optional
        validation_split : float, default 0
            The share of the arrays, from their end and before they are shuffled, that is measured after each
            epoch and not learned from.
        validation_data : tuple, generator or PyDataset, optional
            ``(x, y)`` or ``(x, y, sample_weight)`` to measure after each epoch.
        shuffle : bool, default True
            Whether each epoch has another order.
        class_weight : dict, optional
            The weight of the examples of each class.
        sample_weight : array_like, optional
            The weight of each example in the loss and in ``weighted_metrics``.
        initial_epoch : int, default 0
        steps_per_epoch, validation_steps : int, optional
            Batches in an epoch; needed where a generator does not end.
        validation_batch_size : int, optional
            Default: ``batch_size``.
        validation_freq : int or list of int, default 1
            After every how many epochs, or after which, to validate.
        **old
            ``nb_epoch`` of Keras 1; ``workers``, ``use_multiprocessing`` and ``max_queue_size`` of Keras 2,
            which a `PyDataset` says itself now.

        Returns
        -------
        History
            Its ``history`` has loss and metrics of each epoch, by name.

        Raises
        ------
        ValueError
            If the model is not compiled, or the data do not fit it or each other.
        RuntimeError
            If a layer cannot be differentiated, naming it.

        Notes
        -----
        A step that raises an error leaves the weights as they were before it. Ctrl-C ends the training
        between two steps, and KeyboardInterrupt goes on to the caller; the weights are those of the last
        step, and training can go on with another `fit`.

        Examples
        --------
        >>> from fastembed import Sequential, layers
        >>> model = Sequential([layers.Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> x = np.array([[0.0], [1.0], [2.0]])
        >>> history = model.fit(x, 2 * x, epochs=3, verbose=0)
        >>> len(history.history["loss"]), history.history["loss"][2] < history.history["loss"][0]
        (3, True)
        """
        self._checked_compiled("fit")
        epochs = _epochs(epochs, _old_arguments("fit", old, "nb_epoch").get("nb_epoch"))
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split(x, y, sample_weight, validation_split)
        source = source_of(x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight)
        validation: Source | None = None
        if validation_data is not None:
            _is_due(1, validation_freq)
            parts = unpack_x_y_sample_weight(validation_data)
            validation = source_of(*parts, validation_batch_size or batch_size, validation_steps)
        self._prepare("fit", lambda: source.peek()[0], learn=True)
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(
                callbacks,
                add_history=True,
                add_progbar=verbose != 0,
                verbose=verbose,
                epochs=epochs,
                steps=source.num_batches,
                model=self,
            )
        self.__dict__["stop_training"] = False
        callbacks.on_train_begin()
        logs: Logs = {}
        with Interrupts() as interrupts:
            step = self._step_for_training(interrupts)
            try:
                for epoch in range(self._initial_epoch or initial_epoch, epochs):
                    if not source.ready():
                        break
                    self.reset_metrics()
                    callbacks.on_epoch_begin(epoch)
                    batch_hooks = callbacks.on_train_batch_begin, callbacks.on_train_batch_end
                    logs = self._logs(self._go_through(source, step, batch_hooks, "stop_training"))
                    if validation is not None and _is_due(epoch + 1, validation_freq) and validation.ready():
                        measured = self.evaluate(validation, callbacks=callbacks, return_dict=True)
                        logs.update((f"val_{name}", value) for name, value in measured.items())
                    callbacks.on_epoch_end(epoch, logs)
                    if self.stop_training:
                        break
            finally:
                if epochs > 0 and getattr(self.optimizer, "built", False):
                    self.optimizer.finalize_variable_values(self.trainable_weights)
        callbacks.on_train_end(logs)
        return self.history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **old: Any,
    ) -> Any:
        """Loss and metrics of data.

        Parameters
        ----------
        x, y, batch_size, verbose, sample_weight, callbacks
            As for `fit`.
        steps : int, optional
            How many batches to take.
        return_dict : bool, default False

        Returns
        -------
        float, list of float or dict of float
            The loss if there is nothing else; otherwise in the order of `metrics_names`, or by name.

        Raises
        ------
        ValueError
            As for `fit`.

        Examples
        --------
        >>> from fastembed import Sequential, layers
        >>> model = Sequential([layers.Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile(loss="mse", metrics=["mae"])
        >>> model.evaluate(np.array([[1.0], [2.0]]), np.array([[3.0], [-1.0]]), verbose=0)
        [5.0, 2.0]
        """
        self._checked_compiled("evaluate")
        _old_arguments("evaluate", old)
        source = source_of(x, y, sample_weight, batch_size, steps)
        self._prepare("evaluate", lambda: source.peek()[0])
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(
                callbacks,
                add_progbar=verbose != 0,
                verbose=verbose,
                epochs=1,
                steps=source.num_batches,
                model=self,
            )
        self.__dict__["stop_evaluating"] = False
        callbacks.on_test_begin()
        self.reset_metrics()
        batch_hooks = callbacks.on_test_batch_begin, callbacks.on_test_batch_end
        logs = _as_floats(
            self._logs(self._go_through(source, self._step_for_testing(), batch_hooks, "stop_evaluating"))
        )
        callbacks.on_test_end(logs)
        return logs if return_dict else self._returned(logs, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        **old: Any,
    ) -> Any:
        """The outputs for data, batch by batch.

        Parameters
        ----------
        x, batch_size, verbose, callbacks
            As for `fit`.
        steps : int, optional
            How many batches to take.

        Returns
        -------
        ndarray, or structure of them
            In the structure in which the model returns its outputs. All batches of an output are in one
            array.

        Raises
        ------
        ValueError
            If the data do not fit the model.

        Examples
        --------
        >>> from fastembed import Sequential, layers
        >>> model = Sequential([layers.Embedding(10, 2, embeddings_initializer="ones")])
        >>> model.predict(np.array([[1], [2], [3]]), batch_size=2, verbose=0).shape
        (3, 1, 2)
        """
        _old_arguments("predict", old)
        own_step = type(self).predict_step is not Trainer.predict_step
        if (
            verbose == 0
            and callbacks is None
            and steps is None
            and not own_step
            and _is_one_batch(x, batch_size)
        ):
            return self.predict_on_batch(x)
        source = source_of(x, None, None, batch_size, steps)
        if not self.built:
            self._called_to_build(source.peek()[0])
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(
                callbacks,
                add_progbar=verbose != 0,
                verbose=verbose,
                epochs=1,
                steps=source.num_batches,
                model=self,
            )
        self.__dict__["stop_predicting"] = False
        callbacks.on_predict_begin()
        collected = _Collected(source)

        def step(x: Any, *_: Any) -> Logs:
            outputs = self.predict_step(pack_x_y_sample_weight(x)) if own_step else self.predict_on_batch(x)
            collected.add(outputs)
            return {"outputs": outputs}

        batch_hooks = callbacks.on_predict_batch_begin, callbacks.on_predict_batch_end
        self._go_through(source, step, batch_hooks, "stop_predicting")
        callbacks.on_predict_end()
        return collected.result()

    def _go_through(
        self, source: Source, step: Step, hooks: tuple[Callable[..., None], Callable[..., None]], stop: str
    ) -> Any:
        """Make a step of each batch of an epoch; return what the last one gave."""
        (begin, end), every, logs, number = hooks, self.steps_per_execution, None, -1
        source.on_epoch_begin()
        batches = source.epoch()
        try:
            for number, (x, y, sample_weight) in enumerate(batches):
                if every == 1 or number % every == 0:
                    begin(number)
                logs = step(x, y, sample_weight)
                if every == 1 or number % every == every - 1:
                    end(number, self.get_metrics_result if logs is None else logs)
                    if getattr(self, stop):
                        break
            else:
                if rest := (number + 1) % every:
                    end(number + every - rest, self.get_metrics_result if logs is None else logs)
        finally:
            if isinstance(batches, Generator):
                batches.close()  # at once, also after an error: it may hold threads
        source.on_epoch_end()
        return logs

    # --- As earlier Kerases have it -----------------------------------------------------------------

    def predict_proba(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> Any:
        """`predict`, in Keras 1 and 2; a warning says if what it gives are no probabilities."""
        outputs = self.predict(x, batch_size=batch_size, verbose=verbose)
        if any(np.min(each, initial=0) < 0 or np.max(each, initial=0) > 1 for each in flatten(outputs)):
            warnings.warn(
                "Network returning invalid probability values. The last layer might not normalize "
                "predictions into "
                "probabilities (like softmax or sigmoid would).",
                stacklevel=2,
            )
        return outputs

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> NDArray[Any]:
        """The class that is predicted for each example, in Keras 1 and 2.

        The number of the largest output, or of a single output whether it is above 0.5.

        >>> from fastembed import Sequential, layers
        >>> model = Sequential([layers.Input((3,)), layers.Softmax()])
        >>> model.predict_classes(np.array([[0.1, 0.7, 0.2]]))
        array([1])
        """
        outputs = self.predict(x, batch_size=batch_size, verbose=verbose)
        if outputs.shape[-1] > 1:
            classes: NDArray[Any] = np.argmax(outputs, axis=-1)
            return classes
        return (outputs > 0.5).astype("int32")

    def fit_generator(
        self,
        generator: Any,
        steps_per_epoch: int | None = None,
        epochs: int | None = None,
        verbose: Any = 1,
        callbacks: Any = None,
        validation_data: Any = None,
        validation_steps: int | None = None,
        class_weight: Mapping[int, float] | None = None,
        **more: Any,
    ) -> Any:
        """`fit` from a generator, in Keras 1 and 2.

        ``samples_per_epoch`` and ``nb_val_samples`` of Keras 1 are examples instead of batches; the first
        batch says how many are in one. In the era of Keras 1 the second argument is ``samples_per_epoch``.
        """
        taken = {
            name: more.pop(name) for name in ("shuffle", "initial_epoch", "validation_freq") if name in more
        }
        samples, nb_val_samples = more.pop("samples_per_epoch", None), more.pop("nb_val_samples", None)
        epochs = _epochs(epochs, _old_arguments("fit_generator", more, "nb_epoch").get("nb_epoch"))
        if eras.current().counts_samples and samples is None:
            samples, steps_per_epoch = steps_per_epoch, None
            nb_val_samples, validation_steps = nb_val_samples or validation_steps, None
        if samples is not None:
            generator, steps_per_epoch = _in_batches(generator, samples)
        if nb_val_samples is not None and not isinstance(validation_data, (tuple, list)):
            validation_data, validation_steps = _in_batches(validation_data, nb_val_samples)
        return self.fit(
            generator,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_data=validation_data,
            validation_steps=validation_steps,
            class_weight=class_weight,
            **taken,
        )

    def evaluate_generator(
        self, generator: Any, steps: int | None = None, callbacks: Any = None, verbose: Any = 0, **more: Any
    ) -> Any:
        """`evaluate` from a generator, in Keras 1 (whose ``val_samples`` are examples) and 2."""
        generator, steps = _samples_or_steps("evaluate_generator", generator, steps, more)
        return self.evaluate(generator, steps=steps, callbacks=callbacks, verbose=verbose)

    def predict_generator(
        self, generator: Any, steps: int | None = None, callbacks: Any = None, verbose: Any = 0, **more: Any
    ) -> Any:
        """`predict` from a generator, in Keras 1 (whose ``val_samples`` are examples) and 2."""
        generator, steps = _samples_or_steps("predict_generator", generator, steps, more)
        return self.predict(generator, steps=steps, callbacks=callbacks, verbose=verbose)


# --- What the methods share -----------------------------------------------------------------------


class _Learners:
    """What of a model learns and what is measured, while nobody changes a layer or freezes a weight."""

    def __init__(self, model: Trainer) -> None:
        self.layers: list[Any] = model._with_layers_inside()
        self._changes = sum([layer._changes for layer in self.layers])
        self.weights: list[Variable] = model.weights
        self._flags = [variable.trainable for variable in self.weights]
        self.variables: list[Variable] = model.trainable_variables
        self.regularized = [variable for variable in self.variables if variable.regularizer is not None]
        self.metrics: list[Any] = [] if model._compiled is None else list(model._compiled.all_metrics)
        for layer in self.layers:
            if layer is model or not isinstance(layer, Trainer):
                self.metrics += [each for each in _leaves(list(vars(layer).values())) if _is_metric(each)]
        # What has a result, by its name in logs.
        self.measured = [pair for metric in self.metrics for pair in _named(metric)]
        self._order: tuple[set[str], list[str]] = set(), []
        # Whether the model has its own way of measuring.
        self.measures = type(model).compute_metrics is not Trainer.compute_metrics

    def add_losses(self) -> bool:
        """Whether the last call of the model left losses of layers."""
        return any(layer._losses for layer in self.layers)

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Names of logs in the order of `metrics`; last, in theirs, those that are not names of metrics."""
        if len(self._order[1]) != len(list(names)) or not self._order[0].issuperset(names):
            known = [name for metric in self.metrics for name in getattr(metric, "own_names", [metric.name])]
            listed = [name for name in dict.fromkeys(known) if name in names]
            self._order = set(names), [*listed, *sorted(name for name in names if name not in known)]
        return self._order[1]

    def are_current(self) -> bool:
        return (
            sum([layer._changes for layer in self.layers]) == self._changes
            and [variable.trainable for variable in self.weights] == self._flags
        )


class _Collected:
    """The outputs of all batches, in one array each."""

    def __init__(self, source: Source) -> None:
        batches, size = source.num_batches, source.batch_size
        self._rows = None if batches is None or size is None else batches * size
        self._single = batches == 1
        self._structure: Any = None
        self._parts: list[list[Any]] = []  # of each output, its batches
        self._whole: list[
            NDArray[Any]
        ] = []  # the arrays that they go into, where it is known how many rows come
        self._filled = 0

    def add(self, outputs: Any) -> None:
        """Take a batch."""
        flat = [np.asarray(each) for each in flatten(outputs)]
        if self._structure is None:
            self._structure = outputs
            self._parts = [[] for _ in flat]
            self._single = self._single or any(not each.ndim for each in flat)
            if self._rows is not None and not self._single:
                self._whole = [np.empty((self._rows, *each.shape[1:]), each.dtype) for each in flat]
        if self._whole:
            start, self._filled = self._filled, self._filled + len(flat[0])
            for whole, each in zip(self._whole, flat):
                whole[start : self._filled] = each
        else:
            for part, each in zip(self._parts, flat):
                part.append(each)

    def result(self) -> Any:
        """All of them, in the structure of the first."""
        if self._structure is None:
            raise ValueError("there was no batch to predict for")
        if self._whole:
            for whole in self._whole:
                if len(whole) > self._filled:
                    whole.resize((self._filled, *whole.shape[1:]), refcheck=False)
            return pack_as(self._structure, self._whole)
        return pack_as(self._structure, [p[0] if len(p) == 1 else np.concatenate(p) for p in self._parts])


def _is_plain(part: Any, x: Any) -> bool:
    """Whether a part of a batch is an array of as many examples as ``x``, and has a dtype that it can "
    "keep."""
    if type(part) is not np.ndarray:
        return part is None and x is not None
    return (
        part.ndim > 0
        and 0 < len(part) == len(x)
        and part.dtype.char in "?bBhHiIlLqQf"
        and floatx() == "float32"
    )


def _of_its_own(output: Any, x: Any) -> Any:
    """An output that shares no memory with what the user has."""
    given = [each for each in flatten(x) if isinstance(each, np.ndarray)]
    return np.array(output) if any(np.may_share_memory(output, each) for each in given) else output


def _is_one_batch(x: Any, batch_size: int | None) -> bool:
    """Whether ``x`` are plain arrays of no more examples than a batch has."""
    if type(x) is np.ndarray:
        return x.dtype.kind in "biuf" and x.ndim > 0 and 0 < len(x) <= (batch_size or 32)
    if type(x) in (list, tuple) and x and all(type(each) is np.ndarray for each in x):
        return all(_is_one_batch(each, batch_size) for each in x) and len({len(each) for each in x}) == 1
    return False


def _one_batch(x: Any, y: Any, sample_weight: Any, class_weight: Any) -> Any:
    """A batch as `fit` would make it of these."""
    if class_weight is None and all(_is_plain(each, x) for each in (x, y, sample_weight)):
        return x, y, sample_weight
    return source_of(x, y, sample_weight, sys.maxsize, None, False, class_weight).peek()


def _in_batches(generator: Any, samples: int) -> tuple[Any, int]:
    """A generator, and in how many of its batches that many examples are."""
    if not hasattr(generator, "__next__"):
        first = generator[0] if hasattr(generator, "__getitem__") else next(iter(generator))
    else:
        first = next(generator)
        generator = itertools.chain([first], generator)
    size = len(next(flatten(unpack_x_y_sample_weight(first)[0])))
    return generator, math.ceil(samples / size)


def _samples_or_steps(method: str, generator: Any, steps: int | None, more: Logs) -> tuple[Any, int | None]:
    samples = _old_arguments(method, more, "val_samples").get("val_samples")
    if samples is None and eras.current().counts_samples:
        samples = steps
    return (generator, steps) if samples is None else _in_batches(generator, samples)


def _old_arguments(method: str, given: Logs, *known: str) -> Logs:
    """Those of earlier Kerases that say something; TypeError for what no Keras has."""
    unknown = [name for name in given if name not in _OF_QUEUES and name not in known]
    if unknown:
        raise TypeError(f"{method}() got an unexpected keyword argument {unknown[0]!r}")
    return {name: value for name, value in given.items() if name in known}


def _epochs(epochs: int | None, nb_epoch: int | None) -> int:
    if epochs is not None and nb_epoch is not None:
        raise TypeError("`nb_epoch` is Keras 1's name for `epochs`: give one of the two")
    given = nb_epoch if epochs is None else epochs
    given = eras.current().epochs if given is None else given
    try:
        return operator.index(given)
    except TypeError:
        raise TypeError(f"`epochs` must be a whole number. Received: epochs={given!r:.80}") from None


def _is_due(epoch: int, frequency: Any) -> bool:
    """Whether there is a validation after the epoch of this number, counted from 1."""
    if isinstance(frequency, (int, np.integer)) and frequency >= 1:
        return epoch % int(frequency) == 0
    if isinstance(frequency, (list, tuple, set, frozenset)):
        return epoch in frequency
    raise ValueError(
        "Expected `validation_freq` to be a list or int (of at least 1). Received: "
        f"validation_freq={frequency!r:.80} of the type {type(frequency)}."
    )


def _check_old_settings(old: Logs) -> None:
    """Refuse what no Keras has, and what earlier ones have and nobody obeys here."""
    modes = list(_leaves(old.get("sample_weight_mode")))
    if any(mode not in (None, "temporal", "samplewise") for mode in modes):
        raise ValueError(
            f"`sample_weight_mode` is None or 'temporal'. Received: {old['sample_weight_mode']!r:.80}"
        )
    if any(each is not None for each in _leaves(old.get("target_tensors"))):
        raise ValueError("`target_tensors` are TensorFlow's; labels here are arrays, given to `fit` as `y`")
    for name in old.keys() - _OLD_COMPILE:
        raise TypeError(f"compile() got an unexpected keyword argument {name!r}")


_OLD_COMPILE = {"sample_weight_mode", "target_tensors"}
# What compile's arguments are called in the configs of legacy files.
_OLD_SETTINGS = {"optimizer_config": "optimizer"}


def _are_numbers(given: Any) -> bool:
    return all(each is None or isinstance(each, (int, float, np.number)) for each in _leaves(given))


def _leaves(given: Any) -> Iterator[Any]:
    """What lists, tuples and dicts hold."""
    if isinstance(given, (list, tuple, Mapping)):
        for part in given.values() if isinstance(given, Mapping) else given:
            yield from _leaves(part)
    else:
        yield given


def _named(metric: Any) -> Iterable[tuple[str, Any]]:
    """The names in logs of what has a result, which the metrics of `compile` have each for itself."""
    return metric.by_log() if isinstance(metric, CompiledMetrics) else [(metric.name, metric)]


def _is_metric(value: Any) -> bool:
    return isinstance(value, metrics.Metric)


def _read(get: Callable[[Any], Any], config: Any) -> Any:
    """A loss, a metric or the like out of its config; a structure of them; names stay names."""
    if isinstance(config, Mapping) and "class_name" in config:
        return get(config)
    if isinstance(config, Mapping):
        return {name: _read(get, part) for name, part in config.items()}
    if isinstance(config, (list, tuple)):
        return [_read(get, part) for part in config]
    return config


def _no_gradient(variable: Variable) -> Any:
    """What says that no loss depends on it."""
    shape = variable.shape
    if not shape:
        return np.zeros((), np.float32)
    return IndexedSlices(np.zeros((0, *shape[1:]), np.float32), np.zeros(0, np.int64), shape)


def _as_floats(logs: Logs) -> Logs:
    """The logs by the order of their names, numbers as Python's."""
    return {name: _as_float(value) for name, value in sorted(logs.items())}


def _as_float(value: Any) -> Any:
    try:
        return float(value) if not isinstance(value, np.ndarray) or not value.ndim else value
    except (TypeError, ValueError):  # what a step of a model's own returns
        return value

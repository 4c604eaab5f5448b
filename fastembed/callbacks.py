"""Callbacks: what is done between the steps of a training.

Behaviour is that of keras/src/callbacks of Keras 3.15.
"""

from __future__ import annotations

import contextlib
import csv
import inspect
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable

import numpy as np

from fastembed import eras
from fastembed.eras import any_era
from fastembed.progress import Progbar, print_msg

__all__ = [
    "BackupAndRestore",
    "BaseLogger",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "MonitorCallback",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]

Logs = dict[str, Any]


class Callback:
    """Base of callbacks: a subclass overrides the methods for the moments at which it does something.

    Attributes
    ----------
    model : Model
        The one that is trained. Setting its ``stop_training`` to True ends the training.
    params : dict
        ``verbose``, ``epochs`` and ``steps`` (None where it is not known how many batches an epoch has).

    Notes
    -----
    ``logs`` of a batch are loss and metrics of the epoch so far; those of an epoch have those of the
    validation too, under names with ``val_``. All callbacks get the same dict of an epoch, in turn.

    Examples
    --------
    >>> class Diary(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, logs["loss"])
    >>> CallbackList([Diary()]).on_epoch_end(0, {"loss": 0.5})
    0 0.5
    """

    params: Any = None
    model: Any = None

    def set_params(self, params: Logs) -> None:
        """Called before anything else: ``params`` becomes the attribute."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Called before anything else: ``model`` becomes the attribute."""
        self.model = model

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """An earlier name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """An earlier name of `on_train_batch_end`."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch of `fit`; the first is number 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after each epoch of `fit`, and its validation, with their results."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `fit`; the first of an epoch is number 0."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `fit`, with the results so far."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `evaluate`, and of the validation in `fit`."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `evaluate`, and of the validation in `fit`, with the results so far."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `predict`; ``logs["outputs"]`` is what the model gave."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called after the last epoch, with its logs; not where an error ended the training."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before `evaluate`, and before the validation in `fit`."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after `evaluate`, and after the validation in `fit`, with its results."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before `predict`."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after `predict`."""


_HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
_EARLIER_NAMES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def _hook(callback: Any, name: str) -> Callable[..., Any] | None:
    """What a callback does at this moment; None where it does nothing."""
    hook = getattr(callback, name, None)
    if getattr(hook, "__func__", None) is not getattr(Callback, name):
        return hook
    return _hook(callback, _EARLIER_NAMES[name]) if name in _EARLIER_NAMES else None


def _as_numbers(logs: Any) -> Logs:
    """``logs``, or what a function gives for them, in the order of their names and with Python's floats."""
    if callable(logs):
        logs = logs()
    numbers: Logs = {}
    for name, value in sorted(logs.items()) if logs else ():
        if isinstance(value, Mapping):
            numbers.update(_as_numbers(value))
            continue
        if type(value) is not float and not isinstance(value, (str, list, tuple)) and not np.ndim(value):
            with contextlib.suppress(TypeError, ValueError):
                value = float(value)
        numbers[name] = value
    return numbers


def _at_each(name: str) -> Any:
    """A method of `CallbackList` that calls those of the callbacks: of a batch or an epoch."""

    def call(self: CallbackList, index: int, logs: Any = None) -> None:
        if hooks := self._hooks[name]:
            logs = _as_numbers(logs)
            for hook in hooks:
                hook(index, logs)

    call.__name__, call.__doc__ = name, getattr(Callback, name).__doc__
    return call


def _at(name: str) -> Any:
    """The same of a training, an evaluation or a prediction as a whole."""

    def call(self: CallbackList, logs: Any = None) -> None:
        if name.endswith("_begin"):
            self._find_hooks()
        logs = _as_numbers(logs)
        for hook in self._hooks[name]:
            hook(logs)

    call.__name__, call.__doc__ = name, getattr(Callback, name).__doc__
    return call


class CallbackList:
    """Several callbacks that are called as one.

    Parameters
    ----------
    callbacks : Callback or list of them, optional
        Nested lists are allowed.
    add_history, add_progbar : bool, default False
        Whether a `History` and a `ProgbarLogger` are added where there is none.
    model : Model, optional
        What the callbacks get as their ``model``.
    **params
        What they get as their ``params``.

    Raises
    ------
    TypeError
        If one of them is no callback, or a class instead of an object of it.

    Notes
    -----
    A batch of which no callback wants to know costs next to nothing. ``logs`` may be a function that makes
    them, which is called only where a callback is.

    Examples
    --------
    >>> every = LambdaCallback(on_train_batch_end=lambda batch, logs: print(batch, logs))
    >>> callbacks = CallbackList([every], add_history=True, epochs=1)
    >>> callbacks.on_train_begin()
    >>> callbacks.on_train_batch_end(0, lambda: {"loss": np.float32(0.5)})
    0 {'loss': 0.5}
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks: list[Any] = []
        self.model: Any = None
        self.params: Logs = params
        for callback in _flat(callbacks):
            self._check(callback)
            self.callbacks.append(callback)
        if add_history and not any(isinstance(callback, History) for callback in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(callback, ProgbarLogger) for callback in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        self._find_hooks()
        self.set_model(model)
        self.set_params(params)

    @staticmethod
    def _check(callback: Any) -> None:
        if isinstance(callback, type):
            raise TypeError(f"callbacks are objects: write {callback.__name__}(...), not {callback.__name__}")
        if not any(hasattr(callback, name) for name in _HOOKS):
            raise TypeError(
                "Expected a callback, an object with methods such as `on_epoch_end`. Received: "
                f"{callback!r:.200} "
                f"(of type {type(callback)})"
            )

    def append(self, callback: Any) -> None:
        """Add a callback at the end.

        Parameters
        ----------
        callback : Callback
        """
        self._check(callback)
        self.callbacks.append(callback)
        self._find_hooks()

    def set_params(self, params: Logs) -> None:
        """Give every callback these ``params``."""
        self.params = params
        for callback in self.callbacks if params else ():
            if hasattr(callback, "set_params"):
                callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Give every callback this ``model``; its ``history`` becomes the `History` among them."""
        if model is None:
            return
        self.model = model
        for callback in self.callbacks:
            if isinstance(callback, History):
                model.history = callback
            if hasattr(callback, "set_model"):
                callback.set_model(model)

    def _find_hooks(self) -> None:
        """Who is called when: found anew at each beginning, for a callback may get a method by assignment."""
        self._hooks = {
            name: [hook for callback in self.callbacks if (hook := _hook(callback, name)) is not None]
            for name in _HOOKS
        }

    on_batch_begin = _at_each("on_batch_begin")
    on_batch_end = _at_each("on_batch_end")
    on_epoch_begin = _at_each("on_epoch_begin")
    on_epoch_end = _at_each("on_epoch_end")
    on_train_batch_begin = _at_each("on_train_batch_begin")
    on_train_batch_end = _at_each("on_train_batch_end")
    on_test_batch_begin = _at_each("on_test_batch_begin")
    on_test_batch_end = _at_each("on_test_batch_end")
    on_predict_batch_begin = _at_each("on_predict_batch_begin")
    on_predict_batch_end = _at_each("on_predict_batch_end")
    on_train_begin = _at("on_train_begin")
    on_train_end = _at("on_train_end")
    on_test_begin = _at("on_test_begin")
    on_test_end = _at("on_test_end")
    on_predict_begin = _at("on_predict_begin")
    on_predict_end = _at("on_predict_end")


def _flat(callbacks: Any) -> Iterator[Any]:
    if isinstance(callbacks, (list, tuple)):
        for each in callbacks:
            yield from _flat(each)
    elif callbacks is not None:
        yield callbacks


# --- Records of a training ------------------------------------------------------------------------


class History(Callback):
    """What `fit` returns: loss and metrics of each epoch.

    Attributes
    ----------
    history : dict of list
        The values of all epochs, by name.
    epoch : list of int
        The numbers of these epochs, counted from 0.

    Examples
    --------
    >>> history = History()
    >>> callbacks = CallbackList([history])
    >>> callbacks.on_train_begin()
    >>> callbacks.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.75})
    >>> history.history, history.epoch
    ({'loss': [0.5], 'val_loss': [0.75]}, [0])
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        if self.model is not None:
            self.model.history = self


class BaseLogger(Callback):
    """Does nothing: what it averaged in Keras 1 and 2 the metrics average.

    Parameters
    ----------
    stateful_metrics : iterable of str, optional
        Ignored.
    """

    def __init__(self, stateful_metrics: Iterable[str] | None = None) -> None:
        pass


class ProgbarLogger(Callback):
    """Draws a `Progbar` of each epoch; `fit`, `evaluate` and `predict` add one by themselves.

    Parameters
    ----------
    count_mode : str, default "steps"
        Of earlier Kerases; steps are counted.
    stateful_metrics : iterable of str, optional
        Of earlier Kerases; all metrics are shown as they are.

    Examples
    --------
    >>> callbacks = CallbackList([ProgbarLogger()], verbose=2, epochs=3, steps=40)
    >>> callbacks.on_epoch_begin(0)
    Epoch 1/3
    >>> callbacks.on_epoch_end(0, {"loss": 0.5})  # doctest: +ELLIPSIS
    40/40 - 0s - .../step - loss: 0.5000
    """

    def __init__(self, count_mode: str = "steps", stateful_metrics: Iterable[str] | None = None) -> None:
        self.seen = 0
        self.target: int | None = None
        self.verbose = 1
        self.epochs = 1
        self.progbar: Progbar | None = None
        self._in_fit = False

    def set_params(self, params: Logs) -> None:
        self.params = params
        self.verbose = 1 if params["verbose"] == "auto" else params["verbose"]
        self.epochs, self.target = params["epochs"], params["steps"]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True  # where a validation has no bar of its own

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._begin()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._begin()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin()
        if self.verbose and self.epochs > 1:
            print_msg(f"Epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._go_on(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._go_on(batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._go_on(batch, None)  # the outputs are not shown

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._end(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._end(logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._end(logs)

    def _begin(self) -> Progbar:
        self.seen = 0
        self.progbar = Progbar(self.target, verbose=self.verbose, stateless_metrics=())
        return self.progbar

    def _go_on(self, batch: int, logs: Logs | None) -> None:
        bar = self.progbar or self._begin()
        self.seen = batch + 1
        if self.verbose == 1:
            bar.update(self.seen, (logs or {}).items(), finalize=False)

    def _end(self, logs: Logs | None) -> None:
        bar = self.progbar or self._begin()
        if self.target is None:
            self.target = bar.target = self.seen
        bar.update(self.target, (logs or {}).items(), finalize=True)


class CSVLogger(Callback):
    """Writes the results of each epoch as a line of a file of comma-separated values.

    Parameters
    ----------
    filename : path
    separator : str, default ","
    append : bool, default False
        Go on with a file that is there instead of beginning it anew.

    Notes
    -----
    The columns are those of the first epoch, and their ``val_`` twins where it has no validation; what a
    later epoch lacks is ``NA``.

    Examples
    --------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
    >>> callbacks = CallbackList([CSVLogger(path)])
    >>> callbacks.on_train_begin()
    >>> callbacks.on_epoch_end(0, {"loss": 0.5})
    >>> with open(path) as file:
    ...     print(file.read())
    epoch,loss,val_loss
    0,0.5,NA
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        self.filename: str = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self._has_header = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.keys = None
        if self.append and os.path.exists(self.filename):
            self._has_header = os.path.getsize(self.filename) > 0
        elif not self.append:
            self._has_header = False
            open(self.filename, "w").close()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
        row = {"epoch": epoch, **{key: _in_a_cell(logs.get(key, "NA")) for key in self.keys}}
        # Opened for each line: a training that is cut off leaves nothing open and nothing unwritten.
        with open(self.filename, "a", newline="") as file:
            writer = csv.DictWriter(file, [*row], delimiter=self.sep)
            if not self._has_header:
                writer.writeheader()
                self._has_header = True
            writer.writerow(row)


def _in_a_cell(value: Any) -> Any:
    return value if isinstance(value, str) or not np.ndim(value) else f'"[{", ".join(map(str, value))}]"'


# --- Watching a metric ----------------------------------------------------------------------------


def _other_spelling(name: str) -> str:
    """``accuracy`` for ``acc`` and the reverse, at the end of a name."""
    if name.endswith("accuracy"):
        return f"{name[: -len('uracy')]}"
    return f"{name}uracy" if name.endswith("acc") else name


class _Spelled(Logs):
    """Logs in which an accuracy is found under both of its names."""

    def __missing__(self, name: str) -> Any:
        other = _other_spelling(name)
        if other not in self:
            raise KeyError(name)
        return self[other]


def _metrics_of(holder: Any) -> Iterator[Any]:
    for metric in getattr(holder, "metrics", None) or ():
        yield metric
        yield from _metrics_of(metric)


class MonitorCallback(Callback):
    """Base of callbacks that watch whether a metric gets better.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A name in the logs. ``acc`` and ``accuracy`` are each found under the other name too.
    mode : {"auto", "min", "max"}, default "auto"
        Whether less or more is better. ``"auto"`` is told by the metric of that name; a loss falls. In the
        eras before Keras 3 the name decides where no metric does.
    baseline : float, optional
        The value to beat at first.
    min_delta : float, default 0
        A change that is smaller is none.

    Attributes
    ----------
    best : float or None
        The best value so far. A NaN is never better, and anything is better than one.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0,
    ) -> None:
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f"{type(self).__name__} mode {mode!r} is unknown, fallback to auto mode.", stacklevel=3
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self.monitor_op: Callable[[Any, Any], Any] | None = None
        self._era = eras.current()

    def _grows(self) -> bool:
        """Whether more of the metric is better."""
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor[len("val_") :] if self.monitor.startswith("val_") else self.monitor
        if name == "loss" or name.endswith("_loss"):
            return False
        for metric in _metrics_of(self.model):
            direction = getattr(metric, "_direction", None)
            if direction in ("up", "down") and any(
                name == known or name.endswith(f"_{known}")  # after the name of an output
                for known in (metric.name, _other_spelling(metric.name))
            ):
                return direction == "up"
        by_name = self._era.grows(name)
        if by_name is None:
            raise ValueError(
                f"{type(self).__name__} callback received monitor={self.monitor!r}, of which it is not "
                "known whether "
                "it should grow or fall: no metric of that name says so. Pass mode='max' or mode='min'"
            )
        return by_name

    def _value(self, logs: Mapping[str, Any] | None) -> Any:
        """The metric in these logs; None if it is not there."""
        if self.monitor_op is None:  # now that the metrics are there
            self.monitor_op = np.greater if self._grows() else np.less
            self.min_delta *= 1 if self.monitor_op is np.greater else -1
        logs = logs or {}
        return logs.get(self.monitor, logs.get(_other_spelling(self.monitor)))

    def _is_improvement(self, value: Any, reference: Any) -> bool:
        if np.isnan(value):
            return False
        if reference is None or np.isnan(reference):
            return True
        assert self.monitor_op is not None
        return bool(self.monitor_op(value - self.min_delta, reference))


class EarlyStopping(MonitorCallback):
    """Ends the training when a metric has stopped getting better.

    Parameters
    ----------
    monitor : str, default "val_loss"
    min_delta : float, default 0
        A change that is smaller is none.
    patience : int, default 0
        For how many epochs in a row it may not get better.
    verbose : {0, 1}, default 0
    mode : {"auto", "min", "max"}, default "auto"
    baseline : float, optional
        What is no better than this does not count as getting better.
    restore_best_weights : bool, default False
        Whether the model ends with the weights of its best epoch.
    start_from_epoch : int, default 0
        The first epoch that is watched.

    Attributes
    ----------
    stopped_epoch : int
        The epoch after which the training ended; 0 where it did not.
    best, best_epoch, best_weights, wait

    Warns
    -----
    UserWarning
        If ``monitor`` is not among the logs; the warning names those that are.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(stop_training=False)
    >>> callbacks = CallbackList([EarlyStopping("loss", patience=1)], model=model)
    >>> callbacks.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45]):
    ...     callbacks.on_epoch_end(epoch, {"loss": loss})
    >>> model.stop_training
    True
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.best_weights: Any = None
        self._reset()

    def _reset(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = self.best_weights = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best = current
            self._keep(epoch)
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            print_msg(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose > 0:
                print_msg(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs: Logs | None) -> Any:
        """The metric that is watched; with a warning None, where it is not in ``logs``.

        Parameters
        ----------
        logs : dict
        """
        value = self._value(logs)
        if value is None:
            warnings.warn(
                f"Early stopping conditioned on metric `{self.monitor}` which is not available. Available "
                "metrics "
                f"are: {','.join(logs or {})}",
                stacklevel=2,
            )
        return value


class _Batches:
    """Tells after which batches to save, where it is not after epochs; the count goes on over epochs."""

    def __init__(self, save_freq: int | str) -> None:
        if save_freq != "epoch" and (isinstance(save_freq, str) or save_freq != int(save_freq)):
            raise ValueError(
                f"Unrecognized save_freq: {save_freq!r:.80}. Expected 'epoch' or a number of batches"
            )
        self._enough = math.inf if save_freq == "epoch" else int(save_freq)
        self._since, self._last = 0, -1

    def are_enough(self, batch: int) -> bool:
        self._since += batch - self._last if batch > self._last else batch + 1  # it may be several at once
        self._last = batch
        if self._since < self._enough:
            return False
        self._since = 0
        return True


class ModelCheckpoint(MonitorCallback):
    """Saves the model as it is trained.

    Parameters
    ----------
    filepath : path
        Where to; ``{epoch:02d}``, ``{batch}`` and names of metrics such as ``{val_loss:.2f}`` are filled in.
        A whole model goes to ``.keras``, ``.h5`` or ``.hdf5``, weights to ``.weights.h5``; in the eras before
        Keras 3 the name is free.
    monitor : str, default "val_loss"
    verbose : {0, 1}, default 0
    save_best_only : bool, default False
        Whether only an epoch that is the best so far is saved.
    save_weights_only : bool, default False
        Whether ``model.save_weights`` is called and not ``model.save``.
    mode : {"auto", "min", "max"}, default "auto"
    save_freq : "epoch" or int, default "epoch"
        After how many batches it is saved.
    initial_value_threshold : float, optional
        The value that the first best one has to beat.
    period : int, default 1
        After how many epochs it is saved, as in Keras 1 and 2.

    Raises
    ------
    ValueError
        If the file's name or ``save_freq`` cannot be used; while training, KeyError if the name asks for what
        is not in the logs.

    Notes
    -----
    Folders that are missing are made. A model is written whole or not at all: whenever a training is cut off,
    the file is the last one that was complete.

    Examples
    --------
    >>> checkpoint = ModelCheckpoint("best-{epoch:02d}-{val_accuracy:.2f}.keras", "val_accuracy",
    ...                              save_best_only=True)
    >>> ModelCheckpoint("weights.txt", save_weights_only=True)
    Traceback (most recent call last):
      ...
    ValueError: When using `save_weights_only=True`, the filepath must end in `.weights.h5`. Received:
    filepath=weights.txt
    """

    @any_era
    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
        period: int = 1,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath: str = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self.period = period
        self._current_epoch = 0
        self._epochs_since_saving = 0
        self._batches = _Batches(save_freq)
        endings = self._era.weights_endings if save_weights_only else self._era.checkpoint_endings
        if not self.filepath.endswith(endings):
            when = "When using `save_weights_only=True`, the" if save_weights_only else "The"
            raise ValueError(
                f"{when} filepath must end in {' or '.join(f'`{ending}`' for ending in endings)}. Received: "
                f"filepath={self.filepath}"
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._current_epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._batches.are_enough(batch):
            self._save(self._current_epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._epochs_since_saving += 1
        if self.save_freq == "epoch" and self._epochs_since_saving >= self.period:
            self._epochs_since_saving = 0
            self._save(epoch, None, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        path = self._path(epoch, batch, logs)
        if not self._is_wanted(epoch, logs, path):
            return
        if os.path.isdir(path):
            raise IsADirectoryError(f"ModelCheckpoint writes a file, and its filepath is a directory: {path}")
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(path, overwrite=True)
        if self.verbose > 0:
            print_msg(f"\nEpoch {epoch + 1}: finished saving model to {path}")

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        counted = {"epoch": epoch + 1} if batch is None else {"epoch": epoch + 1, "batch": batch + 1}
        try:
            return self.filepath.format_map(_Spelled({**counted, **logs}))
        except KeyError as error:
            raise KeyError(
                f'Failed to format this callback filepath: "{self.filepath}". There is no {error} among '
                f"{', '.join([*counted, *logs])}"
            ) from None

    def _is_wanted(self, epoch: int, logs: Logs, path: str) -> bool:
        """Whether this one is to be saved; says so where it is verbose."""
        news = f"saving model to {path}"
        if self.save_best_only:
            current = self._value(logs)
            if current is None or np.ndim(current):
                what = "" if current is None else f", and a scalar value. Received: {current!r:.80}"
                warnings.warn(
                    f"Can save best model only with {self.monitor} available{what}: the model is saved. "
                    "Available "
                    f"metrics are: {','.join(logs)}",
                    stacklevel=4,
                )
                return True
            best = "None" if self.best is None else f"{self.best:.5f}"
            better = self._is_improvement(current, self.best)
            if better:
                self.best = current
                news = f"{self.monitor} improved from {best} to {current:.5f}, {news}"
            else:
                news = f"{self.monitor} did not improve from {best}"
        if self.verbose > 0:
            print_msg(f"\nEpoch {epoch + 1}: {news}")
        return not self.save_best_only or better


class BackupAndRestore(Callback):
    """Goes on with a training that was cut off: run the program again, and `fit` begins where it ended.

    Parameters
    ----------
    backup_dir : path
        A folder of its own for weights, state of the optimizer, and the number of the epoch.
    save_freq : "epoch", int or False, default "epoch"
        After how many batches they are saved; False never.
    double_checkpoint : bool, default False
        Whether those that were saved before are kept too, for a file that cannot be read.
    delete_checkpoint : bool, default True
        Whether the folder is removed after a training that was complete.

    Raises
    ------
    ValueError
        If ``backup_dir`` is empty or ``save_freq`` is no such number; while training, if the model is not
        built.

    Notes
    -----
    The training goes on with a whole epoch, also where it was saved inside of one.

    Examples
    --------
    >>> backup = BackupAndRestore("backup-of-this-training")
    """

    def __init__(
        self,
        backup_dir: Any,
        save_freq: int | str | bool = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        if not backup_dir:
            raise ValueError("Empty `backup_dir` argument passed")
        self.backup_dir: str = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._batches = _Batches(save_freq or "epoch")
        self._epoch = 0

    def _files(self, ending: str = "") -> tuple[str, str]:
        """Where the weights are, and the epoch that they begin."""
        weights, epoch = (
            os.path.join(self.backup_dir, name) for name in ("latest.weights.h5", "training_metadata.json")
        )
        return f"{weights}{ending}", f"{epoch}{ending}"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if not getattr(self.model, "built", True):
            raise ValueError(
                f"To use BackupAndRestore, your model must be built before you call `fit()`: {self.model} "
                "is not. "
                "Call it on a batch, or begin it with an `Input`"
            )
        try:
            self._restore()
        except (OSError, ValueError):
            if not os.path.exists(self._files(_BEFORE)[0]):
                raise
            for before, latest in zip(self._files(_BEFORE), self._files()):
                shutil.copyfile(before, latest)
            self._restore()

    def _restore(self) -> None:
        weights, metadata = self._files()
        if not os.path.exists(metadata):  # which is written last
            return
        with open(metadata, encoding="utf-8") as file:
            self._epoch = int(json.load(file)["epoch"])
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)  # whose state is read then
        self.model.load_weights(weights)
        self.model._initial_epoch = self._epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._batches.are_enough(batch):
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch + 1
        if self.save_freq == "epoch":
            self._save()

    def _save(self) -> None:
        os.makedirs(self.backup_dir, exist_ok=True)
        weights, metadata = self._files()
        if self.double_checkpoint and os.path.exists(metadata):
            for latest, before in zip(self._files(), self._files(_BEFORE)):
                shutil.copyfile(latest, before)
        self.model.save_weights(weights, overwrite=True)
        with open(f"{metadata}.new", "w", encoding="utf-8") as file:
            json.dump({"epoch": self._epoch}, file)
        os.replace(file.name, metadata)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.model._initial_epoch = None
        if self.delete_checkpoint:
            shutil.rmtree(self.backup_dir, ignore_errors=True)


_BEFORE = ".bkp"


# --- The learning rate ----------------------------------------------------------------------------


def _learning_rate(optimizer: Any) -> float:
    return float(np.asarray(optimizer.learning_rate))


class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a metric has stopped getting better.

    Parameters
    ----------
    monitor : str, default "val_loss"
    factor : float, default 0.1
        What the learning rate is multiplied by; below 1.
    patience : int, default 10
        For how many epochs in a row it may not get better.
    verbose : {0, 1}, default 0
    mode : {"auto", "min", "max"}, default "auto"
    min_delta : float, default 1e-4
        A change that is smaller is none. Also called ``epsilon``, as in Keras 1 and 2.
    cooldown : int, default 0
        For how many epochs nothing is done after that.
    min_lr : float, default 0
        The least learning rate.

    Raises
    ------
    ValueError
        If ``factor`` is 1 or more.

    Warns
    -----
    UserWarning
        If ``monitor`` is not among the logs; the warning names those that are.

    Notes
    -----
    The learning rate is among the logs of each epoch, as ``learning_rate`` (``lr`` in the eras before Keras
    3).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5))
    >>> callbacks = CallbackList([ReduceLROnPlateau("loss", factor=0.5, patience=1)], model=model)
    >>> callbacks.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45]):
    ...     callbacks.on_epoch_end(epoch, {"loss": loss})
    >>> model.optimizer.learning_rate
    0.25
    """

    @any_era
    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau does not support a factor >= 1.0. Received factor={factor}")
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best = None
        self.cooldown_counter = self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        logs[self._era.learning_rate_log] = _learning_rate(self.model.optimizer)
        current = self._value(logs)
        if current is None:
            warnings.warn(
                f"Learning rate reduction is conditioned on metric `{self.monitor}` which is not available. "
                f"Available metrics are: {','.join(logs)}.",
                stacklevel=2,
            )
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        before = _learning_rate(self.model.optimizer)
        if before > np.float32(self.min_lr):
            rate = max(before * self.factor, self.min_lr)
            self.model.optimizer.learning_rate = rate
            if self.verbose > 0:
                print_msg(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate}.")
            self.cooldown_counter = self.cooldown
            self.wait = 0

    def in_cooldown(self) -> bool:
        """Whether the learning rate has just been lowered."""
        return self.cooldown_counter > 0


class LearningRateScheduler(Callback):
    """Sets the learning rate of each epoch.

    Parameters
    ----------
    schedule : callable
        Of the epoch, counted from 0, and the learning rate now, or of the epoch alone; returns a float.
    verbose : {0, 1}, default 0

    Raises
    ------
    ValueError
        While training, if ``schedule`` returns anything else.

    Notes
    -----
    The learning rate is among the logs of each epoch, as ``learning_rate`` (``lr`` in the eras before Keras
    3).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5))
    >>> callbacks = CallbackList([LearningRateScheduler(lambda epoch, rate: rate / 2)], model=model)
    >>> callbacks.on_epoch_begin(0)
    >>> model.optimizer.learning_rate
    0.25
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0) -> None:
        self.schedule = schedule
        self.verbose = verbose
        self._log = eras.current().learning_rate_log

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        if not hasattr(optimizer, "learning_rate"):
            raise ValueError('Optimizer must have a "learning_rate" attribute.')
        args: tuple[Any, ...] = (epoch, _learning_rate(optimizer))
        rate = self.schedule(*(args if _takes(self.schedule, args) else args[:1]))
        if not isinstance(rate, (float, np.floating)):
            raise ValueError(f"The output of the `schedule` function should be a float. Got: {rate!r:.80}")
        optimizer.learning_rate = rate
        if self.verbose > 0:
            print_msg(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs[self._log] = _learning_rate(self.model.optimizer)


def _takes(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a function can be called with these arguments; asked of it, so that its own errors are seen."""
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    except ValueError:  # a function of C that does not tell
        pass
    return True


# --- The user's own, and the end ------------------------------------------------------------------


class LambdaCallback(Callback):
    """A callback of functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : callable, optional
        Of the epoch and its logs.
    on_train_begin, on_train_end : callable, optional
        Of the logs.
    on_train_batch_begin, on_train_batch_end : callable, optional
        Of the batch and its logs.
    **kwargs
        Any other method of `Callback`; other names become attributes.

    Raises
    ------
    TypeError
        If a name begins as those of methods do, and no such method is ever called.

    Examples
    --------
    >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> CallbackList([callback]).on_epoch_end(0, {"loss": 0.5})
    0 0.5
    >>> LambdaCallback(on_epoch_ends=print)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
      ...
    TypeError: nothing ever calls 'on_epoch_ends'; the methods of a callback are on_batch_begin, ...
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, value in given.items():
            if name.startswith("on_") and name not in _HOOKS:
                raise TypeError(
                    f"nothing ever calls {name!r}; the methods of a callback are {', '.join(_HOOKS)}"
                )
            if value is not None:
                setattr(self, name, value)


class TerminateOnNaN(Callback):
    """Ends the training when the loss is NaN or infinite.

    Parameters
    ----------
    raise_error : bool, default False
        Whether by a RuntimeError, at once; otherwise after the batch, as if the training were complete.

    Examples
    --------
    >>> CallbackList([TerminateOnNaN(raise_error=True)]).on_train_batch_end(3, {"loss": float("nan")})
    Traceback (most recent call last):
      ...
    RuntimeError: NaN or Inf loss encountered at batch 3. Loss value: nan. Terminating training immediately.
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. Terminating training "
                "immediately."
            )
        print_msg(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True

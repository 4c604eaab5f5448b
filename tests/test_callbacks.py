"""Callbacks and the bar, by themselves and beside those of Keras, on trainings that are made up."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_libraries import agree, agree_to_raise, process

import fastembed
from fastembed import callbacks, progress
from fastembed.callbacks import (
    BaseLogger,
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    MonitorCallback,
    ProgbarLogger,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from fastembed.progress import Progbar, print_msg


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


class Model:
    """What callbacks use of a model; ``said`` is what they did with it."""

    def __init__(self, metrics=()):
        self.stop_training = False
        self.optimizer = SimpleNamespace(learning_rate=np.float32(0.5))
        self.metrics = list(metrics)
        self.said = []
        self.weights = [np.zeros(2)]

    def get_weights(self):
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights):
        self.said.append(("set", [weight.tolist() for weight in weights]))

    def save(self, path, overwrite):
        self.said.append(("save", os.path.basename(path), overwrite))

    def save_weights(self, path, overwrite):
        self.said.append(("save_weights", os.path.basename(path), overwrite))


class Metric:
    def __init__(self, name, direction):
        self.name, self._direction = name, direction


def watched_metrics(library):
    """Those of a compiled model: an accuracy."""
    if library is fastembed:
        return [
            Metric("loss", None),
            SimpleNamespace(name="compile_metrics", metrics=[Metric("accuracy", "up")]),
        ]
    from keras.src.trainers.compile_utils import MetricsList

    return [MetricsList([library.metrics.BinaryAccuracy(name="accuracy")])]


def trained(library, make, epochs, batches=2, model=None):
    """What the callbacks of ``make`` did and printed over epochs with these logs, and their warnings."""
    model = model or Model(watched_metrics(library))
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        each = library.callbacks.CallbackList(
            make(library.callbacks),
            add_history=True,
            model=model,
            epochs=len(epochs),
            steps=batches,
            verbose=0,
        )
        each.on_train_begin()
        for epoch, logs in enumerate(epochs):
            each.on_epoch_begin(epoch)
            for batch in range(batches):
                each.on_train_batch_begin(batch)
                model.weights = [np.array([epoch, batch])]
                each.on_train_batch_end(batch, {"loss": logs["loss"]})
            each.on_epoch_end(epoch, logs)
            model.said.append(("epoch", epoch, float(model.optimizer.learning_rate)))
            if model.stop_training:
                break
        each.on_train_end({})
    history = [model.history.history, model.history.epoch, model.history.params]
    return model.said, history, out.getvalue(), [str(warning.message).split(". ")[0] for warning in caught]


def did(make, epochs, kind, **kwargs):
    """What of this kind our callbacks did."""
    said, *_ = trained(fastembed, make, epochs, **kwargs)
    return [what[1] for what in said if what[0] == kind]


def losses(*values):
    return [{"loss": value} for value in values]


# --- The list -------------------------------------------------------------------------------------

EVENTS = [name for name in vars(Callback) if name.startswith("on_")]


class Everything(Callback):
    def __init__(self):
        self.seen = []

    def set_params(self, params):
        self.seen.append(("params", params))

    def set_model(self, model):
        self.seen.append(("model", model))

    def __getattribute__(self, name):
        if name in EVENTS:
            return lambda *args: self.seen.append((name, *args))
        return super().__getattribute__(name)


def test_every_callback_hears_everything():
    callback, model = Everything(), Model()
    each = CallbackList([(callback,)], model=model, epochs=3)
    assert callback.seen == [("model", model), ("params", {"epochs": 3})]
    callback.seen.clear()
    for name in EVENTS:
        args = (7,) if "batch" in name or "epoch" in name else ()
        getattr(each, name)(*args, {"loss": 1})
        getattr(each, name)(*args)
        assert callback.seen == [(name, *args, {"loss": 1.0}), (name, *args, {})]
        callback.seen.clear()


def test_the_earlier_names_of_batches_are_called():
    class Old(Callback):
        def __init__(self):
            self.seen = []

        def on_batch_begin(self, batch, logs=None):
            self.seen.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            self.seen.append(("end", batch, logs))

    old = Old()
    for each in (CallbackList([old]), old):
        each.on_train_batch_begin(1)
        each.on_train_batch_end(1, {"loss": 0.5})
        assert old.seen == [("begin", 1), ("end", 1, {"loss": 0.5})]
        old.seen.clear()


def test_batches_that_nobody_asks_for_make_no_logs():
    each = CallbackList([History(), EarlyStopping()], add_history=True)
    each.on_train_begin()
    each.on_train_batch_end(0, lambda: pytest.fail("nobody asked"))
    asked = []
    each.append(LambdaCallback(on_batch_end=lambda batch, logs: asked.append(logs)))
    each.append(TerminateOnNaN())
    made = iter([{"loss": np.float32(0.5)}])
    each.on_train_batch_end(0, lambda: next(made))
    assert asked == [{"loss": 0.5}]


def test_a_method_may_be_given_by_assignment_before_it_is_called():
    seen, callback = [], Callback()
    each = CallbackList([callback])
    callback.on_train_batch_end = lambda batch, logs: seen.append(batch)
    each.on_train_begin()
    each.on_train_batch_end(3, {})
    assert seen == [3]


def test_logs_are_pythons_numbers_in_the_order_of_their_names():
    callback = Everything()
    given_logs = {
        "z": np.float32(0.5),
        "a": np.int64(3),
        "nested": {"b": np.array(2.0)},
        "text": "1.5",
        "outputs": np.ones((1, 1)),
        "none": None,
        "list": [1],
    }
    CallbackList([callback]).on_epoch_end(0, given_logs)
    _, _, logs = callback.seen[-1]
    assert list(logs) == ["a", "list", "b", "none", "outputs", "text", "z"]
    assert (logs["z"], logs["a"], logs["b"], logs["text"], logs["none"]) == (0.5, 3.0, 2.0, "1.5", None)
    assert [type(logs[name]) for name in "abz"] == [float] * 3
    assert logs["outputs"].shape == (1, 1)


def test_what_is_no_callback():
    with pytest.raises(TypeError, match=r"write EarlyStopping\(...\)"):
        CallbackList([EarlyStopping])
    with pytest.raises(TypeError, match="Expected a callback"):
        CallbackList([3])
    with pytest.raises(TypeError, match="Expected a callback"):
        CallbackList().append("callback")


def test_a_callback_need_not_have_our_base():
    class Duck:
        def on_epoch_end(self, epoch, logs):
            self.epoch = epoch

    duck = Duck()
    each = CallbackList(duck, model=Model(), epochs=1)
    each.on_train_begin()
    each.on_train_batch_end(0)
    each.on_epoch_end(4)
    assert duck.epoch == 4


def test_history_and_bar_are_added_where_they_are_missing():
    each = CallbackList([], add_history=True, add_progbar=True, epochs=1, steps=1, verbose=1)
    assert [type(callback) for callback in each.callbacks] == [History, ProgbarLogger]
    mine = History()
    model = Model()
    each = CallbackList([mine], add_history=True, model=model)
    assert each.callbacks == [mine]
    assert model.history is mine
    assert each.model is model


# --- History, CSV, functions ----------------------------------------------------------------------


def test_history_goes_on():
    history = History()
    for _ in range(2):
        each = CallbackList([history], model=Model())
        each.on_train_begin()
        for epoch in range(2):
            each.on_epoch_end(epoch, {"loss": epoch})
    assert history.history == {"loss": [0.0, 1.0, 0.0, 1.0]}
    assert history.epoch == [0, 1]


@pytest.mark.parametrize("logs", [
    [{"loss": 0.5, "acc": 1.0}, {"loss": 0.25}],
    [{"loss": 0.5, "val_loss": 0.1}, {"loss": 0.5, "more": 3.0}],
    [{"loss": np.array([1.0, 2.0]), "word": "a,b"}],
])  # fmt: skip
def test_csv_is_the_same(keras, tmp_path, logs):
    for number, kwargs in enumerate([{}, {"append": True}, {"separator": ";"}]):
        agree(keras, csv_of, logs, tmp_path / str(number), kwargs)


def csv_of(library, logs, path, kwargs):
    path = path.with_name(f"{path.name}-{library.__name__}.csv")
    for _ in range(2):
        trained(library, lambda lib: lib.CSVLogger(path, **kwargs), logs)
    return path.read_bytes()


def test_csv_is_written_epoch_by_epoch_and_left_open_nowhere(tmp_path):
    path = tmp_path / "log.csv"
    each = CallbackList([CSVLogger(path)])
    each.on_train_begin()
    assert path.read_text() == ""
    each.on_epoch_end(0, {"loss": 1})
    assert path.read_text() == "epoch,loss,val_loss\n0,1.0,NA\n"
    path.unlink()  # nothing holds it


def test_a_callback_of_functions():
    seen = []
    functions = {name: (lambda *args, name=name: seen.append((name, *args))) for name in EVENTS}
    each = CallbackList(LambdaCallback(**functions, note=3))
    each.on_train_begin()
    each.on_train_batch_end(1, {"loss": 1})
    assert seen == [("on_train_begin", {}), ("on_train_batch_end", 1, {"loss": 1.0})]
    assert LambdaCallback(note=3).note == 3


def test_the_base_logger_of_keras_1_is_harmless():
    CallbackList([BaseLogger(stateful_metrics=["acc"])]).on_epoch_end(0, {"loss": 1})


# --- Watching a metric ----------------------------------------------------------------------------

# In steps that float32, in which Keras compares, has too.
values = st.lists(st.integers(0, 12).map(lambda n: n / 8), min_size=1, max_size=12)
steps = st.integers(0, 4).map(lambda n: n / 8)


@st.composite
def epochs_of_metrics(draw):
    loss = draw(values)
    accuracy = draw(st.lists(st.integers(0, 12).map(lambda n: n / 8), min_size=len(loss), max_size=len(loss)))
    return [{"loss": a, "val_loss": b, "val_accuracy": b, "accuracy": a} for a, b in zip(loss, accuracy)]


WATCHED = st.sampled_from(
    [("val_loss", "auto"), ("val_accuracy", "auto"), ("loss", "max"), ("accuracy", "min")]
)


class Made:
    """Makes a callback in another process."""

    def __init__(self, kind, **arguments):
        self.kind, self.arguments = kind, arguments

    def __call__(self, library):
        return getattr(library, self.kind)(**self.arguments)


@given(
    epochs_of_metrics(),
    WATCHED,
    steps,
    st.integers(0, 3),
    st.one_of(st.none(), steps),
    st.booleans(),
    st.integers(0, 4),
)
def test_early_stopping_is_the_same(keras, logs, watched, delta, patience, baseline, restore, start):
    monitor, mode = watched
    make = Made(
        "EarlyStopping", monitor=monitor, mode=mode, min_delta=delta, patience=patience, baseline=baseline,
        restore_best_weights=restore, start_from_epoch=start, verbose=1,
    )  # fmt: skip
    agree(keras, trained, make, logs)


@given(epochs_of_metrics(), WATCHED, steps, st.integers(0, 3), st.integers(0, 3), steps)
def test_plateaus_are_the_same(keras, logs, watched, delta, patience, cooldown, min_lr):
    monitor, mode = watched
    make = Made(
        "ReduceLROnPlateau", monitor=monitor, mode=mode, min_delta=delta, patience=patience,
        cooldown=cooldown,
        min_lr=min_lr, factor=0.5, verbose=1,
    )  # fmt: skip
    agree(keras, trained, make, logs)


@given(
    epochs_of_metrics(), WATCHED, st.booleans(), st.booleans(), st.sampled_from(["epoch", 1, 3, 5]),
    st.one_of(st.none(), steps),
)  # fmt: skip
def test_checkpoints_are_the_same(keras, logs, watched, best, weights, freq, threshold):
    # Keras does not know what is better in the first epoch, where it is asked after batches.
    best = best and freq == "epoch"
    monitor, mode = watched
    name = "{epoch:02d}" if freq == "epoch" else "{epoch:02d}-{batch}"
    name += "-{loss:.3f}.weights.h5" if weights else "-{loss:.3f}.keras"
    make = Made(
        "ModelCheckpoint", filepath=name, monitor=monitor, mode=mode, save_best_only=best,
        save_weights_only=weights, save_freq=freq, initial_value_threshold=threshold, verbose=1,
    )  # fmt: skip
    agree(keras, trained, make, logs, 2)


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau"])
def test_a_missing_metric_is_warned_of_with_what_there_is(keras, kind):
    *_, warned = agree(keras, trained, Made(kind, monitor="val_loss"), losses(1.0, 2.0))
    assert len(warned) == 2
    with pytest.warns(UserWarning, match=r"`val_loss` which is not available. Available metrics are: loss"):
        CallbackList(Made(kind)(callbacks), model=Model()).on_epoch_end(0, {"loss": 1.0})


def test_a_checkpoint_without_its_metric_is_saved(keras):
    make = Made("ModelCheckpoint", filepath="a.keras", save_best_only=True)
    assert len(agree(keras, saved_and_warned, make, losses(1.0, 2.0))) == 2
    # and one of a metric that is no number:
    make = Made("ModelCheckpoint", filepath="a.keras", save_best_only=True, monitor="loss")
    assert len(agree(keras, saved_and_warned, make, losses(np.array([1.0, 2.0])))) == 1


def saved_and_warned(library, make, epochs):
    said, _, _, warned = trained(library, make, epochs)
    return list(zip([what for what in said if what[0] == "save"], [len(warned)] * len(said)))


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint"])
def test_a_metric_of_which_nobody_knows_what_is_better(keras, kind):
    arguments = {"filepath": "a.keras", "save_best_only": True} if kind == "ModelCheckpoint" else {}
    make = Made(kind, monitor="score", **arguments)
    ours, _ = agree_to_raise(keras, trained, make, [{"loss": 1.0, "score": 2.0}])
    assert "mode='max' or mode='min'" in ours.message


def test_an_unknown_mode_is_auto(keras):
    *_, warned = agree(keras, trained, Made("EarlyStopping", mode="best"), [{"loss": 1.0, "val_loss": 1.0}])
    assert len(warned) == 1


def test_an_accuracy_is_found_under_both_names():
    for metric, monitor in [("accuracy", "acc"), ("acc", "accuracy")]:
        model = Model([Metric(metric, "up")])
        logs = [{"loss": 0.0, f"val_{metric}": value} for value in (0.5, 0.75, 0.5)]
        stop = EarlyStopping(f"val_{monitor}")
        assert did(lambda _: stop, logs, "epoch", model=model) == [0, 1, 2]  # noqa: B023
        assert stop.best == 0.75
        checkpoint = ModelCheckpoint(f"{{val_{monitor}:.2f}}.keras", f"val_{monitor}", save_best_only=True)
        assert did(lambda _: checkpoint, logs, "save", model=Model(model.metrics)) == [  # noqa: B023
            "0.50.keras",
            "0.75.keras",
        ]


@pytest.mark.parametrize(("metric", "monitor", "grows"), [
    ("accuracy", "val_accuracy", True), ("accuracy", "val_words_accuracy", True), ("mae", "mae", False),
    ("mae", "words_loss", False), ("mae", "val_words_loss", False),
])  # fmt: skip
def test_what_is_better_of_one_output(metric, monitor, grows):
    stop = EarlyStopping(monitor)
    model = Model([Metric(metric, "up" if metric == "accuracy" else "down")])
    trained(fastembed, lambda _: stop, [{"loss": 0.0, monitor: 1.0}], model=model)
    assert (stop.monitor_op is np.greater) == grows


@pytest.mark.parametrize("era", ["keras1", "keras2", "tf.keras"])
def test_before_keras_3_names_say_what_is_better(era):
    with fastembed.era(era):
        for monitor, grows in [("val_acc", True), ("my_auc", True), ("fmeasure", True), ("score", False)]:
            stop = EarlyStopping(monitor)
            trained(fastembed, lambda _: stop, [{"loss": 0.0, monitor: 1.0}], model=Model())  # noqa: B023
            assert (stop.monitor_op is np.greater) == grows


def test_a_nan_is_never_better(keras):
    """Keras takes the first value for the best, whatever it is: `docs/differences.md`."""
    logs = losses(np.nan, 2.0, 1.0, np.nan, 3.0)
    make = Made("EarlyStopping", monitor="loss", patience=2, restore_best_weights=True)
    assert did(make, logs, "set") == [[[2, 1]]]
    assert did(make, logs, "epoch") == [0, 1, 2, 3, 4]
    said, *_ = keras(trained, make, logs)
    assert ("set", [[0, 1]]) in said
    assert did(Made("EarlyStopping", monitor="loss"), losses(np.nan, 1.0, 2.0), "epoch") == [0, 1, 2]


def test_the_monitor_is_a_base_for_others():
    class Best(MonitorCallback):
        def on_epoch_end(self, epoch, logs=None):
            value = self._value(logs)
            if self._is_improvement(value, self.best):
                self.best = value

    best = Best("loss", baseline=3.0, min_delta=0.5)
    trained(fastembed, lambda _: best, losses(2.75, 2.0, 1.75))
    assert best.best == 2.0


def test_early_stopping_begins_anew_with_each_fit():
    stop = EarlyStopping("loss", patience=1)
    for _ in range(2):
        assert did(lambda _: stop, losses(1.0, 0.5, 0.75, 0.7), "epoch") == [0, 1, 2]
        assert (stop.stopped_epoch, stop.best, stop.best_epoch) == (2, 0.5, 1)


# --- Checkpoints ----------------------------------------------------------------------------------


def test_a_checkpoint_makes_the_folder_it_goes_to(tmp_path):
    path = tmp_path / "a" / "b" / "{epoch}.keras"
    assert did(lambda _: ModelCheckpoint(path), losses(1.0), "save") == ["1.keras"]
    assert path.parent.is_dir()


def test_a_checkpoint_is_no_folder(tmp_path):
    (tmp_path / "a.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="directory"):
        trained(fastembed, lambda _: ModelCheckpoint(tmp_path / "a.keras"), losses(1.0))


def test_a_name_asks_for_what_is_not_there(keras):
    ours, _ = agree_to_raise(keras, trained, Made("ModelCheckpoint", filepath="{mape}.keras"), losses(1.0))
    assert "among epoch, loss" in ours.message


@pytest.mark.parametrize("arguments", [
    {"filepath": "a.txt"}, {"filepath": "a.h5", "save_weights_only": True},
    {"filepath": "a.keras", "save_freq": "batch"},
    {"filepath": "a.keras", "save_freq": 2.5},
])  # fmt: skip
def test_the_same_arguments_are_refused(keras, arguments):
    agree_to_raise(keras, trained, Made("ModelCheckpoint", **arguments), [])


def test_the_best_is_known_after_batches_too():
    """Where Keras calls None: `docs/differences.md`."""
    make = Made("ModelCheckpoint", filepath="{batch}.keras", monitor="loss", save_best_only=True, save_freq=1)
    assert did(make, losses(1.0, 0.5), "save") == ["1.keras", "1.keras"]


def test_a_period_is_of_epochs():
    make = Made("ModelCheckpoint", filepath="{epoch}.keras", period=2)
    assert did(make, losses(*range(5)), "save") == ["2.keras", "4.keras"]
    with fastembed.era("keras2"):  # where the seventh argument is that
        checkpoint = ModelCheckpoint("{epoch}.hdf5", "loss", 0, False, False, "auto", 3)
    assert did(lambda _: checkpoint, losses(*range(7)), "save") == ["3.hdf5", "6.hdf5"]


def test_before_keras_3_the_name_is_free():
    with fastembed.era("keras2"):
        make = Made("ModelCheckpoint", filepath="weights.{epoch}", save_weights_only=True)
        assert did(make, losses(1.0), "save_weights") == ["weights.1"]
    assert ModelCheckpoint(Path("best.hdf5")).filepath == "best.hdf5"


def test_an_error_while_saving_is_seen(tmp_path):
    class Full(Model):
        def save(self, path, overwrite):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        trained(fastembed, lambda _: ModelCheckpoint(tmp_path / "a.keras"), losses(1.0), model=Full())


class Killed(Exception):
    pass


class Counter(Model):
    """A model whose weights are how often it was trained."""

    def __init__(self, epochs=4, killed_in=None, built=True):
        super().__init__()
        self.epochs, self.killed_in, self.built = epochs, killed_in, built
        self.count, self._initial_epoch = 0, None
        self.trainable_variables = []
        self.optimizer = fastembed.optimizers.SGD()

    def save_weights(self, path, overwrite):
        Path(path).write_text(str(self.count))

    def load_weights(self, path):
        self.count = int(Path(path).read_text())

    def fit(self, backup):
        each = CallbackList(backup, model=self)
        each.on_train_begin()
        begun = self._initial_epoch or 0
        for epoch in range(begun, self.epochs):
            if epoch == self.killed_in:
                raise Killed
            for batch in range(2):
                self.count += 1
                each.on_train_batch_end(batch)
            each.on_epoch_end(epoch)
        each.on_train_end()
        return begun


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("freq", ["epoch", 1])
def test_a_training_goes_on_where_it_was_killed(tmp_path, freq, double):
    folder = tmp_path / "a" / "backup"
    make = Made("BackupAndRestore", backup_dir=folder, save_freq=freq, double_checkpoint=double)
    with pytest.raises(Killed):
        Counter(killed_in=2).fit(make(callbacks))
    if double:
        (folder / "latest.weights.h5").write_text("no number")
    again = Counter()
    assert again.fit(make(callbacks)) == (2 if freq == "epoch" and not double else 1)
    assert again.optimizer.built
    assert not folder.exists()
    assert again.fit([]) == 0


def test_backups_that_cannot_be(tmp_path):
    with pytest.raises(ValueError, match="Empty"):
        callbacks.BackupAndRestore("")
    with pytest.raises(ValueError, match="save_freq"):
        callbacks.BackupAndRestore("a", "batch")
    with pytest.raises(ValueError, match="must be built"):
        Counter(built=False).fit(callbacks.BackupAndRestore(tmp_path))
    with pytest.raises(Killed):
        Counter(killed_in=2).fit(callbacks.BackupAndRestore(tmp_path))
    (tmp_path / "latest.weights.h5").write_text("no number")
    with pytest.raises(ValueError, match="no number"):
        Counter().fit(callbacks.BackupAndRestore(tmp_path))


def test_backups_are_kept_on_demand(tmp_path):
    for freq, there in ((False, []), ("epoch", ["latest.weights.h5", "training_metadata.json"])):
        Counter().fit(callbacks.BackupAndRestore(tmp_path, freq, delete_checkpoint=False))
        assert sorted(path.name for path in tmp_path.iterdir()) == there


# --- The learning rate, NaN -----------------------------------------------------------------------


def halve(epoch, rate):
    return rate / 2


def by_epoch(epoch):
    return 1.0 / (epoch + 1)


def as_numpy(epoch, rate):
    return np.float32(rate) / 2


@pytest.mark.parametrize("schedule", [halve, by_epoch, as_numpy])
def test_schedules_are_the_same(keras, schedule):
    agree(keras, trained, Made("LearningRateScheduler", schedule=schedule, verbose=1), losses(1.0, 2.0, 3.0))


def whole(epoch):
    return 1


def nothing(epoch, rate):
    return None


def without_rate(library, make, epochs):
    model = Model()
    model.optimizer = SimpleNamespace()
    return trained(library, make, epochs, model=model)


def test_what_is_no_learning_rate(keras):
    for schedule in (whole, nothing):
        agree_to_raise(keras, trained, Made("LearningRateScheduler", schedule=schedule), losses(1.0))
    agree_to_raise(keras, without_rate, Made("LearningRateScheduler", schedule=halve), losses(1.0))


def test_an_error_in_a_schedule_is_seen():
    """Keras calls it again with one argument, and that error is seen."""

    def schedule(epoch, rate):
        return rate + "0.1"

    with pytest.raises(TypeError, match="unsupported operand"):
        trained(fastembed, lambda _: LearningRateScheduler(schedule), losses(1.0))


def test_a_schedule_may_be_of_c():
    model = Model()
    CallbackList([LearningRateScheduler(min)], model=model).on_epoch_begin(1)
    assert model.optimizer.learning_rate == 0.5


def test_learning_rates_are_among_the_logs():
    for make in (lambda: ReduceLROnPlateau("loss"), lambda: LearningRateScheduler(halve)):
        _, [history, *_], *_ = trained(fastembed, lambda _: make(), losses(1.0, 2.0))  # noqa: B023
        assert list(history) == ["loss", "learning_rate"]
        with fastembed.era("keras2"):
            _, [history, *_], *_ = trained(fastembed, lambda _: make(), losses(1.0, 2.0))  # noqa: B023
        assert list(history) == ["loss", "lr"]


def test_names_of_earlier_kerases():
    assert ReduceLROnPlateau(epsilon=0.25).min_delta == 0.25
    with pytest.raises(TypeError, match="also 'epsilon'"):
        ReduceLROnPlateau(epsilon=0.25, min_delta=0.5)
    with pytest.raises(ValueError, match=r"factor >= 1\.0"):
        ReduceLROnPlateau(factor=1.0)


def test_plateaus_with_our_optimizers():
    model = Model()
    model.optimizer = fastembed.optimizers.SGD(0.5)
    reduce = ReduceLROnPlateau("loss", factor=0.5, patience=1)
    trained(
        fastembed, lambda _: [reduce, LearningRateScheduler(lambda e, r: r)], losses(1.0, 2.0), model=model
    )
    assert float(np.asarray(model.optimizer.learning_rate)) == 0.25


@pytest.mark.parametrize("loss", [1.0, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("raise_error", [False, True])
def test_training_ends_at_a_nan(keras, loss, raise_error):
    make = Made("TerminateOnNaN", raise_error=raise_error)
    if raise_error and loss != 1.0:
        agree_to_raise(keras, trained, make, losses(loss, 1.0))
    else:
        said, *_ = agree(keras, trained_and_plain, make, losses(loss, 1.0))
        assert len(said) == (2 if loss == 1.0 else 1)


def trained_and_plain(library, make, epochs):
    said, _, out, _ = trained(library, make, epochs)
    return said, out


def test_a_batch_without_a_loss_is_no_nan():
    CallbackList([TerminateOnNaN()]).on_train_batch_end(0, {})


# --- The bar --------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self, ticks):
        self.now, self.ticks = 1000.0, iter(ticks)

    def __call__(self):
        self.now += next(self.ticks, 0.0)
        return self.now


@contextlib.contextmanager
def at(library, ticks, out):
    """With this clock and standard output."""
    if library is fastembed:
        module = progress
    else:
        import keras.src.utils.progbar as module
    before, stdout = module.time, sys.stdout
    module.time = SimpleNamespace(**dict.fromkeys(["time", "monotonic"], Clock(ticks)))
    sys.stdout = out
    try:
        yield
    finally:
        module.time, sys.stdout = before, stdout


def drawn(library, ticks, arguments, updates, out=None):
    bar_class = Progbar if library is fastembed else library.utils.Progbar
    out = out or Terminal()
    with at(library, ticks, out):
        bar = bar_class(**arguments)
        for current, shown, finalize in updates:
            bar.update(current, shown, finalize)
    return out.getvalue()


@st.composite
def bars(draw):
    target = draw(st.one_of(st.none(), st.sampled_from([1, 2, 9, 10, 99, 100, 1000, 12345])))
    arguments = {"target": target, "verbose": draw(st.sampled_from([0, 1, 1, 1, 2]))}
    if draw(st.booleans()):
        arguments["width"] = draw(st.integers(1, 40))
        arguments["interval"] = draw(st.sampled_from([0, 0.05, 1]))
        arguments["unit_name"] = "sample"
    arguments.update(draw(st.sampled_from([{}, {"stateful_metrics": ["a"]}, {"stateless_metrics": ["a"]}])))
    currents = sorted(draw(st.lists(st.integers(0, (target or 30) + 1), min_size=1, max_size=6)))
    shown = st.one_of(
        st.sampled_from([0.0, 1e-4, 0.001, 0.5, 1234.5, float("nan"), float("inf")]), st.integers(0, 9)
    )
    if arguments["verbose"] != 2:
        shown = st.one_of(shown, st.sampled_from([-0.5, -1e-4]), st.just(np.array([1.0, 2.0])))
    metrics = st.lists(st.tuples(st.sampled_from(["a", "loss"]), shown), max_size=3)
    updates = [(current, draw(metrics), draw(st.sampled_from([None, None, False]))) for current in currents]
    if draw(st.booleans()):
        updates.append((currents[-1], draw(metrics), True))
    ticks = draw(st.lists(st.sampled_from([0.0, 2e-5, 0.004, 0.0996, 0.2, 3.7, 75.5, 4000.0]), max_size=8))
    return ticks, arguments, updates


@given(bars())
def test_the_bar_is_the_same_character_by_character(keras, bar):
    agree(keras, drawn, *bar)


def logged(library, ticks, epochs, phases, steps, verbose):
    """What the logger prints of a training, an evaluation and a prediction."""
    out = Terminal()
    with at(library, ticks, out):
        each = library.callbacks.CallbackList(
            [], add_progbar=True, model=Model(), epochs=epochs, steps=steps, verbose=verbose
        )
        for phase in phases:
            getattr(each, f"on_{phase}_begin")()
            for epoch in range(epochs if phase == "train" else 1):
                if phase == "train":
                    each.on_epoch_begin(epoch)
                for batch in range(steps or 4):
                    getattr(each, f"on_{phase}_batch_begin")(batch)
                    getattr(each, f"on_{phase}_batch_end")(
                        batch, {"loss": 0.5 / (batch + 1), "accuracy": 0.25}
                    )
                if phase == "train":
                    each.on_epoch_end(epoch, {"loss": 0.1, "val_loss": 0.2, "accuracy": 1.0})
            getattr(each, f"on_{phase}_end")({"loss": 0.125})
    return out.getvalue()


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
@pytest.mark.parametrize("steps", [None, 3, 12])
@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("phases", [["train"], ["test"], ["predict"], ["train", "test"], ["test", "train"]])
def test_what_fit_prints_is_the_same(keras, verbose, steps, epochs, phases):
    printed = agree(keras, logged, [0.0, 0.03] * 40, epochs, phases, steps, verbose)
    assert "/step" in printed


BEYOND_A_TERMINAL = re.compile("\x1b|\b|\r")


def test_a_file_gets_whole_lines():
    ticks = [0.0, *[0.5] * 200]
    updates = [(step, [("loss", 0.5)], None) for step in range(1, 101)]
    printed = drawn(fastembed, ticks, {"target": 100}, updates, io.StringIO())
    assert not BEYOND_A_TERMINAL.search(printed)
    lines = printed.splitlines()
    # After 30 seconds one line, and the last.
    assert lines == [
        " 60/100 ━━━━━━━━━━━━━━━━━━━━ 20s 500ms/step - loss: 0.5000",
        "100/100 ━━━━━━━━━━━━━━━━━━━━ 50s 500ms/step - loss: 0.5000",
    ]
    # Which are those of a terminal, without what only that understands.
    last = drawn(fastembed, ticks, {"target": 100}, updates).rpartition("\r")[2]
    assert re.sub("\x1b\\[\\d+m", "", last) == lines[-1] + "\n"


def test_a_file_gets_lines_where_the_end_is_unknown():
    printed = drawn(
        fastembed, [0.0, 40.0, 1.0], {"target": None}, [(5, [], None), (6, [], True)], io.StringIO()
    )
    assert printed == "      5/Unknown 40s 8s/step\n      6/Unknown 41s 7s/step\n"


def test_notebooks_and_pycharm_write_over_lines(monkeypatch):
    assert "\r" not in drawn(fastembed, [], {"target": 2}, [(1, [], None)], io.StringIO())
    monkeypatch.setenv("PYCHARM_HOSTED", "1")
    assert "\r" in drawn(fastembed, [], {"target": 2}, [(1, [], None)], io.StringIO())
    monkeypatch.delenv("PYCHARM_HOSTED")
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    assert "\r" in drawn(fastembed, [], {"target": 2}, [(1, [], None)], io.StringIO())


class Gone(io.StringIO):
    def write(self, text):
        raise OSError("Input/output error")

    def isatty(self):
        raise OSError("Input/output error")


def closed():
    out = io.StringIO()
    out.close()
    return out


@pytest.mark.parametrize(
    "out", [None, closed(), Gone(), SimpleNamespace()], ids=["none", "closed", "gone", "no file"]
)
def test_nobody_watches(out):
    with at(fastembed, [], out):
        print_msg("Epoch 1")
        bar = Progbar(2)
        bar.update(1, [("loss", 0.5)])
        bar.update(2)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_encoding_has_a_bar(encoding):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    with at(fastembed, [], out):
        Progbar(10).update(10, [("Verlust ü", 0.5)])
    printed = raw.getvalue().decode(encoding)
    assert ("━" if encoding == "utf-8" else "=") * 20 in printed
    assert ("Verlust ü" if encoding != "ascii" else "Verlust ") in printed


def test_a_bar_adds():
    assert drawn(fastembed, [], {"target": 3, "verbose": 2}, []) == ""
    out = Terminal()
    with at(fastembed, [], out):
        bar = Progbar(4, verbose=2, unit_name="sample")
        bar.add(2, [("loss", 1.0)])
        bar.add(2, [("loss", 3.0)])
    assert out.getvalue() == "4/4 - 0s - 0s/sample - loss: 3.0000\n"


def test_both_kinds_of_metrics_are_one_too_many(keras):
    with pytest.raises(ValueError, match="Only one"):
        Progbar(3, stateful_metrics=[], stateless_metrics=[])


def test_a_negative_number_in_a_line_is_a_number():
    """Keras writes -5.0000e-01 there: `docs/differences.md`."""
    assert "loss: -0.5000" in drawn(fastembed, [], {"target": 1, "verbose": 2}, [(1, [("loss", -0.5)], None)])

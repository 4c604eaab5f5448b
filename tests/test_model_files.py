"""Models and weights in files: written whole or not at all, read whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import random
import re
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import bits

import fastembed
from fastembed import Variable, layers, optimizers
from fastembed.errors import FormatError
from fastembed.models import Model, Sequential
from fastembed.saving import archive, weights
from fastembed.saving.hdf5 import MOST_IN_ATTRIBUTE, Hdf5
from fastembed.saving.sink import Sink, written
from fastembed.saving.source import opened
from fastembed.variable import at_once

FIXTURES = Path(__file__).parent / "fixtures"
IDS = np.array([[1, 2, 3, 0], [4, 0, 2, 2]])


def pooled(**words):
    return Sequential(
        [
            layers.Input((4,), dtype="int32"),
            layers.Embedding(7, 3, name="words", **words),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )


def towers():
    """Two inputs, three Embeddings, one of them named by Keras."""
    user_id, item_id = (layers.Input((), dtype="int32", name=name) for name in ["user_id", "item_id"])
    user = layers.Embedding(6, 4, name="user")(user_id)
    item = layers.Embedding(5, 4, name="item")(item_id)
    bias = layers.Embedding(5, 1)(item_id)
    return Model([user_id, item_id], [user, item, bias])


def nested():
    """Two inner models, each with an Embedding called "emb", and one Embedding of the outer model."""
    ids = layers.Input((4,), dtype="int32", name="ids")
    left = Sequential([layers.Embedding(5, 2, name="emb"), layers.Dense(1)], name="left")
    right_ids = layers.Input((4,), dtype="int32", name="right_ids")
    right = Model(right_ids, layers.Embedding(6, 2, name="emb")(right_ids), name="right")
    top = layers.Embedding(7, 2, name="top")
    return Model(ids, [left(ids), right(ids), top(ids)])


class Attributes(Model):
    """A subclassed model: Embeddings in an attribute, a list, a dict and a private attribute."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.my_emb = layers.Embedding(5, 2, name="mine")
        self.lst = [layers.Embedding(6, 2)]
        self.dct = {"x": layers.Embedding(7, 2)}
        self._hid = layers.Embedding(8, 2)

    def call(self, ids):
        return self.my_emb(ids) + self.lst[0](ids) + self.dct["x"](ids) + self._hid(ids)


def attributes():
    model = Attributes()
    model(IDS)
    return model


MODELS = {"words": pooled, "pooled": pooled, "towers": towers, "nested": nested, "attributes": attributes}


def values(first, shape, dtype="float32"):
    """As the fixtures' `record.values`: they count up by 1/7 from ``first`` / 7."""
    return ((first + np.arange(np.prod(shape, dtype=int))) / 7).reshape(shape).astype(dtype)


def distinct(model):
    model.set_weights([values(1000 * i, v.shape, v.numpy().dtype) for i, v in enumerate(model.weights)])
    return model


def trained(model, optimizer):
    """A model that has learned a little, and its optimizer's state."""
    model.optimizer = optimizer
    optimizer.build(model.trainable_weights)
    rng = np.random.default_rng(0)
    for _ in range(3):
        gradients = [rng.standard_normal(v.shape).astype("f4") for v in model.trainable_weights]
        optimizer.apply(gradients, model.trainable_weights)
    return model


def state(model):
    optimizer = getattr(model, "optimizer", None)
    return [v.numpy() for v in [*model.weights, *(optimizer.variables if optimizer else ())]]


def assert_equal_states(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(bits(a), bits(b))


WRITERS = {
    ".weights.h5": weights.write_weights,
    ".keras": lambda target, model, **kwargs: weights.write_archive(
        target, model, {"class_name": "M"}, **kwargs
    ),
    ".h5": weights.write_legacy,
    "whole.h5": lambda target, model, **kwargs: weights.write_legacy(
        target, model, {"model_config": "{}"}, getattr(model, "optimizer", None), **kwargs
    ),
}
every_format = pytest.mark.parametrize("ending", WRITERS)


# --- Weights there and back -----------------------------------------------------------------------


@every_format
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_weights_come_back(make, ending, tmp_path):
    path = tmp_path / f"m{ending}"
    model = make()
    WRITERS[ending](path, model)
    other = make()
    assert any(not np.array_equal(a, b) for a, b in zip(state(model), state(other)))
    weights.read_weights(path, other)
    assert_equal_states(state(other), state(model))


@every_format
@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "Nadam", "Ftrl", "Lamb"])
def test_the_optimizer_comes_back(name, ending, tmp_path):
    if ending == ".h5":
        pytest.skip("a file of weights has none in this format")
    path = tmp_path / f"m{ending}"
    model = trained(pooled(), getattr(optimizers, name)())
    WRITERS[ending](path, model)
    other = pooled()
    other.optimizer = getattr(optimizers, name)()
    other.optimizer.build(other.trainable_weights)
    weights.read_weights(path, other)
    if ending == "whole.h5":
        with opened(path) as source, Hdf5(source) as file:
            weights.by_name.read_optimizer(file, other.optimizer)
    ours, theirs = state(other), state(model)
    if name == "Nadam" and ending == "whole.h5":  # there a product is not stored, but computed again
        np.testing.assert_allclose(ours.pop(), theirs.pop(), rtol=1e-6)
    assert_equal_states(ours, theirs)


class Holder(layers.Layer):
    """Layers in containers in containers, one object in several places, state of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        shared = layers.Embedding(3, 2)
        self.b = [shared, {"x": layers.Embedding(4, 2), "y": [layers.Embedding(5, 2), shared]}]
        self.a = (layers.Embedding(6, 2), layers.Dense(2))
        self._c = shared
        self.own = self.add_weight(shape=(2,), name="own")
        self.steady = self.add_weight(shape=(), dtype="int64", trainable=False, name="steady")

    @property
    def z(self):
        return self.a[0]

    @property
    def broken(self):
        raise RuntimeError("asked for too early")

    def call(self, ids):
        return self.a[1](sum(each(ids) for each in (self._c, self.a[0], self.b[1]["x"], *self.b[1]["y"])))


def test_groups_are_keras_s(tmp_path):
    layer = Holder(name="holder")
    layer(np.array([0]))
    weights.write_weights(tmp_path / "w.weights.h5", layer)
    with h5py.File(tmp_path / "w.weights.h5") as file:
        found = {}
        file.visititems(
            lambda name, item: found.update({name: dict(item.attrs)}) if name.endswith("vars") else None
        )
        assert {name: attrs["name"] for name, attrs in found.items()} == {
            "vars": "holder",
            "a/embedding/vars": layer.a[0].name,
            "a/dense/vars": "dense" if layer.a[1].name == "dense" else layer.a[1].name,
            "b/embedding/vars": layer._c.name,
            "b/container/embedding/vars": layer.b[1]["x"].name,
            "b/container/container/embedding/vars": layer.b[1]["y"][0].name,
        }
        assert file["vars/1"].dtype == np.int64
        assert file["vars/1"].shape == ()
    other = Holder()
    other(np.array([0]))
    weights.read_weights(tmp_path / "w.weights.h5", other)
    assert_equal_states(state(other), state(layer))


class Odd(layers.Layer):
    """What it stores is its own affair."""

    def build(self, input_shape):
        self.w = self.add_weight(shape=(2,), name="w", initializer="ones")

    def call(self, inputs):
        return inputs

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["words"] = np.array([1, 2, 3])
        assert "words" in store
        assert len(store) == 2

    def load_own_variables(self, store):
        assert sorted(store) == ["0", "words"]
        self.words = np.asarray(store["words"]).tolist()
        super().load_own_variables({"0": store["0"]})


def test_a_class_that_stores_in_its_own_way(tmp_path):
    model, other = (Sequential([layers.Input((2,)), Odd()]) for _ in range(2))
    model.layers[0].w.assign([3.0, 4.0])
    weights.write_weights(tmp_path / "w.weights.h5", model)
    weights.read_weights(tmp_path / "w.weights.h5", other)
    assert other.layers[0].words == [1, 2, 3]
    assert other.layers[0].w.numpy().tolist() == [3, 4]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_bfloat16", "int8_from_float32"])
@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_every_dtype(dtype, ending, tmp_path):
    def make():
        layer = layers.Embedding(5, 3, dtype=dtype)
        layer.build()
        holder = layers.Layer()
        holder.layer = layer
        holder.built = True
        return holder

    model, other = make(), make()
    if dtype.startswith("int8"):
        model.layer.load_own_variables({"0": np.arange(15, dtype="i1").reshape(5, 3), "1": np.ones(5, "f4")})
    WRITERS[ending](tmp_path / f"w{ending}", model)
    weights.read_weights(tmp_path / f"w{ending}", other)
    assert_equal_states(state(other), state(model))
    with h5py.File(tmp_path / f"w{ending}") as file:
        name = (
            "layer/vars/0"
            if ending == ".weights.h5"
            else f"{model.layer.name}/{model.layer.name}/embeddings:0"
        )
        stored = file[name]
        if dtype == "bfloat16" and ending == ".weights.h5":
            assert stored.dtype == "V2"
            assert stored.attrs["dtype"] == "bfloat16"
        elif dtype == "bfloat16":
            assert stored.dtype == np.float32  # no Keras reads another one from there


def test_bfloat16_without_ml_dtypes(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    layer, other = layers.Layer(), layers.Layer()
    for each in (layer, other):
        each.table = Variable(np.random.default_rng(0).random((5, 3)), dtype="bfloat16")
        each.built = True
    store = {}
    layer.save_own_variables(store)
    assert store["0"].dtype == "V2"
    other.load_own_variables(store)
    assert_equal_states(state(other), state(layer))
    weights.write_weights(tmp_path / "w.weights.h5", layer)
    layer.table.assign(np.zeros((5, 3)))
    weights.read_weights(tmp_path / "w.weights.h5", layer)
    assert_equal_states(state(other), state(layer))


def test_lora_is_saved_merged(tmp_path):
    model = pooled()
    words = model.layers[0]
    words.enable_lora(2)
    words.lora_embeddings_b.assign(np.ones((2, 3)))
    weights.write_weights(tmp_path / "w.weights.h5", model)
    other = pooled()
    weights.read_weights(tmp_path / "w.weights.h5", other)
    np.testing.assert_array_equal(other(IDS), model(IDS))


# --- Files of every Keras -------------------------------------------------------------------------


def fixtures(*names):
    found = (p for p in sorted(FIXTURES.glob("*/*")) if p.name.split(".")[0].split("-")[0] in names)
    return [
        pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in found if path.suffix != ".py"
    ]


def expected_order(name, path):
    """The fixtures' weights are distinct in the order of Keras's `model.weights`."""
    model = MODELS[name]()
    # In tf.keras and before the model's weights are those that learn, and then the others: here all learn.
    return distinct(model)


@pytest.mark.parametrize("path", fixtures("words", "towers", "nested", "attributes"))
def test_weights_of_every_keras(path):
    name = path.name.split(".")[0].split("-")[0]
    if name == "words":
        pytest.skip("its models are in test_legacy_weights")
    model = MODELS[name]()
    weights.read_weights(path, model)
    if name == "towers" and "keras-1" in str(path):
        pytest.skip("other layers come first in this model")
    assert_equal_states(state(model), state(distinct(MODELS[name]())))


def flat():
    return Sequential(
        [layers.Input((4,), dtype="int32"), layers.Embedding(7, 3), layers.Flatten(), layers.Dense(2)]
    )


@pytest.mark.parametrize("path", fixtures("words"))
def test_legacy_weights(path):
    model = flat() if "0.3.3" in str(path) else pooled()
    weights.read_weights(path, model)
    table, kernel, bias = (v.numpy() for v in model.weights)
    assert table.shape == (7, 3)
    for each in (table, kernel, bias):
        steps = np.diff(each.ravel())
        np.testing.assert_allclose(steps, 1 / 7, atol=1e-3)


def test_by_name(tmp_path):
    path = tmp_path / "w.h5"
    model = pooled()
    weights.write_legacy(path, model)
    other = Sequential(
        [
            layers.Input((4,), dtype="int32"),
            layers.Embedding(7, 3, name="words"),
            layers.Dense(5, name="new"),
            layers.Flatten(),
        ]
    )
    before = other.layers[1].get_weights()
    with pytest.raises(ValueError, match=r"Layer count|Weight count|Shape mismatch"):
        weights.read_weights(path, other)
    weights.read_weights(path, other, named=True)
    np.testing.assert_array_equal(other.layers[0].get_weights()[0], model.layers[0].get_weights()[0])
    assert_equal_states(other.layers[1].get_weights(), before)
    weights.write_weights(tmp_path / "w.weights.h5", model)
    with pytest.raises(ValueError, match="by_name"):
        weights.read_weights(tmp_path / "w.weights.h5", other, named=True)


def test_names_are_cut_into_parts(tmp_path):
    """More names than an attribute holds; Keras's limit is 64,512 bytes."""
    holder = layers.Layer()
    holder.many = [layers.Dense(1, name=f"{n:04}-{'x' * 60}") for n in range(1200)]
    for each in holder.many:
        each.build((None, 1))
    weights.write_legacy(tmp_path / "w.h5", holder)
    with h5py.File(tmp_path / "w.h5") as file:
        assert "layer_names" not in file.attrs
        parts = [file.attrs[f"layer_names{n}"] for n in range(2)]
        assert all(part.nbytes <= MOST_IN_ATTRIBUTE for part in parts)
        assert [name.decode() for part in parts for name in part] == [each.name for each in holder.many]
    before = state(holder)
    holder.many[700].kernel.assign([[9.0]])
    weights.read_weights(tmp_path / "w.h5", holder)
    assert_equal_states(state(holder), before)
    holder.many[0].name = "y" * 65_000
    with pytest.raises(RuntimeError, match="65000 bytes"):
        weights.write_legacy(tmp_path / "w.h5", holder)


def test_equal_names_are_numbered(tmp_path):
    holder, inner = layers.Layer(name="h"), layers.Layer(name="in")
    inner.pair = [layers.Dense(1, name="d"), layers.Dense(1, name="d")]
    holder.inner = inner
    for each in inner.pair:
        each.build((None, 1))
    weights.write_legacy(tmp_path / "w.h5", holder)
    with h5py.File(tmp_path / "w.h5") as file:
        names = [name.decode() for name in file["in"].attrs["weight_names"]]
        assert names == ["d/kernel:0", "d/bias:0", "d/kernel:0_1", "d/bias:0_1"]


def test_legacy_order_is_that_of_tf_keras(tmp_path):
    """Of layers inside a layer, all weights that learn come first."""
    ids = layers.Input((4,))
    inner = Sequential([layers.BatchNormalization(name="norm"), layers.Dense(2, name="dense")], name="inner")
    model = Model(ids, inner(ids))
    weights.write_legacy(tmp_path / "w.h5", model)
    with h5py.File(tmp_path / "w.h5") as file:
        assert [name.decode() for name in file["inner"].attrs["weight_names"]] == [
            "norm/gamma:0", "norm/beta:0", "dense/kernel:0", "dense/bias:0",
            "norm/moving_mean:0", "norm/moving_variance:0",
        ]  # fmt: skip


# --- What does not fit ----------------------------------------------------------------------------


def smaller():
    return Sequential(
        [
            layers.Input((4,), dtype="int32"),
            layers.Embedding(7, 3, name="words"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(5, name="out"),
        ]
    )


def longer():
    model = pooled()
    model.add(layers.Dense(2, name="more"))
    return model


@every_format
@pytest.mark.parametrize(
    ("make", "saved", "said"),
    [
        (smaller, pooled, [r"out", r"\(3, 5\)", r"\(3, 2\)"]),
        (longer, pooled, [r"more|3 layers", r"received 0|found 2"]),
        (pooled, longer, [r"dense_1|2 layers", r"\(2, 2\)|found 3"]),
        (pooled, lambda: pooled(dtype="int8_from_float32"), [r"words", r"2 variables|2 saved"]),
    ],
    ids=["shape", "less", "more", "codes"],
)
def test_what_does_not_fit_changes_nothing(make, saved, said, ending, tmp_path):
    path = tmp_path / f"w{ending}"
    WRITERS[ending](path, trained(saved(), optimizers.SGD(momentum=0.9)) if saved is pooled else saved())
    model = trained(make(), optimizers.Adam())
    before = state(model)
    with pytest.raises(ValueError, match="(?s)" + ".*".join(f"({each})" for each in said)) as caught:
        weights.read_weights(path, model)
    assert not isinstance(caught.value, FormatError)
    assert_equal_states(state(model), before)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        if "Layer count" in str(caught.value):  # there is no way to tell which layer is which
            with pytest.raises(ValueError, match="Layer count"):
                weights.read_weights(path, model, skip_mismatch=True)
        else:
            weights.read_weights(path, model, skip_mismatch=True)
            assert any(re.search("not fit", str(each.message)) for each in noted)


def test_what_fits_is_loaded_with_skip_mismatch(tmp_path):
    for path in (tmp_path / "w.weights.h5", tmp_path / "w.h5"):
        WRITERS[path.name[1:]](path, saved := pooled())
        model = smaller()
        before = model.layers[2].get_weights()
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            weights.read_weights(path, model, skip_mismatch=True)
        assert re.search(r"(?s)not fit.*\(3, 5\).*\(3, 2\)", "\n".join(str(each.message) for each in noted))
        np.testing.assert_array_equal(model.layers[0].get_weights()[0], saved.layers[0].get_weights()[0])
        after = model.layers[2].get_weights()
        np.testing.assert_array_equal(after[0], before[0])


def test_at_once():
    a, b = Variable([1.0]), Variable([2.0])
    with contextlib.suppress(ZeroDivisionError), at_once():
        a.assign([5.0])
        raise ZeroDivisionError
    assert a.numpy() == 1
    with at_once():
        a.assign([3.0])
        a.assign([4.0])
        with contextlib.suppress(ZeroDivisionError), at_once():
            b.assign([7.0])
            raise ZeroDivisionError
        with at_once():
            b.assign([6.0])
        assert (a.numpy(), b.numpy()) == (1, 2)
    assert (a.numpy(), b.numpy()) == (4, 6)


# --- Whole or not at all --------------------------------------------------------------------------


def leftovers(folder):
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


class Full(io.FileIO):
    """A disk that takes so many writes, and then no more."""

    left = 0
    error = OSError(errno.ENOSPC, "No space left on device")

    def write(self, data):
        if Full.left <= 0:
            raise Full.error
        Full.left -= 1
        return super().write(data)


@every_format
def test_a_disk_that_is_full_at_any_write(ending, tmp_path, monkeypatch):
    path = tmp_path / f"m{ending}"
    old, new = trained(pooled(), optimizers.Adam()), trained(pooled(), optimizers.Adam())
    WRITERS[ending](path, old)
    before = path.read_bytes()
    monkeypatch.setattr("fastembed.saving.sink.io.FileIO", Full)
    for count in itertools.count():
        Full.left = count
        outcome = []
        with contextlib.suppress(OSError):
            WRITERS[ending](path, new)
            outcome.append("written")
        if outcome:
            break
        assert path.read_bytes() == before
        assert leftovers(tmp_path) == []
        Full.left = count
        with pytest.raises(OSError, match="No space"):
            WRITERS[ending](tmp_path / f"fresh{ending}", new)
        assert os.listdir(tmp_path) == [path.name]
    assert count > 10
    other = trained(pooled(), optimizers.Adam())
    weights.read_weights(path, other)
    assert_equal_states(state(other)[:3], state(new)[:3])


def test_control_c_while_writing(tmp_path, monkeypatch):
    monkeypatch.setattr("fastembed.saving.sink.io.FileIO", Full)
    monkeypatch.setattr(Full, "error", KeyboardInterrupt())
    Full.left = 5
    with pytest.raises(KeyboardInterrupt):
        weights.write_weights(tmp_path / "w.weights.h5", pooled())
    assert os.listdir(tmp_path) == []


def test_an_error_while_saving_leaves_the_old_file(tmp_path):
    class Broken(layers.Flatten):
        def save_own_variables(self, store):
            store["0"] = np.zeros(3)
            raise ZeroDivisionError

    path = tmp_path / "w.weights.h5"
    weights.write_weights(path, pooled())
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        weights.write_weights(path, Sequential([layers.Input((1,)), Broken()]))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


KILLED = """
import sys, numpy as np, fastembed
from fastembed import layers
from fastembed.saving import weights
model = fastembed.Sequential(
    [layers.Input((4,), dtype="int32"), layers.Embedding(20_000, 16), layers.Dense(1)])
write = {"keras": lambda p, m: weights.write_archive(p, m, {"class_name": "M"}),
         "weights": weights.write_weights, "legacy": weights.write_legacy}[sys.argv[2]]
number = 0
while True:
    number += 1
    model.set_weights([np.full(w.shape, number, "f4") for w in model.get_weights()])
    write(sys.argv[1], model)
    print(number, flush=True)
"""


@pytest.mark.parametrize("kind", ["keras", "weights", "legacy"])
def test_a_kill_at_any_moment_leaves_a_whole_file(kind, tmp_path):
    rng = random.Random(kind)
    path = tmp_path / ("m.keras" if kind == "keras" else "m.weights.h5" if kind == "weights" else "m.h5")
    model = Sequential([layers.Input((4,), dtype="int32"), layers.Embedding(20_000, 16), layers.Dense(1)])
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), kind],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(fastembed.__file__).parents[1])},
        ) as process:
            process.stdout.readline()
            time.sleep(rng.random() * 0.05)
            process.send_signal(signal.SIGKILL)
            written_until = [int(line) for line in process.stdout.read().split()] or [1]
        weights.read_weights(path, model)
        found = {float(number) for w in model.get_weights() for number in np.unique(w)}
        assert len(found) == 1
        assert found <= {written_until[-1], written_until[-1] + 1.0}
    assert set(os.listdir(tmp_path)) - {path.name} == set(leftovers(tmp_path))


def test_existing_files(tmp_path):
    path = tmp_path / "w.weights.h5"
    weights.write_weights(path, pooled())
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"exists.*overwrite=False"):
        weights.write_weights(path, pooled(), overwrite=False)
    assert path.read_bytes() == before
    weights.write_weights(tmp_path / "new.weights.h5", pooled(), overwrite=False)
    assert sorted(os.listdir(tmp_path)) == ["new.weights.h5", path.name]
    weights.write_weights(path, pooled())
    assert path.read_bytes() != before


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "x"

    def write():
        with written(path, overwrite=False) as sink:
            sink.write(b"new")
            path.write_bytes(b"somebody else's")

    with pytest.raises(ValueError, match="exists"):
        write()
    assert path.read_bytes() == b"somebody else's"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions(mask, tmp_path):
    before = os.umask(mask)
    try:
        with written(tmp_path / "x") as sink:
            sink.write(b"1")
        (tmp_path / "plain").write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode
    os.chmod(tmp_path / "x", 0o640)
    with written(tmp_path / "x") as sink:
        sink.write(b"2")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_links(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(Path("folder") / "real")
    with pytest.raises(ValueError, match="overwrite"), written(link, overwrite=False):
        pass
    with written(link) as sink:
        sink.write(b"new")
    assert link.is_symlink()
    assert (tmp_path / "folder" / "real").read_bytes() == b"new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "folder" / "made")
    with written(dangling) as sink:
        sink.write(b"new")
    assert (tmp_path / "folder" / "made").read_bytes() == b"new"
    assert leftovers(tmp_path) + leftovers(tmp_path / "folder") == []


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for target, error in (
        (tmp_path / "fifo", OSError),
        (tmp_path, OSError),
        (tmp_path / "no" / "x", OSError),
    ):
        with pytest.raises(error), written(target) as sink:
            sink.write(b"1")
    assert os.listdir(tmp_path) == ["fifo"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_write_protected_file_is_not_replaced(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    os.chmod(tmp_path / "x", 0o444)
    with pytest.raises(PermissionError), written(tmp_path / "x") as sink:
        sink.write(b"new")
    assert (tmp_path / "x").read_bytes() == b"old"


def test_long_names(tmp_path):
    path = tmp_path / ("n" * 250)
    with written(path) as sink:
        sink.write(b"1")
    assert path.read_bytes() == b"1"


@pytest.mark.parametrize("convert", [str, os.fsencode, Path], ids=["str", "bytes", "pathlib"])
def test_names_of_files(convert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "ä.weights.h5", Path("relative.weights.h5")):
        weights.write_weights(convert(path), model := pooled())
        other = pooled()
        weights.read_weights(convert(path), other)
        assert_equal_states(state(other), state(model))


@every_format
def test_file_objects(ending, tmp_path):
    model, other = pooled(), pooled()
    memory = io.BytesIO()
    WRITERS[ending](memory, model)
    memory.seek(3)
    weights.read_weights(memory, other)
    assert memory.tell() == 3
    assert_equal_states(state(other), state(model))
    with open(tmp_path / "x", "wb") as file:
        WRITERS[ending](file, model)
    with open(tmp_path / "x", "rb") as file:
        weights.read_weights(file, pooled())

    class Refusing(io.BytesIO):
        def write(self, data):
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        WRITERS[ending](Refusing(), model)


@given(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=100)), max_size=30), st.integers(0, 10))
def test_a_sink_is_a_file(writes, start):
    under, plain = io.BytesIO(b"x" * start), io.BytesIO()
    sink = Sink(under, start)
    for offset, data in writes:
        for file in (sink, plain):
            file.seek(offset)
            assert file.write(data) == len(data)
            assert file.tell() == offset + len(data)
    assert under.getvalue() == b"x" * start + plain.getvalue() or (not plain.getvalue())
    assert sink.size == len(plain.getvalue())
    sink.seek(0)
    assert sink.read() == plain.getvalue()


# --- What is in the files -------------------------------------------------------------------------


def test_bytes_depend_on_the_state_alone(tmp_path):
    model = trained(nested(), optimizers.Adam())
    for ending, write in WRITERS.items():
        for name in "ab":
            write(tmp_path / f"{name}{ending}", model)
        first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in "ab")
        date = rb"\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d"
        if ending == ".keras":  # the date is behind a checksum, too
            with zipfile.ZipFile(tmp_path / "a.keras") as a, zipfile.ZipFile(tmp_path / "b.keras") as b:
                assert a.namelist() == b.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
                for name in a.namelist():
                    assert re.sub(date, b"", a.read(name)) == re.sub(date, b"", b.read(name))
                    assert a.getinfo(name).compress_type == zipfile.ZIP_STORED
                    assert a.getinfo(name).date_time == b.getinfo(name).date_time == (1980, 1, 1, 0, 0, 0)
        else:
            assert first == second


def test_archives_have_aligned_members(tmp_path):
    weights.write_archive(tmp_path / "m.keras", pooled(), {"class_name": "x" * 77})
    with opened(tmp_path / "m.keras") as source:
        members = archive.Archive(source)
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            assert members.open(name)._start % 64 == 0
    table = pooled().layers[0].get_weights()[0]
    assert table.nbytes


@pytest.mark.parametrize("most", [archive.MOST_IN_32, 100])
def test_large_archives(most, tmp_path, monkeypatch):
    """Numbers of more than 32 bits, which a small limit stands for."""
    monkeypatch.setattr(archive, "MOST_IN_32", most)
    contents = {"a": b"", "b": b"1" * 99, "ü": bytes(range(256)) * 9}
    with written(tmp_path / "x.zip") as sink:
        writer = archive.ArchiveWriter(sink)
        for name, data in contents.items():
            writer.write(name, data)
        writer.finish()
    with zipfile.ZipFile(tmp_path / "x.zip") as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == contents
    with opened(tmp_path / "x.zip") as source:
        members = archive.Archive(source)
        assert {name: members.open(name).readall() for name in contents} == contents


@pytest.mark.parametrize("ending", WRITERS)
def test_large_tables_take_no_second_copy(ending, tmp_path):
    size = 64 << 20
    holder = layers.Layer()
    holder.table = layers.Embedding(size // 64, 16, embeddings_initializer="zeros")
    holder.table.build()
    holder.built = True
    path = tmp_path / f"w{ending}"
    peak = resident_peak(lambda: WRITERS[ending](path, holder))
    assert peak < size // 4
    peak = resident_peak(lambda: weights.read_weights(path, holder))
    assert peak < size + size // 4  # the new table, beside the old one


def resident_peak(run):
    """Bytes that memory grows by while something runs, at its peak."""
    tracemalloc.start()
    with open("/proc/self/clear_refs", "w") as file:  # the peak counts from now on
        file.write("5")
    before = memory("VmRSS")
    run()
    peak = memory("VmHWM") - before
    tracemalloc.stop()
    return peak


def memory(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(what))


def test_a_weight_that_is_no_numbers_is_not_written(tmp_path):
    class Words(layers.Flatten):
        def save_own_variables(self, store):
            store["0"] = np.array(["a", "b"])

    with pytest.raises(TypeError, match="only numbers"):
        weights.write_weights(tmp_path / "w.weights.h5", Sequential([layers.Input((1,)), Words()]))


def test_every_number_can_be_stored(tmp_path):
    names = "float16 float32 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool"
    layer = layers.Layer()
    for name in names.split():
        setattr(layer, name, Variable(np.ones((2, 3), name), dtype=name, trainable=False))
        setattr(layer, f"{name}_0", Variable(np.ones((), name), dtype=name, trainable=False))
        setattr(layer, f"{name}_none", Variable(np.ones((0, 2), name), dtype=name, trainable=False))
    layer.built = True
    weights.write_weights(tmp_path / "w.weights.h5", layer)
    before = state(layer)
    for variable in layer.weights:
        variable.assign(np.zeros(variable.shape))
    weights.read_weights(tmp_path / "w.weights.h5", layer)
    assert_equal_states(state(layer), before)


def test_a_folder_that_is_not_there_is_named_by_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "nowhere" / "model.keras"
    with pytest.raises(FileNotFoundError) as caught:
        fastembed.Sequential([fastembed.Input((2,)), fastembed.layers.Embedding(9, 2)]).save(path)
    assert caught.value.filename == str(path)
    assert str(path) in str(caught.value)

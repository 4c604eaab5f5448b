"""Models to configs and back: round trips in every dialect, files of every Keras, what is refused."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from graphs import build, data, plans
from hypothesis import given, settings
from hypothesis import strategies as st
from real_files import REAL, real_file, real_models

import fastembed
from fastembed import eras, layers
from fastembed.layers.graph import flatten
from fastembed.models import (
    Functional,
    Model,
    Sequential,
    clone_model,
    model_from_config,
    model_from_json,
    model_from_yaml,
)
from fastembed.models.configs import described as described_now

ERAS = ("keras1", "keras2", "tf.keras", "keras3")
FIXTURES = Path(__file__).parent / "fixtures"


def described(model, era):
    """The class and config of a model in the dialect of an era."""
    with eras.dialect(era):
        return described_now(model)


def plain(model):
    """A model's config as JSON gives it back."""
    return json.loads(json.dumps(model.get_config()))


def assert_equal_outputs(one, other, inputs):
    """Two models with the same weights compute the same, in the same structure."""
    other.set_weights(one.get_weights())
    ours, theirs = one(inputs), other(inputs)
    assert type(ours) is type(theirs)
    assert not isinstance(ours, dict) or ours.keys() == theirs.keys()
    for a, b in zip(flatten(ours), flatten(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


# --- Round trips ------------------------------------------------------------------------------------


@given(plan=plans())
def test_a_model_is_what_its_config_describes(plan):
    model = build(fastembed, plan)
    inputs = data(plan, np.random.default_rng(0))
    config = plain(model)
    clone = clone_model(model)
    for other in (Model.from_config(config), model_from_json(model.to_json()), clone):
        assert type(other) is Functional
        assert_equal_outputs(model, other, inputs)
        if other is not clone:  # whose layers are called in another order
            assert plain(other) == config


@given(plan=plans(), era=st.sampled_from(ERAS))
@settings(max_examples=60)
def test_every_dialect_comes_back(plan, era):
    model = build(fastembed, plan)
    if era in ("keras1", "keras2"):  # whose models know no dicts
        plan = (plan[0], "list", *plan[2:5], "list")
        model = build(fastembed, plan)
    again = model_from_json(json.dumps(described(model, era)))
    inputs = data(plan, np.random.default_rng(0))
    again.set_weights(model.get_weights())
    for a, b in zip(flatten(model(inputs)), flatten(again(inputs)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("era", ERAS)
def test_a_model_writes_the_dialect_of_its_era(era):
    with fastembed.era(era):
        ids = layers.Input((4,), dtype="int32", name="ids")
        row = Sequential([layers.Embedding(9, 3, input_length=4), layers.Flatten(), layers.Dense(2)])
        model = Model(ids, row(ids))
        text = model.to_json()
        assert model_from_json(text).to_json() == text
    config = json.loads(text)
    assert config == json.loads(json.dumps(described(model, era)))
    inner = config["config"]["layers"][1]
    assert config["class_name"] == ("Functional" if era in ("keras3", "tf.keras") else "Model")
    assert isinstance(inner["config"], list) is (era == "keras1")
    assert isinstance(inner["inbound_nodes"][0], dict) is (era == "keras3")
    if era in ("keras1", "keras2"):
        rows = inner["config"] if era == "keras1" else inner["config"]["layers"]
        assert rows[0]["config"]["batch_input_shape"] == [None, 4]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("inside", ["rows", "models"])
def test_a_layer_in_two_models_stays_one_layer(era, inside):
    with fastembed.era(era):
        ids = layers.Input((4,), dtype="int32", name="ids")
        shared = layers.Embedding(9, 3, name="words")
        if inside == "rows":
            left = Sequential([layers.Input((4,), dtype="int32"), shared, layers.Flatten()], name="left")
        else:
            x = layers.Input((4,), dtype="int32", name="x")
            left = Model(x, layers.Flatten()(shared(x)), name="left")
        right = layers.GlobalMaxPooling1D()(shared(ids))
        model = Model(ids, [left(ids), right])
    again = model_from_json(model.to_json())
    assert len(again.weights) == 1
    assert again.get_layer("left").layers[-2] is again.get_layer("words")
    assert_equal_outputs(model, again, np.arange(4)[np.newaxis])
    assert "shared_object_id" not in json.dumps(left.get_config())


def test_a_model_that_begins_in_the_midst_of_calls():
    x = layers.Input((3,), name="x")
    y = layers.Dense(3, name="first")(x)
    inside = Model(y, layers.Dense(2, name="last")(y))
    again = model_from_json(inside.to_json())
    assert_equal_outputs(inside, again, np.ones((2, 3), "float32"))
    assert again.input_names == ["firstCLONE"]


def test_calls_outside_the_model_do_not_count():
    shared = layers.Dense(3, name="shared")
    x, y = (layers.Input((3,), name=name) for name in "xy")
    shared(y)
    model = Model(x, shared(shared(x)))
    shared(y)
    calls = model.get_config()["layers"][1]["inbound_nodes"]
    assert [node["args"][0]["config"]["keras_history"] for node in calls] == [
        ["x", 0, 0],
        ["shared", 0, 0],
    ]  # fmt: skip
    assert model.get_config()["output_layers"] == ["shared", 1, 0]
    assert_equal_outputs(model, Model.from_config(model.get_config()), np.ones((2, 3), "float32"))


def test_arguments_of_calls_are_kept():
    x = layers.Input((3,), name="x")
    model = Model(x, layers.Dropout(0.5, name="drop")(x, training=True))
    config = json.loads(json.dumps(model.get_config()))
    assert config["layers"][1]["inbound_nodes"][0]["kwargs"] == {"training": True}
    for era in ("tf.keras", "keras2", "keras3"):
        again = model_from_config(json.loads(json.dumps(described(model, era))))
        assert again._nodes[0].kwargs == {"training": True}


def test_a_config_is_not_changed_by_reading():
    config = json.loads(build(fastembed, (["ids"], "one", True, [("model", 0, 0, 0)], [], "one")).to_json())
    before = json.dumps(config)
    model_from_config(config)
    assert json.dumps(config) == before


def test_a_sequential_that_is_not_built_stays_so():
    model = Sequential([layers.Dense(2), layers.Dense(1)])
    again = Sequential.from_config(model.get_config())
    assert not again.built
    assert "build_input_shape" not in model.get_config()
    again.build((None, 3))
    assert Sequential.from_config(again.get_config()).output_shape == (None, 1)


def test_a_frozen_model_stays_frozen():
    row = Sequential([layers.Input((3,)), layers.Dense(2)], trainable=False)
    assert not Sequential.from_config(row.get_config()).trainable
    x = layers.Input((3,))
    model = Model(x, layers.Dense(2)(x), trainable=False)
    assert not Model.from_config(model.get_config()).trainable


# --- The user's own ---------------------------------------------------------------------------------


class Twice(layers.Layer):
    def call(self, inputs):
        return 2 * inputs

    def compute_output_shape(self, input_shape):
        return input_shape


def test_layers_of_the_user():
    model = Sequential([layers.Input((3,)), Twice(name="mine")])
    text = model.to_json()
    with pytest.raises(ValueError, match=r"a layer Twice \(called 'mine'\).*custom_objects.*'Twice'"):
        model_from_json(text)
    assert isinstance(model_from_json(text, {"Twice": Twice}).layers[0], Twice)
    with fastembed.saving.CustomObjectScope({"Twice": Twice}):
        assert isinstance(model_from_json(text).layers[0], Twice)


def test_registered_layers():
    @fastembed.saving.register_keras_serializable("test_model_configs")
    class Thrice(Twice):
        pass

    try:
        model = Sequential([layers.Input((3,)), Thrice()])
        for era in ("tf.keras", "keras3"):
            text = json.dumps(described(model, era))
            assert "test_model_configs>Thrice" in text
            assert isinstance(model_from_json(text).layers[0], Thrice)
    finally:
        fastembed.saving.get_custom_objects().clear()


def test_subclasses_of_models():
    class Mine(Model):
        pass

    class Own(Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.dense = layers.Dense(units)

        def call(self, inputs):
            return self.dense(inputs)

    x = layers.Input((3,))
    mine = Mine(x, layers.Dense(2)(x))
    again = model_from_json(mine.to_json(), {"Mine": Mine})
    assert type(again) is Mine
    assert_equal_outputs(mine, again, np.ones((1, 3)))
    own = model_from_json(Own(4, name="o").to_json(), {"Own": Own})
    assert (own.units, own.name) == (4, "o")


# --- Dialects of others -----------------------------------------------------------------------------


def test_keras_1_merges_models_in_a_row():
    """What Keras 1.2.2 wrote of ``Sequential([Merge([left, right], mode="concat"), Dense(1)])``."""

    def branch(name):
        entry = {"input_dim": 9, "output_dim": 2, "init": "uniform", "input_length": 4, "mask_zero": False}
        rows = {**entry, "name": name, "batch_input_shape": [None, 4], "input_dtype": "int32", "dropout": 0.0}
        return {
            "class_name": "Sequential",
            "config": [
                {"class_name": "Embedding", "config": rows},
                {"class_name": "Flatten", "config": {"name": f"flat_{name}", "trainable": True}},
            ],
        }

    merge = {"name": "merge_1", "mode": "concat", "mode_type": "raw", "concat_axis": -1, "dot_axes": -1}
    more = {"output_shape": None, "output_shape_type": "raw", "output_mask": None, "output_mask_type": "raw"}
    dense = {
        "name": "dense_1",
        "output_dim": 1,
        "init": "glorot_uniform",
        "activation": "linear",
        "bias": True,
    }
    for names, tables in ((("left", "right"), 2), (("both", "both"), 1)):
        config = [
            {
                "class_name": "Merge",
                "config": {**merge, **more, "arguments": {}, "layers": list(map(branch, names))},
            },
            {"class_name": "Dense", "config": {**dense, "input_dim": 16}},
        ]
        for model in (
            Sequential.from_config(config),
            model_from_config({"class_name": "Sequential", "config": config}),
        ):
            assert sum(isinstance(layer, layers.Embedding) for layer in model.layers) == tables
            assert model.output_shape == (None, 1)
            assert model([np.zeros((2, 4), int)] * 2).shape == (2, 1)


def test_models_inside_are_counted_from_where_a_keras_counted_them():
    """tf.keras counts the calls of a model with inputs from 1, those of a Sequential without from 0."""
    text = json.dumps(
        described(
            build(fastembed, (["numbers"], "one", False, [("row", 0, 0, 0), ("row", 1, 0, 0)], [], "one")),
            "tf.keras",
        )
    )
    config = json.loads(text)["config"]
    assert config["output_layers"] == [["row1", 1, 0]]
    for entry in config["layers"]:
        if entry["class_name"] == "Sequential":
            entry["config"]["layers"] = entry["config"]["layers"][1:]
        entry["inbound_nodes"] = json.loads(
            json.dumps(entry["inbound_nodes"]).replace('"row0", 1', '"row0", 0')
        )
    config["output_layers"] = [["row1", 0, 0]]
    model = Model.from_config(config)
    assert model(np.ones((2, 3))).shape == (2, 3)


def test_tuples_that_tf_keras_marks():
    config = {"name": "flat", "target_shape": {"class_name": "__tuple__", "items": [3, 2]}}
    model = Sequential.from_config({"name": "s", "layers": [{"class_name": "Reshape", "config": config}]})
    assert model.layers[0].target_shape == (3, 2)


def fixtures():
    for path in sorted(FIXTURES.glob("*/*")):
        if path.suffix in (".h5", ".hdf5", ".keras"):
            yield path


def config_in(path):
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    h5py = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        text = file.attrs.get("model_config")
    return None if text is None else json.loads(text)


#: Classes in these files that we do not have.
MISSING = {
    "Attributes",
    "TimeDistributed",
    "Lookalike",
    "LSTM",
    "Conv1D",
    "GRU",
    "Bidirectional",
    "SimpleRNN",
    "MaxPooling1D",
}


@pytest.mark.parametrize("path", list(fixtures()), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_models_that_every_keras_wrote(path):
    config = config_in(path)
    if config is None:
        pytest.skip("weights alone")
    text = json.dumps(config)
    missing = [name for name in MISSING if f'"class_name": "{name}"' in text]
    if missing:
        with pytest.raises(ValueError, match=f"a layer ({'|'.join(missing)}) "):
            model_from_json(text)
        return
    if "int" in path.stem and "pooled" in path.stem:
        with pytest.raises(
            ValueError, match=r"Unrecognized keyword arguments passed to Dense: {'quantization_config"
        ):
            model_from_json(text)
        return
    model = model_from_json(text)
    assert model.built
    assert model.weights
    inputs = [np.zeros([2 if n is None else n for n in shape.shape], shape.dtype) for shape in model.inputs]
    model(inputs)
    assert_equal_outputs(model, model_from_json(model.to_json()), inputs)


@pytest.mark.skipif(REAL is None, reason="the real files are not here")
@pytest.mark.parametrize("record", real_models(), ids=lambda record: record["file"])
def test_models_of_strangers(record):
    config = config_in(real_file(record["file"]))
    if config is None:
        pytest.skip("weights alone")
    have = {made.__name__ for made in layers.registry.names.values()} | {"Model", "Sequential"}
    missing = [name for name in record["layers"] if name not in have]
    if missing:
        with pytest.raises(ValueError, match=f"a layer {missing[0]} .*There are Activation, Add"):
            model_from_config(config)
        return
    if any("bytecode" in oddity for oddity in record.get("oddities", ())):
        with pytest.raises(ValueError, match="lambda"):
            model_from_config(config)
        return
    assert model_from_config(config).built


# --- Refused ----------------------------------------------------------------------------------------


def test_the_first_layer_that_there_is_not():
    def entry(class_name, name, **more):
        return {"class_name": class_name, "name": name, "config": {"name": name}, "inbound_nodes": [], **more}

    inner = {
        **entry("Functional", "inner"),
        "config": {"layers": [entry("LSTM", "lost"), entry("GRU", "second")]},
    }
    config = {
        "layers": [entry("Flatten", "flat"), inner, entry("Conv1D", "third")],
        "input_layers": [],
        "output_layers": [],
    }
    with pytest.raises(
        ValueError, match=r"a layer LSTM \(called 'lost'\), and there is none here. There are Activation, "
    ) as error:
        Model.from_config(config)
    assert "Embedding" in str(error.value)
    assert "Merge," not in str(error.value)
    lambda_op = entry("TFOpLambda", "tf.math.add")
    with pytest.raises(ValueError, match=r"the operation TFOpLambda \(called 'tf.math.add'\)"):
        Model.from_config({**config, "layers": [lambda_op]})
    added = entry("Add", "add_1", module="keras.src.ops.numpy", registered_name="Add")
    with pytest.raises(ValueError, match=r"the operation Add \(called 'add_1'\)"):
        Model.from_config({**config, "layers": [added], "output_layers": [["add_1", 0, 0]]})
    with pytest.raises(ValueError, match=r"a layer os\.system"):
        model_from_config({"class_name": "os.system", "module": "os", "config": {"name": "x"}})


def call(*places):
    return [[*place, {}] for place in places]


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ([call(("b", 0, 0))], [["a", 0, 0]], "a needs call 0 of 'b'"),
        ([call(("a", 0, 0))], [["a", 0, 0]], "a needs call 0 of 'a'"),
        ([call(("nobody", 0, 0))], [["a", 0, 0]], "a layer 'nobody', and has no such layer"),
        ([call(("x", 1, 0))], [["a", 0, 0]], "a needs call 1 of 'x'"),
        ([call(("x", 0, 1))], [["a", 0, 0]], "output 1 of call 0 of 'x', which it has not"),
        ([call(("x", -2, 0))], [["a", 0, 0]], "which it has not"),
        ([call(("x", 0, 0))], [["a", 3, 0]], "an output of the model needs call 3 of 'a'"),
        ([call(("x", 0, 0))], [["a", 0]], "is not"),
        ([3], [["a", 0, 0]], "no list of"),
        (3, [["a", 0, 0]], "the calls of 'a' are no list"),
    ],
)
def test_calls_that_do_not_fit(nodes, outputs, message):
    def entry(class_name, name, inbound, **config):
        return {
            "class_name": class_name,
            "name": name,
            "config": {"name": name, **config},
            "inbound_nodes": inbound,
        }

    config = {
        "name": "m",
        "layers": [
            entry("InputLayer", "x", [], batch_input_shape=[None, 3], dtype="float32"),
            entry("Dense", "a", nodes, units=3),
            entry("Dense", "b", [call(("a", 0, 0))], units=3),
        ],
        "input_layers": [["x", 0, 0]],
        "output_layers": outputs,
    }
    with pytest.raises(ValueError, match=message):
        Model.from_config(config)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"class_name": "Sequential"},
        {"class_name": "Sequential", "config": {}},
        {"class_name": "Sequential", "config": 3},
        {"class_name": "Sequential", "config": {"name": "s", "layers": [3]}},
        {"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": 3, "config": {}}]}},
        {
            "class_name": "Sequential",
            "config": {"name": "s", "layers": [{"class_name": "Dense", "config": []}]},
        },
        {
            "class_name": "Sequential",
            "config": {"name": "s", "layers": [{"class_name": "Dense", "config": {}}]},
        },
        {
            "class_name": "Sequential",
            "config": {"name": "s", "layers": {"class_name": "Dense", "config": {}}},
        },
        {"class_name": "Functional", "config": {"layers": [], "input_layers": 3, "output_layers": None}},
        {"class_name": ["Functional"], "config": {"layers": []}},
    ],
    ids=str,
)
def test_what_is_no_config(config):
    with pytest.raises(ValueError, match=r"."):
        model_from_config(config)


def test_as_keras_refuses():
    with pytest.raises(TypeError, match="expects a dictionary, not a list"):
        model_from_config([])
    with pytest.raises(RuntimeError, match="to_json"):
        Sequential().to_yaml()
    with pytest.raises(RuntimeError, match="model_from_json"):
        model_from_yaml("")
    with pytest.raises(ValueError, match="not JSON"):
        model_from_json("{")


def test_deep_and_long_configs_end():
    deep = {"class_name": "Sequential", "config": {"name": "s", "layers": []}}
    for n in range(3000):
        deep = {"class_name": "Sequential", "config": {"name": f"s{n}", "layers": [deep]}}
    with pytest.raises(ValueError, match=r"."):
        model_from_config(deep)
    with pytest.raises(ValueError, match="128 levels"):
        model_from_json('{"a":' * 200 + "1" + "}" * 200)
    # A long chain, written last layer first, takes time in proportion to its length.
    entries = [
        {
            "class_name": "Activation",
            "name": f"a{n}",
            "config": {"name": f"a{n}", "activation": "linear"},
            "inbound_nodes": [call((f"a{n - 1}", 0, 0) if n else ("x", 0, 0))],
        }
        for n in reversed(range(600))
    ]
    x = {
        "class_name": "InputLayer",
        "name": "x",
        "config": {"name": "x", "batch_shape": [None, 3]},
        "inbound_nodes": [],
    }
    config = {"layers": [*entries, x], "input_layers": [["x", 0, 0]], "output_layers": [["a599", 0, 0]]}
    assert Model.from_config(config).output_shape == (None, 3)


# --- Summaries (to the letter in test_model_configs_against_keras.py) -------------------------------


def test_a_summary_where_lines_cannot_be_drawn(monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    monkeypatch.setattr("sys.stdout", written)
    Sequential([layers.Input((3,)), layers.Dense(2, name="a_long_name_of_a_layer_é")], name="é").summary(
        line_length=50
    )
    written.flush()
    lines = written.buffer.getvalue().decode("ascii").splitlines()
    assert lines[0] == 'Model: "?"'
    assert lines[1] == "+---------------------+----------------+---------+"
    assert lines[4].startswith("| a_long_name_of_a_l~ |")


def test_a_summary_of_any_model():
    class Own(Model):
        def __init__(self):
            super().__init__(name="own")
            self.dense = layers.Dense(2, name="dense")

        def call(self, inputs):
            return self.dense(inputs)

    texts = []
    own = Own()
    own.summary(print_fn=texts.append)
    own(np.ones((1, 3)))
    own.summary(print_fn=texts.append)
    assert "dense (Dense)" in texts[0]
    assert "0 (unbuilt)" in texts[0]
    assert "Total params: 8 (32.00 B)" in texts[1]
    with pytest.raises(ValueError, match="Insufficient console width"):
        own.summary(line_length=8)
    copied = copy.deepcopy(
        Model(x := layers.Input((3,), name="x"), layers.Dense(2, name="y")(x), name="copied")
    )
    copied.summary(print_fn=texts.append)
    assert "(None, 2)" in texts[2]

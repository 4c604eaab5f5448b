"""Configs and summaries of models beside real Keras 3's: written alike, and read by one another."""

from __future__ import annotations

import importlib.util
import json
import os

import numpy as np
import pytest
from graphs import build, data, plans
from hypothesis import given, settings
from hypothesis import strategies as st
from two_libraries import Raised, begin, process

import fastembed

if not importlib.util.find_spec("keras"):
    pytest.skip("real Keras is not installed (it needs NumPy 2)", allow_module_level=True)


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


def flat(outputs):
    if isinstance(outputs, dict):
        return [each for key in sorted(outputs) for each in flat(outputs[key])]
    return (
        [each for part in outputs for each in flat(part)]
        if isinstance(outputs, (list, tuple))
        else [np.asarray(outputs)]
    )


def written(library, plan, inputs):
    """What a library says of a plan's model, and computes with it."""
    begin(library)
    model = build(library, plan)
    weights = [np.asarray(each, "float32") for each in model.get_weights()]
    weights = [
        np.random.default_rng(n).standard_normal(each.shape).astype("float32")
        for n, each in enumerate(weights)
    ]
    model.set_weights(weights)
    lines = []
    model.summary(print_fn=lines.append, expand_nested=True, line_length=76)
    return {
        "json": model.to_json(),
        "config": json.loads(json.dumps(model.get_config())),
        "weights": weights,
        "outputs": flat(model(inputs)),
        "summary": "".join(lines),
    }


def read(library, text, weights, inputs):
    """What a library computes with a model that another one wrote."""
    begin(library)
    model = library.models.model_from_json(text)
    model.set_weights(weights)
    return flat(model(inputs))


def but_compiled(value):
    """Without the empty entry that Keras has for models that are not compiled."""
    if isinstance(value, dict):
        return {key: but_compiled(each) for key, each in value.items() if key != "compile_config" or each}
    return [but_compiled(each) for each in value] if isinstance(value, list) else value


def assert_close(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@given(plan=plans(masks=False))
@settings(max_examples=60)
def test_models_are_written_alike(keras, plan):
    inputs = data(plan, np.random.default_rng(0))
    ours, theirs = written(fastembed, plan, inputs), keras(written, plan, inputs)
    assert not isinstance(theirs, Raised), theirs
    assert but_compiled(ours["config"]) == but_compiled(theirs["config"])
    assert but_compiled(json.loads(ours["json"])) == but_compiled(json.loads(theirs["json"]))
    assert [each.shape for each in ours["weights"]] == [each.shape for each in theirs["weights"]]
    assert_close(ours["outputs"], theirs["outputs"])
    assert ours["summary"] == theirs["summary"]


@given(plan=plans())
@settings(max_examples=60)
def test_models_are_read_by_one_another(keras, plan):
    inputs = data(plan, np.random.default_rng(0))
    ours, theirs = written(fastembed, plan, inputs), keras(written, plan, inputs)
    assert not isinstance(theirs, Raised), theirs
    assert_close(read(fastembed, theirs["json"], theirs["weights"], inputs), theirs["outputs"])
    assert_close(keras(read, ours["json"], ours["weights"], inputs), ours["outputs"])


# --- Masks ------------------------------------------------------------------------------------------


def masked(library, kind):
    layers, Input = library.layers, library.Input
    a, b = (Input((4,), dtype="int32", name=name) for name in "ab")
    words = layers.Embedding(9, 3, mask_zero=True, name="words")
    others = layers.Embedding(9, 3, mask_zero=True, name="others")
    mean = layers.GlobalAveragePooling1D(name="mean")
    if kind == "through layers":
        out = mean(layers.Dropout(0.1, name="drop")(layers.Dense(2, name="dense")(words(a))))
    elif kind == "masking":
        numbers = layers.Embedding(9, 3, name="numbers", embeddings_initializer="zeros")(a)
        out = mean(layers.Masking(0.5, name="masking")(numbers))
    elif kind == "merged":
        out = mean(layers.Add(name="add")([words(a), others(b)]))
    elif kind == "joined":
        out = mean(layers.Concatenate(axis=1, name="join")([words(a), others(b)]))
    elif kind == "shared":
        out = layers.Subtract(name="less")([mean(words(a)), mean(words(b))])
    elif kind == "half":
        out = mean(
            layers.Concatenate(axis=1, name="join")([words(a), layers.Embedding(9, 3, name="plain")(b)])
        )
    elif kind == "model":
        x = Input((4,), dtype="int32", name="x")
        inner = library.Model(x, mean(words(x)), name="inner")
        out = layers.Add(name="sum")([inner(a), inner(b)])
    else:
        inner = library.Sequential([Input((4,), dtype="int32", name="x"), words], name="inner")
        out = mean(inner(a))
    if kind in ("model", "row"):  # outside, to_json does not say that a layer inside is the same one
        words, mean = others, layers.GlobalAveragePooling1D(name="other_mean")
    return library.Model([a, b], [out, mean(words(b))])


MASKS = ("through layers", "masking", "merged", "joined", "shared", "half", "model", "row")


def masked_and_read(library, kind, weights, inputs):
    begin(library)
    model = masked(library, kind)
    weights = weights or [
        np.random.default_rng(n).standard_normal(w.shape).astype("float32")
        for n, w in enumerate(model.get_weights())
    ]
    model.set_weights(weights)
    return model.to_json(), weights, flat(model(inputs))


@pytest.mark.parametrize("kind", MASKS)
def test_masks_that_keras_writes_as_operations(keras, kind):
    inputs = list(np.random.default_rng(0).integers(0, 3, (2, 5, 4)).astype("int32"))
    theirs = keras(masked_and_read, kind, None, inputs)
    assert not isinstance(theirs, Raised), theirs
    text, weights, outputs = theirs
    if kind != "model":
        assert "NotEqual" in text
    ours, _, our_outputs = masked_and_read(fastembed, kind, weights, inputs)
    assert_close(our_outputs, outputs)
    assert_close(read(fastembed, text, weights, inputs), outputs)
    assert_close(keras(read, ours, weights, inputs), outputs)


def own_mask(library):
    layers, ops = library.layers, library.ops
    a, b = (library.Input((4,), dtype="int32", name=name) for name in "ab")
    rows = layers.Embedding(9, 3, mask_zero=True, name="words")(a)
    return library.Model([a, b], layers.GlobalAveragePooling1D()(rows, mask=ops.not_equal(b, 0))).to_json()


def added(library):
    x = library.Input((4,), name="x")
    return library.Model(x, library.layers.Dense(2)(x) + 1).to_json()


@pytest.mark.parametrize(("program", "operation"), [(own_mask, "NotEqual"), (added, "Add")])
def test_operations_that_are_no_masks_are_refused(keras, program, operation):
    with pytest.raises(ValueError, match=rf"the operation {operation} \(called '{operation.lower()[:3]}"):
        fastembed.models.model_from_json(keras(program))


# --- Layers in several models -----------------------------------------------------------------------


def towers(library, kind):
    layers, Input = library.layers, library.Input
    a, b = (Input((4,), dtype="int32", name=name) for name in "ab")
    words = layers.Embedding(9, 3, name="words")

    def tower(name):
        x = Input((4,), dtype="int32", name=f"x_{name}")
        if kind == "rows":
            return library.Sequential([x, words, layers.Flatten(name="flat")], name=name)
        return library.Model(x, layers.Flatten(name="flat")(words(x)), name=name)

    return library.Model(
        [a, b], layers.Dot(1, name="dot")([tower("left")(a), tower("right")(b)]), name="outer"
    )


def in_a_file(library, kind):
    """What Keras writes into a file."""
    lib = library.src.saving.serialization_lib
    with lib.ObjectSharingScope():
        return json.dumps(lib.serialize_keras_object(towers(library, kind)))


def from_a_file(library, text):
    lib = library.src.saving.serialization_lib
    with lib.ObjectSharingScope():
        return len(lib.deserialize_keras_object(json.loads(text)).weights)


@pytest.mark.parametrize("kind", ["rows", "models"])
def test_a_layer_in_several_models(keras, kind):
    assert len(fastembed.models.model_from_json(keras(in_a_file, kind)).weights) == 1
    ours = towers(fastembed, kind).to_json()
    assert len(fastembed.models.model_from_json(ours).weights) == 1
    theirs = keras(from_a_file, ours)
    assert theirs == 1 if kind == "rows" else isinstance(theirs, Raised)


def frozen(library):
    begin(library)
    row = library.Sequential([library.Input((3,)), library.layers.Dense(2)], trainable=False)
    x = library.Input((3,))
    other = library.Model(x, library.layers.Dense(2)(x))
    return library.Sequential.from_config(row.get_config()).trainable, other.name


def row_of_2(library):
    dense = {"class_name": "Dense", "config": {"name": "dense_1", "units": 2, "batch_input_shape": [None, 3]}}
    return library.Sequential.from_config([dense]).output_shape


def test_where_we_differ(keras):
    assert keras(frozen) == (True, "functional_1")
    assert frozen(fastembed) == (False, "functional")
    assert isinstance(keras(row_of_2), Raised)
    assert row_of_2(fastembed) == (None, 2)


# --- Summaries --------------------------------------------------------------------------------------


def summary(library, arguments):
    begin(library)
    layers = library.layers
    x = library.Input((5,), dtype="int32", name="words_of_a_text")
    rows = layers.Embedding(20_000, 128, name="rows")(x)
    mean = layers.GlobalAveragePooling1D(name="mean_of_all_the_words_of_a_text_in_one_long_name")(rows)
    inner = library.Sequential(
        [layers.Dense(16, activation="relu", name="wide"), layers.Dense(1)], name="inner"
    )
    frozen = layers.BatchNormalization(name="steady", trainable=False)(inner(mean))
    outputs = [frozen, layers.Dense(3, name="other")(mean)] if arguments.pop("several") else frozen
    model = library.Model(x, outputs, name="outer")
    late = library.Sequential([layers.Dense(3, name="not built")], name="late")
    texts = []
    for each in (model, inner, late):
        each.summary(print_fn=texts.append, **arguments)
    return texts


@given(
    arguments=st.fixed_dictionaries(
        {"several": st.booleans()},
        optional={
            "line_length": st.integers(40, 140),
            "expand_nested": st.booleans(),
            "show_trainable": st.booleans(),
            "layer_range": st.sampled_from(
                [None, ["wide", "dense"], ["w", "inner"], ["rows", "inner"], ["x", "y"], "ab", [1, 2]]
            ),
        },
    )
)  # fmt: skip
@settings(max_examples=60)
def test_summaries(keras, arguments):
    from two_libraries import outcome

    ours, theirs = outcome(summary, fastembed, dict(arguments)), keras(summary, dict(arguments))
    if isinstance(theirs, Raised):
        assert isinstance(ours, Raised), (ours, theirs)
        assert ours.name == theirs.name
        return
    # What is wider than Keras's console is cut off there.
    width = max(len(line) for text in theirs for line in text.splitlines())
    cut = ["".join(f"{line[:width]}\n" for line in text.splitlines()) for text in ours]
    assert cut == theirs


def compiled_summary(library):
    begin(library)
    model = library.Sequential([library.Input((3,)), library.layers.Dense(2)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    texts = []
    model.summary(print_fn=texts.append)
    return texts


def test_the_optimizer_is_counted(keras):
    theirs = keras(compiled_summary)
    assert "Optimizer params" in theirs[0]
    # The number of steps is an int64 here.
    assert compiled_summary(fastembed) == [theirs[0].replace("72.00", "76.00").replace("104.00", "108.00")]


# --- Clones -----------------------------------------------------------------------------------------


def cloned(library, plan, inputs, recursive):
    begin(library)
    model = build(library, plan)
    seen = []

    def clone(layer):
        seen.append(layer.name)
        return layer.__class__.from_config(layer.get_config())

    copy = library.models.clone_model(model, clone_function=clone, recursive=recursive)
    copy.set_weights([np.ones(each.shape, "float32") for each in copy.get_weights()])
    again = library.models.clone_model(
        model, call_function=lambda layer, *args, **kwargs: layer(*args, **kwargs)
    )
    return sorted(seen), [layer.name for layer in copy.layers], flat(copy(inputs)), len(again.weights)


@given(plan=plans(masks=False), recursive=st.booleans())
@settings(max_examples=30)
def test_clones(keras, plan, recursive):
    inputs = data(plan, np.random.default_rng(0))
    ours, theirs = cloned(fastembed, plan, inputs, recursive), keras(cloned, plan, inputs, recursive)
    assert not isinstance(theirs, Raised), theirs
    assert ours[:2] + ours[3:] == theirs[:2] + theirs[3:]
    assert_close(ours[2], theirs[2])


# --- tf_keras ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tf_keras():
    if not (importlib.util.find_spec("tf_keras") and importlib.util.find_spec("tensorflow")):
        pytest.skip("tf_keras is not installed")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with process("tf_keras") as ask:
        yield ask


@given(plan=plans(structures=("list",), masks=False))
@settings(max_examples=30)
def test_tf_keras_reads_ours_and_the_reverse(tf_keras, plan):
    inputs = data(plan, np.random.default_rng(0))
    theirs = tf_keras(written_by_tf, plan, inputs)
    assert not isinstance(theirs, Raised), theirs
    text, weights, outputs = theirs
    assert_close(read(fastembed, text, weights, inputs), outputs)
    with fastembed.era("tf.keras"):
        ours = build(fastembed, plan)
    ours.set_weights(weights)
    assert_close(flat(ours(inputs)), outputs)
    assert_close(tf_keras(read, ours.to_json(), weights, inputs), outputs)


def written_by_tf(library, plan, inputs):
    """A model, and its config as it stands in an HDF5 file."""
    begin(library)
    model = build(library, plan)
    weights = [
        np.random.default_rng(n).standard_normal(w.shape).astype("float32")
        for n, w in enumerate(model.get_weights())
    ]
    model.set_weights(weights)
    return model.to_json(), weights, flat(model(inputs))

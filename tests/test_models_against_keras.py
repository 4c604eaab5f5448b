"""Models beside real Keras 3: the order of layers and weights, names, shapes, masks, outputs and errors."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_libraries import Raised, outcome, process

import fastembed

if not importlib.util.find_spec("keras"):
    pytest.skip("real Keras is not installed (it needs NumPy 2)", allow_module_level=True)


@pytest.fixture(scope="module")
def keras():
    with process("keras", "numpy") as ask:
        yield ask


def graph(library, calls, ends, arrays):
    """Everything that a user sees of a model that is made of these calls."""
    layers = library.layers
    warnings.simplefilter("ignore")
    tensors = [library.Input((4,), dtype="int32", name=f"in{i}") for i in range(len(arrays))]
    made = {}
    for number, (name, settings_, of) in enumerate(calls):
        key = settings_.pop("shared", number)
        if key not in made:
            made[key] = getattr(layers, name)(**settings_, name=f"layer{key}")
        tensors.append(made[key]([tensors[i] for i in of] if isinstance(of, list) else tensors[of]))
    inputs, outputs = tensors[: len(arrays)], [tensors[i] for i in ends]
    model = library.Model(inputs, outputs)
    for layer in model.layers:  # of all weights the same values in both
        for i, weight in enumerate(layer.weights):
            rng = np.random.default_rng([len(layer.name), ord(layer.name[-1]), i])
            weight.assign(rng.uniform(-0.8, 0.8, weight.shape).astype("float32"))
    results = model(arrays)
    return {
        "layers": [layer.name for layer in model.layers],
        "weights": [tuple(weight.shape) for weight in model.weights],
        "trainable": len(model.trainable_weights),
        "inputs": [tensor.name for tensor in model.inputs],
        "output names": list(model.output_names),
        "input shape": model.input_shape,
        "output shape": model.output_shape,
        "parameters": model.count_params(),
        "outputs": [
            np.asarray(each) for each in (results if isinstance(results, (list, tuple)) else [results])
        ],
    }


@st.composite
def graphs(draw):
    """Calls on two inputs of ids: embeddings (shared, masked), then what takes vectors."""
    count = draw(st.integers(1, 2))
    calls, sequences, vectors = [], [], []
    for _ in range(draw(st.integers(1, 3))):
        settings_ = {"input_dim": 9, "output_dim": 3, "mask_zero": draw(st.booleans())}
        if draw(st.booleans()):
            settings_["shared"] = "e"
            settings_["mask_zero"] = True
        calls.append(("Embedding", settings_, draw(st.integers(0, count - 1))))
        sequences.append(count + len(calls) - 1)
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(
            st.sampled_from(
                ["pool", "dense", "add", "concat", "flatten", "layernorm", "dropout", "shared dense"]
            )
        )
        if kind in ("add", "concat"):
            pool = draw(st.sampled_from([each for each in (sequences, vectors) if each]))
            of = draw(st.lists(st.sampled_from(pool), min_size=2, max_size=3))
            if kind == "concat" and pool is sequences:
                calls.append(("Concatenate", {"axis": 1}, of))
                continue
            calls.append(("Add", {}, of))
            pool.append(count + len(calls) - 1)
        elif kind == "pool":
            calls.append(("GlobalAveragePooling1D", {}, draw(st.sampled_from(sequences))))
            vectors.append(count + len(calls) - 1)
        elif kind == "flatten":
            calls.append(("Flatten", {}, draw(st.sampled_from(sequences))))
        else:
            name, settings_ = {
                "dense": ("Dense", {"units": 3, "activation": "tanh"}),
                "shared dense": ("Dense", {"units": 3, "shared": "d"}),
                "layernorm": ("LayerNormalization", {}),
                "dropout": ("Dropout", {"rate": 0.5}),
            }[kind]
            pool = draw(st.sampled_from([each for each in (sequences, vectors) if each]))
            calls.append((name, settings_, draw(st.sampled_from(pool))))
            pool.append(count + len(calls) - 1)
    taken = {i for _, _, of in calls for i in (of if isinstance(of, list) else [of])}
    ends = [i for i in range(count, count + len(calls)) if i not in taken]
    ids = [
        draw(st.lists(st.lists(st.integers(0, 8), min_size=4, max_size=4), min_size=2, max_size=2))
        for _ in range(count)
    ]
    return calls, ends, [np.array(each, "int32") for each in ids]


def copied(calls):
    return [(name, dict(settings_), of) for name, settings_, of in calls]


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_random_graphs(keras, drawn):
    calls, ends, arrays = drawn
    ours = outcome(graph, fastembed, copied(calls), ends, arrays)
    theirs = keras(graph, copied(calls), ends, arrays)
    if isinstance(theirs, Raised) or isinstance(ours, Raised):
        assert isinstance(ours, Raised), (ours, theirs)
        assert isinstance(theirs, Raised), (ours, theirs)
        assert ours.name == theirs.name, (ours, theirs)
        return
    for key in theirs:
        if key != "outputs":
            assert ours[key] == theirs[key], key
    for our, their in zip(ours["outputs"], theirs["outputs"]):
        np.testing.assert_allclose(our, their, rtol=2e-5, atol=2e-6)


PROGRAMS = {
    "flat input of a sequential": "Sequential([Input((4,)), layers.Embedding(9, 2)])(np.ones((2,), int))",
    "shape": "Sequential([Input((4,)), layers.Dense(2)])(np.ones((2, 5)))",
    "functional shape": "two(np.ones((2, 5)))",
    "too many inputs": "two([np.ones((2, 4)), np.ones((2, 4))])",
    "unknown key": "two({'x': np.ones((2, 4))})",
    "extra axis": "two(np.ones((2, 4, 1))).shape",
    "rank": "two(np.ones((2, 4, 2)))",
    "not connected": "Model(Input((2,)), layers.Dense(2)(Input((2,))))",
    "no tensors": "Model(Input((2,)), np.ones(3))",
    "no layer": "Sequential([3])",
    "one name twice": "Sequential([layers.Dense(1, name='a'), layers.Dense(1, name='a')])",
    "one name twice in a graph": "Model(two.input, named(named(two.input)))",
    "not built": "Sequential([layers.Dense(1)]).count_params()",
    "no outputs yet": "Sequential([layers.Dense(1)]).output_shape",
    "empty": "Sequential().build((2, 3))",
    "empty pop": "Sequential().pop()",
    "two inputs": "Sequential([Input((2,)), Input((2,))])",
    "no layer of that name": "two.get_layer('nowhere')",
    "no layer of that number": "two.get_layer(index=5)",
    "no name": "two.get_layer()",
    "layers is taken": "setattr(two, 'layers', [])",
    "open length": "Sequential([Input((None,)), layers.Embedding(9, 2), layers.Flatten(), layers.Dense(1)])",
    "shape of an input": "Input(3)",
    "no shape": "Input()",
    "two shapes": "Input((2,), batch_shape=(1, 2))",
    "input of no batch": "Input(()).shape",
    "a call without data": "two()",
    "weights of the wrong number": "two.set_weights([])",
    "merging two shapes": "layers.Add()([Input((2,)), Input((3,))])",
    "merging one": "layers.Add()(Input((2,)))",
    "pool of a matrix": "layers.GlobalAveragePooling1D()(Input((2,)))",
    "dtype": "Input((2,), dtype='int32').dtype, two.inputs[0].dtype",
    "other rank of shapes": "two.compute_output_shape((7, 4))",
}


def program(library, line):
    warnings.simplefilter("ignore")
    names = {name: getattr(library, name) for name in ("Sequential", "Model", "Input", "layers")}
    tensor = library.Input((4,), name="four")
    names["two"] = library.Model(tensor, library.layers.Dense(2)(tensor))
    names["named"] = lambda each: library.layers.Dense(4, name="a")(each)
    value = eval(line, {"np": np, **names})
    return value if isinstance(value, (tuple, str, int)) else type(value).__name__


@pytest.mark.parametrize("what", PROGRAMS)
def test_errors_and_shapes(keras, what):
    line = PROGRAMS[what]
    ours, theirs = outcome(program, fastembed, line), keras(program, line)
    if isinstance(theirs, Raised):
        assert isinstance(ours, Raised), (ours, theirs)
        if theirs.name != "AxisError":
            assert ours.name == theirs.name, (ours, theirs)
        assert len(ours.message) > 20
    else:
        assert ours == theirs or {ours, theirs} <= {"ndarray", "Array"}, (ours, theirs)

"""Models that are made of calls: what they compute, their gradients, masks, names and errors."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastembed
from fastembed import layers as L
from fastembed.layers.graph import KerasTensor, flatten, map_structure, pack_as
from fastembed.models import Functional, Model, Sequential

RNG = np.random.default_rng(5)


def classifier(mask_zero: bool = False) -> Sequential:
    return Sequential(
        [
            L.Input((None,), dtype="int32"),
            L.Embedding(30, 6, mask_zero=mask_zero),
            L.GlobalAveragePooling1D(),
            L.Dense(4, activation="relu"),
            L.Dense(1, activation="sigmoid"),
        ]
    )


def by_hand(model: Model, ids: np.ndarray) -> np.ndarray:
    values = ids
    for layer in model.layers:
        values = layer(values)
    return values


# --- What a model computes ------------------------------------------------------------------------


def test_a_row_of_layers_computes_what_they_compute_one_after_the_other() -> None:
    model, ids = classifier(), RNG.integers(0, 30, (5, 7))
    assert np.array_equal(model(ids), by_hand(model, ids))
    assert model.output_shape == (None, 1)
    assert model.input_shape == (None, None)
    assert len(model.weights) == 5


def test_without_an_input_a_row_is_built_for_the_first_data() -> None:
    model = Sequential([L.Embedding(30, 6), L.Flatten()])
    model.add(L.Dense(2))
    assert not model.built
    assert model.weights == []
    with pytest.raises(AttributeError, match="no defined inputs yet"):
        model.inputs  # noqa: B018
    assert model(np.ones((3, 4), int)).shape == (3, 2)
    assert model.input_shape == (None, 4)
    assert model(np.ones((1, 4), int)).shape == (1, 2)


def test_input_length_is_an_input_as_in_keras_2() -> None:
    model = Sequential()
    model.add(L.Embedding(50, 8, input_length=4))
    model.add(L.Flatten())
    model.add(L.Dense(1))
    assert model.built
    assert model.count_params() == 50 * 8 + 33
    with fastembed.era("keras2"):
        assert Sequential([L.Embedding(9, 2), L.GlobalMaxPooling1D()]).built


def test_add_and_pop() -> None:
    model = classifier()
    last = model.pop()
    assert model.output_shape == (None, 4)
    model.add(last)
    assert model.output_shape == (None, 1)
    with pytest.raises(ValueError, match="incompatible with the layer"):
        model.add(L.GlobalAveragePooling1D())
    assert model.output_shape == (None, 1), "a layer that cannot follow changes nothing"
    with pytest.raises(ValueError, match="Only instances of"):
        model.add(3)
    with pytest.raises(ValueError, match="unique names"):
        model.add(last)


def test_a_layer_of_two_models_is_one_layer() -> None:
    words = L.Embedding(30, 4)
    one, other = Sequential([L.Input((3,)), words, L.Flatten()]), Sequential([L.Input((2,)), words])
    ids = np.array([[1, 2, 3]])
    before = one(ids)
    words.set_weights([np.ones((30, 4))])
    assert not np.array_equal(one(ids), before)
    assert np.all(one(ids) == 1)
    assert np.all(other(ids[:, :2]) == 1)


def test_ids_never_pass_through_floats() -> None:
    rows = 2**24 + 3  # float32 has no 2**24 + 1
    table = np.arange(rows, dtype=np.float64)[:, None]
    tensor = L.Input((1,))  # float32, as Keras's default is
    flat = L.Flatten(dtype="float64")
    model = Model(tensor, flat(L.Embedding(rows, 1, weights=[table], dtype="float64")(tensor)))
    assert int(model(np.array([[2**24 + 1]]))[0, 0]) == 2**24 + 1
    reshaped = Model(tensor, flat(model.layers[1](L.Reshape((1, 1))(tensor))))
    assert int(reshaped(np.array([[2**24 + 1]]))[0, 0]) == 2**24 + 1
    numbers = Model(tensor, L.Dense(1, kernel_initializer="ones")(tensor))
    assert numbers(np.array([[3]])).dtype == np.float32


def test_several_inputs_and_outputs_in_lists_and_dicts() -> None:
    a, b = L.Input((2,), name="a"), L.Input((2,), name="b")
    total, rest = L.Add()([a, b]), L.Subtract()([a, b])
    x, y = np.float32([[1, 2]]), np.float32([[5, 7]])
    listed = Model([a, b], [total, rest])
    for given_ in ([x, y], (x, y), {"a": x, "b": y}):
        outputs = listed(given_)
        assert isinstance(outputs, list)
        assert np.array_equal(outputs, [x + y, x - y])
    named = Model({"a": a, "b": b}, {"sum": total, "rest": rest})
    outputs = named({"b": y, "a": x})
    assert np.array_equal(outputs["sum"], x + y)
    assert np.array_equal(outputs["rest"], x - y)
    assert named.input_names == ["a", "b"]
    with pytest.raises(ValueError, match='Missing data for input "b"'):
        named({"a": x})
    with pytest.raises(ValueError, match="expects 2 input"):
        listed([x])


def test_models_inside_models() -> None:
    tower = classifier()
    left, right = L.Input((4,)), L.Input((5,))
    pair = Model([left, right], L.Concatenate()([tower(left), tower(right)]))
    x, y = RNG.integers(0, 30, (3, 4)), RNG.integers(0, 30, (3, 5))
    assert np.array_equal(pair([x, y]), np.concatenate([tower(x), tower(y)], axis=1))
    assert len(pair.weights) == len(tower.weights)
    tower.pop()
    tower.add(L.Dense(2))
    assert pair([x, y]).shape == (3, 4), "it is called as it is now, as in Keras"


def test_one_call_in_the_middle_can_be_an_output_or_an_input() -> None:
    ids = L.Input((4,), dtype="int32")
    vectors = L.Embedding(30, 6)(ids)
    means = L.GlobalAveragePooling1D()(vectors)
    score = L.Dense(1)(means)
    both = Model(ids, [means, score])
    data = RNG.integers(0, 30, (2, 4))
    found, scored = both(data)
    head = Model(means, score)
    assert np.array_equal(head(found), scored)
    assert [layer.name for layer in head.layers][-1] == score.node.layer.name


def test_lists_tuples_and_dicts_are_kept() -> None:
    structure = {"b": [1, (2, 3)], "a": 4}
    assert list(flatten(structure)) == [4, 1, 2, 3]
    assert pack_as(structure, "wxyz") == {"b": ["x", ("y", "z")], "a": "w"}
    assert map_structure(lambda leaf: -leaf, structure) == {"b": [-1, (-2, -3)], "a": -4}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_random_graph_computes_what_its_calls_compute(data: st.DataObject) -> None:
    inputs = [L.Input((3,), name=f"in{i}_{id(data)}") for i in range(data.draw(st.integers(1, 3)))]
    arrays = [RNG.standard_normal((2, 3)).astype(np.float32) for _ in inputs]
    tensors, values = list(inputs), list(arrays)
    shared = [L.Dense(3, activation="tanh"), L.Dense(3)]
    for _ in range(data.draw(st.integers(1, 8))):
        chosen = data.draw(st.lists(st.integers(0, len(tensors) - 1), min_size=2, max_size=3))
        kind = data.draw(st.sampled_from(["shared", "add", "multiply", "average", "nested"]))
        if kind == "shared":
            layer, pick = data.draw(st.sampled_from(shared)), chosen[0]
            tensors.append(layer(tensors[pick]))
            values.append(layer(values[pick]))
        elif kind == "nested":
            layer, pick = Sequential([L.Input((3,)), shared[0], L.Dense(3)]), chosen[0]
            tensors.append(layer(tensors[pick]))
            values.append(layer(values[pick]))
        else:
            layer = {"add": L.Add, "multiply": L.Multiply, "average": L.Average}[kind]()
            tensors.append(layer([tensors[i] for i in chosen]))
            values.append(layer([values[i] for i in chosen]))
    model = Model(inputs, tensors[-2:])
    for output, value in zip(model(arrays), values[-2:]):
        assert np.array_equal(output, value)
    # Gradients against finite differences, in the inputs and in a shared weight.
    upstream = [RNG.standard_normal((2, 3)).astype(np.float32) for _ in range(2)]
    weights = [RNG.standard_normal((2, 3)) for _ in inputs]

    def loss(step: float) -> float:
        moved = [array + step * w for array, w in zip(arrays, weights)]
        return sum(float((u.astype(float) * o).sum()) for u, o in zip(upstream, model(moved)))

    with fastembed.recording():
        model(arrays)
    gradients = model.backward(upstream)
    gradients = [gradients] if len(inputs) == 1 and not isinstance(gradients, list) else gradients
    slope = sum(float((g * w).sum()) for g, w in zip(gradients, weights) if g is not None)
    numeric = (loss(1e-2) - loss(-1e-2)) / 2e-2
    assert slope == pytest.approx(numeric, rel=0.05, abs=0.05)


# --- Gradients ------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_layers_called_by_hand() -> None:
    model, ids = classifier(), RNG.integers(0, 30, (5, 7))
    upstream = RNG.standard_normal((5, 1)).astype(np.float32)
    outputs, _, tape = model._record(model._flat_inputs(ids))
    model._backpropagate(tape, [upstream])
    found = [variable.gradient for variable in model.trainable_variables]
    for variable in model.trainable_variables:
        variable.clear_gradient()
    values = ids
    for layer in model.layers:
        values = layer(values, training=True)
    gradient = upstream
    for layer in reversed(model.layers):
        gradient = layer.backward(gradient)
    assert np.array_equal(values, outputs[0])
    for one, variable in zip(found, model.trainable_variables):
        assert np.array_equal(dense(one), dense(variable.gradient))


def dense(gradient: object) -> np.ndarray:
    return gradient.to_dense() if hasattr(gradient, "to_dense") else gradient  # type: ignore[union-attr,return-value]


def test_what_is_frozen_gets_no_gradient_and_what_is_before_it_does() -> None:
    model, ids = classifier(), RNG.integers(0, 30, (5, 7))
    model.layers[2].trainable = False
    _, _, tape = model._record(model._flat_inputs(ids))
    model._backpropagate(tape, [np.ones((5, 1), np.float32)])
    assert [v.gradient is not None for v in model.weights] == [True, False, False, True, True]
    model.trainable = False
    for variable in model.weights:
        variable.clear_gradient()
    _, _, tape = model._record(model._flat_inputs(ids))
    assert tape.entries == []


def test_a_weight_that_is_frozen_or_unfrozen_by_hand_is_seen() -> None:
    model, ids = classifier(), RNG.integers(0, 30, (5, 7))
    kernel = model.layers[2].kernel
    for trainable in (True, False, True):
        kernel.trainable = trainable
        _, _, tape = model._record(model._flat_inputs(ids))
        model._backpropagate(tape, [np.ones((5, 1), np.float32)])
        assert (kernel.gradient is not None) == trainable
        for variable in model.weights:
            variable.clear_gradient()


def test_an_output_without_a_gradient_counts_as_zero() -> None:
    tensor = L.Input((2,))
    hidden = L.Dense(3)(tensor)
    model = Model(tensor, [L.Dense(1)(hidden), L.Dense(2)(hidden)])
    _, _, tape = model._record(model._flat_inputs(np.ones((4, 2), np.float32)))
    model._backpropagate(tape, [None, np.ones((4, 2), np.float32)])
    first = model.get_layer(model.output_names[0])
    assert first.kernel.gradient is None
    assert hidden.node.layer.kernel.gradient is not None


class NoGradient(L.Layer):
    def call(self, inputs: np.ndarray) -> np.ndarray:
        return 2 * inputs

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


def test_a_layer_without_a_gradient_is_named_only_if_one_is_needed() -> None:
    model = Sequential([L.Input((2,)), NoGradient(name="doubles"), L.Dense(1)])
    _, _, tape = model._record([np.ones((1, 2), np.float32)])
    model._discard(tape)
    model = Sequential([L.Input((2,)), L.Dense(2), NoGradient(name="doubles")])
    with pytest.raises(RuntimeError, match="'doubles'"):
        model._record([np.ones((1, 2), np.float32)])


class Composite(L.Layer):
    """A layer of layers, which calls them itself."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.inner = L.Dense(3, activity_regularizer="l2")

    def call(self, inputs: np.ndarray) -> np.ndarray:
        return self.inner(inputs)

    def backpropagate(self, remembered: object, upstream: np.ndarray) -> np.ndarray:
        return self.inner.backward(upstream)


def test_layers_of_layers_and_their_losses() -> None:
    model = Sequential([L.Input((2,)), Composite(), L.Dense(1, activity_regularizer="l1")])
    data = np.ones((4, 2), np.float32)
    model(data)
    assert len(model.losses) == 2
    model(data)
    assert len(model.losses) == 2, "of the last call only"
    _, _, tape = model._record([data])
    model._backpropagate(tape, [np.ones((4, 1), np.float32)])
    assert all(variable.gradient is not None for variable in model.weights)
    _, _, tape = model._record([data])
    model._discard(tape)
    composite = model.layers[0]
    assert not composite._recorded.__dict__.get("calls")
    assert not composite.inner._recorded.__dict__.get("calls")


def test_a_model_of_ones_own_calls_and_differentiates_its_layers() -> None:
    class Mine(Model):
        def __init__(self) -> None:
            super().__init__()
            self.words = L.Embedding(9, 2)
            self.head = L.Dense(1)

        def call(self, inputs: np.ndarray) -> np.ndarray:
            return self.head(self.words(inputs))

        def backpropagate(self, remembered: object, upstream: np.ndarray) -> None:
            self.words.backward(self.head.backward(upstream))

    model = Mine()
    ids = np.array([[1, 2]])
    outputs, _, tape = model._record(model._flat_inputs(ids))
    model._backpropagate(tape, [np.ones_like(outputs[0])])
    assert len(model.weights) == 3
    assert all(variable.gradient is not None for variable in model.weights)
    assert model.layers == [model.words, model.head]


def test_changing_a_layer_is_seen() -> None:
    model, data = Sequential([L.Input((2,)), L.Dense(3), L.Dense(1)]), np.ones((4, 2), np.float32)
    model(data)
    model.layers[0].activity_regularizer = fastembed.regularizers.L2(0.5)
    model._forward(model._flat_inputs(data))
    assert len(model.losses) == 1
    model.layers[0].activation = fastembed.activations.relu
    model.layers[0].set_weights([-np.ones((2, 3)), np.zeros(3)])
    assert np.all(model(data) == 0)


# --- Masks ----------------------------------------------------------------------------------------


def test_masks_travel() -> None:
    model, ids = classifier(mask_zero=True), np.array([[3, 4, 0, 0], [5, 0, 0, 0]])
    words, pool, hidden, last = model.layers
    expected = last(hidden(pool(words(ids), mask=ids != 0)))
    assert np.array_equal(model(ids), expected)
    outputs, _, tape = model._record(model._flat_inputs(ids))
    assert np.array_equal(outputs[0], expected)
    model._backpropagate(tape, [np.ones((2, 1), np.float32)])
    rows = words.embeddings.gradient.indices
    assert 0 not in rows or not dense(words.embeddings.gradient)[0].any()


def test_a_mask_comes_out_of_a_model_and_goes_into_the_next() -> None:
    words = Sequential([L.Input((None,)), L.Embedding(9, 2, mask_zero=True), L.Dense(3)])
    ids = np.array([[3, 0]])
    _, masks = words._forward(words._flat_inputs(ids))
    assert np.array_equal(masks[0], [[True, False]])
    assert np.array_equal(words.compute_mask(ids), [[True, False]])
    tensor = L.Input((None,))
    pooled = Model(tensor, L.GlobalAveragePooling1D()(words(tensor)))
    assert np.array_equal(pooled(ids), words(ids)[:, 0])
    means = Sequential([L.Input((None, 3)), L.GlobalAveragePooling1D()])
    assert np.array_equal(means(words(ids), mask=[[True, False]]), words(ids)[:, 0])


def test_a_layer_with_a_compute_mask_of_its_own_knows_masks() -> None:
    class Kept(L.Layer):
        def call(self, inputs: np.ndarray) -> np.ndarray:
            return inputs

        def compute_mask(self, inputs: np.ndarray, mask: object = None) -> object:
            return mask

    tensor, ids = L.Input((None,)), np.array([[3, 0]])
    words = L.Embedding(9, 2, mask_zero=True)
    model = Model(tensor, L.GlobalAveragePooling1D()(Kept()(words(tensor))))
    assert Kept().supports_masking
    assert np.array_equal(model(ids), words(ids)[:, 0])


def test_a_layer_that_knows_no_masks_says_so_as_its_keras_does() -> None:
    tensor = L.Input((3,))
    with pytest.warns(UserWarning, match="does not support masking"):
        L.Flatten()(L.Embedding(9, 2, mask_zero=True)(tensor))
    with fastembed.era("keras2"), pytest.raises(TypeError, match="does not support masking"):
        L.Flatten()(L.Embedding(9, 2, mask_zero=True)(L.Input((3,))))


# --- Names and errors -----------------------------------------------------------------------------


def test_layers_are_found_by_name_and_number() -> None:
    model = classifier()
    assert model.get_layer(model.layers[1].name) is model.layers[1]
    assert model.get_layer(index=0) is model.layers[0]
    with pytest.raises(ValueError, match=r"No such layer: nowhere\. Existing layers are: \['embedding"):
        model.get_layer("nowhere")
    with pytest.raises(ValueError, match="only has 4 layers"):
        model.get_layer(index=4)
    with pytest.raises(ValueError, match="Provide either"):
        model.get_layer()


def test_what_cannot_be_a_model() -> None:
    tensor, other = L.Input((2,)), L.Input((2,), name="other_input")
    with pytest.raises(ValueError, match=r"not connected to `inputs`.*other_input"):
        Model(tensor, L.Dense(1)(other))
    with pytest.raises(ValueError, match="must be KerasTensors"):
        Model(tensor, np.ones(3))
    with pytest.raises(ValueError, match="cannot be empty"):
        Model([], tensor)
    with pytest.raises(ValueError, match="given once"):
        Model([tensor, tensor], L.Dense(1)(tensor))
    named = L.Dense(1, name="twice")(L.Dense(1, name="twice")(tensor))
    with pytest.raises(ValueError, match='"twice" is used 2 times'):
        Model(tensor, named)
    with pytest.raises(AttributeError, match="reserved"):
        Model(tensor, L.Dense(1)(tensor)).layers = []


def test_shapes_that_do_not_fit() -> None:
    tensor = L.Input((4,), name="four")
    model = Model(tensor, L.Dense(1)(tensor))
    with pytest.raises(ValueError, match=r"'four'.*expected shape=\(None, 4\), found shape=\(2, 5\)"):
        model(np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"Expected shape \(None, 4\), but input has incompatible shape"):
        model(np.ones((2, 2, 4)))
    row = Sequential([L.Input((4,)), L.Embedding(9, 2), L.Flatten(), L.Dense(1)])
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 8"):
        row(np.ones((2, 5), int))
    with pytest.raises(ValueError, match="leaves open"):
        Sequential([L.Input((None,)), L.Embedding(9, 2), L.Flatten(), L.Dense(1)])
    with pytest.raises(ValueError, match="no layers"):
        Sequential().build((2, 3))


def test_a_tensor_without_numbers_says_what_to_do() -> None:
    tensor = L.Input((4,))
    for use in (lambda: tensor + 1, lambda: np.sum(tensor), lambda: bool(tensor), lambda: tensor[0]):
        with pytest.raises(TypeError, match="has no numbers yet"):
            use()
    assert isinstance(tensor, KerasTensor)
    with pytest.raises(ValueError, match="must pass a `shape`"):
        L.Input()
    with pytest.raises(ValueError, match="Cannot convert"):
        L.Input(3)


def test_ids_outside_the_table_are_named_in_models_too() -> None:
    with pytest.raises(IndexError, match=r"ids\[1, 0\] = 30"):
        classifier()(np.array([[1], [30]]))


def test_eras_name_and_take_inputs_their_way() -> None:
    with fastembed.era("keras2"):
        model = Sequential([L.Embedding(9, 2, input_length=3), L.Flatten()])
        assert model.input_names == [f"{model.layers[0].name}_input"]
        tensor = L.Input((3,), (5, 3)[:0] or None, "mine")
        assert tensor.name == "mine"
    with fastembed.era("keras1"):
        model = Model(input=tensor, output=L.Dense(1)(tensor))
    assert isinstance(model, Functional)


# --- Copies, threads ------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_computes_the_same_and_is_apart(copied: object) -> None:
    tower = classifier()
    left, right = L.Input((4,)), L.Input((5,))
    pair = Model([left, right], L.Concatenate()([tower(left), tower(right)]))
    x, y = RNG.integers(0, 30, (3, 4)), RNG.integers(0, 30, (3, 5))
    other = copied(pair)  # type: ignore[operator]
    assert np.array_equal(other([x, y]), pair([x, y]))
    before = other([x, y])
    pair.set_weights([np.zeros(w.shape) for w in pair.get_weights()])
    assert np.array_equal(other([x, y]), before)
    layer = copied(tower.layers[0])  # type: ignore[operator]
    assert np.array_equal(layer(x), tower.layers[0](x))


def test_threads_may_predict_while_another_trains() -> None:
    model, ids = classifier(), RNG.integers(0, 30, (8, 7))
    expected = model(ids)
    stop, wrong = threading.Event(), []

    def predict() -> None:
        while not stop.is_set():
            outputs, _ = model._forward(model._flat_inputs(ids))
            if not np.array_equal(outputs[0], expected):
                wrong.append(outputs)

    callers = [threading.Thread(target=predict) for _ in range(3)]
    for caller in callers:
        caller.start()
    for _ in range(200):
        _, _, tape = model._record(model._flat_inputs(ids))
        model._backpropagate(tape, [np.ones((8, 1), np.float32)])
        for variable in model.weights:
            variable.clear_gradient()
    stop.set()
    for caller in callers:
        caller.join()
    assert not wrong

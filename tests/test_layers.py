"""The life of a layer, and the two layers there are."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import threading

import numpy as np
import pytest

import fastembed
from fastembed import Variable, initializers, layers, ops, regularizers, variable
from fastembed import backend as K
from fastembed.names import snake_case


class Scale(layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale


class Pair(layers.Layer):
    """A layer that holds layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = layers.Embedding(10, 4)
        self.scale = Scale()

    def call(self, inputs):
        return self.scale(self.words(inputs))


# --- Making and building --------------------------------------------------------------------------


def test_automatic_names():
    assert snake_case("LSTM") == "lstm"
    assert snake_case("HTTPServer2D") == "http_server2d"

    class ForThisTestOnly(layers.Layer):
        pass

    assert [ForThisTestOnly().name for _ in range(2)] == ["for_this_test_only", "for_this_test_only_1"]
    assert layers.Embedding(2, 2, name="words").name == "words"


def test_is_built_by_its_first_call():
    layer = Scale()
    assert (layer.built, layer.weights) == (False, [])
    assert layer(np.ones((2, 3), "f4")).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert layer.built
    assert [w.shape for w in layer.weights] == [(3,)]
    assert layer.weights[0].path == f"{layer.name}/scale"
    assert repr(layer) == f"<Scale name={layer.name}, built=True>"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "a/b"}, ValueError, "cannot contain character `/`"),
        ({"name": 3}, ValueError, "must be a string"),
        ({"trainable": 1}, ValueError, r"Expected `trainable` to be a boolean. Received: trainable=1"),
        ({"colour": "red"}, ValueError, r"Unrecognized keyword arguments passed to Scale: {'colour': 'red'}"),
        ({"dtype": "complex64"}, ValueError, "Unknown dtype policy"),
    ],
)
def test_says_what_no_layer_takes(arguments, error, message):
    with pytest.raises(error, match=message):
        Scale(**arguments)


def test_a_layer_of_keras_1_that_names_its_weights_itself():
    class Old(layers.Layer):
        def build(self, input_shape):
            self.W = initializers.get("ones")((input_shape[-1], 2), dtype="float32")
            self.W = Variable(self.W, name="W")
            self.trainable_weights = [self.W]

        def call(self, x, mask=None):
            return K.dot(x, self.W)

    layer = Old()
    assert layer(np.ones((1, 3), "f4")).tolist() == [[3, 3]]
    assert [w.name for w in layer.trainable_weights] == ["W"]


def test_finds_what_lists_tuples_and_dicts_hold():
    class Towers(layers.Layer):
        def __init__(self):
            super().__init__()
            self.blocks = [layers.Embedding(3, 2), (layers.Embedding(4, 2), {"deep": layers.Embedding(5, 2)})]
            self.own = {"scale": Variable([1.0], name="scale")}
            self.parent = self  # a circle

        def call(self, inputs):
            return sum(block(inputs) for block in self.blocks[:1])

    towers = Towers()
    towers.blocks[0].build()
    assert [w.shape for w in towers.weights] == [(1,), (3, 2)]
    towers.blocks.append(Scale())  # also what comes later
    towers.blocks[2](np.ones(2))
    assert [w.shape for w in towers.weights] == [(1,), (3, 2), (2,)]
    towers.trainable = False
    assert not towers.blocks[0].trainable
    del towers.blocks
    assert [w.shape for w in towers.weights] == [(1,)]


def test_a_variable_is_tracked_only_where_it_could_be_set_and_as_long():
    with fastembed.era("tf.keras"):  # a layer of Keras 3 gets no more variables once it is built
        layer = layers.Embedding(2, 2, weights=np.zeros((2, 2)))
    with pytest.raises(AttributeError):
        layer.table = Variable([1.0])
    assert len(layer.weights) == 1
    layer.extra = Variable([1.0])
    assert len(layer.weights) == 2
    del layer.extra
    assert len(layer.weights) == 1


def test_threads_that_call_a_new_layer_build_it_once():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            layer = layers.Embedding(4, 2)
            threads = [threading.Thread(target=layer, args=[np.array([1])]) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(layer.weights) == 1
    finally:
        sys.setswitchinterval(interval)


def test_weights_that_do_not_fit_are_said_at_every_call():
    layer = Scale(weights=[np.full(5, 7.0)])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"weight shape \(3,\) is not compatible"):
            layer(np.ones((2, 3), "f4"))
    assert layer.weights == []
    layer = Scale(weights=[np.full(5, 7.0)])
    assert layer(np.ones((1, 5), "f4")).tolist() == [[7.0] * 5]


def test_a_subclass_of_embedding_with_weights_of_its_own():
    class Shifted(layers.Embedding):
        def build(self, input_shape):
            super().build(input_shape)
            self.shift = self.add_weight(shape=(self.output_dim,), initializer="ones", name="shift")

        def call(self, inputs):
            return super().call(inputs) + self.shift

    for layer in (Shifted(2, 1, weights=[[1.0], [2.0]]), Shifted(2, 1, "zeros")):
        for _ in range(2):
            assert layer(np.array([1])).shape == (1, 1)
        assert [w.name for w in layer.weights] == ["embeddings", "shift"]
    assert Shifted(2, 1, weights=[[1.0], [2.0]])([1]).tolist() == [[3.0]]


def test_inputs_by_name():
    assert layers.Dense(2)(inputs=np.ones((1, 3), "f4")).shape == (1, 2)
    layer = layers.Embedding(4, 2)
    layer(inputs=np.array([1]), training=True)
    layer.backward(np.ones((1, 2)))


def test_built_by_hand_or_by_a_call_it_is_built_once():
    class Child(Scale):
        def build(self, input_shape):
            super().build(input_shape)
            self.shift = self.add_weight(shape=(input_shape[-1],), name="shift")

    layer = Child(weights=[[2.0, 2.0], [0.0, 0.0]])
    layer.build((None, 2))
    layer.build((None, 2))
    assert layer.built
    assert layer(np.ones((1, 2), "f4")).tolist() == [[2, 2]]
    assert [w.path for w in layer.weights] == [f"{layer.name}/scale", f"{layer.name}/shift"]


def test_paths_name_the_layers_around():
    pair = Pair(name="pair")
    pair.words.name, pair.scale.name = "words", "scale"
    pair([1])
    assert [w.path for w in pair.weights] == ["pair/words/embeddings", "pair/scale/scale"]


def test_forgotten_super_init():
    class Forgetful(layers.Layer):
        def __init__(self):
            self.inner = Scale()

    class Silent(layers.Layer):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="you forgot to call"):
        Forgetful()
    with pytest.raises(RuntimeError, match="you forgot to call"):
        Silent()(np.ones(2))


def test_a_layer_without_call():
    with pytest.raises(NotImplementedError, match="does not have a `call"):
        layers.Layer()(np.ones(2))


@pytest.mark.parametrize(
    "add",
    [
        lambda layer: layer.add_weight(shape=(2, 3), initializer="ones", name="w", regularizer="l2"),
        lambda layer: layer.add_weight((2, 3), "ones", "float32", name="w", regularizer="l2"),  # Keras 3
        lambda layer: layer.add_weight("w", (2, 3), "float32", "ones", "l2"),  # Keras 2
        lambda layer: layer.add_weight(
            "w", (2, 3), initializer="ones", regularizer="l2", use_resource=True
        ),  # tf.keras
        lambda layer: layer.add_weight((2, 3), "ones", "w", True, "l2"),  # Keras 1
        lambda layer: layer.add_variable(
            "w", shape=[2, 3], initializer="ones", regularizer=regularizers.L2()
        ),
    ],
)
def test_add_weight_in_every_eras_order(add):
    layer = layers.Layer(name="mine")
    weight = add(layer)
    assert (weight.name, weight.path, weight.shape, weight.dtype) == ("w", "mine/w", (2, 3), "float32")
    assert weight.numpy().tolist() == [[1, 1, 1]] * 2
    assert isinstance(weight.regularizer, regularizers.L2)
    assert layer.weights == [weight]


def test_add_weight_defaults_and_errors():
    layer = layers.Layer(dtype="float64")
    assert layer.add_weight().shape == ()
    assert layer.add_weight(3, dtype="int32").numpy().tolist() == [0, 0, 0]
    assert layer.add_weight((50, 50)).numpy().std() > 0.1  # Glorot's uniform
    assert layer.weights[2].dtype == "float64"
    for args, kwargs, message in [
        (("w", (2,)), {"shape": (2,)}, "shape both by position and by keyword"),
        (("w", (2,), None, None, None, True, None, 8), {}, "at most 7 positional"),
        (((2,),), {"colour": 1}, "unexpected keyword arguments: colour"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            layer.add_weight(*args, **kwargs)


def test_finds_variables_and_layers_in_attributes():
    pair = Pair()
    pair.own = Variable([1.0], name="own")
    pair(np.array([[1, 2]]))
    assert [w.path.rpartition("/")[2] for w in pair.weights] == ["own", "embeddings", "scale"]
    pair.again = pair.words  # the same layer twice holds its weights once
    assert len(pair.weights) == 3
    assert pair.count_params() == 1 + 40 + 4


# --- Weights --------------------------------------------------------------------------------------


def test_trainable_goes_down_and_sorts_weights():
    pair = Pair()
    steady = pair.scale.add_weight(shape=(1,), name="steady", trainable=False)
    pair([1])
    everything = pair.weights
    assert pair.trainable_weights == everything[:2]
    assert pair.non_trainable_weights == [steady]
    pair.trainable = False
    assert pair.trainable_weights == []
    assert pair.non_trainable_weights == everything == pair.weights  # freezing does not reorder
    assert not pair.words.trainable
    assert not pair.words.embeddings.trainable
    pair.trainable = True
    assert pair.trainable_weights == everything[:2]
    frozen = layers.Embedding(2, 2, trainable=False)
    frozen.build()
    assert frozen.trainable_weights == []
    frozen.trainable = True
    assert frozen.trainable_weights == frozen.weights


def test_get_and_set_weights():
    layer = layers.Embedding(4, 3, name="x")
    assert layer.get_weights() == []
    layer.build()
    [table] = layer.get_weights()
    table[:] = 7  # a copy
    assert not (layer.get_weights()[0] == 7).any()
    layer.set_weights([table])
    assert (layer([2]) == 7).all()
    for weights, message in [
        ([], r"on layer 'x' with a weight list of length 0, but the layer was expecting 1 weights\."),
        (
            [np.zeros((3, 4))],
            r"Layer x weight shape \(4, 3\) is not compatible with provided weight shape \(3, 4\)\.",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            layer.set_weights(weights)


def test_set_weights_is_all_or_nothing(monkeypatch):
    dense = layers.Dense(2)
    dense.build((None, 3))
    before = dense.get_weights()
    with pytest.raises(TypeError):
        dense.set_weights([np.ones((3, 2)), np.array(["a", "b"])])
    copies = iter([variable.copied, None])
    monkeypatch.setattr(variable, "copied", lambda values: next(copies)(values))  # no memory for the second
    with pytest.raises(TypeError):
        dense.set_weights([np.ones((3, 2)), np.ones(2)])
    for old, new in zip(before, dense.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_count_params_wants_a_built_layer():
    with pytest.raises(
        ValueError, match="You tried to call `count_params` on layer 'x', but the layer isn't built"
    ):
        layers.Embedding(4, 3, name="x").count_params()


# --- Losses ---------------------------------------------------------------------------------------


def test_losses():
    class Costly(Scale):
        def call(self, inputs):
            self.add_loss(3.0)
            return super().call(inputs)

    layer = Costly(activity_regularizer=regularizers.L1(1.0))
    for _ in range(2):  # losses of a call replace those of the last
        layer(np.ones((4, 2), "f4"))
        assert [float(x) for x in layer.losses] == [3.0, 2.0]  # the activity's: 8 / 4
    plain = layers.Embedding(2, 2)
    plain(np.array([1]))
    plain.add_loss(3.0)
    assert plain.losses == [3.0]
    plain(np.array([1]))  # the next call forgets it, the short way being closed
    assert plain.losses == []
    embedding = layers.Embedding(2, 2, weights=np.ones((2, 2)), embeddings_regularizer=regularizers.L2(0.5))
    assert [float(x) for x in embedding.losses] == [2.0]
    embedding.trainable = False
    assert embedding.losses == []  # as in Keras 3


# --- Gradients ------------------------------------------------------------------------------------


def test_backward_takes_recorded_calls_last_first():
    layer = layers.Embedding(5, 2)
    ids = np.array([1, 1, 3])
    layer(ids, training=True)
    ids[:] = 0  # the record is a copy
    layer(np.array([4]), training=True)
    layer(np.array([0]))  # not recorded
    assert layer.backward([[1, 2]]) is None
    assert layer.embeddings.gradient.indices.tolist() == [4]
    layer.backward(np.ones((3, 2)))
    assert layer.embeddings.gradient.indices.tolist() == [1, 3, 4]
    assert layer.embeddings.gradient.values.tolist() == [[2, 2], [1, 1], [1, 2]]
    with pytest.raises(RuntimeError, match="no recorded call left: call the layer with training=True"):
        layer.backward(np.ones((3, 2)))


def test_a_failed_backward_can_be_repeated():
    layer = layers.Embedding(5, 2)
    layer([1, 2], training=True)
    with pytest.raises(ValueError, match="upstream"):
        layer.backward(np.ones((3, 2)))
    layer.backward(np.ones((2, 2)))


def test_a_failed_backward_leaves_no_gradient():
    dense = layers.Dense(3)
    x = np.ones((2, 4, 5), "f4")
    dense(x, training=True)
    with pytest.raises(ValueError, match=r"the shape of the output, \(2, 4, 3\), got \(4, 6\)"):
        dense.backward(np.ones((4, 6)))
    assert dense.kernel.gradient is None
    x[:] = 0  # what was recorded is a copy
    dense.backward(np.ones((2, 4, 3)))
    assert dense.kernel.gradient.tolist() == [[8.0] * 3] * 5
    assert dense.kernel.gradient.dtype == np.float32


def test_a_frozen_dense_collects_no_gradient():
    dense = layers.Dense(3, trainable=False)
    dense(np.ones((2, 5), "f4"), training=True)
    assert dense.backward(np.ones((2, 3))).shape == (2, 5)
    assert dense.kernel.gradient is None
    assert dense.bias.gradient is None


def test_gradients_of_several_threads_add_up():
    layer = layers.Embedding(5, 2)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work():
        for _ in range(100):
            layer(np.array([1]), training=True)
            layer.backward(np.ones((1, 2)))
            layer.embeddings.assign_add(np.ones((5, 2)))

    try:
        before = layer([1])
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert layer.embeddings.gradient.values.tolist() == [[400, 400]]
    np.testing.assert_allclose(layer([1]), before + 400, rtol=1e-6)


def test_layers_that_cannot_be_differentiated_record_nothing():
    pair = Pair()
    for _ in range(3):
        pair(np.array([1]), training=True)
    assert not pair._recorded.__dict__
    with pytest.raises(RuntimeError, match="defines no backpropagate"):
        pair.backward(np.ones((1, 4)))
    for _ in range(3):
        pair.words.backward(np.ones((1, 4)))


def test_recording_is_training_for_code_that_does_not_say():
    layer = layers.Embedding(5, 2)
    ids = np.array([1])
    layer(ids)
    with fastembed.recording():
        layer(ids)
        layer(ids, training=False)  # says otherwise
    layer(ids)
    layer.backward(np.ones((1, 2)))
    with pytest.raises(RuntimeError, match="no recorded call"):
        layer.backward(np.ones((1, 2)))


def test_each_thread_has_its_own_records():
    layer = layers.Embedding(5, 2)
    layer([1], training=True)
    errors = []

    def other():
        try:
            layer.backward(np.ones((1, 2)))
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(errors) == 1
    layer.backward(np.ones((1, 2)))


def test_training_reaches_the_layers_inside():
    seen = []

    class Spy(layers.Layer):
        def call(self, inputs, training=None):
            seen.append(training)
            return inputs

    class Holder(layers.Layer):
        def __init__(self):
            super().__init__()
            self.spy, self.words = Spy(), layers.Embedding(3, 2)

        def call(self, inputs):
            self.spy(inputs)
            return self.words(inputs)

    holder = Holder()
    ids = np.array([1])
    holder(ids)
    holder(ids, training=True)
    holder.spy(ids, training=False)
    assert seen == [None, True, False]
    holder.words.backward(np.ones((1, 2)))  # was recorded although it was called without saying so
    with pytest.raises(RuntimeError, match="cannot be differentiated: it defines no backpropagate"):
        holder.backward(np.ones((1, 2)))


def test_a_frozen_embedding_collects_no_gradient():
    layer = layers.Embedding(5, 2, trainable=False)
    layer([1], training=True)
    layer.backward(np.ones((1, 2)))
    assert layer.embeddings.gradient is None


def test_dense_agrees_with_finite_differences(rng):
    layer = layers.Dense(3, dtype="float64", activity_regularizer=None)
    x, upstream = rng.standard_normal((2, 4, 5)), rng.standard_normal((2, 4, 3))
    layer(x, training=True)
    input_gradient = layer.backward(upstream)

    def slope(array, set_array):
        numeric = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = array.copy()
                moved[index] += step
                sides.append(np.vdot(set_array(moved), upstream))
            numeric[index] = (sides[0] - sides[1]) / 2e-6
        return numeric

    kernel, bias = layer.get_weights()

    def with_weights(kernel, bias):
        layer.set_weights([kernel, bias])
        return layer(x)

    for gradient, array, function in [
        (layer.kernel.gradient, kernel, lambda value: with_weights(value, bias)),
        (layer.bias.gradient, bias, lambda value: with_weights(kernel, value)),
        (input_gradient, x, layer),
    ]:
        np.testing.assert_allclose(gradient, slope(array, function), rtol=1e-6, atol=1e-7)


# --- Embedding ------------------------------------------------------------------------------------


def test_embedding_by_position_and_with_weights_of_every_shape():
    matrix = np.arange(6.0).reshape(3, 2)
    for weights in (matrix, [matrix], (matrix,), matrix.tolist(), [matrix.tolist()]):
        layer = layers.Embedding(3, 2, "zeros", None, "non_neg", True, weights)
        assert layer.built
        assert layer([2]).tolist() == [[4, 5]]
        assert layer.mask_zero
        assert type(layer.embeddings.constraint).__name__ == "NonNeg"
    with pytest.raises(
        ValueError, match=r"weight shape \(3, 2\) is not compatible with provided weight shape \(2, 3\)"
    ):
        layers.Embedding(3, 2, weights=[matrix.T])
    with pytest.raises(ValueError, match=r"2 weights were given for layer .*, which has one"):
        layers.Embedding(3, 2, weights=[matrix, matrix])
    layer = layers.Embedding(3, 2, weights=matrix)
    matrix[:] = 0  # copied
    assert layer([2]).tolist() == [[4, 5]]


@pytest.mark.parametrize("bad", [0, -3, 2.0, "4", None, True, np.array([3, 4])], ids=repr)
def test_dimensions_are_positive_integers(bad):
    for name, arguments in (("input_dim", (bad, 3)), ("output_dim", (3, bad))):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}="):
            layers.Embedding(*arguments)


def test_dimensions_may_be_numpy_integers():
    layer = layers.Embedding(np.int64(4), np.max([2, 3]))
    json.dumps(layer.get_config())
    assert layers.Embedding(2, 2, lora_rank=None, quantization_config=None)([1]).shape == (1, 2)
    assert layer([3]).shape == (1, 3)


def test_embeddings_before_build():
    with pytest.raises(AttributeError, match="You must build the layer before accessing `embeddings`"):
        layers.Embedding(3, 2).embeddings  # noqa: B018
    layer = layers.Embedding(3, 2)
    layer.build()
    table = layer.embeddings
    layer.build((None, 7))  # a second time changes nothing
    assert layer.embeddings is table


def test_default_rows_are_small_and_uniform():
    rows = layers.Embedding(1000, 50)(np.arange(1000))
    assert rows.dtype == np.float32
    assert (np.abs(rows) <= 0.05).all()
    assert rows.std() == pytest.approx(0.1 / 12**0.5, rel=0.02)


def test_masks_and_shapes():
    layer = layers.Embedding(5, 2, mask_zero=True)
    assert layer.supports_masking
    assert layer.compute_mask(np.array([[0, 3]])).tolist() == [[False, True]]
    assert layer.compute_mask([0, 2]).tolist() == [False, True]
    assert layers.Embedding(5, 2).compute_mask(np.array([0])) is None
    assert layer.compute_output_shape((None, 7)) == (None, 7, 2)
    assert layer(np.array([0])).any()  # row 0 is a row like any other


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_have_the_layers_dtype(dtype):
    layer = layers.Embedding(5, 2, dtype=dtype)
    assert layer([1]).dtype == layer.dtype == layer.compute_dtype == dtype


def test_mixed_precision_converts_the_rows_only():
    layer = layers.Embedding(5, 2, dtype="mixed_float16")
    for _ in range(2):
        assert layer(np.array([1])).dtype == np.float16
    assert layer.embeddings.dtype == layer.dtype == "float32"


def test_bfloat16_layers():
    table = Variable(np.arange(6).reshape(3, 2), dtype="bfloat16")
    layer = layers.Embedding.from_variable(table)  # rows in float32 need nothing
    for _ in range(2):
        np.testing.assert_array_equal(layer(np.array([1])), np.array([[2, 3]], "f4"), strict=True)
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    for layer in (layers.Embedding(3, 2, dtype="bfloat16"), layers.Embedding(3, 2, dtype="mixed_bfloat16")):
        for _ in range(2):
            assert layer(np.array([1])).dtype == bfloat16


def test_bfloat16_results_need_ml_dtypes(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    for dtype in ("bfloat16", "mixed_bfloat16"):
        with pytest.raises(ValueError, match="pip install ml_dtypes"):
            layers.Embedding(3, 2, dtype=dtype)


def test_the_short_way_and_the_long_way_agree():
    """From the second call on the table answers alone; what changes the answer brings the long way back."""
    layer = layers.Embedding(4, 2, weights=np.arange(8.0).reshape(4, 2))
    ids = np.array([[1, 3]], ">i2")
    long = layer(ids)
    assert layer._table is not None
    np.testing.assert_array_equal(layer(ids), long, strict=True)
    layer.set_weights([np.zeros((4, 2))])
    assert not layer(ids).any()
    layer.call = lambda inputs: "mine"
    assert layer(ids) == layer(ids) == "mine"
    del layer.call
    layer.activity_regularizer = regularizers.L1(1.0)
    layer(ids)
    assert layer._table is None
    layer.activity_regularizer = None
    with pytest.raises(IndexError, match=r"ids\[0\] = 4 is outside the table, whose rows are 0 to 3"):
        layer(np.array([4]))
    with pytest.raises(TypeError, match="ids must be integers"):
        layer(np.array(["1"]))

    class Doubled(layers.Embedding):
        def call(self, inputs):
            return 2 * super().call(inputs)

    doubled = Doubled(2, 1, weights=[[1.0], [2.0]])
    assert doubled(np.array([1])) == doubled(np.array([1])) == 4


@pytest.mark.parametrize(
    "ids",
    [
        [2], [], [[1, 2], [3, 0]], (3,), ((0,), (1,)), 3, True, [True, 2], [np.int8(1), 2],
        [np.array([1, 2]), np.array([3, 0])], np.array([[1, 2], [3, 0]])[::-1, ::-1], np.array(2, ">u2"),
        [1.0, 2.0], np.float32(1), np.int64(2), range(3), bytearray(b"\0\1"),
        [9], [-1], -1, [2**63], [2**70], [[1], [2, 3]], [None], ["1"], None, 1.5,
        [np.ma.masked_array([1], [True])],
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("training", [{}, {"training": None}, {"training": False}, {"training": True}])
def test_both_ways_take_the_same_ids(ids, training):
    """Rows, what is recorded, and errors are the same from a layer whose table cannot answer alone."""

    def outcome(layer):
        try:
            rows = layer(ids, **training)
        except Exception as error:
            return type(error), str(error)
        return rows.tolist(), rows.shape, rows.dtype, gradient(layer, rows.shape)

    def gradient(layer, shape):
        if training != {"training": True}:
            with pytest.raises(RuntimeError, match="no recorded call"):
                layer.backward(np.ones(shape))
            return None
        with pytest.raises(ValueError, match="upstream must have the shape of the output"):
            layer.backward(np.ones((*shape, 1)))
        layer.backward(np.ones(shape, "f4"))
        return layer.embeddings.gradient.to_dense().tolist()

    short, long = (layers.Embedding(4, 2, weights=np.arange(8.0).reshape(4, 2)) for _ in range(2))
    short([0])
    assert short._table is not None
    long.remember = lambda inputs, outputs: layers.Embedding.remember(long, inputs, outputs)
    long._answer_with(None, long._changes)
    assert long._table is None
    assert outcome(short) == outcome(long)


def test_a_complex_upstream_is_refused():
    layer = layers.Embedding(4, 1)
    layer([1], training=True)
    with pytest.raises(TypeError, match="upstream must be real numbers, got dtype complex128"):
        layer.backward(np.ones((1, 1), complex))
    layer.backward(np.ones((1, 1)))


def test_a_short_recorded_call_keeps_a_copy_of_its_ids():
    layer = layers.Embedding(4, 1, weights=np.arange(4.0)[:, None])
    ids = np.array([[3, 1], [2, 0]])[:, 0]
    for _ in range(2):
        layer(ids, training=True)
    ids[:] = 0
    layer.backward(np.ones((2, 1)))
    assert layer.embeddings.gradient.indices.tolist() == [2, 3]


def test_a_subclass_that_remembers_something_else_is_asked():
    class Noting(layers.Embedding):
        def remember(self, inputs, outputs):
            noted.append(len(inputs))
            return super().remember(inputs, outputs)

    noted, layer = [], Noting(4, 2)
    for n in (1, 2, 3):
        layer(np.zeros(n, int), training=True)
    assert noted == [1, 2, 3]


def test_configs_make_the_layer_again():
    layer = layers.Embedding(
        7, 3, embeddings_initializer=initializers.RandomNormal(seed=1), embeddings_regularizer="l2",
        embeddings_constraint="unit_norm", mask_zero=True, name="words", trainable=False, dtype="float16",
    )  # fmt: skip
    config = layer.get_config()
    other = layers.Embedding.from_config(json.loads(json.dumps(config)))
    assert other.get_config() == config
    np.testing.assert_array_equal(other([1]), layer([1]))
    with pytest.raises(
        TypeError, match="cannot be written as a config: it is neither a function with a name"
    ):
        layers.Dense(3, activation=lambda x: x).get_config()
    dense = layers.Dense(3, use_bias=False, kernel_regularizer="l1")
    assert layers.Dense.from_config(dense.get_config()).get_config() == dense.get_config()


def test_copies_and_pickles():
    layer = layers.Embedding(4, 2, name="words")
    ids = np.array([1, 2])
    rows = layer(ids)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.name == "words"
        for _ in range(2):
            np.testing.assert_array_equal(other(ids), rows)
        other.set_weights([np.zeros((4, 2))])
    np.testing.assert_array_equal(layer(ids), rows)


# --- The backend that old layers are written in ---------------------------------------------------


class EmbeddingOf2018(layers.Layer):
    """How Keras 2 wrote its Embedding: build and call in functions of the backend."""

    def __init__(
        self,
        input_dim,
        output_dim,
        embeddings_initializer="uniform",
        mask_zero=False,
        input_length=None,
        **kwargs,
    ):
        if "input_shape" not in kwargs:
            kwargs["input_shape"] = (input_length,)
        super().__init__(**kwargs)
        self.input_dim, self.output_dim = input_dim, output_dim
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.mask_zero = self.supports_masking = mask_zero

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
            regularizer=None,
            constraint=None,
            dtype=self.dtype,
        )
        self.built = True

    def compute_mask(self, inputs, mask=None):
        return K.not_equal(inputs, 0) if self.mask_zero else None

    def call(self, inputs):
        if K.dtype(inputs) != "int32":
            inputs = K.cast(inputs, "int32")
        return K.gather(self.embeddings, inputs)


def test_the_embedding_of_2018_works():
    layer = EmbeddingOf2018(6, 3, weights=[np.arange(18.0).reshape(6, 3)], mask_zero=True)
    for ids in (np.array([[5, 0]]), [[5, 0]], np.array([[5.0, 0.0]])):
        np.testing.assert_array_equal(layer(ids), [[[15, 16, 17], [0, 1, 2]]])
    assert layer.compute_mask(np.array([5, 0])).tolist() == [True, False]
    with pytest.raises(ValueError, match="int32 cannot hold 4294967297"):
        layer(np.array([2**32 + 1]))  # Keras looked up row 1


def test_backend_functions():
    variable = K.variable([[1, 2]], name="v")
    assert (K.dtype(variable), K.int_shape(variable), K.ndim(variable)) == ("float32", (1, 2), 2)
    K.set_value(variable, [[3, 4]])
    assert K.get_value(variable).tolist() == K.eval(variable).tolist() == [[3, 4]]
    assert K.dot(variable, np.ones((2, 3))).shape == (1, 3)
    assert K.dot(np.ones((2, 3, 4)), np.ones((5, 4, 6))).shape == (2, 3, 5, 6)
    assert K.one_hot([1, 9, -1], 3).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert K.cast([1.9, -1.9], "int32").tolist() == [1, -1]
    assert K.cast([0, 2], "bool").tolist() == [False, True]
    assert K.cast(np.array([1, 2]), "float16").dtype == np.float16
    assert K.cast_to_floatx([1]).dtype == np.float32
    assert K.epsilon() == 1e-7


@pytest.mark.parametrize("bad", [0, -1, 2.0, "4", None], ids=repr)
def test_units_are_a_positive_integer(bad):
    with pytest.raises(ValueError, match=r"`units` must be a positive integer\. Received: units="):
        layers.Dense(bad)


def test_dense_says_which_inputs_it_takes():
    dense = layers.Dense(2, name="x")
    with pytest.raises(ValueError, match="expected min_ndim=2, found ndim=0"):
        dense(np.float32(1))
    dense(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"expected axis -1 of input shape to have value 3"):
        dense(np.ones((1, 4)))


def test_dense_of_integers_is_computed_in_the_layers_dtype():
    assert layers.Dense(2)(np.ones((1, 3), int)).dtype == np.float32


def test_floatx_is_the_default_of_layers_made_later():
    K.set_floatx("float64")
    try:
        assert layers.Embedding(2, 2)([1]).dtype == K.cast_to_floatx([1]).dtype == np.float64
    finally:
        K.set_floatx("float32")
    with pytest.raises(ValueError, match="Unknown `floatx` value: 'int8'"):
        K.set_floatx("int8")


def test_one_hot():
    assert ops.one_hot(2, 3).tolist() == [0, 0, 1]
    assert ops.one_hot(np.array([[2**63, 1]], np.uint64), 2, dtype="int8").tolist() == [[[0, 0], [0, 1]]]
    assert ops.one_hot([], 3).shape == (0, 3)
    assert ops.one_hot([1], 0).shape == (1, 0)
    with pytest.raises(ValueError, match="num_classes cannot be negative"):
        ops.one_hot([1], -1)


def test_an_attribute_that_is_set_again():
    class Holder(layers.Layer):
        def __init__(self):
            super().__init__()
            self.words = layers.Embedding(2, 2, weights=np.zeros((2, 2)))
            self.words = layers.Embedding(3, 2, weights=np.zeros((3, 2)))

    assert [v.shape for v in Holder().weights] == [(3, 2)]

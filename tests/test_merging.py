"""Layers of several inputs: against NumPy, finite differences and real Keras 3, whose gradients are JAX's."""

from __future__ import annotations

import functools
import pickle
import re

import numpy as np
import pytest
from gradients import check_gradients, slopes
from hypothesis import given
from hypothesis import strategies as st
from two_libraries import agree, agree_to_raise, make, outcome, process, shown

import fastembed
from fastembed import layers

FLOATS = ["float16", "bfloat16", "float32", "float64"]
ELEMENTWISE = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"]
TWINS = {
    "Add": lambda *xs: functools.reduce(np.add, xs),
    "Subtract": np.subtract,
    "Multiply": lambda *xs: functools.reduce(np.multiply, xs),
    "Average": lambda *xs: functools.reduce(np.add, xs) / len(xs),
    "Maximum": lambda *xs: functools.reduce(np.maximum, xs),
    "Minimum": lambda *xs: functools.reduce(np.minimum, xs),
}


def expanded(x, ndim):
    while x.ndim < ndim:
        x = np.expand_dims(x, 1)
    return x


@st.composite
def shapes(draw, count):
    """Shapes of inputs that can be merged: of one batch, broadcast here and there, of several ranks."""
    batch = draw(st.integers(0, 3))
    rest = draw(st.lists(st.integers(0, 3), max_size=3))
    found = []
    for _ in range(count):
        own = [draw(st.sampled_from([1, n])) for n in rest[draw(st.integers(0, len(rest))) :]]
        found.append((batch, *own))
    return found


@st.composite
def cases(draw):
    kind = draw(st.sampled_from(ELEMENTWISE))
    sizes = draw(shapes(2 if kind == "Subtract" else draw(st.integers(1, 4))))
    seed = draw(st.integers(0, 2**32 - 1))
    return kind, [np.random.default_rng((seed, i)).standard_normal(size) for i, size in enumerate(sizes)]


# --- Elementwise ----------------------------------------------------------------------------------


@given(case=cases(), dtype=st.sampled_from(["float16", "float32", "float64", "int32", "int8"]))
def test_elementwise_values(case, dtype):
    kind, inputs = case
    inputs = [(4 * x).astype(dtype) for x in inputs]
    layer = getattr(layers, kind)(dtype="float32" if "int" in dtype else dtype)
    outputs = layer(inputs)
    aligned = [expanded(x, max(x.ndim for x in inputs)) for x in inputs]
    expected = np.asarray(TWINS[kind](*aligned))
    expected = expected.astype("float32" if kind == "Average" and "int" in dtype else dtype)
    assert (outputs.dtype, outputs.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(outputs, expected)
    assert layer.compute_output_shape([x.shape for x in inputs]) == outputs.shape
    np.testing.assert_array_equal(getattr(layers, kind.lower())(inputs, dtype=layer.dtype), outputs)


@given(case=cases())
def test_elementwise_gradients(case):
    kind, inputs = case
    gradients = check_gradients(getattr(layers, kind)(dtype="float64"), inputs)
    assert [g.shape for g in gradients] == [x.shape for x in inputs]


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_a_batch_of_one_number_each(kind):
    gradients = check_gradients(
        getattr(layers, kind)(dtype="float64"), [np.arange(3.0), np.arange(3.0)[::-1] + 0.5]
    )
    assert [g.shape for g in gradients] == [(3,), (3,)]


def test_products_with_zeros_have_the_gradient_of_the_others():
    inputs = [np.array([[0.0, 0, 2]]), np.array([[3.0, 0, 0]]), np.array([[4.0, 5, 6]])]
    gradients = check_gradients(layers.Multiply(dtype="float64"), inputs)
    assert [g.tolist() for g in gradients] != [[[0, 0, 0]]] * 3


def test_ties_are_shared():
    """As JAX does it for two, over and over."""
    for kind in (layers.Maximum, layers.Minimum):
        layer = kind()
        layer([np.full((1, 1), 7.0)] * 4, training=True)
        gradients = layer.backward(np.ones((1, 1)))
        assert [float(g[0, 0]) for g in gradients] == [0.125, 0.125, 0.25, 0.5]


@pytest.mark.parametrize("kind", ELEMENTWISE)
@pytest.mark.parametrize("upstream", ["float16", "float32", "float64"])
def test_gradients_are_of_float32_or_wider(kind, upstream):
    layer = getattr(layers, kind)(dtype="float16")
    inputs = [np.ones((2, 1), "float16"), np.ones((2, 3), "float16")]
    assert layer(inputs, training=True).dtype == "float16"
    gradients = layer.backward(np.full((2, 3), 40000, upstream))
    assert {g.dtype for g in gradients} == {np.promote_types(upstream, "float32")}
    assert np.abs(gradients[0]).min() >= 60000  # summed over three


def test_nobody_can_change_two_gradients_at_once():
    for layer in (layers.Add(), layers.Average()):
        layer([np.ones((2, 3))] * 2, training=True)
        first, second = layer.backward(np.ones((2, 3)))
        if np.shares_memory(first, second):
            with pytest.raises(ValueError, match="read-only"):
                first += 1


def test_a_layer_checks_every_call_not_only_the_first():
    """Keras looks at the shapes when it builds the layer: afterwards it broadcasts whatever comes."""
    layer = layers.Add()
    layer([np.ones((2, 3)), np.ones((2, 3))])
    assert layer([np.ones((3, 2, 3)), np.ones((3, 3))]).shape == (3, 2, 3)  # not as NumPy broadcasts
    with pytest.raises(ValueError, match="different batch sizes"):
        layer([np.ones((2, 3)), np.ones((1, 3))])
    with pytest.raises(ValueError, match="exactly 2 inputs"):
        layers.Subtract()([np.ones((2, 3))] * 3)


def test_inputs_of_two_dtypes():
    """Integers become floats, of the floats' dtype."""
    x, n = np.full((1, 2), 0.5, "float16"), np.array([[1, 2]])
    for layer in (
        layers.Add(dtype="float16"),
        layers.Concatenate(dtype="float16"),
        layers.Maximum(dtype="float16"),
    ):
        assert layer([x, n]).dtype == "float16"
    assert layers.Add()([np.int8([[1]]), np.uint8([[200]])]).tolist() == [[201]]
    assert layers.Average()([n, n + 1]).dtype == "float32"


# --- Masks ----------------------------------------------------------------------------------------


@st.composite
def masked(draw):
    kind = draw(st.sampled_from(["Multiply", "Maximum", "Minimum"]))
    count = draw(st.integers(1, 4))
    lengths = [draw(st.sampled_from([3, 1])) for _ in range(count)]
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal((2, n, draw(st.sampled_from([2, 1])))) for n in lengths]
    masks = [draw(st.sampled_from([None, rng.random((2, n)) < 0.5])) for n in lengths]
    return kind, inputs, masks


@given(case=masked())
def test_gradients_under_masks(case):
    kind, inputs, masks = case
    check_gradients(getattr(layers, kind)(dtype="float64"), inputs, mask=masks)


def test_a_mask_that_changes_after_the_call_changes_no_gradient():
    x, y, mask = np.array([[1.0]]), np.array([[2.0]]), np.array([False])
    layer = layers.Maximum()
    layer([x, y], mask=[None, mask], training=True)
    mask[:] = True
    assert [g.tolist() for g in layer.backward(np.ones((1, 1)))] == [[[1]], [[0]]]


def test_masks_of_inputs_of_several_ranks():
    """Keras puts the axes of masks together from the right, and so the wrong ones."""
    x, y = np.ones((2, 3, 4)), np.ones((2, 4))
    long, short = np.array([[True, False, False], [False, False, False]]), np.array([False, True])
    mask = layers.Add().compute_mask([x, y], [long, short])
    assert mask.tolist() == [[True, False, False], [True, True, True]]


# --- Concatenate ----------------------------------------------------------------------------------


@st.composite
def joined(draw):
    ndim = draw(st.integers(1, 4))
    axis = draw(st.integers(-ndim, ndim - 1))
    shape = [draw(st.integers(0, 3)) for _ in range(ndim)]
    found = []
    for _ in range(draw(st.integers(1, 4))):
        shape[axis] = draw(st.integers(0, 3))
        found.append(tuple(shape))
    return axis, [np.random.default_rng(i).standard_normal(each) for i, each in enumerate(found)]


@given(case=joined())
def test_concatenate(case):
    axis, inputs = case
    layer = layers.Concatenate(axis, dtype="float64")
    outputs = layer(inputs)
    np.testing.assert_array_equal(outputs, np.concatenate(inputs, axis))
    assert layer.compute_output_shape([x.shape for x in inputs]) == outputs.shape
    np.testing.assert_array_equal(layers.concatenate(inputs, axis, dtype="float64"), outputs)
    check_gradients(layer, inputs)


# --- Dot ------------------------------------------------------------------------------------------


@st.composite
def products(draw):
    shapes, axes, summed = [], [], draw(st.integers(0, 4))
    batch = draw(st.integers(0, 3))
    for _ in range(2):
        shape = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 3)))]
        axis = draw(st.integers(0, len(shape)))
        shape.insert(axis, summed)
        shapes.append((batch, *shape))
        axes.append(axis + 1 if draw(st.booleans()) else axis - len(shape))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return tuple(axes), [rng.uniform(0.5, 2, shape) for shape in shapes]


@given(case=products(), normalize=st.booleans())
def test_dot(case, normalize):
    axes, (x, y) = case
    layer = layers.Dot(axes, normalize, dtype="float64")
    outputs = layer([x, y])
    if normalize and x.size and y.size:
        x, y = (each / np.linalg.norm(each, axis=axis, keepdims=True) for each, axis in zip((x, y), axes))
    left = [np.moveaxis(each, axis, -1) for each, axis in zip((x, y), axes)]
    one, other = (
        each.reshape(*each.shape[:1], int(np.prod(each.shape[1:-1])), each.shape[-1]) for each in left
    )
    expected = np.einsum("bid,bjd->bij", one, other)
    rest = left[0].shape[1:-1] + left[1].shape[1:-1]
    np.testing.assert_allclose(outputs, expected.reshape(len(x), *(rest or (1,))), rtol=1e-12, atol=1e-12)
    assert layer.compute_output_shape([x.shape, y.shape]) == outputs.shape
    check_gradients(layer, list(case[1]), rtol=1e-5)


def test_dot_of_one_axis_for_both():
    x = np.arange(6.0).reshape(2, 3)
    for axes in (1, -1, (1, -1), [1, 1], np.int64(1)):
        assert layers.dot([x, x], axes).tolist() == [[5], [50]]
    assert layers.dot([x, x]).tolist() == [[5], [50]]
    assert layers.dot([x, x], 1, normalize=True) == pytest.approx(1)


def test_products_of_halves_are_summed_in_float32():
    x = np.full((1, 5000), 0.3, "float16")
    outputs = layers.Dot(1, dtype="float16")([x, x])
    assert outputs.dtype == "float16"
    assert outputs[0, 0] == np.float16(5000 * float(x[0, 0]) ** 2)


def test_lengths_of_halves_do_not_overflow():
    x = np.full((1, 4), 300, "float16")  # whose squares have a sum that float16 has not
    assert layers.Dot(1, True, dtype="float16")([x, x]).tolist() == [[1]]


def test_vectors_without_a_length_have_a_product_of_0_and_a_finite_gradient():
    layer = layers.Dot(1, normalize=True)
    zero, x = np.zeros((1, 2), "float32"), np.array([[3, 4]], "float32")
    assert layer([zero, x], training=True).tolist() == [[0]]
    of_zero, of_x = layer.backward(np.ones((1, 1)))
    np.testing.assert_allclose(of_zero, np.array([[0.6, 0.8]]) * 1e7, rtol=1e-6)
    assert of_x.tolist() == [[0, 0]]


def test_a_vector_shorter_than_epsilon_is_divided_by_that():
    layer, tiny, other = (
        layers.Dot(1, True, dtype="float64"),
        np.array([[3e-8, 4e-8]]),
        np.array([[1.0, 0.0]]),
    )
    assert layer([tiny, other], training=True) == pytest.approx(0.3)
    gradient, _ = layer.backward(np.ones((1, 1)))
    np.testing.assert_allclose(
        gradient, slopes(lambda: float(layer([tiny, other])[0, 0]), tiny, 1e-9), atol=1
    )
    assert gradient[0, 0] == pytest.approx(1e7)


# --- Configs --------------------------------------------------------------------------------------

ALL = [
    *(f"layers.{kind}(name='x')" for kind in ELEMENTWISE),
    "layers.Add(name='x', dtype='float16', trainable=False)",
    "layers.Maximum(name='x', activity_regularizer='l2')",
    "layers.Concatenate(name='x')",
    "layers.Concatenate(1, name='x')",
    "layers.Dot(1, name='x')",
    "layers.Dot((2, -1), normalize=True, name='x')",
]


def two_inputs(expression, rng=None):
    rng = rng or np.random.default_rng(0)
    return [rng.standard_normal((2, 3, 3)).astype("float32") for _ in range(2)]


@pytest.mark.parametrize("expression", ALL)
def test_copies_and_configs_make_the_same_layer(expression):
    layer, inputs = make(fastembed, expression), two_inputs(expression)
    outputs = layer(inputs)
    for again in (
        type(layer).from_config(layer.get_config()),
        layers.deserialize(layers.serialize(layer)),
        pickle.loads(pickle.dumps(layer)),
    ):
        assert again.get_config() == layer.get_config()
        np.testing.assert_array_equal(again(inputs), outputs)


def test_keras_1():
    inputs = [np.array([[1.0, 2]]), np.array([[3.0, 4]])]
    expected = {
        "sum": [[4, 6]], "mul": [[3, 8]], "ave": [[2, 3]], "max": [[3, 4]],
        "concat": [[1, 2, 3, 4]], "dot": [[11]],
    }  # fmt: skip
    for mode, values in expected.items():
        assert layers.merge(inputs, mode=mode).tolist() == values
        assert layers.Merge(mode=mode, name="x")(inputs).tolist() == values
    assert layers.merge(inputs, "cos") == pytest.approx(11 / 125**0.5)
    assert layers.merge(inputs, "concat", concat_axis=0).shape == (2, 2)
    assert layers.Merge(mode="dot", dot_axes=(1, 1)).axes == (1, 1)
    assert layers.Concatenate(concat_axis=1).axis == 1
    config = {"mode": "concat", "mode_type": "raw", "concat_axis": 1, "dot_axes": -1, "name": "m",
              "output_shape": None, "output_shape_type": "raw", "output_mask": None,
              "output_mask_type": "raw", "arguments": {}}  # fmt: skip
    assert layers.deserialize({"class_name": "Merge", "config": config}).axis == 1
    with pytest.raises(ValueError, match=r"mode must be one of 'sum', 'mul'.*got 'min'"):
        layers.Merge(mode="min")
    with pytest.raises(ValueError, match="mode must be one of"):
        layers.merge(inputs, mode=lambda xs: xs[0])
    with pytest.raises(ValueError, match="call it on a list of their outputs"):
        layers.Merge([layers.Dense(2), layers.Dense(2)], mode="sum")


# --- Values, shapes, masks and configs against Keras ----------------------------------------------


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


def seen(library, expression, inputs):
    layer = make(library, expression)
    outputs = np.asarray(layer(inputs))
    facts = [layer.supports_masking, layer.get_config(), layer.get_build_config(), layer.built]
    return shown([*facts, outputs, tuple(layer.compute_output_shape([x.shape for x in inputs]))])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32", "int8"])
@pytest.mark.parametrize("expression", [e for e in ALL if "Dot" not in e])
def test_what_is_seen_of_a_layer(keras, expression, dtype, rng):
    if "Average" in expression and "int" in dtype:
        return  # see below
    inputs = list((8 * rng.standard_normal((2, 2, 3, 4))).astype(fastembed.dtypes.array_dtype(dtype)))
    agree(keras, seen, expression, inputs)


@pytest.mark.parametrize(
    "expression", [*(e for e in ALL if "Dot" in e), "layers.Dot((1, 2))", "layers.Dot(-2)"]
)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_what_is_seen_of_dot(keras, expression, dtype, rng):
    if "normalize" in expression and dtype == "int32":
        return
    inputs = [(4 * rng.standard_normal((2, 3, 3))).astype(dtype) for _ in range(2)]
    ours, theirs = seen(fastembed, expression, inputs), keras(seen, expression, inputs)
    for each in (ours, theirs):
        each[1].pop("name", None)
    np.testing.assert_allclose(ours[4], theirs[4], rtol=1e-5, atol=1e-5)
    assert ours[4].dtype == theirs[4].dtype
    assert ours[:4] + ours[5:] == theirs[:4] + theirs[5:]


@pytest.mark.parametrize("kind", ELEMENTWISE)
@pytest.mark.parametrize("second", [(2, 3, 1), (2, 1, 4), (2, 4), (2, 1), (2,), (2, 5, 3, 4)], ids=str)
def test_ranks_and_broadcasting(keras, kind, second, rng):
    inputs = [rng.standard_normal(shape).astype("float32") for shape in ((2, 3, 4), second)]
    agree(keras, seen, f"layers.{kind}(name='x')", inputs)
    agree(keras, seen, f"layers.{kind}(name='x')", inputs[::-1])


@pytest.mark.parametrize("kind", [k for k in ELEMENTWISE if k != "Subtract"])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_other_numbers_of_inputs(keras, kind, count, rng):
    agree(keras, seen, f"layers.{kind}(name='x')", list(rng.standard_normal((count, 2, 3)).astype("float32")))


def functional(library, name, inputs, arguments):
    return np.asarray(make(library, f"layers.{name}")(inputs, **arguments))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [*((kind.lower(), {}) for kind in ELEMENTWISE), ("concatenate", {}), ("concatenate", {"axis": 1})],
)
def test_functions(keras, name, arguments, rng):
    agree(keras, functional, name, list(rng.standard_normal((2, 2, 3)).astype("float32")), arguments)


def shape_of(library, expression, shapes):
    return tuple(make(library, expression).compute_output_shape(shapes))


@pytest.mark.parametrize(
    ("expression", "shapes"),
    [
        ("layers.Add()", [(None, 3), (None, 3)]),
        ("layers.Add()", [(None, 3), (4, 3)]),
        ("layers.Add()", [(None, None, 3), (None, 1)]),
        ("layers.Add()", [(None, 1, 3), (None, 4, None)]),
        ("layers.Concatenate()", [(None, 3), (None, 4)]),
        ("layers.Concatenate(1)", [(2, 3, 4), (2, None, 4)]),
        ("layers.Dot(1)", [(None, 3), (None, 3)]),
        ("layers.Dot((1, 2))", [(None, 3, 5), (None, 10, 3)]),
        ("layers.Dot(1)", [(None, 3), (None, 3, 5)]),
    ],
)
def test_shapes_that_are_open(keras, expression, shapes):
    agree(keras, shape_of, expression, shapes)


def mask_of(library, expression, inputs, masks):
    found = make(library, expression).compute_mask(inputs, masks)
    return None if found is None else np.asarray(found)


@pytest.mark.parametrize("expression", [e for e in ALL if "dtype" not in e and "regularizer" not in e])
@pytest.mark.parametrize("which", ["none", "both", "first", "numbers", "nothing"])
def test_masks(keras, expression, which, rng):
    inputs = two_inputs(expression, rng)
    masks = {
        "none": [None, None],
        "both": [rng.random((2, 3)) < 0.5, rng.random((2, 3)) < 0.5],
        "first": [rng.random((2, 3)) < 0.5, None],
        "numbers": [rng.random((2, 3, 3)) < 0.5, rng.random((2, 3, 3)) < 0.5],
        "nothing": None,
    }[which]
    agree(keras, mask_of, expression, inputs, masks)


def under_masks(library, kind, inputs, masks):
    layer = getattr(library.layers, kind)()
    if library is fastembed:
        return layer(inputs, mask=masks), layer.compute_mask(inputs, masks)
    from keras.src import backend

    class WithMask(np.ndarray):
        pass

    inputs = [x.view(WithMask) for x in inputs]
    for x, mask in zip(inputs, masks):
        if mask is not None:
            backend.set_keras_mask(x, mask)
    outputs = layer.call(inputs) if layer.build([x.shape for x in inputs]) is None else None
    mask = backend.get_keras_mask(outputs)
    return np.array(outputs), None if mask is None else np.array(mask)


@pytest.mark.parametrize("kind", ["Multiply", "Maximum", "Minimum"])
@pytest.mark.parametrize("given", ["yy", "yn", "ny", "yyy", "nyy", "yny", "yyn", "y"])
@pytest.mark.parametrize("short", [False, True])
def test_values_under_masks(keras, kind, given, short, rng):
    inputs = [rng.standard_normal((4, 5, 2)).astype("float32") for _ in given]
    masks = [rng.random((4, 5)) < 0.5 if each == "y" else None for each in given]
    if short and len(inputs) > 1:
        inputs[1] = inputs[1][:, :1]
        masks[1] = None if masks[1] is None else masks[1][:, :1]
    ours, theirs = under_masks(fastembed, kind, inputs, masks), keras(under_masks, kind, inputs, masks)
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert (ours[1] is None) == (theirs[1] is None)
    if theirs[1] is not None:
        np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("kind", ["Multiply", "Maximum", "Minimum"])
def test_an_input_that_is_given_axes_loses_its_mask(keras, kind, rng):
    inputs = [rng.standard_normal(shape).astype("float32") for shape in ((4, 5, 2), (4, 2))]
    masks = [rng.random((4, 5)) < 0.5, rng.random(4) < 0.5]
    ours, theirs = under_masks(fastembed, kind, inputs, masks), keras(under_masks, kind, inputs, masks)
    np.testing.assert_array_equal(ours[0], theirs[0])
    check_gradients(getattr(layers, kind)(dtype="float64"), inputs, mask=masks)


# --- Gradients against JAX ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_jax():
    with process("keras", "jax") as ask:
        yield ask


def gradients(library, expression, inputs, masks, upstream):
    layer = make(library, expression)
    if library is fastembed:
        layer(inputs, training=True, **({} if masks is None else {"mask": masks}))
        return layer.backward(upstream)
    import jax
    from keras.src import backend

    layer.build([x.shape for x in inputs])

    def loss(*xs):
        for x, mask in zip(xs, masks or [None] * len(xs)):
            if mask is not None:
                backend.set_keras_mask(x, jax.numpy.asarray(mask))
        return (layer.call(list(xs)) * upstream).sum()

    found = jax.grad(loss, argnums=tuple(range(len(inputs))))(*map(jax.numpy.asarray, inputs))
    return [np.asarray(each) for each in found]


def agree_on_gradients(on_jax, expression, inputs, masks=None):
    shape = make(fastembed, expression).compute_output_shape([x.shape for x in inputs])
    upstream = np.random.default_rng(1).standard_normal(shape).astype("float32")
    ours, theirs = (ask(gradients, expression, inputs, masks, upstream) for ask in (ask_here, on_jax))
    assert isinstance(theirs, list), theirs
    for our, their in zip(ours, theirs):
        assert (our.dtype, our.shape) == (their.dtype, their.shape)
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)


def ask_here(program, *args):
    return program(fastembed, *args)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_elementwise_gradients_with_ties(on_jax, kind, count, rng):
    """Small integers tie all the time, and NaN with nothing."""
    if kind == "Subtract" and count > 2:
        return
    inputs = list(rng.integers(-1, 2, (count, 6, 5)).astype("float32"))
    agree_on_gradients(on_jax, f"layers.{kind}()", inputs)
    inputs[0] = inputs[0][:, None]
    inputs[1] = inputs[1][:, :1]
    agree_on_gradients(on_jax, f"layers.{kind}()", inputs)
    if kind in ("Maximum", "Minimum"):
        inputs[-1][0, 0] = np.nan
        agree_on_gradients(on_jax, f"layers.{kind}()", inputs)


@pytest.mark.parametrize("kind", ["Multiply", "Maximum", "Minimum"])
@pytest.mark.parametrize("given", ["yy", "yn", "ny", "yyy", "nyy", "yny", "yyn"])
def test_gradients_under_masks_with_ties(on_jax, kind, given, rng):
    inputs = [rng.integers(-1, 2, (4, 5, 3)).astype("float32") for _ in given]
    masks = [rng.random((4, 5)) < 0.5 if each == "y" else None for each in given]
    agree_on_gradients(on_jax, f"layers.{kind}()", inputs, masks)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("axes", "shapes"),
    [
        (1, [(4, 6), (4, 6)]),
        (-1, [(4, 6), (4, 3, 6)]),
        ((1, 2), [(4, 6, 2), (4, 3, 6)]),
        ((2, 1), [(4, 2, 6, 3), (4, 6)]),
        ((3, 2), [(4, 2, 3, 6), (4, 3, 6, 2)]),
    ],
)
def test_gradients_of_products(on_jax, axes, shapes, normalize, rng):
    inputs = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    agree_on_gradients(on_jax, f"layers.Dot({axes}, normalize={normalize})", inputs)


def test_gradients_of_concatenate(on_jax, rng):
    inputs = [rng.standard_normal((2, n, 3)).astype("float32") for n in (1, 4, 2)]
    agree_on_gradients(on_jax, "layers.Concatenate(1)", inputs)


# --- Errors ---------------------------------------------------------------------------------------


def called(library, expression, *shapes):
    inputs = [np.zeros(shape, "float32") for shape in shapes]
    return np.asarray(make(library, expression)(inputs if len(inputs) > 1 else inputs[0]))


@pytest.mark.parametrize(
    ("expression", "inputs", "words"),
    [
        ("layers.Add()", [(2, 3)], "`Add` layer should be called on a list of at least 1 input"),
        ("layers.Add()", [(2, 3), (3, 3)], "different batch sizes"),
        ("layers.Add()", [(2, 3), (1, 3)], "different batch sizes"),
        ("layers.Add()", [(2, 3), (2, 4)], "incompatible shapes"),
        ("layers.Add()", [(2, 3, 4), (2, 3)], "incompatible shapes"),
        ("layers.Subtract()", [(2, 3), (2, 3), (2, 3)], "exactly 2 inputs"),
        ("layers.Concatenate()", [(2, 3)], "list of at least 1 input"),
        ("layers.Concatenate()", [(2, 3), (3, 3)], "matching shapes"),
        ("layers.Concatenate()", [(2, 3), (2, 3, 1)], "matching shapes"),
        ("layers.Concatenate(1)", [(2, 3, 4), (2, 3, 5)], "matching shapes"),
        ("layers.Dot(1)", [(2, 3)], "exactly 2 inputs"),
        ("layers.Dot(1)", [(2, 3), (2, 3), (2, 3)], "exactly 2 inputs"),
        ("layers.Dot(1)", [(2, 3), (2, 4)], "axis values 3 .* 4"),
        ("layers.Dot(1)", [(2, 3), (5, 3)], "batch sizes 2 .* 5"),
        ("layers.Dot(0)", [(2, 3), (2, 3)], "not the batch"),
        ("layers.Dot(-2)", [(2, 3), (2, 3)], "not the batch"),
        ("layers.Dot((1, 2, 3))", None, "two integers"),
        ("layers.Dot((1, 2.0))", None, "two integers"),
        ("layers.Dot(None)", None, "axes=None"),
        ("layers.Dot('1')", None, "axes='1'"),
    ],
)
def test_errors_are_of_keras_s_class(keras, expression, inputs, words):
    program, *args = (make, expression) if inputs is None else (called, expression, *inputs)
    ours, _ = agree_to_raise(keras, program, *args)
    assert re.search(words, ours.message), ours.message


def bad_masks(library, masks):
    return make(library, "layers.Add()").compute_mask([np.ones((2, 3))] * 2, masks)


@pytest.mark.parametrize("masks", [np.ones((2, 2), bool), [None], [None] * 3, []], ids=repr)
def test_masks_that_are_no_list_of_masks(keras, masks):
    agree_to_raise(keras, bad_masks, masks)
    with pytest.raises(ValueError, match="mask"):
        layers.Maximum()([np.ones((2, 3))] * 2, mask=masks)


def test_an_error_leaves_nothing():
    layer = layers.Multiply()
    with pytest.raises(ValueError, match=r"a mask of shape \(2, 3\) does not fit an input of shape \(2, 3\)"):
        layer([np.ones((2, 3))] * 2, mask=[np.ones((2, 3), bool), None], training=True)
    with pytest.raises(RuntimeError, match="no recorded call"):
        layer.backward(np.ones((2, 3)))
    with pytest.raises(ValueError, match="incompatible shapes"):
        layers.Add().build([(None, 3), (None, 4)])


# --- Where we differ ------------------------------------------------------------------------------


def built_then_called(library):
    layer = library.layers.Add()
    layer([np.zeros((2, 3), "float32")] * 2)
    return np.asarray(layer([np.ones((2, 3), "float32"), np.ones((1, 3), "float32")])).shape


def dtype_of_average(library):
    return np.asarray(library.layers.Average()([np.ones((1, 2), "int32")] * 2)).dtype.name


def open_dot(library):
    return library.layers.Dot(1).build([(None, None), (None, 3)])


def test_where_we_differ_from_keras(keras):
    assert keras(built_then_called) == (2, 3)
    with pytest.raises(ValueError, match="batch sizes"):
        built_then_called(fastembed)
    shapes = [(2, 3), (4, 3)]
    assert keras(shape_of, "layers.Add()", shapes) == (None, 3)
    assert keras(shape_of, "layers.Concatenate()", shapes) == (2, 6)
    for expression in ("layers.Add()", "layers.Concatenate()"):
        assert outcome(shape_of, fastembed, expression, shapes).name == "ValueError"
    for expression, kind in [("layers.Concatenate(5)", "AxisError"), ("layers.Dot(5)", "IndexError")]:
        assert keras(called, expression, (2, 3), (2, 3)).name == kind
        assert outcome(called, fastembed, expression, (2, 3), (2, 3)).name == "ValueError"
    assert keras(outcome_of_nothing).name == "TypeError"
    assert outcome(outcome_of_nothing, fastembed).name == "ValueError"
    assert (keras(dtype_of_average), dtype_of_average(fastembed)) == ("float64", "float32")
    assert keras(open_dot).name == "ValueError"
    assert open_dot(fastembed) is None


def outcome_of_nothing(library):
    return library.layers.Add()([])


def test_the_gradient_of_a_vector_of_zeros(on_jax):
    inputs = [np.zeros((1, 2), "float32"), np.ones((1, 2), "float32")]
    theirs = on_jax(gradients, "layers.Dot(1, normalize=True)", inputs, None, np.ones((1, 1), "float32"))
    assert np.isnan(theirs[0]).all()
    ours = gradients(fastembed, "layers.Dot(1, normalize=True)", inputs, None, np.ones((1, 1), "float32"))
    assert np.isfinite(ours[0]).all()

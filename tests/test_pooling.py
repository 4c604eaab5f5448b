"""Pooling over steps: compiled loops against plain NumPy, layers against finite differences and Keras."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from gradients import check_gradients
from hypothesis import given
from hypothesis import strategies as st
from strategies import THREADS, bits
from two_libraries import agree, agree_to_raise, make, process

import fastembed
from fastembed import _pooling, _rows, layers

pytestmark = pytest.mark.usefixtures("parallel")

# Fewer than 64 examples are cut into 64 columns at a time, others into 512; steps are taken four at a time.
BATCHES = st.sampled_from([0, 1, 2, 3, 63, 64, 65])
STEPS = st.integers(0, 9) | st.sampled_from([63, 200])
FEATURES = st.integers(0, 35) | st.sampled_from([63, 64, 65, 127, 129, 511, 512, 513, 1025])


@st.composite
def sequences(draw, min_steps=0):
    """(inputs, mask, upstream); numbers of all sizes, or few different ones."""
    batch, features = draw(BATCHES), draw(FEATURES)
    steps = max(min_steps, draw(STEPS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(["f4", "f8"]))
    if draw(st.booleans()):
        inputs = rng.integers(-2, 3, (batch, steps, features)).astype(dtype)
    else:
        inputs = (
            rng.standard_normal((batch, steps, features)) * 10.0 ** rng.integers(-20, 20, features)
        ).astype(dtype)
    if draw(st.booleans()):
        special = rng.choice([np.nan, np.inf, -np.inf, -0.0], inputs.shape)
        inputs = np.where(rng.random(inputs.shape) < 0.05, special, inputs).astype(dtype)
    mask = rng.random((batch, steps)) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    upstream = rng.standard_normal((batch, features)).astype(dtype)
    return inputs, draw(st.sampled_from([None, mask])), upstream


def sum_twin(inputs, mask):
    """In the order of the steps, in float64."""
    sums = np.zeros((inputs.shape[0], inputs.shape[2]))
    for example, total in enumerate(sums):
        for step, row in enumerate(inputs[example]):
            if mask is None or mask[example, step]:
                total += row
    return sums


def counts_of(inputs, mask):
    full = np.full((inputs.shape[0], 1), inputs.shape[1])
    return full if mask is None else mask.sum(axis=1, keepdims=True)


def assert_same_numbers(got, expected):
    """Bit for bit, but that one NaN is like another."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), ~number)
    np.testing.assert_array_equal(bits(got)[number], bits(expected)[number])


BAD = [
    (lambda x, m, u: _pooling.sum_steps([1.0]), TypeError, "ndarray"),
    (lambda x, m, u: _pooling.sum_steps(x.astype("i4")), TypeError, "float32 or float64, got int32"),
    (lambda x, m, u: _pooling.sum_steps(x.astype("f2")), TypeError, "got float16"),
    (lambda x, m, u: _pooling.sum_steps(x.astype(">f4")), TypeError, "got >f4"),
    (lambda x, m, u: _pooling.sum_steps(u), ValueError, r"3 axes, got shape \(2, 4\)"),
    (lambda x, m, u: _pooling.sum_steps(x[:, ::2]), ValueError, "C-contiguous"),
    (lambda x, m, u: _pooling.mean_steps(x, m.astype("i1")), TypeError, "mask must be of bool, got int8"),
    (lambda x, m, u: _pooling.mean_steps(x, m[:1]), ValueError, r"shape \(2, 3\), got \(1, 3\)"),
    (lambda x, m, u: _pooling.mean_steps(x, m[:, :, None]), ValueError, r"got \(2, 3, 1\)"),
    (lambda x, m, u: _pooling.mean_steps(x, np.ones((3, 2), bool).T), ValueError, "C-contiguous"),
    (lambda x, m, u: _pooling.max_steps(x[:, :0].copy()), ValueError, "no steps"),
    (lambda x, m, u: _pooling.spread_mean(u, -1), ValueError, "negative, got -1"),
    (lambda x, m, u: _pooling.spread_mean(u, 2**62), ValueError, "too big|too large|dimension"),
    (lambda x, m, u: _pooling.spread_mean(u, 4, m), ValueError, r"shape \(2, 4\), got \(2, 3\)"),
    (lambda x, m, u: _pooling.spread_mean(x, 3), ValueError, "2 axes"),
    (
        lambda x, m, u: _pooling.spread_max(x, u.astype("f8")),
        TypeError,
        "float32 as inputs are, got float64",
    ),
    (
        lambda x, m, u: _pooling.spread_max(x, u[:, :3].copy()),
        ValueError,
        r"shape \(2, 4\), got \(2, 3\)",
    ),
    (lambda x, m, u: _pooling.spread_max(x, u[:1]), ValueError, r"got \(1, 4\)"),
    (lambda x, m, u: _pooling.spread_max(x[:, :0].copy(), u), ValueError, "no steps"),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of infinities, in NumPy
class TestLoops:
    @given(sequence=sequences(), threads=THREADS)
    def test_sums_and_means(self, sequence, threads):
        inputs, mask, _ = sequence
        sums = sum_twin(inputs, mask)
        with fastembed.num_threads(threads):
            assert_same_numbers(_pooling.sum_steps(inputs, mask), sums.astype(inputs.dtype))
            means = _pooling.mean_steps(inputs, mask)
        assert_same_numbers(means, (sums / counts_of(inputs, mask)).astype(inputs.dtype))

    @given(sequence=sequences(min_steps=1), threads=THREADS)
    def test_maxima(self, sequence, threads):
        inputs, _, _ = sequence
        with fastembed.num_threads(threads):
            got = _pooling.max_steps(inputs)
        np.testing.assert_array_equal(got, inputs.max(axis=1), strict=True)

    @given(sequence=sequences(), threads=THREADS)
    def test_the_gradient_of_a_mean(self, sequence, threads):
        inputs, mask, upstream = sequence
        with fastembed.num_threads(threads):
            got = _pooling.spread_mean(upstream, inputs.shape[1], mask)
        shares = (upstream / counts_of(inputs, mask).astype("f8")).astype(upstream.dtype)
        expected = np.broadcast_to(shares[:, None], inputs.shape)
        if mask is not None:
            expected = np.where(mask[..., None], expected, upstream.dtype.type(0))
        assert_same_numbers(got, expected)

    @given(sequence=sequences(min_steps=1), threads=THREADS)
    def test_the_gradient_of_a_maximum(self, sequence, threads):
        inputs, _, upstream = sequence
        with fastembed.num_threads(threads):
            got = _pooling.spread_max(inputs, upstream)
        largest = inputs.max(axis=1, keepdims=True)
        winners = inputs == largest
        shares = (upstream[:, None] / winners.sum(axis=1, keepdims=True)).astype(inputs.dtype)
        expected = np.where(winners, shares, inputs.dtype.type(0))
        assert_same_numbers(got, np.where(np.isnan(largest), largest, expected))

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    def test_the_gradient_is_the_adjoint(self, dtype, rng):
        inputs = rng.standard_normal((3, 7, 5)).astype(dtype)
        upstream = inputs[:, 0] + 1
        mask = rng.random((3, 7)) < 0.7
        forward = np.vdot(_pooling.mean_steps(inputs, mask).astype("f8"), upstream)
        backward = np.vdot(inputs.astype("f8"), _pooling.spread_mean(upstream, 7, mask))
        assert forward == pytest.approx(backward, rel=1e-6)

    def test_steps_that_do_not_count_are_not_read(self):
        inputs = np.array([[[1.0], [np.nan], [3.0]]])
        assert _pooling.mean_steps(inputs, np.array([[True, False, True]])) == 2

    def test_float32_is_added_up_in_float64(self):
        inputs = np.full((1, 100_000, 3), 0.1, "f4")
        inputs[0, 0] = 1e6
        expected = (1e6 + 99_999 * np.float64(np.float32(0.1))) / 1e5
        np.testing.assert_array_equal(_pooling.mean_steps(inputs), np.full((1, 3), expected).astype("f4"))

    def test_more_than_float32_can_count_share_one_maximum(self):
        gradient = _pooling.spread_max(np.zeros((1, 2**24 + 1, 1), "f4"), np.ones((1, 1), "f4"))
        assert gradient[0, 0, 0] == np.float32(1 / (2**24 + 1))

    @pytest.mark.parametrize(("call", "error", "words"), BAD)
    def test_what_the_loops_refuse(self, call, error, words):
        inputs, upstream = np.ones((2, 3, 4), "f4"), np.ones((2, 4), "f4")
        with pytest.raises(error, match=words):
            call(inputs, np.ones((2, 3), bool), upstream)


DIGEST = """
import hashlib, numpy as np, fastembed
from fastembed import _pooling, _rows, _team
_team.set_serial_bytes(0)
said = set()
for threads in (1, 2, 3):
    fastembed.set_num_threads(threads)
    sha, rng = hashlib.sha256(), np.random.default_rng(0)
    for dtype in ("f4", "f8"):
        for shape in [(3, 1, 1), (2, 5, 17), (70, 11, 33), (1, 300, 200), (65, 9, 600)]:
            x = rng.standard_normal(shape).astype(dtype)
            x[:, -1] = x[:, 0]
            x[0, 0, 0] = np.nan
            mask, upstream = rng.random(shape[:2]) < 0.6, x[:, 0].copy()
            for out in (
                _pooling.sum_steps(x, mask), _pooling.mean_steps(x), _pooling.max_steps(x),
                _pooling.spread_mean(upstream, shape[1], mask), _pooling.spread_max(x, upstream),
            ):
                out[np.isnan(out)] = 0
                sha.update(out.tobytes())
    said.add(sha.hexdigest())
assert len(said) == 1
print(_rows.isa, *said)
"""


@pytest.mark.skipif(_rows.isa == "baseline", reason="there is one instruction set")
def test_all_instruction_sets_and_numbers_of_threads_give_the_same_bits():
    said = {}
    for isa in ("baseline", "avx2", "avx512"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "FASTEMBED_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        used, digest = done.stdout.split()
        said[used] = digest
    assert len(said) > 1
    assert len(set(said.values())) == 1, said


# --- The layers -----------------------------------------------------------------------------------

POOLINGS = [layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D]
SETTINGS = [
    {"data_format": data_format, "keepdims": keepdims}
    for data_format in ("channels_last", "channels_first")
    for keepdims in (False, True)
]


def test_names():
    assert layers.GlobalAvgPool1D is layers.GlobalAveragePooling1D
    assert layers.GlobalMaxPool1D is layers.GlobalMaxPooling1D
    written = layers.serialize(layers.GlobalMaxPool1D(name="p"))
    assert written["class_name"] == "GlobalMaxPooling1D"
    assert type(layers.deserialize({**written, "class_name": "GlobalMaxPool1D"})) is layers.GlobalMaxPooling1D


@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_gradients(kind, settings, rng):
    check_gradients(kind(dtype="float64", **settings), rng.standard_normal((3, 4, 5)))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("by_name", [True, False])
def test_gradients_with_a_mask(settings, by_name, rng):
    layer = layers.GlobalAveragePooling1D(dtype="float64", **settings)
    inputs = rng.standard_normal((3, 4, 5))
    mask = rng.random((3, 4 if settings["data_format"] == "channels_last" else 5)) < 0.5
    mask[:, 0] = True
    if by_name:
        gradient = check_gradients(layer, inputs, mask=mask)
    else:
        layer(inputs, mask, training=True)
        gradient = layer.backward(np.ones(layer(inputs).shape))
    steps_last = gradient if settings["data_format"] == "channels_first" else np.swapaxes(gradient, 1, 2)
    assert not steps_last[np.broadcast_to(~mask[:, None], steps_last.shape)].any()
    assert steps_last[np.broadcast_to(mask[:, None], steps_last.shape)].all()


def test_a_mask_may_change_between_call_and_backward():
    layer, mask = layers.GlobalAveragePooling1D(), np.array([[True, False]])
    layer(np.ones((1, 2, 1), "f4"), mask=mask, training=True)
    mask[...] = True
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1), "f4")), [[[1], [0]]])


def test_a_row_that_is_all_masked():
    layer = layers.GlobalAveragePooling1D()
    inputs, mask = np.ones((2, 2, 1), "f4"), np.array([[False, False], [True, False]])
    assert np.isnan(layer(inputs, mask=mask, training=True)).tolist() == [[True], [False]]
    np.testing.assert_array_equal(layer.backward(np.ones((2, 1), "f4")), [[[0], [0]], [[1], [0]]])


@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(kind, dtype, rng):
    """Half-width floats are computed with in float32 and rounded once."""
    inputs = (rng.integers(1, 100, (2, 50, 3)) * 100).astype("f4")
    layer = kind(dtype=dtype)
    outputs = layer(inputs, training=True)
    assert outputs.dtype.name == dtype
    wide = np.asarray(layer._as_input(inputs), "f8")
    exact = wide.mean(axis=1) if kind is POOLINGS[0] else wide.max(axis=1)
    np.testing.assert_array_equal(outputs, exact.astype("f4").astype(outputs.dtype))
    for upstream, wanted in (("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("i8", "f4")):
        layer(inputs, training=True)
        assert layer.backward(np.ones((2, 3), upstream)).dtype == wanted


@pytest.mark.parametrize("kind", POOLINGS)
def test_memory_of_every_kind(kind, rng):
    """Strided, unaligned, swapped, read-only inputs and upstream."""
    inputs = rng.standard_normal((4, 6, 5)).astype("f4")
    expected, layer = kind()(inputs), kind()
    record = np.zeros(inputs.shape, [("pad", "u1"), ("x", "f4")])
    record["x"] = inputs
    fortran = np.asfortranarray(inputs)
    fortran.flags.writeable = False
    swapped, strided = inputs.astype(">f4"), np.repeat(inputs, 2, axis=1)[:, ::2]
    for array in (record["x"], fortran, swapped, strided, inputs.tolist()):
        np.testing.assert_array_equal(layer(array, training=True), expected)
        upstream = np.asfortranarray(np.ones((4, 5), "f4"))
        layer.backward(upstream)


@pytest.mark.parametrize("kind", POOLINGS)
def test_subclasses_that_have_something_to_build(kind):
    class Built(kind):
        def build(self, input_shape):
            self.of = input_shape

    layer = Built()
    layer(np.ones((2, 3, 4), "f4"))
    assert layer.of == (2, 3, 4)


@pytest.mark.parametrize("kind", POOLINGS)
def test_copies(kind):
    layer = pickle.loads(pickle.dumps(kind("channels_first", True, name="p")))
    assert layer.get_config() == kind.from_config(layer.get_config()).get_config()
    assert layer(np.ones((1, 2, 3), "f4")).shape == (1, 2, 1)


@pytest.mark.parametrize("era", ["keras1", "keras2", "tf.keras"])
@pytest.mark.parametrize("kind", POOLINGS)
def test_configs_of_earlier_kerases(era, kind):
    entries = {"keras1": [], "keras2": ["data_format"], "tf.keras": ["data_format", "keepdims"]}[era]
    with fastembed.era(era):
        config = kind(name="p").get_config()
    assert [key for key in config if key in ("data_format", "keepdims")] == entries
    assert isinstance(kind.from_config(config), kind)


@pytest.mark.parametrize("mask", [np.ones((3, 2)), np.ones(4), np.ones((2, 4, 1)), np.ones((2, 1))])
def test_masks_of_other_shapes(mask):
    with pytest.raises(ValueError, match=r"\(2, 4\) \(batch, steps\), got"):
        layers.GlobalAveragePooling1D()(np.ones((2, 4, 3), "f4"), mask=mask)


# --- Against Keras --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    with process("keras", "jax") as run:
        yield run


def pooled(library, expression, inputs, mask):
    layer = make(library, expression)
    given = {} if mask is None else {"mask": mask}
    outputs = np.asarray(layer(inputs, **given))
    again = type(layer).from_config(layer.get_config())
    return [
        outputs.shape, outputs.dtype.name, outputs.astype("f4"), layer.get_config(), again.get_config(),
        layer.built, layer.supports_masking, layer.compute_mask(inputs, mask),
        layer.compute_output_shape((None, 7, 9)), layer.compute_output_shape(inputs.shape),
    ]  # fmt: skip


def with_gradient(library, expression, inputs, mask, upstream):
    """Outputs and the gradient of the input."""
    layer = make(library, expression)
    given = {} if mask is None else {"mask": mask}
    if library.__name__ == "fastembed":
        outputs = layer(inputs, training=True, **given)
        return outputs, layer.backward(upstream)
    import jax

    outputs, gradient = jax.vjp(lambda x: layer(x, **given), inputs)
    return np.asarray(outputs), np.asarray(gradient(upstream)[0])


EXPRESSIONS = [
    f"layers.{kind}({arguments})"
    for kind in ("GlobalAveragePooling1D", "GlobalMaxPooling1D")
    for arguments in ("name='p'", "'channels_first', name='p'", "keepdims=True, name='p'",
                      "data_format='Channels_First', keepdims=True, name='p', dtype='mixed_float16'")
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("dtype", ["float32", "int32", "float16"])
def test_are_kerass(keras, expression, dtype, rng):
    inputs = rng.integers(-8, 9, (3, 4, 8)).astype(dtype)  # whose means are exact
    agree(keras, pooled, expression, inputs, None)
    if "Average" in expression and dtype != "int32":
        steps = 8 if "irst" in expression else 4
        mask = np.array([np.roll(np.arange(steps) % 2 == 0, example) for example in range(3)])
        agree(keras, pooled, expression, inputs, mask)
        agree(keras, pooled, expression, inputs, mask.astype("f4"))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_gradients_are_kerass(keras, expression, rng):
    """Among them ties: the maximum's gradient goes to all of them in equal shares."""
    inputs = rng.integers(-2, 3, (3, 4, 8)).astype("f4")
    mask = rng.random((3, 8 if "irst" in expression else 4)) < 0.5
    mask[1] = False
    masks = [None, mask] if "Average" in expression else [None]
    for mask in masks:
        shape = np.shape(make(fastembed, expression)(inputs))
        upstream = rng.standard_normal(shape).astype("f2" if "float16" in expression else "f4")
        ours = with_gradient(fastembed, expression, inputs, mask, upstream)
        theirs = keras(with_gradient, expression, inputs, mask, upstream)
        for our, their in zip(ours, theirs):
            tolerance = 2e-3 if "float16" in expression else 1e-6
            np.testing.assert_allclose(our, their, rtol=tolerance, atol=tolerance)


def test_a_maximum_of_nan_has_a_gradient_of_nan(keras):
    inputs = np.array([[[1.0, np.nan], [2.0, 3.0]]], "f4")
    arguments = "layers.GlobalMaxPooling1D()", inputs, None, np.ones((1, 2), "f4")
    ours, theirs = with_gradient(fastembed, *arguments), keras(with_gradient, *arguments)
    for our, their in zip(ours, theirs):
        np.testing.assert_array_equal(our, their)


@pytest.mark.parametrize(
    "program",
    [
        "layers.GlobalMaxPooling1D('first')",
        "layers.GlobalAveragePooling1D('channels_last', pool_size=2)",
        "layers.GlobalAveragePooling1D()(np.ones((2, 3), 'f4'))",
        "layers.GlobalMaxPooling1D()(np.ones((2, 3, 4, 5), 'f4'))",
        "layers.GlobalMaxPooling1D()(np.ones((2, 0, 4), 'f4'))",
        "layers.GlobalAveragePooling1D()(np.ones((2, 3, 4), 'f4'), mask=np.ones((2, 4)))",
    ],
)
def test_errors_are_kerass(keras, program):
    agree_to_raise(keras, make, program)


def test_maxima_know_no_mask(keras):
    agree_to_raise(
        keras, make, "layers.GlobalMaxPooling1D()(np.ones((1, 2, 3), 'f4'), mask=np.ones((1, 2), bool))"
    )


# --- Where we differ ------------------------------------------------------------------------------


def test_a_mask_of_one_step_for_many(keras):
    """Keras divides the sum of all steps by one."""
    program = "layers.GlobalAveragePooling1D()(np.ones((2, 4, 3), 'f4'), mask=np.ones((2, 1), bool))"
    assert np.asarray(keras(as_array, program)).max() == 4
    with pytest.raises(ValueError, match="batch, steps"):
        make(fastembed, program)


def test_float16_sums_do_not_overflow(keras):
    """With a mask Keras divides a sum that it has rounded to float16."""
    program = (
        "layers.GlobalAveragePooling1D(dtype='float16')"
        "(np.full((1, 4, 1), 60000, 'f2'), mask=np.ones((1, 4), bool))"
    )
    assert np.isinf(keras(as_array, program)).all()
    assert (make(fastembed, program) == np.float16(60000)).all()


def as_array(library, program):
    return np.asarray(make(library, program))

"""Numbers that real Keras 3.15.1 gave, frozen: these tests need no Keras.

(Those of its initializers are in test_initializers.py.)
"""

from __future__ import annotations

import numpy as np
import pytest
from ids_outside import OUTSIDE
from two_libraries import Raised, make, outcome

import fastembed
from fastembed import quantizers

# --- int8 and int4 --------------------------------------------------------------------------------

# Plain numbers; zeros; all of one sign, twice; both ends of the codes. Five columns leave half a byte over.
TABLE = np.float32(
    [
        [0.5, -1.0, 0.25, 0.125, -0.3],
        [0, 0, 0, 0, 0],
        [1.0, 1.1, 1.2, 1.3, 1.4],
        [0.03, 0.03, 0.03, 0.03, 0.03],
        [-7, 7, 3.5, -0.5, 1e-3],
    ]
)
ONE_SIGN = [2, 3]  # in blocks of one sign Keras's codes saturate

# What Embedding(5, 5).quantize(mode) stores under "0", "1" ... and answers, as little-endian bytes.
KERAS = {
    "int8_from_float32": {
        "stored": [
            ("int8", (5, 5), "3f812010da00000000005b646d767f7f7f7f7f7f817f40f700"),
            ("float32", (5,), "fefffd425365974eb66db5428e4a844592249141"),
        ],
        "rows": "fafbfd3e010080bf0502813e0502013e663299be0000000000000000000000000000000000000000"
        "3567803f351a8d3f"
        "35cd993f3480a63f3433b33fc5c2f53cc5c2f53cc5c2f53cc5c2f53cc5c2f53c0000e0c00000e040"
        "87c36140f8fbfdbe00000000",
    },
    "int4/-1_from_float32": {
        "stored": [
            ("int8", (5, 3), "93120e000000556607777707790400"),
            ("float32", (5,), "feffdf40b083854cffff9f40225569430000803f"),
        ],
        "rows": "b96ddb3e010080bf2649923e2649123e264992be0000000000000000000000000000000000000000"
        "0100803f0100803f"
        "9b99993f9b99993f3433b33fc5c2f53cc5c2f53cc5c2f53cc5c2f53cc5c2f53c0000e0c00000e040"
        "000080400000000000000000",
    },
    "int4/4_from_float32": {
        "stored": [
            ("int8", (5, 3), "87340888880877770777770778f407"),
            (
                "float32",
                (5, 2),
                "cecccc3d0ed7a33c9f10e5319f10e5310cd7a33c8d25bf3d9f10e5318b12033befee6e3ffad28b38",
            ),
            ("int8", (5, 2), "0207f8f8f8f8f8f800f8"),
            ("float32", (5,), "000000000000000000000000000000000000803f"),
        ],
        "rows": "0100003f010080bfcecc4c3ececccc3d9d9999be0000000000000000000000000000000000000000"
        "9b99993e9b99993e"
        "9b99993e9b99993e3433b33f95bfd63395bfd63395bfd63395bfd633c5c2f53cefeeeec01111d140"
        "efee6e40efee6ebfca15833a",
    },
}


def array(dtype, shape, text):
    return np.frombuffer(bytes.fromhex(text), np.dtype(dtype).newbyteorder("<")).reshape(shape)


def stored(policy):
    return [array(*each) for each in KERAS[policy]["stored"]]


def rows(policy):
    return array("float32", (5, 5), KERAS[policy]["rows"])


def test_int8_codes_and_scales():
    for ours, theirs in zip(quantizers.quantize_int8(TABLE), stored("int8_from_float32")):
        np.testing.assert_array_equal(ours, theirs)


def test_int4_codes_and_scales():
    for ours, theirs in zip(quantizers.quantize_int4(TABLE), stored("int4/-1_from_float32")):
        np.testing.assert_array_equal(ours, theirs)


def test_int4_codes_and_scales_of_blocks():
    ours, theirs = quantizers.quantize_int4(TABLE, 4), stored("int4/4_from_float32")
    others = [row for row in range(5) if row not in ONE_SIGN]
    for our, their in zip(ours[:3], theirs):
        np.testing.assert_array_equal(our[others], their[others])
    np.testing.assert_array_equal(ours[3], theirs[3])


@pytest.mark.parametrize("policy", KERAS)
def test_rows_of_what_keras_stored(policy):
    """Also of the blocks that Keras's codes do no justice to: what is stored is looked up as in Keras."""
    layer = fastembed.layers.Embedding(5, 5, dtype=policy)
    layer.build()
    layer.load_own_variables({str(number): array for number, array in enumerate(stored(policy))})
    np.testing.assert_array_equal(layer(np.arange(5)), rows(policy))


def test_blocks_of_one_sign_keep_their_numbers():
    """Keras's range leaves out 0, which its zero point then cannot reach: 1.0, 1.1, 1.2, 1.3 become 0.3."""
    np.testing.assert_allclose(rows("int4/4_from_float32")[2, :4], 0.3, rtol=1e-6)
    packed, scale, zero, g_idx = quantizers.quantize_int4(TABLE, 4)
    block = g_idx.astype(int)
    codes = quantizers.unpack_int4(packed, 5, axis=-1)
    ours = (codes.astype(np.float32) - zero[:, block]) * scale[:, block]
    assert (np.abs(ours - TABLE) <= scale[:, block]).all()


# --- Ids that are no rows -------------------------------------------------------------------------


@pytest.mark.parametrize("outside", OUTSIDE, ids=lambda outside: outside.id)
def test_ids_that_are_no_rows(outside):
    layer = fastembed.layers.Embedding(4, 1, weights=np.arange(4.0)[:, None])
    answer = outcome(lambda library, text: layer(make(library, text)), fastembed, outside.id)
    assert isinstance(answer, Raised), answer
    assert answer.name == outside.ours


FOUND_BY_KERAS = [each for each in OUTSIDE if not isinstance(each.numpy, str) and "uint" not in each.id]


@pytest.mark.parametrize("outside", FOUND_BY_KERAS, ids=lambda outside: outside.id)
def test_ids_outside_as_keras_looks_them_up(outside):
    """``out_of_range="wrap"`` and ``float_ids="truncate"`` give Keras's rows for negative ids, fractions."""
    layer = fastembed.layers.Embedding(
        4, 1, weights=np.arange(4.0)[:, None], out_of_range="wrap", float_ids="truncate"
    )
    assert layer(make(fastembed, outside.id)) == outside.numpy


def test_fractions_that_are_cut():
    layer = fastembed.layers.Embedding(4, 1, weights=np.arange(4.0)[:, None], float_ids="truncate")
    assert layer(np.array([2.7, -0.5])).tolist() == [[2], [0]]


# --- Optimizers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "repeated", "once", "others"),
    [
        ("SGD(0.1)", 0.1, 0.7, 1),
        ("SGD(0.1, momentum=0.9)", -0.683, 0.439, 1),
        ("SGD(0.1, clipnorm=1.0)", 0.798754, 0.932918, 1),
        ("SGD(0.1, clipvalue=0.5)", 0.85, 0.85, 1),
        ("SGD(0.1, weight_decay=0.1)", 0.079269, 0.673289, 0.970299),
        ("Adagrad(0.1)", 0.772408, 0.778851, 1),
        ("RMSprop(0.1)", 0.262262, 0.262262, 1),
        ("Adam(0.1)", 0.700002, 0.700003, 1),
        ("Adadelta(0.1)", 0.999571, 0.999571, 1),
        ("Adamax(0.1)", 0.7, 0.7, 1),
        ("Lion(0.1)", 0.7, 0.7, 1),
        ("Nadam(0.1)", 0.745229, 0.745229, 1),
        ("Ftrl(0.1)", 0.667579, 0.47734, 0),
    ],
)
def test_optimizers_sum_repeated_ids_first(optimizer, repeated, once, others):
    """Three steps with the sum of the rows of three times row 1 and once row 2 as loss, on JAX and torch."""
    embedding = fastembed.layers.Embedding(5, 2, embeddings_initializer="ones")
    optimizer = make(fastembed, f"optimizers.{optimizer}")
    for _ in range(3):
        rows = embedding(np.array([[1, 1, 1, 2]]), training=True)
        embedding.backward(np.ones_like(rows))
        optimizer.apply_gradients([(embedding.embeddings.gradient, embedding.embeddings)])
        embedding.embeddings.clear_gradient()
    expected = np.repeat([[others], [repeated], [once], [others], [others]], 2, axis=1)
    # Keras has powers of float32: 1 - 0.999 is 1.3e-5 away from it.
    np.testing.assert_allclose(embedding.embeddings.numpy(), expected, rtol=0, atol=4e-6)

"""int8, int4, LoRA and ReversibleEmbedding against real Keras 3: the same program, run by both.

Lookups in codes are equal bit for bit; what is a matrix product may differ in the last bits. Where we differ
on purpose, both answers are pinned, at the end of the file.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from test_against_keras import Raised, agree_to_raise, outcome, process

import fastembed


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


CONFIGS = [
    "Int8QuantizationConfig()",
    "Int8QuantizationConfig(activation_quantizer=None)",
    "Int8QuantizationConfig(weight_quantizer=AbsMaxQuantizer(axis=-1))",
    "Int4QuantizationConfig()",
    "Int4QuantizationConfig(block_size=None)",
    "Int4QuantizationConfig(block_size=-1, activation_quantizer=AbsMaxQuantizer())",
    "Int4QuantizationConfig(block_size=2)",
    "Int4QuantizationConfig(block_size=3)",
    "Int4QuantizationConfig(block_size=8)",
]
POLICIES = ["int8_from_float32", "int4_from_float32", "int4/-1_from_float32", "int4/2_from_float32"]
LAYERS = ["Embedding", "ReversibleEmbedding"]


def config_of(library, expression):
    return None if expression is None else eval(expression, dict(vars(library.quantizers)))


def mixed(rng, rows=7, columns=5, zeros=True):
    """A table in whose blocks of columns both signs occur: Keras quantises others wrongly."""
    table = rng.standard_normal((rows, columns)).astype("float32")
    table[:, ::2] = -np.abs(table[:, ::2])
    table[:, 1::2] = np.abs(table[:, 1::2])
    table[rng.integers(rows)] *= not zeros
    return table


def seen(layer, ids=None):
    """What a user sees of a layer."""
    store = {}
    layer.save_own_variables(store)
    return [
        layer.dtype_policy.name,
        layer.quantization_mode,
        layer.lora_enabled,
        layer.lora_rank,
        layer.lora_alpha,
        [(v.name, v.path, tuple(v.shape), str(v.dtype), v.trainable) for v in layer.weights],
        [v.name for v in layer.trainable_weights],
        layer.count_params(),
        len(layer.losses),
        layer.get_config(),
        {key: np.asarray(value) for key, value in store.items()},
        None if layer.lora_enabled else np.asarray(layer.embeddings),
        None if ids is None else np.asarray(layer(ids)),
    ]


def flat(values):
    """The arrays in what a program returned, and all else."""
    if isinstance(values, np.ndarray):
        return [values], []
    if isinstance(values, dict):
        values = [part for item in sorted(values.items()) for part in item]
    if not isinstance(values, (list, tuple)):
        return [], [values]
    arrays, others = zip(*map(flat, values)) if values else ((), ())
    return [*itertools.chain(*arrays)], [*itertools.chain(*others)]


def agree(keras, program, *args, tolerance=0.0):
    """Run a program with both, for equal values: arrays bit for bit where no tolerance is given."""
    ours, theirs = outcome(program, fastembed, *args), keras(program, *args)
    assert not isinstance(theirs, Raised), theirs
    (our_arrays, our_others), (their_arrays, their_others) = flat(ours), flat(theirs)
    assert our_others == their_others
    for our, their in zip(our_arrays, their_arrays):
        assert (our.dtype, our.shape) == (their.dtype, their.shape)
        np.testing.assert_allclose(our.astype(float), their.astype(float), rtol=tolerance, atol=tolerance)
    return ours


LAST_BITS = 1e-5  # of float32 numbers around 1

# --- Codes ----------------------------------------------------------------------------------------


def quantized(library, name, table, config, dtype="float32"):
    layer = getattr(library.layers, name)(*table.shape, name="words", dtype=dtype)
    layer.build((None,))
    layer.set_weights([table])
    config = config_of(library, config)
    layer.quantize(config.mode, config=config)
    return seen(layer, np.array([[0, 6], [2, 2]]))


@pytest.mark.parametrize("columns", [1, 2, 5, 8, 130])
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_quantised(keras, rng, name, config, columns):
    agree(keras, quantized, name, mixed(rng, 7, columns + columns % 2)[:, :columns], config)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "float16"])
@pytest.mark.parametrize("config", CONFIGS)
def test_in_other_dtypes(keras, rng, config, dtype):
    table = mixed(rng, zeros=False)  # float16 cannot hold the scale of a row of zeros
    if "Int8" in config and dtype != "mixed_bfloat16":
        agree_to_raise(keras, quantized, "Embedding", table, config, dtype)
    else:
        agree(keras, quantized, "Embedding", table, config, dtype)


def built_quantized(library, name, dtype, arguments):
    layer = getattr(library.layers, name)(7, 5, name="words", dtype=dtype, **arguments)
    layer.build((None,))
    blank = seen(layer, np.arange(7))
    store = {str(i): v for i, v in enumerate(layer.get_weights())}
    layer.load_own_variables(store)
    return blank, seen(layer)


@pytest.mark.parametrize("arguments", [{}, {"mask_zero": True, "trainable": False}], ids=str)
@pytest.mark.parametrize("dtype", POLICIES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_built_quantised(keras, name, dtype, arguments):
    agree(keras, built_quantized, name, dtype, arguments)


@pytest.mark.parametrize("dtype", POLICIES)
def test_an_untied_layer_is_built_quantised(keras, dtype):
    agree(keras, built_quantized, "ReversibleEmbedding", dtype, {"tie_weights": False})


def policy_set(library, table, policy):
    layer = library.layers.Embedding(*table.shape, name="words", weights=table)
    layer.dtype_policy = policy
    return seen(layer, np.arange(len(table)))


@pytest.mark.parametrize("policy", ["int8_from_float32", "int4_from_float32", "int4/128_from_float32"])
def test_a_policy_that_is_set_quantises(keras, rng, policy):
    agree(keras, policy_set, mixed(rng), policy)


def from_config(library, dtype, config):
    layer = library.layers.Embedding(
        7, 5, "ones", name="words", dtype=dtype, quantization_config=config_of(library, config)
    )
    again = library.layers.Embedding.from_config(layer.get_config())
    again.build((None,))
    return seen(again)


@pytest.mark.parametrize(
    ("dtype", "config"),
    [
        ("int8_from_float32", None),
        ("int8_from_float32", "Int8QuantizationConfig(activation_quantizer=None)"),
        ("int4_from_float32", "Int4QuantizationConfig(block_size=2)"),
        ("int4/2_from_float32", None),
        ("int4/4_from_float32", "Int4QuantizationConfig(block_size=2)"),
        ("float32", None),
    ],
)
def test_configs_make_quantised_layers(keras, dtype, config):
    agree(keras, from_config, dtype, config)


def stored_and_restored(library, name, table, config, store, arguments):
    layer = getattr(library.layers, name)(*table.shape, name="words", **arguments)
    layer.build((None,))
    layer.set_weights([table, *layer.get_weights()[1:]])
    if config is not None:
        config = config_of(library, config)
        layer.quantize(config.mode, config=config)
    if store is not None:
        layer.load_own_variables(store)
    saved = {}
    layer.save_own_variables(saved)
    return {key: np.array(value) for key, value in saved.items()}, np.asarray(layer(np.arange(len(table))))


@pytest.mark.parametrize("config", [None, *(config for config in CONFIGS if "weight_quant" not in config)])
@pytest.mark.parametrize("tied", [None, True, False])
def test_what_one_library_saves_the_other_loads(keras, rng, tied, config):
    name, arguments = ("Embedding", {}) if tied is None else ("ReversibleEmbedding", {"tie_weights": tied})
    table, other = mixed(rng), mixed(rng)
    ours, _ = stored_and_restored(fastembed, name, table, config, None, arguments)
    theirs, _ = keras(stored_and_restored, name, table, config, None, arguments)
    assert list(ours) == list(theirs)
    for store in (ours, theirs):
        agree(keras, stored_and_restored, name, other, config, store, arguments)


def error_of(library, case):
    table = np.ones((4, 3), "float32")

    def made(dtype=None, cls=library.layers.Embedding, **arguments):
        layer = cls(4, 3, dtype=dtype, name="words", **arguments)
        layer.build((None,))
        return layer

    class Mine(library.layers.Embedding):
        pass

    names = {**vars(library.layers), **vars(library.quantizers), "made": made, "Mine": Mine, "np": np}
    exec(case, {**names, "table": table})


@pytest.mark.parametrize(
    "case",
    [
        "Embedding(4, 3).quantize('int8')",
        "Embedding(4, 3).quantize('float8')",  # not built, which comes first
        "made().quantize('int2')",
        "made().quantize('float8')",
        "made().quantize()",
        "made().quantize('int8', config=3)",
        "made().quantize('int4', config=Int8QuantizationConfig())",
        "made('float16').quantize('int8')",
        "made('mixed_float16').quantize('int8')",
        "a = made(); a.quantize('int8'); a.quantize('int4')",
        "a = made(); a.quantize('int8'); a.quantize('float8')",
        "a = made(); a.quantize('int8'); a.quantize(config='int4')",
        "a = made(); a.quantize('int8'); a.quantize(config=Int4QuantizationConfig())",
        "made('int4_from_float32').quantize('int8')",
        "made(cls=Mine).quantize('int8')",
        "made('int8_from_float16')",
        "made().dtype_policy = 'int8_from_float16'",
        "Embedding(4, 3).enable_lora(2)",
        "made(embeddings_constraint='non_neg').enable_lora(2)",
        "made(embeddings_constraint='non_neg', lora_rank=2)",
        "made(lora_rank=2).enable_lora(2)",
        "made(lora_rank=-2)",
        "made().enable_lora(-1)",
        "made().enable_lora(1.5)",
        "made().load_own_variables({})",
        "made().load_own_variables({'0': table, '1': table})",
        "made().load_own_variables({'0': table.T})",
        "made().load_own_variables({'x': table})",
        "made('int8_from_float32').load_own_variables({'0': table})",
        "Embedding(4, 3).load_own_variables({'0': table})",
        "made(cls=ReversibleEmbedding)(np.ones((2, 4), 'float32'), reverse=True)",
    ],
)
def test_what_both_refuse(keras, case):
    agree_to_raise(keras, error_of, case)


# --- LoRA -----------------------------------------------------------------------------------------


def with_lora(library, table, a, b, config, rank, alpha, at_once, regularizer=None):
    layer = library.layers.Embedding(
        *table.shape,
        name="words",
        embeddings_regularizer=regularizer,
        **({"lora_rank": rank} if at_once else {}),
    )
    layer.build((None,))
    layer.set_weights([table, *layer.get_weights()[1:]])
    if not at_once:
        layer.enable_lora(rank, lora_alpha=alpha)
    before = [v.name for v in layer.weights]
    layer.lora_embeddings_a.assign(a)
    layer.lora_embeddings_b.assign(b)
    if config is not None:
        config = config_of(library, config)
        layer.quantize(config.mode, config=config)
    rows = np.asarray(layer(np.array([[0, 3], [2, 2]])))
    store = {}
    layer.save_own_variables(store)
    store = {} if config is not None else {key: np.asarray(value) for key, value in store.items()}
    return before, seen(layer)[:9], rows, store, [np.asarray(loss) for loss in layer.losses]


@pytest.mark.parametrize("regularizer", [None, "l2"])
@pytest.mark.parametrize("alpha", [None, 7, 0.5])
@pytest.mark.parametrize("config", [None, *CONFIGS[:6]])
def test_lora(keras, rng, config, alpha, regularizer):
    table = mixed(rng)
    a, b = rng.standard_normal((7, 3)).astype("f4"), rng.standard_normal((3, 5)).astype("f4")
    agree(keras, with_lora, table, a, b, config, 3, alpha, False, regularizer, tolerance=LAST_BITS)


def test_lora_from_the_constructor(keras, rng):
    a, b = rng.standard_normal((7, 3)).astype("f4"), rng.standard_normal((3, 5)).astype("f4")
    agree(keras, with_lora, mixed(rng), a, b, None, 3, None, True, tolerance=LAST_BITS)


def lora_then_load(library, table, store):
    layer = library.layers.Embedding(*table.shape, name="words")
    layer.build((None,))
    layer.enable_lora(2, a_initializer="ones", b_initializer="ones")
    layer.load_own_variables(store)
    return np.asarray(layer(np.arange(len(table)))), np.asarray(layer.lora_embeddings_b), layer.count_params()


def test_a_table_that_is_loaded_replaces_lora(keras, rng):
    table = mixed(rng)
    agree(keras, lora_then_load, table, {"0": table})


def frozen(library):
    layer = library.layers.Embedding(7, 5, name="words")
    layer.build((None,))
    layer.enable_lora(2)
    seen = []
    for value in (False, True):
        layer.trainable = value
        seen.append([(v.name, v.trainable) for v in layer.weights])
        seen.append([v.name for v in layer.trainable_weights])
    return seen


def test_freezing_with_lora(keras):
    agree(keras, frozen)


# --- Reverse --------------------------------------------------------------------------------------


def reversed_rows(library, vectors, table, own, config, arguments):
    layer = library.layers.ReversibleEmbedding(*table.shape, name="words", **arguments)
    layer.build((None,))
    layer.set_weights([table] if arguments.get("tie_weights", True) else [table, own])
    if config is not None:
        config = config_of(library, config)
        layer.quantize(config.mode, config=config)
    logits = np.asarray(layer(vectors, reverse=True))
    shapes = layer.compute_output_shape((2, 3)), layer.compute_output_shape((2, 3, 5), reverse=True)
    return logits, seen(layer, np.arange(len(table))), shapes, layer.compute_mask(np.arange(3))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"logit_soft_cap": 2},
        {"logit_soft_cap": 0.5, "mask_zero": True},
        {"reverse_dtype": "float16"},
        {"dtype": "mixed_float16"},
        {"dtype": "mixed_float16", "reverse_dtype": "float32"},
        {"dtype": "float16"},
        {"dtype": "mixed_bfloat16"},
    ],
    ids=str,
)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
@pytest.mark.parametrize("shape", [(5,), (0, 5), (2, 3, 5)], ids=str)
def test_reverse(keras, rng, shape, dtype, tied, arguments):
    vectors = (rng.standard_normal(shape) * 2).astype(dtype)
    own = mixed(rng).T.copy()
    tolerance = 1e-5 if "16" not in f"{arguments}{dtype}" else 3e-2
    case = vectors, mixed(rng), own, None, {**arguments, "tie_weights": tied}
    agree(keras, reversed_rows, *case, tolerance=tolerance)


@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("config", [config for config in CONFIGS if "weight_quant" not in config])
@pytest.mark.parametrize("columns", [5, 6, 1100])
def test_reverse_quantised(keras, rng, columns, config, tied, cap):
    vectors = rng.standard_normal((2, 3, columns)).astype("float32")
    table = mixed(rng, 7, columns)
    own = mixed(rng, 7, columns).T.copy()
    arguments = {"tie_weights": tied, "logit_soft_cap": cap}
    agree(keras, reversed_rows, vectors, table, own, config, arguments, tolerance=LAST_BITS)


# --- Where we differ, on purpose ------------------------------------------------------------------


def alpha_of_the_constructor(library):
    layer = library.layers.Embedding(4, 3, lora_rank=2, lora_alpha=7)
    before = layer.get_config()["lora_alpha"]
    layer.build((None,))
    return before, layer.lora_alpha, layer.get_config()["lora_alpha"]


def test_lora_alpha_of_the_constructor_counts(keras):
    assert alpha_of_the_constructor(fastembed) == (7, 7, 7)
    assert keras(alpha_of_the_constructor) == (7, 2, 2)


def weights_and_lora(library):
    layer = library.layers.Embedding(2, 2, weights=np.eye(2, dtype="f4"), lora_rank=1)
    return np.asarray(layer(np.arange(2))), len(layer.weights)


def test_weights_and_lora_at_once(keras):
    rows, number = weights_and_lora(fastembed)
    assert (number, rows.tolist()) == (3, np.eye(2).tolist())
    assert keras(weights_and_lora).name == "ValueError"


def adapters_after_loading(library):
    layer = library.layers.Embedding(4, 3, lora_rank=2)
    layer.build((None,))
    layer.load_own_variables({"0": np.ones((4, 3), "f4")})
    return np.asarray(layer.lora_embeddings_a), np.asarray(layer.lora_embeddings_b)


def test_adapters_learn_after_loading(keras):
    (a, b), (their_a, their_b) = adapters_after_loading(fastembed), keras(adapters_after_loading)
    assert not b.any()
    assert not their_b.any()
    assert a.all()
    assert not their_a.any()  # and so B has no gradient, ever


def one_signed_block(library):
    layer = library.layers.Embedding(1, 4, weights=np.float32([[1.0, 1.1, 1.2, 1.3]]))
    layer.quantize("int4", config=library.quantizers.Int4QuantizationConfig(block_size=4))
    return np.asarray(layer(np.array([0])))


def test_a_block_of_one_sign_keeps_its_values(keras):
    np.testing.assert_allclose(one_signed_block(fastembed), [[1.0, 1.1, 1.2, 1.3]], atol=0.05)
    np.testing.assert_allclose(keras(one_signed_block), np.full((1, 4), 0.3), atol=1e-6)


def block_size_of_a_policy(library):
    layer = library.layers.Embedding(4, 6, weights=np.ones((4, 6), "f4"))
    layer.dtype_policy = "int4/2_from_float32"
    return layer.dtype_policy.name, tuple(layer.embeddings_scale.shape)


def test_a_policy_that_is_set_says_the_block_size(keras):
    assert block_size_of_a_policy(fastembed) == ("int4/2_from_float32", (4, 3))
    assert keras(block_size_of_a_policy) == ("int4/2_from_float32", (4, 1))


def quantized_and_float_again(library):
    layer = library.layers.Embedding(2, 3, weights=np.float32([[1, 2, 3], [4, 5, 6]]))
    layer.quantize("int8")
    layer.dtype_policy = "float32"
    return np.asarray(layer(np.array([0])))


def test_codes_are_not_taken_for_floats(keras):
    assert outcome(quantized_and_float_again, fastembed).name == "ValueError"
    assert keras(quantized_and_float_again).tolist() == [[42, 85, 127]]


def codes_loaded_with_lora(library):
    layer = library.layers.Embedding(2, 3, lora_rank=1)
    layer.build((None,))
    layer.load_own_variables({"0": np.full((2, 3), 127, "int8"), "1": np.ones(2, "f4")})
    return np.asarray(layer(np.array([0])))


def test_a_layer_with_lora_loads_no_codes_as_floats(keras):
    assert outcome(codes_loaded_with_lora, fastembed).name == "ValueError"
    assert keras(codes_loaded_with_lora).tolist() == [[127, 127, 127]]


def int4_then_lora(library):
    layer = library.layers.Embedding(4, 3, weights=np.ones((4, 3), "f4"))
    layer.quantize("int4", config=library.quantizers.Int4QuantizationConfig(block_size=None))
    layer.enable_lora(2)
    return [v.name for v in layer.trainable_weights], np.asarray(layer(np.array([0])))


def test_lora_on_int4(keras):
    names, rows = int4_then_lora(fastembed)
    assert names == ["lora_embeddings_a", "lora_embeddings_b"]
    np.testing.assert_allclose(rows, np.ones((1, 3)), atol=1e-6)
    assert keras(int4_then_lora).name == "AttributeError"  # on the numpy backend


def merged_codes(library):
    layer = library.layers.Embedding(1, 2, weights=np.float32([[1, 2]]))
    layer.enable_lora(1, a_initializer="ones", b_initializer="ones")
    layer.quantize("int8")
    return np.asarray(layer.embeddings)


def test_embeddings_of_a_quantised_layer_with_lora(keras):
    np.testing.assert_allclose(merged_codes(fastembed), [[2, 3]], atol=0.01)
    assert keras(merged_codes).tolist() == [[65, 128]]  # codes, with the product of A and B added


def reversed_with_lora(library):
    layer = library.layers.ReversibleEmbedding(2, 2)
    layer.build((None,))
    layer.set_weights([np.eye(2, dtype="f4")])
    layer.enable_lora(1, a_initializer="ones", b_initializer="ones")
    layer.quantize("int8")
    return np.asarray(layer(np.float32([[1, 0]]), reverse=True))


def test_reverse_of_a_quantised_layer_with_lora(keras):
    np.testing.assert_allclose(reversed_with_lora(fastembed), [[2, 1]], atol=0.01)
    np.testing.assert_allclose(keras(reversed_with_lora), [[1, 0]], atol=0.01)


def quantized_from_weights(library):
    layer = library.layers.Embedding(2, 2, weights=np.eye(2, dtype="f4"), dtype="int8_from_float32")
    return np.asarray(layer(np.arange(2)))


def untied_with_more(library, arguments):
    layer = library.layers.ReversibleEmbedding(2, 2, tie_weights=False, **arguments)
    layer.build((None,))
    return [tuple(v.shape) for v in layer.weights]


def test_what_keras_refuses_is_accepted_here(keras):
    np.testing.assert_allclose(quantized_from_weights(fastembed), np.eye(2), atol=1e-6)
    assert keras(quantized_from_weights).name == "ValueError"
    for arguments in ({"weights": np.eye(2, dtype="f4")}, {"lora_rank": 1}):
        assert len(untied_with_more(fastembed, arguments)) == 2 + 2 * ("lora_rank" in arguments)
        assert isinstance(keras(untied_with_more, arguments), Raised)


def capped_at_nothing(library):
    layer = library.layers.ReversibleEmbedding(2, 2, logit_soft_cap=0)
    layer.build((None,))
    return np.asarray(layer(np.ones((1, 2), "f4"), reverse=True))


def test_a_cap_of_zero_is_an_error(keras):
    assert outcome(capped_at_nothing, fastembed).name == "ValueError"
    assert np.isnan(keras(capped_at_nothing)).all() or not keras(capped_at_nothing).any()

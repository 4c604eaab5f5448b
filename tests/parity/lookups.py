"""Ids in, rows out."""

from parity.features import Feature, subject

subject(
    "Looking up",
    Feature(
        "ids of any rank", "2-D", "any", "any", "any", "any, up to NumPy's own limit",
        ("against_keras::test_every_dtype_and_rank", "ids"),
    ),
    Feature(
        "int32 and int64 ids", "int32; int64 narrowed", "int32; int64 narrowed", "yes", "yes; JAX and torch narrow",
        "yes, never narrowed", ("against_keras::test_every_dtype_and_rank", "against_keras::test_lookups"),
        ("uint32 or uint64 id",),
    ),
    Feature(
        "ids of other dtypes: int8 to uint64, bool, floats", "cast to int32", "cast to int32", "cast to int32",
        "cast to int32", "taken as they are; floats where they are integers",
        ("against_keras::test_every_dtype_and_rank", "against_keras::test_ids_that_keras_turns_into_others_are_errors"),
        ("2.7, -0.5 as ids", "uint32 or uint64 id"),
    ),
    Feature(
        "fractions as ids", "cut", "cut", "cut", "cut", 'error; float_ids="truncate" cuts',
        ("golden::test_ids_that_are_no_rows", "golden::test_fractions_that_are_cut"), ("2.7, -0.5 as ids",),
    ),
    Feature(
        "ids outside the table", "error; Theano: wraps", "error; on a GPU zeros", "error; on a GPU zeros",
        "error; NaN rows on JAX; negative ones wrap",
        'error; out_of_range="zeros", "clip", "wrap", "nan" or a row, by layer or by call',
        ("golden::test_ids_that_are_no_rows", "golden::test_ids_outside_as_keras_looks_them_up", "gather"),
        ("id in [-rows, -1]", "uint32 or uint64 id"),
    ),
    Feature(
        "ids as lists, scalars, Series, tensors, DLPack, memoryviews", "symbolic only", "symbolic only",
        "tensors, arrays, Python numbers", "tensors and arrays", "all of them",
        ("ids", "against_keras::test_what_keras_refuses_is_accepted"), ("ids as lists", "ids that are no numbers"),
    ),
    Feature(
        "rows are copied exactly, in every float dtype", "yes", "yes", "yes", "yes", "yes, bit for bit",
        ("against_keras::test_lookups", "gather"),
    ),
    Feature(
        "mask_zero and compute_mask", "yes", "yes", "yes", "yes", "yes",
        ("against_keras::test_masks_shapes_and_one_hot", "layers::test_masks_and_shapes"),
    ),
    Feature(
        "a mask on its way through layers", "symbolic", "symbolic", "_keras_mask", "_keras_mask",
        "mask= and <argument>_mask= of a call; never on an array", ("lifecycle::test_outputs_carry_no_mask",
        "lifecycle::test_an_unknown_mask"), ("a mask",),
    ),
    Feature(
        "output shape, also with input_length", "always 3-D", "input_length", "input_length", "ids' shape and D",
        "as the era's", ("eras::test_output_shapes", "against_keras::test_masks_shapes_and_one_hot"),
    ),
    Feature(
        "row dropout", "yes", "ignored", "no", "no", "yes, but ignored in the era of Keras 2",
        ("eras::test_row_dropout", "eras::test_keras_2_ignores_dropout"), ("Keras 1's row `dropout`",),
    ),
    Feature(
        "sparse=True", "no", "no", "SparseTensor", "no", "accepted: dense rows", ("eras::test_sparse_rows_are_dense",),
        ("tf.keras's `sparse=True`",),
    ),
    Feature(
        "use_one_hot_matmul=True: zeros for ids outside", "no", "no", "hidden", "no", "accepted",
        ("eras::test_keywords_of_every_era_in_every_era",), ("`init`, `W_regularizer`",),
    ),
    Feature(
        "gradients with repeated ids", "dense", "dense", "summed late", "TensorFlow: not summed", "sparse, summed first",
        ("accumulate", "against_keras::test_gradients_are_those_of_jax"), ("a gradient of a lookup",),
    ),
)  # fmt: skip

"""Arguments of all eras."""

from parity.features import Feature, subject

subject(
    "Constructors",
    Feature(
        "positional arguments", "init, input_length, W_regularizer ...", "two only", "with activity_regularizer",
        "without", "those of the era", ("eras::test_positional_arguments", "eras::test_keras_2_takes_two_by_position",
        "eras::test_dense_by_position", "parity/tf_keras::test_positions"),
    ),
    Feature(
        "keywords of Keras 1: init, W_regularizer, W_constraint, dropout", "yes", "with a warning", "TypeError",
        "ValueError", "in every era", ("eras::test_keywords_of_every_era_in_every_era",
        "eras::test_an_old_name_and_the_new_one"), ("`init`, `W_regularizer`",),
    ),
    Feature(
        "input_length, input_shape, batch_input_shape, batch_size, input_dtype", "yes", "yes", "yes",
        "a warning, or ValueError", "kept for shapes and configs of their eras",
        ("eras::test_keywords_of_every_era_in_every_era", "eras::test_output_shapes"),
        ("`input_length=`", "`init`, `W_regularizer`"),
    ),
    Feature(
        "weights=[matrix] and weights=matrix", "list", "list", "list, at the first call", "either, at once",
        "either, at once", ("layers::test_embedding_by_position_and_with_weights_of_every_shape",
        "against_keras::test_what_keras_refuses_is_accepted", "parity::test_random_programs"),
        ("NumPy integers as", "`weights=` of a wrong number"),
    ),
    Feature(
        "dimensions: positive integers", "unchecked", "unchecked", "checked", "int only", "NumPy's, too",
        ("against_keras::test_errors_that_say_the_same", "layers::test_dimensions_may_be_numpy_integers"),
        ("NumPy integers as",),
    ),
    Feature(
        "activity_regularizer", "positional", "keyword", "positional", "keyword", "as the era's",
        ("against_keras::test_losses", "eras::test_an_activity_regularizer_counts_the_batch"),
    ),
    Feature(
        "unknown keywords", "TypeError", "TypeError", "TypeError", "ValueError", "the era's class",
        ("eras::test_an_unknown_keyword", "against_keras::test_errors_that_say_the_same"),
    ),
    Feature(
        "trainable is a bool; name has no slash", "-", "-", "TypeError; slash allowed", "ValueError", "as the era's",
        ("eras::test_trainable_is_a_bool", "eras::test_a_slash_in_a_name",
        "against_keras::test_errors_that_say_the_same"),
    ),
    Feature(
        "lora_rank, lora_alpha, quantization_config", "-", "-", "-", "yes", "yes",
        ("storage_against_keras::test_lora_from_the_constructor", "storage_against_keras::test_lora_alpha_of_the_constructor_counts"),
        ("`lora_alpha`",),
    ),
)  # fmt: skip

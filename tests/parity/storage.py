"""Tables that are stored otherwise, and the way back from vectors to words."""

from parity.features import Feature, Subject

SUBJECT = Subject(
    "LoRA, int8, int4, ReversibleEmbedding",
    Feature(
        "enable_lora, lora_rank=",
        "-",
        "-",
        "-",
        "yes",
        "yes; A[ids] @ B, never the whole product",
        (
            "storage_against_keras::test_lora",
            "storage_against_keras::test_lora_from_the_constructor",
            "storage_against_keras::test_adapters_learn_after_loading",
        ),
        ("`lora_alpha=` of the constructor",),
    ),
    Feature(
        'quantize("int8")',
        "-",
        "-",
        "-",
        "yes",
        "yes, the same bits",
        (
            "golden::test_int8_codes_and_scales",
            "golden::test_rows_of_what_keras_stored",
            "storage_against_keras::test_a_layer_is_quantised",
        ),
    ),
    Feature(
        'quantize("int4"), by row and in blocks',
        "-",
        "-",
        "-",
        "yes",
        "yes, the same bits; blocks of one sign keep their values",
        (
            "golden::test_int4_codes_and_scales",
            "golden::test_int4_codes_and_scales_of_blocks",
            "golden::test_blocks_of_one_sign_keep_their_numbers",
            "golden::test_rows_of_what_keras_stored",
            "storage_against_keras::test_a_layer_is_quantised",
        ),
        ("int4 blocks whose numbers have one sign",),
    ),
    Feature(
        "ReversibleEmbedding: tied, untied, soft cap, reverse_dtype",
        "-",
        "-",
        "-",
        "3.12",
        "yes",
        ("storage_against_keras::test_reverse", "storage_against_keras::test_reverse_quantised"),
    ),
    Feature(
        "own variables of quantised layers and layers with LoRA",
        "-",
        "-",
        "-",
        "yes",
        "yes, readable by Keras and from it",
        (
            "storage_against_keras::test_what_one_library_saves_the_other_loads",
            "storage_against_keras::test_a_table_that_is_loaded_replaces_lora",
        ),
    ),
)

"""What old programs call K."""

from parity.features import Feature, subject

subject(
    "K.*",
    Feature(
        "gather, cast, variable, get_value, set_value, eval, int_shape, ndim, dtype, one_hot, not_equal, dot",
        "yes",
        "yes",
        "yes",
        "-",
        "yes",
        (
            "layers::test_backend_functions",
            "layers::test_the_embedding_of_2018_works",
            "layers::test_one_hot",
        ),
        ("`K.cast`", "`one_hot`"),
    ),
    Feature(
        "floatx, epsilon and their setters; clear_session, get_uid",
        "yes",
        "yes",
        "yes",
        "yes",
        "yes",
        (
            "layers::test_floatx_is_the_default_of_layers_made_later",
            "lifecycle::test_names_of_layers_begin_again_in_a_new_session",
        ),
        ("`set_floatx`",),
    ),
)

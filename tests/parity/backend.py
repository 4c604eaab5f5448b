"""What old programs call K."""

from parity.features import Feature, Subject

SUBJECT = Subject(
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
        "shapes, reductions, products, comparisons, activations, zeros, random values, update, switch",
        "yes",
        "yes",
        "yes",
        "-",
        "yes",
        ("backend",),
        (
            "`K.mean`",
            "`K.sum`",
            "`K` functions",
            "`K.switch`",
            "`K.max`",
            "`K.relu`",
            "sums and means of float16 by `K`",
            "`K.batch_set_value`",
            "values of `K.random_uniform`",
        ),
    ),
    Feature(
        "learning_phase, in_train_phase, get_uid, reset_uids, name_scope, backend",
        "yes",
        "yes",
        "yes",
        "some",
        "yes",
        (
            "backend::test_every_layer_is_told_the_phase",
            "backend::test_uids_begin_at_one",
            "backend::test_what_is_said_of_the_backend",
        ),
        ("`K.set_learning_phase`", "`K.backend()`"),
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

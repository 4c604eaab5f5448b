"""A layer's life: made, built, called, trained, frozen, written down."""

from parity.features import Feature, subject

subject(
    "The life of a layer",
    Feature(
        "automatic names and their counters", "embedding_1", "embedding_1", "embedding", "embedding", "the era's",
        ("against_keras::test_automatic_names", "eras::test_automatic_names",
        "lifecycle::test_names_of_layers_begin_again_in_a_new_session", "parity/tf_keras::test_names"),
    ),
    Feature(
        "names of weights", "embedding_1_W", "embedding_1/embeddings:0", "embedding/embeddings:0", "embeddings, and a path",
        "the era's", ("eras::test_names_of_weights", "against_keras::test_paths"),
    ),
    Feature(
        "add_weight by position and keyword", "(shape, initializer, name ...)", "(name, shape ...)", "(name, shape ...)",
        "(shape, initializer, dtype)", "all four, told apart by type",
        ("against_keras::test_add_weight", "layers::test_add_weight_in_every_eras_order"),
        ("NumPy integers as", "`add_weight(trainable=None)`"),
    ),
    Feature(
        "variables and layers in attributes, lists, tuples, dicts and sets", "-", "-", "yes", "yes", "yes",
        ("layers::test_finds_variables_and_layers_in_attributes", "layers::test_finds_what_lists_tuples_and_dicts_hold",
        "parity::test_random_programs"), ("a list in an attribute",),
    ),
    Feature(
        "no new state once built", "-", "-", "-", "ValueError", "as the era's",
        ("eras::test_state_of_a_built_layer", "parity::test_random_programs"), ("after an error",),
    ),
    Feature(
        "trainable, nested", "not passed on", "models only", "passed on", "passed on, to variables too", "as the era's",
        ("against_keras::test_weights_and_losses_of_nested_layers_as_they_are_frozen",
        "layers::test_trainable_goes_down_and_sorts_weights"),
    ),
    Feature(
        "order of weights after freezing", "changes", "changes", "changes", "stays", "as the era's",
        ("eras::test_freezing_reorders_weights_before_keras_3",
        "against_keras::test_weights_and_losses_of_nested_layers_as_they_are_frozen",
        "parity/tf_keras::test_freezing"),
    ),
    Feature(
        "get_weights, set_weights and their errors", "yes", "yes", "yes", "yes", "yes; all or nothing",
        ("layers::test_get_and_set_weights", "layers::test_set_weights_is_all_or_nothing",
        "against_keras::test_errors_that_say_the_same"), ("`set_weights` with one bad array", "`weights=` of a wrong"),
    ),
    Feature(
        "count_params", "yes", "yes", "yes", "yes", "yes", ("layers::test_count_params_wants_a_built_layer",
        "against_keras::test_errors_that_say_the_same"),
    ),
    Feature(
        "losses: regularizers, add_loss, activity regularizers", "for the batch", "for the batch", "by example",
        "by example; none of frozen weights", "as the era's",
        ("against_keras::test_losses", "eras::test_the_penalty_of_a_frozen_weight",
        "eras::test_an_activity_regularizer_counts_the_batch", "parity/tf_keras::test_losses"), ("NumPy integers as",),
    ),
    Feature(
        "input_spec", "yes", "yes", "yes", "yes", "yes", ("lifecycle::test_input_spec",
        "lifecycle::test_input_spec_of_dtypes_counts_and_names", "lifecycle::test_input_spec_that_build_sets"),
    ),
    Feature(
        "build: by the first call or by hand, with several shapes", "yes", "yes", "yes", "yes", "yes",
        ("against_keras::test_a_layer_built_by_hand", "lifecycle::test_a_build_whose_parameters_are_not_those_of_call",
        "lifecycle::test_build_configs"), ("`build` of a layer that is built", "after an error"),
    ),
    Feature(
        "training= and mask= of call, and what layers inside are told", "learning phase", "learning phase", "yes", "yes",
        "yes", ("lifecycle::test_training_has_the_default_of_call",
        "lifecycle::test_an_outer_layer_says_whether_to_train", "lifecycle::test_several_arguments",
        "parity::test_random_programs"), ("`training` that a layer's",),
    ),
    Feature(
        "dtype policies: float16, bfloat16, float64, mixed, maps, global", "floatx", "dtype", "yes", "yes", "yes",
        ("against_keras::test_dtype_policies", "dtype_policies", "objects_against_keras::test_policies",
        "objects_against_keras::test_policies_where_we_differ", "parity/tf_keras::test_policies"),
        ("64-bit values", "`get_weights` of a bfloat16 layer", "policies of float8", "`set_floatx`", "a dtype policy written"),
    ),
    Feature(
        "rows are gathered first, then cast", "-", "-", "yes", "the whole table is cast", "yes",
        ("layers::test_mixed_precision_converts_the_rows_only",),
    ),
    Feature(
        "save_own_variables, load_own_variables", "-", "-", "yes", "yes", "yes",
        ("lifecycle::test_own_variables_are_all_or_nothing", "lifecycle::test_own_variables_are_not_those_of_layers_inside",
        "storage_against_keras::test_what_one_library_saves_the_other_loads", "parity::test_random_programs"),
        ("weights that a subclass",),
    ),
    Feature(
        "pickle and deepcopy", "-", "models", "yes", "through a file", "yes, with everything",
        ("lifecycle::test_copies_keep_everything", "layers::test_copies_and_pickles", "parity::test_random_programs"),
        ("a copy or pickle of a layer",),
    ),
    Feature(
        "repr", "-", "-", "-", "name and built", "name and built", ("parity::test_random_programs",), ("`repr` of a variable",),
    ),
    Feature(
        "errors: forgotten super().__init__(), call without inputs, no call()", "-", "-", "yes", "yes", "yes",
        ("against_keras::test_errors_that_say_the_same", "against_keras::test_errors_of_the_same_class",
        "layers::test_forgotten_super_init"),
    ),
    Feature(
        "variables: assign, assign_add, arithmetic, dtype", "K.*", "K.*", "tf.Variable", "yes", "yes",
        ("against_keras::test_variables", "variable"),
        ("a fraction assigned", "64-bit values", "`repr` of a variable"),
    ),
)  # fmt: skip

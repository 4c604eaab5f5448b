"""Initializers, regularizers, constraints."""

from parity.features import Feature, Subject

SUBJECT = Subject(
    "Initializers, regularizers, constraints",
    Feature(
        "initializers: every class and alias",
        "functions",
        "yes",
        "yes, and V2",
        "yes",
        "yes",
        (
            "initializers::test_names",
            "initializers::test_values_are_those_of_keras_bit_for_bit",
            "eras::test_initializers_of_keras_1",
        ),
        ('initializer `"constant"`', "`Orthogonal` in float16"),
    ),
    Feature(
        "seeded values",
        "Theano's, TensorFlow's",
        "the backend's",
        "TensorFlow's",
        "the backend's",
        "those of Keras 3 on NumPy, bit for bit",
        ("initializers::test_golden_values", "initializers::test_values_are_those_of_keras_bit_for_bit"),
        ("random values",),
    ),
    Feature(
        "an initializer's values at a second call",
        "others",
        "others",
        "the same, with a seed",
        "the same",
        "the same",
        ("initializers::test_an_initializer_returns_the_same_values_each_time",),
    ),
    Feature(
        "regularizers: every class and alias",
        "l1l2, activity_*",
        "l1_l2",
        "l1_l2",
        "yes",
        "yes",
        (
            "regularizers::test_penalties_are_those_of_keras",
            "regularizers::test_configs_of_every_era",
            "regularizers::test_no_name_means_a_penalty_of_zero",
        ),
        ('regularizers `"l1l2"`', "`OrthogonalRegularizer` of one row", "the last digits of sums"),
    ),
    Feature(
        "constraints: every class and alias",
        "maxnorm ...",
        "max_norm ...",
        "max_norm ...",
        "yes",
        "yes",
        (
            "constraints::test_results_are_those_of_keras",
            "constraints::test_names",
            "constraints::test_configs_of_every_era",
        ),
        ("the last digits of sums",),
    ),
    Feature(
        "get, serialize, deserialize; classes, functions and arrays of one's own",
        "get",
        "yes",
        "yes",
        "yes",
        "yes",
        (
            "initializers::test_classes_instances_and_functions",
            "initializers::test_an_array_is_its_own_initializer",
            "initializers::test_configs_of_every_era",
            "regularizers::test_a_class_of_the_user_s_own",
            "constraints::test_objects_of_the_user_s_own",
            "parity::test_random_programs",
        ),
    ),
)

"""What is written down, and by whom it is read."""

from parity.features import Feature, Subject

SUBJECT = Subject(
    "Configs",
    Feature(
        "get_config",
        "its own",
        "its own",
        "its own",
        "its own",
        "the era's, equal to it",
        (
            "against_keras::test_configs_are_equal_and_travel_both_ways",
            "eras::test_configs_that_real_kerases_wrote",
            "eras::test_dialects",
            "parity/tf_keras::test_configs",
        ),
    ),
    Feature(
        "from_config",
        "its own",
        "Keras 1's, partly",
        "its own",
        "its own",
        "all dialects in every era",
        (
            "eras::test_every_era_reads_every_dialect",
            "eras::test_configs_that_real_kerases_wrote",
            "against_keras::test_configs_are_equal_and_travel_both_ways",
            "parity/tf_keras::test_configs",
        ),
    ),
    Feature(
        "the serialised form: module, class_name, config, registered_name",
        "-",
        "class_name, config",
        "from 2.12",
        "yes",
        "read",
        ("eras::test_every_era_reads_every_dialect",),
    ),
    Feature(
        "configs of subclasses that write none",
        "-",
        "-",
        "NotImplementedError",
        "from plain arguments",
        "from plain arguments",
        (
            "lifecycle::test_a_layer_without_get_config_has_its_arguments_in_its_config",
            "against_keras::test_configs_of_subclasses",
            "parity::test_random_programs",
        ),
    ),
    Feature(
        "a config that cannot be",
        "TypeError",
        "TypeError",
        "TypeError",
        "TypeError that wraps",
        "TypeError that wraps",
        ("lifecycle::test_what_a_config_cannot_make_is_a_type_error",),
    ),
    Feature(
        "registered classes, custom_objects, CustomObjectScope",
        "custom_objects",
        "custom_objects",
        "yes",
        "yes",
        "yes",
        ("custom_objects",),
    ),
)

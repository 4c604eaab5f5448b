"""The subjects, in the order of the page."""

from parity import (
    around,
    backend,
    configs,
    constructors,
    elsewhere,
    lifecycle,
    lookups,
    objects,
    storage,
    training,
)

SUBJECTS = [
    module.SUBJECT
    for module in (
        lookups,
        constructors,
        lifecycle,
        configs,
        objects,
        storage,
        around,
        training,
        backend,
        elsewhere,
    )
]
FEATURES = [feature for subject in SUBJECTS for feature in subject.features]

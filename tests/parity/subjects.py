"""The subjects, in the order of the page."""

from parity import backend, configs, constructors, elsewhere, lifecycle, lookups, objects, storage

SUBJECTS = [
    module.SUBJECT
    for module in (lookups, constructors, lifecycle, configs, objects, storage, backend, elsewhere)
]
FEATURES = [feature for subject in SUBJECTS for feature in subject.features]

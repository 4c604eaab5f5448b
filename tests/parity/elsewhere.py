"""Rows of the checklist that are no matter of layers, initializers, regularizers and constraints."""

from parity.features import Feature, Subject

SUBJECT = Subject(
    "Beyond layers",
    Feature(
        "files: .h5 of Keras 0 to 3, .keras, .weights.h5",
        "yes",
        "yes",
        "yes",
        "yes",
        "read",
        elsewhere="files",
    ),
    Feature(
        "files written for Keras; sharded weights; TensorFlow's bundles; mapping",
        "-",
        "-",
        "yes",
        "yes",
        "-",
        elsewhere="files",
    ),
    Feature("import aliases; old pickles", "yes", "yes", "yes", "-", "-", elsewhere="compat"),
    Feature(
        "pad_sequences, Tokenizer, hashing_trick, one_hot, to_categorical, skipgrams",
        "yes",
        "yes",
        "yes",
        "-",
        "-",
        elsewhere="text",
    ),
    Feature(
        "StringLookup, TextVectorization, Hashing and the like",
        "-",
        "-",
        "yes",
        "with TensorFlow",
        "-",
        elsewhere="text",
    ),
    Feature(
        "Sequential and functional models, pooling, optimizers, training",
        "yes",
        "yes",
        "yes",
        "yes",
        "-",
        elsewhere="models",
    ),
    Feature("ragged and sparse ids", "-", "-", "yes", "yes", "-", elsewhere="models"),
)

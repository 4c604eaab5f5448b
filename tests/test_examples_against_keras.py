"""examples/ with their imports changed back: real Keras runs the same programs, and learns the same."""

from __future__ import annotations

import importlib.util
import re

import pytest
from test_examples import LEARNED, run, source_of

# What Keras 3 keeps where its users do not look, and what tf_keras has no path for.
CHANGES = {
    "keras": [
        ("fastembed.preprocessing", "keras.src.legacy.preprocessing"),
        ("import fastembed as keras", "import keras"),
        ("fastembed", "keras"),
    ],
    "tf_keras": [("fastembed.layers.embeddings", "tf_keras.layers"), ("fastembed", "tf_keras")],
}


def changed_back(name, library):
    """The program with the imports of a Keras; nothing else changes."""
    lines = []
    for line in source_of(name).splitlines():
        if line.startswith(("from fastembed", "import fastembed")):
            for ours, theirs in CHANGES[library]:
                line = line.replace(ours, theirs)
        assert "fastembed" not in line
        lines.append(line)
    return "\n".join(lines)


def params(out):
    return [digits.replace(",", "") for digits in re.findall(r"Total params: ([\d,]+)", out)]


@pytest.mark.parametrize(
    ("name", "library"),
    [
        *((name, "keras") for name in LEARNED if name != "first_program_keras2"),
        ("first_program_keras2", "tf_keras"),
    ],
)
def test_real_keras_runs_it(name, library, tmp_path):
    if not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed")
    out = run(changed_back(name, library), tmp_path, KERAS_BACKEND="jax")
    LEARNED[name](out)
    if name != "pretrained_vectors":  # Keras 3 counts the optimizer's in a model that has learned
        (tmp_path / "ours").mkdir()
        assert params(run(source_of(name), tmp_path / "ours")) == params(out)

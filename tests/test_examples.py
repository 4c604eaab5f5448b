"""examples/: each program runs as its users would run it, and learns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from real_files import READ, REAL

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(source, folder, *arguments, **environment):
    """What a program prints; ``source`` is run in a folder of its own."""
    program = folder / "program.py"
    program.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program, *arguments],
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8", **environment},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def number(pattern, out):
    [found] = re.findall(pattern, out)
    return float(found)


# --- What each must have learned, by ours and by Keras alike --------------------------------------


def first_program(out):
    assert number(r"Accuracy: ([\d.]+)", out) >= 80


def text_classifier(out):
    assert number(r"Chance: ([\d.]+)", out) < 0.6
    assert number(r"Test accuracy: ([\d.]+)", out) > 0.95
    assert number(r"([\d.]+)  the story was really charming", out) > 0.9
    assert number(r"([\d.]+)  the story was not charming", out) < 0.1


def matrix_factorization(out):
    assert number(r"RMSE of the mean rating: ([\d.]+)", out) > 1
    assert number(r"RMSE: ([\d.]+)", out) < 0.45
    assert re.search(r"Films for user 7:( \d+){5}$", out, re.M)


def neural_collaborative_filtering(out):
    hits = [float(found) for found in re.findall(r"hit ratio at 10: ([\d.]+)", out)]
    assert len(hits) == 8
    assert hits[-1] > 0.6 > 3 * number(r"By chance: ([\d.]+)", out)


def pretrained_vectors(out):
    assert number(r"Accuracy: ([\d.]+)", out) > 0.95
    assert number(r"not trained on: ([\d.]+)", out) > 0.95
    assert "Vectors unchanged: True" in out


def entity_embeddings(out):
    assert number(r"RMSE of the mean: ([\d.]+)", out) > 0.5
    assert number(r"RMSE: ([\d.]+)", out) < 0.15
    assert re.search(r"on: Sun Sat ", out)


def skip_gram(out):
    assert number(r"of the same subject: ([\d.]+)", out) > 0.9
    losses = [float(found) for found in re.findall(r" loss: ([\d.]+)", out)]
    assert losses[-1] < losses[0]


LEARNED = {
    "first_program_keras2": first_program,
    "first_program_keras3": first_program,
    "text_classifier": text_classifier,
    "matrix_factorization": matrix_factorization,
    "neural_collaborative_filtering": neural_collaborative_filtering,
    "pretrained_vectors": pretrained_vectors,
    "entity_embeddings": entity_embeddings,
    "skip_gram": skip_gram,
}


def source_of(name):
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")


# --- Ours -----------------------------------------------------------------------------------------


def test_every_example_is_tested_and_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(LEARNED)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"]({name}.py)" in listed for name in LEARNED)


@pytest.mark.parametrize("name", LEARNED)
def test_an_example(name, tmp_path):
    out = run(source_of(name), tmp_path)
    LEARNED[name](out)
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]  # nothing is left behind


def without_times(out):
    return re.sub(r"\d+m?u?s(/step)?", "", out)


def test_an_example_prints_the_same_each_time(tmp_path):
    first, second = (run(source_of("text_classifier"), tmp_path) for _ in range(2))
    assert without_times(first) == without_times(second)


def test_examples_on_real_files(tmp_path):
    if REAL is None:
        pytest.skip("no real files")
    reviews, characters = (
        REAL / "real_data" / name for name in ("umich-sentiment-train.txt", "glove.6B.50d-char.txt")
    )
    READ.update(path.name for path in (reviews, characters))
    out = run(source_of("text_classifier"), tmp_path, reviews)
    assert number(r"Test accuracy: ([\d.]+)", out) > number(r"Chance: ([\d.]+)", out) + 0.15
    out = run(source_of("pretrained_vectors"), tmp_path, characters)
    assert "vectors of 50 numbers" in out
    assert "Vectors unchanged: True" in out

"""Random programs against real Keras 3, and the table of features. ``make parity`` runs many more."""

from __future__ import annotations

import importlib.util
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

if not importlib.util.find_spec("keras"):
    pytest.skip("real Keras is not installed (it needs NumPy 2)", allow_module_level=True)

from parity import differential, known, page


def test_random_programs():
    """On a finding: it is printed as a program; ``differential.run`` says which seed to try it with."""
    report = differential.run(2000)
    print(differential.told(report, 0))
    assert not report.found, "\n\n".join(map(str, report.found))


def test_a_program_that_differs_is_found_and_made_short():
    lines = [
        "layer = layers.Embedding(4, 2, 'ones', name='x')",
        "layer.name",
        "layer.trainable = True",
        "repr(np)",
    ]
    found, *_ = differential.compare("numpy", [*lines, "layer.losses", "layers.__name__"])
    assert found.ours == "fastembed.layers"
    assert found.theirs.startswith("keras")
    assert differential.shortest("numpy", found).lines == (
        "layer = layers.Embedding(4, 2)",
        "layers.__name__",
    )


@pytest.mark.parametrize("backend", differential.BACKENDS)
def test_every_known_difference_has_an_example(backend):
    """Each on the first backend that shows it, in a process that has this backend."""
    if not all(map(importlib.util.find_spec, differential.NEEDED[backend])):
        pytest.skip(f"{backend} is not installed (make parity does it)")
    entries = [entry for entry in known.KNOWN if entry.backends[0] == backend]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        examples = [entry.example.splitlines() for entry in entries]
        results = list(pool.map(differential.compare, [backend] * len(entries), examples))
    assert [str(found) for found, _, _ in results if found is not None] == []
    assert [entry.name for entry, (_, met, _) in zip(entries, results) if entry.name not in met] == []


def test_every_known_difference_is_in_the_docs():
    rows = page.differences()
    named = {entry.row for entry in known.KNOWN} | {row for each in page.FEATURES for row in each.differs}
    assert [name for name in sorted(named) if not any(row.startswith(name) for row in rows)] == []


def test_every_row_of_the_table_has_its_tests():
    assert page.wrong() == []


def test_the_page_of_the_docs_is_that_of_the_table():
    assert page.PAGE.read_text() == page.page(), "make parity writes it"

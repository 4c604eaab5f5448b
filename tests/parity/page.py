"""The table: what its tests say of each feature, and the page of the docs that it makes."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from parity.features import DIFFERS, ELSEWHERE, FAILS, MISSING, Feature, node
from parity.subjects import FEATURES, SUBJECTS

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "compatibility.md"

_ABOUT = """\
# What each Keras has, and what is here

Written by `make parity`, which runs the tests of each row and random programs against real Keras 3 (on NumPy,
JAX and TensorFlow) and tf_keras. *Differs on purpose* names rows of [differences](differences.md). Where the
Kerases differ among themselves, the era in which a layer is made decides: `fastembed.era`.
"""

_HEAD = "| Feature | Keras 1 | Keras 2 | tf.keras | Keras 3 | Here | | Shown by |\n" + "|---" * 8 + "|"


# --- The tests of a row ---------------------------------------------------------------------------


@functools.lru_cache(None)
def _functions(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])
    kinds = ast.FunctionDef, ast.ClassDef
    return frozenset(each.name for each in tree.body if isinstance(each, kinds))


def exists(test: str) -> bool:
    """Whether there is such a test."""
    file, _, name = node(test).partition("::")
    functions = _functions(ROOT / file)
    return bool(functions) if not name else name.partition("::")[0] in functions


def run_tests() -> dict[str, str]:
    """Run all tests of all rows; what came of each, by its node id."""
    tests = {test for feature in FEATURES for test in feature.tests}
    nodes = sorted(map(node, filter(exists, tests)))
    files = {each for each in nodes if "::" not in each}
    nodes = [each for each in nodes if each in files or each.partition("::")[0] not in files]
    command = ["pytest", f"-c{ROOT / 'pyproject.toml'}", "-q", "-pno:cacheprovider", "-pparity.outcomes"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "outcomes.json")
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PARITY_OUTCOMES": str(path)}
        subprocess.run([sys.executable, "-m", *command, *nodes], cwd=ROOT, env=environment, check=False)
        found: dict[str, str] = json.loads(path.read_text())
        return found


# --- The table ------------------------------------------------------------------------------------


def status(feature: Feature, outcomes: Mapping[str, str] | None) -> str:
    """What is to be said of a row; without outcomes, what is if all its tests pass."""
    if feature.elsewhere or not feature.tests:
        return feature.status
    for test in feature.tests:
        if not exists(test):
            return f"{MISSING}: there is no test {test}"
        if outcomes is not None:
            wanted = node(test)
            came = {
                what
                for name, what in outcomes.items()
                if name == wanted or name.startswith((f"{wanted}[", f"{wanted}::"))
            }
            if "failed" in came:
                return f"{FAILS}: {test}"
            if "passed" not in came:
                return f"{MISSING}: {test} was not run"
    return feature.status


def row(feature: Feature, said: str) -> str:
    """A feature as a row of a table in Markdown."""
    tests = ", ".join(f"`{node(test)[len('tests/') :]}`" for test in feature.tests)
    if said == DIFFERS:
        said = f"[{said}](differences.md): " + "; ".join(feature.differs)
    if said == ELSEWHERE:
        said = f"elsewhere: {feature.elsewhere}"
    eras = feature.keras1, feature.keras2, feature.tf_keras, feature.keras3
    return f"| {' | '.join([feature.name, *eras, feature.ours, said, tests])} |"


def table(outcomes: Mapping[str, str] | None = None) -> str:
    """All subjects."""
    parts = []
    for subject in SUBJECTS:
        rows = "\n".join(row(feature, status(feature, outcomes)) for feature in subject.features)
        parts.append(f"## {subject.title}\n\n{_HEAD}\n{rows}\n")
    return "\n".join(parts)


def page() -> str:
    """The page of the docs: the table when all is well."""
    return f"{_ABOUT}\n{table()}"


def wrong(outcomes: Mapping[str, str] | None = None) -> list[str]:
    """Rows that are missing or fail, each with the reason."""
    said = ((feature.name, status(feature, outcomes)) for feature in FEATURES)
    return [f"{name}: {text}" for name, text in said if text.startswith((MISSING, FAILS))]


def differences() -> list[str]:
    """The first cells of the tables in docs/differences.md."""
    lines = (ROOT / "docs" / "differences.md").read_text().splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")]

"""Random programs, run by fastembed and a Keras: what they show must be the same, line by line.

Both libraries are in one process, so a program takes a millisecond or two. What differs without being on the
list in `known` is made as short as it goes and told.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import importlib
import multiprocessing
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from random import Random
from typing import Any, NamedTuple

from two_libraries import Raised, same, steps

import fastembed
from parity.known import KNOWN, Line
from parity.programs import program, without_chance

# The backends of Keras 3, and tf_keras; what must be installed for each.
NEEDED = {
    "numpy": ("keras",),
    "jax": ("keras", "jax"),
    "tensorflow": ("keras", "tensorflow"),
    "tf_keras": ("tf_keras", "tensorflow"),
}
BACKENDS = tuple(NEEDED)
CHUNK = 50


class Found(NamedTuple):
    """Where the libraries differ, and nothing says that they should."""

    lines: tuple[str, ...]
    ours: Any
    theirs: Any

    @property
    def kind(self) -> tuple[str, ...]:
        """What tells one finding from another: what the last line does, and the kinds of both answers."""
        return _without_arguments(self.lines[-1]), _kind(self.ours), _kind(self.theirs)

    def __str__(self) -> str:
        text = "\n".join(f"    {line}" for line in self.lines)
        answers = f"    ours:   {_short(self.ours)}\n    theirs: {_short(self.theirs)}"
        return f'    program = """\n{text}\n    """\n{answers}'


def _without_arguments(line: str) -> str:
    """``layer.add_weight(shape=(2, 3))`` as ``layer.add_weight()``."""
    shorter = re.sub(r"\([^()]*\)|\[[^][]*\]|\{[^{}]*\}", "", line)
    return shorter if shorter == line else _without_arguments(shorter)


def _kind(answer: Any) -> str:
    if isinstance(answer, Raised):
        return f"{answer.name} {answer.message[:8]}"
    return type(answer).__name__


def _short(answer: Any) -> str:
    return repr(answer).replace("\n", "\n            ")[:600]


class Report(NamedTuple):
    """What a run found, how often each known difference was met, and how many lines were compared."""

    found: list[Found]
    known: Counter[str]
    cases: int
    lines: int


# --- One program ----------------------------------------------------------------------------------


def compare(backend: str, lines: list[str] | tuple[str, ...]) -> tuple[Found | None, Counter[str], int]:
    """Run one program with both: what differs first, what was known to, and how many lines were compared."""
    known: Counter[str] = Counter()
    before: tuple[Line, ...] = ()
    for text, (ours, theirs) in zip(lines, _both(backend, lines)):
        line = Line(text, ours, theirs, before)
        before = (*before, line)
        if same(ours, theirs):
            continue
        entry = next((each for each in KNOWN if backend in each.backends and each.here(line)), None)
        if entry is None:
            return Found(tuple(lines[: len(before)]), ours, theirs), known, len(before)
        known[entry.name] += 1
        if not entry.goes_on:
            break
    return None, known, len(before)


def _both(backend: str, lines: Any) -> list[tuple[Any, Any]]:
    """What both show for each line. One after the other: each counts names and draws seeds from the start."""
    with warnings.catch_warnings(), _era_of(backend):
        warnings.simplefilter("ignore")
        return list(zip(list(steps(fastembed, lines)), list(steps(library_of(backend), lines))))


def shortest(backend: str, found: Found) -> Found:
    """The same finding with as few lines and arguments as go."""
    smaller = True
    while smaller:
        smaller = False
        for lines in _shorter(found.lines):
            try:
                less, _, _ = compare(backend, lines if backend == "numpy" else [*map(without_chance, lines)])
            except SyntaxError:
                continue
            if less is not None and less.kind == found.kind and len(str(less.lines)) < len(str(found.lines)):
                found, smaller = less, True
                break
    return found


def _shorter(lines: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for n in range(1, len(lines) - 1):
        yield (*lines[:n], *lines[n + 1 :])
    for n, line in enumerate(lines):
        calls = sum(isinstance(node, ast.Call) for node in ast.walk(ast.parse(line)))
        for k in range(calls):
            for shorter in _with_less_in_call(line, k):
                yield (*lines[:n], shorter, *lines[n + 1 :])


def _with_less_in_call(line: str, k: int) -> Iterator[str]:
    def call(tree: ast.AST) -> ast.Call:
        return [node for node in ast.walk(tree) if isinstance(node, ast.Call)][k]

    node = call(ast.parse(line))
    for part, size in (("keywords", len(node.keywords)), ("args", len(node.args))):
        if size:
            tree = ast.parse(line)
            del getattr(call(tree), part)[-1]
            yield ast.unparse(tree)
        for n in range(size - 1):
            tree = ast.parse(line)
            del getattr(call(tree), part)[n]
            if part == "keywords":
                yield ast.unparse(tree)


# --- Many programs --------------------------------------------------------------------------------


@functools.lru_cache(None)
def library_of(backend: str) -> Any:
    """The Keras that ``backend`` names, in this process."""
    os.environ.update(
        TF_CPP_MIN_LOG_LEVEL="3",
        TF_ENABLE_ONEDNN_OPTS="0",
        CUDA_VISIBLE_DEVICES="",
        JAX_DISABLE_JIT="1",
        JAX_PLATFORMS="cpu",
    )
    os.environ["KERAS_BACKEND"] = "tensorflow" if backend == "tf_keras" else backend
    return importlib.import_module("tf_keras" if backend == "tf_keras" else "keras")


def _era_of(backend: str) -> Any:
    return fastembed.era("tf.keras") if backend == "tf_keras" else contextlib.nullcontext()


def case(backend: str, seed: int, number: int) -> list[str]:
    """The program of one case."""
    return program(Random(f"{seed} {number}"), backend)


def _chunk(backend: str, seed: int, numbers: range) -> Report:
    findings: dict[tuple[str, ...], Found] = {}
    known: Counter[str] = Counter()
    compared = 0
    for number in numbers:
        if number in numbers[:2]:
            # clear_session collects garbage: 60 ms with all that imports leave, 1 ms without. Some come late.
            gc.freeze()
        found, met, lines = compare(backend, case(backend, seed, number))
        known += met
        compared += lines
        if found is not None and len(found.lines) <= len(findings.get(found.kind, found).lines):
            findings[found.kind] = found
    return Report(list(findings.values()), known, len(numbers), compared)


def run(
    cases: int, seed: int = 0, backend: str = "numpy", workers: int | None = None, most: int = 30
) -> Report:
    """Run ``cases`` programs in ``workers`` processes."""
    workers = workers or len(os.sched_getaffinity(0))
    chunks = [range(n, min(n + CHUNK, cases)) for n in range(0, cases, CHUNK)]
    findings: dict[tuple[str, ...], Found] = {}
    known: Counter[str] = Counter()
    lines = 0
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for report in pool.map(_chunk, *zip(*((backend, seed, chunk) for chunk in chunks))):
            known += report.known
            lines += report.lines
            for found in report.found:
                if len(found.lines) <= len(findings.get(found.kind, found).lines):
                    findings[found.kind] = found
        found = sorted(findings.values(), key=lambda found: len(found.lines))[:most]
        return Report(list(pool.map(shortest, [backend] * len(found), found)), known, cases, lines)


def stale(reports: list[Report]) -> list[str]:
    """Known differences that runs never met: the list may be longer than the truth."""
    return [entry.name for entry in KNOWN if not any(entry.name in report.known for report in reports)]


def told(report: Report, seconds: float) -> str:
    """A report in words."""
    lines = [
        f"{report.cases} programs, {report.lines} lines, {seconds:.0f} s: {len(report.found)} new, "
        f"{sum(report.known.values())} known differences"
    ]
    lines += [f"  {count:6d} x {name}" for name, count in report.known.most_common()]
    lines += [f"\n{n}. new:\n{found}" for n, found in enumerate(report.found, 1)]
    return "\n".join(lines)

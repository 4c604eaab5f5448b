"""What a promise is here, and how it is measured in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from goals import Goal

import fastembed


class NotHere(Exception):
    """This machine or this environment does not let us measure that; says why."""


class Promise(NamedTuple):
    """A promise, and the function that measures it."""

    text: str
    timed: bool  # the verdict depends on time: on a busy machine it says nothing, so no test asserts it
    measure: Callable[[bool], tuple[str, bool]]

    def check(self, short: bool) -> Goal:
        """Measure; whatever goes wrong is an answer too."""
        try:
            return Goal(self.text, *self.measure(short))
        except NotHere as reason:
            return Goal(self.text, str(reason), None)
        except Exception as error:
            return Goal(self.text, f"{type(error).__name__}: {' '.join(str(error).split())}", False)


PROMISES: dict[str, Promise] = {}  # by name: module.function


def promise(text: str, *, timed: bool = False) -> Callable[[Callable[[bool], tuple[str, bool]]], Any]:
    """Enter a function among the promises. It is told whether to be short, and returns what it measured and
    whether the promise holds."""

    def enter(measure: Callable[[bool], tuple[str, bool]]) -> Callable[[bool], tuple[str, bool]]:
        PROMISES[f"{measure.__module__.rpartition('.')[2]}.{measure.__name__}"] = Promise(
            text, timed, measure
        )
        return measure

    return enter


# --- Processes of their own -----------------------------------------------------------------------

TESTS = Path(__file__).resolve().parent.parent
PACKAGE = Path(fastembed.__file__).resolve().parent.parent

# Measured is what holds by default, and with threads of ours only: NumPy's BLAS would start some.
_UNSET = ("FASTEMBED_NUM_THREADS", "FASTEMBED_ISA", "OMP_", "GOMP_")


def environment(changes: Mapping[str, str] | None = None, package: Path = PACKAGE) -> dict[str, str]:
    """The environment of a process that imports the fastembed in ``package``, and these tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_UNSET)}
    path = os.pathsep.join([str(TESTS), str(package)])
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path, **(changes or {})}


def apart(
    function: Callable[..., Any],
    *arguments: Any,
    seconds: float = 60,
    changes: Mapping[str, str] | None = None,
    package: Path = PACKAGE,
) -> Any:
    """What ``function(*arguments)`` returns in a process of its own, which must end well and say nothing.

    Arguments and result pass as JSON. A process that is not done in time is ended with all its children.
    """
    command = [sys.executable, "-m", "stress.apart", f"{function.__module__}:{function.__name__}"]
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer")
        with (
            open(Path(folder, "said"), "w+") as said,
            subprocess.Popen(
                [*command, json.dumps(arguments), str(answer)], cwd=TESTS, env=environment(changes, package),
                stdout=said, stderr=said, start_new_session=True,
            ) as process,
        ):  # fmt: skip
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"{function.__name__} was not done after {seconds} s") from None
            finally:
                _end(process.pid)
            said.seek(0)
            text = said.read()
        if process.returncode or text:
            print(text, file=sys.stderr)
            last = (text.splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"{function.__name__} ended with {process.returncode}: {last}")
        return json.loads(answer.read_text())


def _end(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


# --- Figures --------------------------------------------------------------------------------------


def quantile(values: list[float], q: float) -> float:
    """The value that a part ``q`` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def median(values: list[float]) -> float:
    return quantile(values, 0.5)

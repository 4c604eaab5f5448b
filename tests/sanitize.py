"""What the compiler's own checks say of the compiled core: ``make sanitize``, or ``make sanitize QUICK=1``.

Each build is made anew in a folder of its own under build/, and first has to report faults made on purpose: a
check that stays silent on those would prove nothing. Then it runs what it is for. Prints a table of goal,
measured, holds or falls short; exits with 1 if anything falls short.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from goals import Goal, table

BUILD = Path(__file__).resolve().parent.parent / "build"
LONGEST = 900  # seconds that a run may take

# A report of one of the sanitizers, and what it says.
REPORT = re.compile(r"(?:ERROR: AddressSanitizer|runtime error|WARNING: ThreadSanitizer): (.*)")


class Run(NamedTuple):
    """What Python does on a build, and what is found then: nothing, if it is no fault made on purpose."""

    what: str
    command: list[str]
    found: str | None = None


class Build(NamedTuple):
    """How a build is made, the sanitizer's runtime (to be loaded before Python), and what it runs."""

    name: str
    variables: dict[str, str]
    runtime: str | None
    runs: list[Run]


def suite(*arguments: str) -> list[str]:
    """pytest on an installed package: as the Makefile runs it, where the checkout cannot be imported."""
    return [
        "-m",
        "pytest",
        "-c",
        "../pyproject.toml",
        "--rootdir=..",
        "-p",
        "no:cacheprovider",
        "-q",
        *arguments,
    ]


def faults(call: str) -> list[str]:
    """A call of a function in safety/faults.pyx."""
    return ["-c", f"import faults; faults.{call}"]


def lie(call: str) -> list[str]:
    """A call with a table that says it has one row more than there is: nobody can know better."""
    return [
        "-c",
        "import numpy as np; from fastembed import ops; rows = np.zeros((100, 64), 'f4'); "
        f"more = np.lib.stride_tricks.as_strided(rows, (101, 64), rows.strides); ops.{call}",
    ]


# What runs compiled code of ours in every way it has, and makes no hundreds of processes.
KERNELS = [
    f"../tests/test_{name}.py"
    for name in ("gather", "accumulate", "memory", "guard_pages", "variable", "steps", "ledger", "pooling")
]
FOUR_THREADS = "../tests/safety/four_threads.py"

FAULTS_IN_MEMORY = [
    Run("a row read past the table", lie("gather(more, [100])"), "heap-buffer-overflow"),
    Run("an addition past the table", lie("scatter_add(more, [100], 1.0)"), "heap-buffer-overflow"),
    Run("a number read from an odd address", faults("unaligned(bytes(16))"), "load of misaligned address"),
    Run("a size that overflows", faults("overflow(2**62, 3)"), "signed integer overflow"),
]

QUICK = [
    Build(
        "address-undefined",
        {"FASTEMBED_SANITIZE": "address,undefined"},
        "libasan.so",
        [
            *FAULTS_IN_MEMORY,
            Run("calls at guard pages", suite("../tests/test_guard_pages.py", "-k", "shared")),
            Run(
                "steps of optimizers",
                suite(
                    "../tests/test_steps.py",
                    "../tests/test_ledger.py",
                    "-k",
                    "not beside and not another_thread and not circle and not past_too_long",
                ),
            ),
        ],
    )
]

ALL = [
    QUICK[0]._replace(runs=[*FAULTS_IN_MEMORY, Run("the tests of the kernels", suite(*KERNELS))]),
    Build(
        "thread-serial",
        {"FASTEMBED_SANITIZE": "thread", "FASTEMBED_OPENMP": "0"},
        "libtsan.so",
        [
            Run("two additions to one table at a time", [FOUR_THREADS, "race"], "data race"),
            Run("four Python threads that look up, assign and add", [FOUR_THREADS, "clean"]),
        ],
    ),
    # The team of two is the caller and the leader, both instrumented. A third thread would come from libgomp,
    # which is not: gcc's sanitizer then reports races that are none.
    Build(
        "thread",
        {"FASTEMBED_SANITIZE": "thread"},
        "libtsan.so",
        [
            Run("parts of one job that share an output", faults("shared()"), "data race"),
            Run("the same four threads with the team, in calls of two", [FOUR_THREADS, "clean", "2"]),
        ],
    ),
    Build(
        "debug",
        {"FASTEMBED_DEBUG": "1"},
        None,
        [
            Run("an item read past a memoryview", faults("item(bytes(4), 4)"), "IndexError"),
            Run(
                "the whole suite",
                suite(
                    "--ignore=../tests/fixtures", "--ignore-glob=../*/demo/train.py",
                    "../tests", "--pyargs", "fastembed",
                ),
            ),
        ],
    ),
]  # fmt: skip


def runtime_of(build: Build) -> str | None:
    """The path of the sanitizer's runtime; None where the compiler has none."""
    compiler = os.environ.get("CC", "gcc").split()[0]
    found = subprocess.run([compiler, f"-print-file-name={build.runtime}"], capture_output=True, text=True)
    path = found.stdout.strip()
    return path if Path(path).is_absolute() else None


def make(build: Build) -> Path:
    folder = BUILD / build.name
    shutil.rmtree(folder, ignore_errors=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*install, str(BUILD.parent)], env={**os.environ, **build.variables}, check=True)
    return folder


def measure(build: Build, run: Run, runtime: str | None, folder: Path) -> Goal:
    """Run it on the build that lies in ``folder``."""
    # pytest keeps what a passing test prints to itself, so reports go to files: one for each process.
    reports = folder / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    to_files = f"log_path={reports}/of"
    # Leaks are not looked for (Python does not free everything at its end), SIGSEGV is left to the tests that
    # wait for it, and Python asks malloc for every object, so that the sanitizer knows where each ends.
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "FASTEMBED_EXPECT_OPENMP": build.variables.get("FASTEMBED_OPENMP", "1"),
        "ASAN_OPTIONS": f"detect_leaks=0:handle_segv=0:{to_files}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:{to_files}",
        "TSAN_OPTIONS": to_files,
    }
    if runtime:
        environment |= {"LD_PRELOAD": runtime, "PYTHONMALLOC": "malloc"}
    wanted = f"finds {run.what}, made on purpose" if run.found else f"no report in {run.what}"
    promise = f"{build.name}: {wanted}"
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *run.command],
            cwd=BUILD, env=environment, timeout=LONGEST,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Goal(promise, f"not done in {LONGEST} s", False)
    seconds = time.monotonic() - start
    text = "".join(path.read_text(errors="replace") for path in sorted(reports.iterdir()))
    if "unexpected memory mapping" in text + done.stdout:  # gcc 12's, where addresses are drawn more widely
        return Goal(promise, "the runtime cannot start on this kernel: vm.mmap_rnd_bits=28 helps", None)
    found = REPORT.findall(text + done.stdout)
    if run.found:
        said = any(run.found in line for line in [*found, *done.stdout.splitlines()[-1:]])
        return Goal(promise, f"{'' if said else 'not '}reported: {run.found}", said)
    good = done.returncode == 0 and not found
    if not good:
        print(done.stdout, text, sep="\n", file=sys.stderr)
    ended = (done.stdout.strip().splitlines() or ["nothing said"])[-1].strip("= ")
    measured = f"{len(found)} reports, exit status {done.returncode} ({ended}); {seconds:.0f} s"
    return Goal(promise, measured, good)


def goals_of(build: Build) -> list[Goal]:
    runtime = runtime_of(build) if build.runtime else None
    if build.runtime and runtime is None:
        return [Goal(f"{build.name}: no reports", f"this compiler has no {build.runtime}", None)]
    print(f"== {build.name}", file=sys.stderr, flush=True)
    folder = make(build)
    return [measure(build, run, runtime, folder) for run in build.runs]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "builds", nargs="*", metavar="build", help="default: " + " ".join(b.name for b in ALL)
    )
    parser.add_argument("--quick", action="store_true", help="only calls at guard pages: about a minute")
    arguments = parser.parse_args()
    builds = {build.name: build for build in (QUICK if arguments.quick else ALL)}
    names = arguments.builds or list(builds)
    if unknown := set(names) - set(builds):
        parser.error(f"no such build: {', '.join(sorted(unknown))}")
    BUILD.mkdir(exist_ok=True)
    goals = [goal for name in names for goal in goals_of(builds[name])]
    print(table(goals))
    return any(goal.holds is False for goal in goals)


if __name__ == "__main__":
    sys.exit(main())

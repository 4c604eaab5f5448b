"""What a run found: lines while it runs, RESULTS.md, plots, and the block in README.

``python -m benchmarks.report FILE`` writes them again, from what ``--json`` kept.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import (
    ADDS,
    AGAINST,
    CASES,
    CURVES,
    FURTHER_GOALS,
    GEOMETRIC_MEAN,
    GRADIENTS,
    GROWTH,
    LOOKUPS,
    MEMORY_BOUND,
    MOST_GROWTH,
    PART_OF_LIMIT,
    SCALING,
    STEP_CURVES,
    STEPS,
    Case,
)
from benchmarks.sides import LIMIT, OURS, SIDES, SMALL_GOALS

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
PACKAGES = ("numpy", "torch", "tensorflow", "keras", "jax", "onnxruntime", "onnx")
WAYS = {"alone": "alone", "then sum": "then a sum", "two kept": "two results kept"}

HOW_TO_READ = """\
Written by `python -m benchmarks`. Compare ratios, not times: our process and that of one peer take turns,
and a ratio is of one round, the peer's time by ours, so **above 1 we are faster**. Shown is the median of
the rounds and, in brackets, 10 % to 90 % of them. Our side is the public call, `layer(ids)`; a peer gets
its ids and gives its rows in its own type. float32 tables made from a seed, random ids, four sets of them
in turn, answers checked before they are timed, a result dropped before the next call. Rounds in which another
process took a CPU are repeated, for a while. What falls short, and what limits it: docs/decisions.md."""
COLUMNS = """\
*Best peer* is the one that comes closest to us. *Then a sum*: NumPy adds the output up after each call,
within the time. *Two results kept*: the last two are alive during a call. Each of these columns has a best
peer of its own. *Of the limit*: what memory allows, by our time. The limit is a C loop that reads one word
of each cache line of the same rows in the same memory, plus the output's bytes at the best store bandwidth
(`limit.py`). It reads first and stores then: who does both at once can pass 1. Left out for batches below 1
MB."""
ADDING = """\
Ours is `ops.scatter_add` into a `Variable`. torch's `embedding_dense_backward` (a gradient of the table's
size) and TensorFlow's `unsorted_segment_sum` after `unique` (the rows touched) add to no table: they do
less than the others."""
SPARSE = f"""\
`ops.embedding_gradient`: the rows that were touched, duplicates summed. The goal is in times of
`{AGAINST["gradient"]}`, which makes a gradient of the table's size."""
STEPPING = """\
`Adam` with Keras's defaults; ids and gradients are there before. *step*: `apply_gradients` with a gradient
that names rows as often as they come (`IndexedSlices`; in torch a sparse tensor that is not coalesced). Ours
gives every row the value that dense Keras gives it; torch's `SparseAdam` leaves rows without a gradient as
they are, which is `Adam(lazy=True)` here: *lazy*. torch's dense `Adam` and Keras on JAX are given a dense
gradient, made before. Keras on TensorFlow gets the sparse one and sums duplicates first (it would square each
by itself). *train*: lookup, `backward`, step. So that rows come from memory, calls take turns through 128
sets of 1,000 ids or 16 of 100,000. Checked before: the rows of each side after three steps, within 1e-5 of
what the formulas, lazy or not, give in float64. *Of the limit*: the time of a C loop that reads and writes
one word of each cache line of the rows and of their two moments, each row once, and reads the gradients
(`limit.py`), by our time; in brackets that of the loop."""
STEP_SIZES = """\
Medians of an exact step of ours, and of the other sides beside it, by the rows of the table (x 64). *Growth*:
how many times as long a step takes in 10,000,000 rows as in 1,000,000, both in turns."""


def new_run(command: str, threads: int, note: str) -> dict[str, Any]:
    """What is known before anything is measured."""
    from fastembed import __version__, _rows

    return {
        "command": command,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "threads": threads,
        "note": note,
        "machine": _machine() | {"instruction set of fastembed": _rows.isa},
        "versions": {"fastembed": __version__, "Python": platform.python_version(), **_versions()},
        "missing": {},  # side -> why
        "left out": [],  # what else was not measured, and why
        "cases": {},  # case -> side -> way -> rounds -> [ours, theirs]
        "curves": {},  # curve -> side -> x -> way -> rounds -> [ours, theirs]
        "small": {},  # call -> way -> rounds -> [ours]
        "growth": {},  # curve of steps -> side -> way -> rounds -> [in the small table, in the large one]
        "scaling": {},  # case -> threads, and rounds -> [seconds for each]
        "footprint": None,
    }


def available_memory() -> int:
    """Bytes that can be had without swapping."""
    found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def load_average() -> str:
    """Of the last 1, 5 and 15 minutes: what else the machine did."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def _machine() -> dict[str, str]:
    cpu = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in cpu.split("\n\n")[0].splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields.get("flags", "").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    thp = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "CPU": f"{fields.get('model name', platform.machine())}, family {fields.get('cpu family', '?')} "
        f"model {fields.get('model', '?')}, {os.cpu_count()} CPUs",
        "instruction sets": ", ".join(
            name for name in ("sse4_2", "avx2", "avx512f", "avx512bw") if name in flags
        ),
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": re.match(r"[0-9.]*", platform.release())[0],  # not who built it
        "transparent huge pages": thp.read_text().strip() if thp.exists() else "none",
        "load average at the start": load_average(),
    }


def _versions() -> dict[str, str]:
    owners = importlib.metadata.packages_distributions()
    return {
        name: importlib.metadata.version(owners[name][0]) if name in owners else "not installed"
        for name in PACKAGES
    }


# --- Figures out of rounds ---


def _rounds(run: dict[str, Any], case: Case, side: str, way: str = "alone") -> np.ndarray | None:
    """Seconds of ours and of the other side, a row for each round; None where that was not measured."""
    rounds = run["cases"].get(case.name, {}).get(side, {}).get(way)
    return np.array(rounds) if rounds else None


def _ratio(run: dict[str, Any], case: Case, side: str, way: str = "alone") -> np.ndarray | None:
    """Times as long as ours: the 10 %, 50 % and 90 % quantiles of the ratios of the rounds."""
    rounds = _rounds(run, case, side, way)
    return None if rounds is None else _quantiles(rounds)


def _quantiles(rounds: Any) -> np.ndarray:
    return np.quantile(np.array(rounds)[:, 1] / np.array(rounds)[:, 0], [0.1, 0.5, 0.9])


def _ratios(run: dict[str, Any], case: Case, way: str = "alone") -> dict[str, np.ndarray]:
    """Of all peers, the one that comes closest to ours first."""
    names = [name for name in run["cases"].get(case.name, {}) if SIDES[name].is_peer]
    found = {name: ratio for name in names if (ratio := _ratio(run, case, name, way)) is not None}
    return dict(sorted(found.items(), key=lambda item: item[1][1]))


def _best(run: dict[str, Any], case: Case, way: str = "alone") -> tuple[str, np.ndarray] | None:
    """The peer that comes closest to ours, and its ratio."""
    return next(iter(_ratios(run, case, way).items()), None)


def _against(run: dict[str, Any], case: Case) -> tuple[str, np.ndarray] | None:
    """Whom the goal of a case is about, and its ratio."""
    if case.kind not in AGAINST:
        return _best(run, case)
    ratio = _ratio(run, case, AGAINST[case.kind])
    return None if ratio is None else (AGAINST[case.kind], ratio)


def _ours(run: dict[str, Any], case: Case) -> float:
    """Our median over the rounds with all sides."""
    rounds = [_rounds(run, case, side) for side in run["cases"][case.name]]
    return float(np.median(np.concatenate([r[:, 0] for r in rounds if r is not None])))


def _measured(run: dict[str, Any], cases: list[Case]) -> list[Case]:
    return [case for case in cases if _against(run, case)]


# --- Text ---


def _time(seconds: float) -> str:
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 999.5:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def _times(ratio: float) -> str:
    """A ratio, as exact as it can mean something."""
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:,.0f}"


def _spread(ratio: np.ndarray | None) -> str:
    return "-" if ratio is None else f"{_times(ratio[1])} ({_times(ratio[0])} to {_times(ratio[2])})"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "**falls short**"


def line(run: dict[str, Any], case: Case, side: str) -> str:
    """One side in one case, as it is done."""
    return line_of(run["cases"][case.name][side], case, side)


def line_of(measured: dict[str, Any], case: Case, side: str) -> str:
    """What was measured of one side in one case."""
    if "alone" not in measured:
        return f"{case.name:16} {side:30} failed: {measured.get('failed')}"
    ours, theirs = np.median(measured["alone"], axis=0)
    ratios = "; ".join(f"{way} {_spread(_quantiles(measured[way]))}" for way in WAYS if way in measured)
    return f"{case.name:16} {side:30} {_time(theirs):>8}, ours {_time(ours):>8}; times ours: {ratios}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return "Nothing of this was measured."
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def _lookups(run: dict[str, Any]) -> str:
    rows = []
    for case in _measured(run, LOOKUPS):
        name, ratio = _best(run, case)
        others = [_best(run, case, way) for way in list(WAYS)[1:]]
        limit = _ratio(run, case, LIMIT)
        rows.append(
            [
                case.name,
                case.about,
                _time(_ours(run, case)),
                name,
                _spread(ratio),
                *("-" if other is None else f"{_times(other[1][1])} ({other[0]})" for other in others),
                "-" if limit is None else f"{limit[1]:.2f}",
            ]
        )
    ways = list(WAYS.values())[1:]
    return _table(["case", "table and ids", "ours", "best peer", "times ours", *ways, "of the limit"], rows)


def _accumulations(run: dict[str, Any], cases: list[Case]) -> str:
    rows = []
    for case in _measured(run, cases):
        name, ratio = _against(run, case)
        others = [f"{peer} {_times(r[1])}" for peer, r in _ratios(run, case).items() if peer != name]
        row = [case.name, case.about, _time(_ours(run, case)), name, _spread(ratio), ", ".join(others) or "-"]
        if cases is STEPS:
            limit = _rounds(run, case, LIMIT)
            found = None if limit is None else (_quantiles(limit)[1], float(np.median(limit[:, 1])))
            row.append("-" if found is None else f"{found[0]:.2f} ({_time(found[1])})")
        rows.append(row)
    against = "best peer" if cases is ADDS else "against"
    limit_head = ["of the limit"] if cases is STEPS else []
    return _table(["case", "table and ids", "ours", against, "times ours", "other peers", *limit_head], rows)


def _step_times(run: dict[str, Any], curve: str) -> dict[str, dict[int, float]]:
    """Seconds a step by side and rows; of ours the medians of all rounds."""
    found: dict[str, dict[int, float]] = {OURS: {}}
    ours: dict[int, list[float]] = {}
    for side, points in run["curves"].get(curve, {}).items():
        for rows, case in STEP_CURVES[curve].items():
            if rounds := points.get(case.name, {}).get("alone"):
                found.setdefault(side, {})[rows] = float(np.median([theirs for _, theirs in rounds]))
                ours.setdefault(rows, []).extend(ours for ours, _ in rounds)
    found[OURS] = {rows: float(np.median(times)) for rows, times in sorted(ours.items())}
    return {side: times for side, times in found.items() if times}


def _step_sizes(run: dict[str, Any]) -> str:
    sizes = sorted({rows for points in STEP_CURVES.values() for rows in points})
    rows = []
    for curve, points in STEP_CURVES.items():
        ids = next(iter(points.values())).id_count
        for side, times in _step_times(run, curve).items():
            shown = [_time(times[size]) if size in times else "-" for size in sizes]
            growth = run["growth"].get(curve, {}).get(side, {}).get("alone")
            rows.append([f"{ids:,}", side, *shown, _spread(None if growth is None else _quantiles(growth))])
    return _table(["ids", "", *(f"{size:,} rows" for size in sizes), "growth"], rows)


def _every_peer(run: dict[str, Any]) -> str:
    """Sides as rows: there may be more of them than a page is wide."""
    cases = _measured(run, LOOKUPS)
    ratios = {case.name: _ratios(run, case) for case in cases}
    names = [name for name in SIDES if any(name in found for found in ratios.values())]
    rows = [
        [name, *(_times(found[name][1]) if name in found else "-" for found in ratios.values())]
        for name in names
    ]
    return _table(["", *ratios], rows)


def _latency(run: dict[str, Any]) -> str:
    found: dict[str, dict[str, Any]] = {}  # side -> case -> nanoseconds of ours, or of the peer
    for case in _measured(run, LOOKUPS):
        for side, measured in run["cases"][case.name].items():
            if "latencies" in measured:
                ours, theirs = measured["latencies"]
                found.setdefault(OURS, {}).setdefault(case.name, []).extend(ours)
                found.setdefault(side, {})[case.name] = theirs
    cases = list(found.get(OURS, {}))
    rows = [
        [side, *(" / ".join(_percentiles(times[case])) if case in times else "-" for case in cases)]
        for side, times in found.items()
    ]
    return _table(["p50 / p99", *cases], rows)


def _percentiles(nanoseconds: Any) -> list[str]:
    return [_time(value / 1e9) for value in np.quantile(nanoseconds, [0.5, 0.99])]


def _small(run: dict[str, Any]) -> str:
    rows = []
    for name, measured in run["small"].items():
        if "failed" in measured:
            rows.append([name, measured["failed"], "-", "-"])
        else:
            rows.append(
                [name, _time(float(np.median(measured["alone"]))), *_percentiles(measured["latencies"][0])]
            )
    return _table(["one id, and", "a call", "p50", "p99"], rows)


def _scaling(run: dict[str, Any]) -> str:
    rows, teams = [], []
    for name, measured in run["scaling"].items():
        if "failed" in measured:
            continue
        teams = measured["threads"]
        rounds = np.array(measured["alone"])
        shown = [
            _spread(np.quantile(rounds[:, 0] / rounds[:, k], [0.1, 0.5, 0.9])) for k in range(1, len(teams))
        ]
        rows.append([name, _time(float(np.median(rounds[:, 0]))), *shown])
    return _table(["case", "1 thread", *(f"times faster on {team}" for team in teams[1:])], rows)


def _reaches(ratio: float, goal: float) -> bool:
    """Whether it does, in the two digits that are shown."""
    return bool(round(ratio, 2) >= goal)


def _goals(run: dict[str, Any]) -> str:
    """Each goal, what was measured, and whether that holds."""
    goals: list[tuple[str, str, str, bool]] = []  # about what, goal, measured, holds
    lookups = _measured(run, LOOKUPS)
    for case in _measured(run, LOOKUPS + ADDS + GRADIENTS + STEPS):
        if case.goal:
            name, ratio = _against(run, case)
            whom = f"`{case.name}`, times faster than {AGAINST.get(case.kind, 'the best peer')}"
            found = _spread(ratio) + (f": {name}" if name not in whom else "")
            goals.append((whom, f"{case.goal:g}", found, _reaches(ratio[1], case.goal)))
    for name, peer, goal in FURTHER_GOALS:
        ratio = _ratio(run, CASES[name], peer)
        if ratio is not None:
            what = f"`{name}`, times faster than {peer}"
            goals.append((what, f"{goal:,}", _spread(ratio), _reaches(ratio[1], goal)))
    for curve, points in STEP_CURVES.items():
        growth = run["growth"].get(curve, {}).get(OURS, {}).get("alone")
        if growth is not None:
            ids, ratio = next(iter(points.values())).id_count, _quantiles(growth)
            what = f"a step of {ids:,} ids, times as long in {GROWTH[1]:,} rows as in {GROWTH[0]:,}"
            holds = bool(round(ratio[1], 2) <= MOST_GROWTH)
            goals.append((what, f"at most {MOST_GROWTH}", _spread(ratio), holds))
    best = {case.name: _best(run, case)[1][1] for case in lookups}
    if best:
        mean = float(np.exp(np.mean(np.log(list(best.values())))))
        what = (
            f"geometric mean of these over {'all' if len(best) == len(LOOKUPS) else len(best)} lookup cases"
        )
        goals.append((what, f"{GEOMETRIC_MEAN}", f"{mean:.2f}", mean >= GEOMETRIC_MEAN))
    for way, called in WAYS.items():
        found = {case.name: pair for case in lookups if (pair := _best(run, case, way))}
        if found:
            slower = [f"`{name}` {r[1]:.2f} of {peer}" for name, (peer, r) in found.items() if r[1] < 1]
            last = min(found, key=lambda name: found[name][1][1])
            text = (
                ", ".join(slower) or f"the closest: {_times(found[last][1][1])}, `{last}`, {found[last][0]}"
            )
            goals.append((f"no lookup case slower than any peer, {called}", "1", text, not slower))
    for name in MEMORY_BOUND:
        ratio = _ratio(run, CASES[name], LIMIT)
        if ratio is not None:
            what = f"`{name}`, part of the measured limit"
            goals.append((what, f"{PART_OF_LIMIT}", _spread(ratio), _reaches(ratio[1], PART_OF_LIMIT)))
    for name, measured in run["scaling"].items():
        if 2 in measured.get("threads", []):
            rounds = np.array(measured["alone"])
            ratio = np.quantile(rounds[:, 0] / rounds[:, measured["threads"].index(2)], [0.1, 0.5, 0.9])
            what = f"`{name}`, times faster on two threads than on one"
            goals.append((what, f"{SCALING}", _spread(ratio), _reaches(ratio[1], SCALING)))
    for name, measured in run["small"].items():
        if "alone" in measured:
            seconds, goal = float(np.median(measured["alone"])), SMALL_GOALS[name]
            goals.append((f"one id, {name}", f"at most {_time(goal)}", _time(seconds), seconds <= goal))
    rows = [[what, goal, measured, _verdict(holds)] for what, goal, measured, holds in goals]
    counted = f"{sum(goal[-1] for goal in goals)} of {len(goals)} goals hold."
    return "\n\n".join([_table(["what", "goal", "measured", ""], rows), *([counted] if goals else [])])


def _footprint(run: dict[str, Any]) -> str:
    footprint = run["footprint"]
    if footprint is None:
        return "Not measured in this run."
    rows = [
        [name, found["failed"], "-", "-"]
        if "failed" in found
        else [
            name,
            _time(found["seconds"]),
            f"{found['memory'] / 1e6:.0f} MB",
            f"{found['disk'] / 1e6:.1f} MB",
        ]
        for name, found in footprint["imports"].items()
    ]
    about = (
        "Medians of imports, each in a process of its own. Times and memory include what a library imports "
        "itself (NumPy, and for Keras TensorFlow); the folder does not."
    )
    table = _table(["`import`", "time", "resident memory", "its own folder on disk"], rows)
    wheel = footprint["wheel"]
    size = (
        f"The wheel `{wheel['name']}` has {wheel['bytes'] / 1e6:.2f} MB."
        if wheel
        else "No wheel was given (`--wheel`)."
    )
    return f"{about}\n\n{table}\n\n{size}"


def _absent(run: dict[str, Any]) -> str:
    """What is missing from the tables, and why."""
    absent = [f"- {name}: {why}" for name, why in run["missing"].items()]
    absent += [f"- {what}" for what in run["left out"]]
    failed: dict[tuple[str, str], list[str]] = {}
    for case, sides in run["cases"].items():
        for name, measured in sides.items():
            if "failed" in measured:
                failed.setdefault((name, measured["failed"]), []).append(case)
    absent += [f"- {name} in {', '.join(cases)}: {why}" for (name, why), cases in failed.items()]
    absent += [f"- small calls, {name}: {m['failed']}" for name, m in run["small"].items() if "failed" in m]
    absent += [f"- threads, {name}: {m['failed']}" for name, m in run["scaling"].items() if "failed" in m]
    absent += [
        f"- growth of {name} by {curve}: {m['failed']}"
        for curve, sides in run["growth"].items()
        for name, m in sides.items()
        if "failed" in m
    ]
    for curve, sides in run["curves"].items():
        for name, points in sides.items():
            failures = {m["failed"] for m in points.values() if "failed" in m}
            absent += [f"- {name} in the curve of {curve}: {why}" for why in sorted(failures)]
    return "\n".join(absent) or "Every side was installed and gave right answers in every case."


def _results(run: dict[str, Any], plots: list[str]) -> str:
    facts = [*run["machine"].items(), ("threads", f"{run['threads']} on every side")]
    facts += [("versions", ", ".join(f"{name} {version}" for name, version in run["versions"].items()))]
    facts += [("run", f"{run['date']}, `{run['command']}`, {run['seconds'] / 60:.1f} minutes")]
    facts += [("load average at the end", run["load at the end"])]

    def plot(name: str, about: str) -> list[str]:
        return [f"![{about}]({name})"] if name in plots else []

    parts = [
        "# Results",
        HOW_TO_READ,
        "\n".join(f"- {name}: {value}" for name, value in facts),
        *([run["note"]] if run["note"] else []),
        "## Goals",
        _goals(run),
        "## Lookups",
        COLUMNS,
        _lookups(run),
        *plot("ratios.svg", "The time of each peer in times of fastembed's, by case"),
        "## Every peer: times ours",
        _every_peer(run),
        "## Latency of small calls",
        "Single calls, with some 50 ns for reading the clock.",
        _latency(run),
        "The same of ours, for calls that say more (the first column is the median of many calls in a row):",
        _small(run),
        "## Adding to rows, in place",
        ADDING,
        _accumulations(run, ADDS),
        "## The sparse gradient",
        SPARSE,
        _accumulations(run, GRADIENTS),
        *plot("gradients.svg", "Adding to rows and gradients: the time of each peer in times of fastembed's"),
        "## Steps of Adam",
        STEPPING,
        _accumulations(run, STEPS),
        "### By the size of the table",
        STEP_SIZES,
        _step_sizes(run),
        *plot("steps.svg", "Time of a step against the rows of the table"),
        "## Threads",
        _scaling(run),
        *plot("threads.svg", "Times faster by the number of threads"),
        "## Time against the size of a batch and of a table",
        *(
            plot("curves.svg", "Time of an id against the size of the batch and of the table")
            or ["Not drawn in this run."]
        ),
        "## Imports and sizes",
        _footprint(run),
        "## Not measured",
        _absent(run),
    ]
    return "\n\n".join(parts) + "\n"


def _readme_block(run: dict[str, Any]) -> str:
    """For README: the lookups, beside the best peer of each."""
    rows = []
    for case in _measured(run, LOOKUPS):
        name, ratio = _best(run, case)
        rows.append([case.name, case.about, _time(_ours(run, case)), name, _spread(ratio)])
    versions = ", ".join(
        f"{name} {run['versions'][name]}" for name in PACKAGES if run["versions"][name] != "not installed"
    )
    about = (
        f"{run['machine']['CPU']}, {run['threads']} threads on every side, {versions}; {run['date'][:10]}, "
        f"`{run['command']}`. In brackets 10 % to 90 % of the rounds."
    )
    table = _table(
        ["case", "float32 table, ids", "fastembed", "the best peer", "its time, in times ours"], rows
    )
    about += f" {run['note']}" if run["note"] else ""
    return f"{table}\n\n{about}\n\n![The time of each peer in times of fastembed's](benchmarks/ratios.svg)"


def _put_into_readme(run: dict[str, Any], readme: Path) -> None:
    begin, end = "<!-- benchmarks: written by python -m benchmarks -->", "<!-- benchmarks: end -->"
    before, found, rest = readme.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"{readme} has no lines {begin!r} and {end!r}, between which the figures go")
    readme.write_text(f"{before}{begin}\n\n{_readme_block(run)}\n\n{end}{after}")


def write(run: dict[str, Any], folder: Path | None) -> str:
    """RESULTS.md and the plots into a folder, if there is one; return what to print.

    README has its figures from a whole run into the folder of the benchmarks.
    """
    plots: list[str] = []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        plots = _plots(run, folder)
        (folder / "RESULTS.md").write_text(_results(run, plots))
        if folder.resolve() == HERE and run["footprint"] is not None:
            _put_into_readme(run, README)
    text = _results(run, plots)
    if importlib.util.find_spec("matplotlib") is None:
        text += "\nNo plots: matplotlib is not installed.\n"
    return text


# --- Plots ---

COLORS = {  # by the first letters of a side's name
    OURS: ("fastembed", "#c23b22"),
    "np.": ("NumPy", "#4878a8"),
    "W[": ("NumPy", "#4878a8"),
    "torch": ("torch", "#e08e2b"),
    "tf.": ("TensorFlow", "#5a9e5a"),
    "Keras": ("Keras", "#b5495b"),
    "jax": ("JAX", "#8064a2"),
    "ONNX": ("ONNX Runtime", "#7a6a58"),
}


def _library(side: str) -> tuple[str, str]:
    """Whose side it is, and the colour of that."""
    return next((found for start, found in COLORS.items() if side.startswith(start)), (side, "gray"))


def _plots(run: dict[str, Any], folder: Path) -> list[str]:
    """Draw what was measured; return the names of the files."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "fastembed", "font.size": 9}
    )  # the same file for the same figures
    from matplotlib import pyplot

    figures = {
        "ratios.svg": _draw_ratios(run, LOOKUPS),
        "gradients.svg": _draw_ratios(run, ADDS + GRADIENTS),
        "threads.svg": _draw_threads(run),
        "curves.svg": _draw_curves(run),
        "steps.svg": _draw_steps(run),
    }
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(
                folder / name, metadata={"Date": None}, facecolor="white"
            )  # readable on dark pages
            pyplot.close(figure)
    return [name for name, figure in figures.items() if figure is not None]


def _draw_ratios(run: dict[str, Any], cases: list[Case]) -> Any:
    """A column for each case: every peer's time in times of ours, with a bar to the peer of the goal."""
    from matplotlib import pyplot

    cases = _measured(run, cases)
    if not cases:
        return None
    figure, axes = pyplot.subplots(figsize=(2.5 + 0.6 * len(cases), 4.2), layout="constrained")
    named: set[str] = set()
    for x, case in enumerate(cases):
        _, (low, middle, high) = _against(run, case)
        label = f"{'best peer' if case.kind != 'gradient' else 'dense gradient'} (10 % to 90 % of rounds)"
        first = x == 0 or cases[x - 1].kind != case.kind
        color = "#d5dbe3" if case.kind != "gradient" else "#d3e0d3"
        axes.bar(x, middle - 1, 0.6, bottom=1, color=color, label=label if first else None)
        axes.errorbar(x, middle, [[middle - low], [high - middle]], color="black", capsize=3)
        axes.hlines(case.goal, x - 0.4, x + 0.4, color="#c23b22", label="goal" if x == 0 else None)
        for peer, ratio in _ratios(run, case).items():
            library, color = _library(peer)
            label = None if library in named else library
            named.add(library)
            axes.plot(x, ratio[1], "o", markersize=4, color=color, label=label, zorder=3)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(
        yscale="log",
        ylabel="time of a peer, in times of fastembed's",
        title=f"above 1 fastembed is faster; {run['threads']} threads, {run['date'][:10]}",
    )
    axes.set_xticks(range(len(cases)), [case.name for case in cases], rotation=35, ha="right")
    axes.yaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def _draw_threads(run: dict[str, Any]) -> Any:
    from matplotlib import pyplot

    found = {name: m for name, m in run["scaling"].items() if len(m.get("threads", [])) > 2}
    if not found:
        return None  # one point is no curve; the table has it
    figure, axes = pyplot.subplots(figsize=(4.5, 3.5), layout="constrained")
    for name, measured in found.items():
        rounds, teams = np.array(measured["alone"]), measured["threads"]
        axes.plot(teams, np.median(rounds[:, :1] / rounds, axis=0), "o-", label=name)
    axes.plot(teams, teams, color="gray", linewidth=0.8, label="as many times")
    axes.set(xlabel="threads", ylabel="times faster than on one", xticks=teams)
    axes.legend(frameon=False)
    return figure


def _draw_curves(run: dict[str, Any]) -> Any:
    """Time of an id: what a batch costs is hidden by its size."""
    from matplotlib import pyplot

    curves = {name: sides for name, sides in run["curves"].items() if name in CURVES}
    if not curves:
        return None
    figure, panels = pyplot.subplots(1, len(curves), figsize=(10, 4), layout="constrained", squeeze=False)
    for axes, (name, sides) in zip(panels[0], curves.items()):
        ours: dict[str, list[float]] = {}
        for side, points in sides.items():
            line: dict[str, float] = {}
            for point, measured in points.items():
                if "alone" in measured:
                    rounds = np.array(measured["alone"])
                    line[point] = float(np.median(rounds[:, 1]))
                    ours.setdefault(point, []).extend(rounds[:, 0])
            _draw_line(axes, name, side, line)
        _draw_line(axes, name, OURS, {point: float(np.median(times)) for point, times in ours.items()})
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel="ns an id")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=5, frameon=False)
    return figure


def _draw_steps(run: dict[str, Any]) -> Any:
    from matplotlib import pyplot

    found = {name: times for name in STEP_CURVES if (times := _step_times(run, name))}
    if not found:
        return None
    figure, panels = pyplot.subplots(1, len(found), figsize=(10, 4), layout="constrained", squeeze=False)
    for axes, (name, sides) in zip(panels[0], found.items()):
        for side, times in reversed(sides.items()):
            style = {LIMIT: "o:", "torch Adam": "o--"}.get(side, "o-")
            width = 2 if side == OURS else 1.2
            its = [seconds * 1e3 for seconds in times.values()]
            axes.plot(
                [*times], its, style, markersize=3, linewidth=width, color=_library(side)[1], label=side
            )
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel="ms a step")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=5, frameon=False)
    return figure


def _draw_line(axes: Any, curve: str, side: str, seconds: dict[str, float]) -> None:
    points = {x: case for x, case in CURVES[curve].items() if case.name in seconds}
    axes.plot(
        list(points),
        [seconds[case.name] * 1e9 / case.id_count for case in points.values()],
        "o-",
        markersize=3,
        linewidth=2 if side == OURS else 1.2,
        color=_library(side)[1],
        label=side,
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.report FILE, what `python -m benchmarks --json FILE` wrote")
    print(write(json.loads(Path(sys.argv[1]).read_text()), HERE))

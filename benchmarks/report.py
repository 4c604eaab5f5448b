"""What a run found: lines while it runs, RESULTS.md, and plots.

``python -m benchmarks.report FILE`` writes them again, from what ``--json`` kept.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import (
    ADDS,
    CASES,
    GEOMETRIC_MEAN,
    GRADIENTS,
    LOOKUPS,
    MEMORY_BOUND,
    PART_OF_LIMIT,
    SCALING,
    Case,
)
from benchmarks.sides import LIMIT, ONE_THREAD, OURS, SIDES

PACKAGES = ("numpy", "torch", "tensorflow", "keras", "jax", "onnxruntime", "onnx")
WAYS = {"alone": "alone", "then sum": "then a sum", "two kept": "two results kept"}

HOW_TO_READ = """\
Written by `python -m benchmarks`. Compare ratios, not times: sides take turns in processes of their own, and
a ratio is of one round, the other side's time by ours, so above 1 we are faster. Shown is the median of the
rounds and, in brackets, 10 % to 90 % of them. Our side is the public call. float32 tables made from a seed,
four sets of ids in turn, answers checked before they are timed, a result dropped before the next call.
*Then a sum*: NumPy adds the output up after each call, within the time. *Two results kept*: the last two are
alive during a call. Each of these columns has a best peer of its own.

The *limit* is a C loop that reads one word of each cache line of the same rows, plus the output's bytes at
the best store bandwidth (`limit.py`): at 1 memory allows no more. It is left out for batches below 1 MB."""
ADDING = """\
torch's `embedding_dense_backward` (a gradient of the table's size) and TensorFlow's `unsorted_segment_sum`
after `unique` (the rows touched) add to no table: they do less than the others."""


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
        "cases": {},  # case -> side -> way -> rounds -> [ours, theirs]
    }


def _machine() -> dict[str, str]:
    cpu = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in cpu.split("\n\n")[0].splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields.get("flags", "").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    thp = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "CPU": f"{fields.get('model name', platform.machine())}, family {fields.get('cpu family', '?')} "
        f"model {fields.get('model', '?')}, {os.cpu_count()} cores",
        "instruction sets": ", ".join(
            name for name in ("sse4_2", "avx2", "avx512f", "avx512bw") if name in flags
        ),
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "transparent huge pages": thp.read_text().strip() if thp.exists() else "none",
        "load average at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
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
    return None if rounds is None else np.quantile(rounds[:, 1] / rounds[:, 0], [0.1, 0.5, 0.9])


def _best(run: dict[str, Any], case: Case, way: str = "alone") -> tuple[str, np.ndarray] | None:
    """The peer that comes closest to ours, and its ratio."""
    ratios = {side: _ratio(run, case, side, way) for side in _peers(run, case)}
    found = {side: ratio for side, ratio in ratios.items() if ratio is not None}
    return min(found.items(), key=lambda item: item[1][1]) if found else None


def _peers(run: dict[str, Any], case: Case) -> list[str]:
    return [
        name for name, entry in SIDES.items() if entry.is_peer and name in run["cases"].get(case.name, {})
    ]


def _ours(run: dict[str, Any], case: Case) -> float:
    """Our median over the rounds with all sides."""
    rounds = [_rounds(run, case, side) for side in run["cases"][case.name]]
    return float(np.median(np.concatenate([r[:, 0] for r in rounds if r is not None])))


def _measured(run: dict[str, Any], cases: list[Case]) -> list[Case]:
    return [case for case in cases if _best(run, case)]


# --- Text ---


def _time(seconds: float) -> str:
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 1000 or unit == "ms":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError


def _spread(ratio: np.ndarray | None) -> str:
    return "-" if ratio is None else f"{ratio[1]:.2f} ({ratio[0]:.2f} to {ratio[2]:.2f})"


def _verdict(value: float, goal: float) -> str:
    return "holds" if value >= goal else "**falls short**"


def line(run: dict[str, Any], case: Case, side: str) -> str:
    """One side in one case, as it is done."""
    failure = run["cases"][case.name][side].get("failed")
    rounds = _rounds(run, case, side)
    if failure or rounds is None:
        return f"{case.name:16} {side:30} failed: {failure}"
    ours, theirs = np.median(rounds, axis=0)
    ratios = "; ".join(
        f"{way} {_spread(ratio)}" for way in WAYS if (ratio := _ratio(run, case, side, way)) is not None
    )
    return f"{case.name:16} {side:30} {_time(theirs):>8}, ours {_time(ours):>8}; times ours: {ratios}"


def _table(head: list[str], rows: list[list[str]]) -> str:
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
                f"{case.goal:g}: {_verdict(ratio[1], case.goal)}",
                *("-" if other is None else f"{other[1][1]:.2f} ({other[0]})" for other in others),
                "-" if limit is None else f"{limit[1]:.2f}",
            ]
        )
    head = [
        "case",
        "table and ids",
        "ours",
        "best peer",
        "times ours",
        "goal",
        *list(WAYS.values())[1:],
        "of the limit",
    ]
    return _table(head, rows)


def _accumulations(run: dict[str, Any], cases: list[Case]) -> str:
    rows = []
    for case in _measured(run, cases):
        # The goal of the sparse form is in terms of the dense gradient.
        dense = "torch embedding_dense_backward"
        name, ratio = _best(run, case) if case.kind == "add" else (dense, _ratio(run, case, dense))
        if ratio is None:
            continue
        peers = [(peer, _ratio(run, case, peer)) for peer in _peers(run, case)]
        rows.append(
            [
                case.name,
                case.about,
                _time(_ours(run, case)),
                name,
                _spread(ratio),
                f"{case.goal:g}: {_verdict(ratio[1], case.goal)}",
                ", ".join(f"{peer} {r[1]:.2f}" for peer, r in peers if r is not None and peer != name),
            ]
        )
    against = "best peer" if cases is ADDS else "against"
    return _table(["case", "table and ids", "ours", against, "times ours", "goal", "other peers"], rows)


def _every_peer(run: dict[str, Any]) -> str:
    cases = _measured(run, LOOKUPS)
    names = [name for name in SIDES if any(name in _peers(run, case) for case in cases)]
    rows = []
    for case in cases:
        ratios = [_ratio(run, case, name) for name in names]
        rows.append([case.name, *("-" if ratio is None else f"{ratio[1]:.2f}" for ratio in ratios)])
    return _table(["case", *names], rows)


def _latency(run: dict[str, Any]) -> str:
    rows = []
    for case in _measured(run, LOOKUPS):
        sides = run["cases"][case.name]
        found = {side: sides[side]["latencies"] for side in sides if "latencies" in sides[side]}
        if found:
            ours = np.concatenate([ours for ours, _ in found.values()])
            for name, times in {OURS: ours, **{side: theirs for side, (_, theirs) in found.items()}}.items():
                middle, late = np.quantile(times, [0.5, 0.99]) / 1e9
                rows.append([case.name, name, _time(middle), _time(late)])
    return _table(["case", "side", "p50", "p99"], rows)


def _goals(run: dict[str, Any]) -> str:
    """The goals that are about several cases."""
    rows = []
    lookups = _measured(run, LOOKUPS)
    best = {case.name: _best(run, case)[1][1] for case in lookups}
    if best:
        mean = float(np.exp(np.mean(np.log(list(best.values())))))
        what = f"geometric mean over {len(best)} lookup cases, times faster than the best peer of each"
        rows.append([what, f"{GEOMETRIC_MEAN}", f"{mean:.2f}", _verdict(mean, GEOMETRIC_MEAN)])
        last = min(best, key=lambda name: best[name])
        rows.append(
            [
                "no lookup case slower than any peer",
                "1",
                f"{best[last]:.2f} ({last})",
                _verdict(best[last], 1),
            ]
        )
    for way in ("then sum", "two kept"):
        found = {case.name: _best(run, case, way) for case in lookups}
        ratios = {name: pair[1][1] for name, pair in found.items() if pair}
        if ratios:
            last = min(ratios, key=lambda name: ratios[name])
            what = f"the same, {WAYS[way]}"
            rows.append([what, "1", f"{ratios[last]:.2f} ({last})", _verdict(ratios[last], 1)])
    goals = ((LIMIT, PART_OF_LIMIT, "part of the measured limit"), (ONE_THREAD, SCALING, "one thread to all"))
    for side, goal, what in goals:
        for name in MEMORY_BOUND:
            ratio = _ratio(run, CASES[name], side)
            if ratio is not None:
                rows.append([f"{name}: {what}", f"{goal}", _spread(ratio), _verdict(ratio[1], goal)])
    return _table(["goal", "at least", "measured", ""], rows)


def _absent(run: dict[str, Any]) -> str:
    """Who is missing from the tables, and why."""
    absent = [f"- {name}: {why}" for name, why in run["missing"].items()]
    for case, sides in run["cases"].items():
        absent += [f"- {name} in {case}: {m['failed']}" for name, m in sides.items() if "failed" in m]
    return "\n".join(absent) or "Every side was installed and gave right answers in every case."


def write(run: dict[str, Any], folder: Path | None) -> str:
    """RESULTS.md and the plots into a folder, if there is one; return what to print."""
    facts = [*run["machine"].items(), ("threads", f"{run['threads']} on every side")]
    facts += [("versions", ", ".join(f"{name} {version}" for name, version in run["versions"].items()))]
    facts += [("run", f"{run['date']}, `{run['command']}`, {run['seconds'] / 60:.1f} minutes")]
    parts = [
        "# Results",
        HOW_TO_READ,
        "\n".join(f"- {name}: {value}" for name, value in facts),
        *([run["note"]] if run["note"] else []),
        "## Lookups",
        _lookups(run),
        *(["![Times faster than the best peer](ratios.svg)"] if folder else []),
        "## Goals over several cases",
        _goals(run),
        "## Every peer: times ours",
        _every_peer(run),
        "## Adding to rows, in place",
        ADDING,
        _accumulations(run, ADDS),
        *(["![Adding to rows and gradients](gradients.svg)"] if folder else []),
        "## The sparse gradient",
        _accumulations(run, GRADIENTS),
        "## Latency of small calls",
        "Single calls, with some 50 ns for reading the clock.",
        _latency(run),
        "## Not measured",
        _absent(run),
    ]
    text = "\n\n".join(part for part in parts) + "\n"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "RESULTS.md").write_text(text)
        if importlib.util.find_spec("matplotlib") is None:
            return text + "\nNo plots: matplotlib is not installed."
        _plot(run, LOOKUPS, folder / "ratios.svg")
        _plot(run, ADDS + GRADIENTS, folder / "gradients.svg")
    return text


def _plot(run: dict[str, Any], cases: list[Case], file: Path) -> None:
    """A bar for each case: the best peer's time in times of ours, its spread, the goal, and every peer."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "fastembed"  # the same file for the same figures
    from matplotlib import pyplot

    cases = _measured(run, cases)
    if not cases:
        return
    figure, axes = pyplot.subplots(figsize=(1.5 + 0.75 * len(cases), 4.2), layout="constrained")
    for x, case in enumerate(cases):
        _, (low, middle, high) = _best(run, case)
        axes.bar(x, middle, 0.6, color="#4878a8", label="best peer" if x == 0 else None)
        axes.errorbar(x, middle, [[middle - low], [high - middle]], color="black", capsize=3)
        axes.hlines(case.goal, x - 0.4, x + 0.4, color="#c04040", label="goal" if x == 0 else None)
        others = [_ratio(run, case, name) for name in _peers(run, case)]
        heights = [ratio[1] for ratio in others if ratio is not None]
        axes.plot([x] * len(heights), heights, "_", color="gray", label="each peer" if x == 0 else None)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(
        yscale="log",
        ylabel="time, in times of fastembed's",
        title=f"{run['threads']} threads, {run['date'][:10]}",
    )
    axes.set_xticks(range(len(cases)), [case.name for case in cases], rotation=35, ha="right")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    print(write(json.loads(Path(sys.argv[1]).read_text()), Path(__file__).parent))

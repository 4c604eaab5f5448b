"""The benchmark suite works without peers, and says the truth about what it was given."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastembed

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the suite, which finds the package under test and not the one beside it."""
    folder = tmp_path_factory.mktemp("suite")
    shutil.copytree(
        ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("*.md", "*.svg")
    )
    shutil.copy(ROOT / "README.md", folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


@pytest.fixture
def run(folder):
    """The record of a run in which nothing was measured yet."""
    from benchmarks import report

    return {**report.new_run("python -m benchmarks", 2, "a note"), "seconds": 1.0, "load at the end": "0"}


def suite(folder, *arguments):
    env = {**os.environ, "PYTHONPATH": str(Path(fastembed.__file__).parents[1])}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_a_run_writes_a_report(folder, tmp_path):
    cases = ["one", "typical", "add-6k"]
    sides = ["np.take", "np.add.at", "the limit"]
    out, record = tmp_path / "report", tmp_path / "rounds.json"
    done = suite(
        folder, "--quick", "--case", *cases, "--side", *sides, "--results", str(out), "--json", str(record)
    )
    assert done.returncode == 0, done.stderr
    text = (out / "RESULTS.md").read_text()
    assert "| `one`, times faster than the best peer | 4 |" in text
    assert "| one | 10,000 x 64, 1 id |" in text
    assert "| one id, a list | at most 600 ns |" in text
    assert "failed" not in text
    run = json.loads(record.read_text())
    for case, side in (("one", "np.take"), ("typical", "np.take"), ("add-6k", "np.add.at")):
        assert (np.array(run["cases"][case][side]["alone"]) > 0).all()
    assert len(run["cases"]["one"]["np.take"]["latencies"][0]) > 10
    drawn = importlib.util.find_spec("matplotlib") is not None
    assert (out / "ratios.svg").exists() is drawn
    assert ("No plots" in done.stdout) is not drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "nothing"], "there is no 'nothing'; there are: one, few, "),
        (["--side", "np.tale"], "there is no 'np.tale'; there are: the limit, np.take, "),
        (["--threads", "0"], "--threads must be 1 to "),
        (["--json", "nowhere/rounds.json"], "--json: there is no folder "),
        (["--wheel", "nothing.whl"], "--wheel: there is no file nothing.whl"),
    ],
)
def test_wrong_options_are_explained(folder, arguments, message):
    done = suite(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_what_is_missing_is_said(folder, run):
    from benchmarks.__main__ import QUICK, measure
    from benchmarks.cases import CASES
    from benchmarks.report import write
    from benchmarks.sides import Entry

    peer = Entry("a peer", ["no_such_package"], is_peer=True, smallest=0)
    run["left out"].append("big: does not fit")
    measure(run, [CASES["few"]], [peer], QUICK, [0], extras=False)
    text = write(run, None)
    assert "- a peer: not installed: no_such_package" in text
    assert "- big: does not fit" in text


def test_a_side_that_fails_is_said(folder, run, tmp_path):
    from benchmarks.report import write

    run["cases"] = {case: {"np.take": {"failed": "AssertionError: wrong rows"}} for case in ("one", "few")}
    text = write(run, tmp_path)
    assert "- np.take in one, few: AssertionError: wrong rows" in text
    assert "holds" not in text


@pytest.mark.parametrize(("theirs", "verdict"), [(4.1, "holds"), (3.9, "**falls short**")])
def test_a_goal_is_judged_by_the_best_peer(folder, run, theirs, verdict):
    from benchmarks.report import write

    run["cases"]["one"] = {
        "np.take": {"alone": [[1e-7, 9e-7]] * 3},
        "W[ids]": {"alone": [[1e-7, theirs * 1e-7]] * 3},
    }
    text = write(run, None)
    row = next(row for row in text.splitlines() if row.startswith("| `one`, times faster"))
    assert row.endswith(f"): W[ids] | {verdict} |")


def test_readme_has_a_place_for_the_figures(folder, run):
    from benchmarks import report

    run["cases"]["one"] = {"np.take": {"alone": [[1e-7, 5e-7]] * 3}}
    run["footprint"] = {"imports": {}, "wheel": None}
    before = report.README.read_text()
    for _ in range(2):  # the second time over the first
        report.write(run, report.HERE)
    after = report.README.read_text()
    assert after.count("| one | 10,000 x 64, 1 id | 100 ns | np.take | 5.00 (5.00 to 5.00) |") == 1
    assert before.partition("<!--")[0] == after.partition("<!--")[0]
    assert before.rpartition("-->")[2] == after.rpartition("-->")[2]


@pytest.mark.parametrize("rows", [100, 70_000])  # 70,000: more than the rows that are drawn
def test_wrong_answers_are_refused(folder, rows):
    from benchmarks.cases import Case, check_rows, check_sums, make_ids, make_table, make_updates

    case = Case("small", rows, 5, (3, 40), goal=1)
    table, ids = make_table(case), make_ids(case)[0]
    answer = table[ids]
    check_rows(case, answer, ids)
    answer[2, 39, 4] += 0.5
    with pytest.raises(AssertionError, match="wrong rows"):
        check_rows(case, answer, ids)
    check_rows(case, answer, ids, step=2)  # the wrong row is an odd one
    with pytest.raises(AssertionError, match="float64"):
        check_rows(case, table[ids].astype(float), ids)

    ids, updates = np.array([7, rows - 1] * 60), make_updates(case)
    sums = table.copy()
    np.add.at(sums, ids, updates)
    check_sums(case, sums, ids, updates, onto=1)
    gradient = np.zeros_like(table)
    np.add.at(gradient, ids, updates)
    check_sums(case, gradient, ids, updates, onto=0)
    lost = table.copy()
    lost[ids] += updates  # repeated ids are added once
    with pytest.raises(AssertionError):
        check_sums(case, lost, ids, updates, onto=1)
    sums[8] += 1
    with pytest.raises(AssertionError, match="no id names"):
        check_sums(case, sums, ids, updates, onto=1)


def test_memory_of_an_import_is_its_own(folder):
    from benchmarks import footprint

    found = footprint.measure(None, libraries=("numpy", "no_such_package"), rounds=1)
    assert found["imports"]["no_such_package"] == {"failed": "not installed"}
    assert 10e6 < found["imports"]["numpy"]["memory"] < 200e6
    assert found["wheel"] is None


def test_our_process_stays_and_one_peer_is_alive(folder):
    from benchmarks.__main__ import SideFailed, Workers
    from benchmarks.cases import CASES
    from benchmarks.sides import OURS, SIDES, Entry

    workers = Workers([0])
    try:
        ours = workers.seat(SIDES[OURS], CASES["one"]).worker
        peer = workers.seat(SIDES["np.take"], CASES["one"]).worker
        assert workers.seat(SIDES[OURS], CASES["few"]).worker is ours
        assert workers.seat(SIDES["W[ids]"], CASES["few"]).worker is peer
        with pytest.raises(SideFailed):
            workers.seat(Entry("unknown", ["another"], is_peer=True, smallest=0), CASES["one"])
        assert set(workers.alive) == {OURS, "another"}
        assert not peer.process.is_alive()
    finally:
        workers.close()

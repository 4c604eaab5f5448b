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


@pytest.mark.parametrize("is_lazy", [False, True])
def test_wrong_steps_are_refused(folder, is_lazy):
    from benchmarks.cases import ADAM, CHECKED_STEPS, Case, check_steps, make_ids, make_table, make_updates

    case = Case("small", 300, 5, (40,), 0, "step")
    batches, updates = make_ids(case)[:CHECKED_STEPS], make_updates(case)

    def after_steps(lazy):
        table = fastembed.Variable(make_table(case))
        optimizer = fastembed.optimizers.Adam(**ADAM, lazy=lazy)
        for ids in batches:
            optimizer.apply([fastembed.ops.IndexedSlices(updates, ids, table.shape)], [table])
        return table.numpy()

    table = after_steps(is_lazy)
    check_steps(case, table.__getitem__, batches, updates, is_lazy)
    for wrong in (after_steps(not is_lazy), make_table(case)):
        with pytest.raises(AssertionError):
            check_steps(case, wrong.__getitem__, batches, updates, is_lazy)
    table[(batches[0][0] + 1) % case.rows, 4] += 3e-5
    with pytest.raises(AssertionError):
        check_steps(case, table.__getitem__, batches, updates, is_lazy)


def test_the_limit_of_steps_leaves_tables_as_they_are(folder):
    from benchmarks import limit
    from benchmarks.cases import Case
    from benchmarks.sides import Data

    for case in (Case("small", 512, 64, (40,), 0, "step"), Case("small", 512, 64, (40,), 0, "dense step")):
        tables = limit._tables(case.table_bytes)
        for table in tables:
            table[:] = np.arange(case.table_bytes) % 251
        side = limit.limit_of_steps(Data(case, 1, {}, lambda _: None))
        side.call(side.ids(np.array([3, 511, 3])))
        assert all((table == np.arange(case.table_bytes) % 251).all() for table in tables)


@pytest.mark.parametrize(("large", "verdict"), [(1.3e-4, "holds"), (1.32e-4, "**falls short**")])
def test_steps_are_judged_by_their_peer_and_by_the_size_of_the_table(folder, run, large, verdict):
    from benchmarks.cases import STEP_CURVES
    from benchmarks.report import write
    from benchmarks.sides import OURS

    run["cases"]["step-1k"] = {
        "torch SparseAdam": {"alone": [[1e-4, 9e-4]] * 3},
        "torch Adam": {"alone": [[1e-4, 9e-2]] * 3},
    }
    run["cases"]["lazy-1k"] = {"torch SparseAdam": {"alone": [[1e-4, 2e-4]] * 3}}
    curve, points = next(iter(STEP_CURVES.items()))
    run["growth"][curve] = {OURS: {"alone": [[1e-4, large]] * 3}}
    run["curves"][curve] = {"torch SparseAdam": {points[1_000_000].name: {"alone": [[1e-4, 1e-3]] * 3}}}
    rows = write(run, None).splitlines()
    expected = {
        "| `step-1k`, times faster than torch SparseAdam | 8 |": "holds",
        "| `step-1k`, times faster than torch Adam | 1,000 |": "**falls short**",
        "| a step of 1,000 ids, times as long in 10,000,000 rows as in 1,000,000 | at most 1.3 |": verdict,
    }
    for start, end in expected.items():
        row = next(row for row in rows if row.startswith(start))
        assert row.endswith(f" | {end} |")
    assert not any(row.startswith("| `lazy-1k`, times") for row in rows)  # it has no goal
    assert any(row.startswith("| 1,000 | torch SparseAdam | - | - | 1 ms | - | - |") for row in rows)


def test_sides_that_do_not_fit_together_run_one_after_the_other(folder, run, monkeypatch):
    from benchmarks import __main__ as driver
    from benchmarks.cases import Case
    from benchmarks.sides import OURS, SIDES, Entry, Side

    case = Case("step of 10 in 50 rows", 50, 4, (10,), 0, "step")
    alive = []

    class Workers:
        def seat(self, entry, case):
            alive.append(entry.name)
            assert len(alive) == 1
            return Seat(entry.name)

        def close(self):
            alive.clear()

    class Seat:
        def __init__(self, name):
            self.seconds = 1.0 if name == OURS else 3.0

        def ask(self, *_):
            return self.seconds

    peer = Entry("torch SparseAdam", [], True, 0, {"step": lambda data: Side(len)})
    monkeypatch.setattr(driver, "STEP_CURVES", {"rows": {50: case}})
    available = case.copies * case.table_bytes
    driver._follow_step_curves(Workers(), run, [peer], available, driver.QUICK)
    assert run["curves"]["rows"][peer.name][case.name]["alone"][0] == [1.0, 3.0]
    assert "one side ran after the other" in run["left out"][0]
    assert SIDES[OURS].takes(case)


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

"""``python -m parity``: the table of features with its tests, and random programs on all backends.

With ``--cases``, random programs alone: ``python -m parity --cases 1000 --seed 3 --backend numpy``.
"""

from __future__ import annotations

import argparse
import sys
import time

from parity import differential, page

# How many programs take less than two minutes on two cores.
CASES = {"numpy": 20_000, "tensorflow": 5_000, "tf_keras": 5_000, "jax": 500}


def main() -> int:
    """1 if a feature is missing, a test fails, or a program finds what nobody knew."""
    parser = argparse.ArgumentParser(prog="parity", description=__doc__)
    parser.add_argument("--cases", type=int, help="run so many random programs, and nothing else")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=differential.BACKENDS, default="numpy")
    parser.add_argument("--write", action="store_true", help=f"write {page.PAGE.name} if all is well")
    parser.add_argument("--page", action="store_true", help=f"write {page.PAGE.name}, and run nothing")
    parsed = parser.parse_args()
    if parsed.page:
        page.PAGE.write_text(page.page())
        return int(bool(page.wrong()))
    if parsed.cases is not None:
        return int(bool(_programs(parsed.backend, parsed.cases, parsed.seed).found))
    outcomes = page.run_tests()
    reports = {backend: _programs(backend, cases, parsed.seed) for backend, cases in CASES.items()}
    print(page.table(outcomes))
    wrong = page.wrong(outcomes)
    wrong += [
        f"random programs, {backend}: {len(it.found)} new" for backend, it in reports.items() if it.found
    ]
    for name in differential.stale(list(reports.values())):
        print(f"Known, and not met by these programs: {name}")
    print("\n".join(wrong) or "Nothing is missing, nothing fails.")
    if parsed.write and not wrong:
        page.PAGE.write_text(page.page())
        print(f"written: {page.PAGE}")
    return int(bool(wrong))


def _programs(backend: str, cases: int, seed: int) -> differential.Report:
    start = time.monotonic()
    report = differential.run(cases, seed, backend)
    print(f"Random programs, {backend}: {differential.told(report, time.monotonic() - start)}\n", flush=True)
    return report


if __name__ == "__main__":
    sys.exit(main())

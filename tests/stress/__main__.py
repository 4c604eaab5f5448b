"""``python -m stress [--short] [NAME ...]``: measure the promises and print the table."""

from __future__ import annotations

import argparse
import sys
import time

from goals import HEAD, line, summary

from stress.promises import PROMISES
from stress.subjects import SUBJECTS


def main() -> int:
    """Measure what is asked for; 1 if anything falls short."""
    parser = argparse.ArgumentParser(prog="stress", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form that the tests run")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(SUBJECTS)}, or SUBJECT.PROMISE"
    )
    parsed = parser.parse_args()
    for name in {*parsed.names} - {*PROMISES, *SUBJECTS}:
        parser.error(f"there is no {name!r}; there are {', '.join([*SUBJECTS, *PROMISES])}")
    goals = []
    print(HEAD)
    for name, promise in PROMISES.items():
        if not parsed.names or {name, name.partition(".")[0]} & {*parsed.names}:
            start = time.monotonic()
            goals.append(promise.check(parsed.short))
            print(f"{line(goals[-1])} {name}, {time.monotonic() - start:.1f} s", flush=True)
    print(f"\n{summary(goals)}")
    return int(any(goal.holds is False for goal in goals))


if __name__ == "__main__":
    sys.exit(main())

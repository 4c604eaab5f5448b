"""What ``import fastembed`` adds to ``import numpy``: ``python -m benchmarks.import_time``.

Each round is a process of its own; the first ones write bytecode and warm the disk cache.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

ROUNDS = 31
CODE = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import fastembed
print(middle - start, time.perf_counter() - middle)
"""


def main() -> None:
    rounds = []
    for _ in range(ROUNDS + 3):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
        rounds.append([float(seconds) * 1e3 for seconds in done.stdout.split()])
    numpy_ms, ours_ms = np.median(rounds[3:], axis=0)
    low, high = np.quantile([ours for _, ours in rounds[3:]], [0.1, 0.9])
    print(
        f"import numpy {numpy_ms:.1f} ms, import fastembed {ours_ms:.1f} ms more "
        f"(10 % to 90 %: {low:.1f} to {high:.1f} ms; {ROUNDS} processes)"
    )


if __name__ == "__main__":
    main()

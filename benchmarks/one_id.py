"""One id through a layer, beside np.take and plain indexing: ``python -m benchmarks.one_id``.

Sides take turns within one process, the answer is checked before it is timed, and medians are of
rounds, so that a busy machine slows all sides alike. Quote the ratio, not the nanoseconds.
"""

from __future__ import annotations

import timeit

import numpy as np

import fastembed
from fastembed import _rows

ROUNDS, CALLS = 61, 20_000


def main() -> None:
    rng = np.random.default_rng(0)
    table = rng.random((10_000, 64), np.float32)
    layer = fastembed.layers.Embedding(10_000, 64, weights=[table])
    ids = np.array([7])
    sides = {
        "layer(ids)": lambda: layer(ids),
        "np.take(W, ids, axis=0)": lambda: np.take(table, ids, axis=0),
        "W[ids]": lambda: table[ids],
    }
    for side in sides.values():
        np.testing.assert_array_equal(side(), table[[7]], strict=True)
    rounds = [
        {name: timeit.timeit(side, number=CALLS) / CALLS for name, side in sides.items()}
        for _ in range(ROUNDS)
    ]
    seconds = {name: np.array([times[name] for times in rounds]) for name in sides}
    ours = seconds["layer(ids)"]
    print(
        f"one id, table 10,000 x 64 float32, numpy {np.__version__}, {_rows.isa}, medians of {ROUNDS} rounds"
    )
    print(f"{'':24}    time  times ours (10 % to 90 % of rounds)")
    for name, times in seconds.items():
        low, middle, high = np.quantile(times / ours, [0.1, 0.5, 0.9])
        print(f"{name:24}  {np.median(times) * 1e9:3.0f} ns  {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()

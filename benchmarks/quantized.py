"""``python -m benchmarks.quantized``: rows of int8 and int4 codes beside float32 rows and the peers at hand.

Smaller than the suite beside it: all sides live in one process and take turns, call by call. Printed are the
median time of a call, and what a call must move at least: the stored rows and their scales out of the table,
in whole cache lines, and the float32 rows into the output.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

import fastembed
from fastembed import Variable, quantizers
from fastembed.tables import DenseTable, Int4Table, Int8Table

CASES = [(20_000, 128, 1), (20_000, 128, 3_200), (1_000_000, 64, 3_200), (1_000_000, 64, 200_000)]
BLOCK = 32
LINE = 64  # bytes of a cache line

Sides = dict[str, tuple[Callable[[], Any], int]]  # a call, and the bytes of table that it reads an id


def lines(*parts: int) -> int:
    """Bytes of the cache lines that so many bytes lie in, each part on its own."""
    return sum(-(-part // LINE) * LINE for part in parts)


def _owned(array: NDArray[Any]) -> NDArray[Any]:
    """In memory as a variable's: aligned, in huge pages."""
    return Variable(array).value


def ours(table: NDArray[np.float32], ids: NDArray[np.int64]) -> Sides:
    columns = table.shape[1]
    blocks = -(-columns // BLOCK)
    dense = DenseTable(_owned(table))
    int8 = Int8Table(*map(_owned, quantizers.quantize_int8(table)))
    packed, scale = map(_owned, quantizers.quantize_int4(table))
    int4 = Int4Table(packed, columns, scale)
    packed, scale, zero, _ = map(_owned, quantizers.quantize_int4(table, BLOCK))
    grouped = Int4Table(packed, columns, scale, zero, BLOCK)
    return {
        "float32": (lambda: dense.gather(ids), lines(4 * columns)),
        "int8": (lambda: int8.gather(ids), lines(columns, 4)),
        "int4": (lambda: int4.gather(ids), lines(columns // 2, 4)),
        f"int4/{BLOCK}": (lambda: grouped.gather(ids), lines(columns // 2, 4 * blocks, blocks)),
    }


def numpys(table: NDArray[np.float32], ids: NDArray[np.int64]) -> Sides:
    codes, scale = map(_owned, quantizers.quantize_int8(table))
    return {"NumPy codes[ids] / scale[ids]": (lambda: codes[ids] / scale[ids][:, None], 0)}


def keras(table: NDArray[np.float32], ids: NDArray[np.int64]) -> Sides:
    os.environ["KERAS_BACKEND"] = "numpy"
    from keras import layers

    def layer(mode: str) -> Any:
        made = layers.Embedding(*table.shape, weights=table)
        made.quantize(mode)
        return made

    int8, int4 = layer("int8"), layer("int4")
    return {"Keras int8": (lambda: int8(ids), 0), "Keras int4/128": (lambda: int4(ids), 0)}


def torch(table: NDArray[np.float32], ids: NDArray[np.int64]) -> Sides:
    import torch

    torch.set_num_threads(fastembed.get_num_threads())
    known, weights = torch.from_numpy(ids), torch.from_numpy(table)
    offsets = torch.arange(len(ids))
    byte = torch.ops.quantized.embedding_bag_byte_prepack(weights)
    half = torch.ops.quantized.embedding_bag_4bit_prepack(weights)
    bag8 = torch.ops.quantized.embedding_bag_byte_rowwise_offsets
    bag4 = torch.ops.quantized.embedding_bag_4bit_rowwise_offsets
    return {
        "torch float32": (lambda: torch.nn.functional.embedding(known, weights), 0),
        "torch byte bags of one": (lambda: bag8(byte, known, offsets), 0),
        "torch 4-bit bags of one": (lambda: bag4(half, known, offsets), 0),
    }


def in_turns(sides: Sides, seconds: float) -> dict[str, float]:
    """The median of each side's seconds a call."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    counts = {}
    for name, (call, _) in sides.items():
        call()
        start = time.perf_counter()
        call()
        counts[name] = max(1, int(0.002 / (time.perf_counter() - start)))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["float32"]) < 5:
        for name, (call, _) in sides.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            times[name].append((time.perf_counter() - start) / counts[name])
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="for each case")
    options = parser.parse_args()
    fastembed.set_num_threads(options.threads)
    for rows, columns, count in CASES:
        rng = np.random.default_rng(0)
        table = rng.uniform(-0.05, 0.05, (rows, columns)).astype(np.float32)
        ids = rng.integers(0, rows, count)
        sides: Sides = {}
        for peer in (ours, numpys, keras, torch):
            try:
                sides.update(peer(table, ids))
            except ImportError as error:
                print(f"without {peer.__name__}: {error}")
        print(f"\n{rows:,} x {columns}, {count:,} ids, {options.threads} thread(s)")
        for name, median in in_turns(sides, options.seconds).items():
            read = sides[name][1] * count
            moved = f"  reads {read:>12,} B, writes {4 * columns * count:>12,} B" if read else ""
            print(f"  {name:32} {median * 1e6:12.2f} us{moved}")


if __name__ == "__main__":
    main()

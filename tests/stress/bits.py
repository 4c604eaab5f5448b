"""The same bits, however many threads work, however the work is cut, and whatever was built."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

import fastembed
from fastembed import Variable, _rows, _team, ops
from fastembed.dtypes import widen_bfloat16
from stress.promises import PACKAGE, TESTS, NotHere, apart, promise

OTHER_BUILD = "FASTEMBED_OTHER_BUILD"  # names a folder with the package built without OpenMP
DTYPES = ["uint8", "float16", "bfloat16", "float32", "float64"]


def _cases(short: bool) -> int:
    return 60 if short else 1500


@promise(
    "lookups and additions give NumPy's bits on 1, 2, 3 and 8 threads, cut in any way, by any instruction set"
)
def instruction_sets(short: bool) -> tuple[str, bool]:
    checksums = {}
    for wanted in ("baseline", "avx2", "avx512"):
        isa, *found = apart(differences, _cases(short), changes={"FASTEMBED_ISA": wanted}, seconds=120)
        checksums[isa] = found
    different = sum(wrong for wrong, _ in checksums.values())
    equal = len({checksum for _, checksum in checksums.values()}) == 1
    return (
        f"{different} different in {_cases(short)} cases on each of {', '.join(checksums)}; their checksums "
        f"are {'equal' if equal else 'different'}",
        different == 0 and equal,
    )


@promise("a build without OpenMP gives the same bits")
def other_build(short: bool) -> tuple[str, bool]:
    if OTHER_BUILD not in os.environ:
        raise NotHere(f"{OTHER_BUILD} does not name one; make stress builds it")
    folder = Path(TESTS.parent, os.environ[OTHER_BUILD])
    here, there = (apart(differences, _cases(short), package=package) for package in (PACKAGE, folder))
    if apart(has_openmp, package=folder):
        raise RuntimeError(f"the package in {folder} is built with OpenMP")
    return f"checksums {'equal' if here == there else 'different'}, {there[1]} different in it", here == there


def has_openmp() -> bool:
    return _team.openmp


def differences(n: int) -> tuple[str, int, int]:
    """The instruction set, how many of ``n`` cases differ from NumPy's bits, and a checksum of all."""
    wrong = checksum = 0
    for seed in range(n):
        rng = np.random.default_rng(seed)
        rows, dim = int(rng.integers(1, 60)), int(rng.choice([*range(1, 70), 128, 300]))
        # The large ones are cut into more parts than there are threads.
        count = 6000 if seed % 20 == 0 else rng.choice([0, 1, 7, 255, 256, 257, 1500])
        ids = rng.integers(0, rows, count)
        table, expected = _any_bits(rng, (rows, dim), str(rng.choice(DTYPES)), ids)
        values = _sums_well(rng, (len(ids), dim), str(rng.choice(["float32", "float64"])))
        total = _sums_well(rng, (rows, dim), values.dtype.name)
        summed = total.copy()
        np.add.at(summed, ids, values)
        gradient = np.zeros_like(total)
        np.add.at(gradient, ids, values)
        for serial_bytes in (0, 1 << 40):
            _team.set_serial_bytes(serial_bytes)
            for allowed in (1, 2, 3, 8):
                with fastembed.num_threads(allowed):
                    got = ops.gather(table, ids)
                    added = total.copy()
                    ops.scatter_add(added, ids, values)
                    slices = ops.embedding_gradient(ids, values, rows)
                results = [array.tobytes() for array in (got, added, slices.to_dense())]
                wrong += results != [array.tobytes() for array in (expected, summed, gradient)]
        checksum = zlib.crc32(b"".join([*results, slices.values.tobytes()]), checksum)
    return _rows.isa, wrong, checksum


def _any_bits(rng, shape: tuple[int, int], dtype: str, ids: np.ndarray):
    """A table and its rows at ``ids``: NaNs with payloads, signalling ones, -0.0, denormals, infinities."""
    width = {"uint8": 1, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}[dtype]
    words = rng.integers(0, 256, (*shape, width), np.uint8).view(f"u{width}")[..., 0]
    if dtype == "bfloat16":
        return Variable.from_bfloat16_words(words, name="table"), widen_bfloat16(words)[ids]
    return words.view(dtype), words[ids]


def _sums_well(rng, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Numbers whose sum depends on the order; -0.0, denormals and infinities of one sign among them.

    No NaN: which of two NaNs an addition returns is the compiler's choice.
    """
    special = np.array([-0.0, np.finfo(dtype).smallest_subnormal, np.inf], dtype)
    values = (rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 7, shape)).astype(dtype)
    return np.where(rng.random(shape) < 0.05, rng.choice(special, shape), values).astype(dtype)

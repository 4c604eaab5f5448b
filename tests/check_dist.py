"""What the sdist and the wheel hold: ``python tests/check_dist.py dist``."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

MOST = 1_500_000  # bytes of a wheel


def main(folder: str) -> int:
    [sdist], [wheel] = Path(folder).glob("*.tar.gz"), Path(folder).glob("*.whl")
    wrong = []

    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for needed in (
        "src/_rows.pyx",
        "src/fastembed/_team.pxd",
        "src/rows_avx2.c",
        "tests/test_gather.py",
        "LICENSE",
    ):
        if needed not in held:
            wrong.append(f"{sdist.name} lacks {needed}")

    held = set(zipfile.ZipFile(wheel).namelist())
    for needed in ("py.typed", "_rows.pyi", "demo/topics.h5", "demo/topics.keras", "demo/vocabulary.txt"):
        if f"fastembed/{needed}" not in held:
            wrong.append(f"{wheel.name} lacks fastembed/{needed}")
    for module in Path("fastembed").rglob("*.py"):  # of a package that pyproject.toml does not list
        if module.as_posix() not in held:
            wrong.append(f"{wheel.name} lacks {module}")
    for name in held:
        if Path(name).suffix in {".pyx", ".pxd", ".c", ".h"} or name.startswith(
            ("tests/", "src/", "benchmarks/", "faults")
        ):
            wrong.append(f"{wheel.name} holds {name}")
    if wheel.stat().st_size > MOST:
        wrong.append(f"{wheel.name} has {wheel.stat().st_size:,} bytes, more than {MOST:,}")

    print(
        "\n".join(wrong)
        or f"{wheel.name}: {wheel.stat().st_size:,} bytes, {len(held)} files; as it should be"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

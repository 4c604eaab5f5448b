"""Files by strangers, which the project does not contain: $FASTEMBED_REAL_FILES, else ../shared."""

from __future__ import annotations

import os
from pathlib import Path

REAL: Path | None = Path(os.environ.get("FASTEMBED_REAL_FILES") or Path(__file__).parents[2] / "shared")
if not (REAL / "real_models" / "manifest.json").exists():
    REAL = None

# What was read, for the line that the test summary ends with.
READ: set[Path] = set()


def real_file(name: str) -> Path:
    """Where the real model of this name is; counted as read."""
    path = REAL / "real_models" / name
    READ.add(path)
    return path

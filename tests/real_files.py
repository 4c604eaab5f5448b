"""Models that strangers trained, with their expected content. Tests read them in place.

They are looked for in ``$FASTEMBED_REAL_FILES``, else beside the repository; without, tests skip.
`READ` collects what was read, for the summary at the end of the run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

_FOLDER = Path(os.environ.get("FASTEMBED_REAL_FILES") or Path(__file__).parents[2] / "shared")

#: The folder that holds the real files, or None.
REAL = _FOLDER if (_FOLDER / "real_models" / "manifest.json").is_file() else None
#: Names of the real files that this run has read.
READ: set[str] = set()


def real_models() -> list[dict]:
    """What manifest.json tells of each HDF5 model; empty where there are no real files."""
    return json.loads((REAL / "real_models" / "manifest.json").read_text()) if REAL else []


def real_file(name: str) -> Path:
    """The real model called ``name`` in the manifest; it counts as read."""
    assert REAL is not None
    READ.add(name)
    return REAL / "real_models" / name

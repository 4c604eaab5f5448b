"""Run one function of a subject: ``python -m stress.apart MODULE:FUNCTION ARGUMENTS ANSWER``."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path


def main(name: str, arguments: str, answer: str) -> None:
    """Call it with the arguments in JSON, and write its result, in JSON, to the file ``answer``."""
    # Python 3.12 and later warn of what we promise: forks while other threads are there.
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    module, _, function = name.partition(":")
    result = getattr(importlib.import_module(module), function)(*json.loads(arguments))
    Path(answer).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])

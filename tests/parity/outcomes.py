"""A plugin for pytest that writes what came of each test to the file that ``PARITY_OUTCOMES`` names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_outcomes: dict[str, str] = {}  # by node id


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome


def pytest_unconfigure() -> None:
    Path(os.environ["PARITY_OUTCOMES"]).write_text(json.dumps(_outcomes))

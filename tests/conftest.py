"""What all tests share."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from fastembed import _team

# No deadline: these machines are shared, and a time limit on one example tests the neighbours.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture(scope="module")
def parallel():
    """Every call is parallel, however small: without this, small tables never leave the calling thread."""
    before = _team.get_serial_bytes()
    _team.set_serial_bytes(0)
    yield
    _team.set_serial_bytes(before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Where ml_dtypes is not installed, a test that asks for arrays of bfloat16 is skipped."""
    try:
        return (yield)
    except Exception as error:
        if importlib.util.find_spec("ml_dtypes") is None and "need the package ml_dtypes" in str(error):
            pytest.skip("needs ml_dtypes")
        raise


def pytest_terminal_summary(terminalreporter):
    from real_files import READ, REAL

    if READ:
        terminalreporter.write_line(f"real files read: {len(READ)} (from {REAL})")
    else:
        terminalreporter.write_line(
            "real files read: none (CONTRIBUTING.md says where $FASTEMBED_REAL_FILES should point)"
        )

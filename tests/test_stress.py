"""The promises about threads in real processes, each in its short form: ``make stress`` is the full one."""

from __future__ import annotations

import pytest
from stress.promises import PROMISES, NotHere
from stress.subjects import SUBJECTS


@pytest.mark.parametrize("name", PROMISES)
def test_holds(name):
    """What depends on time only has to be measured, with right answers: the machine may be busy."""
    try:
        measured, holds = PROMISES[name].measure(True)
    except NotHere as reason:
        pytest.skip(str(reason))
    print(measured)
    assert holds or PROMISES[name].timed, measured


def test_every_subject_has_promises():
    assert {name.partition(".")[0] for name in PROMISES} == {*SUBJECTS}

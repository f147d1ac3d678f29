"""SIGKILL at a sample of the lines of every acknowledging handler and of the delivery step; `trueup crash` takes them all."""

import pytest

from trueup.entrypoints import crash_subjects

POINTS = 12


@pytest.mark.parametrize("handler", crash_subjects.HANDLERS)
def test_a_handler_may_die_at_any_line(database_url, tmp_path, handler):
    found = crash_subjects.enumerated(handler, database_url, tmp_path, most=POINTS)
    assert found.problems == []
    assert found.points >= POINTS - 2
    assert found.lines > found.places > 200
    assert len(found.died_at) >= POINTS - 4, "each kill but a few is at another line of code"

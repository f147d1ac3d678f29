"""The hub is killed ten times while the firm's three months happen, and nobody can tell from the end."""

import random
import subprocess

import pytest
from firms import without_time

pytestmark = pytest.mark.scenario

KILLS = 10
SHORTEST_SECONDS = 3.0
SHARE = 1.3
"""How much of a tenth of an undisturbed run the hub lives at most before it is killed, starting not counted."""


ATTEMPTS = 3
"""A machine that is idle all of a sudden lets the hub end before its tenth kill: then once more, with shorter lives."""


@pytest.fixture(scope="module")
def killed(firm_in, undisturbed):
    """A firm whose hub was killed at ten random moments, and how its last start ended."""
    early = []
    for attempt in range(ATTEMPTS):
        firm = firm_in(f"killed-{attempt}", "--seed", "1")
        try:
            moments, over = kill_ten_times(firm, undisturbed.seconds * 0.6**attempt, random.Random(20261031))
            if not over:
                return firm.run(), moments
            early.append(moments)
        finally:
            firm.close()
    return pytest.fail(f"the hub ended by itself each time, after {early}")


def kill_ten_times(firm, whole_seconds, dice):
    """Let the hub live and kill it, ten times; say when it was, and whether it ended by itself before that."""
    moments = []
    for _ in range(KILLS):
        running = firm.start()
        try:
            seconds = SHORTEST_SECONDS + dice.uniform(0, SHARE * whole_seconds / KILLS)
            code = running.process.wait(seconds)
        except subprocess.TimeoutExpired:
            running.kill()
            moments.append((round(seconds, 1), last_words(running)))
        else:
            assert code == 0, f"exit code {code} after {moments}: {running.told.read_text()[-3000:]}"
            return moments, True
    return moments, False


def last_words(running):
    """Return what the hub had told last."""
    lines = running.told.read_text("utf-8").splitlines()
    return lines[-1].strip() if lines else "nothing yet"


def test_ten_killed_hubs_and_an_undisturbed_one_end_with_the_same_figures(killed, undisturbed):
    finished, moments = killed
    assert len(moments) == KILLS
    assert without_time(finished.figures) == without_time(undisturbed.figures), moments
    assert finished.code == undisturbed.code == 0


def test_no_kill_made_anything_happen_twice(killed):
    finished, moments = killed
    assert finished.figures["duplicate_effects"] == 0, (finished.figures["duplicates"], moments)


def test_the_kills_were_spread_over_the_months(killed):
    _, moments = killed
    assert len({words for _, words in moments}) >= KILLS // 2, moments

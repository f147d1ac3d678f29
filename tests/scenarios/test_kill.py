"""The hub is killed ten times while the firm's three months happen, and nobody can tell from the end."""

import random
import time

import pytest
from firms import RUN_SECONDS, without_time

pytestmark = pytest.mark.scenario

KILLS = 10
LAST = 0.9
"""The last kill comes when at most so much of all is done."""
MOMENT_SECONDS = 1.0
"""A hub that has come far enough lives on for at most so long: it is killed anywhere in what it does, not as we look."""


@pytest.fixture(scope="module")
def killed(firm_in, undisturbed):
    """A firm whose hub was killed at ten moments spread over all it had to do, and how its last start ended."""
    dice = random.Random(20261031)
    firm = firm_in("killed", "--seed", "1")
    moments = []
    try:
        for number in range(KILLS):
            enough = int(undisturbed.done * LAST * (number + dice.random()) / KILLS)
            running = firm.start()
            ends = time.monotonic() + RUN_SECONDS
            while firm.done() < enough:
                assert running.process.poll() is None, f"the hub ended by itself: {running.told.read_text()[-3000:]}"
                assert time.monotonic() < ends, f"{firm.done()} of {enough} are done, and no more comes"
                time.sleep(0.1)
            time.sleep(dice.uniform(0, MOMENT_SECONDS))
            assert running.process.poll() is None, f"the hub ended by itself: {running.told.read_text()[-3000:]}"
            running.kill()
            moments.append((enough, firm.done(), last_words(running)))
        return firm.run(), moments
    finally:
        firm.close()


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


def test_the_kills_were_spread_over_all_there_was_to_do(killed, undisturbed):
    _, moments = killed
    assert all(enough <= done <= undisturbed.done for enough, done, _ in moments), moments
    assert len({done for _, done, _ in moments}) >= KILLS // 2, moments

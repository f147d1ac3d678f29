"""Simulated runs over the real database: Hypothesis chooses what happens, a seed chooses when and which call meets what."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from trueup.sandbox.rigs import scripts
from trueup.sandbox.rigs.world import BOOKS, FAULTS, INTENSITY, WEBHOOKS, Knobs

SEEDS = range(12)
FOUND = (20155, 20431, 20446, 20533, 20663, 21839)
"""Each broke a promise once: an older value shielded by a command that sent nothing; a refusal taken for the end of what
had met silence before; a cool-down ended by a clock that had jumped."""
acts = st.lists(st.tuples(st.sampled_from(sorted(scripts.ACTS)), st.integers(0, 999)), min_size=1, max_size=20)
knobs = st.builds(
    Knobs,
    faults=st.fixed_dictionaries(
        {name: st.sampled_from(sorted(INTENSITY)) for name in (*FAULTS, *WEBHOOKS, "commit unknown")}
    ),
    books=st.lists(st.sampled_from(sorted(BOOKS)), min_size=1, max_size=2, unique=True).map(
        lambda names: tuple(sorted(names))
    ),
    crashes=st.sampled_from((0.0, 0.002, 0.01)),
)


@pytest.mark.parametrize("seed", [*SEEDS, *FOUND])
def test_a_seed_keeps_every_promise(stage, seed):
    script, rough = scripts.draw(seed)
    assert stage.run(script, seed, rough).violations == []


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
@given(script=acts, seed=st.integers(0, 2**32 - 1), rough=knobs)
def test_whatever_happens_the_promises_hold(stage, script, seed, rough):
    assert stage.run(script, seed, rough).violations == []


def test_one_seed_is_one_run_exactly(stage):
    script, rough = scripts.draw(5)
    assert stage.run(script, 5, rough).log == stage.run(script, 5, rough).log


def test_the_clock_of_the_database_is_the_rigs(stage):
    script, rough = [("wait", 5), ("outage", 1), ("wait", 7)], Knobs(books=("books_a",))
    outcome = stage.run(script, 1, rough)
    assert outcome.violations == []
    with stage.database.transaction() as tx:
        told = tx.row("select now() as now, min(created_at) as first from systems group by 1")
    assert str(told["first"]).startswith("2026-08-03 08:00:00")
    assert told["now"] > told["first"]


def test_a_history_is_shortened_to_what_breaks_it():
    script = [("worker", 1), ("wait", 2), ("account", 3), ("merge", 4), ("wait", 5)]
    short = scripts.shortest(script, lambda one: ("account", 3) in one and ("merge", 4) in one)
    assert short == [("account", 3), ("merge", 4)]

"""Status machines: which status may follow which."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.model import lifecycle
from trueup.model.kinds import KINDS
from trueup.model.lifecycle import Lifecycle

KIND_NAMES = st.sampled_from(sorted(KINDS))


def test_the_examples_in_the_manual_hold():
    assert doctest.testmod(lifecycle).failed == 0


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_step_leads_to_a_status_there_is(kind):
    steps = KINDS[kind].lifecycle.steps
    assert {after for following in steps.values() for after in following} <= set(steps)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_status_can_be_reached_from_the_first(kind):
    machine = KINDS[kind].lifecycle
    first = next(iter(machine.steps))
    assert {first} | machine.reach[first] == machine.statuses


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_object_begins_in_a_status_there_is(kind):
    assert KINDS[kind].model_fields["status"].default in KINDS[kind].lifecycle.statuses


@given(st.data())
def test_steps_may_be_skipped_but_not_invented(data):
    machine = KINDS[data.draw(KIND_NAMES)].lifecycle
    walk = [data.draw(st.sampled_from(sorted(machine.statuses)))]
    for _ in range(data.draw(st.integers(0, 6))):
        following = machine.steps[walk[-1]]
        if not following:
            break
        walk.append(data.draw(st.sampled_from(following)))
    for early in range(len(walk)):
        for late in range(early, len(walk)):
            assert machine.allows(walk[early], walk[late])


@given(st.data())
def test_what_is_allowed_can_be_walked(data):
    machine = KINDS[data.draw(KIND_NAMES)].lifecycle
    before, after = (data.draw(st.sampled_from(sorted(machine.statuses))) for _ in range(2))
    reached, todo = set(), [before]
    while todo:
        for following in machine.steps[todo.pop()]:
            if following not in reached:
                reached.add(following)
                todo.append(following)
    assert machine.allows(before, after) == (after in reached or before == after)


def test_a_new_object_may_come_in_any_status_there_is_and_no_other():
    machine = Lifecycle({"draft": ("signed",), "signed": ()})
    assert machine.allows(None, "signed")
    assert not machine.allows(None, "lost")
    assert not machine.allows("draft", "lost")


@pytest.mark.parametrize(
    ("kind", "before", "after", "may"),
    [
        ("contract", "draft", "signed", True),
        ("contract", "draft", "closed", True),
        ("contract", "signed", "draft", False),
        ("contract", "lost", "signed", True),
        ("contract", "terminated", "active", False),
        ("project", "requested", "active", True),
        ("project", "archived", "active", False),
        ("project", "financially_closed", "active", False),
        ("invoice", "draft", "paid", True),
        ("invoice", "posted", "draft", False),
        ("invoice", "paid", "posted", True),
        ("invoice", "voided", "posted", False),
        ("time_entry", "approved", "submitted", True),
        ("time_entry", "posted", "submitted", False),
        ("resource", "terminated", "active", True),
        ("customer", "merged", "active", False),
        ("payment", "reversed", "applied", False),
        ("journal_reference", "posted", "expected", False),
    ],
)
def test_the_business_says_so(kind, before, after, may):
    assert KINDS[kind].lifecycle.allows(before, after) is may

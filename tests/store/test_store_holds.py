"""What may not be billed yet, once for each reason, with its end."""

from dataclasses import replace

import psycopg
import pytest

from trueup.store import holds
from trueup.store.holds import Hold

HOLD = Hold(
    "RATE_MISSING", "tim_1", "time_entry", "Finance operations", "no rate for Analyst", "a rate line", 120_000, "EUR", 90,
    "prj_1", "con_1", "DE01", "2026-08",
)  # fmt: skip


def place(database, *items):
    with database.transaction() as tx:
        return holds.place(tx, items)


def open_holds(database, **filters):
    with database.transaction() as tx:
        return holds.open_of(tx, **filters)


def test_a_hold_says_why_and_what_ends_it(empty):
    (new,) = place(empty, HOLD)
    assert (new["code"], new["scope"], new["amount"], new["currency"]) == ("RATE_MISSING", "tim_1", 120_000, "EUR")
    (found,) = open_holds(empty)
    for name in ("code", "scope", "scope_kind", "owner", "reason", "releases_when", "amount", "currency", "minutes"):
        assert found[name] == getattr(HOLD, name)
    assert (found["project"], found["contract"], found["legal_entity"], found["period"]) == (
        "prj_1",
        "con_1",
        "DE01",
        "2026-08",
    )


def test_the_same_reason_is_open_once_with_todays_amount(empty):
    place(empty, HOLD)
    assert place(empty, replace(HOLD, amount=60_000, minutes=45, reason="less")) == []
    (found,) = open_holds(empty)
    assert (found["amount"], found["minutes"], found["reason"]) == (60_000, 45, "less")


def test_one_thing_may_be_held_for_two_reasons(empty):
    assert len(place(empty, HOLD, replace(HOLD, code="APPROVAL_MISSING"), HOLD)) == 2
    assert place(empty) == []


def test_a_hold_ends_once_and_may_come_again(empty):
    (new,) = place(empty, HOLD)
    with empty.transaction() as tx:
        (ended,) = holds.release(tx, [new["number"], 10**9], "Finance", "the rate came")
        assert holds.release(tx, [new["number"]], "Finance", "again") == []
    assert (ended["released_by"], ended["release_reason"]) == ("Finance", "the rate came")
    assert ended["released_at"]
    assert open_holds(empty) == []
    (again,) = place(empty, HOLD)
    assert again["number"] != new["number"]
    with empty.transaction() as tx:
        assert holds.one(tx, new["number"])["released_at"]
        assert holds.one(tx, again["number"])["released_at"] is None
        assert holds.one(tx, 10**9) is None


def test_an_end_needs_its_reason(empty):
    place(empty, HOLD)
    with pytest.raises(psycopg.errors.CheckViolation), empty.transaction() as tx:
        tx.run("update holds set released_at = now()")


def test_open_holds_are_found_by_scope_project_and_code_largest_first(empty):
    place(
        empty,
        HOLD,
        replace(HOLD, scope="tim_2", project="prj_2", amount=900_000),
        replace(HOLD, scope="mil_1", code="SIGNOFF_MISSING", project=None, amount=500_000),
    )
    assert [one["scope"] for one in open_holds(empty)] == ["tim_2", "mil_1", "tim_1"]
    assert [one["scope"] for one in open_holds(empty, scopes=["tim_1", "x"])] == ["tim_1"]
    assert [one["scope"] for one in open_holds(empty, projects=["prj_2"])] == ["tim_2"]
    assert [one["scope"] for one in open_holds(empty, codes=["SIGNOFF_MISSING"])] == ["mil_1"]
    assert open_holds(empty, scopes=[]) == []
    assert open_holds(empty, projects=["prj_1"], codes=["SIGNOFF_MISSING"]) == []

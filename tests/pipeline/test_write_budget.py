"""F10, the vampire loop: what we write comes back changed and makes us write again. It ends, and says how it went round."""

from decimal import Decimal

import pytest
from two_way import TASK, TwoWays, one_more_quarter, quarter_up

from trueup.pipeline.deliver import deliver
from trueup.pipeline.ingest import author
from trueup.processes import plans
from trueup.reporting import issues as desk
from trueup.store import circles, deliveries, issues
from trueup.store.plans import Choice


@pytest.fixture
def ways(empty):
    made = TwoWays(empty)
    yield made
    made.close()


def sent(ways, system):
    return [float(hours) for hours in ways.client(system).calls]


def vampire(ways):
    """The PSA owns the hours, and adds a quarter to whatever we save."""
    ways.client("works").keeps = one_more_quarter
    ways.says("works", "2.00")
    return ways.run()


def test_f10_a_lossy_target_that_only_rounds_comes_to_rest_at_what_its_owner_keeps(ways):
    ways.client("works").keeps = quarter_up
    ways.says("works", "2.10")
    assert ways.run() <= 4
    assert ways.hours == Decimal("2.25") == ways.client("works").hours == ways.client("books").hours
    assert ways.parked() == []


def test_f10_a_lossy_target_that_owns_nothing_is_written_once_and_its_word_is_a_proposal(ways):
    ways.client("books").keeps = one_more_quarter
    ways.says("works", "2.00")
    ways.run()
    assert ways.client("books").calls == [Decimal("2.00")]
    assert ways.hours == Decimal("2.00")
    (loser,) = ways.rows("select field, system, value, state from proposals")
    assert (loser["field"], loser["system"], loser["value"], loser["state"]) == (
        "planned_hours",
        "books",
        "2.25",
        "open",
    )


def test_f10_a_vampire_is_stopped_and_the_cycle_is_printed_with_the_values_that_went_round(ways):
    vampire(ways)
    assert sent(ways, "works") == [2.0, 2.25, 2.5], "three turns, and no fourth write"
    (parked,) = [one for one in ways.parked() if one["system"] == "works"]
    assert parked["attempts"] == 0
    assert "planned_hours: 2.00 → 2.25 → 2.50 → 2.75" in parked["cause"]
    assert "task -> works.Story; works.Story -> task" in parked["cause"]
    assert ways.hours == Decimal("2.75"), "what the owner said is held all the same"
    with ways.house.database.transaction() as tx:
        (stop,) = circles.listed(tx)
        assert [turn["brought"] for turn in stop["turns"]] == ["2.25", "2.50", "2.75"]
        (issue,) = [one for one in issues.listed(tx) if one["code"] == "write_budget"]
        (record,) = desk.cause(tx, issue["issue"], ways.house.remedies())["failing"]
    assert record["said"] == parked["cause"]


def test_f10_other_records_and_other_systems_go_on(ways):
    vampire(ways)
    assert ways.client("books").hours == Decimal("2.75"), "it does not answer, and is told what the owner says"


def test_f10_what_is_stopped_stays_stopped_whoever_asks_next(ways):
    vampire(ways)
    written = ways.written()
    ways.client("works").hours = Decimal("9.00")
    ways.run()
    ways.hears("works")
    ways.run()
    assert ways.client("works").calls[-1] == Decimal("2.50")
    assert ways.written() == written + 1, "books alone was told"
    newest = ways.parked()[-1]
    assert "until a person releases it" in newest["cause"]


def test_f10_a_person_releases_it_by_a_plan_and_turns_are_counted_anew(ways):
    vampire(ways)
    ways.client("works").keeps = lambda hours: hours  # somebody has taken the rule away
    (issue,) = ways.rows("select distinct issue from failures where code = 'write_budget' and ended_at is null")
    with ways.house.database.transaction() as tx:
        remedy = desk.cause(tx, issue["issue"], ways.house.remedies())["remedy"]
    assert (remedy["id"], remedy["ways"][0]["then"]) == ("write_budget", "retry")
    plan = plans.propose(ways.house, "retry", Choice(issue=issue["issue"]), by="Li", reason="the rule is off")
    plans.start(ways.house, plan["number"], by="Li")
    while plans.next_batch(ways.house, str(plan["number"])):
        pass
    ways.run()
    assert ways.client("works").hours == ways.hours == Decimal("2.75")
    assert ways.parked() == []
    assert ways.rows("select count(*) as n from write_stops where released_at is null") == [{"n": 0}]
    ways.client("works").keeps = one_more_quarter  # and it comes back
    ways.says("works", "3.00")
    ways.run()
    assert sent(ways, "works")[-3:] == [3.0, 3.25, 3.5]
    assert len(ways.rows("select from write_stops")) == 2


def test_f10_a_release_into_the_same_circle_is_stopped_again_after_as_many_turns(ways):
    vampire(ways)
    with ways.house.database.transaction() as tx:
        deliveries.resend(tx, [one["key"] for one in ways.parked()])
    ways.run()
    assert len(ways.client("works").calls) == 6
    assert len(ways.rows("select from write_stops")) == 2


def test_f10_a_record_its_owner_edits_many_times_is_not_stopped(ways):
    for hours in range(1, 31):
        ways.says("works", hours)
        ways.run()
    assert ways.parked() == []
    assert ways.hours == ways.client("works").hours == ways.client("books").hours == 30


def test_f10_nor_when_the_other_system_spoils_every_value(ways):
    ways.client("books").keeps = one_more_quarter
    for hours in range(1, 31):
        ways.says("works", hours)
        ways.run()
    assert ways.parked() == []
    assert len(ways.client("books").calls) == 30


def carried(ways, times):
    """Another product carries what the books made of our word to the owner, who says it as a word of its own."""
    ways.client("books").keeps = one_more_quarter
    ways.says("works", "2.00")
    for _ in range(times):
        ways.deliver()
        ways.hears("works", "books")
        ways.client("works").hours = ways.client("books").hours
        ways.hears("works")


def test_f10_a_circle_through_another_product_is_seen_by_what_the_written_system_had_said_before(ways):
    carried(ways, 10)
    assert sent(ways, "books") == [2.0, 2.25, 2.5]
    (stopped,) = [one for one in ways.parked() if one["system"] == "books" and one["cause"].startswith("3 writes")] or [
        None
    ]
    assert stopped is not None
    assert "books says it back; works.Story -> task" in stopped["cause"]
    assert "2.00 → 2.25 → 2.50 → 2.75" in stopped["cause"]


def test_f10_a_persons_word_in_between_ends_the_circle(ways):
    ways.client("works").keeps = one_more_quarter
    ways.says("works", "2.00")
    for _ in range(2):
        ways.deliver()
        ways.hears("works")
    with ways.house.database.transaction() as tx:
        author(tx, ways.house, [("task", TASK, {"planned_hours": "8.00"})], role="psa", actor="Li")
    ways.deliver()
    assert ways.client("works").calls[-1] == 8
    ways.hears("works")
    ways.deliver()
    assert ways.parked() == []


@pytest.mark.parametrize("order", [("works", "books"), ("books", "works")])
@pytest.mark.parametrize("together", [True, False])
def test_f10_both_sides_edited_in_the_same_second_converge_at_the_owners_value_and_the_loser_is_recorded(
    ways, order, together
):
    said = {"works": "5.00", "books": "7.00"}
    ways.says("works", "1.00")
    ways.run()
    at, ways.count = "2026-08-03T10:30:00Z", 1800  # what they say after this is later
    for system in order:
        ways.client(system).hours = Decimal(said[system])
        ways.keep(system, {"id": "S1", "at": at, "hours": said[system]})
        if not together:
            ways.take_in()
    ways.take_in()
    proposals = ways.rows("select field, system, value, state from proposals")
    assert proposals == [{"field": "planned_hours", "system": "books", "value": "7.00", "state": "open"}]
    ways.run()
    assert ways.hours == ways.client("works").hours == ways.client("books").hours == Decimal("5.00")
    decided = ways.rows("select system, decisions from changes where gid = %s", TASK)
    assert any(
        row["system"] == "books" and {"verdict": "propose"}.items() <= decision.items()
        for row in decided
        for decision in row["decisions"]
    ), "the loser's word stays in the history"
    (settled,) = ways.rows("select state from proposals")
    assert settled["state"] == "settled", "it has come round"


def test_f10_two_workers_stop_a_record_once(ways):
    vampire(ways)
    assert deliver(ways.house, ways.house.systems["works"], "two", ways.pool) == 0
    assert len(ways.rows("select from write_stops")) == 1

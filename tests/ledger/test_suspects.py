"""Work that is reported twice, or against a labour rule that blocks, waits for a person; over the real database."""

from dataclasses import replace

import pytest

from trueup.billing.run import plan_run
from trueup.kernel.periods import last_day
from trueup.processes.facts import run_facts
from trueup.store import holds


def rules(office, **said):
    office.house.firm = replace(office.house.firm, **said)


def planned(office, entity="DE01", month="2026-08"):
    """Plan a month and touch nothing."""
    with office.database.transaction() as tx:
        return plan_run(run_facts(tx, office.house.firm, entity, last_day(month), month), last_day(month), month)


def waiting(office, month="2026-08"):
    names = {gid: key for key, gid in office.entries.items()}
    return {(names[row["scope"]], row["code"]) for row in planned(office, month=month).holds.to_dicts()}


def from_another_system(office, key):
    with office.database.transaction() as tx:
        tx.run("update crosswalk set system = 'clocks' where gid = %s", (office.entries[key],))


def release(office, code, by="Ida"):
    with office.database.transaction() as tx:
        numbers = [hold["number"] for hold in holds.open_of(tx, codes=[code])]
        assert numbers
        holds.release(tx, numbers, by, "looked at it")


def billed(office):
    with office.database.transaction() as tx:
        return tx.value("select coalesce(sum(minutes), 0)::int from charges where bucket = 'on_draft'")


def test_the_same_work_from_a_second_system_waits_and_the_first_is_billed_once(office):
    office.deal("X01", 100)
    office.work("e1", 60, notes="Workshop")
    office.work("e2", 60, notes=" workshop ")
    assert waiting(office) == set()
    from_another_system(office, "e2")
    assert waiting(office) == {("e2", "DUPLICATE_SUSPECT")}
    office.run()
    assert billed(office) == 60
    assert waiting(office) == {("e2", "DUPLICATE_SUSPECT")}
    release(office, "DUPLICATE_SUSPECT")
    assert waiting(office) == set()
    office.run("2026-09")
    assert billed(office) == 120


@pytest.mark.parametrize(
    "other",
    [{"minutes": 61}, {"day": "2026-08-06"}, {"notes": "Call"}, {"project": "X02-DE01"}, {"notes": ""}],
    ids=str,
)
def test_work_that_differs_in_anything_is_no_duplicate(office, other):
    rules(office, duplicates="everywhere")
    office.deal("X01", 100)
    office.deal("X02", 100)
    office.work("e1", 60, notes=other.get("notes", "Workshop") and "Workshop")
    said = {"minutes": 60, "notes": "Workshop", **other}
    office.work("e2", said.pop("minutes"), **said)
    assert waiting(office) == set()
    office.work("e3", 60, notes="Workshop")
    assert waiting(office) == ({("e3", "DUPLICATE_SUSPECT")} if other.get("notes") != "" else set())


def test_a_labour_rule_stops_the_day_only_where_the_firm_says_so_and_until_it_is_waived(office):
    office.deal("X01", 100)
    office.work("e1", 400)
    office.work("e2", 300)
    office.work("e3", 300, day="2026-08-06")
    assert waiting(office) == set()
    rules(office, labour_blocking=frozenset({"DAILY_MAX"}))
    both = {("e1", "LABOUR_CHECK"), ("e2", "LABOUR_CHECK")}
    assert waiting(office) == both
    office.run()
    assert billed(office) == 300
    assert waiting(office) == both
    release(office, "LABOUR_CHECK")
    assert waiting(office) == set()
    office.work("e2", 100)
    office.run("2026-09")
    assert billed(office) == 800


def test_a_corrected_day_is_billed_without_a_waiver(office):
    rules(office, labour_blocking=frozenset({"DAILY_MAX"}))
    office.deal("X01", 100)
    office.work("e1", 700)
    office.run()
    assert waiting(office) == {("e1", "LABOUR_CHECK")}
    office.work("e1", 480)
    assert waiting(office) == set()
    office.run("2026-09")
    with office.database.transaction() as tx:
        assert holds.open_of(tx, codes=["LABOUR_CHECK"]) == []
    assert billed(office) == 480

"""Agreement by what changed, repairs that do what they showed, and months that two people sign."""

import json

import pytest

import small_firm
from small_firm import ENTITY, MONTH, bill, entry, hear
from trueup.connectors.sdk.wire import Record
from trueup.kernel.errors import Held
from trueup.pipeline.ingest import ingest
from trueup.pipeline.reconcile import tie_out
from trueup.processes import reconciliation, repairs
from trueup.store import crosswalk, deliveries, migrate, tie_outs
from trueup.store.database import Database


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after its August, compared once."""
    migrate.migrate(database_url)
    database = Database(database_url).open()
    built = small_firm.fill(small_firm.build(database))
    unread = tie_out(built, "first")["breaks"]
    assert {one["class"] for one in unread} == {"extra_in_target"}
    with database.transaction() as tx:
        shown = [repairs.repair(tx, built, row["number"]) for row in tx.rows("select number from breaks")]
    assert {one.actions[0].does for one in shown} == {"judge_again"}  # they lie in quarantine, or wait
    for one in unread:
        built.systems["timely"].client.records["entry"].pop(one["external_id"])
    assert tie_out(built, "second")["breaks"] == []
    yield built
    for system in built.systems.values():
        system.client.close()
    database.close()


def say(house, system, object_name, row):
    """Let a system hold something else, without telling us."""
    id = str(row["id"])
    record = Record(object_name, id, str(row.get("at", "1")), json.dumps(row).encode())
    house.systems[system].client.records[object_name][id] = record


def said(house, system, object_name, id):
    """Return what a system holds."""
    return json.loads(house.systems[system].client.records[object_name][id].raw)


def again(house, **how):
    """Compare what changed; return the open breaks."""
    return tie_out(house, "again", whole=False, **how)["breaks"]


def plan(house, number):
    with house.database.transaction() as tx:
        return repairs.repair(tx, house, number)


def number_of(house, external_id):
    with house.database.transaction() as tx:
        return tx.value("select number from breaks where external_id = %s and closed_at is null", (external_id,))


@pytest.fixture
def entry_at_odds(house):
    """A time entry the PSA holds with half an hour more, and its break; it agrees again afterwards."""
    id = next(iter(house.systems["timely"].client.records["entry"]))
    before = said(house, "timely", "entry", id)
    say(house, "timely", "entry", before | {"minutes": before["minutes"] + 30, "at": "2026-09-02T08:00:00Z"})
    assert [(one["class"], one["external_id"]) for one in again(house)] == [("quantity", id)]
    yield id, number_of(house, id)
    say(house, "timely", "entry", before)
    with house.database.transaction() as tx:
        gid = tx.value("select gid from crosswalk where system = 'timely' and external_id = %s", (id,))
        tx.run("update time_entries set minutes = %s where gid = %s", (before["minutes"], gid))
    assert again(house) == []


def test_a_change_on_our_side_is_found_by_what_changed(house):
    with house.database.transaction() as tx:
        gid = tx.value("select gid from time_entries order by gid limit 1")
        minutes = tx.value("select minutes from time_entries where gid = %s", (gid,))
        tx.run("update time_entries set minutes = minutes + 15 where gid = %s", (gid,))
    tied = tie_out(house, "ours", whole=False)
    assert [(one["class"], one["gid"]) for one in tied["breaks"]] == [("quantity", gid)]
    assert tied["changed"] == 1
    with house.database.transaction() as tx:
        tx.run("update time_entries set minutes = %s where gid = %s", (minutes, gid))
    assert again(house) == []


def test_a_change_that_commits_late_is_not_passed_over(house):
    """A cursor by number or time would pass it: others commit after it began and before it ended."""
    with house.database.transaction() as slow:
        gid = slow.value("select gid from time_entries order by gid limit 1")
        slow.run("update time_entries set minutes = minutes + 15 where gid = %s", (gid,))
        with house.database.transaction() as tx:
            tx.run("update time_entries set notes = 'later' where gid <> %s", (gid,))
        assert again(house) == []
    assert [one["gid"] for one in again(house)] == [gid]
    with house.database.transaction() as tx:
        tx.run("update time_entries set minutes = minutes - 15 where gid = %s", (gid,))
    assert again(house) == []


def test_swapped_values_have_the_same_sum_and_are_found_by_the_hash(house):
    records = house.systems["timely"].client.records["entry"]
    ids = [id for id in records if said(house, "timely", "entry", id)["state"] == "ok"]
    one = ids[0]
    other = next(
        id
        for id in ids
        if said(house, "timely", "entry", id)["minutes"] != said(house, "timely", "entry", one)["minutes"]
    )
    rows = [said(house, "timely", "entry", id) for id in (one, other)]
    for row, swapped in zip(rows, reversed(rows), strict=True):
        say(house, "timely", "entry", row | {"minutes": swapped["minutes"]})
    assert {one["external_id"] for one in again(house)} == {one, other}
    with house.database.transaction() as tx:
        group = tx.row(
            "select ours_sum = theirs_sum as same from tie_groups where object = 'entry' and ours_hash <> theirs_hash"
        )
    assert group == {"same": True}
    for row in rows:
        say(house, "timely", "entry", row)
    assert again(house) == []


def test_the_owners_word_is_taken_in_again_and_the_break_ends(house, entry_at_odds):
    _, number = entry_at_odds
    shown = plan(house, number)
    (action,) = shown.actions
    assert (action.does, action.field, action.after) == ("take_in", "minutes", action.theirs)
    with pytest.raises(Held, match="another one than was shown"):
        repairs.apply(house, number, "0" * 64, "Ana")
    assert repairs.apply(house, number, shown.digest, "Ana")["done"] == "take_in"
    with pytest.raises(Held, match="waits to be taken in"):
        repairs.apply(house, number, plan(house, number).digest, "Ana")
    while ingest(house, "volume"):
        pass
    assert again(house) == []
    with pytest.raises(Held, match="not open"):
        plan(house, number)
    with house.database.transaction() as tx:
        assert [(one["act"], one["person"]) for one in tie_outs.notes(tx, number)] == [("repaired", "Ana")]


def test_a_difference_under_way_is_one_of_time(house):
    hear(house, "timely", "entry", entry("t-late", 45, day="2026-08-07"))
    with house.database.transaction() as tx:
        tx.run("update inbox set state = 'pending', due_at = now() + interval '1 hour' where external_id = 't-late'")
        gid = crosswalk.find(tx, [("timely", "entry", "t-late")])[("timely", "entry", "t-late")].gid
        tx.run("update time_entries set minutes = 60 where gid = %s", (gid,))
    (found,) = again(house)
    assert found["class"] == "timing"
    assert "waits to be taken in" in found["sentence"]
    assert plan(house, number_of(house, "t-late")).actions[0].does == "wait"
    with house.database.transaction() as tx:
        tx.run("update inbox set state = 'applied' where external_id = 't-late'")
        tx.run("update time_entries set minutes = 45 where gid = %s", (gid,))
    assert again(house) == []


def test_our_value_is_sent_where_the_system_does_not_own_it(house):
    before = said(house, "dealer", "deal", "d-X01")
    say(house, "dealer", "deal", before | {"stage": "open", "at": "9"})
    (found,) = again(house)
    assert (found["class"], found["theirs"]) == ("status", "draft")
    number = number_of(house, "d-X01")
    shown = plan(house, number)
    assert shown.actions[0].does == "send"
    house.systems["dealer"].client.sent.clear()
    done = repairs.apply(house, number, shown.digest, "Ana")
    small_firm.carry_out(house)
    with house.database.transaction() as tx:
        assert deliveries.state_of(tx, done["key"]) == "confirmed"
    assert len(house.systems["dealer"].client.sent) == 1
    say(house, "dealer", "deal", before)
    assert again(house) == []


def test_a_booked_document_is_left_to_a_person(house):
    code = "X01-DE01-2026-08"
    before = said(house, "ledgerly", "bill", bill(house, code)["id"])
    say(house, "ledgerly", "bill", before | {"net": before["net"] + 100, "at": "5"})
    (found,) = again(house)
    assert (found["class"], found["amount"]) == ("amount", 100_000_000)
    number = number_of(house, before["id"])
    shown = plan(house, number)
    assert (shown.possible, shown.actions[0].does) == (False, "person")
    with pytest.raises(Held, match="credit and bill again"):
        repairs.apply(house, number, shown.digest, "Ana")

    # A month with an open break is not signed; an accepted one is named in what is signed.
    with house.database.transaction() as tx, pytest.raises(Held, match="nobody accepted"):
        reconciliation.prepare(tx, ENTITY, MONTH, "Ana")
    with house.database.transaction() as tx, pytest.raises(Held, match="reason"):
        reconciliation.accept(tx, number, "Ana", "ok")
    with house.database.transaction() as tx:
        reconciliation.accept(tx, number, "Ana", "credited in September")
        prepared = reconciliation.prepare(tx, ENTITY, MONTH, "Ana")
    assert prepared["accepted"][0]["accepted_reason"] == "credited in September"
    with house.database.transaction() as tx, pytest.raises(Held, match="another person"):
        reconciliation.sign(tx, ENTITY, MONTH, "Ana")

    # What changes after it was prepared is not signed by mistake; a new difference ends the acceptance.
    say(house, "ledgerly", "bill", before | {"net": before["net"] + 200, "at": "6"})
    again(house)
    with house.database.transaction() as tx:
        assert tie_outs.break_of(tx, number)["accepted_at"] is None
        assert [one["act"] for one in tie_outs.notes(tx, number)] == ["accepted", "acceptance_ended"]
    with house.database.transaction() as tx, pytest.raises(Held, match="nobody accepted"):
        reconciliation.sign(tx, ENTITY, MONTH, "Ben")
    with house.database.transaction() as tx:
        reconciliation.accept(tx, number, "Ana", "credited in September")
    with house.database.transaction() as tx, pytest.raises(Held, match="prepare again"):
        reconciliation.sign(tx, ENTITY, MONTH, "Ben")
    with house.database.transaction() as tx:
        reconciliation.prepare(tx, ENTITY, MONTH, "Ana")
        signed = reconciliation.sign(tx, ENTITY, MONTH, "Ben")
    assert (signed["prepared_by"], signed["signed_by"], len(signed["digest"])) == ("Ana", "Ben", 64)
    again(house)  # the same figures again: the signature stands
    with house.database.transaction() as tx, pytest.raises(Held, match="reopen it first"):
        reconciliation.prepare(tx, ENTITY, MONTH, "Cem")
    with house.database.transaction() as tx, pytest.raises(Held, match="reason"):
        reconciliation.reopen(tx, ENTITY, MONTH, "Cem", "")
    with house.database.transaction() as tx:
        reconciliation.reopen(tx, ENTITY, MONTH, "Cem", "the credit was booked")
        assert tie_outs.standing(tx, ENTITY, MONTH) is None
        (kept,) = tie_outs.sign_offs(tx, ENTITY, MONTH)
    assert (kept["signed_by"], kept["reopened_by"]) == ("Ben", "Cem")
    say(house, "ledgerly", "bill", before)
    assert again(house) == []


def test_deleted_work_that_was_billed_is_a_break_and_nothing_follows_it(house):
    """Capability story F8: deletion of billed time is a break, not a cascade."""
    with house.database.transaction() as tx:
        id = tx.value(
            """
            select x.external_id from charges c join crosswalk x on x.gid = c.fact and x.system = 'timely'
            where c.document is not null order by 1 limit 1
            """
        )
        charges = tx.value("select count(*) from charges")
    kept = house.systems["timely"].client.records["entry"].pop(id)
    found = tie_out(house, "gone")["breaks"]
    assert [(one["class"], one["external_id"]) for one in found] == [("deleted_upstream", id)]
    assert plan(house, number_of(house, id)).actions[0].does == "person"
    with house.database.transaction() as tx:
        assert tx.value("select count(*) from charges") == charges
    house.systems["timely"].client.records["entry"][id] = kept
    assert tie_out(house, "back")["breaks"] == []


def test_a_name_in_a_continuous_run_is_started_once_an_interval(house):
    with house.database.transaction() as tx:
        first = reconciliation.start_continuous(tx, 3600.0)
        assert first is not None
        assert first.startswith("reconciliation/continuous/")
        assert reconciliation.start_continuous(tx, 3600.0) is None
        tx.run("rollback")

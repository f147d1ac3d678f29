"""Issues group what failed by its cause; a plan says what pressing will do, and pressing does that or stops."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import acme_house
import psycopg
import pytest
from acme_house import ACCOUNT, DEAL, arrival, held, keep, message, rows, take, work

from trueup.kernel import clock
from trueup.kernel.errors import Held, Refused
from trueup.kernel.ids import derive
from trueup.mapping.file import load
from trueup.pipeline.house import LegalEntity
from trueup.processes import plans
from trueup.store import deliveries, issues
from trueup.store.deliveries import Command, Result
from trueup.store.inbox import Arrival
from trueup.store.plans import Choice, change

CONTRACT = derive("contract", "sales", "Deal", "D1")


@pytest.fixture(scope="module")
def plain(database):
    """The house, built once."""
    house = acme_house.build(database)
    yield house
    for system in house.systems.values():
        system.client.close()


@pytest.fixture
def house(plain, empty):
    """A house with nothing in it."""
    return replace(plain, inward=dict(plain.inward), reactions=[])


def listed(house, **more):
    with house.database.transaction() as tx:
        return issues.listed(tx, **more)


def do(house, what, *given, **more):
    with house.database.transaction() as tx:
        return what(tx, *given, **more)


def mend(house):
    """Give the deals' mapping a table with the stage the records use."""
    old = next(text for text in acme_house.MAPPINGS.split("\n---\n") if text.startswith("mapping: sales.Deal"))
    text = old.replace("open: draft", "open: draft, agreed: signed")
    mapping = load(f"{text.strip()}\nversion: 2\nwhy: a stage more\nexamples: [{{is: none, in: {{}}}}]\n")
    house.inward["sales", "Deal"] = mapping


def deals(house, count, *, stage="agreed", first=1):
    """Take in an account and deals in a stage the mapping does not know; gives the messages' numbers."""
    keep(house, arrival("Account", ACCOUNT))
    records = [{**DEAL, "id": f"D{n}", "code": f"D{n:02}", "stage": stage} for n in range(first, first + count)]
    numbers = keep(house, *(arrival("Deal", record) for record in records))
    work(house)
    return numbers


def refuse(house, count, *, amount=12_400_000_000, outcome="rejected"):
    """Ask for writes and let the system refuse them; gives their keys."""
    keys = [f"invoice/{n}" for n in range(count)]
    with house.database.transaction() as tx:
        deliveries.ask(
            tx,
            [
                Command(key, "books", "Invoice", f"inv_{n}", "invoice", "post", "C", amount=amount, currency="EUR")
                for n, key in enumerate(keys)
            ],
        )
    settle(house, outcome, "period is closed on 2026-10-31", "USER_ERROR")
    return keys


def settle(house, outcome, detail="", code=""):
    with house.database.transaction() as tx:
        claimed = deliveries.claim(tx, "books", 100, "w1", 60)
        deliveries.about_to_send(tx, [(one.key, one.fence, {}, "digest", "invoice", 1, None) for one in claimed])
        deliveries.settle(
            tx, [Result(one.key, one.fence, outcome, "send", detail, code, took_ms=500, wait=60) for one in claimed]
        )


def test_records_that_fail_for_one_cause_are_one_issue(house):
    numbers = deals(house, 7)
    take(house, "Account", {**ACCOUNT, "id": "A9", "name": None})
    found = {one["code"]: one for one in listed(house)}
    assert found["not_in_table"]["records"] == 7
    assert found["not_in_table"]["state"] == "open"
    assert len(found) == 2
    shown = do(house, issues.records, found["not_in_table"]["issue"])
    assert sorted(int(row["record"]) for row in shown) == numbers


def test_everything_received_is_somewhere(house):
    deals(house, 3)
    take(house, "Deal", {**DEAL, "id": "D9", "account": "nobody"})
    for row in do(house, issues.balance):
        assert row["missing"] == 0
        assert row["grouped"] == row["failing"]
        assert row["failing"] == 4


def apply(house, number, **more):
    """Let a plan's process do its steps, as a worker would."""
    plans.start(house, number, **more)
    while plans.next_batch(house, str(number)):
        pass
    plans.finish(house, str(number))
    return do(house, plans.look, number)


def test_a_plan_says_what_it_does_and_a_second_one_is_empty(house):
    deals(house, 5)
    issue = listed(house)[0]["issue"]
    blocked = plans.propose(house, "replay", Choice(issue=issue), by="Li", reason="just looking")
    assert blocked["counts"] == {"blocked": 5}
    assert blocked["acts_on"] == 0
    mend(house)
    plan = plans.propose(house, "replay", Choice(issue=issue), by="Li", reason="the table knows it now")
    assert plan["counts"] == {"create": 5}
    assert held(house, CONTRACT) is None, "planning does nothing"
    assert {d["field"] for d in plan["items"][0]["differences"]} >= {"code", "status"}
    done = apply(house, plan["number"], by="Li", digest=plan["digest"])
    assert (done["state"], done["done"]) == ("applied", 5)
    assert held(house, CONTRACT).body["status"] == "signed"
    assert listed(house) == []
    numbers = tuple(item["record"] for item in done["items"])
    second = plans.propose(house, "replay", Choice(records=numbers), by="Li", reason="once more")
    assert second["counts"] == {"no_op": 5}
    assert second["acts_on"] == 0
    before = rows(house, "select count(*) as n from changes")
    assert apply(house, second["number"], by="Li")["state"] == "applied"
    assert rows(house, "select count(*) as n from changes") == before


def test_applying_stops_at_the_first_difference_with_nothing_of_its_batch_done(house):
    (number, *_) = deals(house, 2)
    issue = listed(house)[0]["issue"]
    mend(house)
    plan = plans.propose(house, "replay", Choice(issue=issue), by="Li", reason="the table knows it now")
    take(house, "Deal", {**DEAL, "id": "D1", "code": "D01", "name": "Changed", "at": "2026-08-02T11:00:00Z"})
    done = apply(house, plan["number"], by="Li")
    assert done["state"] == "stopped"
    assert str(number) in done["stopped_by"]
    assert done["done"] == 0
    assert held(house, derive("contract", "sales", "Deal", "D2")) is None


def test_a_plan_goes_on_where_it_was_cut_off(house, monkeypatch):
    deals(house, 5)
    mend(house)
    plan = plans.propose(house, "replay", Choice(system="sales", object="Deal"), by="Li", reason="all deals again")
    monkeypatch.setattr(plans, "BATCH", 2)
    with house.database.transaction() as tx:
        plans.kept.begin(tx, plan["number"], "Li")
    assert plans._batch(house, plan["number"])
    done = apply(house, plan["number"], by="Li")
    assert (done["state"], done["done"]) == ("applied", 5)


def test_a_plan_that_is_stopped_keeps_what_is_done_and_does_nothing_more(house, monkeypatch):
    deals(house, 5)
    mend(house)
    plan = plans.propose(house, "replay", Choice(system="sales", object="Deal"), by="Li", reason="all deals again")
    with pytest.raises(Refused, match="not being applied"):
        plans.cancel(house, plan["number"], by="Ana", reason="not today")
    monkeypatch.setattr(plans, "BATCH", 2)
    plans.start(house, plan["number"], by="Li")
    assert plans.next_batch(house, str(plan["number"]))
    stopped = plans.cancel(house, plan["number"], by="Ana", reason="not today")
    assert (stopped["state"], stopped["stopped_by"], stopped["done"]) == ("stopped", "Ana: not today", 2)
    assert not plans.next_batch(house, str(plan["number"]))
    assert do(house, plans.look, plan["number"])["done"] == 2
    with pytest.raises(Refused, match="stopped already"):
        plans.start(house, plan["number"], by="Li")


def test_a_record_that_is_not_there_is_named(house):
    (number,) = deals(house, 1)
    with pytest.raises(Refused, match="no message 999999999"):
        plans.propose(house, "replay", Choice(records=(str(number), "999999999")), by="Li", reason="both of them")
    with pytest.raises(Refused, match="no write no/such/key"):
        plans.propose(house, "retry", Choice(records=("no/such/key",)), by="Li", reason="this one")


def test_an_expired_or_another_plan_is_refused(house):
    deals(house, 1)
    mend(house)
    plan = plans.propose(house, "replay", Choice(system="sales"), by="Li", reason="again", minutes=0)
    with pytest.raises(Refused, match="expired"):
        apply(house, plan["number"], by="Li")
    plan = plans.propose(house, "replay", Choice(system="sales"), by="Li", reason="again")
    with pytest.raises(Refused, match="look again"):
        apply(house, plan["number"], by="Li", digest="0" * 64)
    with pytest.raises(Refused, match="choose"):
        plans.propose(house, "replay", Choice(), by="Li", reason="everything")


def test_a_refused_write_is_sent_again_under_its_key_and_money_wants_a_second_person(house):
    entity = LegalEntity("DE01", "Acme", "DE", "EUR", frozenset(), adjustment_limit=Decimal(10_000))
    house = replace(house, firm=replace(house.firm, entities={"DE01": entity}))
    keys = refuse(house, 3)
    (issue,) = listed(house)
    assert (issue["records"], issue["money"], issue["class"]) == (3, {"EUR": 3 * 12_400_000_000}, "rejected")
    plan = plans.propose(house, "retry", Choice(issue=issue["issue"]), by="Li", reason="October is open again")
    assert plan["counts"] == {"create": 3}
    assert plan["two_people"]
    assert plan["seconds"] == pytest.approx(1.5)
    with pytest.raises(Held, match="somebody other"):
        apply(house, plan["number"], by="Li")
    assert apply(house, plan["number"], by="Ana")["state"] == "applied"
    again = plans.propose(house, "retry", Choice(issue=issue["issue"]), by="Li", reason="once more")
    assert again["counts"] == {"no_op": 3}
    settle(house, "confirmed")
    assert listed(house) == []
    assert plans.propose(house, "retry", Choice(records=tuple(keys)), by="Li", reason="late as it is")["counts"] == {
        "no_op": 3
    }


def test_silence_is_never_sent_again_by_a_person(house):
    keys = refuse(house, 1, outcome="unknown")
    plan = plans.propose(house, "retry", Choice(records=tuple(keys)), by="Li", reason="hurry up")
    assert plan["counts"] == {"blocked": 1}


def test_a_cause_that_comes_back_after_it_was_resolved_is_regressed(house):
    numbers = deals(house, 1)
    (issue,) = listed(house)
    with pytest.raises(Refused, match="still fail"):
        do(house, issues.resolve, [issue["issue"]], by="Li", reason="it is gone")
    old = house.inward["sales", "Deal"]
    mend(house)
    apply(
        house, plans.propose(house, "replay", Choice(issue=issue["issue"]), by="Li", reason="mended")["number"], by="Li"
    )
    assert message(house, numbers[0])["state"] == "applied"
    do(house, issues.resolve, [issue["issue"]], by="Li", reason="the table is complete")
    assert listed(house) == []
    assert do(house, issues.one, issue["issue"])["state"] == "resolved"
    house.inward["sales", "Deal"] = old
    deals(house, 1, first=20)
    (back,) = listed(house)
    assert (back["issue"], back["state"]) == (issue["issue"], "regressed")
    said = [act["act"] for act in do(house, issues.acts, issue["issue"])]
    assert {"planned", "applied", "resolved", "failed", "came right"} <= set(said)


def test_a_muted_cause_comes_back_by_time_or_by_money(house):
    refuse(house, 1)
    (issue,) = listed(house)
    with pytest.raises(Refused, match="until when"):
        do(house, issues.mute, [issue["issue"]], by="Li", reason="known")
    do(house, issues.mute, [issue["issue"]], by="Li", reason="known, waits for Monday", above=(20_000_000_000, "EUR"))
    assert listed(house) == []
    with house.database.transaction() as tx:
        deliveries.ask(tx, [Command("invoice/9", "books", "Invoice", "inv_9", "invoice", "post", "C", amount=10_000_000_000, currency="EUR")])  # fmt: skip
    settle(house, "rejected", "period is closed on 2026-11-01", "USER_ERROR")
    assert [one["state"] for one in listed(house)] == ["open"]
    do(
        house,
        issues.mute,
        [issue["issue"]],
        by="Li",
        reason="known, a moment",
        until=clock.now() - timedelta(seconds=1),
    )
    assert [one["state"] for one in listed(house)] == ["open"]


def test_what_people_did_about_a_cause_cannot_be_changed(house):
    refuse(house, 1)
    (issue,) = listed(house)
    do(house, issues.assign, [issue["issue"]], "Li", by="Ana")
    assert listed(house)[0]["assignee"] == "Li"
    with pytest.raises(psycopg.Error):
        rows(house, "update issue_acts set by = 'nobody' returning number")


def correct(house, number, *changes, by="Li", reason="the CRM's import spelled it wrong"):
    return plans.propose(house, "edit", Choice(records=(str(number),), changes=changes), by=by, reason=reason)


def edits(house):
    return rows(house, "select * from message_edits order by message")


def test_a_record_that_fails_is_corrected_by_one_person_and_agreed_by_another(house):
    (number,) = deals(house, 1)
    body = message(house, number)["body"]
    plan = correct(house, number, change("stage", "won"))
    assert (plan["counts"], plan["two_people"]) == ({"create": 1}, True)
    assert ("status", None, "signed") in [
        (d["field"], d["before"], d["after"]) for d in plan["items"][0]["differences"]
    ]
    assert (held(house, CONTRACT), edits(house), len(listed(house))) == (None, [], 1), "planning does nothing"
    with pytest.raises(Held, match="edits what a system has said: somebody other than Li"):
        apply(house, plan["number"], by="Li")
    assert apply(house, plan["number"], by="Ana", digest=plan["digest"])["state"] == "applied"
    (edit,) = edits(house)
    assert held(house, CONTRACT).body["status"] == "signed"
    assert listed(house) == []
    assert (edit["original"], edit["edited_by"], edit["agreed_by"], edit["plan"]) == (
        number,
        "Li",
        "Ana",
        plan["number"],
    )
    assert edit["changes"] == [{"field": "stage", "before": "agreed", "after": "won"}]
    came, made = message(house, number), message(house, edit["message"])
    assert (came["body"], came["state"]) == (body, "superseded")
    assert str(edit["message"]) in came["reason"]
    assert (made["state"], made["origin"], made["stamp"]) == ("applied", "edit", came["stamp"])
    assert all(row["missing"] == 0 for row in do(house, issues.balance))
    second = correct(house, number, change("stage", "won"))
    assert (second["counts"], second["acts_on"]) == ({"no_op": 1}, 0)
    with pytest.raises(psycopg.Error, match="append only"):
        rows(house, "update message_edits set reason = 'another' returning message")


def test_a_correction_keeps_every_digit_of_what_it_leaves_alone_and_of_what_it_says(house):
    keep(house, arrival("Account", ACCOUNT))
    raw = b'{"id":"D1","at":"2026-08-02","code":"D01","name":"a","account":"A1","value":"x","currency":"EUR","stage":"won","rate":1.10}'
    (number,) = keep(house, Arrival("Deal", "D1", "2026-08-02", raw))
    work(house)
    plan = correct(house, number, change("value", "12.50"), change("name", "{}"))
    assert plan["counts"] == {"blocked": 1}, "a name is no object: it would fail for another reason"
    plan = correct(house, number, change("value", "12.50"), change("name", "12 of 30"))
    apply(house, plan["number"], by="Ana")
    (edit,) = edits(house)
    assert bytes(message(house, edit["message"])["body"]) == raw.replace(b'"x"', b"12.50").replace(
        b'"a"', b'"12 of 30"'
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([change("id", "D2")], "another record"),
        ([change("at", "2026-09-01T00:00:00Z")], "another version"),
        ([change("stage", "agreed")], "nothing is another value"),
        ([change("nothing.below", "1")], "the record has no nothing"),
        ([change("nothing")], "the record has no nothing"),
        ([change("stage.below", "1")], "nothing lies below a plain value"),
        ([change("", "1")], "without a name"),
        ([{"field": "stage", "json": "{"}], "stage"),
        ([], "name the record and the fields"),
    ],
)
def test_a_correction_that_is_none_is_refused_with_a_sentence(house, changes, sentence):
    (number,) = deals(house, 1)
    with pytest.raises(Refused, match=sentence):
        correct(house, number, *changes)
    assert edits(house) == []


def test_a_correction_is_of_one_failing_record(house):
    numbers = deals(house, 2)
    with pytest.raises(Refused, match="one record"):
        plans.propose(
            house, "edit", Choice(records=tuple(map(str, numbers)), changes=(change("stage", "won"),)), by="Li",
            reason="both of them",
        )  # fmt: skip
    with pytest.raises(Refused, match="an edit changes"):
        plans.propose(
            house, "replay", Choice(records=(str(numbers[0]),), changes=(change("stage", "won"),)), by="Li",
            reason="not a replay",
        )  # fmt: skip


def test_the_next_word_of_its_system_replaces_a_correction(house):
    (number,) = deals(house, 1)
    apply(house, correct(house, number, change("stage", "won"))["number"], by="Ana")
    take(
        house,
        "Deal",
        {**DEAL, "id": "D1", "code": "D01", "name": "Now this", "stage": "won", "at": "2026-09-03T11:00:00Z"},
    )
    assert held(house, CONTRACT).body["name"] == "Now this"


def test_a_correction_stops_where_the_record_came_right_meanwhile(house):
    (number,) = deals(house, 1)
    plan = correct(house, number, change("stage", "won"))
    take(house, "Deal", {**DEAL, "id": "D1", "code": "D01", "stage": "open", "at": "2026-08-03T11:00:00Z"})
    done = apply(house, plan["number"], by="Ana")
    assert (done["state"], done["done"], edits(house)) == ("stopped", 0, [])
    assert "superseded" in done["stopped_by"]
    assert held(house, CONTRACT).body["status"] == "draft"

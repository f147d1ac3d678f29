"""A month is closed once, under a hash that its facts decide; it stays closed until two people reopen it."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest

import small_firm
from small_firm import ENTITY, MONTH, entry, gid_of, hear
from trueup import engine
from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance import ownership
from trueup.kernel.errors import Broken, Held
from trueup.kernel.strict_json import digest
from trueup.pipeline.ingest import author
from trueup.pipeline.reconcile import tie_out
from trueup.processes import milestone_billing, month_end, period_close, time_to_billing
from trueup.reporting import close as closes
from trueup.store import migrate, numbers, objects, periods
from trueup.store.database import Database
from trueup.store.numbers import Numbering

SECONDS = 60.0
TESTS = Path(small_firm.__file__).parent
LATER = "2026-09"


@pytest.fixture
def database(postgres, request):
    """A database for each test: closing leaves marks that are meant to stay."""
    name = f"close_{abs(hash(request.node.name)) % 10**9}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")
        connection.execute(f"create database {name}")
    url = postgres.replace("/trueup?", f"/{name}?")
    migrate.migrate(url)
    opened = Database(url, size=12).open()
    yield opened
    opened.close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def house(database):
    """The small firm after its August; nothing is closed yet."""
    built = small_firm.fill(small_firm.build(database))
    yield built
    for system in built.systems.values():
        system.client.close()


@contextmanager
def working(house):
    """Let an engine work for the length of a `with`."""
    running = engine.Engine(house.database)
    running.launch(house)
    try:
        yield running
    finally:
        running.stop()


def begin(house, by="Ana", period=MONTH):
    with house.database.transaction() as tx:
        return period_close.start(tx, ENTITY, period, by)


def status(house, process):
    with house.database.transaction() as tx:
        return engine.one(tx, process)["status"]


def ended(house, process, wanted="SUCCESS"):
    ends = time.monotonic() + SECONDS
    while status(house, process) not in ("SUCCESS", "ERROR"):
        assert time.monotonic() < ends, "it did not end"
        time.sleep(0.05)
    with house.database.transaction() as tx:
        assert engine.one(tx, process)["status"] == wanted, engine.one(tx, process)


def close(house, by="Ana", period=MONTH):
    """Close a month with an engine of its own and return how it stands then."""
    process = begin(house, by, period)
    if process is not None:
        with working(house):
            ended(house, process)
    return shown(house, period)


def shown(house, period=MONTH, **more):
    with house.database.transaction() as tx:
        return closes.close(tx, ENTITY, period, cost=True, **more)


def blocking(house, *items):
    """Let the legal entity block on items."""
    house.firm.entities[ENTITY] = replace(house.firm.entities[ENTITY], close_blocks=frozenset(items))


def reopened(house, by="Ana", second="Ben", period=MONTH):
    with house.database.transaction() as tx:
        number = periods.propose(tx, ENTITY, period, by, "the auditors found something")
    with house.database.transaction() as tx:
        return period_close.reopen(tx, house, number, second)


def test_the_checklist_says_what_the_month_holds(house):
    month = close(house)
    assert (month.state, month.revision, month.closed_by) == ("closed", 1, "Ana")
    assert [item.item for item in month.items] == list(period_close.ITEMS)
    states = {item.item: item.state for item in month.items}
    assert states == {
        "unapproved": "open", "holds": "open", "unbilled": "open", "drafts": "passed", "tie_out": "passed",
        "accruals": "done", "revenue": "done", "journals": "open", "numbers": "passed", "margin": "done",
        "snapshot": "done",
    }  # fmt: skip
    figures = {item.item: item.figures for item in month.items}
    found = figures["unapproved"]
    assert (found["time"], found["expenses"], found["minutes"]) == (1, 0, 120)
    assert found["value"] == [{"amount": "300.00", "currency": "EUR"}]
    assert {row["code"]: row["amount"] for row in figures["holds"]["by_code"]} == {
        "APPROVAL_MISSING": "300.00", "RATE_MISSING": "0.00", "TAX_UNDETERMINED": "8000.00",
        "SIGNOFF_MISSING": "5000.00",
    }  # fmt: skip
    assert figures["unbilled"]["minutes"] == 60
    assert [row["refused"] for row in figures["journals"]["journals"] if row["refused"]]
    assert figures["margin"]["recognised"] == [{"amount": "1567.50", "currency": "EUR"}]
    with house.database.transaction() as tx:
        told = tx.row("select subject, data from events where name = 'period.closed' and key like '%%/1'")
    assert (told["subject"], told["data"]["reason"]) == (ENTITY, month.sha256)


def test_the_snapshot_is_sorted_and_names_no_time_and_no_generated_number(house):
    month = close(house)
    with house.database.transaction() as tx:
        kept = periods.revisions(tx, ENTITY, MONTH)[0]["snapshot"]
        raw = closes.snapshot_bytes(tx, ENTITY, MONTH)
    assert digest(kept) == month.sha256
    assert kept["invoices"] == [
        {"code": "X01-DE01-2026-08", "type": "invoice", "state": "posted", "currency": "EUR", "net": "1567.50",
         "tax": "297.83", "gross": "1865.33"}
    ]  # fmt: skip
    assert {(row["project"], row["unit"], row["bucket"]): row["quantity"] for row in kept["buckets"]}[
        ("X01-DE01", "minute", "invoiced")
    ] == 585
    sides = {(row["type"], row["debit"], row["credit"]) for row in kept["journals"]}
    assert ("revenue", "0.00", "1567.50") in sides
    for forbidden in (b"_at", b"2026-11-", b"prj_", b"con_", b"R-1001", b"J-1"):
        assert forbidden not in raw


def test_closing_twice_closes_once(house):
    first = close(house)
    assert begin(house, "Ben") is None
    again = shown(house)
    assert (again.sha256, again.closed_at, again.revision, again.since) == (first.sha256, first.closed_at, 1, ())


def test_the_same_facts_have_the_same_hash_after_reopening_and_in_another_database(house, postgres):
    first = close(house)
    reopened(house)
    second = close(house, "Cleo")
    assert (second.revision, second.sha256) == (2, first.sha256)
    assert [one.variance for one in second.revisions] == [(), ()]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("create database close_elsewhere")
    other = Database(postgres.replace("/trueup?", "/close_elsewhere?"), size=12)
    try:
        migrate.migrate(other.url)
        elsewhere = small_firm.fill(small_firm.build(other.open()))
        assert close(elsewhere).sha256 == first.sha256
        for system in elsewhere.systems.values():
            system.client.close()
    finally:
        other.close()
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("drop database close_elsewhere with (force)")


@pytest.mark.parametrize("broken", ["look_at_holds", "look_at_tie_out", "book_revenue", "look_at_margin", "freeze"])
def test_a_close_that_breaks_at_any_step_goes_on_where_it_stopped(house, monkeypatch, broken):
    """The step fails, the engine stops, another one starts: what was done is not done again, and the hash is the same."""
    sound = getattr(period_close, broken)
    calls = []

    def fails_once(*arguments):
        calls.append(broken)
        if len(calls) == 1:
            raise Broken("the lights went out")
        return sound(*arguments)

    fails_once.__name__ = broken
    monkeypatch.setattr(period_close, broken, fails_once)
    process = begin(house)
    with working(house):
        ended(house, process, "ERROR")
    assert shown(house).state == "closing"
    assert "log has the report" in shown(house).fault
    assert begin(house, "Ben") == process
    with working(house):
        ended(house, process)
    month = shown(house)
    assert (month.state, month.closed_by, len(calls)) == ("closed", "Ana", 2)
    with house.database.transaction() as tx:
        names = [row["step"] for row in engine.steps(tx, process)]
        assert tx.value("select count(*) from runs where kind = 'tie_out'") == 1
        assert tx.value("select count(*) from period_closes") == 1
    assert len(names) == len(set(names)) + 1  # only the look whether something blocks is taken twice
    assert month.sha256 == digest(month_snapshot(house))


def month_snapshot(house):
    with house.database.transaction() as tx:
        return periods.revisions(tx, ENTITY, MONTH)[0]["snapshot"]


@contextmanager
def worker(url):
    """A worker in a process of its own, which is killed at the end of the `with`."""
    paths = os.pathsep.join([str(TESTS), str(TESTS / "engine")])
    running = subprocess.Popen(
        [sys.executable, str(TESTS / "engine" / "close_worker.py"), url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    try:
        assert running.stdout.readline() == "ready\n"
        yield
    finally:
        running.kill()
        running.wait(SECONDS)
        for stream in (running.stdin, running.stdout):
            stream.close()


def checked(house, item):
    return any(one.item == item and one.checked_at for one in shown(house).items)


def test_a_worker_killed_between_steps_leaves_the_rest_to_the_next_and_the_hash_is_the_same(house):
    """SIGKILL after the first look and after the revenue; the third worker goes on with what is left."""
    tie_out(house, "by hand")
    promised = period_close.preview(house, ENTITY, MONTH)[-1]["figures"]["sha256"]
    process = begin(house)
    for item in ("unapproved", "revenue"):
        with worker(house.database.url):
            ends = time.monotonic() + SECONDS
            while not checked(house, item):
                assert time.monotonic() < ends, "it did not come so far"
                time.sleep(0.02)
        assert shown(house).state == "closing"
    with worker(house.database.url):
        ended(house, process)
    month = shown(house)
    assert (month.state, month.sha256, month.attempt) == ("closed", promised, 1)
    with house.database.transaction() as tx:
        names = [row["step"] for row in engine.steps(tx, process)]
        assert tx.value("select count(*) from runs where kind = 'month_end'") == 1
    assert len(names) == len(set(names)) + 1  # only the look whether something blocks is taken twice


def test_two_who_close_at_once_start_one_process(house):
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda name: begin(house, name), ("Ana", "Ben", "Cleo", "Dan")))
    assert len(set(started)) == 1
    with working(house):
        ended(house, started[0])
    assert shown(house).attempt == 1


def test_a_blocker_stops_the_close_before_anything_is_frozen_until_a_person_accepts_it(house):
    blocking(house, "unapproved")
    month = close(house)
    assert (month.state, month.sha256) == ("open", None)
    item = month.items[0]
    assert (item.state, item.reason) == ("blocked", None)
    assert month.items[-1].sentence == "Not looked at yet."
    with house.database.transaction() as tx, pytest.raises(Held, match="five characters"):
        period_close.accept(tx, ENTITY, MONTH, "unapproved", "Ana", "ok")
    with house.database.transaction() as tx, pytest.raises(Held, match="no finding"):
        period_close.accept(tx, ENTITY, MONTH, "drafts", "Ana", "there is none")
    with house.database.transaction() as tx:
        period_close.accept(tx, ENTITY, MONTH, "unapproved", "Ana", "the client agreed to bill in September")
    month = close(house, "Ben")
    item = month.items[0]
    assert (month.state, item.state, item.accepted_by) == ("closed", "accepted", "Ana")
    assert item.reason == "the client agreed to bill in September"


def test_an_acceptance_is_good_for_what_was_found_and_nothing_else(house):
    blocking(house, "unapproved")
    close(house)
    with house.database.transaction() as tx:
        period_close.accept(tx, ENTITY, MONTH, "unapproved", "Ana", "it is two hours only")
    hear(house, "timely", "entry", entry("e9", 480, day="2026-08-13", state="sent"))
    month = close(house)
    assert (month.state, month.items[0].state, month.items[0].figures["time"]) == ("open", "blocked", 2)


def test_a_closed_month_refuses_billing_the_month_end_and_journals(house):
    close(house)
    with house.database.transaction() as tx:
        tx.run("delete from runs where kind in ('billing', 'month_end')")
        assert periods.is_closed(tx, ENTITY, MONTH)
        assert not periods.is_closed(tx, ENTITY, LATER)
        assert periods.next_open(tx, ENTITY, MONTH) == LATER
    for act, name in ((time_to_billing.bill, "billing"), (month_end.close, "month_end")):
        with pytest.raises(Held, match="2026-09") as refused:
            act(house, MONTH, ENTITY, name)
        assert refused.value.code == "PERIOD_CLOSED"
    statements = (
        "insert into positions values ('c', 'l', '2026-08', 'DE01', 'EUR', 'hours', 0, 0, 0, 0)",
        "update margins set labour = 1 where period = '2026-08'",
        """insert into objects (gid, kind, status, body) values ('jrn_00000000000000000000000000', 'journal_reference',
        'expected', '{"period": "2026-08", "legal_entity": "DE01", "code": "J"}')""",
        "update period_closes set sha256 = repeat('0', 64)",
        "delete from period_closes",
    )
    for statement in statements:
        with pytest.raises(psycopg.errors.RestrictViolation), house.database.transaction() as tx:
            tx.run(statement)


def test_the_erp_may_still_confirm_a_journal_of_a_closed_month(house):
    close(house)
    code = f"COST-{ENTITY}-{MONTH}"
    gid = gid_of(house, "journal_reference", code)
    hear(house, "ledgerly", "journal", {"id": "journal-late", "external": gid, "number": "J-2"})
    with house.database.transaction() as tx:
        assert tx.value("select status from objects where gid = %s", (gid,)) == "posted"


def test_a_late_fact_is_billed_in_the_next_open_month_and_shown_beside_the_frozen_one(house):
    before = close(house)
    hear(house, "timely", "entry", entry("e4", 120, day="2026-08-10", at="2026-09-05T08:00:00Z"))
    with house.database.transaction() as tx:
        month = periods.next_open(tx, ENTITY, MONTH)
    time_to_billing.bill(house, month, ENTITY, "late")
    with house.database.transaction() as tx:
        charge = tx.row("select c.period, c.service_on, c.amount from charges c where c.minutes = 120")
    assert (charge["period"], str(charge["service_on"]), charge["amount"]) == (LATER, "2026-08-10", 300_000_000)
    after = shown(house)
    assert after.sha256 == before.sha256
    assert {(one.section, one.figure) for one in after.since} >= {("buckets", "quantity"), ("holds", "amount")}


def test_a_milestone_signed_for_a_closed_month_is_invoiced_in_the_next_open_one(house):
    close(house)
    gid = gid_of(house, "milestone", "X03-M1")
    with house.database.transaction() as tx:
        signed = [("milestone", gid, {"accepted_on": "2026-08-25"})]
        author(tx, house, signed, role="crm", actor="the test's client")
        tx.run("update holds set released_at = now(), release_reason = 'signed' where scope = %s", (gid,))
    milestone_billing.bill(house, gid, "late")
    with house.database.transaction() as tx:
        body = tx.value("select body from objects where kind = 'invoice' and body ->> 'code' = 'X03-M1'")
        charge = tx.row("select period, service_on from charges where fact = %s", (gid,))
    assert (body["invoice_date"], body["due_on"], body["period"]) == ("2026-09-01", "2026-10-01", LATER)
    assert (charge["period"], str(charge["service_on"])) == (LATER, "2026-08-25")


def test_reopening_takes_a_reason_and_another_person(house):
    first = close(house)
    with house.database.transaction() as tx, pytest.raises(Held, match="reason"):
        periods.propose(tx, ENTITY, MONTH, "Ana", " no ")
    with house.database.transaction() as tx:
        number = periods.propose(tx, ENTITY, MONTH, "Ana", "an invoice went to the wrong month")
    with house.database.transaction() as tx, pytest.raises(Held, match=f"approve {number}"):
        periods.propose(tx, ENTITY, MONTH, "Ben", "me too, please")
    for same in ("Ana", " ana "):
        with house.database.transaction() as tx, pytest.raises(Held) as refused:
            period_close.reopen(tx, house, number, same)
        assert refused.value.code == "ANOTHER_PERSON"
    with pytest.raises(psycopg.errors.CheckViolation), house.database.transaction() as tx:
        tx.run("update close_proposals set decided_by = 'ANA', decided_at = now()")
    with house.database.transaction() as tx:
        period_close.reopen(tx, house, number, "Ben")
    month = shown(house)
    assert (month.state, month.revision, month.sha256) == ("open", 2, None)
    assert [(one.revision, one.state, one.sha256) for one in month.revisions][1] == (1, "reopened", first.sha256)
    with house.database.transaction() as tx, pytest.raises(Held, match="Ben already"):
        period_close.reopen(tx, house, number, "Cleo")
    with house.database.transaction() as tx:
        told = tx.value("select data from events where name = 'period.reopened'")
    assert (told["code"], told["reason"], told["count"]) == (MONTH, "an invoice went to the wrong month", 2)


def test_closing_again_shows_what_differs_from_the_snapshot_before(house):
    first = close(house)
    reopened(house)
    hear(house, "ledgerly", "bill", small_firm.bill(house, "X01-DE01-2026-08", at="5", status="paid", open=0))
    hear(house, "timely", "entry", entry("e10", 30, day="2026-08-14"))
    second = close(house)
    assert (second.revision, second.state) == (2, "closed")
    assert second.sha256 != first.sha256
    differs = {(one.section, one.row, one.figure): (one.before, one.after) for one in second.revisions[0].variance}
    assert differs[("buckets", "X01-DE01 minute unbilled", "quantity")] == (None, "30")
    assert not [key for key in differs if key[0] == "invoices"]  # whether it is paid is no matter of the month


def booked_of(house, period=MONTH):
    """Return what the month's positions, journals, postings and margins say was earned, in units."""
    with house.database.transaction() as tx:
        positions = tx.value("select sum(recognised)::bigint from positions where period = %s", (period,))
        posted = tx.value(
            "select sum(credit - debit)::bigint from revenue_postings where account = '4000' and period = %s", (period,)
        )
        margins = tx.value("select sum(recognised)::bigint from margins where period = %s", (period,))
        journals = {
            held.body["code"]: held.body["total_debit"]
            for held in objects.of_kind(tx, "journal_reference")
            if held.body["journal_type"] == "revenue"
        }
        months = [
            [one["period"] for one in held.body["periods"]] for held in objects.of_kind(tx, "revenue_schedule")
        ]  # fmt: skip
    assert all(seen == sorted(set(seen)) for seen in months)
    return positions, posted, margins, journals


def test_a_reopened_month_books_what_changed_in_a_journal_of_its_own_and_nothing_twice(house):
    close(house)
    before = booked_of(house)
    assert before == (1_567_500_000, 1_567_500_000, 1_567_500_000, {"REV-DE01-2026-08": "1567.50"})
    reopened(house)
    with house.database.transaction() as tx:
        gid = small_firm.gid_of(house, "milestone", "X03-M1")
        author(tx, house, [("milestone", gid, {"accepted_on": date(2026, 8, 28)})], role="crm", actor="dealer")
    month = close(house)
    assert (month.state, month.revision) == ("closed", 2)
    after = booked_of(house)
    assert after[:3] == (6_567_500_000,) * 3
    assert after[3] == {**before[3], "REV-DE01-2026-08-R2": "5000.00"}
    reopened(house)
    assert close(house).revision == 3
    assert booked_of(house) == after
    assert close(house, period=LATER).state == "closed"
    # What August says is the ground September stands on.
    assert booked_of(house, LATER)[1] in (None, 0)


def test_months_close_in_order_and_reopen_from_the_last(house):
    close(house)
    assert close(house, period=LATER).state == "closed"
    with house.database.transaction() as tx, pytest.raises(Held, match="2026-09 is closed after"):
        periods.propose(tx, ENTITY, MONTH, "Ana", "the auditors found something")
    reopened(house, period=LATER)
    reopened(house)
    with pytest.raises(Held, match="2026-08 is not closed") as refused:
        begin(house, period=LATER)
    assert refused.value.code == "CLOSE_ORDER"


def test_a_tie_out_younger_than_the_last_message_is_not_made_again(house):
    tie_out(house, "by hand")
    month = close(house)
    assert month.state == "closed"
    with house.database.transaction() as tx:
        assert [row["run"] for row in tx.rows("select run from runs where kind = 'tie_out'")] == ["by hand"]


def test_a_system_that_is_away_blocks_the_month_and_books_nothing(house, monkeypatch):
    def away(*_):
        raise Held("the ERP does not answer", "AWAY")

    monkeypatch.setattr(house.systems["ledgerly"].client, "changes", away)
    month = close(house)
    item = next(one for one in month.items if one.item == "tie_out")
    assert (month.state, item.state) == ("open", "blocked")
    assert "does not answer" in item.sentence


def test_a_preview_looks_at_everything_and_writes_nothing(house):
    found = period_close.preview(house, ENTITY, MONTH)
    assert [row["item"] for row in found] == list(period_close.ITEMS)
    with house.database.transaction() as tx:
        assert tx.value("select count(*) from close_items") == 0
        assert tx.value("select count(*) from period_closes") == 0
    tie_out(house, "by hand")
    promised = period_close.preview(house, ENTITY, MONTH)[-1]["figures"]["sha256"]
    assert close(house).sha256 == promised


def test_what_people_cost_is_hidden_from_readers_without_the_scope(house):
    close(house)
    with house.database.transaction() as tx:
        month = closes.close(tx, ENTITY, MONTH)
    figures = {item.item: item.figures for item in month.items}
    assert figures["margin"]["labour"] == "hidden"
    cost = next(row for row in figures["journals"]["journals"] if row["type"] == "cost_allocation")
    assert cost["debit"] == "hidden"


def hub_numbers(house):
    """Let the legal entity number its invoices by the hub, and the ownership file allow it."""
    entity = house.firm.entities[ENTITY]
    house.firm.entities[ENTITY] = replace(entity, numbering=Numbering(ENTITY))
    house.ownership = ownership.load(
        default_ownership().replace("      number: erp\n      balance", "      number: hub\n      balance")
    )


def test_where_the_hub_numbers_an_invoice_gets_its_number_when_the_erp_confirms_it(database):
    house = small_firm.build(database)
    hub_numbers(house)
    small_firm.fill(house)
    with database.transaction() as tx:
        body = tx.value("select body from objects where kind = 'invoice' and body ->> 'code' = 'X01-DE01-2026-08'")
        assert body["number"] == "DE01-2026-000001"
        assert tx.value("select sentence from proposals where field = 'number'")  # the ERP's own word is kept apart
        assert tx.value("select count(*) from document_numbers") == 1
    month = close(house)
    item = next(one for one in month.items if one.item == "numbers")
    assert (item.state, item.sentence) == ("passed", "1 number, no gap.")
    for system in house.systems.values():
        system.client.close()


def test_an_invoice_dated_before_the_last_number_waits_for_a_person_and_stops_nothing_else(database):
    house = small_firm.build(database)
    hub_numbers(house)
    with database.transaction() as tx:
        numbers.assign(tx, Numbering(ENTITY), "invoice", date(2026, 12, 1), "inv_earlier")
    small_firm.fill(house)
    with database.transaction() as tx:
        body = tx.value("select body from objects where kind = 'invoice' and body ->> 'code' = 'X01-DE01-2026-08'")
        hold = tx.row("select code, reason from holds where scope_kind = 'invoice'")
        assert body["number"] is None
        assert tx.value("select count(*) from moves where to_bucket = 'invoiced'") > 0
    assert hold["code"] == "MANUAL"
    assert "2026-12-01" in hold["reason"]
    for system in house.systems.values():
        system.client.close()

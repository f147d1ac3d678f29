"""F1 and its family: silence, late commits, crashes and jobs, against the simulators over real HTTP."""

import time

import pytest
from wire_house import Wire, invoice, project

from trueup.sandbox import host
from trueup.sandbox.chaos import RATES
from trueup.store import deliveries

COOL_DOWN = 5.0
LATE = 3.0


@pytest.fixture
def sandbox(tmp_path):
    with host.running(tmp_path, systems=["netsuite", "kantata"]) as running:
        yield running


@pytest.fixture
def wire(empty, sandbox):
    made = Wire(empty, sandbox, late_commit_seconds=COOL_DOWN, index_lag_seconds=0.1)
    yield made
    made.close()


@pytest.fixture
def wary(empty, sandbox):
    """The same vendors, and an ERP that would make a second invoice of a repetition: class C."""
    made = Wire(empty, sandbox, dedupe="C", late_commit_seconds=COOL_DOWN, index_lag_seconds=0.1)
    yield made
    made.close()


def nothing_comes_any_more(wire):
    """Wait until no late write is on its way."""
    ends = time.monotonic() + 10
    while wire.sandbox.host.late():
        assert time.monotonic() < ends
        time.sleep(0.02)


def one_invoice(wire, key):
    """Check that the ERP has one invoice, and that the ledger and the crosswalk have its identifier."""
    (there,) = wire.table("netsuite", "invoice")
    gid = wire.row(key)["gid"]
    assert wire.row(key)["external_id"] == there["id"]
    (link,) = wire.rows("select external_id from crosswalk where gid = %s and object = 'invoice'", gid)
    assert link["external_id"] == there["id"]
    assert there["externalId"] == gid


def test_f1_a_timeout_after_the_commit_never_becomes_a_second_invoice(wary):
    command = invoice("F1")
    wary.ask(command)
    wary.fault("netsuite", "unk")
    assert wary.hand("netsuite") == 1
    assert wary.state(command.key) == "unknown"
    assert wary.row(command.key)["external_id"] is None, "an error is no identifier"
    wary.work("netsuite", lambda: wary.state(command.key) == "confirmed")
    assert wary.story(command.key) == [("send", "unknown"), ("find", "landed"), ("read", "confirmed")]
    one_invoice(wary, command.key)
    assert list(wary.writes("netsuite", "/invoice/").values()) == [1]
    kept = wary.rows("select object, external_id, origin from inbox")
    assert kept == [{"object": "invoice", "external_id": wary.row(command.key)["external_id"], "origin": "fetch"}]


def test_f1_a_commit_that_comes_after_the_first_look_found_nothing_is_still_one_invoice(wary):
    command = invoice("F1")
    wary.ask(command)
    wary.fault("netsuite", "late", late_seconds=LATE)
    wary.hand("netsuite")
    wary.work("netsuite", lambda: wary.row(command.key)["looks"] > 0)
    assert wary.state(command.key) == "unknown", "not there yet is not the same as not there"
    assert wary.table("netsuite", "invoice") == []
    wary.work("netsuite", lambda: wary.state(command.key) == "confirmed")
    assert wary.story(command.key) == [
        ("send", "unknown"),
        ("find", "unknown"),
        ("find", "landed"),
        ("read", "confirmed"),
    ]
    one_invoice(wary, command.key)
    assert list(wary.writes("netsuite", "/invoice/").values()) == [1]


def test_only_the_end_of_the_cool_down_lets_it_be_sent_again(wary):
    command = invoice("F1")
    wary.ask(command)
    wary.fault("netsuite", "500", writes=True)
    wary.hand("netsuite")
    silent = time.monotonic()
    assert wary.state(command.key) == "unknown"
    wary.work("netsuite", lambda: wary.state(command.key) == "due")
    assert time.monotonic() - silent >= COOL_DOWN
    assert "it did not land" in wary.row(command.key)["cause"]
    wary.work("netsuite", lambda: wary.state(command.key) == "confirmed")
    one_invoice(wary, command.key)
    assert wary.story(command.key)[0] == ("send", "unknown")
    assert wary.story(command.key)[-1] == ("send", "confirmed")


def test_an_upsert_by_our_key_is_repeated_at_once_and_a_late_commit_lands_on_the_same_invoice(wire):
    command = invoice("F1")
    wire.ask(command)
    wire.fault("netsuite", "late", late_seconds=LATE)
    wire.work("netsuite", lambda: wire.state(command.key) == "confirmed")
    nothing_comes_any_more(wire)
    assert sum(wire.writes("netsuite", "/invoice/").values()) == 2
    one_invoice(wire, command.key)


def test_a_project_the_psa_made_too_late_is_found_and_not_made_again(wire):
    command = project("W01")
    wire.ask(command)
    wire.fault("kantata", "late", late_seconds=LATE)
    wire.work("kantata", lambda: wire.state(command.key) == "confirmed")
    nothing_comes_any_more(wire)
    (there,) = wire.table("kantata", "workspaces")
    assert wire.row(command.key)["external_id"] == there["id"]
    assert wire.story(command.key)[-2:] == [("find", "landed"), ("read", "confirmed")]


def test_while_a_write_is_unknown_the_next_one_for_its_object_waits_and_others_go(wire):
    first, second, other = project("W01"), project("W01", purpose="amend#2", budget="70000.00"), project("W02")
    wire.ask(first)
    wire.fault("kantata", "late", late_seconds=LATE)
    wire.hand("kantata")
    assert wire.state(first.key) == "unknown"
    wire.ask(second, other)
    wire.work("kantata", lambda: wire.state(other.key) == "confirmed")
    assert wire.state(first.key) == "unknown"
    assert wire.state(second.key) == "due"
    wire.work("kantata", lambda: wire.state(second.key) == "confirmed")
    assert sorted(row["price_in_cents"] for row in wire.table("kantata", "workspaces")) == [6000000, 7000000]


def test_a_write_whose_worker_died_after_the_commit_is_found_by_another(wary):
    """The worker writes down what it sends, sends it, and is gone before it can write what came of it."""
    command = invoice("F1")
    wary.ask(command)
    system = wary.house.systems["netsuite"]
    with wary.house.database.transaction() as tx:
        (claimed,) = deliveries.claim(tx, "netsuite", 10, "dead", 3600.0)
        body = {"n": 1}
        deliveries.about_to_send(tx, [(command.key, claimed.fence, body, "digest", "m", 1, None)])
    mapping = wary.house.outward[("invoice", "netsuite", "invoice")]
    from trueup.mapping.outward import outward

    links = {row["gid"]: row["external_id"] for row in wary.rows("select gid, external_id from crosswalk")}
    body = outward(mapping, command.source, lambda gid, name: links[gid]).body
    made = system.client.send("invoice", command.gid, body, None).external_id
    with wary.house.database.transaction() as tx:
        assert deliveries.release(tx, "dead") == 1
    wary.work("netsuite", lambda: wary.state(command.key) == "confirmed", worker="another")
    assert wary.row(command.key)["external_id"] == made
    assert wary.story(command.key) == [("find", "landed"), ("read", "confirmed")]
    one_invoice(wary, command.key)


def test_what_may_not_be_tried_twice_is_parked_for_a_person_and_holds_its_object(empty, sandbox):
    wire = Wire(empty, sandbox, dedupe="D")
    first, second = invoice("F1"), invoice("F1", purpose="amend#2")
    wire.ask(first, second)
    wire.fault("netsuite", "unk")
    wire.work("netsuite", lambda: wire.state(first.key) == "parked")
    assert wire.hand("netsuite") == 0
    assert wire.row(first.key)["code"] == "silence"
    (there,) = wire.table("netsuite", "invoice")
    with empty.transaction() as tx:
        deliveries.landed(tx, first.key, there["id"])
    wire.work("netsuite", lambda: wire.state(second.key) == "confirmed")
    one_invoice(wire, first.key)
    wire.close()


def test_while_the_system_is_down_a_look_says_nothing_and_comes_less_and_less_often(wary):
    command = invoice("F1")
    wary.ask(command)
    wary.fault("netsuite", "before")
    wary.hand("netsuite")
    wary.house.systems["netsuite"].client.read_tries = 1
    wary.sandbox.host.chaos.use(["5xx"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RATES, "5xx", 1.0)
        patch.setattr("trueup.sandbox.chaos.LONGEST_RUN", 10**6)
        time.sleep(COOL_DOWN)
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            if not wary.hand("netsuite"):
                time.sleep(0.02)
        assert wary.state(command.key) == "unknown", "that nobody could look is no word about the write"
        assert 1 <= wary.row(command.key)["looks"] <= 5
    wary.sandbox.host.chaos.use([])
    wary.work("netsuite", lambda: wary.state(command.key) == "confirmed")
    one_invoice(wary, command.key)


# --- jobs --------------------------------------------------------------------------------------------------------------

LONG = 200


def test_a_long_invoice_is_posted_as_a_job_and_a_short_one_while_we_wait(wire):
    long, short = invoice("LONG", lines=LONG), invoice("SHORT", lines=LONG - 1)
    wire.ask(long, short)
    wire.hand("netsuite")
    assert (wire.state(long.key), wire.state(short.key)) == ("processing", "confirmed")
    wire.work("netsuite", lambda: wire.state(long.key) == "confirmed")
    assert wire.story(long.key) == [("send", "processing"), ("ask", "processing"), ("ask", "confirmed")]
    there = {row["externalId"]: row for row in wire.table("netsuite", "invoice")}
    assert len(there[long.gid]["item"]) == LONG
    assert wire.row(long.key)["external_id"] == there[long.gid]["id"]


def test_a_job_whose_acceptance_was_lost_is_followed_under_its_key(wire):
    command = invoice("LONG", lines=LONG)
    wire.ask(command)
    wire.fault("netsuite", "unk")
    wire.hand("netsuite")
    assert wire.state(command.key) == "unknown"
    wire.work("netsuite", lambda: wire.state(command.key) == "confirmed")
    assert wire.story(command.key)[:2] == [("send", "unknown"), ("send", "processing")]
    assert len(wire.table("netsuite", "_jobs")) == 1, "the second call was answered with the first one's job"
    assert list(wire.writes("netsuite", "/invoice/").values()) == [1]
    one_invoice(wire, command.key)


def test_a_job_that_is_refused_is_a_refusal_and_its_repetition_is_another_call(wire):
    command = invoice("LONG", lines=LONG)
    account = wire.sandbox.simulator("netsuite")
    with account.lock:
        account.close_period("2026-08")
    wire.ask(command)
    wire.work("netsuite", lambda: wire.state(command.key) == "rejected")
    assert wire.row(command.key)["code"] == "CLOSED_PERIOD"
    with account.lock:
        account.reopen_period("2026-08")
    with wire.house.database.transaction() as tx:
        deliveries.resend(tx, [command.key])
    wire.work("netsuite", lambda: wire.state(command.key) == "confirmed")
    assert [row["key"] for row in wire.table("netsuite", "_jobs")] != []
    assert len({row["key"] for row in wire.table("netsuite", "_jobs")}) == 2
    one_invoice(wire, command.key)


def test_a_job_that_never_ends_becomes_silence_is_looked_for_and_sent_again(empty, sandbox):
    wire = Wire(empty, sandbox, late_commit_seconds=1.0, job_minutes=0.02, poll_seconds=(0.3,))
    account = wire.sandbox.simulator("netsuite")
    account.jobs_stuck = True
    command = invoice("LONG", lines=LONG)
    wire.ask(command)
    wire.work("netsuite", lambda: wire.state(command.key) == "unknown")
    assert "did not end" in wire.row(command.key)["cause"]
    account.jobs_stuck = False
    wire.work("netsuite", lambda: wire.state(command.key) == "confirmed")
    one_invoice(wire, command.key)
    wire.close()


def test_a_job_whose_worker_died_goes_on_with_another(wire):
    command = invoice("LONG", lines=LONG)
    account = wire.sandbox.simulator("netsuite")
    account.job_seconds = 1.0
    wire.ask(command)
    wire.hand("netsuite", "first")
    assert wire.state(command.key) == "processing"
    wire.work("netsuite", lambda: wire.state(command.key) == "confirmed", worker="second")
    assert list(wire.writes("netsuite", "/invoice/").values()) == [1]
    one_invoice(wire, command.key)

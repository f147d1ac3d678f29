"""Two workers share one database; when one is killed in the middle of something, the other ends it, once."""

import time
from contextlib import ExitStack

import pytest
from hubs import eventually

from trueup.processes import time_to_billing
from trueup.sandbox.oracle import compare, expected, read_systems
from trueup.sandbox.verdict import duplicates
from trueup.store import ledger

pytestmark = pytest.mark.scenario

TAKEOVER_SECONDS = 30.0
WORK_SECONDS = 180.0
SLOW = ("kantata", "netsuite")


@pytest.fixture(scope="module")
def opened(site):
    """The firm has opened, and two workers have taken everything in."""
    site.sandbox.host.advance()
    site.worker()
    site.worker()
    people = len(site.sandbox.host.firm()["people"])
    known = "select count(*) as people from objects where kind = 'resource'"
    eventually(lambda: site.row(known)["people"] == people and not site.open_work(), "the opening", WORK_SECONDS)
    return site


def killed(site, executor):
    """Kill the worker of this name; return when it was."""
    (hub,) = (one for one in site.hubs if site.living().get(one.pid) == executor)
    hub.kill()
    return time.monotonic()


def two_workers(site):
    """See to it that two workers live."""
    alive = [hub for hub in site.hubs if hub.process.poll() is None]
    for _ in range(2 - len(alive)):
        site.worker()


def test_a_worker_killed_while_it_writes_to_vendors_is_replaced_and_nothing_is_written_twice(opened):
    site = opened
    site.sandbox.host.advance()
    with ExitStack() as slow:  # the vendors take the calls and do not answer yet
        for name in SLOW:
            slow.enter_context(site.sandbox.simulator(name).lock)
        sending = "select key, leased_by from deliveries where state = 'sending' and system = any(%s)"
        first = eventually(lambda: site.rows(sending, (list(SLOW),)), "deliveries under way", WORK_SECONDS)
        victim = first[0]["leased_by"]
        time.sleep(0.5)  # the calls are on the wire
        mine = [row["key"] for row in site.rows(sending, (list(SLOW),)) if row["leased_by"] == victim]
        at = killed(site, victim)
    left = "select key, state from deliveries where key = any(%s) and state <> 'confirmed'"
    eventually(lambda: not site.rows(left, (mine,)), "the dead worker's deliveries", TAKEOVER_SECONDS)
    assert time.monotonic() - at < TAKEOVER_SECONDS
    eventually(lambda: not site.open_work(), "the rest of the work", WORK_SECONDS)
    assert duplicates(site.sandbox.host.dump()) == []
    truth = expected(site.sandbox.host.firm(), "deals_won")["systems"]
    assert compare(truth, read_systems(site.sandbox.host.dump())) == []
    attempts = "select key from delivery_attempts where key = any(%s) and outcome = 'confirmed' group by key having count(*) > 1"
    assert site.rows(attempts, (mine,)) == []


def test_a_process_killed_in_the_middle_of_its_step_is_done_by_the_other_worker_once(opened):
    site = opened
    two_workers(site)
    eventually(lambda: not site.open_work(), "quiet", WORK_SECONDS)
    retainer = next(line for deal in site.sandbox.host.firm()["deals"] for line in deal["lines"] if line["monthly_fee"])
    entity = retainer["legal_entity"]
    run = time_to_billing.run_name("2026-08", entity)
    status = "select status, executor_id from dbos.workflow_status where workflow_uuid = %s"
    with site.database.transaction() as ours:  # the step cannot go on while we hold the name of its run
        assert ledger.begin_run(ours, run, "billing", entity, "2026-08")
        with site.database.transaction() as tx:
            process = time_to_billing.start(tx, "2026-08", entity)
        row = eventually(
            lambda: next((r for r in site.rows(status, (process,)) if r["status"] == "PENDING"), None), "the process"
        )
        time.sleep(0.5)
        at = killed(site, row["executor_id"])
        ours.run("rollback")
    done = eventually(
        lambda: next((r for r in site.rows(status, (process,)) if r["status"] == "SUCCESS"), None),
        "the process to end",
        TAKEOVER_SECONDS,
    )
    assert time.monotonic() - at < TAKEOVER_SECONDS
    assert done["executor_id"] != row["executor_id"]
    eventually(lambda: not site.open_work(), "its invoices", WORK_SECONDS)
    (fee,) = site.rows("select * from charges where kind = 'fee'")
    assert fee["amount"] > 0
    codes = [one["custbody_trueup_code"] for one in site.table("netsuite", "invoice")]
    deal = retainer["key"].partition("-")[0]
    assert codes == [f"{deal}-{entity}-2026-08"]
    assert duplicates(site.sandbox.host.dump()) == []

"""Nothing strands: over a deploy, a database restart, a killed and a stopped worker; and what does is named.

The first test is capability story F12: a parked process waits for ever after a deploy and "looks healthy in every
status read".
"""

import os
import signal
import subprocess
import sys
import time

import processes_for_tests
import pytest
from test_engine import PROGRAM, SECONDS, ended, open_gate, remembered, start, status, traces, until, words

from trueup import engine
from trueup.reporting import watchdog
from trueup.store import deliveries, embedded, inbox, migrate
from trueup.store.database import Database
from trueup.store.deliveries import Command
from trueup.store.inbox import Arrival

TAKEOVER_SECONDS = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of our own: these tests restart it."""
    folder = tmp_path_factory.mktemp("restarted")
    yield folder, embedded.start(folder)
    embedded.destroy(folder)


@pytest.fixture(scope="module")
def database(server):
    """A database with the engine's tables and ours."""
    _, url = server
    migrate.migrate(url)
    opened = Database(url, size=8).open()
    engine.Engine(opened).prepare()
    with opened.transaction() as tx:
        tx.run(processes_for_tests.TABLES)
    yield opened
    opened.close()


class Worker:
    """A worker in a process of its own, running some release of the code."""

    def __init__(self, url, release=""):
        self.running = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, *([release] if release else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = self.running.stdout.readline().split()
        assert said[:1] == ["ready"], "the worker did not start"
        self.executor = said[1]

    def signal(self, number):
        """Send it a signal."""
        os.kill(self.running.pid, number)

    def end(self):
        """Kill it, if it still lives."""
        if self.running.poll() is None:
            self.running.send_signal(signal.SIGCONT)
            self.running.kill()
        self.running.wait(SECONDS)
        self.running.stdin.close()
        self.running.stdout.close()


@pytest.fixture
def workers(database):
    """Start workers; they end with the test."""
    made = []

    def make(release=""):
        made.append(Worker(database.url, release))
        return made[-1]

    yield make
    for one in made:
        one.end()


def stalled(database, kind, seconds=0.5):
    with database.transaction() as tx:
        return [one for one in watchdog.stalled(tx, dict.fromkeys(watchdog.LIMITS, seconds)) if one.kind == kind]


def test_f12_a_deploy_strands_no_process_that_waits_for_a_hold_and_a_database_restart_loses_none(
    server, database, workers
):
    folder, _ = server
    old = workers("ended by the old release")
    waiting = [start(database, "deployed", f"f12-{number}", f"f12-{number}") for number in range(3)]
    until(lambda: all(remembered(database, one) == 1 for one in waiting))
    old.signal(signal.SIGKILL)  # the deploy: the old release ends in the middle, a changed one starts
    workers("ended by the new release")
    until(lambda: {row["executor_id"] for row in owners(database, waiting)} != {old.executor}, TAKEOVER_SECONDS)
    embedded.stop(folder)  # the database restarts while the work is being taken over
    embedded.start(folder)
    for number in range(3):
        until(lambda number=number: gate(database, f"f12-{number}"))
    for process in waiting:
        ended(database, process)
    for number in range(3):
        said = words(database, f"f12-{number}")
        assert said[0] == "begun"
        assert said.count("begun") == 1  # the step that was done is not done again
        assert said[-1] == "ended by the new release"
    assert stalled(database, "process") == []


def gate(database, name):
    """Open a gate as soon as the database is back."""
    try:
        open_gate(database, name)
    except Exception:
        return False
    return True


def owners(database, processes):
    with database.transaction() as tx:
        return tx.rows("select executor_id from dbos.workflow_status where workflow_uuid = any(%s)", (processes,))


def test_the_watchdog_names_a_process_that_nobody_carries_on(database, workers):
    """Work of a version that no worker runs: queued for ever, and healthy in every list."""
    process = start(database, "two_steps", "stranded", "stranded")
    with database.transaction() as tx:
        tx.run("update dbos.workflow_status set application_version = 'older' where workflow_uuid = %s", (process,))
    workers()
    time.sleep(1.0)
    assert status(database, process) == "ENQUEUED"
    (found,) = [one for one in stalled(database, "process") if one.key == process]
    assert "queued" in found.sentence
    assert "no worker runs version older" in found.advice
    with database.transaction() as tx:
        tx.run(
            "update dbos.workflow_status set application_version = %s where workflow_uuid = %s",
            (engine.VERSION, process),
        )
    ended(database, process)
    assert [one for one in stalled(database, "process") if one.key == process] == []


def test_a_process_that_an_open_hold_keeps_is_no_finding(database):
    process = start(database, "two_steps", "mil_kept", "x")
    hold = "insert into holds (code, scope, scope_kind, owner, reason, releases_when) values ('SIGNOFF_MISSING', %s, 'milestone', 'PM', 'not signed', 'the signature')"
    with database.transaction() as tx:
        tx.run(
            "update dbos.workflow_status set application_version = 'older', created_at = created_at - 10000 where workflow_uuid = %s",
            (process,),
        )
        tx.run(hold, ("mil_kept",))
    assert process not in [one.key for one in stalled(database, "process")]
    with database.transaction() as tx:
        tx.run(
            "update holds set released_at = now(), released_by = 'Ana', release_reason = 'signed' where scope = 'mil_kept'"
        )
    assert process in [one.key for one in stalled(database, "process")]
    with database.transaction() as tx:
        tx.run("delete from dbos.workflow_status where workflow_uuid = %s", (process,))


def test_messages_deliveries_cursors_and_leases_that_stand_still_are_named(database):
    with database.transaction() as tx:
        tx.run("insert into systems (system, connector, role, last_ok_at) values ('erp', 'x', 'erp', now())")
        tx.run(
            "insert into cursors (system, object, cursor, read_at) values ('erp', 'bill', '1', now() - interval '1 day')"
        )
        inbox.keep(tx, "erp", [Arrival("bill", "1", "1", b"{}")], origin="poll", lane="master")
        deliveries.ask(
            tx,
            [
                Command("w1", "erp", "bill", "inv_1", "invoice", "create", "C"),
                Command("w2", "erp", "bill", "inv_2", "invoice", "create", "C", depends_on=("w1",)),
                Command("l1", "erp", "bill", "inv_3", "invoice", "create", "C"),
            ],
        )
        tx.run("update inbox set received_at = now() - interval '1 hour', due_at = now() - interval '1 hour'")
        tx.run("update deliveries set due_at = now() - interval '1 hour'")
        tx.run("update deliveries set leased_by = 'nobody', lease_until = now() + interval '1 hour' where key = 'l1'")
    assert [one.system for one in stalled(database, "message", 60)] == ["erp"]
    (write,) = stalled(database, "delivery", 60)
    assert write.key == "w1"  # what waits for w1 is no finding of its own
    assert write.sentence.startswith("1 write of bill is due")
    assert [one.key for one in stalled(database, "cursor", 60)] == ["erp/bill"]
    assert [one.key for one in stalled(database, "lease", 0)] == ["nobody"]
    # A system that is away is shown as what it is; what waits for it is no alarm.
    with database.transaction() as tx:
        tx.run("update systems set last_error = 'away', last_error_at = now() + interval '1 second'")
    assert stalled(database, "delivery", 60) == []
    assert stalled(database, "cursor", 60) == []
    with database.transaction() as tx:
        tx.run("truncate inbox, deliveries, cursors, systems cascade")


def test_a_dead_workers_work_is_taken_over_within_thirty_seconds(database, workers):
    first = workers()
    processes = [start(database, "long_wait", f"bound-{number}", f"bound-{number}") for number in range(4)]
    until(lambda: all(remembered(database, one) == 1 for one in processes))
    workers()
    first.signal(signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: first.executor not in {row["executor_id"] for row in owners(database, processes)}, TAKEOVER_SECONDS)
    took = time.monotonic() - killed
    for number in range(4):
        open_gate(database, f"bound-{number}")
    for process in processes:
        ended(database, process)
    assert took < TAKEOVER_SECONDS
    assert all(words(database, f"bound-{number}").count("begun") == 1 for number in range(4))


def test_a_stopped_worker_keeps_its_work_is_named_and_no_step_runs_in_two_processes(database, workers):
    """SIGSTOP is no death: the lock is held, so nobody takes the work; the watchdog says who hangs."""
    first = workers()
    process = start(database, "long_wait", "stopped", "stopped")
    until(lambda: remembered(database, process) == 1)
    second = workers()
    first.signal(signal.SIGSTOP)
    time.sleep(engine.GRACE_SECONDS + 3 * engine.BEAT_SECONDS)
    assert {row["executor_id"] for row in owners(database, [process])} == {first.executor}
    assert [one.key for one in stalled(database, "worker", 5.0)] == [first.executor]
    open_gate(database, "stopped")
    time.sleep(1.0)
    assert words(database, "stopped") == ["begun"]
    first.signal(signal.SIGCONT)
    ended(database, process)
    assert len(words(database, "stopped")) == 2
    assert {row["executor"] for row in traces(database, "stopped")} == {first.executor}
    until(lambda: stalled(database, "worker", 5.0) == [])

    # A stopped worker that an operator ends is dead: its work goes on elsewhere, once.
    again = start(database, "long_wait", "ended", "ended")
    until(lambda: remembered(database, again) == 1)
    owner = first if traces(database, "ended")[0]["executor"] == first.executor else second
    owner.signal(signal.SIGSTOP)
    owner.signal(signal.SIGKILL)
    open_gate(database, "ended")
    ended(database, again)
    assert words(database, "ended").count("begun") == 1
    assert len(words(database, "ended")) == 2

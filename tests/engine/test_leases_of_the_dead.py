"""What a dead worker had claimed is free as soon as it is known to be dead, not when its leases run out."""

import time

import pytest

from trueup import engine
from trueup.store import deliveries, executors, inbox
from trueup.store.deliveries import Command
from trueup.store.inbox import Arrival

LEASE_SECONDS = 3600.0
SECONDS = 30.0


@pytest.fixture
def one_each(database):
    """One delivery and one announced record that nobody has claimed."""
    with database.transaction() as tx:
        tx.run("truncate inbox, deliveries cascade")
        tx.run("update executors set ended_at = now()")
        inbox.keep(tx, "crm", [Arrival("Account", "1", "1", b"{}")], origin="webhook", lane="notice")
        deliveries.ask(tx, [Command("a", "erp", "customer", "cus_1", "customer", "create", "C")])


def claim(database, worker):
    """Return what a worker can claim now."""
    with database.transaction() as tx:
        claimed = deliveries.claim(tx, "erp", 10, worker, LEASE_SECONDS)
        deliveries.about_to_send(
            tx, [(one.key, one.fence, {}, "digest", "m", 1, None) for one in claimed if one.state == "due"]
        )
        return claimed, inbox.lease(tx, "notice", 10, worker, LEASE_SECONDS)


def silent(database, presence):
    """Let a worker's last heartbeat be longer ago than the grace."""
    with database.transaction() as tx:
        tx.run("update executors set beat_at = now() - interval '1 hour' where executor = %s", (presence.executor,))


def die(database, presence):
    """Cut a worker off, and wait until the server has noticed: its lock is gone with its backend."""
    backend = presence._connection.info.backend_pid
    presence._connection.close()
    ends = time.monotonic() + SECONDS
    while True:
        with database.transaction() as tx:
            if not tx.value("select count(*) from pg_stat_activity where pid = %s", (backend,)):
                return
        assert time.monotonic() < ends, "the server does not notice"
        time.sleep(0.02)


def look(database):
    with database.transaction() as tx:
        return engine.take_over(tx)


def test_a_dead_workers_delivery_and_message_are_free_at_once_and_the_delivery_is_looked_for(database, one_each):
    dead = executors.Presence(database)
    sent, announced = claim(database, dead.executor)
    assert (len(sent), len(announced)) == (1, 1)
    silent(database, dead)
    assert look(database) == 0, "its lock is held: it lives"
    assert claim(database, "another") == ([], [])
    die(database, dead)
    assert look(database) == 2
    again, heard = claim(database, "another")
    assert [(one.key, one.state, one.fence) for one in again] == [("a", "unknown", sent[0].fence + 1)]
    assert [one.number for one in heard] == [announced[0].number]
    assert look(database) == 0


def test_what_the_dead_one_says_afterwards_changes_nothing(database, one_each):
    dead = executors.Presence(database)
    (sent,), _ = claim(database, dead.executor)
    silent(database, dead)
    die(database, dead)
    look(database)
    claim(database, "another")
    with database.transaction() as tx:
        late = deliveries.Result(sent.key, sent.fence, "confirmed", "send", external_id="9")
        assert deliveries.settle(tx, [late]) == set()
        assert deliveries.state_of(tx, "a") == "unknown"


def test_a_worker_that_left_leaves_its_work_to_others_after_the_grace(database, one_each):
    left = executors.Presence(database)
    claim(database, left.executor)
    left.leave()
    assert look(database) == 0
    silent(database, left)
    assert look(database) == 2


def test_a_worker_taken_for_dead_while_the_database_was_away_lives_and_can_die_again(database, one_each):
    worker = executors.Presence(database)
    silent(database, worker)
    die(database, worker)
    look(database)
    worker.beat()
    claim(database, worker.executor)
    silent(database, worker)
    assert look(database) == 0
    die(database, worker)
    assert look(database) == 2


def test_the_living_keep_what_they_have_claimed(database, one_each):
    living = executors.Presence(database)
    try:
        claim(database, living.executor)
        time.sleep(0.05)
        assert look(database) == 0
        assert claim(database, "another") == ([], [])
    finally:
        living.leave()

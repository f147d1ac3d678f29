"""Who lives holds a lock that dies with it."""

import time

from trueup.store import executors
from trueup.store.executors import Presence


def dead(database, grace=5.0):
    with database.transaction() as tx:
        return executors.dead(tx, grace)


def silent(database, presence):
    with database.transaction() as tx:
        tx.run("update executors set beat_at = now() - interval '1 minute' where executor = %s", (presence.executor,))


def cut(database):
    """Let the server end every worker's own connection."""
    with database.transaction() as tx:
        tx.run(
            """
            select pg_terminate_backend(pid, 5000) from pg_stat_activity
            where application_name = 'trueup-presence' and datname = current_database()
            """
        )


def test_every_start_has_a_name_and_a_lock_of_its_own(empty):
    one, other = Presence(empty), Presence(empty)
    try:
        assert one.executor != other.executor
        assert one.lock != other.lock
        with empty.transaction() as tx:
            assert tx.value("select count(*) from executors where ended_at is null") == 2
    finally:
        one.leave()
        other.leave()


def test_only_the_silent_without_a_lock_are_dead(empty):
    living, silent_one, gone = Presence(empty), Presence(empty), Presence(empty)
    try:
        silent(empty, silent_one)
        gone.leave()
        assert dead(empty) == []
        silent(empty, gone)
        ends = time.monotonic() + 20
        while (
            dead(empty) == [] and time.monotonic() < ends
        ):  # the server lets go of a lock a moment after the connection
            time.sleep(0.02)
        assert dead(empty) == [gone.executor]
        assert dead(empty, 3600) == []
    finally:
        living.leave()
        silent_one.leave()


def test_the_dead_are_buried_once(empty):
    gone = Presence(empty)
    gone.leave()
    silent(empty, gone)
    with empty.transaction() as tx:
        executors.bury(tx, gone.executor)
    assert dead(empty) == []


def test_two_that_look_at_once_do_not_both_see_the_dead(empty):
    gone = Presence(empty)
    gone.leave()
    silent(empty, gone)
    with empty.transaction() as one, empty.transaction() as other:
        assert executors.dead(one, 5.0) == [gone.executor]
        assert executors.dead(other, 5.0) == []


def test_who_loses_its_connection_takes_its_lock_again_with_the_next_beat(empty):
    worker = Presence(empty)
    try:
        cut(empty)
        silent(empty, worker)
        assert dead(empty) == [worker.executor]
        worker.beat()
        silent(empty, worker)
        assert dead(empty) == []
    finally:
        worker.leave()


def test_who_was_buried_alive_is_missed_when_it_dies(empty):
    worker = Presence(empty)
    cut(empty)
    with empty.transaction() as tx:
        executors.bury(tx, worker.executor)
    worker.beat()
    worker.leave()
    silent(empty, worker)
    assert dead(empty) == [worker.executor]

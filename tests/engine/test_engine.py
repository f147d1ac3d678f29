"""Durable work: begun with the caller's transaction, done once, taken over from the dead, gone on with after repair."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import processes_for_tests
import pytest

from trueup import engine
from trueup.kernel.errors import Broken
from trueup.store import migrate
from trueup.store.database import Database

SECONDS = 60.0
PROGRAM = Path(processes_for_tests.__file__)


@pytest.fixture(scope="module")
def database(database_url):
    """A database with the engine's tables and ours."""
    migrate.migrate(database_url)
    opened = Database(database_url, size=8).open()
    engine.Engine(opened).prepare()
    with opened.transaction() as tx:
        tx.run(processes_for_tests.TABLES)
    yield opened
    opened.close()


class Worker:
    """A worker in a process of its own."""

    def __init__(self, url: str) -> None:
        self._running = subprocess.Popen(
            [sys.executable, str(PROGRAM), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        said = self._running.stdout.readline().split()
        assert said[:1] == ["ready"], "the worker did not start"
        self.executor = said[1]

    def kill(self) -> None:
        """Kill it where it stands."""
        self._running.kill()
        self._end()

    def stop(self) -> None:
        """Let it finish."""
        if self._running.poll() is None:
            self._running.stdin.close()
            self._running.wait(SECONDS)
        self._end()

    def _end(self) -> None:
        self._running.wait(SECONDS)
        for stream in (self._running.stdin, self._running.stdout):
            stream.close()


@pytest.fixture(scope="module")
def worker(database):
    """A worker for the tests that need any."""
    one = Worker(database.url)
    yield one
    one.stop()


def start(database, name, key, *arguments):
    with database.transaction() as tx:
        return engine.start(tx, name, key, *arguments)


def status(database, process_id):
    with database.transaction() as tx:
        found = engine.one(tx, process_id)
    return None if found is None else found["status"]


def until(what, seconds=SECONDS):
    """Wait until something is so; gives what it is."""
    ends = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)
    return found


def ended(database, process_id, wanted="SUCCESS"):
    until(lambda: status(database, process_id) in ("SUCCESS", "ERROR"))
    assert status(database, process_id) == wanted


def traces(database, key):
    with database.transaction() as tx:
        return tx.rows("select word, executor, number from traces where key = %s order by number", (key,))


def remembered(database, process):
    """Return how many steps of a process have been written down: one whose end nobody wrote down is done again."""
    with database.transaction() as tx:
        return len(engine.steps(tx, process))


def words(database, key):
    return [row["word"] for row in traces(database, key)]


def open_gate(database, name, state="open"):
    with database.transaction() as tx:
        tx.run(
            "insert into gates values (%s, %s) on conflict (name) do update set state = excluded.state", (name, state)
        )


def test_a_process_runs_when_its_transaction_commits_and_not_when_it_does_not(database, worker):
    with database.transaction() as tx:
        undone = engine.start(tx, "two_steps", "undone", "undone")
        tx.run("rollback")
    done = start(database, "two_steps", "done", "done")
    assert (undone, done) == ("two_steps/undone", "two_steps/done")
    ended(database, done)
    assert status(database, undone) is None
    assert words(database, "undone") == []
    assert len(words(database, "done")) == 2


def test_a_process_waits_for_the_commit(database, worker):
    with database.transaction() as tx:
        late = engine.start(tx, "two_steps", "late", "late")
        time.sleep(0.7)
        assert words(database, "late") == []
    ended(database, late)


def test_the_result_of_a_step_reaches_the_next_as_json(database, worker):
    ended(database, start(database, "two_steps", "json", "json"))
    first, second = traces(database, "json")
    assert second["word"] == f"two after {first['number']} ['one', None, '1.10']"


def test_the_same_key_is_started_once(database, worker):
    with database.transaction() as tx:
        assert engine.start(tx, "two_steps", "once", "once") == engine.start(tx, "two_steps", "once", "once")
    start(database, "two_steps", "once", "once")
    ended(database, "two_steps/once")
    start(database, "two_steps", "once", "once")
    time.sleep(0.5)
    assert len(words(database, "once")) == 2


def test_started_by_many_at_once_it_is_started_once(database, worker):
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: start(database, "two_steps", "many", "many"), range(6)))
    ended(database, "two_steps/many")
    time.sleep(0.3)
    assert len(words(database, "many")) == 2


def test_a_process_nobody_knows_is_not_started(database):
    with pytest.raises(Broken, match="no process named nothing"):
        start(database, "nothing", "x")


def test_busy_is_tried_again_and_held_is_not(database, worker):
    patient, held = start(database, "patience", "p", "p"), start(database, "hold", "h", "h")
    ended(database, patient)
    ended(database, held, "ERROR")
    assert words(database, "p") == ["tried"] * 3
    assert words(database, "h") == ["tried"]


def test_a_failed_process_goes_on_from_where_it_failed(database, worker):
    process = start(database, "stumble", "s", "s")
    ended(database, process, "ERROR")
    with database.transaction() as tx:
        (failed,) = [row for row in engine.failed(tx) if row["process"] == process]
        assert failed["name"] == "stumble"
        assert "s is not mended" in str(engine.one(tx, process)["fault"])
        assert [(row["step"], row["failed"]) for row in engine.steps(tx, process)] == [
            ("trace", False),
            ("pass_when_mended", True),
        ]
    open_gate(database, "s", "mended")
    with database.transaction() as tx:
        assert engine.restart(tx, process)
    until(lambda: words(database, "s")[-1] == "after")
    ended(database, process)
    assert words(database, "s") == ["before", "tried", "tried", "after"]
    with database.transaction() as tx:
        assert [(row["step"], row["failed"]) for row in engine.steps(tx, process)] == [
            ("trace", False),
            ("pass_when_mended", False),
            ("trace", False),
        ]
        assert process not in [row["process"] for row in engine.failed(tx)]
        assert engine.one(tx, process)["fault"] is None


def test_a_failed_process_that_is_not_mended_fails_again(database, worker):
    process = start(database, "stumble", "again", "again")
    ended(database, process, "ERROR")
    with database.transaction() as tx:
        assert engine.restart(tx, process)
    until(lambda: len(words(database, "again")) == 3)
    ended(database, process, "ERROR")
    assert words(database, "again") == ["before", "tried", "tried"]


def test_what_has_not_failed_is_not_restarted(database, worker):
    process = start(database, "two_steps", "fine", "fine")
    ended(database, process)
    with database.transaction() as tx:
        assert not engine.restart(tx, process)
        assert not engine.restart(tx, "two_steps/nothing")


def test_processes_and_their_steps_can_be_seen(database, worker):
    process = start(database, "two_steps", "seen", "seen")
    ended(database, process)
    with database.transaction() as tx:
        listed = next(row for row in engine.listing(tx) if row["process"] == process)
        alone = engine.one(tx, process)
        steps = engine.steps(tx, process)
    assert listed.items() <= alone.items()
    assert (listed["name"], listed["status"], listed["executor"]) == ("two_steps", "SUCCESS", worker.executor)
    assert listed["updated_at"] >= listed["started_at"]
    assert [row["step"] for row in steps] == ["trace", "trace"]
    assert all(row["ended_at"] >= row["started_at"] for row in steps)


def test_work_of_the_dead_is_done_once_by_the_living_and_nobody_takes_it_from_the_living(database, worker):
    other = Worker(database.url)
    try:
        assert other.executor != worker.executor
        processes = [start(database, "long_wait", f"w{number}", f"w{number}") for number in range(6)]
        until(lambda: all(remembered(database, one) == 1 for one in processes))
        time.sleep(engine.GRACE_SECONDS + 2 * engine.BEAT_SECONDS)
        mine = [number for number in range(6) if traces(database, f"w{number}")[0]["executor"] == other.executor]
        with database.transaction() as tx:
            assert engine.unfinished(tx) == 6
        other.kill()
        until(lambda: not {one["executor"] for one in executors_of(database, processes)} & {other.executor})
        for number in range(6):
            open_gate(database, f"w{number}")
        for process in processes:
            ended(database, process)
    finally:
        other.kill()
    for number in range(6):
        begun, end = traces(database, f"w{number}")
        assert end["word"] == f"ended open after {begun['number']}"
        assert end["executor"] == worker.executor
        assert (begun["executor"] == other.executor) == (number in mine)


def executors_of(database, processes):
    with database.transaction() as tx:
        return [engine.one(tx, process) for process in processes]


def test_what_nobody_works_on_waits_for_the_next_who_lives(database_url, database, worker):
    other = Worker(database.url)
    other.stop()
    process = start(database, "two_steps", "next", "next")
    ended(database, process)


def test_finished_work_is_forgotten_after_its_time_and_unfinished_work_is_not(database, worker):
    old, young = start(database, "two_steps", "old", "old"), start(database, "two_steps", "young", "young")
    ended(database, old)
    ended(database, young)
    failed = start(database, "hold", "old-failed", "x")
    ended(database, failed, "ERROR")
    month = 31 * 24 * 3600 * 1000
    with database.transaction() as tx:
        tx.run(
            "update dbos.workflow_status set updated_at = updated_at - %s where workflow_uuid = any(%s)",
            (month, [old, failed]),
        )
        assert engine.forget_finished(tx) == 1
        assert engine.one(tx, old) is None
        assert engine.steps(tx, old) == []
        assert engine.one(tx, young)
        assert engine.one(tx, failed)


RELIED_ON = {
    "workflow_status": {
        "workflow_uuid", "status", "name", "executor_id", "recovery_attempts", "created_at", "updated_at", "owner_xid",
        "started_at_epoch_ms", "queue_name", "error", "completed_at",
    },
    "operation_outputs": {
        "workflow_uuid", "function_id", "function_name", "error", "started_at_epoch_ms", "completed_at_epoch_ms",
    },
    "workflow_input": {"workflow_uuid"},
    "workflow_output": {"workflow_uuid"},
}  # fmt: skip


def test_the_tables_our_statements_name_are_as_we_think(database):
    with database.transaction() as tx:
        rows = tx.rows("select table_name, column_name from information_schema.columns where table_schema = 'dbos'")
    there = {table: {row["column_name"] for row in rows if row["table_name"] == table} for table in RELIED_ON}
    assert {table: wanted - there[table] for table, wanted in RELIED_ON.items()} == {
        table: set() for table in RELIED_ON
    }


def test_the_function_that_starts_a_process_takes_what_we_give_it(database):
    with database.transaction() as tx:
        (found,) = tx.rows(
            "select proargnames from pg_proc where proname = 'enqueue_workflow' and pronamespace = 'dbos'::regnamespace"
        )
    ours = {"workflow_name", "queue_name", "workflow_id", "positional_args", "app_version", "application_name"}
    assert ours <= set(found["proargnames"])


def test_a_process_is_queued_under_our_version_with_plain_text_for_input(database):
    with database.transaction() as tx:
        process = engine.start(tx, "two_steps", "queued", "a", "b")
        row = tx.row("select * from dbos.workflow_status where workflow_uuid = %s", (process,))
        inputs = tx.row("select * from dbos.workflow_input where workflow_uuid = %s", (process,))
        tx.run("rollback")
    assert (row["status"], row["queue_name"], row["application_version"]) == ("ENQUEUED", engine.QUEUE, engine.VERSION)
    kept = f"{row} {inputs}"
    assert '"two_steps/queued"' in kept
    assert "portable_json" in kept


def test_what_is_remembered_is_plain_text_never_a_pickle(database, worker):
    process = start(database, "two_steps", "plain", "plain")
    ended(database, process)
    with database.transaction() as tx:
        found = tx.rows("select output::text, error from dbos.operation_outputs where workflow_uuid = %s", (process,))
    assert len(found) == 2
    assert all('"words"' in row["output"] for row in found)


def test_the_engine_runs_once_in_a_process_and_has_no_name_before():
    idle = engine.Engine(None)
    with pytest.raises(Broken, match="does not run"):
        _ = idle.executor

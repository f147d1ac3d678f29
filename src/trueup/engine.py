"""Durable execution in our words: process, step, start. The only file that knows DBOS.

Rules, each learned from a measured failure: an executor id of its own for every process start; a heartbeat and an
advisory lock, and a guarded takeover of a dead executor's work by any living one; plain JSON, never pickle; ids in
inputs, never payloads; one fixed application version; steps retry; a worker concurrency and a poll interval are set;
finished work is removed by us; a process starts inside our own transaction.
"""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from dbos import DBOS, DBOSConfig, StepOptions
from dbos._serialization import DBOSPortableJSONSerializer

from trueup.kernel.errors import Broken, Held, Trouble
from trueup.store import budgets, deliveries, executors, inbox, subscriptions
from trueup.store.database import Database, Tx

VERSION = "trueup-1"
QUEUE = "processes"
BEAT_SECONDS = 2.0
GRACE_SECONDS = 5.0
KEEP_DAYS = 30
CONCURRENCY = 6
HEAVY = "heavy"
"""The queue of processes that fill a worker's memory: one at a time in each worker."""

log = logging.getLogger("trueup.engine")


class Work(Protocol):
    """What a process gets: its key, and a way to do remembered actions."""

    key: str
    house: Any

    def step(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Do one action once: its JSON-plain result is remembered, after a crash it is not done again."""


Process = Callable[..., Any]
PROCESSES: dict[str, Process] = {}
QUEUES: dict[str, str] = {}


def process(function: Process) -> Process:
    """Make a function a durable process under its own name; it is called with a Work and identifiers."""
    PROCESSES[function.__name__] = function
    QUEUES[function.__name__] = QUEUE
    return function


def heavy(function: Process) -> Process:
    """Make a process one of those of which a worker does one at a time."""
    QUEUES[function.__name__] = HEAVY
    return function


class _Run:
    """A running process's hands."""

    def __init__(self, key: str, house: Any) -> None:
        self.key = key
        self.house = house

    def step(self, action: Callable[..., Any], *arguments: Any) -> Any:
        options: StepOptions = {
            "name": action.__name__,
            "retries_allowed": True,
            "max_attempts": 8,
            "interval_seconds": 0.2,
            "backoff_rate": 2.0,
            "should_retry": _worth_another_try,
        }
        return DBOS.run_step(options, lambda: action(self.house, *arguments))


def _worth_another_try(trouble: BaseException) -> bool:
    """Try again when nothing happened or the database was away; our own bugs and held work are final."""
    return isinstance(trouble, Trouble) and not isinstance(trouble, Broken | Held)


class Engine:
    """One process's part in the durable work of all."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._presence: executors.Presence | None = None

    @property
    def executor(self) -> str:
        """The name under which this process works; its leases are taken back with its processes when it dies.

        Raises    Broken before the launch.
        """
        if self._presence is None:
            raise Broken("the engine does not run in this process")
        return self._presence.executor

    def prepare(self) -> None:
        """Make the engine's own tables, so that processes can be started before any worker lives."""
        DBOS.migrate(_sqlalchemy_url(self.database.url))

    def launch(self, house: Any) -> None:
        """Begin to work: run what is queued, and take over what dead executors left.

        house  what processes may use; handed to every step
        """
        if self._presence is not None:
            raise Broken("the engine runs already in this process")
        self._presence = executors.Presence(self.database)
        config: DBOSConfig = {
            "name": "trueup",
            "system_database_url": _sqlalchemy_url(self.database.url),
            "executor_id": self._presence.executor,
            "application_version": VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "sys_db_pool_size": 12,
            "log_level": "CRITICAL",
            "notification_listener_polling_interval_sec": 0.2,
        }
        DBOS(config=config)
        for name, function in PROCESSES.items():
            DBOS.workflow(name=name)(_workflow(name, function, house))
        DBOS.launch()
        DBOS.register_queue(
            QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=0.1, on_conflict="always_update"
        )
        DBOS.register_queue(HEAVY, worker_concurrency=1, polling_interval_sec=0.2, on_conflict="always_update")
        for target in (self._beat, self._look_after):
            thread = threading.Thread(target=target, name=f"engine-{target.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop working; what is unfinished stays for others."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)
        DBOS.destroy(workflow_completion_timeout_sec=2)
        if self._presence:
            self._presence.leave()
            self._presence = None

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                if self._presence:
                    self._presence.beat()
            except Exception as away:  # the database is away: our lock is gone too, and the next beat takes it again
                log.warning("heartbeat failed: %s", type(away).__name__)

    def _look_after(self) -> None:
        rounds = 0
        while not self._stop.wait(BEAT_SECONDS):
            try:
                with self.database.transaction() as tx:
                    take_over(tx)
                    if rounds % 1800 == 0:
                        forget_finished(tx)
                        subscriptions.forget(tx, KEEP_DAYS)
                        budgets.forget_use(tx)
            except Trouble as away:
                log.warning("takeover waits: %s", away)
            rounds += 1


def _workflow(name: str, function: Process, house: Any) -> Callable[..., Any]:
    def run(key: str, *arguments: Any) -> Any:
        return function(_Run(key, house), *arguments)

    run.__name__ = run.__qualname__ = name
    return run


def start(tx: Tx, name: str, key: str, *arguments: str) -> str:
    """Start a process inside the caller's transaction; the same key starts nothing twice. Returns the process id.

    arguments  identifiers and other short texts, never objects
    """
    if name not in PROCESSES:
        raise Broken(f"there is no process named {name}")
    process_id = f"{name}/{key}"
    tx.run(
        """
        select dbos.enqueue_workflow(workflow_name => %(name)s, queue_name => %(queue)s, workflow_id => %(id)s,
            positional_args => %(arguments)s::json[], app_version => %(version)s, application_name => 'trueup')
        where not exists (select from dbos.workflow_status where workflow_uuid = %(id)s)
        """,
        {
            "name": name,
            "queue": QUEUES[name],
            "id": process_id,
            "arguments": [json.dumps(item) for item in (process_id, *arguments)],
            "version": VERSION,
        },
    )
    return process_id


def unfinished(tx: Tx) -> int:
    """Return how many processes are queued or running."""
    return int(tx.value("select count(*) from dbos.workflow_status where status in ('ENQUEUED', 'PENDING', 'DELAYED')"))


def listing(tx: Tx, limit: int = 200) -> list[dict[str, Any]]:
    """Return processes, newest first: id, name, status, executor, times, attempts."""
    return tx.rows(
        """
        select workflow_uuid as process, name, status, executor_id as executor, recovery_attempts as attempts,
            to_timestamp(created_at / 1000.0) as started_at, to_timestamp(updated_at / 1000.0) as updated_at
        from dbos.workflow_status order by created_at desc limit %s
        """,
        (limit,),
    )


def one(tx: Tx, process_id: str) -> dict[str, Any] | None:
    """Return one process: id, name, status, executor, times, attempts, fault; None when there is none of this id.

    Returns   fault as {name, message} of the exception that ended it, or None
    """
    found = tx.row(
        """
        select s.workflow_uuid as process, s.name, s.status, s.executor_id as executor, s.recovery_attempts as attempts,
            to_timestamp(s.created_at / 1000.0) as started_at, to_timestamp(s.updated_at / 1000.0) as updated_at,
            o.error as fault
        from dbos.workflow_status s left join dbos.workflow_output o on o.workflow_uuid = s.workflow_uuid
        where s.workflow_uuid = %s
        """,
        (process_id,),
    )
    if found and found["fault"]:
        found["fault"] = json.loads(found["fault"])
    return found


def beginning(tx: Tx, start: str) -> list[dict[str, Any]]:
    """Return the processes whose id begins so: id, status."""
    return tx.rows(
        """
        select workflow_uuid as process, status from dbos.workflow_status where starts_with(workflow_uuid, %s)
        order by workflow_uuid
        """,
        (start,),
    )


def steps(tx: Tx, process_id: str) -> list[dict[str, Any]]:
    """Return the remembered steps of a process, in order."""
    return tx.rows(
        """
        select function_name as step, function_id as number, error is not null as failed,
            to_timestamp(started_at_epoch_ms / 1000.0) as started_at,
            to_timestamp(completed_at_epoch_ms / 1000.0) as ended_at
        from dbos.operation_outputs where workflow_uuid = %s order by function_id
        """,
        (process_id,),
    )


def failed(tx: Tx) -> list[dict[str, Any]]:
    """Return processes that ended in an error: they need a person."""
    return tx.rows(
        """
        select workflow_uuid as process, name, to_timestamp(updated_at / 1000.0) as failed_at from dbos.workflow_status
        where status in ('ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') order by updated_at desc
        """
    )


def standing_still(tx: Tx, seconds: float, limit: int = 200) -> list[dict[str, Any]]:
    """Return unfinished processes without a step for so many seconds, oldest first, unless an open hold keeps them.

    Returns   process, name, status, executor, version, moved_at (when a step last ended, or the process last changed)
    """
    return tx.rows(
        """
        select s.workflow_uuid as process, s.name, s.status, s.executor_id as executor, s.application_version as version,
            m.moved_at
        from dbos.workflow_status s
        cross join lateral (
            select to_timestamp(greatest(s.created_at, coalesce(s.started_at_epoch_ms, 0),
                coalesce(max(o.completed_at_epoch_ms), 0)) / 1000.0) as moved_at
            from dbos.operation_outputs o where o.workflow_uuid = s.workflow_uuid) m
        where s.status in ('ENQUEUED', 'PENDING', 'DELAYED') and m.moved_at < now() - make_interval(secs => %(seconds)s)
            and not exists (
                select from holds h
                where h.released_at is null
                    and (strpos(s.workflow_uuid, h.scope) > 0 or strpos(s.workflow_uuid, h.contract) > 0))
        order by m.moved_at limit %(limit)s
        """,
        {"seconds": seconds, "limit": limit},
    )


def restart(tx: Tx, process_id: str) -> bool:
    """Queue a failed process again: the step that failed is tried again, those before it are not done twice."""
    queued = tx.run(
        """
        update dbos.workflow_status set status = 'ENQUEUED', owner_xid = null, started_at_epoch_ms = null,
            queue_name = coalesce(queue_name, %s), recovery_attempts = 0, error = null, completed_at = null
        where workflow_uuid = %s and status in ('ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
        """,
        (QUEUE, process_id),
    )
    if queued:
        # A failure is remembered like a result: left there, it would be given back instead of another try.
        tx.run(
            """
            delete from dbos.operation_outputs where workflow_uuid = %(id)s and error is not null and function_id = (
                select max(function_id) from dbos.operation_outputs where workflow_uuid = %(id)s)
            """,
            {"id": process_id},
        )
        tx.run("delete from dbos.workflow_output where workflow_uuid = %s", (process_id,))
    return bool(queued)


def take_over(tx: Tx) -> int:
    """Give the work of dead executors back, guarded by owner and status: nobody's live work moves.

    Returns   how many processes, deliveries and messages are free again
    """
    moved = 0
    for executor in executors.dead(tx, GRACE_SECONDS):
        moved += tx.run(
            """
            update dbos.workflow_status set status = 'ENQUEUED', owner_xid = null, started_at_epoch_ms = null,
                queue_name = coalesce(queue_name, %s)
            where status = 'PENDING' and executor_id = %s
            """,
            (QUEUE, executor),
        )
        moved += deliveries.release(tx, executor) + inbox.release(tx, executor)
        moved += subscriptions.release(tx, executor)
        executors.bury(tx, executor)
    return moved


def forget_finished(tx: Tx, days: int = KEEP_DAYS) -> int:
    """Remove finished processes older than some days; what they did stays in our own tables."""
    return tx.run(
        """
        with old as (
            select workflow_uuid from dbos.workflow_status
            where status in ('SUCCESS', 'CANCELLED')
                and updated_at < extract(epoch from now() - make_interval(days => %s)) * 1000
        ), outputs as (
            delete from dbos.operation_outputs where workflow_uuid in (select workflow_uuid from old)
        ), inputs as (
            delete from dbos.workflow_input where workflow_uuid in (select workflow_uuid from old)
        ), results as (
            delete from dbos.workflow_output where workflow_uuid in (select workflow_uuid from old)
        )
        delete from dbos.workflow_status where workflow_uuid in (select workflow_uuid from old)
        """,
        (days,),
    )


def _sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)

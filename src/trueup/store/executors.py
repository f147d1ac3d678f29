"""Who is working: a row with a heartbeat and an advisory lock for every living process."""

import os
import socket
import uuid
from typing import LiteralString

import psycopg

from trueup.store.database import Database, Tx

_BEAT: LiteralString = "update executors set beat_at = now(), ended_at = null where executor = %s"


class Presence:
    """One process's place among the workers. Its lock lives on a connection of its own and dies with it."""

    def __init__(self, database: Database) -> None:
        self.executor = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.lock = uuid.uuid4().int & 0x7FFF_FFFF_FFFF_FFFF
        self._url = database.url
        self._connection = self._connect()
        with database.transaction() as tx:
            tx.run(
                "insert into executors (executor, host, pid, lock) values (%s, %s, %s, %s)",
                (self.executor, socket.gethostname(), os.getpid(), self.lock),
            )

    def beat(self) -> None:
        """Say that we are alive; takes the lock again when the server has lost our connection.

        Who was taken for dead while the server was away is among the living again, and can die again.
        """
        try:
            self._connection.execute(_BEAT, (self.executor,))
        except psycopg.Error:
            self._connection.close()
            self._connection = self._connect()
            self._connection.execute(_BEAT, (self.executor,))

    def leave(self) -> None:
        """Give the lock back; what we leave undone is taken over by others as from the dead, after the grace."""
        self._connection.close()

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        connection = psycopg.connect(self._url, autocommit=True, application_name="trueup-presence")
        connection.execute("select pg_advisory_lock(%s)", (self.lock,))
        return connection


def dead(tx: Tx, grace_seconds: float) -> list[str]:
    """Return executors that are gone: heartbeat older than the grace, and nobody holds their lock."""
    rows = tx.rows(
        """
        select executor, lock from executors
        where ended_at is null and beat_at < now() - make_interval(secs => %s) order by executor
        """,
        (grace_seconds,),
    )
    return [row["executor"] for row in rows if tx.value("select pg_try_advisory_xact_lock(%s)", (row["lock"],))]


def bury(tx: Tx, executor: str) -> None:
    """Note that an executor's work has been taken over."""
    tx.run("update executors set ended_at = now() where executor = %s and ended_at is null", (executor,))


def living(tx: Tx, grace_seconds: float = 10.0) -> bool:
    """Say whether anybody works: a heartbeat that is not older than the grace."""
    return bool(
        tx.value(
            """
            select exists (select from executors
                where ended_at is null and beat_at > now() - make_interval(secs => %s))
            """,
            (grace_seconds,),
        )
    )

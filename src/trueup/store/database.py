"""The pool, the transaction, and the settings without which we refuse to start."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, cast

import psycopg
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from trueup.kernel.errors import Broken, Busy
from trueup.kernel.strict_json import write
from trueup.store.steady import Steady

Params = Mapping[str, Any] | Sequence[Any] | None
Found = dict[str, Any]

MUST_BE_ON = ("fsync", "full_page_writes")
SYNCHRONOUS = ("on", "remote_write", "remote_apply")
OLDEST = 150000


def json(value: Any) -> Jsonb:
    """Wrap a JSON-plain value (decimals become text) for a jsonb parameter."""
    return Jsonb(value, dumps=plain_json)


def plain_json(value: Any) -> str:
    """Write a JSON-plain value (decimals become text) as text, for a jsonb column of a COPY."""
    return write(value).decode()


def array(values: Iterable[str | None]) -> str:
    """Write texts as the literal of a text array, for a parameter that is cast to `text[]` in the statement.

    Ten times as quick as handing over the list, which the driver looks at and copies text by text.
    """
    held = list(values)
    if None in held:
        return "{" + ",".join("NULL" if value is None else _quoted(value) for value in held) + "}"
    texts = cast(list[str], held)
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * max(len(texts) - 1, 0):
        return "{" + ",".join(map(_quoted, texts)) + "}"
    return '{"' + joined + '"}' if texts else "{}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def byte_strings(values: Iterable[bytes]) -> str:
    """Write byte strings as the literal of an array, like `array`, for a parameter that is cast to `bytea[]`."""
    return '{"' + '","'.join("\\\\x" + value.hex() for value in held) + '"}' if (held := list(values)) else "{}"


def whole_numbers(values: Iterable[int | None]) -> str:
    """Write whole numbers as the literal of an array, like `array`."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


class Tx:
    """One transaction: everything in it happens, or nothing."""

    def __init__(self, connection: psycopg.Connection[Found]) -> None:
        self._connection = connection
        self._staged: set[str] = set()
        self._held = False

    def hold(self, key: str, *, shared: bool = False) -> None:
        """Wait until nobody else holds a key, and hold it until this transaction has ended, whatever becomes of it.

        Meant for before `one_moment`, which ends nothing of it.

        shared  others may hold it so beside us
        """
        self._held = True
        if shared:
            self.run("select pg_advisory_lock_shared(hashtextextended(%s, 0))", (key,))
        else:
            self.run("select pg_advisory_lock(hashtextextended(%s, 0))", (key,))

    def one_moment(self) -> None:
        """Let everything from here on look at the database as it is now, and forget what was read before.

        What somebody else changes from now on makes our change of it fail: nothing is done on an old look.

        Raises    Broken when something was written already: it would be kept whatever comes of the rest.
        """
        if self.value("select pg_current_xact_id_if_assigned()") is not None:
            raise Broken("something was written before the transaction began to look at one moment")
        self._connection.commit()
        self.run("set transaction isolation level repeatable read")
        self.run("select")  # the moment is that of the first query

    def let_go(self) -> None:
        """Give back what `hold` holds; the transaction has ended."""
        if self._held and not self._connection.closed:
            self._connection.rollback()
            self.run("select pg_advisory_unlock_all()")
            self._connection.commit()

    def run(self, sql: LiteralString, params: Params = None) -> int:
        """Run a statement and return how many rows it touched."""
        return self._connection.execute(sql, params).rowcount

    def rows(self, sql: LiteralString, params: Params = None) -> list[Found]:
        """Run a query and return its rows as dicts."""
        return self._connection.execute(sql, params).fetchall()

    def tuples(self, sql: LiteralString, params: Params = None) -> list[tuple[Any, ...]]:
        """Run a query and return its rows as tuples: for many rows whose columns are named in the statement."""
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(sql, params).fetchall()

    def row(self, sql: LiteralString, params: Params = None) -> Found | None:
        """Return the first row, or None."""
        return self._connection.execute(sql, params).fetchone()

    def value(self, sql: LiteralString, params: Params = None) -> Any:
        """Return the first column of the first row, or None."""
        found = self._connection.execute(sql, params).fetchone()
        return None if found is None else next(iter(found.values()))

    def text(self, sql: LiteralString, params: Params = None) -> str | None:
        """Return the first column of the first row, which is a text, or None."""
        found = self.value(sql, params)
        return None if found is None else str(found)

    def many(self, sql: LiteralString, params: Iterable[Mapping[str, Any] | Sequence[Any]]) -> None:
        """Run a statement for each set of parameters, in one round trip."""
        with self._connection.cursor() as cursor:
            cursor.executemany(sql, params)

    def copy(self, table: LiteralString, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Write rows by COPY and return how many.

        table    a table or temporary table; columns are trusted names of our own code
        """
        count = 0
        target = psycopg.sql.SQL("copy {} ({}) from stdin").format(
            psycopg.sql.Identifier(table), psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
        )
        with self._connection.cursor() as cursor, cursor.copy(target) as copy:
            for row in rows:
                copy.write_row(row)
                count += 1
        return count

    def stage(self, table: LiteralString, create: LiteralString) -> None:
        """Make a temporary table for rows on their way in; it is empty, also the second time in a transaction.

        create  makes it when it is not there yet, `on commit delete rows`
        """
        self.run(create)
        if table in self._staged:
            self._connection.execute(psycopg.sql.SQL("delete from {}").format(psycopg.sql.Identifier(table)))
        self._staged.add(table)

    def fresh(self, write: Callable[[], object]) -> bool:
        """Write what nobody should have written before; False, and nothing written, when a key is there already."""
        try:
            with self._connection.transaction():
                write()
        except psycopg.errors.UniqueViolation:
            return False
        return True

    def copy_csv(self, table: LiteralString, columns: Sequence[str], text: bytes) -> None:
        """Write rows by COPY from comma-separated values; an empty field without quotes is null."""
        target = psycopg.sql.SQL("copy {} ({}) from stdin (format csv)").format(
            psycopg.sql.Identifier(table), psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
        )
        with self._connection.cursor() as cursor, cursor.copy(target) as copy:
            copy.write(text)

    def copy_out(self, sql: LiteralString, params: Params = None, *, null: LiteralString) -> bytes:
        """Return a query's rows as comma-separated values, without a head: the quickest way to read a million.

        null  what stands for a missing value
        """
        with psycopg.ClientCursor(self._connection) as cursor:  # COPY takes no parameters: they are written into it
            query = cursor.mogrify(sql, params).encode()
            target = b"copy (" + query + b") to stdout (format csv, null '" + null.encode() + b"')"
            with cursor.copy(target) as copy:
                return b"".join(bytes(part) for part in copy)


class Database:
    """A pool of connections to one PostgreSQL database."""

    def __init__(self, url: str, *, name: str = "trueup", size: int = 8) -> None:
        self.url = url
        self.name = name
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=10.0,
            open=False,
            configure=_configure,
            kwargs={"row_factory": dict_row, "application_name": name, "options": "-c timezone=UTC"},
            connection_class=psycopg.Connection[Found],
        )
        self._lock = threading.Lock()
        self._open = False
        self.steady = Steady()

    def open(self) -> "Database":
        """Connect and check that the server keeps what it acknowledges.

        Raises    Broken when a setting would lose acknowledged data, Busy when the server cannot be reached.
        """
        with self._lock:
            if self._open:
                return self
            try:
                self._pool.open(wait=True, timeout=15)
            except psycopg.Error as away:
                raise Busy(f"the database cannot be reached: {away}") from away
            self._open = True
        with self.transaction() as tx:
            settings = {
                row["name"]: row["setting"]
                for row in tx.rows(
                    "select name, setting from pg_settings where name in "
                    "('fsync', 'full_page_writes', 'synchronous_commit', 'server_version_num')"
                )
            }
        unsafe = [name for name in MUST_BE_ON if settings[name] != "on"]
        if settings["synchronous_commit"] not in SYNCHRONOUS:
            unsafe.append("synchronous_commit")
        if unsafe:
            raise Broken(f"PostgreSQL would lose acknowledged data: turn on {', '.join(unsafe)}")
        if int(settings["server_version_num"]) < OLDEST:
            raise Broken("PostgreSQL 15 or newer is needed")
        return self

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Open a transaction; leaving the block commits it, an exception rolls it back.

        Raises    Busy when the server is away: nothing is known to have happened.
        """
        try:
            with self._pool.connection() as connection:
                tx = Tx(connection)
                try:
                    yield tx
                    connection.commit()
                finally:
                    tx.let_go()
        except (psycopg.OperationalError, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as lost:
            raise Busy(f"the database could not finish: {lost}") from lost

    def close(self) -> None:
        """Give all connections back."""
        self._pool.close()


def _configure(connection: psycopg.Connection[Found]) -> None:
    connection.execute("set statement_timeout = '120s'")
    connection.execute("set idle_in_transaction_session_timeout = '300s'")
    connection.execute(
        "set jit = off"
    )  # our statements touch many rows by few plans: compiling them costs, and gains nothing
    connection.commit()

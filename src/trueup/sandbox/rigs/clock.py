"""A database whose clock we turn: every `now()` of the hub's statements is ours, in all connections at once.

PostgreSQL looks a function up along the search path, and `pg_catalog` stands first only where it is not named. A
database whose path is `public, rig, pg_catalog` finds our `now()` in statements, and, when it was set before the
tables were made, in the defaults of their columns as well. The time stands in a sequence, because a sequence's value
belongs to no transaction: turned once, it is turned for everybody. So the hub's own code and statements run unchanged:
leases, dates of work that is due, pauses. Nothing else of the database is simulated.
"""

from datetime import UTC, datetime

from trueup.store import migrate
from trueup.store.database import Database, Tx

SECOND = 1_000_000
START = int(datetime(2026, 8, 3, 8, tzinfo=UTC).timestamp()) * SECOND
"""Where the clock of a rig begins, microseconds since 1970."""


def prepare(url: str) -> None:
    """Give an empty database a clock that can be turned, and our tables."""
    bare = Database(url, size=1).open()
    try:
        with bare.transaction() as tx:
            if tx.value("select to_regnamespace('rig')") is None:
                _make(tx)
    finally:
        bare.close()
    migrate.migrate(url)
    ready = Database(url, size=1).open()
    try:
        with ready.transaction() as tx:
            if tx.value("select to_regclass('rig.arrivals')") is None:
                _count(tx)
    finally:
        ready.close()


def steady(tx: Tx) -> None:
    """Let nobody sweep or measure our tables: where a row lies and which plan is chosen then follow from what was done."""
    tx.run(
        """
        do $$ declare one record; begin
            for one in select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'public' loop
                execute 'alter table ' || one.name || ' set (autovacuum_enabled = false)';
            end loop;
        end $$
        """
    )


def _make(tx: Tx) -> None:
    tx.run("create schema rig")
    tx.run("create sequence rig.clock")
    tx.value("select setval('rig.clock', %s)", (START,))
    tx.run(
        """
        create function rig.now() returns timestamptz language sql stable as
        $$ select timestamptz 'epoch' + last_value * interval '1 microsecond' from rig.clock $$
        """
    )
    tx.run(
        """
        create function rig.wipe() returns void language plpgsql as
        $$
        declare one record; filled boolean; names text[] := '{rig.arrivals}';
        begin
            for one in select format('%I.%I', schemaname, tablename) as name from pg_tables
                       where schemaname = 'public' and tablename <> 'alembic_version' order by 1 loop
                execute 'select exists (select from ' || one.name || ')' into filled;
                if filled then names := names || one.name::text; end if;
            end loop;
            execute 'truncate ' || array_to_string(names, ', ') || ' cascade';
            for one in select format('%I.%I', schemaname, sequencename) as name from pg_sequences
                       where schemaname = 'public' and last_value is not null loop
                perform setval(one.name::regclass, 1, false);
            end loop;
        end $$
        """
    )
    tx.run(
        """
        do $$ begin
            execute format('alter database %I set search_path = public, rig, pg_catalog', current_database());
        end $$
        """
    )


def _count(tx: Tx) -> None:
    """Let the database note each message that comes in, apart from the inbox and in the same transaction."""
    tx.run("create table rig.arrivals (number bigint primary key)")
    tx.run(
        """
        create function rig.arrived() returns trigger language plpgsql as
        $$ begin insert into rig.arrivals values (new.number); return null; end $$
        """
    )
    tx.run("create trigger rig_arrived after insert on inbox for each row execute function rig.arrived()")


def arrivals(tx: Tx) -> int:
    """Return how many messages have come in since the tables were empty."""
    return int(tx.value("select count(*) from rig.arrivals"))


def turn(tx: Tx, micros: int) -> None:
    """Set the clock, microseconds since 1970; it holds at once and for everybody, whatever becomes of this transaction."""
    tx.value("select setval('rig.clock', %s)", (micros,))


def told(tx: Tx) -> int:
    """Return what the clock says, microseconds since 1970."""
    return int(tx.value("select last_value from rig.clock"))


def wipe(tx: Tx) -> None:
    """Empty every table of ours, with the numbers they give out beginning anew."""
    tx.value("select rig.wipe()")


def careless(database: Database, connections: int) -> None:
    """Let the connections of a pool not wait for the disk: no rig that runs in one process loses power.

    connections  how many of them the pool has at most; each is taken once, so that each is told
    """
    if connections:
        with database.transaction() as tx:
            tx.run("set session synchronous_commit = off")
            careless(database, connections - 1)

"""Puts a database back to how it was, in milliseconds: what an office looked like before the next schedule."""

from psycopg import sql

from trueup.store.database import Database


class Slate:
    """What every table of ours held at one moment, kept beside them in the same database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.transaction() as tx:
            tx.run("drop schema if exists kept cascade")
            tx.run("create schema kept")
            names = tx.rows(
                """
                select tablename as name from pg_tables
                where schemaname = 'public' and tablename <> 'alembic_version' order by 1
                """
            )
            self.tables = [row["name"] for row in names]
            for name in self.tables:
                tx.run(_put("create table {} as table {}", ("kept", name), ("public", name)))

    def restore(self) -> None:
        """Let every table hold again what it held; neither triggers nor foreign keys look at it."""
        with self.database.transaction() as tx:
            tx.run("set local session_replication_role = replica")
            for name in self.tables:
                tx.run(_put("delete from {}", ("public", name)))
                tx.run(_put("insert into {} overriding system value table {}", ("public", name), ("kept", name)))


def _put(text: str, *names: tuple[str, str]) -> str:
    return sql.SQL(text).format(*(sql.Identifier(*name) for name in names)).as_string()

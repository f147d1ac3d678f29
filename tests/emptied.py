"""How a test empties a database that another test has used."""

from trueup.store.database import Database, Tx


def tables(tx: Tx) -> list[str]:
    """Name every table of ours."""
    rows = tx.rows(
        "select tablename from pg_tables where schemaname = 'public' and tablename <> 'alembic_version' order by 1"
    )
    return [row["tablename"] for row in rows]


def empty(database: Database) -> None:
    """Empty every table of ours."""
    with database.transaction() as tx:
        tx.run(f"truncate {', '.join(tables(tx))} restart identity cascade")

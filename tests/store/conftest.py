"""A migrated database for each file, empty before each test."""

import pytest

from trueup.store import migrate
from trueup.store.database import Database


@pytest.fixture(scope="module")
def database(database_url):
    """Give a database with the schema this code needs."""
    migrate.migrate(database_url)
    opened = Database(database_url, name="test", size=12).open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def tables(database):
    """Name every table of ours."""
    with database.transaction() as tx:
        rows = tx.rows(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'alembic_version' order by 1"
        )
    return [row["tablename"] for row in rows]


@pytest.fixture
def empty(database, tables):
    """Empty every table; gives the database."""
    with database.transaction() as tx:
        tx.run(f"truncate {', '.join(tables)} restart identity cascade")
    return database

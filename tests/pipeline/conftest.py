"""A migrated database for each file."""

import pytest

from trueup import engine
from trueup.store import migrate
from trueup.store.database import Database


@pytest.fixture(scope="module")
def database(database_url):
    """Give a database with our tables and the engine's."""
    migrate.migrate(database_url)
    opened = Database(database_url, size=8).open()
    engine.Engine(opened).prepare()
    yield opened
    opened.close()


@pytest.fixture
def empty(database):
    """Empty every table of ours; gives the database."""
    with database.transaction() as tx:
        names = tx.rows(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'alembic_version' order by 1"
        )
        tx.run(f"truncate {', '.join(row['tablename'] for row in names)} restart identity cascade")
    return database

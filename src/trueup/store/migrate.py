"""Brings a database to the schema this code needs; forward only, one at a time."""

from pathlib import Path

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

LOCK = 7_240_011
FOLDER = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config


def newest() -> str:
    """Return the revision this code needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current(url: str) -> str | None:
    """Return the revision the database has, or None when it is empty."""
    with psycopg.connect(url) as connection:
        if connection.execute("select to_regclass('alembic_version')").fetchone() == (None,):
            return None
        found = connection.execute("select version_num from alembic_version").fetchone()
        return str(found[0]) if found else None


def migrate(url: str) -> bool:
    """Bring the database up to date; True when there was something to do. Only one process does it, others wait."""
    if current(url) == newest():
        return False
    with psycopg.connect(url, autocommit=True) as guard:
        guard.execute("select pg_advisory_lock(%s)", (LOCK,))
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
        try:
            with engine.connect() as connection:
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
        finally:
            engine.dispose()
    return True


def run_file(name: str) -> None:
    """Run one SQL file on the migration's own connection; called by the revisions."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute((FOLDER / name).read_text("utf-8"))

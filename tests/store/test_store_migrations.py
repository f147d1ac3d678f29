"""A database that grew step by step is the same as one made at once."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from trueup.store import migrate

FOLDER = migrate.FOLDER
FILES = sorted(FOLDER.glob("*.sql"))

LAYOUT = """
select 'column', table_name || '.' || column_name, data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
    || ' ' || is_identity
from information_schema.columns where table_schema = 'public'
union all
select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'public'::regnamespace
union all
select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'
union all
select 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all
select 'function', proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace
union all
select 'comment', objoid::regclass || '.' || objsubid, description from pg_description
where classoid = 'pg_class'::regclass and objoid >= 16384
order by 1, 2, 3
"""


@pytest.fixture
def urls(postgres):
    """Make empty databases; they go after the test."""
    made = []

    def make():
        name = f"migration_{len(made)}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"drop database if exists {name} with (force)")
            connection.execute(f"create database {name}")
        made.append(name)
        return postgres.replace("/trueup?", f"/{name}?")

    yield make
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in made:
            connection.execute(f"drop database {name} with (force)")


def layout(url):
    with psycopg.connect(url) as connection:
        rows = connection.execute(LAYOUT).fetchall()
    return [row for row in rows if "alembic_version" not in row[1]]


def upgrade(url, revision):
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    try:
        with engine.connect() as connection:
            config = migrate._config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
    finally:
        engine.dispose()


def test_a_fresh_database_is_a_migrated_one(urls):
    at_once, by_steps, by_hand = urls(), urls(), urls()
    assert migrate.current(at_once) is None
    assert migrate.migrate(at_once)
    for path in FILES:
        upgrade(by_steps, path.name[:4])
        assert migrate.current(by_steps) == path.name[:4]
    with psycopg.connect(by_hand) as connection:
        for path in FILES:
            connection.execute(path.read_text("utf-8"))
    assert len(layout(at_once)) > 200
    assert layout(at_once) == layout(by_steps) == layout(by_hand)
    assert migrate.current(at_once) == migrate.current(by_steps) == migrate.newest()


def test_there_is_nothing_to_do_the_second_time(urls):
    url = urls()
    assert migrate.migrate(url)
    assert not migrate.migrate(url)


def test_several_that_migrate_at_once_do_it_once(urls):
    url = urls()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(migrate.migrate, [url] * 3))
    assert migrate.current(url) == migrate.newest()


def test_a_migration_killed_in_the_middle_is_done_again_from_the_start(urls):
    url = urls()
    dies = (
        "import os, sys, psycopg, trueup.store.migrate as m\n"
        "from pathlib import Path\n"
        "read = Path.read_text\n"
        "def stop(self, *a):\n"
        "    text = read(self, *a)\n"
        "    return text + ';select pg_sleep(30)' if self.name.startswith('0003') else text\n"
        "Path.read_text = stop\n"
        "m.migrate(sys.argv[1])\n"
    )
    running = subprocess.Popen([sys.executable, "-c", dies, url])
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(400):
                asleep = connection.execute(
                    "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
                ).fetchone()
                if asleep:
                    break
                connection.execute("select pg_sleep(0.05)")
            assert asleep
            running.kill()
            running.wait(30)
            connection.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
    finally:
        running.kill()
        running.wait(30)
    assert migrate.current(url) != migrate.newest()
    assert migrate.migrate(url)
    assert migrate.current(url) == migrate.newest()


def test_migrations_go_forward_one_by_one_each_with_its_file():
    scripts = ScriptDirectory.from_config(migrate._config())
    steps = list(scripts.walk_revisions())[::-1]
    assert [step.revision for step in steps] == [path.name[:4] for path in FILES]
    assert [step.down_revision for step in steps] == [None, *(path.name[:4] for path in FILES[:-1])]
    for step, path in zip(steps, FILES, strict=True):
        text = Path(step.path).read_text("utf-8")
        assert f'run_file("{path.name}")' in text
        assert "def downgrade" not in text


def test_every_table_has_a_key_and_the_time_it_was_written(urls):
    url = urls()
    migrate.migrate(url)
    with psycopg.connect(url) as connection:
        tables = [
            name
            for (name,) in connection.execute("select tablename from pg_tables where schemaname = 'public'")
            if name != "alembic_version"
        ]
        keys = {
            name
            for (name,) in connection.execute("select conrelid::regclass::text from pg_constraint where contype = 'p'")
        }
        times = {
            name
            for (name,) in connection.execute(
                "select table_name from information_schema.columns where column_name in ('created_at', 'received_at')"
            )
        }
    assert set(tables) <= keys
    assert set(tables) - times == {"buckets"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_migration_says_what_it_is_for(path):
    assert path.read_text("utf-8").startswith("-- ")
    assert re.fullmatch(r"[0-9]{4}_[a-z_]+\.sql", path.name)

"""The embedded server keeps what it acknowledged, whoever is killed."""

import os
import signal
import stat
import threading
import time

import psycopg
import pytest

from trueup.kernel.errors import Broken
from trueup.store import embedded
from trueup.store.database import Database

SECONDS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a running server of its own."""
    place = tmp_path_factory.mktemp("own") / "hub"
    embedded.start(place)
    yield place
    embedded.destroy(place)


@pytest.fixture
def url(folder):
    return embedded.start(folder)


def postmaster(folder):
    return int((embedded._cluster(folder).data / "postmaster.pid").read_text().split()[0])


def one(url, sql):
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchone()[0]


def test_a_running_server_is_adopted(folder, url):
    before = postmaster(folder)
    told = []
    assert embedded.start(folder, told.append) == url
    assert postmaster(folder) == before
    assert told == []


def test_the_server_is_private(folder, url):
    cluster = embedded._cluster(folder)
    assert one(url, "show listen_addresses") == ""
    assert stat.S_IMODE(cluster.socket.stat().st_mode) == 0o700
    assert stat.S_IMODE(cluster.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(cluster.state.stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace(url.split(":")[2].split("@")[0], "guess"))


def test_what_it_acknowledges_is_on_the_disk(url):
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        assert one(url, f"show {setting}") == "on"


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_would_lose_acknowledged_rows_is_refused(url, setting):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"alter system set {setting} = off")
        connection.execute("select pg_reload_conf()")
    try:
        ends = time.monotonic() + SECONDS
        while one(url, f"show {setting}") == "on" and time.monotonic() < ends:
            time.sleep(0.05)
        unsafe = Database(url, size=1)
        with pytest.raises(Broken, match=f"lose acknowledged data: turn on {setting}"):
            unsafe.open()
        unsafe.close()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter system reset all")
            connection.execute("select pg_reload_conf()")


def test_rows_acknowledged_before_the_server_is_killed_are_there_after_it(folder, url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table acknowledged (writer int, n int)")
    acknowledged = []
    enough = threading.Event()

    def write(writer):
        with psycopg.connect(url, autocommit=True) as connection:
            for n in range(10**6):
                try:
                    connection.execute("insert into acknowledged values (%s, %s)", (writer, n))
                except psycopg.OperationalError:
                    return
                acknowledged.append((writer, n))
                if len(acknowledged) > 150:
                    enough.set()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    assert enough.wait(SECONDS)
    with psycopg.connect(url) as connection:
        backends = [
            row[0] for row in connection.execute("select pid from pg_stat_activity where backend_type like 'client%'")
        ]
        os.kill(postmaster(folder), signal.SIGKILL)
        for pid in backends:
            os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join(SECONDS)
        connection.close()
    assert embedded.start(folder) == url
    with psycopg.connect(url) as connection:
        kept = set(connection.execute("select writer, n from acknowledged").fetchall())
    assert set(acknowledged) <= kept
    assert len(kept) <= len(acknowledged) + 3


def test_a_database_pool_goes_on_after_the_server_came_back(folder, url):
    database = Database(url, size=2).open()
    try:
        os.kill(postmaster(folder), signal.SIGKILL)
        for _ in range(2):
            embedded.start(folder)
        ends = time.monotonic() + SECONDS
        while True:
            try:
                with database.transaction() as tx:
                    assert tx.value("select 1") == 1
                break
            except Exception:
                assert time.monotonic() < ends
                time.sleep(0.05)
    finally:
        database.close()


def test_a_stopped_server_starts_with_its_data(folder, url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table stays (n int)")
        connection.execute("insert into stays values (7)")
    embedded.stop(folder)
    embedded.stop(folder)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert embedded.start(folder) == url
    assert one(url, "select n from stays") == 7


def test_a_password_file_nobody_can_read_does_not_cost_the_data(folder, url):
    state = embedded._cluster(folder).state
    kept = state.read_text("utf-8")
    for broken in ("", "{", "[]", '{"pass": 1}'):
        state.write_text(broken, "utf-8")
        with pytest.raises(Broken, match=r"pg\.json"):
            embedded.start(folder)
    state.write_text(kept, "utf-8")
    assert embedded.start(folder) == url
    assert one(url, "select 1") == 1


def test_a_folder_whose_data_are_gone_begins_anew(tmp_path):
    place = tmp_path / "hub"
    place.mkdir()
    (place / "pg.json").write_text('{"password": "stale"}', "utf-8")
    try:
        url = embedded.start(place)
        assert "stale" not in url
        assert one(url, "select 1") == 1
    finally:
        embedded.destroy(place)
    assert not embedded._cluster(place).data.exists()
    assert not embedded._cluster(place).state.exists()

"""The embedded server starts, whoever was killed while starting it before."""

import subprocess
import sys
import time

import psycopg
import pytest

from trueup.store import embedded

STARTS = "import sys, pathlib, trueup.store.embedded as e; print(e.start(pathlib.Path(sys.argv[1])))"
SECONDS = 60


@pytest.fixture
def folder(tmp_path):
    """A folder whose server is ended after the test."""
    yield tmp_path / "hub"
    embedded.destroy(tmp_path / "hub")


def starter(folder):
    """Start the server from a process of its own."""
    return subprocess.Popen([sys.executable, "-c", STARTS, str(folder)], stdout=subprocess.PIPE, text=True)


def killed_when(folder, path):
    """Start the server and kill the starting process as soon as a file is there."""
    running = starter(folder)
    ends = time.monotonic() + SECONDS
    try:
        while not path.exists() and running.poll() is None:
            assert time.monotonic() < ends
            time.sleep(0.001)
    finally:
        running.kill()
        running.wait(SECONDS)
        running.stdout.close()


def answers(url):
    with psycopg.connect(url) as connection:
        return connection.execute("select current_database()").fetchone() == ("trueup",)


def test_a_start_killed_at_any_step_is_followed_by_one_that_succeeds(folder):
    cluster = embedded._cluster(folder)
    for step in (cluster.data, cluster.data / "PG_VERSION", cluster.state, cluster.data / "postmaster.pid"):
        killed_when(folder, step)
    url = embedded.start(folder)
    assert answers(url)
    assert embedded.start(folder) == url


def test_a_database_that_its_killed_starter_did_not_make_is_made_by_the_next(folder):
    url = embedded.start(folder)
    with psycopg.connect(url.replace("/trueup?", "/postgres?"), autocommit=True) as connection:
        connection.execute("drop database trueup")
    assert embedded.start(folder) == url
    assert answers(url)


def test_two_that_start_at_once_use_one_server(folder):
    both = [starter(folder), starter(folder)]
    try:
        urls = [one.communicate(timeout=SECONDS)[0].strip() for one in both]
    finally:
        for one in both:
            one.kill()
            one.wait(SECONDS)
    assert urls[0] == urls[1]
    assert answers(urls[0])

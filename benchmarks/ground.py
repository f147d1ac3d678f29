"""The ground a benchmark stands on: the demo firm's workspace and a PostgreSQL of its own, gone afterwards."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from trueup.entrypoints import bootstrap
from trueup.entrypoints.demo import write_workspace
from trueup.pipeline.house import House
from trueup.sandbox.control import Control, process
from trueup.sandbox.credentials import keep_credentials
from trueup.sandbox.host import connectors
from trueup.sandbox.world import firm
from trueup.settings import Settings, load
from trueup.store import embedded

SEED = 1
NOWHERE = "http://127.0.0.1:9"
START_SECONDS = 30.0


class Ground:
    """A folder with a workspace and an embedded server; databases are made and copied as a benchmark needs them.

    url  of the server's first database
    """

    def __init__(self, folder: Path, settings: Settings, url: str) -> None:
        self.folder = folder
        self.settings = settings
        self.url = url

    def at(self, database: str) -> str:
        """Return the URL of one database."""
        return self.url.replace("/trueup?", f"/{database}?")

    def house(self, database: str = "trueup") -> House:
        """Open a database, migrated, with the firm's connectors, mappings and rules over it."""
        return open_house(self.settings, self.at(database))

    def copy(self, source: str, target: str) -> None:
        """Make a database that is another one's copy; nobody may be connected to the source."""
        with psycopg.connect(self.at("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {target} template {source}")

    def drop(self, database: str) -> None:
        """Remove a database."""
        with psycopg.connect(self.at("postgres"), autocommit=True) as connection:
            connection.execute(f"drop database {database} with (force)")


@contextmanager
def hub(workspace: Path, database: str, only: str = "") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a whole hub as its operator would; gives its address and its process; stopped at the end.

    only  web or worker; both when empty
    """
    listen = f"127.0.0.1:{free_port()}"
    words = [str(Path(sys.executable).with_name("trueup")), "up", "--workspace", str(workspace)]
    environment = dict(os.environ) | {"TRUEUP_DATABASE": database, "TRUEUP_LISTEN": listen}
    log = (workspace.parent / "hub.log").open("ab")
    running = subprocess.Popen(
        [*words, *(["--only", only] if only else [])], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
    )
    try:
        if only != "worker":
            _answers(listen, running)
        yield f"http://{listen}", running
    finally:
        running.terminate()
        running.wait(30)
        log.close()


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answers(listen: str, running: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://{listen}/healthz", timeout=1):
                return
        except OSError:
            if time.monotonic() > ends or running.poll() is not None:
                raise SystemExit("the hub does not start; see hub.log") from None
            time.sleep(0.05)


def call(url: str, connections: int, calls: list[tuple[str, dict[str, str], str]], rate: float = 0) -> list[list[Any]]:
    """Let a process of its own make calls; return (key, sent, answered, status) of each, 0 for no answer."""
    plan = json.dumps({"url": url, "connections": connections, "calls": calls, "rate": rate})
    program = [sys.executable, str(Path(__file__).with_name("load.py"))]
    made = subprocess.run(program, input=plan.encode(), stdout=subprocess.PIPE, check=True)
    return list(json.loads(made.stdout))


def open_house(settings: Settings, url: str) -> House:
    """Build a house over a database, for this process."""
    settings = replace(settings, database=url)
    return bootstrap.build(settings, bootstrap.open_database(settings))


def close(house: House) -> None:
    """Give connections to systems and database back."""
    for system in house.systems.values():
        system.client.close()
    house.database.close()


@contextmanager
def ground() -> Iterator[Ground]:
    """Make a ground whose systems are known but do not run; destroyed at the end."""
    with tempfile.TemporaryDirectory(prefix="trueup-bench-") as name:
        folder = Path(name)
        manifests = {found: connector.manifest for found, connector in connectors((), ()).items()}
        keep_credentials(folder / "sandbox" / "credentials.json", NOWHERE, SEED, manifests)
        with _serve(folder, firm(SEED), Control(folder / "sandbox")) as made:
            yield made


@contextmanager
def ground_with_simulators() -> Iterator[tuple[Ground, Control]]:
    """Make a ground whose systems are simulators in a process of their own; both end with the block."""
    with tempfile.TemporaryDirectory(prefix="trueup-bench-") as name:
        folder = Path(name)
        with process(folder / "sandbox", seed=SEED) as control, _serve(folder, control.firm(), control) as made:
            yield made, control


@contextmanager
def _serve(folder: Path, about: dict[str, Any], control: Control) -> Iterator[Ground]:
    settings = load(write_workspace(folder, about, control, "127.0.0.1:0"), {})
    try:
        yield Ground(folder, settings, embedded.start(settings.home))
    finally:
        embedded.destroy(settings.home)

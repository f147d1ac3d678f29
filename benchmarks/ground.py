"""The ground a benchmark stands on: the demo firm's workspace and a PostgreSQL of its own, gone afterwards."""

import tempfile
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

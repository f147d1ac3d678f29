"""Two systems the hub keeps alike: planned hours of a task. Each stores what it is told in its own way, and says so."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.registry import Connector
from trueup.connectors.sdk.wire import Connection, Raw, Receipt
from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance import ownership
from trueup.kernel.ids import derive
from trueup.mapping.file import load as load_mapping
from trueup.pipeline.deliver import deliver
from trueup.pipeline.house import Firm, House, System
from trueup.pipeline.ingest import author, ingest
from trueup.processes.commands import commands
from trueup.store import cursors, deliveries, inbox, objects
from trueup.store.crosswalk import Link, put
from trueup.store.database import Database, Tx
from trueup.store.inbox import Arrival

PROJECT = derive("project", "two", "way")
TASK = derive("task", "two", "way")
ROLES = {"works": "psa", "books": "erp"}
INWARD = """
mapping: {name}.Story -> task
version: 1
why: a test's own words
key: id
stamp: at
fields:
  planned_hours: {{number: hours}}
examples: [{{is: none, in: {{}}}}]
"""
OUTWARD = """
mapping: task -> {name}.Story
version: 1
why: a test's own words
fields:
  hours: {{number: planned_hours}}
examples: [{{is: none, in: {{}}}}]
"""


def quarter_up(hours: Decimal) -> Decimal:
    """A timesheet that knows quarters of an hour."""
    return (hours * 4).to_integral_value(ROUND_CEILING) / 4


def one_more_quarter(hours: Decimal) -> Decimal:
    """A rule in the system that adds the break to whatever is saved."""
    return hours + Decimal("0.25")


def exact(hours: Decimal) -> Decimal:
    return hours


class Works(VendorClient):
    """Keeps hours its own way, and remembers every call."""

    keeps: Callable[[Decimal], Decimal] = staticmethod(exact)

    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        super().__init__(manifest, connection)
        self.hours = Decimal(0)
        self.calls: list[Decimal] = []

    def post(self, object: str, key: str, body: Raw, external_id: str | None, once: str) -> Receipt:
        self.calls.append(Decimal(str(body["hours"])))
        self.hours = (
            type(self).keeps(self.calls[-1]) if "keeps" not in vars(self) else vars(self)["keeps"](self.calls[-1])
        )
        return Receipt("S1")


class TwoWays:
    """The hub between the two: each change of the task is told to both."""

    def __init__(self, database: Database, *, owner: str = "psa", **budget: float) -> None:
        systems, inward, outward = {}, {}, {}
        for name, role in ROLES.items():
            manifest = Manifest.model_validate(
                {
                    "connector": name, "title": name.capitalize(), "role": role, "tier": "bronze",
                    "base_url": "https://nowhere.example", "auth": {"scheme": "api_key"}, "credentials": ["api_key"],
                    "limits": {"concurrency": 2, "per_second": 1000, "source": "invented for tests"},
                    "reads": {"Story": {"kind": "task"}},
                    "writes": {"Story": {"kind": "task", "dedupe": "A", "write_budget": {"turns": 3, **budget}}},
                }
            )  # fmt: skip
            client = Works(manifest, Connection(name, "https://nowhere.example"))
            systems[name] = System(name, role, Connector(manifest, Path(), Works, None, {}, {}), client)
            inward[(name, "Story")] = load_mapping(INWARD.format(name=name))
            outward[("task", name, "Story")] = load_mapping(OUTWARD.format(name=name))
        rules = ownership.load(
            default_ownership().replace(
                "task:\n    create: [hub, psa]\n    owner: psa", f"task:\n    create: [hub, psa]\n    owner: {owner}"
            )
        )
        self.house = House(database, systems, inward, outward, rules, Firm("Two", {}, {}, {}))
        self.pool = ThreadPoolExecutor(2)
        self.count = 0
        with database.transaction() as tx:
            for system in systems.values():
                cursors.register(tx, system.name, system.name, system.role)
            body = {
                "status": "planned", "code": "T1", "name": "Two ways", "contract": derive("contract", "two", "way"),
                "customer": derive("customer", "two", "way"), "legal_entity": "DE01", "currency": "EUR",
            }  # fmt: skip
            author(tx, self.house, [("project", PROJECT, body)], actor="a test")
            first = {"status": "planned", "project": PROJECT, "name": "Design"}
            author(tx, self.house, [("task", TASK, first)], actor="a test")
            put(tx, [Link(name, "Story", "S1", TASK) for name in ROLES])
        self.house.reactions.append(self._tell)

    def _tell(self, tx: Tx, house: House, events: Any) -> None:
        for event in events:
            if event.name == "task.changed":
                version = event.key.rpartition("/")[2]
                for role in ROLES.values():
                    asked = commands(house, role, "task", event.subject, f"follow#{version}", latest=True)
                    deliveries.ask(tx, asked)

    def close(self) -> None:
        self.pool.shutdown()
        for system in self.house.systems.values():
            system.client.close()

    def client(self, system: str) -> Works:
        client = self.house.systems[system].client
        assert isinstance(client, Works)
        return client

    def says(self, system: str, hours: Any) -> None:
        """Let a system tell the hub of its record, and the hub take it in."""
        self.count += 1
        record = {
            "id": "S1",
            "at": f"2026-08-03T10:{self.count // 60:02}:{self.count % 60:02}Z",
            "hours": str(hours),
        }
        self.keep(system, record)
        self.take_in()

    def keep(self, system: str, record: dict[str, Any]) -> None:
        arrival = Arrival("Story", "S1", record["at"], json.dumps(record).encode())
        with self.house.database.transaction() as tx:
            inbox.keep(tx, system, [arrival], origin="poll", lane="master")

    def take_in(self) -> None:
        while ingest(self.house, "master"):
            pass

    def deliver(self) -> None:
        """Send everything that is due."""
        while sum(deliver(self.house, system, "one", self.pool) for system in self.house.systems.values()):
            pass

    def hears(self, *systems: str) -> None:
        """Let systems tell what stands there."""
        for system in systems:
            if self.client(system).calls:
                self.says(system, f"{self.client(system).hours:.2f}")

    def run(self, rounds: int = 30) -> int:
        """Send and hear until nothing is written any more; give how many writes were made, all systems together."""
        for _ in range(rounds):
            before = self.written()
            self.deliver()
            if self.written() == before:
                return before
            self.hears(*ROLES)
        return self.written()

    def written(self) -> int:
        return sum(len(self.client(name).calls) for name in ROLES)

    @property
    def hours(self) -> Decimal:
        """Return what the hub holds."""
        with self.house.database.transaction() as tx:
            held = objects.one(tx, TASK)
        assert held is not None
        return Decimal(held.body["planned_hours"])

    def rows(self, sql: Any, *params: Any) -> list[dict[str, Any]]:
        with self.house.database.transaction() as tx:
            return tx.rows(sql, params)

    def parked(self) -> list[dict[str, Any]]:
        return self.rows("select * from deliveries where code = 'write_budget' and state = 'parked' order by sequence")

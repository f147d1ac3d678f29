"""A house over two simulated vendors behind real HTTP, with what an invoice and a project need; nobody works by itself."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.client import Pace
from trueup.connectors.sdk.manifest import Manifest
from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance import ownership
from trueup.kernel.ids import derive
from trueup.mapping.file import load as load_mapping
from trueup.pipeline.deliver import deliver
from trueup.pipeline.house import Firm, House, System
from trueup.sandbox import host
from trueup.store import crosswalk, cursors, deliveries
from trueup.store.crosswalk import Link
from trueup.store.database import Database
from trueup.store.deliveries import Command

PATIENCE_SECONDS = 40.0
ENTITIES = [
    {"code": "US01", "country": "US", "currency": "USD", "name": "Nordlys Inc"},
    {"code": "DE01", "country": "DE", "currency": "EUR", "name": "Nordlys GmbH"},
    {"code": "UK01", "country": "GB", "currency": "GBP", "name": "Nordlys Ltd"},
]
BUYER = derive("customer", "wire", "buyer")


def changed(manifest: Manifest, timeout: float, **facts: Any) -> Manifest:
    """Return the manifest with every write declared so, and calls that are given up sooner."""
    writes = {name: write.model_copy(update=facts) for name, write in manifest.writes.items()}
    limits = manifest.limits.model_copy(update={"timeout_seconds": timeout, "per_second": 1000.0})
    return manifest.model_copy(update={"writes": writes, "limits": limits})


class Wire:
    """The house, its sandbox, and one worker's hand at a time."""

    def __init__(self, database: Database, sandbox: host.Running, **facts: Any) -> None:
        self.sandbox = sandbox
        self.pool = ThreadPoolExecutor(4)
        systems, outward = {}, {}
        for name in ("netsuite", "kantata"):
            connector = registry.load(name)
            connector = replace(connector, manifest=changed(connector.manifest, 10.0, **facts))
            client = connector.client(connector.manifest, sandbox.connection(name))
            client.pace = Pace(10_000, 4)
            systems[name] = System(name, connector.manifest.role, connector, client)
            for text in connector.mappings.values():
                mapping = load_mapping(text, connector.verbs)
                if mapping.outward:
                    outward[(mapping.kind, name, mapping.object)] = mapping
        firm = Firm("Wire", {}, {}, {})
        self.house = House(database, systems, {}, outward, ownership.load(default_ownership()), firm)
        erp = sandbox.simulator("netsuite")
        with erp.lock:
            erp.seed({"name": "Wire", "entities": ENTITIES, "departments": ["Consulting"]})
            body = {"companyName": "Juniper Clinics", "subsidiary": {"id": "2"}, "currency": {"id": "2"}}
            buyer = erp.create("customer", body | {"externalId": BUYER})["id"]
        with database.transaction() as tx:
            for system in systems.values():
                cursors.register(tx, system.name, system.connector.name, system.role)
            crosswalk.put(tx, [Link("netsuite", "customer", buyer, BUYER)])

    def close(self) -> None:
        self.pool.shutdown()
        for system in self.house.systems.values():
            system.client.close()

    # --- the ledger ----------------------------------------------------------------------------------------------

    def ask(self, *commands: Command) -> None:
        with self.house.database.transaction() as tx:
            assert len(deliveries.ask(tx, commands)) == len(commands)

    def hand(self, system: str, worker: str = "one") -> int:
        """Let a worker take one batch."""
        return deliver(self.house, self.house.systems[system], worker, self.pool)

    def work(self, system: str, until: Callable[[], Any], worker: str = "one") -> Any:
        """Work until something is so; return it."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while not (found := until()):
            assert time.monotonic() < ends, self.rows("select key, state, cause from deliveries order by sequence")
            if not self.hand(system, worker):
                time.sleep(0.02)
        return found

    def rows(self, sql: Any, *params: Any) -> list[dict[str, Any]]:
        with self.house.database.transaction() as tx:
            return tx.rows(sql, params)

    def row(self, key: str) -> dict[str, Any]:
        (found,) = self.rows("select * from deliveries where key = %s", key)
        return found

    def state(self, key: str) -> str:
        return str(self.row(key)["state"])

    def story(self, key: str) -> list[tuple[str, str]]:
        """Return what was done about a delivery: (action, outcome), each step once although it may repeat."""
        rows = self.rows("select action, outcome from delivery_attempts where key = %s order by attempt", key)
        told = [(row["action"], row["outcome"]) for row in rows]
        return [step for number, step in enumerate(told) if number == 0 or told[number - 1] != step]

    # --- the vendors ---------------------------------------------------------------------------------------------

    def fault(self, system: str, kind: str, **more: Any) -> None:
        self.sandbox.stage(system).fault(kind, **more)

    def table(self, system: str, name: str) -> list[dict[str, Any]]:
        simulator = self.sandbox.simulator(system)
        with simulator.lock:
            return [dict(row) for row in simulator.store.table(name).values()]

    def writes(self, system: str, part: str) -> dict[str, int]:
        """Return how often each write whose path has this part was committed."""
        return {place: times for place, times in self.sandbox.host.writes()[system].items() if part in place}


def invoice(name: str, *, lines: int = 1, purpose: str = "create", amount: str = "1000.00", **more: Any) -> Command:
    """Return the command that drafts an invoice of so many lines in the ERP."""
    gid = derive("invoice", "wire", name)
    source = {
        "gid": gid,
        "code": name,
        "customer": BUYER,
        "legal_entity": "DE01",
        "currency": "EUR",
        "invoice_date": "2026-08-31",
        "tax_treatment": "domestic_de",
        "tax": "0.00",
        "lines": [
            {
                "key": f"{number}-fee",
                "description": "Advice",
                "quantity": "1",
                "net": amount,
                "charge_kind": "fee",
            }
            for number in range(lines)
        ],
    }
    key = f"netsuite/invoice/{gid}/{purpose}"
    return Command(key, "netsuite", "invoice", gid, "invoice", purpose.partition("#")[0], "A", source=source, **more)


def project(name: str, *, purpose: str = "create", budget: str = "60000.00", **more: Any) -> Command:
    """Return the command that opens a project in the PSA."""
    gid = derive("project", "wire", name)
    source = {"gid": gid, "status": "requested", "code": name, "name": "Wire", "currency": "USD", "budget": budget}
    key = f"kantata/workspace/{gid}/{purpose}"
    return Command(key, "kantata", "workspace", gid, "project", purpose.partition("#")[0], "C", source=source, **more)

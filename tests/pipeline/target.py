"""A system that keeps a journal of what it has committed, with a clock of its own, and every way to break off a call."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.registry import Connector
from trueup.connectors.sdk.wire import Connection, Raw, Receipt, Record
from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance import ownership
from trueup.kernel.errors import Busy, Refused, Unsettled
from trueup.kernel.strict_json import write
from trueup.mapping.file import load as load_mapping
from trueup.pipeline.house import Firm, House, System
from trueup.store import cursors
from trueup.store.database import Database
from trueup.store.deliveries import Command

LATEST = 100.0
LAG = 10.0
KEY_LIFE = 3600.0
TIMEOUT = 10.0
MAPPING = """
mapping: customer -> target.thing
version: 1
why: a test's own words
fields: {value: {integer: value}}
examples: [{is: none, in: {}, problems: [value missing]}]
"""


@dataclass
class Document:
    """One business document. `at` is when it was made, by the target's clock."""

    id: str
    key: str
    value: int
    at: float


@dataclass
class Books:
    """What the target holds: documents, and the idempotency keys it remembers with the time they were seen.

    fault   what the next call meets: before, after, late, busy, refused, or nothing
    """

    dedupe: str
    now: float = 0.0
    documents: list[Document] = field(default_factory=list)
    journal: list[tuple[str, int]] = field(default_factory=list)
    keys: dict[str, tuple[float, str]] = field(default_factory=dict)
    coming: list[tuple[float, str, int, str | None, str]] = field(default_factory=list)
    fault: str = ""
    late: float = LATEST

    def pass_time(self, seconds: float) -> None:
        """Let time pass; writes whose call broke off arrive in their order."""
        self.now += seconds
        while arrived := sorted(one for one in self.coming if one[0] <= self.now):
            self.coming.remove(arrived[0])
            _, key, value, external_id, once = arrived[0]
            self.commit(key, value, external_id, once)

    def of(self, key: str) -> list[Document]:
        return [one for one in self.documents if one.key == key]

    def commit(self, key: str, value: int, external_id: str | None, once: str) -> str:
        """Do what the vendor's class says with a write, and say under which identifier."""
        there = next((one for one in self.documents if one.id == external_id), None)
        if there is None and self.dedupe == "A":
            there = next(iter(self.of(key)), None)
        if there is None and self.dedupe == "B" and once in self.keys and self.now - self.keys[once][0] < KEY_LIFE:
            return self.keys[once][1]
        self.journal.append((key, value))
        if there is not None:
            there.value = value
            return there.id
        made = Document(f"T{len(self.documents) + 1}", key, value, self.now)
        self.documents.append(made)
        self.keys[once] = (self.now, made.id)
        return made.id


class Target(VendorClient):
    """The client of the target: it shows what the vendor shows, and nothing of what it keeps to itself."""

    books: Books

    def find(self, object: str, key: str) -> Receipt | None:
        lag = 0.0 if self.books.dedupe == "A" else LAG
        seen = [one for one in self.books.of(key) if one.at + lag <= self.books.now]
        return Receipt(seen[0].id) if seen else None

    def get(self, object: str, external_id: str) -> Record | None:
        for one in self.books.documents:
            if one.id == external_id:
                return Record(object, one.id, "1", write({"value": one.value}))
        return None

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        raise AssertionError("the pipeline posts")

    def post(self, object: str, key: str, body: Raw, external_id: str | None, once: str) -> Receipt:
        books, fault = self.books, self.books.fault
        books.fault = ""
        if fault == "busy":
            raise Busy("asks us to wait")
        if fault == "refused":
            raise Refused("the period is closed", "CLOSED")
        if fault == "before":
            raise Unsettled("did not answer")
        if fault == "late":
            books.coming.append((books.now + books.late, key, int(body["value"]), external_id, once))
            raise Unsettled("did not answer")
        id = books.commit(key, int(body["value"]), external_id, once)
        if fault == "after":
            raise Unsettled("did not answer")
        return Receipt(id)


def facts(dedupe: str, **more: Any) -> Manifest:
    """Return the target's manifest."""
    life = {"key_life_hours": KEY_LIFE / 3600} if dedupe == "B" else {}
    wrote = {"kind": "customer", "dedupe": dedupe, "late_commit_seconds": LATEST, "index_lag_seconds": LAG}
    return Manifest.model_validate(
        {
            "connector": "target",
            "title": "Target",
            "role": "erp",
            "tier": "bronze",
            "base_url": "https://nowhere.example",
            "auth": {"scheme": "api_key"},
            "credentials": ["api_key"],
            "limits": {
                "concurrency": 2,
                "per_second": 1000,
                "timeout_seconds": TIMEOUT,
                "source": "invented for tests",
            },
            "writes": {"thing": wrote | life | more},
        }
    )


def build(database: Database, dedupe: str) -> tuple[House, System, Books]:
    """Return a house with one system, and what that system holds."""
    manifest = facts(dedupe)
    client = Target(manifest, Connection("target", "https://nowhere.example"))
    client.books = Books(dedupe)
    system = System("target", "erp", Connector(manifest, Path(), Target, None, {}, {}), client)
    mapping = load_mapping(MAPPING)
    outward = {("customer", "target", "thing"): mapping}
    rules = ownership.load(default_ownership())
    house = House(database, {"target": system}, {}, outward, rules, Firm("Target", {}, {}, {}))
    with database.transaction() as tx:
        cursors.register(tx, "target", "target", "erp")
    return house, system, client.books


def command(gid: str, number: int, dedupe: str) -> Command:
    """Return the number-th write of an object; its value is its number."""
    source = {"gid": gid, "value": number}
    return Command(f"target/thing/{gid}/{number}", "target", "thing", gid, "customer", "write", dedupe, source=source)

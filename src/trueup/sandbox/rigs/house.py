"""A small firm's hub over invented vendors: the hub's own pipeline, mappings and ledgers, and no call that leaves us.

`people` owns workers, `sales` owns customers, `works` owns time; every `books` system is told of all three. Workers
and customers follow their owner for ever, an approved time entry becomes one document.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from trueup.connectors.sdk.manifest import Manifest, Write
from trueup.connectors.sdk.registry import Connector
from trueup.governance import ownership
from trueup.kernel.ids import derive
from trueup.mapping.file import MappingFile, load
from trueup.pipeline.house import Firm, House, System
from trueup.pipeline.ingest import author
from trueup.processes.commands import commands
from trueup.sandbox.rigs.vendor import Client, Traits, connection, declared
from trueup.store import cursors, deliveries, objects
from trueup.store.changes import Event
from trueup.store.database import Database, Tx

OWNERS = {
    "people": ("hris", {"Worker": "resource"}),
    "sales": ("crm", {"Account": "customer"}),
    "works": ("psa", {"Time": "time_entry"}),
}
TOLD = {"Client": "customer", "Person": "resource", "Bill": "time_entry"}
MASTERS = frozenset({"customer", "resource"})
DOUBT_IS_KNOWN = "late_commit_seconds" in Write.model_fields
"""Whether manifests and ledger know of writes that may still land. Where they do not, a vendor commits in time or never,
and a target that takes no upserts takes documents only: a second version of a master must not follow a silence."""
PROJECT = derive("project", "RIG-1")
FIELDS = {"Worker": ("name", "email", "role"), "Account": ("name", "country"), "Time": ("minutes", "day")}

INWARD = """
mapping: people.Worker -> resource
key: id
stamp: at
fields:
  worker_number: {text: number}
  name: {text: name}
  email: {text: email}
  legal_entity: {text: entity}
  role: {text: role}
---
mapping: sales.Account -> customer
key: id
stamp: at
fields:
  name: {text: name}
  country: {upper: country}
  currency: {upper: currency}
---
mapping: works.Time -> time_entry
key: id
stamp: at
ignore: [{when: {kind: absence}, rule: absences, why: Absences are no work for a client.}]
fields:
  resource: {ref: who, object: employee_email}
  project: {ref: project, object: project_code}
  worked_on: {day: day}
  minutes: {integer: minutes}
  sheet: {text: id}
  status: {text: state}
"""
BOOKS_INWARD = """
mapping: {name}.Client -> customer
key: id
own: external
stamp: at
fields:
  name: {{text: name}}
  country: {{upper: country}}
"""
OUTWARD = """
mapping: customer -> {name}.Client
fields:
  external: {{text: gid}}
  version: {{integer: version}}
  name: {{text: name}}
  country: {{text: country}}
---
mapping: resource -> {name}.Person
fields:
  external: {{text: gid}}
  version: {{integer: version}}
  name: {{text: name}}
  email: {{text: email}}
  role: {{text: role}}
---
mapping: time_entry -> {name}.Bill
fields:
  external: {{text: gid}}
  version: {{integer: version}}
  who: {{ref: resource, object: Person}}
  minutes: {{integer: minutes}}
  day: {{day: worked_on}}
"""
WHO = "  who: {ref: resource, object: Person}\n"
REST = "\nversion: 1\nwhy: invented for the rigs\nexamples: [{is: none, in: {}}]\n"


def manifests(books: Mapping[str, Traits], *, everything: bool = False) -> dict[str, Manifest]:
    """Return every vendor's manifest.

    books       name of a target -> what it promises
    everything  also targets that `masters` would spare are told of masters
    """
    made = {name: declared(role, name, reads, {}, Traits()) for name, (role, reads) in OWNERS.items()}
    for name, traits in books.items():
        whole = everything or masters(traits)
        writes = TOLD if whole else {"Bill": "time_entry"}
        reads = {"Client": "customer"} if whole else {}
        made[name] = declared("erp", name, reads, writes, traits)
    return made


def masters(traits: Traits) -> bool:
    """Say whether a target is told of customers and people, or of documents only."""
    return traits.dedupe == "A" or DOUBT_IS_KNOWN


def build(database: Database, books: Mapping[str, Traits], *, everything: bool = False) -> House:
    """Return the house; every client waits for its vendor. Arguments as in `manifests`."""
    systems = {}
    for name, facts in manifests(books, everything=everything).items():
        client = Client(facts, connection(name))
        systems[name] = System(name, facts.role, Connector(facts, Path(), Client, None, {}, {}), client)
    inward: dict[tuple[str, str], MappingFile] = {}
    outward: dict[tuple[str, str, str], MappingFile] = {}
    texts = [
        INWARD,
        *(BOOKS_INWARD.format(name=name) for name in books),
        *(OUTWARD.format(name=name) for name in books),
    ]
    for text in "\n---\n".join(texts).split("\n---\n"):
        mapping = load(text.strip() + REST)
        if mapping.system in books and not (everything or masters(books[mapping.system])):
            if mapping.kind in MASTERS:
                continue
            mapping = load(text.replace(WHO, "").strip() + REST)
        if mapping.outward:
            outward[(mapping.kind, mapping.system, mapping.object)] = mapping
        else:
            inward[(mapping.system, mapping.object)] = mapping
    rules = ownership.load(files("trueup.governance").joinpath("ownership.yaml").read_text("utf-8"))
    return House(database, systems, inward, outward, rules, Firm("Rig", {}, {}, {}), [follow])


def open_up(tx: Tx, house: House) -> None:
    """Make the systems known, and the one project all time is booked on."""
    for system in house.systems.values():
        cursors.register(tx, system.name, system.connector.name, system.role)
    contract, customer = derive("contract", "RIG"), derive("customer", "RIG")
    project = {
        "code": "RIG-1", "name": "Everything", "contract": contract, "customer": customer, "legal_entity": "DE01",
        "currency": "EUR", "status": "requested",
    }  # fmt: skip
    author(tx, house, [("project", PROJECT, project)], actor="rig")


def follow(tx: Tx, house: House, events: Sequence[Event]) -> None:
    """Tell the books: masters follow their owner, an approved entry becomes one document."""
    asked = []
    for event in events:
        if event.name in ("worker.changed", "customer.changed"):
            kind = "resource" if event.name == "worker.changed" else "customer"
            version = event.key.rpartition("/")[2]
            asked += commands(house, "erp", kind, event.subject, f"follow#{version}", latest=True)
        elif event.name == "timesheet.approved":
            gid = derive("time_entry", "works", "Time", event.subject)
            asked += commands(house, "erp", "time_entry", gid, "bill", source=_source(tx, gid), priority=30)
    deliveries.ask(tx, asked)


def _source(tx: Tx, gid: str) -> dict[str, Any]:
    """Return an entry as it was approved: that, and not what becomes of it, is on the document."""
    held = objects.one(tx, gid)
    return {} if held is None else {**held.body, "gid": gid, "version": held.version}

"""A house over five invented systems whose records are short, to see what becomes of them. Nothing calls anywhere."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.registry import Connector
from trueup.connectors.sdk.wire import Connection
from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance import ownership
from trueup.mapping.file import MappingFile, load
from trueup.pipeline.house import Firm, House, System
from trueup.pipeline.ingest import ingest
from trueup.store import inbox, objects
from trueup.store.database import Database
from trueup.store.inbox import Arrival
from trueup.store.objects import Held

ROLES = {"sales": "crm", "works": "psa", "books": "erp", "people": "hris", "spend": "expense"}
MAPPINGS = """
mapping: sales.Account -> customer
key: id
stamp: at
ignore: [{when: {type: Internal}, rule: internal_accounts, why: The firm does not bill itself.}]
fields:
  name: {text: name}
  country: {upper: country}
  currency: {upper: currency}
  region: {text: region, optional: true}
---
mapping: sales.Deal -> contract
key: id
stamp: at
fields:
  code: {text: code}
  name: {text: name}
  customer: {ref: account, object: Account}
  value: {money: value, currency: currency}
  currency: {upper: currency}
  status: {one_of: stage, table: stages}
tables: {stages: {open: draft, won: signed, lost: lost}}
---
mapping: sales.Goal -> milestone
key: code
stamp: at
fields:
  code: {text: code}
  contract: {ref: deal, object: Deal}
  line_key: {text: line}
  name: {text: name}
  sequence: {integer: sequence}
  amount: {money: amount, currency: currency}
  currency: {upper: currency}
---
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
mapping: works.User -> resource
key: id
match: {email: mail}
fields:
  name: {text: name}
---
mapping: works.Project -> project
key: id
own: ours
stamp: at
fields:
  status: {one_of: state, table: states}
  starts_on: {day: from, optional: true}
tables: {states: {planned: planned, active: active}}
---
mapping: works.Story -> task
key: id
own: ours
stamp: at
fields:
  project: {ref: project, object: Project}
  name: {text: name}
  task_type: {text: type}
  completed_on: {day: done_on, optional: true}
  status: {one_of: state, table: states}
tables: {states: {new: planned, done: done}}
---
mapping: works.Time -> time_entry
key: id
stamp: at
fields:
  resource: {ref: who, object: User}
  project: {ref: project, object: Project}
  worked_on: {day: day}
  minutes: {integer: minutes}
  sheet: {text: sheet}
  status: {text: state}
---
mapping: spend.Report -> expense_line
key: [/report, line]
rows: lines
fields:
  report: {text: /report}
  line_number: {integer: line}
  resource: {ref: /who, object: employee_email}
  project: {ref: project, object: project_code}
  spent_on: {day: day}
  category: {text: category}
  amount: {number: amount}
  currency: {upper: currency}
  status: {const: approved}
---
mapping: books.Client -> customer
key: id
own: external
stamp: at
fields:
  name: {text: name}
  customer_number: {text: number}
  credit_hold: {flag: hold}
"""
LANES: dict[str, inbox.Lane] = {"Time": "volume", "Report": "volume"}
SYSTEM_OF = {
    text.partition("mapping: ")[2].partition(" ")[0].partition(".")[2]: text.partition("mapping: ")[2].partition(".")[0]
    for text in MAPPINGS.split("\n---\n")
}


def build(database: Database) -> House:
    """Return the house, with nothing in it and nobody listening."""
    inward: dict[tuple[str, str], MappingFile] = {}
    for text in MAPPINGS.split("\n---\n"):
        example = "examples: [{is: none, in: {}}]"
        mapping = load(f"{text.strip()}\nversion: 1\nwhy: a test's own words\n{example}\n")
        inward[(mapping.system, mapping.object)] = mapping
    systems = {}
    for name, role in ROLES.items():
        facts = Manifest.model_validate(
            {
                "connector": name,
                "title": name.capitalize(),
                "role": role,
                "tier": "bronze",
                "base_url": "https://nowhere.example",
                "auth": {"scheme": "api_key"},
                "credentials": ["api_key"],
                "limits": {"concurrency": 1, "per_second": 1, "source": "invented for tests"},
            }
        )
        client = VendorClient(facts, Connection(name, "https://nowhere.example"))
        systems[name] = System(name, role, Connector(facts, Path(), VendorClient, None, {}, {}), client)
    return House(database, systems, inward, {}, ownership.load(default_ownership()), Firm("Acme", {}, {}, {}))


def arrival(object_name: str, record: Mapping[str, Any], *, deleted: bool = False) -> Arrival:
    """Return a record as it would arrive; its stamp is what stands at `at`."""
    key = str(record.get("id") or record.get("report") or record.get("code") or "")
    return Arrival(object_name, key, str(record.get("at", "")), json.dumps(record).encode(), deleted)


def keep(house: House, *arrivals: Arrival, lane: inbox.Lane | None = None) -> list[int]:
    """Keep arrivals one by one, each of its object's system; gives their numbers (known ones are left out)."""
    numbers = []
    with house.database.transaction() as tx:
        for one in arrivals:
            numbers += inbox.keep(
                tx,
                SYSTEM_OF.get(one.object, "sales"),
                [one],
                origin="poll",
                lane=lane or LANES.get(one.object, "master"),
            )
    return numbers


def work(house: House, limit: int = 1000) -> None:
    """Take in until nothing is left that can be."""
    while ingest(house, "master", limit) + ingest(house, "volume", limit):
        pass


def take(house: House, object_name: str, record: Mapping[str, Any], *, deleted: bool = False) -> dict[str, Any]:
    """Keep one record, take in what can be, and give the message as it ended."""
    (number,) = keep(house, arrival(object_name, record, deleted=deleted))
    work(house)
    return message(house, number)


def message(house: House, number: int) -> dict[str, Any]:
    """Return a message."""
    with house.database.transaction() as tx:
        found = inbox.message(tx, number)
    assert found is not None
    return found


def held(house: House, gid: str) -> Held | None:
    """Return an object."""
    with house.database.transaction() as tx:
        return objects.one(tx, gid)


def rows(house: House, sql: Any, *params: Any) -> list[dict[str, Any]]:
    """Run a query."""
    with house.database.transaction() as tx:
        return tx.rows(sql, params)


ACCOUNT = {"id": "A1", "at": "2026-08-01T10:00:00Z", "name": "Acme", "country": "de", "currency": "EUR"}
DEAL = {
    "id": "D1", "at": "2026-08-01T11:00:00Z", "code": "D07", "name": "Advice", "account": "A1", "value": "1000.00",
    "currency": "EUR", "stage": "won",
}  # fmt: skip
GOAL = {
    "code": "D07-M1", "at": "2026-08-01T12:00:00Z", "deal": "D1", "line": "L1", "name": "Design", "sequence": 1,
    "amount": "500.00", "currency": "EUR",
}  # fmt: skip
WORKER = {
    "id": "W1", "at": "2026-07-01", "number": "1001", "name": "Ada", "email": "ada@acme.example", "entity": "DE01",
    "role": "Consultant",
}  # fmt: skip
USER = {"id": "U1", "mail": "ada@acme.example", "name": "Ada"}
TIME = {
    "id": "T1", "at": "2026-08-05T10:00:00Z", "who": "U1", "project": "P1", "day": "2026-08-04", "minutes": 90,
    "sheet": "W32", "state": "approved",
}  # fmt: skip
REPORT = {
    "report": "R1", "who": "ada@acme.example",
    "lines": [
        {"line": 1, "project": "D07-DE01", "day": "2026-08-04", "category": "Hotel", "amount": "180.40", "currency": "EUR"},
        {"line": 2, "project": "D07-DE01", "day": "2026-08-05", "category": "Taxi", "amount": "20", "currency": "EUR"},
    ],
}  # fmt: skip

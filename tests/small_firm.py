"""One month of a very small firm, through every room but the network: five invented systems, three deals, one person.

Figures by hand. Deal X01 in EUR: 435 + 60 + 90 min at 150.00 = 1,087.50 + 150.00 + 225.00; a hotel of 100.00 with 5 %
= 105.00; net 1,567.50, tax 19 % = 297.83, gross 1,865.33. Held: 120 min not approved = 300.00, 60 min without a rate,
milestone X03-M1 not signed = 5,000.00, deal X02 sold into a country without registration = 8,000.00.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trueup import engine
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.registry import Connector
from trueup.connectors.sdk.wire import Connection, Page, Raw, Receipt, Record
from trueup.documents.issue import Letterhead
from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance import ownership
from trueup.kernel.errors import Refused
from trueup.mapping.file import MappingFile
from trueup.mapping.file import load as load_mapping
from trueup.pipeline import edition
from trueup.pipeline.deliver import deliver
from trueup.pipeline.house import Firm, House, LegalEntity, Package, System
from trueup.pipeline.ingest import ingest
from trueup.pipeline.reconcile import tie_out
from trueup.processes import milestone_billing, month_end, opportunity_to_project, time_to_billing
from trueup.processes.reactions import REACTIONS
from trueup.store import cursors, inbox, migrate
from trueup.store.database import Database
from trueup.store.inbox import Arrival

MONTH = "2026-08"
ENTITY = "DE01"
LETTERHEAD = Letterhead(
    ENTITY, "Small GmbH", "DE", street="Kleine Gasse 3", city="Bremen", post_code="28195", vat_id="DE312058744",
    contact="Debitoren", phone="+49 421 5550100", email="rechnung@small.example", iban="DE89370400440532013000",
)  # fmt: skip
EXAMPLE = "examples: [{is: none, in: {}, problems: [any missing]}]"

SYSTEMS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "dealer": (
        "crm",
        {
            "account": {"kind": "customer"},
            "deal": {"kind": "contract"},
            "price": {"kind": "rate_line"},
            "goal": {"kind": "milestone"},
        },
        {"deal": {"kind": "contract", "dedupe": "A"}},
    ),
    "folks": ("hris", {"worker": {"kind": "resource"}, "pay": {"kind": "cost_rate"}}, {}),
    "timely": (
        "psa",
        {"entry": {"kind": "time_entry", "lane": "volume"}, "goal": {"kind": "milestone"}},
        {"project": {"kind": "project", "dedupe": "C"}, "mark": {"kind": "invoice", "dedupe": "A"}},
    ),
    "purse": ("expense", {"report": {"kind": "expense_line", "lane": "volume"}}, {}),
    "ledgerly": (
        "erp",
        {"bill": {"kind": "invoice"}, "receipt": {"kind": "payment"}, "journal": {"kind": "journal_reference"}},
        {
            "client": {"kind": "customer", "dedupe": "A"},
            "job": {"kind": "project", "dedupe": "A"},
            "order": {"kind": "contract", "dedupe": "A"},
            "bill": {"kind": "invoice", "dedupe": "A"},
            "journal": {"kind": "journal_reference", "dedupe": "A"},
        },
    ),
}

MAPPINGS = """
mapping: dealer.account -> customer
key: id
stamp: at
fields:
  name: {text: name}
  country: {upper: country}
  tax_id: {text: vat, optional: true}
  currency: {upper: currency}
  payment_terms_days: {integer: terms}
  billing_email: {text: email, optional: true}
  status: {const: active}
---
mapping: dealer.deal -> contract
key: id
stamp: at
fields:
  code: {text: code}
  name: {text: name}
  customer: {ref: account, object: account}
  value: {money: value, currency: currency}
  currency: {upper: currency}
  starts_on: {day: from}
  ends_on: {day: to}
  signed_on: {day: won_on, optional: true}
  po_number: {text: po, optional: true}
  status: {one_of: stage, table: stages}
  lines:
    each: lines
    fields:
      key: {text: key}
      package: {text: package}
      billing_method: {text: method}
      amount: {money: amount, currency: currency}
      legal_entity: {text: entity}
      currency: {upper: currency}
      markup_share: {share: markup, optional: true}
tables:
  stages: {won: signed, open: draft}
---
mapping: dealer.price -> rate_line
key: id
fields:
  contract: {ref: deal, object: deal}
  role: {text: role}
  rate: {money: rate, currency: currency}
  currency: {upper: currency}
  valid_from: {day: from}
---
mapping: dealer.goal -> milestone
key: code
fields:
  code: {text: code}
  contract: {ref: deal, object: deal}
  line_key: {text: line}
  name: {text: name}
  sequence: {integer: sequence}
  amount: {money: amount, currency: currency}
  currency: {upper: currency}
  acceptance_required: {flag: sign}
---
mapping: folks.worker -> resource
key: id
fields:
  worker_number: {text: number}
  name: {text: name}
  email: {text: email}
  legal_entity: {text: entity}
  role: {text: role}
  hired_on: {day: hired}
  weekly_hours: {number: hours}
  status: {const: active}
---
mapping: folks.pay -> cost_rate
key: id
fields:
  resource: {ref: worker, object: worker}
  amount: {money: rate, currency: currency}
  currency: {upper: currency}
  valid_from: {day: from}
---
mapping: timely.entry -> time_entry
key: id
stamp: at
fields:
  resource: {ref: who, object: employee_email}
  project: {ref: project, object: project_code}
  role: {text: role}
  worked_on: {day: day}
  minutes: {integer: minutes}
  billable: {flag: billable}
  notes: {text: notes, optional: true}
  sheet: {text: sheet}
  status: {one_of: state, table: states}
tables:
  states: {ok: approved, sent: submitted}
---
mapping: timely.goal -> milestone
key: id
own: ref
fields:
  completed_on: {day: done}
  status: {const: completed}
---
mapping: purse.report -> expense_line
key: [/report, line]
rows: lines
fields:
  report: {text: /report}
  line_number: {integer: line}
  resource: {ref: /who, object: employee_email}
  project: {ref: project, object: project_code}
  spent_on: {day: day}
  category: {text: category}
  amount: {money: amount, currency: currency}
  currency: {upper: currency}
  billable: {flag: billable}
  has_receipt: {flag: receipt}
  status: {const: approved}
---
mapping: ledgerly.bill -> invoice
key: id
stamp: at
own: external
fields:
  number: {text: number}
  status: {text: status}
  balance: {money: open, currency: currency}
  posted_on: {day: posted}
  net: {money: net, currency: currency}
  tax: {money: tax, currency: currency}
  gross: {money: gross, currency: currency}
---
mapping: ledgerly.receipt -> payment
key: id
fields:
  reference: {text: reference}
  customer: {ref: client, object: client}
  received_on: {day: day}
  amount: {money: amount, currency: currency}
  currency: {upper: currency}
  applications:
    each: bills
    fields:
      invoice: {ref: bill, object: bill}
      amount: {number: amount}
  status: {const: applied}
---
mapping: ledgerly.journal -> journal_reference
key: id
own: external
fields:
  number: {text: number}
  status: {const: posted}
---
mapping: contract -> dealer.deal
fields: {status: {text: status_text}, billed: {number: billed_amount}}
---
mapping: project -> timely.project
fields: {code: {text: code}, budget: {number: budget}}
---
mapping: invoice -> timely.mark
fields: {project: {text: project}, status: {text: status}}
---
mapping: customer -> ledgerly.client
fields: {name: {text: name}}
---
mapping: project -> ledgerly.job
fields: {code: {text: code}, budget: {number: budget}}
---
mapping: contract -> ledgerly.order
fields: {code: {text: code}}
---
mapping: invoice -> ledgerly.bill
fields: {code: {text: code}, net: {number: net}, gross: {number: gross}}
---
mapping: journal_reference -> ledgerly.journal
fields: {code: {text: code}, total: {number: total_debit}}
"""


class Desk(VendorClient):
    """A system that keeps what it is given and says what it was told to say."""

    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        super().__init__(manifest, connection)
        self.records: dict[str, dict[str, Record]] = {}
        self.sent: dict[tuple[str, str], Raw] = {}
        self.refused: set[str] = set()

    def changes(self, object: str, cursor: str | None) -> Page:
        return Page(tuple(self.records.get(object, {}).values()), "end", False)

    def get(self, object: str, external_id: str) -> Record | None:
        return self.records.get(object, {}).get(external_id)

    def find(self, object: str, key: str) -> Receipt | None:
        return Receipt(f"{object}-{key[-4:]}") if (object, key) in self.sent else None

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        if str(body.get("code", "")).partition("-")[0] in self.refused:
            raise Refused("The period 2026-08 is closed for this journal.", "CLOSED", 400)
        self.sent[(object, key)] = body
        return Receipt(external_id or f"{object}-{key[-4:]}")


def manifest(name: str) -> Manifest:
    """Return the facts of one invented system."""
    role, reads, writes = SYSTEMS[name]
    return Manifest.model_validate(
        {
            "connector": name,
            "title": name.capitalize(),
            "role": role,
            "tier": "silver",
            "base_url": "https://nowhere.example",
            "auth": {"scheme": "api_key"},
            "credentials": ["api_key"],
            "limits": {"concurrency": 4, "per_second": 1000, "source": "invented for tests"},
            "reads": reads,
            "writes": writes,
            "refusals": {"CLOSED": {"meaning": "the period is closed", "kind": "period", "advice": "open the period"}},
        }
    )


@contextmanager
def opened(database_url: str, *, filled: bool = True) -> Iterator[House]:
    """Give the small firm over an empty database, after its August unless said otherwise; closed at the end."""
    migrate.migrate(database_url)
    database = Database(database_url).open()
    house = build(database)
    try:
        yield fill(house) if filled else house
    finally:
        for system in house.systems.values():
            system.client.close()
        database.close()


def build(database: Database) -> House:
    """Return the firm's house over a migrated database, with nothing in it."""
    engine.Engine(database).prepare()
    inward: dict[tuple[str, str], MappingFile] = {}
    outward: dict[tuple[str, str, str], MappingFile] = {}
    for text in MAPPINGS.split("\n---\n"):
        mapping = load_mapping(f"{text.strip()}\nversion: 1\nwhy: a test's own words\n{EXAMPLE}\n")
        if mapping.outward:
            outward[(mapping.kind, mapping.system, mapping.object)] = mapping
        else:
            inward[(mapping.system, mapping.object)] = mapping
    systems = {}
    for name in SYSTEMS:
        facts = manifest(name)
        client = Desk(facts, Connection(name, "https://nowhere.example"))
        systems[name] = System(name, facts.role, Connector(facts, Path(), Desk, None, {}, {}), client)
    firm = Firm(
        "Small Firm",
        {ENTITY: LegalEntity(ENTITY, "Small GmbH", "DE", "EUR", frozenset({"DE", "FR"}), letterhead=LETTERHEAD)},
        {
            "ADV-TM": Package(
                "ADV-TM", "Advice", "Advisory", "Consulting", frozenset({"time_and_materials"}), "as_invoiced"
            ),
            "DATA-FF": Package("DATA-FF", "Data", "Data", "Analytics", frozenset({"fixed_fee"}), "milestone"),
            "TRAVEL": Package("TRAVEL", "Travel", None, None, frozenset({"pass_through"}), "as_invoiced"),
        },
        {"TAX_UNDETERMINED": "Tax"},
    )
    house = House(database, systems, inward, outward, ownership.load(default_ownership()), firm, list(REACTIONS))
    with database.transaction() as tx:
        for system in systems.values():
            cursors.register(tx, system.name, system.connector.name, system.role)
        edition.keep(tx, house, default_ownership())
    return house


def hear(house: House, system: str, object_name: str, *rows: Mapping[str, Any]) -> list[int]:
    """Let a system say something: keep it and take it in; returns the messages' numbers."""
    client = house.systems[system].client
    assert isinstance(client, Desk)
    lane = house.systems[system].connector.manifest.reads[object_name].lane
    arrivals = []
    for row in rows:
        external_id = str(row.get("id") or row.get("code") or row.get("report"))
        raw = json.dumps(row).encode()
        record = Record(object_name, external_id, str(row.get("at", "1")), raw)
        client.records.setdefault(object_name, {})[external_id] = record
        arrivals.append(Arrival(record.object, record.external_id, record.stamp, record.raw))
    with house.database.transaction() as tx:
        numbers = inbox.keep(tx, system, arrivals, origin="poll", lane=lane)
        cursors.advance(tx, system, object_name, "end", len(numbers))
        cursors.felt(tx, system)
    while ingest(house, "master") + ingest(house, "volume"):
        pass
    return numbers


def carry_out(house: House) -> None:
    """Deliver everything that can be delivered."""
    with ThreadPoolExecutor(1) as pool:
        while sum(deliver(house, system, "tester", pool) for system in house.systems.values()):
            pass


def gid_of(house: House, kind: str, code: str) -> str:
    """Return our identifier of the object of a kind with a code or name."""
    with house.database.transaction() as tx:
        sql = "select gid from objects where kind = %s and (body ->> 'code' = %s or body ->> 'name' = %s)"
        return str(tx.value(sql, (kind, code, code)))


def deal(code: str, account: str, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a won deal as the CRM writes it."""
    total = sum(line["amount"] for line in lines)
    return {
        "id": f"d-{code}", "at": "1", "code": code, "name": f"Project {code}", "account": account, "value": total,
        "currency": "EUR", "from": "2026-08-01", "to": "2026-12-31", "won_on": "2026-07-28", "po": f"PO-{code}",
        "stage": "won", "lines": [{"currency": "EUR", "entity": ENTITY, **line} for line in lines],
    }  # fmt: skip


def entry(key: str, minutes: int, **more: Any) -> dict[str, Any]:
    """Return a time entry as the PSA writes it."""
    return {
        "id": key, "at": "2026-09-01T08:00:00Z", "who": "ida.holm@small.example", "project": "X01-DE01",
        "role": "Consultant", "day": "2026-08-05", "minutes": minutes, "billable": True, "notes": f"work {key}",
        "sheet": "W32", "state": "ok", **more,
    }  # fmt: skip


def bill(house: House, code: str, **more: Any) -> dict[str, Any]:
    """Return an invoice as the ERP writes it once it is posted."""
    return {
        "id": "bill-" + gid_of(house, "invoice", code)[-4:], "at": "2", "external": gid_of(house, "invoice", code),
        "number": "R-1001", "status": "posted", "posted": "2026-08-31", "currency": "EUR", "net": 1567.50,
        "tax": 297.83, "gross": 1865.33, "open": 1865.33, **more,
    }  # fmt: skip


def fill(house: House) -> House:
    """Let August happen: deals, time, expenses, a milestone, a billing run, posting, month end, half a payment."""
    hear(
        house,
        "dealer",
        "account",
        {"id": "a1", "name": "Fjord Energi", "country": "de", "vat": "DE1", "currency": "EUR", "terms": 30,
         "email": "invoices@fjord.example"},
        {"id": "a2", "name": "Alpen Bank", "country": "CH", "vat": "CHE1", "currency": "EUR", "terms": 30},
    )  # fmt: skip
    travel = {"key": "X01-L2", "package": "TRAVEL", "method": "pass_through", "amount": 1000, "markup": 5}
    advice = {"key": "X01-L1", "package": "ADV-TM", "method": "time_and_materials", "amount": 12000}
    fixed = {"key": "X03-L1", "package": "DATA-FF", "method": "fixed_fee", "amount": 10000}
    abroad = {"key": "X02-L1", "package": "ADV-TM", "method": "time_and_materials", "amount": 8000}
    hear(
        house,
        "dealer",
        "deal",
        deal("X01", "a1", [advice, travel]),
        deal("X02", "a2", [abroad]),
        deal("X03", "a1", [fixed]),
    )
    hear(
        house,
        "dealer",
        "price",
        {"id": "p1", "deal": "d-X01", "role": "Consultant", "rate": 150, "currency": "EUR", "from": "2026-01-01"},
    )
    hear(
        house,
        "dealer",
        "goal",
        {
            "code": "X03-M1",
            "deal": "d-X03",
            "line": "X03-L1",
            "name": "Model live",
            "sequence": 1,
            "amount": 5000,
            "currency": "EUR",
            "sign": True,
        },
    )
    for code in ("X01", "X02", "X03"):
        opportunity_to_project.set_up(house, gid_of(house, "contract", code), f"opportunity_to_project/{code}")
    hear(
        house,
        "folks",
        "worker",
        {
            "id": "w1",
            "number": "1001",
            "name": "Ida Holm",
            "email": "ida.holm@small.example",
            "entity": ENTITY,
            "role": "Consultant",
            "hired": "2024-01-01",
            "hours": 40,
        },
    )
    hear(house, "folks", "pay", {"id": "c1", "worker": "w1", "rate": 60, "currency": "EUR", "from": "2026-01-01"})
    carry_out(house)
    hear(
        house,
        "timely",
        "entry",
        entry("e1", 435),
        entry("e2", 60, day="2026-08-06"),
        entry("e3", 90, day="2026-08-07"),
        entry("e4", 120, day="2026-08-10", state="sent"),
        entry("e5", 60, day="2026-08-11", role="Analyst"),
        entry("e6", 30, day="2026-08-12", billable=False),
        entry("e7", 60, state="lost in the post"),
        entry("e8", 60, project="X99-DE01"),
    )
    line = {
        "line": 1,
        "project": "X01-DE01",
        "day": "2026-08-06",
        "category": "Hotel",
        "amount": 100,
        "currency": "EUR",
        "billable": True,
        "receipt": True,
    }
    hear(house, "purse", "report", {"report": "R1", "who": "ida.holm@small.example", "lines": [line]})
    hear(house, "timely", "goal", {"id": "g1", "ref": gid_of(house, "milestone", "X03-M1"), "done": "2026-08-20"})
    milestone_billing.bill(house, gid_of(house, "milestone", "X03-M1"), "milestone_billing/X03-M1")
    time_to_billing.bill(house, MONTH, ENTITY, f"billing_run/{MONTH}/{ENTITY}")
    carry_out(house)
    hear(house, "ledgerly", "bill", bill(house, "X01-DE01-2026-08"))
    books = house.systems["ledgerly"].client
    assert isinstance(books, Desk)
    books.refused.add("COST")
    month_end.close(house, MONTH, ENTITY, f"month_end/{MONTH}/{ENTITY}")
    carry_out(house)
    booked = gid_of(house, "journal_reference", f"REV-{ENTITY}-{MONTH}")
    hear(house, "ledgerly", "journal", {"id": f"journal-{booked[-4:]}", "external": booked, "number": "J-1"})
    fjord = "client-" + gid_of(house, "customer", "Fjord Energi")[-4:]
    paid = {"bill": bill(house, "X01-DE01-2026-08")["id"], "amount": 865.33}
    hear(house, "ledgerly", "bill", bill(house, "X01-DE01-2026-08", at="3", status="part_paid", open=1000.00))
    hear(
        house,
        "ledgerly",
        "receipt",
        {
            "id": "r1",
            "reference": "PAY-7",
            "client": fjord,
            "day": "2026-09-20",
            "amount": 865.33,
            "currency": "EUR",
            "bills": [paid],
        },
    )
    with house.database.transaction() as tx:
        inbox.refuse_call(tx, "dealer", "the signature does not match", 120)
    return house


def raise_behind_our_back(house: House) -> None:
    """Let accounts receivable add 100.00 to the posted invoice, and compare."""
    hear(
        house,
        "ledgerly",
        "bill",
        bill(house, "X01-DE01-2026-08", at="4", status="part_paid", net=1667.50, gross=1965.33, open=1100.00),
    )
    tie_out(house, f"{MONTH}/tie_out")

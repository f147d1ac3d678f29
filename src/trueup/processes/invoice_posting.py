"""Invoice posted, payment received: the ERP's word moves the ledger and goes back to delivery and sales.

Starts on   invoice.posted, invoice.paid, invoice.changed, invoice.credited
Ends with   buckets moved, credits traced to their entries, status in the PSA and the CRM
Undo        the ERP's next word; a credit names the entries it takes back
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, LiteralString

import polars as pl

from trueup.billing.credits import attribute_credit
from trueup.billing.frames import ALLOCATIONS
from trueup.kernel.money import to_units
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.processes.commands import commands, state_of
from trueup.processes.corrections import Part, take_back, void
from trueup.processes.numbering import number_posted
from trueup.processes.write_back import write_back
from trueup.store import deliveries, holds, ledger, objects
from trueup.store.changes import Event
from trueup.store.database import Tx
from trueup.store.holds import Hold
from trueup.store.ledger import Move
from trueup.store.objects import Held

STATUS_EVENTS = frozenset({"invoice.posted", "invoice.paid", "invoice.changed"})


def react(tx: Tx, house: House, events: Sequence[Event]) -> None:
    """Follow the ERP, inside the transaction that heard it."""
    number_posted(tx, house, events)
    for event in events:
        if event.kind != "invoice":
            continue
        invoice = objects.load(tx, [event.subject])[event.subject]
        if event.name == "invoice.credited" and invoice.body["corrects"]:
            _credit(tx, house, invoice)
        elif event.name == "invoice.posted":
            _invoiced(tx, invoice)
        elif event.name == "invoice.changed" and invoice.status == "voided":
            void(tx, invoice, "erp")
        if event.name in STATUS_EVENTS and not _only_credited(tx, house, invoice):
            _tell(tx, house, invoice)


def _only_credited(tx: Tx, house: House, invoice: Held) -> bool:
    """Call an invoice credited when credits alone lowered its balance; an ERP calls that partly paid.

    Returns   True when the status was changed here: that change is an event of its own.
    """
    if invoice.status != "part_paid":
        return False
    credited = _sum(
        tx,
        "select coalesce(sum((body ->> 'gross')::numeric), 0) from objects where kind = 'invoice' and body ->> 'corrects' = %s",
        invoice.gid,
    )
    if not credited or Decimal(invoice.body["gross"]) - credited != Decimal(invoice.body["balance"] or 0):
        return False
    author(tx, house, [("invoice", invoice.gid, {"status": "credited"})], role="erp", actor="invoice_posting")
    return True


def _sum(tx: Tx, sql: LiteralString, gid: str) -> Decimal:
    return Decimal(tx.value(sql, (gid,)))


def _invoiced(tx: Tx, invoice: Held) -> None:
    """What stands on the draft is invoiced now; what a credit took off it before stays off."""
    ledger.move(
        tx,
        (
            Move(
                f"{invoice.gid}/posted/{row['charge']}", row["fact"], row["fact_version"],
                "minute" if row["kind"] in ("time", "overage") else "amount", "on_draft", "invoiced", row["on_draft"],
                f"posted as {invoice.body['number']}", "erp", row["charge"], invoice.gid, row["line_key"],
            )
            for row in ledger.standing(tx, documents=[invoice.gid])
        ),
    )  # fmt: skip


def _credit(tx: Tx, house: House, credit: Held) -> None:
    """Trace a credit to the entries it takes back, newest first, and write it against their charges."""
    body = credit.body
    corrected = objects.load(tx, [body["corrects"]], lock=True)[body["corrects"]]
    currency = body["currency"]
    rows = ledger.standing(tx, documents=[corrected.gid])
    parts: list[Part] = []
    excess: list[tuple[str, int]] = []
    for key, minutes, net in _by_line(body["lines"], currency):
        of_line = [row for row in rows if row["line_key"] == key]
        if net == sum(row["amount"] for row in of_line):
            parts += [Part(row, row["minutes"], row["amount"]) for row in of_line]
            continue
        taken = attribute_credit(_allocations(of_line), currency, minutes, net)
        by_charge = {row["charge"]: row for row in of_line}
        parts += [Part(by_charge[row["charge"]], row["minutes"], row["amount"]) for row in taken.splits.to_dicts()]
        if taken.excess_amount:
            excess.append((key, taken.excess_amount))
    take_back(tx, parts, credit.gid, "credited", "erp", f"credited by {body['number']}")
    if excess:
        named = ", ".join(key for key, _ in excess)
        reason = f"the credit takes back more than line {named} holds; somebody has to look"
        amount = sum(units for _, units in excess)
        holds.place(
            tx,
            [Hold("MANUAL", credit.gid, "invoice", "accounts receivable", reason, "a decision", amount, currency)],
        )
    if not _only_credited(tx, house, corrected):
        _tell(tx, house, corrected)


def _by_line(lines: Sequence[Mapping[str, Any]], currency: str) -> list[tuple[str, int | None, int]]:
    """Add up a credit's lines by the line they correct: (key, minutes or None, units)."""
    found: dict[str, tuple[int | None, int]] = {}
    for line in lines:
        minutes = int((Decimal(line["quantity"]) * 60).to_integral_value()) if line["unit"] == "hour" else None
        before = found.get(line["key"], (0 if minutes is not None else None, 0))
        both = None if minutes is None or before[0] is None else before[0] + minutes
        found[line["key"]] = (both, before[1] + to_units(Decimal(line["net"]), currency))
    return [(key, minutes, net) for key, (minutes, net) in found.items()]


def _allocations(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return what still stands billed on one line, credits taken off, for the rule that attributes a credit."""
    return pl.DataFrame(
        [
            (row["charge"], row["fact"], row["service_on"], place, row["minutes"], row["amount"])
            for place, row in enumerate(reversed(rows))
            if row["amount"] > 0 or row["minutes"] > 0
        ],
        schema={name: column.dtype for name, column in ALLOCATIONS.columns.items()},
        orient="row",
    )


def _tell(tx: Tx, house: House, invoice: Held) -> None:
    """Tell delivery and sales where the invoice stands."""
    if invoice.body["invoice_type"] != "invoice":
        return
    source: dict[str, Any] = {**invoice.body, "gid": invoice.gid}
    purpose = f"status#{state_of({'status': invoice.status, 'balance': invoice.body['balance']})}"
    asked = commands(house, "psa", "invoice", invoice.gid, purpose, source=source, priority=60, latest=True)
    contract = objects.one(tx, invoice.body["contract"] or "")
    if contract is not None:
        asked += write_back(tx, house, contract, "Active", "")
    deliveries.ask(tx, asked)

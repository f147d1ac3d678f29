"""Invoice posted, payment received: the ERP's word moves the ledger and goes back to delivery and sales.

Starts on   invoice.posted, invoice.paid, invoice.changed, invoice.credited
Ends with   buckets moved, credits traced to their entries, status in the PSA and the CRM
Undo        the ERP's next word; a credit names the entries it takes back
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, LiteralString

import polars as pl

from trueup.billing.credits import attribute_credit
from trueup.billing.frames import ALLOCATIONS
from trueup.kernel.money import to_units
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.processes.commands import commands, state_of
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
    """What stood on the draft is invoiced now."""
    rows = tx.rows(
        """
        select fact, fact_version, unit, charge, line_key, sum(quantity)::bigint as quantity from moves
        where document = %s and to_bucket = 'on_draft' group by fact, fact_version, unit, charge, line_key
        """,
        (invoice.gid,),
    )
    ledger.move(
        tx,
        (
            Move(
                f"{invoice.gid}/posted/{row['charge']}", row["fact"], row["fact_version"], row["unit"], "on_draft",
                "invoiced", row["quantity"], f"posted as {invoice.body['number']}", "erp", row["charge"], invoice.gid,
                row["line_key"],
            )
            for row in rows
        ),
    )  # fmt: skip


def _credit(tx: Tx, house: House, credit: Held) -> None:
    """Trace a credit to the entries it takes back, newest first, and write it against their charges."""
    body = credit.body
    corrected = objects.load(tx, [body["corrects"]], lock=True)[body["corrects"]]
    currency = body["currency"]
    for line in body["lines"]:
        frame = _allocations(tx, corrected.gid, line["key"])
        minutes = int((Decimal(line["quantity"]) * 60).to_integral_value()) if line["unit"] == "hour" else None
        taken = attribute_credit(frame, currency, minutes, to_units(Decimal(line["net"]), currency))
        rows = list(taken.splits.iter_rows(named=True))
        ledger.allocate(tx, [(row["charge"], credit.gid, line["key"], -row["minutes"], -row["amount"]) for row in rows])
        ledger.move(
            tx,
            (
                Move(
                    f"{credit.gid}/{row['charge']}", row["fact"], 1, "minute" if row["minutes"] else "amount", "invoiced",
                    "credited", row["minutes"] or row["amount"], f"credited by {body['number']}", "erp", row["charge"],
                    credit.gid, line["key"],
                )
                for row in rows
            ),
        )  # fmt: skip
        if taken.excess_amount:
            reason = f"the credit takes back more than line {line['key']} holds; somebody has to look"
            holds.place(
                tx,
                [
                    Hold(
                        "MANUAL",
                        credit.gid,
                        "invoice",
                        "accounts receivable",
                        reason,
                        "a decision",
                        taken.excess_amount,
                        currency,
                    )
                ],
            )
    if not _only_credited(tx, house, corrected):
        _tell(tx, house, corrected)


def _allocations(tx: Tx, document: str, line_key: str) -> pl.DataFrame:
    """Return what still stands billed on one line, credits taken off."""
    return ledger.frame(
        tx,
        """
        select c.key, c.fact, c.service_on,
            coalesce(t.source_order, e.source_order, 0),
            (coalesce(c.minutes, 0) + coalesce(sum(b.minutes), 0))::bigint, (a.amount + coalesce(sum(b.amount), 0))::bigint
        from allocations a
        join charges c on c.key = a.charge
        left join allocations b on b.charge = a.charge and b.document <> a.document and b.amount < 0
        left join time_entries t on t.gid = c.fact
        left join expense_lines e on e.gid = c.fact
        where a.document = %(document)s and a.line_key = %(line)s
        group by c.key, c.fact, c.service_on, t.source_order, e.source_order, c.minutes, a.amount
        """,
        {"document": document, "line": line_key},
        {name: column.dtype for name, column in ALLOCATIONS.columns.items()},
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

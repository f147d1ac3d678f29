"""Numbers for documents the ERP has posted, where the legal entity lets the hub number them.

Starts on   invoice.posted, invoice.credited
Held by     a document dated before the last one of its series: somebody has to look
Ends with   the document's number, given in the transaction that heard of the posting: both are kept, or neither
Undo        none: a number that was given stays, a document is voided by a credit note
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from trueup.kernel.errors import Held
from trueup.kernel.money import to_units
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.store import holds, numbers, objects
from trueup.store.changes import Event
from trueup.store.database import Tx
from trueup.store.holds import Hold

POSTINGS = frozenset({"invoice.posted", "invoice.credited"})


def number_posted(tx: Tx, house: House, events: Sequence[Event]) -> None:
    """Give every document that was posted just now its number, in the order of their dates."""
    if all(entity.numbering is None for entity in house.firm.entities.values()):
        return
    posted = objects.load(tx, {event.subject for event in events if event.kind == "invoice" and event.name in POSTINGS})
    for invoice in sorted(posted.values(), key=lambda one: (str(one.body["invoice_date"]), str(one.body["code"]))):
        entity = house.firm.entities.get(str(invoice.body["legal_entity"]))
        if entity is None or entity.numbering is None:
            continue
        day = date.fromisoformat(invoice.body["invoice_date"])
        try:
            number = numbers.assign(tx, entity.numbering, invoice.body["invoice_type"], day, invoice.gid)
        except Held as waits:
            currency = invoice.body["currency"]
            amount = to_units(abs(Decimal(invoice.body["net"])), currency)
            owner = house.firm.owners.get("MANUAL", "accounts receivable")
            reason = f"{invoice.body['code']} has no number: {waits}"
            hold = Hold(
                "MANUAL", invoice.gid, "invoice", owner, reason, "a decision", amount, currency,
                legal_entity=entity.code,
            )  # fmt: skip
            holds.place(tx, [hold])
            continue
        author(tx, house, [("invoice", invoice.gid, {"number": number})], actor="numbering")

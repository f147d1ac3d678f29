"""What a document is made of: an invoice with its customer, what stands around it, and the entries behind its lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from trueup.documents.invoice import Preceding
from trueup.documents.issue import UNSENT, Around, Letterhead, issue
from trueup.documents.make import Format, Made, make
from trueup.documents.paper import Entry
from trueup.kernel.errors import Refused
from trueup.kernel.money import from_units
from trueup.model.customer import Customer
from trueup.model.invoice import Invoice
from trueup.reporting.explain import find_invoice
from trueup.store import objects
from trueup.store.database import Tx
from trueup.store.objects import Held

TIMED = ("time", "overage")


@dataclass(frozen=True, slots=True)
class Charged:
    """One charge on a line of an invoice.

    line     our key of the invoice line
    person   who did it; None where the charge is not about a person's record
    task     what was done: the task, the note, the role, the category or the milestone, whichever there is
    minutes  None where it is not about time
    amount   major units, as the line counts it: a credit's charges are positive, too
    """

    line: str
    service_on: date
    person: str | None
    task: str
    minutes: int | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Material:
    """All that a document is made of.

    draft    no number yet, or not posted yet: only a marked PDF can be had
    charges  by line, day and person
    """

    invoice: Invoice
    customer: Customer
    around: Around
    charges: tuple[Charged, ...]

    @property
    def draft(self) -> bool:
        """Say whether the invoice is not posted."""
        return self.invoice.status in UNSENT or not self.invoice.number

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return the annex: the charges of each line, called by the line's number on the document."""
        places = {line.key: str(place) for place, line in enumerate(self.invoice.lines, start=1)}
        return tuple(
            Entry(places[one.line], one.service_on, one.person or "", one.task, one.minutes, one.amount)
            for one in self.charges
            if one.line in places
        )


def material(tx: Tx, identifier: str) -> Material | None:
    """Return what the document of an invoice is made of; None when there is no such invoice.

    identifier  our identifier, the code or the number
    Raises      Refused when the invoice is voided, or names no customer we hold.
    """
    gid = find_invoice(tx, identifier)
    held = objects.one(tx, gid) if gid else None
    if held is None or held.kind != "invoice":
        return None
    body = held.body
    if held.status == "voided":
        raise Refused(f"{body['number'] or body['code']} is voided: no document can be had of it", "voided")
    related = objects.load(tx, [body[name] for name in ("customer", "contract", "project", "corrects") if body[name]])
    customer, contract, project, corrected = (
        related.get(body[name] or "") for name in ("customer", "contract", "project", "corrects")
    )
    if customer is None:
        raise Refused(f"{body['number'] or body['code']} names no customer that we hold", "document_incomplete")
    invoice = Invoice.model_validate(body)
    charges = _charges(tx, held)
    days = [one.service_on for one in charges]
    counts: dict[str, int] = {}
    for one in charges:
        counts[one.line] = counts.get(one.line, 0) + 1
    was = corrected.body if corrected else {}
    around = Around(
        contract=contract.body["code"] if contract else None,
        project=project.body["code"] if project else None,
        order=contract.body["po_number"] if contract else None,
        corrects=Preceding(was["number"] or was["code"], date.fromisoformat(was["invoice_date"])) if was else None,
        treatment=(was.get("tax_treatment"), Decimal(was["tax_rate"]) if was.get("tax_rate") is not None else None),
        starts_on=min(days, default=None),
        ends_on=max(days, default=None),
        entries=counts,
        prepaid=Decimal(body["prepaid"]) if body.get("prepaid") else None,
    )
    return Material(invoice, Customer.model_validate(customer.body), around, charges)


def made(found: Material, form: Format, letterheads: Mapping[str, Letterhead], template: str | None = None) -> Made:
    """Return the document of what was read; of a draft there is a marked PDF only. Needs no database.

    letterheads  by legal entity
    template     the firm's own Typst text
    Raises       Refused saying what is missing, or what is not clean.
    """
    invoice = found.invoice
    seller = letterheads.get(invoice.legal_entity or "")
    if seller is None:
        raise Refused(
            f"no document can be made of {invoice.number or invoice.code}: "
            f"entities/{invoice.legal_entity}.yaml has no letterhead",
            "document_incomplete",
        )
    written = issue(invoice, found.customer, seller, found.around)
    return make(written, form, found.entries, draft=found.draft, template=template)


def _charges(tx: Tx, invoice: Held) -> tuple[Charged, ...]:
    sign = -1 if invoice.body["invoice_type"] == "credit" else 1  # charges of a credit take away; its lines do not
    currency = invoice.body["currency"]
    rows = tx.rows(
        """
        select a.line_key, a.amount, a.minutes, c.kind, c.service_on, c.period, r.body ->> 'name' as person,
            k.body ->> 'name' as task, t.notes, t.role, e.category, e.vendor_name,
            f.body ->> 'code' as code, f.body ->> 'name' as name
        from allocations a
        join charges c on c.key = a.charge
        left join time_entries t on t.gid = c.fact
        left join expense_lines e on e.gid = c.fact
        left join objects f on f.gid = c.fact
        left join objects k on k.gid = t.task
        left join objects r on r.gid = coalesce(t.resource, e.resource)
        where a.document = %s order by a.line_key, c.service_on, person, c.key
        """,
        (invoice.gid,),
    )
    return tuple(
        Charged(
            row["line_key"],
            row["service_on"],
            row["person"],
            _task(row),
            sign * row["minutes"] if row["kind"] in TIMED and row["minutes"] is not None else None,
            sign * from_units(row["amount"], currency),
        )
        for row in rows
    )


def _task(row: Mapping[str, Any]) -> str:
    named: Sequence[str | None]
    if row["kind"] in TIMED:
        named = [row["task"] or row["role"], row["notes"]]
    elif row["kind"] == "expense":
        named = [row["category"], row["vendor_name"]]
    elif row["kind"] == "milestone":
        named = [row["code"], row["name"] if row["name"] != row["code"] else None]
    else:
        named = [f"{row['kind'].capitalize()} of {row['period']}"]
    return ": ".join(part for part in named if part)

"""Invoices and credits, payments, and what the revenue subledger and the general ledger hold."""

from datetime import date
from typing import ClassVar, Literal

from trueup.model.canonical import Amount, Canonical, Currency, Gid, Month, Name, Quantity, Row, Share
from trueup.model.lifecycle import Lifecycle


class InvoiceLine(Row):
    """One line; `net` is the sum of the charges behind it."""

    key: str
    description: Name
    quantity: Quantity
    unit: str = "hour"
    rate: Amount | None = None
    net: Amount
    project: Gid | None = None
    charge_kind: str | None = None


class Invoice(Canonical):
    """A bill or a credit. The hub makes the draft; number, posting and balance are the ERP's.

    tax_reason  the rule of its tax treatment, for the reader
    prepaid     of the gross, set off against payments on account; `prepaid_tax` the VAT that was due with them
    withheld    of the gross, what the customer pays to the tax office instead of to us; the gross stays as it is
    """

    kind = "invoice"
    lifecycle: ClassVar = Lifecycle(
        {
            "draft": ("submitted", "voided"),
            "submitted": ("posted", "voided"),
            "posted": ("part_paid", "paid", "credited", "voided"),
            "part_paid": ("paid", "credited", "posted"),
            "paid": ("part_paid", "posted", "credited"),
            "credited": ("posted", "part_paid", "paid"),
            "voided": (),
        }
    )
    references: ClassVar = {
        "customer": "customer",
        "contract": "contract",
        "project": "project",
        "corrects": "invoice",
    }
    code: str
    invoice_type: Literal["invoice", "credit"] = "invoice"
    corrects: Gid | None = None
    customer: Gid | None = None
    contract: Gid | None = None
    project: Gid | None = None
    legal_entity: str | None = None
    currency: Currency
    invoice_date: date
    due_on: date | None = None
    period: Month | None = None
    tax_treatment: str | None = None
    tax_rate: Share | None = None
    tax_reason: str | None = None
    withheld: Amount | None = None
    prepaid: Amount | None = None
    prepaid_tax: Amount | None = None
    net: Amount
    tax: Amount
    gross: Amount
    balance: Amount | None = None
    number: str | None = None
    posted_on: date | None = None
    lines: list[InvoiceLine] = []
    status: str = "draft"


class Application(Row):
    """How much of a payment goes to which invoice."""

    invoice: Gid
    amount: Amount


class Payment(Canonical):
    """Money received. The ERP owns all of it."""

    kind = "payment"
    lifecycle: ClassVar = Lifecycle({"received": ("applied", "reversed"), "applied": ("reversed",), "reversed": ()})
    references: ClassVar = {"customer": "customer"}
    reference: str
    customer: Gid | None = None
    received_on: date
    amount: Amount
    currency: Currency
    applications: list[Application] = []
    status: str = "received"


class RevenuePeriod(Row):
    """The position of a contract line at a month's end; all amounts are cumulative."""

    period: Month
    recognised: Amount
    billed: Amount
    deferred: Amount
    unbilled: Amount


class RevenueSchedule(Canonical):
    """What was earned when, per performance obligation; None where the contract line is one by itself."""

    kind = "revenue_schedule"
    lifecycle: ClassVar = Lifecycle({"planned": ("active",), "active": ("closed",), "closed": ("active",)})
    references: ClassVar = {"contract": "contract"}
    contract: Gid
    line_key: str
    obligation: str | None = None
    method: Literal[
        "as_invoiced", "milestone", "hours", "ratable", "cost_to_cost", "units", "point_in_time", "at_completion"
    ]
    currency: Currency
    legal_entity: str
    periods: list[RevenuePeriod] = []
    status: str = "active"


class JournalLine(Row):
    """One side of a journal."""

    account: str
    debit: Amount
    credit: Amount
    contract: Gid | None = None
    memo: Name | None = None


class JournalReference(Canonical):
    """A balanced journal the hub asked the ERP to post: a reference and its totals, never a second ledger."""

    kind = "journal_reference"
    lifecycle: ClassVar = Lifecycle({"expected": ("posted",), "posted": ("matched",), "matched": ()})
    code: str
    legal_entity: str
    currency: Currency
    period: Month
    journal_type: Literal["revenue", "cost_allocation"]
    posted_on: date
    lines: list[JournalLine]
    total_debit: Amount
    total_credit: Amount
    number: str | None = None
    status: str = "expected"

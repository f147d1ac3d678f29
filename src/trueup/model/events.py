"""Business facts: past tense, permanent names, stored as CloudEvents 1.0.

An event says that something happened to one object. Its data is small and typed; whoever needs more asks for the
object by its identifier.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

TYPE_PREFIX = "org.trueup."
VERSION = ".v1"


class Fact(BaseModel):
    """Data of one event: always the object's own business code, so that a reader need not look it up."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    code: str | None = None
    status: str | None = None
    amount: str | None = None
    currency: str | None = None
    day: str | None = None
    reason: str | None = None
    count: int | None = None


CATALOGUE: dict[str, str] = {
    "opportunity.won": "A deal was won: its contract is signed.",
    "opportunity.lost": "A deal was lost.",
    "opportunity.reopened": "A won deal went back to an earlier stage.",
    "contract.amended": "A change order took effect on its contract.",
    "contract.changed": "Terms of a signed contract changed.",
    "project.created": "A project shell was made for a contract.",
    "project.approved": "Delivery approved a project: work may be booked.",
    "project.changed": "A project's status changed.",
    "timesheet.approved": "Time entries were approved; one event for each sheet.",
    "timesheet.reopened": "Approved time was taken back for correction.",
    "expense_report.approved": "An expense report was approved.",
    "milestone.planned": "A milestone was agreed.",
    "milestone.completed": "Delivery completed a milestone.",
    "milestone.accepted": "The client signed a milestone off.",
    "invoice.drafted": "The hub made a draft invoice.",
    "invoice.submitted": "The ERP holds the draft.",
    "invoice.posted": "The ERP posted an invoice and gave it a number.",
    "invoice.paid": "An invoice is paid in full.",
    "invoice.credited": "A credit was posted against an invoice.",
    "payment.received": "The ERP booked a payment.",
    "invoice.changed": "Balance or status of a posted invoice changed.",
    "customer.changed": "Master data of a customer changed.",
    "task.changed": "A task changed.",
    "assignment.changed": "Somebody was assigned, moved or released.",
    "journal.posted": "The ERP posted a journal the hub asked for.",
    "worker.changed": "A person's employment or role changed.",
    "rate.changed": "A negotiated rate changed.",
    "delivery.confirmed": "A system confirmed what we asked of it.",
    "hold.placed": "Something may not be billed yet.",
    "hold.released": "A hold ended.",
    "period.closed": "A month was closed for a legal entity.",
    "period.reopened": "A closed month was reopened, by two people and with a reason.",
    "break.found": "Two systems disagree.",
    "break.closed": "Two systems agree again.",
    "object.deleted": "A record disappeared from its system.",
}
"""Name of the event -> what it means."""


DELICATE = frozenset({"journal_reference", "cost_rate"})
"""Kinds whose events may speak of what people cost."""


def type_name(name: str) -> str:
    """Return the CloudEvents type of an event.

    >>> type_name("invoice.posted")
    'org.trueup.invoice.posted.v1'
    """
    if name not in CATALOGUE:
        raise ValueError(f"there is no event named {name}")
    return f"{TYPE_PREFIX}{name}{VERSION}"


def cloud_event(name: str, number: int, subject: str, at: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return an event as structured CloudEvents JSON."""
    return {
        "specversion": "1.0",
        "id": str(number),
        "type": type_name(name),
        "source": "trueup",
        "subject": subject,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }

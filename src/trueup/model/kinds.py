"""All kinds of canonical objects by name."""

from typing import Any

from trueup.model.canonical import Canonical
from trueup.model.contract import Contract, RateLine
from trueup.model.customer import Customer
from trueup.model.invoice import Invoice, JournalReference, Payment, RevenueSchedule
from trueup.model.project import Milestone, Project, Task
from trueup.model.resource import Assignment, CostRate, Resource
from trueup.model.time_entry import ExpenseLine, TimeEntry

KINDS: dict[str, type[Canonical]] = {
    cls.kind: cls
    for cls in (
        Customer,
        Contract,
        RateLine,
        Milestone,
        Project,
        Task,
        Resource,
        CostRate,
        Assignment,
        TimeEntry,
        ExpenseLine,
        Invoice,
        Payment,
        RevenueSchedule,
        JournalReference,
    )
}

MONEY_FIELDS = frozenset(
    {
        "amount", "amount_spent", "applications", "balance", "budget", "gross", "lines", "net", "periods", "rate", "tax",
        "total_credit", "total_debit", "value",
    }
)  # fmt: skip
"""Fields of objects that hold money."""


def schemas() -> dict[str, Any]:
    """Return the JSON Schema of every kind, for docs, editors and the API."""
    return {kind: cls.model_json_schema() for kind, cls in KINDS.items()}

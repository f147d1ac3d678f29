"""Hours worked and money spent: the two kinds that come by the thousand."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from trueup.model.canonical import Amount, Canonical, Currency, Flag, Gid, Name, Number
from trueup.model.lifecycle import Lifecycle

_APPROVAL = Lifecycle(
    {
        "draft": ("submitted",),
        "submitted": ("approved", "rejected", "draft"),
        "rejected": ("draft", "submitted"),
        "approved": ("submitted", "rejected", "posted"),
        "posted": ("reimbursed",),
        "reimbursed": (),
    }
)


class TimeEntry(Canonical):
    """Time worked by one person on one day. The PSA owns it; money is the hub's and the ERP's business."""

    kind = "time_entry"
    volume = True
    lifecycle: ClassVar = _APPROVAL
    references: ClassVar = {"resource": "resource", "project": "project", "task": "task"}
    resource: Gid
    project: Gid
    task: Gid | None = None
    role: str | None = None
    worked_on: date
    minutes: Annotated[int, Field(ge=0, le=1440, strict=True)]
    billable: Flag = True
    notes: str | None = None
    sheet: str | None = None
    status: str = "draft"


class ExpenseLine(Canonical):
    """One line of an expense report: what was spent, for which project, and whether the client pays for it.

    amount        approved amount in the employee's currency
    amount_spent  what the receipt says, in `currency_spent`
    """

    kind = "expense_line"
    volume = True
    lifecycle: ClassVar = _APPROVAL
    references: ClassVar = {"resource": "resource", "project": "project"}
    report: str
    line_number: Number
    resource: Gid
    project: Gid
    spent_on: date
    category: Name
    amount: Amount
    currency: Currency
    amount_spent: Amount | None = None
    currency_spent: Currency | None = None
    billable: Flag = False
    has_receipt: Flag = True
    vendor_name: Name | None = None
    status: str = "submitted"

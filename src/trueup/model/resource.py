"""People, what they cost, and what they are assigned to."""

from datetime import date
from typing import ClassVar

from trueup.model.canonical import Amount, Canonical, Currency, Gid, Minutes, Name, Quantity
from trueup.model.lifecycle import Lifecycle


class Resource(Canonical):
    """A person who works for the firm. The HR system owns everything about employment."""

    kind = "resource"
    lifecycle: ClassVar = Lifecycle(
        {
            "pre_hire": ("active",),
            "active": ("leave", "terminated"),
            "leave": ("active", "terminated"),
            "terminated": ("active",),
        }
    )
    aliases: ClassVar = {"email": "employee_email"}
    worker_number: str
    name: Name
    email: str
    legal_entity: str
    department: str | None = None
    practice: str | None = None
    role: str
    hired_on: date | None = None
    terminated_on: date | None = None
    weekly_hours: Quantity | None = None
    status: str = "active"


class CostRate(Canonical):
    """What an hour of a person costs the firm, from a day on. Seen only with the right `cost:read`."""

    kind = "cost_rate"
    lifecycle: ClassVar = Lifecycle({"active": ("retired",), "retired": ("active",)})
    references: ClassVar = {"resource": "resource"}
    restricted: ClassVar = frozenset({"amount"})
    resource: Gid
    amount: Amount
    currency: Currency
    valid_from: date
    status: str = "active"


class Assignment(Canonical):
    """Who works on what, from when to when."""

    kind = "assignment"
    lifecycle: ClassVar = Lifecycle({"soft": ("hard", "released"), "hard": ("soft", "released"), "released": ("soft",)})
    references: ClassVar = {"project": "project", "resource": "resource"}
    project: Gid
    resource: Gid
    role: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    planned_minutes: Minutes | None = None
    status: str = "soft"

"""Projects, their tasks and milestones."""

from datetime import date
from typing import ClassVar, Literal

from trueup.model.canonical import Amount, Canonical, Currency, Flag, Gid, Name, Number, Quantity
from trueup.model.lifecycle import Lifecycle


class Project(Canonical):
    """Delivery of a contract by one legal entity. The hub requests it; the PSA owns it once it is planned."""

    kind = "project"
    lifecycle: ClassVar = Lifecycle(
        {
            "requested": ("planned", "archived"),
            "planned": ("active", "on_hold", "archived"),
            "active": ("on_hold", "delivery_complete"),
            "on_hold": ("active", "archived", "delivery_complete"),
            "delivery_complete": ("active", "financially_closed"),
            "financially_closed": ("archived",),
            "archived": (),
        }
    )
    references: ClassVar = {"contract": "contract", "customer": "customer", "manager": "resource"}
    aliases: ClassVar = {"code": "project_code"}
    code: str
    name: Name
    contract: Gid
    customer: Gid
    legal_entity: str
    currency: Currency
    budget: Amount | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    manager: Gid | None = None
    practice: str | None = None
    department: str | None = None
    status: str = "requested"


class Task(Canonical):
    """A piece of a project's plan: a phase, a task, or the point where a milestone is reached."""

    kind = "task"
    lifecycle: ClassVar = Lifecycle(
        {
            "planned": ("open", "in_progress", "done", "cancelled"),
            "open": ("in_progress", "done", "cancelled"),
            "in_progress": ("open", "done", "cancelled"),
            "done": ("open", "in_progress"),
            "cancelled": ("planned",),
        }
    )
    references: ClassVar = {"project": "project", "milestone": "milestone"}
    project: Gid
    name: Name
    task_type: Literal["phase", "task", "milestone"] = "task"
    planned_hours: Quantity | None = None
    billable: Flag = True
    starts_on: date | None = None
    ends_on: date | None = None
    completed_on: date | None = None
    milestone: Gid | None = None
    status: str = "planned"


class Milestone(Canonical):
    """A result the client pays for. Terms come from the CRM, completion from the PSA, acceptance from the client."""

    kind = "milestone"
    lifecycle: ClassVar = Lifecycle(
        {
            "planned": ("in_progress", "completed", "cancelled"),
            "in_progress": ("completed", "cancelled", "planned"),
            "completed": ("in_progress",),
            "cancelled": ("planned",),
        }
    )
    references: ClassVar = {"contract": "contract", "project": "project"}
    code: str
    contract: Gid
    project: Gid | None = None
    line_key: str
    name: Name
    sequence: Number
    amount: Amount
    currency: Currency
    planned_on: date | None = None
    acceptance_required: Flag = False
    completed_on: date | None = None
    accepted_on: date | None = None
    accepted_by: str | None = None
    status: str = "planned"

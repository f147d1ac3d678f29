"""Milestone and fixed-fee billing: complete, accepted where agreed, then billed by itself.

Starts on   milestone.completed, milestone.accepted
Held by     SIGNOFF_MISSING until the sign-off event arrives; nobody has to press anything
Ends with   a draft invoice of its own in the ERP
Undo        as for every invoice
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup import engine
from trueup.billing.frames import MILESTONES
from trueup.billing.milestones import bill_milestones
from trueup.kernel.errors import Busy
from trueup.kernel.money import to_units
from trueup.kernel.periods import month_of
from trueup.pipeline.house import House
from trueup.processes.drafts import carry_out
from trueup.processes.facts import projects_of
from trueup.processes.late_facts import in_open_month
from trueup.store import acts, holds, objects
from trueup.store.changes import Event
from trueup.store.database import Tx
from trueup.store.objects import Held


@engine.process
def milestone_billing(work: engine.Work, milestone: str) -> Any:
    """Bill one milestone, or hold it, as one remembered step."""
    return work.step(bill, milestone, work.key)


@acts.looks_again
def bill(house: House, gid: str, process: str) -> dict[str, Any]:
    """Bill a milestone once; whoever comes second finds nothing open."""
    with house.database.transaction() as tx:
        entity, month = _place(tx, gid)
        acts.begin(tx, "milestone_billing", (gid, process), house.edition, entity=entity, period=month, about=[gid])
        milestone = objects.load(tx, [gid], lock=True)[gid]
        project = objects.one(tx, milestone.body["project"] or "")
        if project is None:
            return {"waits": "its project"}
        if entity is None or entity != project.body["legal_entity"]:
            raise Busy(f"the project of {milestone.body['code']} changed while it was billed; plan again", 1)
        day = _done_on(milestone)
        projects = projects_of(tx, house.firm, entity, month_of(day))
        plan = bill_milestones(_frame(tx, milestone), projects.filter(pl.col("project") == project.gid))
        plan = in_open_month(tx, plan, entity)
        run = f"{month_of(day)}/{milestone.body['code']}/milestone"
        figures = carry_out(tx, house, plan, run, process, entity, [])
        over = [h for h in holds.open_of(tx, scopes=[gid]) if h["code"] not in set(plan.holds["code"].to_list())]
        holds.release(tx, [h["number"] for h in over], "milestone_billing", "the sign-off arrived")
        return figures


def _place(tx: Tx, gid: str) -> tuple[str | None, str]:
    """Return the legal entity a milestone is billed in, None while it has no project, and the month."""
    milestone = objects.load(tx, [gid])[gid]
    project = objects.one(tx, milestone.body["project"] or "")
    return None if project is None else str(project.body["legal_entity"]), month_of(_done_on(milestone))


def _done_on(milestone: Held) -> date:
    return date.fromisoformat(milestone.body["accepted_on"] or milestone.body["completed_on"])


def _frame(tx: Tx, milestone: Held) -> pl.DataFrame:
    body = milestone.body
    billed = tx.value(
        """
        select (coalesce((select sum(amount) from charges where fact = %(fact)s), 0)
            - coalesce((select sum(amount) from reopenings where fact = %(fact)s), 0))::bigint
        """,
        {"fact": milestone.gid},
    )
    row = (
        milestone.gid,
        milestone.version,
        body["code"],
        body["name"],
        body["contract"],
        body["project"],
        body["line_key"],
        body["sequence"],
        to_units(Decimal(body["amount"]), body["currency"]) - billed,
        body["acceptance_required"],
        _day(body["completed_on"]),
        _day(body["accepted_on"]),
        milestone.status,
    )
    return pl.DataFrame([row], schema={name: column.dtype for name, column in MILESTONES.columns.items()}, orient="row")


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def react(tx: Tx, house: House, events: Sequence[Event]) -> None:
    """Start when a milestone is completed, and again when the client signs."""
    for event in events:
        if event.name in ("milestone.completed", "milestone.accepted"):
            milestone = objects.load(tx, [event.subject])[event.subject]
            if milestone.body["completed_on"] and milestone.body["project"]:
                engine.start(tx, "milestone_billing", event.key.partition("/")[2] + f"/{event.name}", event.subject)

"""Brakes: reads what an invoice is held against, and makes the invoice once a person has released it.

Starts on   hold.released of a brake: the document is planned again, at the same net it passes
Ends with   the draft, or a new hold when its figures have changed
Undo        void the draft in the ERP
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from trueup import engine
from trueup.billing import brakes
from trueup.billing.brakes import CODE, FIXED, History, brake
from trueup.billing.frames import RunFacts, RunPlan, Shape
from trueup.billing.run import plan_run
from trueup.kernel.money import to_units
from trueup.kernel.periods import last_day
from trueup.pipeline.house import Firm, House
from trueup.processes.drafts import carry_out
from trueup.processes.facts import run_facts
from trueup.store import acts, holds, ledger, periods
from trueup.store.changes import Event
from trueup.store.database import Tx, array


def braked(tx: Tx, firm: Firm, plan: RunPlan, facts: RunFacts, entity: str) -> RunPlan:
    """Return the plan without the invoices that are outside the legal entity's bounds."""
    if not plan.invoices.height:
        return plan
    return brake(plan, history(tx, plan, facts, entity), firm.entities[entity].bounds)


def history(tx: Tx, plan: RunPlan, facts: RunFacts, entity: str) -> History:
    """Return what a plan is held against, for what it drafts and nothing else."""
    drafted = plan.charges.filter(pl.col("bucket") == "on_draft")
    fact_ids, contracts = array(drafted["fact"].unique().sort()), array(drafted["contract"].unique().sort())
    seen = pl.concat(
        [
            facts.entries.select(pl.col("gid").alias("fact"), "resource", "worked_on"),
            facts.expenses.select(pl.col("gid").alias("fact"), "resource", pl.col("spent_on").alias("worked_on")),
        ]
    ).join(drafted.select("fact").unique(), on="fact", how="semi")
    late = set(ledger.frame(tx, _LATE, {"facts": fact_ids}, {"fact": pl.String})["fact"])
    days = seen.select("resource", "worked_on").drop_nulls().unique().sort("resource", "worked_on")
    worked = {"people": array(days["resource"]), "days": array(days["worked_on"].cast(pl.String))}
    past = ledger.frame(
        tx, _PAST, {"contracts": contracts, "entity": entity},
        {"code": pl.String, "contract": pl.String, "legal_entity": pl.String, "currency": pl.String,
         "invoice_date": pl.Date, "net": pl.Decimal(38, 10)},
    )  # fmt: skip
    units = [to_units(row["net"], row["currency"]) for row in past.iter_rows(named=True)]
    return History(
        days=_read(tx, brakes.DAYS, _DAYS, worked),
        facts=seen.with_columns(changed_after_approval=pl.col("fact").is_in(list(late))),
        caps=facts.projects.select("project", cap_left=pl.col("cap") - pl.col("cap_used")),
        rates=facts.rates.select("gid", "valid_from", "valid_to"),
        invoices=past.with_columns(pl.Series("net", units, dtype=pl.Int64)),
        fixed=_read(tx, brakes.FIXED_ITEMS, _FIXED, {"contracts": contracts, "kinds": list(FIXED)}),
        closed=_read(tx, brakes.CLOSED, _CLOSED, {"entity": entity}),
        released=_read(
            tx, brakes.RELEASED, _RELEASED, {"code": CODE, "documents": array(plan.invoices["code"].unique().sort())}
        ),
    )


def _read(tx: Tx, shape: Shape, sql: Any, params: dict[str, Any]) -> pl.DataFrame:
    return ledger.frame(tx, sql, params, {name: column.dtype for name, column in shape.columns.items()})


_DAYS = """
    select d.resource, d.worked_on, t.minutes::bigint
    from unnest(%(people)s::text[], %(days)s::date[]) as d (resource, worked_on)
    cross join lateral (
        select sum(minutes) as minutes from time_entries
        where resource = d.resource and worked_on = d.worked_on and tombstone is null and status <> 'rejected') t
    where t.minutes is not null
"""
# The approving system's later words speak of what it has approved; another's word after them does not.
_LATE = """
    select a.gid from (
        select distinct on (c.gid) c.gid, c.number, c.system
        from changes c, jsonb_array_elements(c.decisions) d
        where c.gid = any(%(facts)s::text[]) and d ->> 'verdict' = 'accept' and d -> 'fields' -> 'status' ->> 1 = 'approved'
        order by c.gid, c.number desc) a
    where exists (
        select from changes c, jsonb_array_elements(c.decisions) d
        where c.gid = a.gid and c.number > a.number and c.system is distinct from a.system
            and d ->> 'verdict' = 'accept' and d -> 'fields' ?| array['minutes', 'worked_on', 'role', 'project', 'billable',
                'amount', 'spent_on', 'resource'])
"""
_PAST = """
    select body ->> 'code', body ->> 'contract', body ->> 'legal_entity', body ->> 'currency',
        (body ->> 'invoice_date')::date, (body ->> 'net')::numeric(38, 10)
    from objects
    where kind = 'invoice' and body ->> 'contract' = any(%(contracts)s::text[]) and body ->> 'legal_entity' = %(entity)s
        and body ->> 'invoice_type' = 'invoice' and body ->> 'invoice_date' is not null and body ->> 'net' is not null
        and tombstone is null and status <> 'void'
"""
_FIXED = """
    select contract, service_on, count(*) from charges
    where contract = any(%(contracts)s::text[]) and kind = any(%(kinds)s) and document is not null
    group by contract, service_on
"""
_CLOSED = """
    select distinct legal_entity, period from runs
    where kind = 'month_end' and state = 'done' and legal_entity = %(entity)s and period is not null
"""
_RELEASED = """
    select scope, amount from holds
    where code = %(code)s and scope = any(%(documents)s::text[]) and released_at is not null
"""


def react(tx: Tx, _: House, events: Sequence[Event]) -> None:
    """Start the making of every invoice whose brake a person released, in the transaction of the release."""
    for event in events:
        if event.name == "hold.released" and event.data.get("code") == CODE:
            number = event.key.rpartition("/")[2]
            engine.start(tx, "braked_invoice", number, number)


@engine.process
def braked_invoice(work: engine.Work, number: str) -> Any:
    """Make one released invoice, as one remembered step."""
    return work.step(bill_released, int(number), work.key)


def bill_released(house: House, number: int, process: str) -> dict[str, Any]:
    """Plan the month again and carry out the released document alone; doing it twice does it once."""
    with house.database.transaction() as tx:
        hold = holds.one(tx, number)
    if hold is None or hold["code"] != CODE or hold["released_at"] is None:
        return {"hold": number, "invoices": 0}
    return make(house, number, hold["scope"], hold["period"], hold["legal_entity"], process)


@acts.looks_again
def make(house: House, number: int, code: str, period: str, entity: str, process: str) -> dict[str, Any]:
    """Carry out one document that was held under a number and is released."""
    with house.database.transaction() as tx:
        arguments = (number, code, period, entity, process)
        acts.begin(tx, "braked_invoice", arguments, house.edition, entity=entity, period=period)
        run = f"{period}/{entity}/billing/released-{number}"
        if periods.is_closed(tx, entity, period):  # nothing of it was billed: the next open month's run looks at it
            return {"run": run, "invoices": 0, "waits": "the month is closed"}
        if not ledger.begin_run(tx, run, "billing", entity, period):
            return {"run": run, "already": "done"}
        facts = run_facts(tx, house.firm, entity, last_day(period), period)
        plan = only(plan_run(facts, last_day(period), period), code)
        figures = carry_out(tx, house, braked(tx, house.firm, plan, facts, entity), run, process, entity, [])
        ledger.end_run(tx, run, figures)
        return {"run": run, **figures}


def only(plan: RunPlan, code: str) -> RunPlan:
    """Return the part of a plan that makes one document."""
    return replace(
        plan,
        charges=plan.charges.filter(pl.col("invoice_code") == code),
        invoices=plan.invoices.filter(pl.col("code") == code),
        invoice_lines=plan.invoice_lines.filter(pl.col("invoice_code") == code),
        holds=plan.holds.clear(),
    )

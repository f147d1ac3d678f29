"""Time and expense to billing: approved time and billable expenses, and only those, become priced draft invoices.

Starts on   a billing run of a month for a legal entity (a person, the API, the schedule)
Held by     what may not be billed yet, each thing with its own hold; the next run looks at it again
Ends with   drafts in the ERP
Undo        void the draft in the ERP; a posted invoice is corrected by a credit
"""

from typing import Any

from trueup import engine
from trueup.billing.run import plan_run
from trueup.kernel.periods import last_day
from trueup.pipeline.house import House
from trueup.processes import decided, rerating, schedule_billing
from trueup.processes.brakes import braked
from trueup.processes.drafts import carry_out
from trueup.processes.facts import run_facts
from trueup.store import ledger, periods
from trueup.store.database import Tx


@engine.process
def billing_run(work: engine.Work, period: str, entity: str) -> Any:
    """Plan and carry out one month's billing of one legal entity, as one remembered step."""
    return work.step(bill, period, entity, work.key)


def bill(house: House, period: str, entity: str, process: str) -> dict[str, Any]:
    """Bill what can be billed; doing it twice does it once."""
    run = run_name(period, entity)
    with house.database.transaction() as tx:
        if not ledger.begin_run(tx, run, "billing", entity, period):
            return {"run": run, "already": "done"}
        periods.require_open(tx, entity, period, "the billing run")
        facts = run_facts(tx, house.firm, entity, last_day(period), period)
        plan = plan_run(facts, last_day(period), period)
        plan = braked(tx, house.firm, plan, facts, entity)
        figures = carry_out(tx, house, plan, run, process, entity, facts.projects["project"].to_list())
        schedule_billing.start(tx, house.firm, period, entity)
        rerating.name_edits(tx, house, entity)
        ledger.end_run(tx, run, figures)
        return {"run": run, **figures}


def preview(house: House, period: str, entity: str) -> dict[str, Any]:
    """Say what a run would do, and do nothing."""
    with house.database.transaction() as tx:
        facts = run_facts(tx, house.firm, entity, last_day(period), period)
        plan = braked(tx, house.firm, plan_run(facts, last_day(period), period), facts, entity)
        plan = decided.adjusted(tx, house.firm, plan, entity)
    return {
        "invoices": plan.invoices.to_dicts(),
        "lines": plan.invoice_lines.to_dicts(),
        "holds": plan.holds.to_dicts(),
    }


def run_name(period: str, entity: str) -> str:
    """Return the name of the month's run of a legal entity."""
    return f"{period}/{entity}/billing"


def start(tx: Tx, period: str, entity: str) -> str:
    """Queue the month's run of a legal entity; the same month is run once."""
    return engine.start(tx, "billing_run", f"{period}/{entity}", period, entity)

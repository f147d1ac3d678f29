"""Time and expense to billing: approved time and billable expenses, and only those, become priced draft invoices.

Starts on   a billing run of a month for a legal entity (a person, the API, the schedule)
Held by     what may not be billed yet, each thing with its own hold; the next run looks at it again
Ends with   drafts in the ERP
Undo        void the draft in the ERP; a posted invoice is corrected by a credit

A month of more entries than a worker should hold is billed in parts, whole contracts each: every part is a process and
a transaction of its own, any worker may take it, and whoever ends the last part ends the run.
"""

from typing import Any

from trueup import engine
from trueup.billing.parts import WHOLE, Part, parts_for
from trueup.billing.run import plan_run
from trueup.kernel.errors import Broken
from trueup.kernel.periods import last_day
from trueup.pipeline.house import House
from trueup.processes import rerating, schedule_billing
from trueup.processes.brakes import braked
from trueup.processes.drafts import added, carry_out
from trueup.processes.facts import count_entries, run_facts
from trueup.store import acts, ledger, periods
from trueup.store.database import Tx


@engine.process
def billing_run(work: engine.Work, period: str, entity: str) -> Any:
    """Plan and carry out one month's billing of one legal entity: one remembered step, or as many processes as parts."""
    parts = work.step(divide, period, entity)
    return (
        work.step(bill, period, entity, work.key) if parts == 1 else {"run": run_name(period, entity), "parts": parts}
    )


@engine.heavy
@engine.process
def billing_part(work: engine.Work, period: str, entity: str, number: str, of: str) -> Any:
    """Carry out a part of a run, then end the run when no part is left."""
    figures = work.step(bill, period, entity, work.key, int(number), int(of))
    work.step(finish, period, entity)
    return figures


def divide(house: House, period: str, entity: str) -> int:
    """Decide how many parts a run has, and start them when there are several; a run begun keeps its parts."""
    run = run_name(period, entity)
    with house.database.transaction() as tx:
        begun = ledger.run_of(tx, run)
        if begun is not None:
            return int(begun["figures"].get("parts", 1))
        parts = parts_for(count_entries(tx, entity, last_day(period)), house.firm.entries_per_part)
        if len(parts) == 1:
            return 1
        periods.require_open(tx, entity, period, "the billing run")
        ledger.open_run(tx, run, "billing", entity, period, {"parts": len(parts), "parts_done": 0})
        for part in parts:
            ledger.open_run(tx, f"{run}/{part}", "billing_part", entity, period, {})
            engine.start(
                tx, "billing_part", f"{period}/{entity}/{part}", period, entity, str(part.number), str(part.of)
            )
        return len(parts)


@acts.looks_again
def bill(house: House, period: str, entity: str, process: str, number: int = 0, of: int = 1) -> dict[str, Any]:
    """Bill what can be billed, of all contracts or of a part of them; doing it twice does it once.

    number, of  the part of the run, see `Part`
    """
    run, part = run_name(period, entity), Part(number, of)
    whole = part == WHOLE
    mine = run if whole else f"{run}/{part}"
    kind, slots = ("billing", None) if whole else ("billing_part", part.slots)
    with house.database.transaction() as tx:
        acts.begin(
            tx, "billing_run", (period, entity, process, number, of), house.edition, entity=entity, period=period,
            slots=slots,
        )  # fmt: skip
        if not ledger.begin_run(tx, mine, kind, entity, period, slots):
            return {"run": mine, "already": "done"}
        periods.require_open(tx, entity, period, "the billing run")
        facts = run_facts(tx, house.firm, entity, last_day(period), period, part)
        plan = plan_run(facts, last_day(period), period)
        plan = braked(tx, house.firm, plan, facts, entity)
        figures = carry_out(tx, house, plan, mine, process, entity, facts.projects["project"].to_list())
        if whole:
            _last(tx, house, period, entity)
        ledger.end_run(tx, mine, figures)
        return {"run": mine, **figures}


def finish(house: House, period: str, entity: str) -> dict[str, Any]:
    """End a run of several parts when the last of them is done; until then note how far it is."""
    run = run_name(period, entity)
    with house.database.transaction() as tx:
        state = ledger.hold_run(tx, run)
        if state is None:
            raise Broken(f"a part of {run} was carried out, and nobody began the run")
        if state == "done":
            return {"run": run, "already": "done"}
        figures = _so_far(tx, run)
        if figures["parts_done"] < figures["parts"]:
            ledger.note_run(tx, run, figures)
            return {"run": run, **figures}
    return conclude(house, period, entity)


@acts.looks_again
def conclude(house: House, period: str, entity: str) -> dict[str, Any]:
    """End a run whose parts are all done; doing it twice does it once."""
    run = run_name(period, entity)
    with house.database.transaction() as tx:
        acts.begin(tx, "billing_end", (period, entity), house.edition, entity=entity, period=period)
        if not ledger.begin_run(tx, run, "billing", entity, period):
            return {"run": run, "already": "done"}
        figures = _so_far(tx, run)
        _last(tx, house, period, entity)
        ledger.end_run(tx, run, figures)
        return {"run": run, **figures}


def _so_far(tx: Tx, run: str) -> dict[str, Any]:
    parts = ledger.parts_of(tx, run)
    done = [part["figures"] for part in parts if part["state"] == "done"]
    return {"parts": len(parts), "parts_done": len(done), **added(done)}


def _last(tx: Tx, house: House, period: str, entity: str) -> None:
    """Do what comes once after everything of a month was looked at."""
    schedule_billing.start(tx, house.firm, period, entity)
    rerating.name_edits(tx, house, entity)


def run_name(period: str, entity: str) -> str:
    """Return the name of the month's run of a legal entity."""
    return f"{period}/{entity}/billing"


def start(tx: Tx, period: str, entity: str) -> str:
    """Queue the month's run of a legal entity; the same month is run once."""
    return engine.start(tx, "billing_run", f"{period}/{entity}", period, entity)

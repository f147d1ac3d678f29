"""Reconciliation: every system is asked afresh and compared with the hub; each difference gets a name and a repair.

Starts on   a person, the API, the schedule
Ends with   sums and breaks stored under the run's name; breaks that are gone are closed
Undo        nothing to undo: it reads, and writes only what it found
"""

from typing import Any

from trueup import engine
from trueup.pipeline.house import House
from trueup.pipeline.reconcile import tie_out
from trueup.store.database import Tx


@engine.process
def reconciliation(work: engine.Work, run: str) -> Any:
    """Compare all systems once, as one remembered step."""
    return work.step(compare, run)


def compare(house: House, run: str) -> dict[str, Any]:
    """Compare and return the counts; the breaks themselves are in the store."""
    found = tie_out(house, run)
    return {**found, "breaks": len(found["breaks"])}


def start(tx: Tx, run: str) -> str:
    """Queue a reconciliation; the same name is run once."""
    return engine.start(tx, "reconciliation", run, run)

"""Expense report approved: taken in whole, then confirmed to the expense system, so that it can be paid out.

Starts on   expense_report.approved
Ends with   the posting confirmed in the expense system, the lines posted here
Undo        a reversed report arrives as a correction
"""

from collections.abc import Sequence
from datetime import date

from trueup.kernel.ids import derive
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.processes.commands import commands
from trueup.store import deliveries, objects
from trueup.store.changes import Event
from trueup.store.database import Tx


def react(tx: Tx, house: House, events: Sequence[Event]) -> None:
    """Confirm reports that are approved; mark their lines posted once the confirmation landed."""
    for event in events:
        if event.name == "expense_report.approved":
            _confirm(tx, house, event.subject)
        elif event.name == "delivery.confirmed" and event.kind == "expense_report":
            _posted(tx, house, event.data["code"].partition(":")[2])


def _confirm(tx: Tx, house: House, report: str) -> None:
    lines = tx.rows(
        "select gid, legal_entity, max(spent_on) over () as last_on from expense_lines where report = %s and tombstone is null order by line_number, gid",
        (report,),
    )
    last_on: date = lines[0]["last_on"]
    source = {
        "report": report,
        "status": "posted",
        "message": "",
        "documents": [
            {
                "legal_entity": lines[0]["legal_entity"],
                "number": report,
                "fiscal_year": last_on.year,
                "posted_on": last_on.isoformat(),
            }
        ],
    }
    gid = derive("expense_report", report)
    asked = commands(house, "expense", "expense_report", gid, f"posted:{report}", source=source, priority=55)
    deliveries.ask(tx, asked)


def _posted(tx: Tx, house: House, report: str) -> None:
    rows = tx.rows("select gid from expense_lines where report = %s and status = 'approved'", (report,))
    found = objects.load(tx, [row["gid"] for row in rows], lock=True)
    items = [("expense_line", gid, {"status": "posted"}) for gid in sorted(found)]
    author(tx, house, items, role="expense", actor="expense_posting")

"""The page of a month's billing run: what it would draft, hold and warn of; then the run itself and how far it is."""

from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import RedirectResponse, Response

from trueup.billing.holds import REASONS
from trueup.entrypoints.web.rendering import show
from trueup.entrypoints.web.visitor import Acting, Money, own_form
from trueup.kernel.clock import today
from trueup.kernel.periods import month_of
from trueup.processes import dry_run, time_to_billing
from trueup.store import ledger

router = APIRouter()
MONTH = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
ROWS = 200


@router.get("/billing/run")
def run_page(
    desk: Money,
    period: Annotated[str, Query(pattern=rf"({MONTH})|^$")] = "",
    entity: Annotated[str, Query(max_length=12)] = "",
    look: bool = False,
) -> Response:
    """Show the dry run of a month for a legal entity when it was asked for, and where its run stands."""
    month = period or month_of(today().replace(day=1) - timedelta(days=1))
    entities = sorted(desk.house.firm.entities)
    chosen = entity if entity in entities else entities[0]
    found = dry_run.preview(desk.house, month, chosen) if look else None
    with desk.reading() as tx:
        return show(
            desk, tx, "billing_run.html", here="billing", title="Billing run",
            cli=f"trueup bill run {month} --entity {chosen} --dry-run", period=month, entity=chosen, entities=entities,
            run=ledger.run_of(tx, time_to_billing.run_name(month, chosen)), found=found,
            reasons=_reasons(found["holds"]) if found else [], rows=ROWS,
        )  # fmt: skip


def _reasons(holds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count holds by reason and currency, the largest first."""
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for hold in holds:
        one = found.setdefault(
            (hold["code"], hold["currency"]),
            {"code": hold["code"], "currency": hold["currency"], "count": 0, "amount": 0, "minutes": 0,
             "sentence": hold["sentence"], "releases_when": REASONS[hold["code"]].released_by},
        )  # fmt: skip
        one["count"] += 1
        one["amount"] += hold["amount"]
        one["minutes"] += hold["minutes"]
    return sorted(found.values(), key=lambda one: (-one["amount"], one["code"]))


@router.post("/billing/run", dependencies=[Depends(own_form)])
def run(
    desk: Acting,
    period: Annotated[str, Form(pattern=MONTH)],
    entity: Annotated[str, Form(max_length=12)],
) -> Response:
    """Queue the run; a month is billed once, whoever asks and how often."""
    if entity in desk.house.firm.entities:
        with desk.house.database.transaction() as tx:
            time_to_billing.start(tx, period, entity)
    return RedirectResponse(f"/billing/run?{urlencode({'period': period, 'entity': entity})}", 303)

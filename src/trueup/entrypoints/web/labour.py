"""The page of labour checks."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from trueup.entrypoints.web.rendering import show
from trueup.entrypoints.web.visitor import Work
from trueup.kernel.clock import now
from trueup.kernel.periods import month_of
from trueup.reporting.labour import labour_checks

router = APIRouter()
ROWS = 500


@router.get("/labour")
def labour_page(
    desk: Work,
    period: Annotated[str, Query(pattern=r"^([0-9]{4}-(0[1-9]|1[0-2]))?$")] = "",
    entity: Annotated[str, Query(max_length=12)] = "",
) -> Response:
    """Show which entries of a month do not keep a working time rule, the gravest first."""
    today = now().date()
    month = period or month_of(today)
    entities = desk.house.firm.entities
    countries = {code: one.country for code, one in entities.items()}
    with desk.reading() as tx:
        found = labour_checks(tx, countries, month, today, entity or None)
        return show(
            desk, tx, "labour.html", here="labour", title="Labour checks", cli=f"trueup labour check {month}",
            found=found[:ROWS], more=max(0, len(found) - ROWS), period=month, entity=entity, entities=sorted(entities),
        )  # fmt: skip

"""The page that accounts for everything that came in."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from trueup.entrypoints.web.rendering import show
from trueup.entrypoints.web.visitor import Work
from trueup.reporting.conservation import conservation

router = APIRouter()


@router.get("/intake")
def intake_page(desk: Work, hours: Annotated[int, Query(ge=1, le=744)] = 24) -> Response:
    """Show what came in by system and hour and where it stands, what stands nowhere, and the sweeps."""
    with desk.reading() as tx:
        found = conservation(tx, hours=hours)
        return show(
            desk, tx, "intake.html", here="intake", title="Intake", cli=f"trueup intake check --hours {hours}",
            found=found, hours=hours,
        )  # fmt: skip

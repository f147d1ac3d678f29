"""Labour checks over the API: a month's findings, the gravest first."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Security
from pydantic import BaseModel
from starlette.responses import Response

from trueup.entrypoints.api.answers import answer, house_of
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.kernel.clock import now
from trueup.model.canonical import Month
from trueup.reporting.labour import LabourFinding, labour_checks

router = APIRouter(prefix="/v1")
Watcher = Annotated[Caller, Security(signed_in, scopes=["ops:read"])]


class LabourChecks(BaseModel):
    """What does not keep a working time rule; none of it blocks billing unless the firm says so."""

    period: str
    items: list[LabourFinding]


@router.get(
    "/labour-checks", tags=["labour"], summary="Working time rules a month's entries do not keep",
    operation_id="list_labour_checks", responses={200: {"model": LabourChecks}},
)  # fmt: skip
def list_labour_checks(
    request: Request,
    caller: Watcher,
    period: Annotated[Month, Query(description="Month of the work: 2026-08.")],
    legal_entity: Annotated[str | None, Query(description="Employer.", max_length=12)] = None,
) -> Response:
    """Return the findings of a month, for one employer or all."""
    house = house_of(request)
    countries = {code: one.country for code, one in house.firm.entities.items()}
    with house.database.transaction() as tx:
        found = labour_checks(tx, countries, period, now().date(), legal_entity)
    return answer({"period": period, "items": found})

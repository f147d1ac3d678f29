"""Budgets of vendor accounts over the API."""

from typing import Annotated

from fastapi import APIRouter, Request, Security
from pydantic import BaseModel
from starlette.responses import Response

from trueup.entrypoints.api.answers import answer, house_of
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.reporting.budgets import AccountBudget, budgets

router = APIRouter(prefix="/v1")
Watcher = Annotated[Caller, Security(signed_in, scopes=["ops:read"])]


class Budgets(BaseModel):
    """Every vendor account with what it allows, who uses it, and when its queue will be empty."""

    items: list[AccountBudget]


@router.get(
    "/budgets", tags=["operations"], summary="What each vendor account allows and who uses it",
    operation_id="list_budgets", responses={200: {"model": Budgets}},
)  # fmt: skip
def list_budgets(request: Request, caller: Watcher) -> Response:
    """Return every account: used, left, by lane and legal entity, with a forecast."""
    house = house_of(request)
    with house.database.transaction() as tx:
        return answer({"items": budgets(tx, house.accounts())})

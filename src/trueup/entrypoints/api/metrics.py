"""The firm's figures for programs: the same registry, the same functions and the same words as page and command line."""

from typing import Annotated

from fastapi import APIRouter, Request, Security
from pydantic import BaseModel
from starlette.responses import Response

from trueup.billing.metrics import COST
from trueup.entrypoints.api.answers import answer, house_of
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.problems import Problem
from trueup.reporting import metrics
from trueup.reporting.metrics import Definition, Figure

router = APIRouter(prefix="/v1")
MoneyReader = Annotated[Caller, Security(signed_in, scopes=["money:read"])]


class Metrics(BaseModel):
    """Every figure with the definition it follows."""

    definitions: list[Definition]
    figures: list[Figure]


class MetricAnswer(BaseModel):
    """One figure, for everything it is worked out for."""

    definition: Definition
    figures: list[Figure]


@router.get("/metrics", tags=["metrics"], summary="Every figure with its definition", operation_id="list_metrics",
            responses={200: {"model": Metrics}})  # fmt: skip
def list_metrics(request: Request, caller: MoneyReader) -> Response:
    """Return the firm's figures; those made of cost only with the right to see it."""
    house = house_of(request)
    with house.database.transaction() as tx:
        found = metrics.figures(tx, cost=caller.cost)
    return answer({"definitions": metrics.definitions(cost=caller.cost), "figures": found})


@router.get("/metrics/{name}", tags=["metrics"], summary="One figure with its definition", operation_id="get_metric",
            responses={200: {"model": MetricAnswer}})  # fmt: skip
def get_metric(request: Request, caller: MoneyReader, name: str) -> Response:
    """Return one figure for every legal entity, currency, project or stage it is worked out for."""
    definition = next((one for one in metrics.definitions() if one.name == name), None)
    if definition is None:
        known = ", ".join(one.name for one in metrics.definitions())
        raise Problem("not_found", f"there is no figure {name}; there are {known}")
    if name in COST and not caller.cost:
        raise Problem("forbidden", f"{name} is made of cost", more={"missing_scopes": ["cost:read"]})
    house = house_of(request)
    with house.database.transaction() as tx:
        found = metrics.figures(tx, cost=caller.cost, name=name)
    return answer({"definition": definition, "figures": found})

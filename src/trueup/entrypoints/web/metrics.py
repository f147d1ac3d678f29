"""The page of figures: each with its formula, what it divides, its version, its owner and the way to its records."""

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.responses import Response

from trueup.entrypoints.web.rendering import show
from trueup.entrypoints.web.visitor import Money
from trueup.reporting import metrics
from trueup.reporting.metrics import Definition, Figure

router = APIRouter()


@router.get("/metrics")
def metrics_page(desk: Money) -> Response:
    """Show every figure of the firm."""
    cost = desk.can("cost:read")
    with desk.reading() as tx:
        found = metrics.figures(tx, cost=cost)
        return show(
            desk,
            tx,
            "metrics.html",
            here="metrics",
            title="Figures",
            cli="trueup metrics",
            span=metrics.span(tx),
            groups=_groups(metrics.definitions(cost=cost), found),
        )


def _groups(definitions: Sequence[Definition], figures: Sequence[Figure]) -> list[tuple[Definition, list[Figure]]]:
    return [(one, [figure for figure in figures if figure.name == one.name]) for one in definitions]

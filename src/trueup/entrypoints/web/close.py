"""The month-end pages: which months are closed, a month's checklist, and what a person decides there."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Path
from fastapi.responses import RedirectResponse, Response

from trueup.entrypoints.web.rendering import HEADERS, show, show_bare
from trueup.entrypoints.web.visitor import Acting, Desk, Money, ScopeMissing, own_form
from trueup.kernel.clock import today
from trueup.kernel.errors import Held
from trueup.processes import period_close
from trueup.reporting import close as closes
from trueup.store import periods
from trueup.store.database import Tx

router = APIRouter()
Month = Annotated[str, Path(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Entity = Annotated[str, Path(max_length=12)]
Reason = Annotated[str, Form(min_length=5, max_length=400)]
OURS = [Depends(own_form)]


def _known(desk: Desk, entity: str) -> str:
    if entity not in desk.house.firm.entities:
        raise HTTPException(404, f"There is no legal entity {entity}.")
    return entity


@router.get("/close")
def close_page(desk: Money) -> Response:
    """Show which months of which legal entities are closed, what waits for a second person, and the gap report."""
    with desk.reading() as tx:
        page = closes.matrix(tx, tuple(desk.house.firm.entities), today())
        return show(desk, tx, "close.html", here="close", title="Month end", cli="trueup close list", page=page)


@router.get("/close/{entity}/{period}")
def month_page(desk: Money, entity: Entity, period: Month) -> Response:
    """Show one month: its checklist, its revisions, what differs, and what a person may decide."""
    _known(desk, entity)
    with desk.reading() as tx:
        it = closes.close(tx, entity, period, cost=desk.can("cost:read"))
        return show(
            desk,
            tx,
            "close_month.html",
            here="close",
            title=f"{period} {entity}",
            cli=f"trueup close {period} --entity {entity}",
            it=it,
        )


@router.get("/close/{entity}/{period}/snapshot")
def snapshot(desk: Money, entity: Entity, period: Month, revision: int | None = None) -> Response:
    """Send the frozen snapshot byte for byte; it holds cost, so only to readers who may see it."""
    _known(desk, entity)
    if not desk.can("cost:read"):
        raise ScopeMissing("cost:read", desk.visitor.name)
    with desk.reading() as tx:
        raw = closes.snapshot_bytes(tx, entity, period, revision)
    if raw is None:
        raise HTTPException(404, f"{period} of {entity} has no frozen snapshot.")
    name = f"close-{entity}-{period}.json"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(raw, media_type="application/json", headers=headers)


@router.post("/close/{entity}/{period}/start", dependencies=OURS)
def start(desk: Acting, entity: Entity, period: Month) -> Response:
    """Begin to close the month, or go on with what was begun."""

    def act(tx: Tx) -> None:
        period_close.start(tx, entity, period, desk.visitor.name)

    return _decide(desk, entity, period, "closing", act)


@router.post("/close/{entity}/{period}/accept", dependencies=OURS)
def accept(
    desk: Acting, entity: Entity, period: Month, item: Annotated[str, Form(max_length=40)], reason: Reason
) -> Response:
    """Accept a finding, with name and reason."""

    def act(tx: Tx) -> None:
        period_close.accept(tx, entity, period, item, desk.visitor.name, reason)

    return _decide(desk, entity, period, "accepted", act)


@router.post("/close/{entity}/{period}/reopen", dependencies=OURS)
def reopen(desk: Acting, entity: Entity, period: Month, reason: Reason) -> Response:
    """Ask for the month to be reopened."""

    def act(tx: Tx) -> None:
        periods.propose(tx, entity, period, desk.visitor.name, reason)

    return _decide(desk, entity, period, "proposed", act)


@router.post("/close/{entity}/{period}/approve", dependencies=OURS)
def approve(desk: Acting, entity: Entity, period: Month, number: Annotated[int, Form(ge=1, le=2**62)]) -> Response:
    """Reopen the month, as the second person."""

    def act(tx: Tx) -> None:
        if number not in {one["number"] for one in periods.proposals(tx, entity, period)}:
            raise Held(f"there is no proposal {number} for {period} of {entity}", "UNKNOWN_PROPOSAL")
        period_close.reopen(tx, desk.house, number, desk.visitor.name)

    return _decide(desk, entity, period, "reopened", act)


def _decide(desk: Desk, entity: str, period: str, done: str, act: Callable[[Tx], None]) -> Response:
    """Do what a person decided and go back to the month; what does not fit is said on a page of its own."""
    _known(desk, entity)
    place = f"/close/{entity}/{period}"
    try:
        with desk.house.database.transaction() as tx:
            act(tx)
    except Held as waits:
        sentence = str(waits)
        return show_bare(
            "problem.html",
            title="Another person has to do this" if waits.code == "ANOTHER_PERSON" else "That does not fit the month",
            status=409,
            sentence=f"{sentence[:1].upper()}{sentence[1:]}.",
            advice="Nothing was changed.",
            href=place,
            label="Back to the month",
        )
    return RedirectResponse(f"{place}?{urlencode({'done': done})}", 303)

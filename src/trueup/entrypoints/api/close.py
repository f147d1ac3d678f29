"""Month ends over the API: start one, read its checklist, accept findings, reopen a month by two people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel, Field
from starlette.responses import Response

from trueup.entrypoints.api import bodies
from trueup.entrypoints.api.answers import Done, answer, house_of, link, once
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.bodies import RawBody
from trueup.entrypoints.api.problems import Problem, Wrong
from trueup.entrypoints.api.process import Command, Reason, Started, said
from trueup.kernel.clock import today
from trueup.model.canonical import Month
from trueup.pipeline.house import House
from trueup.processes import period_close
from trueup.reporting import close as closes
from trueup.reporting.close import Close, Matrix
from trueup.store import numbers, periods
from trueup.store.database import Tx

router = APIRouter(prefix="/v1")
Runner = Annotated[Caller, Security(signed_in, scopes=["process:run"])]
Reader = Annotated[Caller, Security(signed_in, scopes=["money:read"])]
Period = Annotated[str, Path(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Entity = Annotated[str, Path(max_length=12)]


class ClosePeriod(Command):
    """Walk the checklist of a month of a legal entity and freeze it; `dry_run` looks and does nothing."""

    period: Month
    legal_entity: str = Field(max_length=12)
    dry_run: bool = False


class AcceptFinding(Command):
    """Accept what one item of the checklist found."""

    item: str = Field(max_length=40)
    reason: str = Field(min_length=5, max_length=400)


class ApproveReopening(Command):
    """Decide on a proposal to reopen a month, as another person than the one who asked."""

    proposal: int = Field(gt=0, lt=2**62)


COMMANDS: Sequence[type[BaseModel]] = (ClosePeriod, AcceptFinding, ApproveReopening)


class Proposed(BaseModel):
    """A proposal to reopen a month waits for another person."""

    proposal: int
    legal_entity: str
    period: str
    asked_by: str
    reason: str


class Reopened(BaseModel):
    """A month that is open again."""

    proposal: int
    legal_entity: str
    period: str
    revision: int
    asked_by: str
    approved_by: str


class Accepted(BaseModel):
    """A finding a person accepted."""

    item: str
    state: str
    sentence: str
    reason: str
    accepted_by: str
    accepted_at: datetime


def _known(house: House, entity: str) -> str:
    if entity not in house.firm.entities:
        raise Problem("not_found", f"there is no legal entity {entity}")
    return entity


@router.post(
    "/processes/closes", tags=["processes"], summary="Close a month of a legal entity, or show its checklist",
    operation_id="close_period", status_code=202,
    responses={202: {"model": Started}, 200: {"description": "The dry run, or the month is closed already."}},
    openapi_extra=said(ClosePeriod),
)  # fmt: skip
def close_period(request: Request, caller: Runner, raw: RawBody) -> Response:
    """Start the close, or go on with the one that was begun; a closed month answers with its hash."""
    house, asked = house_of(request), bodies.command(raw, ClosePeriod)
    if asked.legal_entity not in house.firm.entities:
        known = f"one of {', '.join(sorted(house.firm.entities))}"
        raise bodies.invalid_fields([Wrong("/legal_entity", "unknown_reference", asked.legal_entity, known)])
    if asked.dry_run:
        found = period_close.preview(house, asked.legal_entity, asked.period)
        shown = [{**item, "figures": _seen(item["figures"], caller)} for item in found]
        return answer({"dry_run": True, "items": shown})
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _start(tx, asked.legal_entity, asked.period, caller))


def _seen(figures: Any, caller: Caller) -> Any:
    return figures if caller.cost else closes.without_cost(figures)


def _start(tx: Tx, entity: str, period: str, caller: Caller) -> Done:
    process = period_close.start(tx, entity, period, caller.name)
    if process is None:
        month = periods.latest(tx, entity, period)
        return Done({"state": "closed", "revision": month["revision"], "sha256": month["sha256"]} if month else {})
    return Done({"operation": process, "state": "queued"}, 202, {"Location": link("v1", "operations", process)})


@router.get(
    "/closes", tags=["closes"], summary="Which months are closed", operation_id="list_closes",
    responses={200: {"model": Matrix}},
)  # fmt: skip
def list_closes(request: Request, caller: Reader) -> Response:
    """Return months by legal entities with state, revision and hash, proposals that wait, and the gap report."""
    house = house_of(request)
    with house.database.transaction() as tx:
        return answer(closes.matrix(tx, tuple(house.firm.entities), today()))


@router.get("/numbers", tags=["closes"], summary="Document numbers and their gaps", operation_id="list_numbers")
def list_numbers(
    request: Request, caller: Reader, legal_entity: Annotated[str | None, Query(max_length=12)] = None
) -> Response:
    """Return every series of document numbers: those the hub gives, and what it holds of those the ERP gives."""
    with house_of(request).database.transaction() as tx:
        return answer({"items": [numbers.as_row(one) for one in numbers.report(tx, legal_entity)]})


@router.get(
    "/closes/{entity}/{period}", tags=["closes"], summary="A month with its checklist", operation_id="get_close",
    responses={200: {"model": Close}},
)  # fmt: skip
def get_close(request: Request, caller: Reader, entity: Entity, period: Period) -> Response:
    """Return a month of a legal entity: items, revisions with their variance, proposals, and what came since."""
    house = house_of(request)
    with house.database.transaction() as tx:
        return answer(closes.close(tx, _known(house, entity), period, cost=caller.cost))


@router.get(
    "/closes/{entity}/{period}/snapshot", tags=["closes"], summary="The frozen snapshot, byte for byte",
    operation_id="get_close_snapshot",
)  # fmt: skip
def get_snapshot(
    request: Request,
    caller: Annotated[Caller, Security(signed_in, scopes=["money:read", "cost:read"])],
    entity: Entity,
    period: Period,
    revision: Annotated[int | None, Query(ge=1, le=100_000)] = None,
) -> Response:
    """Return the snapshot in its canonical form: the SHA-256 of these bytes is the month's hash."""
    house = house_of(request)
    with house.database.transaction() as tx:
        raw = closes.snapshot_bytes(tx, _known(house, entity), period, revision)
    if raw is None:
        raise Problem("not_found", f"{period} of {entity} has no frozen snapshot")
    return Response(raw, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.post(
    "/closes/{entity}/{period}/accept", tags=["closes"], summary="Accept a finding, with a reason",
    operation_id="accept_finding", responses={200: {"model": Accepted}}, openapi_extra=said(AcceptFinding),
)  # fmt: skip
def accept_finding(request: Request, caller: Runner, entity: Entity, period: Period, raw: RawBody) -> Response:
    """Accept in the caller's name; it is good as long as the same is found."""
    house, asked = house_of(request), bodies.command(raw, AcceptFinding)
    _known(house, entity)
    with house.database.transaction() as tx:
        return once(
            tx, request, caller, raw,
            lambda: Done(period_close.accept(tx, entity, period, asked.item, caller.name, asked.reason)),
        )  # fmt: skip


@router.post(
    "/closes/{entity}/{period}/reopen", tags=["closes"], summary="Ask for a closed month to be reopened",
    operation_id="propose_reopening", status_code=202, responses={202: {"model": Proposed}}, openapi_extra=said(Reason),
)  # fmt: skip
def propose_reopening(request: Request, caller: Runner, entity: Entity, period: Period, raw: RawBody) -> Response:
    """Make a proposal in the caller's name; another person approves it."""
    house, asked = house_of(request), bodies.command(raw, Reason)
    _known(house, entity)
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _propose(tx, entity, period, caller, asked.reason))


def _propose(tx: Tx, entity: str, period: str, caller: Caller, reason: str) -> Done:
    number = periods.propose(tx, entity, period, caller.name, reason)
    data = {"legal_entity": entity, "period": period, "asked_by": caller.name, "reason": reason}
    return Done({"proposal": number, **data}, 202)


@router.post(
    "/closes/{entity}/{period}/approve", tags=["closes"], summary="Reopen a month, as the second person",
    operation_id="approve_reopening", responses={200: {"model": Reopened}}, openapi_extra=said(ApproveReopening),
)  # fmt: skip
def approve_reopening(request: Request, caller: Runner, entity: Entity, period: Period, raw: RawBody) -> Response:
    """Approve a proposal of this month in the caller's name; refused to whoever asked."""
    house, asked = house_of(request), bodies.command(raw, ApproveReopening)
    _known(house, entity)
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _approve(tx, house, entity, period, caller, asked.proposal))


def _approve(tx: Tx, house: House, entity: str, period: str, caller: Caller, number: int) -> Done:
    of_month = {one["number"] for one in periods.proposals(tx, entity, period)}
    if number not in of_month:
        raise Problem("not_found", f"there is no proposal {number} for {period} of {entity}")
    done = period_close.reopen(tx, house, number, caller.name)
    return Done(
        {
            "proposal": number,
            "legal_entity": entity,
            "period": period,
            "revision": done["next_revision"],
            "asked_by": done["asked_by"],
            "approved_by": done["decided_by"],
        }
    )

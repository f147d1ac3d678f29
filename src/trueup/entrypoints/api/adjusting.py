"""What people decide about bills: adjustments by two people, and re-ratings with their preview."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Security
from pydantic import BaseModel, Field
from starlette.responses import Response

from trueup.entrypoints.api import bodies
from trueup.entrypoints.api.answers import Done, answer, house_of, once
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.bodies import RawBody
from trueup.entrypoints.api.problems import Problem
from trueup.entrypoints.api.process import Command, Empty, Number, Operator, Reason, Runner, said
from trueup.processes import adjustments, corrections, rerating
from trueup.reporting.explain import find_invoice
from trueup.store import acts
from trueup.store import adjustments as kept

router = APIRouter(prefix="/v1")
Reader = Annotated[Caller, Security(signed_in, scopes=["money:read"])]


class Adjust(Command):
    """Lower, raise, give up or put off the bill of open time and expenses of one legal entity."""

    kind: Literal["write_down", "write_up", "write_off", "courtesy", "postponed", "non_billable"]
    facts: list[str] = Field(min_length=1, max_length=5000)
    reason: str = Field(min_length=5, max_length=400)
    amount: Decimal | None = None
    until: date | None = None


class Rerate(Command):
    """Find billed entries that a changed rate prices anew; propose the differences, or only show them."""

    since: date
    contract: str | None = Field(default=None, max_length=60)
    policy: Literal["delta_next", "credit_partial", "credit_full_rebill"] = "delta_next"
    dry_run: bool = False
    reason: str = Field(default="a rate was changed", min_length=5, max_length=400)


class Part(Command):
    """A time entry or expense to credit; without minutes all that stands billed of it."""

    fact: str = Field(max_length=40)
    minutes: int | None = Field(default=None, ge=1)


class Credit(Command):
    """Credit a posted invoice, or some of its entries: given up, or open to be billed again."""

    entries: list[Part] = Field(default=[], max_length=5000)
    again: bool = False
    reason: str = Field(min_length=5, max_length=400)
    dry_run: bool = False


class Decided(BaseModel):
    """One decision and where it stands."""

    number: int
    state: Literal["proposed", "applied", "rejected", "undone"]


COMMANDS: tuple[type[BaseModel], ...] = (Adjust, Credit, Rerate)


@router.get("/adjustments", tags=["adjustments"], summary="List decisions about bills", operation_id="list_adjustments")
def list_adjustments(
    request: Request, caller: Reader, state: Annotated[str | None, Query(max_length=10)] = None
) -> Response:
    """Return decisions, the newest first."""
    with house_of(request).database.transaction() as tx:
        return answer({"adjustments": kept.listed(tx, state)})


@router.post(
    "/adjustments", tags=["adjustments"], summary="Propose an adjustment", operation_id="adjust",
    responses={200: {"model": Decided}}, openapi_extra=said(Adjust),
)  # fmt: skip
@acts.looks_again
def adjust(request: Request, caller: Operator, raw: RawBody) -> Response:
    """Write down a decision in the caller's name; a second person approves it where the value asks for one."""
    house, asked = house_of(request), bodies.command(raw, Adjust)
    with house.database.transaction() as tx:
        adjustments.look_at(tx, asked.facts)
        return once(
            tx, request, caller, raw,
            lambda: Done(
                adjustments.propose_in(
                    tx, house, asked.kind, asked.facts, by=caller.name, reason=asked.reason, amount=asked.amount,
                    until=asked.until,
                )
            ),
        )  # fmt: skip


@router.post(
    "/adjustments/{number}/approve", tags=["adjustments"], summary="Approve what somebody else proposed",
    operation_id="approve_adjustment", responses={200: {"model": Decided}}, openapi_extra=said(Empty),
)  # fmt: skip
@acts.looks_again
def approve(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Apply a proposal; whoever proposed it may not."""
    bodies.command(raw, Empty)
    house = house_of(request)
    with house.database.transaction() as tx:
        adjustments.look_in(tx, number)
        return once(
            tx,
            request,
            caller,
            raw,
            lambda: _decided(number, adjustments.approve_in(tx, house, number, by=caller.name)),
        )


@router.post(
    "/adjustments/{number}/reject", tags=["adjustments"], summary="Turn a proposal down",
    operation_id="reject_adjustment", responses={200: {"model": Decided}}, openapi_extra=said(Empty),
)  # fmt: skip
@acts.looks_again
def reject(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Turn a proposal down; nothing moves."""
    bodies.command(raw, Empty)
    house = house_of(request)
    with house.database.transaction() as tx:
        adjustments.look_in(tx, number)
        return once(
            tx, request, caller, raw, lambda: _decided(number, adjustments.reject_in(tx, house, number, by=caller.name))
        )


@router.post(
    "/adjustments/{number}/undo", tags=["adjustments"], summary="Take an applied decision back",
    operation_id="undo_adjustment", responses={200: {"model": Decided}}, openapi_extra=said(Reason),
)  # fmt: skip
@acts.looks_again
def undo(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Open again what the decision moved."""
    asked = bodies.command(raw, Reason)
    house = house_of(request)
    with house.database.transaction() as tx:
        adjustments.look_in(tx, number)
        return once(
            tx, request, caller, raw,
            lambda: _decided(number, adjustments.undo_in(tx, house, number, by=caller.name, reason=asked.reason)),
        )  # fmt: skip


@router.post(
    "/invoices/{id}/credits", tags=["invoices"], summary="Credit an invoice or some of its entries",
    operation_id="credit_invoice", responses={200: {"description": "The credit: net, tax, gross, lines, entries."}},
    openapi_extra=said(Credit),
)  # fmt: skip
@acts.looks_again
def credit(request: Request, caller: Operator, id: str, raw: RawBody) -> Response:
    """Credit in the caller's name, or show what that would be; the ERP is asked for the document."""
    house, asked = house_of(request), bodies.command(raw, Credit)
    facts = {part.fact: part.minutes for part in asked.entries} or None
    with house.database.transaction() as tx:
        gid = find_invoice(tx, id)
    if gid is None:
        raise Problem("not_found", f"there is no invoice {id}")
    if asked.dry_run:
        return answer({"dry_run": True, **corrections.preview(house, gid, facts)})

    def work() -> Done:
        made = corrections.give_in(tx, house, gid, by=caller.name, reason=asked.reason, facts=facts, again=asked.again)
        return Done({"credit": made, "invoice": gid})

    with house.database.transaction() as tx:
        corrections.look_at(tx, gid)
        return once(tx, request, caller, raw, work)


def _decided(number: int, state: str) -> Done:
    return Done({"number": number, "state": state})


@router.post(
    "/processes/reratings", tags=["processes"], summary="Re-rate billed entries after a backdated rate change",
    operation_id="rerate", responses={200: {"description": "Old, new and difference."}}, openapi_extra=said(Rerate),
)  # fmt: skip
@acts.looks_again
def rerate(request: Request, caller: Runner, raw: RawBody) -> Response:
    """Show the differences, or propose them; the same change proposed again is the same decision."""
    house, asked = house_of(request), bodies.command(raw, Rerate)
    if asked.dry_run:
        return answer({"dry_run": True, **rerating.preview(house, asked.since, asked.contract, asked.policy)})

    def work() -> Done:
        found: dict[str, Any] = rerating.propose_in(
            tx, house, asked.since, asked.contract, asked.policy, by=caller.name, reason=asked.reason
        )
        return Done(found)

    with house.database.transaction() as tx:
        acts.look(tx)
        return once(tx, request, caller, raw, work)

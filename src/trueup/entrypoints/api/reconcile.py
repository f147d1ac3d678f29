"""Agreement over the API: a break with its repair, what people decide about it, signed months, and what stands still."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel, Field
from starlette.responses import Response

from trueup.entrypoints.api import bodies
from trueup.entrypoints.api.answers import Done, answer, house_of, once
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.bodies import RawBody
from trueup.entrypoints.api.problems import Problem
from trueup.entrypoints.api.process import Command, Empty, Number, Operator, Reason, said
from trueup.kernel.strict_json import plain
from trueup.processes import reconciliation, repairs
from trueup.reporting import compare, watchdog
from trueup.reporting.compare import Break, Filter, Month
from trueup.reporting.watchdog import Stall
from trueup.store import tie_outs

router = APIRouter(prefix="/v1")
Reader = Annotated[Caller, Security(signed_in, scopes=["money:read"])]
Watcher = Annotated[Caller, Security(signed_in, scopes=["ops:read"])]
Entity = Annotated[str, Path(max_length=12)]
Period = Annotated[str, Path(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]


class RepairBreak(Command):
    """Do the repair that was shown; the digest says which."""

    digest: str = Field(pattern="^[0-9a-f]{64}$")


class AssignBreak(Command):
    """Give a break to somebody; an empty name takes it back."""

    assignee: str = Field(default="", max_length=80)


class NoteBreak(Command):
    """Keep what somebody found out."""

    words: str = Field(min_length=1, max_length=400)


COMMANDS: tuple[type[BaseModel], ...] = (RepairBreak, AssignBreak, NoteBreak)


class Note(BaseModel):
    """One line of a break's history."""

    act: str
    person: str
    words: str
    created_at: datetime


class Planned(BaseModel):
    """One step of a repair, as it would be done now."""

    does: str
    system: str
    object: str
    external_id: str
    sentence: str
    field: str | None
    ours: str | None
    theirs: str | None
    after: str | None


class Plan(BaseModel):
    """What would end a break; nothing is done before somebody applies it by its digest."""

    digest: str
    possible: bool
    actions: list[Planned]


class BreakPage(BaseModel):
    """A break, its history, and its repair; an ended one has none."""

    item: Break
    notes: list[Note]
    repair: Plan | None


class Months(BaseModel):
    """Compared months with their breaks and signatures."""

    items: list[Month]


class Stalled(BaseModel):
    """Everything that does not progress."""

    items: list[Stall]


@router.get("/breaks/{number}", tags=["reconciliations"], summary="One break, and what would end it",
            operation_id="get_break", responses={200: {"model": BreakPage}})  # fmt: skip
def get_break(request: Request, caller: Reader, number: Number) -> Response:
    """Return both words, what people did about it, and the repair as it would be done now."""
    house = house_of(request)
    with house.database.transaction() as tx:
        found = compare.one_break(tx, number)
        if found is None:
            raise Problem("not_found", f"there is no break {number}")
        plan = None if found.closed_at else _plan(repairs.repair(tx, house, number))
        return answer({"item": found, "notes": tie_outs.notes(tx, number), "repair": plan})


def _plan(repair: repairs.Repair) -> dict[str, Any]:
    return {
        "digest": repair.digest,
        "possible": repair.possible,
        "actions": [{name: getattr(one, name) for name in Planned.model_fields} for one in repair.actions],
    }


@router.post(
    "/breaks/{number}/repair", tags=["reconciliations"], summary="Do the repair that was shown", operation_id="repair_break",
    responses={200: {"description": "What was done."}}, openapi_extra=said(RepairBreak),
)  # fmt: skip
def repair_break(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Do what was shown, or stop when the break is another one by now; the break ends with the next tie-out."""
    house, asked = house_of(request), bodies.command(raw, RepairBreak)
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: Done(repairs.apply(house, number, asked.digest, caller.name)))


@router.post(
    "/breaks/{number}/accept", tags=["reconciliations"], summary="Accept a difference as it is",
    operation_id="accept_break", responses={200: {"model": BreakPage}}, openapi_extra=said(Reason),
)  # fmt: skip
def accept_break(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Accept with the caller's name; that ends when the difference becomes another one."""
    asked = bodies.command(raw, Reason)
    with house_of(request).database.transaction() as tx:

        def work() -> Done:
            reconciliation.accept(tx, number, caller.name, asked.reason)
            return Done({"number": number, "accepted_by": caller.name})

        return once(tx, request, caller, raw, work)


@router.post(
    "/breaks/{number}/assign", tags=["reconciliations"], summary="Give a break to somebody",
    operation_id="assign_break", responses={200: {"description": "Who looks into it."}}, openapi_extra=said(AssignBreak),
)  # fmt: skip
def assign_break(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Note who looks into a break."""
    asked = bodies.command(raw, AssignBreak)
    with house_of(request).database.transaction() as tx:

        def work() -> Done:
            reconciliation.assign(tx, number, asked.assignee.strip(), caller.name)
            return Done({"number": number, "assignee": asked.assignee.strip() or None})

        return once(tx, request, caller, raw, work)


@router.post(
    "/breaks/{number}/notes", tags=["reconciliations"], summary="Keep a note with a break", operation_id="note_break",
    responses={200: {"description": "The note."}}, openapi_extra=said(NoteBreak),
)  # fmt: skip
def note_break(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Keep what somebody found out."""
    asked = bodies.command(raw, NoteBreak)
    with house_of(request).database.transaction() as tx:

        def work() -> Done:
            reconciliation.note(tx, number, caller.name, asked.words)
            return Done({"number": number, "noted": asked.words})

        return once(tx, request, caller, raw, work)


@router.get("/sign-offs", tags=["reconciliations"], summary="Which months are signed off", operation_id="list_sign_offs",
            responses={200: {"model": Months}})  # fmt: skip
def list_sign_offs(
    request: Request,
    caller: Reader,
    legal_entity: Annotated[str, Query(max_length=12)] = "",
    period: Annotated[str, Query(max_length=7)] = "",
) -> Response:
    """Return compared months, the newest first, with open breaks, who prepared, who signed, and the hash."""
    with house_of(request).database.transaction() as tx:
        return answer({"items": compare.months(tx, Filter(legal_entity, period))})


@router.post(
    "/sign-offs/{legal_entity}/{period}/prepare", tags=["reconciliations"], summary="Prepare a month's sign-off",
    operation_id="prepare_sign_off", responses={200: {"description": "The sign-off."}}, openapi_extra=said(Empty),
)  # fmt: skip
def prepare(request: Request, caller: Operator, legal_entity: Entity, period: Period, raw: RawBody) -> Response:
    """Lay the last tie-out of the month before a second person."""
    bodies.command(raw, Empty)
    with house_of(request).database.transaction() as tx:
        return once(
            tx, request, caller, raw,
            lambda: _signed(reconciliation.prepare(tx, legal_entity, period, caller.name)),
        )  # fmt: skip


@router.post(
    "/sign-offs/{legal_entity}/{period}/sign", tags=["reconciliations"], summary="Sign what another person prepared",
    operation_id="sign_off", responses={200: {"description": "The sign-off."}}, openapi_extra=said(Empty),
)  # fmt: skip
def sign(request: Request, caller: Operator, legal_entity: Entity, period: Period, raw: RawBody) -> Response:
    """Sign the month; whoever prepared it may not."""
    bodies.command(raw, Empty)
    with house_of(request).database.transaction() as tx:
        return once(
            tx, request, caller, raw, lambda: _signed(reconciliation.sign(tx, legal_entity, period, caller.name))
        )


@router.post(
    "/sign-offs/{legal_entity}/{period}/reopen", tags=["reconciliations"], summary="Take a sign-off back",
    operation_id="reopen_sign_off", responses={200: {"description": "The sign-off as it was."}}, openapi_extra=said(Reason),
)  # fmt: skip
def reopen(request: Request, caller: Operator, legal_entity: Entity, period: Period, raw: RawBody) -> Response:
    """Reopen the month with a reason; what was signed is kept."""
    asked = bodies.command(raw, Reason)
    with house_of(request).database.transaction() as tx:
        return once(
            tx, request, caller, raw,
            lambda: _signed(reconciliation.reopen(tx, legal_entity, period, caller.name, asked.reason)),
        )  # fmt: skip


def _signed(found: Mapping[str, Any]) -> Done:
    names = (
        "number", "legal_entity", "period", "run", "digest", "prepared_by", "prepared_at", "signed_by", "signed_at",
        "accepted",
    )  # fmt: skip
    return Done({name: plain(found[name]) for name in names})


@router.get("/stalled", tags=["operations"], summary="What does not progress", operation_id="list_stalled",
            responses={200: {"model": Stalled}})  # fmt: skip
def list_stalled(request: Request, caller: Watcher) -> Response:
    """Return work that should move and does not, with since when and what to do; empty is good."""
    with house_of(request).database.transaction() as tx:
        return answer({"items": watchdog.stalled(tx)})

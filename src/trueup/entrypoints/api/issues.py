"""The error desk: causes of failure, what people decide about them, and plans that say what pressing will do."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from trueup.entrypoints.api import bodies
from trueup.entrypoints.api.answers import Done, answer, house_of, link, once
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.bodies import RawBody
from trueup.entrypoints.api.process import Command, Number, Operator, said
from trueup.kernel.money import to_units
from trueup.kernel.strict_json import write_numbers
from trueup.processes import plans
from trueup.reporting import issues as desk
from trueup.store import issues
from trueup.store import plans as kept
from trueup.store.database import Tx
from trueup.store.plans import Choice

router = APIRouter(prefix="/v1")
Reader = Annotated[Caller, Security(signed_in, scopes=["ops:read"])]
Issue = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


class Decide(Command):
    """Assign, acknowledge, mute, resolve or reopen a cause of failure; nothing is ever skipped."""

    act: Literal["assign", "acknowledge", "mute", "resolve", "reopen"]
    assignee: str | None = Field(default=None, min_length=1, max_length=100)
    reason: str = Field(default="", max_length=400)
    until: datetime | None = None
    above: Decimal | None = None
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")


class Change(BaseModel):
    """One change of an edit: another value at a dotted path of the record as it came, or the field taken out."""

    model_config = ConfigDict(extra="forbid")
    field: str = Field(min_length=1, max_length=200)
    value: Any = None
    remove: bool = False


class Plan(Command):
    """Work out what a replay or an edit of messages or a retry of deliveries would do; all that is given must hold."""

    verb: Literal["replay", "retry", "edit"]
    reason: str = Field(min_length=5, max_length=400)
    issue: str | None = Field(default=None, pattern=r"^[0-9a-f]{12}$")
    records: list[str] = Field(default=[], max_length=5000)
    system: str | None = Field(default=None, max_length=60)
    object: str | None = Field(default=None, max_length=100)
    since: datetime | None = None
    until: datetime | None = None
    customer: str | None = Field(default=None, max_length=40)
    changes: list[Change] = Field(default=[], max_length=100)


class Apply(Command):
    """Do what a plan said; its digest says which plan was looked at."""

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class Cancel(Command):
    """Stop a plan that is being applied."""

    reason: str = Field(min_length=5, max_length=400)


class Decision(BaseModel):
    """A cause and where it stands."""

    issue: str
    state: Literal["open", "acknowledged", "muted", "resolved", "regressed"]


class Planned(BaseModel):
    """A plan and where it stands; `counts` by what it does to a record."""

    number: int
    state: Literal["proposed", "applying", "applied", "stopped"]
    digest: str
    counts: dict[str, int]
    acts_on: int


COMMANDS: tuple[type[BaseModel], ...] = (Decide, Plan, Apply)


@router.get("/issues", tags=["issues"], summary="List causes of failure", operation_id="list_issues")
def list_issues(request: Request, caller: Reader, all: Annotated[bool, Query()] = False) -> Response:
    """Return causes, the most money blocked first, and where everything received is."""
    with house_of(request).database.transaction() as tx:
        found = desk.causes(tx, everything=all, money=caller.may("money:read"))
        return answer({"issues": found, "balance": issues.balance(tx)})


@router.get("/issues/{issue}", tags=["issues"], summary="Read one cause of failure", operation_id="get_issue")
def get_issue(request: Request, caller: Reader, issue: Issue) -> Response:
    """Return a cause with its records and its timeline."""
    with house_of(request).database.transaction() as tx:
        return answer(desk.cause(tx, issue, house_of(request).remedies(), money=caller.may("money:read")))


@router.post(
    "/issues/{issue}", tags=["issues"], summary="Decide about a cause of failure", operation_id="decide_issue",
    responses={200: {"model": Decision}}, openapi_extra=said(Decide),
)  # fmt: skip
def decide_issue(request: Request, caller: Operator, issue: Issue, raw: RawBody) -> Response:
    """Assign, acknowledge, mute, resolve or reopen in the caller's name."""
    asked = bodies.command(raw, Decide)
    with house_of(request).database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: Done(_decide(tx, issue, asked, caller.name)))


def _decide(tx: Tx, issue: str, asked: Decide, by: str) -> dict[str, Any]:
    if asked.act == "assign":
        issues.assign(tx, [issue], asked.assignee or by, by=by)
    elif asked.act == "acknowledge":
        issues.acknowledge(tx, [issue], by=by)
    elif asked.act == "mute":
        above = (
            (to_units(asked.above, asked.currency), asked.currency)
            if asked.above is not None and asked.currency
            else None
        )
        issues.mute(tx, [issue], by=by, reason=asked.reason, until=asked.until, above=above)
    elif asked.act == "resolve":
        issues.resolve(tx, [issue], by=by, reason=asked.reason)
    else:
        issues.reopen(tx, [issue], by=by, reason=asked.reason)
    return {"issue": issue, "state": issues.one(tx, issue)["state"]}


@router.get("/plans", tags=["issues"], summary="List plans", operation_id="list_plans")
def list_plans(request: Request, caller: Reader) -> Response:
    """Return plans, the newest first."""
    with house_of(request).database.transaction() as tx:
        return answer({"plans": [desk.priced(row, caller.may("money:read")) for row in kept.listed(tx)]})


@router.post(
    "/plans", tags=["issues"], summary="Plan a replay, a retry or an edit", operation_id="plan",
    responses={200: {"model": Planned}}, openapi_extra=said(Plan),
)  # fmt: skip
def make_plan(request: Request, caller: Operator, raw: RawBody) -> Response:
    """Work out what it would do, keep it, and do nothing; asking twice makes two plans, and neither does anything."""
    asked = bodies.command(raw, Plan)
    choice = Choice(
        asked.issue, tuple(asked.records), asked.system, asked.object, asked.since, asked.until, asked.customer,
        tuple({"field": c.field, "json": None if c.remove else write_numbers(c.value).decode()} for c in asked.changes),
    )  # fmt: skip
    if asked.changes:
        with house_of(request).database.transaction() as tx:
            desk.may_edit(tx, choice.records, cost=caller.cost, money=caller.may("money:read"))
    made = plans.propose(house_of(request), asked.verb, choice, by=caller.name, reason=asked.reason)
    return answer(_seen(request, made, caller))


@router.get("/plans/{number}", tags=["issues"], summary="Read a plan", operation_id="get_plan")
def get_plan(request: Request, caller: Reader, number: Number) -> Response:
    """Return a plan, how far it got, and what it says about its first records."""
    with house_of(request).database.transaction() as tx:
        found = plans.look(tx, number)
    return answer(_seen(request, found, caller))


@router.post(
    "/plans/{number}/apply", tags=["issues"], summary="Do what a plan said", operation_id="apply_plan",
    status_code=202, responses={202: {"model": Planned}}, openapi_extra=said(Apply),
)  # fmt: skip
def apply_plan(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Begin it; workers do it in batches, each compared with the plan. Read the plan to see how far they are."""
    asked = bodies.command(raw, Apply)
    begun = plans.start(house_of(request), number, by=caller.name, digest=asked.digest)
    return answer(_seen(request, begun, caller), 202, {"Location": link("v1", "plans", str(number))})


@router.post(
    "/plans/{number}/cancel", tags=["issues"], summary="Stop a plan that is being applied", operation_id="cancel_plan",
    responses={200: {"model": Planned}}, openapi_extra=said(Cancel),
)  # fmt: skip
def cancel_plan(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """Begin no further batch; what is done stays done."""
    asked = bodies.command(raw, Cancel)
    return answer(_seen(request, plans.cancel(house_of(request), number, by=caller.name, reason=asked.reason), caller))


def _seen(request: Request, plan: dict[str, Any], caller: Caller) -> dict[str, Any]:
    with house_of(request).database.transaction() as tx:
        return desk.plan_seen(tx, plan, cost=caller.cost, money=caller.may("money:read"))

"""Process APIs: what a person starts or decides, each answered with an operation that can be followed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Security
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from trueup import engine
from trueup.entrypoints.api import bodies
from trueup.entrypoints.api.answers import Done, answer, house_of, link, once
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.bodies import RawBody
from trueup.entrypoints.api.problems import Problem, Wrong
from trueup.kernel.clock import now
from trueup.model.canonical import Month
from trueup.pipeline.house import House
from trueup.processes import dry_run, month_end, reconciliation, time_to_billing
from trueup.store import changes, holds, ledger
from trueup.store.changes import Event
from trueup.store.database import Tx

router = APIRouter(prefix="/v1")
Runner = Annotated[Caller, Security(signed_in, scopes=["process:run"])]
Operator = Annotated[Caller, Security(signed_in, scopes=["ops:act"])]
Watcher = Annotated[Caller, Security(signed_in, scopes=["ops:read"])]
Number = Annotated[int, Path(gt=0, lt=2**63)]
STATES = {"ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running", "SUCCESS": "done", "CANCELLED": "cancelled"}


class Command(BaseModel):
    """A command's body: nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunBilling(Command):
    """Bill one month of one legal entity: everything up to the month's end that is not billed yet."""

    period: Month
    legal_entity: str = Field(max_length=12)
    dry_run: bool = False


class CloseMonth(Command):
    """Freeze one month of one legal entity: revenue, cost, margin and the journals."""

    period: Month
    legal_entity: str = Field(max_length=12)


class Reconcile(Command):
    """Ask every system afresh and name each difference."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")


class Reason(Command):
    """Why a person decides."""

    reason: str = Field(min_length=5, max_length=400)


class Empty(Command):
    """A command that needs no words."""


COMMANDS: Sequence[type[BaseModel]] = (RunBilling, CloseMonth, Reconcile, Reason, Empty)


class Step(BaseModel):
    """One remembered action of a process."""

    step: str
    number: int
    failed: bool
    started_at: datetime | None
    ended_at: datetime | None


class Operation(BaseModel):
    """A process that was started.

    result  figures of the run, once it is done
    reason  why it failed
    """

    operation: str
    name: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    started_at: datetime | None
    updated_at: datetime | None
    attempts: int | None
    steps: list[Step]
    result: dict[str, Any] | None
    reason: str | None


class Started(BaseModel):
    """What was started; `Location` leads to it."""

    operation: str
    state: str


class Count(BaseModel):
    """How many things a command touched."""

    count: int


def said(command: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's description that tells its body and its key."""
    reference = {"$ref": f"#/components/schemas/{command.__name__}"}
    key = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string", "maxLength": 200}}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
        "parameters": [key],
    }


def _entity(house: House, code: str) -> str:
    if code not in house.firm.entities:
        known = f"one of {', '.join(sorted(house.firm.entities))}"
        raise bodies.invalid_fields([Wrong("/legal_entity", "unknown_reference", code, known)])
    return code


def _started(operation: str) -> Done:
    return Done({"operation": operation, "state": "queued"}, 202, {"Location": link("v1", "operations", operation)})


# --- processes -------------------------------------------------------------------------------------------------------


@router.post(
    "/processes/billing-runs", tags=["processes"], summary="Bill a month of a legal entity, or show what that would do",
    operation_id="run_billing", status_code=202, responses={202: {"model": Started}, 200: {"description": "The dry run."}},
    openapi_extra=said(RunBilling),
)  # fmt: skip
def run_billing(request: Request, caller: Runner, raw: RawBody) -> Response:
    """Start the run; the same month is billed once, and what was held then is billed with the next month."""
    house, asked = house_of(request), bodies.command(raw, RunBilling)
    entity = _entity(house, asked.legal_entity)
    if asked.dry_run:
        return answer({"dry_run": True, **dry_run.preview(house, asked.period, entity)})
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _started(time_to_billing.start(tx, asked.period, entity)))


@router.post(
    "/processes/month-ends", tags=["processes"], summary="Close a month of a legal entity", operation_id="close_month",
    status_code=202, responses={202: {"model": Started}}, openapi_extra=said(CloseMonth),
)  # fmt: skip
def close_month(request: Request, caller: Runner, raw: RawBody) -> Response:
    """Start the month end; months close in order, each once."""
    house, asked = house_of(request), bodies.command(raw, CloseMonth)
    entity = _entity(house, asked.legal_entity)
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _started(month_end.start(tx, asked.period, entity)))


@router.post(
    "/processes/reconciliations", tags=["processes"], summary="Compare all systems with the hub", operation_id="reconcile",
    status_code=202, responses={202: {"model": Started}}, openapi_extra=said(Reconcile),
)  # fmt: skip
def reconcile(request: Request, caller: Runner, raw: RawBody) -> Response:
    """Start a reconciliation; without a name it gets the time as its name."""
    house, asked = house_of(request), bodies.command(raw, Reconcile)
    name = asked.name or f"{now():%Y-%m-%dT%H%M%S.%fZ}"
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _started(reconciliation.start(tx, f"api/{name}")))


@router.get(
    "/operations/{id:path}", tags=["operations"], summary="Follow a process that was started", operation_id="get_operation",
    responses={200: {"model": Operation}},
)  # fmt: skip
def get_operation(request: Request, caller: Watcher, id: str) -> Response:
    """Return the state of a process, its remembered steps, and its figures once it is done."""
    with house_of(request).database.transaction() as tx:
        found = engine.one(tx, id)
        if found is None:
            raise Problem("not_found", f"there is no operation {id}")
        state = _state(tx, found)
        return answer(
            {
                "operation": found["process"],
                "name": found["name"],
                "state": state,
                "started_at": found["started_at"],
                "updated_at": found["updated_at"],
                "attempts": found["attempts"],
                "steps": engine.steps(tx, id),
                "result": _result(tx, found["name"], id) if state == "done" else None,
                "reason": _reason(found["fault"]) if state == "failed" else None,
            },
            headers={"Retry-After": "1"} if state in ("queued", "running") else None,
        )


def _state(tx: Tx, found: Mapping[str, Any]) -> str:
    """Return how far an operation is: a run in parts is done when its last part is, and failed when one of them is."""
    state = STATES.get(found["status"], "failed")
    divided = state == "done" and found["name"] == "billing_run"
    run = _run(tx, found["name"], found["process"]) if divided else None
    if run is None or run["state"] == "done":
        return state
    parts = engine.beginning(tx, f"billing_part/{found['process'].removeprefix('billing_run/')}/")
    return "failed" if any(STATES.get(part["status"], "failed") == "failed" for part in parts) else "running"


def _result(tx: Tx, name: str, process: str) -> dict[str, Any] | None:
    """Return the figures of the run a process did."""
    run = _run(tx, name, process)
    return None if run is None else {"run": run["run"], **run["figures"]}


def _run(tx: Tx, name: str, process: str) -> dict[str, Any] | None:
    key = process.removeprefix(f"{name}/")
    runs = {"billing_run": f"{key}/billing", "month_end": f"{key}/month_end", "reconciliation": key}
    return ledger.run_of(tx, runs[name]) if name in runs else None


def _reason(fault: dict[str, Any] | None) -> str:
    """Return the sentence of a fault that has one for the reader; of our own bugs only that they are ours."""
    if fault and fault.get("name") in ("Held", "Refused", "Busy", "Unsettled"):
        return str(fault["message"])
    return "a fault of the hub; its log has the report"


# --- deciding --------------------------------------------------------------------------------------------------------


@router.post(
    "/holds/{number}/release", tags=["holds"], summary="Release a hold, with a reason", operation_id="release_hold",
    responses={200: {"model": Count}}, openapi_extra=said(Reason),
)  # fmt: skip
def release_hold(request: Request, caller: Operator, number: Number, raw: RawBody) -> Response:
    """End a hold in the caller's name; the next billing run looks again, and holds again what is still wrong."""
    house, asked = house_of(request), bodies.command(raw, Reason)
    with house.database.transaction() as tx:
        return once(tx, request, caller, raw, lambda: _release(tx, house, caller, number, asked.reason))


def _release(tx: Tx, house: House, caller: Caller, number: int, reason: str) -> Done:
    ended = holds.release(tx, [number], caller.name, reason)
    if not ended:
        if holds.one(tx, number):
            raise Problem("conflict", f"the hold {number} is released already")
        raise Problem("not_found", f"there is no hold {number}")
    hold = ended[0]
    event = Event(
        f"hold.released/{number}", "hold.released", hold["scope"], hold["scope_kind"],
        {"code": hold["code"], "reason": reason},
    )  # fmt: skip
    house.react(tx, changes.tell(tx, [event]))
    return Done({"count": 1})

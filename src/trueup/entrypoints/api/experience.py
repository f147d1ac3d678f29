"""Experience APIs: the answers behind the pages, one question each, as plain JSON."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel
from starlette.responses import Response

from trueup.entrypoints.api.answers import answer, house_of
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.problems import Problem
from trueup.reporting import (
    billing_desk,
    compare,
    explain,
    flows,
    messages,
    project,
    quarantine,
    trace,
    work,
)
from trueup.reporting.billing_desk import HeldItem, HeldReason
from trueup.reporting.compare import Break, Comparison
from trueup.reporting.explain import Explained
from trueup.reporting.flows import Flows
from trueup.reporting.messages import MessagePage
from trueup.reporting.project import Project
from trueup.reporting.quarantine import Quarantine
from trueup.reporting.trace import Trace
from trueup.reporting.work import Headline, Work

LONGEST = 200

router = APIRouter(prefix="/v1")
Watcher = Annotated[Caller, Security(signed_in, scopes=["ops:read"])]
MoneyReader = Annotated[Caller, Security(signed_in, scopes=["money:read"])]
Filter = Annotated[str | None, Query(max_length=LONGEST)]


class WorkList(BaseModel):
    """What needs a person, the most money first."""

    headline: Headline
    items: list[Work]


class Holds(BaseModel):
    """What may not be billed yet: one row for each reason, and the things themselves."""

    reasons: list[HeldReason]
    items: list[HeldItem]


class Traces(BaseModel):
    """Every record an identifier means: systems may use the same one for different things."""

    items: list[Trace]


class Breaks(BaseModel):
    """Differences between systems, each by name."""

    items: list[Break]


@router.get("/work", tags=["work"], summary="What needs a person, the most money first", operation_id="list_work",
            responses={200: {"model": WorkList}})  # fmt: skip
def list_work(request: Request, caller: Watcher) -> Response:
    """Return every kind of work with count, money, age, owner and way out."""
    with house_of(request).database.transaction() as tx:
        items = work.work(tx)
        return answer({"headline": work.headline(tx, items), "items": items})


@router.get("/flows", tags=["work"], summary="Is anything stuck, and where", operation_id="list_flows",
            responses={200: {"model": Flows}})  # fmt: skip
def list_flows(
    request: Request, caller: Watcher, hours: Annotated[int, Query(ge=1, le=24 * 90)] = flows.HOURS
) -> Response:
    """Return business flows, what came in and went out in the window, processes and systems."""
    with house_of(request).database.transaction() as tx:
        return answer(flows.flows(tx, hours))


@router.get("/quarantine", tags=["work"], summary="What could not be used, and what to do about each",
            operation_id="list_quarantine", responses={200: {"model": Quarantine}})  # fmt: skip
def list_quarantine(request: Request, caller: Watcher) -> Response:
    """Return bad and waiting records, calls that were not believed, refused writes, failed processes, disagreements."""
    with house_of(request).database.transaction() as tx:
        return answer(quarantine.quarantine(tx, cost=caller.cost))


@router.get("/messages/{number}", tags=["messages"], summary="One message as it came, and what was made of it",
            operation_id="get_message", responses={200: {"model": MessagePage}})  # fmt: skip
def get_message(request: Request, caller: Watcher, number: Annotated[int, Path(gt=0, lt=2**63)]) -> Response:
    """Return a kept message with its bytes, its mapping and the decisions on it."""
    with house_of(request).database.transaction() as tx:
        found = messages.message(tx, number, cost=caller.cost)
        if found is None:
            raise Problem("not_found", f"there is no message {number}")
        return answer(found)


@router.get("/records/{id:path}/trace", tags=["records"], summary="Everything about one record, by any identifier",
            operation_id="trace_record", responses={200: {"model": Traces}})  # fmt: skip
def trace_record(request: Request, caller: Watcher, id: str) -> Response:
    """Return identities, fields with their origin, holds, deliveries and the timeline of every record this means."""
    with house_of(request).database.transaction() as tx:
        found = trace.trace(tx, id[:LONGEST], cost=caller.cost)
        if not found:
            raise Problem("not_found", f"nothing we hold is called {id[:LONGEST]}")
        return answer({"items": found})


@router.get("/projects/{id}/economics", tags=["projects"], summary="Sold, delivered, invoiced, held, earned",
            operation_id="project_economics", responses={200: {"model": Project}})  # fmt: skip
def project_economics(request: Request, caller: MoneyReader, id: str) -> Response:
    """Return one project's figures by its code or identifier; cost and margin only with the right to see them."""
    with house_of(request).database.transaction() as tx:
        gid = project.find_project(tx, id)
        found = project.project(tx, gid, cost=caller.cost) if gid else None
        if found is None:
            raise Problem("not_found", f"there is no project {id}")
        return answer(found)


@router.get("/breaks", tags=["reconciliations"], summary="Where systems disagree, the most money first",
            operation_id="list_breaks", responses={200: {"model": Breaks}})  # fmt: skip
def list_breaks(
    request: Request,
    caller: MoneyReader,
    closed: Annotated[bool, Query(description="Those that ended instead.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> Response:
    """Return breaks with both words, the sentence and the repair."""
    with house_of(request).database.transaction() as tx:
        return answer({"items": compare.breaks(tx, closed=closed, limit=limit)})


@router.get("/reconciliations/latest", tags=["reconciliations"], summary="Do the systems agree",
            operation_id="latest_reconciliation", responses={200: {"model": Comparison}})  # fmt: skip
def latest_reconciliation(request: Request, caller: MoneyReader) -> Response:
    """Return the last tie-out: deals side by side, sums per object and system, each break, each disagreement."""
    with house_of(request).database.transaction() as tx:
        return answer(compare.compare(tx, cost=caller.cost))


@router.get("/invoices/{id}/explanation", tags=["invoices"], summary="Why this amount, down to the bytes that came in",
            operation_id="explain_invoice", responses={200: {"model": Explained}})  # fmt: skip
def explain_invoice(request: Request, caller: MoneyReader, id: str) -> Response:
    """Explain an invoice or credit by its identifier, code or number."""
    with house_of(request).database.transaction() as tx:
        gid = explain.find_invoice(tx, id)
        found = explain.explain(tx, gid, cost=caller.cost) if gid else None
        if found is None:
            raise Problem("not_found", f"there is no invoice {id}")
        return answer(found)


@router.get("/holds", tags=["holds"], summary="What may not be billed yet, and why", operation_id="list_holds",
            responses={200: {"model": Holds}})  # fmt: skip
def list_holds(
    request: Request,
    caller: MoneyReader,
    code: Filter = None,
    legal_entity: Filter = None,
    project: Filter = None,
    contract: Filter = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Response:
    """Return open holds, grouped by reason and one by one, the most money first."""
    with house_of(request).database.transaction() as tx:
        reasons = billing_desk.reasons(tx, legal_entity=legal_entity)
        items = billing_desk.items(
            tx, code=code, legal_entity=legal_entity, project=project, contract=contract, limit=limit
        )
        return answer({"reasons": reasons, "items": items})

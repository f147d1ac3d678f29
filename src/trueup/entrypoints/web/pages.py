"""The pages: every question of the read side as HTML that works without scripts."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query
from fastapi.responses import RedirectResponse, Response
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from trueup.connectors.sdk.remedies import Catalogue
from trueup.entrypoints.web import (
    actions,
    adjusting,
    billing_run,
    close,
    einvoices,
    evidence,
    intake,
    issues,
    labour,
    metrics,
    reconcile,
    sign_in,
)
from trueup.entrypoints.web.refusals import REFUSALS
from trueup.entrypoints.web.rendering import STATIC, show
from trueup.entrypoints.web.spreadsheet import spreadsheet
from trueup.entrypoints.web.visitor import Money, Work
from trueup.model.kinds import MONEY_FIELDS
from trueup.pipeline.house import House
from trueup.reporting import (
    billing_desk,
    events,
    executive,
    explain,
    flows,
    messages,
    project,
    quarantine,
    trace,
    watchdog,
    work,
)
from trueup.reporting.budgets import budgets
from trueup.reporting.executive import Executive
from trueup.reporting.subscribers import states
from trueup.store.database import Tx

router = APIRouter()
Csv = Annotated[str, Query(max_length=20)]
"""Which of a page's lists to send as a file; empty shows the page."""

ROWS = 40
FLOW_LINKS = {
    "deals": "/compare",
    "time_entry": "/billing",
    "expense_line": "/billing",
    "milestones": "/billing?reason=SIGNOFF_MISSING",
    "drafts": "/billing?show=submitted#invoices",
    "cash": "/billing?show=open#invoices",
}
"""Business flow -> the page where it is worked on."""
LONGEST = 2000

SHOWN = {
    "all": None,
    "draft": ("draft",),
    "submitted": ("draft", "submitted"),
    "open": ("posted", "part_paid"),
    "paid": ("paid",),
    "credits": None,
    "differ": None,
}


def routes(house: House) -> list[BaseRoute]:
    """Return the routes of all pages, to be mounted after every other route: they answer whatever is left."""
    return [Mount("", site(house), name="pages")]


def site(house: House) -> FastAPI:
    """Return the pages as an application of its own: its errors are pages, too."""
    pages = FastAPI(title="Trueup pages", docs_url=None, redoc_url=None, openapi_url=None)
    pages.state.house = house
    for problem, answer in REFUSALS.items():
        pages.add_exception_handler(problem, answer)
    pages.add_middleware(GZipMiddleware, minimum_size=1000)
    pages.mount("/static", StaticFiles(directory=STATIC), name="static")
    for part in (
        sign_in.router,
        einvoices.router,  # before the pages: their /invoices/… answers every path below it
        evidence.router,
        adjusting.router,
        issues.router,
        router,
        close.router,
        intake.router,
        labour.router,
        metrics.router,
        reconcile.router,
        billing_run.router,
        actions.router,
    ):
        pages.include_router(part)
    return pages


@router.get("/")
def front() -> Response:
    """Go to the list of work."""
    return RedirectResponse("/work", 303)


@router.get("/work")
def work_page(desk: Work, csv: Csv = "") -> Response:
    """Show what needs somebody."""
    with desk.reading() as tx:
        listed = work.work(tx)
        if csv:
            return spreadsheet("work", listed, () if desk.can("money:read") else ("amounts",))
        return show(
            desk,
            tx,
            "work.html",
            here="work",
            title="Work",
            cli="trueup status",
            listed=listed,
            items=listed,
            live=True,
        )


@router.get("/executive")
def executive_page(desk: Money) -> Response:
    """Show the firm on one page."""
    with desk.reading() as tx:
        page = executive.executive(tx, cost=desk.can("cost:read"))
        return show(
            desk,
            tx,
            "executive.html",
            here="executive",
            title="Executive",
            listed=list(page.work),
            page=page,
            entities=_entities(page),
            meanings={one.name: one for one in page.definitions},
        )


def _entities(page: Executive) -> Sequence[tuple[str, str]]:
    found = {(figure.legal_entity, figure.currency) for figure in page.figures if figure.name == "billed"}
    return sorted((entity, currency) for entity, currency in found if entity and currency)


@router.get("/billing")
def billing_page(
    desk: Money,
    reason: str = "",
    about: str = "",
    listed: Annotated[str, Query(alias="show")] = "all",
    everything: Annotated[bool, Query(alias="all")] = False,
    csv: Csv = "",
) -> Response:
    """Show the billing desk."""
    if csv:
        return _billing_file(desk, csv, reason or None, about == "deals", listed)
    return _billing(
        desk, reason or None, about == "deals", listed if listed in SHOWN else "all", LONGEST if everything else ROWS
    )


def _billing_file(desk: Money, which: str, code: str | None, deals: bool, shown: str) -> Response:
    with desk.reading() as tx:
        if which == "invoices":
            return spreadsheet("invoices", _invoices(tx, shown))
        return spreadsheet("held", billing_desk.items(tx, code=code, deals=deals if code else None, limit=100_000))


def _invoices(tx: Tx, shown: str) -> tuple[billing_desk.InvoiceRow, ...]:
    found = billing_desk.invoices(tx, status=SHOWN.get(shown), limit=100_000 if shown == "all" else LONGEST)
    if shown == "credits":
        return tuple(one for one in found if one.invoice_type == "credit")
    return tuple(one for one in found if one.breaks or shown != "differ")


def _billing(desk: Money, code: str | None, deals: bool, shown: str, limit: int) -> Response:
    with desk.reading() as tx:
        reasons = billing_desk.reasons(tx)
        items = billing_desk.items(tx, code=code, deals=deals if code else None, limit=limit)
        invoices = _invoices(tx, shown)[:LONGEST]
        chosen = [one.title for one in reasons if one.code == code and one.deals == deals]
        back = "/billing?" + urlencode({"reason": code or "", **({"about": "deals"} if deals else {})})
        return show(
            desk,
            tx,
            "billing.html",
            here="billing",
            title="Billing desk",
            cli="trueup holds",
            totals=billing_desk.totals(tx),
            reasons=reasons,
            items=items,
            limit=limit,
            invoices=invoices,
            code=code,
            deals=deals,
            shown=shown,
            chosen_title=chosen[0] if chosen else work.hold_title(code or ""),
            here_again=back,
        )


@router.get("/invoices/{identifier:path}")
def invoice_page(desk: Money, identifier: str) -> Response:
    """Explain an invoice, found by its code, its number or our identifier."""
    with desk.reading() as tx:
        gid = explain.find_invoice(tx, identifier)
        explained = explain.explain(tx, gid, cost=desk.can("cost:read")) if gid else None
        if explained is None:
            raise HTTPException(404, f"There is no invoice {identifier}.")
        return show(
            desk,
            tx,
            "invoice.html",
            here="billing",
            title=f"Invoice {explained.number or explained.code}",
            cli=f"trueup explain {explained.code}",
            it=explained,
        )


@router.get("/flows")
def flows_page(desk: Work) -> Response:
    """Show what comes in and goes out, and how the systems feel."""
    with desk.reading() as tx:
        return show(
            desk,
            tx,
            "flows.html",
            here="flows",
            title="Flows",
            cli="trueup status",
            page=flows.flows(tx),
            stalled=watchdog.stalled(tx),
            limits={name: system.client.manifest.limits for name, system in desk.house.systems.items()},
            budgets=budgets(tx, desk.house.accounts()),
            links=FLOW_LINKS if desk.can("money:read") else {},
        )


@router.get("/trace")
def find_page(desk: Work, wanted: Annotated[str, Query(alias="id", max_length=400)] = "") -> Response:
    """Find anything; go straight to it when only one thing is meant."""
    with desk.reading() as tx:
        found = trace.find(tx, wanted)
        if len(found) == 1:
            return RedirectResponse(found[0].link, 303)
        cli = f"trueup trace {wanted}" if wanted else ""
        return show(desk, tx, "trace.html", here="", title="Find anything", cli=cli, found=found, wanted=wanted)


@router.get("/trace/{identifier:path}")
def record_page(desk: Work, identifier: str) -> Response:
    """Show everything about one record; an identifier of many things shows which."""
    with desk.reading() as tx:
        it = trace.record(tx, identifier, cost=desk.can("cost:read"), money=desk.can("money:read"))
        if it is None:
            return RedirectResponse(f"/trace?{urlencode({'id': identifier})}", 303)
        return show(
            desk,
            tx,
            "record.html",
            here="",
            title=f"{it.label} · trace",
            cli=f"trueup trace {it.label if ' ' not in it.label else it.gid}",
            it=it,
            money_fields=MONEY_FIELDS,
            currency=next((field.value for field in it.fields if field.name == "currency"), None),
        )


@router.get("/projects")
def projects_page(desk: Money, entity: str = "", blocked: bool = False, csv: Csv = "") -> Response:
    """List the projects."""
    with desk.reading() as tx:
        rows = project.projects(tx, cost=desk.can("cost:read"))
        if csv:
            return spreadsheet("projects", rows, () if desk.can("cost:read") else ("cost", "margin"))
        return show(
            desk,
            tx,
            "projects.html",
            here="projects",
            title="Projects",
            entity=entity,
            blocked=blocked,
            entities=sorted({row.legal_entity for row in rows}),
            rows=[row for row in rows if entity in ("", row.legal_entity) and (row.held_items or not blocked)],
        )


@router.get("/projects/{identifier:path}")
def project_page(desk: Money, identifier: str) -> Response:
    """Show one project whole."""
    with desk.reading() as tx:
        gid = project.find_project(tx, identifier)
        it = project.project(tx, gid, cost=desk.can("cost:read")) if gid else None
        if it is None:
            raise HTTPException(404, f"There is no project {identifier}.")
        code = it.row.code
        return show(desk, tx, "project.html", here="projects", title=code, cli=f"trueup trace {code}", it=it)


@router.get("/messages/{number}")
def message_page(desk: Work, number: Annotated[int, Path(ge=1, le=2**62)]) -> Response:
    """Show one message as it came, and what was made of it."""
    with desk.reading() as tx:
        it = messages.message(tx, number, cost=desk.can("cost:read"), money=desk.can("money:read"))
        if it is None:
            raise HTTPException(404, f"There is no message {number}.")
        return show(
            desk,
            tx,
            "message.html",
            here="quarantine",
            title=f"Message {number}",
            cli=f"trueup plan replay {number}",
            it=it,
        )


@router.get("/quarantine")
def quarantine_page(desk: Work) -> Response:
    """Show what could not be used, and what to do."""
    known = desk.house.remedies()
    with desk.reading() as tx:
        return show(
            desk,
            tx,
            "quarantine.html",
            here="quarantine",
            title="Quarantine",
            cli="trueup status",
            page=quarantine.quarantine(tx, cost=desk.can("cost:read"), money=desk.can("money:read")),
            advice=lambda write: _advice(known, write),
        )


def _advice(catalogue: Catalogue, write: quarantine.RefusedWrite) -> str:
    """Return what a refusal means, and the ways out."""
    failure = {"source": "delivery", "class": write.state, "system": write.system, "object": write.object,
               "code": write.code, "field": ""}  # fmt: skip
    found = catalogue.of(failure)
    if found is None:
        return "Remove the cause in the system, then send it again."
    return f"{found.cause[:1].upper()}{found.cause[1:].rstrip('.')}: {found.advice}"


@router.get("/events")
def events_page(
    desk: Work,
    name: str = "",
    subject: str = "",
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """Show business facts, the newest first."""
    with desk.reading() as tx:
        page = events.events(
            tx,
            name=name or None,
            subject=subject.strip() or None,
            before=before,
            cost=desk.can("cost:read"),
            money=desk.can("money:read"),
        )
        return show(
            desk,
            tx,
            "events.html",
            here="events",
            title="Events",
            page=page,
            subscribers=states(tx, desk.house),
            chosen=name,
            subject=subject,
            older=urlencode({"name": name, "subject": subject, "before": page.before or ""}),
        )

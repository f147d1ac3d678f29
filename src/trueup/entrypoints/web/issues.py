"""The error desk: /issues, an issue's page, and /plans, which say what pressing will do; all work without scripts."""

from datetime import UTC, date, datetime, time
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException
from fastapi.responses import RedirectResponse, Response

from trueup.entrypoints.web.rendering import show
from trueup.entrypoints.web.visitor import Acting, Work, local_path, own_form
from trueup.kernel.errors import Refused, Trouble
from trueup.processes import plans
from trueup.reporting import issues as desk_of
from trueup.store import executors, issues
from trueup.store import plans as kept
from trueup.store.plans import Choice, Verb

router = APIRouter()
Said = Annotated[str, Form(max_length=400)]


@router.get("/issues")
def issues_page(desk: Work, all: bool = False) -> Response:
    """List causes, the most money blocked first, and where everything received is."""
    with desk.reading() as tx:
        return show(
            desk, tx, "issues.html", here="issues", title="Issues", cli="trueup issue list",
            rows=desk_of.causes(tx, everything=all, money=desk.can("money:read")), balance=issues.balance(tx), all=all,
        )  # fmt: skip


@router.post("/issues/assign", dependencies=[Depends(own_form)])
def assign_many(
    desk: Acting,
    chosen: Annotated[list[str], Form(min_length=1, max_length=500)],
    to: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Give chosen causes to somebody, or to the reader."""
    try:
        with desk.house.database.transaction() as tx:
            issues.assign(tx, chosen, to.strip() or desk.visitor.name, by=desk.visitor.name)
    except Trouble as no:
        return _to("/issues", no)
    return RedirectResponse("/issues", 303)


@router.get("/issues/{issue}")
def issue_page(desk: Work, issue: str) -> Response:
    """Show one cause, its records, the ways out, and its timeline."""
    with desk.reading() as tx:
        try:
            it = desk_of.cause(tx, issue, desk.house.remedies(), money=desk.can("money:read"))
        except Refused as no:
            raise HTTPException(404, str(no)) from no
        return show(
            desk, tx, "issue.html", here="issues", title=f"Issue {issue}", cli=f"trueup issue show {issue}", it=it,
            verb="replay" if it["source"] == "message" else "retry",
        )  # fmt: skip


@router.post("/issues/{issue}/{what}", dependencies=[Depends(own_form)])
def decide(
    desk: Acting, issue: str, what: str, reason: Said = "", to: Said = "", until: Annotated[date | None, Form()] = None
) -> Response:
    """Assign, acknowledge, mute, resolve or reopen in the reader's name."""
    by = desk.visitor.name
    try:
        with desk.house.database.transaction() as tx:
            if what == "assign":
                issues.assign(tx, [issue], to.strip() or by, by=by)
            elif what == "acknowledge":
                issues.acknowledge(tx, [issue], by=by)
            elif what in ("mute", "resolve") and len(reason.strip()) < 5:
                raise Refused("say why, in five characters or more", "reason")
            elif what == "mute":
                moment = datetime.combine(until, time(), UTC) if until else None
                issues.mute(tx, [issue], by=by, reason=reason.strip(), until=moment)
            elif what == "resolve":
                issues.resolve(tx, [issue], by=by, reason=reason.strip())
            elif what == "reopen":
                issues.reopen(tx, [issue], by=by, reason=reason.strip())
            else:
                raise HTTPException(404, f"There is no action {what}.")
    except Trouble as no:
        return _to(f"/issues/{issue}", no)
    return RedirectResponse(f"/issues/{issue}", 303)


@router.get("/plans")
def plans_page(desk: Work) -> Response:
    """List plans, the newest first."""
    with desk.reading() as tx:
        rows = [desk_of.priced(row, desk.can("money:read")) for row in kept.listed(tx)]
        return show(desk, tx, "plans.html", here="plans", title="Plans", cli="trueup plan show NUMBER", rows=rows)


@router.post("/plans", dependencies=[Depends(own_form)])
def make_plan(
    desk: Acting,
    verb: Annotated[Verb, Form()],
    reason: Said = "",
    issue: Annotated[str, Form(max_length=12)] = "",
    records: Annotated[list[str] | None, Form(max_length=5000)] = None,
    field: Annotated[list[str] | None, Form(max_length=20)] = None,
    value: Annotated[list[str] | None, Form(max_length=20)] = None,
    back: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Work out what it would do, and go to the plan; nothing is done."""
    back = local_path(back) if back else f"/issues/{issue}" if issue else "/issues"
    try:
        if len(reason.strip()) < 5:
            raise Refused("say why, in five characters or more", "reason")
        typed = zip(field or (), value or (), strict=False) if verb == "edit" else ()
        changes = tuple(kept.change(name, said) for name, said in typed if name)
        chosen = Choice(issue=issue or None, records=tuple(records or ()), changes=changes)
        if changes:
            with desk.reading() as tx:
                desk_of.may_edit(tx, chosen.records, cost=desk.can("cost:read"), money=desk.can("money:read"))
        made = plans.propose(desk.house, verb, chosen, by=desk.visitor.name, reason=reason.strip())
    except Trouble as no:
        return _to(back, no)
    return RedirectResponse(f"/plans/{made['number']}", 303)


@router.get("/plans/{number}")
def plan_page(desk: Work, number: int) -> Response:
    """Show what a plan will do, or how far it got."""
    with desk.reading() as tx:
        try:
            found: dict[str, Any] = plans.look(tx, number)
        except Refused as no:
            raise HTTPException(404, str(no)) from no
        it = desk_of.plan_seen(tx, found, cost=desk.can("cost:read"), money=desk.can("money:read"))
        return show(
            desk, tx, "plan.html", here="plans", title=f"Plan {number}", cli=f"trueup plan show {number}", it=it,
            own=it["proposed_by"] == desk.visitor.name, nobody_works=not executors.living(tx),
        )  # fmt: skip


@router.post("/plans/{number}/apply", dependencies=[Depends(own_form)])
def apply_plan(desk: Acting, number: int, digest: Annotated[str, Form(max_length=64)]) -> Response:
    """Begin to do what the plan said, in the reader's name."""
    try:
        plans.start(desk.house, number, by=desk.visitor.name, digest=digest)
    except Trouble as no:
        return _to(f"/plans/{number}", no)
    return RedirectResponse(f"/plans/{number}", 303)


@router.post("/plans/{number}/cancel", dependencies=[Depends(own_form)])
def cancel_plan(desk: Acting, number: int, reason: Said = "") -> Response:
    """Stop a plan that is being applied, in the reader's name."""
    try:
        plans.cancel(desk.house, number, by=desk.visitor.name, reason=reason)
    except Trouble as no:
        return _to(f"/plans/{number}", no)
    return RedirectResponse(f"/plans/{number}", 303)


def _to(path: str, no: Trouble) -> Response:
    return RedirectResponse(f"{path}?{urlencode({'refused': str(no)[:300]})}", 303)

"""What went wrong, as a page that says what to do next."""

from collections.abc import Callable
from typing import Any

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from trueup.entrypoints.web.rendering import show_bare
from trueup.entrypoints.web.visitor import SCOPES, ForeignPost, ScopeMissing, SignInNeeded, sign_in_path
from trueup.kernel.errors import Busy

log = structlog.get_logger("trueup.pages")
Answer = Callable[[Request, Any], Response]


def to_sign_in(request: Request, _: SignInNeeded) -> Response:
    """Send the reader to the sign-in page; a part of a page that is refreshed sends the whole page there."""
    path = sign_in_path(request)
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": "/sign-in"})
    return RedirectResponse(path, 303)


def scope_missing(request: Request, missing: ScopeMissing) -> Response:
    """Say which scope is missing, and what it would let the reader do."""
    return show_bare(
        "problem.html",
        title="Not with this token",
        status=403,
        sentence=f"You are signed in as {missing.name}, without the scope {missing.scope}: {SCOPES[missing.scope]}.",
        advice="Ask whoever looks after access for a token with that scope, or sign in with another one.",
        href="/sign-in",
        label="Use another token",
    )


def foreign_post(request: Request, _: ForeignPost) -> Response:
    """Refuse a form another site sent."""
    return show_bare(
        "problem.html",
        title="Not from our pages",
        status=403,
        sentence="This form was sent from another site, so nothing was done.",
        advice="Go to the page yourself and send it from there.",
        href="/work",
        label="To the work",
    )


def not_found(request: Request, problem: HTTPException) -> Response:
    """Say that there is no such thing, and how to find it."""
    known = problem.status_code == 404
    given = problem.detail if problem.detail not in ("Not Found", "Method Not Allowed") else ""
    return show_bare(
        "problem.html",
        title="There is no such page" if known else "That cannot be done here",
        status=problem.status_code,
        sentence=given or f"Nothing answers to {request.url.path}.",
        advice="The search finds records by any identifier, code, number, name or e-mail address.",
        href="/trace",
        label="Find it",
    )


def form_wrong(request: Request, problem: RequestValidationError) -> Response:
    """Say which field of a form is missing or wrong."""
    fields = ", ".join(sorted({str(error["loc"][-1]) for error in problem.errors()}))
    return show_bare(
        "problem.html",
        title="Something is missing in the form",
        status=422,
        sentence=f"Nothing was done: look at {fields}.",
        advice="Go back, choose at least one thing and give a reason of at least five characters.",
        href="/work",
        label="To the work",
    )


def busy(request: Request, problem: Busy) -> Response:
    """Say that the database is away for now."""
    log.warning("page.waited", path=request.url.path, reason=str(problem)[:200])
    return show_bare(
        "problem.html",
        title="Not just now",
        status=503,
        sentence="The database cannot be reached. Nothing was changed.",
        advice="Try again in a few seconds; if it stays like this, run trueup doctor.",
        href=request.url.path,
        label="Try again",
    )


def fault(request: Request, problem: Exception) -> Response:
    """Say that the fault is ours."""
    log.error("page.failed", path=request.url.path, exc_info=problem)
    return show_bare(
        "problem.html",
        title="The hub made a mistake",
        status=500,
        sentence="This page could not be made; nothing was changed. The cause is in the hub's log.",
        advice="Other pages work. Tell whoever runs the hub what you were looking at.",
        href="/work",
        label="To the work",
    )


REFUSALS: dict[Any, Answer] = {
    SignInNeeded: to_sign_in,
    ScopeMissing: scope_missing,
    ForeignPost: foreign_post,
    HTTPException: not_found,
    RequestValidationError: form_wrong,
    Busy: busy,
    Exception: fault,
}

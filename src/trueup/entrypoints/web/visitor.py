"""Who looks at the pages: a token in a cookie that scripts cannot read, and what its scopes let the reader see and do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request

from trueup.pipeline.house import House
from trueup.store import access
from trueup.store.database import Tx

COOKIE = "trueup_token"
SECONDS = 12 * 3600

SCOPES = {
    "work:read": "see work, flows, records and messages",
    "money:read": "see amounts, invoices and revenue",
    "cost:read": "see what people cost, and margins",
    "act": "release holds, retry and resend",
}
"""Scope -> what it lets a person do, as the page that refuses says it."""


class SignInNeeded(Exception):
    """There is no living token: the reader is sent to the sign-in page and comes back."""


class ScopeMissing(Exception):
    """The token is known, and does not reach."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(f"{name} has no scope {scope}")
        self.scope = scope
        self.name = name


class ForeignPost(Exception):
    """A form that another site sent in the reader's name."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person or program behind a token."""

    name: str
    scopes: frozenset[str]

    def can(self, scope: str) -> bool:
        """Say whether the token has a scope."""
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class Desk:
    """What every page works with."""

    house: House
    request: Request
    visitor: Visitor

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """Open one snapshot: every figure of a page is of the same moment, and nothing can be written."""
        with self.house.database.transaction() as tx:
            tx.run("set transaction isolation level repeatable read read only")
            yield tx

    def can(self, scope: str) -> bool:
        """Say whether the reader has a scope."""
        return self.visitor.can(scope)


def house_of(request: Request) -> House:
    """Return the house the pages stand in."""
    house: House = request.app.state.house
    return house


def visitor_of(request: Request) -> Visitor | None:
    """Return who the cookie stands for, or None."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    with house_of(request).database.transaction() as tx:
        found = access.holder(tx, token)
    return Visitor(found["name"], frozenset(found["scopes"])) if found else None


def desk(scope: str) -> Callable[[Request], Desk]:
    """Return a dependency that lets readers with a scope in.

    Raises    SignInNeeded, ScopeMissing
    """

    def enter(request: Request) -> Desk:
        found = visitor_of(request)
        if found is None:
            raise SignInNeeded
        if not found.can(scope):
            raise ScopeMissing(scope, found.name)
        return Desk(house_of(request), request, found)

    return enter


def own_form(request: Request) -> None:
    """Refuse a form that does not come from our own pages.

    Raises    ForeignPost
    Source    OWASP CSRF prevention cheat sheet, "Fetch Metadata" with Origin as the fall-back
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise ForeignPost
        return
    origin = request.headers.get("origin", "")
    if not origin or urlsplit(origin).netloc != request.headers.get("host"):
        raise ForeignPost


def local_path(path: str) -> str:
    """Return a path of ours to go on to, never another site's address.

    >>> local_path("/billing?reason=X"), local_path("//evil.example"), local_path("https://evil.example")
    ('/billing?reason=X', '/', '/')
    """
    parts = urlsplit(path)
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return path if fine and "\n" not in path and "\r" not in path else "/"


def sign_in_path(request: Request) -> str:
    """Return the sign-in page's path, with the way back."""
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"/sign-in?next={quote(back, safe='/')}" if request.method == "GET" and back != "/" else "/sign-in"


Work = Annotated[Desk, Depends(desk("work:read"))]
Money = Annotated[Desk, Depends(desk("money:read"))]
Acting = Annotated[Desk, Depends(desk("act"))]

"""Who calls the API, and what the token allows: bearer tokens with scopes, nothing else."""

import hashlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import Request, Security
from fastapi.security import HTTPBearer, SecurityScopes

from trueup.entrypoints.api.problems import Problem
from trueup.pipeline.house import House
from trueup.store import access

SCOPES: dict[str, str] = {
    "objects:read": "read canonical objects and their history",
    "objects:write": "say what a role knows of objects; governance decides (needs a `role:` scope too)",
    "money:read": "read invoices, payments, charges, holds, breaks, revenue and the figures made of them",
    "cost:read": "see pay and cost; never part of `admin`",
    "events:read": "read business events",
    "process:run": "run billing, month ends, reconciliations and replays; close and reopen months",
    "ops:read": "read work, flows, traces and operations",
    "ops:act": "release holds, resend deliveries, retry messages",
    "admin": "all of the above but `cost:read`",
}
"""What a scope allows. `role:crm` and its like say for which role of the ownership matrix a token speaks."""

NOT_FOR_ADMIN = frozenset({"cost:read"})
IN_QUERY = frozenset({"access_token", "token", "api_key", "apikey", "authorization", "bearer"})
LONGEST_TOKEN = 200
KNOWN_SECONDS = 2.0
KNOWN = 1000

bearer = HTTPBearer(
    scheme_name="token", description="A token of the hub, as `Authorization: Bearer`.", auto_error=False
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    mark  digest of the token: names the caller in the ledger of requests, never shown
    """

    name: str
    scopes: frozenset[str]
    mark: str

    def may(self, scope: str) -> bool:
        """Say whether the token has a scope, by itself or through `admin`."""
        return scope in self.scopes or ("admin" in self.scopes and scope in SCOPES and scope not in NOT_FOR_ADMIN)

    @property
    def cost(self) -> bool:
        """Say whether pay and cost may be shown."""
        return self.may("cost:read")

    def role(self, roles: Iterable[str]) -> str:
        """Return the role the token speaks for.

        Raises    Problem forbidden when it speaks for none, or for several.
        """
        mine = sorted(scope.partition(":")[2] for scope in self.scopes if scope.startswith("role:"))
        if len(mine) != 1 or mine[0] not in set(roles):
            raise Problem("forbidden", "the token must have exactly one scope role:<role>, for example role:crm")
        return mine[0]


class Tokens:
    """Looks tokens up, and remembers the living ones for two seconds: a revoked token is dead two seconds later."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Caller | None]] = {}

    def caller(self, token: str) -> Caller | None:
        """Return who holds a token, or None."""
        now = time.monotonic()
        mark = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            until, known = self._known.get(mark, (0.0, None))
        if known is not None and now < until:
            return known
        with self._house.database.transaction() as tx:
            row = access.holder(tx, token)
        with self._lock:
            if len(self._known) >= KNOWN:
                self._known.clear()
            if row is None:
                self._known.pop(mark, None)
                return None
            found = Caller(row["name"], frozenset(row["scopes"]), row["digest"])
            self._known[mark] = (now + KNOWN_SECONDS, found)
        return found


def signed_in(request: Request, wanted: SecurityScopes, _: object = Security(bearer)) -> Caller:
    """Return who calls, when the token has every scope the route wants.

    Raises    Problem: token_in_query, two_tokens, unauthorized, forbidden.
    """
    if any(name.lower() in IN_QUERY for name in request.query_params):
        raise Problem("token_in_query", "a token in an address ends in logs and histories")
    given = request.headers.getlist("authorization")
    if len(given) > 1:
        raise Problem("two_tokens", f"{len(given)} Authorization headers came")
    if not given:
        raise Problem("unauthorized", "the header Authorization is missing")
    kind, _space, token = given[0].partition(" ")
    if kind.lower() != "bearer" or not token or len(token) > LONGEST_TOKEN or not token.isascii():
        raise Problem("unauthorized", "the header Authorization must be `Bearer` and a token")
    tokens: Tokens = request.app.state.tokens
    caller = tokens.caller(token)
    if caller is None:
        raise Problem("unauthorized", "the token is unknown, expired or revoked")
    missing = [scope for scope in wanted.scopes if not caller.may(scope)]
    if missing:
        raise Problem("forbidden", f"the token lacks the scope {', '.join(missing)}", more={"missing_scopes": missing})
    return caller

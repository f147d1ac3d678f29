"""How the API answers: exact JSON, cursors that fit only where they came from, commands answered the same twice."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import Request
from starlette.responses import Response

from trueup.entrypoints.api.auth import Caller
from trueup.entrypoints.api.problems import Problem
from trueup.pipeline.house import House
from trueup.store import access
from trueup.store.database import Tx

JSON = "application/json"
MOST = 500
LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to.

    body     JSON-plain
    headers  besides the usual ones
    """

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def house_of(request: Request) -> House:
    """Return the house that this server serves."""
    house: House = request.app.state.house
    return house


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = JSON) -> Response:
    """Return a value as JSON; amounts are texts, days and instants ISO 8601."""
    return Response(msgspec.json.encode(value), status, {"Cache-Control": "no-store"} | dict(headers or {}), media_type)


def etag(version: int) -> str:
    """Return the entity tag of a version of an object.

    >>> etag(3)
    '"3"'
    """
    return f'"{version}"'


def link(*parts: str) -> str:
    """Return an address of ours; every part is quoted.

    >>> link("v1", "operations", "billing_run/2026-08/US01")
    '/v1/operations/billing_run/2026-08/US01'
    """
    return "/" + "/".join(quote(part, safe="/:") for part in parts)


def cursor(place: str, *parts: str | int) -> str:
    """Return an opaque cursor that is good at one place only.

    place  the list and its filters
    """
    text = "\x1f".join(str(part) for part in parts)
    return base64.urlsafe_b64encode(f"{_mark(place, text)}{text}".encode()).decode().rstrip("=")


def parts_of(place: str, given: str, count: int) -> Sequence[str]:
    """Return the parts of a cursor of this place.

    Raises    Problem bad_cursor when it was edited, or comes from another list.
    """
    try:
        padded = given + "=" * (-len(given) % 4)
        text = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as wrong:
        raise Problem("bad_cursor", "the cursor cannot be read") from wrong
    mark, rest = text[:12], text[12:]
    parts = rest.split("\x1f")
    if mark != _mark(place, rest) or len(parts) != count:
        raise Problem("bad_cursor", "the cursor belongs to another list or other filters, or was changed")
    return parts


def _mark(place: str, text: str) -> str:
    return hashlib.sha256(f"{place}\x00{text}".encode()).hexdigest()[:12]


def place_of(request: Request, **filters: Any) -> str:
    """Return the place of a list: its path and its filters."""
    chosen = sorted((name, str(value)) for name, value in filters.items() if value is not None)
    return f"{request.url.path}?{chosen}"


def once(tx: Tx, request: Request, caller: Caller, raw: bytes, work: Callable[[], Done]) -> Response:
    """Do a command under its idempotency key, in the transaction that does the work: both are kept, or neither.

    Raises    Problem: key_missing, in_flight, key_reused.
    """
    key = idempotency_key(request)
    digest = hashlib.sha256(b"\0".join((request.method.encode(), str(request.url.path).encode(), raw))).hexdigest()
    if not access.alone(tx, caller.mark, key):
        raise Problem("in_flight", "the same key is being worked on", headers={"Retry-After": "1"})
    earlier = access.begin_request(tx, caller.mark, key, digest)
    if earlier is not None:
        if earlier["digest"] != digest:
            raise Problem("key_reused", "this key was used for another body or another path")
        if earlier["status"] is None:
            raise Problem("in_flight", "the same key is being worked on", headers={"Retry-After": "1"})
        kept = earlier["body"]
        headers = kept["headers"] | {"Idempotency-Replayed": "true"}
        return answer(msgspec.Raw(kept["text"].encode()), earlier["status"], headers)
    done = work()
    text = msgspec.json.encode(done.body)
    kept = {"text": text.decode(), "headers": dict(done.headers)}  # as text: the same bytes are sent again
    access.end_request(tx, caller.mark, key, done.status, kept)
    return answer(msgspec.Raw(text), done.status, done.headers)


def idempotency_key(request: Request) -> str:
    """Return the request's idempotency key.

    Raises    Problem key_missing.
    """
    given = request.headers.getlist("idempotency-key")
    key = given[0].strip().strip('"') if len(given) == 1 else ""
    if not key or len(key) > LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise Problem("key_missing", f"send one Idempotency-Key of at most {LONGEST_KEY} printable characters")
    return key

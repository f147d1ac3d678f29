"""Every refusal in one shape: RFC 9457 problem details whose type leads to a page that says what to do."""

import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

from trueup.kernel.errors import Busy, Held, Refused, Unsettled

log = structlog.get_logger("trueup.api")

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
LONGEST_TRACE = 6000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: its status, its title, what the caller can do, and whether the same call may work later."""

    status: int
    title: str
    advice: str
    retryable: bool = False


KINDS: Mapping[str, Kind] = {
    "not_json": Kind(400, "The body is not JSON", "Send one JSON document in UTF-8, without doubled keys and NaN."),
    "bad_request": Kind(400, "The request is malformed", "Correct what `detail` names."),
    "token_in_query": Kind(
        400, "A token stands in the address", "Send it as `Authorization: Bearer`; revoke this one."
    ),
    "two_tokens": Kind(400, "Two Authorization headers", "Send exactly one."),
    "bad_cursor": Kind(
        400, "This cursor is not ours", "Use `next` of an earlier answer as it is, or start without one."
    ),
    "key_missing": Kind(400, "An idempotency key is needed", "Send a fresh `Idempotency-Key` with every new command."),
    "unauthorized": Kind(401, "Not signed in", "Send a valid token as `Authorization: Bearer`."),
    "call_not_believed": Kind(
        401, "The call is not believed", "Sign the raw body with the current secret, with the time now."
    ),
    "forbidden": Kind(403, "The token does not allow this", "Use a token with the scope that `detail` names."),
    "not_found": Kind(404, "There is nothing here", "Check the identifier and the path."),
    "method_not_allowed": Kind(405, "This method is not allowed here", "Use a method of the `Allow` header."),
    "timeout": Kind(408, "The body came too slowly", "Send it again.", retryable=True),
    "conflict": Kind(409, "This does not fit what is there", "Read the current state and decide again."),
    "held": Kind(409, "A rule wants a person", "Settle what `detail` names, then try again."),
    "in_flight": Kind(409, "The same command is being worked on", "Wait for its answer.", retryable=True),
    "stale": Kind(412, "The object has changed meanwhile", "Read it again and send its new ETag."),
    "too_large": Kind(413, "The body is too large", "Send less at a time."),
    "media_type": Kind(
        415, "The body must be application/json", "Send `Content-Type: application/json`, uncompressed."
    ),
    "invalid": Kind(422, "Fields are wrong", "Correct each entry of `errors`."),
    "key_reused": Kind(422, "The idempotency key was used for another body", "Send a fresh key for a new command."),
    "refused": Kind(422, "This was refused", "The same call will be refused again; see `detail`."),
    "condition_missing": Kind(428, "Say which version you change", "Send `If-Match` with the object's ETag."),
    "headers_too_large": Kind(431, "The headers are too large", "Send fewer and shorter headers."),
    "fault": Kind(500, "A fault of the hub", "Report `report`; nothing was half done."),
    "system_refused": Kind(502, "A connected system refused", "See `detail`; the system's own administrator can help."),
    "busy": Kind(503, "Not now", "Try again after `Retry-After` seconds.", retryable=True),
}

STATUSES: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    412: "stale",
    413: "too_large",
    415: "media_type",
    422: "invalid",
    428: "condition_missing",
    431: "headers_too_large",
    503: "busy",
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing wrong with one place of a body.

    pointer  RFC 6901 pointer into the body, or `?name` for a query parameter
    """

    pointer: str
    code: str
    got: Any = None
    expected: str = ""


class Problem(Exception):
    """Raised by a route to answer with a problem of a kind.

    more     further members of the problem
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Wrong] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    @property
    def status(self) -> int:
        """Return the HTTP status of this kind of problem."""
        return KINDS[self.code].status


def response(scope: Scope, problem: Problem) -> Response:
    """Return the answer for a problem of this request."""
    kind = KINDS[problem.code]
    body: dict[str, Any] = {
        "type": f"/docs/errors/{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": _printable(problem.detail)[:2000],
        "instance": _printable(scope.get("path", ""))[:500],
        "code": problem.code,
        "retryable": kind.retryable,
        "trace_id": trace_id(scope),
    }
    if problem.errors:
        body["errors"] = [
            {"pointer": one.pointer, "code": one.code, "got": shown(one.got), "expected": one.expected}
            for one in problem.errors
        ]
    headers = dict(problem.headers)
    if kind.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="trueup"')
    if kind.status == 503:
        headers.setdefault("Retry-After", str(RETRY_SECONDS))
    return Response(msgspec.json.encode(body | problem.more), kind.status, headers, MEDIA_TYPE)


def trace_id(scope: Scope) -> str:
    """Return the request's trace id: the caller's own when it sent a `traceparent`, else one of ours."""
    state = scope.setdefault("state", {})
    if "trace_id" not in state:
        given = next((value for name, value in scope.get("headers", ()) if name == b"traceparent"), b"")
        parts = given.split(b"-")
        sound = len(parts) == 4 and len(parts[1]) == 32 and not parts[1].strip(b"0123456789abcdef")
        state["trace_id"] = parts[1].decode() if sound else secrets.token_hex(16)
    return str(state["trace_id"])


def shown(value: Any) -> Any:
    """Return what a caller sent, short enough and plain enough to send back."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    return _printable(str(value))[:200]


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def of_exception(fault: Exception, scope: Scope) -> Problem:
    """Name any exception by what the caller can do; a fault of ours gets a report id and shows nothing inside."""
    if isinstance(fault, Problem):
        return fault
    if isinstance(fault, RequestValidationError):
        return _of_validation(fault)
    if isinstance(fault, HTTPException):
        code = STATUSES.get(fault.status_code, "bad_request" if fault.status_code < 500 else "fault")
        return Problem(code, str(fault.detail), headers=fault.headers)
    if isinstance(fault, Busy):
        wait = max(1, round(fault.retry_after or RETRY_SECONDS))
        log.warning("request.waited", path=scope.get("path"), reason=str(fault)[:200])
        return Problem("busy", "something this needs is away; nothing happened", headers={"Retry-After": str(wait)})
    if isinstance(fault, Held):
        return Problem("held", str(fault), more={"hold": fault.code})
    if isinstance(fault, Unsettled):
        return Problem("busy", str(fault))
    if isinstance(fault, Refused):
        return Problem("system_refused" if fault.status else "refused", str(fault), more={"refusal": fault.code})
    report = secrets.token_hex(8)
    # As text: a renderer that prints local variables would put tokens and bodies into the log.
    where = "".join(traceback.format_exception(fault))[-LONGEST_TRACE:]
    log.error("request.failed", report=report, path=scope.get("path"), trace=trace_id(scope), where=where)
    return Problem("fault", "the hub failed; its log has the report", more={"report": report})


def _of_validation(fault: RequestValidationError) -> Problem:
    wrong = []
    for one in fault.errors():
        where, *rest = one["loc"] or ("body",)
        path = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in rest)
        pointer = path if where == "body" else f"?{'.'.join(str(part) for part in rest)}"
        wrong.append(Wrong(pointer, str(one["type"]), one.get("input"), str(one["msg"])))
    return Problem("invalid", f"{len(wrong)} thing(s) are wrong", errors=wrong)


async def handler(request: Request, fault: Exception) -> Response:
    """Answer an exception that left a route; asynchronous, so that no thread is taken for it."""
    return response(request.scope, of_exception(fault, request.scope))


async def page(request: Request) -> Response:
    """Say what a kind of problem means and what to do: where the `type` of a problem leads."""
    code = request.path_params["code"]
    kind = KINDS.get(code)
    if kind is None:
        raise Problem("not_found", "there is no such kind of problem")
    again = "The same call may work later." if kind.retryable else "The same call will not work later either."
    return PlainTextResponse(f"{kind.title}\n\n{kind.advice}\n{again}\n\nHTTP status {kind.status}, code {code}\n")


HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    Problem: handler,
    HTTPException: handler,
    RequestValidationError: handler,
    Exception: handler,
}

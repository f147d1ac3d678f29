"""Where vendors call: whatever is authentic is kept before it is answered, many calls by one commit."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from trueup.entrypoints.api.problems import Problem
from trueup.kernel.errors import Busy, Trouble
from trueup.pipeline.house import House, System
from trueup.pipeline.receive import MAX_BYTES, Reception, describe, hear
from trueup.store import inbox
from trueup.store.database import Database, Tx
from trueup.store.inbox import Arrival, Lane

log = structlog.get_logger("trueup.hooks")

BODY_SECONDS = 15.0
COMMIT_SECONDS = 8.0
LOOK_SECONDS = 0.5
GROUP = 1000
WAITING_BYTES = 64_000_000
QUICK_BYTES = 64_000
LONGEST_NAME = 500
GIVE_UP = 3


@dataclass(frozen=True, slots=True)
class Call:
    """One call to be written down: what it brought, or why it was not believed."""

    system: str
    reception: Reception
    size: int


class Keeper:
    """Writes the calls that wait by one transaction; while it commits, the next group gathers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hooks")
        self._waiting: list[tuple[Call, asyncio.Future[None], float]] = []
        self._under_way: list[tuple[Call, asyncio.Future[None], float]] = []
        self._bytes = 0
        self._flushing: asyncio.Task[None] | None = None

    async def keep(self, call: Call) -> None:
        """Return when the call is committed.

        Raises    Busy when that cannot be said in time; the vendor calls again, and the inbox knows what it has.
        """
        if self._bytes + call.size > WAITING_BYTES:
            raise Busy("too many calls wait for the database")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((call, done, loop.time() + COMMIT_SECONDS))
        self._bytes += call.size
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
            loop.call_later(LOOK_SECONDS, self._give_up)
        await done

    def close(self) -> None:
        """End the writing thread; what was not committed was not answered either."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _give_up(self) -> None:
        """Answer those who have waited for long enough; one timer for all of them."""
        loop = asyncio.get_running_loop()
        for _, done, until in (*self._under_way, *self._waiting):
            if until < loop.time() and not done.done():
                done.set_exception(Busy("the database does not answer"))
        if self._flushing is not None:
            loop.call_later(LOOK_SECONDS, self._give_up)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
                self._under_way = group
                calls = [call for call, *_ in group]
                self._bytes -= sum(call.size for call in calls)
                try:
                    faults = await loop.run_in_executor(self._thread, write, self._database, calls)
                except RuntimeError:  # the thread has ended with the server
                    faults = [Busy("the hub is stopping")] * len(group)
                for (_, done, _), fault in zip(group, faults, strict=True):
                    if done.done():
                        continue
                    if fault is None:
                        done.set_result(None)
                    else:
                        done.set_exception(fault)
        finally:
            self._under_way = []
            self._flushing = None


def write(database: Database, calls: Sequence[Call]) -> list[Exception | None]:
    """Write calls in one transaction; when that fails, each by itself, so that one cannot take others along.

    Returns   for each call None when it is committed, else why not
    """
    try:
        with database.transaction() as tx:
            _keep(tx, calls)
    except Exception as fault:
        if len(calls) == 1:
            return [fault if isinstance(fault, Trouble) else _as_unreadable(database, calls[0], fault)]
    else:
        return [None] * len(calls)
    outcomes: list[Exception | None] = []
    away = 0
    for call in calls:
        if away >= GIVE_UP:  # the database is gone, not a row bad
            outcomes.append(Busy("the database is away"))
            continue
        (outcome,) = write(database, [call])
        away = away + 1 if isinstance(outcome, Busy) else 0
        outcomes.append(outcome)
    return outcomes


def _as_unreadable(database: Database, call: Call, fault: Exception) -> Exception | None:
    """Keep an authentic call whose record the inbox cannot hold as raw bytes: it is for a person, never lost."""
    log.warning("call.unreadable", system=call.system, reason=f"{type(fault).__name__}: {str(fault)[:200]}")
    bodies = {arrival.body for arrival in (*call.reception.arrivals, *(one for _, one in call.reception.records))}
    arrivals = tuple(Arrival("unreadable", "", "", body) for body in bodies)
    try:
        with database.transaction() as tx:
            _keep(tx, [Call(call.system, Reception(200, arrivals), call.size)])
    except Exception as again:
        return again
    return None


def _keep(tx: Tx, calls: Iterable[Call]) -> None:
    together: dict[tuple[str, Lane], list[Arrival]] = {}
    for call in calls:
        if call.reception.status == 200:
            for lane, arrival in call.reception.records:
                together.setdefault((call.system, lane), []).append(arrival)
            if call.reception.arrivals:
                together.setdefault((call.system, "notice"), []).extend(call.reception.arrivals)
        else:
            inbox.refuse_call(tx, call.system, call.reception.reason, call.size)
    for (system, lane), arrivals in sorted(together.items(), key=lambda item: item[0]):
        inbox.keep(tx, system, arrivals, origin="webhook", lane=lane)


def receiver(house: House, keeper: Keeper) -> Callable[[Request], Awaitable[Response]]:
    """Return the route of `POST /hooks/{system}`."""

    async def receive(request: Request) -> Response:
        system = house.systems.get(request.path_params["system"])
        if system is None or system.connector.manifest.webhook is None:
            raise Problem("not_found", "no system of this name calls here")
        if request.method != "POST":
            raise Problem("method_not_allowed", "systems call by POST", headers={"Allow": "POST"})
        body = await whole_body(request, MAX_BYTES, BODY_SECONDS)
        headers = flat(request)
        if len(body) > QUICK_BYTES:
            reception = await asyncio.to_thread(_hear, system, headers, body)
        else:
            reception = _hear(system, headers, body)
        call = Call(system.name, reception, len(body))
        if reception.status == 200:
            await keeper.keep(call)
            return Response(b'{"received":true}', media_type="application/json")
        try:
            await keeper.keep(call)
        except Exception as fault:  # a forged call is answered the same when nobody can count it
            log.warning("refused_call.not_counted", system=system.name, reason=str(fault)[:200])
        raise Problem("call_not_believed", reception.reason, headers={"WWW-Authenticate": "Signature"})

    return receive


def _hear(system: System, headers: dict[str, str], body: bytes) -> Reception:
    """Hear a call, and keep it also when it names nothing we read; a name no index could hold is kept as unreadable."""
    reception = hear(system, headers, body)
    everything = (*reception.arrivals, *(arrival for _, arrival in reception.records))
    if reception.status == 200 and not everything:
        return Reception(200, (Arrival("unnamed", "", "", body, headers=describe(headers)),))
    if all(
        isinstance(name, str) and len(name) <= LONGEST_NAME
        for arrival in everything
        for name in (arrival.object, arrival.external_id, arrival.stamp)
    ):
        return reception
    return Reception(
        200, (Arrival("unreadable", "", "", body, headers=describe(headers)),), "names that are no text or too long"
    )


def flat(request: Request) -> dict[str, str]:
    """Return the headers by lower-case name; one that comes twice is joined, so that no signature can hide behind it."""
    found: dict[str, str] = {}
    for raw_name, raw_value in request.scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def whole_body(request: Request, most: int, seconds: float) -> bytes:
    """Read the body, but no further than `most` bytes and no longer than `seconds`.

    Raises    Problem too_large or timeout; the connection is closed with the answer.
    """
    close = {"Connection": "close"}
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 15 or int(declared) > most):
        raise Problem("too_large", f"more than {most} bytes", headers=close)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Problem("too_large", f"more than {most} bytes", headers=close)
                parts.append(part)
    except TimeoutError as slow:
        raise Problem("timeout", f"the body was not here after {seconds:g} s", headers=close) from slow
    except ClientDisconnect as gone:
        raise HTTPException(400, "the caller hung up", headers=close) from gone
    return parts[0] if len(parts) == 1 else b"".join(parts)

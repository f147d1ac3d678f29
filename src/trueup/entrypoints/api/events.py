"""Business events for others: CloudEvents by cursor, by number, and as a stream; nothing is skipped, nothing told out of order."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Security
from starlette.datastructures import State
from starlette.responses import Response, StreamingResponse

from trueup.entrypoints.api.answers import answer, cursor, house_of, link, parts_of, place_of
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.problems import Problem
from trueup.kernel.errors import Busy
from trueup.model.events import CATALOGUE, DELICATE, TYPE_PREFIX, VERSION, Fact, cloud_event, type_name
from trueup.pipeline.house import House
from trueup.reporting.events import told as seen
from trueup.store import changes, objects
from trueup.store.database import Tx

BATCH = "application/cloudevents-batch+json"
MOST = 1000
LOOK_SECONDS = 0.5
PING_SECONDS = 15.0
STREAMS = 50

router = APIRouter(prefix="/v1/events", tags=["events"])
Reader = Annotated[Caller, Security(signed_in, scopes=["events:read"])]
Type = Annotated[str | None, Query(description="Full type, for example `org.trueup.invoice.posted.v1`.")]
Subject = Annotated[str | None, Query(description="Identifier of the object the event is about.", max_length=200)]


@router.get(
    "",
    summary="Read events in order, from a cursor on",
    responses={
        200: {
            "description": "`next` is null at the end; keep `cursor` to go on later.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/EventPage"}},
                BATCH: {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}}},
            },
        }
    },
)
def read(
    request: Request,
    caller: Reader,
    after: Annotated[str | None, Query(description="Cursor of an earlier answer.", max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    type: Type = None,
    subject: Subject = None,
) -> Response:
    """Return events in an order in which every reader sees them; an event that is not committed is never passed over."""
    name, place = _name(type), place_of(request, type=type, subject=subject)
    start = _position(place, after) if after else (0, 0)
    house = house_of(request)
    with house.database.transaction() as tx:
        rows = changes.read_events(tx, start, limit + 1, name=name, subject=subject)
        page = rows[:limit]
        events = told(tx, page, caller.cost)
    here = _cursor(place, page[-1]) if page else after
    following = here if len(rows) > limit else None
    if BATCH in request.headers.get("accept", ""):
        headers = {}
        if following:
            headers["Link"] = f'<{request.url.include_query_params(after=following)}>; rel="next"'
        return answer(events, headers=headers, media_type=BATCH)
    return answer({"events": events, "next": following, "cursor": here})


@router.get("/types", summary="List every type of event with the schema of its data")
def types(caller: Reader) -> Response:
    """Return the catalogue."""
    schema = Fact.model_json_schema()
    return answer(
        {
            "types": [
                {"type": type_name(name), "name": name, "meaning": meaning, "data_schema": schema}
                for name, meaning in CATALOGUE.items()
            ]
        }
    )


@router.get(
    "/stream",
    summary="Follow events as they happen (server-sent events)",
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "One CloudEvent per message; `id` is a cursor."}
    },
)
async def stream(
    request: Request,
    caller: Reader,
    after: Annotated[str | None, Query(max_length=500)] = None,
    last_event_id: Annotated[str | None, Header(max_length=500)] = None,
    type: Type = None,
    subject: Subject = None,
) -> Response:
    """Begin now, or behind a cursor; `Last-Event-ID` continues a stream that broke."""
    name, place = _name(type), place_of(request, type=type, subject=subject)
    house = house_of(request)
    given = last_event_id or after
    start = _position(place, given) if given else await asyncio.to_thread(_now, house)
    if request.app.state.streams >= STREAMS:
        raise Busy(f"more than {STREAMS} streams are open")
    follow = _Follow(house, request.app.state, place, start, name, subject, caller.cost)
    return StreamingResponse(_lines(follow), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@dataclass(slots=True)
class _Follow:
    """One stream: what it follows, and how far it is."""

    house: House
    state: State
    place: str
    start: tuple[int, int]
    name: str | None
    subject: str | None
    cost: bool


async def _lines(follow: _Follow) -> AsyncIterator[bytes]:
    follow.state.streams += 1
    said = time.monotonic()
    try:
        yield b": begin\n\n"
        while not follow.state.stopping:
            try:
                found = await asyncio.to_thread(_read, follow)
            except Busy:
                found = []
            for row, event in found:
                follow.start = (row["transaction"], row["number"])
                text = json.dumps(event, ensure_ascii=False)
                yield f"id: {_cursor(follow.place, row)}\nevent: {row['name']}\ndata: {text}\n\n".encode()
            if found:
                said = time.monotonic()
                continue
            if time.monotonic() - said > PING_SECONDS:
                said = time.monotonic()
                yield b": still here\n\n"
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        follow.state.streams -= 1


@router.get("/{number}", summary="Read one event")
def one(request: Request, caller: Reader, number: int) -> Response:
    """Return one event as structured CloudEvents JSON."""
    house = house_of(request)
    if not 0 < number < 2**63:
        raise Problem("not_found", "there is no such event")
    with house.database.transaction() as tx:
        row = changes.event(tx, number)
        if row is None:
            raise Problem("not_found", f"there is no event {number}")
        (event,) = told(tx, [row], caller.cost)
    return answer(event, media_type="application/cloudevents+json")


def told(tx: Tx, rows: Sequence[Mapping[str, Any]], cost: bool) -> list[dict[str, Any]]:
    """Return events as CloudEvents JSON, amounts made of cost taken out; the extension `message` leads to what came in."""
    delicate = {} if cost else objects.load(tx, [row["subject"] for row in rows if row["kind"] in DELICATE])
    found = []
    for row in rows:
        at = row["created_at"].isoformat().replace("+00:00", "Z")
        data = seen(row["data"], delicate.get(row["subject"]), cost)
        event = cloud_event(row["name"], row["number"], row["subject"], at, data)
        event["dataschema"] = link("v1", "events", "types")
        if row["message"]:
            event["message"] = str(row["message"])
        found.append(event)
    return found


def _read(follow: _Follow) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the next rows, each with what is told of it."""
    with follow.house.database.transaction() as tx:
        rows = changes.read_events(tx, follow.start, 100, name=follow.name, subject=follow.subject)
        return list(zip(rows, told(tx, rows, follow.cost), strict=True))


def _now(house: House) -> tuple[int, int]:
    with house.database.transaction() as tx:
        return changes.last_event(tx)


def _name(type: str | None) -> str | None:
    if type is None:
        return None
    name = type.removeprefix(TYPE_PREFIX).removesuffix(VERSION)
    if name not in CATALOGUE:
        raise Problem("bad_request", "there is no such type of event; /v1/events/types lists them")
    return name


def _cursor(place: str, row: Mapping[str, Any]) -> str:
    return cursor(_same(place), row["transaction"], row["number"])


def _position(place: str, given: str) -> tuple[int, int]:
    transaction, number = (int(part) if part.isdigit() else -1 for part in parts_of(_same(place), given, 2))
    if not (0 <= transaction < 2**63 and 0 <= number < 2**63):
        raise Problem("bad_cursor", "the cursor was changed")
    return transaction, number


def _same(place: str) -> str:
    """Let a stream go on where a page ended."""
    return place.replace("/v1/events/stream?", "/v1/events?", 1)

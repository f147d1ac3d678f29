"""System APIs: every kind of canonical object, read whole and written through governance, the same way for all kinds."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import GenericAlias
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request, Security
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from starlette.responses import Response

from trueup.entrypoints.api import bodies
from trueup.entrypoints.api.answers import MOST, Done, answer, cursor, etag, house_of, link, once, parts_of, place_of
from trueup.entrypoints.api.auth import Caller, signed_in
from trueup.entrypoints.api.bodies import RawBody
from trueup.entrypoints.api.problems import Problem, Wrong
from trueup.governance.decide import Decision, Outcome, decide
from trueup.kernel.ids import derive, kind_of
from trueup.model.canonical import Canonical, Envelope, Source
from trueup.model.kinds import KINDS
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.reporting import evidence
from trueup.reporting.sight import HIDDEN, hidden_fields, masked
from trueup.store import access, billing_events, changes, crosswalk, inbox, objects
from trueup.store.changes import Change
from trueup.store.crosswalk import Key, Link
from trueup.store.database import Tx
from trueup.store.objects import Held

MONEY = frozenset({"invoice", "payment", "revenue_schedule", "journal_reference"})
ROLES = frozenset({"crm", "psa", "erp", "hris", "expense"})
VOLUME_FILTERS = frozenset({"project", "resource", "status"})
NESTED_REFERENCES = {"bill_to": "customer", "invoice": "invoice", "project": "project", "contract": "contract"}
_SYSTEM = re.compile(r"[a-z][a-z0-9_]{0,30}")
_GID = re.compile(r"[a-z]{3}_[0-9a-z]{26}")
_NAMES = {"limit", "cursor"}

router = APIRouter(prefix="/v1")
Limit = Annotated[int, Query(ge=1, le=MOST)]
Cursor = Annotated[str | None, Query(description="`next` of an earlier answer.", max_length=1000)]
DryRun = Annotated[bool, Query(description="Show the decisions and write nothing.")]


class BillingEvent(BaseModel):
    """A priced charge: what was or will be billed for one fact, and how it was worked out."""

    model_config = ConfigDict(extra="forbid")
    key: str
    kind: Literal["time", "expense", "fee", "overage", "milestone", "schedule"]
    fact: str
    fact_version: int
    project: str
    contract: str
    contract_line: str | None
    legal_entity: str
    currency: str
    minutes: int | None
    rate: Decimal | None
    amount: Decimal
    bucket: Literal["on_draft", "covered_by_fixed_fee", "non_billable"]
    document: str | None
    line_key: str | None
    rate_line: str | None
    service_on: date
    period: str
    run: str
    trace: dict[str, Any]
    created_at: datetime


class BillingEventPage(BaseModel):
    """A page of charges."""

    items: list[BillingEvent]
    next: str | None


class Judgement(BaseModel):
    """One decision of governance on what was said.

    verdict  accept: stored; agree: known already; propose: kept for a person to see; hold: a person decides
    """

    verdict: Literal["accept", "agree", "late", "propose", "hold"]
    sentence: str
    fields: dict[str, Any]


class Told(BaseModel):
    """What became of a PUT."""

    gid: str
    kind: str
    version: int
    created: bool
    changed: bool
    dry_run: bool
    decisions: list[Judgement]


class HistoryItem(BaseModel):
    """One decision in the history of an object."""

    number: int
    version: int
    verdict: str
    sentence: str
    fields: list[dict[str, Any]]
    actor: str
    system: str | None
    message: int | None
    mapping: str | None
    mapping_version: int | None
    decided_at: datetime


class History(BaseModel):
    """Everything that was said of an object, oldest first."""

    gid: str
    items: list[HistoryItem]


def plural(kind: str) -> str:
    """Return the path of a kind.

    >>> plural("time_entry"), plural("customer")
    ('time-entries', 'customers')
    """
    name = kind.replace("_", "-")
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


# --- reading ---------------------------------------------------------------------------------------------------------


def filters(cls: type[Canonical]) -> dict[str, Any]:
    """Return the fields a list of a kind can be asked for, with their types."""
    found = {}
    for name, info in cls.model_fields.items():
        inner = bodies.inside(info.annotation)
        text = inner in (str, int, bool, Decimal, date) or bool(get_args(inner))
        if text and not _is_list(info.annotation) and (not cls.volume or name in VOLUME_FILTERS):
            found[name] = inner
    return found


def _is_list(annotation: Any) -> bool:
    return "list[" in str(annotation)


def _where(request: Request, cls: type[Canonical], caller: Caller) -> dict[str, Any]:
    known, where = filters(cls), dict[str, Any]()
    for name, text in request.query_params.multi_items():
        if name in _NAMES:
            continue
        if name in cls.restricted and not caller.cost:
            raise Problem(
                "forbidden", f"{name} cannot be asked for without cost:read", more={"missing_scopes": ["cost:read"]}
            )
        if name not in known:
            raise Problem("bad_request", f"there is no filter {name}; there are {', '.join(sorted(known))}")
        if name in where:
            raise Problem("bad_request", f"the filter {name} stands twice")
        where[name] = _typed(name, known[name], text)
    return where


def _typed(name: str, kind: Any, text: str) -> Any:
    if len(text) > 500:
        raise Problem("bad_request", f"{name}: no such value")
    if kind is bool:
        if text not in ("true", "false"):
            raise Problem("bad_request", f"{name} is true or false")
        return text == "true"
    if kind is int:
        if not re.fullmatch(r"-?[0-9]{1,15}", text):
            raise Problem("bad_request", f"{name} is a whole number")
        return int(text)
    return text


def shown(tx: Tx, held: list[Held], cost: bool) -> list[dict[str, Any]]:
    """Return objects with their envelopes, what the reader may not see taken out."""
    gids = [one.gid for one in held]
    times = objects.times(tx, gids)
    sources: dict[str, list[dict[str, Any]]] = {}
    for known in crosswalk.of(tx, gids):
        sources.setdefault(known.gid, []).append(
            {
                "system": known.system,
                "object": known.object,
                "external_id": known.external_id,
                "stamp": known.stamp or None,
            }
        )
    return [
        {
            "gid": one.gid,
            "kind": one.kind,
            "version": one.version,
            "status": one.status,
            "legal_entity": one.legal_entity,
            "created_at": times[one.gid][0],
            "updated_at": times[one.gid][1],
            "tombstone": one.tombstone,
            "sources": sources.get(one.gid, []),
            "body": masked(one.kind, one.body, cost),
        }
        for one in held
    ]


def _list(request: Request, caller: Caller, kind: str, limit: int, after: str | None) -> Response:
    where = _where(request, KINDS[kind], caller)
    place = place_of(request, **where)
    start = parts_of(place, after, 1)[0] if after else ""
    house = house_of(request)
    with house.database.transaction() as tx:
        held = objects.of_kind(tx, kind, where, after=start, limit=limit + 1)
        page = held[:limit]
        items = shown(tx, page, caller.cost)
    return answer({"items": items, "next": cursor(place, page[-1].gid) if len(held) > limit else None})


def _one(request: Request, caller: Caller, kind: str, identifier: str) -> Response:
    house = house_of(request)
    with house.database.transaction() as tx:
        held = _held(tx, house, kind, identifier)
        (item,) = shown(tx, [held], caller.cost)
    tag = etag(held.version)
    if tag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers={"ETag": tag})
    return answer(item, headers={"ETag": tag})


def _history(request: Request, caller: Caller, kind: str, identifier: str) -> Response:
    house = house_of(request)
    with house.database.transaction() as tx:
        held = _held(tx, house, kind, identifier)
        said = evidence.decisions(tx, gids=[held.gid], cost=caller.cost)
    items = [
        {
            "number": one.number,
            "version": one.version,
            "verdict": one.verdict,
            "sentence": one.sentence,
            "fields": one.fields,
            "actor": one.actor,
            "system": one.system,
            "message": one.message,
            "mapping": one.mapping,
            "mapping_version": one.mapping_version,
            "decided_at": one.decided_at,
        }
        for one in said
    ]
    return answer({"gid": held.gid, "items": items})


def _held(tx: Tx, house: House, kind: str, identifier: str) -> Held:
    gid = find(tx, house, kind, identifier)
    held = objects.one(tx, gid) if gid else None
    if held is None:
        raise Problem("not_found", f"there is no {kind} {identifier}")
    return held


def find(tx: Tx, house: House, kind: str, identifier: str) -> str | None:
    """Return the object's identifier: the identifier itself, or what `{system}:{id}` is in the crosswalk."""
    if _GID.fullmatch(identifier) and kind_of(identifier) == kind:
        return identifier
    keys = keys_of(house, kind, identifier)
    found = crosswalk.find(tx, keys)
    return next((found[key].gid for key in keys if key in found and kind_of(found[key].gid) == kind), None)


def keys_of(house: House, kind: str, identifier: str) -> list[Key]:
    """Return the crosswalk keys that `{system}:{id}` may stand under; the first is where a new object goes."""
    system, colon, external_id = identifier.partition(":")
    if not colon or not _SYSTEM.fullmatch(system) or not external_id or len(external_id) > 200:
        return []
    if not external_id.isprintable():
        return []
    names = [
        name
        for (of, name), mapping in house.inward.items()
        if (of, mapping.kind) == (system, kind) and not mapping.rows
    ]
    names += [name for (of_kind, of, name) in house.outward if (of, of_kind) == (system, kind)]
    return [(system, name, external_id) for name in dict.fromkeys([*names, kind])]


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What a caller says of one object.

    held   None when it does not exist yet
    key    crosswalk key of a new object
    voice  under which proposals are kept: the system it is said for, or the caller
    """

    kind: str
    gid: str
    held: Held | None
    key: Key | None
    role: str
    voice: str
    values: dict[str, Any]
    outcome: Outcome


def _put(request: Request, caller: Caller, kind: str, identifier: str, raw: bytes, dry_run: bool) -> Response:
    house = house_of(request)
    role = caller.role(ROLES)
    said = bodies.document(raw)
    with house.database.transaction() as tx:
        if dry_run:
            done = _told(_heard(tx, house, request, caller, kind, identifier, role, said), dry_run=True)
            return answer(done.body, 200, done.headers)

        def work() -> Done:
            return _write(tx, house, _heard(tx, house, request, caller, kind, identifier, role, said), caller)

        return once(tx, request, caller, raw, work)


def _heard(
    tx: Tx, house: House, request: Request, caller: Caller, kind: str, identifier: str, role: str, said: dict[str, Any]
) -> _Spoken:
    """Find the object, check conditions and values, and let governance decide."""
    cls = KINDS[kind]
    gid = find(tx, house, kind, identifier)
    key = None
    if gid is None:
        keys = keys_of(house, kind, identifier)
        if not keys:
            raise Problem("not_found", f"there is no {kind} {identifier}; a new one is made under {{system}}:{{id}}")
        key = keys[0]
        gid = derive(kind, *key)
    system = identifier.partition(":")[0] if ":" in identifier else ""
    if system in house.systems and house.systems[system].role != role:
        raise Problem("forbidden", f"{system} is the {house.systems[system].role}; the token speaks for {role}")
    if not access.alone(tx, gid):
        raise Problem("in_flight", "somebody else is writing this object", headers={"Retry-After": "1"})
    held = objects.load(tx, [gid], lock=True).get(gid)
    if held is None and key is None:
        raise Problem("not_found", f"there is no {kind} {identifier}")
    _conditions(request, held)
    values = _values(tx, house, cls, said, held)
    outcome = decide(house.ownership, kind, role, values, held.body if held else None)
    if held is None and not house.ownership.may_create(kind, role):
        raise Problem("forbidden", outcome.decisions[0].sentence)
    try:
        cls.model_validate({**(held.body if held else {}), **outcome.accepted})
    except ValidationError as invalid:
        raise bodies.invalid_fields(bodies.of_pydantic(invalid)) from invalid
    return _Spoken(kind, gid, held, key, role, system or caller.name, values, outcome)


def _values(tx: Tx, house: House, cls: type[Canonical], said: dict[str, Any], held: Held | None) -> dict[str, Any]:
    wrong = _resolve(tx, house, cls, said)
    if wrong:
        raise bodies.invalid_fields([*bodies.wrong_places(cls, said), *wrong])
    values = bodies.normal(cls, said)
    status = values.get("status")
    if status is not None and status not in cls.lifecycle.statuses:
        expected = f"one of {', '.join(sorted(cls.lifecycle.statuses))}"
        wrong.append(Wrong("/status", "unknown_status", status, expected))
    if cls.kind != "cost_rate":  # a cost is an hourly price: it may have more digits than money
        wrong += bodies.inexact(cls, values, str(held.body.get("currency") or "") if held else None)
    if wrong:
        raise bodies.invalid_fields(wrong)
    return values


def _resolve(tx: Tx, house: House, cls: type[Canonical], said: dict[str, Any]) -> list[Wrong]:
    """Replace `{system}:{id}` by our identifiers, in place; return references to what does not exist."""
    places = list(_references(cls, said))
    wrong, wanted = [], dict[str, str]()
    for owner, name, kind, place in places:
        text = owner[name]
        if kind_of(text) is None and ":" in text:
            owner[name] = find(tx, house, kind, text) or text
        wanted[place] = owner[name]
    known = objects.load(tx, [gid for gid in wanted.values() if kind_of(gid)])
    for _owner, _name, kind, place in places:
        gid = wanted[place]
        if gid not in known or known[gid].kind != kind:
            wrong.append(
                Wrong(place, "unknown_reference", gid, f"a {kind} we know: its identifier or {{system}}:{{id}}")
            )
    return wrong


def _references(cls: type[Canonical], said: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str, str]]:
    for name, kind in cls.references.items():
        if isinstance(said.get(name), str):
            yield said, name, kind, f"/{name}"
    for name, value in said.items():
        for number, row in enumerate(value if isinstance(value, list) else ()):
            for field, kind in NESTED_REFERENCES.items():
                if isinstance(row, dict) and isinstance(row.get(field), str):
                    yield row, field, kind, f"/{name}/{number}/{field}"


def _conditions(request: Request, held: Held | None) -> None:
    """Check If-Match and If-None-Match; an object is changed only by somebody who says which version it is."""
    given = request.headers.get("if-match")
    if held is None:
        if given is not None:
            raise Problem("stale", "the object does not exist", more={"given": given, "current": None})
        return
    current = etag(held.version)
    refused = _tags(request.headers.get("if-none-match", ""))
    if "*" in refused or current in refused:
        raise Problem("stale", "the object exists", headers={"ETag": current}, more={"current": current})
    if given is None:
        raise Problem(
            "condition_missing",
            "the object exists: send If-Match",
            headers={"ETag": current},
            more={"current": current},
        )
    if not {"*", current} & set(_tags(given)):
        more = {"given": given[:100], "current": current}
        raise Problem("stale", f"the object is at {current} now", headers={"ETag": current}, more=more)


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",") if tag.strip()]


def _write(tx: Tx, house: House, spoken: _Spoken, caller: Caller) -> Done:
    """Store what was accepted, keep the rest as proposals, and leave the sentence of each in the history."""
    if spoken.outcome.accepted:
        author(tx, house, [(spoken.kind, spoken.gid, spoken.outcome.accepted)], role=spoken.role, actor=caller.name)
    if spoken.held is None and spoken.key is not None:
        crosswalk.put(tx, [Link(*spoken.key, spoken.gid)])
        inbox.wake(tx, ["/".join(spoken.key)])
    held = objects.load(tx, [spoken.gid])[spoken.gid]
    kept = [decision for decision in spoken.outcome.decisions if decision.verdict in ("propose", "hold")]
    if kept:
        said = [_with_before(decision, held) for decision in kept]
        changes.write(
            tx, [Change(held.gid, held.kind, held.version, spoken.role, said, system=caller.name)], house.edition
        )
        changes.propose(
            tx,
            [
                (held.gid, name, spoken.voice, value, decision.sentence, None)
                for decision in kept
                for name, value in decision.fields.items()
            ],
        )
    agreed = [decision for decision in spoken.outcome.decisions if decision.verdict == "agree"]
    changes.settle_proposals(tx, [(held.gid, name, spoken.voice) for one in agreed for name in one.fields])
    return _told(spoken, now=held)


def _with_before(decision: Decision, held: Held) -> dict[str, Any]:
    fields = {name: [held.body.get(name), value] for name, value in decision.fields.items()}
    return {"verdict": decision.verdict, "sentence": decision.sentence, "fields": fields}


def _told(spoken: _Spoken, *, now: Held | None = None, dry_run: bool = False) -> Done:
    held = now or spoken.held
    created = spoken.held is None
    version = held.version if held else 0
    body = {
        "gid": spoken.gid,
        "kind": spoken.kind,
        "version": version,
        "created": created and not dry_run,
        "changed": bool(spoken.outcome.accepted) and not dry_run,
        "dry_run": dry_run,
        "decisions": [
            {
                "verdict": one.verdict,
                "sentence": one.sentence,
                "fields": _unhidden(spoken, one.fields),
            }
            for one in spoken.outcome.decisions
        ],
    }
    if dry_run:
        return Done(body)
    headers = {"ETag": etag(version), "Location": link("v1", plural(spoken.kind), spoken.gid)}
    return Done(body, 201 if created else 200, headers)


def _unhidden(spoken: _Spoken, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a decision without what is restricted: the answer is kept, and pay is kept in one place only."""
    whole = {**(spoken.held.body if spoken.held else {}), **spoken.values}
    hide = hidden_fields(spoken.kind, whole)
    return {name: HIDDEN if name in hide and value is not None else value for name, value in fields.items()}


# --- the routes ------------------------------------------------------------------------------------------------------


def _routes(kind: str) -> None:
    """Make the routes of one kind."""
    cls = KINDS[kind]
    name, title = plural(kind), cls.__name__
    sources = (list[Source], ...)
    shape: type[BaseModel] = create_model(f"{title}Object", __base__=Envelope, sources=sources, body=(cls, ...))
    items: Any = GenericAlias(list, (shape,))
    page: type[BaseModel] = create_model(f"{title}Page", items=(items, ...), next=(str | None, ...))
    may_read = ["money:read" if kind in MONEY else "objects:read"]
    reader = Annotated[Caller, Security(signed_in, scopes=may_read)]
    writer = Annotated[Caller, Security(signed_in, scopes=["objects:write"])]
    words = kind.replace("_", " ")
    asked = [
        {"name": field, "in": "query", "required": False, "schema": {"type": "string"}, "description": "Equal to this."}
        for field in filters(cls)
    ]
    written = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{title}Said"}}},
    }
    headers = [
        {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string", "maxLength": 200}},
        {"name": "If-Match", "in": "header", "required": False, "schema": {"type": "string"}},
    ]

    @router.get(
        f"/{name}", tags=[name], summary=f"List {name.replace('-', ' ')}", operation_id=f"list_{name.replace('-', '_')}",
        responses={200: {"model": page}}, openapi_extra={"parameters": asked},
    )  # fmt: skip
    def list_all(request: Request, caller: reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
        return _list(request, caller, kind, limit, cursor)

    @router.get(
        f"/{name}/{{id:path}}/history", tags=[name], summary=f"Everything that was said of one {words}",
        operation_id=f"history_of_{kind}", responses={200: {"model": History}},
    )  # fmt: skip
    def history(request: Request, caller: reader, id: str) -> Response:
        return _history(request, caller, kind, id)

    @router.get(
        f"/{name}/{{id:path}}", tags=[name], summary=f"Read one {words} by its identifier or `{{system}}:{{id}}`",
        operation_id=f"get_{kind}", responses={200: {"model": shape}},
    )  # fmt: skip
    def get(request: Request, caller: reader, id: str) -> Response:
        return _one(request, caller, kind, id)

    @router.put(
        f"/{name}/{{id:path}}", tags=[name], summary=f"Say what a role knows of one {words}; governance decides",
        operation_id=f"put_{kind}", responses={200: {"model": Told}, 201: {"model": Told}},
        openapi_extra={"requestBody": written, "parameters": headers},
    )  # fmt: skip
    def put(request: Request, caller: writer, id: str, raw: RawBody, dry_run: DryRun = False) -> Response:
        return _put(request, caller, kind, id, raw, dry_run)


for _kind in KINDS:
    _routes(_kind)

MoneyReader = Annotated[Caller, Security(signed_in, scopes=["money:read"])]


@router.get(
    "/billing-events", tags=["billing-events"], summary="List billing events (priced charges)",
    operation_id="list_billing_events", responses={200: {"model": BillingEventPage}},
    openapi_extra={
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in billing_events.FILTERS
        ]
    },
)  # fmt: skip
def list_billing_events(request: Request, caller: MoneyReader, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Return charges by key; filters are equal to columns."""
    where: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name in _NAMES:
            continue
        if name not in billing_events.FILTERS or name in where:
            raise Problem(
                "bad_request",
                f"there is no filter {name}, or it stands twice; there are {', '.join(billing_events.FILTERS)}",
            )
        where[name] = _typed(name, str, text)
    return _charges(request, where, limit, cursor)


def _charges(request: Request, where: dict[str, Any], limit: int, after: str | None) -> Response:
    place = place_of(request, **where)
    start = parts_of(place, after, 1)[0] if after else ""
    house = house_of(request)
    with house.database.transaction() as tx:
        rows = billing_events.listing(tx, where, after=start, limit=limit + 1)
    page = rows[:limit]
    return answer({"items": page, "next": cursor(place, page[-1]["key"]) if len(rows) > limit else None})


@router.get(
    "/billing-events/{key:path}", tags=["billing-events"], summary="Read one billing event by its key",
    operation_id="get_billing_event", responses={200: {"model": BillingEvent}},
)  # fmt: skip
def get_billing_event(request: Request, caller: MoneyReader, key: str) -> Response:
    """Return one charge with how it was worked out."""
    house = house_of(request)
    with house.database.transaction() as tx:
        row = billing_events.one(tx, key)
    if row is None:
        raise Problem("not_found", "there is no such billing event")
    return answer(row)

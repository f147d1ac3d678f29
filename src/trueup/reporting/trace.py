"""Everything about one record, in all systems and over all time; found by any identifier anybody uses for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trueup import engine
from trueup.model.kinds import KINDS
from trueup.reporting.amounts import Amount, amount_of
from trueup.reporting.disagreements import Proposal, label, proposals
from trueup.reporting.events import told, without_money
from trueup.reporting.evidence import Decision, FieldChange, decisions, labels
from trueup.reporting.sight import masked, taken_out
from trueup.reporting.work import BREAKS, hold_title
from trueup.store import crosswalk, objects
from trueup.store.database import Tx
from trueup.store.objects import Held

MOST = 400
"""Rows of each sort that a timeline shows; the newest ones."""

MOST_RECORDS = 8


@dataclass(frozen=True, slots=True)
class Found:
    """One thing an identifier may mean.

    how   what matched: the system's own identifier, a code, a name …
    link  path of its page
    """

    gid: str | None
    kind: str
    label: str
    name: str
    status: str
    how: str
    link: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What one system calls the record."""

    system: str
    object: str
    external_id: str
    stamp: str
    known_since: datetime


@dataclass(frozen=True, slots=True)
class Field:
    """One field as we hold it, and whose word it is."""

    name: str
    value: Any
    actor: str | None
    system: str | None
    message: int | None
    mapping: str | None
    mapping_version: int | None
    set_at: datetime | None


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened to the record.

    area      message, decision, event, delivery, attempt, hold, move, process or break
    state     a state of the status vocabulary, for the icon
    sentence  what happened
    detail    the cause, the code, the key: what an engineer wants to know
    fields    what a decision was about
    message   number of the message it comes from
    """

    at: datetime
    area: str
    system: str
    state: str
    sentence: str
    detail: str = ""
    fields: tuple[FieldChange, ...] = ()
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One write we asked a system for."""

    key: str
    system: str
    object: str
    purpose: str
    state: str
    dedupe: str
    attempts: int
    external_id: str | None
    code: str | None
    cause: str | None
    mapping: str | None
    mapping_version: int | None
    process: str | None
    body: dict[str, Any] | None
    asked_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Related:
    """Another record that belongs to this one."""

    gid: str
    kind: str
    label: str
    status: str
    how: str


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A reason why the record, or something that belongs to it, may not be billed yet."""

    number: int
    code: str
    title: str
    scope: str
    reason: str
    owner: str
    amount: Amount | None
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class Trace:
    """One record.

    now        sentences about what is open at this moment, the most important first
    shortened  the timeline leaves older rows out
    labels     our identifiers that appear in fields and decisions -> what people call them
    """

    gid: str
    kind: str
    label: str
    name: str
    status: str
    version: int
    legal_entity: str | None
    tombstone: str | None
    now: tuple[str, ...]
    identities: tuple[Identity, ...]
    fields: tuple[Field, ...]
    holds: tuple[OpenHold, ...]
    proposals: tuple[Proposal, ...]
    deliveries: tuple[Delivery, ...]
    related: tuple[Related, ...]
    timeline: tuple[Moment, ...]
    shortened: bool
    labels: dict[str, str]


def trace(tx: Tx, identifier: str, *, cost: bool = False) -> tuple[Trace, ...]:
    """Return what is known about everything an identifier exactly means; empty when it means nothing.

    cost  whether the reader may see what people cost
    """
    gids = list(dict.fromkeys(found.gid for found in _exact(tx, identifier.strip()) if found.gid))
    return tuple(one for one in (record(tx, gid, cost=cost) for gid in gids[:MOST_RECORDS]) if one is not None)


def find(tx: Tx, identifier: str, *, limit: int = 50) -> tuple[Found, ...]:
    """Return what an identifier, code, number, e-mail or name may mean; exact matches shut out similar names."""
    wanted = identifier.strip()
    if not wanted:
        return ()
    exact = _exact(tx, wanted)
    messages = _messages(tx, wanted)
    return tuple([*exact, *messages][:limit]) or tuple(_by_name(tx, wanted, limit))


def _exact(tx: Tx, wanted: str) -> list[Found]:
    how: dict[str, str] = {}
    for link in crosswalk.anything(tx, wanted):
        said = "identifier of the hub" if link.gid == wanted else f"{link.object} of {link.system}"
        if link.system == crosswalk.ANY:
            said = link.object.replace("_", " ")
        elif link.system == "trueup":
            said = "code or number"
        how.setdefault(link.gid, said)
    for row in tx.rows(
        """
        select gid, 'e-mail or number' as how from objects
        where kind in ('customer', 'resource', 'contract') and (
            lower(body ->> 'email') = lower(%(id)s) or lower(body ->> 'billing_email') = lower(%(id)s)
            or body ->> 'worker_number' = %(id)s or body ->> 'customer_number' = %(id)s or body ->> 'po_number' = %(id)s
            or body ->> 'tax_id' = %(id)s)
        union all
        (select gid, 'expense report' from expense_lines where report = %(id)s order by line_number limit 50)
        union all
        (select gid, 'timesheet' from time_entries where sheet = %(id)s order by worked_on, gid limit 50)
        union all
        select gid, 'key of a delivery' from deliveries where key = %(id)s
        union all
        select gid, 'time entry' from time_entries where gid = %(id)s
        union all
        select gid, 'expense' from expense_lines where gid = %(id)s
        """,
        {"id": wanted},
    ):
        how.setdefault(row["gid"], row["how"])
    return _described(tx, how)


def _described(tx: Tx, how: Mapping[str, str]) -> list[Found]:
    held = objects.load(tx, how)
    return [
        Found(gid, one.kind, label(one, gid), _name(one), one.status, how[gid], f"/trace/{gid}")
        for gid, one in ((gid, held[gid]) for gid in how if gid in held)
    ]


def _messages(tx: Tx, wanted: str) -> list[Found]:
    """Return messages by number, and records that never became an object."""
    rows = tx.rows(
        """
        select number, system, object, external_id, state, reason from inbox
        where (external_id = %(id)s and gid is null and state in ('quarantined', 'waiting', 'ignored')) or number = %(number)s
        order by number limit 20
        """,
        {"id": wanted, "number": int(wanted) if wanted.isdigit() and len(wanted) < 18 else -1},
    )
    return [
        Found(
            None,
            "message",
            f"{row['object']} {row['external_id']}",
            row["reason"] or "",
            row["state"],
            f"message {row['number']} of {row['system']}",
            f"/messages/{row['number']}",
        )
        for row in rows
    ]


def _by_name(tx: Tx, wanted: str, limit: int) -> list[Found]:
    pattern = "%" + wanted.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    rows = tx.rows(
        """
        select gid from objects
        where kind in ('customer', 'contract', 'project', 'resource', 'milestone', 'invoice') and tombstone is null
            and (body ->> 'name' ilike %(pattern)s or body ->> 'code' ilike %(pattern)s or body ->> 'number' ilike %(pattern)s)
        order by array_position(array['customer', 'contract', 'project', 'resource', 'milestone', 'invoice'], kind),
            body ->> 'name' limit %(limit)s
        """,
        {"pattern": pattern, "limit": limit},
    )
    return _described(tx, {row["gid"]: "part of its name" for row in rows})


def _name(held: Held) -> str:
    body = held.body
    if held.kind == "time_entry":
        return f"{body['worked_on']}, {body['minutes']} min, {body.get('notes') or body.get('role') or ''}".rstrip(", ")
    if held.kind == "expense_line":
        return ", ".join(part for part in (body["spent_on"], body["category"], body.get("vendor_name")) if part)
    if held.kind == "rate_line":
        return f"{body['role']} from {body['valid_from']}"
    return str(body.get("name") or body.get("email") or "")


def record(tx: Tx, gid: str, *, cost: bool = False, money: bool = True) -> Trace | None:
    """Return everything about one record; None when there is no such record.

    cost, money  whether the reader may see what people cost, and amounts
    """
    held = objects.one(tx, gid)
    if held is None:
        return None
    said = decisions(tx, gids=[gid], cost=cost, money=money)
    writes = _deliveries(tx, held, open_=not taken_out(held.kind, held.body, cost, money) & set(held.body))
    holds = _holds(tx, held)
    kept_apart = proposals(tx, gids=[gid], cost=cost, money=money)
    timeline = [
        *_heard(tx, gid),
        *_decided(said),
        *_told(tx, held, cost, money),
        *_asked(writes),
        *_attempts(tx, gid),
        *_held_and_released(tx, gid),
        *_moved(tx, gid),
        *_ran(tx, gid, {write.process for write in writes if write.process}),
        *_broke(tx, gid, money),
    ]
    timeline.sort(key=lambda moment: (moment.at, _ORDER.get(moment.area, 9)))
    return Trace(
        gid,
        held.kind,
        label(held, gid),
        _name(held),
        held.status,
        held.version,
        held.legal_entity,
        held.tombstone,
        tuple(_now(held, holds, writes, kept_apart)),
        _identities(tx, gid),
        _fields(held, said, masked(held.kind, held.body, cost, money=money)),
        holds,
        kept_apart,
        writes,
        _related(tx, held),
        tuple(timeline[-3 * MOST :]),
        len(timeline) > 3 * MOST or len(said) >= 5000,
        labels(tx, said[-MOST:], held.body.values()),
    )


_ORDER = {"message": 0, "decision": 1, "event": 2, "process": 3, "delivery": 4, "attempt": 5, "hold": 6, "move": 7}


def _now(
    held: Held, holds: Sequence[OpenHold], writes: Sequence[Delivery], kept_apart: Sequence[Proposal]
) -> Iterable[str]:
    if held.tombstone:
        yield f"{held.tombstone} at its source; everything that was decided on it stays"
    kinds: dict[tuple[str, str, str], int] = {}
    for hold in holds:
        kinds[(hold.title, hold.reason, hold.owner)] = kinds.get((hold.title, hold.reason, hold.owner), 0) + 1
    for (title, reason, owner), count in kinds.items():
        times = f" ({count} times)" if count > 1 else ""
        yield f"held{times}, {title[:1].lower()}{title[1:]}: {reason} Owner: {owner}."
    for write in writes:
        if write.state in ("rejected", "parked"):
            yield f"{write.system} {write.object} {write.state}: {write.cause or write.code or 'no cause given'}"
        elif write.state == "unknown":
            yield f"{write.system} {write.object}: silence after the last attempt, the hub looks whether it landed"
        elif write.state == "processing":
            yield f"{write.system} {write.object}: {write.cause or 'accepted as a job'}; the hub asks what became of it"
        elif write.state == "compensated":
            yield f"{write.system} {write.object}: it was taken back there"
        elif write.state in ("planned", "due", "sending", "landed"):
            yield f"{write.system} {write.object} ({write.purpose}) is on its way{': ' + write.cause if write.cause else ''}"
    for proposal in kept_apart[:3]:
        yield f"{proposal.system} says {proposal.field} is {proposal.theirs}, we hold {proposal.ours}: {proposal.sentence}"


def _identities(tx: Tx, gid: str) -> tuple[Identity, ...]:
    rows = tx.rows(
        """
        select system, object, external_id, stamp, created_at as known_since from crosswalk
        where gid = %s and system <> '*' order by created_at, system, object
        """,
        (gid,),
    )
    return tuple(Identity(**row) for row in rows)


def _fields(held: Held, said: Sequence[Decision], shown: Mapping[str, Any]) -> tuple[Field, ...]:
    setters: dict[str, Decision] = {}
    for decision in said:
        if decision.verdict == "accept":
            setters.update({change.field: decision for change in decision.fields})
    found = []
    for name, value in shown.items():
        by = setters.get(name)
        found.append(
            Field(
                name,
                value,
                by.actor if by else None,
                by.system if by else None,
                by.message if by else None,
                by.mapping if by else None,
                by.mapping_version if by else None,
                by.decided_at if by else None,
            )
        )
    return tuple(found)


def _heard(tx: Tx, gid: str) -> list[Moment]:
    rows = tx.rows(
        """
        select number, system, object, external_id, origin, state, reason, duplicates, received_at from inbox
        where gid = %s order by number desc limit %s
        """,
        (gid, MOST),
    )
    return [
        Moment(
            row["received_at"],
            "message",
            row["system"],
            row["state"],
            f"{row['object']} {row['external_id']} received by {row['origin']}",
            "; ".join(
                part
                for part in (
                    row["reason"] or "",
                    f"came {row['duplicates']} more times, kept once" if row["duplicates"] else "",
                )
                if part
            ),
            message=row["number"],
        )
        for row in rows
    ]


def _decided(said: Sequence[Decision]) -> list[Moment]:
    return [
        Moment(
            one.decided_at,
            "decision",
            one.system or "hub",
            one.verdict,
            one.sentence,
            f"{one.mapping} v{one.mapping_version}" if one.mapping else f"by {one.actor}",
            one.fields if one.verdict != "agree" else (),
            one.message,
        )
        for one in said[-MOST:]
    ]


def _told(tx: Tx, held: Held, cost: bool, money: bool) -> list[Moment]:
    rows = tx.rows(
        """
        select number, name, data, message, created_at from events
        where subject = %s and name <> 'delivery.confirmed' order by number desc limit %s
        """,
        (held.gid, MOST),
    )
    return [
        Moment(
            row["created_at"],
            "event",
            "hub",
            "done",
            row["name"],
            ", ".join(f"{name} {value}" for name, value in _data(row, held, cost, money).items()),
            message=row["message"],
        )
        for row in rows
    ]


def _data(row: Mapping[str, Any], held: Held, cost: bool, money: bool) -> dict[str, Any]:
    data = told(row["data"], held, cost)
    return data if money else without_money(row["name"], data)


def _deliveries(tx: Tx, held: Held, open_: bool) -> tuple[Delivery, ...]:
    rows = tx.rows(
        "select * from deliveries where gid = %s order by sequence desc limit %s",
        (held.gid, MOST),
    )
    return tuple(
        Delivery(
            row["key"],
            row["system"],
            row["object"],
            row["purpose"],
            row["state"],
            row["dedupe"],
            row["attempts"],
            row["external_id"],
            row["code"],
            row["cause"],
            row["mapping"],
            row["mapping_version"],
            row["process"],
            row["body"] if open_ else None,
            row["created_at"],
            row["settled_at"],
        )
        for row in reversed(rows)
    )


def _asked(writes: Sequence[Delivery]) -> list[Moment]:
    return [
        Moment(
            write.asked_at,
            "delivery",
            write.system,
            "waiting" if write.attempts == 0 and write.state in ("planned", "due") else write.state,
            f"asked for {write.object} ({write.purpose})",
            "; ".join(
                part
                for part in (
                    write.process or "",
                    f"{write.mapping} v{write.mapping_version}" if write.mapping else "",
                    write.cause or "",
                )
                if part
            ),
        )
        for write in writes
    ]


def _attempts(tx: Tx, gid: str) -> list[Moment]:
    rows = tx.rows(
        """
        select d.system, d.object, d.external_id, a.attempt, a.action, a.outcome, a.detail, a.took_ms, a.created_at
        from delivery_attempts a join deliveries d on d.key = a.key where d.gid = %s order by a.created_at desc limit %s
        """,
        (gid, MOST),
    )
    words = {
        "send": "sent",
        "find": "looked whether it is there",
        "wait": "waited",
        "ask": "asked after the job",
        "read": "read it again",
    }
    return [
        Moment(
            row["created_at"],
            "attempt",
            row["system"],
            row["outcome"],
            f"{words[row['action']]}, attempt {row['attempt']}: {row['object']} {row['external_id'] or ''} {row['outcome']}",
            "; ".join(
                part
                for part in (row["detail"] or "", f"{row['took_ms']} ms" if row["took_ms"] is not None else "")
                if part
            ),
        )
        for row in rows
    ]


def _holds(tx: Tx, held: Held) -> tuple[OpenHold, ...]:
    rows = tx.rows(
        """
        select number, code, scope, scope_kind, reason, owner, amount, currency, opened_at from holds
        where released_at is null and (scope = %(gid)s or project = %(gid)s or contract = %(gid)s)
        order by (scope = %(gid)s) desc, amount desc, number limit 200
        """,
        {"gid": held.gid},
    )
    return tuple(
        OpenHold(
            row["number"],
            row["code"],
            hold_title(row["code"], deal=row["scope_kind"] == "contract"),
            row["scope"],
            row["reason"],
            row["owner"],
            amount_of(row["amount"], row["currency"]) if row["currency"] else None,
            row["opened_at"],
        )
        for row in rows
    )


def _held_and_released(tx: Tx, gid: str) -> list[Moment]:
    rows = tx.rows("select * from holds where scope = %s order by number limit %s", (gid, MOST))
    found = []
    for row in rows:
        found.append(
            Moment(row["opened_at"], "hold", "hub", "held", f"{hold_title(row['code'])}: {row['reason']}", row["owner"])
        )
        if row["released_at"]:
            said = f"released by {row['released_by']}: {row['release_reason']}"
            found.append(Moment(row["released_at"], "hold", "hub", "done", f"{hold_title(row['code'])} {said}"))
    return found


def _moved(tx: Tx, gid: str) -> list[Moment]:
    rows = tx.rows("select * from moves where fact = %s order by number limit %s", (gid, MOST))
    return [
        Moment(
            row["created_at"],
            "move",
            "hub",
            "held" if row["to_bucket"] in ("held", "over_cap") else "done",
            f"{row['from_bucket'].replace('_', ' ')} → {row['to_bucket'].replace('_', ' ')}"
            + (f", {row['quantity']} min" if row["unit"] == "minute" else ""),
            row["reason"],
        )
        for row in rows
    ]


def _ran(tx: Tx, gid: str, named: set[str]) -> list[Moment]:
    found = []
    for row in engine.listing(tx, 5000):
        if row["process"] not in named and gid not in row["process"]:
            continue
        steps = engine.steps(tx, row["process"])
        done = ", ".join(f"{step['step']} {'failed' if step['failed'] else 'done'}" for step in steps)
        found.append(Moment(row["started_at"], "process", "hub", row["status"], row["process"], done))
    return found


def _broke(tx: Tx, gid: str, money: bool) -> list[Moment]:
    rows = tx.rows("select * from breaks where gid = %s order by number", (gid,))
    found = []
    for row in rows:
        said = row["sentence"] if money else BREAKS.get(row["class"]) or str(row["class"])
        found.append(Moment(row["opened_at"], "break", row["system"], "differs", said, row["repair"]))
        if row["closed_at"]:
            found.append(Moment(row["closed_at"], "break", row["system"], "done", "agrees again"))
    return found


def _related(tx: Tx, held: Held) -> tuple[Related, ...]:
    how = {str(held.body[name]): name.replace("_", " ") for name in KINDS[held.kind].references if held.body.get(name)}
    for row in tx.rows(
        """
        (select gid, 'belongs to it' as how from objects
        where tombstone is null and kind in ('project', 'milestone', 'invoice', 'payment', 'contract', 'rate_line',
                'assignment', 'revenue_schedule')
            and (body ->> 'contract' = %(gid)s or body ->> 'project' = %(gid)s or body ->> 'customer' = %(gid)s
                or body ->> 'corrects' = %(gid)s or body ->> 'resource' = %(gid)s)
        order by array_position(array['contract', 'project', 'invoice', 'milestone', 'payment', 'rate_line', 'assignment'], kind)
                nulls last, body ->> 'code', gid limit 120)
        union all
        select distinct a.document, 'stands on it' from allocations a join charges c on c.key = a.charge where c.fact = %(gid)s
        union all
        select gid, 'amends it' from objects
        where kind = 'contract' and %(code)s <> '' and body ->> 'amends' = %(code)s and tombstone is null
        union all
        select gid, 'amended by it' from objects
        where kind = 'contract' and %(amends)s <> '' and body ->> 'code' = %(amends)s and tombstone is null
        """,
        {
            "gid": held.gid,
            "code": (held.body.get("code") or "") if held.kind == "contract" else "",
            "amends": held.body.get("amends") or "",
        },
    ):
        how.setdefault(row["gid"], row["how"])
    how.pop(held.gid, None)
    found = objects.load(tx, how)
    people = objects.load(tx, {one.body["resource"] for one in found.values() if one.kind == "assignment"})
    return tuple(
        Related(
            gid,
            one.kind,
            _called(one, people),
            one.status,
            how[gid],
        )
        for gid, one in ((gid, found[gid]) for gid in how if gid in found)
    )


def _called(held: Held, people: Mapping[str, Held]) -> str:
    known, name = label(held, held.gid), _name(held)
    if held.kind == "assignment":
        person = people.get(held.body["resource"])
        return f"{person.body['name'] if person else known}, {held.body.get('role') or 'no role'}"
    if held.kind in ("invoice", "payment", "rate_line") or name == known:
        return name if held.kind == "rate_line" else known
    return f"{known} {name}".strip()

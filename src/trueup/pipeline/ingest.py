"""Kept messages become canonical objects: translate, decide, store, in one transaction for a whole batch.

Nothing leaves this room while the transaction is open. A message that cannot be used is quarantined with its
problems, one that points to something unknown waits for it; both stay visible and are never lost.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from trueup.governance.decide import Decision, Outcome, decide
from trueup.kernel.errors import Broken, Trouble
from trueup.kernel.ids import derive, kind_of
from trueup.kernel.problems import Problem
from trueup.kernel.strict_json import read
from trueup.mapping.file import MappingFile
from trueup.mapping.translate import Translation, translate
from trueup.mapping.verbs import Ref
from trueup.model.canonical import Canonical
from trueup.model.kinds import KINDS
from trueup.pipeline.announce import approvals, events_of
from trueup.pipeline.house import House
from trueup.pipeline.quantities import recount
from trueup.pipeline.sweep import MARK
from trueup.store import changes, crosswalk, holds, inbox, objects
from trueup.store.changes import Change, Event
from trueup.store.crosswalk import Key, Link
from trueup.store.database import Tx
from trueup.store.holds import Hold
from trueup.store.inbox import Message, Settlement
from trueup.store.objects import Held

BATCH = 1000
VANISHED = "RECORD_VANISHED"
_DIGITS = re.compile(r"\d+")
_ADAPTERS: dict[tuple[str, str], TypeAdapter[Any]] = {}


@dataclass(slots=True)
class Word:
    """What one message (or one row of it) says about one object; `key` is its system's own name for it."""

    message: Message
    mapping: MappingFile | None
    said: Translation
    kind: str
    role: str
    gid: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    heard: str = ""
    derived: bool = False
    key: Key = field(init=False)

    def __post_init__(self) -> None:
        by_row = self.mapping is not None and self.mapping.rows is not None
        self.key = self.message.system, self.kind if by_row else self.message.object, self.said.external_id


@dataclass(slots=True)
class Batch:
    """Everything one transaction writes.

    buried     gid -> the system whose deletion put it under a tombstone: it alone can bring it back
    buried_as  gid -> the tombstone that was taken away
    """

    held: dict[str, Held] = field(default_factory=dict)
    before: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    buried: dict[str, str] = field(default_factory=dict)
    buried_as: dict[str, str] = field(default_factory=dict)
    touched: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    newest: dict[Key, str] = field(default_factory=dict)
    proposals: list[tuple[str, str, str, Any, str, int | None]] = field(default_factory=list)
    agreed: dict[tuple[str, str, str], None] = field(default_factory=dict)
    approved: list[tuple[str, str, int, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    settled: dict[int, Settlement] = field(default_factory=dict)


def ingest(house: House, lane: inbox.Lane, limit: int = BATCH) -> int:
    """Work on one batch of open messages; return how many were settled."""
    numbers: list[int] = []
    try:
        with house.database.transaction() as tx:
            messages = inbox.claim(tx, lane, limit)
            numbers = [message.number for message in messages]
            if messages:
                ingest_batch(tx, house, messages)
            return len(messages)
    except Trouble:
        raise
    except Exception:  # one of them is poison: find it, so that the others are not held up
        for number in numbers:
            _alone(house, number)
        return len(numbers)


def _alone(house: House, number: int) -> None:
    """Work on one message by itself; what breaks us is quarantined with the name of the fault."""
    try:
        with house.database.transaction() as tx:
            rows = tx.rows(
                """
                select number, system, object, external_id, stamp, body, deleted, attempts from inbox
                where number = %s and state = 'pending' for update skip locked
                """,
                (number,),
            )
            ingest_batch(tx, house, [Message(**row) for row in rows])
    except Trouble:
        raise
    except Exception as fault:
        with house.database.transaction() as tx:
            reason = f"could not be taken in ({type(fault).__name__}: {str(fault)[:300]}); this is a fault of the hub"
            inbox.settle(tx, [Settlement(number, "quarantined", reason, problems=[])])


def ingest_batch(tx: Tx, house: House, messages: Sequence[Message]) -> None:
    """Translate, decide and store a batch inside the caller's transaction."""
    batch = Batch()
    words = [word for message in messages for word in _read(house, message, batch)]
    words = _identify(tx, house, words, batch)
    _load(tx, words, batch)
    queue = list(words)
    for word in queue:
        implied = _judge(tx, house, word, batch)
        if implied:
            _load(tx, implied, batch)
            queue.extend(implied)
    _write(tx, house, batch)


def _read(house: House, message: Message, batch: Batch) -> list[Word]:
    """Parse and translate one message; settles it at once when nothing can be made of it."""
    mapping = house.inward.get((message.system, message.object))
    role = house.systems[message.system].role if message.system in house.systems else ""
    if mapping is None:
        _quarantine(batch, message, None, [Problem("object", "no_mapping", f"no mapping reads {message.object}")])
        return []
    if message.deleted:
        gone = Translation(message.external_id, message.stamp, None, (), {}, ())
        return [Word(message, mapping, gone, mapping.kind, role)]
    try:
        record = read(message.body)
    except (ValueError, ArithmeticError) as wrong:
        _quarantine(batch, message, mapping, [Problem("record", "not_json", str(wrong))])
        return []
    said = translate(mapping, record)
    problems = [problem for one in said for problem in one.problems]
    if problems:
        _quarantine(batch, message, mapping, problems)
        return []
    ignored = [one.ignored for one in said if one.ignored]
    if ignored and len(ignored) == len(said):
        why = next(rule.why for rule in mapping.text.ignore if rule.rule == ignored[0])
        batch.settled[message.number] = Settlement(
            message.number, "ignored", why, ignored[0], mapping=mapping.name, mapping_version=mapping.version
        )
        return []
    if not said:
        _applied(batch, message, mapping, None, "holds no rows")
    return [Word(message, mapping, one, mapping.kind, role) for one in said if not one.ignored]


def _identify(tx: Tx, house: House, words: list[Word], batch: Batch) -> list[Word]:
    """Find out which object each word is about, and what its references point to; put down those that must wait."""
    links = crosswalk.find(tx, _keys(words))
    matches = _matches(tx, words, links)
    own = {word.said.own for word in words if word.said.own and kind_of(word.said.own) == word.kind}
    ours = set(objects.load(tx, [gid for gid in own if gid]))
    made: dict[Key, str] = {}
    ready = []
    for word in words:
        if word.message.number in batch.settled:
            continue
        link = links.get(word.key)
        if link is not None:
            word.gid, word.heard = link.gid, link.stamp
        elif word.said.own in ours:
            word.gid = str(word.said.own)
        elif (found := matches.get((word.kind, *word.said.match[0])) if word.said.match else None) is not None:
            word.gid = found
        elif word.message.deleted and word.key in made:
            word.gid = made[word.key]
        elif word.message.deleted:
            _applied(batch, word.message, word.mapping, None, "gone before we knew it")
            continue
        elif word.said.match and not house.ownership.may_create(word.kind, word.role):
            name, value = word.said.match[0]
            _wait(batch, word, [f"{crosswalk.ANY}/{KINDS[word.kind].aliases.get(name, name)}/{value}"])
            continue
        else:
            if word.key not in made:
                made[word.key] = derive(word.kind, *word.key)
            word.gid = made[word.key]
        missing: list[str] = []
        word.values = _resolve(word.said.values, word.message.system, links, missing)
        if missing:
            _wait(batch, word, missing)
            continue
        ready.append(word)
    waiting = {number for number, settled in batch.settled.items() if settled.state == "waiting"}
    return [word for word in ready if word.message.number not in waiting]


def _keys(words: Iterable[Word]) -> set[Key]:
    """Return every key the words are about or point to."""
    keys: set[Key] = set()
    for word in words:
        keys.add(word.key)
        keys.update((word.message.system, *ref) for ref in _refs(word.said.values))
    return keys


def _refs(value: Any) -> list[Ref]:
    if isinstance(value, Ref):
        return [value]
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [ref for item in items if type(item) not in _SIMPLE for ref in _refs(item)]
    return []


_SIMPLE = frozenset({str, int, bool, type(None), Decimal, date, datetime})
"""Types of values that can hold no reference."""


def _resolve(value: Any, system: str, links: dict[Key, Link], missing: list[str]) -> Any:
    """Replace references by our identifiers; note those nobody knows yet."""
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, Ref):
        link = links.get((system, value.object, value.external_id))
        if link is None:
            missing += [f"{one}/{value.object}/{value.external_id}" for one in (system, crosswalk.ANY)]
            return None
        return link.gid
    if isinstance(value, dict):
        return {key: _resolve(item, system, links, missing) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, system, links, missing) for item in value]
    return value


def _matches(tx: Tx, words: list[Word], links: dict[Key, Link]) -> dict[tuple[str, str, Any], str]:
    """Look up objects by the declared match keys, for words the crosswalk does not know."""
    wanted: dict[tuple[str, str], set[Any]] = {}
    for word in words:
        if word.said.match and word.key not in links:
            name, value = word.said.match[0]
            wanted.setdefault((word.kind, name), set()).add(value)
    found: dict[tuple[str, str, Any], str] = {}
    for (kind, name), values in wanted.items():
        for value, gid in objects.by_field(tx, kind, name, values).items():
            found[(kind, name, value)] = gid
    return found


def _load(tx: Tx, words: Sequence[Word], batch: Batch) -> None:
    """Load and lock the objects the words are about, and the projects that say which legal entity they belong to."""
    wanted = {word.gid for word in words if word.gid not in batch.held}
    found = objects.load(tx, wanted, lock=True)
    batch.held.update(found)
    batch.buried.update(
        changes.buried_by(tx, [gid for gid, held in found.items() if held.tombstone in ("deleted", "hidden")])
    )
    parents = {str(word.values[name]) for word in words for name in ("project", "contract") if word.values.get(name)}
    batch.held.update(objects.load(tx, parents - set(batch.held)))


def _judge(tx: Tx, house: House, word: Word, batch: Batch) -> list[Word]:
    """Decide on one word and note what follows; returns words it implies about other objects."""
    message, held = word.message, batch.held.get(word.gid)
    heard = max(word.heard, batch.newest.get(word.key, ""))
    if message.deleted:
        _bury(tx, word, held, heard, batch)
        return []
    values, problems = _normal(word.kind, word.values)
    if problems:
        _quarantine(batch, message, word.mapping, problems)
        return []
    fields = held.body if held is not None else None
    outcome = decide(house.ownership, word.kind, word.role, values, fields, stamp=message.stamp, heard=heard)
    if held is None and not outcome.accepted:
        sentence = outcome.decisions[0].sentence
        _quarantine(batch, message, word.mapping, [Problem("record", "may_not_create", sentence)])
        return []
    late = all(decision.verdict == "late" for decision in outcome.decisions) and bool(outcome.decisions)
    back = not late and held is not None and batch.buried.get(word.gid) == message.system
    problems = _apply(word, held, outcome, batch, back=back)
    if problems:
        _quarantine(batch, message, word.mapping, problems)
        return []
    _note(word, outcome, fields or {}, batch, back=back)
    if back:
        lost = [hold["number"] for hold in holds.open_of(tx, scopes=[word.gid], codes=[VANISHED])]
        holds.release(tx, lost, message.system, "the system has the record again")
    if late:
        _superseded(batch, word, outcome.decisions[0].sentence)
        return []
    if not word.derived:
        _applied(batch, message, word.mapping, word.gid, None)
    return _implied(word, batch)


def _normal(kind: str, values: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Check each value against its field's type and write it the one way we store it."""
    cls = KINDS[kind]
    try:
        checked = _partial(kind).model_validate(values).model_dump(mode="json", include=set(values))
    except ValidationError:
        normal, problems = _one_by_one(cls, values)
    else:
        normal, problems = {name: checked[name] for name in values}, list[Problem]()
    status = normal.get("status")
    if status is not None and status not in cls.lifecycle.statuses:
        problems.append(Problem("status", "unknown_status", f"{status!r} is no status of a {kind}"))
    return normal, problems


@cache
def _partial(kind: str) -> type[BaseModel]:
    """Return a model of the kind's fields that any of them may be absent from: a record rarely says everything."""
    fields: dict[str, Any] = {
        name: (info.rebuild_annotation(), None) for name, info in KINDS[kind].model_fields.items()
    }
    return create_model(f"Partial_{kind}", __config__=ConfigDict(extra="forbid"), **fields)


def _one_by_one(cls: type[Canonical], values: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Check values each by itself, so that every one that is wrong is named."""
    normal: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.items():
        if name not in cls.model_fields:
            problems.append(Problem(name, "unknown_field", f"a {cls.kind} has no field {name}; fix the mapping"))
            continue
        adapter = _ADAPTERS.get((cls.kind, name))
        if adapter is None:
            info = cls.model_fields[name]
            adapter = _ADAPTERS[(cls.kind, name)] = TypeAdapter(info.rebuild_annotation())
        try:
            normal[name] = adapter.dump_python(adapter.validate_python(value), mode="json")
        except ValidationError as wrong:
            first = wrong.errors()[0]
            problems.append(Problem(name, "invalid", f"{value!r}: {first['msg']}"))
    return normal, problems


def _apply(word: Word, held: Held | None, outcome: Outcome, batch: Batch, *, back: bool) -> list[Problem]:
    """Put accepted values into the object in memory.

    back  the system that had deleted the record has it again
    """
    if not outcome.accepted and not back:
        return []
    cls = KINDS[word.kind]
    body = {**(held.body if held else {}), **outcome.accepted}
    try:
        whole = cls.model_validate(body).model_dump(mode="json")
    except ValidationError as wrong:
        return [Problem(".".join(str(part) for part in e["loc"]), "invalid", e["msg"]) for e in wrong.errors()]
    if held is None:
        held = Held(word.gid, word.kind, 0, {}, fresh=True, source_order=_order(word.said.external_id))
        batch.held[word.gid] = held
        batch.before[word.gid] = None
    elif word.gid not in batch.before:
        batch.before[word.gid] = dict(held.body)
    if KINDS[word.kind].volume and whole["status"] == "approved" and held.body.get("status") != "approved":
        sheet = whole.get("sheet") or whole.get("report") or word.gid
        batch.approved.append((word.kind, sheet, word.message.number, f"{word.gid}/{held.version + 1}"))
    held.body = whole
    held.version += 1
    if back:
        batch.buried_as[word.gid] = str(held.tombstone)
        held.tombstone = None
        batch.buried.pop(word.gid)
    held.legal_entity = _entity(whole, batch)
    batch.touched[word.gid] = word.message.number
    return []


def _order(external_id: str) -> int:
    """Return a number that sorts as the vendor's identifiers do: their digits, the last group padded."""
    groups = _DIGITS.findall(external_id)
    text = "".join([*groups[:-1], groups[-1].zfill(4)]) if len(groups) > 1 else "".join(groups)
    return int(text[-18:] or 0)


def _entity(body: dict[str, Any], batch: Batch) -> str | None:
    if body.get("legal_entity"):
        return str(body["legal_entity"])
    parent = batch.held.get(str(body.get("project") or body.get("contract") or ""))
    return parent.legal_entity if parent else None


def _note(word: Word, outcome: Outcome, before: Mapping[str, Any], batch: Batch, *, back: bool) -> None:
    """Write down the decisions, the link and the proposals.

    before  the object's fields before this word
    """
    message = word.message
    gone = batch.buried_as.get(word.gid, "deleted")
    again = {
        "verdict": "accept",
        "sentence": f"{message.system} has the record again",
        "fields": {"tombstone": [gone, None]},
    }
    batch.changes.append(
        Change(
            word.gid,
            word.kind,
            batch.held[word.gid].version,
            word.role,
            [*([again] if back else []), *(_shown(decision, before) for decision in outcome.decisions)],
            message.number or None,
            message.system,
            word.mapping.name if word.mapping else None,
            word.mapping.version if word.mapping else None,
            word.mapping.digest if word.mapping else None,
        )
    )
    for decision in outcome.decisions:
        for name, value in decision.fields.items():
            if decision.verdict in ("propose", "hold"):
                batch.proposals.append((word.gid, name, message.system, value, decision.sentence, message.number))
                batch.agreed.pop((word.gid, name, message.system), None)  # that was before: it disagrees now
            elif decision.verdict == "agree":
                batch.agreed[(word.gid, name, message.system)] = None
    if message.number and not word.derived:
        _hear(word, batch)
    for name, alias in KINDS[word.kind].aliases.items():
        value = batch.held[word.gid].body.get(name)
        if value:
            batch.links.append(Link(crosswalk.ANY, alias, str(value), word.gid))


def _hear(word: Word, batch: Batch) -> None:
    """Remember the newest stamp of the record, whatever the order in which its words come."""
    batch.newest[word.key] = max(word.message.stamp, batch.newest.get(word.key, ""))
    batch.links.append(Link(*word.key, word.gid, batch.newest[word.key]))


def _shown(decision: Decision, before: Mapping[str, Any]) -> dict[str, Any]:
    if decision.verdict == "agree":
        return {"verdict": "agree", "sentence": decision.sentence, "fields": sorted(decision.fields)}
    fields = {name: [before.get(name), value] for name, value in decision.fields.items()}
    return {"verdict": decision.verdict, "sentence": decision.sentence, "fields": fields}


def _implied(word: Word, batch: Batch) -> list[Word]:
    """A milestone's task that is done completes the milestone, in the same system's voice."""
    held = batch.held[word.gid]
    if word.kind != "task" or held.body.get("task_type") != "milestone" or not held.body.get("milestone"):
        return []
    if held.status != "done" or not held.body.get("completed_on"):
        return []
    values = {"status": "completed", "completed_on": held.body["completed_on"]}
    said = Translation(word.said.external_id, word.said.stamp, None, (), {}, ())
    return [
        Word(word.message, word.mapping, said, "milestone", word.role, held.body["milestone"], values, derived=True)
    ]


def _bury(tx: Tx, word: Word, held: Held | None, heard: str, batch: Batch) -> None:
    """A record is gone at its system: mark the object, keep everything; what was billed stays billed.

    heard  the newest stamp of the record so far: a deletion older than that came before the record was there again

    The vendor's own word is that it was deleted. A sweep's word says how it is gone and how we know: one that was put
    away stays what it was, and one that may only be hidden is for a person to look at.
    """
    if word.message.stamp and heard and word.message.stamp < heard:
        _superseded(batch, word, f"late: we hold {word.role}'s word of {heard}")
        return
    _hear(word, batch)
    system, (gone, how) = word.message.system, _vanishing(word.message)
    if held is not None and gone == "archived":
        sentence = f"{system} has put the record away; it counts as before: {how}"
        batch.changes.append(_said(word, held.version, [{"verdict": "agree", "sentence": sentence, "fields": []}]))
    elif held is not None and (held.tombstone is None or (held.tombstone, gone) == ("hidden", "deleted")):
        batch.before.setdefault(word.gid, dict(held.body))
        before, held.tombstone = held.tombstone, gone
        batch.buried[word.gid] = system
        held.version += 1
        batch.touched[word.gid] = word.message.number
        sentence = f"{system} {'deleted' if gone == 'deleted' else 'does not show'} the record; nothing that was billed changes"
        sentence += f": {how}" if how else ""
        decisions = [{"verdict": "accept", "sentence": sentence, "fields": {"tombstone": [before, gone]}}]
        batch.changes.append(_said(word, held.version, decisions))
        batch.events.append(
            Event(
                f"object.deleted/{word.gid}/{held.version}", "object.deleted", word.gid, word.kind,
                {"reason": system}, word.message.number,
            )
        )  # fmt: skip
        _never_silently(tx, word, held, gone, how)
    reason = {"deleted": "deleted at its system", "hidden": "out of sight at its system", "archived": "put away"}[gone]
    _applied(batch, word.message, word.mapping, word.gid, reason)


def _vanishing(message: Message) -> tuple[str, str]:
    """Return how a record is gone and how we know: a sweep says it in its own words, a vendor only that it is."""
    try:
        said = read(message.body) if MARK.encode() in message.body else None
    except (ValueError, ArithmeticError):
        said = None
    if not isinstance(said, dict) or said.get(MARK) not in ("deleted", "hidden", "archived"):
        return "deleted", ""
    return str(said[MARK]), str(said.get("how", ""))


def _said(word: Word, version: int, decisions: list[dict[str, Any]]) -> Change:
    mapping = word.mapping
    return Change(
        word.gid, word.kind, version, word.role, decisions, word.message.number, word.message.system,
        mapping.name if mapping else None, mapping.version if mapping else None, mapping.digest if mapping else None,
    )  # fmt: skip


def _never_silently(tx: Tx, word: Word, held: Held, gone: str, how: str) -> None:
    """Open a hold for a fact that was billed, or that may only be hidden and would otherwise leave the bill unseen."""
    if not KINDS[held.kind].volume and held.kind != "milestone":
        return
    billed = tx.rows(
        "select currency, sum(amount)::bigint as amount from charges where fact = %s and document is not null group by currency",
        (word.gid,),
    )
    if not billed and gone != "hidden":
        return
    system = word.message.system
    was = "It was billed." if billed else "It is not billed while it is out of sight."
    holds.place(
        tx,
        [
            Hold(
                VANISHED, word.gid, held.kind, "Finance operations",
                f"{system} {'deleted' if gone == 'deleted' else 'does not show'} {word.message.external_id}. {was} {how}".strip(),
                "the record is there again, or a person releases it: credit what was billed, or agree that it stays",
                amount=sum(row["amount"] for row in billed), currency=billed[0]["currency"] if len(billed) == 1 else None,
                project=held.body.get("project"), legal_entity=held.legal_entity,
            )
        ],
    )  # fmt: skip


def _superseded(batch: Batch, word: Word, sentence: str) -> None:
    mapping = word.mapping
    batch.settled[word.message.number] = Settlement(
        word.message.number,
        "superseded",
        sentence,
        gid=word.gid,
        mapping=mapping.name if mapping else None,
        mapping_version=mapping.version if mapping else None,
    )


def _quarantine(batch: Batch, message: Message, mapping: MappingFile | None, problems: Sequence[Problem]) -> None:
    listed = [{"field": p.field, "code": p.code, "message": p.message} for p in problems]
    reason = "; ".join(f"{p.field}: {p.message}" for p in problems)[:1000]
    batch.settled[message.number] = Settlement(
        message.number, "quarantined", reason, problems=listed, mapping=mapping.name if mapping else None,
        mapping_version=mapping.version if mapping else None,
    )  # fmt: skip


def _wait(batch: Batch, word: Word, missing: list[str]) -> None:
    number = word.message.number
    before = batch.settled.get(number)
    keys = sorted({*missing, *(before.waits_for or [] if before else [])})
    named = sorted({key.partition("/")[2] for key in keys})
    reason = f"waits for {', '.join(named[:5])}: not known yet; it goes on by itself when that arrives"
    mapping = word.mapping
    batch.settled[number] = Settlement(
        number,
        "waiting",
        reason,
        waits_for=keys,
        mapping=mapping.name if mapping else None,
        mapping_version=mapping.version if mapping else None,
    )


def _applied(batch: Batch, message: Message, mapping: MappingFile | None, gid: str | None, reason: str | None) -> None:
    earlier = batch.settled.get(message.number)
    if message.number and (earlier is None or earlier.state in ("applied", "superseded")):
        batch.settled[message.number] = Settlement(
            message.number,
            "applied",
            reason,
            gid=gid,
            mapping=mapping.name if mapping else None,
            mapping_version=mapping.version if mapping else None,
        )


def author(
    tx: Tx, house: House, items: Sequence[tuple[str, str, dict[str, Any]]], *, role: str = "hub", actor: str
) -> dict[str, Held]:
    """Speak in our own voice, under the same law as everybody: create or change objects the hub owns.

    items  (kind, gid, values) in the order they should exist
    role   whose right is used: `hub`, or the role a person at the API acts for
    actor  the process or person, kept with the change

    Raises    Broken when the values are not valid or the hub does not own them: that is our fault, never data's.
    """
    batch = Batch()
    empty = Translation("", "", None, (), {}, ())
    words = [
        Word(Message(0, actor, kind, gid, "", b"", False, 0), None, empty, kind, role, gid, dict(values), derived=True)
        for kind, gid, values in items
    ]
    _load(tx, words, batch)
    for word in words:
        _judge(tx, house, word, batch)
        problem = batch.settled.pop(0, None)
        if problem is not None and problem.state == "quarantined":
            raise Broken(f"{actor} may not write {word.kind} {word.gid}: {problem.reason}")
    for gid, name, _, value, sentence, _ in batch.proposals:
        raise Broken(f"{actor} may not set {name} of {gid} to {value!r}: {sentence}")
    _write(tx, house, batch)
    return {word.gid: batch.held[word.gid] for word in words if word.gid in batch.held}


def _write(tx: Tx, house: House, batch: Batch) -> None:
    """Store everything the batch decided, tell the events, wake who waited, and let listeners act."""
    touched = [batch.held[gid] for gid in batch.touched]
    objects.save(tx, touched)
    recount(tx, [held for held in touched if KINDS[held.kind].volume])
    changes.write(tx, batch.changes, house.edition)
    crosswalk.put(tx, batch.links)
    changes.propose(tx, batch.proposals)
    changes.settle_proposals(tx, list(batch.agreed))
    told = list(batch.events) + approvals(batch.approved)
    for gid, number in batch.touched.items():
        held = batch.held[gid]
        told += events_of(gid, held.kind, held.version, batch.before.get(gid), held.body, number)
    fresh = changes.tell(tx, told)
    inbox.settle(tx, [settled for number, settled in batch.settled.items() if number])
    inbox.overtake(tx, [number for number in batch.settled if number])
    inbox.wake(tx, [f"{link.system}/{link.object}/{link.external_id}" for link in batch.links])
    house.react(tx, fresh)

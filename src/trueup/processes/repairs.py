"""What would end a break: the record taken in again where its system owns the value, our value sent where it does not.

A repair is a plan: it says what it would do and changes nothing; applying does what was shown, or stops when the break
or the record is another one by now. What no rule may decide (posted documents, records that vanished at their owner) is
left to a person, in a sentence.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trueup.connectors.sdk.wire import Record
from trueup.governance.ownership import NOBODY
from trueup.kernel.errors import Held
from trueup.kernel.strict_json import digest
from trueup.pipeline.house import House
from trueup.pipeline.receive import arrivals
from trueup.store import deliveries, inbox, objects, tie_outs
from trueup.store.database import Tx
from trueup.store.deliveries import Command

BOOKED = frozenset({"posted", "part_paid", "paid", "credited", "voided", "applied", "matched"})
"""Statuses after which a document is corrected by another document, never by writing over it."""
MONEY_DOCUMENTS = frozenset({"invoice", "payment", "journal_reference"})
OPEN = frozenset({"planned", "due", "sending", "unknown"})


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a repair.

    does       take_in: read the record there again and judge it; judge_again: judge a message we have; send: write our
               value there; wait: it is under way already; person: no rule may decide
    after      what the field will hold on both sides; None when only the judging will tell
    message    number of the message to judge again
    command    what will be asked of the system
    """

    does: Literal["take_in", "judge_again", "send", "wait", "person"]
    system: str
    object: str
    external_id: str
    gid: str | None
    sentence: str
    field: str | None = None
    ours: str | None = None
    theirs: str | None = None
    after: str | None = None
    message: int | None = None
    command: Command | None = None


@dataclass(frozen=True, slots=True)
class Repair:
    """A break's repair as it would be done now.

    digest  of everything above it: applying asks for it, and stops when it is another one
    """

    number: int
    sentence: str
    amount: int
    currency: str | None
    actions: tuple[Action, ...]
    digest: str

    @property
    def possible(self) -> bool:
        """Say whether applying would do anything."""
        return any(one.does in ("take_in", "judge_again", "send") for one in self.actions)


def repair(tx: Tx, house: House, number: int) -> Repair:
    """Return what would end a break; reads only.

    Raises    Held when there is no such open break.
    """
    found = tie_outs.break_of(tx, number)
    if found is None or found["closed_at"] is not None:
        raise Held(f"break {number} is not open: the systems agree there by now", "NO_SUCH_BREAK")
    system = house.systems.get(found["system"])
    if system is None:
        raise Held(f"{found['system']} is not connected any more", "UNKNOWN_SYSTEM")
    held = objects.one(tx, found["gid"]) if found["gid"] else None
    action = _action(tx, house, found, held)
    shown = asdict(action)
    mark = digest(
        {
            "break": number,
            "class": found["class"],
            "ours": found["ours"],
            "theirs": found["theirs"],
            "version": held.version if held else 0,
            "action": {name: value for name, value in shown.items() if name != "command"},
            "command": shown["command"] and {**shown["command"], "depends_on": list(shown["command"]["depends_on"])},
        }
    )
    return Repair(number, found["sentence"], found["amount"], found["currency"], (action,), mark)


def apply(house: House, number: int, mark: str, by: str) -> dict[str, Any]:
    """Do what was shown, or stop.

    mark      the digest of the repair that was shown
    Returns   number, done (take_in, judge_again or send), message or key
    Raises    Held when the repair is another one now, or a person has to decide; Busy when the system is away.
    """
    with house.database.transaction() as tx:
        plan = _still(tx, house, number, mark)
    action = plan.actions[0]
    records: list[Record] = []
    if action.does == "take_in":
        records = house.systems[action.system].client.fetch(action.object, [action.external_id])
        if not records:
            raise Held(f"{action.system} does not have {action.external_id} any more: compare again", "GONE")
    with house.database.transaction() as tx:
        tie_outs.break_of(tx, number, lock=True)
        _still(tx, house, number, mark)
        done = _do(tx, house, action, records)
        tie_outs.note(tx, number, "repaired", by, action.sentence)
    return {"number": number, "done": action.does, **done}


def _still(tx: Tx, house: House, number: int, mark: str) -> Repair:
    plan = repair(tx, house, number)
    if plan.digest != mark:
        raise Held("the break is another one than was shown: look at its repair again", "CHANGED")
    if not plan.possible:
        raise Held(plan.actions[0].sentence, "NEEDS_A_PERSON")
    return plan


def _do(tx: Tx, house: House, action: Action, records: list[Record]) -> dict[str, Any]:
    if action.does == "send":
        assert action.command is not None
        # What we wrote last would make the same value look delivered; a record that is gone has no id to write to.
        if action.theirs is None:
            tie_outs.unlink(tx, action.system, action.object, action.external_id)
        else:
            tie_outs.forget_written(tx, action.system, action.object, action.external_id)
        deliveries.ask(tx, [action.command])
        return {"key": action.command.key}
    if action.does == "judge_again":
        assert action.message is not None
        inbox.reopen(tx, [action.message])
        return {"message": action.message}
    lane = house.systems[action.system].connector.manifest.reads[action.object].lane
    numbers = inbox.keep(tx, action.system, arrivals(records), origin="fetch", lane=lane)
    if not numbers:
        numbers = tie_outs.messages_of(tx, action.system, action.object, action.external_id)[:1]
        inbox.reopen(tx, numbers)
    return {"message": numbers[0] if numbers else None}


def _action(tx: Tx, house: House, found: Mapping[str, Any], held: objects.Held | None) -> Action:
    """Choose the one action that ends a break."""
    system, cls = house.systems[found["system"]], found["class"]
    kind, field = found["object"], found["field"]
    at = {
        "system": system.name,
        "object": found["vendor_object"],
        "external_id": found["external_id"],
        "gid": found["gid"],
        "field": field,
        "ours": found["ours"],
        "theirs": found["theirs"],
    }
    waiting = _under_way(tx, found)
    if waiting:
        return Action("wait", **at, sentence=f"{waiting}: nothing to do but to let it arrive")
    if cls == "extra_in_target":
        if not house.ownership.may_create(kind, system.role):
            words = f"{system.name} may not make a {_word(kind)}: find out who did, and have it removed there"
            return Action("person", **at, sentence=words)
        return _take_in(tx, at, f"take the {_word(kind)} in as {system.name} has it now")
    if held is None:
        return Action("person", **at, sentence=f"we do not hold this {_word(kind)} any more: compare again")
    if cls == "deleted_upstream":
        words = f"what was billed stays billed: have the record restored in {system.name}, or credit the invoice"
        return Action("person", **at, sentence=words)
    owner = house.ownership.owner(kind, field or "", held.status)
    if cls == "missing_in_target" and owner == system.role:
        words = f"{system.name} owns this {_word(kind)} and no longer has it: restore it there, or end it here"
        return Action("person", **at, sentence=words)
    if kind in MONEY_DOCUMENTS and cls != "missing_in_target" and owner != system.role and held.status in BOOKED:
        words = f"the {_word(kind)} is booked: correct it in {system.name}, or credit and bill again"
        return Action("person", **at, sentence=words)
    if owner == system.role:
        return _take_in(tx, at, f"{system.name} owns {_word(field or kind)}: take its word in again", found["theirs"])
    command = _command(tx, house, found, held)
    if command is None:
        whose = "nobody owns it" if owner == NOBODY else f"{'the hub' if owner == 'hub' else f'the {owner}'} owns it"
        words = f"{whose}, and the hub does not write it to {system.name}: have it corrected there"
        return Action("person", **at, sentence=words)
    words = f"send the {_word(kind)} to {system.name} again, as the hub holds it"
    return Action("send", **at, sentence=words, after=found["ours"], command=command)


def _take_in(tx: Tx, at: dict[str, Any], sentence: str, after: str | None = None) -> Action:
    """Judge a quarantined or waiting message of the record again when there is one, else fetch the record."""
    troubled = tie_outs.messages_of(tx, at["system"], at["object"], at["external_id"], troubled=True)
    if troubled:
        words = f"judge message {troubled[0]} again: it was not taken in"
        return Action("judge_again", **at, sentence=words, after=after, message=troubled[0])
    return Action("take_in", **at, sentence=sentence, after=after)


def _under_way(tx: Tx, found: Mapping[str, Any]) -> str | None:
    pending = tie_outs.messages_of(tx, found["system"], found["vendor_object"], found["external_id"], pending=True)
    if pending:
        return f"message {pending[0]} waits to be taken in"
    if found["gid"]:
        for one in deliveries.of(tx, found["gid"]):
            if one["system"] == found["system"] and one["state"] in OPEN:
                return f"a write to {found['system']} is on its way"
    return None


def _command(tx: Tx, house: House, found: Mapping[str, Any], held: objects.Held) -> Command | None:
    """Return the last confirmed write of this record, to be made once more under a key of its own."""
    written = [
        one
        for one in deliveries.of(tx, held.gid)
        if one["system"] == found["system"] and one["object"] == found["vendor_object"] and one["state"] == "confirmed"
        if (one["kind"], one["system"], one["object"]) in house.outward
    ]
    if not written:
        return None
    last = written[-1]
    again = 1 + sum(1 for one in tie_outs.notes(tx, found["number"]) if one["act"] == "repaired")
    return Command(
        key=f"repair/{found['number']}/{again}",
        system=last["system"],
        object=last["object"],
        gid=held.gid,
        kind=last["kind"],
        purpose=last["purpose"],
        dedupe=last["dedupe"],
        source=last["source"],
        priority=last["priority"],
        amount=last["amount"],
        currency=last["currency"],
        latest=True,
    )


def _word(name: str) -> str:
    return name.replace("_", " ")

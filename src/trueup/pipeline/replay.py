"""Judge kept messages again, with today's mappings, as they came or as a person corrects them: for a trial that is
taken back, or for good."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trueup.kernel.errors import Refused
from trueup.kernel.money import to_units
from trueup.kernel.strict_json import plain, read, write, write_numbers
from trueup.mapping.file import MappingFile
from trueup.mapping.paths import ABSENT, getter, put
from trueup.mapping.translate import translate
from trueup.pipeline.house import House
from trueup.pipeline.ingest import BATCH, ingest_batch
from trueup.store import inbox, ledger, objects
from trueup.store.database import Tx
from trueup.store.inbox import Arrival, Message, Settlement
from trueup.store.plans import Does, Item

STUCK = ("quarantined", "waiting")


class _Shown(Exception):
    """Ends the trial transaction: nothing of it stays."""


def trial(
    house: House, numbers: Sequence[int], changes: Sequence[Mapping[str, Any]] = ()
) -> tuple[list[Item], dict[str, int], float]:
    """Judge messages again, write down what becomes of each, and take it all back.

    numbers   in the order they are to be judged
    changes   of the one message that is to be edited, see `edited`
    Returns   an item for each message; the money it moves by currency, in units (see `_money`); and how many seconds it
              took by the database's clock
    """
    silent = replace(house, reactions=[])
    items: list[Item] = []
    money: dict[str, int] = {}
    seconds = 0.0
    try:
        with house.database.transaction() as tx:
            began = tx.value("select clock_timestamp()")
            if changes:
                items, _, _ = edited(tx, silent, numbers[0], changes)
            else:
                for start in range(0, len(numbers), BATCH):
                    items += again(tx, silent, numbers[start : start + BATCH])
            money = _money(tx, items)
            seconds = float(tx.value("select extract(epoch from clock_timestamp() - %s)", (began,)))
            raise _Shown
    except _Shown:
        return items, money, seconds


def _money(tx: Tx, items: Sequence[Item]) -> dict[str, int]:
    """Return what a replay moves: what was billed for the facts it changes, and by how much it changes amounts."""
    touched = sorted({one["object"] for item in items for one in item.differences})
    moved: Counter[str] = Counter(ledger.billed_for(tx, touched))
    held = objects.load(tx, touched)
    for one in (one for item in items for one in item.differences if one["field"] == "amount"):
        currency = held[one["object"]].body.get("currency") if one["object"] in held else None
        if currency:
            before, after = (to_units(Decimal(str(value or 0)), currency) for value in (one["before"], one["after"]))
            moved[currency] += abs(after - before)
    return {currency: units for currency, units in sorted(moved.items()) if units}


def again(tx: Tx, house: House, numbers: Sequence[int]) -> list[Item]:
    """Judge messages again inside the caller's transaction; return what became of each, in their order.

    An item's `expects` is a digest of how the message ends and of every field that changes, with its value before.
    """
    rows = tx.rows(
        """
        select number, system, object, external_id, stamp, body, deleted, attempts, state from inbox
        where number = any(%s) and lane <> 'notice' order by number for update
        """,
        (list(numbers),),
    )
    before = {row["number"]: row.pop("state") for row in rows}
    last = tx.value("select coalesce(max(number), 0) from changes")
    ingest_batch(tx, house, [Message(**row) for row in rows])
    after = tx.rows("select number, state, reason from inbox where number = any(%s) order by number", (list(numbers),))
    changed: dict[int, list[dict[str, Any]]] = {}
    made: set[int] = set()
    for row in tx.rows(
        "select message, gid, version, decisions from changes where number > %s and message = any(%s) order by number",
        (last, list(numbers)),
    ):
        for decision in row["decisions"]:
            if decision["verdict"] != "accept":
                continue
            fields = [
                {"object": row["gid"], "field": name, "before": old, "after": new}
                for name, (old, new) in sorted(decision["fields"].items())
                if old != new
            ]
            changed.setdefault(row["message"], []).extend(fields)
            if fields and row["version"] == 1:
                made.add(row["message"])
    items = []
    for row in after:
        number, differences = row["number"], changed.get(row["number"], [])
        does: Does
        if row["state"] in STUCK:
            does = "blocked"
        elif differences:
            does = "create" if number in made else "update"
        else:
            does = "settle" if before[number] in (*STUCK, "pending") else "no_op"
        expects = hashlib.sha256(write([row["state"], differences])).hexdigest()
        why = row["reason"] or row["state"]
        items.append(Item(str(number), does, why, expects, differences))
    return items


def edited(
    tx: Tx, house: House, number: int, changes: Sequence[Mapping[str, Any]]
) -> tuple[list[Item], int | None, list[dict[str, Any]]]:
    """Judge a failing message with some of its fields changed, inside the caller's transaction.

    The message stays as it came; a copy with the changes is kept and judged in its place. The copy has the version of the
    original: the next word of the record's own system replaces it like any other.

    changes   field (dotted path) and json (JSON text; None takes the field out)
    Returns   the item, under the original's number; the copy's number, None where nothing was judged; and the changes as
              field, before, after
    Raises    Refused (no_record, bad_change, nothing_changes, another_record)
    """
    row = tx.row(
        "select system, object, external_id, stamp, body, deleted, lane, state from inbox where number = %s for update",
        (number,),
    )
    if row is None or row["lane"] == "notice":
        raise Refused(f"there is no record in message {number}", "no_record")
    if row["state"] not in STUCK:
        expects = hashlib.sha256(write([row["state"]])).hexdigest()
        return [Item(str(number), "no_op", f"it is {row['state']}: only what fails is edited", expects)], None, []
    body, told = _changed(bytes(row["body"]), changes)
    mapping = house.inward.get((row["system"], row["object"]))
    if mapping is not None and _named(mapping, body) != _named(mapping, bytes(row["body"])):
        raise Refused("an edit cannot make another record, or another version of it, out of this one", "another_record")
    arrival = Arrival(row["object"], row["external_id"], row["stamp"], body)
    copies = inbox.keep(tx, row["system"], [arrival], origin="edit", lane=row["lane"])
    if not copies:
        raise Refused("the record came with these very values before: judge that message again", "nothing_changes")
    inbox.settle(tx, [Settlement(number, "superseded", f"a person corrected it: message {copies[0]}")])
    (item,) = again(tx, house, copies)
    return [replace(item, record=str(number))], copies[0], told


def _changed(body: bytes, changes: Sequence[Mapping[str, Any]]) -> tuple[bytes, list[dict[str, Any]]]:
    try:
        record = read(body)
    except ValueError as wrong:
        raise Refused(f"the record cannot be read ({wrong}): have it sent again", "bad_change") from wrong
    told = []
    before = record
    for one in changes:
        field, text = str(one["field"]).strip(), one.get("json")
        try:
            record = put(record, field, ABSENT if text is None else read(text.encode()))
        except (ValueError, KeyError) as wrong:
            raise Refused(f"{field or 'a field'}: {wrong.args[0]}", "bad_change") from wrong
        old, new = getter(field)(before, before), getter(field)(record, record)
        told.append({"field": field, "before": plain(old), "after": plain(new)})
    if record == before:
        raise Refused("nothing is another value than it was", "nothing_changes")
    return write_numbers(record), told


def _named(mapping: MappingFile, body: bytes) -> list[tuple[str, str]]:
    """Return which records a body speaks of, and which version of each."""
    return [(one.external_id, one.stamp) for one in translate(mapping, read(body))]

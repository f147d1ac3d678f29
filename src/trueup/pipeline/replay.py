"""Judge kept messages again, with today's mappings: for a trial that is taken back, or for good."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trueup.kernel.money import to_units
from trueup.kernel.strict_json import write
from trueup.pipeline.house import House
from trueup.pipeline.ingest import BATCH, ingest_batch
from trueup.store import ledger, objects
from trueup.store.database import Tx
from trueup.store.inbox import Message
from trueup.store.plans import Does, Item

STUCK = ("quarantined", "waiting")


class _Shown(Exception):
    """Ends the trial transaction: nothing of it stays."""


def trial(house: House, numbers: Sequence[int]) -> tuple[list[Item], dict[str, int], float]:
    """Judge messages again, write down what becomes of each, and take it all back.

    numbers   in the order they are to be judged
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

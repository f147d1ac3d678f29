"""Run kept messages again, with today's mappings; first show what it would change."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trueup.kernel.strict_json import write
from trueup.pipeline.house import House
from trueup.pipeline.ingest import BATCH, ingest_batch
from trueup.store import inbox
from trueup.store.database import Tx
from trueup.store.inbox import Message
from trueup.store.plans import Does, Item

STUCK = ("quarantined", "waiting")


class _Shown(Exception):
    """Ends the trial transaction: nothing of it stays."""


def plan(house: House, numbers: Sequence[int]) -> dict[str, Any]:
    """Say what a replay would do, and do nothing: what each message would become, which fields would change.

    Returns   messages (number, state, reason), changes (object, decisions), creates, updates, no_ops
    """
    silent = replace(house, reactions=[])
    shown: dict[str, Any] = {}
    try:
        with house.database.transaction() as tx:
            last = tx.value("select coalesce(max(number), 0) from changes")
            rows = tx.rows(
                """
                select number, system, object, external_id, stamp, body, deleted, attempts from inbox
                where number = any(%s) and lane <> 'notice' order by number for update
                """,
                (list(numbers),),
            )
            ingest_batch(tx, silent, [Message(**row) for row in rows])
            after = tx.rows(
                "select number, state, reason, gid from inbox where number = any(%s) order by number", (list(numbers),)
            )
            decided = tx.rows(
                "select gid, kind, version, decisions from changes where number > %s order by number", (last,)
            )
            accepted = [row for row in decided if any(d["verdict"] == "accept" for d in row["decisions"])]
            shown = {
                "messages": after,
                "changes": accepted,
                "creates": sum(1 for row in accepted if row["version"] == 1),
                "updates": sum(1 for row in accepted if row["version"] > 1),
                "no_ops": len(rows) - len({row["gid"] for row in accepted}),
            }
            raise _Shown
    except _Shown:
        return shown


def apply(house: House, numbers: Sequence[int]) -> int:
    """Put the messages back into the queue; what is confirmed already has its key and is not done again."""
    with house.database.transaction() as tx:
        return inbox.reopen(tx, numbers)


def trial(house: House, numbers: Sequence[int]) -> tuple[list[Item], float]:
    """Judge messages again, write down what becomes of each, and take it all back.

    numbers   in the order they are to be judged
    Returns   an item for each message, and how many seconds it took by the database's clock
    """
    silent = replace(house, reactions=[])
    items: list[Item] = []
    seconds = 0.0
    try:
        with house.database.transaction() as tx:
            began = tx.value("select clock_timestamp()")
            for start in range(0, len(numbers), BATCH):
                items += again(tx, silent, numbers[start : start + BATCH])
            seconds = float(tx.value("select extract(epoch from clock_timestamp() - %s)", (began,)))
            raise _Shown
    except _Shown:
        return items, seconds


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

"""Run kept messages again, with today's mappings; first show what it would change."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trueup.pipeline.house import House
from trueup.pipeline.ingest import ingest_batch
from trueup.store import inbox
from trueup.store.inbox import Message


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

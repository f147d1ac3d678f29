"""Who says otherwise: words of systems that do not own a field, kept apart and shown beside what we hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trueup.kernel.ids import kind_of
from trueup.pipeline.reconcile import MEASURES
from trueup.reporting.sight import HIDDEN, taken_out
from trueup.store import objects
from trueup.store.database import Tx
from trueup.store.objects import Held


@dataclass(frozen=True, slots=True)
class Proposal:
    """One field, as another system has it.

    ours, theirs  what we hold, and what the system says
    message       number of the message that said it; None for what a person or process said
    """

    gid: str
    kind: str
    label: str
    field: str
    system: str
    ours: Any
    theirs: Any
    sentence: str
    message: int | None
    said_at: datetime


def proposals(
    tx: Tx, *, gids: Sequence[str] | None = None, cost: bool = False, money: bool = True, limit: int = 1000
) -> tuple[Proposal, ...]:
    """Return open proposals, the newest first.

    gids  only about these objects
    cost, money  whether the reader may see what people cost, and amounts

    A status that means the same in the other system's words is no disagreement and is left out.
    """
    rows = tx.rows(
        """
        select gid, field, system, value, sentence, message, created_at from proposals
        where state = 'open' and (%(gids)s::text[] is null or gid = any(%(gids)s))
        order by created_at desc, gid, field
        """,
        {"gids": None if gids is None else list(gids)},
    )
    held = objects.load(tx, {row["gid"] for row in rows})
    found = []
    for row in rows:
        about = held.get(row["gid"])
        kind = about.kind if about else kind_of(row["gid"]) or ""
        ours = about.body.get(row["field"]) if about else None
        if _means_the_same(kind, row["field"], ours, row["value"]):
            continue
        hidden = row["field"] in taken_out(kind, about.body if about else {}, cost, money)
        found.append(
            Proposal(
                row["gid"],
                kind,
                label(about, row["gid"]),
                row["field"],
                row["system"],
                HIDDEN if hidden else ours,
                HIDDEN if hidden else row["value"],
                row["sentence"],
                row["message"],
                row["created_at"],
            )
        )
    return tuple(found[:limit])


def _means_the_same(kind: str, field: str, ours: Any, theirs: Any) -> bool:
    return field == "status" and kind in MEASURES and MEASURES[kind].same.get(str(ours)) == theirs


def label(held: Held | None, gid: str) -> str:
    """Return what people call an object: its code, number or name."""
    if held is None:
        return gid
    body = held.body
    if held.kind == "time_entry":
        return f"{body.get('sheet') or gid}, {body['worked_on']}"
    if held.kind == "expense_line":
        return f"{body['report']} line {body['line_number']}"
    for name in ("code", "number", "reference", "worker_number", "name", "report", "sheet"):
        if body.get(name):
            return str(body[name])
    return str(body.get("role") or gid)

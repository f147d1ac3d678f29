"""Business facts as they were told, as CloudEvents 1.0."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trueup.model.events import CATALOGUE, cloud_event
from trueup.reporting.disagreements import label
from trueup.reporting.sight import HIDDEN, hidden_fields
from trueup.store import objects
from trueup.store.database import Tx
from trueup.store.objects import Held

PAGE = 100


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event.

    meaning  what events of this name say
    cloud    the event as structured CloudEvents JSON
    """

    number: int
    name: str
    meaning: str
    subject: str
    label: str
    kind: str
    data: dict[str, Any]
    message: int | None
    told_at: datetime
    cloud: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Events:
    """One page of events, the newest first.

    names   name -> how many there are
    before  number to go on before; None on the last page
    """

    rows: tuple[EventRow, ...]
    names: dict[str, int]
    before: int | None


def events(
    tx: Tx,
    *,
    name: str | None = None,
    subject: str | None = None,
    before: int | None = None,
    cost: bool = False,
    money: bool = True,
    limit: int = PAGE,
) -> Events:
    """Return events, the newest first.

    name     only events of this name
    subject  only about this object
    before   only events with a lower number
    cost     whether the reader may see what people cost
    money    whether the reader may see amounts
    """
    rows = tx.rows(
        """
        select number, name, subject, kind, data, message, created_at from events
        where (%(name)s::text is null or name = %(name)s) and (%(subject)s::text is null or subject = %(subject)s)
            and (%(before)s::bigint is null or number < %(before)s)
        order by number desc limit %(limit)s
        """,
        {"name": name, "subject": subject, "before": before, "limit": limit + 1},
    )
    more, rows = len(rows) > limit, rows[:limit]
    held = objects.load(tx, {row["subject"] for row in rows})
    names = {
        row["name"]: row["count"]
        for row in tx.rows("select name, count(*) as count from events group by name order by name")
    }
    for row in rows:
        row["data"] = told(row["data"], held.get(row["subject"]), cost)
        if not money:
            row["data"] = without_money(row["name"], row["data"])
    return Events(
        tuple(
            EventRow(
                row["number"],
                row["name"],
                CATALOGUE.get(row["name"], ""),
                row["subject"],
                label(held.get(row["subject"]), row["subject"]),
                row["kind"],
                row["data"],
                row["message"],
                row["created_at"],
                cloud_event(row["name"], row["number"], row["subject"], row["created_at"].isoformat(), row["data"]),
            )
            for row in rows
        ),
        names,
        rows[-1]["number"] if more else None,
    )


def told(data: Mapping[str, Any], about: Held | None, cost: bool) -> dict[str, Any]:
    """Return an event's data as a reader may see it: an amount made of cost is taken out.

    about  the object the event is about, when it is known
    """
    if cost or about is None or not hidden_fields(about.kind, about.body):
        return dict(data)
    return {name: HIDDEN if name == "amount" else value for name, value in data.items()}


def without_money(name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's data without amounts; the sentence of a break names both sides' figures."""
    hide = {"amount", "reason"} if name.startswith("break.") else {"amount"}
    return {key: HIDDEN if key in hide else value for key, value in data.items()}

"""Plans: what pressing would do, kept with a hash before anybody presses, and how far it got."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from trueup.kernel.errors import Refused
from trueup.kernel.strict_json import read, write
from trueup.store.database import Tx, json, plain_json

Verb = Literal["replay", "retry", "edit"]
Does = Literal["create", "update", "settle", "no_op", "blocked"]
MOST = 100_000
"""Records one plan may hold."""


def change(field: str, value: str = "") -> dict[str, str | None]:
    """Return one change of an edit, as a person types it: a value as JSON or as plain text, nothing to take it out.

    >>> change("rate", "12.50"), change("type", "fixed"), change("note")
    ({'field': 'rate', 'json': '12.50'}, {'field': 'type', 'json': '"fixed"'}, {'field': 'note', 'json': None})
    """
    text = value.strip()
    if not text:
        return {"field": field.strip(), "json": None}
    try:
        read(text.encode())
    except (ValueError, ArithmeticError):
        text = write(text).decode()
    return {"field": field.strip(), "json": text}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which records: all that is given must hold.

    issue     records that fail for this cause now
    records   message numbers (replay) or delivery keys (retry)
    since, until  received (replay) or asked (retry) in this span
    customer  our identifier of the customer the record's object belongs to
    changes   of an edit: field (a dotted path into the record as it came) and json (the value as JSON text; None to
              take the field out)
    """

    issue: str | None = None
    records: tuple[str, ...] = ()
    system: str | None = None
    object: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    customer: str | None = None
    changes: tuple[Mapping[str, Any], ...] = ()

    @property
    def empty(self) -> bool:
        """Say whether nothing narrows the choice."""
        return not (
            self.issue or self.records or self.system or self.object or self.since or self.until or self.customer
        )

    def plain(self) -> dict[str, Any]:
        """Return what is given, JSON-plain."""
        said = {
            "issue": self.issue, "records": list(self.records), "system": self.system, "object": self.object,
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None, "customer": self.customer,
            "changes": [dict(one) for one in self.changes],
        }  # fmt: skip
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class Item:
    """What the plan says about one record.

    differences  field, before, after
    expects      digest of what the record is and will become; apply stops where it is another
    """

    record: str
    does: Does
    why: str
    expects: str
    differences: list[dict[str, Any]] = field(default_factory=list)


def unknown(tx: Tx, verb: Verb, records: Sequence[str]) -> list[str]:
    """Return which of the named records there are not: delivery keys for a retry, else message numbers."""
    known = "select key as record from deliveries" if verb == "retry" else "select number::text as record from inbox"
    rows = tx.rows(
        f"select r.record from unnest(%s::text[]) as r (record) where r.record not in ({known}) limit 4",
        (list(records),),
    )
    return [row["record"] for row in rows]


def chosen_messages(tx: Tx, choice: Choice) -> list[int]:
    """Return the numbers of the messages a choice names, oldest first; notices hold no record and are left out.

    Raises    Refused (too_many)
    """
    return [
        int(row["record"])
        for row in _bounded(
            tx.rows(
                """
                select i.number as record from inbox i
                where i.lane <> 'notice'
                    and (%(issue)s::text is null or i.number in (
                        select record::bigint from failures where source = 'message' and issue = %(issue)s and ended_at is null))
                    and (%(records)s::text[] = '{}' or i.number::text = any(%(records)s))
                    and (%(system)s::text is null or i.system = %(system)s)
                    and (%(object)s::text is null or i.object = %(object)s)
                    and (%(since)s::timestamptz is null or i.received_at >= %(since)s)
                    and (%(until)s::timestamptz is null or i.received_at < %(until)s)
                    and (%(customer)s::text is null or i.gid = %(customer)s or exists (
                        select from objects o where o.gid = i.gid and o.body ->> 'customer' = %(customer)s))
                order by i.number limit %(most)s
                """,
                _parameters(choice),
            )
        )
    ]


def chosen_deliveries(tx: Tx, choice: Choice) -> list[str]:
    """Return the keys of the deliveries a choice names, in the order they were asked.

    Raises    Refused (too_many)
    """
    return [
        row["record"]
        for row in _bounded(
            tx.rows(
                """
                select d.key as record from deliveries d
                where (%(issue)s::text is null or d.key in (
                        select record from failures where source = 'delivery' and issue = %(issue)s and ended_at is null))
                    and (%(records)s::text[] = '{}' or d.key = any(%(records)s))
                    and (%(system)s::text is null or d.system = %(system)s)
                    and (%(object)s::text is null or d.object = %(object)s)
                    and (%(since)s::timestamptz is null or d.created_at >= %(since)s)
                    and (%(until)s::timestamptz is null or d.created_at < %(until)s)
                    and (%(customer)s::text is null or d.gid = %(customer)s or exists (
                        select from objects o where o.gid = d.gid and o.body ->> 'customer' = %(customer)s))
                order by d.sequence limit %(most)s
                """,
                _parameters(choice),
            )
        )
    ]


def _parameters(choice: Choice) -> dict[str, Any]:
    return {
        "issue": choice.issue, "records": list(choice.records), "system": choice.system, "object": choice.object,
        "since": choice.since, "until": choice.until, "customer": choice.customer, "most": MOST + 1,
    }  # fmt: skip


def _bounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) > MOST:
        raise Refused(f"more than {MOST} records are chosen: narrow the time span or the object", "too_many")
    return rows


def standing(tx: Tx, keys: Sequence[str], *, lock: bool = False) -> dict[str, dict[str, Any]]:
    """Return what a retry looks at in each delivery, by key; `open_dependencies` counts what must be confirmed first."""
    rows = tx.rows(
        "select key, system, state, attempts, fence, external_id, amount, currency, code, cause, depends_on, gid from deliveries "
        + ("where key = any(%s) order by key for update" if lock else "where key = any(%s) order by key"),
        (list(keys),),
    )
    wanted = sorted({key for row in rows for key in row["depends_on"]})
    done = {
        row["key"]
        for row in tx.rows("select key from deliveries where key = any(%s) and state = 'confirmed'", (wanted,))
    }
    return {row["key"]: {**row, "open_dependencies": len(set(row["depends_on"]) - done)} for row in rows}


def pace(tx: Tx, system: str) -> float | None:
    """Return how many seconds one attempt at a system took lately, on average of 200; None when none was made."""
    found = tx.value(
        """
        select (avg(took_ms) / 1000.0)::float8 from (
            select a.took_ms from delivery_attempts a join deliveries d on d.key = a.key
            where d.system = %s and a.action = 'send' and a.took_ms is not null order by a.created_at desc limit 200) as late
        """,
        (system,),
    )
    return None if found is None else float(found)


def keep(
    tx: Tx, *, verb: Verb, choice: Choice, reason: str, digest: str, counts: Mapping[str, int], money: Mapping[str, int],
    seconds: float | None, two_people: bool, by: str, minutes: int, items: Sequence[Item],
) -> int:  # fmt: skip
    """Keep a plan; return its number."""
    number = int(
        tx.value(
            """
            insert into plans (verb, issue, choice, reason, digest, counts, money, seconds, two_people, proposed_by, expires_at)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now() + make_interval(mins => %s)) returning number
            """,
            (
                verb, choice.issue, json(choice.plain()), reason, digest, json(dict(counts)), json(dict(money)), seconds,
                two_people, by, minutes,
            ),
        )
    )  # fmt: skip
    tx.copy(
        "plan_items",
        ("plan", "position", "record", "does", "why", "differences", "expects"),
        (
            (number, position, item.record, item.does, item.why, plain_json(item.differences), item.expects)
            for position, item in enumerate(items)
        ),
    )
    return number


def one(tx: Tx, number: int, *, lock: bool = False) -> dict[str, Any]:
    """Return a plan with `expired` and `done` (records applied).

    Raises    Refused (no_plan)
    """
    found = tx.row(
        """
        select p.*, p.state = 'proposed' and p.expires_at <= now() as expired,
            (select count(*) from plan_items i where i.plan = p.number and i.applied_at is not null) as done
        from plans p where number = %s
        """
        + (" for update" if lock else ""),
        (number,),
    )
    if found is None:
        raise Refused(f"there is no plan {number}", "no_plan")
    return found


def listed(tx: Tx, limit: int = 100) -> list[dict[str, Any]]:
    """Return plans, the newest first."""
    return tx.rows(
        """
        select number, verb, issue, reason, counts, money, state, two_people, proposed_by, applied_by, created_at, expires_at,
            ended_at, state = 'proposed' and expires_at <= now() as expired
        from plans order by number desc limit %s
        """,
        (limit,),
    )


def items(tx: Tx, number: int, limit: int = 200) -> list[dict[str, Any]]:
    """Return what a plan says about its records, what it does first."""
    return tx.rows(
        """
        select record, does, why, differences, applied_at from plan_items where plan = %s
        order by does in ('no_op', 'blocked'), position limit %s
        """,
        (number, limit),
    )


def next_items(tx: Tx, number: int, limit: int) -> list[dict[str, Any]]:
    """Return the next records a plan acts on that it has not acted on yet, in its order."""
    return tx.rows(
        """
        select position, record, does, expects from plan_items
        where plan = %s and applied_at is null and does in ('create', 'update', 'settle') order by position limit %s
        """,
        (number, limit),
    )


def begin(tx: Tx, number: int, by: str) -> None:
    """Note who pressed."""
    tx.run(
        "update plans set state = 'applying', applied_by = %s where number = %s and state = 'proposed'", (by, number)
    )


def mark(tx: Tx, number: int, positions: Sequence[int]) -> None:
    """Note records as done."""
    tx.run("update plan_items set applied_at = now() where plan = %s and position = any(%s)", (number, list(positions)))


def end(tx: Tx, number: int, stopped_by: str | None = None) -> None:
    """Note that all is done, or at which difference it stopped."""
    tx.run(
        """
        update plans set state = case when %(why)s::text is null then 'applied' else 'stopped' end, stopped_by = %(why)s,
            ended_at = now()
        where number = %(number)s
        """,
        {"why": stopped_by, "number": number},
    )

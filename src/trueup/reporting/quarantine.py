"""What could not be used, and what to do: bad and waiting records, refused calls and writes, failed processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trueup import engine
from trueup.connectors.sdk.remedies import Catalogue, general
from trueup.reporting.amounts import Amount, amount_of
from trueup.reporting.disagreements import Proposal, proposals
from trueup.store.database import Tx

MOST = 200
_KNOWN = Catalogue(general())


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing wrong with one field of a record."""

    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """One message that could not be used, or waits for another record.

    advice     what to do about it
    waits_for  what must arrive first, as system/object/identifier
    """

    number: int
    system: str
    object: str
    external_id: str
    state: str
    reason: str
    problems: tuple[Trouble, ...]
    advice: str
    waits_for: tuple[str, ...]
    mapping: str | None
    mapping_version: int | None
    attempts: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class RefusedCalls:
    """Calls in a system's name that were not believed; their bodies are not kept."""

    system: str
    reason: str
    count: int
    last_at: datetime
    advice: str


@dataclass(frozen=True, slots=True)
class RefusedWrite:
    """One write that was refused, parked, or met silence.

    code  the vendor's own code; what it means stands in the connector's manifest
    """

    key: str
    system: str
    object: str
    gid: str
    kind: str
    label: str
    purpose: str
    state: str
    code: str | None
    cause: str | None
    attempts: int
    amount: Amount | None
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class FailedProcess:
    """One durable process that ended in an error."""

    process: str
    name: str
    failed_at: datetime
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Everything the page shows; counts say how much there is, the rows are the oldest."""

    bad: tuple[Record, ...]
    bad_count: int
    waiting: tuple[Record, ...]
    waiting_count: int
    calls: tuple[RefusedCalls, ...]
    writes: tuple[RefusedWrite, ...]
    processes: tuple[FailedProcess, ...]
    proposals: tuple[Proposal, ...]

    @property
    def empty(self) -> bool:
        """Say whether there is nothing to look at."""
        return not (self.bad or self.waiting or self.calls or self.writes or self.processes or self.proposals)


CALLS: tuple[tuple[str, str], ...] = (
    ("signature", "Compare the webhook secret with the one at the sender; if it is right there, somebody else calls."),
    ("old", "Compare both clocks; a call repeated by somebody is refused for its age."),
    ("age", "Compare both clocks; a call repeated by somebody is refused for its age."),
    ("timestamp", "Compare both clocks; a call repeated by somebody is refused for its age."),
    ("bytes", "The call was larger than we take; ask for single records."),
    ("webhook", "This system is not set up to call us."),
)


def quarantine(tx: Tx, *, cost: bool = False, money: bool = True) -> Quarantine:
    """Return what could not be used, with what to do about each.

    cost, money  whether the reader may see what people cost, and amounts
    """
    counts = {
        row["state"]: row["count"]
        for row in tx.rows(
            "select state, count(*) as count from inbox where state in ('quarantined', 'waiting') group by state"
        )
    }
    return Quarantine(
        records(tx, "quarantined"),
        counts.get("quarantined", 0),
        records(tx, "waiting"),
        counts.get("waiting", 0),
        calls(tx),
        writes(tx),
        processes(tx),
        proposals(tx, cost=cost, money=money, limit=MOST),
    )


def records(tx: Tx, state: str, *, limit: int = MOST) -> tuple[Record, ...]:
    """Return messages in quarantine or waiting, the oldest first.

    state  quarantined or waiting
    """
    rows = tx.rows(
        """
        select number, system, object, external_id, state, reason, problems, waits_for, mapping, mapping_version, attempts,
            received_at
        from inbox where state = %s order by number limit %s
        """,
        (state, limit),
    )
    return tuple(record_of(row) for row in rows)


def record_of(row: Mapping[str, Any]) -> Record:
    """Return an inbox row as a record with its problems and what to do about them."""
    problems = tuple(Trouble(one["field"], one["code"], one["message"]) for one in row["problems"] or ())
    waits = row["state"] == "waiting"
    failure = {
        "source": "message", "class": row["state"], "system": row["system"], "object": row["object"],
        "code": "waits" if waits else problems[0].code if problems else "fault", "field": "",
    }  # fmt: skip
    known = _KNOWN.of(failure)
    advice = known.advice if known is not None else "Correct it at its source."
    return Record(
        row["number"],
        row["system"],
        row["object"],
        row["external_id"],
        row["state"],
        row["reason"] or "",
        problems,
        advice,
        tuple(row["waits_for"] or ()),
        row["mapping"],
        row["mapping_version"],
        row["attempts"],
        row["received_at"],
    )


def calls(tx: Tx) -> tuple[RefusedCalls, ...]:
    """Return calls that were not believed, by system and reason."""
    rows = tx.rows(
        """
        select system, reason, count(*) as count, max(created_at) as last_at from refused_calls
        group by system, reason order by max(created_at) desc limit 100
        """
    )
    return tuple(
        RefusedCalls(
            row["system"],
            row["reason"],
            row["count"],
            row["last_at"],
            next((advice for word, advice in CALLS if word in row["reason"].lower()), "Ask the sender."),
        )
        for row in rows
    )


def writes(tx: Tx, *, limit: int = MOST) -> tuple[RefusedWrite, ...]:
    """Return writes that were refused, parked, or met silence; the most money first."""
    rows = tx.rows(
        """
        select d.key, d.system, d.object, d.gid, d.kind, d.purpose, d.state, d.code, d.cause, d.attempts, d.amount, d.currency,
            d.created_at, coalesce(o.body ->> 'code', o.body ->> 'number', o.body ->> 'name', d.gid) as label
        from deliveries d left join objects o on o.gid = d.gid
        where d.state in ('rejected', 'parked', 'unknown')
        order by coalesce(d.amount, 0) desc, d.sequence limit %s
        """,
        (limit,),
    )
    return tuple(
        RefusedWrite(
            row["key"],
            row["system"],
            row["object"],
            row["gid"],
            row["kind"],
            row["label"],
            row["purpose"],
            row["state"],
            row["code"],
            row["cause"],
            row["attempts"],
            amount_of(row["amount"], row["currency"]) if row["amount"] and row["currency"] else None,
            row["created_at"],
        )
        for row in rows
    )


def processes(tx: Tx) -> tuple[FailedProcess, ...]:
    """Return processes that ended in an error, with the steps they remember."""
    return tuple(
        FailedProcess(
            row["process"],
            row["name"],
            row["failed_at"],
            tuple(
                f"{step['step']}: {'failed' if step['failed'] else 'done'}" for step in engine.steps(tx, row["process"])
            ),
        )
        for row in engine.failed(tx)[:MOST]
    )

"""What needs a person, the most money first: holds, bad records, refused writes, failed processes, disagreements."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from trueup import engine
from trueup.billing.holds import REASONS
from trueup.reporting import watchdog
from trueup.reporting.amounts import Amount, sums, together, weight
from trueup.reporting.disagreements import Proposal, proposals
from trueup.store.database import Tx


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work: everything that has the same cause and the same way out.

    area       hold, draft, record, delivery, process, proposal, break or stalled
    code       the cause's stable word
    state      word of the status vocabulary: held, waiting, failed, retrying or differs
    title      what it is, for a person
    sentence   why it waits and what to do
    count      how many things
    amounts    money that waits for them, per currency; empty when it cannot be known
    minutes    working time that waits, 0 where it is not about time
    oldest_at  since when the oldest waits
    owner      who must act
    link       path of the page where it is done
    """

    area: str
    code: str
    state: str
    title: str
    sentence: str
    count: int
    amounts: tuple[Amount, ...]
    minutes: int
    oldest_at: datetime | None
    owner: str
    link: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The whole list in one line.

    kinds      how many kinds of work
    things     how many things
    held       money on hold, per currency
    oldest_at  since when the oldest waits
    paused     systems we stay away from for now
    """

    kinds: int
    things: int
    held: tuple[Amount, ...]
    oldest_at: datetime | None
    paused: tuple[str, ...]


TITLES = {
    "ENTITY_UNMAPPED": "Project or legal entity unknown",
    "APPROVAL_MISSING": "Approval missing",
    "CONTRACT_INACTIVE": "Contract not in force",
    "CREDIT_DUE": "Credit due",
    "RATE_MISSING": "Rate missing for role",
    "RATE_AMBIGUOUS": "Two rates in force",
    "RECEIPT_MISSING": "Receipt missing",
    "SIGNOFF_MISSING": "Milestone not signed",
    "CAP_EXCEEDED": "Cap exceeded",
    "CURRENCY_MISMATCH": "Currency differs from the entity's",
    "PACKAGE_UNKNOWN": "Package not in the price book",
    "METHOD_NOT_ALLOWED": "Billing method not allowed",
    "VAT_ID_INVALID": "VAT id not valid",
    "TAX_UNDETERMINED": "Tax not determined",
    "CHANGE_ORDER_PENDING": "Change order waits for its deal",
    "MANUAL": "Needs a decision",
}
"""Hold code -> heading."""

BREAKS = {
    "missing_in_target": "Missing in the other system",
    "extra_in_target": "Unknown to the hub",
    "amount": "Amount differs",
    "quantity": "Quantity differs",
    "status": "Status differs",
    "date": "Date differs",
    "timing": "In another month, or on its way",
    "fx": "In another currency",
    "currency": "Currency differs",
    "rounding": "Rounding differs",
    "tax": "Tax differs",
    "ownership": "Changed by a non-owner",
    "deleted_upstream": "Billed record deleted at its source",
}
"""Class of break -> heading."""


def work(tx: Tx) -> list[Work]:
    """List every kind of work, the most money first, then the oldest.

    Money of different currencies is put side by side by face value to find the order; it is never added up.
    """
    found = [
        *_holds(tx),
        *_drafts(tx),
        *_deliveries(tx),
        *_records(tx),
        *_processes(tx),
        *_breaks(tx),
        *_stalled(tx),
        *_proposals(tx),
    ]
    return sorted(found, key=lambda item: (-weight(item.amounts), _age(item.oldest_at), item.area, item.code))


def headline(tx: Tx, items: Sequence[Work] | None = None) -> Headline:
    """Return the list in one line; counts it when it is not given."""
    listed = work(tx) if items is None else items
    paused = tx.rows("select system from systems where paused_until > now() order by system")
    return Headline(
        len(listed),
        sum(item.count for item in listed),
        held_once(tx),
        min((item.oldest_at for item in listed if item.oldest_at), default=None),
        tuple(row["system"] for row in paused),
    )


def hold_title(code: str, *, deal: bool = False) -> str:
    """Return the heading of a hold code.

    deal  whether a whole deal is held, before anything of it exists in a system
    """
    title = TITLES.get(code, code.replace("_", " ").capitalize())
    return f"Deal not set up: {title[:1].lower()}{title[1:]}" if deal else title


def hold_sentence(code: str, deal: bool, reason: str) -> str:
    """Return what is wrong and what to do: the deal's own sentence, or the general one for many facts."""
    return reason if deal or code not in REASONS else REASONS[code].sentence


def held_once(tx: Tx, legal_entity: str | None = None) -> tuple[Amount, ...]:
    """Return the money on hold per currency; a thing with two reasons counts once.

    legal_entity  only what this entity bills
    """
    rows = tx.rows(
        """
        select currency, sum(amount)::bigint as amount from (
            select scope, currency, max(amount) as amount from holds
            where released_at is null and (%(entity)s::text is null or legal_entity = %(entity)s)
            group by scope, currency) things
        group by currency
        """,
        {"entity": legal_entity},
    )
    return sums((row["currency"], row["amount"]) for row in rows)


def _age(at: datetime | None) -> float:
    return at.timestamp() if at else float("inf")


def _grouped(rows: Iterable[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _oldest(rows: Iterable[dict[str, Any]]) -> datetime | None:
    return min((row["oldest_at"] for row in rows if row["oldest_at"]), default=None)


def _holds(tx: Tx) -> list[Work]:
    rows = tx.rows(
        """
        select code, owner, scope_kind = 'contract' as deal, currency, count(*) as count, sum(amount)::bigint as amount,
            coalesce(sum(minutes), 0)::bigint as minutes, min(opened_at) as oldest_at, min(reason) as reason
        from holds where released_at is null group by 1, 2, 3, 4 order by 1, 2, 3, 4
        """
    )
    return [
        Work(
            "hold",
            code,
            "held",
            hold_title(code, deal=deal),
            hold_sentence(code, deal, parts[0]["reason"]),
            sum(row["count"] for row in parts),
            sums((row["currency"], row["amount"]) for row in parts),
            sum(row["minutes"] for row in parts),
            _oldest(parts),
            owner,
            f"/billing?reason={code}" + ("&about=deals" if deal else ""),
        )
        for (code, owner, deal), parts in _grouped(rows, "code", "owner", "deal").items()
    ]


def _drafts(tx: Tx) -> list[Work]:
    rows = tx.rows(
        """
        select status, body ->> 'currency' as currency, count(*) as count, min(updated_at) as oldest_at,
            array_agg(body ->> 'gross') as amounts
        from objects where kind = 'invoice' and tombstone is null and status in ('draft', 'submitted')
        group by status, body ->> 'currency' order by status
        """
    )
    sentences = {
        "draft": (
            "Drafts on their way to the ERP",
            "The ERP does not hold these drafts yet; the hub sends them.",
            "hub",
        ),
        "submitted": (
            "Drafts wait to be posted",
            "The ERP holds these drafts; post them there, and the numbers come back by themselves.",
            "Accounts receivable",
        ),
    }
    return [
        Work(
            "draft",
            status,
            "waiting",
            sentences[status][0],
            sentences[status][1],
            sum(row["count"] for row in parts),
            _decimals(parts),
            0,
            _oldest(parts),
            sentences[status][2],
            f"/billing?show={status}#invoices",
        )
        for (status,), parts in _grouped(rows, "status").items()
    ]


def _decimals(parts: Iterable[dict[str, Any]]) -> tuple[Amount, ...]:
    return together(Amount(Decimal(text), row["currency"]) for row in parts for text in row["amounts"])


def _deliveries(tx: Tx) -> list[Work]:
    rows = tx.rows(
        """
        select system, object, state, coalesce(code, '') as code, currency, count(*) as count,
            sum(coalesce(amount, 0))::bigint as amount, min(coalesce(sent_at, created_at)) as oldest_at, min(cause) as cause
        from deliveries where state in ('rejected', 'parked', 'unknown')
        group by system, object, state, coalesce(code, ''), currency order by system, object, state
        """
    )
    titles = {
        "rejected": "refused",
        "parked": "parked for a person",
        "unknown": "not settled: the hub looks whether they landed",
    }
    return [
        Work(
            "delivery",
            f"{system}/{object_name}/{state}/{code or 'none'}",
            "retrying" if state == "unknown" else "failed",
            f"Writes to {system} {titles[state]} ({object_name})",
            parts[0]["cause"] or "No cause was given.",
            sum(row["count"] for row in parts),
            sums((row["currency"], row["amount"]) for row in parts if row["amount"]),
            0,
            _oldest(parts),
            "Hub, by itself" if state == "unknown" else "Integration engineer",
            "/quarantine#deliveries",
        )
        for (system, object_name, state, code), parts in _grouped(rows, "system", "object", "state", "code").items()
    ]


def _records(tx: Tx) -> list[Work]:
    rows = tx.rows(
        """
        select system, object, state, coalesce(problems -> 0 ->> 'code', '') as code, count(*) as count,
            min(received_at) as oldest_at, min(reason) as reason
        from inbox where state in ('quarantined', 'waiting')
        group by system, object, state, coalesce(problems -> 0 ->> 'code', '') order by system, object, state
        """
    )
    found = []
    for row in rows:
        waits = row["state"] == "waiting"
        found.append(
            Work(
                "record",
                f"{row['system']}/{row['object']}/{row['code'] or row['state']}",
                "waiting" if waits else "failed",
                f"{row['object']} of {row['system']} "
                + ("waits for a record it points to" if waits else "cannot be used"),
                row["reason"] or "",
                row["count"],
                (),
                0,
                row["oldest_at"],
                "Nobody yet: goes on by itself" if waits else f"Data owner in {row['system']}",
                "/quarantine#waiting" if waits else "/quarantine#bad",
            )
        )
    return found


def _processes(tx: Tx) -> list[Work]:
    return [
        Work(
            "process",
            name,
            "failed",
            f"Process {name.replace('_', ' ')} failed",
            "Its steps are remembered; after the cause is removed, start it again and nothing is done twice.",
            len(parts),
            (),
            0,
            min(row["failed_at"] for row in parts),
            "Integration engineer",
            "/quarantine#processes",
        )
        for (name,), parts in _grouped(engine.failed(tx), "name").items()
    ]


def _proposals(tx: Tx) -> list[Work]:
    groups: dict[tuple[str, str], list[Proposal]] = {}
    for proposal in proposals(tx, limit=100_000):
        groups.setdefault((proposal.system, proposal.kind), []).append(proposal)
    return [
        Work(
            "proposal",
            f"{system}/{kind}",
            "differs",
            f"{system} says otherwise about {_article(kind)} it does not own",
            f"{said[0].sentence}: its word is kept, not applied. Correct it at the owner, or there.",
            len(said),
            (),
            0,
            min(proposal.said_at for proposal in said),
            "Owner of the record",
            "/quarantine#proposals",
        )
        for (system, kind), said in sorted(groups.items())
    ]


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind.replace('_', ' ')}"


def _stalled(tx: Tx) -> list[Work]:
    groups: dict[str, list[watchdog.Stall]] = {}
    for one in watchdog.stalled(tx):
        groups.setdefault(one.kind, []).append(one)
    return [
        Work(
            "stalled",
            kind,
            "failed",
            f"Does not progress: {kind}",
            f"{found[0].sentence[:1].upper()}{found[0].sentence[1:]}: {found[0].advice}.",
            len(found),
            (),
            0,
            found[0].since,
            "Integration engineer",
            "/flows#stalled",
        )
        for kind, found in sorted(groups.items())
    ]


def _breaks(tx: Tx) -> list[Work]:
    rows = tx.rows(
        """
        select b.class, b.system, b.object, coalesce(c.currency, b.currency) as currency, count(*) as count,
            sum(coalesce(c.amount, case when b.currency is null then 0 else abs(b.amount) end))::bigint as amount,
            min(b.opened_at) as oldest_at, min(b.repair) as repair
        from breaks b
        left join (select fact, currency, sum(amount) as amount from charges group by fact, currency) c on c.fact = b.gid
        where b.closed_at is null and b.accepted_at is null
        group by b.class, b.system, b.object, coalesce(c.currency, b.currency) order by b.class, b.system, b.object
        """
    )
    return [
        Work(
            "break",
            f"{cls}/{system}/{object_name}",
            "differs",
            f"{BREAKS.get(cls, cls)}: {object_name.replace('_', ' ')} in {system}",
            parts[0]["repair"][:1].upper() + parts[0]["repair"][1:] + ".",
            sum(row["count"] for row in parts),
            sums((row["currency"], row["amount"]) for row in parts if row["amount"]),
            0,
            _oldest(parts),
            "Finance operations",
            "/compare#breaks",
        )
        for (cls, system, object_name), parts in _grouped(rows, "class", "system", "object").items()
    ]

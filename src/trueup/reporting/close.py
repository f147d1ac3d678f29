"""Month ends for readers: which months are closed, each with its checklist, its snapshot, and what differs since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from trueup import engine
from trueup.kernel.periods import month_of, next_month
from trueup.kernel.strict_json import canonical
from trueup.reporting.sight import HIDDEN
from trueup.store import closing, numbers, periods
from trueup.store.database import Tx

TITLES: Mapping[str, tuple[str, str]] = {
    "unapproved": ("Unapproved time and expenses", "/billing?reason=APPROVAL_MISSING"),
    "holds": ("Holds", "/billing"),
    "unbilled": ("Approved and not billed", "/projects"),
    "drafts": ("Drafts not posted", "/billing?show=submitted"),
    "tie_out": ("Tie-out", "/compare"),
    "accruals": ("Accruals", "/executive"),
    "revenue": ("Revenue", "/executive"),
    "journals": ("Journals", "/quarantine"),
    "numbers": ("Document numbers", "/close"),
    "margin": ("Margin", "/projects"),
    "snapshot": ("Snapshot", ""),
}
"""Item of the checklist -> its heading, and the page where it is worked on."""

COST_FIGURES = frozenset({"labour", "expense"})
COST_JOURNAL = "cost_allocation"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist.

    state       open, passed, accepted, blocked or done; open without checked_at was not looked at yet
    figures     what it was made of, JSON-plain; `hidden` where the reader may not see what people cost
    reason      why a person accepted it
    """

    item: str
    title: str
    position: int
    state: str
    sentence: str
    figures: Mapping[str, Any]
    link: str
    checked_at: datetime | None
    reason: str | None
    accepted_by: str | None
    accepted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one row that two snapshots have differently; None where a snapshot has no such row."""

    section: str
    row: str
    figure: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Revision:
    """One time the month was closed, or is being closed.

    variance  what differs from the revision before, once both are frozen
    """

    revision: int
    state: str
    attempt: int
    process: str | None
    sha256: str | None
    closed_by: str | None
    closed_at: datetime | None
    variance: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Somebody asked for the month to be reopened."""

    number: int
    legal_entity: str
    period: str
    revision: int
    reason: str
    asked_by: str
    asked_at: datetime
    decided_by: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Close:
    """One month of one legal entity.

    state      open, closing or closed; open when nobody has begun
    running    a process walks the checklist right now
    fault      why the last process failed, or None
    since      what the month would hold today and does not in its frozen snapshot: late facts, for the next open month
    """

    legal_entity: str
    period: str
    state: str
    revision: int
    attempt: int
    process: str | None
    running: bool
    fault: str | None
    sha256: str | None
    closed_by: str | None
    closed_at: datetime | None
    items: tuple[Item, ...]
    revisions: tuple[Revision, ...]
    proposals: tuple[Proposal, ...]
    since: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One month of one legal entity in the matrix."""

    legal_entity: str
    period: str
    state: str
    revision: int
    sha256: str | None
    closed_by: str | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """Months by legal entities, the newest month first.

    rows  (month, one cell for each entity, in the order of `entities`)
    """

    entities: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    waiting: tuple[Proposal, ...]
    series: tuple[numbers.Series, ...]


def matrix(tx: Tx, entities: Sequence[str], today: date) -> Matrix:
    """Return the state of every month from the first anything happened in to this one."""
    known = {(row["period"], row["legal_entity"]): row for row in periods.matrix(tx)}
    last = max([month_of(today), *(period for period, _ in known)])
    month = periods.first_month(tx)
    months: list[str] = []
    while month is not None and month <= last:
        months.append(month)
        month = next_month(month)
    names = ("state", "revision", "sha256", "closed_by", "closed_at")
    rows = []
    for period in reversed(months):
        cells = []
        for entity in sorted(entities):
            row = known.get((period, entity))
            values: list[Any] = [row[name] for name in names] if row else ["open", 1, None, None, None]
            cells.append(Cell(entity, period, *values))
        rows.append((period, tuple(cells)))
    waiting = tuple(Proposal(**row) for row in periods.proposals(tx, waiting=True))
    return Matrix(tuple(sorted(entities)), tuple(rows), waiting, numbers.report(tx))


def close(tx: Tx, entity: str, period: str, *, cost: bool = False) -> Close:
    """Return a month of a legal entity with its checklist, its revisions and what differs since it was closed.

    cost  whether the reader may see what people cost
    """
    found = periods.revisions(tx, entity, period)
    newest = found[0] if found else None
    listed = _items(tx, entity, period, newest, cost=cost)
    process = newest["process"] if newest else None
    running = engine.one(tx, process) if process and newest and newest["state"] == "closing" else None
    since: tuple[Difference, ...] = ()
    if newest is not None and newest["state"] == "closed":
        since = variance(newest["snapshot"], closing.snapshot(tx, entity, period), cost=cost)
    return Close(
        entity,
        period,
        newest["state"] if newest else "open",
        newest["revision"] if newest else 1,
        newest["attempt"] if newest else 0,
        process,
        running is not None and running["status"] in ("ENQUEUED", "PENDING", "DELAYED"),
        _fault(running),
        newest["sha256"] if newest else None,
        newest["closed_by"] if newest else None,
        newest["closed_at"] if newest else None,
        listed,
        _revisions(found, cost=cost),
        tuple(Proposal(**row) for row in periods.proposals(tx, entity, period)),
        since,
    )


def _fault(running: Mapping[str, Any] | None) -> str | None:
    if running is None or running["status"] not in ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"):
        return None
    fault = running["fault"] or {}
    told = fault.get("name") in ("Held", "Refused", "Busy", "Unsettled")
    return str(fault["message"]) if told else "a fault of the hub; its log has the report"


def _items(tx: Tx, entity: str, period: str, newest: Mapping[str, Any] | None, *, cost: bool) -> tuple[Item, ...]:
    rows = {} if newest is None else {row["item"]: row for row in periods.items(tx, entity, period, newest["revision"])}
    found = []
    for place, (name, (title, link)) in enumerate(TITLES.items(), start=1):
        row = rows.get(name)
        page = link or f"/close/{entity}/{period}"
        # While an attempt is under way, what an earlier one found is not this one's finding.
        stale = (
            row is not None
            and newest is not None
            and newest["state"] == "closing"
            and row["attempt"] < newest["attempt"]
        )
        if row is None or stale:
            found.append(Item(name, title, place, "open", "Not looked at yet.", {}, page, None, None, None, None))
            continue
        figures = row["figures"] if cost else without_cost(row["figures"])
        found.append(
            Item(
                name, title, place, row["state"], row["sentence"], figures, page, row["checked_at"], row["reason"],
                row["accepted_by"], row["accepted_at"],
            )
        )  # fmt: skip
    return tuple(found)


def without_cost(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item's figures without what people cost."""
    shown: dict[str, Any] = {name: HIDDEN if name in COST_FIGURES else value for name, value in figures.items()}
    if "journals" in shown:
        shown["journals"] = [
            {**row, "debit": HIDDEN, "credit": HIDDEN} if row["type"] == COST_JOURNAL else row
            for row in shown["journals"]
        ]
    return shown


def _revisions(found: Sequence[Mapping[str, Any]], *, cost: bool) -> tuple[Revision, ...]:
    shots = {row["revision"]: row["snapshot"] for row in found}
    names = ("revision", "state", "attempt", "process", "sha256", "closed_by", "closed_at")
    shown = []
    for row in found:
        before = shots.get(row["revision"] - 1)
        differs = variance(before, row["snapshot"], cost=cost) if before and row["snapshot"] else ()
        shown.append(Revision(**{name: row[name] for name in names}, variance=differs))
    return tuple(shown)


def variance(before: Mapping[str, Any], after: Mapping[str, Any], *, cost: bool = True) -> tuple[Difference, ...]:
    """Return every figure two snapshots have differently, by section and row.

    cost  whether the reader may see what people cost

    >>> row = {"code": "I-1", "type": "invoice", "state": "draft", "currency": "EUR", "net": "1.00", "tax": "0", "gross": "1"}
    >>> now = {**row, "state": "posted"}
    >>> [(one.row, one.figure, one.before, one.after) for one in variance({"invoices": [row]}, {"invoices": [now]})]
    [('I-1', 'state', 'draft', 'posted')]
    """
    found = []
    for section, (names, figures) in closing.SECTIONS.items():
        old, new = (
            {tuple(str(row[name]) for name in names): row for row in shot.get(section, ())} for shot in (before, after)
        )
        for key in sorted({*old, *new}):
            was, now = old.get(key), new.get(key)
            if not cost and _costly(section, was or now or {}):
                continue
            for figure in figures:
                pair = tuple(None if row is None else str(row[figure]) for row in (was, now))
                if pair[0] != pair[1] and (cost or figure not in COST_FIGURES):
                    found.append(Difference(section, " ".join(filter(None, key)), figure, *pair))
    return tuple(found)


def _costly(section: str, row: Mapping[str, Any]) -> bool:
    return section == "journals" and row.get("type") == COST_JOURNAL


def snapshot_bytes(tx: Tx, entity: str, period: str, revision: int | None = None) -> bytes | None:
    """Return a frozen snapshot in its canonical form (RFC 8785), whose SHA-256 is the month's hash; None when there is none.

    revision  the newest frozen one when not given
    """
    for row in periods.revisions(tx, entity, period):
        if row["snapshot"] is not None and revision in (None, row["revision"]):
            return canonical(row["snapshot"])
    return None

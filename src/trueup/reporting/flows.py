"""Is anything stuck, and where: business flows, what comes in, what goes out, processes, and the health of systems."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from trueup import engine
from trueup.kernel.clock import now
from trueup.reporting.amounts import Amount, sums, together
from trueup.reporting.owed import owed
from trueup.store.database import Tx

HOURS = 24


@dataclass(frozen=True, slots=True)
class Flow:
    """How one flow stands.

    key        stable name
    title      for a person
    system     the system it comes from or goes to; None for a business flow
    into       how many things entered it in the window
    done       how many of them came through
    waiting    open now, and goes on by itself
    held       open now, and wants a person
    failed     open now, and was refused or parked
    p95_ms     time that 95 % of what came through needed, milliseconds
    oldest_at  since when the oldest open thing is open
    money      money that waits in it
    trend      things per hour over the last 24 hours, oldest first
    """

    key: str
    title: str
    system: str | None
    into: int
    done: int
    waiting: int
    held: int
    failed: int
    p95_ms: int | None
    oldest_at: datetime | None
    money: tuple[Amount, ...] = ()
    trend: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """How far one object of a system was read."""

    object: str
    records: int
    read_at: datetime
    age_seconds: float


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """How one system feels.

    state          up, paused (asked us to wait), failing (the last call went wrong) or silent (never called)
    records_24h    messages that came in from it in the last 24 hours
    refused_calls  calls in its name that were not believed
    """

    system: str
    connector: str
    role: str
    state: Literal["up", "paused", "failing", "silent"]
    calls: int
    errors: int
    last_ok_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    paused_until: datetime | None
    records_24h: int
    refused_calls: int
    readers: tuple[Reader, ...]


@dataclass(frozen=True, slots=True)
class Executor:
    """One living worker process."""

    executor: str
    host: str
    started_at: datetime
    beat_at: datetime
    alive: bool


@dataclass(frozen=True, slots=True)
class Flows:
    """Everything the page shows, of one moment."""

    business: tuple[Flow, ...]
    inward: tuple[Flow, ...]
    outward: tuple[Flow, ...]
    processes: tuple[Flow, ...]
    systems: tuple[SystemHealth, ...]
    executors: tuple[Executor, ...]


def flows(tx: Tx, hours: int = HOURS) -> Flows:
    """Return all flows and systems.

    hours  window of what entered and came through; what is open counts whatever its age
    """
    return Flows(business(tx), inward(tx, hours), outward(tx, hours), processes(tx, hours), systems(tx), executors(tx))


def business(tx: Tx) -> tuple[Flow, ...]:
    """Return the flows a finance person knows, counted from their beginning, not by the window."""
    held = _held_by_scope(tx)
    return (
        _deals(tx, held),
        _facts(tx, "time_entry", "Billable time to invoice", held),
        _facts(tx, "expense_line", "Billable expenses to invoice", held),
        _milestones(tx, held),
        _drafts(tx),
        _cash(tx),
    )


def _held_by_scope(tx: Tx) -> dict[str, list[dict[str, Any]]]:
    rows = tx.rows(
        """
        select scope_kind, currency, count(distinct scope) as count, sum(amount)::bigint as amount, min(opened_at) as oldest_at
        from holds where released_at is null group by scope_kind, currency
        """
    )
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["scope_kind"], []).append(row)
    return groups


def _flow(
    key: str, title: str, counts: Mapping[str, Any], parts: list[dict[str, Any]], oldest: datetime | None = None
) -> Flow:
    since = [row["oldest_at"] for row in parts if row["oldest_at"]] + ([oldest] if oldest else [])
    return Flow(
        key,
        title,
        None,
        int(counts["into"] or 0),
        int(counts["done"] or 0),
        int(counts["waiting"] or 0),
        sum(row["count"] for row in parts),
        int(counts.get("failed") or 0),
        counts.get("p95_ms"),
        min(since, default=None),
        sums((row["currency"], row["amount"]) for row in parts),
    )


def _deals(tx: Tx, held: Mapping[str, list[dict[str, Any]]]) -> Flow:
    counts = tx.row(
        """
        select count(*) filter (where status in ('signed', 'active', 'completed', 'closed')) as into,
            count(*) filter (where status in ('active', 'completed', 'closed')) as done,
            count(*) filter (where status = 'signed' and not exists (
                select from holds h where h.scope = o.gid and h.released_at is null)) as waiting
        from objects o where kind = 'contract' and tombstone is null
        """
    )
    times = [flow for flow in processes(tx, None) if flow.key == "opportunity_to_project"]
    extra = {"p95_ms": times[0].p95_ms, "failed": times[0].failed} if times else {}
    return _flow("deals", "Won deal to project", {**(counts or {}), **extra}, held.get("contract", []))


def _facts(tx: Tx, kind: str, title: str, held: Mapping[str, list[dict[str, Any]]]) -> Flow:
    time = """
        select count(*) as into, count(*) filter (where not held and not open) as done,
            count(*) filter (where not held and open) as waiting, min(updated_at) filter (where not held and open) as oldest_at
        from (
            select t.updated_at, t.status = 'submitted' or coalesce(b.open, false) as open,
                h.scope is not null as held
            from time_entries t
            left join (select distinct scope from holds where released_at is null) h on h.scope = t.gid
            left join (
                select fact, bool_or(quantity > 0) as open from buckets
                where bucket in ('unbilled', 'held', 'over_cap', 'postponed') group by fact) b on b.fact = t.gid
            where t.billable and t.status in ('submitted', 'approved') and t.tombstone is null) facts
    """
    expense = """
        select count(*) as into, count(*) filter (where not held and not open) as done,
            count(*) filter (where not held and open) as waiting, min(updated_at) filter (where not held and open) as oldest_at
        from (
            select e.updated_at, e.status = 'submitted' or coalesce(b.open, false) as open,
                h.scope is not null as held
            from expense_lines e
            left join (select distinct scope from holds where released_at is null) h on h.scope = e.gid
            left join (
                select fact, bool_or(quantity > 0) as open from buckets
                where bucket in ('unbilled', 'held', 'over_cap', 'postponed') group by fact) b on b.fact = e.gid
            where e.billable and e.status <> 'rejected' and e.tombstone is null) facts
    """
    counts = tx.row(time if kind == "time_entry" else expense) or {}
    return _flow(kind, title, counts, held.get(kind, []), counts.get("oldest_at"))


def _milestones(tx: Tx, held: Mapping[str, list[dict[str, Any]]]) -> Flow:
    counts = tx.row(
        """
        select count(*) as into,
            count(*) filter (where exists (select from charges c where c.fact = o.gid)) as done,
            count(*) filter (where not exists (select from charges c where c.fact = o.gid) and not exists (
                select from holds h where h.scope = o.gid and h.released_at is null)) as waiting
        from objects o where kind = 'milestone' and tombstone is null and body ->> 'completed_on' is not null
        """
    )
    return _flow("milestones", "Completed milestone to invoice", counts or {}, held.get("milestone", []))


def _drafts(tx: Tx) -> Flow:
    counts = tx.row(
        """
        select count(*) filter (where status <> 'voided') as into,
            count(*) filter (where status in ('posted', 'part_paid', 'paid', 'credited')) as done,
            count(*) filter (where status in ('draft', 'submitted')) as waiting,
            min(created_at) filter (where status in ('draft', 'submitted')) as oldest_at,
            (select count(*) from deliveries where kind = 'invoice' and state in ('rejected', 'parked')) as failed
        from objects where kind = 'invoice' and tombstone is null and body ->> 'invoice_type' = 'invoice'
        """
    )
    money = tx.rows(
        """
        select body ->> 'currency' as currency, 0 as count, null::timestamptz as oldest_at,
            sum((body ->> 'net')::numeric) as net
        from objects where kind = 'invoice' and tombstone is null and status in ('draft', 'submitted')
        group by body ->> 'currency' order by 1
        """
    )
    flow = _flow("drafts", "Draft invoice to posted", counts or {}, [], (counts or {}).get("oldest_at"))
    return _with_money(flow, tuple(Amount(row["net"], row["currency"]) for row in money))


def _cash(tx: Tx) -> Flow:
    counts = tx.row(
        """
        select count(*) as into, count(*) filter (where status = 'paid') as done,
            count(*) filter (where status in ('posted', 'part_paid', 'credited')) as waiting,
            min(updated_at) filter (where status in ('posted', 'part_paid')) as oldest_at
        from objects where kind = 'invoice' and tombstone is null and body ->> 'invoice_type' = 'invoice'
            and status in ('posted', 'part_paid', 'paid', 'credited')
        """
    )
    money = together(Amount(one.balance, one.currency) for one in owed(tx))
    flow = _flow("cash", "Posted invoice to cash", counts or {}, [], (counts or {}).get("oldest_at"))
    return _with_money(flow, money)


def _with_money(flow: Flow, money: tuple[Amount, ...]) -> Flow:
    return replace(flow, money=money)


def inward(tx: Tx, hours: int = HOURS) -> tuple[Flow, ...]:
    """Return what comes in, one flow for each object of each system; webhook notices are one flow a system."""
    rows = tx.rows(
        """
        select system, lane = 'notice' as notice, case when lane = 'notice' then 'webhook notices' else object end as object,
            count(*) filter (where received_at > now() - make_interval(hours => %(hours)s)) as into,
            count(*) filter (where state in ('applied', 'superseded', 'ignored')
                and received_at > now() - make_interval(hours => %(hours)s)) as done,
            count(*) filter (where state in ('pending', 'waiting')) as waiting,
            count(*) filter (where state = 'quarantined') as held,
            min(received_at) filter (where state in ('pending', 'waiting', 'quarantined')) as oldest_at,
            (percentile_cont(0.95) within group (order by extract(epoch from settled_at - received_at))
                filter (where settled_at is not null and received_at > now() - make_interval(hours => %(hours)s))
                * 1000)::bigint as p95_ms
        from inbox group by 1, 2, 3 order by 1, 2, 3
        """,
        {"hours": hours},
    )
    trends = _trend(
        tx.rows(
            """
            select system || '/' || case when lane = 'notice' then 'webhook notices' else object end as key,
                floor(extract(epoch from now() - received_at) / 3600)::int as ago, count(*) as count
            from inbox where received_at > now() - interval '24 hours' group by 1, 2
            """
        )
    )
    return tuple(
        Flow(
            f"{row['system']}/{row['object']}",
            row["object"],
            row["system"],
            row["into"],
            row["done"],
            row["waiting"],
            row["held"],
            0,
            row["p95_ms"],
            row["oldest_at"],
            trend=trends.get(f"{row['system']}/{row['object']}", (0,) * HOURS),
        )
        for row in rows
    )


def outward(tx: Tx, hours: int = HOURS) -> tuple[Flow, ...]:
    """Return what goes out, one flow for each object of each system."""
    rows = tx.rows(
        """
        select system, object,
            count(*) filter (where created_at > now() - make_interval(hours => %(hours)s)) as into,
            count(*) filter (where state in ('confirmed', 'superseded', 'compensated')
                and created_at > now() - make_interval(hours => %(hours)s)) as done,
            count(*) filter (where state in ('planned', 'due', 'sending', 'landed', 'processing')) as waiting,
            count(*) filter (where state = 'unknown') as held,
            count(*) filter (where state in ('rejected', 'parked')) as failed,
            min(created_at) filter (where state not in ('confirmed', 'superseded', 'compensated')) as oldest_at,
            (percentile_cont(0.95) within group (order by extract(epoch from settled_at - created_at))
                filter (where state = 'confirmed' and created_at > now() - make_interval(hours => %(hours)s))
                * 1000)::bigint as p95_ms
        from deliveries group by system, object order by system, object
        """,
        {"hours": hours},
    )
    money = tx.rows(
        """
        select system, object, currency, sum(amount)::bigint as amount from deliveries
        where state not in ('confirmed', 'superseded', 'compensated') and amount is not null
        group by system, object, currency
        """
    )
    trends = _trend(
        tx.rows(
            """
            select system || '/' || object as key, floor(extract(epoch from now() - settled_at) / 3600)::int as ago,
                count(*) as count
            from deliveries where settled_at > now() - interval '24 hours' group by 1, 2
            """
        )
    )
    return tuple(
        Flow(
            f"{row['system']}/{row['object']}",
            row["object"],
            row["system"],
            row["into"],
            row["done"],
            row["waiting"],
            row["held"],
            row["failed"],
            row["p95_ms"],
            row["oldest_at"],
            sums(
                (part["currency"], part["amount"])
                for part in money
                if (part["system"], part["object"]) == (row["system"], row["object"])
            ),
            trends.get(f"{row['system']}/{row['object']}", (0,) * HOURS),
        )
        for row in rows
    )


def _trend(rows: list[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    table: dict[str, list[int]] = {}
    for row in rows:
        hours = table.setdefault(row["key"], [0] * HOURS)
        if 0 <= row["ago"] < HOURS:
            hours[HOURS - 1 - row["ago"]] += row["count"]
    return {key: tuple(hours) for key, hours in table.items()}


def processes(tx: Tx, hours: int | None = HOURS) -> tuple[Flow, ...]:
    """Return durable processes by name.

    hours  window of what was started; None takes all that is kept
    """
    since = None if hours is None else now() - timedelta(hours=hours)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in engine.listing(tx, 20_000):
        open_now = row["status"] not in ("SUCCESS", "CANCELLED")
        if open_now or since is None or row["started_at"] > since:
            found.setdefault(row["name"], []).append(row)
    return tuple(
        Flow(
            name,
            name.replace("_", " ").capitalize(),
            None,
            len(rows),
            sum(row["status"] in ("SUCCESS", "CANCELLED") for row in rows),
            sum(row["status"] in ("ENQUEUED", "PENDING", "DELAYED") for row in rows),
            0,
            sum(row["status"] in ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED") for row in rows),
            _p95([row["updated_at"] - row["started_at"] for row in rows if row["status"] == "SUCCESS"]),
            min((row["started_at"] for row in rows if row["status"] not in ("SUCCESS", "CANCELLED")), default=None),
        )
        for name, rows in sorted(found.items())
    )


def _p95(times: list[timedelta]) -> int | None:
    if not times:
        return None
    return int(sorted(times)[min(len(times) - 1, int(len(times) * 0.95))].total_seconds() * 1000)


def systems(tx: Tx) -> tuple[SystemHealth, ...]:
    """Return every system with its health and how far it was read."""
    rows = tx.rows(
        """
        select s.*, coalesce(s.paused_until > now(), false) as paused,
            (select count(*) from inbox i where i.system = s.system and i.received_at > now() - interval '24 hours') as records,
            (select count(*) from refused_calls r where r.system = s.system) as refused
        from systems s order by s.role, s.system
        """
    )
    readers: dict[str, list[Reader]] = {}
    for row in tx.rows(
        "select system, object, records, read_at, extract(epoch from now() - read_at)::float8 as age from cursors order by object"
    ):
        readers.setdefault(row["system"], []).append(Reader(row["object"], row["records"], row["read_at"], row["age"]))
    return tuple(
        SystemHealth(
            row["system"],
            row["connector"],
            row["role"],
            _state(row),
            row["calls"],
            row["errors"],
            row["last_ok_at"],
            row["last_error"],
            row["last_error_at"],
            row["paused_until"] if row["paused"] else None,
            row["records"],
            row["refused"],
            tuple(readers.get(row["system"], ())),
        )
        for row in rows
    )


def _state(row: Mapping[str, Any]) -> Literal["up", "paused", "failing", "silent"]:
    if row["paused"]:
        return "paused"
    if row["last_error_at"] and (row["last_ok_at"] is None or row["last_error_at"] > row["last_ok_at"]):
        return "failing"
    return "up" if row["last_ok_at"] else "silent"


def executors(tx: Tx) -> tuple[Executor, ...]:
    """Return the worker processes that have not ended, the youngest first."""
    rows = tx.rows(
        """
        select executor, host, created_at, beat_at, beat_at > now() - interval '15 seconds' as alive
        from executors where ended_at is null order by created_at desc limit 20
        """
    )
    return tuple(Executor(r["executor"], r["host"], r["created_at"], r["beat_at"], r["alive"]) for r in rows)

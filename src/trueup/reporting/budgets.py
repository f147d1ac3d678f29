"""What each vendor account lets us do, who uses it, and when its queue will be empty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from trueup.store.database import Tx

RECENT_MINUTES = 5
HOUR_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Use:
    """One user of an account.

    calls_hour  calls in the last sixty minutes
    at_once     slots it holds now
    waiting     how many workers of it stand in line now
    """

    lane: str
    legal_entity: str
    calls_hour: int
    at_once: int
    waiting: int


@dataclass(frozen=True, slots=True)
class AccountBudget:
    """One vendor account.

    per_second, concurrency          what the account allows, or the share of it the workspace gives us
    rate, slots                      what we allow ourselves now: less after the vendor told us to wait
    at_once, left                    slots held and free now
    calls_minute                     calls a second over the last five minutes, times sixty
    paused_until                     until when everybody stays away, None when nobody has to
    queue                            deliveries that wait for the account
    clears_at                        when the queue will be empty at the pace of the last minutes, or at the pace we
                                     allow ourselves when there was none; None with an empty queue or a stopped account
    state                            free, busy (all slots are held), paused or stopped (signing in is refused)
    stopped_because                  what the vendor said to our sign-in
    """

    account: str
    systems: tuple[str, ...]
    per_second: float
    concurrency: int
    rate: float
    slots: int
    at_once: int
    left: int
    calls_minute: float
    calls_day: int
    paused_until: datetime | None
    queue: int
    clears_at: datetime | None
    state: Literal["free", "busy", "paused", "stopped"]
    stopped_because: str | None
    users: tuple[Use, ...]


def budgets(tx: Tx, accounts: Mapping[str, Sequence[str]]) -> tuple[AccountBudget, ...]:
    """Return every account with its users, the busiest first.

    accounts  account -> systems that share it
    """
    rows = tx.rows(
        """
        select b.account, b.per_second, b.concurrency, b.rate, floor(b.slots)::int as slots, clock_timestamp() as moment,
            case when b.paused_until > clock_timestamp() then b.paused_until end as paused_until,
            s.stopped_at is not null as stopped, s.reason,
            (select count(*) from budget_lots l where l.account = b.account and l.lease_until > clock_timestamp())
                as at_once,
            coalesce((select sum(calls) from budget_use u where u.account = b.account
                and minute > now() - make_interval(mins => %(recent)s)), 0)::float8 / %(recent)s as calls_minute,
            coalesce((select sum(calls) from budget_use u where u.account = b.account
                and minute > now() - interval '1 day'), 0)::bigint as calls_day
        from budgets b left join sign_ins s using (account) where b.account = any(%(accounts)s) order by b.account
        """,
        {"recent": RECENT_MINUTES, "accounts": list(accounts)},
    )
    queues = {
        row["system"]: int(row["count"])
        for row in tx.rows(
            """
            select system, count(*) from deliveries
            where state in ('due', 'sending', 'unknown', 'landed', 'processing') group by system
            """
        )
    }
    users = _users(tx)
    found = []
    for row in rows:
        systems = tuple(accounts[row["account"]])
        queue = sum(queues.get(system, 0) for system in systems)
        at_once = min(int(row["at_once"]), row["slots"])
        state: Literal["free", "busy", "paused", "stopped"] = "free"
        if row["stopped"]:
            state = "stopped"
        elif row["paused_until"]:
            state = "paused"
        elif at_once >= row["slots"]:
            state = "busy"
        found.append(
            AccountBudget(
                row["account"],
                systems,
                row["per_second"],
                row["concurrency"],
                row["rate"],
                row["slots"],
                at_once,
                row["slots"] - at_once,
                row["calls_minute"],
                row["calls_day"],
                row["paused_until"],
                queue,
                None
                if row["stopped"]
                else clears_at(row["moment"], row["paused_until"], queue, row["calls_minute"] / 60, row["rate"]),
                state,
                row["reason"] if row["stopped"] else None,
                tuple(users.get(row["account"], ())),
            )
        )
    return tuple(found)


def clears_at(
    moment: datetime, paused_until: datetime | None, queue: int, recent: float, rate: float
) -> datetime | None:
    """Return when a queue will be empty; None when it is.

    recent  calls a second in the last minutes; without any, the pace we allow ourselves counts
    rate    that pace, calls a second

    >>> from datetime import UTC
    >>> noon = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
    >>> clears_at(noon, None, 600, 0.5, 10.0).strftime("%H:%M")
    '12:20'
    """
    if not queue:
        return None
    begins = max(moment, paused_until) if paused_until else moment
    return begins + timedelta(seconds=queue / (recent or rate))


def _users(tx: Tx) -> dict[str, list[Use]]:
    rows = tx.rows(
        """
        select account, lane, entity, sum(calls)::bigint as calls, sum(at_once)::int as at_once,
            sum(waiting)::int as waiting
        from (
            select account, lane, entity, calls, 0 as at_once, 0 as waiting from budget_use
            where minute > now() - make_interval(mins => %s)
            union all select account, lane, entity, 0, 1, 0 from budget_lots where lease_until > clock_timestamp()
            union all select account, lane, entity, 0, 0, 1 from budget_waits
            where seen_at > clock_timestamp() - interval '3 seconds') found
        group by account, lane, entity order by account, 4 desc, lane, entity
        """,
        (HOUR_MINUTES,),
    )
    users: dict[str, list[Use]] = {}
    for row in rows:
        use = Use(row["lane"], row["entity"], int(row["calls"]), row["at_once"], row["waiting"])
        users.setdefault(row["account"], []).append(use)
    return users

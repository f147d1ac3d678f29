"""One budget for each vendor account: calls given out in lots to whoever is next in line, on the database's clock.

A lot is one slot of the account's concurrency for a number of calls, so that workers ask the database once in many
calls. What a dead worker held comes back when its lease ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from trueup.store.database import Tx

LANES: Final = ("posting", "master", "volume", "backfill")
"""First come first: invoices and journals, what others point to, time and expenses, and what can wait for the night."""

LOT_SECONDS: Final = 1.0
"""A lot holds at most what its slot may use in this time."""
BURST_SECONDS: Final = 0.25
LEASE_SECONDS: Final = 12.0
"""How long after a worker's death its slots come back; a living one renews the lease of a call that takes longer."""
SEEN_SECONDS: Final = 3.0
"""Who has not asked for so long does not stand in line any more."""
AGED_SECONDS: Final = 30.0
"""Who waits this long for each lane before theirs goes first, once."""
SLOWER: Final = 0.7
SLOWEST: Final = 0.1
RAISE_SECONDS: Final = 1.0
LONGEST_PAUSE: Final = 900.0
LONGEST_GUESS: Final = 60.0
SIGN_IN_SECONDS: Final = 45.0
SIGN_INS_AN_HOUR: Final = 5
"""How many refused sign-ins an hour we risk; vendors lock an account after six or more."""


@dataclass(frozen=True, slots=True)
class Lot:
    """One slot of an account for some calls.

    seconds  how long new calls may be begun on it
    """

    lot: int
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing now; ask again in so many seconds. `paused` when the vendor wants everybody to stay away."""

    seconds: float
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody in line: how long in seconds, and the turn its legal entity has had in its lane (calls)."""

    holder: str
    lane: str
    entity: str
    seconds: float
    turn: float


@dataclass(frozen=True, slots=True)
class Returned:
    """A lot given back: how many of its calls were made, and how many were not."""

    lot: int
    used: int
    unused: int


def in_line(waiting: Sequence[Waiting]) -> list[Waiting]:
    """Return who is first, second and so on.

    Lanes go in their order; inside a lane the legal entity that has had the least. Who has waited too long for its
    lane goes before all, so that nobody waits for ever.

    >>> late = Waiting("w", "backfill", "DE01", 95.0, 400.0)
    >>> post, big = Waiting("w", "posting", "US01", 0.1, 3.0), Waiting("w", "posting", "DE01", 0.2, 9.0)
    >>> [one.lane for one in in_line([big, late, post])], in_line([big, post])[0].entity
    (['backfill', 'posting', 'posting'], 'US01')
    """

    def place(one: Waiting) -> tuple[bool, int, float, float]:
        rank = rank_of(one.lane)
        aged = rank > 0 and one.seconds >= AGED_SECONDS * rank
        return (not aged, rank, one.turn, -one.seconds)

    return sorted(waiting, key=place)


def rank_of(lane: str) -> int:
    """Return a lane's place, the first is 0; an unknown one comes last."""
    return LANES.index(lane) if lane in LANES else len(LANES)


def open_account(tx: Tx, account: str, per_second: float, concurrency: int, timeout_seconds: float) -> None:
    """Make an account's limits known; a changed limit takes effect at once."""
    tx.run(
        """
        insert into budgets as b (account, per_second, concurrency, timeout_seconds, rate, slots)
        values (%(account)s, %(rate)s, %(slots)s, %(timeout)s, %(rate)s, %(slots)s)
        on conflict (account) do update set per_second = excluded.per_second, concurrency = excluded.concurrency,
            timeout_seconds = excluded.timeout_seconds,
            rate = case when b.per_second = excluded.per_second then b.rate else excluded.rate end,
            slots = case when b.concurrency = excluded.concurrency then b.slots else excluded.slots end
        where (b.per_second, b.concurrency, b.timeout_seconds)
            is distinct from (excluded.per_second, excluded.concurrency, excluded.timeout_seconds)
        """,
        {"account": account, "rate": per_second, "slots": concurrency, "timeout": timeout_seconds},
    )


def take(tx: Tx, account: str, holder: str, lane: str, entity: str, wanted: int) -> Lot | Wait:
    """Give out a lot when it is this holder's turn, or say when to ask again.

    wanted  how many calls it has to make; a lot is never more than that
    """
    row = tx.row(
        """
        select b.*, clock_timestamp() as moment, least(greatest(1, rate * %s), tokens + rate * extract(
            epoch from clock_timestamp() - filled_at))::float8 as filled,
            extract(epoch from paused_until - clock_timestamp())::float8 as paused
        from budgets b where account = %s for update
        """,
        (BURST_SECONDS, account),
    )
    if row is None:
        raise LookupError(f"no budget was opened for {account}")
    moment: datetime = row["moment"]
    tx.run("delete from budget_lots where account = %s and lease_until < %s", (account, moment))
    _stand_in_line(tx, account, holder, lane, entity, wanted, moment)
    if row["paused"] is not None and row["paused"] > 0:
        return Wait(row["paused"], paused=True)
    line = in_line(_line(tx, account, moment))
    first = line[0]
    held = tx.row(
        "select count(*) as all, count(*) filter (where lane <> 'posting') as others from budget_lots where account = %s",
        (account,),
    )
    assert held is not None
    slots = int(row["slots"])
    # The last slot is kept for posting: a read of an hour's length never stands before the close.
    free = slots - held["all"] if lane == "posting" else min(slots - held["all"], max(1, slots - 1) - held["others"])
    if (first.lane, first.entity) != (lane, entity) and not _passes_by(line, lane, entity, slots, held):
        return Wait(_soon(row, free, 1))
    # Calls come in one by one; who is in no hurry waits for a handful of them, or every call would ask here.
    handful = 1 if lane == "posting" else max(1, min(wanted, int(row["rate"] * BURST_SECONDS / slots)))
    if free < 1 or row["filled"] < handful:
        return Wait(_soon(row, free, handful))
    calls = max(1, min(wanted, int(row["filled"]), int(row["rate"] * LOT_SECONDS / slots) or 1))
    tx.run(
        "update budgets set tokens = %s, filled_at = %s where account = %s", (row["filled"] - calls, moment, account)
    )
    seconds = LOT_SECONDS + 1.0
    lot = tx.value(
        """
        insert into budget_lots (account, holder, lane, entity, calls, lease_until)
        values (%s, %s, %s, %s, %s, %s) returning lot
        """,
        (account, holder, lane, entity, calls, moment + timedelta(seconds=LEASE_SECONDS)),
    )
    tx.run(
        "update budget_turns set turn = turn + %s where account = %s and lane = %s and entity = %s",
        (calls, account, lane, entity),
    )
    tx.run(
        "delete from budget_waits where account = %s and holder = %s and lane = %s and entity = %s",
        (account, holder, lane, entity),
    )
    return Lot(int(lot), calls, seconds)


def _passes_by(line: Sequence[Waiting], lane: str, entity: str, slots: int, held: dict[str, Any]) -> bool:
    """Say whether whoever stands before us could not use the free slot anyway: it is the one kept for posting."""
    if lane != "posting" or held["others"] < max(1, slots - 1):
        return False
    posting = [one for one in line if one.lane == "posting"]
    return (posting[0].lane, posting[0].entity) == (lane, entity)


def _soon(row: dict[str, Any], free: int, calls: int) -> float:
    missing = max(0.0, calls - row["filled"]) / row["rate"]
    return float(min(0.5, max(missing, 0.02 if free > 0 else 0.05)))


def _stand_in_line(tx: Tx, account: str, holder: str, lane: str, entity: str, wanted: int, moment: datetime) -> None:
    """Take a place in line; who comes anew has had as much as those who wait already: rest earns no credit."""
    tx.run(
        "delete from budget_waits where account = %s and seen_at < %s",
        (account, moment - timedelta(seconds=SEEN_SECONDS)),
    )
    new = tx.value(
        """
        insert into budget_waits (account, holder, lane, entity, wanted, since, seen_at)
        values (%(account)s, %(holder)s, %(lane)s, %(entity)s, %(wanted)s, %(moment)s, %(moment)s)
        on conflict (account, holder, lane, entity) do update set wanted = excluded.wanted, seen_at = excluded.seen_at
        returning since = seen_at
        """,
        {"account": account, "holder": holder, "lane": lane, "entity": entity, "wanted": wanted, "moment": moment},
    )
    if not new:
        return
    tx.run(
        """
        insert into budget_turns as t (account, lane, entity, turn)
        select %(account)s, %(lane)s, %(entity)s, coalesce(
            (select min(o.turn) from budget_turns o join budget_waits w using (account, lane, entity)
             where o.account = %(account)s and o.lane = %(lane)s and o.entity <> %(entity)s),
            (select max(o.turn) from budget_turns o where o.account = %(account)s and o.lane = %(lane)s), 0)
        on conflict (account, lane, entity) do update set turn = greatest(t.turn, excluded.turn)
        """,
        {"account": account, "lane": lane, "entity": entity},
    )


def _line(tx: Tx, account: str, moment: datetime) -> list[Waiting]:
    rows = tx.rows(
        """
        select holder, lane, entity, extract(epoch from %s::timestamptz - since)::float8 as seconds, turn
        from budget_waits join budget_turns using (account, lane, entity) where account = %s
        order by since, holder
        """,
        (moment, account),
    )
    return [Waiting(**row) for row in rows]


def renew(tx: Tx, account: str, lots: Sequence[int]) -> None:
    """Keep lots whose calls are still under way."""
    tx.run(
        """
        update budget_lots set lease_until = clock_timestamp() + make_interval(secs => %s)
        where account = %s and lot = any(%s)
        """,
        (LEASE_SECONDS, account, list(lots)),
    )


def leave(tx: Tx, account: str, holder: str, lane: str, entity: str) -> None:
    """Step out of the line: the calls are not wanted any more."""
    tx.run(
        "delete from budget_waits where account = %s and holder = %s and lane = %s and entity = %s",
        (account, holder, lane, entity),
    )


def give_back(tx: Tx, account: str, lots: Sequence[Returned], *, well: bool) -> None:
    """Take lots back: the slots are free, calls not made can be given to others, calls made are counted.

    well  none of the calls was told to wait: the pace is raised a little, once a second
    """
    tx.run("select from budgets where account = %s for update", (account,))
    unused = tx.rows(
        """
        with back as (
            select * from unnest(%(lots)s::bigint[], %(used)s::int[], %(unused)s::int[]) as r (lot, used, unused)),
        gone as (
            delete from budget_lots l using back r where l.lot = r.lot and l.account = %(account)s
            returning l.lane, l.entity, r.used, r.unused),
        counted as (
            insert into budget_use as u (account, minute, lane, entity, calls)
            select %(account)s, date_trunc('minute', clock_timestamp()), lane, entity, sum(used) from gone
            where used > 0 group by lane, entity
            on conflict (account, minute, lane, entity) do update set calls = u.calls + excluded.calls
            returning 1)
        select lane, entity, sum(unused)::int as unused from gone group by lane, entity
        """,
        {
            "account": account,
            "lots": [one.lot for one in lots],
            "used": [one.used for one in lots],
            "unused": [one.unused for one in lots],
        },
    )
    for row in unused:
        tx.run(
            "update budget_turns set turn = greatest(0, turn - %s) where account = %s and lane = %s and entity = %s",
            (row["unused"], account, row["lane"], row["entity"]),
        )
    tx.run(
        """
        update budgets set
            tokens = least(greatest(1, rate * %(burst)s), tokens + %(unused)s),
            strikes = case when %(well)s then 0 else strikes end,
            rate = case when %(well)s and ripe then least(per_second, rate + per_second * 0.05) else rate end,
            slots = case when %(well)s and ripe then least(concurrency, slots + 0.2) else slots end,
            raised_at = case when %(well)s and ripe then clock_timestamp() else raised_at end
        from (
            select coalesce(greatest(raised_at, slowed_at) < clock_timestamp() - make_interval(secs => %(raise)s), true)
                as ripe
            from budgets where account = %(account)s) old
        where account = %(account)s
        """,
        {
            "account": account,
            "unused": sum(row["unused"] for row in unused),
            "well": well,
            "burst": BURST_SECONDS,
            "raise": RAISE_SECONDS,
        },
    )


def slow_down(tx: Tx, account: str, retry_after: float | None, *, overload: bool, alone: bool = False) -> float:
    """Keep everybody away for a while; return for how long, seconds.

    retry_after  what the vendor said, already read as a number; clamped to 1 s .. 15 min. None: we guess, longer
                 each time it happens in a row, up to a minute
    overload     it was our pace (not an outage): fewer calls a second and one slot less, once a second; a refusal
                 that stands alone, between calls that went well, is waited for and changes nothing else
    alone        a call of the same worker went well since the last refusal: counting in a row begins anew
    """
    row = tx.row(
        """
        update budgets set strikes = old.before + 1,
            paused_until = greatest(paused_until, clock_timestamp() + make_interval(secs => (1 + 0.1 * random()) * case
                when %(said)s::float8 is null then least(%(guess)s, 0.1 * power(2, least(old.before, 12)))
                else least(greatest(%(said)s::float8, 1), %(longest)s) end)),
            rate = case when %(overload)s and ripe then greatest(per_second * %(slowest)s, rate * %(slower)s) else rate end,
            slots = case when %(overload)s and ripe then greatest(1, floor(slots) - 1) else slots end,
            slowed_at = case when %(overload)s and ripe then clock_timestamp() else slowed_at end
        from (select case when %(alone)s then 0 else strikes end as before, not %(alone)s and strikes > 0
                  and coalesce(slowed_at < clock_timestamp() - interval '1 second', true) as ripe
              from budgets where account = %(account)s for update) old
        where account = %(account)s
        returning extract(epoch from paused_until - clock_timestamp())::float8 as seconds
        """,
        {
            "account": account,
            "said": retry_after,
            "guess": LONGEST_GUESS,
            "longest": LONGEST_PAUSE,
            "overload": overload,
            "alone": alone,
            "slowest": SLOWEST,
            "slower": SLOWER,
        },
    )
    return float(row["seconds"]) if row else 0.0


def forget_use(tx: Tx, days: int = 8) -> int:
    """Drop minutes older than so many days; return how many rows went."""
    return tx.run("delete from budget_use where minute < now() - make_interval(days => %s)", (days,))


# --- signing in -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignIn:
    """Whether we may sign in now.

    may      True: this holder alone, until it says how it ended
    seconds  else when to ask again
    reason   else why not, for a person
    stopped  else True when only a person can change it
    """

    may: bool
    seconds: float = 0.0
    reason: str = ""
    stopped: bool = False


def may_sign_in(tx: Tx, account: str, holder: str, mark: str) -> SignIn:
    """Let one worker at a time sign in to an account, and none when another refusal could lock it.

    mark  tells credentials apart without saying anything of them: changed ones begin anew
    """
    tx.run("insert into sign_ins (account, mark) values (%s, %s) on conflict (account) do nothing", (account, mark))
    row = tx.row(
        """
        select *, extract(epoch from until - clock_timestamp())::float8 as busy,
            extract(epoch from next_at - clock_timestamp())::float8 as back_off
        from sign_ins where account = %s for update
        """,
        (account,),
    )
    assert row is not None
    if row["mark"] != mark:
        tx.run(
            """
            update sign_ins set mark = %s, accepted_at = null, in_a_row = 0, next_at = null, stopped_at = null,
                reason = null where account = %s
            """,
            (mark, account),
        )
        row |= {"stopped_at": None, "back_off": None}
    if row["stopped_at"]:
        return SignIn(False, LONGEST_GUESS, row["reason"] or "", stopped=True)
    if row["busy"] is not None and row["busy"] > 0 and row["holder"] != holder:
        return SignIn(False, min(1.0, row["busy"]), "another worker is signing in")
    if row["back_off"] is not None and row["back_off"] > 0:
        return SignIn(False, row["back_off"], f"the last sign-in was refused: {row['reason']}")
    recent = tx.row(
        """
        select count(*) as failures, extract(epoch from min(failed_at) + interval '1 hour' - clock_timestamp())::float8
            as seconds
        from sign_in_failures where account = %s and failed_at > clock_timestamp() - interval '1 hour'
        """,
        (account,),
    )
    assert recent is not None
    if recent["failures"] >= SIGN_INS_AN_HOUR:
        reason = f"{recent['failures']} sign-ins were refused within an hour; more of them could lock the account"
        return SignIn(False, max(1.0, min(recent["seconds"], LONGEST_PAUSE)), reason)
    tx.run(
        """
        update sign_ins set holder = %s, until = clock_timestamp() + make_interval(secs => %s) where account = %s
        """,
        (holder, SIGN_IN_SECONDS, account),
    )
    return SignIn(True)


def signed_in(tx: Tx, account: str) -> None:
    """Note that the vendor accepted our credentials; whoever waited may go on."""
    tx.run(
        """
        update sign_ins set accepted_at = clock_timestamp(), in_a_row = 0, next_at = null, holder = null, until = null,
            stopped_at = null, reason = null
        where account = %s
        """,
        (account,),
    )


def gave_up_sign_in(tx: Tx, account: str) -> None:
    """Let others try: the token endpoint did not answer, which says nothing about our credentials."""
    tx.run("update sign_ins set holder = null, until = null where account = %s", (account,))


def sign_in_refused(tx: Tx, account: str, reason: str) -> SignIn:
    """Note a refusal and say what follows.

    Credentials that were never accepted are wrong: the account is left alone until a person changes them. Credentials
    that were accepted before may have met an overload in disguise: we wait, longer each time, and stop after as many
    refusals in a row as an hour may have.
    """
    tx.run("insert into sign_in_failures (account, reason) values (%s, %s)", (account, reason[:300]))
    row = tx.row(
        """
        update sign_ins set in_a_row = in_a_row + 1, holder = null, until = null, reason = %(reason)s,
            next_at = clock_timestamp() + make_interval(secs => least(%(longest)s, 5 * power(3, in_a_row))),
            stopped_at = case when accepted_at is null or in_a_row + 1 >= %(most)s then clock_timestamp() end
        where account = %(account)s
        returning stopped_at is not null as stopped, extract(epoch from next_at - clock_timestamp())::float8 as seconds
        """,
        {"account": account, "reason": reason[:300], "longest": LONGEST_PAUSE, "most": SIGN_INS_AN_HOUR},
    )
    assert row is not None
    return SignIn(False, row["seconds"], reason, stopped=row["stopped"])


def resume_sign_in(tx: Tx, account: str) -> bool:
    """Let the hub sign in again after a person has looked; False when it was not stopped."""
    tx.run("delete from sign_in_failures where account = %s", (account,))
    return bool(
        tx.run(
            """
            update sign_ins set in_a_row = 0, next_at = null, stopped_at = null, reason = null
            where account = %s and (stopped_at is not null or in_a_row > 0)
            """,
            (account,),
        )
    )


def accounts(tx: Tx) -> list[dict[str, Any]]:
    """Return every account with its limits, its pace now, and how signing in stands."""
    return tx.rows(
        """
        select b.*, greatest(0, extract(epoch from b.paused_until - clock_timestamp()))::float8 as paused_seconds,
            s.accepted_at, s.in_a_row, s.stopped_at, s.reason
        from budgets b left join sign_ins s using (account) order by account
        """
    )

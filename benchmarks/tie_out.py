"""A tie-out of a million time entries with their system, and what the next one costs after some of them changed.

Ours   `tie_outs.fold` and all that books a tie-out, over a million entries the hub holds and a million that the system
       said; then the same after 1,000 and after 10,000 entries changed on either side
Limit  of the whole: both sides read by COPY into Polars, joined and compared, nothing kept; of the changes: what a
       thousand changes took, times how many thousands there are
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl

from ground import close, ground
from measure import Figure, p50, seconds
from time_intake import people_and_projects
from trueup.kernel.ids import derive
from trueup.pipeline import reconcile
from trueup.pipeline.house import House
from trueup.store import ledger, tie_outs
from trueup.store.database import Tx
from trueup.store.tie_outs import Pair, Said

ENTRIES = 1_000_000
TIMES = 3
CHANGED = (1_000, 10_000)
PAIR = ("kantata", "time_entry")
SIDE = {"external_id": pl.String(), "status": pl.String(), "minutes": pl.Int64(), "worked_on": pl.String()}


def measure() -> Iterator[Figure]:
    """Fill both sides, tie them out whole, then change some and tie out what changed."""
    with ground() as site:
        house = site.house()
        people_and_projects(house)
        _fill(house)
        pair = next(pair for pair, _ in reconcile.compared_pairs(house) if (pair.system, pair.object) == PAIR)
        _say(house, "first", range(ENTRIES), 0)
        first = seconds(partial(_book, house, pair, "first", whole=True))
        _agree(house, 0)
        with house.database.transaction() as tx:
            tx.run("analyze")
        bare, whole = [], []
        for turn in range(TIMES):
            bare.append(seconds(partial(_bare, house)))
            _say(house, f"whole/{turn}", range(ENTRIES), 0)
            whole.append(seconds(partial(_book, house, pair, f"whole/{turn}", whole=True)))
        yield Figure(
            "tie_out_million", "s", p50(whole), p50(bare), "both sides computed and compared again, group sums kept"
        )
        yield Figure(
            "tie_out_million_first", "s", first, p50(bare), "the first time: a line is written for every record"
        )
        taken = {}
        for count in CHANGED:
            times = []
            for turn in range(TIMES):
                _change(house, count, turn)
                run = f"changed/{count}/{turn}"
                _say(house, run, range(count // 2, count // 2 + count), turn + 1)
                times.append(seconds(partial(_book, house, pair, run, whole=False)))
            taken[count] = p50(times)
            limit = taken[CHANGED[0]] * count / CHANGED[0]
            note = f"{count:,} changed here, {count:,} there, of {ENTRIES:,}"
            yield Figure(f"tie_out_after_{count}_changes", "s", taken[count], limit, note)
        close(house)


def _fill(house: House) -> None:
    """Put a million approved entries and their links down, as intake leaves them."""
    projects = [derive("project", "bench", str(number)) for number in range(50)]
    with house.database.transaction() as tx:
        tx.run(
            """
            create temp table bench_gids (number bigint, gid text) on commit drop
            """
        )
        tx.copy("bench_gids", ("number", "gid"), ((n, derive("time_entry", "bench", str(n))) for n in range(ENTRIES)))
        tx.run(
            """
            insert into time_entries (gid, status, resource, project, worked_on, minutes, billable, legal_entity, source_order)
            select gid, 'approved', 'res', (%(projects)s::text[])[1 + number %% 50],
                date '2026-01-01' + (number %% 360)::int, 15 + (number %% 32)::int * 15, true,
                (array['DE01', 'US01', 'UK01'])[1 + number %% 3], number from bench_gids
            """,
            {"projects": projects},
        )
        tx.run(
            """
            insert into crosswalk (system, object, external_id, gid)
            select 'kantata', 'time_entry', (120000000 + number)::text, gid from bench_gids
            """
        )
    with house.database.transaction() as tx:
        tx.run("analyze")


def _say(house: House, run: str, numbers: range, more: int) -> None:
    """Stage what the system says of some entries: `more` minutes above what they were."""
    rows = (_said(number, more) for number in numbers)
    with house.database.transaction() as tx:
        tie_outs.stage(tx, run, *PAIR, 0, rows)


def _said(number: int, more: int) -> Said:
    day = _day(number)
    said: dict[str, Any] = {"status": "approved", "minutes": str(15 + number % 32 * 15 + more), "worked_on": day}
    id = str(120_000_000 + number)
    return Said(id, id, "2026-11-02T08:00:00Z", said)


_DAYS = [day.isoformat() for day in pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 12, 31), eager=True).to_list()]


def _day(number: int) -> str:
    return _DAYS[number % 360]


def _change(house: House, count: int, turn: int) -> None:
    """Change the minutes of the first entries on our side."""
    with house.database.transaction() as tx:
        tx.run(
            """
            update time_entries set minutes = 15 + (source_order %% 32)::int * 15 + %(more)s, version = version + 1
            where source_order < %(count)s
            """,
            {"count": count, "more": turn + 1},
        )


def _book(house: House, pair: Pair, run: str, *, whole: bool) -> None:
    """Do what a tie-out does after the system was read: fold, name, keep, add up."""
    with house.database.transaction() as tx:
        tie_outs.alone(tx)
        ledger.begin_run(tx, run, "tie_out", None, None)
        tie_outs.take_changes(tx)
        tie_outs.fold(tx, run, pair, whole=whole)
        found = reconcile.named(tx, house, pair)
        tie_outs.keep_breaks(tx, run, found)
        tie_outs.write_sums(tx, run, {PAIR: pair.kind})
        tie_outs.unstage(tx, run)


def _agree(house: House, differ: int) -> None:
    """Stop the benchmark when the tie-out did not see what there is."""
    with house.database.transaction() as tx:
        row = tx.row("select sum(ours_count) as ours, sum(theirs_count) as theirs from tie_groups")
        found = tx.value("select count(*) from tie_lines where ours_hash is distinct from theirs_hash")
    if row is None or (row["ours"], row["theirs"], found) != (ENTRIES, ENTRIES, differ):
        raise SystemExit(f"tie-out: {row} with {found} that differ, {ENTRIES} and {differ} were expected")


def _bare(house: House) -> None:
    """Read both sides by COPY, join them, and count what differs."""
    with house.database.transaction() as tx:
        ours = _frame(
            tx,
            """
            select x.external_id, t.status, t.minutes, t.worked_on::text from time_entries t
            join crosswalk x on x.gid = t.gid where x.system = 'kantata' and x.object = 'time_entry'
            """,
        )
        theirs = _frame(
            tx,
            """
            select external_id, said ->> 'status', (said ->> 'minutes')::int, said ->> 'worked_on' from tie_lines
            where system = 'kantata' and object = 'time_entry'
            """,
        )
    both = ours.join(theirs, on="external_id", how="full", suffix="_theirs")
    differ = both.filter(
        (pl.col("minutes") != pl.col("minutes_theirs"))
        | (pl.col("status") != pl.col("status_theirs"))
        | (pl.col("worked_on") != pl.col("worked_on_theirs"))
    )
    if len(both) != ENTRIES or len(differ):
        raise SystemExit(f"the bare way: {len(differ)} of {len(both)} differ")


def _frame(tx: Tx, sql: Any) -> pl.DataFrame:
    return ledger.frame(tx, sql, None, SIDE)

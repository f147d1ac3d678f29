"""The tie-out's own books: a line for every record of every system, sums of the lines, breaks, and signed months.

A line holds both words on one record, as an amount and a hash of the fields that are compared. Groups add the lines up,
so that a change costs what it touches: the line is computed again, its old figures leave the group and its new enter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from trueup.store.database import Found, Tx, array, json, plain_json

KEEP_HOURS: Final = 48
"""Sums of continuous tie-outs older than this are forgotten; those that were signed, and all others, stay."""
CONTINUOUS: Final = "continuous/"
LARGEST: Final = 9_000_000_000_000_000_000
"""Sums beyond this are shown as this: what a system says may be any number."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One object of one system, and how it is compared with our kind.

    fields       names of the compared fields, in order; those that the system speaks of
    exact        of them, those that are numbers
    amount       field that is added up; None adds up nothing
    minutes      the sum is of whole minutes, not of money
    day          field whose month is the period
    only         statuses of ours that must exist in the system; empty means all
    same         our statuses -> theirs that mean the same
    multipliers  currency -> units in one of it, where that is not a million (two digits)
    """

    system: str
    object: str
    kind: str
    fields: tuple[str, ...]
    exact: frozenset[str]
    amount: str | None
    minutes: bool
    day: str | None
    only: frozenset[str]
    same: Mapping[str, str]
    multipliers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Said:
    """What a system says of one record now; `said` is None when it says that it is gone, or that it is not ours.

    generation  how often the record was deleted before: a deletion ends every earlier word, whatever its stamp
    """

    external_id: str
    record: str
    stamp: str
    said: dict[str, Any] | None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """How far the tie-out has read an object of a system.

    age_seconds  since it was read whole; None when it never was
    """

    cursor: str | None
    age_seconds: float | None


# --- reading a system ------------------------------------------------------------------------------------------------


def source(tx: Tx, system: str, object_name: str) -> Source:
    """Return how far an object has been read."""
    row = tx.row(
        """
        select cursor, extract(epoch from now() - swept_at)::float8 as age_seconds from tie_sources
        where system = %s and object = %s
        """,
        (system, object_name),
    )
    return Source(row["cursor"], row["age_seconds"]) if row else Source(None, None)


def stage(tx: Tx, run: str, system: str, object_name: str, start: int, words: Iterable[Said]) -> int:
    """Keep what a system says for the tie-out that reads it; return how many words. A later word of a record counts.

    start  position of the first word: later pages have higher ones
    """
    return tx.copy(
        "tie_said",
        ("run", "system", "object", "external_id", "record", "generation", "stamp", "position", "said"),
        (
            (run, system, object_name, word.external_id, word.record, word.generation, word.stamp, position,
             None if word.said is None else plain_json(word.said))
            for position, word in enumerate(words, start)
        ),
    )  # fmt: skip


def unstage(tx: Tx, run: str) -> None:
    """Forget what was staged under a run, and what tie-outs that were cut short left behind for a day."""
    tx.run("delete from tie_said where run = %s or created_at < now() - interval '1 day'", (run,))


def read_to(tx: Tx, system: str, object_name: str, cursor: str | None, whole: bool) -> None:
    """Note how far an object has been read, in the transaction that books what was read."""
    tx.run(
        """
        insert into tie_sources (system, object, cursor, swept_at) values (%s, %s, %s, case when %s then now() end)
        on conflict (system, object) do update set cursor = excluded.cursor, read_at = now(),
            swept_at = coalesce(excluded.swept_at, tie_sources.swept_at)
        """,
        (system, object_name, cursor, whole),
    )


# --- lines and groups ------------------------------------------------------------------------------------------------


def alone(tx: Tx) -> None:
    """Let nobody else book a tie-out until this transaction ends."""
    tx.run("select pg_advisory_xact_lock(hashtextextended('tie_out', 0))")


def take_changes(tx: Tx) -> int:
    """Take the objects that changed since the last tie-out into this transaction; return how many.

    What is not committed yet is not seen and stays for the next time, however late it commits.
    """
    tx.stage("tie_moved", "create temp table if not exists tie_moved (gid text primary key) on commit delete rows")
    return tx.run(
        """
        with taken as (delete from tie_changes returning gid)
        insert into tie_moved select distinct gid from taken
        """
    )


def keep_to(tx: Tx, pairs: Sequence[tuple[str, str]]) -> None:
    """Forget lines and sums of what is not compared any more."""
    for table in ("tie_groups", "tie_lines", "tie_sources"):
        tx.run(
            _FORGET[table],
            (array(pair[0] for pair in pairs), array(pair[1] for pair in pairs)),
        )


_FORGET: dict[str, LiteralString] = {
    table: (
        "delete from " + table + " where (system, object) not in (select * from unnest(%s::text[], %s::text[]))"
    )
    for table in ("tie_groups", "tie_lines", "tie_sources")
}  # fmt: skip


def fold(tx: Tx, run: str, pair: Pair, *, whole: bool) -> int:
    """Compute the lines of a pair that may have changed, and let their groups follow; return how many lines changed.

    whole  compute every line; what was not staged under the run is not there any more
    """
    tx.stage(
        "tie_touched",
        "create temp table if not exists tie_touched (external_id text primary key) on commit delete rows",
    )
    tx.stage(
        "tie_fresh",
        "create temp table if not exists tie_fresh (like tie_lines including defaults) on commit delete rows",
    )
    key = {"run": run, "system": pair.system, "object": pair.object}
    if whole:
        tx.run("set local work_mem = '256MB'")  # both sides are read, hashed and joined once
    else:
        tx.run(_TOUCH, key)
        tx.run("analyze tie_touched")
    params = {
        **key,
        "whole": whole,
        "kind": pair.kind,
        "names": list(pair.fields),
        "exact": [name in pair.exact for name in pair.fields],
        "amount": pair.amount,
        "minutes": pair.minutes,
        "day": pair.day or "",
        "only": sorted(pair.only),
        "same": json(dict(pair.same)),
        "multipliers": json(dict(pair.multipliers)),
    }
    changed = tx.run(_FRESH[(pair.kind == "time_entry", whole)], params)
    if changed:
        tx.run(_GROUPS, key)
        tx.run(_LINES)
        tx.run(
            """
            delete from tie_lines l using tie_fresh f
            where l.system = f.system and l.object = f.object and l.external_id = f.external_id
                and l.gid is null and l.said is null
            """
        )
    return changed


_TOUCH: LiteralString = """
with heard as (
    select external_id, record from tie_said where run = %(run)s and system = %(system)s and object = %(object)s
), direct as (
    select external_id from heard
    union
    select record from heard
    union
    select l.external_id from heard h
    join tie_lines l on l.system = %(system)s and l.object = %(object)s and l.record = h.record
        and l.record <> l.external_id
    union
    select x.external_id from tie_moved m
    join crosswalk x on x.gid = m.gid and x.system = %(system)s and x.object = %(object)s
    union
    select l.external_id from tie_moved m
    join tie_lines l on l.gid = m.gid and l.system = %(system)s and l.object = %(object)s
), same_object as (
    select b.external_id from direct d
    join crosswalk a on a.system = %(system)s and a.object = %(object)s and a.external_id = d.external_id
    join crosswalk b on b.gid = a.gid and b.system = %(system)s and b.object = %(object)s
)
insert into tie_touched select external_id from direct union select external_id from same_object
"""

_OBJECTS: LiteralString = """
    select gid, kind, status, legal_entity, tombstone, body from objects
"""
_TIME: LiteralString = """
    select gid, 'time_entry' as kind, status, legal_entity, tombstone,
        jsonb_build_object('status', status, 'minutes', minutes, 'worked_on', worked_on) as body from time_entries
"""
_FRESH_HEAD: LiteralString = """
with heard as (
    select distinct on (external_id) external_id, record, stamp, said from tie_said
    where run = %(run)s and system = %(system)s and object = %(object)s
    order by external_id, generation desc, stamp desc, position desc
), booked as (
    select * from tie_lines where system = %(system)s and object = %(object)s
), linked as (
    select external_id, gid from crosswalk where system = %(system)s and object = %(object)s
), keyed as (
    select """
_KEYED: LiteralString = """ as external_id, s.external_id is not null as heard, s.record as s_record,
        s.said as s_said, s.stamp as s_stamp, x.gid, l.external_id is not null as booked, l.record as l_record,
        l.stamp as l_stamp, l.gid as l_gid, l.said as l_said, l.legal_entity as l_entity, l.period as l_period,
        l.currency as l_currency, l.ours_hash as l_ours, l.ours_amount as l_ours_amount, l.theirs_hash as l_theirs,
        l.theirs_amount as l_theirs_amount, """
# Rows of a record that was read again, and no longer has them, are gone.
_SOME: LiteralString = (
    "t.external_id"
    + _KEYED
    + """r.record is not null as gone
    from tie_touched t
    left join heard s on s.external_id = t.external_id
    left join booked l on l.external_id = t.external_id
    left join linked x on x.external_id = t.external_id
    left join (select distinct record from heard) r on r.record = l.record
"""
)
_ALL: LiteralString = (
    "coalesce(s.external_id, l.external_id, x.external_id)"
    + _KEYED
    + """true as gone
    from heard s
    full join booked l on l.external_id = s.external_id
    full join linked x on x.external_id = coalesce(s.external_id, l.external_id)
"""
)
_FRESH_HELD: LiteralString = """
), held as (
    select k.*, coalesce(s_record, l_record, external_id) as record, coalesce(s_stamp, l_stamp, '') as stamp,
        case when heard then s_said when gone then null else l_said end as said,
        o.gid as known, o.status, o.legal_entity, o.tombstone, o.body
    from keyed k
    left join ("""
_FRESH_TAIL: LiteralString = """) o on o.gid = k.gid and o.kind = %(kind)s
), judged as (
    select h.*,
        known is not null and (cardinality(%(only)s::text[]) = 0 or status = any(%(only)s::text[]))
            and (tombstone is distinct from 'deleted' or exists (
                select from charges c where c.fact = h.known and c.document is not null)) as comparable,
        said is null and known is not null and exists (
            select from crosswalk b
            left join heard s on s.external_id = b.external_id
            left join tie_lines l on l.system = b.system and l.object = b.object and l.external_id = b.external_id
            where b.gid = h.gid and b.system = %(system)s and b.object = %(object)s and b.external_id <> h.external_id
                and case when s.external_id is not null then s.said is not null
                    else not %(whole)s and l.said is not null end) as there_under_another_id,
        coalesce(body ->> 'currency', said ->> 'currency', '') as own_currency
    from held h
    offset 0 -- a fence: what follows is computed once for a row, not once for each use
), sides as (
    select j.*, comparable and not there_under_another_id as ours, said is not null and (gid is null or comparable) as theirs,
        coalesce((%(multipliers)s::jsonb ->> own_currency)::numeric, 1000000) as ours_by,
        coalesce((%(multipliers)s::jsonb ->> coalesce(said ->> 'currency', own_currency))::numeric, 1000000) as theirs_by
    from judged j
), lines as (
    select external_id, record, gid, said, stamp, booked, l_gid, l_said, l_entity, l_period, l_currency, l_ours,
        l_ours_amount, l_theirs, l_theirs_amount,
        coalesce(legal_entity, said ->> 'legal_entity', '') as entity,
        coalesce(nullif(body ->> 'period', ''), left(coalesce(body ->> %(day)s, said ->> %(day)s), 7), said ->> 'period', '')
            as period,
        own_currency as currency,
        case when not ours then null when %(amount)s::text is null then 0 when %(minutes)s
            then coalesce((body ->> %(amount)s)::numeric, 0)
            else round(coalesce((body ->> %(amount)s)::numeric, 0) * ours_by) end as ours_amount,
        case when not theirs then null when %(amount)s::text is null then 0 when %(minutes)s
            then coalesce((said ->> %(amount)s)::numeric, 0)
            else round(coalesce((said ->> %(amount)s)::numeric, 0) * theirs_by) end as theirs_amount,
        case when ours then hashtextextended(external_id || chr(31) || """
_FRESH_END: LiteralString = """, 0) end as theirs_hash
    from sides
    offset 0
)
insert into tie_fresh (system, object, external_id, record, gid, said, stamp, legal_entity, period, currency,
    ours_amount, ours_hash, theirs_amount, theirs_hash)
select %(system)s, %(object)s, external_id, record, gid, said, stamp, entity, period, currency,
    ours_amount, ours_hash, theirs_amount, theirs_hash
from lines
where not booked or (gid, said, entity, period, currency, ours_amount, ours_hash, theirs_amount, theirs_hash)
    is distinct from (l_gid, l_said, l_entity, l_period, l_currency, l_ours_amount, l_ours, l_theirs_amount, l_theirs)
"""
_OURS_ANY: LiteralString = """(
            select coalesce(string_agg(case when said is not null and not said ? f.name then ''
                when f.exact then coalesce(trim_scale((body ->> f.name)::numeric)::text, '')
                when f.name = 'status' then coalesce(%(same)s::jsonb ->> (body ->> 'status'), body ->> 'status', '')
                else coalesce(body ->> f.name, '') end, chr(31) order by f.place), '')
            from unnest(%(names)s::text[], %(exact)s::bool[]) with ordinality as f (name, exact, place))"""
_THEIRS_ANY: LiteralString = """(
            select coalesce(string_agg(case when not said ? f.name then ''
                when f.exact then coalesce(trim_scale((said ->> f.name)::numeric)::text, '')
                else coalesce(said ->> f.name, '') end, chr(31) order by f.place), '')
            from unnest(%(names)s::text[], %(exact)s::bool[]) with ordinality as f (name, exact, place))"""
# Time entries are many, and the same three fields each time: written out, they cost a third.
_OURS_TIME: LiteralString = """
            case when said is null or said ? 'status' then body ->> 'status' else '' end || chr(31)
            || case when said is null or said ? 'minutes' then body ->> 'minutes' else '' end || chr(31)
            || case when said is null or said ? 'worked_on' then body ->> 'worked_on' else '' end"""
_THEIRS_TIME: LiteralString = """
            coalesce(said ->> 'status', '') || chr(31) || coalesce(said ->> 'minutes', '') || chr(31)
            || coalesce(said ->> 'worked_on', '')"""
_BETWEEN: LiteralString = """, 0) end as ours_hash,
        case when theirs then hashtextextended(external_id || chr(31) || """
_OBJECTS_TAIL: LiteralString = _FRESH_HELD + _OBJECTS + _FRESH_TAIL + _OURS_ANY + _BETWEEN + _THEIRS_ANY + _FRESH_END
_TIME_TAIL: LiteralString = _FRESH_HELD + _TIME + _FRESH_TAIL + _OURS_TIME + _BETWEEN + _THEIRS_TIME + _FRESH_END
_FRESH: dict[tuple[bool, bool], LiteralString] = {
    (False, False): _FRESH_HEAD + _SOME + _OBJECTS_TAIL,
    (False, True): _FRESH_HEAD + _ALL + _OBJECTS_TAIL,
    (True, False): _FRESH_HEAD + _SOME + _TIME_TAIL,
    (True, True): _FRESH_HEAD + _ALL + _TIME_TAIL,
}
"""(time entries?, whole?) -> the statement that computes lines."""

_GROUPS: LiteralString = """
with moves as (
    select l.legal_entity, l.period, l.currency, -1 as sign, l.ours_amount, l.ours_hash, l.theirs_amount, l.theirs_hash
    from tie_fresh f join tie_lines l using (system, object, external_id)
    union all
    select legal_entity, period, currency, 1, ours_amount, ours_hash, theirs_amount, theirs_hash from tie_fresh
), deltas as (
    select legal_entity, period, currency,
        coalesce(sum(sign) filter (where ours_hash is not null or theirs_hash is not null), 0) as records,
        coalesce(sum(sign) filter (where ours_hash is not null), 0) as ours_count,
        coalesce(sum(sign * ours_amount), 0) as ours_sum,
        coalesce(sum(sign * ours_hash::numeric), 0) as ours_hash,
        coalesce(sum(sign) filter (where theirs_hash is not null), 0) as theirs_count,
        coalesce(sum(sign * theirs_amount), 0) as theirs_sum,
        coalesce(sum(sign * theirs_hash::numeric), 0) as theirs_hash
    from moves group by legal_entity, period, currency
), followed as (
    update tie_groups g set records = g.records + d.records,
        ours_count = g.ours_count + d.ours_count, ours_sum = g.ours_sum + d.ours_sum,
        ours_hash = g.ours_hash + d.ours_hash, theirs_count = g.theirs_count + d.theirs_count,
        theirs_sum = g.theirs_sum + d.theirs_sum, theirs_hash = g.theirs_hash + d.theirs_hash
    from deltas d
    where g.system = %(system)s and g.object = %(object)s and g.legal_entity = d.legal_entity and g.period = d.period
        and g.currency = d.currency
    returning g.legal_entity, g.period, g.currency
)
insert into tie_groups (system, object, legal_entity, period, currency, records, ours_count, ours_sum, ours_hash,
    theirs_count, theirs_sum, theirs_hash)
select %(system)s, %(object)s, d.* from deltas d
where not exists (select from followed f where (f.legal_entity, f.period, f.currency) = (d.legal_entity, d.period, d.currency))
"""
_LINES: LiteralString = """
insert into tie_lines (system, object, external_id, record, gid, said, stamp, legal_entity, period, currency,
    ours_amount, ours_hash, theirs_amount, theirs_hash)
select system, object, external_id, record, gid, said, stamp, legal_entity, period, currency,
    ours_amount, ours_hash, theirs_amount, theirs_hash from tie_fresh
on conflict (system, object, external_id) do update set record = excluded.record, gid = excluded.gid,
    said = excluded.said, stamp = excluded.stamp, legal_entity = excluded.legal_entity, period = excluded.period,
    currency = excluded.currency, ours_amount = excluded.ours_amount, ours_hash = excluded.ours_hash,
    theirs_amount = excluded.theirs_amount, theirs_hash = excluded.theirs_hash
"""


def differing(tx: Tx, pair: Pair) -> list[Found]:
    """Return the lines that differ, in groups that do not agree by count, sum and hash; groups that agree are not read.

    Returns   external_id, record, gid, said, stamp, legal_entity, period, currency, ours_amount, theirs_amount,
              ours (bool), theirs (bool), billed (bool: it stands on a document), message (number that waits in the
              inbox for this record, or None), delivery (key of a write to it that is on its way, or None)
    """
    return tx.rows(
        """
        select l.external_id, l.record, l.gid, l.said, l.stamp, l.legal_entity, l.period, l.currency, l.ours_amount,
            l.theirs_amount, l.ours_hash is not null as ours, l.theirs_hash is not null as theirs,
            exists (select from charges c where c.fact = l.gid and c.document is not null) as billed,
            (select max(number) from inbox i where i.system = l.system and i.object = l.object
                and i.external_id = l.record and i.state = 'pending') as message,
            (select max(key) from deliveries d where d.gid = l.gid and d.system = l.system and d.object = l.object
                and d.state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing')) as delivery
        from tie_groups g
        join tie_lines l using (system, object, legal_entity, period, currency)
        where g.system = %(system)s and g.object = %(object)s
            and (g.ours_count, g.ours_sum, g.ours_hash) is distinct from (g.theirs_count, g.theirs_sum, g.theirs_hash)
            and l.ours_hash is distinct from l.theirs_hash
        order by l.external_id
        """,
        {"system": pair.system, "object": pair.object},
    )


def write_sums(tx: Tx, run: str, kinds: Mapping[tuple[str, str], str]) -> tuple[int, int]:
    """Keep the groups as they are under a run; return how many groups, and how many records were compared.

    kinds  (system, vendor object) -> our kind
    """
    tx.run("delete from tie_outs where run = %s", (run,))
    pairs = list(kinds)
    row = tx.row(
        """
        with kept as (
            insert into tie_outs (run, object, system, legal_entity, period, currency, ours_count, ours_sum, ours_hash,
                theirs_count, theirs_sum, theirs_hash)
            select %(run)s, k.kind || ':' || g.object, g.system, g.legal_entity, g.period, g.currency, g.ours_count,
                greatest(least(g.ours_sum, %(most)s), -%(most)s::numeric)::bigint, g.ours_hash, g.theirs_count,
                greatest(least(g.theirs_sum, %(most)s), -%(most)s::numeric)::bigint, g.theirs_hash
            from tie_groups g
            join unnest(%(systems)s::text[], %(objects)s::text[], %(kinds)s::text[]) as k (system, object, kind)
                on k.system = g.system and k.object = g.object
            where g.records > 0
        )
        select count(*) as groups, coalesce(sum(records), 0)::bigint as records from tie_groups where records > 0
        """,
        {
            "run": run,
            "most": LARGEST,
            "systems": array(pair[0] for pair in pairs),
            "objects": array(pair[1] for pair in pairs),
            "kinds": array(kinds[pair] for pair in pairs),
        },
    )
    assert row is not None
    return row["groups"], row["records"]


def forget_old(tx: Tx) -> int:
    """Forget the sums of continuous tie-outs that are older than two days and that nobody signed."""
    old = """
        select r.run from runs r where r.kind = 'tie_out' and starts_with(r.run, %(continuous)s)
            and r.created_at < now() - make_interval(hours => %(hours)s)
            and not exists (select from sign_offs s where s.run = r.run)
    """
    params = {"continuous": CONTINUOUS, "hours": KEEP_HOURS}
    tx.run("delete from tie_outs where run in (" + old + ")", params)
    return tx.run("delete from runs where run in (" + old + ")", params)


# --- breaks ----------------------------------------------------------------------------------------------------------


def keep_breaks(tx: Tx, run: str, found: Sequence[Mapping[str, Any]]) -> tuple[list[Found], list[Found]]:
    """Keep the breaks a tie-out found, and close those that are gone; an acceptance ends when the difference changes.

    found     class, object, vendor_object, system, gid, external_id, label, legal_entity, period, currency, field,
              ours, theirs, amount, sentence, repair
    Returns   (what is new: number, gid, label, object, sentence; what ended: number, label)
    """
    tx.stage("tie_seen", "create temp table if not exists tie_seen (number bigint primary key) on commit delete rows")
    fresh: list[Found] = []
    for at in range(0, len(found), 1000):
        rows = tx.rows(_KEEP_BREAKS, {"run": run, "found": json(list(found[at : at + 1000]))})
        tx.copy("tie_seen", ("number",), ((row["number"],) for row in rows))
        fresh += [row for row in rows if row["fresh"]]
    closed = tx.rows(
        """
        update breaks set closed_at = now()
        where closed_at is null and number not in (select number from tie_seen) returning number, label
        """
    )
    tx.run(
        """
        with lapsed as (
            update breaks set accepted_by = null, accepted_at = null, accepted_reason = null
            where closed_at is null and accepted_at is not null and changed_at > accepted_at returning number
        )
        insert into break_notes (break, act, person, words)
        select number, 'acceptance_ended', 'trueup', 'the difference is another one now' from lapsed
        """
    )
    return fresh, closed


_KEEP_BREAKS: LiteralString = """
insert into breaks (class, object, vendor_object, system, gid, external_id, label, legal_entity, period, currency, field,
    ours, theirs, amount, sentence, repair, first_run, last_run)
select class, object, vendor_object, system, gid, external_id, label, legal_entity, period, currency, field, ours, theirs,
    amount, sentence, repair, %(run)s, %(run)s
from jsonb_to_recordset(%(found)s::jsonb) as f (class text, object text, vendor_object text, system text, gid text,
    external_id text, label text, legal_entity text, period text, currency text, field text, ours text, theirs text,
    amount bigint, sentence text, repair text)
on conflict (class, system, object, vendor_object, external_id) where closed_at is null
do update set last_run = excluded.last_run, gid = excluded.gid, label = excluded.label, field = excluded.field,
    legal_entity = excluded.legal_entity, period = excluded.period, currency = excluded.currency,
    ours = excluded.ours, theirs = excluded.theirs, amount = excluded.amount, sentence = excluded.sentence,
    changed_at = case when (breaks.ours, breaks.theirs) is distinct from (excluded.ours, excluded.theirs)
        then now() else breaks.changed_at end
returning number, gid, label, object, sentence, (xmax = 0) as fresh
"""


def break_of(tx: Tx, number: int, *, lock: bool = False) -> Found | None:
    """Return one break; `lock` holds it until the transaction ends."""
    if lock:
        return tx.row("select * from breaks where number = %s for update", (number,))
    return tx.row("select * from breaks where number = %s", (number,))


def note(tx: Tx, number: int, act: str, person: str, words: str = "") -> None:
    """Write a line into a break's history."""
    tx.run("insert into break_notes (break, act, person, words) values (%s, %s, %s, %s)", (number, act, person, words))


def notes(tx: Tx, number: int) -> list[Found]:
    """Return a break's history, oldest first: act, person, words, created_at."""
    return tx.rows("select act, person, words, created_at from break_notes where break = %s order by number", (number,))


def assign(tx: Tx, number: int, assignee: str | None) -> bool:
    """Give a break to somebody, or to nobody; False when it is not open."""
    return bool(tx.run("update breaks set assignee = %s where number = %s and closed_at is null", (assignee, number)))


def accept(tx: Tx, number: int, person: str, reason: str) -> bool:
    """Accept a difference as it is, with name and reason; False when it is not open."""
    return bool(
        tx.run(
            """
            update breaks set accepted_by = %s, accepted_at = now(), accepted_reason = %s
            where number = %s and closed_at is null
            """,
            (person, reason, number),
        )
    )


def open_breaks(tx: Tx, legal_entity: str, period: str) -> list[Found]:
    """Return the open breaks of a month, accepted ones too, oldest first."""
    return tx.rows(
        """
        select number, class, object, system, external_id, label, currency, amount, ours, theirs, sentence, accepted_by,
            accepted_reason
        from breaks where closed_at is null and legal_entity = %s and period = %s order by number
        """,
        (legal_entity, period),
    )


# --- signed months ---------------------------------------------------------------------------------------------------


def sums_of(tx: Tx, run: str, legal_entity: str, period: str) -> list[Found]:
    """Return a run's sums of a month as texts: object, system, currency, counts, sums (units or minutes), hashes."""
    return tx.rows(
        """
        select object, system, currency, ours_count, ours_sum::text as ours_sum, ours_hash::text as ours_hash,
            theirs_count, theirs_sum::text as theirs_sum, theirs_hash::text as theirs_hash
        from tie_outs where run = %s and legal_entity = %s and period = %s order by object, system, currency
        """,
        (run, legal_entity, period),
    )


def sign_offs(tx: Tx, legal_entity: str, period: str) -> list[Found]:
    """Return every sign-off of a month, newest first."""
    return tx.rows(
        "select * from sign_offs where legal_entity = %s and period = %s order by number desc", (legal_entity, period)
    )


def standing(tx: Tx, legal_entity: str, period: str, *, lock: bool = False) -> Found | None:
    """Return the sign-off of a month that stands: prepared, or signed and not reopened."""
    sql: LiteralString = "select * from sign_offs where legal_entity = %s and period = %s and reopened_at is null"
    return tx.row(sql + (" for update" if lock else ""), (legal_entity, period))


def prepare(
    tx: Tx,
    legal_entity: str,
    period: str,
    run: str,
    digest: str,
    sums: Sequence[Mapping[str, Any]],
    accepted: Sequence[Mapping[str, Any]],
    person: str,
) -> int:
    """Lay a month before a second person; who prepared it last stands there. Returns the number of the sign-off."""
    return int(
        tx.value(
            """
            insert into sign_offs (legal_entity, period, run, digest, sums, accepted, prepared_by)
            values (%s, %s, %s, %s, %s, %s, %s)
            on conflict (legal_entity, period) where reopened_at is null do update set run = excluded.run,
                digest = excluded.digest, sums = excluded.sums, accepted = excluded.accepted,
                prepared_by = excluded.prepared_by, prepared_at = now()
            where sign_offs.signed_by is null
            returning number
            """,
            (legal_entity, period, run, digest, json(list(sums)), json(list(accepted)), person),
        )
        or 0
    )


def sign(tx: Tx, number: int, person: str) -> None:
    """Sign what another person prepared."""
    tx.run("update sign_offs set signed_by = %s, signed_at = now() where number = %s", (person, number))


def reopen(tx: Tx, number: int, person: str, reason: str) -> None:
    """Take a signature back, with a reason."""
    tx.run(
        "update sign_offs set reopened_by = %s, reopened_at = now(), reopen_reason = %s where number = %s",
        (person, reason, number),
    )


# --- what a repair needs ---------------------------------------------------------------------------------------------


def messages_of(
    tx: Tx, system: str, object_name: str, external_id: str, *, troubled: bool = False, pending: bool = False
) -> list[int]:
    """Return the numbers of a record's messages, newest first.

    troubled  only those that were not taken in: in quarantine, or waiting for something else
    pending   only those that nobody has worked on yet
    """
    rows = tx.rows(
        """
        select number from inbox
        where system = %(system)s and object = %(object)s and external_id = %(external_id)s and lane <> 'notice'
            and (not %(troubled)s or state in ('quarantined', 'waiting')) and (not %(pending)s or state = 'pending')
        order by number desc
        """,
        {
            "system": system,
            "object": object_name,
            "external_id": external_id,
            "troubled": troubled,
            "pending": pending,
        },
    )
    return [row["number"] for row in rows]


def forget_written(tx: Tx, system: str, object_name: str, external_id: str) -> None:
    """Forget what we wrote last to a record: somebody changed it, and the same value is no echo any more."""
    tx.run(
        "update crosswalk set written = null where system = %s and object = %s and external_id = %s",
        (system, object_name, external_id),
    )


def unlink(tx: Tx, system: str, object_name: str, external_id: str) -> None:
    """Forget a record the system no longer has; what is sent next gets a record of its own."""
    tx.run(
        "delete from crosswalk where system = %s and object = %s and external_id = %s",
        (system, object_name, external_id),
    )

"""We ask: what changed since the cursor? And what did the calls announce? Keep it; ingest does the rest."""

from collections.abc import Callable, Sequence

from trueup.connectors.sdk.wire import Record
from trueup.kernel.errors import Busy, Refused, Unsettled
from trueup.pipeline.house import House, System
from trueup.pipeline.pace import lane_of_read
from trueup.pipeline.receive import UNNAMED, arrivals
from trueup.pipeline.sweep import sweep_all
from trueup.store import cursors, inbox, sweeps
from trueup.store.inbox import Message, Settlement

NOTICES = 100
LEASE_SECONDS = 60.0
PATIENCE = 8
NOTHING_NAMED = "the call names no record of an object we read"
LOOKS_WITHIN_OVERLAP = 5


def poll(house: House, system: System, object_name: str) -> tuple[int, bool]:
    """Read one page of changes and keep it, cursor and records in one transaction.

    Returns   (records we did not have, whether another page is waiting)
    Raises    Busy when the system wants us to wait.
    """
    facts = system.connector.manifest.reads[object_name]
    lane = facts.lane
    with house.database.transaction() as tx:
        away = cursors.hours_since(tx, system.name, object_name)
        if away is not None and facts.retention_hours is not None and away > facts.retention_hours:
            why = f"away for {away:.0f} hours; {system.name} lists changes and deletions for {facts.retention_hours:g}"
            sweeps.ask(tx, system.name, object_name, why)
        if cursors.paused(tx, system.name):
            raise Busy(f"{system.name} has asked us to wait", 1.0)
        cursor = cursors.get(tx, system.name, object_name)
    try:
        with system.client.pace.using(lane_of_read(lane == "volume", cursor is None)):
            page = system.client.changes(object_name, cursor)
    except (Busy, Refused, Unsettled) as trouble:
        _felt_bad(house, system, trouble)
        raise
    with house.database.transaction() as tx:
        fresh = inbox.keep(tx, system.name, arrivals(page.records), origin="poll", lane=lane) if page.records else []
        if cursor is None:
            cursors.trail(tx, system.name, object_name, None, 0.0)
        cursors.advance(tx, system.name, object_name, page.cursor, len(fresh))
        if not page.more:
            cursors.trail(tx, system.name, object_name, page.cursor, _every(system, object_name) / 2)
        cursors.felt(tx, system.name)
    if page.records:
        _settle(house, system, object_name, page.records)
    return len(fresh), page.more


def look_back(house: House, system: System, object_name: str) -> int:
    """Read again what was stamped lately: a record may become visible after the cursor has passed its stamp.

    The manifest says how late (`overlap_seconds`). Five times within that span we begin again at a cursor that is
    older than the span, and read to the end; what we have already is counted as a duplicate and has no effect. The
    cursor itself stays where it is. Most times it is not time yet, and nothing is called.

    Returns   how many records had been missed
    Raises    Busy, Refused or Unsettled like `poll`; the next call begins again.
    """
    overlap = system.connector.manifest.reads[object_name].overlap_seconds
    if not overlap:
        return 0
    every = _every(system, object_name)
    back = overlap + every
    lane = system.connector.manifest.reads[object_name].lane
    with house.database.transaction() as tx:
        began = tx.value("select now()")
        start = (
            None
            if cursors.paused(tx, system.name)
            else cursors.look_back_from(tx, system.name, object_name, back, every)
        )
    if start is None:
        return 0
    (cursor,) = start
    missed, more = 0, True
    while more:
        try:
            with system.client.pace.using("backfill"):
                page = system.client.changes(object_name, cursor)
        except (Busy, Refused, Unsettled) as trouble:
            _felt_bad(house, system, trouble)
            raise
        with house.database.transaction() as tx:
            fresh = (
                inbox.keep(tx, system.name, arrivals(page.records), origin="poll", lane=lane) if page.records else []
            )
            cursors.count_late(tx, system.name, object_name, len(fresh))
            cursors.felt(tx, system.name)
        if page.records:
            _settle(house, system, object_name, page.records)
        missed += len(fresh)
        cursor, more = page.cursor, page.more
    with house.database.transaction() as tx:
        cursors.looked_back(tx, system.name, object_name, began, back)
    return missed


def _every(system: System, object_name: str) -> float:
    """Return how many seconds a look back is good for."""
    return max(system.connector.manifest.reads[object_name].overlap_seconds / LOOKS_WITHIN_OVERLAP, 1.0)


def _settle(house: House, system: System, object_name: str, records: Sequence[Record]) -> None:
    """Tell the vendor that the records are kept; what it refuses now it offers again, and the inbox knows it."""
    try:
        system.client.settle(object_name, records)
    except (Busy, Refused, Unsettled) as trouble:
        _felt_bad(house, system, trouble)


def poll_all(house: House, system: System, wait: Callable[[float], bool]) -> int:
    """Read a system to the end, objects that others point to first, then sweep; return how many records were new.

    wait    sleeps for some seconds and says whether to go on; called when the system wants us to wait
    Raises  Busy when the system stays away for longer than our patience.
    """
    reads = sorted(system.connector.manifest.reads.items(), key=lambda item: (item[1].order, item[0]))
    fresh = 0
    for object_name, _ in reads:
        more, tries = True, 0
        while more:
            try:
                count, more = poll(house, system, object_name)
                fresh += count
                if not more:
                    fresh += look_back(house, system, object_name)
            except (Busy, Unsettled) as away:
                tries += 1
                if tries > PATIENCE or not wait(getattr(away, "retry_after", None) or 0.1 * 2 ** min(tries, 6)):
                    raise
                continue
            tries = 0
    return fresh + sweep_all(house, system, lambda: wait(0.0))


def fetch_announced(house: House, worker: str) -> int:
    """Fetch the records that calls announced: current state, not the call's word, is what we keep."""
    with house.database.transaction() as tx:
        notices = inbox.lease(tx, "notice", NOTICES, worker, LEASE_SECONDS)
    for name in sorted({notice.system for notice in notices}):
        mine = [notice for notice in notices if notice.system == name]
        system = house.systems.get(name)
        for object_name in sorted({notice.object for notice in mine}):
            group = [notice for notice in mine if notice.object == object_name]
            if system is None or object_name not in system.connector.manifest.reads:
                _nothing_to_fetch(house, group)
            else:
                _fetch(house, system, object_name, group)
    return len(notices)


def _fetch(house: House, system: System, object_name: str, notices: Sequence[Message]) -> None:
    gaps = [notice.number for notice in notices if not notice.external_id]
    if gaps:
        _answer_gaps(house, system, object_name, gaps)
    notices = [notice for notice in notices if notice.external_id]
    if not notices:
        return
    ids = list(dict.fromkeys(notice.external_id for notice in notices))
    try:
        with system.client.pace.using("master"):
            records = system.client.fetch(object_name, ids)
    except (Busy, Refused, Unsettled) as trouble:
        _felt_bad(house, system, trouble)
        with house.database.transaction() as tx:
            tired = [n for n in notices if n.attempts >= PATIENCE or isinstance(trouble, Refused)]
            rest = [n.number for n in notices if n not in tired]
            # The next poll finds the record anyway: a notice is only a hint that it is worth asking now.
            inbox.settle(tx, [Settlement(n.number, "superseded", f"left to the poll: {trouble}") for n in tired])
            inbox.defer(tx, rest, getattr(trouble, "retry_after", None) or 1.0, str(trouble))
        return
    lane = system.connector.manifest.reads[object_name].lane
    found = {record.external_id for record in records}
    with house.database.transaction() as tx:
        inbox.keep(tx, system.name, arrivals(records), origin="fetch", lane=lane)
        inbox.settle(
            tx,
            [
                Settlement(n.number, "applied", "fetched the record as it is now")
                if n.external_id in found
                else Settlement(n.number, "superseded", "the system does not have this record (any more)")
                for n in notices
            ],
        )
        cursors.felt(tx, system.name)


def _answer_gaps(house: House, system: System, object_name: str, gaps: Sequence[int]) -> None:
    """Read the whole object again: the vendor has lost track of what changed and says only that something did."""
    with house.database.transaction() as tx:
        sweeps.ask(tx, system.name, object_name, f"{system.name} announced a gap without naming records")
        said = "names no record: the whole object is read again"
        inbox.settle(tx, [Settlement(number, "applied", said) for number in gaps])


def _nothing_to_fetch(house: House, notices: Sequence[Message]) -> None:
    with house.database.transaction() as tx:
        inbox.settle(
            tx,
            [
                Settlement(
                    notice.number,
                    "quarantined" if notice.object == "unreadable" else "ignored",
                    "an authentic call we cannot read"
                    if notice.object == "unreadable"
                    else NOTHING_NAMED
                    if notice.object == UNNAMED
                    else "we do not read this object",
                    rule=None
                    if notice.object == "unreadable"
                    else "names_no_record"
                    if notice.object == UNNAMED
                    else "object_not_read",
                    problems=[{"field": "record", "code": "unreadable", "message": "the call's body names no record"}]
                    if notice.object == "unreadable"
                    else None,
                )
                for notice in notices
            ],
        )


def _felt_bad(house: House, system: System, trouble: Exception) -> None:
    with house.database.transaction() as tx:
        cursors.felt(tx, system.name, error=str(trouble)[:300], pause=getattr(trouble, "retry_after", None))

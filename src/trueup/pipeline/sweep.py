"""Reading an object whole again, and asking for every record that was not there: five ways in which one can be gone.

A reader that goes by time sees what changed. It cannot see a record that was deleted without a word, that a filter
or a permission hides, or whose change fell into a gap of the vendor's own list. A sweep can: it reads everything once
more beside the reader, keeps what is new (the inbox drops what it has), and asks one by one for what is missing.
"""

import json as jsonlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from trueup.connectors.sdk.wire import Record
from trueup.kernel.errors import Refused
from trueup.kernel.strict_json import read
from trueup.pipeline.house import House, System
from trueup.pipeline.receive import arrivals
from trueup.store import cursors, inbox, sweeps
from trueup.store.database import Tx
from trueup.store.inbox import Arrival
from trueup.store.sweeps import Sweep

MISSING_AT_ONCE = 100
KNOWN_GOOD = 3
STEPS_A_TURN = 50
"""Pages of one sweep between two polls: a long sweep does not keep the reader from what is new."""
MARK = "trueup_vanished"
Gone = Literal["deleted", "hidden", "archived"]


@dataclass(frozen=True, slots=True)
class Probe:
    """What asking for missing records one by one has shown.

    there         records the vendor has after all: its list was late
    gone          identifier -> how it is gone, and how we know
    inconclusive  why nothing can be said: records that are known to be there cannot be read either
    """

    there: tuple[Record, ...] = ()
    gone: dict[str, tuple[Gone, str]] | None = None
    inconclusive: str | None = None


def sweep_all(house: House, system: System, wait_over: Callable[[], bool]) -> int:
    """Carry on with every sweep of a system that is asked for or due; return how many records were new.

    wait_over  says whether to go on; asked before each page, so that a sweep never holds up a stop
    """
    fresh = 0
    reads = sorted(system.connector.manifest.reads.items(), key=lambda item: (item[1].order, item[0]))
    for object_name, facts in reads:
        with house.database.transaction() as tx:
            hours = facts.sweep_hours
            if hours is not None and sweeps.due(tx, system.name, object_name, hours):
                sweeps.ask(tx, system.name, object_name, f"the last whole reading is older than {hours:g} hours")
            waiting = sweeps.open_of(tx, system.name, object_name)
        for _ in range(STEPS_A_TURN):
            if waiting is None or not wait_over():
                break
            fresh += step(house, system, object_name)
            with house.database.transaction() as tx:
                waiting = sweeps.open_of(tx, system.name, object_name)
    return fresh


def step(house: House, system: System, object_name: str) -> int:
    """Do one piece of an open sweep: read a page, or ask for some of what was missing; return what was new.

    Raises    Busy or Unsettled when the system is away: the sweep stays where it is.
    """
    with house.database.transaction() as tx:
        sweep = sweeps.open_of(tx, system.name, object_name)
    if sweep is None:
        return 0
    return _conclude(house, system, sweep) if sweep.read_whole else _read_page(house, system, sweep)


def _read_page(house: House, system: System, sweep: Sweep) -> int:
    page = system.client.changes(sweep.object, sweep.cursor)
    with house.database.transaction() as tx:
        fresh = _keep(tx, system, sweep.object, page.records, "poll")
        # Kept even when the sweep was started over meanwhile: a record more is never wrong.
        sweeps.advance(tx, sweep, page.cursor, [r.external_id for r in page.records], fresh, more=page.more)
        cursors.felt(tx, system.name)
    return fresh


def _conclude(house: House, system: System, sweep: Sweep) -> int:
    """Ask for records the sweep did not see, a handful at a time; end it when none are left."""
    facts = system.connector.manifest.reads[sweep.object]
    with house.database.transaction() as tx:
        missing = sweeps.unseen(tx, sweep, MISSING_AT_ONCE) if facts.sweep_hours is not None else []
        good = sweeps.known_good(tx, sweep, KNOWN_GOOD)
        if not missing:
            back = sweeps.returned(tx, sweep)
            if sweeps.finish(tx, sweep):
                inbox.reopen(tx, back)
            return 0
    found = probe(system, sweep.object, missing, good)
    with house.database.transaction() as tx:
        if found.inconclusive is not None:
            sweeps.finish(tx, sweep, found.inconclusive)
            cursors.felt(tx, system.name, error=found.inconclusive)
            return 0
        fresh = _keep(tx, system, sweep.object, found.there, "fetch")
        gone = found.gone or {}
        words = [_word(sweep, external_id, kind, how) for external_id, (kind, how) in sorted(gone.items())]
        inbox.keep(tx, system.name, words, origin="fetch", lane=facts.lane)
        sweeps.see(tx, sweep, [record.external_id for record in found.there])
        sweeps.see(tx, sweep, missing)
        sweeps.count(tx, sweep, Counter(kind for kind, _ in gone.values()))
    return fresh


def probe(system: System, object_name: str, missing: Sequence[str], known_good: Sequence[str]) -> Probe:
    """Ask for records that were not in a whole reading and say how each is gone.

    known_good  identifiers that reading has shown: when these cannot be read either, we may not see the object any
                more, and what is missing tells nothing about the records

    Raises    Busy or Unsettled when the system is away.
    """
    facts = system.connector.manifest.reads[object_name]
    try:
        found = {record.external_id: record for record in system.client.fetch(object_name, list(missing))}
    except Refused as no:
        return Probe(inconclusive=f"{system.name} does not let us read {object_name} any more: {no}")
    absent = [external_id for external_id in missing if external_id not in found]
    if absent:
        good = system.client.fetch(object_name, list(known_good)) if known_good else []
        if not good:
            return Probe(
                inconclusive=f"{len(absent)} records of {object_name} are out of sight at {system.name}, and no other can "
                "be read either: the permission for the object is lost, or its list is empty; nothing was concluded"
            )
    gone: dict[str, tuple[Gone, str]] = {}
    for external_id in absent:
        if facts.tells_deletions:
            how = "it cannot be read, others can, and it is not in the list of deleted records: a filter or a permission hides it"
            gone[external_id] = ("hidden", how)
        else:
            gone[external_id] = ("deleted", "it cannot be read and others can: it was deleted without a word")
    there = []
    for external_id, record in found.items():
        if not record.deleted and facts.archived and _says(record, facts.archived):
            gone[external_id] = ("archived", "it was put away: lists leave it out, the record itself can be read")
        else:
            there.append(record)
    return Probe(tuple(there), gone)


def _says(record: Record, name: str) -> bool:
    said = read(record.raw)
    return isinstance(said, dict) and said.get(name) is True


def _word(sweep: Sweep, external_id: str, kind: Gone, how: str) -> Arrival:
    """Return what a sweep found out as a message of its own: kept, judged and replayed like any other."""
    body = jsonlib.dumps({MARK: kind, "how": how, "sweep": sweep.number}, sort_keys=True).encode()
    return Arrival(sweep.object, external_id, "", body, deleted=True)


def _keep(tx: Tx, system: System, object_name: str, records: Sequence[Record], origin: inbox.Origin) -> int:
    if not records:
        return 0
    lane = system.connector.manifest.reads[object_name].lane
    return len(inbox.keep(tx, system.name, arrivals(records), origin=origin, lane=lane))

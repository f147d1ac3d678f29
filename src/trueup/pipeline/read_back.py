"""Reads again what was written more than once: no older value stays over a newer one for longer than the declared time.

A call that timed out can be served after a later one was: then its older value stands over the newer. No system here
offers a write on a condition, so the record is read again after its manifest's `read_back_minutes` and compared with
the newest write; an older write's values are listed as a regression, and the newest is sent once more. What somebody
changed at the system to anything else is no regression: the tie-out tells of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from trueup.connectors.sdk import standing
from trueup.kernel.errors import Broken, Trouble
from trueup.pipeline.house import House, System
from trueup.store import crosswalk, cursors, deliveries
from trueup.store.deliveries import Standing
from trueup.store.timely import timely

BATCH = 20
AGAIN_SECONDS = 60.0
"""What could not be read is read after so many seconds."""

Body = Mapping[str, Any]


def read_back(house: House, system: System, limit: int = BATCH) -> int:
    """Read back one batch of one system; return how many were looked at."""
    with timely(house.database) as tx:
        if cursors.paused(tx, system.name):
            return 0
        due = deliveries.to_read_back(tx, system.name, limit, AGAIN_SECONDS)
    for one in due:
        _compare(house, system, one)
    return len(due)


def _compare(house: House, system: System, one: Standing) -> None:
    try:
        there = system.client.standing(one.object, one.external_id, one.body)
    except Broken as no:
        found, detail = None, f"it cannot be read back: {no}"
    except Trouble as trouble:  # it comes again by itself
        with house.database.transaction() as tx:
            cursors.felt(tx, system.name, error=str(trouble)[:300], pause=getattr(trouble, "retry_after", None))
        return
    else:
        found = regression(one.body, one.older, there)
        detail = "read back: the record is gone" if there is None else "read back: no older value stands"
    with house.database.transaction() as tx:
        if found is None:
            deliveries.stands(tx, one.key, detail)
            return
        older, fields = found
        deliveries.regressed(tx, one.key, older, fields)
        # What we wrote last does not stand there, so that whatever is sent next is no repetition.
        crosswalk.forget_written(tx, system.name, one.object, one.external_id)


def regression(newest: Body, older: Sequence[tuple[str, Body]], there: Any) -> tuple[str, list[dict[str, str]]] | None:
    """Say which older write stands over the newest one, and in which fields: those that both writes know, that differ
    between them, and that all show the older value.

    there    the record as the system shows it
    Returns  (key of the older write, its fields: path, ours, theirs); None when none does

    >>> regression({"price": 2, "name": "n"}, [("first", {"price": 1, "name": "n"})], {"price": "1", "name": "else"})
    ('first', [{'path': 'price', 'ours': '2', 'theirs': '1'}])
    >>> regression({"price": 2}, [("first", {"price": 1})], {"price": 3}) is None
    True
    """
    now = {path: (ours, theirs) for path, ours, theirs in standing.shown(newest, there)}
    for key, body in older:
        then = {path: ours for path, ours, _ in standing.shown(body, there)}
        changed = [path for path in now if path in then and then[path] != now[path][0]]
        if changed and all(now[path][1] == then[path] for path in changed):
            return key, [{"path": path, "ours": now[path][0], "theirs": now[path][1]} for path in changed]
    return None

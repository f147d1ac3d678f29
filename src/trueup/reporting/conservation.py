"""Does everything that came in stand somewhere? Per system and hour, and which messages ended in nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trueup.store import sweeps
from trueup.store.database import Tx

HOURS = 24
STUCK_MINUTES = 15
MOST = 100


@dataclass(frozen=True, slots=True)
class Hour:
    """What one system sent in one hour, and where it stands now.

    received    messages kept; `duplicates` came on top, were counted, and had no effect
    in_flight   not worked on yet, or waiting for another record
    unexplained messages that stand nowhere; anything but 0 is a fault of the hub
    """

    system: str
    hour: datetime
    received: int
    applied: int
    superseded: int
    ignored: int
    quarantined: int
    in_flight: int
    duplicates: int

    @property
    def unexplained(self) -> int:
        """Return how many messages stand nowhere."""
        ended = self.applied + self.superseded + self.ignored + self.quarantined
        return self.received - ended - self.in_flight


@dataclass(frozen=True, slots=True)
class Lost:
    """A message whose end cannot be explained, or that does not move.

    why  one sentence; what to do follows from it
    """

    number: int
    system: str
    object: str
    external_id: str
    state: str
    received_at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Conservation:
    """The whole account.

    nowhere  messages said to be applied without a trace of it; they hold for all time, not only for the hours shown
    stuck    open messages that nobody has touched though they are due
    """

    hours: tuple[Hour, ...]
    nowhere: tuple[Lost, ...]
    stuck: tuple[Lost, ...]
    sweeps: tuple[dict[str, Any], ...]

    @property
    def holds(self) -> bool:
        """Say whether everything that came in stands somewhere."""
        return not self.nowhere and not any(hour.unexplained for hour in self.hours)


def conservation(tx: Tx, *, hours: int = HOURS) -> Conservation:
    """Account for every message: received = applied + superseded + ignored + quarantined + in flight.

    hours  how far back the account by hour goes
    """
    rows = tx.rows(
        """
        select system, date_trunc('hour', received_at) as hour, count(*) as received,
            count(*) filter (where state = 'applied' and settled_at is not null) as applied,
            count(*) filter (where state = 'superseded' and reason is not null) as superseded,
            count(*) filter (where state = 'ignored' and rule is not null) as ignored,
            count(*) filter (where state = 'quarantined' and reason is not null) as quarantined,
            count(*) filter (where state in ('pending', 'waiting')) as in_flight,
            sum(duplicates) as duplicates
        from inbox where received_at > now() - make_interval(hours => %s)
        group by 1, 2 order by 2 desc, 1
        """,
        (hours,),
    )
    return Conservation(
        tuple(Hour(**row) for row in rows),
        nowhere(tx),
        stuck(tx),
        tuple(sweeps.latest(tx, 20)),
    )


def nowhere(tx: Tx, limit: int = MOST) -> tuple[Lost, ...]:
    """Return messages said to be applied of which nothing can be found: no decision, no record that was fetched."""
    rows = tx.rows(
        """
        select i.number, i.system, i.object, i.external_id, i.state, i.received_at,
            case when i.lane = 'notice' then 'the call was answered, but no record was kept for it: ask for a sweep'
                else 'it ended as applied, but no decision names it: retry it' end as why
        from inbox i where i.state = 'applied' and (
            (i.lane <> 'notice' and i.reason is null and not exists (select from changes c where c.message = i.number))
            or (i.lane = 'notice' and i.external_id <> '' and not exists (
                select from inbox w where w.system = i.system and w.object = i.object and w.external_id = i.external_id
                    and w.lane <> 'notice'))
            or (i.lane = 'notice' and i.external_id = '' and not exists (
                select from sweeps s where s.system = i.system and s.object = i.object)))
        order by i.number limit %s
        """,
        (limit,),
    )
    return tuple(Lost(**row) for row in rows)


def stuck(tx: Tx, minutes: int = STUCK_MINUTES, limit: int = MOST) -> tuple[Lost, ...]:
    """Return open messages that have been due for some minutes: accepted, and then nothing."""
    rows = tx.rows(
        """
        select number, system, object, external_id, state, received_at,
            'due for ' || floor(extract(epoch from now() - due_at) / 60)::int || ' minutes and not worked on: is a worker up?' as why
        from inbox where state = 'pending' and due_at < now() - make_interval(mins => %s)
            and (lease_until is null or lease_until < now())
        order by number limit %s
        """,
        (minutes, limit),
    )
    return tuple(Lost(**row) for row in rows)

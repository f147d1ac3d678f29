"""Spans of time stay true when the database's clock jumps: an hour that did not pass ends no cool-down.

Everything that waits is dated by the clock of the database, which all workers share. That clock may be set: by a person,
by a time server after an outage, by a standby that takes over with another idea of the time. A worker notices (`steady`)
and moves every time that is waited for along with the jump, once for everybody. Transactions that date what must not be
counted wrongly are opened by `timely`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, LiteralString

from trueup.kernel.errors import Busy
from trueup.store.database import Database, Tx

TRIES: Final = 200
PAUSE_SECONDS: Final = 0.05

MOVED: Final[tuple[LiteralString, ...]] = (
    """
    with mine as (
        select key from deliveries
        where state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing', 'parked')
            or read_back_at is not null
        order by key for update)
    update deliveries d set due_at = due_at + %(by)s, lease_until = lease_until + %(by)s, sent_at = sent_at + %(by)s,
        first_sent_at = first_sent_at + %(by)s, silent_at = silent_at + %(by)s, accepted_at = accepted_at + %(by)s,
        read_back_at = read_back_at + %(by)s
    from mine where d.key = mine.key
    """,
    """
    with mine as (select number from inbox where state = 'pending' order by number for update)
    update inbox i set due_at = due_at + %(by)s, lease_until = lease_until + %(by)s
    from mine where i.number = mine.number
    """,
    "update systems set paused_until = paused_until + %(by)s where paused_until is not null",
    "update sendings set due_at = due_at + %(by)s, lease_until = lease_until + %(by)s where state = 'due'",
    "update subscriptions set paused_until = paused_until + %(by)s where paused_until is not null",
    """
    update budgets set filled_at = filled_at + %(by)s, paused_until = paused_until + %(by)s,
        slowed_at = slowed_at + %(by)s, raised_at = raised_at + %(by)s
    """,
    "update budget_lots set lease_until = lease_until + %(by)s",
    "update vendor_periods set ask_again_at = ask_again_at + %(by)s where ask_again_at is not null",
)
"""Moves what is waited for; what is only told to people keeps the time it was given."""


@contextmanager
def timely(database: Database) -> Iterator[Tx]:
    """Open a transaction whose `now()` may be compared with everything that is waited for: no jump lies between.

    Raises    Busy when the server is away, or when a jump could not be mended: nothing is known to have happened.
    """
    for _ in range(TRIES):
        with database.transaction() as tx:
            by, known = database.steady.look(tx)
            if by == 0.0:
                tx.run("select pg_advisory_xact_lock_shared(hashtextextended('clock', 0))")
                # Is another jump known by now, then our now() is of the time before it.
                if tx.value("select count(*) from clock_jumps") == known:
                    yield tx
                    return
        if by and not _mended(database):
            time.sleep(PAUSE_SECONDS)
    raise Busy("the database's clock has jumped, and what waits could not be moved with it")


def _mended(database: Database) -> bool:
    """Move everything that is waited for along with a jump; False when somebody else is at it, or was before us."""
    with database.transaction() as tx:
        if database.steady.look(tx)[0] and tx.value("select pg_try_advisory_xact_lock(hashtextextended('clock', 0))"):
            by, _ = database.steady.look(tx)  # again: nobody can mend it from here on
            if by:
                moved = sum(tx.run(one, {"by": timedelta(seconds=by)}) for one in MOVED)
                tx.run("insert into clock_jumps (seconds, moved) values (%s, %s)", (by, moved))
                return True
    return False

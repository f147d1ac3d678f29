"""A process notices by its own steady clock, which nobody can set, that the database's clock has jumped.

What is done about a jump is in `timely`.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString, Protocol

TOLERANCE_SECONDS: Final = 2.0
"""A clock that is drawn slowly to the right time differs by less between two looks; no waiting time is that exact."""
NOTE_SECONDS: Final = 30.0
"""A machine notes its clock so often, for a worker that starts after a jump nobody has seen."""
LONGEST_LOOK: Final = 1.0
"""A look that took longer says too little about the moment at which the database told its time."""


def _machine() -> str:
    """Return what names this machine until its next start."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:  # its steady clock cannot be told from another one's: it is compared within this process only
        return str(uuid.uuid4())


def _elapsed() -> float:
    """Return the seconds of a clock that nobody can set, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the database's clock.

    before, after  seconds of the steady clock around the moment at which the database told its time
    steady         what it told, less all jumps that are known: seconds since 1970
    """

    before: float
    after: float
    steady: float


def jumped(last: Look, this: Look, tolerance: float = TOLERANCE_SECONDS) -> float:
    """Return by how many seconds the database's clock has jumped between two looks; 0 where it need not have.

    >>> jumped(Look(10, 10, 1000), Look(25, 25.5, 1015.2))
    0.0
    >>> jumped(Look(10, 10, 1000), Look(25, 25.5, 4615.2))
    3600.0
    >>> jumped(Look(10, 10, 1000), Look(25, 25.5, 715.0))
    -300.0
    """
    earliest = last.steady + this.before - last.after
    latest = last.steady + this.after - last.before
    if earliest - tolerance <= this.steady <= latest + tolerance:
        return 0.0
    return this.steady - (latest if this.steady > latest else earliest)


class Asks(Protocol):
    """What a look needs of an open transaction."""

    def row(self, query: LiteralString, params: Sequence[Any]) -> dict[str, Any] | None:
        """Return the one row, or None."""
        ...

    def run(self, query: LiteralString, params: Sequence[Any]) -> int:
        """Return how many rows were touched."""
        ...


class Steady:
    """What one process knows of the database's clock.

    elapsed  seconds of a clock that nobody can set
    machine  names whatever that clock belongs to
    """

    def __init__(self, elapsed: Callable[[], float] = _elapsed, machine: str = "") -> None:
        self._elapsed = elapsed
        self._machine = machine or _machine()
        self._lock = threading.Lock()
        self._last: Look | None = None
        self._noted: float | None = None

    def look(self, tx: Asks) -> tuple[float, int]:
        """Return the seconds by which the clock has jumped since we looked last, and how many jumps are known.

        Must be the first of a transaction: its `now()` is of the moment at which it began.
        """
        before = self._elapsed()
        row = tx.row(
            """
            select extract(epoch from now())::float8 - j.seconds as steady, j.known, s.elapsed, s.steady as noted
            from (select coalesce(sum(seconds), 0) as seconds, count(*) as known from clock_jumps) j
            left join clock_seen s on s.machine = %s
            """,
            (self._machine,),
        )
        assert row is not None
        this = Look(before, self._elapsed(), row["steady"])
        with self._lock:
            last = self._last
            if last is None and row["elapsed"] is not None and row["elapsed"] <= this.before:
                last = Look(row["elapsed"], row["elapsed"], row["noted"])
            by = 0.0 if last is None else jumped(last, this)
            if by == 0.0 and this.after - this.before <= LONGEST_LOOK:
                self._last = this
        if by == 0.0:
            self._note(tx, this)
        return by, int(row["known"])

    def _note(self, tx: Asks, this: Look) -> None:
        if self._noted is not None and this.after - self._noted < NOTE_SECONDS:
            return
        self._noted = this.after
        tx.run(
            """
            insert into clock_seen (machine, elapsed, steady) values (%s, %s, %s)
            on conflict (machine) do update set elapsed = excluded.elapsed, steady = excluded.steady
            """,
            (self._machine, this.after, this.steady),
        )

"""When a document may be posted: not outside its hours, and not into a closed month. Asked before the call, not after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from trueup.kernel.clock import now
from trueup.kernel.periods import month_of
from trueup.pipeline.pace import POSTED
from trueup.store import periods, vendor_periods
from trueup.store.database import Tx
from trueup.store.deliveries import Delivery, Result

DATED = {"invoice": "invoice_date", "credit": "invoice_date", "journal_reference": "posted_on"}
"""Kind -> the field that says into which month it is posted."""
CLOSED = "PERIOD_CLOSED"
WINDOW = "POSTING_WINDOW"

Month = tuple[str, str]
"""(legal entity, period)"""

ClosedPeriod = Literal["hold", "redate"]


@dataclass(frozen=True, slots=True)
class Window:
    """Hours in which nothing is posted; it may go over midnight.

    begins, ends  local times of day; equal ones are a whole day
    zone          IANA name of whose day it is
    kinds         what may not be posted; all of close-day posting when empty
    entities      for whom; all legal entities when empty
    """

    begins: time
    ends: time
    zone: str = "UTC"
    kinds: frozenset[str] = frozenset()
    entities: frozenset[str] = frozenset()

    def opens_at(self, moment: datetime) -> datetime | None:
        """Return when posting is allowed again, None when it is now.

        >>> night = Window(time(22), time(6), "Europe/Berlin")
        >>> night.opens_at(datetime(2026, 11, 2, 23, 30, tzinfo=UTC))
        datetime.datetime(2026, 11, 3, 5, 0, tzinfo=datetime.timezone.utc)
        >>> night.opens_at(datetime(2026, 11, 2, 12, 0, tzinfo=UTC))
        """
        zone = ZoneInfo(self.zone)
        here = moment.astimezone(zone)
        for day in (here.date() - timedelta(days=1), here.date()):
            begin = datetime.combine(day, self.begins, zone)
            over = self.ends <= self.begins
            end = datetime.combine(day + timedelta(days=1) if over else day, self.ends, zone)
            if begin.astimezone(UTC) <= moment < end.astimezone(UTC):
                return end.astimezone(UTC)
        return None


@dataclass(frozen=True, slots=True)
class Posting:
    """What a system's owner has said about posting into it.

    closed_period  what becomes of a document of a closed month: it waits, or takes the first open day
    """

    windows: tuple[Window, ...] = ()
    closed_period: ClosedPeriod = "hold"


def posts(role: str, delivery: Delivery) -> bool:
    """Say whether this is a new document for the books: later changes and looking for it are always allowed."""
    return (
        role == "erp"
        and delivery.kind in POSTED
        and delivery.state == "due"
        and delivery.external_id is None
        and delivery.kind in DATED
    )


class Gate:
    """Decides for one batch of one system; what it lets through may be sent now.

    codes  the vendor's refusals that are about the period
    """

    def __init__(
        self,
        tx: Tx,
        system: str,
        role: str,
        posting: Posting,
        codes: frozenset[str] = frozenset(),
        moment: datetime | None = None,
    ) -> None:
        self._tx = tx
        self._codes = codes
        self._system = system
        self._role = role
        self._posting = posting
        self._moment = moment or now()
        self._refused: dict[tuple[str, str], float] | None = None
        self._months: dict[str, Month] = {}
        self._refused_now: set[Month] = set()

    def look(self, delivery: Delivery, source: Mapping[str, Any] | None) -> tuple[Result | None, dict[str, Any] | None]:
        """Return (what keeps it back, its source): the source has another date where the policy re-dates it."""
        taken = None if source is None else dict(source)
        if taken is None or not posts(self._role, delivery):
            return None, taken
        entity = str(taken.get("legal_entity") or delivery.legal_entity)
        for window in self._posting.windows:
            fits = (not window.kinds or delivery.kind in window.kinds) and (
                not window.entities or entity in window.entities
            )
            opens = window.opens_at(self._moment) if fits else None
            if opens is not None:
                text = f"nothing is posted between {window.begins:%H:%M} and {window.ends:%H:%M} ({window.zone})"
                return _wait(delivery, WINDOW, text, (opens - self._moment).total_seconds()), taken
        field = DATED[delivery.kind]
        day = _day(taken.get(field))
        if day is None or not entity:
            return None, taken
        return self._month(delivery, taken, field, entity, day)

    def _month(
        self, delivery: Delivery, source: dict[str, Any], field: str, entity: str, day: date
    ) -> tuple[Result | None, dict[str, Any]]:
        """Keep back or re-date what belongs to a month that is closed here or there."""
        if self._refused is None:
            self._refused = vendor_periods.closed(self._tx, self._system)
        refused, first = self._refused, day
        ours = delivery.kind != "journal_reference"  # the journals of a close are posted into the month it closes
        while (entity, month_of(first)) in refused or (ours and periods.is_closed(self._tx, entity, month_of(first))):
            first = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        if first == day:
            self._months[delivery.key] = (entity, month_of(day))
            return None, source
        if self._posting.closed_period == "redate":
            self._months[delivery.key] = (entity, month_of(first))
            return None, {**source, field: first.isoformat()}
        month = month_of(day)
        seconds = refused.get((entity, month), vendor_periods.ASK_AGAIN_SECONDS)
        if (
            seconds <= 0
            and not (ours and periods.is_closed(self._tx, entity, month))
            and vendor_periods.ask_again(self._tx, self._system, entity, month, delivery.key)
        ):
            self._months[delivery.key] = (entity, month)
            return None, source
        wait = seconds if seconds > 0 else vendor_periods.ASK_AGAIN_SECONDS
        return _wait(delivery, CLOSED, _sentence((entity, month)), max(wait, 1.0)), source

    def spare(self, delivery: Delivery) -> Result | None:
        """Keep back what another document of this very batch was refused for a moment ago."""
        month = self._months.get(delivery.key)
        if month is None or month not in self._refused_now:
            return None
        return _wait(delivery, CLOSED, _sentence(month), vendor_periods.ASK_AGAIN_SECONDS)

    def heard(self, result: Result) -> None:
        """Note a refusal about the period, at once, for those of the batch that have not been sent yet."""
        if result.outcome == "rejected" and result.code in self._codes and result.key in self._months:
            self._refused_now.add(self._months[result.key])

    def learn(self, tx: Tx, results: Sequence[Result]) -> None:
        """Take in what the system said: a refusal closes a month for all of its documents, a success opens it."""
        reasons = {
            self._months[r.key]: r.detail or r.code
            for r in results
            if r.outcome == "rejected" and r.code in self._codes and r.key in self._months
        }
        for month, reason in sorted(reasons.items()):
            vendor_periods.learn(tx, self._system, *month, reason)
        taken = {self._months[r.key] for r in results if r.outcome == "confirmed" and r.key in self._months}
        if taken - reasons.keys():
            vendor_periods.opened(tx, self._system, sorted(taken - reasons.keys()))


def _sentence(month: Month) -> str:
    entity, period = month
    return f"{period} is closed for {entity}: the document waits until it is opened, or give it another date"


def _wait(delivery: Delivery, code: str, text: str, seconds: float) -> Result:
    return Result(delivery.key, delivery.fence, "due", "wait", text, code, wait=seconds)


def _day(value: object) -> date | None:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None

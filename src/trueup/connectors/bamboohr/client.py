"""Reads people and what they cost from BambooHR: first who has changed, then each of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from urllib.parse import quote

import msgspec

from trueup.connectors.sdk.auth import ApiKey
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.settled import answered_at, over, wait_out
from trueup.connectors.sdk.wire import Answer, Connection, Notice, Page, Raw, Receipt, Record
from trueup.kernel.clock import parse_instant
from trueup.kernel.errors import Broken, Busy

EMPLOYEES = "/api/v1/employees"
JSON = {"Accept": "application/json"}
"""Without it these addresses answer in XML."""

FIELDS = (
    "employeeNumber",
    "firstName",
    "lastName",
    "displayName",
    "workEmail",
    "division",
    "department",
    "customPractice",
    "jobTitle",
    "hireDate",
    "terminationDate",
    "status",
    "standardHoursPerWeek",
)
TABLE = "compensation"
BEGINNING = "2000-01-01T00:00:00Z"
LOOK_BACK_SECONDS = 10
PEOPLE_IN_A_PAGE = 25
TRIES = 4
CHANGES = {"created": "create", "updated": "update", "deleted": "delete"}


class Change(msgspec.Struct, rename="camel"):
    """One entry of the list of changed employees."""

    last_changed: str
    action: str = "Updated"


class Changed(msgspec.Struct):
    """The list of changed employees, by id."""

    employees: dict[str, msgspec.Raw] | list[msgspec.Raw]


class Employee(msgspec.Struct, rename="camel"):
    """What we look at in an employee; everything else stays bytes."""

    id: str | int
    last_changed: str | None = None


class Row(msgspec.Struct, rename="camel"):
    """What we look at in a row of a table."""

    id: str | int
    employee_id: str | int


@dataclass(frozen=True, slots=True)
class Entry:
    """A changed employee: when (UTC, sorts), who, how, and the entry's own bytes."""

    stamp: str
    id: str
    deleted: bool
    raw: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """How far a read has come.

    since    everything before this instant is known
    started  the vendor's clock when this sweep began; the next one goes back to a little before it
    after    stamp and id of the last employee handed over in this sweep
    """

    since: str = BEGINNING
    started: str = ""
    after: tuple[str, str] | None = None


class BambooHR(VendorClient):
    """Read only: the firm's people are kept in the HR system and nowhere else."""

    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        super().__init__(manifest, connection)
        self.auth = ApiKey(connection)
        own = connection.options.get("fields")
        names = [name.strip() for name in own.split(",")] if own else list(FIELDS)
        self._fields = ",".join([*(name for name in names if name not in ("id", "lastChanged")), "lastChanged"])
        seconds = int(connection.options.get("look_back_seconds", str(LOOK_BACK_SECONDS)))
        self._look_back = timedelta(seconds=seconds + 1)  # one more: the vendor may mean `later than since`
        self._page = int(connection.options.get("people_in_a_page", str(PEOPLE_IN_A_PAGE)))

    # --- the verbs -------------------------------------------------------------------------------------------------

    def changes(self, object: str, cursor: str | None) -> Page:
        """Return the next changed employees, or their pay rows, in the order in which they changed.

        The vendor's list has no pages and no order: it is asked for again each time, sorted here, and read on from
        the last employee we handed over.
        """
        _known(object)
        place = msgspec.json.decode(cursor, type=Place) if cursor else Place()
        answer, entries = self._changed(place)
        newest = entries[-1].stamp if entries else ""
        complete = True
        if wait_out((parse_instant(entry.stamp) for entry in entries), answer):
            answer, entries = self._changed(place)
            settled = list(takewhile(lambda e: e.stamp <= newest or over(parse_instant(e.stamp), answer), entries))
            complete = len(settled) == len(entries)
            entries = settled
        started = place.started or _text(answered_at(answer))
        if object == TABLE and len(entries) > self._page:
            batch, records = entries, self._everybodys_pay(entries)
        else:
            batch = entries[: self._page]
            records = [record for entry in batch for record in self._read(object, entry)]
        if complete and len(batch) == len(entries):
            since = max(place.since, _text(parse_instant(started) - self._look_back))
            return Page(tuple(records), _cursor(Place(since)), False)
        after = (batch[-1].stamp, batch[-1].id) if batch else place.after
        return Page(tuple(records), _cursor(Place(place.since, started, after)), True)

    def get(self, object: str, external_id: str) -> Record | None:
        """Return an employee, or a pay row by `employee/row`, as it is now; None when there is none."""
        return next(iter(self.fetch(object, [external_id])), None)

    def fetch(self, object: str, external_ids: Sequence[str]) -> list[Record]:
        """Return the records as they are now; the pay rows of one employee come with one call."""
        _known(object)
        found: dict[str, Record] = {}
        for id in dict.fromkeys(external_id.partition("/")[0] for external_id in external_ids):
            for record in self._settled(object, id):
                found[record.external_id] = record
        return [found[external_id] for external_id in external_ids if external_id in found]

    def find(self, object: str, key: str) -> Receipt | None:
        """Refuse: nothing of ours is kept there."""
        raise Broken("BambooHR is only read; nothing is written there")

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        """Refuse: nothing of ours is kept there."""
        raise Broken("BambooHR is only read; nothing is written there")

    @staticmethod
    def notices(body: Raw) -> list[Notice]:
        """Read an event of either generation: `{type, data: {employeeId}}`, or `{employees: [{id, action}]}`."""
        data = body.get("data")
        if isinstance(data, dict) and data.get("employeeId"):
            change = CHANGES.get(str(body.get("type", "")).rpartition(".")[2], "update")
            return [Notice("employee", str(data["employeeId"]), change)]
        employees = body.get("employees")
        return [
            Notice("employee", str(one["id"]), CHANGES.get(str(one.get("action", "")).lower(), "update"))
            for one in (employees if isinstance(employees, list) else ())
            if isinstance(one, dict) and one.get("id")
        ]

    def refusal(self, answer: Answer) -> tuple[str, str, str]:
        """Read the reason from its header: the body is mostly empty."""
        reason = answer.headers.get("x-bamboohr-error-message", "")
        return str(answer.status), f"BambooHR: {reason}" if reason else "", ""

    # --- the vendor's ways -----------------------------------------------------------------------------------------

    def _changed(self, place: Place) -> tuple[Answer, list[Entry]]:
        """Ask who has changed; return those behind our place, sorted."""
        answer = self.call("GET", f"{EMPLOYEES}/changed", params={"since": place.since}, headers=JSON)
        listed = msgspec.json.decode(answer.raw, type=Changed).employees
        entries = (
            [] if isinstance(listed, list) else [_entry(id, raw) for id, raw in listed.items()]
        )  # PHP writes an empty map as []
        behind = (entry for entry in entries if place.after is None or (entry.stamp, entry.id) > place.after)
        return answer, sorted(behind, key=lambda entry: (entry.stamp, entry.id))

    def _read(self, object: str, entry: Entry) -> Iterator[Record]:
        """Read what a changed employee is about.

        Who has changed again since the list was made comes once more with the newer stamp: the next list has them.
        """
        if object == TABLE:
            if not entry.deleted:
                yield from self._pay(entry.id, entry.stamp)
        elif entry.deleted:
            yield Record(object, entry.id, entry.stamp, entry.raw, deleted=True)
        else:
            answer = self._employee(entry.id)
            if answer is not None:
                yield Record(object, entry.id, entry.stamp, answer.raw)

    def _settled(self, object: str, id: str) -> list[Record]:
        """Read one employee, or their pay rows, when the second of their last change is over."""
        newest = ""
        for _ in range(TRIES):
            answer = self._employee(id)
            if answer is None:
                return []
            stamp = _stamp_of(answer.raw)
            if stamp <= newest or not wait_out([parse_instant(stamp)], answer):
                if object != TABLE:
                    return [Record(object, id, stamp, answer.raw)]
                return list(self._pay(id, stamp))
            newest = stamp
        raise Busy("somebody is changing this employee all the time", 5)

    def _employee(self, id: str) -> Answer | None:
        path = f"{EMPLOYEES}/{quote(id, safe='')}"
        answer = self.call("GET", path, params={"fields": self._fields}, headers=JSON, allow=(404,))
        return answer if answer.status == 200 else None

    def _pay(self, id: str, stamp: str) -> Iterator[Record]:
        answer = self.call("GET", f"{EMPLOYEES}/{quote(id, safe='')}/tables/{TABLE}", headers=JSON, allow=(404,))
        if answer.status == 200:
            yield from _rows(answer, {id: stamp})

    def _everybodys_pay(self, entries: Iterable[Entry]) -> list[Record]:
        """Read the whole table at once: one call instead of one for each of many."""
        stamps = {entry.id: entry.stamp for entry in entries if not entry.deleted}
        return list(_rows(self.call("GET", f"{EMPLOYEES}/all/tables/{TABLE}", headers=JSON), stamps))


def _rows(answer: Answer, stamps: dict[str, str]) -> Iterator[Record]:
    """Cut the rows of these employees out of a table; a row has no stamp of its own, its employee's counts."""
    for raw in msgspec.json.decode(answer.raw, type=list[msgspec.Raw]):
        row = msgspec.json.decode(raw, type=Row)
        stamp = stamps.get(str(row.employee_id))
        if stamp is not None:
            yield Record(TABLE, f"{row.employee_id}/{row.id}", stamp, bytes(raw))


def _entry(id: str, raw: msgspec.Raw) -> Entry:
    change = msgspec.json.decode(raw, type=Change)
    return Entry(_text(parse_instant(change.last_changed)), id, change.action == "Deleted", bytes(raw))


def _stamp_of(raw: bytes) -> str:
    """Return when an employee was changed last.

    Raises    Broken when the key's user may not see that.
    """
    employee = msgspec.json.decode(raw, type=Employee)
    if not employee.last_changed:
        raise Broken("BambooHR does not show lastChanged; give the key's user access to it")
    return _text(parse_instant(employee.last_changed))


def _text(at: datetime) -> str:
    """Write an instant in one form, so that stamps sort; the vendor writes both Z and +00:00."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _known(object: str) -> None:
    if object not in ("employee", TABLE):
        raise Broken(f"BambooHR: we do not read {object}")


def _cursor(place: Place) -> str:
    return msgspec.json.encode(asdict(place)).decode()

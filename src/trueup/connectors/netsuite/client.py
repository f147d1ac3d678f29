"""Reads NetSuite by SuiteQL and whole records, writes by external id, so that a repeated send is the same record."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

import msgspec

from trueup.connectors.sdk.auth import CLIENT_ASSERTION, OAuth, assertion, need
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.settled import LITTLE_MORE_THAN_A_SECOND, over
from trueup.connectors.sdk.wire import Answer, Connection, Notice, Page, Raw, Receipt, Record
from trueup.kernel.errors import Broken, Busy, Refused, Unsettled

RECORDS_A_CALL: Final = 50
MOST_ROWS: Final = 1000
MOST_SEEN: Final = 5000
LOOK_BACK: Final = timedelta(minutes=5)
MOST_READS: Final = 4
MASK: Final = 'YYYY-MM-DD"T"HH24:MI:SS'
STAMP: Final = "%Y-%m-%dT%H:%M:%S"
TABLES: Final = {
    "customer": "customer",
    "invoice": "transaction WHERE type = 'CustInvc'",
    "creditMemo": "transaction WHERE type = 'CustCred'",
    "customerPayment": "transaction WHERE type = 'CustPymt'",
    "journalEntry": "transaction WHERE type = 'Journal'",
}
"""Record type -> what SuiteQL selects it from: all transactions share a table."""
_KEY: Final = re.compile(r"^[A-Za-z0-9_-]{1,200}$")
_JOB: Final = re.compile(r"/async/v1/job/(\w+)/?$")
_STRICT: Final = {"X-NetSuite-PropertyNameValidation": "Error", "X-NetSuite-PropertyValueValidation": "Error"}
"""Without these an account may drop what it does not know and answer that all is well."""


class Cursor(msgspec.Struct, omit_defaults=True):
    """How far a record type has been read; all times as text in the integration user's time zone.

    floor   where the next query begins
    high    the latest change seen
    seen    id -> stamp of what was read since the look-back, so that looking back does not read it again
    gone    id -> stamp of deletions already told
    """

    floor: str = ""
    high: str = ""
    seen: dict[str, str] = {}
    gone: dict[str, str] = {}


class _Row(msgspec.Struct):
    """One line of a SuiteQL answer: all values are text, and what is null is absent."""

    stamp: str
    id: str = ""
    recordid: str = ""


class _Rows(msgspec.Struct, rename="camel"):
    items: list[msgspec.Raw]
    has_more: bool = False


class _Head(msgspec.Struct, rename="camel"):
    """What we need of a record before anybody maps it."""

    id: str
    last_modified_date: str = ""
    external_id: str | None = None


class _Job(msgspec.Struct):
    completed: bool = False


class NetSuite(VendorClient):
    """Upserts by external id (class A), long documents as jobs; changes come from SuiteQL with a look-back, records byte for byte from REST.

    options  `deletions: off` when the integration's role may not see deleted records
    """

    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        super().__init__(manifest, connection)
        url = connection.token_url or self.base_url + manifest.auth["token_path"]
        algorithm = connection.credentials.get("algorithm") or manifest.auth["algorithm"]

        def form() -> dict[str, str]:
            proof = assertion(
                connection,
                algorithm=algorithm,
                audience=url,
                subject=need(connection, "client_id"),
                scope="rest_webservices",
            )
            return {
                "grant_type": "client_credentials",
                "client_assertion_type": CLIENT_ASSERTION,
                "client_assertion": proof,
            }

        self.auth = OAuth(url, form)

    # --- reading -------------------------------------------------------------------------------------------------

    def changes(self, object: str, cursor: str | None) -> Page:
        """Return up to fifty changed records; at the end of a round also what was deleted."""
        at = msgspec.json.decode(cursor, type=Cursor) if cursor else Cursor()
        rows, more = self._changed(object, at)
        new = [row for row in rows if at.seen.get(row.id) != row.stamp]
        batch = new[:RECORDS_A_CALL]
        records = self.fetch(object, [row.id for row in batch])
        for row in batch:
            at.seen[row.id] = row.stamp
            at.high = max(at.high, row.stamp)
        if len(new) > len(batch) or more:
            at.floor = (batch or rows)[-1].stamp
            _prune(at)
            return Page(tuple(records), msgspec.json.encode(at).decode(), more=True)
        if at.high:
            records += self._deleted(object, at)
            _rest(at)
        return Page(tuple(records), msgspec.json.encode(at).decode(), more=False)

    def get(self, object: str, external_id: str) -> Record | None:
        """Return a record with its sublists, exactly as NetSuite wrote it."""
        found = self._read(object, external_id)
        return found[0] if found else None

    def fetch(self, object: str, external_ids: Sequence[str]) -> list[Record]:
        """Return records as they are once the second of their last change is over.

        NetSuite's stamps are whole seconds: a record read in the second it changed in can change again without
        another stamp, and the second state would pass for the first.
        """
        found: dict[str, Record] = {}
        waiting = list(dict.fromkeys(external_ids))
        for _ in range(MOST_READS):
            fresh = []
            for external_id in waiting:
                read = self._read(object, external_id)
                if read is None:
                    found.pop(external_id, None)
                    continue
                found[external_id] = read[0]
                if not over(_instant(read[0].stamp), read[1]):
                    fresh.append(external_id)
            if not fresh:
                break
            time.sleep(LITTLE_MORE_THAN_A_SECOND)
            waiting = fresh
        return [found[external_id] for external_id in dict.fromkeys(external_ids) if external_id in found]

    def find(self, object: str, key: str) -> Receipt | None:
        """Look for the record whose external id is our key."""
        answer = self.call("GET", f"/record/v1/{object}/eid:{_checked(key)}", allow=(404,))
        if answer.status == 404:
            return None
        head = msgspec.json.decode(answer.raw, type=_Head)
        return Receipt(head.id, head.last_modified_date)

    # --- writing -------------------------------------------------------------------------------------------------

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        """Create or update the record whose external id is our key, and wait for it.

        A record that exists without our key is updated by its id and takes the key over. Sublists are replaced:
        without that NetSuite would add our lines to those that are there.
        """
        return self._finished(object, key, body, lambda: self._write(object, key, body, external_id))

    def post(self, object: str, key: str, body: Raw, external_id: str | None, once: str) -> Receipt:
        """Send; a long document as a job, where the manifest says so.

        The same call under the same key is answered with the first one's job: that is a success, and is followed.

        Source    section_156334828635 (asynchronous requests)
        """
        write = self.manifest.writes.get(object)
        if write is None or write.mode == "sync" or _lines(body) < write.async_from_lines:
            return self.send(object, key, body, external_id)
        headers = {"Prefer": "respond-async", "X-NetSuite-Idempotency-Key": str(uuid5(NAMESPACE_OID, once))}
        answer = self._write(object, key, body, external_id, headers, allow=(400,))
        if answer.status == 400 and self.refusal(answer)[0] != "IDEMPOTENCY_ERROR":
            raise self.trouble("PUT", answer)
        job = _JOB.search(answer.headers.get("location", ""))
        if job is not None:
            return Receipt("", job=job[1])
        if answer.status in (202, 400):
            raise Unsettled(f"{self.manifest.title} accepted {object} {key} and did not say as which job")
        return self._finished(object, key, body, lambda: answer)  # it answered at once after all

    def outcome(self, object: str, key: str, body: Raw, job: str) -> Receipt | None:
        """Say what became of a job; its result is what the call would have been answered had we waited.

        Source    subsect_161252896355, subsect_161252889998 (job, task, result)
        """
        answer = self.call("GET", f"/async/v1/job/{job}", allow=(404,))
        if answer.status == 404:
            raise Unsettled(f"{self.manifest.title} does not know the job {job} any more")
        if not msgspec.json.decode(answer.raw, type=_Job).completed:
            return None

        def result() -> Answer:
            answer = self.call("GET", f"/async/v1/job/{job}/task/1/result", allow=range(400, 600))
            if answer.status >= 400:
                raise self.trouble("PUT", answer)
            return answer

        return self._finished(object, key, body, result)

    def _write(
        self,
        object: str,
        key: str,
        body: Raw,
        external_id: str | None,
        headers: Mapping[str, str] | None = None,
        allow: Sequence[int] = (),
    ) -> Answer:
        whole = {**body, "externalId": _checked(key)}
        lists = ",".join(name for name, value in body.items() if isinstance(value, dict) and "items" in value)
        params = {"replace": lists} if lists else None
        method, place = ("PATCH", external_id) if external_id else ("PUT", f"eid:{key}")
        return self.call(
            method,
            f"/record/v1/{object}/{place}",
            params=params,
            json=_exact(whole),
            headers={**_STRICT, **(headers or {})},
            allow=allow,
        )

    def _finished(self, object: str, key: str, body: Raw, call: Callable[[], Answer]) -> Receipt:
        """Read the answer to a write: the record's place, or a no that means that it is there already."""
        try:
            answer = call()
        except Refused as no:
            if no.code in ("APPROVED", "USER_ERROR") and (landed := self._landed(object, key, body)):
                return landed
            raise
        location = answer.headers.get("location", "").rstrip("/").rpartition("/")[2]
        if location.isdigit():
            return Receipt(location)
        found = self.find(object, key)
        if found is None:
            raise Unsettled(f"{self.manifest.title} accepted {object} {key} but does not show it yet")
        return found

    def part(self, object: str, external_id: str, body: Raw) -> None:
        """Change a record and add lines: without `replace` NetSuite keeps the lines that are there."""
        self.call("PATCH", f"/record/v1/{object}/{external_id}", json=_exact(body), headers=_STRICT)

    def whole(self, object: str, key: str) -> tuple[Receipt, Raw] | None:
        """Return the record whose external id is our key with its sublists."""
        params = {"expandSubResources": "true"}
        answer = self.call("GET", f"/record/v1/{object}/eid:{_checked(key)}", params=params, allow=(404,))
        if answer.status == 404:
            return None
        body = answer.json()
        return Receipt(str(body["id"]), str(body.get("lastModifiedDate", ""))), body

    def _landed(self, object: str, key: str, body: Raw) -> Receipt | None:
        """Say whether an invoice that may not change any more is the very one we want to send.

        Its approval can come between a write whose answer was lost and the next attempt.
        """
        if object != "invoice":
            return None
        params = {"expandSubResources": "true"}
        answer = self.call("GET", f"/record/v1/{object}/eid:{key}", params=params, allow=(404,))
        if answer.status == 404:
            return None
        held = answer.json()
        same = _amounts(held) == _amounts(body) and str(held.get("entity", {}).get("id")) == str(body["entity"]["id"])
        return Receipt(str(held["id"]), str(held.get("lastModifiedDate", ""))) if same else None

    # --- notices and errors --------------------------------------------------------------------------------------

    @staticmethod
    def notices(body: Raw) -> list[Notice]:
        """Read a call of the User Event script: which record changed."""
        names = {name.lower(): name for name in TABLES}
        name, id = names.get(str(body.get("recordType", "")).lower()), body.get("id")
        if name is None or not isinstance(id, str | int) or isinstance(id, bool):
            return []
        event = str(body.get("type", "edit"))
        return [Notice(name, str(id), event if event in ("create", "delete") else "update")]

    def refusal(self, answer: Answer) -> tuple[str, str, str]:
        """Read the first of o:errorDetails; the broad code USER_ERROR is told apart by its sentence."""
        try:
            body = answer.json()
            first = body["o:errorDetails"][0]
        except (ValueError, KeyError, IndexError, TypeError):
            return super().refusal(answer)
        code, text = str(first.get("o:errorCode", answer.status)), str(first.get("detail", ""))
        return _finer(code, text), text, str(first.get("o:errorPath", ""))

    def trouble(self, method: str, answer: Answer) -> Exception:
        """Name a bad answer; a record that somebody else is saving can be tried again."""
        found = super().trouble(method, answer)
        if isinstance(found, Refused) and found.code == "RCRD_HAS_BEEN_CHANGED":
            return Busy(f"{self.manifest.title}: somebody else is saving this record", 1)
        return found

    # --- queries -------------------------------------------------------------------------------------------------

    def _query(
        self, statement: str, limit: int = MOST_ROWS, offset: int = 0
    ) -> tuple[list[_Row], list[msgspec.Raw], bool]:
        """Run a SuiteQL statement; asking twice does no harm, so silence is never more than Busy."""
        try:
            answer = self.call(
                "POST",
                "/query/v1/suiteql",
                params={"limit": str(limit), "offset": str(offset)},
                json={"q": statement},
                headers={"Prefer": "transient"},
            )
        except Unsettled as silence:
            raise Busy(str(silence)) from silence
        page = msgspec.json.decode(answer.raw, type=_Rows)
        return [msgspec.json.decode(item, type=_Row) for item in page.items], page.items, page.has_more

    def _changed(self, object: str, at: Cursor) -> tuple[list[_Row], bool]:
        """Return (id, stamp) of what changed from the cursor's floor on, and whether more waits behind it.

        Explicit masks: without them the user's date preference cuts the time off.
        """
        table = TABLES[object]
        if at.floor:
            table += f" {'AND' if 'WHERE' in table else 'WHERE'} lastmodifieddate >= {_time(at.floor)}"
        columns = f"id, TO_CHAR(lastmodifieddate, '{MASK}') AS stamp"
        statement = f"SELECT {columns} FROM {table} ORDER BY lastmodifieddate, id"
        known = sum(stamp >= at.floor for stamp in at.seen.values())
        limit = min(MOST_ROWS, known + RECORDS_A_CALL + 1)
        offset = 0
        while True:
            rows, _, more = self._query(statement, limit, offset)
            if not more or any(at.seen.get(row.id) != row.stamp for row in rows) or rows[-1].stamp > at.floor:
                return rows, more
            offset += limit  # a mass update: more rows carry this second than one page holds

    def _read(self, object: str, external_id: str) -> tuple[Record, Answer] | None:
        params = {"expandSubResources": "true"}
        answer = self.call("GET", f"/record/v1/{object}/{external_id}", params=params, allow=(404,))
        if answer.status == 404:
            return None
        head = msgspec.json.decode(answer.raw, type=_Head)
        return Record(object, head.id, head.last_modified_date, answer.raw), answer

    def _deleted(self, object: str, at: Cursor) -> list[Record]:
        """Return what was deleted since the look-back and has not been told yet."""
        if self.connection.options.get("deletions") == "off":
            return []
        since = _back(at.high)
        rows, raws, _ = self._query(
            f"SELECT recordid, TO_CHAR(deleteddate, '{MASK}') AS stamp FROM deletedrecord"
            f" WHERE type = '{object.lower()}' AND deleteddate >= {_time(since)} ORDER BY deleteddate, recordid"
        )
        told = at.gone
        at.gone = {row.recordid: row.stamp for row in rows}
        at.high = max([at.high, *at.gone.values()])
        return [
            Record(object, row.recordid, f"{row.stamp}Z", bytes(raw), deleted=True)
            for row, raw in zip(rows, raws, strict=True)
            if told.get(row.recordid) != row.stamp
        ]


def _rest(at: Cursor) -> None:
    """End a round: the next one begins a look-back before the latest change."""
    at.floor = _back(at.high)
    _prune(at)


def _prune(at: Cursor) -> None:
    """Forget what lies before the look-back; with very many changes in it, look back less far."""
    since = min(at.floor, _back(at.high))
    if len(at.seen) > MOST_SEEN:
        since = max(since, sorted(at.seen.values())[-MOST_SEEN])
        at.floor = max(at.floor, since)
    at.seen = {id: stamp for id, stamp in at.seen.items() if stamp >= since}


def _back(stamp: str) -> str:
    earlier = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC) - LOOK_BACK  # the zone does not matter here
    return earlier.strftime(STAMP)


def _time(stamp: str) -> str:
    return f"TO_TIMESTAMP('{stamp}', '{MASK}')"


def _instant(stamp: str) -> datetime:
    """Read a stamp; one that is none is taken for long past, as there is nothing to wait for."""
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _checked(key: str) -> str:
    if not _KEY.match(key):
        raise Broken(f"{key!r} cannot be an external id: letters, digits, underscore and hyphen only")
    return key


def _exact(value: Any) -> Any:
    """Write decimals as JSON numbers with all their digits."""
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, Decimal):
        return msgspec.Raw(format(value, "f").encode())
    return msgspec.Raw(repr(float(value)).encode()) if isinstance(value, float) else value


def _lines(body: Mapping[str, Any]) -> int:
    """Count the lines of a document."""
    return sum(len(value["items"]) for value in body.values() if isinstance(value, dict) and "items" in value)


def _amounts(invoice: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what makes two invoices the same document: the tax and each line's key and amount."""
    lines = [
        (line.get("custcol_trueup_line"), Decimal(str(line.get("amount", 0)))) for line in invoice["item"]["items"]
    ]
    return Decimal(str(invoice.get("taxTotal", 0))), sorted(lines, key=str)


_FINER: Final = (
    ("CLOSED_PERIOD", re.compile(r"period\b.*\b(closed|locked)|\b(closed|locked)\b.*\bperiod", re.IGNORECASE)),
    ("ALREADY_EXISTS", re.compile(r"already exists", re.IGNORECASE)),
    ("APPROVED", re.compile(r"has been approved", re.IGNORECASE)),
)


def _finer(code: str, text: str) -> str:
    if code == "USER_ERROR":
        return next((name for name, pattern in _FINER if pattern.search(text)), code)
    return code

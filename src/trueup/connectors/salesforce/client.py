"""Reads Salesforce by SOQL keyset and writes delivery's state back onto the opportunity."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any
from urllib.parse import quote

import msgspec

from trueup.connectors.sdk.auth import JWT_BEARER, OAuth, Post, assertion, need
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.settled import answered_at, over, wait_out
from trueup.connectors.sdk.wire import Answer, Connection, Notice, Page, Raw, Receipt, Record
from trueup.kernel.clock import parse_instant
from trueup.kernel.errors import Broken, Busy, Refused

DATA = "/services/data/v66.0"
SYSTEM_FIELDS = ("Id", "SystemModstamp", "IsDeleted")
FIELDS: dict[str, tuple[str, ...]] = {
    "Account": (
        "Name",
        "Legal_Name__c",
        "BillingCountryCode",
        "BillingStateCode",
        "Tax_ID__c",
        "CurrencyIsoCode",
        "Payment_Terms_Days__c",
        "Billing_Email__c",
        "Industry",
        "Trueup_Status__c",
    ),
    "Opportunity": (
        "Deal_Code__c",
        "Name",
        "AccountId",
        "Type",
        "Amends_Deal__c",
        "StageName",
        "CloseDate",
        "Amount",
        "CurrencyIsoCode",
        "Start_Date__c",
        "End_Date__c",
        "PO_Number__c",
        "IsWon",
        "IsClosed",
    ),
    "Rate_Card_Line__c": (
        "Opportunity__c",
        "Role__c",
        "Rate__c",
        "CurrencyIsoCode",
        "Valid_From__c",
        "Valid_To__c",
    ),
    "Milestone__c": (
        "Milestone_Key__c",
        "Opportunity__c",
        "Line_Key__c",
        "Name",
        "Sequence__c",
        "Amount__c",
        "CurrencyIsoCode",
        "Planned_Date__c",
        "Acceptance_Required__c",
        "Signed_Off_On__c",
        "Signed_Off_By__c",
    ),
}
LINE_FIELDS = (
    "Id",
    "SystemModstamp",
    "Line_Key__c",
    "ProductCode",
    "Billing_Method__c",
    "TotalPrice",
    "Legal_Entity__c",
    "Line_Currency__c",
    "Bill_To__c",
    "Cap__c",
    "Estimated_Hours__c",
    "Monthly_Fee__c",
    "Included_Hours__c",
    "Overage_Rate__c",
    "Markup_Percent__c",
)
KEY_FIELD = "Trueup_Key__c"
BEGINNING = "2000-01-01T00:00:00Z"
LOOK_BACK_SECONDS = 10
MOST_IDS_IN_A_QUERY = 200
TRIES = 4
ONLY_LATER = frozenset({"REQUEST_LIMIT_EXCEEDED", "UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT"})
"""Refusals that only mean `later`: the day's calls are used up, a row is locked, the database was too slow."""


class Lines(msgspec.Struct, rename="camel"):
    """The child rows inside an opportunity."""

    records: list[msgspec.Raw]
    done: bool = True
    next_records_url: str | None = None


class Row(msgspec.Struct):
    """What we look at in a record; everything else stays bytes."""

    Id: str
    SystemModstamp: str
    IsDeleted: bool = False
    OpportunityLineItems: Lines | None = None


class Line(msgspec.Struct):
    """What we look at in a child row."""

    SystemModstamp: str


class Result(msgspec.Struct, rename="camel"):
    """One batch of a query."""

    records: list[msgspec.Raw]
    done: bool
    next_records_url: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """How far a read has come.

    since    everything before this instant is known
    part     `records`; then, for opportunities, `lines`: those of which only a line has changed
    started  the vendor's clock when this sweep began; the next one goes back to a little before it
    after    stamp and id of the last record handed over in this sweep
    locator  the vendor's own place in the result, good for speed only: it may expire
    """

    since: str = BEGINNING
    part: str = "records"
    started: str = ""
    after: tuple[str, str] | None = None
    locator: str = ""


class SessionOAuth(OAuth):
    """The JWT bearer flow; the answer also says where the org lives."""

    def __init__(self, token_url: str, form: Callable[[], Mapping[str, str]], lives_at: Callable[[str], None]) -> None:
        super().__init__(token_url, form)
        self._lives_at = lives_at

    def header(self, post: Post) -> Mapping[str, str]:
        """Return the Bearer header, noting the instance when a new token comes."""

        def noting(url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
            answer = post(url, form, headers)
            if answer.status == 200:
                self._lives_at(str(answer.json().get("instance_url", "")))
            return answer

        return super().header(noting)


class Salesforce(VendorClient):
    """Keyset reads on (SystemModstamp, Id); one class of write: fields of an opportunity that exists."""

    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        super().__init__(manifest, connection)
        audience = connection.options.get("audience", manifest.auth["audience"])
        at = connection.base_url or audience
        self.auth = SessionOAuth(
            connection.token_url or at.rstrip("/") + manifest.auth["token_path"],
            lambda: {
                "grant_type": JWT_BEARER,
                "assertion": assertion(
                    connection,
                    algorithm=manifest.auth["algorithm"],
                    audience=audience,
                    subject=need(connection, "username"),
                ),
            },
            self._settle_in,
        )
        self._batch = {"Sforce-Query-Options": f"batchSize={int(connection.options.get('batch_size', '2000'))}"}
        self._look_back = timedelta(seconds=int(connection.options.get("look_back_seconds", str(LOOK_BACK_SECONDS))))

    # --- reading -------------------------------------------------------------------------------------------------

    def changes(self, object: str, cursor: str | None) -> Page:
        """Return the next records in the order of (SystemModstamp, Id).

        The place survives a restart: a locator that has expired is replaced by a query from the last record. The
        end of a sweep sets the next one a little before this one's beginning, because a long transaction shows
        its records only when it ends, with the stamp of when it saved them.
        """
        place = _read_place(cursor)
        answer, result, records = self._batch_at(object, place)
        newest = max((record.stamp for record in records), default="")
        at_work = False
        if wait_out((parse_instant(record.stamp) for record in records), answer):
            answer, result, records = self._batch_at(object, replace(place, locator=""))
            settled = list(takewhile(lambda r: r.stamp <= newest or over(parse_instant(r.stamp), answer), records))
            at_work = len(settled) < len(records)
            records = settled
        started = place.started or _literal(answered_at(answer))
        after = (_own_stamp(records[-1]), records[-1].external_id) if records else place.after
        going_on = replace(place, started=started, after=after, locator="")
        if at_work:  # somebody changes records this very second: those come next time
            following = going_on
        elif not result.done:
            following = replace(going_on, locator=result.next_records_url or "")
        elif object == "Opportunity" and place.part == "records":
            following = Place(place.since, "lines", started)
        else:
            return Page(tuple(records), _cursor(Place(self._next_since(place.since, started))), False)
        return Page(tuple(records), _cursor(following), True)

    def get(self, object: str, external_id: str) -> Record | None:
        """Return the record as it is now, also from the recycle bin; None when it is gone for good."""
        return next(iter(self.fetch(object, [external_id])), None)

    def fetch(self, object: str, external_ids: Sequence[str]) -> list[Record]:
        """Return the records as they are now, up to 200 of them with one query."""
        found: list[Record] = []
        for first in range(0, len(external_ids), MOST_IDS_IN_A_QUERY):
            ids = ", ".join(_quoted(id) for id in external_ids[first : first + MOST_IDS_IN_A_QUERY])
            found += self._settled(object, f"Id IN ({ids})")
        return found

    @staticmethod
    def notices(body: Raw) -> list[Notice]:
        """Read a change event: one notice for each record it names.

        A gap event names its records like any other; an overflow event or a wildcard (`001*`) names none: that is a
        notice without an identifier, and the whole object is read again.
        """
        payload = body.get("payload")
        header = payload.get("ChangeEventHeader") if isinstance(payload, dict) else None
        object = str(header.get("entityName")) if isinstance(header, dict) else ""
        if not isinstance(header, dict) or object not in FIELDS:
            return []
        change = str(header.get("changeType", "UPDATE")).removeprefix("GAP_").lower()
        ids = header.get("recordIds")
        listed = [id for id in (ids if isinstance(ids, list) else ()) if isinstance(id, str)]
        named = [
            Notice(object, id, change if change in ("create", "delete") else "update")
            for id in listed
            if id.isalnum() and id.strip("0A")
        ]
        return named if len(named) == len(listed) else [*named, Notice(object, "", "gap")]

    # --- writing -------------------------------------------------------------------------------------------------

    def find(self, object: str, key: str) -> Receipt | None:
        """Look for the record that carries our key in Trueup_Key__c."""
        _only_opportunities(object)
        soql = f"SELECT Id, SystemModstamp FROM {object} WHERE {KEY_FIELD} = {_quoted(key)} ORDER BY Id LIMIT 2"
        rows = [msgspec.json.decode(raw, type=Row) for raw in self._query(soql, deleted=False)[1].records]
        return Receipt(rows[0].Id, rows[0].SystemModstamp) if rows else None

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        """Set fields of an opportunity that exists; the same call again sets the same values.

        The first write also leaves our key on the record. We never create one: deals begin in the CRM.
        """
        _only_opportunities(object)
        found = None if external_id else self.find(object, key)
        id = external_id or (found.external_id if found else "")
        if not id:
            raise Refused("Salesforce has no opportunity for this contract; look whether it was deleted", "NOT_FOUND")
        self.call("PATCH", f"{DATA}/sobjects/{object}/{quote(id, safe='')}", json={**body, KEY_FIELD: key})
        return Receipt(id)

    def standing(self, object: str, external_id: str, body: Raw) -> Any:
        """Return our own fields of an opportunity as they stand; what is read of it otherwise does not have them all."""
        _only_opportunities(object)
        columns = ", ".join(["Id", *sorted(body)])
        answer, _ = self._query(f"SELECT {columns} FROM {object} WHERE Id = {_quoted(external_id)}", deleted=False)
        rows = answer.json()["records"]
        return rows[0] if rows else None

    # --- the vendor's ways -----------------------------------------------------------------------------------------

    def trouble(self, method: str, answer: Answer) -> Exception:
        """Name a bad answer; some of Salesforce's refusals only mean `later`."""
        code, message, _ = self.refusal(answer)
        if code in ONLY_LATER:
            return Busy(f"Salesforce: {message}")
        return super().trouble(method, answer)

    def refusal(self, answer: Answer) -> tuple[str, str, str]:
        """Read `[{errorCode, message, fields}]`."""
        try:
            errors = answer.json()
        except msgspec.DecodeError:
            return super().refusal(answer)
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            first = errors[0]
            fields = first.get("fields") or ()
            code = str(first.get("errorCode", answer.status))
            return code, str(first.get("message", "")), ", ".join(str(field) for field in fields)
        return super().refusal(answer)

    def _settle_in(self, instance_url: str) -> None:
        """Go where the org lives, unless the workspace names an address of its own (a proxy, a sandbox)."""
        if instance_url and not self.connection.base_url:
            self.base_url = instance_url.rstrip("/")

    def _fields(self, object: str) -> str:
        """Return the SELECT list; the option `fields.<object>` replaces ours for a deployment with other fields."""
        if object not in FIELDS:
            raise Broken(f"Salesforce: we do not read {object}")
        own = self.connection.options.get(f"fields.{object}")
        names = [name.strip() for name in own.split(",")] if own else FIELDS[object]
        columns = [*SYSTEM_FIELDS, *(name for name in names if name not in SYSTEM_FIELDS)]
        if object == "Opportunity":
            own_lines = self.connection.options.get("fields.OpportunityLineItem")
            lines = [name.strip() for name in own_lines.split(",")] if own_lines else LINE_FIELDS
            line_columns = ["Id", "SystemModstamp", *(name for name in lines if name not in SYSTEM_FIELDS)]
            columns.append(
                f"(SELECT {', '.join(line_columns)} FROM OpportunityLineItems"
                " WHERE IsDeleted = false ORDER BY Line_Key__c, Id)"
            )
        return ", ".join(columns)

    def _batch_at(self, object: str, place: Place) -> tuple[Answer, Result, list[Record]]:
        """Read the batch at a place, by the locator when it still works."""
        if place.locator:
            try:
                answer, result = self._result(self.call("GET", place.locator, headers=self._batch))
                return answer, result, self._records(object, result)
            except Refused as gone:
                if gone.code != "INVALID_QUERY_LOCATOR":
                    raise
        where = f"SystemModstamp >= {place.since}"
        if place.part == "lines":
            where = (
                f"SystemModstamp < {place.since}"
                f" AND Id IN (SELECT OpportunityId FROM OpportunityLineItem WHERE SystemModstamp >= {place.since})"
            )
        if place.after:
            stamp, id = place.after
            where += f" AND (SystemModstamp > {stamp} OR (SystemModstamp = {stamp} AND Id > {_quoted(id)}))"
        soql = f"SELECT {self._fields(object)} FROM {object} WHERE {where} ORDER BY SystemModstamp, Id"
        answer, result = self._query(soql)
        return answer, result, self._records(object, result)

    def _settled(self, object: str, where: str) -> list[Record]:
        """Read records and hand them over when their second is over."""
        soql = f"SELECT {self._fields(object)} FROM {object} WHERE {where} ORDER BY SystemModstamp, Id"
        newest = ""
        for _ in range(TRIES):
            answer, result = self._query(soql)
            records = self._records(object, result)
            while not result.done and result.next_records_url:
                answer, result = self._result(self.call("GET", result.next_records_url, headers=self._batch))
                records += self._records(object, result)
            young = [parse_instant(record.stamp) for record in records if record.stamp > newest]
            if not wait_out(young, answer):
                return records
            newest = max(record.stamp for record in records)
        raise Busy(f"somebody is changing these {object} records all the time", 5)

    def _query(self, soql: str, *, deleted: bool = True) -> tuple[Answer, Result]:
        path = f"{DATA}/{'queryAll' if deleted else 'query'}"
        return self._result(self.call("GET", path, params={"q": soql}, headers=self._batch))

    def _result(self, answer: Answer) -> tuple[Answer, Result]:
        return answer, msgspec.json.decode(answer.raw, type=Result)

    def _records(self, object: str, result: Result) -> list[Record]:
        return [self._record(object, bytes(raw)) for raw in result.records]

    def _record(self, object: str, raw: bytes) -> Record:
        row = msgspec.json.decode(raw, type=Row)
        stamp, lines = row.SystemModstamp, row.OpportunityLineItems
        if lines is not None:
            if not lines.done:
                raw = self._with_all_lines(raw, lines)
            stamps = (msgspec.json.decode(line, type=Line).SystemModstamp for line in lines.records)
            stamp = max([stamp, *stamps])
        return Record(object, row.Id, stamp, raw, row.IsDeleted)

    def _with_all_lines(self, raw: bytes, lines: Lines) -> bytes:
        """Put the rest of the child rows into the record; a deal must never be read with lines missing."""
        more = lines.next_records_url
        while more:
            _, rest = self._result(self.call("GET", more, headers=self._batch))
            lines.records += rest.records
            more = None if rest.done else rest.next_records_url
        lines.done, lines.next_records_url = True, None
        whole = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        nested = {"totalSize": len(lines.records), "done": True, "records": lines.records}
        whole["OpportunityLineItems"] = msgspec.Raw(msgspec.json.encode(nested))
        return msgspec.json.encode(whole)

    def _next_since(self, since: str, started: str) -> str:
        return max(since, _literal(parse_instant(started) - self._look_back))


def _own_stamp(record: Record) -> str:
    """Return the record's own SystemModstamp as a SOQL literal: the record's stamp may be that of a line."""
    return _literal(parse_instant(msgspec.json.decode(record.raw, type=Row).SystemModstamp))


def _literal(at: datetime) -> str:
    """Write an instant the way SOQL takes it: Z, and not the +0000 its answers have."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quoted(text: str) -> str:
    """Write a SOQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _only_opportunities(object: str) -> None:
    if object != "Opportunity":
        raise Broken(f"Salesforce: we do not write {object}")


def _read_place(cursor: str | None) -> Place:
    return msgspec.json.decode(cursor, type=Place) if cursor else Place()


def _cursor(place: Place) -> str:
    return msgspec.json.encode(asdict(place)).decode()

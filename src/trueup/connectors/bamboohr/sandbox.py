"""A BambooHR account in memory: people, their pay rows, the list of who has changed, events, and its quirks."""

import base64
import binascii
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.simulate import Reject, Request, Response, Row, Simulator, Store, route

API = "/api/v1"
MOST_FIELDS = 400
NEVER = "0000-00-00"
COLUMNS = (
    "id",
    "employeeNumber",
    "firstName",
    "lastName",
    "middleName",
    "preferredName",
    "displayName",
    "workEmail",
    "division",
    "department",
    "customPractice",
    "location",
    "jobTitle",
    "supervisor",
    "hireDate",
    "terminationDate",
    "status",
    "standardHoursPerWeek",
    "lastChanged",
)
DAYS = frozenset({"hireDate", "terminationDate"})
PAY_COLUMNS = (
    "id",
    "employeeId",
    "startDate",
    "endDate",
    "rate",
    "type",
    "exempt",
    "reason",
    "comment",
    "paidPer",
    "paySchedule",
    "overtimeRate",
)
PAY_TYPES = frozenset(
    {
        "Hourly",
        "Salary",
        "Commission",
        "Exception Hourly",
        "Monthly",
        "Weekly",
        "Daily",
        "Piece Rate",
        "Contract",
        "Pro Rata",
    }
)
MONITORED = frozenset(COLUMNS) - {"id", "lastChanged", "displayName"}
PAY_CHANGED = ["payRate", "payRateEffectiveDate", "payType", "paidPer"]
_SINCE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)$")
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")


class BambooAccount(Simulator):
    """One company's account. Stamps have whole seconds, ids and numbers are text, what is empty is null.

    Routes are tried in the order of their methods' names: `changed` comes before `employee`.
    """

    vendor = "bamboohr"

    def __init__(self, manifest: Manifest, store: Store, credentials: Mapping[str, str], webhook_secret: str) -> None:
        super().__init__(manifest, store, credentials, webhook_secret)
        key = f"{credentials['api_key']}:"
        self._key = key.encode()

    # --- what people do ------------------------------------------------------------------------------------------

    def create(self, table: str, row: Row) -> Row:
        """Enter a person (`employee`) or a pay row (`compensation`); the same row with the same id changes nothing.

        Two events go out for a new person: created, and updated right after it.
        """
        id = str(row.get("id") or "") or self._next_id(table)
        made = self._fitted(table, row) | {"id": id}
        kept = self.store.table(table).get(id)
        if kept is not None:
            if any(kept[name] != made[name] for name in row if name != "lastChanged"):
                raise ValueError(f"{table} {id} exists with other values")
            return kept
        self._check(table, made)
        self.store.put(table, id, made)
        if table == "employee":
            self._note(id, "Inserted")
            self._tell("created", id)
            self._tell("updated", id, [name for name in made if made[name] is not None])
        else:
            self._pay_changed(made)
        return made

    def edit(self, table: str, id: str, changes: Row) -> Row:
        """Change a person or a pay row; saving what is there already changes nothing."""
        kept = self.store.table(table)[str(id)]
        whole = {name: value for name, value in kept.items() if name != "lastChanged"}
        row = self._fitted(table, whole | changes) | {"id": str(id)}
        changed = [name for name in row if row[name] != kept[name]]
        if not changed:
            return kept
        self._check(table, row)
        self.store.put(table, str(id), row)
        if table == "employee":
            self._note(str(id), "Updated")
            self._tell("updated", str(id), changed)
        else:
            self._pay_changed(row)
        return row

    def remove(self, table: str, id: str) -> None:
        """Delete a person with everything about them, or a pay row."""
        row = self.store.table(table).get(str(id))
        if row is None:
            return
        self.store.delete(table, str(id))
        if table == "employee":
            for pay in [pay for pay in self.store.table("compensation").values() if pay["employeeId"] == str(id)]:
                self.store.delete("compensation", pay["id"])
            self._note(str(id), "Deleted")
            self._tell("deleted", str(id))
        else:
            self._pay_changed(row)

    def terminate(self, id: str, day: str) -> Row:
        """End somebody's employment: the last day, and inactive from now on."""
        return self.edit("employee", id, {"terminationDate": day, "status": "Inactive"})

    def hide(self, column: str) -> None:
        """Take a field out of what the key's user may see: it is left out of every answer."""
        self.store.put("_hidden", column, {})

    # --- signing in ------------------------------------------------------------------------------------------------

    def authorize(self, request: Request) -> None:
        """Check the API key; a refusal has no body."""
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(pair, validate=True)
        except (binascii.Error, ValueError):
            given = b""
        if scheme.lower() != "basic" or not given.startswith(self._key):
            raise Reject(Response(401, None, {"WWW-Authenticate": 'Basic realm="api"'}))

    def throttled(self) -> Response:
        """Return 429 with Retry-After."""
        return _refusal(429, "Limit Exceeded", {"Retry-After": "1"})

    def unavailable(self) -> Response:
        """Return 503; the vendor uses it for too many calls as well."""
        return _refusal(503, "Service Unavailable", {"Retry-After": "1"})

    def missing(self, request: Request) -> Response:
        """Return 404."""
        return _refusal(404, "Not found")

    # --- the API -----------------------------------------------------------------------------------------------------

    @route("GET", f"{API}/employees/changed")
    def changed(self, request: Request) -> Response:
        """Return everybody who has changed after `since`, in no order, all at once."""
        since = _since(request)
        wanted = request.param("type", "all").lower()
        if wanted not in ("inserted", "updated", "deleted", "all"):
            raise Reject(_refusal(400, "Invalid type"))
        employees = {}
        for id, note in sorted(self.store.table("_changes").items(), reverse=True):
            if note["lastChanged"] <= since:
                continue
            action = note["action"]
            if action != "Deleted":
                action = "Inserted" if note["inserted"] > since else "Updated"
            if wanted in ("all", action.lower()):
                employees[id] = {"id": id, "action": action, "lastChanged": note["lastChanged"]}
        latest = max((one["lastChanged"] for one in employees.values()), default=since)
        return _answer(request, {"latest": latest, "employees": employees})

    @route("GET", f"{API}/employees/changed/tables/{{table}}")
    def changed_table(self, request: Request, table: str) -> Response:
        """Return all rows of everybody who has changed after `since`; these rows carry no ids, and rates as text."""
        since = _since(request)
        self._need_table(table)
        employees = {
            id: {"lastChanged": note["lastChanged"].replace("+00:00", "Z"), "rows": self._rows_as_text(id)}
            for id, note in self.store.table("_changes").items()
            if note["lastChanged"] > since and note["action"] != "Deleted"
        }
        return _answer(request, {"table": table, "employees": employees})

    @route("GET", f"{API}/employees/{{id}}")
    def employee(self, request: Request, id: str) -> Response:
        """Return the fields asked for; unknown ones and those the key's user may not see are left out."""
        names = [name for name in request.param("fields", "firstName,lastName").split(",") if name]
        if len(names) > MOST_FIELDS:
            raise Reject(_refusal(400, "Too many fields"))
        row = self.store.table("employee").get(id)
        if row is None:
            raise Reject(_refusal(404, "Employee not found"))
        shown: Row = {"id": id}
        for name in names:
            if name in COLUMNS and name not in self.store.table("_hidden"):
                shown[name] = self._shown(id, row, name)
        return _answer(request, shown)

    @route("GET", f"{API}/employees/{{id}}/tables/{{table}}")
    def table_rows(self, request: Request, id: str, table: str) -> Response:
        """Return all rows of one employee, or of `all`, in no order."""
        self._need_table(table)
        if id != "all" and id not in self.store.table("employee"):
            raise Reject(_refusal(404, "Employee not found"))
        hidden = self.store.table("_hidden")
        rows = [
            {name: value for name, value in row.items() if name not in hidden}
            for row in self.store.table(table).values()
            if id in ("all", row["employeeId"])
        ]
        return _answer(request, rows[::-1])

    @route("GET", f"{API}/meta/fields")
    def meta_fields(self, request: Request) -> Response:
        """Return every field an employee has here."""
        fields = [{"id": place, "name": name, "type": "text", "alias": name} for place, name in enumerate(COLUMNS, 1)]
        return _answer(request, fields)

    @route("GET", f"{API}/meta/tables")
    def meta_tables(self, request: Request) -> Response:
        """Return every table there is here."""
        columns = [{"id": n, "name": name, "alias": name, "type": "text"} for n, name in enumerate(PAY_COLUMNS, 100)]
        return _answer(request, [{"alias": "compensation", "fields": columns}])

    # --- the account -------------------------------------------------------------------------------------------------

    def _need_table(self, table: str) -> None:
        if table != "compensation":
            raise Reject(_refusal(404, f"Unknown table {table}"))

    def _shown(self, id: str, row: Row, name: str) -> Any:
        if name == "lastChanged":
            return self.store.table("_changes")[id]["lastChanged"]
        return NEVER if name in DAYS and row[name] is None else row[name]

    def _rows_as_text(self, id: str) -> list[Row]:
        rows = []
        for row in self.store.table("compensation").values():
            if row["employeeId"] == id:
                shown = {name: value for name, value in row.items() if name not in ("id", "employeeId")}
                rate = row["rate"]
                rows.append(shown | {"rate": f"{rate['value']} {rate['currency']}"})
        return rows

    def _fitted(self, table: str, row: Row) -> Row:
        """Bring a row into the form it is kept in: every column, all text."""
        columns = COLUMNS if table == "employee" else PAY_COLUMNS
        unknown = set(row) - set(columns)
        if table not in ("employee", "compensation") or unknown:
            raise ValueError(f"{table} has no field {', '.join(sorted(unknown)) or table}")
        out: Row = {name: None for name in columns if name != "lastChanged"}
        for name, value in row.items():
            if name == "rate" and value is not None:
                out[name] = {"currency": str(value["currency"]), "value": _rate(value["value"])}
            elif name != "lastChanged":
                out[name] = None if value in (None, "", NEVER) else str(value)
        if table == "employee":
            out["status"] = out["status"] or "Active"
            out["displayName"] = out["displayName"] or f"{out['firstName']} {out['lastName']}"
        return out

    def _check(self, table: str, row: Row) -> None:
        """Refuse what the form would not save.

        Raises    ValueError with what the form says.
        """
        needed = ("firstName", "lastName") if table == "employee" else ("employeeId", "startDate", "rate", "type")
        for name in needed:
            if row[name] is None:
                raise ValueError(f"{name} is required")
        for name in ("hireDate", "terminationDate", "startDate", "endDate"):
            if row.get(name) is not None:
                date.fromisoformat(row[name])
        if table == "compensation":
            if row["employeeId"] not in self.store.table("employee"):
                raise ValueError(f"there is no employee {row['employeeId']}")
            if row["type"] not in PAY_TYPES:
                raise ValueError(f"{row['type']} is no pay type")
            return
        if row["status"] not in ("Active", "Inactive"):
            raise ValueError(f"{row['status']} is no status")
        if row["workEmail"] is not None:
            if not _EMAIL.match(row["workEmail"]):
                raise ValueError(f"{row['workEmail']} is no e-mail address")
            others = self.store.table("employee").values()
            if any(other["workEmail"] == row["workEmail"] and other["id"] != row["id"] for other in others):
                raise ValueError(f"{row['workEmail']} belongs to somebody else")

    def _next_id(self, table: str) -> str:
        while True:
            id = str(self.store.next_number(table, 101 if table == "employee" else 18001))
            if id not in self.store.table(table):
                return id

    def _note(self, id: str, action: str) -> None:
        """Remember who has changed, to the second."""
        now = self.store.stamp().strftime("%Y-%m-%dT%H:%M:%S+00:00")
        known = self.store.table("_changes").get(id, {"inserted": now})
        note = {"inserted": now if action == "Inserted" else known["inserted"], "action": action, "lastChanged": now}
        self.store.put("_changes", id, note)

    def _pay_changed(self, row: Row) -> None:
        """A pay row changes its employee; the event of a row that begins later goes out when it begins."""
        self._note(row["employeeId"], "Updated")
        if row["startDate"] <= datetime.now(UTC).date().isoformat():
            self._tell("updated", row["employeeId"], PAY_CHANGED)

    def _tell(self, what: str, id: str, changed: Iterable[str] = ()) -> None:
        """Announce an event; an update only when a monitored field is among the changed ones."""
        data: Row = {"companyId": "40817", "employeeId": id}
        if what == "updated":
            data["changedFields"] = sorted(name for name in changed if name in MONITORED or name in PAY_CHANGED)
            if not data["changedFields"]:
                return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.announce({"type": f"employee.{what}", "timestamp": now, "data": data})


def _rate(value: Any) -> str:
    """Write an amount as the vendor does: text with at least two places."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value} is no amount") from None
    return format(amount if -int(amount.as_tuple().exponent) > 2 else amount.quantize(Decimal("0.01")), "f")


def _since(request: Request) -> str:
    """Read `since` as a UTC text that compares; a plus sign that was not escaped arrives as a space."""
    given = request.param("since")
    if not _SINCE.match(given):
        raise Reject(_refusal(400, "The since parameter is missing or is not a valid ISO 8601 date"))
    try:
        at = datetime.fromisoformat(given.replace("Z", "+00:00"))
    except ValueError:
        raise Reject(_refusal(400, "The since parameter is not a valid date")) from None
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def _answer(request: Request, body: Any) -> Response:
    """Answer in JSON to those who ask for it; to everybody else in XML."""
    if "application/json" in request.headers.get("accept", ""):
        return Response(200, body)
    return Response(200, b'<?xml version="1.0"?>\n<result/>\n', {"content-type": "text/xml"})


def _refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, None, {"X-BambooHR-Error-Message": reason, **(headers or {})})

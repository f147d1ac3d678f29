"""The simulated org's REST API: sign-in, SOQL and its batches, record writes, and the ways of saying no."""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from trueup.connectors.salesforce import soql
from trueup.connectors.salesforce.org import DATA, Org, not_found
from trueup.connectors.salesforce.schema import NUMBERS, Invalid, Table, long_id
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.simulate import Reject, Request, Response, Row, Store, route

AUDIENCES = frozenset({"https://login.salesforce.com", "https://test.salesforce.com"})
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SESSION_SECONDS = 7200
LONGEST_ASSERTION_SECONDS = 300
SMALLEST_BATCH, LARGEST_BATCH = 200, 2000
MOST_CURSORS = 1000
MOST_IN_COLLECTION = 200
_WITH_NUMBERS = msgspec.json.Encoder(decimal_format="number")


class SalesforceOrg(Org):
    """The org's REST API, version 66."""

    def __init__(self, manifest: Manifest, store: Store, credentials: Mapping[str, str], webhook_secret: str) -> None:
        super().__init__(manifest, store, credentials, webhook_secret)
        self.calls_allowed = 5_000_000
        self.calls_used = 0
        self.child_batch = 200
        """Child rows inside one record before they, too, come in batches."""
        self._sessions: dict[str, float] = {}
        self._cursors: dict[str, list[Row]] = {}

    # --- what the administrator does --------------------------------------------------------------------------------

    def end_sessions(self) -> None:
        """Revoke every session, as an administrator can."""
        self._sessions.clear()

    def expire_locators(self) -> None:
        """Let every open result die, as two days of waiting do."""
        self._cursors.clear()

    # --- signing in ------------------------------------------------------------------------------------------------

    @route("POST", "/services/oauth2/token", public=True)
    def token(self, request: Request) -> Response:
        """Give a session for a signed assertion (RFC 7523)."""
        form = request.form()
        if form.get("grant_type") != GRANT:
            return _oauth_error("unsupported_grant_type", "grant type not supported")
        pem = self.credentials.get("public_key") or self.credentials["private_key"]
        try:
            claims = jwt.decode(form.get("assertion", ""), RSAKey.import_key(pem), algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return _oauth_error("invalid_grant", "invalid assertion")
        if claims.get("iss") != self.credentials["client_id"]:
            return _oauth_error("invalid_client_id", "client identifier invalid")
        if claims.get("aud") not in AUDIENCES:
            return _oauth_error("invalid_grant", "audience is invalid")
        now, end = time.time(), claims.get("exp")
        if not isinstance(end, int) or end <= now or end > now + LONGEST_ASSERTION_SECONDS:
            return _oauth_error("invalid_grant", "assertion has expired or lives too long")
        if claims.get("sub") != self.credentials["username"]:
            return _oauth_error("invalid_grant", "user hasn't approved this consumer")
        session = f"00DNy0000000001!{secrets.token_urlsafe(48)}"
        self._sessions[session] = now + SESSION_SECONDS
        address = self.credentials.get("base_url") or f"http://{request.headers.get('host', 'localhost')}"
        body = {
            "access_token": session,
            "scope": "api",
            "instance_url": address,
            "id": f"{address}/id/00DNy0000000001EAA/005Ny0000000001IAA",
            "token_type": "Bearer",
        }
        return Response(200, body, {"Cache-Control": "no-store"})

    def authorize(self, request: Request) -> None:
        """Check the session and count the call."""
        session = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._sessions.get(session, 0.0) < time.time():
            raise Reject(_errors(Invalid("INVALID_SESSION_ID", "Session expired or invalid", status=401)))
        if self.calls_used >= self.calls_allowed:
            raise Reject(self.throttled())
        self.calls_used += 1

    def handle(self, request: Request) -> Response:
        """Answer one request; every answer to a signed-in call says how many calls are used."""
        try:
            response = super().handle(request)
        except Invalid as no:
            self.store.flush()
            response = _errors(no)
        if request.path.startswith("/services/data/"):
            usage = {"Sforce-Limit-Info": f"api-usage={self.calls_used}/{self.calls_allowed}"}
            response = replace(response, headers={**response.headers, **usage})
        return response

    def throttled(self) -> Response:
        """Return 403 REQUEST_LIMIT_EXCEEDED: the org's calls of the day are used up."""
        return _errors(Invalid("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403))

    def unavailable(self) -> Response:
        """Return 503 SERVER_UNAVAILABLE."""
        return _errors(Invalid("SERVER_UNAVAILABLE", "The server is temporarily unavailable", status=503))

    def missing(self, request: Request) -> Response:
        """Return 404 NOT_FOUND."""
        return _errors(not_found())

    # --- queries -----------------------------------------------------------------------------------------------------

    @route("GET", f"{DATA}/query")
    def query(self, request: Request) -> Response:
        """Run SOQL over the records that are not deleted."""
        return self._run(request, deleted=False)

    @route("GET", f"{DATA}/queryAll")
    def query_all(self, request: Request) -> Response:
        """Run SOQL over all records, the recycle bin included."""
        return self._run(request, deleted=True)

    @route("GET", f"{DATA}/query/{{locator}}")
    def query_more(self, request: Request, locator: str) -> Response:
        """Return the next batch of an open result."""
        cursor, _, start = locator.partition("-")
        rows = self._cursors.get(cursor)
        if rows is None or not start.isdigit() or int(start) >= len(rows):
            raise Invalid("INVALID_QUERY_LOCATOR", "invalid query locator")
        return _json(self._batch(rows, int(start), _batch_size(request), cursor))

    @route("GET", f"{DATA}/limits")
    def limits(self, request: Request) -> Response:
        """Return what is left of the day's calls."""
        left = self.calls_allowed - self.calls_used
        return Response(200, {"DailyApiRequests": {"Max": self.calls_allowed, "Remaining": left}})

    def _run(self, request: Request, *, deleted: bool) -> Response:
        if "q" not in request.query:
            raise Invalid("MALFORMED_QUERY", "the parameter q is missing")
        query = soql.parse(request.param("q"))

        def rows(object: str) -> Iterable[Row]:
            return (row for row in self.store.table(object).values() if deleted or not row["IsDeleted"])

        found = soql.run(query, rows)
        by_parent = {
            relationship: _grouped(rows(child.table.name), through) for relationship, through, child in query.children
        }
        whole = [self._shown(query, row, rows, by_parent) for row in found]
        size = min(_batch_size(request), SMALLEST_BATCH) if query.children else _batch_size(request)
        return _json(self._batch(whole, 0, size, ""))

    def _shown(
        self, query: soql.Query, row: Row, rows: soql.Rows, by_parent: Mapping[str, Mapping[str, list[Row]]]
    ) -> Row:
        """Return a record as the answer has it; child rows as a result of their own, null when there are none."""
        out = _record(query.table, row, query.columns)
        for relationship, _, child in query.children:
            found = soql.run(child, rows, by_parent[relationship].get(row["Id"], ()))
            shown = [_record(child.table, one, child.columns) for one in found]
            out[relationship] = self._batch(shown, 0, self.child_batch, "") if shown else None
        return out

    def _batch(self, rows: list[Row], start: int, size: int, cursor: str) -> Row:
        """Return one batch, opening a cursor when more is left."""
        end = start + size
        out: Row = {"totalSize": len(rows), "done": end >= len(rows)}
        if not out["done"]:
            if not cursor:
                cursor = f"01g{secrets.token_hex(6)}AAA"
                self._cursors[cursor] = rows
                while len(self._cursors) > MOST_CURSORS:
                    self._cursors.pop(next(iter(self._cursors)))
            out["nextRecordsUrl"] = f"{DATA}/query/{cursor}-{end}"
        return out | {"records": rows[start:end]}

    # --- records -----------------------------------------------------------------------------------------------------

    @route("GET", f"{DATA}/sobjects/{{object}}/{{id}}")
    def read(self, request: Request, object: str, id: str) -> Response:
        """Return one record with all its fields, or those in `fields`."""
        table = self._object(object, status=404)
        row = self._present(table, _id_in_path(id))
        wanted = [name for name in request.param("fields").split(",") if name] or list(table.columns)
        for name in wanted:
            if name not in table.columns:
                raise Invalid("INVALID_FIELD", f"No such column '{name}' on sobject of type {object}")
        return _json(_record(table, row, wanted))

    @route("POST", f"{DATA}/sobjects/{{object}}")
    def insert(self, request: Request, object: str) -> Response:
        """Create a record."""
        table = self._object(object, status=404)
        made = self._insert_by_api(table, _body(request))
        return Response(201, {"id": made["Id"], "success": True, "errors": []})

    @route("PATCH", f"{DATA}/sobjects/{{object}}/{{id}}")
    def update(self, request: Request, object: str, id: str) -> Response:
        """Change a record; 204 without a body."""
        table = self._object(object, status=404)
        body = _body(request)
        if "Id" in body:
            raise Invalid("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        self._update_by_api(table, _id_in_path(id), body)
        return Response(204)

    @route("DELETE", f"{DATA}/sobjects/{{object}}/{{id}}")
    def delete(self, request: Request, object: str, id: str) -> Response:
        """Put a record into the recycle bin."""
        table = self._object(object, status=404)
        self._present(table, _id_in_path(id))
        self.remove(object, id)
        return Response(204)

    @route("PATCH", f"{DATA}/sobjects/{{object}}/{{column}}/{{value}}")
    def upsert(self, request: Request, object: str, column: str, value: str) -> Response:
        """Create or change the record an External ID names: 201, 200, or 300 when it names several."""
        table = self._object(object, status=404)
        body = _body(request)
        if column in body:
            raise Invalid("INVALID_FIELD", f"The {column} field should not be specified in the sobject data.")
        id, created = self._upsert(table, column, unquote(value), body)
        return Response(201 if created else 200, {"id": id, "success": True, "errors": [], "created": created})

    @route("PATCH", f"{DATA}/composite/sobjects")
    def update_many(self, request: Request) -> Response:
        """Change up to 200 records; 200 even when some, or all, fail."""

        def one(record: Row) -> Row:
            table = self._object(str(record.pop("attributes", {}).get("type")))
            id = record.pop("Id", None) or record.pop("id", None)
            if not id:
                raise Invalid("MISSING_ARGUMENT", "Id not specified in an update call")
            self._update_by_api(table, long_id(str(id)), record)
            return {"id": long_id(str(id)), "success": True, "errors": []}

        return self._collection(request, one)

    @route("PATCH", f"{DATA}/composite/sobjects/{{object}}/{{column}}")
    def upsert_many(self, request: Request, object: str, column: str) -> Response:
        """Create or change up to 200 records by an External ID."""
        table = self._object(object, status=404)

        def one(record: Row) -> Row:
            record.pop("attributes", None)
            value = record.pop(column, None)
            if value is None:
                raise Invalid("MISSING_ARGUMENT", f"{column} not specified")
            id, created = self._upsert(table, column, str(value), record)
            return {"id": id, "success": True, "errors": [], "created": created}

        return self._collection(request, one)

    def _collection(self, request: Request, one: Callable[[Row], Row]) -> Response:
        """Do one thing to each record; with allOrNone nothing stays when one fails."""
        body = _body(request)
        records = body.get("records")
        if not isinstance(records, list):
            raise Invalid("JSON_PARSER_ERROR", "records must be a list")
        if len(records) > MOST_IN_COLLECTION:
            raise Invalid("EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records in this call")
        before = {name: dict(rows) for name, rows in self.store.tables.items()} if body.get("allOrNone") else None
        out: list[Row] = []
        for record in records:
            try:
                out.append(one(dict(record)))
            except Invalid as no:
                out.append({"success": False, "errors": [no.part()]})
        if before is not None and not all(item["success"] for item in out):
            self._put_back(before)
            rolled_back = Invalid(
                "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                "Record rolled back because not all records were valid and the request was using AllOrNone header",
            )
            out = [{"success": False, "errors": [rolled_back.part()]} if item["success"] else item for item in out]
        return Response(200, out)

    def _put_back(self, before: Mapping[str, Mapping[str, Row]]) -> None:
        """Restore every table to what it was."""
        for name, rows in list(self.store.tables.items()):
            was = before.get(name, {})
            for id in [id for id in rows if id not in was]:
                self.store.delete(name, id)
                self.store.deleted.get(name, {}).pop(id, None)
            for id, row in was.items():
                if rows.get(id) != row:
                    self.store.put(name, id, row)


def _record(table: Table, row: Row, columns: Iterable[str]) -> Row:
    """Return a record as answers show it: its address first, numbers as numbers."""
    out: Row = {"attributes": {"type": table.name, "url": f"{DATA}/sobjects/{table.name}/{row['Id']}"}}
    for name in columns:
        value = row[name]
        out[name] = Decimal(value) if value is not None and table.columns[name].type in NUMBERS else value
    return out


def _grouped(rows: Iterable[Row], through: str) -> dict[str, list[Row]]:
    out: dict[str, list[Row]] = {}
    for row in rows:
        out.setdefault(row[through], []).append(row)
    return out


def _batch_size(request: Request) -> int:
    """Read `Sforce-Query-Options: batchSize=500`; what is out of range is brought into it."""
    _, _, size = request.headers.get("sforce-query-options", "").replace(" ", "").partition("batchSize=")
    wanted = int(size.split(",")[0]) if size.split(",")[0].isdigit() else LARGEST_BATCH
    return min(max(wanted, SMALLEST_BATCH), LARGEST_BATCH)


def _body(request: Request) -> Row:
    if "json" not in request.headers.get("content-type", ""):
        raise Invalid("UNSUPPORTED_MEDIA_TYPE", "The content type is not supported.", status=415)
    try:
        body = request.json()
    except json.JSONDecodeError as wrong:
        raise Invalid("JSON_PARSER_ERROR", f"Unexpected character at line {wrong.lineno}") from wrong
    if not isinstance(body, dict):
        raise Invalid("JSON_PARSER_ERROR", "an object was expected")
    return body


def _id_in_path(id: str) -> str:
    try:
        return long_id(id)
    except Invalid as wrong:
        raise not_found() from wrong


def _json(body: Any) -> Response:
    return Response(200, _WITH_NUMBERS.encode(body))


def _errors(no: Invalid) -> Response:
    return Response(no.status, [no.item()])


def _oauth_error(code: str, description: str) -> Response:
    return Response(400, {"error": code, "error_description": description}, {"Cache-Control": "no-store"})

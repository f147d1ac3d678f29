"""The simulated account's web services: SuiteTalk REST records, SuiteQL and asynchronous jobs.

Written from Oracle's public help pages (see connector.yaml, `sources`); what those do not show is named in README.md.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final

import msgspec

from trueup.connectors.netsuite import suiteql, views
from trueup.connectors.netsuite.account import Account
from trueup.connectors.netsuite.answers import SINGLE_TYPE, collection, error, refuse, window
from trueup.connectors.netsuite.filtering import matching
from trueup.connectors.netsuite.records import Field, Reader
from trueup.connectors.netsuite.sign_in import TOKEN_PATH
from trueup.connectors.sdk.simulate import Request, Response, Row, route

RECORD: Final = "/services/rest/record/v1"
QUERY: Final = "/services/rest/query/v1/suiteql"
JOBS: Final = "/services/rest/async/v1/job"


class NetSuiteAccount(Account):
    """One account behind SuiteTalk REST.

    job_seconds  how long a job waits before its work is done; whoever asks first hears `pending` in any case
    jobs_stuck   no job's work is ever done
    """

    vendor: ClassVar[str] = "netsuite"
    job_seconds: float = 0.0
    jobs_stuck: bool = False

    # --- sign-in, limits, errors ---------------------------------------------------------------------------------

    def authorize(self, request: Request) -> None:
        """Check the access token."""
        self.sign_in.check(request)

    def throttled(self) -> Response:
        """Return the answer to one request too many at the same time in the account; there is no Retry-After."""
        return error(429, "CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded. Request blocked.")

    def crowded(self) -> Response:
        """Return the answer to one request too many; an account may call a good token an invalid login instead."""
        text = "Invalid login attempt. For more details, see the Login Audit Trail in the NetSuite UI."
        return error(401, "INVALID_LOGIN", text) if self.disguises else self.throttled()

    def unavailable(self) -> Response:
        """Return the answer of an account that is down."""
        return error(503, "SERVICE_UNAVAILABLE", "The service is temporarily unavailable.")

    def missing(self, request: Request) -> Response:
        """Return the answer to a path that does not exist."""
        return error(404, "NONEXISTENT_ID", f"The resource {request.path} does not exist.")

    def handle(self, request: Request) -> Response:
        """Answer one request; a query is no write, although it is a POST, and a job is none before it is done."""
        with self.lock:
            self.work_off()
            response = super().handle(request)
            if self.journal and response.status < 300 and (request.path == QUERY or response.status == 202):
                self.journal.pop()
            return response

    @route("POST", TOKEN_PATH, public=True)
    def token(self, request: Request) -> Response:
        """Give out an access token."""
        return self.sign_in.token(request)

    # --- records -------------------------------------------------------------------------------------------------

    @route("GET", RECORD + "/{kind}")
    def list_records(self, request: Request, kind: str) -> Response:
        """List the ids of a record type."""
        spec = self._type(kind)
        limit, offset = window(request.param("limit", "1000"), request.param("offset", "0"))
        fits = matching(request.param("q"), spec.fields)
        place = self._place(request, f"{RECORD}/{kind}")
        ids = [id for id, row in sorted(self.store.table(kind).items(), key=lambda pair: int(pair[0])) if fits(row)]
        items = [{"links": [{"rel": "self", "href": f"{place}/{id}"}], "id": id} for id in ids[offset : offset + limit]]
        return collection(place, items, len(ids), limit, offset)

    @route("POST", RECORD + "/{kind}")
    def create_record(self, request: Request, kind: str) -> Response:
        """Create a record."""
        return self._write(request, kind, lambda: self._save_body(request, kind, None))

    @route("GET", RECORD + "/{kind}/{key}")
    def get_record(self, request: Request, kind: str, key: str) -> Response:
        """Return one record, with its sublists when asked for."""
        row = self._row(kind, key)
        whole = request.param("expandSubResources").lower() == "true"
        shown = views.shown(self.store, self._type(kind), row, self._place(request, RECORD), whole=whole)
        return Response(200, msgspec.json.encode(shown), {"Content-Type": SINGLE_TYPE})

    @route("GET", RECORD + "/{kind}/{key}/{sublist}")
    def get_sublist(self, request: Request, kind: str, key: str, sublist: str) -> Response:
        """Return the lines of a sublist."""
        spec, row = self._type(kind), self._row(kind, key)
        if spec.fields.get(sublist, Field()).kind != "lines":
            return self.missing(request)
        place = f"{self._place(request, RECORD)}/{kind}/{row['id']}/{sublist}"
        records = self._place(request, RECORD)
        shown = views.sublist(self.store, spec.fields[sublist], row.get(sublist, []), place, records)
        return Response(200, msgspec.json.encode(shown))

    @route("PATCH", RECORD + "/{kind}/{key}")
    def change_record(self, request: Request, kind: str, key: str) -> Response:
        """Change a record: fields left out stay, null deletes, lines are added unless the sublist is replaced."""
        id = self._row(kind, key)["id"]
        return self._write(request, kind, lambda: self._save_body(request, kind, id))

    @route("PUT", RECORD + "/{kind}/{key}")
    def put_record(self, request: Request, kind: str, key: str) -> Response:
        """Create or change the record with an external id."""
        self._type(kind)
        if not key.startswith("eid:"):
            raise refuse("INVALID_REQUEST", "Upsert needs an external id in the URL: eid:{externalId}.")
        external = self._external(key[4:], "")

        def save() -> Row:
            known = self._by_external(kind, external)
            return self._save_body(request, kind, known["id"] if known else None, external)

        return self._write(request, kind, save)

    @route("DELETE", RECORD + "/{kind}/{key}")
    def delete_record(self, request: Request, kind: str, key: str) -> Response:
        """Delete a record nothing depends on."""
        row = self._row(kind, key)

        def drop() -> None:
            if kind == "invoice" and row["approvalStatus"] == "2":
                raise refuse("USER_ERROR", "An approved invoice cannot be deleted. Void it.")
            self._drop(kind, row["id"])

        return self._write(request, kind, drop)

    # --- SuiteQL -------------------------------------------------------------------------------------------------

    @route("POST", QUERY)
    def query(self, request: Request) -> Response:
        """Run a SuiteQL statement."""
        if "transient" not in request.headers.get("prefer", "").lower():
            raise refuse(
                "INVALID_HEADER", "The required request header 'Prefer: transient' is missing.", header="Prefer"
            )
        limit, offset = window(request.param("limit", "1000"), request.param("offset", "0"))
        body = self._json(request)
        if not isinstance(body, dict) or not isinstance(body.get("q"), str):
            raise refuse("INVALID_CONTENT", 'The body has to be {"q": "SELECT ..."}.', path="q")
        statement = suiteql.parse(body["q"], views.columns)
        shift = timedelta(hours=self.utc_offset_hours)
        rows = statement.run(
            views.lines(self.store, statement.table, shift), views.columns(statement.table) or frozenset()
        )
        items = [{"links": [], **row} for row in rows[offset : offset + limit]]
        return collection(self._place(request, QUERY), items, len(rows), limit, offset)

    # --- asynchronous requests -----------------------------------------------------------------------------------

    @route("GET", JOBS + "/{job}")
    def get_job(self, request: Request, job: str) -> Response:
        """Return where a job stands; it reads as pending the first time anybody asks."""
        row = self._job(job)
        done = row["asked"] > 0 and row["status"] > 0
        self.store.put("_jobs", job, row | {"asked": row["asked"] + 1})
        place = self._place(request, f"{JOBS}/{job}")
        body = {
            "completed": done,
            "id": job,
            "progress": "succeeded" if done else "pending",
            "task": {"links": [{"rel": "self", "href": f"{place}/task"}]},
        }
        return Response(200, body)

    @route("GET", JOBS + "/{job}/task/{task}")
    def get_task(self, request: Request, job: str, task: str) -> Response:
        """Return the one task of a job."""
        row = self._job(job)
        done = row["status"] > 0
        place = self._place(request, f"{JOBS}/{job}/task/{task}")
        body = {
            "completed": done,
            "id": task,
            "method": row["method"],
            "progress": "succeeded" if done else "pending",
            "resourceEndpoint": row["path"],
            "startTime": row["at"],
            "links": [{"rel": "result", "href": f"{place}/result"}],
        }
        return Response(200, body | ({"endTime": row["done_at"]} if done else {}))

    @route("GET", JOBS + "/{job}/task/{task}/result")
    def get_result(self, request: Request, job: str, task: str) -> Response:
        """Return what the call would have answered had it been synchronous."""
        row = self._job(job)
        if not row["status"]:
            raise refuse("NONEXISTENT_ID", f"The job {job} has no result yet.", status=404)
        return Response(row["status"], row["body"], row["headers"])

    def work_off(self) -> None:
        """Do the work of every job whose time has come, in the order they were accepted."""
        for job, row in list(self.store.table("_jobs").items()):
            if row["status"] or self.jobs_stuck or self.clock() < row["due"]:
                continue
            request = Request(row["method"], row["path"], row["query"], row["asks"], row["content"].encode("latin-1"))
            answer = super().handle(request)
            done = {"status": answer.status, "body": answer.body, "headers": dict(answer.headers)}
            self.store.put("_jobs", job, row | done | {"done_at": self._now()})

    def _job(self, job: str) -> Row:
        row = self.store.table("_jobs").get(job)
        if row is None:
            raise refuse("NONEXISTENT_ID", f"The job {job} does not exist.", status=404)
        return row

    def _write(self, request: Request, kind: str, do: Callable[[], Row | None]) -> Response:
        """Do a write now, or accept it as a job when the caller prefers that."""
        if "respond-async" in request.headers.get("prefer", "").lower():
            return self._accept(request)
        if self._type(kind).family == "list":
            text = "Permission Violation: You need a higher level of permission to access this record."
            raise refuse("INSUFFICIENT_PERMISSION", text, status=403)
        row = do()
        place = self._place(request, RECORD)
        return Response(204, None, {"Location": f"{place}/{kind}/{row['id']}"} if row else {})

    def _accept(self, request: Request) -> Response:
        """Accept a write as a job; the second one with a key is refused, with the place of the first."""
        key = request.headers.get("x-netsuite-idempotency-key", "")
        jobs = self._place(request, JOBS)
        known = next((id for id, row in self.store.table("_jobs").items() if key and row["key"] == key), None)
        if known is not None:
            text = "A request with this idempotency key has already been accepted."
            again = error(400, "IDEMPOTENCY_ERROR", text, title="Conflict", header="X-NetSuite-idempotency-key")
            return Response(400, again.body, {**again.headers, "Location": f"{jobs}/{known}"})
        asks = {name: value for name, value in request.headers.items() if name != "prefer"}
        row: Row = {"key": key, "method": request.method, "path": request.path, "asked": 0, "at": self._now()}
        row |= {"query": dict(request.query), "asks": asks, "content": request.body.decode("latin-1")}
        row |= {"due": self.clock() + self.job_seconds, "status": 0, "body": None, "headers": {}}
        job = str(self.store.next_number("job"))
        self.store.put("_jobs", job, row)
        return Response(202, None, {"Preference-Applied": "respond-async", "Location": f"{jobs}/{job}"})

    # --- reading requests ---------------------------------------------------------------------------------------

    def _row(self, kind: str, key: str) -> Row:
        self._type(kind)
        external = key.startswith("eid:")
        row = self._by_external(kind, key[4:]) if external else self.store.table(kind).get(key)
        if row is None:
            code = "NONEXISTENT_EXTERNAL_ID" if external else "NONEXISTENT_ID"
            raise refuse(code, f"The record instance does not exist. Provide a valid ID: {key}.", status=404)
        return row

    def _json(self, request: Request) -> Any:
        try:
            return json.loads(request.body, parse_float=Decimal)
        except ValueError as wrong:
            raise refuse("INVALID_CONTENT", "The request body is not valid JSON.") from wrong

    def _save_body(self, request: Request, kind: str, id: str | None, external: str = "") -> Row:
        """Save the request's body.

        external  the external id of the URL
        """
        lax = request.headers.get("x-netsuite-propertynamevalidation", "Error").lower() != "error"
        fields = {**self._type(kind).fields, "externalId": Field()}
        values = Reader(self._exists, lax=lax).body(fields, self._json(request))
        if external and values.setdefault("externalId", external) != external:
            raise refuse("INVALID_CONTENT", "externalId differs from the external ID in the URL.", path="externalId")
        return self._save(kind, id, values, people=False, replace=frozenset(request.param("replace").split(",")))

    def _place(self, request: Request, path: str) -> str:
        return f"https://{request.headers.get('host', 'account.suitetalk.api.netsuite.com')}{path}"

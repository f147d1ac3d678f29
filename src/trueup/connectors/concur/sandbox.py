"""SAP Concur as its documentation describes it: reports are approved, documents queue up until they are acknowledged.

Sources    developer.concur.com: Financial Integration Service v4 (Getting Started, Financial Documents Schemas),
           Authentication; the published Swagger file. Where they are silent, the answer is marked in README.md.
"""

import secrets
import time
import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from trueup.connectors.concur.documents import NAMESPACE, exact_json, financial_document, moment, shown
from trueup.connectors.sdk.simulate import Reject, Request, Response, Row, Simulator, route

DOC_TYPES = frozenset({"expense", "invoice", "cashadvance", "payroll", "obligation", "requestobligation"}) | {
    "reportobligation"
}
TOKEN_SECONDS = 3600
DEFAULT_LIMIT = 25
LARGEST_LIMIT = 100
CONFIRMED = ("POSTING_CONFIRMED_SUCCESS", "POSTING_CONFIRMED_FAILURE")
BASE = "/financialintegration/fi/v4/companies/transactiontypes/{doc_type}/transactions"
ENTRY_FIELDS = {
    "entry_id", "line", "date", "type", "amount", "amount_spent", "currency_spent", "billable", "receipt", "vendor",
    "project", "personal", "allocations",
}  # fmt: skip


class ConcurSimulator(Simulator):
    """Expense users submit, managers approve, an integration reads, acknowledges and confirms."""

    vendor: ClassVar[str] = "concur"

    # --- sign-in -------------------------------------------------------------------------------------------------

    @route("POST", "/oauth2/v0/token", public=True)
    def token(self, request: Request) -> Response:
        """Give an access token for a refresh token; one hour, and the company's own address with it."""
        form = request.form()
        for name, code in (("client_id", 62), ("client_secret", 63), ("grant_type", 65)):
            if not form.get(name):
                return self._no_token(400, code, "invalid_request", f"{name} was not supplied")
        if form["client_id"] != self.credentials["client_id"]:
            return self._no_token(401, 61, "invalid_client", "client not found")
        if form["client_secret"] != self.credentials["client_secret"]:
            return self._no_token(401, 64, "invalid_client", "Incorrect credentials. Please Retry")
        if form["grant_type"] != "refresh_token":
            return self._no_token(400, 60, "invalid_grant", "these are not the grants you are looking for")
        if not form.get("refresh_token"):
            return self._no_token(400, 106, "invalid_request", "refresh_token was not supplied")
        later = self.store.table("_refresh_tokens")
        if form["refresh_token"] != self.credentials["refresh_token"] and form["refresh_token"] not in later:
            return self._no_token(400, 108, "invalid_grant", "bad or expired refresh token")
        access = secrets.token_urlsafe(24)
        self.store.put("_tokens", access, {"until": time.time() + TOKEN_SECONDS, "scope": "FISVC"})
        return Response(
            200,
            {
                "expires_in": str(TOKEN_SECONDS),
                "scope": "FISVC",
                "token_type": "Bearer",
                "access_token": access,
                "refresh_token": next(reversed(later), self.credentials["refresh_token"]),
                "geolocation": self.credentials.get("base_url", ""),
            },
        )

    def authorize(self, request: Request) -> None:
        """Take a token that lives and carries the scope."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = self.store.table("_tokens").get(given)
        if scheme != "Bearer" or known is None or known["until"] < time.time():
            raise Reject(Response(401, {"message": "The access token is missing, unknown or expired."}))
        if "FISVC" not in known["scope"].split():
            raise Reject(Response(403, {"message": "The token lacks the scope FISVC."}))

    def throttled(self) -> Response:
        """Refuse for the number of calls; the vendor publishes no header for it."""
        return Response(429, {"message": "Too many requests"})

    def unavailable(self) -> Response:
        """Be down."""
        return Response(503, {"message": "Service unavailable"})

    def missing(self, request: Request) -> Response:
        """Refuse an unknown path."""
        return Response(404, {"message": f"No endpoint {request.method} {request.path}."})

    # --- Financial Integration -----------------------------------------------------------------------------------

    @route("GET", BASE)
    def transactions(self, request: Request, doc_type: str) -> Response:
        """List the documents that are ready, or show one."""
        self._check_type(doc_type)
        shape = request.headers.get("documentformatas", "json").lower()
        if shape not in ("json", "text"):
            raise _bad("DocumentFormatAs is text or json.")
        wanted = request.param("docId")
        if wanted:
            ignores = request.param("ignoreDocumentStatus", "no")
            if ignores not in ("yes", "no"):
                raise _bad("ignoreDocumentStatus is yes or no.")
            rows = [
                row
                for row in self.store.table("documents").values()
                if row["docType"] == doc_type
                and wanted in (row["id"], row["document"]["report"]["reportId"])
                and (ignores == "yes" or row["docStatus"] == "READY")
            ]
            newest = rows[-1:]
            return Response(200, self._page(request, newest, len(newest), 0, max(len(newest), 1), shape))
        page, limit = _whole(request, "page", 0, 0), _whole(request, "limit", DEFAULT_LIMIT, 1)
        limit = min(limit, LARGEST_LIMIT)
        system = request.param("systemId")
        ready = [
            row
            for row in self.store.table("documents").values()
            if row["docType"] == doc_type and row["docStatus"] == "READY" and system in ("", row["erpSystemId"] or "")
        ]
        shown = ready[page * limit : (page + 1) * limit]
        return Response(200, self._page(request, shown, len(ready), page, limit, shape))

    @route("POST", BASE + "/acknowledgements")
    def acknowledgements(self, request: Request, doc_type: str) -> Response:
        """Take documents out of the queue."""
        self._check_type(doc_type)
        body = _object(request, {"ids", "systemId"})
        ids, system = body.get("ids"), body.get("systemId")
        if not isinstance(ids, list) or not ids or not all(isinstance(id, str) for id in ids):
            raise _bad("ids is a list of document identifiers.")
        _check_text(system, "systemId", 50)
        results = [self._acknowledge(doc_type, id, system) for id in ids]
        return _results(results)

    @route("POST", BASE + "/postingconfirmations")
    def confirmations(self, request: Request, doc_type: str) -> Response:
        """Take the outcome of posting."""
        self._check_type(doc_type)
        body = _object(request, {"systemId", "postingConfirmations"})
        if not isinstance(body.get("systemId"), str):
            raise _bad("systemId is required; it may be empty.")
        _check_text(body["systemId"], "systemId", 50)
        items = body.get("postingConfirmations")
        if not isinstance(items, list) or not items:
            raise _bad("postingConfirmations is a list.")
        for item in items:
            _check_confirmation(item)
        return _results([self._confirm(doc_type, item, body["systemId"]) for item in items])

    # --- what people do ------------------------------------------------------------------------------------------

    def create(self, table: str, row: Row) -> Row:
        """Write a row as the product's own screens would: `reports` by submitting, anything else as it is."""
        if table == "reports":
            return self.submit_report(**row)
        held = self.store.table(table).get(row["id"])
        return held if held == row else self.store.put(table, row["id"], row)

    def edit(self, table: str, id: str, changes: Row) -> Row:
        """Change some fields of a row."""
        held = self.store.table(table).get(id)
        if held is None:
            raise ValueError(f"concur: no {id} in {table}")
        if table == "reports" and held["status"] == "approved":
            raise ValueError(f"concur: report {id} is approved; recall it first")
        return self.store.put(table, id, {**held, **changes})

    def remove(self, table: str, id: str) -> None:
        """Delete a row; an approved report cannot be deleted."""
        if table == "reports" and self.store.table(table).get(id, {}).get("status") == "approved":
            raise ValueError(f"concur: report {id} is approved; recall it first")
        self.store.delete(table, id)

    def bulk(self, reports: Iterable[Row]) -> int:
        """Submit many reports; return how many."""
        return len([self.submit_report(**report) for report in reports])

    def submit_report(
        self,
        report_id: str,
        employee: Row,
        currency: str,
        entries: list[Row],
        name: str = "",
        country: str = "US",
        ledger: str = "DEFAULT",
    ) -> Row:
        """Submit an expense report; the same report again changes nothing, another content is a new revision.

        employee  {email, employee_id, first_name, last_name}
        currency  the employee's; `amount` of an entry is in it
        entries   {line, date, type, amount, project, billable, receipt, vendor, amount_spent, currency_spent,
                  entry_id, personal, allocations}; all but line, date, type and amount may be absent;
                  amounts are decimal texts; allocations: [{project, percentage}] instead of project
        """
        if not report_id or len(report_id) > 32 or not report_id.isalnum():
            raise ValueError("concur: a report id has up to 32 letters and digits")
        for entry in entries:
            unknown = sorted(set(entry) - ENTRY_FIELDS)
            if unknown:
                raise ValueError(f"concur: an entry has no {', '.join(unknown)}")
        content = {
            "employee": employee, "currency": currency, "entries": entries, "name": name, "country": country,
            "ledger": ledger,
        }  # fmt: skip
        held = self.store.table("reports").get(report_id)
        if held is not None and held["content"] == content and held["status"] in ("submitted", "approved"):
            return held
        if held is not None and held["status"] == "approved":
            raise ValueError(f"concur: report {report_id} is approved; recall it first")
        revision = held["revision"] + 1 if held is not None else 1
        row = {
            "id": report_id,
            "status": "submitted",
            "revision": revision,
            "key": held["key"] if held is not None else self.store.next_number("report"),
            "submitted_at": moment(self.store.stamp()),
            "content": content,
        }
        return self.store.put("reports", report_id, row)

    def approve_report(self, report_id: str) -> Row:
        """Give the last approval: the document becomes ready for integration."""
        report = self._report(report_id)
        if report["status"] == "approved":
            return self.store.table("documents")[report["document_id"]]
        if report["status"] != "submitted":
            raise ValueError(f"concur: report {report_id} is {report['status']}, not submitted")
        document_id = uuid.uuid5(NAMESPACE, f"{report_id}/{report['revision']}").hex
        document = {
            "id": document_id,
            "docType": "expense",
            "companyId": "192500",
            "entityId": "p0085104nord",
            "companyUuid": str(uuid.uuid5(NAMESPACE, "company")),
            "erpSystemId": None,
            "document": financial_document(report, moment(self.store.stamp())),
            "docStatus": "READY",
        }
        self.store.put("documents", document_id, document)
        self.store.put("reports", report_id, {**report, "status": "approved", "document_id": document_id})
        return document

    def submit_and_approve(self, **report: Any) -> Row:
        """Submit a report and give it its last approval."""
        self.submit_report(**report)
        return self.approve_report(str(report["report_id"]))

    def recall_report(self, report_id: str) -> Row:
        """Take a report back before the integration has confirmed it."""
        report = self._report(report_id)
        if report["status"] == "approved":
            document = self.store.table("documents")[report["document_id"]]
            if document["docStatus"] == "POSTING_CONFIRMED_SUCCESS":
                raise ValueError(f"concur: report {report_id} is posted and locked")
            self.store.put("documents", document["id"], {**document, "docStatus": "RECALLED"})
        return self.store.put("reports", report_id, {**report, "status": "recalled"})

    def acknowledge_report(self, report_id: str, system_id: str = "TRUEUP") -> Row:
        """Acknowledge a report's document, as an integration does."""
        return self._acknowledge("expense", self._report(report_id)["document_id"], system_id)

    def rotate_refresh_token(self) -> None:
        """Hand out another refresh token from now on; the vendor does so from time to time."""
        token = secrets.token_urlsafe(32)
        self.store.put("_refresh_tokens", token, {})

    def expire_tokens(self) -> None:
        """End every access token, as an hour does."""
        for token in list(self.store.table("_tokens")):
            self.store.delete("_tokens", token)

    # --- inside --------------------------------------------------------------------------------------------------

    def _no_token(self, status: int, code: int, error: str, description: str) -> Response:
        body = {"code": code, "error": error, "error_description": description}
        return Response(status, {**body, "geolocation": self.credentials.get("base_url", "")})

    def _check_type(self, doc_type: str) -> None:
        if doc_type not in DOC_TYPES:
            raise _bad(f"docType {doc_type} is none of {', '.join(sorted(DOC_TYPES))}.")

    def _report(self, report_id: str) -> Row:
        report = self.store.table("reports").get(report_id)
        if report is None:
            raise ValueError(f"concur: no report {report_id}")
        return report

    def _page(self, request: Request, rows: list[Row], total: int, page: int, limit: int, shape: str) -> bytes:
        pages = -(-total // limit)
        here = f"{self.credentials.get('base_url', '')}{request.path}?limit={limit}"
        places = {"first": 0, "self": page, "next": page + 1, "last": max(pages - 1, 0)}
        links = [
            {"rel": rel, "href": f"{here}&page={number}&size={limit}", "hreflang": None, "media": None, "title": None}
            for rel, number in places.items()
            if rel != "next" or number < pages
        ]
        content = [shown(row, shape) for row in rows]
        numbers = {"size": limit, "totalElements": total, "totalPages": pages, "number": page}
        return exact_json({"links": links, "content": content, "page": numbers})

    def _acknowledge(self, doc_type: str, id: str, system: str | None) -> Row:
        document = self.store.table("documents").get(id)
        code, message = 0, ""
        if document is None:
            code, message = 104, "This document does not exist."
        elif document["docType"] != doc_type:
            code, message = 105, f"This document is not of type {doc_type}."
        elif document["docStatus"] == "RECALLED":
            code, message = 102, "This document has been recalled."
        elif document["docStatus"] != "READY":
            code, message = 101, f"This document was previously acknowledged by SystemId: {document['erpSystemId']}."
        else:
            self.store.put("documents", id, {**document, "docStatus": "ACKNOWLEDGED", "erpSystemId": system})
        return {
            "code": code,
            "docId": id,
            "systemId": document["erpSystemId"] if code and document else system,
            "acknowledgeResult": "FAILURE" if code else "SUCCESS",
            "errorMessage": message,
        }

    def _confirm(self, doc_type: str, item: Row, system: str) -> Row:
        document = self.store.table("documents").get(item["docId"])
        code, result, message = 0, "SUCCESS", ""
        if document is None:
            code, result, message = 116, "DOCUMENT_NOT_FOUND", "This document does not exist."
        elif document["docType"] != doc_type:
            code, result, message = 115, "FAILURE", f"This document is not of type {doc_type}."
        elif document["docStatus"] == "RECALLED":
            code, result, message = 112, "WAS_RECALLED", "This document has been recalled."
        elif document["docStatus"] == "READY":
            code, result, message = 111, "NOT_YET_ACKNOWLEDGED", "This document has not been acknowledged."
        elif document["docStatus"] in CONFIRMED:
            code, result, message = 113, "FAILURE", "Confirmation has been posted for this document."
        elif (document["erpSystemId"] or "") != system:
            code, result, message = 99, "FAILURE", "System ID in request does not match system ID in FI database."
        else:
            done = CONFIRMED[0] if item["overallPostingStatusCode"] == "success" else CONFIRMED[1]
            self.store.put("documents", document["id"], {**document, "docStatus": done})
            self.store.put("confirmations", document["id"], {"id": document["id"], **item})
            if done == CONFIRMED[1]:
                report = self._report(document["document"]["report"]["reportId"])
                self.store.put("reports", report["id"], {**report, "status": "sent_back"})
        return {
            "code": code,
            "docId": item["docId"],
            "systemId": system,
            "postingConfirmationResult": result,
            "errorMessage": message,
            "detailMessage": "",
        }


def _bad(message: str) -> Reject:
    return Reject(Response(400, {"message": message}))


def _whole(request: Request, name: str, default: int, least: int) -> int:
    text = request.param(name, str(default))
    if not text.isdigit() or int(text) < least:
        raise _bad(f"{name} is a whole number of at least {least}.")
    return int(text)


def _object(request: Request, known: set[str]) -> Row:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Reject(Response(415, {"message": "Content-Type is application/json."}))
    try:
        body = request.json()
    except ValueError:
        raise _bad("The body is no JSON.") from None
    if not isinstance(body, dict) or set(body) - known:
        raise _bad(f"The body has the fields {', '.join(sorted(known))} and no others.")
    return body


def _check_text(value: Any, name: str, longest: int) -> None:
    if value is not None and (not isinstance(value, str) or len(value) > longest):
        raise _bad(f"{name} is a text of at most {longest} characters.")


def _check_confirmation(item: Any) -> None:
    """Refuse a confirmation that lacks what the schema demands."""
    if not isinstance(item, dict):
        raise _bad("A posting confirmation is an object.")
    unknown = sorted(set(item) - {"docId", "overallPostingStatusCode", "postingDocs", "systemMessages"})
    if unknown:
        raise _bad(f"Unknown field {', '.join(unknown)}.")
    if not item.get("docId"):
        raise _bad("docId is required.")
    _check_text(item["docId"], "docId", 32)
    if item.get("overallPostingStatusCode") not in ("success", "error"):
        raise _bad("overallPostingStatusCode is success or error.")
    if not isinstance(item.get("systemMessages"), list):
        raise _bad("systemMessages is required; it may be empty.")
    for message in item["systemMessages"]:
        _check_text(message.get("messageShortText"), "messageShortText", 1300)
    documents = item.get("postingDocs", [])
    if not isinstance(documents, list):
        raise _bad("postingDocs is a list.")
    for document in documents:
        if not isinstance(document, dict) or not document.get("companyId"):
            raise _bad("companyId is required in postingDocs.")
        _check_text(document["companyId"], "companyId", 32)
        _check_text(document.get("documentNumber"), "documentNumber", 80)


def _results(results: list[Row]) -> Response:
    """Answer line by line; when no line had an effect, nothing is counted as written."""
    response = Response(200, results)
    if all(result["code"] for result in results):
        raise Reject(response)
    return response

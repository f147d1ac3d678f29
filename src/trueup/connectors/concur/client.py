"""Reads the queue of approved expense reports, acknowledges what is kept, and confirms what is posted."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from trueup.connectors.sdk.auth import OAuth, Post, need
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.wire import Answer, Connection, Page, Raw, Receipt, Record
from trueup.kernel.errors import Broken, Busy, Refused, Unsettled

TRANSACTIONS = "/financialintegration/fi/v4/companies/transactiontypes/expense/transactions"
PAGE_SIZE = 100
SUCCESS, ALREADY_ACKNOWLEDGED, NOT_YET_ACKNOWLEDGED, ALREADY_CONFIRMED, UNKNOWN_ERROR = 0, 101, 111, 113, 199
VENDOR_HOSTS = (".api.concursolutions.com", ".api.concurcdc.cn")
CONFIRMED = {"POSTING_CONFIRMED_SUCCESS": "success", "POSTING_CONFIRMED_FAILURE": "error"}
LIFE = ("DELAYED", "READY", "ACKNOWLEDGED", "POSTING_CONFIRMED_FAILURE", "POSTING_CONFIRMED_SUCCESS")


class Report(msgspec.Struct, rename="camel"):
    """What a stamp is made of."""

    report_payment_processing_date: str | None = None
    report_submit_date: str | None = None


class Content(msgspec.Struct):
    """The financial document proper."""

    report: Report = msgspec.field(default_factory=Report)


class Document(msgspec.Struct, rename="camel"):
    """One document of the queue, as far as the client needs to know it."""

    id: str
    doc_status: str = "READY"
    document: Content = msgspec.field(default_factory=Content)


class Numbers(msgspec.Struct, rename="camel"):
    """The paging part of an answer."""

    total_pages: int = 1
    number: int = 0


class Queue(msgspec.Struct):
    """One page of the queue; documents stay the bytes they are."""

    content: list[msgspec.Raw] = []
    page: Numbers = msgspec.field(default_factory=Numbers)


class Place(msgspec.Struct):
    """How far a reading of the queue has come.

    seen  documents of the page read last: still on it means nobody has acknowledged them
    """

    page: int = 0
    seen: list[str] = []


class ConcurOAuth(OAuth):
    """The refresh token grant, which hands out a new refresh token and the company's own address each time.

    Source    developer.concur.com, Authentication, "Refreshing a token" and "Base URIs"
    """

    def __init__(self, connection: Connection, base_url: str, token_url: str) -> None:
        super().__init__(token_url, self._form)
        self.base_url = base_url
        self._connection = connection
        self._refresh_token = ""

    def header(self, post: Post) -> Mapping[str, str]:
        """Return a Bearer header, and keep what came with a new token."""

        def post_and_note(url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
            answer = post(url, form, headers)
            if answer.status == 200:
                body = answer.json()
                self._refresh_token = body.get("refresh_token") or self._refresh_token
                self._move(body.get("geolocation") or "")
            return answer

        return super().header(post_and_note)

    def _move(self, geolocation: str) -> None:
        """Follow the company to its data centre, from one of the vendor's hosts to another and nowhere else."""
        host = urlsplit(geolocation).hostname or ""
        for_calls, for_tokens = urlsplit(self.base_url), urlsplit(self._url)
        if host.endswith(VENDOR_HOSTS) and (for_calls.hostname or "").endswith(VENDOR_HOSTS):
            self.base_url = f"https://{host}"
        if host.endswith(VENDOR_HOSTS) and (for_tokens.hostname or "").endswith(VENDOR_HOSTS):
            self._url = f"https://{host}{for_tokens.path}"

    def _form(self) -> Mapping[str, str]:
        return {
            "grant_type": "refresh_token",
            "client_id": need(self._connection, "client_id"),
            "client_secret": need(self._connection, "client_secret"),
            "refresh_token": self._refresh_token or need(self._connection, "refresh_token"),
        }


class Concur(VendorClient):
    """A document stays in the vendor's queue until it is acknowledged: reading may repeat, but never lose.

    Connection options: `system_id` is the name under which we acknowledge and confirm (default TRUEUP).
    """

    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        super().__init__(manifest, connection)
        token_url = connection.token_url or self.base_url + manifest.auth["token_path"]
        self.auth: ConcurOAuth = ConcurOAuth(connection, self.base_url, token_url)
        self.system_id = connection.options.get("system_id", "TRUEUP")
        self.page_size = int(connection.options.get("page_size", PAGE_SIZE))

    def call(self, method: str, path: str, **options: Any) -> Answer:
        """Make one call at the data centre the token belongs to."""
        self.auth.header(self._post_form)
        self.base_url = self.auth.base_url.rstrip("/")
        return super().call(method, path, **options)

    def changes(self, object: str, cursor: str | None) -> Page:
        """Return a page of documents that wait to be acknowledged.

        The queue shrinks as it is acknowledged, so the page number alone would skip documents: as long as unseen
        documents stand on the page read last, that page is not done.
        """
        self._only(object, "expense_document")
        place = msgspec.json.decode(cursor, type=Place) if cursor else Place()
        queue = self._queue(place.page)
        fresh = [record for record in self._records(queue) if record.external_id not in place.seen]
        if not fresh and place.seen and place.page + 1 < queue.page.total_pages:
            place = Place(place.page + 1)
            queue = self._queue(place.page)
            fresh = self._records(queue)
        more = bool(fresh) and place.page + 1 < queue.page.total_pages
        after = Place(place.page, [record.external_id for record in self._records(queue)]) if more else Place()
        return Page(tuple(fresh), msgspec.json.encode(after).decode(), more)

    def get(self, object: str, external_id: str) -> Record | None:
        """Return a document in whatever status it is now, by its id or its report's."""
        self._only(object, "expense_document")
        params = {"docId": external_id, "ignoreDocumentStatus": "yes"}
        answer = self.call("GET", TRANSACTIONS, params=params, headers={"documentFormatAs": "json"}, allow=(404,))
        if answer.status == 404:
            return None
        found = self._records(msgspec.json.decode(answer.raw, type=Queue))
        return max(found, key=lambda record: record.stamp) if found else None

    def find(self, object: str, key: str) -> Receipt | None:
        """Return the confirmed document; the key of a confirmation is the report's number or the document's id."""
        self._only(object, "posting_confirmation")
        record = self.get("expense_document", key)
        if record is None or _status(record) not in CONFIRMED:
            return None
        return Receipt(record.external_id, record.stamp)

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        """Confirm that a report is posted or could not be; saying the same again changes nothing.

        body  docId (the document's id or its report's number), overallPostingStatusCode, postingDocs, systemMessages
        """
        self._only(object, "posting_confirmation")
        named = str(body.get("docId") or external_id or key)  # a report's number leads to its newest document
        record = self.get("expense_document", named)
        if record is None:
            raise Refused(f"SAP Concur knows no document {named}", "116", 0, "docId")
        wanted = str(body.get("overallPostingStatusCode"))
        receipt = Receipt(record.external_id, record.stamp)
        if CONFIRMED.get(_status(record)) == wanted:
            return receipt
        item = {"postingDocs": [], "systemMessages": [], **body, "docId": record.external_id}
        result = self._confirm(item)
        if result["code"] == SUCCESS:
            return receipt
        if result["code"] == ALREADY_CONFIRMED and self._carries(record.external_id, wanted):
            return receipt  # somebody was faster, with the same words: an earlier try of ours
        raise _refused(result)

    def settle(self, object: str, records: Sequence[Record]) -> None:
        """Acknowledge kept documents: the vendor takes them out of the queue."""
        self._only(object, "expense_document")
        if not records:
            return
        body = {"ids": [record.external_id for record in records], "systemId": self.system_id}
        results = self.call("POST", f"{TRANSACTIONS}/acknowledgements", json=body).json()
        for result in results:
            if result["code"] not in (SUCCESS, ALREADY_ACKNOWLEDGED):
                raise _refused(result)

    def refusal(self, answer: Answer) -> tuple[str, str, str]:
        """Read the vendor's error body."""
        try:
            body = msgspec.json.decode(answer.raw)
        except msgspec.DecodeError:
            body = None
        if not isinstance(body, dict):
            return super().refusal(answer)
        code = body.get("fiReturnCode") or answer.status
        message = body.get("message") or body.get("errorMessage") or body.get("error_description") or ""
        return str(code), str(message), str(body.get("path") or "")

    def _queue(self, page: int) -> Queue:
        params = {"page": str(page), "limit": str(self.page_size)}
        answer = self.call("GET", TRANSACTIONS, params=params, headers={"documentFormatAs": "json"})
        return msgspec.json.decode(answer.raw, type=Queue)

    def _records(self, queue: Queue) -> list[Record]:
        records = []
        for item in queue.content:
            raw = bytes(item)
            document = msgspec.json.decode(raw, type=Document)
            report = document.document.report
            approved = report.report_payment_processing_date or report.report_submit_date or ""
            step = LIFE.index(document.doc_status) if document.doc_status in LIFE else len(LIFE)
            records.append(Record("expense_document", document.id, f"{approved}/{step}", raw))
        return records

    def _confirm(self, item: Raw) -> Raw:
        body = {"systemId": self.system_id, "postingConfirmations": [item]}
        results = self.call("POST", f"{TRANSACTIONS}/postingconfirmations", json=body).json()
        if not results:
            raise Unsettled("SAP Concur answered a confirmation with nothing")
        return dict(results[0])

    def _carries(self, document: str, wanted: str) -> bool:
        record = self.get("expense_document", document)
        return record is not None and CONFIRMED.get(_status(record)) == wanted

    @staticmethod
    def _only(object: str, known: str) -> None:
        if object != known:
            raise Broken(f"concur: no such thing as {object} here; this verb knows {known}")


def _status(record: Record) -> str:
    return msgspec.json.decode(record.raw, type=Document).doc_status


def _refused(result: Raw) -> Busy | Refused:
    """Name a line of an answer that says no inside a 200."""
    message = result.get("errorMessage") or result.get("detailMessage") or "no reason given"
    if result["code"] in (UNKNOWN_ERROR, NOT_YET_ACKNOWLEDGED):  # the next poll acknowledges what is still waiting
        return Busy(f"SAP Concur: {message}")
    return Refused(f"{message} (document {result.get('docId')})", str(result["code"]), 200, "docId")

"""A small client that does everything right, so that its spoilt copies do exactly one thing wrong."""

import json

from trueup.connectors.sdk.auth import OAuth, need
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.wire import Answer, Connection, Notice, Page, Raw, Receipt, Record


class Acme(VendorClient):
    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        super().__init__(manifest, connection)
        form = {"client_id": need(connection, "client_id"), "client_secret": need(connection, "client_secret")}
        self.auth = OAuth(connection.token_url, lambda: form)
        self.size = int(connection.options.get("page_size", "100"))

    def changes(self, object: str, cursor: str | None) -> Page:
        body = self.call("GET", "/things", params={"after": cursor or "", "limit": str(self.size)}).json()
        records = tuple(self._record(row) for row in body["things"])
        return Page(records, records[-1].stamp if records else cursor or "", body["more"])

    def get(self, object: str, external_id: str) -> Record | None:
        answer = self.call("GET", f"/things/{external_id}", allow=(404,))
        return self._record(answer.json()) if answer.status == 200 else None

    def find(self, object: str, key: str) -> Receipt | None:
        rows = self.call("GET", "/things", params={"key": key}).json()["things"]
        return Receipt(rows[0]["id"]) if rows else None

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        known = external_id
        if known is None and (found := self.find(object, key)):
            known = found.external_id
        if known is None:
            return Receipt(self.call("POST", "/things", json={**body, "key": key}).json()["id"])
        self.call("PUT", f"/things/{known}", json={**body, "key": key})
        return Receipt(known)

    @staticmethod
    def notices(body: Raw) -> list[Notice]:
        return [Notice("thing", str(body["id"]))] if "id" in body else []

    def refusal(self, answer: Answer) -> tuple[str, str, str]:
        body = answer.json()
        return str(body.get("code", answer.status)), str(body.get("message", "")), ""

    def _record(self, row: Raw) -> Record:
        return Record("thing", row["id"], row["stamp"], json.dumps(row).encode())

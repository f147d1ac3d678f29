"""Bodies as NetSuite takes them, and a caller that shares nothing with our client."""

import time
import uuid
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import import_key

from trueup.connectors.netsuite.client import NetSuite
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.client import Pace
from trueup.connectors.sdk.wire import Connection

FIRM: dict[str, Any] = {
    "name": "Nordlys Consulting",
    "entities": [
        {"code": "US01", "country": "US", "currency": "USD", "name": "Nordlys Inc"},
        {"code": "DE01", "country": "DE", "currency": "EUR", "name": "Nordlys GmbH"},
        {"code": "UK01", "country": "GB", "currency": "GBP", "name": "Nordlys Ltd"},
    ],
    "departments": ["Consulting", "Engineering", "Analytics"],
}


def customer(**more: Any) -> dict[str, Any]:
    return {"companyName": "Juniper Clinics", "subsidiary": {"id": "2"}, "currency": {"id": "2"}, **more}


def job(buyer: str, **more: Any) -> dict[str, Any]:
    body = {"entityId": "D14-DE01", "companyName": "Plant assessment", "parent": {"id": buyer}}
    return {**body, "subsidiary": {"id": "2"}, **more}


def line(key: str = "1-time-Analyst-0000120.00", **more: Any) -> dict[str, Any]:
    body = {"item": {"id": "1"}, "quantity": 8.5, "rate": 120, "amount": 1020, "custcol_trueup_line": key}
    return {**body, **more}


def invoice(buyer: str, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {
        "entity": {"id": buyer},
        "subsidiary": {"id": "2"},
        "currency": {"id": "2"},
        "tranDate": "2026-08-31",
        "dueDate": "2026-09-30",
        "taxTotal": 193.80,
        "custbody_trueup_code": "D14-DE01-2026-08",
        "item": {"items": list(lines) or [line()]},
    }
    return {**body, **more}


def journal(*lines: dict[str, Any]) -> dict[str, Any]:
    both = [{"account": {"id": "115"}, "debit": 10.5}, {"account": {"id": "400"}, "credit": 10.5}]
    return {"subsidiary": {"id": "1"}, "tranDate": "2026-08-31", "line": {"items": list(lines) or both}}


def proof(connection: Connection, *, algorithm: str = "PS256", key: Any = None, kid: str = "", **claims: Any) -> str:
    """Sign a request token the way the documentation describes it; `claims` replace its parts."""
    now = int(time.time())
    payload = {
        "iss": connection.credentials["client_id"],
        "scope": ["rest_webservices"],
        "aud": connection.token_url,
        "iat": now,
        "exp": now + 300,
        "jti": uuid.uuid4().hex,
        **claims,
    }
    header = {"alg": algorithm, "typ": "JWT", "kid": kid or connection.credentials["key_id"]}
    signer = key or import_key(connection.credentials["private_key"], "RSA")
    return jwt.encode(header, payload, signer, algorithms=[algorithm])


def ask_for_token(connection: Connection, assertion: str, **form: str) -> httpx2.Response:
    data = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
        **form,
    }
    return httpx2.post(connection.token_url, data=data, trust_env=False)


class Web:
    """Calls the web services with a token of its own."""

    def __init__(self, http: httpx2.Client, connection: Connection) -> None:
        self.connection = connection
        token = ask_for_token(connection, proof(connection)).json()["access_token"]
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, json: Any = None, **headers: str) -> httpx2.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._http.request(method, path, json=json, headers=self._headers | given)

    def record(self, kind: str, id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/record/v1/{kind}/{id}?expandSubResources=true")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def put(self, kind: str, key: str, body: dict[str, Any]) -> str:
        answer = self.call("PUT", f"/record/v1/{kind}/eid:{key}", body)
        assert answer.status_code == 204, answer.text
        return answer.headers["location"].rpartition("/")[2]

    def query(self, statement: str, **window: int) -> httpx2.Response:
        place = "/query/v1/suiteql" + ("?" + "&".join(f"{key}={value}" for key, value in window.items()))
        return self.call("POST", place, {"q": statement}, Prefer="transient")


def refused(answer: httpx2.Response) -> tuple[int, str, str]:
    """Return status, code and path of a refusal, whose body has the vendor's shape."""
    assert answer.headers["content-type"] == "application/vnd.oracle.resource+json; type=error"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "o:errorDetails"}
    assert body["status"] == answer.status_code
    first = body["o:errorDetails"][0]
    place = first.get("o:errorPath") or first.get("o:errorQueryParam") or first.get("o:errorHeader") or ""
    return answer.status_code, first["o:errorCode"], place


def connect(sandbox: Any, **options: str) -> NetSuite:
    base = sandbox.connection("netsuite")
    connection = Connection(base.system, base.base_url, base.credentials, base.token_url, "", options)
    made = NetSuite(registry.load("netsuite").manifest, connection)
    made.pace = Pace(10_000, 4)
    return made

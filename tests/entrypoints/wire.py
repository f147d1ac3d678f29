"""A plain HTTP caller for tests: it sends exactly what it is told."""

import http.client
import itertools
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

KEYS = itertools.count(1)
EVERYTHING = ("work:read", "money:read", "cost:read", "act")
"""What a person on the pages may be allowed."""
OURS = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
"""What a browser says of a form of our own."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(
    base: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
) -> Answer:
    """Send one request; headers may repeat when given as a list."""
    place = urlsplit(base)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        if body is not None and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in pairs):
            pairs.append(("Content-Length", str(len(body))))
        for name, value in pairs:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        raw = answer.read()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, raw)
    finally:
        connection.close()


def raw_call(base: str, request: bytes, *, seconds: float = 20) -> bytes:
    """Send bytes as they are; return the beginning of what comes back."""
    place = urlsplit(base)
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=seconds) as connection:
        connection.sendall(request)
        return connection.recv(65536)


class Api:
    """One caller of the API, with its token; every command gets a fresh key unless one is given."""

    def __init__(self, base: str, token: str) -> None:
        self.base = base
        self.token = token

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return call(self.base, "GET", path, headers={"Authorization": f"Bearer {self.token}"} | (headers or {}))

    def send(
        self, method: str, path: str, body: Any, *, key: str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        common = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key or f"key-{next(KEYS)}",
        }
        return call(self.base, method, path, raw, {k: v for k, v in (common | (headers or {})).items() if v})

    def put(self, path: str, body: Any, *, at: str | None = None, **more: Any) -> Answer:
        headers = ({"If-Match": at} if at else {}) | more.pop("headers", {})
        return self.send("PUT", path, body, headers=headers, **more)

    def post(self, path: str, body: Any, **more: Any) -> Answer:
        return self.send("POST", path, body, **more)

    def pages(self, path: str) -> list[Any]:
        """Read a list to its end."""
        items: list[Any] = []
        after = ""
        while True:
            page = self.get(path + after).json()
            items += page["items"]
            if page["next"] is None:
                return items
            after = ("&" if "?" in path else "?") + f"cursor={page['next']}"

"""Signing in: OAuth 2 with a signed assertion, with a refresh token, or an API key; one refresh at a time."""

import base64
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Protocol

from joserfc import jwt
from joserfc.jwk import import_key

from trueup.connectors.sdk.wire import Answer, Connection
from trueup.kernel.errors import Broken, Refused

Post = Callable[[str, Mapping[str, str], Mapping[str, str]], Answer]
"""(url, form fields, headers) -> answer; given by the client, so that tokens take the same road as everything."""

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EARLY_SECONDS = 60


class Auth(Protocol):
    """Knows the header that signs us in, and how to get a fresh one."""

    def header(self, post: Post) -> Mapping[str, str]:
        """Return the header to send."""

    def forget(self) -> None:
        """Drop what we hold: the vendor no longer takes it."""


class ApiKey:
    """HTTP Basic with an API key as the user name, the way some HR products do it."""

    def __init__(self, connection: Connection) -> None:
        pair = f"{need(connection, 'api_key')}:x".encode()
        self._header = {"Authorization": "Basic " + base64.b64encode(pair).decode()}

    def header(self, post: Post) -> Mapping[str, str]:
        """Return the Basic header."""
        return self._header

    def forget(self) -> None:
        """Keep the key: there is nothing fresher."""


class Bearer:
    """A token that never expires, given out once by the vendor's own sign-in."""

    def __init__(self, connection: Connection) -> None:
        self._header = {"Authorization": "Bearer " + need(connection, "access_token")}

    def header(self, post: Post) -> Mapping[str, str]:
        """Return the Bearer header."""
        return self._header

    def forget(self) -> None:
        """Keep the token: a refusal means it was revoked, and only a person can change that."""


class OAuth:
    """OAuth 2 tokens with a life span; `form` makes the grant's fields anew for each request."""

    def __init__(self, token_url: str, form: Callable[[], Mapping[str, str]]) -> None:
        self._url = token_url
        self._form = form
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def header(self, post: Post) -> Mapping[str, str]:
        """Return a Bearer header, asking for a token when none is held or it is about to end."""
        with self._lock:
            if not self._token or time.monotonic() > self._until:
                answer = post(self._url, self._form(), {"Accept": "application/json"})
                if answer.status != 200:
                    raise Refused("sign-in refused; check the credentials of this system", "sign_in", answer.status)
                body = answer.json()
                self._token = str(body["access_token"])
                self._until = time.monotonic() + float(body.get("expires_in", 1800)) - EARLY_SECONDS
            return {"Authorization": f"Bearer {self._token}"}

    def forget(self) -> None:
        """Ask for a new token next time."""
        with self._lock:
            self._token = ""


def need(connection: Connection, name: str) -> str:
    """Return a credential.

    Raises    Broken naming the missing setting.
    """
    value = connection.credentials.get(name)
    if not value:
        raise Broken(f"system {connection.system}: the credential {name} is missing")
    return value


def assertion(connection: Connection, *, algorithm: str, audience: str, subject: str, scope: str = "") -> str:
    """Sign a short-lived JWT with the system's private key (`private_key`, PEM; `key_id` when the vendor wants one)."""
    header = {"alg": algorithm, "typ": "JWT"}
    if connection.credentials.get("key_id"):
        header["kid"] = connection.credentials["key_id"]
    issued = int(time.time())
    claims: dict[str, object] = {
        "iss": need(connection, "client_id"),
        "sub": subject,
        "aud": audience,
        "iat": issued,
        "exp": issued + 180,
        "jti": uuid.uuid4().hex,
    }
    if scope:
        claims["scope"] = scope
    pem = need(connection, "private_key")
    key = import_key(pem, "EC") if algorithm.startswith("ES") else import_key(pem, "RSA")
    return jwt.encode(header, claims, key, algorithms=[algorithm])


def refresh_token_form(connection: Connection) -> Callable[[], Mapping[str, str]]:
    """Return the form of the refresh token grant."""
    return lambda: {
        "grant_type": "refresh_token",
        "client_id": need(connection, "client_id"),
        "client_secret": need(connection, "client_secret"),
        "refresh_token": need(connection, "refresh_token"),
    }

"""The simulator's token endpoint: OAuth 2.0 client credentials, proved by a JWT that a mapped certificate signed."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey, import_key

from trueup.connectors.netsuite.answers import refuse
from trueup.connectors.sdk.auth import CLIENT_ASSERTION
from trueup.connectors.sdk.simulate import Reject, Request, Response

TOKEN_PATH: Final = "/services/rest/auth/oauth2/v1/token"
TOKEN_SECONDS: Final = 3600
LONGEST_ASSERTION_SECONDS: Final = 3600
CLOCK_SECONDS: Final = 60
ALGORITHMS: Final = ("PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
SCOPES: Final = frozenset({"rest_webservices", "restlets", "suite_analytics"})


class SignIn:
    """Gives out access tokens for 60 minutes and knows them again.

    credentials  client_id, key_id (the certificate's id), public_key (PEM; or private_key, to take it from),
                 token_url (the audience; or any address of the token endpoint on the host that was called)
    clock        seconds since 1970
    Source       section_162790605110 (the request token), section_162755359851 (request and answer)
    """

    def __init__(self, credentials: Mapping[str, str], clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._credentials = credentials
        self._tokens: dict[str, tuple[float, frozenset[str]]] = {}
        self._key: RSAKey | ECKey | None = None

    def token(self, request: Request) -> Response:
        """Answer a token request."""
        form = request.form()
        if form.get("grant_type") != "client_credentials":
            return _no("unsupported_grant_type")
        if form.get("client_assertion_type") != CLIENT_ASSERTION or not form.get("client_assertion"):
            return _no("invalid_request")
        try:
            proof = jwt.decode(form["client_assertion"], self._certificate(), algorithms=list(ALGORITHMS))
        except (JoseError, ValueError):
            return _no("invalid_request")
        scopes = self._granted(proof.header, proof.claims, request)
        if scopes is None:
            return _no("invalid_request")
        if not scopes or not scopes <= SCOPES:
            return _no("invalid_scope")
        token = secrets.token_urlsafe(32)
        self._tokens[token] = (self.clock() + TOKEN_SECONDS, scopes)
        body = {"access_token": token, "expires_in": str(TOKEN_SECONDS), "token_type": "bearer"}
        return Response(200, body)

    def check(self, request: Request) -> None:
        """Let a signed request through.

        Raises    Reject with INVALID_LOGIN for an unknown or expired token or one without the scope.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        until, scopes = self._tokens.get(token, (0.0, frozenset[str]()))
        if scheme.lower() != "bearer" or self.clock() >= until or "rest_webservices" not in scopes:
            raise _login()

    def revoke(self) -> None:
        """Forget every token, as a new certificate mapping does."""
        self._tokens.clear()

    def _granted(self, header: Mapping[str, Any], claims: Mapping[str, Any], request: Request) -> frozenset[str] | None:
        """Return the scopes a proof asks for, None when it proves nothing."""
        now = self.clock()
        issued, ends = claims.get("iat"), claims.get("exp")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        good = (
            header.get("typ") == "JWT"
            and header.get("kid") == self._credentials.get("key_id")
            and claims.get("iss") == self._credentials.get("client_id")
            and isinstance(issued, int)
            and isinstance(ends, int)
            and issued <= now + CLOCK_SECONDS
            and now < ends < issued + LONGEST_ASSERTION_SECONDS
            and any(self._is_here(str(address), request) for address in audiences)
        )
        if not good:
            return None
        scope = claims.get("scope", "")
        words = scope if isinstance(scope, list) else str(scope).replace(",", " ").split()
        return frozenset(str(word) for word in words)

    def _is_here(self, address: str, request: Request) -> bool:
        here = self._credentials.get("token_url")
        if here:
            return address == here
        host = request.headers.get("host", "")
        return bool(host) and address.split("://")[-1].startswith(f"{host}/") and address.endswith(TOKEN_PATH)

    def _certificate(self) -> RSAKey | ECKey:
        if self._key is None:
            pem = self._credentials.get("public_key") or self._credentials["private_key"]
            for kind in ("RSA", "EC"):
                try:
                    key = import_key(pem, kind)
                except (JoseError, ValueError, TypeError):
                    continue
                self._key = import_key(key.as_pem(private=False), kind)
                break
            else:
                raise ValueError("the mapped certificate is neither an RSA nor an EC key")
        assert self._key is not None
        return self._key


def _no(error: str) -> Response:
    return Response(400, {"error": error})


def _login() -> Reject:
    text = "Invalid login attempt. For more details, see the Login Audit Trail in the NetSuite UI."
    return refuse("INVALID_LOGIN", text, status=401)

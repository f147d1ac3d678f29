"""Is this call really from the vendor, and is it fresh?"""

import base64
import binascii
import hmac
from collections.abc import Mapping

from trueup.connectors.sdk.manifest import Webhook

MAX_HEADER = 512


def sign(scheme: Webhook, secret: str, timestamp: str, body: bytes) -> dict[str, str]:
    """Return the headers a vendor with this scheme would send; used by the simulators."""
    headers = {scheme.signature_header: scheme.prefix + _digest(scheme, secret, timestamp, body)}
    if scheme.timestamp_header:
        headers[scheme.timestamp_header] = timestamp
    return headers


def refuse(scheme: Webhook, secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
    """Say why a call is not to be believed, or None when it is.

    headers  with lower-case names
    now      seconds since 1970, UTC
    """
    if not secret:
        return "no webhook secret is configured for this system"
    given = headers.get(scheme.signature_header.lower(), "")
    if not given:
        return f"the header {scheme.signature_header} is missing"
    if len(given) > MAX_HEADER or not given.isascii() or not given.startswith(scheme.prefix):
        return f"the header {scheme.signature_header} is malformed"
    timestamp = ""
    if scheme.timestamp_header:
        timestamp = headers.get(scheme.timestamp_header.lower(), "")
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
            return f"the header {scheme.timestamp_header} is not a number of seconds"
        if abs(now - int(timestamp)) > scheme.tolerance_seconds:
            return "the call is older (or newer) than we accept"
    right = scheme.prefix + _digest(scheme, secret, timestamp, body)
    return None if hmac.compare_digest(right.encode(), given.encode()) else "the signature does not match"


def _digest(scheme: Webhook, secret: str, timestamp: str, body: bytes) -> str:
    before, after = {
        "{timestamp}.{body}": (f"{timestamp}.".encode(), b""),
        "{body}{timestamp}": (b"", timestamp.encode()),
        "{body}": (b"", b""),
    }[scheme.signed]
    digest = hmac.digest(secret.encode(), before + body + after, "sha256")
    return base64.b64encode(digest).decode() if scheme.encoding == "base64" else binascii.hexlify(digest).decode()

"""Calls to subscribers: signed as Standard Webhooks 1.0 says, many at once, only to where the hub may call.

The one asynchronous client: a subscriber may take seconds to answer, and hundreds of calls wait at the same time.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from trueup.connectors.sdk.client import retry_after
from trueup.connectors.sdk.wire import Answer
from trueup.kernel.errors import Broken

SHOWN_BYTES = 300
SECRET_PREFIX = "whsec_"
SHORTEST_SECRET = 24
_THROUGH = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody who is told of business events.

    url              https; http only where `private_network` allows it
    secret           `whsec_` and at least 24 bytes in base64
    types            names of events (`invoice.posted`), none for all
    in_flight        calls that wait for an answer at the same time, in each worker
    timeout_seconds  longest wait for an answer
    ordered          events about one object one after the other, in their order
    private_network  whether the address may be one of our own network
    cost             whether it is told amounts made of what people cost
    """

    name: str
    url: str
    secret: str = field(repr=False)
    types: tuple[str, ...] = ()
    in_flight: int = 64
    timeout_seconds: float = 15.0
    ordered: bool = False
    private_network: bool = False
    cost: bool = False

    def key(self) -> bytes:
        """Return the signing key.

        Raises    Broken when the secret is none, or too short to mean anything.
        """
        try:
            key = base64.b64decode(self.secret.removeprefix(SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) < SHORTEST_SECRET:
            raise Broken(
                f"subscribers: {self.name}: the secret must be {SECRET_PREFIX} and at least {SHORTEST_SECRET} bytes in base64"
            )
        return key

    def check(self) -> None:
        """Refuse an address we would never call.

        Raises    Broken with what is wrong.
        """
        self.key()
        place = urlsplit(self.url)
        if place.scheme not in ("https", "http") or not place.hostname or place.username or place.fragment:
            raise Broken(f"subscribers: {self.name}: the url must be https://host/path")
        if place.scheme == "http" and not self.private_network:
            raise Broken(f"subscribers: {self.name}: http is for private networks alone; use https")
        if (why := refused_literal(place.hostname)) and not self.private_network:
            raise Broken(f"subscribers: {self.name}: {why}; say private_network: true if that is meant")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one call.

    status       of the answer; None when there was none
    detail       why it is no success, for people
    retry_after  seconds the subscriber asks for
    """

    status: int | None
    detail: str = ""
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        """Say whether the subscriber has it: 2xx alone."""
        return self.status is not None and 200 <= self.status < 300


def refused_address(text: str) -> str | None:
    """Say why an address is not to be called from here, or None when it is a public one.

    >>> refused_address("93.184.215.14")
    >>> refused_address("169.254.169.254")
    '169.254.169.254 is no public address'
    >>> refused_address("::ffff:10.0.0.1")
    '::ffff:10.0.0.1 is no public address'
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    hidden: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        tunnels = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        hidden += [one for one in tunnels if one is not None]
        if address in _THROUGH or address.sixtofour or address.teredo:
            return f"{text} leads through a translation to somewhere else"
    public = all(one.is_global and not one.is_multicast and not one.is_reserved for one in hidden)
    return None if public else f"{text} is no public address"


def refused_literal(host: str) -> str | None:
    """Say why a host that is written as an address is not to be called; None for names, which are looked up later."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # 0x7f.1 and 2130706433 are addresses to the system's resolver, and no names.
        try:
            return refused_address(socket.inet_ntoa(socket.inet_aton(host)))
        except OSError:
            return None
    return refused_address(host)


class _PublicOnly(AbstractResolver):
    """Looks names up and keeps to what was looked up: the address that was checked is the one that is called."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        wrong = [why for *_, place in found if (why := refused_address(str(place[0])))]
        if wrong:
            raise OSError(f"{host}: {wrong[0]}")
        return [
            ResolveResult(
                hostname=host, host=str(place[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
            )
            for kind, _, proto, _, place in found
        ]

    async def close(self) -> None:
        """Hold nothing, give nothing back."""


class Courier:
    """Connections to subscribers, within one event loop."""

    def __init__(self) -> None:
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def post(self, subscriber: Subscriber, number: str, body: bytes) -> Reply:
        """Send one event; whatever happens is a reply."""
        wrong = None if subscriber.private_network else refused_literal(urlsplit(subscriber.url).hostname or "")
        if wrong:  # an address that is written out is never looked up
            return Reply(None, wrong)
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/cloudevents+json",
            "User-Agent": "trueup",
            "webhook-id": number,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(subscriber.key(), number, stamp, body),
        }
        try:
            async with self._session(subscriber).post(
                subscriber.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                said = await answer.content.read(SHOWN_BYTES)
                if 200 <= answer.status < 300:
                    return Reply(answer.status)
                given = Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, said)
                text = said.decode("utf-8", "replace").strip()
                return Reply(answer.status, f"answered {answer.status}: {text}"[:SHOWN_BYTES], retry_after(given))
        except TimeoutError:
            return Reply(None, f"no answer within {subscriber.timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError) as away:
            why = getattr(away, "os_error", away)
            return Reply(None, f"cannot be reached ({type(away).__name__}: {str(why)[:200]})")

    async def close(self) -> None:
        """Give the connections back."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, subscriber: Subscriber) -> aiohttp.ClientSession:
        session = self._sessions.get(subscriber.name)
        if session is None:
            private = subscriber.private_network
            connections = aiohttp.TCPConnector(
                limit=subscriber.in_flight, resolver=None if private else _PublicOnly(), ttl_dns_cache=30
            )
            session = self._sessions[subscriber.name] = aiohttp.ClientSession(
                connector=connections,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=subscriber.timeout_seconds),
                auto_decompress=False,
                trust_env=False,
                max_line_size=4096,
                max_field_size=4096,
            )
        return session


def signature(key: bytes, number: str, stamp: str, body: bytes) -> str:
    """Return the header of Standard Webhooks 1.0 for one message.

    >>> key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    digest = hmac.new(key, f"{number}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"

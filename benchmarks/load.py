"""Calls a web server over kept-open connections and says how it did: `python load.py < plan.json`, figures on stdout.

Bare sockets and no library: on two cores the caller must cost as little as can be.
"""

import asyncio
import json
import sys
import time
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import uvloop


class Caller(asyncio.Protocol):
    """One connection: the next call goes out when the last is answered, or when its time has come."""

    sent = 0

    def __init__(
        self, waiting: deque[tuple[str, bytes]], done: list[tuple[str, float, float, int]], begun: float, rate: float
    ) -> None:
        self.waiting = waiting
        self.done = done
        self.begun = begun
        self.rate = rate
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer = b""
        self.key = ""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Read an answer; its body is as long as it says."""
        self.answer += data
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self.answer = b""
        self.done.append((self.key, self.began, time.time(), int(head[9:12])))
        self.key = ""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a call that was under way has no answer, and is noted as such."""
        if not self.ended.done():
            if self.key:
                self.done.append((self.key, self.began, time.time(), 0))
            self.ended.set_result(None)

    def _next(self) -> None:
        if not self.waiting:
            if not self.ended.done():
                self.ended.set_result(None)
            self.transport.close()
            return
        if (
            self.rate
        ):  # the call of number n goes out n / rate seconds after the first, or as soon as a connection is free
            early = self.begun + Caller.sent / self.rate - time.time()
            if early > 0:
                asyncio.get_running_loop().call_later(early, self._send)
                Caller.sent += 1
                return
        Caller.sent += 1
        self._send()

    def _send(self) -> None:
        if not self.waiting or self.transport.is_closing():
            self._next()
            return
        self.key, call = self.waiting.popleft()
        self.began = time.time()
        self.transport.write(call)


async def run(plan: dict[str, object]) -> list[tuple[str, float, float, int]]:
    """Make the calls of a plan: url, connections, rate (calls a second in all; 0 for as many as can be), calls.

    A call is (key, headers, body).

    Returns   (key, when it was sent, when it was answered, status; 0 for none)
    """
    place = urlsplit(str(plan["url"]))
    waiting = deque((key, _request(place.netloc, place.path, headers, body)) for key, headers, body in plan["calls"])
    done: list[tuple[str, float, float, int]] = []
    loop = asyncio.get_running_loop()
    callers = []
    begun, rate = time.time(), float(str(plan.get("rate", 0)))
    for _ in range(int(str(plan["connections"]))):
        _, caller = await loop.create_connection(lambda: Caller(waiting, done, begun, rate), place.hostname, place.port)
        callers.append(caller)
    await asyncio.gather(*(caller.ended for caller in callers))
    return done


def _request(host: str, path: str, headers: dict[str, str], body: str) -> bytes:
    raw = body.encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(raw)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))

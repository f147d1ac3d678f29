"""A network between the hub and the vendors that delays, cuts, resets and swallows answers: a TCP proxy with a seed."""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field

CHUNK = 65_536
START_SECONDS = 10.0


@dataclass(slots=True)
class Weather:
    """How bad the network is: chances for each answer, or each new connection.

    swallow  the request has gone through, the answer is dropped and the connection ends
    cut      half of the answer goes through
    reset    a new connection is torn down at once
    delay    an answer waits for up to `longest` seconds
    """

    swallow: float = 0.0
    cut: float = 0.0
    reset: float = 0.0
    delay: float = 0.0
    longest: float = 2.0
    met: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Let everything through from now on."""
        self.swallow = self.cut = self.reset = self.delay = 0.0


class Proxy:
    """Listens on a port of its own in a thread of its own, and passes on to one address."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.weather = Weather()
        self._to = host, port
        self._dice = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> "Proxy":
        """Begin to listen."""
        self._thread.start()
        self._ready.wait(START_SECONDS)
        return self

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    def _hits(self, fault: str) -> bool:
        hit: bool = self._dice.random() < getattr(self.weather, fault)
        self.weather.met[fault] += hit
        return hit

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._hits("reset"):
            return _tear(writer)
        try:
            from_vendor, to_vendor = await asyncio.open_connection(*self._to)
        except OSError:
            return _tear(writer)
        there = asyncio.create_task(self._pass(reader, to_vendor))
        try:
            await self._answers(from_vendor, writer)
        finally:
            there.cancel()
            for side in (writer, to_vendor):
                side.close()
        return None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand requests on as they come."""
        try:
            while chunk := await reader.read(CHUNK):
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):
            writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand answers back, as far as the weather lets them."""
        try:
            while chunk := await reader.read(CHUNK):
                if self._hits("delay"):
                    await asyncio.sleep(self._dice.uniform(0.02, self.weather.longest))
                if self._hits("swallow"):
                    return _tear(writer)
                if self._hits("cut"):
                    writer.write(chunk[: len(chunk) // 2])
                    await writer.drain()
                    return _tear(writer)
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return None
        return None


def _tear(writer: asyncio.StreamWriter) -> None:
    """End a connection the way a broken network does: with a reset."""
    place = writer.get_extra_info("socket")
    if place is not None:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()

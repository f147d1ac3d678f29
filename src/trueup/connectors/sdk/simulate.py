"""What every vendor simulator is built from: a store with a journal, a router, sign-in, and the vendor's own noes.

A simulator is written from the vendor's contract, never from our client. It is plain synchronous code over
dictionaries: the sandbox room puts it behind real HTTP and adds faults.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import parse_qs

from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.webhook import sign
from trueup.kernel.errors import Broken

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as the vendor's server sees it; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def param(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def json(self) -> Any:
        """Read the body; floats stay text-exact as Decimal is not JSON-plain, so they come as str."""
        return json.loads(self.body or b"null", parse_float=str)

    def form(self) -> dict[str, str]:
        """Read a urlencoded body."""
        return {key: values[0] for key, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True, slots=True)
class Response:
    """What the vendor answers; a dict or list becomes JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """Return the bytes to send."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Reject(Exception):
    """Ends a handler with the vendor's own refusal."""

    def __init__(self, response: Response) -> None:
        super().__init__(str(response.status))
        self.response = response


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A webhook the vendor wants to send to the hub."""

    body: bytes
    headers: Mapping[str, str]


class Store:
    """The vendor's tables, in memory, written through to a journal so that a restarted simulator goes on.

    A row is a JSON-plain dict with its id inside; `table[id]`. Every change gets a stamp that is later than any
    before it in this store, so that keyset reads by stamp are well defined.
    """

    def __init__(self, journal: Path | None = None) -> None:
        self.tables: dict[str, dict[str, Row]] = {}
        self.deleted: dict[str, dict[str, str]] = {}
        self._last_us = 0
        self._sequence: dict[str, int] = {}
        self._file: IO[str] | None = None
        self._block: list[list[Any]] | None = None
        if journal is not None:
            journal.parent.mkdir(parents=True, exist_ok=True)
            if journal.exists():
                self._replay(journal)
            self._file = journal.open("a", encoding="utf-8")

    def table(self, name: str) -> dict[str, Row]:
        """Return a table, empty when nothing was ever put there. Read only: change it by put and delete."""
        return self.tables.setdefault(name, {})

    def put(self, table: str, id: str, row: Row) -> Row:
        """Write a row whole (insert or replace)."""
        self.table(table)[id] = row
        self._write(["put", table, id, row])
        return row

    def delete(self, table: str, id: str) -> None:
        """Remove a row and remember when."""
        self.table(table).pop(id, None)
        at = self.stamp().isoformat()
        self.deleted.setdefault(table, {})[id] = at
        self._write(["delete", table, id, at])

    def next_number(self, series: str, start: int = 1) -> int:
        """Return the next number of a series, the way vendors number their records."""
        number = self._sequence.get(series, start - 1) + 1
        self._sequence[series] = number
        self._write(["number", series, number])
        return number

    def stamp(self) -> datetime:
        """Return the present instant, later than every stamp given before (microseconds)."""
        self._last_us = max(self._last_us + 1, time.time_ns() // 1000)
        seconds, micros = divmod(self._last_us, 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Journal what is written in the block as one line: after a kill, all of it is there or nothing."""
        self._block = []
        try:
            yield
        finally:
            entries, self._block = self._block, None
            if entries:
                self._write(["all", entries])
            self.flush()

    def flush(self) -> None:
        """Hand the journal to the operating system; called after each request and each stage."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the journal."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, entry: list[Any]) -> None:
        if self._block is not None:
            self._block.append(entry)
        elif self._file is not None:
            self._file.write(json.dumps([*entry, self._last_us], separators=(",", ":")) + "\n")

    def _replay(self, journal: Path) -> None:
        """Read the journal; the last line of a killed process may be cut: it is dropped from the file, too."""
        good = 0
        for line in journal.read_bytes().splitlines(keepends=True):
            try:
                verb, *rest, last = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            good += len(line)
            self._last_us = max(self._last_us, last)
            for entry in rest[0] if verb == "all" else [[verb, *rest]]:
                self._again(*entry)
        if good < journal.stat().st_size:
            with journal.open("r+b") as file:
                file.truncate(good)

    def _again(self, verb: str, *what: Any) -> None:
        if verb == "put":
            self.table(what[0])[what[1]] = what[2]
        elif verb == "delete":
            self.table(what[0]).pop(what[1], None)
            self.deleted.setdefault(what[0], {})[what[1]] = what[2]
        elif verb == "number":
            self._sequence[what[0]] = what[1]


Handler = Callable[..., Response]


def route(method: str, pattern: str, *, public: bool = False) -> Callable[[Handler], Handler]:
    """Mark a method of a simulator as the handler of a route; `{name}` in the pattern becomes an argument.

    public  the route needs no sign-in (token endpoints)
    """

    def mark(handler: Handler) -> Handler:
        handler.__dict__["route"] = (
            method,
            re.compile("^" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern) + "$"),
            public,
        )
        return handler

    return mark


class Simulator:
    """One vendor: routes, sign-in, limits, refusals and webhooks, over a Store.

    A subclass marks its handlers with `@route`, checks sign-in in `authorize`, and overrides `throttled`,
    `unavailable` and `missing` with the vendor's own bodies.
    """

    vendor: ClassVar[str]

    def __init__(self, manifest: Manifest, store: Store, credentials: Mapping[str, str], webhook_secret: str) -> None:
        self.manifest = manifest
        self.store = store
        self.credentials = credentials
        self.webhook_secret = webhook_secret
        self.lock = threading.RLock()
        self.journal: list[tuple[str, str]] = []
        """(method, path) of every write the vendor has committed, for tests that count effects."""
        self.slots = 0
        self.slots_taken = 0
        self.takes_seconds = 0.0
        self.disguises = False
        self._under_way = 0
        self._counting = threading.Lock()
        self._routes = [
            (*getattr(type(self), name).__dict__["route"], getattr(self, name))
            for name in dir(type(self))
            if "route" in getattr(getattr(type(self), name), "__dict__", {})
        ]

    # --- what a vendor fills in ----------------------------------------------------------------------------------

    def authorize(self, request: Request) -> None:
        """Check the sign-in of a request; raise Reject with the vendor's 401."""
        raise Broken(f"the simulator {type(self).__name__} does not check any sign-in")

    def throttled(self) -> Response:
        """Return the vendor's answer to too many requests."""
        return Response(429, {"message": "Too many requests"}, {"Retry-After": "1"})

    def unavailable(self) -> Response:
        """Return the vendor's answer when it is down."""
        return Response(503, {"message": "Service unavailable"})

    def missing(self, request: Request) -> Response:
        """Return the vendor's answer to an unknown path or record."""
        return Response(404, {"message": f"{request.method} {request.path} not found"})

    def crowded(self) -> Response:
        """Return the answer to one request too many at a time; a vendor may disguise it as something else."""
        return self.throttled()

    def crowd(self, slots: int, taken: int = 0, takes_seconds: float = 0.0, disguises: bool = False) -> None:
        """Let the account answer so many requests at a time, of which others than the hub take some; 0 is no limit."""
        self.slots, self.slots_taken = slots, taken
        self.takes_seconds, self.disguises = takes_seconds, disguises

    # --- what the host calls -------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        with self.lock:
            try:
                for method, pattern, public, handler in self._routes:
                    found = pattern.match(request.path)
                    if method == request.method and found:
                        if not public:
                            self.authorize(request)
                        response: Response = handler(request, **found.groupdict())
                        if method != "GET" and response.status < 300 and not public:
                            self.journal.append((method, request.path))
                        return response
                self.authorize(request)
                return self.missing(request)
            except Reject as no:
                return no.response
            finally:
                self.store.flush()

    @contextmanager
    def under_way(self) -> Iterator[bool]:
        """Count a request while it is answered; False when it is one too many."""
        with self._counting:
            room = not self.slots or self._under_way + self.slots_taken < self.slots
            self._under_way += room
        try:
            if room and self.takes_seconds:
                time.sleep(self.takes_seconds)
            yield room
        finally:
            with self._counting:
                self._under_way -= room

    def announce(self, body: Row | list[Any]) -> None:
        """Queue a signed webhook for the hub; it survives a restart until the host has sent it."""
        raw = json.dumps(body, separators=(",", ":"))
        number = self.store.next_number("outgoing")
        self.store.put("_outgoing", f"{number:09d}", {"body": raw})

    def outgoing(self) -> Iterable[tuple[str, Outgoing]]:
        """Return the webhooks that wait to be sent, oldest first, each signed now."""
        scheme = self.manifest.webhook
        if scheme is None:
            return []
        with self.lock:
            waiting = sorted(self.store.table("_outgoing").items())
        out = []
        for id, row in waiting:
            body = row["body"].encode()
            headers = sign(scheme, self.webhook_secret, str(int(time.time())), body)
            out.append((id, Outgoing(body, {"content-type": "application/json", **headers})))
        return out

    def sent(self, id: str) -> None:
        """Forget a webhook: the hub has taken it (or the vendor has given up)."""
        with self.lock:
            self.store.delete("_outgoing", id)
            self.store.deleted.get("_outgoing", {}).pop(id, None)
            self.store.flush()

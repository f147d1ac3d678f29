"""What is killed at every line: the handlers that acknowledge, and the step that delivers.

`enumerated` kills one handler at each of its lines, lets the hub recover, and holds both journals against each other.
"""

import asyncio
import fcntl
import gc
import hashlib
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.types import Message, Scope

from trueup.connectors.sdk.webhook import sign
from trueup.entrypoints.api import app, hooks
from trueup.kernel.errors import Broken
from trueup.kernel.ids import derive
from trueup.kernel.strict_json import plain
from trueup.pipeline.deliver import deliver
from trueup.pipeline.house import House, System
from trueup.pipeline.poll import poll
from trueup.pipeline.receive import hear
from trueup.sandbox.rigs import clock, crash, oracles
from trueup.sandbox.rigs import house as houses
from trueup.sandbox.rigs.crash import Enumeration, Template, Trial
from trueup.sandbox.rigs.oracles import Effect
from trueup.sandbox.rigs.vendor import Client, Row, Traits, Vendor
from trueup.store import access, deliveries
from trueup.store.database import Database
from trueup.store.deliveries import Command
from trueup.store.steady import Steady

HANDLERS = ("webhook", "api", "poll", "deliver_a", "deliver_b", "deliver_c")
ROUNDS = 40
PAUSE_SECONDS = 900
TOKEN = "token-of-the-crash-rig"


# --- what is done in each trial --------------------------------------------------------------------------------------


def subject(handler: str, url: str, folder: Path) -> "Webhook | Api | Poll | Deliver":
    """Return what the warm process forks.

    Raises    Broken naming the handlers there are.
    """
    if handler == "webhook":
        return Webhook(url)
    if handler == "api":
        return Api(url)
    if handler == "poll":
        return Poll(url)
    if handler.startswith("deliver_") and handler in HANDLERS:
        return Deliver(url, folder, handler[-1].upper())
    raise Broken(f"no handler named {handler}; there are {', '.join(HANDLERS)}")


def body_of(name: str) -> bytes:
    """Return the webhook of a trial."""
    return json.dumps({"changed": [{"object": "Worker", "id": name}]}).encode()


def headers_of(system: System, body: bytes) -> dict[str, str]:
    """Return the headers its vendor would send with a body."""
    scheme = system.connector.manifest.webhook
    if scheme is None:
        raise Broken(f"{system.name} sends no webhooks")
    return {"content-type": "application/json", **sign(scheme, system.client.connection.webhook_secret, "", body)}


async def ask(
    application: Callable[..., Any], method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    """Call an ASGI application as a server does; return status and body of its answer."""
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    told: list[Message] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        told.append(message)

    await application(scope, receive, send)
    status = next(int(one["status"]) for one in told if one["type"] == "http.response.start")
    return status, b"".join(one.get("body", b"") for one in told if one["type"] == "http.response.body")


class Webhook:
    """A vendor calls: the route, from the first byte to the answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.house = houses.build(Database(url, size=2), {})
        gc.freeze()

    def open(self) -> None:
        """Connect."""
        self.house.database.open()

    def act(self, name: str, acknowledge: Callable[[str], None]) -> None:
        """Take one webhook in, and acknowledge it."""
        body = body_of(name)
        headers = headers_of(self.house.systems["people"], body)
        keeper = hooks.Keeper(self.house.database)
        receive = hooks.receiver(self.house, keeper)

        async def route(scope: Scope, receiving: Any, sending: Any) -> None:
            request = Request({**scope, "path_params": {"system": "people"}}, receiving, sending)
            await (await receive(request))(scope, receiving, sending)

        status, _ = asyncio.run(ask(route, "POST", "/hooks/people", headers, body))
        if status == 200:
            acknowledge(name)


class Api:
    """A person's tool puts an object through the API, with an idempotency key."""

    def __init__(self, url: str) -> None:
        self.house = houses.build(Database(url, size=2), {})
        self.application = app.create(self.house)
        # A server builds its routes and middleware at its first request; here that is before the fork, once.
        asyncio.run(ask(self.application, "GET", "/healthz", {"host": "127.0.0.1"}, b""))
        gc.freeze()

    def open(self) -> None:
        """Connect."""
        self.house.database.open()

    def act(self, name: str, acknowledge: Callable[[str], None]) -> None:
        """Put one customer."""
        status, _ = asyncio.run(ask(self.application, *put(name)))
        if status in (200, 201):
            acknowledge(name)


def put(name: str) -> tuple[str, str, dict[str, str], bytes]:
    """Return the call that puts a trial's customer."""
    body = json.dumps({"name": name, "country": "DE", "currency": "EUR"}).encode()
    headers = {
        "authorization": f"Bearer {TOKEN}", "content-type": "application/json", "idempotency-key": name,
        "content-length": str(len(body)), "host": "127.0.0.1",
    }  # fmt: skip
    return "PUT", f"/v1/customers/sales:{name}", headers, body


class Poll:
    """We ask a vendor: one page is kept, and the cursor moves."""

    def __init__(self, url: str) -> None:
        self.house = houses.build(Database(url, size=2), {})
        gc.freeze()

    def open(self) -> None:
        """Connect."""
        self.house.database.open()

    def act(self, name: str, acknowledge: Callable[[str], None]) -> None:
        """Read what has changed up to this trial's record, page by page."""
        feed(self.house, int(name.rpartition("-")[2]) if name[-1].isdigit() and "warm" not in name else 1)
        poll(self.house, self.house.systems["sales"], "Account")
        acknowledge(name)


def feed(house: House, records: int) -> None:
    """Let the invented CRM hold so many records."""
    client = house.systems["sales"].client
    if not isinstance(client, Client):
        raise Broken("the crash rig works over invented vendors")
    client.vendor = _still("sales", Traits())
    for number in range(1, records + 1):
        fields = {"name": f"Client {number}", "country": "DE", "currency": "EUR"}
        client.vendor.put("Account", f"A{number:06d}", fields)


def _still(name: str, traits: Traits) -> Vendor:
    """Return a vendor nothing befalls."""
    return Vendor(name, traits, lambda: 0.0, lambda *_: "", lambda *_: None, lambda *_: None)


class Deliver:
    """One write goes out: claimed, written down, sent, settled."""

    def __init__(self, url: str, folder: Path, dedupe: str) -> None:
        self.house = told(url, folder, dedupe)
        gc.freeze()

    def open(self) -> None:
        """Connect."""
        self.house.database.open()
        _keep_time(self.house.database)

    def act(self, name: str, acknowledge: Callable[[str], None]) -> None:
        """Make what is due."""
        pool = ThreadPoolExecutor(1)
        deliver(self.house, self.house.systems["books"], f"worker of {name}", pool)
        pool.shutdown()
        acknowledge(name)


def told(url: str, folder: Path, dedupe: str) -> House:
    """Return a house with one target, whose journal is a file that outlives everybody."""
    house = houses.build(Database(url, size=2), {"books": Traits(dedupe)}, everything=True)
    client = house.systems["books"].client
    if not isinstance(client, Client):
        raise Broken("the crash rig works over invented vendors")
    client.vendor = FiledVendor(folder / f"target-{dedupe}.jsonl", dedupe)
    return house


def _keep_time(database: Database) -> None:
    """Let the clock nobody can set stand where the rig has turned the database's: here time passes, and none jumps."""
    with database.transaction() as tx:
        at = clock.told(tx) / clock.SECOND
    database.steady = Steady(lambda: at, "rig")


class FiledVendor(Vendor):
    """A target whose only memory is its journal: one line for each write it has committed."""

    def __init__(self, file: Path, dedupe: str) -> None:
        still = _still("books", Traits(dedupe))
        super().__init__(still.name, still.traits, still.now, still.fault, still.announce, still.at)
        self.file = file

    def effects(self) -> list[Effect]:
        """Return what was committed, oldest first."""
        if not self.file.exists():
            return []
        return [Effect(**json.loads(line)) for line in self.file.read_text("utf-8").splitlines()]

    def find(self, object_name: str, key: str) -> Row | None:
        """Search the journal."""
        found = next((one for one in self.effects() if one.key == key and one.object == object_name), None)
        return None if found is None else Row(found.id, {}, "")

    def commit(self, object_name: str, key: str, body: Mapping[str, Any], external_id: str | None) -> Row:
        """Commit one line; classes A and B know a key they have seen."""
        with self.file.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            seen = [one for one in self.effects() if one.object == object_name]
            known = next((one.id for one in seen if one.key == key), None) if self.traits.dedupe in "AB" else None
            id = external_id or known or f"{object_name[0]}{len(seen) + 1}"
            made = external_id is None and known is None
            line = {"system": "books", "object": object_name, "key": key, "id": id, "created": made,
                    "version": int(plain(body).get("version") or 0)}  # fmt: skip
            os.write(file.fileno(), (json.dumps(line) + "\n").encode())
        return Row(id, {}, "")


# --- the enumeration -------------------------------------------------------------------------------------------------


def enumerated(handler: str, url: str, folder: Path, *, each_time: bool = False, most: int = 0) -> Enumeration:
    """Kill one handler at its lines, recover after each death, and judge by the journals.

    url     an empty database, or one that earlier enumerations have used
    folder  where the target's journal is kept
    each_time, most  as in `crash.enumerate_points`
    """
    clock.prepare(url)
    template = Template([sys.executable, "-m", "trueup.entrypoints.crash_child", handler, url, str(folder)])
    judge = JUDGES[handler.partition("_")[0]](url, folder, handler)
    try:
        found = crash.enumerate_points(
            handler, template, before=judge.before, after=judge.after, each_time=each_time, most=most
        )
        found.problems += judge.end(found)
        return found
    finally:
        judge.house.database.close()
        template.close()


class Judge(ABC):
    """What the rig itself does before, after and at the end; in a process that nobody kills."""

    def __init__(self, url: str, folder: Path, handler: str) -> None:
        dedupe = handler[-1].upper()
        self.house = (
            told(url, folder, dedupe) if handler.startswith("deliver") else houses.build(Database(url, size=2), {})
        )
        self.house.database.open()
        self.names: list[str] = []
        with self.house.database.transaction() as tx:
            clock.wipe(tx)
            houses.open_up(tx, self.house)
            access.issue(tx, "crash rig", ("objects:write", "objects:read", "role:crm"), token=TOKEN)
        for file in folder.glob("target-*.jsonl"):
            file.unlink()

    def before(self, name: str) -> None:
        """Prepare a trial."""
        self.names.append(name)

    def after(self, name: str, trial: Trial) -> Iterable[str]:
        """Recover from a trial."""
        return ()

    @abstractmethod
    def end(self, found: Enumeration) -> list[str]:
        """Judge the whole; return what is wrong, one sentence each."""


class OfWebhooks(Judge):
    """Acknowledged means kept, to the byte; what was not acknowledged comes again, and is there once."""

    def end(self, found: Enumeration) -> list[str]:
        """Compare the journal of acknowledgements with the inbox, before and after the vendor has repeated itself."""
        acknowledged = {name: hashlib.sha256(body_of(name)).hexdigest() for name in found.acknowledged}
        problems = oracles.lost(acknowledged, self._kept())
        system = self.house.systems["people"]
        for name in self.names:
            body = body_of(name)
            call = hooks.Call("people", hear(system, headers_of(system, body), body), len(body))
            problems += [
                f"{name} was refused the second time: {fault}"
                for fault in hooks.write(self.house.database, [call])
                if fault
            ]
        problems += oracles.lost({name: hashlib.sha256(body_of(name)).hexdigest() for name in self.names}, self._kept())
        with self.house.database.transaction() as tx:
            rows = tx.rows(
                "select external_id, count(*) as n from inbox where state = 'pending' and due_at <= now() group by 1 having count(*) <> 1"
            )
            once = int(tx.value("select count(*) from inbox where state = 'pending' and due_at <= now()"))
        problems += [f"{row['external_id']} is work {row['n']} times" for row in rows]
        return problems + ([] if once == len(self.names) else [f"{len(self.names)} calls came and {once} are work"])

    def _kept(self) -> dict[str, str]:
        with self.house.database.transaction() as tx:
            rows = tx.rows("select external_id, body, digest from inbox where object = 'Worker'")
        return {
            row["external_id"]: hashlib.sha256(bytes(row["body"])).hexdigest()
            for row in rows
            if hashlib.sha256(bytes(row["body"])).digest() == bytes(row["digest"])
        }


class OfCalls(Judge):
    """Answered means stored; asked again under the same key, the answer is the same and nothing more happens."""

    def end(self, found: Enumeration) -> list[str]:
        """Compare the answers with the objects, then ask all of it again."""
        problems = oracles.lost(dict.fromkeys(found.acknowledged, ""), dict.fromkeys(self._stored(), ""))
        application = app.create(self.house)

        async def again() -> list[str]:
            return [f"{name} is answered {status} when it is asked again: {body[:200]!r}"
                    for name in self.names for status, body in [await ask(application, *put(name))] if status not in (200, 201)]  # fmt: skip

        problems += asyncio.run(again())
        stored = self._stored()
        problems += oracles.lost(dict.fromkeys(self.names, ""), dict.fromkeys(stored, ""))
        problems += [f"{name} was changed {version} times" for name, version in sorted(stored.items()) if version != 1]
        return problems

    def _stored(self) -> dict[str, int]:
        with self.house.database.transaction() as tx:
            rows = tx.rows("select body ->> 'name' as name, version from objects where kind = 'customer'")
        return {row["name"]: row["version"] for row in rows}


class OfPolls(Judge):
    """A cursor never stands behind a record that is not kept."""

    def after(self, name: str, trial: Trial) -> Iterable[str]:
        """Compare the cursor with the inbox, after each death."""
        with self.house.database.transaction() as tx:
            cursor = int(tx.value("select cursor from cursors where system = 'sales' and object = 'Account'") or 0)
            kept = int(tx.value("select count(*) from inbox where object = 'Account'"))
        return [] if kept >= cursor else [f"the cursor is at {cursor} and {kept} records are kept"]

    def end(self, found: Enumeration) -> list[str]:
        """Read on, and find every record kept once."""
        feed(self.house, found.lines)
        while poll(self.house, self.house.systems["sales"], "Account")[1]:
            pass
        with self.house.database.transaction() as tx:
            rows = tx.rows("select external_id, count(*) as n from inbox where object = 'Account' group by 1")
        problems = oracles.lost(
            dict.fromkeys((f"A{n:06d}" for n in range(1, found.lines + 1)), ""), {r["external_id"]: "" for r in rows}
        )
        return problems + [f"{row['external_id']} is kept {row['n']} times" for row in rows if row["n"] != 1]


class OfDeliveries(Judge):
    """Whatever line the worker dies at, the target ends with one document, and the ledger knows it."""

    def before(self, name: str) -> None:
        """Ask for one write."""
        super().before(name)
        gid = derive("customer", "crash", name)
        source = {"gid": gid, "version": 1, "name": name, "country": "DE", "status": "active"}
        dedupe = self._vendor().traits.dedupe
        with self.house.database.transaction() as tx:
            deliveries.ask(tx, [Command(name, "books", "Client", gid, "customer", "create", dedupe, source)])

    def after(self, name: str, trial: Trial) -> Iterable[str]:
        """Let another worker take over until the write is settled, and count it at the target."""
        pool = ThreadPoolExecutor(1)
        try:
            for turn in range(ROUNDS):
                with self.house.database.transaction() as tx:
                    if turn == 0:
                        deliveries.release(tx, f"worker of {name}")
                    state = deliveries.state_of(tx, name)
                    if state == "confirmed":
                        break
                    clock.turn(tx, clock.told(tx) + PAUSE_SECONDS * clock.SECOND * (turn > 0))
                _keep_time(self.house.database)
                deliver(self.house, self.house.systems["books"], f"heir {turn} of {name}", pool)
        finally:
            pool.shutdown()
        gid = derive("customer", "crash", name)
        times = sum(one.created for one in self._vendor().effects() if one.key == gid)
        with self.house.database.transaction() as tx:
            row = tx.row("select state, external_id, cause from deliveries where key = %s", (name,)) or {}
        if row.get("state") != "confirmed":
            yield f"{name} ended {row.get('state')}: {row.get('cause')}"
        elif times != 1:
            yield f"{name} was made {times} times at the target"

    def end(self, found: Enumeration) -> list[str]:
        """Hold the target's journal against the ledger once more, as a whole."""
        problems = oracles.doubled(self._vendor().effects())
        ids = {one.key: one.id for one in self._vendor().effects()}
        with self.house.database.transaction() as tx:
            rows = tx.rows("select key, gid, external_id from deliveries order by key")
        return problems + [f"{r['key']}: the ledger says {r['external_id']}, the target {ids.get(r['gid'])}"
                           for r in rows if r["external_id"] != ids.get(r["gid"])]  # fmt: skip

    def _vendor(self) -> FiledVendor:
        client = self.house.systems["books"].client
        if not isinstance(client, Client) or not isinstance(client.vendor, FiledVendor):
            raise Broken("the crash rig delivers to a target that keeps a file")
        return client.vendor


JUDGES: dict[str, type[Judge]] = {"webhook": OfWebhooks, "api": OfCalls, "poll": OfPolls, "deliver": OfDeliveries}

"""One server for every vendor's simulator, under a path prefix per system, with faults and a switchboard.

Run it with `python -m trueup.sandbox.host --dir DIR --port P --seed N [--faults dup,ooo] [--hub URL]`; in a test,
`running(...)` starts it in a thread and `control.process(...)` as a process.

    /{system}/...     the vendor's own paths, as its documentation has them
    /_control/...     the switchboard, with the bearer token from DIR/credentials.json
"""

import argparse
import asyncio
import fcntl
import hmac
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

import uvicorn

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.registry import Connector
from trueup.connectors.sdk.simulate import Request, Response, Row, Simulator, Store
from trueup.connectors.sdk.wire import Connection
from trueup.kernel.errors import Broken
from trueup.sandbox.chaos import LATEST_SECONDS, Chaos
from trueup.sandbox.control import Control
from trueup.sandbox.credentials import connection, keep_credentials
from trueup.sandbox.webhooks import Sender

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

WORKERS = 24
MAX_REQUEST_BYTES = 20_000_000
LONGEST_START_SECONDS = 10
LONGEST_STOP_SECONDS = 5
TAKEN = 75
"""Exit code: another sandbox has the folder."""


class Host:
    """All simulators of one sandbox folder, and what the outside may ask of them."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str,
        seed: int = 1,
        faults: Sequence[str] = (),
        hub: str = "",
        systems: Sequence[str] = (),
        extra: Sequence[Path] = (),
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.chaos = Chaos(seed, faults)
        self.connectors = connectors(systems, extra)
        manifests = {name: connector.manifest for name, connector in self.connectors.items()}
        self.kept = keep_credentials(folder / "credentials.json", url, seed, manifests)
        self.simulators = {
            name: self._simulator(name, connector)
            for name, connector in self.connectors.items()
            if connector.simulator is not None
        }
        self._partial = set(self.simulators) != set(registry.folders())
        self._counted = dict.fromkeys(self.simulators, 0)
        self._tokens = {name: urlsplit(entry["token_url"]).path for name, entry in self.kept["systems"].items()}
        self._story: Any = None
        self._story_lock = threading.Lock()
        self._late: list[threading.Timer] = []
        self._late_lock = threading.Lock()
        self.senders = {
            name: Sender(name, simulator, self.chaos)
            for name, simulator in self.simulators.items()
            if simulator.manifest.webhook is not None
        }
        self.hub = ""
        self.use_hub(hub)
        for sender in self.senders.values():
            sender.start()

    def connection(self, system: str) -> Connection:
        """Return the connection to one system."""
        return connection(self.kept, system)

    def answer(self, system: str, request: Request) -> tuple[Response, bool]:
        """Let a simulator answer; True when the connection is to be cut before the answer is through."""
        simulator = self.simulators[system]
        token = f"/{system}{request.path}" == self._tokens[system]
        fate = self.chaos.fate(system, request.method, request.path, token=token)
        if fate.slow_seconds:
            time.sleep(fate.slow_seconds)
        if fate.fault == "429":
            return simulator.throttled(), False
        if fate.fault == "5xx":
            return simulator.unavailable(), False
        if fate.fault == "500":
            return Response(500, b"Internal Server Error", {"Content-Type": "text/plain"}), False
        if fate.fault == "before":
            return Response(204), True
        if fate.fault == "late":
            self._later(system, request, fate.late_seconds)
            return Response(204), True
        with nullcontext(True) if token else simulator.under_way() as room:
            if not room:
                return simulator.crowded(), False
            response = self._handled(system, request)
        return response, fate.fault == "unk" and 200 <= response.status < 300

    def _handled(self, system: str, request: Request) -> Response:
        simulator = self.simulators[system]
        with simulator.lock:
            response = simulator.handle(request)
            self._count_writes(system)
        if system in self.senders:
            self.senders[system].wake()
        return response

    def _later(self, system: str, request: Request, seconds: float) -> None:
        """Serve a request when its caller has long gone; what has not come when the sandbox ends, never comes."""
        timer = threading.Timer(seconds, self._handled, (system, request))
        timer.daemon = True
        with self._late_lock:
            self._late = [one for one in self._late if one.is_alive()] + [timer]
            timer.start()

    def late(self) -> int:
        """Return how many writes are still on their way although their connection broke."""
        with self._late_lock:
            return sum(one.is_alive() for one in self._late)

    def use_hub(self, url: str) -> None:
        """Send webhooks to this hub from now on."""
        self.hub = url
        for sender in self.senders.values():
            sender.use(url)

    def act(self, system: str, method: str, arguments: Mapping[str, Any]) -> Any:
        """Do what a person does in one product."""
        if system not in self.simulators:
            raise Broken(f"no simulator for {system}; there are {', '.join(sorted(self.simulators))}")
        simulator = self.simulators[system]
        does = getattr(simulator, method, None)
        if method.startswith("_") or not callable(does):
            raise Broken(f"nobody in {system} can {method}")
        with simulator.lock:
            done = does(**arguments)
            simulator.store.flush()
        if system in self.senders:
            self.senders[system].wake()
        return done

    def advance(self) -> dict[str, Any]:
        """Play the story's next stage; nobody sees half of it over HTTP."""
        with self._story_lock:
            story = self.story()
            for simulator in self.simulators.values():
                simulator.lock.acquire()
            try:
                story.advance()
            finally:
                for simulator in self.simulators.values():
                    simulator.store.flush()
                    simulator.lock.release()
        for sender in self.senders.values():
            sender.wake()
        return self.state()

    def story(self) -> Any:
        """Return the story over these simulators, made when it is first needed.

        Raises    Broken when only some systems run: people work in all of them.
        """
        if self._story is None:
            if self._partial:
                raise Broken("the story needs every system; start the sandbox without --systems")
            from trueup.sandbox.story import Story

            self._story = Story(self.firm(), self.simulators)
        return self._story

    def firm(self) -> dict[str, Any]:
        """Return the firm of this seed."""
        from trueup.sandbox.world import firm

        return firm(self.seed)

    def state(self) -> dict[str, Any]:
        """Return where the story stands and what is under way."""
        story = None if self._partial else self.story()
        return {
            "stage": story.stage if story else None,
            "stages": list(story.stages) if story else [],
            "pending_webhooks": sum(sender.pending() for sender in self.senders.values()),
            "seed": self.seed,
            "faults": sorted(self.chaos.profiles),
            "hub": self.hub,
            "systems": sorted(self.simulators),
        }

    def dump(self) -> dict[str, dict[str, dict[str, Row]]]:
        """Return every row of every simulator: system -> table -> id -> row."""
        found: dict[str, dict[str, dict[str, Row]]] = {}
        for name, simulator in self.simulators.items():
            with simulator.lock:
                tables = simulator.store.tables.items()
                found[name] = {table: dict(rows) for table, rows in tables if not table.startswith("_")}
        return found

    def writes(self) -> dict[str, dict[str, int]]:
        """Return how often each write was committed: system -> "METHOD path" -> times; it survives a restart."""
        found: dict[str, dict[str, int]] = {}
        for name, simulator in self.simulators.items():
            with simulator.lock:
                rows = simulator.store.table("_writes").items()
                found[name] = {place: row["times"] for place, row in sorted(rows)}
        return found

    def close(self) -> None:
        """Stop sending and close the journals."""
        with self._late_lock:
            for timer in self._late:
                timer.cancel()
            for timer in self._late:
                timer.join()
        for sender in self.senders.values():
            sender.stop()
        for simulator in self.simulators.values():
            with simulator.lock:
                simulator.store.close()

    def _simulator(self, name: str, connector: Connector) -> Simulator:
        assert connector.simulator is not None
        entry = self.kept["systems"][name]
        knows = {**entry["credentials"], "base_url": entry["base_url"], "token_url": entry["token_url"]}
        store = Store(self.folder / "sim" / f"{name}.jsonl")
        return connector.simulator(connector.manifest, store, knows, entry["webhook_secret"])

    def _count_writes(self, system: str) -> None:
        simulator = self.simulators[system]
        for method, path in simulator.journal[self._counted[system] :]:
            place = f"{method} {path}"
            times = simulator.store.table("_writes").get(place, {"times": 0})["times"] + 1
            simulator.store.put("_writes", place, {"times": times})
        self._counted[system] = len(simulator.journal)
        simulator.store.flush()


def connectors(systems: Sequence[str] = (), extra: Sequence[Path] = ()) -> dict[str, Connector]:
    """Return the connectors that have a simulator, by name.

    systems  only these; empty for all
    extra    a workspace's `connectors/` folders
    """
    names = [
        name
        for name, folder in registry.folders(extra).items()
        if (folder / "sandbox.py").is_file() and (not systems or name in systems)
    ]
    missing = sorted(set(systems) - set(names))
    if missing:
        raise Broken(f"no simulator for {', '.join(missing)}")
    return {name: registry.load(name, extra) for name in names}


def application(host: Host, stop: Callable[[], None]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return the ASGI application; `stop` ends the server."""
    workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="sandbox")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _read(receive)
        run = asyncio.get_running_loop().run_in_executor
        system, _, path = scope["path"].lstrip("/").partition("/")
        request = Request(
            scope["method"],
            f"/{path}",
            parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            body,
        )
        if system == "_control":
            await _send(send, await run(workers, _control, host, path, request, stop))
        elif system in host.simulators:
            response, cut = await run(workers, _answer, host, system, request)
            await _send(send, response, cut=cut)
        else:
            await _send(send, Response(404, {"message": f"no system named {system}"}))

    return app


def _answer(host: Host, system: str, request: Request) -> tuple[Response, bool]:
    try:
        return host.answer(system, request)
    except Exception:
        traceback.print_exc()
        return Response(500, {"message": "the simulator itself failed; its log says why"}), False


def _control(host: Host, what: str, request: Request, stop: Callable[[], None]) -> Response:
    """Answer the switchboard."""
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {host.kept['control_token']}".encode()):
        return Response(401, {"message": "the control token is in credentials.json"})

    def set_faults(profiles: Any) -> Any:
        host.chaos.use(profiles["profiles"] if isinstance(profiles, dict) else profiles)
        return host.state()

    def set_hub(place: Any) -> Any:
        host.use_hub(str(place["url"]))
        return host.state()

    def end(_: Any) -> Any:
        stop()
        return {}

    answers: dict[tuple[str, str], Callable[[Any], Any]] = {
        ("GET", "state"): lambda _: host.state(),
        ("GET", "firm"): lambda _: host.firm(),
        ("GET", "dump"): lambda _: host.dump(),
        ("GET", "writes"): lambda _: host.writes(),
        ("POST", "advance"): lambda _: host.advance(),
        ("POST", "faults"): set_faults,
        ("POST", "hub"): set_hub,
        ("POST", "act"): lambda act: host.act(act["vendor"], act["method"], act.get("arguments", {})),
        ("POST", "stop"): end,
    }
    answer = answers.get((request.method, what))
    if answer is None:
        return Response(404, {"message": f"the switchboard has {', '.join(' '.join(key) for key in answers)}"})
    try:
        done = answer(request.json())
        return Response(200, json.dumps(done, default=str).encode())
    except (Broken, ValueError) as wrong:
        return Response(409, {"message": str(wrong)})
    except Exception:
        return Response(500, {"message": traceback.format_exc()})


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_REQUEST_BYTES or not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, response: Response, *, cut: bool = False) -> None:
    """Send an answer; cut: promise a body and hang up, as a network does that breaks in the wrong moment."""
    content = response.content()
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status != 204:
        headers.setdefault("content-type", "application/json;charset=UTF-8")
        headers["content-length"] = str(len(content) + (1 if cut else 0))
    if cut and response.status == 204:
        headers["content-length"] = "1"
    status = 200 if cut else response.status
    raw = [(name.encode("latin-1"), str(value).encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if cut else content, "more_body": cut})


def listen(port: int) -> socket.socket:
    """Take a port on this machine only; 0 takes a free one."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", port))
    taken.listen(256)
    return taken


class Stage:
    """One system of a running sandbox, as the connector suite wants it (`connectors.sdk.contract.Arena`)."""

    def __init__(self, host: Host, system: str) -> None:
        self.connection = host.connection(system)
        self.simulator = host.simulators[system]
        self._chaos = host.chaos
        self._system = system

    def fault(self, kind: str, *, writes: bool = False, late_seconds: float = LATEST_SECONDS) -> None:
        """Let the next request (or the next write) meet a fault, once."""
        self._chaos.force(self._system, kind, writes=writes, late_seconds=late_seconds)

    def relent(self) -> None:
        """Take back faults that have not happened."""
        self._chaos.relent(self._system)


class Running:
    """A sandbox in a thread of this process."""

    def __init__(self, host: Host, server: uvicorn.Server, thread: threading.Thread) -> None:
        self.host = host
        self.control = Control(host.folder)
        self.url: str = host.kept["url"]
        self._server = server
        self._thread = thread

    def connection(self, system: str) -> Connection:
        """Return the connection to one system."""
        return self.host.connection(system)

    def stage(self, system: str) -> Stage:
        """Return one system for the connector suite."""
        return Stage(self.host, system)

    def simulator(self, system: str) -> Simulator:
        """Return a simulator; change it only under its lock."""
        return self.host.simulators[system]

    def stop(self) -> None:
        """End the server and close the journals."""
        self._server.should_exit = True
        self._thread.join(LONGEST_START_SECONDS)
        self.host.close()


def start(folder: Path, *, port: int = 0, **options: Any) -> Running:
    """Start a sandbox in a thread; options as in Host."""
    place = listen(port)
    host = Host(folder, url=f"http://127.0.0.1:{place.getsockname()[1]}", **options)
    server = _server(host)
    thread = threading.Thread(target=server.run, args=([place],), name="sandbox", daemon=True)
    thread.start()
    until = time.monotonic() + LONGEST_START_SECONDS
    while not server.started:
        if time.monotonic() > until or not thread.is_alive():
            raise Broken("the sandbox did not start")
        time.sleep(0.005)
    return Running(host, server, thread)


@contextmanager
def running(folder: Path, *, port: int = 0, **options: Any) -> Iterator[Running]:
    """Run a sandbox in a thread for the length of a `with`; options as in Host."""
    sandbox = start(folder, port=port, **options)
    try:
        yield sandbox
    finally:
        sandbox.stop()


def _server(host: Host) -> uvicorn.Server:
    def stop() -> None:
        server.should_exit = True

    config = uvicorn.Config(
        application(host, stop),
        lifespan="off",
        log_level="critical",
        access_log=False,
        log_config=None,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    return server


def _alone(folder: Path) -> IO[str] | None:
    """Take a folder for this process, whose id is written into `sandbox.pid`; None when another process keeps it.

    Two sandboxes would write one journal. The lock goes with the process, however it ends; one that has been told to
    stop is waited for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "sandbox.pid").open("a", encoding="utf-8")
    until = time.monotonic() + LONGEST_STOP_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > until:
                file.close()
                return None
            time.sleep(0.05)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def main(words: Sequence[str] | None = None) -> None:
    """Run the sandbox until it is told to stop."""
    parser = argparse.ArgumentParser(prog="trueup.sandbox.host", description="Simulated vendors over real HTTP.")
    parser.add_argument("--dir", type=Path, required=True, help="folder for credentials and journals")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="which firm, and which faults")
    parser.add_argument(
        "--faults", default="", help="comma-separated: dup, ooo, drop, unk, 429, 5xx, slow, late, before, all"
    )
    parser.add_argument("--hub", default="", help="where webhooks go: URL without /hooks")
    parser.add_argument("--systems", default="", help="comma-separated; all when absent")
    chosen = parser.parse_args(words)
    mine = _alone(chosen.dir)
    if mine is None:
        sys.stderr.write(f"another sandbox runs over {chosen.dir.name}\n")
        raise SystemExit(TAKEN)
    place = listen(chosen.port)
    url = f"http://127.0.0.1:{place.getsockname()[1]}"
    host = Host(
        chosen.dir,
        url=url,
        seed=chosen.seed,
        faults=[name for name in chosen.faults.split(",") if name],
        hub=chosen.hub,
        systems=[name for name in chosen.systems.split(",") if name],
    )
    sys.stdout.write(f"sandbox {url}\n")
    sys.stdout.flush()
    try:
        _server(host).run(sockets=[place])
    finally:
        host.close()
        mine.close()


if __name__ == "__main__":
    main()

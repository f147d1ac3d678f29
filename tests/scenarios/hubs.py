"""A hub as its operator starts it: `trueup up` in processes of its own, over simulators that run in this one."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, LiteralString, TypeVar
from urllib.parse import urlsplit

from firms import END_SECONDS, TRUEUP, environment

from trueup.entrypoints import bootstrap
from trueup.entrypoints.demo import write_workspace
from trueup.sandbox import host
from trueup.settings import load
from trueup.store import access
from trueup.store.database import Database

PATIENCE_SECONDS = 90.0
POLL_SECONDS = 0.5
SCOPES = ("objects:read", "objects:write", "role:psa", "process:run", "work:read", "ops:read", "money:read")
"""What the tests' caller may do; it speaks for the PSA."""


Found = TypeVar("Found")


def eventually(look: Callable[[], Found], what: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """Return what is found as soon as it is something; fail when nothing is found in time."""
    ends = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < ends, f"after {seconds:g} s: {what}; found {found!r}"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Answer:
    """What the hub answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body."""
        return json.loads(self.body)


def call(
    url: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Make one call."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Hub:
    """One process of the hub."""

    def __init__(self, site: "Site", only: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{listen}"
        self.log = site.folder / f"hub-{len(site.hubs) + 1}.log"
        words = [str(TRUEUP), "up", "--workspace", str(site.workspace), *(("--only", only) if only else ())]
        settings = {"TRUEUP_DATABASE": site.database.url, "TRUEUP_LISTEN": listen}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment() | settings
            )

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(END_SECONDS)

    def stop(self) -> None:
        """Ask it to stop, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(END_SECONDS)
        finally:
            self.kill()


class Site:
    """Simulators, a workspace and a database, and the hubs at work over them."""

    def __init__(self, folder: Path, sandbox: host.Running, database_url: str) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.hubs: list[Hub] = []
        self.workspace = write_workspace(folder, sandbox.host.firm(), sandbox.control, "127.0.0.1:0")
        file = self.workspace / "trueup.yaml"
        file.write_text(file.read_text("utf-8").replace("poll_seconds: 2.0", f"poll_seconds: {POLL_SECONDS}"), "utf-8")
        settings = replace(load(self.workspace, {}), database=database_url)
        self.database: Database = bootstrap.open_database(settings, name="test")
        self._token = ""

    # --- the hub -------------------------------------------------------------------------------------------------

    def worker(self) -> Hub:
        """Start a process that only works; return when it is among the living."""
        return self._started("worker", lambda hub: hub.pid in self.living())

    def up(self) -> Hub:
        """Start a whole hub, and let the vendors call it; return when it answers."""
        hub = self._started("", lambda hub: hub.pid in self.living() and _answers(hub.url))
        self.sandbox.host.use_hub(hub.url)
        return hub

    def _started(self, only: str, ready: Callable[[Hub], bool]) -> Hub:
        hub = Hub(self, only)
        self.hubs.append(hub)
        eventually(lambda: ready(hub) or hub.process.poll() is not None, "the hub to start")
        assert hub.process.poll() is None, hub.log.read_text("utf-8")[-3000:]
        return hub

    def living(self) -> dict[int, str]:
        """Return who works, by the number of the process."""
        found = self.rows(
            "select executor, pid from executors where ended_at is null and host = %s", (socket.gethostname(),)
        )
        return {row["pid"]: row["executor"] for row in found}

    def close(self) -> None:
        """End every hub that still runs."""
        for hub in self.hubs:
            hub.kill()
        self.sandbox.host.use_hub("")
        self.database.close()

    # --- its answers ---------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, body: Any = None, *, at: int | None = None) -> Answer:
        """Call the API of the hub that runs, with a key of its own for each command.

        at  the version of the object that is to be changed
        """
        if not self._token:
            with self.database.transaction() as tx:
                self._token = access.issue(tx, "scenario", SCOPES)
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": os.urandom(8).hex()}
        if at is not None:
            headers["If-Match"] = f'"{at}"'
        raw = None if body is None else json.dumps(body).encode()
        return call(self.hubs[-1].url, method, f"/v1{path}", raw, headers)

    # --- its database --------------------------------------------------------------------------------------------

    def rows(self, sql: LiteralString, params: Any = None) -> list[dict[str, Any]]:
        """Return rows as they are committed now."""
        with self.database.transaction() as tx:
            return tx.rows(sql, params)

    def row(self, sql: LiteralString, params: Any = None) -> dict[str, Any] | None:
        """Return the first row, or None."""
        return next(iter(self.rows(sql, params)), None)

    def open_work(self) -> dict[str, int]:
        """Return what is still to be done."""
        found = self.row(
            """
            select (select count(*) from inbox where state = 'pending') as messages,
                (select count(*) from deliveries
                    where state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing')) as deliveries,
                (select count(*) from dbos.workflow_status where status in ('ENQUEUED', 'PENDING', 'DELAYED')) as processes
            """
        )
        return {name: int(count) for name, count in (found or {}).items() if count}

    # --- its vendors ---------------------------------------------------------------------------------------------

    def act(self, system: str, method: str, **arguments: Any) -> Any:
        """Do what a person does in one product."""
        return self.sandbox.host.act(system, method, arguments)

    def table(self, system: str, name: str) -> list[dict[str, Any]]:
        """Return what a product holds."""
        return list(self.sandbox.host.dump()[system].get(name, {}).values())


def _answers(url: str) -> bool:
    try:
        return call(url, "GET", "/healthz").status == 200
    except OSError:
        return False

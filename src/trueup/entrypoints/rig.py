"""The black-box rig: a real firm's months in real processes, over a real PostgreSQL, while everything is killed.

Simulators, a web process and two workers run as they do for a user; between workers and vendors stands a proxy that
loses answers; workers get SIGKILL and SIGSTOP, the database's first process gets SIGKILL. A driver lets the firm live
stage after stage, and after each holds all five systems against the oracle, which shares no code with the hub.
"""

import hashlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, TypeVar
from urllib.parse import urlsplit

from trueup.entrypoints import bootstrap
from trueup.entrypoints.demo import start_sandbox, write_workspace
from trueup.kernel.errors import Broken, Busy, Trouble
from trueup.processes import month_end, time_to_billing
from trueup.reporting.books import books
from trueup.sandbox.oracle import compare, expected, read_systems
from trueup.sandbox.rigs import caller, oracles
from trueup.sandbox.rigs.proxy import Proxy
from trueup.sandbox.verdict import duplicates
from trueup.settings import load
from trueup.store import embedded
from trueup.store.database import Database, Tx

Tell = Callable[[str], None]
Found = TypeVar("Found")
PROGRAM = [sys.executable, "-c", "from trueup.entrypoints.cli.main import main; main()"]
MONTHS = ("august", "september", "october")
WORKERS = 2
LAST = "october_posted"
QUIET_LOOKS = 3
MOST_TOLD = 5
REST_SECONDS = 420.0
CALLS_A_SECOND = 15
FAULTS = ("dup", "ooo", "drop", "unk", "429", "5xx")
"""What the simulators do by themselves, besides what the proxy and the killer do."""


@dataclass(slots=True)
class Figures:
    """What a rig has done and found."""

    firms: int = 0
    stages: int = 0
    acknowledged: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    network: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    takeovers: list[float] = field(default_factory=list)


class Process:
    """One process of the hub, started anew whenever it has ended."""

    def __init__(self, workspace: Path, log: Path, only: str, listen: str) -> None:
        self._words = [*PROGRAM, "up", "--workspace", str(workspace), "--only", only]
        self._log = log
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
        self._environment = kept | {"TRUEUP_LISTEN": listen}
        self.only = only
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def again(self) -> None:
        """Start it anew when it has ended."""
        if self.process.poll() is not None:
            self.process = self._start()

    def send(self, what: signal.Signals) -> None:
        """Send a signal, when it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(what)

    def end(self) -> None:
        """Kill it for good."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        self.process.wait(15)


class Rig:
    """One firm in one folder, and everything that happens to it."""

    def __init__(self, folder: Path, seed: int, figures: Figures, tell: Tell) -> None:
        self.figures = figures
        self.tell = tell
        self.dice = random.Random(seed)
        self.control = start_sandbox(folder / "sandbox", seed, FAULTS, lambda text: None)
        place = urlsplit(self.control.url)
        self.proxy = Proxy(place.hostname or "127.0.0.1", place.port or 80, seed).start()
        self.firm = self.control.firm()
        self.listen = f"127.0.0.1:{_free_port()}"
        self.workspace = write_workspace(folder, self.firm, self.control, self.listen)
        file = self.workspace / "trueup.yaml"
        text = file.read_text("utf-8").replace("poll_seconds: 2.0", "poll_seconds: 1.0")
        # Tokens are asked for past the proxy: what signs them names the vendor's own address.
        text = text.replace(f"base_url: http://{place.netloc}", f"base_url: http://127.0.0.1:{self.proxy.port}")
        file.write_text(text, "utf-8")
        self.settings = load(self.workspace, {})
        self.database: Database = bootstrap.open_database(self.settings, name="trueup-rig")
        self.secret = self.control.connection(caller.SYSTEM).webhook_secret
        self.kept: dict[str, str] = {}
        self._over = threading.Event()
        self._storm = threading.Event()
        self._calls = 0
        self.processes = [
            Process(self.workspace, folder / f"worker-{n}.log", "worker", self.listen) for n in range(WORKERS)
        ]
        self.web = Process(self.workspace, folder / "web.log", "web", self.listen)
        self.control.hub(f"http://{self.listen}")
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._kill, self._call)]
        for thread in self._threads:
            thread.start()

    # --- the story -----------------------------------------------------------------------------------------------

    def live(self, ends: float) -> None:
        """Let the firm live until its story is over, or the time is; judge after each stage.

        ends  on the monotonic clock
        """
        stages = self.control.state()["stages"]
        for stage in stages[:-1]:  # what the last one plants is for the tie-out to find, not for the hub to do
            if time.monotonic() > ends:
                return
            self._storm.set()
            self._patiently(self.control.advance)
            self._follow(stage)
            self.calm(stage)
            self.figures.stages += 1
        self.figures.firms += 1

    def _follow(self, stage: str) -> None:
        """Do the operator's part of a stage: bill or close the month."""
        name, _, posted = stage.partition("_")
        if name not in MONTHS:
            return
        self._rest(stage)
        month = self.firm["months"][MONTHS.index(name)]
        start = month_end.start if posted else time_to_billing.start

        def begin() -> None:
            with self.database.transaction() as tx:
                for entity in self.settings.entities:
                    start(tx, month, entity)

        self._patiently(begin)

    def calm(self, stage: str) -> None:
        """Let everything that is under way end, with the network still bad; then judge."""
        self._rest(stage)
        self._storm.clear()
        self._rest(stage)
        found = [f"{stage}: {one}" for one in self._judge(stage)]
        self.figures.violations += found
        for one in found[:MOST_TOLD]:
            self.tell(f"  {one}")
        self.tell(f"{stage.replace('_', ' ')}: {sum(self.figures.killed.values())} killed or stopped, "
                  f"{sum(self.figures.network.values())} answers lost, {len(self.figures.violations)} violations")  # fmt: skip

    def _rest(self, stage: str) -> None:
        """Wait until the vendors have nothing more to say and the hub has nothing more to do."""
        began = self._patiently(lambda: self._value("select now()"))
        ends = time.monotonic() + REST_SECONDS
        quiet = 0
        while quiet < QUIET_LOOKS:
            if time.monotonic() > ends:
                raise Broken(f"{stage}: the hub did not come to rest: {self._patiently(self._open)}")
            time.sleep(0.7)
            quiet = quiet + 1 if not self._patiently(lambda: self._busy(began)) else 0

    def _busy(self, began: Any) -> bool:
        """Say whether anything is under way, or a system was not asked since a moment."""
        unread = self._value(
            "select count(*) from (select system, max(read_at) as at from cursors group by 1) c where at < %s", began
        )
        return bool(unread or sum(self._open().values()) or self.control.state()["pending_webhooks"])

    def _open(self) -> dict[str, int]:
        with self.database.transaction() as tx:
            found = tx.row(
                """
                select (select count(*) from inbox where state = 'pending') as messages,
                    (select count(*) from deliveries
                     where not (state = any('{confirmed,rejected,parked,superseded,compensated}'))) as deliveries,
                    (select count(*) from dbos.workflow_status where status in ('ENQUEUED', 'PENDING', 'DELAYED'))
                        as processes
                """
            )
        return {name: int(count) for name, count in (found or {}).items()}

    def _value(self, sql: LiteralString, *params: Any) -> Any:
        with self.database.transaction() as tx:
            return tx.value(sql, params)

    def _patiently(self, work: Callable[[], Found]) -> Found:
        """Do something again while the database or the simulators are away."""
        ends = time.monotonic() + REST_SECONDS
        while True:
            try:
                return work()
            except (Busy, OSError) as away:
                if time.monotonic() > ends:
                    raise Broken(f"the database did not come back: {away}") from away
                time.sleep(0.3)

    # --- what is judged ------------------------------------------------------------------------------------------

    def _judge(self, stage: str) -> list[str]:
        truth = expected(self.firm, stage)
        dump = self.control.dump()
        found = duplicates(dump)
        found += [f"systems.{line}" for line in compare(truth["systems"], read_systems(dump))]

        def look() -> list[str]:
            with self.database.transaction() as tx:
                if stage != LAST:  # in the middle of the story the books have parts the oracle has not worked out
                    return self._ledgers(tx)
                return [f"books.{line}" for line in compare(truth["books"], books(tx))] + self._ledgers(tx)

        return found + self._patiently(look)

    def _ledgers(self, tx: Tx) -> list[str]:
        states = {row["state"]: int(row["n"]) for row in tx.rows("select state, count(*) as n from inbox group by 1")}
        received = int(tx.value("select count(*) from inbox"))
        unruled = int(tx.value("select count(*) from inbox where state = 'ignored' and rule is null"))
        rows = tx.rows("select key, state, cause from deliveries order by key")
        kept = {
            row["external_id"]: hashlib.sha256(bytes(row["body"])).hexdigest()
            for row in tx.rows(
                "select external_id, body from inbox where lane = 'notice' and starts_with(external_id, %s)",
                (caller.MARK,),
            )
        }
        versions = tx.tuples("select gid, version from changes order by number")
        found = oracles.unaccounted(received, states, unruled) + oracles.unsettled(rows)
        found += oracles.backwards([(str(gid), int(version)) for gid, version in versions])
        return found + oracles.lost(dict(self.kept), kept)

    # --- what happens to it --------------------------------------------------------------------------------------

    def _kill(self) -> None:
        """Kill and stop processes and the database, one thing after another, while the storm lasts."""
        while not self._over.wait(self.dice.uniform(1.5, 5.0)):
            for one in (*self.processes, self.web):
                one.again()
            if not self._storm.is_set():
                self.proxy.weather.clear()
                continue
            weather = self.proxy.weather
            weather.swallow, weather.cut = self.dice.choice((0.0, 0.02, 0.08)), self.dice.choice((0.0, 0.02))
            weather.reset, weather.delay = self.dice.choice((0.0, 0.03)), self.dice.choice((0.0, 0.1))
            self.figures.network = self.figures.network + weather.met
            weather.met.clear()
            with suppress(Trouble, OSError):
                self._strike(self.dice.choice(("worker", "worker", "worker", "pause", "web", "database", "nothing")))

    def _strike(self, what: str) -> None:
        victim = self.dice.choice(self.processes)
        if what == "worker":
            victim.send(signal.SIGKILL)
        elif what == "web":
            self.web.send(signal.SIGKILL)
        elif what == "pause":
            victim.send(signal.SIGSTOP)
            self._over.wait(self.dice.uniform(2.0, 15.0))
            victim.send(signal.SIGCONT)
        elif what == "database":
            os.kill(self._postmaster(), signal.SIGKILL)
            time.sleep(self.dice.uniform(0.0, 1.0))
            embedded.start(self.settings.home)
        if what != "nothing":
            self.figures.killed[what] += 1

    def _postmaster(self) -> int:
        """Return the number of the database's first process."""
        return int(self._value("select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))

    def _call(self) -> None:
        """Be a vendor that calls all the time, and keep a journal of what was acknowledged."""
        while not self._over.wait(1 / CALLS_A_SECOND):
            if not self._storm.is_set():
                continue
            self._calls += 1
            one = caller.call(self.secret, self._calls)
            host, _, port = self.listen.partition(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=10)
            try:
                connection.request("POST", f"/hooks/{caller.SYSTEM}", one.body, one.headers)
                if connection.getresponse().status == 200:
                    self.kept[one.record] = hashlib.sha256(one.body).hexdigest()
                    self.figures.acknowledged += 1
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every process of this firm."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        for one in (*self.processes, self.web):
            one.end()
        self.figures.network = self.figures.network + self.proxy.weather.met
        self.proxy.stop()
        self.database.close()
        with suppress(Trouble, OSError):
            self.control.stop()
        embedded.destroy(self.settings.home)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def _firm(folder: Path, seed: int, figures: Figures, tell: Tell) -> Iterator[Rig]:
    made = Rig(folder, seed, figures, tell)
    try:
        yield made
    finally:
        made.close()


def run(folder: Path, minutes: float, seed: int, tell: Tell) -> dict[str, Any]:
    """Let firms live one after another until the time is over; return the figures.

    seed    the first firm; the next one has the next seed
    """
    figures = Figures()
    began = time.monotonic()
    ends = began + minutes * 60
    number = seed
    while time.monotonic() < ends:
        tell(f"firm of seed {number}")
        try:
            with _firm(folder / f"firm-{number}", number, figures, tell) as made:
                made.live(ends)
        except Broken as stuck:
            figures.violations.append(str(stuck))
        number += 1
    return {
        "seed": seed, "minutes": round((time.monotonic() - began) / 60, 1), "firms": figures.firms, "stages": figures.stages,
        "acknowledged": figures.acknowledged, "killed": dict(sorted(figures.killed.items())),
        "network": dict(sorted(figures.network.items())), "failures": len(figures.violations),
        "violations": figures.violations[:50],
    }  # fmt: skip

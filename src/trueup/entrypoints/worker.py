"""The hands of the house: threads that poll, take in, deliver, and run processes, over one database.

Any number of these may run over one database, in one process or many; claims and leases keep them apart.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from trueup import engine
from trueup.kernel.errors import Refused, Trouble
from trueup.pipeline.deliver import deliver
from trueup.pipeline.house import House, System
from trueup.pipeline.ingest import ingest
from trueup.pipeline.poll import fetch_announced, poll_all
from trueup.pipeline.publish import Publisher
from trueup.pipeline.read_back import read_back
from trueup.processes import reconciliation
from trueup.reporting import watchdog
from trueup.store import deliveries, inbox

log = structlog.get_logger("trueup.worker")
IDLE_SECONDS = 0.05
TROUBLE_SECONDS = 0.5
READ_BACK_SECONDS = 2.0
WATCH_SECONDS = 30.0


class Workers:
    """All lanes of one process."""

    def __init__(
        self, house: House, engine_: engine.Engine, *, poll_seconds: float = 60.0, tie_out_seconds: float = 0.0
    ) -> None:
        """Take a house and an engine that is not launched yet.

        tie_out_seconds  between two comparisons of what changed, whichever worker begins them; 0 begins none
        """
        self.house = house
        self.tie_out_seconds = tie_out_seconds
        self.engine = engine_
        self.poll_seconds = poll_seconds
        self.name = ""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._wake = {name: threading.Event() for name in house.systems}
        self._publisher: Publisher | None = None
        self._requests = 0
        self._answered = dict.fromkeys(house.systems, 0)
        self._fresh = dict.fromkeys(house.systems, 0)
        self._pools = {
            name: ThreadPoolExecutor(system.client.manifest.limits.concurrency, thread_name_prefix=f"deliver-{name}")
            for name, system in house.systems.items()
        }

    def start(self) -> "Workers":
        """Begin to work."""
        self.engine.launch(self.house)
        self.name = self.engine.executor
        lanes: list[tuple[str, Callable[[], int]]] = [
            ("ingest-master", lambda: ingest(self.house, "master")),
            ("ingest-volume", lambda: ingest(self.house, "volume")),
            ("fetch", lambda: fetch_announced(self.house, self.name)),
        ]
        for system in self.house.systems.values():
            lanes.append((f"deliver-{system.name}", self._delivering(system)))
        for name, lane in lanes:
            self._thread(name, self._repeat, name, lane)
        for system in self.house.systems.values():
            self._thread(f"poll-{system.name}", self._poll, system)
        self._thread("wake", self._wake_missed)
        self._publisher = Publisher(self.house, self.name)
        self._thread("publish", self._publish, self._publisher)
        self._thread("read-back", self._read_back)
        self._thread("watch", self._watch)
        if self.tie_out_seconds:
            self._thread("tie-out", self._compare)
        return self

    def stop(self) -> None:
        """Finish what is in hand and stop."""
        self._stop.set()
        if self._publisher:
            self._publisher.stop()
        for event in self._wake.values():
            event.set()
        for thread in self._threads:
            thread.join(timeout=10)
        self.engine.stop()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def wait(self) -> None:
        """Work until somebody stops us."""
        while not self._stop.wait(1.0):
            pass

    def poll_now(self, ends: float) -> bool:
        """Ask every system once more, from beginning to end, and wait for the answers; False when the time ran out."""
        self._requests += 1
        mine = self._requests
        for event in self._wake.values():
            event.set()
        while any(answered < mine for answered in self._answered.values()):
            if time.monotonic() > ends or self._stop.wait(0.02):
                return False
        return True

    def settle(self, timeout: float = 600.0, tell: Callable[[dict[str, int]], None] | None = None) -> bool:
        """Wait until everything that can be done is done: a whole poll of every system brought nothing new.

        Returns   False when the time ran out.
        """
        ends = time.monotonic() + timeout
        while self._drain(ends, tell):
            brought = dict(self._fresh)
            if not self.poll_now(ends):
                return False
            if self._fresh == brought and not any(self.open_work().values()):
                return True
        return False

    def _drain(self, ends: float, tell: Callable[[dict[str, int]], None] | None) -> bool:
        while True:
            left = self.open_work()
            if tell:
                tell(left)
            if not any(left.values()):
                return True
            if time.monotonic() > ends or self._stop.is_set():
                return False
            time.sleep(0.05)

    def open_work(self) -> dict[str, int]:
        """Return what is still to be done: messages, deliveries, processes."""
        with self.house.database.transaction() as tx:
            return {
                "messages": inbox.open_count(tx),
                "deliveries": deliveries.open_count(tx),
                "processes": engine.unfinished(tx),
            }

    def _thread(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _delivering(self, system: System) -> Callable[[], int]:
        return lambda: deliver(self.house, system, self.name, self._pools[system.name])

    def _repeat(self, name: str, lane: Callable[[], int]) -> None:
        while not self._stop.is_set():
            try:
                if lane() == 0:
                    self._stop.wait(IDLE_SECONDS)
            except Trouble as trouble:
                log.warning("lane.waited", lane=name, reason=str(trouble)[:200])
                self._stop.wait(TROUBLE_SECONDS)
            except Exception:
                log.exception("lane.failed", lane=name)
                self._stop.wait(TROUBLE_SECONDS)

    def _poll(self, system: System) -> None:
        event = self._wake[system.name]
        while not self._stop.is_set():
            event.clear()
            request = self._requests
            pause = self.poll_seconds
            try:
                self._fresh[system.name] += poll_all(self.house, system, lambda seconds: not self._stop.wait(seconds))
                self._answered[system.name] = request
            except Refused as no:
                log.error("poll.refused", system=system.name, reason=str(no)[:200])
                pause = min(self.poll_seconds, 5.0)
            except Trouble as trouble:
                log.warning("poll.waited", system=system.name, reason=str(trouble)[:200])
                pause = min(getattr(trouble, "retry_after", None) or 1.0, self.poll_seconds)
            except Exception:
                log.exception("poll.failed", system=system.name)
                pause = min(self.poll_seconds, 5.0)
            event.wait(pause)

    def _publish(self, publisher: Publisher) -> None:
        while not self._stop.is_set():
            try:
                publisher.run()
                return
            except Exception:
                log.exception("lane.failed", lane="publish")
                self._stop.wait(TROUBLE_SECONDS)

    def _read_back(self) -> None:
        while not self._stop.wait(READ_BACK_SECONDS):
            for system in self.house.systems.values():
                try:
                    read_back(self.house, system)
                except Trouble as trouble:
                    log.warning("read_back.waited", system=system.name, reason=str(trouble)[:200])
                except Exception:
                    log.exception("read_back.failed", system=system.name)

    def _wake_missed(self) -> None:
        while not self._stop.wait(2.0):
            try:
                with self.house.database.transaction() as tx:
                    inbox.wake_missed(tx)
            except Trouble as trouble:
                log.warning("wake.waited", reason=str(trouble)[:200])

    def _watch(self) -> None:
        """Say what does not progress: once when it begins, and once when it is over."""
        known: set[tuple[str, str]] = set()
        while not self._stop.wait(WATCH_SECONDS):
            try:
                with self.house.database.transaction() as tx:
                    found = {(one.kind, one.key): one for one in watchdog.stalled(tx)}
            except Trouble as trouble:
                log.warning("watch.waited", reason=str(trouble)[:200])
                continue
            for key in found.keys() - known:
                one = found[key]
                log.error("work.stalled", kind=one.kind, key=one.key, what=one.sentence, since=one.since.isoformat())
            for kind, name in known - found.keys():
                log.info("work.moved", kind=kind, key=name)
            known = set(found)

    def _compare(self) -> None:
        """Begin a comparison of what changed when its time has come; one worker of all begins it."""
        while not self._stop.wait(self.tie_out_seconds):
            try:
                with self.house.database.transaction() as tx:
                    reconciliation.start_continuous(tx, self.tie_out_seconds)
            except Trouble as trouble:
                log.warning("tie_out.waited", reason=str(trouble)[:200])

"""Sends the simulators' webhooks to the hub, the way vendors do: again and again until somebody takes them."""

import http.client
import threading
from urllib.parse import urlsplit

from trueup.connectors.sdk.simulate import Outgoing, Simulator
from trueup.sandbox.chaos import Chaos

ANSWER_SECONDS = 20
FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 3.0
IDLE_SECONDS = 0.25  # a person in a test may act on a simulator directly, and wakes nobody
BATCH = 500  # signed together: the last one must still be fresh when it goes out
TAKEN_OR_HOPELESS = frozenset({400, 401, 404, 410})


class Sender:
    """One system's outgoing webhooks; a thread of its own, so that nobody waits for the hub but the webhooks."""

    def __init__(self, system: str, simulator: Simulator, chaos: Chaos) -> None:
        self.system = system
        self.hub = ""
        self._simulator = simulator
        self._chaos = chaos
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._connected_to = ""
        self._thread = threading.Thread(target=self._run, name=f"webhooks-{system}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """Look for waiting webhooks now."""
        self._wake.set()

    def use(self, hub: str) -> None:
        """Send to this hub from now on; an empty address keeps everything waiting."""
        self.hub = hub.rstrip("/")
        self._wake.set()

    def pending(self) -> int:
        """Return how many webhooks wait."""
        with self._simulator.lock:
            return len(self._simulator.store.table("_outgoing"))

    def stop(self) -> None:
        """End the thread; what waits is kept in the journal."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(ANSWER_SECONDS)
        self._close()

    def _run(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while not self._stopped.is_set():
            self._wake.clear()
            if not self.hub or not self.pending():
                self._wake.wait(IDLE_SECONDS)
            elif self._send_waiting():
                wait = FIRST_WAIT_SECONDS
            else:
                self._stopped.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _send_waiting(self) -> bool:
        """Send what waits, in order; False when the hub did not take one and it must be tried again."""
        waiting = list(self._simulator.outgoing())[:BATCH]
        for number, outgoing in self._chaos.order(self.system, waiting):
            for _ in range(self._chaos.deliveries(self.system, number)):
                if self._stopped.is_set() or not self.hub:
                    return True
                status = self._post(outgoing)
                if not (200 <= status < 300 or status in TAKEN_OR_HOPELESS):
                    return False
            self._simulator.sent(number)
        return True

    def _post(self, outgoing: Outgoing) -> int:
        """Return the hub's status, 0 when it could not be reached."""
        for fresh in (False, True):
            place = urlsplit(self.hub)
            if fresh or self._connection is None or self._connected_to != place.netloc:
                self._close()
                self._connected_to = place.netloc
                self._connection = http.client.HTTPConnection(
                    place.hostname or "", place.port or 80, timeout=ANSWER_SECONDS
                )
            path = f"{place.path}/hooks/{self.system}"
            try:
                self._connection.request("POST", path, outgoing.body, dict(outgoing.headers))
                answer = self._connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                continue  # an idle connection may have been closed: once more with a new one
            return answer.status
        self._close()
        return 0

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

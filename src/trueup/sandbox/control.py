"""The person at the sandbox's switchboard: advances the story, sets faults, looks behind the vendors' walls."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trueup.connectors.sdk.wire import Connection
from trueup.kernel.errors import Broken
from trueup.sandbox.credentials import connection

START_SECONDS = 30
CALL_SECONDS = 300


class Control:
    """Calls a running sandbox's control API, from the credentials file in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, Any] = json.loads((folder / "credentials.json").read_text("utf-8"))
        self.url: str = self.kept["url"]

    @property
    def systems(self) -> list[str]:
        """The names of the systems that have credentials."""
        return sorted(self.kept["systems"])

    def connection(self, system: str) -> Connection:
        """Return the connection to one system."""
        return connection(self.kept, system)

    def state(self) -> dict[str, Any]:
        """Return {stage, stages, pending_webhooks, seed, faults, hub, systems}."""
        return dict(self.call("GET", "state"))

    def advance(self) -> dict[str, Any]:
        """Let the story's people do the next stage's work; return the new state."""
        return dict(self.call("POST", "advance"))

    def firm(self) -> dict[str, Any]:
        """Return the firm everything is about."""
        return dict(self.call("GET", "firm"))

    def dump(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return system -> table -> id -> row."""
        return dict(self.call("GET", "dump"))

    def writes(self) -> dict[str, dict[str, int]]:
        """Return system -> "METHOD path" -> how often the vendor has committed it."""
        return dict(self.call("GET", "writes"))

    def faults(self, profiles: Sequence[str]) -> dict[str, Any]:
        """Replace the faults in force."""
        return dict(self.call("POST", "faults", list(profiles)))

    def hub(self, url: str) -> dict[str, Any]:
        """Send webhooks to this hub from now on."""
        return dict(self.call("POST", "hub", {"url": url}))

    def act(self, system: str, method: str, **arguments: Any) -> Any:
        """Do what a person does in one product; return what the simulator's method returns."""
        return self.call("POST", "act", {"vendor": system, "method": method, "arguments": arguments})

    def stop(self) -> None:
        """End the sandbox."""
        self.call("POST", "stop")

    def call(self, method: str, what: str, body: Any = None) -> Any:
        """Call one path under `/_control`.

        Raises    Broken with the sandbox's own words.
        """
        place = urlsplit(self.url)
        to_sandbox = http.client.HTTPConnection(place.hostname or "", place.port, timeout=CALL_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {self.kept['control_token']}", "Content-Type": "application/json"}
            to_sandbox.request(method, f"/_control/{what}", json.dumps(body) if body is not None else None, headers)
            answer = to_sandbox.getresponse()
            raw = answer.read()
        finally:
            to_sandbox.close()
        if answer.status != 200:
            raise Broken(f"sandbox {what}: {raw.decode('utf-8', 'replace')[:2000]}")
        return json.loads(raw)


@contextmanager
def process(
    folder: Path,
    *,
    seed: int = 1,
    port: int = 0,
    faults: Sequence[str] = (),
    hub: str = "",
    systems: Sequence[str] = (),
) -> Iterator[Control]:
    """Run the sandbox as a process of its own for the length of a `with`; killed at the end if it does not stop.

    port     0 takes a free one
    systems  only these; empty for all
    """
    words = [
        sys.executable,
        "-m",
        "trueup.sandbox.host",
        "--dir",
        str(folder),
        "--seed",
        str(seed),
        "--port",
        str(port),
    ]
    for option, value in (("--faults", ",".join(faults)), ("--hub", hub), ("--systems", ",".join(systems))):
        words += [option, value] if value else []
    running = subprocess.Popen(words, stdout=subprocess.PIPE, env=dict(os.environ), text=True)
    try:
        if running.stdout is None or not running.stdout.readline().startswith("sandbox "):
            raise Broken(f"the sandbox did not start (exit code {running.wait(START_SECONDS)})")
        yield Control(folder)
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        if running.stdout is not None:
            running.stdout.close()

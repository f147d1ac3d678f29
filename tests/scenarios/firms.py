"""The demo as its owner starts it: a command in a process of its own, over a folder; everything is ended by its id."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from trueup.kernel.errors import Trouble
from trueup.sandbox.control import Control
from trueup.store import embedded

TRUEUP = Path(sys.executable).with_name("trueup")
RUN_SECONDS = 600
END_SECONDS = 15


@dataclass(frozen=True)
class Finished:
    """How a run of the command ended.

    done    what `Firm.done` counts at the end
    """

    code: int
    figures: dict[str, Any]
    seconds: float
    told: str
    done: int = 0


class Running:
    """`trueup demo --once --json` at work; its words are kept in the folder beside the firm's."""

    def __init__(self, folder: Path, options: Sequence[str], number: int) -> None:
        self.told = folder.with_name(f"{folder.name}-{number}.err")
        self.said = folder.with_name(f"{folder.name}-{number}.json")
        words = [str(TRUEUP), "demo", "--once", "--json", "--dir", str(folder), *options]
        self.began = time.monotonic()
        with self.told.open("wb") as told, self.said.open("wb") as said:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=said, stderr=told, env=environment()
            )

    def wait(self, seconds: float = RUN_SECONDS) -> Finished:
        """Wait for the figures."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end after {seconds:g} s:\n{self.told.read_text('utf-8')[-4000:]}") from None
        took = time.monotonic() - self.began
        said, told = self.said.read_text("utf-8"), self.told.read_text("utf-8")
        assert said, f"exit code {code} and no figures:\n{told[-4000:]}"
        return Finished(code, json.loads(said), took, told)

    def kill(self) -> None:
        """End the hub as a power cut does; simulators and database are processes of their own and live on."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(END_SECONDS)


class Firm:
    """One demo folder, and whatever runs for it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self._started: list[Running] = []

    def start(self) -> Running:
        """Start the demo, or go on where it was killed."""
        running = Running(self.folder, self.options, len(self._started) + 1)
        self._started.append(running)
        return running

    def run(self) -> Finished:
        """Let the demo run from its beginning to its end, or go on to it."""
        return self.start().wait()

    def done(self) -> int:
        """Count what the hub knows and what it has done by now: objects, and writes that are confirmed."""
        place = self.folder / "workspace" / ".trueup"
        if not (place / "pg.json").exists():
            return 0
        with psycopg.connect(embedded.start(place)) as connection:
            (made,) = connection.execute(
                "select to_regclass('objects') is not null and to_regclass('deliveries') is not null"
            ).fetchone()
            if not made:
                return 0
            (count,) = connection.execute(
                "select (select count(*) from objects) + (select count(*) from deliveries where state = 'confirmed')"
            ).fetchone()
            return int(count)

    def close(self) -> None:
        """End the hub, the simulators and the database, whichever of them runs; remove their files."""
        with contextlib.ExitStack() as all_of_it:
            all_of_it.callback(shutil.rmtree, self.folder, ignore_errors=True)
            all_of_it.callback(embedded.destroy, self.folder / "workspace" / ".trueup")
            all_of_it.callback(end_sandbox, self.folder / "sandbox")
            for running in self._started:
                all_of_it.callback(running.kill)


def environment() -> dict[str, str]:
    """Return this process's environment without settings of a hub that somebody runs here.

    Compiled code is kept in a folder for tests, so that a started hub is at work as soon as an installed one.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "trueup-compiled")}


def end_sandbox(folder: Path) -> None:
    """Ask a folder's simulators to stop; kill them by their id when they do not."""
    with contextlib.suppress(Trouble, OSError, ValueError):
        Control(folder).stop()
    written = folder / "sandbox.pid"
    if not written.exists():
        return
    pid = int(written.read_text("utf-8"))
    ends = time.monotonic() + END_SECONDS
    while _lives(pid, folder):
        if time.monotonic() > ends:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def _lives(pid: int, folder: Path) -> bool:
    """Say whether the process of this id is still the folder's sandbox, and not somebody else with its old number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return False
    return "trueup.sandbox.host" in words and str(folder) in words


def without_time(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures without what differs from run to run."""
    return {name: value for name, value in figures.items() if name != "seconds"}

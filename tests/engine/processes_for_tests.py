"""Processes that leave traces in a table, and a worker that runs them until its standard input ends.

Run as a program with the URL of a database: says `ready` and its executor's name when it works.
"""

import sys
import time
from dataclasses import dataclass
from typing import Any

from trueup import engine
from trueup.kernel.errors import Broken, Busy, Held
from trueup.store.database import Database

SECONDS = 60.0
TABLES = """
create table if not exists traces (
    number int generated always as identity, key text, word text, executor text, at timestamptz default clock_timestamp());
create table if not exists gates (name text primary key, state text not null)
"""


@dataclass
class Place:
    """What the processes of this file are handed."""

    database: Database
    executor: str = ""


def trace(place: Place, key: str, word: str) -> dict[str, Any]:
    """Leave a trace; gives its number, as JSON."""
    with place.database.transaction() as tx:
        number = tx.value(
            "insert into traces (key, word, executor) values (%s, %s, %s) returning number", (key, word, place.executor)
        )
    return {"number": number, "words": [word, None, "1.10"]}


def gate(place: Place, name: str) -> str | None:
    """Return what a gate says."""
    with place.database.transaction() as tx:
        return tx.text("select state from gates where name = %s", (name,))


def wait_for(place: Place, name: str) -> str:
    """Wait until a gate says something."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        found = gate(place, name)
        if found is not None:
            return found
        time.sleep(0.02)
    raise Broken(f"nobody opened {name}")


def pass_when_mended(place: Place, name: str) -> str:
    """Fail as a fault of ours does until the gate says `mended`."""
    trace(place, name, "tried")
    if gate(place, name) != "mended":
        raise Broken(f"{name} is not mended")
    return "passed"


def third_time(place: Place, name: str) -> int:
    """Ask for patience twice, then pass."""
    tried = trace(place, name, "tried")["number"]
    with place.database.transaction() as tx:
        times = int(tx.value("select count(*) from traces where key = %s and word = 'tried'", (name,)))
    if times < 3:
        raise Busy("not yet")
    return int(tried)


def refuse_to_go_on(place: Place, name: str) -> None:
    """Need a person."""
    trace(place, name, "tried")
    raise Held("a person has to look", "MANUAL")


@engine.process
def two_steps(work: engine.Work, name: str) -> Any:
    """Hand the first step's result to the second."""
    first = work.step(trace, name, "one")
    return work.step(trace, name, f"two after {first['number']} {first['words']}")


@engine.process
def long_wait(work: engine.Work, name: str) -> Any:
    """Begin, wait for a gate, end."""
    first = work.step(trace, name, "begun")
    said = work.step(wait_for, name)
    return work.step(trace, name, f"ended {said} after {first['number']}")


@engine.process
def stumble(work: engine.Work, name: str) -> Any:
    """Pass a place that is broken until somebody mends it."""
    work.step(trace, name, "before")
    work.step(pass_when_mended, name)
    return work.step(trace, name, "after")


@engine.process
def patience(work: engine.Work, name: str) -> Any:
    """Try a step that asks for patience."""
    return work.step(third_time, name)


@engine.process
def hold(work: engine.Work, name: str) -> Any:
    """Come to a step that wants a person."""
    return work.step(refuse_to_go_on, name)


@engine.process
def many_steps(work: engine.Work, name: str) -> Any:
    """Leave ten traces, a remembered step each."""
    return [work.step(trace, name, str(number))["number"] for number in range(10)]


@engine.process
def deployed(work: engine.Work, name: str) -> Any:
    """Begin, wait for a hold that a person releases, and end: by other code when another release runs it."""
    work.step(trace, name, "begun")
    work.step(wait_for, name)
    return work.step(trace, name, CODE)


CODE = "ended by the first release"
"""What the code of this release leaves at the end; a later release says something else."""


def main(url: str, release: str = "") -> None:
    """Work until standard input ends."""
    global CODE
    CODE = release or CODE
    database = Database(url, size=6).open()
    running = engine.Engine(database)
    place = Place(database)
    running.launch(place)
    place.executor = running.executor
    sys.stdout.write(f"ready {place.executor}\n")
    sys.stdout.flush()
    sys.stdin.read()
    running.stop()
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

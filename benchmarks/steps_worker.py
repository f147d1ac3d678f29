"""A worker whose processes leave a row for each step; the row has no key, so that a step done twice is there twice.

Run as a program with the URL of a database: works until its input ends.
"""

import sys
from dataclasses import dataclass
from typing import Any

from trueup import engine
from trueup.store.database import Database

JOURNAL = """
create table if not exists steps_done (process text, step text, executor text, at timestamptz default clock_timestamp())
"""


@dataclass
class Place:
    """What a step is handed."""

    database: Database
    executor: str = ""


def leave(place: Place, process: str, step: str) -> str:
    """Write the step into the journal."""
    with place.database.transaction() as tx:
        tx.run("insert into steps_done (process, step, executor) values (%s, %s, %s)", (process, step, place.executor))
    return step


@engine.process
def leave_three(work: engine.Work, name: str) -> Any:
    """Do three steps."""
    return [work.step(leave, name, str(number)) for number in range(3)]


def main(url: str) -> None:
    """Work until standard input ends."""
    database = Database(url, size=8).open()
    running = engine.Engine(database)
    place = Place(database)
    running.launch(place)
    place.executor = running.executor
    sys.stdin.read()
    running.stop()
    database.close()


if __name__ == "__main__":
    main(sys.argv[1])

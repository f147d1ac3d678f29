"""A worker that closes months of the small firm slowly, step by step, so that it can be killed between any two.

Run as a program with the URL of a database that holds the small firm: says `ready`, works until its input ends.
"""

import sys
import time

import small_firm
from trueup import engine
from trueup.processes import period_close
from trueup.store.database import Database

PAUSE_SECONDS = 0.5
STEPS = (
    "look_at_unapproved", "look_at_holds", "look_at_unbilled", "look_at_drafts", "look_at_tie_out", "book_revenue",
    "look_at_accruals", "look_at_journals", "look_at_numbers", "look_at_margin", "freeze",
)  # fmt: skip


def slowly(name):
    """Return a step that pauses before it does what it does."""
    sound = getattr(period_close, name)

    def step(*arguments):
        time.sleep(PAUSE_SECONDS)
        return sound(*arguments)

    step.__name__ = name
    return step


def main(url: str) -> None:
    """Work until standard input ends."""
    for name in STEPS:
        setattr(period_close, name, slowly(name))
    database = Database(url, size=6).open()
    running = engine.Engine(database)
    running.launch(small_firm.build(database))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    running.stop()
    database.close()


if __name__ == "__main__":
    main(sys.argv[1])

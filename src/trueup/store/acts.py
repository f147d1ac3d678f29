"""What the house did by itself, in order, and what each act had seen: enough to do it again and compare."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

import psycopg

from trueup.kernel.errors import Busy
from trueup.store.database import Tx, json

TRIES = 30
PAUSE_SECONDS = 0.05

Given = ParamSpec("Given")
Result = TypeVar("Result")


def begin(tx: Tx, kind: str, arguments: Sequence[str], edition: int | None) -> None:
    """Write down that an act begins, and let all of it look at one moment; the first statement of its transaction.

    kind       what is done; whoever does it again looks the action up by this name
    arguments  identifiers and other short texts: what the action is called with
    edition    the rules in force

    From here on the transaction sees what its snapshot sees and nothing else, so that "what it had seen" is a fact
    the database knows. Whatever somebody else changes meanwhile makes it fail as a whole: `looks_again` begins anew.
    """
    tx.run("set transaction isolation level repeatable read")
    tx.run(
        "insert into acts (kind, arguments, edition) values (%s, %s, %s)",
        (kind, json(list(arguments)), edition),
    )


def looks_again(act: Callable[Given, Result]) -> Callable[Given, Result]:
    """Do an act anew, from a fresh look, when somebody else changed what it was about at the same moment."""

    @wraps(act)
    def done(*arguments: Given.args, **options: Given.kwargs) -> Result:
        for _ in range(TRIES - 1):
            try:
                return act(*arguments, **options)
            except Busy as met:
                if not isinstance(met.__cause__, psycopg.errors.SerializationFailure):
                    raise
            time.sleep(PAUSE_SECONDS)
        return act(*arguments, **options)

    return done


def edition(tx: Tx, ownership: str, firm: str, engine: str) -> int:
    """Return the number of the rules in force, given one when they are new.

    ownership, firm  digests of their texts, which are kept already
    engine           version of the code
    """
    tx.run(
        "insert into editions (ownership, firm, engine) values (%s, %s, %s) on conflict do nothing",
        (ownership, firm, engine),
    )
    return int(
        tx.value(
            "select number from editions where ownership = %s and firm = %s and engine = %s", (ownership, firm, engine)
        )
    )

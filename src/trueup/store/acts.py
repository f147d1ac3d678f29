"""What the house did by itself, in order, and what each act had seen: enough to do it again and compare."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import psycopg

from trueup.kernel.errors import Broken, Busy
from trueup.kernel.periods import next_month
from trueup.store import ledger, periods
from trueup.store.database import Tx, array, json

TRIES = 30
PAUSE_SECONDS = 0.05

Given = ParamSpec("Given")
Result = TypeVar("Result")


def begin(
    tx: Tx, kind: str, arguments: Sequence[Any], edition: int | None, *, entity: str | None = None,
    period: str | None = None, slots: Sequence[int] | None = None, about: Iterable[str] = (),
) -> None:  # fmt: skip
    """Write down that an act begins, and let all of it look at one moment; see `look` and `note`."""
    look(tx, entity, period, slots)
    note(tx, kind, arguments, edition, entity=entity, about=about)


def look(tx: Tx, entity: str | None = None, period: str | None = None, slots: Sequence[int] | None = None) -> None:
    """Let a transaction look at one moment, so that "what it had seen" is a fact the database knows.

    Whatever somebody else changes meanwhile makes it fail as a whole: `looks_again` begins anew. Whom it has to wait
    for it waits for first: what they leave behind has to be seen.

    entity  the legal entity in which nobody else bills, credits or adjusts until the transaction has ended
    period  a month of it that nobody closes until then, with those after it up to the first open one
    slots   of contracts, ascending: others with other slots go on beside us; None for all contracts
    """
    if entity is not None:
        desk = ledger.desk(entity)
        tx.hold(desk, shared=slots is not None)
        for slot in slots or ():
            tx.hold(f"{desk}/{slot}")
        while period is not None:
            tx.hold(periods.door(entity, period), shared=True)
            period = next_month(period) if periods.is_closed(tx, entity, period) else None
    tx.one_moment()


def note(
    tx: Tx, kind: str, arguments: Sequence[Any], edition: int | None, *, entity: str | None = None,
    about: Iterable[str] = (),
) -> None:  # fmt: skip
    """Write an act down, in the transaction that does it.

    kind       what is done; whoever does it again looks the action up by this name
    arguments  JSON-plain: what the action is called with
    edition    the rules in force
    entity     the legal entity it is in; None when it is in none, or in several
    about      our identifiers it is about; none when it is about everything of the legal entity
    Raises     Broken when the transaction does not look at one moment: nobody could say what it had seen.
    """
    if tx.value("select current_setting('transaction_isolation')") != "repeatable read":
        raise Broken(f"the act {kind} has to look at one moment")
    happened(tx, kind, arguments, edition, entity=entity, about=about)


def happened(
    tx: Tx, kind: str, arguments: Sequence[Any], edition: int | None, *, entity: str | None = None,
    about: Iterable[str] = (),
) -> None:  # fmt: skip
    """Write down what is taken as a fact when things are done again, like the closing of a month; see `note`."""
    tx.run(
        """
        insert into acts (kind, arguments, edition, legal_entity, about)
        values (%s, %s, %s, %s, %s::text[])
        """,
        (kind, json(list(arguments)), edition, entity, array(about)),
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


def number_adjustments(tx: Tx, first: int) -> None:
    """Let the next decision about a bill have a number; for who does again what was done elsewhere."""
    tx.run("select setval(pg_get_serial_sequence('adjustments', 'number'), %s, false)", (first,))

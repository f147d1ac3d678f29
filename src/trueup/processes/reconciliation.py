"""Reconciliation: every system is asked and compared with the hub; each difference gets a name, an owner and a repair.

Starts on   a person, the API, the schedule
Ends with   sums and breaks stored under the run's name; breaks that are gone are closed
Undo        nothing to undo: it reads, and writes only what it found

A month of a legal entity is signed off by two people: one prepares it, another signs. What is open then is accepted, each
with name and reason, or the month cannot be signed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trueup import engine
from trueup.kernel.errors import Held
from trueup.kernel.strict_json import digest
from trueup.pipeline.house import House
from trueup.pipeline.reconcile import tie_out
from trueup.store import closing, tie_outs
from trueup.store.database import Tx

CHANGES = "changes"
"""The extent of a tie-out that reads only what changed."""
LONGEST_REASON = 400


@engine.process
def reconciliation(work: engine.Work, run: str, extent: str = "whole") -> Any:
    """Compare all systems once, as one remembered step."""
    return work.step(compare, run, extent)


def compare(house: House, run: str, extent: str = "whole") -> dict[str, Any]:
    """Compare and return the counts; the breaks themselves are in the store."""
    found = tie_out(house, run, whole=extent != CHANGES)
    return {**found, "breaks": len(found["breaks"])}


def start(tx: Tx, run: str, *, whole: bool = True) -> str:
    """Queue a reconciliation; the same name is run once."""
    return engine.start(tx, "reconciliation", run, run, *(() if whole else (CHANGES,)))


def start_continuous(tx: Tx, seconds: float) -> str | None:
    """Queue a reconciliation of what changed, once in so many seconds whoever asks; None when its time has not come.

    seconds  between two of them, on the database's clock
    """
    at: datetime = tx.value(
        "select to_timestamp(floor(extract(epoch from now()) / %(every)s::float8) * %(every)s::float8)",
        {"every": seconds},
    )
    run = f"{tie_outs.CONTINUOUS}{at:%Y-%m-%dT%H:%M:%SZ}"
    if tx.value(
        "select exists (select from dbos.workflow_status where workflow_uuid = %s)", (f"reconciliation/{run}",)
    ):
        return None
    return start(tx, run, whole=False)


# --- what people do with a break -------------------------------------------------------------------------------------


def assign(tx: Tx, number: int, assignee: str, by: str) -> None:
    """Give a break to somebody; an empty name takes it back.

    Raises    Held when there is no such open break.
    """
    if not tie_outs.assign(tx, number, assignee or None):
        raise _gone(number)
    tie_outs.note(tx, number, "assigned", by, assignee)


def note(tx: Tx, number: int, by: str, words: str) -> None:
    """Write down what somebody found out.

    Raises    Held when there is no such break.
    """
    if tie_outs.break_of(tx, number) is None:
        raise _gone(number)
    tie_outs.note(tx, number, "noted", by, words)


def accept(tx: Tx, number: int, by: str, reason: str) -> None:
    """Accept a difference as it is; the acceptance ends when the difference becomes another one.

    Raises    Held when there is no such open break.
    """
    _reasoned(reason)
    if not tie_outs.accept(tx, number, by, reason):
        raise _gone(number)
    tie_outs.note(tx, number, "accepted", by, reason)


def _gone(number: int) -> Held:
    return Held(f"break {number} is not open: the systems agree there by now", "NO_SUCH_BREAK")


def _reasoned(reason: str) -> None:
    if not 5 <= len(reason.strip()) <= LONGEST_REASON:
        raise Held("give a reason of 5 to 400 characters: it is kept and read by others", "REASON_MISSING")


# --- signing a month off ---------------------------------------------------------------------------------------------


def prepare(tx: Tx, legal_entity: str, period: str, by: str) -> Mapping[str, Any]:
    """Lay a month's last tie-out before a second person; returns the sign-off.

    Raises    Held when nothing was compared yet, a break is open that nobody accepted, or the month is signed already.
    """
    _alone(tx, legal_entity, period)
    standing = tie_outs.standing(tx, legal_entity, period, lock=True)
    if standing and standing["signed_by"]:
        raise Held(f"{period} of {legal_entity} was signed by {standing['signed_by']}: reopen it first", "SIGNED")
    run, mark, sums, accepted = _state(tx, legal_entity, period)
    tie_outs.prepare(tx, legal_entity, period, run, mark, sums, accepted, by)
    made = tie_outs.standing(tx, legal_entity, period)
    assert made is not None
    return made


def sign(tx: Tx, legal_entity: str, period: str, by: str) -> Mapping[str, Any]:
    """Sign what another person prepared; returns the sign-off.

    Raises    Held when nobody prepared it, the same person did, or the systems agree otherwise by now.
    """
    _alone(tx, legal_entity, period)
    prepared = tie_outs.standing(tx, legal_entity, period, lock=True)
    if prepared is None:
        raise Held(f"nobody has prepared {period} of {legal_entity} for signing", "NOT_PREPARED")
    if prepared["signed_by"]:
        raise Held(f"{period} of {legal_entity} was signed by {prepared['signed_by']} already", "SIGNED")
    if prepared["prepared_by"] == by:
        raise Held(f"{by} prepared this month: another person signs it", "ANOTHER_PERSON")
    _, mark, _, _ = _state(tx, legal_entity, period)
    if mark != prepared["digest"]:
        raise Held("the figures or the accepted breaks have changed since they were prepared: prepare again", "CHANGED")
    tie_outs.sign(tx, prepared["number"], by)
    signed = tie_outs.standing(tx, legal_entity, period)
    assert signed is not None
    return signed


def reopen(tx: Tx, legal_entity: str, period: str, by: str, reason: str) -> Mapping[str, Any]:
    """Take a month's sign-off back; returns it as it was.

    Raises    Held when there is none, or no reason.
    """
    _reasoned(reason)
    _alone(tx, legal_entity, period)
    standing = tie_outs.standing(tx, legal_entity, period, lock=True)
    if standing is None:
        raise Held(f"{period} of {legal_entity} is not signed off", "NOT_SIGNED")
    tie_outs.reopen(tx, standing["number"], by, reason)
    return standing


def _alone(tx: Tx, legal_entity: str, period: str) -> None:
    """Let nobody else sign in this month until the transaction ends, and no tie-out change what is signed."""
    tie_outs.alone(tx)


def _state(tx: Tx, legal_entity: str, period: str) -> tuple[str, str, list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what would be signed now: the last run, the digest, its sums, the accepted breaks.

    The digest does not know the run's name: a later tie-out that finds the same leaves it valid.
    """
    last = closing.last_tie_out(tx)
    if last is None:
        raise Held("the systems were never compared: run the tie-out first", "NEVER_COMPARED")
    found = tie_outs.open_breaks(tx, legal_entity, period)
    waiting = [one for one in found if one["accepted_by"] is None]
    if waiting:
        first = f"{waiting[0]['sentence']}" + (f", and {len(waiting) - 1} more" if len(waiting) > 1 else "")
        raise Held(
            f"a break is open that nobody accepted: {first}. Repair it, or accept it with a reason", "OPEN_BREAKS"
        )
    sums = [dict(row) for row in tie_outs.sums_of(tx, last["run"], legal_entity, period)]
    accepted = [{name: _plain(value) for name, value in one.items()} for one in found]
    return last["run"], digest({"sums": sums, "accepted": accepted}), sums, accepted


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int) else str(value)

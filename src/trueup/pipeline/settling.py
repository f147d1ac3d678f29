"""What is done with a delivery next: send, look, ask, or leave it to a person. Judged from what is known; touches nothing.

Class A is repeated freely. Class B is repeated under its key while the key is young, and is then a class C. Class C is
looked for, and made again when a look after the cool-down found nothing. Class D is tried once.
"""

from collections.abc import Iterable
from typing import Final, Literal

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Write
from trueup.connectors.sdk.registry import Connector
from trueup.store.deliveries import Delivery

Do = Literal["send", "look_then_send", "look", "ask", "take_in", "give_up"]

BACK_OFF: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds between attempts; the last repeats."""
LOOKS: Final = (1.0, 5.0, 15.0, 60.0)
"""Seconds between looks; the last repeats."""
KEY_LIFE_SHARE: Final = 0.8
"""Of the life of an idempotency key we use so much: clocks and late calls have the rest."""
LONGEST_CALLS: Final = 4
"""So many calls may one attempt make, one after the other, each with its time-out: sign in, look, send, look again."""
MARGIN_SECONDS: Final = 30.0
"""A lease is longer than an attempt by this much: for clocks that run differently, and for what else takes time."""
SHORTEST_LEASE: Final = 90.0


def next_step(delivery: Delivery, write: Write, *, known: bool, same_body: bool) -> Do:
    """Say what is done with a claimed delivery.

    known      the system's identifier of the object is known: the write changes a record and makes none
    same_body  what would be sent now is what was sent before
    """
    if delivery.state == "landed":
        return "take_in"
    if delivery.state == "processing":
        return "ask"
    young = write.dedupe == "B" and _key_is_young(delivery, write) and same_body
    if delivery.state == "due":
        made_before = delivery.attempts > 0 and not known and not young
        return "look_then_send" if made_before and write.dedupe in ("B", "C") else "send"
    if write.dedupe == "D":
        return "give_up"
    if delivery.job is not None:
        return "look"
    if delivery.code and not known and write.dedupe != "A":  # they have said no since: whatever else is on its way
        return "look"
    return "send" if write.dedupe == "A" or known or young else "look"


def _key_is_young(delivery: Delivery, write: Write) -> bool:
    """Say whether the system still knows the key; a new round's key it has never heard, and knows nothing by it."""
    life = (write.key_life_hours or 0.0) * 3600 * KEY_LIFE_SHARE
    return delivery.sent_for is not None and delivery.sent_for < life


def refusal_is_last(delivery: Delivery, write: Write) -> bool:
    """Say whether a refusal ends what met silence before: not while an earlier call may land that made a second one."""
    return write.dedupe == "A" or cooled_down(delivery, write)


def cooled_down(delivery: Delivery, write: Write) -> bool:
    """Say whether a look that finds nothing now means that nothing will come; counted up to the claim, before the look."""
    return delivery.silent_for is not None and delivery.silent_for >= write.cool_down


def first_look(write: Write) -> float:
    """Return the seconds after silence before it makes sense to look."""
    return (write.index_lag_seconds or 0.0) if write.dedupe in ("B", "C") else BACK_OFF[0]


def next_look(delivery: Delivery, write: Write) -> float:
    """Return the seconds to the next look: sooner at first, and one as the cool-down ends."""
    pause = LOOKS[min(delivery.looks, len(LOOKS) - 1)]
    left = write.cool_down - (delivery.silent_for or 0.0)
    return min(pause, left) if left > 0 else pause


def next_question(delivery: Delivery, write: Write) -> float | None:
    """Return the seconds until a job is asked after again; None when its time is over."""
    if (delivery.accepted_for or 0.0) >= write.job_minutes * 60:
        return None
    return write.poll_seconds[min(delivery.looks, len(write.poll_seconds) - 1)]


def back_off(attempts: int) -> float:
    """Return the seconds until the next attempt."""
    return BACK_OFF[min(attempts, len(BACK_OFF) - 1)]


def attempt_seconds(timeout_seconds: float) -> float:
    """Return the longest one attempt can take.

    timeout_seconds  of one call to the system
    """
    return LONGEST_CALLS * timeout_seconds


def lease_seconds(timeout_seconds: float) -> float:
    """Return how long a claim is ours: longer than the longest attempt, so that nobody takes over what may still be sent."""
    return max(SHORTEST_LEASE, 2 * attempt_seconds(timeout_seconds) + MARGIN_SECONDS)


def wrong(connectors: Iterable[Connector]) -> list[str]:
    """Return what manifests leave open that a safe repetition needs, one sentence each."""
    found = []
    for connector in connectors:
        can_find = connector.client.find is not VendorClient.find
        can_ask = connector.client.outcome is not VendorClient.outcome
        for name, write in connector.manifest.writes.items():
            where = f"{connector.name}: {name}"
            if write.dedupe in ("B", "C"):
                if not can_find:
                    found.append(f"{where} is of class {write.dedupe}, and its client cannot find what it wrote")
                if write.late_commit_seconds is None or write.index_lag_seconds is None:
                    found.append(
                        f"{where} is of class {write.dedupe}: say late_commit_seconds and index_lag_seconds, or nobody "
                        "knows when a look that finds nothing means that nothing will come"
                    )
            if write.dedupe == "B" and write.key_life_hours is None:
                found.append(f"{where} is of class B: say key_life_hours")
            elif write.dedupe == "B" and (write.key_life_hours or 0) * 3600 * KEY_LIFE_SHARE <= write.cool_down:
                found.append(
                    f"{where}: its key lives for {write.key_life_hours:g} hours, a write can come "
                    f"{write.cool_down:g} seconds late: that is no class B, make it C"
                )
            if write.read_back_minutes is not None and write.read_back_minutes * 60 <= write.cool_down:
                found.append(
                    f"{where} is read back after {write.read_back_minutes:g} minutes, and a write can come "
                    f"{write.cool_down:g} seconds late: read it back later than that"
                )
            if write.mode == "async" and not can_ask:
                found.append(f"{where} is written as a job, and its client cannot ask what became of it")
    return found

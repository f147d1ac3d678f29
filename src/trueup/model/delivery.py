"""The life of a delivery: every state there is, what it means, and which may follow which. The database refuses others."""

from collections.abc import Mapping
from typing import Final, Literal

State = Literal[
    "planned",
    "due",
    "sending",
    "unknown",
    "landed",
    "processing",
    "confirmed",
    "rejected",
    "parked",
    "superseded",
    "compensated",
]

STATES: Final[Mapping[State, str]] = {
    "planned": "asked for, and released by nobody yet",
    "due": "to be sent as soon as its forerunners are done and the system lets us",
    "sending": "written down and on the wire; who finds it so after a crash takes it for `unknown`",
    "unknown": "silence: it may have landed, and it may land yet",
    "landed": "found at the system by a look, not read in yet",
    "processing": "the system has accepted it as a job and works on it",
    "confirmed": "the system has it, and we know under which identifier",
    "rejected": "the system said no; a person removes the cause",
    "parked": "a person has to look: a mapping is missing, or nobody can tell whether it landed",
    "superseded": "a newer one took its place before it was sent, or what asked for it was undone",
    "compensated": "it had been confirmed, and another delivery has undone it",
}
"""State -> what it means."""

STEPS: Final[Mapping[State, tuple[State, ...]]] = {
    "planned": ("due", "parked", "superseded"),
    "due": ("sending", "confirmed", "rejected", "parked", "superseded"),
    "sending": ("confirmed", "processing", "unknown", "due", "rejected", "parked", "landed"),
    "unknown": ("sending", "landed", "due", "parked"),
    "landed": ("confirmed", "unknown", "parked"),
    "processing": ("confirmed", "unknown", "rejected", "parked"),
    "confirmed": ("compensated",),
    "rejected": ("due", "superseded"),
    "parked": ("due", "landed", "superseded"),
    "superseded": (),
    "compensated": (),
}
"""State -> what may follow it. `due -> confirmed`: the system holds exactly that already, so nothing is sent."""

OUT: Final[tuple[State, ...]] = ("sending", "unknown", "landed", "processing")
"""It has left the house and its end is open. One at a time for each object of a system: nothing else is sent for it."""

OPEN: Final[tuple[State, ...]] = ("planned", "due", *OUT)
"""Still to be done without a person."""

FOR_A_PERSON: Final[tuple[State, ...]] = ("rejected", "parked")
"""Waits for a person, visibly, and holds up nobody, unless it is in doubt whether it landed."""


def allows(before: State, after: State) -> bool:
    """Say whether a delivery may go from one state to the other.

    >>> allows("sending", "unknown"), allows("confirmed", "due")
    (True, False)
    """
    return before == after or after in STEPS[before]

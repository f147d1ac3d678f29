"""What must hold after anything that networks, vendors, people and power cuts do: small functions, for every rig.

Each takes plain facts and returns sentences; an empty list means that the promise held.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CLOSED = frozenset({"applied", "superseded", "ignored", "quarantined"})
UNDER_WAY = frozenset({"pending", "waiting"})
ENDED = frozenset({"confirmed", "superseded", "compensated"})
FOR_A_PERSON = frozenset({"rejected", "parked"})


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of a target's own journal: a write it has committed.

    key      what the write is about, made by the hub before the call
    id       the record it became there
    created  False when a record that was there was changed
    version  version of the owner's record that the write carries
    """

    system: str
    object: str
    key: str
    id: str
    created: bool
    version: int


def lost(acknowledged: Mapping[str, str], kept: Mapping[str, str]) -> list[str]:
    """P1: whatever was acknowledged is kept, to the byte.

    acknowledged, kept  identifier -> sha256 of the bytes, from the sender's journal and from the inbox
    """
    gone = [f"{one} was acknowledged and is not kept" for one in sorted(acknowledged.keys() - kept.keys())]
    changed = [one for one in sorted(acknowledged.keys() & kept.keys()) if acknowledged[one] != kept[one]]
    return gone + [f"{one} is kept with other bytes than were acknowledged" for one in changed]


def doubled(journal: Iterable[Effect]) -> list[str]:
    """P2: a target has made one document for each key."""
    times = Counter((effect.system, effect.object, effect.key) for effect in journal if effect.created)
    return [f"{' '.join(key)} was made {count} times" for key, count in sorted(times.items()) if count > 1]


def older_over_newer(journal: Iterable[Effect]) -> list[str]:
    """P3, P4: the owner's versions only rise, record by record, in the order in which the target took them."""
    newest: dict[tuple[str, str, str], int] = {}
    found = []
    for effect in journal:
        record = effect.system, effect.object, effect.id
        if effect.version < newest.get(record, 0):
            found.append(f"{' '.join(record)}: version {effect.version} was written over {newest[record]}")
        newest[record] = max(effect.version, newest.get(record, 0))
    return found


def unequal(
    owner: Mapping[str, Mapping[str, Any]],
    copies: Mapping[str, Mapping[str, Any]],
    where: str,
    known: Iterable[str] = (),
) -> list[str]:
    """F1: what the owner holds, each target holds, except where the hub itself says that they differ.

    owner, copies  key -> fields; only the owner's fields are compared
    known          keys whose difference the hub shows to people
    """
    shown = set(known)
    found = []
    for key, fields in sorted(owner.items()):
        copy = copies.get(key)
        if key in shown:
            continue
        if copy is None:
            found.append(f"{where} has no {key}")
            continue
        wrong = {name: (value, copy.get(name)) for name, value in fields.items() if copy.get(name) != value}
        if wrong:
            told = ", ".join(
                f"{name} is {theirs!r} and not {value!r}" for name, (value, theirs) in sorted(wrong.items())
            )
            found.append(f"{where} {key}: {told}")
    return found


def unaccounted(received: int, states: Mapping[str, int], ignored_without_rule: int = 0) -> list[str]:
    """P7: received = applied + superseded + ignored(rule) + quarantined + under way.

    states  state of messages -> how many
    """
    strange = sorted(states.keys() - CLOSED - UNDER_WAY)
    found = [f"{states[state]} messages are {state}, which is no end and no work" for state in strange]
    counted = sum(states.values())
    if counted != received:
        found.append(f"{received} messages were received and {counted} are accounted for")
    if ignored_without_rule:
        found.append(f"{ignored_without_rule} messages were ignored by no rule")
    return found


def unsettled(deliveries: Iterable[Mapping[str, Any]], explained: Iterable[str] = ()) -> list[str]:
    """F2: once faults are over, no delivery is under way or unknown; what waits for a person says why.

    deliveries  key, state, cause
    explained   keys a person is meant to look at
    """
    listed = set(explained)
    found = []
    for row in deliveries:
        if row["state"] in ENDED or row["key"] in listed:
            continue
        if row["state"] in FOR_A_PERSON and row["cause"]:
            continue
        found.append(f"{row['key']} is {row['state']}: {row['cause'] or 'for no stated reason'}")
    return found


def backwards(changes: Sequence[tuple[str, int]]) -> list[str]:
    """A3: the versions of an object only rise, in the order in which they were written.

    changes  (object, version), oldest first
    """
    newest: dict[str, int] = {}
    found = []
    for gid, version in changes:
        if version < newest.get(gid, 0):
            found.append(f"{gid} went from version {newest[gid]} back to {version}")
        newest[gid] = max(version, newest.get(gid, 0))
    return found

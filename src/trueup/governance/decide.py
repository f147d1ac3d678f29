"""One record's word in, decisions with their sentences out.

The owner's newest word is heard; everyone else's is kept as a proposal. Status is decided first, by its own owner,
so that fields are judged in the status the record leaves the object in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trueup.governance.ownership import NOBODY, Ownership
from trueup.model.kinds import KINDS

Verdict = Literal["accept", "agree", "late", "propose", "hold"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for some fields, and why.

    accept   the owner's newest word: stored
    agree    says what we hold already: an echo or a repetition, nothing to do
    late     older than what the same system told us before
    propose  from a system that does not own the field: kept for a person to see
    hold     nobody may change it any more, or the status cannot be reached: a person decides
    """

    verdict: Verdict
    sentence: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All decisions on one record, and what to store.

    accepted  field -> value (the new ones only), also `status` when it changes
    """

    accepted: dict[str, Any]
    decisions: tuple[Decision, ...]


def decide(
    ownership: Ownership,
    kind: str,
    role: str,
    values: Mapping[str, Any],
    held: Mapping[str, Any] | None,
    *,
    stamp: str = "",
    heard: str = "",
) -> Outcome:
    """Judge a record against what is held.

    values  canonical fields as the record says them, `status` among them when the mapping has one
    held    our present fields with `status`; None when the object does not exist yet
    stamp   the record's version in its system; heard: the newest one we have applied from that system

    Returns   one Outcome; an object that may not be created by this role gets a single `propose`.
    """
    if held is None:
        return _create(ownership, kind, role, values)
    if stamp and heard and stamp < heard:
        word = Decision("late", f"late: we hold {role}'s word of {heard}", dict(values))
        return Outcome({}, (word,))
    groups: dict[tuple[Verdict, str], dict[str, Any]] = {}
    status = _decide_status(ownership, kind, role, values, held, groups)
    accepted: dict[str, Any] = {"status": status} if status != held["status"] else {}
    for name, value in values.items():
        if name == "status":
            continue
        owner = ownership.owner(kind, name, status)
        rule = f"{owner} owns {kind}.{name} while {status}"
        if value == held.get(name):
            groups.setdefault(("agree", f"agrees with what we hold; {owner} owns it"), {})[name] = value
        elif owner == NOBODY:
            groups.setdefault(("hold", f"nobody may change {kind}.{name} while {status}"), {})[name] = value
        elif owner != role:
            groups.setdefault(("propose", rule), {})[name] = value
        else:
            accepted[name] = value
            groups.setdefault(("accept", f"{role} owns this while {status}"), {})[name] = value
    decisions = tuple(Decision(verdict, sentence, fields) for (verdict, sentence), fields in groups.items())
    return Outcome(accepted, decisions)


def _create(ownership: Ownership, kind: str, role: str, values: Mapping[str, Any]) -> Outcome:
    if not ownership.may_create(kind, role):
        makers = " or ".join(ownership.objects[kind].create)
        word = Decision("propose", f"only {makers} may create a {kind}; {role} does not", dict(values))
        return Outcome({}, (word,))
    mine = dict(values)  # a creator fills what it has; the owner of a field corrects it with its first word
    first = Decision("accept", f"{role} creates the {kind}", mine)
    return Outcome(mine, (first,))


def _decide_status(
    ownership: Ownership,
    kind: str,
    role: str,
    values: Mapping[str, Any],
    held: Mapping[str, Any],
    groups: dict[tuple[Verdict, str], dict[str, Any]],
) -> str:
    before = str(held["status"])
    after = values.get("status")
    if after is None or after == before:
        return before
    owner = ownership.owner(kind, "status", before)
    if owner != role:
        groups.setdefault(("propose", f"{owner} owns {kind}.status while {before}"), {})["status"] = after
        return before
    if not KINDS[kind].lifecycle.allows(before, after):
        groups.setdefault(("hold", f"a {kind} cannot go from {before} to {after}"), {})["status"] = after
        return before
    groups.setdefault(("accept", f"{role} owns {kind}.status while {before}"), {})["status"] = after
    return str(after)

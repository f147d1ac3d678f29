"""Says when a record goes in a circle: our own writes come back changed, and each one leads to the next.

Agreement ends a loop that ownership can see. It cannot see one that passes through somebody else: a system that keeps
what we write in its own way and owns what it made of it, or another product that carries a system's answer back to
the owner, who then says it as a word of its own. Here the ledger of writes and the history of words are laid side by
side: a write is one turn of a circle when everything that was accepted since the write before it was an answer to us.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Written:
    """One write of a record to one system.

    at     when it was sent; for the one that is to be sent next, now
    heals  it repeats the newest value because an older one stood over it
    """

    key: str
    at: datetime
    heals: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What one system, or a person, said of one field of the record, and what was decided.

    number     its place in the history
    at         when it reached us
    before     what we held; None where it was said to agree
    by_person  somebody said it to us, not a system
    """

    number: int
    at: datetime
    system: str
    field: str
    verdict: str
    before: Any = None
    value: Any = None
    mapping: str = ""
    by_person: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One write that came back changed and led to the next.

    field    empty where an older value stood over the newest and the newest was sent again
    told     what we wrote; brought: what came back
    system   who brought it back, by which mapping
    offered  the written system said it, but does not own the field: another one said it after it
    """

    key: str
    field: str = ""
    told: Any = None
    brought: Any = None
    system: str = ""
    mapping: str = ""
    offered: bool = False


def turns(written: Sequence[Written], heard: Sequence[Heard], target: str, fields: Collection[str]) -> list[list[Turn]]:
    """Return the turns of the circle that ends with the last write, oldest first; empty where it is none.

    A person's word ends a circle, and so does an owner's that is no answer to us: one from a system we do not write,
    saying what the written system had not said before; or from the written system, when it had first shown our value
    as we wrote it.

    written  oldest first; the last is the one to be sent next
    fields   canonical fields the write tells
    Returns  for each write that led to another: the fields that came back
    """
    # "2.00" for 2 is the same hour: a system that writes numbers its own way has changed nothing.
    about = [
        replace(word, verdict="agree") if _same(word.before, word.value) else word
        for word in heard
        if word.field in fields
    ]
    offers = [word for word in about if word.system == target and word.verdict in ("propose", "hold")]
    found: list[list[Turn]] = []
    for earlier, later in pairwise(written):
        between = [word for word in about if earlier.at < word.at <= later.at]
        accepted = [word for word in between if word.verdict == "accept"]
        if any(not _answers(word, between, target, offers) for word in accepted):
            found = []
        elif accepted:
            found.append(
                [
                    Turn(earlier.key, w.field, w.before, w.value, w.system, w.mapping, w.system != target)
                    for w in accepted
                ]
            )
        elif later.heals:
            found.append([Turn(earlier.key)])
    return found


def _answers(word: Heard, between: Sequence[Heard], target: str, offers: Sequence[Heard]) -> bool:
    """Say whether a word is an answer to our own write."""
    if word.by_person:
        return False
    if word.system == target:
        return not any(
            other.verdict == "agree"
            and (other.system, other.field) == (target, word.field)
            and other.number < word.number
            for other in between
        )
    return any(offer.field == word.field and _same(offer.value, word.value) for offer in offers)


def _same(one: Any, other: Any) -> bool:
    """Say whether two values are alike, or the same number written in two ways."""
    if one == other:
        return True
    try:
        return isinstance(one, str) and isinstance(other, str) and Decimal(one) == Decimal(other)
    except ArithmeticError:
        return False


def sentence(found: Sequence[Sequence[Turn]], mapping: str, target: str, hidden: Collection[str], hours: float) -> str:
    """Return the circle in words: which systems and mappings it goes through, and the values that went round.

    found    not empty
    mapping  the one we write with
    hidden   fields whose values not every reader may see: they are named without their values

    >>> from datetime import UTC
    >>> at = [datetime(2026, 8, 3, hour, tzinfo=UTC) for hour in range(6)]
    >>> hours = ["2.00", "2.50", "2.75"]
    >>> said = [Heard(n, at[2 * n - 1], "psa", "planned_hours", "accept", was, now, "psa.Story -> task")
    ...         for n, (was, now) in enumerate(zip(hours, hours[1:]), 1)]
    >>> circle = turns([Written("1", at[0]), Written("2", at[2]), Written("3", at[4])], said, "psa", {"planned_hours"})
    >>> print(sentence(circle, "task -> psa.story", "psa", (), 24))
    2 writes in a row came back changed within 24 hours and led to the next: stopped. planned_hours: 2.00 → 2.50 → 2.75. The way round: task -> psa.story; psa.Story -> task
    """
    ways: dict[str, None] = {mapping: None}
    values: dict[str, list[str]] = {}
    again = 0
    for turn in (one for each in found for one in each):
        if not turn.field:
            again += 1
            continue
        if turn.offered:
            ways[f"{target} says it back"] = None
        ways[turn.mapping or turn.system] = None
        round_ = values.setdefault(turn.field, [])
        round_ += [shown for shown in (_shown(turn.told), _shown(turn.brought)) if round_[-1:] != [shown]]
    parts = [f"{len(found)} writes in a row came back changed within {hours:g} hours and led to the next: stopped"]
    parts += list(_walks(values, hidden))
    if again:
        parts.append(f"An older value stood over the newest {again} times")
    return ". ".join([*parts, f"The way round: {'; '.join(ways)}"])


def _walks(values: dict[str, list[str]], hidden: Collection[str]) -> Iterator[str]:
    for name, went in sorted(values.items()):
        yield f"{name}: its values are hidden here" if name in hidden else f"{name}: {' → '.join(went[-8:])}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)[:60]

"""Stops writing a record whose writes come back changed and lead to the next, before the next is made.

The ledger of writes counts for itself: only a record that was written as often as its budget allows is looked at, all of
a batch in one question. What is stopped is parked with the circle in words, stays stopped whoever asks next, and is
written again when a person has it sent again by a plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from trueup.governance.circles import Heard, Turn, Written, sentence, turns
from trueup.kernel.ids import kind_of
from trueup.mapping.file import MappingFile
from trueup.model.kinds import KINDS, MONEY_FIELDS
from trueup.pipeline.house import House, System
from trueup.store import circles
from trueup.store.circles import CODE, Suspect
from trueup.store.database import Tx
from trueup.store.deliveries import Delivery

__all__ = ["CODE", "stopped"]


def stopped(tx: Tx, house: House, system: System, claimed: Sequence[Delivery]) -> dict[str, str]:
    """Return the claimed writes that are not made, each with the circle it would go on with; releases are noted."""
    manifest = system.connector.manifest
    asked = [
        (one.key, budget.turns, budget.hours)
        for one in claimed
        if one.state == "due" and one.object in manifest.writes
        for budget in (manifest.writes[one.object].write_budget,)
    ]
    found = circles.suspects(tx, asked)
    circles.release(tx, [one.key for one in found if one.stopped and one.released])
    why = {
        one.key: f"{one.stopped} came back changed again and again: nothing is written to this record until a person releases it"
        for one in found
        if one.stopped and not one.released
    }
    open_ones = [one for one in found if not one.stopped]
    if not open_ones:
        return why
    by_key = {one.key: one for one in claimed}
    written, said = circles.writes(tx, open_ones), circles.words(tx, open_ones)
    heals = circles.healing(tx, [one.key for one in open_ones])
    stops = []
    for one in open_ones:
        delivery = by_key[one.key]
        mapping = house.outward.get((delivery.kind, system.name, delivery.object))
        budget = manifest.writes[delivery.object].write_budget
        if mapping is None:
            continue
        fields = _told(mapping, one.gid)
        before = [Written(row["key"], row["at"], row["heals"]) for row in written[one.key]]
        words = [word for row in said.get(one.gid, ()) for word in _heard(row)]
        circle = turns([*before, Written(one.key, one.now, one.key in heals)], words, system.name, fields)
        if len(circle) < budget.turns:
            continue
        why[one.key] = sentence(circle, mapping.name, system.name, _hidden(one), budget.hours)
        stops.append((one.key, [_plain(turn) for each in circle for turn in each]))
    circles.stop(tx, stops)
    return why


def _told(mapping: MappingFile, gid: str) -> set[str]:
    """Return the canonical fields a mapping reads."""
    kind = kind_of(gid)
    if kind not in KINDS:
        return set()
    named = {path.lstrip("/").split(".")[0] for path in _texts(mapping.text.fields)}
    return named & set(KINDS[kind].model_fields)


def _texts(value: Any) -> Iterator[str]:
    """Give every text of a mapping's lines: paths are among them, whatever the verb."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _heard(row: dict[str, Any]) -> Iterator[Heard]:
    for decision in row["decisions"]:
        fields = decision["fields"]
        pairs = fields.items() if isinstance(fields, dict) else ((name, (None, None)) for name in fields)
        for name, (before, value) in pairs:
            yield Heard(
                row["number"], row["at"], row["system"], name, decision["verdict"], before, value, row["mapping"],
                row["by_person"],
            )  # fmt: skip


def _hidden(one: Suspect) -> frozenset[str]:
    """Return the fields whose values do not stand in a sentence that every reader of the ledger sees."""
    kind = kind_of(one.gid)
    return MONEY_FIELDS | (KINDS[kind].restricted if kind in KINDS else frozenset())


def _plain(turn: Turn) -> dict[str, Any]:
    return asdict(turn)

"""Undo: takes back what a process has made in some systems and could not make in others, when a person says so.

Starts on   a person's word (`trueup effects undo`, the API), where one system accepted and another refused for good
Held by     writes under way or in doubt: nobody knows yet whether there is something to take back
Ends with   what was made compensated, what was not sent let go, billing held, the reason back in the CRM
Undo        none: a deal that was taken back is sold again under another code
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trueup.kernel.errors import Refused
from trueup.kernel.money import to_units
from trueup.model.delivery import OUT
from trueup.pipeline.house import House
from trueup.processes.write_back import write_back
from trueup.store import deliveries, holds, objects
from trueup.store.database import Tx
from trueup.store.deliveries import Command
from trueup.store.holds import Hold

WITHDRAWN = "withdrawn_"
"""With the kind it makes the kind of the mapping that takes a record back: `withdrawn_project -> vendor.object`."""
SHARED = frozenset({"customer", "resource"})
"""Kinds that stay: other work may use them by now."""
NOT_BEGUN = frozenset({"requested", "planned", "archived"})


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of a process's writes.

    asked   keys of the writes that take others back
    let_go  keys that will not be sent
    stays   (key, why) of what was made and stays there
    """

    process: str
    asked: tuple[str, ...]
    let_go: tuple[str, ...]
    stays: tuple[tuple[str, str], ...]


def undo(tx: Tx, house: House, process: str, by: str, reason: str) -> Undone:
    """Take a process's writes back, in this transaction; the ledger carries it to the systems.

    Raises    Refused when there is none, when something of it is under way or in doubt, or when work has begun on it.
    """
    rows = deliveries.of_process(tx, process)
    if not rows:
        raise Refused(f"nothing was written for a process {process}", "unknown")
    unclear = [row["key"] for row in rows if row["state"] in OUT or row["in_doubt"]]
    if unclear:
        raise Refused(
            f"{', '.join(unclear[:3])} is under way or in doubt: wait until it is settled, or say what became of it",
            "under_way",
        )
    _stop(tx, rows, by, reason)
    let_go = deliveries.let_go(tx, [row["key"] for row in rows], f"undone by {by}: {reason}")
    asked: list[Command] = []
    stays: list[tuple[str, str]] = []
    taken: set[tuple[str, str, str]] = set()
    for row in rows:
        place = (row["system"], row["object"], row["gid"])
        if row["state"] != "confirmed" or row["undoes"] or place in taken:
            continue
        why = _why_it_stays(house, row)
        if why:
            stays.append((row["key"], why))
            continue
        taken.add(place)
        asked.append(_taking_back(row, process))
    deliveries.ask(tx, asked)
    _tell(tx, house, rows, f"taken back by {by}: {reason}")
    return Undone(process, tuple(command.key for command in asked), tuple(let_go), tuple(stays))


def _stop(tx: Tx, rows: Sequence[dict[str, Any]], by: str, reason: str) -> None:
    """Stop the billing of projects that are taken back; their status is the PSA's to say.

    Raises    Refused when work has begun on one.
    """
    projects = objects.load(tx, sorted({row["gid"] for row in rows if row["kind"] == "project"}), lock=True)
    begun = [held.body["code"] for held in projects.values() if held.status not in NOT_BEGUN]
    if begun:
        names = ", ".join(sorted(begun))
        raise Refused(f"work has begun on {names}: close it in the PSA, and credit what was billed", "begun")
    holds.place(
        tx,
        [
            Hold(
                "MANUAL", held.gid, "project", by, f"taken back by {by}: {reason}", "a decision",
                to_units(Decimal(held.body["budget"] or 0), held.body["currency"]), held.body["currency"],
                project=held.gid, contract=held.body["contract"], legal_entity=held.legal_entity,
            )
            for held in projects.values()
        ],
    )  # fmt: skip


def _why_it_stays(house: House, row: dict[str, Any]) -> str | None:
    if row["kind"] in SHARED:
        return f"a {row['kind']} stays: other work may use it"
    if not row["attempts"]:
        return "it was there before"
    if (WITHDRAWN + row["kind"], row["system"], row["object"]) not in house.outward:
        return f"no mapping takes the {row['object']} back: do it in {row['system']}"
    return None


def _taking_back(row: dict[str, Any], process: str) -> Command:
    return Command(
        f"{row['key']}/undo", row["system"], row["object"], row["gid"], WITHDRAWN + row["kind"], "undo", row["dedupe"],
        source=row["source"], priority=row["priority"], amount=row["amount"], currency=row["currency"],
        process=process, undoes=row["key"],
    )  # fmt: skip


def _tell(tx: Tx, house: House, rows: Sequence[dict[str, Any]], message: str) -> None:
    """Let sales see on the deal what became of it."""
    gids = {row["gid"] for row in rows if row["kind"] == "contract"}
    projects = objects.load(tx, sorted({row["gid"] for row in rows if row["kind"] == "project"}))
    gids |= {held.body["contract"] for held in projects.values() if held.body.get("contract")}
    for contract in objects.load(tx, sorted(gids)).values():
        deliveries.ask(tx, write_back(tx, house, contract, "On hold", message))

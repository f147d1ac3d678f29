"""Every approved minute and cent enters the bucket ledger with its approval, and leaves it when approval is withdrawn."""

from collections.abc import Sequence
from decimal import Decimal

from trueup.kernel.money import to_units
from trueup.store import ledger
from trueup.store.database import Tx
from trueup.store.ledger import Move
from trueup.store.objects import Held

APPROVED = frozenset({"approved", "posted", "reimbursed"})
OPEN = ("unbilled", "held", "over_cap", "postponed", "non_billable", "covered_by_fixed_fee")
"""Buckets a correction takes from, in this order; what is on a document is corrected by a credit, never here."""


def recount(tx: Tx, facts: Sequence[Held]) -> None:
    """Bring the ledger to what is approved now: more enters `unbilled`, less is taken from what is not on a document.

    facts  time entries and expense lines as they are after the change
    """
    balances: dict[str, dict[str, int]] = {held.gid: {} for held in facts}
    for row in tx.rows(
        "select fact, bucket, quantity from buckets where fact = any(%s) and bucket <> 'source' for update",
        (sorted(held.gid for held in facts if not held.fresh),),
    ):
        balances[row["fact"]][row["bucket"]] = row["quantity"]
    ledger.move(tx, (move for held in facts for move in _moves(held, balances[held.gid])))


def quantity(held: Held) -> tuple[str, int]:
    """Return the unit and the whole quantity of a fact: minutes of time, units of spent money."""
    if held.kind == "time_entry":
        return "minute", int(held.body["minutes"])
    return "amount", to_units(Decimal(held.body["amount"]), held.body["currency"])


def _moves(held: Held, balances: dict[str, int]) -> list[Move]:
    unit, whole = quantity(held)
    wanted = whole if held.status in APPROVED and held.tombstone is None else 0
    missing = wanted - sum(balances.values())
    key = f"{held.gid}/{held.version}/approval"
    if missing > 0:
        return [Move(key, held.gid, held.version, unit, "source", "unbilled", missing, "approved", held.kind)]
    moves = []
    for bucket in OPEN:
        part = min(-missing, balances.get(bucket, 0))
        if part > 0:
            missing += part
            why = "corrected or no longer approved"
            moves.append(Move(f"{key}/{bucket}", held.gid, held.version, unit, bucket, "source", part, why, held.kind))
    return moves

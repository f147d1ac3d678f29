"""Every approved minute and cent enters the bucket ledger with its approval, and leaves it when approval is withdrawn."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from trueup.kernel.money import to_units
from trueup.store import holds, ledger
from trueup.store.database import Tx
from trueup.store.holds import Hold
from trueup.store.ledger import Move
from trueup.store.objects import Held

APPROVED = frozenset({"approved", "posted", "reimbursed"})
OPEN = ("unbilled", "held", "over_cap", "postponed", "non_billable", "covered_by_fixed_fee")
"""Buckets a correction takes from, in this order; what is on a document is corrected by a credit, never here."""

SETTLED = ("written_off", "credited")
"""Taken last, and only while the fact is approved: what was given up stays given up through an un-approval."""

PRICED = frozenset({"non_billable", "covered_by_fixed_fee", *SETTLED})
"""Buckets whose quantity a charge priced: what leaves them is taken off that charge."""


def recount(tx: Tx, facts: Sequence[Held]) -> None:
    """Bring the ledger to what is approved now: more enters `unbilled`, less is taken from what is not on a document.

    What is on a document and no longer approved is named at once, by a hold CREDIT_DUE on the fact.

    facts  time entries and expense lines as they are after the change
    """
    balances: dict[str, dict[str, int]] = {held.gid: {} for held in facts}
    for row in tx.rows(
        "select fact, bucket, quantity from buckets where fact = any(%s) and bucket <> 'source' for update",
        (sorted(held.gid for held in facts if not held.fresh),),
    ):
        balances[row["fact"]][row["bucket"]] = row["quantity"]
    moves = [move for held in facts for move in _moves(held, balances[held.gid])]
    ledger.move(tx, moves)
    for move in moves:
        if move.from_bucket in PRICED and move.unit == "minute":
            ledger.shrink(tx, move.fact, move.from_bucket, move.quantity, move.key, move.reason)
    _name(tx, [held for held in facts if _documented(balances[held.gid])], balances)


def _documented(balances: Mapping[str, int]) -> int:
    return balances.get("on_draft", 0) + balances.get("invoiced", 0)


def _name(tx: Tx, facts: Sequence[Held], balances: Mapping[str, Mapping[str, int]]) -> None:
    """Hold what was billed and is no longer approved, end the holds of what is right again, and note the edit.

    A billed fact that is gone at its source is neither: its approval was not withdrawn, and the tie-out names the break.
    """
    facts = [held for held in facts if held.tombstone is None]
    if not facts:
        return
    tx.many(
        """
        insert into edits (fact, version) values (%s, %s) on conflict (fact) do update set version = excluded.version
        """,
        [(held.gid, held.version) for held in facts if held.kind == "time_entry"],
    )
    stands: dict[str, tuple[int, str, str, str, str]] = {}
    for row in ledger.standing(tx, facts=[held.gid for held in facts]):
        before = stands.get(row["fact"], (0, "", "", "", ""))[0]
        stands[row["fact"]] = (
            before + row["amount"], row["currency"], row["project"], row["contract"], row["legal_entity"]
        )  # fmt: skip
    due, fine = [], []
    for held in facts:
        documented = _documented(balances[held.gid])
        over = documented - allowed(held)
        if over <= 0 or held.gid not in stands:
            fine.append(held.gid)
            continue
        amount, currency, project, contract, entity = stands[held.gid]
        due.append(
            Hold(
                "CREDIT_DUE", held.gid, held.kind, "accounts receivable",
                "More was billed than the facts now support; issue a credit note.", "credit note",
                ledger.share(amount, over, documented), currency, over if held.kind == "time_entry" else None, project,
                contract, entity,
            )
        )  # fmt: skip
    holds.place(tx, due)
    ended = holds.open_of(tx, scopes=fine, codes=["CREDIT_DUE"]) if fine else []
    holds.release(tx, [hold["number"] for hold in ended], "billing", "the fact supports what was billed again")


def allowed(held: Held) -> int:
    """Return how much of a fact may be billed at all, in its own unit: nothing while it is not approved."""
    return quantity(held)[1] if held.status in APPROVED and held.tombstone is None else 0


def quantity(held: Held) -> tuple[str, int]:
    """Return the unit and the whole quantity of a fact: minutes of time, units of spent money."""
    if held.kind == "time_entry":
        return "minute", int(held.body["minutes"])
    return "amount", to_units(Decimal(held.body["amount"]), held.body["currency"])


def _moves(held: Held, balances: dict[str, int]) -> list[Move]:
    unit, _ = quantity(held)
    wanted = allowed(held)
    missing = wanted - sum(balances.values())
    key = f"{held.gid}/{held.version}/approval"
    if missing > 0:
        return [Move(key, held.gid, held.version, unit, "source", "unbilled", missing, "approved", held.kind)]
    moves = []
    for bucket in (*OPEN, *SETTLED) if wanted else OPEN:
        part = min(-missing, balances.get(bucket, 0))
        if part > 0:
            missing += part
            why = "corrected or no longer approved"
            moves.append(Move(f"{key}/{bucket}", held.gid, held.version, unit, bucket, "source", part, why, held.kind))
    return moves

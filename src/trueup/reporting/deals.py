"""What was sold: contracts and their lines, with what active change orders add to them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from trueup.store import objects
from trueup.store.database import Tx
from trueup.store.objects import Held


@dataclass(frozen=True, slots=True)
class SoldLine:
    """One line of a contract, change orders included.

    added     part of the amount that change orders added
    cap       change orders included; None means no cap
    """

    contract: str
    deal: str
    key: str
    package: str
    billing_method: str
    legal_entity: str
    currency: str
    amount: Decimal
    added: Decimal
    cap: Decimal | None
    active: bool


def sold_lines(tx: Tx, contracts: Iterable[Held] | None = None) -> list[SoldLine]:
    """Return the lines of new deals; an active change order raises amount and cap of the line it matches.

    contracts  only these; None takes every signed, active or finished one

    A change order's line belongs to the first line of the amended contract with the same legal entity and billing method.
    """
    everything = objects.of_kind(tx, "contract")
    orders: dict[str, list[Held]] = {}
    for held in everything:
        if held.body["contract_type"] == "change_order" and held.status == "active" and held.body["amends"]:
            orders.setdefault(held.body["amends"], []).append(held)
    wanted = everything if contracts is None else list(contracts)
    found = []
    for contract in wanted:
        if contract.body["contract_type"] != "new" or contract.status in ("draft", "lost"):
            continue
        lines = _lines(contract)
        for order in orders.get(contract.body["code"], []):
            for added in order.body["lines"]:
                _add(lines, added)
        found += lines
    return found


def _lines(contract: Held) -> list[SoldLine]:
    return [
        SoldLine(
            contract.gid,
            contract.body["code"],
            line["key"],
            line["package"],
            line["billing_method"],
            line["legal_entity"],
            line["currency"],
            Decimal(line["amount"]),
            Decimal(0),
            None if line["cap"] is None else Decimal(line["cap"]),
            contract.status == "active",
        )
        for line in contract.body["lines"]
    ]


def _add(lines: list[SoldLine], added: dict[str, str | None]) -> None:
    for at, line in enumerate(lines):
        if (line.legal_entity, line.billing_method) == (added["legal_entity"], added["billing_method"]):
            more, cap = Decimal(added["amount"] or 0), added["cap"]
            raised = line.cap + Decimal(cap) if line.cap is not None and cap is not None else line.cap
            lines[at] = replace(line, amount=line.amount + more, added=line.added + more, cap=raised)
            return

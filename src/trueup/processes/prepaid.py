"""Sets payments on account off against the invoices of their contract, oldest payment first, each cent once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl

from trueup.billing.frames import RunPlan
from trueup.billing.prepayments import ADVANCES, APPLICATIONS, DRAWING, apply_advances
from trueup.kernel.money import to_units
from trueup.pipeline.house import Firm, Prepayment
from trueup.store import objects
from trueup.store.database import Tx, array


@dataclass(frozen=True, slots=True)
class SetOff:
    """What is set off against one invoice, units.

    gross  of the invoice's total
    tax    VAT within it, which was due when the money came: the invoice deducts it
    by     keys of the payments, oldest first
    """

    gross: int
    tax: int
    by: tuple[str, ...]


def set_off(tx: Tx, firm: Firm, plan: RunPlan) -> dict[str, SetOff]:
    """Return what payments on account pay of each new invoice of a plan; invoices without any are left out.

    A payment is used by invoices of its contract in its legal entity and currency that are dated on or after its day.
    What a voided invoice had used is free again.
    """
    paid = {(one.contract, one.entity): one.currency for one in firm.prepayments}
    if not paid or plan.invoices.is_empty():
        return {}
    codes = {gid: held.body["code"] for gid, held in objects.load(tx, plan.invoices["contract"].unique()).items()}
    found: dict[str, SetOff] = {}
    drawn: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for row in plan.invoices.sort("invoice_date", "code").iter_rows(named=True):
        account = (codes.get(row["contract"], ""), row["legal_entity"], row["currency"])
        known = [
            one
            for one in firm.prepayments
            if (one.contract, one.entity, one.currency) == account and one.received_on <= row["invoice_date"]
        ]
        if not known or row["gross"] <= 0:
            continue
        if account not in drawn:
            drawn[account] = _used(tx, row["contract"], row["legal_entity"], row["currency"])
        used = _applied(known, drawn[account], row["code"], row["gross"])
        if used.height:
            gross = int(used["applied"].sum())
            found[row["code"]] = SetOff(gross, int(used["applied_tax"].sum()), tuple(used["advance"]))
            drawn[account].append((row["code"], gross))
    return found


def _applied(known: Sequence[Prepayment], before: Sequence[tuple[str, int]], code: str, gross: int) -> pl.DataFrame:
    """Lay what was used before in front of the new invoice, and return the new invoice's part."""
    account = "one"
    advances = [
        (account, one.key, place, to_units(one.gross, one.currency), to_units(one.tax, one.currency))
        for place, one in enumerate(sorted(known, key=lambda one: (one.received_on, one.key)))
    ]
    invoices = [
        (account, name, place, amount, 0) for place, (name, amount) in enumerate([*before, (code, gross)])
    ]  # fmt: skip
    applied = apply_advances(
        pl.DataFrame(advances, schema={name: c.dtype for name, c in ADVANCES.columns.items()}, orient="row"),
        pl.DataFrame(invoices, schema={name: c.dtype for name, c in DRAWING.columns.items()}, orient="row"),
    )
    return APPLICATIONS.read(applied).filter(pl.col("invoice") == code)


def _used(tx: Tx, contract: str, entity: str, currency: str) -> list[tuple[str, int]]:
    rows = tx.rows(
        """
        select body ->> 'code' as code, body ->> 'prepaid' as prepaid from objects
        where kind = 'invoice' and tombstone is null and status <> 'voided' and body ->> 'contract' = %(contract)s
            and body ->> 'legal_entity' = %(entity)s and body ->> 'currency' = %(currency)s
            and body ->> 'prepaid' is not null
        order by (body ->> 'invoice_date')::date, code
        """,
        {"contract": contract, "entity": entity, "currency": currency},
    )
    return [(row["code"], to_units(Decimal(row["prepaid"]), currency)) for row in rows]


@dataclass(frozen=True, slots=True)
class Account:
    """One payment on account, as it stands."""

    contract: str
    entity: str
    key: str
    received_on: date
    currency: str
    gross: Decimal
    used: Decimal


def accounts(tx: Tx, firm: Firm) -> list[Account]:
    """Return every payment on account with what was used of it, oldest first within a contract."""
    rows = tx.rows(
        """
        select c.body ->> 'code' as contract, i.body ->> 'legal_entity' as entity, i.body ->> 'currency' as currency,
            sum((i.body ->> 'prepaid')::numeric) as used
        from objects i join objects c on c.gid = i.body ->> 'contract'
        where i.kind = 'invoice' and i.tombstone is null and i.status <> 'voided' and i.body ->> 'prepaid' is not null
            and c.body ->> 'code' = any(%s::text[])
        group by 1, 2, 3
        """,
        (array(sorted({one.contract for one in firm.prepayments})),),
    )
    left = {(row["contract"], row["entity"], row["currency"]): row["used"] for row in rows}
    found = []
    for one in sorted(firm.prepayments, key=lambda one: (one.contract, one.entity, one.received_on, one.key)):
        account = (one.contract, one.entity, one.currency)
        used = min(one.gross, left.get(account, Decimal(0)))
        left[account] = left.get(account, Decimal(0)) - used
        found.append(Account(*account[:2], one.key, one.received_on, one.currency, one.gross, used))
    return found

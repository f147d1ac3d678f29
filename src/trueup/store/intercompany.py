"""Charges between legal entities: written once for each version of a fact, read back as totals."""

from collections.abc import Sequence
from typing import Any

from trueup.store.database import Tx

COLUMNS = (
    "pair", "fact", "fact_version", "period", "lender", "borrower", "project", "resource", "worked_on", "minutes",
    "rule", "amount", "currency", "amount_borrower", "currency_borrower", "fx_e9", "fx_on", "fx_source",
    "vat_treatment",
)  # fmt: skip


def charge(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> int:
    """Write charges with the values of `COLUMNS`; one that is there stays as it is. Returns how many are new."""
    before = count(tx)
    tx.many(
        """
        insert into intercompany_charges (pair, fact, fact_version, period, lender, borrower, project, resource,
            worked_on, minutes, rule, amount, currency, amount_borrower, currency_borrower, fx_e9, fx_on, fx_source,
            vat_treatment)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
        """,
        rows,
    )
    return count(tx) - before


def count(tx: Tx) -> int:
    """Return how many charges there are, all versions."""
    return int(str(tx.value("select count(*) from intercompany_charges")))


def totals(tx: Tx, period: str) -> list[dict[str, Any]]:
    """Return a month's sums for each pair of legal entities: lender, borrower, minutes, both amounts and currencies."""
    return tx.rows(
        """
        select lender, borrower, currency, currency_borrower, sum(minutes)::bigint as minutes,
            sum(amount)::bigint as amount, sum(amount_borrower)::bigint as amount_borrower
        from intercompany_current where period = %s
        group by lender, borrower, currency, currency_borrower order by lender, borrower
        """,
        (period,),
    )

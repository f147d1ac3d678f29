"""Billing events for readers: the priced charges, each under its own key."""

from decimal import Decimal
from typing import Any

from trueup.kernel.money import from_units
from trueup.store.database import Found, Tx

FILTERS = ("project", "contract", "period", "document", "kind", "legal_entity", "fact")


def listing(tx: Tx, where: dict[str, Any], *, after: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """Return charges by key, those whose columns equal the given values (`FILTERS`); keyset paging by `after`."""
    rows = tx.rows(
        """
        select * from charges where key > %(after)s
            and (%(project)s::text is null or project = %(project)s)
            and (%(contract)s::text is null or contract = %(contract)s)
            and (%(period)s::text is null or period = %(period)s)
            and (%(document)s::text is null or document = %(document)s)
            and (%(kind)s::text is null or kind = %(kind)s)
            and (%(legal_entity)s::text is null or legal_entity = %(legal_entity)s)
            and (%(fact)s::text is null or fact = %(fact)s)
        order by key limit %(limit)s
        """,
        dict.fromkeys(FILTERS) | where | {"after": after, "limit": limit},
    )
    return [_shown(row) for row in rows]


def one(tx: Tx, key: str) -> dict[str, Any] | None:
    """Return one charge by its key."""
    row = tx.row("select * from charges where key = %s", (key,))
    return None if row is None else _shown(row)


def _shown(row: Found) -> dict[str, Any]:
    """Turn units into major units; the trace stays as billing wrote it."""
    row["amount"] = _major(row["amount"], row["currency"])
    if row["rate"] is not None:
        row["rate"] = _major(row["rate"], row["currency"])
    return row


def _major(units: int, currency: str) -> Decimal:
    return from_units(units, currency)

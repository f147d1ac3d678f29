"""What customers owe by our own books: gross, less payments applied, less credits; the ERP's balance is compared with it."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from trueup.store.database import Tx


@dataclass(frozen=True, slots=True)
class Owed:
    """One posted invoice.

    gross    total with tax
    credited gross taken back by credits
    balance  what is still owed
    due_on   day it is due; None where the invoice does not say
    """

    gid: str
    legal_entity: str
    currency: str
    day: date
    gross: Decimal
    credited: Decimal
    balance: Decimal
    due_on: date | None = None


def owed(tx: Tx) -> list[Owed]:
    """Return every posted invoice with what is still owed on it."""
    rows = tx.rows(
        """
        select i.gid, i.body ->> 'legal_entity' as legal_entity, i.body ->> 'currency' as currency,
            (i.body ->> 'invoice_date')::date as day, (i.body ->> 'gross')::numeric as gross,
            coalesce(c.amount, 0) as credited, (i.body ->> 'gross')::numeric - coalesce(p.amount, 0) - coalesce(c.amount, 0) as balance,
            (i.body ->> 'due_on')::date as due_on
        from objects i
        left join (
            select a ->> 'invoice' as gid, sum((a ->> 'amount')::numeric) as amount
            from objects, jsonb_array_elements(body -> 'applications') a
            where kind = 'payment' and status <> 'reversed' group by 1) p on p.gid = i.gid
        left join (
            select body ->> 'corrects' as gid, sum((body ->> 'gross')::numeric) as amount
            from objects where kind = 'invoice' and body ->> 'invoice_type' = 'credit' and tombstone is null group by 1
            ) c on c.gid = i.gid
        where i.kind = 'invoice' and i.body ->> 'invoice_type' = 'invoice' and i.tombstone is null
            and i.status in ('posted', 'part_paid', 'paid', 'credited')
        order by i.gid
        """
    )
    return [Owed(**row) for row in rows]

"""People's decisions about what is billed: proposed by one, applied by another, undone with a reason, kept for ever."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from trueup.store.database import Tx, array

FACT = (
    "fact", "charge", "fact_version", "project", "currency", "unit", "quantity", "amount", "old_amount", "new_amount",
    "document", "line_key", "rate", "rate_line",
)  # fmt: skip


def propose(
    tx: Tx, *, key: str, kind: str, legal_entity: str, reason: str, by: str, two_people: bool,
    facts: Sequence[Mapping[str, Any]], until: date | None = None, policy: str | None = None,
) -> int | None:  # fmt: skip
    """Write a decision that waits for a second person; return its number, None when the key is known.

    facts  one row each, with the columns of `FACT`; money in units
    """
    number = tx.value(
        """
        insert into adjustments (key, kind, legal_entity, reason, proposed_by, two_people, until, policy)
        values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict on constraint adjustments_once do nothing returning number
        """,
        (key, kind, legal_entity, reason, by, two_people, until, policy),
    )
    if number is None:
        return None
    tx.copy("adjustment_facts", ("adjustment", *FACT), [(number, *map(row.get, FACT)) for row in facts])
    return int(number)


def one(tx: Tx, number: int) -> dict[str, Any] | None:
    """Return one decision, locked until the transaction ends, with its facts as `facts`."""
    found = tx.row("select * from adjustments where number = %s for update", (number,))
    if found is None:
        return None
    return {**found, "facts": tx.rows("select * from adjustment_facts where adjustment = %s order by fact", (number,))}


def entity_of(tx: Tx, number: int) -> str | None:
    """Return the legal entity of a decision, None when there is none of this number."""
    found = tx.value("select legal_entity from adjustments where number = %s", (number,))
    return None if found is None else str(found)


def decide(tx: Tx, number: int, state: str, by: str) -> None:
    """Apply or reject a proposal."""
    tx.run(
        "update adjustments set state = %s, approved_by = %s, decided_at = now() where number = %s and state = 'proposed'",
        (state, by, number),
    )


def undo(tx: Tx, number: int, by: str, reason: str) -> None:
    """Note that a decision was taken back."""
    tx.run(
        """
        update adjustments set state = 'undone', undone_by = %s, undone_at = now(), undo_reason = %s
        where number = %s and state = 'applied'
        """,
        (by, reason, number),
    )


def listed(tx: Tx, state: str | None = None, limit: int = 500) -> list[dict[str, Any]]:
    """Return decisions, the newest first, with the count of their facts and amounts by currency."""
    return tx.rows(
        """
        select a.*, f.facts, f.amounts from adjustments a
        cross join lateral (
            select coalesce(sum(count), 0)::bigint as facts, coalesce(jsonb_object_agg(currency, amount), '{}') as amounts
            from (select currency, count(*) as count, sum(amount)::bigint as amount from adjustment_facts
                  where adjustment = a.number group by currency) by_currency) f
        where (%(state)s::text is null or a.state = %(state)s) order by a.number desc limit %(limit)s
        """,
        {"state": state, "limit": limit},
    )


def postponed(tx: Tx, legal_entity: str, upto: date) -> list[str]:
    """Return facts that may not be billed in a run up to a day, because a decision put them off until later."""
    rows = tx.rows(
        """
        select distinct f.fact from adjustments a join adjustment_facts f on f.adjustment = a.number
        where a.legal_entity = %s and a.kind = 'postponed' and a.state = 'applied' and a.until > %s order by f.fact
        """,
        (legal_entity, upto),
    )
    return [row["fact"] for row in rows]


def waiting(tx: Tx, legal_entity: str) -> list[dict[str, Any]]:
    """Return applied decisions that change a bill and are on none yet, with what is left of each.

    Returns   rows of `adjustment_facts` with number, kind, reason and left_amount (units)
    """
    return tx.rows(
        """
        select f.*, a.number, a.kind, a.reason, (f.amount - coalesce(d.amount, 0))::bigint as left_amount
        from adjustments a join adjustment_facts f on f.adjustment = a.number
        left join lateral (
            select sum(c.amount - coalesce((select sum(amount) from reopenings where charge = c.key), 0)) as amount
            from charges c
            where c.fact = f.fact and c.kind in ('adjustment', 'delta') and c.trace ->> 'adjustment' = a.number::text
                and c.trace ->> 'charge' = f.charge) d on true
        where a.legal_entity = %s and a.state = 'applied' and a.kind in ('write_down', 'write_up', 'courtesy', 're_rate')
            and f.amount <> coalesce(d.amount, 0)
        order by a.number, f.fact, f.charge
        """,
        (legal_entity,),
    )


def settled(tx: Tx, number: int, charges: Sequence[str]) -> None:
    """Note that parts of a re-rating became a credit or a rebill, so that no bill carries them as a delta again."""
    tx.run(
        "update adjustment_facts set amount = 0 where adjustment = %s and charge = any(%s::text[])",
        (number, array(charges)),
    )


def moot(tx: Tx, charges: Sequence[str]) -> None:
    """Let no bill carry a waiting difference of charges that are taken back whole: what is billed anew has its price."""
    tx.run(
        """
        update adjustment_facts f set amount = coalesce((
            select sum(c.amount - coalesce((select sum(amount) from reopenings where charge = c.key), 0))
            from charges c
            where c.fact = f.fact and c.kind = 'delta' and c.trace ->> 'adjustment' = a.number::text
                and c.trace ->> 'charge' = f.charge), 0)
        from adjustments a
        where a.number = f.adjustment and a.kind = 're_rate' and a.state = 'applied' and f.charge = any(%s::text[])
        """,
        (array(charges),),
    )


def take_edits(tx: Tx, legal_entity: str) -> list[str]:
    """Take the entries of a legal entity that were edited after they were billed: each is looked at once."""
    rows = tx.rows(
        """
        delete from edits e using time_entries t join objects p on p.gid = t.project
        where t.gid = e.fact and p.body ->> 'legal_entity' = %s returning e.fact
        """,
        (legal_entity,),
    )
    return sorted(row["fact"] for row in rows)

"""Months that a system has refused a document in: one refusal is enough, one document at a time asks again."""

from collections.abc import Sequence
from typing import Any

from trueup.store.database import Tx

ASK_AGAIN_SECONDS = 1800.0


def learn(tx: Tx, system: str, legal_entity: str, period: str, reason: str) -> None:
    """Note that a month is closed there; nobody asks again for a while."""
    tx.run(
        """
        insert into vendor_periods (system, legal_entity, period, reason, ask_again_at)
        values (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
        on conflict (system, legal_entity, period) do update set reason = excluded.reason,
            ask_again_at = excluded.ask_again_at, asked_by = null
        """,
        (system, legal_entity, period, reason[:300], ASK_AGAIN_SECONDS),
    )


def closed(tx: Tx, system: str) -> dict[tuple[str, str], float]:
    """Return the months known to be closed: (legal entity, period) -> seconds until one document asks again."""
    return {
        (row["legal_entity"], row["period"]): max(0.0, row["seconds"])
        for row in tx.rows(
            """
            select legal_entity, period, extract(epoch from ask_again_at - clock_timestamp())::float8 as seconds
            from vendor_periods where system = %s
            """,
            (system,),
        )
    }


def ask_again(tx: Tx, system: str, legal_entity: str, period: str, key: str) -> bool:
    """Let one document through to ask whether a month is open again; False when another one is asking."""
    return bool(
        tx.run(
            """
            update vendor_periods set asked_by = %s, ask_again_at = clock_timestamp() + make_interval(secs => %s)
            where system = %s and legal_entity = %s and period = %s and ask_again_at <= clock_timestamp()
            """,
            (key, ASK_AGAIN_SECONDS, system, legal_entity, period),
        )
    )


def opened(tx: Tx, system: str, months: Sequence[tuple[str, str]]) -> int:
    """Forget that months were closed, and wake what waited for them; return how many deliveries that were.

    months  (legal entity, period)
    """
    woken = 0
    for legal_entity, period in months:
        if tx.run(
            "delete from vendor_periods where system = %s and legal_entity = %s and period = %s",
            (system, legal_entity, period),
        ):
            woken += tx.run(
                """
                update deliveries set due_at = now()
                where system = %s and legal_entity = %s and state = 'due' and code = 'PERIOD_CLOSED' and due_at > now()
                """,
                (system, legal_entity),
            )
    return woken


def known(tx: Tx) -> list[dict[str, Any]]:
    """Return every month a system is known to refuse, with the reason it gave."""
    return tx.rows("select * from vendor_periods order by system, legal_entity, period")

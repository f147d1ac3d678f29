"""Who may call us: tokens with scopes, and idempotency keys with their answers."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from trueup.store.database import Tx, json


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def issue(tx: Tx, name: str, scopes: Sequence[str], *, token: str | None = None, days: int | None = None) -> str:
    """Make a token; only its digest is kept. A given token is taken over (the demo keeps its own)."""
    token = token or "tu_" + secrets.token_urlsafe(32)
    tx.run(
        """
        insert into tokens (digest, name, scopes, expires_at) values (%s, %s, %s, now() + make_interval(days => %s))
        on conflict (digest) do nothing
        """,
        (_digest(token), name, list(scopes), days),
    )
    return token


def holder(tx: Tx, token: str) -> dict[str, Any] | None:
    """Return name and scopes of a living token, or None."""
    return tx.row(
        """
        update tokens set last_used_at = now()
        where digest = %s and revoked_at is null and (expires_at is null or expires_at > now()) returning name, scopes, digest
        """,
        (_digest(token),),
    )


def begin_request(tx: Tx, token: str, key: str, digest: str) -> dict[str, Any] | None:
    """Open an idempotency key; returns the earlier request when the key was used before."""
    if tx.run(
        "insert into requests (token, key, digest) values (%s, %s, %s) on conflict do nothing", (token, key, digest)
    ):
        return None
    return tx.row("select digest, status, body from requests where token = %s and key = %s", (token, key))


def end_request(tx: Tx, token: str, key: str, status: int, body: Any) -> None:
    """Keep the answer given under a key."""
    tx.run("update requests set status = %s, body = %s where token = %s and key = %s", (status, json(body), token, key))


def alone(tx: Tx, *names: str) -> bool:
    """Take a name for the length of this transaction; False when another transaction has it."""
    return bool(tx.value("select pg_try_advisory_xact_lock(hashtextextended(%s, 0))", ("\x1f".join(names),)))

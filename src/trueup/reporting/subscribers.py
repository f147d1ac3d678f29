"""Who is told of business events, how far each is, and what waits for a person."""

from typing import Any

from trueup.pipeline.house import House
from trueup.store import subscriptions
from trueup.store.database import Tx


def states(tx: Tx, house: House) -> list[dict[str, Any]]:
    """Return subscriptions with what the workspace says of each, never a secret.

    Returns   see `subscriptions.listing`, and url (None when no file names it any more: it is told nothing), types, ordered
    """
    found = []
    for row in subscriptions.listing(tx):
        one = house.subscribers.get(row["subscription"])
        about = {"url": one and one.url, "types": list(one.types) if one else [], "ordered": bool(one and one.ordered)}
        found.append({**row, **about})
    return found

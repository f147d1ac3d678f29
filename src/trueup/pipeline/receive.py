"""A vendor calls: believe it or not, keep what came, and answer only after the commit."""

import json as jsonlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trueup.connectors.sdk.webhook import refuse
from trueup.connectors.sdk.wire import Record
from trueup.kernel.strict_json import read
from trueup.pipeline.house import System
from trueup.store.inbox import Arrival, Lane

MAX_BYTES = 1_000_000
UNNAMED = "unnamed"
"""Object of an authentic call that names nothing we read."""


@dataclass(frozen=True, slots=True)
class Reception:
    """What becomes of a call.

    status    HTTP status to answer once the arrivals are committed
    reason    why it was not believed (401) or not understood (kept, but quarantined by its lane)
    records   whole records the call carried, each with the lane it is taken in by
    """

    status: int
    arrivals: tuple[Arrival, ...] = ()
    reason: str = ""
    records: tuple[tuple[Lane, Arrival], ...] = ()


def hear(system: System, headers: Mapping[str, str], body: bytes) -> Reception:
    """Check one call and read which records it is about; touches no database.

    headers  lower-case names

    An authentic call is always kept, also when nothing can be read from it: then it is one arrival of the
    object `unreadable`, which is quarantined with its raw bytes. One that names no record of an object we read is kept
    as `unnamed` and ignored by that rule: what was accepted can always be found again.
    """
    scheme = system.connector.manifest.webhook
    if scheme is None:
        return Reception(404, reason=f"{system.name} sends no webhooks")
    if len(body) > MAX_BYTES:
        return Reception(413, reason=f"more than {MAX_BYTES} bytes")
    wrong = refuse(scheme, system.client.connection.webhook_secret, headers, body, time.time())
    if wrong is not None:
        return Reception(401, reason=wrong)
    said = describe(headers)
    try:
        notices = system.client.notices(read(body))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as unread:
        return Reception(
            200, (Arrival("unreadable", "", "", body, headers=said),), f"{type(unread).__name__}: {unread}"
        )
    if not notices:
        return Reception(200, (Arrival(UNNAMED, "", "", body, headers=said),), "names no record of an object we read")
    stamp = headers.get((scheme.timestamp_header or "").lower(), "")
    announced = tuple(Arrival(n.object, n.external_id, stamp, body, headers=said) for n in notices if n.record is None)
    reads = system.connector.manifest.reads
    records = tuple(
        (reads[one.object].lane, Arrival(one.object, one.external_id, one.stamp, one.raw, one.deleted, said))
        for n in notices
        if (one := n.record) is not None and one.object in reads
    )
    return Reception(200, announced, records=records)


def describe(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers worth keeping: never a secret."""
    kept = ("content-type", "user-agent", "webhook-id", "webhook-timestamp")
    return {name: headers[name][:200] for name in kept if name in headers}


def arrivals(records: Sequence[Record]) -> list[Arrival]:
    """Return records as the inbox keeps them."""
    return [Arrival(one.object, one.external_id, one.stamp, one.raw, one.deleted) for one in records]


def shown(body: bytes) -> str:
    """Return raw bytes as a person can read them: indented JSON when they are JSON."""
    try:
        return jsonlib.dumps(jsonlib.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "backslashreplace")

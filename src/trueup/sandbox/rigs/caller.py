"""A vendor that calls all the time about records that do not exist, so that nothing but the calls themselves is counted."""

import json
import time
from dataclasses import dataclass

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.webhook import sign
from trueup.kernel.errors import Broken

SYSTEM = "salesforce"
MARK = "00RIG"
"""How the identifiers of its records begin."""


@dataclass(frozen=True, slots=True)
class Call:
    """One webhook, signed now."""

    record: str
    headers: dict[str, str]
    body: bytes


def call(secret: str, number: int) -> Call:
    """Return the vendor's call of this number, about a record of its own.

    secret  what the vendor and the hub share
    """
    scheme = registry.load(SYSTEM).manifest.webhook
    if scheme is None:
        raise Broken(f"{SYSTEM} has no webhooks to call with")
    record = f"{MARK}{number:010d}AAA"
    header = {"entityName": "Account", "recordIds": [record], "changeType": "UPDATE"}
    event = {"schema": "s", "payload": {"ChangeEventHeader": header}, "event": {"replayId": number}}
    body = json.dumps(event).encode()
    signed = sign(scheme, secret, str(int(time.time())), body)
    return Call(record, {"Content-Type": "application/json", **signed}, body)

"""A stamp of whole seconds says what a record was only when that second is over; this knows when it is."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from trueup.connectors.sdk.wire import Answer

LITTLE_MORE_THAN_A_SECOND = 1.05


def answered_at(answer: Answer) -> datetime:
    """Return the vendor's clock when it answered, in whole seconds; ours when it does not say.

    Source    RFC 9110, 6.6.1 (Date)
    """
    try:
        at = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        at = datetime.now(UTC)
    return at.astimezone(UTC).replace(microsecond=0)


def over(stamp: datetime, answer: Answer) -> bool:
    """Say whether the second of this stamp was over when the vendor answered."""
    return stamp.replace(microsecond=0) < answered_at(answer)


def wait_out(stamps: Iterable[datetime], answer: Answer) -> bool:
    """Wait until every second among the stamps is over; say whether there was something to wait for.

    Two changes within one second carry the same stamp. Who reads between them would take the second one for
    something known, so a record changed just now is read again a second later.
    """
    if all(over(stamp, answer) for stamp in stamps):
        return False
    time.sleep(LITTLE_MORE_THAN_A_SECOND)
    return True

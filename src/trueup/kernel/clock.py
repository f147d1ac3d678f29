"""The one place that knows what time it is."""

from datetime import UTC, date, datetime


def now() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)


def today() -> date:
    """Return the present day in UTC."""
    return now().date()


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant with its zone, also the forms `+0000` and `Z`.

    Raises    ValueError when there is no zone (a time without a zone is no instant), or UTC has no such year.
    """
    if len(text) > 5 and text[-5] in "+-" and text[-4:].isdigit():
        text = f"{text[:-2]}:{text[-2:]}"
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return instant.astimezone(UTC)
    except OverflowError as beyond:
        raise ValueError(f"{text!r} lies outside the calendar") from beyond

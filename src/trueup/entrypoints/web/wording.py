"""Words and figures for people: one status vocabulary, money, times and names, the same on every page."""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from trueup.kernel.money import minor_digits

STATUS: Mapping[str, str] = {
    "accept": "done",
    "active": "running",
    "agree": "done",
    "applied": "done",
    "approved": "done",
    "archived": "cancelled",
    "cancelled": "cancelled",
    "closed": "done",
    "compensated": "cancelled",
    "completed": "done",
    "confirmed": "done",
    "credited": "cancelled",
    "delivery_complete": "done",
    "differs": "differs",
    "done": "done",
    "draft": "waiting",
    "due": "waiting",
    "expected": "waiting",
    "failed": "failed",
    "failing": "failed",
    "financially_closed": "done",
    "hard": "done",
    "held": "held",
    "hold": "held",
    "ignored": "cancelled",
    "in_progress": "running",
    "inactive": "cancelled",
    "landed": "running",
    "late": "cancelled",
    "leave": "held",
    "lost": "cancelled",
    "matched": "done",
    "merged": "cancelled",
    "on_hold": "held",
    "open": "waiting",
    "paid": "done",
    "parked": "held",
    "part_paid": "running",
    "paused": "held",
    "pending": "waiting",
    "planned": "waiting",
    "posted": "done",
    "processing": "running",
    "pre_hire": "waiting",
    "propose": "differs",
    "prospect": "waiting",
    "quarantined": "failed",
    "received": "done",
    "reimbursed": "done",
    "rejected": "failed",
    "released": "cancelled",
    "requested": "waiting",
    "retired": "cancelled",
    "retrying": "retrying",
    "reversed": "cancelled",
    "running": "running",
    "sending": "running",
    "signed": "done",
    "silent": "waiting",
    "soft": "waiting",
    "submitted": "waiting",
    "superseded": "cancelled",
    "terminated": "cancelled",
    "unknown": "retrying",
    "up": "done",
    "voided": "cancelled",
    "waiting": "waiting",
    "CANCELLED": "cancelled",
    "DELAYED": "waiting",
    "ENQUEUED": "waiting",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "PENDING": "running",
    "SUCCESS": "done",
}
"""Any state of anything -> word of the status vocabulary, which has an icon and a colour."""

WORDS: Mapping[str, str] = {
    "SUCCESS": "done",
    "ENQUEUED": "waiting",
    "PENDING": "running",
    "DELAYED": "waiting",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
    "accept": "accepted",
    "agree": "agreed",
    "hold": "held",
    "propose": "kept apart",
    "hard": "booked",
    "soft": "tentative",
}
"""States whose own word is not the one to show."""

ROLES: Mapping[str, str] = {
    "crm": "CRM",
    "psa": "PSA",
    "erp": "ERP",
    "hris": "HR",
    "expense": "Expenses",
    "hub": "Hub",
}

KIND_NAMES: Mapping[str, str] = {
    "cost_rate": "cost rate",
    "expense_line": "expense",
    "journal_reference": "journal",
    "rate_line": "rate line",
    "resource": "person",
    "revenue_schedule": "revenue schedule",
    "time_entry": "time entry",
}


def status_of(state: str) -> str:
    """Return the word of the status vocabulary for any state of anything."""
    return STATUS.get(state, "waiting")


def word(state: str) -> str:
    """Return a state as a person reads it."""
    return WORDS.get(state, state.replace("_", " ").lower())


def kind_name(kind: str) -> str:
    """Return what a person calls a kind of object."""
    return KIND_NAMES.get(kind, kind.replace("_", " "))


def digits(amount: Decimal | str | None, currency: str | None = None) -> str:
    """Write an amount with its currency's digits, grouped, with a real minus sign; a dash for nothing.

    >>> digits(Decimal("-12400"), "EUR"), digits(Decimal("5000"), "JPY")
    ('−12,400.00', '5,000')
    """
    if amount is None:
        return "–"
    value = Decimal(amount)
    least = minor_digits(currency) if currency else max(0, -int(value.as_tuple().exponent))
    places = max(least, -int(value.normalize().as_tuple().exponent))
    text = f"{value:,.{places}f}"
    return f"−{text[1:]}" if text.startswith("-") else text


def number(value: Decimal | str | None) -> str:
    """Write a quantity without the zeros that say nothing.

    >>> number(Decimal("30.2500")), number(Decimal("5.0"))
    ('30.25', '5')
    """
    if value is None:
        return "–"
    plain = Decimal(value).normalize()
    return f"{plain:,f}".replace("-", "−")


def sentence(text: str) -> str:
    """Begin with a capital; every other letter stays.

    >>> sentence("open in the ERP")
    'Open in the ERP'
    """
    return text[:1].upper() + text[1:]


def times(count: int) -> str:
    """Write how often.

    >>> times(1), times(3)
    ('once', '3 times')
    """
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def count(number: int | None) -> str:
    """Write a whole number, grouped."""
    return "–" if number is None else f"{number:,}".replace("-", "−")


def hours(minutes: int | None) -> str:
    """Write minutes as hours.

    >>> hours(435)
    '7.25 h'
    """
    if minutes is None:
        return "–"
    return f"{Decimal(minutes) / 60:,.2f} h".replace("-", "−")


def took(milliseconds: int | None) -> str:
    """Write a length of time for people.

    >>> took(95), took(3100), took(260000)
    ('95 ms', '3.1 s', '4 min')
    """
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    return span(timedelta(milliseconds=milliseconds))


def span(length: timedelta) -> str:
    """Write how long something has been, in its two largest units.

    >>> span(timedelta(days=1, hours=3, minutes=59)), span(timedelta(seconds=42))
    ('1 d 3 h', '42 s')
    """
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 and minutes < 600 else f"{minutes // 60} h"
    days, rest = divmod(minutes // 60, 24)
    return f"{days} d {rest} h" if rest and days < 10 else f"{days} d"


def instant(at: datetime | None) -> str:
    """Write an instant in full, in UTC."""
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def day(on: date | str | None) -> str:
    """Write a day so that nobody mistakes month and day."""
    if not on:
        return "–"
    value = date.fromisoformat(on) if isinstance(on, str) else on
    return f"{value.day} {value:%b %Y}"


def month(period: str | None) -> str:
    """Write an accounting month.

    >>> month("2026-08")
    'Aug 2026'
    """
    if not period:
        return "–"
    return f"{date.fromisoformat(f'{period}-01'):%b %Y}"


def named(text: str, titles: Mapping[str, str]) -> str:
    """Write systems' names as their makers do, where a sentence names them as we configure them.

    >>> named("acme refused the write", {"acme": "Acme One"})
    'Acme One refused the write'
    """
    for name, title in titles.items():
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", title, text)
    return text


def plainly(value: Any) -> str:
    """Write any value of an object's body for people."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"{len(value)} rows" if value and isinstance(value[0], dict) else ", ".join(map(str, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {plainly(item)}" for name, item in value.items())
    return str(value)

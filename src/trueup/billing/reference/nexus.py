"""Whether a seller is liable for sales tax in one state, sale by sale."""

from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal

from trueup.billing.nexus import threshold_on, windows
from trueup.billing.tax_tables import NO_SALES_TAX

Sale = tuple[str, date, Decimal]


def reason(state: str, sales: Sequence[Sale], presence: Collection[str], on: date) -> str:
    """Return presence, sales, or nothing where a seller is not liable."""
    if state in NO_SALES_TAX:
        return ""
    if state in presence:
        return "presence"
    known = threshold_on(state, on)
    for first in windows(known.window, on):
        last = min(on, date(first.year, 12, 31)) if known.window == "calendar" else on
        inside = [net for where, day, net in sales if where == state and first <= day <= last]
        enough = sum(inside) >= known.sales
        often = known.transactions is not None and sum(1 for net in inside if net > 0) >= known.transactions
        if known.transactions is None or not known.both:
            reached = enough or often
        else:
            reached = enough and often
        if inside and reached:
            return "sales"
    return ""

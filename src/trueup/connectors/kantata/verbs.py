"""Three words only these mappings need: an approval, minutes as hours, and a budget in whole units."""

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Protocol

from trueup.kernel.problems import Wrong

Convert = Callable[[Any, Any, Any], Any]

SUBMISSIONS = {"approved": "approved", "pending": "submitted", "rejected": "rejected", "cancelled": "draft"}


class Line(Protocol):
    """What a verb is told about its line of a mapping file."""

    @property
    def path(self) -> Any:
        """The path after the verb."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The options after the path."""


def approval(line: Line) -> Convert:
    """`{approval: time_entry, submission: submission}`: how far a time entry has come.

    An entry the vendor calls approved is approved, also where a project needs no approvals and there is no timesheet;
    otherwise its timesheet decides, and an entry on no timesheet is a draft.
    """
    submission = str(line.options.get("submission", "submission"))

    def convert(value: Any, row: Any, record: Any) -> str:
        if not isinstance(value, dict):
            raise Wrong("not_an_object", f"{line.path} is no time entry")
        if value.get("approved") is True:
            return "approved"
        sheet = row.get(submission)
        if sheet is None:
            return "draft"
        status = str(sheet.get("status")) if isinstance(sheet, dict) else ""
        if status not in SUBMISSIONS:
            raise Wrong("not_in_table", f"{submission}.status is {status!r}; a timesheet is {', '.join(SUBMISSIONS)}")
        return SUBMISSIONS[status]

    return convert


def minutes_to_hours(line: Line) -> Convert:
    """`{minutes_to_hours: story.time_estimate_in_minutes}`: whole minutes as decimal hours, to four digits."""

    def convert(value: Any, row: Any, record: Any) -> Decimal:
        return (_number(line, value) / 60).quantize(Decimal("0.0001")).normalize() + 0

    return convert


def whole(line: Line) -> Convert:
    """`{whole: budget}`: an amount in whole units of its currency, half away from zero: the vendor takes no cents."""
    return lambda value, row, record: int(_number(line, value).quantize(Decimal(1), ROUND_HALF_UP))


def _number(line: Line, value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite():
        raise Wrong("not_a_number", f"{line.path} is {value!r}, not a number")
    return number


VERBS: Mapping[str, Callable[[Line], Convert]] = {
    "approval": approval,
    "minutes_to_hours": minutes_to_hours,
    "whole": whole,
}

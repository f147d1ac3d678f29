"""BambooHR's own encodings, as mapping verbs."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Protocol

from trueup.kernel.problems import Wrong

Convert = Callable[[Any, Any, Any], Any]
NEVER = "0000-00-00"


class Line(Protocol):
    """What a verb is told about its line of a mapping file."""

    @property
    def path(self) -> Any:
        """The path after the verb."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The options after the path."""


def day_or_never(line: Line) -> Convert:
    """`{day_or_never: terminationDate}`: a calendar day; the day of zeros stands for none."""

    def convert(value: Any, row: Any, record: Any) -> date | None:
        if value == NEVER:
            return None
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            raise Wrong("not_a_day", f"{line.path} is {value!r}; a day is written 2026-08-31") from None

    return convert


def employment(line: Line) -> Convert:
    """`{employment: status, ended: terminationDate}`: an inactive person who has not left has not begun yet."""
    ended = str(line.options.get("ended", "terminationDate"))

    def convert(value: Any, row: Any, record: Any) -> str:
        if value == "Active":
            return "active"
        if value != "Inactive":
            raise Wrong("not_in_table", f"{line.path} is {value!r}; we know Active and Inactive")
        return "pre_hire" if row.get(ended) in (None, "", NEVER) else "terminated"

    return convert


VERBS: dict[str, Callable[[Line], Convert]] = {"day_or_never": day_or_never, "employment": employment}

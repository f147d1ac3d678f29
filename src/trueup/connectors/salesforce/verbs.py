"""Salesforce's own encodings, as mapping verbs."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Protocol

from trueup.kernel.problems import Wrong

Convert = Callable[[Any, Any, Any], Any]


class Line(Protocol):
    """What a verb is told about its line of a mapping file."""

    @property
    def path(self) -> Any:
        """The path after the verb."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The options after the path."""


def won_day(line: Line) -> Convert:
    """`{won_day: CloseDate, won: IsWon}`: the day a deal was won; the close date of an open one is a hope."""
    won = str(line.options.get("won", "IsWon"))

    def convert(value: Any, row: Any, record: Any) -> date | None:
        if row.get(won) is not True:
            return None
        try:
            return date.fromisoformat(str(value)[:10])
        except ValueError:
            raise Wrong("not_a_day", f"{line.path} is {value!r}; a day is written 2026-08-31") from None

    return convert


VERBS: dict[str, Callable[[Line], Convert]] = {"won_day": won_day}

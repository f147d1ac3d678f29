"""What is wrong with a record, as a value: bad data never raises past its line."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field of one record.

    field    canonical field (or target path, outward) the line would have filled
    code     stable word for grouping: not_in_table, missing, not_a_number, unknown_reference
    message  what happened and what to do, for the person who owns the data
    """

    field: str
    code: str
    message: str


class RowsWrong(Exception):
    """Raised by a mapping verb for the rows inside one line, with the problems of all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("problems in rows")
        self.problems = tuple(problems)


class Wrong(ValueError):
    """Raised by a mapping verb for one line; `translate` turns it into a Problem."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

"""SuiteQL as far as an integration needs it: one table, conditions, an order by a unique key.

    SELECT id, TO_CHAR(lastmodifieddate, 'YYYY-MM-DD"T"HH24:MI:SS') AS stamp FROM transaction
    WHERE type = 'CustInvc' AND lastmodifieddate >= TO_TIMESTAMP('...', '...') ORDER BY lastmodifieddate, id

What a statement may not say is refused, never guessed at. Source: section_157909186990.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol

from trueup.connectors.netsuite.answers import refuse
from trueup.connectors.sdk.simulate import Reject

MASKS: Final = {
    'YYYY-MM-DD"T"HH24:MI:SS': "%Y-%m-%dT%H:%M:%S",
    "YYYY-MM-DD HH24:MI:SS": "%Y-%m-%d %H:%M:%S",
    "YYYY-MM-DD": "%Y-%m-%d",
}
_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\d+(?:\.\d+)?)|([A-Za-z_][A-Za-z0-9_]*)|(<>|!=|>=|<=|[=<>(),]))")
_KEYS = frozenset({"id", "recordid"})

Value = str | int | Decimal | datetime | date | None


class Line(Protocol):
    """One row; a column that does not apply to it is None."""

    def get(self, column: str) -> Value:
        """Return the value of a column."""


Test = Callable[[Line], bool]


def _bad(text: str) -> Reject:
    lead = "Error while accessing a resource. Invalid search query. Detailed unprocessed description follows."
    return refuse("INVALID_PARAMETER", f"{lead} {text}")


@dataclass(slots=True)
class Statement:
    """A parsed statement.

    columns  (name in the answer, column, mask of TO_CHAR)
    order    (column, descending)
    """

    table: str = ""
    columns: list[tuple[str, str, str | None]] = field(default_factory=list)
    where: Test | None = None
    order: list[tuple[str, bool]] = field(default_factory=list)

    def run(self, rows: Iterable[Line], columns: frozenset[str]) -> list[dict[str, str]]:
        """Return the rows as the service shows them: all values text, those that are null left out.

        columns  the table's columns
        """
        for name in [column for _, column, _ in self.columns] + [name for name, _ in self.order]:
            if name not in columns:
                raise _bad(
                    f"Field '{name}' for record '{self.table}' was not found. Reason: REMOVED - Field is removed"
                )
        if not _KEYS & {name for name, _ in self.order}:
            raise _bad("The result has to be ordered by a unique key: add ORDER BY id")
        found = [row for row in rows if self.where is None or self.where(row)]
        for name, down in reversed(self.order):
            found.sort(key=partial(_place, name), reverse=down)
        return [
            {shown: text for shown, column, mask in self.columns if (text := _text(row.get(column), mask)) is not None}
            for row in found
        ]


def parse(query: str, columns: Callable[[str], frozenset[str] | None]) -> Statement:
    """Read a statement.

    columns  table -> its columns, None when there is no such table
    Raises   Reject with NetSuite's 400 when the statement says more than this reader knows.
    """
    return _Parser(query, columns).statement()


class _Parser:
    def __init__(self, query: str, columns: Callable[[str], frozenset[str] | None]) -> None:
        self._tokens: list[str] = []
        self._columns = columns
        self._known: frozenset[str] = frozenset()
        self._at = 0
        place = 0
        query = query.strip().rstrip(";")
        while place < len(query):
            found = _TOKEN.match(query, place)
            if found is None:
                raise _bad(f"Search error occurred: Invalid or unsupported search near {query[place : place + 20]!r}")
            self._tokens.append(found[0].strip())
            place = found.end()

    def statement(self) -> Statement:
        made = Statement()
        self._expect("SELECT")
        while True:
            made.columns.append(self._column(len(made.columns)))
            if not self._take(","):
                break
        self._expect("FROM")
        made.table = self._name()
        known = self._columns(made.table)
        if known is None:
            raise _bad(f"Search error occurred: Record '{made.table}' was not found.")
        self._known = known
        if self._take("WHERE"):
            made.where = self._any()
        self._expect("ORDER")
        self._expect("BY")
        while True:
            name = self._name()
            down = self._take("DESC")
            if not down:
                self._take("ASC")
            made.order.append((name, down))
            if not self._take(","):
                break
        if self._at < len(self._tokens):
            raise _bad(f"Search error occurred: Invalid or unsupported search near {self._tokens[self._at]!r}")
        return made

    def _column(self, number: int) -> tuple[str, str, str | None]:
        mask = None
        if self._take("TO_CHAR"):
            self._expect("(")
            column = self._name()
            self._expect(",")
            mask = self._mask()
            self._expect(")")
            shown = f"expr{number + 1}"
        else:
            column = shown = self._name()
        if self._take("AS"):
            shown = self._name()
        return shown, column, mask

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("OR"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("AND"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def _one(self) -> Test:
        if self._take("("):
            inner = self._any()
            self._expect(")")
            return inner
        column = self._name()
        if column not in self._known:
            raise _bad(f"Search error occurred: Field '{column}' was not found.")
        if self._take("IS"):
            wanted = not self._take("NOT")
            self._expect("NULL")
            return lambda row: (row.get(column) is None) == wanted
        if self._take("IN"):
            self._expect("(")
            among = [self._literal()]
            while self._take(","):
                among.append(self._literal())
            self._expect(")")
            return lambda row: any(_compare(column, row.get(column), "=", literal) for literal in among)
        operator = self._next()
        if operator not in ("=", "<>", "!=", ">=", "<=", ">", "<"):
            raise _bad(f"Search error occurred: Invalid or unsupported search near {operator!r}")
        literal = self._literal()
        return lambda row: _compare(column, row.get(column), operator, literal)

    def _literal(self) -> Value:
        for function in ("TO_TIMESTAMP", "TO_DATE"):
            if self._take(function):
                self._expect("(")
                text = self._string()
                self._expect(",")
                mask = self._mask()
                self._expect(")")
                try:
                    # Each mask is an ISO form, so a time is read that has no zone: it is the account's own.
                    found = datetime.fromisoformat(text)
                    if found.strftime(MASKS[mask]) != text:
                        raise ValueError(text)
                except ValueError:
                    raise _bad(f"Search error occurred: {text!r} does not fit the mask {mask!r}") from None
                return found.date() if function == "TO_DATE" else found
        token = self._next()
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token[:1].isdigit():
            return Decimal(token)
        raise _bad(f"Search error occurred: Invalid or unsupported search near {token!r}")

    def _mask(self) -> str:
        mask = self._string()
        if mask not in MASKS:
            raise _bad(f"Search error occurred: the mask {mask!r} is not supported here")
        return mask

    def _string(self) -> str:
        token = self._next()
        if not token.startswith("'"):
            raise _bad(f"Search error occurred: a text is expected, not {token!r}")
        return token[1:-1].replace("''", "'")

    def _name(self) -> str:
        token = self._next()
        if not (token[:1].isalpha() or token[:1] == "_"):
            raise _bad(f"Search error occurred: a name is expected, not {token!r}")
        return token.lower()

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise _bad("Search error occurred: the statement is not complete; it needs an ORDER BY a unique key")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at].upper() == word:
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        found = self._next()
        if found.upper() != word:
            raise _bad(f"Search error occurred: {word} is expected, not {found!r}")


def _compare(column: str, value: Value, operator: str, literal: Value) -> bool:
    if value is None:
        return False
    left: Any = value
    right: Any = literal
    if isinstance(value, datetime):
        if not isinstance(literal, datetime):
            raise _bad(f"Search error occurred: compare {column} with TO_TIMESTAMP(text, mask)")
    elif isinstance(value, date):
        right = literal.date() if isinstance(literal, datetime) else literal
        if not isinstance(right, date):
            raise _bad(f"Search error occurred: compare {column} with TO_DATE(text, mask)")
    elif isinstance(value, int | Decimal):
        try:
            right = Decimal(str(literal))
        except ArithmeticError:
            raise _bad(f"Search error occurred: {literal!r} is not a number") from None
    else:
        left, right = str(value), str(literal)
    if operator == "=":
        return bool(left == right)
    if operator in ("<>", "!="):
        return bool(left != right)
    if operator == ">=":
        return bool(left >= right)
    if operator == "<=":
        return bool(left <= right)
    return bool(left > right) if operator == ">" else bool(left < right)


def _place(name: str, row: Mapping[str, Value]) -> tuple[bool, Any]:
    """Return where a row sorts by a column: empty values after all others."""
    value = row.get(name)
    return (value is None, 0 if value is None else value)


def _text(value: Value, mask: str | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime | date):
        # without TO_CHAR a date comes as the user's preference has it, and loses its time
        return value.strftime(MASKS[mask]) if mask else f"{value.month}/{value.day}/{value.year}"
    return format(value, "f") if isinstance(value, Decimal) else str(value)

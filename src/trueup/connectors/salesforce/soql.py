"""A small, honest SOQL: what it does not understand it refuses, the way Salesforce does.

SELECT field, ..., (SELECT ... FROM ChildRelationship ...) FROM Object
[WHERE field op literal | field [NOT] IN (...) | field IN (SELECT ...), AND, OR, NOT, parentheses]
[ORDER BY field [ASC|DESC] [NULLS FIRST|LAST], ...] [LIMIT n]
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from trueup.connectors.salesforce.schema import NUMBERS, TABLES, Column, Invalid, Table, long_id
from trueup.connectors.sdk.simulate import Row

Rows = Callable[[str], Iterable[Row]]
"""Object -> its rows; the caller leaves out the deleted ones where they must not be seen."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)(?![T\d])
    | (?P<number>-?\d+(?:\.\d+)?)(?![\w-])
    | (?P<name>[A-Za-z_][A-Za-z0-9_.]*)
    | (?P<sign>!=|<=|>=|<>|[=<>(),])
    )""",
    re.VERBOSE,
)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a is not None and b is not None and a < b,
    ">": lambda a, b: a is not None and b is not None and a > b,
    "<=": lambda a, b: a is not None and b is not None and a <= b,
    ">=": lambda a, b: a is not None and b is not None and a >= b,
}
_WORDS = frozenset(
    {"SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "IN", "ORDER", "BY", "LIMIT", "ASC", "DESC", "NULLS"}
)
_MISMATCH = "value of filter criterion for field '{}' must be of type {} and should{} be enclosed in quotes"

Test = Callable[[Row, Rows], bool]


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the query and where it stands."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Sorting:
    """One ORDER BY column."""

    name: str
    descending: bool
    nulls_last: bool


@dataclass(slots=True)
class Query:
    """A query, ready to run.

    children  name of the child relationship -> its query, with the child's reference field
    """

    table: Table
    columns: list[str] = field(default_factory=list)
    children: list[tuple[str, str, "Query"]] = field(default_factory=list)
    test: Test | None = None
    order: list[Sorting] = field(default_factory=list)
    limit: int | None = None


def parse(text: str) -> Query:
    """Read a query.

    Raises    Invalid: MALFORMED_QUERY, INVALID_FIELD or INVALID_TYPE.
    """
    parser = _Parser(text)
    query = parser.query(None)
    parser.end()
    return query


def run(query: Query, rows: Rows, among: Iterable[Row] | None = None) -> list[Row]:
    """Return the rows of the answer in order, whole."""
    found = [
        row for row in (rows(query.table.name) if among is None else among) if not query.test or query.test(row, rows)
    ]
    for sorting in reversed(query.order):
        column = query.table.columns[sorting.name]
        found.sort(key=partial(_place, column, sorting), reverse=sorting.descending)
    return found if query.limit is None else found[: query.limit]


def comparable(column: Column, value: Any) -> Any:
    """Return a stored value as something that compares the way its type does."""
    if value is None:
        return None
    if column.type in NUMBERS:
        return Decimal(value)
    if column.type == "datetime":
        return datetime.fromisoformat(value)
    if column.type in ("string", "email", "picklist"):
        return str(value).casefold()  # text compares without regard to case
    return value


def _place(column: Column, sorting: Sorting, row: Row) -> tuple[int, Any]:
    """Return a sort key; an empty value goes to the end asked for, also when the order is turned round."""
    value = row[sorting.name]
    if value is None:
        return (2 if sorting.nulls_last != sorting.descending else 0), ""
    return 1, comparable(column, value)


class _Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.place = 0

    # --- words -----------------------------------------------------------------------------------------------------

    def peek(self) -> Token:
        return self.tokens[self.place] if self.place < len(self.tokens) else Token("end", "", len(self.text))

    def take(self) -> Token:
        token = self.peek()
        self.place += 1
        return token

    def word(self, *words: str) -> bool:
        """Take these key words when they come next."""
        upcoming = self.tokens[self.place : self.place + len(words)]
        if [token.text.upper() for token in upcoming if token.kind == "name"] != list(words):
            return False
        self.place += len(words)
        return True

    def sign(self, sign: str) -> bool:
        if self.peek().kind == "sign" and self.peek().text == sign:
            self.place += 1
            return True
        return False

    def need(self, taken: bool, wanted: str) -> None:
        if not taken:
            raise self.malformed(f"expecting {wanted}, found '{self.peek().text or '<EOF>'}'")

    def name(self) -> Token:
        token = self.take()
        if token.kind != "name" or token.text.upper() in _WORDS:
            raise self.malformed(f"unexpected token: {token.text or '<EOF>'}")
        return token

    def end(self) -> None:
        self.need(self.peek().kind == "end", "the end")

    def malformed(self, message: str) -> Invalid:
        return Invalid("MALFORMED_QUERY", f"{message}\n{self.text}")

    def unknown_column(self, token: Token, table: Table) -> Invalid:
        message = (
            f"\n{self.text}\nERROR at Row:1:Column:{token.at + 1}\nNo such column '{token.text}' on entity "
            f"'{table.name}'. A custom field ends in '__c'."
        )
        return Invalid("INVALID_FIELD", message)

    # --- grammar ---------------------------------------------------------------------------------------------------

    def query(self, parent: Table | None) -> Query:
        """Read SELECT ... to the end of its LIMIT; a child query's FROM names a relationship of its parent."""
        self.need(self.word("SELECT"), "SELECT")
        columns: list[Token] = []
        inner: list[int] = []
        while True:
            if self.sign("("):
                if parent is not None:
                    raise self.malformed("a child query cannot hold another one")
                inner.append(self.place)
                self._skip_parentheses()
            else:
                columns.append(self.name())
            if not self.sign(","):
                break
        self.need(self.word("FROM"), "FROM")
        query = Query(self._table(self.name(), parent))
        query.columns = [self._column(token, query.table) for token in columns]
        if self.word("WHERE"):
            query.test = self._chain(query.table, under_or=False)
        if self.word("ORDER", "BY"):
            query.order = self._order(query.table)
        if self.word("LIMIT"):
            token = self.take()
            self.need(token.kind == "number" and token.text.isdigit(), "a number")
            query.limit = int(token.text)
        after = self.place
        for place in inner:
            self.place = place
            relationship = self._relationship_ahead()
            child = self.query(query.table)
            query.children.append((relationship, query.table.children[relationship][1], child))
        self.place = after
        return query

    def _table(self, token: Token, parent: Table | None) -> Table:
        if parent is not None:
            if token.text not in parent.children:
                raise Invalid(
                    "INVALID_TYPE", f"Didn't understand relationship '{token.text}' in FROM part of query call"
                )
            return TABLES[parent.children[token.text][0]]
        if token.text not in TABLES:
            message = (
                f"\n{self.text}\nERROR at Row:1:Column:{token.at + 1}\nsObject type '{token.text}' is not supported."
            )
            raise Invalid("INVALID_TYPE", message)
        return TABLES[token.text]

    def _relationship_ahead(self) -> str:
        """Return the name after FROM without moving on."""
        place = self.place
        while self.tokens[place].text.upper() != "FROM":
            place += 1
        return self.tokens[place + 1].text

    def _skip_parentheses(self) -> None:
        depth = 1
        while depth:
            token = self.take()
            if token.kind == "end":
                raise self.malformed("expecting a right parenthesis, found '<EOF>'")
            depth += (token.text == "(") - (token.text == ")") if token.kind == "sign" else 0

    def _column(self, token: Token, table: Table) -> str:
        if token.text not in table.columns:
            raise self.unknown_column(token, table)
        return token.text

    def _order(self, table: Table) -> list[Sorting]:
        out = []
        while True:
            name = self._column(self.name(), table)
            descending = self.word("DESC")
            if not descending:
                self.word("ASC")
            nulls_last = False
            if self.word("NULLS", "LAST"):
                nulls_last = True
            else:
                self.word("NULLS", "FIRST")
            out.append(Sorting(name, descending, nulls_last))
            if not self.sign(","):
                return out

    def _chain(self, table: Table, *, under_or: bool) -> Test:
        """Read terms joined by AND, or by OR; Salesforce wants parentheses around a mixture."""
        start = self.place
        ors = self._joined_by_or()
        tests = [self._term(table, under_or=under_or or ors)]
        joined: Literal["AND", "OR", ""] = ""
        while True:
            if self.word("AND"):
                now: Literal["AND", "OR"] = "AND"
            elif self.word("OR"):
                now = "OR"
            else:
                break
            if joined and joined != now:
                raise self.malformed(f"unexpected token: '{now}'")
            joined = now
            tests.append(self._term(table, under_or=under_or or ors))
        assert self.place > start
        if joined == "OR":
            return lambda row, rows: any(test(row, rows) for test in tests)
        return lambda row, rows: all(test(row, rows) for test in tests)

    def _joined_by_or(self) -> bool:
        """Look ahead: is there an OR on this level?"""
        depth = 0
        for token in self.tokens[self.place :]:
            if token.kind == "sign":
                depth += (token.text == "(") - (token.text == ")")
            if depth < 0 or (depth == 0 and token.text.upper() in ("ORDER", "LIMIT") and token.kind == "name"):
                return False
            if depth == 0 and token.kind == "name" and token.text.upper() == "OR":
                return True
        return False

    def _term(self, table: Table, *, under_or: bool) -> Test:
        if self.word("NOT"):
            inner = self._term(table, under_or=True)
            return lambda row, rows: not inner(row, rows)
        if self.sign("("):
            chain = self._chain(table, under_or=under_or)
            self.need(self.sign(")"), "a right parenthesis")
            return chain
        token = self.name()
        name = self._column(token, table)
        column = table.columns[name]
        if self.word("NOT", "IN"):
            test = self._inside(name, column, under_or=under_or)
            return lambda row, rows: not test(row, rows)
        if self.word("IN"):
            return self._inside(name, column, under_or=under_or)
        sign = self.take()
        if sign.kind != "sign" or sign.text not in _OPERATORS:
            raise self.malformed(f"unexpected token: '{sign.text}'")
        compare, wanted = _OPERATORS[sign.text], self._literal(name, column)
        return lambda row, rows: compare(comparable(column, row[name]), wanted)

    def _inside(self, name: str, column: Column, *, under_or: bool) -> Test:
        self.need(self.sign("("), "a left parenthesis")
        if self.peek().text.upper() == "SELECT":
            if under_or:
                raise self.malformed("Semi join sub-selects are not allowed with the 'OR' operator")
            inner = self.query(None)
            self.need(self.sign(")"), "a right parenthesis")
            if len(inner.columns) != 1 or inner.table.columns[inner.columns[0]].type not in ("id", "reference"):
                raise self.malformed("a semi join sub-select has one id or reference field")
            only = inner.columns[0]
            found: list[frozenset[Any]] = []  # run once: a query lives for one request

            def among(row: Row, rows: Rows) -> bool:
                if not found:
                    found.append(frozenset(other[only] for other in run(inner, rows)))
                return row[name] in found[0]

            return among
        wanted = [self._literal(name, column)]
        while self.sign(","):
            wanted.append(self._literal(name, column))
        self.need(self.sign(")"), "a right parenthesis")
        return lambda row, rows: comparable(column, row[name]) in wanted

    def _literal(self, name: str, column: Column) -> Any:
        """Read a literal of the column's type; a quoted instant or an unquoted text is refused."""
        token = self.take()
        if token.kind == "name" and token.text.upper() == "NULL":
            return None
        if column.type == "boolean":
            if token.kind != "name" or token.text.upper() not in ("TRUE", "FALSE"):
                raise Invalid("INVALID_FIELD", _MISMATCH.format(name, "boolean", " not"))
            return token.text.upper() == "TRUE"
        wanted = {"datetime": "datetime", "date": "date"}.get(
            column.type, "number" if column.type in NUMBERS else "string"
        )
        if token.kind != wanted:
            quoted = "" if wanted == "string" else " not"
            raise Invalid("INVALID_FIELD", _MISMATCH.format(name, column.type, quoted))
        if wanted == "datetime":
            return _instant(token.text)
        if wanted == "date":
            return date.fromisoformat(token.text).isoformat()
        if wanted == "number":
            return Decimal(token.text)
        text = re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if column.type in ("id", "reference"):
            try:
                return long_id(text)
            except Invalid as wrong:
                raise Invalid("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {text}") from wrong
        return text.casefold()


def _instant(text: str) -> datetime:
    """Read an instant; what is finer than a second does not count."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC).replace(microsecond=0)


def _tokens(text: str) -> Sequence[Token]:
    out = []
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        if found is None or found.lastgroup is None:
            raise Invalid("MALFORMED_QUERY", f"unexpected character at {at + 1}\n{text}")
        out.append(Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
        at = found.end()
    return out

"""The closed vocabulary of mapping files. A verb's docstring is its manual; the reference page is made from it.

A verb is compiled once per line into a function of (row, record). It raises `Wrong` for one bad line; the record
goes on and all its problems come out together. Absent and null are handled before the verb sees a value.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from trueup.kernel.clock import parse_instant
from trueup.kernel.money import known_currency, minor_digits
from trueup.kernel.problems import Problem, RowsWrong, Wrong
from trueup.mapping.paths import Getter, getter

Convert = Callable[[Any, Any, Any], Any]
"""(value, row, record) -> canonical value."""


class Ref(NamedTuple):
    """A vendor's pointer to another record, to be resolved by the crosswalk."""

    object: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a mapping file, split into verb, path and options.

    compile_rows  compiles the nested `fields` of `each`
    known         outward only: (gid, vendor object) -> the system's id, or None when it is not known yet
    """

    verb: str
    path: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    compile_rows: Callable[[Mapping[str, Any]], Callable[[Any, Any], Any]] | None = None
    outward: bool = False

    def option(self, name: str) -> Any:
        """Return an option the verb cannot do without."""
        if name not in self.options:
            raise ValueError(f"the verb {self.verb} needs the option {name}")
        return self.options[name]


Maker = Callable[[Line], Convert]
VERBS: dict[str, Maker] = {}
WHOLE_RECORD = frozenset({"const", "first", "join", "pick"})
"""Verbs that find their own values; the others get the value at the path."""


def verb(maker: Maker) -> Maker:
    """Add a verb to the vocabulary under its function's name."""
    VERBS[maker.__name__.rstrip("_")] = maker
    return maker


DIGITS = 13
LARGEST: int = 10**DIGITS
"""Amounts and quantities are smaller than this."""


def decimal_of(value: Any) -> Decimal:
    """Read an exact decimal from a JSON number or a plain decimal text."""
    if isinstance(value, bool):
        raise Wrong("not_a_number", f"{value!r} is not a number")
    if isinstance(value, int | Decimal):
        number = Decimal(value)
    elif isinstance(value, str) and value.strip() and value.isascii() and "_" not in value:
        try:
            number = Decimal(value.strip())
        except InvalidOperation:
            raise Wrong("not_a_number", f"{value!r} is not a number") from None
    else:
        raise Wrong("not_a_number", f"{value!r} is not a number")
    # The exponent and not the value: a nought with a million zeros behind it has none, and is a million characters long.
    # That of infinity and of what is no number is a letter.
    exponent = number.as_tuple().exponent
    if isinstance(exponent, str) or number.adjusted() >= DIGITS or exponent < -10:
        raise Wrong("out_of_range", f"{value!r} is not an amount or quantity we can keep exactly")
    return number


def clean_text(value: Any, path: Any) -> str:
    """Return a text or a number as text, without spaces around it."""
    if isinstance(value, dict | list | bool):
        raise Wrong("not_text", f"{path} holds {type(value).__name__}, not text")
    return str(value).strip()


@verb
def text(line: Line) -> Convert:
    """`{text: Name}`: the text without spaces around it; `max: 40` refuses longer text."""
    longest = line.options.get("max", 4000)

    def convert(value: Any, row: Any, record: Any) -> str:
        clean = clean_text(value, line.path)
        if len(clean) > longest:
            raise Wrong("too_long", f"{line.path} has more than {longest} characters")
        return clean

    return convert


@verb
def upper(line: Line) -> Convert:
    """`{upper: CountryCode}`: the text in capitals, for codes that systems write either way."""
    plain = text(line)
    return lambda value, row, record: str(plain(value, row, record)).upper()


@verb
def number(line: Line) -> Convert:
    """`{number: Quantity}`: an exact decimal from a JSON number or a plain decimal text."""
    return lambda value, row, record: decimal_of(value)


@verb
def number_text(line: Line) -> Convert:
    """`{number_text: net}`: outward, an exact decimal written as text."""
    return lambda value, row, record: format(decimal_of(value), "f")


@verb
def integer(line: Line) -> Convert:
    """`{integer: Sequence}`: a whole number; 3.0 is 3, 3.5 is a problem."""

    def convert(value: Any, row: Any, record: Any) -> int:
        if type(value) is int and abs(value) < LARGEST:
            return value
        exact = decimal_of(value)
        if exact != exact.to_integral_value():
            raise Wrong("not_whole", f"{line.path} is {value!r}, not a whole number")
        return int(exact)

    return convert


def currency_getter(line: Line) -> Callable[[Any, Any], str]:
    """Read the option `currency`: a path, or `=EUR` for one that never changes."""
    option = str(line.option("currency"))
    if option.startswith("="):
        fixed = option[1:]
        if not known_currency(fixed):
            raise ValueError(f"{fixed} is not an ISO 4217 code")
        return lambda row, record: fixed
    get = getter(option)

    def find(row: Any, record: Any) -> str:
        code = get(row, record)
        if not isinstance(code, str) or not known_currency(code):
            raise Wrong("unknown_currency", f"{option} is {code!r}, not an ISO 4217 code")
        return code

    return find


@verb
def money(line: Line) -> Convert:
    """`{money: Amount, currency: CurrencyIsoCode}`: an amount with no more digits than its currency has."""
    currency = currency_getter(line)

    def convert(value: Any, row: Any, record: Any) -> Decimal:
        amount, digits = decimal_of(value), minor_digits(currency(row, record))
        fitted = amount.quantize(Decimal(1).scaleb(-digits))
        if fitted != amount:
            raise Wrong("not_exact", f"{line.path} is {value}; its currency has {digits} digits")
        return fitted

    return convert


@verb
def cents(line: Line) -> Convert:
    """`{cents: amount_in_cents, base: currency_base_unit}`: whole subunits to major units; `base` of them make one."""
    base = getter(line.options["base"]) if "base" in line.options else None

    def convert(value: Any, row: Any, record: Any) -> Decimal:
        given = base(row, record) if base else None
        whole, per = decimal_of(value), Decimal(100) if given is None else decimal_of(given)
        if whole != whole.to_integral_value():
            raise Wrong("not_whole", f"{line.path} is {value!r}, not a whole number of subunits")
        if per <= 0:
            raise Wrong("not_exact", f"{line.path} comes with {given!r} subunits to one")
        amount = (whole / per).quantize(Decimal(1) / per if per in (1, 10, 100, 1000) else Decimal("0.0001"))
        if amount * per != whole:
            raise Wrong("not_exact", f"{line.path} is {value}, which {per} does not divide")
        return amount

    return convert


@verb
def to_cents(line: Line) -> Convert:
    """`{to_cents: budget, currency: currency}`: outward, major units to whole subunits."""
    currency = currency_getter(line)

    def convert(value: Any, row: Any, record: Any) -> int:
        whole = decimal_of(value).scaleb(minor_digits(currency(row, record)))
        if whole != whole.to_integral_value():
            raise Wrong("not_exact", f"{line.path} is {value}; its currency has fewer digits")
        return int(whole)

    return convert


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]|\Z)")


@verb
def day(line: Line) -> Convert:
    """`{day: Start_Date__c}`: a calendar day from `2026-08-31`, or the day of an instant as written."""

    def convert(value: Any, row: Any, record: Any) -> Any:
        if isinstance(value, date):
            found = value
        else:
            try:
                found = date.fromisoformat(str(value)[:10] if _DAY.match(str(value)) else "")
            except ValueError:
                raise Wrong("not_a_day", f"{line.path} is {value!r}; a day is written 2026-08-31") from None
        return found.isoformat() if line.outward else found

    return convert


@verb
def instant(line: Line) -> Convert:
    """`{instant: updated_at}`: a moment with its zone, kept in UTC."""

    def convert(value: Any, row: Any, record: Any) -> Any:
        try:
            found = parse_instant(str(value))
        except ValueError:
            raise Wrong("not_an_instant", f"{line.path} is {value!r}; a moment needs its time zone") from None
        return found.isoformat() if line.outward else found

    return convert


_FLAGS = {True: True, False: False, "true": True, "false": False, "T": True, "F": False, "Y": True, "N": False}


@verb
def flag(line: Line) -> Convert:
    """`{flag: billable}`: true or false, also written as text, T/F or Y/N."""

    def convert(value: Any, row: Any, record: Any) -> bool:
        if isinstance(value, bool | str) and value in _FLAGS:
            return _FLAGS[value]
        raise Wrong("not_a_flag", f"{line.path} is {value!r}, neither true nor false")

    return convert


@verb
def yes(line: Line) -> Convert:
    """`{yes: status, is: [approved]}`: true when the value is one of the list; absent is false."""
    wanted = frozenset(str(item) for item in line.option("is"))
    return lambda value, row, record: value is not None and str(value) in wanted


@verb
def one_of(line: Line) -> Convert:
    """`{one_of: Billing_Type__c, table: billing_methods}`: translate by a table in this file; nothing else passes."""
    name = line.option("table")
    if name not in line.tables:
        raise ValueError(f"there is no table {name!r} in this file")
    table = {str(key): item for key, item in line.tables[name].items()}

    def convert(value: Any, row: Any, record: Any) -> Any:
        if str(value) not in table:
            raise Wrong("not_in_table", f"{line.path} is {value!r}; add it to the table {name} or fix the record")
        return table[str(value)]

    return convert


@verb
def ref(line: Line) -> Convert:
    """`{ref: AccountId, object: Account}`: another record: inward by the crosswalk, outward that system's id."""
    object_name = str(line.option("object"))

    def convert(value: Any, row: Any, record: Any) -> Ref:
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise Wrong("not_a_reference", f"{line.path} is no identifier")
        return Ref(object_name, str(value))

    return convert


@verb
def const(line: Line) -> Convert:
    """`{const: EUR}`: always this value."""
    return lambda value, row, record: line.path


@verb
def first(line: Line) -> Convert:
    """`{first: [Legal_Name__c, Name]}`: the first of these paths that holds something, as text."""
    getters = [getter(path) for path in line.path]

    def convert(value: Any, row: Any, record: Any) -> Any:
        found = next((item for get in getters if (item := get(row, record)) not in (None, "")), None)
        return clean_text(found, line.path) if found is not None else None

    return convert


@verb
def share(line: Line) -> Convert:
    """`{share: Markup_Percent__c}`: per cent to a fraction: 5 is 0.05."""
    return lambda value, row, record: decimal_of(value) / 100


def fixed_text(literal: str) -> Getter:
    """Return a getter that always gives this text."""
    return lambda row, record: literal


@verb
def join(line: Line) -> Convert:
    """`{join: [code, name], with: " "}`: several texts as one; `=text` stands for itself; none may be absent."""
    glue = str(line.options.get("with", ""))
    parts: list[Getter] = []
    for item in line.path:
        parts.append(fixed_text(str(item)[1:]) if str(item).startswith("=") else getter(str(item)))

    def convert(value: Any, row: Any, record: Any) -> Any:
        found = [get(row, record) for get in parts]
        return None if any(item is None for item in found) else glue.join(clean_text(i, line.path) for i in found)

    return convert


@verb
def hours_to_minutes(line: Line) -> Convert:
    """`{hours_to_minutes: hours}`: decimal hours to whole minutes; a rest is a problem."""

    def convert(value: Any, row: Any, record: Any) -> int:
        minutes = decimal_of(value) * 60
        if minutes != minutes.to_integral_value():
            raise Wrong("not_exact", f"{line.path} is {value} hours, no whole number of minutes")
        return int(minutes)

    return convert


@verb
def each(line: Line) -> Convert:
    """`{each: lines, fields: {...}}`: one row for each item of a list; an absent list is an empty one."""
    if line.compile_rows is None:
        raise ValueError("each needs fields")
    rows = line.compile_rows(line.option("fields"))

    def convert(value: Any, row: Any, record: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Wrong("not_a_list", f"{line.path} is no list")
        made: list[Any] = []
        problems: list[Problem] = []
        for item in value:
            try:
                made.append(rows(item, record))
            except RowsWrong as wrong:
                problems.extend(wrong.problems)
        if problems:
            raise RowsWrong(problems)
        return made

    return convert


@verb
def pick(line: Line) -> Convert:
    """`{pick: custom_data, where: {id: custom5}, take: value}`: from a list of rows, the value of the one that fits."""
    rows = getter(str(line.path))
    where = {str(key): str(item) for key, item in line.option("where").items()}
    take = getter(str(line.option("take")))

    def convert(value: Any, row: Any, record: Any) -> Any:
        found = rows(row, record)
        if found in (None, ""):
            return None
        if not isinstance(found, list):
            raise Wrong("not_a_list", f"{line.path} is no list")
        for item in found:
            if isinstance(item, dict) and all(str(item.get(key)) == wanted for key, wanted in where.items()):
                return take(item, record)
        return None

    return convert

"""What NetSuite encodes in its own way: words for standings, currencies by internal id, months, hours and names."""

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final

from trueup.kernel.money import minor_digits
from trueup.kernel.problems import Wrong

Convert = Callable[[Any, Any, Any], Any]
_FOUR_DIGITS: Final = Decimal("0.0001")


def amount(line: Any) -> Convert:
    """`{amount: total, currency: currency.id, table: currencies}`: money whose currency is an internal id.

    A record names its currency by id and by a name that the account chose, never by its ISO code.
    """
    codes = {str(key): str(code) for key, code in line.tables[line.option("table")].items()}
    option = str(line.option("currency"))
    steps = option.lstrip("/").split(".")

    def convert(value: Any, row: Any, record: Any) -> Decimal:
        id: Any = record if option.startswith("/") else row
        for step in steps:
            id = id.get(step) if isinstance(id, dict) else None
        if str(id) not in codes:
            text = f"{option} is {id!r}; add the currency's internal id to the table"
            raise Wrong("unknown_currency", text)
        exact = _decimal(value, line.path)
        fitted = exact.quantize(Decimal(1).scaleb(-minor_digits(codes[str(id)])), ROUND_HALF_UP)
        if fitted != exact:
            raise Wrong("not_exact", f"{line.path} is {value}; {codes[str(id)]} has fewer digits")
        return fitted

    return convert


def standing(line: Any) -> Convert:
    """`{standing: status, table: statuses}`: NetSuite's status, given as text or as id and name, by a table.

    The table's words are written in small letters without spaces: `Paid In Full` and `paidInFull` are paidinfull.
    """
    table = line.tables[line.option("table")]

    def convert(value: Any, row: Any, record: Any) -> Any:
        words = [value.get("id"), value.get("refName")] if isinstance(value, dict) else [value]
        for word in (str(word).replace(" ", "").lower() for word in words if word is not None):
            if word in table:
                return table[word]
        raise Wrong("not_in_table", f"{line.path} is {words[-1]!r}; add it to the table or fix the record")

    return convert


def invoice_standing(line: Any) -> Convert:
    """`{invoice_standing: status, table: statuses}`: as `standing`; posted is part_paid when less than all is due."""
    plain = standing(line)

    def convert(value: Any, row: Any, record: Any) -> Any:
        found = plain(value, row, record)
        due, total = (_decimal(row.get(name, 0), name) for name in ("amountRemaining", "total"))
        return "part_paid" if found == "posted" and due != total else found

    return convert


def payment_standing(line: Any) -> Convert:
    """`{payment_standing: status, table: statuses}`: as `standing`; received is applied when some of it is applied."""
    plain = standing(line)

    def convert(value: Any, row: Any, record: Any) -> Any:
        found = plain(value, row, record)
        return "applied" if found == "received" and _decimal(row.get("applied", 0), "applied") else found

    return convert


def posted_day(line: Any) -> Convert:
    """`{posted_day: tranDate}`: the document's day once it is in an accounting period, nothing before."""

    def convert(value: Any, row: Any, record: Any) -> str | None:
        return str(value)[:10] if row.get("postingPeriod") else None

    return convert


def month(line: Any) -> Convert:
    """`{month: tranDate}`: the month of a day, 2026-09-14 is 2026-09."""

    def convert(value: Any, row: Any, record: Any) -> str:
        text = str(value)
        if len(text) < 10 or text[4] != "-" or text[7] != "-":
            raise Wrong("not_a_day", f"{line.path} is {value!r}; a day is written 2026-09-14")
        return text[:7]

    return convert


def same_entity(line: Any) -> Convert:
    """`{same_entity: lines, fields: {...}}`: as `each`, for the lines of the first line's legal entity only.

    A document has one subsidiary and one currency: amounts of another entity must not be added up with it.
    """
    rows = line.compile_rows(line.option("fields"))

    def convert(value: Any, row: Any, record: Any) -> list[Any]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise Wrong("not_a_list", f"{line.path} is no list of lines")
        return [rows(item, record) for item in value if item.get("legal_entity") == value[0].get("legal_entity")]

    return convert


def hours(line: Any) -> Convert:
    """`{hours: planned_minutes}`: minutes to decimal hours, to four digits."""

    def convert(value: Any, row: Any, record: Any) -> Decimal:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Wrong("not_whole", f"{line.path} is {value!r}, not a whole number of minutes")
        return (Decimal(value) / 60).quantize(_FOUR_DIGITS, ROUND_HALF_UP)

    return convert


def given_name(line: Any) -> Convert:
    """`{given_name: name}`: all but the last word of a person's name; nothing when there is one word only."""

    def convert(value: Any, row: Any, record: Any) -> str | None:
        return " ".join(str(value).split()[:-1]) or None

    return convert


def family_name(line: Any) -> Convert:
    """`{family_name: name}`: the last word of a person's name."""

    def convert(value: Any, row: Any, record: Any) -> str:
        words = str(value).split()
        if not words:
            raise Wrong("missing", f"{line.path} is empty")
        return words[-1]

    return convert


def _decimal(value: Any, path: str) -> Decimal:
    """Read a JSON number or a plain decimal text."""
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) >= Decimal(10) ** 13:
        raise Wrong("not_a_number", f"{path} is {value!r}, not an amount")
    return number


VERBS: Final = {
    maker.__name__: maker
    for maker in (
        amount,
        standing,
        invoice_standing,
        payment_standing,
        posted_day,
        month,
        same_entity,
        hours,
        given_name,
        family_name,
    )
}
"""Name in a mapping file -> maker, for the loader."""

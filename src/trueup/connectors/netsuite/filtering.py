"""The `q` parameter of a record list: conditions joined by AND. Source: section_1545222128."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from trueup.connectors.netsuite.answers import refuse
from trueup.connectors.netsuite.records import Field
from trueup.connectors.sdk.simulate import Row

_CONDITION = re.compile(r'^\s*(\w+)\s+([A-Z_]+)(?:\s+(?:"([^"]*)"|(\S+)))?\s*$')
_AND = re.compile(r'\s+AND\s+(?=(?:[^"]*"[^"]*")*[^"]*$)')
_SPECIAL: Final = {"id": Field("integer"), "externalId": Field(), "lastModifiedDate": Field("instant")}

_TEXTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "IS": lambda value, wanted: value == wanted,
    "IS_NOT": lambda value, wanted: value != wanted,
    "CONTAIN": lambda value, wanted: wanted in value,
    "START_WITH": lambda value, wanted: value.startswith(wanted),
    "END_WITH": lambda value, wanted: value.endswith(wanted),
}
_NUMBERS: Final[Mapping[str, Callable[[Decimal, Decimal], bool]]] = {
    "EQUAL": lambda value, wanted: value == wanted,
    "EQUAL_NOT": lambda value, wanted: value != wanted,
    "GREATER": lambda value, wanted: value > wanted,
    "GREATER_OR_EQUAL": lambda value, wanted: value >= wanted,
    "LESS": lambda value, wanted: value < wanted,
    "LESS_OR_EQUAL": lambda value, wanted: value <= wanted,
}


def matching(query: str, fields: Mapping[str, Field]) -> Callable[[Row], bool]:
    """Compile a filter.

    Raises    Reject for a field or an operator that the record does not allow.
    """
    if not query.strip():
        return lambda row: True
    tests = [_condition(part, fields) for part in _AND.split(query)]
    return lambda row: all(test(row) for test in tests)


def _condition(part: str, fields: Mapping[str, Field]) -> Callable[[Row], bool]:
    found = _CONDITION.match(part)
    if found is None:
        raise _bad(f"Invalid query filter: {part}")
    name, operator, quoted, bare = found.groups()
    spec = _SPECIAL.get(name) or fields.get(name)
    if spec is None:
        raise _bad(f"Invalid query filter: there is no field {name}")
    if operator in ("EMPTY", "EMPTY_NOT"):
        return lambda row: (row.get(name) in (None, "")) == (operator == "EMPTY")
    wanted = quoted if quoted is not None else bare
    if wanted is None:
        raise _bad(f"Invalid query filter: {operator} needs a value")
    if spec.kind == "flag" and operator in ("IS", "IS_NOT"):
        return lambda row: (bool(row.get(name)) == (wanted.lower() == "true")) == (operator == "IS")
    if spec.kind in ("text", "choice") and operator in _TEXTS:
        return lambda row: _TEXTS[operator](str(row.get(name, "")), wanted)
    if spec.kind in ("integer", "number", "ref") and operator in _NUMBERS:
        try:
            amount = Decimal(wanted)
        except InvalidOperation:
            raise _bad(f"Invalid query filter: {wanted} is not a number") from None
        return lambda row: row.get(name) is not None and _NUMBERS[operator](Decimal(row[name]), amount)
    raise _bad(f"Invalid query filter: {operator} cannot be used with {name}")


def _bad(text: str) -> Any:
    return refuse("INVALID_PARAMETER", text, query_param="q")

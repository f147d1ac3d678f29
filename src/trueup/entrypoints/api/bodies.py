"""What callers send: read strictly, to the last digit, and every wrong place named at once."""

import re
import types
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from babel.core import get_global
from fastapi import Depends, Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from trueup.entrypoints.api.hooks import whole_body
from trueup.entrypoints.api.problems import Problem, Wrong
from trueup.kernel.money import known_currency, minor_digits
from trueup.kernel.strict_json import read

MAX_BODY = 1_000_000
BODY_SECONDS = 15.0
MAX_NODES = 50_000
LONGEST_TEXT = 10_000

Model = TypeVar("Model", bound=BaseModel)

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PER_HOUR = frozenset({"rate", "overage_rate", "quantity"})
"""Numbers that may have more digits than the currency has."""
_ENDED = frozenset({"BGN"})
"""Currencies that ended after our list of currencies was made."""
_LIVING = {
    code
    for rows in get_global("territory_currencies").values()
    for code, _began, ended, tender in rows
    if ended is None and tender
} - _ENDED
_ADAPTERS: dict[tuple[type[BaseModel], str], TypeAdapter[Any]] = {}


async def raw_body(request: Request) -> bytes:
    """Return the body of a request that says it is JSON, no larger than allowed.

    Raises    Problem: media_type, too_large, timeout.
    """
    kinds = request.headers.getlist("content-type")
    kind, *parameters = (part.strip().lower() for part in (kinds[0] if kinds else "").split(";"))
    plain = all(parameter in ("charset=utf-8", 'charset="utf-8"') for parameter in parameters)
    if len(kinds) != 1 or kind != "application/json" or not plain:
        raise Problem("media_type", "the body must come as application/json in UTF-8")
    if request.headers.getlist("content-encoding"):
        raise Problem("media_type", "the body must come uncompressed")
    return await whole_body(request, MAX_BODY, BODY_SECONDS)


RawBody = Annotated[bytes, Depends(raw_body)]


def document(raw: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises    Problem not_json with what is wrong.
    """
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_NODES:
        raise Problem("not_json", f"more than {MAX_NODES} values")
    try:
        value = read(raw)
    except (ValueError, ArithmeticError, RecursionError) as wrong:
        raise Problem("not_json", str(wrong) or type(wrong).__name__) from wrong
    if not isinstance(value, dict):
        raise Problem("not_json", "the body must be one JSON object")
    return value


def command(raw: bytes, shape: type[Model]) -> Model:
    """Read a command's body.

    Raises    Problem: not_json, invalid with every wrong place.
    """
    values = document(raw)
    wrong = wrong_places(shape, values)
    if not wrong:
        try:
            return shape.model_validate(values)
        except ValidationError as invalid:
            wrong = of_pydantic(invalid)
    raise invalid_fields(wrong)


def invalid_fields(wrong: list[Wrong]) -> Problem:
    """Return the problem that lists wrong places."""
    places = "1 place is" if len(wrong) == 1 else f"{len(wrong)} places are"
    return Problem("invalid", f"{places} wrong: {', '.join(one.pointer for one in wrong[:5])}", errors=wrong[:100])


def normal(shape: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the given fields of a model, each by itself, and return them JSON-plain as we store them.

    Raises    Problem invalid with every wrong place.
    """
    wrong = wrong_places(shape, values)
    plain: dict[str, Any] = {}
    bad = {one.pointer.split("/")[1] for one in wrong}
    for name, value in values.items():
        if _escaped(name) in bad:
            continue
        adapter = _ADAPTERS.get((shape, name))
        if adapter is None:
            adapter = _ADAPTERS[(shape, name)] = TypeAdapter(shape.model_fields[name].rebuild_annotation())
        try:
            plain[name] = adapter.dump_python(adapter.validate_python(value), mode="json")
        except ValidationError as invalid:
            wrong += of_pydantic(invalid, f"/{_escaped(name)}")
    if wrong:
        raise invalid_fields(wrong)
    return _without_minus_zero(shape, plain)


def _without_minus_zero(shape: type[BaseModel], plain: dict[str, Any]) -> dict[str, Any]:
    """Write zero one way."""
    for name, value in plain.items():
        inner = inside(shape.model_fields[name].annotation)
        if inner is Decimal and isinstance(value, str) and value.startswith("-") and not value.strip("-0."):
            plain[name] = value[1:]
        elif isinstance(value, list) and isinstance(inner, type) and issubclass(inner, BaseModel):
            plain[name] = [_without_minus_zero(inner, row) for row in value]
    return plain


def wrong_places(shape: type[BaseModel], values: Mapping[str, Any], at: str = "") -> list[Wrong]:
    """Return every place whose JSON type is not the field's: nothing is guessed, converted or trimmed."""
    found: list[Wrong] = []
    for name, value in values.items():
        place = f"{at}/{_escaped(name)}"
        info = shape.model_fields.get(name)
        if info is None:
            near = get_close_matches(name, shape.model_fields, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(sorted(shape.model_fields))}"
            found.append(Wrong(place, "unknown_field", None, hint))
        elif name.startswith("currency") and isinstance(value, str) and not living(value):
            found.append(Wrong(place, "unknown_currency", value, "an ISO 4217 currency in force"))
        else:
            found += _wrong(info.annotation, value, place)
    return found


def living(currency: str) -> bool:
    """Say whether a code is a currency that can be paid with today.

    >>> living("EUR"), living("HRK"), living("XAU"), living("eur")
    (True, False, False, False)
    """
    return known_currency(currency) and currency in _LIVING


def _wrong(annotation: Any, value: Any, at: str) -> list[Wrong]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _wrong(arguments[0], value, at)
    if origin in (Union, types.UnionType):
        if value is None:
            return [] if types.NoneType in arguments else [Wrong(at, "missing", None, "a value")]
        (inner,) = [argument for argument in arguments if argument is not types.NoneType]
        return _wrong(inner, value, at)
    if origin is Literal:
        return [] if value in arguments else [Wrong(at, "not_in_list", value, f"one of {', '.join(arguments)}")]
    if origin is list:
        if not isinstance(value, list):
            return [Wrong(at, "not_a_list", value, "a list")]
        return [one for place, item in enumerate(value) for one in _wrong(arguments[0], item, f"{at}/{place}")]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not isinstance(value, dict):
            return [Wrong(at, "not_an_object", value, "an object")]
        return wrong_places(annotation, value, at)
    return _wrong_scalar(annotation, value, at)


def _wrong_scalar(annotation: Any, value: Any, at: str) -> list[Wrong]:
    if annotation is bool:
        return [] if isinstance(value, bool) else [Wrong(at, "not_a_flag", value, "true or false")]
    if annotation is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return [] if whole else [Wrong(at, "not_a_whole_number", value, "a whole number")]
    if annotation is Decimal:
        number = (isinstance(value, int | Decimal) and not isinstance(value, bool)) or (
            isinstance(value, str) and _NUMBER.fullmatch(value) is not None
        )
        return [] if number else [Wrong(at, "not_a_number", value, 'a number, or text like "12400.00"')]
    if annotation is date:
        return [] if _is_day(value) else [Wrong(at, "not_a_day", value, "a day like 2026-08-31")]
    if annotation is str:
        if not isinstance(value, str):
            return [Wrong(at, "not_text", value, "text")]
        return [] if len(value) <= LONGEST_TEXT else [Wrong(at, "too_long", None, f"at most {LONGEST_TEXT} characters")]
    return []


def _is_day(value: Any) -> bool:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def inexact(
    shape: type[BaseModel], values: Mapping[str, Any], currency: str | None = None, at: str = ""
) -> list[Wrong]:
    """Return every amount with more digits than its currency has; prices per hour may have more.

    values    JSON-plain, as `normal` returns them
    currency  of what these values are a part of
    """
    currency = values.get("currency") or currency
    found: list[Wrong] = []
    for name, value in values.items():
        info = shape.model_fields[name]
        inner = inside(info.annotation)
        if isinstance(value, list) and isinstance(inner, type) and issubclass(inner, BaseModel):
            for place, item in enumerate(value):
                found += inexact(inner, item, currency, f"{at}/{name}/{place}")
        elif isinstance(value, str) and inner is Decimal and name not in _PER_HOUR and not name.endswith("_hours"):
            of = values.get("currency_spent") if name == "amount_spent" else currency
            if of and not name.endswith(("_share", "_rate")) and _digits(value) > minor_digits(of):
                found.append(Wrong(f"{at}/{name}", "not_exact", value, f"at most {minor_digits(of)} decimals in {of}"))
    return found


def _digits(value: str) -> int:
    """Return how many decimals matter: trailing zeros do not."""
    return len(value.partition(".")[2].rstrip("0"))


def inside(annotation: Any) -> Any:
    """Return what an annotation holds once its wrappers are off."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated or origin is list:
        return inside(arguments[0])
    if origin in (Union, types.UnionType):
        return inside(next(argument for argument in arguments if argument is not types.NoneType))
    return annotation


def of_pydantic(invalid: ValidationError, at: str = "") -> list[Wrong]:
    """Return what a model says is wrong, by place."""
    return list(_each(invalid, at))


def _each(invalid: ValidationError, at: str) -> Iterator[Wrong]:
    for one in invalid.errors(include_url=False):
        place = at + "".join(f"/{_escaped(str(part))}" for part in one["loc"])
        missing = one["type"] == "missing"
        yield Wrong(place, str(one["type"]), None if missing else one.get("input"), str(one["msg"]))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")

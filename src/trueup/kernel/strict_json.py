"""One strict reader for every byte that comes from outside, and one canonical writer for hashing.

Duplicate keys, NaN, lone surrogates, NUL characters and absurd depth are refused; numbers keep every digit.
"""

import hashlib
import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import rfc8785

MAX_DEPTH = 64
MAX_BYTES = 10_000_000
MAX_NODES = 50_000
_SAFE = 2**53
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # an open end is taken, too: one pass, whatever comes
_MARKS = re.compile(r"[\[\]{},]")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, refusing a key that comes twice."""
    out = dict(pairs)
    if len(out) < len(pairs):
        seen = [key for key, _ in pairs]
        twice = next(key for number, key in enumerate(seen) if key in seen[:number])
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return out


def _number(text: str) -> Decimal:
    """Keep a decimal's digits, within reason."""
    if len(text) > 40:
        raise ValueError("a number of more than 40 characters")
    try:
        value = Decimal(text)
    except InvalidOperation as wrong:
        raise ValueError(f"the number {text} is out of range") from wrong
    if abs(value.adjusted()) > 30:
        raise ValueError(f"the number {text} is out of range")
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > 20:
        raise ValueError("an integer of more than 20 digits")
    return int(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_strict = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_number, parse_int=_integer, parse_constant=_constant)


def read(raw: bytes) -> Any:
    """Read JSON strictly; decimals come as Decimal.

    Raises    ValueError with a sentence that says what is wrong.

    >>> read(b'{"a": 1.10}')
    {'a': Decimal('1.10')}
    """
    if len(raw) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise ValueError("not UTF-8") from wrong
    if text.startswith("\ufeff"):
        raise ValueError("a byte order mark before the JSON; send it without")
    if "\x00" in text or ("\\u0000" in text and _NUL.search(text)):
        raise ValueError("a NUL character")
    _check_shape(text)
    value = _strict.decode(text)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, default=str, ensure_ascii=False).encode("utf-8")
    return value


def _check_shape(text: str) -> None:
    """Refuse deep nesting and too many values before the recursive reader meets them."""
    opened = text.count("[") + text.count("{")
    if opened <= MAX_DEPTH and opened + text.count(",") <= MAX_NODES:
        return
    depth = nodes = 0
    for found in _MARKS.finditer(_TEXTS.sub("", text)):
        mark = found[0]
        if mark in "]}":
            depth -= 1
            continue
        nodes += 1
        depth += mark != ","
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        if nodes > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} values")


_decoder = msgspec.json.Decoder(float_hook=Decimal)


def read_kept(raw: bytes) -> Any:
    """Read JSON that was accepted by `read` before and kept: fast, decimals as Decimal."""
    return _decoder.decode(raw)


def plain(value: Any) -> Any:
    """Turn decimals, dates and the like into JSON-plain values; whole numbers stay numbers."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        raise ValueError("a float has no place here; use Decimal")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def write(value: Any) -> bytes:
    """Write compact JSON; decimals become strings, dates ISO text."""
    return msgspec.json.encode(value)


_with_numbers = msgspec.json.Encoder(decimal_format="number")


def write_numbers(value: Any) -> bytes:
    """Write compact JSON in which decimals stay numbers, digit for digit, and keys keep their order."""
    return _with_numbers.encode(value)


def canonical(value: Any) -> bytes:
    """Write the canonical form (RFC 8785): equal content, equal bytes."""
    return rfc8785.dumps(_safe(plain(value)))


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical form (RFC 8785), as hex: equal content, equal digest."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _safe(value: Any) -> Any:
    """Write whole numbers as text where the canonical form has no number for them."""
    if isinstance(value, dict):
        return {key: _safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_safe(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) >= _SAFE else value

"""What stands in a vendor's record against what we wrote: only fields that both show are compared."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any


def shown(wanted: Any, there: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Give every value of our body that the record shows, too: (path, ours, theirs), as comparable texts.

    A vendor shows more than we wrote and sometimes less; what it does not show is not compared.

    >>> list(shown({"a": {"id": "1"}, "n": 2, "gone": 1}, {"a": {"id": 1, "name": "One"}, "n": "2.00"}))
    [('a.id', '1', '1'), ('n', '2', '2')]
    """
    if isinstance(wanted, dict):
        if isinstance(there, dict):
            for name, value in wanted.items():
                if name in there:
                    yield from shown(value, there[name], f"{path}.{name}" if path else name)
    elif isinstance(wanted, list):
        if isinstance(there, list):
            yield f"{path}.count", str(len(wanted)), str(len(there))
            for number, (ours, theirs) in enumerate(zip(wanted, there, strict=False)):
                yield from shown(ours, theirs, f"{path}.{number}")
    elif not isinstance(there, dict | list):
        yield path, plain(wanted), plain(there)


def plain(value: Any) -> str:
    """Write a value so that the same meaning is the same text: 2, "2.00" and 2.0 are equal, and so are null and "".

    >>> plain("2.00"), plain(2), plain(True), plain(None), plain("007")
    ('2', '2', 'true', '', '007')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if isinstance(value, str) and (text != text.strip() or (text.startswith("0") and text[1:2].isdigit())):
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite() or abs(number.adjusted()) > 40:
        return text
    return format(number.normalize(), "f")

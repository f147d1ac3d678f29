"""Dotted paths into a record: `Account.Name`, `items.0.id`, `/document.report.id` from the record when inside a row."""

from collections.abc import Callable
from typing import Any, Final

Raw = dict[str, Any]
Getter = Callable[[Any, Any], Any]
"""(row, record) -> value, or None when it is absent or null."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""What lies where nothing lies."""


def getter(path: str) -> Getter:
    """Compile a path; absent and null are both None."""
    from_record = path.startswith("/")
    steps = tuple(int(step) if step.isdigit() else step for step in path.lstrip("/").split("."))
    if len(steps) == 1 and isinstance(steps[0], str):
        only = steps[0]

        def one(row: Any, record: Any) -> Any:
            source = record if from_record else row
            return source.get(only) if isinstance(source, dict) else None

        return one

    if not any(isinstance(step, int) for step in steps):
        *through, last = map(str, steps)

        def down(row: Any, record: Any) -> Any:
            value = record if from_record else row
            for name in through:
                if not isinstance(value, dict):
                    return None
                value = value.get(name)
            return value.get(last) if isinstance(value, dict) else None

        return down

    def walk(row: Any, record: Any) -> Any:
        value = record if from_record else row
        for step in steps:
            if isinstance(value, dict):
                value = value.get(str(step))
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    return walk


def put(record: Any, path: str, value: Any) -> Any:
    """Return a copy of a record with another value at a path; `ABSENT` takes the key out.

    Raises    KeyError with a sentence where the path leads through something the record does not hold. A last key may be
              new, a place in a list may not.

    >>> put({"a": {"b": 1}}, "a.b", 2)
    {'a': {'b': 2}}
    >>> put({"a": [1, 2]}, "a.1", ABSENT)
    {'a': [1]}
    """
    first, _, rest = path.partition(".")
    if isinstance(record, list):
        if not first.isdigit() or int(first) >= len(record):
            raise KeyError(f"a list of {len(record)} has no place {first or 'without a name'}")
        there: Any = int(first)
        copied: Any = list(record)
    elif isinstance(record, dict):
        there, copied = first, dict(record)
        if not first or (first not in record and (rest or value is ABSENT)):
            raise KeyError(f"the record has no {first or 'field without a name'}")
    else:
        raise KeyError(f"nothing lies below a plain value: {first}")
    if rest:
        copied[there] = put(copied[there], rest, value)
    elif value is ABSENT:
        del copied[there]
    else:
        copied[there] = value
    return copied

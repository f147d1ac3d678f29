"""Dotted paths into a record: `Account.Name`, `items.0.id`, `/document.report.id` from the record when inside a row."""

from collections.abc import Callable
from typing import Any

Raw = dict[str, Any]
Getter = Callable[[Any, Any], Any]
"""(row, record) -> value, or None when it is absent or null."""


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

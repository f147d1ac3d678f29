"""Set two readings side by side."""

from collections.abc import Mapping
from typing import Any


def compare(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Return every difference as a sentence: where, what is expected, what is there. Tolerant of nothing.

    >>> compare({"net": "1.00", "tax": "0.19"}, {"net": "1.0", "note": ""})
    ["net: expected '1.00', actual '1.0'", "note: not expected, actual ''", "tax: expected '0.19', actual missing"]
    """
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        differences = []
        for key in sorted({*expected, *actual}, key=str):
            here = f"{path}.{key}" if path else str(key)
            if key not in actual:
                differences.append(f"{here}: expected {expected[key]!r}, actual missing")
            elif key not in expected:
                differences.append(f"{here}: not expected, actual {actual[key]!r}")
            else:
                differences += compare(expected[key], actual[key], here)
        return differences
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for n, (one, other) in pairs for line in compare(one, other, f"{path}[{n}]")]
    same = type(expected) is type(actual) and expected == actual
    return [] if same else [f"{path}: expected {expected!r}, actual {actual!r}"]

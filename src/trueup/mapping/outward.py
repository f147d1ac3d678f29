"""A canonical object in, a vendor's body out, by the same vocabulary."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from trueup.kernel.problems import Problem
from trueup.mapping.file import MappingFile
from trueup.mapping.verbs import Ref

Known = Callable[[str, str], str | None]
"""(our identifier, vendor object) -> the system's id of it, or None when it has none yet."""


@dataclass(frozen=True, slots=True)
class Body:
    """What we would send.

    waits_for  (our identifier, vendor object) pairs the system does not know yet: send those first
    """

    body: dict[str, Any]
    problems: tuple[Problem, ...]
    waits_for: tuple[tuple[str, str], ...]


def outward(mapping: MappingFile, source: dict[str, Any], known: Known) -> Body:
    """Build the vendor's body; null results are left out.

    source  the canonical body with `gid`, `status` and `version`
    """
    problems: list[Problem] = []
    waits: list[tuple[str, str]] = []
    body: dict[str, Any] = {}
    for path, value in mapping.fill(source, source, problems).items():
        settled = _settle(value, known, waits)
        if settled is not None:
            _place(body, path, settled)
    return Body(body, tuple(problems), tuple(waits))


def _settle(value: Any, known: Known, waits: list[tuple[str, str]]) -> Any:
    """Resolve references and make every value JSON-plain; decimals stay decimals."""
    if isinstance(value, Ref):
        found = known(value.external_id, value.object)
        if found is None:
            waits.append((value.external_id, value.object))
        return found
    if isinstance(value, list):
        return [_settle(item, known, waits) for item in value]
    if isinstance(value, dict):
        nested: dict[str, Any] = {}
        for path, item in value.items():
            settled = _settle(item, known, waits)
            if settled is not None:
                _place(nested, path, settled)
        return nested
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else value  # the wire writes it as a number
    if isinstance(value, date):
        return value.isoformat()
    return value


def _place(body: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted target path."""
    *parents, last = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value

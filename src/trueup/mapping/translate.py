"""A vendor's record in, canonical values and problems out; the record never raises."""

from dataclasses import dataclass
from typing import Any

from trueup.kernel.problems import Problem
from trueup.mapping.file import MappingFile
from trueup.mapping.paths import getter


@dataclass(frozen=True, slots=True)
class Translation:
    """What one record (or one row of it) means.

    external_id  the vendor's id, as the crosswalk keeps it
    stamp        the vendor's version, as text that sorts
    own          our own identifier, when the record carries it
    match        canonical field and value the object may be found by
    values       canonical values; references are `Ref`
    problems     everything that is wrong with it, at once
    ignored      the name of the rule that says it is not ours
    """

    external_id: str
    stamp: str
    own: str | None
    match: tuple[tuple[str, Any], ...]
    values: dict[str, Any]
    problems: tuple[Problem, ...]
    ignored: str | None = None


def translate(mapping: MappingFile, record: Any) -> list[Translation]:
    """Apply every line of the mapping to a record, or to each row of it."""
    if mapping.rows is None:
        return [_one(mapping, record, record)]
    rows = mapping.rows(record, record)
    if not isinstance(rows, list):
        return [_broken(f"{mapping.text.rows} is no list", "rows")]
    return [_one(mapping, row, record) for row in rows]


def _one(mapping: MappingFile, row: Any, record: Any) -> Translation:
    if not isinstance(row, dict):
        return _broken("the record is no object", "record")
    parts = [get(row, record) for get in mapping.key]
    if any(part is None or isinstance(part, dict | list) for part in parts):
        return _broken("the record has no key", "key")
    external_id = "/".join(str(part) for part in parts)
    stamp = str(mapping.stamp(row, record) or "") if mapping.stamp else ""
    rule = _ignored(mapping, row, record)
    if rule is not None:
        return Translation(external_id, stamp, None, (), {}, (), rule)
    problems: list[Problem] = []
    values = mapping.fill(row, record, problems)
    own = mapping.own(row, record) if mapping.own else None
    match = tuple((field, value) for field, get in mapping.match if (value := get(row, record)) not in (None, ""))
    return Translation(external_id, stamp, str(own) if own else None, match, values, tuple(problems))


def _ignored(mapping: MappingFile, row: Any, record: Any) -> str | None:
    for ignore in mapping.text.ignore:
        tests = ((getter(path)(row, record), wanted) for path, wanted in ignore.when.items())
        if all(value in wanted if isinstance(wanted, list) else value == wanted for value, wanted in tests):
            return ignore.rule
    return None


def _broken(message: str, field: str) -> Translation:
    return Translation("", "", None, (), {}, (Problem(field, "missing", message),))

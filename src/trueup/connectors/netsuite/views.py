"""How the simulated account shows its rows: as REST records with links, and as SuiteQL columns."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from trueup.connectors.netsuite import suiteql
from trueup.connectors.netsuite.records import STATUSES, TYPES, Field, RecordType, number
from trueup.connectors.sdk.simulate import Row, Store

_TABLES: Final = {"serviceSaleItem": "item"}
_RENAMED: Final = {"total": "foreigntotal", "amountremaining": "foreignamountunpaid", "payment": "foreigntotal"}
_COLUMNS: Final = {
    spec.name: {
        _RENAMED.get(name.lower(), name.lower()): (name, field)
        for name, field in spec.fields.items()
        if field.kind != "lines" and not (spec.code and name == "subsidiary")
    }
    for spec in TYPES.values()
}
"""Record type -> column -> (field name, field); the subsidiary of a transaction is a column of its lines only."""


def shown(store: Store, spec: RecordType, row: Row, place: str, *, whole: bool) -> Row:
    """Write a record the way REST shows it.

    place  address of the record service
    whole  sublists inside, not only their links
    """
    here = f"{place}/{spec.name}/{row['id']}"
    made: Row = {"links": [{"rel": "self", "href": here}], "id": row["id"]}
    made |= {name: row[name] for name in ("externalId", "createdDate", "lastModifiedDate") if name in row}
    for name, field in spec.fields.items():
        if field.kind == "lines":
            lines = sublist(store, field, row.get(name, []), f"{here}/{name}", place)
            made[name] = lines if whole else {"links": lines["links"]}
        elif name in row:
            made[name] = _value(store, field, row[name], place)
    return made


def sublist(store: Store, field: Field, lines: Sequence[Row], here: str, place: str) -> Row:
    """Write the lines of a sublist at the address `here`."""
    items = [
        {"links": [{"rel": "self", "href": f"{here}/{line['line']}"}]}
        | {name: _value(store, field.lines[name], value, place) for name, value in line.items()}
        for line in lines
    ]
    links = [{"rel": "self", "href": here}]
    return {"links": links, "count": len(items), "hasMore": False, "items": items, "totalResults": len(items)}


def _value(store: Store, field: Field, value: Any, place: str) -> Any:
    if field.kind == "ref":
        other = store.table(field.to).get(value, {})
        name = str(other.get(TYPES[field.to].shows, value))
        links = [{"rel": "self", "href": f"{place}/{field.to}/{value}"}]
        return {"links": links, "id": value, "refName": f"Invoice #{name}" if field.to == "invoice" else name}
    if field.kind == "choice":
        return {"id": value, "refName": field.choices[value]}
    return number(value) if field.kind == "number" else value


def columns(table: str) -> frozenset[str] | None:
    """Return the columns of a SuiteQL table, None when there is no such table."""
    if table == "deletedrecord":
        return frozenset({"recordid", "type", "deleteddate"})
    specs = [spec for spec in TYPES.values() if _table_of(spec) == table]
    if not specs:
        return None
    names = {"id", "externalid", "createddate", "lastmodifieddate"} | ({"type"} if specs[0].code else set())
    return frozenset(names.union(*(_COLUMNS[spec.name] for spec in specs)))


def lines(store: Store, table: str, shift: timedelta) -> Iterator[suiteql.Line]:
    """Return the rows of a SuiteQL table.

    shift  the user's time zone against UTC
    """
    if table == "deletedrecord":
        for kind in TYPES:
            for id, at in store.deleted.get(kind, {}).items():
                local = datetime.fromisoformat(at).replace(tzinfo=None, microsecond=0) + shift
                yield _Plain({"recordid": int(id), "type": kind.lower(), "deleteddate": local})
        return
    for spec in TYPES.values():
        if _table_of(spec) == table:
            for row in store.table(spec.name).values():
                yield _Record(spec, row, shift)


class _Plain:
    """A row whose values are at hand."""

    def __init__(self, values: Mapping[str, suiteql.Value]) -> None:
        self._values = values

    def get(self, column: str) -> suiteql.Value:
        return self._values.get(column)


class _Record:
    """A record as SuiteQL sees it: one column per field, in the user's time zone."""

    def __init__(self, spec: RecordType, row: Row, shift: timedelta) -> None:
        self._spec, self._row, self._shift = spec, row, shift

    def get(self, column: str) -> suiteql.Value:
        if column == "id":
            return int(self._row["id"])
        if column == "type" and self._spec.code:
            return self._spec.code
        if column in ("createddate", "lastmodifieddate"):
            stamp = self._row["createdDate" if column == "createddate" else "lastModifiedDate"]
            return datetime.fromisoformat(stamp.rstrip("Z")) + self._shift
        if column == "externalid":
            return self._row.get("externalId")
        name, field = _COLUMNS[self._spec.name].get(column, ("", Field()))
        value = self._row.get(name)
        if value is None:
            return None
        if field.kind == "flag":
            return "T" if value else "F"
        if field.kind == "number":
            return Decimal(value)
        if field.kind == "ref":
            return int(value)
        if field.kind == "day":
            return date.fromisoformat(value)
        if name == "status" and self._spec.code:
            return STATUSES[value]
        return value if isinstance(value, int) else str(value)


def _table_of(spec: RecordType) -> str:
    """Return the SuiteQL table of a record type: all transactions share one."""
    return "transaction" if spec.code else _TABLES.get(spec.name, spec.name.lower())

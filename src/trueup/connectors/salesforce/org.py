"""The simulated org's records: what people and the API do to them, the recycle bin, and the change events it sends."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from trueup.connectors.salesforce.schema import TABLES, Invalid, Table, fitted, long_id, record_id
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.simulate import Reject, Response, Row, Simulator, Store

DATA = "/services/data/v66.0"


class Org(Simulator):
    """One org with the objects of `schema.py`. Stamps have whole seconds, as the vendor's have."""

    vendor = "salesforce"

    def __init__(self, manifest: Manifest, store: Store, credentials: Mapping[str, str], webhook_secret: str) -> None:
        super().__init__(manifest, store, credentials, webhook_secret)
        self._locked: dict[str, int] = {}

    # --- what people do ------------------------------------------------------------------------------------------

    def create(self, table: str, row: Row) -> Row:
        """Save a new record as somebody in the browser does; returns it whole.

        An opportunity may bring its products along under `OpportunityLineItems`. System fields in the row are
        ignored. The same row with the same Id again changes nothing.
        """
        row = dict(row)
        lines = row.pop("OpportunityLineItems", None) or []
        if isinstance(lines, dict):
            lines = lines.get("records", [])
        object = self._object(table)
        given = {name: value for name, value in row.items() if name in object.columns and _writable(object, name)}
        unknown = set(row) - set(object.columns)
        if unknown:
            raise Invalid("INVALID_FIELD", f"No such column '{sorted(unknown)[0]}' on sobject of type {table}")
        id = long_id(row["Id"]) if row.get("Id") else None
        if id in self.store.table(table):
            kept = self.store.table(table)[id]
            fitting = {name: self._fitted(object, name, value) for name, value in given.items()}
            if any(kept[name] != value for name, value in fitting.items()):
                raise ValueError(f"{table} {id} exists with other values")
            return kept
        stamp = self._now()
        made = self._insert(object, given, stamp, id)
        for line in lines:
            self._insert(
                TABLES["OpportunityLineItem"], dict(line) | {"OpportunityId": made["Id"]}, stamp, line.get("Id")
            )
        self._tell(object, [made["Id"]], "CREATE")
        if table == "OpportunityLineItem":
            self._touch_parent(made, stamp)
        return made

    def edit(self, table: str, id: str, changes: Row) -> Row:
        """Change a record as somebody in the browser does; saving what is there already changes nothing."""
        object, id = self._object(table), long_id(id)
        kept = self._present(object, id)
        fitting = {name: self._fitted(object, name, value) for name, value in changes.items() if _checked(object, name)}
        if all(kept[name] == value for name, value in fitting.items()):
            return kept
        return self._update(object, id, changes)

    def remove(self, table: str, id: str) -> None:
        """Put a record and what hangs on it into the recycle bin."""
        object, id = self._object(table), long_id(id)
        row = self.store.table(table).get(id)
        if row is not None and not row["IsDeleted"]:
            self._bin(object, id, self._now())

    def restore(self, table: str, id: str) -> Row:
        """Take a record back out of the recycle bin."""
        object, id = self._object(table), long_id(id)
        row = self.store.table(table)[id]
        if not row["IsDeleted"]:
            return row
        back = self.store.put(table, id, self._stamped(row | {"IsDeleted": False}, self._now()))
        self._tell(object, [id], "UNDELETE")
        return back

    def add_picklist_value(self, table: str, column: str, value: str) -> None:
        """Let a restricted picklist take one more value, as the org's administrator does in Setup."""
        known = self.store.table("_picklists").get(f"{table}.{column}", {"values": []})["values"]
        self.store.put("_picklists", f"{table}.{column}", {"values": [*known, value]})

    def hold_lock(self, id: str, writes: int = 1) -> None:
        """Hold a record so that the next writes to it find it locked, as a long transaction does."""
        self._locked[long_id(id)] = writes

    # --- the database ------------------------------------------------------------------------------------------------

    def _object(self, name: str, *, status: int = 400) -> Table:
        if name in TABLES:
            return TABLES[name]
        if status == 404:
            raise not_found()
        raise Invalid("INVALID_TYPE", f"sObject type '{name}' is not supported.")

    def _present(self, table: Table, id: str) -> Row:
        if id[:3] != table.prefix:
            raise not_found()
        row = self.store.table(table.name).get(id)
        if row is None:
            raise not_found()
        if row["IsDeleted"]:
            raise Invalid("ENTITY_IS_DELETED", "entity is deleted", status=404)
        return row

    def _insert_by_api(self, table: Table, body: Row) -> Row:
        self._refuse_system_fields(table, body)
        stamp = self._now()
        made = self._insert(table, body, stamp, None)
        self._tell(table, [made["Id"]], "CREATE")
        if table.name == "OpportunityLineItem":
            self._touch_parent(made, stamp)
        return made

    def _update_by_api(self, table: Table, id: str, body: Row) -> Row:
        self._present(table, id)
        self._refuse_system_fields(table, body)
        if self._locked.get(id, 0) > 0:
            self._locked[id] -= 1
            message = f"unable to obtain exclusive access to this record or 1 records: {id}"
            raise Invalid("UNABLE_TO_LOCK_ROW", message)
        return self._update(table, id, body)

    def _upsert(self, table: Table, column: str, value: str, body: Row) -> tuple[str, bool]:
        if column == "Id":
            if value in ("", "None"):
                return str(self._insert_by_api(table, body)["Id"]), True
            self._update_by_api(table, long_id(value), body)
            return long_id(value), False
        if column not in table.columns or not table.columns[column].external:
            message = f"Provided external ID field does not exist or is not accessible: {column}"
            raise Invalid("NOT_FOUND", message, status=404)
        hits = [
            row
            for row in self.store.table(table.name).values()
            if not row["IsDeleted"] and str(row[column] or "").casefold() == value.casefold()
        ]
        if len(hits) > 1:
            raise Reject(Response(300, [f"{DATA}/sobjects/{table.name}/{row['Id']}" for row in hits]))
        if hits:
            self._update_by_api(table, hits[0]["Id"], body)
            return str(hits[0]["Id"]), False
        return str(self._insert_by_api(table, body | {column: value})["Id"]), True

    def _refuse_system_fields(self, table: Table, body: Row) -> None:
        for name in body:
            if name not in table.columns:
                raise Invalid("INVALID_FIELD", f"No such column '{name}' on sobject of type {table.name}")
        sealed = tuple(name for name in body if table.columns[name].system)
        if sealed:
            message = f"Unable to create/update fields: {', '.join(sealed)}. Please check the security settings."
            raise Invalid("INVALID_FIELD_FOR_INSERT_UPDATE", message, sealed)

    def _insert(self, table: Table, given: Row, stamp: str, id: str | None) -> Row:
        required = [
            name
            for name, column in table.columns.items()
            if column.required and given.get(name) in (None, "") and not column.system
        ]
        if required:
            raise Invalid("REQUIRED_FIELD_MISSING", f"Required fields are missing: {required}", tuple(required))
        row: Row = {name: column.default for name, column in table.columns.items()}
        row |= {name: self._fitted(table, name, value) for name, value in given.items() if _checked(table, name)}
        row["Id"] = long_id(id) if id else self._next_id(table)
        row["CreatedDate"] = stamp
        self._check(table, row)
        return self.store.put(table.name, row["Id"], self._stamped(_derived(table, row), stamp))

    def _update(self, table: Table, id: str, changes: Row) -> Row:
        kept = self.store.table(table.name)[id]
        row = kept | {
            name: self._fitted(table, name, value) for name, value in changes.items() if _checked(table, name)
        }
        self._check(table, row)
        stamp = self._now()
        changed = self.store.put(table.name, id, self._stamped(_derived(table, row), stamp))
        self._tell(table, [id], "UPDATE", [name for name in table.columns if kept[name] != changed[name]])
        if table.name == "OpportunityLineItem":
            self._touch_parent(changed, stamp, bump=kept["TotalPrice"] != changed["TotalPrice"])
        return changed

    def _bin(self, table: Table, id: str, stamp: str) -> None:
        row = self.store.put(
            table.name, id, self._stamped(self.store.table(table.name)[id] | {"IsDeleted": True}, stamp)
        )
        for other in TABLES.values():
            for name, column in other.columns.items():
                if column.refers == table.name and column.cascade:
                    below = [
                        r["Id"] for r in self.store.table(other.name).values() if r[name] == id and not r["IsDeleted"]
                    ]
                    for child in below:
                        self._bin(other, child, stamp)
        self._tell(table, [id], "DELETE")
        if table.name == "OpportunityLineItem":
            self._touch_parent(row, stamp)

    def _fitted(self, table: Table, name: str, value: Any) -> Any:
        if name not in table.columns:
            raise Invalid("INVALID_FIELD", f"No such column '{name}' on sobject of type {table.name}")
        more = self.store.table("_picklists").get(f"{table.name}.{name}", {"values": ()})["values"]
        return fitted(table, name, value, tuple(more))

    def _check(self, table: Table, row: Row) -> None:
        """Check what one field alone cannot know: that the other record exists, that a value is unique."""
        for name, column in table.columns.items():
            if column.refers and row[name] is not None:
                other = self.store.table(column.refers).get(row[name])
                if other is None:
                    raise Invalid("INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {row[name]}", (name,))
                if other["IsDeleted"]:
                    raise Invalid("ENTITY_IS_DELETED", f"entity is deleted: {row[name]}", (name,))
            if column.unique and row[name] is not None:
                owner = self._owner(table.name, name, row[name])
                if owner not in (None, row["Id"]):
                    message = f"duplicate value found: {name} duplicates value on record with id: {owner}"
                    raise Invalid("DUPLICATE_VALUE", message, (name,))

    def _owner(self, table: str, name: str, value: str) -> str | None:
        rows = self.store.table(table).items()
        return next((id for id, row in rows if row[name] == value and not row["IsDeleted"]), None)

    def _next_id(self, table: Table) -> str:
        while True:
            id = record_id(table.name, self.store.next_number(table.name))
            if id not in self.store.table(table.name):
                return id

    def _now(self) -> str:
        """Return the present second; a stamp in Salesforce has no finer one."""
        return self.store.stamp().strftime("%Y-%m-%dT%H:%M:%S.000+0000")

    def _stamped(self, row: Row, stamp: str) -> Row:
        return row | {"LastModifiedDate": stamp, "SystemModstamp": stamp}

    def _touch_parent(self, line: Row, stamp: str, *, bump: bool = True) -> None:
        """A product's price is part of the deal's: the deal counts as changed, and the org's trigger tells of it."""
        id = line["OpportunityId"]
        parent = self.store.table("Opportunity").get(id)
        if parent is None or parent["IsDeleted"]:
            return
        if bump:
            self.store.put("Opportunity", id, self._stamped(parent, stamp))
        self._tell(TABLES["Opportunity"], [id], "UPDATE")

    def _tell(self, table: Table, ids: list[str], change: str, changed: Iterable[str] = ()) -> None:
        """Announce a change event; product lines are told by their deal."""
        if table.name == "OpportunityLineItem":
            return
        number = self.store.next_number("replay")
        header = {
            "entityName": table.name,
            "recordIds": ids,
            "changeType": change,
            "changeOrigin": "",
            "transactionKey": f"{number:08x}-0000-4000-8000-000000000000",
            "sequenceNumber": 1,
            "commitTimestamp": time.time_ns() // 1_000_000,
            "commitNumber": 10_000_000 + number * 7,
            "commitUser": "005Ny0000000001IAA",
            "changedFields": sorted(changed),
        }
        self.announce(
            {"schema": "trueup-change-1", "payload": {"ChangeEventHeader": header}, "event": {"replayId": number * 3}}
        )


def _writable(table: Table, name: str) -> bool:
    return not table.columns[name].system


def _checked(table: Table, name: str) -> bool:
    """Say whether a given value is looked at: system fields are the org's own, unknown ones are refused later."""
    return name not in table.columns or _writable(table, name)


def _derived(table: Table, row: Row) -> Row:
    """Fill in what Salesforce works out itself."""
    if table.name != "Opportunity":
        return row
    return row | {
        "IsWon": row["StageName"] == "Closed Won",
        "IsClosed": row["StageName"] in ("Closed Won", "Closed Lost"),
    }


def not_found() -> Invalid:
    """Return 404 NOT_FOUND."""
    return Invalid("NOT_FOUND", "The requested resource does not exist", status=404)

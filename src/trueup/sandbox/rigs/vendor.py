"""Invented vendors for the rigs: a record store with a journal of what was committed, and a client that calls it.

A vendor behaves as its traits say and as the world it lives in decides, call by call. It knows nothing of the hub; the
hub's pipeline talks to it through the five verbs every connector has.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest, Write
from trueup.connectors.sdk.wire import Connection, Notice, Page, Receipt, Record
from trueup.kernel.errors import Busy, Refused, Unsettled
from trueup.kernel.strict_json import plain
from trueup.sandbox.rigs.oracles import Effect

PAGE = 25
Fault = Literal["", "before", "after", "late", "5xx", "429", "200-with-error", "partial", "cut", "slow"]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a vendor promises about its writes.

    dedupe        A upsert by our key; B idempotency key; C can be searched; D none of these
    conditional   a write that carries an older version than the record has is not applied
    late_seconds  how late a write may be committed after the connection broke; 0 never
    lag_seconds   how long a search does not find a new record
    key_seconds   how long an idempotency key is remembered
    """

    dedupe: str = "A"
    conditional: bool = True
    late_seconds: int = 0
    lag_seconds: int = 0
    key_seconds: int = 24 * 3600


@dataclass(slots=True)
class Row:
    """One record of a vendor.

    key    our identifier, when the hub made the record
    since  when it can be found by a search, seconds
    """

    id: str
    fields: dict[str, Any]
    stamp: str
    key: str = ""
    since: float = 0.0
    gone: bool = False


@dataclass(slots=True)
class Vendor:
    """One vendor's tables, its feed of changes, and the journal of what it has committed for the hub.

    now        the present instant, seconds
    fault      asked before each call: what befalls it; (vendor, is it a write, object, key)
    announce   told of each change: (vendor, object, record)
    at         does something at a later instant: (when, what)
    closed     days before this one are closed: documents of them are refused
    renamed    field name -> name it has had since the schema changed
    late_by    how late a late write is committed, seconds; set with the fault
    """

    name: str
    traits: Traits
    now: Callable[[], float]
    fault: Callable[["Vendor", bool, str, str], Fault]
    announce: Callable[["Vendor", str, str], None]
    at: Callable[[float, Callable[[], None]], None]
    tables: dict[str, dict[str, Row]] = field(default_factory=dict)
    feed: list[tuple[str, str]] = field(default_factory=list)
    journal: list[Effect] = field(default_factory=list)
    keys: dict[str, tuple[float, str]] = field(default_factory=dict)
    closed: str = ""
    renamed: dict[str, str] = field(default_factory=dict)
    late_by: float = 0.0
    counter: int = 0

    # --- what people do in it ------------------------------------------------------------------------------------

    def put(self, object_name: str, id: str, fields: Mapping[str, Any], key: str = "") -> Row:
        """Write a record, and tell the world."""
        table = self.tables.setdefault(object_name, {})
        known = table.get(id)
        if known is None:
            table[id] = known = Row(id, {}, "", key, self.now() + self.traits.lag_seconds)
        known.fields = {**known.fields, **fields}
        known.gone = False
        self._changed(object_name, known)
        return known

    def remove(self, object_name: str, id: str) -> None:
        """Delete a record; its identifier stays known to the feed."""
        row = self.tables[object_name][id]
        row.gone = True
        self._changed(object_name, row)

    def touch(self, object_name: str) -> None:
        """Tell of every record anew, as a vendor does whose schema has changed."""
        for _, row in sorted(self.tables.get(object_name, {}).items()):
            self._changed(object_name, row)

    def _changed(self, object_name: str, row: Row) -> None:
        self.counter += 1
        row.stamp = f"{self.counter:012d}"
        self.feed.append((object_name, row.id))
        self.announce(self, object_name, row.id)

    # --- what the hub reads --------------------------------------------------------------------------------------

    def record(self, object_name: str, row: Row) -> Record:
        """Return a record as the vendor's API says it."""
        said = {self.renamed.get(name, name): value for name, value in row.fields.items()}
        raw = json.dumps({"id": row.id, "at": row.stamp, **said}, sort_keys=True).encode()
        return Record(object_name, row.id, row.stamp, raw, row.gone)

    def page(self, object_name: str, cursor: str | None) -> Page:
        """Return the records that have changed since a place in the feed, each once."""
        start = int(cursor or 0)
        ids: dict[str, None] = {}
        end = start
        for name, id in self.feed[start:]:
            if name == object_name:
                if len(ids) >= PAGE and id not in ids:
                    break
                ids[id] = None
            end += 1
        table = self.tables.get(object_name, {})
        return Page(tuple(self.record(object_name, table[id]) for id in ids), str(end), end < len(self.feed))

    # --- what the hub writes -------------------------------------------------------------------------------------

    def find(self, object_name: str, key: str) -> Row | None:
        """Search for the record that carries our key; new ones are found after a while."""
        rows = self.tables.get(object_name, {}).values()
        return next((row for row in rows if row.key == key and not row.gone and row.since <= self.now()), None)

    def commit(self, object_name: str, key: str, body: Mapping[str, Any], external_id: str | None) -> Row:
        """Apply a write, by the vendor's own rules.

        Raises    Refused when the vendor says no.
        """
        if self.closed and str(body.get("day") or "9") < self.closed:
            raise Refused(f"the period of {body['day']} is closed", "period_closed", 400)
        table = self.tables.setdefault(object_name, {})
        row = table.get(external_id or "")
        if row is None and self.traits.dedupe == "A":
            row = next((one for one in table.values() if one.key == key), None)
        if row is None and self.traits.dedupe == "B" and key in self.keys:
            made_at, id = self.keys[key]
            row = table[id] if self.now() - made_at < self.traits.key_seconds else None
        version = int(body.get("version") or 0)
        if row is None:
            row = self.put(object_name, f"{object_name[0]}{len(table) + 1}", body, key)
            self.keys[key] = (self.now(), row.id)
            self.journal.append(Effect(self.name, object_name, key, row.id, True, version))
        elif not (self.traits.conditional and version < int(row.fields.get("version") or 0)):
            self.put(object_name, row.id, body)
            self.journal.append(Effect(self.name, object_name, key, row.id, False, version))
        return row


class Client(VendorClient):
    """The hub's side of an invented vendor; `vendor` is set anew for each run."""

    vendor: Vendor

    def _read(self, object: str, key: str = "") -> Fault:
        """Let the world befall a read; returns what else is to happen with the answer."""
        fault = self.vendor.fault(self.vendor, False, object, key)
        if fault == "429":
            raise Busy(f"{self.vendor.name} asks us to wait", 5.0)
        if fault in ("before", "after", "late", "cut", "5xx"):
            raise Busy(f"{self.vendor.name} did not answer ({fault})")
        return fault

    def changes(self, object: str, cursor: str | None) -> Page:
        """Return one page; a partial batch is a shorter one, and says that there is more."""
        fault = self._read(object)
        page = self.vendor.page(object, cursor)
        if fault == "partial" and cursor is not None:
            return Page((), cursor, bool(page.records) or page.more)
        return page

    def get(self, object: str, external_id: str) -> Record | None:
        """Return one record, None when it is not there."""
        row = self.vendor.tables.get(object, {}).get(external_id)
        return None if row is None or row.gone else self.vendor.record(object, row)

    def fetch(self, object: str, external_ids: Sequence[str]) -> list[Record]:
        """Return records as they are now."""
        fault = self._read(object)
        wanted = list(external_ids)
        if fault == "partial" and len(wanted) > 1:
            raise Busy(f"{self.vendor.name} answered for {len(wanted) // 2} of {len(wanted)} records")
        return [record for record in (self.get(object, id) for id in wanted) if record is not None]

    def find(self, object: str, key: str) -> Receipt | None:
        """Look for what carries our key."""
        self._read(object, key)
        row = self.vendor.find(object, key)
        return None if row is None else Receipt(row.id, row.stamp)

    def send(self, object: str, key: str, body: dict[str, Any], external_id: str | None) -> Receipt:
        """Write, through whatever the world lets happen to the call."""
        vendor = self.vendor
        said: dict[str, Any] = plain(body)
        fault = vendor.fault(vendor, True, object, key)
        if fault == "429":
            raise Busy(f"{vendor.name} asks us to wait", 5.0)
        if fault in ("before", "5xx"):
            raise Unsettled(f"{vendor.name} did not answer ({fault})")
        if fault == "200-with-error":
            raise Refused(f"{vendor.name} answered 200 and an error", "row_locked", 0)
        if fault == "late":
            vendor.at(vendor.now() + vendor.late_by, lambda: _late(vendor, object, key, said, external_id))
            raise Unsettled(f"{vendor.name} did not answer (late)")
        row = vendor.commit(object, key, said, external_id)
        if fault in ("after", "cut"):
            raise Unsettled(f"{vendor.name} did not answer ({fault})")
        vendor.fault(vendor, False, object, key + "/answered")
        return Receipt(row.id, row.stamp)

    @staticmethod
    def notices(body: Any) -> list[Notice]:
        """Read the invented webhooks."""
        return [Notice(str(one["object"]), str(one["id"])) for one in body["changed"]]


def _late(vendor: Vendor, object_name: str, key: str, body: Mapping[str, Any], external_id: str | None) -> None:
    """Commit a write nobody waits for any more; a refusal is heard by nobody."""
    try:
        vendor.commit(object_name, key, body, external_id)
    except Refused:
        return


def declared(role: str, name: str, reads: Mapping[str, str], writes: Mapping[str, str], traits: Traits) -> Manifest:
    """Return the manifest of an invented vendor.

    reads, writes  vendor object -> kind
    """
    lanes = {"time_entry": "volume"}
    orders = {"resource": 10, "customer": 10}
    return Manifest.model_validate(
        {
            "connector": name,
            "title": name,
            "role": role,
            "tier": "bronze",
            "base_url": "https://nowhere.example",
            "auth": {"scheme": "api_key"},
            "credentials": ["api_key"],
            "limits": {"concurrency": 4, "per_second": 100_000, "source": "invented for the rigs"},
            "reads": {
                object_name: {"kind": kind, "lane": lanes.get(kind, "master"), "order": orders.get(kind, 50)}
                for object_name, kind in reads.items()
            },
            "writes": {object_name: _promise(kind, traits) for object_name, kind in writes.items()},
            "webhook": {"signature_header": "x-signature", "signed": "{body}", "source": "invented for the rigs"},
        }
    )


def _promise(kind: str, traits: Traits) -> dict[str, Any]:
    """Declare a write with every fact a manifest can carry about it."""
    facts: dict[str, Any] = {"kind": kind, "dedupe": traits.dedupe}
    if traits.dedupe == "B":
        facts["key_life_hours"] = traits.key_seconds / 3600
    more = {"late_commit_seconds": traits.late_seconds, "index_lag_seconds": traits.lag_seconds}
    return facts | {name: value for name, value in more.items() if name in Write.model_fields and value}


def connection(name: str) -> Connection:
    """Return a connection to an invented vendor."""
    return Connection(name, "https://nowhere.example", {"api_key": "rig"}, webhook_secret=f"secret of {name}")

"""Do all systems agree? Read every system whole, count and sum by object, entity, period and currency, name each break.

The systems are asked afresh, over the wire: a tie-out against our own copies would only prove that we copy well.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trueup.connectors.sdk.wire import Record
from trueup.kernel.errors import Busy, Unsettled
from trueup.kernel.money import from_units, to_units
from trueup.kernel.strict_json import plain, read_kept
from trueup.mapping.file import MappingFile
from trueup.mapping.translate import Translation, translate
from trueup.mapping.verbs import Ref
from trueup.pipeline.house import House, System
from trueup.store import changes, crosswalk, ledger, objects
from trueup.store.changes import Event
from trueup.store.crosswalk import Key
from trueup.store.database import Tx
from trueup.store.objects import Held

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Measure:
    """How a kind is compared.

    amount    field that is summed, in the object's currency; None sums nothing
    minutes   the sum is of minutes, not of money
    day       field whose month is the period
    fields    fields that must be equal: name -> class of break
    same      our statuses -> theirs that mean the same
    only      our statuses that must exist in the system; empty means all
    """

    amount: str | None = None
    minutes: bool = False
    day: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    only: frozenset[str] = frozenset()


MEASURES: dict[str, Measure] = {
    "contract": Measure(
        "value",
        day="signed_on",
        fields={"status": "status", "value": "amount", "currency": "currency"},
        same={"active": "signed", "completed": "signed", "closed": "signed"},
    ),
    "rate_line": Measure("rate", day="valid_from", fields={"rate": "amount", "currency": "currency"}),
    "milestone": Measure("amount", day="planned_on", fields={"amount": "amount"}),
    "customer": Measure(),
    "resource": Measure(),
    "cost_rate": Measure(),
    "project": Measure(day="starts_on", fields={"status": "status"}),
    "time_entry": Measure("minutes", minutes=True, day="worked_on", fields={"status": "status", "minutes": "quantity"}),
    "invoice": Measure(
        "net",
        day="invoice_date",
        fields={"status": "status", "net": "amount", "tax": "tax", "gross": "amount"},
        same={"credited": "part_paid"},
        only=frozenset({"submitted", "posted", "part_paid", "paid", "credited"}),
    ),
    "payment": Measure("amount", day="received_on", fields={"amount": "amount", "currency": "currency"}),
}
REPAIRS = {
    "missing_in_target": "send the object again, or end it here if the system is right",
    "extra_in_target": "find out who made it there, then adopt it or have it removed",
    "amount": "the owner's amount wins: have the other side corrected, or credit and bill again",
    "quantity": "the owner's quantity wins: correct it there, or correct and credit here",
    "status": "ask the owner which status is right; the other side follows",
    "tax": "compare the tax decision with the ERP's, then credit and bill again",
    "currency": "correct the currency at its owner",
    "deleted_upstream": "what was billed stays billed: restore the record there, or credit the invoice",
}
Group = tuple[str, str, str]
"""(legal entity, period, currency)"""


@dataclass(slots=True)
class Side:
    """One object as one side has it."""

    gid: str | None
    label: str
    external_id: str | None
    group: Group
    amount: int
    values: Mapping[str, Any]


def tie_out(house: House, run: str) -> dict[str, Any]:
    """Compare every object that systems and hub both hold; store sums and breaks, close breaks that are gone.

    run       name of this tie-out; the same name again is a new comparison under the old name

    Returns   compared (objects), groups, breaks (open now, each with its sentence)
    """
    compared = 0
    found: list[dict[str, Any]] = []
    sums: list[tuple[Any, ...]] = []
    for (name, object_name), mapping in sorted(house.inward.items()):
        measure = MEASURES.get(mapping.kind)
        if measure is None or mapping.rows is not None:
            continue
        system = house.systems[name]
        theirs_raw = list(_sweep(system, object_name))
        with house.database.transaction() as tx:
            theirs = _theirs(tx, name, mapping, measure, theirs_raw)
            ours = _ours(tx, name, object_name, mapping.kind, measure)
        compared += len(
            {*(side.gid for side in ours.values()), *(side.external_id for side in theirs.values())} - {None}
        )
        compared -= sum(1 for gid in ours if gid in theirs)
        sums += _groups(run, mapping.kind, name, object_name, ours, theirs)
        found += _breaks(mapping.kind, name, measure, ours, theirs)
    with house.database.transaction() as tx:
        ledger.begin_run(tx, run, "tie_out", None, None)
        _store(tx, run, sums, found)
        ledger.end_run(tx, run, {"compared": compared, "breaks": len(found), "groups": len(sums)})
    return {"run": run, "compared": compared, "groups": len(sums), "breaks": found}


def _sweep(system: System, object_name: str) -> Iterable[Record]:
    """Read an object of a system from the beginning to the end, patiently; the newest word of each record counts."""
    newest: dict[str, Record] = {}
    cursor: str | None = None
    more = True
    ends = time.monotonic() + PATIENCE_SECONDS
    while more:
        try:
            page = system.client.changes(object_name, cursor)
        except (Busy, Unsettled) as trouble:
            if time.monotonic() > ends:
                raise
            time.sleep(min(getattr(trouble, "retry_after", None) or 0.2, 2.0))
            continue
        for record in page.records:
            known = newest.get(record.external_id)
            if known is None or record.deleted or record.stamp >= known.stamp:
                newest[record.external_id] = record
        cursor, more = page.cursor, page.more
    return [record for record in newest.values() if not record.deleted]


def _theirs(tx: Tx, system: str, mapping: MappingFile, measure: Measure, records: Iterable[Record]) -> dict[str, Side]:
    """Return what the system has, by our identifier where it has one, else by its own."""
    said: list[tuple[Record, Translation]] = []
    for record in records:
        for one in translate(mapping, read_kept(record.raw)):
            if not one.ignored:
                said.append((record, one))
    keys: list[Key] = [(system, record.object, one.external_id) for record, one in said]
    links = crosswalk.find(tx, keys)
    held = objects.load(tx, {link.gid for link in links.values()})
    found: dict[str, Side] = {}
    for record, one in said:
        link = links.get((system, record.object, one.external_id))
        gid = link.gid if link else None
        ours = held.get(gid or "")
        values: dict[str, Any] = plain(_flat(one.values))
        found[gid or one.external_id] = Side(
            gid,
            _label(ours, one.external_id),
            one.external_id,
            _group(ours, measure, values),
            _amount(measure, values, ours),
            values,
        )
    return found


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave references and lists out: only plain values are compared."""
    return {name: value for name, value in values.items() if not isinstance(value, Ref | list | dict)}


def _ours(tx: Tx, system: str, object_name: str, kind: str, measure: Measure) -> dict[str, Side]:
    """Return what we hold of a kind that this system should have: everything linked to it there, deleted or not."""
    rows = tx.rows("select gid, external_id from crosswalk where system = %s and object = %s", (system, object_name))
    external = {row["gid"]: row["external_id"] for row in rows}
    found = {}
    for gid, held in objects.load(tx, external).items():
        if held.kind != kind or (measure.only and held.status not in measure.only):
            continue
        if held.tombstone == "deleted" and not _billed(tx, gid):
            continue
        found[gid] = Side(
            gid,
            _label(held, external[gid]),
            external[gid],
            _group(held, measure, held.body),
            _amount(measure, held.body, held),
            held.body,
        )
    return found


def _billed(tx: Tx, gid: str) -> bool:
    """Say whether a deleted record still stands on a document."""
    return bool(tx.value("select count(*) from charges where fact = %s and document is not null", (gid,)))


def _label(held: Held | None, external_id: str) -> str:
    if held is None:
        return external_id
    return str(held.body.get("code") or held.body.get("worker_number") or held.body.get("reference") or external_id)


def _group(held: Held | None, measure: Measure, values: Mapping[str, Any]) -> Group:
    body = held.body if held is not None else values
    day = body.get(measure.day or "") or values.get(measure.day or "")
    period = str(body.get("period") or "") or (str(day)[:7] if day else "")
    entity = (held.legal_entity if held is not None else None) or str(values.get("legal_entity") or "")
    return entity or "", period, str(body.get("currency") or "")


def _amount(measure: Measure, values: Mapping[str, Any], held: Held | None) -> int:
    value = values.get(measure.amount or "")
    if value is None:
        return 0
    if measure.minutes:
        return int(value)
    currency = str(values.get("currency") or (held.body.get("currency") if held else "") or "USD")
    return to_units(Decimal(str(value)), currency)


def _groups(
    run: str, kind: str, system: str, object_name: str, ours: Mapping[str, Side], theirs: Mapping[str, Side]
) -> list[tuple[Any, ...]]:
    table: dict[Group, list[int]] = {}
    for at, sides in ((0, ours), (2, theirs)):
        for side in sides.values():
            row = table.setdefault(side.group, [0, 0, 0, 0])
            row[at] += 1
            row[at + 1] += side.amount
    return [(run, f"{kind}:{object_name}", system, *group, *row) for group, row in sorted(table.items())]


def _breaks(
    kind: str, system: str, measure: Measure, ours: Mapping[str, Side], theirs: Mapping[str, Side]
) -> list[dict[str, Any]]:
    found = []
    for key in sorted({*ours, *theirs}):
        mine, other = ours.get(key), theirs.get(key)
        if mine is None and other is not None:
            if other.gid is None:
                found.append(
                    _break(
                        "extra_in_target", kind, system, other, None, "exists", f"{system} has a {kind} we do not know"
                    )
                )
        elif other is None and mine is not None:
            deleted = kind in ("time_entry", "expense_line")
            name = "deleted_upstream" if deleted else "missing_in_target"
            why = (
                f"{system} no longer has a {kind} that was billed" if deleted else f"{system} does not have this {kind}"
            )
            found.append(_break(name, kind, system, mine, _shown(mine.values, measure), None, why))
        elif mine is not None and other is not None:
            found += _differences(kind, system, measure, mine, other)
    return found


def _differences(kind: str, system: str, measure: Measure, mine: Side, other: Side) -> list[dict[str, Any]]:
    """Return at most one break of each class for an object: the first field that differs names it."""
    found: dict[str, dict[str, Any]] = {}
    for name, cls in measure.fields.items():
        if name not in other.values:
            continue
        we, they = mine.values.get(name), other.values[name]
        if name == "status":
            we = measure.same.get(str(we), we)
        if _same(we, they):
            continue
        amount = _difference(we, they, str(mine.values.get("currency") or "")) if cls in ("amount", "tax") else 0
        why = f"{name}: we hold {we}, {system} has {they}"
        entry = _break(cls, kind, system, mine, str(we), str(they), why, amount)
        found.setdefault(cls, entry)
    return list(found.values())


def _same(we: Any, they: Any) -> bool:
    if we == they:
        return True
    try:
        return Decimal(str(we)) == Decimal(str(they))
    except ArithmeticError:
        return False


def _difference(we: Any, they: Any, currency: str) -> int:
    return to_units(Decimal(str(they)) - Decimal(str(we or 0)), currency) if currency else 0


def _shown(values: Mapping[str, Any], measure: Measure) -> str:
    return str(values.get(measure.amount or "status") or "exists")


def _break(
    cls: str, kind: str, system: str, side: Side, ours: str | None, theirs: str | None, why: str, amount: int = 0
) -> dict[str, Any]:
    return {
        "class": cls,
        "object": kind,
        "system": system,
        "gid": side.gid,
        "external_id": side.external_id,
        "label": side.label,
        "legal_entity": side.group[0] or None,
        "period": side.group[1] or None,
        "currency": side.group[2] or None,
        "ours": ours,
        "theirs": theirs,
        "amount": amount if cls in ("amount", "tax") else side.amount if cls != "status" else 0,
        "sentence": f"{side.label}: {why}",
        "repair": REPAIRS[cls],
    }


def _store(tx: Tx, run: str, sums: list[tuple[Any, ...]], found: list[dict[str, Any]]) -> None:
    tx.run("delete from tie_outs where run = %s", (run,))
    columns = (
        "run", "object", "system", "legal_entity", "period", "currency", "ours_count", "ours_sum", "theirs_count",
        "theirs_sum",
    )  # fmt: skip
    tx.copy("tie_outs", columns, sums)
    seen = []
    for entry in found:
        number = tx.value(
            """
            insert into breaks (class, object, system, gid, external_id, label, legal_entity, period, currency, ours, theirs,
                                amount, sentence, repair, first_run, last_run)
            values (%(class)s, %(object)s, %(system)s, %(gid)s, %(external_id)s, %(label)s, %(legal_entity)s, %(period)s,
                    %(currency)s, %(ours)s, %(theirs)s, %(amount)s, %(sentence)s, %(repair)s, %(run)s, %(run)s)
            on conflict (class, object, system, label) where closed_at is null
            do update set last_run = excluded.last_run, ours = excluded.ours, theirs = excluded.theirs,
                amount = excluded.amount, sentence = excluded.sentence
            returning number
            """,
            {**entry, "run": run},
        )
        seen.append(number)
    closed = tx.rows(
        "update breaks set closed_at = now() where closed_at is null and not (number = any(%s)) returning number, label",
        (seen,),
    )
    told = [
        Event(f"break.found/{number}", "break.found", entry["gid"] or entry["label"], entry["object"],
              {"code": entry["label"], "reason": entry["sentence"]})
        for number, entry in zip(seen, found, strict=True)
    ]  # fmt: skip
    told += [Event(f"break.closed/{row['number']}", "break.closed", row["label"], "break", {}) for row in closed]
    changes.tell(tx, told)


def shown_amount(units: int, currency: str | None) -> str:
    """Return a break's amount for people."""
    return f"{from_units(units, currency)} {currency}" if currency else str(units)

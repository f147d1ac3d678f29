"""Do all systems agree? Count, sum and hash by object, entity, period and currency, and name each break.

The systems are asked over the wire, with a cursor of the tie-out's own: a tie-out against our own copies would only
prove that we copy well. A whole tie-out reads every record; between two of those, what changed on either side is enough.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trueup.connectors.sdk.wire import Page, Record
from trueup.kernel.errors import Busy, Refused, Unsettled
from trueup.kernel.money import known_currency, minor_digits, to_units
from trueup.kernel.strict_json import plain, read_kept
from trueup.mapping.file import MappingFile
from trueup.mapping.translate import translate
from trueup.mapping.verbs import Ref
from trueup.pipeline.house import House, System
from trueup.store import changes, ledger, objects, tie_outs
from trueup.store.changes import Event
from trueup.store.database import Tx
from trueup.store.objects import Held
from trueup.store.tie_outs import Pair, Said

PATIENCE_SECONDS = 120.0
SWEEP_HOURS = 24.0
"""How old the last whole reading of a system may be: a change without a stamp is found by the next one."""
ROUNDING_MINOR = 1
"""Differences of so many minor units are of rounding; a larger one is an amount."""
FX_SHARE = Decimal("0.005")
"""An amount that is ours in another currency is so near to the rate's result."""
_BEYOND = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class Measure:
    """How a kind is compared.

    amount    field that is summed, in the object's currency; None sums nothing
    minutes   the sum is of minutes, not of money
    day       field whose month is the period
    fields    fields that must be equal: name -> class of break, or `text`, whose class depends on who owns the field
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
        fields={"status": "status", "value": "amount", "currency": "currency", "signed_on": "date", "name": "text"},
        same={"active": "signed", "completed": "signed", "closed": "signed"},
    ),
    "rate_line": Measure(
        "rate", day="valid_from", fields={"rate": "amount", "currency": "currency", "valid_from": "date"}
    ),
    "milestone": Measure("amount", day="planned_on", fields={"amount": "amount", "planned_on": "date"}),
    "customer": Measure(fields={"name": "text"}),
    "resource": Measure(fields={"name": "text"}),
    "cost_rate": Measure(),
    "project": Measure(day="starts_on", fields={"status": "status", "currency": "currency"}),
    "time_entry": Measure(
        "minutes",
        minutes=True,
        day="worked_on",
        fields={"status": "status", "minutes": "quantity", "worked_on": "date"},
    ),
    "invoice": Measure(
        "net",
        day="invoice_date",
        fields={"status": "status", "net": "amount", "tax": "tax", "gross": "amount"},
        same={"credited": "part_paid"},
        only=frozenset({"submitted", "posted", "part_paid", "paid", "credited"}),
    ),
    "payment": Measure(
        "amount", day="received_on", fields={"amount": "amount", "currency": "currency", "received_on": "date"}
    ),
}
NUMBERS = frozenset({"amount", "tax", "quantity"})
REPAIRS = {
    "missing_in_target": "send the object again, or end it here if the system is right",
    "extra_in_target": "find out who made it there, then adopt it or have it removed",
    "amount": "the owner's amount wins: have the other side corrected, or credit and bill again",
    "quantity": "the owner's quantity wins: correct it there, or correct and credit here",
    "status": "ask the owner which status is right; the other side follows",
    "date": "the owner's date wins: take it in again, or correct it there",
    "timing": "wait for what is on its way; if nothing is, take the record in again",
    "tax": "compare the tax decision with the ERP's, then credit and bill again",
    "currency": "correct the currency at its owner",
    "rounding": "accept the cent with a reason, or correct the line that was rounded twice",
    "fx": "the amount was booked in another currency: correct the currency of the booking there",
    "ownership": "a system changed what it does not own: send our value again, or change it at its owner",
    "deleted_upstream": "what was billed stays billed: restore the record there, or credit the invoice",
}
Group = tuple[str, str, str]
"""(legal entity, period, currency)"""


def tie_out(house: House, run: str, *, whole: bool = True) -> dict[str, Any]:
    """Compare what systems and hub both hold; store sums and breaks, close breaks that are gone.

    run       name of this tie-out; the same name again is a new comparison under the old name
    whole     read every system from the beginning; otherwise only what changed there since the last tie-out, and whole
              what was never read or was read whole more than a day ago

    Returns   compared (records), groups, changed (lines that were computed again), read (records that came over the
              wire), swept (how many objects were read whole), breaks (open now, each with its sentence)
    """
    pairs = {(pair.system, pair.object): (pair, mapping) for pair, mapping in compared_pairs(house)}
    read: dict[tuple[str, str], _Reading] = {}
    with house.database.transaction() as tx:
        tie_outs.unstage(tx, run)
    for key, (_, mapping) in pairs.items():
        read[key] = _read(house, run, key, mapping, whole=whole)
    found: list[dict[str, Any]] = []
    changed = 0
    with house.database.transaction() as tx:
        tie_outs.alone(tx)
        ledger.begin_run(tx, run, "tie_out", None, None)
        tie_outs.keep_to(tx, list(pairs))
        tie_outs.take_changes(tx)
        for key, (pair, _) in pairs.items():
            changed += tie_outs.fold(tx, run, pair, whole=read[key].whole)
            tie_outs.read_to(tx, pair.system, pair.object, read[key].cursor, read[key].whole)
            found += named(tx, house, pair)
        fresh, ended = tie_outs.keep_breaks(tx, run, found)
        groups, compared = tie_outs.write_sums(tx, run, {key: pair.kind for key, (pair, _) in pairs.items()})
        figures = {
            "compared": compared,
            "breaks": len(found),
            "groups": groups,
            "changed": changed,
            "read": sum(one.records for one in read.values()),
            "swept": sum(one.whole for one in read.values()),
        }
        ledger.end_run(tx, run, figures)
        tie_outs.unstage(tx, run)
        tie_outs.forget_old(tx)
        _tell(tx, fresh, ended)
    return {"run": run, **figures, "breaks": found}


def compared_pairs(house: House) -> Iterator[tuple[Pair, MappingFile]]:
    """Return what is compared: every object that a system tells us of as a kind that has a measure."""
    multipliers = _multipliers(house)
    for (name, object_name), mapping in sorted(house.inward.items()):
        measure = MEASURES.get(mapping.kind)
        if measure is None or mapping.rows is not None:
            continue
        fills = mapping.text.fields
        names = tuple(one for one in measure.fields if one in fills)
        if mapping.kind == "time_entry":  # their columns are read as they are: see store.tie_outs
            names = tuple(measure.fields)
        yield (
            Pair(
                name,
                object_name,
                mapping.kind,
                names,
                frozenset(one for one in names if measure.fields[one] in NUMBERS),
                measure.amount if measure.amount in fills else None,
                measure.minutes,
                measure.day,
                measure.only,
                measure.same,
                multipliers,
            ),
            mapping,
        )


def _multipliers(house: House) -> dict[str, int]:
    """Return currencies whose minor unit has not two digits, with the units in one of each."""
    used = {"JPY", "KWD", "BHD", "TND", "KRW", "CLP", "HUF"}
    used |= {entity.currency for entity in house.firm.entities.values()}
    used |= {rate.quote for rate in house.firm.fx_rates} | {rate.base for rate in house.firm.fx_rates}
    return {code: to_units(Decimal(1), code) for code in used if known_currency(code) and minor_digits(code) != 2}


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    cursor: str | None
    whole: bool
    records: int


def _read(house: House, run: str, key: tuple[str, str], mapping: MappingFile, *, whole: bool) -> _Reading:
    """Read an object of a system, whole or from where the last tie-out ended, and stage what it says."""
    with house.database.transaction() as tx:
        known = tie_outs.source(tx, *key)
    if not whole and known.age_seconds is not None and known.age_seconds < SWEEP_HOURS * 3600:
        try:
            return _stage(house, run, key, mapping, known.cursor, whole=False)
        except Refused:  # the cursor is too old for the system: begin again
            pass
    return _stage(house, run, key, mapping, None, whole=True)


def _stage(
    house: House, run: str, key: tuple[str, str], mapping: MappingFile, cursor: str | None, *, whole: bool
) -> _Reading:
    count = 0
    deletions: dict[str, tuple[int, str]] = {}
    for page in _pages(house.systems[key[0]], key[1], cursor):
        words = list(_words(mapping, page.records, deletions))
        with house.database.transaction() as tx:
            tie_outs.stage(tx, run, *key, count, words)
        count += len(words)
        cursor = page.cursor
    return _Reading(cursor, whole, count)


def _pages(system: System, object_name: str, cursor: str | None) -> Iterator[Page]:
    """Read page after page, patiently, to the end."""
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
        ends = time.monotonic() + PATIENCE_SECONDS
        cursor, more = page.cursor, page.more
        yield page


def _words(mapping: MappingFile, records: Iterable[Record], deletions: dict[str, tuple[int, str]]) -> Iterator[Said]:
    """Translate records into the fields that are compared.

    deletions  record -> (how often it was deleted, stamp of the last deletion); kept over the pages of one reading
    """
    measure = MEASURES[mapping.kind]
    wanted = {*measure.fields, measure.amount, measure.day, "currency", "period", "legal_entity"}
    for record in records:
        generation, since = deletions.get(record.external_id, (0, ""))
        if record.deleted:
            deletions[record.external_id] = (generation + 1, record.stamp)
            yield Said(record.external_id, record.external_id, record.stamp, None, generation + 1)
            continue
        if record.stamp < since:
            generation -= 1  # a word from before the deletion that comes late
        for one in translate(mapping, read_kept(record.raw)):
            if not one.external_id:
                continue
            said = None if one.ignored else _said(measure, wanted, one.values)
            yield Said(one.external_id, record.external_id, record.stamp, said, generation)


def _said(measure: Measure, wanted: set[str | None], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the compared values as plain JSON; references and lists are left out, numbers are numbers or nothing."""
    flat: dict[str, Any] = plain(
        {name: value for name, value in values.items() if name in wanted and not isinstance(value, Ref | list | dict)}
    )
    for name in flat:
        if flat[name] is not None and (name == measure.amount or measure.fields.get(name) in NUMBERS):
            flat[name] = _number(flat[name])
    return flat


def _number(value: Any) -> str:
    """Write a number as text; one that no ledger could hold becomes the largest, so that it still differs."""
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return "0"
    if not number.is_finite():
        return str(_BEYOND)
    return format(max(min(number, _BEYOND), -_BEYOND), "f")


# --- naming ----------------------------------------------------------------------------------------------------------


def named(tx: Tx, house: House, pair: Pair) -> list[dict[str, Any]]:
    """Name every difference of the groups that do not agree: a break as the store keeps it, for each."""
    lines = tie_outs.differing(tx, pair)
    held = objects.load(tx, {line["gid"] for line in lines if line["gid"]})
    found: list[dict[str, Any]] = []
    for line in lines:
        found += _breaks(house, pair, line, held.get(line["gid"] or ""))
    return found


def _breaks(house: House, pair: Pair, line: Mapping[str, Any], held: Held | None) -> list[dict[str, Any]]:
    measure, system, kind = MEASURES[pair.kind], pair.system, pair.kind
    if not line["ours"]:
        why = f"{system} has a {_word(kind)} we do not know"
        if line["message"]:
            return [_break("timing", pair, line, held, None, "exists", f"{why} yet: message {line['message']} waits")]
        return [_break("extra_in_target", pair, line, held, None, "exists", why)]
    assert held is not None
    if not line["theirs"]:
        if line["delivery"]:
            why = f"the {_word(kind)} is on its way to {system}"
            return [_break("timing", pair, line, held, _shown(held.body, measure), None, why)]
        deleted = kind in ("time_entry", "expense_line") and line["billed"]
        cls = "deleted_upstream" if deleted else "missing_in_target"
        why = f"{system} no longer has a {kind} that was billed" if deleted else f"{system} does not have this {kind}"
        return [_break(cls, pair, line, held, _shown(held.body, measure), None, why)]
    return list(_differences(house, pair, line, held).values())


def _differences(house: House, pair: Pair, line: Mapping[str, Any], held: Held) -> dict[str, dict[str, Any]]:
    """Return at most one break of each class for a record: the first field that differs names it."""
    measure, said, found = MEASURES[pair.kind], line["said"], dict[str, dict[str, Any]]()
    for name in pair.fields:
        if name not in said:
            continue
        we, they = held.body.get(name), said[name]
        if name == "status":
            we = measure.same.get(str(we), we)
        if _same(we, they):
            continue
        cls = _class_of(house, pair, line, held, name, we, they)
        amount = _difference(we, they, line["currency"]) if cls in ("amount", "tax", "rounding", "fx") else None
        why = f"{name}: we hold {we}, {pair.system} has {they}"
        if cls == "timing" and line["message"]:
            why += f"; message {line['message']} waits to be taken in"
        elif cls == "timing" and line["delivery"]:
            why += "; ours is on its way there"
        found.setdefault(cls, _break(cls, pair, line, held, _text(we), _text(they), why, amount, name))
    return found


def _class_of(house: House, pair: Pair, line: Mapping[str, Any], held: Held, name: str, we: Any, they: Any) -> str:
    """Say what kind of difference it is."""
    cls = MEASURES[pair.kind].fields[name]
    if line["message"] or line["delivery"]:
        return "timing"
    if cls == "date":
        return "date" if str(we)[:7] == str(they)[:7] else "timing"
    if cls == "text":
        owner = house.ownership.owner(pair.kind, name, held.status)
        return "timing" if owner == house.systems[pair.system].role else "ownership"
    if cls in ("amount", "tax") and we is not None and they is not None:
        return _class_of_amount(house, line, Decimal(str(we)), Decimal(str(they)), cls)
    return cls


def _class_of_amount(house: House, line: Mapping[str, Any], we: Decimal, they: Decimal, cls: str) -> str:
    currency = str(line["currency"])
    digits = minor_digits(currency) if known_currency(currency) else 2
    if abs(we - they) <= Decimal(ROUNDING_MINOR).scaleb(-digits):
        return "rounding"
    rates = {
        rate.rate if rate.base == currency else 1 / rate.rate
        for rate in house.firm.fx_rates
        if rate.rate and currency in (rate.base, rate.quote) and rate.base != rate.quote
    }
    if we and any(abs(they - we * rate) <= abs(we * rate) * FX_SHARE for rate in rates):
        return "fx"
    return cls


def _same(we: Any, they: Any) -> bool:
    if we == they:
        return True
    try:
        return Decimal(str(we)) == Decimal(str(they))
    except ArithmeticError:
        return False


def _difference(we: Any, they: Any, currency: str) -> int:
    if not known_currency(currency):
        return 0
    return round((Decimal(str(they)) - Decimal(str(we or 0))) * to_units(Decimal(1), currency))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _word(kind: str) -> str:
    return kind.replace("_", " ")


def _shown(values: Mapping[str, Any], measure: Measure) -> str:
    return str(values.get(measure.amount or "status") or "exists")


def _label(held: Held | None, external_id: str) -> str:
    if held is None:
        return external_id
    return str(held.body.get("code") or held.body.get("worker_number") or held.body.get("reference") or external_id)


def _break(
    cls: str,
    pair: Pair,
    line: Mapping[str, Any],
    held: Held | None,
    ours: str | None,
    theirs: str | None,
    why: str,
    amount: int | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Return a break as the store keeps it; what is not a difference of money is worth the record's own amount."""
    label = _label(held, line["external_id"])
    worth = line["ours_amount"] if line["ours_amount"] is not None else line["theirs_amount"]
    value = amount if amount is not None else 0 if cls in ("status", "ownership") else int(worth or 0)
    return {
        "class": cls,
        "object": pair.kind,
        "vendor_object": pair.object,
        "system": pair.system,
        "gid": line["gid"],
        "external_id": line["external_id"],
        "label": label,
        "legal_entity": line["legal_entity"] or None,
        "period": line["period"] or None,
        "currency": line["currency"] or None,
        "field": name,
        "ours": ours,
        "theirs": theirs,
        "amount": max(min(value, tie_outs.LARGEST), -tie_outs.LARGEST),
        "sentence": f"{label}: {why}",
        "repair": REPAIRS[cls],
    }


def _tell(tx: Tx, fresh: Sequence[Mapping[str, Any]], ended: Sequence[Mapping[str, Any]]) -> None:
    told = [
        Event(f"break.found/{row['number']}", "break.found", row["gid"] or row["label"], row["object"],
              {"code": row["label"], "reason": row["sentence"]})
        for row in fresh
    ]  # fmt: skip
    told += [Event(f"break.closed/{row['number']}", "break.closed", row["label"], "break", {}) for row in ended]
    changes.tell(tx, told)

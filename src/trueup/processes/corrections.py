"""Takes billed work back: a credit names the entries it takes back, a void puts everything where it was.

Starts on   a person's credit, an ERP's credit memo, an invoice that was voided
Ends with   negative allocations naming the same charges, quantities in `credited`, `unbilled` or gone with the approval
Undo        bill again: what was reopened is billed by the next run; a credit that is wrong is billed by a new invoice
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

from trueup.kernel.errors import Held as Waits
from trueup.kernel.errors import Refused
from trueup.kernel.ids import derive, kind_of
from trueup.kernel.money import from_units, round_money, to_units
from trueup.kernel.periods import last_day, next_month
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.pipeline.quantities import allowed
from trueup.processes.commands import commands
from trueup.store import acts, adjustments, deliveries, holds, ledger, objects
from trueup.store.database import Tx
from trueup.store.holds import Hold
from trueup.store.ledger import Move
from trueup.store.objects import Held

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a charge that leaves its document.

    charge   a row of `ledger.standing`
    minutes  minutes taken back; 0 when the price alone falls
    amount   units taken back, with the sign of the charge
    """

    charge: Row
    minutes: int
    amount: int


def take_back(
    tx: Tx, parts: Sequence[Part], document: str, how: Literal["credited", "again", "voided"], actor: str, reason: str
) -> None:
    """Write parts of charges off their documents and move what they carried.

    document  the credit, or the voided invoice
    how       credited: given up; again: open to be billed again; voided: it never counted
    """
    name = f"{document}/void" if how == "voided" else document
    facts = sorted({part.charge["fact"] for part in parts})
    on_documents, approved = ledger.on_documents(tx, facts), objects.load(tx, [f for f in facts if _counted(f)])
    over = {fact: max(0, on_documents.get(fact, 0) - allowed(held)) for fact, held in approved.items()}
    ledger.allocate(
        tx,
        [
            (p.charge["charge"], name, p.charge["line_key"], -p.minutes, -p.amount)
            for p in parts
            if p.minutes or p.amount
        ],
    )
    moves: list[Move] = []
    opened = []
    for part in parts:
        charge, key = part.charge, f"{name}/{part.charge['charge']}"
        quantity = _quantity(part)
        gone = min(quantity, over.get(charge["fact"], 0))
        over[charge["fact"]] = over.get(charge["fact"], 0) - gone
        for place in ("invoiced", "on_draft"):
            taken = min(quantity, charge[place])
            quantity -= taken
            lost = min(gone, taken)
            gone -= lost
            for part_quantity, why, target in (
                (lost, "no longer approved", "source"),
                (taken - lost, reason, {"credited": "credited", "again": "unbilled", "voided": "unbilled"}[how]),
            ):
                target = "source" if kind_of(charge["fact"]) == "milestone" and target == "unbilled" else target
                steps = (place, target) if how == "voided" or target == "credited" else (place, "credited", target)
                for one, other in pairwise(steps):
                    moves.append(
                        Move(
                            f"{key}/{one}/{other}/{why}", charge["fact"], charge["fact_version"], _unit(charge), one, other,
                            part_quantity, why, actor, charge["charge"], document, charge["line_key"],
                        )
                    )  # fmt: skip
        opened += _opened(part, how, gone_minutes=_quantity(part) - _stays(moves, charge), name=name, reason=reason)
    # One statement a step: what leaves `credited` has to lie there first.
    ledger.move(tx, [move for move in moves if move.from_bucket != "credited"])
    ledger.move(tx, [move for move in moves if move.from_bucket == "credited"])
    ledger.reopen(tx, opened)
    if how != "credited":
        holds.place(tx, _without_minutes(parts))
    adjustments.moot(tx, sorted(p.charge["charge"] for p in parts if p.amount == p.charge["amount"]))
    _release(tx, facts)


def _without_minutes(parts: Sequence[Part]) -> list[Hold]:
    """Name what no run will find again: a payer's share of so few minutes that it is a price and no minute."""
    lost: dict[str, list[Part]] = {}
    for part in parts:
        if part.charge["kind"] == "time" and not part.charge["minutes"] and part.amount:
            lost.setdefault(part.charge["document"], []).append(part)
    return [
        Hold(
            "MANUAL", document, "invoice", "accounts receivable",
            f"{len(of_it)} shares of work on this document have a price and no minutes: no run bills them again. Bill "
            f"{_text(sum(part.amount for part in of_it), of_it[0].charge['currency'])} by hand, or let it go.",
            "a decision", sum(part.amount for part in of_it), of_it[0].charge["currency"],
            project=of_it[0].charge["project"], contract=of_it[0].charge["contract"],
            legal_entity=of_it[0].charge["legal_entity"],
        )
        for document, of_it in lost.items()
    ]  # fmt: skip


def _stays(moves: Sequence[Move], charge: Row) -> int:
    """Return how much of a charge's part stays in `credited` for good."""
    into = sum(m.quantity for m in moves if m.charge == charge["charge"] and m.to_bucket == "credited")
    out = sum(m.quantity for m in moves if m.charge == charge["charge"] and m.from_bucket == "credited")
    return into - out


def _opened(part: Part, how: str, gone_minutes: int, name: str, reason: str) -> list[Any]:
    """Return the reopening of what a part no longer prices: everything when it is billed again, else what is gone."""
    charge, whole = part.charge, _quantity(part)
    place = "credited" if how != "voided" else "invoiced" if charge["invoiced"] else "on_draft"
    if how != "credited" or whole == 0:
        share = part.amount
    else:
        share = part.amount if gone_minutes == whole else ledger.share(part.amount, gone_minutes, whole)
    minutes = gone_minutes if _unit(charge) == "minute" else 0
    if not share and not minutes:
        return []
    return [
        (
            f"{name}/{charge['charge']}",
            charge["charge"],
            charge["fact"],
            charge["kind"],
            place,
            minutes,
            share,
            name,
            reason,
        )
    ]


def _counted(fact: str) -> bool:
    return kind_of(fact) in ("time_entry", "expense_line")


def _unit(charge: Row) -> str:
    return "minute" if charge["kind"] in ("time", "overage") else "amount"


def _quantity(part: Part) -> int:
    """Return how much of the fact a part carries, in the fact's own unit; deltas and adjustments carry nothing."""
    charge = part.charge
    carried = int(charge["on_draft"] + charge["invoiced"])
    if _unit(charge) == "minute":
        return min(part.minutes, carried)
    if part.amount == charge["amount"] or charge["kind"] in ("adjustment", "delta"):
        return carried
    return int((2 * carried * part.amount + charge["amount"]) // (2 * charge["amount"]))


def still_due(tx: Tx, facts: Sequence[str]) -> set[str]:
    """Return those of the facts that stand on documents for more than is approved of them."""
    held = objects.load(tx, [fact for fact in facts if _counted(fact)])
    stands = ledger.on_documents(tx, sorted(held))
    return {fact for fact, one in held.items() if stands.get(fact, 0) > allowed(one)}


def _release(tx: Tx, facts: Sequence[str]) -> None:
    """End CREDIT_DUE on facts whose documents are no longer above what is approved."""
    due = holds.open_of(tx, scopes=facts, codes=["CREDIT_DUE"])
    still = still_due(tx, [hold["scope"] for hold in due])
    fine = [hold["number"] for hold in due if _counted(hold["scope"]) and hold["scope"] not in still]
    holds.release(tx, fine, "billing", "credited")


def void(tx: Tx, invoice: Held, actor: str) -> None:
    """Put everything an invoice still carries back where it was before; other invoices are not touched."""
    rows = ledger.standing(tx, documents=[invoice.gid])
    parts = [Part(row, row["minutes"] if _unit(row) == "minute" else 0, row["amount"]) for row in rows]
    take_back(tx, parts, invoice.gid, "voided", actor, f"{invoice.body['code']} was voided")


# --- credits of our own ----------------------------------------------------------------------------------------------


def plan(tx: Tx, invoice: Held, facts: Mapping[str, int | None] | None = None) -> tuple[list[Part], dict[str, Any]]:
    """Say what a credit would take back, and do nothing.

    facts    time entry -> minutes, None for all of it; other facts whole; None credits the whole invoice
    Returns  the parts, and the credit's own values: lines, net, tax, gross, with the residual of the tax on the last one
    Raises   Held when the invoice is not posted, or holds less than is to be credited.
    """
    if invoice.status not in ("posted", "part_paid", "paid", "credited"):
        raise Waits(f"{invoice.body['code']} is {invoice.status}; void a draft, credit a posted invoice", "MANUAL")
    rows = ledger.standing(tx, documents=[invoice.gid])
    parts = _chosen(rows, facts)
    if not parts:
        raise Waits(f"nothing of this stands billed on {invoice.body['code']} any more", "MANUAL")
    return parts, _credit_values(tx, invoice, rows, parts)


def _chosen(rows: Sequence[Row], facts: Mapping[str, int | None] | None) -> list[Part]:
    if facts is None:
        return [Part(row, row["minutes"] if _unit(row) == "minute" else 0, row["amount"]) for row in rows]
    parts: list[Part] = []
    for fact, wanted in facts.items():
        of_fact = [row for row in rows if row["fact"] == fact]
        stands = sum(row["minutes"] for row in of_fact)
        left = stands if wanted is None else wanted
        if left > stands or not of_fact:
            raise Waits(f"{fact} has {stands} minutes on this invoice; {left} cannot be credited", "MANUAL")
        everything = left == stands
        for row in of_fact:
            if everything:
                parts.append(Part(row, row["minutes"] if _unit(row) == "minute" else 0, row["amount"]))
            elif row["minutes"] > 0 and left > 0:
                minutes = min(left, row["minutes"])
                left -= minutes
                parts.append(Part(row, minutes, ledger.share(row["amount"], minutes, row["minutes"])))
    return parts


def _credit_values(tx: Tx, invoice: Held, rows: Sequence[Row], parts: Sequence[Part]) -> dict[str, Any]:
    body, currency = invoice.body, invoice.body["currency"]
    net = sum(part.amount for part in parts)
    earlier = [c for c in objects.of_kind(tx, "invoice", {"corrects": invoice.gid}) if c.status != "voided"]
    left_tax = Decimal(body["tax"]) - sum((Decimal(c.body["tax"]) for c in earlier), Decimal(0))
    last = net == sum(row["amount"] for row in rows)
    share = round_money(from_units(net, currency) * Decimal(body["tax_rate"] or 0), currency)
    tax = left_tax if last else min(share, left_tax)
    if net < 0:
        raise Waits("the credit would be below zero: bill the difference instead", "MANUAL")
    lines: dict[str, list[Part]] = {}
    for part in parts:
        lines.setdefault(part.charge["line_key"], []).append(part)
    described = {line["key"]: line for line in body["lines"]}
    return {
        "net": _text(net, currency),
        "tax": format(tax, "f"),
        "gross": format(from_units(net, currency) + tax, "f"),
        "lines": [
            {
                **described[key],
                "quantity": _hours(of_line) if described[key]["unit"] == "hour" else "1",
                "net": _text(sum(part.amount for part in of_line), currency),
            }
            for key, of_line in sorted(lines.items())
        ],
    }


def _hours(parts: Sequence[Part]) -> str:
    return format((Decimal(sum(part.minutes for part in parts)) / 60).quantize(Decimal("0.0001")), "f")


def _text(units: int, currency: str) -> str:
    return format(from_units(units, currency), "f")


def open_month(tx: Tx, entity: str, month: str) -> str:
    """Return the month, or the first after it that is not closed for the legal entity."""
    closed = tx.value(
        """
        select max(period) from (select period from positions where legal_entity = %(entity)s union all
            select period from runs where kind = 'month_end' and state = 'done' and legal_entity = %(entity)s) closed
        """,
        {"entity": entity},
    )
    return month if closed is None or closed < month else next_month(closed)


def preview(house: House, invoice_gid: str, facts: Mapping[str, int | None] | None = None) -> dict[str, Any]:
    """Say what a credit would be, and do nothing; see `plan`.

    Returns   invoice, currency, net, tax, gross, lines of the credit; entries: fact, day, minutes and amount it takes back
    """
    with house.database.transaction() as tx:
        invoice = objects.load(tx, [invoice_gid])[invoice_gid]
        parts, values = plan(tx, invoice, facts)
    currency = invoice.body["currency"]
    entries = [
        {
            "fact": part.charge["fact"], "kind": part.charge["kind"], "service_on": part.charge["service_on"],
            "minutes": part.minutes, "amount": from_units(part.amount, currency),
        }
        for part in parts
    ]  # fmt: skip
    return {
        "invoice": invoice.body["code"],
        "currency": currency,
        **{name: Decimal(values[name]) for name in ("net", "tax", "gross")},
        "lines": [{**line, "net": Decimal(line["net"])} for line in values["lines"]],
        "entries": entries,
    }


def standing(tx: Tx, invoice_gid: str) -> list[dict[str, Any]]:
    """Return what can still be credited of an invoice, by fact: fact, day, line_key, minutes, amount in major units."""
    found: dict[str, dict[str, Any]] = {}
    for row in ledger.standing(tx, documents=[invoice_gid]):
        one = found.setdefault(
            row["fact"],
            {"fact": row["fact"], "service_on": row["service_on"], "line_key": row["line_key"], "minutes": 0,
             "amount": Decimal(0)},
        )  # fmt: skip
        one["minutes"] += row["minutes"] or 0
        one["amount"] += from_units(row["amount"], row["currency"])
    return sorted(found.values(), key=lambda one: (one["service_on"], one["fact"]))


def look_at(tx: Tx, invoice_gid: str) -> None:
    """Let a transaction that credits look at one moment, alone in the invoice's legal entity."""
    acts.look(tx, objects.load(tx, [invoice_gid])[invoice_gid].body["legal_entity"])


@acts.looks_again
def give(
    house: House, invoice_gid: str, *, by: str, reason: str, facts: Mapping[str, int | None] | None = None,
    again: bool = False, key: str = "",
) -> str:  # fmt: skip
    """Credit in a transaction of its own; see `give_in`."""
    with house.database.transaction() as tx:
        look_at(tx, invoice_gid)
        return give_in(tx, house, invoice_gid, by=by, reason=reason, facts=facts, again=again, key=key)


def give_in(
    tx: Tx, house: House, invoice_gid: str, *, by: str, reason: str, facts: Mapping[str, int | None] | None = None,
    again: bool = False, key: str = "",
) -> str:  # fmt: skip
    """Credit as an act that can be done again, in a transaction that began with `look_at`; see `credit`.

    Raises    Refused when there is no reason to keep.
    """
    if len(reason.strip()) < 5:
        raise Refused("say why it is credited, in five characters or more", "credit")
    more = {"by": by, "reason": reason, "facts": None if facts is None else dict(facts), "again": again, "key": key}
    entity = objects.load(tx, [invoice_gid])[invoice_gid].body["legal_entity"]
    acts.note(tx, "credit", (invoice_gid, more), house.edition, entity=entity, about=[invoice_gid])
    return credit(tx, house, invoice_gid, by=by, reason=reason, facts=facts, again=again, key=key)


def credit(
    tx: Tx, house: House, invoice_gid: str, *, by: str, reason: str, facts: Mapping[str, int | None] | None = None,
    again: bool = False, key: str = "",
) -> str:  # fmt: skip
    """Credit an invoice or some of its entries, and ask the ERP for the document; returns the credit's identifier.

    facts  see `plan`
    again  True when the work is to be billed again, False when it is given up
    key    a credit of the same key is made once; empty numbers it by the invoice's earlier credits
    Raises Held, see `plan`
    """
    entity = objects.load(tx, [invoice_gid])[invoice_gid].body["legal_entity"]
    ledger.alone(tx, entity)
    invoice = objects.load(tx, [invoice_gid], lock=True)[invoice_gid]
    count = len(objects.of_kind(tx, "invoice", {"corrects": invoice.gid}))
    code = f"{invoice.body['code']}-C{key or count + 1}"
    gid = derive("invoice", code)
    if objects.load(tx, [gid]):
        return gid
    parts, values = plan(tx, invoice, facts)
    return _make(tx, house, invoice, parts, values, gid, code, by, reason, again=again)


def reprice(tx: Tx, house: House, invoice_gid: str, falls: Mapping[str, int], *, by: str, reason: str, key: str) -> str:
    """Credit a lower price of charges, their work staying billed; returns the credit's identifier.

    falls  charge -> units, above zero
    """
    invoice = objects.load(tx, [invoice_gid], lock=True)[invoice_gid]
    code = f"{invoice.body['code']}-C{key}"
    gid = derive("invoice", code)
    if objects.load(tx, [gid]):
        return gid
    rows = ledger.standing(tx, documents=[invoice_gid])
    parts = [Part(row, 0, falls[row["charge"]]) for row in rows if row["charge"] in falls]
    values = _credit_values(tx, invoice, rows, parts)
    return _make(tx, house, invoice, parts, values, gid, code, by, reason, again=False)


def _make(
    tx: Tx, house: House, invoice: Held, parts: Sequence[Part], values: Mapping[str, Any], gid: str, code: str, by: str,
    reason: str, *, again: bool,
) -> str:  # fmt: skip
    body = invoice.body
    month = open_month(tx, body["legal_entity"], body["period"] or str(body["invoice_date"])[:7])
    day = max(last_day(month), date.fromisoformat(str(body["invoice_date"])))
    kept = (
        "customer", "contract", "project", "legal_entity", "currency", "tax_treatment", "tax_rate", "tax_reason",
    )  # fmt: skip
    made = {
        **{name: body.get(name) for name in kept}, **values, "code": code, "invoice_type": "credit", "corrects": invoice.gid,
        "invoice_date": day, "period": month, "balance": values["gross"], "status": "draft",
    }  # fmt: skip
    author(tx, house, [("invoice", gid, made)], actor=by)
    take_back(tx, parts, gid, "again" if again else "credited", by, reason)
    asked = commands(
        house, "erp", "credit", gid, "draft", amount=to_units(Decimal(values["gross"]), body["currency"]),
        currency=body["currency"], priority=10,
    )  # fmt: skip
    deliveries.ask(tx, asked)
    if not asked:
        sentence = f"No mapping carries credits to the ERP: enter {code} there, {values['gross']} {body['currency']}."
        gross = to_units(Decimal(values["gross"]), body["currency"])
        holds.place(
            tx,
            [
                Hold(
                    "MANUAL",
                    gid,
                    "invoice",
                    "accounts receivable",
                    sentence,
                    "the ERP's credit",
                    gross,
                    body["currency"],
                )
            ],
        )
    return gid

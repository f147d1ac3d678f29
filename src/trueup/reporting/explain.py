"""Why is this amount on the invoice: total, lines, charges, facts, approvals, down to the bytes that came in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from trueup.kernel.ids import kind_of
from trueup.kernel.money import from_units, round_money
from trueup.reporting.billing_desk import POSTED
from trueup.reporting.evidence import Decision, Raw, decisions, labels, raws
from trueup.store import objects
from trueup.store.database import Tx
from trueup.store.objects import Held

FACTS = ("time_entry", "expense_line", "milestone")


@dataclass(frozen=True, slots=True)
class Check:
    """One sum that must come out.

    left, right  what was added up, and what it must be
    """

    name: str
    left: Decimal
    right: Decimal
    difference: Decimal
    holds: bool


@dataclass(frozen=True, slots=True)
class RateLine:
    """The negotiated price that was used."""

    gid: str
    role: str
    rate: Decimal
    currency: str
    valid_from: date
    valid_to: date | None


@dataclass(frozen=True, slots=True)
class Moved:
    """One movement in the bucket ledger."""

    number: int
    unit: str
    from_bucket: str
    to_bucket: str
    quantity: int
    reason: str
    actor: str
    document: str | None
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class Input:
    """One thing the rule looked at: its name, and its value as text or as money in the charge's currency."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ExplainedCharge:
    """One fact's part of a line.

    amount         what stands on this document; below zero on a credit
    quantity       hours of time, 1 of anything else
    message        number of the message the approval was taken from
    minutes        minutes of the fact that stand here; None where it is not about time
    fact_minutes   minutes of the whole entry
    approval       the decision by which the fact became billable
    raw            the message that decision was taken on
    source         the message of the fact's newest accepted version, where it is another one
    buckets        where the whole fact lies now: bucket -> quantity
    """

    key: str
    kind: str
    fact: str
    label: str
    service_on: date
    person: str | None
    notes: str | None
    role: str | None
    minutes: int | None
    fact_minutes: int | None
    quantity: Decimal
    rate: Decimal | None
    amount: Decimal
    currency: str
    message: int | None
    rule: str
    rounding: str
    inputs: tuple[Input, ...]
    rate_line: RateLine | None
    contract_line: str | None
    run: str
    approval: Decision | None
    decisions: tuple[Decision, ...]
    raw: Raw | None
    source: Raw | None
    moves: tuple[Moved, ...]
    buckets: dict[str, int]


@dataclass(frozen=True, slots=True)
class ExplainedLine:
    """One line and everything it is the sum of.

    check    the charges' amounts make the line's
    minutes  the charges' minutes make the line's hours; None where the line is not about time
    """

    key: str
    description: str
    kind: str | None
    quantity: Decimal
    unit: str
    rate: Decimal | None
    net: Decimal
    charges: tuple[ExplainedCharge, ...]
    check: Check
    minutes: Check | None


@dataclass(frozen=True, slots=True)
class Paid:
    """One payment's part for this invoice."""

    gid: str
    reference: str
    received_on: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Correction:
    """A credit against the invoice, or the invoice a credit corrects."""

    gid: str
    code: str
    number: str | None
    net: Decimal
    gross: Decimal
    invoice_date: date


@dataclass(frozen=True, slots=True)
class Difference:
    """An open break about the document."""

    number: int
    cls: str
    system: str
    sentence: str
    ours: str | None
    theirs: str | None
    repair: str


@dataclass(frozen=True, slots=True)
class Explained:
    """An invoice or credit, explained.

    balance    what is still open by the ERP's word; None before it is posted
    open_here  the same by our own books: total less payments less credits
    labels     our identifiers that appear in decisions -> what people call them
    agrees     systems that were compared with us in the last tie-out and hold the same
    checks   sums from top to bottom; every one holds, or somebody changed something behind our back
    """

    gid: str
    code: str
    number: str | None
    invoice_type: str
    status: str
    version: int
    customer: str | None
    customer_gid: str | None
    project: str | None
    project_code: str | None
    contract: str | None
    deal: str | None
    legal_entity: str | None
    currency: str
    period: str | None
    invoice_date: date
    due_on: date | None
    posted_on: date | None
    net: Decimal
    tax: Decimal
    gross: Decimal
    balance: Decimal | None
    open_here: Decimal
    tax_treatment: str | None
    tax_rate: Decimal | None
    tax_reason: str | None
    withheld: Decimal | None
    prepaid: Decimal | None
    lines: tuple[ExplainedLine, ...]
    checks: tuple[Check, ...]
    corrects: Correction | None
    credits: tuple[Correction, ...]
    payments: tuple[Paid, ...]
    differences: tuple[Difference, ...]
    agrees: tuple[str, ...]
    tied_out_at: datetime | None
    labels: dict[str, str]

    @property
    def exact(self) -> bool:
        """Say whether every sum comes out."""
        return all(check.holds for check in self.checks) and all(
            one.holds for line in self.lines for one in (line.check, line.minutes) if one is not None
        )


def find_invoice(tx: Tx, identifier: str) -> str | None:
    """Return the identifier of the invoice known by our own identifier, its code or its number."""
    found = tx.value(
        """
        select gid from objects where kind = 'invoice'
            and (gid = %(id)s or body ->> 'code' = %(id)s or body ->> 'number' = %(id)s) order by gid limit 1
        """,
        {"id": identifier},
    )
    return None if found is None else str(found)


def explain(tx: Tx, gid: str, *, cost: bool = False) -> Explained | None:
    """Explain an invoice or credit from its total to the bytes each part came from; None when there is no such document.

    cost  whether the reader may see what people cost
    """
    invoice = objects.one(tx, gid)
    if invoice is None or invoice.kind != "invoice":
        return None
    body, currency = invoice.body, invoice.body["currency"]
    charges = _charges(tx, gid, cost)
    lines = tuple(_line(line, charges.get(line["key"], ()), currency, invoice) for line in body["lines"])
    related = objects.load(tx, [body[name] for name in ("customer", "project", "contract", "corrects") if body[name]])
    customer, project, contract, corrects = (
        related.get(body[name] or "") for name in ("customer", "project", "contract", "corrects")
    )
    credits = tuple(_correction(held) for held in objects.of_kind(tx, "invoice", {"corrects": gid}))
    payments = _payments(tx, gid)
    posted = invoice.status in POSTED and body["invoice_type"] == "invoice"
    balance = None if body["balance"] is None or not posted else Decimal(body["balance"])
    taken = sum((one.amount for one in payments), Decimal(0)) + sum((one.gross for one in credits), Decimal(0))
    open_here = Decimal(body["gross"]) - taken
    differences = _differences(tx, gid)
    agrees, tied_out_at = _agreement(tx, gid, {one.system for one in differences})
    return Explained(
        gid,
        body["code"],
        body["number"],
        body["invoice_type"],
        invoice.status,
        invoice.version,
        customer.body["name"] if customer else None,
        body["customer"],
        body["project"],
        project.body["code"] if project else None,
        body["contract"],
        contract.body["code"] if contract else None,
        body["legal_entity"],
        currency,
        body["period"],
        date.fromisoformat(body["invoice_date"]),
        _day(body["due_on"]),
        _day(body["posted_on"]),
        Decimal(body["net"]),
        Decimal(body["tax"]),
        Decimal(body["gross"]),
        balance,
        open_here,
        body["tax_treatment"],
        None if body["tax_rate"] is None else Decimal(body["tax_rate"]),
        body.get("tax_reason"),
        Decimal(body["withheld"]) if body.get("withheld") else None,
        Decimal(body["prepaid"]) if body.get("prepaid") else None,
        lines,
        tuple(_checks(body, lines, currency, balance, open_here)),
        _correction(corrects) if corrects else None,
        credits,
        payments,
        differences,
        agrees,
        tied_out_at,
        labels(tx, [one for group in charges.values() for charge in group for one in charge.decisions]),
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def check(name: str, left: Decimal, right: Decimal) -> Check:
    """Compare two amounts to the last digit."""
    return Check(name, left, right, left - right, left == right)


def _checks(
    body: Mapping[str, Any], lines: Sequence[ExplainedLine], currency: str, balance: Decimal | None, open_here: Decimal
) -> list[Check]:
    net, tax, gross = (Decimal(body[name]) for name in ("net", "tax", "gross"))
    zero = round_money(Decimal(0), currency)
    found = [
        check("sum of all charges = net", sum((c.amount for line in lines for c in line.charges), zero), _signed(body)),
        check("sum of the lines = net", sum((line.net for line in lines), zero), net),
        check("net + tax = gross", net + tax, gross),
    ]
    if body["tax_rate"] is not None:
        rate = Decimal(body["tax_rate"])
        share = format((rate * 100).normalize(), "f")
        found.append(check(f"net × {share} %, rounded once = tax", round_money(net * rate, currency), tax))
    if balance is not None:
        found.append(check("gross − payments − credits = open in the ERP", open_here, balance))
    return found


def _signed(body: Mapping[str, Any]) -> Decimal:
    """Return the net of the document as its charges carry it: a credit takes away."""
    return -Decimal(body["net"]) if body["invoice_type"] == "credit" else Decimal(body["net"])


def _line(line: Mapping[str, Any], charges: Sequence[ExplainedCharge], currency: str, invoice: Held) -> ExplainedLine:
    net = Decimal(line["net"])
    wanted = -net if invoice.body["invoice_type"] == "credit" else net
    total = sum((charge.amount for charge in charges), round_money(Decimal(0), currency))
    return ExplainedLine(
        line["key"],
        line["description"],
        line["charge_kind"],
        Decimal(line["quantity"]),
        line["unit"],
        None if line["rate"] is None else Decimal(line["rate"]),
        net,
        tuple(charges),
        check("sum of the charges = line", total, wanted),
        _minutes(line, charges, credit=invoice.body["invoice_type"] == "credit"),
    )


def _minutes(line: Mapping[str, Any], charges: Sequence[ExplainedCharge], *, credit: bool) -> Check | None:
    """Compare the hours a line shows with the minutes behind it; a line prints hours to four places."""
    if line["unit"] != "hour" or not charges:
        return None
    shown = (Decimal(line["quantity"]) * 60).to_integral_value()
    total = sum((Decimal(charge.minutes or 0) for charge in charges), Decimal(0))
    return check("sum of the minutes = hours × 60", total, -shown if credit else shown)


def _correction(held: Held) -> Correction:
    body = held.body
    return Correction(
        held.gid,
        body["code"],
        body["number"],
        Decimal(body["net"]),
        Decimal(body["gross"]),
        date.fromisoformat(body["invoice_date"]),
    )


def _payments(tx: Tx, gid: str) -> tuple[Paid, ...]:
    rows = tx.rows(
        """
        select p.gid, p.body ->> 'reference' as reference, (p.body ->> 'received_on')::date as received_on,
            (a ->> 'amount')::numeric as amount
        from objects p cross join lateral jsonb_array_elements(p.body -> 'applications') a
        where p.kind = 'payment' and p.tombstone is null and p.status <> 'reversed' and a ->> 'invoice' = %s
        order by received_on, p.gid
        """,
        (gid,),
    )
    return tuple(Paid(**row) for row in rows)


def _differences(tx: Tx, gid: str) -> tuple[Difference, ...]:
    rows = tx.rows(
        """
        select number, class as cls, system, sentence, ours, theirs, repair from breaks
        where gid = %s and closed_at is null order by number
        """,
        (gid,),
    )
    return tuple(Difference(**row) for row in rows)


def _agreement(tx: Tx, gid: str, differ: set[str]) -> tuple[tuple[str, ...], datetime | None]:
    """Return which systems hold the document as we do, as of the last tie-out that compared them."""
    rows = tx.rows(
        """
        select distinct t.system, r.created_at from tie_outs t
        join runs r on r.run = t.run
        join objects o on o.gid = %(gid)s
        where t.run = (select run from runs where kind = 'tie_out' and state = 'done' order by ended_at desc limit 1)
            and split_part(t.object, ':', 1) = 'invoice' and o.created_at < r.ended_at
            and exists (select from crosswalk c where c.gid = o.gid and c.system = t.system
                and c.object = split_part(t.object, ':', 2))
        """,
        {"gid": gid},
    )
    agreed = tuple(sorted({row["system"] for row in rows} - differ))
    return agreed, rows[0]["created_at"] if rows else None


def _charges(tx: Tx, document: str, cost: bool) -> dict[str, list[ExplainedCharge]]:
    """Return the charges of a document by line, with everything behind them, in a fixed number of queries."""
    rows = tx.rows(
        """
        select a.line_key, a.amount as allocated, a.minutes as allocated_minutes, c.*,
            coalesce(t.source_order, e.source_order, 0) as source_order
        from allocations a join charges c on c.key = a.charge
        left join time_entries t on t.gid = c.fact
        left join expense_lines e on e.gid = c.fact
        where a.document = %s order by a.line_key, c.service_on, source_order, c.key
        """,
        (document,),
    )
    facts = sorted({row["fact"] for row in rows})
    held = objects.load(tx, facts)
    people = objects.load(tx, {one.body["resource"] for one in held.values() if one.body.get("resource")})
    rates = objects.load(tx, {row["rate_line"] for row in rows if row["rate_line"]})
    said: dict[str, list[Decision]] = {}
    # A fee is no record of a system: its evidence is the contract that agreed it.
    agreed = {row["fact"]: row["contract"] for row in rows if row["kind"] == "fee"}
    about = [*(gid for gid in facts if kind_of(gid) in FACTS), *sorted(set(agreed.values()))]
    for decision in decisions(tx, gids=about, cost=cost, limit=50_000):
        said.setdefault(decision.gid, []).append(decision)
    said.update({fact: said.get(contract, []) for fact, contract in agreed.items()})
    letters = raws(tx, _letters(said), cost=cost)
    moves, buckets = _ledger(tx, facts)
    found: dict[str, list[ExplainedCharge]] = {}
    for row in rows:
        fact = held.get(row["fact"])
        person = people.get(str(fact.body.get("resource") or "")) if fact else None
        found.setdefault(row["line_key"], []).append(
            _charge(row, fact, person, rates.get(row["rate_line"] or ""), said, letters, moves, buckets)
        )
    return found


def _letters(said: Mapping[str, Sequence[Decision]]) -> set[int]:
    kept = [one for group in said.values() for one in (_approval(group), _newest(group)) if one is not None]
    return {one.message for one in kept if one.message}


def _approval(said: Sequence[Decision]) -> Decision | None:
    """Return the decision that made a fact billable: the last one that brought it to approved, complete or signed."""
    for decision in reversed(said):
        if decision.verdict == "accept":
            for change in decision.fields:
                if change.field == "status" and change.after in ("approved", "completed"):
                    return decision
                if change.field in ("accepted_on", "signed_on") and change.after:
                    return decision
    return None


def _newest(said: Sequence[Decision]) -> Decision | None:
    return next((one for one in reversed(said) if one.verdict == "accept" and one.message), None)


def _ledger(tx: Tx, facts: Sequence[str]) -> tuple[dict[str, list[Moved]], dict[str, dict[str, int]]]:
    moves: dict[str, list[Moved]] = {}
    for row in tx.rows(
        """
        select fact, number, unit, from_bucket, to_bucket, quantity, reason, actor, document, created_at as moved_at
        from moves where fact = any(%s) order by number
        """,
        (list(facts),),
    ):
        fact = row.pop("fact")
        moves.setdefault(fact, []).append(Moved(**row))
    buckets: dict[str, dict[str, int]] = {}
    for row in tx.rows(
        "select fact, bucket, quantity from buckets where fact = any(%s) and bucket <> 'source' and quantity > 0 order by bucket",
        (list(facts),),
    ):
        buckets.setdefault(row["fact"], {})[row["bucket"]] = row["quantity"]
    return moves, buckets


def _charge(
    row: Mapping[str, Any],
    fact: Held | None,
    person: Held | None,
    rate_line: Held | None,
    said: Mapping[str, Sequence[Decision]],
    letters: Mapping[int, Raw],
    moves: Mapping[str, Sequence[Moved]],
    buckets: Mapping[str, Mapping[str, int]],
) -> ExplainedCharge:
    currency, body = row["currency"], fact.body if fact else {}
    group = said.get(row["fact"], ())
    approval, newest = _approval(group), _newest(group)
    raw = letters.get(approval.message or 0) if approval else None
    source = letters.get(newest.message or 0) if newest else None
    trace = dict(row["trace"])
    return ExplainedCharge(
        row["key"],
        row["kind"],
        row["fact"],
        _fact_label(row, body),
        row["service_on"],
        person.body["name"] if person else None,
        body.get("notes") or body.get("vendor_name"),
        body.get("role"),
        row["allocated_minutes"] if row["kind"] in ("time", "overage") else None,
        body.get("minutes"),
        _quantity(row),
        None if row["rate"] is None else from_units(row["rate"], currency),
        from_units(row["allocated"], currency),
        currency,
        approval.message if approval else None,
        str(trace.pop("rule", "")),
        str(trace.pop("rounding", "")),
        tuple(Input(name, _input(name, value, currency)) for name, value in trace.items() if value is not None),
        _rate_line(rate_line),
        row["contract_line"],
        row["run"],
        approval,
        tuple(group),
        raw,
        source if source is not None and (raw is None or source.number != raw.number) else None,
        tuple(moves.get(row["fact"], ())),
        dict(buckets.get(row["fact"], {})),
    )


def _quantity(row: Mapping[str, Any]) -> Decimal:
    if row["kind"] not in ("time", "overage"):
        return Decimal(1)
    return (Decimal(row["allocated_minutes"] or 0) / 60).quantize(Decimal("0.0001"))


def _fact_label(row: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    if row["kind"] == "expense":
        return str(body.get("category") or "Expense")
    if row["kind"] == "milestone":
        return f"{body.get('code', '')} {body.get('name', '')}".strip() or "Milestone"
    if row["kind"] == "fee":
        return f"Fee of {row['trace'].get('fee_month', row['period'])}"
    if row["kind"] == "schedule":
        return f"Schedule of {row['contract_line']}, {row['period']}"
    return str(body.get("role") or "Time")


def _rate_line(held: Held | None) -> RateLine | None:
    if held is None:
        return None
    body = held.body
    return RateLine(
        held.gid, body["role"], Decimal(body["rate"]), body["currency"], date.fromisoformat(body["valid_from"]),
        _day(body["valid_to"]),
    )  # fmt: skip


_MONEY = frozenset(
    {
        "allocated_amount",
        "amount",
        "billed_before",
        "cap",
        "cap_left",
        "due",
        "monthly_fee",
        "new_since",
        "overage_rate",
    }
)


def _input(name: str, value: Any, currency: str) -> str:
    if name in _MONEY and isinstance(value, int):
        return f"{from_units(value, currency):,f} {currency}"
    if name == "markup_ppm":
        return f"{Decimal(value) / 10_000:f} %"
    if name in ("minutes", "included_minutes", "included_left"):
        return f"{value} min"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)

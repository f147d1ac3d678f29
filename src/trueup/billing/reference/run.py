"""The billing run in plain loops over `Decimal`: slow, obvious, the definition, and the judge of the fast one.

Amounts are major units. The result holds sets of tuples, so that the order of rows plays no part.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from trueup.billing.frames import RunFacts, RunPlan
from trueup.billing.holds import REASONS, TAX
from trueup.billing.reference.measuring import (
    charged_minutes,
    final_rate,
    fx_rate,
    measure,
    rate_for,
    worth,
)
from trueup.billing.reference.tax import Supply, rate_on, treatment_of
from trueup.billing.tax import Treatment
from trueup.billing.tax_tables import TaxHold
from trueup.billing.terms import PLAIN, Exchange, ExpenseRule, Payer, PurchaseOrder, Terms
from trueup.kernel.money import from_units, minor_digits, round_money, to_units
from trueup.kernel.periods import first_day, last_day, month_of

Row = dict[str, Any]
APPROVED = {"approved", "posted", "reimbursed"}
NO_CAP_USE = {"CREDIT_DUE", "RATE_MISSING", "RATE_AMBIGUOUS", "FX_RATE_MISSING"}


@dataclass
class Part:
    """A fact or part of it with its price and reasons."""

    fact: str
    key: str
    kind: str
    project: str
    amount: Decimal
    currency: str
    minutes: int | None = None
    spent: Decimal | None = None
    rate: Decimal | None = None
    bucket: str = "on_draft"
    holds: list[str] = field(default_factory=list)
    line: str = ""
    service_on: date = date.min
    order: int = 0
    start: int = 0
    charged: int | None = None
    purchase_order: str | None = None
    payer: int = 1
    agent: bool = False
    source: Row = field(default_factory=dict)
    weight: Decimal | None = None

    @property
    def timed(self) -> bool:
        """Say whether it is made of minutes."""
        return self.kind in ("time", "overage")

    def settle(self) -> None:
        """Let reasons decide the bucket."""
        if self.bucket != "waiting" and self.holds:
            self.bucket = "over_cap" if self.holds in (["CAP_EXCEEDED"], ["CAP_DAILY"]) else "held"


@dataclass
class Expected:
    """What the run should give, as sets."""

    charges: set[tuple[Any, ...]]
    lines: set[tuple[Any, ...]]
    invoices: set[tuple[Any, ...]]
    holds: set[tuple[Any, ...]]


def money(row: Row, *columns: str) -> None:
    """Turn columns of units into Decimals, in place."""
    for column in columns:
        if row[column] is not None:
            row[column] = from_units(row[column], row["currency"])


def plan_run(facts: RunFacts, upto: date, period: str) -> Expected:
    """Do the run one row at a time."""
    projects: dict[str, Row] = {}
    for row in facts.projects.to_dicts():
        row = {"credit_hold": None, "period_billed": None, **row}
        row["terms"] = facts.terms.get(row["project"], PLAIN)
        money(row, "cap", "cap_used", "monthly_fee", "overage_rate", "period_billed")
        projects[row["project"]] = row
    rates = facts.rates.to_dicts()
    for row in rates:
        money(row, "rate")
    known = {"task": None, "time_type": None, "person": None, "task_name": None}
    entries = sorted(
        ({**known, **row} for row in facts.entries.to_dicts()),
        key=lambda row: (row["worked_on"], row["source_order"], row["gid"]),
    )
    parts: list[Part] = []
    for project in projects.values():
        own = [row for row in entries if row["project"] == project["project"] and row["worked_on"] <= upto]
        parts += list(time_parts(own, project, rates, facts, last_day(period)))
        parts += list(fee_parts(project))
    parts += [part for row in entries if row["worked_on"] <= upto for part in strays(row, projects)]
    for row in facts.expenses.to_dicts():
        if row["spent_on"] <= upto:
            parts += list(expense_parts(row, projects.get(row["project"]), facts))
    for project in projects.values():
        parts += list(top_up(parts, project, period))
    for part in parts:
        stop(part, projects.get(part.project), facts)
    drawn: list[Part] = []
    for name in sorted({part.project for part in parts}):
        own_parts = [part for part in parts if part.project == name]
        drawn += draw_on_orders(own_parts, projects[name]["terms"] if name in projects else PLAIN)
    owed = still_owed(drawn, projects, facts.paid.to_dicts())
    shared = [piece for part in drawn for piece in share(part, projects.get(part.project), owed)]
    keep_documents_positive(shared, projects, period)
    for part in shared:
        part.settle()
    return documents(shared, projects, period, facts.closed)


def stop(part: Part, project: Row | None, facts: RunFacts) -> None:
    """Add the reasons from outside, in the order of `REASONS`."""
    if part.bucket not in ("on_draft", "over_cap"):
        return
    scopes = {part.fact, part.source.get("task"), part.project, project and project["contract"]}
    if project is None:
        scopes.add(part.source.get("contract"))
    found = {row["code"] for row in facts.stops.to_dicts() if row["scope"] in scopes}
    if project and project["credit_hold"]:
        found.add("CREDIT_HOLD")
    if project and project["terms"].late_work == "hold" and month_of(part.service_on) in facts.closed:
        found.add("PERIOD_CLOSED")
    if found:
        part.holds = [code for code in REASONS if code in {*found, *part.holds}]


def strays(entry: Row, projects: dict[str, Row]) -> Iterator[Part]:
    """Entries of projects nobody knows."""
    if entry["project"] in projects or not entry["open_minutes"]:
        return
    part = time_part(entry, entry["open_minutes"], 0, Decimal(0), {"currency": None, "project": entry["project"]})
    if not entry["billable"] and entry["status"] == "approved":
        part.bucket = "non_billable"
        yield part
    elif entry["billable"] and entry["status"] == "approved":
        part.holds = ["ENTITY_UNMAPPED"]
        yield part
    elif entry["billable"] and entry["status"] == "submitted":
        part.bucket, part.holds = "waiting", ["APPROVAL_MISSING"]
        yield part


def blocked(project: Row, *middle: str) -> list[str]:
    """Reasons of the project around those of the fact."""
    inactive = [] if project["contract_active"] else ["CONTRACT_INACTIVE"]
    known = treatment_of(supply(project))
    return inactive + list(middle) + ([] if isinstance(known, Treatment) else [known.code])


OF_FACTS = ("time", "overage", "expense")
SUPPLY = tuple(one.name for one in fields(Supply))


def supply(project: Row, payer: Payer | None = None) -> Supply:
    """What the project's client, or one of several who pay, buys."""
    said = {name: project[name] for name in SUPPLY if project.get(name) is not None}
    if payer is not None:
        said = {name: value for name, value in said.items() if name not in OF_BUYER} | {
            "buyer_country": payer.country, "buyer_has_tax_id": payer.has_tax_id, "buyer_region": payer.region,
            "vat_id": payer.vat_id, "vat_id_valid": payer.vat_id_valid, "vat_id_checked_on": payer.vat_id_checked_on,
            "nexus": payer.nexus, "state_rate_ppm": payer.state_rate_ppm,
        }  # fmt: skip
    return Supply(**{"buyer_country": None, **said, "registered_in": tuple(said.get("registered_in", ()))})


OF_BUYER = (
    "buyer_country", "buyer_has_tax_id", "buyer_region", "vat_id", "vat_id_valid", "vat_id_checked_on", "nexus",
    "state_rate_ppm",
)  # fmt: skip


def taxed(part: Part, project: Row) -> tuple[Treatment | TaxHold, int]:
    """Say how a part is taxed: by the treatment of who pays it, at the rate of the day; and the document's own rate."""
    if part.agent:
        return Treatment("disbursement", 0, "Paid in the name of the customer"), 0
    payers = project["terms"].payers
    known = treatment_of(supply(project, payers[part.payer - 1] if payers else None))
    if not isinstance(known, Treatment) or not known.name.startswith("domestic_"):
        return known, getattr(known, "rate_ppm", 0)
    then = rate_on(known.name.removeprefix("domestic_").upper(), part.service_on)
    return (known if then is None else replace(known, rate_ppm=then)), known.rate_ppm


def time_part(entry: Row, minutes: int, offset: int, amount: Decimal, project: Row) -> Part:
    """One range of minutes of an entry."""
    start = entry["minutes"] - entry["open_minutes"] + offset
    return Part(
        fact=entry["gid"],
        key=f"{entry['gid']}/{entry['fact_version']}/{start}-{start + minutes}",
        kind="time",
        project=project["project"],
        amount=amount,
        currency=project["currency"],
        minutes=minutes,
        service_on=entry["worked_on"],
        order=entry["source_order"],
        start=start,
        source=entry,
    )


def time_parts(entries: list[Row], project: Row, rates: list[Row], facts: RunFacts, invoice_on: date) -> Iterator[Part]:
    """All time of one project: caps and included minutes are used up entry by entry."""
    included_left = project["included_minutes"]
    if included_left is not None:
        rolled = project.get("rolled_minutes") or 0
        included_left = max(0, included_left + rolled - project["period_included_used"])
    waiting_last = sorted(entries, key=lambda row: row["status"] != "approved")
    by_rate = []
    for entry in waiting_last if project["method"] == "retainer" else entries:
        opened = entry["open_minutes"]
        if entry["status"] not in ("approved", "submitted"):
            continue
        if not entry["billable"]:
            if entry["status"] == "approved" and opened:
                part = time_part(entry, opened, 0, Decimal(0), project)
                part.bucket = "non_billable"
                yield part
            continue
        if project["method"] in ("time_and_materials", "pass_through"):
            by_rate.append(entry)
            continue
        if not opened:
            continue
        if project["method"] == "fixed_fee":
            part = time_part(entry, opened, 0, Decimal(0), project)
            part.bucket = "covered_by_fixed_fee"
            made = [part]
        else:
            covered = opened if included_left is None else min(opened, included_left)
            included_left = None if included_left is None else included_left - max(covered, 0)
            made = retainer_parts(entry, covered, project)
        yield from made if entry["status"] == "approved" else waiting(made)
    yield from rated_time(by_rate, project, rates, facts, invoice_on)


def waiting(parts: list[Part]) -> list[Part]:
    """What is not approved waits for that alone."""
    for part in parts:
        part.bucket, part.holds = "waiting", ["APPROVAL_MISSING"]
    return parts


@dataclass
class Rated:
    """An entry with its price, or why it has none."""

    entry: Row
    rate: Decimal | None
    problem: str | None
    rank: int
    value: Decimal = Decimal(0)
    weight: Decimal | None = None
    day_minutes: int = 0

    @property
    def credit_due(self) -> bool:
        """Say whether more was billed than the facts now support."""
        return bool(self.entry["open_minutes"] < 0 or self.value < 0)


def rated_time(entries: list[Row], project: Row, rates: list[Row], facts: RunFacts, invoice_on: date) -> Iterator[Part]:
    """Price entries by the rate of their day and their terms, and cut them where the day, the task or the line is full."""
    terms: Terms = project["terms"]
    stops = {row["scope"] for row in facts.stops.to_dicts()}
    found = [rated(entry, project, rates, facts, invoice_on, stops) for entry in entries]
    found.sort(key=lambda one: one.rank)
    measures = measure([one.entry for one in found], terms, sum(one.rank < 2 for one in found))
    day_left: dict[Any, int] = {}
    if terms.daily_cap_minutes is not None:
        day_left = defaultdict(lambda: terms.daily_cap_minutes or 0)
        for one in found:
            day = one.entry["resource"], one.entry["worked_on"]
            day_left[day] -= max(0, one.entry["minutes"] - one.entry["open_minutes"])
    for one in found:
        measured, opened = measures[one.entry["gid"]], one.entry["open_minutes"]
        one.day_minutes = opened
        one.weight = measured.weight if apart(terms) else None
        if measured.tier_rate is not None:
            one.rate, one.problem = measured.tier_rate, None
        if one.problem is None:
            before = from_units(one.entry["allocated_amount"], project["currency"])
            one.value = worth(measured, one.rate, project["currency"]) - before
        if terms.daily_cap_minutes is not None and one.problem is None and not one.credit_due:
            day = one.entry["resource"], one.entry["worked_on"]
            one.day_minutes = min(opened, max(0, day_left[day]))
            day_left[day] -= max(0, opened)
    found.sort(key=lambda one: (one.entry["worked_on"], one.entry["source_order"], one.entry["gid"]))
    left = {"line": None if project["cap"] is None else max(Decimal(0), project["cap"] - project["cap_used"])}
    left |= {f"task {cap.task}": max(Decimal(0), cap.amount - cap.used) for cap in terms.task_caps}
    for one in found:
        if one.entry["open_minutes"]:
            made = cut(one, project, left)
            yield from made if one.entry["status"] == "approved" else waiting(made)


def rated(entry: Row, project: Row, rates: list[Row], facts: RunFacts, invoice_on: date, stops: set[str]) -> Rated:
    """Find the rate of one entry, and when its turn comes: settled, free, held, not approved."""
    terms: Terms = project["terms"]
    exchange = terms.exchange
    selected = {**entry, "contract": project["contract"]}
    card = exchange.currency if exchange else project["currency"]
    line, problem = rate_for(selected, card, rates, terms.rate_order)
    rate = line["rate"] if line else None
    fx = None
    if exchange and rate is not None:
        day = invoice_on if exchange.policy == "invoice_date" else entry["worked_on"]
        fx = fx_rate(facts.fx_rates.to_dicts(), exchange, project["currency"], day)
        problem = problem or ("FX_RATE_MISSING" if fx is None else None)
    if rate is not None and problem is None:
        rate = final_rate(rate, fx, terms, project["currency"])
    stopped = not stops.isdisjoint({entry["gid"], entry["task"], project["project"], project["contract"]})
    priced = problem is None or terms.tiers is not None
    if entry["open_minutes"] != entry["minutes"]:
        rank = 0
    elif entry["status"] == "approved":
        rank = 1 if priced and not stopped else 2
    else:
        rank = 3
    return Rated(entry, rate if problem is None else None, problem, rank)


def apart(terms: Terms) -> bool:
    """Say whether minutes are charged other than as they are."""
    return terms.measures


def cut(one: Rated, project: Row, left: dict[str, Decimal | None]) -> list[Part]:
    """Cut an entry where its day, its task or its line is full; what is above waits."""
    terms: Terms = project["terms"]
    opened, value, currency = one.entry["open_minutes"], one.value, project["currency"]
    day_value = value
    if one.day_minutes != opened:
        day_value = round_money(value * one.day_minutes / opened, currency)
    marks = [(one.day_minutes, day_value)]
    counts = one.entry["status"] == "approved" and one.problem is None and not one.credit_due
    for scope in (f"task {one.entry['task']}", "line"):
        minutes, amount = marks[-1]
        room = left.get(scope)
        if counts and room is not None:
            left[scope] = max(Decimal(0), room - amount)
            if terms.cap_policy != "warn_only":
                minutes, amount = fit(minutes, amount, room, whole=terms.cap_policy == "stop_before")
        marks.append((minutes, amount))
    reasons = [*(["CREDIT_DUE"] if one.credit_due else []), *([one.problem] if one.problem else [])]
    rings = [
        (0, Decimal(0), *marks[2], None),
        (*marks[2], *marks[1], "CAP_EXCEEDED"),
        (*marks[1], *marks[0], "CAP_EXCEEDED"),
        (*marks[0], opened, value, "CAP_DAILY"),
    ]
    made = []
    for inner, inner_amount, outer, outer_amount, code in rings:
        if outer == inner:
            continue
        part = time_part(one.entry, outer - inner, inner, outer_amount - inner_amount, project)
        part.rate, part.weight = one.rate, one.weight
        part.holds = blocked(project, *reasons, *([code] if code else []))
        part.bucket = "over_cap" if code else "on_draft"
        part.line = time_line(one.entry, project, one.rate)
        recharge(part)
        made.append(part)
    return made


def fit(minutes: int, amount: Decimal, room: Decimal, *, whole: bool) -> tuple[int, Decimal]:
    """Return what fits into the room: minutes in proportion to the amount, each side at least one."""
    if amount <= room:
        return minutes, amount
    if room <= 0 or minutes == 1 or whole:
        return 0, Decimal(0)
    share = (minutes * room / amount).quantize(Decimal(1), ROUND_HALF_UP)
    return min(max(int(share), 1), minutes - 1), room


def recharge(part: Part) -> None:
    """Say how many minutes print for the part's range."""
    if part.weight is not None and part.minutes is not None:
        part.charged = charged_minutes(part.weight, part.source["minutes"], part.start, part.start + part.minutes)


def time_line(entry: Row, project: Row, rate: Decimal | None) -> str:
    """Name the invoice line of time: what lines are apart by, then the rate."""
    if rate is None:
        return ""
    year, week, _ = entry["worked_on"].isocalendar()
    ways = {
        "role": entry["role"] or "Work",
        "person": entry["person"] or entry["resource"] or "nobody",
        "week": f"{year:04d}-W{week:02d}",
        "task": entry["task_name"] or entry["task"] or "no task",
        "project": project["code"],
    }
    digits = max(2, -int(rate.normalize().as_tuple().exponent))
    called = ", ".join(ways[name] for name in project["terms"].lines_by)
    return f"1-time-{called}-{f'{rate:.{digits}f}'.zfill(10)}"


def retainer_parts(entry: Row, covered: int, project: Row) -> list[Part]:
    """The covered minutes and those above them."""
    made = []
    if covered:
        part = time_part(entry, covered, 0, Decimal(0), project)
        part.bucket = "covered_by_fixed_fee"
        if entry["open_minutes"] < 0:
            part.holds = ["CREDIT_DUE"]
        made.append(part)
    over = entry["open_minutes"] - covered
    if over:
        rate = project["overage_rate"]
        value = Decimal(0) if rate is None else round_money(over * rate / 60, project["currency"])
        part = time_part(entry, over, covered, value, project)
        part.kind, part.rate, part.line = "overage", rate, "3-overage"
        part.holds = blocked(project, *(["RATE_MISSING"] if rate is None else []))
        made.append(part)
    return made


def fee_parts(project: Row) -> Iterator[Part]:
    """The fee of every month that is due."""
    if project["method"] != "retainer" or not project["contract_active"] or not project["monthly_fee"]:
        return
    for month in project["fees_due"]:
        yield Part(
            fact=project["project"],
            key=f"{project['project']}/0/fee-{month}",
            kind="fee",
            project=project["project"],
            amount=project["monthly_fee"],
            currency=project["currency"],
            holds=blocked(project),
            line="0-fee-retainer",
            service_on=last_day(month),
        )


def top_up(parts: Sequence[Part], project: Row, period: str) -> Iterator[Part]:
    """Top the month up to its minimum, in proportion to the days it holds."""
    minimum = project["terms"].minimum
    if not minimum or not project["contract_active"]:
        return
    start, end = first_day(period), last_day(period)
    days = (min(end, minimum.ends_on or end) - max(start, minimum.starts_on or start)).days + 1
    due = round_money(minimum.amount * max(days, 0) / ((end - start).days + 1), project["currency"])
    worked = sum(
        part.amount
        for part in parts
        if part.project == project["project"]
        and part.timed
        and part.bucket in ("on_draft", "waiting")
        and month_of(part.service_on) == period
    )
    missing = due - (project["period_billed"] or 0) - worked
    if missing > 0:
        yield Part(
            fact=project["project"],
            key=f"{project['project']}/0/minimum-{period}",
            kind="minimum",
            project=project["project"],
            amount=missing,
            currency=project["currency"],
            holds=[code for code in blocked(project) if code in TAX],
            line="3-minimum",
            service_on=end,
        )


def expense_parts(expense: Row, project: Row | None, facts: RunFacts) -> Iterator[Part]:
    """One expense line: recoverable tax off, exchanged, rounded, marked up, rounded."""
    if not expense["open_amount"] or expense["status"] not in APPROVED | {"submitted"}:
        return
    terms: Terms = project["terms"] if project else PLAIN
    rule = terms.expenses.get(expense["category"], ExpenseRule())
    approved = expense["status"] in APPROVED
    billable = expense["billable"] if rule.billable is None else rule.billable
    charged = billable and (project is None or project["pass_through"])
    if not charged and not approved:
        return
    currency = project["currency"] if project else "EUR"
    spent = from_units(expense["open_amount"], currency)
    part = Part(
        fact=expense["gid"],
        key=f"{expense['gid']}/{expense['fact_version']}/expense",
        kind="expense",
        project=expense["project"],
        amount=Decimal(0),
        currency=currency if project else "",
        spent=spent,
        line=f"2-expense-{expense['category']}",
        service_on=expense["spent_on"],
        order=expense["source_order"],
        start=(expense["amount"] - expense["open_amount"]) // 10**4,
        source=expense,
    )
    if not charged:
        part.bucket = "non_billable"
    elif project is None:
        part.holds = ["ENTITY_UNMAPPED"]
    else:
        price_expense(part, expense, project, rule, facts)
    if not approved:
        part.bucket, part.holds = "waiting", ["APPROVAL_MISSING"]
    yield part


def price_expense(part: Part, expense: Row, project: Row, rule: ExpenseRule, facts: RunFacts) -> None:
    """Price a line by the rule of its category, and say what is wrong with it."""
    currency, spent_in = project["currency"], expense.get("currency_spent") or project["currency"]
    applies = bool(project["terms"].expenses or project["terms"].exchange)
    fx: Decimal | None = Decimal(1)
    if applies and spent_in != currency:
        card = expense.get("card_rate_e8")
        fx = Decimal(card).scaleb(-8) if card is not None else fx_rate(
            facts.fx_rates.to_dicts(), Exchange(spent_in), currency, expense["spent_on"]
        )  # fmt: skip
    else:
        spent_in = currency
    markup_share = Decimal(project["markup_ppm"]) / 1_000_000 if rule.markup_share is None else rule.markup_share

    def exchanged(units: int, recoverable: Decimal) -> Decimal:
        exact = Fraction(from_units(units, spent_in)) * Fraction(fx or 0) / (1 + Fraction(recoverable))
        return rounded_half_up(exact, currency)

    def value(units: int) -> Decimal:
        if rule.daily_rate is not None:
            return rule.daily_rate * ((units > 0) - (units < 0))
        net = exchanged(units, rule.recoverable_share)
        markup = round_money(net * markup_share, currency)
        limit = rule.markup_cap
        return net + (markup if limit is None else max(min(markup, limit), -limit))

    problems = []
    part.agent = rule.treatment == "agent"
    if fx is None:
        problems.append("FX_RATE_MISSING")
    else:
        allocated = expense.get("allocated_amount") if applies else None
        if allocated is not None and expense["open_amount"] != expense["amount"]:
            part.amount = value(expense["amount"]) - from_units(allocated, currency)
        else:
            part.amount = value(expense["open_amount"])
        gross = exchanged(expense["amount"], Decimal(0))
        threshold = Decimal(25) if rule.receipt_threshold is None else rule.receipt_threshold
        if gross > threshold and not expense["has_receipt"]:
            problems.append("RECEIPT_MISSING")
        if rule.policy_limit is not None and gross > rule.policy_limit:
            problems.append("POLICY_BREACH")
    part.holds = blocked(project, *problems)
    if part.agent:
        part.holds = [code for code in part.holds if code not in TAX]


def rounded_half_up(exact: Fraction, currency: str) -> Decimal:
    """Round to the minor unit, half away from zero."""
    minor = int(abs(exact) * 10 ** minor_digits(currency) + Fraction(1, 2))
    return Decimal(minor if exact >= 0 else -minor).scaleb(-minor_digits(currency))


def draw_on_orders(parts: list[Part], terms: Terms) -> list[Part]:
    """Let free parts draw on the purchase orders, one part after the other; each order is drawn on until one does not fit."""
    if not terms.purchase_orders and not terms.po_required:
        return parts
    free = [part for part in parts if part.bucket == "on_draft" and not part.holds]
    done = [part for part in parts if part.bucket != "on_draft" or part.holds]
    orders = terms.orders_by_priority()
    left = [order.amount for order in orders]
    for part in sorted(free, key=lambda one: (one.service_on, one.order, one.fact, one.key)):
        rest: Part | None = part
        for number, order in enumerate(orders):
            if rest is None or not order.pays_for(rest.service_on):
                continue
            if rest.amount <= 0:
                rest.purchase_order = order.number
                done.append(rest)
                rest = None
                continue
            taken, remains = draw(rest, left[number])
            left[number] = max(Decimal(0), left[number] - rest.amount)
            if taken:
                taken.purchase_order = order.number
                done.append(taken)
            rest = remains
        if rest:
            rest.holds = [missing_order(orders, rest.service_on)] if terms.po_required else []
            done.append(rest)
    return done


def missing_order(orders: Sequence[PurchaseOrder], day: date) -> str:
    """Say why no purchase order pays for a day."""
    if not orders:
        return "PO_MISSING"
    return "PO_EXHAUSTED" if any(order.pays_for(day) for order in orders) else "PO_EXPIRED"


def draw(part: Part, room: Decimal) -> tuple[Part | None, Part | None]:
    """Cut a part into what an order still pays for and the rest; only time and expenses can be cut."""
    minor = 10 ** minor_digits(part.currency)
    size = 1
    if part.timed:
        size = part.minutes or 0
    elif part.kind == "expense":
        size = max(1, int((part.spent or Decimal(0)) * minor))
    taken, amount = fit(size, part.amount, room, whole=False)
    if taken == size:
        return part, None
    if not taken:
        return None, part
    front, back = replace(part, holds=list(part.holds)), replace(part, holds=list(part.holds))
    for piece, start, length, value in (
        (front, part.start, taken, amount),
        (back, part.start + taken, size - taken, part.amount - amount),
    ):
        piece.amount, piece.start = value, start
        stem = part.key.rpartition("/")[0]
        if part.timed:
            piece.minutes, piece.key = length, f"{stem}/{start}-{start + length}"
            recharge(piece)
        else:
            piece.key = f"{stem}/expense-{start}-{start + length}"
    if part.kind == "expense" and part.spent is not None:
        front.spent = Decimal(taken) / minor
        back.spent = part.spent - front.spent
    return front, back


@dataclass(frozen=True)
class Owed:
    """What each payer of a fact owes of it still, in order of the payers: minor units, and minutes."""

    amounts: list[int]
    minutes: list[int]


def still_owed(parts: Sequence[Part], projects: Mapping[str, Row], paid: Sequence[Row]) -> dict[str, Owed]:
    """Say what payers owe of facts of which they have something: their share of the whole less what they have."""
    found: dict[str, Owed] = {}
    for fact in {row["fact"] for row in paid}:
        free = [part for part in parts if part.fact == fact and part.kind in OF_FACTS and may_share(part, projects)]
        if not free:
            continue
        payers = projects[free[0].project]["terms"].payers
        minor = 10 ** minor_digits(free[0].currency)
        rows = [[row for row in paid if row["fact"] == fact and row["bill_to"] == payer.bill_to] for payer in payers]
        has = [sum(row["amount"] for row in of_payer) // 10_000 for of_payer in rows]
        worked = [sum(row["minutes"] for row in of_payer) for of_payer in rows]
        whole = sum(has) + sum(int(part.amount * minor) for part in free)
        minutes = sum(worked) + sum(part.minutes or 0 for part in free)
        several = len({payer.bill_to for payer in payers}) == len(payers)
        if not (any(has) or any(worked)) or min(has) < 0 or whole <= 0 or not several:
            continue
        weights = [payer.weight for payer in payers]
        found[fact] = Owed(
            [max(due - had, 0) for due, had in zip(largest_remainder(whole, weights), has, strict=True)],
            [max(due - had, 0) for due, had in zip(largest_remainder(minutes, weights), worked, strict=True)],
        )
    return found


def may_share(part: Part, projects: Mapping[str, Row]) -> bool:
    """Say whether a part goes to the payers of its project, were it not for their taxes."""
    project = projects.get(part.project)
    return bool(project and project["terms"].payers and part.bucket == "on_draft" and not part.holds)


def share(part: Part, project: Row | None, owed: Mapping[str, Owed]) -> Iterator[Part]:
    """Split a free part over the payers of its project by largest remainder: amount, minutes, what was spent.

    owed  by fact, where payers have something of it already: then what is missing of each one's share
    """
    payers = project["terms"].payers if project else ()
    if not payers or part.bucket != "on_draft" or part.holds or project is None:
        yield part
        return
    missing = {one.code for payer in payers if isinstance(one := treatment_of(supply(project, payer)), TaxHold)}
    if not part.agent and missing:
        # A share that cannot be taxed would be shared anew next time: all of the part waits for it.
        part.holds = [code for code in TAX if code in missing]
        yield part
        return
    weights = [payer.weight for payer in payers]
    minor = 10 ** minor_digits(part.currency)
    again = owed.get(part.fact) if part.kind in OF_FACTS else None
    by_amount = [Decimal(one) for one in again.amounts] if again and any(again.amounts) else weights
    by_minutes = [Decimal(one) for one in again.minutes] if again and any(again.minutes) else weights
    amounts = largest_remainder(int(part.amount * minor), by_amount)
    spent = None if part.spent is None else largest_remainder(int(part.spent * minor), by_amount)
    minutes = None if part.minutes is None else largest_remainder(part.minutes, by_minutes)
    charged = None if part.charged is None else largest_remainder(part.charged, by_minutes)
    stem, _, facet = part.key.rpartition("/")
    start = part.start
    for number in range(len(payers)):
        piece = replace(part, amount=Decimal(amounts[number]) / minor, payer=number + 1, holds=[])
        own = facet
        if minutes is not None:
            piece.minutes, piece.start = minutes[number], start
            own = f"{start}-{start + minutes[number]}"
            start += minutes[number]
        piece.spent = None if spent is None else Decimal(spent[number]) / minor
        piece.charged = None if charged is None else charged[number]
        piece.key = f"{stem}/{own}" if number == 0 else f"{stem}/p{number + 1}-{own}"
        if again is None or piece.amount or piece.spent or piece.minutes or piece.charged:
            yield piece


def largest_remainder(total: int, weights: Sequence[Decimal]) -> list[int]:
    """Share out whole steps by weight; the missing ones go to the largest remainders, a tie to the lowest index.

    >>> largest_remainder(10000, [Decimal(1)] * 3)
    [3334, 3333, 3333]
    """
    whole = sum(map(Fraction, weights))
    exact = [abs(total) * Fraction(weight) / whole for weight in weights]
    parts = [int(one) for one in exact]
    missing = abs(total) - sum(parts)
    for index in sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))[:missing]:
        parts[index] += 1
    return parts if total >= 0 else [-part for part in parts]


def document_of(part: Part, projects: Mapping[str, Row], period: str) -> str:
    """Name the document a part goes to."""
    project = projects[part.project]
    terms: Terms = project["terms"]
    same = ("contract", "legal_entity", "bill_to", "currency", "seller_country", "buyer_country", "buyer_has_tax_id")
    stem = project["code"]
    if "contract" in terms.split_by:
        stem = min(
            other["code"]
            for other in projects.values()
            if "contract" in other["terms"].split_by
            and all(other[name] == project[name] for name in same)
            and treatment_of(supply(other)) == treatment_of(supply(project))
        )
    code, month = f"{stem}-{period}", month_of(part.service_on)
    if "period" in terms.split_by and month != period:
        code += f"-S{month}"
    if "po" in terms.split_by and part.purchase_order:
        code += f"-{part.purchase_order}"
    if part.payer > 1:
        code += f"-P{part.payer}"
    if part.agent:
        return f"{code}-D"
    how, asked = taxed(part, project)
    if isinstance(how, Treatment) and how.rate_ppm != asked:
        code += f"-T{how.rate_ppm // 1000}"
    return code


def keep_documents_positive(parts: list[Part], projects: Mapping[str, Row], period: str) -> None:
    """A draft below zero is not made."""
    free: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        if part.bucket == "on_draft" and not part.holds:
            free[document_of(part, projects, period)].append(part)
    for own in free.values():
        if sum(part.amount for part in own) < 0:
            for part in own:
                part.holds = ["CREDIT_DUE"]


def discount(drafted: Mapping[tuple[str, str], list[Part]], projects: Mapping[str, Row]) -> Iterator[tuple[str, Part]]:
    """Take the agreed share off each document, shared over its lines above zero by largest remainder."""
    lines: dict[str, list[tuple[str, Decimal, Part]]] = defaultdict(list)
    for (code, key), own in sorted(drafted.items()):
        giving = [part for part in own if projects[part.project]["terms"].header_discount]
        net = sum((part.amount for part in giving), Decimal(0))
        if net > 0:
            lines[code].append((key, net, min(giving, key=lambda part: part.project)))
    for code, of in lines.items():
        first = of[0][2]
        base = sum((net for _, net, _ in of), Decimal(0))
        minor = 10 ** minor_digits(first.currency)
        off = round_money(base * projects[first.project]["terms"].header_discount, first.currency)
        for (key, _, part), cents in zip(
            of, largest_remainder(int(off * minor), [net for _, net, _ in of]), strict=True
        ):
            if cents:
                yield code, replace(
                    part, fact=part.project, key=f"{part.project}/0/discount-{code}/{key}", kind="discount",
                    amount=-Decimal(cents) / minor, minutes=None, spent=None, rate=None, charged=None, line="4-discount",
                )  # fmt: skip


def documents(parts: list[Part], projects: dict[str, Row], period: str, closed: Sequence[str]) -> Expected:
    """Add everything up."""

    def whole(amount: Decimal | None, currency: str | None) -> int | None:
        return None if amount is None else to_units(amount, currency or "EUR")

    holds: dict[tuple[str, str], list[Part]] = defaultdict(list)
    lines: dict[tuple[str, str], list[Part]] = defaultdict(list)
    charges: set[tuple[Any, ...]] = set()
    for part in parts:
        for code in part.holds:
            holds[part.fact, code].append(part)
        if part.bucket == "waiting":
            continue
        drafted = part.bucket == "on_draft"
        document = document_of(part, projects, period) if drafted else None
        if document:
            lines[document, part.line].append(part)
        charges.add((
            part.key, part.fact, part.kind, part.project, part.bucket, part.minutes,
            whole(part.amount, part.currency), whole(part.spent, part.currency), whole(part.rate, part.currency),
            part.holds[0] if part.holds else None, document, part.line if drafted else None, part.purchase_order,
            part.service_on, month_of(part.service_on) if month_of(part.service_on) in closed else None,
        ))  # fmt: skip
    for code, part in list(discount(lines, projects)):
        lines[code, part.line].append(part)
        charges.add((
            part.key, part.fact, part.kind, part.project, part.bucket, None, whole(part.amount, part.currency), None,
            None, None, code, part.line, part.purchase_order, last_day(period), None,
        ))  # fmt: skip
    nets: dict[str, Decimal] = defaultdict(Decimal)
    held_by: dict[str, list[Part]] = defaultdict(list)
    for (code, _), own in lines.items():
        nets[code] += sum(part.amount for part in own)
        held_by[code] += own
    invoices = set()
    for code, net in nets.items():
        first = held_by[code][0]
        project = projects[min(part.project for part in held_by[code])]
        currency, payers = project["currency"], projects[first.project]["terms"].payers
        bill_to = payers[first.payer - 1].bill_to if payers else project["bill_to"]
        how, _ = taxed(first, projects[first.project])
        if not isinstance(how, Treatment):
            raise ValueError(f"{code} is drafted without a tax treatment")
        tax = round_money(net * how.rate_ppm / 1_000_000, currency)
        issued = last_day(period)
        invoices.add((
            code, project["project"], bill_to, issued, issued + timedelta(days=project["terms_days"]), how.name,
            whole(net, currency), whole(tax, currency), whole(net + tax, currency), how.reason,
        ))  # fmt: skip

    def total(own: list[Part]) -> int | None:
        return whole(sum((part.amount for part in own), Decimal(0)), own[0].currency)

    return Expected(
        charges=charges,
        lines={(code, key, own[0].kind, quantity(own), total(own)) for (code, key), own in lines.items()},
        invoices=invoices,
        holds={(fact, code, total(own), sum(part.minutes or 0 for part in own)) for (fact, code), own in holds.items()},
    )


def quantity(parts: Sequence[Part]) -> int:
    """Add up what a line prints: minutes as they are charged, or a count."""
    if parts[0].kind == "discount":
        return 1
    if parts[0].timed:
        return sum(part.minutes or 0 if part.charged is None else part.charged for part in parts)
    return len(parts)


def seen(plan: RunPlan) -> Expected:
    """Put the fast run's plan into the same shape."""
    charge = (
        "key", "fact", "kind", "project", "bucket", "minutes", "amount", "spent", "rate", "hold_code", "invoice_code",
        "line_key", "purchase_order", "service_on", "origin_period",
    )  # fmt: skip
    invoice = (
        "code",
        "project",
        "bill_to",
        "invoice_date",
        "due_on",
        "tax_treatment",
        "net",
        "tax",
        "gross",
        "tax_reason",
    )
    found = Expected(
        charges=set(plan.charges.select(charge).iter_rows()),
        lines=set(plan.invoice_lines.select("invoice_code", "line_key", "charge_kind", "quantity", "net").iter_rows()),
        invoices=set(plan.invoices.select(invoice).iter_rows()),
        holds=set(plan.holds.select("scope", "code", "amount", "minutes").iter_rows()),
    )
    if len(found.charges) != plan.charges.height:
        raise ValueError("two charges are the same")
    return found

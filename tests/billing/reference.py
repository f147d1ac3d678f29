"""The billing run once more, in plain loops over `Decimal`: slow, obvious, and the judge of the fast one.

Amounts are major units. The result holds sets of tuples, so that the order of rows plays no part.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from trueup.billing.frames import RunFacts, RunPlan
from trueup.billing.tax import Treatment, treatment
from trueup.kernel.money import from_units, round_money, to_units
from trueup.kernel.periods import last_day

Row = dict[str, Any]
APPROVED = {"approved", "posted", "reimbursed"}
NO_CAP_USE = {"CREDIT_DUE", "RATE_MISSING", "RATE_AMBIGUOUS"}


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

    def settle(self) -> None:
        """Let reasons decide the bucket."""
        if self.bucket != "waiting" and self.holds:
            self.bucket = "over_cap" if self.holds == ["CAP_EXCEEDED"] else "held"


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
        money(row, "cap", "cap_used", "monthly_fee", "overage_rate")
        projects[row["project"]] = row
    rates = facts.rates.to_dicts()
    for row in rates:
        money(row, "rate")
    entries = sorted(facts.entries.to_dicts(), key=lambda row: (row["worked_on"], row["source_order"], row["gid"]))
    parts: list[Part] = []
    for project in projects.values():
        own = [row for row in entries if row["project"] == project["project"] and row["worked_on"] <= upto]
        parts += list(time_parts(own, project, rates))
        parts += list(fee_parts(project))
    parts += [part for row in entries if row["worked_on"] <= upto for part in strays(row, projects)]
    for row in facts.expenses.to_dicts():
        if row["spent_on"] <= upto:
            parts += list(expense_parts(row, projects.get(row["project"])))
    keep_documents_positive(parts)
    for part in parts:
        part.settle()
    return documents(parts, projects, period)


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
    known = treatment(project["seller_country"], project["buyer_country"], project["buyer_has_tax_id"])
    return inactive + list(middle) + ([] if isinstance(known, Treatment) else ["TAX_UNDETERMINED"])


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
    )


def time_parts(entries: list[Row], project: Row, rates: list[Row]) -> Iterator[Part]:
    """All time of one project: cap and included minutes are used up entry by entry."""
    cap_left = None if project["cap"] is None else max(Decimal(0), project["cap"] - project["cap_used"])
    included_left = project["included_minutes"]
    if included_left is not None:
        included_left = max(0, included_left - project["period_included_used"])
    waiting_last = sorted(entries, key=lambda row: row["status"] != "approved")
    for entry in waiting_last if project["method"] == "retainer" else entries:
        opened = entry["open_minutes"]
        if not opened or entry["status"] not in ("approved", "submitted"):
            continue
        if not entry["billable"]:
            if entry["status"] == "approved":
                part = time_part(entry, opened, 0, Decimal(0), project)
                part.bucket = "non_billable"
                yield part
            continue
        approved = entry["status"] == "approved"
        if project["method"] == "fixed_fee":
            part = time_part(entry, opened, 0, Decimal(0), project)
            part.bucket = "covered_by_fixed_fee"
            made = [part]
        elif project["method"] == "retainer":
            covered = opened if included_left is None else min(opened, included_left)
            included_left = None if included_left is None else included_left - max(covered, 0)
            made = retainer_parts(entry, covered, project)
        else:
            made = rated_parts(entry, project, rates, cap_left if approved else None)
            if approved and cap_left is not None and not NO_CAP_USE & {code for part in made for code in part.holds}:
                cap_left -= sum(part.amount for part in made)
        for part in made:
            if not approved:
                part.bucket, part.holds = "waiting", ["APPROVAL_MISSING"]
            yield part


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


def rate_for(entry: Row, project: Row, rates: list[Row]) -> tuple[Decimal | None, str | None]:
    """The rate in force on the day of work, or why there is none."""
    day = entry["worked_on"]
    valid = [
        row
        for row in rates
        if (row["contract"], row["currency"], row["role"]) == (project["contract"], project["currency"], entry["role"])
        and row["valid_from"] <= day
        and (row["valid_to"] is None or row["valid_to"] >= day)
    ]
    if not valid:
        return None, "RATE_MISSING"
    latest = max(row["valid_from"] for row in valid)
    newest = [row for row in valid if row["valid_from"] == latest]
    return (newest[0]["rate"], None) if len(newest) == 1 else (None, "RATE_AMBIGUOUS")


def rated_parts(entry: Row, project: Row, rates: list[Row], cap_left: Decimal | None) -> list[Part]:
    """An entry at its rate, cut where the cap ends."""
    opened = entry["open_minutes"]
    rate, problem = rate_for(entry, project, rates)
    if rate is None:
        part = time_part(entry, opened, 0, Decimal(0), project)
        credit = ["CREDIT_DUE"] if opened < 0 else []
        part.holds = blocked(project, *credit, str(problem))
        return [part]
    currency = project["currency"]
    before = from_units(entry["allocated_amount"], currency)
    value = round_money(entry["minutes"] * rate / 60, currency) - before
    if opened < 0 or value < 0:
        part = time_part(entry, opened, 0, value, project)
        part.rate, part.holds = rate, blocked(project, "CREDIT_DUE")
        return [part]
    fits = value if cap_left is None else min(value, max(cap_left, Decimal(0)))
    minutes = opened
    if fits < value:
        minutes = 0
        if fits > 0 and opened > 1:
            share = (opened * fits / value).quantize(Decimal(1), ROUND_HALF_UP)
            minutes = min(max(int(share), 1), opened - 1)
        fits = fits if minutes else Decimal(0)
    made = []
    if minutes:
        part = time_part(entry, minutes, 0, fits, project)
        part.rate, part.holds = rate, blocked(project)
        digits = max(2, -int(rate.normalize().as_tuple().exponent))
        part.line = f"1-time-{entry['role']}-{f'{rate:.{digits}f}'.zfill(10)}"
        made.append(part)
    if minutes < opened:
        part = time_part(entry, opened - minutes, minutes, value - fits, project)
        part.rate, part.holds = rate, blocked(project, "CAP_EXCEEDED")
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
        )


def expense_parts(expense: Row, project: Row | None) -> Iterator[Part]:
    """One expense line with its markup."""
    if not expense["open_amount"] or expense["status"] not in APPROVED | {"submitted"}:
        return
    approved = expense["status"] in APPROVED
    charged = expense["billable"] and (project is None or project["pass_through"])
    if not charged and not approved:
        return
    currency = project["currency"] if project else None
    part = Part(
        fact=expense["gid"],
        key=f"{expense['gid']}/{expense['fact_version']}/expense",
        kind="expense",
        project=expense["project"],
        amount=Decimal(0),
        currency=currency or "",
        spent=from_units(expense["open_amount"], currency or "EUR"),
        line=f"2-expense-{expense['category']}",
    )
    if not charged:
        part.bucket = "non_billable"
    elif project is None:
        part.holds = ["ENTITY_UNMAPPED"]
    else:
        markup = 1 + Decimal(project["markup_ppm"]) / 1_000_000
        part.amount = round_money(part.spent * markup, part.currency) if part.spent else Decimal(0)
        big = from_units(expense["amount"], part.currency) > 25
        part.holds = blocked(project, *(["RECEIPT_MISSING"] if big and not expense["has_receipt"] else []))
    if not approved:
        part.bucket, part.holds = "waiting", ["APPROVAL_MISSING"]
    yield part


def keep_documents_positive(parts: list[Part]) -> None:
    """A draft below zero is not made."""
    free: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        if part.bucket == "on_draft" and not part.holds:
            free[part.project].append(part)
    for own in free.values():
        if sum(part.amount for part in own) < 0:
            for part in own:
                part.holds = ["CREDIT_DUE"]


def documents(parts: list[Part], projects: dict[str, Row], period: str) -> Expected:
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
        document = f"{projects[part.project]['code']}-{period}" if drafted else None
        if document:
            lines[document, part.line].append(part)
        charges.add((
            part.key, part.fact, part.kind, part.project, part.bucket, part.minutes,
            whole(part.amount, part.currency), whole(part.spent, part.currency), whole(part.rate, part.currency),
            part.holds[0] if part.holds else None, document, part.line if drafted else None,
        ))  # fmt: skip
    nets: dict[str, Decimal] = defaultdict(Decimal)
    owner: dict[str, Row] = {}
    for (code, _), own in lines.items():
        nets[code] += sum(part.amount for part in own)
        owner[code] = projects[own[0].project]
    invoices = set()
    for code, net in nets.items():
        project = owner[code]
        currency = project["currency"]
        how = treatment(project["seller_country"], project["buyer_country"], project["buyer_has_tax_id"])
        assert isinstance(how, Treatment)
        tax = round_money(net * how.rate_ppm / 1_000_000, currency)
        issued = last_day(period)
        invoices.add((
            code, project["project"], issued, issued + timedelta(days=project["terms_days"]), how.name,
            whole(net, currency), whole(tax, currency), whole(net + tax, currency),
        ))  # fmt: skip

    def total(own: list[Part]) -> int | None:
        return whole(sum((part.amount for part in own), Decimal(0)), own[0].currency)

    return Expected(
        charges=charges,
        lines={
            (code, key, own[0].kind, sum(part.minutes or 1 for part in own), total(own))
            for (code, key), own in lines.items()
        },
        invoices=invoices,
        holds={(fact, code, total(own), sum(part.minutes or 0 for part in own)) for (fact, code), own in holds.items()},
    )


def seen(plan: RunPlan) -> Expected:
    """Put the fast run's plan into the same shape."""
    charge = (
        "key", "fact", "kind", "project", "bucket", "minutes", "amount", "spent", "rate", "hold_code", "invoice_code",
        "line_key",
    )  # fmt: skip
    invoice = ("code", "project", "invoice_date", "due_on", "tax_treatment", "net", "tax", "gross")
    found = Expected(
        charges=set(plan.charges.select(charge).iter_rows()),
        lines=set(plan.invoice_lines.select("invoice_code", "line_key", "charge_kind", "quantity", "net").iter_rows()),
        invoices=set(plan.invoices.select(invoice).iter_rows()),
        holds=set(plan.holds.select("scope", "code", "amount", "minutes").iter_rows()),
    )
    assert len(found.charges) == plan.charges.height, "two charges are the same"
    return found

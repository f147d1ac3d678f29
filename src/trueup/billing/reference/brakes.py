"""Which bounds an invoice breaks, asked invoice by invoice and bound by bound."""

from collections import Counter
from fractions import Fraction
from math import floor
from typing import Any

from trueup.billing.brakes import FIXED, SENTENCES, Bounds, Finding, History
from trueup.billing.frames import RunPlan

Row = dict[str, Any]


def findings(plan: RunPlan, history: History, bounds: Bounds) -> list[Finding]:
    """List every bound every invoice breaks, the worst figure of each, sorted by invoice and bound."""
    drafted = [row for row in plan.charges.to_dicts() if row["bucket"] == "on_draft"]
    found = []
    for invoice in plan.invoices.sort("code").to_dicts():
        mine = [row for row in drafted if row["invoice_code"] == invoice["code"]]
        for bound in SENTENCES:
            broken = _BOUNDS[bound](invoice, mine, drafted, history, bounds)
            if broken:
                figure, what, limit = min(broken, key=lambda one: (-one[0], one[1]))
                found.append(Finding(invoice["code"], bound, what, figure, limit))
    return found


Broken = list[tuple[int, str, int]]


def _minutes_a_day(_: Row, mine: list[Row], __: list[Row], history: History, bounds: Bounds) -> Broken:
    worked = {(row["resource"], row["worked_on"]): row["minutes"] for row in history.days.to_dicts()}
    who = {row["fact"]: (row["resource"], row["worked_on"]) for row in history.facts.to_dicts()}
    days = {who[row["fact"]] for row in mine if row["fact"] in who}
    limit = bounds.minutes_a_day
    if limit is None:
        return []
    return [
        (worked[one], f"{one[0]} on {one[1]}", limit) for one in days if worked.get(one, 0) > limit
    ]  # fmt: skip


def _fixed_lines(_: Row, mine: list[Row], drafted: list[Row], history: History, bounds: Bounds) -> Broken:
    counted = Counter((row["contract"], row["service_on"]) for row in drafted if row["kind"] in FIXED)
    for row in history.fixed.to_dicts():
        counted[(row["contract"], row["service_on"])] += row["items"]
    limit = bounds.fixed_lines_a_day
    if limit is None:
        return []
    days = {(row["contract"], row["service_on"]) for row in mine if row["kind"] in FIXED}
    return [(counted[one], f"{one[0]} on {one[1]}", limit) for one in days if counted[one] > limit]


def _over_cap(_: Row, mine: list[Row], __: list[Row], history: History, bounds: Bounds) -> Broken:
    left = {row["project"]: row["cap_left"] for row in history.caps.to_dicts() if row["cap_left"] is not None}
    sums: Counter[str] = Counter()
    for row in mine:
        if row["kind"] == "time" and row["project"] in left:
            sums[row["project"]] += row["amount"]
    found = [(amount, project, max(left[project], 0)) for project, amount in sums.items()]
    return [one for one in found if bounds.over_cap and one[0] > one[2]]


def _times_mean(invoice: Row, _: list[Row], __: list[Row], history: History, bounds: Bounds) -> Broken:
    same = ("contract", "legal_entity", "currency")
    before = [
        row
        for row in history.invoices.to_dicts()
        if all(row[name] == invoice[name] for name in same)
        and row["code"] != invoice["code"]
        and row["invoice_date"] <= invoice["invoice_date"]
    ]
    last = sorted(before, key=lambda row: (row["invoice_date"], row["code"]), reverse=True)[: bounds.mean_of]
    if bounds.times_mean is None or not last or len(last) < bounds.mean_at_least:
        return []
    allowed = Fraction(sum(row["net"] for row in last), len(last)) * bounds.times_mean
    return [(invoice["net"], f"{len(last)} invoices", floor(allowed))] if invoice["net"] > allowed else []


def _rate_dates(_: Row, mine: list[Row], __: list[Row], history: History, bounds: Bounds) -> Broken:
    dates = {row["gid"]: (row["valid_from"], row["valid_to"]) for row in history.rates.to_dicts()}
    wrong = []
    for row in mine:
        if row["rate_line"] is None:
            continue
        first, last = dates.get(row["rate_line"], (None, None))
        if first is None or row["service_on"] < first or (last is not None and row["service_on"] > last):
            wrong.append(f"{row['rate_line']} on {row['service_on']}")
    return [(len(wrong), min(wrong), 0)] if wrong and bounds.rate_dates else []


def _after_approval(_: Row, mine: list[Row], __: list[Row], history: History, bounds: Bounds) -> Broken:
    late = {row["fact"] for row in history.facts.to_dicts() if row["changed_after_approval"]}
    wrong = {row["fact"] for row in mine} & late
    return [(len(wrong), min(wrong), 0)] if wrong and bounds.after_approval else []


def _negative(invoice: Row, _: list[Row], __: list[Row], ___: History, bounds: Bounds) -> Broken:
    return [(invoice["net"], invoice["code"], 0)] if invoice["net"] < 0 and bounds.negative else []


def _closed(invoice: Row, _: list[Row], __: list[Row], history: History, bounds: Bounds) -> Broken:
    closed = (invoice["legal_entity"], invoice["period"]) in history.closed.rows()
    return [(1, invoice["period"], 0)] if closed and bounds.closed_period else []


_BOUNDS = {
    "minutes_a_day": _minutes_a_day,
    "fixed_lines_a_day": _fixed_lines,
    "over_cap": _over_cap,
    "times_mean": _times_mean,
    "rate_dates": _rate_dates,
    "after_approval": _after_approval,
    "negative": _negative,
    "closed_period": _closed,
}

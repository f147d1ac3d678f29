"""What the people of the demo firm book: their time, and what they spent on the road."""

import random
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

from trueup.sandbox import nordlys
from trueup.sandbox.nordlys import FIRST_DAY, MERCHANTS, MONTHS, TODAY, USD_PER_UNIT, Row

LATE_FROM = date(2026, 9, 24)
"""Three people enter their September from this day on only in October."""

UNAPPROVED_FROM = date(2026, 10, 26)
"""Two people's timesheets from this day on are never approved."""

REPORTS = 70


def draw_time(rng: random.Random, deals: Sequence[Row], projects: Sequence[Row], people: Sequence[Row]) -> list[Row]:
    """Return some 9,000 time entries in order of day and person, each by a member of the project's staff."""
    by_code = {deal["code"]: deal for deal in deals}
    entries = []
    for person in people:
        own = [p for p in projects if any(member["person"] == person["key"] for member in p["staff"])]
        for day in _days_at_work(rng, person):
            entries += _day_of(rng, person, day, [p for p in own if _is_on(by_code[p["deal"]], day)])
    entries.sort(key=lambda entry: (entry["date"], entry["person"]))
    _delay_approvals(rng, deals, entries)
    return [{"key": f"T{number:06}"} | entry for number, entry in enumerate(entries, start=1)]


def _days_at_work(rng: random.Random, person: Row) -> list[date]:
    """Return the person's working days: employed, not on leave, three weekdays a week when part time."""
    last = min(TODAY, date.fromisoformat(person["terminated_on"] or TODAY.isoformat()))
    days = [FIRST_DAY + timedelta(days=number) for number in range((last - FIRST_DAY).days + 1)]
    weekdays = range(5) if person["weekly_hours"] == 40 else sorted(rng.sample(range(5), 3))
    days = [day for day in days if day.weekday() in weekdays]
    holiday = rng.randrange(len(days))
    absent = set(days[holiday : holiday + rng.randint(3, 8)]) | set(rng.sample(days, 2))
    return [day for day in days if day not in absent]


def _is_on(deal: Row, day: date) -> bool:
    """Say whether the deal is worked on that day: since its start, a retainer on Thursdays and Fridays only."""
    thin = deal["lines"][0]["billing_method"] == "retainer"
    return deal["starts_on"] <= day.isoformat() and (not thin or day.weekday() in (3, 4))


def _day_of(rng: random.Random, person: Row, day: date, projects: Sequence[Row]) -> list[Row]:
    """Return one day's entries: five and a half to eight hours on several phases, in quarters of an hour."""
    month = MONTHS.index(f"{day:%Y-%m}")
    places = [(project, phase) for project in projects for phase in _phases_in(project, month)]
    places = rng.sample(places, min(len(places), rng.choice((3, 4, 4, 5))))
    if not places:
        return []
    year, week, _ = day.isocalendar()
    quarters = [2] * len(places)
    for _ in range(rng.randint(22, 32) - sum(quarters)):
        quarters[rng.randrange(len(quarters))] += 1
    return [
        {
            "project": project["code"],
            "person": person["key"],
            "role": person["role"],
            "phase": phase,
            "date": day.isoformat(),
            "minutes": 15 * count,
            "billable": rng.random() >= 0.04,
            "notes": rng.choice(nordlys.NOTES),
            "submitted_in": MONTHS[month],
            "approved_in": MONTHS[month],
            "sheet": f"{person['key']}-{year}-W{week:02}",
        }
        for (project, phase), count in zip(places, quarters, strict=True)
    ]


def _phases_in(project: Row, month: int) -> Sequence[str]:
    """Return the two phases the project is in: it moves on by one each month."""
    phases: Sequence[str] = list(pairwise(project["phases"]))[min(month, len(project["phases"]) - 2)]
    return phases


def _delay_approvals(rng: random.Random, deals: Sequence[Row], entries: Sequence[Row]) -> None:
    """Make three people late with the end of September and leave the last October week of two others unapproved."""
    timed = {d["code"] for d in deals for line in d["lines"] if line["billing_method"] == "time_and_materials"}
    late = {name: _week_of(name, entries, LATE_FROM, date(2026, 9, 30)) for name in _names(entries)}
    stuck = {name: _week_of(name, entries, UNAPPROVED_FROM, date(2026, 10, 30)) for name in _names(entries)}
    slow = rng.sample([name for name, week in late.items() if _is_busy(week, timed)], 3)
    blocked = rng.sample([name for name, week in stuck.items() if _is_busy(week, timed) and name not in slow], 2)
    for entry in (entry for name in slow for entry in late[name]):
        entry["submitted_in"] = entry["approved_in"] = "2026-10"
    for entry in (entry for name in blocked for entry in stuck[name]):
        entry["approved_in"] = None


def _names(entries: Iterable[Row]) -> list[str]:
    return sorted({entry["person"] for entry in entries})


def _week_of(name: str, entries: Iterable[Row], first: date, last: date) -> list[Row]:
    days = (first.isoformat(), last.isoformat())
    return [entry for entry in entries if entry["person"] == name and days[0] <= entry["date"] <= days[1]]


def _is_busy(week: Sequence[Row], timed: set[str]) -> bool:
    """Say whether it is a full week with time that would be billed."""
    billed = [entry for entry in week if entry["billable"] and entry["project"].split("-")[0] in timed]
    return 18 <= len(week) <= 22 and len(billed) >= 5


def draw_expenses(
    rng: random.Random, deals: Sequence[Row], projects: Sequence[Row], people: Sequence[Row]
) -> list[Row]:
    """Return some 600 expense lines in 70 reports, in order; one October report is never approved.

    Only a deal with a travel line has billable ones; two of those lack the receipt they need.
    """
    travel = {d["code"] for d in deals for line in d["lines"] if line["billing_method"] == "pass_through"}
    billed = [project for project in projects if project["deal"] in travel]
    employed = {person["key"] for person in people if person["terminated_on"] is None}
    lines: list[Row] = []
    for number in range(REPORTS):
        month = MONTHS[number * len(MONTHS) // REPORTS]
        project = rng.choice(billed if rng.random() < 0.6 else projects)
        traveller = rng.choice([member["person"] for member in project["staff"] if member["person"] in employed])
        others = [p for p in projects if any(member["person"] == traveller for member in p["staff"])]
        lines += _report(rng, f"R{number + 1:03}", month, traveller, project, others, travel)
    _lose_receipts(rng, lines)
    never = rng.choice(sorted({line["report"] for line in lines if line["date"] >= "2026-10"}))
    for line in lines:
        line["approved_in"] = None if line["report"] == never else line["date"][:7]
    return [{"key": f"E{number:04}"} | line for number, line in enumerate(lines, start=1)]


def _report(
    rng: random.Random,
    report: str,
    month: str,
    traveller: str,
    project: Row,
    others: Sequence[Row],
    travel: set[str],
) -> list[Row]:
    """Return one trip's lines: most of them for one project, some for another of the traveller's."""
    start = date.fromisoformat(f"{month}-{rng.randint(10, 24)}")
    days = sorted(start + timedelta(days=rng.randint(0, 4)) for _ in range(rng.randint(6, 11)))
    lines = []
    for number, day in enumerate(days, start=1):
        place = project if rng.random() < 0.85 else rng.choice(others)
        head = {"report": report, "line": number, "person": traveller, "project": place["code"]}
        spent = _spending(rng, place["currency"])
        billable = place["deal"] in travel and rng.random() < 0.85
        lines.append(head | {"date": day.isoformat()} | spent | {"billable": billable})
    return lines


def _spending(rng: random.Random, currency: str) -> Row:
    """Return what was bought: one in ten in a foreign currency; small amounts may lack a receipt."""
    category = rng.choice(("Airfare", "Hotel", "Hotel", "Meals", "Meals", "Meals", "Taxi", "Taxi", "Rail"))
    merchants, lowest, highest = MERCHANTS[category]
    spent_in = rng.choice([c for c in USD_PER_UNIT if c != currency]) if rng.random() < 0.1 else currency
    spent = Decimal(rng.randint(lowest * 100, highest * 100)) / 100
    if spent_in != currency:
        spent = (spent / USD_PER_UNIT[spent_in]).quantize(Decimal("0.01"))
    amount = (spent * USD_PER_UNIT[spent_in] / USD_PER_UNIT[currency]).quantize(Decimal("0.01"))
    small = amount <= nordlys.RECEIPT_LIMIT
    return {
        "category": category,
        "amount": f"{amount:.2f}",
        "currency": currency,
        "amount_spent": f"{spent:.2f}",
        "currency_spent": spent_in,
        "has_receipt": not small or rng.random() < 0.5,
        "vendor_name": rng.choice(merchants),
    }


def _lose_receipts(rng: random.Random, lines: Sequence[Row]) -> None:
    """Take the receipt from two billable lines that need one, in months whose reports are all approved."""
    needing = [
        line
        for line in lines
        if line["billable"] and Decimal(line["amount"]) > nordlys.RECEIPT_LIMIT and line["date"] < "2026-10"
    ]
    for line in rng.sample(needing, 2):
        line["has_receipt"] = False

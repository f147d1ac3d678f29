"""The demo firm: one seed in, a whole consulting firm of plain JSON values out.

Nothing here knows the hub. The story plays these records into the simulators; the oracle computes from them what the
books must say. Every choice comes from one `random.Random(seed)` that is handed along.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

from trueup.sandbox import nordlys
from trueup.sandbox.bookings import draw_expenses, draw_time
from trueup.sandbox.nordlys import CURRENCY_OF, HEADCOUNT, MONTHS, PRACTICES, ROLES, USD_PER_UNIT, Row

SUBSIDIARY = "Deutschland"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a deal is to be, before anything is drawn.

    kind      time | data | tech | retainer | travel | two_countries
    entities  the legal entities that sell: a project each
    twist     "", or what is special about it: overrun, roomy (caps), unrated (no Analyst rate), untaxed (French buyer
              without a tax id), waiting (late sign-off), overtime (more hours than estimated)
    """

    kind: str
    entities: tuple[str, ...]
    twist: str = ""


def firm(seed: int) -> Row:
    """Return the whole firm of this seed; the same seed gives the same firm, to the byte.

    Returns   name, seed, today, months, entities, practices, departments, packages, roles, people, customers, deals,
              projects, time, expenses, payment_plan, credit, planted
    """
    rng = random.Random(seed)
    people = draw_people(rng)
    customers = draw_customers(rng)
    plans = draw_blueprints(rng)
    deals = draw_deals(rng, plans, customers)
    projects = draw_projects(rng, plans, deals, people)
    draw_rates(rng, plans, deals, projects)
    time = draw_time(rng, deals, projects, people)
    expenses = draw_expenses(rng, deals, projects, people)
    added_cap = set_values(plans, deals, projects, time)
    side_deals = draw_side_deals(rng, plans, deals, customers, added_cap)
    credit, planted = draw_corrections(rng, plans, deals, projects, time)
    return {
        "name": nordlys.FIRM_NAME,
        "seed": seed,
        "today": nordlys.TODAY.isoformat(),
        "months": list(MONTHS),
        "entities": [dict(entity, nexus=list(entity["nexus"])) for entity in nordlys.ENTITIES],
        "practices": list(PRACTICES),
        "departments": list(nordlys.DEPARTMENTS),
        "packages": [dict(package, phases=list(package["phases"])) for package in nordlys.PACKAGES],
        "roles": list(ROLES),
        "people": people,
        "customers": customers,
        "deals": deals + side_deals,
        "projects": projects,
        "time": time,
        "expenses": expenses,
        "payment_plan": draw_payment_plan(rng, plans, deals, projects, time, expenses, disputed=credit["invoice"]),
        "credit": credit,
        "planted": planted,
    }


# People and customers


def draw_people(rng: random.Random) -> list[Row]:
    """Return the 40 people: one leaves on 15 September, two work part time, ten cost more from 1 September."""
    posts = [
        (entity, role, PRACTICES[(number + turn) % len(PRACTICES)])
        for entity, counts in HEADCOUNT.items()
        for turn, (role, count) in enumerate(zip(ROLES, counts, strict=True))
        for number in range(count)
    ]
    rng.shuffle(posts)
    firsts = rng.sample(nordlys.FIRST_NAMES, len(posts))
    lasts = rng.sample(nordlys.LAST_NAMES, len(posts))
    people = [
        _person(rng, number, f"{first} {last}", *post)
        for number, (first, last, post) in enumerate(zip(firsts, lasts, posts, strict=True), start=1)
    ]
    leaver, *part_timers = rng.sample([p for p in people if p["role"] in ("Consultant", "Senior Consultant")], 3)
    leaver["terminated_on"] = nordlys.LEAVING_DAY.isoformat()
    for person in part_timers:
        person["weekly_hours"] = 24
    for person in rng.sample([person for person in people if person is not leaver], 10):
        before = person["cost_rates"][0]
        after = _to_step(Decimal(before["amount"]) * (100 + rng.randint(3, 8)) / 100, "0.50")
        person["cost_rates"].append(before | {"amount": _money(after), "valid_from": "2026-09-01"})
    return people


def _person(rng: random.Random, number: int, name: str, entity: str, role: str, practice: str) -> Row:
    currency = CURRENCY_OF[entity]
    hired = _day_between(rng, date(2023, 1, 2), date(2026, 7, 15))
    cost = _to_step(nordlys.COST_RATES[role] / USD_PER_UNIT[currency] * rng.randint(92, 110) / 100, "0.50")
    costs_from = max(hired, date(2026, 1, 1)).isoformat()
    return {
        "key": f"P{number:03}",
        "worker_number": str(1000 + number),
        "name": name,
        "email": f"{name.lower().replace(' ', '.')}@nordlys.example",
        "entity": entity,
        "department": nordlys.DEPARTMENTS[PRACTICES.index(practice)],
        "practice": practice,
        "role": role,
        "hired_on": hired.isoformat(),
        "terminated_on": None,
        "weekly_hours": 40,
        "cost_rates": [{"amount": _money(cost), "currency": currency, "valid_from": costs_from}],
    }


def draw_customers(rng: random.Random) -> list[Row]:
    """Return the 17 customers: one of the French has no tax id, and one is Swiss, where nobody of us may sell."""
    places = [("US", "USD")] * 4 + [("CA", "USD"), ("US", "GBP")]  # the last one buys from London
    places += [(country, "EUR") for country in ("DE", "DE", "DE", "FR", "FR", "NL", "AT")]
    places += [(country, "GBP") for country in ("GB", "GB", "IE", "CH")]
    rng.shuffle(places)
    names = rng.sample(nordlys.CUSTOMER_NAMES, len(places))
    customers = [
        _customer(rng, number, name, country, currency)
        for number, (name, (country, currency)) in enumerate(zip(names, places, strict=True), start=1)
    ]
    rng.choice(_in(customers, "FR"))["tax_id"] = None
    rng.choice(_in(customers, "US"))["tax_id"] = None
    parent, subsidiary = _group(customers)
    name = f"{parent['name']} {SUBSIDIARY}"
    subsidiary |= {"name": name, "legal_name": f"{name} GmbH", "billing_email": parent["billing_email"]}
    subsidiary["industry"] = parent["industry"]
    return customers


def _group(customers: Sequence[Row]) -> tuple[Row, Row]:
    """Return the customer that buys in two countries: the American parent and its German subsidiary."""
    parent = next(customer for customer in _in(customers, "US") if customer["currency"] == "USD")
    return parent, _in(customers, "DE")[0]


def _customer(rng: random.Random, number: int, name: str, country: str, currency: str) -> Row:
    tax_id = "".join(str(rng.randint(1, 9)) if sign == "#" else sign for sign in nordlys.TAX_IDS[country])
    return {
        "key": f"C{number:02}",
        "name": name,
        "legal_name": f"{name} {nordlys.LEGAL_FORMS[country]}",
        "country": country,
        "region": rng.choice(nordlys.REGIONS[country]),
        "tax_id": tax_id,
        "currency": currency,
        "payment_terms_days": rng.choice((30, 30, 45, 60)),
        "billing_email": f"payables@{name.lower().replace(' ', '-')}.example",
        "industry": rng.choice(nordlys.INDUSTRIES),
    }


def _in(customers: Iterable[Row], country: str) -> list[Row]:
    return [customer for customer in customers if customer["country"] == country]


# Deals


def draw_blueprints(rng: random.Random) -> dict[str, Blueprint]:
    """Return what each of the 24 new won deals is to be, by deal code; together they make 25 projects."""
    time = _twisted(rng, [Blueprint("time", (entity,)) for entity in ["US01"] * 5 + ["DE01"] * 3 + ["UK01"] * 3],
                    ("overrun", "roomy", "unrated"))  # fmt: skip
    untaxed = Blueprint("time", ("DE01",), "untaxed")
    data = _twisted(rng, [Blueprint("data", (e,)) for e in ("US01", "US01", "DE01", "UK01")], ("waiting",))
    tech = _twisted(rng, [Blueprint("tech", (entity,)) for entity in ("US01", "DE01")], ("overtime",))
    travel = [Blueprint("travel", (entity,)) for entity in ("US01", "DE01", "DE01", "UK01")]
    rest = [Blueprint("retainer", ("UK01",)), Blueprint("two_countries", ("US01", "DE01"))]
    plans = [*time, untaxed, *data, *tech, *travel, *rest]
    rng.shuffle(plans)
    return {f"D{number:02}": plan for number, plan in enumerate(plans, start=1)}


def _twisted(rng: random.Random, plans: Sequence[Blueprint], twists: Sequence[str]) -> list[Blueprint]:
    """Give each twist to another of the blueprints."""
    chosen = dict(zip(rng.sample(range(len(plans)), len(twists)), twists, strict=True))
    return [replace(plan, twist=chosen.get(position, "")) for position, plan in enumerate(plans)]


def draw_deals(rng: random.Random, plans: Mapping[str, Blueprint], customers: Sequence[Row]) -> list[Row]:
    """Return the new won deals with lines and milestones; rates and the value of time come later."""
    buyers = {entity: _buyers(rng, customers, entity) for entity in HEADCOUNT}
    turns = dict.fromkeys(HEADCOUNT, 0)
    untaxed = next(customer for customer in _in(customers, "FR") if customer["tax_id"] is None)
    deals = []
    for code, plan in plans.items():
        entity = plan.entities[0]
        if plan.kind == "two_countries":
            bill_to = list(_group(customers))
        elif plan.twist == "untaxed":
            bill_to = [untaxed]
        else:  # in turn, so that every customer buys something
            bill_to = [buyers[entity][turns[entity] % len(buyers[entity])]]
            turns[entity] += 1
        deals.append(_deal(rng, code, plan, bill_to))
    return deals


def _buyers(rng: random.Random, customers: Sequence[Row], entity: str) -> list[Row]:
    """Return, in any order, the customers this entity sells to in its own currency without a question of tax."""
    buyers = [
        customer
        for customer in customers
        if customer["currency"] == CURRENCY_OF[entity]
        and customer["country"] != "CH"
        and (customer["country"] != "FR" or customer["tax_id"])
    ]
    return rng.sample(buyers, len(buyers))


def _deal(rng: random.Random, code: str, plan: Blueprint, bill_to: Sequence[Row]) -> Row:
    won = _weekday_from(_day_between(rng, date(2026, 7, 1), date(2026, 7, 28)))
    # A retainer's fee is for whole months, so it starts on the first.
    starts = date(2026, 8, 1 if plan.kind == "retainer" else rng.choice((1, 1, 3, 10)))
    ends = rng.choice((date(2026, 12, 31), date(2027, 1, 31), date(2027, 3, 31)))
    lines = _lines(rng, code, plan, bill_to, ends)
    return {
        "key": code,
        "code": code,
        "name": f"{bill_to[0]['name']} {rng.choice(nordlys.SUBJECTS[plan.kind])}",
        "customer": bill_to[0]["key"],
        "type": "new",
        "amends": None,
        "stage": "won",
        "won_on": won.isoformat(),
        "starts_on": starts.isoformat(),
        "ends_on": ends.isoformat(),
        "currency": CURRENCY_OF[plan.entities[0]],
        "amount": "0.00",
        "po_number": f"PO-{rng.randint(10000, 99999)}",
        "lines": lines,
        "rates": [],
        "milestones": _milestones(rng, code, plan, lines[0]) if plan.kind in nordlys.MILESTONES else [],
    }


def _lines(rng: random.Random, code: str, plan: Blueprint, bill_to: Sequence[Row], ends: date) -> list[Row]:
    package = {"data": "DATA-FF", "tech": "TECH-FF", "retainer": "RETAIN"}.get(plan.kind)
    package = package or rng.choice(("ADV-TM", "TECH-TM"))
    lines = [
        _line(f"{code}-L{number}", package, entity, buyer["key"])
        for number, (entity, buyer) in enumerate(zip(plan.entities, bill_to, strict=True), start=1)
    ]
    if plan.kind in nordlys.MILESTONES:
        lines[0]["amount"] = _money(1000 * rng.randrange(60, 241, 10))
    elif plan.kind == "retainer":
        months = (ends.year - 2026) * 12 + ends.month - 7
        fee = {"monthly_fee": "10000.00", "included_hours": "50", "overage_rate": "220.00"}
        lines[0] |= fee | {"amount": _money(10000 * months)}
    elif plan.kind == "travel":
        travel = _line(f"{code}-L2", "TRAVEL", plan.entities[0], bill_to[0]["key"])
        amount = _money(1000 * rng.randint(30, 60))
        lines.append(travel | {"amount": amount, "markup_share": rng.choice(("0.05", "0.10"))})
    return lines


def _line(key: str, package: str, entity: str, bill_to: str) -> Row:
    return {
        "key": key,
        "package": package,
        "billing_method": nordlys.METHOD_OF[package],
        "amount": "0.00",
        "legal_entity": entity,
        "currency": CURRENCY_OF[entity],
        "bill_to": bill_to,
        "cap": None,
        "estimated_hours": None,
        "monthly_fee": None,
        "included_hours": None,
        "overage_rate": None,
        "markup_share": None,
    }


def _milestones(rng: random.Random, code: str, plan: Blueprint, line: Row) -> list[Row]:
    """Return three milestones: one reached in August, one in September or October, one at the end of October or later.

    The waiting deal's second one is completed on 18 September and signed only on 12 October; its third is not reached.
    """
    waiting = plan.twist == "waiting"
    reached = [
        _midweek(rng, "2026-08"),
        date(2026, 9, 18) if waiting else _midweek(rng, rng.choice(("2026-09", "2026-10"))),
        None if waiting or rng.random() < 0.6 else date(2026, 10, rng.choice((27, 28, 29))),
    ]
    shares = rng.choice(((30, 40, 30), (25, 50, 25), (20, 50, 30)))
    required = [plan.kind == "data" and (number == 1 or rng.random() < 0.7) for number in range(3)]
    return [
        {
            "key": f"{code}-M{number + 1}",
            "line_key": line["key"],
            "name": nordlys.MILESTONES[plan.kind][number],
            "sequence": number + 1,
            "amount": _money(Decimal(line["amount"]) * shares[number] / 100),
            "acceptance_required": required[number],
        }
        | _progress(rng, reached[number], required[number], late=waiting and number == 1)
        for number in range(3)
    ]


def _progress(rng: random.Random, completed: date | None, required: bool, late: bool) -> Row:
    """Return the milestone's planned, completed and signed days and who signed: the day after, or late."""
    if completed is None:
        planned = date(2026, 12, rng.randint(1, 18))
        return {"planned_on": planned.isoformat(), "completed_on": None, "signed_on": None, "signed_by": None}
    planned = completed + timedelta(days=rng.randint(-6, 3))
    signed = date(2026, 10, 12) if late else completed + timedelta(days=1)
    signer = f"{rng.choice(nordlys.FIRST_NAMES)} {rng.choice(nordlys.LAST_NAMES)}"
    return {
        "planned_on": planned.isoformat(),
        "completed_on": completed.isoformat(),
        "signed_on": signed.isoformat() if required else None,
        "signed_by": signer if required else None,
    }


def _midweek(rng: random.Random, month: str) -> date:
    """Return a Monday to Thursday in the middle of the month: the next day is a weekday of the same month."""
    first = date.fromisoformat(f"{month}-01")
    days = [first + timedelta(days=number) for number in range(7, 24)]
    return rng.choice([day for day in days if day.weekday() < 4])


def draw_side_deals(
    rng: random.Random,
    plans: Mapping[str, Blueprint],
    deals: Sequence[Row],
    customers: Sequence[Row],
    added_cap: Decimal,
) -> list[Row]:
    """Return the deals that make no project: the change order, a sale into Switzerland, four open and two lost ones."""
    code, swiss_code, *other_codes = (f"D{number:02}" for number in range(len(deals) + 1, len(deals) + 9))
    amended = next(deal for deal in deals if plans[deal["code"]].twist == "overrun")
    invalid = _deal(rng, swiss_code, Blueprint("time", ("UK01",)), _in(customers, "CH"))
    stages = ["open", "open", "proposal", "proposal", "lost", "lost"]
    rng.shuffle(stages)
    others = [_unwon_deal(rng, code, stage, customers) for code, stage in zip(other_codes, stages, strict=True)]
    for deal in [invalid, *others]:
        deal["lines"][0]["amount"] = _money(1000 * rng.randint(40, 160))
        deal["amount"] = _total(deal)
        _rate_lines(rng, deal, {("Consultant", deal["currency"]), ("Principal", deal["currency"])}, raised=False)
    return [_change_order(code, amended, added_cap), invalid, *others]


def _unwon_deal(rng: random.Random, code: str, stage: str, customers: Sequence[Row]) -> Row:
    entity = rng.choice(list(HEADCOUNT))
    buyer = _buyers(rng, customers, entity)[0]
    deal = _deal(rng, code, Blueprint(rng.choice(("time", "travel")), (entity,)), [buyer])
    starts = date(2026, 11, 2) + timedelta(days=7 * rng.randrange(6))
    return deal | {"stage": stage, "won_on": None, "starts_on": starts.isoformat(), "ends_on": "2027-06-30"}


def _change_order(code: str, amended: Row, added_cap: Decimal) -> Row:
    """Return the order that raises the cap of the amended deal's only line by this much; the rates stay."""
    added = _money(added_cap)
    return amended | {
        "key": code,
        "code": code,
        "name": f"{amended['name']} - extension",
        "type": "change_order",
        "amends": amended["code"],
        "won_on": nordlys.CHANGE_ORDER_DAY.isoformat(),
        "starts_on": nordlys.CHANGE_ORDER_DAY.isoformat(),
        "amount": added,
        "po_number": f"{amended['po_number']}-A",
        "lines": [amended["lines"][0] | {"key": f"{code}-L1", "amount": added, "cap": added}],
        "rates": [],
        "milestones": [],
    }


# Projects, rates and values


def draw_projects(
    rng: random.Random, plans: Mapping[str, Blueprint], deals: Sequence[Row], people: Sequence[Row]
) -> list[Row]:
    """Return one project per deal and legal entity, staffed from that entity's own people."""
    projects = [
        _project(deal, entity, plans[deal["code"]]) for deal in deals for entity in plans[deal["code"]].entities
    ]
    practice = {deal["code"]: nordlys.PRACTICE_OF[deal["lines"][0]["package"]] for deal in deals}
    for entity in HEADCOUNT:
        team = [person for person in people if person["entity"] == entity]
        theirs = [project for project in projects if project["entity"] == entity]
        for person in team:  # everybody gets three to five projects, most of them of the own practice
            taste = {p["code"]: rng.random() + 0.4 * (practice[p["deal"]] != person["practice"]) for p in theirs}
            for project in sorted(theirs, key=lambda project: taste[project["code"]])[: rng.choice((3, 4, 4, 5))]:
                _join(rng, project, person)
        for project in theirs:
            _complete_staff(rng, project, team, plans[project["deal"]])
    return projects


def _project(deal: Row, entity: str, plan: Blueprint) -> Row:
    suffix = f" ({entity[:2]})" if len(plan.entities) > 1 else ""
    return {
        "code": f"{deal['code']}-{entity}",
        "deal": deal["code"],
        "entity": entity,
        "currency": CURRENCY_OF[entity],
        "name": deal["name"] + suffix,
        "manager": "",
        "phases": list(nordlys.PHASES_OF[deal["lines"][0]["package"]]),
        "staff": [],
    }


def _complete_staff(rng: random.Random, project: Row, team: Sequence[Row], plan: Blueprint) -> None:
    """Add who is missing: a lead who stays, an Analyst where no rate is agreed, enough people; name the manager."""
    leads = [p for p in team if p["role"] in nordlys.LEADING_ROLES and p["terminated_on"] is None]
    analysts = [person for person in team if person["role"] == "Analyst"]
    staying = [person for person in team if person["terminated_on"] is None]
    enough = 6 if plan.kind == "retainer" else 3
    for pool, wanted in ((leads, 1), (analysts, int(plan.twist == "unrated")), (staying, enough)):
        members = {member["person"] for member in project["staff"]}
        absent = [person for person in pool if person["key"] not in members]
        missing = wanted - (len(pool) - len(absent))
        for person in rng.sample(absent, max(missing, 0)):
            _join(rng, project, person)
    members = {member["person"] for member in project["staff"]}
    project["manager"] = min((p for p in leads if p["key"] in members), key=lambda p: ROLES.index(p["role"]))["key"]
    project["staff"].sort(key=lambda member: str(member["person"]))


def _join(rng: random.Random, project: Row, person: Row) -> None:
    minutes = 60 * rng.randrange(80, 141, 5)
    project["staff"].append({"person": person["key"], "role": person["role"], "planned_minutes": minutes})


def draw_rates(
    rng: random.Random, plans: Mapping[str, Blueprint], deals: Sequence[Row], projects: Sequence[Row]
) -> None:
    """Give every T&M deal a rate line per role used (and currency); five deals are raised on 1 October."""
    ordinary = [code for code, plan in plans.items() if plan.kind in ("time", "travel") and not plan.twist]
    raised = rng.sample(ordinary, 5)
    for deal in deals:
        plan = plans[deal["code"]]
        if plan.kind in ("time", "travel", "two_countries"):
            used = {(m["role"], p["currency"]) for p in projects if p["deal"] == deal["code"] for m in p["staff"]}
            if plan.twist == "unrated":
                used = {(role, currency) for role, currency in used if role != "Analyst"}
            _rate_lines(rng, deal, used, raised=deal["code"] in raised)


def _rate_lines(rng: random.Random, deal: Row, used: Iterable[tuple[str, str]], raised: bool) -> None:
    """Fill the deal's rate lines: whole currency units an hour, from 1 January, raised ones anew from 1 October."""
    for role, currency in sorted(used, key=lambda pair: (pair[1], ROLES.index(pair[0]))):
        rate = _to_step(nordlys.BILL_RATES[role] / USD_PER_UNIT[currency] * rng.randint(90, 115) / 100, "5")
        first = {"role": role, "rate": _money(rate), "currency": currency, "valid_from": "2026-01-01", "valid_to": None}
        lines = [first]
        if raised:
            first["valid_to"] = (nordlys.RAISE_DAY - timedelta(days=1)).isoformat()
            new_rate = _to_step(rate * rng.randint(104, 108) / 100, "1")
            lines.append(
                first | {"rate": _money(new_rate), "valid_from": nordlys.RAISE_DAY.isoformat(), "valid_to": None}
            )
        for line in lines:
            deal["rates"].append({"key": f"{deal['code']}-R{len(deal['rates']) + 1}"} | line)


def rate_on(deal: Row, role: str, currency: str, day: str) -> Decimal | None:
    """Return what an hour of this role costs the customer on the day, or None when nothing was agreed."""
    in_force = [
        rate
        for rate in deal["rates"]
        if (rate["role"], rate["currency"]) == (role, currency)
        and rate["valid_from"] <= day <= (rate["valid_to"] or "9999-12-31")
    ]
    return max(((rate["valid_from"], Decimal(rate["rate"])) for rate in in_force), default=(None, None))[1]


def set_values(
    plans: Mapping[str, Blueprint], deals: Sequence[Row], projects: Sequence[Row], time: Sequence[Row]
) -> Decimal:
    """Fill amounts, caps and estimates that follow from the time booked; return the cap the change order must add."""
    added_cap = Decimal(0)
    for deal in deals:
        plan = plans[deal["code"]]
        for project in (project for project in projects if project["deal"] == deal["code"]):
            line = next(line for line in deal["lines"] if line["legal_entity"] == project["entity"])
            entries = [entry for entry in time if entry["project"] == project["code"]]
            if plan.kind in nordlys.MILESTONES:
                line["estimated_hours"] = _estimate(project, entries, overtime=plan.twist == "overtime")
            elif plan.kind != "retainer":
                worth = _worth(deal, project, entries)
                line["amount"] = _money(_to_step(worth * Decimal("1.30"), "1000", ROUND_CEILING))
                if plan.twist == "overrun":
                    august = [entry for entry in entries if entry["approved_in"] == "2026-08"]
                    cap = _to_step(_worth(deal, project, august) * Decimal("0.70"), "1000", ROUND_FLOOR)
                    line["amount"] = line["cap"] = _money(cap)
                    added_cap = _to_step(worth * Decimal("1.10") - cap, "1000", ROUND_CEILING)
                if plan.twist == "roomy":
                    line["cap"] = line["amount"]
        deal["amount"] = _total(deal)
    return added_cap


def _worth(deal: Row, project: Row, entries: Iterable[Row]) -> Decimal:
    """Return what the billable entries are worth at the deal's rates, rounded per entry."""
    worth = Decimal(0)
    for entry in entries:
        rate = rate_on(deal, entry["role"], project["currency"], entry["date"])
        if entry["billable"] and rate is not None:
            worth += _to_step(entry["minutes"] * rate / 60, "0.01")
    return worth


def _estimate(project: Row, entries: Iterable[Row], overtime: bool) -> str:
    """Return the estimated hours of a fixed fee: used up in October when overtime, else about three quarters used."""
    minutes = sum(entry["minutes"] for entry in entries)
    share = Decimal("1.06") if overtime else Decimal("0.74")
    return str(int(_to_step(Decimal(minutes) / 60 / share, "10")))


def _total(deal: Row) -> str:
    """Return the sum of the lines, foreign ones converted at the firm's planning rate to whole units."""
    total = Decimal(0)
    for line in deal["lines"]:
        amount = Decimal(line["amount"])
        if line["currency"] != deal["currency"]:
            exchange = USD_PER_UNIT[line["currency"]] / USD_PER_UNIT[deal["currency"]]
            amount = _to_step(amount * exchange, "1")
        total += amount
    return _money(total)


# Money received, corrected and broken


def draw_corrections(
    rng: random.Random,
    plans: Mapping[str, Blueprint],
    deals: Sequence[Row],
    projects: Sequence[Row],
    time: Sequence[Row],
) -> tuple[Row, list[Row]]:
    """Return the credit of four hours and the three planted breaks, each on another ordinary T&M deal."""
    by_code = {deal["code"]: deal for deal in deals}
    ordinary = {p["code"]: p for p in projects if plans[p["deal"]].kind == "time" and not plans[p["deal"]].twist}
    # American invoices carry no tax: a raised line changes the total by exactly as much.
    raised = rng.choice([code for code, project in ordinary.items() if project["entity"] == "US01"])
    enough = [code for code, project in ordinary.items() if _first_line_minutes(by_code, project, time) >= 480]
    credited = rng.choice([code for code in enough if code != raised])
    missing, reopened = rng.sample([code for code in ordinary if code not in (raised, credited)], 2)
    billed = [
        entry["key"]
        for entry in time
        if entry["project"] == missing and entry["approved_in"] == "2026-08" and entry["billable"]
    ]
    planted: list[Row] = [
        {
            "kind": "amount",
            "system": "netsuite",
            "invoice": f"{raised}-2026-10",
            "note": "accounts receivable raised the first line by 100.00 behind the hub's back",
        },
        {
            "kind": "missing",
            "system": "kantata",
            "time": rng.choice(billed),
            "note": "a billed time entry was deleted in the PSA",
        },
        {
            "kind": "status",
            "system": "salesforce",
            "deal": ordinary[reopened]["deal"],
            "note": "a seller moved a won deal back to Negotiation",
        },
    ]
    return {"invoice": f"{credited}-2026-08", "hours": "4", "month": "2026-09"}, planted


def _first_line_minutes(deals: Mapping[str, Row], project: Row, time: Sequence[Row]) -> int:
    """Return the minutes on the first line of the project's August invoice: the first (role, rate) in order."""
    minutes: dict[tuple[str, Decimal], int] = {}
    for entry in time:
        if entry["project"] == project["code"] and entry["approved_in"] == "2026-08" and entry["billable"]:
            rate = rate_on(deals[project["deal"]], entry["role"], project["currency"], entry["date"])
            if rate is not None:
                minutes[entry["role"], rate] = minutes.get((entry["role"], rate), 0) + entry["minutes"]
    return minutes[min(minutes)]


def draw_payment_plan(
    rng: random.Random,
    plans: Mapping[str, Blueprint],
    deals: Sequence[Row],
    projects: Sequence[Row],
    time: Sequence[Row],
    expenses: Sequence[Row],
    disputed: str,
) -> dict[str, Row]:
    """Return which invoices dated in August and September are paid the month after: three quarters, a tenth by half.

    An invoice that is not in the plan stays open; so does the disputed one.
    """
    dated = _run_invoices(plans, deals, projects, time, expenses) | _milestone_invoices(deals)
    codes = sorted(code for code in dated if code != disputed)
    rng.shuffle(codes)
    full, half = round(len(dated) * 0.75), round(len(dated) * 0.10)
    following = dict(pairwise(MONTHS))
    return {
        code: {"paid_in": following[dated[code]], "share": "1" if place < full else "0.5"}
        for place, code in enumerate(codes[: full + half])
    }


def _run_invoices(
    plans: Mapping[str, Blueprint],
    deals: Sequence[Row],
    projects: Sequence[Row],
    time: Sequence[Row],
    expenses: Sequence[Row],
) -> dict[str, str]:
    """Return the run invoices of August and September, code to month: something is billed for sure."""
    by_code = {deal["code"]: deal for deal in deals}
    kinds = {project["code"]: plans[project["deal"]] for project in projects}
    billed = {(code, month) for code, plan in kinds.items() if plan.kind == "retainer" for month in MONTHS}
    for entry in time:
        deal = by_code[entry["project"].split("-")[0]]
        currency = CURRENCY_OF[entry["project"].split("-")[1]]
        if entry["billable"] and rate_on(deal, entry["role"], currency, entry["date"]) is not None:
            billed.add((entry["project"], entry["approved_in"]))
    for expense in expenses:
        if expense["billable"] and (expense["has_receipt"] or Decimal(expense["amount"]) <= nordlys.RECEIPT_LIMIT):
            billed.add((expense["project"], expense["approved_in"]))
    return {
        f"{code}-{month}": month for code, month in billed if month in MONTHS[:2] and kinds[code].twist != "untaxed"
    }


def _milestone_invoices(deals: Iterable[Row]) -> dict[str, str]:
    """Return the milestone invoices dated before October, key to month."""
    days = {
        milestone["key"]: milestone["signed_on"] if milestone["acceptance_required"] else milestone["completed_on"]
        for deal in deals
        for milestone in deal["milestones"]
    }
    return {key: day[:7] for key, day in days.items() if day and day < "2026-10-01"}


# Days and amounts


def _day_between(rng: random.Random, first: date, last: date) -> date:
    return first + timedelta(days=rng.randrange((last - first).days + 1))


def _weekday_from(day: date) -> date:
    """Return the day, or the Monday after a weekend."""
    return day + timedelta(days=max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)


def _money(amount: Decimal | int) -> str:
    return f"{Decimal(amount):.2f}"


def _to_step(amount: Any, step: str, rounding: str = ROUND_HALF_UP) -> Decimal:
    """Return the amount as a whole multiple of the step."""
    size = Decimal(step)
    return (Decimal(amount) / size).quantize(Decimal(1), rounding) * size

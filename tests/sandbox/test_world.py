"""The demo firm holds its own rules for every seed: otherwise the story could not be played, nor its end foretold."""

import json
from collections import Counter, defaultdict
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

import pytest

from trueup.sandbox.world import firm, rate_on

SEEDS = range(1, 21)
every_seed = pytest.mark.parametrize("seed", SEEDS)
Row = dict[str, Any]


@cache
def made(seed: int) -> Row:
    return firm(seed)


@cache
def by(seed: int, table: str, key: str = "key") -> dict[str, Row]:
    return {row[key]: row for row in made(seed)[table]}


def new_won(seed: int) -> list[Row]:
    """The won deals of type new that pass validation."""
    return [
        deal for deal in made(seed)["deals"] if deal["stage"] == "won" and deal["type"] == "new" and valid(seed, deal)
    ]


def valid(seed: int, deal: Row) -> bool:
    entities, packages = by(seed, "entities", "code"), by(seed, "packages", "code")
    return all(
        by(seed, "customers")[line["bill_to"]]["country"] in entities[line["legal_entity"]]["nexus"]
        and line["currency"] == entities[line["legal_entity"]]["currency"]
        and packages[line["package"]]["billing_method"] == line["billing_method"]
        for line in deal["lines"]
    )


def kind(deal: Row) -> str:
    packages = sorted({line["package"] for line in deal["lines"]})
    entities = {line["legal_entity"] for line in deal["lines"]}
    if len(entities) > 1:
        return "two countries"
    if "TRAVEL" in packages:
        return "travel"
    return "time" if packages[0] in ("ADV-TM", "TECH-TM") else str(packages[0])


def deal_of(seed: int, project: str) -> Row:
    return by(seed, "deals")[by(seed, "projects", "code")[project]["deal"]]


def worth(seed: int, entry: Row) -> Decimal | None:
    """What a billable T&M entry brings, or None without a rate."""
    project = by(seed, "projects", "code")[entry["project"]]
    rate = agreed(seed, project["code"], entry["role"], entry["date"])
    return None if rate is None else (entry["minutes"] * rate / 60).quantize(Decimal("0.01"), ROUND_HALF_UP)


@cache
def agreed(seed: int, project: str, role: str, day: str) -> Decimal | None:
    return rate_on(deal_of(seed, project), role, by(seed, "projects", "code")[project]["currency"], day)


def capped(seed: int) -> list[Row]:
    return [deal for deal in new_won(seed) if deal["lines"][0]["cap"]]


def billable_of(seed: int, deal: Row, month: str = "") -> Decimal:
    entries = (e for e in made(seed)["time"] if e["project"].startswith(deal["code"]) and e["billable"])
    return sum(
        (worth(seed, e) or Decimal(0) for e in entries if (e["approved_in"] or "").startswith(month)), Decimal(0)
    )


# The whole


@pytest.mark.parametrize("seed", [1, 7, 20])
def test_the_same_seed_gives_the_same_firm_in_plain_json(seed: int) -> None:
    assert json.dumps(firm(seed)) == json.dumps(made(seed))
    assert json.loads(json.dumps(made(seed))) == made(seed)


def test_different_seeds_give_different_firms() -> None:
    assert len({json.dumps(made(seed)) for seed in SEEDS}) == len(SEEDS)


@every_seed
def test_the_firm_has_the_size_that_was_promised(seed: int) -> None:
    world = made(seed)
    assert len(world["people"]) == 40
    assert len(world["projects"]) == 25
    assert 8500 <= len(world["time"]) <= 9500
    assert 550 <= len(world["expenses"]) <= 650
    assert len({line["report"] for line in world["expenses"]}) == 70
    assert 15 <= len(world["customers"]) <= 18


@every_seed
def test_keys_are_unique_and_rise_with_the_day(seed: int) -> None:
    world = made(seed)
    for table in ("people", "customers", "deals", "time", "expenses"):
        assert len(by(seed, table)) == len(world[table])
    assert [(e["date"], e["key"]) for e in world["time"]] == sorted((e["date"], e["key"]) for e in world["time"])
    assert len({person["email"] for person in world["people"]}) == 40
    assert len({person["worker_number"] for person in world["people"]}) == 40


# People and customers


@every_seed
def test_people_work_where_the_firm_says(seed: int) -> None:
    people = made(seed)["people"]
    assert Counter(person["entity"] for person in people) == {"US01": 16, "DE01": 14, "UK01": 10}
    assert [p["terminated_on"] for p in people if p["terminated_on"]] == ["2026-09-15"]
    assert Counter(person["weekly_hours"] for person in people) == {40: 38, 24: 2}
    assert sum(len(person["cost_rates"]) == 2 for person in people) == 10
    for person in people:
        assert "2023-01-01" <= person["hired_on"] <= "2026-07-31"
        assert person["cost_rates"][0]["valid_from"] <= "2026-08-01"
        assert [rate["valid_from"] for rate in person["cost_rates"][1:]] in ([], ["2026-09-01"])
        assert {rate["currency"] for rate in person["cost_rates"]} == {
            by(seed, "entities", "code")[person["entity"]]["currency"]
        }


@every_seed
def test_one_french_customer_has_no_tax_id_and_one_won_deal(seed: int) -> None:
    french = [c for c in made(seed)["customers"] if c["country"] == "FR"]
    (untaxed,) = [customer["key"] for customer in french if customer["tax_id"] is None]
    billed = [deal for deal in made(seed)["deals"] if untaxed in {line["bill_to"] for line in deal["lines"]}]
    assert [(kind(deal), deal["stage"], deal["lines"][0]["legal_entity"]) for deal in billed] == [
        ("time", "won", "DE01")
    ]
    europeans = [c for c in made(seed)["customers"] if c["country"] in ("NL", "AT") or c in french]
    assert [c["key"] for c in europeans if c["tax_id"] is None] == [untaxed]


# Deals


@every_seed
def test_the_deals_are_of_the_promised_kinds(seed: int) -> None:
    deals = made(seed)["deals"]
    kinds = Counter(kind(deal) for deal in new_won(seed))
    assert kinds == {"time": 12, "travel": 4, "DATA-FF": 4, "TECH-FF": 2, "RETAIN": 1, "two countries": 1}
    assert Counter(deal["stage"] for deal in deals) == {"won": 26, "open": 2, "proposal": 2, "lost": 2}
    (invalid,) = [deal for deal in deals if deal["stage"] == "won" and not valid(seed, deal)]
    assert [line["legal_entity"] for line in invalid["lines"]] == ["UK01"]
    assert by(seed, "customers")[invalid["customer"]]["country"] == "CH"
    assert all(deal["won_on"] < "2026-08-01" for deal in [*new_won(seed), invalid])
    assert all(deal["starts_on"] <= "2026-08-10" and deal["ends_on"] > "2026-10-31" for deal in new_won(seed))


@every_seed
def test_a_deal_is_worth_its_lines(seed: int) -> None:
    for deal in made(seed)["deals"]:
        assert deal["key"] == deal["code"]
        assert [line["key"] for line in deal["lines"]] == [
            f"{deal['code']}-L{n + 1}" for n in range(len(deal["lines"]))
        ]
        assert all(Decimal(line["amount"]) > 0 for line in deal["lines"])
        if {line["currency"] for line in deal["lines"]} == {deal["currency"]}:
            assert sum(Decimal(line["amount"]) for line in deal["lines"]) == Decimal(deal["amount"])
        assert deal["customer"] == deal["lines"][0]["bill_to"]


@every_seed
def test_one_statement_of_work_is_sold_by_two_entities(seed: int) -> None:
    (deal,) = [deal for deal in new_won(seed) if kind(deal) == "two countries"]
    sold = [
        (line["legal_entity"], line["currency"], by(seed, "customers")[line["bill_to"]]["country"])
        for line in deal["lines"]
    ]
    assert sold == [("US01", "USD", "US"), ("DE01", "EUR", "DE")]
    parent, subsidiary = (by(seed, "customers")[line["bill_to"]]["name"] for line in deal["lines"])
    assert subsidiary == f"{parent} Deutschland"
    assert [p["code"] for p in made(seed)["projects"] if p["deal"] == deal["code"]] == [
        f"{deal['code']}-US01",
        f"{deal['code']}-DE01",
    ]


@every_seed
def test_the_retainer_and_the_travel_lines_have_their_terms(seed: int) -> None:
    (retainer,) = [deal["lines"][0] for deal in new_won(seed) if kind(deal) == "RETAIN"]
    terms = (retainer["monthly_fee"], retainer["included_hours"], retainer["overage_rate"])
    assert terms == ("10000.00", "50", "220.00")
    travel = [line for deal in new_won(seed) for line in deal["lines"] if line["package"] == "TRAVEL"]
    assert len(travel) == 4
    assert {line["markup_share"] for line in travel} <= {"0.05", "0.10"}


@every_seed
def test_one_cap_is_overrun_in_august_and_raised_enough_in_september(seed: int) -> None:
    deals = {bool(billable_of(seed, deal) > Decimal(deal["lines"][0]["cap"])): deal for deal in capped(seed)}
    assert set(deals) == {True, False}
    overrun = deals[True]
    cap = Decimal(overrun["lines"][0]["cap"])
    assert 0 < cap < billable_of(seed, overrun, "2026-08")
    (order,) = [deal for deal in made(seed)["deals"] if deal["type"] == "change_order"]
    (line,) = order["lines"]
    assert (order["amends"], order["won_on"], order["rates"]) == (overrun["code"], "2026-09-15", [])
    assert line["billing_method"] == overrun["lines"][0]["billing_method"]
    assert line["cap"] == line["amount"] == order["amount"]
    assert billable_of(seed, overrun) <= cap + Decimal(line["cap"])
    assert order["code"] not in {project["deal"] for project in made(seed)["projects"]}


# Rates


@every_seed
def test_every_role_used_has_a_rate_but_for_one_analyst(seed: int) -> None:
    missing = {
        (entry["project"], entry["role"])
        for entry in made(seed)["time"]
        if kind(deal_of(seed, entry["project"])) in ("time", "travel", "two countries") and worth(seed, entry) is None
    }
    ((project, role),) = missing
    assert role == "Analyst"
    booked = [e for e in made(seed)["time"] if (e["project"], e["role"]) == (project, role) and e["billable"]]
    assert {entry["approved_in"] for entry in booked} >= set(made(seed)["months"])


@every_seed
def test_rates_are_whole_and_follow_each_other_without_a_gap(seed: int) -> None:
    raised = 0
    for deal in new_won(seed):
        lines: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for rate in deal["rates"]:
            assert Decimal(rate["rate"]) == int(Decimal(rate["rate"])) > 0
            lines[rate["role"], rate["currency"]].append(rate)
        for first, *more in lines.values():
            assert first["valid_from"] == "2026-01-01"
            assert first["valid_to"] == ("2026-09-30" if more else None)
            assert [(rate["valid_from"], rate["valid_to"]) for rate in more] in ([], [("2026-10-01", None)])
            assert all(Decimal(rate["rate"]) > Decimal(first["rate"]) for rate in more)
        raised += any(len(rates) == 2 for rates in lines.values())
    assert raised == 5


# Milestones


@every_seed
def test_milestones_share_out_the_fee_and_are_signed_the_day_after_but_for_one(seed: int) -> None:
    late, unreached = [], 0
    for deal in new_won(seed):
        milestones = deal["milestones"]
        assert (len(milestones) == 3) == (kind(deal) in ("DATA-FF", "TECH-FF"))
        if milestones:
            assert sum(Decimal(one["amount"]) for one in milestones) == Decimal(deal["lines"][0]["amount"])
            assert deal["lines"][0]["estimated_hours"]
        for one in milestones:
            completed, signed = one["completed_on"], one["signed_on"]
            unreached += completed is None
            assert completed is None or completed <= "2026-10-31"
            assert (signed is not None) == (completed is not None and one["acceptance_required"])
            assert (one["signed_by"] is None) == (signed is None)
            assert kind(deal) == "DATA-FF" or not one["acceptance_required"]
            if signed and date.fromisoformat(signed) - date.fromisoformat(completed) != timedelta(days=1):
                late.append((one["sequence"], completed, signed))
    assert late == [(2, "2026-09-18", "2026-10-12")]
    assert unreached >= 1


@every_seed
def test_one_fixed_fee_uses_its_hours_up_and_the_other_does_not(seed: int) -> None:
    used = []
    for deal in (deal for deal in new_won(seed) if kind(deal) == "TECH-FF"):
        minutes = sum(
            e["minutes"] for e in made(seed)["time"] if e["project"].startswith(deal["code"]) and e["approved_in"]
        )
        used.append(minutes / 60 >= int(deal["lines"][0]["estimated_hours"]))
    assert sorted(used) == [False, True]


# Projects, time and expenses


@every_seed
def test_projects_are_one_per_deal_and_entity_and_staffed_from_it(seed: int) -> None:
    wanted = {f"{deal['code']}-{line['legal_entity']}" for deal in new_won(seed) for line in deal["lines"]}
    assert set(by(seed, "projects", "code")) == wanted
    people = by(seed, "people")
    for project in made(seed)["projects"]:
        staff = {member["person"]: member for member in project["staff"]}
        assert project["manager"] in staff
        assert people[project["manager"]]["terminated_on"] is None
        assert len(staff) == len(project["staff"]) >= 3
        assert all(people[key]["entity"] == project["entity"] for key in staff)
        assert all(member["role"] == people[member["person"]]["role"] for member in staff.values())
        package = deal_of(seed, project["code"])["lines"][0]["package"]
        assert project["phases"] == by(seed, "packages", "code")[package]["phases"]


@every_seed
def test_time_is_booked_by_staff_on_working_days_within_reason(seed: int) -> None:
    days: Counter[tuple[str, str]] = Counter()
    people, projects = by(seed, "people"), by(seed, "projects", "code")
    for entry in made(seed)["time"]:
        person, project, day = people[entry["person"]], projects[entry["project"]], date.fromisoformat(entry["date"])
        assert {"person": entry["person"], "role": entry["role"]}.items() <= next(
            member for member in project["staff"] if member["person"] == entry["person"]
        ).items()
        assert entry["phase"] in project["phases"]
        assert person["hired_on"] <= entry["date"] <= (person["terminated_on"] or "2026-10-31")
        assert entry["date"] >= deal_of(seed, entry["project"])["starts_on"]
        assert day.weekday() < 5
        assert entry["minutes"] > 0
        assert entry["minutes"] % 15 == 0
        year, week, _ = day.isocalendar()
        assert entry["sheet"] == f"{entry['person']}-{year}-W{week:02}"
        days[entry["person"], entry["date"]] += entry["minutes"]
    assert max(days.values()) <= 8 * 60
    share = sum(not entry["billable"] for entry in made(seed)["time"]) / len(made(seed)["time"])
    assert 0.03 <= share <= 0.05


@every_seed
def test_part_timers_work_at_most_three_days_a_week(seed: int) -> None:
    short = {person["key"] for person in made(seed)["people"] if person["weekly_hours"] == 24}
    days = {(entry["sheet"], entry["date"]) for entry in made(seed)["time"] if entry["person"] in short}
    assert max(Counter(sheet for sheet, _ in days).values()) <= 3


@every_seed
def test_some_september_time_is_late_and_some_october_time_never_approved(seed: int) -> None:
    late, stuck = [], []
    for entry in made(seed)["time"]:
        month = entry["date"][:7]
        if entry["submitted_in"] != month:
            assert (month, entry["submitted_in"], entry["approved_in"]) == ("2026-09", "2026-10", "2026-10")
            late.append(entry)
        elif entry["approved_in"] is None:
            assert month == "2026-10"
            stuck.append(entry)
        else:
            assert entry["approved_in"] == month
    assert 50 <= len(late) <= 70
    assert len({entry["person"] for entry in late}) == 3
    assert 32 <= len(stuck) <= 48
    assert any(worth(seed, entry) for entry in late)
    assert any(worth(seed, entry) for entry in stuck)


@every_seed
def test_the_retainer_covers_some_hours_and_not_all(seed: int) -> None:
    (deal,) = [deal for deal in new_won(seed) if kind(deal) == "RETAIN"]
    hours: Counter[str] = Counter()
    for entry in made(seed)["time"]:
        if entry["project"].startswith(deal["code"]) and entry["billable"] and entry["approved_in"]:
            hours[entry["approved_in"]] += entry["minutes"]
    assert max(hours.values()) > 50 * 60
    assert max(hours.values()) < 200 * 60


@every_seed
def test_expenses_follow_the_rules_of_travel(seed: int) -> None:
    people, unreceipted, foreign = by(seed, "people"), [], 0
    for line in made(seed)["expenses"]:
        deal, project = deal_of(seed, line["project"]), by(seed, "projects", "code")[line["project"]]
        assert line["currency"] == project["currency"]
        assert line["person"] in {member["person"] for member in project["staff"]}
        assert people[line["person"]]["hired_on"] <= line["date"] <= (people[line["person"]]["terminated_on"] or "2027")
        assert deal["starts_on"] <= line["date"] <= "2026-10-31"
        assert not line["billable"] or kind(deal) == "travel"
        assert line["category"] in ("Airfare", "Hotel", "Meals", "Taxi", "Rail")
        assert Decimal(line["amount"]) > 0
        assert (line["amount"] == line["amount_spent"]) == (line["currency"] == line["currency_spent"])
        foreign += line["currency"] != line["currency_spent"]
        if Decimal(line["amount"]) > 25 and not line["has_receipt"]:
            unreceipted.append((line["billable"], line["approved_in"] is not None))
    assert unreceipted == [(True, True), (True, True)]
    assert 0.05 <= foreign / len(made(seed)["expenses"]) <= 0.15


@every_seed
def test_a_report_is_one_persons_month_and_one_is_never_approved(seed: int) -> None:
    reports: dict[str, list[Row]] = defaultdict(list)
    for line in made(seed)["expenses"]:
        reports[line["report"]].append(line)
    for lines in reports.values():
        assert len({(line["person"], line["date"][:7], line["approved_in"]) for line in lines}) == 1
        assert [line["line"] for line in lines] == list(range(1, len(lines) + 1))
        assert lines[0]["approved_in"] in (None, lines[0]["date"][:7])
    assert sum(lines[0]["approved_in"] is None for lines in reports.values()) == 1


# Payments, the credit and the planted breaks


def run_invoices(seed: int, month: str) -> set[str]:
    """Codes of the run invoices that month must bring, by the rules of billing."""
    codes = set()
    for project in made(seed)["projects"]:
        deal = deal_of(seed, project["code"])
        buyer = by(seed, "customers")[
            next(x for x in deal["lines"] if x["legal_entity"] == project["entity"])["bill_to"]
        ]
        entries = [e for e in made(seed)["time"] if e["project"] == project["code"] and e["approved_in"] == month]
        timed = kind(deal) in ("time", "travel", "two countries")
        bills = kind(deal) == "RETAIN" or (timed and any(e["billable"] and worth(seed, e) for e in entries))
        if bills and not (buyer["country"] == "FR" and buyer["tax_id"] is None):
            codes.add(f"{project['code']}-{month}")
    return codes


def milestone_invoices(seed: int) -> dict[str, str]:
    days = {
        one["key"]: one["signed_on"] if one["acceptance_required"] else one["completed_on"]
        for deal in new_won(seed)
        for one in deal["milestones"]
    }
    return {key: day[:7] for key, day in days.items() if day and day < "2026-10"}


@every_seed
def test_payments_are_planned_for_invoices_that_will_exist_and_the_month_after(seed: int) -> None:
    dated = milestone_invoices(seed)
    for month in ("2026-08", "2026-09"):
        dated |= dict.fromkeys(run_invoices(seed, month), month)
    plan = made(seed)["payment_plan"]
    assert set(plan) <= set(dated)
    following = {"2026-08": "2026-09", "2026-09": "2026-10"}
    assert all(payment["paid_in"] == following[dated[code]] for code, payment in plan.items())
    shares = Counter(payment["share"] for payment in plan.values())
    assert 0.70 <= shares["1"] / len(dated) <= 0.80
    assert 0.05 <= shares["0.5"] / len(dated) <= 0.15


@every_seed
def test_the_credit_and_the_planted_breaks_are_on_different_ordinary_records(seed: int) -> None:
    world, credit = made(seed), made(seed)["credit"]
    assert (credit["hours"], credit["month"]) == ("4", "2026-09")
    assert credit["invoice"] in run_invoices(seed, "2026-08")
    assert credit["invoice"] not in world["payment_plan"]
    amount, missing, status = world["planted"]
    assert (amount["kind"], missing["kind"], status["kind"]) == ("amount", "missing", "status")
    assert amount["invoice"] in run_invoices(seed, amount["invoice"][-7:])
    assert "-US01-" in amount["invoice"]
    assert world["payment_plan"].get(amount["invoice"], {"share": "1"})["share"] == "1"
    entry = by(seed, "time")[missing["time"]]
    assert entry["billable"]
    assert entry["approved_in"] == entry["date"][:7] == "2026-08"
    assert worth(seed, entry)
    assert f"{entry['project']}-2026-08" in run_invoices(seed, "2026-08")
    codes = [credit["invoice"][:3], amount["invoice"][:3], entry["project"][:3], status["deal"]]
    assert len(set(codes)) == 4
    for code in codes:
        deal = by(seed, "deals")[code]
        assert deal in new_won(seed)
        assert kind(deal) == "time"
        assert deal["lines"][0]["cap"] is None


@every_seed
def test_the_credited_invoices_first_line_has_the_hours(seed: int) -> None:
    invoice = made(seed)["credit"]["invoice"]
    lines: Counter[tuple[str, str]] = Counter()
    for entry in made(seed)["time"]:
        if f"{entry['project']}-2026-08" == invoice and entry["billable"] and entry["approved_in"] == "2026-08":
            rate = agreed(seed, entry["project"], entry["role"], entry["date"])
            lines[entry["role"], f"{rate:010.2f}"] += entry["minutes"]
    assert lines[min(lines)] >= 4 * 60

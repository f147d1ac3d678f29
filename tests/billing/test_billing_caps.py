"""Not-to-exceed: billed to the cent of the cap, the rest kept, released by a change order."""

from datetime import date

import polars as pl
import pytest
from frames_for_tests import entries, eur, facts, in_eur, projects, rates

from trueup.billing.buckets import settle
from trueup.billing.frames import RunFacts
from trueup.billing.run import plan_run

AUGUST, SEPTEMBER = date(2026, 8, 31), date(2026, 9, 30)
CAPPED = projects({"cap": eur("50000"), "cap_used": eur("46800")})
THREE = entries(
    {"gid": "tim_1", "source_order": 1, "minutes": 600},
    {"gid": "tim_2", "source_order": 2, "minutes": 450},
    {"gid": "tim_3", "source_order": 3, "minutes": 450},
)
FACTS = facts(THREE, projects=CAPPED, rates=rates({"rate": eur("200")}))


def amounts(charges: pl.DataFrame, bucket: str) -> dict[str, str]:
    wanted = charges.filter(pl.col("bucket") == bucket).select("fact", "amount")
    return {fact: in_eur(amount) for fact, amount in wanted.iter_rows()}


def raised(after: RunFacts, added: str) -> RunFacts:
    more = after.projects.with_columns(cap=pl.col("cap") + eur(added))
    return RunFacts(after.entries, after.expenses, more, after.rates)


def test_the_entry_that_crosses_the_cap_is_split_and_the_rest_waits() -> None:
    plan = plan_run(FACTS, AUGUST, "2026-08")
    assert amounts(plan.charges, "on_draft") == {"tim_1": "2000.00", "tim_2": "1200.00"}
    assert amounts(plan.charges, "over_cap") == {"tim_2": "300.00", "tim_3": "1500.00"}
    assert plan.invoices["net"].to_list() == [eur("3200")]
    assert plan.holds.select("scope", "code", "amount", "minutes").rows() == [
        ("tim_2", "CAP_EXCEEDED", eur("300"), 90),
        ("tim_3", "CAP_EXCEEDED", eur("1500"), 450),
    ]


def test_a_change_order_releases_what_waited_with_its_original_service_dates() -> None:
    first = plan_run(FACTS, AUGUST, "2026-08")
    second = plan_run(raised(settle(FACTS, first), "10000"), SEPTEMBER, "2026-09")
    assert amounts(second.charges, "on_draft") == {"tim_2": "300.00", "tim_3": "1500.00"}
    assert second.charges["service_on"].unique().to_list() == [date(2026, 8, 3)]
    assert second.invoices.select("code", "net").rows() == [("D01-DE01-2026-09", eur("1800"))]
    assert second.holds.is_empty()


def test_a_credit_gives_its_part_of_the_cap_back() -> None:
    credited = FACTS.projects.with_columns(cap_used=pl.lit(eur("50000") - eur("700")))
    plan = plan_run(RunFacts(THREE, FACTS.expenses, credited, FACTS.rates), AUGUST, "2026-08")
    assert amounts(plan.charges, "on_draft") == {"tim_1": "700.00"}


def test_a_split_entry_adds_up_to_its_price_over_both_runs_although_minutes_are_whole() -> None:
    start = facts(
        entries({"minutes": 600}), projects=projects({"cap": eur("1200")}), rates=rates({"rate": eur("165.50")})
    )
    first = plan_run(start, AUGUST, "2026-08")
    second = plan_run(raised(settle(start, first), "10000"), SEPTEMBER, "2026-09")
    both = pl.concat([first.charges, second.charges]).filter(pl.col("bucket") == "on_draft")
    assert both.select("key", "minutes", "amount").rows() == [
        ("tim_1/1/0-435", 435, eur("1200.00")),
        ("tim_1/1/435-600", 165, eur("455.00")),
    ]


def test_older_work_uses_the_cap_first_whatever_the_order_of_arrival() -> None:
    late = entries(
        {"gid": "tim_new", "source_order": 1, "worked_on": date(2026, 8, 20)},
        {"gid": "tim_old", "source_order": 9, "worked_on": date(2026, 8, 4)},
    )
    facts_of_both = facts(late, projects=projects({"cap": eur("1600")}), rates=rates({"rate": eur("200")}))
    assert amounts(plan_run(facts_of_both, AUGUST, "2026-08").charges, "on_draft") == {"tim_old": "1600.00"}


@pytest.mark.parametrize(("cap", "within", "over"), [("0.50", 1, 479), ("1599.99", 479, 1)])
def test_each_side_of_a_split_keeps_a_minute_so_that_neither_is_lost(cap: str, within: int, over: int) -> None:
    nearly = facts(entries({}), projects=projects({"cap": eur(cap)}), rates=rates({"rate": eur("200")}))
    found = plan_run(nearly, AUGUST, "2026-08").charges.select("bucket", "minutes", "amount").rows()
    rest = eur("1600") - eur(cap)
    assert sorted(found) == [("on_draft", within, eur(cap)), ("over_cap", over, rest)]


def test_an_entry_of_one_minute_is_not_split() -> None:
    tiny = facts(entries({"minutes": 1}), projects=projects({"cap": eur("1")}), rates=rates({"rate": eur("200")}))
    [charge] = plan_run(tiny, AUGUST, "2026-08").charges.to_dicts()
    assert (charge["bucket"], charge["minutes"], charge["amount"]) == ("over_cap", 1, eur("3.33"))


def test_a_project_without_a_cap_bills_everything() -> None:
    free = facts(THREE, rates=rates({"rate": eur("200")}))
    assert plan_run(free, AUGUST, "2026-08").invoices["net"].to_list() == [eur("5000")]

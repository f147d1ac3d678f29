"""Which rate prices an hour, and that pricing is exact."""

from datetime import date

import polars as pl
import pytest
from frames_for_tests import entries, eur, facts, in_eur, projects, rates
from hypothesis import given
from hypothesis import strategies as st

from trueup.billing.frames import RunPlan
from trueup.billing.rounding import product, rounded
from trueup.billing.run import plan_run
from trueup.kernel.money import round_units

CARD = rates(
    {"gid": "rul_senior_200", "role": "Senior", "rate": eur("200"), "valid_to": date(2026, 2, 28)},
    {"gid": "rul_senior_210", "role": "Senior", "rate": eur("210"), "valid_from": date(2026, 3, 1)},
    {"gid": "rul_consultant", "role": "Consultant", "rate": eur("160")},
    {"gid": "rul_consultant_usd", "role": "Consultant", "rate": eur("185"), "currency": "USD"},
)


def bill(*rows: dict[str, object], card: pl.DataFrame = CARD, **project: object) -> RunPlan:
    return plan_run(facts(entries(*rows), rates=card, projects=projects(project)), date(2026, 12, 31), "2026-12")


@pytest.mark.parametrize(
    ("role", "day", "minutes", "line", "amount"),
    [
        ("Senior", date(2026, 2, 10), 480, "rul_senior_200", "1600.00"),
        ("Senior", date(2026, 2, 28), 480, "rul_senior_200", "1600.00"),
        ("Senior", date(2026, 3, 1), 480, "rul_senior_210", "1680.00"),
        ("Senior", date(2026, 4, 2), 480, "rul_senior_210", "1680.00"),
        ("Consultant", date(2026, 1, 20), 450, "rul_consultant", "1200.00"),
    ],
)
def test_the_rate_of_the_service_date_prices_the_hour(
    role: str, day: date, minutes: int, line: str, amount: str
) -> None:
    [charge] = bill({"role": role, "worked_on": day, "minutes": minutes}).charges.to_dicts()
    assert (charge["rate_line"], in_eur(charge["amount"])) == (line, amount)


def test_time_without_a_rate_is_held_with_its_minutes_and_never_priced_at_zero() -> None:
    plan = bill({"role": "Intern"})
    [charge] = plan.charges.to_dicts()
    [hold] = plan.holds.to_dicts()
    assert (charge["bucket"], charge["hold_code"], charge["rate"]) == ("held", "RATE_MISSING", None)
    assert (hold["code"], hold["amount"], hold["minutes"]) == ("RATE_MISSING", 0, 480)
    assert plan.invoices.is_empty()


def test_a_rate_of_zero_is_a_rate() -> None:
    [charge] = bill({}, card=rates({"rate": 0})).charges.to_dicts()
    assert (charge["bucket"], charge["amount"], charge["rate"]) == ("on_draft", 0, 0)


def test_of_two_lines_in_force_the_later_one_wins_and_the_earlier_returns_when_it_ends() -> None:
    card = rates(
        {"gid": "rul_standing", "rate": eur("100")},
        {"gid": "rul_summer", "rate": eur("120"), "valid_from": date(2026, 6, 1), "valid_to": date(2026, 8, 31)},
    )
    plan = bill(
        {"gid": "tim_august", "worked_on": date(2026, 8, 31)},
        {"gid": "tim_september", "worked_on": date(2026, 9, 1)},
        card=card,
    )
    assert plan.charges["rate_line"].to_list() == ["rul_summer", "rul_standing"]


def test_two_lines_that_start_on_the_same_day_hold_the_time() -> None:
    card = rates({"gid": "rul_a", "rate": eur("100")}, {"gid": "rul_b", "rate": eur("120")})
    [charge] = bill({}, card=card).charges.to_dicts()
    assert (charge["bucket"], charge["hold_code"], charge["amount"]) == ("held", "RATE_AMBIGUOUS", 0)


def test_a_contract_in_two_currencies_prices_each_project_in_its_own() -> None:
    [charge] = bill({}, currency="USD", seller_country="US", buyer_country="US").charges.to_dicts()
    assert (charge["rate_line"], charge["currency"]) == ("rul_consultant_usd", "USD")


@pytest.mark.parametrize(
    ("minutes", "rate", "amount"),
    [(2, "165.50", "5.52"), (1, "0.30", "0.01"), (480, "165.50", "1324.00"), (7, "123.3333", "14.39")],
)
def test_the_amount_is_rounded_once_half_away_from_zero(minutes: int, rate: str, amount: str) -> None:
    [charge] = bill({"minutes": minutes}, card=rates({"rate": eur(rate)})).charges.to_dicts()
    assert in_eur(charge["amount"]) == amount


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**12), st.sampled_from([60, 1_000_000, 7]))
def test_a_frame_multiplies_and_rounds_as_the_kernel_does(quantity: int, price: int, below: int) -> None:
    expected = round_units(quantity * price, below, "EUR")
    frame = pl.DataFrame({"quantity": [quantity], "price": [price]})
    exact = rounded(product(pl.col("quantity"), pl.col("price")), below)
    if abs(expected) < 2**63:
        assert frame.select(exact.alias("amount")).item() == expected
    else:
        with pytest.raises(pl.exceptions.InvalidOperationError):
            frame.select(exact.alias("amount"))

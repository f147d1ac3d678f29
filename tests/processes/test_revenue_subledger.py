"""A month end with declared performance obligations, in a real database: positions, postings, advances."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import psycopg
import pytest

import small_firm
from small_firm import ENTITY, MONTH
from trueup.billing.obligations import Advance, Declaration, Declared
from trueup.kernel.errors import Held
from trueup.kernel.money import to_units
from trueup.processes import month_end, time_to_billing
from trueup.store import migrate
from trueup.store.database import Database

AUGUST = date(2026, 8, 1)


def eur(amount: str) -> int:
    return to_units(Decimal(amount), "EUR")


def fixed(key: str, method: str, price: str | None = None, **more) -> Declared:
    return Declared(
        key, "X03-L1", method, Decimal(price) if price else None, more.pop("standalone_price", None), "months",
        more.pop("service_from", None), more.pop("service_to", None), None, more.pop("from_time", False), **more,
    )  # fmt: skip


DATA = Declaration(
    "X03",
    AUGUST,
    Decimal(10_000),
    (
        fixed("BUILD", "units", standalone_price=Decimal(6_000), estimates=((AUGUST, "pieces", Decimal(4)),),
              performed=((date(2026, 8, 15), "pieces", Decimal(1)),)),
        fixed("SUPPORT", "ratable", standalone_price=Decimal(4_000), service_from=AUGUST, service_to=date(2026, 11, 30)),
    ),
    (Advance("A1", AUGUST, Decimal(2_000), Decimal("1818.18"), "USD"),),
)  # fmt: skip


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm after an August end in which deal X03 has two performance obligations."""
    migrate.migrate(database_url)
    database = Database(database_url).open()
    built = small_firm.build(database)
    built.firm = replace(built.firm, obligations={"X03": DATA}, late_revenue="refuse")
    yield small_firm.fill(built)
    for system in built.systems.values():
        system.client.close()
    database.close()


@pytest.fixture
def tx(house):
    with house.database.transaction() as tx:
        yield tx
        tx.run("rollback")


def test_obligations_are_measured_by_themselves_and_held_with_their_claim(tx):
    rows = tx.rows("select obligation, method, claim, recognised from positions where line_key = 'X03-L1' order by 1")
    assert [(row["obligation"], row["method"], row["claim"], row["recognised"]) for row in rows] == [
        ("BUILD", "units", "contract_asset", eur("1500")),
        ("SUPPORT", "ratable", "contract_asset", eur("1000")),
    ]


def test_the_subledger_balances_and_says_which_obligation_earned(tx):
    sums = tx.rows("select journal, sum(debit) as debit, sum(credit) as credit from revenue_postings group by journal")
    assert {row["journal"] for row in sums} == {f"{kind}-{ENTITY}-{MONTH}" for kind in ("REV", "COST", "DOC")}
    assert all(row["debit"] == row["credit"] for row in sums)
    earned = tx.rows(
        "select obligation, credit from revenue_postings where account = '4000' and contract_line = 'X03-L1' order by 1"
    )
    assert [(row["obligation"], row["credit"]) for row in earned] == [
        ("BUILD", eur("1500")), ("SUPPORT", eur("1000")),
    ]  # fmt: skip
    assert tx.value("select sum(debit) from revenue_postings where account = '1160'") == eur("2500")
    assert tx.value("select sum(debit) from revenue_postings where account = '1100'") == eur("1865.33")


def test_an_advance_is_released_at_the_rate_of_its_own_day(tx):
    row = tx.row("select released, functional_released, functional_currency from advance_positions")
    assert (row["released"], row["functional_released"], row["functional_currency"]) == (
        eur("2000"), eur("1818.18"), "USD",
    )  # fmt: skip


def test_a_month_that_is_run_again_posts_nothing(house, tx):
    before = tx.value("select count(*) from revenue_postings")
    assert month_end.close(house, MONTH, ENTITY, "again")["already"] == "done"
    assert tx.value("select count(*) from revenue_postings") == before


def test_revenue_for_a_closed_month_waits_for_a_person_where_the_firm_says_so(house):
    small_firm.hear(house, "timely", "entry", small_firm.entry("late", 60, day="2026-08-20"))
    time_to_billing.bill(house, "2026-09", ENTITY, "late billing")
    with pytest.raises(Held, match=r"150\.00 EUR of X01 X01-L1 for 2026-08"):
        month_end.close(house, "2026-09", ENTITY, "september")
    house.firm = replace(house.firm, late_revenue="next_open_period")
    month_end.close(house, "2026-09", ENTITY, "september")
    with house.database.transaction() as tx:
        late = tx.row(
            "select credit, origin_period from revenue_postings where account = '4000' and period = '2026-09' and contract_line = 'X01-L1'"
        )
        assert (late["credit"], late["origin_period"]) == (eur("150"), "2026-08")


POSTING = """insert into revenue_postings (journal, line, legal_entity, currency, period, origin_period, account, debit,
    credit, memo) values (%s, %s, 'DE01', 'EUR', %s, '2026-01', '4000', %s, %s, 'by hand')"""


def test_a_journal_that_does_not_balance_is_refused_at_commit(house):
    with pytest.raises(psycopg.errors.CheckViolation, match="does not balance"), house.database.transaction() as tx:
        tx.run(POSTING, ("ODD", 1, "2026-09", 100, 0))


def test_a_posting_into_a_closed_month_is_refused_and_none_is_changed(house):
    with (
        pytest.raises(psycopg.errors.CheckViolation, match="post in the open month"),
        house.database.transaction() as tx,
    ):
        tx.run(POSTING, ("LATE", 1, "2026-07", 100, 0))
    with pytest.raises(psycopg.errors.RestrictViolation), house.database.transaction() as tx:
        tx.run("update revenue_postings set memo = 'x'")

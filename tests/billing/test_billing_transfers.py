"""Withholding and lent people: the plain definition and the fast way give the same figures."""

import doctest
import importlib
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing.intercompany import STAFFED, TRANSFER_PRICES, postings, price_transfers
from trueup.billing.reference import intercompany as plain
from trueup.billing.reference.withholding import Term, term_of, withheld
from trueup.billing.withholding import with_withholding
from trueup.kernel.money import from_units, to_units

FIRST = date(2026, 1, 1)
INVOICE = {"legal_entity": pl.String, "bill_to": pl.String, "invoice_date": pl.Date, "net": pl.Int64, "tax": pl.Int64,
           "gross": pl.Int64}  # fmt: skip
TERM = {"legal_entity": pl.String, "bill_to": pl.String, "rate_ppm": pl.Int64, "base": pl.String, "valid_from": pl.Date}
DAYS = st.integers(0, 3).map(lambda n: FIRST + timedelta(days=n))
CENTS = st.integers(-(10**9), 10**9).map(lambda n: n * 10**4)
TERMS = st.lists(
    st.tuples(st.just("E"), st.none() | st.sampled_from(["a", "b"]), st.integers(0, 300_000),
              st.sampled_from(["net", "gross"]), DAYS), max_size=4,
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), DAYS, CENTS, CENTS), min_size=1, max_size=6), TERMS)
def test_what_is_withheld_is_the_same_both_ways_and_the_total_stays(invoices: Any, terms: Any) -> None:
    rows = [("E", who, day, net, tax, net + tax) for who, day, net, tax in invoices]
    fast = with_withholding(
        pl.DataFrame(rows, schema=INVOICE, orient="row"), pl.DataFrame(terms, schema=TERM, orient="row")
    )
    known = [Term(who, Decimal(ppm) / 1_000_000, base, day) for _, who, ppm, base, day in terms]
    for (who, day, net, tax), row in zip(invoices, fast.to_dicts(), strict=True):
        kept, received = withheld(from_units(net, "EUR"), from_units(tax, "EUR"), term_of(known, who, day), "EUR")
        assert (row["withheld"], row["expected"]) == (to_units(kept, "EUR"), to_units(received, "EUR"))
        assert row["gross"] == net + tax == row["expected"] + row["certificate"]


def staffed(**change: Any) -> pl.DataFrame:
    row = {
        "fact": "tim_1", "fact_version": 1, "lender": "UK01", "borrower": "DE01", "lender_currency": "GBP",
        "borrower_currency": "EUR", "worked_on": date(2026, 8, 3), "minutes": 600,
        "cost_rate": to_units(Decimal(80), "GBP"), "client_amount": to_units(Decimal(2000), "EUR"),
        "fx_e9": 1_170_000_000, **change,
    }  # fmt: skip
    return pl.DataFrame([row], schema={name: column.dtype for name, column in STAFFED.columns.items()})


def prices(*rows: tuple[str, int, date]) -> pl.DataFrame:
    return pl.DataFrame(
        [("UK01", "DE01", *row) for row in rows],
        schema={name: column.dtype for name, column in TRANSFER_PRICES.columns.items()}, orient="row",
    )  # fmt: skip


def test_a_missing_rule_cost_or_rate_of_exchange_is_held_and_not_posted() -> None:
    rule = prices(("cost_plus", 100_000, FIRST))
    for change, table, code in [
        ({}, prices(("fixed", 1, date(2026, 8, 4))), "ENTITY_UNMAPPED"),
        ({"cost_rate": None}, rule, "RATE_MISSING"),
        ({"fx_e9": None}, rule, "CURRENCY_MISMATCH"),
    ]:
        priced = price_transfers(staffed(**change), table)
        assert priced.select("hold_code", "transfer", "transfer_borrower").row(0) == (code, None, None)
        assert postings(priced).height == 0


def test_one_currency_needs_no_rate_of_exchange() -> None:
    same = price_transfers(staffed(borrower_currency="GBP", fx_e9=None), prices(("cost_plus", 100_000, FIRST)))
    assert same["transfer"].to_list() == same["transfer_borrower"].to_list() == [to_units(Decimal(880), "GBP")]


KINDS = st.sampled_from(["cost_plus", "share", "fixed"])


@settings(max_examples=80)
@given(
    st.integers(1, 1440), st.integers(1, 10**9), st.integers(0, 10**7).map(lambda n: n * 10**4), KINDS,
    st.integers(0, 2_000_000), st.integers(10**6, 200 * 10**9), st.sampled_from(["GBP", "JPY", "KWD"]),
    st.sampled_from(["EUR", "JPY"]),
)  # fmt: skip
def test_a_transfer_is_priced_the_same_both_ways(
    minutes: int, rate: int, amount: int, kind: str, value: int, fx: int, lender: str, borrower: str
) -> None:
    fx = 10**9 if lender == borrower else fx
    fast = price_transfers(
        staffed(minutes=minutes, cost_rate=rate, client_amount=amount, fx_e9=fx, lender_currency=lender,
                borrower_currency=borrower),
        prices((kind, value, FIRST)),
    ).row(0, named=True)  # fmt: skip
    exact = from_units(value, lender) if kind == "fixed" else Decimal(value) / 1_000_000
    found = plain.transfer(
        minutes, from_units(rate, lender), from_units(amount, borrower), plain.Rule(kind, exact, FIRST),
        Decimal(fx) / 10**9, lender, borrower,
    )  # fmt: skip
    assert fast["transfer"] == to_units(found.amount, lender)
    assert fast["transfer_borrower"] == to_units(found.amount_borrower, borrower)
    assert fast["lender_margin"] == to_units(found.lender_margin, lender)
    assert fast["borrower_margin"] == to_units(found.borrower_margin, borrower)


@pytest.mark.parametrize("module", ["brakes", "intercompany", "labour", "nexus", "tax", "withholding"])
def test_the_examples_of_the_definitions_hold(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"trueup.billing.reference.{module}")).failed == 0

"""Systems side by side: what agrees says so, what does not is named."""

from decimal import Decimal

import pytest

import small_firm
from trueup.reporting.compare import compare, deals


def test_a_deal_that_agrees_has_no_difference(tx):
    row = next(row for row in deals(tx) if row.deal == "X01")
    assert row.crm_value == row.psa_value == row.erp_value == Decimal("13000.00")
    assert row.hub_billed == row.erp_billed == Decimal("1567.50")
    assert row.hub_revenue == row.erp_revenue == Decimal("1567.50")
    assert row.crm_billed == Decimal("1567.50")


def test_a_held_deal_is_in_no_system_and_says_so(tx):
    row = next(row for row in deals(tx) if row.deal == "X02")
    assert (row.psa_value, row.erp_value) == (None, None)
    assert row.differences == ("not set up: the deal is held",)


def test_deals_that_differ_stand_first(tx):
    differ = [bool(row.differences) for row in deals(tx)]
    assert differ == sorted(differ, reverse=True)


@pytest.fixture(scope="module")
def compared(house):
    small_firm.raise_behind_our_back(house)
    with house.database.transaction() as tx:
        return compare(tx)


def test_an_amount_changed_in_the_erp_is_a_break_with_its_repair(compared):
    found = next(one for one in compared.breaks if one.cls == "amount")
    assert (found.label, found.ours, found.theirs) == ("X01-DE01-2026-08", "1567.50", "1667.50")
    assert found.amount.amount == Decimal("100.00")
    assert "credit and bill again" in found.repair


def test_the_deal_shows_what_the_erp_has_more(compared):
    row = next(row for row in compared.deals if row.deal == "X01")
    assert row.erp_billed == Decimal("1667.50")
    assert row.differences == ("ERP has 100.00 EUR more on its invoices",)


def test_the_tie_out_counts_and_sums_each_side(compared):
    invoices = next(one for one in compared.tie_outs if one.object == "invoice")
    assert (invoices.ours_count, invoices.theirs_count, invoices.agrees) == (1, 1, False)
    assert invoices.difference == Decimal("100.00")
    assert compared.run.run == "2026-08/tie_out"


def test_the_word_of_the_erp_is_kept_apart_with_its_message(compared):
    said = {one.field: one for one in compared.proposals if one.kind == "invoice"}
    assert (said["net"].ours, said["net"].theirs) == ("1567.50", "1667.50")
    assert said["net"].message is not None

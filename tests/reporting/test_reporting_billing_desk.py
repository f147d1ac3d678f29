"""The billing desk against figures worked out by hand."""

from datetime import date
from decimal import Decimal

from trueup.reporting import billing_desk
from trueup.reporting.amounts import Amount


def test_ready_held_and_posted_are_net_of_tax(tx):
    totals = billing_desk.totals(tx)
    assert totals.posted == (Amount(Decimal("1567.50"), "EUR"),)
    assert (totals.ready, totals.posted_count, totals.held_count) == ((), 1, 4)


def test_reasons_come_with_owner_and_what_ends_them(tx):
    found = {(one.code, one.deals): one for one in billing_desk.reasons(tx)}
    assert set(found) == {
        ("TAX_UNDETERMINED", True), ("SIGNOFF_MISSING", False), ("APPROVAL_MISSING", False), ("RATE_MISSING", False),
    }  # fmt: skip
    assert found["APPROVAL_MISSING", False].amounts == (Amount(Decimal("300.00"), "EUR"),)
    assert found["SIGNOFF_MISSING", False].releases_when == "sign-off"


def test_items_say_who_and_what_and_when(tx):
    (item,) = billing_desk.items(tx, code="APPROVAL_MISSING")
    assert (item.person, item.day, item.project_code, item.customer) == (
        "Ida Holm", date(2026, 8, 10), "X01-DE01", "Fjord Energi",
    )  # fmt: skip
    assert (item.minutes, item.amount) == (120, Amount(Decimal("300.00"), "EUR"))


def test_items_of_deals_and_of_projects_are_kept_apart(tx):
    assert [item.label for item in billing_desk.items(tx, deals=True)] == ["X02 Project X02"]
    assert "contract" not in {item.scope_kind for item in billing_desk.items(tx, deals=False)}


def test_an_invoice_is_listed_with_the_erp_number_and_what_is_open(tx):
    (invoice,) = billing_desk.invoices(tx)
    assert (invoice.number, invoice.status, invoice.net, invoice.tax, invoice.gross, invoice.balance) == (
        "R-1001", "part_paid", Decimal("1567.50"), Decimal("297.83"), Decimal("1865.33"), Decimal("1000.00"),
    )  # fmt: skip
    assert billing_desk.invoices(tx, status=["paid"]) == ()
    assert billing_desk.invoices(tx, period="2026-07") == ()

"""Payments on account are drawn down by the invoices of their contract, each cent once; over the real database."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from small_firm import gid_of
from trueup.billing.run import plan_run
from trueup.kernel.periods import last_day
from trueup.pipeline.house import Prepayment
from trueup.processes import prepaid
from trueup.processes.facts import run_facts
from trueup.reporting.documents import material
from trueup.reporting.explain import explain
from trueup.store import objects


def paid(office, *payments):
    office.house.firm = replace(
        office.house.firm,
        prepayments=tuple(
            Prepayment("X01", "DE01", key, day, "EUR", Decimal(gross), Decimal(tax))
            for key, day, gross, tax in payments
        ),
    )


def bill(office, month, hours):
    office.work(month, hours * 60, day=f"{month}-05")
    office.run(month)
    with office.database.transaction() as tx:
        body = objects.one(tx, gid_of(office.house, "invoice", f"X01-DE01-{month}")).body
    return body["gross"], body["prepaid"], body["prepaid_tax"]


def test_advances_are_used_up_in_their_order_and_the_rest_is_to_be_paid(office):
    office.deal("X01", 100)
    paid(office, ("A2", date(2026, 2, 1), "238.00", "38.00"), ("A1", date(2026, 1, 1), "119.00", "19.00"))
    assert bill(office, "2026-01", 0.5) == ("59.50", "59.50", "9.50")
    # The rest of the first and part of the second.
    assert bill(office, "2026-02", 2) == ("238.00", "238.00", "38.00")
    assert bill(office, "2026-03", 1) == ("119.00", "59.50", "9.50")
    assert bill(office, "2026-04", 1) == ("119.00", None, None)
    with office.database.transaction() as tx:
        stands = [(one.key, one.used) for one in prepaid.accounts(tx, office.house.firm)]
        shown = explain(tx, gid_of(office.house, "invoice", "X01-DE01-2026-03"))
        around = material(tx, "X01-DE01-2026-03").around
    assert stands == [("A1", Decimal("119.00")), ("A2", Decimal("238.00"))]
    assert shown.prepaid == around.prepaid == Decimal("59.50")


def test_a_payment_is_not_used_before_it_came_nor_by_another_contract(office):
    office.deal("X01", 100)
    office.deal("X02", 100)
    paid(office, ("A1", date(2026, 3, 1), "119.00", "0"))
    office.work("other", 60, project="X02-DE01", day="2026-03-05")
    assert bill(office, "2026-02", 1) == ("119.00", None, None)
    office.work("later", 120, day="2026-03-06")
    day = last_day("2026-03")
    with office.database.transaction() as tx:
        plan = plan_run(run_facts(tx, office.house.firm, "DE01", day, "2026-03"), day, "2026-03")
        found = prepaid.set_off(tx, office.house.firm, plan)
    assert plan.invoices["code"].to_list() == ["X01-DE01-2026-03", "X02-DE01-2026-03"]
    assert found == {"X01-DE01-2026-03": prepaid.SetOff(119 * 1_000_000, 0, ("A1",))}


def test_what_a_voided_invoice_had_used_is_free_again(office):
    office.deal("X01", 100)
    paid(office, ("A1", date(2026, 1, 1), "59.50", "9.50"))
    assert bill(office, "2026-01", 1) == ("119.00", "59.50", "9.50")
    office.say("X01-DE01-2026-01", status="voided")
    assert bill(office, "2026-02", 1) == ("238.00", "59.50", "9.50")

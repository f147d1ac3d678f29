"""A client's purchase order is drawn on once: what is left after a run is what the next run finds."""

from dataclasses import replace
from decimal import Decimal

from laws import broken

from trueup.billing.terms import PurchaseOrder, Terms


def test_a_refund_takes_an_order_and_gives_none_of_it_back(office):
    """Ten hours at 100 and a refund of 50 against an order of 600: six hours are billed, and none of the rest after it."""
    order = PurchaseOrder("4711", Decimal(600))
    terms = Terms("ordered", po_required=True, purchase_orders=(order,))
    office.house.firm = replace(office.house.firm, terms={("defaults", ""): terms})
    office.deal("X01", 100)
    office.work("e1", 600)
    office.spend("r1", -50)
    office.run()
    billed = office.billed()
    assert office.buckets("e1") == {"on_draft": 360, "held": 240}
    office.run("2026-09")
    assert (office.billed(), office.buckets("e1")) == (billed, {"on_draft": 360, "held": 240})
    assert not broken(office.database)


def test_a_refund_is_billed_once_though_later_months_have_work(office):
    office.deal("X01", 100)
    office.work("e1", 600)
    office.spend("r1", -50)
    office.run()
    billed = office.billed()["EUR"]
    assert billed < 1000
    office.work("e2", 60, day="2026-09-02")
    office.run("2026-09")
    assert office.billed() == {"EUR": billed + 100}
    assert not broken(office.database)

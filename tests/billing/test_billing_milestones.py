"""A milestone is billed once it is complete and signed where that is agreed."""

from datetime import date

from frames_for_tests import eur, milestones, projects

from trueup.billing.frames import RunPlan
from trueup.billing.milestones import bill_milestones

DONE, SIGNED = date(2026, 9, 18), date(2026, 10, 12)


def bill(project: dict[str, object] | None = None, **row: object) -> RunPlan:
    fixed = {"method": "fixed_fee", **(project or {})}
    return bill_milestones(milestones({"open_amount": eur("36000"), **row}), projects(fixed))


def test_a_signed_milestone_becomes_an_invoice_of_its_own_dated_by_the_signature() -> None:
    plan = bill(completed_on=DONE, accepted_on=SIGNED)
    [invoice] = plan.invoices.to_dicts()
    assert (invoice["code"], invoice["invoice_date"], invoice["period"]) == ("D01-M1", SIGNED, "2026-10")
    assert (invoice["net"], invoice["tax"]) == (eur("36000"), eur("6840"))
    assert plan.invoice_lines.select("line_key", "description", "unit", "quantity", "rate").rows() == [
        ("0-milestone-D01-M1", "Milestone: Design", "count", 1, eur("36000"))
    ]
    assert plan.charges.select("key", "kind", "bucket", "contract_line").rows() == [
        ("mil_1/1/milestone", "milestone", "on_draft", "D01-L1")
    ]


def test_a_completed_milestone_without_its_signature_is_held() -> None:
    plan = bill(completed_on=DONE)
    assert plan.invoices.is_empty()
    assert plan.charges.select("bucket", "hold_code", "amount").rows() == [("held", "SIGNOFF_MISSING", eur("36000"))]
    assert plan.holds.select("scope", "code", "amount").rows() == [("mil_1", "SIGNOFF_MISSING", eur("36000"))]


def test_a_milestone_without_acceptance_is_dated_by_its_completion() -> None:
    plan = bill(completed_on=DONE, acceptance_required=False)
    assert plan.invoices["invoice_date"].to_list() == [DONE]


def test_a_milestone_that_is_planned_cancelled_or_billed_gives_nothing() -> None:
    for row in ({}, {"completed_on": DONE, "status": "cancelled"}, {"completed_on": DONE, "open_amount": 0}):
        plan = bill(None, **row)
        assert plan.charges.is_empty()
        assert plan.holds.is_empty()


def test_every_reason_is_listed() -> None:
    plan = bill({"buyer_country": "FR", "buyer_has_tax_id": False, "contract_active": False}, completed_on=DONE)
    assert plan.holds["code"].to_list() == ["CONTRACT_INACTIVE", "SIGNOFF_MISSING", "TAX_UNDETERMINED"]

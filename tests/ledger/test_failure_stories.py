"""Failure stories F2, F3, F4 and F15: what other houses got wrong, each as the business tells it."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from laws import broken

from small_firm import gid_of
from trueup.billing.terms import Payer, Terms
from trueup.kernel.errors import Held
from trueup.processes import adjustments, corrections, rerating
from trueup.store import holds, objects

D = Decimal


def credit(office, code, facts=None, again=False):
    with office.database.transaction() as tx:
        return corrections.credit(
            tx,
            office.house,
            gid_of(office.house, "invoice", code),
            by="Ana",
            reason="wrong hours",
            facts=facts,
            again=again,
        )


@pytest.mark.parametrize(("again", "hours"), [(True, 270), (False, 60)])
def test_f2_a_partial_credit_bills_hours_neither_twice_nor_never(office, again, hours):
    office.deal("X01", 100)
    office.work("jun", 270, day="2026-06-10")
    july = office.work("jul", 210, day="2026-07-10")
    office.run("2026-07")
    office.post("X01-DE01-2026-07")
    assert office.invoices()["X01-DE01-2026-07"][2] == D(800)
    note = credit(office, "X01-DE01-2026-07", {july: None}, again=again)
    with office.database.transaction() as tx:
        named = tx.rows(
            "select c.fact, a.minutes from allocations a join charges c on c.key = a.charge where a.document = %s",
            (note,),
        )
    assert [(row["fact"], row["minutes"]) for row in named] == [(july, -210)]
    assert office.buckets("jul") == ({"unbilled": 210} if again else {"credited": 210})
    office.work("more", 60, day="2026-07-20")
    office.run("2026-08")
    assert office.invoices()["X01-DE01-2026-08"][2] == D(100) * hours / 60
    assert office.run("2026-09")["invoices"] == 0
    assert not broken(office.database)


def test_a_credit_of_the_erp_before_we_heard_of_the_posting_is_not_lost(office):
    office.deal("X01", 100)
    office.work("e1", 480)
    office.run()
    office.erp_credit("X01-DE01-2026-08", "1-time-Consultant-0000100.00", 120, "200.00")
    office.post("X01-DE01-2026-08")
    assert office.buckets("e1") == {"invoiced": 360, "credited": 120}
    assert not broken(office.database)


def test_f3_a_voided_or_credited_invoice_gives_its_hours_back_and_leaves_others_alone(office):
    office.deal("X01", 100)
    office.work("e1", 240, day="2026-07-05", sheet="W1")
    office.run("2026-07")
    office.work("e2", 120, sheet="W1")
    office.run("2026-08")
    office.post("X01-DE01-2026-08")
    office.say("X01-DE01-2026-07", status="voided")
    assert (office.buckets("e1"), office.buckets("e2")) == ({"unbilled": 240}, {"invoiced": 120})
    credit(office, "X01-DE01-2026-08", again=True)
    assert office.buckets("e2") == {"unbilled": 120}
    office.run("2026-09")
    assert office.invoices()["X01-DE01-2026-09"][2] == D(600)
    assert (office.buckets("e1"), office.buckets("e2")) == ({"on_draft": 240}, {"on_draft": 120})
    assert office.billed() == {"EUR": D(600)}
    assert not broken(office.database)


def test_f3_a_voided_milestone_is_billed_again_under_a_name_of_its_own(office):
    office.deal("X03", 0, method="fixed_fee", goal=5000)
    office.milestone("X03")
    assert office.invoices()["X03-M1"] == ("invoice", "draft", D(5000))
    office.say("X03-M1", status="voided")
    office.milestone("X03")
    assert office.invoices()["X03-M1-R1"] == ("invoice", "draft", D(5000))
    assert office.milestone("X03")["invoices"] == 0
    assert office.billed() == {"EUR": D(5000)}
    assert not broken(office.database)


def test_f4_billing_one_project_leaves_the_others_of_the_sheet_billable(office):
    office.deal("X01", 100)
    office.deal("X02", 200, entity="UK01")
    office.work("a", 120, sheet="W1")
    office.work("b", 600, project="X02-UK01", sheet="W1")
    office.run(entity="DE01")
    assert (office.buckets("a"), office.buckets("b")) == ({"on_draft": 120}, {"unbilled": 600})
    office.run(entity="UK01")
    assert office.buckets("b") == {"on_draft": 600}
    assert office.billed() == {"EUR": D(200), "GBP": D(2000)}
    assert not broken(office.database)


def close_months(office, *months):
    with office.database.transaction() as tx:
        for entity in ("DE01", "UK01", "US01"):
            for month in months:
                tx.run(
                    "insert into runs (run, kind, legal_entity, period, state) values (%s, 'month_end', %s, %s, 'done')",
                    (f"{month}/{entity}/month_end", entity, month),
                )


@pytest.mark.parametrize("policy", ["delta_next", "credit_partial", "credit_full_rebill"])
def test_f15_a_backdated_price_over_invoiced_and_closed_months_in_three_currencies(office, policy):
    firms = {"DE01": ("X01", "EUR", 200), "UK01": ("X02", "GBP", 180), "US01": ("X03", "USD", 155)}
    for entity, (code, _, rate) in firms.items():
        office.deal(code, rate, entity=entity)
        for month in ("07", "08"):
            office.work(f"{code}-{month}", 435, project=f"{code}-{entity}", day=f"2026-{month}-10")
            office.run(f"2026-{month}", entity)
            office.post(f"{code}-{entity}-2026-{month}")
        office.work(f"{code}-open", 60, project=f"{code}-{entity}", day="2026-08-28")
    close_months(office, "2026-07", "2026-08")
    before = office.invoices()
    old = office.billed()
    for code, currency, rate in firms.values():
        office.rate(code, rate - 10, currency=currency)
    shown = rerating.preview(office.house, date(2026, 7, 1), policy=policy)
    assert {c: D(t["difference"]) for c, t in shown["totals"].items()} == {c: D("-145.00") for c in old}
    assert all(D(row["new"]) - D(row["old"]) == D(row["difference"]) == D("-72.50") for row in shown["entries"])
    assert office.invoices() == before
    numbers = rerating.propose(office.house, date(2026, 7, 1), policy=policy, by="Ana", reason="price was wrong")[
        "adjustments"
    ]
    again = rerating.propose(office.house, date(2026, 7, 1), policy=policy, by="Ana", reason="price was wrong")[
        "adjustments"
    ]
    assert again == numbers
    assert len(numbers) == len(old) == 3
    with pytest.raises(Held, match="somebody else"):
        adjustments.approve(office.house, numbers[0], by="Ana")
    for number in numbers:
        adjustments.approve(office.house, number, by="Bo")
    for entity in firms:
        office.run("2026-09", entity)
    fair = {c: (D(rate - 10) * 930 / 60).quantize(D("0.01")) for _, c, rate in firms.values() if c in old}
    assert office.billed() == fair
    after = office.invoices()
    assert all(after[code][2] == net for code, (_, _, net) in before.items())
    fresh = [office.invoice(code) for code in after.keys() - before.keys()]
    assert fresh
    assert all(one.body["period"] == "2026-09" for one in fresh)
    assert not rerating.preview(office.house, date(2026, 7, 1))["entries"]
    assert not broken(office.database)


def test_a_voided_share_without_minutes_is_named_and_not_lost(office):
    office.deal("X02", 133)
    payers = tuple(
        Payer(gid_of(office.house, "customer", "Client DE01"), D(weight), "DE", has_tax_id=True)
        for weight in ("0.6", "0.4")
    )
    office.house.firm = replace(office.house.firm, terms={("contract", "X02"): Terms("shared", payers=payers)})
    office.work("e1", 1, project="X02-DE01")
    office.run()
    office.say("X02-DE01-2026-08-P2", status="voided")
    office.run("2026-09")
    assert office.billed() == {"EUR": D("1.33")}
    with office.database.transaction() as tx:
        (hold,) = holds.open_of(tx, codes=["MANUAL"])
    assert (hold["amount"], hold["scope"]) == (890_000, gid_of(office.house, "invoice", "X02-DE01-2026-08-P2"))
    assert not broken(office.database)


def shared(office, code="X02", weights=("0.6", "0.4")):
    """Sell a deal that two customers pay for."""
    office.deal(code, 100)
    office.hear(
        "dealer", "account",
        {"id": "a-partner", "name": "Partner", "country": "DE", "vat": "DE2", "currency": "EUR", "terms": 30},
    )  # fmt: skip
    both = ("Client DE01", "Partner")
    payers = tuple(
        Payer(gid_of(office.house, "customer", name), D(weight), "DE", has_tax_id=True)
        for name, weight in zip(both, weights, strict=True)
    )
    office.house.firm = replace(office.house.firm, terms={("contract", code): Terms("shared", payers=payers)})
    return [payer.bill_to for payer in payers]


def paid_by(office):
    """Return what each customer has been billed, net."""
    found = {}
    with office.database.transaction() as tx:
        for one in objects.of_kind(tx, "invoice"):
            if one.status != "voided":
                found[one.body["customer"]] = found.get(one.body["customer"], D(0)) + D(one.body["net"])
    return found


@pytest.mark.parametrize("voided", ["X02-DE01-2026-08", "X02-DE01-2026-08-P2"])
def test_the_share_of_a_voided_document_is_billed_again_to_the_payer_it_was_for(office, voided):
    first, second = shared(office)
    office.work("e1", 77, project="X02-DE01")
    office.work("e2", 480, project="X02-DE01", day="2026-08-06")
    office.spend("r1", 90, project="X02-DE01")
    office.run()
    before = paid_by(office)
    assert before == {first: D("613.70"), second: D("409.13")}
    office.say(voided, status="voided")
    office.run("2026-09")
    assert paid_by(office) == before
    assert not broken(office.database)


def test_what_is_worked_more_on_a_shared_entry_is_shared_so_that_the_whole_is(office):
    first, second = shared(office, weights=("1", "2"))
    office.work("e1", 61, project="X02-DE01")
    office.run()
    office.work("e1", 181, project="X02-DE01")
    office.run("2026-09")
    assert paid_by(office) == {first: D("100.56"), second: D("201.11")}
    assert not broken(office.database)

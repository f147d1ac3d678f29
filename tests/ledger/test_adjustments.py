"""Write-downs, write-offs, courtesies and postponements: a reason, a second person, and the way back."""

from datetime import date
from decimal import Decimal

import psycopg
import pytest
from laws import broken

from small_firm import gid_of, hear
from trueup.kernel.errors import Held, Refused
from trueup.processes import adjustments, corrections, rerating
from trueup.store import adjustments as kept

D = Decimal
AUGUST = "X01-DE01-2026-08"


def decide(office, kind, gid, **more):
    made = adjustments.propose(office.house, kind, [gid], by="Ana", reason="agreed with the client", **more)
    if made["state"] == "proposed":
        adjustments.approve(office.house, made["number"], by="Bo")
    return made["number"]


@pytest.fixture
def entry(office):
    """Ten hours at 200.00 (S16)."""
    office.deal("X01", 200)
    return office.work("e1", 600)


def test_a_write_down_lowers_the_bill_and_leaves_the_hours(office, entry):
    decide(office, "write_down", entry, amount=D(300))
    office.run()
    assert office.invoices()[AUGUST][2] == D(1700)
    assert office.buckets("e1") == {"on_draft": 600}
    office.run("2026-09")
    assert office.billed() == {"EUR": D(1700)}
    assert not broken(office.database)


def test_a_write_up_raises_the_bill_and_a_courtesy_shows_it_at_nothing(office, entry):
    decide(office, "write_up", entry, amount=D(50))
    free = office.work("e2", 60)
    decide(office, "courtesy", free)
    office.run()
    assert office.invoices()[AUGUST][2] == D(2050)
    assert (office.buckets("e1"), office.buckets("e2")) == ({"on_draft": 600}, {"on_draft": 60})
    assert not broken(office.database)


def test_hours_logged_later_are_not_billed_for_what_was_written_down(office, entry):
    decide(office, "write_down", entry, amount=D(300))
    office.run()
    office.work("e1", 660)
    office.run("2026-09")
    assert office.billed() == {"EUR": D(1900)}
    assert not broken(office.database)


@pytest.mark.parametrize(("kind", "bucket"), [("write_off", "written_off"), ("non_billable", "non_billable")])
def test_what_is_given_up_is_not_billed_until_it_is_undone(office, entry, kind, bucket):
    number = decide(office, kind, entry)
    assert office.buckets("e1") == {bucket: 600}
    assert office.run()["invoices"] == 0
    adjustments.undo(office.house, number, by="Ana", reason="they pay after all")
    assert office.buckets("e1") == {"unbilled": 600}
    office.run("2026-09")
    assert office.billed() == {"EUR": D(2000)}
    assert not broken(office.database)


def test_what_is_written_off_in_part_of_an_entry_over_its_cap_leaves_the_rest_at_its_price(office):
    office.deal("X01", 100, cap=500)
    gid = office.work("e1", 480)
    office.run()
    assert office.buckets("e1") == {"on_draft": 300, "over_cap": 180}
    decide(office, "write_off", gid)
    office.work("e1", 540)
    office.run("2026-09")
    assert office.buckets("e1") == {"on_draft": 300, "written_off": 180, "over_cap": 60}
    assert office.billed() == {"EUR": D(500)}
    assert not broken(office.database)


def test_what_is_postponed_waits_for_its_day(office, entry):
    made = adjustments.propose(
        office.house, "postponed", [entry], by="Ana", reason="client's budget year", until=date(2026, 10, 1)
    )
    assert made["state"] == "applied"
    assert office.run()["invoices"] == office.run("2026-09")["invoices"] == 0
    assert office.buckets("e1") == {"postponed": 600}
    office.run("2026-10")
    assert office.billed() == {"EUR": D(2000)}
    assert not broken(office.database)


def test_nobody_approves_his_own_proposal_and_the_database_knows(office, entry):
    made = adjustments.propose(office.house, "write_off", [entry], by="Ana", reason="cannot be billed")
    with pytest.raises(Held, match="somebody else"):
        adjustments.approve(office.house, made["number"], by="Ana")
    with pytest.raises(psycopg.errors.CheckViolation), office.database.transaction() as tx:
        tx.run("update adjustments set state = 'applied', approved_by = 'Ana' where number = %s", (made["number"],))
    assert adjustments.reject(office.house, made["number"], by="Bo") == "rejected"
    with pytest.raises(Refused, match="already"):
        adjustments.approve(office.house, made["number"], by="Bo")
    assert office.buckets("e1") == {"unbilled": 600}


def test_below_the_limit_one_person_is_enough(office, entry):
    made = adjustments.propose(
        office.house, "write_off", [entry], by="Ana", reason="cannot be billed", limit=D("2000.01")
    )
    assert (made["state"], office.buckets("e1")) == ("applied", {"written_off": 600})


def test_what_is_on_a_document_is_not_adjusted(office, entry):
    office.run()
    with pytest.raises(Refused, match="corrected by a credit"):
        adjustments.propose(office.house, "write_off", [entry], by="Ana", reason="too late for this")


def test_a_withdrawn_approval_of_billed_hours_is_named_at_once_and_settled_by_a_credit(office, entry):
    office.run()
    office.post(AUGUST)
    office.work("e1", 600, state="sent")
    assert "CREDIT_DUE" in codes(office)
    office.run("2026-09")
    assert "CREDIT_DUE" in codes(office)
    with office.database.transaction() as tx:
        corrections.credit(tx, office.house, gid_of(office.house, "invoice", AUGUST), by="Ana", reason="not approved")
    assert "CREDIT_DUE" not in codes(office)
    assert office.buckets("e1") == {}
    office.work("e1", 600)
    office.run("2026-10")
    assert office.billed() == {"EUR": D(2000)}
    assert not broken(office.database)


def test_billed_hours_deleted_at_their_source_stay_billed_and_ask_for_no_credit(office, entry):
    """F8: the deletion of billed time is a break that the tie-out names, never a cascade."""
    office.run()
    office.post(AUGUST)
    office.delete("e1")
    office.run("2026-09")
    assert (office.buckets("e1"), codes(office)) == ({"invoiced": 600}, set())
    assert office.billed() == {"EUR": D(2000)}
    assert not broken(office.database)


def test_a_credit_that_is_due_stays_due_when_the_hours_are_deleted_after_it(office, entry):
    office.run()
    office.post(AUGUST)
    office.work("e1", 600, state="sent")
    office.delete("e1")
    office.run("2026-09")
    assert codes(office) == {"CREDIT_DUE"}


def codes(office):
    with office.database.transaction() as tx:
        return {row["code"] for row in tx.rows("select code from holds where released_at is null")}


def test_fewer_hours_after_billing_are_credited_and_more_are_billed_at_their_own_price(office, entry):
    office.run()
    office.post(AUGUST)
    office.work("e1", 480)
    assert "CREDIT_DUE" in codes(office)
    with office.database.transaction() as tx:
        corrections.credit(
            tx,
            office.house,
            gid_of(office.house, "invoice", AUGUST),
            by="Ana",
            reason="fewer hours",
            facts={entry: 120},
        )
    assert "CREDIT_DUE" not in codes(office)
    office.work("e1", 540)
    office.run("2026-09")
    assert office.billed() == {"EUR": D(1800)}
    assert not broken(office.database)


def test_the_cost_of_a_rerating_is_that_of_the_entries_it_changes(office):
    office.deal("X01", 100)
    office.deal("X02", 100, entity="UK01")
    for n in range(40):
        office.work(f"o{n}", 60, project="X02-UK01", day=f"2026-08-{n % 28 + 1:02d}")
    office.work("e1", 60, day="2026-08-03")
    office.work("e2", 60, day="2026-07-03")
    office.run("2026-08")
    office.run("2026-08", "UK01")
    office.rate("X01", 110, since="2026-08-01", key="q")
    read = []
    standing = rerating.ledger.standing
    rerating.ledger.standing = lambda tx, **more: read.append(more["facts"]) or standing(tx, **more)
    try:
        shown = rerating.preview(office.house, date(2026, 1, 1))
    finally:
        rerating.ledger.standing = standing
    assert read == [[office.entries["e1"]]]
    assert [(row["old"], row["new"], row["difference"]) for row in shown["entries"]] == [("100.00", "110.00", "10.00")]


def test_the_last_credit_takes_the_residual_of_the_tax(office):
    office.deal("X01", "33.33")
    gids = [office.work(f"e{n}", 60, day=f"2026-08-{n + 1:02d}") for n in range(3)]
    office.run()
    office.post(AUGUST)
    invoice = office.invoice(AUGUST)
    with office.database.transaction() as tx:
        for gid in gids:
            corrections.credit(
                tx,
                office.house,
                gid_of(office.house, "invoice", AUGUST),
                by="Ana",
                reason="all of it",
                facts={gid: None},
            )
        with pytest.raises(Held, match="nothing of this stands"):
            corrections.credit(
                tx, office.house, gid_of(office.house, "invoice", AUGUST), by="Ana", reason="more", facts=None
            )
    taxes = [D(office.invoice(f"{AUGUST}-C{n}").body["tax"]) for n in (1, 2, 3)]
    assert sum(taxes) == D(invoice.body["tax"]) == D("19.00")
    assert sorted(taxes) == [D("6.33"), D("6.33"), D("6.34")]


def test_an_edit_of_the_role_after_billing_is_named_and_billed_once_somebody_agrees(office, entry):
    office.run()
    office.post(AUGUST)
    hear(
        office.house, "dealer", "price",
        {"id": "senior", "deal": "d-X01", "role": "Senior", "rate": 250, "currency": "EUR", "from": "2026-01-01"},
    )  # fmt: skip
    office.work("e1", 600, role="Senior")
    office.run("2026-09")
    with office.database.transaction() as tx:
        (named,) = kept.listed(tx)
    assert (named["state"], named["proposed_by"], named["amounts"]) == ("proposed", "billing", {"EUR": 500_000_000})
    adjustments.approve(office.house, named["number"], by="Bo")
    office.work("e2", 60)
    office.run("2026-10")
    assert office.billed() == {"EUR": D(2700)}
    office.run("2026-11")
    assert office.billed() == {"EUR": D(2700)}
    assert not broken(office.database)


def test_a_difference_that_waits_is_moot_once_its_charge_was_credited_and_billed_anew(office):
    office.deal("X01", 100)
    gid = office.work("e1", 600)
    office.run()
    office.post("X01-DE01-2026-08")
    for price, policy in ((133, "delta_next"), (90, "credit_full_rebill")):
        office.rate("X01", price)
        found = rerating.propose(office.house, date(2026, 1, 1), None, policy, by="Ana", reason="the price changed")
        adjustments.approve(office.house, found["adjustments"][0], by="Bo")
    office.work("e2", 60, day="2026-09-01")
    office.run("2026-09")
    assert office.billed() == {"EUR": D(990)}, "eleven hours at 90"
    with office.database.transaction() as tx:
        assert kept.waiting(tx, "DE01") == []
        assert tx.value("select sum(amount) from charges c where fact = %s and kind = 'delta'", (gid,)) is None
    assert not broken(office.database)


def test_a_raised_price_bills_no_more_than_the_cap(office):
    office.deal("X01", 100, cap=900)
    office.work("e1", 480)
    office.run()
    office.post("X01-DE01-2026-08")
    office.rate("X01", 150)
    found = rerating.propose(office.house, date(2026, 1, 1), None, "delta_next", by="Ana", reason="the price changed")
    adjustments.approve(office.house, found["adjustments"][0], by="Bo")
    office.work("e2", 10, day="2026-09-01")
    office.run("2026-09")
    assert office.billed() == {"EUR": Decimal(900)}
    with office.database.transaction() as tx:
        left = kept.waiting(tx, "DE01")
        assert [row["left_amount"] for row in left] == [325_000_000], "the rest of the rise waits, and is not forgotten"
    assert not broken(office.database)

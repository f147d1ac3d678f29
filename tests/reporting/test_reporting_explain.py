"""An invoice explained: every level adds up, and every leaf ends in bytes that came in."""

import json
from decimal import Decimal

import pytest

import small_firm
from trueup.reporting.explain import explain, find_invoice

CODE = "X01-DE01-2026-08"


@pytest.fixture
def explained(tx):
    return explain(tx, find_invoice(tx, CODE))


@pytest.mark.parametrize("identifier", [CODE, "R-1001"])
def test_an_invoice_is_found_by_code_and_by_number(tx, identifier):
    assert find_invoice(tx, identifier) == find_invoice(tx, CODE)


def test_an_unknown_invoice_is_none(tx):
    assert find_invoice(tx, "X77") is None
    assert explain(tx, "inv_00000000000000000000000000") is None


def test_every_level_adds_up_to_the_cent(explained):
    assert explained.exact
    assert sum(line.net for line in explained.lines) == explained.net == Decimal("1567.50")
    for line in explained.lines:
        assert sum(charge.amount for charge in line.charges) == line.net
    assert explained.net + explained.tax == explained.gross == Decimal("1865.33")


def test_what_is_open_follows_from_payments_and_credits(explained):
    assert [(one.reference, one.amount) for one in explained.payments] == [("PAY-7", Decimal("865.33"))]
    assert explained.open_here == explained.balance == Decimal("1000.00")


def test_every_charge_ends_in_the_bytes_its_approval_was_taken_from(explained):
    charges = [charge for line in explained.lines for charge in line.charges]
    assert len(charges) == 4
    for charge in charges:
        assert charge.raw is not None
        assert charge.raw.intact
        assert charge.approval is not None
        assert charge.message == charge.raw.number
    time = next(charge for charge in charges if charge.minutes == 435)
    assert json.loads(time.raw.text)["id"] == "e1"
    assert (time.person, time.rate, time.amount) == ("Ida Holm", Decimal("150.00"), Decimal("1087.50"))


def test_a_time_charge_names_its_rate_line_rule_and_mapping(explained):
    time = next(charge for line in explained.lines for charge in line.charges if charge.kind == "time")
    assert (time.rate_line.role, time.rate_line.rate) == ("Consultant", Decimal("150.00"))
    assert "rate of the role in force" in time.rule
    assert (time.approval.mapping, time.approval.mapping_version) == ("timely.entry -> time_entry", 1)
    assert [move.to_bucket for move in time.moves] == ["unbilled", "on_draft", "invoiced"]


def test_an_expense_shows_its_markup(explained):
    hotel = next(charge for line in explained.lines for charge in line.charges if charge.kind == "expense")
    assert hotel.amount == Decimal("105.00")
    assert ("markup_ppm", "5 %") in {(one.name, one.value) for one in hotel.inputs}


def test_changed_bytes_are_noticed(tx):
    gid = find_invoice(tx, CODE)
    charge = explain(tx, gid).lines[0].charges[0]
    tx.run("update inbox set body = body || ' '::bytea where number = %s", (charge.raw.number,))
    assert not explain(tx, gid).lines[0].charges[0].raw.intact


def test_readers_without_cost_do_not_see_figures_about_cost_inside_raw_records(tx):
    gid = find_invoice(tx, CODE)
    number = explain(tx, gid).lines[0].charges[0].raw.number
    tx.run("update inbox set body = %s where number = %s", (b'{"id": "e1", "cost_rate_in_cents": 6100}', number))
    assert "6100" not in explain(tx, gid).lines[0].charges[0].raw.text
    assert "6100" in explain(tx, gid, cost=True).lines[0].charges[0].raw.text


def test_an_amount_raised_behind_our_back_shows_as_a_sum_that_does_not_come_out(house):
    small_firm.raise_behind_our_back(house)
    with house.database.transaction() as tx:
        explained = explain(tx, find_invoice(tx, CODE))
    assert explained.net == Decimal("1567.50")
    assert [(one.cls, one.theirs) for one in explained.differences] == [("amount", "1667.50")]
    assert [one.difference for one in explained.checks if not one.holds] == [Decimal("-100.00")]

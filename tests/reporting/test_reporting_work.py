"""The list of work: every cause once, the most money first, nothing that agrees."""

from decimal import Decimal

from trueup.reporting.amounts import Amount
from trueup.reporting.work import headline, held_once, work


def euro(text):
    return (Amount(Decimal(text), "EUR"),)


def test_every_cause_is_one_row_and_the_most_money_stands_first(tx):
    listed = [(item.area, item.code, item.count) for item in work(tx)]
    assert listed[:3] == [
        ("hold", "TAX_UNDETERMINED", 1),
        ("hold", "SIGNOFF_MISSING", 1),
        ("hold", "APPROVAL_MISSING", 1),
    ]
    assert ("hold", "RATE_MISSING", 1) in listed
    assert ("record", "timely/entry/not_in_table", 1) in listed
    assert ("record", "timely/entry/waiting", 1) in listed
    assert ("delivery", "ledgerly/journal/rejected/CLOSED", 1) in listed


def test_a_held_deal_says_its_own_reason_and_who_must_act(tx):
    deal = next(item for item in work(tx) if item.code == "TAX_UNDETERMINED")
    assert deal.title == "Deal not set up: tax not determined"
    assert "DE01 is not registered to sell into CH" in deal.sentence
    assert (deal.owner, deal.amounts) == ("Tax", euro("8000.00"))
    assert deal.link == "/billing?reason=TAX_UNDETERMINED&about=deals"


def test_time_without_a_rate_keeps_its_hours(tx):
    item = next(item for item in work(tx) if item.code == "RATE_MISSING")
    assert (item.minutes, item.amounts) == (60, euro("0.00"))


def test_what_waits_for_another_record_is_nobodys_work_yet(tx):
    waiting = next(item for item in work(tx) if item.code == "timely/entry/waiting")
    assert waiting.state == "waiting"
    assert "X99-DE01" in waiting.sentence


def test_the_headline_adds_up_what_is_held_once_for_each_thing(tx):
    assert held_once(tx) == euro("13300.00")
    assert headline(tx).held == euro("13300.00")
    tx.run(
        """
        insert into holds (code, scope, scope_kind, amount, currency, owner, reason, releases_when)
        select 'CAP_EXCEEDED', scope, scope_kind, amount, currency, owner, reason, releases_when from holds
        where code = 'APPROVAL_MISSING'
        """
    )
    assert held_once(tx) == euro("13300.00")


def test_a_paused_system_stands_in_the_headline(tx):
    tx.run("update systems set paused_until = now() + interval '1 minute' where system = 'purse'")
    assert headline(tx).paused == ("purse",)


def test_a_released_hold_is_no_work(tx):
    tx.run("update holds set released_at = now(), release_reason = 'signed' where code = 'SIGNOFF_MISSING'")
    assert "SIGNOFF_MISSING" not in {item.code for item in work(tx)}

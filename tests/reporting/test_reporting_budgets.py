"""What a person sees of an account's budget: who uses it, what is left, and when its queue will be empty."""

from trueup.reporting.budgets import budgets
from trueup.store import budgets as kept
from trueup.store.deliveries import Command, ask


def test_an_account_says_what_is_used_and_left_who_uses_it_and_when_its_queue_is_empty(database):
    with database.transaction() as tx:
        kept.open_account(tx, "books", 10.0, 4, 30.0)
        lot = kept.take(tx, "books", "one", "posting", "DE01", 2)
        kept.take(tx, "books", "one", "backfill", "", 1)
        kept.give_back(tx, "books", [kept.Returned(lot.lot, 2, 0)], well=True)
        tx.run("update budgets set tokens = 2")
        kept.take(tx, "books", "one", "posting", "US01", 1)
        ask(
            tx,
            [
                Command(f"k{n}", "erp", "invoice", f"inv_{n}", "invoice", "create", "A", {"legal_entity": "DE01"})
                for n in range(120)
            ],
        )
        (found,) = budgets(tx, {"books": ["erp"], "unknown": ["crm"]})
        owners = tx.rows("select distinct legal_entity from deliveries")
    assert [row["legal_entity"] for row in owners] == ["DE01"]
    assert (found.concurrency, found.slots, found.state) == (4, 4, "free")
    assert found.at_once + found.left == 4
    assert found.queue == 120
    assert found.calls_day == 2
    assert {(use.lane, use.legal_entity): use.calls_hour for use in found.users}[("posting", "DE01")] == 2
    # Two calls in five minutes: 120 deliveries would take five hours at that pace.
    with database.transaction() as tx:
        now = tx.value("select now()")
    assert 17_000 < (found.clears_at - now).total_seconds() < 18_100


def test_a_paused_and_a_stopped_account_say_so(database):
    with database.transaction() as tx:
        kept.open_account(tx, "away", 10.0, 4, 30.0)
        kept.slow_down(tx, "away", 60.0, overload=True)
        kept.slow_down(tx, "away", 60.0, overload=True)
        kept.open_account(tx, "locked", 10.0, 4, 30.0)
        kept.may_sign_in(tx, "locked", "one", "mark")
        kept.sign_in_refused(tx, "locked", "they do not know us")
        away, locked = budgets(tx, {"away": ["crm"], "locked": ["psa"]})
    assert (away.state, away.slots, away.rate) == ("paused", 3, 7.0)
    assert away.paused_until is not None
    assert (locked.state, locked.stopped_because, locked.clears_at) == ("stopped", "they do not know us", None)

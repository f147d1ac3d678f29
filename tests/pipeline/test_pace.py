"""One budget for each vendor account, whoever calls: workers, lanes, legal entities."""

import threading
import time
from collections import Counter

import pytest

from trueup.connectors.sdk.client import Pace
from trueup.connectors.sdk.manifest import Limits
from trueup.kernel.errors import Busy
from trueup.pipeline import pace as pace_module
from trueup.pipeline.pace import SharedBudget
from trueup.store import budgets


def limits(per_second=2000.0, concurrency=5):
    return Limits(concurrency=concurrency, per_second=per_second, timeout_seconds=10, source="a test")


def worker(database, **more):
    """One process's hand in the account `erp`."""
    pace = Pace(1, 1)
    pace.shared = SharedBudget(database, "erp", "The ERP", limits(**more))
    return pace


class Account:
    """Counts the calls under way at the vendor, and how many there were of each use."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = 0
        self.most = 0
        self.calls = Counter()
        self.times = []

    def call(self, pace, lane, entity="", seconds=0.005):
        with pace.using(lane, entity), pace:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
                self.calls[(lane, entity)] += 1
                self.times.append(time.monotonic())
            time.sleep(seconds)
            with self.lock:
                self.now -= 1


def together(*works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)


def test_three_workers_share_the_concurrency_of_one_account(empty):
    account = Account()
    hands = [worker(empty, concurrency=3) for _ in range(3)]

    def calls(pace):
        for _ in range(10):
            account.call(pace, "master")

    together(*(lambda pace=pace: calls(pace) for pace in hands for _ in range(3)))
    assert sum(account.calls.values()) == 90
    assert account.most <= 3


def test_three_workers_together_keep_the_rate_and_ask_the_database_far_less_than_once_a_call(empty):
    account = Account()
    hands = [worker(empty, per_second=100.0, concurrency=4) for _ in range(3)]

    def calls(pace):
        for _ in range(40):
            account.call(pace, "volume", seconds=0.0)

    began = time.monotonic()
    together(*(lambda pace=pace: calls(pace) for pace in hands))
    took = time.monotonic() - began
    assert sum(account.calls.values()) == 120
    assert len(account.times) <= 100 * took + 25 + 1
    for pace in hands:
        pace.shared.close()
    with empty.transaction() as tx:
        lots = tx.value("select last_value from budget_lots_lot_seq")
    assert lots < 120 / 2


def test_a_dead_workers_slots_come_back_when_their_lease_ends(empty):
    dead = worker(empty, concurrency=2)
    for _ in range(2):
        dead.shared.begin("posting", "")
    other = worker(empty, concurrency=2)
    with empty.transaction() as tx:
        assert isinstance(budgets.take(tx, "erp", other.shared.holder, "posting", "", 1), budgets.Wait)
        tx.run("update budget_lots set lease_until = clock_timestamp() - interval '1 second'")
        assert isinstance(budgets.take(tx, "erp", other.shared.holder, "posting", "", 1), budgets.Lot)


def test_a_call_that_takes_longer_than_its_lease_keeps_its_slot(empty, monkeypatch):
    monkeypatch.setattr(budgets, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(pace_module, "RENEW_SECONDS", 0.3)
    slow = worker(empty, concurrency=1)
    permit = slow.shared.begin("posting", "")
    time.sleep(2.5)
    with empty.transaction() as tx:
        assert isinstance(budgets.take(tx, "erp", "other", "posting", "", 1), budgets.Wait)
    slow.shared.end(permit)
    slow.shared.close()
    with empty.transaction() as tx:
        assert isinstance(budgets.take(tx, "erp", "other", "posting", "", 1), budgets.Lot)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [(-1.0, 1, 1.2), (1e9, 900, 991), (30.0, 30, 33.1), (None, 0.0, 0.2)],
)
def test_whatever_retry_after_says_everybody_stays_away_between_a_second_and_a_quarter_of_an_hour(
    empty, said, least, most
):
    one, other = worker(empty), worker(empty)
    seconds = one.shared.told(said, overload=True)
    assert least <= seconds + 0.05
    assert seconds <= most
    if seconds > 2:
        with pytest.raises(Busy) as busy:
            other.shared.begin("posting", "")
        assert busy.value.retry_after == pytest.approx(seconds, abs=2)


def test_without_a_word_from_the_vendor_each_refusal_in_a_row_keeps_us_away_for_longer(empty):
    pace = worker(empty)
    waits = []
    for _ in range(14):
        with empty.transaction() as tx:
            tx.run("update budgets set paused_until = null")
        waits.append(pace.shared.told(None, overload=False))
    assert waits[5] > 8 * waits[1]
    assert max(waits) <= budgets.LONGEST_GUESS * 1.11


def test_too_many_calls_make_us_slower_and_success_makes_us_faster_again(empty):
    pace = worker(empty, per_second=100.0, concurrency=5)
    pace.shared.told(None, overload=True)
    pace.shared.told(None, overload=True)
    with empty.transaction() as tx:
        slowed = budgets.accounts(tx)[0]
    assert slowed["rate"] == pytest.approx(70)
    assert slowed["slots"] == 4
    for _ in range(60):
        with empty.transaction() as tx:
            tx.run("update budgets set paused_until = null, slowed_at = null, raised_at = null, tokens = 10")
            lot = budgets.take(tx, "erp", "me", "posting", "", 1)
            budgets.give_back(tx, "erp", [budgets.Returned(lot.lot, 1, 0)], well=True)
    with empty.transaction() as tx:
        again = budgets.accounts(tx)[0]
    assert (again["rate"], again["slots"]) == (100.0, 5.0)


def test_one_refusal_between_calls_that_went_well_does_not_make_us_slower(empty):
    pace = worker(empty, per_second=100.0, concurrency=5)
    pace.shared.told(None, overload=True)
    with empty.transaction() as tx:
        assert budgets.accounts(tx)[0]["rate"] == 100.0


def test_an_outage_is_no_overload_and_leaves_the_pace_as_it_was(empty):
    pace = worker(empty, per_second=100.0)
    pace.shared.told(1.0, overload=False)
    with empty.transaction() as tx:
        assert budgets.accounts(tx)[0]["rate"] == 100.0


def test_no_legal_entity_has_more_than_one_and_a_half_times_its_share_while_others_wait(empty):
    account = Account()
    pace = worker(empty, per_second=150.0, concurrency=2)
    stop = time.monotonic() + 4.0

    def calls(entity):
        while time.monotonic() < stop:
            account.call(pace, "posting", entity, seconds=0.0)

    # One legal entity pushes with eight threads, four others with one each.
    works = ["BIG"] * 8 + ["DE01", "US01", "UK01", "FR01"]
    together(*(lambda entity=entity: calls(entity) for entity in works))
    share = sum(account.calls.values()) / 5
    assert account.calls[("posting", "BIG")] <= 1.5 * share


def test_a_lane_that_waits_too_long_goes_first_once(empty):
    pace = worker(empty, concurrency=3)
    assert pace.shared is not None
    with empty.transaction() as tx:
        budgets.slow_down(tx, "erp", 1.0, overload=False)
        budgets.take(tx, "erp", "old", "backfill", "", 1)
        budgets.take(tx, "erp", "new", "master", "", 1)
        tx.run("update budgets set paused_until = null")
        tx.run("update budget_waits set since = since - interval '95 seconds' where lane = 'backfill'")
        assert isinstance(budgets.take(tx, "erp", "new", "master", "", 1), budgets.Wait)
        assert isinstance(budgets.take(tx, "erp", "old", "backfill", "", 1), budgets.Lot)
        assert isinstance(budgets.take(tx, "erp", "new", "master", "", 1), budgets.Lot)


def test_f14_a_noisy_back_fill_takes_four_of_five_slots_and_close_day_posting_still_drains(empty):
    account = Account()
    noisy, close = worker(empty, concurrency=5), worker(empty, concurrency=5)
    stop = threading.Event()
    together_began = time.monotonic()

    def back_fill():
        while not stop.is_set():
            account.call(noisy, "backfill", seconds=0.3)

    noise = [threading.Thread(target=back_fill) for _ in range(8)]
    for thread in noise:
        thread.start()
    time.sleep(0.5)
    for number in range(40):
        account.call(close, "posting", f"E{number % 3}")
    took = time.monotonic() - together_began
    stop.set()
    for thread in noise:
        thread.join(timeout=30)
    assert account.most <= 5
    assert took < 10  # forty calls of 5 ms through the slot that is kept for them

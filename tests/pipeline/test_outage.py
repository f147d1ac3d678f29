"""A target is away for a day: nothing is lost, others are unharmed, and afterwards the backlog drains fairly at our pace.

`TRUEUP_OUTAGE_EFFECTS=50000 pytest -s tests/pipeline/test_outage.py` runs it at full size and prints its figures.
"""

import os
import resource
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trueup.connectors.sdk.client import Pace
from trueup.connectors.sdk.manifest import Limits
from trueup.connectors.sdk.wire import Receipt
from trueup.kernel.errors import Busy
from trueup.mapping.file import load
from trueup.pipeline.deliver import deliver
from trueup.pipeline.pace import SharedBudget
from trueup.store import budgets, deliveries
from trueup.store.deliveries import Command

sys.path.append(str(Path(__file__).parents[1]))
import small_firm

EFFECTS = int(os.environ.get("TRUEUP_OUTAGE_EFFECTS", "1500"))
RATE = 500.0 if EFFECTS > 5000 else 250.0
CONCURRENCY = 8
SMALL = ("US01", "UK01", "FR01", "NL01")
ROUNDS = 40
"""Each stands for as long as the pause after it: together more than a day once they have grown to a minute."""


class Target:
    """A vendor that may be away; every call goes through the shared budget, as the request loop does it."""

    def __init__(self, database, system):
        self.client = system.client
        self.client.pace = Pace(1, 1)
        limits = Limits(concurrency=CONCURRENCY, per_second=RATE, timeout_seconds=10, source="a test")
        self.client.pace.shared = SharedBudget(database, system.name, system.name, limits)
        self.client.send = self.send
        self.lock = threading.Lock()
        self.away = False
        self.times = []
        self.landed = Counter()
        self.order = []

    def send(self, object_name, key, body, external_id):
        with self.client.pace:
            with self.lock:
                self.times.append(time.monotonic())
            if not self.away:
                with self.lock:
                    self.landed[key] += 1
                    self.order.append(key.split("_")[1])
                return Receipt(f"x-{key}")
        raise Busy("it is away", self.client.pace.shared.told(None, overload=False))


@pytest.fixture
def firm(empty):
    """Two targets, each with a mapping that writes nothing but a day; nobody acts on what is delivered."""
    house = small_firm.build(empty)
    house.reactions.clear()
    targets = []
    for role in ("erp", "psa"):
        name = next(one.name for one in house.systems.values() if one.role == role)
        key = next(key for key in house.outward if key[1] == name)
        house.outward[("invoice", name, key[2])] = load(
            f"mapping: invoice -> {name}.{key[2]}\nversion: 1\nwhy: a test\n"
            "fields:\n  day: {day: invoice_date}\nexamples: [{is: none, in: {}}]\n"
        )
        targets.append((house.systems[name], key[2], Target(empty, house.systems[name])))
    return house, targets


def ask(house, system, name, entities):
    with house.database.transaction() as tx:
        deliveries.ask(
            tx,
            [
                Command(
                    f"{system.name}-{entity}-{n}", system.name, name, f"inv_{entity}_{n}", "invoice", "create", "A",
                    {"legal_entity": entity, "invoice_date": "2026-08-31"},
                )
                for entity, count in entities.items()
                for n in range(count)
            ],
        )  # fmt: skip


def drain(house, system):
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        while deliver(house, system, "tester", pool):
            pass


def pass_time(house):
    """Let every pause and back-off be over."""
    with house.database.transaction() as tx:
        tx.run("update budgets set paused_until = null")
        tx.run("update systems set paused_until = null")
        tx.run("update deliveries set due_at = now() where state = 'due'")


def p95(times):
    return sorted(times)[int(len(times) * 0.95)]


def timed(house, system, name, label, count=60):
    """Deliver one by one to a healthy target; gives what each took, seconds."""
    took = []
    for number in range(count):
        ask(house, system, name, {f"{label}{number}": 1})
        began = time.monotonic()
        drain(house, system)
        took.append(time.monotonic() - began)
    return took


def test_a_day_without_a_target_loses_nothing_harms_nobody_and_drains_fairly_at_our_pace(firm):
    house, [(erp, erp_name, away), (psa, psa_name, healthy)] = firm
    small = EFFECTS // 40
    load_of = {"BIG": EFFECTS - 4 * small, **dict.fromkeys(SMALL, small)}
    baseline = p95(timed(house, psa, psa_name, "before"))
    away.away = True
    ask(house, erp, erp_name, load_of)

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for _ in range(ROUNDS):
            deliver(house, erp, "tester", pool)
            pass_time(house)
    asked = len(away.times)
    assert asked <= ROUNDS * CONCURRENCY  # a look now and then, whatever the length of the queue
    with house.database.transaction() as tx:
        budgets.slow_down(tx, erp.name, 900.0, overload=False)
    during = p95(timed(house, psa, psa_name, "during"))
    assert during < max(2 * baseline, 0.25)
    assert all(count == 1 for count in healthy.landed.values())
    assert len(healthy.landed) == 120

    away.away = False
    away.times.clear()
    pass_time(house)
    began = time.monotonic()
    drain(house, erp)
    while sum(away.landed.values()) < EFFECTS and time.monotonic() < began + 60 + 4 * EFFECTS / RATE:
        pass_time(house)  # what was tried in the outage has a back-off of its own
        drain(house, erp)
    took = time.monotonic() - began
    assert len(away.landed) == EFFECTS
    assert all(count == 1 for count in away.landed.values())

    burst = RATE * budgets.BURST_SECONDS + CONCURRENCY
    assert len(away.times) <= RATE * took + burst
    starts = sorted(away.times)
    first = 0
    for last, moment in enumerate(starts):
        while starts[first] < moment - 1.0:
            first += 1
        # Calls of a lot may be begun up to two seconds after it was given out: at most a second's worth comes late.
        assert last - first + 1 <= 2 * RATE + burst

    ends = max(max(n for n, entity in enumerate(away.order) if entity == one) for one in SMALL)
    waiting = Counter(away.order[: ends + 1])
    assert waiting["BIG"] <= 1.5 * (ends + 1) / 5
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert rss < 2**30
    print(
        f"\n{EFFECTS} effects, {asked} calls in {ROUNDS} looks while it was away; drained in {took:.1f} s = "
        f"{EFFECTS / took:.0f}/s of {RATE:.0f}/s; the first {ends + 1} went {dict(waiting)}; "
        f"other target p95 {baseline * 1000:.0f} ms before, {during * 1000:.0f} ms during; "
        f"memory {rss / 2**20:.0f} MiB"
    )

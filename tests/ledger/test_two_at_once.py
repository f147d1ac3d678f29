"""Two billing runs at once, and a milestone beside a run: nothing is billed twice, and what was billed was open."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial

import pytest
from laws import broken

from small_firm import entry, gid_of, hear
from trueup.processes import milestone_billing, time_to_billing


def together(*calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        return [job.result() for job in [pool.submit(call) for call in calls]]


@pytest.mark.parametrize("months", [("2026-08", "2026-08"), ("2026-08", "2026-09"), ("2026-09", "2026-08")])
def test_two_runs_of_one_entity_at_once_bill_every_hour_once(office, months):
    office.deal("X01", 100)
    for n in range(12):
        office.work(f"e{n}", 60 + n, day=f"2026-08-{n + 1:02d}")
    together(*(lambda m=m: office.run(m) for m in months))
    assert office.billed() == {"EUR": sum((Decimal(60 + n) * 100 / 60).quantize(Decimal("0.01")) for n in range(12))}
    assert not broken(office.database)


def test_a_milestone_and_a_run_at_once_bill_each_once(office):
    office.deal("X01", 100)
    office.deal("X03", 0, method="fixed_fee", goal=5000)
    office.work("e1", 60)
    gid = gid_of(office.house, "milestone", "X03-M1")
    hear(office.house, "timely", "goal", {"id": "g1", "ref": gid, "done": "2026-08-20"})
    bill = partial(milestone_billing.bill, office.house, gid, "m")
    together(bill, office.run, bill)
    assert office.billed() == {"EUR": Decimal(5100)}
    assert not broken(office.database)


def test_an_approval_taken_back_while_a_run_is_under_way_is_looked_at_again_and_not_billed(office, monkeypatch):
    office.deal("X01", 100)
    office.work("e1", 480)
    plan = time_to_billing.plan_run
    looks = []

    def meanwhile(*given):
        made = plan(*given)
        looks.append(made.invoices.height)
        hear(office.house, "timely", "entry", entry("e1", 480, state="sent", at=office.stamp()))
        return made

    monkeypatch.setattr(time_to_billing, "plan_run", meanwhile)
    assert office.run()["invoices"] == 0
    assert looks == [1, 0]
    assert (office.buckets("e1"), office.billed()) == ({}, {})
    assert not broken(office.database)

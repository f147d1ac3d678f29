"""A billing run in parts by contract gives what the run as a whole gives, whoever does which part, when and how often."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest
from laws import broken
from office import Office

from trueup import engine
from trueup.processes import time_to_billing
from trueup.store import ledger, periods

MONTH, ENTITY = "2026-08", "DE01"
RUN = "2026-08/DE01/billing"
SECONDS = 120.0


@pytest.fixture
def busy(office):
    return filled(office)


def filled(office):
    """Nine deals of six entries each; one is capped, one has an entry without a rate."""
    for n in range(9):
        office.deal(f"X{n:02d}", 100 + n, cap=450 if n == 4 else None)
        for m in range(6):
            more = {"role": "Analyst"} if n == 7 and m == 0 else {}
            office.work(f"e{n}-{m}", 60 + 7 * m + n, project=f"X{n:02d}-DE01", day=f"2026-08-{m + 3:02d}", **more)
    return office


def parted(office, size=10):
    """Let no worker hold more than so many entries."""
    office.house.firm = replace(office.house.firm, entries_per_part=size)
    return office


def result(office):
    with office.database.transaction() as tx:
        charges = tx.rows(
            "select key, document, line_key, minutes, amount, bucket, trace from charges order by key, document"
        )
        holds = tx.rows(
            "select code, scope, amount, minutes, released_at is null as open from holds order by code, scope"
        )
    return office.invoices(), charges, holds


def do_parts(office, of, order=None, threads=1):
    def part(number):
        done = time_to_billing.bill(office.house, MONTH, ENTITY, f"part-{number}", number, of)
        time_to_billing.finish(office.house, MONTH, ENTITY)
        return done

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(part, order or range(of)))


def run_row(office):
    with office.database.transaction() as tx:
        return ledger.run_of(tx, RUN)


def test_parts_in_any_order_and_repeated_give_what_the_whole_gives(busy):
    figures = busy.run(MONTH, ENTITY)
    whole = result(busy)
    again = parted(filled(Office(busy.database)))
    assert time_to_billing.divide(again.house, MONTH, ENTITY) == 8
    assert time_to_billing.finish(again.house, MONTH, ENTITY)["parts_done"] == 0
    do_parts(again, 8, order=[5, 2, 2, 7, 0, 1, 5, 3, 4])
    assert (run_row(again)["state"], run_row(again)["figures"]["parts_done"]) == ("running", 7)
    do_parts(again, 8)
    assert result(again) == whole
    row = run_row(again)
    assert row["state"] == "done"
    assert row["figures"] == {
        "parts": 8, "parts_done": 8, **{name: figures[name] for name in ("invoices", "net", "holds", "charges")},
    }  # fmt: skip
    assert not broken(again.database)


def test_the_dry_run_of_a_run_in_parts_is_that_of_the_whole(busy):
    whole = time_to_billing.preview(busy.house, MONTH, ENTITY)
    assert len(whole["invoices"]) == 9
    assert time_to_billing.preview(parted(busy).house, MONTH, ENTITY) == whole


def test_two_months_in_parts_at_once_bill_every_hour_once(busy):
    parted(busy)
    for month in (MONTH, "2026-09"):
        assert time_to_billing.divide(busy.house, month, ENTITY) == 8
    jobs = [(month, number) for number in range(8) for month in (MONTH, "2026-09")]

    def part(job):
        month, number = job
        time_to_billing.bill(busy.house, month, ENTITY, "part", number, 8)
        return time_to_billing.finish(busy.house, month, ENTITY)

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(part, jobs))
    assert sum("holds" in end and end["parts_done"] == 8 for end in ends) == 2
    entries = [(60 + 7 * m + n, 100 + n, n, m) for n in range(9) for m in range(6)]
    whole = sum(
        (Decimal(minutes * rate) / 60).quantize(Decimal("0.01")) for minutes, rate, n, m in entries
        if n != 4 and (n, m) != (7, 0)
    )  # fmt: skip
    assert busy.billed() == {"EUR": whole + 450}
    assert not broken(busy.database)


def test_a_run_begun_keeps_its_parts_though_the_size_changes(busy):
    assert time_to_billing.divide(parted(busy).house, MONTH, ENTITY) == 8
    assert time_to_billing.divide(parted(busy, 20).house, MONTH, ENTITY) == 8
    with busy.database.transaction() as tx:
        assert len(engine.beginning(tx, f"billing_part/{MONTH}/{ENTITY}/")) == 8


def test_workers_of_the_engine_carry_a_run_in_parts_to_its_end(busy):
    parted(busy)
    running = engine.Engine(busy.database)
    with busy.database.transaction() as tx:
        process = time_to_billing.start(tx, MONTH, ENTITY)
    running.launch(busy.house)
    try:
        ends = time.monotonic() + SECONDS
        while (run_row(busy) or {}).get("state") != "done":
            assert time.monotonic() < ends, "the run did not end"
            time.sleep(0.1)
    finally:
        running.stop()
    assert run_row(busy)["figures"]["invoices"] == 9
    with busy.database.transaction() as tx:
        assert engine.one(tx, process)["status"] == "SUCCESS"
        assert periods.first_month(tx) == MONTH
    assert not broken(busy.database)

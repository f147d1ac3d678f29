"""A billing run in parts by contract gives what the run as a whole gives, whoever does which part, when and how often."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from laws import broken
from office import Office, filled, parted, run_row

from trueup import engine
from trueup.processes import dry_run, time_to_billing

MONTH, ENTITY = "2026-08", "DE01"


@pytest.fixture
def busy(office):
    return filled(office)


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
    whole = dry_run.preview(busy.house, MONTH, ENTITY)
    assert (whole["parts"], whole["totals"]["EUR"]["invoices"], len(whole["invoices"])) == (1, 9, 9)
    assert dry_run.preview(parted(busy).house, MONTH, ENTITY) == whole | {"parts": 8}
    figures = busy.run(MONTH, ENTITY)
    assert figures["net"] == {"EUR": format(whole["totals"]["EUR"]["net"], "f")}


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

"""A schedule is billed with the month's run: once, with what was skipped, until it adds up to the contract."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import small_firm
from trueup.billing.schedules import Schedule
from trueup.kernel.ids import derive
from trueup.kernel.money import from_units
from trueup.pipeline.house import House
from trueup.pipeline.ingest import author
from trueup.processes import month_end, opportunity_to_project, schedule_billing, time_to_billing
from trueup.reporting import billing_desk
from trueup.reporting.explain import explain, find_invoice
from trueup.store import objects
from trueup.store.database import Database

ENTITY = small_firm.ENTITY
LINES = {
    "S01-L1": {"package": "DATA-FF", "method": "fixed_fee", "amount": 100000},
    "S02-L1": {"package": "DATA-FF", "method": "fixed_fee", "amount": 80000},
    "S03-L1": {"package": "DATA-FF", "method": "fixed_fee", "amount": 30000},
    "S04-L1": {"package": "ADV-TM", "method": "time_and_materials", "amount": 5000},
    "S05-L1": {"package": "DATA-FF", "method": "fixed_fee", "amount": 12000},
}
SCHEDULES = {
    "S01-L1": Schedule("S01-L1", "instalments", date(2026, 8, 1), count=12),
    "S02-L1": Schedule(
        "S02-L1",
        "percent_complete",
        date(2026, 8, 1),
        progress=tuple(
            (date(2026, month, 20), Fraction(done, 100))
            for month, done in ((8, 35), (9, 60), (10, 50), (11, 55), (12, 100))
        ),
    ),
    "S03-L1": Schedule(
        "S03-L1",
        "service_period",
        date(2026, 8, 12),
        date(2026, 11, 15),
        prices=((date(2026, 8, 1), Decimal(3000)), (date(2026, 10, 16), Decimal(4500))),
    ),
    "S04-L1": Schedule("S04-L1", "instalments", date(2026, 8, 1), count=5),
    "S05-L1": Schedule("S05-L1", "instalments", date(2026, 8, 1), count=3, every_months=3),
}


@pytest.fixture
def house(empty: Database):
    """Make a firm with five deals, each billed by a schedule; nothing was billed yet."""
    built = small_firm.build(empty)
    built = dataclasses.replace(built, firm=dataclasses.replace(built.firm, schedules=SCHEDULES))
    account = {"id": "a1", "name": "Fjord Energi", "country": "de", "vat": "DE1", "currency": "EUR", "terms": 30}
    small_firm.hear(built, "dealer", "account", account)
    for line, sold in LINES.items():
        code = line[:3]
        small_firm.hear(built, "dealer", "deal", small_firm.deal(code, "a1", [{"key": line, **sold}]))
        opportunity_to_project.set_up(
            built, small_firm.gid_of(built, "contract", code), f"opportunity_to_project/{code}"
        )
    yield built
    for system in built.systems.values():
        system.client.close()


def bill(house: House, *months: str) -> list[dict[str, Any]]:
    return [schedule_billing.bill(house, month, ENTITY, f"schedule_billing/{month}/{ENTITY}") for month in months]


def change(house: House, line: str, **more: Any) -> None:
    changed = {**house.firm.schedules, line: dataclasses.replace(house.firm.schedules[line], **more)}
    house.firm = dataclasses.replace(house.firm, schedules=changed)


def billed(house: House, line: str) -> dict[str, str]:
    """Return what stands on drafts, by month."""
    with house.database.transaction() as tx:
        rows = tx.rows(
            """
            select c.period, c.amount, a.amount as allocated, o.body ->> 'net' as net from charges c
            join allocations a on a.charge = c.key join objects o on o.gid = c.document
            where c.contract_line = %s and c.kind = 'schedule' order by c.period
            """,
            (line,),
        )
    assert all(row["amount"] == row["allocated"] for row in rows)
    assert all(Decimal(row["net"]) == from_units(row["amount"], "EUR") for row in rows)
    return {row["period"]: f"{from_units(row['amount'], 'EUR'):.2f}" for row in rows}


def buckets(house: House, line: str) -> dict[str, str]:
    with house.database.transaction() as tx:
        rows = tx.rows("select bucket, quantity from buckets where fact = %s and quantity <> 0", (f"{line}/schedule",))
    return {row["bucket"]: f"{from_units(row['quantity'], 'EUR'):.2f}" for row in rows}


def open_holds(house: House) -> set[tuple[str, str]]:
    with house.database.transaction() as tx:
        return {
            (row["scope"], row["code"]) for row in tx.rows("select scope, code from holds where released_at is null")
        }


def months(first: str, count: int) -> list[str]:
    year, month = int(first[:4]), int(first[5:]) - 1
    return [f"{year + (month + n) // 12:04d}-{(month + n) % 12 + 1:02d}" for n in range(count)]


def test_a_month_billed_twice_is_billed_once(house: House) -> None:
    first = bill(house, "2026-08")[0]
    again = bill(house, "2026-08")[0]
    assert first["invoices"] == 4
    assert again == {"run": f"2026-08/{ENTITY}/schedules", "already": "done"}
    with house.database.transaction() as tx:
        tx.run("delete from runs")  # even if the run were forgotten, the charges are not
    assert bill(house, "2026-08")[0]["invoices"] == 0
    assert billed(house, "S01-L1") == {"2026-08": "8333.33"}
    assert buckets(house, "S01-L1") == {"source": "-8333.33", "on_draft": "8333.33"}


def test_a_month_that_was_skipped_is_billed_with_the_next_and_an_earlier_one_gives_nothing_after_it(
    house: House,
) -> None:
    bill(house, "2026-08", "2026-11")
    assert billed(house, "S01-L1") == {"2026-08": "8333.33", "2026-11": "25000.00"}
    assert billed(house, "S05-L1") == {"2026-08": "4000.00", "2026-11": "4000.00"}
    assert bill(house, "2026-10")[0]["invoices"] == 0
    with house.database.transaction() as tx:
        sql = "select body #>> '{lines,0,description}' from objects where body ->> 'code' = 'S01-DE01-2026-11-S'"
        assert tx.value(sql) == "Data: instalments 2 to 4"


def test_the_money_of_all_months_adds_up_to_the_contract(house: House) -> None:
    bill(house, *months("2026-08", 14))
    paid = billed(house, "S01-L1")
    assert list(paid) == months("2026-08", 12)
    assert sum(map(Decimal, paid.values())) == 100000
    assert {month for month, amount in paid.items() if amount == "8333.34"} == {
        "2026-09",
        "2026-12",
        "2027-03",
        "2027-06",
    }
    assert sum(map(Decimal, billed(house, "S05-L1").values())) == 12000


def test_progress_that_falls_bills_nothing_until_it_is_outweighed(house: House) -> None:
    bill(house, *months("2026-08", 5))
    assert billed(house, "S02-L1") == {"2026-08": "28000.00", "2026-09": "20000.00", "2026-12": "32000.00"}


def test_service_is_billed_for_its_days_at_the_price_of_each(house: House) -> None:
    bill(house, *months("2026-08", 5))
    assert billed(house, "S03-L1") == {
        "2026-08": "1935.48",  # 20 of 31 days
        "2026-09": "3000.00",
        "2026-10": "3774.19",  # 15 days at 3,000 = 1,451.61 and 16 at 4,500 = 2,322.58
        "2026-11": "2250.00",  # 15 of 30 days
    }


def test_a_line_that_is_billed_by_the_hour_is_held_in_its_bucket_until_that_is_settled(house: House) -> None:
    bill(house, "2026-08", "2026-09")
    assert open_holds(house) == {("S04-L1/schedule", "METHOD_NOT_ALLOWED")}
    assert buckets(house, "S04-L1") == {"source": "-2000.00", "held": "2000.00"}
    assert billed(house, "S04-L1") == {}
    small_firm.hear(
        house, "dealer", "deal",
        {**small_firm.deal("S04", "a1", [{"key": "S04-L1", "package": "DATA-FF", "method": "fixed_fee", "amount": 5000}]),
         "at": "2"},
    )  # fmt: skip
    bill(house, "2026-10")
    assert open_holds(house) == set()
    assert billed(house, "S04-L1") == {"2026-10": "3000.00"}
    assert buckets(house, "S04-L1") == {"source": "-3000.00", "on_draft": "3000.00"}


def test_a_schedule_that_asks_for_less_than_was_billed_waits_for_a_credit(house: House) -> None:
    bill(house, "2026-08")
    change(house, "S01-L1", amount=Decimal(40000))
    bill(house, "2026-09")
    assert ("S01-L1/schedule", "CREDIT_DUE") in open_holds(house)
    assert buckets(house, "S01-L1") == {"source": "-8333.33", "on_draft": "8333.33"}
    bill(house, "2026-10")
    assert billed(house, "S01-L1") == {"2026-08": "8333.33", "2026-10": "1666.67"}
    assert ("S01-L1/schedule", "CREDIT_DUE") not in open_holds(house)


def credit(house: House, code: str, line: str, net: int) -> None:
    """Let accounts receivable credit a posted invoice."""
    small_firm.hear(
        house, "ledgerly", "bill",
        small_firm.bill(house, code, number="R-9", net=8333.33, tax=1583.33, gross=9916.66, open=9916.66),
    )  # fmt: skip
    with house.database.transaction() as tx:
        posted = objects.load(tx, [invoice := find_invoice(tx, code) or ""])[invoice]
        amounts = {"net": str(net), "tax": str(net * 19 // 100), "gross": str(net * 119 // 100), "balance": "0"}
        values = {
            **posted.body, **amounts, "code": f"{code}-C", "invoice_type": "credit", "corrects": invoice, "number": "C-1",
            "status": "posted",
            "lines": [{**posted.body["lines"][0], "key": line, "quantity": "1", "rate": str(net), "net": str(net)}],
        }  # fmt: skip
        author(tx, house, [("invoice", derive("invoice", f"{code}-C"), values)], role="erp", actor="test")


def test_a_credit_ends_the_wait_of_a_schedule_that_asks_for_less(house: House) -> None:
    bill(house, "2026-08")
    change(house, "S01-L1", amount=Decimal(12000))
    bill(house, "2026-09")
    assert ("S01-L1/schedule", "CREDIT_DUE") in open_holds(house)
    credit(house, "S01-DE01-2026-08-S", "0-schedule-S01-L1", 7000)
    assert buckets(house, "S01-L1") == {"source": "-8333.33", "invoiced": "1333.33", "credited": "7000.00"}
    bill(house, "2026-10")
    assert ("S01-L1/schedule", "CREDIT_DUE") not in open_holds(house)
    with house.database.transaction() as tx:
        sql = "select sum(a.amount)::bigint from allocations a join charges c on c.key = a.charge where c.fact = %s"
        assert from_units(tx.value(sql, ("S01-L1/schedule",)), "EUR") == 3000  # three of twelve months of 12,000


def test_a_schedule_starts_with_the_billing_run_of_the_month_both_or_neither(house: House) -> None:
    time_to_billing.bill(house, "2026-08", ENTITY, f"billing_run/2026-08/{ENTITY}")
    with house.database.transaction() as tx:
        queued = tx.rows("select workflow_uuid as id from dbos.workflow_status where name = 'schedule_billing'")
    assert [row["id"] for row in queued] == [f"schedule_billing/2026-08/{ENTITY}"]


def test_two_months_billed_side_by_side_bill_nothing_twice(house: House) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda month: bill(house, month), ("2026-08", "2026-09")))
    assert sum(map(Decimal, billed(house, "S01-L1").values())) == Decimal("16666.67")
    assert sum(map(Decimal, billed(house, "S02-L1").values())) == 48000


def test_a_posted_schedule_is_invoiced_in_the_ledger(house: House) -> None:
    bill(house, "2026-08")
    small_firm.hear(
        house, "ledgerly", "bill",
        small_firm.bill(house, "S05-DE01-2026-08-S", number="R-7", net=4000, tax=760, gross=4760, open=4760),
    )  # fmt: skip
    assert buckets(house, "S05-L1") == {"source": "-4000.00", "invoiced": "4000.00"}


def test_a_preview_shows_the_bill_and_writes_nothing(house: House) -> None:
    shown = schedule_billing.preview(house, "2026-08", ENTITY)
    assert [row["code"] for row in shown["invoices"]] == [
        f"{code}-DE01-2026-08-S" for code in ("S01", "S02", "S03", "S05")
    ]
    assert billed(house, "S01-L1") == {}


def test_the_month_end_earns_what_a_schedule_billed_as_invoiced(house: House) -> None:
    packages = house.firm.packages
    as_invoiced = {**packages, "DATA-FF": dataclasses.replace(packages["DATA-FF"], revenue_method="as_invoiced")}
    house.firm = dataclasses.replace(house.firm, packages=as_invoiced)
    bill(house, "2026-08")
    small_firm.hear(
        house, "ledgerly", "bill",
        small_firm.bill(house, "S01-DE01-2026-08-S", number="R-8", net=8333.33, tax=1583.33, gross=9916.66, open=9916.66),
    )  # fmt: skip
    month_end.close(house, "2026-08", ENTITY, f"month_end/2026-08/{ENTITY}")
    with house.database.transaction() as tx:
        rows = tx.rows("select line_key, recognised, billed from positions where recognised <> 0 order by line_key")
    seen = {
        row["line_key"]: tuple(str(from_units(row[name], "EUR")) for name in ("recognised", "billed")) for row in rows
    }
    assert seen == {
        "S01-L1": ("8333.33", "8333.33"),
        "S02-L1": ("28000.00", "0.00"),
        "S03-L1": ("1935.48", "0.00"),
        "S05-L1": ("4000.00", "0.00"),
    }


def test_a_clerk_sees_what_a_schedule_billed_and_why_it_is_held(house: House) -> None:
    bill(house, "2026-08")
    with house.database.transaction() as tx:
        found = explain(tx, find_invoice(tx, "S02-DE01-2026-08-S") or "")
        held = billing_desk.items(tx)
    assert found is not None
    assert found.exact
    [line] = found.lines
    [charge] = line.charges
    assert (line.description, charge.label) == ("Data: progress to 2026-08-20", "Schedule of S02-L1, 2026-08")
    shown = {one.name: one.value for one in charge.inputs}
    assert (shown["due"], shown["billed_before"], shown["schedule"]) == (
        "28,000.00 EUR",
        "0.00 EUR",
        "percent_complete",
    )
    assert [(item.label, item.project_code, item.code) for item in held] == [
        ("Schedule of S04-L1", "S04-DE01", "METHOD_NOT_ALLOWED")
    ]

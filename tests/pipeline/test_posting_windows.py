"""Documents are not sent when the books do not take them: outside their hours, or into a closed month."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from trueup.connectors.sdk.wire import Receipt
from trueup.kernel.errors import Refused
from trueup.mapping.file import load
from trueup.pipeline.deliver import deliver
from trueup.pipeline.windows import Posting, Window
from trueup.store import deliveries, vendor_periods
from trueup.store.deliveries import Command

sys.path.append(str(Path(__file__).parents[1]))
import small_firm


@pytest.fixture
def house(empty):
    return small_firm.build(empty)


class Books:
    """An ERP that counts what it is asked, and refuses what belongs to a closed month."""

    def __init__(self, system, closed=()):
        self.closed = set(closed)
        self.asked = []
        self.days = []
        system.client.send = self.send

    def send(self, object_name, key, body, external_id):
        self.asked.append(key)
        if body["day"][:7] in self.closed:
            raise Refused("the period is closed", "CLOSED", 400)
        self.days.append(body["day"])
        return Receipt(f"x-{key}")


def erp(house, **posting):
    """Return the ERP of the small firm, with a mapping that says the day and nothing else."""
    house.reactions.clear()  # nobody acts on these documents: they are nothing but a day
    name = next(one.name for one in house.systems.values() if one.role == "erp")
    house.systems[name] = replace(house.systems[name], posting=Posting(**posting))
    key = next(key for key in house.outward if key[0] == "invoice" and key[1] == name)
    house.outward[key] = load(
        f"mapping: invoice -> {name}.{key[2]}\nversion: 1\nwhy: a test\n"
        "fields:\n  day: {day: invoice_date}\nexamples: [{is: none, in: {}}]\n"
    )
    return house.systems[name], key[2]


def ask(house, system, object_name, count, day="2026-08-31", entity="DE01"):
    with house.database.transaction() as tx:
        deliveries.ask(
            tx,
            [
                Command(
                    f"{entity}-{day}-{n}", system.name, object_name, f"inv_{entity}_{day}_{n}", "invoice", "create",
                    "A", {"legal_entity": entity, "invoice_date": day},
                )
                for n in range(count)
            ],
        )  # fmt: skip


def carry_out(house, system):
    with ThreadPoolExecutor(4) as pool:
        while deliver(house, system, "tester", pool):
            pass


def states(house):
    with house.database.transaction() as tx:
        rows = tx.rows("select state, coalesce(code, '') as code, count(*) from deliveries group by 1, 2")
    return {(row["state"], row["code"]): row["count"] for row in rows}


def test_three_thousand_documents_of_a_closed_month_cost_a_handful_of_calls(house):
    system, name = erp(house)
    books = Books(system, closed={"2026-08"})
    ask(house, system, name, 3000)
    ask(house, system, name, 3, day="2026-09-01")
    carry_out(house, system)
    assert sum(key.startswith("DE01-2026-08") or "_2026-08-" in key for key in books.asked) <= 4
    assert len(books.days) == 3  # the open month is not kept back
    found = states(house)
    assert found[("confirmed", "")] == 3
    assert found[("due", "PERIOD_CLOSED")] >= 2996


def test_one_document_asks_again_and_when_it_is_taken_all_others_follow(house):
    system, name = erp(house)
    books = Books(system, closed={"2026-08"})
    ask(house, system, name, 30)
    carry_out(house, system)
    refused = len(books.asked)
    with house.database.transaction() as tx:
        tx.run("update vendor_periods set ask_again_at = now() - interval '1 second'")
        tx.run("update deliveries set due_at = now() where state = 'due'")
    carry_out(house, system)
    assert len(books.asked) == refused + 1
    books.closed.clear()
    with house.database.transaction() as tx:
        tx.run("update vendor_periods set ask_again_at = now() - interval '1 second'")
        tx.run("update deliveries set due_at = now() where state = 'due'")
    carry_out(house, system)
    assert len(books.days) == 30 - states(house)[("rejected", "CLOSED")]
    with house.database.transaction() as tx:
        assert vendor_periods.known(tx) == []


def test_a_refusal_for_one_legal_entity_does_not_keep_another_back(house):
    system, name = erp(house)
    books = Books(system)
    with house.database.transaction() as tx:
        vendor_periods.learn(tx, system.name, "DE01", "2026-08", "closed")
    ask(house, system, name, 2, entity="DE01")
    ask(house, system, name, 2, entity="US01")
    carry_out(house, system)
    assert len(books.asked) == 2
    assert all("US01" in key for key in books.asked)


def test_a_month_we_have_closed_ourselves_is_not_posted_into(house):
    system, name = erp(house)
    books = Books(system)
    with house.database.transaction() as tx:
        tx.run(
            """
            insert into period_closes (legal_entity, period, revision, state, process, started_by, snapshot, sha256,
                closed_by, closed_at)
            values ('DE01', '2026-08', 1, 'closed', 'p', 'Ana', '{}', repeat('a', 64), 'Ana', now())
            """
        )
    ask(house, system, name, 2)
    carry_out(house, system)
    assert books.asked == []
    assert states(house) == {("due", "PERIOD_CLOSED"): 2}


def test_where_the_policy_says_so_a_document_of_a_closed_month_takes_the_first_open_day(house):
    system, name = erp(house, closed_period="redate")
    books = Books(system)
    with house.database.transaction() as tx:
        vendor_periods.learn(tx, system.name, "DE01", "2026-08", "closed")
        vendor_periods.learn(tx, system.name, "DE01", "2026-09", "closed")
    ask(house, system, name, 2)
    carry_out(house, system)
    assert books.days == ["2026-10-01", "2026-10-01"]


def test_nothing_is_posted_at_night_and_the_delivery_says_until_when_it_waits(house):
    always = Window(time(0), time(0), "Europe/Berlin", entities=frozenset({"DE01"}))
    system, name = erp(house, windows=(always,))
    books = Books(system)
    ask(house, system, name, 2, entity="DE01")
    ask(house, system, name, 1, entity="US01")
    carry_out(house, system)
    assert len(books.asked) == 1
    assert states(house)[("due", "POSTING_WINDOW")] == 2
    with house.database.transaction() as tx:
        waiting = tx.rows("select cause from deliveries where state = 'due' and due_at > now()")
    assert len(waiting) == 2
    assert "nothing is posted between" in waiting[0]["cause"]


def test_a_window_over_midnight_ends_in_the_morning_of_its_own_zone_also_when_the_clocks_change():
    night = Window(time(22), time(6), "Europe/Berlin")
    assert night.opens_at(datetime(2026, 10, 24, 21, 0, tzinfo=UTC)) == datetime(2026, 10, 25, 5, 0, tzinfo=UTC)
    assert night.opens_at(datetime(2026, 7, 1, 20, 0, tzinfo=UTC)) == datetime(2026, 7, 2, 4, 0, tzinfo=UTC)
    assert night.opens_at(datetime(2026, 7, 1, 19, 59, tzinfo=UTC)) is None

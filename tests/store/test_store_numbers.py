"""Document numbers: no gap, no double, dates in order, whatever fails, with many posting at once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import psycopg
import pytest

from trueup.kernel.errors import Busy, Held
from trueup.store import numbers
from trueup.store.numbers import Numbering

DAY = date(2026, 10, 31)
DE = Numbering("DE01")


class GivenUp(Exception):
    """What a posting that fails raises."""


def post(database, document, day=DAY, *, numbering=DE, kind="invoice", fails=False):
    with database.transaction() as tx:
        number = numbers.assign(tx, numbering, kind, day, document)
        if fails:
            raise GivenUp
        return number


def given(database):
    with database.transaction() as tx:
        return tx.rows("select number, ordinal, day, document from document_numbers order by prefix, ordinal")


def test_a_number_that_was_rolled_back_is_given_to_the_next(empty):
    for place in range(1, 17):
        post(empty, f"inv-{place}")
    assert post(empty, "A") == "DE01-2026-000017"
    with pytest.raises(GivenUp):
        post(empty, "B", fails=True)
    assert post(empty, "C") == "DE01-2026-000018"
    assert [row["document"] for row in given(empty)][-2:] == ["A", "C"]


def test_a_first_number_that_was_rolled_back_leaves_no_series_behind(empty):
    with pytest.raises(GivenUp):
        post(empty, "A", fails=True)
    assert post(empty, "B") == "DE01-2026-000001"


def test_the_same_document_keeps_its_number(empty):
    assert post(empty, "A") == post(empty, "A") == "DE01-2026-000001"


def test_every_entity_type_and_fiscal_year_has_a_series_of_its_own(empty):
    april = Numbering("IN01", year_starts=4, digits=4)
    made = [
        post(empty, "a"),
        post(empty, "b", kind="credit"),
        post(empty, "c", date(2027, 1, 1)),
        post(empty, "d", date(2027, 3, 31), numbering=april),
        post(empty, "e", date(2027, 4, 1), numbering=april),
    ]
    assert made == ["DE01-2026-000001", "DE01-CN-2026-000001", "DE01-2027-000001", "IN01-2026-0001", "IN01-2027-0001"]


def test_a_document_is_never_dated_before_the_last_one_of_its_series(empty):
    post(empty, "A", date(2026, 10, 5))
    with pytest.raises(Held, match="2026-10-05") as waits:
        post(empty, "B", date(2026, 10, 4))
    assert waits.value.code == "NUMBER_DATE"
    assert post(empty, "B", date(2026, 10, 5)) == "DE01-2026-000002"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("update document_numbers set number = 'X'", "append only"),
        ("delete from document_numbers", "append only"),
        (
            "insert into document_numbers values ('X', 'DE01', 'invoice', 2026, 'DE01-2026-', 3, '2026-10-31', 'Z')",
            "leave a gap",
        ),
        (
            "insert into document_numbers values ('X', 'DE01', 'invoice', 2026, 'DE01-2026-', 2, '2026-10-30', 'Z')",
            "dated before",
        ),
    ],
)
def test_the_database_itself_refuses_what_would_break_a_series(empty, statement, why):
    post(empty, "A")
    with pytest.raises(psycopg.Error, match=why), empty.transaction() as tx:
        tx.run(statement)


def test_eight_who_post_at_once_with_failures_and_a_cut_connection_leave_no_gap(empty):
    """Eight threads, 240 documents, a third rolled back and tried again, connections cut by the server in the middle."""
    chance = random.Random(20261031)
    plans = [[(f"{worker}-{place}", chance.random()) for place in range(30)] for worker in range(8)]
    cut = threading.Semaphore(6)
    day_lock = threading.Lock()
    days = iter(DAY - timedelta(days=30) + timedelta(days=place // 40) for place in range(100_000))
    newest = [DAY - timedelta(days=30)]
    failures = {"rolled back": 0, "cut": 0}

    def one(document, luck):
        with empty.transaction() as tx:
            with day_lock:
                newest[0] = min(next(days), date(2026, 12, 31))
                day = newest[0]
            try:
                numbers.assign(tx, DE, "invoice", day, document)
            except Held:  # somebody with a later day was first: the document takes the last day of the series
                last = tx.value("select last_day from number_series where legal_entity = 'DE01'")
                numbers.assign(tx, DE, "invoice", last, document)
            if luck < 0.33:
                failures["rolled back"] += 1
                raise GivenUp
            if luck > 0.9 and cut.acquire(blocking=False):
                failures["cut"] += 1
                pid = tx.value("select pg_backend_pid()")
                with psycopg.connect(empty.url, autocommit=True) as killer:
                    killer.execute("select pg_terminate_backend(%s)", (pid,))

    def work(plan):
        for document, luck in plan:
            try:
                one(document, luck)
            except (GivenUp, Busy):
                one(document, 0.5)  # it is posted in the end

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, plans))
    found = given(empty)
    assert failures["cut"] > 0
    assert failures["rolled back"] > 20
    assert len({row["document"] for row in found}) == len(found) == 240
    assert [row["ordinal"] for row in found] == list(range(1, 241))
    assert [row["day"] for row in found] == sorted(row["day"] for row in found)
    with empty.transaction() as tx:
        (series,) = numbers.report(tx, "DE01")
    assert (series.whole, series.count, series.last) == (True, 240, "DE01-2026-000240")


def test_the_gap_report_finds_a_gap_somebody_forced_into_the_table(empty):
    for place in range(1, 5):
        post(empty, f"inv-{place}")
    with empty.transaction() as tx:
        tx.run("alter table document_numbers disable trigger all")
        tx.run("delete from document_numbers where ordinal = 2")
        tx.run("update document_numbers set day = '2026-01-01' where ordinal = 4")
        (series,) = numbers.report(tx)
        assert (series.missing, series.late, series.whole) == ((2,), ("DE01-2026-000004",), False)
        tx.run("rollback")


def test_numbers_the_erp_gave_are_read_as_series_too(empty):
    with empty.transaction() as tx:
        for number in (7, 8, 11):
            body = f'{{"number": "INV{number}", "invoice_type": "invoice", "legal_entity": "DE01", "invoice_date": "2026-10-31"}}'
            tx.run(
                "insert into objects (gid, kind, status, body) values (%s, 'invoice', 'posted', %s)",
                (f"inv_{number:026d}", body),
            )
        (series,) = numbers.report(tx)
    assert (series.owner, series.first, series.last, series.missing) == ("erp", "INV7", "INV11", (9, 10))

"""An act sees everything those left whom it waited for, and nothing that comes after: its look is one moment."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from trueup.kernel.errors import Broken, Busy
from trueup.store import acts, ledger, periods

FIRM = "DE01"


@pytest.fixture
def table(database):
    with database.transaction() as tx:
        tx.run("create table seen (n int primary key)")
    yield database
    with database.transaction() as tx:
        tx.run("drop table seen")


def count(database, *look, **more):
    """Return what an act sees."""
    with database.transaction() as tx:
        acts.look(tx, *look, **more)
        return tx.value("select count(*) from seen")


@pytest.mark.parametrize("earlier", ["act", "lock"])
def test_whom_an_act_waited_for_it_has_seen(table, earlier):
    with ThreadPoolExecutor(1) as pool:
        with table.transaction() as tx:
            acts.look(tx, FIRM) if earlier == "act" else ledger.alone(tx, FIRM)
            later = pool.submit(count, table, FIRM)
            with pytest.raises(TimeoutError):
                later.result(0.3)
            tx.run("insert into seen values (1)")
        assert later.result(10) == 1


def test_what_is_kept_after_the_look_is_not_seen(table):
    with table.transaction() as tx:
        acts.look(tx, FIRM)
        with table.transaction() as other:
            other.run("insert into seen values (1)")
        assert tx.value("select count(*) from seen") == 0


def test_a_look_lets_go_however_its_transaction_ends(table):
    def looks_and(then):
        with table.transaction() as tx:
            acts.look(tx, FIRM, "2026-08")
            then(tx)

    with pytest.raises(ZeroDivisionError):
        looks_and(lambda tx: 1 / 0)
    with pytest.raises(psycopg.errors.UndefinedTable):
        looks_and(lambda tx: tx.run("select from nowhere"))
    looks_and(lambda tx: tx.run("insert into seen values (1)"))
    with table.transaction() as tx:
        held = tx.value(
            "select count(*) from pg_locks where locktype = 'advisory' and database = "
            "(select oid from pg_database where datname = current_database())"
        )
    assert held == 0
    assert count(table, FIRM, "2026-08") == 1


def test_contracts_of_other_slots_are_billed_beside_and_the_whole_waits_for_all(table):
    with ThreadPoolExecutor(2) as pool:
        with table.transaction() as tx:
            acts.look(tx, FIRM, slots=[1, 2])
            assert count(table, FIRM, slots=[3]) == 0
            waits = [pool.submit(count, table, FIRM, slots=[2]), pool.submit(count, table, FIRM)]
            for one in waits:
                with pytest.raises(TimeoutError):
                    one.result(0.3)
            tx.run("insert into seen values (1)")
        assert [one.result(10) for one in waits] == [1, 1]


def test_nobody_freezes_the_month_an_act_books_into_nor_the_open_one_after_a_closed_one(table):
    with table.transaction() as tx:
        begun = periods.begin(tx, FIRM, "2026-01", "Ana")
        periods.freeze(tx, FIRM, "2026-01", begun["revision"], {}, "0" * 64, "Ana")
    frozen = threading.Event()

    def freeze():
        with table.transaction() as tx:
            periods.alone(tx, FIRM, "2026-02")
            frozen.set()

    with ThreadPoolExecutor(1) as pool:
        with table.transaction() as tx:
            acts.look(tx, FIRM, "2026-01")
            assert periods.next_open(tx, FIRM, "2026-01") == "2026-02"
            later = pool.submit(freeze)
            assert not frozen.wait(0.3)
        later.result(10)
    assert frozen.is_set()


def test_an_act_met_by_somebody_elses_change_begins_anew_and_any_other_trouble_is_told(table):
    with table.transaction() as tx:
        tx.run("insert into seen values (1)")
    tries = []

    @acts.looks_again
    def act():
        with table.transaction() as tx:
            acts.look(tx, FIRM)
            tries.append(tx.value("select max(n) from seen"))
            if len(tries) == 1:
                with table.transaction() as other:
                    other.run("update seen set n = 2")
            tx.run("update seen set n = n + 10")

    act()
    assert tries == [1, 2]

    @acts.looks_again
    def busy():
        tries.append(0)
        raise Busy("the system is away", 1)

    with pytest.raises(Busy, match="away"):
        busy()
    assert tries == [1, 2, 0]


def test_what_was_written_before_the_look_is_refused(table):
    with table.transaction() as tx:
        tx.run("insert into seen values (1)")
        with pytest.raises(Broken, match="written before"):
            acts.look(tx, FIRM)

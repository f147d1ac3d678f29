"""The transaction: all or nothing, with troubles named by what has to happen next."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueup.kernel.errors import Broken, Busy
from trueup.store.database import Database, array, json, plain_json, whole_numbers

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12) | st.sampled_from(
    ['"', "\\", '\\"', ",", "{}", "NULL", "null", "", " ", '","', "\n"]
)
QUIET = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@QUIET
@given(st.lists(st.none() | TEXT, max_size=8))
def test_texts_are_handed_over_as_they_are(database, values):
    with database.transaction() as tx:
        rows = tx.rows(
            "select value from unnest(%s::text[]) with ordinality as a (value, at) order by at", (array(values),)
        )
    assert [row["value"] for row in rows] == values


@QUIET
@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=8))
def test_numbers_are_handed_over_as_they_are(database, values):
    with database.transaction() as tx:
        found = tx.value("select %s::bigint[]", (whole_numbers(values),))
    assert found == values


@QUIET
@given(st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT, max_size=5))
def test_documents_are_handed_over_as_they_are(database, value):
    with database.transaction() as tx:
        assert tx.value("select %s::jsonb", (json(value),)) == value
        assert tx.value("select (array[%s]::jsonb[])[1]", (plain_json(value),)) == value


def test_decimals_in_documents_become_text(database):
    with database.transaction() as tx:
        assert tx.value("select %s", (json({"net": Decimal("1.10")}),)) == {"net": "1.10"}


@pytest.fixture
def table(database):
    with database.transaction() as tx:
        tx.run("create table scratch (n int primary key)")
    yield database
    with database.transaction() as tx:
        tx.run("drop table scratch")


def rows(database):
    with database.transaction() as tx:
        return [row["n"] for row in tx.rows("select n from scratch order by n")]


def insert(database, n, *, then=None):
    with database.transaction() as tx:
        tx.run("insert into scratch values (%s)", (n,))
        if then is not None:
            raise then


def test_leaving_the_block_commits_and_an_exception_undoes_everything(table):
    insert(table, 1)
    with pytest.raises(KeyError):
        insert(table, 2, then=KeyError("x"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(table, 1)
    assert rows(table) == [1]


def test_a_deadlock_is_no_fault_of_ours_try_again(table):
    insert(table, 1)
    insert(table, 2)
    meet = threading.Barrier(2)

    def take(first, second):
        with table.transaction() as tx:
            tx.run("select from scratch where n = %s for update", (first,))
            meet.wait(10)
            tx.run("select from scratch where n = %s for update", (second,))

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(take, 1, 2), pool.submit(take, 2, 1)]
        errors = [one.exception(30) for one in both]
    (lost,) = [error for error in errors if error is not None]
    assert isinstance(lost, Busy)


def test_a_lost_connection_means_later_and_the_next_transaction_has_a_fresh_one(table):
    def lose():
        with table.transaction() as tx:
            tx.run("insert into scratch values (1)")
            tx.run("select pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Busy):
        lose()
    assert rows(table) == []


def test_instants_are_in_utc_and_a_runaway_statement_ends(database):
    with database.transaction() as tx:
        assert tx.value("show timezone") == "UTC"
        assert tx.value("show statement_timeout") != "0"
        assert tx.value("show idle_in_transaction_session_timeout") != "0"
        assert abs((tx.value("select now()") - datetime.now(UTC)).total_seconds()) < 60


def test_opening_twice_is_opening_once(database):
    assert database.open() is database


def test_a_role_that_gives_up_synchronous_commit_is_refused(database, database_url):
    with database.transaction() as tx:
        name = tx.value("select current_database()")
        tx.run(f"alter database {name} set synchronous_commit = off")
    unsafe = Database(database_url, size=1)
    try:
        with pytest.raises(Broken, match="turn on synchronous_commit"):
            unsafe.open()
    finally:
        unsafe.close()
        with database.transaction() as tx:
            tx.run(f"alter database {name} reset synchronous_commit")


def test_copy_writes_rows_as_they_are(table):
    with table.transaction() as tx:
        assert tx.copy("scratch", ("n",), ((n,) for n in (3, 1, 2))) == 3
        assert tx.copy("scratch", ("n",), []) == 0
        tx.many("insert into scratch values (%s)", [(7,), (8,)])
        assert tx.tuples("select n, n * 2 from scratch where n > 6 order by n") == [(7, 14), (8, 16)]
        assert tx.row("select n from scratch where n = 99") is None
        assert tx.value("select n from scratch where n = 99") is None
    assert rows(table) == [1, 2, 3, 7, 8]

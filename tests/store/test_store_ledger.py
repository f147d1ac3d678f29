"""The bucket ledger: every minute and cent is in exactly one bucket, and stays counted."""

from collections import Counter
from dataclasses import replace
from datetime import date

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueup.store import ledger
from trueup.store.ledger import Move

BUCKETS = ("source", "unbilled", "held", "on_draft", "invoiced", "credited")
MOVE = Move("k1", "tim_1", 1, "minute", "source", "unbilled", 90, "approved", "hub")


def move(database, *moves):
    with database.transaction() as tx:
        return ledger.move(tx, moves)


def balances(database, fact="tim_1"):
    with database.transaction() as tx:
        rows = tx.rows("select bucket, quantity from buckets where fact = %s and quantity <> 0", (fact,))
    return {row["bucket"]: row["quantity"] for row in rows}


def test_what_is_moved_is_there_and_no_longer_here(empty):
    assert move(empty, MOVE) == 1
    assert move(empty, replace(MOVE, key="k2", from_bucket="unbilled", to_bucket="held", quantity=30)) == 1
    assert balances(empty) == {"source": -90, "unbilled": 60, "held": 30}


def test_the_same_move_again_moves_nothing(empty):
    assert move(empty, MOVE, replace(MOVE, key="k2", fact="tim_2")) == 2
    assert move(empty, MOVE, replace(MOVE, quantity=5), replace(MOVE, key="k3")) == 1
    assert balances(empty) == {"source": -180, "unbilled": 180}


def test_moves_may_come_in_parts_of_one_transaction(empty):
    with empty.transaction() as tx:
        assert ledger.move(tx, [MOVE]) == 1
        assert ledger.move(tx, [replace(MOVE, key="k2", from_bucket="unbilled", to_bucket="held", quantity=20)]) == 1
        assert ledger.move(tx, [replace(MOVE, key="k3", from_bucket="held", to_bucket="unbilled", quantity=5)]) == 1
    assert balances(empty) == {"source": -90, "unbilled": 75, "held": 15}


def test_nought_is_no_move(empty):
    assert move(empty, replace(MOVE, quantity=0)) == 0
    assert move(empty) == 0
    assert balances(empty) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        replace(MOVE, quantity=-1),
        replace(MOVE, to_bucket="source"),
        replace(MOVE, unit="hour"),
        replace(MOVE, to_bucket="elsewhere"),
        replace(MOVE, from_bucket="held", to_bucket="unbilled"),
    ],
    ids=["negative", "nowhere", "unit", "bucket", "from nothing"],
)
def test_the_database_refuses_what_is_no_move(empty, wrong):
    with pytest.raises(psycopg.errors.CheckViolation):
        move(empty, wrong)
    assert balances(empty) == {}


def test_nothing_is_taken_from_a_bucket_that_does_not_hold_it(empty):
    move(empty, MOVE)
    too_much = replace(MOVE, key="k2", from_bucket="unbilled", to_bucket="on_draft", quantity=91)
    with pytest.raises(psycopg.errors.CheckViolation):
        move(empty, replace(MOVE, key="k9", fact="tim_2"), too_much)
    assert balances(empty) == {"source": -90, "unbilled": 90}
    assert balances(empty, "tim_2") == {}


def test_two_that_take_the_same_minutes_do_not_both_get_them(empty):
    move(empty, MOVE)
    with empty.transaction() as one:
        ledger.move(one, [replace(MOVE, key="k2", from_bucket="unbilled", to_bucket="on_draft", quantity=60)])
        with empty.transaction() as other:
            other.run("set local lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                ledger.move(other, [replace(MOVE, key="k3", from_bucket="unbilled", to_bucket="held", quantity=60)])
            other.run("rollback")
    with pytest.raises(psycopg.errors.CheckViolation):
        move(empty, replace(MOVE, key="k3", from_bucket="unbilled", to_bucket="held", quantity=60))
    assert balances(empty) == {"source": -90, "unbilled": 30, "on_draft": 60}


@pytest.mark.parametrize("change", ["update moves set quantity = 1", "delete from moves"])
def test_a_move_stands_for_ever(empty, change):
    move(empty, MOVE)
    with pytest.raises(psycopg.errors.RestrictViolation, match="append only"), empty.transaction() as tx:
        tx.run(change)
    assert balances(empty) == {"source": -90, "unbilled": 90}


STEP = st.tuples(
    st.sampled_from(["tim_1", "tim_2"]), st.sampled_from(BUCKETS), st.sampled_from(BUCKETS), st.integers(1, 100)
).filter(lambda step: step[1] != step[2])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(STEP, min_size=1, max_size=3), min_size=1, max_size=12))
def test_any_moves_keep_the_sum_or_are_refused_whole(empty, statements):
    held = Counter()
    with empty.transaction() as tx:
        tx.run("select 1")  # begins the transaction, so that what follows are savepoints of it
        for number, steps in enumerate(statements):
            moves = [
                Move(f"h/{number}/{at}", fact, 1, "minute", one, other, quantity, "test", "test")
                for at, (fact, one, other, quantity) in enumerate(steps)
            ]
            after = Counter(held)
            for fact, one, other, quantity in steps:
                after[fact, one] -= quantity
                after[fact, other] += quantity
            overdrawn = any(left < 0 for (_, bucket), left in after.items() if bucket != "source")
            try:
                tx.fresh(lambda moves=moves: ledger.move(tx, moves))
            except psycopg.errors.CheckViolation:
                assert overdrawn or len(steps) > 1
            else:
                assert not overdrawn
                held = after
            found = {(row["fact"], row["bucket"]): row["quantity"] for row in tx.rows("select * from buckets")}
            assert {key: left for key, left in found.items() if left} == {
                key: left for key, left in held.items() if left
            }
            for fact in ("tim_1", "tim_2"):
                assert sum(left for (whose, _), left in found.items() if whose == fact) == 0
        tx.run("rollback")


def charge(key="c1", **more):
    return {
        "key": key, "fact": "tim_1", "fact_version": 2, "kind": "time", "project": "prj_1", "contract": "con_1",
        "contract_line": "L1", "legal_entity": "DE01", "currency": "EUR", "minutes": 90, "rate": 1_855_000_0,
        "amount": 2_782_500, "bucket": "on_draft", "document": "D07-2026-08", "line_key": "1-time", "rate_line": "rul_1",
        "service_on": "2026-08-27", "period": "2026-08", "run": "r1", "trace": '{"rule": "rate"}',
    } | more  # fmt: skip


def test_charges_are_written_once_with_their_place_on_the_document(empty):
    with empty.transaction() as tx:
        assert ledger.charge(tx, [charge(), charge("c2", document=None, line_key=None, bucket="non_billable")]) == 2
        assert ledger.charge(tx, [charge(amount=1), charge("c3")]) == 1
        assert ledger.charge(tx, []) == 0
    with empty.transaction() as tx:
        assert tx.value("select amount from charges where key = 'c1'") == 2_782_500
        allocated = tx.rows("select charge, document, line_key, minutes, amount from allocations order by charge")
    assert [tuple(row.values()) for row in allocated] == [
        ("c1", "D07-2026-08", "1-time", 90, 2_782_500),
        ("c3", "D07-2026-08", "1-time", 90, 2_782_500),
    ]


def test_a_credit_names_the_charges_it_takes_back(empty):
    with empty.transaction() as tx:
        ledger.charge(tx, [charge()])
        ledger.allocate(tx, [("c1", "CR-1", "1-time", -30, -900_000)])
        ledger.allocate(tx, [("c1", "CR-1", "1-time", -30, -900_000)])
        assert tx.value("select sum(amount) from allocations where charge = 'c1'") == 1_882_500
    with pytest.raises(psycopg.errors.ForeignKeyViolation), empty.transaction() as tx:
        ledger.allocate(tx, [("nothing", "CR-1", "1-time", None, -1)])
    for change in ("update charges set amount = 1", "delete from charges"):
        with pytest.raises(psycopg.errors.RestrictViolation, match="append only"), empty.transaction() as tx:
            tx.run(change)


def test_a_run_is_done_once(empty):
    with empty.transaction() as tx:
        assert ledger.begin_run(tx, "billing/DE01/2026-08", "billing", "DE01", "2026-08")
    with empty.transaction() as tx:
        assert ledger.begin_run(tx, "billing/DE01/2026-08", "billing", "DE01", "2026-08")
        ledger.end_run(tx, "billing/DE01/2026-08", {"invoices": 3})
    with empty.transaction() as tx:
        assert not ledger.begin_run(tx, "billing/DE01/2026-08", "billing", "DE01", "2026-08")
        found = ledger.run_of(tx, "billing/DE01/2026-08")
        assert ledger.run_of(tx, "nothing") is None
    assert (found["state"], found["figures"], found["legal_entity"], found["period"]) == (
        "done",
        {"invoices": 3},
        "DE01",
        "2026-08",
    )


def test_a_frame_holds_whole_numbers(empty):
    move(empty, MOVE)
    with empty.transaction() as tx:
        shape = {"fact": pl.String, "quantity": pl.Int64}
        found = ledger.frame(tx, "select fact, quantity from buckets where bucket = %(b)s", {"b": "unbilled"}, shape)
        none = ledger.frame(tx, "select fact, quantity from buckets where false", None, shape)
    assert found.to_dicts() == [{"fact": "tim_1", "quantity": 90}]
    assert found.schema["quantity"] == pl.Int64
    assert none.schema == {"fact": pl.String, "quantity": pl.Int64}


def test_a_frame_keeps_texts_flags_days_and_what_is_missing(empty):
    shape = {"text": pl.String, "count": pl.Int64, "flag": pl.Boolean, "day": pl.Date}
    rows = [
        ("", None, None, None),
        ('a "b",\nc', -(2**62), True, date(2026, 8, 31)),
        (None, 0, False, None),
        ("007", 7, None, None),
        ("\\N", 7, None, None),
    ]
    with empty.transaction() as tx:
        tx.run("create temp table kept (text text, count bigint, flag bool, day date)")
        tx.copy("kept", tuple(shape), rows)
        found = ledger.frame(tx, "select * from kept where text is distinct from %(no)s", {"no": "it's % not"}, shape)
    assert found.rows() == rows


def test_a_frame_of_moves_and_charges_is_written_once(empty):
    rows = pl.DataFrame([{name: getattr(MOVE, name) for name in ledger.MOVE}])
    with empty.transaction() as tx:
        assert (ledger.move(tx, rows), ledger.move(tx, rows)) == (1, 0)
    assert balances(empty) == {"source": -90, "unbilled": 90}


@pytest.mark.parametrize(
    "values",
    [
        {"recognised": 5, "billed": 3, "deferred": 0, "unbilled": 1},
        {"recognised": 5, "billed": 3, "deferred": -1, "unbilled": 1},
        {"recognised": 3, "billed": 5, "deferred": 0, "unbilled": -2},
    ],
)
def test_a_position_ties_or_is_refused(empty, values):
    with pytest.raises(psycopg.errors.CheckViolation), empty.transaction() as tx:
        tx.run(
            """
            insert into positions (contract, line_key, obligation, period, legal_entity, currency, method, recognised,
                billed, deferred, unbilled) values ('c', 'l', 'l', '2026-08', 'DE01', 'EUR', 'hours', %(recognised)s,
                %(billed)s, %(deferred)s, %(unbilled)s)
            """,
            values,
        )

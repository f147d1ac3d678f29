"""Objects come back as they were stored, in whichever table they live."""

import datetime
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canonical_bodies import BODIES, PROJECT, RESOURCE
from trueup.kernel.ids import derive
from trueup.kernel.money import minor_digits
from trueup.store import objects
from trueup.store.objects import Held

VOLUME = ("time_entry", "expense_line")


def held(kind, number=1, **more):
    body = dict(BODIES[kind]) | more.pop("body", {})
    return Held(derive(kind, str(number)), kind, more.pop("version", 1), body, more.pop("legal_entity", "DE01"), **more)


def save(database, *items):
    with database.transaction() as tx:
        objects.save(tx, items)


def load(database, *gids):
    with database.transaction() as tx:
        return objects.load(tx, gids)


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_an_object_comes_back_as_it_was(empty, kind):
    one = held(kind)
    save(empty, one)
    assert load(empty, one.gid, derive(kind, "another")) == {one.gid: one}


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_an_object_is_replaced_as_a_whole(empty, kind):
    save(empty, held(kind))
    changed = held(kind, version=2, legal_entity="UK01", tombstone="deleted")
    save(empty, changed)
    assert load(empty, changed.gid) == {changed.gid: changed}


@pytest.mark.parametrize("kind", VOLUME)
def test_what_may_be_null_comes_back_null(empty, kind):
    nulls = {"task", "role", "notes", "sheet"} | {"amount_spent", "currency_spent", "vendor_name"}
    one = held(kind, body={name: None for name in BODIES[kind] if name in nulls}, legal_entity=None)
    save(empty, one)
    assert load(empty, one.gid)[one.gid].body == one.body


@pytest.mark.parametrize("kind", VOLUME)
def test_the_vendors_order_is_kept(empty, kind):
    save(empty, held(kind, source_order=123456789012345678))
    (found,) = load(empty, held(kind).gid).values()
    assert found.source_order == 123456789012345678


@st.composite
def spent(draw):
    currency = draw(st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
    digits = minor_digits(currency) + draw(st.integers(0, 4))
    amount = Decimal(draw(st.integers(-(10**9), 10**9))).scaleb(-digits)
    return amount, currency


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(spent(), spent())
def test_money_in_typed_tables_keeps_every_digit(empty, one, other):
    body = {
        "amount": format(one[0], "f"), "currency": one[1], "amount_spent": format(other[0], "f"), "currency_spent": other[1],
    }  # fmt: skip
    line = held("expense_line", body=body)
    save(empty, line)
    found = load(empty, line.gid)[line.gid].body
    assert (Decimal(found["amount"]), Decimal(found["amount_spent"])) == (one[0], other[0])
    assert "E" not in found["amount"] + found["amount_spent"]
    assert len(found["amount"].partition(".")[2]) >= minor_digits(one[1])


def test_money_is_kept_as_units(empty):
    save(empty, held("expense_line"))
    with empty.transaction() as tx:
        found = tx.row("select amount, amount_spent from expense_lines")
    assert found == {"amount": 180_40 * 10**4, "amount_spent": 29750 * 10**4}


def test_more_digits_than_units_can_hold_are_refused_not_rounded(empty):
    with pytest.raises(ValueError, match="more digits"):
        save(empty, held("expense_line", body={"amount": "0.0000001"}))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("time_entry", {"minutes": 1441}),
        ("time_entry", {"minutes": -1}),
        ("time_entry", {"status": "paid"}),
        ("expense_line", {"currency": "eur"}),
        ("expense_line", {"status": "draft"}),
    ],
)
def test_the_database_refuses_what_cannot_be(empty, kind, body):
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NotNullViolation)):
        save(empty, held(kind, body=body))


def test_an_identifier_must_be_one_of_ours(empty):
    with pytest.raises(psycopg.errors.CheckViolation):
        save(empty, Held("customer-1", "customer", 1, BODIES["customer"]))


def test_many_kinds_are_saved_and_loaded_together(empty):
    everything = [held(kind, number) for kind in BODIES for number in range(3)]
    save(empty, *everything)
    assert load(empty, *(one.gid for one in everything)) == {one.gid: one for one in everything}


def test_a_batch_may_be_saved_again_and_again_in_one_transaction(empty):
    with empty.transaction() as tx:
        for version in (1, 2, 3):
            objects.save(tx, [held("time_entry", number, version=version) for number in range(5)])
            objects.save(tx, [held("expense_line", number, version=version) for number in range(5)])
    with empty.transaction() as tx:
        assert tx.value("select count(*) from time_entries where version = 3") == 5
        assert tx.value("select count(*) from expense_lines where version = 3") == 5


def test_an_object_that_is_locked_waits_for_the_one_who_works_on_it(empty):
    one = held("customer")
    save(empty, one)
    with empty.transaction() as first, empty.transaction() as second:
        objects.load(first, [one.gid], lock=True)
        second.run("set local lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            objects.load(second, [one.gid], lock=True)
        second.run("rollback")


def test_objects_are_found_by_a_field(empty):
    save(
        empty,
        held("resource", 1, body={"email": "a@nordlys.example"}),
        held("resource", 2, body={"email": 'b"{}@nordlys.example'}),
        held("resource", 3, body={"email": "c@nordlys.example"}, tombstone="deleted"),
        held("customer", 4, body={"billing_email": "a@nordlys.example"}),
    )
    with empty.transaction() as tx:
        wanted = ["a@nordlys.example", 'b"{}@nordlys.example', "c@nordlys.example", "d@nordlys.example"]
        found = objects.by_field(tx, "resource", "email", wanted)
    assert found == {
        "a@nordlys.example": derive("resource", "1"),
        'b"{}@nordlys.example': derive("resource", "2"),
    }


@pytest.mark.parametrize("kind", ["customer", *VOLUME])
def test_objects_of_a_kind_are_paged_by_identifier(empty, kind):
    everything = sorted((held(kind, number) for number in range(7)), key=lambda one: one.gid)
    save(empty, *everything, held(kind, 99, tombstone="deleted"))
    pages, after = [], ""
    with empty.transaction() as tx:
        while page := objects.of_kind(tx, kind, after=after, limit=3):
            pages += page
            after = page[-1].gid
    assert pages == everything


def test_objects_of_a_kind_can_be_chosen_by_fields(empty):
    other = derive("project", "another")
    save(empty, held("time_entry", 1), held("time_entry", 2, body={"project": other, "status": "submitted"}))
    save(empty, held("project", 1), held("project", 2, body={"code": "D08"}))
    with empty.transaction() as tx:
        assert [one.body["project"] for one in objects.of_kind(tx, "time_entry", {"project": other})] == [other]
        assert len(objects.of_kind(tx, "time_entry", {"status": "approved", "resource": RESOURCE})) == 1
        assert objects.of_kind(tx, "time_entry", {"project": PROJECT, "status": "submitted"}) == []
        assert [one.body["code"] for one in objects.of_kind(tx, "project", {"code": "D08"})] == ["D08"]


def test_times_are_kept_for_every_object(empty):
    one, other = held("customer"), held("time_entry")
    save(empty, one, other)
    with empty.transaction() as tx:
        before = objects.times(tx, [one.gid, other.gid])
    save(empty, one, other)
    with empty.transaction() as tx:
        after = objects.times(tx, [one.gid, other.gid])
    for gid in (one.gid, other.gid):
        assert after[gid][0] == before[gid][0]
        assert after[gid][1] > before[gid][1]
        assert after[gid][1].utcoffset() == datetime.timedelta(0)


def test_one_object(empty):
    save(empty, held("customer"))
    with empty.transaction() as tx:
        assert objects.one(tx, held("customer").gid).status == "active"
        assert objects.one(tx, derive("customer", "nobody")) is None

"""P3: an older value that lands late, over a newer one, is seen when it is read back, listed, and healed."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_house import Wire, invoice, project

from trueup.connectors.sdk import standing
from trueup.pipeline.read_back import read_back, regression
from trueup.sandbox import host
from trueup.store import deliveries


@pytest.fixture
def sandbox(tmp_path):
    with host.running(tmp_path, systems=["netsuite", "kantata"]) as running:
        yield running


@pytest.fixture
def wire(empty, sandbox):
    made = Wire(empty, sandbox, late_commit_seconds=0.5, index_lag_seconds=0.0)
    yield made
    made.close()


def confirmed(wire, system, *commands):
    for key in (command.key for command in commands):
        wire.ask(*(command for command in commands if command.key == key))
        wire.work(system, lambda key=key: wire.state(key) == "confirmed")


def its_time_comes(wire):
    """Let the declared time pass."""
    with wire.house.database.transaction() as tx:
        tx.run("update deliveries set read_back_at = now() where read_back_at is not null")


def look(wire, system):
    its_time_comes(wire)
    return read_back(wire.house, wire.house.systems[system])


def listed(wire):
    with wire.house.database.transaction() as tx:
        return deliveries.regressions(tx)


def zombie(wire, system, name, first, second, third):
    """Write three values; the second one's call breaks off, and is served once more when the third has been."""
    confirmed(wire, system, first)
    wire.ask(second)
    wire.fault(system, "late", late_seconds=6.0)
    wire.work(system, lambda: wire.state(second.key) == "confirmed")
    confirmed(wire, system, third)
    ends = time.monotonic() + 30
    while wire.sandbox.host.late():
        assert time.monotonic() < ends
        time.sleep(0.02)


def amounts(wire):
    (there,) = wire.table("netsuite", "invoice")
    return [float(line["amount"]) for line in there["item"]]


def test_an_older_amount_that_lands_late_over_the_newer_one_is_listed_and_healed(wire):
    orders = [invoice("Z", purpose=f"amend#{n}", amount=f"{n}00.00") for n in (1, 2, 3)]
    zombie(wire, "netsuite", "invoice", *orders)
    assert amounts(wire) == [200.0], "the zombie write stands"
    assert look(wire, "netsuite") == 1
    (found,) = listed(wire)
    assert (found["key"], found["older"], found["healing"]) == (orders[2].key, orders[1].key, "due")
    assert {"path": "item.items.0.amount", "ours": "300", "theirs": "200"} in found["fields"]
    wire.work("netsuite", lambda: wire.state(found["healed_by"]) == "confirmed")
    assert amounts(wire) == [300.0]
    assert look(wire, "netsuite") == 1
    assert len(listed(wire)) == 1, "the newest stands: nothing more to heal"
    assert look(wire, "netsuite") == 0


def test_in_the_psa_as_well_where_a_zombie_takes_a_budget_back(wire):
    first, second, third = (project("Z", purpose=f"amend#{n}", budget=f"{n}0000.00") for n in (1, 2, 3))
    zombie(wire, "kantata", "workspaces", first, second, third)
    assert [row["price_in_cents"] for row in wire.table("kantata", "workspaces")] == [2000000]
    look(wire, "kantata")
    (found,) = listed(wire)
    wire.work("kantata", lambda: wire.state(found["healed_by"]) == "confirmed")
    assert [row["price_in_cents"] for row in wire.table("kantata", "workspaces")] == [3000000]


def test_what_stands_is_read_back_once_and_what_was_written_once_never(wire):
    confirmed(wire, "netsuite", invoice("ONCE"), invoice("TWICE"), invoice("TWICE", purpose="amend#2", amount="5.00"))
    assert look(wire, "netsuite") == 1
    assert listed(wire) == []
    assert look(wire, "netsuite") == 0


def test_what_a_person_changed_at_the_system_to_something_else_is_no_regression(wire):
    confirmed(wire, "netsuite", invoice("P"), invoice("P", purpose="amend#2", amount="5.00"))
    (there,) = wire.table("netsuite", "invoice")
    account = wire.sandbox.simulator("netsuite")
    with account.lock:
        account.raise_line(there["id"], 1, "7.00")
    assert look(wire, "netsuite") == 1
    assert listed(wire) == []


def test_while_a_newer_write_waits_to_be_sent_nothing_is_healed_it_heals_by_itself(wire):
    orders = [invoice("Z", purpose=f"amend#{n}", amount=f"{n}00.00") for n in (1, 2, 3)]
    zombie(wire, "netsuite", "invoice", *orders)
    newest = invoice("Z", purpose="amend#4", amount="400.00")
    wire.ask(newest)
    look(wire, "netsuite")
    assert listed(wire) == []
    wire.work("netsuite", lambda: wire.state(newest.key) == "confirmed")
    assert amounts(wire) == [400.0]


def test_a_newer_command_that_had_nothing_to_send_does_not_shield_an_older_value(wire):
    orders = [invoice("Z", purpose=f"amend#{n}", amount=f"{n}00.00") for n in (1, 2, 3)]
    zombie(wire, "netsuite", "invoice", *orders)
    same = invoice("Z", purpose="amend#4", amount="300.00")
    confirmed(wire, "netsuite", same)  # the system seems to hold this already: nothing is sent
    assert amounts(wire) == [200.0]
    look(wire, "netsuite")
    (found,) = listed(wire)
    wire.work("netsuite", lambda: wire.state(found["healed_by"]) == "confirmed")
    assert amounts(wire) == [300.0]


def test_a_newer_command_with_the_same_values_is_sent_where_an_older_value_stands(wire):
    orders = [invoice("Z", purpose=f"amend#{n}", amount=f"{n}00.00") for n in (1, 2, 3)]
    zombie(wire, "netsuite", "invoice", *orders)
    same = invoice("Z", purpose="amend#4", amount="300.00")
    wire.ask(same)
    look(wire, "netsuite")
    assert listed(wire) == [], "what is under way heals what was seen"
    wire.work("netsuite", lambda: wire.state(same.key) == "confirmed")
    assert amounts(wire) == [300.0]


def test_a_system_that_cannot_be_read_now_is_read_later(wire):
    confirmed(wire, "netsuite", invoice("L"), invoice("L", purpose="amend#2", amount="5.00"))
    wire.house.systems["netsuite"].client.read_tries = 1
    wire.fault("netsuite", "5xx")
    look(wire, "netsuite")
    (row,) = wire.rows("select read_back_at > now() as later from deliveries where read_back_at is not null")
    assert row["later"]


PATHS = st.sampled_from(["a", "b", "c"])
BODIES = st.dictionaries(PATHS, st.integers(0, 2), min_size=1)


@settings(max_examples=200)
@given(newest=BODIES, older=st.lists(BODIES, max_size=4), there=BODIES)
def test_a_regression_is_an_older_value_and_never_the_newest_or_somebody_elses(newest, older, there):
    found = regression(newest, [(str(number), body) for number, body in enumerate(older)], there)
    if found is None:
        return
    key, fields = found
    body = older[int(key)]
    for field in fields:
        assert there[field["path"]] == body[field["path"]] != newest[field["path"]]


@settings(max_examples=100)
@given(body=BODIES)
def test_what_we_wrote_and_what_stands_as_we_wrote_it_are_the_same(body):
    shown = {"id": "7", **{name: f"{value}.00" for name, value in body.items()}}
    assert all(ours == theirs for _, ours, theirs in standing.shown(body, shown))
    assert regression(body, [("older", {name: value + 1 for name, value in body.items()})], shown) is None

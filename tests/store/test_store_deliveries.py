"""The effect ledger: a write exists under its key before it is made, in order, for one worker at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from trueup.store import deliveries
from trueup.store.deliveries import Command, Result

SECONDS = 60.0


def command(key="a", gid="inv_1", **more):
    base = Command(key, "erp", "invoice", gid, "invoice", "create", "C")
    return replace(base, **more)


def ask(database, *commands):
    with database.transaction() as tx:
        return deliveries.ask(tx, commands)


def claim(database, limit=100, worker="one", seconds=SECONDS, system="erp"):
    with database.transaction() as tx:
        return deliveries.claim(tx, system, limit, worker, seconds)


def keys(database, **more):
    return [one.key for one in claim(database, **more)]


def send(database, *claimed, external_id=None):
    with database.transaction() as tx:
        deliveries.about_to_send(
            tx, [(one.key, one.fence, {"n": one.key}, f"digest-{one.key}", "m", 2, external_id) for one in claimed]
        )


def settle(database, claimed, outcome, action="send", **more):
    with database.transaction() as tx:
        return deliveries.settle(tx, [Result(claimed.key, claimed.fence, outcome, action, **more)])


def state(database, key="a"):
    with database.transaction() as tx:
        return tx.row("select * from deliveries where key = %s", (key,))


def expire(database):
    with database.transaction() as tx:
        tx.run("update deliveries set lease_until = now() - interval '1 second' where lease_until is not null")


def due(database):
    with database.transaction() as tx:
        tx.run("update deliveries set due_at = now()")


def confirm(database, *claimed):
    for one in claimed:
        assert settle(database, one, "confirmed", external_id=f"id-{one.key}") == {one.key}


def test_asking_twice_is_asking_once(empty):
    assert ask(empty, command(), command("b")) == ["a", "b"]
    assert ask(empty, command(source={"changed": True}), command("c")) == ["c"]
    assert ask(empty) == []
    assert state(empty)["source"] is None


def test_asked_at_once_by_many_it_is_asked_once(empty):
    commands = [command(str(number), f"inv_{number}") for number in range(20)]
    with ThreadPoolExecutor(6) as pool:
        fresh = [key for keys in pool.map(lambda _: ask(empty, *commands), range(6)) for key in keys]
    assert sorted(fresh) == sorted(str(number) for number in range(20))


def test_nothing_is_asked_by_a_transaction_that_failed(empty):
    with empty.transaction() as tx:
        deliveries.ask(tx, [command()])
        tx.run("rollback")
    assert keys(empty) == []


def test_everything_a_command_says_is_kept(empty):
    ask(
        empty,
        command(
            source={"net": "1.10"}, depends_on=("x", "y"), priority=7, amount=120_000, currency="EUR", process="p/1"
        ),
    )
    found = state(empty)
    assert (found["source"], found["depends_on"], found["priority"]) == ({"net": "1.10"}, ["x", "y"], 7)
    assert (found["amount"], found["currency"], found["process"], found["state"]) == (120_000, "EUR", "p/1", "due")


def test_one_delivery_of_an_object_at_a_time_in_the_order_asked(empty):
    ask(empty, command("a1"), command("a2"), command("b1", "inv_2"), command("o1", object="note"))
    first = {one.key: one for one in claim(empty)}
    assert set(first) == {"a1", "b1", "o1"}
    assert keys(empty, worker="other") == []
    send(empty, *first.values())
    assert keys(empty, worker="other") == []
    confirm(empty, first["b1"])
    assert keys(empty, worker="other") == []
    confirm(empty, first["a1"])
    assert keys(empty) == ["a2"]


@pytest.mark.parametrize(
    ("outcome", "free"), [("rejected", True), ("parked", True), ("unknown", False), ("due", False)]
)
def test_what_waits_for_a_person_holds_up_nobody_but_silence_does(empty, outcome, free):
    ask(empty, command("a1"), command("a2"))
    (one,) = claim(empty)
    settle(empty, one, outcome, wait=3600)
    assert keys(empty) == (["a2"] if free else [])


def test_another_systems_delivery_of_the_same_object_does_not_wait(empty):
    ask(empty, command("a"), command("b", system="psa"))
    assert keys(empty) == ["a"]
    assert keys(empty, system="psa") == ["b"]


def test_urgent_ones_go_first_then_in_the_order_asked(empty):
    for number, priority in enumerate((50, 10, 50, 10)):
        ask(empty, command(str(number), f"inv_{number}", priority=priority))
    with empty.transaction() as tx:
        assert {one.key for one in deliveries.claim(tx, "erp", 2, "one", SECONDS)} == {"1", "3"}
    assert keys(empty, limit=1) == ["0"]


def test_a_delivery_waits_for_what_it_depends_on(empty):
    ask(
        empty,
        command("customer", "cus_1"),
        command("project", "prj_1", depends_on=("customer",)),
        command("invoice", "inv_1", depends_on=("customer", "project")),
        command("lost", "inv_2", depends_on=("nobody asked",)),
    )
    for wanted in (["customer"], ["project"], ["invoice"], []):
        found = claim(empty)
        assert [one.key for one in found] == wanted
        confirm(empty, *found)


@pytest.mark.parametrize(
    ("outcome", "goes"), [("rejected", False), ("parked", False), ("unknown", False), ("due", False)]
)
def test_what_is_not_confirmed_lets_nobody_pass(empty, outcome, goes):
    ask(empty, command("first", "cus_1"), command("second", "prj_1", depends_on=("first",)))
    (one,) = claim(empty)
    settle(empty, one, outcome, wait=3600)
    assert (keys(empty) == ["second"]) is goes


def test_the_newest_takes_the_place_of_those_not_yet_sent(empty):
    ask(empty, command("v1", latest=True), command("other", purpose="attach", latest=True))
    ask(empty, command("v2", latest=True))
    assert state(empty, "v1")["state"] == "superseded"
    assert state(empty, "other")["state"] == "due"
    (one, *_) = claim(empty, limit=1)
    assert one.key == "other"
    confirm(empty, one)
    (two,) = claim(empty)
    assert two.key == "v2"
    send(empty, two)
    ask(empty, command("v3", latest=True))
    assert state(empty, "v2")["state"] == "sending"
    confirm(empty, two)
    assert keys(empty) == ["v3"]


def test_of_two_newest_asked_at_once_the_later_one_is_sent(empty):
    ask(empty, command("v1", latest=True), command("v2", latest=True))
    assert state(empty, "v1")["state"] == "superseded"
    assert keys(empty) == ["v2"]


def test_asking_again_for_an_older_one_supersedes_nothing(empty):
    ask(empty, command("v1", latest=True))
    ask(empty, command("v2", latest=True))
    assert ask(empty, command("v1", latest=True)) == []
    assert keys(empty) == ["v2"]


def test_what_will_be_sent_is_written_down_before(empty):
    ask(empty, command())
    (one,) = claim(empty)
    assert (one.state, one.attempts, one.fence, one.body) == ("due", 0, 1, None)
    send(empty, one)
    found = state(empty)
    assert (found["state"], found["attempts"], found["body"], found["body_digest"]) == (
        "sending",
        1,
        {"n": "a"},
        "digest-a",
    )
    assert (found["mapping"], found["mapping_version"]) == ("m", 2)
    assert found["sent_at"]


def test_a_delivery_whose_sender_died_comes_back_as_one_that_met_silence(empty):
    ask(empty, command())
    (dead,) = claim(empty)
    send(empty, dead)
    assert keys(empty, worker="other") == []
    expire(empty)
    (again,) = claim(empty, worker="other")
    assert (again.state, again.attempts, again.fence) == ("sending", 1, 2)
    assert again.body == {"n": "a"}


def test_a_delivery_that_was_claimed_but_not_written_down_was_never_sent(empty):
    ask(empty, command())
    claim(empty)
    expire(empty)
    (again,) = claim(empty, worker="other")
    assert (again.state, again.attempts) == ("due", 0)


def test_the_word_of_an_older_lease_changes_nothing(empty):
    ask(empty, command())
    (old,) = claim(empty)
    send(empty, old)
    expire(empty)
    (new,) = claim(empty, worker="other")
    assert settle(empty, old, "confirmed", external_id="9") == set()
    send(empty, replace(old, key="a"))
    found = state(empty)
    assert (found["state"], found["external_id"], found["attempts"]) == ("sending", None, 1)
    assert settle(empty, new, "unknown", detail="silence") == {"a"}
    assert state(empty)["state"] == "unknown"


def test_a_settled_delivery_is_not_settled_again(empty):
    ask(empty, command())
    (one,) = claim(empty)
    confirm(empty, one)
    assert settle(empty, one, "rejected") == set()
    assert state(empty)["state"] == "confirmed"


def test_what_an_attempt_came_to_is_kept(empty):
    ask(empty, command())
    (one,) = claim(empty)
    send(empty, one)
    settle(empty, one, "unknown", detail="no answer", took_ms=12)
    due(empty)
    (two,) = claim(empty)
    settle(empty, two, "due", action="wait", detail="paused")
    due(empty)
    (three,) = claim(empty)
    settle(empty, three, "rejected", detail="period closed", code="PERIOD")
    found = state(empty)
    assert (found["state"], found["cause"], found["code"]) == ("rejected", "period closed", "PERIOD")
    assert found["settled_at"]
    with empty.transaction() as tx:
        attempts = tx.rows("select attempt, action, outcome, detail, took_ms from delivery_attempts order by attempt")
    assert [tuple(row.values()) for row in attempts] == [
        (1, "send", "unknown", "no answer", 12),
        (2, "send", "rejected", "period closed", 0),
    ]


def test_an_old_and_a_new_lease_may_speak_at_once(empty):
    ask(empty, command())
    (old,) = claim(empty)
    expire(empty)
    (new,) = claim(empty, worker="other")
    begun = threading.Event()

    def late():
        with empty.transaction() as tx:
            begun.set()
            return deliveries.settle(tx, [Result("a", old.fence, "unknown", "send")])

    with ThreadPoolExecutor(1) as pool:
        with empty.transaction() as tx:
            ours = deliveries.settle(tx, [Result("a", new.fence, "confirmed", "send", external_id="9")])
            waiting = pool.submit(late)
            begun.wait(10)
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
        assert (ours, waiting.result(10)) == ({"a"}, set())
    assert state(empty)["state"] == "confirmed"


def test_an_identifier_once_known_stays(empty):
    ask(empty, command())
    (one,) = claim(empty)
    send(empty, one, external_id="9")
    settle(empty, one, "unknown")
    assert state(empty)["external_id"] == "9"


def test_a_deferred_delivery_is_not_due_before_its_time(empty):
    ask(empty, command())
    (one,) = claim(empty)
    settle(empty, one, "due", wait=3600)
    assert keys(empty) == []
    due(empty)
    assert keys(empty) == ["a"]


@pytest.mark.parametrize("outcome", ["rejected", "parked"])
def test_a_person_may_have_it_sent_again_under_the_same_key(empty, outcome):
    ask(empty, command(), command("b", "inv_2"))
    one, other = sorted(claim(empty), key=lambda d: d.key)
    settle(empty, one, outcome, detail="no", code="X")
    confirm(empty, other)
    with empty.transaction() as tx:
        assert deliveries.resend(tx, ["a", "b", "nothing"]) == 1
    assert keys(empty) == ["a"]


def test_two_workers_never_hold_the_same_delivery(empty):
    ask(empty, *(command(str(number), f"inv_{number}") for number in range(60)))
    with ThreadPoolExecutor(8) as pool:
        taken = [key for batch in pool.map(lambda n: keys(empty, worker=f"w{n}", limit=10), range(8)) for key in batch]
    assert len(taken) == len(set(taken)) == 60


def test_two_workers_at_the_same_moment_pass_over_each_others(empty):
    ask(empty, *(command(str(number), f"inv_{number}") for number in range(4)), command("second", "inv_0"))
    with empty.transaction() as one, empty.transaction() as other:
        mine = deliveries.claim(one, "erp", 2, "one", SECONDS)
        theirs = deliveries.claim(other, "erp", 10, "other", SECONDS)
    assert {d.key for d in mine} | {d.key for d in theirs} == {"0", "1", "2", "3"}
    assert len(mine) + len(theirs) == 4


def test_open_work_is_what_can_still_be_made(empty):
    ask(empty, *(command(str(number), f"inv_{number}") for number in range(5)))
    outcomes = ["confirmed", "rejected", "parked", "unknown"]
    for one, outcome in zip(claim(empty, limit=4), outcomes, strict=True):
        settle(empty, one, outcome)
    with empty.transaction() as tx:
        assert deliveries.open_count(tx) == 2
        assert deliveries.state_of(tx, "nothing") is None
        assert [row["key"] for row in deliveries.of(tx, "inv_0")] == ["0"]


@pytest.mark.parametrize(("column", "value"), [("state", "lost"), ("dedupe", "E")])
def test_the_database_knows_the_words(empty, column, value):
    ask(empty, command())
    with pytest.raises(psycopg.errors.CheckViolation), empty.transaction() as tx:
        tx.run(f"update deliveries set {column} = %s", (value,))

"""The effect ledger: a write exists under its key before it is made, in order, for one worker at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from trueup.model import delivery
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
    send(empty, one)
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
    send(empty, one)
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
    assert (again.state, again.attempts, again.fence) == ("unknown", 1, 2)
    assert again.body == {"n": "a"}
    assert 0 <= again.silent_for < SECONDS, "until now it might have been sent"


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
    assert (found["state"], found["external_id"], found["attempts"]) == ("unknown", None, 1)
    assert settle(empty, new, "landed", action="find", external_id="7") == {"a"}
    assert (state(empty)["state"], state(empty)["external_id"]) == ("landed", "7")


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
    claimed = claim(empty, limit=4)
    send(empty, *claimed)
    for one, outcome in zip(claimed, outcomes, strict=True):
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


# --- the states, and the ways between them ------------------------------------------------------------------------------


def put(database, key, *, dedupe="A", **columns):
    """Put a delivery into the ledger as it would have become."""
    ask(database, command(key, f"inv_{key}", dedupe=dedupe))
    with database.transaction() as tx:
        tx.run("alter table deliveries disable trigger deliveries_steps")
        for column, value in columns.items():
            tx.run(f"update deliveries set {column} = %s where key = %s", (value, key))
        tx.run("alter table deliveries enable trigger deliveries_steps")


@pytest.mark.parametrize("before", delivery.STATES)
def test_the_database_refuses_every_step_the_table_does_not_have(empty, before):
    went, rules = [], set()
    for after in delivery.STATES:
        put(empty, after, state=before)
        try:
            with empty.transaction() as tx:
                tx.run("update deliveries set state = %s where key = %s", (after, after))
            went.append(after)
        except psycopg.errors.CheckViolation as no:
            rules.add(no.diag.constraint_name)
    assert rules == {"deliveries_steps"}
    assert went == [after for after in delivery.STATES if delivery.allows(before, after)]


def test_what_has_ended_stays_as_it_ended(empty):
    ends = [state for state, following in delivery.STEPS.items() if not following]
    assert ends == ["superseded", "compensated"]
    assert delivery.STEPS["confirmed"] == ("compensated",)
    assert set(delivery.STATES) == set(delivery.STEPS)


@pytest.mark.parametrize(("dedupe", "external_id", "goes"), [
    ("A", None, True), ("B", None, True), ("C", None, False), ("D", None, False), ("C", "9", True), ("D", "9", True),
])  # fmt: skip
def test_what_cannot_be_repeated_is_not_sent_again_out_of_silence(empty, dedupe, external_id, goes):
    put(empty, "x", dedupe=dedupe, state="unknown", external_id=external_id, attempts=1)
    (one,) = claim(empty)
    if goes:
        send(empty, one)
        assert state(empty, "x")["state"] == "sending"
    else:
        with pytest.raises(psycopg.errors.CheckViolation) as no:
            send(empty, one)
        assert no.value.diag.constraint_name == "deliveries_look_first"


def test_one_write_of_an_object_is_under_way_at_a_time_whatever_the_code_does(empty):
    ask(empty, command("a1"), command("a2"))
    (one,) = claim(empty)
    send(empty, one)
    with pytest.raises(psycopg.errors.UniqueViolation), empty.transaction() as tx:
        tx.run("update deliveries set state = 'sending' where key = 'a2'")


def test_silence_is_counted_from_its_last_word_and_its_life_from_the_first_send(empty):
    ask(empty, command())
    (one,) = claim(empty)
    send(empty, one)
    settle(empty, one, "unknown")
    with empty.transaction() as tx:
        tx.run("update deliveries set silent_at = now() - interval '90 s', first_sent_at = now() - interval '2 h'")
    (two,) = claim(empty)
    assert (round(two.silent_for), round(two.sent_for), two.looks) == (90, 7200, 0)
    settle(empty, two, "unknown", action="find")
    (three,) = claim(empty)
    assert (round(three.silent_for), three.looks) == (90, 1), "a look is no new silence"
    settle(empty, three, "due", action="find")
    assert (state(empty)["in_doubt"], state(empty)["looks"]) == (False, 0)


def test_while_one_write_is_in_doubt_nothing_is_sent_for_its_object_not_even_an_older_one(empty):
    ask(empty, command("old"), command("new"))
    (old,) = claim(empty)
    send(empty, old)
    settle(empty, old, "rejected")
    (new,) = claim(empty)
    send(empty, new)
    settle(empty, new, "unknown")
    with empty.transaction() as tx:
        deliveries.resend(tx, ["old"])
    (looked,) = claim(empty)
    assert looked.key == "new", "what is under way is settled first, although it is the younger one"
    settle(empty, looked, "parked", action="find", code="fault")
    assert keys(empty) == [], "a person looks: still nobody knows whether it landed"
    with empty.transaction() as tx:
        assert deliveries.landed(tx, "new", "9")
        assert not deliveries.landed(tx, "old", "9")
    (found,) = claim(empty)
    confirm(empty, found)
    assert keys(empty) == ["old"]


def test_a_person_who_has_looked_may_have_it_sent_again_as_another_call(empty):
    ask(empty, command(dedupe="D"), command("b", dedupe="D"))
    (one,) = claim(empty)
    send(empty, one)
    settle(empty, one, "unknown")
    (two,) = claim(empty)
    assert one.once == two.once == "a#1"
    settle(empty, two, "parked", action="find", code="silence")
    assert keys(empty) == []
    with empty.transaction() as tx:
        assert deliveries.let_go(tx, ["a"], "given up") == [], "what is in doubt is not given up"
        assert deliveries.resend(tx, ["a"]) == 1
    (three,) = claim(empty)
    assert (three.key, three.once, three.sent_for) == ("a", "a#2", None)


def test_a_job_is_remembered_with_its_time_and_a_timed_out_one_ends_in_a_call_of_its_own(empty):
    ask(empty, command())
    (one,) = claim(empty)
    send(empty, one)
    settle(empty, one, "processing", job="17", wait=3600)
    assert (state(empty)["state"], state(empty)["job"], state(empty)["in_doubt"]) == ("processing", "17", False)
    assert keys(empty) == []
    due(empty)
    (two,) = claim(empty)
    assert (two.state, two.job, two.once) == ("processing", "17", "a#1")
    assert two.accepted_for >= 0
    settle(empty, two, "unknown", action="ask")
    (three,) = claim(empty)
    assert (three.job, three.looks) == ("17", 0)
    settle(empty, three, "due", action="find", anew=True)
    (four,) = claim(empty)
    assert (four.job, four.accepted_for, four.once) == (None, None, "a#2")


def test_what_undoes_another_makes_it_compensated_when_it_is_confirmed(empty):
    ask(empty, command("made"))
    (made,) = claim(empty)
    confirm(empty, made)
    ask(empty, command("undo", undoes="made"))
    assert state(empty, "made")["state"] == "confirmed"
    (undo,) = claim(empty)
    confirm(empty, undo)
    assert (state(empty, "made")["state"], state(empty, "undo")["state"]) == ("compensated", "confirmed")


def test_what_was_not_sent_or_was_refused_can_be_let_go_and_what_landed_cannot(empty):
    ask(empty, *(command(name, f"inv_{name}") for name in ("due", "refused", "made")))
    claimed = {one.key: one for one in claim(empty)}
    settle(empty, claimed["refused"], "rejected")
    confirm(empty, claimed["made"])
    with empty.transaction() as tx:
        assert deliveries.let_go(tx, ["due", "refused", "made"], "undone") == ["due", "refused"]
    assert {state(empty, name)["state"] for name in ("due", "refused")} == {"superseded"}


def test_a_body_that_met_silence_stays_known_when_another_is_sent_under_its_key(empty):
    ask(empty, command(dedupe="A"))
    (one,) = claim(empty)
    send(empty, one)
    settle(empty, one, "unknown")
    (two,) = claim(empty)
    with empty.transaction() as tx:
        deliveries.about_to_send(tx, [("a", two.fence, {"n": "newer"}, "digest-2", "m", 2, None)])
    with empty.transaction() as tx:
        kept = tx.rows("select key, digest, body from delivery_bodies")
    assert kept == [{"key": "a", "digest": "digest-a", "body": {"n": "a"}}]
    settle(empty, two, "confirmed", external_id="9", read_back=900.0)
    assert state(empty)["read_back_at"] is not None


@pytest.mark.parametrize(("outcome", "code"), [("processing", ""), ("unknown", ""), (None, "fault")])
def test_what_is_parked_while_its_end_is_open_stays_in_doubt_and_holds_its_object(empty, outcome, code):
    ask(empty, command("a1"), command("a2"))
    (one,) = claim(empty)
    send(empty, one)
    if outcome:
        settle(empty, one, outcome, job="7" if outcome == "processing" else None)
        (one,) = claim(empty)
    settle(empty, one, "parked", code=code)
    assert state(empty, "a1")["in_doubt"]
    assert keys(empty) == []

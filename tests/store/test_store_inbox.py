"""What came in is kept once, worked on by one at a time, and settled with a reason."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from trueup.store import crosswalk, inbox
from trueup.store.crosswalk import Link
from trueup.store.inbox import Arrival, Settlement

BODY = b'{"Name": "Zo\xc3\xab", "n": 1.10}'


def arrival(external_id="1", stamp="1", body=BODY, object="Account", **more):
    return Arrival(object, external_id, stamp, body, **more)


def keep(database, *arrivals, lane="master", system="crm", origin="poll", **more):
    with database.transaction() as tx:
        return inbox.keep(tx, system, arrivals, origin=origin, lane=lane, **more)


def settle(database, *settlements):
    with database.transaction() as tx:
        inbox.settle(tx, settlements)


def row(database, number):
    with database.transaction() as tx:
        return inbox.message(tx, number)


def claimed(database, lane="master", limit=100):
    with database.transaction() as tx:
        return [message.number for message in inbox.claim(tx, lane, limit)]


def test_a_record_is_kept_byte_for_byte(empty):
    (number,) = keep(empty, arrival(headers={"user-agent": "x"}), origin="webhook", lane="notice")
    found = row(empty, number)
    assert found["body"] == BODY
    assert (found["system"], found["object"], found["external_id"], found["stamp"]) == ("crm", "Account", "1", "1")
    assert (found["state"], found["lane"], found["origin"], found["headers"]) == (
        "pending",
        "notice",
        "webhook",
        {"user-agent": "x"},
    )


def test_bytes_that_are_no_text_are_kept_too(empty):
    body = bytes(range(256))
    (number,) = keep(empty, arrival(body=body))
    assert row(empty, number)["body"] == body


def test_the_same_again_is_counted_not_kept(empty):
    (number,) = keep(empty, arrival())
    assert keep(empty, arrival()) == []
    assert keep(empty, arrival(), origin="fetch") == []
    assert row(empty, number)["duplicates"] == 2


def test_the_same_twice_in_one_page_is_counted_too(empty):
    (number,) = keep(empty, arrival(), arrival(), arrival())
    assert row(empty, number)["duplicates"] == 2
    keep(empty, arrival(), arrival())
    assert row(empty, number)["duplicates"] == 4


@pytest.mark.parametrize(
    "other",
    [
        arrival(external_id="2"),
        arrival(stamp="2"),
        arrival(body=BODY + b" "),
        arrival(object="Contact"),
    ],
    ids=["identifier", "stamp", "bytes", "object"],
)
def test_another_record_version_or_body_is_kept_beside(empty, other):
    assert len(keep(empty, arrival(), other)) == 2


def test_another_systems_record_is_another_record(empty):
    keep(empty, arrival())
    assert len(keep(empty, arrival(), system="erp")) == 1


@pytest.mark.parametrize("text", ['"', "\\", "a,b", "{}", "NULL", "", "x\ny", "Zoë 😀", "'", "%s", "a\tb"])
def test_identifiers_and_stamps_of_any_text_come_back(empty, text):
    (number,) = keep(empty, arrival(external_id=text, stamp=text))
    found = row(empty, number)
    assert (found["external_id"], found["stamp"]) == (text, text)
    assert keep(empty, arrival(external_id=text, stamp=text)) == []


def test_of_many_that_arrive_at_once_each_is_kept_once(empty):
    arrivals = [arrival(external_id=str(number)) for number in range(50)]

    def one(_):
        return keep(empty, *arrivals)

    with ThreadPoolExecutor(8) as pool:
        fresh = [number for numbers in pool.map(one, range(8)) for number in numbers]
    with empty.transaction() as tx:
        assert tx.value("select count(*) from inbox") == 50 == len(fresh)
        assert tx.value("select sum(duplicates) from inbox") == 350


def test_nothing_is_kept_of_a_transaction_that_failed(empty):
    with empty.transaction() as tx:
        inbox.keep(tx, "crm", [arrival()], origin="poll", lane="master")
        tx.run("rollback")
    assert claimed(empty) == []


def test_messages_are_claimed_in_the_order_they_came_by_lane(empty):
    first = keep(empty, arrival("1"), arrival("2"))
    keep(empty, arrival("3"), lane="volume")
    last = keep(empty, arrival("4"))
    assert claimed(empty) == first + last
    assert claimed(empty, limit=1) == first[:1]
    assert len(claimed(empty, "volume")) == 1
    assert claimed(empty, "notice") == []


def test_two_workers_never_hold_the_same_message(empty):
    numbers = keep(empty, *(arrival(str(number)) for number in range(10)))
    with empty.transaction() as one, empty.transaction() as other:
        mine = [message.number for message in inbox.claim(one, "master", 6)]
        theirs = [message.number for message in inbox.claim(other, "master", 100)]
    assert mine + theirs == numbers


def test_many_workers_settle_each_message_once(empty):
    numbers = keep(empty, *(arrival(str(number)) for number in range(300)))
    begin = threading.Barrier(6)

    def work(_):
        begin.wait()
        mine = []
        while True:
            with empty.transaction() as tx:
                batch = inbox.claim(tx, "master", 7)
                inbox.settle(tx, [Settlement(message.number, "applied", "a reason") for message in batch])
            if not batch:
                return mine
            mine += [message.number for message in batch]

    with ThreadPoolExecutor(6) as pool:
        done = [number for mine in pool.map(work, range(6)) for number in mine]
    assert sorted(done) == numbers


def test_what_a_failed_transaction_claimed_is_free_again(empty):
    numbers = keep(empty, arrival())
    with empty.transaction() as tx:
        inbox.settle(
            tx, [Settlement(message.number, "applied", "a reason") for message in inbox.claim(tx, "master", 10)]
        )
        tx.run("rollback")
    assert claimed(empty) == numbers


def leased(database, worker, seconds, lane="notice"):
    with database.transaction() as tx:
        return [(message.number, message.attempts) for message in inbox.lease(tx, lane, 10, worker, seconds)]


def test_a_leased_message_is_nobody_elses_until_the_lease_ends(empty):
    (number,) = keep(empty, arrival(), lane="notice")
    assert leased(empty, "one", 60) == [(number, 1)]
    assert leased(empty, "other", 60) == []
    assert claimed(empty, "notice") == []
    with empty.transaction() as tx:
        tx.run("update inbox set lease_until = now() - interval '1 second'")
    assert leased(empty, "other", 60) == [(number, 2)]


def test_two_workers_never_lease_the_same_message(empty):
    keep(empty, *(arrival(str(number)) for number in range(40)), lane="notice")
    with ThreadPoolExecutor(8) as pool:
        taken = [number for batch in pool.map(lambda n: leased(empty, f"w{n}", 60), range(8)) for number, _ in batch]
    assert len(taken) == len(set(taken)) == 40


def test_a_lease_is_given_back_and_comes_due_again(empty):
    (number,) = keep(empty, arrival(), lane="notice")
    leased(empty, "one", 60)
    with empty.transaction() as tx:
        inbox.defer(tx, [number], 3600, "the vendor is away")
    assert leased(empty, "one", 60) == []
    assert row(empty, number)["reason"] == "the vendor is away"
    with empty.transaction() as tx:
        inbox.defer(tx, [number], 0, "again")
    assert leased(empty, "one", 60) == [(number, 2)]


def test_what_is_settled_is_not_given_back(empty):
    (number,) = keep(empty, arrival(), lane="notice")
    settle(empty, Settlement(number, "applied", "a reason"))
    with empty.transaction() as tx:
        inbox.defer(tx, [number], 0, "too late")
    assert row(empty, number)["state"] == "applied"
    assert row(empty, number)["reason"] == "a reason"


def test_a_settlement_says_how_and_by_what(empty):
    numbers = keep(empty, *(arrival(str(number)) for number in range(5)))
    problem = {"field": "name", "code": "missing", "message": 'say "name"'}
    settle(
        empty,
        Settlement(numbers[0], "applied", gid="cus_1", mapping="m", mapping_version=3),
        Settlement(numbers[1], "superseded", "late"),
        Settlement(numbers[2], "ignored", "not ours", rule="internal_accounts"),
        Settlement(numbers[3], "quarantined", "name: missing", problems=[problem]),
        Settlement(numbers[4], "waiting", "waits", waits_for=["crm/Account/7", "*/project_code/D07, US"]),
    )
    found = [row(empty, number) for number in numbers]
    assert [one["state"] for one in found] == ["applied", "superseded", "ignored", "quarantined", "waiting"]
    assert (found[0]["gid"], found[0]["mapping"], found[0]["mapping_version"]) == ("cus_1", "m", 3)
    assert found[1]["reason"] == "late"
    assert found[2]["rule"] == "internal_accounts"
    assert found[3]["problems"] == [problem]
    assert found[4]["waits_for"] == ["crm/Account/7", "*/project_code/D07, US"]
    assert all(one["settled_at"] for one in found)
    assert claimed(empty) == []


def test_settling_nothing_does_nothing(empty):
    settle(empty)


@pytest.mark.parametrize("state", ["ignored", "quarantined", "lost"])
def test_the_database_refuses_a_settlement_without_its_why(empty, state):
    (number,) = keep(empty, arrival())
    with pytest.raises(psycopg.errors.CheckViolation):
        settle(empty, Settlement(number, state))


def wait(database, number, *keys):
    settle(database, Settlement(number, "waiting", "waits", waits_for=list(keys)))


def wake(database, *keys):
    with database.transaction() as tx:
        return inbox.wake(tx, keys)


def test_a_waiting_message_wakes_when_one_of_its_keys_becomes_known(empty):
    one, other = keep(empty, arrival("1"), arrival("2"))
    wait(empty, one, "crm/Account/7", "*/Account/7")
    wait(empty, other, "crm/Account/8")
    assert wake(empty) == 0
    assert wake(empty, "crm/Account/9") == 0
    assert wake(empty, "x/y/z", "*/Account/7") == 1
    assert claimed(empty) == [one]
    assert wake(empty, "*/Account/7") == 0


def put(database, *links):
    with database.transaction() as tx:
        crosswalk.put(tx, links)


@pytest.mark.parametrize(
    ("key", "link"),
    [
        ("crm/Account/7", Link("crm", "Account", "7", "cus_1")),
        ("crm/expense_line/R1/3", Link("crm", "expense_line", "R1/3", "exp_1")),
        ("crm/Account/7", Link("*", "Account", "7", "cus_1")),
        ("*/project_code/D07/x", Link("*", "project_code", "D07/x", "prj_1")),
    ],
)
def test_a_message_that_missed_its_wake_up_is_found(empty, key, link):
    (number,) = keep(empty, arrival())
    wait(empty, number, key)
    with empty.transaction() as tx:
        assert inbox.wake_missed(tx) == 0
    put(empty, link)
    with empty.transaction() as tx:
        assert inbox.wake_missed(tx) == 1
    assert claimed(empty) == [number]


def test_what_another_system_knows_wakes_nobody(empty):
    (number,) = keep(empty, arrival())
    wait(empty, number, "crm/Account/7")
    put(empty, Link("erp", "Account", "7", "cus_1"), Link("crm", "Contact", "7", "cus_1"))
    with empty.transaction() as tx:
        assert inbox.wake_missed(tx) == 0


def test_settled_messages_can_be_opened_again(empty):
    numbers = keep(empty, *(arrival(str(number)) for number in range(3)))
    settle(
        empty, Settlement(numbers[0], "applied", "a reason"), Settlement(numbers[1], "quarantined", "bad", problems=[])
    )
    with empty.transaction() as tx:
        assert inbox.reopen(tx, numbers) == 2
        assert inbox.known(tx, [*numbers, 10**9]) == set(numbers)
    assert claimed(empty) == numbers


def test_open_work_is_what_can_be_worked_on(empty):
    one, other, *_ = keep(empty, *(arrival(str(number)) for number in range(4)))
    wait(empty, one, "crm/Account/7")
    settle(empty, Settlement(other, "applied", "a reason"))
    with empty.transaction() as tx:
        assert inbox.open_count(tx) == 2


def test_every_message_is_somewhere(empty):
    numbers = keep(empty, *(arrival(str(number)) for number in range(6)))
    settle(
        empty,
        *(Settlement(number, state, "why", rule="r", waits_for=["crm/Account/9"]) for number, state in zip(
            numbers, ["applied", "superseded", "ignored", "quarantined", "waiting"], strict=False)),
    )  # fmt: skip
    keep(empty, *(arrival(str(number)) for number in range(6)))
    with empty.transaction() as tx:
        counts = {r["state"]: r["n"] for r in tx.rows("select state, count(*) as n from inbox group by state")}
        received = tx.value("select count(*) + sum(duplicates) from inbox")
    assert counts == dict.fromkeys(["applied", "superseded", "ignored", "quarantined", "waiting", "pending"], 1)
    assert received == 12


def test_a_call_that_is_not_believed_is_counted_without_its_body(empty):
    with empty.transaction() as tx:
        inbox.refuse_call(tx, "crm", "r" * 500, 12)
        (found,) = tx.rows("select * from refused_calls")
    assert (found["system"], found["reason"], found["bytes"]) == ("crm", "r" * 200, 12)
    assert "body" not in found
    json.dumps(found["reason"])


def test_leases_of_one_worker_can_be_taken_back(empty):
    keep(empty, arrival("1"), arrival("2"), lane="notice")
    with empty.transaction() as tx:
        inbox.lease(tx, "notice", 1, "one", 60)
        inbox.lease(tx, "notice", 1, "other", 60)
        assert inbox.release(tx, "one") == 1
    assert leased(empty, "third", 60) == [(1, 2)]

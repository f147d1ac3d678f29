"""Who may call us, and that the same key gets the same answer."""

import threading
from concurrent.futures import ThreadPoolExecutor

from trueup.store import access


def test_a_token_is_known_by_its_digest_only(empty):
    with empty.transaction() as tx:
        token = access.issue(tx, "reader", ["project:read", "cost:read"])
        found = access.holder(tx, token)
        row = tx.row("select * from tokens")
    assert token.startswith("tu_")
    assert len(token) > 40
    assert (found["name"], found["scopes"], found["digest"]) == ("reader", ["project:read", "cost:read"], row["digest"])
    assert token not in str(row)
    assert row["last_used_at"]


def test_two_tokens_are_never_the_same(empty):
    with empty.transaction() as tx:
        assert len({access.issue(tx, "x", []) for _ in range(20)}) == 20


def test_an_unknown_ended_or_revoked_token_belongs_to_nobody(empty):
    with empty.transaction() as tx:
        living = access.issue(tx, "a", ["x"], days=1)
        ended = access.issue(tx, "b", ["x"], days=0)
        revoked = access.issue(tx, "c", ["x"])
        tx.run("update tokens set revoked_at = now() where name = 'c'")
    with empty.transaction() as tx:
        assert access.holder(tx, living)["name"] == "a"
        for token in (ended, revoked, "tu_nothing", "", living + "x"):
            assert access.holder(tx, token) is None


def test_a_given_token_is_taken_over_once(empty):
    with empty.transaction() as tx:
        assert access.issue(tx, "demo", ["a"], token="tu_given") == "tu_given"
        access.issue(tx, "thief", ["everything"], token="tu_given")
        assert access.holder(tx, "tu_given")["scopes"] == ["a"]


def test_the_same_key_gets_the_same_answer(empty):
    with empty.transaction() as tx:
        assert access.begin_request(tx, "t", "key-1", "digest") is None
        access.end_request(tx, "t", "key-1", 201, {"gid": "cus_1"})
    with empty.transaction() as tx:
        assert access.begin_request(tx, "t", "key-1", "another") == {
            "digest": "digest",
            "status": 201,
            "body": {"gid": "cus_1"},
        }
        assert access.begin_request(tx, "another", "key-1", "digest") is None


def test_a_key_whose_request_failed_may_be_used_again(empty):
    with empty.transaction() as tx:
        access.begin_request(tx, "t", "key-1", "digest")
        tx.run("rollback")
    with empty.transaction() as tx:
        assert access.begin_request(tx, "t", "key-1", "digest") is None


def test_of_two_requests_at_once_the_second_waits_for_the_answer_of_the_first(empty):
    begun = threading.Event()

    def second():
        with empty.transaction() as tx:
            begun.set()
            return access.begin_request(tx, "t", "key-1", "digest")

    with ThreadPoolExecutor(1) as pool:
        with empty.transaction() as tx:
            access.begin_request(tx, "t", "key-1", "digest")
            waiting = pool.submit(second)
            begun.wait(10)
            access.end_request(tx, "t", "key-1", 200, "done")
        assert waiting.result(10) == {"digest": "digest", "status": 200, "body": "done"}


def test_one_at_a_time_under_a_name(empty):
    with empty.transaction() as one:
        assert access.alone(one, "month end", "DE01")
        with empty.transaction() as other:
            assert not access.alone(other, "month end", "DE01")
            assert access.alone(other, "month end", "US01")
            assert access.alone(other, "month", "end DE01")
    with empty.transaction() as tx:
        assert access.alone(tx, "month end", "DE01")

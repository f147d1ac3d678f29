"""A newer word of a record ends what an older one waited for, whichever came in first."""

import pytest

from trueup.store import inbox
from trueup.store.inbox import Arrival, Settlement


@pytest.fixture
def tx(database):
    with database.transaction() as tx:
        yield tx
        tx.run("rollback")


def word(tx, stamp, state, *, id="1", lane="master", mapping="crm.Account -> customer", version=1):
    """Keep a word of a record and judge it; return its number."""
    (number,) = inbox.keep(
        tx, "crm", [Arrival("Account", id, stamp, f"{id} {stamp} {lane}".encode())], origin="poll", lane=lane
    )
    more = {"waits_for": ["erp/job/1"]} if state == "waiting" else {"problems": []} if state == "quarantined" else {}
    said = Settlement(number, state, "said", rule="r", mapping=mapping, mapping_version=version, **more)
    inbox.settle(tx, [said])
    inbox.overtake(tx, [number])
    return number


def state(tx, number):
    return tx.value("select state from inbox where number = %s", (number,))


@pytest.mark.parametrize("first", ["quarantined", "waiting"])
@pytest.mark.parametrize("then", ["applied", "ignored", "quarantined", "waiting"])
def test_a_newer_word_ends_an_older_one_that_could_not_be_used(tx, first, then):
    older, newer = word(tx, "2026-08-01", first), word(tx, "2026-08-02", then)
    assert (state(tx, older), state(tx, newer)) == ("superseded", then)
    row = inbox.message(tx, older)
    assert row["reason"] == f"a newer word of this record has come in: message {newer}"
    assert (row["waits_for"], bytes(row["body"])) == (None, b"1 2026-08-01 master")


def test_an_older_word_that_comes_in_later_ends_at_once(tx):
    newer, older = word(tx, "2026-08-02", "applied"), word(tx, "2026-08-01", "quarantined")
    assert (state(tx, older), state(tx, newer)) == ("superseded", "applied")


def test_an_older_word_never_ends_a_newer_one(tx):
    newer, older = word(tx, "2026-08-02", "quarantined"), word(tx, "2026-08-01", "applied")
    assert (state(tx, older), state(tx, newer)) == ("applied", "quarantined")


def test_of_two_words_with_one_stamp_the_later_to_come_counts(tx):
    first = word(tx, "", "quarantined")
    (second,) = inbox.keep(tx, "crm", [Arrival("Account", "1", "", b"other")], origin="poll", lane="master")
    inbox.settle(tx, [Settlement(second, "applied", "a reason")])
    inbox.overtake(tx, [second])
    assert (state(tx, first), state(tx, second)) == ("superseded", "applied")


def test_other_records_and_calls_are_left_alone(tx):
    another, call = word(tx, "2026-08-01", "quarantined", id="2"), word(tx, "1", "quarantined", lane="notice")
    word(tx, "2026-08-02", "applied")
    notice = word(tx, "9", "applied", id="2", lane="notice")
    assert [state(tx, one) for one in (another, call, notice)] == ["quarantined", "quarantined", "applied"]


def test_another_version_of_a_mapping_judges_again_what_it_could_not_use(tx):
    bad, waits, fine = word(tx, "1", "quarantined"), word(tx, "1", "waiting", id="2"), word(tx, "1", "applied", id="3")
    other = word(tx, "1", "quarantined", id="4", mapping="crm.Deal -> contract")
    assert inbox.judge_again(tx, "crm.Account -> customer", 1) == 0
    assert inbox.judge_again(tx, "crm.Account -> customer", 2) == 1
    assert [state(tx, one) for one in (bad, waits, fine, other)] == ["pending", "waiting", "applied", "quarantined"]

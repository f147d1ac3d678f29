"""The oracles see what they are for, and nothing else."""

from trueup.sandbox.rigs import oracles
from trueup.sandbox.rigs.oracles import Effect

MADE = Effect("books", "Client", "cus_1", "C1", True, 1)


def test_an_acknowledged_message_that_is_not_kept_is_lost():
    assert oracles.lost({"a": "1", "b": "2"}, {"a": "1"}) == ["b was acknowledged and is not kept"]
    assert oracles.lost({"a": "1"}, {"a": "2"}) == ["a is kept with other bytes than were acknowledged"]
    assert oracles.lost({"a": "1"}, {"a": "1", "c": "3"}) == []


def test_a_second_document_under_one_key_is_doubled_and_a_change_of_the_first_is_not():
    again = Effect("books", "Client", "cus_1", "C2", True, 1)
    changed = Effect("books", "Client", "cus_1", "C1", False, 2)
    assert oracles.doubled([MADE, changed]) == []
    assert oracles.doubled([MADE, again]) == ["books Client cus_1 was made 2 times"]


def test_an_older_version_over_a_newer_one_is_seen_for_each_record_by_itself():
    newer, older = (
        Effect("books", "Client", "cus_1", "C1", False, 3),
        Effect("books", "Client", "cus_1", "C1", False, 2),
    )
    other = Effect("books", "Client", "cus_2", "C2", True, 1)
    assert oracles.older_over_newer([MADE, newer, other]) == []
    assert oracles.older_over_newer([MADE, newer, older]) == ["books Client C1: version 2 was written over 3"]


def test_targets_are_held_against_the_owner_except_where_the_hub_itself_shows_the_difference():
    owner = {"cus_1": {"name": "Acme"}, "cus_2": {"name": "Bolt"}}
    assert oracles.unequal(owner, {"cus_1": {"name": "Acme", "more": 1}, "cus_2": {"name": "Bolt"}}, "books") == []
    found = oracles.unequal(owner, {"cus_1": {"name": "Acne"}}, "books")
    assert found == ["books cus_1: name is 'Acne' and not 'Acme'", "books has no cus_2"]
    assert oracles.unequal(owner, {"cus_2": {"name": "Bolt"}}, "books", known=["cus_1"]) == []


def test_messages_that_are_not_accounted_for_are_named():
    assert oracles.unaccounted(3, {"applied": 1, "quarantined": 1, "waiting": 1}) == []
    assert oracles.unaccounted(3, {"applied": 2}) == ["3 messages were received and 2 are accounted for"]
    assert oracles.unaccounted(1, {"skipped": 1}) == ["1 messages are skipped, which is no end and no work"]
    assert oracles.unaccounted(1, {"ignored": 1}, 1) == ["1 messages were ignored by no rule"]


def test_what_waits_for_a_person_says_why_and_nothing_else_may_wait():
    rows = [
        {"key": "a", "state": "confirmed", "cause": None},
        {"key": "b", "state": "rejected", "cause": "period closed"},
        {"key": "c", "state": "parked", "cause": None},
        {"key": "d", "state": "unknown", "cause": "no answer"},
    ]
    assert oracles.unsettled(rows) == ["c is parked: for no stated reason", "d is unknown: no answer"]
    assert oracles.unsettled(rows, explained=["c", "d"]) == []


def test_versions_of_an_object_never_go_back():
    assert oracles.backwards([("a", 1), ("b", 5), ("a", 2), ("a", 2)]) == []
    assert oracles.backwards([("a", 2), ("a", 1)]) == ["a went from version 2 back to 1"]

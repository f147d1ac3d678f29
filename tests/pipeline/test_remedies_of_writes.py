"""What the hub itself says of a write that failed: each entry is caused, named on the desk, and each way out of it ends it."""

from dataclasses import replace
from datetime import timedelta

import pytest
import target

from remedy_steps import ask, carry_out, goes_out, open_issues, the_issue
from trueup.connectors.sdk import remedies
from trueup.kernel.errors import Broken
from trueup.kernel.ids import derive
from trueup.mapping.file import load
from trueup.store import deliveries
from trueup.store.timely import MOVED

GID = derive("customer", "remedies", "one")
MENDED = target.MAPPING.replace("{integer: value}", "{integer: amount}")


def built(database, dedupe):
    house, _, books = target.build(database, dedupe)
    return house, books


def later(house, seconds):
    """Let time pass: everything that is waited for comes nearer."""
    with house.database.transaction() as tx:
        for one in MOVED:
            tx.run(one, {"by": timedelta(seconds=-seconds)})


def write(number, dedupe="A", **source):
    command = target.command(GID, number, dedupe)
    return replace(command, source={**command.source, **source}) if source else command


def named(house, entry):
    issue = the_issue(house)
    assert issue["remedy"]["id"] == entry
    assert issue["remedy"]["cause"] == next(one.cause for one in remedies.general() if one.id == entry)
    return issue


def test_what_the_mapping_cannot_make_goes_out_once_the_mapping_is_mended(empty):
    house, books = built(empty, "A")
    ask(house, write(1, value="much", amount=7))
    issue = named(house, "mapping")
    house.outward["customer", "target", "thing"] = load(MENDED)
    goes_out(house, issue)
    assert [one.value for one in books.documents] == [7]


def test_what_the_mapping_cannot_make_ends_when_a_newer_write_takes_its_place(empty):
    house, books = built(empty, "A")
    ask(house, replace(write(1, value="much"), latest=True))
    named(house, "mapping")
    ask(house, replace(write(2), latest=True))
    assert open_issues(house) == []
    assert [one.value for one in books.documents] == [2]


def test_what_is_not_configured_goes_out_once_it_is(empty):
    house, books = built(empty, "A")
    mapping = house.outward.pop(("customer", "target", "thing"))
    ask(house, write(1))
    issue = named(house, "configuration")
    house.outward["customer", "target", "thing"] = mapping
    goes_out(house, issue)
    assert len(books.documents) == 1


@pytest.mark.parametrize(
    ("trouble", "entry"),
    [(Broken("the option system_id is missing"), "configuration"), (ZeroDivisionError("a fault of ours"), "fault-out")],
)
def test_what_breaks_the_client_sends_nothing_more_until_it_is_mended(empty, monkeypatch, trouble, entry):
    house, books = built(empty, "A")

    def breaks(*_):
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(target.Target, "post", breaks)
        ask(house, write(1))
    goes_out(house, named(house, entry))
    assert len(books.documents) == 1


@pytest.mark.parametrize("fault", ["after", "before"])
def test_silence_of_a_system_that_cannot_be_asked_is_a_person_s(empty, fault):
    house, books = built(empty, "D")
    books.fault = fault
    ask(house, write(1, "D"))
    later(house, 1000)
    carry_out(house)
    issue = named(house, "silence")
    assert [way["then"] for way in issue["remedy"]["ways"]] == ["itself", "retry"]
    if fault == "before":
        goes_out(house, issue)
    else:
        with house.database.transaction() as tx:
            assert deliveries.landed(tx, issue["failing"][0]["record"], books.documents[0].id)
        carry_out(house)
        assert open_issues(house) == []
    assert len(books.documents) == 1


def test_silence_of_a_system_that_can_be_asked_settles_itself(empty):
    house, books = built(empty, "C")
    books.fault = "before"
    ask(house, write(1, "C"))
    issue = named(house, "unknown")
    assert [way["then"] for way in issue["remedy"]["ways"]] == ["itself"]
    for _ in range(5):
        books.pass_time(300)
        later(house, 300)
        carry_out(house)
    assert open_issues(house) == []
    assert len(books.documents) == 1


def test_every_entry_about_writes_is_gone_through_here_or_in_test_write_budget():
    assert {one.id for one in remedies.general() if one.source == "delivery"} == {
        "mapping", "configuration", "fault-out", "silence", "unknown", "write_budget",
    }  # fmt: skip

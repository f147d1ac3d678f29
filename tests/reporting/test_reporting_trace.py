"""Any identifier leads to the record, and the record to everything that happened to it."""

import pytest

from small_firm import gid_of
from trueup.reporting.sight import HIDDEN
from trueup.reporting.trace import find, record, trace


@pytest.mark.parametrize(
    ("identifier", "label"),
    [
        ("X01-DE01", "X01-DE01"),
        ("d-X01", "X01"),
        ("X01", "X01"),
        ("PO-X01", "X01"),
        ("R-1001", "X01-DE01-2026-08"),
        ("PAY-7", "PAY-7"),
        ("ida.holm@small.example", "1001"),
        ("Ida.Holm@Small.Example", "1001"),
        ("1001", "1001"),
        ("invoices@fjord.example", "Fjord Energi"),
        ("DE1", "Fjord Energi"),
        ("e1", "W32, 2026-08-05"),
        ("R1", "R1 line 1"),
        ("X03-M1", "X03-M1"),
    ],
)
def test_any_identifier_of_any_system_finds_its_record(tx, identifier, label):
    assert label in {one.label for one in find(tx, identifier)}


def test_a_part_of_a_name_finds_when_nothing_matches_exactly(tx):
    assert [one.label for one in find(tx, "fjord")] == ["Fjord Energi"]
    assert find(tx, "%") == ()


def test_a_record_that_could_not_be_used_is_found_by_its_own_identifier(tx):
    (found,) = find(tx, "e7")
    assert (found.kind, found.status, found.gid) == ("message", "quarantined", None)
    assert found.link.startswith("/messages/")


def test_a_word_with_wildcards_is_taken_as_it_is(tx):
    assert find(tx, "X01_DE01") == ()


def test_a_project_shows_its_names_in_all_systems(tx, house):
    it = record(tx, gid_of(house, "project", "X01-DE01"))
    assert {(one.system, one.object) for one in it.identities} == {("timely", "project"), ("ledgerly", "job")}
    assert {one.state for one in it.deliveries} == {"confirmed"}
    assert {one.code for one in it.holds} == {"APPROVAL_MISSING", "RATE_MISSING"}


def test_a_time_entry_is_followed_from_its_message_to_the_invoice(tx):
    (it,) = trace(tx, "e1")
    areas = [moment.area for moment in it.timeline]
    assert areas[:2] == ["message", "decision"]
    assert [moment.sentence for moment in it.timeline if moment.area == "move"] == [
        "source → unbilled, 435 min",
        "unbilled → on draft, 435 min",
        "on draft → invoiced, 435 min",
    ]
    assert "X01-DE01-2026-08" in {one.label for one in it.related}


def test_each_field_says_whose_word_it_is(tx):
    (it,) = trace(tx, "R-1001")
    by = {field.name: (field.system or field.actor) for field in it.fields}
    assert by["number"] == "ledgerly"
    assert by["net"] == "billing_run/2026-08/DE01"


def test_what_is_open_comes_first(tx, house):
    it = record(tx, gid_of(house, "milestone", "X03-M1"))
    assert it.now[0].startswith("held, milestone not signed: Completed, but the client has not signed")


def test_pay_is_hidden_from_readers_without_the_right(tx):
    (hidden,), (seen,) = trace(tx, "c1"), trace(tx, "c1", cost=True)
    assert {field.name: field.value for field in hidden.fields}["amount"] == HIDDEN
    assert {field.name: field.value for field in seen.fields}["amount"] == "60.00"
    assert "60" not in str([moment.fields for moment in hidden.timeline])


def test_the_cost_journal_hides_its_totals_and_body(tx):
    (hidden,), (seen,) = trace(tx, "COST-DE01-2026-08"), trace(tx, "COST-DE01-2026-08", cost=True)
    assert {field.name: field.value for field in hidden.fields}["total_debit"] == HIDDEN
    assert {one.body for one in hidden.deliveries} == {None}
    assert {field.name: field.value for field in seen.fields}["total_debit"] != HIDDEN


def test_an_unknown_identifier_finds_nothing(tx):
    assert trace(tx, "nobody@nowhere") == ()
    assert record(tx, "prj_00000000000000000000000000") is None


def test_a_write_that_was_read_back_and_a_job_that_was_asked_after_are_on_the_record(tx, house):
    gid = gid_of(house, "project", "X01-DE01")
    tx.run(
        """
        insert into delivery_attempts (key, attempt, action, outcome)
        select min(key), n, action, 'confirmed' from deliveries, (values (98, 'ask'), (99, 'read')) as a (n, action)
        where gid = %s group by n, action
        """,
        (gid,),
    )
    told = [moment.sentence for moment in record(tx, gid).timeline if moment.area == "attempt"]
    assert [sentence.split(",")[0] for sentence in told[-2:]] == ["asked after the job", "read it again"]

"""Flows, quarantine, messages and events: what came in, what became of it, what could not be used."""

import hashlib
import json

from trueup.reporting import events, flows, messages, quarantine
from trueup.reporting.evidence import indented
from trueup.reporting.sight import HIDDEN


def number_of(tx, system, external_id):
    return tx.value("select max(number) from inbox where system = %s and external_id = %s", (system, external_id))


def test_a_bad_record_names_field_problem_and_cure(tx):
    (bad,) = quarantine.quarantine(tx).bad
    assert (bad.external_id, [one.field for one in bad.problems]) == ("e7", ["status"])
    assert "mapping's table" in bad.advice


def test_a_waiting_record_names_what_it_waits_for(tx):
    (waiting,) = quarantine.quarantine(tx).waiting
    assert all(key.endswith("/project_code/X99-DE01") for key in waiting.waits_for)
    assert "goes on by itself" in waiting.advice


def test_a_refused_write_and_a_refused_call_are_listed(tx):
    page = quarantine.quarantine(tx)
    (write,) = page.writes
    assert (write.label, write.state, write.code) == ("COST-DE01-2026-08", "rejected", "CLOSED")
    (call,) = page.calls
    assert (call.system, call.count) == ("dealer", 1)
    assert "secret" in call.advice
    assert not page.empty


def test_a_message_shows_its_bytes_its_mapping_and_its_decisions(tx):
    it = messages.message(tx, number_of(tx, "timely", "e1"))
    assert hashlib.sha256(it.raw.text.encode()).hexdigest() == it.raw.sha256
    assert "mapping: timely.entry -> time_entry" in it.mapping.text
    assert (it.mapping.version, it.mapping.now) == (1, 1)
    assert [one.verdict for one in it.decisions] == ["accept"]
    assert messages.message(tx, 10**9) is None


def test_a_bad_message_says_what_is_wrong_with_it(tx):
    it = messages.message(tx, number_of(tx, "timely", "e7"))
    assert (it.raw.state, it.record.problems[0].code, it.decisions) == ("quarantined", "not_in_table", ())


def test_a_record_about_pay_is_shown_only_with_the_right(tx):
    number = number_of(tx, "folks", "c1")
    hidden, seen = messages.message(tx, number), messages.message(tx, number, cost=True)
    assert hidden.raw.text is None
    assert HIDDEN in str(hidden.decisions)
    assert json.loads(seen.raw.text)["rate"] == 60


def test_indenting_keeps_every_digit(tx):
    assert indented('{"a":1.10,"b":123456789012345678901234567890}') == (
        '{\n  "a": 1.10,\n  "b": 123456789012345678901234567890\n}'
    )
    assert indented("no json") == "no json"


def test_events_are_cloud_events_about_known_records(tx):
    page = events.events(tx, name="invoice.posted")
    (row,) = page.rows
    assert (row.label, row.cloud["type"], row.cloud["specversion"]) == (
        "X01-DE01-2026-08", "org.trueup.invoice.posted.v1", "1.0",
    )  # fmt: skip


def test_events_are_paged_without_gaps(tx):
    everything = [row.number for row in events.events(tx, limit=10_000).rows]
    first = events.events(tx, limit=5)
    second = events.events(tx, limit=5, before=first.before)
    assert [row.number for row in (*first.rows, *second.rows)] == everything[:10]
    assert events.events(tx, limit=10_000).before is None


def test_business_flows_count_each_thing_once(tx):
    found = {flow.key: flow for flow in flows.business(tx)}
    assert (found["deals"].into, found["deals"].done, found["deals"].held) == (3, 2, 1)
    time = found["time_entry"]
    assert (time.into, time.done, time.held, time.waiting) == (5, 3, 2, 0)
    assert (found["milestones"].into, found["milestones"].held) == (1, 1)
    assert found["cash"].waiting == 1


def test_incoming_and_outgoing_flows_show_what_is_stuck(tx):
    entries = next(flow for flow in flows.inward(tx) if flow.key == "timely/entry")
    assert (entries.into, entries.done, entries.waiting, entries.held) == (8, 6, 1, 1)
    assert sum(entries.trend) == 8
    journals = next(flow for flow in flows.outward(tx) if flow.key == "ledgerly/journal")
    # One refusal for the closed month is enough: the other journal of it is not even tried.
    assert (journals.into, journals.done, journals.waiting, journals.failed) == (2, 0, 1, 1)


def test_a_system_says_how_it_feels(tx):
    found = {one.system: one for one in flows.systems(tx)}
    assert found["timely"].state == "up"
    assert {reader.object for reader in found["timely"].readers} == {"entry", "goal"}
    assert found["dealer"].refused_calls == 1
    tx.run(
        "update systems set last_error = 'gone', last_error_at = now() + interval '1 second' where system = 'timely'"
    )
    assert {one.system: one.state for one in flows.systems(tx)}["timely"] == "failing"

"""Reading Kantata: nothing is lost between pages, within a second, behind a filter or after a deletion."""

import json
import threading

import msgspec
import pytest
from kantata_office import KEY, meaning, read_all, read_until_quiet, until_the_second_is_over

from trueup.connectors.sdk.wire import Connection
from trueup.kernel.errors import Busy, Refused

OBJECTS = ("user", "workspace", "story", "workspace_allocation", "time_entry")


def times(office, count, **more):
    return office.book(*(office.hour(notes=f"entry {n}", **more) for n in range(count)))["entries"]


def test_every_byte_of_a_record_is_the_vendors(office):
    entry = office.book(office.hour(notes="Ångström ½"), approve=True)["entries"][0]
    include = "workspace,story,user,role,active_submission,recent_submission"
    url = f"{office.connection.base_url}/time_entries?include={include}&only={entry}"
    client = office.client()
    raw = client.call("GET", url).raw
    [record], _ = read_all(client, "time_entry")
    parts = msgspec.json.decode(record.raw, type=dict[str, msgspec.Raw])
    assert list(parts) == ["time_entry", "role", "submission"]
    assert all(bytes(part) in raw for part in parts.values())
    assert client.get("time_entry", entry) == record


def test_a_second_with_more_rows_than_a_page_is_read_to_its_end(office):
    ids = times(office, 57)
    assert len({office.row("time_entries", id)["updated_at"] for id in ids}) == 1
    records, cursor = read_all(office.client(page_size="10"), "time_entry")
    assert sorted(record.external_id for record in records) == sorted(ids)
    until_the_second_is_over()
    office.backdate("time_entries", 300)
    assert read_all(office.client(page_size="10"), "time_entry", cursor)[0] == []


def test_rows_that_change_while_we_read_push_no_other_row_out_of_sight(office):
    ids = times(office, 60)
    office.backdate("time_entries", 30)
    client, seen, cursor, more, turn = office.client(page_size="10"), {}, None, True, 0
    while more:
        page = client.changes("time_entry", cursor)
        for record in page.records:
            seen[record.external_id] = meaning(record).values["notes"]
        cursor, more = page.cursor, page.more
        if turn < 5:  # the rows we have read move to the end of the list
            office.do("edit", "time_entries", ids[turn], {"notes": f"moved {turn}"})
        turn += 1
    assert sorted(seen) == sorted(ids)
    assert [seen[ids[n]] for n in range(5)] == [f"moved {n}" for n in range(5)]


def test_a_change_within_the_second_of_the_last_poll_is_not_missed(office):
    [id] = times(office, 1)
    client = office.client()
    until_the_second_is_over()
    office.do("edit", "time_entries", id, {"notes": "first word"})
    first, cursor = read_all(client, "time_entry")
    office.do("edit", "time_entries", id, {"notes": "last word"})
    then, cursor = read_all(client, "time_entry", cursor)
    assert [meaning(record).values["notes"] for record in (*first, *then)][-1] == "last word"
    read_until_quiet(client, "time_entry", cursor)


def test_a_change_that_became_visible_late_is_found_by_looking_back(office):
    ids = times(office, 2)
    client = office.client()
    _, cursor = read_all(client, "time_entry")
    cursor = read_until_quiet(client, "time_entry", cursor)
    with office.simulator.lock:  # a transaction of two minutes: its stamp is older than our last poll
        row = office.row("time_entries", ids[0])
        office.simulator.store.put("time_entries", ids[0], row | {"notes": "late", "updated_at": office.ago(120)})
    assert read_all(client, "time_entry", cursor)[0] == []
    state = json.loads(cursor) | {"looked": "2026-01-01T00:00:00+00:00"}
    found, _ = read_all(client, "time_entry", json.dumps(state))
    assert "late" in [meaning(record).values["notes"] for record in found]


def test_the_state_of_a_timesheet_is_the_state_of_its_time(office):
    approved = office.book(office.hour(sheet="A"), approve=True)["entries"][0]
    waiting = office.book(office.hour(sheet="B"))["entries"][0]
    rejected = office.book(office.hour(sheet="C"))
    office.do("reject_timesheet", rejected["submissions"][0])
    cancelled = office.book(office.hour(sheet="D"))
    office.do("cancel_timesheet", cancelled["submissions"][0])
    draft = office.book(office.hour(sheet=None))["entries"][0]
    records, _ = read_all(office.client(), "time_entry")
    said = {record.external_id: meaning(record).values for record in records}
    wanted = {approved: "approved", waiting: "submitted", draft: "draft"}
    wanted |= {rejected["entries"][0]: "rejected", cancelled["entries"][0]: "draft"}
    assert {id: values["status"] for id, values in said.items()} == wanted
    assert said[approved]["role"] == "Consultant"
    assert (said[approved]["sheet"], said[draft]["sheet"]) == ("A", None)


def test_an_approval_brings_the_time_again_under_a_later_stamp(office):
    done = office.book(office.hour())
    office.backdate("time_entries", 10)
    client = office.client()
    [before], cursor = read_all(client, "time_entry")
    office.do("approve_timesheet", done["submissions"][0])
    [after], _ = read_all(client, "time_entry", cursor)
    assert (meaning(before).values["status"], meaning(after).values["status"]) == ("submitted", "approved")
    assert after.stamp > before.stamp


def test_stamps_sort_like_time_whatever_offset_they_were_written_with(office):
    [id] = times(office, 1)
    with office.simulator.lock:
        row = office.row("time_entries", id)
        office.simulator.store.put("time_entries", id, row | {"updated_at": "2026-11-01T01:30:00-07:00"})
    assert office.client().get("time_entry", id).stamp == "2026-11-01T08:30:00+00:00"


@pytest.mark.parametrize(
    ("object", "table", "subject"),
    [("time_entry", "time_entries", "entry"), ("story", "stories", "phase"), ("workspace", "workspaces", "project")],
)
def test_what_is_deleted_comes_as_deleted_once_or_more(office, object, table, subject):
    ids = {"entry": times(office, 1)[0], "phase": office.phase["id"], "project": office.project["id"]}
    client = office.client()
    known, cursor = read_all(client, object)
    office.do("remove", table, ids[subject])
    gone, cursor = read_all(client, object, cursor)
    deleted = [record for record in gone if record.deleted]
    assert {(record.object, record.external_id) for record in deleted} == {(object, ids[subject])}
    assert all(record.stamp >= max(one.stamp for one in known) for record in deleted)
    again, _ = read_all(client, object, cursor)
    assert {record.stamp for record in again if record.deleted} == {deleted[0].stamp}  # known to the inbox
    assert client.get(object, ids[subject]) is None


def test_without_the_feed_of_events_deletions_can_be_left_out(office):
    [id] = times(office, 1)
    client = office.client(deletions="off")
    _, cursor = read_all(client, "time_entry")
    office.do("remove", "time_entries", id)
    assert not [record for record in read_all(client, "time_entry", cursor)[0] if record.deleted]
    _, cursor = read_all(client, "user")
    assert read_all(client, "user", cursor)[0] == []


def test_deletions_older_than_the_feed_keeps_are_said_to_be_missed(office, capsys):
    client = office.client()
    _, cursor = read_all(client, "story")
    state = json.loads(cursor) | {"deleted_from": "2026-01-01T00:00:00+00:00"}
    read_all(client, "story", json.dumps(state))
    assert "deletions.missed" in capsys.readouterr().out


def test_an_archived_project_and_its_time_are_still_read(office):
    [id] = times(office, 1)
    client = office.client()
    _, cursor = read_all(client, "workspace")
    office.do("edit", "workspaces", office.project["id"], {"archived": True})
    changed, _ = read_all(client, "workspace", cursor)
    assert office.project["id"] in [record.external_id for record in changed]
    assert client.get("workspace", office.project["id"]) is not None
    assert [record.external_id for record in read_all(client, "time_entry")[0]] == [id]


def test_a_completed_milestone_says_on_which_day(office):
    client = office.client()
    _, cursor = read_all(client, "story")
    office.do("complete_story", office.milestone["id"], on="2026-09-18")
    records, _ = read_all(client, "story", cursor)
    record = {one.external_id: one for one in records}[office.milestone["id"]]
    said = meaning(record).values
    assert (said["task_type"], said["status"], str(said["completed_on"])) == ("milestone", "done", "2026-09-18")
    office.do("edit", "stories", office.milestone["id"], {"state": "started"})
    office.do("complete_story", office.milestone["id"], on="2026-10-02")
    assert str(meaning(client.get("story", office.milestone["id"])).values["completed_on"]) == "2026-10-02"


def test_an_allocation_comes_with_the_person_it_is_for(office):
    made = office.do(
        "staff", office.project["id"], office.maren["id"], office.consultant["id"], "2026-08-03", "2026-09-30", 9600
    )
    unnamed = office.do("create", "workspace_resources", {"workspace_id": office.project["id"]})
    office.do("create", "workspace_allocations", {"workspace_resource_id": unnamed["id"], "minutes": 60})
    records, _ = read_all(office.client(), "workspace_allocation")
    said = {record.external_id: meaning(record) for record in records}
    assert said[made["id"]].values["resource"] == ("user", office.maren["id"])
    assert (said[made["id"]].values["role"], said[made["id"]].values["status"]) == ("Consultant", "hard")
    assert sorted(str(one.ignored) for one in said.values()) == ["None", "unnamed_resource"]


def test_people_are_read_whole_and_then_only_when_they_change(office):
    client = office.client(page_size="1")
    records, cursor = read_all(client, "user")
    assert {record.external_id: record.stamp for record in records} == {office.maren["id"]: "", office.ines["id"]: ""}
    assert read_all(client, "user")[0] == records
    assert read_all(client, "user", cursor)[0] == []
    office.do("edit", "users", office.ines["id"], {"full_name": "Ines Roth-Weber"})
    [record], cursor = read_all(client, "user", cursor)
    assert (record.external_id, record.stamp > "2026") == (office.ines["id"], True)
    office.do("edit", "users", office.ines["id"], {"full_name": "Ines Roth"})
    [back], _ = read_all(client, "user", cursor)
    assert meaning(back).match == (("email", "ines.roth@nordlys.example"),)
    assert back.stamp >= record.stamp


def test_our_identifier_comes_back_and_an_invoice_on_the_project_does_not_hide_it(office):
    client = office.client()
    body = {"title": "D08-DE01 Portal", "creator_role": "maven", "currency": "EUR", "budgeted": True}
    made = client.send("workspace", KEY, body, None)
    shown = {"subject_type": "Workspace", "subject_id": made.external_id, "service_name": "trueup D08-DE01-2026-08"}
    shown |= {"service_model": "invoice", "service_model_ref": "inv_1", "external_status": "posted"}
    client.send("external_reference", "inv_1", shown, None)
    office.call(
        "POST",
        "/external_references/create_or_update",
        {"external_reference": shown | {"service_name": "another product", "service_model": "project"}},
    )
    assert meaning(client.get("workspace", made.external_id)).own == KEY
    assert meaning(client.get("workspace", office.project["id"])).own is None


def test_a_revoked_token_is_refused_with_advice_and_waiting_is_asked_for_without_a_time(office):
    client = office.client()
    client.read_tries = 1
    stage = office.sandbox.stage("kantata")
    stage.fault("429")
    with pytest.raises(Busy) as busy:
        client.changes("user", None)
    assert busy.value.retry_after is None
    stage.fault("5xx")
    with pytest.raises(Busy):
        client.changes("user", None)
    office.do("revoke")
    with pytest.raises(Refused) as no:
        client.changes("user", None)
    assert (no.value.code, no.value.status) == ("sign_in", 401)
    assert "sign_in" in client.manifest.refusals


def test_a_page_of_a_proxy_is_no_list(office):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>sign in to the network</html>")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        made = type(office.client())
        place = Connection("kantata", f"http://127.0.0.1:{server.server_port}", {"access_token": "x" * 20})
        client = made(office.client().manifest, place)
        with pytest.raises(Refused) as no:
            client.changes("workspace", None)
        assert no.value.code == "unreadable"
        client.close()
    finally:
        server.shutdown()
        server.server_close()


def test_a_restarted_poll_goes_on_in_the_middle_of_a_crowded_second(office):
    ids = times(office, 45)
    cursor, found, more = None, [], True
    while more:
        page = office.client(page_size="10").changes("time_entry", cursor)
        found += [record.external_id for record in page.records]
        cursor, more = page.cursor, page.more
    assert sorted(found) == sorted(ids)
    for object in OBJECTS:
        assert json.loads(office.client().changes(object, None).cursor)


def test_a_crowded_second_that_rows_leave_while_it_is_read_is_read_again(office):
    ids = times(office, 45)
    until_the_second_is_over()
    client, seen, cursor, more = office.client(page_size="10"), {}, None, True
    left = list(ids)
    while more:
        page = client.changes("time_entry", cursor)
        for record in page.records:
            seen[record.external_id] = meaning(record).values["notes"]
        cursor, more = page.cursor, page.more
        if json.loads(cursor).get("page") == 3 and len(left) > 40:
            office.do("edit", "time_entries", left.pop(0), {"notes": "left"})
    assert sorted(seen) == sorted(ids)
    assert [id for id, notes in seen.items() if notes == "left"] == [id for id in ids if id not in left]

"""The simulated account keeps to the vendor's contract, its traps included."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest


def test_a_list_carries_count_meta_order_and_rows_by_id(office):
    answer = office.list("/users", on_my_account="true")
    assert answer["count"] == answer["meta"]["count"] == 2
    assert answer["meta"] == {"count": 2, "page_count": 1, "page_number": 1, "page_size": 20}
    assert answer["results"] == [
        {"key": "users", "id": office.ines["id"]},
        {"key": "users", "id": office.maren["id"]},
    ]
    assert answer["users"][office.maren["id"]]["full_name"] == "Maren Lindholm"
    assert office.list("/users.json", on_my_account="true")["count"] == 2


def test_a_page_has_twenty_rows_and_never_more_than_two_hundred(office):
    office.book(*(office.hour() for _ in range(230)))
    assert len(office.ids("/time_entries")) == 20
    assert len(office.ids("/time_entries", per_page="500")) == 200
    third = office.list("/time_entries", per_page="100", page="3")
    assert (len(third["results"]), third["count"], third["meta"]["page_count"]) == (30, 230, 3)
    assert office.ids("/time_entries", page="20") == []
    assert len(office.ids("/time_entries", limit="7", offset="225", per_page="100", page="4")) == 5
    assert office.call("GET", "/time_entries", page="zero")[0] == 400


@pytest.mark.parametrize("value", ["true", "false", "0", ""])
def test_filters_that_are_always_true_ignore_their_value(office, value):
    done = office.book(office.hour(), approve=True)
    office.book(office.hour(sheet="P001-2026-W36"))
    assert office.ids("/time_entries", approved=value) == done["entries"]
    assert office.ids("/time_entries", invoiced=value) == []
    assert len(office.ids("/time_entries", uninvoiced=value)) == 2


def test_archived_projects_are_hidden_and_only_brings_them_back(office):
    entry = office.book(office.hour())["entries"][0]
    id = office.project["id"]
    office.do("edit", "workspaces", id, {"archived": True})
    assert office.ids("/workspaces") == []
    assert office.call("GET", f"/workspaces/{id}")[0] == 404
    assert office.call("GET", f"/workspaces/{id}", include_archived="true")[0] == 200
    assert office.ids("/workspaces", only=id) == [id]
    assert office.ids("/workspaces", archived="only") == [id]
    assert office.ids("/time_entries") == []
    assert office.call("GET", f"/time_entries/{entry}")[0] == 404
    assert office.ids("/time_entries", only=entry) == [entry]
    assert office.ids("/time_entries", from_archived_workspaces="true") == [entry]


def test_time_in_other_accounts_projects_is_hidden_unless_asked_for(office):
    partner = office.do("create", "workspaces", {"title": "Partner", "account_id": 99})
    entry = office.book(office.hour(workspace_id=partner["id"], story_id=None))["entries"][0]
    assert office.ids("/time_entries") == []
    assert office.ids("/time_entries", on_my_account="false") == [entry]


def test_people_on_no_project_are_hidden_unless_the_account_is_asked_for(office):
    office.do(
        "staff", office.project["id"], office.maren["id"], office.consultant["id"], "2026-08-03", "2026-09-30", 9600
    )
    assert office.ids("/users") == [office.maren["id"]]
    assert len(office.ids("/users", on_my_account="true")) == 2
    office.do("edit", "users", office.ines["id"], {"disabled": True})
    assert office.ids("/users", on_my_account="true") == [office.maren["id"]]
    assert len(office.ids("/users", on_my_account="true", show_disabled="true")) == 2


def test_ids_of_related_records_are_absent_until_they_are_included(office):
    entry = office.book(office.hour(), approve=True)["entries"][0]
    plain = office.list("/time_entries")["time_entries"][entry]
    assert not [name for name in plain if name.endswith(("_id", "_ids"))]
    answer = office.list("/time_entries", include="workspace,story,user,role,active_submission,external_references")
    full = answer["time_entries"][entry]
    assert (full["workspace_id"], full["story_id"]) == (office.project["id"], office.phase["id"])
    assert full["external_reference_ids"] == []
    assert answer["roles"][full["role_id"]]["name"] == "Consultant"
    sheet = answer["timesheet_submissions"][full["active_submission_id"]]
    assert (sheet["title"], sheet["status"]) == ("P001-2026-W35", "approved")
    assert "user_id" not in sheet
    assert "nonsense" not in office.list("/time_entries", include="nonsense")


def test_money_is_in_subunits_of_a_currency_that_may_have_none(office):
    yen = office.do("create", "workspaces", {"title": "Tokyo", "currency": "JPY", "price": 5000000})
    assert (yen["currency_base_unit"], yen["price_in_cents"], yen["price"]) == (1, 5000000, "¥5,000,000")
    assert (office.project["currency_base_unit"], office.project["price_in_cents"]) == (100, 18400000)
    entry = office.book(office.hour(workspace_id=yen["id"], story_id=None))["entries"][0]
    row = office.row("time_entries", entry)
    assert (row["currency"], row["currency_base_unit"], row["time_in_minutes"]) == ("JPY", 1, 60)


@pytest.mark.parametrize(
    ("path", "order", "status"),
    [
        ("/time_entries", "updated_at:asc", 200),
        ("/time_entries", "id:asc", 400),
        ("/users", "updated_at:asc", 400),
        ("/users", "alphabetical:desc", 200),
        ("/workspace_allocations", "created_at:asc", 400),
        ("/stories", "due_date:desc", 200),
        ("/stories", "due_date:sideways", 400),
    ],
)
def test_each_list_has_its_own_orders_and_refuses_others(office, path, order, status):
    answer = office.call("GET", path, order=order)
    assert answer[0] == status
    if status == 400:
        assert answer[1]["errors"][0]["type"] == "system"


def test_a_project_needs_a_title_and_the_side_of_its_creator(office):
    status, body, _ = office.call("POST", "/workspaces", {"workspace": {"description": "x"}})
    assert status == 422
    assert [(error["type"], error["field"]) for error in body["errors"]] == [
        ("validation", "title"),
        ("validation", "creator_role"),
    ]
    bad = {"title": "T", "creator_role": "owner"}
    assert office.call("POST", "/workspaces", {"workspace": bad})[1]["errors"][0]["field"] == "creator_role"


def test_time_needs_a_project_a_day_and_minutes(office):
    status, body, _ = office.call("POST", "/time_entries", {"time_entry": {"notes": "x"}})
    assert status == 422
    assert {error["field"] for error in body["errors"]} == {"workspace_id", "date_performed", "time_in_minutes"}
    good = {"workspace_id": office.project["id"], "date_performed": "2026-08-27", "time_in_minutes": 30}
    for wrong in ({"date_performed": "27 August"}, {"time_in_minutes": "half"}, {"workspace_id": "1"}):
        status, body, _ = office.call("POST", "/time_entries", {"time_entry": good | wrong})
        assert (status, body["errors"][0]["field"]) == (422, next(iter(wrong)))
    status, body, _ = office.call("POST", "/time_entries", {"time_entry": good})
    assert status == 200
    id = body["results"][0]["id"]
    assert isinstance(id, str)
    assert body["time_entries"][id]["approved"] is False


def test_attributes_nobody_knows_are_ignored_and_a_body_without_its_key_is_refused(office):
    body = {"workspace": {"title": "T", "creator_role": "maven", "colour": "green", "currency": "EUR"}}
    status, answer, _ = office.call("POST", "/workspaces", body)
    assert status == 200
    assert "colour" not in next(iter(answer["workspaces"].values()))
    assert office.call("POST", "/workspaces", {"title": "T"})[0] == 400
    assert office.call("POST", "/users", {"user": {"full_name": "X"}})[0] == 404


def test_what_can_be_set_once_is_ignored_later(office):
    other = office.do("create", "workspaces", {"title": "Other"})
    body = {"story": {"title": "Renamed", "workspace_id": other["id"]}}
    assert office.call("PUT", f"/stories/{office.phase['id']}", body)[0] == 200
    row = office.row("stories", office.phase["id"])
    assert (row["title"], row["workspace_id"]) == ("Renamed", office.project["id"])


def test_a_deleted_record_is_gone_and_leaves_an_event(office):
    entry = office.book(office.hour())["entries"][0]
    status, body, _ = office.call("DELETE", f"/time_entries/{entry}")
    assert (status, body) == (204, None)
    assert office.call("GET", f"/time_entries/{entry}")[0] == 404
    assert office.ids("/time_entries", only=entry) == []
    answer = office.list("/subscribed_events", event_types="time_entry:deleted", include="subject")
    event = next(iter(answer["subscribed_events"].values()))
    assert (event["subject_id"], event["subject_type"], event["subject_ref"]) == (int(entry), "TimeEntry", None)


def test_allocations_are_created_up_to_two_hundred_at_once(office):
    resource = office.call(
        "POST",
        "/workspace_resources",
        {"workspace_resource": {"workspace_id": office.project["id"], "user_id": office.ines["id"]}},
    )[1]["results"][0]["id"]
    plan = {"resource_id": resource, "start_date": "2026-08-03", "end_date": "2026-08-28", "minutes": 2400}
    many = {"workspace_allocations": [plan] * 3}
    status, body, _ = office.call("POST", "/workspace_allocations", many)
    assert (status, len(body["results"])) == (200, 3)
    assert office.call("POST", "/workspace_allocations", {"workspace_allocations": [plan] * 201})[0] == 400
    assert office.call("POST", "/time_entries", {"time_entries": [{}]})[0] == 400


def test_a_reference_is_one_per_service_and_record(office):
    def refer(**more):
        body = {"subject_type": "Workspace", "subject_id": int(office.project["id"]), "service_name": "trueup"}
        body |= {"service_model": "project", "service_model_ref": "prj_1", "status": "successful"} | more
        return office.call("POST", "/external_references/create_or_update", {"external_reference": body})

    first, again = refer(), refer(service_model="invoice", service_model_ref="inv_1")
    assert first[1]["results"] == again[1]["results"]
    assert refer(service_name="trueup inv_2")[1]["results"] != first[1]["results"]
    assert refer(status="done")[0] == 422
    assert refer(subject_id=1)[0] == 422
    assert office.call("GET", "/external_references")[0] == 400
    assert len(office.ids("/external_references", subject_type="Workspace")) == 2


def test_the_filter_by_a_single_reference_reads_an_integer(office):
    body = {"title": "D08-DE01 X", "creator_role": "maven"}
    reference = {"service_name": "trueup", "service_model": "project", "service_model_ref": "prj_abc"}
    made = office.call("POST", "/workspaces", {"workspace": body | {"external_reference": reference}})[1]
    id = made["results"][0]["id"]
    assert office.ids("/workspaces", external_reference_service_model_ref="prj_abc") == []
    assert office.ids("/workspaces", external_reference_service_model_refs="prj_x,prj_abc") == [id]
    assert office.ids("/workspaces", external_reference_service_name="other") == []
    bad = {"workspace": body | {"external_reference": {"service_name": "trueup"}}}
    assert office.call("POST", "/workspaces", bad)[0] == 422


def test_approving_a_timesheet_approves_and_stamps_its_time(office):
    done = office.book(office.hour(), office.hour("2026-08-28"))
    office.backdate("time_entries", 60)
    before = office.row("time_entries", done["entries"][0])
    assert (before["approved"], len(done["submissions"])) == (False, 1)
    office.do("approve_timesheet", done["submissions"][0])
    for id in done["entries"]:
        after = office.row("time_entries", id)
        assert after["approved"] is True
        assert after["updated_at"] > before["updated_at"]
    assert office.do("approve_timesheet", done["submissions"][0])["status"] == "approved"


def test_a_rejected_timesheet_is_no_active_one_any_more(office):
    done = office.book(office.hour())
    sheet = done["submissions"][0]
    assert office.call("PUT", f"/timesheet_submissions/{sheet}/reject", {"resolution": {}})[0] == 200
    row = office.row("time_entries", done["entries"][0])
    assert (row["approved"], row["active_submission_id"], row["recent_submission_id"]) == (False, None, sheet)
    assert office.call("PUT", f"/timesheet_submissions/{sheet}/approve", {"resolution": {}})[0] == 422
    again = {"title": "again", "workspace_id": office.project["id"], "line_item_ids": done["entries"]}
    status, body, _ = office.call("POST", "/timesheet_submissions", {"timesheet_submission": again})
    assert status == 200
    pending = body["results"][0]["id"]
    approvals = {"resolution": {"submission_ids": [int(pending)]}}
    assert office.call("POST", "/timesheet_approvals", approvals)[1]["resolutions"][0]["target_id"] == int(pending)
    assert office.row("time_entries", done["entries"][0])["approved"] is True


def test_time_without_approvals_is_approved_from_the_start(office):
    office.do("edit", "workspaces", office.project["id"], {"require_time_approvals": False})
    entry = office.book(office.hour(sheet=None))["entries"][0]
    assert office.row("time_entries", entry)["approved"] is True


def test_time_starts_a_task_and_completion_fills_it_up(office):
    office.book(office.hour())
    phase = office.row("stories", office.phase["id"])
    assert (phase["state"], phase["logged_billable_time_in_minutes"]) == ("started", 60)
    done = office.do("complete_story", office.milestone["id"], on="2026-09-18")
    assert (done["state"], done["percentage_complete"]) == ("completed", 100)
    assert office.call("GET", "/stories", include="story_state_changes")[0] == 400
    answer = office.list("/stories", only=done["id"], include="story_state_changes")
    [change] = answer["story_state_changes"].values()
    assert (change["state"], change["created_at"]) == ("completed", "2026-09-18T17:00:00-07:00")
    assert office.call("PUT", f"/stories/{done['id']}", {"story": {"state": "parked"}})[0] == 422


def test_events_come_twice_now_and_then_and_in_no_order_within_a_second(office):
    office.book(*(office.hour() for _ in range(40)))
    answer = office.list("/subscribed_events", event_types="time_entry:created", order="created_at:asc", per_page="200")
    subjects = [answer["subscribed_events"][place["id"]]["subject_id"] for place in answer["results"]]
    assert len(subjects) > len(set(subjects)) == 40
    assert subjects != sorted(subjects)
    latest = office.list("/subscribed_events", event_types="time_entry:created", most_recent="true", per_page="200")
    assert latest["count"] == 40
    assert office.call("GET", "/subscribed_events", subject_id="1")[0] == 400
    assert office.call("GET", "/subscribed_events", most_recent="true", most_recent_by_event_type="true")[0] == 400
    assert "time_entry:deleted" in office.list("/subscribed_events/event_types")["subscribed_event_types"]


def test_events_are_kept_for_nine_days_and_show_payloads_on_request(office):
    office.do("edit", "workspaces", office.project["id"], {"title": "D07-US01 Renamed"})
    answer = office.list("/subscribed_events", event_types="workspace:updated", optional_fields="payload_changes")
    [event] = answer["subscribed_events"].values()
    assert '"D07-US01 Renamed"' in event["payload_changes"]
    assert "current_payload" not in event
    table = "_subscribed_events"
    with office.simulator.lock:
        for id, row in list(office.simulator.store.table(table).items()):
            office.simulator.store.put(table, id, row | {"created_at": office.ago(9 * 86400 + 60)})
    assert office.list("/subscribed_events")["count"] == 0


def test_a_token_never_ends_until_somebody_revokes_it(office):
    assert office.call("GET", "/users", token="wrong")[:2] == (
        401,
        {"errors": [{"type": "oauth", "message": "Invalid OAuth 2 Request"}]},
    )
    office.do("revoke")
    assert office.call("GET", "/users")[0] == 401


def test_a_code_from_the_consent_page_becomes_a_token_once(office):
    known = office.connection.credentials
    form = {"grant_type": "authorization_code", "code": office.do("grant")}
    form |= {"client_id": known["client_id"], "client_secret": known["client_secret"]}
    data = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(office.connection.token_url, data=data, timeout=10) as answer:
        token = json.load(answer)["access_token"]
    assert office.call("GET", "/users", token=token)[0] == 200
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(office.connection.token_url, data=data, timeout=10)


def test_too_many_requests_comes_without_a_time_and_the_gateway_with_a_page(office):
    stage = office.sandbox.stage("kantata")
    stage.fault("429")
    status, body, headers = office.call("GET", "/users")
    assert (status, body["errors"][0]["type"]) == (429, "system")
    assert "retry-after" not in {name.lower() for name in headers}
    stage.fault("5xx")
    status, body, _ = office.call("GET", "/users")
    assert status == 504
    assert body.startswith("<html>")


def test_three_thousand_hours_are_booked_and_approved_in_less_than_a_second(office):
    rows = [
        office.hour(f"2026-08-{3 + n % 26:02}", sheet=f"P{n % 40:03}-W{n % 4}", id=str(130000000 + n))
        for n in range(3000)
    ]
    began = time.perf_counter()
    done = office.book(*rows)
    office.do("approve_timesheets", done["submissions"])
    assert time.perf_counter() - began < 1.5  # under a second alone; the machine is shared
    assert (len(done["entries"]), len(done["submissions"])) == (3000, 40)
    again = office.book(*rows)
    assert again == done


def test_people_cannot_make_what_the_product_would_not(office):
    with pytest.raises(ValueError, match="digits only"):
        office.do("create", "users", {"id": "U1", "full_name": "X"})
    with pytest.raises(ValueError, match="there is no workspaces/5"):
        office.do("create", "stories", {"title": "X", "workspace_id": "5"})
    with pytest.raises(ValueError, match="no status Paused"):
        office.do("set_status", office.project["id"], "Paused")
    assert office.do("create", "users", {"id": office.maren["id"], "full_name": "Maren Lindholm"}) == office.maren
    with pytest.raises(ValueError, match="differs in full_name"):
        office.do("create", "users", {"id": office.maren["id"], "full_name": "Somebody else"})
    office.do("remove", "users", office.ines["id"])
    office.do("remove", "users", office.ines["id"])
    assert office.do("titled", "workspaces", "D07-US01")["id"] == office.project["id"]
    assert office.do("titled", "stories", "D07", office.project["id"]) is None

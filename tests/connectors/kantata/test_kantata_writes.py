"""Writing to Kantata, which has no idempotency key: our reference on a record is what makes silence harmless."""

import pytest
from kantata_office import KEY

from trueup.connectors.sdk.wire import Answer
from trueup.kernel.errors import Broken, Busy, Refused, Unsettled

PROJECT = {
    "title": "D08-DE01 Portal",
    "creator_role": "maven",
    "budgeted": True,
    "currency": "EUR",
    "price": 60000,
    "start_date": "2026-08-03",
    "require_time_approvals": True,
}
TASK = "tsk_01h2xcejqtf2nbrexx3vqjhp42"


def test_a_project_is_created_once_and_then_changed(office):
    client = office.client()
    assert client.find("workspace", KEY) is None
    first = client.send("workspace", KEY, PROJECT, None)
    assert client.find("workspace", KEY) == first
    again = client.send("workspace", KEY, PROJECT | {"title": "D08-DE01 Client portal"}, None)
    known = client.send("workspace", KEY, PROJECT | {"title": "D08-DE01 Client portal"}, first.external_id)
    assert first.external_id == again.external_id == known.external_id
    row = office.row("workspaces", first.external_id)
    assert (row["title"], row["price_in_cents"], row["currency"]) == ("D08-DE01 Client portal", 6000000, "EUR")
    [(_, reference)] = office.simulator.account.references_to("Workspace", first.external_id)
    assert (reference["service_name"], reference["service_model_ref"]) == ("trueup", KEY)


def test_an_archived_project_is_found_before_a_second_one_is_made(office):
    client = office.client()
    first = client.send("workspace", KEY, PROJECT, None)
    office.do("edit", "workspaces", first.external_id, {"archived": True})
    assert client.find("workspace", KEY).external_id == first.external_id
    assert client.send("workspace", KEY, PROJECT, None).external_id == first.external_id


def test_a_task_and_a_milestone_are_stories_of_their_project(office):
    client = office.client()
    body = {"workspace_id": office.project["id"], "title": "D07-M2 Go-live", "story_type": "milestone"}
    made = client.send("story", TASK, body | {"due_date": "2026-09-15", "billable": True}, None)
    row = office.row("stories", made.external_id)
    assert (row["story_type"], row["state"], row["workspace_id"]) == ("milestone", "not started", office.project["id"])
    office.do("complete_story", made.external_id, on="2026-09-18")
    client.send("story", TASK, body | {"due_date": "2026-09-22"}, made.external_id)
    row = office.row("stories", made.external_id)
    assert (row["due_date"], row["state"]) == ("2026-09-22", "completed")


def test_a_lost_answer_to_a_create_never_becomes_a_second_project(office):
    client = office.client()
    office.sandbox.stage("kantata").fault("unk")
    with pytest.raises(Unsettled):
        client.send("workspace", KEY, PROJECT, None)
    landed = client.find("workspace", KEY)
    assert client.send("workspace", KEY, PROJECT, None).external_id == landed.external_id
    titles = [row["title"] for row in office.simulator.account.table("workspaces").values()]
    assert titles.count("D08-DE01 Portal") == 1


def test_the_state_of_invoices_stands_beside_the_projects_identity(office):
    client = office.client()
    project = client.send("workspace", KEY, PROJECT, None)

    def show(code, gid, status):
        body = {"subject_type": "Workspace", "subject_id": project.external_id, "service_name": f"trueup {code}"}
        body |= {"service_model": "invoice", "service_model_ref": gid, "status": "successful"}
        return client.send("external_reference", gid, body | {"external_status": status}, None)

    august = show("D08-DE01-2026-08", "inv_a", "posted")
    september = show("D08-DE01-2026-09", "inv_b", "posted")
    assert august.external_id != september.external_id
    assert show("D08-DE01-2026-08", "inv_a", "paid").external_id == august.external_id
    assert client.find("external_reference", "inv_a").external_id == august.external_id
    assert client.find("external_reference", "inv_c") is None
    assert client.find("workspace", KEY).external_id == project.external_id
    states = {
        row["external_status"] for _, row in office.simulator.account.references_to("Workspace", project.external_id)
    }
    assert states == {None, "paid", "posted"}


def test_a_refusal_names_the_field(office):
    with pytest.raises(Refused) as no:
        office.client().send("workspace", KEY, PROJECT | {"title": "", "start_date": "soon"}, None)
    assert (no.value.code, no.value.status) == ("validation", 422)
    assert set(no.value.path.split(", ")) == {"title", "start_date"}
    with pytest.raises(Refused) as gone:
        office.client().send("workspace", KEY, PROJECT, "999")
    assert gone.value.code == "not_found"
    with pytest.raises(Broken):
        office.client().changes("invoice", None)


@pytest.mark.parametrize(
    ("status", "write", "read"),
    [(429, Busy, Busy), (503, Unsettled, Busy), (504, Unsettled, Busy), (500, Unsettled, Busy)],
)
def test_a_server_error_after_a_write_may_have_landed(office, status, write, read):
    answer = Answer(status, {}, b"<html></html>")
    assert isinstance(office.client().trouble("POST", answer), write)
    assert isinstance(office.client().trouble("GET", answer), read)

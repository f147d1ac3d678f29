"""The simulated account against what the vendor's documents say, spoken to in plain HTTP."""

import time

import httpx2
import pytest
from bamboo_account import person

LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def http(account):
    client = httpx2.Client(
        base_url=account.connection.base_url + "/api/v1/",
        auth=(account.connection.credentials["api_key"], "x"),
        headers={"Accept": "application/json"},
        trust_env=False,
    )
    yield client
    client.close()


def test_the_changed_list_has_the_shape_of_the_documents(account, http):
    first, second = account.hire(1), account.hire(2)
    account.do("remove", "employee", first)
    answer = http.get("employees/changed", params={"since": LONG_AGO}).json()
    assert answer["employees"][second]["id"] == second
    assert answer["employees"][second]["action"] == "Inserted"
    assert answer["employees"][first]["action"] == "Deleted"
    assert answer["latest"] == max(one["lastChanged"] for one in answer["employees"].values())
    only = http.get("employees/changed", params={"since": LONG_AGO, "type": "deleted"}).json()
    assert list(only["employees"]) == [first]


@pytest.mark.parametrize("since", ["2026-11-01T00:00:00Z", "2026-11-01T00:00:00+02:00", "2026-11-01T00:00:00-0700"])
def test_a_time_is_taken_in_each_documented_form(http, since):
    assert http.get("employees/changed", params={"since": since}).status_code == 200


@pytest.mark.parametrize(
    "query", ["", "?since=", "?since=yesterday", "?since=2026-11-01", "?since=2026-11-01T00:00:00+02:00"]
)
def test_another_time_is_refused_with_the_reason_in_a_header(http, query):
    answer = http.get("employees/changed" + query)  # an unescaped plus sign is a space
    assert answer.status_code == 400
    assert "since" in answer.headers["x-bamboohr-error-message"]
    assert answer.content == b""


def test_only_the_fields_asked_for_are_shown(account, http):
    id = account.hire(1, department=None, standardHoursPerWeek=24)
    assert http.get(f"employees/{id}").json() == {"id": id, "firstName": "Given1", "lastName": "Family1"}
    fields = "department,standardHoursPerWeek,terminationDate,hireDate,shoeSize"
    assert http.get(f"employees/{id}", params={"fields": fields}).json() == {
        "id": id,
        "department": None,
        "standardHoursPerWeek": "24",
        "terminationDate": "0000-00-00",
        "hireDate": "2024-03-01",
    }
    account.do("hide", "department")
    assert "department" not in http.get(f"employees/{id}", params={"fields": fields}).json()
    assert http.get("employees/999").status_code == 404


def test_without_asking_for_json_it_is_xml(account, http):
    id = account.hire(1)
    answer = http.get(f"employees/{id}", headers={"Accept": "*/*"})
    assert answer.headers["content-type"] == "text/xml"


def test_pay_rows_have_ids_by_employee_and_none_in_the_changed_list(account, http):
    id = account.hire(1)
    row = account.pay(id, value="56")
    [whole] = http.get(f"employees/{id}/tables/compensation").json()
    assert (whole["id"], whole["employeeId"], whole["rate"]) == (row, id, {"currency": "EUR", "value": "56.00"})
    assert [one["id"] for one in http.get("employees/all/tables/compensation").json()] == [row]
    listed = http.get("employees/changed/tables/compensation", params={"since": LONG_AGO}).json()
    assert listed["table"] == "compensation"
    [shown] = listed["employees"][id]["rows"]
    assert shown["rate"] == "56.00 EUR"
    assert "id" not in shown
    assert http.get(f"employees/{id}/tables/assets").status_code == 404
    assert http.get("employees/999/tables/compensation").status_code == 404
    assert http.get("employees/changed/tables/assets", params={"since": LONG_AGO}).status_code == 404


def test_the_key_is_asked_for_and_a_refusal_has_no_body(account, http):
    for auth in (None, ("wrong", "x"), ("", "")):
        answer = httpx2.get(account.connection.base_url + "/api/v1/meta/fields", auth=auth)
        assert (answer.status_code, answer.content) == (401, b"")
    assert {field["name"] for field in http.get("meta/fields").json()} >= {"workEmail", "customPractice"}
    assert http.get("meta/tables").json()[0]["alias"] == "compensation"
    assert http.get("nonsense").status_code == 404


def test_the_forms_refuse_what_cannot_be(account):
    id = account.hire(1)
    wrong = [
        ("employee", person(2, firstName=None)),
        ("employee", person(2, workEmail="p1@nordlys.example")),
        ("employee", person(2, workEmail="nobody")),
        ("employee", person(2, status="Furloughed")),
        ("employee", person(2, hireDate="2026-02-30")),
        ("employee", person(2, shoeSize="44")),
        (
            "compensation",
            {"employeeId": "999", "startDate": "2026-01-01", "rate": {"currency": "EUR", "value": 1}, "type": "Hourly"},
        ),
        (
            "compensation",
            {"employeeId": id, "startDate": "2026-01-01", "rate": {"currency": "EUR", "value": "x"}, "type": "Hourly"},
        ),
        (
            "compensation",
            {"employeeId": id, "startDate": "2026-01-01", "rate": {"currency": "EUR", "value": 1}, "type": "Gift"},
        ),
    ]
    for table, row in wrong:
        with pytest.raises(ValueError):
            account.do("create", table, row)
    assert list(account.simulator.store.table("employee")) == [id]


def test_the_story_can_save_a_record_again_without_a_trace(account):
    id = account.hire(1)
    row = dict(account.simulator.store.table("employee")[id])
    waiting = len(account.simulator.store.table("_outgoing"))
    account.do("create", "employee", person(1, id=id))
    account.do("edit", "employee", id, {"jobTitle": "Consultant"})
    assert account.simulator.store.table("employee")[id] == row
    assert len(account.simulator.store.table("_outgoing")) == waiting
    with pytest.raises(ValueError, match="other values"):
        account.do("create", "employee", person(9, id=id))


def test_a_raise_that_begins_later_is_no_event_yet(account):
    id = account.hire(1)
    waiting = len(account.simulator.store.table("_outgoing"))
    account.pay(id, start="2099-01-01")
    assert len(account.simulator.store.table("_outgoing")) == waiting
    account.pay(id, start="2026-01-01")
    assert len(account.simulator.store.table("_outgoing")) == waiting + 1


def test_three_thousand_rows_are_quick(account):
    id = account.hire(1)
    begun = time.monotonic()
    for n in range(3000):
        account.do(
            "create",
            "compensation",
            {"employeeId": id, "startDate": "2026-01-01", "rate": {"currency": "EUR", "value": n}, "type": "Hourly"},
        )
    assert time.monotonic() - begun < 3


def test_the_account_survives_a_restart(account, tmp_path):
    from trueup.connectors.sdk import registry
    from trueup.connectors.sdk.simulate import Store

    id = account.hire(1)
    connector = registry.load("bamboohr")
    store = Store(tmp_path / "sim" / "bamboohr.jsonl")
    again = connector.simulator(connector.manifest, store, account.connection.credentials, "secret")
    assert again.edit("employee", id, {"jobTitle": "Partner"})["workEmail"] == "p1@nordlys.example"
    store.close()

"""Reading BambooHR over real HTTP: everybody once, the newest word last, nothing in the clear."""

import json
import threading
import time

import pytest
from bamboo_account import read_all, until_the_second_is_over

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.webhook import refuse
from trueup.kernel.errors import Broken, Busy, Refused
from trueup.kernel.strict_json import read_kept
from trueup.mapping.file import load
from trueup.mapping.translate import translate


def test_everybody_is_read_once_page_by_page_as_they_stand_there(account):
    ids = [account.hire(n) for n in range(60)]
    until_the_second_is_over()
    client = account.client()
    page = client.changes("employee", None)
    assert (len(page.records), page.more) == (25, True)
    records, _ = read_all(client, "employee")
    assert sorted(record.external_id for record in records) == sorted(ids)
    whole = json.loads(records[0].raw)
    assert whole["standardHoursPerWeek"] == "40"
    assert whole["terminationDate"] == "0000-00-00"
    assert records[0].stamp == whole["lastChanged"].replace("+00:00", "Z")


def test_a_read_goes_on_from_its_cursor_after_a_restart(account):
    ids = [account.hire(n) for n in range(40)]
    until_the_second_is_over()
    first = account.client(options={"people_in_a_page": "15"}).changes("employee", None)
    rest, _ = read_all(account.client(options={"people_in_a_page": "15"}), "employee", first.cursor)
    assert len(first.records) + len(rest) == 40
    assert {record.external_id for record in (*first.records, *rest)} == set(ids)


def test_a_quiet_account_is_asked_again_and_again_without_anybody(account):
    account.hire(1)
    until_the_second_is_over()
    client = account.client(options={"look_back_seconds": "0"})
    records, cursor = read_all(client, "employee")
    assert len(records) == 1
    for _ in range(5):
        again, cursor = read_all(client, "employee", cursor)
        if not again:
            break
        assert again == records
        until_the_second_is_over()
    assert again == []


def test_only_who_has_changed_is_read_again(account):
    ids = [account.hire(n) for n in range(30)]
    until_the_second_is_over()
    client = account.client(options={"look_back_seconds": "0"})
    before, cursor = read_all(client, "employee")
    time.sleep(2.2)
    _, cursor = read_all(client, "employee", cursor)
    account.do("edit", "employee", ids[7], {"jobTitle": "Principal"})
    [after], _ = read_all(client, "employee", cursor)
    assert after.external_id == ids[7]
    assert json.loads(after.raw)["jobTitle"] == "Principal"
    assert after.stamp > max(record.stamp for record in before)


def test_two_changes_within_one_second_never_look_like_one(account):
    id = account.hire(1)
    client = account.client()
    until_the_second_is_over()
    while time.time() % 1 > 0.3:
        time.sleep(0.01)
    account.do("edit", "employee", id, {"jobTitle": "Second word"})
    later = threading.Timer(0.2, lambda: account.do("edit", "employee", id, {"jobTitle": "Last word"}))
    later.start()
    records, cursor = read_all(client, "employee")
    later.join()
    more, _ = read_all(client, "employee", cursor)
    said = {record.stamp: set() for record in (*records, *more)}
    for record in (*records, *more):
        said[record.stamp].add(json.loads(record.raw)["jobTitle"])
    assert all(len(words) == 1 for words in said.values()), said
    assert "Last word" in set().union(*said.values())


def test_a_fetch_waits_for_the_last_word_of_a_second(account):
    id = account.hire(1)
    client = account.client()
    until_the_second_is_over()
    while time.time() % 1 > 0.3:
        time.sleep(0.01)
    account.do("edit", "employee", id, {"jobTitle": "Second word"})
    later = threading.Timer(0.2, lambda: account.do("edit", "employee", id, {"jobTitle": "Last word"}))
    later.start()
    record = client.get("employee", id)
    later.join()
    assert json.loads(record.raw)["jobTitle"] == "Last word"


def test_pay_rows_come_with_an_identity_and_change_with_their_employee(account):
    ids = [account.hire(n) for n in range(3)]
    rows = [account.pay(id) for id in ids]
    second = account.pay(ids[0], "2026-09-01", "71.125")
    until_the_second_is_over()
    client = account.client()
    records, cursor = read_all(client, "compensation")
    expected = {f"{id}/{row}" for id, row in zip(ids, rows, strict=True)} | {f"{ids[0]}/{second}"}
    assert {record.external_id for record in records} == expected
    assert b'"value": "71.125"' in b"".join(record.raw for record in records)
    assert client.get("compensation", f"{ids[0]}/{second}").external_id == f"{ids[0]}/{second}"
    assert client.get("compensation", f"{ids[0]}/99999") is None
    account.do("edit", "compensation", rows[1], {"rate": {"currency": "EUR", "value": 70}})
    changed, _ = read_all(client, "compensation", cursor)
    newest = [record for record in changed if record.external_id == f"{ids[1]}/{rows[1]}"][-1]
    assert json.loads(newest.raw)["rate"] == {"currency": "EUR", "value": "70.00"}
    assert newest.stamp > max(record.stamp for record in records)


def test_many_pay_rows_are_read_with_one_call(account):
    for n in range(60):
        account.pay(account.hire(n))
    until_the_second_is_over()
    page = account.client().changes("compensation", None)
    assert (len(page.records), page.more) == (60, False)


def test_who_was_deleted_is_told_and_not_read(account):
    gone, stays = account.hire(1), account.hire(2)
    until_the_second_is_over()
    client = account.client()
    _, cursor = read_all(client, "employee")
    account.do("remove", "employee", gone)
    records, _ = read_all(client, "employee", cursor)
    assert {(r.external_id, r.deleted) for r in records} >= {(gone, True)}
    assert (stays, True) not in {(r.external_id, r.deleted) for r in records}
    assert client.get("employee", gone) is None
    assert client.fetch("compensation", [f"{gone}/1"]) == []


def test_what_the_account_holds_becomes_canonical_objects(account):
    id = account.hire(1)
    leaver = account.hire(2)
    account.pay(id)
    account.do("terminate", leaver, "2026-09-15")
    until_the_second_is_over()
    client, connector = account.client(), registry.load("bamboohr")
    statuses = {}
    for object in connector.manifest.reads:
        mapping = load(connector.mappings[f"{object}.in.yaml"], connector.verbs)
        for record in read_all(client, object)[0]:
            [one] = translate(mapping, read_kept(record.raw))
            assert one.problems == ()
            assert one.external_id == record.external_id
            statuses[one.external_id] = one.values.get("status")
    assert (statuses[id], statuses[leaver]) == ("active", "terminated")


def test_a_field_the_key_may_not_see_is_a_problem_of_the_record(account):
    id = account.hire(1)
    account.do("hide", "workEmail")
    until_the_second_is_over()
    connector = registry.load("bamboohr")
    mapping = load(connector.mappings["employee.in.yaml"], connector.verbs)
    [one] = translate(mapping, read_kept(account.client().get("employee", id).raw))
    assert [(p.field, p.code) for p in one.problems] == [("email", "missing")]
    account.do("hide", "lastChanged")
    with pytest.raises(Broken, match="lastChanged"):
        account.client().get("employee", id)


def test_every_no_has_a_name_and_a_reason(account):
    client = account.client(credentials={"api_key": "not the key"})
    with pytest.raises(Refused) as no:
        client.changes("employee", None)
    assert (no.value.code, no.value.status) == ("401", 401)
    many = ",".join(f"custom{n}" for n in range(401))
    account.hire(1)
    until_the_second_is_over()
    with pytest.raises(Refused, match="Too many fields") as no:
        account.client(options={"fields": many}).changes("employee", None)
    assert no.value.code in client.manifest.refusals
    for method in (lambda: client.send("employee", "res_1", {}, None), lambda: client.find("employee", "res_1")):
        with pytest.raises(Broken):
            method()
    with pytest.raises(Broken):
        client.changes("payroll", None)
    shown = repr(client.connection)
    assert account.connection.credentials["api_key"] not in shown


def test_too_many_calls_mean_later_and_say_when(account):
    client = account.client()
    client.read_tries = 1  # else the client waits and asks again by itself
    for fault in ("429", "5xx"):
        account.sandbox.host.chaos.force("bamboohr", fault)
        with pytest.raises(Busy) as later:
            client.changes("employee", None)
        assert later.value.retry_after == 1.0
    assert client.changes("employee", None).records == ()


def test_an_event_is_signed_over_body_and_time_and_leads_to_the_person(account):
    id = account.hire(1)
    with account.simulator.lock:
        events = [out for _, out in account.simulator.outgoing()]
    scheme, secret = account.client().manifest.webhook, account.connection.webhook_secret
    assert len(events) == 2  # created, and updated right after it
    for event in events:
        headers = {name.lower(): value for name, value in event.headers.items()}
        assert refuse(scheme, secret, headers, event.body, time.time()) is None
        assert refuse(scheme, secret, headers, event.body + b" ", time.time())
        assert refuse(scheme, secret, headers, event.body, time.time() - 400)
        [notice] = account.client().notices(json.loads(event.body))
        assert (notice.object, notice.external_id) == ("employee", id)
    assert "workEmail" in json.loads(events[1].body)["data"]["changedFields"]
    assert account.client().get("employee", id).external_id == id


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "employee.deleted", "data": {"companyId": "1", "employeeId": "7"}}, [("7", "delete")]),
        (
            {"employees": [{"id": "7", "action": "Updated"}, {"id": 8, "action": "Created"}]},
            [("7", "update"), ("8", "create")],
        ),
        ({"type": "company.updated", "data": {"companyId": "1"}}, []),
        ({"employees": "all"}, []),
        ({}, []),
    ],
)
def test_events_are_read_whatever_they_are(body, expected):
    client = registry.load("bamboohr").client
    assert [(n.external_id, n.change) for n in client.notices(body)] == expected

"""A small firm through the API alone: a deal is won, time is approved, a month is billed and closed; all of it can be followed."""

import time
from types import SimpleNamespace

import pytest
from firm_objects import CUSTOMER, RESOURCE, contract, cost_rate

from trueup import engine
from trueup.store import deliveries, holds
from trueup.store.deliveries import Command
from trueup.store.holds import Hold
from trueup.store.inbox import Arrival, Settlement, keep, settle

PERIOD = "2026-08"


@pytest.fixture(scope="module")
def running(house):
    runner = engine.Engine(house.database)
    runner.launch(house)
    yield runner
    runner.stop()


@pytest.fixture(scope="module")
def boss(api):
    return api("admin", name="the boss")


def wait_for(read, until, seconds=30):
    ends = time.monotonic() + seconds
    while not until(found := read()):
        assert time.monotonic() < ends, found
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def firm(api, boss, running):
    """A won deal with its project, a rate, a person, and August's approved and unapproved time."""
    crm = api("objects:read", "objects:write", "role:crm", name="crm")
    psa = api("objects:read", "objects:write", "role:psa", name="psa")
    hris = api("objects:read", "objects:write", "role:hris", name="hris")
    customer = crm.put("/v1/customers/salesforce:C1", CUSTOMER | {"tax_id": "DE811907980"}).json()["gid"]
    deal = crm.put("/v1/contracts/salesforce:D1", contract(customer, "P01") | {"status": "signed"}).json()["gid"]
    rate = {"contract": deal, "role": "Consultant", "rate": "165.50", "currency": "EUR", "valid_from": "2026-01-01"}
    assert crm.put("/v1/rate-lines/salesforce:R1", rate).status == 201
    person = hris.put("/v1/resources/bamboohr:1", RESOURCE).json()["gid"]
    assert hris.put("/v1/cost-rates/bamboohr:1-1", cost_rate(person)).status == 201
    projects = wait_for(lambda: boss.pages(f"/v1/projects?contract={deal}"), lambda found: found)
    project = projects[0]["gid"]
    for number, (day, minutes, status) in enumerate(
        [("2026-08-03", 480, "approved"), ("2026-08-04", 425, "approved"), ("2026-08-05", 60, "submitted")]
    ):
        entry = {
            "resource": person, "project": project, "role": "Consultant", "worked_on": day, "minutes": minutes,
            "billable": True, "sheet": "S1", "status": status,
        }  # fmt: skip
        assert psa.put(f"/v1/time-entries/kantata:{number}", entry).status == 201
    return SimpleNamespace(deal=deal, project=project, code=projects[0]["body"]["code"], person=person, psa=psa)


def followed(boss, answer):
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == f"/v1/operations/{answer.json()['operation']}"
    done = wait_for(
        lambda: boss.get(answer.headers["location"]).json(), lambda found: found["state"] not in ("queued", "running")
    )
    assert done["state"] == "done", done
    return done


def test_a_deal_to_the_journal_through_the_api_alone(boss, firm, api):
    body = {"period": PERIOD, "legal_entity": "DE01"}
    shown = boss.post("/v1/processes/billing-runs", body | {"dry_run": True})
    assert shown.status == 200
    assert [one["net"] for one in shown.json()["invoices"]] == ["2496.29"]
    assert boss.pages("/v1/invoices") == []

    started = boss.post("/v1/processes/billing-runs", body, key="august")
    again = boss.post("/v1/processes/billing-runs", body, key="august")
    assert (again.status, again.body, again.headers["location"]) == (202, started.body, started.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    done = followed(boss, started)
    assert (done["result"]["invoices"], done["result"]["net"]) == (1, {"EUR": "2496.29"})
    assert [(step["step"], step["failed"]) for step in done["steps"]] == [("divide", False), ("bill", False)]
    assert followed(boss, boss.post("/v1/processes/billing-runs", body))["operation"] == done["operation"]

    (invoice,) = boss.pages("/v1/invoices")
    assert (invoice["body"]["code"], invoice["body"]["net"]) == (f"{firm.code}-{PERIOD}", "2496.29")
    charges = boss.pages(f"/v1/billing-events?document={invoice['gid']}")
    assert sorted(one["amount"] for one in charges) == ["1172.29", "1324.00"]
    assert charges[0]["rate"] == "165.50"
    assert boss.get(f"/v1/billing-events/{charges[0]['key']}").json() == charges[0]

    explained = boss.get(f"/v1/invoices/{invoice['body']['code']}/explanation").json()
    assert explained["net"] == "2496.29"
    assert all(check["holds"] for check in explained["checks"])

    held = boss.get("/v1/holds?code=APPROVAL_MISSING").json()
    assert [one["amount"] for one in held["items"]] == [{"amount": "165.50", "currency": "EUR"}]
    assert boss.get("/v1/work").json()["headline"]["things"] > 0

    closed = followed(boss, boss.post("/v1/processes/month-ends", body))
    assert sorted(closed["result"]["journals"]) == [f"COST-DE01-{PERIOD}", f"REV-DE01-{PERIOD}"]
    figures = {(one["name"], one["currency"]): one["value"] for one in boss.get("/v1/metrics").json()["figures"]}
    assert figures[("recognised", "EUR")] == "2496.29"
    assert "margin" not in {name for name, _ in figures}
    assert boss.get("/v1/metrics/recognised").json()["definition"]["formula"]
    assert boss.get("/v1/metrics/margin").status == 403
    assert api("money:read", "cost:read").get("/v1/metrics/margin").status == 200
    assert boss.get("/v1/metrics/nothing").status == 404


def test_what_people_cost_stays_hidden_in_every_read_model(boss, firm, api):
    paths = [
        f"/v1/projects/{firm.code}/economics",
        f"/v1/records/{firm.person}/trace",
        "/v1/journal-references",
        "/v1/events?limit=1000",
        "/v1/metrics",
        "/v1/work",
        "/v1/flows",
        "/v1/reconciliations/latest",
        f"/v1/projects/{firm.project}/history",
    ]
    cost = "923.93"  # 905 minutes at 61.2550
    for path in paths:
        answer = boss.get(path)
        assert answer.status == 200, (path, answer.body)
        assert cost not in answer.body.decode(), path
        assert "61.25" not in answer.body.decode(), path
    cleared = api("admin", "cost:read")
    assert cost in cleared.get("/v1/journal-references").body.decode()
    assert cost in cleared.get(f"/v1/projects/{firm.code}/economics").body.decode()


def test_a_record_is_traced_by_anybodys_identifier(boss, firm):
    for identifier in (firm.project, firm.code):
        (found,) = boss.get(f"/v1/records/{identifier}/trace").json()["items"]
        assert (found["gid"], found["kind"]) == (firm.project, "project")
        assert found["timeline"]
    assert boss.get("/v1/records/nothing-of-ours/trace").status == 404
    assert boss.get("/v1/projects/nothing/economics").status == 404
    assert boss.get("/v1/invoices/nothing/explanation").status == 404


def test_flows_and_quarantine_answer(boss, firm):
    assert boss.get("/v1/flows?hours=24").json()["business"]
    assert boss.get("/v1/quarantine").status == 200
    assert boss.get("/v1/flows?hours=0").status == 422


WRONG = {
    "a month that is none": ({"period": "2026-13", "legal_entity": "DE01"}, "/period"),
    "a day": ({"period": "2026-08-01", "legal_entity": "DE01"}, "/period"),
    "an entity we do not know": ({"period": PERIOD, "legal_entity": "FR01"}, "/legal_entity"),
    "no entity": ({"period": PERIOD}, "/legal_entity"),
    "text for a flag": ({"period": PERIOD, "legal_entity": "DE01", "dry_run": "yes"}, "/dry_run"),
    "something more": ({"period": PERIOD, "legal_entity": "DE01", "force": True}, "/force"),
}


@pytest.mark.parametrize(("body", "pointer"), WRONG.values(), ids=WRONG)
def test_a_run_of_nothing_is_refused_at_its_place(boss, firm, body, pointer):
    answer = boss.post("/v1/processes/billing-runs", body)
    assert (answer.status, [one["pointer"] for one in answer.json()["errors"]]) == (422, [pointer])


def test_a_month_cannot_be_closed_behind_a_later_one(boss, firm):
    answer = boss.post("/v1/processes/month-ends", {"period": "2026-07", "legal_entity": "DE01"})
    done = wait_for(
        lambda: boss.get(answer.headers["location"]).json(), lambda found: found["state"] not in ("queued", "running")
    )
    assert done["state"] == "failed"
    assert done["reason"] == "DE01 has closed 2026-08 already; 2026-07 can only be corrected in the open month"


def test_operations_that_do_not_exist(boss):
    for identifier in ("nothing", "billing_run/2026-08", "billing_run%2F2026-08%2FXX", "a/../b"):
        assert boss.get(f"/v1/operations/{identifier}").status == 404


@pytest.fixture
def message(house):
    """A quarantined message."""
    with house.database.transaction() as tx:
        (number,) = keep(
            tx, "salesforce", [Arrival("Nonsense", f"x{time.monotonic_ns()}", "1", b"{}")], origin="poll", lane="master"
        )
        settle(tx, [Settlement(number, "quarantined", "no mapping", problems=[])])
    return number


def state_of(house, number):
    with house.database.transaction() as tx:
        return tx.value("select state from inbox where number = %s", (number,))


def test_a_message_is_shown_as_it_came(boss, message):
    found = boss.get(f"/v1/messages/{message}").json()
    assert (found["raw"]["text"], found["raw"]["intact"]) == ("{}", True)
    assert boss.get("/v1/messages/999999999").status == 404


def test_a_replay_is_planned_and_nothing_is_done(boss, house, message):
    asked = {"verb": "replay", "records": [str(message)], "reason": "the mapping is mended"}
    plan = boss.post("/v1/plans", asked).json()
    assert [(one["record"], one["does"]) for one in plan["items"]] == [(str(message), "blocked")]
    assert state_of(house, message) == "quarantined"
    unknown = boss.post("/v1/plans", {**asked, "records": [str(message), "999999999"]})
    assert (unknown.status, b"no message 999999999" in unknown.body) == (422, True)


@pytest.mark.parametrize("records", ["all", [True], [1], [None], ["1"] * 5001])
def test_a_plan_of_nonsense_is_refused(boss, records):
    asked = {"verb": "replay", "records": records, "reason": "the mapping is mended"}
    assert boss.post("/v1/plans", asked).status in (400, 422)


def test_a_hold_is_released_in_a_name_with_a_reason(boss, house):
    with house.database.transaction() as tx:
        (placed,) = holds.place(tx, [Hold("MANUAL", "prj_x", "project", "Finance", "because", "a decision")])
    path = f"/v1/holds/{placed['number']}/release"
    assert boss.post(path, {"reason": "ok"}).status == 422
    assert boss.post(path, {}).status == 422
    assert boss.post(path, {"reason": "agreed with the client"}, key="release").json() == {"count": 1}
    assert (
        boss.post(path, {"reason": "agreed with the client"}, key="release").headers["idempotency-replayed"] == "true"
    )
    assert boss.post(path, {"reason": "agreed with the client"}).json()["code"] == "conflict"
    assert boss.post("/v1/holds/999999999/release", {"reason": "agreed with the client"}).status == 404
    with house.database.transaction() as tx:
        row = tx.row("select released_by, release_reason from holds where number = %s", (placed["number"],))
        event = tx.row("select data from events where key = %s", (f"hold.released/{placed['number']}",))
    assert (row["released_by"], row["release_reason"]) == ("the boss", "agreed with the client")
    assert event["data"] == {"code": "MANUAL", "reason": "agreed with the client"}


def test_a_plan_is_applied_by_a_worker_and_can_be_followed(boss, running, house):
    key = "netsuite/invoice/inv_x/create"
    with house.database.transaction() as tx:
        deliveries.ask(tx, [Command(key, "nowhere", "invoice", "inv_x", "invoice", "create", "A")])
        tx.run("update deliveries set state = 'rejected' where key = %s", (key,))
    plan = boss.post("/v1/plans", {"verb": "retry", "records": [key], "reason": "October is open again"}).json()
    assert plan["counts"] == {"create": 1}
    begun = boss.post(f"/v1/plans/{plan['number']}/apply", {"digest": plan["digest"]})
    assert begun.status == 202
    done = wait_for(lambda: boss.get(begun.headers["location"]).json(), lambda found: found["state"] != "applying")
    assert (done["state"], done["done"]) == ("applied", 1)
    with house.database.transaction() as tx:
        assert tx.value("select state from deliveries where key = %s", (key,)) == "due"


def test_a_reconciliation_asks_the_systems_and_can_be_followed(boss, firm, house):
    done = followed(boss, boss.post("/v1/processes/reconciliations", {"name": "first"}))
    assert done["operation"] == "reconciliation/api/first"
    assert done["result"]["compared"] > 0
    latest = boss.get("/v1/reconciliations/latest").json()
    assert latest["run"]["compared"] == done["result"]["compared"]
    found = boss.get("/v1/breaks").json()["items"]
    assert len(found) == done["result"]["breaks"]
    assert all(one["sentence"] and one["repair"] for one in found)
    assert boss.get("/v1/breaks?closed=true").json() == {"items": []}
    assert boss.post("/v1/processes/reconciliations", {"name": "no spaces"}).status == 422

"""What the hub does not take: each thing is answered, seen with its reason, kept, applied nowhere, and heals."""

import json
import time

import pytest
from hubs import call, eventually
from one_person_firm import ACCOUNT, DAY, ENTITY, MONTH, PERSON, OnePersonFirm

from trueup.connectors.sdk import registry
from trueup.connectors.sdk.webhook import sign

pytestmark = pytest.mark.scenario

SCHEME = registry.load("salesforce").manifest.webhook


@pytest.fixture(scope="module")
def firm(site):
    """A firm of one person, and a hub at work for it."""
    site.up()
    made = OnePersonFirm(site)
    eventually(lambda: made.held("resource", "kantata", "user", PERSON), "the person")
    eventually(lambda: made.held("customer", "salesforce", "Account", ACCOUNT), "the customer")
    return made


def customer(firm):
    return firm.held("customer", "salesforce", "Account", ACCOUNT)


def refused(site):
    return site.rows("select system, reason, bytes from refused_calls order by number")


def quarantine(site):
    """Return the page of what could not be used, as the API shows it."""
    answer = site.api("GET", "/quarantine")
    assert answer.status == 200, answer.body
    return answer.json()


def a_call(site, name, *, secret=None, at=None):
    """Return a change event about the customer, signed as the vendor signs."""
    header = {"entityName": "Account", "recordIds": [ACCOUNT], "changeType": "UPDATE", "transactionKey": name}
    body = json.dumps({"schema": "trueup-change-1", "payload": {"ChangeEventHeader": header}}).encode()
    secret = secret or site.sandbox.host.kept["systems"]["salesforce"]["webhook_secret"]
    headers = {"Content-Type": "application/json"} | sign(SCHEME, secret, str(int(at or time.time())), body)
    return body, headers


# --- calls that are not believed ----------------------------------------------------------------------------------------


def unsigned(site):
    body, headers = a_call(site, "unsigned")
    del headers[SCHEME.signature_header]
    return body, headers, f"the header {SCHEME.signature_header} is missing"


def tampered(site):
    body, headers = a_call(site, "tampered")
    return body.replace(b"UPDATE", b"DELETE"), headers, "the signature does not match"


def forged(site):
    return *a_call(site, "forged", secret="a" * 64), "the signature does not match"


def late(site):
    return *a_call(site, "late", at=time.time() - 3600), "the call is older (or newer) than we accept"


@pytest.mark.parametrize("make", [unsigned, tampered, forged, late], ids=lambda make: make.__name__)
def test_a_call_that_is_not_the_vendors_is_refused_counted_and_forgotten(firm, make):
    site = firm.site
    body, headers, reason = make(site)
    before, counted = customer(firm), len(refused(site))
    answer = call(site.hubs[-1].url, "POST", "/hooks/salesforce", body, headers)
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "call_not_believed"
    assert reason in answer.json()["detail"]
    assert refused(site)[counted:] == [{"system": "salesforce", "reason": reason, "bytes": len(body)}]
    shown = [one for one in quarantine(site)["calls"] if one["reason"] == reason]
    assert shown
    assert shown[0]["system"] == "salesforce"
    assert shown[0]["advice"]
    assert site.rows("select number from inbox where body = %s", (body,)) == []
    assert customer(firm) == before


def test_a_change_whose_call_was_tampered_with_on_its_way_arrives_all_the_same(firm):
    site = firm.site
    site.sandbox.host.use_hub("")  # the vendor's call meets somebody else
    site.act("salesforce", "edit", table="Account", id=ACCOUNT, changes={"Industry": "Utilities"})
    body, headers, _ = tampered(site)
    assert call(site.hubs[-1].url, "POST", "/hooks/salesforce", body, headers).status == 401
    eventually(lambda: customer(firm)["body"]["industry"] == "Utilities", "the change, by asking")
    site.sandbox.host.use_hub(site.hubs[-1].url)


def test_the_vendors_own_call_is_kept_byte_by_byte_and_a_repetition_only_counted(firm):
    site = firm.site
    body, headers = a_call(site, "genuine")
    for _ in range(3):
        answer = call(site.hubs[-1].url, "POST", "/hooks/salesforce", body, headers)
        assert (answer.status, answer.json()) == (200, {"received": True})
    kept = site.rows("select body, duplicates, lane from inbox where body = %s", (body,))
    assert [(bytes(one["body"]), one["duplicates"], one["lane"]) for one in kept] == [(body, 2, "notice")]


# --- a value nobody told us about --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def barter(firm):
    """A contract we hold, whose record then gets a billing method our mapping does not have."""
    site = firm.site
    opportunity = firm.deal("V01")
    firm.settled("salesforce", "Opportunity", opportunity, "applied")
    before = firm.held("contract", "salesforce", "Opportunity", opportunity)
    site.act(
        "salesforce", "add_picklist_value", table="OpportunityLineItem", column="Billing_Method__c", value="Barter"
    )
    changed(firm, opportunity, "Barter", "41000.00")
    return opportunity, before, firm.settled("salesforce", "Opportunity", opportunity, "quarantined")


def changed(firm, opportunity, method, price):
    """Change the deal's product, as somebody in sales does."""
    rows = firm.site.table("salesforce", "OpportunityLineItem")
    line = next(row["Id"] for row in rows if row["OpportunityId"] == opportunity)
    changes = {"Billing_Method__c": method, "TotalPrice": price}
    firm.site.act("salesforce", "edit", table="OpportunityLineItem", id=line, changes=changes)


def test_an_unknown_picklist_value_puts_the_whole_record_aside_with_field_and_reason(firm, barter):
    opportunity, before, message = barter
    assert [(one["field"], one["code"]) for one in message["problems"]] == [("lines.billing_method", "not_in_table")]
    assert "Barter" in message["reason"]
    record = json.loads(bytes(message["body"]))
    assert record["Id"] == opportunity
    assert record["OpportunityLineItems"]["records"][0]["Billing_Method__c"] == "Barter"
    assert firm.held("contract", "salesforce", "Opportunity", opportunity) == before
    (shown,) = (one for one in quarantine(firm.site)["bad"] if one["number"] == message["number"])
    assert "Barter" in shown["problems"][0]["message"]
    assert "correct the record at its source" in shown["advice"]
    raw = firm.site.api("GET", f"/messages/{message['number']}")
    assert raw.status == 200
    assert "Barter" in raw.body.decode()


def test_a_corrected_record_is_taken_in_and_the_bad_word_ends_with_the_message_that_ended_it(firm, barter):
    opportunity, _, message = barter
    changed(firm, opportunity, "Fixed Fee", "42000.00")
    good = firm.settled("salesforce", "Opportunity", opportunity, "applied", after=message["number"])
    (line,) = firm.held("contract", "salesforce", "Opportunity", opportunity)["body"]["lines"]
    assert (line["billing_method"], line["amount"]) == ("fixed_fee", "42000.00")
    ended = firm.site.row("select state, reason, body from inbox where number = %s", (message["number"],))
    assert (ended["state"], ended["reason"]) == (
        "superseded", f"a newer word of this record has come in: message {good['number']}",
    )  # fmt: skip
    assert bytes(ended["body"]) == bytes(message["body"])
    assert message["number"] not in [one["number"] for one in quarantine(firm.site)["bad"]]


def test_a_value_added_to_the_firms_own_mapping_lets_in_what_waited_for_it(firm, barter):
    site = firm.site
    opportunity = firm.deal("V02")
    firm.settled("salesforce", "Opportunity", opportunity, "applied")
    changed(firm, opportunity, "Barter", "43000.00")
    message = firm.settled("salesforce", "Opportunity", opportunity, "quarantined")
    text = registry.load("salesforce").mappings["Opportunity.in.yaml"]
    text = text.replace("\nversion: 1\n", "\nversion: 2\n")
    text = text.replace(
        "    T&M: time_and_materials\n", "    T&M: time_and_materials\n    Barter: time_and_materials\n"
    )
    text = text.replace("Billing_Method__c: Barter", "Billing_Method__c: Gift")
    overlay = site.workspace / "mappings" / "salesforce" / "Opportunity.in.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.write_text(text, "utf-8")
    site.hubs[-1].stop()
    site.up()
    healed = eventually(
        lambda: site.row("select * from inbox where number = %s and state = 'applied'", (message["number"],)),
        "the message to be judged again",
    )
    assert (healed["mapping_version"], bytes(healed["body"])) == (2, bytes(message["body"]))
    (line,) = firm.held("contract", "salesforce", "Opportunity", opportunity)["body"]["lines"]
    assert (line["billing_method"], line["amount"]) == ("time_and_materials", "43000.00")


# --- time for a project nobody knows -----------------------------------------------------------------------------------


def test_time_for_an_unknown_project_waits_by_name_and_goes_on_when_the_project_is_known(firm):
    site = firm.site
    firm.project("W01")
    ours = site.row("select gid from objects where kind = 'project' and body ->> 'code' = %s", (f"W01-{ENTITY}",))[
        "gid"
    ]
    workspace = site.act(
        "kantata",
        "create",
        table="workspaces",
        row={"title": "Opened by hand", "currency": "USD", "status": "In Progress"},
    )
    entry = firm.book(workspace["id"], 120)
    message = firm.settled("kantata", "time_entry", entry, "waiting")
    assert f"kantata/workspace/{workspace['id']}" in message["waits_for"]
    assert message["reason"] == (
        f"waits for workspace/{workspace['id']}: not known yet; it goes on by itself when that arrives"
    )
    assert json.loads(bytes(message["body"]))["time_entry"]["time_in_minutes"] == 120
    assert firm.time(entry) is None
    (shown,) = (one for one in quarantine(site)["waiting"] if one["number"] == message["number"])
    assert f"kantata/workspace/{workspace['id']}" in shown["waits_for"]
    stranger = firm.settled("kantata", "workspace", workspace["id"], "quarantined")
    assert stranger["problems"][0]["code"] == "may_not_create"
    assert site.rows("select gid from objects where kind = 'project' and body ->> 'name' = 'Opened by hand'") == []

    reference = {
        "subject_type": "Workspace", "subject_id": int(workspace["id"]), "service_name": "trueup",
        "service_model": "project", "service_model_ref": ours, "status": "successful",
    }  # fmt: skip
    site.act("kantata", "create", table="external_references", row=reference)  # somebody says which project it is
    site.act("kantata", "edit", table="workspaces", id=workspace["id"], changes={"title": "W01-US01 by hand"})
    held = eventually(lambda: firm.time(entry), "the time")
    assert (held["project"], held["minutes"], held["status"], str(held["worked_on"])) == (ours, 120, "approved", DAY)
    firm.settled("kantata", "workspace", workspace["id"], "applied")
    assert site.row("select state from inbox where number = %s", (stranger["number"],)) == {"state": "superseded"}
    assert quarantine(site)["waiting"] == []


def test_time_moved_to_a_known_project_does_not_leave_its_old_word_waiting(firm):
    site = firm.site
    known = firm.project("W02")
    unknown = site.act("kantata", "create", table="workspaces", row={"title": "Elsewhere", "currency": "USD"})["id"]
    entry = firm.book(unknown, 45)
    message = firm.settled("kantata", "time_entry", entry, "waiting")
    site.act("kantata", "edit", table="time_entries", id=entry, changes={"workspace_id": known})
    firm.settled("kantata", "time_entry", entry, "applied", after=message["number"])
    assert site.row("select state from inbox where number = %s", (message["number"],)) == {"state": "superseded"}
    assert firm.time(entry)["minutes"] == 45


# --- a project without a rate ------------------------------------------------------------------------------------------


def bill(site, period):
    """Run the month's billing over the API and wait for its end."""
    answer = site.api("POST", "/processes/billing-runs", {"period": period, "legal_entity": ENTITY})
    assert answer.status == 202, answer.body
    operation = answer.json()["operation"]
    eventually(lambda: site.api("GET", f"/operations/{operation}").json()["state"] == "done", f"the run of {period}")
    eventually(lambda: not site.open_work(), "its drafts")


def drafts(site, code):
    """Return the ERP's invoices of a project, by code, with their net."""
    rows = site.table("netsuite", "invoice")
    return {
        row["custbody_trueup_code"]: sum(float(line["amount"]) for line in row["item"])
        for row in rows
        if row["custbody_trueup_code"].startswith(f"{code}-")
    }


def test_time_without_a_rate_is_held_not_billed_and_billed_by_the_next_run_once_the_rate_is_agreed(firm):
    site = firm.site
    workspace = firm.project("R01")
    priced, unpriced = firm.book(workspace, 480), firm.book(workspace, 210, "Analyst", "2026-08-11")
    for entry in (priced, unpriced):
        firm.settled("kantata", "time_entry", entry, "applied")
    gid = firm.time(unpriced)["gid"]
    bill(site, MONTH)
    hold = site.row("select * from holds where scope = %s and released_at is null", (gid,))
    assert (hold["code"], hold["amount"], hold["minutes"], hold["owner"]) == (
        "RATE_MISSING", 0, 210, "Finance operations",
    )  # fmt: skip
    assert hold["reason"] == "No rate is agreed for this role on the day of work; add a rate line."
    shown = site.api("GET", "/holds?code=RATE_MISSING").json()
    assert [(one["minutes"], one["project_code"]) for one in shown["items"]] == [(210, f"R01-{ENTITY}")]
    assert drafts(site, "R01") == {f"R01-{ENTITY}-{MONTH}": 1600.0}
    assert site.rows("select bucket, quantity from buckets where fact = %s and quantity > 0", (gid,)) == [
        {"bucket": "held", "quantity": 210}
    ]

    firm.rate(firm.opportunity("R01"), "Analyst", "150.00")
    eventually(
        lambda: site.row("select gid from objects where kind = 'rate_line' and body ->> 'role' = 'Analyst'"), "the rate"
    )
    bill(site, "2026-09")
    ended = site.row("select released_by, release_reason from holds where number = %s", (hold["number"],))
    assert ended == {"released_by": "billing", "release_reason": f"the reason is gone (run 2026-09/{ENTITY}/billing)"}
    assert drafts(site, "R01") == {f"R01-{ENTITY}-{MONTH}": 1600.0, f"R01-{ENTITY}-2026-09": 525.0}
    assert site.rows("select bucket, quantity from buckets where fact = %s and quantity > 0", (gid,)) == [
        {"bucket": "on_draft", "quantity": 210}
    ]
    assert site.api("GET", "/holds?code=RATE_MISSING").json()["items"] == []


# --- a word from a system that does not own the field ------------------------------------------------------------------


def test_a_name_changed_in_the_psa_is_kept_as_a_proposal_and_settled_when_the_psa_comes_round(firm):
    site = firm.site
    before = firm.held("resource", "kantata", "user", PERSON)
    newest = firm.messages("kantata", "user", PERSON)[0]["number"]
    site.act("kantata", "edit", table="users", id=PERSON, changes={"full_name": "Ida Holm-Berg"})
    message = firm.settled("kantata", "user", PERSON, "applied", after=newest)
    kept = site.row("select * from proposals where gid = %s and field = 'name'", (before["gid"],))
    assert (kept["system"], kept["value"], kept["state"], kept["message"]) == (
        "kantata", "Ida Holm-Berg", "open", message["number"],
    )  # fmt: skip
    assert kept["sentence"] == "hris owns resource.name while active"
    held = firm.held("resource", "kantata", "user", PERSON)
    assert (held["body"], held["version"]) == (before["body"], before["version"])
    (shown,) = (one for one in quarantine(site)["proposals"] if one["gid"] == before["gid"])
    assert (shown["ours"], shown["theirs"], shown["sentence"]) == ("Ida Holm", "Ida Holm-Berg", kept["sentence"])
    assert b"Holm-Berg" in bytes(message["body"])

    site.act("kantata", "edit", table="users", id=PERSON, changes={"full_name": "Ida Holm"})
    firm.settled("kantata", "user", PERSON, "applied", after=message["number"])
    assert site.row("select state from proposals where gid = %s and field = 'name'", (before["gid"],)) == {
        "state": "settled"
    }
    assert quarantine(site)["proposals"] == []


def test_a_won_deal_moved_back_by_sales_stays_active_and_is_a_disagreement_somebody_sees(firm):
    site = firm.site
    firm.project("S01")
    opportunity = firm.opportunity("S01")
    eventually(lambda: not site.open_work(), "quiet")
    before = firm.held("contract", "salesforce", "Opportunity", opportunity)
    assert before["status"] == "active"
    newest = firm.messages("salesforce", "Opportunity", opportunity)[0]["number"]
    site.act("salesforce", "edit", table="Opportunity", id=opportunity, changes={"StageName": "Negotiation"})
    firm.settled("salesforce", "Opportunity", opportunity, "applied", after=newest)
    assert firm.held("contract", "salesforce", "Opportunity", opportunity)["status"] == "active"
    kept = site.row("select * from proposals where gid = %s and field = 'status'", (before["gid"],))
    assert (kept["value"], kept["sentence"], kept["state"]) == (
        "draft", "hub owns contract.status while active", "open",
    )  # fmt: skip
    assert before["gid"] in [one["gid"] for one in quarantine(site)["proposals"]]


def test_a_caller_that_does_not_own_the_field_is_told_so_and_changes_nothing(firm):
    site = firm.site
    held = firm.held("resource", "kantata", "user", PERSON)
    answer = site.api("PUT", f"/resources/{held['gid']}", {"role": "Partner"}, at=held["version"])
    assert answer.status == 200
    (said,) = answer.json()["decisions"]
    assert (said["verdict"], said["sentence"]) == ("propose", "hris owns resource.role while active")
    now = firm.held("resource", "kantata", "user", PERSON)
    assert (now["body"], now["version"]) == (held["body"], held["version"])
    kept = site.row("select system, value, state from proposals where gid = %s and field = 'role'", (held["gid"],))
    assert kept == {"system": "scenario", "value": "Partner", "state": "open"}

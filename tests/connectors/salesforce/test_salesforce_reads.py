"""Reading Salesforce over real HTTP: nothing is missed, nothing is read half."""

import json
import threading
import time

import pytest
from salesforce_org import account, deal, line, read_all, until_the_second_is_over

from trueup.connectors.sdk import registry
from trueup.kernel.errors import Broken, Busy, Refused
from trueup.kernel.strict_json import read_kept
from trueup.mapping.file import load
from trueup.mapping.translate import translate


def test_a_read_returns_every_record_once_and_its_own_bytes(org):
    made = [org.do("create", "Account", account(f"Customer {n}")) for n in range(450)]
    until_the_second_is_over()
    client = org.client(options={"batch_size": "200"})
    page = client.changes("Account", None)
    assert len(page.records) == 200
    assert page.more
    records, _ = read_all(client, "Account")
    assert [record.external_id for record in records] == sorted(row["Id"] for row in made)
    assert len({record.stamp for record in records}) < 5  # many share a second: only the id decides
    first = json.loads(records[0].raw)
    assert first["attributes"]["type"] == "Account"
    assert first["Payment_Terms_Days__c"] == 30
    assert b'"SystemModstamp":"' in records[0].raw


def test_a_read_goes_on_from_its_cursor_after_a_restart(org):
    for n in range(450):
        org.do("create", "Account", account(f"Customer {n}"))
    until_the_second_is_over()
    first = org.client(options={"batch_size": "200"}).changes("Account", None)
    rest, _ = read_all(org.client(options={"batch_size": "200"}), "Account", first.cursor)
    assert len({record.external_id for record in (*first.records, *rest)}) == 450
    assert len(rest) == 250


def test_an_expired_locator_loses_nothing_and_doubles_nothing(org):
    for n in range(450):
        org.do("create", "Account", account(f"Customer {n}"))
    until_the_second_is_over()
    client = org.client(options={"batch_size": "200"})
    first = client.changes("Account", None)
    org.do("expire_locators")
    rest, _ = read_all(client, "Account", first.cursor)
    assert sorted(r.external_id for r in (*first.records, *rest)) == sorted(
        {r.external_id for r in (*first.records, *rest)}
    )
    assert len(first.records) + len(rest) == 450


def test_a_quiet_org_is_asked_again_and_again_without_any_record(org):
    org.do("create", "Account", account())
    until_the_second_is_over()
    client = org.client(options={"look_back_seconds": "0"})
    records, cursor = read_all(client, "Account")
    assert len(records) == 1
    for _ in range(5):
        again, cursor = read_all(client, "Account", cursor)
        if not again:
            break
        assert again == records  # within the look-back: the same version, known to the inbox
        until_the_second_is_over()
    assert again == []


def test_a_record_that_was_committed_late_is_found_by_the_look_back(org):
    client = org.client()
    _, cursor = read_all(client, "Account")
    row = org.do("create", "Account", account("Long transaction"))
    until_the_second_is_over()
    with org.simulator.lock:  # its transaction lasted six seconds: the stamp is older than the last poll
        late = time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(time.time() - 6))
        org.simulator.store.put("Account", row["Id"], row | {"SystemModstamp": late})
    records, _ = read_all(client, "Account", cursor)
    assert [record.external_id for record in records] == [row["Id"]]


def test_two_changes_within_one_second_never_look_like_one(org):
    row = org.do("create", "Account", account("First word"))
    client = org.client()
    until_the_second_is_over()
    while time.time() % 1 > 0.3:
        time.sleep(0.01)
    org.do("edit", "Account", row["Id"], {"Name": "Second word"})
    later = threading.Timer(0.2, lambda: org.do("edit", "Account", row["Id"], {"Name": "Last word"}))
    later.start()
    records, cursor = read_all(client, "Account")
    later.join()
    more, _ = read_all(client, "Account", cursor)
    names = {record.stamp: set() for record in (*records, *more)}
    for record in (*records, *more):
        names[record.stamp].add(json.loads(record.raw)["Name"])
    assert all(len(found) == 1 for found in names.values()), names
    assert "Last word" in set().union(*names.values())


def test_a_fetch_waits_for_the_last_word_of_a_second(org):
    row = org.do("create", "Account", account("First word"))
    client = org.client()
    until_the_second_is_over()
    while time.time() % 1 > 0.3:
        time.sleep(0.01)
    org.do("edit", "Account", row["Id"], {"Name": "Second word"})
    later = threading.Timer(0.2, lambda: org.do("edit", "Account", row["Id"], {"Name": "Last word"}))
    later.start()
    record = client.get("Account", row["Id"])
    later.join()
    assert json.loads(record.raw)["Name"] == "Last word"


def test_a_deal_comes_with_all_its_lines_also_when_they_come_in_batches(org):
    org.simulator.child_batch = 2
    buyer = org.do("create", "Account", account())
    lines = [line(f"D07-L{n}", Cap__c="99999999.99") for n in range(1, 6)]
    made = org.do("create", "Opportunity", deal(buyer["Id"], OpportunityLineItems=lines))
    until_the_second_is_over()
    [record], _ = read_all(org.client(), "Opportunity")
    assert record.external_id == made["Id"]
    whole = json.loads(record.raw)["OpportunityLineItems"]
    assert [one["Line_Key__c"] for one in whole["records"]] == [f"D07-L{n}" for n in range(1, 6)]
    assert whole["done"] is True
    assert record.raw.count(b"99999999.99") == 5
    assert org.client().get("Opportunity", made["Id"]).raw == record.raw


def test_a_change_of_a_line_alone_is_a_change_of_the_deal(org):
    buyer = org.do("create", "Account", account())
    made = org.do("create", "Opportunity", deal(buyer["Id"], OpportunityLineItems=[line()]))
    until_the_second_is_over()
    client = org.client(options={"look_back_seconds": "0"})
    [before], cursor = read_all(client, "Opportunity")
    [child] = org.simulator.store.table("OpportunityLineItem").values()
    org.do("edit", "OpportunityLineItem", child["Id"], {"Cap__c": 150000})  # Salesforce leaves the deal's stamp alone
    assert org.row("Opportunity", made["Id"])["SystemModstamp"] == before.stamp
    until_the_second_is_over()
    [after], cursor = read_all(client, "Opportunity", cursor)
    assert after.stamp > before.stamp
    assert json.loads(after.raw)["OpportunityLineItems"]["records"][0]["Cap__c"] == 150000
    assert {record.stamp for record in read_all(client, "Opportunity", cursor)[0]} <= {after.stamp}


def test_a_deleted_record_is_read_from_the_recycle_bin(org):
    buyer = org.do("create", "Account", account())
    made = org.do("create", "Opportunity", deal(buyer["Id"]))
    until_the_second_is_over()
    client = org.client()
    _, cursor = read_all(client, "Opportunity")
    org.do("remove", "Account", buyer["Id"])  # takes its deals along
    until_the_second_is_over()
    records, _ = read_all(client, "Opportunity", cursor)
    assert [(r.external_id, r.deleted) for r in records if r.deleted] == [(made["Id"], True)]
    assert client.get("Opportunity", made["Id"]).deleted
    assert client.get("Opportunity", "006Ny9999999999IAA") is None


def test_fetch_reads_many_with_one_query(org):
    made = [org.do("create", "Account", account(f"Customer {n}"))["Id"] for n in range(30)]
    until_the_second_is_over()
    client = org.client()
    client.get("Account", made[0])
    before = org.simulator.calls_used
    found = client.fetch("Account", [*made, "001Ny9999999999IAA"])
    assert [record.external_id for record in found] == made
    assert org.simulator.calls_used == before + 1


def test_what_the_org_holds_becomes_canonical_objects(org):
    buyer = org.do("create", "Account", account(Tax_ID__c="DE812345678"))
    won = deal(buyer["Id"], StageName="Closed Won", OpportunityLineItems=[line(Bill_To__c=buyer["Id"])])
    made = org.do("create", "Opportunity", won)
    rate = {"Opportunity__c": made["Id"], "Role__c": "Analyst", "Rate__c": "185.50", "CurrencyIsoCode": "EUR"}
    org.do("create", "Rate_Card_Line__c", rate | {"Valid_From__c": "2026-01-01"})
    stone = {"Milestone_Key__c": "D07-M1", "Opportunity__c": made["Id"], "Line_Key__c": "D07-L1", "Name": "Done"}
    org.do("create", "Milestone__c", stone | {"Sequence__c": 1, "Amount__c": 5000, "CurrencyIsoCode": "EUR"})
    until_the_second_is_over()
    client, connector = org.client(), registry.load("salesforce")
    for object in connector.manifest.reads:
        mapping = load(connector.mappings[f"{object}.in.yaml"], connector.verbs)
        [record], _ = read_all(client, object)
        [one] = translate(mapping, read_kept(record.raw))
        assert one.problems == ()
        assert one.external_id == record.external_id
    org.do("add_picklist_value", "Opportunity", "StageName", "Verbally Agreed")
    org.do("edit", "Opportunity", made["Id"], {"StageName": "Verbally Agreed"})
    mapping = load(connector.mappings["Opportunity.in.yaml"], connector.verbs)
    [one] = translate(mapping, read_kept(client.get("Opportunity", made["Id"]).raw))
    assert [(p.field, p.code) for p in one.problems] == [("status", "not_in_table")]


def test_a_field_the_user_may_not_see_is_refused_with_its_code(org):
    client = org.client(options={"fields.Account": "Name, Secret_Margin__c"})
    with pytest.raises(Refused, match="Secret_Margin__c") as no:
        client.changes("Account", None)
    assert no.value.code == "INVALID_FIELD"
    assert no.value.code in client.manifest.refusals
    with pytest.raises(Broken):
        client.changes("Contact", None)


def test_a_used_up_day_means_later_and_a_revoked_session_is_renewed(org):
    org.do("create", "Account", account())
    until_the_second_is_over()
    client = org.client()
    assert len(read_all(client, "Account")[0]) == 1
    org.do("end_sessions")
    assert len(read_all(client, "Account")[0]) == 1
    org.simulator.calls_allowed = org.simulator.calls_used
    with pytest.raises(Busy):
        client.changes("Account", None)


def test_an_org_of_its_own_address_is_found_by_signing_in(org):
    client = org.client(base_url="", token_url=org.connection.token_url)
    org.do("create", "Account", account())
    until_the_second_is_over()
    assert len(read_all(client, "Account")[0]) == 1
    assert client.base_url == org.connection.base_url

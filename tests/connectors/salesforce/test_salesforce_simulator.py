"""The simulated org against what the vendor's documents and recordings say, spoken to in plain HTTP."""

import time

import httpx2
import pytest
from salesforce_org import account, deal, line
from test_salesforce_writes import sign_in

from trueup.connectors.salesforce import soql
from trueup.connectors.salesforce.schema import Invalid, long_id, record_id


class Http:
    """Signed-in plain HTTP to the org."""

    def __init__(self, org):
        token = sign_in(org).json()["access_token"]
        self.client = httpx2.Client(
            base_url=org.connection.base_url + "/services/data/v66.0/",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )

    def query(self, text, *, everything=False, **headers):
        return self.client.get("queryAll" if everything else "query", params={"q": text}, headers=headers)


@pytest.fixture
def http(org):
    made = Http(org)
    yield made
    made.client.close()


def ids(answer):
    return [record["Id"] for record in answer.json()["records"]]


def test_ids_have_the_check_letters_of_the_documents():
    assert long_id("001A0000006Vm9r") == "001A0000006Vm9rIAC"
    assert long_id(record_id("Account", 7)) == record_id("Account", 7)
    with pytest.raises(Invalid):
        long_id("short")


def test_an_answer_has_the_shape_of_the_recordings(org, http):
    made = org.do("create", "Account", account(Payment_Terms_Days__c=45))
    answer = http.query("SELECT Id, Name, Payment_Terms_Days__c, Industry FROM Account")
    assert answer.json() == {
        "totalSize": 1,
        "done": True,
        "records": [
            {
                "attributes": {"type": "Account", "url": f"/services/data/v66.0/sobjects/Account/{made['Id']}"},
                "Id": made["Id"],
                "Name": "Rheinwerk",
                "Payment_Terms_Days__c": 45,
                "Industry": None,
            }
        ],
    }
    used, _, allowed = answer.headers["sforce-limit-info"].removeprefix("api-usage=").partition("/")
    assert int(used) >= 1
    assert int(allowed) == org.simulator.calls_allowed


def test_conditions_choose_as_soql_does(org, http):
    one = org.do("create", "Account", account("One", Payment_Terms_Days__c=30))["Id"]
    two = org.do("create", "Account", account("O'Two", Payment_Terms_Days__c=45, Industry="Energy"))["Id"]
    three = org.do("create", "Account", account("Three", Payment_Terms_Days__c=None))["Id"]

    def found(where):
        return ids(http.query(f"SELECT Id FROM Account WHERE {where} ORDER BY Id"))

    assert found("Name = 'one'") == [one]
    assert found(r"Name = 'O\'Two'") == [two]
    assert found("Payment_Terms_Days__c >= 45") == [two]
    assert found("Payment_Terms_Days__c < 45") == [one]
    assert found("Payment_Terms_Days__c = null") == [three]
    assert found("Industry != null") == [two]
    assert found("Name IN ('One', 'Three')") == [one, three]
    assert found("Name NOT IN ('One', 'Three')") == [two]
    assert found(f"Id > '{one}' AND (Name = 'Three' OR Industry = 'Energy')") == [two, three]
    assert found("NOT Name = 'One'") == [two, three]
    assert found("SystemModstamp >= 2020-01-01T00:00:00Z AND SystemModstamp < 2099-01-01T00:00:00+02:00") == [
        one,
        two,
        three,
    ]
    assert found("IsDeleted = false") == [one, two, three]
    assert ids(http.query("SELECT Id FROM Account ORDER BY Payment_Terms_Days__c DESC NULLS LAST LIMIT 2")) == [
        two,
        one,
    ]
    assert ids(http.query("SELECT Id FROM Account ORDER BY Payment_Terms_Days__c, Id")) == [three, one, two]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT Id, Foo__c FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Foo__c = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Account ORDER BY Foo__c", "INVALID_FIELD"),
        ("SELECT Id FROM Xyzzy", "INVALID_TYPE"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "INVALID_TYPE"),
        ("SELECT Id FROM Account WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE SystemModstamp > 2026-01-01T00:00:00.000+0000", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'a", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account LIMIT many", "MALFORMED_QUERY"),
        ("SELECT FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account GROUP BY Name", "MALFORMED_QUERY"),
        ("DELETE FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR"),
        (
            "SELECT Id FROM Opportunity WHERE Name = 'a' OR Id IN (SELECT OpportunityId FROM OpportunityLineItem)",
            "MALFORMED_QUERY",
        ),
    ],
)
def test_a_query_it_does_not_understand_is_refused(http, text, code):
    answer = http.query(text)
    assert answer.status_code == 400
    assert [error["errorCode"] for error in answer.json()] == [code]


def test_children_come_inside_and_null_when_there_are_none(org, http):
    buyer = org.do("create", "Account", account())["Id"]
    with_lines = org.do(
        "create", "Opportunity", deal(buyer, "D01", OpportunityLineItems=[line("D01-L2"), line("D01-L1")])
    )
    org.do("create", "Opportunity", deal(buyer, "D02"))
    text = "SELECT Id, (SELECT Line_Key__c, TotalPrice FROM OpportunityLineItems ORDER BY Line_Key__c) FROM Opportunity"
    records = http.query(f"{text} ORDER BY Deal_Code__c").json()["records"]
    inner = records[0]["OpportunityLineItems"]
    assert records[0]["Id"] == with_lines["Id"]
    assert (inner["totalSize"], inner["done"]) == (2, True)
    assert [one["Line_Key__c"] for one in inner["records"]] == ["D01-L1", "D01-L2"]
    assert records[1]["OpportunityLineItems"] is None
    semi = "SELECT Id FROM Opportunity WHERE Id IN (SELECT OpportunityId FROM OpportunityLineItem WHERE TotalPrice > 1)"
    assert ids(http.query(semi)) == [with_lines["Id"]]


def test_batches_are_kept_between_200_and_2000_and_locators_die(org, http):
    for n in range(401):
        org.do("create", "Account", account(f"C{n}"))
    first = http.query("SELECT Id FROM Account ORDER BY Id", **{"Sforce-Query-Options": "batchSize=10"}).json()
    assert (len(first["records"]), first["done"], first["totalSize"]) == (200, False, 401)
    more = http.client.get(first["nextRecordsUrl"].removeprefix("/services/data/v66.0/"))
    assert len(more.json()["records"]) == 201
    org.do("expire_locators")
    gone = http.client.get(first["nextRecordsUrl"].removeprefix("/services/data/v66.0/"))
    assert (gone.status_code, gone.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")
    assert len(http.query("SELECT Id FROM Account").json()["records"]) == 401


def test_deleted_records_are_seen_by_query_all_only_and_can_come_back(org, http):
    id = org.do("create", "Account", account())["Id"]
    assert http.client.delete(f"sobjects/Account/{id}").status_code == 204
    assert ids(http.query("SELECT Id FROM Account")) == []
    assert ids(http.query("SELECT Id FROM Account WHERE IsDeleted = true", everything=True)) == [id]
    answer = http.client.get(f"sobjects/Account/{id}")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")
    org.do("restore", "Account", id)
    assert ids(http.query("SELECT Id FROM Account")) == [id]


def test_an_external_id_creates_updates_or_is_ambiguous(org, http):
    buyer = org.do("create", "Account", account())["Id"]
    body = {key: value for key, value in deal(buyer).items() if key != "Deal_Code__c"}
    created = http.client.patch("sobjects/Opportunity/Deal_Code__c/D40", json=body)
    assert (created.status_code, created.json()["created"]) == (201, True)
    updated = http.client.patch("sobjects/Opportunity/Deal_Code__c/D40", json={"Amount": "5.5"})
    assert (updated.status_code, updated.json()["id"], updated.json()["created"]) == (200, created.json()["id"], False)
    org.do("create", "Opportunity", deal(buyer, "D40"))
    several = http.client.patch("sobjects/Opportunity/Deal_Code__c/D40", json={"Amount": 1})
    assert several.status_code == 300
    assert len(several.json()) == 2
    for column in ("Name", "Nonsense__c"):
        no = http.client.patch(f"sobjects/Opportunity/{column}/x", json={})
        assert (no.status_code, no.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    no = http.client.patch("sobjects/Opportunity/Deal_Code__c/D41", json={"Deal_Code__c": "D41"})
    assert no.json()[0]["errorCode"] == "INVALID_FIELD"


def test_a_record_is_read_changed_and_missed_by_its_id(org, http):
    id = org.do("create", "Account", account())["Id"]
    assert http.client.patch(f"sobjects/Account/{id}", json={"Name": "New"}).content == b""
    whole = http.client.get(f"sobjects/Account/{id}").json()
    assert (whole["Name"], whole["IsDeleted"]) == ("New", False)
    assert http.client.get(f"sobjects/Account/{id[:15]}", params={"fields": "Name"}).json().keys() == {
        "attributes",
        "Name",
    }
    for path in (
        "sobjects/Account/001Ny9999999999IAA",
        "sobjects/Xyzzy/001Ny9999999999IAA",
        "sobjects/Account/x",
        "nonsense",
    ):
        answer = http.client.get(path)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    broken = http.client.patch(f"sobjects/Account/{id}", content=b"{", headers={"content-type": "application/json"})
    assert broken.json()[0]["errorCode"] == "JSON_PARSER_ERROR"


def test_a_collection_is_answered_record_by_record(org, http):
    good = org.do("create", "Account", account("Good"))["Id"]
    bad = org.do("create", "Account", account("Bad"))["Id"]

    def collection(**more):
        records = [
            {"attributes": {"type": "Account"}, "Id": good, "Industry": "Energy"},
            {"attributes": {"type": "Account"}, "id": bad, "CurrencyIsoCode": "GBX"},
        ]
        return http.client.patch("composite/sobjects", json={"records": records} | more)

    answer = collection(allOrNone=False)
    assert answer.status_code == 200
    assert [item["success"] for item in answer.json()] == [True, False]
    assert answer.json()[1]["errors"][0]["statusCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert org.row("Account", good)["Industry"] == "Energy"
    org.do("edit", "Account", good, {"Industry": "Retail"})
    codes = [item["errors"][0]["statusCode"] for item in collection(allOrNone=True).json()]
    assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"]
    assert org.row("Account", good)["Industry"] == "Retail"
    upsert = http.client.patch(
        "composite/sobjects/Account/Id",
        json={"records": [{"attributes": {"type": "Account"}, "Id": good, "Name": "Better"}]},
    )
    assert upsert.json() == [{"id": good, "success": True, "errors": [], "created": False}]
    many = [{"attributes": {"type": "Account"}, "Id": good}] * 201
    assert http.client.patch("composite/sobjects", json={"records": many}).json()[0]["errorCode"] == "EXCEEDED_ID_LIMIT"


def test_a_session_is_needed_and_the_day_has_an_end(org, http):
    stranger = httpx2.get(org.connection.base_url + "/services/data/v66.0/limits")
    assert (stranger.status_code, stranger.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    org.simulator.calls_allowed = org.simulator.calls_used
    answer = http.query("SELECT Id FROM Account")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")


def test_every_change_has_a_new_stamp_and_three_thousand_records_are_quick(org):
    begun = time.monotonic()
    for n in range(3000):
        org.do("create", "Account", account(f"C{n}"))
    assert time.monotonic() - begun < 3


def test_the_org_survives_a_restart(org, tmp_path):
    id = org.do("create", "Account", account())["Id"]
    org.do("add_picklist_value", "Opportunity", "StageName", "Verbally Agreed")
    from trueup.connectors.sdk import registry
    from trueup.connectors.sdk.simulate import Store

    connector = registry.load("salesforce")
    again = connector.simulator(
        connector.manifest, Store(tmp_path / "sim" / "salesforce.jsonl"), org.connection.credentials, "secret"
    )
    assert again.store.table("Account")[id]["Name"] == "Rheinwerk"
    assert again.edit("Account", id, {"Name": "Later"})["SystemModstamp"] >= org.row("Account", id)["SystemModstamp"]
    made = again.create("Opportunity", deal(id, StageName="Verbally Agreed"))
    assert made["IsClosed"] is False
    again.store.close()


def test_the_parser_gives_the_place_of_an_unknown_field():
    with pytest.raises(Invalid, match="Column:12"):
        soql.parse("SELECT Id, Foo__c FROM Account")
